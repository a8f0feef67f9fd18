//! The tests of segment files: cases, invented people who find the corners where two rules touch, and the project's data.

mod campaigns;

use std::path::Path;
use std::process::Command;

use okaeri::problem::Problems;
use okaeri::segment::Library;
use okaeri::segment::trial::{self, Counterexample, Failure, Ground, Trial, Verdict, Who};
use okaeri::settings::{Project, Settings};

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

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
const BROKEN: [(&str, &str, &str); 28] = [
    // Seventeen orders of 29.99 are more than 500.
    ("{ all: [{ tier: gold }, { customer: average_order, lt: 30 }] }", "subset_of", "{ customer: orders, gte: 18 }"),
    // An average is rounded, so that twice the average may be a cent more than two orders.
    (
        "{ all: [{ customer: revenue, gte: 100 }, { customer: revenue, lt: { field: average_order, multiplied_by: 2 } }] }",
        "subset_of",
        "{ customer: orders, eq: 1 }",
    ),
    (
        "{ bought: { category: [music, tea] }, distinct: { of: category, gte: 2 } }",
        "disjoint_with",
        "{ customer: orders, eq: 1 }",
    ),
    (
        "{ bought: { category: music }, orders: { gte: 3 } }",
        "disjoint_with",
        "{ did: order.placed, sum: { of: total, lt: 20 } }",
    ),
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

#[test]
fn the_same_person_is_found_every_time_and_has_nothing_that_is_not_needed() {
    let settings = settings();
    let found = || {
        let verdict =
            tried("{ customer: orders, gte: 3 }", "disjoint_with", "{ did: ticket.opened, in_last: 1d }", &settings);
        let Verdict::Failed(Failure::Counterexample(found)) = verdict else { panic!("{verdict:#?}") };
        let Who::Invented { case } = found.who else { panic!("nobody was given") };
        case
    };
    let case = found();
    assert_eq!(case, found());
    assert_eq!(case.matches("total:").count(), 3, "{case}");
    assert_eq!(case.matches("did:").count(), 1, "{case}");
    assert!(!case.contains("percentile") && !case.contains("r:"), "{case}");
}

#[test]
fn a_case_is_decided_where_it_says_enough_and_fails_with_the_remedy_where_it_does_not() {
    let settings = settings();
    let valuable =
        "where:\n  all:\n    - { customer: revenue, percentile: { gte: 70 } }\n    - { customer: orders, gte: 2 }\n";
    let cases = "tests:\n  - { case: says it, given: { customer: { orders: 2 }, percentile: { revenue: 85 } }, expect: in }\n  \
                 - { case: too low, given: { customer: { orders: 2 }, percentile: { revenue: 69.9 } }, expect: in }\n  \
                 - { case: silent, given: { customer: { orders: 2 } }, expect: out }\n  \
                 - { case: one order decides, given: { customer: { orders: 1 } }, expect: out }\n  \
                 - { case: a lead has no place, given: {}, expect: out }\n";
    let rfm = "where: { rfm: champions }\ntests:\n  - { case: silent, given: { customer: { orders: 8 } }, expect: out }\n  \
               - { case: by its R, given: { customer: { orders: 8, r: 5 } }, expect: in }\n  \
               - { case: a lead has no cell, expect: out }\n";
    let outside = "where: { none: [{ in_segment: valuable }] }\ntests: [{ case: silent, given: { customer: { orders: 2 } }, expect: in }]\n";
    let library =
        library(&[("valuable", &format!("{valuable}{cases}")), ("rfm", rfm), ("outside", outside)], &settings);
    let told = |name: &str| -> Vec<String> {
        let word = |t: Trial| match t.verdict {
            Verdict::Passed(Ground::Case) => "passed".to_owned(),
            Verdict::Failed(Failure::Case { expected_in, proof }) => {
                assert_ne!(expected_in, proof.holds);
                format!("expected in: {expected_in}")
            }
            Verdict::Failed(Failure::Unstated(given)) => given.join("; "),
            other => panic!("{other:#?}"),
        };
        run(&library, name, &settings).into_iter().map(word).collect()
    };
    assert_eq!(told("valuable"), ["passed", "expected in: true", "percentile: { revenue: 85 }", "passed", "passed"]);
    assert_eq!(told("rfm"), ["customer: { rfm: champions }", "passed", "passed"]);
    assert_eq!(told("outside"), ["percentile: { revenue: 85 }"]);
    let trial = &run(&library, "valuable", &settings)[0];
    assert_eq!((trial.place.to_string(), &*trial.test), ("valuable.yaml:7:5".to_owned(), "case: says it"));
}

#[test]
fn people_of_cases_are_tried_first_and_what_hangs_on_a_pick_is_left_open() {
    let settings = settings();
    let everyone_else = "where: { customer: country, eq: JP }\n";
    let a = "where: { customer: orders, gte: 2 }\ntests:\n  - disjoint_with: b\n  \
             - { case: a regular, given: { customer: { orders: 4, country: JP } }, expect: in }\n";
    let known = library(&[("a", a), ("b", everyone_else)], &settings);
    let trials = run(&known, "a", &settings);
    let Verdict::Failed(Failure::Counterexample(found)) = &trials[0].verdict else { panic!("{trials:#?}") };
    assert!(matches!(&found.who, Who::Case { name, .. } if name == "a regular"), "{found:#?}");

    let pick = "pick: { top: { by: orders, count: 10 } }\n";
    let verdict =
        |a: String, b: String| run(&library(&[("a", &a), ("b", &b)], &settings), "a", &settings).remove(0).verdict;
    let (more, one) = ("where: { customer: orders, gte: 2 }\n", "where: { customer: orders, gte: 1 }\n");
    let test = |key: &str| format!("tests: [{{ {key}: b }}]\n");
    // Those picked of a part are a part; whether a part is among those picked hangs on everybody.
    assert!(matches!(
        verdict(format!("{more}{pick}{}", test("subset_of")), one.to_owned()),
        Verdict::Passed(Ground::Invented(_))
    ));
    for (a, b) in [
        (format!("{more}{}", test("subset_of")), format!("{one}{pick}")),
        (format!("{more}{pick}{}", test("disjoint_with")), one.to_owned()),
        (format!("{one}{pick}{}", test("covers")), more.to_owned()),
    ] {
        let open = verdict(a, b);
        assert!(matches!(&open, Verdict::NotChecked(why) if why.contains("--data")), "{open:#?}");
    }
}

#[tokio::test]
async fn the_verb_tells_results_with_their_place_and_ends_with_2_when_one_failed() {
    let shop = Scenario::new("sqlite:shop.db");
    let regulars = "segment: regulars\nwhere: { customer: orders, gte: 3 }\ntests:\n  - case: a regular\n    \
                    given: { customer: { orders: 3 } }\n    expect: in\n  - size: { gte: 1 }\n  - disjoint_with: [newcomers]\n";
    shop.write("campaigns/segments/regulars.yaml", regulars);
    shop.write("campaigns/segments/newcomers.yaml", "segment: newcomers\nwhere: { customer: orders, lte: 2 }\n");
    let passed = shop.okaeri("test").await.exits(0);
    assert_eq!(
        passed.stdout,
        "regulars\n  ✓ passed  case: a regular  campaigns/segments/regulars.yaml:4:5\n  \
         - open    size: >= 1  (not checked: its size is only known with data: okaeri test --data)  campaigns/segments/regulars.yaml:7:5\n  \
         ✓ passed  disjoint_with: newcomers  (nobody breaks it among 3,000 invented people)  campaigns/segments/regulars.yaml:8:21\n\
         3 tests: 2 passed, 0 failed, 1 not checked\n"
    );
    assert_eq!(shop.okaeri("test --quiet").await.exits(0).stdout, "");
    assert!(!shop.path("shop.db").exists(), "no database is needed");

    shop.write("campaigns/segments/newcomers.yaml", "segment: newcomers\nwhere: { customer: orders, lte: 3 }\n");
    shop.write("campaigns/segments/regulars.yaml", regulars.replace("orders: 3 }", "orders: 2 }"));
    let failed = shop.okaeri("test regulars --quiet").await.exits(2);
    for part in [
        "✗ failed  case: a regular  campaigns/segments/regulars.yaml:4:5\n      expected in, found out:\n      ✗ no   orders at least 3  (2)\n",
        "✗ failed  disjoint_with: newcomers",
        "        - case: \"in regulars and also in newcomers\"\n          now: 2026-07-01T12:00\n",
        "          expect: out  # today in\n      in regulars:\n        ✓ yes  orders at least 3  (3)\n      in newcomers:\n",
        "3 tests: 0 passed, 2 failed, 1 not checked\n",
    ] {
        assert!(failed.stdout.contains(part), "{part}\n--- in\n{}", failed.stdout);
    }
    assert!(!failed.stdout.contains("size"), "{}", failed.stdout);
    let told = shop.json("test", 2).await;
    assert_eq!((&told["failed"], &told["tests"][0]["line"]), (&2.into(), &4.into()), "{told:#}");
    assert_eq!(told["tests"][0]["detail"]["proof"]["holds"], false, "{told:#}");

    let unknown = shop.okaeri("test regular").await.exits(2);
    assert!(unknown.stderr.contains("did you mean `regulars`?"), "{}", unknown.stderr);
    let none = shop.okaeri("test newcomers").await.exits(0);
    assert!(none.stdout.starts_with("newcomers has no tests\nwrite the first one"), "{}", none.stdout);
    shop.write("campaigns/segments/broken.yaml", "segment: broken\nwhere: { customer: ordres, gte: 1 }\n");
    let broken = shop.okaeri("test").await.exits(2);
    assert!(broken.stderr.contains("broken.yaml:2:20: error:"), "{}", broken.stderr);
}

#[tokio::test]
async fn with_data_sizes_and_sets_are_decided_exactly() {
    each_database(|url| async move {
        let shop = Scenario::new(&url).with_people(12).await;
        shop.write(
            "campaigns/segments/all.yaml",
            "segment: all\nwhere: { customer: orders, lte: 0 }\ntests:\n  - size: { between: [50%, 100%] }\n  - size: { lt: 12 }\n  \
             - disjoint_with: [some, nobody]\n  - covers: drawn\n",
        );
        shop.write("campaigns/segments/some.yaml", "segment: some\nwhere: { customer: email, matches: \"p0000*\" }\n");
        shop.write("campaigns/segments/nobody.yaml", "segment: nobody\nwhere: { customer: email, contains: zzz }\n");
        shop.write(
            "campaigns/segments/drawn.yaml",
            "segment: drawn\nwhere: { consent: offers }\npick: { sample: { share: 50%, salt: a } }\n",
        );
        shop.okaeri("profile --quiet").await.exits(0);
        let told = shop.json("test --data", 2).await;
        let results: Vec<(String, String, String)> = told["tests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| {
                let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
                (text(&t["test"]), text(&t["verdict"]), text(&t["detail"]["on"]))
            })
            .collect();
        let result = |test: &str, on: &str| {
            results.iter().find(|r| r.0 == test && r.2 == on).map(|r| r.1.clone()).unwrap_or_else(|| panic!("{told:#}"))
        };
        assert_eq!(result("size: >= 50 % and <= 100 %", "data"), "passed");
        assert_eq!(result("size: < 12", "data"), "failed");
        assert_eq!(result("disjoint_with: some", "data"), "failed");
        assert_eq!(result("disjoint_with: some", "invented people"), "failed");
        assert_eq!(result("disjoint_with: nobody", "data"), "passed", "nobody of the project is in it");
        assert_eq!(result("disjoint_with: nobody", "invented people"), "failed", "somebody may be in it one day");
        assert_eq!(result("covers: drawn", "data"), "passed");
        let broken = told["tests"].as_array().unwrap().iter().find(|t| t["test"] == "disjoint_with: some" && t["detail"]["on"] == "data");
        let detail = &broken.unwrap()["detail"];
        assert_eq!((&detail["people"], detail["examples"].as_array().unwrap().len()), (&9.into(), 5), "{detail:#}");
    })
    .await;
}

#[test]
fn the_tests_of_the_sample_shop_and_of_the_scaffold_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scaffold = tempfile::tempdir().unwrap();
    let okaeri = |args: &[&str], dir: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_okaeri"));
        for name in ["DATABASE_URL", "SMTP_URL", "OKAERI_SECRET", "OKAERI_BASE_URL"] {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1").current_dir(dir).args(args).output().unwrap()
    };
    assert!(okaeri(&["init", "."], scaffold.path()).status.success());
    for (dir, least) in [(root, 20), (scaffold.path(), 8)] {
        let ran = okaeri(&["test", "--format", "json"], dir);
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{text}\n{}", String::from_utf8_lossy(&ran.stderr));
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(told["passed"].as_i64().unwrap() >= least && told["not_checked"] == 0, "{text}");
        let checked = okaeri(&["check"], dir);
        assert!(String::from_utf8_lossy(&checked.stdout).ends_with("no problems\n"), "{checked:?}");
    }
}
