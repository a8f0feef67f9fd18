//! Phone numbers: from what a shop stored to the digits of E.164, or to nothing when the number does not say its country. Pure.
//!
//! A number without a country code could be anybody's, and its hash would point at a stranger. So a number is used when it says its country
//! itself (`+81 …`, `0081 …`), or when the customer's country is one whose way of writing numbers is known here.

use super::normal;

/// Digits of an E.164 number: the fewest that exist with a country code, and the most (ITU-T E.164 §6.2).
const DIGITS_MIN: usize = 7;
const DIGITS_MAX: usize = 15;

/// What a stored number is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phone {
    /// There is none.
    None,
    /// There is one, and it cannot be known where in the world it is.
    NoCountry,
    /// The digits of E.164, without the `+`.
    Usable(String),
}

impl Phone {
    /// The digits, `None` when there are none to use.
    pub fn digits(&self) -> Option<&str> {
        match self {
            Phone::Usable(digits) => Some(digits),
            Phone::None | Phone::NoCountry => None,
        }
    }
}

/// How numbers are written inside a country.
struct Plan {
    country: &'static str,
    code: &'static str,
    /// What stands before a number inside the country and goes when the code is put before it; empty where nothing does.
    trunk: &'static str,
    /// Digits of a number without trunk and code.
    digits: std::ops::RangeInclusive<usize>,
}

macro_rules! plans {
    ($($country:literal $code:literal $trunk:literal $least:literal $most:literal;)*) => {
        &[$(Plan { country: $country, code: $code, trunk: $trunk, digits: $least..=$most }),*]
    };
}

/// Countries whose numbers are told apart by these rules alone. Italy, for one, keeps its 0 behind the code, so it is not here.
const PLANS: &[Plan] = plans! {
    "AT" "43" "0" 4 13; "AU" "61" "0" 9 9; "BE" "32" "0" 8 9; "CH" "41" "0" 9 9; "CZ" "420" "" 9 9; "DE" "49" "0" 6 12;
    "DK" "45" "" 8 8; "ES" "34" "" 9 9; "FI" "358" "0" 5 11; "FR" "33" "0" 9 9; "GB" "44" "0" 9 10; "GR" "30" "" 10 10;
    "IE" "353" "0" 7 9; "IN" "91" "0" 10 10; "JP" "81" "0" 9 10; "KR" "82" "0" 8 10; "NL" "31" "0" 9 9; "NO" "47" "" 8 8;
    "NZ" "64" "0" 8 10; "PL" "48" "" 9 9; "PT" "351" "" 9 9; "SE" "46" "0" 7 9; "SG" "65" "" 8 8; "TW" "886" "0" 8 9;
    "US" "1" "" 10 10; "CA" "1" "" 10 10;
};

/// Read a stored number; `country` as stored.
pub fn read(text: &str, country: Option<&str>) -> Phone {
    let text = text.trim();
    if text.chars().any(char::is_alphabetic) {
        return Phone::NoCountry; // an extension, or no number at all
    }
    let digits = digits(text);
    if digits.is_empty() {
        return Phone::None;
    }
    let plus = text.starts_with(['+', '＋']);
    if !plus && !digits.starts_with("00") {
        return inside(&digits, &normal::country(country.unwrap_or_default()));
    }
    // The 0 that is dialled inside the country only: +49 (0)30 …
    let digits = self::digits(&text.replace("(0)", ""));
    usable(if plus { digits } else { digits[2..].to_owned() })
}

fn digits(text: &str) -> String {
    text.chars().filter_map(digit).collect()
}

/// A number as it is dialled inside a country, or with the country's code and nothing before it.
fn inside(digits: &str, country: &str) -> Phone {
    let Some(plan) = PLANS.iter().find(|p| p.country == country) else { return Phone::NoCountry };
    if let Some(local) = digits.strip_prefix(plan.trunk)
        && plan.digits.contains(&local.len())
    {
        return usable(format!("{}{local}", plan.code));
    }
    match digits.strip_prefix(plan.code) {
        Some(local) if plan.digits.contains(&local.len()) => usable(digits.to_owned()),
        _ => Phone::NoCountry,
    }
}

fn usable(digits: String) -> Phone {
    if (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) && !digits.starts_with('0') {
        Phone::Usable(digits)
    } else {
        Phone::NoCountry
    }
}

/// An ASCII digit, also of a full-width one.
fn digit(c: char) -> Option<char> {
    match c {
        '0'..='9' => Some(c),
        '０'..='９' => char::from_digit(u32::from(c) - u32::from('０'), 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_their_country_or_are_not_used() {
        for (text, country, digits) in [
            ("+1 (650) 555-1212", None, Some("16505551212")),
            ("(650)555-1212", Some("US"), Some("16505551212")),
            ("1-650-555-1212", Some("us"), Some("16505551212")),
            ("(650)555-1212", None, None),
            ("+44 844 412 4653", Some("DE"), Some("448444124653")),
            ("0044 844 412 4653", None, Some("448444124653")),
            ("+49 (0)30 1234567", None, Some("49301234567")),
            ("030 / 1234567", Some("DE"), Some("49301234567")),
            ("4930 1234567", Some("DE"), Some("49301234567")),
            ("(0)30 1234567", Some("DE"), Some("49301234567")),
            ("0049 (0)30 1234567", None, Some("49301234567")),
            ("30 1234567", Some("DE"), None), // there a number begins with 0, or with its code
            ("090-1234-5678", Some("JP"), Some("819012345678")),
            ("０９０－１２３４－５６７８", Some("JP"), Some("819012345678")),
            ("＋８１ ９０ １２３４ ５６７８", None, Some("819012345678")),
            ("090-1234-5678", Some("Japan"), None), // a name is no code
            ("13812345678", Some("CN"), None),      // would be a stranger's in North America
            ("06 1234 5678", Some("IT"), None),
            ("+1 650 555 1212 ext. 5", None, None),
            ("+0 123 456 789", None, None),
            ("+12", None, None),
            ("+123456789012345678", None, None),
        ] {
            let read = read(text, country);
            assert_eq!(read.digits(), digits, "{text} {country:?}");
            assert_ne!(read, Phone::None, "{text}");
        }
        assert_eq!([read("", None), read(" – ", Some("US"))], [Phone::None, Phone::None]);
    }
}
