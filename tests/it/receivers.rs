//! Foreign judges: a real Postfix takes our mail, and what it cannot deliver after all comes back to the return path; a foreign receiver finds our
//! signatures whole after that way; SpamAssassin finds nothing in the sample campaigns.
//!
//! All on this machine. What is not installed is no reason to pass: the test fails and says what to do.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::dkim::{foreign_verdicts, signing_shop};
use crate::ground::beside::Beside;
use crate::ground::each_database;

/// More than this and a mail looks like spam; SpamAssassin's own line is 5.
const SCORE_MAX: f64 = 1.0;
/// How long Postfix may take to deliver what it has accepted.
const DELIVERY: Duration = Duration::from_secs(60);

/// The mails in a mailbox, once there are so many.
fn delivered(mailbox: &Path, mails: usize) -> Vec<String> {
    let started = Instant::now();
    loop {
        let found: Vec<PathBuf> =
            std::fs::read_dir(mailbox.join("new")).into_iter().flatten().map(|e| e.unwrap().path()).collect();
        if found.len() >= mails {
            return found.iter().map(|p| std::fs::read_to_string(p).expect("mails are text")).collect();
        }
        assert!(started.elapsed() < DELIVERY, "{} of {mails} mails are in {}", found.len(), mailbox.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A mail as it was before Postfix put its lines on top and took CR away.
fn as_sent(mail: &str) -> Vec<u8> {
    mail.replace('\n', "\r\n").into_bytes()
}

fn field<'m>(mail: &'m str, name: &str) -> &'m str {
    mail.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {mail}")).trim()
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_takes_everything_signatures_survive_it_and_a_late_bounce_finds_its_return_path() {
    each_database(|url| async move {
        let postfix = Beside::start("with-postfix", &["OKAERI_TEST_POSTFIX", "OKAERI_TEST_POSTFIX_MAIL"])
            .expect("this test needs Postfix: run `make test`, which installs it, or .ci/install-missing postfix");
        let mailboxes = PathBuf::from(&postfix.told[1]);
        let (shop, records) = signing_shop(&url, &postfix.told[0]).await;
        let people = [("mia", "Mia"), ("ren", "蓮"), ("late", "Noor"), ("zoe", "Zoë"), ("hana", "花子")];
        let rows: String = people.iter().map(|(id, name)| format!("{id},{id}@example.com,{name},offers\n")).collect();
        shop.write("named.csv", format!("customer_id,email,first_name,consent\n{rows}"));
        shop.okaeri("import customers named.csv --quiet").await.exits(0);
        let sent = shop.json("send hello", 0).await;
        assert_eq!(sent["delivery"]["totals"]["accepted"], people.len(), "{sent}");

        let mails = delivered(&mailboxes.join("people"), people.len() - 1);
        assert_eq!(mails.len(), people.len() - 1, "everybody once, but for whoever has no mailbox after all");
        let bytes: Vec<Vec<u8>> = mails.iter().map(|m| as_sent(m)).collect();
        if let Some(verdicts) = foreign_verdicts(&records, &bytes) {
            assert!(verdicts.iter().all(|v| v.len() == 2 && v.iter().all(|passes| *passes)), "{verdicts:?}");
        }
        for mail in &mails {
            let path = field(mail, "Return-Path:");
            assert!(path.starts_with("<b-") && path.ends_with("@example.com>"), "{path}");
        }
        let [bounce] = &delivered(&mailboxes.join("bounces"), 1)[..] else { panic!("one bounce") };
        assert!(field(bounce, "Return-Path:").starts_with("<>"), "a bounce of a bounce goes nowhere");
        assert!(bounce.contains("message/delivery-status") && bounce.contains("5.1.1"), "{bounce}");
        // It went to the return path of that very message, and quotes its Message-ID.
        let list = shop.json("queue list --limit 1000", 0).await;
        let late = list["messages"].as_array().unwrap().iter().find(|m| m["customer_id"] == "late").unwrap();
        assert!(bounce.contains(late["message_id"].as_str().unwrap()), "{bounce}");
        let to = field(bounce, "Delivered-To:");
        let others: Vec<&str> = mails.iter().map(|m| field(m, "Return-Path:").trim_matches(['<', '>'])).collect();
        assert!(to.starts_with("b-") && !others.contains(&to), "{to} is nobody else's: {others:?}");
        postfix.stop();
    })
    .await;
}

/// What SpamAssassin gives a mail, by its rules alone, and which rules those are.
fn score(mail: &[u8], home: &Path) -> (f64, String) {
    let mut judge = Command::new("spamassassin")
        .args(["--local", "--test-mode", "--nocreate-prefs"])
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect(
            "this test needs SpamAssassin: run `make test`, which installs it, or .ci/install-missing spamassassin",
        );
    let mut stdin = judge.stdin.take().expect("stdin is piped");
    let mail = mail.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&mail));
    let output = judge.wait_with_output().expect("the judge ends");
    writer.join().expect("the writer ends").expect("the judge reads the mail");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = told.lines().skip_while(|l| !l.starts_with("X-Spam-Status:")).take(4).collect::<Vec<_>>().join(" ");
    let score = status.split("score=").nth(1).and_then(|s| s.split_whitespace().next()).and_then(|s| s.parse().ok());
    (score.unwrap_or_else(|| panic!("no score: {told}")), status)
}

#[test]
fn the_sample_campaigns_do_not_look_like_spam() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Command::new(env!("CARGO_BIN_EXE_okaeri"))
        .current_dir(folder.path())
        .args(["demo", "--dir", "demo", "--quiet"])
        .output()
        .unwrap();
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    // One mail of each campaign and language: subjects that are not ASCII are Japanese here.
    let mut samples: BTreeMap<(String, bool), Vec<u8>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder.path().join("demo/mails")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "eml") {
            continue;
        }
        let mail = std::fs::read_to_string(path).unwrap();
        let campaign = field(&mail, "Feedback-ID:").to_owned();
        let encoded = field(&mail, "Subject:").starts_with("=?");
        samples.entry((campaign, encoded)).or_insert(mail.into_bytes());
    }
    let campaigns: std::collections::BTreeSet<&String> = samples.keys().map(|(campaign, _)| campaign).collect();
    assert!(campaigns.len() >= 4, "{campaigns:?}");
    for ((campaign, encoded), mail) in &samples {
        let (points, rules) = score(mail, folder.path());
        assert!(points <= SCORE_MAX, "{campaign}, encoded subject {encoded}: {points} points: {rules}");
    }
    // The judge is awake: what every spam filter must find (GTUBE), it finds.
    let spam = "Subject: test\r\nFrom: a@example.com\r\n\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n";
    assert!(score(spam.as_bytes(), folder.path()).0 > 100.0);
}
