//! `okaeri segment list`: every segment with its size and what its people are worth.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::{Asked, share, sizes};
use crate::cli::{Exit, Failure};
use crate::money::{grouped, readable};
use crate::profile::day;
use crate::segment::{Segment, Size, kept};

/// A segment now, and how large it was on the last day before today that somebody looked.
struct Row<'l> {
    segment: &'l Segment,
    size: Size,
    before: Option<(i64, Size)>,
}

impl Row<'_> {
    /// People more or fewer than on the day before.
    fn trend(&self) -> Option<i64> {
        self.before.map(|(_, before)| self.size.people - before.people)
    }
}

impl Asked<'_> {
    pub(super) async fn list(&self) -> Result<Exit, Failure> {
        let (sizes, everyone) = sizes(self.db, self.project, self.library, self.clock).await?;
        let today = day::day_number(self.as_of, &self.project.settings.time_zone);
        let mut before = kept::sizes_before(self.db, today).await?;
        let rows: Vec<Row> = sizes
            .into_iter()
            .map(|(segment, size)| Row { segment, size, before: before.remove(&segment.name) })
            .collect();
        self.inv.print(|| self.list_json(&rows, everyone), || self.list_text(&rows, everyone));
        Ok(Exit::Done)
    }

    fn list_json(&self, rows: &[Row], everyone: Size) -> serde_json::Value {
        let segments: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({ "segment": row.segment.name, "title": row.segment.title, "people": row.size.people,
                        "share": share(row.size.people, everyone.people), "revenue": row.size.revenue,
                        "before": row.before.map(|(day, before)| json!({
                            "day": day::date(day).to_string(), "people": before.people, "revenue": before.revenue })) })
            })
            .collect();
        json!({ "as_of": self.instant(self.as_of), "people": everyone.people, "revenue": everyone.revenue,
                "currency": self.project.settings.currency, "segments": segments })
    }

    fn list_text(&self, rows: &[Row], everyone: Size) -> String {
        if rows.is_empty() {
            return format!("no segments yet: they are files in {}/\n", "campaigns/segments");
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let has_trend = rows.iter().any(|r| r.before.is_some());
        let trend = |cell: String| has_trend.then_some(cell);
        let heading = ["segment", "title", "people", "share", "revenue"].map(str::to_owned);
        table.set_header(heading.into_iter().chain(trend("trend".to_owned())));
        let currency = &self.project.settings.currency;
        let line = |name: &str, title: &str, size: Size, moved: String| {
            let share = format!("{:.1} %", 100.0 * share(size.people, everyone.people));
            let cells =
                [name.to_owned(), title.to_owned(), grouped(size.people), share, readable(size.revenue, currency)];
            cells.into_iter().chain(trend(moved))
        };
        for row in rows {
            let moved = row.trend().map_or("new".to_owned(), signed);
            table.add_row(line(&row.segment.name, &row.segment.title, row.size, moved));
        }
        table.add_row(line("", "everyone", everyone, String::new()));
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut out = format!("{}\n", table.trim_fmt());
        let days = rows.iter().filter_map(|r| r.before.map(|b| b.0));
        if let Some(day) = days.max() {
            let dim = anstyle::Style::new().dimmed();
            out.push_str(&format!("{dim}trend: people more or fewer than on {}{dim:#}\n", day::date(day)));
        }
        out
    }
}

/// `+12`, `-3`, `±0`.
fn signed(change: i64) -> String {
    match change {
        0 => "±0".to_owned(),
        n if n > 0 => format!("+{}", grouped(n)),
        n => grouped(n),
    }
}
