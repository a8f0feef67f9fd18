//! All that is said of one customer at once ([`Outlook`]), and the same for a million customers.
//!
//! Whether somebody is still a customer costs little and turns sharply, so it is computed for each. What holds given that they are is smooth
//! in the customer's three numbers: [`Grid`] computes it at the corners of cells only, each when it is first needed, and interpolates
//! between them, orders and times by their logarithms, probabilities by their log odds. Where two numbers are in order (90 days and 12
//! months, an order and being a customer) they stay so. A test holds it to the exact numbers.
//!
//! Times in weeks of the calendar that the model was fitted with.

use std::collections::HashMap;

use super::counts::{CountFit, History};
use super::forecast::whole;
use super::interval::Estimate;
use super::special::{log_odds, logistic};

/// Of customers like this one, still customers, so many have ordered again by the low, the middle and the high of the next order.
const NEXT_ORDER_SHARES: [f64; 3] = [0.1, 0.5, 0.9];
/// Cells grow with time: each is this much of (a week and) the time at which it begins.
const TIME_STEP: f64 = 0.12;
/// Up to here every number of repeat orders has corners of its own …
const REPEATS_EXACT: u32 = 8;
/// … and from here on cells grow likewise.
const REPEATS_STEP: f64 = 0.15;
/// Numbers at a corner.
const NUMBERS: usize = 13;

/// What the future is cut into; weeks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Horizons {
    /// 90 days.
    pub short: f64,
    /// Ends of the quarters of a year.
    pub quarters: [f64; 4],
    /// What a quarter's delay leaves of a value, 0 to 1.
    pub discount: f64,
}

/// What a model says of a customer. Intervals are those of [`CountFit`]: numbers of orders with chance and all, probabilities as far as the
/// parameters are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    pub orders_90d: Estimate,
    pub orders_12m: Estimate,
    /// What the orders of 12 months count when later ones count less.
    pub worth: f64,
    pub alive: Estimate,
    /// An order within 90 days.
    pub orders_at_all: Estimate,
    /// Weeks; `None` for never.
    pub next_order: [Option<f64>; 3],
}

/// The numbers at a corner, in the forms in which they are interpolated.
type Corner = [f64; NUMBERS];

impl CountFit {
    /// Everything about one customer.
    pub fn outlook(&self, h: &History, horizons: &Horizons) -> Outlook {
        outlook(self.model.alive(h), self.corner(h, horizons))
    }

    fn corner(&self, h: &History, horizons: &Horizons) -> Corner {
        let model = &self.model;
        let (short, year) = (self.orders(h, horizons.short), self.orders(h, horizons.quarters[3]));
        let worth = model.discounted_orders(h, &horizons.quarters, horizons.discount);
        let ln = |x: f64| x.max(f64::MIN_POSITIVE).ln();
        let width = |e: Estimate| (log_odds(e.high) - log_odds(e.value)).max(log_odds(e.value) - log_odds(e.low));
        let [low, middle, high] = NEXT_ORDER_SHARES.map(|share| model.next_order(h, share).map_or(f64::NAN, ln));
        [
            ln(model.orders_given_alive(h, horizons.short)),
            short.low,
            short.high,
            ln(model.orders_given_alive(h, horizons.quarters[3])),
            year.low,
            year.high,
            if year.value > 0.0 { worth / year.value } else { 1.0 },
            width(self.alive(h)),
            log_odds(model.orders_at_all_given_alive(h, horizons.short)),
            width(self.orders_at_all(h, horizons.short)),
            low,
            middle,
            high,
        ]
    }
}

fn outlook(alive: f64, numbers: Corner) -> Outlook {
    let [
        short,
        short_low,
        short_high,
        year,
        year_low,
        year_high,
        worth,
        alive_width,
        at_all,
        at_all_width,
        low,
        middle,
        high,
    ] = numbers;
    let orders =
        |given_alive: f64, low: f64, high: f64| whole(Estimate { value: alive * given_alive.exp(), low, high });
    let probability = |value: f64, width: f64| {
        let odds = log_odds(value);
        Estimate { value, low: logistic(odds - width).min(value), high: logistic(odds + width).max(value) }
    };
    let orders_12m = orders(year, year_low, year_high);
    let when = |ln: f64| (!ln.is_nan()).then(|| ln.exp());
    Outlook {
        orders_90d: orders(short, short_low, short_high),
        orders_12m,
        worth: worth * orders_12m.value,
        alive: probability(alive, alive_width),
        orders_at_all: probability(alive * logistic(at_all), at_all_width),
        next_order: [low, middle, high].map(when),
    }
}

/// Outlooks of many customers.
#[derive(Debug)]
pub struct Grid {
    fit: CountFit,
    horizons: Horizons,
    corners: HashMap<[u32; 3], Corner>,
}

impl Grid {
    pub fn new(fit: CountFit, horizons: Horizons) -> Grid {
        Grid { fit, horizons, corners: HashMap::new() }
    }

    /// [`CountFit::outlook`], between corners.
    pub fn outlook(&mut self, h: &History) -> Outlook {
        let axes = [repeats_place(h.repeats), time_place(h.recency), time_place(h.observed - h.recency)];
        let mut sum = [0.0; NUMBERS];
        for side in 0..8_u32 {
            let (mut cell, mut weight) = ([0; 3], 1.0);
            for (axis, (from, part)) in axes.into_iter().enumerate() {
                let is_far = side >> axis & 1;
                cell[axis] = from + is_far;
                weight *= if is_far == 1 { part } else { 1.0 - part };
            }
            if weight > 0.0 {
                let (fit, horizons) = (&self.fit, &self.horizons);
                let corner = self.corners.entry(cell).or_insert_with(|| fit.corner(&history_at(cell), horizons));
                for (sum, number) in sum.iter_mut().zip(corner) {
                    *sum += weight * *number;
                }
            }
        }
        outlook(self.fit.model.alive(h), sum)
    }
}

/// The corner before a time, and what part of the cell lies before it.
fn time_place(weeks: f64) -> (u32, f64) {
    let at = weeks.ln_1p() / TIME_STEP;
    (at as u32, at.fract())
}

fn time_at(corner: u32) -> f64 {
    (f64::from(corner) * TIME_STEP).exp_m1()
}

fn repeats_place(repeats: u32) -> (u32, f64) {
    if repeats <= REPEATS_EXACT {
        return (repeats, 0.0);
    }
    let mut from = REPEATS_EXACT + ((f64::from(repeats) / f64::from(REPEATS_EXACT)).ln() / REPEATS_STEP) as u32;
    // Corners lie at whole numbers, which rounding may have put on the other side.
    if repeats_at(from) > repeats {
        from -= 1;
    } else if repeats_at(from + 1) <= repeats {
        from += 1;
    }
    let (low, high) = (repeats_at(from), repeats_at(from + 1));
    (from, f64::from(repeats - low) / f64::from(high - low))
}

fn repeats_at(corner: u32) -> u32 {
    match corner.checked_sub(REPEATS_EXACT) {
        None | Some(0) => corner,
        Some(steps) => (f64::from(REPEATS_EXACT) * (f64::from(steps) * REPEATS_STEP).exp()).round() as u32,
    }
}

fn history_at([repeats, recency, silence]: [u32; 3]) -> History {
    let recency = time_at(recency);
    History { repeats: repeats_at(repeats), recency, observed: recency + time_at(silence) }
}

#[cfg(test)]
mod tests {
    use super::super::counts::{CountModel, Family, Sample, fit};
    use super::super::fixtures::{MBG, Shop};
    use super::*;

    const HORIZONS: Horizons = Horizons { short: 12.86, quarters: [13.0, 26.1, 39.1, 52.1], discount: 0.974 };

    fn fitted(model: CountModel, customers: u32) -> CountFit {
        let mut shop = Shop::new(model, 77);
        let seen = (0..customers).map(|_| shop.customer(80.0, 0.0).history);
        fit(Family::Mbg, model.k, &Sample::new(seen, 0.0), None)
    }

    #[test]
    fn between_corners_it_says_what_the_model_says() {
        for k in [1, 2, 3] {
            let fit = fitted(CountModel { k, alpha: MBG.alpha / f64::from(k), ..MBG }, 3_000);
            let mut grid = Grid::new(fit.clone(), HORIZONS);
            let mut shop = Shop::new(CountModel { k, r: 1.5, ..MBG }, 5);
            let mut off = 0;
            for _ in 0..600 {
                let h = {
                    let observed = 1.0 + 150.0 * shop.uniform();
                    shop.customer(observed, 0.0)
                }
                .history;
                let (said, exact) = (grid.outlook(&h), fit.outlook(&h, &HORIZONS));
                let near = |a: f64, b: f64, what: &str| {
                    assert!((a / b - 1.0).abs() < 0.01 || (a - b).abs() < 1e-3, "{what}: {a} {b} {h:?}")
                };
                near(said.orders_90d.value, exact.orders_90d.value, "90d");
                near(said.orders_12m.value, exact.orders_12m.value, "12m");
                near(said.worth, exact.worth, "worth");
                assert_eq!(said.alive.value, exact.alive.value);
                let width = |e: Estimate| e.high - e.low;
                assert!((width(said.alive) - width(exact.alive)).abs() < 0.02, "{said:?} {exact:?} {h:?}");
                assert!((said.orders_at_all.value - exact.orders_at_all.value).abs() < 0.01, "{said:?} {exact:?}");
                // Where P(alive) is just a tail's probability, the high jumps.
                let far = |a: f64, b: f64| (a - b).abs() > 1.0 + 0.05 * b;
                off += u32::from(
                    far(said.orders_12m.high, exact.orders_12m.high) || far(said.orders_12m.low, exact.orders_12m.low),
                );
                assert!(
                    said.orders_90d.value <= said.orders_12m.value
                        && said.orders_at_all.value <= said.alive.value + 1e-12
                );
                match (said.next_order[1], exact.next_order[1]) {
                    (Some(a), Some(b)) => near(a, b, "next"),
                    (a, b) => assert!(a.is_none() || b.is_none_or(|weeks| weeks > 1e4), "{a:?} {b:?}"),
                }
            }
            assert!(off <= 12, "the intervals of {off} customers of 600 differ by more than an order");
        }
    }

    #[test]
    fn every_number_of_orders_has_its_place() {
        let mut before = -1.0;
        for repeats in (0..2_000).chain([50_000, 100_000]) {
            let (from, part) = repeats_place(repeats);
            let (low, high) = (f64::from(repeats_at(from)), f64::from(repeats_at(from + 1)));
            assert!((0.0..=1.0).contains(&part), "{repeats}: {part}");
            assert!(
                (low + part * (high - low) - f64::from(repeats)).abs() < 1e-6,
                "{repeats} in {low} to {high}, {part}"
            );
            assert!(f64::from(from) + part > before, "{repeats}");
            before = f64::from(from) + part;
        }
        for weeks in [0.0, 0.01, 1.0, 52.0, 5_200.0] {
            let (from, part) = time_place(weeks);
            assert!(
                time_at(from) <= weeks + 1e-9 && weeks <= time_at(from + 1) && (0.0..1.0).contains(&part),
                "{weeks}"
            );
        }
    }

    #[test]
    fn odd_customers_have_finite_numbers() {
        let fit = fitted(MBG, 400);
        let mut grid = Grid::new(fit, HORIZONS);
        for (repeats, recency, observed) in
            [(0, 0.0, 0.0), (100_000, 0.0, 0.0), (100_000, 5_000.0, 5_000.0), (1, 1e-9, 5_000.0)]
        {
            let said = grid.outlook(&History::new(repeats, recency, observed).unwrap());
            for e in [said.orders_90d, said.orders_12m, said.alive, said.orders_at_all] {
                assert!(e.low.is_finite() && e.high.is_finite() && e.low <= e.value && e.value <= e.high, "{said:?}");
            }
        }
    }
}
