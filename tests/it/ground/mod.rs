//! What integration tests stand on: fresh databases of both kinds.
//!
//! Databases are never faked. SQLite is a file in a folder that vanishes; PostgreSQL is a private cluster
//! (`postgres.rs`), shared by the run when `make test` started one. `scenario.rs` runs the binary on a project of its own;
//! `sending.rs` enqueues runs without a plan and sends them; `promise.rs` judges what was sent; `proxy.rs` cuts the wire to PostgreSQL; `emitted.rs` has `sql_lint` judge every statement it runs.

pub mod beside;
pub mod certificates;
pub mod dns;
pub mod emitted;
pub mod mail;
pub mod postgres;
pub mod promise;
pub mod proxy;
pub mod scenario;
pub mod sending;
pub mod sql_lint;

use futures_util::FutureExt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};

/// Runs one contract on a fresh, empty SQLite file and then on a fresh, empty PostgreSQL database.
///
/// The closure gets the URL as the `database` setting takes it. Both databases are removed afterwards, also when the
/// contract fails; which one it failed on is said on stderr.
pub async fn each_database<F, R>(contract: F)
where
    F: Fn(String) -> R,
    R: Future<Output = ()>,
{
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("okaeri.db");
    judged("SQLite", contract(format!("sqlite:{}", file.display()))).await;

    let database = postgres::fresh_database().await;
    let outcome = AssertUnwindSafe(judged("PostgreSQL", contract(database.url.clone()))).catch_unwind().await;
    database.remove().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Says where a contract fails before it goes on failing.
async fn judged(engine: &str, contract: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(contract).catch_unwind().await {
        eprintln!("the contract does not hold on {engine}");
        resume_unwind(panic);
    }
}

/// A test that cannot run says so with this and returns. Where everything must be there (`OKAERI_NO_SKIP`), it fails.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("OKAERI_NO_SKIP").is_none(), "a test was left out: {why}");
    println!("SKIPPED: {why}");
}

/// The same for what no package brings: a right that this machine does not give us. Never a failure.
pub fn not_allowed(why: &str) {
    println!("SKIPPED: {why}");
}

#[tokio::test]
async fn each_database_is_empty_usable_and_gone_afterwards() {
    use sqlx::{Connection, PgConnection, Row};
    let urls = std::sync::Mutex::new(Vec::new());
    for _ in 0..2 {
        each_database(|url| {
            urls.lock().unwrap().push(url.clone());
            async move {
                let create = "CREATE TABLE customer (customer_id TEXT PRIMARY KEY)";
                if url.starts_with("sqlite:") {
                    let url = format!("{url}?mode=rwc");
                    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
                    sqlx::query(create).execute(&mut database).await.unwrap();
                } else {
                    let mut database = PgConnection::connect(&url).await.unwrap();
                    sqlx::query(create).execute(&mut database).await.unwrap();
                    let row = sqlx::query("SHOW server_encoding").fetch_one(&mut database).await.unwrap();
                    assert_eq!(row.get::<String, _>(0), "UTF8");
                }
            }
        })
        .await;
    }
    let urls = urls.into_inner().unwrap();
    assert_eq!(urls.len(), 4);
    for url in urls {
        match url.strip_prefix("sqlite:") {
            Some(file) => assert!(!std::path::Path::new(file).exists(), "{file} is still there"),
            None => assert!(PgConnection::connect(&url).await.is_err(), "{url} is still there"),
        }
    }
}
