//! From files to a [`TemplateSet`]: the variants of each mail, and every file they lead to.
//!
//! Reads below `templates/` only: a name that leaves the folder, by `..`, an absolute path or a symbolic link, is a problem. What nobody
//! names is not loaded, so a half-written template of another campaign disturbs nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::engine::{self, FILTERS, FOLDER, OURS, Source};
use super::fields::FieldSet;
use super::scan;
use super::snapshot::{SenderValues, Snapshot};
use crate::problem::{Place, Problems};
use crate::settings::{RewardPool, Settings, read_file};

/// Most files looked at below `templates/`, and how deep.
const FILES_MAX: usize = 5_000;
const DEPTH_MAX: usize = 12;

/// A template that a campaign names.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `win-back/letter`.
    pub name: String,
    /// A promotional mail must carry its unsubscribe link.
    pub promotional: bool,
    /// Its links lead through the redirect, where there is one.
    pub tracked: bool,
    /// Where the campaign names it.
    pub place: Place,
    /// Products in `recommend`, when every step that uses it recommends some.
    pub recommends: Option<Recommends>,
    /// What `reward` can be, when any step that uses it gives something.
    pub rewards: Option<Rewards>,
}

/// What a mail gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewards {
    /// Each is one of these.
    pub pools: Vec<RewardPool>,
    /// It also goes out without any.
    pub may_be_missing: bool,
    /// Where the campaign says so.
    pub place: Place,
}

impl Rewards {
    /// What holds for two steps with the same template.
    fn of_both(one: Option<Rewards>, other: Option<Rewards>) -> Option<Rewards> {
        match (one, other) {
            (Some(mut one), Some(other)) => {
                one.may_be_missing |= other.may_be_missing;
                one.pools.extend(other.pools);
                Some(one)
            }
            (one, other) => one.or(other).map(|only| Rewards { may_be_missing: true, ..only }),
        }
    }
}

/// How many products a mail can count on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recommends {
    pub at_least: usize,
    pub at_most: usize,
    /// Where the campaign says so.
    pub place: Place,
}

impl Recommends {
    /// What holds for two steps with the same template.
    fn of_both(self, other: Recommends) -> Recommends {
        Recommends {
            at_least: self.at_least.min(other.at_least),
            at_most: self.at_most.max(other.at_most),
            place: self.place,
        }
    }
}

/// One language of a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// BCP 47 as in the file's name; `None` for the default.
    pub locale: Option<String>,
    /// Files below `templates/`. Without a text file the text part is derived from the HTML.
    pub html: String,
    pub text: Option<String>,
}

/// The templates that campaigns name, with every file they lead to.
#[derive(Debug, Clone)]
pub struct TemplateSet {
    pub(super) wanted: Vec<Wanted>,
    /// Template → its variants, the default one first.
    pub(super) mails: BTreeMap<String, Vec<Variant>>,
    /// File below `templates/` → text.
    pub(super) files: BTreeMap<String, String>,
    /// The project's folder.
    pub(super) home: PathBuf,
}

impl TemplateSet {
    /// Load the templates named in `wanted` from the project in `dir`, and see that they compile. `None` when one cannot be used; the
    /// reasons are among `problems`. What the templates name and how they behave without data is [`TemplateSet::check`]'s.
    pub fn load(dir: &Path, wanted: &[Wanted], settings: &Settings, problems: &mut Problems) -> Option<TemplateSet> {
        let mut loader = Loader::new(dir, problems);
        let mut set =
            TemplateSet { wanted: Vec::new(), mails: BTreeMap::new(), files: BTreeMap::new(), home: dir.to_owned() };
        for template in wanted {
            match set.wanted.iter_mut().find(|w| w.name == template.name) {
                Some(known) => {
                    known.promotional |= template.promotional;
                    known.tracked |= template.tracked;
                    let both = known.recommends.take().zip(template.recommends.clone());
                    known.recommends = both.map(|(a, b)| a.of_both(b));
                    known.rewards = Rewards::of_both(known.rewards.take(), template.rewards.clone());
                }
                None => {
                    if let Some(variants) = loader.variants(template) {
                        set.mails.insert(template.name.clone(), variants);
                    }
                    set.wanted.push(template.clone());
                }
            }
        }
        let first = set.mails.values().flatten();
        loader.read_all(first.flat_map(|v| [Some(v.html.clone()), v.text.clone()]).flatten().collect());
        let failed = loader.failed;
        set.files = loader.read;
        if failed {
            engine::check_syntax(&set.sources_telling(problems), problems);
            set.check_sound_files(problems);
            return None;
        }
        let sender = SenderValues::of(settings).unwrap_or_else(|_| SenderValues::without_links(settings));
        if Snapshot::take(&set, sender).compile_telling(problems).is_none() {
            set.check_sound_files(problems);
            return None;
        }
        Some(set)
    }

    /// The sources an engine takes.
    pub(super) fn sources(&self) -> BTreeMap<String, Source> {
        // What is wrong with the headers was told when the files were loaded.
        self.sources_telling(&mut Problems::new())
    }

    fn sources_telling(&self, problems: &mut Problems) -> BTreeMap<String, Source> {
        let is_mail = |name: &str| self.mails.values().flatten().any(|v| v.html == name);
        engine::sources(&self.files, is_mail, problems)
    }

    /// Whether a template, or a file it leads to, names this value. A file with components leads everywhere.
    pub(super) fn uses(&self, template: &str, name: &str) -> bool {
        let variants = self.mails.get(template).into_iter().flatten();
        let mut queue: Vec<&str> = variants.flat_map(|v| [Some(&*v.html), v.text.as_deref()]).flatten().collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        while let Some(file) = queue.pop() {
            let Some(text) = self.files.get(file).filter(|_| seen.insert(file)) else { continue };
            let names = scan::names(text);
            if names.values.iter().any(|v| v.path.first() == Some(&name)) {
                return true;
            }
            queue.extend(names.templates.iter().map(|(target, _)| *target));
            if !names.components_used.is_empty() {
                queue.extend(self.files.keys().map(String::as_str));
            }
        }
        false
    }

    /// What the templates use of the data stored with each message.
    pub fn fields_used(&self) -> FieldSet {
        FieldSet::of(self.files.values().map(String::as_str))
    }
}

/// Reads files and follows what they name.
struct Loader<'a> {
    dir: &'a Path,
    problems: &'a mut Problems,
    /// Every template file there is, relative to the folder.
    names: BTreeSet<String>,
    /// Component → the file that defines it.
    components: BTreeMap<String, String>,
    read: BTreeMap<String, String>,
    failed: bool,
}

impl<'a> Loader<'a> {
    fn new(dir: &'a Path, problems: &'a mut Problems) -> Loader<'a> {
        let folder = dir.join(FOLDER);
        let names = names(dir);
        let mut components = BTreeMap::new();
        for name in names.iter().filter(|n| [".html", ".mjml", ".txt"].iter().any(|e| n.ends_with(e))) {
            // Who defines which component; what cannot be read is told when something leads there.
            let Ok(text) = std::fs::read_to_string(folder.join(name)) else { continue };
            if text.contains("component") {
                components.extend(scan::names(&text).components_defined.into_iter().map(|c| (c, name.clone())));
            }
        }
        Loader { dir, problems, names, components, read: BTreeMap::new(), failed: false }
    }

    fn error(&mut self, code: &'static str, place: &Place, message: String) -> &mut crate::problem::Problem {
        self.failed = true;
        self.problems.error(code, place, message)
    }

    /// The variants of a template, by the files there are.
    fn variants(&mut self, template: &Wanted) -> Option<Vec<Variant>> {
        let Wanted { name, place, .. } = template;
        if leaves_folder(name) {
            self.error("template-outside", place, format!("`{name}` leads out of {FOLDER}/"))
                .hint("a template is named by its path below templates/, without an ending: win-back/letter");
            return None;
        }
        let prefix = format!("{name}.");
        let mut html = BTreeMap::new();
        let mut text = BTreeMap::new();
        for file in self.names.clone().range(prefix.clone()..).take_while(|f| f.starts_with(&prefix)) {
            let rest = &file[prefix.len()..];
            let (locale, ending) = rest.rsplit_once('.').map_or((None, rest), |(l, e)| (Some(l.to_owned()), e));
            let whole = Place::file(&format!("{FOLDER}/{file}"));
            if locale.as_ref().is_some_and(|l| !is_locale(l)) {
                continue;
            }
            match ending {
                "html" | "mjml" => {
                    if let Some(other) = html.insert(locale, file.clone()) {
                        self.error(
                            "two-templates",
                            &whole,
                            format!("the same mail is also written in {FOLDER}/{other}"),
                        )
                        .hint("keep one of the two");
                    }
                }
                "txt" => drop(text.insert(locale, file.clone())),
                _ => {}
            }
        }
        for (locale, file) in &text {
            if !html.contains_key(locale) && !html.is_empty() {
                let place = Place::file(&format!("{FOLDER}/{file}"));
                self.error("text-without-html", &place, "a text part without its mail".to_owned())
                    .hint(format!("the mail would be {FOLDER}/{}.html", file.trim_end_matches(".txt")));
            }
        }
        if html.contains_key(&None) {
            return Some(
                html.into_iter().map(|(locale, html)| Variant { text: text.remove(&locale), locale, html }).collect(),
            );
        }
        if html.is_empty() {
            let known: Vec<String> =
                self.names.iter().filter_map(|f| f.strip_suffix(".html")).map(str::to_owned).collect();
            self.error("missing-template", place, format!("there is no template {FOLDER}/{name}.html"))
                .did_you_mean(name, known.iter().map(String::as_str).filter(|k| !k.contains('.')));
        } else {
            self.error("missing-template", place, format!("`{name}` has no default: {FOLDER}/{name}.html"))
                .hint("the default is for people whose language has no file of its own");
        }
        None
    }

    /// Read files and all they lead to.
    fn read_all(&mut self, mut queue: VecDeque<String>) {
        while let Some(name) = queue.pop_front() {
            if self.read.contains_key(&name) {
                continue;
            }
            let file = format!("{FOLDER}/{name}");
            let Some(text) = read_file(self.dir, &file, self.problems) else {
                self.failed = true;
                continue;
            };
            let names = scan::names(&text);
            for (target, at) in names.templates {
                let place = scan::place(&file, &text, at);
                if leaves_folder(target) {
                    self.error("template-outside", &place, format!("`{target}` leads out of {FOLDER}/"))
                        .hint("templates are named by their path below templates/: parts/frame.html");
                } else if self.names.contains(target) {
                    queue.push_back(target.to_owned());
                } else {
                    let known = self.names.clone();
                    self.error("missing-template", &place, format!("there is no template {FOLDER}/{target}"))
                        .did_you_mean(target, known.iter().map(String::as_str));
                }
            }
            for (filter, at) in names.filters {
                let known = || FILTERS.into_iter().chain(OURS);
                if known().all(|k| k != filter) {
                    let place = scan::place(&file, &text, at);
                    self.error("unknown-filter", &place, format!("there is no filter `{filter}`"))
                        .did_you_mean(filter, known().collect::<Vec<_>>());
                }
            }
            for (component, at) in names.components_used {
                match self.components.get(&component) {
                    Some(target) => queue.push_back(target.clone()),
                    None => {
                        let place = scan::place(&file, &text, at);
                        let known = self.components.clone();
                        self.error("missing-component", &place, format!("there is no component `{component}`"))
                            .did_you_mean(&component, known.keys().map(String::as_str));
                    }
                }
            }
            self.read.insert(name, text);
        }
    }
}

/// Whether a name could lead out of the folder.
fn leaves_folder(name: &str) -> bool {
    name.contains(['\\', '\0', ':']) || name.split('/').any(|part| part.is_empty() || part == "." || part == "..")
}

/// Whether a text is written as a locale is, such as the middle of `letter.ja.html`.
pub fn is_locale(text: &str) -> bool {
    text.len() <= 35
        && text.split(['-', '_']).enumerate().all(|(i, part)| {
            let fits = if i == 0 { (2..=3).contains(&part.len()) } else { (1..=8).contains(&part.len()) };
            fits && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// What campaigns may call the templates of a project: every page below the folder, without locale and ending, but not what pages are made of.
pub fn template_names(dir: &Path) -> Vec<String> {
    let mut files = BTreeSet::new();
    let folder = dir.join(FOLDER);
    if let Ok(root) = folder.canonicalize() {
        list(&root, &folder, "", 0, &mut files);
    }
    let mut names: Vec<String> = files
        .iter()
        .filter(|file| !["components/", "layouts/", "parts/"].iter().any(|made_of| file.starts_with(made_of)))
        .filter_map(|file| file.strip_suffix(".html").or_else(|| file.strip_suffix(".mjml")))
        .map(|name| match name.rsplit_once('.') {
            Some((name, locale)) if is_locale(locale) => name.to_owned(),
            _ => name.to_owned(),
        })
        .collect();
    names.dedup();
    names
}

/// Every file below `templates/` of the project in `dir`.
pub(super) fn names(dir: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Ok(root) = dir.join(FOLDER).canonicalize() {
        list(&root, &root, "", 0, &mut names);
    }
    names
}

/// The variants of a template among files, by their names.
pub(super) fn variants_of<'n>(template: &str, names: impl Iterator<Item = &'n String>) -> Vec<Variant> {
    let (mut html, mut text) = (BTreeMap::new(), BTreeMap::new());
    for name in names {
        let Some(rest) = name.strip_prefix(template).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let (locale, ending) = rest.rsplit_once('.').map_or((None, rest), |(l, e)| (Some(l.to_owned()), e));
        match ending {
            _ if locale.as_ref().is_some_and(|l| !is_locale(l)) => {}
            "html" | "mjml" => drop(html.insert(locale, name.clone())),
            "txt" => drop(text.insert(locale, name.clone())),
            _ => {}
        }
    }
    html.into_iter().map(|(locale, html)| Variant { text: text.remove(&locale), locale, html }).collect()
}

/// What is written for somebody's locale: `ja-JP → ja → default`.
pub(super) fn written_for<'v, V>(all: &'v [V], locale_of: impl Fn(&V) -> Option<&str>, locale: &str) -> Option<&'v V> {
    let mut wanted = locale;
    loop {
        let fits = |v: &&V| locale_of(v).is_some_and(|l| same_locale(l, wanted));
        if let Some(found) = all.iter().find(fits) {
            return Some(found);
        }
        match wanted.rfind(['-', '_']) {
            Some(end) => wanted = &wanted[..end],
            None => return all.iter().find(|v| locale_of(v).is_none()),
        }
    }
}

/// Whether two tags mean the same, however they are written.
pub(super) fn same_locale(a: &str, b: &str) -> bool {
    let letters =
        |t: &str| t.bytes().map(|b| if b == b'_' { b'-' } else { b.to_ascii_lowercase() }).collect::<Vec<u8>>();
    a.len() == b.len() && (a == b || letters(a) == letters(b))
}

/// Collect the files below a folder. Symbolic links count when they stay inside `root`.
fn list(root: &Path, folder: &Path, prefix: &str, depth: usize, names: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().map(|n| format!("{prefix}{n}")) else { continue };
        let Ok(path) = entry.path().canonicalize() else { continue };
        if !path.starts_with(root) || names.len() >= FILES_MAX || entry.file_name().as_encoded_bytes().starts_with(b".")
        {
            continue;
        }
        if path.is_file() {
            names.insert(name);
        } else if depth < DEPTH_MAX {
            list(root, &path, &format!("{name}/"), depth + 1, names);
        }
    }
}
