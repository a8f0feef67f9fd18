//! The whole way through the binary, on both databases: data in, verdicts, mail out, an unsubscribe, a report; and how every verb ends.
//!
//! Nothing here reaches into the library but to look at the database; what a verb promises, it promises on stdout and by its exit code.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::Arc;

use okaeri::args;
use okaeri::catcher::{ByRecipient, Catcher, CatcherOptions};
use okaeri::clock::{self, DAY};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

/// People whom no guard but the limit and the holdouts can stop.
const ORDINARY: usize = 40;
/// How many of the audience pass the limit of one run.
const PER_RUN: i64 = 30;

fn rfc3339(days_ago: i64) -> String {
    clock::rfc3339(clock::now() - days_ago * DAY, &jiff::tz::TimeZone::UTC)
}

/// One order each, so that they belong to the segment `shoppers`.
fn orders(people: &[&str]) -> String {
    let mut csv = "order_id,customer_id,ordered_at,total,currency,status\n".to_owned();
    for id in people {
        csv.push_str(&format!("o-{id},{id},{},25.00,EUR,paid\n", rfc3339(90)));
    }
    csv
}

/// A shop whose second batch of people meets every guard there is.
fn shop(database_url: &str, smtp_url: &str) -> Scenario {
    let goal =
        "experiment: { split: { holdout: 20%, a: 80% }, goal: { did: order.placed, within: 14d, value: total } }";
    Scenario::new(database_url)
        .smtp(smtp_url)
        .settings(
            "guards:\n  frequency_cap: { messages: 2, in_last: 7d }\n  service_freeze: { open_tickets: true, rating_at_most: 2, for: 14d }\n\
             holdout: { global: 10% }\n",
        )
        .segment("shoppers", "{ customer: orders, gte: 1 }")
        .segment("regulars", "{ customer: group, eq: regular }")
        .campaign("news", "topic: news\naudience: { in_segment: regulars }")
        .campaign("spring", &format!("audience: {{ in_segment: shoppers }}\nonce_per: 30d\nlimits: {{ per_run: {PER_RUN} }}\n{goal}"))
        .campaign("summer", "audience: { in_segment: shoppers }")
}

/// Customers, orders and tickets: everyone with the name of the guard they meet, and forty whom none stops.
fn write_everyone(shop: &Scenario) {
    let ordinary: Vec<String> = (1..=ORDINARY).map(|i| format!("p{i:02}")).collect();
    let mut people = vec![
        "already", "capped", "gone", "nowhere", "garbled", "twin-a", "twin-b", "silent", "waiting", "angry", "erased",
    ];
    people.extend(ordinary.iter().map(String::as_str));
    let mut csv = "customer_id,email,first_name,locale,consent,group\n".to_owned();
    for id in &people {
        let email = match *id {
            "nowhere" => String::new(),
            "garbled" => "not an address".to_owned(),
            "twin-a" | "twin-b" => "Twins@example.com".to_owned(),
            id => format!("{id}@example.com"),
        };
        let consent = if *id == "silent" { "news" } else { "offers;news" };
        let group = if *id == "capped" { "regular" } else { "" };
        let (name, locale) = if *id == "p01" { ("美佳", "ja") } else { ("Mia", "en") };
        csv.push_str(&format!("{id},{email},{name},{locale},{consent},{group}\n"));
    }
    people.push("browser"); // known and without an order: outside the audience
    csv.push_str("browser,browser@example.com,Bo,en,offers,\n");
    shop.write("customers.csv", csv);
    shop.write("orders.csv", orders(&people[..people.len() - 1]));
    shop.write(
        "events.jsonl",
        format!(
            "{{\"event_id\":\"t1\",\"customer_id\":\"waiting\",\"name\":\"ticket.opened\",\"at\":\"{}\"}}\n\
             {{\"event_id\":\"t2\",\"customer_id\":\"angry\",\"name\":\"ticket.closed\",\"at\":\"{}\",\"properties\":{{\"rating\":1}}}}\n",
            rfc3339(2),
            rfc3339(3)
        ),
    );
}

/// People by verdict and reason, as `plan` and `send` print them; `send` has no reason.
fn verdicts(json: &Value) -> BTreeMap<String, i64> {
    let mut all = BTreeMap::from([("send".to_owned(), json["send"].as_i64().unwrap())]);
    for verdict in ["withheld", "skip"] {
        for (reason, people) in json[verdict].as_object().unwrap() {
            all.insert(reason.clone(), people.as_i64().unwrap());
        }
    }
    assert_eq!(all.values().sum::<i64>(), json["audience"].as_i64().unwrap(), "everyone has one verdict: {json}");
    all
}

/// Addresses of the mails that carry this campaign's header, each as often as it was mailed.
fn mailed(catcher: &Catcher, campaign: &str) -> Vec<String> {
    let mark = format!("Feedback-ID: {campaign}:");
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().any(|l| l.starts_with(&mark));
    let mut all: Vec<String> =
        catcher.mails().iter().filter(|m| of(&m.bytes)).map(|m| m.envelope_to[0].clone()).collect();
    all.sort();
    all
}

/// The header of a mail, unfolded.
fn header(bytes: &[u8], name: &str) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n ", " ");
    let line =
        text.lines().find_map(|l| l.strip_prefix(&format!("{name}: "))).unwrap_or_else(|| panic!("{name}: {text}"));
    line.to_owned()
}

async fn post(address: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn from_history_to_mail_to_unsubscribe_to_report() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = shop(&url, &catcher.url());
        earlier_mail(&shop).await;
        import_everyone(&shop).await;
        who_is_who(&shop).await;
        let planned = everyone_gets_one_verdict(&shop).await;
        the_campaign_is_sent_once(&shop, &catcher, &planned).await;
        let stopped = someone_unsubscribes(&shop, &catcher).await;
        the_next_campaign_passes_them_over(&shop, &catcher, &stopped).await;
        the_report_adds_up(&shop, &planned).await;
    })
    .await;
}

/// What happened before: `capped` had two promotional mails this week, `already` had this campaign.
async fn earlier_mail(shop: &Scenario) {
    shop.write(
        "first.csv",
        "customer_id,email,consent,group\nalready,already@example.com,offers;news,\ncapped,capped@example.com,offers;news,regular\n",
    );
    shop.write("first-orders.csv", orders(&["already", "capped"]));
    shop.json("import customers first.csv", 0).await;
    shop.json("import orders first-orders.csv", 0).await;
    shop.json("profile", 0).await;
    for slot in ["first", "second"] {
        let sent = shop.json(&format!("send news --slot {slot}"), 0).await;
        assert_eq!(sent["delivery"]["totals"]["accepted"], 1, "{sent}");
    }
    let sent = shop.json("send spring --slot before", 0).await;
    assert_eq!(verdicts(&sent["verdicts"]), BTreeMap::from([("send".into(), 1), ("frequency_cap".into(), 1)]));
}

async fn import_everyone(shop: &Scenario) {
    write_everyone(shop);
    let imported = shop.json("import customers customers.csv", 0).await;
    assert_eq!(imported["imports"][0]["rejected"], 0, "{imported}");
    assert_eq!(imported["imports"][0]["warnings"], 1, "the garbled address is told: {imported}");
    shop.json("import orders orders.csv", 0).await;
    shop.json("import events events.jsonl", 0).await;
    let again = shop.json("import events events.jsonl", 0).await;
    assert_eq!(again["imports"][0]["changed"], 0, "the same file twice changes nothing: {again}");
    shop.json("suppress gone@example.com", 0).await;
    shop.database()
        .await
        .execute("UPDATE customer SET erased_at = 1 WHERE customer_id = 'erased'", args![])
        .await
        .unwrap();
    shop.json("profile", 0).await;
}

async fn who_is_who(shop: &Scenario) {
    let list = shop.json("segment list", 0).await;
    let people = |name: &str| {
        let all = list["segments"].as_array().unwrap();
        all.iter().find(|s| s["segment"] == name).unwrap_or_else(|| panic!("{list}"))["people"].as_i64().unwrap()
    };
    assert_eq!((people("shoppers"), people("regulars")), (11 + ORDINARY as i64, 1));
    let proof = shop.json("segment explain shoppers --customer p01", 0).await;
    assert_eq!(proof["member"], true, "{proof}");
    let proof = shop.json("segment explain shoppers --customer browser", 0).await;
    assert_eq!(proof["member"], false, "{proof}");
    shop.json("segment show shoppers", 0).await;
    shop.json("check", 0).await;
    shop.json("campaign list", 0).await;
    shop.json("preview spring", 0).await;
}

async fn everyone_gets_one_verdict(shop: &Scenario) -> BTreeMap<String, i64> {
    let plan = shop.json("plan spring", 0).await;
    let planned = verdicts(&plan["verdicts"]);
    let count = |reason: &str| planned.get(reason).copied().unwrap_or(0);
    assert_eq!(plan["verdicts"]["audience"], 11 + ORDINARY as i64);
    for (reason, people) in [
        ("erased", 1),
        ("suppressed", 1),
        ("invalid_address", 2),
        ("duplicate_address", 1),
        ("already_received", 1),
        ("no_consent", 1),
        ("service_freeze", 2),
        ("frequency_cap", 1),
        ("limit", ORDINARY as i64 + 1 - PER_RUN), // the forty and one of the twins
    ] {
        assert_eq!(count(reason), people, "{reason}: {planned:?}");
    }
    assert!(count("holdout_global") > 0 && count("holdout") > 0 && count("send") > 0, "{planned:?}");
    assert_eq!(count("send") + count("holdout_global") + count("holdout"), PER_RUN, "{planned:?}");
    assert_eq!(planned.len(), 12, "no other reason: {planned:?}");
    planned
}

async fn the_campaign_is_sent_once(shop: &Scenario, catcher: &Catcher, planned: &BTreeMap<String, i64>) {
    let before = catcher.mails().len();
    let sent = shop.json("send spring --slot now", 0).await;
    assert_eq!(&verdicts(&sent["verdicts"]), planned, "what was planned is what is sent");
    assert_eq!(sent["delivery"]["totals"]["accepted"], planned["send"]);
    assert_eq!((catcher.mails().len() - before) as i64, planned["send"]);
    shop.json("queue verify", 0).await;
    let status = shop.json("queue status", 0).await;
    let run =
        &status["runs"].as_array().unwrap().iter().find(|r| r["slot"] == "now").unwrap_or_else(|| panic!("{status}"));
    assert_eq!(run["state"], "drained");
    let listed = shop.json("queue list --campaign spring --state accepted", 0).await;
    assert_eq!(
        listed["messages"].as_array().unwrap().len() as i64,
        planned["send"] + 1,
        "and the one of the slot before"
    );

    let again = shop.json("send spring --slot now", 0).await;
    assert_eq!((&again["delivery"], &again["verdicts"]), (&Value::Null, &Value::Null), "the slot is done: {again}");
    // The next slot reaches those whom the limit left out, the one after nobody.
    let rest = shop.json("send spring --slot next", 0).await;
    let rest = verdicts(&rest["verdicts"]);
    assert_eq!(rest["already_received"], PER_RUN + 1, "{rest:?}");
    assert!(!rest.contains_key("limit"), "{rest:?}");
    let nobody = shop.json("send spring --slot after-that", 0).await;
    assert_eq!(verdicts(&nobody["verdicts"])["send"], 0, "{nobody}");
    let all = mailed(catcher, "spring");
    assert_eq!(all.len() as i64, planned["send"] + rest["send"] + 1);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "nobody twice: {all:?}");
    for never in ["gone", "silent", "waiting", "angry", "erased", "browser", "capped"] {
        assert!(!all.iter().any(|a| a.starts_with(never)), "{never}");
    }
    let mails = catcher.mails();
    assert!(mails.iter().all(|m| m.defects.is_empty()), "{:?}", mails.iter().find(|m| !m.defects.is_empty()));
    assert!(catcher.complaints().is_empty(), "{:?}", catcher.complaints());
}

/// One click on the link of a mail; the address of the one who clicked.
async fn someone_unsubscribes(shop: &Scenario, catcher: &Catcher) -> String {
    let mail = catcher.mails().into_iter().rev().find(|m| m.envelope_to[0].starts_with('p')).unwrap();
    assert_eq!(header(&mail.bytes, "List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    let link = header(&mail.bytes, "List-Unsubscribe");
    let path = link
        .strip_prefix("<https://mail.example.com")
        .and_then(|l| l.split_once('>'))
        .unwrap_or_else(|| panic!("{link}"))
        .0;
    let mut server = shop.start("serve --listen 127.0.0.1:0");
    let address = server.says("listening on http://").await;
    let answer = post(&address, path, "List-Unsubscribe=One-Click").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let forged = post(&address, &format!("{path}x"), "List-Unsubscribe=One-Click").await;
    assert!(forged.starts_with("HTTP/1.1 4"), "{forged}");
    server.signal("TERM").await;
    server.end().await.exits(0);
    mail.envelope_to[0].clone()
}

async fn the_next_campaign_passes_them_over(shop: &Scenario, catcher: &Catcher, stopped: &str) {
    // The nightly export still says that they agreed.
    let again = shop.json("import customers customers.csv", 0).await;
    assert_eq!(again["imports"][0]["consents_changed"], 0, "{again}");
    let sent = shop.json("send summer --slot one", 0).await;
    let got = verdicts(&sent["verdicts"]);
    assert_eq!(got["suppressed"], 2, "{got:?}");
    let mailed = mailed(catcher, "summer");
    assert_eq!(mailed.len() as i64, got["send"]);
    assert!(!mailed.is_empty() && !mailed.iter().any(|a| a == stopped), "{stopped} among {mailed:?}");
    shop.json("queue verify", 0).await;
}

async fn the_report_adds_up(shop: &Scenario, planned: &BTreeMap<String, i64>) {
    let report = shop.json("report spring --slot now", 0).await;
    let sum =
        |list: &str, of: &str| report[list].as_array().unwrap().iter().map(|v| v[of].as_i64().unwrap()).sum::<i64>();
    assert_eq!(sum("verdicts", "people"), report["audience"].as_i64().unwrap(), "{report}");
    assert_eq!(sum("states", "messages"), PER_RUN, "{report}");
    assert_eq!(report["came_back"]["delivered"], planned["send"]);
    let all = shop.json("report spring", 0).await;
    assert_eq!(all["came_back"]["unsubscribed"], 1, "{all}");
    assert_eq!(all["runs"].as_array().unwrap().len(), 4);
}

/// An address on this machine where nothing listens.
fn deserted_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("a.db").display());
    let shop = Scenario::new(&url).smtp("smtp://127.0.0.1:1").campaign("hello", "").campaign("asleep", "status: draft");
    for (line, says) in [
        ("nonsense", "unrecognized subcommand"),
        ("send helo", "did you mean `hello`?"),
        ("send asleep", "it sends nothing"),
        ("plan hello --at yesterday", "not an instant"),
        ("queue list --state sent", "is not a state"),
        ("queue resume hello-1", "there is no run"),
        ("import cats cats.csv", "is not a kind of data"),
        ("import customers missing.csv", "missing.csv"),
        ("suppress nobody", "the address `nobody`"),
        ("report hello", "no run of `hello`"),
        ("segment explain nobody --customer 1", "nobody"),
        ("check --project elsewhere", "okaeri init"),
    ] {
        let ran = shop.okaeri(line).await.exits(2);
        assert!(ran.stderr.contains(says), "okaeri {line}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "okaeri {line}");
    }
    // A moved clock plans and never sends to a real server.
    let real = shop.smtp("smtps://mail.example.com");
    for line in ["send hello --at 2026-01-01", "work --at 2026-01-01"] {
        let ran = real.okaeri(line).await.exits(2);
        assert!(ran.stderr.contains("mail.example.com"), "{}", ran.stderr);
    }
    real.json("plan hello --at 2026-01-01", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_is_not_there_ends_with_5() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let nowhere = format!("sqlite:{}", folder.path().join("file/a.db").display());
    let no_server = format!("postgres://okaeri:secret@127.0.0.1:{}/shop", deserted_port());
    for url in [nowhere, no_server] {
        let ran =
            Scenario::new(&url).smtp("smtp://127.0.0.1:1").campaign("hello", "").okaeri("plan hello").await.exits(5);
        assert!(ran.stderr.contains("cannot open the database") && !ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    let url = format!("sqlite:{}", folder.path().join("a.db").display());
    let shop = Scenario::new(&url).smtp(&format!("smtp://127.0.0.1:{}", deserted_port())).campaign("hello", "");
    let shop = shop.with_people(3).await;
    let ran = shop.okaeri("send hello --slot one").await.exits(5);
    assert!(ran.stderr.contains("mail server cannot be reached"), "{}", ran.stderr);
    // Nothing is lost: with a server it goes on where it stood.
    let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
    let shop = shop.smtp(&catcher.url());
    shop.json("work", 0).await;
    assert_eq!(catcher.mails().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_refuse_doubt_or_delay_end_with_4_3_and_75() {
    each_database(|url| async move {
        let options = CatcherOptions {
            auth: Some(("shop".into(), "right".into())),
            behaviour: Arc::new(ByRecipient::standard()),
            ..CatcherOptions::default()
        };
        let catcher = Catcher::start(options).await.unwrap();
        let shop = Scenario::new(&url).smtp(&catcher.url().replace("right", "wrong")).campaign("hello", "");
        let people = ["mia", "greylist", "hard"].map(|id| format!("{id},{id}@example.com,offers\n")).concat();
        shop.write("people.csv", format!("customer_id,email,consent\n{people}"));
        shop.json("import customers people.csv", 0).await;
        let refused = shop.json("send hello --slot one", 4).await;
        assert_eq!(refused["delivery"]["ended"], "paused", "{refused}");
        let run = refused["run"]["run_id"].as_str().unwrap();
        assert_eq!(catcher.mails().len(), 0);

        let shop = shop.smtp(&catcher.url());
        let held = shop.json("work", 4).await;
        assert_eq!(held["totals"]["accepted"], 0, "a paused run waits for an operator: {held}");
        shop.json(&format!("queue resume {run}"), 0).await;
        let later = shop.json("work", 75).await;
        assert_eq!((&later["totals"]["accepted"], &later["totals"]["deferred"]), (&1.into(), &1.into()), "{later}");
        assert_eq!(later["totals"]["failed"], 1, "{later}");
        let db = shop.database().await;
        db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
        db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'deferred'", args![]).await.unwrap();
        shop.json("work", 0).await;
        assert_eq!(catcher.mails().len(), 2);

        shop.write("doubt.csv", "customer_id,email,consent\ndrop,drop@example.com,offers\n");
        shop.json("import customers doubt.csv", 0).await;
        let doubt = shop.json("send hello --slot two", 3).await;
        assert_eq!(doubt["delivery"]["totals"]["unknown"], 1, "{doubt}");
        let named = shop.json("queue list --state unknown", 0).await;
        assert_eq!(named["messages"][0]["customer_id"], "drop", "{named}");
        shop.json("queue verify", 0).await;
        shop.json("work", 0).await; // asked again, it is not sent again
    })
    .await;
}
