//! What only a person can decide: to try again what was refused, to settle a doubt.

use std::sync::Arc;

use okaeri::args;
use okaeri::catcher::{Answer, ByRecipient, Stage};
use serde_json::json;

use super::{message_of, run_id, shop_of};
use crate::ground::each_database;
use crate::ground::mail::catcher;

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
        let shop = shop_of(&url, &catcher.url(), &["mia"]).await;
        shop.okaeri("send hello --slot zero").await.exits(0); // mail is taken today
        let more: String =
            ["ann", "bob", "eve", "una", "hard"].map(|n| format!("{n},{n}@example.com,offers\n")).concat();
        shop.write("more.csv", format!("customer_id,email,consent\n{more}"));
        shop.okaeri("import customers more.csv --quiet").await.exits(0);
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
        assert_eq!(mailed, ["ann@example.com", "mia@example.com", "mia@example.com"]);
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
        let nothing = shop.okaeri("queue retry").await.exits(2).stderr;
        assert!(nothing.contains("Usage: okaeri queue retry <ID|--run <RUN>>"), "{nothing}");
        shop.okaeri(&format!("queue retry {mia} --run {run} --by kay")).await.exits(2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_has_a_day_of_its_own_though_its_run_is_old() {
    each_database(|url| async move {
        let behaviour = ByRecipient::new().times("ann", Stage::Rcpt, 1, Answer::reply(550, "5.7.1", "Blocked"));
        let catcher = catcher(Arc::new(behaviour)).await;
        let shop = shop_of(&url, &catcher.url(), &["ann"]).await;
        shop.okaeri("send hello --slot one").await.exits(4);
        shop.database().await.execute("UPDATE run SET expires_at = 1", args![]).await.unwrap();
        let (_, id) = message_of(&shop, "ann").await;
        shop.okaeri(&format!("queue retry {id} --by kay")).await.exits(0);
        shop.okaeri(&format!("queue resume {}", run_id(&shop).await)).await.exits(0);
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
