//! What the values of one name looked like, counted value by value, and the type they suggest. Pure.
//!
//! Holds counts, at most [`WORDS_GUESSED_MAX`] short values and the shape of one example per name, however many rows are observed. A value
//! leaves here only as a word that several rows share; of everything else only the shape: `Aaaa-99` for `Bowl-12`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::db::decimal;
use crate::money::grouped;
use crate::settings::PropertyType;
use crate::settings::contract::is_word;

/// Fewer different values are no choice.
const WORDS_GUESSED_MIN: usize = 2;
/// The most different values that are still taken for a choice of words …
pub const WORDS_GUESSED_MAX: usize = 12;
/// … over at least so many rows …
pub const WORDS_ROWS_MIN: u64 = 50;
/// … each of them in at least so many …
pub const WORD_ROWS_MIN: u64 = 3;
/// … and no longer than so many characters.
const WORD_CHARS_MAX: usize = 40;
/// Characters of an example's shape.
const EXAMPLE_CHARS_MAX: usize = 24;
/// What the names of values hold that are about a person: these are neither listed as words nor shown as a shape.
const PERSONAL: [&str; 21] = [
    "name",
    "mail",
    "phone",
    "mobile",
    "tel",
    "fax",
    "contact",
    "address",
    "street",
    "birth",
    "iban",
    "passport",
    "user",
    "login",
    "氏名",
    "名前",
    "住所",
    "電話",
    "メール",
    "携帯",
    "生年",
];

/// Whose values these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Customers,
    Products,
    Events,
}

/// What one value is. Text that reads as a number, a flag or a day counts as that, because comparisons read it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Flag,
    Date,
    List,
    Object,
    Text,
}

/// The kinds and what a comment calls them, in the order of [`Kind`].
const KINDS: [&str; 6] = ["numbers", "true or false", "dates", "lists", "objects", "text"];

/// What the values of one name looked like.
#[derive(Debug, Clone)]
pub struct Property {
    /// The type that somebody declared.
    pub declared: Option<PropertyType>,
    /// An amount in the project's currency, if it is a number at all.
    money: bool,
    /// Its values are neither listed nor shown.
    personal: bool,
    /// Its values may be a choice of words.
    choice: bool,
    /// Values by kind; nulls and blank text are no values.
    kinds: [u64; KINDS.len()],
    /// Those that are JSON text.
    strings: u64,
    /// Those that cannot be read as declared.
    unlike: u64,
    /// The different short values; `None` when they cannot be a choice of words.
    words: Option<BTreeMap<String, u64>>,
    /// The shape of the first text or number.
    shape: Option<String>,
}

impl Property {
    pub fn new(name: &str, of: Of, declared: Option<PropertyType>) -> Property {
        let lower = name.to_lowercase();
        let personal = of != Of::Products && PERSONAL.iter().any(|p| lower.contains(p));
        Property {
            declared,
            money: of == Of::Events && name == "amount",
            personal,
            choice: !(personal || of == Of::Events && name == "sku"),
            kinds: [0; KINDS.len()],
            strings: 0,
            unlike: 0,
            words: Some(BTreeMap::new()),
            shape: None,
        }
    }

    /// Count one value.
    pub fn observe(&mut self, value: &Json) {
        let Some(kind) = kind_of(value) else { return };
        self.kinds[kind as usize] += 1;
        self.strings += u64::from(value.is_string());
        if self.declared.as_ref().is_some_and(|ty| !reads_as(ty, value, kind)) {
            self.unlike += 1;
        }
        if let Json::String(text) = value {
            self.count_word(text);
        }
        if self.shape.is_none() && matches!(kind, Kind::Text | Kind::Number) {
            self.shape = Some(shape_of(&scalar_text(value)));
        }
    }

    fn count_word(&mut self, text: &str) {
        let Some(words) = &mut self.words else { return };
        let short = text.chars().count() <= WORD_CHARS_MAX && is_word(text) && !text.contains('@');
        if !short || (words.len() == WORDS_GUESSED_MAX && !words.contains_key(text)) {
            self.words = None;
            return;
        }
        *words.entry(text.to_owned()).or_default() += 1;
    }

    /// How many rows had a value.
    pub fn seen(&self) -> u64 {
        self.kinds.iter().sum()
    }

    /// Whether there are values that cannot be read as declared.
    pub fn disagrees(&self) -> bool {
        self.unlike > 0
    }

    /// The declared type, or what the values suggest; `None` when there are none but objects, which no rule can ask for.
    pub fn property_type(&self) -> Option<PropertyType> {
        self.declared.clone().or_else(|| self.guess())
    }

    fn guess(&self) -> Option<PropertyType> {
        let seen = self.seen();
        let all = |kind: Kind| self.kinds[kind as usize] == seen;
        if seen == 0 || all(Kind::Object) {
            return None;
        }
        Some(match () {
            () if all(Kind::Number) && self.money => PropertyType::Money,
            () if all(Kind::Number) => PropertyType::Number,
            () if all(Kind::Flag) => PropertyType::Flag,
            () if all(Kind::Date) => PropertyType::Date,
            () if all(Kind::List) => PropertyType::List,
            () => self.words().map_or(PropertyType::Text, PropertyType::Words),
        })
    }

    /// The words, when the values are a choice of few.
    fn words(&self) -> Option<Vec<String>> {
        let words = self.words.as_ref().filter(|_| self.choice)?;
        let texts = self.kinds[Kind::Text as usize];
        let few = texts == self.seen()
            && texts >= WORDS_ROWS_MIN
            && words.len() >= WORDS_GUESSED_MIN
            && words.values().all(|rows| *rows >= WORD_ROWS_MIN)
            && !words.keys().all(|w| reads_as_a_persons_name(w));
        few.then(|| words.keys().cloned().collect())
    }

    /// What was seen, for the line of this name: `seen in 812 of 1,000, such as 999`. One line of plain characters.
    pub fn remark(&self, looked_at: u64) -> String {
        let seen = self.seen();
        if looked_at == 0 {
            return "not seen".to_owned();
        }
        if seen == 0 {
            return format!("not seen in {} looked at", grouped(looked_at as i64));
        }
        let share = format!("in {} of {}", grouped(seen as i64), grouped(looked_at as i64));
        let several = self.kinds.iter().filter(|n| **n > 0).count() > 1;
        match &self.declared {
            Some(PropertyType::Words(_)) if self.disagrees() && self.strings == seen => {
                format!("seen as other words ({}), {share}", grouped(self.unlike as i64))
            }
            Some(_) if self.disagrees() => format!("seen as {}, {share}", self.kinds_text()),
            None if several => format!("seen as {}, {share}", self.kinds_text()),
            _ => match self.example() {
                Some(shape) => format!("seen {share}, such as {shape}"),
                None => format!("seen {share}"),
            },
        }
    }

    /// `numbers (828) and text (12)`; without counts when there is one kind only.
    fn kinds_text(&self) -> String {
        let seen: Vec<(&str, u64)> = KINDS.into_iter().zip(self.kinds).filter(|(_, n)| *n > 0).collect();
        match seen.as_slice() {
            [(kind, _)] => (*kind).to_owned(),
            several => {
                let parts: Vec<String> = several.iter().map(|(k, n)| format!("{k} ({})", grouped(*n as i64))).collect();
                parts.join(" and ")
            }
        }
    }

    fn example(&self) -> Option<&str> {
        let ty = self.property_type()?;
        let shown = matches!(ty, PropertyType::Text | PropertyType::Number) && !self.personal;
        self.shape.as_deref().filter(|_| shown)
    }

    /// For machines; `null` as type when the name is left out.
    pub fn to_json(&self) -> Json {
        let ty = self.property_type().map(|ty| match ty {
            PropertyType::Words(words) => json!(words),
            other => json!(other.name()),
        });
        let kinds: serde_json::Map<String, Json> =
            KINDS.into_iter().zip(self.kinds).filter(|(_, n)| *n > 0).map(|(k, n)| (k.to_owned(), n.into())).collect();
        json!({
            "type": ty, "declared": self.declared.is_some(), "seen": self.seen(), "seen_as": kinds,
            "unlike_declared": self.unlike,
        })
    }
}

/// What a value is; `None` when there is none.
fn kind_of(value: &Json) -> Option<Kind> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(_) => Kind::Flag,
        Json::Number(_) => Kind::Number,
        Json::Array(_) => Kind::List,
        Json::Object(_) => Kind::Object,
        Json::String(text) if text.trim().is_empty() => return None,
        Json::String(text) if matches!(text.as_str(), "true" | "false") => Kind::Flag,
        Json::String(text) if decimal(text).is_some() => Kind::Number,
        Json::String(text) if is_day(text) => Kind::Date,
        Json::String(_) => Kind::Text,
    })
}

fn is_day(text: &str) -> bool {
    text.len() == "2026-11-24".len() && text.parse::<jiff::civil::Date>().is_ok()
}

/// A value as a comparison with text reads it.
fn scalar_text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a value can be read as a declared type.
fn reads_as(ty: &PropertyType, value: &Json, kind: Kind) -> bool {
    match ty {
        PropertyType::Text => !matches!(kind, Kind::List | Kind::Object),
        PropertyType::Words(words) => !matches!(kind, Kind::List | Kind::Object) && words.contains(&scalar_text(value)),
        PropertyType::Number | PropertyType::Money => kind == Kind::Number,
        PropertyType::Flag => kind == Kind::Flag,
        PropertyType::Date => kind == Kind::Date,
        PropertyType::List => kind == Kind::List || value.is_string(),
    }
}

/// Letters become `a` or `A`, digits `9`; of other scripts every letter is an `a`. Only printable ASCII is left.
fn shape_of(text: &str) -> String {
    let shape = |c: char| match c {
        c if c.is_numeric() => '9',
        c if c.is_uppercase() => 'A',
        c if c.is_alphabetic() => 'a',
        c if c == ' ' || c.is_ascii_punctuation() => c,
        _ => '?',
    };
    let mut out: String = text.trim().chars().take(EXAMPLE_CHARS_MAX).map(shape).collect();
    if text.trim().chars().nth(EXAMPLE_CHARS_MAX).is_some() {
        out.push_str("...");
    }
    out
}

/// Two or three words that each begin with a capital: `Mia Berg`. Some places read so too, and are then not listed either.
fn reads_as_a_persons_name(text: &str) -> bool {
    let parts: Vec<&str> = text.split(' ').collect();
    (2..=3).contains(&parts.len())
        && parts.iter().all(|p| {
            p.chars().next().is_some_and(char::is_uppercase)
                && p.chars().all(|c| c.is_alphabetic() || "'-.".contains(c))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, declared: Option<PropertyType>, values: &[Json]) -> Property {
        let mut property = Property::new(name, Of::Events, declared);
        values.iter().for_each(|v| property.observe(v));
        property
    }

    fn guess(name: &str, values: &[Json]) -> Option<PropertyType> {
        seen(name, None, values).property_type()
    }

    #[test]
    fn a_type_needs_all_values_to_agree() {
        use PropertyType::{Date, Flag, List, Money, Number, Text};
        for (values, ty) in [
            (vec![json!(1), json!(2.5), json!("7"), json!("-0.25"), json!(null), json!(" ")], Some(Number)),
            (vec![json!(true), json!("false")], Some(Flag)),
            (vec![json!("2026-11-24"), json!("2024-02-29")], Some(Date)),
            (vec![json!(["a"]), json!([])], Some(List)),
            (vec![json!("2026-02-30")], Some(Text)),
            (vec![json!("01067"), json!("20457")], Some(Text)),
            (vec![json!(1), json!(true)], Some(Text)),
            (vec![json!({ "a": 1 })], None),
            (vec![json!(null)], None),
            (vec![json!({ "a": 1 }), json!("x")], Some(Text)),
        ] {
            assert_eq!(guess("p", &values), ty, "{values:?}");
        }
        assert_eq!(guess("amount", &[json!("12.50")]), Some(Money));
        assert_eq!(guess("amount", &[json!("12,50"), json!(1)]), Some(Text));
        let mut points = Property::new("amount", Of::Customers, None);
        points.observe(&json!(3));
        assert_eq!(points.property_type(), Some(Number), "only events have amounts");
    }

    #[test]
    fn few_short_values_that_come_back_are_words() {
        let values =
            |words: &[&str], times: usize| -> Vec<Json> { words.iter().flat_map(|w| vec![json!(w); times]).collect() };
        let ty = |words: &[&str], times| guess("tier", &values(words, times)).unwrap().name();
        assert_eq!(ty(&["silver", "gold"], 25), "[gold, silver]");
        assert_eq!(ty(&["silver", "gold"], 24), "text", "48 rows are too few");
        let twelve: Vec<String> = (0..13).map(|i| format!("w{i:02}")).collect();
        let twelve: Vec<&str> = twelve.iter().map(String::as_str).collect();
        assert!(ty(&twelve[..12], 5).starts_with("[w00, "));
        assert_eq!(ty(&twelve, 5), "text");
        let rare = [values(&["gold"], 60), values(&["typo"], 2)].concat();
        assert_eq!(guess("tier", &rare).unwrap(), PropertyType::Text);
        assert_eq!(ty(&["x".repeat(41).as_str()], 60), "text");
        assert_eq!(ty(&["website"], 60), "text", "one value is no choice");
        assert_eq!(ty(&["none", "42"], 30), "text", "numbers among them are worth a look");
    }

    #[test]
    fn nothing_about_a_person_is_listed_or_shown() {
        for (name, values) in [
            ("agent", ["Mia Berg", "Jonas Lindt"]),
            ("agent_name", ["Mia", "Jonas"]),
            ("担当者の氏名", ["花岡", "小暮"]),
            ("note", ["mia@example.com", "jonas@example.com"]),
            ("Phone", ["+49 40 1234567", "+49 40 7654321"]),
        ] {
            let property = seen(name, None, &values.map(|v| vec![json!(v); 40]).concat());
            assert_eq!(property.property_type(), Some(PropertyType::Text), "{name}");
            assert!(values.iter().all(|v| !property.remark(80).contains(v)), "{}", property.remark(80));
        }
        assert_eq!(seen("phone", None, &[json!("491701234567")]).remark(1), "seen in 1 of 1");
        assert_eq!(seen("code", None, &[json!("Bowl-12 器\n")]).remark(1), "seen in 1 of 1, such as Aaaa-99 a");
        assert_eq!(seen("code", None, &[json!("é".repeat(10_000))]).remark(1).len(), 51);
    }

    #[test]
    fn remarks_say_what_does_not_fit() {
        use PropertyType::{List, Number, Text, Words};
        let mixed = [json!(1), json!(2), json!("x")];
        assert_eq!(seen("p", None, &mixed).remark(9), "seen as numbers (2) and text (1), in 3 of 9");
        assert_eq!(seen("p", Some(Number), &mixed).remark(9), "seen as numbers (2) and text (1), in 3 of 9");
        assert_eq!(seen("p", Some(Number), &[json!("x")]).remark(1), "seen as text, in 1 of 1");
        assert_eq!(seen("p", Some(Text), &mixed).remark(1_000), "seen in 3 of 1,000, such as 9");
        assert_eq!(seen("p", Some(List), &[json!("a;b"), json!(["c"])]).remark(2), "seen in 2 of 2");
        let gold = || Some(Words(vec!["gold".to_owned()]));
        assert_eq!(seen("p", gold(), &[json!("gold"), json!("tin")]).remark(2), "seen as other words (1), in 2 of 2");
        assert_eq!(seen("p", gold(), &[json!("gold")]).remark(2), "seen in 1 of 2");
        assert_eq!(seen("p", gold(), &[json!(7)]).remark(2), "seen as numbers, in 1 of 2");
        assert_eq!(seen("p", gold(), &[]).remark(2_500), "not seen in 2,500 looked at");
    }
}
