//! Planning: the verdict for every member of a campaign's audience — send, withhold, or skip with the first reason that applies.
//!
//! Reads and decides; writes nothing. The guards are a pure function ([`guard`]); what they look at is loaded bucket range by bucket range
//! ([`candidates`]), so that memory does not grow with the audience. What a message carries is built in [`payload`].
//!
//! Read on: [`Planning`], then `queue::fill`, which turns verdicts into ledger rows.

pub mod ahead;
mod candidates;
mod census;
pub mod compare;
pub mod forecast;
pub mod guard;
pub mod payload;
pub mod person;
mod recheck;
mod reward;
mod shapes;
mod share;
mod steps;
mod timing;
pub mod trial;

use std::collections::{BTreeSet, HashMap};

use crate::campaign::{Audience, Campaign, Slot, Step};
use crate::clock::Millis;
use crate::content::FieldSet;
use crate::db::{BUCKETS, Db, DbResult, bucket_of};
use crate::offer::recommend::{Asked, Recommended, Recommender};
use crate::profile::Moment;
use crate::segment::kept::Kept;
use crate::segment::{self, Prepared};
use crate::settings::Settings;

pub use candidates::Candidate;
pub use census::may_be_due;
pub use guard::{Reason, Rules, Verdict};
pub use recheck::lost;
pub use reward::{Carried, Receiver, Rewarded, Spent};
pub use steps::{DueStep, Look, StepDecided, Turn};
pub use timing::Timing;

/// Customers looked at together, about; a range has at least one bucket.
const RANGE_CUSTOMERS: i64 = 4_000;

/// One campaign, ready to be planned at one instant.
pub struct Planning<'a> {
    pub campaign: &'a Campaign,
    /// Its step that is planned.
    pub step: &'a Step,
    pub settings: &'a Settings,
    /// The planning instant.
    pub as_of: Millis,
    rules: Rules,
    timing: Timing,
    moment: Moment,
    /// The segments of audience and exclusions, evaluated together; `None` when everyone is meant and nobody excluded.
    segments: Option<Members>,
    /// When the campaign's step recommends products.
    recommender: Option<Recommender>,
    fields: FieldSet,
    customers: i64,
    buckets_per_range: i64,
}

/// Who is in the audience, as bits.
struct Members {
    prepared: Prepared,
    /// The members of this very instant, when they are kept.
    kept: Option<Kept>,
    /// Zero: everyone.
    audience: u64,
    excluded: u64,
}

impl Members {
    /// Compile audience and exclusions of a campaign; `None` when everyone is meant and nobody excluded.
    async fn prepare(
        db: &Db,
        settings: &Settings,
        library: &segment::Library,
        campaign: &Campaign,
        as_of: Millis,
    ) -> Result<Option<Members>, PlanError> {
        let names = campaign.segments();
        if names.is_empty() {
            return Ok(None);
        }
        let prepared = library.compile(&names, as_of, settings)?.prepare(db).await?;
        let audience = match &campaign.audience {
            Audience::InSegment(name) => prepared.mask_of(name),
            Audience::Everyone => 0,
        };
        let excluded = campaign.exclude.iter().fold(0, |mask, name| mask | prepared.mask_of(name));
        Ok(Some(Members { prepared, kept: None, audience, excluded }))
    }

    /// Who of a bucket range is in the audience and not excluded.
    async fn inside(&self, db: &Db, first: i64, last: i64) -> DbResult<Inside> {
        let found = self.of(db, first, last).await?;
        let of = |wanted: &dyn Fn(u64) -> bool| {
            found.iter().filter(|f| wanted(f.bits)).map(|f| (f.bucket, f.customer_id.clone())).collect()
        };
        Ok(if self.audience == 0 {
            Inside::AllBut(of(&|bits| bits & self.excluded != 0))
        } else {
            Inside::Only(of(&|bits| bits & self.audience != 0 && bits & self.excluded == 0))
        })
    }

    /// The members of a bucket range: the kept ones, or decided now when another refresh has begun since.
    async fn of(&self, db: &Db, first: i64, last: i64) -> DbResult<Vec<segment::Member>> {
        if let Some(kept) = &self.kept
            && let Some(members) = kept.members(db, self.prepared.names(), first, last).await?
        {
            return Ok(members);
        }
        self.prepared.evaluate(db, first, last).await
    }
}

/// The audience of a bucket range.
enum Inside {
    Only(BTreeSet<(i64, String)>),
    /// Everyone but the excluded.
    AllBut(BTreeSet<(i64, String)>),
}

impl Inside {
    fn holds(&self, bucket: i64, customer_id: &str) -> bool {
        let has = |set: &BTreeSet<(i64, String)>| set.contains(&(bucket, customer_id.to_owned()));
        match self {
            Inside::Only(members) => has(members),
            Inside::AllBut(excluded) => !has(excluded),
        }
    }
}

/// Whether the template skips a person with this payload.
pub type Skips<'s> = &'s (dyn Fn(&Candidate, &serde_json::Value) -> bool + Sync);

/// A member of the audience and what was decided.
#[derive(Debug, Clone)]
pub struct Decided {
    pub candidate: Candidate,
    pub verdict: Verdict,
    /// Products for them, when the campaign recommends any.
    pub recommended: Vec<Recommended>,
    /// The pool that they are given something from.
    pub reward: Option<String>,
}

impl<'a> Planning<'a> {
    /// Compile segments and rules for a step of a campaign. `fields` are what the campaign's templates use.
    pub async fn prepare(
        db: &Db,
        settings: &'a Settings,
        library: &segment::Library,
        (campaign, step): (&'a Campaign, &'a Step),
        fields: FieldSet,
        as_of: Millis,
    ) -> Result<Planning<'a>, PlanError> {
        let segments = Members::prepare(db, settings, library, campaign, as_of).await?;
        let recommender = match &step.recommend {
            Some(recommend) => Some(Recommender::prepare(db, recommend.asked.clone(), as_of).await?),
            None => None,
        };
        let (customers,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM customer", vec![]).await?;
        let buckets_per_range = (RANGE_CUSTOMERS * BUCKETS / customers.max(1)).clamp(1, BUCKETS);
        Ok(Planning {
            campaign,
            step,
            settings,
            as_of,
            rules: Rules::of(campaign, settings, as_of),
            timing: Timing::of(campaign, settings, None, as_of),
            moment: Moment::at(db, settings, as_of).await?,
            segments,
            recommender,
            fields,
            customers,
            buckets_per_range,
        })
    }

    /// Read memberships that are kept, as long as they are those of the planning instant; else they are decided here.
    pub fn with_kept(mut self, kept: Option<Kept>) -> Planning<'a> {
        let as_of = self.as_of;
        if let Some(members) = &mut self.segments {
            members.kept = kept.filter(|k| k.as_of() == as_of);
        }
        self
    }

    /// Plan for a slot of the campaign's schedule instead of for now.
    pub fn for_slot(mut self, slot: Option<Slot>) -> Planning<'a> {
        self.timing = Timing::of(self.campaign, self.settings, slot, self.as_of);
        self
    }

    /// The windows of audience and exclusions with their instants, one line each.
    pub fn windows(&self, library: &segment::Library) -> Vec<String> {
        let used = self.campaign.segments().into_iter().filter_map(|name| library.get(name));
        let mut lines: Vec<String> = used.flat_map(|s| segment::windows(&s.rule, library, &self.moment)).collect();
        lines.sort();
        lines.dedup();
        lines
    }

    /// Whether the database has any customer.
    pub fn knows_anybody(&self) -> bool {
        self.customers > 0
    }

    /// The arm of somebody who is mailed.
    pub fn arm(&self, customer_id: &str) -> &str {
        self.rules.arm(customer_id)
    }

    /// What the preference page calls the campaign's topic.
    pub fn topic_title(&self, locale: &str) -> &str {
        let topic = self.settings.topics.iter().find(|t| t.name == self.campaign.topic);
        topic.map_or(&self.campaign.topic, |t| t.title(locale))
    }

    /// The bucket ranges to be planned one after the other, from `first` on.
    pub fn ranges(&self, first: i64) -> impl Iterator<Item = (i64, i64)> + use<> {
        let step = self.buckets_per_range;
        (first..BUCKETS).step_by(step as usize).map(move |b| (b, (b + step - 1).min(BUCKETS - 1)))
    }

    /// The verdicts of a range, by bucket and customer. `spent` is what ranges before have used up.
    pub async fn verdicts(
        &self,
        db: &Db,
        (first, last): (i64, i64),
        this_run: &str,
        spent: &mut Spent,
        skips: Skips<'_>,
    ) -> DbResult<Vec<Decided>> {
        let members = match &self.segments {
            None => None,
            Some(m) => Some(m.inside(db, first, last).await?),
        };
        let listed = match &members {
            Some(Inside::Only(members)) => Some(members.iter().cloned().collect::<Vec<_>>()),
            Some(Inside::AllBut(_)) | None => None,
        };
        let mut candidates =
            candidates::load(db, &self.rules, &self.timing, (first, last), listed.as_deref(), this_run).await?;
        if let Some(members @ Inside::AllBut(_)) = &members {
            candidates.retain(|c| members.holds(c.bucket, &c.customer_id));
        }
        self.decide(db, candidates, spent, skips).await
    }

    /// The verdict for each of these members of the audience.
    async fn decide(
        &self,
        db: &Db,
        mut candidates: Vec<Candidate>,
        spent: &mut Spent,
        skips: Skips<'_>,
    ) -> DbResult<Vec<Decided>> {
        let mut recommended = self.recommend(db, &mut candidates).await?;
        self.ask_templates(db, &mut candidates, &recommended, skips).await?;
        // Whoever only enters now is given something with the step, when it is due.
        let gives = self.step.reward.is_some() && self.step.is_immediate();
        let tastes = if gives { self.tastes(db, &candidates).await? } else { HashMap::new() };
        let mut decided = Vec::with_capacity(candidates.len());
        for (at, mut candidate) in candidates.into_iter().enumerate() {
            let pool = if gives { self.suits(tastes.get(&at), spent) } else { None };
            candidate.no_reward_left = gives && pool.is_none() && self.needs_reward();
            let verdict = guard::verdict(&self.rules, &candidate, &mut spent.passed);
            // Who is withheld takes nothing away from those who are mailed.
            let pool = pool.filter(|_| verdict == Verdict::Send);
            if let Some(pool) = pool {
                spent.stock.take(&pool.name);
            }
            let recommended = recommended.remove(&at).unwrap_or_default();
            decided.push(Decided { candidate, verdict, recommended, reward: pool.map(|p| p.name.clone()) });
        }
        Ok(decided)
    }

    /// Mark those whom no guard bars so far and whom the template skips. Costs a render each, and nothing where no template skips anybody.
    async fn ask_templates(
        &self,
        db: &Db,
        candidates: &mut [Candidate],
        recommended: &HashMap<usize, Vec<Recommended>>,
        skips: Skips<'_>,
    ) -> DbResult<()> {
        if !self.fields.skips {
            return Ok(());
        }
        let open: Vec<usize> =
            (0..candidates.len()).filter(|at| guard::barred(&self.rules, &candidates[*at]).is_none()).collect();
        let people: Vec<(&Candidate, &[Recommended])> =
            open.iter().map(|at| (&candidates[*at], recommended.get(at).map_or(&[][..], Vec::as_slice))).collect();
        let mut payloads = self.payloads(db, &people).await?;
        for (payload, (candidate, _)) in payloads.iter_mut().zip(&people) {
            self.add_sample(candidate, payload);
        }
        let skipped: Vec<usize> = open
            .iter()
            .zip(&payloads)
            .filter(|(at, payload)| skips(&candidates[**at], payload))
            .map(|(at, _)| *at)
            .collect();
        for at in skipped {
            candidates[at].template_skips = true;
        }
        Ok(())
    }

    /// Products for those whom no guard bars so far, by their place; whoever gets none is marked.
    async fn recommend(&self, db: &Db, candidates: &mut [Candidate]) -> DbResult<HashMap<usize, Vec<Recommended>>> {
        let Some(recommender) = &self.recommender else { return Ok(HashMap::new()) };
        let open: Vec<usize> =
            (0..candidates.len()).filter(|at| guard::barred(&self.rules, &candidates[*at]).is_none()).collect();
        let people: Vec<(i64, &str)> =
            open.iter().map(|at| (candidates[*at].bucket, &*candidates[*at].customer_id)).collect();
        let found = recommender.of_people(db, &people).await?;
        for (at, found) in open.iter().zip(&found) {
            candidates[*at].nothing_to_recommend = found.is_empty();
        }
        Ok(open.into_iter().zip(found).collect())
    }

    /// What the messages of these people carry: JSON with the fields the templates use, in the order asked.
    pub async fn payloads(&self, db: &Db, people: &[(&Candidate, &[Recommended])]) -> DbResult<Vec<serde_json::Value>> {
        let candidates: Vec<&Candidate> = people.iter().map(|(candidate, _)| *candidate).collect();
        let mut payloads = payload::build(db, self.settings, &self.fields, &self.moment, &candidates).await?;
        if self.recommender.is_some() {
            for (payload, (_, recommended)) in payloads.iter_mut().zip(people) {
                payload::add_recommended(payload, recommended);
            }
        }
        Ok(payloads)
    }
}

/// What a message to one customer would carry at an instant: for previews. With products `asked` for, `recommend` is among it, and empty when
/// there is nothing.
pub async fn payload_of(
    db: &Db,
    settings: &Settings,
    fields: &FieldSet,
    asked: Option<&Asked>,
    as_of: Millis,
    customer_id: &str,
) -> DbResult<serde_json::Value> {
    let moment = Moment::at(db, settings, as_of).await?;
    let bucket = bucket_of(customer_id);
    let person = Candidate { bucket, customer_id: customer_id.to_owned(), ..Candidate::default() };
    let mut payloads = payload::build(db, settings, fields, &moment, &[&person]).await?;
    let mut payload = payloads.pop().expect("one payload for one person");
    if let Some(asked) = asked {
        let recommender = Recommender::prepare(db, asked.clone(), as_of).await?;
        let found = recommender.of_people(db, &[(bucket, customer_id)]).await?;
        payload::add_recommended(&mut payload, &found[0]);
    }
    Ok(payload)
}

/// Why a campaign could not be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Segment(#[from] segment::CompileError),
    #[error(transparent)]
    Condition(#[from] segment::condition::ConditionError),
    #[error(transparent)]
    Db(#[from] crate::db::DbError),
}
