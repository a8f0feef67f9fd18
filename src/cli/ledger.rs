//! The ledger that mail is sent from: the project's database, when it is not behind what was seen of it.

use std::time::Duration;

use super::{Failure, Invocation};
use crate::clock;
use crate::db::{Behind, Beside, Db};
use crate::queue::run;
use crate::settings::Project;

/// How often the number of the database grows while mail is sent.
const GROW_EVERY: Duration = Duration::from_secs(10);

/// The file beside the project's database that knows how far it has come.
pub fn beside(project: &Project, db: &Db) -> Beside {
    Beside::of(db, &project.dir.join(".okaeri"))
}

/// The project's database, open, to send from; not when it is behind what was seen of it: then every run is held.
pub async fn open(inv: &Invocation, project: &Project) -> Result<Db, Failure> {
    let db = inv.open_db(project).await?;
    let beside = beside(project, &db);
    let behind = beside.look(&db).await?.map_err(|e| {
        Failure::Environment(format!(
            "{}: {e}\nit tells whether an old copy of the database was put back; if none was, remove it",
            beside.file().display()
        ))
    })?;
    let Some(behind) = behind else { return Ok(db) };
    let what = match behind {
        Behind::Older => "the database is older than what was seen of it: an old copy was put back",
        Behind::Another => "the database is not the one that was here: it was made anew, or came from elsewhere",
    };
    let reason = format!("{what} (okaeri queue restored)");
    let paused = run::pause_all(&db, &reason, clock::now()).await?;
    let seen = beside.file().display();
    Err(Failure::Held(format!(
        "{what}\nnothing is sent, and every run is paused ({paused} now): whoever was mailed since the copy was made is not in it and would be \
         mailed again\nif it was put back by mistake, bring the right one\nif it is meant: okaeri queue restored, then for each run okaeri queue \
         cancel or resume (docs/operations.md)\nwhat was seen stands in {seen}"
    )))
}

/// Lets the number of a database grow while mail is sent, so that no copy made meanwhile passes for it later.
pub struct Growing {
    beside: Beside,
    db: Db,
    task: tokio::task::JoinHandle<()>,
}

/// Begin: it grows now, every so often, and once more at the end.
pub async fn grow(inv: &Invocation, project: &Project, db: &Db) -> Result<Growing, Failure> {
    let beside = beside(project, db);
    let unnoticed = {
        let (inv, file) = (inv.clone(), beside.file().display().to_string());
        move |e| inv.say(format!("{file} cannot be written, so an old copy of the database would not be noticed: {e}"))
    };
    if let Err(e) = beside.advance(db).await? {
        unnoticed(e);
    }
    let task = {
        let (beside, db) = (beside.clone(), db.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(GROW_EVERY).await;
                // What fails now is tried again at the next turn; of the file it was said.
                let _ = beside.advance(&db).await;
            }
        })
    };
    Ok(Growing { beside, db: db.clone(), task })
}

impl Growing {
    /// Mail is sent no more.
    pub async fn end(self) {
        self.task.abort();
        // Should it fail, only what was done in the last seconds is not noticed.
        let _ = self.beside.advance(&self.db).await;
    }
}
