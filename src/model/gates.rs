//! Who may be fitted, and what to say about the outcome: a model of thirty customers is an anecdote, and says so.

use serde::{Deserialize, Serialize};

use super::counts::{Boundary, CountFit, Family, History, PARAMETERS, POOLED, Prior, Sample, fit, fit_best};
use super::value::Spend;
use crate::problem::counted;

/// Fewer buyers than this have no model.
pub const BUYERS_MIN: u64 = 50;
/// Fewer than this have one that also leans on what other shops are like ([`POOLED`]).
pub const BUYERS_SURE: u64 = 500;
/// Days between the first and the last order of anybody, at least: nothing is foretold further than four times as far as was seen, and the
/// longest forecast is of a year.
pub const OBSERVED_DAYS_MIN: i64 = 91;
/// Repeat orders that nobody is capped below …
const CAP_MIN: u32 = 50;
/// … and how far above the busiest hundredth of customers a cap lies.
const CAP_TIMES: u32 = 4;

/// Why there is no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "{} too few for a model, which needs {BUYERS_MIN}; until then go by the days since the last order",
        if *buyers == 1 { "1 buyer is".to_owned() } else { format!("{buyers} buyers are") }
    )]
    TooFewBuyers { buyers: u64 },
    #[error(
        "none of {buyers} buyers has ordered again: nothing tells how often people come back; go by the days since the last order"
    )]
    NoRepeatBuyer { buyers: u64 },
    #[error(
        "orders are known of {} only; a forecast of a year takes {OBSERVED_DAYS_MIN} days of them; until then go by the days since the last order",
        counted(*days as usize, "day")
    )]
    TooShort { days: i64 },
}

/// Whether orders between these days, which both count, tell enough of time.
pub fn long_enough((first, last): (i64, i64)) -> Result<(), Refused> {
    let days = last - first + 1;
    if days < OBSERVED_DAYS_MIN { Err(Refused::TooShort { days }) } else { Ok(()) }
}

/// How far a model is to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    Good,
    Low,
}

/// What is to be said about a fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    FewBuyers {
        buyers: u64,
    },
    /// So many customers were counted with `repeats` repeat orders, for they had more.
    Capped {
        customers: u64,
        repeats: u32,
    },
    Boundary(Boundary),
    /// Which of the [`PARAMETERS`] have a standard error larger than themselves.
    Unsure([bool; 4]),
    NotConverged,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::FewBuyers { buyers } => write!(
                f,
                "{buyers} buyers are few ({BUYERS_SURE} are enough): the model leans on what other shops are like"
            ),
            Warning::Capped { customers, repeats } => write!(
                f,
                "{} with more than {} {} fitted as if they had {repeats}: resellers, or staff?",
                counted(*customers as usize, "customer"),
                counted(*repeats as usize, "repeat order"),
                if *customers == 1 { "was" } else { "were" }
            ),
            Warning::Unsure(which) => {
                let named: Vec<&str> =
                    PARAMETERS.into_iter().zip(which).filter(|(_, is)| **is).map(|(n, _)| n).collect();
                write!(
                    f,
                    "the orders hardly say what {} is: the standard error is larger than the value",
                    named.join(", ")
                )
            }
            Warning::Boundary(boundary) => f.write_str(boundary.meaning()),
            Warning::NotConverged => f.write_str("the search for the parameters did not settle"),
        }
    }
}

/// A fit that passed, with what is to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Passed {
    pub fit: CountFit,
    pub confidence: Confidence,
    pub warnings: Vec<Warning>,
    /// Whoever has more repeat orders was fitted as if they had so many.
    pub cap: u32,
}

/// Fit a family with the regularity that suits best, if there are customers enough. Nobody counts for more than `cap` repeat orders;
/// without one it lies far above the busiest hundredth.
pub fn fit_counts(family: Family, sample: &Sample, cap: Option<u32>) -> Result<Passed, Refused> {
    let buyers = sample.customers();
    if buyers < BUYERS_MIN {
        return Err(Refused::TooFewBuyers { buyers });
    }
    if sample.repeaters() == 0 {
        return Err(Refused::NoRepeatBuyer { buyers });
    }
    let mut warnings = Vec::new();
    let few = buyers < BUYERS_SURE;
    if few {
        warnings.push(Warning::FewBuyers { buyers });
    }
    let repeats = cap.unwrap_or_else(|| usual_cap(sample));
    let (capped, customers) = capped(sample, repeats);
    if customers > 0 {
        warnings.push(Warning::Capped { customers, repeats });
    }
    let fit = fit_best(family, &capped, prior(sample));
    warnings.extend(fit.boundaries.iter().copied().map(Warning::Boundary));
    let unsure = larger(fit.standard_errors, fit.model.parameters());
    let is_unsure = unsure.contains(&true);
    if is_unsure {
        warnings.push(Warning::Unsure(unsure));
    }
    if !fit.converged {
        warnings.push(Warning::NotConverged);
    }
    let sure = !few && fit.converged && fit.boundaries.is_empty() && !is_unsure;
    Ok(Passed { fit, confidence: if sure { Confidence::Good } else { Confidence::Low }, warnings, cap: repeats })
}

/// Which standard errors are known, and larger than what they are of.
pub fn larger<const N: usize>(errors: [Option<f64>; N], values: [f64; N]) -> [bool; N] {
    std::array::from_fn(|n| errors[n].is_some_and(|error| error > values[n]))
}

/// The BG/NBD model of the same customers under the same cap, to compare with.
pub fn fit_bg(sample: &Sample, cap: u32) -> CountFit {
    fit(Family::Bg, 1, &capped(sample, cap).0, prior(sample))
}

/// What a small shop leans on.
fn prior(sample: &Sample) -> Option<&'static Prior> {
    (sample.customers() < BUYERS_SURE).then_some(&POOLED)
}

/// Order values with nobody above a cap: a reseller's four hundred orders count as `repeats + 1`, a mean value far above those of the
/// dearest hundredth as that.
#[derive(Debug, Clone, PartialEq)]
pub struct Tempered {
    pub spends: Vec<Spend>,
    /// How many customers' mean value was capped, and at what.
    pub dear: Option<(u64, f64)>,
}

/// Cap order values.
pub fn temper(mut spends: Vec<Spend>, repeats: u32) -> Tempered {
    let mut means: Vec<f64> = spends.iter().map(|s| s.mean).collect();
    let place = means.len().saturating_sub(1 + means.len() / 100);
    if means.is_empty() {
        return Tempered { spends, dear: None };
    }
    let (_, dearest, _) = means.select_nth_unstable_by(place, f64::total_cmp);
    let cap = *dearest * f64::from(CAP_TIMES);
    let dear = spends.iter().filter(|s| s.mean > cap).count() as u64;
    for spend in &mut spends {
        *spend = Spend { orders: spend.orders.min(repeats.saturating_add(1)), mean: spend.mean.min(cap) };
    }
    Tempered { spends, dear: (dear > 0).then_some((dear, cap)) }
}

/// Repeat orders above which a customer is not like the others.
fn usual_cap(sample: &Sample) -> u32 {
    // Groups are in the order of repeat orders.
    let mut beyond = sample.customers() / 100;
    let busy = sample.groups().iter().rev().find(|(_, n)| {
        let inside = *n as u64 > beyond;
        beyond = beyond.saturating_sub(*n as u64);
        inside
    });
    busy.map_or(CAP_MIN, |(h, _)| h.repeats.saturating_mul(CAP_TIMES).max(CAP_MIN))
}

/// The sample with nobody above a cap, and how many were.
fn capped(sample: &Sample, repeats: u32) -> (Sample, u64) {
    let above = sample.groups().iter().filter(|(h, _)| h.repeats > repeats).map(|(_, n)| *n as u64).sum();
    let groups = sample.groups().iter().map(|(h, n)| (History { repeats: h.repeats.min(repeats), ..*h }, *n as u64));
    (Sample::of_groups(groups, sample.log_gaps()), above)
}

#[cfg(test)]
mod tests {
    use super::super::counts::CountModel;
    use super::super::fixtures::Shop;
    use super::*;

    const SHOP: CountModel = CountModel { family: Family::Mbg, k: 1, r: 1.2, alpha: 6.0, a: 1.0, b: 2.5 };

    fn shop(customers: u32) -> Vec<History> {
        let mut shop = Shop::new(SHOP, 5);
        (0..customers).map(|_| shop.customer(40.0, 0.0).history).collect()
    }

    #[test]
    fn too_few_and_nobody_twice_are_refused_with_a_reason() {
        let refused = |sample: Sample| fit_counts(Family::Mbg, &sample, None).unwrap_err();
        assert_eq!(refused(Sample::default()), Refused::TooFewBuyers { buyers: 0 });
        let few = refused(Sample::new(shop(49), 0.0));
        assert_eq!(few, Refused::TooFewBuyers { buyers: 49 });
        assert!(few.to_string().contains("49 buyers") && few.to_string().contains("days since the last order"));
        let once = History::new(0, 0.0, 30.0).unwrap();
        assert_eq!(refused(Sample::new([once; 900], 0.0)), Refused::NoRepeatBuyer { buyers: 900 });
    }

    #[test]
    fn two_days_of_orders_tell_nothing_of_a_year() {
        assert_eq!(long_enough((20_000, 20_001)), Err(Refused::TooShort { days: 2 }));
        assert_eq!(long_enough((20_000, 20_089)), Err(Refused::TooShort { days: 90 }));
        assert_eq!(long_enough((20_000, 20_090)), Ok(()));
        let said = [1, 90].map(|days| Refused::TooShort { days }.to_string());
        assert!(said[0].starts_with("orders are known of 1 day only") && said[1].contains("90 days only"), "{said:?}");
        assert!(Refused::TooFewBuyers { buyers: 1 }.to_string().starts_with("1 buyer is too few"));
    }

    #[test]
    fn parameters_that_may_be_anything_make_the_fit_unsure() {
        // Everybody comes about as often and leaves about as seldom: how unlike people are, nobody can tell.
        let alike = CountModel { r: 60.0, alpha: 200.0, a: 6.0, b: 90.0, ..SHOP };
        let mut shop = Shop::new(alike, 4);
        let histories = (0..600).map(|_| shop.customer(26.0, 0.0).history);
        let passed = fit_counts(Family::Mbg, &Sample::new(histories, 0.0), None).unwrap();
        assert_eq!(passed.confidence, Confidence::Low, "{passed:?}");
        let unsure = passed.warnings.iter().find(|w| matches!(w, Warning::Unsure(_)));
        assert!(unsure.is_some_and(|w| w.to_string().contains("hardly say what")), "{passed:?}");
        assert_eq!(larger([Some(1.0), Some(2.0), None], [1.0, 1.9, 0.1]), [false, true, false]);
        assert!(Warning::Unsure([true, false, true, false]).to_string().contains("what r, a is"));
        assert!(
            Warning::Capped { customers: 1, repeats: 50 }
                .to_string()
                .starts_with("1 customer with more than 50 repeat orders was")
        );
    }

    #[test]
    fn a_small_shop_leans_on_others_and_is_less_sure() {
        let small = fit_counts(Family::Mbg, &Sample::new(shop(60), 0.0), None).unwrap();
        assert_eq!(small.confidence, Confidence::Low);
        assert_eq!(small.warnings[0], Warning::FewBuyers { buyers: 60 });
        let large = fit_counts(Family::Mbg, &Sample::new(shop(2_000), 0.0), None).unwrap();
        assert_eq!((large.confidence, large.warnings.as_slice()), (Confidence::Good, [].as_slice()));
        let width = |passed: &Passed| {
            let said = passed.fit.expected_orders(&History::new(3, 20.0, 30.0).unwrap(), 13.0);
            said.high / said.low
        };
        assert!(width(&small) > 1.5 * width(&large), "{} {}", width(&small), width(&large));
    }

    #[test]
    fn one_reseller_does_not_bend_the_shop() {
        let fitted = |histories: Vec<History>| fit_counts(Family::Mbg, &Sample::new(histories, 0.0), None).unwrap();
        let without = fitted(shop(1_000));
        let mut histories = shop(1_000);
        histories.push(History::new(4_000, 39.5, 40.0).unwrap());
        let with = fitted(histories);
        assert!(matches!(with.warnings[0], Warning::Capped { customers: 1, repeats } if (50..200).contains(&repeats)));
        let usual = History::new(2, 20.0, 30.0).unwrap();
        let expected = |passed: &Passed| passed.fit.model.expected_orders(&usual, 13.0);
        assert!((expected(&with) / expected(&without) - 1.0).abs() < 0.1, "{} {}", expected(&with), expected(&without));
    }

    #[test]
    fn a_cap_of_ones_own_is_kept() {
        let passed = fit_counts(Family::Mbg, &Sample::new(shop(1_000), 0.0), Some(3)).unwrap();
        assert_eq!(passed.cap, 3);
        assert!(matches!(passed.warnings[0], Warning::Capped { customers: 50.., repeats: 3 }), "{:?}", passed.warnings);
    }

    #[test]
    fn one_reseller_does_not_bend_the_order_values() {
        let usual: Vec<Spend> = (0..500).map(|n| Spend::new(1 + n % 4, 20.0 + f64::from(n % 50)).unwrap()).collect();
        assert_eq!(temper(usual.clone(), 50), Tempered { spends: usual.clone(), dear: None });
        let reseller = Spend::new(400, 90_000.0).unwrap();
        let tempered = temper([usual.clone(), vec![reseller]].concat(), 50);
        let (customers, cap) = tempered.dear.unwrap();
        assert!(customers == 1 && (240.0..300.0).contains(&cap), "{cap}");
        assert_eq!(tempered.spends.last(), Some(&Spend { orders: 51, mean: cap }));
        let everybody = |spends: &[Spend]| crate::model::value::fit(spends).unwrap().model.everybody();
        let (with, without) = (everybody(&tempered.spends), everybody(&usual));
        assert!((with / without - 1.0).abs() < 0.05, "{with} {without}");
        assert_eq!(temper(vec![], 50), Tempered { spends: vec![], dear: None });
    }

    #[test]
    fn a_shop_nobody_leaves_is_told_so() {
        let faithful = CountModel { a: 1e-3, b: 1e3, ..SHOP };
        let mut shop = Shop::new(faithful, 9);
        let histories = (0..800).map(|_| shop.customer(40.0, 0.0).history);
        let passed = fit_counts(Family::Mbg, &Sample::new(histories, 0.0), None).unwrap();
        assert!(passed.warnings.contains(&Warning::Boundary(Boundary::NobodyLeaves)), "{passed:?}");
        assert_eq!(passed.confidence, Confidence::Low);
    }
}
