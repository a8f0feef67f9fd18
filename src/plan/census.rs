//! Census: whether a look would come to anything, before a run is opened and templates are compiled for it. Most looks of a scheduler that comes
//! by the hour find nobody.
//!
//! Reads only, and stops at the first person. Templates are not asked, so somebody whom a template skips is counted: the look then finds nobody.

use super::guard::{Reason, Verdict};
use super::steps::{self, Look, Turn};
use super::{PlanError, Planning};
use crate::campaign::{Campaign, Step};
use crate::clock::Millis;
use crate::db::{Db, DbResult};
use crate::segment;

/// Whether anybody's step may be due: they entered at about the right time, and it is open. Needs no segment.
pub async fn may_be_due(
    db: &Db,
    (campaign, step): (&Campaign, &Step),
    as_of: Millis,
    looked_until: Millis,
) -> DbResult<bool> {
    Ok(steps::open_entries(db, (campaign, step), as_of, Look { run_id: "", looked_until }).await? > 0)
}

impl Planning<'_> {
    /// Whether anybody enters, or lacks a reward that the campaign cannot do without.
    pub async fn anybody_enters(&self, db: &Db) -> DbResult<bool> {
        let mut spent = self.begin(db, 0).await?;
        for range in self.ranges(0) {
            let decided = self.verdicts(db, range, "", &mut spent, &|_, _| false).await?;
            let is_told = |verdict| match verdict {
                Verdict::Skip(Reason::NoRewardLeft) => self.stops_without_reward(),
                Verdict::Skip(_) => false,
                Verdict::Send | Verdict::Withheld(_) => true,
            };
            if decided.iter().any(|d| is_told(d.verdict)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether something is decided of anybody's planned step.
    pub async fn anybody_is_due(
        &self,
        db: &Db,
        library: &segment::Library,
        looked_until: Millis,
    ) -> Result<bool, PlanError> {
        let look = Look { run_id: "", looked_until };
        let mut spent = self.begin(db, 0).await?;
        for range in self.step_ranges(db, look).await? {
            let turns = self.step_turns(db, library, range, look, &|_, _| false, &mut spent).await?;
            if turns.iter().any(|t| t.turn != Turn::Wait) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
