//! The promise of delivery, judged by the mail server's own log: nobody mailed twice, nobody silently lost, every doubt named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use okaeri::args;
use okaeri::catcher::read_log;
use okaeri::db::Db;

use super::scenario::Scenario;

/// The promise at the end of a send: `people` messages, each in the log once or named `unknown`.
pub async fn judge(db: &Db, log: &Path, people: usize, unknown_max: usize) {
    let states = holds(db, log, people, unknown_max).await;
    let open: Vec<_> = states.keys().filter(|state| !matches!(state.as_str(), "accepted" | "unknown")).collect();
    assert!(open.is_empty(), "a message is left: {states:?}");
}

/// The promise at any instant: `people` messages, none in the log twice, what is accepted in it, what still waits not; how many are in
/// each state.
pub async fn holds(db: &Db, log: &Path, people: usize, unknown_max: usize) -> BTreeMap<String, usize> {
    let rows: Vec<(String, String, String)> = db
        .fetch_all(
            "SELECT m.message_id, m.address, d.state FROM message m JOIN delivery d ON d.bucket = m.bucket \
             AND d.customer_id = m.customer_id AND d.chunk_id = m.chunk_id AND d.seq = m.seq",
            args![],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), people, "one message a person");
    let states: BTreeMap<String, usize> = rows.iter().fold(BTreeMap::new(), |mut all, (.., state)| {
        *all.entry(state.clone()).or_default() += 1;
        all
    });
    let mut logged: BTreeMap<String, usize> = BTreeMap::new();
    let mut mailed: BTreeMap<String, usize> = BTreeMap::new();
    for entry in read_log(log).unwrap() {
        *logged.entry(entry.message_id.expect("every mail has a Message-ID")).or_default() += 1;
        *mailed.entry(entry.recipient).or_default() += 1;
    }
    println!("{states:?}, {} in the log", logged.len());
    let twice: Vec<_> = logged.iter().chain(&mailed).filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "mailed twice: {twice:?}");
    let of_ours: BTreeSet<String> = rows.iter().map(|(id, ..)| format!("<{id}@example.com>")).collect();
    assert!(logged.keys().all(|id| of_ours.contains(id)), "the log holds a message that the ledger does not know");
    for (message_id, address, state) in &rows {
        let arrived = logged.contains_key(&format!("<{message_id}@example.com>"));
        match state.as_str() {
            "accepted" => assert!(arrived && mailed.contains_key(address), "{address} is accepted and not in the log"),
            "pending" | "deferred" => assert!(!arrived, "{address} is {state}, will be sent, and is in the log"),
            "unknown" | "committed" => {}
            other => panic!("{address} is {other}; arrived: {arrived}"),
        }
    }
    let unknown = ["unknown", "committed"].iter().filter_map(|state| states.get(*state)).sum::<usize>();
    assert!(unknown <= unknown_max, "{unknown} messages in doubt, at most one a connection and kill: {unknown_max}");
    states
}

/// Verdicts and messages add up, and the run is over.
pub async fn nothing_is_left(shop: &Scenario) {
    let verified = shop.okaeri("queue verify --format json").await.exits(0);
    assert_eq!(verified.json()["findings"].as_array().map(Vec::len), Some(0));
    let status = shop.json("queue status", 0).await;
    assert!(status["runs"].as_array().unwrap().iter().all(|r| r["state"] == "drained"), "{status}");
}
