//! Amounts: decimal text in major units (`12.50`) to whole minor units (`1250`), exactly, never through floating point.
//!
//! One form is read: digits, at most one point, a sign in front. `1,234.50` and `1.234,50` mean different things in different
//! countries, so signs between digits are refused rather than guessed at.

/// Largest amount in minor units: exact in a double as well, for JSON and for statistics.
pub const MINOR_MAX: i64 = 9_000_000_000_000_000;
/// Digits after the point that are read; more is a mistake, not an amount.
const DECIMALS_MAX: usize = 12;
/// Digits before the point.
const WHOLE_DIGITS_MAX: usize = 16;

pub use crate::money::minor_digits as exponent;

/// Why a text is not an amount; reads after the text in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("is not a number: write digits with a point, such as 1234.50")]
    Form,
    #[error("has a comma: write 1234.50, because 1,234 reads differently in different countries")]
    Comma,
    #[error("has more decimal places than the currency")]
    Decimals,
    #[error("is too large")]
    Range,
}

/// A decimal number: `mantissa / 10^scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    /// Read `-12.50`, `7`, `.5`. White space around it is not part of it.
    pub fn parse(text: &str) -> Result<Decimal, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        if text.contains(',') && text.bytes().all(|b| b.is_ascii_digit() || b",.+-".contains(&b)) {
            return Err(MoneyError::Comma);
        }
        let all_digits = whole.bytes().chain(decimals.bytes()).all(|b| b.is_ascii_digit());
        if !all_digits || (whole.is_empty() && decimals.is_empty()) {
            return Err(MoneyError::Form);
        }
        let whole = whole.trim_start_matches('0');
        let decimals = decimals.trim_end_matches('0');
        if whole.len() > WHOLE_DIGITS_MAX {
            return Err(MoneyError::Range);
        }
        if decimals.len() > DECIMALS_MAX {
            return Err(MoneyError::Decimals);
        }
        let mantissa = whole.bytes().chain(decimals.bytes()).fold(0_i128, |m, b| m * 10 + i128::from(b - b'0'));
        Ok(Decimal { mantissa: if negative { -mantissa } else { mantissa }, scale: decimals.len() as u32 })
    }

    /// In minor units of a currency with this exponent; exact or an error.
    pub fn to_minor(self, exponent: u32) -> Result<i64, MoneyError> {
        if self.scale > exponent {
            return Err(MoneyError::Decimals);
        }
        in_range(self.mantissa * 10_i128.pow(exponent - self.scale))
    }

    /// `quantity` times this, in minor units; half a unit is rounded away from zero. Unit prices may be finer than the currency.
    pub fn times_to_minor(self, quantity: i64, exponent: u32) -> Result<i64, MoneyError> {
        let product = self.mantissa.checked_mul(i128::from(quantity)).ok_or(MoneyError::Range)?;
        if self.scale <= exponent {
            let factor = 10_i128.pow(exponent - self.scale);
            return in_range(product.checked_mul(factor).ok_or(MoneyError::Range)?);
        }
        let divisor = 10_i128.pow(self.scale - exponent);
        let (quotient, rest) = (product / divisor, product % divisor);
        in_range(if rest.abs() * 2 >= divisor { quotient + product.signum() } else { quotient })
    }
}

fn in_range(minor: i128) -> Result<i64, MoneyError> {
    i64::try_from(minor).ok().filter(|m| (-MINOR_MAX..=MINOR_MAX).contains(m)).ok_or(MoneyError::Range)
}

/// An amount in major units to minor units, exactly.
pub fn parse(text: &str, exponent: u32) -> Result<i64, MoneyError> {
    Decimal::parse(text)?.to_minor(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, exponent, minor) in [
            ("12.50", 2, 1250),
            ("12.5", 2, 1250),
            ("-0.01", 2, -1),
            ("+7", 2, 700),
            (".5", 2, 50),
            ("5.", 2, 500),
            ("0.29", 2, 29),
            ("29.3300", 2, 2933),
            ("1980", 0, 1980),
            ("1980.00", 0, 1980),
            ("1.234", 3, 1234),
            ("90000000000000", 2, MINOR_MAX),
            ("000000000000000000000012", 0, 12),
        ] {
            assert_eq!(parse(text, exponent), Ok(minor), "{text}");
        }
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for (text, why) in [
            ("1,234.50", MoneyError::Comma),
            ("12,50", MoneyError::Comma),
            ("", MoneyError::Form),
            (".", MoneyError::Form),
            ("-", MoneyError::Form),
            ("€12", MoneyError::Form),
            ("1e3", MoneyError::Form),
            ("NaN", MoneyError::Form),
            ("1 234", MoneyError::Form),
            ("１２", MoneyError::Form),
            ("--1", MoneyError::Form),
            ("1.2.3", MoneyError::Form),
            ("0.001", MoneyError::Decimals),
            ("90000000000000.01", MoneyError::Range),
            ("99999999999999999999999999999999999999999999", MoneyError::Range),
        ] {
            assert_eq!(parse(text, 2), Err(why), "{text}");
        }
        assert_eq!(parse("0.5", 0), Err(MoneyError::Decimals), "yen have no halves");
    }

    #[test]
    fn unit_prices_may_be_finer_than_the_currency() {
        let price = |t| Decimal::parse(t).unwrap();
        assert_eq!(price("0.125").times_to_minor(1000, 2), Ok(12_500));
        assert_eq!(price("0.125").times_to_minor(1, 2), Ok(13));
        assert_eq!(price("0.125").times_to_minor(-1, 2), Ok(-13));
        assert_eq!(price("0.124").times_to_minor(1, 2), Ok(12));
        assert_eq!(price("6.95").times_to_minor(12, 2), Ok(8_340));
        assert_eq!(price("9999999999999999").times_to_minor(i64::MAX, 2), Err(MoneyError::Range));
    }
}
