//! What a campaign gave, and what is left of what it caused once that is paid: the margin of the money it brought, less the rewards.

use serde::Serialize;

use crate::args;
use crate::counts::Counts;
use crate::db::{Db, DbResult};
use crate::model::interval::Estimate;
use crate::money::readable;

use super::{IN_SCOPE, Outcome, Scope};

/// Rewards of one pool that the campaign's messages carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Given {
    pub pool: String,
    pub issued: i64,
    /// Came back, because their message never left.
    pub returned: i64,
    /// Of those issued, if all are used; minor units.
    pub cost: i64,
}

/// What was given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rewards {
    pub pools: Vec<Given>,
    /// The margin of what the campaign caused, less the cost of every reward: minor units. `None` while windows are open, and where nothing can be
    /// said about money.
    pub net: Option<Estimate>,
    /// The margin it is reckoned with, 0 to 1.
    pub margin: f64,
}

pub(super) async fn of(db: &Db, scope: Scope<'_>, margin: f64, outcome: Option<&Outcome>) -> DbResult<Option<Rewards>> {
    let sql = format!(
        "SELECT i.pool, CAST(SUM(CASE WHEN i.returned_at IS NULL THEN 1 ELSE 0 END) AS BIGINT), \
                CAST(SUM(CASE WHEN i.returned_at IS NULL THEN 0 ELSE 1 END) AS BIGINT), \
                CAST(SUM(CASE WHEN i.returned_at IS NULL THEN i.cost ELSE 0 END) AS BIGINT) \
         FROM reward_issue i JOIN run r ON r.run_id = i.run_id WHERE {IN_SCOPE} GROUP BY i.pool ORDER BY i.pool"
    );
    let rows: Vec<(String, i64, i64, i64)> = db.fetch_all(&sql, args![scope.campaign, scope.slot]).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let given = |(pool, issued, returned, cost)| Given { pool, issued, returned, cost };
    let pools: Vec<Given> = rows.into_iter().map(given).collect();
    let cost = pools.iter().map(|g| g.cost).sum::<i64>() as f64;
    Ok(Some(Rewards { net: outcome.and_then(|o| net(o, margin, cost)), pools, margin }))
}

/// Pure: what people on the mailing side brought beyond the others, its margin, less the cost.
fn net(outcome: &Outcome, margin: f64, cost: f64) -> Option<Estimate> {
    if outcome.treated.window_open + outcome.withheld.window_open > 0 {
        return None;
    }
    let per_person = outcome.effect.as_ref()?.value_per_person?;
    let people = outcome.treated.people as f64;
    let all = |value: f64| value * people * margin - cost;
    Some(Estimate { value: all(per_person.value), low: all(per_person.low), high: all(per_person.high) })
}

impl Rewards {
    /// For the terminal.
    pub(super) fn text(&self, currency: &str, counts: Counts) -> String {
        let mut out = String::new();
        for Given { pool, issued, returned, cost } in &self.pools {
            let back = if *returned > 0 { format!(", {} came back", counts.of(*returned)) } else { String::new() };
            let cost = if *cost > 0 && !counts.hides(*issued) {
                format!(" · {} if all are used", readable(*cost, currency))
            } else {
                String::new()
            };
            out.push_str(&format!("{:<16}{:>9}   {pool}{back}{cost}\n", "Rewards", counts.of(*issued)));
        }
        if let Some(Estimate { value, low, high }) = self.net {
            let money = |minor: f64| readable(minor.round() as i64, currency);
            out.push_str(&format!(
                "Left over     {} ({} to {}): {:.0} % margin of what was caused, less every reward\n",
                money(value),
                money(low),
                money(high),
                100.0 * self.margin
            ));
        }
        out
    }
}
