//! Guarded YAML: authors' files become a tree in which every node knows its place.
//!
//! Structure and places come from saphyr's event parser, plain scalars are resolved by serde_yaml (one notion of what `yes`, `1e3` or
//! `~` mean). Guards: size, depth, node count after aliases, duplicate keys, one document, no tags, no merge keys.
//! Readers walk a [`Node`] through [`Node::map`], which remembers what was asked for, so unknown keys are problems with
//! "did you mean" and all problems of a file come at once.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::problem::{Place, Problems};

/// The largest file read, in bytes.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// The deepest nesting read.
pub const DEPTH_MAX: usize = 64;
/// The most nodes in a file, counted after aliases are expanded.
pub const NODES_MAX: usize = 50_000;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    pub shape: Shape,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Shape {
    Null,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Pair>),
}

/// One `key: value` of a mapping.
#[derive(Debug, Clone)]
pub struct Pair {
    pub key: String,
    pub key_place: Place,
    pub value: Node,
}

/// Parse a file. `None` when it cannot be read at all; the reason is then among `problems`. Duplicate keys are problems, but the tree is returned.
pub fn parse(file: &str, text: &str, problems: &mut Problems) -> Option<Node> {
    let file: Arc<str> = file.into();
    let whole = Place { file: file.clone(), line: 0, column: 0 };
    if text.len() > FILE_BYTES_MAX {
        problems
            .error(
                "file-too-large",
                &whole,
                format!("{} KiB of YAML; at most {} KiB are read", text.len() / 1024, FILE_BYTES_MAX / 1024),
            )
            .hint("split it into several files, or import data with `okaeri import`");
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { file, text, problems, anchors: HashMap::new(), nodes: 0 };
    let mut parser = Parser::new_from_str(text);
    match builder.document(&mut parser) {
        Ok(Some(node)) => Some(node),
        Ok(None) => {
            builder.problems.error("empty-file", &whole, "the file is empty");
            None
        }
        Err(Stop) => None,
    }
}

/// Parsing cannot go on; the problem is recorded.
struct Stop;

struct Builder<'a> {
    file: Arc<str>,
    text: &'a str,
    problems: &'a mut Problems,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

type Events<'i> = Parser<'i, saphyr_parser::StrInput<'i>>;

impl Builder<'_> {
    fn place(&self, m: &Marker) -> Place {
        Place { file: self.file.clone(), line: m.line(), column: m.col() + 1 }
    }

    fn next<'i>(&mut self, parser: &mut Events<'i>) -> Result<(Event<'i>, Place), Stop> {
        match parser.next_event() {
            Some(Ok((event, span))) => {
                let place = self.place(&span.start);
                Ok((event, place))
            }
            Some(Err(e)) => {
                let place = self.place(e.marker());
                match self.tab_from(&place) {
                    // The scanner tells where the value began that the tab ended; the author looks for the tab.
                    Some(tab) if e.info().contains("tab") => self
                        .problems
                        .error("not-yaml", &tab, "a tab at the beginning of a line")
                        .hint("indent with spaces: YAML takes no tabs"),
                    _ => self.problems.error("not-yaml", &place, e.info().to_owned()),
                };
                Err(Stop)
            }
            None => Ok((Event::StreamEnd, Place { file: self.file.clone(), line: 0, column: 0 })),
        }
    }

    /// The first line from `place` on that is indented with a tab.
    fn tab_from(&self, place: &Place) -> Option<Place> {
        let tab = |line: &str| line.find(|c: char| c != ' ').filter(|at| line[*at..].starts_with('\t'));
        let mut lines = self.text.lines().zip(1..).skip(place.line.saturating_sub(1));
        lines.find_map(|(text, line)| Some(Place { file: self.file.clone(), line, column: tab(text)? + 1 }))
    }

    fn document(&mut self, parser: &mut Events<'_>) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            let (event, place) = self.next(parser)?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event if root.is_none() => root = Some(self.node(event, place, parser, 0)?),
                _ => {
                    self.problems
                        .error("several-documents", &place, "a second YAML document in one file")
                        .hint("one file holds one document: put this part into a file of its own");
                    return Err(Stop);
                }
            }
        }
    }

    fn count(&mut self, n: usize, place: &Place) -> Result<(), Stop> {
        self.nodes += n;
        if self.nodes > NODES_MAX {
            self.problems
                .error("too-many-values", place, format!("more than {NODES_MAX} values once aliases are expanded"))
                .hint("aliases (`*name`) repeat what they point to; write less, or split the file");
            return Err(Stop);
        }
        Ok(())
    }

    fn node<'i>(
        &mut self,
        event: Event<'i>,
        place: Place,
        parser: &mut Events<'i>,
        depth: usize,
    ) -> Result<Node, Stop> {
        self.count(1, &place)?;
        if depth > DEPTH_MAX {
            self.problems.error("too-deep", &place, format!("nested deeper than {DEPTH_MAX} levels"));
            return Err(Stop);
        }
        let (shape, anchor) = match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    self.problems.error("unknown-alias", &place, "an alias to itself or to nothing");
                    return Err(Stop);
                };
                self.count(size(&node), &place)?;
                return Ok(Node { place, shape: node.shape });
            }
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    self.no_tags(&place);
                }
                (scalar(&text, style), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                if tag.is_some() {
                    self.no_tags(&place);
                }
                let mut list = Vec::new();
                loop {
                    let (event, place) = self.next(parser)?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    list.push(self.node(event, place, parser, depth + 1)?);
                }
                (Shape::List(list), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                if tag.is_some() {
                    self.no_tags(&place);
                }
                (Shape::Map(self.pairs(parser, depth)?), anchor)
            }
            _ => {
                self.problems.error("not-yaml", &place, "unexpected end of the file");
                return Err(Stop);
            }
        };
        let node = Node { place, shape };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn pairs(&mut self, parser: &mut Events<'_>, depth: usize) -> Result<Vec<Pair>, Stop> {
        let mut pairs: Vec<Pair> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, key_place) = self.next(parser)?;
            if matches!(event, Event::MappingEnd) {
                return Ok(pairs);
            }
            let key = match event {
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    self.problems.error("key-not-text", &key_place, "a key must be a word, not a list or mapping");
                    return Err(Stop);
                }
            };
            if key == "<<" {
                self.problems
                    .error("merge-key", &key_place, "merge keys (`<<`) are not read")
                    .hint("write the keys out, or compose segments with `in_segment`");
            }
            let (event, place) = self.next(parser)?;
            let value = self.node(event, place, parser, depth + 1)?;
            if let Some(first) = seen.get(&key) {
                self.problems
                    .error("duplicate-key", &key_place, format!("`{key}` is given twice"))
                    .hint(format!("the first stands on line {first}; keep one of them"));
                continue;
            }
            seen.insert(key.clone(), key_place.line);
            pairs.push(Pair { key, key_place, value });
        }
    }

    fn no_tags(&mut self, place: &Place) {
        self.problems.error("yaml-tag", place, "YAML tags (`!name`) are not read").hint("remove the tag");
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.shape {
        Shape::List(list) => list.iter().map(size).sum(),
        Shape::Map(pairs) => pairs.iter().map(|p| size(&p.value)).sum(),
        _ => 0,
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Shape {
    if !matches!(style, ScalarStyle::Plain) {
        return Shape::Text(text.to_owned());
    }
    // Only what may be a number, a boolean or null needs resolving; the rest is text and may hold what YAML would parse further.
    let first = text.chars().next();
    let maybe = match first {
        None | Some('~') => true,
        Some(c) => c.is_ascii_digit() || "+-.".contains(c) || (text.len() <= 5 && c.is_ascii_alphabetic()),
    };
    if !maybe {
        return Shape::Text(text.to_owned());
    }
    match serde_yaml::from_str::<serde_yaml::Value>(text) {
        Ok(serde_yaml::Value::Null) => Shape::Null,
        Ok(serde_yaml::Value::Bool(b)) => Shape::Bool(b),
        Ok(serde_yaml::Value::Number(n)) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => Shape::Int(i),
            (None, Some(r)) => Shape::Real(r),
            (None, None) => Shape::Text(text.to_owned()),
        },
        _ => Shape::Text(text.to_owned()),
    }
}

/// A type that a scalar or list node can be read as.
pub trait FromNode: Sized {
    /// What a reader expects, as it is told to the author: "a whole number".
    const WANTED: &'static str;
    /// The value, or `None` when the node is something else.
    fn from_node(node: &Node) -> Option<Self>;
}

impl FromNode for String {
    const WANTED: &'static str = "text";
    fn from_node(node: &Node) -> Option<String> {
        match &node.shape {
            Shape::Text(t) => Some(t.clone()),
            Shape::Int(i) => Some(i.to_string()),
            _ => None,
        }
    }
}

impl FromNode for bool {
    const WANTED: &'static str = "true or false";
    fn from_node(node: &Node) -> Option<bool> {
        if let Shape::Bool(b) = node.shape { Some(b) } else { None }
    }
}

impl FromNode for i64 {
    const WANTED: &'static str = "a whole number";
    fn from_node(node: &Node) -> Option<i64> {
        if let Shape::Int(i) = node.shape { Some(i) } else { None }
    }
}

impl FromNode for u32 {
    const WANTED: &'static str = "a whole number, 0 or more";
    fn from_node(node: &Node) -> Option<u32> {
        i64::from_node(node).and_then(|i| u32::try_from(i).ok())
    }
}

impl FromNode for f64 {
    const WANTED: &'static str = "a number";
    fn from_node(node: &Node) -> Option<f64> {
        match node.shape {
            Shape::Int(i) => Some(i as f64),
            Shape::Real(r) if r.is_finite() => Some(r),
            _ => None,
        }
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    const WANTED: &'static str = "a list";
    fn from_node(node: &Node) -> Option<Vec<T>> {
        match &node.shape {
            Shape::List(list) => list.iter().map(T::from_node).collect(),
            _ => None,
        }
    }
}

/// A share between 0 and 1, written `10%` or `0.1`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl FromNode for Share {
    const WANTED: &'static str = "a share such as 10%";
    fn from_node(node: &Node) -> Option<Share> {
        let value = match &node.shape {
            Shape::Text(t) => t.trim().strip_suffix('%')?.trim().parse::<f64>().ok()? / 100.0,
            Shape::Int(0) => 0.0,
            Shape::Int(1) => 1.0,
            Shape::Real(r) => *r,
            _ => return None,
        };
        (0.0..=1.0).contains(&value).then_some(Share(value))
    }
}

/// A length of time, written `30d`, `12h`, `45m`, `2w`, `1y`. Days, weeks and years are whole local days; hours, minutes and seconds are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    Days(i64),
    Exact(crate::clock::Millis),
}

impl Span {
    /// The length in milliseconds, a day taken as 24 hours.
    pub fn millis(self) -> crate::clock::Millis {
        match self {
            Span::Days(d) => d * crate::clock::DAY,
            Span::Exact(ms) => ms,
        }
    }

    /// Read `30d` and its kin.
    pub fn parse(text: &str) -> Option<Span> {
        use crate::clock::{HOUR, MINUTE, SECOND};
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let n: i64 = text[..digits].parse().ok().filter(|n| *n <= 1_000_000)?;
        Some(match text[digits..].trim() {
            "d" | "day" | "days" => Span::Days(n),
            "w" | "week" | "weeks" => Span::Days(7 * n),
            "y" | "year" | "years" => Span::Days(365 * n),
            "h" | "hour" | "hours" => Span::Exact(n * HOUR),
            "m" | "min" | "minutes" => Span::Exact(n * MINUTE),
            "s" | "seconds" => Span::Exact(n * SECOND),
            _ => return None,
        })
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::clock::{HOUR, MINUTE, SECOND};
        match *self {
            Span::Days(d) => write!(f, "{d}d"),
            Span::Exact(ms) if ms % HOUR == 0 => write!(f, "{}h", ms / HOUR),
            Span::Exact(ms) if ms % MINUTE == 0 => write!(f, "{}m", ms / MINUTE),
            Span::Exact(ms) => write!(f, "{}s", ms / SECOND),
        }
    }
}

impl FromNode for Span {
    const WANTED: &'static str = "a length of time such as 30d, 12h or 45m";
    fn from_node(node: &Node) -> Option<Span> {
        if let Shape::Text(t) = &node.shape { Span::parse(t) } else { None }
    }
}

impl Node {
    /// What this node is, for messages: `text "abc"`, `a list`.
    pub fn described(&self) -> String {
        match &self.shape {
            Shape::Null => "nothing".to_owned(),
            Shape::Bool(b) => format!("{b}"),
            Shape::Int(i) => format!("the number {i}"),
            Shape::Real(r) => format!("the number {r}"),
            Shape::Text(t) if t.chars().count() > 40 => {
                format!("the text \"{}…\"", t.chars().take(40).collect::<String>())
            }
            Shape::Text(t) => format!("the text \"{t}\""),
            Shape::List(_) => "a list".to_owned(),
            Shape::Map(_) => "a mapping".to_owned(),
        }
    }

    /// Read this node as `T`; a problem when it is something else. `what` names it in the message.
    pub fn read<T: FromNode>(&self, what: &str, problems: &mut Problems) -> Option<T> {
        let value = T::from_node(self);
        if value.is_none() {
            problems.error(
                "wrong-type",
                &self.place,
                format!("{what} must be {}, not {}", T::WANTED, self.described()),
            );
        }
        value
    }

    /// Read a list, or one value as a list of one.
    pub fn read_list<T: FromNode>(&self, what: &str, problems: &mut Problems) -> Option<Vec<T>> {
        match &self.shape {
            Shape::List(list) => list.iter().map(|n| n.read(what, problems)).collect(),
            _ => self.read(what, problems).map(|one| vec![one]),
        }
    }

    /// Read a mapping key by key. `what` names it in messages: "a campaign". An empty value reads as an empty mapping.
    pub fn map<'n>(&'n self, what: &'static str, problems: &mut Problems) -> Option<MapReader<'n>> {
        let pairs: &[Pair] = match &self.shape {
            Shape::Map(pairs) => pairs,
            Shape::Null => &[],
            _ => {
                problems.error(
                    "wrong-type",
                    &self.place,
                    format!("{what} must be a mapping, not {}", self.described()),
                );
                return None;
            }
        };
        Some(MapReader { place: self.place.clone(), what, pairs, asked: Vec::new() })
    }

    /// The text of a text node.
    pub fn as_text(&self) -> Option<&str> {
        if let Shape::Text(t) = &self.shape { Some(t) } else { None }
    }

    /// The value as JSON, for what is stored or passed on unread.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.shape {
            Shape::Null => serde_json::Value::Null,
            Shape::Bool(b) => (*b).into(),
            Shape::Int(i) => (*i).into(),
            Shape::Real(r) => (*r).into(),
            Shape::Text(t) => t.clone().into(),
            Shape::List(list) => list.iter().map(Node::to_json).collect(),
            Shape::Map(pairs) => pairs.iter().map(|p| (p.key.clone(), p.value.to_json())).collect(),
        }
    }
}

/// Reads a mapping and remembers what was asked for.
pub struct MapReader<'n> {
    /// Where the mapping begins.
    pub place: Place,
    what: &'static str,
    pairs: &'n [Pair],
    asked: Vec<&'static str>,
}

impl<'n> MapReader<'n> {
    /// The node under a key. An explicit null counts as absent.
    pub fn node(&mut self, key: &'static str) -> Option<&'n Node> {
        self.pair(key).map(|p| &p.value).filter(|n| !matches!(n.shape, Shape::Null))
    }

    /// The pair under a key, null or not.
    pub fn pair(&mut self, key: &'static str) -> Option<&'n Pair> {
        self.asked.push(key);
        self.pairs.iter().find(|p| p.key == key)
    }

    /// All pairs, for mappings whose keys are the author's own names; marks all as asked for.
    pub fn all(&mut self) -> &'n [Pair] {
        let pairs = self.pairs;
        self.pairs = &[];
        pairs
    }

    /// An optional value.
    pub fn get<T: FromNode>(&mut self, key: &'static str, problems: &mut Problems) -> Option<T> {
        self.node(key).and_then(|n| n.read(&format!("`{key}`"), problems))
    }

    /// A value that must be there.
    pub fn require<T: FromNode>(&mut self, key: &'static str, problems: &mut Problems) -> Option<T> {
        match self.node(key) {
            Some(n) => n.read(&format!("`{key}`"), problems),
            None => {
                problems.error("missing-key", &self.place, format!("{} needs `{key}`: {}", self.what, T::WANTED));
                None
            }
        }
    }

    /// A value or a list of values.
    pub fn list<T: FromNode>(&mut self, key: &'static str, problems: &mut Problems) -> Option<Vec<T>> {
        self.node(key).and_then(|n| n.read_list(&format!("`{key}`"), problems))
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let node = self.node(key)?;
        let word = node.read::<String>(&format!("`{key}`"), problems)?;
        let found = choices.iter().find(|(w, _)| *w == word).map(|(_, t)| *t);
        if found.is_none() {
            let words = choices.iter().map(|(w, _)| *w);
            problems
                .error("unknown-word", &node.place, format!("`{key}` cannot be `{word}`"))
                .hint(format!("one of: {}", words.collect::<Vec<_>>().join(", ")));
        }
        found
    }

    /// A nested mapping.
    pub fn map(&mut self, key: &'static str, what: &'static str, problems: &mut Problems) -> Option<MapReader<'n>> {
        self.node(key).and_then(|n| n.map(what, problems))
    }

    /// Keys the design names and this version does not carry out: a clear problem instead of silence.
    pub fn not_supported_yet(&mut self, keys: &[&'static str], problems: &mut Problems) {
        for key in keys {
            if let Some(pair) = self.pair(key) {
                problems
                    .error("not-supported-yet", &pair.key_place, format!("`{key}` is not supported yet"))
                    .hint("remove it for now; nothing is ignored in silence");
            }
        }
    }

    /// Report the keys that nobody asked for.
    pub fn finish(self, problems: &mut Problems) {
        for p in self.pairs.iter().filter(|p| !self.asked.contains(&p.key.as_str())) {
            problems
                .error("unknown-key", &p.key_place, format!("`{}` is not a key of {}", p.key, self.what))
                .did_you_mean(&p.key, self.asked.iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> String {
        let mut problems = Problems::new();
        if let Some(node) = parse("f.yaml", text, &mut problems)
            && let Some(mut m) = node.map("a campaign", &mut problems)
        {
            m.require::<String>("campaign", &mut problems);
            m.get::<u32>("priority", &mut problems);
            m.get::<Share>("holdout", &mut problems);
            m.get::<Span>("once_per", &mut problems);
            m.not_supported_yet(&["steps"], &mut problems);
            m.finish(&mut problems);
        }
        anstream::adapter::strip_str(&problems.to_text()).to_string()
    }

    #[test]
    fn all_problems_come_at_once_with_their_places() {
        insta::assert_snapshot!(problems_of("campain: x\npriority: high\nholdout: 110%\nonce_per: often\nsteps: []\npriority: 3\n"), @r#"
        f.yaml:1:1: error: `campain` is not a key of a campaign [unknown-key]
            did you mean `campaign`?
        f.yaml:1:1: error: a campaign needs `campaign`: text [missing-key]
        f.yaml:2:11: error: `priority` must be a whole number, 0 or more, not the text "high" [wrong-type]
        f.yaml:3:10: error: `holdout` must be a share such as 10%, not the text "110%" [wrong-type]
        f.yaml:4:11: error: `once_per` must be a length of time such as 30d, 12h or 45m, not the text "often" [wrong-type]
        f.yaml:5:1: error: `steps` is not supported yet [not-supported-yet]
            remove it for now; nothing is ignored in silence
        f.yaml:6:1: error: `priority` is given twice [duplicate-key]
            the first stands on line 2; keep one of them
        7 errors and 0 warnings
        "#);
    }

    #[test]
    fn hostile_files_are_refused_quickly() {
        assert!(problems_of(&"a".repeat(10 << 20)).contains("at most 256 KiB"));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..30 {
            let p = i - 1;
            bomb.push_str(&format!(
                "a{i}: &a{i} [*a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}]\n"
            ));
        }
        assert!(problems_of(&bomb).contains("aliases are expanded"));
        assert!(problems_of(&"[".repeat(100_000)).contains("1 error"));
        assert!(problems_of(&format!("{}x{}", "[".repeat(100), "]".repeat(100))).contains("deeper than 64"));
        assert!(problems_of("a: &a [*a]").contains("alias"));
        assert!(problems_of("").contains("empty"));
        assert!(problems_of("a: 1\n---\nb: 2\n").contains("second YAML document"));
        assert!(problems_of("a: 'open\n").contains("not-yaml"));
        assert!(problems_of("a: !!python/object x").contains("tag"));
        assert!(problems_of("\u{0}").contains("error"));
    }

    #[test]
    fn scalars_are_what_yaml_says() {
        let mut problems = Problems::new();
        let node = parse("f", "[yes, true, 1, 1.5, ~, 'true', 09:00, 2026-11-24, 30%]", &mut problems).unwrap();
        let Shape::List(list) = node.shape else { panic!() };
        let shown: Vec<String> = list.iter().map(|n| n.described()).collect();
        assert_eq!(shown[..5], ["the text \"yes\"", "true", "the number 1", "the number 1.5", "nothing"]);
        assert_eq!(
            shown[5..9],
            ["the text \"true\"", "the text \"09:00\"", "the text \"2026-11-24\"", "the text \"30%\""]
        );
    }
}
