//! Unsubscribing, clicking and answering over real HTTP on a loopback socket, against both databases: what stops, what does not, what counts,
//! and what is remembered.

use std::sync::Arc;

use okaeri::args;
use okaeri::clock::{DAY, now};
use okaeri::db::{Db, bucket_of};
use okaeri::feedback::{Fact, Kind, Recorded, record};
use okaeri::problem::Problems;
use okaeri::settings::{Project, Settings};
use okaeri::suppression::Scope;
use okaeri::token::{Answer, MessageKey, Tokens};
use okaeri::web::{App, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::ground::each_database;

const SECRET: &str = "a secret for the tests of the web";
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// A shop with one customer who got one letter, and a server that answers for it.
struct Shop {
    db: Db,
    port: u16,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn settings() -> Settings {
    let dir = tempfile::tempdir().unwrap();
    let text = "project: tomoshibi\nsender: { name: Tomo & Shibi, from: hello@example.com, organisation: T, postal_address: 1 Road }\n\
                topics: { offers: { en: Offers, ja: ご案内 }, news: { en: News, ja: お便り } }\n";
    std::fs::write(dir.path().join("okaeri.yaml"), text).unwrap();
    let mut problems = Problems::new();
    let project = Project::load_with(dir.path(), |_| None, &mut problems);
    project.unwrap_or_else(|| panic!("{}", problems.to_text())).settings
}

fn key() -> MessageKey {
    MessageKey {
        customer_id: "客-1".into(),
        campaign: "win-back".into(),
        step: "letter".into(),
        slot: "2026-11-24".into(),
        topic: "offers".into(),
    }
}

fn token(key: &MessageKey) -> String {
    Tokens::new(SECRET).link(key)
}

async fn add_customer(db: &Db, customer_id: &str, address: &str, locale: &str) {
    db.execute(
        "INSERT INTO customer (bucket, customer_id, email, address_key, locale, attributes, first_seen_at)
         VALUES ($1, $2, $3, $3, $4, '{}', 0)",
        args![bucket_of(customer_id), customer_id, address, locale],
    )
    .await
    .unwrap();
    for topic in ["offers", "news"] {
        db.execute(
            "INSERT INTO consent (bucket, customer_id, topic, granted, at, source) VALUES ($1, $2, $3, $4, 0, 'import')",
            args![bucket_of(customer_id), customer_id, topic, true],
        )
        .await
        .unwrap();
    }
}

async fn add_message(db: &Db, key: &MessageKey, address: &str, locale: &str) {
    db.execute(
        "INSERT INTO message (bucket, customer_id, campaign, step, slot, run_id, chunk_id, seq, topic, kind, arm, message_id,
                              address, address_key, locale, payload, due_at, created_at)
         VALUES ($1, $2, $3, $4, $5, 'r', 1, 0, $6, 'promotional', 'a', 'm', $7, $7, $8, '{}', 0, 0)",
        args![
            bucket_of(&key.customer_id),
            &key.customer_id,
            &key.campaign,
            &key.step,
            &key.slot,
            &key.topic,
            address,
            locale
        ],
    )
    .await
    .unwrap();
}

impl Shop {
    async fn open(url: &str) -> Shop {
        let db = Db::open(url).await.unwrap();
        add_customer(&db, &key().customer_id, "mia@example.com", "en").await;
        add_message(&db, &key(), "mia@example.com", "en").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = App::new(db.clone(), &settings(), Tokens::new(SECRET));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, app, async {
            let _ = stopped.await;
        }));
        Shop { db, port, stop, served }
    }

    async fn close(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
        self.db.close().await;
    }

    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> String {
        self.raw(&format!("{method} {path} HTTP/1.1\r\nHost: mail.example.com\r\nConnection: close\r\n{headers}\r\n"))
            .await
    }

    async fn post(&self, path: &str, body: &str) -> String {
        self.raw(&format!(
            "POST {path} HTTP/1.1\r\nHost: mail.example.com\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    /// (kind, campaign) of all facts.
    async fn facts(&self) -> Vec<(String, String)> {
        self.db.fetch_all("SELECT kind, fact_id FROM fact ORDER BY fact_id", args![]).await.unwrap()
    }

    /// (address, scope, reason) of all suppressions.
    async fn stops(&self) -> Vec<(String, String, String)> {
        let sql = "SELECT address_key, scope, reason FROM suppression ORDER BY address_key, scope";
        self.db.fetch_all(sql, args![]).await.unwrap()
    }

    async fn granted(&self, topic: &str) -> bool {
        let sql = "SELECT granted FROM consent WHERE bucket = $1 AND customer_id = $2 AND topic = $3";
        let id = key().customer_id;
        let (granted,): (bool,) = self.db.fetch_one(sql, args![bucket_of(&id), id, topic]).await.unwrap();
        granted
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

fn stop(address: &str, scope: &str) -> (String, String, String) {
    (address.to_owned(), scope.to_owned(), "unsubscribe".to_owned())
}

#[tokio::test]
async fn whatever_follows_the_links_changes_nothing() {
    each_database(|url| async move {
        let shop = Shop::open(&url).await;
        let (u, p) = (format!("/u/{}", token(&key())), format!("/p/{}", token(&key())));
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            for path in [&u, &p] {
                let answer = shop.ask(method, path, "").await;
                let expected = if matches!(method, "GET" | "HEAD") { 200 } else { 405 };
                assert_eq!(status(&answer), expected, "{method} {path}");
                assert!(answer.contains("cache-control: no-store"), "{answer}");
                assert!(answer.contains("content-security-policy: default-src 'none'; style-src 'sha256-"), "{answer}");
                assert!(answer.contains("referrer-policy: no-referrer"), "{answer}");
                assert!(!answer.contains("set-cookie") && !answer.contains("mia@example.com"), "{answer}");
            }
        }
        assert!(shop.ask("HEAD", &u, "").await.ends_with("\r\n\r\n"), "HEAD has no body");
        let page = shop.ask("GET", &u, "Accept-Language: ja\r\n").await;
        assert!(page.contains("Unsubscribe from “Offers”") && page.contains("Tomo &amp; Shibi"), "{page}");
        assert!(page.contains("m…@example.com") && page.contains("<html lang=\"en\">"), "the mail was English: {page}");
        assert_eq!(shop.facts().await, []);
        assert_eq!(shop.stops().await, []);
        assert!(shop.granted("offers").await);
        shop.close().await;
    })
    .await;
}

#[tokio::test]
async fn one_click_stops_the_topic_for_the_address_once() {
    each_database(|url| async move {
        let shop = Arc::new(Shop::open(&url).await);
        let path = format!("/u/{}", token(&key()));
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..24 {
            let (shop, path) = (shop.clone(), path.clone());
            crowd.spawn(async move { status(&shop.post(&path, ONE_CLICK).await) });
        }
        while let Some(answered) = crowd.join_next().await {
            assert_eq!(answered.unwrap(), 200);
        }
        assert_eq!(shop.facts().await.len(), 1);
        assert_eq!(shop.stops().await, [stop("mia@example.com", "topic:offers")]);
        assert!(!shop.granted("offers").await);
        assert!(shop.granted("news").await);
        Arc::into_inner(shop).unwrap().close().await;
    })
    .await;
}

#[tokio::test]
async fn undo_takes_it_back_and_a_second_stop_stands() {
    each_database(|url| async move {
        let shop = Shop::open(&url).await;
        let path = format!("/u/{}", token(&key()));
        let stopped = shop.post(&path, "do=stop_topic").await;
        assert!(stopped.contains("value=\"undo_topic\""), "{stopped}");
        assert!(shop.ask("GET", &path, "").await.contains("value=\"undo_topic\""));
        for _ in 0..2 {
            assert!(shop.post(&path, "do=undo_topic").await.contains("Welcome back"));
        }
        assert_eq!(shop.stops().await, []);
        assert!(shop.granted("offers").await);
        assert_eq!(shop.facts().await.len(), 2);
        assert_eq!(status(&shop.post(&path, ONE_CLICK).await), 200);
        assert_eq!(shop.stops().await, [stop("mia@example.com", "topic:offers")]);
        assert!(!shop.granted("offers").await);
        assert_eq!(shop.facts().await.len(), 3);
        shop.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_preference_page_does_what_its_boxes_say() {
    each_database(|url| async move {
        let shop = Shop::open(&url).await;
        let path = format!("/p/{}", token(&key()));
        assert!(shop.post(&path, "do=stop_promotional").await.contains("undo_promotional"));
        assert_eq!(shop.stops().await, [stop("mia@example.com", "promotional")]);
        assert!(!shop.ask("GET", &path, "").await.contains(" checked"));
        let saved = shop.post(&path, "topic=news&do=save").await;
        assert!(saved.contains("value=\"news\" checked") && !saved.contains("value=\"offers\" checked"), "{saved}");
        assert_eq!(shop.stops().await, [stop("mia@example.com", "topic:offers")]);
        shop.post(&path, "topic=news&topic=offers&topic=made-up&do=save").await;
        assert_eq!(shop.stops().await, []);
        let before = shop.facts().await;
        shop.post(&path, "topic=news&topic=offers&do=save").await;
        assert_eq!(shop.facts().await, before, "nothing differed, nothing was recorded");
        shop.close().await;
    })
    .await;
}

#[tokio::test]
async fn altered_links_and_strange_bodies_get_help_and_change_nothing() {
    each_database(|url| async move {
        let shop = Shop::open(&url).await;
        let good = token(&key());
        let last = if good.ends_with('A') { "B" } else { "A" };
        let altered = format!("{}{last}", &good[..good.len() - 1]);
        for path in [format!("/u/{altered}"), format!("/p/{altered}"), "/u/%FF%00".into(), "/u/".into(), "/".into()] {
            for answer in
                [shop.ask("GET", &path, "Accept-Language: ja,en;q=0.5\r\n").await, shop.post(&path, ONE_CLICK).await]
            {
                assert_eq!(status(&answer), 404, "{path}");
                assert!(answer.contains("mailto:hello@example.com"), "{answer}");
            }
        }
        let japanese = shop.ask("GET", &format!("/u/{altered}"), "Accept-Language: ja,en;q=0.5\r\n").await;
        assert!(japanese.contains("このリンクはご利用いただけません"), "{japanese}");
        let path = format!("/u/{good}");
        for body in ["", "do=everything", "List-Unsubscribe=Two-Clicks", "%%%"] {
            assert_eq!(status(&shop.post(&path, body).await), 400, "{body}");
        }
        assert_eq!(status(&shop.post(&path, &"x".repeat(100_000)).await), 413);
        assert_eq!(shop.facts().await, []);
        assert!(shop.ask("GET", "/healthz", "").await.ends_with("ok\n"));
        shop.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_readdressed_customer_stops_the_address_that_was_mailed() {
    each_database(|url| async move {
        let shop = Shop::open(&url).await;
        let id = key().customer_id;
        let move_on = "UPDATE customer SET address_key = $1 WHERE bucket = $2 AND customer_id = $3";
        shop.db.execute(move_on, args!["new@example.net", bucket_of(&id), &id]).await.unwrap();
        shop.post(&format!("/u/{}", token(&key())), ONE_CLICK).await;
        assert_eq!(shop.stops().await, [stop("mia@example.com", "topic:offers")]);

        // The ledger forgot the next message: the present address is what we know.
        let forgotten = MessageKey { slot: "2026-12-01".into(), topic: "news".into(), ..key() };
        shop.post(&format!("/u/{}", token(&forgotten)), ONE_CLICK).await;
        assert_eq!(
            shop.stops().await,
            [stop("mia@example.com", "topic:offers"), stop("new@example.net", "topic:news")]
        );

        // Nobody knows this person any more: remembered, and nobody is stopped.
        let erased = MessageKey { customer_id: "gone".into(), ..key() };
        assert_eq!(status(&shop.post(&format!("/u/{}", token(&erased)), ONE_CLICK).await), 200);
        assert_eq!(shop.stops().await.len(), 2);
        assert_eq!(shop.facts().await.len(), 3);
        shop.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_japanese_mail_has_a_japanese_page() {
    each_database(|url| async move {
        let shop = Shop::open(&url).await;
        let key = MessageKey { slot: "2026-12-01".into(), ..key() };
        add_message(&shop.db, &key, "mia@example.com", "ja-JP").await;
        let page = shop.ask("GET", &format!("/u/{}", token(&key)), "Accept-Language: en\r\n").await;
        assert!(page.contains("「ご案内」の配信を停止する") && page.contains("<html lang=\"ja\">"), "{page}");
        shop.close().await;
    })
    .await;
}

#[tokio::test]
async fn facts_end_in_the_same_state_in_every_order() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let start = now() - DAY;
        let offers = || Scope::Topic("offers".into());
        let words = [
            (10, Kind::Unsubscribe(offers())),
            (20, Kind::Resubscribe(offers())),
            (30, Kind::Unsubscribe(offers())),
            (40, Kind::Complaint),
        ];
        let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 1, 3], [1, 2, 3, 0], [2, 1, 0, 3], [0, 2, 3, 1]];
        for (n, order) in orders.iter().enumerate() {
            let (id, address) = (format!("c{n}"), format!("c{n}@example.com"));
            add_customer(&db, &id, &address, "en").await;
            for i in order.iter().chain(order) {
                let (after, kind) = words[*i].clone();
                let key = MessageKey { customer_id: id.clone(), ..key() };
                record(&db, &Fact { kind, at: start + after, key, via: "test".into() }, now()).await.unwrap();
            }
            let sql = "SELECT scope, reason FROM suppression WHERE address_key = $1 ORDER BY scope";
            let stops: Vec<(String, String)> = db.fetch_all(sql, args![&address]).await.unwrap();
            let expected =
                [("all", "complaint"), ("topic:offers", "unsubscribe")].map(|(s, r)| (s.to_owned(), r.to_owned()));
            assert_eq!(stops, expected, "{order:?}");
            let sql = "SELECT granted FROM consent WHERE bucket = $1 AND customer_id = $2 AND topic = 'offers'";
            let (granted,): (bool,) = db.fetch_one(sql, args![bucket_of(&id), &id]).await.unwrap();
            assert!(!granted, "{order:?}");
        }
        let bounce = Fact { kind: Kind::Bounce { hard: true }, at: start, key: key(), via: "test".into() };
        assert_eq!(record(&db, &bounce, now()).await.unwrap(), Recorded::New);
        assert_eq!(record(&db, &bounce, now()).await.unwrap(), Recorded::Known);
        db.close().await;
    })
    .await;
}

const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n";

fn click(number: u32, url: &str) -> String {
    format!("/c/{}", Tokens::new(SECRET).clicks(&key()).token(number, url))
}

async fn filed(shop: &Shop) -> Vec<(String, String)> {
    let sql = "SELECT kind, fact_id FROM fact WHERE kind IN ('click', 'scan') ORDER BY fact_id";
    shop.db.fetch_all(sql, args![]).await.unwrap()
}

#[tokio::test]
async fn a_link_leads_where_it_was_signed_to_and_counts_once() {
    each_database(|url| async move {
        let shop = Shop::open(&url).await;
        let path = click(2, "https://www.example.com/茶?a=1&b=2");
        for _ in 0..3 {
            assert_eq!(status(&shop.ask("HEAD", &path, BROWSER).await), 302);
        }
        assert_eq!(filed(&shop).await, [], "HEAD records nothing");
        for _ in 0..3 {
            let answer = shop.ask("GET", &path, BROWSER).await;
            assert_eq!(status(&answer), 302, "{answer}");
            assert!(answer.contains("location: https://www.example.com/%E8%8C%B6?a=1&b=2\r\n"), "{answer}");
            assert!(answer.contains("referrer-policy: no-referrer"), "{answer}");
        }
        let id = "click/win-back/letter/2026-11-24/2".to_owned();
        assert_eq!(filed(&shop).await, [("click".to_owned(), id)]);
        let due: Vec<(String,)> = shop.db.fetch_all("SELECT customer_id FROM segment_due", args![]).await.unwrap();
        assert_eq!(due, [("客-1".to_owned(),)], "segments that ask for clicks look again");
        let altered = path.replacen("/c/e", "/c/f", 1);
        for hostile in
            [altered, click(1, "javascript:alert(1)"), click(1, "/relative"), "/c/".to_owned(), "/c/a.b.c".to_owned()]
        {
            let answer = shop.ask("GET", &hostile, BROWSER).await;
            assert_eq!(status(&answer), 404, "{hostile}");
            assert!(!answer.contains("location:"), "{answer}");
        }
        assert_eq!(status(&shop.post(&path, "").await), 405);
        assert_eq!(filed(&shop).await.len(), 1);
        shop.close().await;
    })
    .await;
}

#[tokio::test]
async fn machines_are_kept_apart_from_people() {
    each_database(|url| async move {
        use okaeri::feedback::click::{AT_ONCE, BURST, record_click};
        use okaeri::token::Link;
        let shop = Shop::open(&url).await;
        let link = |number| Link { number, url: "https://www.example.com/".into() };
        let browser = "Mozilla/5.0 Firefox/130.0";
        let kinds = async || {
            filed(&shop)
                .await
                .into_iter()
                .map(|(kind, id)| format!("{kind} {}", id.rsplit('/').next().unwrap()))
                .collect::<Vec<_>>()
        };
        let record =
            async |number, agent: &str, at| record_click(&shop.db, &key(), &link(number), agent, at).await.unwrap();
        let start = now() + DAY;
        record(1, "SomeBot/1.0", start).await;
        record(1, browser, start + DAY).await;
        assert_eq!(kinds().await, ["click 1", "scan 1"], "who reads after the filter is a person");
        // Three links at once: no person; and what was taken for one is filed again.
        let burst = start + 2 * DAY;
        record(4, browser, burst).await;
        record(5, browser, burst + 10).await;
        assert_eq!(kinds().await, ["click 1", "click 4", "click 5", "scan 1"]);
        assert_eq!(record(6, browser, burst + 20).await, Recorded::New);
        assert_eq!(kinds().await, ["click 1", "scan 1", "scan 4", "scan 5", "scan 6"]);
        assert_eq!(record(4, browser, burst + BURST + 10_000).await, Recorded::New, "later a person follows it");
        assert_eq!(record(4, browser, burst + DAY).await, Recorded::Known);
        // Before the mail server has answered, or just after it has.
        let deliver = async |state: &str, at: i64| {
            shop.db.execute("DELETE FROM delivery", args![]).await.unwrap();
            let insert =
                "INSERT INTO delivery (bucket, chunk_id, seq, customer_id, run_id, state, due_at, attempts, changed_at)
                 SELECT bucket, chunk_id, seq, customer_id, run_id, $1, 0, 1, $2 FROM message";
            shop.db.execute(insert, args![state, at]).await.unwrap();
        };
        let late = start + 9 * DAY;
        deliver("committed", late).await;
        record(7, browser, late + DAY).await;
        deliver("accepted", late + 2 * DAY).await;
        record(8, browser, late + 2 * DAY + AT_ONCE - 1).await;
        record(9, browser, late + 3 * DAY).await;
        let all = kinds().await;
        assert!(all.contains(&"scan 7".to_owned()) && all.contains(&"scan 8".to_owned()), "{all:?}");
        assert!(all.contains(&"click 9".to_owned()), "{all:?}");
        shop.close().await;
    })
    .await;
}

fn asked(score: u8) -> Answer {
    Answer { event: "review.given".into(), score, of: 5, sku: Some("TEA-1".into()) }
}

fn answer_of(key: &MessageKey, answer: &Answer) -> String {
    format!("/a/{}", Tokens::new(SECRET).clicks(key).answer(answer))
}

/// (name, sku, score, properties) of all events.
async fn events(shop: &Shop) -> Vec<(String, Option<String>, Option<f64>, String)> {
    let sql = "SELECT n.name, e.sku, e.score, e.properties FROM event e JOIN event_name n ON n.name_id = e.name_id";
    shop.db.fetch_all(sql, args![]).await.unwrap()
}

#[tokio::test]
async fn an_answer_counts_once_it_is_confirmed_and_the_last_one_stands() {
    each_database(|url| async move {
        let shop = Shop::open(&url).await;
        let path = answer_of(&key(), &asked(4));
        for method in ["HEAD", "GET", "GET"] {
            let page = shop.ask(method, &path, BROWSER).await;
            assert_eq!(status(&page), 200, "{page}");
            assert_eq!(page.contains("<h1>You chose 4 of 5</h1>"), method == "GET", "{page}");
        }
        assert_eq!((events(&shop).await.len(), shop.facts().await.len()), (0, 0), "looking is not answering");
        let page = shop.post(&path, "score=4&comment=Nice+%3Cb%3E&do=answer").await;
        assert!(page.contains("<h1>Thank you</h1>") && page.contains("4 of 5"), "{page}");
        let id = "answer/win-back/letter/2026-11-24/review.given/TEA-1".to_owned();
        assert_eq!(shop.facts().await, [("answer".to_owned(), id.clone())]);
        let said = |rating: u8, comment: &str| {
            let comment = if comment.is_empty() { String::new() } else { format!(",\"comment\":\"{comment}\"") };
            format!(
                "{{\"rating\":{rating},\"of\":5,\"campaign\":\"win-back\",\"step\":\"letter\",\"slot\":\"2026-11-24\",\"sku\":\"TEA-1\"{comment}}}"
            )
        };
        let event = |score: u8, comment: &str| {
            ("review.given".to_owned(), Some("TEA-1".to_owned()), Some(f64::from(score)), said(score, comment))
        };
        assert_eq!(events(&shop).await, [event(4, "Nice <b>")]);
        for table in ["dirty", "segment_due"] {
            let due: Vec<(String,)> =
                shop.db.fetch_all(&format!("SELECT customer_id FROM {table}"), args![]).await.unwrap();
            assert_eq!(due, [("客-1".to_owned(),)], "{table}: who answered is looked at again");
        }
        // Another star of the same mail, and another choice on its page.
        shop.post(&answer_of(&key(), &asked(1)), "score=2&comment=&do=answer").await;
        assert_eq!(events(&shop).await, [event(2, "")]);
        // Many at once are one answer.
        let send = async |n: u8| status(&shop.post(&path, &format!("score={n}&do=answer")).await);
        assert_eq!(tokio::join!(send(1), send(2), send(3), send(4), send(5)), (200, 200, 200, 200, 200));
        assert_eq!((events(&shop).await.len(), shop.facts().await), (1, vec![("answer".to_owned(), id)]));
        shop.close().await;
    })
    .await;
}

#[tokio::test]
async fn answers_that_were_not_offered_are_refused_and_strangers_make_no_customer() {
    each_database(|url| async move {
        let shop = Shop::open(&url).await;
        let path = answer_of(&key(), &asked(4));
        for body in ["", "do=answer", "score=0&do=answer", "score=6&do=answer", "score=4", "List-Unsubscribe=One-Click"]
        {
            let page = shop.post(&path, body).await;
            assert_eq!(status(&page), 400, "{body}: {page}");
        }
        let huge = format!("score=4&do=answer&comment={}", "x".repeat(20_000));
        assert_eq!(status(&shop.post(&path, &huge).await), 413);
        let altered = path.replacen("/a/e", "/a/f", 1);
        let click = click(1, "https://www.example.com/").replacen("/c/", "/a/", 1);
        let link = format!("/a/{}", token(&key()));
        for forged in [&altered, &click, &link, "/a/", "/a/preview", "/a/a.b.c"] {
            assert_eq!(status(&shop.ask("GET", forged, "").await), 404, "{forged}");
            assert_eq!(status(&shop.post(forged, "score=4&do=answer").await), 404, "{forged}");
        }
        assert_eq!((events(&shop).await.len(), shop.facts().await.len()), (0, 0));
        let gone = MessageKey { customer_id: "gone".into(), ..key() };
        assert_eq!(status(&shop.post(&answer_of(&gone, &asked(5)), "score=5&do=answer").await), 200);
        assert_eq!((events(&shop).await.len(), shop.facts().await.len()), (0, 1));
        let people: Vec<(String,)> = shop.db.fetch_all("SELECT customer_id FROM customer", args![]).await.unwrap();
        assert_eq!(people, [("客-1".to_owned(),)]);
        let nps = Answer { event: "survey.nps".into(), score: 0, of: 10, sku: None };
        let page = shop.ask("GET", &answer_of(&gone, &nps), "Accept-Language: ja\r\n").await;
        assert!(page.contains("lang=\"ja\"") && page.contains("10点満点中「0」"), "{page}");
        shop.close().await;
    })
    .await;
}
