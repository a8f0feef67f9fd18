//! What a campaign would do with one person now, with its proof, and where they are in it. Reads only.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::guard::Verdict;
use super::{PlanError, Planning, Reason, candidates};
use crate::args;
use crate::campaign::{Audience, Campaign, Step};
use crate::clock::Millis;
use crate::content::FieldSet;
use crate::db::{Db, DbResult, bucket_of};
use crate::segment::explain::{Proof, explain};
use crate::segment::{Library, Person};
use crate::settings::Settings;

/// Entries told of one campaign, newest first.
const ENTRIES_MAX: i64 = 3;

/// How one person stands to one campaign.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    pub campaign: String,
    pub title: String,
    pub status: &'static str,
    /// In its audience, and in none of the segments it leaves out.
    pub in_audience: bool,
    pub segments: Vec<Membership>,
    /// `send`, `withheld` or `skip`, for somebody in the audience.
    pub verdict: Option<&'static str>,
    pub reason: Option<&'static str>,
    /// The reason, for people.
    pub meaning: Option<&'static str>,
    /// The step that a look would begin with.
    pub step: String,
    /// Newest first.
    pub entries: Vec<Inside>,
}

/// A segment of the audience, or one that is left out.
#[derive(Debug, Clone, Serialize)]
pub struct Membership {
    pub segment: String,
    pub left_out: bool,
    pub proof: Proof,
}

/// Somebody's way through a campaign since they entered.
#[derive(Debug, Clone, Serialize)]
pub struct Inside {
    pub slot: String,
    pub arm: String,
    pub entered_at: Millis,
    /// When what ends the campaign for them was found.
    pub exited_at: Option<Millis>,
    pub steps: Vec<Walked>,
}

/// A step of it.
#[derive(Debug, Clone, Serialize)]
pub struct Walked {
    pub step: String,
    pub state: Walk,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Walk {
    /// A message of this state.
    Message(String),
    /// Not for them, and why.
    Passed(String),
    /// Still open; due then.
    Due(Millis),
    /// They left before, or its moment is over.
    Over,
}

/// How somebody stands to a campaign at an instant. Templates are not asked whether they skip them.
pub async fn standing(
    db: &Db,
    settings: &Settings,
    library: &Library,
    campaign: &Campaign,
    person: &Person,
    as_of: Millis,
) -> Result<Standing, PlanError> {
    let step = &campaign.steps[0];
    let planning = Planning::prepare(db, settings, library, (campaign, step), FieldSet::nothing(), as_of).await?;
    let audience = match &campaign.audience {
        Audience::InSegment(name) => Some(name),
        Audience::Everyone => None,
    };
    let named = audience.into_iter().map(|name| (name, false)).chain(campaign.exclude.iter().map(|name| (name, true)));
    let segments: Vec<Membership> = named
        .filter_map(|(name, left_out)| {
            let prepared = &planning.segments.as_ref()?.prepared;
            let proof = explain(prepared, name, person, settings)?;
            Some(Membership { segment: name.clone(), left_out, proof })
        })
        .collect();
    let in_audience = segments.iter().all(|s| s.proof.holds != s.left_out);
    let verdict = if in_audience { planning.verdict_of(db, person.customer_id()).await? } else { None };
    let reason = verdict.and_then(Verdict::reason);
    Ok(Standing {
        campaign: campaign.name.clone(),
        title: campaign.title.clone(),
        status: campaign.status.word(),
        in_audience,
        segments,
        verdict: verdict.map(Verdict::word),
        reason: reason.map(Reason::word),
        meaning: reason.map(Reason::meaning),
        step: step.name.clone(),
        entries: entries(db, settings, campaign, person.customer_id(), as_of).await?,
    })
}

impl Planning<'_> {
    /// The verdict for one member of the audience; `None` when there is no such customer.
    async fn verdict_of(&self, db: &Db, customer_id: &str) -> DbResult<Option<Verdict>> {
        let bucket = bucket_of(customer_id);
        let asked = [(bucket, customer_id.to_owned())];
        let found = candidates::load(db, &self.rules, &self.timing, (bucket, bucket), Some(&asked), "").await?;
        let mut spent = self.begin(db, 0).await?;
        let decided = self.decide(db, found, &mut spent, &|_, _| false).await?;
        Ok(decided.first().map(|d| d.verdict))
    }
}

#[derive(sqlx::FromRow)]
struct Entry {
    slot: String,
    arm: String,
    entered_at: Millis,
    exited_at: Option<Millis>,
    time_zone: Option<String>,
}

async fn entries(
    db: &Db,
    settings: &Settings,
    campaign: &Campaign,
    customer_id: &str,
    as_of: Millis,
) -> DbResult<Vec<Inside>> {
    let whose = || args![bucket_of(customer_id), customer_id, &campaign.key];
    let entries: Vec<Entry> = db
        .fetch_all(
            &format!(
                "SELECT e.slot, e.arm, e.entered_at, e.exited_at, c.time_zone FROM entry e \
                 LEFT JOIN customer c ON c.bucket = e.bucket AND c.customer_id = e.customer_id \
                 WHERE e.bucket = $1 AND e.customer_id = $2 AND e.campaign = $3 ORDER BY e.entered_at DESC LIMIT {ENTRIES_MAX}"
            ),
            whose(),
        )
        .await?;
    let messages: Vec<(String, String, String)> = db
        .fetch_all(
            "SELECT m.slot, m.step, d.state FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.customer_id = m.customer_id \
               AND d.chunk_id = m.chunk_id AND d.seq = m.seq WHERE m.bucket = $1 AND m.customer_id = $2 AND m.campaign = $3",
            whose(),
        )
        .await?;
    let passed: Vec<(String, String, String)> = db
        .fetch_all(
            "SELECT s.slot, s.step, s.reason FROM step_pass s WHERE s.bucket = $1 AND s.customer_id = $2 AND s.campaign = $3",
            whose(),
        )
        .await?;
    let inside = entries.into_iter().map(|entry| {
        let own = entry.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok());
        let zone = own.as_ref().unwrap_or(&settings.time_zone);
        let of = |rows: &[(String, String, String)], step: &Step| {
            let found = rows.iter().find(|(slot, name, _)| *slot == entry.slot && step.names().any(|n| n == name));
            found.map(|(.., word)| word.clone())
        };
        let walked = |step: &Step| {
            let state = of(&messages, step)
                .map(Walk::Message)
                .or_else(|| of(&passed, step).map(Walk::Passed))
                .unwrap_or_else(|| {
                    let moment = step.moment(entry.entered_at, zone);
                    let is_open = entry.exited_at.is_none() && moment.saturating_add(campaign.catch_up()) >= as_of;
                    if is_open { Walk::Due(moment) } else { Walk::Over }
                });
            Walked { step: step.name.clone(), state }
        };
        let steps = campaign.steps.iter().map(walked).collect();
        Inside { slot: entry.slot, arm: entry.arm, entered_at: entry.entered_at, exited_at: entry.exited_at, steps }
    });
    Ok(inside.collect())
}
