//! Tables that grow with customers meet on equal keys, and on nothing less.

use okaeri::db::Dialect::{Postgres, Sqlite};

use super::super::Linter;
use super::super::parse::statements;
use super::super::schema::Schema;
use super::{ON_KEY, breaks, breaks_on, keeps};

#[test]
fn joins_equate_bucket_and_customer() {
    keeps(&format!("SELECT 1 FROM customer c JOIN customer_order o ON {ON_KEY}"));
    keeps(&format!("SELECT 1 FROM customer c LEFT JOIN customer_order o ON {ON_KEY} AND o.total > $1"));
    keeps(&format!("SELECT 1 FROM customer c, customer_order o WHERE {ON_KEY}"));
    keeps(&format!("SELECT 1 FROM customer c CROSS JOIN customer_order o WHERE c.locale = 'ja' AND ({ON_KEY})"));
    keeps("SELECT 1 FROM customer c JOIN customer_order o ON (o.bucket, o.customer_id) = (c.bucket, c.customer_id)");
    keeps(
        "SELECT 1 FROM customer c, customer_order o WHERE (o.bucket = (c.bucket)) IS TRUE AND o.customer_id = c.customer_id COLLATE \"C\"",
    );
    keeps(
        "SELECT 1 FROM customer c, event e WHERE e.bucket IS NOT DISTINCT FROM c.bucket AND e.customer_id = c.customer_id",
    );
    keeps(&format!("SELECT 1 FROM (customer c JOIN customer_order o ON {ON_KEY}) LEFT JOIN product p ON p.sku = 'x'"));
    breaks("SELECT 1 FROM (customer c JOIN customer_order o ON o.bucket = c.bucket)", &["customer_id is not equal"]);
    breaks(
        "SELECT 1 FROM customer c JOIN customer_order o ON o.customer_id = c.customer_id",
        &["customer c and customer_order o meet without equal bucket and customer_id: bucket is not equal"],
    );
    breaks("SELECT 1 FROM customer c JOIN customer_order o ON o.bucket = c.bucket", &["customer_id is not equal"]);
    breaks(
        "SELECT 1 FROM customer c, customer_order o",
        &["meet without equal bucket and customer_id: bucket is not equal, customer_id is not equal"],
    );
    breaks("SELECT 1 FROM customer c CROSS JOIN event e WHERE e.bucket = c.bucket", &["customer_id is not equal"]);
    // Equal on one side of an OR is not equal.
    breaks(
        &format!("SELECT 1 FROM customer c JOIN customer_order o ON ({ON_KEY}) OR o.total = 0"),
        &["bucket is not equal, customer_id is not equal"],
    );
    breaks(&format!("SELECT 1 FROM customer c JOIN customer_order o ON NOT ({ON_KEY})"), &["bucket is not equal"]);
    breaks(
        "SELECT 1 FROM customer c JOIN customer_order o ON o.bucket >= c.bucket AND o.customer_id = c.customer_id",
        &["bucket is not equal"],
    );
    breaks(
        "SELECT 1 FROM customer c JOIN customer_order o ON o.bucket = c.customer_id AND o.customer_id = c.bucket",
        &["bucket is not equal"],
    );
}

#[test]
fn equality_goes_through_other_tables_and_values() {
    let third = "JOIN event e ON e.bucket = o.bucket AND e.customer_id = o.customer_id";
    keeps(&format!("SELECT 1 FROM customer c JOIN customer_order o ON {ON_KEY} {third}"));
    keeps(
        "SELECT 1 FROM customer c, consent n WHERE c.bucket = $1 AND n.bucket = $1 AND c.customer_id = $2 AND n.customer_id = $2",
    );
    breaks(
        "SELECT 1 FROM customer c, consent n WHERE c.bucket = $1 AND n.bucket = $1 AND c.customer_id = $2 AND n.customer_id = $3",
        &["customer_id is not equal"],
    );
    breaks_on(
        &[Sqlite], // no two of these are the same value
        "SELECT 1 FROM customer c, consent n WHERE c.bucket = ? AND n.bucket = ? AND c.customer_id = ? AND n.customer_id = ?",
        &["bucket is not equal"],
    );
    breaks(
        &format!("SELECT 1 FROM customer c JOIN customer_order o ON {ON_KEY} JOIN event e ON e.bucket = o.bucket"),
        &["customer_order o and event e meet without equal bucket and customer_id: customer_id is not equal"],
    );
    // An outer join says nothing about the rows of the tables before it.
    breaks(
        &format!(
            "SELECT 1 FROM customer c CROSS JOIN customer_order o LEFT JOIN product p ON p.sku = 'x' AND {ON_KEY}"
        ),
        &["bucket is not equal, customer_id is not equal"],
    );
}

#[test]
fn messages_meet_by_chunk_and_place() {
    keeps(
        "SELECT 1 FROM message m JOIN delivery d ON d.bucket = m.bucket AND d.chunk_id = m.chunk_id AND d.seq = m.seq",
    );
    keeps("SELECT 1 FROM delivery d JOIN chunk k ON k.bucket = d.bucket AND k.chunk_id = d.chunk_id");
    keeps("SELECT 1 FROM chunk k JOIN delivery d ON k.bucket = d.bucket AND k.chunk_id = d.chunk_id");
    keeps(
        "SELECT 1 FROM attempt a JOIN delivery d ON d.bucket = a.bucket AND d.chunk_id = a.chunk_id AND d.seq = a.seq \
         JOIN customer c ON c.bucket = d.bucket AND c.customer_id = d.customer_id",
    );
    breaks(
        "SELECT 1 FROM message m JOIN delivery d ON d.chunk_id = m.chunk_id AND d.seq = m.seq",
        &["message m and delivery d meet without equal bucket and customer_id"],
    );
    breaks(
        "SELECT 1 FROM attempt a JOIN delivery d ON d.bucket = a.bucket AND d.chunk_id = a.chunk_id",
        &["attempt a and delivery d meet without equal bucket and chunk_id: seq is not equal"],
    );
    breaks(
        "SELECT 1 FROM delivery d JOIN chunk k ON k.chunk_id = d.chunk_id",
        &["delivery d and chunk k meet without equal bucket and chunk_id: bucket is not equal"],
    );
    breaks(
        "SELECT 1 FROM customer c JOIN chunk k ON k.bucket = c.bucket",
        &["customer c and chunk k meet without equal bucket and customer_id: chunk k has no customer_id"],
    );
}

#[test]
fn small_tables_and_lists_meet_by_any_key() {
    keeps("SELECT 1 FROM order_line l LEFT JOIN product p ON p.sku = l.sku");
    keeps("SELECT 1 FROM event e JOIN event_name n ON n.name_id = e.name_id, run r");
    keeps("SELECT 1 FROM customer c WHERE EXISTS (SELECT 1 FROM suppression s WHERE s.address_key = c.address_key)");
    keeps("SELECT 1 FROM customer c WHERE EXISTS (SELECT 1 FROM address a WHERE a.address_key = c.address_key)");
    keeps("SELECT 1 FROM message m WHERE m.run_id IN (SELECT run_id FROM run WHERE state = 'sending')");
    breaks_on(
        &[Sqlite],
        "WITH k (a) AS (VALUES (?),(?)) SELECT 1 FROM k CROSS JOIN customer c WHERE c.address_key = k.a",
        &[],
    );
    breaks_on(&[Sqlite], "SELECT 1 FROM customer c, json_each($1) k WHERE c.address_key = k.value", &[]);
    breaks_on(
        &[Postgres],
        "WITH k (a) AS (SELECT * FROM UNNEST($1::text[])) SELECT 1 FROM k CROSS JOIN customer c WHERE c.address_key = k.a",
        &[],
    );
    breaks_on(
        &[Postgres],
        "SELECT 1 FROM customer c CROSS JOIN jsonb_array_elements_text(CAST($1 AS JSONB)) k WHERE c.address_key = k",
        &[],
    );
    // What is kept by a value of its own is looked up by a list, and that is all.
    breaks_on(
        &[Sqlite],
        "WITH k (id) AS (VALUES (?)) SELECT r.bucket FROM k CROSS JOIN order_ref r WHERE r.order_id = k.id",
        &[],
    );
    breaks(
        "SELECT 1 FROM order_ref r JOIN customer c ON c.bucket = r.bucket AND c.customer_id = r.customer_id",
        &["order_ref r meets customer c, but is spread by order_id: look it up by a list of values"],
    );
    breaks(
        "SELECT 1 FROM customer_order o WHERE EXISTS (SELECT 1 FROM order_ref r WHERE r.order_id = o.order_id)",
        &["order_ref r meets customer_order o"],
    );
    breaks("SELECT 1 FROM custommer c", &["no migration makes the table `custommer`"]);
}

#[test]
fn exists_and_values_equate_with_what_is_around() {
    let exists = |condition: &str| {
        format!("SELECT 1 FROM customer c WHERE NOT EXISTS (SELECT 1 FROM customer_order o WHERE {condition})")
    };
    keeps(&exists(ON_KEY));
    keeps(&exists(&format!("{ON_KEY} AND o.status = 'placed'")));
    breaks(
        &exists("o.customer_id = c.customer_id"),
        &["customer c and customer_order o meet without equal bucket and customer_id: bucket is not equal"],
    );
    breaks(&exists("o.bucket = c.bucket"), &["customer_id is not equal"]);
    breaks(&exists(&format!("{ON_KEY} OR o.total = 0")), &["bucket is not equal"]);
    // Not correlated: it is one value for everybody, and read within a range.
    keeps("SELECT 1 FROM customer c WHERE c.first_seen_at > (SELECT MAX(e.at) FROM event e WHERE e.bucket = $1)");
    breaks(
        "SELECT (SELECT MAX(e.at) FROM event e WHERE e.customer_id = c.customer_id) FROM customer c",
        &["customer c and event e meet without equal bucket and customer_id: bucket is not equal"],
    );
    // Two levels out.
    let inner = |condition: &str| {
        format!(
            "SELECT 1 FROM customer c WHERE EXISTS (SELECT 1 FROM customer_order o WHERE {ON_KEY} AND EXISTS \
             (SELECT 1 FROM order_line l WHERE {condition}))"
        )
    };
    keeps(&inner("l.bucket = c.bucket AND l.customer_id = c.customer_id"));
    keeps(&inner("l.bucket = o.bucket AND l.customer_id = c.customer_id"));
    breaks(
        &inner("l.bucket = o.bucket AND l.order_id = o.order_id"),
        &["order_line l meet without equal bucket and customer_id"],
    );
    let between = |condition: &str| {
        format!(
            "SELECT 1 FROM customer c WHERE EXISTS (SELECT 1 FROM run r WHERE EXISTS (SELECT 1 FROM skip s \
             WHERE s.run_id = r.run_id AND {condition}))"
        )
    };
    keeps(&between("s.bucket = c.bucket AND s.customer_id = c.customer_id"));
    breaks(&between("s.bucket = c.bucket"), &["customer c and skip s meet without equal bucket and customer_id"]);
    // What is inside looks out, and so does what is around it.
    breaks(
        "SELECT 1 FROM customer c WHERE EXISTS (SELECT 1 FROM customer_order o WHERE o.bucket = $1 AND EXISTS \
         (SELECT 1 FROM event e WHERE e.bucket = c.bucket AND e.customer_id = c.customer_id))",
        &["customer c and customer_order o meet without equal bucket and customer_id"],
    );
    // A derived table inside that looks out.
    let derived = |condition: &str| {
        format!(
            "SELECT 1 FROM customer c WHERE EXISTS (SELECT 1 FROM (SELECT o.bucket, o.customer_id, COUNT(*) AS n \
             FROM customer_order o WHERE {condition} GROUP BY o.bucket, o.customer_id) x WHERE x.n > 2)"
        )
    };
    keeps(&derived(ON_KEY));
    breaks(&derived("o.customer_id = c.customer_id"), &["bucket is not equal"]);
    let without_key =
        |select: &str| format!("SELECT 1 FROM customer c WHERE EXISTS (SELECT 1 FROM ({select}) x WHERE x.total > 2)");
    let own = format!("SELECT o.total FROM customer_order o WHERE {ON_KEY}");
    keeps(&without_key(&own));
    keeps(&without_key(&format!("{own} UNION ALL {own}")));
    breaks(
        &without_key(&format!("{own} UNION ALL SELECT e.amount FROM event e WHERE e.bucket = $1")),
        &["customer c and the subquery x meet without equal bucket and customer_id"],
    );
    // Conditions of a subquery end with it.
    breaks(
        &format!(
            "SELECT 1 FROM customer c, customer_order o WHERE EXISTS (SELECT 1 FROM event e WHERE e.bucket = c.bucket \
             AND e.customer_id = c.customer_id AND {ON_KEY})"
        ),
        &["customer c and customer_order o meet without equal bucket and customer_id"],
    );
}

#[test]
fn in_equates_with_what_is_around() {
    let both = "(bucket, customer_id) IN (SELECT bucket, customer_id FROM dirty WHERE bucket >= $1 AND bucket <= $2)";
    keeps(&format!("SELECT 1 FROM profile WHERE {both}"));
    keeps(&format!("DELETE FROM profile WHERE {both}"));
    breaks(
        "SELECT 1 FROM profile p WHERE p.customer_id IN (SELECT customer_id FROM dirty WHERE bucket >= $1 AND bucket <= $2)",
        &["profile p and dirty meet without equal bucket and customer_id: bucket is not equal"],
    );
    breaks(
        "SELECT 1 FROM profile p WHERE (p.bucket, p.customer_id) IN (SELECT bucket, customer_id FROM dirty)",
        &["the subquery of IN reads dirty without a range"],
    );
    keeps(
        "SELECT 1 FROM profile p WHERE p.customer_id IN (SELECT d.customer_id FROM dirty d WHERE d.bucket = p.bucket)",
    );
    breaks_on(
        &[Sqlite],
        "WITH k (bucket, customer_id) AS (VALUES (?,?)) DELETE FROM dirty WHERE (bucket, customer_id) IN (SELECT bucket, customer_id FROM k)",
        &[],
    );
    let not_in = "customer_id NOT IN (SELECT d.customer_id FROM dirty d WHERE d.bucket = profile.bucket)";
    breaks(&format!("SELECT 1 FROM profile WHERE {not_in}"), &["NOT IN (subquery)"]);
    let not_in = not_in.replace("customer_id NOT IN", "NOT (customer_id IN") + ")";
    breaks(&format!("SELECT 1 FROM profile WHERE {not_in}"), &["NOT IN (subquery)"]);
    keeps("SELECT 1 FROM profile WHERE orders NOT IN ($1, $2)");
}

#[test]
fn derived_tables_carry_what_they_select() {
    let joined = |select: &str, on: &str| format!("SELECT 1 FROM customer c LEFT JOIN ({select}) x ON {on}");
    let on = "x.bucket = c.bucket AND x.customer_id = c.customer_id";
    let range = "WHERE e.bucket >= $1 AND e.bucket <= $2";
    let grouped =
        format!("SELECT e.bucket, e.customer_id, COUNT(*) AS n FROM event e {range} GROUP BY e.bucket, e.customer_id");
    keeps(&joined(&grouped, on));
    keeps(&joined(&format!("SELECT e.* FROM event e {range}"), on));
    keeps(&joined(&format!("SELECT y.* FROM ({grouped}) y WHERE y.n > 1"), on));
    keeps(&joined(
        &format!("SELECT e.bucket AS b, e.customer_id AS id FROM event e {range}"),
        "x.b = c.bucket AND x.id = c.customer_id",
    ));
    breaks(
        &joined(&grouped, "x.customer_id = c.customer_id"),
        &["customer c and the subquery x meet without equal bucket"],
    );
    breaks(
        &joined(&format!("SELECT e.customer_id, e.at FROM event e {range}"), "x.customer_id = c.customer_id"),
        &["customer c and the subquery x meet without equal bucket and customer_id: the subquery x has no bucket"],
    );
    breaks(
        &joined(&format!("SELECT e.bucket + 0 AS bucket, e.customer_id FROM event e {range}"), on),
        &["the subquery x has no bucket"],
    );
    // One row about everybody is a value; so are groups of something else, which are a violation of their own.
    keeps(&joined(&format!("SELECT MAX(e.at) AS at FROM event e {range}"), "x.at > c.first_seen_at"));
    breaks(
        &joined(&format!("SELECT e.sku, COUNT(*) AS n FROM event e {range} GROUP BY e.sku"), "x.n > 1"),
        &["GROUP BY"],
    );
    // Names are those of the alias, roles those of the columns.
    let with = |columns: &str| {
        format!(
            "WITH x ({columns}) AS (SELECT e.bucket, e.customer_id FROM event e {range}) \
             SELECT 1 FROM customer c JOIN x ON {on}"
        )
    };
    keeps(&with("bucket, customer_id"));
    breaks(&with("customer_id, bucket"), &["bucket is not equal, customer_id is not equal"]);
    breaks_on(
        &[Postgres],
        "SELECT 1 FROM customer c JOIN (SELECT bucket, customer_id FROM dirty WHERE bucket = $1) x (a, b) \
         ON x.a = c.bucket AND x.b = c.customer_id",
        &[],
    );
    // The least of two columns is one per row and so no row about everybody.
    let least = "SELECT MIN(orders, revenue) AS n FROM profile WHERE bucket = $1";
    breaks_on(
        &[Sqlite],
        &joined(least, "x.n > 1"),
        &["the subquery x has no bucket, the subquery x has no customer_id"],
    );
    // A union carries what all its parts carry.
    let union =
        |second: &str| joined(&format!("SELECT e.bucket, e.customer_id FROM event e {range} UNION ALL {second}"), on);
    keeps(&union("SELECT d.bucket, d.customer_id FROM dirty d WHERE d.bucket = $1"));
    breaks(
        &union("SELECT d.customer_id, d.customer_id FROM dirty d WHERE d.bucket = $1"),
        &["the subquery x has no bucket"],
    );
    breaks(
        &joined(
            "SELECT 1 AS bucket, 'a' AS customer_id UNION ALL SELECT bucket, customer_id FROM dirty WHERE bucket = $1",
            on,
        ),
        &["the subquery x has no bucket"],
    );
    // A window counts many rows and gives as many.
    let window = "SELECT COUNT(*) OVER (PARTITION BY bucket, customer_id) AS n FROM event WHERE bucket = $1";
    breaks(&joined(window, "x.n > 1"), &["customer c and the subquery x meet without equal bucket"]);
    breaks("SELECT 1 FROM (SELECT bucket FROM dirty WHERE bucket = $1)", &["a derived table without an alias"]);
}

#[test]
fn joins_say_both_sides() {
    breaks("SELECT 1 FROM customer c JOIN event e USING (bucket, customer_id)", &["a join without ON", "meet without"]);
    breaks("SELECT 1 FROM run NATURAL JOIN run_verdict", &["a join without ON"]);
    breaks("SELECT 1 FROM run r CROSS APPLY run_verdict v", &["a join that not every engine has"]);
}

#[test]
fn tables_of_buckets_meet_by_bucket() {
    let script = "CREATE TABLE progress (bucket BIGINT, name TEXT, PRIMARY KEY (bucket, name)); \
                  CREATE TABLE customer (bucket BIGINT, customer_id TEXT, PRIMARY KEY (bucket, customer_id))";
    let schema = Schema::of(&statements(script, Sqlite).unwrap());
    let lint = |sql: &str| Linter::new(&schema).whole(&statements(sql, Sqlite).unwrap()[0]);
    assert_eq!(lint("SELECT 1 FROM customer c JOIN progress p ON p.bucket = c.bucket"), [""; 0]);
    let told = lint("SELECT 1 FROM customer c, progress p");
    assert!(told[0].ends_with("bucket is not equal, progress p has no customer_id"), "{told:?}");
    // A subquery that leaves the customer out is not of buckets.
    let told =
        lint("SELECT 1 FROM customer c JOIN (SELECT bucket FROM customer WHERE bucket = $1) x ON x.bucket = c.bucket");
    assert!(told[0].ends_with("the subquery x has no customer_id"), "{told:?}");
}
