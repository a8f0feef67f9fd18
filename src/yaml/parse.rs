//! From text to a tree with places, within limits.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::{Node, Pair, Shape};
use crate::problem::{Place, Problems};

/// The largest file read, in bytes.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// The deepest nesting read.
pub const DEPTH_MAX: usize = 64;
/// The most nodes in a file, counted after aliases are expanded.
pub const NODES_MAX: usize = 50_000;

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
