//! What was prepared, kept: in this process, and from one invocation to the next in the project's `.okaeri/prepared/`.
//!
//! To prepare a mail, and to prove that it says what the slow way says, takes a hundred times as long as to read it back. What is kept is found
//! by a hash over everything that it was made from, this very program among it, so it is never out of date; a file that is damaged, half written
//! or not there only costs the time. Nobody needs it: the folder may be removed at any time, and where it cannot be written there is none. It is
//! never made where the project has no `.okaeri/` yet, so `check` in a fresh checkout leaves nothing behind.
//!
//! Only mails that passed the comparison are written to files; in memory the refused ones are kept too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use super::flatten::Refusal;
use super::prepare::Prepared;

/// Below the project's folder.
const HOME: &str = ".okaeri";
const FOLDER: &str = "prepared";
/// Most mails kept in memory.
const MAILS_MAX: usize = 512;
/// Most files kept; the oldest go first.
const FILES_MAX: usize = 128;
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A mail, or why it is none.
type Verdict = Result<Prepared, Refusal>;

/// (what a set of mails was made from, the mail's file) → the mail.
static MEMORY: Mutex<BTreeMap<(String, String), Verdict>> = Mutex::new(BTreeMap::new());

fn memory() -> MutexGuard<'static, BTreeMap<(String, String), Verdict>> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mails prepared from one set of sources.
pub(super) struct Kept {
    key: String,
    folder: Option<PathBuf>,
    mails: BTreeMap<String, Verdict>,
    /// Something was added that no file has.
    grew: bool,
}

impl Kept {
    /// What is kept of mails made from this `content`; `home` is the project's folder.
    pub fn of(content: &str, home: Option<&Path>) -> Kept {
        let key = hex(&[PROGRAM.as_bytes(), content.as_bytes()]);
        let folder = home.map(|dir| dir.join(HOME)).filter(|dir| dir.is_dir()).map(|dir| dir.join(FOLDER));
        let first = (key.clone(), String::new());
        let mut mails: BTreeMap<String, Verdict> = memory()
            .range(first..)
            .take_while(|((of, _), _)| *of == key)
            .map(|((_, mail), v)| (mail.clone(), v.clone()))
            .collect();
        if mails.is_empty()
            && let Some(read) = folder.as_ref().and_then(|folder| read(&file_of(folder, &key)))
        {
            mails.extend(read.into_iter().map(|(mail, prepared)| (mail, Ok(prepared))));
        }
        let kept = Kept { key, folder, mails, grew: false };
        kept.remember();
        kept
    }

    pub fn get(&self, mail: &str) -> Option<&Verdict> {
        self.mails.get(mail)
    }

    pub fn add(&mut self, mail: &str, verdict: Verdict) {
        self.grew |= verdict.is_ok();
        self.mails.insert(mail.to_owned(), verdict);
    }

    /// Keep what was added.
    pub fn close(self) {
        self.remember();
        if let Some(folder) = self.folder.as_ref().filter(|_| self.grew) {
            // Whatever stands in the way, the next invocation prepares the mails itself.
            let _ = self.write(folder);
        }
    }

    fn remember(&self) {
        let mut memory = memory();
        if memory.len() + self.mails.len() > MAILS_MAX {
            memory.clear();
        }
        memory.extend(self.mails.iter().map(|(mail, v)| ((self.key.clone(), mail.clone()), v.clone())));
    }

    /// A new file takes the old one's place as a whole, so nobody reads half of one, and of two writers the last one stays.
    fn write(&self, folder: &Path) -> std::io::Result<()> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let sound: BTreeMap<&String, &Prepared> =
            self.mails.iter().filter_map(|(mail, v)| Some((mail, v.as_ref().ok()?))).collect();
        let text = serde_json::to_string(&sound)?;
        std::fs::create_dir_all(folder)?;
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let new = folder.join(format!("{}.{}-{number}.new", self.key, std::process::id()));
        let written = std::fs::write(&new, format!("{}\n{text}", hex(&[text.as_bytes()])))
            .and_then(|()| std::fs::rename(&new, file_of(folder, &self.key)));
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        tidy(folder)?;
        written
    }
}

fn file_of(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.json"))
}

/// A file's mails; `None` unless it is whole.
fn read(file: &Path) -> Option<BTreeMap<String, Prepared>> {
    if std::fs::metadata(file).ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    let bytes = std::fs::read_to_string(file).ok()?;
    let (digest, text) = bytes.split_once('\n')?;
    (digest == hex(&[text.as_bytes()])).then(|| serde_json::from_str(text).ok())?
}

/// Remove the oldest files above the limit, those that a writer left half written among them.
fn tidy(folder: &Path) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            files.push((metadata.modified()?, entry.path()));
        }
    }
    files.sort();
    for (_, file) in files.iter().rev().skip(FILES_MAX) {
        // Another one may have removed it.
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

/// This very program: another build may prepare otherwise under the same version.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let file = std::env::current_exe().and_then(std::fs::metadata);
    let of = |m: std::fs::Metadata| {
        let since = m.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        format!("{} {}", m.len(), since.map_or(0, |s| s.as_nanos()))
    };
    // Where it cannot be told, what this process keeps is for itself alone.
    let build = file.map_or_else(|_| format!("process {} {:?}", std::process::id(), std::time::Instant::now()), of);
    format!("{} {build}\n", env!("CARGO_PKG_VERSION"))
});

/// SHA-256, hexadecimal.
pub(super) fn hex(parts: &[&[u8]]) -> String {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    parts.iter().for_each(|part| hash.update(part));
    hash.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::mapped::Mapped;
    use super::*;

    fn prepared(text: &str) -> Prepared {
        Prepared {
            body: Mapped::of("a.html", text),
            components: Mapped::default(),
            tables: BTreeMap::new(),
            shows_preheader: false,
        }
    }

    fn forget(kept: &str) {
        memory().retain(|(key, _), _| key != kept);
    }

    /// What another invocation would find.
    fn found(content: &str, home: &Path) -> Option<String> {
        forget(&hex(&[PROGRAM.as_bytes(), content.as_bytes()]));
        Kept::of(content, Some(home)).get("a.html").map(|v| v.as_ref().unwrap().body.text.clone())
    }

    fn keep(content: &str, home: &Path, text: &str) -> PathBuf {
        let mut kept = Kept::of(content, Some(home));
        kept.add("a.html", Ok(prepared(text)));
        let file = file_of(&home.join(HOME).join(FOLDER), &kept.key);
        kept.close();
        file
    }

    #[test]
    fn the_next_invocation_finds_what_was_kept_and_where_it_came_from() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(HOME)).unwrap();
        keep("content one", home.path(), "<p>日本</p>");
        assert_eq!(found("content one", home.path()).as_deref(), Some("<p>日本</p>"));
        assert_eq!(found("content two", home.path()), None, "made from something else");
        let kept = Kept::of("content one", Some(home.path()));
        let body = &kept.get("a.html").unwrap().as_ref().unwrap().body;
        assert_eq!(*body, Mapped::of("a.html", "<p>日本</p>"));
    }

    #[test]
    fn a_damaged_file_is_no_file_and_is_written_again() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(HOME)).unwrap();
        let file = keep("content", home.path(), "<p>a</p>");
        let whole = std::fs::read(&file).unwrap();
        let mut turned = whole.clone();
        let middle = turned.len() - 9;
        turned[middle] ^= 1;
        for damaged in [&whole[..whole.len() / 2], &turned, b"", b"{}", b"\xff\xfe"] {
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(found("content", home.path()), None);
        }
        keep("content", home.path(), "<p>a</p>");
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }

    #[test]
    fn nothing_is_written_where_the_project_has_no_folder_of_ours_or_the_way_is_barred() {
        let home = tempfile::tempdir().unwrap();
        keep("bare", home.path(), "<p>a</p>");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
        std::fs::create_dir(home.path().join(HOME)).unwrap();
        std::fs::write(home.path().join(HOME).join(FOLDER), "").unwrap(); // a file where the folder would be
        keep("barred", home.path(), "<p>a</p>");
        assert_eq!(found("barred", home.path()), None);
    }

    #[test]
    fn only_so_many_files_are_kept() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(HOME)).unwrap();
        for n in 0..FILES_MAX + 3 {
            keep(&format!("many {n}"), home.path(), "<p>a</p>");
        }
        let files = std::fs::read_dir(home.path().join(HOME).join(FOLDER)).unwrap().count();
        assert_eq!(files, FILES_MAX);
    }
}
