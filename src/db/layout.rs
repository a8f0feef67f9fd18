//! How tables lie on Postgres, beyond what the one text of the migrations says. Speed only: nothing is true or false by it.
//!
//! * `customer_id` is compared by its bytes. In the language of the database, each of the many comparisons of a join or a sort asks that
//!   language's rules; and whoever reads "in the order of customers" reads the same order on every engine.
//! * The keys of orders and lines, and an index of events, carry what is asked of their rows: a pass over everybody then reads them in the order of
//!   customers and never goes to the table, where rows lie as they came.
//!
//! Found by the catalogue and not by a number, so that a table of a later migration is seen as well. What is small is laid out when the database is
//! opened, what is large when an import begins: its tables are shut meanwhile. Decision 0032.

use std::collections::BTreeMap;

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::BUCKETS;

/// A key in an advisory lock: two processes that open a database at once do not both rebuild its indexes.
const LOCK: i64 = 0x6f6b_6165_7269_6c79;
/// A table of so many bytes, with its indexes, is laid out in about a second.
const SMALL: i64 = 64 << 20;
/// How long opening a database waits for others who use its tables. Meanwhile whoever comes later waits behind it.
const PATIENCE: &str = "SET LOCAL lock_timeout = '2s'; ";
/// A role that may not, a wait that was too long, two who wait for each other.
const NOT_NOW: [&str; 3] = ["42501", "55P03", "40P01"];
/// Bytes of properties that an index carries. An index takes rows of 2,700 bytes; ids and categories are limited where they are imported.
const PROPERTIES_BYTES: usize = 1_000;
/// How full, in percent, Postgres makes the pages of `delivery`: each row is written twice more before it is done, and where the new one finds
/// room beside the old one no index is touched and the old one's place is free at once.
const DELIVERY_FILL: u32 = 45;
/// A table, its key, and what the key carries.
const CARRIED: [(&str, &str, &str); 2] = [
    ("customer_order", "bucket, customer_id, ordered_at, order_id", "total, status"),
    ("order_line", "bucket, customer_id, ordered_at, order_id, line_no", "sku, category, quantity, amount"),
];

/// Bring the small tables into this layout. Costs one look into the catalogue when they are.
pub(super) async fn lay_out_small(pool: &PgPool) -> Result<(), sqlx::Error> {
    let is_small = |change: &Change| change.bytes <= SMALL;
    if changes(&mut *pool.acquire().await?).await?.iter().any(is_small) {
        make(pool, PATIENCE, is_small).await?;
    }
    Ok(())
}

/// Bring all tables into this layout, however long it takes.
pub(super) async fn lay_out(pool: &PgPool) -> Result<(), sqlx::Error> {
    make(pool, "", |_| true).await
}

/// Bytes of the tables that are not in this layout.
pub(super) async fn waiting(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let changes = changes(&mut *pool.acquire().await?).await?;
    let tables: BTreeMap<&str, i64> = changes.iter().map(|c| (c.table.as_str(), c.bytes)).collect();
    Ok(tables.values().sum())
}

/// Make the changes that are chosen, all or none: where it cannot be done, tables stay as they are.
async fn make(pool: &PgPool, first: &str, chosen: impl Fn(&Change) -> bool) -> Result<(), sqlx::Error> {
    let changed = match change(pool, first, chosen).await {
        Err(sqlx::Error::Database(e)) if e.code().is_some_and(|code| NOT_NOW.contains(&code.as_ref())) => return Ok(()),
        ended => ended?,
    };
    // With its type a column loses what Postgres knew of its values. A table that was never looked at stays so: an empty one that was is taken for
    // empty ever after.
    for change in changed.iter().filter(|c| c.analyzed) {
        sqlx::query(AssertSqlSafe(format!("ANALYZE {}", change.table))).execute(pool).await?;
    }
    Ok(())
}

async fn change(pool: &PgPool, first: &str, chosen: impl Fn(&Change) -> bool) -> Result<Vec<Change>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::raw_sql(AssertSqlSafe(format!("{first}SELECT pg_advisory_xact_lock({LOCK})"))).execute(&mut *tx).await?;
    let mut changes = changes(&mut tx).await?;
    changes.retain(chosen);
    // All in one: a new database is some forty statements away.
    let all: Vec<&str> = changes.iter().map(|c| c.sql.as_str()).collect();
    sqlx::raw_sql(AssertSqlSafe(all.join(";\n"))).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(changes)
}

/// A statement that is missing.
struct Change {
    table: String,
    sql: String,
    /// Of the table with its indexes.
    bytes: i64,
    /// Postgres has seen rows of the table when it was last analysed.
    analyzed: bool,
}

/// What is missing.
async fn changes(connection: &mut PgConnection) -> Result<Vec<Change>, sqlx::Error> {
    // Each table of ours with both columns of a customer's key: whether it compares by bytes, and the key's columns with what they carry.
    let sql = "SELECT c.relname, a.attcollation = '\"C\"'::regcollation AS by_bytes, COALESCE(i.indnatts > i.indnkeyatts, FALSE) AS carries,
                      c.reltuples > 0 AS analyzed, pg_total_relation_size(c.oid) AS bytes,
                      to_regclass('event_by_customer') IS NOT NULL AND to_regclass('event_long') IS NOT NULL AS indexed
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_attribute b ON b.attrelid = c.oid
               LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
               WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND pg_has_role(c.relowner, 'USAGE')
                 AND a.attname = 'customer_id' AND b.attname = 'bucket' ORDER BY c.relname";
    let mut out = Vec::new();
    for row in sqlx::query(sql).fetch_all(connection).await? {
        let table: String = row.try_get("relname")?;
        let (bytes, analyzed) = (row.try_get("bytes")?, row.try_get("analyzed")?);
        let mut add = |sql: String| out.push(Change { table: table.clone(), sql, bytes, analyzed });
        let mut actions = Vec::new();
        if !row.try_get::<bool, _>("by_bytes")? {
            actions.push("ALTER COLUMN customer_id TYPE TEXT COLLATE \"C\"".to_owned());
        }
        if let Some((_, key, carried)) = CARRIED.iter().find(|(name, ..)| *name == table)
            && !row.try_get::<bool, _>("carries")?
        {
            actions.push(format!("DROP CONSTRAINT {table}_pkey"));
            actions.push(format!("ADD CONSTRAINT {table}_pkey PRIMARY KEY ({key}) INCLUDE ({carried})"));
        }
        if !actions.is_empty() {
            add(format!("ALTER TABLE {table} {}", actions.join(", ")));
        }
        if table == "event" && !row.try_get::<bool, _>("indexed")? {
            let key = "event (bucket, customer_id, at)";
            add(format!(
                "CREATE INDEX IF NOT EXISTS event_by_customer ON {key} INCLUDE (name_id, sku, category, amount, score, properties) WHERE {}",
                is_short("properties")
            ));
            add(format!("CREATE INDEX IF NOT EXISTS event_long ON {key} WHERE NOT {}", is_short("properties")));
        }
    }
    Ok(out)
}

/// A condition: properties are in the index.
fn is_short(properties: &str) -> String {
    format!("(OCTET_LENGTH({properties}) <= {PROPERTIES_BYTES})")
}

/// Events of the buckets `$1 … $2` in the order of their customers, those in the index and the others.
pub(super) fn events_in_key_order() -> String {
    let part = |condition: String| {
        format!(
            "(SELECT x_.bucket, x_.customer_id, x_.at, x_.name_id, x_.sku, x_.category, x_.amount, x_.score, x_.properties FROM event x_ \
             WHERE x_.bucket >= $1 AND x_.bucket <= $2 AND {condition} ORDER BY x_.bucket, x_.customer_id, x_.at)"
        )
    };
    let short = is_short("x_.properties");
    format!("({} UNION ALL {})", part(short.clone()), part(format!("NOT {short}")))
}

/// Have Postgres look at its tables: for statistics, and to mark the pages whose rows everybody sees. Without such a mark an index that carries all
/// that is asked still has each row looked up.
pub(super) async fn vacuum(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("VACUUM (ANALYZE)").execute(pool).await.map(|_| ())
}

/// Tell Postgres how many customers a bucket has. It takes the two columns of a customer's key for independent and expects a thousandth of the rows
/// that meet; a join of joins then looks like one row, and is gone through again for every customer. That the customers of a bucket are a
/// 1,024th of all, said of `customer_id` alone, makes the product of both right.
pub(super) async fn know_buckets(pool: &PgPool) -> Result<(), sqlx::Error> {
    let sql = "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_attribute b ON b.attrelid = c.oid
               WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
                 AND a.attname = 'customer_id' AND a.attoptions IS NULL AND b.attname = 'bucket'";
    let tables: Vec<(String,)> = sqlx::query_as(sql).fetch_all(pool).await?;
    for (table,) in tables {
        let sql = format!("ALTER TABLE {table} ALTER COLUMN customer_id SET (n_distinct = {})", -1.0 / BUCKETS as f64);
        set_if_allowed(pool, sql).await?;
    }
    Ok(())
}

/// Have Postgres leave room for the states a message goes through, in pages to come. What somebody else has said of it stays.
pub(super) async fn leave_room(pool: &PgPool) -> Result<(), sqlx::Error> {
    let sql = "SELECT COUNT(*) FROM pg_class c WHERE c.relname = 'delivery' AND c.relnamespace = current_schema()::regnamespace
               AND COALESCE(array_to_string(c.reloptions, ','), '') NOT LIKE '%fillfactor%'";
    let (full,): (i64,) = sqlx::query_as(sql).fetch_one(pool).await?;
    if full > 0 {
        let sql = format!("ALTER TABLE delivery SET (fillfactor = {DELIVERY_FILL})");
        set_if_allowed(pool, sql).await?;
    }
    Ok(())
}

/// A role that does not own the table may not. Then it is only slower.
async fn set_if_allowed(pool: &PgPool, sql: String) -> Result<(), sqlx::Error> {
    match sqlx::query(AssertSqlSafe(sql)).execute(pool).await {
        Ok(_) | Err(sqlx::Error::Database(_)) => Ok(()),
        Err(e) => Err(e),
    }
}
