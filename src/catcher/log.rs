//! The append-only log of stored mail, and reading it back.
//!
//! One line per message and recipient: `sequence TAB Message-ID TAB recipient TAB SHA-256`, ended by LF. A line is
//! in the file before the client hears 250, so a test that kills the client can ask the log what really arrived. The
//! lines of one message are appended by one write. They survive the death of any process, not a power failure:
//! nothing is synced to disk.

use ring::digest::{SHA256, digest};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

/// One line of the log: one message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The number of the message, from 1 in the order of storing; the same for all its recipients.
    pub number: u64,
    /// The Message-ID with its angle brackets; `None` when the message had none.
    pub message_id: Option<String>,
    pub recipient: String,
    /// SHA-256 of the content in lower-case hexadecimal, dots unstuffed.
    pub sha256: String,
}

/// Reads a whole log. A last line without its LF (its writer was killed) is left out; nobody heard 250 for it.
///
/// # Errors
/// The file cannot be read, or a line is not one of ours (`InvalidData`, naming the line).
pub fn read_log(path: &Path) -> io::Result<Vec<Logged>> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut entries, mut line) = (Vec::new(), String::new());
    while reader.read_line(&mut line)? > 0 {
        let Some(text) = line.strip_suffix('\n') else { break };
        entries.push(parse(text).ok_or_else(|| {
            let at = entries.len() + 1;
            let what = format!("{}:{at}: not a line of a catcher's log", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?);
        line.clear();
    }
    Ok(entries)
}

fn parse(line: &str) -> Option<Logged> {
    let mut fields = line.split('\t');
    let number = fields.next()?.parse().ok()?;
    let message_id = Some(fields.next()?).filter(|id| *id != NO_MESSAGE_ID).map(str::to_owned);
    let (recipient, sha256) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    fields.next().is_none().then_some(Logged { number, message_id, recipient, sha256 })
}

/// Stands for a missing Message-ID.
const NO_MESSAGE_ID: &str = "-";

/// The open log of a running catcher.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
}

impl Log {
    /// Opens `path` for appending and returns the highest number already in it (0: none). Folders are made.
    pub fn open(path: &Path) -> io::Result<(Self, u64)> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let last = match read_log(path) {
            Ok(entries) => entries.last().map_or(0, |entry| entry.number),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok((Self { file }, last))
    }

    /// Appends one message.
    pub fn append(
        &mut self,
        number: u64,
        message_id: Option<&str>,
        recipients: &[String],
        bytes: &[u8],
    ) -> io::Result<()> {
        let sha256 = hexadecimal(digest(&SHA256, bytes).as_ref());
        let message_id = message_id.map_or_else(|| NO_MESSAGE_ID.to_owned(), printable);
        let mut lines = String::new();
        for recipient in recipients {
            lines.push_str(&format!("{number}\t{message_id}\t{}\t{sha256}\n", printable(recipient)));
        }
        self.file.write_all(lines.as_bytes())
    }
}

/// Control characters would break the line format; a question mark takes their place.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_back_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/log");
        let (mut log, last) = Log::open(&path).unwrap();
        assert_eq!(last, 0);
        let to = ["mia@example.com".to_owned(), "花@example.com".to_owned()];
        log.append(1, Some("<a\tb@example.com>"), &to, b"abc").unwrap();
        log.append(2, None, &to[..1], b"").unwrap();
        let entries = read_log(&path).unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[1].message_id.as_deref(), Some("<a?b@example.com>"));
        assert_eq!(entries[1].recipient, "花@example.com");
        // FIPS 180-2, appendix B.1
        assert_eq!(entries[0].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(entries[2].message_id, None);
        assert_eq!(Log::open(&path).unwrap().1, 2);
    }

    #[test]
    fn a_half_written_last_line_is_left_out_and_a_foreign_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "1\t-\ta@example.com\tff\n2\t-\ta@exa").unwrap();
        assert_eq!(read_log(&path).unwrap().len(), 1);
        std::fs::write(&path, "1\t-\ta@example.com\tff\nhello\n").unwrap();
        assert!(read_log(&path).unwrap_err().to_string().ends_with("log:2: not a line of a catcher's log"));
    }
}
