//! Where a measurement happens: a folder for the project and a database of its own, both gone afterwards.

use std::path::Path;
use std::process::ExitCode;

use okaeri::db::Db;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SQLITE: &str = "sqlite";
const ENGINES: [&str; 2] = [SQLITE, "postgres"];

/// Measure on the engines that the command line names, or on all; `measure` says whether every verb succeeded. Postgres is left out unless
/// `OKAERI_TEST_POSTGRES` names a server; there `kept` may name a database to measure in, which stays.
pub fn on_each_engine(kept: Option<String>, measure: impl Fn(&Place) -> bool) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(unknown) = words.iter().find(|word| !ENGINES.contains(&word.as_str())) {
        eprintln!("no engine is called `{unknown}`; name some of: {}", ENGINES.join(", "));
        return ExitCode::FAILURE;
    }
    let mut succeeded = true;
    for engine in ENGINES.into_iter().filter(|e| words.is_empty() || words.iter().any(|word| word == e)) {
        let place = match (engine, std::env::var("OKAERI_TEST_POSTGRES")) {
            (SQLITE, _) => Place::sqlite(),
            (_, Ok(server)) => Place::postgres(&server, kept.clone()),
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

    /// A new database on a server, or the one that is kept there.
    pub fn postgres(server: &str, kept: Option<String>) -> Place {
        let (base, _) = server.rsplit_once('/').expect("the address of a server ends in the name of a database");
        let is_kept = kept.is_some();
        let name = kept.unwrap_or_else(|| format!("okaeri_bench_{}", std::process::id()));
        let made = administer(server, &format!("CREATE DATABASE {name} TEMPLATE template0"));
        assert!(is_kept || made.is_ok(), "the server makes no database: {made:?}");
        Place {
            engine: "Postgres",
            database: format!("{base}/{name}"),
            folder: tempfile::tempdir().expect("a temporary folder"),
            server: (!is_kept).then(|| (server.to_owned(), name)),
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
