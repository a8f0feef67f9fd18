//! The data contract: what the shop's own data looks like. It stands under `contract:` in okaeri.yaml, or in `contract.yaml` beside it.
//!
//! Owns the names the shop gives its columns, events and properties, and the type of each. Promises that every name can be asked for in
//! a segment and every list of words is a choice. It describes; nothing is rejected or converted at import because of it.
//! Limits: [`NAMES_MAX`] names in one mapping, [`WORDS_MAX`] words in one list.

use std::collections::BTreeMap;
use std::path::Path;

use crate::problem::{Place, Problems};
use crate::yaml::{Node, Pair, Shape};

/// The name of the file beside okaeri.yaml.
pub const FILE: &str = "contract.yaml";
/// The most names in one mapping: attributes of customers, of products, events, properties of one event.
pub const NAMES_MAX: usize = 500;
/// The most words of one property.
pub const WORDS_MAX: usize = 200;
/// Characters of a name or a word.
pub const NAME_CHARS_MAX: usize = 100;

/// What the shop's own data looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contract {
    /// Attributes of customers, by name.
    pub customer: BTreeMap<String, PropertyType>,
    /// Attributes of products, by name.
    pub product: BTreeMap<String, PropertyType>,
    /// Every event, by name, with its properties.
    pub events: BTreeMap<String, BTreeMap<String, PropertyType>>,
}

/// What the values of a property are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyType {
    Text,
    /// One of these words; at least one, each once, as the author ordered them.
    Words(Vec<String>),
    Number,
    /// In the project's currency.
    Money,
    /// True or false.
    Flag,
    /// A calendar day, `YYYY-MM-DD`.
    Date,
    /// A JSON list, or text separated by `;`.
    List,
}

const NAMED: [(&str, PropertyType); 6] = [
    ("text", PropertyType::Text),
    ("number", PropertyType::Number),
    ("money", PropertyType::Money),
    ("flag", PropertyType::Flag),
    ("date", PropertyType::Date),
    ("list", PropertyType::List),
];
/// What other languages call them, for the remedy.
const FOREIGN: [(&str, &str); 14] = [
    ("string", "text"),
    ("str", "text"),
    ("varchar", "text"),
    ("int", "number"),
    ("integer", "number"),
    ("float", "number"),
    ("double", "number"),
    ("decimal", "money"),
    ("price", "money"),
    ("bool", "flag"),
    ("boolean", "flag"),
    ("datetime", "date"),
    ("day", "date"),
    ("array", "list"),
];

/// The types with a name of their own.
pub fn type_names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, _)| *name)
}

impl PropertyType {
    /// What a value is, for messages: `a number`.
    pub fn described(&self) -> &'static str {
        match self {
            PropertyType::Text => "text",
            PropertyType::Words(_) => "one of a few words",
            PropertyType::Number => "a number",
            PropertyType::Money => "an amount of money",
            PropertyType::Flag => "true or false",
            PropertyType::Date => "a date (YYYY-MM-DD)",
            PropertyType::List => "a list",
        }
    }

    /// As authors write it: `number`, `[staff, guest]`.
    pub fn name(&self) -> String {
        if let PropertyType::Words(words) = self {
            return format!("[{}]", words.join(", "));
        }
        NAMED.iter().find(|(_, ty)| ty == self).map(|(name, _)| (*name).to_owned()).expect("every other type is named")
    }
}

/// Whether this can be the name of an attribute, event or property: segments can ask for no others. `<<` means something else in YAML.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name != "<<"
        && name.chars().count() <= NAME_CHARS_MAX
        && !name.chars().any(|c| c.is_control() || c == '"' || c == '\\')
}

/// Whether this can be one of a list of words.
pub fn is_word(word: &str) -> bool {
    !word.trim().is_empty() && word.chars().count() <= NAME_CHARS_MAX && !word.chars().any(char::is_control)
}

/// The project's contract: the one inline, already read from okaeri.yaml, or the one in the file beside it; `None` when there is neither.
pub(super) fn load(dir: &Path, inline: Option<(Contract, Place)>, problems: &mut Problems) -> Option<Contract> {
    let in_file = std::fs::symlink_metadata(dir.join(FILE)).is_ok();
    let beside = in_file.then(|| read_file(dir, problems));
    the_only(inline, beside, problems)
}

/// The inline contract or the one of the file; both are a problem. `beside` holds nothing when the file could not be used.
pub(super) fn the_only(
    inline: Option<(Contract, Place)>,
    beside: Option<Option<Contract>>,
    problems: &mut Problems,
) -> Option<Contract> {
    match (inline, beside) {
        (Some((_, place)), Some(_)) => {
            problems
                .error("two-contracts", &place, format!("the data contract stands here and in {FILE}"))
                .hint(format!("keep one of them: move this part to {FILE} and remove `contract`, or remove the file"));
            None
        }
        (Some((contract, _)), None) => Some(contract),
        (None, beside) => beside.flatten(),
    }
}

fn read_file(dir: &Path, problems: &mut Problems) -> Option<Contract> {
    let text = super::read_file(dir, FILE, problems)?;
    parse(FILE, &text, problems)
}

/// Read the text of a contract file.
pub fn parse(file: &str, text: &str, problems: &mut Problems) -> Option<Contract> {
    let node = crate::yaml::parse(file, text, problems)?;
    read(&node, problems)
}

/// Read a contract. What is wrong is among `problems` and left out.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Contract> {
    let mut m = node.map("the data contract", problems)?;
    let customer = m.node("customer").map(|n| properties(n, "the attributes of customers", problems));
    let product = m.node("product").map(|n| properties(n, "the attributes of products", problems));
    let events = m.node("events").map(|n| events(n, problems));
    m.finish(problems);
    Some(Contract {
        customer: customer.unwrap_or_default(),
        product: product.unwrap_or_default(),
        events: events.unwrap_or_default(),
    })
}

fn events(node: &Node, problems: &mut Problems) -> BTreeMap<String, BTreeMap<String, PropertyType>> {
    let pairs = named_pairs(node, "the events", problems);
    pairs.map(|p| (p.key.clone(), properties(&p.value, "the properties of an event", problems))).collect()
}

fn properties(node: &Node, what: &'static str, problems: &mut Problems) -> BTreeMap<String, PropertyType> {
    let pairs = named_pairs(node, what, problems);
    pairs.filter_map(|p| Some((p.key.clone(), property_type(p, problems)?))).collect()
}

/// The pairs of a mapping whose keys can be names, not more than there may be.
fn named_pairs<'n>(
    node: &'n Node,
    what: &'static str,
    problems: &mut Problems,
) -> impl Iterator<Item = &'n Pair> + use<'n> {
    let pairs = node.map(what, problems).map(|mut m| m.all()).unwrap_or_default();
    if let Some(first) = pairs.get(NAMES_MAX) {
        problems
            .error(
                "too-many-names",
                &first.key_place,
                format!("{what} have {} names; at most {NAMES_MAX}", pairs.len()),
            )
            .hint("declare those that segments ask for; if names hold ids or dates, give them a property of their own");
    }
    for p in pairs.iter().filter(|p| !is_name(&p.key)) {
        problems.error("bad-name", &p.key_place, "not a name of an attribute, event or property").hint(format!(
            "1 to {NAME_CHARS_MAX} characters, without double quotes, backslashes and control characters"
        ));
    }
    pairs.iter().take(NAMES_MAX).filter(|p| is_name(&p.key))
}

fn property_type(pair: &Pair, problems: &mut Problems) -> Option<PropertyType> {
    let node = &pair.value;
    let names = || NAMED.iter().map(|(name, _)| *name);
    let known = || {
        format!("one of: {}; or a list of words, such as [bronze, silver, gold]", Vec::from_iter(names()).join(", "))
    };
    match &node.shape {
        Shape::Text(word) => {
            if let Some((_, ty)) = NAMED.iter().find(|(name, _)| name == word) {
                return Some(ty.clone());
            }
            let lower = word.to_lowercase();
            let foreign = FOREIGN.iter().find(|(name, _)| *name == lower).map(|(_, ours)| *ours);
            let meant = foreign.or_else(|| crate::problem::nearest(word, names()));
            problems
                .error("unknown-type", &node.place, format!("`{}`: {} is not a type", pair.key, node.described()))
                .hint(meant.map_or_else(known, |meant| format!("did you mean `{meant}`?")));
            None
        }
        Shape::List(list) => words(&pair.key, node, list, problems),
        Shape::Null => {
            problems.error("missing-type", &pair.key_place, format!("`{}` needs a type", pair.key)).hint(known());
            None
        }
        _ => {
            problems
                .error("unknown-type", &node.place, format!("`{}`: {} is not a type", pair.key, node.described()))
                .hint(known());
            None
        }
    }
}

fn words(key: &str, node: &Node, list: &[Node], problems: &mut Problems) -> Option<PropertyType> {
    if list.is_empty() || list.len() > WORDS_MAX {
        problems
            .error("out-of-range", &node.place, format!("`{key}` needs 1 to {WORDS_MAX} words, not {}", list.len()))
            .hint("any text may stand there? Then write: text");
        return None;
    }
    let mut words: Vec<String> = Vec::with_capacity(list.len());
    for n in list {
        let Shape::Text(word) = &n.shape else {
            problems
                .error("wrong-type", &n.place, format!("a word of `{key}` must be text, not {}", n.described()))
                .hint("put it in quotes if it is meant as a word");
            continue;
        };
        if !is_word(word) {
            problems
                .error("bad-word", &n.place, format!("not a word of `{key}`"))
                .hint(format!("1 to {NAME_CHARS_MAX} characters, without control characters"));
        } else if words.contains(word) {
            problems.error("duplicate-word", &n.place, format!("`{word}` stands twice among the words of `{key}`"));
        } else {
            words.push(word.clone());
        }
    }
    (words.len() == list.len()).then_some(PropertyType::Words(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Option<Contract>, String) {
        let mut problems = Problems::new();
        let contract = parse(FILE, text, &mut problems);
        (contract, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    #[test]
    fn every_type_is_read_and_named_as_written() {
        let (contract, problems) = read_text(
            "customer: { account: [staff, guest], points: number, birthday: date, tags: list, vip: flag, city: text }\n\
             product: { cost: money }\nevents:\n  newsletter.joined:\n  会員登録: { 都道府県: text }\n",
        );
        assert_eq!(problems, "");
        let contract = contract.unwrap();
        let words = PropertyType::Words(vec!["staff".to_owned(), "guest".to_owned()]);
        assert_eq!(contract.customer["account"], words);
        let names: Vec<String> = contract.customer.values().map(PropertyType::name).collect();
        assert_eq!(names, ["[staff, guest]", "date", "text", "number", "list", "flag"]);
        assert_eq!(contract.product["cost"].described(), "an amount of money");
        assert!(contract.events["newsletter.joined"].is_empty());
        assert_eq!(contract.events["会員登録"]["都道府県"], PropertyType::Text);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_remedy_and_left_out() {
        let (contract, problems) = read_text(
            "customers: {}\ncustomer:\n  a: nubmer\n  b: string\n  c: zebra\n  d:\n  e: 7\n  f: []\n  g: [x, x]\n  h: [1, true]\n  i: ['']\n  j: date\n\
             \x20 'k\"': text\n  \"l\\n\": text\nproduct: [colour]\nevents: { product.viewed: text }\n",
        );
        assert_eq!(Vec::from_iter(contract.unwrap().customer.keys()), ["j"]);
        insta::assert_snapshot!(problems, @r#"
        contract.yaml:1:1: error: `customers` is not a key of the data contract [unknown-key]
            did you mean `customer`?
        contract.yaml:3:6: error: `a`: the text "nubmer" is not a type [unknown-type]
            did you mean `number`?
        contract.yaml:4:6: error: `b`: the text "string" is not a type [unknown-type]
            did you mean `text`?
        contract.yaml:5:6: error: `c`: the text "zebra" is not a type [unknown-type]
            one of: text, number, money, flag, date, list; or a list of words, such as [bronze, silver, gold]
        contract.yaml:6:3: error: `d` needs a type [missing-type]
            one of: text, number, money, flag, date, list; or a list of words, such as [bronze, silver, gold]
        contract.yaml:7:6: error: `e`: the number 7 is not a type [unknown-type]
            one of: text, number, money, flag, date, list; or a list of words, such as [bronze, silver, gold]
        contract.yaml:8:6: error: `f` needs 1 to 200 words, not 0 [out-of-range]
            any text may stand there? Then write: text
        contract.yaml:9:10: error: `x` stands twice among the words of `g` [duplicate-word]
        contract.yaml:10:7: error: a word of `h` must be text, not the number 1 [wrong-type]
            put it in quotes if it is meant as a word
        contract.yaml:10:10: error: a word of `h` must be text, not true [wrong-type]
            put it in quotes if it is meant as a word
        contract.yaml:11:7: error: not a word of `i` [bad-word]
            1 to 100 characters, without control characters
        contract.yaml:13:3: error: not a name of an attribute, event or property [bad-name]
            1 to 100 characters, without double quotes, backslashes and control characters
        contract.yaml:14:3: error: not a name of an attribute, event or property [bad-name]
            1 to 100 characters, without double quotes, backslashes and control characters
        contract.yaml:15:10: error: the attributes of products must be a mapping, not a list [wrong-type]
        contract.yaml:16:27: error: the properties of an event must be a mapping, not the text "text" [wrong-type]
        15 errors and 0 warnings
        "#);
    }

    #[test]
    fn no_more_names_and_words_than_the_limits() {
        let names = |n: usize| (0..n).map(|i| format!("  n{i}: text\n")).collect::<String>();
        let words = |n: usize| (0..n).map(|i| format!("w{i}")).collect::<Vec<_>>().join(", ");
        for (text, fits) in [
            (format!("customer:\n{}", names(NAMES_MAX)), true),
            (format!("customer:\n{}", names(NAMES_MAX + 1)), false),
            (format!("customer: {{ tier: [{}] }}", words(WORDS_MAX)), true),
            (format!("customer: {{ tier: [{}] }}", words(WORDS_MAX + 1)), false),
            (format!("customer: {{ {}: text }}", "語".repeat(NAME_CHARS_MAX)), true),
            (format!("customer: {{ {}: text }}", "語".repeat(NAME_CHARS_MAX + 1)), false),
        ] {
            let (_, problems) = read_text(&text);
            assert_eq!(problems.is_empty(), fits, "{problems}");
        }
    }

    #[test]
    fn a_project_has_its_contract_inline_or_beside_but_not_both() {
        let dir = tempfile::tempdir().unwrap();
        let settings =
            "project: shop\nsender: { from: hello@example.com, organisation: Shop, postal_address: 1 Road }\n";
        let load = |inline: &str, beside: Option<&str>| {
            std::fs::write(dir.path().join(super::super::FILE), format!("{settings}{inline}")).unwrap();
            let _ = std::fs::remove_file(dir.path().join(FILE));
            if let Some(text) = beside {
                std::fs::write(dir.path().join(FILE), text).unwrap();
            }
            let mut problems = Problems::new();
            let project = super::super::Project::load_to_check(dir.path(), |_| None, &mut problems).unwrap();
            (project.settings.contract, anstream::adapter::strip_str(&problems.to_text()).to_string())
        };
        let points = |contract: Option<Contract>| contract.unwrap().customer["points"].clone();
        assert_eq!(load("", None), (None, String::new()));
        assert_eq!(points(load("contract: { customer: { points: number } }\n", None).0), PropertyType::Number);
        assert_eq!(points(load("", Some("customer: { points: money }\n")).0), PropertyType::Money);
        let (contract, problems) = load("contract: {}\n", Some("customer: { points: nubmer }\n"));
        assert_eq!(contract, None);
        insta::assert_snapshot!(problems, @r#"
        contract.yaml:1:21: error: `points`: the text "nubmer" is not a type [unknown-type]
            did you mean `number`?
        okaeri.yaml:3:11: error: the data contract stands here and in contract.yaml [two-contracts]
            keep one of them: move this part to contract.yaml and remove `contract`, or remove the file
        2 errors and 0 warnings
        "#);
    }
}
