//! Which of several rewards suits a person. Pure.

use crate::settings::RewardPool;

/// The pools by how much of what the person spends goes to the categories they are about, most first; those that are alike stay as they are
/// listed. `affinity`: category and share.
pub fn in_order_of_taste<'a>(pools: &[&RewardPool], affinity: impl Iterator<Item = (&'a str, f64)>) -> Vec<usize> {
    let affinity: Vec<(&str, f64)> = affinity.collect();
    let share = |at: &usize| -> f64 {
        let about = &pools[*at].categories;
        affinity.iter().filter(|(category, _)| about.iter().any(|c| c == category)).map(|(_, share)| share).sum()
    };
    let mut order: Vec<usize> = (0..pools.len()).collect();
    order.sort_by(|a, b| share(b).total_cmp(&share(a)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Place;
    use crate::settings::rewards::{Codes, RewardKind};

    #[test]
    fn taste_comes_first_and_the_list_decides_between_equals() {
        let pool = |categories: &[&str]| RewardPool {
            name: categories.join("+"),
            kind: RewardKind::Gift,
            titles: Vec::new(),
            terms: Vec::new(),
            value: None,
            cost: 0,
            codes: Codes::None,
            expires: None,
            at_most: None,
            categories: categories.iter().map(|c| (*c).to_owned()).collect(),
            place: Place::file("okaeri.yaml"),
        };
        let pools = [pool(&[]), pool(&["tea", "紙"]), pool(&["music"])];
        let pools: Vec<&RewardPool> = pools.iter().collect();
        let order = |affinity: &[(&'static str, f64)]| in_order_of_taste(&pools, affinity.iter().copied());
        assert_eq!(order(&[]), [0, 1, 2], "nothing is known of them");
        assert_eq!(order(&[("music", 0.4), ("tea", 0.3)]), [2, 1, 0]);
        assert_eq!(order(&[("music", 0.4), ("tea", 0.3), ("紙", 0.2)]), [1, 2, 0], "shares add up");
        assert_eq!(order(&[("light", 1.0)]), [0, 1, 2]);
    }
}
