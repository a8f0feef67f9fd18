//! Rewards: every code issued at most once, every mail shows its own, and what never left comes back.
//!
//! What a mail showed is read from the mail server's own store or log, never from the ledger alone.

mod files;
mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, Catcher, CatcherOptions, Caught, Moment, Stage};
use okaeri::db::Db;
use serde_json::Value;

use crate::crash::enlisted;
use crate::ground::each_database;
use crate::ground::scenario::Scenario;

const TEXT: &str = "\
Take this: {{ reward.title }} {% if reward.code %}code={{ reward.code }};{% endif %}{% if reward.expires_on %}until={{ reward.expires_on }};{% endif %}

{{ links.unsubscribe }}
{{ brand.organisation }}, {{ brand.postal_address }}
";

/// A shop whose campaign `hello` gives what `reward` says.
pub fn giving(url: &str, pools: &str, reward: &str, more: &str) -> Scenario {
    let shop = Scenario::new(url).settings(&format!("rewards:\n{pools}"));
    let steps = format!("steps: [{{ step: letter, template: hello/letter, reward: {reward} }}]\n{more}");
    let shop = shop.campaign("hello", "");
    let text = std::fs::read_to_string(shop.path("campaigns/hello.yaml")).unwrap();
    let rest: String = text.lines().filter(|l| !l.starts_with("steps:")).map(|l| format!("{l}\n")).collect();
    let keys: Vec<&str> = more.lines().filter_map(|l| l.split_once(':')).map(|(key, _)| key).collect();
    let rest: String = rest
        .lines()
        .filter(|l| !keys.iter().any(|key| l.starts_with(&format!("{key}:"))))
        .map(|l| format!("{l}\n"))
        .collect();
    shop.write("campaigns/hello.yaml", format!("{rest}{steps}\n"));
    shop.write("templates/hello/letter.txt", TEXT);
    shop
}

/// A file of so many codes.
pub fn codes(n: usize) -> String {
    let mut csv = "code\n".to_owned();
    (1..=n).for_each(|i| csv.push_str(&format!("KAZE-{i:06}\n")));
    csv
}

pub async fn brings_codes(shop: &Scenario, pool: &str, n: usize) {
    shop.write("codes.csv", codes(n));
    let imported = shop.json(&format!("reward import {pool} codes.csv"), 0).await;
    assert_eq!((&imported["added"], &imported["refused"]), (&n.into(), &0.into()), "{imported}");
}

/// The text part of a mail.
pub fn text_of(mail: &Caught) -> String {
    let parsed = mail_parser::MessageParser::default().parse(mail.bytes.as_slice()).unwrap();
    parsed.body_text(0).unwrap().into_owned()
}

/// Recipient → the code in the mail that the server stored.
pub fn shown(catcher: &Catcher) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    for mail in catcher.mails() {
        let text = text_of(&mail);
        let code = text.split("code=").nth(1).unwrap_or_else(|| panic!("no code in {text}")).split(';').next().unwrap();
        let before = shown.insert(mail.envelope_to[0].clone(), code.to_owned());
        assert!(before.is_none(), "{} got two", mail.envelope_to[0]);
    }
    shown
}

/// What the ledger says: code → recipient, of the codes that are out.
async fn issued(db: &Db) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> = db
        .fetch_all(
            "SELECT i.code, m.address FROM reward_issue i JOIN delivery d ON d.bucket = i.bucket AND d.chunk_id = i.chunk_id AND d.seq = i.seq \
             JOIN message m ON m.bucket = d.bucket AND m.customer_id = d.customer_id AND m.chunk_id = d.chunk_id AND m.seq = d.seq \
             WHERE i.returned_at IS NULL",
            args![],
        )
        .await
        .unwrap();
    let n = rows.len();
    let issued: BTreeMap<String, String> = rows.into_iter().collect();
    assert_eq!(issued.len(), n, "no code is out twice");
    issued
}

async fn pool(shop: &Scenario, name: &str) -> Value {
    let listed = shop.json("reward list", 0).await;
    let pools = listed["pools"].as_array().unwrap();
    pools.iter().find(|p| p["pool"] == name).unwrap_or_else(|| panic!("{listed}")).clone()
}

#[track_caller]
fn numbers(pool: &Value, expected: (i64, i64, i64, i64)) {
    let n = |key: &str| pool[key].as_i64().unwrap();
    assert_eq!(
        (n("left"), n("issued"), n("returned"), n("expired")),
        expected,
        "left, issued, returned, expired: {pool}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_a_code_of_their_own_and_the_ledger_knows_whose() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let pools = "  ten: { title: { default: Ten off, ja: 十引き }, value: 10, cost: 4, expires: 30d }\n";
        let more = "experiment: { split: { holdout: 30%, a: 70% } }";
        let shop = giving(&url, pools, "ten", more).smtp(&catcher.url()).with_people(60).await;
        brings_codes(&shop, "ten", 100).await;
        let plan = shop.json("plan hello", 0).await;
        let send = plan["verdicts"]["send"].as_i64().unwrap();
        assert!(send > 20 && send < 60, "some are held out: {plan}");
        let expected = serde_json::json!([{ "pool": "ten", "needed": send, "left": 100, "cost": 400 * send }]);
        assert_eq!(plan["rewards"], expected, "{plan}");
        numbers(&pool(&shop, "ten").await, (100, 0, 0, 0)); // a plan takes nothing
        let told = shop.okaeri("plan hello").await.exits(0).stdout;
        assert!(told.contains("reward ten") && told.contains("of 100, "), "{told}");

        shop.json("send hello --slot one", 0).await;
        shop.json("send hello --slot one", 0).await;
        let shown = shown(&catcher);
        assert_eq!(shown.len() as i64, send);
        let distinct: BTreeSet<&String> = shown.values().collect();
        assert_eq!(distinct.len() as i64, send, "nobody shares a code");
        let db = shop.database().await;
        let issued = issued(&db).await;
        for (recipient, code) in &shown {
            assert_eq!(issued.get(code), Some(recipient), "{code}");
        }
        assert_eq!(issued.len(), shown.len(), "those held out get none");
        numbers(&pool(&shop, "ten").await, (100 - send, send, 0, 0));
        assert_eq!(pool(&shop, "ten").await["cost"], 400 * send);

        let csv = shop.okaeri("reward export ten").await.exits(0).stdout;
        let mut lines = csv.lines();
        assert_eq!(
            lines.next(),
            Some("pool,code,message_id,customer_id,campaign,step,slot,state,issued_at,expires_at")
        );
        let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
        assert_eq!(rows.len() as i64, send);
        for row in rows {
            assert_eq!(shown[&format!("{}@example.com", row[3])], row[1], "{row:?}");
            assert_eq!((row[0], row[4], row[5], row[6], row[7]), ("ten", "hello", "letter", "one", "accepted"));
        }
        shop.okaeri("reward export ten --output out.csv").await.exits(0);
        assert_eq!(std::fs::read_to_string(shop.path("out.csv")).unwrap(), csv);
        let verified = shop.json("queue verify", 0).await;
        assert_eq!(verified["findings"].as_array().map(Vec::len), Some(0), "{verified}");
        let report = shop.json("report hello", 0).await;
        assert_eq!(report["rewards"]["pools"][0]["issued"], send, "{report}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_codes_run_out_the_rest_is_skipped_or_nothing_leaves() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = giving(&url, "  ten: { title: Ten }\n", "ten", "").smtp(&catcher.url()).with_people(5).await;
        brings_codes(&shop, "ten", 3).await;
        let plan = shop.json("plan hello", 0).await;
        assert_eq!((&plan["verdicts"]["send"], &plan["rewards_missing"]), (&3.into(), &2.into()), "{plan}");
        let sent = shop.json("send hello --slot one", 0).await;
        assert_eq!(sent["verdicts"]["skip"], serde_json::json!({ "no_reward_left": 2 }), "{sent}");
        assert_eq!(shown(&catcher).len(), 3);

        // Now the run must not begin without enough of them.
        let stop = "{ pool: ten, when_none_left: stop }";
        let text = std::fs::read_to_string(shop.path("campaigns/hello.yaml")).unwrap();
        shop.write("campaigns/hello.yaml", text.replace("reward: ten", &format!("reward: {stop}")));
        shop.write("codes.csv", codes(7));
        let imported = shop.json("reward import ten codes.csv", 0).await;
        assert_eq!((&imported["added"], &imported["known"]), (&4.into(), &3.into()), "{imported}");
        let told = shop.okaeri("plan hello --slot two").await.exits(0).stdout;
        assert!(told.contains("rewards missing") && told.contains("the run would stop"), "{told}");
        let stopped = shop.okaeri("send hello --slot two").await.exits(2);
        assert!(
            stopped.stderr.contains("[no-reward-left]") && stopped.stderr.contains("reward import"),
            "{}",
            stopped.stderr
        );
        assert_eq!(catcher.counts().messages, 3, "nothing of it left");
        numbers(&pool(&shop, "ten").await, (4, 3, 0, 0)); // nothing of it was kept
        shop.write("codes.csv", codes(8));
        shop.json("reward import ten codes.csv", 0).await;
        let sent = shop.json("send hello --slot two", 0).await;
        assert_eq!(sent["verdicts"]["send"], 5, "{sent}");
        numbers(&pool(&shop, "ten").await, (0, 8, 0, 0));

        // Who is owed a letter gets it without.
        let service = text.replace("kind: promotional", "kind: service");
        shop.write("campaigns/hello.yaml", service);
        shop.okaeri("send hello --slot three").await.exits(2); // the template counts on a reward
        shop.write(
            "templates/hello/letter.txt",
            TEXT.replace("{{ reward.title }}", "{% if reward %}").replace("\n\n{{ links", "{% endif %}\n\n{{ links"),
        );
        let sent = shop.json("send hello --slot three", 0).await;
        assert_eq!(sent["verdicts"]["send"], 5, "{sent}");
        assert_eq!(catcher.counts().messages, 13);
        assert_eq!(catcher.mails().iter().filter(|m| text_of(m).contains("code=")).count(), 8);
    })
    .await;
}

/// What becomes of a message hangs on who it is for.
struct Moods;

impl Behaviour for Moods {
    fn answer(&self, m: &Moment<'_>) -> Answer {
        let to = m.transaction.to.first().map_or(m.argument, String::as_str);
        match (m.stage, to.split('@').next().unwrap_or_default()) {
            (Stage::EndOfData, "p00001") => Answer::store_then_reset(),
            (Stage::EndOfData, "p00002") => Answer::reply(452, "4.3.1", "Later"),
            (Stage::Rcpt, _) if m.argument.contains("p00003") => Answer::reply(452, "4.2.2", "Full"),
            (Stage::Rcpt, _) if m.argument.contains("p00004") => Answer::reply(550, "5.2.1", "Closed"),
            _ => Answer::agree(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_come_back_from_messages_of_which_nothing_left_and_from_no_others() {
    each_database(|url| async move {
        let options = CatcherOptions { behaviour: Arc::new(Moods), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let calm = "stop_above: { hard_bounce: 100%, policy: 100%, failed: 100% }";
        let shop = giving(&url, "  ten: { title: Ten }\n", "ten", calm).with_people(8).await;
        brings_codes(&shop, "ten", 8).await;

        // Cancelled before anything left: all are back, and go to others.
        let shop = enlisted(shop).await;
        numbers(&pool(&shop, "ten").await, (0, 8, 0, 0));
        let db = shop.database().await;
        let first = issued(&db).await;
        let (run,): (String,) = db.fetch_one("SELECT run_id FROM run", args![]).await.unwrap();
        shop.okaeri(&format!("queue cancel {run}")).await.exits(0);
        numbers(&pool(&shop, "ten").await, (8, 0, 8, 0));
        assert!(issued(&db).await.is_empty());

        // A saved plan that is dropped gives all of them back; of one that is sent, whoever was suppressed meanwhile does.
        let saved = shop.json("plan hello --save --slot two", 0).await;
        let plan = saved["run"]["run_id"]
            .as_str()
            .or(saved["run_id"].as_str())
            .unwrap_or_else(|| panic!("{saved}"))
            .to_owned();
        assert_eq!(issued(&db).await.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>(), "the same codes");
        shop.okaeri(&format!("queue cancel {plan}")).await.exits(0);
        numbers(&pool(&shop, "ten").await, (8, 0, 16, 0));
        let saved = shop.json("plan hello --save --slot three", 0).await;
        let plan = saved["run"]["run_id"].as_str().or(saved["run_id"].as_str()).unwrap().to_owned();
        shop.okaeri("suppress p00005@example.com").await.exits(0);
        let shop = shop.smtp(&catcher.url());
        let sent = shop.okaeri(&format!("send --plan {plan}")).await;
        assert!(matches!(sent.code(), 3 | 75), "{sent:?}");
        let states: BTreeMap<String, String> = db
            .fetch_all::<(String, String)>(
                "SELECT d.customer_id, d.state FROM delivery d WHERE d.run_id = $1",
                args![&plan],
            )
            .await
            .unwrap()
            .into_iter()
            .collect();
        let expected = [
            ("p00001", "unknown"),
            ("p00002", "deferred"),
            ("p00003", "deferred"),
            ("p00004", "failed"),
            ("p00005", "suppressed"),
        ];
        for (who, state) in expected {
            assert_eq!(states[who], state, "{who}: {states:?}");
        }
        numbers(&pool(&shop, "ten").await, (1, 7, 17, 0)); // of the one suppressed
        shop.okaeri(&format!("queue cancel {plan}")).await.exits(0);
        // The third one's mailbox was full before any content was let go; the second one's server has seen it.
        numbers(&pool(&shop, "ten").await, (2, 6, 18, 0));
        let still: BTreeSet<String> = issued(&db).await.into_values().map(|a| a[..6].to_owned()).collect();
        let expected = ["p00001", "p00002", "p00004", "p00006", "p00007", "p00008"];
        assert_eq!(still, expected.map(str::to_owned).into());
        let exported = shop.json("reward export ten", 0).await;
        assert_eq!(exported["issued"].as_array().unwrap().len(), 6, "{exported}");
        assert!(exported["issued"].as_array().unwrap().iter().any(|e| e["state"] == "unknown"), "{exported}");

        // Who had one keeps it, and two are given to others; p00004's mailbox is shut down (5.2.1), so nothing goes there again.
        let before = issued(&db).await;
        let again = shop.okaeri("send hello --slot four --format json").await;
        assert!(matches!(again.code(), 0 | 3 | 75), "{again:?}");
        assert_eq!(
            again.json()["verdicts"]["skip"],
            serde_json::json!({ "no_reward_left": 4, "suppressed": 2 }),
            "{again:?}"
        );
        let after = issued(&db).await;
        assert!(before.iter().all(|(code, who)| after.get(code) == Some(who)), "{before:?}\n{after:?}");
        shop.json("queue verify", 0).await;
    })
    .await;
}

/// Refuses each recipient's first content, and remembers how large every content was.
#[derive(Default)]
struct LaterOnce(std::sync::Mutex<BTreeMap<String, Vec<u64>>>);

impl Behaviour for LaterOnce {
    fn answer(&self, m: &Moment<'_>) -> Answer {
        if m.stage != Stage::EndOfData {
            return Answer::agree();
        }
        let mut seen = self.0.lock().unwrap();
        let sizes = seen.entry(m.argument.to_owned()).or_default();
        sizes.push(m.transaction.content_bytes);
        if sizes.len() == 1 { Answer::reply(451, "4.7.1", "Greylisted") } else { Answer::agree() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_tried_again_keeps_its_code() {
    each_database(|url| async move {
        let behaviour = Arc::new(LaterOnce::default());
        let options = CatcherOptions { behaviour: behaviour.clone(), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let calm = "stop_above: { hard_bounce: 100%, policy: 100%, failed: 100% }";
        let shop = giving(&url, "  ten: { title: Ten }\n", "ten", calm).smtp(&catcher.url()).with_people(4).await;
        brings_codes(&shop, "ten", 9).await;
        shop.okaeri("send hello").await.exits(75);
        assert_eq!(catcher.counts().messages, 0, "nobody has anything yet");
        let db = shop.database().await;
        let taken = issued(&db).await;
        assert_eq!(taken.len(), 4);
        db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
        db.execute("UPDATE delivery SET due_at = 0 WHERE state = 'deferred'", args![]).await.unwrap();
        shop.okaeri("work").await.exits(0);
        let shown: BTreeMap<String, String> = shown(&catcher).into_iter().map(|(who, code)| (code, who)).collect();
        assert_eq!(shown, taken, "the second try shows what the first one took");
        assert_eq!(issued(&db).await, taken);
        let sizes = behaviour.0.lock().unwrap().clone();
        assert!(sizes.len() == 4 && sizes.values().all(|tries| tries.len() == 2 && tries[0] == tries[1]), "{sizes:?}");
        numbers(&pool(&shop, "ten").await, (5, 4, 0, 0));
        shop.json("queue verify", 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_expires_untried_gives_its_code_back() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = giving(&url, "  ten: { title: Ten }\n", "ten", "").with_people(2).await;
        brings_codes(&shop, "ten", 2).await;
        let shop = enlisted(shop).await.smtp(&catcher.url());
        let db = shop.database().await;
        db.execute("UPDATE run SET expires_at = 1", args![]).await.unwrap();
        shop.okaeri("work").await.exits(0);
        assert_eq!(catcher.counts().messages, 0);
        numbers(&pool(&shop, "ten").await, (2, 0, 2, 0));
        let (state,): (String,) = db.fetch_one("SELECT MIN(state) FROM delivery", args![]).await.unwrap();
        assert_eq!(state, "expired");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_step_gives_each_a_code_and_passes_over_whom_there_is_none_for() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = giving(&url, "  ten: { title: Ten }\n", "ten", "").smtp(&catcher.url()).with_people(5).await;
        brings_codes(&shop, "ten", 3).await;
        let head = "campaign: hello\nstatus: live\ntopic: offers\naudience: everyone\nschedule: { enter: when_matching, catch_up: 2d }\n";
        let steps = "steps:\n  - { step: hello, template: plain/letter }\n  - { step: gift, after: 1d, template: hello/letter, reward: ten }\n";
        shop.write("campaigns/hello.yaml", format!("{head}{steps}"));
        let shop = shop.campaign("plain", "status: draft");
        shop.okaeri("run --quiet --at 2026-11-24T10:00").await.exits(0);
        numbers(&pool(&shop, "ten").await, (3, 0, 0, 0)); // not before the step is due
        shop.okaeri("run --quiet --at 2026-11-25T11:00").await.exits(0);
        shop.okaeri("run --quiet --at 2026-11-25T12:00").await.exits(0);
        numbers(&pool(&shop, "ten").await, (0, 3, 0, 0));
        let db = shop.database().await;
        let passes: Vec<(String, String)> = db.fetch_all("SELECT step, reason FROM step_pass", args![]).await.unwrap();
        assert_eq!(passes, vec![("gift".to_owned(), "no_reward_left".to_owned()); 2]);
        let issued = issued(&db).await;
        let gifts: BTreeMap<String, String> = catcher
            .mails()
            .iter()
            .map(|m| (m.envelope_to[0].clone(), text_of(m)))
            .filter(|(_, text)| text.contains("code="))
            .collect();
        assert_eq!(gifts.len(), 3);
        for (code, address) in issued {
            assert!(gifts[&address].contains(&format!("code={code};")), "{code}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rewards_are_chosen_by_taste_made_by_pattern_and_end_in_time() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let pools = "  tea: { kind: gift, title: A box of tea, categories: [tea], at_most: 1 }\n  \
                     record: { kind: gift, title: A record, categories: [music], cost: 3 }\n  \
                     made: { title: Made, codes: { pattern: \"BACK-####-####\" }, expires: 10d, at_most: 4 }\n  \
                     over: { title: Over, expires: 2026-01-31, codes: { pattern: \"OVER-########\" } }\n";
        let choice = "{ pools: [record, tea], choose_by: affinity }";
        let shop = giving(&url, pools, choice, "").smtp(&catcher.url()).with_people(4).await;
        shop.write("products.csv", "sku,name,category\nt1,Tea,tea\nm1,Song,music\n");
        shop.write("orders.csv", "order_id,customer_id,ordered_at,total\na,p00001,2026-01-02,9\nb,p00002,2026-01-02,9\nc,p00003,2026-01-02,9\n");
        shop.write("lines.csv", "order_id,sku,quantity,amount\na,t1,1,9\nb,m1,1,9\nc,t1,1,9\n");
        for kind in ["products", "orders", "lines"] {
            shop.okaeri(&format!("import {kind} {kind}.csv --quiet")).await.exits(0);
        }
        shop.okaeri("profile --quiet").await.exits(0);
        shop.json("send hello --slot one", 0).await;
        let titles: BTreeMap<String, &str> = catcher
            .mails()
            .iter()
            .map(|m| (m.envelope_to[0][..6].to_owned(), if text_of(m).contains("A box of tea") { "tea" } else { "record" }))
            .collect();
        // One of the two who like tea gets the only box; who has bought nothing gets what is listed first.
        assert_eq!((titles["p00002"], titles["p00004"]), ("record", "record"), "{titles:?}");
        let tea: Vec<&str> = ["p00001", "p00003"].into_iter().filter(|who| titles[*who] == "tea").collect();
        assert_eq!(tea.len(), 1, "{titles:?}");
        assert_eq!(pool(&shop, "tea").await["left"], 0);
        assert_eq!((&pool(&shop, "record").await["left"], &pool(&shop, "record").await["cost"]), (&Value::Null, &900.into()));

        let gives = |what: &str| {
            let text = std::fs::read_to_string(shop.path("campaigns/hello.yaml")).unwrap();
            let (before, _) = text.split_once("reward:").unwrap();
            shop.write("campaigns/hello.yaml", format!("{before}reward: {what} }}]\n"));
        };
        gives("made");
        let sent = shop.json("send hello --slot two", 0).await;
        assert_eq!(sent["verdicts"]["send"], 4, "{sent}");
        let texts: Vec<String> = catcher.mails().iter().skip(4).map(text_of).collect();
        let made: BTreeSet<String> =
            texts.iter().map(|t| t.split("code=").nth(1).unwrap().split(';').next().unwrap().to_owned()).collect();
        assert_eq!(made.len(), 4, "{made:?}");
        for code in &made {
            let signs = code.strip_prefix("BACK-").unwrap().replace('-', "");
            assert!(signs.len() == 8 && signs.bytes().all(|b| b"23456789BCDFGHJKMNPQRSTVWXZ".contains(&b)), "{code}");
        }
        let last = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::get("Europe/Berlin").unwrap()).date();
        let until = last.checked_add(jiff::Span::new().days(10)).unwrap();
        assert!(texts.iter().all(|t| t.contains(&format!("until={until};"))), "{until}: {}", texts[0]);
        numbers(&pool(&shop, "made").await, (0, 4, 0, 0));
        let sent = shop.json("send hello --slot three", 0).await;
        assert_eq!(sent["verdicts"]["skip"]["no_reward_left"], 4, "no more than four are ever out: {sent}");
        gives("over");
        let sent = shop.json("send hello --slot four", 0).await;
        assert_eq!(sent["verdicts"]["skip"]["no_reward_left"], 4, "what is over is not given: {sent}");
        assert_eq!(pool(&shop, "over").await["left"], 0);
    })
    .await;
}
