//! Invented people: looked for until one makes a wish come true, such as "in this segment and not in that".
//!
//! People begin with little and are changed leaf by leaf towards the wish ([`nudge`]), from a fixed seed: the same search finds the same person
//! on every machine. Whoever is found has a history that everything else follows from ([`sketch`]) and is made as simple as possible.
//! That nobody is found proves nothing; it says that at most [`PEOPLE_MAX`] were looked at.
//!
//! Changes alternate with looking, after WalkSAT (Selman, Kautz & Cohen 1994, "Noise Strategies for Improving Local Search").

mod draws;
mod fields;
mod nudge;
mod pool;
mod sketch;
mod written;

use super::decide::{Wish, field_of, leaves};
use super::person::Person;
use super::resolve::Resolved;
use super::rule::{Leaf, Rule};
use crate::settings::Settings;
use draws::Draws;
use nudge::Nudger;
use pool::Pool;
pub(super) use sketch::Sketch;
pub(super) use written::written;

/// The most people looked at for one wish.
pub const PEOPLE_MAX: usize = 3_000;
/// The changes that are tried on one person before another is begun.
const CHANGES_MAX: usize = 60;
/// How often, in percent, a change is kept that makes things worse.
const WORSE_KEPT_PERCENT: usize = 20;
/// The seed of every search.
const SEED: u64 = 0x006f_6b61_6572_69;

/// What a search came to.
pub(super) struct Found {
    /// Whoever makes the wish come true.
    pub person: Option<(Sketch, Person)>,
    /// How many people were looked at.
    pub people: usize,
}

/// Look for somebody for whom `wish` holds.
pub(super) fn search(wish: &Rule, resolved: &Resolved, settings: &Settings) -> Found {
    let leaves: Vec<&Leaf> = leaves(wish, resolved);
    let moment = &resolved.moment;
    let pool = Pool::of(&leaves, moment, settings);
    let mut nudger = Nudger { moment, currency: &settings.currency, pool: &pool, draws: Draws::new(SEED) };
    let mut people = 0;
    let misses = |sketch: &Sketch| Wish::of(wish, true, &sketch.person(moment), resolved).misses;
    while people < PEOPLE_MAX {
        let mut sketch = beginning(&leaves, &mut nudger);
        for _ in 0..CHANGES_MAX {
            let person = sketch.person(moment);
            let now = Wish::of(wish, true, &person, resolved);
            people += 1;
            let Some((leaf, wished)) = now.obstacle(&mut |n| nudger.draws.below(n)) else {
                let simple = simplified(sketch, |s| misses(s) == 0);
                let person = simple.person(moment);
                return Found { person: Some((simple, person)), people };
            };
            let mut changed = sketch.clone();
            nudger.nudge(&mut changed, leaf, wished);
            let then = misses(&changed);
            people += 1;
            if then <= now.misses || nudger.draws.percent(WORSE_KEPT_PERCENT) {
                sketch = changed;
            }
            if people >= PEOPLE_MAX {
                break;
            }
        }
    }
    Found { person: None, people }
}

/// Somebody to begin with.
fn beginning(leaves: &[&Leaf], nudger: &mut Nudger) -> Sketch {
    let mut sketch = Sketch::new();
    for leaf in leaves {
        if let Leaf::Percentile { field, .. } = leaf {
            sketch.percentiles.insert(field.sql, (field, sketch::PERCENTILE_DEFAULT));
        }
        if field_of(leaf).is_some_and(|f| f.sql == "p.m") {
            let revenue = sketch::revenue();
            sketch.percentiles.insert(revenue.sql, (revenue, sketch::PERCENTILE_DEFAULT));
        }
    }
    nudger.stir(&mut sketch, leaves);
    sketch
}

/// Take away what is not needed.
fn simplified(mut sketch: Sketch, still: impl Fn(&Sketch) -> bool) -> Sketch {
    let mut n = 0;
    while n < sketch.pieces() {
        let simpler = sketch.without(n);
        if still(&simpler) {
            sketch = simpler;
        } else {
            n += 1;
        }
    }
    sketch
}
