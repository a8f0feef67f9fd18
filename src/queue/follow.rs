//! Follow: the next step of people who entered before becomes rows of the ledger, in a run of its own.
//!
//! What is decided is kept in the same transaction, as a message or as a pass with its reason, so an interrupted pass over the entries goes
//! on with those that are still open, and two passes at once write nothing twice.

use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Conflict, Db, DbResult, Tx, Value};
use crate::plan::{Candidate, Look, PlanError, Reason, StepDecided, Turn, Verdict};
use crate::segment;

use super::enqueue::{self, Draft};
use super::fill::{Codes, Filled, Filling, Recipient, Tally};
use super::run::{self, Run};

const PASS: [&str; 8] = ["bucket", "customer_id", "campaign", "slot", "step", "run_id", "reason", "at"];

impl Filling<'_> {
    /// Write the planned step for everybody whose moment has come since `looked_until`. Stops at the first range with a message that cannot be
    /// rendered; `None` when `keep` said no, or the run is no longer ours to fill.
    pub async fn follow(
        &self,
        db: &Db,
        run: &Run,
        library: &segment::Library,
        looked_until: Millis,
        mut keep: impl AsyncFnMut() -> bool,
    ) -> Result<Option<Filled>, PlanError> {
        let mut filled = Filled::default();
        let mut spent = self.planning.begin(db, 0).await?;
        let look = Look { run_id: &run.run_id, looked_until };
        for range in self.planning.step_ranges(db, look).await? {
            if !keep().await {
                return Ok(None);
            }
            let skips = |c: &Candidate, payload: &serde_json::Value| self.skips(c, payload);
            let turns = self.planning.step_turns(db, library, range, look, &skips, &mut spent).await?;
            let mut of_range = Filled::default();
            let going: Vec<Recipient> = turns
                .iter()
                .filter(|t| matches!(t.turn, Turn::Send | Turn::Withheld))
                .map(|t| Recipient {
                    candidate: &t.candidate,
                    recommended: &t.recommended,
                    slot: t.due.slot.clone(),
                    arm: t.due.arm.clone(),
                    withheld: t.turn == Turn::Withheld,
                    reward: t.reward.as_deref(),
                })
                .collect();
            let Some(drafts) = self.drafts(db, &going, Codes::SetApart, &mut of_range).await? else { return Ok(None) };
            let tally = counted(&turns);
            of_range.short = self.short(&tally);
            let stop = of_range.stops();
            filled.take(of_range, &tally);
            if stop {
                break;
            }
            if tally.audience() > 0 {
                let mut tx = db.begin().await?;
                if !self.write_turns(&mut tx, run, &turns, &drafts, &tally).await? {
                    tx.rollback().await?;
                    return Ok(None);
                }
                tx.commit().await?;
            }
        }
        filled.rewards = self.planning.rewarded(&spent);
        Ok(Some(filled))
    }

    /// False when the run is not ours to fill any more.
    async fn write_turns(
        &self,
        tx: &mut Tx,
        run: &Run,
        turns: &[StepDecided],
        drafts: &[Draft],
        tally: &Tally,
    ) -> DbResult<bool> {
        let now = clock::now();
        if !run::note_followed(tx, &run.run_id, tally.audience(), now).await? {
            return Ok(false);
        }
        let campaign = self.planning.campaign;
        let step = &self.planning.step.name;
        let mut passes: Vec<Value> = Vec::new();
        for StepDecided { due, turn, .. } in turns {
            let reason = match turn {
                Turn::Wait => continue,
                Turn::Send | Turn::Withheld => None,
                Turn::Pass(reason) => Some(*reason),
                Turn::Exit => Some(Reason::Exit),
            };
            if let Some(reason) = reason {
                let at = self.planning.as_of;
                let word = reason.word();
                passes.extend(args![
                    due.bucket,
                    &due.customer_id,
                    &campaign.key,
                    &due.slot,
                    step,
                    &run.run_id,
                    word,
                    at
                ]);
            }
            if *turn == Turn::Exit {
                tx.execute(
                    "UPDATE entry SET exited_at = $1 WHERE bucket = $2 AND customer_id = $3 AND campaign = $4 AND slot = $5 \
                     AND exited_at IS NULL",
                    args![self.planning.as_of, due.bucket, &due.customer_id, &campaign.key, &due.slot],
                )
                .await?;
            }
        }
        tx.insert_rows("step_pass", &PASS, passes, Conflict::Keep).await?;
        tally.add_to(tx, &run.run_id).await?;
        enqueue::write(tx, &self.batch(run), drafts, now).await
    }
}

/// People by what was decided; those who wait are not counted.
fn counted(turns: &[StepDecided]) -> Tally {
    let mut tally = Tally::default();
    for turn in turns {
        tally.count(match turn.turn {
            Turn::Send => Verdict::Send,
            Turn::Withheld => Verdict::Withheld(Reason::from_word(&turn.due.arm).unwrap_or(Reason::Holdout)),
            Turn::Pass(reason) => Verdict::Skip(reason),
            Turn::Exit => Verdict::Skip(Reason::Exit),
            Turn::Wait => continue,
        });
    }
    tally
}
