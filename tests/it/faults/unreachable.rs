//! Servers that cannot be talked to: nothing was tried, everything waits, and the words say why.

use std::sync::Arc;
use std::time::Duration;

use okaeri::catcher::{Answer, Catcher, CatcherOptions, Move, Reply, Stage, Tls};
use okaeri::db::Db;
use okaeri::delivery::{Ended, Server, Totals};
use okaeri::queue::run;
use okaeri::settings::SmtpUrl;
use okaeri::suppression::{self, Kind};
use rustls::ServerConfig;

use super::table::raw;
use super::{FOR_EVER, drained, found, mended, patience, server};
use crate::ground::certificates::{certificate, expired, of_another_host};
use crate::ground::each_database;
use crate::ground::mail::{at, deserted};
use crate::ground::sending::enqueued;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_talked_to_leaves_everything_pending_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (config, ca_file) = &certificate(folder.path());
    let (another, another_file) = &of_another_host(folder.path());
    let (old, old_file) = &expired(folder.path());
    let login = Some(("shop".to_owned(), "secret".to_owned()));
    let login = &login;
    each_database(|url| async move {
        use Stage::{Auth, Banner, Ehlo, StartTls};
        let db = Db::open(&url).await.unwrap();
        let says = |code, text: &'static str| Answer::reply(code, "", text);
        let starttls = || Some(Tls::StartTls(config.clone()));
        let implicit = |of: &Arc<ServerConfig>| Some(Tls::Implicit(of.clone()));
        let agrees = Answer::agree;
        let (trusted, stranger) = (Some(ca_file), None);
        let slow = Answer::of([Move::Trickle(b"220 slow.example ESMTP\r\n".to_vec(), Duration::from_secs(1))]);
        let injected = Answer::of([raw(b"220 Go ahead\r\n250 Injected\r\n")]);
        let handshake = Answer::of([Move::Say(Reply::new(220, "2.0.0", "Go ahead")), Move::Reset]);
        // (what happens, its TLS, the certificate that is trusted, whether it is mute, what is told)
        let faults = [
            (at(Banner, Answer::stall(FOR_EVER)), None, stranger, true, "no greeting within 400ms"),
            (at(Banner, slow), None, stranger, true, "no greeting within 400ms"),
            (at(Banner, says(554, "No service")), None, stranger, false, "554 No service"),
            (at(Banner, Answer::of([raw(b"SSH-2.0-OpenSSH_9.2\r\n")])), None, stranger, false, "error"),
            (at(Banner, Answer::of([Move::Endless(b"220-more\r\n".to_vec())])), None, stranger, false, "endless"),
            (at(Banner, Answer::of([Move::Endless(b"220 more".to_vec())])), None, stranger, false, "endless"),
            (at(Ehlo, says(550, "Not you")), None, stranger, false, "550 Not you"),
            (at(Ehlo, Answer::close()), None, stranger, false, "response"),
            (at(StartTls, says(454, "Not now")), starttls(), trusted, false, "STARTTLS refused: 454"),
            (at(StartTls, injected), starttls(), trusted, false, "more than one reply before TLS"),
            (at(StartTls, handshake), starttls(), trusted, false, "TLS"),
            (
                at(Stage::Noop, agrees()),
                starttls(),
                stranger,
                false,
                "nobody whom this machine trusts vouches for the server's certificate",
            ),
            (
                at(Stage::Noop, agrees()),
                implicit(another),
                Some(another_file),
                false,
                "certificate is for mx.example.net, not for localhost",
            ),
            (at(Stage::Noop, agrees()), implicit(old), Some(old_file), false, "certificate expired on 2020-01-01"),
            (at(Auth, says(454, "Temporary failure")), None, stranger, false, "454 Temporary failure"),
            (at(Auth, Answer::reset()), None, stranger, false, "reset"),
        ];
        for (n, (behaviour, tls, ca_file, mute, told)) in faults.into_iter().enumerate() {
            let options = CatcherOptions { behaviour, auth: login.clone(), tls, ..CatcherOptions::default() };
            let catcher = Catcher::start(options).await.unwrap();
            let address = catcher.url().replace("127.0.0.1", "localhost");
            let server =
                Server::new(SmtpUrl::parse(&address).unwrap(), ca_file.map(std::path::PathBuf::as_path), "example.com");
            is_unavailable(&db, &format!("c{n}"), server.unwrap().with_patience(patience(mute)), told).await;
            assert_eq!(catcher.counts().messages, 0, "{told}");
        }
        // Somebody between us and the server takes STARTTLS out of what it offers.
        let plain = Catcher::start(CatcherOptions::default()).await.unwrap();
        let stripped = server(&format!("{}?tls=required", plain.url()), patience(false));
        is_unavailable(&db, "stripped", stripped, "offers no STARTTLS").await;
        let nobody = server(&deserted(), patience(false));
        is_unavailable(&db, "nobody", nobody, "refused").await;
    })
    .await;
}

/// The work ends because the server cannot be reached; the message waits as before and reaches one that can.
async fn is_unavailable(db: &Db, customer: &str, server: Server, told: &str) {
    let address = format!("{customer}@example.com");
    let run_id = enqueued(db, customer, &[&address]).await;
    let (totals, ended) = drained(db, &run_id, server, 2, 0).await;
    assert!(matches!(&ended, Ended::ServerUnavailable(why) if why.contains(told)), "{told}: {ended:?}");
    assert_eq!(totals, Totals::default(), "{told}");
    let (found, tried) = found(db, customer).await;
    assert_eq!((found.state.as_str(), tried), ("pending", vec![]), "{told}: nothing was tried");
    let run = run::get(db, &run_id).await.unwrap().unwrap();
    assert!(run.state().may_send(), "{told}: the run is not held");
    assert!(!suppression::is_suppressed(db, &address, Kind::Service, "offers").await.unwrap(), "{told}");
    assert_eq!(mended(db, &run_id, 0).await, 1, "{told}");
}
