//! `okaeri segment list`: every segment with its size and what its people are worth.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::{Asked, everyone, share, sizes};
use crate::cli::{Exit, Failure};
use crate::money::{grouped, readable};
use crate::segment::{Segment, Size};

impl Asked<'_> {
    pub(super) async fn list(&self) -> Result<Exit, Failure> {
        let rows = sizes(self.db, self.project, self.library, self.as_of).await?;
        let everyone = everyone(self.db).await?;
        self.inv.print(|| self.list_json(&rows, everyone), || self.list_text(&rows, everyone));
        Ok(Exit::Done)
    }

    fn list_json(&self, rows: &[(&Segment, Size)], everyone: Size) -> serde_json::Value {
        let segments: Vec<_> = rows
            .iter()
            .map(|(s, size)| {
                json!({ "segment": s.name, "title": s.title, "people": size.people,
                        "share": share(size.people, everyone.people), "revenue": size.revenue })
            })
            .collect();
        json!({ "as_of": self.instant(self.as_of), "people": everyone.people, "revenue": everyone.revenue,
                "currency": self.project.settings.currency, "segments": segments })
    }

    fn list_text(&self, rows: &[(&Segment, Size)], everyone: Size) -> String {
        if rows.is_empty() {
            return format!("no segments yet: they are files in {}/\n", "campaigns/segments");
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["segment", "title", "people", "share", "revenue"]);
        let currency = &self.project.settings.currency;
        let line = |name: &str, title: &str, size: Size| {
            let share = format!("{:.1} %", 100.0 * share(size.people, everyone.people));
            [name.to_owned(), title.to_owned(), grouped(size.people), share, readable(size.revenue, currency)]
        };
        for (segment, size) in rows {
            table.add_row(line(&segment.name, &segment.title, *size));
        }
        table.add_row(line("", "everyone", everyone));
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{}\n", table.trim_fmt())
    }
}
