//! Drawing a few members by lot: the same few on every machine and in every version, as long as salt and members stay.
//!
//! The lot of a customer is the stable hash of salt and id; the lowest lots are drawn. So a larger draw holds the smaller one, and whoever
//! leaves the segment is replaced by one person, not by a new draw.

use std::collections::BTreeSet;

use crate::db::stable_hash;

/// The members drawn so far, of whom at most so many are kept.
#[derive(Debug, Clone)]
pub struct Draw {
    salt: String,
    size: usize,
    drawn: BTreeSet<(u64, String)>,
}

impl Draw {
    /// A draw of `size` people.
    pub fn new(salt: &str, size: usize) -> Draw {
        Draw { salt: salt.to_owned(), size, drawn: BTreeSet::new() }
    }

    /// Let a customer take part.
    pub fn add(&mut self, customer_id: &str) {
        let lot = lot(&self.salt, customer_id);
        if self.drawn.len() >= self.size && self.drawn.last().is_none_or(|(highest, _)| lot > *highest) {
            return;
        }
        self.drawn.insert((lot, customer_id.to_owned()));
        if self.drawn.len() > self.size {
            self.drawn.pop_last();
        }
    }

    /// Those who are drawn, the lowest lot first.
    pub fn into_ids(self) -> Vec<String> {
        self.drawn.into_iter().map(|(_, id)| id).collect()
    }
}

/// The lot of a customer. The length of the salt stands before it, so that no salt runs into an id.
fn lot(salt: &str, customer_id: &str) -> u64 {
    let mut bytes = (salt.len() as u64).to_be_bytes().to_vec();
    bytes.extend(salt.as_bytes());
    bytes.extend(customer_id.as_bytes());
    stable_hash(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(salt: &str, size: usize, ids: impl IntoIterator<Item = usize>) -> Vec<String> {
        let mut draw = Draw::new(salt, size);
        ids.into_iter().for_each(|n| draw.add(&format!("c-{n}")));
        draw.into_ids()
    }

    #[test]
    fn a_draw_is_pinned_whatever_the_order_and_a_larger_one_holds_it() {
        let small = drawn("spring", 3, 0..1_000);
        assert_eq!(small, PINNED);
        assert_eq!(drawn("spring", 3, (0..1_000).rev()), small);
        assert_eq!(drawn("spring", 10, 0..1_000)[..3], small[..]);
        assert_ne!(drawn("summer", 3, 0..1_000), small);
        assert_eq!(drawn("spring", 5, 0..2).len(), 2);
        assert!(drawn("spring", 0, 0..9).is_empty());
        assert_ne!(lot("a", "bc"), lot("ab", "c"), "a salt does not run into the id");
    }

    const PINNED: [&str; 3] = ["c-486", "c-8", "c-24"];

    #[test]
    fn every_tenth_is_drawn_as_often_as_the_others() {
        let ids = drawn("even", 2_000, 0..20_000);
        let low = ids.iter().filter(|id| id[2..].parse::<usize>().unwrap() < 2_000).count();
        assert!((150..250).contains(&low), "{low} of 2,000");
    }
}
