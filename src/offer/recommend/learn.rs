//! Learning which products go together: pure. Customers go in one by one, [`Learnt`] comes out, the same whatever order they came in.
//!
//! Two products are as near as the cosine of the sets of their buyers: `both / sqrt(buyers · buyers)` (Sarwar et al. 2001, item-based
//! collaborative filtering). Memory follows the rows taken in ([`ROWS_MAX`]), time the squares of what each customer bought
//! ([`PER_CUSTOMER_MAX`]).

use std::collections::HashMap;

use crate::clock::{DAY, Millis};

/// Pairs of a customer and a product that are learnt from, at most: 16 MB twice.
pub const ROWS_MAX: usize = 4_000_000;
/// Products of one customer that count for neighbours, the latest: a wholesaler who buys everything says nothing about what goes together.
const PER_CUSTOMER_MAX: usize = 400;
/// Products that neighbours are learnt for: those with the most buyers.
const PRODUCTS_MAX: usize = 20_000;
/// Neighbours kept of a product. More make recommendations worse, not better: they drown the near ones in what everybody buys.
const NEIGHBOURS_MAX: usize = 20;
/// Customers who must have bought both of a pair. A campaign may ask for more.
pub const SUPPORT_MIN: u32 = 3;
/// What counts as bought lately, for popularity.
pub const RECENT_DAYS: i64 = 90;

/// What one customer has of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    /// Its number, where products are numbered by who asks.
    pub product: u32,
    /// Orders of theirs that had it.
    pub times: u32,
    pub last_at: Millis,
    /// Not all of it was sent back.
    pub kept: bool,
}

/// A product that people buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sold {
    pub sku: String,
    pub buyers: u32,
    /// Buyers in the [`RECENT_DAYS`] before.
    pub recent_buyers: u32,
    pub orders: u32,
}

/// A product near another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Its number in [`Learnt::sold`].
    pub product: u32,
    /// Customers who bought both.
    pub support: u32,
    /// 0 to 1.
    pub cosine: f64,
}

/// What was learnt. Products are numbered by their place in `sold`: most buyers first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Learnt {
    pub sold: Vec<Sold>,
    /// Of each product, the nearest first.
    pub neighbours: Vec<Vec<Neighbour>>,
}

/// Takes customers in.
#[derive(Debug)]
pub struct Learner {
    since: Millis,
    skus: Vec<String>,
    ids: HashMap<String, u32>,
    /// buyers, recent buyers, orders; by the number a sku got when it first came.
    counts: Vec<[u32; 3]>,
    /// What each customer bought, one after the other, and where each one's ends.
    bought: Vec<u32>,
    ends: Vec<usize>,
}

impl Learner {
    /// To learn from orders until `as_of`.
    pub fn new(as_of: Millis) -> Learner {
        Learner {
            since: as_of - RECENT_DAYS * DAY,
            skus: Vec::new(),
            ids: HashMap::new(),
            counts: Vec::new(),
            bought: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// The number of a product, for [`Learner::take`].
    pub fn id(&mut self, sku: &str) -> u32 {
        if let Some(id) = self.ids.get(sku) {
            return *id;
        }
        let id = u32::try_from(self.skus.len()).expect("fewer than four thousand million products");
        self.ids.insert(sku.to_owned(), id);
        self.skus.push(sku.to_owned());
        self.counts.push([0; 3]);
        id
    }

    /// Take in all that one customer bought, each product once.
    pub fn take(&mut self, owned: &[Owned]) {
        for o in owned {
            let [buyers, recent, orders] = &mut self.counts[o.product as usize];
            *buyers += 1;
            *recent += u32::from(o.last_at >= self.since);
            *orders = orders.saturating_add(o.times);
        }
        let mut latest: Vec<&Owned> = owned.iter().collect();
        if latest.len() > PER_CUSTOMER_MAX {
            latest.sort_by(|a, b| {
                b.last_at
                    .cmp(&a.last_at)
                    .then_with(|| self.skus[a.product as usize].cmp(&self.skus[b.product as usize]))
            });
            latest.truncate(PER_CUSTOMER_MAX);
        }
        self.bought.extend(latest.iter().map(|o| o.product));
        self.ends.push(self.bought.len());
    }

    /// Pairs of a customer and a product that were taken in.
    pub fn rows(&self) -> usize {
        self.bought.len()
    }

    /// Whether enough was taken in.
    pub fn is_full(&self) -> bool {
        self.rows() >= ROWS_MAX
    }

    /// Customers taken in.
    pub fn customers(&self) -> usize {
        self.ends.len()
    }

    /// What all of them say together.
    pub fn finish(self) -> Learnt {
        self.finish_numbered().0
    }

    /// The same, with the new number of each number that [`Learner::id`] gave. Products that are not learnt are numbered on from those that are.
    pub fn finish_numbered(self) -> (Learnt, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.skus.len() as u32).collect();
        order.sort_by(|a, b| {
            let of = |id: &u32| (self.counts[*id as usize][0], &self.skus[*id as usize]);
            of(b).0.cmp(&of(a).0).then_with(|| of(a).1.cmp(of(b).1))
        });
        let mut place = vec![0; self.skus.len()];
        for (at, id) in (0..).zip(&order) {
            place[*id as usize] = at;
        }
        order.truncate(PRODUCTS_MAX);
        let sold: Vec<Sold> = order
            .iter()
            .map(|id| {
                let [buyers, recent_buyers, orders] = self.counts[*id as usize];
                Sold { sku: self.skus[*id as usize].clone(), buyers, recent_buyers, orders }
            })
            .collect();
        let all = self.bought.iter().map(|id| place[*id as usize]).collect();
        let neighbours = neighbours(&Lists { ends: self.ends, all }, &sold);
        (Learnt { sold, neighbours }, place)
    }
}

/// Lists of numbers, one after the other.
struct Lists {
    ends: Vec<usize>,
    all: Vec<u32>,
}

impl Lists {
    fn of(&self, at: usize) -> &[u32] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.all[start..self.ends[at]]
    }

    /// Of each number below `width`, the lists that hold it.
    fn turned(&self, width: usize) -> Lists {
        let mut ends = vec![0_usize; width];
        for n in self.all.iter().filter(|n| (**n as usize) < width) {
            ends[*n as usize] += 1;
        }
        let mut sum = 0;
        let mut next = Vec::with_capacity(width);
        for end in &mut ends {
            next.push(sum);
            sum += *end;
            *end = sum;
        }
        let mut all = vec![0; sum];
        for list in 0..self.ends.len() {
            for n in self.of(list).iter().filter(|n| (**n as usize) < width) {
                all[next[*n as usize]] = list as u32;
                next[*n as usize] += 1;
            }
        }
        Lists { ends, all }
    }
}

fn neighbours(baskets: &Lists, sold: &[Sold]) -> Vec<Vec<Neighbour>> {
    let width = sold.len();
    let buyers = baskets.turned(width);
    let mut both = vec![0_u32; width];
    let mut met: Vec<u32> = Vec::new();
    let mut out = Vec::with_capacity(width);
    for product in 0..width {
        for customer in buyers.of(product) {
            for other in baskets.of(*customer as usize) {
                let Some(n) = both.get_mut(*other as usize) else { continue };
                if *n == 0 {
                    met.push(*other);
                }
                *n += 1;
            }
        }
        let own = sold[product].buyers;
        let mut near: Vec<Neighbour> = met
            .iter()
            .filter(|other| **other as usize != product && both[**other as usize] >= SUPPORT_MIN)
            .map(|other| {
                let support = both[*other as usize];
                let norm = (f64::from(own) * f64::from(sold[*other as usize].buyers)).sqrt();
                Neighbour { product: *other, support, cosine: f64::from(support) / norm }
            })
            .collect();
        near.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.product.cmp(&b.product)));
        near.truncate(NEIGHBOURS_MAX);
        out.push(near);
        for other in met.drain(..) {
            both[other as usize] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(people: &[&[&str]]) -> Learnt {
        let mut learner = Learner::new(0);
        for things in people {
            let owned: Vec<Owned> = things
                .iter()
                .map(|sku| Owned { product: learner.id(sku), times: 1, last_at: -DAY, kept: true })
                .collect();
            learner.take(&owned);
        }
        learner.finish()
    }

    fn near<'l>(learnt: &'l Learnt, sku: &str) -> Vec<(&'l str, u32, f64)> {
        let at = learnt.sold.iter().position(|s| s.sku == sku).unwrap();
        learnt.neighbours[at].iter().map(|n| (&*learnt.sold[n.product as usize].sku, n.support, n.cosine)).collect()
    }

    #[test]
    fn the_cosine_of_a_small_shop_is_as_computed_by_hand() {
        // tea: 5 buyers, cup: 4, pot: 3, pen: 3. tea and cup 4 times together, tea and pot 3, cup and pot 3, pen with nothing often enough.
        let people: [&[&str]; 7] = [
            &["tea", "cup", "pot"],
            &["tea", "cup", "pot"],
            &["tea", "cup", "pot"],
            &["tea", "cup"],
            &["tea", "pen"],
            &["pen"],
            &["pen"],
        ];
        let learnt = learnt(&people);
        let names: Vec<&str> = learnt.sold.iter().map(|s| &*s.sku).collect();
        assert_eq!(names, ["tea", "cup", "pen", "pot"], "most buyers first, then by name");
        let cosine = |both: f64, a: f64, b: f64| both / (a * b).sqrt();
        assert_eq!(near(&learnt, "tea"), [("cup", 4, cosine(4.0, 5.0, 4.0)), ("pot", 3, cosine(3.0, 5.0, 3.0))]);
        assert_eq!(near(&learnt, "pot"), [("cup", 3, cosine(3.0, 3.0, 4.0)), ("tea", 3, cosine(3.0, 3.0, 5.0))]);
        assert_eq!(near(&learnt, "pen"), [], "one customer who bought both is chance");
    }

    #[test]
    fn equally_near_ones_stand_by_buyers_and_name_in_whatever_order_people_come() {
        let mut people: Vec<&[&str]> = vec![&["a", "z", "b"]; 3];
        people.push(&["z"]);
        let once = learnt(&people);
        people.reverse();
        assert_eq!(once, learnt(&people));
        assert_eq!(near(&once, "a").iter().map(|n| n.0).collect::<Vec<_>>(), ["b", "z"]);
    }

    #[test]
    fn nobody_one_product_and_a_wholesaler_are_no_trouble() {
        assert_eq!(learnt(&[]), Learnt::default());
        let one = learnt(&[&["only"], &["only"], &["only"]]);
        assert_eq!((one.sold.len(), one.neighbours[0].len()), (1, 0));
        let everything: Vec<String> = (0..1_000).map(|n| format!("p{n:04}")).collect();
        let everything: Vec<&str> = everything.iter().map(String::as_str).collect();
        let whole = learnt(&[&everything, &everything, &everything]);
        assert_eq!(whole.sold.len(), 1_000);
        assert!(whole.neighbours.iter().all(|n| n.len() <= NEIGHBOURS_MAX));
        assert_eq!(whole.neighbours.iter().filter(|n| !n.is_empty()).count(), PER_CUSTOMER_MAX);
    }

    #[test]
    fn popularity_counts_people_lately_people_ever_and_orders() {
        let mut learner = Learner::new(1_000 * DAY);
        let id = learner.id("x");
        for (times, day) in [(2, 999), (1, 910), (4, 909)] {
            learner.take(&[Owned { product: id, times, last_at: day * DAY, kept: true }]);
        }
        let sold = learner.finish().sold;
        assert_eq!((sold[0].buyers, sold[0].recent_buyers, sold[0].orders), (3, 2, 7));
    }
}
