//! One delivering process per SQLite file: a lock beside it, released by the system when the process ends, however it ends.
//!
//! Two processes on one file would be correct and slow; Postgres needs no such lock.

use std::fs::{File, TryLockError};

use crate::db::Db;

/// Held while a process delivers.
#[derive(Debug)]
pub struct DeliveryLock {
    _file: Option<File>,
}

impl DeliveryLock {
    /// Take the lock; `Ok(None)` when another process delivers from this database.
    pub fn take(db: &Db) -> std::io::Result<Option<DeliveryLock>> {
        let Db::Sqlite { path, .. } = db else { return Ok(Some(DeliveryLock { _file: None })) };
        let mut name = path.clone().into_os_string();
        name.push(".delivering");
        let file = File::options().create(true).truncate(false).write(true).open(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DeliveryLock { _file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}
