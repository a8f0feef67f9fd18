//! Messages in groups: by mailbox-provider family, relay, state, reply code, or age.
//!
//! One statement counts by chunk, state and code, so that what comes back grows with the number of chunks and not of messages; a chunk's
//! lane and age are its messages'. Each group shows its oldest message as an example.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::args;
use crate::clock::{DAY, HOUR, Millis};
use crate::db::{Db, DbResult, Value};

use super::enqueue::{self, CHUNK_SEQS};
use super::show::{self, Message};
use super::{DeliveryState, lease::parts, status::Filter};

/// What groups have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Mailbox-provider family.
    Family,
    /// The relay it went through, or goes through while it waits.
    Relay,
    State,
    /// The last reply's code; of a refusal with its enhanced code, `550 5.1.1`.
    Code,
    /// Time since the message was planned.
    Age,
}

/// Ages, youngest first: shorter than so long, and its words.
const AGES: [(Millis, &str); 4] =
    [(HOUR, "under an hour"), (DAY, "an hour to a day"), (7 * DAY, "a day to a week"), (Millis::MAX, "a week or more")];
/// Those held out lie in no lane.
const NO_LANE: &str = "none: held out";
/// Nothing was answered yet, or nothing by a server.
const NO_CODE: &str = "none";

/// Messages with something in common.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    pub group: String,
    pub messages: i64,
    /// When the oldest of them was planned.
    pub oldest_at: Millis,
    /// The oldest of them.
    pub example: Option<Message>,
}

/// Messages of one chunk, state and code.
#[derive(Debug, sqlx::FromRow)]
struct Counted {
    run_id: String,
    chunk_id: i64,
    state: String,
    code: Option<i64>,
    /// Of a refusal, and only where groups are made by code.
    enhanced: Option<String>,
    relay: Option<String>,
    messages: i64,
    /// bucket · [`CHUNK_SEQS`] + seq of the first of them.
    first: i64,
}

impl Counted {
    /// The relay that took these messages, or refused them; `None` while they wait.
    fn went_through(&self) -> Option<&str> {
        let waits = ["pending", "deferred"].contains(&self.state.as_str());
        self.relay.as_deref().filter(|_| !waits)
    }
}

struct Gathered {
    messages: i64,
    oldest: (i64, i64),
}

/// The groups of the messages that the filter lets through: states in the order of a message's life, ages from young to old, the others
/// largest first.
pub async fn groups(db: &Db, filter: &Filter, by: By, now: Millis) -> DbResult<Vec<Group>> {
    let mut args = args![];
    let of = filter.conditions("d", &mut args);
    // Only refusals have an attempt with a code of their own.
    let attempts = "LEFT JOIN attempt a ON a.bucket = d.bucket AND a.chunk_id = d.chunk_id AND a.seq = d.seq \
                    AND a.attempt_no = d.attempts AND d.code >= 400";
    let (enhanced, attempts) = if by == By::Code { ("a.enhanced", attempts) } else { ("CAST(NULL AS TEXT)", "") };
    let keys =
        format!("d.run_id, d.chunk_id, d.state, d.code, d.relay{}", if by == By::Code { ", a.enhanced" } else { "" });
    let sql = format!(
        "SELECT d.run_id, d.chunk_id, d.state, d.code, {enhanced} AS enhanced, d.relay, COUNT(*) AS messages, \
         MIN(d.bucket * {CHUNK_SEQS} + d.seq) AS first FROM delivery d {attempts} WHERE d.bucket >= 0{of} GROUP BY {keys}"
    );
    let counted: Vec<Counted> = db.fetch_all(&sql, args).await?;
    let lanes = if matches!(by, By::Family | By::Relay) { lanes(db, &counted).await? } else { HashMap::new() };
    let mut gathered: BTreeMap<(usize, String), Gathered> = BTreeMap::new();
    for c in &counted {
        let key = match by {
            By::Family => (0, lanes.get(&c.chunk_id).map_or(NO_LANE, |l| parts(l).1).to_owned()),
            By::Relay => {
                (0, c.went_through().or(lanes.get(&c.chunk_id).map(|l| parts(l).0)).unwrap_or(NO_LANE).to_owned())
            }
            By::State => (DeliveryState::from_word(&c.state).map_or(usize::MAX, |s| s as usize), c.state.clone()),
            By::Code => (
                0,
                c.code.map_or(NO_CODE.to_owned(), |code| match &c.enhanced {
                    Some(enhanced) => format!("{code} {enhanced}"),
                    None => code.to_string(),
                }),
            ),
            By::Age => {
                let place = age_group(now - enqueue::planned_at(c.chunk_id));
                (place, AGES[place].1.to_owned())
            }
        };
        let place = (c.chunk_id, c.first);
        let g = gathered.entry(key).or_insert(Gathered { messages: 0, oldest: place });
        g.messages += c.messages;
        g.oldest = g.oldest.min(place);
    }
    let mut groups = Vec::with_capacity(gathered.len());
    for ((_, group), g) in gathered {
        let (chunk_id, first) = g.oldest;
        groups.push(Group {
            group,
            messages: g.messages,
            oldest_at: enqueue::planned_at(chunk_id),
            example: at(db, first / CHUNK_SEQS, chunk_id, first % CHUNK_SEQS).await?,
        });
    }
    if matches!(by, By::Family | By::Relay | By::Code) {
        groups.sort_by_key(|g| std::cmp::Reverse(g.messages));
    }
    Ok(groups)
}

/// The place of an age in [`AGES`].
fn age_group(age: Millis) -> usize {
    AGES.iter().position(|(below, _)| age < *below).unwrap_or(AGES.len() - 1)
}

/// The lane of each chunk of the runs in question.
async fn lanes(db: &Db, counted: &[Counted]) -> DbResult<HashMap<i64, String>> {
    let mut runs: Vec<&str> = counted.iter().map(|c| c.run_id.as_str()).collect();
    runs.sort_unstable();
    runs.dedup();
    let mut lanes = HashMap::new();
    for run_id in runs {
        let rows: Vec<(i64, String)> =
            db.fetch_all("SELECT chunk_id, lane FROM chunk WHERE run_id = $1", args![run_id]).await?;
        lanes.extend(rows);
    }
    Ok(lanes)
}

async fn at(db: &Db, bucket: i64, chunk_id: i64, seq: i64) -> DbResult<Option<Message>> {
    let (columns, tables) = (show::COLUMNS, show::TABLES);
    let sql = format!("SELECT {columns} FROM {tables} WHERE d.bucket = $1 AND d.chunk_id = $2 AND d.seq = $3");
    db.fetch_optional(&sql, vec![Value::from(bucket), chunk_id.into(), seq.into()]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_meet_without_a_gap() {
        for (age, words) in [
            (-1, "under an hour"),
            (HOUR - 1, "under an hour"),
            (HOUR, "an hour to a day"),
            (DAY, "a day to a week"),
            (7 * DAY, "a week or more"),
            (Millis::MAX, "a week or more"),
        ] {
            assert_eq!(AGES[age_group(age)].1, words, "{age}");
        }
    }
}
