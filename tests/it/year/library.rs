//! A year of the sample shop with all its campaigns, as they stand in the repository: fourteen, of which four are journeys. What must hold is read
//! from the files: every slot of every schedule, and how often somebody may have which letter.
//!
//! The scheduler comes by the hour, more or less. What it does then is what `okaeri run` does, most times inside this process, for speed; where it
//! comes twice at once or is killed, and once a week besides, it is the real binary. `make test` has a month and a half of the year, `make torture`
//! all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::tz::TimeZone;
use okaeri::args;
use okaeri::campaign::{Library, OncePer};
use okaeri::cli::Exit;
use okaeri::cli::run::Scheduler;
use okaeri::clock::{DAY, HOUR, MINUTE, Millis};
use okaeri::db::Db;
use okaeri::problem::Problems;
use okaeri::segment;
use okaeri::settings::Project;
use serde_json::{Value, json};

use super::{
    Chance, DAYS, at, caps_and_quiet_hours_hold, catcher, everyone_was_mailed_once, look_and_die, look_twice, looking,
    planned, settle, written,
};
use crate::ground::scenario::Scenario;

const PEOPLE: usize = 16;
/// How much of the year `make test` has.
const DAYS_IN_SHORT: i64 = 45;
const PRODUCTS: &str = "sku,name,category,price\n\
    TEA-01,Roasted tea,tea,12.00\nTEA-02,Spring tea,tea,18.00\nINC-01,Evening incense,incense,9.00\n\
    LP-01,Slow rain,music,32.00\nLP-02,Harbour songs,music,29.00\nLIN-01,Linen towel,linen,24.00\nLAMP-01,Paper lamp,light,68.00\n";
const SKUS: [(&str, i64); 7] =
    [("TEA-01", 12), ("TEA-02", 18), ("INC-01", 9), ("LP-01", 32), ("LP-02", 29), ("LIN-01", 24), ("LAMP-01", 68)];

/// The repository's own shop in a folder of its own, with quiet hours.
fn settled(shop: &Scenario) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["campaigns", "templates"] {
        for file in files(&root.join(folder)) {
            let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&file).unwrap();
            shop.write(&name, text.replace("status: draft", "status: live")); // the newsletter waits for its words
        }
    }
    shop.write("contract.yaml", std::fs::read(root.join("contract.yaml")).unwrap());
    let settings = std::fs::read_to_string(root.join("okaeri.yaml")).unwrap();
    let quiet = "guards:\n  quiet_hours: { from: \"21:00\", to: \"07:30\" }\n";
    let with_quiet_hours = settings.replace("guards:\n", quiet);
    assert_ne!(settings, with_quiet_hours);
    shop.write("okaeri.yaml", with_quiet_hours);
    shop.write("data/products.csv", PRODUCTS);
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// What happened since the last look, as the shop's exports tell it.
#[derive(Default)]
struct News {
    customers: String,
    orders: String,
    lines: String,
    events: String,
    numbered: usize,
}

impl News {
    fn person(&mut self, n: usize) {
        let locale = ["en", "ja"][n % 2];
        let zone = ["Asia/Tokyo", "Europe/Berlin", "America/Los_Angeles", ""][n % 4];
        self.customers.push_str(&format!("p{n},p{n}@example.com,P{n},{locale},{zone},news;offers;service\n"));
    }

    fn order(&mut self, who: u64, when: Millis, chance: &mut Chance) {
        self.numbered += 1;
        let number = self.numbered;
        let (sku, price) = SKUS[chance.below(SKUS.len() as u64) as usize];
        let pieces = 1 + chance.below(3) as i64;
        let total = price * pieces;
        self.orders.push_str(&format!("o{number},p{who},{},{total}.00\n", written(when)));
        self.lines.push_str(&format!("o{number},1,{sku},{pieces},{total}.00\n"));
    }

    fn event(&mut self, who: u64, when: Millis, name: &str, properties: Value) {
        self.numbered += 1;
        let event = json!({ "event_id": format!("e{}", self.numbered), "customer_id": format!("p{who}"), "name": name,
            "at": written(when), "properties": properties });
        self.events.push_str(&format!("{event}\n"));
    }

    /// Everything else that somebody may do.
    fn chance_event(&mut self, who: u64, when: Millis, tickets: &mut Tickets, chance: &mut Chance) {
        let (sku, _) = SKUS[chance.below(SKUS.len() as u64) as usize];
        match chance.below(7) {
            0 => self.event(who, when, "product.viewed", json!({ "sku": sku, "category": "tea" })),
            1 => self.event(who, when, "cart.updated", json!({ "skus": [sku] })),
            2 => self.event(who, when, "review.given", json!({ "sku": sku, "rating": 1 + chance.below(5) })),
            3 => self.event(who, when, "survey.nps", json!({ "score": chance.below(11) })),
            4 => self.event(who, when, "newsletter.joined", json!({ "source": "shop" })),
            _ => match tickets.open.remove(&who) {
                Some(opened) => {
                    let ticket = json!({ "ticket_id": format!("t{who}"), "rating": 1 + chance.below(5) });
                    self.event(who, when, "ticket.closed", ticket);
                    tickets.were_open.push((who, opened, when));
                }
                None => {
                    self.event(
                        who,
                        when,
                        "ticket.opened",
                        json!({ "ticket_id": format!("t{who}"), "about": "question" }),
                    );
                    tickets.open.insert(who, when);
                }
            },
        }
    }

    /// Nothing when there is none.
    async fn import(&mut self, shop: &Scenario) {
        if [&self.customers, &self.orders, &self.lines, &self.events].iter().all(|rows| rows.is_empty()) {
            return;
        }
        let heads = [
            (
                "customers.csv",
                "customer_id,email,first_name,locale,time_zone,consent\n",
                std::mem::take(&mut self.customers),
            ),
            ("orders.csv", "order_id,customer_id,ordered_at,total\n", std::mem::take(&mut self.orders)),
            ("lines.csv", "order_id,line_no,sku,quantity,amount\n", std::mem::take(&mut self.lines)),
            ("events.jsonl", "", std::mem::take(&mut self.events)),
        ];
        for (file, head, rows) in heads {
            shop.write(&format!("data/{file}"), format!("{head}{rows}"));
        }
        shop.okaeri("import --quiet").await.exits(0);
    }
}

/// Who waits for an answer since when, and who did from when to when.
#[derive(Default)]
struct Tickets {
    open: BTreeMap<u64, Millis>,
    were_open: Vec<(u64, Millis, Millis)>,
}

#[tokio::test] // one thread: a look is thousands of short waits for the database, and to wake another thread takes longer than most
async fn a_year_of_the_library_breaks_no_rule() {
    let days = if std::env::var_os("OKAERI_TORTURE").is_some() { DAYS } else { DAYS_IN_SHORT };
    let mut chance = Chance::of_seed();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("okaeri.db").display());
    let catcher = catcher().await;
    let shop = Scenario::new(&url).smtp(&catcher.url());
    settled(&shop);
    let db = shop.database().await;
    let inside = shop.inside();
    let scheduler = Scheduler::open(&inside.at("2025-11-10T08:00"), false).await.unwrap();
    let mut looks = 0;
    let (begin, mut now) = (at("2025-11-10T08:00"), at("2025-11-10T08:00"));
    let (mut known, mut news, mut tickets) = (0, News::default(), Tickets::default());
    while now < begin + days * DAY {
        if known < PEOPLE && chance.one_in(5 * 24) || known == 0 {
            for _ in 0..if known == 0 { PEOPLE / 2 } else { 1 } {
                news.person(known);
                known += 1;
            }
        }
        for _ in 0..if chance.one_in(24) { chance.below(3) } else { 0 } {
            let (who, when) = (chance.below(known as u64), now - MINUTE);
            if chance.one_in(3) {
                news.order(who, when, &mut chance);
            } else {
                news.chance_event(who, when, &mut tickets, &mut chance);
            }
        }
        news.import(&shop).await;
        match chance.below(7 * 24) {
            0..3 => look_twice(&shop, now).await,
            3..6 => look_and_die(&shop, &db, &mut chance, now).await,
            6 => drop(shop.okaeri(&looking(now)).await.exits(0)),
            _ => {
                let ended = scheduler.look(&inside.at(&written(now))).await;
                assert!(matches!(ended, Ok(Exit::Done | Exit::Unknown)), "{ended:?}");
            }
        }
        looks += 1;
        now += HOUR / 2 + (chance.below(60) as Millis) * MINUTE; // late or early
        if chance.one_in(70 * 24) {
            now += 5 * DAY; // the scheduler was away
        }
    }
    settle(&shop, &db, now).await;
    let waiting = tickets.open.iter().map(|(who, since)| (*who, *since, now));
    let were_open: Vec<_> = tickets.were_open.iter().copied().chain(waiting).collect();
    rules_of_the_files_hold(&db, (begin, now), &were_open).await;
    let (accepted, unknown) = everyone_was_mailed_once(&db, &catcher).await;
    assert!(accepted > days / 5, "{accepted} mails in {days} days: nothing was tried");
    shop.okaeri("queue verify").await.exits(0);
    println!("{looks} looks, {accepted} accepted, {unknown} unknown");
    db.close().await;
}

async fn rules_of_the_files_hold(db: &Db, (begin, end): (Millis, Millis), were_open: &[(u64, Millis, Millis)]) {
    let mut problems = Problems::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = Project::load_with(root, |_| None, &mut problems).expect("the sample shop has settings");
    let segments = segment::Library::load(&project, &mut problems);
    let names: Vec<&str> = segments.names().collect();
    let campaigns = Library::load(&project, &names, &mut problems);
    let shop = &project.settings.time_zone;

    let runs: Vec<(String, String, String)> =
        db.fetch_all("SELECT campaign, slot, state FROM run", args![]).await.unwrap();
    let found: BTreeSet<(&str, &str)> = runs.iter().map(|(c, slot, _)| (c.as_str(), slot.as_str())).collect();
    assert_eq!(found.len(), runs.len(), "a slot has two runs");
    let is_year = end - begin >= DAYS * DAY;
    assert!(!is_year || runs.iter().any(|(.., state)| state == "missed"), "nothing was ever late");
    let planned = planned(db).await;
    let mut mailed = 0;
    for campaign in campaigns.iter() {
        for slot in campaign.schedule.iter().flat_map(|s| s.slots(begin, end - 3 * DAY, shop)) {
            let slot = slot.to_string();
            assert!(found.contains(&(&*campaign.key, &*slot)), "{} {slot}: neither run nor missed", campaign.name);
        }
        let theirs = || planned.iter().filter(|p| p.campaign == campaign.key);
        mailed += usize::from(theirs().next().is_some());
        let first = &campaign.steps[0].name;
        for (one, next) in theirs().filter(|p| p.step == *first).zip(theirs().filter(|p| p.step == *first).skip(1)) {
            if one.customer_id != next.customer_id {
                continue;
            }
            match &campaign.once_per {
                Some(OncePer::Person) => panic!("{} had {} twice", one.customer_id, campaign.name),
                // Measured when it was planned; a letter leaves up to a day later.
                Some(OncePer::Window(span)) => {
                    let apart = next.due_at - one.due_at;
                    assert!(
                        apart >= span.millis() - DAY,
                        "{} had {} again after {apart} ms",
                        one.customer_id,
                        campaign.name
                    );
                }
                None => {}
            }
        }
    }
    assert!(mailed >= if is_year { 8 } else { 3 }, "only {mailed} of the campaigns mailed anybody");
    caps_and_quiet_hours_hold(&planned, shop);
    for (who, opened, closed) in were_open {
        let who = format!("p{who}");
        // Planned before the ticket was known, a letter may leave within a day of it.
        let frozen = |p: &&super::Planned| {
            p.customer_id == who && p.kind == "promotional" && p.due_at > opened + 2 * DAY && p.due_at < *closed
        };
        if let Some(p) = planned.iter().find(frozen) {
            panic!("{who} waited for an answer and heard {}/{}", p.campaign, p.step);
        }
    }
    let zones = planned.iter().filter_map(|p| TimeZone::get(p.time_zone.as_deref()?).ok()).count();
    assert!(zones > 0, "nobody has a clock of their own");
}
