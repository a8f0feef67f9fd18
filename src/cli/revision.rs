//! The project as it was at a git revision: its settings, segments and campaigns, read with the program `git`. Nothing is checked out and no path is
//! written; objects are asked for by their hash, so what a revision is called never becomes an option of git.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Failure, Invocation};
use crate::campaign;
use crate::content::is_part;
use crate::problem::{Place, Problems};
use crate::segment::Library;
use crate::settings::{self, AUTHORS_FILE_BYTES_MAX, Settings, contract};

/// Where segment files are, and those of campaigns.
const SEGMENTS: &str = "campaigns/segments/";
const CAMPAIGNS: &str = "campaigns/";
const TEMPLATES: &str = "templates/";

/// A commit of the repository that holds the project.
#[derive(Debug, Clone)]
pub struct Revision {
    dir: PathBuf,
    /// As it was asked for: `main`, `HEAD~3`, a tag.
    pub name: String,
    /// Its full hash.
    pub commit: String,
    /// The project's folder inside the repository, with a slash at the end; empty at the top.
    prefix: String,
}

/// What of a project decides who is in its segments, and who gets its campaigns.
#[derive(Debug, Clone)]
pub struct Past {
    pub settings: Settings,
    /// okaeri.yaml as it stood there.
    pub written: serde_json::Value,
    pub library: Library,
    pub campaigns: campaign::Library,
}

/// A line of `git ls-tree`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: String,
    object: String,
    /// In bytes; `None` for folders.
    size: Option<u64>,
    /// Relative to the project's folder.
    path: String,
}

impl Revision {
    /// The commit that `name` means in the repository of `dir`.
    pub async fn find(dir: &Path, name: &str) -> Result<Revision, Failure> {
        let asked = git(dir, &["rev-parse", "--show-prefix"]).await?;
        let prefix = asked.map_err(|said| {
            Failure::Usage(format!("--against needs a git repository; git reads none at {}\n{said}", dir.display()))
        })?;
        let prefix = String::from_utf8_lossy(&prefix).trim_end_matches(['\r', '\n']).to_owned();
        let spec = format!("{name}^{{commit}}");
        let found = git(dir, &["rev-parse", "--verify", "--quiet", "--end-of-options", &spec]).await?;
        let commit = found.ok().and_then(|out| {
            let text = String::from_utf8(out).ok()?;
            let hash = text.lines().last()?.trim();
            (hash.len() >= 40 && hash.bytes().all(|b| b.is_ascii_hexdigit())).then(|| hash.to_owned())
        });
        let commit = commit.ok_or_else(|| {
            Failure::Usage(format!(
                "--against {}: not a revision of this repository\n\
                 name a branch, a tag or a commit; a shallow clone has few of them (git fetch --unshallow)",
                name.escape_debug()
            ))
        })?;
        Ok(Revision { dir: dir.to_owned(), name: name.to_owned(), commit, prefix })
    }

    /// The first characters of the hash.
    pub fn short(&self) -> &str {
        &self.commit[..12]
    }

    /// Settings and segments; problems are told as of `REVISION:path`, as `git show` takes it, and end the verb. Warnings are not told:
    /// they are about what is written now.
    pub async fn project(&self, inv: &Invocation) -> Result<Past, Failure> {
        let mut problems = Problems::new();
        let entries = self.entries().await?;
        let (settings, written) = self.settings(inv, &entries, &mut problems).await?;
        let segments = self.texts(&entries, SEGMENTS, &mut problems).await?;
        let campaigns = self.texts(&entries, CAMPAIGNS, &mut problems).await?;
        let Some(settings) = settings else { return Err(Failure::Problems(problems)) };
        let texts: Vec<(&str, &str)> = segments.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
        let library = Library::from_texts(&texts, &settings, &mut problems);
        let names: Vec<&str> = library.names().collect();
        let campaigns = campaign::Library::from_texts(&campaigns, &settings, &names, &mut problems);
        if problems.has_errors() {
            return Err(Failure::Problems(problems));
        }
        Ok(Past { settings, written, library, campaigns })
    }

    /// The YAML files of a folder, by name.
    async fn texts(
        &self,
        entries: &[Entry],
        folder: &str,
        problems: &mut Problems,
    ) -> Result<Vec<(String, String)>, Failure> {
        let mut texts = Vec::new();
        for entry in entries.iter().filter(|e| e.is_yaml_of(folder)) {
            if let Some(text) = self.text(entry, problems).await? {
                texts.push((self.label(&entry.path), text));
            }
        }
        Ok(texts)
    }

    /// The files that mails can be made of, by their names below `templates/`.
    pub async fn templates(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut problems = Problems::new();
        let mut texts = BTreeMap::new();
        for entry in self.listed(&["-r", "-z", "-l", &self.commit, TEMPLATES]).await? {
            let Some(name) = entry.path.strip_prefix(TEMPLATES).filter(|name| is_part(name)) else { continue };
            if entry.mode.starts_with("100")
                && let Some(text) = self.text(&entry, &mut problems).await?
            {
                texts.insert(name.to_owned(), text);
            }
        }
        if problems.has_errors() { Err(Failure::Problems(problems)) } else { Ok(texts) }
    }

    async fn settings(
        &self,
        inv: &Invocation,
        entries: &[Entry],
        problems: &mut Problems,
    ) -> Result<(Option<Settings>, serde_json::Value), Failure> {
        let mut texts = [None, None];
        let labels = [settings::FILE, contract::FILE].map(|path| self.label(path));
        for (path, text) in [settings::FILE, contract::FILE].into_iter().zip(&mut texts) {
            if let Some(entry) = entries.iter().find(|e| e.path == path) {
                *text = self.text(entry, problems).await?;
            } else if path == settings::FILE {
                problems
                    .error("missing-file", &Place::file(&labels[0]), "this revision has no such file")
                    .hint("name a revision in which the project was in this folder");
            }
        }
        let [Some(text), contract] = texts else { return Ok((None, serde_json::Value::Null)) };
        let contract = contract.as_deref().map(|text| (labels[1].as_str(), text));
        let settings = Settings::from_texts((&labels[0], &text), contract, |name| inv.variables.lookup(name), problems);
        // What is wrong with it was told above.
        let written = crate::yaml::parse(&labels[0], &text, &mut Problems::new());
        Ok((settings, written.map(|node| node.to_json()).unwrap_or_default()))
    }

    fn label(&self, path: &str) -> String {
        format!("{}:{}{path}", self.name, self.prefix)
    }

    /// The files of the settings and what is directly in the folders of segments and campaigns.
    async fn entries(&self) -> Result<Vec<Entry>, Failure> {
        let wanted = [settings::FILE, contract::FILE, SEGMENTS, CAMPAIGNS];
        self.listed(&[&["-z", "-l", &self.commit], &wanted[..]].concat()).await
    }

    async fn listed(&self, args: &[&str]) -> Result<Vec<Entry>, Failure> {
        let listed = self.ask(&[&["ls-tree"], args].concat()).await?;
        Ok(String::from_utf8_lossy(&listed).split('\0').filter_map(entry).collect())
    }

    /// A file's text; `None` when it cannot be used, which is then among `problems`.
    async fn text(&self, entry: &Entry, problems: &mut Problems) -> Result<Option<String>, Failure> {
        let place = Place::file(&self.label(&entry.path));
        if !entry.mode.starts_with("100") {
            problems
                .error("not-a-file", &place, "not a plain file in this revision")
                .hint("symbolic links are not followed at a revision");
            return Ok(None);
        }
        if entry.size.is_none_or(|size| size > AUTHORS_FILE_BYTES_MAX) {
            problems.error("file-too-large", &place, format!("larger than {} MiB", AUTHORS_FILE_BYTES_MAX >> 20));
            return Ok(None);
        }
        let bytes = self.ask(&["cat-file", "blob", &entry.object]).await?;
        Ok(settings::text_of(bytes, place, problems))
    }

    /// What git answers; that it cannot is not the author's mistake.
    async fn ask(&self, args: &[&str]) -> Result<Vec<u8>, Failure> {
        git(&self.dir, args).await?.map_err(|said| {
            Failure::Environment(format!("git cannot read {} ({}): {said}", self.name.escape_debug(), self.short()))
        })
    }
}

impl Entry {
    /// Whether the project reads it from this folder: a name in the folder itself that ends in .yaml or .yml. Folders are not entered.
    fn is_yaml_of(&self, folder: &str) -> bool {
        self.mode != "040000"
            && self.path.strip_prefix(folder).is_some_and(|name| {
                let extension = Path::new(name).extension();
                !name.contains('/') && extension.is_some_and(|e| e == "yaml" || e == "yml")
            })
    }
}

/// `MODE TYPE OBJECT SIZE<tab>PATH`.
fn entry(line: &str) -> Option<Entry> {
    let (facts, path) = line.split_once('\t')?;
    let mut facts = facts.split_ascii_whitespace();
    let (mode, _, object, size) = (facts.next()?, facts.next()?, facts.next()?, facts.next()?);
    Some(Entry { mode: mode.to_owned(), object: object.to_owned(), size: size.parse().ok(), path: path.to_owned() })
}

/// Run git in a folder: what it prints, or what it says when it fails.
pub async fn git(dir: &Path, args: &[&str]) -> Result<Result<Vec<u8>, String>, Failure> {
    let mut command = Command::new("git");
    // Set by git around its hooks; here the repository is the one that holds the folder.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(variable);
    }
    command.arg("-C").arg(dir).args(args).stdin(std::process::Stdio::null());
    let out = command.output().await.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::Usage(
            "--against needs the program `git`, which was not found\ninstall git, or compare two segments by name"
                .to_owned(),
        ),
        _ => Failure::Environment(format!("git cannot be started: {e}")),
    })?;
    if out.status.success() {
        return Ok(Ok(out.stdout));
    }
    let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Ok(Err(if said.is_empty() { format!("git ended with {}", out.status) } else { said }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_tree_are_read_and_only_files_of_the_folder_itself_are_segments() {
        let blob = "1f7391f92b6a3792204e07e99f71f643cc35e7e1";
        let read = |mode: &str, size: &str, path: &str| {
            let kind = if mode == "040000" { "tree" } else { "blob" };
            entry(&format!("{mode} {kind} {blob} {size:>7}\t{path}")).unwrap()
        };
        let plain = read("100644", "12", "campaigns/segments/a b\tc.yaml");
        assert_eq!(plain.path, "campaigns/segments/a b\tc.yaml", "a tab in a name is part of it");
        assert_eq!((plain.size, plain.object.as_str(), plain.is_yaml_of(SEGMENTS)), (Some(12), blob, true));
        assert!(read("120000", "3", "campaigns/segments/link.yml").is_yaml_of(SEGMENTS), "and is then told as a link");
        assert!(!read("040000", "-", "campaigns/segments/old.yaml").is_yaml_of(SEGMENTS));
        assert!(!read("100644", "1", "campaigns/segments/notes.md").is_yaml_of(SEGMENTS));
        assert!(!read("100644", "1", "okaeri.yaml").is_yaml_of(SEGMENTS));
        assert_eq!(entry(""), None);
    }
}
