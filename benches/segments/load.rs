//! The shop's rows, written straight into the tables: person by person in key order, so that clustered tables only grow at their end.
//!
//! Import is measured elsewhere, so nothing of it is used. Memory stays flat: each table holds at most a batch of rows until they are
//! written, by multi-row VALUES on SQLite and COPY on Postgres. What nothing here reads stays empty: `address`, `order_ref`, `run`, `chunk`.

use std::fmt::Write as _;

use okaeri::args;
use okaeri::clock::{HOUR, Millis};
use okaeri::db::{Conflict, Db, DbResult, Value};
use sqlx::postgres::PgPoolCopyExt as _;

use super::shop::{EVENT_NAMES, Message, Person, SKUS, Shop, category, price, sku_name};

/// Rows of a table that are written at once.
const BATCH_ROWS: usize = 10_000;
/// Messages of a chunk, as the queue makes them.
const CHUNK_MESSAGES: i64 = 500;

/// How many rows were written.
#[derive(Debug, Default)]
pub struct Counts {
    pub customers: i64,
    pub orders: i64,
    pub lines: i64,
    pub events: i64,
    pub messages: i64,
}

/// Rows on their way into a table.
struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Value>,
}

impl Table {
    /// Write what it holds. On Postgres by COPY: half the server's time of the UNNEST that imports use.
    async fn write(&mut self, db: &Db) -> DbResult<()> {
        let rows = std::mem::take(&mut self.rows);
        match db {
            Db::Sqlite { .. } => {
                let mut tx = db.begin().await?;
                tx.insert_rows(self.name, self.columns, rows, Conflict::Keep).await?;
                tx.commit().await
            }
            Db::Postgres(pool) => {
                let statement = format!("COPY {} ({}) FROM STDIN", self.name, self.columns.join(", "));
                let mut copy = pool.copy_in_raw(&statement).await?;
                copy.send(copy_text(&rows, self.columns.len())).await?;
                copy.finish().await?;
                Ok(())
            }
        }
    }
}

/// Rows in the text format of COPY. Nothing of the shop holds a tab, a line's end or a backslash.
fn copy_text(rows: &[Value], width: usize) -> Vec<u8> {
    let mut text = String::with_capacity(rows.len() * 12);
    for row in rows.chunks(width) {
        for (n, value) in row.iter().enumerate() {
            text.push_str(if n == 0 { "" } else { "\t" });
            let written = match value {
                Value::Int(Some(i)) => write!(text, "{i}"),
                Value::Real(Some(r)) => write!(text, "{r}"),
                Value::Text(Some(t)) => write!(text, "{t}"),
                Value::Bool(Some(b)) => write!(text, "{b}"),
                _ => write!(text, "\\N"),
            };
            written.expect("text grows");
        }
        text.push('\n');
    }
    text.into_bytes()
}

struct Tables {
    customer: Table,
    consent: Table,
    address: Table,
    order: Table,
    line: Table,
    event: Table,
    message: Table,
    delivery: Table,
    dirty: Table,
    /// The bucket being written, and the messages it has so far: they number its chunks.
    messages_of: (i64, i64),
}

/// Write the whole shop.
pub async fn everything(db: &Db, shop: &Shop) -> DbResult<Counts> {
    if let Db::Sqlite { .. } = db {
        // A crash here costs a repetition. The verbs open the file anew, with their own settings.
        db.execute("PRAGMA synchronous = OFF", vec![]).await?;
    }
    names_and_products(db).await?;
    let mut tables = Tables::empty();
    let mut counts = Counts::default();
    for n in shop.in_key_order() {
        let person = shop.person(n);
        counts.add(&person);
        tables.add_customer(&person);
        tables.add_history(&person);
        tables.write(db, BATCH_ROWS).await?;
    }
    tables.write(db, 1).await?;
    settle(db).await?;
    Ok(counts)
}

/// Write what one in `every` customers did just now, and mark them as the import does.
pub async fn returns(db: &Db, shop: &Shop, every: usize) -> DbResult<Counts> {
    let mut tables = Tables::empty();
    let mut counts = Counts::default();
    for n in shop.in_key_order().into_iter().step_by(every) {
        let person = shop.return_of(n);
        counts.add(&person);
        tables.add_history(&person);
        tables.dirty.rows.extend(args![person.bucket, person.id]);
        tables.write(db, BATCH_ROWS).await?;
    }
    tables.write(db, 1).await?;
    Ok(counts)
}

/// Statistics for the planner; on Postgres also what it does by itself within minutes of a load.
async fn settle(db: &Db) -> DbResult<()> {
    if let Db::Postgres(_) = db {
        db.execute("VACUUM", vec![]).await?;
    }
    db.analyze().await
}

async fn names_and_products(db: &Db) -> DbResult<()> {
    let mut tx = db.begin().await?;
    let names = (1_i64..).zip(EVENT_NAMES).flat_map(|(id, name)| args![id, name]).collect();
    tx.insert_rows("event_name", &["name_id", "name"], names, Conflict::Keep).await?;
    let products = (0..SKUS)
        .flat_map(|sku| args![sku_name(sku), format!("Article {sku}"), category(sku), price(sku), "{}"])
        .collect();
    let columns = ["sku", "name", "category", "price", "attributes"];
    tx.insert_rows("product", &columns, products, Conflict::Keep).await?;
    tx.commit().await
}

impl Counts {
    fn add(&mut self, person: &Person) {
        self.customers += 1;
        self.orders += person.orders.len() as i64;
        self.lines += person.orders.iter().map(|o| o.lines.len() as i64).sum::<i64>();
        self.events += person.events.len() as i64;
        self.messages += person.messages.len() as i64;
    }
}

impl Tables {
    fn empty() -> Tables {
        let table = |name, columns| Table { name, columns, rows: Vec::new() };
        Tables {
            customer: table(
                "customer",
                &[
                    "bucket",
                    "customer_id",
                    "email",
                    "address_key",
                    "first_name",
                    "last_name",
                    "locale",
                    "country",
                    "attributes",
                    "first_seen_at",
                ],
            ),
            consent: table("consent", &["bucket", "customer_id", "topic", "granted", "at", "source"]),
            address: table("address", &["address_key", "bucket", "customer_id"]),
            order: table(
                "customer_order",
                &["bucket", "customer_id", "ordered_at", "order_id", "total", "currency", "status"],
            ),
            line: table(
                "order_line",
                &[
                    "bucket",
                    "customer_id",
                    "ordered_at",
                    "order_id",
                    "line_no",
                    "sku",
                    "category",
                    "quantity",
                    "amount",
                ],
            ),
            event: table(
                "event",
                &[
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
                ],
            ),
            message: table(
                "message",
                &[
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
                    "address",
                    "address_key",
                    "locale",
                    "payload",
                    "due_at",
                    "created_at",
                ],
            ),
            delivery: table(
                "delivery",
                &[
                    "bucket",
                    "chunk_id",
                    "seq",
                    "customer_id",
                    "run_id",
                    "state",
                    "due_at",
                    "attempts",
                    "date_at",
                    "changed_at",
                ],
            ),
            dirty: table("dirty", &["bucket", "customer_id"]),
            messages_of: (-1, 0),
        }
    }

    fn add_customer(&mut self, p: &Person) {
        let id = p.id.as_str();
        self.customer.rows.extend(args![
            p.bucket,
            id,
            p.address.as_str(),
            p.address.as_str(),
            p.first_name,
            "Muster",
            p.locale,
            p.country,
            p.attributes.as_str(),
            p.first_seen_at,
        ]);
        self.address.rows.extend(args![p.address.as_str(), p.bucket, id]);
        for (topic, granted) in &p.consents {
            self.consent.rows.extend(args![p.bucket, id, *topic, *granted, p.first_seen_at, "import"]);
        }
    }

    fn add_history(&mut self, p: &Person) {
        let id = p.id.as_str();
        for order in &p.orders {
            let order_id = order.id.as_str();
            self.order.rows.extend(args![p.bucket, id, order.at, order_id, order.total, "EUR", order.status]);
            for (line_no, line) in (1_i64..).zip(&order.lines) {
                let (sku, category) = (sku_name(line.sku), category(line.sku));
                let what = args![line_no, sku, category, line.quantity, line.amount];
                self.line.rows.extend(args![p.bucket, id, order.at, order_id].into_iter().chain(what));
            }
        }
        for (n, event) in p.events.iter().enumerate() {
            let (sku, category) = (event.sku.map(sku_name), event.sku.map(category));
            let what = args![event.name_id, sku, category, event.amount, event.score, event.properties.as_str()];
            // The instant makes it unique: what somebody does later begins at 0 again.
            self.event.rows.extend(args![p.bucket, id, event.at, format!("e{n}")].into_iter().chain(what));
        }
        for message in &p.messages {
            self.add_message(p, message);
        }
    }

    fn add_message(&mut self, p: &Person, message: &Message) {
        if self.messages_of.0 != p.bucket {
            self.messages_of = (p.bucket, 0);
        }
        let (chunk_id, seq) = (1 + self.messages_of.1 / CHUNK_MESSAGES, self.messages_of.1 % CHUNK_MESSAGES);
        self.messages_of.1 += 1;
        let (id, run_id) = (p.id.as_str(), format!("{} {}", message.campaign, message.slot));
        let sent_at: Option<Millis> = (message.state != "withheld").then_some(message.at);
        self.message.rows.extend(args![
            p.bucket,
            id,
            message.campaign,
            "letter",
            message.slot.as_str(),
            run_id.as_str(),
            chunk_id,
            seq,
            "offers",
            "promotional",
            "a",
            format!("{id}.{run_id}"),
            p.address.as_str(),
            p.address.as_str(),
            p.locale,
            "{\"first_name\":\"Anna\"}",
            message.at,
            message.at - HOUR,
        ]);
        self.delivery.rows.extend(args![
            p.bucket,
            chunk_id,
            seq,
            id,
            run_id,
            message.state,
            message.at,
            i64::from(sent_at.is_some()),
            sent_at,
            message.at,
        ]);
    }

    /// Write the tables that hold at least so many rows.
    async fn write(&mut self, db: &Db, rows_min: usize) -> DbResult<()> {
        let tables = [
            &mut self.customer,
            &mut self.consent,
            &mut self.address,
            &mut self.order,
            &mut self.line,
            &mut self.event,
            &mut self.message,
            &mut self.delivery,
            &mut self.dirty,
        ];
        for table in tables.into_iter().filter(|t| t.rows.len() >= rows_min * t.columns.len()) {
            table.write(db).await?;
        }
        Ok(())
    }
}
