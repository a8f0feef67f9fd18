//! What the count models know of customers: three numbers each, and equal ones counted together ([`Sample`]), since the likelihood costs
//! what differs. Times in weeks.

use std::collections::BTreeMap;

/// Repeat orders of one customer at most; more is no customer.
pub const REPEATS_MAX: u32 = 100_000;

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

    /// Every n-th history, so that there are `most` at most; `None` when there are no more anyway.
    pub(super) fn thinned(&self, most: usize) -> Option<Sample> {
        if self.groups.len() <= most {
            return None;
        }
        let groups: Vec<_> = self.groups.iter().step_by(self.groups.len().div_ceil(most)).copied().collect();
        let repeats = |groups: &[(History, f64)]| groups.iter().map(|(h, n)| n * f64::from(h.repeats)).sum::<f64>();
        let share = repeats(&groups) / repeats(&self.groups).max(1.0);
        let customers = groups.iter().map(|(_, n)| *n).sum::<f64>() as u64;
        Some(Sample { groups, customers, log_gaps: self.log_gaps * share })
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
