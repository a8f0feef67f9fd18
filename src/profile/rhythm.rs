//! How regular a customer is: how long a gap must be to be as rare for them as a longer or shorter one is for others.
//!
//! The gaps of a customer scatter around their usual one by factors, not by days: whoever comes every 7 days comes after 4 or 12, whoever comes every
//! 70 after 40 or 120. So the scatter is the standard deviation `s` of the logarithms of the gaps, and a gap of `usual × exp(z · s)`
//! is equally rare for everybody. A setting says how many usual gaps are late for an ordinary customer, whose `s` is [`ORDINARY`]; that fixes
//! `z`, and for somebody whose gaps scatter `e` times as far the same is late after `factor^e` usual gaps ([`late_after`]).
//!
//! Few gaps say little about `s`: it is a mean of what the customer's `n` gaps say and of what is ordinary, as if that had been seen in [`PRIOR_GAPS`]
//! gaps (the posterior mean of a variance under its conjugate prior), widened for a usual gap that is itself a guess:
//!
//! ```text
//! e² = (PRIOR_GAPS · ORDINARY² + Σ (ln gap − mean)²) / (PRIOR_GAPS + n − 1) · (1 + 1/n) / ORDINARY²
//! ```
//!
//! Gelman et al., Bayesian Data Analysis, 3rd ed., §3.3. Stored in quarters, so that both engines and Rust know all that can come of it.

/// The standard deviation of ln(gap) of buyers with three purchases or more: 1.11 in a British gift shop (3,459 people), 1.22 in CDNOW (736). Pure
/// chance, an exponential distribution, has 1.28.
const ORDINARY: f64 = 1.1;
/// How many gaps what is ordinary weighs as much as. Moments of the customers' variances give 14 and 28; less lets people speak sooner.
const PRIOR_GAPS: f64 = 8.0;
/// Steps of the stored scatter in what is ordinary.
const STEPS: i64 = 4;
/// The least and the most that is stored: a quarter, and three times what is ordinary.
const SCATTER: std::ops::RangeInclusive<i64> = 1..=12;

/// The scatter of a customer's gaps of a day or more, in quarters of what is ordinary; `None` of fewer than two.
pub(super) fn scatter(gaps: &[i64]) -> Option<i64> {
    if gaps.len() < 2 {
        return None;
    }
    let n = gaps.len() as f64;
    let logs = || gaps.iter().map(|gap| (*gap as f64).ln());
    let mean = logs().sum::<f64>() / n;
    let squares: f64 = logs().map(|log| (log - mean).powi(2)).sum();
    let variance = (PRIOR_GAPS * ORDINARY * ORDINARY + squares) / (PRIOR_GAPS + n - 1.0) * (1.0 + 1.0 / n);
    let quarters = (STEPS as f64 * variance.sqrt() / ORDINARY).round() as i64;
    Some(quarters.clamp(*SCATTER.start(), *SCATTER.end()))
}

/// After how many usual gaps somebody is late who scatters so far, when an ordinary customer is after `factor`: in thousandths, so that it
/// reads the same wherever it is written. Whoever's scatter is not known is taken for ordinary.
pub(super) fn late_after(factor: f64, scatter: Option<i64>) -> f64 {
    let quarters = scatter.unwrap_or(STEPS).clamp(*SCATTER.start(), *SCATTER.end());
    let factor = if quarters == STEPS { factor } else { factor.powf(quarters as f64 / STEPS as f64) };
    (factor * 1_000.0).round() / 1_000.0
}

/// SQL: [`late_after`] of a column. Halved again and again: four comparisons a row.
pub(super) fn late_after_sql(factor: f64, column: &str) -> String {
    fn tree(factor: f64, column: &str, from: i64, to: i64) -> String {
        if from == to {
            return format!("{:.3}", late_after(factor, Some(from)));
        }
        let middle = (from + to) / 2;
        format!(
            "CASE WHEN {column} <= {middle} THEN {} ELSE {} END",
            tree(factor, column, from, middle),
            tree(factor, column, middle + 1, to)
        )
    }
    let known = tree(factor, column, *SCATTER.start(), *SCATTER.end());
    format!(
        "CAST(CASE WHEN {column} IS NULL THEN {:.3} ELSE {known} END AS DOUBLE PRECISION)",
        late_after(factor, None)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_gaps_are_ordinary_and_many_speak_for_themselves() {
        assert_eq!([scatter(&[]), scatter(&[30])], [None; 2]);
        // Two gaps: a mean that is itself a guess makes up for their being alike.
        assert_eq!(scatter(&[30, 30]), Some(5));
        let monthly = [30; 100];
        assert_eq!([3, 10, 30, 100].map(|n| scatter(&monthly[..n])), [4, 3, 2, 1].map(Some));
        // In clusters: bought again the next day, and then not for months.
        let clusters: Vec<i64> = [1, 90].into_iter().cycle().take(40).collect();
        assert_eq!(scatter(&clusters), Some(8));
        assert_eq!(scatter(&[1, 40_000].repeat(200)), Some(12));
    }

    /// The formula by hand: gaps of 10 and 40 days.
    #[test]
    fn scatter_is_the_posterior_mean() {
        let half = (4.0_f64).ln() / 2.0;
        let variance = (8.0 * 1.21 + 2.0 * half * half) / 9.0 * 1.5;
        assert_eq!(scatter(&[10, 40]), Some((4.0 * (variance / 1.21_f64).sqrt()).round() as i64));
    }

    #[test]
    fn what_is_late_is_as_rare_for_everybody() {
        assert_eq!([None, Some(4)].map(|scatter| late_after(1.5, scatter)), [1.5; 2]);
        assert_eq!([1, 2, 8, 12].map(|s| late_after(3.0, Some(s))), [1.316, 1.732, 9.0, 27.0]);
        assert_eq!(late_after(0.5, Some(8)), 0.25);
        // What cannot be stored.
        assert_eq!([-3, 0, 99].map(|s| late_after(3.0, Some(s))), [1.316, 1.316, 27.0]);
    }
}
