//! Who is asked for by name: `okaeri why` with what every campaign would do now; and campaigns that are called something else than before.

use std::collections::BTreeSet;

use okaeri::args;
use serde_json::{Value, json};

use crate::ground::each_database;
use crate::ground::mail::by_recipient;
use crate::ground::scenario::Scenario;
use crate::review::catcher;

const LETTER: &str = "steps:\n  - { step: letter, template: welcome/letter }\n";

fn campaign(shop: &Scenario, name: &str, lines: &str) {
    let text = format!("campaign: {name}\nstatus: live\ntopic: offers\n{lines}{LETTER}");
    shop.write(&format!("campaigns/{name}.yaml"), text);
}

async fn refused(shop: &Scenario, line: &str, words: &str) {
    let said = shop.okaeri(line).await.exits(2).stderr;
    assert!(said.contains(words), "{words}: {said}");
}

async fn people(shop: &Scenario, rows: &[&str]) {
    shop.write("people.csv", format!("customer_id,email,consent\n{}\n", rows.join("\n")));
    shop.okaeri("import customers people.csv --quiet").await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_campaign_says_what_it_would_do_with_somebody_and_proves_it() {
    each_database(|url| async move {
        let shop = Scenario::new(&url).campaign("welcome", "");
        std::fs::remove_file(shop.path("campaigns/welcome.yaml")).unwrap();
        shop.write("campaigns/segments/buyers.yaml", "segment: buyers\nwhere: { customer: orders, gte: 1 }\n");
        campaign(&shop, "news", "audience: everyone\n");
        campaign(&shop, "thanks", "audience: { in_segment: buyers }\n");
        campaign(&shop, "strangers", "audience: everyone\nexclude: { in_segment: buyers }\n");
        people(&shop, &["ada,ada@example.com,offers", "bob,bob@example.com,"]).await;
        shop.write("orders.csv", "order_id,customer_id,ordered_at,total\no1,ada,2026-11-01,20.00\n");
        shop.okaeri("import orders orders.csv --quiet").await.exits(0);
        shop.okaeri("profile --quiet").await.exits(0);

        let found = |json: serde_json::Value| -> Vec<(String, Option<String>, Option<String>)> {
            let campaigns = json["people"][0]["campaigns"].as_array().unwrap().clone();
            let text = |v: &serde_json::Value| v.as_str().map(str::to_owned);
            campaigns.iter().map(|c| (text(&c["campaign"]).unwrap(), text(&c["verdict"]), text(&c["reason"]))).collect()
        };
        let row = |name: &str, verdict: Option<&str>, reason: Option<&str>| {
            (name.to_owned(), verdict.map(str::to_owned), reason.map(str::to_owned))
        };
        assert_eq!(
            found(shop.json("why ada", 0).await),
            [row("news", Some("send"), None), row("strangers", None, None), row("thanks", Some("send"), None)]
        );
        let skip = |name| row(name, Some("skip"), Some("no_consent"));
        assert_eq!(
            found(shop.json("why bob@example.com", 0).await),
            [skip("news"), skip("strangers"), row("thanks", None, None)]
        );

        let told = shop.okaeri("why ada").await.exits(0).stdout;
        for line in ["news       yes  as step letter", "strangers  no   in buyers, which it leaves out"] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let told = shop.okaeri("why bob thanks").await.exits(0).stdout;
        for line in ["thanks (live): no, not in buyers", "its audience is buyers", "✗ no   orders at least 1"] {
            assert!(told.contains(line), "{line}: {told}");
        }
        assert!(!told.contains("news"), "{told}");
        refused(&shop, "why bob nwes", "did you mean `news`?").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_on_the_way_hears_what_comes_next() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("welcome", "");
        let journey = "schedule: { enter: when_matching }\naudience: everyone\n";
        let text = format!("campaign: welcome\nstatus: live\ntopic: offers\n{journey}{LETTER}  - {{ step: tips, after: 3d, template: welcome/letter }}\n");
        shop.write("campaigns/welcome.yaml", text);
        people(&shop, &["ada,ada@example.com,offers"]).await;
        shop.okaeri("run --at 2026-11-02T15:20").await.exits(0);
        let json = shop.json("why ada welcome --at 2026-11-03T12:00", 0).await;
        let standing = &json["people"][0]["campaigns"][0];
        assert_eq!((&standing["verdict"], &standing["reason"]), (&json!("skip"), &json!("already_received")));
        let steps = &standing["entries"][0]["steps"];
        assert_eq!(steps[0], json!({ "step": "letter", "state": { "message": "accepted" } }));
        assert_eq!(steps[1]["state"]["due"], json!(okaeri::clock::parse_instant("2026-11-05T14:20:00Z", &jiff::tz::TimeZone::UTC).unwrap()));
        let told = shop.okaeri("why ada --at 2026-11-03T12:00").await.exits(0).stdout;
        assert!(told.contains("in it  tips is due 2026-11-05 15:20"), "{told}");
        let told = shop.okaeri("why ada welcome --at 2026-12-03T12:00").await.exits(0).stdout;
        assert!(told.contains("letter accepted; tips no more"), "{told}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_with_a_new_name_remembers_who_had_it_and_who_is_held_out() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("welcome", "");
        std::fs::remove_file(shop.path("campaigns/welcome.yaml")).unwrap();
        let lines = "audience: everyone\nonce_per: 60d\nexperiment:\n  split: { holdout: 40%, a: 60% }\n  goal: { did: order.placed, within: 14d }\n";
        campaign(&shop, "spring", lines);
        let row = |n: usize| format!("c-{n},c-{n}@example.com,offers");
        let rows: Vec<String> = (0..40).map(row).collect();
        people(&shop, &rows.iter().map(String::as_str).collect::<Vec<_>>()).await;
        shop.okaeri("send spring").await.exits(0);
        let db = shop.database().await;
        let held = async || -> Vec<(String,)> {
            let sql = "SELECT customer_id FROM entry WHERE arm = 'holdout' ORDER BY customer_id";
            db.fetch_all(sql, args![]).await.unwrap()
        };
        let before = held().await;
        assert!((5..30).contains(&before.len()), "{}", before.len());

        std::fs::remove_file(shop.path("campaigns/spring.yaml")).unwrap();
        campaign(&shop, "blossoms", &format!("renamed_from: spring\n{lines}"));
        let rows: Vec<String> = (40..44).map(row).collect();
        people(&shop, &rows.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let planned = shop.json("plan blossoms", 0).await;
        assert_eq!(planned["verdicts"]["skip"]["already_received"], 40, "{planned}");
        shop.okaeri("send blossoms --slot again").await.exits(0);
        let after = held().await;
        assert!(before.iter().all(|who| after.contains(who)) && catcher.mails().len() + after.len() == 44);
        let report = shop.json("report blossoms", 0).await;
        assert_eq!(report["runs"].as_array().unwrap().len(), 2, "{report}");
        let all = shop.okaeri("report").await.exits(0).stdout;
        assert!(all.lines().nth(1).is_some_and(|row| row.starts_with(" blossoms") && row.contains("windows are open")), "{all}");
        let all = shop.okaeri("report --format markdown").await.exits(0).stdout;
        assert!(all.starts_with("| campaign | newest run |") && all.contains("\n| blossoms | "), "{all}");
        refused(&shop, "send spring", "is called `blossoms` now").await;

        // Two campaigns cannot have one past, and rules speak of the name that mail was sent under.
        campaign(&shop, "spring", "audience: everyone\n");
        refused(&shop, "check", "a second campaign that is, or was, named `spring`").await;
        std::fs::remove_file(shop.path("campaigns/spring.yaml")).unwrap();
        shop.write("campaigns/segments/had.yaml", "segment: had\nwatched: true\nwhere: { received: blossoms }\n");
        let told = shop.okaeri("check").await.exits(0).stdout;
        assert!(told.contains("write `spring`") && told.contains("[renamed-campaign]"), "{told}");
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_tells_what_was_sent_what_was_not_and_the_reason() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .campaign("hello", "once_per: 60d")
            .campaign("news", "topic: news")
            .campaign("held", "experiment: { split: { holdout: 100% } }");
        let people = "mia,mia@example.com,offers\ntwin,mia@example.com,offers\ntom,tom@example.com,offers\nhard,hard@example.com,offers\n";
        shop.write("people.csv", format!("customer_id,email,consent\n{people}"));
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("send hello --slot one").await.exits(0);
        shop.okaeri("send hello --slot two").await.exits(0);
        shop.okaeri("send news --slot one").await.exits(0);
        shop.okaeri("send held --slot one").await.exits(0);
        shop.okaeri("suppress tom@example.com --topic news").await.exits(0);
        shop.write("late.csv", "customer_id,email,consent\nlate,late@example.com,offers\n");
        shop.okaeri("import customers late.csv --quiet").await.exits(0);
        let verdicts = |person: &Value| -> Vec<(String, String, String)> {
            let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            let of = |r: &Value| {
                (format!("{} {}", word(&r["campaign"]), word(&r["slot"])), word(&r["verdict"]), word(&r["reason"]))
            };
            let mut all: Vec<_> = person["runs"].as_array().unwrap().iter().map(of).collect();
            all.sort();
            all
        };
        let row = |run: &str, verdict: &str, reason: &str| (run.to_owned(), verdict.to_owned(), reason.to_owned());
        let told = shop.json("why MIA@example.com", 0).await;
        let ids: Vec<&str> =
            told["people"].as_array().unwrap().iter().map(|p| p["customer_id"].as_str().unwrap()).collect();
        assert_eq!(BTreeSet::from_iter(ids), BTreeSet::from(["mia", "twin"]));
        let by_id = |id: &str| told["people"].as_array().unwrap().iter().find(|p| p["customer_id"] == id).unwrap();
        let (first, second) = match by_id("twin")["written_to"].as_str() {
            Some(_) => ("mia", "twin"),
            None => ("twin", "mia"),
        };
        assert_eq!(by_id(second)["written_to"], first);
        assert_eq!(
            verdicts(by_id(first)),
            [
                row("held one", "withheld", "holdout"),
                row("hello one", "send", ""),
                row("hello two", "skip", "already_received"),
                row("news one", "skip", "no_consent"),
            ]
        );
        assert!(verdicts(by_id(second)).iter().all(|(_, _, reason)| reason == "duplicate_address"));
        let messages = by_id(first)["messages"].as_array().unwrap();
        assert_eq!((messages.len(), &messages[1]["state"]), (2, &json!("accepted")), "{messages:?}");
        assert_eq!(messages[1]["next"], "nothing: the mail server took it");
        assert_eq!(by_id(first)["consents"][0]["topic"], "offers");
        let tom = shop.json("why tom", 0).await;
        assert_eq!(
            (&tom["people"][0]["suppressions"][0]["scope"], &tom["people"][0]["suppressions"][0]["reason"]),
            (&json!("topic:news"), &json!("manual"))
        );
        let late = shop.json("why late@example.com", 0).await;
        assert!(verdicts(&late["people"][0]).iter().all(|(_, verdict, _)| verdict == "not_in_audience"), "{late}");
        let text = shop.okaeri("why hard").await.exits(0).stdout;
        for piece in [
            "suppressed hard@example.com (all): hard_bounce",
            "last answer: 550 5.1.1 No such person here",
            "held, slot one (drained): skip suppressed: unsubscribed, bounced, complained or blocked",
            "hello, slot one (drained): a message, which is failed",
        ] {
            assert!(text.contains(piece), "{piece}: {text}");
        }
        // An address that nobody has any more is known by what went there.
        shop.write("moved.csv", "customer_id,email,consent\ntom,tom@example.org,offers\n");
        shop.okaeri("import customers moved.csv --quiet").await.exits(0);
        let moved = shop.json("why tom@example.com", 0).await;
        assert_eq!((&moved["people"][0]["customer_id"], &moved["people"][0]["address"]), (&json!("tom"), &json!("tom@example.org")));
        shop.okaeri("suppress stranger@example.com").await.exits(0);
        let stranger = shop.json("why stranger@example.com", 0).await;
        assert_eq!((stranger["people"].as_array().map(Vec::len), &stranger["suppressions"][0]["scope"]), (Some(0), &json!("all")));
        for (who, words) in [
            ("nobody@example.com", "nobody here is `nobody@example.com`, and nothing was ever sent there"),
            ("nobody", "nobody here has the id `nobody`"),
            ("nobody@", "`nobody@` is nobody's id here, and no address: it has a domain that is not a DNS name"),
            ("", "nobody was named: the address is empty"),
            (" ", "nobody was named: the address is empty"),
        ] {
            let said = shop.start_with(&["why", who]).end().await.exits(2).stderr;
            assert!(said.starts_with(&format!("error: {words}\n")), "{who:?}: {said}");
            assert!(said.contains("give a customer's id as it was imported, or a whole address"), "{who:?}: {said}");
        }
    })
    .await;
}
