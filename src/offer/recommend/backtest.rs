//! Proof on the shop's own past: learn from the orders before a day, recommend to whoever ordered again after it, and look what was in their
//! next order. The same learning and choosing as for mail; only stock and a campaign's rules are left out, because nobody knows what was in
//! stock then.
//!
//! Measured are the first five (Herlocker et al. 2004, §4): hit-rate (how many people bought one of them), precision (how many of the five were
//! bought), recall (how much of the order they were), nDCG (the same, earlier places counting more). The measure to beat is popularity: the five
//! products that most orders ever had, the same for everybody.

use serde::Serialize;

use super::bought;
use super::learn::{Learner, Learnt, Owned};
use super::{Asked, Chooser, Person, Standing, Strategy};
use crate::clock::Millis;
use crate::data::load;
use crate::db::{Db, DbResult};

/// Places looked at.
pub const PLACES: usize = 5;
/// Whoever is tried had so many orders before; of one order nothing can be seen of habit.
pub const ORDERS_MIN: i64 = 2;
/// A product that fewer customers had bought before counts neither as recommended nor as missed: nobody could know it.
pub const BUYERS_MIN: u32 = 5;
/// People tried at most.
const PEOPLE_MAX: usize = 20_000;

/// One person at the cut: what they had, and what their next order brought.
#[derive(Debug, Clone, Default)]
pub struct Case {
    pub owned: Vec<Owned>,
    pub next: Vec<u32>,
}

/// Who recommends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The same for everybody: what most orders ever had.
    Popularity,
    #[serde(untagged)]
    Strategy(Strategy),
}

/// How well the first five did, averaged over people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    pub who: Who,
    #[serde(rename = "hit_rate@5")]
    pub hit_rate: f64,
    /// Half of the 95 % interval of the hit-rate.
    pub plus_minus: f64,
    #[serde(rename = "precision@5")]
    pub precision: f64,
    #[serde(rename = "recall@5")]
    pub recall: f64,
    #[serde(rename = "ndcg@5")]
    pub ndcg: f64,
}

/// One question: everything in the next order, or only what the person did not have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Question {
    /// People whose next order had something to find.
    pub people: usize,
    pub measured: Vec<Measured>,
}

/// What the past says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backtest {
    /// Learnt from orders before this instant.
    pub cut: Millis,
    /// Customers and products learnt from.
    pub customers: usize,
    pub products: usize,
    pub all_items: Question,
    pub new_items: Question,
}

impl Question {
    /// What popularity did.
    pub fn popularity(&self) -> Option<&Measured> {
        self.measured.iter().find(|m| m.who == Who::Popularity)
    }

    /// Strategies that do worse than recommending the same to everybody.
    pub fn beaten(&self) -> impl Iterator<Item = (Strategy, &Measured)> {
        let bar = self.popularity().map_or(0.0, |m| m.hit_rate);
        self.measured.iter().filter_map(move |m| match m.who {
            Who::Strategy(strategy) if m.hit_rate < bar => Some((strategy, m)),
            _ => None,
        })
    }

    /// The strategy with the highest hit-rate.
    pub fn best(&self) -> Option<&Measured> {
        self.measured.iter().max_by(|a, b| a.hit_rate.total_cmp(&b.hit_rate))
    }
}

/// Try every strategy on the orders after `cut`.
pub async fn backtest(db: &Db, cut: Millis) -> DbResult<Backtest> {
    let mut learner = Learner::new(cut);
    let mut cases: Vec<Case> = Vec::new();
    for range in bought::ranges(db).await? {
        let rows = bought::of_range(db, range, cut).await?;
        let regulars: std::collections::HashSet<(i64, String)> =
            bought::with_orders(db, range, cut, ORDERS_MIN).await?.into_iter().collect();
        let next = bought::next_orders(db, range, cut).await?;
        let mut next = next.chunk_by(|a, b| (a.0, &a.1) == (b.0, &b.1)).map(|o| ((o[0].0, o[0].1.clone()), o));
        let mut next: std::collections::HashMap<_, _> = next.by_ref().collect();
        for rows in bought::by_customer(&rows) {
            let owned: Vec<Owned> = rows.iter().map(|r| r.owned(learner.id(&r.sku))).collect();
            learner.take(&owned);
            let who = (rows[0].bucket, rows[0].customer_id.clone());
            let ordered = next.remove(&who).filter(|_| regulars.contains(&who) && cases.len() < PEOPLE_MAX);
            if let Some(ordered) = ordered {
                let next = ordered.iter().map(|(_, _, sku)| learner.id(sku)).collect();
                cases.push(Case { owned, next });
            }
        }
        if learner.is_full() {
            break;
        }
    }
    let customers = learner.customers();
    let (learnt, numbers) = learner.finish_numbered();
    let renumber = |product: &mut u32| *product = numbers[*product as usize];
    for case in &mut cases {
        case.owned.iter_mut().for_each(|o| renumber(&mut o.product));
        case.next.iter_mut().for_each(renumber);
    }
    let skus: Vec<&str> = learnt.sold.iter().map(|s| &*s.sku).collect();
    let products = load::products(db, &skus).await?;
    let category = |sku: &str| products.get(sku)?.category.as_deref();
    Ok(evaluate(&learnt, category, &cases, customers, cut))
}

/// Measure on cases whose products are numbered as in `learnt`, and on from it.
pub fn evaluate<'c>(
    learnt: &'c Learnt,
    category: impl Fn(&str) -> Option<&'c str>,
    cases: &[Case],
    customers: usize,
    cut: Millis,
) -> Backtest {
    let mut names: Vec<&str> = learnt.sold.iter().filter_map(|s| category(&s.sku)).collect();
    names.sort_unstable();
    names.dedup();
    let number = |name: &str| names.binary_search(&name).ok().map(|at| at as u32);
    let standing: Vec<Standing> = learnt
        .sold
        .iter()
        .map(|s| Standing { allowed: s.buyers >= BUYERS_MIN, category: category(&s.sku).and_then(number) })
        .collect();
    let trial = Trial { learnt, standing: &standing, cases, cut };
    Backtest {
        cut,
        customers,
        products: learnt.sold.len(),
        all_items: trial.question(&Strategy::ALL, false),
        new_items: trial.question(&[Strategy::Together, Strategy::Discover, Strategy::Popular], true),
    }
}

struct Trial<'a> {
    learnt: &'a Learnt,
    standing: &'a [Standing],
    cases: &'a [Case],
    cut: Millis,
}

impl Trial<'_> {
    fn question(&self, strategies: &[Strategy], only_new: bool) -> Question {
        let has = |case: &Case, product: u32| case.owned.iter().any(|o| o.product == product);
        let wanted = |case: &Case| -> Vec<u32> {
            let known = |p: &u32| self.standing.get(*p as usize).is_some_and(|s| s.allowed);
            case.next.iter().copied().filter(|p| known(p) && !(only_new && has(case, *p))).collect()
        };
        let cases: Vec<(&Case, Vec<u32>)> =
            self.cases.iter().map(|c| (c, wanted(c))).filter(|(_, wanted)| !wanted.is_empty()).collect();

        let mut popular: Vec<u32> =
            (0..self.standing.len() as u32).filter(|p| self.standing[*p as usize].allowed).collect();
        popular.sort_by_key(|p| std::cmp::Reverse(self.learnt.sold[*p as usize].orders));
        let same_for_all = |case: &Case| -> Vec<u32> {
            popular.iter().copied().filter(|p| !(only_new && has(case, *p))).take(PLACES).collect()
        };
        let mut measured = vec![measure(Who::Popularity, &cases, same_for_all)];
        for strategy in strategies {
            let asked = Asked { exclude_owned: only_new, ..Asked::of(&[*strategy], PLACES) };
            let chooser = Chooser::new(self.learnt, self.standing, &asked, self.cut);
            let chosen = |case: &Case| -> Vec<u32> {
                let person = Person { owned: &case.owned, further: &[] };
                chooser.choose(person).into_iter().map(|p| p.product).collect()
            };
            measured.push(measure(Who::Strategy(*strategy), &cases, chosen));
        }
        Question { people: cases.len(), measured }
    }
}

fn measure(who: Who, cases: &[(&Case, Vec<u32>)], chosen: impl Fn(&Case) -> Vec<u32>) -> Measured {
    // A place's worth: 1 / log2(place + 1), places from 1.
    let worth = |at: usize| 1.0 / ((at + 2) as f64).log2();
    let [mut hits, mut precision, mut recall, mut ndcg] = [0.0; 4];
    for (case, wanted) in cases {
        let found: Vec<usize> = chosen(case)
            .iter()
            .take(PLACES)
            .enumerate()
            .filter(|(_, p)| wanted.contains(p))
            .map(|(at, _)| at)
            .collect();
        let n = found.len() as f64;
        hits += f64::from(u8::from(!found.is_empty()));
        precision += n / PLACES as f64;
        recall += n / wanted.len() as f64;
        let ideal: f64 = (0..wanted.len().min(PLACES)).map(worth).sum();
        ndcg += found.into_iter().map(worth).sum::<f64>() / ideal;
    }
    let people = (cases.len() as f64).max(1.0);
    let hit_rate = hits / people;
    let plus_minus = 1.96 * (hit_rate * (1.0 - hit_rate) / people).sqrt();
    Measured { who, hit_rate, plus_minus, precision: precision / people, recall: recall / people, ndcg: ndcg / people }
}

#[cfg(test)]
#[path = "backtest_tests.rs"]
mod tests;
