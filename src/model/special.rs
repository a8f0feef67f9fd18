//! Special functions of the models: what the crate statrs has is taken from there, the rest are forms that neither overflow nor cancel.
//!
//! There is no ₂F₁ here: where the papers need one (expected orders), [`forecast`](super::forecast) sums the same number as a series of
//! positive terms, which has none of ₂F₁'s poles and converges for every horizon.

/// ln Γ(x) for x > 0.
pub fn ln_gamma(x: f64) -> f64 {
    statrs::function::gamma::ln_gamma(x)
}

/// ψ(x), the derivative of ln Γ, for x > 0.
pub fn digamma(x: f64) -> f64 {
    statrs::function::gamma::digamma(x)
}

/// ψ′(x), for x > 0: the variance of the logarithm of a gamma variate of shape x. Abramowitz & Stegun 6.4.6 up to 6, then 6.4.12.
pub fn trigamma(x: f64) -> f64 {
    let (mut sum, mut x) = (0.0, x);
    while x < 6.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    sum + (1.0 + y * (1.0 / 6.0 - y * (1.0 / 30.0 - y * (1.0 / 42.0 - y / 30.0)))) / x + y / 2.0
}

/// ln B(a, b) for a, b > 0.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// ln(1 + eˣ) for every x, and its derivative, [`logistic`], for the price of one.
pub fn softplus_and_slope(x: f64) -> (f64, f64) {
    let small = (-x.abs()).exp();
    let slope = if x >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
    (x.max(0.0) + small.ln_1p(), slope)
}

/// 1 / (1 + e⁻ˣ): the probability of log odds x. Keeps its relative precision down to the smallest double.
pub fn logistic(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// ln(p / (1 − p)), the other way round; finite at both ends.
pub fn log_odds(p: f64) -> f64 {
    p.max(f64::MIN_POSITIVE).ln() - (1.0 - p).max(f64::EPSILON / 2.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() <= 1e-12 * wanted.abs().max(1.0), "{found} is not {wanted}");
    }

    #[test]
    fn gamma_and_its_derivative_as_tabled() {
        // Abramowitz & Stegun: 6.1.8, table 6.4; 6.3.2, 6.3.3.
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
        close(ln_gamma(101.0), (1..=100).map(|n| f64::from(n).ln()).sum());
        close(digamma(1.0), -0.577_215_664_901_532_9);
        close(digamma(0.5), -0.577_215_664_901_532_9 - 2.0 * 2_f64.ln());
        close(digamma(1e-3), digamma(1.001) - 1e3);
        // 6.4.1 and 6.4.4.
        let square = std::f64::consts::PI.powi(2);
        assert!((trigamma(1.0) - square / 6.0).abs() < 1e-8 && (trigamma(0.5) - square / 2.0).abs() < 1e-8);
        assert!((trigamma(50.0) - 0.020_201_333_226_697_13).abs() < 1e-10);
        close(ln_beta(2.0, 3.0), (1.0_f64 / 12.0).ln());
    }

    #[test]
    fn logistic_forms_hold_at_the_ends() {
        for x in [-1e308, -800.0, -700.0, -1.0, 0.0, 1.0, 700.0, 1e308] {
            let (p, q) = (logistic(x), logistic(-x));
            assert!((0.0..=1.0).contains(&p) && (p + q - 1.0).abs() < 1e-15, "{x}");
            let (soft, slope) = softplus_and_slope(x);
            assert!(soft.is_finite() && soft >= x.max(0.0) && (slope - p).abs() < 1e-15);
        }
        for p in [1e-300, 1e-9, 0.3, 0.999] {
            assert!((logistic(log_odds(p)) / p - 1.0).abs() < 1e-12, "{p}");
        }
        assert!(log_odds(0.0).is_finite() && log_odds(1.0).is_finite());
        close(softplus_and_slope(0.3).0, (1.0 + 0.3_f64.exp()).ln());
        assert!((logistic(-600.0) / (-600.0_f64).exp() - 1.0).abs() < 1e-12);
    }
}
