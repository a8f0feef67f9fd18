//! Files that verbs write for somebody: put in place whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file in the making, beside the one it will become: readable by its owner alone, and gone again unless it is put in place.
pub struct NewFile {
    pub file: File,
    path: PathBuf,
    placed: bool,
}

impl NewFile {
    /// Begin a file that will be `path`.
    pub fn beside(path: &Path) -> io::Result<NewFile> {
        let name = path.file_name().ok_or_else(|| io::Error::other("not the name of a file"))?;
        if path.is_dir() {
            return Err(io::Error::other("it is a folder"));
        }
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.part", std::process::id()));
        let path = path.with_file_name(temporary);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(NewFile { file, path, placed: false })
    }

    /// Finished: from now on it is `path`, whole.
    pub fn put_in_place(mut self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, path)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.placed {
            // It is named after this process and holds nothing finished; when even this fails there is nobody left to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_put_in_place_whole_and_private_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        fs::write(&path, "old").unwrap();
        let names = || fs::read_dir(folder.path()).unwrap().count();
        let new = NewFile::beside(&path).unwrap();
        (&new.file).write_all(b"half").unwrap();
        drop(new);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), ("old", 1));
        let new = NewFile::beside(&path).unwrap();
        (&new.file).write_all(b"whole").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old", "until it is put in place");
        new.put_in_place(&path).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), ("whole", 1));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(NewFile::beside(folder.path()).is_err());
        assert!(NewFile::beside(&folder.path().join("no/where.csv")).is_err());
    }
}
