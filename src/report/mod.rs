//! What a campaign did and what it caused; and of the shop, its [`cohorts`], its [`flows`] between stages of life, and one [`customer`], or [`why`] they got what they got.
//!
//! Reads only: verdicts of the plan, states of the ledger, facts that came back, and the goal reached by those mailed and those withheld.
//!
//! "Caused" compares everybody whom chance put on the mailing side with everybody whom chance held back, whether or not a mail arrived:
//! a bounced address has its unknown twin among the withheld, so leaving it out would compare different people. The unit is the person,
//! also when a campaign reached them several times; an order counts once. Without people held back nothing is claimed.
//! Money is minor units of the project's currency, instants are epoch milliseconds UTC.
//!
//! Read on: [`outcome`] for the goal, [`text()`] for the terminal, [`crate::model::interval`] for the statistics.

mod answers;
pub mod cohorts;
pub mod customer;
pub mod flows;
mod outcome;
pub mod overview;
mod rewards;
mod text;
pub mod why;

pub use answers::Answers;
pub use outcome::{Arm, Effect, Group, Outcome};
pub use rewards::{Given, Rewards};
pub use text::text;

use serde::Serialize;

use crate::args;
use crate::clock::Millis;
use crate::db::{Db, DbError, DbResult, bucket_ranges};
use crate::problem::nearest;
use crate::settings::Settings;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Nothing of this name ran. The second line says what did.
    #[error("no run of `{campaign}`{slot}\n{hint}")]
    NoRun { campaign: String, slot: String, hint: String },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Everything about one campaign, all its slots together or one.
#[derive(Debug, Clone, Serialize)]
pub struct CampaignReport {
    pub campaign: String,
    pub slot: Option<String>,
    /// ISO 4217; all money below is in its minor unit.
    pub currency: String,
    #[serde(serialize_with = "rfc3339")]
    pub as_of: Millis,
    pub runs: Vec<RunLine>,
    pub audience: i64,
    pub verdicts: Vec<Verdict>,
    /// Messages by delivery state, most frequent first.
    pub states: Vec<Named>,
    pub came_back: CameBack,
    /// What people answered to the questions of its mails.
    pub answers: Vec<Answers>,
    /// What the goal says; `None` when the campaign names none.
    pub outcome: Option<Outcome>,
    /// What was given; `None`: nothing.
    pub rewards: Option<Rewards>,
    /// What a reader must know to read the numbers right.
    pub notes: Vec<String>,
}

/// One execution.
#[derive(Debug, Clone, Serialize)]
pub struct RunLine {
    pub run: String,
    pub slot: String,
    pub state: String,
    pub reason: Option<String>,
    #[serde(serialize_with = "rfc3339")]
    pub due_at: Millis,
    pub audience: i64,
    #[serde(skip)]
    definition: String,
}

/// How many people got a verdict, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub verdict: String,
    pub reason: String,
    pub people: i64,
}

/// A name and how often it occurred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    pub state: String,
    pub messages: i64,
}

/// What came back, in messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CameBack {
    /// The server took it, and it did not come back.
    pub delivered: i64,
    /// Came back afterwards.
    pub bounced: i64,
    /// Refused for good.
    pub failed: i64,
    /// Sent or not: nobody can tell.
    pub unknown: i64,
    pub complained: i64,
    /// Messages from which someone unsubscribed …
    pub unsubscribed: i64,
    /// … and from which someone came back.
    pub resubscribed: i64,
    /// Messages of which somebody followed a link; scanners are left out.
    pub clicked: i64,
    /// Messages of which somebody answered a question.
    pub answered: i64,
}

impl CampaignReport {
    /// Messages of all states but those withheld.
    pub fn messages(&self) -> i64 {
        self.states.iter().filter(|s| s.state != "withheld").map(|s| s.messages).sum()
    }
}

/// Buckets whose people one statement looks at.
const BUCKETS_PER_STATEMENT: i64 = 64;
/// The newest runs that one report covers.
const RUNS_MAX: i64 = 1_000;
/// Runs in these states mailed nobody, or stopped before all was done: they say nothing about what mail causes.
const NOT_CARRIED_OUT: [&str; 3] = ["planned", "missed", "cancelled"];

/// The report of a campaign at `as_of`: one of its slots, or all of them.
pub async fn campaign(
    db: &Db,
    settings: &Settings,
    campaign: &str,
    slot: Option<&str>,
    as_of: Millis,
) -> Result<CampaignReport, ReportError> {
    let runs = runs(db, campaign, slot).await?;
    if runs.is_empty() {
        return Err(no_run(db, campaign, slot).await?);
    }
    let scope = Scope { campaign, slot: slot.unwrap_or_default() };
    let states = states(db, scope).await?;
    let came_back = came_back(db, scope, &states).await?;
    let answers = if came_back.answered > 0 { answers::of(db, scope).await? } else { Vec::new() };
    let mut notes = Vec::new();
    if runs.len() as i64 == RUNS_MAX {
        notes.push(format!("only the newest {RUNS_MAX} runs are listed and compared"));
    }
    let outcome = outcome::of(db, settings, campaign, &runs, as_of, &mut notes).await?;
    let rewards = rewards::of(db, scope, settings.models.margin, outcome.as_ref()).await?;
    Ok(CampaignReport {
        campaign: campaign.to_owned(),
        slot: slot.map(str::to_owned),
        currency: settings.currency.clone(),
        as_of,
        audience: runs.iter().map(|r| r.audience).sum(),
        verdicts: verdicts(db, scope).await?,
        states,
        came_back,
        answers,
        outcome,
        rewards,
        notes,
        runs,
    })
}

/// The runs a statement is about: bind `campaign` as $1 and `slot` (empty for all) as $2.
#[derive(Clone, Copy)]
struct Scope<'a> {
    campaign: &'a str,
    slot: &'a str,
}

const IN_SCOPE: &str = "r.campaign = $1 AND ($2 = '' OR r.slot = $2)";

async fn runs(db: &Db, campaign: &str, slot: Option<&str>) -> DbResult<Vec<RunLine>> {
    type Row = (String, String, String, Option<String>, i64, i64, String);
    let rows: Vec<Row> = db
        .fetch_all(
            &format!(
                "SELECT r.run_id, r.slot, r.state, r.reason, r.due_at, r.audience, r.definition FROM run r
                 WHERE {IN_SCOPE} ORDER BY r.due_at DESC, r.slot DESC LIMIT $3"
            ),
            args![campaign, slot.unwrap_or_default(), RUNS_MAX],
        )
        .await?;
    let line = |(run, slot, state, reason, due_at, audience, definition)| RunLine {
        run,
        slot,
        state,
        reason,
        due_at,
        audience,
        definition,
    };
    Ok(rows.into_iter().rev().map(line).collect())
}

async fn verdicts(db: &Db, scope: Scope<'_>) -> DbResult<Vec<Verdict>> {
    let rows: Vec<(String, String, i64)> = db
        .fetch_all(
            &format!(
                "SELECT v.verdict, v.reason, CAST(SUM(v.people) AS BIGINT) AS people
                 FROM run_verdict v JOIN run r ON r.run_id = v.run_id WHERE {IN_SCOPE}
                 GROUP BY v.verdict, v.reason ORDER BY people DESC, v.verdict, v.reason"
            ),
            args![scope.campaign, scope.slot],
        )
        .await?;
    Ok(rows.into_iter().map(|(verdict, reason, people)| Verdict { verdict, reason, people }).collect())
}

async fn states(db: &Db, scope: Scope<'_>) -> DbResult<Vec<Named>> {
    let rows: Vec<(String, i64)> = db
        .fetch_all(
            &format!(
                "SELECT d.state, CAST(COUNT(*) AS BIGINT) AS messages
                 FROM delivery d JOIN run r ON r.run_id = d.run_id WHERE {IN_SCOPE}
                 GROUP BY d.state ORDER BY messages DESC, d.state"
            ),
            args![scope.campaign, scope.slot],
        )
        .await?;
    Ok(rows.into_iter().map(|(state, messages)| Named { state, messages }).collect())
}

async fn came_back(db: &Db, scope: Scope<'_>, states: &[Named]) -> DbResult<CameBack> {
    // A fact is kept per message: one message may be unsubscribed from by topic and altogether, and that is one.
    let sql = "SELECT f.kind, CAST(COUNT(*) AS BIGINT) FROM (
                 SELECT DISTINCT bucket, customer_id, kind, step, slot FROM fact
                 WHERE bucket >= $3 AND bucket <= $4 AND campaign = $1 AND ($2 = '' OR slot = $2)) f
               GROUP BY f.kind";
    let mut facts: Vec<(String, i64)> = Vec::new();
    for (first, last) in bucket_ranges(BUCKETS_PER_STATEMENT) {
        facts.extend(db.fetch_all::<(String, i64)>(sql, args![scope.campaign, scope.slot, first, last]).await?);
    }
    let fact = |kind: &str| facts.iter().filter(|(k, _)| k == kind).map(|(_, n)| n).sum::<i64>();
    let state = |name: &str| states.iter().filter(|s| s.state == name).map(|s| s.messages).sum::<i64>();
    // A bounce or complaint is known from its fact before, or without, its message's state having moved.
    let bounced = state("bounced").max(fact("bounce"));
    let complained = state("complained").max(fact("complaint"));
    let taken = state("accepted") + state("bounced") + state("complained");
    Ok(CameBack {
        delivered: (taken - bounced).max(0),
        bounced,
        failed: state("failed"),
        unknown: state("unknown") + state("closed_unknown"),
        complained,
        unsubscribed: fact("unsubscribe"),
        resubscribed: fact("resubscribe"),
        clicked: fact("click"),
        answered: fact("answer"),
    })
}

async fn no_run(db: &Db, campaign: &str, slot: Option<&str>) -> DbResult<ReportError> {
    let known: Vec<(String, String)> = db
        .fetch_all(
            "SELECT campaign, slot FROM run WHERE $1 = '' OR campaign = $1 ORDER BY due_at DESC LIMIT 20",
            args![if slot.is_some() { campaign } else { "" }],
        )
        .await?;
    let mut names: Vec<&str> =
        known.iter().map(|(c, s)| if slot.is_some() { s.as_str() } else { c.as_str() }).collect();
    names.sort_unstable();
    names.dedup();
    let hint = match nearest(slot.unwrap_or(campaign), names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() && slot.is_none() => {
            format!("nothing was planned yet: try `okaeri plan {campaign}`")
        }
        None if names.is_empty() => format!("`{campaign}` has not run yet: try `okaeri plan {campaign}`"),
        None => format!("known here: {}", names.join(", ")),
    };
    let slot = slot.map(|s| format!(" for the slot `{s}`")).unwrap_or_default();
    Ok(ReportError::NoRun { campaign: campaign.to_owned(), slot, hint })
}

fn rfc3339<S: serde::Serializer>(at: &Millis, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&crate::clock::rfc3339(*at, &jiff::tz::TimeZone::UTC))
}
