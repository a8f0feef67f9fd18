//! Guarded YAML: authors' files become a tree in which every node knows its place.
//!
//! Structure and places come from saphyr's event parser, plain scalars are resolved by serde_yaml (one notion of what `yes`, `1e3` or
//! `~` mean). Guards: size, depth, node count after aliases, duplicate keys, one document, no tags, no merge keys.
//! Readers walk a [`Node`] through [`Node::map`], which remembers what was asked for, so unknown keys are problems with
//! "did you mean" and all problems of a file come at once.

mod from_node;
mod parse;
mod reader;
pub mod schema;
#[cfg(test)]
mod tests;

pub use from_node::{FromNode, Share, Span};
pub use parse::{DEPTH_MAX, FILE_BYTES_MAX, NODES_MAX, parse};
pub use reader::MapReader;
#[cfg(test)]
pub use reader::asked;

use crate::problem::{Place, Problems};

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
        Some(MapReader::new(self.place.clone(), what, pairs))
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
