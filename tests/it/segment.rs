//! Segments: the compiled SQL decides as the plain evaluator does, on both engines; problems are exact; sizes add up.

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
    ])
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
    let event_sum = (op(), -20..150, window())
        .prop_map(|(op, n, window)| format!("{{ did: product.viewed, sum: {{ of: amount, {op}: {n} }}{window} }}"));
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
        word(&["{}", "{ category: home }", "{ sku: [sku1, sku3] }", "{ category: 音楽 }"]),
        word(&["", ", orders: { gte: 2 }", ", quantity: { lt: 3 }", ", amount: { gte: 50 }", ", orders: { lte: 1 }"]),
        window(),
    )
        .prop_map(|(what, measure, window)| format!("{{ bought: {what}{measure}{window} }}"));
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
        word(&["win-back", "{ campaign: welcome, step: letter }", "nothing"]),
        word(&["", ", times: { gte: 2 }"]),
        window(),
    )
        .prop_map(|(what, times, window)| format!("{{ received: {what}{times}{window} }}"));
    prop_oneof![3 => event_did, 1 => event_sum, 2 => order, 2 => bought, 3 => number, 1 => money, 4 => text, 1 => received]
}

/// A rule as an author writes it.
pub fn rule() -> impl Strategy<Value = String> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        (word(&["all", "any", "none"]), prop::collection::vec(inner, 1..4))
            .prop_map(|(group, rules)| format!("{{ {group}: [{}] }}", rules.join(", ")))
    })
}

/// A library of the given rules and two that they may name.
pub fn library(rules: &[String], settings: &Settings) -> Library {
    let mut texts = vec![
        ("base.yaml".to_owned(), "segment: base\nwhere: { customer: orders, gte: 2 }\n".to_owned()),
        (
            "other.yaml".to_owned(),
            "segment: other\nwhere: { none: [{ in_segment: base }, { lifecycle: lead }] }\n".to_owned(),
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
        let settings = history::settings();
        let case = (
            prop::collection::vec(happening(CUSTOMERS), 0..120),
            prop::collection::vec(rule(), 1..30),
            select(vec![0, 5 * HOUR, 40 * DAY + HOUR, -30 * DAY]),
        );
        for_cases(24, case, async |(happenings, rules, earlier): (Vec<Happening>, Vec<String>, i64)| {
            history::clear(&db).await;
            history::write_customers(&db, CUSTOMERS).await;
            history::write(&db, 0, &happenings).await;
            refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
            let library = library(&rules, &settings);
            let names: Vec<&str> = library.names().collect();
            let prepared = library.compile(&names, NOW - earlier, &settings).unwrap().prepare(&db).await.unwrap();
            let mut members = prepared.evaluate(&db, 0, 500).await.unwrap();
            members.extend(prepared.evaluate(&db, 501, BUCKETS - 1).await.unwrap());
            assert!(members.is_sorted());
            for n in 0..CUSTOMERS {
                let id = customer_id(n);
                let person = Person::load(&db, &id).await.unwrap().unwrap();
                let bits = members.iter().find(|m| m.customer_id == id).map_or(0, |m| m.bits);
                for name in &names {
                    let proof = explain(&prepared, name, &person, &settings).unwrap();
                    let rule = name[1..].parse::<usize>().ok().map(|n| &rules[n]);
                    assert_eq!(bits & prepared.mask_of(name) != 0, proof.holds, "{id} {rule:?}\n{}", proof.to_text());
                }
            }
            let sizes = prepared.sizes(&db).await.unwrap();
            for (name, size) in names.iter().zip(sizes) {
                let counted = members.iter().filter(|m| m.bits & prepared.mask_of(name) != 0).count();
                assert_eq!(size.people, counted as i64, "{name}");
            }
        });
        db.close().await;
    })
    .await;
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
        let rules: Vec<String> = (0..60)
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
