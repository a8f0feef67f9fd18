//! Recency, frequency, money: each 1 (low) to 5 (high), and the ten names of their grid.
//!
//! F has fixed bins of counted orders, because ties would otherwise move hundreds of one-time buyers at once. R and M are cut by value at
//! the quintiles of everybody who bought: equal values always share a score. R cuts the *local day* of the last order and so does not
//! move with the clock. Leads (no counted order) have no scores.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::day::day_number;
use super::quantile::{self, Population};
use crate::args;
use crate::clock::Millis;
use crate::db::{Binds, Db, DbResult};

/// The entry of table `meta` that keeps the cut points.
const META_CUTS: &str = "rfm_cuts";

/// The ten names of the grid of R (rows) and F (columns).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rfm {
    Champions,
    LoyalCustomers,
    PotentialLoyalists,
    NewCustomers,
    Promising,
    NeedAttention,
    AboutToSleep,
    CannotLose,
    AtRisk,
    Hibernating,
}

impl Rfm {
    /// All, the most valuable first.
    pub const ALL: [Rfm; 10] = [
        Rfm::Champions,
        Rfm::LoyalCustomers,
        Rfm::PotentialLoyalists,
        Rfm::NewCustomers,
        Rfm::Promising,
        Rfm::NeedAttention,
        Rfm::AboutToSleep,
        Rfm::CannotLose,
        Rfm::AtRisk,
        Rfm::Hibernating,
    ];

    /// The word authors write.
    pub fn name(self) -> &'static str {
        match self {
            Rfm::Champions => "champions",
            Rfm::LoyalCustomers => "loyal_customers",
            Rfm::PotentialLoyalists => "potential_loyalists",
            Rfm::NewCustomers => "new_customers",
            Rfm::Promising => "promising",
            Rfm::NeedAttention => "need_attention",
            Rfm::AboutToSleep => "about_to_sleep",
            Rfm::CannotLose => "cannot_lose",
            Rfm::AtRisk => "at_risk",
            Rfm::Hibernating => "hibernating",
        }
    }

    /// The name of a word.
    pub fn from_name(word: &str) -> Option<Rfm> {
        Rfm::ALL.into_iter().find(|n| n.name() == word)
    }

    /// The name of a cell: the common grid over R and F, every cell of which has exactly one.
    pub fn of(r: i64, f: i64) -> Rfm {
        match (r, f) {
            (..=2, ..=2) => Rfm::Hibernating,
            (..=2, 3..=4) => Rfm::AtRisk,
            (..=2, _) => Rfm::CannotLose,
            (3, ..=2) => Rfm::AboutToSleep,
            (3, 3) => Rfm::NeedAttention,
            (3, _) | (4, 4..) => Rfm::LoyalCustomers,
            (4, ..=1) => Rfm::Promising,
            (4.., 2..=3) => Rfm::PotentialLoyalists,
            (5.., ..=1) => Rfm::NewCustomers,
            (5.., _) => Rfm::Champions,
        }
    }

    /// The cells of this name, as `10 r + f`.
    pub fn cells(self) -> impl Iterator<Item = i64> {
        (1..=5)
            .flat_map(|r| (1..=5).map(move |f| (r, f)))
            .filter(move |(r, f)| Rfm::of(*r, *f) == self)
            .map(|(r, f)| 10 * r + f)
    }
}

/// F: 1, 2, 3, 4–6, 7 and more counted orders. `None` for leads.
pub fn frequency_score(orders: i64) -> Option<i64> {
    Some(match orders {
        ..=0 => return None,
        1..=3 => orders,
        4..=6 => 4,
        _ => 5,
    })
}

/// The values at which R and M step up: a score is 1 + the number of cut points at or below the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuts {
    /// How many customers have bought.
    pub buyers: i64,
    /// Local day numbers of the last order.
    pub recency: [i64; 4],
    /// Net revenue in minor units.
    pub money: [i64; 4],
    /// When they were drawn, and how many profiles had changed by then ([`changes`](super::changes)).
    pub drawn_at: Millis,
    #[serde(default)]
    changes: i64,
}

impl Cuts {
    /// The stored cut points; `None` before the first buyer.
    pub async fn load(db: &Db) -> DbResult<Option<Cuts>> {
        let row: Option<(String,)> =
            db.fetch_optional("SELECT value FROM meta WHERE name = $1", args![META_CUTS]).await?;
        Ok(row.and_then(|(text,)| serde_json::from_str(&text).ok()))
    }

    /// Draw the cut points anew when they are of another local day or [more than a few](super::REDRAWN_AFTER) profiles changed since: whoever looks
    /// twice a day sees one line, and a few orders cost no pass over everybody.
    pub(super) async fn renew(db: &Db, zone: &TimeZone, now: Millis) -> DbResult<()> {
        let changes = super::changes(db).await?;
        let stand = |cuts: Cuts| {
            day_number(cuts.drawn_at, zone) == day_number(now, zone)
                && (changes - cuts.changes) * super::REDRAWN_AFTER <= cuts.buyers
        };
        match Cuts::load(db).await?.is_some_and(stand) {
            true => Ok(()),
            false => Cuts::redraw(db, now).await,
        }
    }

    /// Draw the cut points anew from the profiles and store them.
    pub(super) async fn redraw(db: &Db, now: Millis) -> DbResult<()> {
        let changes = super::changes(db).await?;
        let ranks = |n: i64| (1..5).map(|k| n * k / 5).collect();
        let rows = "profile p WHERE p.bucket >= $1 AND p.bucket <= $2 AND p.orders > 0";
        let of = |number| Population { rows, values: args![0_i64, 0_i64], number };
        let (buyers, days) = quantile::values_at(db, &of("p.last_order_day"), ranks).await?;
        let (_, money) = quantile::values_at(db, &of("p.revenue"), ranks).await?;
        // Both are whole numbers far below what a double holds exactly.
        let four = |v: Vec<f64>| <[f64; 4]>::try_from(v).ok().map(|v| v.map(|x| x as i64));
        let cuts =
            four(days).zip(four(money)).map(|(recency, money)| Cuts { buyers, recency, money, drawn_at: now, changes });
        match &cuts {
            Some(cuts) => {
                let text = serde_json::to_string(cuts).expect("numbers serialise");
                super::set_meta(db, META_CUTS, &text).await?;
            }
            None => {
                db.execute("DELETE FROM meta WHERE name = $1", args![META_CUTS]).await?;
            }
        }
        Ok(())
    }

    /// R of a last order's day.
    pub fn recency_score(&self, last_order_day: i64) -> i64 {
        score(&self.recency, last_order_day)
    }

    /// M of a net revenue.
    pub fn money_score(&self, revenue: i64) -> i64 {
        score(&self.money, revenue)
    }
}

fn score(cuts: &[i64; 4], value: i64) -> i64 {
    1 + cuts.iter().filter(|c| value >= **c).count() as i64
}

/// SQL over alias `p`: R, F and M as BIGINT, NULL for leads.
pub(super) fn scores_sql(cuts: Option<&Cuts>, binds: &mut Binds) -> [String; 3] {
    let mut stepped = |column: &str, cuts: Option<&[i64; 4]>| match cuts {
        None => "CAST(NULL AS BIGINT)".to_owned(),
        Some(cuts) => {
            let steps: Vec<String> =
                cuts.iter().map(|c| format!("CASE WHEN p.{column} >= {} THEN 1 ELSE 0 END", binds.bind(*c))).collect();
            format!("CASE WHEN p.orders > 0 THEN CAST(1 + {} AS BIGINT) END", steps.join(" + "))
        }
    };
    let r = stepped("last_order_day", cuts.map(|c| &c.recency));
    let m = stepped("revenue", cuts.map(|c| &c.money));
    let f = "CASE WHEN p.orders <= 0 THEN CAST(NULL AS BIGINT) WHEN p.orders <= 3 THEN p.orders WHEN p.orders <= 6 THEN 4 ELSE 5 END";
    [r, f.to_owned(), m]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The grid as it is published: first matching pattern over the digits R and F.
    const PUBLISHED: [(&str, &str, &str); 10] = [
        ("12", "12", "hibernating"),
        ("12", "34", "at_risk"),
        ("12", "5", "cannot_lose"),
        ("3", "12", "about_to_sleep"),
        ("3", "3", "need_attention"),
        ("34", "45", "loyal_customers"),
        ("4", "1", "promising"),
        ("5", "1", "new_customers"),
        ("45", "23", "potential_loyalists"),
        ("5", "45", "champions"),
    ];

    #[test]
    fn every_cell_has_the_published_name() {
        for r in 1..=5 {
            for f in 1..=5 {
                let holds = |set: &str, n: i64| set.contains(&n.to_string());
                let published = PUBLISHED.iter().find(|(rs, fs, _)| holds(rs, r) && holds(fs, f)).unwrap().2;
                assert_eq!(Rfm::of(r, f).name(), published, "{r}{f}");
            }
        }
        assert_eq!(Rfm::ALL.iter().map(|n| n.cells().count()).sum::<usize>(), 25);
    }

    #[test]
    fn equal_values_share_a_score() {
        let cuts = Cuts { buyers: 10, recency: [5, 5, 5, 9], money: [100, 200, 300, 400], drawn_at: 0, changes: 0 };
        assert_eq!([4, 5, 8, 9].map(|d| cuts.recency_score(d)), [1, 4, 4, 5]);
        assert_eq!([-50, 100, 399, 400].map(|m| cuts.money_score(m)), [1, 2, 4, 5]);
        assert_eq!(
            [0, 1, 3, 4, 6, 7, 900].map(frequency_score),
            [None, Some(1), Some(3), Some(4), Some(4), Some(5), Some(5)]
        );
    }

    /// The cut points of a shop whose buyers have spent 1, 2, 3 … each.
    #[tokio::test]
    async fn cut_points_stay_for_the_day_unless_many_changed() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", dir.path().join("a.db").display())).await.unwrap();
        let buyers = async |range: std::ops::Range<i64>| {
            for n in range {
                let sql = "INSERT INTO profile (bucket, customer_id, orders, purchase_days, revenue, last_order_day, open_tickets, computed_at)
                           VALUES ($1, $2, 1, 1, $1, $1, 0, 0)";
                db.execute(sql, args![n, format!("c{n}")]).await.unwrap();
            }
        };
        let money = async || Cuts::load(&db).await.unwrap().map(|c| c.money);
        let (zone, noon) = (TimeZone::UTC, 12 * crate::clock::HOUR);
        buyers(0..40).await;
        Cuts::renew(&db, &zone, noon).await.unwrap();
        assert_eq!(money().await, Some([8, 16, 24, 32]));

        buyers(40..42).await;
        crate::profile::count_changes(&db, 2).await.unwrap();
        Cuts::renew(&db, &zone, noon + 1).await.unwrap();
        assert_eq!(money().await, Some([8, 16, 24, 32]), "two of forty are few");
        buyers(42..43).await;
        crate::profile::count_changes(&db, 1).await.unwrap();
        Cuts::renew(&db, &zone, noon + 2).await.unwrap();
        assert_eq!(money().await, Some([8, 17, 25, 34]), "three are many");

        buyers(43..45).await;
        crate::profile::count_changes(&db, 2).await.unwrap();
        Cuts::renew(&db, &zone, noon + crate::clock::DAY).await.unwrap();
        assert_eq!(money().await, Some([9, 18, 27, 36]), "another day");
    }
}
