//! What the catcher keeps: mails, counts and complaints.
//!
//! Owns the log, the `.eml` files and the numbers of messages. [`Store::keep`] returns only when the message is where
//! the options want it; the session says 250 after that. Times are epoch milliseconds UTC.

use super::content::message_id;
use super::log::Log;
use super::{Caught, Counts, Keep};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most complaints kept; older ones give way.
pub const COMPLAINTS_MAX: usize = 1_000;

/// A message as the session hands it over, with everything known of its envelope.
#[derive(Debug)]
pub(super) struct Arrived<'a> {
    pub from: &'a str,
    pub to: &'a [String],
    pub parameters: Vec<String>,
    pub encrypted: bool,
    pub bytes: Vec<u8>,
    pub defects: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Store {
    keep: Keep,
    shelf: Mutex<Shelf>,
    complaints: Mutex<VecDeque<String>>,
    pub tally: Tally,
}

/// What must move together: the last number, the log and the kept mails.
#[derive(Debug)]
struct Shelf {
    last: u64,
    log: Option<Log>,
    mails: Vec<Caught>,
}

/// Live counters behind [`Counts`].
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub connections: AtomicU64,
    pub encrypted: AtomicU64,
    pub refused: AtomicU64,
    messages: AtomicU64,
    recipients: AtomicU64,
    defective: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }
}

impl Store {
    /// Opens the log and the folder; numbers go on after what they hold already.
    pub fn open(keep: Keep, log: Option<&Path>) -> io::Result<Self> {
        let (log, mut last) = match log {
            Some(path) => Log::open(path).map(|(log, last)| (Some(log), last))?,
            None => (None, 0),
        };
        if let Keep::Dir(folder) = &keep {
            std::fs::create_dir_all(folder)?;
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                let number = path.extension().filter(|kind| *kind == "eml").and(path.file_stem());
                let number = number.and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
                last = last.max(number.unwrap_or(0));
            }
        }
        Ok(Self {
            keep,
            shelf: Mutex::new(Shelf { last, log, mails: Vec::new() }),
            complaints: Mutex::default(),
            tally: Tally::default(),
        })
    }

    /// Stores one message: file, then log, then memory. After an error its number is given to the next one, which
    /// overwrites the file.
    pub fn keep(&self, arrived: Arrived<'_>) -> io::Result<()> {
        let message_id = message_id(&arrived.bytes);
        let size = arrived.bytes.len() as u64;
        let defective = !arrived.defects.is_empty();
        {
            let mut shelf = lock(&self.shelf);
            let number = shelf.last + 1;
            // Small writes into the page cache: shorter than handing them to another thread.
            if let Keep::Dir(folder) = &self.keep {
                std::fs::write(eml(folder, number), &arrived.bytes)?;
            }
            if let Some(log) = &mut shelf.log {
                log.append(number, message_id.as_deref(), arrived.to, &arrived.bytes)?;
            }
            shelf.last = number;
            let bytes = match self.keep {
                Keep::Memory => Some(arrived.bytes),
                Keep::Dir(_) => Some(Vec::new()),
                Keep::Count => None,
            };
            if let Some(bytes) = bytes {
                shelf.mails.push(Caught {
                    number,
                    at: now(),
                    envelope_from: arrived.from.to_owned(),
                    envelope_to: arrived.to.to_vec(),
                    envelope_parameters: arrived.parameters,
                    encrypted: arrived.encrypted,
                    message_id,
                    bytes: Arc::new(bytes),
                    defects: arrived.defects,
                });
            }
        }
        Tally::add(&self.tally.messages, 1);
        Tally::add(&self.tally.recipients, arrived.to.len() as u64);
        Tally::add(&self.tally.defective, u64::from(defective));
        Tally::add(&self.tally.bytes, size);
        Ok(())
    }

    /// The kept mails in the order of storing. Content that lies in files is read back; a file that has vanished
    /// meanwhile leaves empty bytes and a defect that says so.
    pub fn mails(&self) -> Vec<Caught> {
        let mut mails = lock(&self.shelf).mails.clone();
        if let Keep::Dir(folder) = &self.keep {
            for mail in &mut mails {
                match std::fs::read(eml(folder, mail.number)) {
                    Ok(bytes) => mail.bytes = Arc::new(bytes),
                    Err(error) => mail.defects.push(format!("the stored file cannot be read: {error}")),
                }
            }
        }
        mails
    }

    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            connections: read(&self.tally.connections),
            encrypted: read(&self.tally.encrypted),
            messages: read(&self.tally.messages),
            recipients: read(&self.tally.recipients),
            refused: read(&self.tally.refused),
            defective: read(&self.tally.defective),
            bytes: read(&self.tally.bytes),
        }
    }

    pub fn complain(&self, connection: u64, what: &str) {
        let mut complaints = lock(&self.complaints);
        if complaints.len() == COMPLAINTS_MAX {
            complaints.pop_front();
        }
        complaints.push_back(format!("connection {connection}: {what}"));
    }

    pub fn complaints(&self) -> Vec<String> {
        lock(&self.complaints).iter().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}

fn eml(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.eml"))
}

/// The catcher plays the outside world, so it reads its own clock.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
