//! One look at a campaign whose people are at different places of it: who enters a journey now, and whose next step is due. What comes of it
//! is a run of its own, kept when somebody is in it.

use super::loaded::Loaded;
use super::recommend;
use super::send::{self, Enlisted, composer};
use super::sending;
use super::{Failure, Invocation};
use crate::campaign::{Campaign, Step};
use crate::clock::{self, Clock, Millis};
use crate::content::FieldSet;
use crate::db::Db;
use crate::message::Composer;
use crate::plan::{self, Planning, Timing};
use crate::queue::fill::{Filled, Filling};
use crate::queue::run::{self, Move, Run};
use crate::segment::kept::{self, Kept};
use crate::token::Tokens;

/// Let people enter and take their steps; `None` when nobody had anything to come. `since` is the mark of the look before, `unfinished` a run of an
/// earlier look that was interrupted.
pub async fn follow(
    inv: &Invocation,
    loaded: &Loaded,
    db: &Db,
    campaign: &Campaign,
    clock: Clock,
    (since, unfinished): (Option<Millis>, Option<&Run>),
) -> Result<Option<Enlisted>, Failure> {
    let settings = &loaded.project.settings;
    let as_of = unfinished.map_or(clock.as_of(), |run| run.as_of);
    loaded.scores_hold(inv, db, campaign).await?;
    let kept = match unfinished.is_none() && campaign.journey.is_some() && !clock.is_moved() {
        true if !campaign.segments().is_empty() => kept::refresh(db, &loaded.segments, settings, as_of).await?,
        _ => None,
    };
    recommend::get_ready(inv, db, campaign).await?;
    let looked_until = since.unwrap_or(as_of);
    if unfinished.is_none() && !comes_to_anything(loaded, db, campaign, kept.clone(), (looked_until, as_of)).await? {
        return Ok(None);
    }
    let (set, snapshot) = loaded.pinned(inv, campaign)?;
    let lease = send::planner_lease(inv, db).await?;
    let slot = unfinished
        .map_or_else(|| clock::timestamp(as_of).strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), |r| r.slot.clone());
    let timing = Timing::of(campaign, settings, None, as_of);
    let run = send::open_run(db, loaded, campaign, (&slot, &timing), &snapshot, as_of, clock).await?;
    if !run.is_being_planned() {
        lease.release(db).await?;
        return Ok(None); // another look at the same second
    }
    let snapshot = send::pinned_earlier(db, &run, snapshot).await?.at_home(&loaded.project.dir);
    let tokens = sending::tokens(&loaded.project)?;
    let look = Look {
        loaded,
        db,
        campaign,
        run: &run,
        composer: composer(&snapshot, tokens.clone())?,
        tokens,
        fields: set.fields_used(),
        leave_at: clock.is_moved().then(|| clock.now()),
        looked_until,
    };
    let mut keep = async || inv.over().is_none() && lease.renew(db, clock::now()).await.unwrap_or(false);
    let Some(filled) = look.fill(kept, &mut keep).await? else {
        lease.release(db).await?;
        return Err(send::interrupted(inv));
    };
    let nobody = run::get(db, &run.run_id).await?.is_none_or(|run| run.audience == 0);
    let stopped = send::stopped(campaign, &filled);
    if stopped.is_some() || nobody {
        run::discard(db, &run.run_id).await?;
        lease.release(db).await?;
        return stopped.map_or(Ok(None), Err);
    }
    run::advance(db, &run.run_id, Move::Ready, None, clock::now()).await?;
    lease.release(db).await?;
    let run = run::get(db, &run.run_id).await?.unwrap_or(run);
    Ok(Some(Enlisted { run, filled: Some(filled) }))
}

/// Whether anybody enters or has a step to come. It opens no run and compiles no template, for a scheduler that comes by the hour.
async fn comes_to_anything(
    loaded: &Loaded,
    db: &Db,
    campaign: &Campaign,
    kept: Option<Kept>,
    (looked_until, as_of): (Millis, Millis),
) -> Result<bool, Failure> {
    let (settings, library) = (&loaded.project.settings, &loaded.segments);
    let planning =
        async |step| Planning::prepare(db, settings, library, (campaign, step), FieldSet::nothing(), as_of).await;
    if campaign.journey.is_some() && campaign.is_open_at(as_of) {
        let planning = planning(&campaign.steps[0]).await?.with_kept(kept);
        if planning.anybody_enters(db).await? {
            return Ok(true);
        }
    }
    for step in &campaign.steps {
        if plan::may_be_due(db, (campaign, step), as_of, looked_until).await?
            && planning(step).await?.anybody_is_due(db, library, looked_until).await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What one look needs.
struct Look<'l> {
    loaded: &'l Loaded,
    db: &'l Db,
    campaign: &'l Campaign,
    run: &'l Run,
    composer: Composer,
    tokens: Tokens,
    fields: FieldSet,
    leave_at: Option<Millis>,
    looked_until: Millis,
}

impl<'l> Look<'l> {
    /// Everything that is due now, entries first; `None` when it was interrupted.
    async fn fill(&self, kept: Option<Kept>, keep: &mut impl AsyncFnMut() -> bool) -> Result<Option<Filled>, Failure> {
        let mut all = Filled::default();
        if self.campaign.journey.is_some() && self.campaign.is_open_at(self.run.as_of) {
            let planning = self.planning(&self.campaign.steps[0]).await?.with_kept(kept);
            let Some(entered) = self.filling(&planning).fill(self.db, self.run, &mut *keep).await? else {
                return Ok(None);
            };
            all.append(entered);
        }
        for step in &self.campaign.steps {
            if all.stops() {
                break;
            }
            let planning = self.planning(step).await?;
            let filling = self.filling(&planning);
            let library = &self.loaded.segments;
            let followed = filling.follow(self.db, self.run, library, self.looked_until, &mut *keep).await?;
            let Some(followed) = followed else { return Ok(None) };
            all.append(followed);
        }
        Ok(Some(all))
    }

    async fn planning(&self, step: &'l Step) -> Result<Planning<'l>, Failure> {
        let settings = &self.loaded.project.settings;
        let (library, step) = (&self.loaded.segments, (self.campaign, step));
        Ok(Planning::prepare(self.db, settings, library, step, self.fields.clone(), self.run.as_of).await?)
    }

    fn filling<'f>(&'f self, planning: &'f Planning<'f>) -> Filling<'f> {
        Filling {
            planning,
            composer: &self.composer,
            tokens: &self.tokens,
            slot: &self.run.slot,
            leave_at: self.leave_at,
        }
    }
}
