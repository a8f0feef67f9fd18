//! `make bench`: the whole way through the real binary, measured — import, profile, segments, plan, send.
//!
//! Prints for each verb what it took (`measure`); for `send` also messages a second and CPU microseconds a message, the database server's
//! included. The mail server is the catcher in a process of its own (or `OKAERI_BENCH_SMTP`). A durable write (fdatasync) is timed beside
//! it, because on SQLite it bounds the wall speed. Quote CPU time and ratios: machines are noisy. `docs/benchmarks.md` says what each line means.
//!
//! `OKAERI_BENCH_CUSTOMERS` (default 20,000) and `OKAERI_BENCH_DATABASE` (default a new SQLite file) change the size and the engine.

#[path = "measure/letter.rs"]
mod letter;
mod measure;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use okaeri::catcher::{Catcher, CatcherOptions, Keep};

use measure::Verbs;

const CUSTOMERS: usize = 20_000;
const LINES_PER_CUSTOMER: usize = 10;

fn main() -> ExitCode {
    if std::env::args().any(|a| a == "--sink") {
        sink();
        return ExitCode::SUCCESS;
    }
    let customers = measure::customers(CUSTOMERS);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let database = std::env::var("OKAERI_BENCH_DATABASE").unwrap_or_else(|_| "sqlite:bench.db".to_owned());
    project(dir.path(), customers);
    let (mut sink, smtp) = start_sink();
    println!(
        "{customers} customers, {} order lines, {}; fdatasync takes {:.2} ms",
        customers * LINES_PER_CUSTOMER,
        okaeri::db::without_password(&database),
        measure::fsync_ms(dir.path())
    );
    let verbs = Verbs::in_project(dir.path(), &database, &smtp);
    let run = |words: &[&str]| verbs.run(&words.join(" "), words);
    run(&["import", "customers", "customers.csv"]);
    run(&["import", "orders", "orders.csv"]);
    let lines = run(&["import", "lines", "lines.csv"]);
    run(&["import", "lines", "lines.csv"]);
    run(&["profile", "--full"]);
    run(&["segment", "list"]);
    run(&["plan", "letter"]);
    let send = run(&["send", "letter"]);
    run(&["queue", "verify"]);
    run(&["report", "letter"]);
    let count = (customers * LINES_PER_CUSTOMER) as f64;
    println!("import: {:.0} order lines/s", count / lines.wall);
    let messages = customers as f64;
    println!(
        "send:   {:.0} messages/s, {:.0} µs CPU a message (plan, render twice, ledger, SMTP)",
        messages / send.wall,
        send.all_cpu() / messages * 1e6
    );
    if let Some(sink) = &mut sink {
        let _ = sink.kill();
        let _ = sink.wait();
    }
    if verbs.all_succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start_sink() -> (Option<Child>, String) {
    if let Ok(url) = std::env::var("OKAERI_BENCH_SMTP") {
        return (None, url);
    }
    let me = std::env::current_exe().expect("our own path");
    let mut child = Command::new(me).arg("--sink").stdout(Stdio::piped()).spawn().expect("the sink starts");
    let mut url = String::new();
    let out = child.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut url).expect("the sink says where it listens");
    (Some(child), url.trim().to_owned())
}

#[tokio::main]
async fn sink() {
    let options = CatcherOptions { keep: Keep::Count, ..CatcherOptions::default() };
    let catcher = Catcher::start(options).await.expect("a free port");
    println!("{}", catcher.url());
    std::future::pending::<()>().await;
}

/// A synthetic shop: the same for the same size.
fn project(dir: &Path, customers: usize) {
    let write = |name: &str, text: &str| measure::write(dir, name, text);
    write(
        "okaeri.yaml",
        "project: bench\ncurrency: EUR\ndatabase: ${DATABASE_URL}\nsmtp: { url: \"${SMTP_URL}\", connections: 20 }\n\
         sender: { name: Shop, from: shop@example.com, organisation: Shop, postal_address: 1 Road }\n\
         links: { base_url: https://mail.example.com, secret: \"${OKAERI_SECRET}\" }\ntopics: { offers: Offers }\n",
    );
    write("campaigns/segments/buyers.yaml", "segment: buyers\ntitle: Buyers\nwhere: { customer: orders, gte: 1 }\n");
    write(
        "campaigns/segments/valuable.yaml",
        "segment: valuable\ntitle: Valuable\nwhere: { customer: revenue, percentile: { gte: 80 } }\n",
    );
    write(
        "campaigns/segments/recent.yaml",
        "segment: recent\ntitle: Bought music lately\nwhere: { bought: { category: music }, in_last: 90d }\n",
    );
    letter::write(dir);
    let names = ["Anna", "Ben", "Chloé", "Dmitri", "Elif", "美佳", "健太", "Søren", "Zoë", "Liam"];
    let mut people = String::from("customer_id,email,first_name,last_name,locale,country,consent\n");
    let mut orders = String::from("order_id,customer_id,ordered_at,total,currency,status\n");
    let mut lines = String::from("order_id,line_no,sku,quantity,amount\n");
    let mut state = 42_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut order = 0;
    for i in 0..customers {
        let name = names[i % names.len()];
        let _ = writeln!(people, "c{i},user{i}@d{}.example.com,{name},Muster,en,DE,offers", i % 200);
        for _ in 0..2 {
            order += 1;
            let (month, day) = (1 + random(9), 1 + random(28));
            let _ = writeln!(orders, "o{order},c{i},2026-{month:02}-{day:02}T10:00,50.00,EUR,paid");
            for line in 1..=LINES_PER_CUSTOMER / 2 {
                let _ = writeln!(lines, "o{order},{line},sku-{},1,10.00", random(500));
            }
        }
    }
    write("customers.csv", &people);
    write("orders.csv", &orders);
    write("lines.csv", &lines);
}
