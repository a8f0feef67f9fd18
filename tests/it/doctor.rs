//! `okaeri doctor` against a real database, a real mail server and a real name server, all on this machine.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use okaeri::catcher::{Catcher, CatcherOptions, Tls};
use serde_json::{Value, json};

use crate::dkim::signing_shop;
use crate::ground::certificates::certificate;
use crate::ground::dns::{Data, NameServer, Zone};
use crate::ground::each_database;
use crate::ground::scenario::Scenario;

fn txt(zone: &mut Zone, name: &str, text: &str) {
    zone.entry(name.to_owned()).or_default().push(Data::Txt(text.to_owned()));
}

/// A zone in which all is well, but for the keys.
fn zone() -> Zone {
    let mut zone = Zone::new();
    txt(&mut zone, "example.com", "v=spf1 include:_spf.example.net mx -all");
    txt(&mut zone, "_spf.example.net", "v=spf1 ip4:192.0.2.0/24 ~all");
    txt(&mut zone, "_dmarc.example.com", "v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com");
    zone.entry("example.com".into()).or_default().push(Data::Mx(10, "mx.example.com"));
    zone.insert("mx.example.com".into(), vec![Data::A(Ipv4Addr::new(192, 0, 2, 1))]);
    zone
}

/// Every finding as `area status finding`.
fn lines(told: &Value) -> Vec<String> {
    let findings = told["findings"].as_array().unwrap().iter();
    let text = |f: &Value, name: &str| f[name].as_str().unwrap().to_owned();
    findings.map(|f| format!("{} {} {}", text(f, "area"), text(f, "status"), text(f, "finding"))).collect()
}

#[tokio::test]
async fn a_shop_in_good_health() {
    each_database(|url| async move {
        let options = CatcherOptions { auth: Some(("shop".into(), "p w".into())), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let (shop, records) = signing_shop(&url, &catcher.url()).await;
        let mut zone = zone();
        for (name, record) in &records {
            txt(&mut zone, name, record);
        }
        let dns = NameServer::start(zone).await;
        let told = shop.json(&format!("doctor --dns {}", dns.addr), 0).await;
        let engine = if url.starts_with("sqlite") { "SQLite" } else { "PostgreSQL" };
        let size = okaeri::catcher::SIZE_BYTES_MAX;
        assert_eq!(
            lines(&told),
            [
                "settings ok okaeri.yaml of kaze can be used".to_owned(),
                "secrets ok the secret that signs links and Message-IDs is set".into(),
                "secrets ok links lead to https://mail.example.com".into(),
                "secrets ok the DKIM key of selector ed (ed25519) is read from the environment".into(),
                "secrets ok the DKIM key of selector rsa (rsa) is read from rsa.pem".into(),
                format!("database ok {engine} answers, its schema is up to date, and it can be written"),
                format!(
                    "mail_server ok smtp://shop@{} answers in clear text, on this machine, takes our login, and offers PIPELINING, SMTPUTF8, DSN, messages up to {size} bytes",
                    catcher.addr()
                ),
                "dns ok SPF of example.com: 2 of 10 lookups, ends in -all; that it names your mail server's addresses is not checked".into(),
                "dns ok DKIM of ed._domainkey.example.com: the ed25519 key is ours".into(),
                "dns ok DKIM of rsa._domainkey.example.com: the rsa key is ours".into(),
                "dns ok DMARC of example.com: policy quarantine".into(),
                "dns ok the signature of example.com (relaxed) and the return path (relaxed) align with From (example.com)".into(),
                "dns ok MX of example.com, where bounces go: mx.example.com".into(),
            ]
        );
        assert_eq!(told["status"], "ok");
        assert_eq!((catcher.counts().messages, catcher.complaints()), (0, vec![]), "no mail was sent, and QUIT was said");
        let text = shop.okaeri(&format!("doctor --dns {}", dns.addr)).await.exits(0).stdout;
        assert!(text.starts_with("settings\n  ✓ ok       okaeri.yaml of kaze can be used\nsecrets\n"), "{text}");
        assert!(text.ends_with("0 problems and 0 warnings\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_to_do() {
    each_database(|url| async move {
        let options = CatcherOptions { auth: Some(("shop".into(), "right".into())), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let (shop, records) = signing_shop(&url, &catcher.url().replace("right", "wrong")).await;
        std::fs::set_permissions(shop.path("rsa.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
        for line in ["init --quiet", "add rsa.pem"] {
            let done = Command::new("git").current_dir(shop.path("")).args(line.split(' ')).status();
            assert!(done.unwrap().success());
        }
        let mut zone = Zone::new();
        // Another selector's key, as after a change of keys that the DNS did not hear of.
        txt(&mut zone, "rsa._domainkey.example.com", &records["ed._domainkey.example.com"]);
        let dns = NameServer::start(zone).await;
        let told = shop.json(&format!("doctor --dns {}", dns.addr), 2).await;
        let found = lines(&told);
        let wrong: Vec<&str> = found.iter().map(String::as_str).filter(|l| !l.contains(" ok ")).collect();
        assert_eq!(wrong[0], "secrets warn others than its owner may read or change rsa.pem");
        assert_eq!(wrong[1], "secrets problem the key rsa.pem is in git");
        let login = wrong[2];
        assert!(login.contains("mail_server problem") && login.contains("refuses our login: 535"), "{login}");
        assert_eq!(
            wrong[3..],
            [
                "dns problem example.com has no SPF record (the DNS knows no name example.com)",
                "dns problem no DKIM key at ed._domainkey.example.com (the DNS knows no name ed._domainkey.example.com)",
                "dns problem the DKIM key at rsa._domainkey.example.com is not the one that signs here",
                "dns problem example.com has no DMARC record (the DNS knows no name _dmarc.example.com)",
                "dns problem example.com, where bounces go, has no MX record (the DNS knows no such name)",
            ]
        );
        for finding in told["findings"].as_array().unwrap() {
            let explained = finding["meaning"].is_string() && finding["remedy"].is_string();
            assert_eq!(explained, finding["status"] != "ok", "{finding}");
        }
        let rsa = records["rsa._domainkey.example.com"].as_str();
        let text = shop.okaeri(&format!("doctor --dns {}", dns.addr)).await.exits(2).stdout;
        let publish = format!(
            "→ publish this TXT record at rsa._domainkey.example.com: \"{}\" \"{}\"\n",
            &rsa[..255],
            &rsa[255..]
        );
        assert!(text.contains(&publish), "{text}");
        assert!(text.contains("  → chmod 600 rsa.pem\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_private_or_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (config, ca_file) = certificate(folder.path());
    let dns = NameServer::start(zone()).await;
    let doctor = format!("doctor --dns {}", dns.addr);
    for (tls, told) in [(Tls::Implicit(config.clone()), "over TLS, "), (Tls::StartTls(config), "over TLS (STARTTLS), ")]
    {
        let options = CatcherOptions { tls: Some(tls), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let shop = Scenario::new(&format!("sqlite:{}/a.db", folder.path().display()));
        let shop = shop.smtp(&catcher.url().replace("127.0.0.1", "localhost"));
        let untrusted = shop.json(&doctor, 2).await; // not later, but when somebody has mended it
        let distrusted = "nobody whom this machine trusts vouches for the server's certificate";
        let found = untrusted["findings"].as_array().unwrap().iter().find(|f| f["area"] == "mail_server").unwrap();
        assert!(found["status"] == "problem" && found["finding"].as_str().unwrap().ends_with(distrusted), "{found}");
        assert!(found["remedy"].as_str().unwrap().contains("smtp.ca_file"), "{found}");
        let settings = std::fs::read_to_string(shop.path("okaeri.yaml")).unwrap();
        let trusting = format!("  ca_file: {}\n  connections: 4\n", ca_file.display());
        shop.write("okaeri.yaml", settings.replace("  connections: 4\n", &trusting));
        // What is left is the missing DKIM key, a warning.
        let trusted = lines(&shop.json(&doctor, 0).await);
        assert!(trusted.iter().any(|l| l.starts_with("mail_server ok") && l.contains(told)), "{trusted:?}");
    }
}

#[tokio::test]
async fn what_does_not_answer_may_do_so_later() {
    each_database(|url| async move {
        // Ports that nobody listens on any more.
        let closed = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (mail, names) = (closed(), closed());
        let shop = Scenario::new(&url).smtp(&format!("smtp://{mail}"));
        let told = shop.json(&format!("doctor --dns {names}"), 5).await;
        let silent: Vec<&Value> =
            told["findings"].as_array().unwrap().iter().filter(|f| f["unavailable"] == true).collect();
        assert!(silent[0]["finding"].as_str().unwrap().starts_with(&format!("smtp://{mail}: ")), "{}", silent[0]);
        assert!(
            silent[1]["finding"].as_str().unwrap().starts_with("the DNS does not answer for example.com: "),
            "{}",
            silent[1]
        );
        assert_eq!((&silent[0]["status"], &silent[1]["status"]), (&json!("problem"), &json!("unclear")));
        assert_eq!(told["status"], "problem");
        let text = shop.okaeri(&format!("doctor --dns {names}")).await.exits(5).stdout;
        assert!(text.contains("  ? unclear  the DNS does not answer for example.com: "), "{text}");
        assert!(text.ends_with("1 problem, 1 warning, and 3 without an answer\n"), "{text}");

        let dns = NameServer::start(zone()).await;
        let catcher = Catcher::start(CatcherOptions::default()).await.unwrap();
        let shop = shop.smtp(&catcher.url()).with("DATABASE_URL", "postgres://okaeri:x@127.0.0.1:1/shop");
        let told = shop.json(&format!("doctor --dns {}", dns.addr), 5).await;
        let database = lines(&told).into_iter().find(|l| l.starts_with("database")).unwrap();
        assert!(database.starts_with("database problem cannot open the database postgres://okaeri"), "{database}");
        assert!(lines(&told).contains(&"dns warn mail leaves here without a DKIM signature".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_missing_name_a_missing_record_and_a_missing_answer_are_three_things() {
    let shop = Scenario::new("sqlite:a.db").smtp("smtp://127.0.0.1:1");
    let mut zone = Zone::new();
    txt(&mut zone, "example.com", "google-site-verification=x");
    zone.insert("_dmarc.example.com".into(), vec![Data::Trouble]);
    let dns = NameServer::start(zone).await;
    let told = shop.json(&format!("doctor --dns {}", dns.addr), 2).await;
    let found: Vec<String> = lines(&told).into_iter().filter(|l| l.starts_with("dns ")).collect();
    assert_eq!(
        [&found[0], &found[3]],
        [
            "dns problem example.com has no SPF record (example.com has a TXT record, about something else)",
            "dns problem example.com, where bounces go, has no MX record", // the name itself is there
        ]
    );
    assert_eq!(
        found[2],
        "dns unclear the DNS does not answer for _dmarc.example.com: the name server says `Server Failure`"
    );
    // A bounce domain that was never made.
    let settings = std::fs::read_to_string(shop.path("okaeri.yaml")).unwrap();
    shop.write("okaeri.yaml", settings.replace("sender:\n", "sender:\n  bounce_domain: bounce.example.com\n"));
    let told = lines(&shop.json(&format!("doctor --dns {}", dns.addr), 2).await);
    for finding in [
        "dns problem bounce.example.com has no SPF record (the DNS knows no name bounce.example.com)",
        "dns problem bounce.example.com, where bounces go, has no MX record (the DNS knows no such name)",
    ] {
        assert!(told.iter().any(|l| l == finding), "{finding}: {told:#?}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_told_in_the_same_way() {
    let shop = Scenario::new("sqlite:a.db").settings("dkmi: {}\n");
    let told = shop.json("doctor --dns 127.0.0.1:9", 2).await;
    assert_eq!(lines(&told), ["settings problem okaeri.yaml:18:1: `dkmi` is not a key of okaeri.yaml"]);
    assert_eq!(told["findings"][0]["remedy"], "did you mean `dkim`?");
    let shop = Scenario::new("sqlite:a.db").smtp("smtp://127.0.0.1:1").with("OKAERI_SECRET", "");
    let told = shop.json("doctor --dns 127.0.0.1:9", 2).await;
    let secret =
        "secrets problem the environment variable OKAERI_SECRET is not set (signing links and Message-IDs needs it)";
    assert!(lines(&told).contains(&secret.to_owned()), "{told}");
    shop.okaeri("doctor --dns example.com").await.exits(2);
}
