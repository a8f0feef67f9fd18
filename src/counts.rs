//! How many people or messages, as it is written: to the one, or so that nobody of a small group is told of where anybody may read it.

use crate::money::grouped;

/// Groups smaller than this are not counted exactly where anybody may read it.
const SMALL: i64 = 5;

/// How counts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    Exact,
    /// Small ones not to the one, and nothing from which they could be reckoned, such as a share.
    Few,
}

impl Counts {
    /// A count.
    pub fn of(self, n: i64) -> String {
        if self.hides(n) { format!("fewer than {SMALL}") } else { grouped(n) }
    }

    /// What would tell a small group's count, unless it does: `·` in its place.
    pub fn shows(self, n: i64, told: impl FnOnce() -> String) -> String {
        if self.hides(n) { "·".to_owned() } else { told() }
    }

    /// Whether a group is too small to be told of to the one.
    pub fn hides(self, n: i64) -> bool {
        self == Counts::Few && (1..SMALL).contains(&n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_groups_are_hidden_and_nobody_is_no_group() {
        assert_eq!([0, 1, 4, 5, 1_200].map(|n| Counts::Few.of(n)), ["0", "fewer than 5", "fewer than 5", "5", "1,200"]);
        assert_eq!([0, 1, 4, 5].map(|n| Counts::Exact.of(n)), ["0", "1", "4", "5"]);
        assert_eq!(Counts::Few.shows(3, || "3 %".to_owned()), "·");
        assert_eq!(Counts::Exact.shows(3, || "3 %".to_owned()), "3 %");
    }
}
