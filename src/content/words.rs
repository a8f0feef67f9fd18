//! Words that depend on numbers, days and lists, as people of a language say them: the filters `plural`, `relative` and `list`; and `urlencode`, for
//! data that goes into an address.
//!
//! Which form a number takes is known for every language (CLDR, through a crate). How long ago something was and how a list ends is said
//! in English, Japanese, German and French; in other languages as in English.

use icu_locale_core::Locale;
use icu_plurals::{PluralCategory, PluralRules, PluralRulesPreferences};
use jiff::civil::Date;
use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

use super::current;
use super::format::{self, Style, numeric};

/// The forms a language may have, in the order of the filter's arguments.
const FORMS: [(&str, PluralCategory); 6] = [
    ("zero", PluralCategory::Zero),
    ("one", PluralCategory::One),
    ("two", PluralCategory::Two),
    ("few", PluralCategory::Few),
    ("many", PluralCategory::Many),
    ("other", PluralCategory::Other),
];

/// The names of the filters given by [`register`].
pub(super) const FILTERS: [&str; 4] = ["plural", "relative", "list", "urlencode"];

/// The form of a whole number in a language; a broken number takes the general one.
fn form(locale: &str, n: f64) -> PluralCategory {
    let locale: Locale = locale.replace('_', "-").parse().unwrap_or(Locale::UNKNOWN);
    let Ok(rules) = PluralRules::try_new_cardinal(PluralRulesPreferences::from(&locale)) else {
        return PluralCategory::Other;
    };
    if n.fract() == 0.0 && n.abs() < 9.0e15 { rules.category_for(n.abs() as u64) } else { PluralCategory::Other }
}

/// How far a day lies from today, in the largest unit that says it well.
pub(super) fn relative(days: i64, style: Style) -> String {
    let far = days.unsigned_abs();
    let (n, unit) = match far {
        0..14 => (far, 0),
        14..60 => ((far + 3) / 7, 1),
        60..730 => ((far + 15) / 30, 2),
        _ => ((far + 182) / 365, 3),
    };
    let past = days < 0;
    let units = |names: [[&'static str; 2]; 4]| names[unit][usize::from(n != 1)];
    match (style, days) {
        (Style::EnglishMonthFirst | Style::EnglishDayFirst, 0) => "today".into(),
        (Style::EnglishMonthFirst | Style::EnglishDayFirst, -1) => "yesterday".into(),
        (Style::EnglishMonthFirst | Style::EnglishDayFirst, 1) => "tomorrow".into(),
        (Style::Japanese, 0) => "今日".into(),
        (Style::Japanese, -1) => "昨日".into(),
        (Style::Japanese, 1) => "明日".into(),
        (Style::German, 0) => "heute".into(),
        (Style::German, -1) => "gestern".into(),
        (Style::German, 1) => "morgen".into(),
        (Style::French, 0) => "aujourd’hui".into(),
        (Style::French, -1) => "hier".into(),
        (Style::French, 1) => "demain".into(),
        (Style::EnglishMonthFirst | Style::EnglishDayFirst, _) => {
            let unit = units([["day", "days"], ["week", "weeks"], ["month", "months"], ["year", "years"]]);
            if past { format!("{n} {unit} ago") } else { format!("in {n} {unit}") }
        }
        (Style::Japanese, _) => {
            let unit = units([["日"; 2], ["週間"; 2], ["か月"; 2], ["年"; 2]]);
            format!("{n}{unit}{}", if past { "前" } else { "後" })
        }
        (Style::German, _) => {
            let unit = units([["Tag", "Tagen"], ["Woche", "Wochen"], ["Monat", "Monaten"], ["Jahr", "Jahren"]]);
            format!("{} {n} {unit}", if past { "vor" } else { "in" })
        }
        (Style::French, _) => {
            let unit = units([["jour", "jours"], ["semaine", "semaines"], ["mois", "mois"], ["an", "ans"]]);
            format!("{} {n} {unit}", if past { "il y a" } else { "dans" })
        }
    }
}

/// `a, b and c`.
pub(super) fn listed(items: &[String], or: bool, style: Style) -> String {
    let Some((last, before)) = items.split_last() else { return String::new() };
    if before.is_empty() {
        return last.clone();
    }
    let word = match (style, or) {
        (Style::Japanese, false) => return items.join("、"),
        (Style::Japanese, true) => return items.join("または"),
        (Style::German, false) => "und",
        (Style::German, true) => "oder",
        (Style::French, false) => "et",
        (Style::French, true) => "ou",
        (_, false) => "and",
        (_, true) => "or",
    };
    // American English sets a comma before the last of three.
    let comma = if style == Style::EnglishMonthFirst && before.len() > 1 { "," } else { "" };
    format!("{}{comma} {word} {last}", before.join(", "))
}

/// Give `tera` the filters of one style.
pub(super) fn register(tera: &mut Tera, style: Style) {
    tera.register_filter("plural", move |value: &Value, args: Kwargs, _: &State| -> TeraResult<String> {
        let n = numeric(value, "plural")?;
        let locale = current::ask(|c| c.locale.clone()).unwrap_or_else(|| style.language().to_owned());
        let wanted = form(&locale, n);
        let other = args.must_get::<&str>("other")?;
        let (name, _) = FORMS.iter().find(|(_, category)| *category == wanted).expect("every form has a name");
        // A form of their own for nothing is what authors mean by `zero`, whether or not the language has one.
        let zero = if n == 0.0 { args.get::<&str>("zero")? } else { None };
        let text = zero.or(args.get::<&str>(name)?).unwrap_or(other);
        Ok(text.replace('#', &format::number(n, None, style)))
    });
    tera.register_filter("relative", move |value: &Value, _: Kwargs, _: &State| -> TeraResult<String> {
        let day = |text: &str| text.get(..10).and_then(|t| t.parse::<Date>().ok());
        let date = value
            .as_str()
            .and_then(day)
            .ok_or_else(|| format::refused("relative", "a date such as 2026-11-24", value))?;
        let today = current::ask(|c| day(&c.today)).flatten();
        let today = today.ok_or_else(|| Error::message("`relative` needs the day the mail is planned on"))?;
        let days = (date - today).get_days();
        Ok(relative(i64::from(days), style))
    });
    tera.register_filter("list", move |value: &Value, args: Kwargs, _: &State| -> TeraResult<String> {
        let items = value.as_array().ok_or_else(|| format::refused("list", "a list", value))?;
        let items: Vec<String> = items.iter().map(ToString::to_string).filter(|t| !t.is_empty()).collect();
        Ok(listed(&items, args.get::<bool>("or")?.unwrap_or_default(), style))
    });
    // RFC 3986 §2.1: of data in an address only what is unreserved stands for itself, so that it stays one part of one value.
    tera.register_filter("urlencode", move |value: &Value, _: Kwargs, _: &State| -> TeraResult<String> {
        if value.is_undefined() || value.as_array().is_some() {
            return Err(format::refused("urlencode", "a text or a number", value));
        }
        let encoded: String = url::form_urlencoded::byte_serialize(value.to_string().as_bytes()).collect();
        Ok(encoded.replace('+', "%20").replace('*', "%2A").replace("%7E", "~"))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_form_of_the_language() {
        let forms = |locale: &str| [0.0, 1.0, 2.0, 5.0, 1.5].map(|n| format!("{:?}", form(locale, n))).join(" ");
        assert_eq!(forms("en"), "Other One Other Other Other");
        assert_eq!(forms("ja-JP"), "Other Other Other Other Other");
        assert_eq!(forms("fr"), "One One Other Other Other");
        assert_eq!(forms("pl"), "Many One Few Many Other");
        assert_eq!(forms("ar_EG"), "Zero One Two Few Other");
        assert_eq!(forms("no such language"), "Other Other Other Other Other");
    }

    #[test]
    fn days_are_near_or_far_in_words() {
        let all = |days| ["en", "ja", "de", "fr"].map(|l| relative(days, Style::of(l))).join(" | ");
        assert_eq!(all(0), "today | 今日 | heute | aujourd’hui");
        assert_eq!(all(-1), "yesterday | 昨日 | gestern | hier");
        assert_eq!(all(-13), "13 days ago | 13日前 | vor 13 Tagen | il y a 13 jours");
        assert_eq!(all(14), "in 2 weeks | 2週間後 | in 2 Wochen | dans 2 semaines");
        assert_eq!(all(-90), "3 months ago | 3か月前 | vor 3 Monaten | il y a 3 mois");
        assert_eq!(all(-800), "2 years ago | 2年前 | vor 2 Jahren | il y a 2 ans");
        assert_eq!(relative(i64::MIN, Style::EnglishDayFirst), "25269512429739112 years ago");
    }

    #[test]
    fn lists_end_as_people_end_them() {
        let all = |items: &[&str], or| {
            let items: Vec<String> = items.iter().map(|i| (*i).to_owned()).collect();
            ["en", "en-GB", "ja", "de", "fr"].map(|l| listed(&items, or, Style::of(l))).join(" | ")
        };
        assert_eq!(all(&[], false), " |  |  |  | ");
        assert_eq!(all(&["a", "b"], true), "a or b | a or b | aまたはb | a oder b | a ou b");
        assert_eq!(all(&["a", "b", "c"], false), "a, b, and c | a, b and c | a、b、c | a, b und c | a, b et c");
    }

    #[test]
    fn data_in_an_address_stays_one_value() {
        let mut tera = Tera::default();
        register(&mut tera, Style::EnglishMonthFirst);
        tera.add_raw_template("t", "{{ v | urlencode }}").unwrap();
        let encoded = |v: &str| {
            let mut context = tera::Context::new();
            context.insert("v", v);
            tera.render("t", &context).unwrap()
        };
        assert_eq!(encoded("a b&c=d/é+~*\"#\r\n"), "a%20b%26c%3Dd%2F%C3%A9%2B~%2A%22%23%0D%0A");
        assert_eq!(encoded("azAZ09-._~"), "azAZ09-._~");
    }
}
