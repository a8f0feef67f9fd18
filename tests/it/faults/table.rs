//! The faults of a conversation, one line each, and what follows from each: for the message, its address, its lane and its run.

use std::sync::Arc;
use std::time::Duration;

use okaeri::catcher::{Answer, Behaviour, Move, Stage};

use super::FOR_EVER;
use crate::ground::mail::at;

/// More than the buffers of a connection hold, in bytes: its end cannot be written while the server does not read.
const LARGE: usize = 20 * 1024 * 1024;

/// What a server does to a message, and what is expected.
pub struct Fault {
    pub named: &'static str,
    pub behaviour: Arc<dyn Behaviour>,
    pub state: &'static str,
    pub reply: Replied,
    /// What a refusal for good is taken to be about.
    pub about: Option<&'static str>,
    /// It is tried again: after about 5 minutes the first time, after about 15 the second.
    pub again: bool,
    /// Its address is mailed no more.
    pub suppressed: bool,
    /// Its lane goes slower, for everybody.
    pub slowed: bool,
    /// Where every message of a run meets it: after how many the run is held, and in which words; `None`: it goes on.
    pub held: Option<(u64, &'static str)>,
    /// Copies that the misbehaving server keeps.
    pub stored: u64,
    pub bytes: usize,
    /// The server says nothing, so waiting takes its time.
    pub mute: bool,
}

/// The reply as the try keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replied {
    /// This code and enhanced code.
    As(i64, Option<&'static str>),
    /// None was read.
    Nothing,
    /// Which of too many was read depends on when they came.
    Any,
}

impl Fault {
    /// From a line of the table.
    pub fn new(named: &'static str, stage: Stage, answer: Answer, line: &'static str) -> Fault {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [state, reply, about, next, address, lane, run, kept, how] = columns[..] else {
            panic!("{named}: a line has nine columns: {line}")
        };
        let said = |column: &str, word: &str| match column {
            "-" => false,
            other if other == word => true,
            other => panic!("{named}: `{other}` is neither - nor {word}"),
        };
        let held = run.strip_prefix("held after ").map(|rest| {
            let (n, words) = rest.split_once(": ").expect("a number and words");
            (n.parse().expect("a number"), words)
        });
        assert!(held.is_some() || run == "goes on", "{named}: {run}");
        Fault {
            named,
            behaviour: at(stage, answer),
            state,
            reply: Replied::read(reply),
            about: Some(about).filter(|about| *about != "-"),
            again: said(next, "again"),
            suppressed: said(address, "suppressed"),
            slowed: said(lane, "slowed"),
            held,
            stored: kept.parse().expect("a number of copies"),
            bytes: if how.contains("large") { LARGE } else { 0 },
            mute: how.contains("mute"),
        }
    }
}

impl Replied {
    fn read(text: &'static str) -> Replied {
        match text.split_once(' ') {
            _ if text == "-" => Replied::Nothing,
            _ if text == "any" => Replied::Any,
            Some((code, enhanced)) => Replied::As(code.parse().expect("a code"), Some(enhanced)),
            None => Replied::As(text.parse().expect("a code"), None),
        }
    }
}

pub fn raw(bytes: &[u8]) -> Move {
    Move::Raw(bytes.to_vec())
}

/// Every fault of a server that keeps the conversation as it announces it.
#[rustfmt::skip]
pub fn faults() -> Vec<Fault> {
    use Stage::{Content, Data, EndOfData, Mail, Noop, Rcpt};
    let says = |code, enhanced: &'static str| Answer::reply(code, enhanced, "So says the test");
    let again = || raw(b"250 2.0.0 Again\r\n");
    let endless = |bytes: &[u8]| Answer::of([Move::Endless(bytes.to_vec())]);
    let stored_then = |bytes: &[u8]| Answer::of([Move::Store, raw(bytes)]);
    [
        // what happens, where, the answer;                                            state    | reply     | about   | next  | address    | lane   | a run of nothing else                          | kept | how
        ("nothing", Noop, Answer::agree(),                                            "accepted | -         | -       | -     | -          | -      | goes on                                        | 1 | -"),
        ("MAIL 451", Mail, says(451, "4.3.0"),                                        "deferred | 451 4.3.0 | -       | again | -          | slowed | goes on                                        | 0 | -"),
        ("MAIL 421 on a new connection", Mail, says(421, "4.7.0"),                    "deferred | 421 4.7.0 | -       | again | -          | slowed | goes on                                        | 0 | -"),
        ("MAIL 550 policy", Mail, says(550, "5.7.1"),                                 "failed   | 550 5.7.1 | policy  | -     | -          | -      | held after 3: were refused because of us       | 0 | -"),
        ("MAIL 550 our domain", Mail, says(550, "5.1.2"),                             "failed   | 550 5.1.2 | policy  | -     | -          | -      | held after 3: were refused because of us       | 0 | -"),
        ("MAIL neither yes nor no", Mail, Answer::reply(200, "", "OK"),               "deferred | any       | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("MAIL reset", Mail, Answer::reset(),                                         "deferred | -         | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("MAIL mute", Mail, Answer::stall(FOR_EVER),                                  "deferred | -         | -       | again | -          | -      | goes on                                        | 0 | mute"),
        ("RCPT 421", Rcpt, says(421, "4.7.0"),                                        "deferred | 421 4.7.0 | -       | again | -          | slowed | goes on                                        | 0 | -"),
        ("RCPT 450", Rcpt, says(450, "4.2.0"),                                        "deferred | 450 4.2.0 | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("RCPT 452", Rcpt, says(452, "4.2.2"),                                        "deferred | 452 4.2.2 | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("RCPT 552", Rcpt, says(552, "5.2.2"),                                        "failed   | 552 5.2.2 | message | -     | -          | -      | goes on                                        | 0 | -"),
        ("RCPT 550 nobody", Rcpt, says(550, "5.1.1"),                                 "failed   | 550 5.1.1 | mailbox | -     | suppressed | -      | held after 10: because there is no such mailbox | 0 | -"),
        ("RCPT 550 policy", Rcpt, says(550, "5.7.1"),                                 "failed   | 550 5.7.1 | policy  | -     | -          | -      | held after 3: were refused because of us       | 0 | -"),
        ("RCPT 550 not there", Rcpt, says(550, "5.5.0"),                              "failed   | 550 5.5.0 | message | -     | -          | -      | goes on                                        | 0 | -"),
        ("RCPT neither yes nor no", Rcpt, Answer::reply(253, "", "OK, pending"),      "deferred | any       | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("RCPT 251", Rcpt, Answer::reply(251, "", "Will forward"),                    "accepted | -         | -       | -     | -          | -      | goes on                                        | 1 | -"),
        ("RCPT 550 on two lines", Rcpt, Answer::reply(550, "5.1.1", "Nobody\nhere"),  "failed   | 550 5.1.1 | mailbox | -     | suppressed | -      | held after 10: because there is no such mailbox | 0 | -"),
        ("RCPT 550 not UTF-8", Rcpt, Answer::of([raw(b"550 5.1.1 na\xefve\r\n")]),    "failed   | 550 5.1.1 | mailbox | -     | suppressed | -      | held after 10: because there is no such mailbox | 0 | -"),
        ("RCPT endless lines", Rcpt, endless(b"250-more\r\n"),                        "deferred | -         | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("RCPT endless line", Rcpt, endless(b"250 more "),                            "deferred | -         | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("RCPT answered twice", Rcpt, Answer::of([Move::Agree, again()]),             "deferred | any       | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("DATA 451", Data, says(451, "4.3.0"),                                        "deferred | 451 4.3.0 | -       | again | -          | slowed | goes on                                        | 0 | -"),
        ("DATA 554", Data, says(554, "5.3.0"),                                        "failed   | 554 5.3.0 | message | -     | -          | -      | goes on                                        | 0 | -"),
        ("DATA 250", Data, says(250, "2.0.0"),                                        "deferred | 250 2.0.0 | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("DATA reset", Data, Answer::reset(),                                         "deferred | -         | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("DATA answered twice", Data, Answer::of([Move::Agree, again()]),             "deferred | any       | -       | again | -          | -      | goes on                                        | 0 | -"),
        ("content reset before its end", Content, Answer::reset(),                    "deferred | -         | -       | again | -          | -      | goes on                                        | 0 | large"),
        ("content not read", Content, Answer::of([Move::Wait(FOR_EVER)]),             "deferred | -         | -       | again | -          | -      | goes on                                        | 0 | large, mute"),
        ("content 451", EndOfData, says(451, "4.3.0"),                                "deferred | 451 4.3.0 | -       | again | -          | slowed | goes on                                        | 0 | -"),
        ("content 421", EndOfData, says(421, "4.3.2"),                                "deferred | 421 4.3.2 | -       | again | -          | slowed | goes on                                        | 0 | -"),
        ("content 554", EndOfData, says(554, "5.6.0"),                                "failed   | 554 5.6.0 | message | -     | -          | -      | goes on                                        | 0 | -"),
        ("content 554 policy", EndOfData, says(554, "5.7.1"),                         "failed   | 554 5.7.1 | policy  | -     | -          | -      | held after 3: were refused because of us       | 0 | -"),
        ("content 220", EndOfData, stored_then(b"220 mx.example.com ready\r\n"),      "unknown  | -         | -       | -     | -          | -      | held after 10: were sent and got no answer     | 1 | -"),
        ("content 221", EndOfData, Answer::of([raw(b"221 2.0.0 Bye\r\n"), Move::Close]), "unknown | -        | -       | -     | -          | -      | held after 10: were sent and got no answer     | 0 | -"),
        ("content 354", EndOfData, stored_then(b"354 go on\r\n"),                     "unknown  | -         | -       | -     | -          | -      | held after 10: were sent and got no answer     | 1 | -"),
        ("content lost", EndOfData, Answer::close(),                                  "unknown  | -         | -       | -     | -          | -      | held after 10: were sent and got no answer     | 0 | -"),
        ("content kept, then closed", EndOfData, Answer::store_then_close(),          "unknown  | -         | -       | -     | -          | -      | held after 10: were sent and got no answer     | 1 | -"),
        ("content kept, then reset", EndOfData, Answer::store_then_reset(),           "unknown  | -         | -       | -     | -          | -      | held after 10: were sent and got no answer     | 1 | -"),
        ("content kept, then mute", EndOfData, Answer::store_then_wait(FOR_EVER),     "unknown  | -         | -       | -     | -          | -      | held after 10: were sent and got no answer     | 1 | mute"),
        ("content kept, half a code", EndOfData, Answer::of([Move::Store, raw(b"25"), Move::Close]), "unknown | - | -    | -     | -          | -      | held after 10: were sent and got no answer     | 1 | -"),
        ("content answered late", EndOfData, Answer::store_then_wait(Duration::from_millis(300)), "accepted | - | -      | -     | -          | -      | goes on                                        | 1 | -"),
        ("content answered twice", EndOfData, Answer::of([Move::Agree, again()]),     "accepted | -         | -       | -     | -          | -      | goes on                                        | 1 | -"),
    ]
    .into_iter()
    .map(|(named, stage, answer, line)| Fault::new(named, stage, answer, line))
    .collect()
}
