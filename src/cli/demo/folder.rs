//! The demo's folder: a fresh one, and the sample project written into it.
//!
//! The project is the repository's own, carried inside the binary. Never touches a folder that holds anything.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, DirEntry, include_dir};

use super::super::Failure;
use crate::settings;
use crate::token;

static CAMPAIGNS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/campaigns");
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
const SETTINGS: &str = include_str!("../../../okaeri.yaml");
const CONTRACT: &str = include_str!("../../../contract.yaml");

/// Names tried without `--dir`: okaeri-demo, okaeri-demo-2 … okaeri-demo-999.
const NAMES_MAX: u32 = 999;
/// What the settings call the mail server while nothing else is said; the port a catcher of one's own would use.
const LATER_SMTP_URL: &str = "smtp://127.0.0.1:2525";

/// A folder that is ours.
pub(super) struct Folder {
    pub path: PathBuf,
    /// Signs this demo's links and Message-IDs.
    secret: String,
}

impl Folder {
    /// Make `asked`, or the first free `okaeri-demo…` under the current folder.
    pub fn make(asked: Option<PathBuf>) -> Result<Folder, Failure> {
        let secret = (0..4).map(|_| token::random_token()).collect();
        let path = match asked {
            Some(path) => named(path)?,
            None => first_free()?,
        };
        Ok(Folder { path, secret })
    }

    /// Settings, data contract, campaigns and templates; and the secret, for whoever goes on working here.
    pub fn write_project(&self) -> Result<(), Failure> {
        write(&self.path.join(settings::FILE), SETTINGS.as_bytes())?;
        write(&self.path.join(settings::contract::FILE), CONTRACT.as_bytes())?;
        write_tree(&self.path.join("campaigns"), &CAMPAIGNS)?;
        write_tree(&self.path.join("templates"), &TEMPLATES)?;
        write(&self.path.join(".gitignore"), b".env\n.okaeri/\n")?;
        self.write_secret().map_err(|e| cannot_write(&self.path.join(".env"), &e))
    }

    /// What okaeri.yaml reads from the environment elsewhere.
    pub fn variables(&self, smtp_url: String) -> Arc<BTreeMap<&'static str, String>> {
        Arc::new(BTreeMap::from([("OKAERI_SECRET", self.secret.clone()), ("SMTP_URL", smtp_url)]))
    }

    pub fn cannot_write(&self, e: &std::io::Error) -> Failure {
        cannot_write(&self.path, e)
    }

    fn write_secret(&self) -> std::io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path.join(".env"))?;
        write!(
            file,
            "# Read by a shell before `okaeri send`:  set -a; . ./.env; set +a\n\
             # The secret signs links and Message-IDs; keep it, and keep it out of git.\n\
             OKAERI_SECRET={}\n\
             # Where mail goes. The demo's own mail server ended with the demo.\n\
             SMTP_URL={LATER_SMTP_URL}\n",
            self.secret
        )
    }
}

fn named(path: PathBuf) -> Result<PathBuf, Failure> {
    match fs::read_dir(&path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(path),
        Ok(false) => Err(Failure::Usage(format!(
            "{} is not empty, and the demo writes only into a folder of its own\n\
             name a new one with --dir, or leave --dir away",
            path.display()
        ))),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(&path).map_err(|e| cannot_write(&path, &e))?;
            Ok(path)
        }
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            Err(Failure::Usage(format!("{} is a file\nname a new folder with --dir", path.display())))
        }
        Err(e) => Err(Failure::Environment(format!("{}: {e}", path.display()))),
    }
}

/// Claimed by making it, so that two demos started at once get two folders.
fn first_free() -> Result<PathBuf, Failure> {
    for n in 1..=NAMES_MAX {
        let path = PathBuf::from(if n == 1 { "okaeri-demo".to_owned() } else { format!("okaeri-demo-{n}") });
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(cannot_write(&path, &e)),
        }
    }
    Err(Failure::Usage(format!(
        "okaeri-demo to okaeri-demo-{NAMES_MAX} are all there\nremove some, or name one with --dir"
    )))
}

fn write_tree(to: &Path, tree: &Dir<'_>) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(|e| cannot_write(to, &e))?;
    for entry in tree.entries() {
        let name = entry.path().file_name().expect("an entry of a folder has a name");
        match entry {
            DirEntry::Dir(inner) => write_tree(&to.join(name), inner)?,
            DirEntry::File(file) => write(&to.join(name), file.contents())?,
        }
    }
    Ok(())
}

/// Write a file of the demo's folder.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|e| cannot_write(path, &e))
}

fn cannot_write(path: &Path, e: &std::io::Error) -> Failure {
    Failure::Environment(format!("cannot write {}: {e}\nname another folder with --dir", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_or_empty_folder_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Folder::make(Some(dir.path().to_owned())).is_ok(), "an empty folder will do");
        let new = dir.path().join("a/b");
        Folder::make(Some(new.clone())).unwrap().write_project().unwrap();
        assert!(
            new.join("campaigns/segments/champions.yaml").is_file() && new.join("templates/parts/frame.html").is_file()
        );
        for taken in [new.clone(), new.join("okaeri.yaml")] {
            let Err(Failure::Usage(said)) = Folder::make(Some(taken.clone())) else { panic!("{taken:?} was taken") };
            assert!(said.contains("--dir"), "{said}");
        }
    }

    #[test]
    fn the_secret_is_readable_by_its_owner_only_and_new_each_time() {
        use std::os::unix::fs::PermissionsExt as _;
        let secrets = [(); 2].map(|()| {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::make(Some(dir.path().to_owned())).unwrap();
            folder.write_project().unwrap();
            let file = dir.path().join(".env");
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(fs::read_to_string(file).unwrap().contains(&folder.secret));
            folder.secret
        });
        assert_eq!(secrets[0].len(), 64);
        assert_ne!(secrets[0], secrets[1]);
    }
}
