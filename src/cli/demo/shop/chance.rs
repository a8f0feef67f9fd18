//! Chance from a seed: the same draws on every machine, in every year.
//!
//! SplitMix64 (Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators", the constants of `java.util.SplittableRandom`).
//! Every person and every order draws from a stream of its own, so that a change to one does not reshuffle the others.
//! For invented data only; nothing secret may come from here.

/// A stream of draws.
pub(super) struct Chance(u64);

/// What a stream is for. Together with a number it names the stream.
#[derive(Clone, Copy)]
pub(super) enum For {
    Person = 1,
    Order = 2,
    Newcomer = 3,
    Visits = 4,
    Tickets = 5,
    Surveys = 6,
    Carts = 7,
    Reviews = 8,
}

/// The shop's seed. Another one gives another shop.
const SEED: u64 = 0x0061_6b61_7269; // "akari", light

impl Chance {
    /// The stream `purpose` of the person or order `number`.
    pub(super) fn stream(purpose: For, number: usize) -> Chance {
        let mut chance = Chance(SEED ^ ((purpose as u64) << 56) ^ (number as u64));
        Chance(chance.next()) // neighbours in number must not be neighbours in draws
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number in `0..n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// A whole number in `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).max(1) as usize) as i64
    }

    /// True in `percent` of a hundred draws.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `list`, each as likely as the others.
    pub(super) fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// The place in `weights` that a draw falls on, in proportion to the weights.
    pub(super) fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        weights
            .iter()
            .position(|&w| {
                let here = left < w;
                left = left.saturating_sub(w);
                here
            })
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_splitmix64() {
        // First outputs for seed 1234567, as published with the reference implementation.
        let mut chance = Chance(1_234_567);
        assert_eq!(chance.next(), 6_457_827_717_110_365_317);
        assert_eq!(chance.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_them() {
        let mut chance = Chance::stream(For::Person, 1);
        let draws: Vec<i64> = (0..1_000).map(|_| chance.between(3, 5)).collect();
        assert_eq!((draws.iter().min(), draws.iter().max()), (Some(&3), Some(&5)));
        let mut counts = [0; 3];
        for _ in 0..1_000 {
            counts[chance.weighted(&[1, 0, 3])] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!(counts[2] > 2 * counts[0], "{counts:?}");
    }
}
