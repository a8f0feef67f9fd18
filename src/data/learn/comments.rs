//! The comments somebody wrote into a contract file, by the name they stand at, so that a rewritten file keeps them.
//!
//! Those above a name stay above it, one beside it stays beside it, those at the end stay at the end. Comments of our own, which begin
//! with one of [`OURS`], are made anew each time.

use std::collections::BTreeMap;

use super::sheet;
use crate::problem::Problems;
use crate::settings::contract::FILE;
use crate::yaml::{Node, Shape};

/// How comments of our own begin.
const OURS: [&str; 2] = ["# seen ", "# not seen"];

/// Where a name stands: `["events", "product.viewed", "sku"]`.
pub(super) type Path = Vec<String>;

/// The comments of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comments {
    above: BTreeMap<Path, Vec<String>>,
    beside: BTreeMap<Path, String>,
    end: Vec<String>,
}

impl Comments {
    /// The comments of a file's text; none when it is not YAML.
    pub fn of(text: &str) -> Comments {
        let Some(node) = crate::yaml::parse(FILE, text, &mut Problems::new()) else { return Comments::default() };
        let mut names = BTreeMap::new();
        names_by_line(&node, &mut Vec::new(), &mut names);
        let mut comments = Comments::default();
        let mut waiting: Vec<String> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let comment = comment_of(line).map(|at| &line[at..]);
            let Some(path) = names.get(&number) else {
                waiting.extend(comment.and_then(theirs));
                continue;
            };
            if !waiting.is_empty() {
                comments.above.insert(path.clone(), std::mem::take(&mut waiting));
            }
            if let Some(comment) = comment.and_then(theirs) {
                comments.beside.insert(path.clone(), comment);
            }
        }
        comments.end = waiting;
        comments
    }

    pub(super) fn above(&self, path: &[String]) -> &[String] {
        self.above.get(path).map_or(&[], Vec::as_slice)
    }

    pub(super) fn beside(&self, path: &[String]) -> Option<&str> {
        self.beside.get(path).map(String::as_str)
    }

    pub(super) fn end(&self) -> &[String] {
        &self.end
    }
}

/// The first name on each line.
fn names_by_line(node: &Node, path: &mut Path, names: &mut BTreeMap<usize, Path>) {
    let Shape::Map(pairs) = &node.shape else { return };
    for pair in pairs {
        path.push(pair.key.clone());
        names.entry(pair.key_place.line).or_insert_with(|| path.clone());
        names_by_line(&pair.value, path, names);
        path.pop();
    }
}

/// What of a comment is not ours, if anything is.
fn theirs(comment: &str) -> Option<String> {
    if sheet::HEADING.contains(&comment) {
        return None;
    }
    let ours = OURS.iter().filter_map(|ours| comment.find(ours)).min();
    let rest = comment[..ours.unwrap_or(comment.len())].trim_end();
    (!rest.is_empty()).then(|| rest.to_owned())
}

/// Where the comment of a line begins: at a `#` at its beginning or after a space, outside of quotes.
fn comment_of(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '#' && before.is_whitespace() => return Some(at),
            // A quote inside a word is a letter like others; one right after another goes on with what that one ended.
            None if matches!(c, '"' | '\'') && (before.is_whitespace() || "[{,:'".contains(before)) => quote = Some(c),
            None => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str]) -> Path {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn comments_stand_where_they_stood_and_ours_are_dropped() {
        let text = "# seen by `okaeri schema learn`: 3 of 3 customers\n# our shop\n#!\n\ncustomer:   # what the till knows\n  # since 2024,\n\
                    \x20 # in the app\n  points: number  # not money  # seen in 3 of 3\n  # not seen any more\n  'it''s # not': text\n\
                    \x20 city: text  # seen in 2 of 3\nproduct: { colour: text, \"a # b\": text } # flow\nevents:\n  tier.up:\n    to: [a, # first\n\
                    \x20     b]  # second\n  # seen but left out: x\n# the end\n";
        let comments = Comments::of(text);
        assert_eq!(comments.above(&path(&["customer"])), ["# our shop", "#!"]);
        assert_eq!(comments.beside(&path(&["customer"])), Some("# what the till knows"));
        assert_eq!(comments.above(&path(&["customer", "points"])), ["# since 2024,", "# in the app"]);
        assert_eq!(comments.beside(&path(&["customer", "points"])), Some("# not money"));
        assert_eq!(comments.above(&path(&["customer", "it's # not"])), [""; 0]);
        assert_eq!(comments.beside(&path(&["customer", "it's # not"])), None);
        assert_eq!(comments.beside(&path(&["customer", "city"])), None);
        assert_eq!(comments.beside(&path(&["product"])), Some("# flow"));
        assert_eq!(comments.beside(&path(&["events", "tier.up", "to"])), Some("# first"));
        assert_eq!(comments.end(), ["# second", "# the end"]);
    }
}
