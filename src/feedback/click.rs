//! Clicks: which link of which message somebody followed, once per link, with the clicks of machines kept apart.
//!
//! Mail filters follow links before a person can. A click is filed as a *scan* when one of these holds:
//! - the program that asks says it is a machine, or does not say what it is ([`is_machine`]);
//! - the mail server took the message less than [`AT_ONCE`] ago, or has not said yet that it did;
//! - it is the third link of the same message within [`BURST`]: then the others of that burst are scans too.
//!
//! `clicked` in segments, and reports, read clicks. Both are hints about machines, not proofs; money is never decided by them.

use crate::args;
use crate::clock::{Millis, SECOND};
use crate::db::{Db, DbResult, Tx, bucket_of};
use crate::token::{Link, MessageKey};

use super::{Recorded, asks_again, consequence, due};

/// No person has read a mail so soon after it was delivered.
pub const AT_ONCE: Millis = 3 * SECOND;
/// No person follows [`BURST_LINKS`] links of one mail within this time.
pub const BURST: Millis = 5 * SECOND;
pub const BURST_LINKS: usize = 3;

/// Words in the names of programs that are no person's browser.
const MACHINES: [&str; 22] = [
    "bot",
    "crawl",
    "spider",
    "scan",
    "preview",
    "curl/",
    "wget/",
    "python",
    "java/",
    "go-http-client",
    "okhttp",
    "libwww",
    "axios",
    "node-fetch",
    "headless",
    "phantomjs",
    "barracuda",
    "mimecast",
    "proofpoint",
    "safelinks",
    "trendmicro",
    "facebookexternalhit",
];

/// Whether a User-Agent is that of a machine.
pub fn is_machine(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    agent.trim().is_empty() || MACHINES.iter().any(|word| agent.contains(word))
}

/// Record that a link was followed. Repeats change nothing: a link counts once for a person, and once for machines.
pub async fn record_click(db: &Db, key: &MessageKey, link: &Link, agent: &str, now: Millis) -> DbResult<Recorded> {
    let mut tries = 1;
    loop {
        match once(db, key, link, agent, now).await {
            Err(e) if asks_again(&e, &mut tries) => {}
            done => return done,
        }
    }
}

async fn once(db: &Db, key: &MessageKey, link: &Link, agent: &str, now: Millis) -> DbResult<Recorded> {
    let mut tx = db.begin().await?;
    let bucket = bucket_of(&key.customer_id);
    consequence::lock_person(&mut tx, bucket, key).await?;
    let lately = lately(&mut tx, bucket, key, now).await?;
    let others = lately.iter().filter(|c| c.number != Some(u64::from(link.number))).count();
    let bursts = others + 1 >= BURST_LINKS;
    let is_scan = bursts || is_machine(agent) || at_once(&mut tx, bucket, key, now).await?;
    let detail = serde_json::json!({ "via": "link", "link": link.number, "url": link.url }).to_string();
    let kind = if is_scan { Filed::Scan } else { Filed::Click };
    let recorded = file(&mut tx, bucket, key, kind, u64::from(link.number), (now, &detail), now).await?;
    if bursts {
        for click in lately.iter().filter(|c| c.kind == "click") {
            let Some(number) = click.number else { continue };
            file(&mut tx, bucket, key, Filed::Scan, number, (click.at, &click.detail), now).await?;
            tx.execute(
                "DELETE FROM fact WHERE bucket = $1 AND customer_id = $2 AND fact_id = $3",
                args![bucket, &key.customer_id, Filed::Click.id(key, number)],
            )
            .await?;
        }
    }
    due(&mut tx, bucket, &key.customer_id).await?;
    tx.commit().await?;
    Ok(recorded)
}

#[derive(Clone, Copy)]
enum Filed {
    Click,
    Scan,
}

impl Filed {
    fn name(self) -> &'static str {
        match self {
            Filed::Click => "click",
            Filed::Scan => "scan",
        }
    }

    fn id(self, key: &MessageKey, number: u64) -> String {
        format!("{}/{}/{}/{}/{number}", self.name(), key.campaign, key.step, key.slot)
    }
}

async fn file(
    tx: &mut Tx,
    bucket: i64,
    key: &MessageKey,
    kind: Filed,
    number: u64,
    (at, detail): (Millis, &str),
    now: Millis,
) -> DbResult<Recorded> {
    let new = tx
        .execute(
            "INSERT INTO fact (bucket, customer_id, fact_id, kind, at, campaign, step, slot, detail, recorded_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (bucket, customer_id, fact_id) DO NOTHING",
            args![
                bucket,
                &key.customer_id,
                kind.id(key, number),
                kind.name(),
                at,
                &key.campaign,
                &key.step,
                &key.slot,
                detail,
                now
            ],
        )
        .await?;
    Ok(if new > 0 { Recorded::New } else { Recorded::Known })
}

/// A click or scan of the same message within the last burst.
struct Lately {
    kind: String,
    at: Millis,
    detail: String,
    number: Option<u64>,
}

async fn lately(tx: &mut Tx, bucket: i64, key: &MessageKey, now: Millis) -> DbResult<Vec<Lately>> {
    let rows: Vec<(String, i64, String)> = tx
        .fetch_all(
            "SELECT kind, at, detail FROM fact
             WHERE bucket = $1 AND customer_id = $2 AND kind IN ('click', 'scan')
               AND campaign = $3 AND step = $4 AND slot = $5 AND at > $6",
            args![bucket, &key.customer_id, &key.campaign, &key.step, &key.slot, now - BURST],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(kind, at, detail)| {
            let parsed: Option<serde_json::Value> = serde_json::from_str(&detail).ok();
            Lately { kind, at, number: parsed.and_then(|d| d["link"].as_u64()), detail }
        })
        .collect())
}

/// Whether the mail server has only just taken the message, or has not answered yet.
async fn at_once(tx: &mut Tx, bucket: i64, key: &MessageKey, now: Millis) -> DbResult<bool> {
    let delivery: Option<(String, i64)> = tx
        .fetch_optional(
            "SELECT d.state, d.changed_at FROM message m
             JOIN delivery d ON d.bucket = m.bucket AND d.chunk_id = m.chunk_id AND d.seq = m.seq
             WHERE m.bucket = $1 AND m.customer_id = $2 AND m.campaign = $3 AND m.step = $4 AND m.slot = $5",
            args![bucket, &key.customer_id, &key.campaign, &key.step, &key.slot],
        )
        .await?;
    Ok(delivery
        .is_some_and(|(state, changed_at)| state == "committed" || (state == "accepted" && now - changed_at < AT_ONCE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_say_what_they_are() {
        for agent in [
            "",
            " ",
            "curl/8.4.0",
            "Mozilla/5.0 (compatible; Googlebot/2.1)",
            "python-requests/2.31",
            "BarracudaCentral",
        ] {
            assert!(is_machine(agent), "{agent}");
        }
        for agent in [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
        ] {
            assert!(!is_machine(agent), "{agent}");
        }
    }
}
