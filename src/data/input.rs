//! From a file (or any reader) to plain UTF-8 bytes: opened, counted, decompressed, the byte-order mark removed, the format recognised.
//!
//! The content decides, never the name: gzip by its magic bytes, JSONL by a `{` in front.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

const BUFFER_BYTES: usize = 256 << 10;

/// Where the bytes come from.
pub enum From {
    File(PathBuf),
    Reader(Box<dyn Read + Send>),
}

/// How records are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Jsonl,
}

/// An opened input.
pub(super) struct Input {
    pub(super) bytes: Box<dyn BufRead + Send>,
    pub(super) format: Format,
    /// Bytes of the file itself (compressed, if it is) read so far.
    pub(super) count: Arc<AtomicU64>,
    /// The size of the file, when it is one.
    pub(super) size: Option<u64>,
}

/// Why the bytes cannot be read at all; with the remedy on a second line.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Form(&'static str),
}

struct Counting<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Open an input and recognise what it is. An empty input is CSV without a header.
pub(super) fn open(from: From) -> Result<Input, OpenError> {
    let count = Arc::new(AtomicU64::new(0));
    let (inner, size): (Box<dyn Read + Send>, Option<u64>) = match from {
        From::File(path) => {
            let file = File::open(path)?;
            let meta = file.metadata()?;
            if meta.is_dir() {
                return Err(OpenError::Form("a folder, not a file"));
            }
            (Box::new(file), Some(meta.len()))
        }
        From::Reader(reader) => (reader, None),
    };
    let counting = BufReader::with_capacity(BUFFER_BYTES, Counting { inner, count: count.clone() });
    let (head, bytes) = peek::<2>(Box::new(counting))?;
    let bytes: Box<dyn BufRead + Send> = if head == [0x1f, 0x8b] {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(bytes)))
    } else {
        bytes
    };
    let (head, mut bytes) = peek::<4>(bytes)?;
    match *head {
        [0xef, 0xbb, 0xbf, ..] => io::copy(&mut bytes.by_ref().take(3), &mut io::sink()).map(drop)?,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Err(OpenError::Form("UTF-16 text\nsave it as UTF-8 (in Excel: \"CSV UTF-8\")"));
        }
        [b'P', b'K', 3, 4] => return Err(OpenError::Form("a spreadsheet or zip archive\nexport it as CSV")),
        _ => {}
    }
    let (first, bytes) = first_sign(bytes)?;
    let format = match first {
        Some(b'{') => Format::Jsonl,
        Some(b'[') => {
            return Err(OpenError::Form(
                "a JSON array\nwrite one object a line instead (JSONL), for example: jq -c '.[]'",
            ));
        }
        _ => Format::Csv,
    };
    Ok(Input { bytes, format, count, size })
}

/// The first `N` bytes (fewer at the end of the input) and a reader that still begins with them.
fn peek<const N: usize>(mut bytes: Box<dyn BufRead + Send>) -> io::Result<(Vec<u8>, Box<dyn BufRead + Send>)> {
    let mut head = Vec::with_capacity(N);
    bytes.by_ref().take(N as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(bytes))))
}

/// The first byte that is no white space, within the first kilobyte, and a reader that begins where this one did.
fn first_sign(mut bytes: Box<dyn BufRead + Send>) -> io::Result<(Option<u8>, Box<dyn BufRead + Send>)> {
    let mut head = Vec::new();
    let mut first = None;
    while first.is_none() && head.len() < 1024 {
        let mut one = [0];
        if bytes.read(&mut one)? == 0 {
            break;
        }
        head.push(one[0]);
        first = (!one[0].is_ascii_whitespace()).then_some(one[0]);
    }
    Ok((first, Box::new(Cursor::new(head).chain(bytes))))
}
