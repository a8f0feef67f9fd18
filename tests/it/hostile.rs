//! Customers whose data is written to do harm, all the way through the binary: import, plan, render, sign, SMTP, and what arrives.
//!
//! Held against every mail: its bytes are what any mail system takes, its header has the fields we wrote and no other, and it speaks of
//! the person it went to and of nobody else. The seed of the data is printed when a test fails; `OKAERI_TEST_SEED` brings it back.

use std::collections::BTreeSet;

use mail_parser::{HeaderName, MessageParser};
use okaeri::catcher::{Catcher, CatcherOptions};
use okaeri::token;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use crate::dkim::{foreign_verdicts, signing_shop};
use crate::ground::each_database;

/// People of one test. Each has data of their own.
const PEOPLE: usize = 120;
/// RFC 5322 §2.1.1, without CRLF.
const LINE_BYTES_MAX: usize = 998;

/// Who a mail speaks of: `⟪17⟫` in the first name, and in nothing of anybody else.
fn mark(n: usize) -> String {
    format!("⟪{n}⟫")
}

/// Pieces that have broken mail systems, alone and together.
fn nasty() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\r\nBcc: mallory@example.net",
        "\nX-Injected: yes\n\n<b>body</b>",
        "\r\n\r\n",
        "\r",
        "\0",
        "\u{b}\u{c}\u{1b}[31m\u{7f}\u{85}",
        "\u{2028}X-Injected: yes\u{2029}",
        "\r\n.\r\nMAIL FROM:<mallory@example.net>\r\n",
        ".\n.\n..",
        "--=_",
        "=?UTF-8?B?QmNjOiBtYWxsb3J5QGV4YW1wbGUubmV0?=",
        "=?UTF-8?Q?=0D=0ABcc:_mallory=40example.net?=",
        "{{ customer.email }}",
        "{{ customer.customer_id }}{% if",
        "{% for c in customer %}{{ c }}{% endfor %}",
        "${OKAERI_SECRET}",
        "</body></html><script>alert(1)</script>",
        "\"; <mallory@example.net>, \\",
        "mallory@example.net",
        "https://evil.example/",
        "From ",
        "\u{202e}gnp.exe\u{202c}",
        "مرحبا بالعالم",
        "Ｂｃｃ：\u{3000}ｍａｌｌｏｒｙ＠ｅｘａｍｐｌｅ．ｎｅｔ",
        "花岡 美帆",
        "👩‍👩‍👧‍👧🏴\u{e0067}\u{e0062}\u{e007f}",
        "e\u{301}\u{301}\u{301}",
        "\u{feff}\u{200b}\u{ffff}",
        " ",
        "\t",
    ]);
    let long = prop::sample::select(vec!["x", "花", "👩‍👩‍👧‍👧", "é ", "= ", "\t", ".", "\r\n"]);
    let long = (long, 200..10_000_usize).prop_map(|(piece, bytes)| piece.repeat(bytes / piece.len()));
    let part = prop_oneof![6 => pieces.prop_map(str::to_owned), 3 => any::<String>(), 1 => long];
    // Nobody's data may carry the mark of another.
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat().replace(['⟪', '⟫'], ""))
}

fn seed() -> u64 {
    let given = std::env::var("OKAERI_TEST_SEED").ok().map(|s| s.parse().expect("OKAERI_TEST_SEED is a number"));
    given.unwrap_or_else(|| token::random().unsigned_abs())
}

/// First name, last name and motto of each person.
fn names(seed: u64) -> Vec<(String, String, String)> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let names = (nasty(), nasty(), nasty(), nasty());
    let tree = |runner: &mut TestRunner| names.new_tree(runner).expect("no value is filtered out").current();
    (0..PEOPLE)
        .map(|n| {
            let (before, after, last, motto) = tree(&mut runner);
            (format!("{before}{}{after}", mark(n)), last, motto)
        })
        .collect()
}

/// Names of the header's fields, in order.
fn field_names(mail: &[u8]) -> Vec<String> {
    let end = mail.windows(4).position(|w| w == b"\r\n\r\n").expect("a header ends");
    let head = std::str::from_utf8(&mail[..end]).expect("a header is ASCII");
    let fields = head.split("\r\n").filter(|l| !l.starts_with([' ', '\t']));
    fields.map(|l| l.split(':').next().unwrap().to_owned()).collect()
}

fn judge_bytes(mail: &[u8]) {
    assert!(mail.ends_with(b"\r\n"));
    assert!(mail.is_ascii() && !mail.contains(&0), "ASCII without NUL");
    for line in mail.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("lines end in CRLF");
        assert!(!text.contains(&b'\r') && text.len() <= LINE_BYTES_MAX, "{}", String::from_utf8_lossy(text));
    }
}

/// What must hold for the mail to person `n`.
fn judge(mail: &[u8], n: usize) {
    judge_bytes(mail);
    assert_eq!(
        field_names(mail).join(" "),
        "DKIM-Signature DKIM-Signature From To Subject Date Message-ID List-Unsubscribe List-Unsubscribe-Post List-Id Precedence \
         Feedback-ID MIME-Version Content-Type"
    );
    let parsed = MessageParser::default().parse(mail).expect("a mail that can be read");
    assert_eq!(parsed.parts.len(), 3, "two bodies and their frame");
    let to: Vec<&str> = parsed.to().into_iter().flat_map(|to| to.iter()).filter_map(|a| a.address()).collect();
    assert_eq!(to, [format!("p{n}@example.com")]);
    let from: Vec<&str> = parsed.from().into_iter().flat_map(|f| f.iter()).filter_map(|a| a.address()).collect();
    assert_eq!(from, ["letters@example.com"]);
    assert!(parsed.bcc().is_none() && parsed.header(HeaderName::Other("X-Injected".into())).is_none());
    let (html, text) = (parsed.body_html(0).unwrap(), parsed.body_text(0).unwrap());
    for body in [&html, &text] {
        assert!(body.contains(&format!("for:p{n}:")), "its own id: {body}");
        assert!(body.contains(&mark(n)), "its own name: {body}");
        assert_eq!(body.matches('⟪').count(), 1, "nobody else's name: {body}");
        assert_eq!(body.matches("for:p").count(), 1, "nobody else's id: {body}");
        assert!(!body.contains("a secret of the scenario"), "variables are never filled in from data");
    }
    assert!(!html.contains("<script>") && !html.contains("<b>body"), "data is not markup: {html}");
    let page = scraper::Html::parse_document(&html);
    let links: Vec<&str> =
        page.select(&scraper::Selector::parse("a").unwrap()).filter_map(|a| a.attr("href")).collect();
    assert_eq!(links.len(), 2, "data is no link: {html}");
    assert!(links.iter().all(|l| l.starts_with("https://shop.example.com/?m=") || !l.contains("evil")), "{links:?}");
}

#[tokio::test]
async fn harmful_data_harms_nobody() {
    each_database(|url| async move {
        let seed = seed();
        eprintln!("OKAERI_TEST_SEED={seed}");
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let (shop, records) = signing_shop(&url, &catcher.url()).await;
        let body = "Dear {{ customer.first_name | default(value='x') }} {{ customer.last_name | default(value='') }}, for:{{ customer.customer_id }}:";
        let subject = "{{ customer.last_name | default(value='') }} {{ customer.first_name | default(value='x') }}";
        let foot = "{{ links.unsubscribe }} {{ brand.organisation }}, {{ brand.postal_address }}";
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><title>Hello</title></head><body>\
             <p title=\"{{{{ customer.last_name | default(value='') }}}}\">{body}</p>\
             <p><a href=\"https://shop.example.com/?m={{{{ customer.motto | default(value='') | urlencode }}}}\">{{{{ customer.motto | default(value='') }}}}</a></p>\
             <a href=\"{{{{ links.unsubscribe }}}}\">Unsubscribe</a> {foot}</body></html>"
        );
        shop.write("templates/hello/letter.html", format!("Subject: Hello {subject}\n\n{page}\n"));
        shop.write("templates/hello/letter.txt", format!("{body}\n\n{foot}\n"));
        let people = names(seed).into_iter().enumerate().map(|(n, (first, last, motto))| {
            let id = format!("p{n}");
            let person = json!({ "customer_id": id, "email": format!("{id}@example.com"), "first_name": first, "last_name": last, "motto": motto, "consent": "offers" });
            format!("{person}\n")
        });
        shop.write("people.jsonl", people.collect::<String>());
        let imported = shop.json("import customers people.jsonl", 0).await;
        let sent = shop.json("send hello", 0).await;
        assert_eq!(sent["delivery"]["totals"]["accepted"], PEOPLE, "{imported} {sent}");

        let caught = catcher.mails();
        assert_eq!(catcher.complaints(), Vec::<String>::new());
        let mut reached = BTreeSet::new();
        for mail in &caught {
            assert!(mail.defects.is_empty(), "{:?}", mail.defects);
            let [to] = mail.envelope_to.as_slice() else { panic!("{:?}", mail.envelope_to) };
            let n = to.strip_prefix('p').and_then(|t| t.strip_suffix("@example.com")).expect("an address of ours");
            judge(&mail.bytes, n.parse().expect("a number"));
            assert!(reached.insert(to.clone()), "{to} twice");
        }
        assert_eq!(reached.len(), PEOPLE);
        let mails: Vec<Vec<u8>> = caught.iter().map(|m| m.bytes.to_vec()).collect();
        if let Some(verdicts) = foreign_verdicts(&records, &mails) {
            assert_eq!(verdicts, vec![vec![true, true]; PEOPLE]);
        }
        shop.okaeri("queue verify").await.exits(0);
    })
    .await;
}
