//! All segments of a project, checked together: names are unique, what they name exists, no segment is made of itself, and what a rule
//! becomes once its references are written out stays within bounds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::case::Tests;
use super::evaluate::{CompileError, Compiled};
use super::lint;
use super::read;
use super::rule::{Leaf, Pick, Rule};
use super::words;
use crate::clock::Millis;
use crate::problem::{Place, Problems};
use crate::settings::{self, Project, Settings};
use crate::yaml;

/// Where segment files are.
pub const FOLDER: &str = "campaigns/segments";
/// The most measured conditions of a rule once `in_segment` is written out. A statement of 62 such segments still fits every engine's limits.
const LEAVES_MAX: usize = 400;

/// A checked segment.
#[derive(Debug, Clone)]
pub struct Segment {
    pub name: String,
    /// For people; the name when the file gives none.
    pub title: String,
    /// Where its name stands.
    pub place: Place,
    pub rule: Rule,
    /// Where `where` begins.
    pub rule_place: Place,
    /// Who of those that the rule holds for is taken.
    pub pick: Pick,
    /// What the file expects of itself.
    pub tests: Tests,
    /// Used by no campaign and meant so.
    pub watched: bool,
}

impl Segment {
    /// Rule and pick as one sentence without its full stop.
    pub fn sentence(&self, settings: &Settings) -> String {
        let rule = words::sentence(&self.rule, settings);
        if self.pick == Pick::default() { rule } else { format!("{rule}; of these {}", words::pick(&self.pick)) }
    }
}

/// The project's segments by name.
#[derive(Debug, Clone, Default)]
pub struct Library {
    segments: BTreeMap<String, Segment>,
}

impl Library {
    /// Read and check all segment files. What has problems is left out, and so is whoever refers to it.
    pub fn load(project: &Project, problems: &mut Problems) -> Library {
        let mut library = Library::default();
        let mut broken = Vec::new();
        for file in project.yaml_files(FOLDER) {
            let Some(text) = settings::read_file(&project.dir, &file, problems) else { continue };
            match library.add(&file, &text, &project.settings, problems) {
                Added::Whole => {}
                Added::Broken(name) => broken.extend(name),
            }
        }
        library.check(&broken, problems);
        library
    }

    /// Segments from texts (file name, YAML), as [`Library::load`] does from files.
    pub fn from_texts(texts: &[(&str, &str)], settings: &Settings, problems: &mut Problems) -> Library {
        let mut library = Library::default();
        let mut broken = Vec::new();
        for (file, text) in texts {
            if let Added::Broken(name) = library.add(file, text, settings, problems) {
                broken.extend(name);
            }
        }
        library.check(&broken, problems);
        library
    }

    fn add(&mut self, file: &str, text: &str, settings: &Settings, problems: &mut Problems) -> Added {
        let Some(node) = yaml::parse(file, text, problems) else { return Added::Broken(None) };
        let Some(read) = read::segment(&node, settings, problems) else {
            let name = if let yaml::Shape::Map(pairs) = &node.shape {
                pairs.iter().find(|p| p.key == "segment").and_then(|p| p.value.as_text()).map(str::to_owned)
            } else {
                None
            };
            return Added::Broken(name);
        };
        if let Some(first) = self.segments.get(&read.name) {
            let first = first.place.clone();
            problems
                .error("duplicate-segment", &read.name_place, format!("a second segment `{}`", read.name))
                .hint(format!("the first is {first}"));
            return Added::Whole;
        }
        let segment = Segment {
            name: read.name.clone(),
            title: read.title,
            place: read.name_place,
            rule: read.rule,
            rule_place: read.rule_place,
            pick: read.pick,
            tests: read.tests,
            watched: read.watched,
        };
        self.segments.insert(read.name, segment);
        Added::Whole
    }

    /// Check references, loops and sizes; drop what cannot be used.
    fn check(&mut self, broken: &[String], problems: &mut Problems) {
        let mut bad: Vec<String> = broken.to_vec();
        for segment in self.segments.values() {
            let expected = segment.tests.sets.iter().flat_map(|t| t.expectation.references());
            for reference in segment.rule.references().chain(expected) {
                if self.segments.contains_key(&reference.name) || broken.contains(&reference.name) {
                    continue;
                }
                problems
                    .error("unknown-segment", &reference.place, format!("there is no segment `{}`", reference.name))
                    .did_you_mean(&reference.name, self.names().collect::<Vec<_>>());
                bad.push(segment.name.clone());
            }
        }
        for cycle in self.cycles() {
            let shown = cycle.iter().chain(cycle.first()).map(String::as_str).collect::<Vec<_>>().join(" → ");
            let place = self.segments[&cycle[0]].place.clone();
            problems
                .error("segment-cycle", &place, format!("this segment is made of itself: {shown}"))
                .hint("take one of these `in_segment` out");
            bad.extend(cycle);
        }
        self.drop_with_dependants(bad);
        let mut sizes: HashMap<String, usize> = HashMap::new();
        let large: Vec<String> =
            self.names().map(str::to_owned).filter(|n| self.leaves(n, &mut sizes) > LEAVES_MAX).collect();
        for name in &large {
            problems
                .error(
                    "segment-too-large",
                    &self.segments[name].place,
                    format!(
                        "`{name}` has {} conditions once `in_segment` is written out; at most {LEAVES_MAX}",
                        sizes[name]
                    ),
                )
                .hint("split it, or name fewer segments in it");
        }
        self.drop_with_dependants(large);
    }

    /// Warn of rules that work and rarely mean what they say, and of segments that nobody uses. `used` are those that campaigns use;
    /// `received` and `clicked` may name `campaigns`: their names now, each with the one it had first.
    pub fn lint(&self, settings: &Settings, used: &[&str], campaigns: &[(&str, &str)], problems: &mut Problems) {
        for segment in self.segments.values() {
            lint::segment(segment, self, settings, problems);
        }
        lint::alike(self, problems);
        lint::uses(self, used, campaigns, problems);
    }

    fn drop_with_dependants(&mut self, mut bad: Vec<String>) {
        while let Some(name) = bad.pop() {
            self.segments.remove(&name);
            let dependants = self.segments.values().filter(|s| s.rule.references().any(|r| r.name == name));
            bad.extend(dependants.map(|s| s.name.clone()));
        }
    }

    /// Leaves with references written out; saturates, and each segment is counted once.
    fn leaves(&self, name: &str, sizes: &mut HashMap<String, usize>) -> usize {
        if let Some(size) = sizes.get(name) {
            return *size;
        }
        let rule = &self.segments[name].rule;
        let own: usize = rule.leaves().into_iter().map(Leaf::columns).sum();
        let size = rule.references().fold(own, |n, r| n.saturating_add(self.leaves(&r.name, sizes)));
        sizes.insert(name.to_owned(), size);
        size
    }

    /// Loops of references, each once, beginning with its smallest name.
    fn cycles(&self) -> Vec<Vec<String>> {
        let mut state: HashMap<&str, bool> = HashMap::new();
        let mut found: Vec<Vec<String>> = Vec::new();
        for start in self.segments.keys() {
            let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
            self.enter(start, &mut state, &mut path);
            while let Some((_, ahead)) = path.last_mut() {
                let Some(next) = ahead.pop() else {
                    let (done, _) = path.pop().expect("the path is not empty");
                    state.insert(done, true);
                    continue;
                };
                match state.get(next) {
                    Some(true) => {}
                    Some(false) => {
                        let from = path.iter().position(|(n, _)| *n == next).expect("an open segment is on the path");
                        let mut cycle: Vec<String> = path[from..].iter().map(|(n, _)| (*n).to_owned()).collect();
                        let least = cycle.iter().enumerate().min_by_key(|(_, n)| n.as_str()).map_or(0, |(i, _)| i);
                        cycle.rotate_left(least);
                        if !found.contains(&cycle) {
                            found.push(cycle);
                        }
                    }
                    None => self.enter(next, &mut state, &mut path),
                }
            }
        }
        found
    }

    fn enter<'a>(&'a self, name: &'a str, state: &mut HashMap<&'a str, bool>, path: &mut Vec<(&'a str, Vec<&'a str>)>) {
        let Some((name, segment)) = self.segments.get_key_value(name) else { return };
        if state.contains_key(name.as_str()) {
            return;
        }
        state.insert(name, false);
        path.push((name, segment.rule.references().map(|r| r.name.as_str()).collect()));
    }

    /// A segment by name.
    pub fn get(&self, name: &str) -> Option<&Segment> {
        self.segments.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.segments.keys().map(String::as_str)
    }

    /// All segments by name.
    pub fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.segments.values()
    }

    /// Whether any of these segments hangs on what models predict, itself or by one that it refers to.
    pub fn use_scores(&self, names: &[&str]) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), names.to_vec());
        while let Some(name) = open.pop() {
            let Some(segment) = self.get(name).filter(|_| seen.insert(name)) else { continue };
            if segment.rule.uses_scores() || segment.pick.top.as_ref().is_some_and(|top| top.by.is_score()) {
                return true;
            }
            open.extend(segment.rule.references().map(|r| r.name.as_str()));
        }
        false
    }

    /// Pick segments for one planning instant; the n-th name becomes bit n.
    pub fn compile(&self, names: &[&str], as_of: Millis, settings: &Settings) -> Result<Compiled, CompileError> {
        Compiled::new(self, names, as_of, settings)
    }
}

enum Added {
    Whole,
    /// Not usable; its name, when that much could be read.
    Broken(Option<String>),
}
