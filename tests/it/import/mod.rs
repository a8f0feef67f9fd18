//! Data in: what an import promises, on both databases.

pub mod shop;

use std::future::{Future as _, poll_fn};
use std::io::Read;
use std::path::Path;
use std::task::Poll;

use okaeri::args;
use okaeri::data::{self, From, ImportError, Kind};
use okaeri::db::bucket_of;
use okaeri::suppression::{self, Reason, Scope};

use crate::ground::each_database;
use crate::ground::scenario::Scenario;
use shop::{SETTINGS, Shop, at, bytes, gz};

const CUSTOMERS: &str = "customer_id,email,first_name,last_name,locale,time_zone,country,consent,好きな色\n\
    c1,Mia@Example.com,Mia,\"Berg, M.\",en,Europe/Berlin,DE,offers;news,\n\
    c2,hana@example.com,花,山田,ja_JP,Asia/Tokyo,JP,offers,藍色\n\
    c3,not an address,Bo,,,Mars/Olympus,,,\n";
const PRODUCTS: &str = "sku,name,category,price,size\nS1,土鍋,home,5400,L\nS2,\"A \"\"B\"\" record\",music,2800.00,\n";
const ORDERS: &str = "order_id,customer_id,ordered_at,total,currency,status\n\
    o1,c1,2026-10-01T10:00,8200,JPY,paid\no2,c2,2026-10-02,-2800,,\no3,c9,2026-10-03,100,jpy,Canceled\n";
const LINES: &str = "order_id,line_no,sku,quantity,amount\no1,1,S1,1,5400\no1,2,S2,1,2800\no2,1,S2,-1,-2800\n";
const EVENTS: &str = r#"{"event_id":"e1","customer_id":"c1","name":"product.viewed","at":"2026-11-01T12:00:00Z","properties":{"sku":"S1"}}
{"event_id":"e2","customer_id":"c2","name":"ticket.closed","at":"2026-11-02","properties":{"rating":2,"note":"遅い"}}

{"customer_id":"c2","name":"order.refunded","at":1793600000,"amount":"2800","score":9}
"#;

#[tokio::test]
async fn every_kind_comes_in_and_repeats_without_change() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        let products = shop.import_twice(Kind::Products, PRODUCTS).await;
        assert_eq!((products.read, products.changed, products.rejected), (2, 2, 0));
        shop.must_have("product: S2|A \"B\" record|music|2800|∅|∅|{}").await;
        shop.must_have("product: S1|土鍋|home|5400|∅|∅|{\"size\":\"L\"}").await;

        let customers = shop.import_twice(Kind::Customers, CUSTOMERS).await;
        assert_eq!((customers.changed, customers.consents_changed, customers.warnings), (3, 3, 2));
        let (line, reason) = (customers.warned_rows[0].line, customers.warned_rows[0].reason.as_str());
        assert_eq!((line, reason), (4, "the address `not an address` has no @; kept without a usable address"));
        shop.must_have(
            "customer: c2|hana@example.com|hana@example.com|花|山田|ja-JP|Asia/Tokyo|JP|{\"好きな色\":\"藍色\"}",
        )
        .await;
        shop.must_have("customer: c3|not an address|∅|Bo|∅|∅|∅|∅|{}").await;

        let orders = shop.import(Kind::Orders, ORDERS).await;
        assert_eq!((orders.changed, orders.customers_created), (3, 1));
        assert_eq!(shop.dirty().await, ["c1", "c2", "c9"]);
        shop.import_twice(Kind::Orders, ORDERS).await;
        let (bucket, when) = (bucket_of("c2"), at("2026-10-02"));
        shop.must_have(&format!("customer_order: {bucket}|c2|{when}|o2|-2800|JPY|returned")).await;

        shop.import_twice(Kind::Lines, LINES).await;
        let (bucket, when) = (bucket_of("c1"), at("2026-10-01T10:00"));
        shop.must_have(&format!("order_line: {bucket}|c1|{when}|o1|2|S2|music|1|2800")).await;

        let events = shop.import_twice(Kind::Events, EVENTS).await;
        assert_eq!((events.read, events.changed), (3, 3));
        assert_eq!(shop.count("event: ", "|e1|S1|home|∅|∅|{\"sku\":\"S1\"}").await, 1);
        assert_eq!(shop.count("event: ", "|e2|∅|∅|∅|2").await, 1, "a ticket's rating is its score");
        let refund = "|∅|∅|2800|∅|{\"amount\":\"2800\",\"score\":9}";
        assert_eq!(shop.count("event: ", refund).await, 1, "only surveys and reviews carry scores");

        let consents = "customer_id,topic,granted,at\nc1,offers,no,2026-11-01\nc8,news,TRUE,\n";
        let totals = shop.import_twice(Kind::Consents, consents).await;
        assert_eq!((totals.consents_changed, totals.customers_created), (2, 1));

        let list = "address,scope,reason,at\nMIA@example.com,topic:offers,Unsubscribe,2026-01-01\nbo@example.com,,,\n";
        shop.import_twice(Kind::Suppressions, list).await;
        let unsubscribed = format!("suppression: mia@example.com|topic:offers|unsubscribe|{}", at("2026-01-01"));
        shop.must_have(&unsubscribed).await;
        shop.must_have(&format!("suppression: bo@example.com|all|import|{}", at("2026-11-24T09:00"))).await;

        let sql = "SELECT COUNT(*), COUNT(*) - COUNT(finished_at) FROM import_batch";
        let (batches, open): (i64, i64) = shop.db.fetch_one(sql, vec![]).await.unwrap();
        assert!(batches >= 10 && open == 0, "{batches} {open}");
    })
    .await;
}

#[tokio::test]
async fn one_content_in_any_wrapping_is_one_import() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        shop.import(Kind::Customers, CUSTOMERS).await;
        let before = shop.dump().await;
        let bom = [b"\xef\xbb\xbf", CUSTOMERS.as_bytes()].concat();
        // The one comma inside a cell is kept by a sign that stands nowhere else.
        let plain = CUSTOMERS.replace("\"Berg, M.\"", "Berg† M.");
        let semicolons = plain.replace("offers;news", "\"offers;news\"").replace(',', ";").replace('†', ",");
        let tabs = plain.replace(',', "\t").replace('†', ",").replace('\n', "\r\n");
        let jsonl = r#"
            {"Customer ID":"c1","email":" Mia@Example.com ","consent":["offers","news"]}
            {"Customer ID":"c3","email":"not an address","consent":null,"rejected_reason":"old"}"#;
        let texts = [bom.clone(), gz(&bom), semicolons.into(), tabs.into(), jsonl.into(), gz(jsonl.as_bytes())];
        for text in texts {
            let totals = shop.import(Kind::Customers, &text).await;
            assert_eq!((totals.changed, totals.consents_changed, totals.rejected), (0, 0, 0), "{totals:?}");
            assert!(totals.read >= 2);
            assert_eq!(shop.dump().await, before);
        }
        for (text, reason) in [
            (&b"\xff\xfei\0d\0"[..], "UTF-16 text"),
            (b"PK\x03\x04....", "a spreadsheet or zip archive"),
            (b" [\n{}]", "a JSON array"),
            (b"id,mail\n1,a@example.com\n", "no column `customer_id` for customers"),
            (b"\"customer_id\n", "the header line cannot be read"),
        ] {
            let e = shop.try_import(Kind::Customers, bytes(text), &[]).await.unwrap_err();
            assert!(e.to_string().contains(reason), "{e}");
        }
        assert_eq!(shop.import(Kind::Customers, "").await.read, 0);
    })
    .await;
}

#[tokio::test]
async fn rejected_rows_are_listed_kept_and_welcome_back() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        let rows: [(&[u8], &str); 15] = [
            (b"o1,c1,2026-10-01,100,,", ""),
            (b"o2,c1,2026-10-01,\"1,000\",,", "`total`: `1,000` has a comma"),
            (b"o3,c1,01/10/2026,100,,", "`ordered_at`: `01/10/2026` is not an instant"),
            (b"o4,c1,2026-10-01,100,USD,", "`currency`: `USD` is not the project's JPY; orders in other currencies"),
            (b"o5,c1,2026-10-01,100,,shiped", "`status`: `shiped` is not known; did you mean `shipped`?"),
            (b"o6,c1,2027-10-01,100,,", "`ordered_at`: `2027-10-01` lies in the future"),
            (b"o7,c1,2026-10-01,10.5,,", "`total`: `10.5` has more decimal places than the currency"),
            (b"o8,,2026-10-01,100,,", "`customer_id` is empty"),
            (b"o9,c1,2026-10-01,100,", "has 5 cells, the header has 6"),
            (b"o\x01,c1,2026-10-01,100,,", "`order_id` holds a control character"),
            (b"o\xff,c1,2026-10-01,100,,", "is not UTF-8 text"),
            (b"o10,\"c1,2026-10-01,100,,", "a quotation mark opens a cell that is not closed"),
            (b"o11,c1,2026-10-01,100,,", ""),
            (&[b'x'; 230], "has 1 cells, the header has 6"),
            (&[b'x'; 70_000], "has 1 cells, the header has 6"),
        ];
        let mut text = b"order_id,customer_id,ordered_at,total,currency,status\n".to_vec();
        for (row, _) in rows {
            text.extend_from_slice(row);
            text.push(b'\n');
        }
        let totals = shop.import(Kind::Orders, &text).await;
        let expected: Vec<(u64, &str)> = (2..)
            .zip(rows)
            .filter(|(_, (_, reason))| !reason.is_empty())
            .map(|(line, (_, reason))| (line, reason))
            .collect();
        assert_eq!((totals.read, totals.changed, totals.rejected), (15, 2, 13));
        for (said, (line, reason)) in totals.rejected_rows.iter().zip(expected) {
            assert!(said.line == line && said.reason.starts_with(reason), "{said:?}, expected {line}: {reason}");
        }

        // Corrected in the file where they are kept, they come in.
        let kept = std::fs::read(totals.rejected_file.unwrap()).unwrap();
        let kept: Vec<&[u8]> = kept.split(|b| *b == b'\n').take(3).collect();
        let kept = String::from_utf8(kept.join(&b'\n')).unwrap();
        assert!(kept.starts_with("rejected_line,rejected_reason,order_id,"), "{kept}");
        let corrected = kept.replace(",\"1,000\"", ",1000").replace("c1,01/10/2026", "c1,2026-10-01");
        let again = shop.import(Kind::Orders, &corrected).await;
        assert_eq!((again.changed, again.rejected), (2, 0), "{again:?}\n{corrected}");
        assert!(again.ignored_columns.is_empty());

        let long = format!("order_id,customer_id,ordered_at,total\n{},c1,2026-10-01,1\n", "x".repeat(201));
        let long = shop.import(Kind::Orders, long).await;
        assert!(long.rejected_rows[0].reason.starts_with("`order_id` is longer than 200 bytes: xxx"), "{long:?}");
        let long = format!("sku,category\nS1,{}\nS2,tea\n", "茶".repeat(67));
        let long = shop.import(Kind::Products, long).await;
        assert!(long.rejected_rows[0].reason.starts_with("`category` is longer than 200 bytes: 茶茶"), "{long:?}");
        let huge = format!("customer_id,first_name\nc1,{}\nc2,Bo\n", "字".repeat(40_000));
        let huge = shop.import(Kind::Customers, huge).await;
        assert!(huge.rejected_rows[0].reason.starts_with("a cell is larger than 64 KiB: 字字"), "{huge:?}");
        assert_eq!(huge.changed, 1);
    })
    .await;
}

#[tokio::test]
async fn rejected_jsonl_stays_jsonl() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        let text = "{\"customer_id\":\"c1\"}\nnonsense\n[]\n{}\n\
            {\"customer_id\":\"c1\",\"name\":\"a\",\"at\":\"2026-10-01\",\"properties\":3}\n";
        let totals = shop.import(Kind::Events, text).await;
        assert_eq!((totals.read, totals.rejected, totals.nothing_accepted()), (5, 5, true));
        let kept = std::fs::read_to_string(totals.rejected_file.unwrap()).unwrap();
        for line in kept.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(row["rejected_reason"].is_string());
        }
        assert!(kept.contains("\"rejected_text\":\"nonsense\""), "{kept}");
        let corrected = kept.lines().last().unwrap().replace("\"properties\":3", "\"properties\":{\"x\":3}");
        let again = shop.import(Kind::Events, corrected).await;
        assert_eq!((again.changed, again.rejected), (1, 0), "{again:?}");
        assert_eq!(shop.count("event: ", "{\"x\":3}").await, 1, "our own columns are no properties");
    })
    .await;
}

#[tokio::test]
async fn of_rows_with_one_key_the_last_stands() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        for (kind, text) in [
            (Kind::Customers, "customer_id,email,first_name\nc1,a@example.com,A\nc1,b@example.com,B\n"),
            (Kind::Products, "sku,price\nS,1\nS,2\n"),
            (Kind::Orders, "order_id,customer_id,ordered_at,total\no,c1,2026-01-01,1\no,c2,2026-01-02,2\n"),
            (Kind::Lines, "order_id,line_no,sku,quantity,amount\no,1,S,1,1\no,1,S,2,2\n"),
            (Kind::Events, "event_id,customer_id,name,at,sku\ne,c1,a,2026-01-01,S\ne,c1,b,2026-01-01,\n"),
        ] {
            let totals = shop.import_twice(kind, text).await;
            assert_eq!((totals.changed, totals.repeated, totals.unchanged), (1, 1, 0), "{totals:?}");
        }
        shop.must_have("address: b@example.com|c1").await;
        shop.must_have("product: S|∅|∅|2|∅|∅|{}").await;
        assert_eq!(shop.count("address: ", "").await, 1);
        let (bucket, when) = (bucket_of("c2"), at("2026-01-02"));
        shop.must_have(&format!("order_line: {bucket}|c2|{when}|o|1|S|∅|2|2")).await;
        assert_eq!(shop.count("order_line: ", "").await, 1);
        assert_eq!(shop.count("customer_order: ", "").await, 1);
        assert_eq!(shop.count("event: ", "|e|∅|").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_corrected_order_moves_with_its_lines() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        shop.import(Kind::Orders, ORDERS).await;
        shop.import(Kind::Lines, LINES).await;
        shop.clean().await;
        let moved = "order_id,customer_id,ordered_at,total,currency,status\no1,c7,2026-09-30,8000,,refunded\n";
        shop.import(Kind::Orders, moved).await;
        assert_eq!(shop.dirty().await, ["c1", "c7"], "both the old and the new customer");
        shop.import_twice(Kind::Orders, moved).await;
        let key = format!("{}|c7|{}|o1", bucket_of("c7"), at("2026-09-30"));
        let rows: Vec<String> = shop.dump().await.into_iter().filter(|r| r.contains("|o1")).collect();
        assert_eq!(
            rows,
            [
                format!("customer_order: {key}|8000|JPY|returned"),
                format!("order_line: {key}|1|S1|∅|1|5400"),
                format!("order_line: {key}|2|S2|∅|1|2800"),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn lines_and_events_follow_the_category_of_their_product() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        shop.import(Kind::Orders, ORDERS).await;
        shop.import(Kind::Lines, LINES).await;
        let events = "customer_id,name,at,sku,category\nc1,x,2026-01-01,S1,own\nc1,x,2026-01-02,S1,\n";
        shop.import(Kind::Events, events).await;
        shop.import_twice(Kind::Products, PRODUCTS).await;
        assert_eq!(shop.count("order_line: ", "|S1|home|").await, 1);
        assert_eq!(shop.count("order_line: ", "|S2|music|").await, 2);
        assert_eq!(shop.count("event: ", "|S1|home|").await, 1);
        assert_eq!(shop.count("event: ", "|S1|own|").await, 1, "an event's own category stays");
        shop.clean().await;
        shop.import(Kind::Products, "sku,category\nS1,kitchen\n").await;
        assert_eq!(shop.dirty().await, ["c1"]);
        assert_eq!(shop.count("", "|S1|kitchen|").await, 2);
        shop.must_have("product: S1|土鍋|kitchen|5400|∅|∅|{\"size\":\"L\"}").await;
    })
    .await;
}

#[tokio::test]
async fn lines_find_their_order_or_bring_it() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        let totals = shop.import(Kind::Lines, LINES).await;
        assert_eq!((totals.rejected, totals.nothing_accepted()), (3, true));
        assert_eq!(totals.rejected_rows[0].reason, "the order `o1` is not known: import orders first");

        // Numbered and multiplied here, with the columns of another shop.
        let theirs = "order_id,product_id,quantity,unit_price,customer_id,ordered_at\n\
            o1,S1,3,0.5,c5,2026-01-01\no2,S1,1,7,c6,2026-01-02\no1,S2,2,10,c5,2026-01-01\n";
        for changed in [3, 0] {
            let totals = shop.try_import(Kind::Lines, bytes(theirs), &[("product_id", "sku")]).await.unwrap();
            assert_eq!((totals.read, totals.changed, totals.rejected), (3, changed, 0));
        }
        let (bucket, when) = (bucket_of("c5"), at("2026-01-01"));
        let line = |rest: &str| format!("order_line: {bucket}|c5|{when}|o1|{rest}");
        shop.must_have(&line("1|S1|∅|3|2")).await; // half a yen is rounded away from zero
        shop.must_have(&line("2|S2|∅|2|20")).await;
        // The order itself comes later and knows the hour: the lines go with it.
        shop.import(Kind::Orders, "order_id,customer_id,ordered_at,total\no1,c5,2026-01-01T15:00,22\n").await;
        let when = at("2026-01-01T15:00");
        shop.must_have(&format!("order_line: {bucket}|c5|{when}|o1|2|S2|∅|2|20")).await;
    })
    .await;
}

#[tokio::test]
async fn an_unsubscribe_outlives_every_import() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        let nightly = "customer_id,email,consent\nc1,mia@example.com,offers;news\n";
        shop.import(Kind::Customers, nightly).await;
        let mut tx = shop.db.begin().await.unwrap();
        let offers = Scope::Topic("offers".into());
        suppression::suppress(&mut tx, "mia@example.com", &offers, Reason::Unsubscribe, 1, "link").await.unwrap();
        let no = suppression::consent::Statement {
            bucket: bucket_of("c1"),
            customer_id: "c1".into(),
            topic: "offers".into(),
            granted: false,
            at: 1,
            source: "unsubscribe link".into(),
        };
        suppression::consent::state_all(&mut tx, vec![no]).await.unwrap();
        tx.commit().await.unwrap();
        let before = shop.dump().await;
        shop.import(Kind::Customers, nightly).await;
        shop.import(Kind::Consents, "customer_id,topic,granted\nc1,offers,yes\n").await;
        assert_eq!(shop.dump().await, before);
        // Even a dated yes, or a new customer with that mailbox, does not lift it.
        shop.import(Kind::Consents, "customer_id,topic,granted,at\nc1,offers,yes,2026-11-20\n").await;
        shop.import(Kind::Customers, "customer_id,email,consent\nc2,MIA@example.com,offers\n").await;
        shop.must_have("suppression: mia@example.com|topic:offers|unsubscribe|1").await;
        shop.must_have("address: mia@example.com|c1").await;
        // What the column no longer names is taken back; a file without the column says nothing.
        shop.import(Kind::Customers, "customer_id,first_name\nc1,Mia\n").await;
        assert_eq!(shop.granted("c1").await, ["news", "offers"]);
        shop.import(Kind::Customers, "customer_id,consent\nc1,\n").await;
        assert_eq!(shop.granted("c1").await, ["offers"], "dated, so a column without dates leaves it alone");
        // The address goes with the customer who loses it.
        shop.import(Kind::Customers, "customer_id,email\nc1,\n").await;
        shop.must_have("address: mia@example.com|c2").await;
    })
    .await;
}

/// Gives so many bytes, then fails like a broken disk.
struct Failing(std::io::Cursor<Vec<u8>>, usize);

impl Read for Failing {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.1 == 0 {
            return Err(std::io::Error::other("the disk is gone"));
        }
        let most = buf.len().min(self.1);
        let n = self.0.read(&mut buf[..most])?;
        self.1 -= n;
        Ok(n)
    }
}

/// Enough for several batches of orders.
const ORDERS_MADE: i64 = 24_000;

#[tokio::test]
async fn an_interrupted_import_goes_on_where_it_stopped() {
    let mut orders = "order_id,customer_id,ordered_at,total\n".to_owned();
    let mut lines = "order_id,sku,quantity,amount\n".to_owned();
    for i in 0..ORDERS_MADE {
        orders += &format!("o{i},c{},2026-01-{:02}T10:00,{i}\n", i % 700, 1 + i % 28);
        lines += &format!("o{i},S{},1,{i}\no{i},S{},1,0\n", i % 50, i % 7);
    }
    let texts = [(Kind::Orders, orders), (Kind::Lines, lines)];
    each_database(|url| {
        let texts = texts.clone();
        async move {
            let shop = Shop::open(&url, SETTINGS).await;
            for (kind, text) in &texts {
                let half = Failing(std::io::Cursor::new(text.clone().into_bytes()), text.len() / 2);
                let e = shop.try_import(*kind, From::Reader(Box::new(half)), &[]).await.unwrap_err();
                assert!(e.to_string().contains("reading stops after this line: the disk is gone"), "{e}");
                // A gz file that was cut off, and an import that nobody waits for any longer.
                let packed = gz(text.as_bytes());
                let e = shop.try_import(*kind, bytes(&packed[..packed.len() / 3]), &[]).await.unwrap_err();
                assert!(matches!(e, ImportError::Broken { .. }), "{e}");
                let mut dropped = Box::pin(shop.try_import(*kind, bytes(text), &[]));
                for _ in 0..50 {
                    let looked = poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx))).await;
                    assert!(looked.is_pending(), "it was to be dropped on the way");
                    tokio::task::yield_now().await;
                }
                drop(dropped);
                let totals = shop.import(*kind, text).await;
                assert!(totals.changed > 0 && totals.unchanged > 0 && totals.rejected == 0, "{totals:?}");
            }
            let sql = "SELECT (SELECT COUNT(*) FROM customer_order), (SELECT COUNT(*) FROM order_line), \
                       (SELECT CAST(SUM(amount) AS BIGINT) FROM order_line)";
            let sums: (i64, i64, i64) = shop.db.fetch_one(sql, args![]).await.unwrap();
            assert_eq!(sums, (ORDERS_MADE, 2 * ORDERS_MADE, (0..ORDERS_MADE).sum::<i64>()));
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_imported_is_read_back_for_templates() {
    each_database(|url| async move {
        let shop = Shop::open(&url, SETTINGS).await;
        for (kind, text) in
            [(Kind::Products, PRODUCTS), (Kind::Customers, CUSTOMERS), (Kind::Orders, ORDERS), (Kind::Lines, LINES)]
        {
            shop.import(kind, text).await;
        }
        let zone = &shop.settings.time_zone;
        let customer = data::load::customer(&shop.db, "c2").await.unwrap().unwrap();
        let json = serde_json::to_value(&customer).unwrap();
        assert_eq!((json["好きな色"].as_str(), json["locale"].as_str()), (Some("藍色"), Some("ja-JP")));
        assert_eq!(json.get("bucket"), None);
        assert!(data::load::customer(&shop.db, "nobody").await.unwrap().is_none());
        let orders = data::load::orders(&shop.db, zone, "c1").await.unwrap();
        assert_eq!(orders[0].ordered_at, "2026-10-01T10:00:00+09:00");
        assert_eq!(orders[0].lines[0].name, "土鍋");
        let last = data::load::last_order_with_lines(&shop.db, zone, bucket_of("c1"), &["c1", "x"]).await.unwrap();
        assert_eq!(last["c1"], orders[0]);
        let none = data::load::last_order_with_lines(&shop.db, zone, bucket_of("c2"), &["c2"]).await.unwrap();
        assert!(none.is_empty(), "a return is no order");
        let products = data::load::products(&shop.db, &["S1", "S9"]).await.unwrap();
        assert_eq!((products.len(), products["S1"].price), (1, Some(5400)));
    })
    .await;
}

/// The real retail data: every row is taken, returns included.
#[tokio::test]
async fn the_uk_retail_orders_come_in_whole() {
    let folder = std::env::var("OKAERI_DATA").unwrap_or_else(|_| "../shared/data".to_owned());
    let file = Path::new(&folder).join("ukretail_orders.csv.gz");
    if !file.exists() {
        return crate::ground::skipped(&format!("{} is not here", file.display()));
    }
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("t.db").display());
    let shop = Shop::open(&url, &SETTINGS.replace("JPY", "GBP")).await;
    let totals = shop.try_import(Kind::Orders, From::File(file), &[("amount", "total")]).await.unwrap();
    assert_eq!((totals.read, totals.changed, totals.rejected), (44_751, 44_751, 0), "{:?}", totals.rejected_rows);
    assert_eq!(totals.customers_created, 5_942);
    assert_eq!(totals.ignored_columns, ["lines", "is_return", "country"]);
}

#[tokio::test]
async fn where_rejected_rows_cannot_be_kept_the_folder_is_named() {
    let shop = Scenario::new("sqlite:okaeri.db");
    shop.write(".okaeri/rejected", "a file where the folder would be");
    shop.write("people.csv", "customer_id,email,consent\nmia,mia@example.com,offers\n,nobody@example.com,offers\n");
    let ran = shop.okaeri("import customers people.csv").await.exits(5);
    assert!(ran.stderr.contains("cannot keep rejected rows in .okaeri/rejected: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("let this user write there"), "{}", ran.stderr);
}
