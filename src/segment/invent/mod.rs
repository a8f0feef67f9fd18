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
mod rows;
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
/// How often, in percent, something is changed that is not in the way: two leaves may only fit together once a third has another value.
const ASIDE_PERCENT: usize = 15;
/// The seed of every search.
const SEED: u64 = 0x6f6b_6165_7269;

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
            if nudger.draws.percent(ASIDE_PERCENT) {
                nudger.stir_one(&mut changed, &leaves);
            } else {
                nudger.nudge(&mut changed, leaf, wished);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problems;
    use crate::segment::Library;
    use crate::segment::decide::decide;
    use crate::segment::explain::explain;
    use crate::settings::Project;

    fn settings() -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let text = "project: shop\ncurrency: EUR\ntime_zone: America/Sao_Paulo\ntopics: { offers: Offers }\n\
                    loyalty: { by: orders, in_last: 1y, tiers: { silver: 2, gold: 5 } }\n\
                    sender: { from: hello@example.com, organisation: Shop, postal_address: 1 Road }\n";
        std::fs::write(folder.path().join("okaeri.yaml"), text).unwrap();
        Project::load_with(folder.path(), |_| None, &mut Problems::new()).unwrap().settings
    }

    const RULES: [&str; 6] = [
        "{ all: [{ lifecycle: [lapsed, new] }, { none: [{ bought: { category: home }, orders: { gte: 2 } }, { consent: offers }] }] }",
        "{ any: [{ rfm: [champions, at_risk] }, { customer: m, gte: 4 }, { customer: revenue, percentile: { lt: 30 } }] }",
        "{ none: [{ tier: [silver, gold] }, { customer: usual_gap_days, gte: 20.5 }, { score: churn.90d, gt: 0.6 }] }",
        "{ all: [{ in_segment: s1 }, { none: [{ in_segment: [s0, s2] }] }] }",
        "{ any: [{ last: survey.nps, with: { score: { lte: 6 } } }, { customer: open_tickets, gte: 2 }, { customer: birthday, exists: true }] }",
        "{ funnel: [{ did: product.viewed, weekday: monday }, { did_not: order.placed, within_after: 6h }, { did: order.placed, within_after: 3d }] }",
    ];

    #[test]
    fn deciders_and_proofs_agree_on_people_who_do_not_contradict_themselves() {
        let settings = settings();
        let texts: Vec<(String, String)> = RULES
            .iter()
            .enumerate()
            .map(|(n, rule)| (format!("s{n}.yaml"), format!("segment: s{n}\nwhere: {rule}\n")))
            .collect();
        let texts: Vec<(&str, &str)> = texts.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
        let mut problems = Problems::new();
        let library = Library::from_texts(&texts, &settings, &mut problems);
        assert!(!problems.has_errors(), "{}", problems.to_text());
        let names: Vec<&str> = library.names().collect();
        let as_of = crate::clock::parse_instant("2026-07-01T12:00", &settings.time_zone).unwrap();
        let prepared = library.compile(&names, as_of, &settings).unwrap().unprepared();
        let (resolved, moment) = (&prepared.resolved, &prepared.resolved.moment);
        let rules: Vec<Rule> = names.iter().map(|n| Rule::member_of(n)).collect();
        let leaves: Vec<&Leaf> = rules.iter().flat_map(|r| leaves(r, resolved)).collect();
        let pool = Pool::of(&leaves, moment, &settings);
        let mut nudger = Nudger { moment, currency: "EUR", pool: &pool, draws: Draws::new(7) };
        let mut members = vec![0; names.len()];
        for _ in 0..400 {
            let sketch = beginning(&leaves, &mut nudger);
            let person = sketch.person(moment);
            for (n, name) in names.iter().enumerate() {
                let proof = explain(&prepared, name, &person, &settings).unwrap();
                assert_eq!(decide(&rules[n], &person, resolved), Ok(proof.holds), "{name} {sketch:#?}");
                for wished in [true, false] {
                    let misses = Wish::of(&rules[n], wished, &person, resolved).misses;
                    assert_eq!(misses == 0, proof.holds == wished, "{name} {sketch:#?}");
                }
                members[n] += usize::from(proof.holds);
            }
            let is_buyer = person.facts.orders > 0;
            let given = &person.given;
            assert_eq!(given.rfm.is_some(), is_buyer);
            assert!(is_buyer || (given.percentiles.is_empty() && given.fields.keys().all(|f| f.starts_with("c."))));
            assert!(given.stage.is_none() && given.tier.is_none(), "these follow from the orders");
            let rows = &person.rows;
            let instants = rows.orders.iter().map(|o| o.at).chain(rows.events.iter().map(|e| e.at));
            assert!(instants.max().is_none_or(|last| last <= as_of), "nothing has happened yet that comes later");
        }
        assert!(
            members.iter().all(|n| (1..400).contains(n)),
            "each rule is met by some and not by others: {members:?}"
        );
    }
}
