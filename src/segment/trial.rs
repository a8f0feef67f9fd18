//! The tests of segment files, run: results as values, nothing is printed here.
//!
//! A case decides `where` for the person it describes; a `pick` depends on everybody else and is not looked at. What is expected of the set of
//! members is tried on [invented people](super::invent), which finds mistakes and proves nothing, and exactly on the project's data
//! ([`run_on_data`]), where the size is known, too.

use super::case::{Bound, Case, Expectation};
use super::compare;
use super::decide::{decide, leaves};
use super::evaluate::{Compiled, Prepared, SEGMENTS_MAX};
use super::explain::{Proof, explain};
use super::given::NOW_DEFAULT;
use super::invent;
use super::library::{Library, Segment};
use super::person::Person;
use super::rule::{Check, Leaf, Number, Op, Reference, Rule, Since, What};
use crate::clock::{self, DAY, Millis};
use crate::db::{Db, DbResult};
use crate::problem::Place;
use crate::profile::fields::Kind;
use crate::settings::Settings;

/// Customers named as examples of those who break a test on the data.
pub const EXAMPLES_MAX: usize = 5;

/// One test and how it ended. A list such as `disjoint_with: [a, b]` is one test for each name.
#[derive(Debug, Clone)]
pub struct Trial {
    pub segment: String,
    pub place: Place,
    /// As the author wrote it: `case: a regular is in`, `disjoint_with: staff`.
    pub test: String,
    pub verdict: Verdict,
}

/// How a test ended.
#[derive(Debug, Clone)]
pub enum Verdict {
    Passed(Ground),
    Failed(Failure),
    /// Why it could not be decided.
    NotChecked(String),
}

/// What a test passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The person it describes.
    Case,
    /// So many invented people, among whom nobody breaks it.
    Invented(usize),
    /// So many people of the project's database: the members, whose number a size is, or all that were looked at.
    Data(i64),
}

/// Why a test failed.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The person is in and was expected out, or the other way round.
    Case {
        expected_in: bool,
        proof: Proof,
    },
    /// The case leaves open what the rule asks; each as it is written under `given`.
    Unstated(Vec<String>),
    Counterexample(Box<Counterexample>),
    /// So many people of the database break it; the ids of a few.
    People {
        people: i64,
        examples: Vec<String>,
    },
    /// The members and everybody.
    Size {
        people: i64,
        everyone: i64,
    },
}

/// Somebody who breaks a test.
#[derive(Debug, Clone)]
pub struct Counterexample {
    pub who: Who,
    /// The segments it is about, and why this person is in them or not.
    pub proofs: [(String, Proof); 2],
}

/// Where somebody comes from.
#[derive(Debug, Clone)]
pub enum Who {
    /// The person of a case.
    Case { name: String, place: Place },
    /// Nobody real: YAML to be pasted under `tests:`.
    Invented { case: String },
}

/// Run the tests of a segment that need no database.
pub fn run(library: &Library, segment: &Segment, settings: &Settings) -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    for case in &segment.tests.cases {
        let verdict = case_verdict(library, segment, case, settings);
        trials.push(trial(segment, &case.place, format!("case: {}", case.name), verdict));
    }
    for test in &segment.tests.sets {
        if let Expectation::Size(bounds) = &test.expectation {
            let why = "its size is only known with data: okaeri test --data".to_owned();
            trials.push(trial(segment, &test.place, size_text(bounds), Verdict::NotChecked(why)));
        }
        for reference in test.expectation.references() {
            let pair = Pair { library, settings, segment, key: test.expectation.key(), other: reference };
            let verdict = pair.verdict(&test.expectation);
            trials.push(trial(segment, &reference.place, pair.text(), verdict));
        }
    }
    trials.sort_by(|a, b| a.place.cmp(&b.place));
    trials
}

/// Run what is expected of a segment's members on the project's data, as of an instant. Exact.
pub async fn run_on_data(
    db: &Db,
    library: &Library,
    segment: &Segment,
    settings: &Settings,
    as_of: Millis,
) -> DbResult<Vec<Trial>> {
    let mut trials: Vec<Trial> = Vec::new();
    for test in &segment.tests.sets {
        if let Expectation::Size(bounds) = &test.expectation {
            let prepared = compiled(library, &[&segment.name], as_of, settings).prepare(db).await?;
            let people = prepared.sizes(db).await?.first().map_or(0, |s| s.people);
            let (everyone,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM profile", vec![]).await?;
            let holds = bounds.iter().all(|(op, bound)| bound.holds(*op, people, everyone));
            let verdict = if holds {
                Verdict::Passed(Ground::Data(people))
            } else {
                Verdict::Failed(Failure::Size { people, everyone })
            };
            trials.push(trial(segment, &test.place, size_text(bounds), verdict));
        }
        for part in test.expectation.references().chunks(SEGMENTS_MAX - 1) {
            let names: Vec<&str> = [&*segment.name].into_iter().chain(part.iter().map(|r| &*r.name)).collect();
            let prepared = compiled(library, &names, as_of, settings).prepare(db).await?;
            let verdicts = verdicts_on_data(db, &prepared, &test.expectation).await?;
            for (reference, verdict) in part.iter().zip(verdicts) {
                let text = format!("{}: {}", test.expectation.key(), reference.name);
                trials.push(trial(segment, &reference.place, text, verdict));
            }
        }
    }
    trials.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(trials)
}

/// One verdict for each segment after the first.
async fn verdicts_on_data(db: &Db, prepared: &Prepared, expectation: &Expectation) -> DbResult<Vec<Verdict>> {
    let others = prepared.names().len() - 1;
    let mut broken: Vec<(i64, Vec<String>)> = vec![(0, Vec::new()); others];
    let mut seen = 0;
    for (first, last) in compare::ranges() {
        for member in prepared.evaluate(db, first, last).await? {
            seen += 1;
            for (n, (people, examples)) in broken.iter_mut().enumerate() {
                if expectation.broken_by(member.bits & 1 != 0, &[member.bits & (2 << n) != 0]) {
                    *people += 1;
                    if examples.len() < EXAMPLES_MAX {
                        examples.push(member.customer_id.clone());
                    }
                }
            }
        }
    }
    let verdict = |(people, examples)| match people {
        0 => Verdict::Passed(Ground::Data(seen)),
        _ => Verdict::Failed(Failure::People { people, examples }),
    };
    Ok(broken.into_iter().map(verdict).collect())
}

fn trial(segment: &Segment, place: &Place, test: String, verdict: Verdict) -> Trial {
    Trial { segment: segment.name.clone(), place: place.clone(), test, verdict }
}

/// Segments of a checked library, at most [`SEGMENTS_MAX`].
fn compiled(library: &Library, names: &[&str], as_of: Millis, settings: &Settings) -> Compiled {
    library.compile(names, as_of, settings).expect("a test names only segments of its library, and few")
}

fn case_verdict(library: &Library, segment: &Segment, case: &Case, settings: &Settings) -> Verdict {
    let prepared = compiled(library, &[&segment.name], case.now, settings).unprepared();
    let person = &case.given.person;
    match decide(&segment.rule, person, &prepared.resolved) {
        Err(unstated) => Verdict::Failed(Failure::Unstated(unstated.iter().map(ToString::to_string).collect())),
        Ok(holds) if holds == case.expect_in => Verdict::Passed(Ground::Case),
        Ok(_) => {
            let proof = proof(&prepared, &segment.name, person, settings);
            Verdict::Failed(Failure::Case { expected_in: case.expect_in, proof })
        }
    }
}

fn proof(prepared: &Prepared, name: &str, person: &Person, settings: &Settings) -> Proof {
    explain(prepared, name, person, settings).expect("the segment was compiled")
}

fn size_text(bounds: &[(Op, Bound)]) -> String {
    let bounds: Vec<String> = bounds.iter().map(|(op, bound)| format!("{} {bound}", op.sign())).collect();
    format!("size: {}", bounds.join(" and "))
}

/// A segment and one that an expectation names.
struct Pair<'a> {
    library: &'a Library,
    settings: &'a Settings,
    segment: &'a Segment,
    key: &'static str,
    other: &'a Reference,
}

impl Pair<'_> {
    fn text(&self) -> String {
        format!("{}: {}", self.key, self.other.name)
    }

    fn verdict(&self, expectation: &Expectation) -> Verdict {
        let names = [self.segment.name.as_str(), self.other.name.as_str()];
        let (member, other) = (Rule::member_of(names[0]), Rule::member_of(names[1]));
        // Who would break it, and whether they would be in the segment.
        let (wish, is_in, told) = match expectation {
            Expectation::SubsetOf(_) => {
                (Rule::All(vec![member, Rule::None(vec![other])]), true, format!("not in {}", names[1]))
            }
            Expectation::DisjointWith(_) => (Rule::All(vec![member, other]), true, format!("also in {}", names[1])),
            Expectation::Covers(_) => {
                (Rule::All(vec![other, Rule::None(vec![member])]), false, format!("in {}", names[1]))
            }
            Expectation::Size(_) => return Verdict::NotChecked("a size names no segment".to_owned()),
        };
        if let Some(failure) = self.broken_by_a_case(expectation, names) {
            return failure;
        }
        let now = self.now(names);
        let prepared = compiled(self.library, &names, now, self.settings).unprepared();
        let resolved = &prepared.resolved;
        let found = invent::search(&wish, resolved, self.settings);
        match found.person {
            Some(_) if names.iter().any(|n| resolved.is_picked(n)) => self.hangs_on_a_pick(),
            Some((sketch, person)) => {
                let name = format!("{} {} and {told}", if is_in { "in" } else { "not in" }, names[0]);
                let remark = format!("today {}", if is_in { "in" } else { "out" });
                let asked = leaves(&wish, resolved);
                let moment = &resolved.moment;
                let case = invent::written(&sketch, &asked, &name, !is_in, &remark, moment, self.settings);
                let proofs = names.map(|n| (n.to_owned(), proof(&prepared, n, &person, self.settings)));
                let who = Who::Invented { case };
                Verdict::Failed(Failure::Counterexample(Box::new(Counterexample { who, proofs })))
            }
            // Whoever is not found in `where` is not picked either, but somebody may be found and not picked.
            None if self.needs_to_be_picked(expectation, &prepared) => self.hangs_on_a_pick(),
            None => Verdict::Passed(Ground::Invented(found.people)),
        }
    }

    /// Whether somebody in a rule may break it by not being picked.
    fn needs_to_be_picked(&self, expectation: &Expectation, prepared: &Prepared) -> bool {
        let picked_inside = |segment: &Segment| segment.rule.references().any(|r| prepared.resolved.is_picked(&r.name));
        let whole = match expectation {
            Expectation::SubsetOf(_) => Some(self.other.name.as_str()),
            Expectation::Covers(_) => Some(self.segment.name.as_str()),
            _ => None,
        };
        whole.is_some_and(|name| prepared.resolved.is_picked(name))
            || picked_inside(self.segment)
            || self.library.get(&self.other.name).is_some_and(picked_inside)
    }

    fn hangs_on_a_pick(&self) -> Verdict {
        Verdict::NotChecked(
            "a `pick` depends on everybody else, so this is only known with data: okaeri test --data".to_owned(),
        )
    }

    /// The people that the cases of both segments describe.
    fn broken_by_a_case(&self, expectation: &Expectation, names: [&str; 2]) -> Option<Verdict> {
        let segments = names.into_iter().filter_map(|n| self.library.get(n));
        for case in segments.flat_map(|s| &s.tests.cases) {
            let prepared = compiled(self.library, &names, case.now, self.settings).unprepared();
            if names.iter().any(|n| prepared.resolved.is_picked(n)) {
                continue;
            }
            let person = &case.given.person;
            let decided = names.map(|n| decide(prepared.resolved.rule(n), person, &prepared.resolved));
            let [Ok(member), Ok(other)] = decided else { continue };
            if expectation.broken_by(member, &[other]) {
                let proofs = names.map(|n| (n.to_owned(), proof(&prepared, n, person, self.settings)));
                let who = Who::Case { name: case.name.clone(), place: case.place.clone() };
                return Some(Verdict::Failed(Failure::Counterexample(Box::new(Counterexample { who, proofs }))));
            }
        }
        None
    }

    /// The instant people are invented for: fixed, or a day after the latest date that a rule names.
    fn now(&self, names: [&str; 2]) -> Millis {
        let fixed = clock::parse_instant(NOW_DEFAULT, &self.settings.time_zone).unwrap_or(0);
        let prepared = compiled(self.library, &names, fixed, self.settings).unprepared();
        let rules = names.map(Rule::member_of);
        let named = rules.iter().flat_map(|r| leaves(r, &prepared.resolved)).flat_map(dates).max();
        named.map_or(fixed, |at| fixed.max(at.saturating_add(DAY)))
    }
}

/// The instants that a leaf names.
fn dates(leaf: &Leaf) -> Vec<Millis> {
    let mut out: Vec<Millis> = Vec::new();
    for (_, window) in leaf.windows() {
        out.extend(window.between.map(|b| b.1));
        out.extend(if let Some(Since::At(at)) = window.since { Some(at) } else { None });
    }
    if let Leaf::Customer { what: What::Field(field), checks, .. } = leaf
        && field.kind == Kind::Instant
    {
        out.extend(checks.iter().filter_map(|c| match c {
            Check::Compare(_, Number::Int(at)) => Some(*at),
            _ => None,
        }));
    }
    out
}
