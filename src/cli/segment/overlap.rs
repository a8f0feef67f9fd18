//! `okaeri segment overlap`: which segments share people, and which are the same people under two names.

use std::fmt::Write as _;

use comfy_table::CellAlignment;
use serde_json::json;

use super::{Asked, several};
use crate::cli::{Exit, Failure, table};
use crate::money::grouped;
use crate::segment::compare::{self, Overlap, Overlaps, Relation};

/// Pairs in the table unless all are asked for.
const PAIRS_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub struct OverlapArgs {
    /// One segment: its pairs with every other. Several: the pairs among them. None: all pairs
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Show all pairs, not only the 20 that are most alike
    #[arg(long)]
    all: bool,
}

impl Asked<'_> {
    pub(super) async fn overlap(&self, args: OverlapArgs) -> Result<Exit, Failure> {
        for name in &args.names {
            self.segment(name)?;
        }
        let looked_at: Vec<String> = self
            .library
            .names()
            .filter(|n| args.names.len() < 2 || args.names.iter().any(|w| w == n))
            .map(str::to_owned)
            .collect();
        let settings = &self.project.settings;
        let several = several(self.db, settings, self.library, &looked_at, self.as_of).await?;
        let mut found = compare::overlaps(self.db, &several).await?;
        if let [only] = args.names.as_slice() {
            found.pairs.retain(|p| p.first == *only || p.second == *only);
        }
        self.inv.print(|| self.overlap_json(&found), || self.overlap_text(&found, args.all));
        Ok(Exit::Done)
    }

    fn overlap_json(&self, found: &Overlaps) -> serde_json::Value {
        let sizes: Vec<_> =
            found.sizes.iter().map(|(name, people)| json!({ "segment": name, "people": people })).collect();
        let pairs: Vec<_> = found
            .pairs
            .iter()
            .map(|p| {
                json!({ "first": p.first, "second": p.second, "first_people": p.first_people,
                        "second_people": p.second_people, "both": p.both, "share_of_smaller": p.share_of_smaller(),
                        "jaccard": p.jaccard(), "relation": word(p.relation()) })
            })
            .collect();
        json!({ "as_of": self.instant(self.as_of), "segments": sizes, "pairs": pairs })
    }

    fn overlap_text(&self, found: &Overlaps, all: bool) -> String {
        let mut out = String::new();
        if found.pairs.is_empty() {
            out.push_str("no two segments share people\n");
        } else {
            let shown = if all { found.pairs.len() } else { PAIRS_SHOWN.min(found.pairs.len()) };
            let mut table =
                table(["segment", "people", "segment", "people", "in both", "of the smaller", "jaccard", ""]);
            for pair in &found.pairs[..shown] {
                table.add_row([
                    pair.first.clone(),
                    grouped(pair.first_people),
                    pair.second.clone(),
                    grouped(pair.second_people),
                    grouped(pair.both),
                    format!("{:.1} %", 100.0 * pair.share_of_smaller()),
                    format!("{:.3}", pair.jaccard()),
                    told(pair),
                ]);
            }
            for column in [1, 3, 4, 5, 6] {
                if let Some(column) = table.column_mut(column) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            let _ = writeln!(out, "{}", table.trim_fmt());
            if shown < found.pairs.len() {
                let _ =
                    writeln!(out, "and {} more: --all shows every pair", grouped((found.pairs.len() - shown) as i64));
            }
        }
        let empty: Vec<&str> = found.sizes.iter().filter(|(_, n)| *n == 0).map(|(name, _)| name.as_str()).collect();
        if !empty.is_empty() {
            let _ = writeln!(out, "nobody is in: {}", empty.join(", "));
        }
        out
    }
}

fn word(relation: Relation) -> &'static str {
    match relation {
        Relation::Equal => "equal",
        Relation::FirstInSecond => "first_in_second",
        Relation::SecondInFirst => "second_in_first",
        Relation::Partly => "partly",
    }
}

/// The relation in words; nothing for the usual one.
fn told(pair: &Overlap) -> String {
    match pair.relation() {
        Relation::Equal => "the same people".to_owned(),
        Relation::FirstInSecond => format!("all of {} are in {}", pair.first, pair.second),
        Relation::SecondInFirst => format!("all of {} are in {}", pair.second, pair.first),
        Relation::Partly => String::new(),
    }
}
