//! Where a customer stands in their life with the shop: one pure function, and the same as one SQL expression.

use serde::{Deserialize, Serialize};

use super::Facts;
use super::rhythm::{late_after, late_after_sql};
use crate::db::Binds;
use crate::settings::Lifecycle;

/// From how many purchase days on a person's own rhythm is used: two gaps or more.
const OWN_RHYTHM_PURCHASE_DAYS: i64 = 3;

/// The stages, in the order in which they are decided: the first that holds is the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// No counted order.
    Lead,
    /// The first order is at most `new` days old.
    New,
    /// The last order is at most `returned` days old and ended a lapse: just before it this person was lapsed or lost.
    Returned,
    /// The last order is more than `lost_after` days old.
    Lost,
    /// The last order is older than `lapsed_after_gaps` usual gaps, more or fewer by how regular the person is ([`rhythm`](super::rhythm)).
    Lapsed,
    /// The last order is older than `drifting_after_gaps` usual gaps, likewise.
    Drifting,
    /// None of these: within their rhythm.
    Active,
}

impl Stage {
    /// All, in deciding order; the position is the number that the SQL expression gives.
    pub const ALL: [Stage; 7] =
        [Stage::Lead, Stage::New, Stage::Returned, Stage::Lost, Stage::Lapsed, Stage::Drifting, Stage::Active];

    /// The word authors write.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Lead => "lead",
            Stage::New => "new",
            Stage::Returned => "returned",
            Stage::Lost => "lost",
            Stage::Lapsed => "lapsed",
            Stage::Drifting => "drifting",
            Stage::Active => "active",
        }
    }

    /// The stage of a word.
    pub fn from_name(word: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|s| s.name() == word)
    }

    /// Its number in SQL.
    pub fn number(self) -> i64 {
        Stage::ALL.iter().position(|s| *s == self).expect("ALL holds every stage") as i64
    }
}

/// The stage on day number `today` (in the project's zone). Days are whole local days: an order at 23:59 is a day old at 00:01.
pub fn lifecycle_of(facts: &Facts, today: i64, life: &Lifecycle) -> Stage {
    let (Some(first), Some(last)) = (facts.first_order_day, facts.last_order_day) else { return Stage::Lead };
    let quiet = today - last;
    let (gap, scatter) = match facts.usual_gap_days {
        Some(gap) if facts.purchase_days >= OWN_RHYTHM_PURCHASE_DAYS => (gap, facts.gap_scatter),
        _ => (life.default_gap_days, None),
    };
    let ended_a_lapse = facts.last_gap_days.is_some_and(|last_gap| {
        let (earlier, scatter) = match facts.earlier_gap_days {
            Some(gap) => (gap, facts.earlier_gap_scatter),
            None => (life.default_gap_days, None),
        };
        last_gap > life.lost_days || last_gap as f64 > earlier * late_after(life.lapsed_gaps, scatter)
    });
    if today - first <= life.new_days {
        Stage::New
    } else if quiet <= life.returned_days && ended_a_lapse {
        Stage::Returned
    } else if quiet > life.lost_days {
        Stage::Lost
    } else if quiet as f64 > gap * late_after(life.lapsed_gaps, scatter) {
        Stage::Lapsed
    } else if quiet as f64 > gap * late_after(life.drifting_gaps, scatter) {
        Stage::Drifting
    } else {
        Stage::Active
    }
}

/// SQL over alias `p`: the number of the stage. `today` is a placeholder of the day number.
pub(super) fn lifecycle_sql(today: &str, life: &Lifecycle, binds: &mut Binds) -> String {
    let (new, returned, lost) = (binds.bind(life.new_days), binds.bind(life.returned_days), binds.bind(life.lost_days));
    let default = binds.bind(life.default_gap_days);
    let quiet = format!("({today} - p.last_order_day)");
    // Whoever has no rhythm of their own is measured by the default gap, and as ordinary.
    let late = |factor: f64| {
        let (own, ordinary) = (late_after_sql(factor, "p.gap_scatter"), late_after(factor, None));
        format!(
            "CASE WHEN p.purchase_days >= {OWN_RHYTHM_PURCHASE_DAYS} AND p.usual_gap_days IS NOT NULL \
             THEN p.usual_gap_days * {own} ELSE {default} * {ordinary:.3} END"
        )
    };
    let earlier = format!(
        "CASE WHEN p.earlier_gap_days IS NOT NULL THEN p.earlier_gap_days * {} ELSE {default} * {:.3} END",
        late_after_sql(life.lapsed_gaps, "p.earlier_gap_scatter"),
        late_after(life.lapsed_gaps, None)
    );
    format!(
        "CASE WHEN p.last_order_day IS NULL THEN 0
              WHEN {today} - p.first_order_day <= {new} THEN 1
              WHEN {quiet} <= {returned} AND (p.last_gap_days > {lost}
                   OR CAST(p.last_gap_days AS DOUBLE PRECISION) > {earlier}) THEN 2
              WHEN {quiet} > {lost} THEN 3
              WHEN CAST({quiet} AS DOUBLE PRECISION) > {lapsed} THEN 4
              WHEN CAST({quiet} AS DOUBLE PRECISION) > {drifting} THEN 5
              ELSE 6 END",
        lapsed = late(life.lapsed_gaps),
        drifting = late(life.drifting_gaps),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(first: i64, last: i64, purchase_days: i64, usual: Option<f64>) -> Facts {
        Facts {
            orders: purchase_days,
            purchase_days,
            first_order_day: Some(first),
            last_order_day: Some(last),
            usual_gap_days: usual,
            ..Facts::default()
        }
    }

    #[test]
    fn each_stage_begins_where_the_settings_say() {
        let life = Lifecycle::default();
        let stage = |f: &Facts, today| lifecycle_of(f, today, &life);
        assert_eq!(stage(&Facts::default(), 1_000), Stage::Lead);
        let once = facts(1_000, 1_000, 1, None);
        assert_eq!(
            [1_030, 1_031, 1_090, 1_091, 1_180, 1_181, 1_365, 1_366].map(|d| stage(&once, d)),
            [
                Stage::New,
                Stage::Active,
                Stage::Active,
                Stage::Drifting,
                Stage::Drifting,
                Stage::Lapsed,
                Stage::Lapsed,
                Stage::Lost
            ]
        );
        let weekly = facts(500, 1_000, 70, Some(7.0));
        assert_eq!(
            [1_010, 1_011, 1_021, 1_022].map(|d| stage(&weekly, d)),
            [Stage::Active, Stage::Drifting, Stage::Drifting, Stage::Lapsed]
        );
    }

    #[test]
    fn the_same_silence_is_late_for_the_regular_and_not_for_others() {
        let life = Lifecycle::default();
        let stage = |scatter: i64, quiet: i64| {
            lifecycle_of(&Facts { gap_scatter: Some(scatter), ..facts(0, 1_000, 30, Some(20.0)) }, 1_000 + quiet, &life)
        };
        // Half as far as ordinary: 1.225 and 1.732 usual gaps. Twice as far: 2.25 and 9.
        assert_eq!([24, 25, 34, 35].map(|quiet| stage(2, quiet)), {
            [Stage::Active, Stage::Drifting, Stage::Drifting, Stage::Lapsed]
        });
        assert_eq!([45, 46, 180, 181].map(|quiet| stage(8, quiet)), {
            [Stage::Active, Stage::Drifting, Stage::Drifting, Stage::Lapsed]
        });
    }

    #[test]
    fn a_lapse_that_ended_is_a_return_for_a_while() {
        let life = Lifecycle::default();
        let back = Facts { last_gap_days: Some(100), earlier_gap_days: Some(30.0), ..facts(500, 1_000, 5, Some(30.0)) };
        assert_eq!(lifecycle_of(&back, 1_010, &life), Stage::Returned);
        assert_eq!(lifecycle_of(&back, 1_031, &life), Stage::Active);
        let usual = Facts { last_gap_days: Some(80), ..back };
        assert_eq!(lifecycle_of(&usual, 1_010, &life), Stage::Active);
    }
}
