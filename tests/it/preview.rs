//! Previews through the binary: one page with every mail, while its files change, and copies to try.

use std::collections::BTreeSet;

use okaeri::catcher::{Catcher, CatcherOptions};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ground::each_database;
use crate::ground::scenario::Scenario;

const JAPANESE: &str = "Subject: こんにちは\nPreheader: お便りです\n\n<p>{{ customer.first_name | default(value=\"お客様\") }}</p><p><a href=\"{{ links.unsubscribe }}\">配信停止</a></p>";

fn shop() -> Scenario {
    let two_arms = "experiment: { split: { a: 50%, b: 50% } }\nsteps: [{ step: letter, template: spring/letter, variants: { b: spring/other } }]";
    let shop = Scenario::new("sqlite:okaeri.db").campaign("spring", two_arms);
    let text = std::fs::read_to_string(shop.path("campaigns/spring.yaml")).unwrap();
    shop.write("campaigns/spring.yaml", text.replacen("steps: [{ step: letter, template: spring/letter }]\n", "", 1));
    shop.write("templates/spring/letter.ja.html", JAPANESE);
    shop.write("templates/spring/other.html", "Subject: The other one\nPreheader: soon\n\n<img src=\"https://example.com/a.png\"><p>{{ customer.last_name | default(value=\"you\") }}, come by.</p><a href=\"{{ links.unsubscribe }}\">Unsubscribe</a>");
    shop
}

/// The data that a gallery shows.
fn held(html: &str) -> Value {
    let data = html.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    serde_json::from_str(data).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_holds_every_person_language_and_arm_and_loads_nothing() {
    let shop = shop();
    let told = shop.json("preview spring", 0).await;
    let html = std::fs::read_to_string(shop.path(".okaeri/preview/spring.html")).unwrap();
    let data = held(&html);
    let of = |name: &str| -> BTreeSet<String> {
        data["mails"].as_array().unwrap().iter().map(|m| m[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("locale"), ["en", "ja"].map(str::to_owned).into());
    assert_eq!(of("arm"), ["b", "usual"].map(str::to_owned).into());
    assert!(["loyal", "japanese", "no-orders", "hostile"].iter().all(|p| of("person").contains(*p)));
    assert_eq!(data["mails"].as_array().unwrap().len(), told["mails"].as_array().unwrap().len());
    let codes: Vec<&str> = data["problems"].as_array().unwrap().iter().map(|p| p["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"missing-alt") && codes.contains(&"missing-locale"), "{codes:?}");
    // Nothing outside of the data names an address that could be loaded, and the policy forbids it all the same.
    let page = html.replace(html.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap(), "");
    assert!(page.contains("default-src 'none'") && !page.contains("src=\"http") && !page.contains("href=\"http"));
    let only = shop.json("preview spring --personas=loyal --locale ja --step letter", 0).await;
    let only: Vec<_> =
        only["mails"].as_array().unwrap().iter().map(|m| (m["arm"].clone(), m["locale"].clone())).collect();
    assert_eq!(only, [("usual".into(), "ja".into()), ("b".into(), "ja".into())]);
    let unknown = shop.okaeri("preview spring --personas=loyl").await.exits(2);
    assert!(unknown.stderr.contains("personas: loyal, new"), "{}", unknown.stderr);
    shop.okaeri("preview spring --step nothing").await.exits(2);
    // What cannot be done together, what nobody reads, and what is no language is said, not passed over.
    let both = shop.okaeri("preview spring --serve=127.0.0.1:0 --eml mails").await.exits(2);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
    let apart = shop.okaeri("preview spring --personas loyal").await.exits(2);
    assert!(apart.stderr.contains("--personas=loyal"), "{}", apart.stderr);
    let other = shop.okaeri("preview spring --personas=japanese --locale en").await.exits(2);
    assert!(
        other.stderr.contains("japanese reads ja") && other.stderr.contains("leave --locale away"),
        "{}",
        other.stderr
    );
    let file = shop.okaeri("preview spring --personas=loyal --locale pt-BR --step letter").await.exits(0);
    assert!(
        file.stderr.contains(
            "`spring/letter` is not written in `pt-BR`: whoever reads that gets templates/spring/letter.html"
        ),
        "{}",
        file.stderr
    );
    let path = shop.okaeri("preview spring --locale ../x").await.exits(2);
    assert!(path.stderr.contains("a locale is written en, ja or pt-BR"), "{}", path.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_gets_into_a_file_only_when_asked_for() {
    each_database(|url| async move {
        let shop = Scenario::new(&url).campaign("spring", "");
        shop.write(
            "customers.csv",
            "customer_id,email,first_name,consent\nsecret-7,kept@example.com,Rumpelstilz,offers\n",
        );
        shop.okaeri("import customers customers.csv --quiet").await.exits(0);
        shop.okaeri("preview spring --gallery a.html").await.exits(0);
        let page = std::fs::read_to_string(shop.path("a.html")).unwrap();
        assert!(!page.contains("Rumpelstilz") && !page.contains("kept@example.com") && !page.contains("secret-7"));
        shop.okaeri("preview spring --gallery b.html --customer secret-7 --eml mails").await.exits(0);
        assert!(std::fs::read_to_string(shop.path("b.html")).unwrap().contains("Hello Rumpelstilz"));
        let mail = std::fs::read_to_string(shop.path("mails/spring.letter.en.secret-7.eml")).unwrap();
        assert!(mail.contains("kept@example.com") && mail.contains("/u/preview>"), "{mail}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rendered_is_told_and_the_rest_is_shown() {
    let shop = Scenario::new("sqlite:okaeri.db").campaign("spring", "");
    shop.write("templates/spring/letter.html", "Subject: Hello\nPreheader: soon\n\n<p>{{ 100 / (profile.orders - 1) }}</p><a href=\"{{ links.unsubscribe }}\">Unsubscribe</a>");
    shop.write("personas.yaml", "- persona: one-order\n  customer: { orders: 1, last_order: 3d ago }\n");
    let ran = shop.okaeri("preview spring").await.exits(2);
    assert!(
        ran.stderr.contains("templates/spring/letter.html:4:") && ran.stderr.contains("one-order"),
        "{}",
        ran.stderr
    );
    let data = held(&std::fs::read_to_string(shop.path(".okaeri/preview/spring.html")).unwrap());
    let shown = |name: &str| data["mails"].as_array().unwrap().iter().filter(|m| m.get(name).is_some()).count();
    assert!(shown("failed") >= 1 && shown("html") >= 1, "{data}");
}

/// One request and the whole answer.
async fn get(at: &str, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_made_anew_when_a_file_was_saved() {
    let shop = shop();
    let mut serving = shop.start("preview spring --serve=127.0.0.1:0");
    let said = serving.says("showing spring on http://").await;
    let at = said.split(',').next().unwrap().to_owned();
    let page = get(&at, "/", &at).await;
    let stamp = held(&page)["stamp"].as_str().unwrap().to_owned();
    assert!(page.starts_with("HTTP/1.1 200") && get(&at, "/stamp", &at).await.ends_with(&stamp));

    shop.write("templates/spring/letter.ja.html", JAPANESE.replace("こんにちは", "おかえりなさい"));
    let changed = get(&at, "/stamp", &at).await;
    assert!(!changed.ends_with(&stamp), "{changed}");
    assert!(get(&at, "/", &at).await.contains("おかえりなさい"));

    shop.write("templates/spring/letter.ja.html", "Subject: {{ x | }}\n\n");
    let broken = held(&get(&at, "/", &at).await);
    assert_eq!(
        (&broken["problems"][0]["file"], &broken["problems"][0]["line"]),
        (&"templates/spring/letter.ja.html".into(), &1.into())
    );

    // A page elsewhere whose name leads here learns nothing.
    assert!(get(&at, "/", "evil.example.net").await.starts_with("HTTP/1.1 403"));
    serving.signal("TERM").await;
    serving.end().await.exits(0);
    let outside = shop.okaeri("preview spring --serve=0.0.0.0:0").await.exits(2);
    assert!(outside.stderr.contains("stays on this machine"), "{}", outside.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_go_to_the_addresses_given_and_count_nowhere() {
    let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
    let shop = shop().smtp(&catcher.url());
    shop.okaeri("preview spring --send-to me@example.com --send-to you@example.org").await.exits(0);
    let mails: Vec<(String, String)> = catcher
        .mails()
        .iter()
        .map(|m| (m.envelope_to.join(" "), String::from_utf8_lossy(&m.bytes).into_owned()))
        .collect();
    let to: Vec<&str> = mails.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(to, ["me@example.com", "me@example.com", "you@example.org", "you@example.org"]);
    for (_, mail) in &mails {
        assert!(mail.contains("\r\nSubject: [Test] ") && !mail.contains("mail.example.com/c/"), "{mail}");
    }
    let queue = shop.json("queue status", 0).await;
    assert_eq!(queue["runs"], serde_json::json!([]));
    shop.okaeri("preview spring --send-to nobody").await.exits(2);
    assert_eq!(catcher.mails().len(), 4);
}
