//! Segments: the compiled SQL decides as the plain evaluator does, on both engines; problems are exact; sizes add up.

use okaeri::args;
use okaeri::clock::{DAY, HOUR};
use okaeri::db::{BUCKETS, Db, bucket_of};
use okaeri::problem::Problems;
use okaeri::profile::{Scope, refresh};
use okaeri::segment::explain::explain;
use okaeri::segment::{Library, Person, SEGMENTS_MAX};
use okaeri::settings::Settings;
use proptest::prelude::*;
use proptest::sample::select;

use crate::ground::each_database;
use crate::history::{self, Happening, NOW, What, customer_id, for_cases, happening};

const CUSTOMERS: usize = 14;
/// Random histories with dozens of random rules each: some thousand rules on each engine.
const CASES: u32 = 30;

fn word(words: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    select(words.to_vec()).prop_map(str::to_owned)
}

fn op() -> impl Strategy<Value = String> {
    word(&["gte", "gt", "lte", "lt", "eq"])
}

fn window() -> impl Strategy<Value = String> {
    word(&[
        "",
        "",
        ", in_last: 30d",
        ", in_last: 12h",
        ", more_than_ago: 90d",
        ", in_last: 1y, more_than_ago: 2w",
        ", in_last: 0d",
        ", between: [2026-10-25, 2026-11-10]",
        ", between: [2026-03-29T01:30, 2026-11-23T12:00]",
        ", since: 2026-03-29",
        ", since: last_viewed_at",
        ", since: first_seen_at, in_last: 1y",
        ", days_after: { first_order_at: [1, 30] }",
        ", days_after: { last_order_at: [-90, 0] }",
        ", days_after: { first_seen_at: [0, 14] }",
        ", weekday: [saturday, sunday]",
        ", weekday: monday, in_last: 1y",
    ])
}

/// A window of a value that is itself an instant.
fn own_window() -> impl Strategy<Value = String> {
    word(&[
        "in_last: 90d",
        "more_than_ago: 36h",
        "between: [2026-01-01, 2026-10-25]",
        "since: 2026-03-29T02:30",
        "since: first_order_at",
        "days_after: { first_order_at: [0, 30] }",
        "gt: { field: last_order_at, plus: 2d }",
        "lte: { field: first_seen_at, plus: -12h }",
        "gte: { field: score.next_order_at }",
        "anniversary: today",
        "anniversary: { in_next: 7d }",
        "anniversary: { in_last: 30d, in_next: 60d }",
        "day_of_month: [1, 24, 29]",
        "weekday: [saturday, tuesday]",
        "exists: false",
        "gte: 2026-09-01",
    ])
}

/// A leaf about what the contract declares.
fn declared_leaf() -> impl Strategy<Value = String> {
    let own = (
        word(&["first_order_at", "last_viewed_at", "last_rating_at", "first_seen_at", "previous_order_at"]),
        own_window(),
    )
        .prop_map(|(field, window)| format!("{{ customer: {field}, {window} }}"));
    let text = word(&[
        "{ customer: account, eq: staff }",
        "{ customer: points, gte: 7.5 }",
        "{ customer: points, between: [5, 120] }",
        "{ customer: vip, eq: true }",
        "{ customer: tags, has: early }",
        "{ customer: tags, has: [7, \"a;b\", \"true\"] }",
        "{ customer: tags, has: '\"early\"' }",
        "{ customer: tags, exists: true }",
        "{ customer: born, gte: 1990-11-24 }",
        "{ customer: born, between: [1990-01-01, 2024-12-31] }",
        "{ customer: born, eq: 2026-11-24 }",
        "{ customer: born, in_last: 0d }",
        "{ customer: born, in_last: 3y, more_than_ago: 1w }",
        "{ customer: born, anniversary: { in_next: 3d } }",
        "{ customer: born, anniversary: { in_last: 180d, in_next: 180d } }",
        "{ customer: born, day_of_month: [24, 29] }",
        "{ customer: born, exists: false }",
        "{ customer: ランク, starts_with: 金 }",
        "{ bought: { colour: red } }",
        "{ bought: { weight: { lt: 3 } }, quantity: { gte: 1 } }",
        "{ bought_not: { colour: [blue, red] }, in_last: 1y }",
        "{ did: product.viewed, with: { note: { gte: 3 } } }",
        "{ did: ticket.closed, with: { note: { contains: at, exists: true } } }",
        "{ did: survey.nps, with: { note: true } }",
        "{ did: survey.nps, with: { tags: early }, times: { gte: 1 } }",
        "{ last: survey.nps, with: { tags: { has: [0, 1] } } }",
        "{ did: product.viewed, sum: { of: note, gte: 2.5 } }",
    ]);
    prop_oneof![2 => own, 3 => text]
}

/// A leaf as an author writes it, in YAML's flow style.
fn leaf() -> impl Strategy<Value = String> {
    let with = word(&[
        "",
        ", with: { category: home }",
        ", with: { category: { in: [home, garden, \"it's\"] }, amount: { gte: 20.50 } }",
        ", with: { note: 3 }",
        ", with: { note: { gte: 2.5 } }",
        ", with: { note: [late, true] }",
        ", with: { note: { exists: false } }",
        ", with: { score: { lte: 2 } }",
        ", with: { rating: { exists: true }, sku: [sku1, sku2] }",
    ]);
    let total = word(&["", ", with: { total: { gte: 40 } }", ", with: { status: placed, currency: [EUR, USD] }"]);
    let event = word(&["product.viewed", "ticket.closed", "survey.nps", "never.seen"]);
    let event_did = (word(&["did", "did_not"]), event, with, prop::option::of((op(), 0..4)), window()).prop_map(
        |(did, event, with, times, window)| {
            let times = times.map_or(String::new(), |(op, n)| format!(", times: {{ {op}: {n} }}"));
            format!("{{ {did}: {event}{with}{times}{window} }}")
        },
    );
    let event_sum =
        (word(&["amount", "note", "sku"]), op(), -20..150_i64, window()).prop_map(|(of, op, n, window)| match &*of {
            "sku" => format!("{{ did: product.viewed, distinct: {{ of: sku, {op}: {} }}{window} }}", n.rem_euclid(3)),
            of => format!("{{ did: product.viewed, sum: {{ of: {of}, {op}: {n} }}{window} }}"),
        });
    let last = (word(&["product.viewed", "survey.nps", "ticket.closed", "order.placed"]), window()).prop_map(
        |(event, window)| {
            let with = match &*event {
                "order.placed" => "total: { gte: 40 }",
                "product.viewed" => "note: [late, 3]",
                _ => "score: { lte: 2 }",
            };
            format!("{{ last: {event}, with: {{ {with} }}{window} }}")
        },
    );
    let span = || word(&["4h", "3d", "90d", "400d"]);
    let funnel = (
        word(&["did: product.viewed", "did: order.placed", "bought: { category: home }"]),
        window(),
        span(),
        span(),
        0..4,
    )
        .prop_map(|(first, window, within, within_last, shape)| {
            let then = [
                "did_not: order.placed",
                "did: order.placed",
                "did: survey.nps, with: { score: { exists: true } }",
                "bought_not: {}",
            ];
            let step = |n: usize, within: &str| format!("{{ {}, within_after: {within} }}", then[n]);
            match shape {
                0 => format!("{{ funnel: [{{ {first}{window} }}, {}] }}", step(0, &within)),
                1 => format!("{{ funnel: [{{ {first}{window} }}, {}, {}] }}", step(1, &within), step(2, &within_last)),
                2 => format!("{{ funnel: [{{ {first}{window} }}, {}, {}] }}", step(3, &within), step(1, &within_last)),
                _ => format!("{{ funnel: [{{ {first}{window} }}, {{ did: product.viewed }}, {}] }}", step(0, &within)),
            }
        });
    let own = (word(&["first_order_at", "last_viewed_at", "last_event_at"]), own_window())
        .prop_map(|(field, window)| format!("{{ customer: {field}, {window} }}"));
    let order = (
        word(&["did", "did_not"]),
        word(&["order.placed", "order.returned"]),
        total,
        prop::option::of((op(), -20..150)),
        window(),
    )
        .prop_map(|(did, name, with, sum, window)| {
            let sum = sum.map_or(String::new(), |(op, n)| format!(", sum: {{ of: total, {op}: {n} }}"));
            format!("{{ {did}: {name}{with}{sum}{window} }}")
        });
    let bought = (
        word(&["bought", "bought_not"]),
        word(&[
            "{}",
            "{ category: home }",
            "{ sku: [sku1, sku3] }",
            "{ category: 音楽 }",
            "{ name: { contains: hing }, price: { lte: 10 } }",
            "{ colour: red }",
        ]),
        word(&[
            "",
            ", orders: { gte: 2 }",
            ", quantity: { lt: 3 }",
            ", amount: { gte: 50 }",
            ", orders: { lte: 1 }",
            ", distinct: { of: category, gte: 2 }",
            ", sum: { of: price, gt: 10 }, orders: { lt: 9 }",
        ]),
        window(),
    )
        .prop_map(|(key, what, measure, window)| format!("{{ {key}: {what}{measure}{window} }}"));
    let number = (
        word(&[
            "orders",
            "purchase_days",
            "frequency",
            "days_since_last_order",
            "days_since_first_order",
            "recency_days",
            "usual_gap_days",
            "last_gap_days",
            "r",
            "f",
            "m",
            "open_tickets",
            "last_rating",
            "points",
            "attribute.points",
        ]),
        op(),
        -1..130_i64,
    )
        .prop_map(|(field, op, n)| format!("{{ customer: {field}, {op}: {n} }}"));
    let money = (word(&["revenue", "average_order"]), op(), -50..200_i64)
        .prop_map(|(field, op, n)| format!("{{ customer: {field}, {op}: {n}.50 }}"));
    let text = word(&[
        "{ customer: account, eq: staff }",
        "{ customer: account, exists: true }",
        "{ customer: account, in: [staff, guest] }",
        "{ customer: vip, eq: true }",
        "{ customer: ランク, eq: 金 }",
        "{ customer: torn, exists: true }",
        "{ customer: torn, in: [a, ab] }",
        "{ customer: country, in: [JP, FR] }",
        "{ customer: country, exists: false }",
        "{ customer: top_category, eq: \"it's\" }",
        "{ customer: points, in: [120, 7.5, many] }",
        "{ customer: first_order_at, in_last: 90d }",
        "{ customer: last_viewed_at, more_than_ago: 36h }",
        "{ customer: first_seen_at, gte: 2026-09-01 }",
        "{ customer: last_order_at, exists: false }",
        "{ customer: days_since_last_order, gt: { field: usual_gap_days, multiplied_by: 1.5 } }",
        "{ customer: revenue, gte: { field: average_order, multiplied_by: 2 } }",
        "{ customer: points, matches: \"?.5\" }",
        "{ customer: account, starts_with: st }",
        "{ customer: account, contains: \"ues\", matches: \"g*\" }",
        "{ customer: top_category, matches: \"*'?\" }",
        "{ customer: tags, has: [early, late] }",
        "{ customer: tags, exists: true }",
        "{ customer: revenue, lt: { field: score.ltv.12m, multiplied_by: 0.5, plus: 10 } }",
        "{ customer: usual_gap_days, percentile: { gt: 40 } }",
        "{ customer: days_since_last_order, percentile: { lt: 50 } }",
        "{ customer: revenue, band: [top, low] }",
        "{ customer: average_order, band: bottom }",
        "{ score: ltv.12m, gte: 10 }",
        "{ score: ltv.12m, percentile: { gte: 50 } }",
        "{ score: alive, band: [high, top] }",
        "{ score: alive, lt: 0.5 }",
        "{ score: next_order_at, in_last: 90d }",
        "{ tier: [silver, gold] }",
        "{ tier: bronze }",
        "{ in_segment: picked }",
        "{ in_segment: [drawn, base] }",
        "{ customer: revenue, percentile: { gte: 70 } }",
        "{ customer: orders, percentile: { lte: 35 } }",
        "{ customer: average_order, percentile: { gte: 10, lte: 60 } }",
        "{ rfm: [champions, hibernating, new_customers] }",
        "{ rfm: at_risk }",
        "{ lifecycle: [lead, lost] }",
        "{ lifecycle: [new, active, drifting] }",
        "{ lifecycle: returned }",
        "{ consent: offers }",
        "{ in_segment: base }",
        "{ in_segment: [base, other] }",
    ]);
    let received = (
        word(&["received", "clicked"]),
        word(&["win-back", "{ campaign: win-back, step: letter }", "{ campaign: welcome, step: letter }", "nothing"]),
        word(&["", ", times: { gte: 2 }"]),
        window(),
    )
        .prop_map(|(key, what, times, window)| format!("{{ {key}: {what}{times}{window} }}"));
    prop_oneof![
        3 => event_did, 1 => event_sum, 2 => order, 2 => bought, 3 => number, 1 => money, 5 => text, 2 => received, 1 => last,
        2 => funnel, 2 => own
    ]
}

/// A rule as an author writes it.
pub fn rule() -> impl Strategy<Value = String> {
    groups(leaf())
}

fn groups(leaf: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    leaf.prop_recursive(3, 12, 3, |inner| {
        (word(&["all", "any", "none"]), prop::collection::vec(inner, 1..4))
            .prop_map(|(group, rules)| format!("{{ {group}: [{}] }}", rules.join(", ")))
    })
}

/// A library of the given rules and some that they may name.
pub fn library(rules: &[String], settings: &Settings) -> Library {
    let mut texts = vec![
        ("base.yaml".to_owned(), "segment: base\nwhere: { customer: orders, gte: 2 }\n".to_owned()),
        (
            "other.yaml".to_owned(),
            "segment: other\nwhere: { none: [{ in_segment: base }, { lifecycle: lead }] }\n".to_owned(),
        ),
        (
            "picked.yaml".to_owned(),
            "segment: picked\nwhere: { customer: orders, gte: 1 }\npick: { top: { by: orders, count: 3 } }\n"
                .to_owned(),
        ),
        (
            "drawn.yaml".to_owned(),
            "segment: drawn\nwhere: { none: [{ in_segment: picked }] }\n\
             pick: { top: { by: score.ltv.12m, share: 50% }, sample: { share: 60%, salt: x } }\n"
                .to_owned(),
        ),
    ];
    texts.extend(rules.iter().enumerate().map(|(n, r)| (format!("s{n}.yaml"), format!("segment: s{n}\nwhere: {r}\n"))));
    let borrowed: Vec<(&str, &str)> = texts.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
    let mut problems = Problems::new();
    let library = Library::from_texts(&borrowed, settings, &mut problems);
    assert!(!problems.has_errors(), "{}\n{rules:#?}", problems.to_text());
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_sql_and_plain_evaluation_agree_on_random_rules_and_histories() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let case = (
            prop::collection::vec(happening(CUSTOMERS), 0..120),
            prop::collection::vec(rule(), 1..30),
            prop::collection::vec(groups(declared_leaf()), 1..12),
            select(vec![0, 5 * HOUR, 40 * DAY + HOUR, -30 * DAY, 30 * DAY + 11 * HOUR]),
            // Clock changes of an hour and of half an hour, at midnight, and none; ahead of UTC and behind it.
            select(vec!["Europe/Berlin", "Asia/Tokyo", "Australia/Lord_Howe", "America/Sao_Paulo"]),
        );
        type Case = (Vec<Happening>, Vec<String>, Vec<String>, i64, &'static str);
        for_cases(CASES, case, async |(happenings, rules, others, earlier, zone): Case| {
            let (open, declared) = (history::settings_in(zone), history::declared_in(zone));
            history::clear(&db).await;
            history::write_customers(&db, CUSTOMERS).await;
            history::write(&db, 0, &happenings).await;
            refresh(&db, &open, NOW, Scope::Dirty).await.unwrap();
            agree(&db, &rules, &open, NOW - earlier).await;
            agree(&db, &others, &declared, NOW - earlier).await;
        });
        db.close().await;
    })
    .await;
}

/// The statements decide everybody as the plain evaluator does.
async fn agree(db: &Db, rules: &[String], settings: &Settings, as_of: i64) {
    let library = library(rules, settings);
    let names: Vec<&str> = library.names().collect();
    let prepared = library.compile(&names, as_of, settings).unwrap().prepare(db).await.unwrap();
    let mut members = prepared.evaluate(db, 0, 500).await.unwrap();
    members.extend(prepared.evaluate(db, 501, BUCKETS - 1).await.unwrap());
    assert!(members.is_sorted());
    for n in 0..CUSTOMERS {
        let id = customer_id(n);
        let person = Person::load(db, &id).await.unwrap().unwrap();
        let bits = members.iter().find(|m| m.customer_id == id).map_or(0, |m| m.bits);
        for name in &names {
            let proof = explain(&prepared, name, &person, settings).unwrap();
            let rule = name[1..].parse::<usize>().ok().map(|n| &rules[n]);
            assert_eq!(bits & prepared.mask_of(name) != 0, proof.holds, "{id} {rule:?}\n{}", proof.to_text());
        }
    }
    let sizes = prepared.sizes(db).await.unwrap();
    for (name, size) in names.iter().zip(sizes) {
        let counted = members.iter().filter(|m| m.bits & prepared.mask_of(name) != 0).count();
        assert_eq!(size.people, counted as i64, "{name}");
    }
}

#[tokio::test]
async fn windows_begin_at_local_midnight_and_hours_are_exact() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, 4).await;
        // 2026-11-24T13:00 in Berlin; the day of two days ago began 13 + 48 hours before.
        let at = |hours: i64| NOW - hours * HOUR;
        let viewed = |customer, at| Happening {
            customer,
            at,
            what: What::Event { name: 0, category: Some(0), score: None, amount: None, ticket: None, note: 5 },
        };
        history::write(&db, 0, &[viewed(0, at(61)), viewed(1, at(61) - 1), viewed(2, at(-1))]).await;
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        let rules = ["2d", "61h"].map(|span| format!("{{ did: product.viewed, in_last: {span} }}"));
        let library = library(
            &[rules[0].clone(), rules[1].clone(), "{ did: product.viewed, more_than_ago: 2d }".into()],
            &settings,
        );
        let names = ["s0", "s1", "s2"];
        let prepared = library.compile(&names, NOW, &settings).unwrap().prepare(&db).await.unwrap();
        let members = prepared.evaluate(&db, 0, BUCKETS - 1).await.unwrap();
        let bits = |n: usize| members.iter().find(|m| m.customer_id == customer_id(n)).map_or(0, |m| m.bits);
        assert_eq!([bits(0), bits(1), bits(2), bits(3)], [0b011, 0b100, 0, 0]);
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn sixty_two_large_segments_fit_one_statement() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, 3).await;
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        let rules: Vec<String> = (0..58)
            .map(|n| {
                let leaves: Vec<String> = (0..120)
                    .map(|k| {
                        format!("{{ did: product.viewed, with: {{ sku: sku{n}x{} }}, times: {{ gte: {k} }} }}", k % 2)
                    })
                    .collect();
                format!("{{ any: [{}] }}", leaves.join(", "))
            })
            .collect();
        let library = library(&rules, &settings);
        let names: Vec<&str> = library.names().collect();
        assert_eq!(names.len(), SEGMENTS_MAX);
        let prepared = library.compile(&names, NOW, &settings).unwrap().prepare(&db).await.unwrap();
        assert_eq!(
            prepared.evaluate(&db, 0, BUCKETS - 1).await.unwrap().len(),
            3,
            "`times: gte 0` holds for everybody"
        );
        let too_many: Vec<&str> = std::iter::repeat_n("base", SEGMENTS_MAX + 1).collect();
        let error = library.compile(&too_many, NOW, &settings).unwrap_err();
        assert_eq!(error.to_string(), "63 segments at once; at most 62 are evaluated together");
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn hostile_values_are_values_and_large_rules_are_cut_to_what_engines_allow() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, 3).await;
        let order = Happening {
            customer: 1,
            at: NOW - DAY,
            what: What::Order { total: 4000, status: "placed", lines: vec![(2, 40)] },
        };
        history::write(&db, 0, &[order]).await;
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        let hostile = "'; DROP TABLE customer; --";
        let skus: Vec<String> = (0..10_000).map(|n| format!("\"{n}'; --\"")).chain(["sku2".to_owned()]).collect();
        let numbers: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let mut rules = vec![
            format!("{{ bought: {{ sku: [{}] }} }}", skus.join(", ")),
            format!("{{ customer: orders, in: [{}] }}", numbers.join(", ")),
            format!("{{ customer: points, in: [{}] }}", numbers[..200].join(", ")),
            format!("{{ customer: \"{hostile}\", exists: true }}"),
            format!("{{ did: \"{hostile}\", with: {{ \"%_*?[{hostile}\": {{ matches: \"*[%_{hostile}\" }} }} }}"),
            format!("{{ received: \"{hostile}\" }}"),
        ];
        // 40 rules of 400 conditions with values of their own: more than one statement can hold.
        rules.extend((0..40).map(|rule| {
            let leaves: Vec<String> = (0..400)
                .map(|k| {
                    format!("{{ did: product.viewed, with: {{ sku: s{rule}-{k} }}, times: {{ gte: {} }} }}", k + 1)
                })
                .collect();
            format!("{{ any: [{}] }}", leaves.join(", "))
        }));
        let library = library(&rules, &settings);
        let names: Vec<&str> = library.names().collect();
        let prepared = library.compile(&names, NOW, &settings).unwrap().prepare(&db).await.unwrap();
        assert!(prepared.statements().count() > 1);
        assert!(prepared.statements().all(|(_, values)| values.len() <= 32_766));
        assert!(prepared.statements().all(|(sql, _)| !sql.contains("DROP TABLE")));
        let members = prepared.evaluate(&db, 0, BUCKETS - 1).await.unwrap();
        let in_segment = |name: &str| members.iter().filter(|m| m.bits & prepared.mask_of(name) != 0).count();
        assert_eq!(["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s45"].map(in_segment), [1, 3, 1, 0, 0, 0, 0, 0]);
        assert!(members.iter().any(|m| m.customer_id == customer_id(1) && m.bits & prepared.mask_of("s0") != 0));
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_proof_shows_this_persons_values_for_why_not_as_well() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, 3).await;
        let order = |at, total| Happening {
            customer: 0,
            at,
            what: What::Order { total, status: "placed", lines: vec![(2, 40)] },
        };
        history::write(&db, 0, &[order(NOW - 40 * DAY, 4000), order(NOW - 10 * DAY, 9000)]).await;
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        let text = "segment: s\nwhere:\n  all:\n    - customer: orders\n      gte: 2\n    - did: order.placed\n      in_last: 30d\n      \
                    sum: { of: total, gte: 100 }\n    - none:\n        - bought: { category: 音楽 }\n        - customer: account\n          eq: guest\n";
        let mut problems = Problems::new();
        let library = Library::from_texts(&[("s.yaml", text)], &settings, &mut problems);
        assert!(problems.is_empty(), "{}", problems.to_text());
        let prepared = library.compile(&["s"], NOW, &settings).unwrap().prepare(&db).await.unwrap();
        let person = Person::load(&db, &customer_id(0)).await.unwrap().unwrap();
        let proof = explain(&prepared, "s", &person, &settings).unwrap();
        let shown = anstream::adapter::strip_str(&proof.to_text()).to_string();
        insta::allow_duplicates! {
        insta::assert_snapshot!(shown, @r#"
        ✗ no   all of
          ✓ yes  orders at least 2  (2)
          ✗ no   placed an order, total in all at least 100.00 EUR in the last 30 days  (total in all: 90.00 EUR, last 2026-11-14 13:00)
          ✗ no   none of
            ✓ yes  bought with category 音楽  (2 times, last 2026-11-14 13:00)
            ✗ no   `account` is guest  (staff)
        "#);
        }
        assert!(Person::load(&db, "nobody").await.unwrap().is_none());
        assert_eq!(bucket_of(&customer_id(0)), person.facts.bucket);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_are_read_however_they_are_written_and_however_long_they_are() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        let long = "字".repeat(2_000);
        let said = [
            r#"{"note":"late"}"#.to_owned(),
            r#"{"note":"l\u0061te"}"#.to_owned(),
            format!(r#"{{"letter":"{long}","note":"late"}}"#),
            r#"{"note":"later","other":"late"}"#.to_owned(),
            r#"{"note":["late"]}"#.to_owned(),
            r#"{"note":null}"#.to_owned(),
        ];
        history::write_customers(&db, said.len() + 1).await;
        let viewed = What::Event { name: 0, category: None, score: None, amount: None, ticket: None, note: 0 };
        for (n, properties) in said.into_iter().enumerate() {
            history::write(&db, n, &[Happening { customer: n, at: NOW - DAY, what: viewed.clone() }]).await;
            let id = customer_id(n);
            let sql = "UPDATE event SET properties = $1 WHERE bucket = $2 AND customer_id = $3";
            db.execute(sql, args![properties, bucket_of(&id), id]).await.unwrap();
        }
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        let rules =
            ["{ did: product.viewed, with: { note: late } }", "{ did: product.viewed, with: { note: { has: late } } }"];
        let library = library(&rules.map(str::to_owned), &settings);
        let prepared = library.compile(&["s0", "s1"], NOW, &settings).unwrap().prepare(&db).await.unwrap();
        let people: Vec<i64> = prepared.sizes(&db).await.unwrap().iter().map(|s| s.people).collect();
        assert_eq!(people, [3, 4]);
        db.close().await;
    })
    .await;
}
