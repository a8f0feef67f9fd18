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
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};
    use std::io::Read as _;

    use super::*;
    use crate::clock::{self, DAY};

    #[test]
    fn measures_are_as_computed_by_hand() {
        let case = Case::default();
        let cases = [(&case, vec![1, 2, 3]), (&case, vec![9])];
        let m = measure(Who::Popularity, &cases, |_| vec![7, 1, 5, 2, 6, 3]);
        assert_eq!((m.hit_rate, m.precision, m.recall), (0.5, 0.2, 1.0 / 3.0));
        let (dcg, ideal) = (1.0 / 3_f64.log2() + 1.0 / 5_f64.log2(), 1.0 + 1.0 / 3_f64.log2() + 0.5);
        assert!((m.ndcg - dcg / ideal / 2.0).abs() < 1e-12, "the sixth place does not count");
        let nobody = measure(Who::Popularity, &[], |_| vec![1]);
        assert_eq!((nobody.hit_rate, nobody.ndcg), (0.0, 0.0));
    }

    #[test]
    fn a_strategy_that_popularity_beats_is_named() {
        // Everybody buys bread next; only those with tea have jam as well, and nobody buys jam next.
        let mut learner = Learner::new(100 * DAY);
        let mut cases = Vec::new();
        for n in 0..20 {
            let things: &[&str] = if n < 8 { &["tea", "jam"] } else { &["bread"] };
            let owned: Vec<Owned> = things
                .iter()
                .map(|sku| Owned { product: learner.id(sku), times: 1, last_at: 99 * DAY, kept: true })
                .collect();
            learner.take(&owned);
            let bread = learner.id("bread");
            let owned = owned.into_iter().filter(|o| n >= 8 || o.product == learner.id("tea")).collect();
            cases.push(Case { owned, next: vec![bread] });
        }
        let (learnt, numbers) = learner.finish_numbered();
        for case in &mut cases {
            case.owned.iter_mut().for_each(|o| o.product = numbers[o.product as usize]);
            case.next.iter_mut().for_each(|p| *p = numbers[*p as usize]);
        }
        let told = evaluate(&learnt, |_| None, &cases, 20, 100 * DAY);
        assert_eq!((told.all_items.people, told.new_items.people), (20, 8));
        let of = |q: &Question, who: Who| q.measured.iter().find(|m| m.who == who).unwrap().hit_rate;
        assert_eq!(of(&told.new_items, Who::Popularity), 1.0);
        assert_eq!(of(&told.new_items, Who::Strategy(Strategy::Discover)), 0.0);
        let beaten: Vec<Strategy> = told.new_items.beaten().map(|(s, _)| s).collect();
        assert_eq!(beaten, [Strategy::Together, Strategy::Discover]);
    }

    #[test]
    fn nothing_to_try_is_told_as_nothing() {
        let told = evaluate(&Learnt::default(), |_| None, &[], 0, 0);
        assert_eq!((told.all_items.people, told.new_items.beaten().count()), (0, 0));
        let json = serde_json::to_value(&told).unwrap();
        assert_eq!(json["all_items"]["measured"][0]["who"], "popularity");
        assert_eq!(json["all_items"]["measured"][1]["who"], "again");
    }

    /// A gift shop in 2009 to 2011 (UCI Online Retail II, Chen 2019), cut on 2011-06-01.
    #[test]
    fn the_next_orders_of_a_gift_shop_are_foreseen_as_well_as_they_can_be() {
        let Some(shop) = GiftShop::load() else { return };
        let told = shop.backtest("2011-06-01");
        println!("{told:#?}");
        let of = |q: &Question, who: Who| q.measured.iter().find(|m| m.who == who).unwrap().hit_rate;
        let (all, new) = (&told.all_items, &told.new_items);
        assert!((2_150..2_250).contains(&all.people) && (1_950..2_050).contains(&new.people));
        let (popularity, again) = (of(all, Who::Popularity), of(all, Who::Strategy(Strategy::Again)));
        assert!((popularity - 0.358).abs() < 0.01 && again >= 0.69, "{again} against {popularity}");
        let (popularity, discover) = (of(new, Who::Popularity), of(new, Who::Strategy(Strategy::Discover)));
        assert!((popularity - 0.12).abs() < 0.01 && discover >= 0.24, "{discover} against {popularity}");
        assert!(of(new, Who::Strategy(Strategy::Together)) > popularity);
        assert!(of(new, Who::Strategy(Strategy::Popular)) > popularity);
        assert_eq!((all.beaten().count(), new.beaten().count()), (0, 0));
    }

    struct GiftShop {
        /// order → customer, instant.
        orders: HashMap<String, (u32, Millis)>,
        /// order, product.
        lines: Vec<(String, String)>,
    }

    impl GiftShop {
        fn load() -> Option<GiftShop> {
            let folder = std::env::var("OKAERI_DATA").unwrap_or_else(|_| "../shared/data".to_owned());
            let read = |name: &str| {
                let file = std::fs::File::open(format!("{folder}/{name}")).ok()?;
                let mut text = String::new();
                flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
                Some(text)
            };
            let (Some(orders), Some(lines)) = (read("ukretail_orders.csv.gz"), read("ukretail_lines.csv.gz")) else {
                eprintln!("not run: {folder}/ukretail_lines.csv.gz is not there (OKAERI_DATA names the folder)");
                return None;
            };
            let rows = |text: &str| -> Vec<Vec<String>> {
                text.lines().skip(1).map(|l| l.split(',').map(str::to_owned).collect()).collect()
            };
            let orders = rows(&orders)
                .into_iter()
                .filter(|r| r[5] == "0" && r[3].parse::<f64>().unwrap() > 0.0)
                .map(|r| {
                    let at = clock::parse_instant(&r[2], &jiff::tz::TimeZone::UTC).unwrap();
                    (r[0].clone(), (r[1].parse().unwrap(), at))
                })
                .collect();
            let bought = |l: &Vec<String>| l[2].parse::<i64>().unwrap() > 0 && l[3].parse::<f64>().unwrap() > 0.0;
            let lines = rows(&lines).into_iter().filter(bought).map(|l| (l[0].clone(), l[1].clone())).collect();
            Some(GiftShop { orders, lines })
        }

        fn backtest(&self, cut: &str) -> Backtest {
            #[derive(Default)]
            struct Customer<'s> {
                orders: HashSet<&'s str>,
                had: BTreeMap<&'s str, (HashSet<&'s str>, Millis)>,
                next: Option<(Millis, &'s str)>,
                bought_next: HashSet<&'s str>,
            }
            let cut = clock::parse_instant(cut, &jiff::tz::TimeZone::UTC).unwrap();
            let mut customers: BTreeMap<u32, Customer<'_>> = BTreeMap::new();
            for (order, product) in &self.lines {
                let Some((customer, at)) = self.orders.get(order) else { continue };
                let c = customers.entry(*customer).or_default();
                if *at < cut {
                    c.orders.insert(order);
                    let (orders, last) = c.had.entry(product).or_default();
                    orders.insert(order);
                    *last = (*last).max(*at);
                    continue;
                }
                if c.next.is_none_or(|next| (*at, order.as_str()) < next) {
                    c.next = Some((*at, order));
                    c.bought_next.clear();
                }
                if c.next == Some((*at, order)) {
                    c.bought_next.insert(product);
                }
            }
            let mut learner = Learner::new(cut);
            let mut cases = Vec::new();
            for c in customers.values().filter(|c| !c.had.is_empty()) {
                let owned: Vec<Owned> = c
                    .had
                    .iter()
                    .map(|(sku, (orders, last_at))| Owned {
                        product: learner.id(sku),
                        times: orders.len() as u32,
                        last_at: *last_at,
                        kept: true,
                    })
                    .collect();
                learner.take(&owned);
                if c.orders.len() >= ORDERS_MIN as usize && c.next.is_some() {
                    cases.push(Case { owned, next: c.bought_next.iter().map(|sku| learner.id(sku)).collect() });
                }
            }
            let people = learner.customers();
            let (learnt, numbers) = learner.finish_numbered();
            for case in &mut cases {
                case.owned.iter_mut().for_each(|o| o.product = numbers[o.product as usize]);
                case.next.iter_mut().for_each(|p| *p = numbers[*p as usize]);
            }
            evaluate(&learnt, |_| None, &cases, people, cut)
        }
    }
}
