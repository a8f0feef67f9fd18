//! What must not be written, and what of ours must be understood.

use okaeri::db::Dialect::{Postgres, Sqlite};

use super::{breaks, breaks_on, keeps};

#[test]
fn time_chance_and_hashes_are_bound() {
    for call in ["now()", "random()", "current_timestamp", "CURRENT_DATE", "datetime('now')", "strftime('%s', 'now')"] {
        breaks(&format!("SELECT {call}"), &["time and chance are bound, not asked of the engine"]);
        breaks(&format!("INSERT INTO meta (name, value) VALUES ($1, {call})"), &["time and chance are bound"]);
        breaks(&format!("UPDATE run SET changed_at = 1 + {call}"), &["time and chance are bound"]);
        breaks(&format!("DELETE FROM run WHERE due_at < {call}"), &["time and chance are bound"]);
        breaks(&format!("SELECT 1 FROM run ORDER BY {call}"), &["time and chance are bound"]);
        breaks(
            &format!("SELECT 1 FROM run GROUP BY state HAVING MAX(due_at) < {call}"),
            &["time and chance are bound"],
        );
        breaks(&format!("SELECT MAX(due_at) FILTER (WHERE due_at < {call}) FROM run"), &["time and chance are bound"]);
        breaks(&format!("SELECT 1 FROM run r LEFT JOIN run s ON s.due_at < {call}"), &["time and chance are bound"]);
        breaks(&format!("UPDATE run SET state = 'x' RETURNING {call}"), &["time and chance are bound"]);
        breaks(&format!("SELECT 1 FROM run WINDOW w AS (PARTITION BY {call})"), &["time and chance are bound"]);
        breaks(&format!("SELECT 1 FROM run LIMIT 1 + {call}"), &["time and chance are bound"]);
        breaks(&format!("SELECT 1 FROM run UNION SELECT {call}"), &["time and chance are bound"]);
        breaks(&format!("SELECT 1 FROM (VALUES (1), ({call})) x"), &["time and chance are bound"]);
        breaks(&format!("SELECT CASE WHEN due_at IN (1, {call}) THEN 1 END FROM run"), &["time and chance are bound"]);
    }
    keeps("SELECT due_at, COALESCE(reason, 'now()') FROM run WHERE due_at < $1");
    breaks("SELECT md5(customer_id) FROM customer", &["hashes are made in Rust"]);
    breaks_on(
        &[Postgres],
        "SELECT 1 FROM customer WHERE hashtext(customer_id) % 1024 = bucket",
        &["hashes are made in Rust"],
    );
}

#[test]
fn constructs_that_an_engine_lacks_are_named() {
    breaks_on(&[Postgres], "SELECT state FROM run GROUP BY GROUPING SETS ((state), (reason))", &["GROUPING SETS"]);
    breaks("SELECT state FROM run GROUP BY ROLLUP (state, reason)", &["GROUPING SETS and their kin"]);
    breaks("SELECT state FROM run GROUP BY CUBE (state, reason)", &["GROUPING SETS and their kin"]);
    breaks("WITH RECURSIVE x (n) AS (SELECT 1 UNION ALL SELECT 2) SELECT n FROM x", &["WITH RECURSIVE"]);
    breaks_on(&[Postgres], "SELECT DISTINCT ON (campaign) run_id FROM run", &["DISTINCT ON"]);
    breaks_on(&[Postgres], "SELECT 1 FROM run r, LATERAL (SELECT r.run_id) x", &["LATERAL"]);
    breaks_on(&[Postgres], "SELECT 1 FROM run r, LATERAL json_each(r.definition) x", &["LATERAL"]);
    breaks_on(&[Postgres], "SELECT state FROM run GROUP BY ALL", &["GROUPING SETS and their kin"]);
    breaks_on(&[Postgres], "SELECT 1 FROM TABLE(f(1)) x", &["a kind of table that the lint does not know"]);
    breaks("WITH x AS (TABLE run) SELECT 1 FROM x", &["a kind of query that the lint does not know"]);
    breaks(
        "INSERT INTO meta (name) VALUES ('a') ON DUPLICATE KEY UPDATE value = 'b'",
        &["a clause that not every engine has"],
    );
    breaks("UPDATE run SET state = 'sent' LIMIT 5", &["UPDATE … LIMIT"]);
    breaks_on(
        &[Postgres],
        "MERGE INTO run r USING run_verdict v ON r.run_id = v.run_id WHEN MATCHED THEN DELETE",
        &["MERGE"],
    );
    breaks_on(&[Sqlite], "CREATE TRIGGER t AFTER INSERT ON run BEGIN SELECT 1; END", &["a trigger"]);
    breaks_on(&[Postgres], "CREATE TRIGGER t AFTER INSERT ON run FOR EACH ROW EXECUTE FUNCTION f()", &["a trigger"]);
    breaks_on(&[Postgres], "SELECT due_at::text FROM run", &["`::` is Postgres alone"]);
    breaks_on(&[Postgres], "SELECT 1 FROM run WHERE run_id = ANY ($1::text[])", &["`::` is Postgres alone"]);
    breaks_on(&[Postgres], "SELECT 1 FROM UNNEST($1::text[]) k", &[]);
    breaks_on(&[Postgres], "SELECT 1 FROM UNNEST((SELECT 'a')::text[]) k", &["`::` is Postgres alone"]);
    keeps("SELECT CAST(due_at AS TEXT) FROM run");
    breaks_on(&[Postgres], "SELECT INTERVAL '1 day'", &["an expression that the lint does not know"]);
    breaks("SELEKT 1", &["the lint cannot parse it"]);
    breaks("SELECT 1; SELECT 2", &["2 statements in one text"]);
    breaks_on(&[Postgres], "LOCK TABLE run IN EXCLUSIVE MODE", &["does not know"]);
}

#[test]
fn dialects_of_ours_are_understood() {
    for sql in [
        "SELECT CASE json_type(c.attributes, $1) WHEN 'text' THEN c.attributes ->> $1 WHEN 'real' THEN c.attributes -> $1 END FROM customer c",
        "SELECT LENGTH(locale) <= 18 AND locale NOT GLOB '*[^-.0-9]*' AND locale GLOB 'GLOB' FROM customer",
        "SELECT json_group_object(sku, name ORDER BY sku) FROM product",
        "SELECT SUBSTR(MAX((CAST(price AS TEXT) || sku) COLLATE BINARY) FILTER (WHERE (price > 1) IS TRUE), 17) FROM product",
        "SELECT (n.price, n.sku) > (o.price, o.sku) AND n.name IS DISTINCT FROM o.name FROM product n, product o",
        "PRAGMA optimize",
    ] {
        breaks_on(&[Sqlite], sql, &[]);
    }
    for sql in [
        "SELECT CASE WHEN json_typeof(CAST(REPLACE(a.attributes, '\\u0000', '\\ufffd') AS JSON) -> $1) IN ('string') THEN 1 END FROM product a",
        "SELECT locale ~ '^-?(0|[1-9][0-9]*)([.][0-9]+)?$' FROM customer",
        "SELECT CAST(json_object_agg(sku, name ORDER BY sku) AS TEXT) FROM product ORDER BY sku COLLATE \"C\"",
        "SELECT k.chunk_id FROM chunk k WHERE k.bucket = $1 FOR UPDATE OF k SKIP LOCKED",
        "INSERT INTO meta (name, value) SELECT * FROM UNNEST($1::text[], $2::text[]) WHERE true ON CONFLICT DO NOTHING",
        "SELECT TRIM(name), SUBSTRING(name FROM 2 FOR 3), ABS(price) FROM product WHERE name ILIKE $1",
        "ANALYZE",
    ] {
        breaks_on(&[Postgres], sql, &[]);
    }
}

#[test]
fn deep_and_long_statements_are_read() {
    let deep = format!("SELECT {}1{}", "(".repeat(400), ")".repeat(400));
    keeps(&deep);
    let rows = vec!["(?,?)"; 500].join(",");
    breaks_on(&[Sqlite], &format!("INSERT INTO dirty (bucket, customer_id) VALUES {rows} ON CONFLICT DO NOTHING"), &[]);
    let long: Vec<String> = (0..500).map(|n| format!("orders = {n}")).collect();
    keeps(&format!("SELECT 1 FROM profile WHERE {}", long.join(" OR ")));
}
