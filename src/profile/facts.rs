//! What is stored of a customer ([`Facts`]), the instant it is looked at from ([`Moment`]), and what it looks like from there ([`View`],
//! [`derived_sql`]).

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::rfm::{self, frequency_score};
use super::{Cuts, Rfm, Stage, day, lifecycle, lifecycle_of};
use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Binds, Db, DbResult, padded};
use crate::settings::{Lifecycle, Settings};

/// Customers asked for in one statement.
const LOAD_CUSTOMERS_MAX: usize = 512;

/// A row of table `profile`, with the product viewed last. The default is a customer of whom nothing is known.
#[derive(Debug, Clone, Default, PartialEq, sqlx::FromRow)]
pub struct Facts {
    pub bucket: i64,
    pub customer_id: String,
    /// Counted orders: placed, with a total of 0 or more.
    pub orders: i64,
    /// Distinct local days with a counted order.
    pub purchase_days: i64,
    /// Net of returns, minor units; may be negative.
    pub revenue: i64,
    /// Gross per counted order, minor units.
    pub average_order: Option<i64>,
    pub first_order_at: Option<Millis>,
    pub last_order_at: Option<Millis>,
    /// The last order of the purchase day before the last.
    pub previous_order_at: Option<Millis>,
    pub first_order_day: Option<i64>,
    pub last_order_day: Option<i64>,
    /// Days between the last two purchase days.
    pub last_gap_days: Option<i64>,
    /// Median days between purchase days.
    pub usual_gap_days: Option<f64>,
    /// The same without the last gap, where two or more are left.
    pub earlier_gap_days: Option<f64>,
    /// How far gaps scatter around the usual one, in quarters of what is ordinary ([`super::rhythm`]); absent without a usual gap.
    pub gap_scatter: Option<i64>,
    /// The same without the last gap.
    pub earlier_gap_scatter: Option<i64>,
    pub top_category: Option<String>,
    /// JSON object: category → share of the amount in thousandths.
    pub affinity: Option<String>,
    pub last_viewed_at: Option<Millis>,
    pub last_viewed_sku: Option<String>,
    pub viewed_name: Option<String>,
    pub viewed_category: Option<String>,
    pub viewed_price: Option<i64>,
    pub viewed_url: Option<String>,
    pub open_tickets: i64,
    pub last_rating: Option<f64>,
    pub last_rating_at: Option<Millis>,
    pub last_event_at: Option<Millis>,
    pub last_return_at: Option<Millis>,
}

/// The profiles of customers of one bucket; those without one are left out. In no particular order.
pub async fn load(db: &Db, bucket: i64, customer_ids: &[String]) -> DbResult<Vec<Facts>> {
    let mut out = Vec::with_capacity(customer_ids.len());
    for part in customer_ids.chunks(LOAD_CUSTOMERS_MAX) {
        let part = padded(part);
        let places: Vec<String> = (2..part.len() + 2).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT p.bucket, p.customer_id, p.orders, p.purchase_days, p.revenue, p.average_order, p.first_order_at, p.last_order_at,
                    p.previous_order_at, p.first_order_day, p.last_order_day, p.last_gap_days, p.usual_gap_days, p.earlier_gap_days,
                    p.gap_scatter, p.earlier_gap_scatter, p.top_category, p.affinity, p.last_viewed_at, p.last_viewed_sku, v.name AS viewed_name,
                    v.category AS viewed_category, v.price AS viewed_price, v.url AS viewed_url,
                    p.open_tickets, p.last_rating, p.last_rating_at, p.last_event_at, p.last_return_at
             FROM profile p LEFT JOIN product v ON v.sku = p.last_viewed_sku
             WHERE p.bucket = $1 AND p.customer_id IN ({})",
            places.join(", ")
        );
        let mut values = args![bucket];
        values.extend(part.iter().map(Into::into));
        out.extend(db.fetch_all::<Facts>(&sql, values).await?);
    }
    Ok(out)
}

/// The instant profiles are looked at from, and what is needed to do so.
#[derive(Debug, Clone)]
pub struct Moment {
    pub as_of: Millis,
    pub zone: TimeZone,
    /// The local day number of `as_of`.
    pub today: i64,
    pub lifecycle: Lifecycle,
    /// `None` before the first buyer.
    pub cuts: Option<Cuts>,
}

impl Moment {
    /// Look from `as_of`, with the project's settings and the stored cut points.
    pub async fn at(db: &Db, settings: &Settings, as_of: Millis) -> DbResult<Moment> {
        Ok(Moment::with_cuts(settings, as_of, Cuts::load(db).await?))
    }

    /// Whether another instant lies in the same local day.
    pub fn same_day(&self, at: Millis) -> bool {
        day::day_number(at, &self.zone) == self.today
    }

    /// Look from `as_of` with given cut points.
    pub fn with_cuts(settings: &Settings, as_of: Millis, cuts: Option<Cuts>) -> Moment {
        let zone = settings.time_zone.clone();
        Moment { as_of, today: day::day_number(as_of, &zone), zone, lifecycle: settings.lifecycle, cuts }
    }
}

/// The product viewed last. Name and the rest are absent when the product is not known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastViewed {
    pub sku: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A profile as templates and reports see it: every number at one instant. What is not known is absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    pub orders: i64,
    pub purchase_days: i64,
    pub revenue: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_order: Option<i64>,
    /// RFC 3339, in the project's zone; so are all instants here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_order_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_order_at: Option<String>,
    /// T of the BTYD papers: how long this customer has been observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_since_first_order: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_since_last_order: Option<i64>,
    /// Repeat purchase days (BTYD's x): purchase days after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<i64>,
    /// Days from the first to the last purchase day (BTYD's t_x).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recency_days: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual_gap_days: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub m: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rfm: Option<Rfm>,
    pub lifecycle: Stage,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_category: Option<String>,
    /// Category → share of the amount bought, 0 to 1; five at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub affinity: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_viewed: Option<LastViewed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_viewed_at: Option<String>,
    pub open_tickets: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rating: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rating_at: Option<String>,
}

impl Facts {
    /// R, F and M at a moment; `None` for leads.
    pub fn scores(&self, moment: &Moment) -> Option<(i64, i64, i64)> {
        let cuts = moment.cuts.as_ref()?;
        let r = cuts.recency_score(self.last_order_day?);
        Some((r, frequency_score(self.orders)?, cuts.money_score(self.revenue)))
    }

    /// The name of the RFM cell; `None` for leads.
    pub fn rfm(&self, moment: &Moment) -> Option<Rfm> {
        self.scores(moment).map(|(r, f, _)| Rfm::of(r, f))
    }

    /// The stage of life at a moment.
    pub fn stage(&self, moment: &Moment) -> Stage {
        lifecycle_of(self, moment.today, &moment.lifecycle)
    }

    /// Everything at a moment.
    pub fn view(&self, moment: &Moment) -> View {
        let instant = |at: Option<Millis>| at.map(|at| clock::rfc3339(at, &moment.zone));
        let scores = self.scores(moment);
        View {
            orders: self.orders,
            purchase_days: self.purchase_days,
            revenue: self.revenue,
            average_order: self.average_order,
            first_order_at: instant(self.first_order_at),
            last_order_at: instant(self.last_order_at),
            days_since_first_order: self.first_order_day.map(|d| moment.today - d),
            days_since_last_order: self.last_order_day.map(|d| moment.today - d),
            frequency: (self.purchase_days > 0).then(|| self.purchase_days - 1),
            recency_days: self.last_order_day.zip(self.first_order_day).map(|(last, first)| last - first),
            usual_gap_days: self.usual_gap_days,
            r: scores.map(|s| s.0),
            f: scores.map(|s| s.1),
            m: scores.map(|s| s.2),
            rfm: self.rfm(moment),
            lifecycle: self.stage(moment),
            top_category: self.top_category.clone(),
            affinity: self.affinity_shares(),
            last_viewed: self.last_viewed_sku.clone().map(|sku| LastViewed {
                sku,
                name: self.viewed_name.clone(),
                category: self.viewed_category.clone(),
                price: self.viewed_price,
                url: self.viewed_url.clone(),
            }),
            last_viewed_at: instant(self.last_viewed_at),
            open_tickets: self.open_tickets,
            last_rating: self.last_rating,
            last_rating_at: instant(self.last_rating_at),
        }
    }

    fn affinity_shares(&self) -> BTreeMap<String, f64> {
        let thousandths: BTreeMap<String, i64> =
            self.affinity.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        thousandths.into_iter().map(|(category, share)| (category, share as f64 / 1_000.0)).collect()
    }
}

/// SQL: rows of table `profile` with every number of [`fields`](super::fields) as a column, for use as `(…) p`. `rows` is `FROM`'s text with its
/// WHERE, in which the table's alias is `p`.
pub fn derived_sql(moment: &Moment, rows: &str, binds: &mut Binds) -> String {
    let today = binds.bind(moment.today);
    let [r, f, m] = rfm::scores_sql(moment.cuts.as_ref(), binds);
    let stage = lifecycle::lifecycle_sql(&today, &moment.lifecycle, binds);
    format!(
        "SELECT p.*, {today} - p.first_order_day AS days_since_first_order, {today} - p.last_order_day AS days_since_last_order,
                CASE WHEN p.purchase_days > 0 THEN p.purchase_days - 1 END AS frequency,
                p.last_order_day - p.first_order_day AS recency_days,
                {r} AS r, {f} AS f, {m} AS m, CAST({stage} AS BIGINT) AS stage
         FROM {rows}"
    )
}

/// [`derived_sql`]'s rows of everybody in the bucket range `$1` to `$2`.
pub const EVERYONE: &str = "profile p WHERE p.bucket >= $1 AND p.bucket <= $2";
