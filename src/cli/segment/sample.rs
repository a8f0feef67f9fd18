//! `okaeri segment sample NAME`: a few members, drawn by lot, to see whom a rule really means. Addresses are masked.

use std::collections::{BTreeMap, HashMap};

use comfy_table::CellAlignment;
use serde::Serialize;
use serde_json::json;

use super::Asked;
use crate::address::masked;
use crate::cli::{Exit, Failure, table};
use crate::clock;
use crate::data::load as data;
use crate::db::bucket_of;
use crate::money::{grouped, readable};
use crate::profile::{self, Facts};
use crate::segment::compare::ranges;
use crate::segment::draw::Draw;

/// The most members a sample shows.
const SIZE_MAX: i64 = 1_000;

#[derive(Debug, clap::Args)]
pub struct SampleArgs {
    /// The segment's name
    name: String,
    /// How many members, at most 1000
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i64).range(1..=SIZE_MAX))]
    size: i64,
    /// Draw others: each text gives its own sample, the same on every machine
    #[arg(long, value_name = "TEXT", default_value = "")]
    salt: String,
}

/// A member as shown.
#[derive(Debug, Serialize)]
struct Shown {
    customer_id: String,
    /// Masked; absent when there is none.
    address: Option<String>,
    locale: Option<String>,
    orders: i64,
    revenue: i64,
    /// The local date.
    last_order: Option<String>,
    lifecycle: &'static str,
}

impl Asked<'_> {
    pub(super) async fn sample(&self, args: SampleArgs) -> Result<Exit, Failure> {
        self.segment(&args.name)?;
        let prepared = self.prepare(&[&args.name]).await?;
        let mut draw = Draw::new(&args.salt, args.size as usize);
        let mut people = 0;
        for (first, last) in ranges() {
            for member in prepared.evaluate(self.db, first, last).await? {
                people += 1;
                draw.add(&member.customer_id);
            }
        }
        let sample = self.shown(draw.into_ids(), prepared.moment()).await?;
        let currency = &self.project.settings.currency;
        self.inv.print(
            || {
                json!({ "segment": args.name, "as_of": self.instant(self.as_of), "people": people, "salt": args.salt,
                        "currency": currency, "sample": sample })
            },
            || text(&sample, people, currency),
        );
        Ok(Exit::Done)
    }

    /// These customers, in the order given.
    async fn shown(&self, ids: Vec<String>, moment: &profile::Moment) -> Result<Vec<Shown>, Failure> {
        let mut buckets: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for id in &ids {
            buckets.entry(bucket_of(id)).or_default().push(id.clone());
        }
        let mut found: HashMap<String, Shown> = HashMap::new();
        for (bucket, ids) in buckets {
            let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
            let mut facts: HashMap<String, Facts> =
                profile::load(self.db, bucket, &ids).await?.into_iter().map(|f| (f.customer_id.clone(), f)).collect();
            for customer in data::customers(self.db, bucket, &asked).await? {
                let facts = facts.remove(&customer.customer_id).unwrap_or_default();
                let shown = Shown {
                    address: customer.email.as_deref().map(masked),
                    locale: customer.locale,
                    orders: facts.orders,
                    revenue: facts.revenue,
                    last_order: facts.last_order_at.map(|at| clock::date_in(at, &moment.zone).to_string()),
                    lifecycle: facts.stage(moment).name(),
                    customer_id: customer.customer_id,
                };
                found.insert(shown.customer_id.clone(), shown);
            }
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }
}

fn text(sample: &[Shown], people: i64, currency: &str) -> String {
    if sample.is_empty() {
        return "nobody is in this segment\n".to_owned();
    }
    let mut table = table(["customer", "address", "locale", "orders", "revenue", "last order", "lifecycle"]);
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
    for shown in sample {
        table.add_row([
            shown.customer_id.clone(),
            or_dash(&shown.address),
            or_dash(&shown.locale),
            grouped(shown.orders),
            readable(shown.revenue, currency),
            or_dash(&shown.last_order),
            shown.lifecycle.to_owned(),
        ]);
    }
    for column in [3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{}\n{} of {} members\n", table.trim_fmt(), grouped(sample.len() as i64), grouped(people))
}
