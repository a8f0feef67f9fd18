//! Journeys and later steps through the real binary, over simulated days: who enters, who gets which step when, and who does not and why.

use okaeri::args;
use okaeri::catcher::Catcher;
use okaeri::db::Db;

use crate::compared::{commit, git, has_git};
use crate::ground::scenario::Scenario;
use crate::ground::{each_database, skipped};
use crate::review::catcher;

/// Three steps in two weeks; whoever orders leaves.
const WELCOME: &str = "\
schedule: { enter: when_matching }
exit_on: { did: order.placed, times: { gte: 2 }, since: entry }
steps:
  - step: hello
    template: welcome/letter
  - step: tips
    after: 3d
    at: \"09:00\"
    template: welcome/letter
  - step: offer
    after: 10d
    unless: { did: order.placed, since: entry }
    template: welcome/letter
";

/// A shop with a campaign of these lines alone.
async fn shop(url: &str, catcher: &Catcher, campaign: &str, lines: &str) -> Scenario {
    let shop = Scenario::new(url).smtp(&catcher.url()).campaign("welcome", "");
    write(&shop, campaign, lines);
    shop
}

fn write(shop: &Scenario, campaign: &str, lines: &str) {
    let head = format!("campaign: {campaign}\nstatus: live\ntopic: offers\naudience: everyone\n");
    std::fs::remove_file(shop.path("campaigns/welcome.yaml")).ok();
    shop.write(&format!("campaigns/{campaign}-file.yaml"), format!("{head}{lines}"));
}

async fn people(shop: &Scenario, ids: &[&str]) {
    let rows: String = ids.iter().map(|id| format!("{id},{id}@example.com,offers\n")).collect();
    shop.write("people.csv", format!("customer_id,email,consent\n{rows}"));
    shop.okaeri("import customers people.csv --quiet").await.exits(0);
}

async fn orders(shop: &Scenario, rows: &[(&str, &str)]) {
    let rows: String = rows.iter().map(|(who, at)| format!("{who}-{at},{who},{at},20.00\n")).collect();
    shop.write("orders.csv", format!("order_id,customer_id,ordered_at,total\n{rows}"));
    shop.okaeri("import orders orders.csv --quiet").await.exits(0);
}

/// `customer step` of what was written since the last call.
struct Seen(Vec<String>);

impl Seen {
    async fn new_ones(&mut self, db: &Db) -> Vec<String> {
        let rows: Vec<(String, String, String)> = db
            .fetch_all("SELECT customer_id, step, slot FROM message ORDER BY customer_id, step", args![])
            .await
            .unwrap();
        let all: Vec<String> = rows.into_iter().map(|(c, step, slot)| format!("{c} {step} {slot}")).collect();
        let new = all.iter().filter(|m| !self.0.contains(m)).cloned().collect();
        self.0 = all;
        new
    }
}

async fn passes(db: &Db) -> Vec<String> {
    let rows: Vec<(String, String, String)> = db
        .fetch_all("SELECT customer_id, step, reason FROM step_pass ORDER BY customer_id, step", args![])
        .await
        .unwrap();
    rows.into_iter().map(|(c, step, reason)| format!("{c} {step} {reason}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_welcome_over_two_weeks_goes_its_way_with_everybody() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = shop(&url, &catcher, "welcome", WELCOME).await;
        people(&shop, &["ada", "bob"]).await;
        let db = shop.database().await;
        let mut seen = Seen(Vec::new());
        let ran = shop.okaeri("run --at 2026-11-02T15:20").await.exits(0);
        assert!(ran.stdout.starts_with("welcome · slot 2026-11-02T14:20:00Z · 2 to be mailed"), "{}", ran.stdout);
        assert_eq!(seen.new_ones(&db).await, ["ada hello entry 1", "bob hello entry 1"]);

        // Looked at again nobody enters twice, and a look that finds nobody leaves no run.
        let json = shop.json("run --at 2026-11-02T15:25", 0).await;
        assert_eq!(json["slots"], serde_json::json!([]));
        people(&shop, &["ada", "bob", "cleo"]).await;
        shop.okaeri("run --at 2026-11-04T12:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, ["cleo hello entry 1"]);

        // Three days later at nine.
        shop.okaeri("run --at 2026-11-05T08:59").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, [""; 0]);
        shop.okaeri("run --at 2026-11-05T09:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, ["ada tips entry 1", "bob tips entry 1"]);

        // Bob orders once and is spared the offer; Cleo twice and leaves.
        orders(&shop, &[("bob", "2026-11-06"), ("cleo", "2026-11-05"), ("cleo", "2026-11-06")]).await;
        shop.okaeri("run --at 2026-11-07T10:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, [""; 0]);
        assert_eq!(passes(&db).await, ["cleo tips exit"]);
        shop.okaeri("run --at 2026-11-12T16:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, ["ada offer entry 1"]);
        assert_eq!(passes(&db).await, ["bob offer unless", "cleo tips exit"]);
        shop.okaeri("run --at 2026-11-20T16:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, [""; 0]);
        assert_eq!(catcher.mails().len(), 6);
        shop.okaeri("queue verify").await.exits(0);
        shop.okaeri("report welcome").await.exits(0);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_nobody_looked_for_in_time_is_missed_and_the_next_one_is_not() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = shop(&url, &catcher, "welcome", WELCOME).await;
        people(&shop, &["ada"]).await;
        let db = shop.database().await;
        shop.okaeri("run --at 2026-11-02T15:20").await.exits(0);
        let json = shop.json("run --at 2026-11-12T16:00", 0).await;
        assert_eq!(json["slots"][0]["verdicts"]["skip"], serde_json::json!({ "missed": 1 }));
        assert_eq!(json["slots"][0]["verdicts"]["send"], 1);
        assert_eq!(passes(&db).await, ["ada tips missed"]);
        assert_eq!(Seen(Vec::new()).new_ones(&db).await, ["ada hello entry 1", "ada offer entry 1"]);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_holds_a_step_back_and_a_lost_consent_takes_it() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let lines = WELCOME.replace("enter: when_matching }", "enter: when_matching, catch_up: 3d }");
        let shop = shop(&url, &catcher, "welcome", &lines).await;
        people(&shop, &["ada", "bob"]).await;
        let db = shop.database().await;
        shop.okaeri("run --at 2026-11-02T15:20").await.exits(0);
        shop.write("tickets.csv", "event_id,customer_id,at,name\nt1,ada,2026-11-04T10:00,ticket.opened\n");
        shop.okaeri("import events tickets.csv --quiet").await.exits(0);
        shop.okaeri("suppress bob@example.com").await.exits(0);
        shop.okaeri("run --at 2026-11-05T09:00").await.exits(0);
        assert_eq!(passes(&db).await, ["bob tips suppressed"]);
        shop.write("tickets.csv", "event_id,customer_id,at,name\nt2,ada,2026-11-05T10:00,ticket.closed\n");
        shop.okaeri("import events tickets.csv --quiet").await.exits(0);
        shop.okaeri("run --at 2026-11-05T20:00").await.exits(0);
        let all = Seen(Vec::new()).new_ones(&db).await;
        assert_eq!(all, ["ada hello entry 1", "ada tips entry 1", "bob hello entry 1"]);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_may_be_renamed_taken_out_and_added_while_people_are_on_their_way() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = shop(&url, &catcher, "welcome", WELCOME).await;
        people(&shop, &["ada"]).await;
        let db = shop.database().await;
        shop.okaeri("run --at 2026-11-02T15:20").await.exits(0);
        shop.okaeri("run --at 2026-11-05T09:00").await.exits(0);
        let mut seen = Seen(Vec::new());
        assert_eq!(seen.new_ones(&db).await.len(), 2);
        // `tips` has another name, `offer` is gone, and there is a new one.
        let edited = WELCOME
            .replace("- step: tips\n", "- step: advice\n    renamed_from: [tips]\n")
            .replace("- step: offer\n    after: 10d", "- step: farewell\n    after: 4d");
        write(&shop, "welcome", &edited);
        shop.okaeri("run --at 2026-11-05T12:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, [""; 0]);
        shop.okaeri("run --at 2026-11-06T16:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, ["ada farewell entry 1"]);
        shop.okaeri("run --at 2026-11-13T16:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, [""; 0]);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_may_be_entered_again_after_a_while_and_only_when_it_is_over() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let again = "once_per: 5d\nschedule: { enter: when_matching }\nsteps:\n  - { step: hello, template: welcome/letter }\n  \
                     - { step: later, after: 8d, template: welcome/letter }\n";
        let shop = shop(&url, &catcher, "again", again).await;
        people(&shop, &["ada"]).await;
        let db = shop.database().await;
        let mut seen = Seen(Vec::new());
        for (day, expected) in [
            ("02", vec!["ada hello entry 1"]),
            ("08", vec![]),
            ("10", vec!["ada later entry 1"]),
            ("12", vec!["ada hello entry 2"]),
        ] {
            shop.okaeri(&format!("run --at 2026-11-{day}T12:00")).await.exits(0);
            assert_eq!(seen.new_ones(&db).await, expected, "{day}");
        }
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_held_out_go_the_same_way_and_are_mailed_at_no_step() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let lines = format!("{WELCOME}experiment: {{ split: {{ holdout: 50%, a: 50% }} }}\n");
        let shop = shop(&url, &catcher, "welcome", &lines).await;
        let ids: Vec<String> = (0..20).map(|n| format!("p{n}")).collect();
        people(&shop, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let db = shop.database().await;
        for at in ["2026-11-02T15:20", "2026-11-05T09:00", "2026-11-12T16:00"] {
            shop.okaeri(&format!("run --at {at}")).await.exits(0);
        }
        let counts: Vec<(String, i64)> = db
            .fetch_all(
                "SELECT d.state, COUNT(*) FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.customer_id = m.customer_id \
                 AND d.chunk_id = m.chunk_id AND d.seq = m.seq GROUP BY d.state ORDER BY d.state",
                args![],
            )
            .await
            .unwrap();
        let of = |state: &str| counts.iter().find(|(s, _)| s == state).map_or(0, |(_, n)| *n);
        assert_eq!(of("accepted") + of("withheld"), 60);
        assert!(of("withheld") > 0 && of("withheld") % 3 == 0 && of("accepted") % 3 == 0, "{counts:?}");
        assert_eq!(catcher.mails().len() as i64, of("accepted"));
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_step_may_wait_too_and_a_cart_that_became_an_order_gets_nothing() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let cart = "\
schedule: { enter: when_matching }
once_per: 7d
audience: { in_segment: carts }
steps:
  - step: reminder
    after: 4h
    unless: { did: order.placed, in_last: 5h }
    template: welcome/letter
";
        let shop = shop(&url, &catcher, "cart", "").await.segment("carts", "{ did: cart.updated, in_last: 2h }");
        let head = "campaign: cart\nstatus: live\ntopic: offers\n";
        shop.write("campaigns/cart-file.yaml", format!("{head}{cart}"));
        people(&shop, &["ada", "bob", "cleo"]).await;
        shop.write(
            "carts.csv",
            "event_id,customer_id,at,name\nk1,ada,2026-11-02T09:30,cart.updated\nk2,bob,2026-11-02T09:30,cart.updated\n",
        );
        shop.okaeri("import events carts.csv --quiet").await.exits(0);
        let db = shop.database().await;
        shop.okaeri("run --at 2026-11-02T10:00").await.exits(0);
        assert_eq!(catcher.mails().len(), 0);
        let (entries,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM entry", args![]).await.unwrap();
        assert_eq!(entries, 2);
        orders(&shop, &[("bob", "2026-11-02T12:00")]).await;
        shop.okaeri("run --at 2026-11-02T14:00").await.exits(0);
        assert_eq!(Seen(Vec::new()).new_ones(&db).await, ["ada reminder entry 1"]);
        assert_eq!(passes(&db).await, ["bob reminder unless"]);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_on_their_way_in_a_plan_that_was_not_sent() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let lines = "steps:\n  - { step: hello, template: welcome/letter }\n  - { step: later, after: 2d, template: welcome/letter }\n";
        let shop = shop(&url, &catcher, "welcome", lines).await;
        people(&shop, &["ada"]).await;
        let db = shop.database().await;
        let saved = shop.json("plan welcome --save --at 2026-11-02T12:00", 0).await;
        shop.okaeri("run --at 2026-11-04T12:01").await.exits(0);
        assert_eq!(Seen(Vec::new()).new_ones(&db).await, ["ada hello 2026-11-02"]);
        let id = saved["run"]["run_id"].as_str().unwrap();
        shop.okaeri(&format!("send --plan {id}")).await.exits(0);
        shop.okaeri("run --at 2026-11-04T12:02").await.exits(0);
        assert_eq!(Seen(Vec::new()).new_ones(&db).await, ["ada hello 2026-11-02", "ada later 2026-11-02"]);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_whose_first_step_comes_later_adds_up_on_the_day_of_the_entry_too() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let lines = "schedule: { enter: when_matching }\nsteps:\n  - { step: later, after: 2d, at: \"10:00\", template: welcome/letter }\n";
        let shop = shop(&url, &catcher, "later", lines).await;
        people(&shop, &["a", "b"]).await;
        let db = shop.database().await;
        let mut seen = Seen(Vec::new());
        shop.okaeri("run --quiet --at 2026-03-01T12:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, Vec::<String>::new());
        shop.okaeri("queue verify").await.exits(0);
        people(&shop, &["c"]).await;
        shop.okaeri("run --quiet --at 2026-03-03T12:00").await.exits(0);
        assert_eq!(seen.new_ones(&db).await, ["a later entry 1", "b later entry 1"]);
        shop.okaeri("queue verify").await.exits(0);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_who_is_on_their_way_and_what_an_edit_does_to_them() {
    if !has_git() {
        return skipped("git is not installed");
    }
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = shop(&url, &catcher, "welcome", WELCOME).await.with("PATH", &std::env::var("PATH").unwrap_or_default());
        people(&shop, &["ada", "bob"]).await;
        shop.okaeri("profile --quiet").await.exits(0);
        shop.okaeri("run --at 2026-11-02T15:20").await.exits(0);
        people(&shop, &["ada", "bob", "cleo"]).await;
        shop.okaeri("profile --quiet").await.exits(0);
        shop.okaeri("run --at 2026-11-04T12:00").await.exits(0);
        let look = shop.okaeri("plan welcome --at 2026-11-05T10:00 --quiet").await.exits(0).stdout;
        insta::allow_duplicates! {
            insta::assert_snapshot!(look, @"
            welcome · welcome · as of 2026-11-05T10:00:00+01:00
                      3  audience           
                      0  send               
                      3  already_received   had this campaign within its `once_per`
                      3  on their way       entered before; steps are asked again when they are due
                      3  · tips             2 at the next look
                      3  · offer            next 2026-11-12 15:20
            ");
        }

        // `tips` has another name, `offer` is gone, and there is a new step.
        git(&shop, &["init", "--quiet"]);
        commit(&shop);
        let edited = WELCOME
            .replace("- step: tips\n", "- step: advice\n    renamed_from: [tips]\n")
            .replace("- step: offer\n    after: 10d", "- step: farewell\n    after: 4d");
        write(&shop, "welcome", &edited);
        let json = shop.json("plan welcome --at 2026-11-05T10:00", 0).await;
        let way = &json["on_their_way"];
        let told = |s: &serde_json::Value| {
            format!("{} {} due {} new to {} was {}", s["step"], s["people"], s["due_now"], s["new_to"], s["was"]).replace('"', "")
        };
        let steps: Vec<String> = way["steps"].as_array().unwrap().iter().map(told).collect();
        assert_eq!(steps, ["advice 3 due 2 new to 0 was tips", "farewell 3 due 0 new to 3 was null"]);
        assert_eq!(way["taken_out"], serde_json::json!([{ "step": "offer", "people": 3 }]));
        let look = shop.okaeri("plan welcome --at 2026-11-05T10:00").await.exits(0).stdout;
        assert!(look.contains("3  · offer            taken out of the file: they do not get it"), "{look}");

        let against = shop.okaeri("plan --against main --at 2026-11-05T10:00").await.exits(0).stdout;
        assert!(
            against.contains(
                "  step offer: taken out, 3 people on their way do not get it\n  \
                 step advice: was called tips, 3 people on their way get it\n  \
                 step farewell: new, 3 people on their way get it, the first 2026-11-06 15:20\n"
            ),
            "{against}"
        );
        let json = shop.json("plan --against main --at 2026-11-05T10:00", 0).await;
        let changes = json["campaigns"][0]["on_their_way"]["changes"].as_array().unwrap();
        let told: Vec<String> = changes.iter().map(|c| format!("{} {}", c["change"], c["step"]).replace('"', "")).collect();
        assert_eq!(told, ["taken_out offer", "renamed advice", "new farewell"]);
        let markdown = shop.okaeri("plan --against main --at 2026-11-05T10:00 --format markdown").await.exits(0).stdout;
        assert!(markdown.contains("- **welcome** step offer: taken out, fewer than 5 people on their way do not get it\n"), "{markdown}");

        // A step at another time, and a file without the campaign.
        write(&shop, "welcome", &WELCOME.replace("after: 10d", "after: 12d"));
        let against = shop.okaeri("plan --against main --at 2026-11-05T10:00").await.exits(0).stdout;
        let expected = "  step offer: 3 people on their way get it at another time, the first 2026-11-14 15:20 instead of 2026-11-12 15:20\n";
        assert!(against.contains(expected), "{against}");
        std::fs::remove_file(shop.path("campaigns/welcome-file.yaml")).unwrap();
        let against = shop.okaeri("plan --against main --at 2026-11-05T10:00").await.exits(0).stdout;
        assert!(against.contains("welcome: removed") && against.contains("step offer: taken out, 3 people"), "{against}");

        // Who is through, has left or was withdrawn is not on their way.
        write(&shop, "welcome", WELCOME);
        orders(&shop, &[("cleo", "2026-11-05"), ("cleo", "2026-11-06")]).await;
        shop.okaeri("run --at 2026-11-07T10:00").await.exits(0);
        shop.okaeri("run --at 2026-11-12T16:00").await.exits(0);
        let json = shop.json("plan welcome --at 2026-11-12T17:00", 0).await;
        assert_eq!(json["on_their_way"], serde_json::json!({ "people": 0, "steps": [], "taken_out": [] }));
    })
    .await;
}
