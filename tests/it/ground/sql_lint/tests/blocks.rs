//! Ranges, groups, windows and aggregates.

use okaeri::db::Dialect::Sqlite;

use super::{ON_KEY, breaks, breaks_on, keeps};

#[test]
fn subqueries_of_their_own_name_the_range() {
    let of = |condition: &str| {
        format!("SELECT x.customer_id FROM (SELECT bucket, customer_id FROM profile WHERE {condition}) x")
    };
    keeps(&of("bucket >= $1 AND bucket <= $2"));
    keeps(&of("$1 <= bucket AND $2 > bucket"));
    keeps(&of("bucket BETWEEN $1 AND $2"));
    keeps(&of("bucket = $1"));
    keeps(&of("bucket IN ($1, $2)"));
    let told = "the subquery x reads profile without a range: compare its bucket with placeholders from both sides";
    breaks(&of("orders > $1"), &[told]);
    breaks(&of("bucket >= $1"), &[told]);
    breaks(&of("bucket >= 0 AND bucket <= 1023"), &[told]);
    breaks(&of("bucket BETWEEN 0 AND $1"), &[told]);
    breaks(&of("bucket NOT BETWEEN $1 AND $2"), &[told]);
    breaks(&of("bucket IN ($1, 7)"), &[told]);
    breaks(&of("bucket NOT IN ($1, $2)"), &[told]);
    breaks(
        "SELECT 1 FROM (SELECT p.customer_id FROM run r JOIN profile p ON p.bucket = r.next_bucket) x",
        &["the subquery x reads profile p without a range"], // a table is no list of values
    );
    breaks(&of("(bucket >= $1 AND bucket <= $2) OR orders > 3"), &[told]);
    breaks(&of("bucket + 0 BETWEEN $1 AND $2"), &[told]);
    // The range of one is the range of all that are equal; each level reads its own tables.
    let pair = "SELECT o.bucket, o.customer_id FROM customer c CROSS JOIN customer_order o WHERE c.bucket = $1";
    keeps(&format!("SELECT 1 FROM ({pair} AND {ON_KEY}) x"));
    keeps("SELECT 1 FROM (SELECT y.bucket FROM (SELECT bucket FROM dirty WHERE bucket = $1) y) x");
    breaks(
        "SELECT 1 FROM (SELECT y.bucket FROM (SELECT bucket FROM dirty) y WHERE y.bucket = $1) x",
        &["the subquery y reads dirty without a range"],
    );
    breaks("WITH x AS (SELECT bucket FROM dirty) SELECT 1 FROM x", &["the subquery x reads dirty without a range"]);
    breaks(
        "SELECT 1 FROM run WHERE EXISTS (SELECT 1 FROM chunk WHERE state = 'open')",
        &["the subquery of EXISTS reads chunk without a range"],
    );
    keeps("SELECT 1 FROM run r WHERE EXISTS (SELECT 1 FROM chunk k WHERE k.run_id = r.run_id)"); // correlated
    keeps("SELECT COUNT(*) FROM profile"); // no subquery
    breaks_on(
        &[Sqlite],
        "WITH k (bucket, id) AS (VALUES (?,?)) SELECT 1 FROM (SELECT c.locale FROM k CROSS JOIN customer c \
         WHERE c.bucket = k.bucket AND c.customer_id = k.id) x",
        &[],
    );
}

#[test]
fn groups_begin_with_the_key() {
    let of = |group: &str| {
        format!(
            "SELECT x.n FROM (SELECT e.bucket, e.customer_id AS person, e.sku, COUNT(*) AS n FROM event e WHERE e.bucket = $1 \
             GROUP BY {group}) x"
        )
    };
    for kept in [
        "e.bucket, e.customer_id",
        "(bucket), (e.customer_id)",
        "bucket, customer_id, sku",
        "1, 2, 3",
        "bucket, person, sku",
    ] {
        keeps(&of(kept));
    }
    for (broken, shown) in [
        ("e.sku", "`e.sku`"),
        ("e.customer_id", "`e.customer_id`"),
        ("e.customer_id, e.bucket", "`e.customer_id, e.bucket`"),
        ("e.bucket, e.sku, e.customer_id", "`e.bucket, e.sku, e.customer_id`"),
        ("3, 1, 2", "`e.sku, e.bucket, e.customer_id`"),
    ] {
        breaks(&of(broken), &[&format!("GROUP BY {shown} over event e does not begin with bucket and customer_id")]);
    }
    // What is equal to the key is the key.
    let listed = "WITH k (b, id) AS (VALUES (?,?)) SELECT 1 FROM (SELECT COUNT(*) FROM k CROSS JOIN event e \
                  WHERE e.bucket = k.b AND e.customer_id = k.id GROUP BY k.b, k.id) x";
    breaks_on(&[Sqlite], listed, &[]);
    breaks_on(&[Sqlite], &listed.replace("AND e.customer_id = k.id ", ""), &["GROUP BY `k.b, k.id` over event e"]);
    // The statement itself may count as it likes, unless it fills a table that grows.
    keeps("SELECT state, COUNT(*) FROM delivery WHERE run_id = $1 GROUP BY state");
    keeps(
        "INSERT INTO run_verdict (run_id, verdict, reason, people) SELECT run_id, 'skip', reason, COUNT(*) FROM skip GROUP BY run_id, reason",
    );
    breaks(
        "INSERT INTO dirty (bucket, customer_id) SELECT MIN(bucket), customer_id FROM event GROUP BY customer_id",
        &["GROUP BY `customer_id` over event"],
    );
    keeps("SELECT 1 FROM (SELECT k.bucket FROM delivery k WHERE k.bucket = $1 GROUP BY k.bucket, k.chunk_id) x");
    keeps("SELECT 1 FROM (SELECT state, COUNT(*) AS n FROM run GROUP BY state) x");
    let distinct = |columns: &str| format!("SELECT 1 FROM (SELECT DISTINCT {columns} FROM fact WHERE bucket = $1) x");
    keeps(&distinct("bucket, customer_id, kind"));
    breaks(&distinct("kind"), &["DISTINCT `kind` over fact does not begin with bucket and customer_id"]);
    keeps("SELECT DISTINCT state FROM delivery");
}

#[test]
fn windows_stay_inside_a_customer() {
    let over = |window: &str| format!("SELECT ROW_NUMBER() OVER ({window}) FROM customer_order o");
    keeps(&over("PARTITION BY bucket, customer_id ORDER BY ordered_at"));
    keeps(&over("PARTITION BY o.bucket, o.customer_id, o.status ORDER BY ordered_at DESC"));
    let told = "is not partitioned by bucket and customer_id first";
    breaks(&over("ORDER BY total"), &[told]);
    breaks(&over("PARTITION BY customer_id"), &[told]);
    breaks(&over("PARTITION BY status, bucket, customer_id"), &[told]);
    keeps("SELECT COUNT(*) OVER w FROM event WINDOW w AS (PARTITION BY bucket, customer_id)");
    breaks("SELECT COUNT(*) OVER w FROM event WINDOW w AS (PARTITION BY sku)", &[told]);
    let built = |on: &str| format!("SELECT COUNT(*) OVER (w ORDER BY at) FROM event WINDOW w AS (PARTITION BY {on})");
    keeps(&built("bucket, customer_id"));
    breaks(&built("customer_id, bucket"), &[told]);
    breaks("SELECT COUNT(*) OVER nowhere FROM event", &[told]);
    keeps("SELECT ROW_NUMBER() OVER (ORDER BY due_at) FROM run");
    breaks(
        "SELECT ROW_NUMBER() OVER (ORDER BY x.n) FROM (SELECT bucket, customer_id, orders AS n FROM profile WHERE bucket = $1) x",
        &[told],
    );
}

#[test]
fn sums_and_averages_are_cast() {
    keeps("SELECT CAST(SUM(people) AS BIGINT), CAST(COALESCE(SUM(people), 0) AS BIGINT), COUNT(*) FROM run_verdict");
    keeps("SELECT CAST(AVG(people) FILTER (WHERE people > 0) AS DOUBLE PRECISION) FROM run_verdict");
    breaks(
        "SELECT SUM(people) FROM run_verdict",
        &["outside of a CAST its type differs between engines: `SUM(people)`"],
    );
    breaks("SELECT COALESCE(SUM(people), 0) FROM run_verdict", &["outside of a CAST"]);
    breaks("SELECT CASE WHEN COUNT(*) > 1 THEN SUM(people) ELSE 0 END FROM run_verdict", &["outside of a CAST"]);
    breaks("SELECT CAST(COUNT(*) AS BIGINT) + SUM(people) FROM run_verdict", &["outside of a CAST"]);
    breaks("SELECT SUM(CAST(people AS BIGINT)) FROM run_verdict", &["outside of a CAST"]);
    keeps("SELECT reason FROM run_verdict GROUP BY reason HAVING SUM(people) > 0");
    keeps("SELECT CASE WHEN COUNT(*) > 2 * SUM(people) THEN 1 ELSE 0 END FROM run_verdict");
    breaks("SELECT reason FROM run_verdict GROUP BY reason HAVING AVG(people) > 0.5", &["outside of a CAST"]);
}
