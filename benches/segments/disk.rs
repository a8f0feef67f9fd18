//! The database on the disk: what of it the system remembers, and how large it is.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use crate::place::Place;

/// Have the operating system forget what it cached of the database, so that the next reader reads the disk. Nothing else is touched, and
/// no right beyond reading the files is needed. What Postgres itself keeps in memory stays.
pub async fn forget_cache(place: &Place) -> Result<(), String> {
    for file in files(place).await? {
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
async fn files(place: &Place) -> Result<Vec<PathBuf>, String> {
    let Some(name) = database_name(place) else { return Ok(vec![place.dir().join("bench.db")]) };
    let db = place.open().await;
    let sql =
        "SELECT current_setting('data_directory') || '/base/' || CAST(oid AS TEXT) FROM pg_database WHERE datname = $1";
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
pub async fn bytes(place: &Place) -> u64 {
    if database_name(place).is_none() {
        return place.dir().join("bench.db").metadata().map_or(0, |m| m.len());
    }
    let db = place.open().await;
    let (bytes,): (i64,) =
        db.fetch_one("SELECT pg_database_size(current_database())", vec![]).await.expect("our own database");
    db.close().await;
    bytes as u64
}

/// The name of the database on its server; a file has none.
fn database_name(place: &Place) -> Option<&str> {
    let is_file = place.database.starts_with("sqlite:");
    place.database.rsplit_once('/').map(|(_, name)| name).filter(|_| !is_file)
}
