//! Writes, and the schema.

use okaeri::db::Dialect::{Postgres, Sqlite};

use super::super::parse::statements;
use super::super::schema::Schema;
use super::super::{lint_migration, migrations};
use super::{BOTH, breaks, breaks_on, keeps};

#[test]
fn conflicts_and_updates_leave_the_bucket_alone() {
    let insert = |conflict: &str| format!("INSERT INTO dirty (bucket, customer_id) VALUES ($1, $2) {conflict}");
    keeps(&insert("ON CONFLICT (bucket, customer_id) DO NOTHING"));
    keeps(&insert("ON CONFLICT DO NOTHING"));
    breaks(
        &insert("ON CONFLICT (customer_id) DO NOTHING"),
        &["ON CONFLICT (customer_id) of dirty does not contain bucket"],
    );
    breaks(
        &insert("ON CONFLICT (bucket, customer_id) DO UPDATE SET bucket = excluded.bucket"),
        &["an update of dirty's bucket"],
    );
    keeps(
        "INSERT INTO run_verdict (run_id) VALUES ($1) ON CONFLICT (run_id, verdict, reason) DO UPDATE SET people = run_verdict.people + 1",
    );
    keeps("INSERT INTO order_ref (order_id) VALUES ($1) ON CONFLICT (order_id) DO UPDATE SET bucket = excluded.bucket");
    keeps("UPDATE customer SET locale = $1 WHERE bucket = $2 AND customer_id = $3");
    breaks("UPDATE customer SET bucket = $1 WHERE customer_id = $2", &["an update of customer's bucket"]);
    breaks_on(&[Postgres], "UPDATE customer SET (locale, bucket) = ($1, $2)", &["an update of customer's bucket"]);
    breaks_on(
        &[Postgres],
        "INSERT INTO dirty (bucket) VALUES ($1) ON CONFLICT ON CONSTRAINT dirty_pkey DO NOTHING",
        &["ON CONFLICT ON CONSTRAINT"],
    );
    breaks(
        "INSERT INTO dirty (bucket, customer_id) VALUES ($1, $2) ON CONFLICT (bucket, customer_id) DO UPDATE SET customer_id = now()",
        &["time and chance are bound"],
    );
    breaks(
        "INSERT INTO lease (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE lease.until_at < now()",
        &["time and chance are bound"],
    );
}

#[test]
fn insert_from_select_has_a_where_before_its_conflict() {
    let insert = |select: &str| format!("INSERT INTO dirty (bucket, customer_id) {select} ON CONFLICT DO NOTHING");
    keeps(&insert("SELECT bucket, customer_id FROM customer WHERE true"));
    breaks(
        &insert("SELECT bucket, customer_id FROM customer"),
        &["INSERT … SELECT … ON CONFLICT into dirty has no WHERE"],
    );
    breaks(
        &insert("SELECT bucket, customer_id FROM customer WHERE true UNION ALL SELECT bucket, customer_id FROM event"),
        &["has no WHERE"],
    );
    keeps("INSERT INTO dirty (bucket, customer_id) SELECT bucket, customer_id FROM customer");
    breaks(
        &insert("SELECT c.bucket, c.customer_id FROM customer c JOIN event e ON e.bucket = c.bucket WHERE true"),
        &["customer_id is not equal"],
    );
}

#[test]
fn changes_join_like_reads() {
    let update = |more: &str| {
        format!(
            "WITH c AS MATERIALIZED (SELECT k.bucket, k.chunk_id FROM chunk k WHERE k.bucket = $1 LIMIT 1) \
             UPDATE chunk SET state = 'leased' FROM c WHERE chunk.chunk_id = c.chunk_id {more} RETURNING chunk.bucket"
        )
    };
    keeps(&update("AND chunk.bucket = c.bucket AND chunk.state = 'open'"));
    breaks(&update(""), &["chunk and the subquery c meet without equal bucket and chunk_id: bucket is not equal"]);
    breaks_on(
        &[Sqlite],
        "WITH got (bucket, chunk_id, seq) AS (VALUES (?,?,?)) UPDATE delivery SET state = 'sent' FROM got g \
         WHERE delivery.bucket = g.bucket AND delivery.chunk_id = g.chunk_id AND delivery.seq = g.seq",
        &[],
    );
    breaks(
        "DELETE FROM profile WHERE bucket = $1 AND NOT EXISTS (SELECT 1 FROM customer c WHERE c.customer_id = profile.customer_id)",
        &["profile and customer c meet without equal bucket and customer_id: bucket is not equal"],
    );
    // The rows that a LIMIT picks may be picked anew for each row.
    let picked = |limit: &str| {
        format!(
            "UPDATE chunk SET state = 'leased' WHERE (bucket, chunk_id) IN \
             (SELECT bucket, chunk_id FROM chunk WHERE bucket = $1 {limit})"
        )
    };
    keeps(&picked(""));
    breaks(&picked("LIMIT 5"), &["a change of rows that IN (SELECT … LIMIT …) picks"]);
    breaks(
        &picked("LIMIT 5").replace("UPDATE chunk SET state = 'leased'", "DELETE FROM chunk"),
        &["IN (SELECT … LIMIT …)"],
    );
    keeps(&picked("LIMIT 5").replace("UPDATE chunk SET state = 'leased'", "SELECT 1 FROM chunk"));
    breaks_on(
        &[Postgres],
        "DELETE FROM dirty USING profile p WHERE p.bucket = dirty.bucket AND p.customer_id = dirty.customer_id",
        &["DELETE … USING"],
    );
}

#[test]
fn the_schema_keeps_its_rules() {
    let mut earlier = String::new();
    for (name, text) in migrations() {
        for engine in BOTH {
            assert_eq!(lint_migration(&earlier, &text, engine), [""; 0], "{name} on {engine:?}");
        }
        earlier.push_str(&text);
    }
    let columns = "bucket BIGINT NOT NULL, customer_id TEXT NOT NULL, at BIGINT NOT NULL";
    for (script, told) in [
        ("CREATE TABLE t (customer_id TEXT PRIMARY KEY)", "the table t has customer_id and no bucket"),
        (
            &format!("CREATE TABLE t ({columns}, PRIMARY KEY (customer_id, at))"),
            "PRIMARY KEY (customer_id, at) of t does not begin with bucket",
        ),
        (&format!("CREATE TABLE t ({columns}, PRIMARY KEY (customer_id, bucket))"), "does not begin with bucket"),
        (&format!("CREATE TABLE t ({columns})"), "the table t has no primary key"),
        (
            &format!("CREATE TABLE t ({columns}, PRIMARY KEY (bucket, customer_id), UNIQUE (at))"),
            "UNIQUE (at) of t does not contain bucket",
        ),
        (
            &format!("CREATE TABLE t ({columns} UNIQUE, PRIMARY KEY (bucket, customer_id)) CLUSTERED"),
            "UNIQUE (at) of t does not contain bucket",
        ),
        (
            &format!(
                "CREATE TABLE t ({columns}, PRIMARY KEY (bucket, customer_id)); CREATE UNIQUE INDEX u ON t (customer_id)"
            ),
            "UNIQUE (customer_id) of t does not contain bucket",
        ),
        (
            &format!(
                "CREATE TABLE t ({columns}, PRIMARY KEY (bucket, customer_id)); \
                 CREATE TABLE u (id TEXT PRIMARY KEY, FOREIGN KEY (id) REFERENCES t (customer_id))"
            ),
            "the foreign key (id) of u to t does not contain bucket",
        ),
        ("CREATE INDEX i ON nowhere (a)", "no migration makes the table `nowhere`"),
        ("CREATE TABLE t (id TEXT PRIMARY KEY) AS SELECT 1", "CREATE TABLE … AS"),
        (
            "CREATE TABLE t (id TEXT PRIMARY KEY); ALTER TABLE t DISABLE ROW LEVEL SECURITY",
            "a change of a table that not every engine has",
        ),
        ("CREATE VIEW v AS SELECT 1", "a kind of statement that the lint does not know"),
    ] {
        for engine in BOTH {
            let found = lint_migration("", script, engine);
            assert!(found.len() == 1 && found[0].contains(told), "{script}\n{found:#?}");
        }
    }
    let (local, session) = ("SET LOCAL plan_cache_mode = force_custom_plan", "SET plan_cache_mode = force_custom_plan");
    assert_eq!(lint_migration("", local, BOTH[1]), [""; 0]);
    assert!(!lint_migration("", session, BOTH[1]).is_empty(), "it would stay with a connection that others use next");
    let first =
        format!("CREATE TABLE t ({columns}, PRIMARY KEY (bucket, customer_id), UNIQUE (bucket, at)) CLUSTERED;");
    let second = "ALTER TABLE t ADD COLUMN more TEXT; CREATE INDEX i ON t (more);
                  CREATE TABLE u (bucket BIGINT, more TEXT, PRIMARY KEY (bucket, more));
                  INSERT INTO u (bucket, more) SELECT bucket, more FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t";
    for engine in BOTH {
        assert_eq!(lint_migration("", &first, engine), [""; 0]);
        assert_eq!(lint_migration(&first, second, engine), [""; 0]);
        let found = lint_migration("", second, engine);
        assert!(found.iter().all(|f| f == "no migration makes the table `t`") && !found.is_empty(), "{found:?}");
    }
}

#[test]
fn altered_tables_are_known_as_they_are() {
    let script = "CREATE TABLE a (bucket BIGINT, x TEXT, y TEXT, PRIMARY KEY (bucket, x)); ALTER TABLE a ADD COLUMN z TEXT; \
                  ALTER TABLE a RENAME COLUMN x TO customer_id; ALTER TABLE a DROP COLUMN y; ALTER TABLE a RENAME TO b; \
                  CREATE TABLE gone (id TEXT PRIMARY KEY); DROP TABLE gone";
    let schema = Schema::of(&statements(script, Postgres).unwrap());
    let table = schema.table("b").unwrap();
    assert_eq!(
        (table.columns.join(" "), table.key.join(" ")),
        ("bucket customer_id z".into(), "bucket customer_id".into())
    );
    assert!(schema.table("a").is_none() && schema.table("gone").is_none());
}
