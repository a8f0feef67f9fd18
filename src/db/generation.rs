//! How far a database has come: a number that grows while mail is sent, kept in the database and in a file beside it.
//!
//! A copy of a ledger that is put back has forgotten who was mailed since it was made, and would mail them again. It cannot know that
//! itself; the file beside it does. The number grows in the database first and in the file after, so a crash between the two leaves the
//! database ahead, which is as it should be; a database that is behind its file is an old copy, or another one.
//!
//! What is not noticed: a copy that was put back together with the file, and anything where the file does not last (a fresh checkout on a
//! throw-away machine). The file is a second look, never a condition: the ledger does not rest on it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{Db, DbResult, stable_hash};
use crate::args;

/// Where a database stands: which one it is, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    database_id: String,
    number: i64,
}

/// The file beside a database.
#[derive(Debug, Clone)]
pub struct Beside {
    file: PathBuf,
}

/// A database is behind what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// The same database, as it was before.
    Older,
    /// Not the one that was here: made anew, or copied from elsewhere.
    Another,
}

impl Generation {
    fn parse(text: &str) -> Option<Generation> {
        let (database_id, number) = text.trim_end().split_once(' ')?;
        Some(Generation { database_id: database_id.to_owned(), number: number.parse().ok()? })
    }

    /// How the database that says this stands to what was `seen`.
    fn behind(database: Option<&Generation>, seen: &Generation) -> Option<Behind> {
        match database {
            Some(g) if g.database_id == seen.database_id && g.number >= seen.number => None,
            Some(g) if g.database_id == seen.database_id => Some(Behind::Older),
            _ => Some(Behind::Another),
        }
    }
}

impl Beside {
    /// The file of a database: beside a SQLite file; for a server, in the project's `state` folder.
    pub fn of(db: &Db, state: &Path) -> Beside {
        let file = match db {
            Db::Sqlite { path, .. } => {
                let mut name = path.clone().into_os_string();
                name.push(".seen");
                name.into()
            }
            Db::Postgres(pool) => {
                let o = pool.connect_options();
                let place = format!("{}:{}/{}", o.get_host(), o.get_port(), o.get_database().unwrap_or_default());
                state.join(format!("seen-{:016x}", stable_hash(place.as_bytes())))
            }
        };
        Beside { file }
    }

    /// The file's name.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether the database is behind what was seen of it; an error when the file says nothing that can be read.
    pub async fn look(&self, db: &Db) -> DbResult<io::Result<Option<Behind>>> {
        let seen = match self.seen() {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(Ok(None)),
            Err(e) => return Ok(Err(e)),
        };
        let row: Option<(String, i64)> =
            db.fetch_optional("SELECT database_id, number FROM generation WHERE only_row = 1", args![]).await?;
        let has = row.map(|(database_id, number)| Generation { database_id, number });
        Ok(Ok(Generation::behind(has.as_ref(), &seen)))
    }

    /// Go on: the number grows in the database, then in the file. The inner error is the file's; nothing depends on it.
    pub async fn advance(&self, db: &Db) -> DbResult<io::Result<()>> {
        let now = self.grow(db, 0).await?;
        Ok(self.keep(&now, false))
    }

    /// Take this database for the newest, whatever was seen.
    pub async fn accept(&self, db: &Db) -> DbResult<io::Result<()>> {
        let seen = self.seen().ok().flatten().map_or(0, |seen| seen.number);
        let now = self.grow(db, seen).await?;
        Ok(self.keep(&now, true))
    }

    /// Let the number of the database grow beyond `seen`.
    async fn grow(&self, db: &Db, seen: i64) -> DbResult<Generation> {
        let sql = "INSERT INTO generation (only_row, database_id, number) VALUES (1, $1, $2 + 1) \
                   ON CONFLICT (only_row) DO UPDATE SET number = CASE WHEN generation.number < $2 THEN $2 ELSE generation.number END + 1 \
                   RETURNING database_id, number";
        let rows: Vec<(String, i64)> = db.write_returning(sql, args![crate::token::random_token(), seen]).await?;
        let (database_id, number) = rows.into_iter().next().expect("an upsert has a row");
        Ok(Generation { database_id, number })
    }

    fn seen(&self) -> io::Result<Option<Generation>> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let told = || io::Error::new(io::ErrorKind::InvalidData, "it does not hold the name and number of a database");
        Generation::parse(&text).map(Some).ok_or_else(told)
    }

    /// Write what was seen, as a whole or not at all. What another process wrote meanwhile stays, if it is further.
    fn keep(&self, now: &Generation, whatever: bool) -> io::Result<()> {
        if !whatever && self.seen()?.is_some_and(|seen| Generation::behind(Some(now), &seen).is_some()) {
            return Ok(());
        }
        let folder = self.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut half = self.file.clone().into_os_string();
        half.push(format!(".{}", crate::token::random_token()));
        let written = (|| {
            let mut file = fs::File::create(&half)?;
            writeln!(file, "{} {}", now.database_id, now.number)?;
            file.sync_all()?;
            fs::rename(&half, &self.file)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&half);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_database_as_far_or_further_is_not_behind() {
        let at = |id: &str, number| Generation { database_id: id.into(), number };
        let seen = at("a", 5);
        for (has, behind) in [
            (Some(at("a", 5)), None),
            (Some(at("a", 6)), None),
            (Some(at("a", 4)), Some(Behind::Older)),
            (Some(at("b", 9)), Some(Behind::Another)),
            (None, Some(Behind::Another)),
        ] {
            assert_eq!(Generation::behind(has.as_ref(), &seen), behind, "{has:?}");
        }
    }

    #[tokio::test]
    async fn the_file_is_written_whole_and_one_that_is_none_of_ours_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("okaeri.db").display())).await.unwrap();
        let beside = Beside::of(&db, folder.path());
        assert_eq!(beside.look(&db).await.unwrap().unwrap(), None, "nothing was seen yet");
        for number in 1..=3 {
            beside.advance(&db).await.unwrap().unwrap();
            assert_eq!(beside.seen().unwrap().unwrap().number, number);
        }
        assert_eq!(beside.look(&db).await.unwrap().unwrap(), None);
        for text in ["", "a", "a b", "a 1 2"] {
            fs::write(beside.file(), text).unwrap();
            assert!(beside.look(&db).await.unwrap().is_err(), "{text}");
        }
        fs::write(beside.file(), "another 70\n").unwrap();
        assert_eq!(beside.look(&db).await.unwrap().unwrap(), Some(Behind::Another));
        beside.advance(&db).await.unwrap().unwrap();
        assert_eq!(beside.look(&db).await.unwrap().unwrap(), Some(Behind::Another), "going on accepts nothing");
        beside.accept(&db).await.unwrap().unwrap();
        assert_eq!(beside.look(&db).await.unwrap().unwrap(), None);
        assert_eq!(beside.seen().unwrap().unwrap().number, 71);
    }
}
