//! Who is asked for by name: `okaeri why` with what every campaign would do now; and campaigns that are called something else than before.

use okaeri::args;
use serde_json::json;

use crate::ground::each_database;
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
