//! `rewards:` of okaeri.yaml: pools of what a mail may give a person. A reward need not be a discount. Reads and describes; which message got
//! what is known to the room `offer`.
//!
//! Money is minor units. A date that ends something belongs to it, in the project's time zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};
use serde_json::{Value as Json, json};

use super::language::by_language;
use super::{ByLanguage, in_language, is_name};
use crate::clock::{self, DAY, Millis};
use crate::problem::{Place, Problems};
use crate::yaml::{MapReader, Node, Shape, Span};

/// The sign of a pattern that a random character takes the place of.
const PLACE: char = '#';
/// Random characters of a pattern, at least: with 27 signs each, nobody finds a code by trying.
const PLACES_MIN: usize = 8;
/// Signs of random characters: no vowels, so that no code is a word, and none that is taken for another.
pub const SIGNS: &[u8; 27] = b"23456789BCDFGHJKMNPQRSTVWXZ";
/// The longest code, in characters.
pub const CODE_CHARS_MAX: usize = 64;
/// The code shown where nothing is given: previews and trials.
const SAMPLE_CODE: &str = "SAMPLE-CODE";
/// The most days after which a reward may expire.
const EXPIRY_DAYS_MAX: i64 = 3_660;

/// A pool of rewards of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardPool {
    pub name: String,
    pub kind: RewardKind,
    /// What the person reads; by locale, `default` first.
    pub titles: ByLanguage,
    /// The conditions, by locale; none when there are none.
    pub terms: ByLanguage,
    /// What it is worth to the person.
    pub value: Option<i64>,
    /// What it costs the shop when it is used.
    pub cost: i64,
    pub codes: Codes,
    pub expires: Option<Expires>,
    /// At most so many are out at any time.
    pub at_most: Option<u32>,
    /// What it is about: whoever buys there likes it.
    pub categories: Vec<String>,
    pub place: Place,
}

/// What a reward is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewardKind {
    /// A coupon.
    Code,
    /// Something put into the next parcel.
    Gift,
    /// Early or exclusive access.
    Access,
    /// An invitation.
    Event,
    /// Money back after the next order.
    Cashback,
}

/// Where a pool's codes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codes {
    /// It needs none.
    None,
    /// `okaeri reward import` brought them.
    Imported,
    /// Made when they are given, by this pattern.
    Pattern(String),
}

/// Until when a reward is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// Days after its message is due.
    After(i64),
    On(Date),
}

impl RewardKind {
    pub(super) const WORDS: [(&str, RewardKind); 5] = [
        ("code", RewardKind::Code),
        ("gift", RewardKind::Gift),
        ("access", RewardKind::Access),
        ("event", RewardKind::Event),
        ("cashback", RewardKind::Cashback),
    ];

    /// As authors write it.
    pub fn word(self) -> &'static str {
        RewardKind::WORDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

impl RewardPool {
    /// When a reward given with a message that is due then is over; `None`: never.
    pub fn expires_at(&self, due_at: Millis, zone: &TimeZone) -> Option<Millis> {
        let last = match self.expires? {
            Expires::After(days) => clock::date_in(due_at, zone).saturating_add(SignedDuration::from_hours(24 * days)),
            Expires::On(date) => date,
        };
        Some(clock::start_of_day(last.saturating_add(1.day()), zone))
    }

    /// When the whole pool is over.
    pub fn ends_at(&self, zone: &TimeZone) -> Option<Millis> {
        self.expires.filter(|e| matches!(e, Expires::On(_))).and_then(|_| self.expires_at(0, zone))
    }

    /// What templates are told of a reward of this pool.
    pub fn for_templates(&self, locale: &str, code: Option<&str>, expires_on: Option<Date>) -> Json {
        let mut told = json!({
            "pool": self.name,
            "kind": self.kind.word(),
            "title": in_language(&self.titles, locale).unwrap_or(&self.name),
        });
        let optional = [
            ("value", self.value.map(Json::from)),
            ("code", code.map(Json::from)),
            ("expires_on", expires_on.map(|date| date.to_string().into())),
            ("terms", in_language(&self.terms, locale).map(Json::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                told[name] = value;
            }
        }
        told
    }

    /// The same for previews and trials: with a code that is nobody's.
    pub fn sample(&self, locale: &str, today: Date) -> Json {
        let code = match &self.codes {
            Codes::None => None,
            Codes::Imported => Some(SAMPLE_CODE.to_owned()),
            Codes::Pattern(pattern) => {
                // The same signs each time, and none that look like a place somebody forgot to fill.
                let mut turn = 0;
                Some(code_by(pattern, |below| {
                    turn += 7;
                    turn % below
                }))
            }
        };
        let expires_on = self.expires.map(|expires| match expires {
            Expires::After(days) => today.saturating_add(SignedDuration::from_hours(24 * days)),
            Expires::On(date) => date,
        });
        self.for_templates(locale, code.as_deref(), expires_on)
    }
}

/// A new code by a pattern; `random` gives a number below the one it is asked for.
pub fn code_by(pattern: &str, mut random: impl FnMut(usize) -> usize) -> String {
    let sign = |c: char, random: &mut dyn FnMut(usize) -> usize| {
        if c == PLACE { char::from(SIGNS[random(SIGNS.len())]) } else { c }
    };
    pattern.chars().map(|c| sign(c, &mut random)).collect()
}

/// Why a text cannot be a code; `None` when it can. What a spreadsheet would run, or a reader could not type, is none.
pub fn not_a_code(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.chars().count() > CODE_CHARS_MAX {
        return Some("is longer than 64 characters");
    }
    if !text.starts_with(char::is_alphanumeric) {
        return Some("begins with a sign: a spreadsheet could take it for a formula");
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    (!text.chars().all(fits)).then_some("holds more than letters, digits and - _ . : /")
}

/// Read `rewards:`.
pub(super) fn rewards(m: &mut MapReader, currency: &str, problems: &mut Problems) -> Vec<RewardPool> {
    let Some(mut r) = m.map("rewards", "rewards", problems) else { return Vec::new() };
    let mut pools = Vec::new();
    for pair in r.all() {
        if !is_name(&pair.key) {
            problems
                .error("bad-name", &pair.key_place, format!("`{}` cannot be the name of a pool", pair.key))
                .hint("lower-case letters, digits, - and _");
        }
        pools.extend(pool(&pair.key, &pair.key_place, &pair.value, currency, problems));
    }
    pools
}

fn pool(name: &str, place: &Place, node: &Node, currency: &str, problems: &mut Problems) -> Option<RewardPool> {
    let mut p = node.map("a reward pool", problems)?;
    let titles = p.node("title").map(|n| texts(n, "the title of a reward", problems)).unwrap_or_default();
    if p.node("title").is_none() {
        problems
            .error("missing-key", &p.place, format!("the pool `{name}` needs `title`: what the person gets"))
            .hint("title: 10 € off, or by language: { default: 10 € off, ja: 1000円引き }");
    }
    let terms = p.node("terms").map(|n| texts(n, "the terms of a reward", problems)).unwrap_or_default();
    let kind = p.choice("kind", &RewardKind::WORDS, problems).unwrap_or(RewardKind::Code);
    let value = p.node("value").and_then(|n| money(n, "value", currency, problems));
    let cost = p.node("cost").and_then(|n| money(n, "cost", currency, problems)).or(value).unwrap_or(0);
    let codes = match p.node("codes") {
        Some(node) => codes(node, problems),
        None if kind == RewardKind::Code => Codes::Imported,
        None => Codes::None,
    };
    let expires = p.node("expires").and_then(|n| expires(n, problems));
    let at_most = p.get("at_most", problems);
    let categories = p.list::<String>("categories", problems).unwrap_or_default();
    p.finish(problems);
    let name = name.to_owned();
    Some(RewardPool {
        name,
        kind,
        titles,
        terms,
        value,
        cost,
        codes,
        expires,
        at_most,
        categories,
        place: place.clone(),
    })
}

fn money(node: &Node, key: &str, currency: &str, problems: &mut Problems) -> Option<i64> {
    let major = node.read::<f64>(&format!("`{key}`"), problems)?;
    let minor = crate::money::to_minor(major, currency).filter(|m| *m >= 0);
    if minor.is_none() {
        problems.error("bad-amount", &node.place, format!("`{key}`: {major} is not an amount of {currency}"));
    }
    minor
}

/// `imported`, `none`, or `{ pattern: BACK-####-#### }`.
fn codes(node: &Node, problems: &mut Problems) -> Codes {
    match node.as_text() {
        Some("imported") => return Codes::Imported,
        Some("none") => return Codes::None,
        _ => {}
    }
    let fallback = Codes::Imported;
    if !matches!(node.shape, Shape::Map(_)) {
        problems
            .error("unknown-word", &node.place, format!("`codes` cannot be {}", node.described()))
            .hint("imported, none, or { pattern: \"BACK-####-####\" }");
        return fallback;
    }
    let Some(mut c) = node.map("`codes`", problems) else { return fallback };
    let pattern = c.require::<String>("pattern", problems);
    let place = c.node("pattern").map_or_else(|| node.place.clone(), |n| n.place.clone());
    c.finish(problems);
    let Some(pattern) = pattern else { return fallback };
    let places = pattern.chars().filter(|c| *c == PLACE).count();
    if places < PLACES_MIN {
        problems
            .error(
                "pattern-too-short",
                &place,
                format!("`{pattern}` has {places} random characters: its codes can be guessed"),
            )
            .hint(format!(
                "each # becomes a random letter or digit; at least {PLACES_MIN} of them, such as BACK-####-####"
            ));
    }
    let filled = pattern.replace(PLACE, "X");
    if let Some(why) = not_a_code(&filled) {
        problems.error("bad-pattern", &place, format!("a code by the pattern `{pattern}` {why}"));
    }
    Codes::Pattern(pattern)
}

/// `30d` after the message is due, or a date.
fn expires(node: &Node, problems: &mut Problems) -> Option<Expires> {
    let text = node.read::<String>("`expires`", problems)?;
    if let Ok(date) = text.trim().parse::<Date>() {
        return Some(Expires::On(date));
    }
    let days = Span::parse(&text).map(|span| span.millis() / DAY);
    let found = days.filter(|days| (1..=EXPIRY_DAYS_MAX).contains(days)).map(Expires::After);
    if found.is_none() {
        problems
            .error("wrong-type", &node.place, format!("`expires` must be days or a date, not `{text}`"))
            .hint("30d after the message, or 2026-12-31: that day belongs to it");
    }
    found
}

/// A text, or one for each language; there is always one for everybody else.
fn texts(node: &Node, what: &str, problems: &mut Problems) -> ByLanguage {
    let texts = by_language(node, what, problems);
    if matches!(node.shape, Shape::Map(_)) && !texts.iter().any(|(locale, _)| locale == "default") {
        problems
            .error(
                "missing-key",
                &node.place,
                format!("{what} needs `default`: for everybody whose language is not here"),
            )
            .hint("{ default: 10 € off, ja: 1000円引き }");
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<RewardPool>, String) {
        let mut problems = Problems::new();
        let node = crate::yaml::parse("okaeri.yaml", text, &mut problems).unwrap();
        let mut m = node.map("okaeri.yaml", &mut problems).unwrap();
        let pools = rewards(&mut m, "EUR", &mut problems);
        (pools, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    #[test]
    fn pools_are_read_with_what_is_usual() {
        let (pools, problems) = read(
            "rewards:\n  ten: { title: 10 € off, value: 10 }\n  gift:\n    kind: gift\n    title: { ja: 小さな贈り物, default: A small gift }\n    \
             cost: 2.5\n    at_most: 200\n    categories: [tea, 紙]\n  sorry:\n    title: Sorry\n    codes: { pattern: \"SORRY-####-####\" }\n    \
             expires: 30d\n    terms: Once, from 20 €\n  party: { kind: event, title: Party, codes: imported, expires: 2026-12-31 }\n",
        );
        assert_eq!(problems, "");
        let [ten, gift, sorry, party] = pools.as_slice() else { panic!("{pools:?}") };
        assert_eq!(
            (ten.kind, &ten.codes, ten.value, ten.cost),
            (RewardKind::Code, &Codes::Imported, Some(1_000), 1_000)
        );
        assert_eq!((&gift.codes, gift.value, gift.cost, gift.at_most), (&Codes::None, None, 250, Some(200)));
        assert_eq!(party.codes, Codes::Imported);
        let today = jiff::civil::date(2026, 11, 24);
        assert_eq!(gift.sample("ja-JP", today), json!({ "pool": "gift", "kind": "gift", "title": "小さな贈り物" }));
        assert_eq!(gift.sample("fr", today)["title"], "A small gift");
        assert_eq!(
            sorry.sample("en", today),
            json!({ "pool": "sorry", "kind": "code", "title": "Sorry", "code": "SORRY-9JS3-BKT4",
                    "expires_on": "2026-12-24", "terms": "Once, from 20 €" })
        );
        assert_eq!(ten.sample("en", today)["code"], "SAMPLE-CODE");
    }

    #[test]
    fn every_kind_is_told_to_templates_and_only_coupons_need_codes() {
        for (word, kind) in RewardKind::WORDS {
            let (pools, problems) = read(&format!("rewards:\n  a: {{ title: A, kind: {word}, value: 5 }}\n"));
            assert_eq!((problems.as_str(), pools[0].kind), ("", kind));
            let told = pools[0].sample("en", jiff::civil::date(2026, 11, 24));
            assert_eq!((&told["kind"], &told["value"]), (&word.into(), &500.into()));
            assert_eq!(told.get("code").is_some(), kind == RewardKind::Code, "{word}");
        }
    }

    #[test]
    fn the_last_day_belongs_to_a_reward() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text| clock::parse_instant(text, &zone).unwrap();
        let (pools, _) = read(
            "rewards:\n  a: { title: A, expires: 3d }\n  b: { title: B, expires: 2026-12-31 }\n  c: { title: C }\n",
        );
        // Over the change of clocks of 25 October.
        assert_eq!(pools[0].expires_at(at("2026-10-24T23:30"), &zone), Some(at("2026-10-28")));
        assert_eq!(pools[1].expires_at(at("2026-10-24T23:30"), &zone), Some(at("2027-01-01")));
        assert_eq!((pools[0].ends_at(&zone), pools[1].ends_at(&zone)), (None, Some(at("2027-01-01"))));
        assert_eq!(pools[2].expires_at(0, &zone), None);
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        let (_, problems) = read(
            "rewards:\n  Ten Off: { title: x }\n  a: { value: 1.234, kind: coupon, codes: { pattern: \"A-###\" }, expires: soon, cots: 1 }\n  \
             b: { title: { ja: 贈り物 }, codes: made, value: -1 }\n  c: { title: C, codes: { pattern: \"=########\" }, at_most: many }\n",
        );
        insta::assert_snapshot!(problems, @r##"
        okaeri.yaml:2:3: error: `Ten Off` cannot be the name of a pool [bad-name]
            lower-case letters, digits, - and _
        okaeri.yaml:3:6: error: the pool `a` needs `title`: what the person gets [missing-key]
            title: 10 € off, or by language: { default: 10 € off, ja: 1000円引き }
        okaeri.yaml:3:15: error: `value`: 1.234 is not an amount of EUR [bad-amount]
        okaeri.yaml:3:28: error: `kind` cannot be `coupon` [unknown-word]
            one of: code, gift, access, event, cashback
        okaeri.yaml:3:54: error: `A-###` has 3 random characters: its codes can be guessed [pattern-too-short]
            each # becomes a random letter or digit; at least 8 of them, such as BACK-####-####
        okaeri.yaml:3:74: error: `expires` must be days or a date, not `soon` [wrong-type]
            30d after the message, or 2026-12-31: that day belongs to it
        okaeri.yaml:3:80: error: `cots` is not a key of a reward pool [unknown-key]
            did you mean `cost`?
        okaeri.yaml:4:15: error: the title of a reward needs `default`: for everybody whose language is not here [missing-key]
            { default: 10 € off, ja: 1000円引き }
        okaeri.yaml:4:35: error: `codes` cannot be the text "made" [unknown-word]
            imported, none, or { pattern: "BACK-####-####" }
        okaeri.yaml:4:48: error: `value`: -1 is not an amount of EUR [bad-amount]
        okaeri.yaml:5:36: error: a code by the pattern `=########` begins with a sign: a spreadsheet could take it for a formula [bad-pattern]
        okaeri.yaml:5:60: error: `at_most` must be a whole number, 0 or more, not the text "many" [wrong-type]
        12 errors and 0 warnings
        "##);
    }

    #[test]
    fn codes_are_random_where_the_pattern_says_and_never_hostile() {
        let mut at = 0;
        let mut next = |n: usize| {
            at += 1;
            at % n
        };
        assert_eq!(code_by("BACK-####-雪", &mut next), "BACK-3456-雪");
        for (text, fits) in [
            ("WELCOME10", true),
            ("さくら-2026", true),
            ("a.b:c/d_e", true),
            ("", false),
            ("=1+1", false),
            ("-1", false),
            ("@a", false),
            ("＝1", false),
            ("a b", false),
            ("a\u{0}", false),
            ("a\"b", false),
            ("<b>", false),
            ("a\n", false),
        ] {
            assert_eq!(not_a_code(text).is_none(), fits, "{text:?}");
        }
        assert!(not_a_code(&"x".repeat(65)).is_some() && not_a_code(&"雪".repeat(64)).is_none());
    }
}
