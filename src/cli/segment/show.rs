//! `okaeri segment show NAME`: the rule in words, its dates, its size and its SQL.

use serde_json::json;

use super::{Asked, share};
use crate::cli::{Exit, Failure};
use crate::db::Value;
use crate::money::{grouped, readable};
use crate::profile::day;
use crate::segment::{self, Size, kept};

/// Days of its past that are shown.
const HISTORY_DAYS_MAX: i64 = 14;

impl Asked<'_> {
    pub(super) async fn show(&self, name: &str) -> Result<Exit, Failure> {
        let segment = self.segment(name)?;
        let prepared = self.prepare(&[name]).await?;
        let size = prepared.sizes(self.db).await?.pop().unwrap_or_default();
        let everyone = Size::of_everyone(self.db).await?;
        let history = kept::history(self.db, name, HISTORY_DAYS_MAX).await?;
        let sentence = segment.sentence(&self.project.settings);
        let windows = segment::windows(&segment.rule, self.library, prepared.moment());
        let (sql, values) = prepared.statements().next().expect("one segment has one statement");
        let values: Vec<String> = values.iter().map(shown).collect();
        let json = || {
            json!({ "segment": segment.name, "title": segment.title, "rule": sentence, "as_of": self.instant(self.as_of),
                    "windows": windows, "people": size.people, "share": share(size.people, everyone.people),
                    "revenue": size.revenue, "sql": sql, "values": values,
                    "history": history.iter().map(|(day, people, everyone)| json!({
                        "day": day::date(*day).to_string(), "people": people, "share": share(*people, *everyone) })).collect::<Vec<_>>() })
        };
        let text = || {
            let bold = anstyle::Style::new().bold();
            let dim = anstyle::Style::new().dimmed();
            let mut out = format!("{bold}{}{bold:#}  {}\n\n{sentence}\n\n", segment.name, segment.title);
            out.push_str(&format!(
                "{} people, {:.1} % of {}; revenue {}\n",
                grouped(size.people),
                100.0 * share(size.people, everyone.people),
                grouped(everyone.people),
                readable(size.revenue, &self.project.settings.currency)
            ));
            out.push_str(&format!("as of {}\n", self.instant(self.as_of)));
            for window in &windows {
                out.push_str(&format!("  {window}\n"));
            }
            for (n, (day, people, everyone)) in history.iter().enumerate() {
                let heading = if n == 0 { "\nwhen it was looked at:\n" } else { "" };
                let share = 100.0 * share(*people, *everyone);
                out.push_str(&format!("{heading}  {}  {:>9}  {share:>5.1} %\n", day::date(*day), grouped(*people)));
            }
            out.push_str(&format!("\n{dim}{sql}\n"));
            for (n, value) in values.iter().enumerate() {
                out.push_str(&format!("  ${} = {value}\n", n + 1));
            }
            out.push_str(&format!("{dim:#}"));
            out
        };
        self.inv.print(json, text);
        Ok(Exit::Done)
    }
}

/// A bound value for people; the reserved bucket range is filled in per statement.
fn shown(value: &Value) -> String {
    match value {
        Value::Int(None) => "bucket range".to_owned(),
        Value::Int(Some(i)) => i.to_string(),
        Value::Real(Some(r)) => r.to_string(),
        Value::Text(Some(t)) => format!("'{t}'"),
        Value::Bool(Some(b)) => b.to_string(),
        _ => "null".to_owned(),
    }
}
