//! Where a measurement happens: a folder for the project and a database of its own, both gone afterwards.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use okaeri::db::Db;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SQLITE: &str = "sqlite";
const ENGINES: [&str; 2] = [SQLITE, "postgres"];

/// Measure on the engines that the command line names, or on all; `measure` says whether every verb succeeded. Postgres is left out unless
/// `OKAERI_TEST_POSTGRES` names a server.
pub fn on_each_engine(measure: impl Fn(&Place) -> bool) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(unknown) = words.iter().find(|word| !ENGINES.contains(&word.as_str())) {
        eprintln!("no engine is called `{unknown}`; name some of: {}", ENGINES.join(", "));
        return ExitCode::FAILURE;
    }
    let mut succeeded = true;
    for engine in ENGINES.into_iter().filter(|e| words.is_empty() || words.iter().any(|word| word == e)) {
        let place = match (engine, std::env::var("OKAERI_TEST_POSTGRES")) {
            (SQLITE, _) => Place::sqlite(),
            (_, Ok(server)) => Place::postgres(&server),
            (_, Err(_)) => {
                println!("\nPostgres is left out: OKAERI_TEST_POSTGRES names no server");
                continue;
            }
        };
        succeeded &= measure(&place);
    }
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub struct Place {
    /// The engine, for people.
    pub engine: &'static str,
    /// The database's address.
    pub database: String,
    folder: TempDir,
    /// Where the database was made, and its name; dropped there in the end.
    server: Option<(String, String)>,
}

impl Place {
    /// A new SQLite file.
    pub fn sqlite() -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = format!("sqlite:{}", folder.path().join("bench.db").display());
        Place { engine: "SQLite", database, folder, server: None }
    }

    /// A new database on a server.
    pub fn postgres(server: &str) -> Place {
        let (base, _) = server.rsplit_once('/').expect("the address of a server ends in the name of a database");
        let name = format!("okaeri_bench_{}", std::process::id());
        administer(server, &format!("CREATE DATABASE {name} TEMPLATE template0")).expect("the server makes a database");
        Place {
            engine: "Postgres",
            database: format!("{base}/{name}"),
            folder: tempfile::tempdir().expect("a temporary folder"),
            server: Some((server.to_owned(), name)),
        }
    }

    /// The project's folder.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Open the database.
    pub async fn open(&self) -> Db {
        Db::open(&self.database).await.expect("our own database")
    }

    /// Have the operating system forget what it cached of the database, so that the next reader reads the disk. Nothing else is touched, and
    /// no right beyond reading the files is needed. What Postgres itself keeps in memory stays.
    pub async fn forget_cache(&self) -> Result<(), String> {
        for file in self.files().await? {
            // Only what is on the disk can be forgotten.
            match File::open(&file).and_then(|f| f.sync_all()) {
                Ok(()) => {}
                // Postgres drops small files of its own whenever it likes.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(format!("{}: {e}", file.display())),
            }
            let mut named = std::ffi::OsString::from("if=");
            named.push(&file);
            let dd = Command::new("dd")
                .arg(named)
                .args(["of=/dev/null", "iflag=nocache", "count=0", "status=none"])
                .status()
                .map_err(|e| format!("dd: {e}"))?;
            if !dd.success() {
                return Err(format!("{}: dd cannot tell the system", file.display()));
            }
        }
        Ok(())
    }

    /// The files of the database, with everything in them that was written.
    async fn files(&self) -> Result<Vec<PathBuf>, String> {
        let Some((_, name)) = &self.server else { return Ok(vec![self.dir().join("bench.db")]) };
        let db = self.open().await;
        let sql = "SELECT current_setting('data_directory') || '/base/' || CAST(oid AS TEXT) FROM pg_database WHERE datname = $1";
        let folder = match db.execute("CHECKPOINT", vec![]).await {
            Ok(_) => db.fetch_one::<(String,)>(sql, okaeri::args![name]).await,
            Err(e) => Err(e),
        };
        db.close().await;
        let (folder,) = folder.map_err(|e| e.to_string())?;
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{folder}: {e}"))?;
        Ok(entries.filter_map(|e| Some(e.ok()?.path())).collect())
    }

    /// The size of the database in bytes.
    pub async fn bytes(&self) -> u64 {
        if self.server.is_none() {
            return self.dir().join("bench.db").metadata().map_or(0, |m| m.len());
        }
        let db = self.open().await;
        let (bytes,): (i64,) =
            db.fetch_one("SELECT pg_database_size(current_database())", vec![]).await.expect("our own database");
        db.close().await;
        bytes as u64
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((server, name)) = &self.server else { return };
        if let Err(e) = administer(server, &format!("DROP DATABASE {name} WITH (FORCE)")) {
            eprintln!("the database {name} stays behind: {e}");
        }
    }
}

/// Run a statement about databases; the names in it are our own.
fn administer(server: &str, statement: &str) -> Result<(), sqlx::Error> {
    Runtime::new().expect("a runtime").block_on(async {
        let mut connection = PgConnection::connect(server).await?;
        connection.execute(AssertSqlSafe(statement)).await.map(|_| ())
    })
}
