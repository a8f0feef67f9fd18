use super::super::fixtures::{self, CUSTOMERS, EDGES, Known};
use super::*;

#[track_caller]
fn close(found: f64, wanted: f64, relative: f64) {
    assert!((found - wanted).abs() <= relative * wanted.abs().max(1e-12), "{found} is not {wanted}");
}

/// The likelihood of one customer alone.
fn of_one(model: &CountModel, h: History) -> f64 {
    model.log_likelihood(&Sample::new([h], 0.0))
}

#[test]
fn the_likelihood_of_single_customers_as_computed_with_forty_digits() {
    for known in CUSTOMERS.iter().chain(EDGES) {
        for (model, numbers) in [(fixtures::MBG, known.mbg), (fixtures::BG, known.bg)] {
            let (found, wanted) = (of_one(&model, known.history()), numbers[0]);
            assert!((found - wanted).abs() <= 1e-9 * wanted.abs() + 1e-15, "{found} is not {wanted}");
        }
    }
}

#[test]
fn the_gradient_is_the_slope() {
    let sample = Sample::new(CUSTOMERS.iter().chain(&EDGES[..6]).map(Known::history), 12.0);
    for family in [Family::Mbg, Family::Bg] {
        for k in REGULARITIES {
            for prior in [None, Some(&POOLED)] {
                let at = [-0.4, 1.3, 0.2, 0.7];
                let value = |at: [f64; 4]| CountModel::of_logs(family, k, &at).objective(&sample, prior);
                let (_, slopes) = value(at);
                for i in 0..4 {
                    let moved = |by: f64| {
                        let mut at = at;
                        at[i] += by;
                        value(at).0
                    };
                    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    assert!((slopes[i] - slope).abs() < 1e-7 * slope.abs().max(1.0), "{family:?} {k} {i}");
                }
            }
        }
    }
}

/// The likelihood as the papers derive it: rate and chance of leaving integrated out by brute force.
#[test]
fn regular_timing_is_what_its_story_says() {
    let model = CountModel { family: Family::Mbg, k: 3, r: 2.0, alpha: 1.5, a: 2.0, b: 3.0 };
    // Gaps of 2 and 3 weeks, then 4 weeks of silence.
    let h = History::new(2, 5.0, 9.0).unwrap();
    let density = |rate: f64| {
        let gap = |t: f64| rate.powi(3) * t * t * (-rate * t).exp() / 2.0;
        let silence = (-rate * 4.0).exp() * (1.0 + 4.0 * rate + (4.0 * rate).powi(2) / 2.0);
        let prior = 1.5_f64.powi(2) * rate * (-1.5 * rate).exp();
        (gap(2.0) * gap(3.0) * prior, silence)
    };
    let steps = 20_000;
    let (mut here, mut left) = (0.0, 0.0);
    for n in 0..steps {
        let rate = (f64::from(n) + 0.5) * 20.0 / f64::from(steps);
        let (seen, silence) = density(rate);
        here += seen * silence * 20.0 / f64::from(steps);
        left += seen * 20.0 / f64::from(steps);
    }
    // E[(1 − p)³] and E[p (1 − p)²] of p ~ beta(2, 3).
    let (stays, leaves) = (3.0 * 4.0 * 5.0 / (5.0 * 6.0 * 7.0), 2.0 * 3.0 * 4.0 / (5.0 * 6.0 * 7.0));
    let sample = Sample::new([h], 2_f64.ln() + 3_f64.ln());
    close(model.log_likelihood(&sample), (here * stays + left * leaves).ln(), 1e-6);
    close(model.alive(&h), here * stays / (here * stays + left * leaves), 1e-6);
}

/// The CDNOW sample to 1997-09-30, with the gaps between orders.
fn cdnow() -> Option<Sample> {
    let end = fixtures::day("1997-09-30");
    let (mut histories, mut log_gaps) = (Vec::new(), 0.0);
    for customer in fixtures::purchases("cdnow_sample.csv.gz")? {
        let days: Vec<i64> = customer.into_keys().filter(|d| *d <= end).collect();
        let weeks = |from: i64, to: i64| (to - from) as f64 / 7.0;
        log_gaps += days.windows(2).map(|w| weeks(w[0], w[1]).ln()).sum::<f64>();
        let recency = weeks(days[0], *days.last()?);
        histories.push(History::new(days.len() as u32 - 1, recency, weeks(days[0], end)).unwrap());
    }
    Some(Sample::new(histories, log_gaps))
}

#[test]
fn cdnow_as_published() {
    let Some(sample) = cdnow() else { return };
    assert_eq!((sample.customers(), sample.groups().len(), sample.repeaters()), (2357, 1016, 946));

    let mbg = fit(Family::Mbg, 1, &sample, None);
    close(mbg.log_likelihood, -9_582.135_715_553_748, 1e-9);
    for (found, wanted) in mbg.model.parameters().iter().zip(fixtures::MBG.parameters()) {
        close(*found, wanted, 1e-5);
    }
    let errors = [0.083_268, 0.695_622, 0.154_790, 0.537_496];
    for (found, wanted) in mbg.standard_errors.iter().zip(errors) {
        close(found.unwrap(), wanted, 1e-3);
    }
    assert!(mbg.converged && mbg.boundaries.is_empty());

    let bg = fit(Family::Bg, 1, &sample, None);
    close(bg.log_likelihood, -9_582.429_206_673_929, 1e-9);
    for (found, wanted) in bg.model.parameters().iter().zip(fixtures::BG.parameters()) {
        close(*found, wanted, 1e-5);
    }

    // With k stages between orders, as the reference has it; people who buy music keep no rhythm.
    let two = fit(Family::Mbg, 2, &sample, None);
    close(two.log_likelihood, -9_853.253_128_515_702, 1e-8);
    for (found, wanted) in two.model.parameters().iter().zip([0.579_896, 2.288_149, 1.134_453, 1.584_975]) {
        close(*found, wanted, 1e-3);
    }
    close(fit(Family::Mbg, 3, &sample, None).log_likelihood, -10_394.362_651_624_764, 1e-8);
    assert_eq!(fit_best(Family::Mbg, &sample, None).model.k, 1);

    // A belief weighs little against two thousand customers.
    let pooled = fit(Family::Mbg, 1, &sample, Some(&POOLED));
    assert!(mbg.log_likelihood - pooled.log_likelihood < 0.2 && pooled.log_likelihood < mbg.log_likelihood);
}

#[test]
fn days_or_weeks_make_no_difference() {
    let weeks = Sample::new(simulated(300, 1), 0.0);
    let days = Sample::new(
        simulated(300, 1).into_iter().map(|h| History::new(h.repeats, h.recency * 7.0, h.observed * 7.0).unwrap()),
        0.0,
    );
    let (in_weeks, in_days) = (fit(Family::Mbg, 1, &weeks, None).model, fit(Family::Mbg, 1, &days, None).model);
    for (w, d) in
        in_weeks.parameters().iter().zip(in_days.parameters()).zip([1.0, 7.0, 1.0, 1.0]).map(|((w, d), f)| (w * f, d))
    {
        close(d, w, 1e-4);
    }
}

/// Customers of a shop that works as the model says, drawn with a fixed seed: r 1.2, α 6 weeks, a 1, b 2.5.
fn simulated(customers: u32, k: u32) -> Vec<History> {
    let model = CountModel { family: Family::Mbg, k, r: 1.2, alpha: 6.0 / f64::from(k), a: 1.0, b: 2.5 };
    let mut shop = fixtures::Shop::new(model, 7);
    (0..customers).map(|n| shop.customer(30.0 + f64::from(n % 40), 0.0).history).collect()
}

#[test]
fn a_simulated_shop_gives_its_parameters_back() {
    for k in REGULARITIES {
        let sample = Sample::new(simulated(6_000, k), 0.0);
        let found = fit(Family::Mbg, k, &sample, None);
        assert!(found.converged && found.boundaries.is_empty(), "{found:?}");
        let wanted = [1.2, 6.0 / f64::from(k), 1.0, 2.5];
        for i in 0..4 {
            let (at, error) = (found.model.parameters()[i], found.standard_errors[i].unwrap());
            assert!((at - wanted[i]).abs() < 3.5 * error, "{k}: {} {at} ± {error}", PARAMETERS[i]);
        }
    }
}

#[test]
fn samples_without_an_answer_are_named() {
    let of = |h: &[(u32, f64, f64)], copies: usize| {
        let histories = h.iter().map(|(x, t_x, t)| History::new(*x, *t_x, *t).unwrap());
        Sample::new(std::iter::repeat_n(histories, copies).flatten(), 0.0)
    };
    // Nobody came back; everybody the same; a clock; one customer; none.
    for (what, sample, expected) in [
        ("no repeats", of(&[(0, 0.0, 26.0), (0, 0.0, 30.0)], 250), None),
        ("identical", of(&[(4, 20.0, 26.0)], 500), Some(Boundary::OneRate)),
        (
            "nobody leaves",
            of(&[(10, 51.0, 52.0), (12, 51.5, 52.0), (8, 50.0, 52.0)], 100),
            Some(Boundary::NobodyLeaves),
        ),
        ("one", of(&[(1, 3.0, 9.0)], 1), None),
        ("none", Sample::default(), None),
    ] {
        for k in REGULARITIES {
            let found = fit(Family::Mbg, k, &sample, None);
            let finite = found.model.parameters().iter().all(|p| p.is_finite() && *p > 0.0);
            assert!(finite && found.log_likelihood.is_finite(), "{what}: {found:?}");
            if let Some(expected) = expected.filter(|_| k == 1) {
                assert!(found.boundaries.contains(&expected), "{what}: {found:?}");
            }
            let h = History::new(3, 10.0, 30.0).unwrap();
            let said = found.expected_orders(&h, 13.0);
            assert!(said.low <= said.value && said.value <= said.high && said.value.is_finite(), "{what}: {said:?}");
        }
    }
}

#[test]
fn contradictions_are_no_history() {
    for (x, t_x, t) in [
        (1, 5.0, 4.0),
        (0, 1.0, 4.0),
        (1, -1.0, 4.0),
        (0, 0.0, -1.0),
        (1, f64::NAN, 4.0),
        (1, 1.0, f64::INFINITY),
        (REPEATS_MAX + 1, 1.0, 2.0),
    ] {
        assert_eq!(History::new(x, t_x, t), None, "{x} {t_x} {t}");
    }
    assert!(History::new(0, 0.0, 0.0).is_some());
}
