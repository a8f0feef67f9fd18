//! `okaeri run` through the real binary: schedules, moments of people's own, quiet hours, and schedulers that are late, doubled or killed.

use jiff::tz::TimeZone;
use okaeri::args;
use okaeri::clock::{self, HOUR, MINUTE};
use okaeri::db::Db;
use okaeri::queue::planner;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;
use crate::review::{catcher, mailed};

const TUESDAY: &str = "schedule: { every: tuesday 09:00 }\nonce_per: 5d";

/// Slot and state of every run, in the order of slots.
async fn runs(db: &Db) -> Vec<(String, String)> {
    db.fetch_all("SELECT slot, state FROM run ORDER BY campaign, slot", args![]).await.unwrap()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// The wall clock of the project so long ago.
fn wall_clock(ago: i64) -> String {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    clock::timestamp(clock::now() - ago).to_zoned(zone).strftime("%H:%M").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_sent_once_by_the_first_look_after_it_opened_and_missed_when_nobody_looked() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("digest", TUESDAY).with_people(3).await;
        let db = shop.database().await;
        let told = shop.okaeri("run --at 2026-11-24T08:59").await.exits(0).stdout;
        assert!(told.starts_with("nothing new is due; next: digest, 2026-11-24 09:00\n"), "{told}");
        let told = shop.okaeri("run --at 2026-11-24T09:20").await.exits(0).stdout;
        let expected = "digest · slot 2026-11-24T09:00 · 3 to be mailed, 0 withheld, 0 skipped\n";
        assert!(told.starts_with(expected), "{told}");
        for later in ["2026-11-24T09:20", "2026-11-24T09:21", "2026-11-26T12:00"] {
            let json = shop.json(&format!("run --at {later}"), 0).await;
            assert_eq!(json["slots"], serde_json::json!([]), "{later}");
        }
        assert_eq!(catcher.mails().len(), 3);

        // Two weeks of silence: one slot was missed for good, the newest can be caught up.
        let told = shop.okaeri("run --at 2026-12-08T14:00").await.exits(0).stdout;
        assert!(told.contains("digest · slot 2026-12-01T09:00 · missed: found 7 days late\n"), "{told}");
        assert!(told.contains("digest · slot 2026-12-08T09:00 · 3 to be mailed"), "{told}");
        assert_eq!(
            runs(&db).await,
            pairs(&[("2026-11-24T09:00", "drained"), ("2026-12-01T09:00", "missed"), ("2026-12-08T09:00", "drained")])
        );
        // Nothing reopens what was missed, and both the queue and the report say why.
        shop.okaeri("send digest --slot 2026-12-01T09:00").await.exits(0);
        assert_eq!(catcher.mails().len(), 6);
        let status = shop.okaeri("queue status").await.exits(0).stdout;
        assert!(status.contains("missed") && status.contains("found 7 days late"), "{status}");
        shop.okaeri("report digest").await.exits(0);
        shop.okaeri("queue verify").await.exits(0);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_while_a_campaign_is_paused_is_not_missed() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("digest", TUESDAY).with_people(2).await;
        let db = shop.database().await;
        shop.okaeri("run --at 2026-11-24T09:00").await.exits(0);
        let shop = shop.campaign("digest", &format!("status: paused\n{TUESDAY}"));
        shop.okaeri("run --at 2026-12-01T09:00").await.exits(0);
        let shop = shop.campaign("digest", TUESDAY);
        shop.okaeri("run --at 2026-12-03T09:00").await.exits(0);
        assert_eq!(runs(&db).await, pairs(&[("2026-11-24T09:00", "drained")]));
        // A date is told however late it is found.
        let shop = shop.campaign("once", "schedule: { at: 2026-11-01 09:00 }");
        let told = shop.okaeri("run --at 2026-12-03T10:00").await.exits(0).stdout;
        assert!(told.contains("once · slot 2026-11-01T09:00 · missed: found 32 days late"), "{told}");
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_has_the_mail_at_their_own_nine_o_clock_or_it_is_missed_for_them() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let own = "schedule: { every: tuesday 09:00, time_zone: customer, catch_up: 6h }";
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("digest", own);
        shop.write(
            "people.csv",
            "customer_id,email,time_zone,consent\naoi,aoi@example.com,Asia/Tokyo,offers\nben,ben@example.com,Europe/Berlin,offers\n\
             cleo,cleo@example.com,America/New_York,offers\ndan,dan@example.com,,offers\n",
        );
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        let db = shop.database().await;
        // 12:00 in Berlin: Tokyo's nine o'clock was twelve hours ago.
        let json = shop.json("run --at 2026-11-24T12:00", 0).await;
        assert_eq!(json["slots"][0]["verdicts"]["send"], 3);
        assert_eq!(json["slots"][0]["verdicts"]["skip"], serde_json::json!({ "missed": 1 }));
        let due: Vec<(String, i64)> =
            db.fetch_all("SELECT customer_id, due_at FROM message ORDER BY customer_id", args![]).await.unwrap();
        let utc: Vec<(&str, String)> =
            due.iter().map(|(id, at)| (id.as_str(), clock::rfc3339(*at, &TimeZone::UTC))).collect();
        assert_eq!(
            utc,
            [
                ("ben", "2026-11-24T11:00:00+00:00".to_owned()),
                ("cleo", "2026-11-24T14:00:00+00:00".to_owned()),
                ("dan", "2026-11-24T11:00:00+00:00".to_owned())
            ]
        );
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_quiet_hours_mail_waits_and_service_mail_does_not() {
    each_database(|url| async move {
        let catcher = catcher().await;
        // Quiet now, whatever the time: from an hour ago until an hour from now, on the clock of the project.
        let quiet =
            format!("guards: {{ quiet_hours: {{ from: \"{}\", to: \"{}\" }} }}\n", wall_clock(HOUR), wall_clock(-HOUR));
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .settings(&quiet)
            .campaign("offer", "")
            .campaign("sorry", "kind: service")
            .with_people(2)
            .await;
        let waits = shop.json("send offer", 75).await;
        let due = waits["delivery"]["next_due_at"].as_i64().unwrap();
        let ahead = due - clock::now();
        assert!(ahead > 58 * MINUTE - 60_000 && ahead <= HOUR, "{ahead} ms ahead");
        shop.okaeri("send sorry").await.exits(0);
        assert_eq!(catcher.mails().len(), 2);
        // The wait is over.
        let db = shop.database().await;
        db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
        db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'pending'", args![]).await.unwrap();
        shop.okaeri("run").await.exits(0);
        assert_eq!(catcher.mails().len(), 4);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_at_once_one_of_them_killed_mail_everybody_once() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let often = format!("schedule: {{ every: day {} }}", wall_clock(10 * MINUTE));
        let people = 400;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("digest", &often).with_people(people).await;
        let (a, b, c) = (shop.start("run"), shop.start("run"), shop.start("run"));
        let db = shop.database().await;
        while db.fetch_one::<(i64,)>("SELECT COUNT(*) FROM run", args![]).await.unwrap().0 == 0 {
            tokio::task::yield_now().await;
        }
        a.kill().await;
        let (b, c) = tokio::join!(b.end(), c.end());
        assert!([0, 3, 75].contains(&b.code()) && [0, 3, 75].contains(&c.code()), "{b:?} {c:?}");
        // What the dead one held is free after half a minute; here at once.
        db.execute("UPDATE chunk SET lease_until_at = 0 WHERE state = 'leased'", args![]).await.unwrap();
        db.execute("UPDATE lease SET until_at = 0", args![]).await.unwrap();
        let ended = shop.okaeri("run").await;
        assert!([0, 3].contains(&ended.code()), "{ended:?}");
        let slots: Vec<(i64,)> = db.fetch_all("SELECT COUNT(*) FROM run", args![]).await.unwrap();
        assert_eq!(slots, [(1,)]);
        let unknown: (i64,) =
            db.fetch_one("SELECT COUNT(*) FROM delivery WHERE state = 'unknown'", args![]).await.unwrap();
        let mut to = mailed(&catcher);
        let stored = to.len();
        to.dedup();
        assert_eq!(to.len(), stored, "somebody was mailed twice");
        assert!(stored as i64 + unknown.0 >= people as i64, "{stored} stored, {} unknown", unknown.0);
        shop.okaeri("queue verify").await.exits(0);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_template_stops_its_campaign_alone_and_is_tried_again() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .campaign("broken", &format!("priority: 1\n{TUESDAY}"))
            .campaign("digest", &format!("priority: 2\n{TUESDAY}"))
            .with_people(2)
            .await;
        let good = std::fs::read_to_string(shop.path("templates/broken/letter.html")).unwrap();
        shop.write("templates/broken/letter.html", good.replace("Come by", "{{ customer.last_name }} Come by"));
        let ran = shop.okaeri("run --at 2026-11-24T09:00").await.exits(2);
        assert!(ran.stdout.contains("broken · slot 2026-11-24T09:00 · stopped; nothing of it has left"), "{ran:?}");
        assert!(ran.stdout.contains("digest · slot 2026-11-24T09:00 · 2 to be mailed"), "{ran:?}");
        assert!(ran.stderr.contains("last_name"), "{ran:?}");
        assert_eq!(catcher.mails().len(), 2);
        shop.write("templates/broken/letter.html", good);
        let ran = shop.okaeri("run --at 2026-11-24T10:00").await.exits(0);
        assert!(ran.stdout.contains("broken · slot 2026-11-24T09:00 · 2 to be mailed"), "{ran:?}");
        assert_eq!(catcher.mails().len(), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_is_looked_at_again_before_it_leaves() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .segment("quiet", "{ did_not: order.placed, in_last: 30d }")
            .campaign("miss-you", "audience: { in_segment: quiet }");
        let rows: String =
            ["ada", "bob", "cleo", "dan", "eve"].map(|p| format!("{p},{p}@example.com,offers\n")).concat();
        shop.write("people.csv", format!("customer_id,email,consent\n{rows}"));
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("profile --quiet").await.exits(0);
        let db = shop.database().await;
        // Planned, and held before anything left.
        let shop = shop.smtp("smtp://127.0.0.1:1"); // nobody listens there
        shop.okaeri("send miss-you").await.exits(5);
        // Meanwhile one ordered, one has a ticket, one left.
        let at = clock::rfc3339(clock::now() - MINUTE, &TimeZone::UTC);
        shop.write("orders.csv", format!("order_id,customer_id,ordered_at,total\no1,ada,{at},20.00\n"));
        shop.okaeri("import orders orders.csv --quiet").await.exits(0);
        shop.write("tickets.csv", format!("event_id,customer_id,at,name\nt1,bob,{at},ticket.opened\n"));
        shop.okaeri("import events tickets.csv --quiet").await.exits(0);
        shop.okaeri("suppress cleo@example.com --topic offers").await.exits(0);
        shop.okaeri("profile --quiet").await.exits(0);
        let shop = shop.smtp(&catcher.url());
        db.execute("UPDATE run SET created_at = created_at - $1", args![2 * HOUR]).await.unwrap();
        let ran = shop.okaeri("work").await.exits(0);
        assert!(ran.stdout.contains("3 suppressed before they left"), "{}", ran.stdout);
        assert_eq!(mailed(&catcher), ["dan", "eve"]);
        let why: Vec<(String, String)> = db
            .fetch_all(
                "SELECT customer_id, reply FROM delivery WHERE state = 'suppressed' ORDER BY customer_id",
                args![],
            )
            .await
            .unwrap();
        assert_eq!(
            why,
            pairs(&[
                ("ada", "lost its ground: left_audience"),
                ("bob", "lost its ground: service_freeze"),
                ("cleo", "lost its ground: suppressed")
            ])
        );
        shop.okaeri("queue verify").await.exits(0);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_but_the_excluded_is_everyone_else() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .segment("staff", "{ customer: team, eq: staff }")
            .campaign("news", "exclude: { in_segment: staff }");
        shop.write("contract.yaml", "customer: { team: text }\n");
        shop.write(
            "people.csv",
            "customer_id,email,consent,team\nada,ada@example.com,offers,staff\nbob,bob@example.com,offers,\ncleo,cleo@example.com,offers,guests\n",
        );
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("profile --quiet").await.exits(0);
        let json = shop.json("send news", 0).await;
        assert_eq!((&json["verdicts"]["send"], &json["verdicts"]["audience"]), (&2.into(), &2.into()));
        assert_eq!(mailed(&catcher), ["bob", "cleo"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_arm_has_its_own_letter_and_its_line_in_the_report() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let lines = "steps:\n  - step: letter\n    template: news/letter\n    variants: { b: news/letter-b }\n\
                     experiment:\n  split: { holdout: 20%, a: 40%, b: 40% }\n  goal: { did: order.placed, within: 1d, value: total }\n";
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("news", "").with_people(60).await;
        let head = "campaign: news\nstatus: live\ntopic: offers\naudience: everyone\n";
        shop.write("campaigns/news.yaml", format!("{head}{lines}"));
        for kind in ["html", "txt"] {
            let letter = std::fs::read_to_string(shop.path(&format!("templates/news/letter.{kind}"))).unwrap();
            shop.write(&format!("templates/news/letter-b.{kind}"), letter.replace("Hello", "A word for"));
        }
        shop.okaeri("send news").await.exits(0);
        let db = shop.database().await;
        let arms: Vec<(String, String)> =
            db.fetch_all("SELECT customer_id, arm FROM message ORDER BY customer_id", args![]).await.unwrap();
        let of = |arm: &str| arms.iter().filter(|(_, a)| a == arm).count();
        assert_eq!(of("a") + of("b") + of("holdout"), 60);
        assert!(of("a") > 10 && of("b") > 10 && of("holdout") > 3, "{} {} {}", of("a"), of("b"), of("holdout"));
        let letters: Vec<(String, bool)> = catcher
            .mails()
            .iter()
            .map(|m| {
                let text = String::from_utf8_lossy(&m.bytes).into_owned();
                (m.envelope_to[0].split('@').next().unwrap().to_owned(), text.contains("Subject: A word for"))
            })
            .collect();
        assert_eq!(letters.len(), of("a") + of("b"));
        for (who, is_b) in letters {
            let arm = &arms.iter().find(|(id, _)| *id == who).unwrap().1;
            assert_eq!(is_b, arm == "b", "{who} is in arm {arm}");
        }
        let at = clock::rfc3339(clock::now() + 23 * HOUR, &TimeZone::UTC).replace("+00:00", "Z");
        let json = shop.json(&format!("report news --at {at}"), 0).await;
        assert_eq!(json["outcome"]["arms"].as_array().unwrap().len(), 2);
        assert_eq!(json["outcome"]["arms"][0]["group"]["window_open"], of("a"));
        // An arm that is not in the split would reach nobody.
        shop.write("campaigns/news.yaml", format!("{head}{}", lines.replace("{ b:", "{ c:")));
        let ran = shop.okaeri("check").await.exits(2);
        assert!(ran.stderr.contains("`experiment.split` has no arm `c`"), "{}", ran.stderr);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_thrown_away_is_refused_in_ci() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("okaeri.db").display());
    let shop = Scenario::new(&url).smtp("smtp://mail.example.com:25").campaign("hello", "").with("CI", "true");
    for line in ["send hello", "run", "work"] {
        let ran = shop.okaeri(line).await.exits(2);
        assert!(ran.stderr.contains("set DATABASE_URL to a Postgres server"), "{}", ran.stderr);
    }
    // On this machine, or kept: nothing is due, so nobody is asked for the server.
    shop.okaeri("work --ephemeral-ok").await.exits(0);
    let shop = shop.smtp("smtp://127.0.0.1:1");
    shop.okaeri("work").await.exits(0);
    shop.with("CI", "false").smtp("smtp://mail.example.com:25").okaeri("work").await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_half_written_when_its_moment_passed_is_missed() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .campaign("digest", TUESDAY)
            .campaign("letter", "")
            .with_people(3)
            .await;
        let db = shop.database().await;
        shop.okaeri("run --at 2026-11-24T08:00").await.exits(0);
        // Killed in the middle of writing: one by the scheduler, one by hand.
        let begun = |campaign: &'static str, slot: &'static str| {
            let db = &db;
            async move {
                let at = clock::parse_instant("2026-11-24T09:00", &TimeZone::get("Europe/Berlin").unwrap()).unwrap();
                let new = okaeri::queue::run::NewRun {
                    campaign,
                    slot,
                    as_of: at,
                    due_at: at,
                    expires_at: at + HOUR,
                    snapshot_id: "gone",
                    definition: "{}",
                };
                let mut tx = db.begin().await.unwrap();
                okaeri::queue::run::open(&mut tx, &new, clock::now()).await.unwrap();
                tx.commit().await.unwrap();
            }
        };
        begun("digest", "2026-11-24T09:00").await;
        begun("letter", "2026-11-24").await;
        let told = shop.okaeri("run --at 2026-11-25T09:00").await.exits(0).stdout;
        assert!(told.contains("digest · slot 2026-11-24T09:00 · missed: found 24 hours late"), "{told}");
        assert_eq!(runs(&db).await, pairs(&[("2026-11-24T09:00", "missed"), ("2026-11-24", "enqueuing")]));
        assert_eq!(catcher.mails().len(), 0);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_time_is_up_leaves_what_it_has_not_planned_to_the_next() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let campaigns = Scenario::new(&url).smtp(&catcher.url()).campaign("digest", TUESDAY);
        let shop = campaigns.campaign("extra", "schedule: { every: tuesday 09:00 }\npriority: 90").with_people(2).await;
        let db = shop.database().await;
        let other = planner::take(&db, clock::now()).await.unwrap().expect("nobody plans");
        let ran = shop.okaeri("run --at 2026-11-24T09:05 --max-time 1s").await.exits(75);
        assert!(ran.stdout.contains("digest · slot 2026-11-24T09:00 · stopped"), "{}", ran.stdout);
        assert!(ran.stdout.contains("extra · slot now · stopped"), "{}", ran.stdout);
        assert!(ran.stderr.contains("the time is up before it was looked at"), "{}", ran.stderr);
        assert!(catcher.mails().is_empty());
        other.release(&db).await.unwrap();
        shop.okaeri("run --at 2026-11-24T09:06").await.exits(0);
        assert_eq!(catcher.mails().len(), 4);
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_campaigns_due_together_the_smaller_priority_takes_what_the_cap_leaves() {
    each_database(|url| async move {
        let catcher = catcher().await;
        // By name the offer would be first.
        let at_nine = |priority: i32| format!("priority: {priority}\nschedule: {{ every: tuesday 09:00 }}");
        let shop = Scenario::new(&url)
            .smtp(&catcher.url())
            .settings("guards: { frequency_cap: { messages: 1, in_last: 7d } }\n")
            .campaign("an-offer", &at_nine(20))
            .campaign("the-welcome", &at_nine(10))
            .with_people(3)
            .await;
        let had = async |look: &str, count: usize| {
            let json = shop.json(&format!("run --at {look}"), 0).await;
            let slots = json["slots"].as_array().unwrap();
            assert_eq!(slots.len(), count, "{json}");
            slots
                .iter()
                .map(|s| (s["campaign"].as_str().unwrap().to_owned(), s["verdicts"].clone()))
                .collect::<Vec<_>>()
        };
        let capped = serde_json::json!({ "audience": 3, "send": 0, "withheld": {}, "skip": { "frequency_cap": 3 } });
        let sent = serde_json::json!({ "audience": 3, "send": 3, "withheld": {}, "skip": {} });
        let expected = [("the-welcome".to_owned(), sent.clone()), ("an-offer".to_owned(), capped.clone())];
        assert_eq!(had("2026-11-24T09:05", 2).await, expected);
        // The other way round a fortnight later.
        let shop = shop.campaign("an-offer", &at_nine(5));
        let json = shop.json("run --at 2026-12-08T09:05", 0).await;
        let of = |name: &str| {
            let slots = json["slots"].as_array().unwrap().iter();
            slots
                .filter(|s| s["campaign"] == name && !s["verdicts"].is_null())
                .map(|s| s["verdicts"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!((of("an-offer"), of("the-welcome")), (vec![sent], vec![capped]), "{json}");
        assert_eq!(catcher.mails().len(), 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_has_ended_sends_nothing_new_by_hand_either() {
    each_database(|url| async move {
        let catcher = catcher().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("sale", "ends: 2026-11-20").with_people(2).await;
        let saved = shop.json("plan sale --save --at 2026-11-20T12:00", 0).await;
        let id = saved["run"]["run_id"].as_str().unwrap().to_owned();
        for late in ["send sale --at 2026-11-21T09:00", "plan sale --save --at 2026-11-21T09:00"] {
            let said = shop.okaeri(late).await.exits(2).stderr;
            assert!(
                said.contains("the campaign `sale` ended 2026-11-21 00:00: nobody gets anything new of it"),
                "{said}"
            );
        }
        let said = shop.okaeri(&format!("send --plan {id} --at 2026-11-21T09:00")).await.exits(2).stderr;
        assert!(said.contains("`sale` ended"), "{said}");
        let look = shop.okaeri("plan sale --at 2026-11-21T09:00").await.exits(0).stdout;
        assert!(
            look.contains("\n  ended 2026-11-21 00:00 — a plan only; nobody gets anything new (`ends`)\n"),
            "{look}"
        );
        assert_eq!(shop.json("plan sale --at 2026-11-21T09:00", 0).await["ended"], true);
        assert_eq!(catcher.mails().len(), 0);
        // On its last day it goes out, and what was begun in time goes on afterwards.
        assert_eq!(shop.json("plan sale --at 2026-11-20T23:00", 0).await["ended"], false);
        shop.okaeri("send sale --at 2026-11-20T23:00").await.exits(0);
        assert_eq!(catcher.mails().len(), 2);
        shop.okaeri("send sale --slot 2026-11-20 --at 2026-11-21T09:00").await.exits(0);
        assert_eq!(catcher.mails().len(), 2);
        let warned = shop.okaeri("check --at 2026-11-21T09:00").await.exits(0).stdout;
        assert!(warned.contains("`sale` ended 2026-11-21 00:00") && warned.contains("[campaign-over]"), "{warned}");
    })
    .await;
}
