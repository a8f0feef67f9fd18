//! What the count models know of customers: three numbers each, and equal ones counted together ([`Sample`]), since the likelihood costs
//! what differs. Times in weeks.

use std::collections::BTreeMap;

/// Repeat orders of one customer at most; more is no customer.
pub const REPEATS_MAX: u32 = 100_000;
/// Times that differ by less than this share are alike where histories are condensed.
const ALIKE_STEP: f64 = 0.06;

/// What the models need to know of a customer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct History {
    /// Repeat orders: days with orders, less one.
    pub repeats: u32,
    /// Weeks from the first order to the last; `t_x` of the papers. 0 without repeat orders.
    pub recency: f64,
    /// Weeks from the first order to the end of what was observed; `T` of the papers.
    pub observed: f64,
}

impl History {
    /// `None` when the numbers contradict each other: times not finite or negative, the last order after the end, a recency without repeat
    /// orders, more than [`REPEATS_MAX`] of them.
    pub fn new(repeats: u32, recency: f64, observed: f64) -> Option<History> {
        let ordered = (0.0..=observed).contains(&recency) && observed.is_finite();
        (ordered && repeats <= REPEATS_MAX && (repeats > 0 || recency == 0.0)).then_some(History {
            repeats,
            recency,
            observed,
        })
    }
}

/// Customers to learn from, equal ones counted together: the likelihood costs what differs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    groups: Vec<(History, f64)>,
    customers: u64,
    /// Σ ln(weeks) over the gaps between orders of everybody; 0 for gaps nobody knows, which then must not be compared between k.
    log_gaps: f64,
}

impl Sample {
    /// Customers, and the sum of ln(weeks) over all gaps between their orders.
    pub fn new(histories: impl IntoIterator<Item = History>, log_gaps: f64) -> Sample {
        Sample::of_groups(histories.into_iter().map(|h| (h, 1)), log_gaps)
    }

    /// The same from histories that were counted already.
    pub fn of_groups(groups: impl IntoIterator<Item = (History, u64)>, log_gaps: f64) -> Sample {
        // The bits of times that are not negative sort as the times do.
        let mut counted: BTreeMap<(u32, u64, u64), u64> = BTreeMap::new();
        for (h, customers) in groups {
            *counted.entry((h.repeats, h.recency.to_bits(), h.observed.to_bits())).or_default() += customers;
        }
        let customers = counted.values().sum();
        let groups = counted
            .into_iter()
            .map(|((repeats, recency, observed), n)| {
                let (recency, observed) = (f64::from_bits(recency), f64::from_bits(observed));
                (History { repeats, recency, observed }, n as f64)
            })
            .collect();
        Sample { groups, customers, log_gaps }
    }

    /// The same with histories that are nearly alike counted as one of their mean: where there are very many, the likelihood costs a
    /// fraction and moves by less than its own uncertainty.
    pub fn condensed(&self) -> Sample {
        let step = |weeks: f64| (weeks.ln_1p() / ALIKE_STEP) as u64;
        let mut cells: BTreeMap<(u32, u64, u64), (f64, f64, f64)> = BTreeMap::new();
        for (h, n) in &self.groups {
            let cell = cells.entry((h.repeats, step(h.recency), step(h.observed - h.recency))).or_default();
            *cell = (cell.0 + n, cell.1 + n * h.recency, cell.2 + n * h.observed);
        }
        let groups = cells.into_iter().map(|((repeats, ..), (n, recency, observed))| {
            (History { repeats, recency: recency / n, observed: (observed / n).max(recency / n) }, n)
        });
        Sample { groups: groups.collect(), ..*self }
    }

    /// Distinct histories, fewest repeat orders first, and how many customers have each.
    pub fn groups(&self) -> &[(History, f64)] {
        &self.groups
    }

    /// Σ ln(weeks) over the gaps between orders of everybody.
    pub fn log_gaps(&self) -> f64 {
        self.log_gaps
    }

    pub fn customers(&self) -> u64 {
        self.customers
    }

    /// How many ordered again at all.
    pub fn repeaters(&self) -> u64 {
        self.groups.iter().filter(|(h, _)| h.repeats > 0).map(|(_, n)| *n as u64).sum()
    }

    /// Mean over customers.
    pub(super) fn mean(&self, of: impl Fn(&History) -> f64) -> f64 {
        self.groups.iter().map(|(h, n)| n * of(h)).sum::<f64>() / (self.customers.max(1)) as f64
    }

    pub(super) fn repeats_max(&self) -> u32 {
        self.groups.iter().map(|(h, _)| h.repeats).max().unwrap_or(0)
    }
}
