//! Chance from a fixed seed: the same people on every machine, every day.
//!
//! SplitMix64 (Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators").

/// A stream of draws.
#[derive(Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Draws {
        Draws(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number in `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// True in `percent` of a hundred draws.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn one_of<'t, T>(&mut self, all: &'t [T]) -> Option<&'t T> {
        all.get(self.below(all.len()))
    }

    /// One of them that passes: a few are drawn, then all are looked at from a drawn place on.
    pub fn one_that<'t, T>(&mut self, all: &'t [T], passes: impl Fn(&T) -> bool) -> Option<&'t T> {
        const DRAWN: usize = 12;
        for _ in 0..DRAWN {
            let drawn = self.one_of(all)?;
            if passes(drawn) {
                return Some(drawn);
            }
        }
        let from = self.below(all.len());
        all[from..].iter().chain(&all[..from]).find(|t| passes(t))
    }
}
