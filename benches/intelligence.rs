//! `make bench`: profiles, models and scores of a large synthetic shop, on SQLite and Postgres; and again after 10,000 customers ordered.
//!
//! Prints for each verb of the real binary the wall time, CPU time and peak memory. What each line means: `docs/benchmarks.md`.
//!
//! `OKAERI_BENCH_CUSTOMERS` (default 1,000,000) changes the size; everybody has ten orders on average. Postgres is measured when
//! `OKAERI_TEST_POSTGRES` names a server on which databases may be created. Words on the command line choose engines.

#[path = "segments/disk.rs"]
mod disk;
mod measure;
#[path = "intelligence/orders.rs"]
mod orders;
#[path = "segments/place.rs"]
mod place;
#[path = "segments/random.rs"]
mod random;

use std::process::ExitCode;
use std::time::Instant;

use okaeri::clock;
use okaeri::money::grouped;
use tokio::runtime::Runtime;

use measure::Verbs;
use orders::Shop;
use place::Place;

const CUSTOMERS: usize = 1_000_000;
/// How many customers order before the last lines.
const AGAIN: usize = 10_000;
/// Nothing is sent.
const NO_SMTP: &str = "smtp://127.0.0.1:1";

fn main() -> ExitCode {
    let customers = measure::customers(CUSTOMERS);
    let runtime = Runtime::new().expect("a runtime");
    place::on_each_engine(None, |place| on(place, customers, &runtime))
}

/// Measure on one engine; whether every verb succeeded.
fn on(place: &Place, customers: usize, runtime: &Runtime) -> bool {
    println!("\n{}; fdatasync takes {:.2} ms", place.engine, measure::fsync_ms(place.dir()));
    measure::write(
        place.dir(),
        "okaeri.yaml",
        "project: bench\ntime_zone: Europe/Berlin\ncurrency: EUR\ndatabase: ${DATABASE_URL}\nsmtp: { url: \"${SMTP_URL}\" }\n\
         sender: { name: Shop, from: shop@example.com, organisation: Shop, postal_address: 1 Road }\n\
         links: { base_url: https://mail.example.com, secret: \"${OKAERI_SECRET}\" }\ntopics: { offers: Offers }\n",
    );
    let shop = Shop { customers, now: clock::now() };
    let begun = Instant::now();
    let written = runtime.block_on(async {
        let db = place.open().await;
        let written = orders::everything(&db, &shop).await.expect("the shop is written");
        db.close().await;
        written
    });
    println!(
        "{} customers, {} orders: {:.2} GB, made in {:.0} s",
        grouped(customers as i64),
        grouped(written as i64),
        runtime.block_on(disk::bytes(place)) as f64 / 1e9,
        begun.elapsed().as_secs_f64()
    );
    let every = customers.div_ceil(AGAIN);
    let verbs = Verbs::in_project(place.dir(), &place.database, NO_SMTP);
    if let Err(why) = runtime.block_on(disk::forget_cache(place)) {
        println!("(the database stayed in the page cache: {why})");
    }
    let full = verbs.run("profile --full", &["profile", "--full"]);
    let fit = verbs.run("model fit", &["model", "fit"]);
    verbs.run("model fit, the second time", &["model", "fit"]);
    // What a look at the segments does: nobody is waiting to be looked at.
    runtime.block_on(async {
        let db = place.open().await;
        db.execute("DELETE FROM segment_due", vec![]).await.expect("the list is emptied");
        let shop = Shop { now: clock::now(), ..shop };
        orders::again(&db, &shop, every).await.expect("their orders are written");
        db.close().await;
    });
    let after = verbs.run("profile, after 10,000 ordered", &["profile"]);
    verbs.run("model show", &["model", "show"]);
    verbs.run("report cohorts", &["report", "cohorts"]);
    let from = clock::date_in(clock::now() - 90 * clock::DAY, &jiff::tz::TimeZone::UTC).to_string();
    verbs.run("report flows", &["report", "flows", "--from", &from]);
    learn(place, &shop, &verbs, runtime);
    println!(
        "model fit: {:.2} µs CPU a customer; after 10,000 ordered: {:.1} % of the CPU time and {:.1} % of the wall time of both from nothing",
        1e6 * fit.all_cpu() / customers as f64,
        100.0 * after.all_cpu() / (full.all_cpu() + fit.all_cpu()),
        100.0 * after.wall / (full.wall + fit.wall)
    );
    verbs.all_succeeded()
}

/// Recommendations. Lines are written only here: what stands above is measured without them.
fn learn(place: &Place, shop: &Shop, verbs: &Verbs, runtime: &Runtime) {
    let written = runtime.block_on(async {
        let db = place.open().await;
        let written = orders::lines(&db, shop).await.expect("the lines are written");
        db.close().await;
        written
    });
    println!("{} order lines", grouped(written as i64));
    verbs.run("recommend fit", &["recommend", "fit"]);
    verbs.run("recommend fit, nothing new", &["recommend", "fit"]);
    runtime.block_on(async {
        let db = place.open().await;
        let shop = Shop { now: clock::now(), ..*shop };
        let every = shop.customers.div_ceil(AGAIN);
        orders::things_again(&db, &shop, every).await.expect("their orders are written");
        db.close().await;
    });
    verbs.run("recommend fit, after 10,000 ordered", &["recommend", "fit"]);
}
