//! Reading a mapping key by key, remembering what was asked for.

use super::{FromNode, Node, Pair, Shape};
use crate::problem::{Place, Problems};

/// Reads a mapping and remembers what was asked for.
pub struct MapReader<'n> {
    /// Where the mapping begins.
    pub place: Place,
    what: &'static str,
    pairs: &'n [Pair],
    asked: Vec<&'static str>,
    /// Keys of later versions, already told as such.
    later: Vec<&'static str>,
}

impl<'n> MapReader<'n> {
    pub(super) fn new(place: Place, what: &'static str, pairs: &'n [Pair]) -> MapReader<'n> {
        MapReader { place, what, pairs, asked: Vec::new(), later: Vec::new() }
    }

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
        self.later.extend(keys);
        for key in keys {
            if let Some(pair) = self.pairs.iter().find(|p| p.key == *key) {
                problems
                    .error("not-supported-yet", &pair.key_place, format!("`{key}` is not supported yet"))
                    .hint("remove it for now; nothing is ignored in silence");
            }
        }
    }

    /// Report the keys that nobody asked for.
    pub fn finish(self, problems: &mut Problems) {
        #[cfg(test)]
        asked::note(self.what, &self.asked);
        let known = |key: &str| self.asked.contains(&key) || self.later.contains(&key);
        for p in self.pairs.iter().filter(|p| !known(&p.key)) {
            problems
                .error("unknown-key", &p.key_place, format!("`{}` is not a key of {}", p.key, self.what))
                .did_you_mean(&p.key, self.asked.iter().copied());
        }
    }
}

/// What readers asked for on this thread, so that tests can hold schemas against it.
#[cfg(test)]
pub mod asked {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};

    type Asked = BTreeMap<&'static str, BTreeSet<&'static str>>;

    thread_local! {
        static ASKED: RefCell<Asked> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(super) fn note(what: &'static str, keys: &[&'static str]) {
        ASKED.with(|asked| asked.borrow_mut().entry(what).or_default().extend(keys));
    }

    /// What a mapping is called → the keys that were asked of it.
    pub fn taken() -> Asked {
        ASKED.with(RefCell::take)
    }
}
