//! Rewards of a plan: which pool suits whom, what is left while people are decided about, and the codes that are set apart for their messages.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;

use super::candidates::Candidate;
use super::guard;
use super::{Planning, payload};
use crate::campaign::{ChooseBy, WhenNoneLeft};
use crate::clock;
use crate::db::{Db, DbResult};
use crate::offer::reward::{self, Issue, Reserved, Stock};
use crate::profile;
use crate::settings::RewardPool;

/// What the ranges of a plan have used up so far.
#[derive(Debug, Clone, Default)]
pub struct Spent {
    /// People whom the limit let through, mailed and withheld alike.
    pub passed: u64,
    pub(super) stock: Stock,
}

/// What a plan takes of a pool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rewarded {
    pub pool: String,
    /// Rewards for the people it mails.
    pub needed: i64,
    /// What the pool had; `None`: no end to them.
    pub left: Option<i64>,
    /// If everybody uses theirs; minor units.
    pub cost: i64,
}

/// A reward as one message carries it.
pub struct Carried {
    /// What the template is told.
    pub told: Json,
    /// What the ledger keeps; nothing in a rehearsal.
    pub issue: Option<Issue>,
}

/// Somebody who is given something: their bucket, locale and moment, and the pool.
pub struct Receiver<'r> {
    pub candidate: &'r Candidate,
    pub locale: &'r str,
    pub pool: &'r str,
}

impl<'a> Planning<'a> {
    /// A plan that begins, or goes on where `passed` came past the limit: with what is left now.
    pub async fn begin(&self, db: &Db, passed: u64) -> DbResult<Spent> {
        let stock = Stock::load(db, &self.pools(), self.as_of, &self.settings.time_zone).await?;
        Ok(Spent { passed, stock })
    }

    /// What was taken of each pool.
    pub fn rewarded(&self, spent: &Spent) -> Vec<Rewarded> {
        let cost = |pool: &str| self.settings.reward(pool).map_or(0, |p| p.cost);
        let row = |(pool, left, needed): (&str, Option<i64>, i64)| Rewarded {
            pool: pool.to_owned(),
            needed,
            left,
            cost: needed * cost(pool),
        };
        spent.stock.rows().map(row).collect()
    }

    /// Whether the whole run stops when a reward is missing.
    pub fn stops_without_reward(&self) -> bool {
        self.step.reward.as_ref().is_some_and(|r| r.when_none_left == WhenNoneLeft::Stop)
    }

    /// The pools of the step, in the order of its file.
    fn pools(&self) -> Vec<&'a RewardPool> {
        let named = self.step.reward.iter().flat_map(|r| &r.pools);
        named.filter_map(|name| self.settings.reward(name)).collect()
    }

    /// For those whom no guard bars: the pools in the order in which they suit them. Nobody is in it where the order of the file holds for all.
    pub(super) async fn tastes(&self, db: &Db, candidates: &[Candidate]) -> DbResult<HashMap<usize, Vec<usize>>> {
        let by_taste = self.step.reward.as_ref().is_some_and(|r| r.choose_by == ChooseBy::Affinity);
        if !by_taste {
            return Ok(HashMap::new());
        }
        let pools = self.pools();
        let mut in_bucket: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (at, c) in candidates.iter().enumerate().filter(|(_, c)| guard::barred(&self.rules, c).is_none()) {
            in_bucket.entry(c.bucket).or_default().push(at);
        }
        let mut tastes = HashMap::new();
        for (bucket, people) in in_bucket {
            let ids: Vec<String> = people.iter().map(|at| candidates[*at].customer_id.clone()).collect();
            let facts = profile::load(db, bucket, &ids).await?;
            let affinity: HashMap<String, BTreeMap<String, f64>> =
                facts.into_iter().map(|f| (f.customer_id.clone(), f.view(&self.moment).affinity)).collect();
            for (at, id) in people.into_iter().zip(&ids) {
                let of_person = affinity.get(id).into_iter().flatten();
                let order = reward::in_order_of_taste(&pools, of_person.map(|(category, share)| (&**category, *share)));
                tastes.insert(at, order);
            }
        }
        Ok(tastes)
    }

    /// The pool that somebody is given something from: of those with one left, the one that suits them most.
    pub(super) fn suits(&self, taste: Option<&Vec<usize>>, spent: &Spent) -> Option<&'a RewardPool> {
        let pools = self.pools();
        let order = taste.cloned().unwrap_or_else(|| (0..pools.len()).collect());
        order.into_iter().map(|at| pools[at]).find(|pool| spent.stock.has(&pool.name))
    }

    /// Whether somebody for whom there is no reward gets no mail.
    pub(super) fn needs_reward(&self) -> bool {
        self.step.reward.as_ref().is_some_and(|r| r.when_none_left != WhenNoneLeft::Send)
    }

    /// A reward that is nobody's, so that a template can be asked what it says.
    pub(super) fn add_sample(&self, candidate: &Candidate, payload: &mut Json) {
        let Some(pool) = self.pools().first().copied() else { return };
        let locale = candidate.locale.as_deref().unwrap_or(&self.settings.default_locale);
        payload::add_reward(payload, pool.sample(locale, clock::date_in(self.as_of, &self.settings.time_zone)));
    }

    /// What each of these people is given, with codes that are nobody's.
    pub fn rehearsed(&self, receivers: &[Option<Receiver<'_>>]) -> Vec<Option<Carried>> {
        let today = clock::date_in(self.as_of, &self.settings.time_zone);
        let carried = |r: &Receiver<'_>| {
            let pool = self.settings.reward(r.pool)?;
            Some(Carried { told: pool.sample(r.locale, today), issue: None })
        };
        receivers.iter().map(|r| r.as_ref().and_then(carried)).collect()
    }

    /// What each of these people is given, with codes set apart for them; `None` when somebody else took some meanwhile. They are theirs once the
    /// transaction that writes their messages has found them free.
    pub async fn set_apart(
        &self,
        db: &Db,
        receivers: &[Option<Receiver<'_>>],
    ) -> DbResult<Option<Vec<Option<Carried>>>> {
        let mut wanted: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
        for r in receivers.iter().flatten() {
            wanted.entry(r.pool).or_insert((0, r.candidate.bucket)).0 += 1;
        }
        let mut codes: BTreeMap<&str, Vec<Reserved>> = BTreeMap::new();
        for (name, (wanted, from)) in wanted {
            let pool = self.settings.reward(name).filter(|pool| pool.codes != crate::settings::rewards::Codes::None);
            let Some(pool) = pool else { continue };
            let reserved = reward::reserve(db, pool, wanted, from, self.as_of).await?;
            if reserved.len() < wanted {
                return Ok(None);
            }
            codes.insert(name, reserved);
        }
        let zone = &self.settings.time_zone;
        let mut carried = |r: &Receiver<'_>| {
            let pool = self.settings.reward(r.pool)?;
            let code = codes.get_mut(r.pool).and_then(Vec::pop);
            let issue = Issue::of(pool, code, pool.expires_at(r.candidate.due_at, zone));
            let expires_on = issue.expires_at.map(|at| clock::date_in(at - 1, zone)); // the day that still belongs to it
            let code = issue.code.as_ref().map(|c| c.code.as_str());
            Some(Carried { told: pool.for_templates(r.locale, code, expires_on), issue: Some(issue) })
        };
        Ok(Some(receivers.iter().map(|r| r.as_ref().and_then(&mut carried)).collect()))
    }
}
