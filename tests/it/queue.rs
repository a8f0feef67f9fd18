//! The verbs of the queue, through the real binary: looking, cancelling, trying again, settling doubts; and every exit code.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, ByRecipient, Catcher, CatcherOptions, Stage};
use okaeri::clock;
use okaeri::db::Db;
use okaeri::queue::{planner, run};
use serde_json::{Value, json};

use crate::ground::each_database;
use crate::ground::mail::{by_recipient, catcher, deserted};
use crate::ground::scenario::Scenario;

/// A campaign `hello` for these people, who all agreed to it; their ids are the local parts.
async fn shop_of(url: &str, smtp: &str, people: &[&str]) -> Scenario {
    let shop = Scenario::new(url).smtp(smtp).campaign("hello", "");
    let rows: String = people.iter().map(|p| format!("{p},{p}@example.com,offers\n")).collect();
    shop.write("people.csv", format!("customer_id,email,consent\n{rows}"));
    shop.okaeri("import customers people.csv --quiet").await.exits(0);
    shop
}

/// State and id of a customer's message.
async fn message_of(shop: &Scenario, customer: &str) -> (String, String) {
    let list = shop.json("queue list --limit 1000", 0).await;
    let found = list["messages"].as_array().unwrap().iter().find(|m| m["customer_id"] == customer);
    let m = found.unwrap_or_else(|| panic!("{customer}: {list}"));
    (m["state"].as_str().unwrap().to_owned(), m["message_id"].as_str().unwrap().to_owned())
}

async fn run_id(shop: &Scenario) -> String {
    shop.json("queue status", 0).await["runs"][0]["run_id"].as_str().unwrap().to_owned()
}

async fn states(db: &Db) -> Vec<(String, i64)> {
    db.fetch_all("SELECT state, COUNT(*) FROM delivery GROUP BY state ORDER BY state", args![]).await.unwrap()
}

/// Everything that waits is due now.
async fn hasten(db: &Db) {
    db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
    db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'deferred'", args![]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_with_every_word_and_what_comes_next() {
    each_database(|url| async move {
        let behaviour = ByRecipient::standard().on(
            "odd",
            Stage::Rcpt,
            Answer::of([okaeri::catcher::Move::Raw(b"451 4.7.1 na\xefve \x1b[31m\xe2\x82\xac\r\n".to_vec())]),
        );
        let catcher = catcher(Arc::new(behaviour)).await;
        let shop = shop_of(&url, &catcher.url(), &["greylist", "hard", "mia", "odd"]).await;
        shop.okaeri("send hello --slot one").await.exits(75);
        let (_, id) = message_of(&shop, "greylist").await;
        let shown = shop.json(&format!("queue show <{id}@example.com>"), 0).await;
        let attempt = &shown["history"][0];
        assert_eq!(
            (&attempt["what"], &attempt["stage"], &attempt["state"], &attempt["code"], &attempt["reply"]),
            (
                &json!("attempt"),
                &json!("rcpt"),
                &json!("deferred"),
                &json!(451),
                &json!("4.7.1 Greylisted, come back later")
            )
        );
        assert_eq!(shown["message"]["address"], "greylist@example.com");
        assert!(shown["next"].as_str().unwrap().starts_with("it is sent when due, "), "{shown}");
        // What is no UTF-8 and what a terminal would obey is written as its code; the rest is as it came.
        let (state, odd) = message_of(&shop, "odd").await;
        let shown = shop.json(&format!("queue show {odd}"), 0).await;
        let reply = shown["history"][0]["reply"].as_str().unwrap();
        assert_eq!((state.as_str(), reply), ("deferred", "4.7.1 na\\xefve \\x1b[31m€"));
        let text = shop.okaeri(&format!("queue show {odd}")).await.exits(0).stdout;
        assert!(text.contains("try 1, at rcpt: 451 4.7.1 na\\xefve") && !text.contains("\u{1b}[31m"), "{text}");
        let (_, hard) = message_of(&shop, "hard").await;
        let shown = shop.json(&format!("queue show {hard}"), 0).await;
        assert!(shown["next"].as_str().unwrap().contains("suppressed: all (hard_bounce)"), "{shown}");
        hasten(&shop.database().await).await;
        shop.okaeri("work").await.exits(75); // odd comes back for ever
        let shown = shop.json(&format!("queue show {id}"), 0).await;
        assert_eq!((&shown["message"]["state"], &shown["message"]["attempts"]), (&json!("accepted"), &json!(2)));
        assert_eq!(shown["history"].as_array().map(Vec::len), Some(1), "the first try stays: {shown}");
        let nobody = shop.okaeri("queue show 00ff").await.exits(2);
        assert!(nobody.stderr.contains("there is no message `00ff`"), "{}", nobody.stderr);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_count_every_message_once_and_show_an_example() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url).smtp(&catcher.url()).campaign("hello", "").campaign("other", "");
        let people = ["hard@gmail.com", "full@gmail.com", "ok@example.com", "spam@example.com", "fine@yahoo.com"];
        let rows: String = people.iter().enumerate().map(|(i, p)| format!("c{i},{p},offers\n")).collect();
        shop.write("people.csv", format!("customer_id,email,consent\n{rows}"));
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("send hello --slot one").await.exits(75);
        let groups = async |line: &str| -> Vec<(String, i64, String)> {
            let told = shop.json(&format!("queue list {line}"), 0).await;
            let groups = told["groups"].as_array().unwrap_or_else(|| panic!("{told}"));
            let of = |g: &Value| {
                let example = g["example"]["address"].as_str().unwrap().to_owned();
                (g["group"].as_str().unwrap().to_owned(), g["messages"].as_i64().unwrap(), example)
            };
            groups.iter().map(of).collect()
        };
        let counts = |groups: Vec<(String, i64, String)>| -> BTreeSet<(String, i64)> {
            groups.into_iter().map(|(group, n, _)| (group, n)).collect()
        };
        let set = |list: &[(&str, i64)]| -> BTreeSet<(String, i64)> {
            list.iter().map(|(group, n)| ((*group).to_owned(), *n)).collect()
        };
        assert_eq!(counts(groups("--by family").await), set(&[("gmail", 2), ("other", 2), ("yahoo", 1)]));
        let by_state: Vec<String> = groups("--by state").await.into_iter().map(|(g, ..)| g).collect();
        assert_eq!(by_state, ["accepted", "deferred", "failed"], "in the order of a message's life");
        assert_eq!(
            counts(groups("--by code").await),
            set(&[("250", 2), ("452 4.2.2", 1), ("550 5.1.1", 1), ("554 5.7.1", 1)])
        );
        assert_eq!(counts(groups("--by age").await), set(&[("under an hour", 5)]));
        assert_eq!(groups("--by code --state deferred").await, [("452 4.2.2".into(), 1, "full@gmail.com".into())]);
        let unknown = shop.okaeri("queue list --by state --campaign other").await.exits(2);
        assert!(unknown.stderr.contains("nothing was planned for a campaign `other`"), "{}", unknown.stderr);
        shop.okaeri("queue list --run nope").await.exits(2);
        shop.okaeri("queue list --limit 0").await.exits(2);
        shop.database().await.execute("UPDATE delivery SET code = NULL WHERE code = 452", args![]).await.unwrap();
        assert_eq!(groups("--by code --state deferred").await[0].0, "none");
        let text = shop.okaeri("queue list --by family").await.exits(0).stdout;
        assert!(text.contains("for example") && text.contains("yahoo"), "{text}");
        shop.okaeri("queue list --by colour").await.exits(2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_sends_nothing_more() {
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = shop_of(&url, &deserted(), &["ann", "bob", "greylist"]).await;
        shop.okaeri("send hello --slot one").await.exits(5);
        let run = run_id(&shop).await;
        let told = shop.json(&format!("queue cancel {run} --reason typo"), 0).await;
        assert_eq!(told["cancelled"], 3, "{told}");
        let shop = shop.smtp(&catcher.url());
        shop.okaeri("work").await.exits(0);
        shop.okaeri("send hello --slot one").await.exits(0);
        assert_eq!(catcher.mails().len(), 0);
        assert_eq!(states(&shop.database().await).await, [("cancelled".to_owned(), 3)]);
        shop.okaeri("queue verify").await.exits(0);
        let status = shop.json("queue status", 0).await;
        assert_eq!((&status["runs"][0]["state"], &status["runs"][0]["reason"]), (&json!("cancelled"), &json!("typo")));
        let again = shop.okaeri(&format!("queue cancel {run}")).await.exits(2);
        assert!(again.stderr.contains("is cancelled and cannot become cancelled"), "{}", again.stderr);
        shop.okaeri(&format!("queue resume {run}")).await.exits(2);
        shop.okaeri("queue cancel nothing").await.exits(2);
        let (_, id) = message_of(&shop, "ann").await;
        shop.okaeri(&format!("queue retry {id} --by ann")).await.exits(2);
        // A deferred one is cancelled too, and what was accepted stays so.
        shop.okaeri("send hello --slot two").await.exits(75);
        let run = run_id(&shop).await;
        assert_eq!(shop.json(&format!("queue cancel {run}"), 0).await["cancelled"], 1);
        hasten(&shop.database().await).await;
        shop.okaeri("work").await.exits(0);
        assert_eq!(states(&shop.database().await).await, [("accepted".into(), 2), ("cancelled".into(), 4)]);
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_to_be_cancelled_is_cancelled_by_the_next_start() {
    each_database(|url| async move {
        let catcher = catcher(Arc::new(ByRecipient::new())).await;
        let shop = shop_of(&url, &deserted(), &["ann", "bob"]).await;
        shop.okaeri("send hello --slot one").await.exits(5);
        // The process that cancelled was killed after its first statement.
        let db = shop.database().await;
        db.execute("UPDATE run SET state = 'cancelled'", args![]).await.unwrap();
        shop.okaeri("queue verify").await.exits(2);
        let shop = shop.smtp(&catcher.url());
        shop.okaeri("work").await.exits(0);
        assert_eq!(states(&db).await, [("cancelled".to_owned(), 2)]);
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_beside_workers_leaves_each_message_sent_or_cancelled() {
    each_database(|url| async move {
        const PEOPLE: usize = 400;
        let names: Vec<String> = (0..PEOPLE).map(|i| format!("p{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        struct Slow;
        impl Behaviour for Slow {
            fn answer(&self, moment: &okaeri::catcher::Moment<'_>) -> Answer {
                match moment.stage {
                    Stage::EndOfData => Answer::store_then_wait(Duration::from_millis(15)),
                    _ => Answer::agree(),
                }
            }
        }
        let catcher = catcher(Arc::new(Slow)).await;
        let shop = shop_of(&url, &deserted(), &names).await;
        shop.okaeri("send hello --slot one --quiet").await.exits(5);
        let run = run_id(&shop).await;
        let shop = shop.smtp(&catcher.url());
        let workers = [shop.start("work --quiet"), shop.start("work --quiet")];
        while catcher.counts().messages < 40 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        shop.okaeri(&format!("queue cancel {run}")).await.exits(0);
        for worker in workers {
            let ended = worker.end().await;
            assert!(matches!(ended.code(), 0 | 75), "{ended:?}"); // 75: on SQLite one of them waited for the other
        }
        let db = shop.database().await;
        let all = states(&db).await;
        let of = |state: &str| all.iter().find(|(s, _)| s == state).map_or(0, |(_, n)| *n);
        assert_eq!(of("accepted") + of("cancelled"), PEOPLE as i64, "{all:?}");
        assert!(of("cancelled") > 0 && of("accepted") >= 40, "{all:?}");
        assert_eq!(catcher.mails().len() as i64, of("accepted"));
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_tried_again_unless_the_person_may_not_be_written_to() {
    each_database(|url| async move {
        let policy = Answer::reply(550, "5.7.26", "Unauthenticated mail");
        let behaviour = ByRecipient::standard()
            .times("ann", Stage::Rcpt, 1, policy.clone())
            .times("bob", Stage::Rcpt, 1, policy.clone())
            .times("eve", Stage::EndOfData, 1, policy.clone())
            .times("una", Stage::Rcpt, 1, policy);
        let catcher = catcher(Arc::new(behaviour)).await;
        let shop = shop_of(&url, &catcher.url(), &["ann", "bob", "eve", "una", "hard", "mia"]).await;
        shop.okaeri("send hello --slot one").await.exits(0);
        shop.okaeri("suppress bob@example.com --topic offers").await.exits(0);
        shop.write("consents.csv", "customer_id,topic,granted,at\nuna,offers,no,2026-01-01\n");
        shop.okaeri("import consents consents.csv --quiet").await.exits(0);
        let (_, mia) = message_of(&shop, "mia").await;
        let (_, hard) = message_of(&shop, "hard").await;
        let (_, bob) = message_of(&shop, "bob").await;
        let (_, una) = message_of(&shop, "una").await;
        let told = shop.okaeri(&format!("queue retry {mia} {hard} {bob} {una} --by kay")).await.exits(2).stdout;
        for why in [
            format!("not {mia}: it is accepted"),
            format!("not {hard}: its address is suppressed (all, hard_bounce)"),
            format!("not {bob}: its address is suppressed (topic:offers, manual)"),
            format!("not {una}: the person has not agreed to offers any more"),
        ] {
            assert!(told.contains(&why), "{why}: {told}");
        }
        let run = run_id(&shop).await;
        let told = shop.json(&format!("queue retry --run {run} --evidence dkim-mended --by kay"), 0).await;
        assert_eq!(told["retried"], 2, "{told}");
        assert!(told["refused"][0]["why"].as_str().unwrap().starts_with("3 stay refused: "), "{told}");
        // An unsubscribe that comes now still wins, at the commit.
        shop.okaeri("suppress eve@example.com").await.exits(0);
        shop.okaeri("queue verify").await.exits(0);
        shop.okaeri("work").await.exits(0);
        assert_eq!(message_of(&shop, "ann").await.0, "accepted");
        assert_eq!(message_of(&shop, "eve").await.0, "suppressed");
        let mut mailed: Vec<String> = catcher.mails().into_iter().flat_map(|m| m.envelope_to).collect();
        mailed.sort();
        assert_eq!(mailed, ["ann@example.com", "mia@example.com"]);
        let (_, ann) = message_of(&shop, "ann").await;
        let shown = shop.json(&format!("queue show {ann}"), 0).await;
        let decision = &shown["history"][1];
        assert_eq!(
            (&decision["decided"], &decision["by"], &decision["evidence"]),
            (&json!("retry"), &json!("kay"), &json!("dkim-mended"))
        );
        shop.okaeri("queue verify").await.exits(0);
        shop.okaeri("queue retry --run nothing --by kay").await.exits(2);
        shop.okaeri(&format!("queue retry --run {run} --state unknown --by kay")).await.exits(2);
        shop.okaeri("queue retry").await.exits(2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_has_a_day_of_its_own_though_its_run_is_old() {
    each_database(|url| async move {
        let behaviour = ByRecipient::new().times("ann", Stage::Rcpt, 1, Answer::reply(550, "5.7.1", "Blocked"));
        let catcher = catcher(Arc::new(behaviour)).await;
        let shop = shop_of(&url, &catcher.url(), &["ann"]).await;
        shop.okaeri("send hello --slot one").await.exits(0);
        shop.database().await.execute("UPDATE run SET expires_at = 1", args![]).await.unwrap();
        let (_, id) = message_of(&shop, "ann").await;
        shop.okaeri(&format!("queue retry {id} --by kay")).await.exits(0);
        shop.okaeri("work").await.exits(0);
        assert_eq!(message_of(&shop, "ann").await.0, "accepted");
        // A drained run with an open chunk would never be looked at again.
        shop.okaeri("queue verify").await.exits(0);
        shop.database().await.execute("UPDATE chunk SET state = 'open'", args![]).await.unwrap();
        let broken = shop.json("queue verify", 2).await;
        assert_eq!(broken["findings"][0]["rule"], "a drained run has no chunk to be done", "{broken}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_not_cancelled_under_its_planner_and_its_planner_writes_no_more() {
    each_database(|url| async move {
        let catcher = catcher(Arc::new(ByRecipient::new())).await;
        let shop = shop_of(&url, &deserted(), &["ann", "bob"]).await;
        shop.okaeri("send hello --slot one").await.exits(5);
        // As if its planner were still at it, in the middle of the buckets.
        let (db, run) = (shop.database().await, run_id(&shop).await);
        db.execute("UPDATE run SET state = 'enqueuing', next_bucket = 500", args![]).await.unwrap();
        let lease = planner::take(&db, clock::now()).await.unwrap().unwrap();
        let busy = shop.okaeri(&format!("queue cancel {run}")).await.exits(75);
        assert!(busy.stderr.contains("is being planned at this moment"), "{busy:?}");
        lease.release(&db).await.unwrap();
        let note = async |range| {
            let mut tx = db.begin().await.unwrap();
            let noted = run::note_enqueued(&mut tx, &run, range, 0, clock::now()).await.unwrap();
            tx.rollback().await.unwrap();
            noted
        };
        assert!(note((500, 600)).await);
        assert!(!note((400, 500)).await, "another planner wrote these buckets");
        shop.okaeri(&format!("queue cancel {run}")).await.exits(0);
        assert!(!note((500, 600)).await, "a planner that wakes up finds it cancelled");
        let shop = shop.smtp(&catcher.url());
        shop.okaeri("send hello --slot one").await.exits(0);
        shop.okaeri("work").await.exits(0);
        assert_eq!(catcher.mails().len(), 0);
        assert_eq!(states(&db).await, [("cancelled".to_owned(), 2)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_are_settled_once_with_evidence() {
    each_database(|url| async move {
        // Each is stored and not answered, or neither, the first time.
        let behaviour = ["ann", "bob", "cid", "dan"]
            .into_iter()
            .fold(ByRecipient::new(), |b, name| b.times(name, Stage::EndOfData, 1, Answer::close()))
            .times("eve", Stage::EndOfData, 1, Answer::store_then_close());
        let catcher = catcher(Arc::new(behaviour)).await;
        let shop = shop_of(&url, &catcher.url(), &["ann", "bob", "cid", "dan", "eve", "mia"]).await;
        shop.okaeri("send hello --slot one").await.exits(3);
        let mut ids = Vec::new();
        for name in ["ann", "bob", "cid", "dan", "eve", "mia"] {
            ids.push(message_of(&shop, name).await.1);
        }
        let resolve = async |id: &str, rest: &str| shop.okaeri(&format!("queue resolve {id} {rest}")).await;
        resolve(&ids[0], "--as resend --by kay").await.exits(2); // no evidence
        let empty = shop.start_with(&["queue", "resolve", &ids[0], "--as", "resend", "--evidence", " ", "--by", "kay"]);
        assert!(empty.end().await.exits(2).stderr.contains("--evidence is empty"));
        let nameless = resolve(&ids[0], "--as resend --evidence log").await.exits(2);
        assert!(nameless.stderr.contains("--by NAME"), "{}", nameless.stderr);
        resolve(&ids[5], "--as failed --evidence log --by kay").await.exits(2); // mia is accepted
        resolve(&ids[0], "--as resend --evidence not-in-log --by kay").await.exits(0);
        resolve(&ids[0], "--as resend --evidence not-in-log --by kay").await.exits(2);
        resolve(&ids[1], "--as failed --evidence not-in-log --by kay").await.exits(0);
        resolve(&ids[3], "--as closed --evidence no-log-any-more --by kay").await.exits(0);
        resolve(&ids[4], "--as accepted --evidence queued-as-17 --by kay").await.exits(0);
        shop.okaeri("suppress cid@example.com --topic offers").await.exits(0);
        let suppressed = resolve(&ids[2], "--as resend --evidence not-in-log --by kay").await.exits(2);
        assert!(suppressed.stderr.contains("its address is suppressed (topic:offers, manual)"), "{suppressed:?}");
        shop.okaeri("queue verify").await.exits(0);
        shop.okaeri("work").await.exits(0);
        let mut told = Vec::new();
        for name in ["ann", "bob", "cid", "dan", "eve"] {
            told.push(message_of(&shop, name).await.0);
        }
        assert_eq!(told, ["accepted", "failed", "unknown", "closed_unknown", "accepted"]);
        // What was sent again has the Message-ID it had.
        let of_ann: Vec<_> = catcher.mails().into_iter().filter(|m| m.envelope_to == ["ann@example.com"]).collect();
        assert_eq!(of_ann.len(), 1);
        assert_eq!(of_ann[0].message_id.as_deref(), Some(format!("<{}@example.com>", ids[0]).as_str()));
        let shown = shop.json(&format!("queue show {}", ids[3]), 0).await;
        assert_eq!(shown["history"][1]["evidence"], "no-log-any-more");
        shop.okaeri("queue verify").await.exits(0);
        // The list of decisions is what makes a closed doubt more than a vanished one.
        let db = shop.database().await;
        for (decided, of) in [("closed", ": closed_unknown"), ("resend", ": accepted")] {
            db.execute("DELETE FROM decision WHERE decided = $1", args![decided]).await.unwrap();
            let broken = shop.json("queue verify", 2).await;
            let found = broken["findings"].as_array().unwrap();
            assert!(found.iter().any(|f| f["detail"].as_str().unwrap().ends_with(of)), "{decided}: {broken}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_at_once_one_decides_and_one_mail_leaves() {
    each_database(|url| async move {
        let catcher = catcher(Arc::new(ByRecipient::new().times("ann", Stage::EndOfData, 1, Answer::close()))).await;
        let shop = shop_of(&url, &catcher.url(), &["ann"]).await;
        shop.okaeri("send hello --slot one").await.exits(3);
        let (_, id) = message_of(&shop, "ann").await;
        let line = |by: &str, outcome: &str| format!("queue resolve {id} --as {outcome} --evidence log --by {by}");
        let (kay, lee, mo) = (line("kay", "resend"), line("lee", "resend"), line("mo", "resend"));
        let all = tokio::join!(
            shop.okaeri(&kay),
            shop.okaeri(&lee),
            shop.okaeri(&mo),
            shop.okaeri("work"),
            shop.okaeri("work")
        );
        let mut codes = [all.0.code(), all.1.code(), all.2.code()];
        codes.sort_unstable();
        assert_eq!(codes, [0, 2, 2], "{all:?}");
        let last = shop.okaeri("work").await;
        assert_eq!(last.code(), 0, "{last:?}");
        assert_eq!((catcher.mails().len(), message_of(&shop, "ann").await.0.as_str()), (1, "accepted"));
        let (decisions,): (i64,) =
            shop.database().await.fetch_one("SELECT COUNT(*) FROM decision", args![]).await.unwrap();
        assert_eq!(decisions, 1);
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

/// So many people `a0…`, every tenth of whom has no mailbox any more.
async fn with_dead_mailboxes(shop: Scenario, people: usize) -> Scenario {
    let address = |i: usize| if i.is_multiple_of(10) { format!("hard+{i}") } else { format!("a{i}") };
    let rows: String = (0..people).map(|i| format!("a{i},{}@example.com,offers\n", address(i))).collect();
    shop.write("people.csv", format!("customer_id,email,consent\n{rows}"));
    shop.okaeri("import customers people.csv --quiet").await.exits(0);
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_dead_mailboxes_hold_their_run_and_no_other() {
    const PEOPLE: usize = 300;
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let lenient = "stop_above: { hard_bounce: 20%, failed: 20% }";
        let shop = Scenario::new(&url).smtp(&deserted()).campaign("strict", "").campaign("lenient", lenient);
        let shop = with_dead_mailboxes(shop, PEOPLE).await;
        shop.okaeri("send strict --slot one --quiet").await.exits(5);
        shop.okaeri("send lenient --slot one --quiet").await.exits(5);
        let shop = shop.smtp(&catcher.url());
        let told = shop.json("work", 4).await;
        assert_eq!(told["ended"], "paused", "{told}");
        let why = told["reason"].as_str().unwrap();
        assert!(why.contains("said that there is no such mailbox; stop_above allows hard_bounce: 5%"), "{why}");
        let status = shop.json("queue status", 0).await;
        let run = |campaign: &str| {
            let runs = status["runs"].as_array().unwrap();
            runs.iter().find(|r| r["campaign"] == campaign).unwrap_or_else(|| panic!("{status}")).clone()
        };
        assert_eq!((&run("strict")["state"], &run("strict")["reason"]), (&json!("paused"), &json!(why)));
        assert_eq!(run("lenient")["state"], "drained", "the other went on to its end");
        let strict = run("strict")["run_id"].as_str().unwrap().to_owned();
        let db = shop.database().await;
        let sent: (i64,) = db
            .fetch_one(
                "SELECT COUNT(*) FROM delivery WHERE run_id = $1 AND state IN ('accepted', 'failed')",
                args![&strict],
            )
            .await
            .unwrap();
        assert!((100..=140).contains(&sent.0), "{} answers before it was held", sent.0);
        // Nothing of it leaves until somebody has looked; then the count begins anew.
        shop.okaeri("send strict --slot one").await.exits(4);
        shop.okaeri(&format!("queue resume {strict}")).await.exits(0);
        let again = shop.okaeri("work").await;
        let rest: (i64,) = db
            .fetch_one(
                "SELECT COUNT(*) FROM delivery WHERE run_id = $1 AND state IN ('pending', 'committed')",
                args![&strict],
            )
            .await
            .unwrap();
        match again.code() {
            0 => assert_eq!(rest.0, 0),
            4 => assert!(rest.0 <= 100, "{rest:?}"),
            _ => panic!("{again:?}"),
        }
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_run_is_taken_up_again_by_the_process_that_held_it() {
    struct Slow(ByRecipient);
    impl Behaviour for Slow {
        fn answer(&self, moment: &okaeri::catcher::Moment<'_>) -> Answer {
            match moment.stage {
                Stage::EndOfData => Answer::store_then_wait(Duration::from_millis(10)),
                _ => self.0.answer(moment),
            }
        }
    }
    each_database(|url| async move {
        let catcher = catcher(Arc::new(Slow(ByRecipient::standard()))).await;
        let lenient = "stop_above: { hard_bounce: 20%, failed: 20% }";
        let shop = Scenario::new(&url).smtp(&deserted()).campaign("strict", "").campaign("lenient", lenient);
        let shop = with_dead_mailboxes(shop, 800).await;
        // Each run has two chunks; the one that is held is due first.
        shop.okaeri("send strict --slot one --quiet").await.exits(5);
        shop.okaeri("send lenient --slot one --quiet").await.exits(5);
        let shop = shop.smtp(&catcher.url());
        let work = shop.start("work --quiet");
        let db = shop.database().await;
        let strict = async || -> (String, String) {
            db.fetch_one("SELECT run_id, state FROM run WHERE campaign = 'strict'", args![]).await.unwrap()
        };
        let answered = async || -> i64 {
            let sql = "SELECT COUNT(*) FROM delivery d JOIN run r ON r.run_id = d.run_id \
                       WHERE r.campaign = 'strict' AND d.state IN ('accepted', 'failed')";
            db.fetch_one::<(i64,)>(sql, args![]).await.unwrap().0
        };
        while strict().await.1 != "paused" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let first = answered().await;
        shop.okaeri(&format!("queue resume {}", strict().await.0)).await.exits(0);
        let ended = work.end().await.exits(4);
        assert!(answered().await >= first + 100, "it went on until it was held again: {first}, {ended:?}");
        assert_eq!(strict().await.1, "paused");
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_refusals_in_a_row_stop_everything_until_they_are_mended() {
    each_database(|url| async move {
        let names: Vec<String> = (0..60).map(|i| format!("p{i}")).collect();
        let blocked = Answer::reply(550, "5.7.26", "Mail from example.com is not authenticated");
        let behaviour = names.iter().fold(ByRecipient::new(), |b, name| b.times(name, Stage::Rcpt, 1, blocked.clone()));
        let catcher = catcher(Arc::new(behaviour)).await;
        let shop = shop_of(&url, &catcher.url(), &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let told = shop.json("send hello --slot one", 4).await;
        let why = told["delivery"]["reason"].as_str().unwrap();
        assert!(why.contains("mails in a row (other) were refused because of us; the last: 550 5.7.26"), "{why}");
        let failed = told["delivery"]["totals"]["failed"].as_u64().unwrap();
        assert!((10..=16).contains(&failed), "{failed} were refused before it stopped");
        assert_eq!(told["delivery"]["totals"]["accepted"], 0);
        shop.okaeri("send hello --slot one").await.exits(4);
        // The rest is blocked once as well; mended means here that each was asked once.
        let run = run_id(&shop).await;
        let mut stops = 0;
        loop {
            shop.okaeri(&format!("queue resume {run}")).await.exits(0);
            match shop.okaeri("work").await.code() {
                4 => stops += 1,
                0 => break,
                code => panic!("{code}"),
            }
        }
        assert!((3..=5).contains(&stops), "{stops}");
        shop.okaeri(&format!("queue retry --run {run} --evidence dkim --by kay")).await.exits(0);
        shop.okaeri("work").await.exits(0);
        assert_eq!(catcher.mails().len(), 60);
        assert_eq!(states(&shop.database().await).await, [("accepted".to_owned(), 60)]);
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_counts_the_answers_of_all_workers() {
    const PEOPLE: usize = 400;
    each_database(|url| async move {
        let catcher = by_recipient().await;
        let shop = Scenario::new(&url).smtp(&deserted()).campaign("hello", "");
        let shop = with_dead_mailboxes(shop, PEOPLE).await;
        shop.okaeri("send hello --slot one --quiet").await.exits(5);
        let shop = shop.smtp(&catcher.url());
        let (a, b) = tokio::join!(shop.okaeri("work"), shop.okaeri("work"));
        // The other finds a run that is held; on SQLite it may have waited for the first in vain.
        let codes = BTreeSet::from([a.code(), b.code()]);
        assert!(codes.contains(&4) && codes.is_subset(&[4, 75].into()), "{a:?} {b:?}");
        shop.okaeri("work").await.exits(4);
        let status = shop.json("queue status", 0).await;
        assert_eq!(status["runs"][0]["state"], "paused", "{status}");
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exit_code_is_what_the_table_says() {
    each_database(|url| async move {
        let options = CatcherOptions {
            auth: Some(("shop".into(), "right".into())),
            behaviour: Arc::new(ByRecipient::standard()),
            ..CatcherOptions::default()
        };
        let strict = Catcher::start(options).await.unwrap();
        let open = by_recipient().await;
        let shop = shop_of(&url, &open.url(), &["mia", "full"]).await;
        shop.okaeri("queue status").await.exits(0);
        shop.okaeri("send nothing").await.exits(2);
        shop.okaeri("queue list --state sent").await.exits(2);
        shop.okaeri("send hello --slot remains").await.exits(75);
        // Output that cannot be written is nobody's mistake that we know of.
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_okaeri"));
        command.args(["queue", "status"]).current_dir(shop.path("")).stdout(full);
        let environment = [("DATABASE_URL", url.as_str()), ("OKAERI_SECRET", "a secret of the scenario, long enough")];
        assert_eq!(command.envs(environment).output().unwrap().status.code(), Some(1));
        let shop = shop.smtp(&deserted());
        shop.okaeri("send hello --slot away").await.exits(5);
        let elsewhere = Scenario::new(&deserted().replace("smtp", "postgres")).campaign("hello", "");
        elsewhere.okaeri("queue status").await.exits(5);
        // The login is refused: at once, and until somebody has looked.
        let shop = shop.smtp(&strict.url().replace("right", "wrong"));
        let refused = shop.json("send hello --slot login", 4).await;
        assert!(refused["delivery"]["reason"].as_str().unwrap().contains("refused our login"), "{refused}");
        shop.okaeri("send hello --slot login").await.exits(4);
        let shop = shop.smtp(&open.url());
        shop.write("doubt.csv", "customer_id,email,consent\ndrop,drop@example.com,offers\n");
        shop.okaeri("import customers doubt.csv --quiet").await.exits(0);
        shop.okaeri("send hello --slot doubt").await.exits(3);
        shop.database().await.execute("UPDATE run SET audience = audience + 1", args![]).await.unwrap();
        shop.okaeri("queue verify").await.exits(2);
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
        shop.okaeri("why nobody@example.com").await.exits(2);
        shop.okaeri("why nobody").await.exits(2);
    })
    .await;
}
