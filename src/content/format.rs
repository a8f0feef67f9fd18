//! Numbers, money and dates as people of a language write them: the filters `money`, `date` and `number`.
//!
//! Pure and closed: five styles, the same text on every machine and in every version of a system library, because retries of a
//! message must be byte-identical. Conventions follow CLDR 46; a language without a style of its own is written like English.

use crate::money::minor_digits;
use jiff::civil::Date;
use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

/// How a language writes numbers and dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// English, month first: `November 24, 2026`.
    EnglishMonthFirst,
    /// English, day first: `24 November 2026`.
    EnglishDayFirst,
    Japanese,
    German,
    French,
}

/// How many styles there are.
pub(super) const STYLES: usize = 5;

/// Regions that write English with the day first.
const DAY_FIRST: [&str; 9] = ["gb", "ie", "au", "nz", "za", "in", "sg", "hk", "150"];

impl Style {
    /// The style of a BCP 47 locale.
    pub(super) fn of(locale: &str) -> Style {
        let mut parts = locale.split(['-', '_']).map(str::to_ascii_lowercase);
        match parts.next().as_deref() {
            Some("ja") => Style::Japanese,
            Some("de") => Style::German,
            Some("fr") => Style::French,
            _ if parts.any(|p| DAY_FIRST.contains(&p.as_str())) => Style::EnglishDayFirst,
            _ => Style::EnglishMonthFirst,
        }
    }

    /// Whether a language has a style of its own; others are written as in English.
    pub(super) fn is_known(locale: &str) -> bool {
        let language = locale.split(['-', '_']).next().unwrap_or(locale).to_ascii_lowercase();
        ["en", "ja", "de", "fr"].contains(&language.as_str())
    }

    /// The language, for whatever has no style of its own.
    pub(super) fn language(self) -> &'static str {
        match self {
            Style::EnglishMonthFirst | Style::EnglishDayFirst => "en",
            Style::Japanese => "ja",
            Style::German => "de",
            Style::French => "fr",
        }
    }

    fn thousands(self) -> &'static str {
        match self {
            Style::German => ".",
            Style::French => "\u{202f}",
            _ => ",",
        }
    }

    fn point(self) -> &'static str {
        match self {
            Style::German | Style::French => ",",
            _ => ".",
        }
    }
}

/// An amount in minor units: `$1,234.50`, `1.234,50 €`, `1,234円`.
pub(super) fn money(minor: i64, currency: &str, style: Style) -> String {
    let digits = minor_digits(currency);
    let unit = 10_u64.pow(digits);
    let amount = minor.unsigned_abs();
    let mut number = grouped(&(amount / unit).to_string(), style.thousands());
    if digits > 0 {
        number.push_str(style.point());
        number.push_str(&format!("{:0width$}", amount % unit, width = digits as usize));
    }
    let sign = if minor < 0 { "-" } else { "" };
    let symbol = symbol(currency);
    match (style, symbol) {
        (Style::German | Style::French, _) => format!("{sign}{number}\u{a0}{}", symbol.unwrap_or(currency)),
        (Style::Japanese, _) if currency == "JPY" => format!("{sign}{number}円"),
        (_, Some(symbol)) => format!("{sign}{symbol}{number}"),
        (_, None) => format!("{sign}{currency}\u{a0}{number}"),
    }
}

fn symbol(currency: &str) -> Option<&'static str> {
    Some(match currency {
        "USD" => "$",
        "EUR" => "€",
        "GBP" => "£",
        "JPY" => "¥",
        "KRW" => "₩",
        "INR" => "₹",
        _ => return None,
    })
}

/// A whole number or a decimal: at most `decimals` digits after the point (two when not said), without idle zeros unless said.
pub(super) fn number(value: f64, decimals: Option<usize>, style: Style) -> String {
    let text = format!("{:.*}", decimals.unwrap_or(2), value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = if decimals.is_none() { fraction.trim_end_matches('0') } else { fraction };
    let mut out = grouped(whole, style.thousands());
    if !fraction.is_empty() {
        out.push_str(style.point());
        out.push_str(fraction);
    }
    if value < 0.0 && out.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.insert(0, '-');
    }
    out
}

fn grouped(digits: &str, separator: &str) -> String {
    let mut out = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push_str(separator);
        }
        out.push(digit);
    }
    out
}

/// A date in full.
pub(super) fn date(date: Date, style: Style) -> String {
    const EN: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DE: [&str; 12] = [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ];
    const FR: [&str; 12] = [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ];
    let (year, month, day) = (date.year(), date.month(), date.day());
    let name = |names: [&'static str; 12]| names[usize::from(month.unsigned_abs()) - 1];
    match style {
        Style::EnglishMonthFirst => format!("{} {day}, {year}", name(EN)),
        Style::EnglishDayFirst => format!("{day} {} {year}", name(EN)),
        Style::Japanese => format!("{year}年{month}月{day}日"),
        Style::German => format!("{day}. {} {year}", name(DE)),
        Style::French if day == 1 => format!("1er {} {year}", name(FR)),
        Style::French => format!("{day} {} {year}", name(FR)),
    }
}

/// Give `tera` the filters of one style. `currency` is what `money` assumes.
pub(super) fn register(tera: &mut Tera, style: Style, currency: &str) {
    let default_currency = currency.to_owned();
    tera.register_filter("money", move |value: &Value, args: Kwargs, _: &State| -> TeraResult<String> {
        let currency = args.get::<&str>("currency")?.unwrap_or(&default_currency);
        let minor = numeric(value, "money")?;
        if minor.fract() != 0.0 || minor.abs() >= 9.0e15 {
            return Err(Error::message(format!("`money` takes whole minor units (cents), not {value}")));
        }
        Ok(money(minor as i64, currency, style))
    });
    tera.register_filter("number", move |value: &Value, args: Kwargs, _: &State| -> TeraResult<String> {
        let decimals = args.get::<usize>("decimals")?.map(|d| d.min(DECIMALS_MAX));
        Ok(number(numeric(value, "number")?, decimals, style))
    });
    tera.register_filter("date", move |value: &Value, _: Kwargs, _: &State| -> TeraResult<String> {
        let text = value.as_str().ok_or_else(|| refused("date", "a date such as 2026-11-24", value))?;
        // An instant is written with its local offset, so its first ten characters are the local date.
        let day = text.get(..10).and_then(|t| t.parse::<Date>().ok());
        day.map(|d| date(d, style)).ok_or_else(|| refused("date", "a date such as 2026-11-24", value))
    });
}

/// The names of the filters given by [`register`].
pub(super) const FILTERS: [&str; 3] = ["money", "date", "number"];

/// Most digits after the point that `number` writes.
const DECIMALS_MAX: usize = 12;

/// A number, also one that came as text from a CSV column.
pub(super) fn numeric(value: &Value, filter: &str) -> TeraResult<f64> {
    let number = value.as_f64().or_else(|| value.as_str().and_then(|t| t.trim().parse().ok()));
    // i64 amounts are exact in f64 up to 2^53 minor units.
    number
        .or_else(|| value.as_i64().map(|n| n as f64))
        .filter(|n| n.is_finite())
        .ok_or_else(|| refused(filter, "a number", value))
}

pub(super) fn refused(filter: &str, wanted: &str, value: &Value) -> Error {
    match value.is_undefined() {
        true => Error::message(format!("`{filter}` was given an undefined value")),
        false => Error::message(format!("`{filter}` takes {wanted}, not {}", value.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_follows_currency_and_language() {
        let all = |minor, currency| {
            ["en", "en-GB", "ja", "de-AT", "fr", "pt"].map(|l| money(minor, currency, Style::of(l))).join(" | ")
        };
        assert_eq!(
            all(123_450, "EUR"),
            "€1,234.50 | €1,234.50 | €1,234.50 | 1.234,50\u{a0}€ | 1\u{202f}234,50\u{a0}€ | €1,234.50"
        );
        assert_eq!(all(-1_234, "JPY"), "-¥1,234 | -¥1,234 | -1,234円 | -1.234\u{a0}¥ | -1\u{202f}234\u{a0}¥ | -¥1,234");
        assert_eq!(money(1_234_567, "KWD", Style::EnglishMonthFirst), "KWD\u{a0}1,234.567");
        assert_eq!(money(5, "USD", Style::EnglishMonthFirst), "$0.05");
        assert_eq!(money(i64::MIN, "JPY", Style::Japanese), "-9,223,372,036,854,775,808円");
    }

    #[test]
    fn numbers_are_grouped_and_lose_idle_zeros() {
        let en = |v, d| number(v, d, Style::EnglishMonthFirst);
        assert_eq!(en(1_234_567.0, None), "1,234,567");
        assert_eq!(en(4.5, None), "4.5");
        assert_eq!(en(4.5, Some(2)), "4.50");
        assert_eq!(en(-0.001, None), "0");
        assert_eq!(number(-1_234.25, None, Style::German), "-1.234,25");
    }

    #[test]
    fn dates_are_written_in_full() {
        let day = Date::constant(2026, 11, 1);
        let all = ["en", "en-GB", "ja-JP", "de", "fr"].map(|l| date(day, Style::of(l)));
        assert_eq!(
            all,
            ["November 1, 2026", "1 November 2026", "2026年11月1日", "1. November 2026", "1er novembre 2026"]
        );
    }
}
