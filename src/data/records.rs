//! From bytes to raw records with the line they begin on: CSV records (which may span lines) and lines of JSONL.
//!
//! Bounded and able to recover: a record larger than [`RECORD_BYTES_MAX`], a quotation mark that is never closed, or bytes that are not
//! UTF-8 spoil that record alone. The fields of CSV are told apart by csv-core (RFC 4180 and its everyday deviations).

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::limits::{CELL_BYTES_MAX, COLUMNS_MAX, RECORD_BYTES_MAX};

/// Physical lines: bounded, numbered from 1, and able to take lines back.
pub(super) struct Lines {
    bytes: Box<dyn BufRead + Send>,
    read: u64,
    back: VecDeque<Line>,
}

/// One physical line without its line break.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    /// It was longer than [`RECORD_BYTES_MAX`]; only its beginning is here.
    pub(super) cut: bool,
}

impl Lines {
    pub(super) fn new(bytes: Box<dyn BufRead + Send>) -> Lines {
        Lines { bytes, read: 0, back: VecDeque::new() }
    }

    /// The number of the last line read from the input.
    pub(super) fn number(&self) -> u64 {
        self.read
    }

    /// The next line; `buffer` is used for it, so that one allocation serves many lines.
    pub(super) fn next(&mut self, mut buffer: Vec<u8>) -> io::Result<Option<Line>> {
        if let Some(line) = self.back.pop_front() {
            return Ok(Some(line));
        }
        buffer.clear();
        let most = RECORD_BYTES_MAX as u64 + 1;
        if self.bytes.by_ref().take(most).read_until(b'\n', &mut buffer)? == 0 {
            return Ok(None);
        }
        self.read += 1;
        let cut = buffer.last() != Some(&b'\n') && buffer.len() as u64 == most;
        if cut {
            self.skip_rest()?;
        }
        if buffer.last() == Some(&b'\n') {
            buffer.pop();
            if buffer.last() == Some(&b'\r') {
                buffer.pop();
            }
        }
        Ok(Some(Line { number: self.read, bytes: buffer, cut }))
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let there = self.bytes.fill_buf()?;
            let Some(end) = there.iter().position(|b| *b == b'\n') else {
                let n = there.len();
                if n == 0 {
                    return Ok(());
                }
                self.bytes.consume(n);
                continue;
            };
            self.bytes.consume(end + 1);
            return Ok(());
        }
    }
}

/// The reader of CSV records over [`Lines`]. After [`Records::next`] the record lies in [`Records::raw`] and [`Records::field`].
pub(super) struct Records {
    lines: Lines,
    core: Reader,
    delimiter: u8,
    raw: Vec<u8>,
    output: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
}

/// What [`Records::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record that begins on this line.
    Record(u64),
    /// A line that is no record, and why.
    Broken(u64, String),
    End,
}

impl Records {
    /// Records of a whole file; the delimiter is told by the first line. `None` when there is no line.
    pub(super) fn open(bytes: Box<dyn BufRead + Send>) -> io::Result<Option<Records>> {
        let mut lines = Lines::new(bytes);
        loop {
            let Some(line) = lines.next(Vec::new())? else { return Ok(None) };
            if !line.bytes.trim_ascii().is_empty() {
                let delimiter = delimiter_of(&line.bytes);
                lines.back.push_front(line);
                return Ok(Some(Records::new(lines, delimiter)));
            }
        }
    }

    fn new(lines: Lines, delimiter: u8) -> Records {
        let core = ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build();
        let ends = vec![0; COLUMNS_MAX + 1];
        Records { lines, core, delimiter, raw: Vec::new(), output: Vec::new(), ends, fields: 0 }
    }

    /// The sign between cells.
    pub(super) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The record as it stands in the file, without the last line break.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// How many fields the record has.
    pub(super) fn len(&self) -> usize {
        self.fields
    }

    /// The number of the last line read.
    pub(super) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// The fields as text, in order; `None` when they are not UTF-8.
    pub(super) fn text(&self) -> Option<Fields<'_>> {
        let length = self.fields.checked_sub(1).map_or(0, |last| self.ends[last]);
        std::str::from_utf8(&self.output[..length]).ok().map(|text| Fields { text, ends: &self.ends[..self.fields] })
    }

    /// Read the next record; empty lines are passed over.
    pub(super) fn next(&mut self) -> io::Result<Found> {
        loop {
            let Some(first) = self.lines.next(std::mem::take(&mut self.raw))? else { return Ok(Found::End) };
            self.raw = first.bytes;
            self.fields = 0;
            if first.cut {
                return Ok(Found::Broken(first.number, too_long()));
            }
            if self.raw.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return self.record(first.number);
        }
    }

    /// The record that begins with `self.raw`; takes further lines while a quoted cell is open.
    fn record(&mut self, number: u64) -> io::Result<Found> {
        let first_length = self.raw.len();
        let mut taken: Vec<Line> = Vec::new();
        let (mut fed, mut written) = (0, 0);
        self.raw.push(b'\n');
        loop {
            if self.output.len() < self.raw.len() {
                self.output.resize(self.raw.len(), 0);
            }
            let (result, used, out, ended) =
                self.core.read_record(&self.raw[fed..], &mut self.output[written..], &mut self.ends[self.fields..]);
            fed += used;
            written += out;
            self.fields += ended;
            match result {
                ReadRecordResult::Record => {
                    self.raw.pop();
                    return Ok(Found::Record(number));
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputEndsFull => {
                    self.give_up(first_length, taken);
                    return Ok(Found::Broken(number, format!("has more than {COLUMNS_MAX} cells")));
                }
                ReadRecordResult::OutputFull | ReadRecordResult::End => {
                    unreachable!("the output holds as much as the input, and the input is not empty")
                }
            }
            let within = self.raw.len() < first_length + CELL_BYTES_MAX && self.raw.len() < RECORD_BYTES_MAX;
            let next = if within { self.lines.next(Vec::new())? } else { None };
            let Some(line) = next.filter(|l| !l.cut) else {
                self.give_up(first_length, taken);
                let reason = "a quotation mark opens a cell that is not closed";
                return Ok(Found::Broken(number, format!("{reason} within {} KiB", CELL_BYTES_MAX >> 10)));
            };
            self.raw.extend_from_slice(&line.bytes);
            self.raw.push(b'\n');
            taken.push(line);
        }
    }

    /// Leave the first line alone and give the others back.
    fn give_up(&mut self, first_length: usize, taken: Vec<Line>) {
        self.core.reset();
        self.raw.truncate(first_length);
        self.fields = 0;
        for line in taken.into_iter().rev() {
            self.lines.back.push_front(line);
        }
    }
}

/// Why a line cannot be read.
pub(super) fn too_long() -> String {
    format!("is longer than {} KiB", RECORD_BYTES_MAX >> 10)
}

/// The fields of one record.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    /// The field of this number; `None` past the last one, or when a boundary cuts a character.
    pub(super) fn get(&self, n: usize) -> Option<&'a str> {
        let start = if n == 0 { 0 } else { *self.ends.get(n - 1)? };
        self.text.get(start..*self.ends.get(n)?)
    }
}

/// The delimiter of a header line: the one that stands in it most often outside quotation marks; a comma when none does.
pub(super) fn delimiter_of(header: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for b in header {
        if *b == b'"' {
            quoted = !quoted;
        } else if !quoted && let Some((_, n)) = counts.iter_mut().find(|(d, _)| d == b) {
            *n += 1;
        }
    }
    let most = counts.iter().map(|(_, n)| *n).max().unwrap_or_default();
    counts.iter().find(|(_, n)| *n == most).map_or(b',', |(d, _)| *d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record's line and fields, or a line and why it is none.
    type Read = Result<(u64, Vec<String>), (u64, String)>;

    fn read(text: &[u8]) -> Vec<Read> {
        let mut records = Records::new(Lines::new(Box::new(io::Cursor::new(text.to_vec()))), b',');
        let mut out = Vec::new();
        loop {
            match records.next().unwrap() {
                Found::End => return out,
                Found::Broken(line, why) => out.push(Err((line, why))),
                Found::Record(line) => {
                    let fields = records.text().unwrap();
                    out.push(Ok((line, (0..records.len()).map(|i| fields.get(i).unwrap().to_owned()).collect())));
                }
            }
        }
    }

    #[test]
    fn records_may_span_lines_and_know_where_they_begin() {
        let out = read(b"a,b\r\n\r\n\"x \"\"y\"\"\r\nz\",2\nlast,\"");
        assert_eq!(out[0], Ok((1, vec!["a".into(), "b".into()])));
        assert_eq!(out[1], Ok((3, vec!["x \"y\"\nz".into(), "2".into()])));
        assert_eq!(out[2], Err((5, "a quotation mark opens a cell that is not closed within 64 KiB".into())));
    }

    #[test]
    fn an_open_quotation_mark_spoils_one_line() {
        let mut text = b"id,name\n1,\"open\n".to_vec();
        for i in 2..20_000 {
            text.extend_from_slice(format!("{i},fine\n").as_bytes());
        }
        let out = read(&text);
        assert_eq!(out.len(), 20_000 - 1 + 1);
        assert!(out[1].as_ref().is_err_and(|(line, _)| *line == 2));
        assert_eq!(out[2], Ok((3, vec!["2".into(), "fine".into()])));
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_is_read() {
        let mut text = vec![b'x'; 3 * RECORD_BYTES_MAX];
        text.extend_from_slice(b"\n1,2\n");
        let out = read(&text);
        assert!(out[0].is_err());
        assert_eq!(out[1], Ok((2, vec!["1".into(), "2".into()])));
        assert_eq!(read(&b",".repeat(COLUMNS_MAX + 5)).len(), 1);
    }

    #[test]
    fn delimiters_are_told_by_the_header() {
        assert_eq!(delimiter_of(b"a,b;c,d"), b',');
        assert_eq!(delimiter_of(b"a;b;\"c,d,e\""), b';');
        assert_eq!(delimiter_of(b"a\tb"), b'\t');
        assert_eq!(delimiter_of(b"alone"), b',');
    }

    proptest! {
        /// What the csv crate writes is read back as it was.
        #[test]
        fn fields_survive(rows in prop::collection::vec(prop::collection::vec("[a-z\",;\n 日本]{0,8}", 2..5), 1..8)) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let out: Vec<Vec<String>> = read(&text).into_iter().map(|r| r.unwrap().1).collect();
            prop_assert_eq!(out, rows);
        }

        /// Nothing makes the reader panic or stop before the end.
        #[test]
        fn any_bytes_are_read(text in prop::collection::vec(prop::sample::select(b"a,\"\n\r\xff\xe3".to_vec()), 0..200)) {
            let mut records = Records::new(Lines::new(Box::new(io::Cursor::new(text))), b',');
            while records.next().unwrap() != Found::End {
                let _ = records.text().map(|f| (0..records.len()).map(|i| f.get(i)).collect::<Vec<_>>());
            }
        }
    }
}
