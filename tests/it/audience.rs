//! Lists for other channels through the binary: who is in them and who is not, what stands in a row, and what becomes of the file.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use okaeri::args;
use okaeri::audience::network::Network;
use okaeri::audience::normal::hashed;
use okaeri::audience::people::LeftOut;
use okaeri::audience::{TABLE_COLUMNS, calls};
use serde_json::json;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

const AT: &str = "--at 2026-11-24T12:00";

const CUSTOMERS: &str = "\
customer_id,email,first_name,last_name,locale,country,consent,phone,zip
hana,Hana.Sato+shop@gmail.com,花,佐々木,ja-JP,jp,offers;news,090-1234-5678,600-8001
mia,Mia.Berg@example.com,Mia,O'Brien Jr.,de,DE,offers,030 1234567,10115
evil,=cmd@example.com,\"=HYPERLINK(\"\"http://example.net\"\",\"\"x\"\")\",+1,en,-1,offers,@SUM(A1),
plain,plain@example.org,,,,,offers,,
silent,silent@example.com,Si,Lent,en,US,,,
other,other@example.com,Ot,Her,en,US,news,,
gone,gone@example.com,Go,Ne,en,US,offers,,
spam,spam@example.com,Sp,Am,en,US,offers,,
twin,MIA.BERG@example.com,Twin,Berg,de,DE,offers,,
nowhere,not an address,No,Where,en,US,offers,,
erased,erased@example.com,Er,Ased,en,US,offers,,
outside,outside@example.com,Out,Side,en,US,offers,,
newsless,newsless@example.com,News,Less,en,US,offers,,
";

/// A shop in which every reason to be left out of a list of `offers` meets somebody.
async fn shop(url: &str) -> Scenario {
    let shop = Scenario::new(url)
        .segment("everyone", "{ none: [{ customer: first_name, eq: Out }] }")
        .segment("nobody", "{ customer: orders, gte: 100 }");
    shop.write("customers.csv", CUSTOMERS);
    let mut orders = "order_id,customer_id,ordered_at,total,currency,status\n".to_owned();
    for (id, day, total) in [
        ("mia", "2026-07-01", 50),
        ("mia", "2026-08-01", 70),
        ("mia", "2026-09-01", 60),
        ("hana", "2026-11-01", 500),
        ("evil", "2026-11-02", 20),
        ("gone", "2026-11-02", 900),
    ] {
        orders.push_str(&format!("{id}-{day},{id},{day}T10:00:00Z,{total}.00,EUR,paid\n"));
    }
    shop.write("orders.csv", orders);
    shop.write(
        "events.csv",
        "event_id,customer_id,name,at,properties\n\
         e1,mia,ticket.opened,2026-11-20T10:00:00Z,\"{\"\"ticket_id\"\": \"\"T1\"\"}\"\n\
         e2,hana,product.viewed,2026-11-22T10:00:00Z,\"{\"\"sku\"\": \"\"OLIVE-1\"\", \"\"category\"\": \"\"plants\"\"}\"\n",
    );
    shop.write("products.csv", "sku,name,category,price\nOLIVE-1,Olive tree,plants,49.00\n");
    for kind in ["products", "customers", "orders", "events"] {
        shop.okaeri(&format!("import {kind} {kind}.csv --quiet")).await.exits(0);
    }
    shop.okaeri("suppress gone@example.com").await.exits(0);
    shop.okaeri("suppress spam@example.com --topic offers --reason complaint").await.exits(0);
    shop.okaeri("suppress newsless@example.com --topic news").await.exits(0);
    let db = shop.database().await;
    db.execute("UPDATE customer SET erased_at = $1 WHERE customer_id = 'erased'", args![1_i64]).await.unwrap();
    db.close().await;
    shop.okaeri("profile --quiet").await.exits(0);
    shop
}

/// The rows of a CSV by their first cell, without the heading.
fn rows(text: &str, heading: bool) -> Vec<Vec<String>> {
    csv::ReaderBuilder::new()
        .has_headers(heading)
        .from_reader(text.as_bytes())
        .records()
        .map(|r| r.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

fn by_id(text: &str) -> BTreeMap<String, Vec<String>> {
    rows(text, true).into_iter().map(|r| (r[0].clone(), r)).collect()
}

const HANDED_OUT: [&str; 5] = ["evil", "hana", "mia", "newsless", "plain"];

#[tokio::test]
async fn only_those_whom_promotional_mail_may_reach_are_handed_out() {
    each_database(|url| async move {
        let shop = shop(&url).await;
        let ran = shop.okaeri(&format!("segment export everyone --topic offers --as csv {AT}")).await.exits(0);
        let people = by_id(&ran.stdout);
        assert_eq!(people.keys().map(String::as_str).collect::<Vec<_>>(), HANDED_OUT);
        assert!(ran.stderr.contains("everyone: 5 of 12 members handed out as csv\n"), "{}", ran.stderr);
        let left_out = "left out: 1 erased, 2 suppressed, 1 no usable address, 1 address of another customer, 2 no consent to the topic\n";
        assert!(ran.stderr.contains(left_out), "{}", ran.stderr);

        let counted = shop.json(&format!("segment export everyone --topic offers --as meta --output list.csv {AT}"), 0).await;
        assert_eq!(
            counted["left_out"],
            json!({ "erased": 1, "suppressed": 2, "invalid_address": 1, "duplicate_address": 1, "no_consent": 2 })
        );
        assert_eq!((&counted["members"], &counted["handed_out"]), (&json!(12), &json!(5)));
        let said = counted["warnings"].as_array().unwrap();
        assert!(said[0].as_str().unwrap().starts_with("5 people: Meta advertises to no list"), "{said:?}");
        assert_eq!((&counted["phones"], &counted["phones_unusable"]), (&json!(2), &json!(1)), "`@SUM(A1)` is no number");

        // Another topic, other people: who refused news is out, who agreed to it alone is in.
        let news = shop.okaeri(&format!("segment export everyone --topic news --as csv {AT}")).await.exits(0);
        assert_eq!(by_id(&news.stdout).keys().collect::<Vec<_>>(), ["hana", "other"]);

        let nobody = shop.okaeri("segment export nobody --topic offers --as x").await.exits(0);
        assert_eq!(nobody.stdout, "");
        assert!(nobody.stderr.contains("warning: the list is empty"), "{}", nobody.stderr);
        let quiet = shop.okaeri("segment export nobody --topic offers --as x --quiet").await.exits(0);
        assert_eq!(quiet.stderr, "");
    })
    .await;
}

#[tokio::test]
async fn uploads_hold_hashes_of_what_the_network_asks_for() {
    each_database(|url| async move {
        let shop = shop(&url).await;
        let list = async |format: &str| {
            shop.okaeri(&format!("segment export everyone --topic offers --as {format} {AT}")).await.exits(0).stdout
        };
        let sha = |text: &str| hashed(text);
        let meta = list("meta").await;
        assert!(meta.starts_with("email,phone,fn,ln,country\n"), "{meta}");
        let hana = [sha("hana.sato+shop@gmail.com"), sha("819012345678"), sha("花"), sha("佐々木"), sha("jp")];
        let mia = [sha("mia.berg@example.com"), sha("49301234567"), sha("mia"), sha("obrienjr"), sha("de")];
        let plain = [sha("plain@example.org"), String::new(), String::new(), String::new(), String::new()];
        let found = rows(&meta, true);
        assert_eq!(found.len(), HANDED_OUT.len());
        for row in [hana.to_vec(), mia.to_vec(), plain.to_vec()] {
            assert!(found.contains(&row), "{row:?} is not in\n{meta}");
        }

        let google = list("google").await;
        assert!(google.starts_with("Email,Phone,First Name,Last Name,Country,Zip\n"), "{google}");
        let hana =
            [sha("hanasato@gmail.com"), sha("+819012345678"), sha("花"), sha("佐々木"), "JP".into(), "600-8001".into()];
        let mia =
            [sha("mia.berg@example.com"), sha("+49301234567"), sha("mia"), sha("obrien"), "DE".into(), "10115".into()];
        let found = rows(&google, true);
        for row in [hana.to_vec(), mia.to_vec()] {
            assert!(found.contains(&row), "{row:?} is not in\n{google}");
        }

        let x = list("x").await;
        let found = rows(&x, false);
        assert_eq!(found.len(), HANDED_OUT.len(), "no heading");
        assert!(found.contains(&vec![sha("hana.sato+shop@gmail.com"), sha("+819012345678")]), "{x}");
        for upload in [meta, google, x] {
            for secret in ["hana", "Mia", "花", "example", "9012345678", "=", "@"] {
                assert!(!upload.contains(secret), "{secret} can be read in\n{upload}");
            }
            let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            assert!(!upload.contains(nothing), "the hash of nothing");
        }
    })
    .await;
}

#[tokio::test]
async fn tables_and_call_lists_read_well_and_run_nothing() {
    each_database(|url| async move {
        let shop = shop(&url).await;
        let table = shop.okaeri(&format!("segment export everyone --topic offers --as csv {AT}")).await.exits(0).stdout;
        assert!(table.starts_with(&format!("{}\n", TABLE_COLUMNS.join(","))), "{table}");
        let people = by_id(&table);
        assert_eq!(
            people["hana"][..13].join("|"),
            "hana|Hana.Sato+shop@gmail.com|花|佐々木|ja-JP|jp|090-1234-5678|1|500.00|500.00|EUR|2026-11-01|2026-11-01"
        );
        assert_eq!(people["plain"].join("|"), "plain|plain@example.org||||||0|0.00||EUR|||lead||");
        let evil = &people["evil"];
        assert_eq!(
            evil[1..7].join("|"),
            "'=cmd@example.com|'=HYPERLINK(\"http://example.net\",\"x\")|'+1|en|'-1|'@SUM(A1)"
        );

        let ran = shop.okaeri(&format!("segment export everyone --topic offers --as calls {AT}")).await.exits(0);
        let list = rows(&ran.stdout, true);
        assert!(ran.stdout.starts_with(&format!("{}\n", calls::COLUMNS.join(","))));
        let order: Vec<&str> = list.iter().map(|r| r[0].as_str()).collect();
        assert_eq!(order, ["hana", "mia", "evil", "newsless", "plain"], "those worth most first");
        assert_eq!(list[0][1..4].join("|"), "佐々木 花|090-1234-5678|Hana.Sato+shop@gmail.com");
        assert_eq!(
            list[0][11],
            "customer since 2026-11-01 | 1 order, 500.00 EUR in all | last order 2026-11-01, 23 days ago | \
             looked at Olive tree (plants, 49.00 EUR) on 2026-11-22"
        );
        assert_eq!(
            list[1][11],
            "FIRST: 1 open ticket; bring an answer, sell nothing before | customer since 2026-07-01 | \
             3 orders, 180.00 EUR in all, 60.00 EUR on average | \
             usually orders every 31 days, the last was 84 days ago (2026-09-01): 2.7 times as long"
        );
        assert_eq!(list[4][11], "has not ordered yet");
        assert!(ran.stderr.contains("warning: consent to e-mail is not always consent to be called"), "{}", ran.stderr);
        for row in people.values().chain(&list) {
            for cell in row {
                assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?} would be run");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_file_is_private_whole_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&format!("sqlite:{}", folder.path().join("okaeri.db").display())).await;
    shop.write("lists/old.csv", "yesterday's");
    let names = || std::fs::read_dir(shop.path("lists")).unwrap().count();
    let ran = shop.okaeri("segment export everyone --topic offers --as google --output lists/old.csv").await.exits(0);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("handed out as google to lists/old.csv"), "{}", ran.stderr);
    let list = shop.path("lists/old.csv");
    assert_eq!(rows(&std::fs::read_to_string(&list).unwrap(), true).len(), HANDED_OUT.len());
    assert_eq!(std::fs::metadata(&list).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(), 1, "nothing is left beside it");

    for (line, code, says) in [
        ("segment export everyone --topic offers --as csv --output lists", 5, "cannot write lists: it is a folder"),
        ("segment export everyone --topic offers --as csv --output no/where.csv", 5, "cannot write no/where.csv"),
        ("segment export everyone --topic ofers --as csv", 2, "did you mean `offers`?"),
        ("segment export everyone --topic service --as csv", 2, "known: offers, news"),
        ("segment export everybody --topic offers --as csv", 2, "did you mean `everyone`?"),
        ("segment export everyone --topic offers --as csv --format json", 2, "name a file with --output"),
        ("segment export everyone --topic offers --as fax", 2, "csv, meta, google, x, calls"),
        ("segment export everyone --as csv", 2, "--topic"),
    ] {
        let ran = shop.okaeri(line).await.exits(code);
        assert!(ran.stderr.contains(says), "{line}: {}", ran.stderr);
    }
    assert_eq!(names(), 1);
}

#[test]
fn the_page_names_every_column_and_reason() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audiences.md")).unwrap();
    let columns = |columns: &[&str]| columns.join(", ");
    for list in [columns(&TABLE_COLUMNS), columns(&calls::COLUMNS)] {
        assert!(page.contains(&list), "docs/audiences.md does not say: {list}");
    }
    for network in [Network::Meta, Network::Google, Network::X] {
        let header = network.header().map_or("no heading".to_owned(), columns);
        assert!(page.contains(&header), "docs/audiences.md does not say: {header}");
        let sizes: Vec<String> = network.minimums().iter().map(|m| okaeri::money::grouped(m.people)).collect();
        let row = page.lines().find(|l| l.starts_with(&format!("| {} |", network.name())) && l.contains(&header));
        let row = row.unwrap_or_else(|| panic!("no row of {}", network.name()));
        assert!(sizes.iter().all(|n| row.contains(n.as_str())), "{row} names not {sizes:?}");
    }
    for reason in LeftOut::ALL {
        assert!(page.contains(&format!("`{}`", reason.word())), "docs/audiences.md does not name {}", reason.word());
    }
}
