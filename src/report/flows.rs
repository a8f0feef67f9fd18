//! Lifecycle flows: at which stage of their life with the shop customers were on one day, and at which on a later one. Reads only.
//!
//! Both stages are computed from the orders up to that day, with the lifecycle of the settings, so the past is told as it was then and
//! not as it looks now. What a group is worth: what it brought in the year before the first day, net of returns, and what models predict
//! of it now. Minor units.

use std::collections::{BTreeMap, HashMap};

use comfy_table::CellAlignment;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::args;
use crate::clock::Millis;
use crate::counts::Counts;
use crate::db::{Db, DbResult, bucket_ranges};
use crate::money::readable;
use crate::profile::day::{date, day_number, start_of};
use crate::profile::history::{Bought, bought};
use crate::profile::{Deriver, OrderFact, Stage, Status, lifecycle_of};
use crate::settings::Lifecycle;

/// Buckets whose orders are read in one statement.
const BUCKETS_PER_STATEMENT: i64 = 16;
/// The time before the first day whose orders are a customer's value.
const VALUE_DAYS: i64 = 365;

/// Who moved where.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flows {
    pub from: String,
    pub to: String,
    pub currency: String,
    /// Everybody who has ordered by `to`.
    pub customers: u64,
    /// Each pair of stages that somebody made, in the order of the stages.
    pub flows: Vec<Flow>,
    /// Those who made the flow that was asked about, the most valuable first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub movers: Vec<Mover>,
    /// Whether a flow was asked about.
    #[serde(skip)]
    pub are_named: bool,
}

/// Customers who were at one stage and are at another, or the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flow {
    pub from: Stage,
    pub to: Stage,
    pub customers: u64,
    /// What they brought in the year before the first day.
    pub revenue: i64,
    /// What models predict of them now; `None` without scores.
    pub ltv: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mover {
    pub customer_id: String,
    pub revenue: i64,
    pub ltv: Option<i64>,
}

/// Two days, the first before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    pub from: i64,
    pub to: i64,
}

/// A flow whose customers are named, and how many of them at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    pub from: Stage,
    pub to: Stage,
    pub most: usize,
}

/// The flows between two days. Orders of both days count.
pub async fn flows(
    db: &Db,
    zone: &TimeZone,
    currency: &str,
    life: &Lifecycle,
    between: Between,
    named: Option<Named>,
) -> DbResult<Flows> {
    let mut counted: BTreeMap<(i64, i64), Flow> = BTreeMap::new();
    let (mut movers, mut customers) = (Vec::new(), 0);
    let ends = Ends::of(between, zone);
    let mut deriver = Deriver::new(zone);
    for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
        let ltv = predicted(db, first, last).await?;
        for customer in bought(db, first, last).await? {
            let Some((from, to, revenue)) = moved(&customer, between, &ends, &mut deriver, life) else { continue };
            let ltv = ltv.get(&customer.customer_id).copied();
            let start = Flow { from, to, customers: 0, revenue: 0, ltv: None };
            let flow = counted.entry((from.number(), to.number())).or_insert(start);
            customers += 1;
            flow.customers += 1;
            flow.revenue += revenue;
            flow.ltv = ltv.map_or(flow.ltv, |value| Some(flow.ltv.unwrap_or(0) + value));
            if named.is_some_and(|n| (n.from, n.to) == (from, to)) {
                movers.push(Mover { customer_id: customer.customer_id, revenue, ltv });
            }
        }
        if let Some(named) = named {
            movers.sort_by(|a, b| b.revenue.cmp(&a.revenue).then_with(|| a.customer_id.cmp(&b.customer_id)));
            movers.truncate(named.most);
        }
    }
    Ok(Flows {
        from: date(between.from).to_string(),
        to: date(between.to).to_string(),
        currency: currency.to_owned(),
        customers,
        flows: counted.into_values().collect(),
        movers,
        are_named: named.is_some(),
    })
}

/// The lifetime values of the customers of these buckets.
async fn predicted(db: &Db, first: i64, last: i64) -> DbResult<HashMap<String, i64>> {
    let sql = "SELECT customer_id, ltv_12m FROM score WHERE bucket >= $1 AND bucket <= $2 AND ltv_12m IS NOT NULL";
    Ok(db.fetch_all::<(String, i64)>(sql, args![first, last]).await?.into_iter().collect())
}

/// The instants at which the two days end, and at which the year before the first began.
struct Ends {
    from: Millis,
    to: Millis,
    value_from: Millis,
}

impl Ends {
    fn of(between: Between, zone: &TimeZone) -> Ends {
        let end = |day: i64| start_of(day + 1, zone);
        Ends { from: end(between.from), to: end(between.to), value_from: end(between.from - VALUE_DAYS) }
    }
}

/// Where a customer was and is, and what they brought in between `value_from` and `from`; `None` for those who have not ordered by then.
fn moved(
    customer: &Bought,
    between: Between,
    ends: &Ends,
    deriver: &mut Deriver,
    life: &Lifecycle,
) -> Option<(Stage, Stage, i64)> {
    let mut stage = |until: Millis, today: i64| {
        let status = |is_counted: bool| if is_counted { Status::Placed } else { Status::Returned };
        let orders: Vec<OrderFact> = customer
            .orders
            .iter()
            .take_while(|o| o.at < until)
            .map(|o| OrderFact { at: o.at, total: o.total, status: status(o.is_counted) })
            .collect();
        lifecycle_of(&deriver.orders(&orders), today, life)
    };
    let (from, to) = (stage(ends.from, between.from), stage(ends.to, between.to));
    let revenue = customer.sums(ends.from).1 - customer.sums(ends.value_from).1;
    (to != Stage::Lead).then_some((from, to, revenue))
}

impl Flows {
    /// Two tables: who went where, and the flows that cost or bring most.
    pub fn text(&self, counts: Counts) -> String {
        if self.flows.is_empty() {
            return format!("nobody had ordered by {}\n", self.to);
        }
        let count = |from: Stage, to: Stage| {
            self.flows
                .iter()
                .find(|f| (f.from, f.to) == (from, to))
                .map_or("·".to_owned(), |f| counts.of(f.customers as i64))
        };
        let some = |stages: fn(&Flow) -> Stage| {
            Stage::ALL.into_iter().filter(move |s| self.flows.iter().any(|f| stages(f) == *s)).collect::<Vec<_>>()
        };
        let (rows, columns) = (some(|f| f.from), some(|f| f.to));
        let mut matrix = comfy_table::Table::new();
        let head = std::iter::once(format!("{} ↓  {} →", self.from, self.to));
        matrix
            .load_preset(comfy_table::presets::NOTHING)
            .set_header(head.chain(columns.iter().map(|s| s.name().to_owned())));
        for from in &rows {
            let cells = columns.iter().map(|to| count(*from, *to));
            matrix.add_row(std::iter::once(label(*from).to_owned()).chain(cells));
        }
        let mut moves = comfy_table::Table::new();
        moves.load_preset(comfy_table::presets::NOTHING).set_header([
            "moved".to_owned(),
            "customers".to_owned(),
            format!("brought in the year to {}", self.from),
            "predicted now".to_owned(),
        ]);
        let mut moved: Vec<&Flow> = self.flows.iter().filter(|f| f.from != f.to).collect();
        moved.sort_by_key(|f| std::cmp::Reverse((f.revenue, f.customers)));
        let money = |minor: i64| readable(minor, &self.currency);
        for flow in &moved {
            moves.add_row([
                format!("{} → {}", label(flow.from), flow.to.name()),
                counts.of(flow.customers as i64),
                counts.shows(flow.customers as i64, || money(flow.revenue)),
                counts.shows(flow.customers as i64, || flow.ltv.map_or("·".to_owned(), money)),
            ]);
        }
        right(&mut matrix);
        right(&mut moves);
        let days = format!("{} customers, {} to {}", counts.of(self.customers as i64), self.from, self.to);
        let mut out = format!("{days}\n\n{}\n", matrix.trim_fmt());
        if !moved.is_empty() {
            out.push_str(&format!("\n{}\n", moves.trim_fmt()));
        }
        for mover in &self.movers {
            let ltv = mover.ltv.map_or(String::new(), |ltv| format!(", {} predicted", money(ltv)));
            out.push_str(&format!("\n  {}  {}{ltv}", mover.customer_id, money(mover.revenue)));
        }
        if !self.movers.is_empty() {
            out.push('\n');
        } else if self.are_named {
            out.push_str("\nnobody went the way that was asked about\n");
        }
        out
    }
}

fn label(stage: Stage) -> &'static str {
    if stage == Stage::Lead { "no order yet" } else { stage.name() }
}

fn right(table: &mut comfy_table::Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

impl Between {
    /// `None` unless the first lies before the second, and that not after today.
    pub fn of(from: Millis, to: Millis, today: i64, zone: &TimeZone) -> Option<Between> {
        let day = |at: Millis| day_number(at, zone);
        let (from, to) = (day(from), day(to));
        (from < to && to <= today).then_some(Between { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::DAY;
    use crate::profile::history::Entry;

    #[test]
    fn stages_are_those_of_then() {
        let life = Lifecycle::default();
        let at = |day: i64| day * DAY + DAY / 2;
        let customer = |days: &[i64]| Bought {
            customer_id: "mia".into(),
            orders: days.iter().map(|d| Entry { at: at(*d), total: 1_000, is_counted: true }).collect(),
        };
        let between = Between { from: 20_100, to: 20_200 };
        let ends = Ends::of(between, &TimeZone::UTC);
        let moved = |days: &[i64]| moved(&customer(days), between, &ends, &mut Deriver::new(&TimeZone::UTC), &life);
        let monthly: Vec<i64> = (0..8).map(|n| 19_900 + 30 * n).collect();
        // The last order is on day 20,110, 90 days before the second day: three gaps of their own, which is much for somebody so regular.
        assert_eq!(moved(&monthly), Some((Stage::Active, Stage::Lapsed, 7_000)));
        assert_eq!(moved(&[20_100]), Some((Stage::New, Stage::Drifting, 1_000)), "orders of the first day count");
        assert_eq!(moved(&[20_101]), Some((Stage::Lead, Stage::Drifting, 0)));
        assert_eq!(moved(&[20_200]), Some((Stage::Lead, Stage::New, 0)));
        assert_eq!(moved(&[20_201]), None, "nobody yet");
        assert_eq!(
            moved(&[19_000, 20_150]),
            Some((Stage::Lost, Stage::Active, 0)),
            "what they brought long ago is no value of the year"
        );
    }

    #[test]
    fn days_must_be_in_order_and_not_to_come() {
        let of = |from: i64, to: i64| Between::of(from * DAY, to * DAY, 50, &TimeZone::UTC);
        assert_eq!(of(10, 20), Some(Between { from: 10, to: 20 }));
        assert_eq!([of(20, 20), of(21, 20), of(10, 51)], [None; 3]);
    }
}
