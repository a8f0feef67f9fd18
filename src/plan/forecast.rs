//! Forecast: to about how many people the slots to come of a campaign will go. Reads only.
//!
//! The first slot is planned as it stands, with everything but the templates asked. For those that follow nobody is taken to come or go: whoever
//! had the campaign is barred as long as `once_per` says, and back afterwards.

use jiff::tz::TimeZone;

use super::guard::{Reason, Verdict};
use super::{PlanError, Planning};
use crate::args;
use crate::campaign::{Campaign, OncePer, Slot};
use crate::clock::Millis;
use crate::content::FieldSet;
use crate::db::{Db, DbResult};
use crate::segment;
use crate::settings::Settings;

/// What the numbers of the slots to come are made of.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// People who would be mailed now if a run had no limit.
    open: i64,
    /// People whom `once_per` bars now.
    barred: i64,
    /// The runs they had it with: when, and how many were mailed; oldest first.
    had: Vec<(Millis, i64)>,
    once_per: Option<OncePer>,
    per_run: Option<i64>,
    zone: TimeZone,
}

impl Forecast {
    /// Plan the first step of a campaign for everybody, as of an instant; for a slot of its schedule, or for now. `this_run` is what the slot has
    /// planned already; empty when it has no run.
    pub async fn of(
        db: &Db,
        settings: &Settings,
        library: &segment::Library,
        campaign: &Campaign,
        (slot, as_of): (Option<Slot>, Millis),
        this_run: &str,
    ) -> Result<Forecast, PlanError> {
        let step = (campaign, &campaign.steps[0]);
        let mut planning =
            Planning::prepare(db, settings, library, step, FieldSet::nothing(), as_of).await?.for_slot(slot);
        planning.rules.per_run = None;
        let mut spent = planning.begin(db, 0).await?;
        let (mut open, mut barred) = (0, 0);
        for range in planning.ranges(0) {
            for decided in planning.verdicts(db, range, this_run, &mut spent, &|_, _| false).await? {
                match decided.verdict {
                    Verdict::Send => open += 1,
                    Verdict::Skip(Reason::AlreadyReceived) => barred += 1,
                    Verdict::Skip(_) | Verdict::Withheld(_) => {}
                }
            }
        }
        let zone = settings.time_zone.clone();
        let had = match campaign.once_per.and_then(|o| o.bars_since(as_of, &zone)) {
            Some(since) if barred > 0 => had_since(db, campaign, since).await?,
            _ => Vec::new(),
        };
        let per_run = campaign.per_run.map(i64::from);
        Ok(Forecast { open, barred, had, once_per: campaign.once_per, per_run, zone })
    }

    /// How many of the slots that open at these instants, in their order, will go out.
    pub fn of_slots(&self, slots: &[Millis]) -> Vec<i64> {
        let mut sent: Vec<(Millis, i64)> = Vec::with_capacity(slots.len());
        for &at in slots {
            let barring = |when: Millis| match self.once_per {
                None => false,
                Some(once) => once.bars_since(at, &self.zone).is_none_or(|since| when >= since),
            };
            let back: i64 = self.had.iter().filter(|(when, _)| !barring(*when)).map(|(_, people)| people).sum();
            let taken: i64 = sent.iter().filter(|(when, _)| barring(*when)).map(|(_, people)| people).sum();
            let open = (self.open + back.min(self.barred) - taken).max(0);
            sent.push((at, self.per_run.map_or(open, |most| open.min(most))));
        }
        sent.into_iter().map(|(_, people)| people).collect()
    }
}

/// When a campaign went out since an instant, and to how many.
async fn had_since(db: &Db, campaign: &Campaign, since: Millis) -> DbResult<Vec<(Millis, i64)>> {
    db.fetch_all(
        "SELECT r.as_of, v.people FROM run r JOIN run_verdict v ON v.run_id = r.run_id \
         WHERE r.campaign = $1 AND r.as_of >= $2 AND v.verdict = 'send' AND r.state NOT IN ('enqueuing', 'missed', 'cancelled') \
         ORDER BY r.as_of",
        args![&campaign.key, since],
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::DAY;
    use crate::yaml::Span;

    fn forecast(once_per: Option<OncePer>, per_run: Option<i64>) -> Forecast {
        Forecast {
            open: 9,
            barred: 4,
            had: vec![(-20 * DAY, 3), (-10 * DAY, 1)],
            once_per,
            per_run,
            zone: TimeZone::UTC,
        }
    }

    const WEEKS: [Millis; 6] = [0, 7 * DAY, 14 * DAY, 21 * DAY, 28 * DAY, 35 * DAY];

    #[test]
    fn whoever_had_it_is_barred_for_a_while_and_back_afterwards() {
        let month = Some(OncePer::Window(Span::Days(30)));
        // Three come back 30 days after they had it, one ten days later; those of the first slot after 30 days.
        assert_eq!(forecast(month, None).of_slots(&WEEKS), [9, 0, 3, 1, 0, 9]);
        assert_eq!(forecast(Some(OncePer::Person), None).of_slots(&WEEKS)[..2], [9, 0]);
        let nobody_barred = Forecast { barred: 0, had: Vec::new(), ..forecast(None, None) };
        assert_eq!(nobody_barred.of_slots(&WEEKS), [9; 6]);
    }

    #[test]
    fn a_limit_spreads_people_over_runs() {
        assert_eq!(forecast(Some(OncePer::Person), Some(4)).of_slots(&WEEKS), [4, 4, 1, 0, 0, 0]);
    }
}
