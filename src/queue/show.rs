//! One message in full: who, what, where it stands, every try with the server's own words, every decision about it, and what comes next.

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::args;
use crate::clock::{self, Millis};
use crate::db::{Db, DbResult};
use crate::suppression::{self, Kind};

use super::{DeliveryState, RunState};

/// A message with its delivery and its run.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub struct Message {
    /// Left side of the Message-ID; what `queue` verbs call its id.
    pub message_id: String,
    pub customer_id: String,
    pub address: Option<String>,
    pub campaign: String,
    pub step: String,
    pub slot: String,
    pub topic: String,
    #[sqlx(rename = "kind")]
    #[serde(rename = "kind")]
    kind_word: String,
    pub arm: String,
    pub locale: String,
    #[sqlx(rename = "state")]
    #[serde(rename = "state")]
    state_word: String,
    /// When it was to leave by the plan.
    pub planned_at: Millis,
    /// When it is, or was last, due.
    pub due_at: Millis,
    /// From then on it is not worth sending.
    pub expires_at: Millis,
    /// The Date header; absent until its content may have left.
    pub date_at: Option<Millis>,
    pub changed_at: Millis,
    pub attempts: i64,
    /// The first 64 bits of the SHA-256 of the content that left, or was about to; absent before. Sixteen hexadecimal digits in JSON.
    #[serde(serialize_with = "hexadecimal")]
    pub content_hash: Option<i64>,
    /// The last reply.
    pub code: Option<i64>,
    pub reply: Option<String>,
    /// The relay that gave it: that took the message, if one did.
    pub relay: Option<String>,
    pub run_id: String,
    run_state: String,
    pub run_reason: Option<String>,
    #[serde(skip)]
    pub address_key: Option<String>,
    #[serde(skip)]
    pub bucket: i64,
    #[serde(skip)]
    pub chunk_id: i64,
    #[serde(skip)]
    pub seq: i64,
}

fn hexadecimal<S: serde::Serializer>(hash: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
    hash.map(digits).serialize(to)
}

/// A content hash as `sha256sum` begins its line.
pub fn digits(hash: i64) -> String {
    format!("{hash:016x}")
}

impl Message {
    /// Its state; a word this version does not know reads as `unknown`, which is never sent by itself.
    pub fn state(&self) -> DeliveryState {
        DeliveryState::from_word(&self.state_word).unwrap_or(DeliveryState::Unknown)
    }

    /// The state of its run; a word this version does not know reads as `paused`.
    pub fn run_state(&self) -> RunState {
        RunState::from_word(&self.run_state).unwrap_or(RunState::Paused)
    }

    /// What it is for; a word this version does not know reads as `promotional`, which more suppressions stop.
    pub fn kind(&self) -> Kind {
        if self.kind_word == Kind::Service.word() { Kind::Service } else { Kind::Promotional }
    }
}

/// Columns of [`Message`], of message `m`, its delivery `d` and its run `r`.
pub const COLUMNS: &str = "m.message_id, m.customer_id, m.address, m.campaign, m.step, m.slot, m.topic, m.kind, m.arm, m.locale, \
     d.state, m.due_at AS planned_at, d.due_at, COALESCE(d.expires_at, r.expires_at) AS expires_at, d.date_at, d.changed_at, d.attempts, \
     d.content_hash, d.code, d.reply, d.relay, m.run_id, r.state AS run_state, r.reason AS run_reason, m.address_key, m.bucket, m.chunk_id, m.seq";
/// Where they come from.
pub const TABLES: &str = "message m JOIN delivery d ON d.bucket = m.bucket AND d.customer_id = m.customer_id \
     AND d.chunk_id = m.chunk_id AND d.seq = m.seq JOIN run r ON r.run_id = m.run_id";

/// The id in what somebody pasted: a Message-ID with or without its angle brackets and domain.
pub fn id_of(text: &str) -> &str {
    let inner = text.trim().trim_start_matches('<').trim_end_matches('>');
    inner.rsplit_once('@').map_or(inner, |(left, _)| left)
}

/// The message of this id.
pub async fn find(db: &Db, message_id: &str) -> DbResult<Option<Message>> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE m.message_id = $1");
    db.fetch_optional(&sql, args![message_id]).await
}

/// A customer's messages, newest first.
pub async fn of_customer(db: &Db, bucket: i64, customer_id: &str, most: i64) -> DbResult<Vec<Message>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE m.bucket = $1 AND m.customer_id = $2 \
         ORDER BY m.due_at DESC, m.campaign, m.step, m.slot LIMIT $3"
    );
    db.fetch_all(&sql, args![bucket, customer_id, most]).await
}

/// A try, or what an operator decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happened {
    /// A try that did not end in plain acceptance.
    Attempt {
        at: Millis,
        attempt_no: i64,
        /// Where in the conversation: connect, auth, mail, rcpt, data, content.
        stage: String,
        /// What the message became by it.
        state: String,
        code: Option<i64>,
        enhanced: Option<String>,
        /// The server's words; characters that a terminal would act upon are written `\x1b`.
        reply: String,
        /// The relay that was tried.
        relay: Option<String>,
    },
    Decision {
        at: Millis,
        decided: String,
        by: String,
        evidence: String,
    },
}

impl Happened {
    /// When.
    pub fn at(&self) -> Millis {
        match self {
            Happened::Attempt { at, .. } | Happened::Decision { at, .. } => *at,
        }
    }
}

type Attempt = (Millis, i64, String, String, Option<i64>, Option<String>, String, Option<String>);

/// Everything that happened to a message, oldest first. The acceptance itself is the message's last reply.
pub async fn history(db: &Db, m: &Message) -> DbResult<Vec<Happened>> {
    let key = || args![m.bucket, m.chunk_id, m.seq];
    let attempts: Vec<Attempt> = db
        .fetch_all(
            "SELECT at, attempt_no, stage, state, code, enhanced, reply, relay FROM attempt \
             WHERE bucket = $1 AND chunk_id = $2 AND seq = $3 ORDER BY at, attempt_no",
            key(),
        )
        .await?;
    let decisions: Vec<(Millis, String, String, String)> = db
        .fetch_all(
            "SELECT at, decided, decided_by, evidence FROM decision WHERE bucket = $1 AND chunk_id = $2 AND seq = $3 ORDER BY at",
            key(),
        )
        .await?;
    let attempts = attempts.into_iter().map(|(at, attempt_no, stage, state, code, enhanced, reply, relay)| {
        Happened::Attempt { at, attempt_no, stage, state, code, enhanced, reply, relay }
    });
    let decisions =
        decisions.into_iter().map(|(at, decided, by, evidence)| Happened::Decision { at, decided, by, evidence });
    let mut all: Vec<Happened> = attempts.chain(decisions).collect();
    all.sort_by_key(Happened::at);
    Ok(all)
}

/// What stands against sending a message, in words; `None` when nothing does.
pub async fn stopped_by(db: &Db, m: &Message) -> DbResult<Option<String>> {
    let Some(key) = &m.address_key else { return Ok(None) };
    let standing = suppression::standing(db, key).await?;
    let stops = standing.iter().find(|s| s.scope.stops(m.kind(), &m.topic));
    Ok(stops.map(|s| format!("{} ({})", s.scope, s.reason.as_str())))
}

/// What will happen to a message next, in a sentence.
pub fn next(m: &Message, stopped_by: Option<&str>, now: Millis, zone: &TimeZone) -> String {
    let id = &m.message_id;
    match m.state() {
        DeliveryState::Pending | DeliveryState::Deferred => waiting(m, stopped_by, now, zone),
        DeliveryState::Committed => {
            "a worker is sending it; should that worker have died, the next `okaeri work` names it unknown".to_owned()
        }
        DeliveryState::Accepted => "nothing: the mail server took it".to_owned(),
        DeliveryState::Failed => match stopped_by {
            Some(why) => format!("nothing: it was refused for good, and its address is suppressed: {why}"),
            None => format!("nothing: it was refused for good; when its cause is mended: okaeri queue retry {id}"),
        },
        DeliveryState::Unknown => format!(
            "nothing by itself, because it may have arrived; look for its Message-ID in the mail server's log, then: \
             okaeri queue resolve {id} --as accepted|failed|resend|closed --evidence TEXT"
        ),
        DeliveryState::Withheld => format!("nothing: held out by chance ({})", m.arm),
        DeliveryState::Suppressed => "nothing: its address was suppressed before it left".to_owned(),
        DeliveryState::Expired => "nothing: it was not delivered within its lifetime".to_owned(),
        DeliveryState::Cancelled => "nothing: its run was cancelled before it left".to_owned(),
        DeliveryState::Bounced => "nothing: it came back".to_owned(),
        DeliveryState::Complained => "nothing: its reader complained".to_owned(),
        DeliveryState::ClosedUnknown => "nothing: whether it arrived stays unknown".to_owned(),
    }
}

fn waiting(m: &Message, stopped_by: Option<&str>, now: Millis, zone: &TimeZone) -> String {
    if let Some(why) = stopped_by {
        return format!("it will not be sent: its address is suppressed: {why}");
    }
    match m.run_state() {
        RunState::Paused => {
            let why = m.run_reason.as_deref().unwrap_or("by an operator");
            return format!("it waits while its run is paused ({why}): okaeri queue resume {}", m.run_id);
        }
        RunState::Cancelled => return "it will be cancelled, as its run was".to_owned(),
        RunState::Planned | RunState::Enqueuing => {
            return "it waits until every message of its run is written: okaeri send goes on with that".to_owned();
        }
        _ => {}
    }
    if now > m.expires_at || m.due_at > m.expires_at {
        return "it will expire: it was not delivered within its lifetime".to_owned();
    }
    if m.due_at > now {
        return format!("it is sent when due, {}, by `okaeri work`", clock::readable(m.due_at, zone));
    }
    "it is due: the next `okaeri work` sends it".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: DeliveryState, run_state: RunState) -> Message {
        Message {
            message_id: "0a".into(),
            customer_id: "mia".into(),
            address: Some("mia@example.com".into()),
            campaign: "hello".into(),
            step: "letter".into(),
            slot: "one".into(),
            topic: "offers".into(),
            kind_word: "promotional".into(),
            arm: "a".into(),
            locale: "en".into(),
            state_word: state.word().into(),
            planned_at: 0,
            due_at: 100,
            expires_at: 1_000,
            date_at: None,
            changed_at: 0,
            attempts: 0,
            content_hash: None,
            code: None,
            reply: None,
            relay: None,
            run_id: "hello-1".into(),
            run_state: run_state.word().into(),
            run_reason: Some("login".into()),
            address_key: Some("mia@example.com".into()),
            bucket: 0,
            chunk_id: 0,
            seq: 0,
        }
    }

    #[test]
    fn the_id_is_found_in_what_is_pasted() {
        for text in ["0a1b", "<0a1b@shop.example>", "0a1b@shop.example", " <0a1b@shop.example> "] {
            assert_eq!(id_of(text), "0a1b", "{text}");
        }
    }

    #[test]
    fn every_state_has_a_next_and_what_waits_depends_on_its_run() {
        let zone = TimeZone::UTC;
        for state in DeliveryState::ALL {
            let told = next(&message(*state, RunState::Sending), None, 500, &zone);
            let ends = !state.is_open();
            assert_eq!(told.starts_with("nothing"), ends, "{state}: {told}");
        }
        let pending = |run| message(DeliveryState::Pending, run);
        for (run, stopped, now, told) in [
            (RunState::Sending, None, 500, "it is due"),
            (RunState::Drained, None, 50, "it is sent when due, 1970-01-01"),
            (RunState::Ready, None, 2_000, "it will expire"),
            (RunState::Paused, None, 500, "it waits while its run is paused (login): okaeri queue resume hello-1"),
            (RunState::Cancelled, None, 500, "it will be cancelled"),
            (RunState::Enqueuing, None, 500, "it waits until every message"),
            (RunState::Paused, Some("all (manual)"), 500, "it will not be sent: its address is suppressed: all"),
        ] {
            let next = next(&pending(run), stopped, now, &zone);
            assert!(next.starts_with(told), "{run}: {next}");
        }
    }
}
