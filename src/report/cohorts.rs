//! Cohorts: customers by when their first order was, and what became of them: who still orders, and what they have brought, at ages of 30
//! days each. Reads only.
//!
//! An age is told only when every customer of the cohort has lived through all of it, as far as the data goes (to the newest order of
//! anybody): otherwise the youngest would seem to have left. Revenue is net of returns, minor units.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::CellAlignment;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::clock::Millis;
use crate::counts::Counts;
use crate::db::{Db, DbResult, bucket_ranges};
use crate::money::plain;
use crate::profile::day::{LocalDays, date};
use crate::profile::history::{Bought, bought};

/// Days of an age.
pub const AGE_DAYS: i64 = 30;
/// Ages at most: five years.
pub const AGES_MAX: usize = 61;
/// Buckets whose orders are read in one statement.
const BUCKETS_PER_STATEMENT: i64 = 16;

/// How cohorts are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Month,
    Quarter,
    Year,
}

impl By {
    /// `2026-11`, `2026-Q4`, `2026`.
    fn name(self, day: i64) -> String {
        let date = date(day);
        match self {
            By::Month => format!("{:04}-{:02}", date.year(), date.month()),
            By::Quarter => format!("{:04}-Q{}", date.year(), (date.month() + 2) / 3),
            By::Year => format!("{:04}", date.year()),
        }
    }
}

/// All cohorts, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cohorts {
    pub by: By,
    pub age_days: i64,
    pub currency: String,
    /// The newest day with an order of anybody; `None` without an order.
    pub observed_to: Option<String>,
    pub cohorts: Vec<Cohort>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cohort {
    pub cohort: String,
    pub customers: u64,
    /// Those that all of them have lived through, youngest first.
    pub ages: Vec<Age>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Age {
    /// Days since the first order, the last one not included.
    pub from_day: i64,
    pub to_day: i64,
    /// How many ordered in these days, and what share of the cohort. In the first age the first order counts.
    pub active: u64,
    pub retention: f64,
    /// What the cohort has brought until the end of this age, per customer.
    pub revenue_per_customer: i64,
}

/// What is counted of a cohort.
#[derive(Debug, Clone, Default)]
struct Counted {
    customers: u64,
    /// The first day of the one who came last.
    youngest: i64,
    active: Vec<u64>,
    revenue: Vec<i64>,
}

/// The cohorts of orders up to `as_of`, with `ages` ages at most.
pub async fn cohorts(
    db: &Db,
    zone: &TimeZone,
    currency: &str,
    as_of: Millis,
    by: By,
    ages: usize,
) -> DbResult<Cohorts> {
    let ages = ages.min(AGES_MAX);
    let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
    let mut end = None;
    let days = LocalDays::new(zone);
    for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
        for mut customer in bought(db, first, last).await? {
            customer.orders.retain(|order| order.at <= as_of);
            count(&customer, &days, by, ages, &mut counted, &mut end);
        }
    }
    let cohorts = counted.into_iter().map(|(name, counted)| counted.told(name, end.unwrap_or(0))).collect();
    let observed_to = end.map(|day| date(day).to_string());
    Ok(Cohorts { by, age_days: AGE_DAYS, currency: currency.to_owned(), observed_to, cohorts })
}

fn count(
    customer: &Bought,
    zone: &LocalDays,
    by: By,
    ages: usize,
    counted: &mut BTreeMap<String, Counted>,
    end: &mut Option<i64>,
) {
    let days = customer.days(zone);
    let (Some(first), Some(last)) = (days.first().copied(), days.last().copied()) else { return };
    *end = (*end).max(Some(last));
    let cohort = counted.entry(by.name(first)).or_default();
    cohort.customers += 1;
    cohort.youngest = cohort.youngest.max(first);
    cohort.active.resize(ages, 0);
    cohort.revenue.resize(ages, 0);
    // What came back before the first order that counts is of the first age.
    let age = |day: i64| usize::try_from((day - first).max(0) / AGE_DAYS).ok().filter(|age| *age < ages);
    let mut of_days: Vec<usize> = days.into_iter().filter_map(age).collect();
    of_days.dedup();
    for age in of_days {
        cohort.active[age] += 1;
    }
    for order in &customer.orders {
        if let Some(age) = age(zone.number(order.at)) {
            cohort.revenue[age] = cohort.revenue[age].saturating_add(order.total);
        }
    }
}

impl Counted {
    fn told(self, cohort: String, end: i64) -> Cohort {
        let people = i64::try_from(self.customers).unwrap_or(i64::MAX).max(1);
        let lived = usize::try_from((end + 1 - self.youngest).max(0) / AGE_DAYS).unwrap_or(0);
        let mut sum = 0_i64;
        let ages = (0..).zip(self.active.iter().zip(&self.revenue)).take(lived).map(|(age, (active, revenue))| {
            sum = sum.saturating_add(*revenue);
            Age {
                from_day: age * AGE_DAYS,
                to_day: (age + 1) * AGE_DAYS,
                active: *active,
                retention: *active as f64 / people as f64,
                revenue_per_customer: (sum as f64 / people as f64).round() as i64,
            }
        });
        Cohort { cohort, customers: self.customers, ages: ages.collect() }
    }
}

impl Cohorts {
    /// Two tables for the terminal: who still orders, and what they have brought.
    pub fn text(&self, counts: Counts) -> String {
        let Some(observed_to) = &self.observed_to else {
            return "no orders yet: start with `okaeri import orders`\n".to_owned();
        };
        let retention = self.table(
            counts,
            |age| counts.shows(age.active as i64, || format!("{:.0} %", 100.0 * age.retention)),
            |age| format!("{}–{}", age.from_day, age.to_day - 1),
        );
        if self.cohorts.iter().all(|cohort| cohort.ages.is_empty()) {
            return format!("{retention}\n\nno cohort has lived {AGE_DAYS} days yet; orders up to {observed_to}\n");
        }
        let revenue =
            self.table(counts, |age| plain(age.revenue_per_customer, &self.currency), |age| age.to_day.to_string());
        format!(
            "Customers by the {} of their first order; orders up to {observed_to}\n\n\
             Who ordered, by days since the first order\n{retention}\n\n\
             Revenue per customer until so many days after it, {}\n{revenue}\n\n\
             Only ages that every customer of the cohort has lived through.\n",
            match self.by {
                By::Month => "month",
                By::Quarter => "quarter",
                By::Year => "year",
            },
            self.currency
        )
    }

    fn table(&self, counts: Counts, cell: impl Fn(&Age) -> String, heading: impl Fn(&Age) -> String) -> String {
        let longest = self.cohorts.iter().max_by_key(|c| c.ages.len());
        let mut head = vec!["cohort".to_owned(), "customers".to_owned()];
        head.extend(longest.iter().flat_map(|c| &c.ages).map(heading));
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_header(head);
        for cohort in &self.cohorts {
            let mut row = vec![cohort.cohort.clone(), counts.of(cohort.customers as i64)];
            row.extend(cohort.ages.iter().map(|age| counts.shows(cohort.customers as i64, || cell(age))));
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }

    /// A row for each cohort and age.
    pub fn csv(&self) -> String {
        let mut out = "cohort,customers,from_day,to_day,active,retention,revenue_per_customer\n".to_owned();
        for cohort in &self.cohorts {
            for age in &cohort.ages {
                let Age { from_day, to_day, active, retention, revenue_per_customer } = age;
                let revenue = plain(*revenue_per_customer, &self.currency);
                let (name, customers) = (&cohort.cohort, cohort.customers);
                writeln!(out, "{name},{customers},{from_day},{to_day},{active},{retention:.4},{revenue}")
                    .expect("writing to a string never fails");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::DAY;
    use crate::profile::history::Entry;

    fn customer(orders: &[(i64, i64)]) -> Bought {
        let entry = |(day, total): &(i64, i64)| Entry { at: day * DAY, total: *total, is_counted: *total >= 0 };
        Bought { customer_id: "mia".into(), orders: orders.iter().map(entry).collect() }
    }

    fn told(customers: &[Bought], ages: usize) -> Vec<Cohort> {
        let (mut counted, mut end) = (BTreeMap::new(), None);
        for of in customers {
            count(of, &LocalDays::new(&TimeZone::UTC), By::Month, ages, &mut counted, &mut end);
        }
        counted.into_iter().map(|(name, c)| c.told(name, end.unwrap_or(0))).collect()
    }

    #[test]
    fn by_hand() {
        // 2026-01-01 is day 20,454.
        let first = 20_454;
        let cohorts = told(
            &[
                customer(&[(first, 1_000), (first + 29, 500), (first + 30, 200), (first + 61, -100)]),
                customer(&[(first + 5, 2_000), (first + 64, 700)]),
                customer(&[(first + 40, 900)]),
                customer(&[(first, -50)]),
            ],
            12,
        );
        let names: Vec<_> = cohorts.iter().map(|c| (c.cohort.as_str(), c.customers)).collect();
        assert_eq!(names, [("2026-01", 2), ("2026-02", 1)], "whoever only gave back has no first order");
        // The data ends on day first + 64: the second customer, who came 5 days later, has lived through 60 days, and ordered on the last.
        let ages: Vec<_> = cohorts[0].ages.iter().map(|a| (a.to_day, a.active, a.revenue_per_customer)).collect();
        assert_eq!(ages, [(30, 2, 1_750), (60, 2, 2_200)]);
        assert_eq!(cohorts[0].ages[1].retention, 1.0);
        assert!(cohorts[1].ages.is_empty(), "25 days are no age yet");
        assert!(told(&[], 12).is_empty());
        assert_eq!(told(&[customer(&[(first, 1), (first + 500, 1)])], 3)[0].ages.len(), 3);
    }

    #[test]
    fn names_sort_as_time_does() {
        assert_eq!([By::Month, By::Quarter, By::Year].map(|by| by.name(20_454 - 1)), ["2025-12", "2025-Q4", "2025"]);
        assert_eq!(By::Quarter.name(20_454 + 31 + 28 + 31), "2026-Q2");
    }
}
