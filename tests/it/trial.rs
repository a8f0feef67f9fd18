//! The tests of segment files: cases, invented people who find the corners where two rules touch, and the project's data.

use okaeri::problem::Problems;
use okaeri::segment::Library;
use okaeri::segment::trial::{self, Counterexample, Failure, Ground, Trial, Verdict, Who};
use okaeri::settings::{Project, Settings};

fn settings() -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let text = "project: shop\ncurrency: EUR\ntime_zone: Europe/Berlin\ntopics: { offers: Offers, news: News }\n\
                loyalty: { by: spend, tiers: { silver: 200, gold: 500 } }\n\
                sender: { from: hello@example.com, organisation: Shop, postal_address: 1 Road }\n\
                contract:\n  customer: { tags: list, born: date, points: number, vip: flag, account: [staff, guest] }\n  \
                product: { colour: text }\n  events:\n    product.viewed: { sku: text, category: text }\n    \
                survey.nps: { score: number, about: text }\n    ticket.opened: { ticket_id: text }\n    ticket.closed: { rating: number }\n    \
                cart.updated: {}\n";
    std::fs::write(folder.path().join("okaeri.yaml"), text).unwrap();
    let mut problems = Problems::new();
    let project = Project::load_with(folder.path(), |_| None, &mut problems).unwrap();
    assert!(problems.is_empty(), "{}", problems.to_text());
    project.settings
}

/// Segments by name, from texts that follow `segment: NAME`.
fn library(segments: &[(&str, &str)], settings: &Settings) -> Library {
    let texts: Vec<(String, String)> =
        segments.iter().map(|(name, text)| (format!("{name}.yaml"), format!("segment: {name}\n{text}"))).collect();
    let borrowed: Vec<(&str, &str)> = texts.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
    let mut problems = Problems::new();
    let library = Library::from_texts(&borrowed, settings, &mut problems);
    assert!(!problems.has_errors(), "{}\n{texts:#?}", problems.to_text());
    library
}

fn run(library: &Library, name: &str, settings: &Settings) -> Vec<Trial> {
    trial::run(library, library.get(name).unwrap(), settings)
}

/// The only trial of segment `a` that is `key` of `b`.
fn tried(a: &str, key: &str, b: &str, settings: &Settings) -> Verdict {
    let a = format!("where: {a}\ntests: [{{ {key}: b }}]\n");
    let library = library(&[("a", &a), ("b", &format!("where: {b}\n"))], settings);
    let mut trials = run(&library, "a", settings);
    assert_eq!(trials.len(), 1);
    trials.remove(0).verdict
}

/// Pairs of rules that overlap, or stick out, in a corner.
const BROKEN: [(&str, &str, &str); 24] = [
    ("{ customer: orders, gte: 3 }", "disjoint_with", "{ customer: orders, lte: 3 }"),
    (
        "{ all: [{ customer: orders, eq: 1 }, { did: order.placed, in_last: 30d }] }",
        "disjoint_with",
        "{ did: order.placed, more_than_ago: 29d }",
    ),
    (
        "{ all: [{ customer: orders, eq: 1 }, { did: order.placed, in_last: 36h }] }",
        "disjoint_with",
        "{ none: [{ did: order.placed, in_last: 2159m }] }",
    ),
    (
        "{ last: survey.nps, with: { score: { lte: 6 } } }",
        "disjoint_with",
        "{ did: survey.nps, with: { score: { gte: 9 } } }",
    ),
    (
        "{ funnel: [{ did: cart.updated, in_last: 2d }, { did_not: order.placed, within_after: 4h }] }",
        "disjoint_with",
        "{ did: order.placed, in_last: 2d }",
    ),
    (
        "{ funnel: [{ did: cart.updated, in_last: 1d }, { did: order.placed, within_after: 4h }] }",
        "subset_of",
        "{ all: [{ did: order.placed, times: { lte: 1 } }, { bought_not: { category: garden } }] }",
    ),
    ("{ lifecycle: lapsed }", "disjoint_with", "{ bought: { category: garden }, amount: { gte: 50 }, in_last: 1y }"),
    ("{ lifecycle: returned }", "subset_of", "{ customer: orders, lte: 2 }"),
    ("{ rfm: champions }", "disjoint_with", "{ customer: revenue, percentile: { lte: 20 } }"),
    ("{ tier: silver }", "subset_of", "{ customer: orders, gte: 2 }"),
    ("{ did: order.placed, sum: { of: total, gte: 200 } }", "subset_of", "{ customer: revenue, gte: 200 }"),
    (
        "{ all: [{ customer: orders, gte: 3 }, { customer: days_since_last_order, gt: { field: usual_gap_days, multiplied_by: 1.5 } }] }",
        "disjoint_with",
        "{ lifecycle: active }",
    ),
    (
        "{ did: product.viewed, times: { gte: 3 }, in_last: 30d }",
        "subset_of",
        "{ did: product.viewed, distinct: { of: sku, gte: 2 } }",
    ),
    (
        "{ customer: open_tickets, gte: 1 }",
        "disjoint_with",
        "{ did: ticket.closed, with: { rating: { lte: 2 } }, in_last: 14d }",
    ),
    ("{ did: order.placed, days_after: { first_order_at: [1, 30] } }", "subset_of", "{ customer: orders, eq: 2 }"),
    ("{ consent: offers }", "disjoint_with", "{ received: { campaign: win-back, step: letter }, in_last: 60d }"),
    ("{ clicked: spring, times: { gte: 2 } }", "subset_of", "{ received: spring }"),
    (
        "{ customer: tags, has: early }",
        "subset_of",
        "{ none: [{ customer: tags, has: late }, { customer: account, eq: staff }] }",
    ),
    ("{ customer: country, in: [DE, AT] }", "subset_of", "{ customer: country, starts_with: D }"),
    ("{ customer: born, anniversary: { in_next: 7d } }", "disjoint_with", "{ customer: born, gte: 1990-01-01 }"),
    ("{ score: ltv.12m, percentile: { gte: 90 } }", "subset_of", "{ score: ltv.12m, gte: 100 }"),
    (
        "{ did: order.placed, weekday: [saturday, sunday], in_last: 10d }",
        "subset_of",
        "{ did: order.placed, in_last: 5d }",
    ),
    ("{ customer: top_category, eq: garden }", "subset_of", "{ bought_not: { category: home } }"),
    ("{ customer: points, gt: 7 }", "covers", "{ customer: points, gte: 7 }"),
];

/// Pairs for which what is expected follows from the rules.
const SOUND: [(&str, &str, &str); 14] = [
    ("{ customer: orders, gte: 3 }", "disjoint_with", "{ customer: orders, lte: 2 }"),
    (
        "{ all: [{ customer: orders, eq: 1 }, { did: order.placed, in_last: 30d }] }",
        "disjoint_with",
        "{ did: order.placed, more_than_ago: 30d }",
    ),
    ("{ lifecycle: new }", "subset_of", "{ did: order.placed, in_last: 30d }"),
    ("{ lifecycle: lost }", "subset_of", "{ did_not: order.placed, in_last: 365d }"),
    ("{ lifecycle: lead }", "disjoint_with", "{ customer: revenue, percentile: { gte: 0 } }"),
    ("{ rfm: champions }", "subset_of", "{ customer: orders, gte: 4 }"),
    ("{ rfm: [champions, loyal_customers] }", "disjoint_with", "{ rfm: hibernating }"),
    ("{ tier: gold }", "subset_of", "{ did: order.placed, sum: { of: total, gte: 500 } }"),
    ("{ customer: revenue, percentile: { gte: 80 } }", "subset_of", "{ customer: m, eq: 5 }"),
    (
        "{ funnel: [{ did: product.viewed, in_last: 7d }, { did: order.placed, within_after: 1d }] }",
        "subset_of",
        "{ did: order.placed, in_last: 7d }",
    ),
    (
        "{ last: survey.nps, with: { score: { gte: 9 } } }",
        "subset_of",
        "{ did: survey.nps, with: { score: { gt: 8 } } }",
    ),
    ("{ score: alive, gte: 0.5 }", "subset_of", "{ customer: orders, gte: 1 }"),
    ("{ customer: open_tickets, gte: 2 }", "subset_of", "{ did: ticket.opened, times: { gte: 2 } }"),
    ("{ customer: points, gte: 7 }", "covers", "{ customer: points, gt: 7 }"),
];

#[test]
fn corners_where_two_rules_touch_are_found_and_what_is_found_can_be_pasted() {
    let settings = settings();
    let mut missed = Vec::new();
    for (a, key, b) in BROKEN {
        let Verdict::Failed(Failure::Counterexample(found)) = tried(a, key, b, &settings) else {
            missed.push((a, key, b));
            continue;
        };
        let (in_a, in_b) = (found.proofs[0].1.holds, found.proofs[1].1.holds);
        let wanted = match key {
            "subset_of" => (true, false),
            "disjoint_with" => (true, true),
            _ => (false, true),
        };
        assert_eq!((in_a, in_b), wanted, "{a} {key} {b}");
        pasted(&found, [a, b], &settings);
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// The case as it is shown, under the tests of each segment: it reads as the same person, with the same proofs.
fn pasted(found: &Counterexample, rules: [&str; 2], settings: &Settings) {
    let Who::Invented { case } = &found.who else { panic!("nobody was given") };
    for (rule, (name, proof)) in rules.into_iter().zip(&found.proofs) {
        let wrong = if proof.holds { "out" } else { "in" };
        let mut text = format!("where: {rule}\ntests:\n");
        for line in case.lines() {
            let line = if line.starts_with("  expect: ") { format!("  expect: {wrong}") } else { line.to_owned() };
            text.push_str(&format!("  {line}\n"));
        }
        let library = library(&[(name, &text)], settings);
        let trials = run(&library, name, settings);
        let Verdict::Failed(Failure::Case { proof: again, .. }) = &trials[0].verdict else {
            panic!("{text}\n{:#?}", trials[0].verdict)
        };
        assert_eq!(again, proof, "{text}");
    }
}

#[test]
fn nobody_is_found_where_the_rules_leave_nobody() {
    let settings = settings();
    for (a, key, b) in SOUND {
        let verdict = tried(a, key, b, &settings);
        let Verdict::Passed(Ground::Invented(people)) = verdict else { panic!("{a} {key} {b}: {verdict:#?}") };
        assert!(people >= 3_000, "{people}");
    }
}
