//! Looking again: what was planned a while ago and is about to leave may have lost its ground. Only ever takes away.

use std::collections::{BTreeMap, BTreeSet};

use super::candidates;
use super::guard::{self, Reason, Rules};
use super::steps::{self, Holds};
use super::timing::Timing;
use super::{Members, PlanError};
use crate::campaign::{Campaign, Step};
use crate::clock::Millis;
use crate::db::Db;
use crate::segment;
use crate::segment::condition::Entered;
use crate::settings::Settings;

/// Those of these people who no longer qualify for a step of a campaign, and why. Asked are consent, suppression and freeze; the conditions of the
/// step; and for a step that everybody gets at entry, whether they still are in the audience. Caps and holdouts were decided when it was planned.
pub async fn lost(
    db: &Db,
    settings: &Settings,
    library: &segment::Library,
    (campaign, step): (&Campaign, &Step),
    now: Millis,
    people: &BTreeSet<Entered>,
) -> Result<BTreeMap<Entered, Reason>, PlanError> {
    let (Some(first), Some(last)) = (people.iter().map(|p| p.bucket).min(), people.iter().map(|p| p.bucket).max())
    else {
        return Ok(BTreeMap::new());
    };
    let mut rules = Rules::of(campaign, settings, now);
    rules.once_per = None;
    rules.caps = Vec::new();
    let timing = Timing::of(campaign, settings, None, now);
    let ids: BTreeSet<(i64, String)> = people.iter().map(|p| (p.bucket, p.customer_id.clone())).collect();
    let ids: Vec<(i64, String)> = ids.into_iter().collect();
    let found = candidates::load(db, &rules, &timing, (first, last), Some(&ids), "").await?;
    let barred: BTreeMap<(i64, &str), Option<Reason>> =
        found.iter().map(|c| ((c.bucket, c.customer_id.as_str()), guard::barred(&rules, c))).collect();
    let members = match Members::prepare(db, settings, library, campaign, now).await? {
        Some(members) if step.is_immediate() => Some(members.inside(db, first, last).await?),
        _ => None,
    };
    let holds = steps::conditions(db, settings, library, (campaign, step), now, people).await?;
    let reason = |who: &Entered| {
        // Whoever is gone from the customers is erased.
        let known = barred.get(&(who.bucket, who.customer_id.as_str())).copied();
        known.unwrap_or(Some(Reason::Erased)).or_else(|| {
            let Holds { exit, unless, only_if } = holds.get(who).copied().unwrap_or_default();
            let is_member = members.as_ref().is_none_or(|m| m.holds(who.bucket, &who.customer_id));
            match (exit, unless, step.only_if.is_some() && !only_if, is_member) {
                (true, ..) => Some(Reason::Exit),
                (_, true, ..) => Some(Reason::Unless),
                (_, _, true, _) => Some(Reason::OnlyIf),
                (_, _, _, false) => Some(Reason::LeftAudience),
                _ => None,
            }
        })
    };
    Ok(people.iter().filter_map(|who| Some((who.clone(), reason(who)?))).collect())
}
