//! Profiles: incremental equals full, SQL equals arithmetic, RFM equals the published numbers.

use std::collections::{BTreeMap, BTreeSet};

use okaeri::args;
use okaeri::clock::DAY;
use okaeri::db::{BUCKETS, Binds, Conflict, Db, Value, bucket_of};
use okaeri::profile::day::day_number;
use okaeri::profile::{self, EVERYONE, Facts, Moment, Rfm, Scope, Stage, derived_sql, refresh};
use okaeri::settings::{Lifecycle, Settings};
use proptest::prelude::*;

use crate::ground::{each_database, skipped};
use crate::history::{self, CATEGORIES, EVENTS, Happening, NOW, What, customer_id, for_cases, happening};

const CUSTOMERS: usize = 4;

async fn all_facts(db: &Db) -> Vec<Facts> {
    let mut out = Vec::new();
    for n in 0..CUSTOMERS {
        let id = customer_id(n);
        out.extend(profile::load(db, bucket_of(&id), &[id]).await.unwrap());
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshed_after_every_import_equals_rebuilt_and_equals_plain_arithmetic() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        let batches = prop::collection::vec(prop::collection::vec(happening(CUSTOMERS), 0..12), 1..5);
        for_cases(40, batches, async |batches: Vec<Vec<Happening>>| {
            history::clear(&db).await;
            history::write_customers(&db, CUSTOMERS).await;
            let mut done = 0;
            for batch in &batches {
                history::write(&db, done, batch).await;
                done += batch.len();
                refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
            }
            let incremental = all_facts(&db).await;
            let cuts = profile::Cuts::load(&db).await.unwrap();
            let again = refresh(&db, &settings, NOW, Scope::Everyone).await.unwrap();
            assert_eq!((again.changed, again.dropped, again.computed), (0, 0, CUSTOMERS as u64));
            assert_eq!(all_facts(&db).await, incremental);
            assert_eq!(profile::Cuts::load(&db).await.unwrap(), cuts);
            let history: Vec<Happening> = batches.concat();
            for (n, facts) in incremental.iter().enumerate() {
                let mine: Vec<&Happening> = history.iter().filter(|h| h.customer == n).collect();
                assert_facts(facts, &mine, &settings);
            }
            assert_eq!(incremental.len(), CUSTOMERS, "leads have a profile as well");
        });
        db.close().await;
    })
    .await;
}

/// The same numbers, computed the obvious way.
fn assert_facts(facts: &Facts, mine: &[&Happening], settings: &Settings) {
    let mut days: BTreeMap<i64, i64> = BTreeMap::new();
    let (mut orders, mut gross, mut revenue) = (0, 0, 0);
    let mut bought: BTreeMap<&str, i64> = BTreeMap::new();
    for h in mine {
        let What::Order { total, status, lines } = &h.what else { continue };
        if *status == "placed" || (*status == "returned" && *total < 0) {
            revenue += total;
        }
        if *status == "placed" && *total >= 0 {
            orders += 1;
            gross += total;
            let last = days.entry(day_number(h.at, &settings.time_zone)).or_insert(h.at);
            *last = h.at.max(*last);
            for (category, amount) in lines {
                *bought.entry(CATEGORIES[*category]).or_default() += amount * 100;
            }
        }
    }
    assert_eq!((facts.orders, facts.revenue, facts.purchase_days), (orders, revenue, days.len() as i64));
    assert_eq!(facts.average_order, (orders > 0).then(|| (2 * gross + orders) / (2 * orders.max(1))));
    let numbers: Vec<i64> = days.keys().copied().collect();
    assert_eq!((facts.first_order_day, facts.last_order_day), (numbers.first().copied(), numbers.last().copied()));
    assert_eq!(facts.last_order_at, days.values().next_back().copied());
    assert_eq!(facts.previous_order_at, days.values().nth_back(1).copied());
    let gaps: Vec<i64> = numbers.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(facts.last_gap_days, gaps.last().copied());
    assert_eq!(facts.usual_gap_days, median(&gaps));
    let earlier = if gaps.len() >= 3 { median(&gaps[..gaps.len() - 1]) } else { None };
    assert_eq!(facts.earlier_gap_days, earlier);
    assert_eq!((facts.gap_scatter.is_some(), facts.earlier_gap_scatter.is_some()), (gaps.len() >= 2, gaps.len() >= 3));

    bought.retain(|_, amount| *amount > 0);
    let top = bought.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))).map(|(c, _)| (*c).to_owned());
    assert_eq!(facts.top_category, top);
    let total: i64 = bought.values().sum();
    let shares: Option<BTreeMap<String, i64>> = facts.affinity.as_deref().map(|a| serde_json::from_str(a).unwrap());
    let expected: BTreeMap<String, i64> =
        bought.iter().map(|(c, a)| ((*c).to_owned(), (2000 * a + total) / (2 * total))).collect();
    assert_eq!(shares.unwrap_or_default(), expected);

    let events: Vec<_> = mine
        .iter()
        .filter_map(|h| match &h.what {
            What::Event { name, category, score, ticket, .. } => Some((h.at, EVENTS[*name], category, score, ticket)),
            _ => None,
        })
        .collect();
    assert_eq!(facts.last_event_at, events.iter().map(|e| e.0).max());
    let viewed = events
        .iter()
        .filter(|e| e.1 == "product.viewed" && e.2.is_some())
        .map(|e| (e.0, format!("sku{}", e.2.unwrap())))
        .max();
    assert_eq!(facts.last_viewed_at.zip(facts.last_viewed_sku.clone()), viewed);
    let rated = events
        .iter()
        .filter(|e| matches!(e.1, "ticket.closed" | "survey.nps"))
        .filter_map(|e| Some((e.0, (*e.3)?)))
        .max()
        .map(|(at, score)| (at, score as f64 / 2.0));
    assert_eq!(facts.last_rating_at.zip(facts.last_rating), rated);
    let mut open = 0;
    for ticket in [None, Some(0), Some(1), Some(2)] {
        let of = events.iter().filter(|e| e.1.starts_with("ticket.") && *e.4 == ticket);
        let stamps: Vec<(i64, bool)> = of.map(|e| (e.0, e.1 == "ticket.closed")).collect();
        let closed = stamps.iter().filter(|s| s.1).count() as i64;
        open += match ticket {
            None => (stamps.len() as i64 - 2 * closed).max(0),
            Some(_) => i64::from(stamps.iter().max().is_some_and(|(_, closed)| !closed)),
        };
    }
    assert_eq!(facts.open_tickets, open);
}

fn median(gaps: &[i64]) -> Option<f64> {
    let mut gaps = gaps.to_vec();
    gaps.sort_unstable();
    let n = gaps.len();
    (n > 0).then(|| (gaps[(n - 1) / 2] + gaps[n / 2]) as f64 / 2.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_and_rust_put_everybody_into_the_same_cell_at_any_instant() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let mut settings = history::settings();
        let life = (0..60_i64, 1..100_i64, 1..30_i64, 1..30_i64, 30..500_i64, 0..60_i64);
        let case = (prop::collection::vec(happening(CUSTOMERS), 0..25), life, -100..900_i64);
        for_cases(40, case, async |(happenings, life, days): (Vec<Happening>, _, i64)| {
            history::clear(&db).await;
            history::write_customers(&db, CUSTOMERS).await;
            history::write(&db, 0, &happenings).await;
            settings.lifecycle = Lifecycle {
                new_days: life.0,
                default_gap_days: life.1 as f64,
                drifting_gaps: life.2 as f64 / 10.0,
                lapsed_gaps: (life.2 + life.3) as f64 / 10.0,
                lost_days: life.4,
                returned_days: life.5,
            };
            refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
            let as_of = NOW - days * okaeri::clock::DAY;
            let moment = Moment::at(&db, &settings, as_of).await.unwrap();
            let mut expected = BTreeMap::new();
            for facts in all_facts(&db).await {
                *expected.entry((facts.rfm(&moment), facts.stage(&moment))).or_insert(0) += 1;
            }
            assert_eq!(profile::grid(&db, &moment).await.unwrap(), expected);
            assert_eq!(grid_in_sql(&db, &moment).await, expected);
        });
        db.close().await;
    })
    .await;
}

/// The same as segments ask for it.
async fn grid_in_sql(db: &Db, moment: &Moment) -> BTreeMap<(Option<Rfm>, Stage), i64> {
    let mut binds = Binds::after(2);
    let derived = derived_sql(moment, EVERYONE, &mut binds);
    let sql = format!("SELECT stage, COALESCE(r, 0), COALESCE(f, 0), COUNT(*) FROM ({derived}) p GROUP BY 1, 2, 3");
    let mut values = binds.into_values();
    (values[0], values[1]) = (0_i64.into(), (BUCKETS - 1).into());
    let rows: Vec<(i64, i64, i64, i64)> = db.fetch_all(&sql, values).await.unwrap();
    let mut grid = BTreeMap::new();
    for (stage, r, f, people) in rows {
        *grid.entry(((r > 0).then(|| Rfm::of(r, f)), Stage::ALL[stage as usize])).or_insert(0) += people;
    }
    grid
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_made_dirty_during_a_refresh_stays_dirty_or_is_seen() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, CUSTOMERS).await;
        refresh(&db, &settings, NOW, Scope::Everyone).await.unwrap();
        let order = |n: usize| Happening {
            customer: n % (CUSTOMERS - 1),
            at: NOW,
            what: What::Order { total: 100, status: "placed", lines: vec![] },
        };
        let importing = async {
            for n in 0..40 {
                history::write(&db, n, &[order(n)]).await;
                tokio::task::yield_now().await;
            }
        };
        let refreshing = async {
            for _ in 0..40 {
                refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
            }
        };
        tokio::join!(importing, refreshing);
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        assert_eq!(all_facts(&db).await.iter().map(|f| f.orders).sum::<i64>(), 40);
        let idle = refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        assert_eq!(idle, profile::RefreshTotals::default());
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_customer_who_is_gone_loses_the_profile_and_another_zone_rebuilds_everyone() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let mut settings = history::settings();
        history::write_customers(&db, CUSTOMERS).await;
        refresh(&db, &settings, NOW, Scope::Everyone).await.unwrap();
        let id = customer_id(1);
        db.execute("DELETE FROM customer WHERE bucket = $1 AND customer_id = $2", args![bucket_of(&id), &id])
            .await
            .unwrap();
        db.execute("INSERT INTO dirty (bucket, customer_id) VALUES ($1, $2)", args![bucket_of(&id), &id])
            .await
            .unwrap();
        let totals = refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        assert_eq!((totals.dropped, totals.everyone), (1, false));
        settings.time_zone = jiff::tz::TimeZone::get("Asia/Tokyo").unwrap();
        assert!(refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap().everyone);
        db.close().await;
    })
    .await;
}

/// What a refresh of a few moves in the kept grid is what a count of everybody finds; what was cut off or done at once is counted anew.
#[tokio::test]
async fn the_kept_grid_follows_a_few_and_is_counted_anew_after_what_was_cut_off() {
    const MANY: usize = 120;
    let order = |customer: usize, days: i64, total: i64| Happening {
        customer,
        at: NOW - days * DAY,
        what: What::Order { total, status: "placed", lines: vec![(customer % 4, 1)] },
    };
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let settings = history::settings();
        history::write_customers(&db, MANY).await;
        let first: Vec<Happening> = (0..MANY - 5).map(|n| order(n, 3 + 7 * n as i64, 1_000 + n as i64)).collect();
        history::write(&db, 0, &first).await;
        refresh(&db, &settings, NOW, Scope::Dirty).await.unwrap();
        let entry = async || -> Option<String> {
            let sql = "SELECT value FROM meta WHERE name = 'profile_grid'";
            db.fetch_optional::<(String,)>(sql, vec![]).await.unwrap().map(|(text,)| text)
        };
        let is_kept = async || entry().await.is_some_and(|text| text.starts_with(r#"{"kept""#));
        let both = async || {
            let moment = Moment::at(&db, &settings, NOW).await.unwrap();
            let answered = profile::grid(&db, &moment).await.unwrap();
            let text = entry().await;
            db.execute("DELETE FROM meta WHERE name = 'profile_grid'", vec![]).await.unwrap();
            let counted = profile::grid(&db, &moment).await.unwrap();
            assert_eq!(answered, counted, "{text:?}");
            answered
        };
        assert!(!is_kept().await, "nobody has looked");
        let before = both().await;
        assert!(is_kept().await);

        // One more lead buys, one who was lost comes back.
        history::write(&db, MANY, &[order(MANY - 4, 0, 500), order(54, 1, 900)]).await;
        let totals = refresh(&db, &settings, NOW + 1, Scope::Dirty).await.unwrap();
        assert_eq!((totals.changed, is_kept().await), (2, true));
        assert_ne!(both().await, before);
        let gone = customer_id(7);
        for sql in [
            "DELETE FROM customer WHERE bucket = $1 AND customer_id = $2",
            "INSERT INTO dirty (bucket, customer_id) VALUES ($1, $2)",
        ] {
            db.execute(sql, args![bucket_of(&gone), &gone]).await.unwrap();
        }
        let totals = refresh(&db, &settings, NOW + 2, Scope::Dirty).await.unwrap();
        assert_eq!((totals.dropped, is_kept().await), (1, true));
        assert_eq!(both().await.values().sum::<i64>(), MANY as i64 - 1);

        // One that was cut off has left its mark.
        let mark = "UPDATE meta SET value = '{\"at\":\"somebody\"}' WHERE name = 'profile_grid'";
        db.execute(mark, vec![]).await.unwrap();
        history::write(&db, 2 * MANY, &[order(3, 2, 700)]).await;
        both().await;
        db.execute(mark, vec![]).await.unwrap();
        refresh(&db, &settings, NOW + 3, Scope::Dirty).await.unwrap();
        assert_eq!(entry().await, None);
        both().await;

        // Everybody at another time: nothing is carried over.
        history::write(&db, 3 * MANY, &[order(5, 4, 700)]).await;
        refresh(&db, &settings, NOW + DAY, Scope::Everyone).await.unwrap();
        assert!(!is_kept().await);
        both().await;
        db.close().await;
    })
    .await;
}

/// `tests/reference`-style numbers of the CDNOW sample on 1997-09-30: scores by `ceil(5 × cumulative share)`, equal values together.
#[tokio::test]
async fn rfm_scores_of_cdnow_are_the_published_ones() {
    let folder = std::env::var("OKAERI_DATA").unwrap_or_else(|_| "../shared/data".to_owned());
    let Ok(file) = std::fs::File::open(format!("{folder}/cdnow_sample.csv.gz")) else {
        skipped("the CDNOW sample is not there (OKAERI_DATA)");
        return;
    };
    let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(file));
    let rows: Vec<(String, jiff::civil::Date, i64)> = reader
        .records()
        .map(|r| {
            let r = r.unwrap();
            (r[1].to_owned(), r[2].parse().unwrap(), (r[4].parse::<f64>().unwrap() * 100.0).round() as i64)
        })
        .filter(|(_, date, _)| *date <= jiff::civil::date(1997, 9, 30))
        .collect();
    each_database(|url| {
        let rows = rows.clone();
        async move {
            let db = Db::open(&url).await.unwrap();
            let mut settings = history::settings();
            settings.time_zone = jiff::tz::TimeZone::UTC;
            let mut tx = db.begin().await.unwrap();
            let ids: BTreeSet<&String> = rows.iter().map(|r| &r.0).collect();
            let customers = ids
                .iter()
                .flat_map(|id| [Value::from(bucket_of(id)), (*id).into(), "{}".into(), 0_i64.into()])
                .collect();
            let columns = ["bucket", "customer_id", "attributes", "first_seen_at"];
            tx.insert_rows("customer", &columns, customers, Conflict::Keep).await.unwrap();
            let orders = rows
                .iter()
                .enumerate()
                .flat_map(|(n, (id, date, total))| {
                    let at = okaeri::clock::start_of_day(*date, &settings.time_zone);
                    let key = [Value::from(bucket_of(id)), id.into(), at.into(), n.to_string().into()];
                    key.into_iter().chain([Value::from(*total), "USD".into(), "placed".into()])
                })
                .collect();
            let columns = ["bucket", "customer_id", "ordered_at", "order_id", "total", "currency", "status"];
            tx.insert_rows("customer_order", &columns, orders, Conflict::Keep).await.unwrap();
            tx.commit().await.unwrap();
            refresh(&db, &settings, NOW, Scope::Everyone).await.unwrap();
            let as_of = okaeri::clock::start_of_day(jiff::civil::date(1997, 9, 30), &settings.time_zone);
            let moment = Moment::at(&db, &settings, as_of).await.unwrap();
            let mut counts = [[0_i64; 5]; 3];
            for id in &ids {
                let facts = profile::load(&db, bucket_of(id), &[(*id).clone()]).await.unwrap().remove(0);
                let (r, f, m) = facts.scores(&moment).unwrap();
                for (which, score) in [r, f, m].into_iter().enumerate() {
                    counts[which][score as usize - 1] += 1;
                }
                if id.as_str() == "1" {
                    assert_eq!(facts.view(&moment).days_since_last_order, Some(59));
                    assert_eq!((facts.orders, facts.revenue, r, m), (3, 7402, 5, 4));
                }
            }
            assert_eq!(counts[0], [466, 475, 453, 490, 473], "recency");
            assert_eq!(counts[2], [439, 503, 472, 471, 472], "money");
            assert_eq!(counts[1].iter().sum::<i64>(), 2357);
            db.close().await;
        }
    })
    .await;
}
