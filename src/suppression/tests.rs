//! The rules of the room on a real SQLite file: idempotence, order, reach, inheritance.

use super::addresses::{Moved, settle};
use super::consent::{DATED_IMPORT, Statement, UNDATED, replaces, state_all};
use super::*;
use crate::db::bucket_of;

async fn open() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&format!("sqlite:{}", dir.path().join("t.db").display())).await.unwrap();
    (dir, db)
}

#[test]
fn scopes_are_stored_as_text_and_read_back() {
    for (scope, text) in
        [(Scope::All, "all"), (Scope::Promotional, "promotional"), (Scope::Topic("お得".into()), "topic:お得")]
    {
        assert_eq!(scope.to_string(), text);
        assert_eq!(Scope::parse(text), Some(scope));
    }
    for text in ["", "topic:", "everything", "topic: offers", "topic:a;b"] {
        assert_eq!(Scope::parse(text), None, "{text}");
    }
}

#[tokio::test]
async fn the_earliest_statement_is_kept_in_any_order() {
    let (_dir, db) = open().await;
    let mut tx = db.begin().await.unwrap();
    let offers = Scope::Topic("offers".into());
    for (at, changes) in [(20, true), (10, true), (30, false), (10, false)] {
        let changed = suppress(&mut tx, "mia@example.com", &offers, Reason::Unsubscribe, at, "link").await.unwrap();
        assert_eq!(changed, changes, "at {at}");
    }
    tx.commit().await.unwrap();
    let standing = standing(&db, "mia@example.com").await.unwrap();
    assert_eq!(standing.len(), 1);
    assert_eq!((standing[0].at, &standing[0].scope), (10, &offers));

    let mut tx = db.begin().await.unwrap();
    assert!(lift(&mut tx, "mia@example.com", &offers).await.unwrap());
    assert!(!lift(&mut tx, "mia@example.com", &offers).await.unwrap());
}

#[tokio::test]
async fn the_condition_in_sql_and_the_rule_agree() {
    let (_dir, db) = open().await;
    let scopes = [Scope::All, Scope::Promotional, Scope::Topic("offers".into()), Scope::Topic("news".into())];
    let mut tx = db.begin().await.unwrap();
    for (i, scope) in scopes.iter().enumerate() {
        suppress(&mut tx, &format!("p{i}@example.com"), scope, Reason::Manual, 1, "test").await.unwrap();
    }
    tx.commit().await.unwrap();
    for kind in [Kind::Promotional, Kind::Service] {
        for (i, scope) in scopes.iter().enumerate() {
            let key = format!("p{i}@example.com");
            let sql = format!("SELECT {}", sql::suppressed("$1", kind, "$2"));
            let args = if kind == Kind::Service { args![&key] } else { args![&key, "offers"] };
            let (in_sql,): (bool,) = db.fetch_one(&sql, args).await.unwrap();
            assert_eq!(in_sql, scope.stops(kind, "offers"), "{scope} {kind:?}");
            assert_eq!(in_sql, is_suppressed(&db, &key, kind, "offers").await.unwrap());
        }
    }
}

#[tokio::test]
async fn which_statement_stands_is_the_same_in_rust_and_sql() {
    let (_dir, db) = open().await;
    let all: Vec<(bool, Millis, &str)> = [true, false]
        .into_iter()
        .flat_map(|granted| {
            [(5, UNDATED), (9, UNDATED), (5, DATED_IMPORT), (9, DATED_IMPORT), (9, "preference page")]
                .map(|(at, source)| (granted, at, source))
        })
        .collect();
    for (n, (old, new)) in all.iter().flat_map(|o| all.iter().map(move |n| (o, n))).enumerate() {
        let customer_id = format!("c{n}");
        let statement = |(granted, at, source): (bool, Millis, &str)| Statement {
            bucket: bucket_of(&customer_id),
            customer_id: customer_id.clone(),
            topic: "offers".into(),
            granted,
            at,
            source: source.into(),
        };
        let mut tx = db.begin().await.unwrap();
        state_all(&mut tx, vec![statement(*old)]).await.unwrap();
        let changed = state_all(&mut tx, vec![statement(*new)]).await.unwrap();
        assert_eq!(changed == 1, replaces(&statement(*new), &statement(*old)), "{old:?} then {new:?}");
        assert_eq!(state_all(&mut tx, vec![statement(*new)]).await.unwrap(), 0, "a repetition changes nothing");
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn an_address_passes_to_the_smallest_customer_who_still_has_it() {
    let (_dir, db) = open().await;
    let mut ids = ["a", "b", "c"].map(str::to_owned);
    ids.sort_by_key(|id| (bucket_of(id), id.clone()));
    let [small, middle, large] = &ids;
    let mut tx = db.begin().await.unwrap();
    let set = |id: &str, key: Option<&str>| args![bucket_of(id), id, key, "{}", 0_i64];
    let columns = ["bucket", "customer_id", "address_key", "attributes", "first_seen_at"];
    let update = Conflict::Update { key: &["bucket", "customer_id"] };
    let moved = |id: &str, from: Option<&str>, to: Option<&str>| Moved {
        bucket: bucket_of(id),
        customer_id: id.to_owned(),
        from: from.map(Into::into),
        to: to.map(Into::into),
    };
    // `large` had it first, then `middle` and `small`.
    let key = Some("shared@example.com");
    for id in [large, middle, small] {
        tx.insert_rows("customer", &columns, set(id, key), update).await.unwrap();
    }
    settle(&mut tx, &[moved(large, None, key), moved(middle, None, key), moved(small, None, key)]).await.unwrap();
    let primary = "SELECT customer_id FROM address WHERE address_key = 'shared@example.com'";
    assert_eq!(tx.fetch_all::<(String,)>(primary, vec![]).await.unwrap(), [(large.clone(),)]);

    // Someone who is not the primary leaves: nothing changes.
    tx.insert_rows("customer", &columns, set(middle, None), update).await.unwrap();
    settle(&mut tx, &[moved(middle, key, None)]).await.unwrap();
    assert_eq!(tx.fetch_all::<(String,)>(primary, vec![]).await.unwrap(), [(large.clone(),)]);

    tx.insert_rows("customer", &columns, set(large, Some("new@example.com")), update).await.unwrap();
    settle(&mut tx, &[moved(large, key, Some("new@example.com"))]).await.unwrap();
    assert_eq!(tx.fetch_all::<(String,)>(primary, vec![]).await.unwrap(), [(small.clone(),)]);

    tx.insert_rows("customer", &columns, set(small, None), update).await.unwrap();
    settle(&mut tx, &[moved(small, key, None)]).await.unwrap();
    assert_eq!(tx.fetch_all::<(String,)>(primary, vec![]).await.unwrap(), []);
}
