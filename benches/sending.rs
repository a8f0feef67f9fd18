//! `make bench`: how fast messages leave — from the lease of a chunk to the outcome in the ledger, rendering, signing and SMTP included.
//!
//! Planning is not in it: each line drains a run that was planned before (`okaeri work`), of as many personal messages of about 5 kB as there
//! are customers. The mail server is a sink in a process of its own. Beside the lines stand a durable write (fdatasync), the signatures that
//! the processors give with nothing else to do, and Postfix' `smtp-source` where it is installed. A line whose messages were not all
//! accepted is marked `FAILED`. `docs/benchmarks.md` says what each column means.
//!
//! `OKAERI_BENCH_CUSTOMERS` (default 10,000) changes the size.

#[path = "measure/letter.rs"]
mod letter;
mod measure;
#[path = "segments/place.rs"]
mod place;
#[path = "sending/sink.rs"]
mod sink;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use okaeri::dkim::{Identity, PrivateKey, Signer};
use okaeri::queue::run;
use okaeri::{args, clock};
use tokio::runtime::Runtime;

use measure::{Cost, Verbs};
use place::Place;
use sink::{Offer, Sink};

const CUSTOMERS: usize = 10_000;
/// How long signing alone is measured.
const SIGNING: Duration = Duration::from_secs(2);
const KEY_FILE: &str = "bench.pem";
/// A released run is worth sending for so long, in milliseconds.
const LIFETIME: i64 = 24 * 3_600_000;

/// One line of the table.
struct Case {
    connections: u32,
    delay_ms: u64,
    offer: Offer,
    signed: bool,
}

const CASES: [Case; 9] = [
    Case { connections: 1, delay_ms: 0, offer: Offer::Chunking, signed: false },
    Case { connections: 10, delay_ms: 0, offer: Offer::Chunking, signed: false },
    Case { connections: 50, delay_ms: 0, offer: Offer::Chunking, signed: false },
    Case { connections: 50, delay_ms: 0, offer: Offer::Pipelining, signed: false },
    Case { connections: 100, delay_ms: 0, offer: Offer::Chunking, signed: false },
    Case { connections: 10, delay_ms: 5, offer: Offer::Chunking, signed: false },
    Case { connections: 50, delay_ms: 5, offer: Offer::Chunking, signed: false },
    Case { connections: 100, delay_ms: 5, offer: Offer::Chunking, signed: false },
    Case { connections: 50, delay_ms: 0, offer: Offer::Chunking, signed: true },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|w| w == sink::FLAG) {
        sink::serve(&words[at + 1..]);
        return ExitCode::SUCCESS;
    }
    let customers = measure::customers(CUSTOMERS);
    let ended = place::on_each_engine(None, |place| measure_engine(place, customers));
    smtp_source(customers);
    ended
}

/// All cases on one engine; whether every message was accepted.
fn measure_engine(place: &Place, customers: usize) -> bool {
    let dir = place.dir();
    println!("\n{}, {customers} messages a line; fdatasync takes {:.2} ms", place.engine, measure::fsync_ms(dir));
    shop(dir, customers);
    settings(dir, 10, false);
    let verbs = Verbs::in_project(dir, &place.database, "smtp://127.0.0.1:9");
    for words in [&["import", "customers", "customers.csv"][..], &["profile", "--full"], &["dkim", "key", KEY_FILE]] {
        verbs.run(&words.join(" "), words);
    }
    if !verbs.all_succeeded() {
        return false;
    }
    let raw = signatures_a_second(dir);
    println!(
        "{:<32} {:>10} {:>9} {:>11} {:>9}",
        "connections, delay", "messages/s", "CPU µs", "with server", "peak MB"
    );
    let mut succeeded = true;
    for (n, case) in CASES.iter().enumerate() {
        succeeded &= measure_case(place, case, n, customers);
    }
    println!("{:<32} {raw:>10.0}", "RSA-2048 signatures, alone");
    succeeded
}

fn measure_case(place: &Place, case: &Case, n: usize, customers: usize) -> bool {
    let sink = Sink::start(case.delay_ms, case.offer);
    let smtp = sink.url();
    settings(place.dir(), case.connections, case.signed);
    let verbs = Verbs::silent(place.dir(), &place.database, &smtp);
    // A slot for each line: everybody is written to once more.
    let slot = format!("line-{n}");
    let planned = verbs.measure(&["plan", "letter", "--save", "--slot", &slot]).succeeded;
    release(place, &slot);
    let cost = verbs.measure(&["work"]);
    let accepted = accepted(place, &slot);
    let whole = planned && cost.succeeded && accepted == customers as i64;
    let signed = if case.signed { ", signed RSA-2048" } else { "" };
    let label = format!("{}, {} ms, {}{signed}", case.connections, case.delay_ms, case.offer.word());
    line(&label, &cost, customers, whole);
    if !whole {
        println!("  {accepted} of {customers} messages were accepted");
    }
    whole
}

fn line(label: &str, cost: &Cost, messages: usize, whole: bool) {
    let each = |seconds: f64| seconds / messages as f64 * 1e6;
    println!(
        "{label:<32} {:>10.0} {:>9.1} {:>11.1} {:>9.1}{}",
        messages as f64 / cost.wall,
        each(cost.cpu),
        each(cost.all_cpu()),
        cost.peak,
        if whole { "" } else { "  FAILED" }
    );
}

/// Let the planned run of a slot leave.
fn release(place: &Place, slot: &str) {
    Runtime::new().expect("a runtime").block_on(async {
        let db = place.open().await;
        let now = clock::now();
        let planned: Option<(String,)> =
            db.fetch_optional("SELECT run_id FROM run WHERE slot = $1", args![slot]).await.expect("our own database");
        if let Some((run_id,)) = planned {
            run::release(&db, &run_id, now + LIFETIME, now).await.expect("our own database");
        }
        db.close().await;
    });
}

/// How many messages of a slot's run the ledger calls accepted.
fn accepted(place: &Place, slot: &str) -> i64 {
    Runtime::new().expect("a runtime").block_on(async {
        let db = place.open().await;
        let sql = "SELECT COUNT(*) FROM delivery d JOIN run r ON r.run_id = d.run_id WHERE r.slot = $1 AND d.state = 'accepted'";
        let (accepted,): (i64,) = db.fetch_one(sql, args![slot]).await.expect("our own database");
        db.close().await;
        accepted
    })
}

/// Signatures of a mail as long as ours, on all processors at once.
fn signatures_a_second(dir: &Path) -> f64 {
    let pem = std::fs::read_to_string(dir.join(KEY_FILE)).expect("the key that was made");
    let key = PrivateKey::parse(&pem).expect("the key that was made");
    let identity = Identity { domain: "example.com".to_owned(), selector: "bench".to_owned() };
    let signer = Signer::new(vec![(identity, key)]).expect("one key");
    let mail =
        format!("From: shop@example.com\r\nSubject: A letter\r\n\r\n{}", "The shelves are full.\r\n".repeat(220));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    let signed: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..processors)
            .map(|_| {
                scope.spawn(|| {
                    let mut signed = 0;
                    while started.elapsed() < SIGNING {
                        signer.sign(mail.as_bytes(), 0).expect("it signs");
                        signed += 1;
                    }
                    signed
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().expect("signing does not panic")).sum()
    });
    signed as f64 / started.elapsed().as_secs_f64()
}

/// Postfix' own load generator with bodies as long as ours, neither personal nor durable nor pipelined, for scale.
fn smtp_source(messages: usize) {
    let sink = Sink::start(0, Offer::Pipelining);
    let mut command = Command::new("smtp-source");
    command
        .args([
            "-d",
            "-s",
            "50",
            "-l",
            "5000",
            "-m",
            &messages.to_string(),
            "-f",
            "shop@example.com",
            "-t",
            "user@example.com",
        ])
        .arg(format!("127.0.0.1:{}", sink.port))
        .stdout(Stdio::null());
    match measure::watch(command) {
        Ok(cost) => {
            println!();
            line("smtp-source, 50, 0 ms", &cost, messages, cost.succeeded);
        }
        Err(e) => println!("\nsmtp-source is left out: {e}"),
    }
}

fn settings(dir: &Path, connections: u32, signed: bool) {
    let dkim = if signed { format!("dkim: {{ selector: bench, key_file: {KEY_FILE} }}\n") } else { String::new() };
    measure::write(
        dir,
        "okaeri.yaml",
        &format!(
            "project: bench\ncurrency: EUR\ndatabase: ${{DATABASE_URL}}\nsmtp: {{ url: \"${{SMTP_URL}}\", connections: {connections} }}\n\
             sender: {{ name: Shop, from: shop@example.com, organisation: Shop, postal_address: 1 Road }}\n\
             links: {{ base_url: https://mail.example.com, secret: \"${{OKAERI_SECRET}}\" }}\ntopics: {{ offers: Offers }}\n{dkim}"
        ),
    );
}

/// People who agreed, and the letter they get.
fn shop(dir: &Path, customers: usize) {
    letter::write(dir);
    let names = ["Anna", "Ben", "Chloé", "Dmitri", "Elif", "美佳", "健太", "Søren", "Zoë", "Liam"];
    let mut people = String::from("customer_id,email,first_name,last_name,locale,country,consent\n");
    for i in 0..customers {
        let name = names[i % names.len()];
        let _ = writeln!(people, "c{i},user{i}@d{}.example.com,{name},Muster,en,DE,offers", i % 200);
    }
    measure::write(dir, "customers.csv", &people);
}
