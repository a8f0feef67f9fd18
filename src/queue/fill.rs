//! Fill: from plan to ledger. Bucket range by bucket range, verdicts become rows, and every message is rendered once before any may leave.
//!
//! Resumable: the run remembers the next bucket, in the transaction that wrote those before. A message that cannot be rendered stops the
//! run before it is `ready`, so nothing of it has left ([`super::proof`]); somebody of every rare shape is looked at before all others, so that
//! this is told early. [`rehearse`](Filling::rehearse) does the same without writing, for `okaeri plan`.

use std::collections::BTreeMap;

use crate::args;
use crate::clock::{self, Millis};
use crate::db::{BUCKETS, Conflict, Db, DbResult, Tx, Value};
use crate::message::{ComposeError, Composer, MessageFacts};
use crate::offer::recommend::Recommended;
use crate::plan::{Candidate, Carried, Planning, Reason, Receiver, Rewarded, Spent, Verdict, payload};
use crate::suppression::Kind;
use crate::token::Tokens;

use super::enqueue::{self, Batch, Draft};
use super::proof::Proof;
use super::run::{self, Run};
use super::wave;

/// The columns of an entry, as they are written here.
const ENTRY: [&str; 8] = ["bucket", "customer_id", "campaign", "slot", "run_id", "arm", "entered_at", "due_at"];
/// Recipients kept as examples.
const SAMPLES_MAX: usize = 5;

/// People by verdict and reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<(&'static str, &'static str), i64>);

impl Tally {
    pub(super) fn count(&mut self, verdict: Verdict) {
        *self.0.entry((verdict.word(), verdict.reason().map_or("", |r| r.word()))).or_default() += 1;
    }

    /// (verdict, reason, people); the reason of a send is empty.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, i64)> {
        self.0.iter().map(|((verdict, reason), people)| (*verdict, *reason, *people))
    }

    /// People with this verdict.
    pub fn of(&self, verdict: &str) -> i64 {
        self.rows().filter(|(v, ..)| *v == verdict).map(|(.., n)| n).sum()
    }

    /// People skipped for this reason.
    pub fn because(&self, reason: Reason) -> i64 {
        self.0.get(&("skip", reason.word())).copied().unwrap_or(0)
    }

    /// The whole audience.
    pub fn audience(&self) -> i64 {
        self.0.values().sum()
    }

    /// Add them to those of a run.
    pub(super) async fn add_to(&self, tx: &mut Tx, run_id: &str) -> DbResult<()> {
        for (verdict, reason, people) in self.rows() {
            tx.execute(
                "INSERT INTO run_verdict (run_id, verdict, reason, people) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (run_id, verdict, reason) DO UPDATE SET people = run_verdict.people + excluded.people",
                args![run_id, verdict, reason, people],
            )
            .await?;
        }
        Ok(())
    }

    fn add(&mut self, other: &Tally) {
        for (key, people) in &other.0 {
            *self.0.entry(*key).or_default() += people;
        }
    }
}

/// Someone who is mailed, as an example.
#[derive(Debug, Clone)]
pub struct Sample {
    pub candidate: Candidate,
    pub payload: serde_json::Value,
}

/// What filling came to.
#[derive(Debug, Clone, Default)]
pub struct Filled {
    pub tally: Tally,
    pub proof: Proof,
    /// Nobody was planned for good yet: a fault was found among those who are looked at first.
    pub ended_early: bool,
    /// People for whom a reward is missing that the run cannot do without.
    pub short: i64,
    /// What is taken of the pools.
    pub rewards: Vec<Rewarded>,
    pub samples: Vec<Sample>,
}

/// What filling needs beside the plan.
pub struct Filling<'a> {
    pub planning: &'a Planning<'a>,
    pub composer: &'a Composer,
    pub tokens: &'a Tokens,
    pub slot: &'a str,
    /// Set when `--at` moved the planning instant.
    pub leave_at: Option<Millis>,
}

/// Somebody a message is written for.
pub(super) struct Recipient<'a> {
    pub candidate: &'a Candidate,
    pub recommended: &'a [Recommended],
    /// Of their entry.
    pub slot: String,
    pub arm: String,
    pub withheld: bool,
    /// The pool that they are given something from.
    pub reward: Option<&'a str>,
}

/// Where the codes of rewards come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codes {
    /// Nobody is given any.
    Invented,
    /// From the pools.
    SetApart,
}

/// What the ranges before came to.
struct SoFar {
    spent: Spent,
    /// Messages of the first wave.
    first_wave: u64,
}

/// The rows of one range.
struct Range {
    entries: Vec<Value>,
    drafts: Vec<Draft>,
    skips: Vec<Value>,
    tally: Tally,
    filled: Filled,
}

impl Filling<'_> {
    /// Decide, render and count everything; write nothing.
    pub async fn rehearse(&self, db: &Db) -> DbResult<Filled> {
        let mut filled = Filled::default();
        let mut so_far = SoFar { spent: self.planning.begin(db, 0).await?, first_wave: 0 };
        for range in self.planning.ranges(0) {
            let range = self.range(db, range, "", Codes::Invented, &mut so_far).await?;
            let range = range.expect("invented codes do not run out");
            filled.take(range.filled, &range.tally);
        }
        filled.rewards = self.planning.rewarded(&so_far.spent);
        Ok(filled)
    }

    /// Write the run's rows, from where it stands to the end. Stops at the first range with a message that cannot be rendered;
    /// `keep` is asked before every range and ends the work early when it is false (the lease on planning was lost).
    pub async fn fill(&self, db: &Db, run: &Run, mut keep: impl AsyncFnMut() -> bool) -> DbResult<Option<Filled>> {
        if run.next_bucket == 0 {
            let Some(first) = self.look_first(db, run, &mut keep).await? else { return Ok(None) };
            if first.proof.failed > 0 {
                return Ok(Some(first));
            }
        }
        let mut filled = Filled::default();
        let mut so_far = SoFar {
            spent: self.planning.begin(db, passed_so_far(db, &run.run_id).await?).await?,
            first_wave: wave::chosen_so_far(db, &run.run_id).await?,
        };
        for (first, last) in self.planning.ranges(run.next_bucket) {
            if !keep().await {
                return Ok(None);
            }
            let range = self.range(db, (first, last), &run.run_id, Codes::SetApart, &mut so_far).await?;
            let Some(range) = range else { return Ok(None) };
            let stop = range.filled.stops();
            if !stop {
                let mut tx = db.begin().await?;
                if !self.write(&mut tx, run, &range, (first, last)).await? {
                    tx.rollback().await?;
                    return Ok(None);
                }
                tx.commit().await?;
            }
            filled.take(range.filled, &range.tally);
            if stop {
                break;
            }
        }
        if let Some(wave) = self.planning.campaign.first_wave {
            wave::settle_small(db, &run.run_id, wave.size).await?;
        }
        filled.rewards = self.planning.rewarded(&so_far.spent);
        Ok(Some(filled))
    }

    /// Render messages of every rare shape; what comes of it is not kept.
    async fn look_first(&self, db: &Db, run: &Run, keep: &mut impl AsyncFnMut() -> bool) -> DbResult<Option<Filled>> {
        let mut looked = Filled { ended_early: true, ..Filled::default() };
        let spent = self.planning.begin(db, 0).await?;
        for bucket in self.planning.shape_buckets(db).await? {
            if !keep().await {
                return Ok(None);
            }
            let mut so_far = SoFar { spent: spent.clone(), first_wave: 0 };
            let range = self.range(db, (bucket, bucket), &run.run_id, Codes::Invented, &mut so_far).await?;
            let range = range.expect("invented codes do not run out");
            looked.proof.append(range.filled.proof);
        }
        Ok(Some(looked))
    }

    /// `None` when somebody else took codes that were counted on.
    async fn range(
        &self,
        db: &Db,
        range: (i64, i64),
        run_id: &str,
        codes: Codes,
        so_far: &mut SoFar,
    ) -> DbResult<Option<Range>> {
        let skips = |c: &Candidate, payload: &serde_json::Value| self.skips(c, payload);
        let decided = self.planning.verdicts(db, range, run_id, &mut so_far.spent, &skips).await?;
        let mut tally = Tally::default();
        let mut skips = Vec::new();
        // Who does not enter a journey now is asked again at the next look: kept each time, it would be a list of everybody by the hour.
        let kept = self.planning.campaign.journey.is_none() || run_id.is_empty();
        for d in decided.iter().filter(|d| kept || !matches!(d.verdict, Verdict::Skip(_))) {
            tally.count(d.verdict);
            if let Verdict::Skip(reason) = d.verdict {
                let c = &d.candidate;
                skips.extend(args![c.bucket, &c.customer_id, run_id, reason.word()]);
            }
        }
        let going: Vec<Recipient> = decided
            .iter()
            .filter(|d| !matches!(d.verdict, Verdict::Skip(_)))
            .map(|d| Recipient {
                candidate: &d.candidate,
                recommended: &d.recommended,
                slot: self.slot_of(&d.candidate),
                arm: d
                    .verdict
                    .reason()
                    .map_or_else(|| self.planning.arm(&d.candidate.customer_id), |r| r.word())
                    .to_owned(),
                withheld: matches!(d.verdict, Verdict::Withheld(_)),
                reward: d.reward.as_deref(),
            })
            .collect();
        let mut entries = Vec::with_capacity(going.len() * ENTRY.len());
        for r in &going {
            let (c, campaign, as_of) = (r.candidate, &self.planning.campaign.key, self.planning.as_of);
            entries.extend(args![c.bucket, &c.customer_id, campaign, &r.slot, run_id, &r.arm, as_of, c.due_at]);
        }
        let mut filled = Filled { short: self.short(&tally), ..Filled::default() };
        // Whoever only enters now gets the first step when it is due (follow.rs).
        let mut drafts = Vec::new();
        if self.planning.step.is_immediate() {
            match self.drafts(db, &going, codes, &mut filled).await? {
                Some(all) => drafts = all,
                None => return Ok(None),
            }
        }
        if let Some(wave) = self.planning.campaign.first_wave {
            wave::choose(&mut drafts, wave.size, range, &mut so_far.first_wave);
        }
        Ok(Some(Range { entries, drafts, skips, tally, filled }))
    }

    /// People who cannot be given what the run cannot do without.
    pub(super) fn short(&self, tally: &Tally) -> i64 {
        if self.planning.stops_without_reward() { tally.because(Reason::NoRewardLeft) } else { 0 }
    }

    /// The key of somebody's entry: the run's slot, or in a journey the number of the entry.
    fn slot_of(&self, person: &Candidate) -> String {
        match self.planning.campaign.journey {
            Some(_) => format!("entry {}", person.entries + 1),
            None => self.slot.to_owned(),
        }
    }

    /// The messages of these people, each rendered once; `None` when somebody else took codes that were counted on.
    pub(super) async fn drafts(
        &self,
        db: &Db,
        going: &[Recipient<'_>],
        codes: Codes,
        filled: &mut Filled,
    ) -> DbResult<Option<Vec<Draft>>> {
        let people: Vec<(&Candidate, &[Recommended])> = going.iter().map(|r| (r.candidate, r.recommended)).collect();
        let mut payloads = self.planning.payloads(db, &people).await?;
        let Some(carried) = self.carried(db, going, codes).await? else { return Ok(None) };
        let mut issues = Vec::with_capacity(going.len());
        for (payload, carried) in payloads.iter_mut().zip(carried) {
            issues.push(carried.and_then(|Carried { told, issue }| {
                payload::add_reward(payload, told);
                issue
            }));
        }
        self.prove(going, &payloads, filled);
        let with_theirs = going.iter().zip(payloads).zip(issues);
        let draft = |((recipient, payload), issue)| Draft { reward: issue, ..self.draft(recipient, payload) };
        Ok(Some(with_theirs.map(draft).collect()))
    }

    /// What each of these people is given.
    async fn carried(&self, db: &Db, going: &[Recipient<'_>], codes: Codes) -> DbResult<Option<Vec<Option<Carried>>>> {
        let receivers: Vec<Option<Receiver<'_>>> = going
            .iter()
            .map(|r| r.reward.map(|pool| Receiver { candidate: r.candidate, locale: self.locale(r.candidate), pool }))
            .collect();
        match codes {
            Codes::Invented => Ok(Some(self.planning.rehearsed(&receivers))),
            Codes::SetApart => self.planning.set_apart(db, &receivers).await,
        }
    }

    /// Render the messages once, as they will leave.
    fn prove(&self, going: &[Recipient<'_>], payloads: &[serde_json::Value], filled: &mut Filled) {
        let mailed: Vec<(&Recipient<'_>, &serde_json::Value)> =
            going.iter().zip(payloads).filter(|(recipient, _)| !recipient.withheld).collect();
        let messages: Vec<MessageFacts<'_>> =
            mailed.iter().map(|(r, payload)| self.facts(r.candidate, &r.slot, &r.arm, payload)).collect();
        let rendered = filled.proof.render(self.composer, &messages, self.planning.as_of);
        let sound = mailed.iter().zip(rendered).filter(|(_, rendered)| *rendered).map(|(mailed, _)| mailed);
        for (recipient, payload) in sound.take(SAMPLES_MAX.saturating_sub(filled.samples.len())) {
            filled.samples.push(Sample { candidate: recipient.candidate.clone(), payload: (*payload).clone() });
        }
    }

    /// Whether the template says that this person gets no mail.
    pub(super) fn skips(&self, person: &Candidate, payload: &serde_json::Value) -> bool {
        let slot = self.slot_of(person);
        let facts = self.facts(person, &slot, self.planning.arm(&person.customer_id), payload);
        let rendered = self.composer.render(&facts, self.planning.as_of);
        matches!(rendered, Err(ComposeError::Render(e)) if e.skipped.is_some())
    }

    fn facts<'f>(
        &'f self,
        c: &'f Candidate,
        slot: &'f str,
        arm: &str,
        payload: &'f serde_json::Value,
    ) -> MessageFacts<'f> {
        let (campaign, step) = (self.planning.campaign, self.planning.step);
        MessageFacts {
            bucket: c.bucket,
            chunk_id: 0,
            seq: 0,
            customer_id: &c.customer_id,
            campaign: &campaign.key,
            campaign_title: &campaign.title,
            step: &step.name,
            slot,
            topic: &campaign.topic,
            topic_title: self.planning.topic_title(self.locale(c)),
            promotional: campaign.kind == Kind::Promotional,
            template: step.template_for(arm),
            locale: self.locale(c),
            message_id: "00000000000000000000000000000000",
            address: c.email.as_deref().unwrap_or_default(),
            payload,
        }
    }

    fn locale<'c>(&'c self, c: &'c Candidate) -> &'c str {
        c.locale.as_deref().unwrap_or(&self.planning.settings.default_locale)
    }

    fn draft(&self, recipient: &Recipient, payload: serde_json::Value) -> Draft {
        let (campaign, step) = (self.planning.campaign, self.planning.step);
        let c = recipient.candidate;
        let address = c.email.as_deref().and_then(|e| crate::address::Address::parse(e).ok());
        Draft {
            bucket: c.bucket,
            slot: recipient.slot.clone(),
            arm: recipient.arm.clone(),
            message_id: self.tokens.message_id(&campaign.key, &step.name, &recipient.slot, &c.customer_id),
            family: address.as_ref().map_or("other", |a| a.family()),
            address: address.map(|a| a.to_string()),
            address_key: c.address_key.clone(),
            locale: self.locale(c).to_owned(),
            payload: payload.to_string(),
            due_at: c.due_at,
            customer_id: c.customer_id.clone(),
            withheld: recipient.withheld,
            after_wave: false,
            reward: None,
        }
    }

    /// What the messages of a run have in common.
    pub(super) fn batch<'b>(&'b self, run: &'b Run) -> Batch<'b> {
        let campaign = self.planning.campaign;
        Batch {
            run_id: &run.run_id,
            campaign: &campaign.key,
            step: &self.planning.step.name,
            topic: &campaign.topic,
            kind: campaign.kind,
            leave_at: self.leave_at,
            relays: self.planning.settings.smtp.relays.iter().map(|r| (r.name.as_str(), r.weight)).collect(),
        }
    }

    /// False when the run is not ours to fill any more.
    async fn write(&self, tx: &mut Tx, run: &Run, range: &Range, (first, last): (i64, i64)) -> DbResult<bool> {
        let now = clock::now();
        tx.insert_rows("entry", &ENTRY, range.entries.clone(), Conflict::Keep).await?;
        if !enqueue::write(tx, &self.batch(run), &range.drafts, now).await? {
            return Ok(false);
        }
        let columns = ["bucket", "customer_id", "run_id", "reason"];
        tx.insert_rows("skip", &columns, range.skips.clone(), Conflict::Keep).await?;
        range.tally.add_to(tx, &run.run_id).await?;
        let next = (last + 1).min(BUCKETS);
        run::note_enqueued(tx, &run.run_id, (first, next), range.tally.audience(), now).await
    }
}

impl Filled {
    /// Whether the run must not go on: not every message can be rendered, or given what it promises.
    pub fn stops(&self) -> bool {
        self.proof.failed > 0 || self.short > 0
    }

    /// Add what another filling of the same run came to.
    pub fn append(&mut self, mut other: Filled) {
        let tally = std::mem::take(&mut other.tally);
        self.rewards.append(&mut other.rewards);
        self.take(other, &tally);
    }

    pub(super) fn take(&mut self, other: Filled, tally: &Tally) {
        self.tally.add(tally);
        self.proof.append(other.proof);
        self.ended_early |= other.ended_early;
        self.short += other.short;
        self.samples.extend(other.samples);
        self.samples.truncate(SAMPLES_MAX);
    }
}

/// How many came past the limit before an interruption.
async fn passed_so_far(db: &Db, run_id: &str) -> DbResult<u64> {
    let sql =
        "SELECT CAST(COALESCE(SUM(people), 0) AS BIGINT) FROM run_verdict WHERE run_id = $1 AND verdict <> 'skip'";
    let (people,): (i64,) = db.fetch_one(sql, args![run_id]).await?;
    Ok(people.unsigned_abs())
}
