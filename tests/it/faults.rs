//! What a mail server can do wrong, one scenario each, and what becomes of the message: its state, what the refusal is taken to be about, when
//! it is tried again, whether its address is suppressed, and how many copies the server keeps.
//!
//! Every scenario ends with a server that behaves: what waited reaches it, once; whatever may have arrived, or was refused for good, does not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use okaeri::args;
use okaeri::catcher::{Answer, Behaviour, Catcher, CatcherOptions, Extensions, Keep, Moment, Move, Reply, Stage, Tls};
use okaeri::clock::{self, HOUR, MINUTE, Millis};
use okaeri::db::{Db, bucket_of};
use okaeri::delivery::{Compose, Ended, Limits, Mail, Options, Patience, Server, Totals, drain};
use okaeri::queue::lease::Queued;
use okaeri::queue::{RunState, run};
use okaeri::settings::{Pacing, SmtpUrl};
use okaeri::suppression::{self, Kind};
use tokio::sync::watch;

use crate::delivery::{certificate, enqueued, relay};
use crate::ground::each_database;
use crate::ground::mail::{Acting, at, conversations, deserted};

/// More than the buffers of a connection hold, in bytes: its end cannot be written while the server does not read.
const LARGE: usize = 20 * 1024 * 1024;
/// Longer than any scenario waits.
const FOR_EVER: Duration = Duration::from_secs(600);

/// A mail of at least so many bytes.
struct Letter {
    bytes: usize,
}

impl Compose for Letter {
    fn compose(&self, m: &Queued, _: Millis) -> Result<Mail, String> {
        let to = m.address.clone().unwrap_or_default();
        let head = format!(
            "From: Shop <shop@example.com>\r\nTo: <{to}>\r\nSubject: Hello\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\n\
             Message-ID: <{}@example.com>\r\n\r\nHello\r\n",
            m.message_id
        );
        let mut bytes = head.into_bytes();
        while bytes.len() < self.bytes {
            bytes.extend_from_slice(&[b'x'; 76]);
            bytes.extend_from_slice(b"\r\n");
        }
        Ok(Mail { envelope_from: "bounce@example.com".to_owned(), envelope_to: to, bytes })
    }

    fn kind(&self) -> Kind {
        Kind::Promotional
    }

    fn expires_at(&self) -> Millis {
        clock::now() + HOUR
    }

    fn limits(&self) -> Limits {
        Limits { hard_bounce: 0.05, policy: 0.05, failed: 0.1, complaint: 1.0 }
    }
}

fn raw(bytes: &[u8]) -> Move {
    Move::Raw(bytes.to_vec())
}

/// Waits long for what comes, and shortly for what does not.
fn patience(the_server_is_mute: bool) -> Patience {
    let long = Duration::from_secs(if the_server_is_mute { 0 } else { 30 }) + Duration::from_millis(400);
    Patience { connect: long, command: long, content: long, reconnect: Duration::from_millis(5) }
}

async fn drained(db: &Db, run_id: &str, server: Server, connections: u32, bytes: usize) -> (Totals, Ended) {
    drained_until(db, run_id, server, connections, bytes, None).await
}

async fn drained_until(
    db: &Db,
    run_id: &str,
    server: Server,
    connections: u32,
    bytes: usize,
    until: Option<tokio::time::Instant>,
) -> (Totals, Ended) {
    let (_keep, stop) = watch::channel(false);
    let options = Options {
        run_id: Some(run_id.to_owned()),
        relays: vec![relay(server, connections, Pacing::default())],
        open_composer: Arc::new(move |_| Box::pin(async move { Ok(Arc::new(Letter { bytes }) as Arc<dyn Compose>) })),
        recheck: None,
        signer: None,
        until,
        stop,
        progress: None,
    };
    drain(db, options).await.unwrap()
}

fn server(url: &str, patience: Patience) -> Server {
    Server::new(SmtpUrl::parse(url).unwrap(), None, "example.com").unwrap().with_patience(patience)
}

/// Everything that waits is due now, and goes to a server that behaves; how many mails it got.
async fn mended(db: &Db, run_id: &str, bytes: usize) -> u64 {
    // A lane that was slowed takes minutes to recover; that is tested in `pacing`.
    db.execute("DELETE FROM pace", vec![]).await.unwrap();
    db.execute("UPDATE chunk SET due_at = 0 WHERE state = 'open'", args![]).await.unwrap();
    db.execute("UPDATE delivery SET due_at = 0 WHERE state IN ('deferred', 'pending')", args![]).await.unwrap();
    let catcher = Catcher::start(CatcherOptions { keep: Keep::Count, ..CatcherOptions::default() }).await.unwrap();
    drained(db, run_id, server(&catcher.url(), patience(false)), 1, bytes).await;
    catcher.counts().messages
}

#[derive(sqlx::FromRow)]
struct Found {
    state: String,
    due_at: i64,
    changed_at: i64,
}

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Tried {
    stage: String,
    code: Option<i64>,
    enhanced: Option<String>,
    about: Option<String>,
}

async fn found(db: &Db, customer_id: &str) -> (Found, Vec<Tried>) {
    let key = || args![bucket_of(customer_id), customer_id];
    let sql = "SELECT state, due_at, changed_at FROM delivery WHERE bucket = $1 AND customer_id = $2";
    let found: Found = db.fetch_one(sql, key()).await.unwrap();
    let sql = "SELECT a.stage, a.code, a.enhanced, a.about FROM delivery d JOIN attempt a ON a.bucket = d.bucket \
               AND a.chunk_id = d.chunk_id AND a.seq = d.seq WHERE d.bucket = $1 AND d.customer_id = $2";
    (found, db.fetch_all(sql, key()).await.unwrap())
}

/// What a server does to one message, and what is expected.
struct Fault {
    named: &'static str,
    behaviour: Arc<dyn Behaviour>,
    state: &'static str,
    /// The reply and what it is about, as the attempt keeps them.
    code: Option<i64>,
    enhanced: Option<&'static str>,
    about: Option<&'static str>,
    /// Copies that the misbehaving server keeps.
    stored: u64,
    bytes: usize,
    mute: bool,
}

impl Fault {
    fn new(named: &'static str, stage: Stage, answer: Answer, state: &'static str) -> Fault {
        let behaviour = at(stage, answer);
        Fault { named, behaviour, state, code: None, enhanced: None, about: None, stored: 0, bytes: 0, mute: false }
    }

    fn code(self, code: i64) -> Fault {
        Fault { code: Some(code), ..self }
    }

    fn enhanced(self, enhanced: &'static str) -> Fault {
        Fault { enhanced: Some(enhanced), ..self }
    }

    fn about(self, about: &'static str) -> Fault {
        Fault { about: Some(about), ..self }
    }

    fn stored(self) -> Fault {
        Fault { stored: 1, ..self }
    }

    fn large(self) -> Fault {
        Fault { bytes: LARGE, ..self }
    }

    fn mute(self) -> Fault {
        Fault { mute: true, ..self }
    }
}

/// Whether the server keeps the conversation as it announces it.
fn faults() -> Vec<Fault> {
    use Stage::{Content, Data, EndOfData, Mail, Rcpt};
    let says = |code, enhanced: &'static str| Answer::reply(code, enhanced, "So says the test");
    let again = || raw(b"250 2.0.0 Again\r\n");
    vec![
        Fault::new("nothing", Stage::Noop, Answer::agree(), "accepted").stored(),
        Fault::new("MAIL 451", Mail, says(451, "4.3.0"), "deferred").code(451).enhanced("4.3.0"),
        Fault::new("MAIL 421 on a new connection", Mail, says(421, "4.7.0"), "deferred").code(421).enhanced("4.7.0"),
        Fault::new("MAIL 550 policy", Mail, says(550, "5.7.1"), "failed").code(550).enhanced("5.7.1").about("policy"),
        Fault::new("MAIL 550 our domain", Mail, says(550, "5.1.2"), "failed")
            .code(550)
            .enhanced("5.1.2")
            .about("policy"),
        Fault::new("MAIL neither yes nor no", Mail, Answer::reply(200, "", "OK"), "deferred"),
        Fault::new("MAIL reset", Mail, Answer::reset(), "deferred"),
        Fault::new("MAIL mute", Mail, Answer::stall(FOR_EVER), "deferred").mute(),
        Fault::new("RCPT 421", Rcpt, says(421, "4.7.0"), "deferred").code(421).enhanced("4.7.0"),
        Fault::new("RCPT 450", Rcpt, says(450, "4.2.0"), "deferred").code(450).enhanced("4.2.0"),
        Fault::new("RCPT 452", Rcpt, says(452, "4.2.2"), "deferred").code(452).enhanced("4.2.2"),
        Fault::new("RCPT 552", Rcpt, says(552, "5.2.2"), "failed").code(552).enhanced("5.2.2").about("message"),
        Fault::new("RCPT 550 nobody", Rcpt, says(550, "5.1.1"), "failed").code(550).enhanced("5.1.1").about("mailbox"),
        Fault::new("RCPT 550 policy", Rcpt, says(550, "5.7.1"), "failed").code(550).enhanced("5.7.1").about("policy"),
        Fault::new("RCPT neither yes nor no", Rcpt, Answer::reply(253, "", "OK, pending"), "deferred"),
        Fault::new("RCPT 550 not there", Rcpt, says(550, "5.5.0"), "failed")
            .code(550)
            .enhanced("5.5.0")
            .about("message"),
        Fault::new("RCPT 251", Rcpt, Answer::reply(251, "", "Will forward"), "accepted").stored(),
        Fault::new("RCPT 550 on two lines", Rcpt, Answer::reply(550, "5.1.1", "Nobody\nhere"), "failed")
            .code(550)
            .enhanced("5.1.1")
            .about("mailbox"),
        Fault::new("RCPT 550 not UTF-8", Rcpt, Answer::of([raw(b"550 5.1.1 na\xefve\r\n")]), "failed")
            .code(550)
            .enhanced("5.1.1")
            .about("mailbox"),
        Fault::new("RCPT endless lines", Rcpt, Answer::of([Move::Endless(b"250-more\r\n".to_vec())]), "deferred"),
        Fault::new("RCPT endless line", Rcpt, Answer::of([Move::Endless(b"250 more ".to_vec())]), "deferred"),
        Fault::new("RCPT answered twice", Rcpt, Answer::of([Move::Agree, again()]), "deferred"),
        Fault::new("DATA 451", Data, says(451, "4.3.0"), "deferred").code(451).enhanced("4.3.0"),
        Fault::new("DATA 554", Data, says(554, "5.3.0"), "failed").code(554).enhanced("5.3.0").about("message"),
        Fault::new("DATA 250", Data, says(250, "2.0.0"), "deferred").code(250).enhanced("2.0.0"),
        Fault::new("DATA reset", Data, Answer::reset(), "deferred"),
        Fault::new("DATA answered twice", Data, Answer::of([Move::Agree, again()]), "deferred"),
        Fault::new("content reset before its end", Content, Answer::reset(), "deferred").large(),
        Fault::new("content not read", Content, Answer::of([Move::Wait(FOR_EVER)]), "deferred").large().mute(),
        Fault::new("content 451", EndOfData, says(451, "4.3.0"), "deferred").code(451).enhanced("4.3.0"),
        Fault::new("content 421", EndOfData, says(421, "4.3.2"), "deferred").code(421).enhanced("4.3.2"),
        Fault::new("content 554", EndOfData, says(554, "5.6.0"), "failed").code(554).enhanced("5.6.0").about("message"),
        Fault::new("content 554 policy", EndOfData, says(554, "5.7.1"), "failed")
            .code(554)
            .enhanced("5.7.1")
            .about("policy"),
        Fault::new("content 354", EndOfData, Answer::of([Move::Store, raw(b"354 go on\r\n")]), "unknown").stored(),
        Fault::new("content lost", EndOfData, Answer::close(), "unknown"),
        Fault::new("content kept, then closed", EndOfData, Answer::store_then_close(), "unknown").stored(),
        Fault::new("content kept, then reset", EndOfData, Answer::store_then_reset(), "unknown").stored(),
        Fault::new("content kept, then mute", EndOfData, Answer::store_then_wait(FOR_EVER), "unknown").stored().mute(),
        Fault::new(
            "content kept, half a code",
            EndOfData,
            Answer::of([Move::Store, raw(b"25"), Move::Close]),
            "unknown",
        )
        .stored(),
        Fault::new("content answered late", EndOfData, Answer::store_then_wait(Duration::from_millis(300)), "accepted")
            .stored(),
        Fault::new("content answered twice", EndOfData, Answer::of([Move::Agree, again()]), "accepted").stored(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_conversation_finds_its_state_and_no_message_leaves_twice() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        for (conversation, extensions) in conversations() {
            // BDAT needs no DATA.
            let met = |fault: &Fault| conversation != "chunked" || !fault.named.starts_with("DATA");
            for (n, fault) in faults().into_iter().filter(met).enumerate() {
                // A large content takes longer than a mute server is waited for.
                let places = if fault.mute && fault.bytes > 0 { 1 } else { 2 };
                for place in [Place::First, Place::Second].into_iter().take(places) {
                    let customer = format!("c{n}-{conversation}-{place:?}").to_lowercase();
                    suffers(&db, &customer, &fault, place, extensions.clone()).await;
                }
            }
        }
    })
    .await;
}

/// Which message of a conversation meets the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    /// The one behind a message that is accepted: its envelope may come with that content.
    Second,
}

/// Agrees until one message is stored, then does what another does.
struct AfterOne {
    then: Arc<dyn Behaviour>,
    first: Mutex<Option<String>>,
}

impl Behaviour for AfterOne {
    fn answer(&self, moment: &Moment<'_>) -> Answer {
        let mut first = self.first.lock().unwrap();
        match &*first {
            Some(_) => self.then.answer(moment),
            None => {
                *first = (moment.stage == Stage::EndOfData).then(|| moment.argument.to_owned());
                Answer::agree()
            }
        }
    }
}

/// One message meets the fault.
async fn suffers(db: &Db, customer: &str, fault: &Fault, place: Place, extensions: Extensions) {
    let told = format!("{} ({customer})", fault.named);
    let after_one = Arc::new(AfterOne { then: fault.behaviour.clone(), first: Mutex::default() });
    let behaviour = if place == Place::First { fault.behaviour.clone() } else { after_one.clone() };
    let options = CatcherOptions { behaviour, extensions, keep: Keep::Count, ..Default::default() };
    let catcher = Catcher::start(options).await.unwrap();
    let mut customers = vec![customer.to_owned()];
    if place == Place::Second {
        customers.push(format!("{customer}-too"));
    }
    let addresses: Vec<String> = customers.iter().map(|c| format!("{c}@example.com")).collect();
    let run_id = enqueued(db, customer, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let sent = server(&catcher.url(), patience(fault.mute));
    let (_, ended) = drained(db, &run_id, sent, 1, fault.bytes).await;
    assert_eq!(ended, Ended::Idle, "{told}");
    let lucky = after_one.first.lock().unwrap().clone();
    if let Some(lucky) = &lucky {
        let (found, tried) = found(db, lucky.strip_suffix("@example.com").unwrap()).await;
        assert_eq!((found.state.as_str(), tried.len()), ("accepted", 0), "{told}: the first");
    }
    let (customer, address) =
        customers.iter().zip(&addresses).find(|(_, address)| Some(*address) != lucky.as_ref()).unwrap();
    let (found, tried) = found(db, customer).await;
    assert_eq!(found.state, fault.state, "{told}: {tried:?}");
    let wait = found.due_at - found.changed_at;
    let waits = (4 * MINUTE..=6 * MINUTE).contains(&wait);
    assert_eq!(waits, fault.state == "deferred", "{told}: due again after {wait} ms");
    match &tried[..] {
        [] => assert_eq!(fault.state, "accepted", "{told}"),
        [tried] => {
            assert_eq!(tried.about.as_deref(), fault.about, "{told}");
            if fault.code.is_some() {
                assert_eq!((tried.code, tried.enhanced.as_deref()), (fault.code, fault.enhanced), "{told}");
            }
            let stage = told.split(' ').next().unwrap().to_lowercase();
            assert!(tried.stage == stage || tried.code.is_none() || fault.code.is_none(), "{told}: {tried:?}");
        }
        more => panic!("{told}: tried once, recorded {more:?}"),
    }
    let suppressed = suppression::is_suppressed(db, address, Kind::Service, "offers").await.unwrap();
    assert_eq!(suppressed, fault.about == Some("mailbox"), "{told}: only a mailbox that does not exist is suppressed");
    let stored = fault.stored + u64::from(place == Place::Second);
    assert_eq!(catcher.counts().messages, stored, "{told}: copies the server keeps");
    let due_again = u64::from(fault.state == "deferred");
    assert_eq!(mended(db, &run_id, fault.bytes).await, due_again, "{told}: what waits is sent, and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_talked_to_leaves_everything_pending_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (config, ca_file) = certificate(folder.path());
    let (config, ca_file) = (&config, &ca_file);
    let login = Some(("shop".to_owned(), "secret".to_owned()));
    let login = &login;
    each_database(|url| async move {
        use Stage::{Auth, Banner, Ehlo, StartTls};
        let db = Db::open(&url).await.unwrap();
        let says = |code, text: &'static str| Answer::reply(code, "", text);
        let starttls = || Some(Tls::StartTls(config.clone()));
        let slow = Answer::of([Move::Trickle(b"220 slow.example ESMTP\r\n".to_vec(), Duration::from_secs(1))]);
        let injected = Answer::of([raw(b"220 Go ahead\r\n250 Injected\r\n")]);
        let handshake = Answer::of([Move::Say(Reply::new(220, "2.0.0", "Go ahead")), Move::Reset]);
        // (what happens, its TLS, whether its certificate is trusted, whether it is mute, what is told)
        let faults = [
            (at(Banner, Answer::stall(FOR_EVER)), None, false, true, "no greeting within 400ms"),
            (at(Banner, slow), None, false, true, "no greeting within 400ms"),
            (at(Banner, says(554, "No service")), None, false, false, "554 No service"),
            (at(Banner, Answer::of([raw(b"SSH-2.0-OpenSSH_9.2\r\n")])), None, false, false, "error"),
            (at(Banner, Answer::of([Move::Endless(b"220-more\r\n".to_vec())])), None, false, false, "endless"),
            (at(Banner, Answer::of([Move::Endless(b"220 more".to_vec())])), None, false, false, "endless"),
            (at(Ehlo, says(550, "Not you")), None, false, false, "550 Not you"),
            (at(Ehlo, Answer::close()), None, false, false, "response"),
            (at(StartTls, says(454, "Not now")), starttls(), true, false, "STARTTLS refused: 454"),
            (at(StartTls, injected), starttls(), true, false, "more than one reply before TLS"),
            (at(StartTls, handshake), starttls(), true, false, "TLS"),
            (at(Stage::Noop, Answer::agree()), starttls(), false, false, "certificate"),
            (at(Auth, says(454, "Temporary failure")), None, false, false, "454 Temporary failure"),
            (at(Auth, Answer::reset()), None, false, false, "reset"),
        ];
        for (n, (behaviour, tls, trusted, mute, told)) in faults.into_iter().enumerate() {
            let options = CatcherOptions { behaviour, auth: login.clone(), tls, ..CatcherOptions::default() };
            let catcher = Catcher::start(options).await.unwrap();
            let address = catcher.url().replace("127.0.0.1", "localhost");
            let server = Server::new(SmtpUrl::parse(&address).unwrap(), trusted.then_some(&**ca_file), "example.com");
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

/// So many people of one campaign.
fn people(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("p{i}@example.com")).collect()
}

/// A run to `n` people meets the server; how it ended and what the server kept.
async fn sent_to(
    db: &Db,
    n: usize,
    options: CatcherOptions,
    connections: u32,
    patience: Patience,
) -> (String, Totals, Ended, Vec<String>) {
    let catcher = Catcher::start(options).await.unwrap();
    let addresses = people(n);
    let run_id = enqueued(db, "hello", &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (totals, ended) = drained(db, &run_id, server(&catcher.url(), patience), connections, 0).await;
    let mut kept: Vec<String> = catcher.mails().into_iter().flat_map(|m| m.envelope_to).collect();
    kept.sort();
    (run_id, totals, ended, kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_limit_connections_or_messages_get_everything_once_and_without_a_delay() {
    const PEOPLE: usize = 120;
    let one_connection = |m: &Moment<'_>| match m.stage {
        Stage::Banner if m.open_connections > 1 => Answer::reply(421, "4.7.0", "Too many connections"),
        Stage::EndOfData => Answer::store_then_wait(Duration::from_millis(2)),
        _ => Answer::agree(),
    };
    let seven_messages = |m: &Moment<'_>| match m.stage {
        Stage::Mail if m.messages >= 7 => Answer::reply(421, "4.7.0", "Too many messages"),
        _ => Answer::agree(),
    };
    let seven_then_silence = |m: &Moment<'_>| match m.stage {
        Stage::EndOfData if m.messages >= 6 => Answer::of([Move::Agree, Move::Close]),
        _ => Answer::agree(),
    };
    let answers_twice = |m: &Moment<'_>| match m.stage {
        Stage::EndOfData => Answer::of([Move::Agree, raw(b"250 2.0.0 Again\r\n")]),
        _ => Answer::agree(),
    };
    let forgets_what_follows = |m: &Moment<'_>| match m.stage {
        Stage::EndOfData => Answer::of([Move::Agree, Move::DropInput]),
        _ => Answer::agree(),
    };
    // Each connection waits once for an answer that does not come.
    let shortly = Patience { command: Duration::from_secs(2), ..patience(false) };
    let behaviours: [(Arc<dyn Behaviour>, Patience); 5] = [
        (Arc::new(Acting(one_connection)), patience(false)),
        (Arc::new(Acting(seven_messages)), patience(false)),
        (Arc::new(Acting(seven_then_silence)), patience(false)),
        (Arc::new(Acting(answers_twice)), patience(false)),
        (Arc::new(Acting(forgets_what_follows)), shortly),
    ];
    for (n, (behaviour, patience)) in behaviours.into_iter().enumerate() {
        for (conversation, extensions) in conversations() {
            let (behaviour, extensions) = (&behaviour, &extensions);
            each_database(|url| async move {
                let db = Db::open(&url).await.unwrap();
                let extensions = extensions.clone();
                let options = CatcherOptions { behaviour: behaviour.clone(), extensions, ..CatcherOptions::default() };
                let (_, totals, ended, kept) = sent_to(&db, PEOPLE, options, 4, patience).await;
                let told = format!("behaviour {n}, {conversation}: {totals:?}");
                assert_eq!((totals.accepted, ended), (PEOPLE as u64, Ended::Idle), "{told}");
                let mut everyone = people(PEOPLE);
                everyone.sort();
                assert_eq!(kept, everyone, "{told}");
                let (tried,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM attempt", args![]).await.unwrap();
                assert_eq!(tried, 0, "{told}: no try failed");
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_because_of_us_hold_the_run_before_everybody_was_tried() {
    let policy = at(Stage::Mail, Answer::reply(550, "5.7.1", "Not from you"));
    let login = at(Stage::Mail, Answer::reply(530, "5.7.0", "Authentication required"));
    let password = at(Stage::Auth, Answer::reply(535, "5.7.8", "Wrong password"));
    for (behaviour, failed_max, told) in
        [(policy, 13, "mails in a row"), (login, 0, "refused our login"), (password, 0, "535 5.7.8 Wrong password")]
    {
        let behaviour = &behaviour;
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let auth = Some(("shop".to_owned(), "secret".to_owned()));
            let options = CatcherOptions { behaviour: behaviour.clone(), auth, ..CatcherOptions::default() };
            let (run_id, totals, ended, kept) = sent_to(&db, 60, options, 4, patience(false)).await;
            assert!(matches!(&ended, Ended::Paused(why) if why.contains(told)), "{ended:?}");
            assert!(totals.failed <= failed_max, "{told}: {totals:?}");
            assert_eq!(kept.len(), 0);
            assert_eq!(run::get(&db, &run_id).await.unwrap().unwrap().state(), RunState::Paused);
            assert_eq!(mended(&db, &run_id, 0).await, 0, "a held run stays where it is");
            assert!(run::advance(&db, &run_id, run::Move::Resume, None, clock::now()).await.unwrap());
            assert_eq!(mended(&db, &run_id, 0).await, 60 - totals.failed, "{told}: the rest is sent");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_swallows_all_answers_does_not_bring_everybody_in_doubt() {
    for (_, extensions) in conversations() {
        let extensions = &extensions;
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let behaviour = at(Stage::EndOfData, Answer::store_then_close());
            let options = CatcherOptions { behaviour, extensions: extensions.clone(), ..CatcherOptions::default() };
            let (run_id, totals, ended, kept) = sent_to(&db, 60, options, 4, patience(false)).await;
            assert!(matches!(&ended, Ended::Paused(why) if why.contains("mails in a row (other) were sent and got no answer")), "{ended:?}");
            assert!((10..=13).contains(&totals.unknown), "ten, and one of each other connection: {totals:?}");
            assert_eq!(kept.len() as u64, totals.unknown);
            assert!(run::advance(&db, &run_id, run::Move::Resume, None, clock::now()).await.unwrap());
            assert_eq!(mended(&db, &run_id, 0).await, 60 - totals.unknown, "the rest is sent");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_ends_in_time_before_a_server_that_says_nothing() {
    for stage in [Stage::Banner, Stage::Mail, Stage::Rcpt] {
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let options = CatcherOptions { behaviour: at(stage, Answer::stall(FOR_EVER)), ..CatcherOptions::default() };
            let catcher = Catcher::start(options).await.unwrap();
            let run_id = enqueued(&db, "hello", &["mia@example.com"]).await;
            let until = tokio::time::Instant::now() + Duration::from_millis(100);
            // Whoever waits for an answer waits for half a minute, and notes a try.
            let server = server(&catcher.url(), patience(false));
            let (totals, ended) = drained_until(&db, &run_id, server, 2, 0, Some(until)).await;
            assert_eq!((totals, ended), (Totals::default(), Ended::TimeUp), "{stage:?}");
            let (found, tried) = found(&db, "mia").await;
            assert_eq!((found.state.as_str(), tried), ("pending", vec![]), "{stage:?}");
            assert_eq!(mended(&db, &run_id, 0).await, 1, "{stage:?}");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_not_offer_is_not_asked_of_it() {
    let small = Extensions { size_max: Some(100), ..Extensions::default() };
    let seven_bit = Extensions { eight_bit_mime: false, ..Extensions::default() };
    let ascii = Extensions { smtp_utf8: false, ..Extensions::default() };
    for (extensions, customer, state, code) in [
        (&small, "mia", "failed", Some(552)),
        (&seven_bit, "mia", "accepted", None),
        (&ascii, "mia", "accepted", None),
        (&ascii, "美佳", "failed", Some(553)),
        (&Extensions::none(), "mia", "accepted", None),
    ] {
        each_database(|url| async move {
            let db = Db::open(&url).await.unwrap();
            let options = CatcherOptions { extensions: extensions.clone(), ..CatcherOptions::default() };
            let catcher = Catcher::start(options).await.unwrap();
            let address = format!("{customer}@example.com");
            let run_id = enqueued(&db, "hello", &[&address]).await;
            let (_, ended) = drained(&db, &run_id, server(&catcher.url(), patience(false)), 1, 0).await;
            assert_eq!(ended, Ended::Idle);
            let (found, tried) = found(&db, customer).await;
            assert_eq!((found.state.as_str(), tried.first().and_then(|t| t.code)), (state, code), "{extensions:?}");
            assert!(tried.iter().all(|t| t.about.as_deref() == Some("message")), "{tried:?}");
            assert!(!suppression::is_suppressed(&db, &address, Kind::Service, "offers").await.unwrap());
            assert_eq!(catcher.complaints(), Vec::<String>::new());
            assert!(catcher.mails().iter().all(|m| m.defects.is_empty()), "{:?}", catcher.mails());
            assert_eq!(catcher.counts().messages, u64::from(state == "accepted"));
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_about_pipelining_gets_nothing_and_loses_nothing() {
    each_database(|url| async move {
        let db = Db::open(&url).await.unwrap();
        let lies =
            Fault::new("MAIL drops what follows", Stage::Mail, Answer::of([Move::Agree, Move::DropInput]), "deferred");
        let lies = lies.mute();
        for (conversation, extensions) in conversations().into_iter().filter(|(_, offers)| offers.pipelining) {
            suffers(&db, conversation, &lies, Place::First, extensions).await;
        }
    })
    .await;
}
