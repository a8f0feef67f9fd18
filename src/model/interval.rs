//! How sure we are: intervals for rates, for the difference of two rates, for the difference of two means, and the smallest effect a
//! comparison of this size could have seen. Intervals are two-sided, at 95 % unless their place says otherwise.
//!
//! Rates: Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209–212) and Newcombe's hybrid of two of them for a difference
//! (Newcombe 1998, Statist. Med. 17, 873–890, method 10). They hold where shops live: small groups and rates near zero, where the
//! schoolbook interval p ± 1.96·s leaves the range 0 … 1 and claims too much. Means: Welch (1947, Biometrika 34, 28–35), since mailed and
//! withheld differ in size and spread.

use serde::Serialize;

use super::special::{ln_beta, log_odds, logistic};

/// The standard normal quantiles of 97.5 % (two-sided 95 %) and of 80 % (power).
const Z_975: f64 = 1.959_963_984_540_054;
pub const Z_POWER_80: f64 = 0.841_621_233_572_914_3;

/// What models say of one customer comes with an interval that holds the truth for this share of customers …
pub const SCORE_SHARE: f64 = 0.8;
/// … and the standard normal quantile that belongs to it, two-sided.
const Z_SCORE: f64 = 1.281_551_565_544_600_4;

/// A value with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Estimate {
    /// A positive value known up to a factor, by the standard error of its logarithm, at [`SCORE_SHARE`].
    pub fn by_factor(value: f64, log_error: f64) -> Estimate {
        let factor = (Z_SCORE * log_error).exp();
        Estimate { value, low: value / factor, high: value * factor }
    }

    /// A probability, by the standard error of its log odds, at [`SCORE_SHARE`]: stays between 0 and 1.
    pub fn by_odds(value: f64, odds_error: f64) -> Estimate {
        let (odds, half) = (log_odds(value), Z_SCORE * odds_error);
        Estimate { value, low: logistic(odds - half).min(value), high: logistic(odds + half).max(value) }
    }

    /// The product of two values, not negative, each known up to a factor and independent of the other. What may be nothing stays so.
    pub fn times(self, other: Estimate) -> Estimate {
        let value = self.value * other.value;
        if value <= 0.0 {
            return Estimate { value, low: value, high: value };
        }
        let below = |e: Estimate| if e.low > 0.0 { (e.value / e.low).ln() } else { f64::INFINITY };
        let above = |e: Estimate| (e.high / e.value).ln();
        let (down, up) = (below(self).hypot(below(other)), above(self).hypot(above(other)));
        Estimate { value, low: value / down.exp(), high: value * up.exp() }
    }

    /// The same in another unit.
    pub fn scaled(self, by: f64) -> Estimate {
        Estimate { value: self.value * by, low: self.low * by, high: self.high * by }
    }

    /// The same of 1 − value, for a probability.
    pub fn complement(self) -> Estimate {
        Estimate { value: 1.0 - self.value, low: 1.0 - self.high, high: 1.0 - self.low }
    }

    /// Whether zero is a plausible value.
    pub fn includes_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// How many of a group did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub reached: u64,
    pub people: u64,
}

/// Number, mean and variance (n − 1 below) of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub people: u64,
    pub mean: f64,
    pub variance: f64,
}

impl Sample {
    /// From the number of values, their sum and the sum of their squares.
    pub fn from_sums(people: u64, sum: f64, squares: f64) -> Sample {
        let n = people as f64;
        let mean = if people > 0 { sum / n } else { 0.0 };
        // Rounding may leave a hair below zero when all values are equal.
        let variance = if people > 1 { ((squares - n * mean * mean) / (n - 1.0)).max(0.0) } else { 0.0 };
        Sample { people, mean, variance }
    }
}

/// Wilson's interval of a rate; `None` for an empty group.
pub fn rate(count: Count) -> Option<Estimate> {
    if count.people == 0 {
        return None;
    }
    let (n, z2) = (count.people as f64, Z_975 * Z_975);
    let p = count.reached as f64 / n;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_975 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // At the ends the formula gives p itself, but for rounding.
    Some(Estimate { value: p, low: (centre - half).clamp(0.0, p), high: (centre + half).clamp(p, 1.0) })
}

/// Newcombe's interval of the difference of two rates, `a` − `b`; `None` when a group is empty.
pub fn rate_difference(a: Count, b: Count) -> Option<Estimate> {
    let (a, b) = (rate(a)?, rate(b)?);
    let value = a.value - b.value;
    Some(Estimate {
        value,
        low: value - (a.value - a.low).hypot(b.high - b.value),
        high: value + (a.high - a.value).hypot(b.value - b.low),
    })
}

/// Welch's interval of the difference of two means, `a` − `b`; `None` when a group has fewer than two values or nothing varies.
pub fn mean_difference(a: Sample, b: Sample) -> Option<Estimate> {
    let (error, freedom) = welch(a, b)?;
    let value = a.mean - b.mean;
    let half = t_975(freedom) * error;
    Some(Estimate { value, low: value - half, high: value + half })
}

/// The smallest difference from `base` (a rate) that groups of these sizes would find with the given power: the larger rate minus the
/// base, by the normal approximation of Fleiss (Statistical Methods for Rates and Proportions, 3rd ed., eq. 4.14, without continuity
/// correction). `None` when even certainty would not be found, or a group is empty.
pub fn smallest_rate_difference(base: f64, a: u64, b: u64, z_power: f64) -> Option<f64> {
    if a == 0 || b == 0 {
        return None;
    }
    let (n, m) = (a as f64, b as f64);
    let found = |p: f64| {
        let pooled = (n * p + m * base) / (n + m);
        let under_null = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
        let under_effect = (p * (1.0 - p) / n + base * (1.0 - base) / m).sqrt();
        p - base >= Z_975 * under_null + z_power * under_effect
    };
    let (mut low, mut high) = (base, 1.0);
    if !found(high) {
        return None;
    }
    // 60 halvings reach the last bit of a double.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if found(middle) { high = middle } else { low = middle }
    }
    Some(high - base)
}

/// The smallest difference of means that samples like these would find with the given power.
pub fn smallest_mean_difference(a: Sample, b: Sample, z_power: f64) -> Option<f64> {
    let (error, freedom) = welch(a, b)?;
    Some((t_975(freedom) + z_power) * error)
}

/// Standard error and degrees of freedom (Welch 1947; Satterthwaite 1946).
fn welch(a: Sample, b: Sample) -> Option<(f64, f64)> {
    if a.people < 2 || b.people < 2 {
        return None;
    }
    let (n, m) = (a.people as f64, b.people as f64);
    let (va, vb) = (a.variance / n, b.variance / m);
    let sum = va + vb;
    if sum <= 0.0 {
        return None;
    }
    Some((sum.sqrt(), sum * sum / (va * va / (n - 1.0) + vb * vb / (m - 1.0))))
}

/// The 97.5 % quantile of Student's t, by bisection of its distribution function. `freedom` ≥ 1.
fn t_975(freedom: f64) -> f64 {
    // At one degree of freedom it is 12.7; no pair of samples has fewer.
    let (mut low, mut high) = (Z_975, 13.0);
    for _ in 0..60 {
        let t = f64::midpoint(low, high);
        let tail = 0.5 * beta(freedom / (freedom + t * t), freedom / 2.0, 0.5);
        if tail > 0.025 { low = t } else { high = t }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function I_x(a, b) by its continued fraction (Abramowitz & Stegun 26.5.8), evaluated after Lentz.
fn beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges fast below this point; above, I_x(a, b) = 1 − I_{1−x}(b, a).
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta(1.0 - x, b, a);
    }
    let front = (a * x.ln() + b * (1.0 - x).ln() - ln_beta(a, b)).exp() / a;
    let away_from_zero = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d) = (1.0, 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0)));
    let mut sum = d;
    for m in 1..BETA_TERMS_MAX {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + term * d);
            c = away_from_zero(1.0 + term / c);
            step = c * d;
            sum *= step;
        }
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * sum
}

/// Terms of the continued fraction at most; it needs about the square root of the larger parameter.
const BETA_TERMS_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn count(reached: u64, people: u64) -> Count {
        Count { reached, people }
    }

    #[track_caller]
    fn close(found: f64, published: f64, within: f64) {
        assert!((found - published).abs() <= within, "{found} is not {published}");
    }

    #[test]
    fn wilson_as_published() {
        // Newcombe 1998, Statist. Med. 17, 857–872, table I, method 3.
        for (x, n, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let e = rate(count(x, n)).unwrap();
            close(e.low, low, 5e-5);
            close(e.high, high, 5e-5);
        }
        assert_eq!(rate(count(0, 0)), None);
    }

    #[test]
    fn newcombe_as_published() {
        // Newcombe 1998, Statist. Med. 17, 873–890, table II, method 10.
        for ((a, m), (b, n), low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((6, 7), (2, 7), 0.0582, 0.8062),
            ((5, 56), (0, 29), -0.0381, 0.1926),
            ((0, 10), (0, 20), -0.1611, 0.2775),
            ((0, 10), (0, 10), -0.2775, 0.2775),
            ((10, 10), (0, 20), 0.6791, 1.0),
            ((10, 10), (0, 10), 0.6075, 1.0),
        ] {
            let e = rate_difference(count(a, m), count(b, n)).unwrap();
            close(e.low, low, 5e-5);
            close(e.high, high, 5e-5);
        }
        assert_eq!(rate_difference(count(1, 2), count(0, 0)), None);
    }

    #[test]
    fn welch_as_published() {
        // Student's sleep data (Cushny & Peebles 1905), as R's t.test(extra ~ group, data = sleep) prints them.
        let of = |v: [f64; 10]| Sample::from_sums(10, v.iter().sum(), v.iter().map(|x| x * x).sum());
        let a = of([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]);
        let b = of([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]);
        close(welch(a, b).unwrap().1, 17.776, 5e-4);
        let e = mean_difference(a, b).unwrap();
        close(e.low, -3.365_483_2, 1e-6);
        close(e.high, 0.205_483_2, 1e-6);
        assert!(e.includes_zero());
    }

    #[test]
    fn students_t_as_tabled() {
        for (freedom, t) in
            [(1.0, 12.706_205), (2.0, 4.302_653), (10.0, 2.228_139), (30.0, 2.042_272), (1e6, 1.959_966)]
        {
            close(t_975(freedom), t, 1e-6);
        }
    }

    #[test]
    fn power_as_published() {
        // R's help of power.prop.test: p1 = 0.50, p2 = 0.75, power = 0.90 needs n = 76.7 a group.
        let z_90 = 1.281_551_565_5;
        assert!(smallest_rate_difference(0.5, 76, 76, z_90).unwrap() > 0.25);
        assert!(smallest_rate_difference(0.5, 77, 77, z_90).unwrap() < 0.25);
        assert_eq!(smallest_rate_difference(0.5, 2, 2, z_90), None);
        assert_eq!(smallest_rate_difference(0.5, 0, 100, z_90), None);
    }

    #[test]
    fn factors_and_odds() {
        let (three, two) = (Estimate::by_factor(3.0, 0.3), Estimate::by_factor(2.0, 0.4));
        let six = three.times(two);
        close(six.value, 6.0, 1e-12);
        close(six.high, Estimate::by_factor(6.0, 0.5).high, 1e-12);
        close(six.low, Estimate::by_factor(6.0, 0.5).low, 1e-12);
        let none = Estimate { value: 0.0, low: 0.0, high: 0.0 };
        assert_eq!(none.times(two), none);
        let likely = Estimate::by_odds(0.9, 0.5);
        close(likely.high, 9.0 * (Z_SCORE * 0.5).exp() / (1.0 + 9.0 * (Z_SCORE * 0.5).exp()), 1e-12);
        let perhaps = Estimate { value: 3.0, low: 0.0, high: 5.0 }.times(two);
        assert_eq!(perhaps.low, 0.0, "what may be nothing stays so");
        assert!(perhaps.high > 10.0 && perhaps.high < 5.0 * two.high);
        close(likely.complement().low, 1.0 - likely.high, 1e-15);
        for p in [0.0, 1e-300, 1.0] {
            let e = Estimate::by_odds(p, 40.0);
            assert!((0.0..=p).contains(&e.low) && (p..=1.0).contains(&e.high), "{e:?}");
        }
    }

    #[test]
    fn nothing_is_claimed_without_spread_or_people() {
        let flat = Sample::from_sums(5, 10.0, 20.0);
        assert_eq!(mean_difference(flat, flat), None);
        assert_eq!(mean_difference(Sample::from_sums(1, 3.0, 9.0), flat), None);
        assert_eq!(Sample::from_sums(0, 0.0, 0.0).mean, 0.0);
    }
}
