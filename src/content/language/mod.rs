//! What a language knows: how it writes figures, days, distances and lists, and which form of a word a number takes.
//!
//! The knowledge is CLDR's (through ICU4X), for every language that CLDR describes; another one is written like English. The
//! calendar is Gregorian for all, digits are those of the language. A few habits are the house's own: yen are written 円 in Japanese,
//! Austria's figures look like Germany's, the first of a month is `1er` in French, and `$ € £ ¥ ₩ ₹` stand alone in [`SETTLED`] languages.
//! What was learned of a locale stays with the thread, because a message asks for it many times.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use icu_calendar::{Date as GregorianDate, Gregorian};
use icu_datetime::FixedCalendarDateTimeFormatter;
use icu_datetime::fieldsets::YMD;
use icu_decimal::DecimalFormatter;
use icu_decimal::input::Decimal;
use icu_decimal::options::GroupingStrategy;
use icu_experimental::dimension::currency::CurrencyType;
use icu_experimental::dimension::currency::formatter::CurrencyFormatter;
use icu_experimental::relativetime::options::Numeric;
use icu_experimental::relativetime::{RelativeTimeFormatter, RelativeTimeFormatterOptions};
use icu_list::ListFormatter;
use icu_locale_core::Locale;
use icu_plurals::{PluralCategory, PluralRules};
use jiff::civil::Date;

use super::figures::Figures;
use crate::money::minor_digits;

/// A locale, and what was learned of it so far.
pub(super) struct Language {
    locale: Locale,
    /// Whether CLDR describes it; otherwise `locale` is English.
    known: bool,
    days: FixedCalendarDateTimeFormatter<Gregorian, YMD>,
    numbers: OnceCell<Figures>,
    currencies: RefCell<Vec<(CurrencyType, Rc<Money>)>>,
    /// In days, weeks, months, years.
    distances: OnceCell<[RelativeTimeFormatter; 4]>,
    /// Joined by "and", by "or".
    lists: [OnceCell<ListFormatter>; 2],
    forms: OnceCell<PluralRules>,
}

/// How a language writes a currency.
struct Money {
    figures: Figures,
    /// Behind the point, ISO 4217.
    digits: u32,
}

thread_local! {
    static SPOKEN: RefCell<Vec<(Box<str>, Rc<Language>)>> = const { RefCell::new(Vec::new()) };
}

/// Most locales, and currencies of one, that a thread remembers; customers' data may hold any.
const REMEMBERED_MAX: usize = 64;

/// Longest text that is read as a locale.
const LOCALE_CHARACTERS_MAX: usize = 64;

/// Names of languages that older systems still use.
const FORMER: [(&str, &str); 5] = [("in", "id"), ("iw", "he"), ("ji", "yi"), ("sh", "sr-Latn"), ("tl", "fil")];

/// Languages in which these currencies need no country beside their sign.
const SETTLED: [&str; 4] = ["en", "ja", "de", "fr"];
const SIGNS: [&str; 6] = ["USD", "EUR", "GBP", "JPY", "KRW", "INR"];

/// Why nothing here fails: whatever a locale says, CLDR answers, with the words of its root if need be.
const ANSWERS: &str = "compiled data answer for every locale";

/// The language of a locale such as `pt-BR`, `en_US.UTF-8` or anything else a customer's data may hold.
pub(super) fn of(locale: &str) -> Rc<Language> {
    let remembered = SPOKEN.with_borrow_mut(|all| {
        let at = all.iter().position(|(name, _)| **name == *locale)?;
        // What is asked for again is found at once.
        all[..=at].rotate_right(1);
        Some(all[0].1.clone())
    });
    remembered.unwrap_or_else(|| {
        let language = Rc::new(Language::learned(locale));
        SPOKEN.with_borrow_mut(|all| {
            all.truncate(REMEMBERED_MAX - 1);
            all.insert(0, (locale.into(), language.clone()));
        });
        language
    })
}

/// Whether CLDR describes the language of a locale.
pub(super) fn is_known(locale: &str) -> bool {
    of(locale).known
}

/// Languages that are written in more than one script, which a country may decide.
const OF_SCRIPTS: [&str; 14] = ["zh", "yue", "sr", "bs", "uz", "az", "kk", "ky", "pa", "ks", "sd", "mn", "tg", "ha"];

/// The locale of the figures in a mail that is written in one locale and read by a person of another: the mail's language and script, in the
/// person's country when it is a country of that language and script.
pub(super) fn in_country<'l>(written: &'l str, person: &'l str) -> Cow<'l, str> {
    let (mail, reader) = (Subtags::of(written), Subtags::of(person));
    let (Some(region), true) = (reader.region, mail.language.eq_ignore_ascii_case(reader.language)) else {
        return written.into();
    };
    let known = |tag: Option<&str>| tag.map(str::to_ascii_lowercase);
    let decides = OF_SCRIPTS.contains(&mail.language.to_ascii_lowercase().as_str());
    if mail.script.is_none() && decides && known(mail.region) != known(Some(region)) {
        return written.into();
    }
    match mail.script {
        Some(script) => format!("{}-{script}-{region}", mail.language).into(),
        None if person.len() == mail.language.len() + 1 + region.len() => person.into(),
        None => format!("{}-{region}", mail.language).into(),
    }
}

/// Language, script and country of a locale; what follows them is left.
struct Subtags<'a> {
    language: &'a str,
    script: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Subtags<'a> {
    fn of(text: &'a str) -> Subtags<'a> {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')).unwrap_or(text.len());
        let mut tags = text[..end].split(['-', '_']).peekable();
        let language = tags.next().unwrap_or_default();
        let letters = |tag: &str, n: usize| tag.len() == n && tag.bytes().all(|b| b.is_ascii_alphabetic());
        let script = tags.next_if(|tag| letters(tag, 4));
        let digits = |tag: &str| tag.len() == 3 && tag.bytes().all(|b| b.is_ascii_digit());
        Subtags { language, script, region: tags.next_if(|tag| letters(tag, 2) || digits(tag)) }
    }
}

/// What of a text is a locale; without what follows it in POSIX, and without subtags that are none.
fn read(text: &str) -> Locale {
    let plain = text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let mut tag: String = plain.take(LOCALE_CHARACTERS_MAX).map(|c| if c == '_' { '-' } else { c }).collect();
    loop {
        if let Ok(locale) = Locale::try_from_str(&tag) {
            return match FORMER.iter().find(|(former, _)| locale.id.language.as_str() == *former) {
                Some((_, today)) => Locale::try_from_str(today).expect("a locale"),
                None => locale,
            };
        }
        match tag.rfind('-') {
            Some(end) => tag.truncate(end),
            None => return Locale::UNKNOWN,
        }
    }
}

impl Language {
    fn learned(locale: &str) -> Language {
        let asked = Language::speaking(read(locale));
        // The root of CLDR numbers the months: who has no name for them is not described.
        if asked.date(Date::constant(2026, 11, 24)).contains("M11") {
            return Language { known: false, ..Language::speaking(Locale::try_from_str("en").expect("a locale")) };
        }
        asked
    }

    fn speaking(locale: Locale) -> Language {
        let days = FixedCalendarDateTimeFormatter::try_new((&locale).into(), YMD::long()).expect(ANSWERS);
        Language {
            locale,
            known: true,
            days,
            numbers: OnceCell::new(),
            currencies: RefCell::default(),
            distances: OnceCell::new(),
            lists: Default::default(),
            forms: OnceCell::new(),
        }
    }

    fn is(&self, language: &str) -> bool {
        self.locale.id.language.as_str() == language
    }

    /// The locale whose figures are written.
    fn of_figures(&self) -> Locale {
        let austrian = self.is("de") && self.locale.id.region.is_some_and(|r| r.as_str() == "AT");
        if austrian { Locale::try_from_str("de").expect("a locale") } else { self.locale.clone() }
    }

    fn digits(&self) -> [char; 10] {
        let formatter = DecimalFormatter::try_new(self.of_figures().into(), GroupingStrategy::Never.into());
        let all: Vec<char> = formatter.expect(ANSWERS).format(&1_234_567_890_i64.into()).to_string().chars().collect();
        // Said from one to nothing.
        std::array::from_fn(|digit| all[(digit + 9) % 10])
    }

    fn numbers(&self) -> &Figures {
        self.numbers.get_or_init(|| {
            let formatter = DecimalFormatter::try_new(self.of_figures().into(), Default::default()).expect(ANSWERS);
            Figures::learned(self.digits(), ".", |n| formatter.format(n).to_string())
        })
    }

    fn currency(&self, currency: CurrencyType) -> Rc<Money> {
        if let Some((_, money)) = self.currencies.borrow().iter().find(|(c, _)| *c == currency) {
            return money.clone();
        }
        let code = currency.iso_code();
        let money = Rc::new(Money { figures: self.figures_of(currency), digits: minor_digits(&code) });
        let mut all = self.currencies.borrow_mut();
        all.truncate(REMEMBERED_MAX - 1);
        all.insert(0, (currency, money.clone()));
        money
    }

    fn figures_of(&self, currency: CurrencyType) -> Figures {
        let code = currency.iso_code();
        if self.is("ja") && code == "JPY" {
            return self.numbers().clone().followed_by("円");
        }
        let settled = SIGNS.contains(&code.as_str()) && SETTLED.iter().any(|language| self.is(language));
        let (preferences, plain) = (self.of_figures().into(), Default::default());
        let formatter = match settled {
            true => CurrencyFormatter::try_new_symbol_narrow(preferences, currency, plain),
            false => CurrencyFormatter::try_new_symbol(preferences, currency, plain),
        }
        .expect(ANSWERS);
        Figures::learned(self.digits(), self.numbers().point(), |n| formatter.format_fixed_decimal(n).to_string())
    }

    /// An amount in minor units: `$1,234.50`, `1.234,50 €`, `1,234円`.
    pub(super) fn money(&self, minor: i64, currency: CurrencyType) -> String {
        let money = self.currency(currency);
        let unit = 10_u64.pow(money.digits);
        let (whole, rest) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
        let width = money.digits as usize;
        let rest = if width > 0 { format!("{rest:0width$}") } else { String::new() };
        money.figures.write(minor < 0, &whole.to_string(), &rest)
    }

    /// A finite number: at most two digits after the point and no idle zeros, or just as many `decimals` as are asked for.
    pub(super) fn number(&self, value: f64, decimals: Option<usize>) -> String {
        let text = format!("{:.*}", decimals.unwrap_or(2), value.abs());
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let fraction = if decimals.is_none() { fraction.trim_end_matches('0') } else { fraction };
        let is_nothing = [whole, fraction].iter().all(|digits| digits.bytes().all(|digit| digit == b'0'));
        self.numbers().write(value < 0.0 && !is_nothing, whole, fraction)
    }

    /// A day in full: `November 24, 2026`.
    pub(super) fn date(&self, day: Date) -> String {
        let [month, of_month] = [day.month(), day.day()].map(i8::unsigned_abs);
        let date = GregorianDate::try_new_gregorian(day.year().into(), month, of_month).expect("a day of the calendar");
        let text = self.days.format(&date).to_string();
        match text.strip_prefix("1 ").filter(|_| self.is("fr")) {
            Some(rest) => format!("1er {rest}"),
            None => text,
        }
    }

    /// How far a day lies from today, in the largest unit that says it well.
    pub(super) fn relative(&self, days: i64) -> String {
        let far = days.unsigned_abs();
        let (n, unit) = match far {
            0..14 => (far, 0),
            14..60 => ((far + 3) / 7, 1),
            60..730 => ((far + 15) / 30, 2),
            _ => ((far + 182) / 365, 3),
        };
        let n = n as i64; // At most a seventh of what an i64 holds, or a day near by.
        let text = self.distances()[unit].format(Decimal::from(if days < 0 { -n } else { n })).to_string();
        match text {
            text if self.is("ja") => text.replace(' ', ""),
            // The root of CLDR knows no words.
            text if text.starts_with(['+', '-']) => of("en").relative(days),
            text => text,
        }
    }

    fn distances(&self) -> &[RelativeTimeFormatter; 4] {
        self.distances.get_or_init(|| {
            let numbered = RelativeTimeFormatterOptions::default().with_grouping_strategy(GroupingStrategy::Never);
            // "Yesterday" for a day; but "the year before last" is a year of the calendar, not two times 365 days.
            let named = numbered.with_numeric(Numeric::Auto);
            let locale = || (&self.locale).into();
            [
                RelativeTimeFormatter::try_new_long_day(locale(), named),
                RelativeTimeFormatter::try_new_long_week(locale(), numbered),
                RelativeTimeFormatter::try_new_long_month(locale(), numbered),
                RelativeTimeFormatter::try_new_long_year(locale(), numbered),
            ]
            .map(|formatter| formatter.expect(ANSWERS))
        })
    }

    /// `a, b and c`; with "or" instead.
    pub(super) fn list(&self, items: &[String], or: bool) -> String {
        let formatter = self.lists[usize::from(or)].get_or_init(|| {
            let (locale, plain) = ((&self.locale).into(), Default::default());
            match or {
                true => ListFormatter::try_new_or(locale, plain),
                false => ListFormatter::try_new_and(locale, plain),
            }
            .expect(ANSWERS)
        });
        formatter.format(items.iter()).to_string()
    }

    /// The form that a whole number takes; a broken one takes the general form.
    pub(super) fn form(&self, n: f64) -> PluralCategory {
        let rules = self.forms.get_or_init(|| PluralRules::try_new_cardinal((&self.locale).into()).expect(ANSWERS));
        if n.fract() == 0.0 && n.abs() < 9.0e15 { rules.category_for(n.abs() as u64) } else { PluralCategory::Other }
    }
}

#[cfg(test)]
mod tests;
