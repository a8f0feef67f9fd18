use super::super::counts::{Family, REGULARITIES, Sample, fit};
use super::super::fixtures::{self, CUSTOMERS, EDGES, Shop};
use super::*;

#[track_caller]
fn close(found: f64, wanted: f64) {
    assert!((found - wanted).abs() <= 1e-9 * wanted.abs(), "{found} is not {wanted}");
}

fn history(repeats: u32, recency: f64, observed: f64) -> History {
    History::new(repeats, recency, observed).unwrap()
}

#[test]
fn single_customers_as_computed_with_forty_digits() {
    for known in CUSTOMERS.iter().chain(EDGES) {
        for (model, numbers) in [(fixtures::MBG, known.mbg), (fixtures::BG, known.bg)] {
            let h = known.history();
            close(model.alive(&h), numbers[1]);
            for (weeks, wanted) in [4.0, 13.0, 39.0, 52.0].into_iter().zip(&numbers[2..6]) {
                close(model.expected_orders(&h, weeks), *wanted);
            }
            for (weeks, wanted) in [30.0 / 7.0, 90.0 / 7.0, 39.0].into_iter().zip(&numbers[6..9]) {
                close(model.orders_at_all(&h, weeks), *wanted);
            }
            close(model.next_order_median(&h).unwrap(), numbers[9]);
        }
    }
}

#[test]
fn as_published() {
    // Fader, Hardie & Lee 2005: customer 0001 is expected to make 1.23 purchases in the next 39 weeks.
    let model = CountModel { family: Family::Bg, k: 1, r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 };
    assert!((model.expected_orders(&history(2, 30.43, 38.86), 39.0) - 1.226).abs() < 5e-4);
    // Repeat orders expected of new customers of the CDNOW sample.
    let new = history(0, 0.0, 0.0);
    close(fixtures::MBG.expected_orders(&new, 104.0), 2.113_624_207_730_839);
    close(fixtures::BG.expected_orders(&new, 104.0), 2.199_827_964_426_512_4);
}

/// What a regular model says of customers to come is what becomes of simulated ones.
#[test]
fn regular_customers_do_what_is_said_of_them() {
    for k in REGULARITIES {
        let model = CountModel { family: Family::Mbg, k, r: 1.5, alpha: 5.0 / f64::from(k), a: 0.9, b: 2.5 };
        let mut shop = Shop::new(model, 11);
        let (mut said, mut did, mut said_any, mut any, mut said_alive, mut alive) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        let (mut spread, mut inside) = (0.0, 0.0);
        let customers = 20_000;
        for n in 0..customers {
            let seen = shop.customer(10.0 + f64::from(n % 40), 20.0);
            let expected = model.expected_orders(&seen.history, 20.0);
            let (low, high) = model.orders_range(&seen.history, 20.0, 0.9);
            said += expected;
            did += f64::from(seen.later);
            spread += (f64::from(seen.later) - expected).powi(2);
            said_any += model.orders_at_all(&seen.history, 20.0);
            any += f64::from(seen.later > 0);
            said_alive += model.alive(&seen.history);
            alive += f64::from(seen.alive);
            inside += f64::from((low..=high).contains(&seen.later));
        }
        let people = f64::from(customers);
        assert!((said - did).abs() < 3.5 * spread.sqrt(), "{k}: said {said}, did {did} ± {}", spread.sqrt());
        // Probabilities of n people stray by √n / 2 at most.
        assert!((said_any - any).abs() < 3.5 * people.sqrt() / 2.0, "{k}: said {said_any}, did {any}");
        assert!((said_alive - alive).abs() < 3.5 * people.sqrt() / 2.0, "{k}: said {said_alive}, are {alive}");
        // Whole numbers make ranges wider than asked for, never narrower.
        assert!(inside / people > 0.895, "{k}: {inside}");
    }
}

#[test]
fn the_numbers_of_one_customer_agree_with_each_other() {
    for k in REGULARITIES {
        for family in [Family::Mbg, Family::Bg] {
            // a = 1 is a pole of the published formula; a < 1 has no mean number of orders until leaving.
            for a in [0.3, 1.0, 2.0] {
                let model = CountModel { family, k, r: 0.8, alpha: 3.0, a, b: 0.2 };
                for h in [history(0, 0.0, 0.0), history(0, 0.0, 30.0), history(5, 20.0, 26.0)] {
                    let at_least = model.orders_at_least(&h, 26.0, 1e-14);
                    let sum: f64 = at_least[1..].iter().sum();
                    assert!((sum / model.expected_orders(&h, 26.0) - 1.0).abs() < 1e-8, "{sum}");
                    assert!((at_least[1] - model.orders_at_all(&h, 26.0)).abs() < 1e-12);
                    assert!(at_least.windows(2).all(|w| w[1] <= w[0]));
                    let median = model.next_order_median(&h).unwrap();
                    assert!((model.orders_at_all_given_alive(&h, median) - 0.5).abs() < 1e-9);
                    let (sooner, later) = (model.next_order(&h, 0.1).unwrap(), model.next_order(&h, 0.55).unwrap());
                    assert!((model.orders_at_all_given_alive(&h, sooner) - 0.1).abs() < 1e-9);
                    assert!(sooner < median && median < later);
                    let (low, high) = model.orders_range(&h, 26.0, 0.8);
                    assert!(1.0 - at_least[low as usize] <= 0.1 && at_least[high as usize + 1] <= 0.1 + 1e-12);
                }
            }
        }
    }
}

#[test]
fn finite_and_in_order_at_the_edges() {
    let edges = [1e-6, 1e-3, 1.0, 1e3, 1e5];
    let histories = [history(0, 0.0, 0.0), history(1, 0.0, 10.0), history(1, 520.0, 520.0), history(3_000, 1.0, 520.0)];
    for (r, alpha, a, b) in edges
        .into_iter()
        .flat_map(|r| edges.map(|alpha| (r, alpha)))
        .flat_map(|(r, alpha)| [(1e-6, 1.0), (1.0, 1e-6), (1e5, 1e5)].map(|(a, b)| (r, alpha, a, b)))
    {
        for (family, k) in [(Family::Mbg, 1), (Family::Bg, 1), (Family::Mbg, 3)] {
            let model = CountModel { family, k, r, alpha, a, b };
            for h in &histories {
                let alive = model.alive(h);
                let any = model.orders_at_all(h, 13.0);
                let (few, many) = (model.expected_orders(h, 13.0), model.expected_orders(h, 26.0));
                assert!(
                    (0.0..=1.0).contains(&alive) && (-1e-12..=alive + 1e-12).contains(&any),
                    "{model:?} {h:?}: {alive} {any}"
                );
                assert!(
                    few.is_finite() && any <= few * (1.0 + 1e-9) + 1e-12 && few <= many * (1.0 + 1e-9),
                    "{model:?} {h:?}: {any} {few} {many}"
                );
                assert!(model.next_order_median(h).is_none_or(|w| w.is_finite() && w >= 0.0), "{model:?} {h:?}");
            }
        }
    }
    assert_eq!(fixtures::MBG.expected_orders(&history(2, 3.0, 9.0), 0.0), 0.0);
    assert_eq!(CountModel { r: 1e-3, ..fixtures::MBG }.next_order_median(&history(0, 0.0, 9.0)), None);
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let truth = CountModel { family: Family::Mbg, k: 1, r: 1.2, alpha: 6.0, a: 1.0, b: 2.5 };
    let (loyal, quiet) = (history(6, 30.0, 34.0), history(2, 10.0, 34.0));
    let mut held = [0_u32; 3];
    let shops = 60_u32;
    for seed in 0..shops {
        let mut shop = Shop::new(truth, 100 + u64::from(seed));
        let sample = Sample::new((0..800).map(|_| shop.customer(40.0, 0.0).history), 0.0);
        let found = fit(Family::Mbg, 1, &sample, None);
        let holds = |e: Estimate, value: f64| u32::from(e.low <= value && value <= e.high);
        held[0] += holds(found.expected_orders(&loyal, 13.0), truth.expected_orders(&loyal, 13.0));
        held[1] += holds(found.alive(&quiet), truth.alive(&quiet));
        held[2] += holds(found.orders_at_all(&quiet, 13.0), truth.orders_at_all(&quiet, 13.0));
    }
    // 80 % of 60 is 48; fewer than 41 or more than 55 would happen once in a hundred times.
    assert!(held.iter().all(|n| (41..=55).contains(n)), "{held:?} of {shops}");
}
