//! How segments lie to each other: who is in both, who comes in and who goes out, and what these people are worth.
//!
//! Reads only, one range of buckets after the other, so that memory does not grow with the customers. Takes segments that are prepared
//! already, of one library or of two, any number of them. Amounts are minor units.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Prepared, SEGMENTS_MAX};
use crate::args;
use crate::db::{BUCKETS, Db, DbResult};
use crate::profile::quantile::{self, Population};

/// Buckets looked at together.
const BUCKETS_PER_RANGE: i64 = 64;
/// Customers named as examples of a group.
pub const EXAMPLES_MAX: usize = 5;
/// Buyers at or above this percentile of revenue are of high value: the highest fifth, as `percentile: { gte: 80 }` says it.
pub const HIGH_VALUE_PERCENTILE: i64 = 80;

/// All buckets, in ranges that are looked at one after the other.
pub fn ranges() -> impl Iterator<Item = (i64, i64)> {
    (0..BUCKETS).step_by(BUCKETS_PER_RANGE as usize).map(|first| (first, (first + BUCKETS_PER_RANGE).min(BUCKETS) - 1))
}

/// People and what they are worth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    pub people: i64,
    /// Their net revenue.
    pub revenue: i64,
    /// How many of them are buyers of high value ([`HIGH_VALUE_PERCENTILE`]).
    pub high_value: i64,
    /// Those of the highest revenue, [`EXAMPLES_MAX`] at most; equal revenue by id.
    best: BTreeSet<(Reverse<i64>, String)>,
}

impl Group {
    /// Count somebody; buyers from `high_from` on are of high value.
    pub fn add(&mut self, customer_id: &str, worth: Worth, high_from: Option<i64>) {
        self.people += 1;
        self.revenue += worth.revenue;
        self.high_value += i64::from(worth.orders > 0 && high_from.is_some_and(|from| worth.revenue >= from));
        self.best.insert((Reverse(worth.revenue), customer_id.to_owned()));
        if self.best.len() > EXAMPLES_MAX {
            self.best.pop_last();
        }
    }

    /// The ids of those of the highest revenue, the highest first.
    pub fn examples(&self) -> Vec<&str> {
        self.best.iter().map(|(_, id)| id.as_str()).collect()
    }
}

/// What is needed of a profile to say what somebody is worth.
#[derive(Debug, Clone, Copy, Default)]
pub struct Worth {
    orders: i64,
    revenue: i64,
}

/// What everybody of a range is worth, by customer_id.
pub async fn worths(db: &Db, (first, last): (i64, i64)) -> DbResult<HashMap<String, Worth>> {
    let sql = "SELECT customer_id, orders, revenue FROM profile WHERE bucket >= $1 AND bucket <= $2";
    let rows: Vec<(String, i64, i64)> = db.fetch_all(sql, args![first, last]).await?;
    Ok(rows.into_iter().map(|(id, orders, revenue)| (id, Worth { orders, revenue })).collect())
}

/// The revenue from which a buyer is of high value; `None` before the first buyer.
pub async fn high_value_from(db: &Db) -> DbResult<Option<i64>> {
    let rows = "profile p WHERE p.bucket >= $1 AND p.bucket <= $2 AND p.orders > 0";
    let population = Population { rows, values: args![0_i64, 0_i64], number: "p.revenue" };
    let (_, values) = quantile::values_at(db, &population, |n| vec![n * HIGH_VALUE_PERCENTILE / 100]).await?;
    Ok(values.first().map(|revenue| *revenue as i64))
}

/// Two segments beside each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pair {
    pub only_first: Group,
    pub only_second: Group,
    pub both: Group,
}

/// Who is in one of two segments, who in the other, who in both. `two` are exactly two.
pub async fn pair(db: &Db, two: &Prepared) -> DbResult<Pair> {
    debug_assert_eq!(two.names().len(), 2);
    let high_from = high_value_from(db).await?;
    let mut pair = Pair::default();
    for range in ranges() {
        let members = two.evaluate(db, range.0, range.1).await?;
        if members.is_empty() {
            continue;
        }
        let worths = worths(db, range).await?;
        for member in members {
            let group = match member.bits & 0b11 {
                0b01 => &mut pair.only_first,
                0b10 => &mut pair.only_second,
                0b11 => &mut pair.both,
                _ => continue,
            };
            let worth = worths.get(&member.customer_id).copied().unwrap_or_default();
            group.add(&member.customer_id, worth, high_from);
        }
    }
    Ok(pair)
}

/// Any number of segments of one library at one instant: evaluations of up to [`SEGMENTS_MAX`] each, every one but the last full.
#[derive(Debug, Clone)]
pub struct Several {
    parts: Vec<Prepared>,
}

/// The segments of a [`Several`] that one customer is in, one word per evaluation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, n: usize) -> bool {
        self.0.get(n / SEGMENTS_MAX).is_some_and(|word| word & (1 << (n % SEGMENTS_MAX)) != 0)
    }
}

impl Several {
    /// These evaluations, taken together.
    pub fn of(parts: Vec<Prepared>) -> Several {
        debug_assert!(parts.iter().rev().skip(1).all(|p| p.names().len() == SEGMENTS_MAX));
        Several { parts }
    }

    /// The segments, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|p| p.names()).map(String::as_str)
    }

    /// Who of a range is in which of them, by customer_id; nobody who is in none.
    async fn members(&self, db: &Db, (first, last): (i64, i64)) -> DbResult<BTreeMap<String, Bits>> {
        let mut members: BTreeMap<String, Bits> = BTreeMap::new();
        for (word, part) in self.parts.iter().enumerate() {
            for member in part.evaluate(db, first, last).await? {
                let bits = members.entry(member.customer_id).or_insert_with(|| Bits(vec![0; self.parts.len()]));
                bits.0[word] = member.bits;
            }
        }
        Ok(members)
    }
}

/// How one segment changed from one library to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub segment: String,
    /// How many people were in it; `None` when there was no such segment.
    pub before: Option<i64>,
    /// How many are in it now; `None` when there is no such segment any more.
    pub after: Option<i64>,
    pub comes_in: Group,
    pub goes_out: Group,
}

impl Change {
    /// Whether anybody comes in or goes out.
    pub fn moves_anybody(&self) -> bool {
        self.comes_in.people > 0 || self.goes_out.people > 0
    }
}

/// Who comes into each segment and who goes out of it, from `before` to `after`; by name. A segment that one side lacks has nobody there.
pub async fn changes(db: &Db, before: &Several, after: &Several) -> DbResult<Vec<Change>> {
    let high_from = high_value_from(db).await?;
    let place = |several: &Several, name: &str| several.names().position(|n| n == name);
    let names: BTreeSet<&str> = before.names().chain(after.names()).collect();
    let mut changes: Vec<(Option<usize>, Option<usize>, Change)> = names
        .into_iter()
        .map(|name| {
            let (was, is) = (place(before, name), place(after, name));
            let change =
                Change { segment: name.to_owned(), before: was.map(|_| 0), after: is.map(|_| 0), ..Change::default() };
            (was, is, change)
        })
        .collect();
    for range in ranges() {
        let (old, new) = (before.members(db, range).await?, after.members(db, range).await?);
        if old.is_empty() && new.is_empty() {
            continue;
        }
        let worths = worths(db, range).await?;
        let people: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let nowhere = Bits::default();
        for id in people {
            let (old, new) = (old.get(id).unwrap_or(&nowhere), new.get(id).unwrap_or(&nowhere));
            let worth = worths.get(id).copied().unwrap_or_default();
            for (was, is, change) in &mut changes {
                let (was, is) = (was.is_some_and(|n| old.has(n)), is.is_some_and(|n| new.has(n)));
                if let Some(people) = &mut change.before {
                    *people += i64::from(was);
                }
                if let Some(people) = &mut change.after {
                    *people += i64::from(is);
                }
                match (was, is) {
                    (false, true) => change.comes_in.add(id, worth, high_from),
                    (true, false) => change.goes_out.add(id, worth, high_from),
                    _ => {}
                }
            }
        }
    }
    Ok(changes.into_iter().map(|(.., change)| change).collect())
}

/// Two segments that share people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    pub first: String,
    pub second: String,
    pub first_people: i64,
    pub second_people: i64,
    /// People in both; at least one.
    pub both: i64,
}

/// How two segments that share people lie to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same people.
    Equal,
    /// Everybody of the first is in the second, which has more.
    FirstInSecond,
    SecondInFirst,
    /// Each has people that the other has not.
    Partly,
}

impl Overlap {
    /// The share of the smaller segment that is in the larger one, above 0 to 1.
    pub fn share_of_smaller(&self) -> f64 {
        self.both as f64 / self.first_people.min(self.second_people) as f64
    }

    /// The Jaccard index: people in both over people in either, above 0 to 1.
    pub fn jaccard(&self) -> f64 {
        self.both as f64 / (self.first_people + self.second_people - self.both) as f64
    }

    pub fn relation(&self) -> Relation {
        match (self.both == self.first_people, self.both == self.second_people) {
            (true, true) => Relation::Equal,
            (true, false) => Relation::FirstInSecond,
            (false, true) => Relation::SecondInFirst,
            (false, false) => Relation::Partly,
        }
    }
}

/// The size of each segment, and every pair that shares people: the pairs that are most alike first, by Jaccard index, then by the share
/// of the smaller, then by people, then by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlaps {
    pub sizes: Vec<(String, i64)>,
    pub pairs: Vec<Overlap>,
}

/// Which of several segments share people.
pub async fn overlaps(db: &Db, several: &Several) -> DbResult<Overlaps> {
    // People in the same segments count alike, so what is kept grows with the combinations that occur.
    let mut combinations: HashMap<Bits, i64> = HashMap::new();
    for range in ranges() {
        for (_, bits) in several.members(db, range).await? {
            *combinations.entry(bits).or_default() += 1;
        }
    }
    let names: Vec<&str> = several.names().collect();
    Ok(paired(&names, &combinations))
}

fn paired(names: &[&str], combinations: &HashMap<Bits, i64>) -> Overlaps {
    let mut sizes = vec![0; names.len()];
    let mut both: HashMap<(usize, usize), i64> = HashMap::new();
    for (bits, people) in combinations {
        let inside: Vec<usize> = (0..names.len()).filter(|n| bits.has(*n)).collect();
        for (i, a) in inside.iter().enumerate() {
            sizes[*a] += people;
            for b in &inside[i + 1..] {
                *both.entry((*a, *b)).or_default() += people;
            }
        }
    }
    let mut pairs: Vec<Overlap> = both
        .into_iter()
        .map(|((a, b), both)| Overlap {
            first: names[a].to_owned(),
            second: names[b].to_owned(),
            first_people: sizes[a],
            second_people: sizes[b],
            both,
        })
        .collect();
    pairs.sort_by(|x, y| {
        y.jaccard()
            .total_cmp(&x.jaccard())
            .then(y.share_of_smaller().total_cmp(&x.share_of_smaller()))
            .then(y.both.cmp(&x.both))
            .then_with(|| (&x.first, &x.second).cmp(&(&y.first, &y.second)))
    });
    let sizes = names.iter().map(|n| (*n).to_owned()).zip(sizes).collect();
    Overlaps { sizes, pairs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_is_in_one_range() {
        let seen: Vec<i64> = ranges().flat_map(|(first, last)| first..=last).collect();
        assert_eq!(seen, (0..BUCKETS).collect::<Vec<_>>());
    }

    #[test]
    fn a_group_names_those_of_the_highest_revenue_and_counts_no_lead_as_high_value() {
        let mut group = Group::default();
        for (id, orders, revenue) in
            [("g", 1, 10), ("a", 0, 0), ("c", 1, 900), ("b", 2, 900), ("d", 1, 100), ("e", 1, 20), ("f", 1, 30)]
        {
            group.add(id, Worth { orders, revenue }, Some(0));
        }
        assert_eq!(group.examples(), ["b", "c", "d", "f", "e"]);
        assert_eq!((group.people, group.revenue, group.high_value), (7, 1_960, 6), "`a` never bought");
        let mut before_the_first_buyer = Group::default();
        before_the_first_buyer.add("a", Worth { orders: 0, revenue: 0 }, None);
        assert_eq!(before_the_first_buyer.high_value, 0);
    }

    #[test]
    fn pairs_are_told_as_equal_inside_or_partly_and_the_most_alike_come_first() {
        // 62 segments fill the first word: `later` is the first bit of the second.
        let names: Vec<String> = (0..SEGMENTS_MAX).map(|n| format!("s{n:02}")).chain(["later".to_owned()]).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let combinations = HashMap::from([
            (Bits(vec![0b0111, 1]), 3), // s00 s01 s02 later
            (Bits(vec![0b0100, 0]), 5), // s02
            (Bits(vec![0b1000, 1]), 1), // s03 later
        ]);
        let found = paired(&names, &combinations);
        let told: Vec<(&str, &str, i64, Relation)> =
            found.pairs.iter().map(|p| (p.first.as_str(), p.second.as_str(), p.both, p.relation())).collect();
        assert_eq!(
            told,
            [
                ("s00", "s01", 3, Relation::Equal),
                ("s00", "later", 3, Relation::FirstInSecond),
                ("s01", "later", 3, Relation::FirstInSecond),
                ("s00", "s02", 3, Relation::FirstInSecond),
                ("s01", "s02", 3, Relation::FirstInSecond),
                ("s02", "later", 3, Relation::Partly),
                ("s03", "later", 1, Relation::FirstInSecond),
            ]
        );
        assert_eq!(found.sizes[2], ("s02".to_owned(), 8));
        assert_eq!(found.sizes[62], ("later".to_owned(), 4));
        assert_eq!(found.sizes[10], ("s10".to_owned(), 0));
        let partly = &found.pairs[5];
        assert_eq!((partly.share_of_smaller(), partly.jaccard()), (0.75, 3.0 / 9.0));
    }
}
