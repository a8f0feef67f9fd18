//! Writing CSV that a spreadsheet opens and does not run (OWASP, CSV Injection). UTF-8, commas, RFC 4180 quoting.

use std::io::{self, Write};

/// What a spreadsheet takes as the beginning of a formula, in half and in full width, and what it skips before one.
const FORMULA_BEGINS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// A text of the data as a cell: an apostrophe before whatever a spreadsheet would run. Never for numbers that we write ourselves.
pub fn cell(text: &str) -> String {
    if text.starts_with(FORMULA_BEGINS) { format!("'{text}") } else { text.to_owned() }
}

/// Rows of cells on their way out.
pub struct Sheet<W: Write> {
    writer: csv::Writer<W>,
}

impl<W: Write> Sheet<W> {
    pub fn new(out: W) -> Sheet<W> {
        Sheet { writer: csv::Writer::from_writer(out) }
    }

    /// Write a row; every row has the same number of cells.
    pub fn row<I, T>(&mut self, cells: I) -> io::Result<()>
    where
        I: IntoIterator<Item = T>,
        T: AsRef<[u8]>,
    {
        self.writer.write_record(cells).map_err(io_error)
    }

    /// Write out what is still held back.
    pub fn end(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn io_error(e: csv::Error) -> io::Error {
    match e.into_kind() {
        csv::ErrorKind::Io(e) => e,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_made_harmless_and_quoted() {
        let texts = [
            "=cmd|' /C calc'!A0",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "＝1",
            "a=b",
            "",
            "'=1",
            "a\"b,c\r\nd",
        ];
        let mut bytes = Vec::new();
        let mut sheet = Sheet::new(&mut bytes);
        sheet.row(texts.map(cell)).unwrap();
        sheet.end().unwrap();
        let read =
            csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]).records().next().unwrap().unwrap();
        for (text, read) in texts.iter().zip(&read) {
            assert!(!read.starts_with(FORMULA_BEGINS), "{read:?}");
            assert_eq!(read.strip_prefix('\'').filter(|_| !text.starts_with('\'')).unwrap_or(read), *text);
        }
        assert!(String::from_utf8(bytes).unwrap().ends_with("\"a\"\"b,c\r\nd\"\n"));
    }

    #[test]
    fn a_row_of_another_length_is_an_error() {
        let mut sheet = Sheet::new(Vec::new());
        sheet.row(["a", "b"]).unwrap();
        assert!(sheet.row(["a"]).is_err());
    }
}
