//! Random numbers that are the same everywhere: SplitMix64 (Steele, Lea & Flood 2014).

use okaeri::clock::Millis;

pub struct Random(u64);

impl Random {
    /// A stream of its own for each number, so that one customer's data does not depend on the others'.
    pub fn stream(seed: u64, number: u64) -> Random {
        let mut mixed = Random(number);
        Random(seed ^ mixed.bits())
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `0 ≤ n < below`.
    pub fn below(&mut self, below: usize) -> usize {
        ((u128::from(self.bits()) * below as u128) >> 64) as usize
    }

    /// `0 ≤ x < 1`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A stretch of time below `below`.
    pub fn millis(&mut self, below: Millis) -> Millis {
        (self.unit() * below as f64) as Millis
    }

    /// One of a list that is not empty.
    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}
