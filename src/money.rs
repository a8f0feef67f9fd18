//! Money: whole numbers of a currency's minor unit (cents, yen), and the way between them and what authors write.

/// Digits after the decimal point of a currency (ISO 4217); two unless the standard says otherwise.
pub fn minor_digits(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

/// An amount in major units, as an author writes it in a rule, in minor units. `None` when it is finer than the currency or too large.
pub fn to_minor(major: f64, currency: &str) -> Option<i64> {
    let scaled = major * 10f64.powi(minor_digits(currency) as i32);
    let rounded = scaled.round();
    ((scaled - rounded).abs() < 1e-6 && rounded.abs() < 1e15).then_some(rounded as i64)
}

/// An amount for people: `1,234.50 EUR`.
pub fn readable(minor: i64, currency: &str) -> String {
    let (sign, whole, fraction) = major(minor, currency);
    format!("{sign}{}{fraction} {currency}", grouped(whole as i64))
}

/// An amount for tables: `1234.50`.
pub fn plain(minor: i64, currency: &str) -> String {
    let (sign, whole, fraction) = major(minor, currency);
    format!("{sign}{whole}{fraction}")
}

/// Sign, whole major units, and the fraction with its point.
fn major(minor: i64, currency: &str) -> (&'static str, u64, String) {
    let digits = minor_digits(currency);
    let unit = 10u64.pow(digits);
    let (whole, part) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
    let fraction = if digits > 0 { format!(".{part:0width$}", width = digits as usize) } else { String::new() };
    (if minor < 0 { "-" } else { "" }, whole, fraction)
}

/// A whole number with its thousands apart: `1,234,567`.
pub fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if n < 0 {
        out.push('-');
    }
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_write_major_units() {
        assert_eq!(to_minor(49.99, "EUR"), Some(4999));
        assert_eq!(to_minor(0.1 + 0.2, "EUR"), Some(30));
        assert_eq!(to_minor(500.0, "JPY"), Some(500));
        assert_eq!(to_minor(0.5, "JPY"), None);
        assert_eq!(to_minor(1.2345, "KWD"), None);
        assert_eq!(to_minor(1e300, "EUR"), None);
    }

    #[test]
    fn people_read_grouped_amounts() {
        assert_eq!(readable(123_450, "EUR"), "1,234.50 EUR");
        assert_eq!(readable(-5, "USD"), "-0.05 USD");
        assert_eq!(readable(1_000_000, "JPY"), "1,000,000 JPY");
        assert_eq!(plain(-123_405, "EUR"), "-1234.05");
        assert_eq!(plain(1_000_000, "JPY"), "1000000");
    }
}
