//! Random purchase histories, written straight into the tables of the room `data`: what profile and segment tests stand on.

use okaeri::clock::{DAY, HOUR, Millis};
use okaeri::db::{Conflict, Db, Value, bucket_of};
use okaeri::problem::Problems;
use okaeri::settings::{Project, Settings};
use proptest::prelude::*;

/// The instant histories end, 2026-11-24T12:00Z; some of what happens lies after it.
pub const NOW: Millis = 1_795_521_600_000;
pub const CATEGORIES: [&str; 4] = ["home", "garden", "音楽", "it's"];
pub const EVENTS: [&str; 4] = ["product.viewed", "ticket.opened", "ticket.closed", "survey.nps"];
const STATUSES: [&str; 4] = ["placed", "placed", "returned", "cancelled"];
const STATES: [&str; 4] = ["accepted", "failed", "unknown", "withheld"];

/// One thing that happened to one of a few customers.
#[derive(Debug, Clone)]
pub struct Happening {
    pub customer: usize,
    pub at: Millis,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Order {
        total: i64,
        status: &'static str,
        lines: Vec<(usize, i64)>,
    },
    Event {
        name: usize,
        category: Option<usize>,
        score: Option<i64>,
        amount: Option<i64>,
        ticket: Option<u8>,
        note: u8,
    },
    Consent {
        granted: bool,
    },
    Message {
        state: &'static str,
    },
    Click,
    Score {
        ltv: Option<i64>,
        alive: u8,
    },
}

/// Customers' ids; the last never does anything.
pub fn customer_id(n: usize) -> String {
    format!("顧客-{n}")
}

pub fn happening(customers: usize) -> impl Strategy<Value = Happening> {
    let order = (-40_i64..200, 0..4_usize, prop::collection::vec((0..4_usize, -20_i64..90), 0..4))
        .prop_map(|(total, status, lines)| What::Order { total: total * 50, status: STATUSES[status], lines });
    let event = (
        0..4_usize,
        prop::option::of(0..4_usize),
        prop::option::of(0_i64..6),
        prop::option::of(-10_i64..100),
        prop::option::of(0..3_u8),
        0..6_u8,
    )
        .prop_map(|(name, category, score, amount, ticket, note)| What::Event {
            name,
            category,
            score,
            amount,
            ticket,
            note,
        });
    let rest = prop_oneof![
        any::<bool>().prop_map(|granted| What::Consent { granted }),
        (0..4_usize).prop_map(|n| What::Message { state: STATES[n] }),
        Just(What::Click),
        (prop::option::of(0_i64..40), 0..5_u8).prop_map(|(ltv, alive)| What::Score { ltv, alive }),
    ];
    // Half of all instants lie on or beside the edges of windows: the hours are those around local midnight and noon.
    let days = prop_oneof![-3_i64..900, prop::sample::select(vec![0, 1, 14, 15, 30, 31, 90, 91, 365, 366])];
    let hours = prop_oneof![0..24_i64, prop::sample::select(vec![11, 12, 13, 14])];
    let beside = prop::sample::select(vec![0, 0, -1, 1]);
    let at = (days, hours, beside).prop_map(|(days, hours, beside)| NOW - days * DAY - hours * HOUR + beside);
    let what = prop_oneof![4 => order, 4 => event, 2 => rest];
    (0..customers.max(2) - 1, at, what).prop_map(|(customer, at, what)| Happening { customer, at, what })
}

/// Settings of a small project in a zone that changes its clocks.
pub fn settings() -> Settings {
    settings_in("Europe/Berlin")
}

/// The same in another zone.
pub fn settings_in(zone: &str) -> Settings {
    settings_with(zone, "")
}

/// The same, declaring some of its data.
pub fn declared_in(zone: &str) -> Settings {
    settings_with(
        zone,
        "contract:\n  customer: { account: [staff, guest], points: number, vip: flag, born: date, tags: list, ランク: text }\n  \
         product: { colour: [red, blue], weight: number }\n  events:\n    product.viewed: { note: number, sku: text, category: text }\n    \
         ticket.closed: { note: text, score: number }\n    survey.nps: { note: flag, tags: list, score: number }\n    never.seen: {}\n",
    )
}

fn settings_with(zone: &str, more: &str) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "project: shop\ntime_zone: {zone}\ncurrency: EUR\ntopics: {{ offers: Offers }}\n\
         sender: {{ from: hello@example.com, organisation: Shop, postal_address: 1 Road }}\n\
         loyalty: {{ by: spend, in_last: 1y, tiers: {{ bronze: 0, silver: 50, gold: 120 }} }}\n{more}"
    );
    std::fs::write(folder.path().join("okaeri.yaml"), text).unwrap();
    let mut problems = Problems::new();
    let project = Project::load_with(folder.path(), |_| None, &mut problems);
    project.unwrap_or_else(|| panic!("{}", problems.to_text())).settings
}

/// Remove everything a test wrote.
pub async fn clear(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    for table in [
        "customer",
        "customer_order",
        "order_line",
        "event",
        "event_name",
        "consent",
        "message",
        "delivery",
        "profile",
        "dirty",
        "meta",
        "fact",
        "score",
        "product",
        "percentile",
        "segment_rule",
        "segment_bits",
        "segment_due",
        "segment_size",
        "run",
    ] {
        tx.execute(&format!("DELETE FROM {table}"), vec![]).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// The customers themselves.
pub async fn write_customers(db: &Db, customers: usize) {
    let mut tx = db.begin().await.unwrap();
    let mut rows = Vec::new();
    for n in 0..customers {
        let attributes = match n % 5 {
            0 => r#"{"account":"staff","points":"120","tags":["early","a;b",7,true,[1]],"born":"1990-11-26"}"#,
            1 => {
                r#"{"account":"guest","points":7.5,"vip":true,"torn":"a\u0000b","tags":"late; early;7","born":"2024-02-29"}"#
            }
            2 => r#"{"account":null,"points":"many","vip":false,"tags":"\"early\"","born":"24.11.1990"}"#,
            3 => r#"{"points":{"now":3},"ランク":"金","tags":[],"born":"2026-11-24"}"#,
            _ => "{}",
        };
        let id = customer_id(n);
        rows.extend([Value::from(bucket_of(&id)), id.into()]);
        rows.push(Value::from((n % 3 > 0).then(|| ["JP", "DE"][n % 2])));
        rows.extend([Value::from(attributes), (NOW - n as i64 * 10 * DAY).into()]);
    }
    let columns = ["bucket", "customer_id", "country", "attributes", "first_seen_at"];
    tx.insert_rows("customer", &columns, rows, Conflict::Keep).await.unwrap();
    let products = (0..3_usize).flat_map(|n| {
        let attributes = [r#"{"colour":"red","weight":2.5}"#, r#"{"colour":"blue","weight":"heavy"}"#, "{}"][n];
        let price = (n != 1).then_some(n as i64 * 1_000);
        [Value::from(format!("sku{n}")), Value::from(format!("Thing {n}")), price.into(), attributes.into()]
    });
    tx.insert_rows("product", &["sku", "name", "price", "attributes"], products.collect(), Conflict::Keep)
        .await
        .unwrap();
    let names =
        EVENTS.iter().enumerate().flat_map(|(n, name)| [Value::from(n as i64 + 1), Value::from(*name)]).collect();
    tx.insert_rows("event_name", &["name_id", "name"], names, Conflict::Keep).await.unwrap();
    tx.commit().await.unwrap();
}

/// Import what happened, the first of it as number `from`, and mark whom it touched.
pub async fn write(db: &Db, from: usize, happenings: &[Happening]) {
    let mut tx = db.begin().await.unwrap();
    for (n, h) in happenings.iter().enumerate() {
        let n = from + n;
        let id = customer_id(h.customer);
        let key = || [Value::from(bucket_of(&id)), Value::from(id.clone())];
        let mut row = key().to_vec();
        match &h.what {
            What::Order { total, status, lines } => {
                let order_id = format!("o{n}");
                row.extend([h.at.into(), order_id.clone().into(), (*total).into(), "EUR".into(), (*status).into()]);
                let columns = ["bucket", "customer_id", "ordered_at", "order_id", "total", "currency", "status"];
                tx.insert_rows("customer_order", &columns, row, Conflict::Keep).await.unwrap();
                for (line_no, (category, amount)) in lines.iter().enumerate() {
                    let mut row = key().to_vec();
                    row.extend([
                        h.at.into(),
                        order_id.clone().into(),
                        (line_no as i64).into(),
                        format!("sku{category}").into(),
                    ]);
                    row.extend([Value::from(CATEGORIES[*category]), 1_i64.into(), (amount * 100).into()]);
                    let columns = [
                        "bucket",
                        "customer_id",
                        "ordered_at",
                        "order_id",
                        "line_no",
                        "sku",
                        "category",
                        "quantity",
                        "amount",
                    ];
                    tx.insert_rows("order_line", &columns, row, Conflict::Keep).await.unwrap();
                }
            }
            What::Event { name, category, score, amount, ticket, note } => {
                let mut properties = serde_json::Map::new();
                if let Some(ticket) = ticket {
                    properties.insert("ticket_id".to_owned(), format!("T{ticket}").into());
                }
                let note: serde_json::Value = match note {
                    0 => 3.into(),
                    1 => 2.5.into(),
                    2 => "3".into(),
                    3 => true.into(),
                    4 => serde_json::Value::Null,
                    _ => "late".into(),
                };
                properties.insert("note".to_owned(), note);
                if n.is_multiple_of(5) {
                    // Longer than what an index carries.
                    properties.insert("letter".to_owned(), "字".repeat(400).into());
                }
                if n.is_multiple_of(3) {
                    properties.insert("tags".to_owned(), serde_json::json!(["early", n % 2]));
                }
                row.extend([h.at.into(), format!("e{n}").into(), (*name as i64 + 1).into()]);
                row.extend([
                    Value::from(category.map(|c| format!("sku{c}"))),
                    Value::from(category.map(|c| CATEGORIES[c])),
                    Value::from(amount.map(|a| a * 100)),
                    Value::from(score.map(|s| s as f64 / 2.0)),
                    serde_json::Value::Object(properties).to_string().into(),
                ]);
                let columns = [
                    "bucket",
                    "customer_id",
                    "at",
                    "event_id",
                    "name_id",
                    "sku",
                    "category",
                    "amount",
                    "score",
                    "properties",
                ];
                tx.insert_rows("event", &columns, row, Conflict::Keep).await.unwrap();
            }
            What::Consent { granted } => {
                row.extend([Value::from("offers"), (*granted).into(), h.at.into(), "import".into()]);
                let columns = ["bucket", "customer_id", "topic", "granted", "at", "source"];
                let conflict = Conflict::Update { key: &["bucket", "customer_id", "topic"] };
                tx.insert_rows("consent", &columns, row, conflict).await.unwrap();
            }
            What::Message { state } => write_message(&mut tx, n, &id, h.at, state).await,
            What::Click => {
                row.extend([format!("click{n}").into(), "click".into(), h.at.into(), "win-back".into()]);
                row.extend([Value::from(["letter", "reminder"][n % 2]), "slot".into(), "{}".into(), h.at.into()]);
                let columns = [
                    "bucket",
                    "customer_id",
                    "fact_id",
                    "kind",
                    "at",
                    "campaign",
                    "step",
                    "slot",
                    "detail",
                    "recorded_at",
                ];
                tx.insert_rows("fact", &columns, row, Conflict::Keep).await.unwrap();
            }
            What::Score { ltv, alive } => {
                row.extend([ltv.map(|l| l * 1_000).into(), (f64::from(*alive) / 4.0).into(), h.at.into()]);
                row.extend([Value::from("fit"), h.at.into()]);
                let columns = ["bucket", "customer_id", "ltv_12m", "alive", "next_order_at", "fit_id", "computed_at"];
                let conflict = Conflict::Update { key: &["bucket", "customer_id"] };
                tx.insert_rows("score", &columns, row, conflict).await.unwrap();
            }
        }
        tx.insert_rows("dirty", &["bucket", "customer_id"], key().to_vec(), Conflict::Keep).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn write_message(tx: &mut okaeri::db::Tx, n: usize, id: &str, at: Millis, state: &str) {
    let columns = [
        "run_id",
        "campaign",
        "slot",
        "state",
        "as_of",
        "due_at",
        "expires_at",
        "next_bucket",
        "audience",
        "snapshot_id",
        "definition",
        "created_at",
        "changed_at",
    ];
    let words = ["run", "win-back", "slot", "sending"].map(Value::from);
    let numbers = [at, at, at, 0, 0].map(Value::from);
    let row = words.into_iter().chain(numbers).chain(["s".into(), "{}".into(), at.into(), at.into()]).collect();
    tx.insert_rows("run", &columns, row, Conflict::Keep).await.unwrap();
    let bucket = Value::from(bucket_of(id));
    let campaign = ["win-back", "welcome"][n % 2];
    let seq = Value::from(n as i64);
    let mut row =
        vec![bucket.clone(), id.into(), campaign.into(), "letter".into(), format!("slot{n}").into(), "run".into()];
    row.extend([
        1_i64.into(),
        seq.clone(),
        "offers".into(),
        "promotional".into(),
        "a".into(),
        format!("m{n}").into(),
        "en".into(),
        "{}".into(),
    ]);
    row.extend([Value::from(at), at.into()]);
    let columns = [
        "bucket",
        "customer_id",
        "campaign",
        "step",
        "slot",
        "run_id",
        "chunk_id",
        "seq",
        "topic",
        "kind",
        "arm",
        "message_id",
        "locale",
        "payload",
        "due_at",
        "created_at",
    ];
    tx.insert_rows("message", &columns, row, Conflict::Keep).await.unwrap();
    let row = vec![
        bucket,
        1_i64.into(),
        seq,
        id.into(),
        "run".into(),
        state.into(),
        at.into(),
        1_i64.into(),
        Value::Int((n.is_multiple_of(3)).then_some(at - 2 * DAY)),
        at.into(),
    ];
    let columns =
        ["bucket", "chunk_id", "seq", "customer_id", "run_id", "state", "due_at", "attempts", "date_at", "changed_at"];
    tx.insert_rows("delivery", &columns, row, Conflict::Keep).await.unwrap();
}

/// Run a property on a database that is open already: the test's own runtime drives the cases.
pub fn for_cases<S: Strategy>(cases: u32, strategy: S, mut property: impl AsyncFnMut(S::Value)) {
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let property = std::cell::RefCell::new(&mut property);
    let handle = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&strategy, |case| {
            let mut property = property.borrow_mut();
            handle.block_on((*property)(case));
            Ok(())
        })
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}
