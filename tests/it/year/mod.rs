//! A year of a shop in simulated time: several campaigns and journeys, a scheduler that comes every few hours, late, twice, and is killed;
//! then the ledger is asked whether any rule was broken. All chance comes from one seed, which is printed (`OKAERI_SEED` sets it).

mod library;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use okaeri::args;
use okaeri::catcher::{ByRecipient, Catcher, CatcherOptions};
use okaeri::clock::{self, DAY, HOUR, MINUTE, Millis};
use okaeri::db::Db;

use crate::ground::scenario::Scenario;

const PEOPLE: usize = 24;
/// At most two promotions in seven days.
const CAP: usize = 2;
const CAP_DAYS: i64 = 7;
/// Days that are simulated.
const DAYS: i64 = 365;
/// Between two looks, about.
const LOOK_EVERY: Millis = 16 * HOUR;

const CAMPAIGNS: [(&str, &str); 5] = [
    ("digest", "priority: 3\nschedule: { every: tuesday 09:00, catch_up: 20h }"),
    ("weekend", "priority: 2\nschedule: { cron: \"30 17 * * FRI\", time_zone: America/New_York, catch_up: 18h }"),
    (
        "monthly",
        "priority: 1\nschedule: { every: month last 10:00, time_zone: customer, catch_up: 30h }\nonce_per: 20d",
    ),
    ("notice", "kind: service\nschedule: { at: 2026-06-15 12:00, catch_up: 2d }"),
    (
        "welcome",
        "priority: 0\nschedule: { enter: when_matching, catch_up: 2d }\nexit_on: { did: order.placed, since: entry }\n\
         experiment: { split: { holdout: 25%, a: 75% } }",
    ),
];
const WELCOME_STEPS: &str = "steps:\n  - { step: hello, template: welcome/letter }\n  - { step: week, after: 7d, at: \"08:00\", template: welcome/letter }\n  \
     - { step: month, after: 30d, template: welcome/letter, unless: { did: ticket.opened, since: entry } }\n";

/// Splitmix64.
struct Chance(u64);

impl Chance {
    /// Of a seed that is printed; `OKAERI_SEED` sets it.
    fn of_seed() -> Chance {
        let seed = std::env::var("OKAERI_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(clock::now() as u64);
        println!("OKAERI_SEED={seed}");
        Chance(seed)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

async fn catcher() -> Catcher {
    let behaviour = Arc::new(ByRecipient::standard());
    Catcher::start(CatcherOptions { behaviour, ..CatcherOptions::default() }).await.unwrap()
}

fn zone() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

fn at(text: &str) -> Millis {
    clock::parse_instant(text, &zone()).unwrap()
}

fn written(at: Millis) -> String {
    clock::timestamp(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_breaks_no_rule() {
    let mut chance = Chance::of_seed();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("okaeri.db").display());
    let catcher = catcher().await;
    let mut shop = Scenario::new(&url).smtp(&catcher.url()).settings(&format!(
        "guards:\n  frequency_cap: {{ messages: {CAP}, in_last: {CAP_DAYS}d }}\n  quiet_hours: {{ from: \"21:00\", to: \"07:30\" }}\n"
    ));
    for (name, lines) in CAMPAIGNS {
        shop = shop.campaign(name, lines);
        if name == "welcome" {
            let head = "campaign: welcome\nstatus: live\ntopic: offers\naudience: everyone\n";
            shop.write("campaigns/welcome.yaml", format!("{head}{lines}\n{WELCOME_STEPS}"));
        }
    }
    let db = shop.database().await;
    let zones = ["Asia/Tokyo", "Europe/Berlin", "America/Los_Angeles", ""];
    let (begin, mut now) = (at("2025-11-10T08:00"), at("2025-11-10T08:00"));
    let mut known = 0;
    let mut events = 0;
    while now < begin + DAYS * DAY {
        // People come, order, ask for help and are helped.
        if known < PEOPLE && chance.one_in(6) || known == 0 {
            let new = if known == 0 { PEOPLE / 2 } else { 1 };
            let rows: String = (known..known + new)
                .map(|n| format!("p{n},p{n}@example.com,{},offers\n", zones[n % zones.len()]))
                .collect();
            known += new;
            shop.write("people.csv", format!("customer_id,email,time_zone,consent\n{rows}"));
            shop.okaeri("import customers people.csv --quiet").await.exits(0);
        }
        if chance.one_in(4) {
            let (who, when) = (chance.below(known as u64), written(now - MINUTE));
            events += 1;
            if chance.one_in(2) {
                let row = format!("order_id,customer_id,ordered_at,total\no{events},p{who},{when},20.00\n");
                shop.write("new.csv", row);
                shop.okaeri("import orders new.csv --quiet").await.exits(0);
            } else {
                let name = if chance.one_in(2) { "ticket.opened" } else { "ticket.closed" };
                shop.write("new.csv", format!("event_id,customer_id,at,name\nt{events},p{who},{when},{name}\n"));
                shop.okaeri("import events new.csv --quiet").await.exits(0);
            }
        }
        look(&shop, &db, &mut chance, now).await;
        now += LOOK_EVERY / 2 + (chance.below((LOOK_EVERY / MINUTE) as u64) as Millis) * MINUTE;
        if chance.one_in(60) {
            now += 5 * DAY; // the scheduler was away
        }
    }
    settle(&shop, &db, now).await;
    slots_ran_once_or_were_missed(&db, begin, now).await;
    caps_quiet_hours_and_entries_hold(&db).await;
    let (accepted, unknown) = everyone_was_mailed_once(&db, &catcher).await;
    assert!(accepted > 200, "{accepted} mails in a year: nothing was tried");
    shop.okaeri("queue verify").await.exits(0);
    println!("{accepted} accepted, {unknown} unknown, {} runs", count(&db, "SELECT COUNT(*) FROM run").await);
    db.close().await;
}

/// Every message that was taken arrived, none of them twice; how many were accepted, and how many are unknown.
async fn everyone_was_mailed_once(db: &Db, catcher: &Catcher) -> (i64, i64) {
    let accepted = count(db, "SELECT COUNT(*) FROM delivery WHERE state = 'accepted'").await;
    let unknown = count(db, "SELECT COUNT(*) FROM delivery WHERE state = 'unknown'").await;
    let mailed = catcher.mails().len() as i64;
    assert!(
        mailed >= accepted && mailed <= accepted + unknown,
        "{mailed} mails, {accepted} accepted, {unknown} unknown"
    );
    let mut ids: Vec<_> = catcher.mails().iter().map(|m| m.message_id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len() as i64, mailed, "a message was mailed twice");
    (accepted, unknown)
}

/// The scheduler comes: once, twice at once, or is killed.
async fn look(shop: &Scenario, db: &Db, chance: &mut Chance, now: Millis) {
    match chance.below(10) {
        0 => look_twice(shop, now).await,
        1 => look_and_die(shop, db, chance, now).await,
        _ => {
            let ran = shop.okaeri(&looking(now)).await;
            assert!([0, 3].contains(&ran.code()), "{ran:?}");
        }
    }
}

fn looking(now: Millis) -> String {
    format!("run --quiet --at {}", written(now))
}

/// Two processes at the same second.
async fn look_twice(shop: &Scenario, now: Millis) {
    let (a, b) = (shop.start(&looking(now)), shop.start(&looking(now)));
    let (a, b) = tokio::join!(a.end(), b.end());
    assert!([0, 3, 75].contains(&a.code()) && [0, 3, 75].contains(&b.code()), "{a:?} {b:?}");
}

/// A process that is killed at any moment.
async fn look_and_die(shop: &Scenario, db: &Db, chance: &mut Chance, now: Millis) {
    let started = shop.start(&looking(now));
    tokio::time::sleep(std::time::Duration::from_millis(chance.below(120))).await;
    started.kill().await;
    // What the dead one held is free after half a minute; here at once.
    db.execute("UPDATE chunk SET lease_until_at = 0 WHERE state = 'leased'", args![]).await.unwrap();
    db.execute("UPDATE lease SET until_at = 0", args![]).await.unwrap();
}

/// Nothing is left half done.
async fn settle(shop: &Scenario, db: &Db, now: Millis) {
    db.execute("UPDATE chunk SET lease_until_at = 0 WHERE state = 'leased'", args![]).await.unwrap();
    let ran = shop.okaeri(&format!("run --quiet --at {}", written(now))).await;
    assert!([0, 3].contains(&ran.code()), "{ran:?}");
    assert_eq!(count(db, "SELECT COUNT(*) FROM delivery WHERE state IN ('pending', 'committed', 'deferred')").await, 0);
    assert_eq!(count(db, "SELECT COUNT(*) FROM run WHERE state NOT IN ('drained', 'missed')").await, 0);
}

async fn count(db: &Db, sql: &str) -> i64 {
    db.fetch_one::<(i64,)>(sql, args![]).await.unwrap().0
}

/// Every Tuesday, every Friday, every last day of a month, and the one date: there is one run, or it was missed.
async fn slots_ran_once_or_were_missed(db: &Db, begin: Millis, end: Millis) {
    let runs: Vec<(String, String, String)> =
        db.fetch_all("SELECT campaign, slot, state FROM run", args![]).await.unwrap();
    let found: BTreeMap<(&str, &str), &str> =
        runs.iter().map(|(c, slot, state)| ((c.as_str(), slot.as_str()), state.as_str())).collect();
    assert_eq!(found.len(), runs.len(), "a slot has two runs");
    let mut expected = BTreeSet::new();
    let mut day = clock::date_in(begin, &zone());
    while day <= clock::date_in(end - 3 * DAY, &zone()) {
        match day.weekday() {
            jiff::civil::Weekday::Tuesday => drop(expected.insert(("digest", format!("{day}T09:00")))),
            jiff::civil::Weekday::Friday => drop(expected.insert(("weekend", format!("{day}T17:30")))),
            _ => {}
        }
        if day == day.last_of_month() {
            expected.insert(("monthly", format!("{day}T10:00")));
        }
        day = day.tomorrow().unwrap();
    }
    expected.insert(("notice", "2026-06-15T12:00".to_owned()));
    let missing: Vec<_> = expected.iter().filter(|(c, slot)| !found.contains_key(&(*c, slot.as_str()))).collect();
    assert!(missing.is_empty(), "neither run nor missed: {missing:?}");
    let ran = runs.iter().filter(|(c, _, state)| c == "digest" && state == "drained").count();
    let missed = runs.iter().filter(|(.., state)| state == "missed").count();
    assert!(ran > 30 && missed > 0, "{ran} digests ran, {missed} slots were missed");
}

/// A message that was planned for somebody.
#[derive(sqlx::FromRow)]
struct Planned {
    customer_id: String,
    campaign: String,
    step: String,
    slot: String,
    due_at: Millis,
    kind: String,
    time_zone: Option<String>,
}

/// All of them, person by person, the earliest first.
async fn planned(db: &Db) -> Vec<Planned> {
    let sql = "SELECT m.customer_id, m.campaign, m.step, m.slot, m.due_at, m.kind, c.time_zone FROM message m \
               JOIN customer c ON c.bucket = m.bucket AND c.customer_id = m.customer_id ORDER BY m.customer_id, m.due_at";
    db.fetch_all(sql, args![]).await.unwrap()
}

async fn caps_quiet_hours_and_entries_hold(db: &Db) {
    let planned = planned(db).await;
    let mut steps = BTreeSet::new();
    for p in planned.iter().filter(|p| p.campaign == "welcome") {
        assert_eq!(p.slot, "entry 1", "{} entered twice", p.customer_id);
        assert!(steps.insert((&p.customer_id, &p.step)), "{} had {} twice", p.customer_id, p.step);
    }
    caps_and_quiet_hours_hold(&planned, &zone());
}

/// No promotion between 21:00 and 07:30 of the person's own clock, or the shop's; never more than the cap allows.
fn caps_and_quiet_hours_hold(planned: &[Planned], shop: &TimeZone) {
    let mut of_person: BTreeMap<&str, Vec<Millis>> = BTreeMap::new();
    for p in planned.iter().filter(|p| p.kind == "promotional") {
        let own = p.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok());
        let local = clock::timestamp(p.due_at).to_zoned(own.unwrap_or_else(|| shop.clone())).time();
        let (from, to) = (jiff::civil::time(21, 0, 0, 0), jiff::civil::time(7, 30, 0, 0));
        assert!(local >= to && local < from, "{}/{} for {} is due at {local}", p.campaign, p.step, p.customer_id);
        of_person.entry(&p.customer_id).or_default().push(p.due_at);
    }
    for (customer, due) in of_person {
        for (n, first) in due.iter().enumerate() {
            let within = due[n..].iter().take_while(|at| **at < first + (CAP_DAYS - 2) * DAY).count();
            assert!(within <= CAP, "{customer} has {within} promotions from {} on", written(*first));
        }
    }
}
