//! Choosing for one person: pure. What was learnt of everybody, what this person bought, and what a campaign asks for; out come products
//! in order, each with why.
//!
//! The numbers below were chosen on two cuts of a gift shop's two years; `docs/decisions/0011-recommendations.md` says what they were compared with.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::learn::{Learnt, Neighbour, Owned};
use super::{Asked, Strategy};
use crate::clock::{DAY, Millis};

/// What was bought so long ago counts half as much for `discover`.
const HALF_LIFE_DAYS: f64 = 180.0;
/// `together` goes with what was bought in so many days up to the person's last order.
const TOGETHER_DAYS: i64 = 30;
/// Products named as the reason for a recommendation.
const BECAUSE_MAX: usize = 2;
/// Categories of a person, for `popular`: those they bought from most often.
const CATEGORIES_MAX: usize = 5;

/// What the rules say of a product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// It is known, in stock, and the campaign's categories let it in.
    pub allowed: bool,
    /// Its category, by any numbering.
    pub category: Option<u32>,
}

/// A product chosen for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    pub product: u32,
    pub strategy: Strategy,
    /// What they bought that speaks for it; the strongest first.
    pub because: Vec<u32>,
    /// Orders of theirs that had it.
    pub bought: u32,
}

/// Chooses by one request, for anybody.
pub struct Chooser<'a> {
    learnt: &'a Learnt,
    asked: &'a Asked,
    /// Of the learnt products, by their number.
    standing: &'a [Standing],
    /// The allowed ones that most people bought lately, first.
    popular: Vec<u32>,
    as_of: Millis,
}

/// One person: what they bought, and the standing of products beyond the learnt ones, numbered on from them.
#[derive(Debug, Clone, Copy)]
pub struct Person<'p> {
    pub owned: &'p [Owned],
    pub further: &'p [Standing],
}

impl<'a> Chooser<'a> {
    /// `standing` has an entry for each learnt product.
    pub fn new(learnt: &'a Learnt, standing: &'a [Standing], asked: &'a Asked, as_of: Millis) -> Chooser<'a> {
        let mut popular: Vec<u32> = (0..learnt.sold.len() as u32).filter(|p| standing[*p as usize].allowed).collect();
        let of = |p: &u32| {
            let sold = &learnt.sold[*p as usize];
            (sold.recent_buyers, sold.buyers)
        };
        // Stable: where both are equal the learnt order stands, which ends with the name.
        popular.sort_by_key(|p| std::cmp::Reverse(of(p)));
        Chooser { learnt, asked, standing, popular, as_of }
    }

    /// At most as many as asked for; strategies in their order, each product once.
    pub fn choose(&self, person: Person<'_>) -> Vec<Pick> {
        let times: HashMap<u32, u32> = person.owned.iter().map(|o| (o.product, o.times)).collect();
        let mut picks: Vec<Pick> = Vec::with_capacity(self.asked.count);
        for strategy in &self.asked.strategies {
            if picks.len() >= self.asked.count {
                break;
            }
            let found = match strategy {
                Strategy::Again => self.again(person),
                Strategy::Together | Strategy::Discover => self.near(person, *strategy, &times),
                Strategy::Popular => self.popular(person, &times),
            };
            for product in found {
                if picks.len() < self.asked.count && picks.iter().all(|p| p.product != product) {
                    let because = self.because(person, *strategy, product);
                    let bought = times.get(&product).copied().unwrap_or(0);
                    picks.push(Pick { product, strategy: *strategy, because, bought });
                }
            }
        }
        picks
    }

    /// How many a strategy must find so that enough are left when earlier ones took all the same.
    fn enough(&self) -> usize {
        2 * self.asked.count
    }

    fn standing(&self, person: Person<'_>, product: u32) -> Standing {
        let at = product as usize;
        match at.checked_sub(self.standing.len()) {
            None => self.standing[at],
            Some(at) => person.further.get(at).copied().unwrap_or_default(),
        }
    }

    /// Whether a learnt product may be offered to somebody with these.
    fn offered(&self, product: u32, times: &HashMap<u32, u32>) -> bool {
        self.standing[product as usize].allowed && !(self.asked.exclude_owned && times.contains_key(&product))
    }

    /// What they bought most often; ties go to what everybody orders more, then to the latest.
    fn again(&self, person: Person<'_>) -> Vec<u32> {
        let mut owned: Vec<&Owned> =
            person.owned.iter().filter(|o| o.kept && self.standing(person, o.product).allowed).collect();
        let rank = |o: &Owned| {
            let orders = self.learnt.sold.get(o.product as usize).map_or(0, |s| s.orders);
            (o.times, orders, o.last_at)
        };
        owned.sort_by(|a, b| rank(b).cmp(&rank(a)).then(a.product.cmp(&b.product)));
        owned.iter().take(self.enough()).map(|o| o.product).collect()
    }

    /// What is near the things they bought, in sum: all of them with later ones counting more, or those of the last weeks.
    fn near(&self, person: Person<'_>, strategy: Strategy, times: &HashMap<u32, u32>) -> Vec<u32> {
        let mut scores: HashMap<u32, f64> = HashMap::new();
        for (o, weight) in self.weighted(person, strategy) {
            for n in self.neighbours(o.product) {
                *scores.entry(n.product).or_default() += weight * n.cosine;
            }
        }
        let mut best: Vec<(u32, f64)> = scores.into_iter().filter(|(p, _)| self.offered(*p, times)).collect();
        best.sort_by(by_score);
        best.into_iter().take(self.enough()).map(|(product, _)| product).collect()
    }

    /// What they bought that speaks for a product; the strongest first.
    fn because(&self, person: Person<'_>, strategy: Strategy, product: u32) -> Vec<u32> {
        if !matches!(strategy, Strategy::Together | Strategy::Discover) {
            return Vec::new();
        }
        let mut reasons: Vec<(u32, f64)> = self
            .weighted(person, strategy)
            .filter_map(|(o, weight)| {
                let found = self.neighbours(o.product).find(|n| n.product == product)?;
                Some((o.product, weight * found.cosine))
            })
            .collect();
        reasons.sort_by(by_score);
        reasons.into_iter().take(BECAUSE_MAX).map(|(p, _)| p).collect()
    }

    /// What they bought and kept, with how much it says about what else they would like.
    fn weighted<'p>(&self, person: Person<'p>, strategy: Strategy) -> impl Iterator<Item = (&'p Owned, f64)> + use<'p> {
        let last = person.owned.iter().map(|o| o.last_at).max().unwrap_or(0);
        let as_of = self.as_of;
        person.owned.iter().filter(|o| o.kept).filter_map(move |o| match strategy {
            Strategy::Together => (o.last_at > last - TOGETHER_DAYS * DAY).then_some((o, 1.0)),
            _ => Some((o, 0.5_f64.powf((as_of - o.last_at) as f64 / DAY as f64 / HALF_LIFE_DAYS))),
        })
    }

    fn neighbours(&self, product: u32) -> impl Iterator<Item = &Neighbour> {
        let near = self.learnt.neighbours.get(product as usize).map_or(&[][..], Vec::as_slice);
        near.iter().filter(|n| n.support >= self.asked.min_support)
    }

    /// What most people bought lately: in the person's own categories first, then anywhere.
    fn popular(&self, person: Person<'_>, times: &HashMap<u32, u32>) -> Vec<u32> {
        let own = self.categories(person);
        let is_own = |p: u32| self.standing[p as usize].category.is_some_and(|c| own.contains(&c));
        let of = |own: bool| {
            let found = self.popular.iter().copied().filter(move |p| is_own(*p) == own);
            found.filter(|p| self.offered(*p, times)).take(self.enough())
        };
        of(true).chain(of(false)).collect()
    }

    fn categories(&self, person: Person<'_>) -> Vec<u32> {
        let mut counts: HashMap<u32, u64> = HashMap::new();
        for o in person.owned {
            if let Some(category) = self.standing(person, o.product).category {
                *counts.entry(category).or_default() += u64::from(o.times);
            }
        }
        let mut counts: Vec<(u32, u64)> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        counts.truncate(CATEGORIES_MAX);
        counts.into_iter().map(|(c, _)| c).collect()
    }
}

/// The higher score first; of equal ones the product with more buyers, which has the smaller number.
fn by_score(a: &(u32, f64), b: &(u32, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::super::learn::Learner;
    use super::*;

    const NOW: Millis = 1_000 * DAY;

    /// A shop of four who like tea, four who like pens, and one of each kind alone.
    struct Shop {
        learnt: Learnt,
        standing: Vec<Standing>,
    }

    fn shop() -> Shop {
        let mut learner = Learner::new(NOW);
        let people: [(&[&str], usize); 3] =
            [(&["tea", "cup", "pot", "towel"], 4), (&["pen", "ink", "paper"], 3), (&["tea", "towel"], 2)];
        for (things, n) in people {
            for _ in 0..n {
                let owned: Vec<Owned> = things
                    .iter()
                    .map(|sku| Owned { product: learner.id(sku), times: 1, last_at: NOW - 10 * DAY, kept: true })
                    .collect();
                learner.take(&owned);
            }
        }
        let learnt = learner.finish();
        let category = |sku: &str| u32::from(["pen", "ink", "paper"].contains(&sku));
        let standing =
            learnt.sold.iter().map(|s| Standing { allowed: true, category: Some(category(&s.sku)) }).collect();
        Shop { learnt, standing }
    }

    impl Shop {
        fn id(&self, sku: &str) -> u32 {
            self.learnt.sold.iter().position(|s| s.sku == sku).unwrap() as u32
        }

        fn owned(&self, sku: &str, times: u32, days_ago: i64) -> Owned {
            Owned { product: self.id(sku), times, last_at: NOW - days_ago * DAY, kept: true }
        }

        /// Chosen products; behind `<` those because of which.
        fn choose(&self, asked: &Asked, owned: &[Owned]) -> Vec<String> {
            let name = |p: u32| self.learnt.sold[p as usize].sku.clone();
            let picks = Chooser::new(&self.learnt, &self.standing, asked, NOW).choose(Person { owned, further: &[] });
            let said = |p: &Pick| match p.because.as_slice() {
                [] => name(p.product),
                because => {
                    format!("{} < {}", name(p.product), because.iter().map(|b| name(*b)).collect::<Vec<_>>().join(", "))
                }
            };
            picks.iter().map(said).collect()
        }
    }

    #[test]
    fn again_is_what_was_bought_most_then_what_everybody_orders_then_the_latest() {
        let shop = shop();
        let asked = Asked::of(&[Strategy::Again], 3);
        // tea and towel are ordered by six, cup and pot by four; pot is later than cup.
        let owned =
            [shop.owned("cup", 2, 50), shop.owned("pot", 2, 5), shop.owned("tea", 2, 400), shop.owned("pen", 3, 900)];
        assert_eq!(shop.choose(&asked, &owned), ["pen", "tea", "pot"]);
        let mut sent_back = owned;
        sent_back[3].kept = false;
        assert_eq!(shop.choose(&asked, &sent_back), ["tea", "pot", "cup"]);
        assert_eq!(shop.choose(&asked, &[]), [""; 0]);
    }

    #[test]
    fn discover_leaves_out_what_is_owned_and_says_why() {
        let shop = shop();
        let asked = Asked::of(&[Strategy::Discover], 4);
        let owned = [shop.owned("tea", 1, 10), shop.owned("cup", 1, 300), shop.owned("ink", 1, 700)];
        // pot: with tea 4/sqrt(24), with cup 1; but cup was long ago. ink is older still.
        assert_eq!(shop.choose(&asked, &owned), ["towel < tea, cup", "pot < tea, cup", "paper < ink", "pen < ink"]);
        let all = Asked { exclude_owned: false, ..asked.clone() };
        assert!(shop.choose(&all, &owned).iter().any(|p| p.starts_with("tea < cup")));
        let strict = Asked { min_support: 4, ..asked };
        assert_eq!(shop.choose(&strict, &owned), ["towel < tea, cup", "pot < tea, cup"], "pens were bought by three");
    }

    #[test]
    fn together_looks_at_the_last_weeks_only() {
        let shop = shop();
        let asked = Asked::of(&[Strategy::Together], 4);
        let owned = [shop.owned("tea", 1, 200), shop.owned("pen", 1, 120), shop.owned("ink", 1, 100)];
        assert_eq!(shop.choose(&asked, &owned), ["paper < ink, pen"]);
    }

    #[test]
    fn popular_begins_with_the_categories_of_the_person() {
        let shop = shop();
        let asked = Asked::of(&[Strategy::Popular], 4);
        assert_eq!(shop.choose(&asked, &[]), ["tea", "towel", "cup", "pot"]);
        assert_eq!(shop.choose(&asked, &[shop.owned("ink", 1, 3)]), ["paper", "pen", "tea", "towel"]);
    }

    #[test]
    fn a_product_that_may_not_be_offered_never_is() {
        let mut shop = shop();
        for sku in ["pot", "tea"] {
            let at = shop.id(sku) as usize;
            shop.standing[at].allowed = false;
        }
        let owned = [shop.owned("cup", 1, 3), shop.owned("tea", 9, 3)];
        for strategy in Strategy::ALL {
            let found = shop.choose(&Asked::of(&[strategy], 20), &owned);
            assert!(
                !found.is_empty() && found.iter().all(|f| !f.starts_with("pot") && !f.starts_with("tea")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn later_strategies_fill_what_is_left_and_nothing_comes_twice() {
        let shop = shop();
        let asked = Asked::of(&[Strategy::Again, Strategy::Discover, Strategy::Popular], 6);
        assert_eq!(
            shop.choose(&asked, &[shop.owned("ink", 2, 3)]),
            ["ink", "paper < ink", "pen < ink", "tea", "towel", "cup"]
        );
        let alone = Asked::of(&[Strategy::Discover], 6);
        assert_eq!(shop.choose(&alone, &[]), [""; 0]);
    }

    #[test]
    fn products_that_nobody_else_buys_are_numbered_on() {
        let shop = shop();
        let rare = shop.learnt.sold.len() as u32;
        let owned = [Owned { product: rare, times: 2, last_at: NOW, kept: true }, shop.owned("tea", 1, 3)];
        let asked = Asked::of(&[Strategy::Again, Strategy::Discover], 2);
        let chooser = Chooser::new(&shop.learnt, &shop.standing, &asked, NOW);
        let of = |further: &[Standing]| {
            chooser.choose(Person { owned: &owned, further }).iter().map(|p| p.product).collect::<Vec<_>>()
        };
        assert_eq!(of(&[Standing { allowed: true, category: None }]), [rare, shop.id("tea")]);
        assert_eq!(of(&[]), [shop.id("tea"), shop.id("towel")], "one that is not known at all is left out");
    }

    #[test]
    fn with_nothing_learnt_there_is_still_what_they_bought() {
        let learnt = Learnt::default();
        let asked = Asked::of(&Strategy::ALL, 5);
        let owned = [Owned { product: 0, times: 1, last_at: NOW, kept: true }];
        let further = [Standing { allowed: true, category: None }];
        let picks = Chooser::new(&learnt, &[], &asked, NOW).choose(Person { owned: &owned, further: &further });
        assert_eq!(picks.iter().map(|p| (p.product, p.strategy)).collect::<Vec<_>>(), [(0, Strategy::Again)]);
        assert_eq!(Chooser::new(&learnt, &[], &asked, NOW).choose(Person { owned: &[], further: &[] }), []);
    }
}
