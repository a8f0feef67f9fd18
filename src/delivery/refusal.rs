//! What a refusal for good is about: the mailbox, us, or this message. Pure, one table, read from the top.
//!
//! It decides whom we never mail again and when everything stops, so it leans to one side: an address is given up only where the answer speaks of
//! the mailbox and of nothing else. Enhanced codes are those of RFC 3463 and its registry (RFC 5248); without one, or with one that says
//! nothing, the words decide.

use super::replies::{Reply, Stage};
use crate::queue::answers::About;

/// A line of the table; the first that fits decides. An empty list fits everything.
struct Line {
    at: &'static [Stage],
    codes: &'static [u16],
    /// `5.1.1`; all of a subject, `5.7.`; none given, the empty text.
    enhanced: &'static [&'static str],
    /// One of them stands in the text, in lower case.
    words: &'static [&'static str],
    about: About,
}

const ANY: &[Stage] = &[];
/// MAIL names the sender alone; from RCPT on the answer may be about either.
const MAIL: &[Stage] = &[Stage::Mail];
const RCPT: &[Stage] = &[Stage::Rcpt];
const RCPT_ON: &[Stage] = &[Stage::Rcpt, Stage::Data, Stage::Content];
const NO_CODE: &[&str] = &[""];
/// Codes by which a server says no more than that it refuses.
const VAGUE: &[&str] = &["", "5.0.", "5.1.0", "5.2.0", "5.3.0", "5.4.0", "5.4.1", "5.5.0"];
const REFUSES: &[u16] = &[550, 551, 553, 554];
const ADDRESS: &[&str] = &["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"];

/// Words about us: who sends, from where, with which reputation.
const OURS: &[&str] = &[
    "sender",
    "mail from",
    "return-path",
    "spam",
    "block",
    "polic",
    "denied",
    "relay",
    "reputation",
    "blacklist",
    "spf",
    "dkim",
    "dmarc",
    "rbl",
    "dnsbl",
    "your ip",
    "client host",
];
/// Words about a mailbox that is not there.
const MAILBOX: &[&str] = &[
    "user unknown",
    "unknown user",
    "no such user",
    "user not found",
    "not a known user",
    "mailbox unavailable",
    "mailbox not found",
    "no such mailbox",
    "no mailbox",
    "invalid mailbox",
    "recipient unknown",
    "unknown recipient",
    "recipient not found",
    "invalid recipient",
    "no such recipient",
    "no such address",
    "unknown address",
    "address unknown",
    "address rejected",
    "does not exist",
    "doesn't exist",
    "doesn't have a",
    "account is disabled",
    "account has been disabled",
    "not listed in",
];

const fn line(
    at: &'static [Stage],
    codes: &'static [u16],
    enhanced: &'static [&'static str],
    words: &'static [&'static str],
    about: About,
) -> Line {
    Line { at, codes, enhanced, words, about }
}

#[rustfmt::skip]
const TABLE: &[Line] = &[
    // Our login (RFC 4954 §6), and what is said before we named anybody.
    line(ANY, LOGIN, &[], &[], About::Sender),
    line(&[Stage::Connect, Stage::Auth], &[], &[], &[], About::Sender),
    // MAIL: too large, or a parameter; all else is about the sender.
    line(MAIL, &[], &["5.2.3", "5.3.4", "5.5.", "5.6."], &[], About::Message),
    line(MAIL, &[], &["5.1.", "5.7."], &[], About::Sender),
    line(MAIL, REFUSES, &[], &[], About::Sender),
    line(MAIL, &[], &[], &[], About::Message),
    // 5.1.7 and 5.1.8 the sender's address and its domain, 5.7.x security and policy.
    line(RCPT_ON, &[], &["5.1.7", "5.1.8", "5.7."], &[], About::Sender),
    // 5.1.1 no mailbox, 5.1.2 no such domain, 5.1.3 bad syntax, 5.1.6 moved away, 5.1.10 null MX; some say them of the sender.
    line(RCPT_ON, &[], ADDRESS, &["sender", "mail from", "return-path"], About::Sender),
    line(RCPT_ON, &[], ADDRESS, &[], About::NoSuchMailbox),
    // 5.2.1 a mailbox that was shut down, unless it has too much mail just now.
    line(RCPT_ON, &[], &["5.2.1"], &["rate", "too many", "too much"], About::Message),
    line(RCPT_ON, &[], &["5.2.1"], &[], About::NoSuchMailbox),
    // How a large provider refuses whoever is in no list of its tenant.
    line(RCPT, &[], &["5.4.1"], &["recipient address rejected"], About::NoSuchMailbox),
    line(RCPT_ON, REFUSES, VAGUE, OURS, About::Sender),
    line(RCPT_ON, REFUSES, VAGUE, MAILBOX, About::NoSuchMailbox),
    // RFC 5321 §4.2.3: of the codes alone these speak of the mailbox.
    line(RCPT, &[550, 551, 553], NO_CODE, &[], About::NoSuchMailbox),
    line(ANY, &[], &[], &[], About::Message),
];

const LOGIN: &[u16] = &[530, 534, 535, 538];

/// Whether a reply refuses our login, or asks for one (RFC 4954 §6).
pub fn is_about_login(reply: &Reply) -> bool {
    LOGIN.contains(&reply.code)
}

impl Line {
    fn fits(&self, stage: Stage, reply: &Reply) -> bool {
        let enhanced = reply.enhanced.as_deref().unwrap_or_default();
        let text = reply.text.to_lowercase();
        let is_code = |code: &&str| if code.ends_with('.') { enhanced.starts_with(code) } else { enhanced == *code };
        (self.at.is_empty() || self.at.contains(&stage))
            && (self.codes.is_empty() || self.codes.contains(&reply.code))
            && (self.enhanced.is_empty() || self.enhanced.iter().any(is_code))
            && (self.words.is_empty() || self.words.iter().any(|word| text.contains(word)))
    }
}

/// What a 5yz refusal at a stage is about.
pub fn about(stage: Stage, reply: &Reply) -> About {
    TABLE.iter().find(|line| line.fits(stage, reply)).map_or(About::Message, |line| line.about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_tell_the_mailbox_from_the_sender_and_the_message() {
        use About::{Message, NoSuchMailbox, Sender};
        use Stage::{Auth, Connect, Content, Data, Mail, Rcpt};
        for (stage, code, text, expected) in [
            (Mail, 530, "5.7.0 authentication required", Sender),
            (Rcpt, 535, "log in first", Sender),
            (Auth, 535, "5.7.8 bad credentials", Sender),
            (Auth, 504, "5.5.4 unrecognised mechanism", Sender),
            (Connect, 554, "no SMTP service here", Sender),
            (Mail, 552, "5.3.4 message too big", Message),
            (Mail, 552, "too big", Message),
            (Mail, 555, "5.5.4 unsupported parameter", Message),
            (Mail, 550, "5.1.2 sender domain does not exist", Sender),
            (Mail, 550, "5.1.8 bad sender", Sender),
            (Mail, 550, "5.7.1 not allowed", Sender),
            (Mail, 550, "go away", Sender),
            (Mail, 501, "syntax", Message),
            (Rcpt, 550, "5.1.8 <a@b>: Sender address rejected: Domain not found", Sender),
            (Rcpt, 550, "5.1.7 bad return path", Sender),
            (Rcpt, 550, "5.7.1 Spam message rejected", Sender),
            (Content, 550, "5.7.26 unauthenticated", Sender),
            (Rcpt, 550, "5.1.1 no such user", NoSuchMailbox),
            (Rcpt, 550, "5.1.1 sender address does not exist", Sender),
            (Rcpt, 550, "5.1.2 no such domain", NoSuchMailbox),
            (Rcpt, 553, "5.1.3 bad address syntax", NoSuchMailbox),
            (Rcpt, 551, "5.1.6 moved", NoSuchMailbox),
            (Rcpt, 556, "5.1.10 null MX", NoSuchMailbox),
            (Rcpt, 553, "5.1.4 ambiguous", Message),
            (Content, 550, "5.1.1 no such user", NoSuchMailbox),
            (Rcpt, 550, "5.2.1 The account that you tried to reach is disabled", NoSuchMailbox),
            (Rcpt, 550, "5.2.1 receiving mail at a rate that prevents more", Message),
            (Rcpt, 552, "5.2.2 mailbox full", Message),
            (Rcpt, 550, "5.4.1 Recipient address rejected: Access denied", NoSuchMailbox),
            (Rcpt, 550, "5.4.1 no answer from host", Message),
            (Rcpt, 550, "5.5.0 Requested action not taken: mailbox unavailable", NoSuchMailbox),
            (Rcpt, 550, "5.5.0 mail from your ip is refused", Sender),
            (Rcpt, 550, "5.1.0 Address rejected", NoSuchMailbox),
            (Rcpt, 554, "5.0.0 This user doesn't have an account here", NoSuchMailbox),
            (Rcpt, 554, "delivery error: this user doesn't have a mailbox", NoSuchMailbox),
            (Rcpt, 550, "5.3.0 something", Message),
            (Rcpt, 550, "No such user here", NoSuchMailbox),
            (Rcpt, 550, "No", NoSuchMailbox),
            (Rcpt, 553, "unknown recipient", NoSuchMailbox),
            (Rcpt, 554, "no", Message),
            (Rcpt, 550, "Blocked by policy", Sender),
            (Content, 554, "rejected as spam", Sender),
            (Content, 554, "transaction failed", Message),
            (Data, 554, "no valid recipients", Message),
            (Data, 503, "5.5.1 RCPT first", Message),
        ] {
            assert_eq!(about(stage, &Reply::new(code, text)), expected, "{stage:?} {code} {text}");
        }
    }

    #[test]
    fn every_line_of_the_table_can_decide() {
        // A line that an earlier one always hides would be dead: each is met by an answer made from itself.
        for (at, line) in TABLE.iter().enumerate() {
            let stage = *line.at.first().unwrap_or(&Stage::Rcpt);
            let code = *line.codes.first().unwrap_or(&552);
            let enhanced = line.enhanced.first().map_or("5.9.9".to_owned(), |e| match e.ends_with('.') {
                true => format!("{e}9"),
                false => (*e).to_owned(),
            });
            let text = format!("{enhanced} {}", line.words.first().unwrap_or(&"no"));
            let reply = Reply::new(code, text.trim());
            let hides = TABLE[..at].iter().position(|earlier| earlier.fits(stage, &reply));
            assert_eq!(hides, None, "line {at} is hidden from {}", reply.line());
            assert_eq!(about(stage, &reply), line.about, "line {at}: {}", reply.line());
        }
    }
}
