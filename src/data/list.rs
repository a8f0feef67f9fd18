//! A CSV file of a few named columns, record by record: for lists that are no data of the shop's, such as codes. Opened, bounded and recovered
//! like every import (`input`, `records`).

use super::input::{self, Format, From};
use super::records::{Found, Records};

/// An opened list.
pub struct List {
    records: Option<Records>,
    /// Where each asked column stands.
    places: Vec<Option<usize>>,
    width: usize,
    /// Columns of the file that nobody asked for.
    pub ignored: Vec<String>,
}

/// One record: the cells of the asked columns, empty ones as `None`; or why it cannot be read.
pub type Line = (u64, Result<Vec<Option<String>>, String>);

impl List {
    /// Open a list; the first of `columns` must be there. The error says what is wrong, and on a second line the remedy.
    pub fn open(from: From, columns: &[&str]) -> Result<List, String> {
        let input = input::open(from).map_err(|e| e.to_string())?;
        if input.format == Format::Jsonl {
            return Err(format!("JSON, not a list\nwrite CSV with the column `{}`", columns[0]));
        }
        let read = |e: std::io::Error| format!("cannot be read: {e}");
        let Some(mut records) = Records::open(input.bytes).map_err(read)? else {
            return Ok(List { records: None, places: Vec::new(), width: 0, ignored: Vec::new() });
        };
        let (Found::Record(_), Some(fields)) = (records.next().map_err(read)?, records.text()) else {
            return Err("the header line cannot be read\nsave the file as UTF-8".to_owned());
        };
        let width = records.len();
        let header: Vec<String> = (0..width).map(|n| fields.get(n).unwrap_or_default().trim().to_lowercase()).collect();
        let places: Vec<Option<usize>> = columns.iter().map(|c| header.iter().position(|h| h == c)).collect();
        if places[0].is_none() {
            return Err(format!(
                "no column `{}` in the header\nthe first line names the columns: {}",
                columns[0],
                columns.join(",")
            ));
        }
        let ignored = header.into_iter().filter(|h| !columns.contains(&h.as_str())).collect();
        Ok(List { records: Some(records), places, width, ignored })
    }

    /// The next record; the error ends the list.
    pub fn next_line(&mut self) -> Result<Option<Line>, String> {
        let Some(records) = &mut self.records else { return Ok(None) };
        let found = records.next().map_err(|e| format!("line {}: reading stops here: {e}", records.line()))?;
        let line = match found {
            Found::End => return Ok(None),
            Found::Broken(line, reason) => return Ok(Some((line, Err(reason)))),
            Found::Record(line) => line,
        };
        if records.len() != self.width {
            let reason = format!("has {} cells, the header has {}", records.len(), self.width);
            return Ok(Some((line, Err(reason))));
        }
        let cells = records.text().map(|fields| {
            let cell = |place: &Option<usize>| {
                let text = place.and_then(|n| fields.get(n)).unwrap_or_default().trim();
                (!text.is_empty()).then(|| text.to_owned())
            };
            self.places.iter().map(cell).collect()
        });
        Ok(Some((line, cells.ok_or_else(|| "is not UTF-8 text".to_owned()))))
    }
}
