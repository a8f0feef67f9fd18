//! Mail travels over TLS, to the server that was meant, or not at all.

use okaeri::catcher::{Catcher, CatcherOptions, Tls};
use okaeri::delivery::{self, Mail, Server};
use okaeri::settings::SmtpUrl;
use serde_json::json;

use crate::ground::certificates::{certificate, expired, of_another_host};
use crate::ground::each_database;
use crate::ground::scenario::Scenario;

#[tokio::test]
async fn mail_travels_over_tls_from_the_first_byte_or_after_starttls_and_never_without() {
    let dir = tempfile::tempdir().unwrap();
    let (config, ca_file) = certificate(dir.path());
    let login = || Some(("shop".to_owned(), "a password".to_owned()));
    for (tls, scheme, query) in
        [(Tls::Implicit(config.clone()), "smtps", ""), (Tls::StartTls(config.clone()), "smtp", "?tls=required")]
    {
        let options = CatcherOptions { tls: Some(tls), auth: login(), ..CatcherOptions::default() };
        let catcher = Catcher::start(options).await.unwrap();
        let url = format!("{scheme}://shop:a%20password@localhost:{}{query}", catcher.addr().port());
        let mail = Mail {
            envelope_from: "bounce@example.com".to_owned(),
            envelope_to: "mia@example.com".to_owned(),
            bytes: b"From: <shop@example.com>\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nHello\r\n".to_vec(),
        };
        let trusting = Server::new(SmtpUrl::parse(&url).unwrap(), Some(&ca_file), "example.com").unwrap();
        delivery::send_copy(&trusting, &mail).await.unwrap();
        let caught = catcher.mails();
        assert!(caught[0].encrypted && caught[0].defects.is_empty(), "{:?}", caught[0]);
        // A certificate nobody vouches for ends the conversation before the login.
        let wary = Server::new(SmtpUrl::parse(&url).unwrap(), None, "example.com").unwrap();
        let refused = delivery::send_copy(&wary, &mail).await.unwrap_err();
        assert!(refused.contains("nobody whom this machine trusts vouches"), "{refused}");
        assert_eq!(catcher.mails().len(), 1);
    }
    // A server that offers no STARTTLS gets no mail when TLS is required.
    let plain = Catcher::start(CatcherOptions::default()).await.unwrap();
    let url = format!("smtp://localhost:{}?tls=required", plain.addr().port());
    let server = Server::new(SmtpUrl::parse(&url).unwrap(), Some(&ca_file), "example.com").unwrap();
    let mail =
        Mail { envelope_from: "b@example.com".into(), envelope_to: "m@example.com".into(), bytes: b"\r\n".to_vec() };
    assert!(delivery::send_copy(&server, &mail).await.unwrap_err().contains("STARTTLS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_the_wrong_certificate_gets_nothing_and_it_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (good, good_file) = certificate(folder.path());
    let (another, another_file) = of_another_host(folder.path());
    let (old, old_file) = expired(folder.path());
    let cases = [
        (
            Tls::Implicit(another),
            another_file,
            "the server's certificate is for mx.example.net, not for localhost (write the host as the certificate has it,",
        ),
        (
            Tls::StartTls(old),
            old_file,
            "the server's certificate expired on 2020-01-01 (whoever runs the server must renew it;",
        ),
    ];
    for (tls, ca_file, told) in cases {
        let (tls, ca_file, good, good_file) = (&tls, &ca_file, &good, &good_file);
        each_database(|url| async move {
            let login = Some(("shop".to_owned(), "secret".to_owned()));
            let options = CatcherOptions { tls: Some(tls.clone()), auth: login, ..CatcherOptions::default() };
            let bad = Catcher::start(options).await.unwrap();
            let trusting = |file: &std::path::Path| format!("  ca_file: {}\n  connections: 4\n", file.display());
            let shop = Scenario::new(&url).smtp(&bad.url().replace("127.0.0.1", "localhost")).campaign("hello", "");
            let shop = shop.with_people(1).await;
            let settings = std::fs::read_to_string(shop.path("okaeri.yaml")).unwrap();
            let write = |file: &std::path::Path| {
                shop.write("okaeri.yaml", settings.replace("  connections: 4\n", &trusting(file)));
            };
            write(ca_file);
            let refused = shop.okaeri("send hello --slot one").await.exits(5);
            assert!(refused.stderr.contains(told), "{}", refused.stderr);
            // Neither the login nor a mail went there, and the message waits as before.
            assert_eq!((bad.mails().len(), bad.counts().messages), (0, 0));
            let list = shop.json("queue list", 0).await;
            let message = &list["messages"][0];
            assert_eq!((&message["state"], &message["attempts"]), (&json!("pending"), &json!(0)), "{list}");
            assert_eq!(shop.json("queue status", 0).await["runs"][0]["state"], "sending", "the run is not held");
            let doctor = shop.json("doctor --dns 127.0.0.1:9", 2).await;
            let found = doctor["findings"].as_array().unwrap().iter().find(|f| f["area"] == "mail_server").unwrap();
            let words = format!("{} ({}", found["finding"].as_str().unwrap(), found["remedy"].as_str().unwrap());
            assert!(found["status"] == "problem" && words.contains(told), "{found}");
            // Mended.
            let options = CatcherOptions { tls: Some(Tls::Implicit(good.clone())), ..CatcherOptions::default() };
            let mended = Catcher::start(options).await.unwrap();
            write(good_file);
            let shop = shop.smtp(&mended.url().replace("127.0.0.1", "localhost"));
            shop.okaeri("work").await.exits(0);
            assert!(mended.mails()[0].encrypted);
        })
        .await;
    }
}
