//! Baskets that are kept: whatever came in, a fit that reads those alone who ordered learns what one that reads everybody learns, and both what plain
//! counting gives.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use okaeri::args;
use okaeri::clock::{self, DAY, HOUR, Millis};
use okaeri::data::Kind;
use okaeri::db::{Db, bucket_of};
use okaeri::offer::recommend::{self, FitCard, Learner, Owned, Sold};
use okaeri::profile::{self, Scope};
use proptest::prelude::*;

use crate::ground::each_database;
use crate::history::for_cases;
use crate::import::shop::{SETTINGS, Shop};

/// The first day of the shop; every fit is of a day that has passed since.
const BEGIN: Millis = 1_735_689_600_000;
const PEOPLE: usize = 6;
const SKUS: [&str; 5] = ["tea", "cup", "ペン", "ink", "it's"];

/// One thing that happens to the shop.
#[derive(Debug, Clone)]
enum Happening {
    /// An order comes in, or is corrected: another customer, day, status or sum.
    Order {
        order: usize,
        customer: usize,
        day: i64,
        status: &'static str,
        total: i64,
    },
    /// Lines of an order come in, or are corrected.
    Lines {
        order: usize,
        lines: Vec<(i64, usize, i64)>,
    },
    Erased {
        customer: usize,
    },
    Fit {
        day: i64,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    let status = prop::sample::select(vec!["placed", "placed", "placed", "cancelled", "returned"]);
    // Half of the days are those that fits are of.
    let day = || prop_oneof![0..60_i64, prop::sample::select(vec![20, 40])];
    let order = (0..12_usize, 0..PEOPLE, day(), status, prop::sample::select(vec![9, 9, 0, -9]));
    let lines = prop::collection::vec((0..3_i64, 0..SKUS.len(), prop::sample::select(vec![1, 1, 3, 0, -1])), 1..4);
    prop_oneof![
        5 => order.prop_map(|(order, customer, day, status, total)| Happening::Order { order, customer, day, status, total }),
        5 => (0..12_usize, lines).prop_map(|(order, lines)| Happening::Lines { order, lines }),
        1 => (0..PEOPLE).prop_map(|customer| Happening::Erased { customer }),
        4 => prop::sample::select(vec![10, 20, 30, 40, 50, 60]).prop_map(|day| Happening::Fit { day }),
    ]
}

/// What is known of the shop, counted plainly.
#[derive(Debug, Default)]
struct Known {
    /// customer, instant, status, total
    orders: BTreeMap<usize, (usize, Millis, &'static str, i64)>,
    lines: BTreeMap<(usize, i64), (usize, i64)>,
    erased: BTreeSet<usize>,
}

type Learnt = (i64, BTreeSet<(String, i64, i64, i64)>, BTreeSet<(String, String, i64)>);

impl Known {
    fn learnt(&self, as_of: Millis) -> Learnt {
        let mut learner = Learner::new(as_of);
        for customer in (0..PEOPLE).filter(|c| !self.erased.contains(c)) {
            let mut bought: BTreeMap<usize, (BTreeSet<usize>, Millis)> = BTreeMap::new();
            for ((order, _), (sku, quantity)) in &self.lines {
                let (who, at, status, total) = self.orders[order];
                if who == customer && at <= as_of && status == "placed" && total >= 0 && *quantity > 0 {
                    let (orders, last_at) = bought.entry(*sku).or_insert((BTreeSet::new(), at));
                    orders.insert(*order);
                    *last_at = at.max(*last_at);
                }
            }
            let owned: Vec<Owned> = bought
                .into_iter()
                .map(|(sku, (orders, last_at))| Owned {
                    product: learner.id(SKUS[sku]),
                    times: orders.len() as u32,
                    last_at,
                    kept: true,
                })
                .collect();
            if !owned.is_empty() {
                learner.take(&owned);
            }
        }
        let customers = learner.customers() as i64;
        let learnt = learner.finish();
        let sku = |at: u32| learnt.sold[at as usize].sku.clone();
        let mut pairs = BTreeSet::new();
        for (near, at) in learnt.neighbours.iter().zip(0..) {
            pairs.extend(near.iter().map(|n| (sku(at), sku(n.product), i64::from(n.support))));
        }
        let counts = |s: &Sold| (s.sku.clone(), i64::from(s.buyers), i64::from(s.recent_buyers), i64::from(s.orders));
        (customers, learnt.sold.iter().map(counts).collect(), pairs)
    }
}

/// What is stored.
async fn stored(db: &Db, card: &FitCard) -> Learnt {
    let sold: Vec<(String, i64, i64, i64)> =
        db.fetch_all("SELECT sku, buyers, recent_buyers, orders FROM product_sold", vec![]).await.unwrap();
    let pairs: Vec<(String, String, i64)> =
        db.fetch_all("SELECT sku, other_sku, customers FROM product_pair", vec![]).await.unwrap();
    (card.customers, sold.into_iter().collect(), pairs.into_iter().collect())
}

async fn count(db: &Db, sql: &str) -> i64 {
    db.fetch_one::<(i64,)>(sql, vec![]).await.unwrap().0
}

/// Forget the shop, and what was learnt of it.
async fn empty(db: &Db) {
    for table in [
        "customer",
        "customer_order",
        "order_line",
        "order_ref",
        "import_batch",
        "dirty",
        "basket",
        "basket_due",
        "basket_product",
        "basket_state",
        "recommend_fit",
    ] {
        db.execute(&format!("DELETE FROM {table}"), vec![]).await.unwrap();
    }
}

fn at(day: i64) -> Millis {
    BEGIN + day * DAY + HOUR
}

async fn import_orders(shop: &Shop, orders: &[(usize, usize, Millis, &str, i64)]) {
    let rows = orders.iter().map(|(order, customer, at, status, total)| {
        let at = clock::rfc3339(*at, &jiff::tz::TimeZone::UTC);
        format!("o{order},c{customer},{at},{total},{status}\n")
    });
    let text: String =
        std::iter::once("order_id,customer_id,ordered_at,total,status\n".to_owned()).chain(rows).collect();
    let totals = shop.import(Kind::Orders, text).await;
    assert_eq!(totals.rejected, 0, "{totals:?}");
}

async fn import_lines(shop: &Shop, lines: &[(usize, i64, usize, i64)]) {
    let rows =
        lines.iter().map(|(order, line_no, sku, quantity)| format!("o{order},{line_no},{},{quantity},5\n", SKUS[*sku]));
    let text: String = std::iter::once("order_id,line_no,sku,quantity,amount\n".to_owned()).chain(rows).collect();
    let totals = shop.import(Kind::Lines, text).await;
    assert_eq!(totals.rejected, 0, "{totals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_ordered_is_read_anew_and_everybody_would_say_the_same() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        let db = &shop.db;
        for_cases(40, prop::collection::vec(happening(), 4..30), async |happenings: Vec<Happening>| {
            empty(db).await;
            let mut known = Known::default();
            let mut last = 0;
            for happening in happenings {
                match happening {
                    Happening::Order { order, customer, day, status, total } => {
                        import_orders(&shop, &[(order, customer, at(day), status, total)]).await;
                        // Money that went back.
                        let status = if total < 0 && status == "placed" { "returned" } else { status };
                        known.orders.insert(order, (customer, at(day), status, total));
                    }
                    Happening::Lines { order, lines } if known.orders.contains_key(&order) => {
                        let rows: Vec<_> =
                            lines.iter().map(|(no, sku, quantity)| (order, *no, *sku, *quantity)).collect();
                        import_lines(&shop, &rows).await;
                        known.lines.extend(lines.into_iter().map(|(no, sku, quantity)| ((order, no), (sku, quantity))));
                    }
                    Happening::Lines { .. } => {}
                    Happening::Erased { customer } => {
                        let id = format!("c{customer}");
                        let sql = "UPDATE customer SET erased_at = 1 WHERE bucket = $1 AND customer_id = $2";
                        if db.execute(sql, args![bucket_of(&id), id]).await.unwrap() > 0 {
                            known.erased.insert(customer);
                        }
                    }
                    Happening::Fit { day } => {
                        // On the day itself, and at the instant of its orders.
                        last = at(day);
                        let card = recommend::fit(db, last, Scope::Dirty).await.unwrap();
                        assert_eq!(stored(db, &card).await, known.learnt(last), "as of day {day}");
                        for customer in &known.erased {
                            let sql = format!("SELECT COUNT(*) FROM basket WHERE customer_id = 'c{customer}'");
                            assert_eq!(count(db, &sql).await, 0, "a basket of somebody who was erased");
                        }
                    }
                }
            }
            let expected = known.learnt(last);
            for scope in [Scope::Dirty, Scope::Everyone, Scope::Dirty] {
                let card = recommend::fit(db, last, scope).await.unwrap();
                assert_eq!(stored(db, &card).await, expected, "{scope:?} at the end");
            }
        });
    })
    .await;
}

/// Everybody buys tea and a cup, in an order each.
async fn with_people(shop: &Shop, people: usize) {
    let orders: Vec<_> = (0..people).map(|n| (n, n, at(1), "placed", 9)).collect();
    let lines: Vec<_> = (0..people).flat_map(|n| [(n, 0, 0, 1), (n, 1, 1, 1)]).collect();
    import_orders(shop, &orders).await;
    import_lines(shop, &lines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_reads_those_who_ordered_and_those_whose_orders_were_still_to_come() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        let db = &shop.db;
        with_people(&shop, 50).await;
        let fit = async |day: i64, scope: Scope| {
            let card = recommend::fit(db, at(day), scope).await.unwrap();
            (card.customers, card.read_anew)
        };
        assert_eq!(fit(2, Scope::Dirty).await, (50, 50), "nothing was kept yet");
        assert_eq!(fit(3, Scope::Dirty).await, (50, 0));
        assert_eq!(fit(3, Scope::Everyone).await, (50, 50));
        // The same files once more are no news.
        with_people(&shop, 50).await;
        assert_eq!(fit(4, Scope::Dirty).await, (50, 0));
        import_orders(
            &shop,
            &[(100, 3, at(4), "placed", 9), (101, 4, at(9), "placed", 9), (5, 5, at(1), "cancelled", 9)],
        )
        .await;
        import_lines(&shop, &[(100, 0, 2, 1), (101, 0, 2, 1)]).await;
        assert_eq!(fit(5, Scope::Dirty).await, (49, 3), "an order, one of later, and one that was cancelled");
        assert_eq!(fit(6, Scope::Dirty).await, (49, 1), "one is still to come");
        assert_eq!(fit(9, Scope::Dirty).await, (49, 1), "and came");
        assert_eq!(fit(9, Scope::Dirty).await, (49, 0));
        // Somebody asks what would have been learnt before: from orders, and what is kept stays.
        assert_eq!(fit(4, Scope::Dirty).await, (49, 49));
        assert_eq!(fit(9, Scope::Dirty).await, (49, 0));
        // A day that has not come is looked at and not kept either.
        let next_year = clock::now() + 365 * DAY;
        assert_eq!(recommend::fit(db, next_year, Scope::Dirty).await.unwrap().read_anew, 49);
        assert_eq!(fit(9, Scope::Dirty).await, (49, 0));
        // Somebody wrote into a basket.
        db.execute("UPDATE basket SET body = 'half a' WHERE customer_id = 'c7'", vec![]).await.unwrap();
        assert_eq!(fit(9, Scope::Dirty).await, (49, 49), "all are made anew");
        db.execute("DELETE FROM basket_product", vec![]).await.unwrap();
        assert_eq!(fit(9, Scope::Dirty).await, (49, 49));
        db.execute("UPDATE basket_state SET layout = 0", vec![]).await.unwrap();
        assert_eq!(fit(9, Scope::Dirty).await, (49, 49));
        assert_eq!(fit(9, Scope::Dirty).await, (49, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_while_a_fit_or_a_refresh_of_profiles_reads_is_read_by_the_next() {
    each_database(|url| async move {
        const ROUNDS: usize = 40;
        let shop = Shop::open(&url, SETTINGS).await;
        with_people(&shop, 60).await;
        recommend::fit(&shop.db, at(2), Scope::Dirty).await.unwrap();
        let imports = async {
            for round in 1..=ROUNDS {
                let order = |n: usize| round * 100 + n;
                let orders: Vec<_> = (0..60).map(|n| (order(n), n, at(3), "placed", 9)).collect();
                import_orders(&shop, &orders).await;
                let lines: Vec<_> = (0..60).map(|n| (order(n), 0, round % SKUS.len(), 1)).collect();
                import_lines(&shop, &lines).await;
            }
        };
        let done = std::cell::Cell::new(false);
        let fits = async {
            let mut fits = 0;
            while !done.get() {
                recommend::fit(&shop.db, at(4), Scope::Dirty).await.unwrap();
                fits += 1;
            }
            fits
        };
        let refresh = async || profile::refresh(&shop.db, &shop.settings, at(4), Scope::Dirty).await.unwrap();
        let refreshes = async {
            let mut refreshes = 0;
            while !done.get() {
                refresh().await;
                refreshes += 1;
            }
            refreshes
        };
        let (_, fits, refreshes) = tokio::join!(
            async {
                imports.await;
                done.set(true)
            },
            fits,
            refreshes
        );
        assert!(fits > 1 && refreshes > 1, "both ran beside imports");
        refresh().await;
        let (known,): (i64,) =
            shop.db.fetch_one("SELECT CAST(SUM(orders) AS BIGINT) FROM profile", args![]).await.unwrap();
        let (kept,): (i64,) = shop.db.fetch_one("SELECT COUNT(*) FROM customer_order", args![]).await.unwrap();
        assert_eq!(known, kept, "every order is in a profile");
        let card = recommend::fit(&shop.db, at(4), Scope::Dirty).await.unwrap();
        let renewed = stored(&shop.db, &card).await;
        let card = recommend::fit(&shop.db, at(4), Scope::Everyone).await.unwrap();
        assert_eq!(renewed, stored(&shop.db, &card).await);
        let orders: HashMap<String, i64> = renewed.1.into_iter().map(|(sku, _, _, orders)| (sku, orders)).collect();
        assert_eq!(orders["tea"], 60 + 60 * ROUNDS as i64 / SKUS.len() as i64);
    })
    .await;
}
