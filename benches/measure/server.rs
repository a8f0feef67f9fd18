//! A Postgres server on this machine, watched from outside: the CPU time of all its processes.
//!
//! Postgres serves each connection by a process of its own, a child of the postmaster. The sum over the postmaster, its children and
//! those it has waited for never loses a process, whenever it ends.

use okaeri::db::Db;

use super::Stat;

/// A running server.
pub struct Server {
    postmaster: u32,
}

impl Server {
    /// The server behind an address; `None` when the address names none, or its processes are not on this machine.
    pub fn of(database: &str) -> Option<Server> {
        if !database.starts_with("postgres") {
            return None;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let backend = runtime.block_on(async {
            let db = Db::open(database).await.ok()?;
            let found = db.fetch_one::<(i32,)>("SELECT pg_backend_pid()", vec![]).await;
            // Looked at while the backend lives; afterwards its number may be anybody's.
            let stat = found.ok().and_then(|(pid,)| postgres(u32::try_from(pid).ok()?));
            db.close().await;
            stat
        })?;
        postgres(backend.parent).map(|_| Server { postmaster: backend.parent })
    }

    /// CPU seconds of all its processes since it started.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let own = Stat::of(self.postmaster)?.family_cpu_seconds();
        let living = std::fs::read_dir("/proc").ok()?.filter_map(|entry| {
            let stat = Stat::of(entry.ok()?.file_name().to_str()?.parse().ok()?)?;
            (stat.parent == self.postmaster).then(|| stat.family_cpu_seconds())
        });
        Some(own + living.sum::<f64>())
    }
}

/// The process of a number, when it is one of Postgres on this machine.
fn postgres(pid: u32) -> Option<Stat> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Stat::of(pid).filter(|_| name.trim() == "postgres")
}
