//! DKIM from key to receiver: keys made by the binary, mail signed on its way out, verified by a program that shares nothing with us.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use okaeri::args;
use okaeri::catcher::{ByRecipient, Catcher, CatcherOptions};
use okaeri::clock::HOUR;
use okaeri::db::bucket_of;
use serde_json::{Value, json};

use crate::ground::scenario::Scenario;
use crate::ground::{each_database, skipped};

/// The python of the system: that is where Debian's dkimpy is.
const PYTHON: &str = "/usr/bin/python3";

/// The DNS records of a shop's keys, by name.
pub type Records = BTreeMap<String, String>;

/// A shop that signs with a new key of each kind: RSA from a file, Ed25519 from the environment.
pub async fn signing_shop(database_url: &str, smtp_url: &str) -> (Scenario, Records) {
    let shop =
        Scenario::new(database_url).smtp(smtp_url).with("PATH", "/usr/local/bin:/usr/bin:/bin").campaign("hello", "");
    let mut records = Records::new();
    for (file, options) in [("rsa.pem", ""), ("ed.pem", "--algorithm ed25519")] {
        let made = shop.json(&format!("dkim key {file} {options} --quiet"), 0).await;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let strings: Vec<&str> = made["strings"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        assert_eq!(strings.concat(), text("record"));
        assert!(strings.iter().all(|s| s.len() <= 255), "{strings:?}");
        records.insert(text("name"), text("record"));
    }
    let ed = std::fs::read_to_string(shop.path("ed.pem")).unwrap();
    let shop = shop.with("DKIM_ED", &ed.replace('\n', "\\n")).settings(
        "dkim:\n  - { selector: ed, key: \"${DKIM_ED}\" }\n  - { selector: rsa, domain: example.com, key_file: rsa.pem }\n",
    );
    (shop, records)
}

/// Whether each signature of each mail passes, as dkimpy sees it; `None` where it is not installed.
pub fn foreign_verdicts(records: &Records, mails: &[Vec<u8>]) -> Option<Vec<Vec<bool>>> {
    let has_dkimpy = Command::new(PYTHON).args(["-c", "import dkim, nacl"]).stderr(Stdio::null()).status();
    if !has_dkimpy.is_ok_and(|s| s.success()) {
        skipped("python3-dkim is not installed; make test installs it");
        return None;
    }
    let mails: Vec<String> = mails.iter().map(|m| BASE64.encode(m)).collect();
    let asked = json!({ "records": records, "mails": mails });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("asked.json"), asked.to_string()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/dkim/verify.py");
    let mut command = Command::new(PYTHON);
    command.arg(script).stdin(std::fs::File::open(folder.path().join("asked.json")).unwrap());
    let told = command.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    Some(serde_json::from_slice(&told.stdout).unwrap())
}

#[test]
fn the_verifier_is_asked() {
    if let Some(verdicts) = foreign_verdicts(&Records::new(), &[]) {
        assert_eq!(verdicts, Vec::<Vec<bool>>::new());
    }
}

/// `make test` installs it; where it is not there all the same, a run that must leave nothing out fails.
#[test]
fn without_the_verifier_tests_are_skipped_unless_nothing_may_be() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dkim.py"), "raise ImportError('not on this machine')\n").unwrap();
    for (must_be_there, passes) in [(false, true), (true, false)] {
        let mut itself = Command::new(std::env::current_exe().unwrap());
        itself.args(["--exact", "dkim::the_verifier_is_asked", "--nocapture"]).env("PYTHONPATH", folder.path());
        match must_be_there {
            true => itself.env("OKAERI_NO_SKIP", "1"),
            false => itself.env_remove("OKAERI_NO_SKIP"),
        };
        let ran = itself.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.success(), passes, "{said}");
        assert!(said.contains("python3-dkim is not installed; make test installs it"), "{said}");
    }
}

/// A mail with one more line before its first.
fn topped(mail: &[u8], line: &str) -> Vec<u8> {
    [line.as_bytes(), b"\r\n", mail].concat()
}

/// A mail with one more line at the end of its header.
fn extended(mail: &[u8], line: &str) -> Vec<u8> {
    let end = mail.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    [&mail[..end + 2], line.as_bytes(), &mail[end..]].concat()
}

#[tokio::test]
async fn mail_from_the_wire_passes_a_foreign_receiver_and_no_field_can_be_added() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let (shop, records) = signing_shop(&url, &catcher.url()).await;
        let shop = shop.with_people(3).await;
        shop.okaeri("send hello").await.exits(0);
        let caught: Vec<Vec<u8>> = catcher.mails().iter().map(|m| m.bytes.to_vec()).collect();
        assert_eq!(caught.len(), 3);
        assert!(catcher.mails().iter().all(|m| m.defects.is_empty()), "{:?}", catcher.mails()[0].defects);
        let mail = &caught[0];
        let altered = String::from_utf8(mail.clone()).unwrap().replacen("Subject: Hello", "Subject: Hallo", 1);
        let (from, list) = ("From: Mallory <mallory@example.net>", "List-Unsubscribe: <https://evil.example/u>");
        let broken =
            [topped(mail, from), extended(mail, from), topped(mail, list), extended(mail, list), altered.into()];
        let harmless = topped(mail, "Received: by relay.example.net");
        let mails = [&caught[..], &[harmless][..], &broken[..]].concat();
        let Some(verdicts) = foreign_verdicts(&records, &mails) else { return };
        assert_eq!(verdicts[..4], vec![vec![true, true]; 4], "our own mail, and one that a relay received");
        assert_eq!(verdicts[4..], vec![vec![false, false]; 5], "added or altered fields");
    })
    .await;
}

#[tokio::test]
async fn a_retry_names_the_instant_of_the_first_attempt() {
    each_database(|url| async move {
        let behaviour = Arc::new(ByRecipient::standard());
        let busy = Catcher::start(CatcherOptions { behaviour, ..CatcherOptions::default() }).await.unwrap();
        let (shop, records) = signing_shop(&url, &busy.url()).await;
        shop.write("people.csv", "customer_id,email,consent\nbusy,busy@example.com,offers\n");
        shop.okaeri("import customers people.csv --quiet").await.exits(0);
        shop.okaeri("send hello").await.exits(75);
        // The content was refused for now. An hour passes, and the server is well again.
        let db = shop.database().await;
        let (bucket, hour) = (bucket_of("busy"), HOUR);
        let earlier =
            "UPDATE delivery SET due_at = 0, date_at = date_at - $2 WHERE bucket = $1 AND customer_id = 'busy'";
        assert_eq!(db.execute(earlier, args![bucket, hour]).await.unwrap(), 1);
        db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
        let sql = "SELECT date_at FROM delivery WHERE bucket = $1 AND customer_id = 'busy'";
        let (date_at,): (i64,) = db.fetch_one(sql, args![bucket]).await.unwrap();
        let well = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = shop.smtp(&well.url());
        shop.okaeri("work").await.exits(0);
        let mail = well.mails().pop().unwrap().bytes.to_vec();
        let text = String::from_utf8(mail.clone()).unwrap();
        assert_eq!(text.matches(&format!(" t={};", date_at / 1_000)).count(), 2, "{text}");
        if let Some(verdicts) = foreign_verdicts(&records, &[mail]) {
            assert_eq!(verdicts, [[true, true]]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_not_there_stops_the_verb_before_anything_is_planned() {
    each_database(|url| async move {
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let (shop, _) = signing_shop(&url, &catcher.url()).await;
        let shop = shop.with_people(1).await;
        std::fs::remove_file(shop.path("rsa.pem")).unwrap();
        let shop = shop.with("DKIM_ED", "");
        let told = shop.okaeri("send hello").await.exits(2).stderr;
        assert!(
            told.contains("okaeri.yaml:19:5: error: the DKIM key of selector `ed` is not there: DKIM_ED is not set"),
            "{told}"
        );
        assert!(told.contains("the DKIM key of selector `rsa` cannot be read from rsa.pem: No such file"), "{told}");
        let status = shop.json("queue status", 0).await;
        assert_eq!(status["runs"], json!([]));
        shop.okaeri("check").await.exits(0); // where pull requests are checked there are no keys
        let shop = shop.with("DKIM_ED", "hunter2");
        let told = shop.okaeri("check").await.exits(2).stderr;
        assert!(told.contains("the DKIM key is not a private key: neither PEM nor base64"), "{told}");
        assert_eq!(catcher.mails().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn new_keys_are_for_their_owner_only_and_never_replace_others() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Scenario::new(&format!("sqlite:{}", folder.path().join("a.db").display()));
    let shop = shop.with("PATH", "/usr/local/bin:/usr/bin:/bin");
    let printed = shop.okaeri("dkim key mail-2026.pem").await.exits(0);
    let mode = std::fs::metadata(shop.path("mail-2026.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lines: Vec<&str> = printed.stdout.lines().collect();
    assert!(lines[0].starts_with("mail-2026._domainkey.example.com. IN TXT \"v=DKIM1; k=rsa; p=MII"), "{}", lines[0]);
    assert_eq!(lines[0].matches('"').count(), 4, "two strings: {}", lines[0]);
    assert_eq!(lines[4], "  - { selector: mail-2026, domain: example.com, key_file: mail-2026.pem }");
    assert!(printed.stderr.contains("keep it out of git"));
    // What it prints for okaeri.yaml is what okaeri.yaml takes.
    let shop = shop.settings(&format!("{}\n{}\n", lines[3], lines[4]));
    shop.okaeri("check").await.exits(0);

    let before = std::fs::read(shop.path("mail-2026.pem")).unwrap();
    let refused = shop.okaeri("dkim key mail-2026.pem --algorithm ed25519").await.exits(2);
    assert!(refused.stderr.contains("mail-2026.pem is there already"), "{}", refused.stderr);
    assert_eq!(std::fs::read(shop.path("mail-2026.pem")).unwrap(), before);
    shop.okaeri("dkim key b.pem --selector a/b").await.exits(2);
    assert!(!shop.path("b.pem").exists());
    let nowhere = shop.okaeri("dkim key nowhere/b.pem --algorithm ed25519").await.exits(5);
    assert!(nowhere.stderr.contains("nowhere/b.pem: No such file"), "{}", nowhere.stderr);
    let shop = shop.with("PATH", "");
    let told = shop.okaeri("dkim key c.pem").await.exits(5).stderr;
    assert!(told.contains("the program openssl") && told.contains("--algorithm ed25519"), "{told}");
    let ed: Value = shop.json("dkim key c.pem --algorithm ed25519 --selector s --domain shop.example.com", 0).await;
    assert_eq!(ed["name"], "s._domainkey.shop.example.com");
    assert_eq!(ed["strings"].as_array().unwrap().len(), 1);
}
