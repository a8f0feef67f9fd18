//! `okaeri segment list | show NAME | explain NAME --customer ID`.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::{Exit, Failure, Invocation};
use crate::clock::{self, Millis};
use crate::db::{Db, Value};
use crate::money::{grouped, readable};
use crate::problem::{Problems, nearest};
use crate::segment::rule::Rule;
use crate::segment::{self, Library, Person, Prepared, SEGMENTS_MAX, Segment, Size};
use crate::settings::Project;

#[derive(Debug, clap::Args)]
pub struct SegmentArgs {
    #[command(subcommand)]
    verb: SegmentVerb,
}

#[derive(Debug, clap::Subcommand)]
enum SegmentVerb {
    /// All segments with their size and what their people are worth
    List,
    /// One segment: its rule in words, its dates, its size and its SQL
    Show {
        /// The segment's name
        name: String,
    },
    /// Why a customer is in a segment, or why not
    Explain {
        /// The segment's name
        name: String,
        /// The customer's id
        #[arg(long, value_name = "ID")]
        customer: String,
    },
}

pub async fn run(inv: &Invocation, args: SegmentArgs) -> Result<Exit, Failure> {
    let project = inv.project()?;
    let mut problems = Problems::new();
    let library = Library::load(&project, &mut problems);
    inv.settle(problems)?;
    let as_of = inv.clock(&project.settings.time_zone)?.as_of();
    let db = inv.open_db(&project).await?;
    let at = Asked { inv, project: &project, library: &library, db: &db, as_of };
    match args.verb {
        SegmentVerb::List => at.list().await,
        SegmentVerb::Show { name } => at.show(&name).await,
        SegmentVerb::Explain { name, customer } => at.explain(&name, &customer).await,
    }
}

/// What every one of the three is asked with.
struct Asked<'a> {
    inv: &'a Invocation,
    project: &'a Project,
    library: &'a Library,
    db: &'a Db,
    as_of: Millis,
}

impl Asked<'_> {
    async fn list(&self) -> Result<Exit, Failure> {
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

    async fn show(&self, name: &str) -> Result<Exit, Failure> {
        let segment = self.segment(name)?;
        let prepared = self.prepare(&[name]).await?;
        let size = prepared.sizes(self.db).await?.pop().unwrap_or_default();
        let everyone = everyone(self.db).await?;
        let sentence = segment::sentence(&segment.rule, &self.project.settings);
        let windows = self.windows(&segment.rule, &prepared);
        let (sql, values) = prepared.statements().next().expect("one segment was picked");
        let values: Vec<String> = values.iter().map(shown).collect();
        let json = || {
            json!({ "segment": segment.name, "title": segment.title, "rule": sentence, "as_of": self.instant(self.as_of),
                    "windows": windows, "people": size.people, "share": share(size.people, everyone.people),
                    "revenue": size.revenue, "sql": sql, "values": values })
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

    /// The windows of a rule and what it refers to, with their instants.
    fn windows(&self, rule: &Rule, prepared: &Prepared) -> Vec<String> {
        segment::windows(rule, self.library, prepared.moment())
    }

    async fn explain(&self, name: &str, customer_id: &str) -> Result<Exit, Failure> {
        let segment = self.segment(name)?;
        let prepared = self.prepare(&[name]).await?;
        let person = Person::load(self.db, customer_id).await?.ok_or_else(|| {
            Failure::Usage(format!("no customer `{customer_id}`\nids are those of the imported customers"))
        })?;
        if !person.has_profile() {
            return Err(Failure::Usage(format!("customer `{customer_id}` has no profile yet\nrun `okaeri profile`")));
        }
        let proof = segment::explain::explain(&prepared, name, &person, &self.project.settings)
            .expect("the segment was picked");
        self.inv.print(
            || json!({ "segment": name, "customer_id": customer_id, "as_of": self.instant(self.as_of), "member": proof.holds, "proof": proof }),
            || {
                let bold = anstyle::Style::new().bold();
                let verdict = if proof.holds { "is in" } else { "is not in" };
                format!(
                    "{bold}{customer_id} {verdict} {name}{bold:#} ({}), as of {}\n{}",
                    segment.title,
                    self.instant(self.as_of),
                    proof.to_text()
                )
            },
        );
        Ok(Exit::Done)
    }

    fn segment(&self, name: &str) -> Result<&Segment, Failure> {
        self.library.get(name).ok_or_else(|| {
            let near = nearest(name, self.library.names());
            let remedy = near.map_or("`okaeri segment list` shows all".to_owned(), |n| format!("did you mean `{n}`?"));
            Failure::Usage(format!("there is no segment `{name}`\n{remedy}"))
        })
    }

    async fn prepare(&self, names: &[&str]) -> Result<Prepared, Failure> {
        prepare(self.db, self.project, self.library, names, self.as_of).await
    }

    fn instant(&self, at: Millis) -> String {
        clock::rfc3339(at, &self.project.settings.time_zone)
    }
}

async fn prepare(
    db: &Db,
    project: &Project,
    library: &Library,
    names: &[&str],
    as_of: Millis,
) -> Result<Prepared, Failure> {
    let compiled = library.compile(names, as_of, &project.settings).map_err(|e| Failure::Usage(e.to_string()))?;
    Ok(compiled.prepare(db).await?)
}

/// Every segment with its size, by name.
pub async fn sizes<'l>(
    db: &Db,
    project: &Project,
    library: &'l Library,
    as_of: Millis,
) -> Result<Vec<(&'l Segment, Size)>, Failure> {
    let names: Vec<&str> = library.names().collect();
    let mut sizes = Vec::new();
    for part in names.chunks(SEGMENTS_MAX) {
        sizes.extend(prepare(db, project, library, part, as_of).await?.sizes(db).await?);
    }
    Ok(library.iter().zip(sizes).collect())
}

/// Everybody who has a profile.
pub async fn everyone(db: &Db) -> Result<Size, Failure> {
    let (people, revenue): (i64, i64) =
        db.fetch_one("SELECT COUNT(*), CAST(COALESCE(SUM(revenue), 0) AS BIGINT) FROM profile", vec![]).await?;
    Ok(Size { people, revenue })
}

fn share(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
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
