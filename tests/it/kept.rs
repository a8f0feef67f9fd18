//! Memberships that are kept: whatever happens between two refreshes, the second equals deciding everything anew.

use okaeri::clock::{DAY, HOUR, MINUTE};
use okaeri::db::{BUCKETS, Db};
use okaeri::profile::{Scope, refresh};
use okaeri::segment::kept::{self, Kept};
use okaeri::segment::{Library, Member};
use okaeri::settings::Settings;
use proptest::prelude::*;
use proptest::sample::select;

use crate::ground::each_database;
use crate::history::{self, Happening, NOW, What, customer_id, for_cases, happening};
use crate::segment::{library, rule};

const CUSTOMERS: usize = 14;

async fn kept_members(kept: &Kept, db: &Db, names: &[&str]) -> Option<Vec<Member>> {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut members = kept.members(db, &names, 0, 500).await.unwrap()?;
    members.extend(kept.members(db, &names, 501, BUCKETS - 1).await.unwrap()?);
    Some(members)
}

/// The kept members and sizes are those of a fresh evaluation.
async fn is_exact(kept: &Kept, db: &Db, library: &Library, settings: &Settings, as_of: i64) {
    let names: Vec<&str> = library.names().collect();
    let prepared = library.compile(&names, as_of, settings).unwrap().prepare(db).await.unwrap();
    let fresh = prepared.evaluate(db, 0, BUCKETS - 1).await.unwrap();
    let stored = kept_members(kept, db, &names).await.expect("nobody else refreshes");
    for (n, name) in names.iter().enumerate() {
        let of = |members: &[Member]| -> Vec<String> {
            members.iter().filter(|m| m.bits & (1 << n) != 0).map(|m| m.customer_id.clone()).collect()
        };
        let rule = &library.get(name).unwrap().rule;
        assert_eq!(of(&stored), of(&fresh), "{name} as of {as_of} ({:?})\n{rule:#?}", kept.totals());
    }
    for (name, size) in names.iter().zip(prepared.sizes(db).await.unwrap()) {
        assert_eq!(kept.size(name), size, "{name}");
    }
}

/// What happens before a refresh: the clock moves so far, and these things are imported.
type Step = (i64, Vec<Happening>);

#[tokio::test(flavor = "multi_thread")]
async fn keeping_up_equals_deciding_anew() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        let moves = select(vec![0, 1, MINUTE, HOUR, 3 * HOUR, 9 * HOUR, 13 * HOUR, 2 * DAY]);
        let step = (moves, prop_oneof![Just(Vec::new()), prop::collection::vec(happening(CUSTOMERS), 0..6)]);
        let case = (
            prop::collection::vec(happening(CUSTOMERS), 0..90),
            prop::collection::vec(rule(), 1..25),
            prop::collection::vec(step, 1..5),
        );
        for_cases(16, case, async |(happenings, rules, steps): (Vec<Happening>, Vec<String>, Vec<Step>)| {
            history::clear(&db).await;
            history::write_customers(&db, CUSTOMERS).await;
            history::write(&db, 0, &happenings).await;
            refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
            let library = library(&rules, &settings);
            // Between two local midnights, so that most steps stay within a day.
            let mut as_of = NOW - 11 * HOUR;
            let mut written = happenings.len();
            let kept = kept::refresh(&db, &library, &settings, as_of).await.unwrap().unwrap();
            assert_eq!(kept.totals().brought_up, 0);
            is_exact(&kept, &db, &library, &settings, as_of).await;
            for (moved, more) in &steps {
                as_of += moved;
                history::write(&db, written, more).await;
                written += more.len();
                refresh(&db, &settings, as_of, Scope::Dirty).await.unwrap();
                let kept = kept::refresh(&db, &library, &settings, as_of).await.unwrap().unwrap();
                is_exact(&kept, &db, &library, &settings, as_of).await;
            }
        });
        db.close().await;
    })
    .await;
}

/// A consent that is dated ahead, as of a form on a machine whose clock is fast, begins to count when its instant comes.
#[tokio::test]
async fn a_consent_dated_ahead_counts_from_its_instant_on() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, CUSTOMERS).await;
        let consent = Happening { customer: 3, at: NOW, what: What::Consent { granted: true } };
        history::write(&db, 0, &[consent]).await;
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        let library = library(&["{ consent: offers }".to_owned()], &settings);
        for (as_of, people) in [(NOW - HOUR, 0), (NOW - 1, 0), (NOW, 1), (NOW + HOUR, 1)] {
            let kept = kept::refresh(&db, &library, &settings, as_of).await.unwrap().unwrap();
            assert_eq!(kept.size("s0").people, people, "{as_of}");
            is_exact(&kept, &db, &library, &settings, as_of).await;
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_moved_is_looked_at_again() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, CUSTOMERS).await;
        let order = |customer, at| Happening {
            customer,
            at,
            what: What::Order { total: 5_000, status: "placed", lines: vec![(0, 50)] },
        };
        let orders: Vec<Happening> = (0..10).map(|n| order(n, NOW - (n as i64 + 1) * 20 * DAY)).collect();
        history::write(&db, 0, &orders).await;
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        let rules = |last: &str| {
            library(
                &[
                    "{ did: order.placed, in_last: 90d }".to_owned(),
                    "{ customer: orders, gte: 1 }".to_owned(),
                    last.to_owned(),
                ],
                &settings,
            )
        };
        let first = rules("{ customer: orders, gte: 7 }");
        let refreshed = async |library: &Library, as_of| {
            kept::refresh(&db, library, &settings, as_of).await.unwrap().expect("nobody else refreshes")
        };
        let anew = first.names().count() as u64;
        let picked = 2; // `picked` and `drawn` draw a line through everybody, each time
        assert_eq!(refreshed(&first, NOW).await.totals().decided_anew, anew);

        let again = refreshed(&first, NOW + MINUTE).await;
        assert_eq!((again.totals().decided_anew, again.totals().looked_at), (picked, 0));
        assert_eq!(again.size("s1").people, 10);

        history::write(&db, 100, &[order(12, NOW - DAY)]).await;
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        let changed = refreshed(&first, NOW + 2 * MINUTE).await;
        assert_eq!(changed.totals().looked_at, 1);
        assert_eq!(changed.size("s1").people, 11);

        // Another rule under an old name has a bit of its own; whoever kept the old one finds it again.
        let other = rules("{ customer: orders, lt: 1 }");
        let edited = refreshed(&other, NOW + 3 * MINUTE).await;
        assert_eq!(edited.totals().decided_anew, picked + 1);
        assert_eq!(edited.size("s2").people, CUSTOMERS as i64 - 11);
        assert_eq!(
            refreshed(&first, NOW + 4 * MINUTE).await.totals().decided_anew,
            picked + 1,
            "its members are of another turn"
        );

        // A turn that began since takes away what was kept before.
        let names = ["s1"];
        assert!(kept_members(&edited, &db, &names).await.is_none());
        let last = refreshed(&first, NOW + 5 * MINUTE).await;
        assert_eq!(kept_members(&last, &db, &names).await.unwrap().len(), 11);
        assert!(kept_members(&last, &db, &["nobody"]).await.is_none());

        // The next day everything is decided anew, and the sizes of the day before are remembered.
        let tomorrow = refreshed(&first, NOW + DAY).await;
        assert_eq!(tomorrow.totals().decided_anew, anew);
        let today = okaeri::profile::day::day_number(NOW + DAY, &settings.time_zone);
        let before = kept::sizes_before(&db, today).await.unwrap();
        assert_eq!(before["s1"].1.people, 11);
        assert_eq!(before["s1"].0, today - 1);
        assert!(!before.contains_key(&customer_id(0)));
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rules_than_a_word_has_bits_and_one_refresh_at_a_time() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, 5).await;
        let viewed = |customer, times| {
            (0..times).map(move |n| Happening {
                customer,
                at: NOW - HOUR - n,
                what: What::Event { name: 0, category: Some(0), score: None, amount: None, ticket: None, note: 5 },
            })
        };
        history::write(&db, 0, &viewed(0, 3).chain(viewed(1, 150)).collect::<Vec<_>>()).await;
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        // The last says the same as the first under another name.
        let rules: Vec<String> =
            (0..=150).map(|n| format!("{{ did: product.viewed, times: {{ gte: {} }} }}", n % 150 + 1)).collect();
        let library = library(&rules, &settings);
        let both =
            tokio::join!(kept::refresh(&db, &library, &settings, NOW), kept::refresh(&db, &library, &settings, NOW));
        let mut done: Vec<Kept> = [both.0.unwrap(), both.1.unwrap()].into_iter().flatten().collect();
        assert!(!done.is_empty());
        let kept = done.pop().unwrap();
        for (name, people) in [("s0", 2), ("s2", 2), ("s3", 1), ("s149", 1), ("s150", 2)] {
            assert_eq!(kept.size(name).people, people, "{name}");
        }
        let members = kept_members(&kept, &db, &["s149", "s2"]).await;
        if let Some(members) = members {
            let bits: Vec<u64> = members.iter().map(|m| m.bits).collect();
            assert_eq!(bits.iter().filter(|b| **b == 0b11).count(), 1);
            assert_eq!(bits.iter().filter(|b| **b == 0b10).count(), 1);
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_knows_how_many_customers_a_bucket_has() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        history::write_customers(&db, 50).await;
        db.analyze().await.unwrap();
        db.analyze().await.unwrap();
        if url.starts_with("postgres") {
            let sql = "SELECT CAST(n_distinct AS DOUBLE PRECISION) FROM pg_stats WHERE tablename = 'customer' AND attname = 'customer_id'";
            let (distinct,): (f64,) = db.fetch_one(sql, vec![]).await.unwrap();
            assert_eq!(distinct, -1.0 / BUCKETS as f64);
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_lays_its_tables_out_whenever_it_is_opened() {
    each_database(|url| async move {
        if !url.starts_with("postgres") {
            return;
        }
        let db = Db::open(&url).await.unwrap();
        history::write_customers(&db, 3).await;
        db.analyze().await.unwrap();
        for sql in [
            // As an earlier version left them, and a table of a later one.
            "ALTER TABLE customer ALTER COLUMN customer_id TYPE TEXT COLLATE \"default\"",
            "ALTER TABLE order_line DROP CONSTRAINT order_line_pkey, \
             ADD PRIMARY KEY (bucket, customer_id, ordered_at, order_id, line_no)",
            "DROP INDEX event_by_customer",
            "CREATE TABLE later (bucket BIGINT NOT NULL, customer_id TEXT NOT NULL, PRIMARY KEY (bucket, customer_id))",
        ] {
            db.execute(sql, vec![]).await.unwrap();
        }
        db.close().await;
        let (one, other) = tokio::join!(Db::open(&url), Db::open(&url));
        let (db, other) = (one.unwrap(), other.unwrap());
        let sql = "SELECT table_name FROM information_schema.columns WHERE table_schema = current_schema() \
                   AND column_name = 'customer_id' AND collation_name IS DISTINCT FROM 'C' AND table_name IN \
                   (SELECT table_name FROM information_schema.columns WHERE column_name = 'bucket')";
        let otherwise: Vec<(String,)> = db.fetch_all(sql, vec![]).await.unwrap();
        assert_eq!(otherwise, []);
        let sql = "SELECT CAST(indnatts AS BIGINT), CAST(indnkeyatts AS BIGINT) FROM pg_index \
                   WHERE indexrelid = 'order_line_pkey'::regclass";
        assert_eq!(db.fetch_one::<(i64, i64)>(sql, vec![]).await.unwrap(), (9, 5));
        let sql = "SELECT COUNT(*) FROM pg_class WHERE relname IN ('event_by_customer', 'event_long')";
        assert_eq!(db.fetch_one::<(i64,)>(sql, vec![]).await.unwrap(), (2,));
        let (customers,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM customer", vec![]).await.unwrap();
        assert_eq!(customers, 3);
        // What Postgres knew of the values is asked anew.
        let sql = "SELECT CAST(n_distinct AS DOUBLE PRECISION) FROM pg_stats WHERE tablename = 'customer' AND attname = 'customer_id'";
        let (distinct,): (f64,) = db.fetch_one(sql, vec![]).await.unwrap();
        assert_eq!(distinct, -1.0 / BUCKETS as f64);
        other.close().await;

        // Somebody whose tables they are not opens them as they are; their owner is told, and may lay out what is large.
        assert_eq!(db.lies_badly().await.unwrap(), 0);
        let guest = format!("guest_of_{}", url.rsplit('/').next().unwrap());
        for sql in [
            "DROP INDEX event_by_customer".to_owned(),
            format!("CREATE ROLE {guest}"),
            format!("GRANT ALL ON SCHEMA public TO {guest}"),
            format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {guest}"),
        ] {
            db.execute(&sql, vec![]).await.unwrap();
        }
        let theirs = Db::open(&format!("{url}?options=-c%20role%3D{guest}")).await.unwrap();
        assert_eq!(theirs.lies_badly().await.unwrap(), 0);
        theirs.close().await;
        let indexes = "SELECT COUNT(*) FROM pg_class WHERE relname = 'event_by_customer'";
        assert_eq!(db.fetch_one::<(i64,)>(indexes, vec![]).await.unwrap(), (0,));
        assert!(db.lies_badly().await.unwrap() > 0);
        db.lay_out().await.unwrap();
        assert_eq!(db.fetch_one::<(i64,)>(indexes, vec![]).await.unwrap(), (1,));
        assert_eq!(db.lies_badly().await.unwrap(), 0);
        for sql in [format!("DROP OWNED BY {guest}"), format!("DROP ROLE {guest}")] {
            db.execute(&sql, vec![]).await.unwrap();
        }
        db.close().await;
    })
    .await;
}
