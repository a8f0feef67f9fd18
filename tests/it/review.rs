//! A campaign is reviewed like code and sent as it was reviewed: a story in a real git repository.

use std::sync::Arc;

use okaeri::args;
use okaeri::catcher::{ByRecipient, Catcher, CatcherOptions};
use okaeri::clock::{self, HOUR, MINUTE};

use crate::compared::{commit, git, has_git, with_path};
use crate::ground::scenario::Scenario;
use crate::ground::{each_database, skipped};

/// People who come to the shop while a campaign is under way: enough that a scheduler can be killed among them.
const GROWN: usize = 300;

/// A server that takes everything, but for addresses that say otherwise.
pub async fn catcher() -> Catcher {
    let behaviour = Arc::new(ByRecipient::standard());
    Catcher::start(CatcherOptions { behaviour, ..CatcherOptions::default() }).await.unwrap()
}

/// Who was mailed, by the local parts of their addresses; once for every mail.
pub fn mailed(catcher: &Catcher) -> Vec<String> {
    let local = |m: &okaeri::catcher::Caught| m.envelope_to[0].split('@').next().unwrap().to_owned();
    let mut to: Vec<String> = catcher.mails().iter().map(local).collect();
    to.sort();
    to
}

async fn import(shop: &Scenario, people: &[(&str, u32)]) {
    let rows: String = people.iter().map(|(id, _)| format!("{id},{id}@example.com,offers\n")).collect();
    shop.write("people.csv", format!("customer_id,email,consent\n{rows}"));
    let orders: String = people
        .iter()
        .flat_map(|(id, orders)| (0..*orders).map(move |n| format!("{id}-{n},{id},2026-0{}-01,20.00\n", n + 1)))
        .collect();
    shop.write("orders.csv", format!("order_id,customer_id,ordered_at,total\n{orders}"));
    for kind in ["customers people.csv", "orders orders.csv"] {
        shop.okaeri(&format!("import {kind} --quiet")).await.exits(0);
    }
    shop.okaeri("profile --quiet").await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_another_mail_is_told_and_a_revision_that_does_not_load_is_refused() {
    if !has_git() {
        return skipped("git is not installed");
    }
    each_database(|url| async move {
        let shop = with_path(&url)
            .segment("regulars", "{ customer: orders, gte: 3 }")
            .campaign("thanks", "audience: { in_segment: regulars }");
        import(&shop, &[("ada", 4), ("bob", 3), ("cleo", 2)]).await;
        git(&shop, &["init", "--quiet"]);
        commit(&shop);
        let same = shop.json("plan thanks --against main", 0).await;
        assert_eq!(same["campaigns"][0]["mails"], serde_json::json!([]));

        let letter = std::fs::read_to_string(shop.path("templates/thanks/letter.html")).unwrap();
        shop.write("templates/thanks/letter.html", letter.replace("Subject: Hello", "Subject: Good day"));
        shop.write("templates/thanks/letter.ja.html", &letter);
        let told = shop.json("plan thanks --against main", 0).await;
        let campaign = &told["campaigns"][0];
        assert_eq!((&campaign["before"], &campaign["in"]["people"]), (&2.into(), &0.into()));
        assert_eq!(
            campaign["mails"],
            serde_json::json!([
                { "template": "thanks/letter", "locale": null, "change": "subject" },
                { "template": "thanks/letter", "locale": "ja", "change": "new" },
            ])
        );
        let other = &campaign["other_mail"];
        assert_eq!((&other["people"], &other["other_subject"]), (&2.into(), &2.into()));
        assert_eq!(other["examples"], serde_json::json!(["ada", "bob"]));
        let text = shop.okaeri("plan --against main").await.exits(0).stdout;
        assert!(
            text.contains("  ~ 2 people get another first mail, 2 of them another subject (ada, bob)\n      thanks/letter: subject\n"),
            "{text}"
        );
        let markdown = shop.okaeri("plan --against main --format markdown").await.exits(0).stdout;
        assert!(markdown.contains("fewer than 5 people, fewer than 5 another subject<br>thanks/letter: subject"), "{markdown}");
        assert!(!markdown.contains("ada"), "{markdown}");

        // The body alone, and by a file of the text part.
        shop.write("templates/thanks/letter.html", letter.replace("Come by", "Come in"));
        shop.write("templates/thanks/letter.ja.html", &letter);
        let told = shop.json("plan thanks --against main", 0).await;
        let other = &told["campaigns"][0]["other_mail"];
        assert_eq!((&other["people"], &other["other_subject"]), (&2.into(), &0.into()));

        // A revision without its template.
        std::fs::remove_file(shop.path("templates/thanks/letter.html")).unwrap();
        commit(&shop);
        shop.write("templates/thanks/letter.html", &letter);
        let refused = shop.okaeri("plan thanks --against HEAD").await.exits(2).stderr;
        assert!(refused.contains("HEAD:campaigns/thanks.yaml:2:") && refused.contains("templates/thanks/letter.html"), "{refused}");
        shop.write("campaigns/thanks.yaml", "campaign: thanks\nsteps: [");
        commit(&shop);
        shop.write("campaigns/thanks.yaml", "campaign: thanks\nstatus: live\ntopic: offers\naudience: everyone\nsteps: [{ step: letter, template: thanks/letter }]\n");
        let refused = shop.okaeri("plan thanks --against HEAD").await.exits(2).stderr;
        assert!(refused.contains("HEAD:campaigns/thanks.yaml"), "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_branch_to_the_mailbox() {
    if !has_git() {
        return skipped("git is not installed");
    }
    each_database(|url| async move {
        let catcher = catcher().await;
        // Due ten minutes ago, every day.
        let due = clock::timestamp(clock::now() - 10 * MINUTE)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .strftime("%H:%M")
            .to_string();
        let schedule = format!("schedule: {{ every: day {due}, time_zone: UTC }}\nonce_per: 20h");
        let shop = with_path(&url)
            .smtp(&catcher.url())
            .segment("regulars", "{ customer: orders, gte: 3 }")
            .campaign("thanks", &format!("audience: {{ in_segment: regulars }}\n{schedule}"));
        import(&shop, &[("ada", 4), ("bob", 3), ("cleo", 2), ("dan", 2), ("eve", 1)]).await;
        git(&shop, &["init", "--quiet"]);
        commit(&shop);
        git(&shop, &["checkout", "--quiet", "-b", "wider"]);

        // The branch widens the segment, and somebody is left out now: exactly who is told, and why.
        let shop = shop.segment("regulars", "{ all: [{ customer: orders, gte: 2 }, { customer: orders, lte: 3 }] }");
        commit(&shop);
        let diff = shop.json("plan thanks --against main", 0).await;
        let change = &diff["campaigns"][0];
        assert_eq!((&change["before"], &change["after"]), (&2.into(), &3.into()));
        assert_eq!(change["in"]["examples"], serde_json::json!(["cleo", "dan"]));
        assert_eq!(change["in"]["because"], serde_json::json!({ "not_in_audience": 2 }));
        assert_eq!(change["out"]["examples"], serde_json::json!(["ada"]));
        let markdown = shop.okaeri("plan --against main --format markdown").await.exits(0).stdout;
        assert!(markdown.contains("fewer than 5 people") && !markdown.contains("cleo"), "{markdown}");
        let text = shop.okaeri("plan --against main").await.exits(0).stdout;
        assert!(text.contains("thanks: 2 → 3 people planned\n  + 2 people"), "{text}");
        shop.okaeri("plan thanks --format markdown").await.exits(0);
        shop.okaeri("check --format markdown").await.exits(2);

        // Kept, and nothing leaves by itself.
        let saved = shop.json("plan thanks --save", 0).await;
        let id = saved["run"]["run_id"].as_str().unwrap().to_owned();
        assert_eq!((&saved["verdicts"]["send"], &saved["run"]["state"]), (&3.into(), &"planned".into()));
        shop.okaeri("work").await.exits(0);
        assert_eq!(mailed(&catcher), [""; 0]);

        // Somebody imports: new people would qualify, one of those planned has gone on, one wants no more.
        import(&shop, &[("ada", 4), ("bob", 4), ("cleo", 2), ("dan", 2), ("eve", 2), ("finn", 3)]).await;
        shop.okaeri("suppress dan@example.com --topic offers").await.exits(0);
        shop.okaeri("send --plan nonsense").await.exits(2);
        let sent = shop.json(&format!("send --plan {id}"), 0).await;
        assert_eq!(sent["delivery"]["totals"]["accepted"], 1, "{sent}");
        assert_eq!(mailed(&catcher), ["cleo"]);
        shop.okaeri(&format!("send --plan {id}")).await.exits(0);
        assert_eq!(mailed(&catcher), ["cleo"]);
        let db = shop.database().await;
        let why: Vec<(String, String)> = db
            .fetch_all(
                "SELECT customer_id, reply FROM delivery WHERE state = 'suppressed' ORDER BY customer_id",
                args![],
            )
            .await
            .unwrap();
        let why: Vec<String> = why.into_iter().map(|(who, why)| format!("{who} {why}")).collect();
        assert_eq!(why, ["bob lost its ground: left_audience", "dan lost its ground: suppressed"]);
        // A slot that was sent is not planned again.
        shop.okaeri("plan thanks --save").await.exits(2);
        git(&shop, &["add", "--all", "."]);
        git(&shop, &["commit", "--quiet", "-m", "wider"]);
        git(&shop, &["checkout", "--quiet", "main"]);
        git(&shop, &["merge", "--quiet", "--no-edit", "wider"]);

        // The next day the shop has grown, and three schedulers come at the same second; one of them is killed.
        let names: Vec<String> = (0..GROWN).map(|n| format!("new{n:03}")).collect();
        let grown: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 2)).collect();
        import(&shop, &grown).await;
        let a_day_later = clock::DAY.to_string();
        let look = || shop.start_under(&[], &["run"], &[("OKAERI_CLOCK_SHIFT", &a_day_later)]);
        let (one, two, three) = (look(), look(), look());
        let runs = "SELECT COUNT(*) FROM run WHERE state <> 'missed'";
        while db.fetch_one::<(i64,)>(runs, args![]).await.unwrap().0 == 1 {
            tokio::task::yield_now().await;
        }
        one.kill().await;
        let (two, three) = tokio::join!(two.end(), three.end());
        assert!([0, 3, 75].contains(&two.code()) && [0, 3, 75].contains(&three.code()), "{two:?} {three:?}");
        // What the dead one held is free after half a minute; here at once.
        db.execute("UPDATE chunk SET lease_until_at = 0 WHERE state = 'leased'", args![]).await.unwrap();
        db.execute("UPDATE lease SET until_at = 0", args![]).await.unwrap();
        let ended = look().end().await;
        assert!([0, 3].contains(&ended.code()), "{ended:?}");
        assert_eq!(db.fetch_one::<(i64,)>(runs, args![]).await.unwrap(), (2,), "one slot, one run");
        let (unknown,): (i64,) =
            db.fetch_one("SELECT COUNT(*) FROM delivery WHERE state = 'unknown'", args![]).await.unwrap();
        let again = mailed(&catcher);
        // Of the day before cleo was mailed; she qualifies still, as do eve and finn.
        assert_eq!(again.iter().filter(|who| *who == "cleo").count(), 2);
        let mut grown = again;
        grown.retain(|who| who.starts_with("new"));
        let stored = grown.len();
        grown.dedup();
        assert_eq!(grown.len(), stored, "somebody was mailed twice");
        assert!(stored as i64 + unknown >= GROWN as i64, "{stored} stored, {unknown} unknown");

        // Nobody looked on the third day until its window was over.
        let too_late = (2 * clock::DAY + 7 * HOUR).to_string();
        let before = catcher.mails().len();
        let told = shop.start_under(&[], &["run"], &[("OKAERI_CLOCK_SHIFT", &too_late)]).end().await.exits(0).stdout;
        assert!(told.contains("missed: found 7 hours late"), "{told}");
        assert_eq!(catcher.mails().len(), before);
        let missed: Vec<(String,)> =
            db.fetch_all("SELECT reason FROM run WHERE state = 'missed'", args![]).await.unwrap();
        assert_eq!(missed, [("found 7 hours late".to_owned(),)]);
        shop.okaeri("queue verify").await.exits(0);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_plan_makes_room_for_a_newer_one_and_the_schedule_sends_it() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let at = clock::timestamp(clock::now() - 10 * MINUTE).to_zoned(zone).strftime("%H:%M").to_string();
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .campaign("digest", &format!("schedule: {{ every: day {at} }}"))
            .with_people(3)
            .await;
        let first = shop.json("plan digest --save", 0).await;
        let second = shop.json("plan digest --save", 0).await;
        assert_eq!(first["run"]["slot"], second["run"]["slot"]);
        assert_ne!(first["run"]["run_id"], second["run"]["run_id"]);
        // The one that made room is named, and asked for it leads to the other.
        let (old, new) = (first["run"]["run_id"].as_str().unwrap(), second["run"]["run_id"].as_str().unwrap());
        assert_eq!((&first["replaces"], &second["replaces"]), (&serde_json::Value::Null, &old.into()));
        let said = shop.okaeri(&format!("send --plan {old}")).await.exits(2).stderr;
        assert!(said.contains(&format!("there is no plan `{old}`\n")), "{said}");
        assert!(
            said.contains("takes the place of an earlier one") && said.contains(&format!("okaeri send --plan {new}\n")),
            "{said}"
        );
        let said = shop.okaeri(&format!("queue resume {new}")).await.exits(2).stderr;
        assert!(said.contains(&format!("send it with `okaeri send --plan {new}`")), "{said}");
        let db = shop.database().await;
        let (runs, messages): (i64, i64) =
            db.fetch_one("SELECT COUNT(*), (SELECT COUNT(*) FROM message) FROM run", args![]).await.unwrap();
        assert_eq!((runs, messages), (1, 3));
        // Long ago: it has a day from when it is sent.
        db.execute(
            "UPDATE run SET created_at = created_at - $1, expires_at = $2",
            args![48 * HOUR, clock::now() - HOUR],
        )
        .await
        .unwrap();
        let json = shop.json("run", 0).await;
        assert_eq!(json["slots"][0]["run"]["run_id"], second["run"]["run_id"]);
        assert_eq!(catcher.mails().len(), 3);
        shop.okaeri("plan letter --save").await.exits(2);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_settings_are_told_though_they_move_nobody() {
    if !has_git() {
        return skipped("git is not installed");
    }
    each_database(|url| async move {
        let shop = with_path(&url)
            .settings("guards: { quiet_hours: { from: \"21:00\", to: \"08:00\" } }\n")
            .campaign("thanks", "status: draft\nonce_per: 60d\nschedule: { every: tuesday 09:00 }")
            .campaign("digest", "")
            .campaign("other", "");
        import(&shop, &[("ada", 4), ("bob", 3)]).await;
        git(&shop, &["init", "--quiet"]);
        commit(&shop);
        let same = shop.okaeri("plan --against main --format markdown").await.exits(0).stdout;
        assert!(same.contains("and no setting changed.") && !same.contains("- **"), "{same}");

        let shop = shop
            .settings("guards: { quiet_hours: { from: \"22:00\", to: \"08:00\" } }\n")
            .campaign(
                "thanks",
                "status: live\nschedule: { every: monday 10:00 }\nexperiment: { split: { holdout: 10%, a: 90% } }",
            )
            .campaign("digest", "status: paused");
        let told = shop.okaeri("plan --against main").await.exits(0).stdout;
        for line in [
            "okaeri.yaml\n  guards.quiet_hours.from: 21:00 → 22:00\n",
            "thanks: 2 people planned, the same\n  experiment: not set → { split: { holdout: 10%, a: 90% } }\n  \
             once_per: 60d → not set\n  schedule.every: tuesday 09:00 → monday 10:00\n  status: draft → live\n",
            "digest: 2 people planned, the same (paused: sends nothing)\n  status: live → paused\n",
            "other: 2 people planned, the same\n",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
        let json = shop.json("plan digest --against main", 0).await;
        assert_eq!(
            json["campaigns"][0]["settings"],
            serde_json::json!([{ "key": "status", "then": "live", "now": "paused" }])
        );
        assert_eq!(json["campaigns"][0]["status"], "paused");
        assert_eq!(json["settings"][0]["key"], "guards.quiet_hours.from");
        let markdown = shop.okaeri("plan --against main --format markdown").await.exits(0).stdout;
        for line in [
            "Nobody comes in, nobody goes out, and every mail is written as it was.\n",
            "- **okaeri.yaml** `guards.quiet_hours.from: 21:00 → 22:00`\n",
            "- **digest** `status: live → paused`\n",
            "- **thanks** `schedule.every: tuesday 09:00 → monday 10:00`\n",
            "\nUnchanged: 1 more.\n",
        ] {
            assert!(markdown.contains(line), "{line}\n{markdown}");
        }
        assert!(!markdown.contains("changed since"), "{markdown}");

        // Both sides are planned by numbers that are older than the data: whoever reviews is told.
        let shop = shop.with_people(6).await;
        let markdown = shop.okaeri("plan --against main --format markdown").await.exits(0).stdout;
        assert!(markdown.contains("6 customers changed since their numbers were computed"), "{markdown}");
        assert_eq!(shop.json("plan --against main", 0).await["stale"], 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_older_than_the_data_are_told() {
    each_database(|url| async move {
        let shop = Scenario::new(&url)
            .segment("regulars", "{ customer: orders, gte: 3 }")
            .campaign("thanks", "audience: { in_segment: regulars }")
            .with_people(7)
            .await;
        let look = shop.okaeri("plan thanks").await.exits(0);
        let expected = "7 customers changed since their numbers were computed, and are planned by the old ones: run `okaeri profile` first\n";
        assert!(look.stderr.contains(expected), "{look:?}");
        assert_eq!(shop.json("plan thanks", 0).await["stale"], 7);
        for verb in ["plan thanks --save", "calendar"] {
            assert!(shop.okaeri(verb).await.exits(0).stderr.contains(expected), "{verb}");
        }
        let markdown = shop.okaeri("plan thanks --format markdown").await.exits(0).stdout;
        assert!(markdown.contains("7 customers changed since"), "{markdown}");
        shop.okaeri("profile --quiet").await.exits(0);
        assert!(!shop.okaeri("plan thanks").await.exits(0).stderr.contains("changed since"));
        assert_eq!(shop.json("plan thanks", 0).await["stale"], 0);
    })
    .await;
}
