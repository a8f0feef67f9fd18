//! `make bench`: 45 segments over a large synthetic shop, on SQLite and Postgres: a full evaluation, another at once, another after 1 % of the
//! customers did something.
//!
//! Prints for each verb of the real binary the wall time, CPU time and peak memory, and how the repetitions compare with the first.
//! What each line means: `docs/benchmarks.md`.
//!
//! `OKAERI_BENCH_CUSTOMERS` (default 1,000,000) changes the size, everything else grows with it. Postgres is measured when
//! `OKAERI_TEST_POSTGRES` names a server on which databases may be created; `OKAERI_BENCH_KEPT` one of its databases that is measured again, and made
//! when it is missing. Words on the command line choose engines.

#[path = "segments/campaigns.rs"]
mod campaigns;
#[path = "segments/disk.rs"]
mod disk;
#[path = "measure/letter.rs"]
mod letter;
#[path = "segments/load.rs"]
mod load;
mod measure;
#[path = "segments/place.rs"]
mod place;
#[path = "segments/random.rs"]
mod random;
#[path = "segments/rules.rs"]
mod rules;
#[path = "segments/shop.rs"]
mod shop;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use okaeri::clock;
use okaeri::money::grouped;
use okaeri::problem::Problems;
use okaeri::segment::Library;
use okaeri::settings::Project;
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use measure::{Cost, Verbs};
use place::Place;
use shop::Shop;

const CUSTOMERS: usize = 1_000_000;
/// One in so many customers does something before the last evaluation.
const RETURNS_EVERY: usize = 100;
/// Names a database of the server that is kept: what was written into it is measured again.
const KEPT: &str = "OKAERI_BENCH_KEPT";
/// Nothing is sent.
const NO_SMTP: &str = "smtp://127.0.0.1:1";
const SEGMENT_LIST: [&str; 4] = ["segment", "list", "--format", "json"];
const ZONE: &str = "Europe/Berlin";

fn main() -> ExitCode {
    let customers = measure::customers(CUSTOMERS);
    let runtime = Runtime::new().expect("a runtime");
    place::on_each_engine(std::env::var(KEPT).ok(), |place| on(place, customers, &runtime))
}

/// Measure on one engine; whether every verb succeeded.
fn on(place: &Place, customers: usize, runtime: &Runtime) -> bool {
    println!("\n{}; fdatasync takes {:.2} ms", place.engine, measure::fsync_ms(place.dir()));
    let shop = Shop { customers, now: clock::now() };
    if let Err(problems) = project(place.dir(), &shop) {
        anstream::eprintln!("{problems}");
        return false;
    }
    let is_new = runtime.block_on(begin(place, &shop));

    let verbs = Verbs::in_project(place.dir(), &place.database, NO_SMTP);
    if is_new {
        verbs.run("profile --full", &["profile", "--full"]);
    }
    if let Err(why) = runtime.block_on(disk::forget_cache(place)) {
        println!("(the database stayed in the page cache: {why})");
    }
    let first = verbs.run("segment list, the first time", &SEGMENT_LIST);
    let sizes = sizes(place.dir());
    let again = verbs.run("segment list, again at once", &SEGMENT_LIST);
    runtime.block_on(some_return(place, &shop));
    verbs.run("profile, after 1 % did something", &["profile"]);
    let after = verbs.run("segment list, after that", &SEGMENT_LIST);

    let compared = |cost: &Cost| {
        let percent = |part: f64, whole: f64| 100.0 * part / whole;
        let (wall, cpu) = (percent(cost.wall, first.wall), percent(cost.all_cpu(), first.all_cpu()));
        format!("{wall:.1} % of the wall time, {cpu:.1} % of the CPU time")
    };
    println!("again at once: {}", compared(&again));
    println!("after 1 %:     {}", compared(&after));
    println!("{sizes}");
    campaigns::plan(&verbs);
    verbs.all_succeeded()
}

/// Write the shop unless a kept database holds one; there nothing is known of its segments any more. Whether it was written.
async fn begin(place: &Place, shop: &Shop) -> bool {
    let db = place.open().await;
    let (customers,): (i64,) = db.fetch_one("SELECT COUNT(*) FROM customer", vec![]).await.expect("our own database");
    if customers == 0 {
        db.close().await;
        generate(place, shop).await;
        return true;
    }
    assert_eq!(customers, shop.customers as i64, "the kept database holds another shop");
    for table in ["segment_bits", "segment_rule", "segment_due"] {
        db.execute(&format!("DELETE FROM {table}"), vec![]).await.expect("our own table");
    }
    db.execute("VACUUM", vec![]).await.expect("our own database");
    db.close().await;
    false
}

/// Write the shop, and say what it became.
async fn generate(place: &Place, shop: &Shop) {
    let begun = Instant::now();
    let db = place.open().await;
    let counts = load::everything(&db, shop).await.expect("the shop is written");
    db.close().await;
    println!(
        "{} customers, {} orders, {} lines, {} events, {} messages: {:.2} GB, made in {:.0} s",
        grouped(counts.customers),
        grouped(counts.orders),
        grouped(counts.lines),
        grouped(counts.events),
        grouped(counts.messages),
        disk::bytes(place).await as f64 / 1e9,
        begun.elapsed().as_secs_f64()
    );
}

/// One in a hundred customers comes back.
async fn some_return(place: &Place, shop: &Shop) {
    let db = place.open().await;
    let shop = Shop { now: clock::now(), ..*shop };
    load::returns(&db, &shop, RETURNS_EVERY).await.expect("what they did is written");
    db.close().await;
}

/// Write the project; the problems of its files, should there be any.
fn project(dir: &Path, shop: &Shop) -> Result<(), String> {
    let settings = format!(
        "project: bench\ntime_zone: {ZONE}\ncurrency: EUR\ndatabase: ${{DATABASE_URL}}\n\
         smtp: {{ url: \"${{SMTP_URL}}\" }}\n\
         sender: {{ name: Shop, from: shop@example.com, organisation: Shop, postal_address: 1 Road }}\n\
         links: {{ base_url: https://mail.example.com, secret: \"${{OKAERI_SECRET}}\" }}\n\
         topics: {{ offers: Offers, news: News }}\nguards: {{ frequency_cap: {{ messages: 2, in_last: 7d }} }}\n"
    );
    measure::write(dir, "okaeri.yaml", &settings);
    let zone = jiff::tz::TimeZone::get(ZONE).expect("a zone of the bundled database");
    for (name, text) in rules::files(clock::date_in(shop.now, &zone)) {
        measure::write(dir, &format!("campaigns/segments/{name}.yaml"), &text);
    }
    campaigns::write(dir);
    let mut problems = Problems::new();
    let project = Project::load_with(dir, |_| None, &mut problems);
    if let Some(project) = &project {
        Library::load(project, &mut problems);
    }
    if problems.has_errors() { Err(problems.to_text()) } else { Ok(()) }
}

/// How many people the segments hold: none may be empty, or nothing was measured.
fn sizes(dir: &Path) -> String {
    let said = std::fs::read_to_string(dir.join("said")).unwrap_or_default();
    let Ok(said) = serde_json::from_str::<Json>(&said) else { return "no list of segments was printed".to_owned() };
    let mut shares: Vec<(f64, &str)> = said["segments"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| Some((s["share"].as_f64()?, s["segment"].as_str()?)))
        .collect();
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (Some((least, small)), Some((most, large))) = (shares.first(), shares.last()) else {
        return "no segments".to_owned();
    };
    let empty: Vec<&str> = shares.iter().filter(|(share, _)| *share == 0.0).map(|(_, name)| *name).collect();
    let empty = if empty.is_empty() { String::new() } else { format!("; EMPTY: {}", empty.join(", ")) };
    format!(
        "{} segments, from {:.2} % ({small}) to {:.1} % ({large}) of the people{empty}",
        shares.len(),
        100.0 * least,
        100.0 * most
    )
}
