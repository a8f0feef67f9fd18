//! Recommendations: products for one person, with the reason.
//!
//! ```text
//! orders of everybody → basket → learn → product_sold, product_pair (keep; from time to time)
//! orders of a person + what was learnt + what a campaign asks → choose → Recommended   (when a run is planned)
//! ```
//!
//! Owns the tables recommend_fit, product_sold and product_pair ([`keep`]) and the baskets that spare a fit most of the reading ([`basket`]). What a person has bought is read when they are planned, so `again` and
//! "does not own it yet" are never stale; what goes together is as old as the newest fit. [`learn`] and [`choose`] are pure, and
//! [`backtest`] proves the same two on the shop's own past. Only products of the catalogue are recommended: what has no row in `product`
//! cannot be shown.
//!
//! Amounts are minor units, instants epoch milliseconds.

pub mod backtest;
mod basket;
mod body;
mod bought;
mod choose;
mod keep;
mod learn;
mod recommender;

pub use choose::{Chooser, Person, Pick, Standing};
pub use keep::{FitCard, LearnError, fit, newest, renew_if_old};
pub use learn::{Learner, Learnt, Neighbour, Owned, SUPPORT_MIN, Sold};
pub use recommender::{Recommended, Recommender};

/// Products asked for at most, and by default.
pub const COUNT_MAX: usize = 20;
pub const COUNT_DEFAULT: usize = 4;

/// How products are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// What this person buys again and again.
    Again,
    /// What others buy with what this person bought last.
    Together,
    /// What others have who buy like this person.
    Discover,
    /// What many bought lately, first in this person's categories.
    Popular,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Strategy; 4] = [Strategy::Again, Strategy::Together, Strategy::Discover, Strategy::Popular];

    /// As authors write it.
    pub fn word(self) -> &'static str {
        match self {
            Strategy::Again => "again",
            Strategy::Together => "together",
            Strategy::Discover => "discover",
            Strategy::Popular => "popular",
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Strategy::Again => "what they bought most often",
            Strategy::Together => "what others buy with what they bought last",
            Strategy::Discover => "what others have who bought the same things",
            Strategy::Popular => "what most people bought in the last 90 days, in their categories first",
        }
    }

    /// The strategy of this word.
    pub fn from_word(word: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|s| s.word() == word)
    }

    /// Whether it can find nothing without a fit.
    fn needs_fit(self) -> bool {
        self != Strategy::Again
    }
}

/// What a campaign asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The first that finds something fills the list, the next ones what is left of it.
    pub strategies: Vec<Strategy>,
    /// At most so many products, 1 to [`COUNT_MAX`].
    pub count: usize,
    /// Whoever has fewer gets no mail: `no_content`.
    pub at_least: usize,
    /// Only products of these categories; empty: of any.
    pub categories: Vec<String>,
    /// No products of these.
    pub not_categories: Vec<String>,
    /// Leave out what the person has. `again` is about nothing else and does not ask.
    pub exclude_owned: bool,
    /// Customers who must have bought both products of a pair, at least [`SUPPORT_MIN`].
    pub min_support: u32,
}

impl Asked {
    /// These strategies, and nothing else said.
    pub fn of(strategies: &[Strategy], count: usize) -> Asked {
        Asked {
            strategies: strategies.to_vec(),
            count,
            at_least: 1,
            categories: Vec::new(),
            not_categories: Vec::new(),
            exclude_owned: true,
            min_support: SUPPORT_MIN,
        }
    }

    /// Whether what was learnt of everybody is needed.
    pub fn needs_fit(&self) -> bool {
        self.strategies.iter().any(|s| s.needs_fit())
    }

    /// Whether the rules let a category in. A product without one is in no category.
    fn lets_in(&self, category: Option<&str>) -> bool {
        let among = |list: &[String]| category.is_some_and(|c| list.iter().any(|l| l == c));
        (self.categories.is_empty() || among(&self.categories)) && !among(&self.not_categories)
    }
}
