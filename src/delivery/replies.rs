//! What a reply means: pure. RFC 5321 §4.2 (classes), RFC 3463 (enhanced codes). What a refusal for good is about stands in [`super::refusal`].

use super::refusal::about;
use crate::clock::{HOUR, MINUTE, Millis};
use crate::queue::DeliveryState;
use crate::queue::ledger::Outcome;

/// Longest reply kept, in characters.
const REPLY_CHARS_MAX: usize = 500;
/// Pauses between tries; the last repeats until the message expires. Each is spread by ±20 %.
const RETRY_AFTER: [Millis; 6] = [5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR];

/// A server's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// `5.1.1`, when the text begins with one.
    pub enhanced: Option<String>,
    pub text: String,
}

/// Where in the conversation a reply came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Connect,
    Auth,
    Mail,
    Rcpt,
    Data,
    Content,
}

impl Stage {
    /// As the ledger keeps it.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Connect => "connect",
            Stage::Auth => "auth",
            Stage::Mail => "mail",
            Stage::Rcpt => "rcpt",
            Stage::Data => "data",
            Stage::Content => "content",
        }
    }
}

impl Reply {
    /// From code and text.
    pub fn new(code: u16, text: &str) -> Reply {
        let text = printable(text);
        let first = text.split_whitespace().next().unwrap_or_default();
        let enhanced = is_enhanced(first).then(|| first.to_owned());
        Reply { code, enhanced, text: text.trim().to_owned() }
    }

    /// `250 2.0.0 queued`.
    pub fn line(&self) -> String {
        format!("{} {}", self.code, self.text)
    }

    /// 4yz, and everything that is no reply of SMTP at all: unknown is temporary.
    pub fn is_temporary(&self) -> bool {
        !(500..600).contains(&self.code)
    }

    /// Neither yes nor no, where a refusal was read: nobody knows what the server waits for now, and RSET might be taken as content.
    pub fn is_odd(&self) -> bool {
        !(400..600).contains(&self.code)
    }

    /// Whether this, in answer to a whole content, means that the server took the message: 250, or a 25z of its own. 220 and 221 are said by
    /// something that begins or ends, and answer no content.
    pub fn takes_a_message(&self) -> bool {
        (250..260).contains(&self.code)
    }

    /// The command itself is not known, whatever it was about (RFC 5321 §4.2.4).
    pub fn is_unknown_command(&self) -> bool {
        matches!(self.code, 500 | 502)
    }

    /// Whether this speaks of an address (RFC 3463 §3.2), and so answers an envelope.
    pub fn speaks_of_an_address(&self) -> bool {
        self.enhanced.as_deref().is_some_and(|e| e.starts_with("2.1."))
    }

    /// The server will close the connection (RFC 5321 §3.8).
    pub fn closes(&self) -> bool {
        self.code == 421
    }
}

/// The first [`REPLY_CHARS_MAX`] characters, on one line; what is no printable character is written as its code, `\x1b`.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().take(REPLY_CHARS_MAX) {
        match c {
            '\r' | '\n' | '\t' => out.push(' '),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// RFC 3463 §2: class "." subject "." detail.
fn is_enhanced(word: &str) -> bool {
    let mut parts = word.split('.');
    let digits =
        |p: Option<&str>, max| p.is_some_and(|p| (1..=max).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    matches!(word.as_bytes().first(), Some(b'2' | b'4' | b'5'))
        && digits(parts.next(), 1)
        && digits(parts.next(), 3)
        && digits(parts.next(), 3)
        && parts.next().is_none()
}

/// Whether a 4yz means that less mail is wanted, of all that goes the same way. 421 does (RFC 5321 §3.8), and what RFC 3463 calls the state of
/// the system (x.3), of the network (x.4) or policy (x.7). A full mailbox does not, nor does greylisting: it is about one address.
pub fn asks_for_less(reply: &Reply) -> bool {
    if reply.code == 421 {
        return true;
    }
    let text = reply.text.to_lowercase();
    let about_one = ["greylist", "graylist", "mailbox", "quota"].iter().any(|w| text.contains(w));
    if !matches!(reply.code, 400..500) || about_one {
        return false;
    }
    match reply.enhanced.as_deref() {
        Some(e) => ["4.3.", "4.4.", "4.7."].iter().any(|class| e.starts_with(class)),
        None => ["rate", "too many", "too much", "throttl", "slow", "limit", "load"].iter().any(|w| text.contains(w)),
    }
}

/// The outcome of a refused try: later for 4yz, never for 5yz.
pub fn refused(stage: Stage, reply: &Reply, attempt_no: i64, now: Millis, expires_at: Millis, spread: f64) -> Outcome {
    let outcome = |state, due_at| Outcome {
        state,
        due_at,
        stage: stage.word(),
        code: Some(reply.code),
        enhanced: reply.enhanced.clone(),
        reply: reply.text.clone(),
        about: (state == DeliveryState::Failed).then(|| about(stage, reply)),
    };
    if !reply.is_temporary() {
        return outcome(DeliveryState::Failed, None);
    }
    let due_at = now + retry_after(attempt_no, spread);
    if due_at > expires_at {
        outcome(DeliveryState::Expired, None)
    } else {
        outcome(DeliveryState::Deferred, Some(due_at))
    }
}

/// The outcome of a try that broke before the end of the content was written: nothing can have been delivered.
pub fn broken(stage: Stage, why: &str, attempt_no: i64, now: Millis, expires_at: Millis, spread: f64) -> Outcome {
    let reply = Reply { code: 0, enhanced: None, text: printable(why) };
    Outcome { code: None, ..refused(stage, &reply, attempt_no, now, expires_at, spread) }
}

/// The pause after the `attempt_no`th try; `spread` is random in 0..1 and moves it by up to a fifth either way.
pub fn retry_after(attempt_no: i64, spread: f64) -> Millis {
    let step = usize::try_from(attempt_no - 1).unwrap_or(0).min(RETRY_AFTER.len() - 1);
    (RETRY_AFTER[step] as f64 * (0.8 + 0.4 * spread)) as Millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_answers_ask_for_less_mail() {
        for (code, text, expected) in [
            (421, "4.7.0 Too many connections, slow down", true),
            (421, "closing", true),
            (450, "4.7.650 The mail server has been temporarily rate limited", true),
            (451, "4.3.0 Try again later", true),
            (452, "4.3.1 Insufficient system storage", true),
            (451, "Throttled", true),
            (451, "4.7.1 Greylisted, come back later", false),
            (451, "Greylisting in action", false),
            (452, "4.2.2 Mailbox full", false),
            (450, "Requested mail action not taken", false),
            (550, "5.7.1 Too many complaints", false),
            (250, "rate", false),
        ] {
            assert_eq!(asks_for_less(&Reply::new(code, text)), expected, "{code} {text}");
        }
    }

    #[test]
    fn only_real_enhanced_codes_are_read() {
        for (text, expected) in [
            ("5.1.1 x", Some("5.1.1")),
            ("4.7.650 throttled", Some("4.7.650")),
            ("1.2.3 x", None),
            ("5.1 x", None),
            ("5.1.1.1 x", None),
            ("10.0.0.1 x", None),
            ("", None),
        ] {
            assert_eq!(Reply::new(550, text).enhanced.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn retries_grow_and_end_with_the_message() {
        let now = 1_000_000;
        let at = |n, expires| refused(Stage::Rcpt, &Reply::new(451, "later"), n, now, expires, 0.5);
        assert_eq!(at(1, i64::MAX).due_at, Some(now + 5 * MINUTE));
        assert_eq!(at(6, i64::MAX).due_at, Some(now + 4 * HOUR));
        assert_eq!(at(60, i64::MAX).due_at, Some(now + 4 * HOUR));
        assert_eq!(at(1, now + MINUTE).state, DeliveryState::Expired);
        assert_eq!(retry_after(1, 0.0), 4 * MINUTE);
        assert_eq!(retry_after(1, 1.0), 6 * MINUTE);
    }

    #[test]
    fn what_begins_or_ends_a_conversation_takes_no_message() {
        for (code, text, takes, of_an_address) in [
            (250, "2.0.0 queued", true, false),
            (250, "2.1.5 Recipient ok", true, true),
            (250, "OK", true, false),
            (251, "will forward", true, false),
            (200, "ok", false, false),
            (220, "mail.example.com ready", false, false),
            (221, "2.0.0 closing", false, false),
            (354, "go on", false, false),
            (451, "4.1.5 later", false, false),
        ] {
            let reply = Reply::new(code, text);
            assert_eq!(
                (reply.takes_a_message(), reply.speaks_of_an_address()),
                (takes, of_an_address),
                "{code} {text}"
            );
        }
    }

    #[test]
    fn an_unknown_reply_is_temporary() {
        assert!(Reply::new(0, "").is_temporary());
        assert!(Reply::new(354, "odd").is_temporary());
        assert!(!Reply::new(599, "").is_temporary());
    }
}
