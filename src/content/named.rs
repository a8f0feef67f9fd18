//! Which fields of a message's data its templates can name: the others are not told to Tera, because every value that is told costs time.
//!
//! A name counts wherever it stands, as a word or in a text (`group_by(attribute="category")`). Where a template may ask for a field by a name that is
//! only known while rendering (`item[field]`, `{% for name, value in item %}`), every field is told.

use std::collections::BTreeSet;

use super::decided;
use super::fields::{self, KNOWN_MAX};
use super::scan::{self, Token};
use super::tags::{self, Kind};

/// Names of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    any: bool,
    /// Those that every message has, by their numbers; they are asked for once for every field of every message.
    known: [bool; KNOWN_MAX],
    own: BTreeSet<String>,
}

/// Filters that see fields nobody named.
const OF_ANY: [&str; 4] = ["keys", "values", "pairs", "get"];

impl Named {
    /// Any name.
    pub const ANY: Named = Named { any: true, known: [true; KNOWN_MAX], own: BTreeSet::new() };

    /// What sources can name.
    pub fn of<'a>(sources: impl Iterator<Item = &'a str>) -> Named {
        let mut named = Named { any: false, known: [false; KNOWN_MAX], own: BTreeSet::new() };
        for source in sources {
            let all = tags::tags(source);
            let tables = decided::tables(source, &all);
            for tag in all.iter().filter(|t| matches!(t.kind, Kind::Expression | Kind::Statement)) {
                let tokens = scan::tokens(source, tag.inner.start, tag.inner.end);
                if asks_openly(&tokens, &tables) {
                    return Named::ANY;
                }
                for (token, _) in tokens {
                    match token {
                        Token::Word(word) => named.add(word),
                        Token::Text(text) => {
                            let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_');
                            parts.chain([text]).for_each(|part| named.add(part));
                        }
                        Token::Number(_) | Token::Sign(_) => {}
                    }
                }
            }
        }
        named
    }

    fn add(&mut self, name: &str) {
        match fields::well_known(name) {
            Some((number, _)) => self.known[number] = true,
            None => drop(self.own.insert(name.to_owned())),
        }
    }

    /// Whether a name can be asked for. `number`: the name's, when it is [well known](fields::well_known).
    pub fn contains(&self, name: &str, number: Option<usize>) -> bool {
        match number {
            Some(number) => self.known[number],
            None => self.any || self.own.contains(name),
        }
    }
}

/// Whether a tag may ask for a field that it does not name. `tables` are the template's own.
fn asks_openly(tokens: &[(Token<'_>, usize)], tables: &BTreeSet<&str>) -> bool {
    let at = |i: usize| tokens.get(i).map(|(token, _)| *token);
    let is_value =
        |token: Option<Token<'_>>| matches!(token, Some(Token::Word(_) | Token::Text(_) | Token::Sign(')' | ']')));
    (0..tokens.len()).any(|i| match at(i) {
        Some(Token::Sign('[')) if i > 0 && is_value(at(i - 1)) => {
            let by_name =
                matches!((at(i + 1), at(i + 2)), (Some(Token::Text(_) | Token::Number(_)), Some(Token::Sign(']'))));
            let by_place = matches!(at(i + 1), Some(Token::Number(_) | Token::Sign(':' | '-')));
            let of_table = matches!(at(i - 1), Some(Token::Word(name)) if tables.contains(name))
                && at(i.wrapping_sub(2)) != Some(Token::Sign('.'));
            let begins_list = matches!(at(i - 1), Some(Token::Word("in" | "and" | "or" | "not" | "if" | "else")));
            !by_name && !by_place && !of_table && !begins_list
        }
        // `for name, value in …`, also within a list.
        Some(Token::Word("for")) => at(i + 2) == Some(Token::Sign(',')),
        Some(Token::Word(filter)) if i > 0 && at(i - 1) == Some(Token::Sign('|')) => OF_ANY.contains(&filter),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Named {
        fn holds(&self, name: &str) -> bool {
            self.contains(name, fields::well_known(name).map(|(number, _)| number))
        }
    }

    fn of(source: &str) -> Named {
        Named::of([source].into_iter())
    }

    #[test]
    fn a_name_counts_wherever_it_stands() {
        let named = of(
            "{{ item.url | default(value=item.name) }}{% for x in xs | sort(attribute=\"of.price\") %}{{ x[\"own name\"] }}{% endfor %}{# sku #}",
        );
        for name in ["url", "name", "price", "own name", "of"] {
            assert!(named.holds(name), "{name}");
        }
        for name in ["sku", "amount"] {
            assert!(!named.holds(name), "{name}");
        }
        let tables = "{% set signs = {\"tea\": \"茶\"} %}{{ signs[item.category] or \"x\" }}{{ xs[0].url }}{% for x in xs[:3] %}{% endfor %}{% for y in [x, 1] %}{% endfor %}";
        assert!(of(tables).holds("category") && !of(tables).holds("sku"));
    }

    #[test]
    fn the_library_names_what_it_asks_for() {
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
        let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("templates")];
        let mut sources = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
                if entry.is_dir() { folders.push(entry) } else { sources.push(read(entry)) }
            }
        }
        let named = Named::of(sources.iter().map(String::as_str));
        assert!(named.holds("category") && !named.holds("strategy"), "{named:?}");
    }

    #[test]
    fn where_a_name_is_only_known_later_any_counts() {
        for open in [
            "{{ item[field] }}",
            "{{ item[\"a\" ~ b] }}",
            "{{ item.of[field] }}",
            "{% for name, value in item %}{% endfor %}",
            "{{ [value for name, value in item] }}",
            "{{ item | keys }}",
            "{{ item | get(key=field) }}",
            "{% set signs = {\"a\": 1} %}{% for signs in xs %}{{ signs[a] }}{% endfor %}",
            "{% set signs = {\"a\": 1} %}{{ item.signs[a] }}",
        ] {
            assert_eq!(of(open), Named::ANY, "{open}");
        }
    }
}
