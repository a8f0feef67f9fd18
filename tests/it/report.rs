//! The report of a campaign, against both databases: what is counted, who is compared with whom, and what is left open.

use okaeri::args;
use okaeri::clock::{DAY, Millis};
use okaeri::db::{Db, bucket_of};
use okaeri::feedback::{Fact, Kind, record};
use okaeri::problem::Problems;
use okaeri::report::{self, CampaignReport, ReportError};
use okaeri::settings::{Project, Settings};
use okaeri::suppression::Scope;
use okaeri::token::MessageKey;
use serde_json::json;

use crate::ground::each_database;

/// 2026-11-24 09:00 UTC.
const DUE: Millis = 1_795_510_800_000;
const GOAL: &str = r#"{"goal":{"did":"order.placed","within_days":14,"value":"total"}}"#;

fn settings() -> Settings {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "project: shop\ncurrency: EUR\nsender: { from: hello@example.com, organisation: T, postal_address: 1 Road }\n";
    std::fs::write(dir.path().join("okaeri.yaml"), text).unwrap();
    let mut problems = Problems::new();
    let project = Project::load_with(dir.path(), |_| None, &mut problems);
    project.unwrap_or_else(|| panic!("{}", problems.to_text())).settings
}

async fn add_run(db: &Db, slot: &str, state: &str, definition: &str) {
    db.execute(
        "INSERT INTO run (run_id, campaign, slot, state, as_of, due_at, expires_at, next_bucket, audience, snapshot_id,
                          definition, created_at, changed_at)
         VALUES ($1, 'win-back', $1, $2, $3, $3, $3, 1024, 2357, 's', $4, $3, $3)",
        args![slot, state, DUE, definition],
    )
    .await
    .unwrap();
}

async fn add_verdicts(db: &Db, slot: &str, verdicts: &[(&str, &str, i64)]) {
    for (verdict, reason, people) in verdicts {
        db.execute(
            "INSERT INTO run_verdict (run_id, verdict, reason, people) VALUES ($1, $2, $3, $4)",
            args![slot, *verdict, *reason, *people],
        )
        .await
        .unwrap();
    }
}

/// People `from..from + n` of one arm, in one state.
async fn add_people(db: &Db, slot: &str, arm: &str, state: &str, from: i64, n: i64, due_at: Millis) {
    let mut tx = db.begin().await.unwrap();
    for i in from..from + n {
        let id = format!("c{i}");
        tx.execute(
            "INSERT INTO entry (bucket, customer_id, campaign, slot, run_id, arm, entered_at, due_at)
             VALUES ($1, $2, 'win-back', $3, $3, $4, $5, $5)",
            args![bucket_of(&id), &id, slot, arm, due_at],
        )
        .await
        .unwrap();
        tx.execute(
            "INSERT INTO delivery (bucket, chunk_id, seq, customer_id, run_id, state, due_at, attempts, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $7)",
            args![bucket_of(&id), okaeri::token::random(), i, &id, slot, state, due_at],
        )
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
}

async fn add_order(db: &Db, customer: i64, at: Millis, total: i64, status: &str) {
    let id = format!("c{customer}");
    db.execute(
        "INSERT INTO customer_order (bucket, customer_id, ordered_at, order_id, total, currency, status)
         VALUES ($1, $2, $3, $4, $5, 'EUR', $6)",
        args![bucket_of(&id), &id, at, format!("{id}/{at}/{status}"), total, status],
    )
    .await
    .unwrap();
}

async fn report(db: &Db, slot: Option<&str>, as_of: Millis) -> CampaignReport {
    report::campaign(db, &settings(), "win-back", slot, as_of).await.unwrap()
}

fn text(report: &CampaignReport) -> String {
    report::text(report, &jiff::tz::TimeZone::UTC, okaeri::counts::Counts::Exact)
}

const EXPECTED: &str = "\
win-back   1 run · 2026-11-24 09:00 · drained

Audience            2,357
  send                200
  withheld            100   holdout 80 · holdout_global 20
  skip              2,057   no_consent 2,000 · frequency_cap 57

Messages              200
  delivered           195    97.5 %
  failed                5     2.5 %
  unsubscribed          2     1.0 % · 1 came back
  complained            1     0.5 %

Goal: order.placed within 14 days
                 people   reached     rate  95 % interval      money a person
  treated           200        60   30.0 %  24.1 to 36.7 %          15.64 EUR
  withheld          100        12   12.0 %  7.0 to 19.8 %            6.00 EUR

Caused        +18.0 points (+8.2 to +26.3): beyond chance
              +9.64 EUR a person (+4.97 EUR to +14.30 EUR): beyond chance
              +1,927.00 EUR in all (+994.69 EUR to +2,859.31 EUR)
              Groups of this size show effects from 13.8 points or 6.66 EUR a person on (80 % power).
";

#[tokio::test]
async fn the_whole_way_from_verdicts_to_what_the_mail_caused() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        add_run(&db, "2026-11-24", "drained", GOAL).await;
        let verdicts = [
            ("send", "send", 200),
            ("withheld", "holdout", 80),
            ("withheld", "holdout_global", 20),
            ("skip", "no_consent", 2000),
            ("skip", "frequency_cap", 57),
        ];
        add_verdicts(&db, "2026-11-24", &verdicts).await;
        add_people(&db, "2026-11-24", "a", "accepted", 0, 195, DUE).await;
        add_people(&db, "2026-11-24", "a", "failed", 195, 5, DUE).await;
        add_people(&db, "2026-11-24", "holdout", "withheld", 200, 80, DUE).await;
        add_people(&db, "2026-11-24", "holdout_global", "withheld", 280, 20, DUE).await;
        for i in 0..60 {
            add_order(&db, i, DUE + DAY, 5_000 + 10 * i, "placed").await;
        }
        for i in 200..212 {
            add_order(&db, i, DUE + DAY, 5_000, "placed").await;
        }
        // None of these reach the goal: a return, a cancelled order, one too early, one a moment too late, somebody not in the campaign.
        add_order(&db, 0, DUE + 2 * DAY, -5_000, "returned").await;
        add_order(&db, 61, DUE, 5_000, "cancelled").await;
        add_order(&db, 62, DUE - 1, 5_000, "placed").await;
        add_order(&db, 63, DUE + 14 * DAY, 5_000, "placed").await;
        add_order(&db, 9_999, DUE, 5_000, "placed").await;
        for (i, kind) in [
            (1, Kind::Unsubscribe(Scope::Promotional)),
            (1, Kind::Unsubscribe(Scope::Topic("offers".into()))),
            (2, Kind::Unsubscribe(Scope::Promotional)),
            (2, Kind::Resubscribe(Scope::Promotional)),
            (3, Kind::Complaint),
        ] {
            let key = MessageKey {
                customer_id: format!("c{i}"),
                campaign: "win-back".into(),
                step: "letter".into(),
                slot: "2026-11-24".into(),
                topic: "offers".into(),
            };
            record(&db, &Fact { kind, at: DUE, key, via: "test".into() }, DUE).await.unwrap();
        }

        let report = report(&db, None, DUE + 14 * DAY).await;
        let outcome = report.outcome.as_ref().unwrap();
        assert_eq!((outcome.treated.people, outcome.treated.reached), (200, 60));
        assert_eq!((outcome.withheld.people, outcome.withheld.reached), (100, 12));
        assert_eq!(outcome.treated.value, Some(60 * 5_000 + 10 * (59 * 60 / 2) - 5_000));
        assert_eq!((report.came_back.unsubscribed, report.came_back.resubscribed), (2, 1));
        assert_eq!(text(&report), EXPECTED);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["runs"][0]["due_at"], "2026-11-24T09:00:00+00:00");
        assert_eq!(json["outcome"]["goal"]["did"], "order.placed");
        assert_eq!(
            json["verdicts"][0],
            serde_json::json!({ "verdict": "skip", "reason": "no_consent", "people": 2000 })
        );
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn open_windows_and_people_on_both_sides_are_told_apart() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        add_run(&db, "one", "drained", GOAL).await;
        add_run(&db, "two", "sending", GOAL).await;
        add_run(&db, "three", "cancelled", GOAL).await;
        add_people(&db, "one", "a", "accepted", 0, 30, DUE).await;
        add_people(&db, "one", "holdout", "withheld", 30, 10, DUE).await;
        // Ten of the mailed are mailed again a week later; one of the withheld is mailed then.
        add_people(&db, "two", "a", "accepted", 0, 10, DUE + 7 * DAY).await;
        add_people(&db, "two", "a", "accepted", 39, 1, DUE + 7 * DAY).await;
        add_people(&db, "three", "a", "cancelled", 50, 5, DUE).await;
        // In both windows of one person: counted once.
        add_order(&db, 0, DUE + 8 * DAY, 1_000, "placed").await;

        let early = report(&db, None, DUE + 15 * DAY).await;
        let outcome = early.outcome.as_ref().unwrap();
        assert_eq!((outcome.treated.people, outcome.treated.window_open), (20, 10));
        assert_eq!((outcome.withheld.people, outcome.withheld.window_open), (9, 0));
        assert!(text(&early).contains("window still open for 10 treated and 0 withheld"), "{}", text(&early));

        let late = report(&db, None, DUE + 30 * DAY).await;
        let outcome = late.outcome.as_ref().unwrap();
        assert_eq!((outcome.treated.people, outcome.treated.reached, outcome.treated.value), (30, 1, Some(1_000)));
        assert_eq!(
            late.notes,
            ["cancelled runs are not compared: 1", "people who were mailed once and withheld once are not compared: 1"]
        );

        let one = report(&db, Some("one"), DUE + 15 * DAY).await;
        assert_eq!(one.outcome.unwrap().treated.people, 30);
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn without_holdout_or_goal_nothing_is_claimed() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        add_run(&db, "one", "drained", GOAL).await;
        add_people(&db, "one", "a", "accepted", 0, 5, DUE).await;
        let all_mailed = report(&db, None, DUE + 15 * DAY).await;
        assert!(all_mailed.outcome.as_ref().unwrap().effect.is_none());
        assert!(text(&all_mailed).contains("nobody was withheld"), "{}", text(&all_mailed));
        add_run(&db, "two", "drained", "{}").await;
        let no_goal = report(&db, Some("two"), DUE + 15 * DAY).await;
        assert!(no_goal.outcome.is_none() && !text(&no_goal).contains("Caused"));
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn another_goal_is_counted_in_events() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        add_run(&db, "one", "drained", r#"{"goal":{"did":"survey.nps","within_days":7,"value":null}}"#).await;
        add_people(&db, "one", "a", "accepted", 0, 4, DUE).await;
        add_people(&db, "one", "holdout", "withheld", 4, 4, DUE).await;
        for (name_id, name) in [(1_i64, "survey.nps"), (2, "product.viewed")] {
            db.execute("INSERT INTO event_name (name_id, name) VALUES ($1, $2)", args![name_id, name]).await.unwrap();
            let id = format!("c{name_id}");
            db.execute(
                "INSERT INTO event (bucket, customer_id, at, event_id, name_id, properties) VALUES ($1, $2, $3, 'e', $4, '{}')",
                args![bucket_of(&id), &id, DUE + DAY, name_id],
            )
            .await
            .unwrap();
        }
        let outcome = report(&db, None, DUE + 15 * DAY).await.outcome.unwrap();
        assert_eq!((outcome.treated.people, outcome.treated.reached, outcome.treated.value), (4, 1, None));
        assert_eq!(outcome.withheld.reached, 0);
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_goal_with_properties_counts_only_what_is_like_them() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let with = json!({ "rating": { "gte": 4 }, "category": "tea", "shelf": ["a", "b"] });
        let goal = json!({ "goal": { "did": "review.written", "within_days": 7, "value": "amount", "with": with } });
        add_run(&db, "one", "drained", &goal.to_string()).await;
        add_people(&db, "one", "a", "accepted", 0, 4, DUE).await;
        add_people(&db, "one", "holdout", "withheld", 4, 4, DUE).await;
        db.execute("INSERT INTO event_name (name_id, name) VALUES (1, 'review.written')", args![]).await.unwrap();
        let rows = [
            ("c0", "tea", 5.0, r#"{"shelf":"a"}"#),
            ("c1", "tea", 3.0, r#"{"shelf":"a"}"#),
            ("c2", "cups", 5.0, r#"{"shelf":"a"}"#),
            ("c3", "tea", 4.0, "{}"),
            ("c4", "tea", 4.0, r#"{"shelf":"b"}"#),
        ];
        for (id, category, rating, properties) in rows {
            db.execute(
                "INSERT INTO event (bucket, customer_id, at, event_id, name_id, category, amount, score, properties) \
                 VALUES ($1, $2, $3, 'e', 1, $4, 700, $5, $6)",
                args![bucket_of(id), id, DUE + DAY, category, rating, properties],
            )
            .await
            .unwrap();
        }
        let told = report(&db, None, DUE + 15 * DAY).await;
        let outcome = told.outcome.as_ref().unwrap();
        assert_eq!((outcome.treated.reached, outcome.treated.value), (1, Some(700)));
        assert_eq!((outcome.withheld.reached, outcome.withheld.value), (1, Some(700)));
        assert!(text(&told).contains("Goal: review.written with {"), "{}", text(&told));

        // Orders are told apart too, whatever the contract says of events today.
        let goal = json!({ "goal": { "did": "order.placed", "within_days": 7, "value": "total", "with": { "total": { "gte": 20 } } } });
        add_run(&db, "two", "drained", &goal.to_string()).await;
        add_people(&db, "two", "a", "accepted", 10, 2, DUE).await;
        for (id, total) in [("c10", 2_500_i64), ("c11", 1_000)] {
            db.execute(
                "INSERT INTO customer_order (bucket, customer_id, ordered_at, order_id, status, total, currency) \
                 VALUES ($1, $2, $3, $2, 'placed', $4, 'EUR')",
                args![bucket_of(id), id, DUE + DAY, total],
            )
            .await
            .unwrap();
        }
        let outcome = report(&db, Some("two"), DUE + 15 * DAY).await.outcome.unwrap();
        assert_eq!((outcome.treated.people, outcome.treated.reached, outcome.treated.value), (2, 1, Some(2_500)));
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_name_that_never_ran_gets_a_hint() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let ask = async |name: &str, slot: Option<&str>| {
            let e = report::campaign(&db, &settings(), name, slot, DUE).await.unwrap_err();
            assert!(matches!(e, ReportError::NoRun { .. }));
            e.to_string()
        };
        assert_eq!(
            ask("win-back", None).await,
            "no run of `win-back`\nnothing was planned yet: try `okaeri plan win-back`"
        );
        add_run(&db, "2026-11-24", "drained", "{}").await;
        assert_eq!(ask("winback", None).await, "no run of `winback`\ndid you mean `win-back`?");
        assert_eq!(
            ask("win-back", Some("2026-11-23")).await,
            "no run of `win-back` for the slot `2026-11-23`\ndid you mean `2026-11-24`?"
        );
        db.close().await;
    })
    .await;
}
