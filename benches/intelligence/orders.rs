//! A shop of orders and nothing else, written straight into the tables in key order. Everybody orders at a pace of their own until they
//! leave; ten times on average. A pure function of the customer's number and the instant.

use okaeri::args;
use okaeri::clock::{DAY, Millis};
use okaeri::db::{Conflict, Db, DbResult, Value, bucket_of};

use super::random::Random;

const SEED: u64 = 0x696e_7369_6768;
/// How long the shop exists, days.
const AGE_DAYS: f64 = 1_100.0;
/// Rows that are written at once.
const BATCH_ROWS: usize = 10_000;
const ORDERS_MAX: usize = 400;
const PRICES: [i64; 5] = [990, 1_490, 1_990, 2_490, 4_990];
const CUSTOMER: [&str; 5] = ["bucket", "customer_id", "email", "attributes", "first_seen_at"];
const ORDER: [&str; 7] = ["bucket", "customer_id", "ordered_at", "order_id", "total", "currency", "status"];
const KEY: [&str; 2] = ["bucket", "customer_id"];
const LINE: [&str; 8] = ["bucket", "customer_id", "ordered_at", "order_id", "line_no", "sku", "quantity", "amount"];
const DUE: [&str; 3] = ["bucket", "customer_id", "noted_at"];
/// Products, and those that are bought by people of one taste.
const PRODUCTS: usize = 2_000;
const TASTE: usize = 50;
const LINES_MAX: usize = 3;

/// The shop at an instant.
#[derive(Debug, Clone, Copy)]
pub struct Shop {
    pub customers: usize,
    pub now: Millis,
}

impl Shop {
    /// Bucket and id of everybody, in the order of the tables' keys.
    fn in_key_order(&self) -> Vec<(i64, String, u64)> {
        let named = (0..self.customers as u64).map(|n| (format!("c{n:07}"), n));
        let mut keys: Vec<_> = named.map(|(id, n)| (bucket_of(&id), id, n)).collect();
        keys.sort_unstable();
        keys
    }

    /// Instants and totals of somebody's orders.
    fn orders(&self, number: u64) -> Vec<(Millis, i64)> {
        let mut random = Random::stream(SEED, number);
        // Gamma of shape 2, with a mean of one order in 40 days.
        let rate = -(1.0 - random.unit()).ln() / 80.0 - (1.0 - random.unit()).ln() / 80.0;
        // Beta(1, 12).
        let leaves = 1.0 - random.unit().powf(1.0 / 12.0);
        // Few spend much.
        let price = (random.of(&PRICES) as f64 / (0.05 + random.unit()).sqrt()) as i64;
        let mut day = AGE_DAYS * random.unit().powf(1.5);
        let mut orders = Vec::new();
        while day < AGE_DAYS && orders.len() < ORDERS_MAX {
            let at = self.now - ((AGE_DAYS - day) * DAY as f64) as Millis - random.millis(DAY / 24);
            orders.push((at, price + random.below(price as usize) as i64));
            if random.unit() < leaves {
                break;
            }
            day -= (1.0 - random.unit()).ln() / rate.max(1e-4);
        }
        orders
    }
}

/// Write everybody; how many orders there are.
pub async fn everything(db: &Db, shop: &Shop) -> DbResult<u64> {
    if let Db::Sqlite { .. } = db {
        // A crash here costs a repetition. The verbs open the file anew, with their own settings.
        db.execute("PRAGMA synchronous = OFF", vec![]).await?;
    }
    let (mut customers, mut orders, mut written) = (Vec::new(), Vec::new(), 0);
    for (bucket, id, number) in shop.in_key_order() {
        customers.extend(args![bucket, &id, format!("{id}@example.com"), "{}", shop.now]);
        for (n, (at, total)) in shop.orders(number).into_iter().enumerate() {
            written += 1;
            orders.extend(args![bucket, &id, at, format!("{id}-{n}"), total, "EUR", "placed"]);
        }
        write(db, "customer", &CUSTOMER, &mut customers, BATCH_ROWS).await?;
        write(db, "customer_order", &ORDER, &mut orders, BATCH_ROWS).await?;
    }
    write(db, "customer", &CUSTOMER, &mut customers, 1).await?;
    write(db, "customer_order", &ORDER, &mut orders, 1).await?;
    db.analyze().await?;
    Ok(written)
}

/// One in `every` customers orders now, and is marked as the import does.
pub async fn again(db: &Db, shop: &Shop, every: usize) -> DbResult<()> {
    let (mut orders, mut dirty) = (Vec::new(), Vec::new());
    for (bucket, id, _) in shop.in_key_order().into_iter().step_by(every) {
        orders.extend(args![bucket, &id, shop.now, format!("{id}-again"), 1_990, "EUR", "placed"]);
        dirty.extend(args![bucket, id]);
    }
    write(db, "customer_order", &ORDER, &mut orders, 1).await?;
    write(db, "dirty", &KEY, &mut dirty, 1).await
}

/// What everybody's orders were made of, one to three things each; how many lines there are.
pub async fn lines(db: &Db, shop: &Shop) -> DbResult<u64> {
    let (mut lines, mut written) = (Vec::new(), 0);
    for (bucket, id, number) in shop.in_key_order() {
        let mut random = Random::stream(SEED + 1, number);
        for (n, (at, _)) in shop.orders(number).into_iter().enumerate() {
            let count = 1 + random.below(LINES_MAX);
            add_lines(&mut lines, (bucket, &id), (at, &format!("{id}-{n}")), number, count, &mut random);
            written += count as u64;
        }
        write(db, "order_line", &LINE, &mut lines, BATCH_ROWS).await?;
    }
    write(db, "order_line", &LINE, &mut lines, 1).await?;
    db.analyze().await?;
    Ok(written)
}

/// One in `every` customers orders two things now, and is noted as the import does.
pub async fn things_again(db: &Db, shop: &Shop, every: usize) -> DbResult<()> {
    let (mut orders, mut lines, mut due) = (Vec::new(), Vec::new(), Vec::new());
    for (bucket, id, number) in shop.in_key_order().into_iter().step_by(every) {
        let mut random = Random::stream(SEED + 2, number);
        let order = format!("{id}-things");
        orders.extend(args![bucket, &id, shop.now, &order, 1_990, "EUR", "placed"]);
        add_lines(&mut lines, (bucket, &id), (shop.now, &order), number, 2, &mut random);
        due.extend(args![bucket, id, shop.now]);
    }
    write(db, "customer_order", &ORDER, &mut orders, 1).await?;
    write(db, "order_line", &LINE, &mut lines, 1).await?;
    write(db, "basket_due", &DUE, &mut due, 1).await
}

/// Things of a customer's taste, and sometimes any other.
fn add_lines(
    lines: &mut Vec<Value>,
    (bucket, id): (i64, &str),
    (at, order): (Millis, &str),
    number: u64,
    count: usize,
    random: &mut Random,
) {
    let taste = number as usize % (PRODUCTS / TASTE) * TASTE;
    for n in 0..count as i64 {
        let any = random.unit() < 0.3;
        // Few products are bought by many.
        let of = if any { PRODUCTS } else { TASTE };
        let product = (random.unit().powi(2) * of as f64) as usize + if any { 0 } else { taste };
        lines.extend(args![bucket, id, at, order, n, format!("p{product:04}"), 1_i64, random.of(&PRICES)]);
    }
}

/// Write the rows, if there are so many.
async fn write(db: &Db, table: &str, columns: &[&str], rows: &mut Vec<Value>, rows_min: usize) -> DbResult<()> {
    if rows.len() < rows_min * columns.len() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    tx.insert_rows(table, columns, std::mem::take(rows), Conflict::Keep).await?;
    tx.commit().await
}
