//! A behaviour scripted by recipient: the address says what the server does with it.
//!
//! `hard@…` is unknown, `full@…` has no room, and so on; everyone else is accepted. A subaddress (RFC 5233) keeps
//! people apart without changing the rule: `hard+17@example.com` behaves like `hard@example.com`.

use super::behaviour::{Answer, Behaviour, Moment, Stage};
use std::collections::HashMap;
use std::sync::Mutex;

/// Most addresses whose visits are counted for rules that apply a limited number of times; beyond, such a rule no
/// longer applies. Bounds memory when a test sends to very many.
pub const COUNTED_ADDRESSES_MAX: usize = 1_000_000;

/// Answers by the local part of the recipient. Rules are tried in the order they were added; the first one that
/// fits the stage, the local part and its number of times decides.
#[derive(Debug, Default)]
pub struct ByRecipient {
    rules: Vec<Rule>,
    /// (rule, address) → how often the rule has applied to it.
    applied: Mutex<HashMap<(usize, String), u32>>,
}

#[derive(Debug)]
struct Rule {
    local_part: String,
    stage: Stage,
    times: Option<u32>,
    answer: Answer,
}

impl ByRecipient {
    /// No rules: agrees with everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rules every suite knows:
    ///
    /// | local part | what happens |
    /// |---|---|
    /// | `hard` | RCPT: 550 5.1.1, no such person |
    /// | `full` | RCPT: 452 4.2.2, mailbox full |
    /// | `policy` | RCPT: 550 5.7.1, refused because of us |
    /// | `greylist` | RCPT: 451 4.7.1 the first time, then accepted |
    /// | `spam` | after the content: 554 5.7.1 |
    /// | `busy` | after the content: 451 4.3.0 |
    /// | `drop` | stores the mail, then closes without an answer |
    /// | `lost` | closes after the content without storing or answering |
    pub fn standard() -> Self {
        use Stage::{EndOfData, Rcpt};
        Self::new()
            .on("hard", Rcpt, Answer::reply(550, "5.1.1", "No such person here"))
            .on("full", Rcpt, Answer::reply(452, "4.2.2", "Mailbox full"))
            .on("policy", Rcpt, Answer::reply(550, "5.7.1", "Not accepted for policy reasons"))
            .times("greylist", Rcpt, 1, Answer::reply(451, "4.7.1", "Greylisted, come back later"))
            .on("spam", EndOfData, Answer::reply(554, "5.7.1", "Message content rejected"))
            .on("busy", EndOfData, Answer::reply(451, "4.3.0", "Try again later"))
            .on("drop", EndOfData, Answer::store_then_close())
            .on("lost", EndOfData, Answer::close())
    }

    /// Adds a rule that always applies.
    pub fn on(mut self, local_part: &str, stage: Stage, answer: Answer) -> Self {
        self.rules.push(Rule { local_part: local_part.to_ascii_lowercase(), stage, times: None, answer });
        self
    }

    /// Adds a rule that applies the first `times` times for each address.
    pub fn times(mut self, local_part: &str, stage: Stage, times: u32, answer: Answer) -> Self {
        let local_part = local_part.to_ascii_lowercase();
        self.rules.push(Rule { local_part, stage, times: Some(times), answer });
        self
    }

    /// Counts one more visit; false when the rule has applied often enough already.
    fn still_applies(&self, rule: usize, times: u32, address: &str) -> bool {
        let mut applied = self.applied.lock().expect("no code panics while it holds this lock");
        let key = (rule, address.to_ascii_lowercase());
        if applied.len() >= COUNTED_ADDRESSES_MAX && !applied.contains_key(&key) {
            return false;
        }
        let count = applied.entry(key).or_default();
        *count = count.saturating_add(1);
        *count <= times
    }
}

impl Behaviour for ByRecipient {
    fn answer(&self, moment: &Moment<'_>) -> Answer {
        let address = match moment.stage {
            Stage::Rcpt | Stage::Vrfy => moment.argument,
            _ => moment.transaction.to.first().map_or("", String::as_str),
        };
        let local_part = local_part_of(address);
        for (at, rule) in self.rules.iter().enumerate() {
            let fits = rule.stage == moment.stage && rule.local_part.eq_ignore_ascii_case(local_part);
            if fits && rule.times.is_none_or(|times| self.still_applies(at, times, address)) {
                return rule.answer.clone();
            }
        }
        Answer::agree()
    }
}

/// The local part without its subaddress.
fn local_part_of(address: &str) -> &str {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    local.split_once('+').map_or(local, |(user, _)| user)
}

#[cfg(test)]
mod tests {
    use super::super::behaviour::{Reply, Transaction};
    use super::*;

    fn rcpt(behaviour: &ByRecipient, address: &str) -> Answer {
        behaviour.answer(&Moment {
            stage: Stage::Rcpt,
            connection: 1,
            open_connections: 1,
            messages: 0,
            encrypted: false,
            argument: address,
            transaction: &Transaction::default(),
            agreed: &Reply::new(250, "2.1.5", "Ok"),
        })
    }

    #[test]
    fn the_local_part_decides_whatever_its_case_and_subaddress() {
        let behaviour = ByRecipient::standard();
        let hard = Answer::reply(550, "5.1.1", "No such person here");
        assert_eq!(rcpt(&behaviour, "hard@example.com"), hard);
        assert_eq!(rcpt(&behaviour, "HARD+17@example.net"), hard);
        assert_eq!(rcpt(&behaviour, "harder@example.com"), Answer::agree());
        assert_eq!(rcpt(&behaviour, "mia+hard@example.com"), Answer::agree());
    }

    #[test]
    fn a_limited_rule_counts_each_address_for_itself() {
        let behaviour = ByRecipient::standard();
        assert_ne!(rcpt(&behaviour, "greylist+a@example.com"), Answer::agree());
        assert_ne!(rcpt(&behaviour, "greylist+b@example.com"), Answer::agree());
        assert_eq!(rcpt(&behaviour, "Greylist+a@example.com"), Answer::agree());
    }
}
