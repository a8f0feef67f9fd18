//! What stands in a list of mails (sender, subject, preheader), and words that were meant to be replaced.

use unicode_width::UnicodeWidthStr as _;

use super::{Mail, Told};
use crate::problem::Place;
use crate::settings::Settings;

/// Wider subjects are cut off on a desk, in columns; a Japanese character is two wide.
const SUBJECT_COLUMNS_MAX: usize = 70;
/// Likewise preheaders.
const PREHEADER_COLUMNS_MAX: usize = 150;

/// Local parts that tell people not to answer.
const NOREPLY: [&str; 6] = ["noreply", "donotreply", "nichtantworten", "nepasrepondre", "noresponder", "dontreply"];

/// The sender's address.
pub(super) fn sender(settings: &Settings, told: &mut Told<'_>) {
    let sender = &settings.sender;
    let place = sender.from_place.clone().unwrap_or_else(|| Place::file(crate::settings::FILE));
    for (key, address) in [("from", Some(&sender.from)), ("reply_to", sender.reply_to.as_ref())] {
        let local = address.and_then(|a| a.rsplit_once('@')).map_or("", |(local, _)| local);
        let plain: String = local.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        if NOREPLY.iter().any(|n| plain.starts_with(n)) {
            told.tell(
                "noreply-sender",
                &place,
                format!("`{key}: {local}@…` tells people not to answer"),
                "an address that somebody reads: answers are what retention is made of, and they teach filters that the mail is wanted",
            );
        }
    }
}

pub(super) fn lint(mail: &Mail<'_>, told: &mut Told<'_>) {
    let parts = mail.parts;
    let subject = mail.rendered.subject.trim();
    let columns = subject.width();
    if columns > SUBJECT_COLUMNS_MAX {
        told.tell(
            "long-subject",
            &parts.subject,
            format!("the subject can be {columns} columns wide: programs cut it at about {SUBJECT_COLUMNS_MAX}, phones at 40"),
            "what matters first; `| truncate(length=…)` where it holds names of products",
        );
    }
    let preheader = mail.rendered.preheader.trim();
    if !parts.has_preheader || preheader.is_empty() {
        told.tell(
            "missing-preheader",
            &parts.preheader,
            "no preheader: lists of mails show the first words of the body beside the subject".to_owned(),
            "Preheader: … below the subject, in 40 to 100 characters",
        );
    } else if preheader.width() > PREHEADER_COLUMNS_MAX {
        told.tell(
            "long-preheader",
            &parts.preheader,
            format!(
                "the preheader can be {} columns wide; {PREHEADER_COLUMNS_MAX} are shown at most",
                preheader.width()
            ),
            "40 to 100 characters say enough",
        );
    }
    for (words, place) in [(subject, &parts.subject), (preheader, &parts.preheader), (&mail.rendered.text, &parts.text)]
    {
        left_over(words, place, told);
    }
    for text in &mail.page.texts {
        let place = text.within.map_or(&parts.body, |w| &mail.page.elements[w].place);
        left_over(&text.words, place, told);
    }
}

/// Words that somebody meant to replace.
fn left_over(text: &str, place: &Place, told: &mut Told<'_>) {
    if let Some(found) = placeholder(text) {
        told.tell(
            "placeholder-text",
            place,
            format!("`{found}` was meant to be replaced"),
            "write what belongs there; values are written {{ customer.first_name }}",
        );
    }
}

/// Phrases that are never meant.
const PHRASES: [&str; 8] =
    ["lorem ipsum", "dolor sit amet", "ダミーテキスト", "ダミーです", "〇〇様", "○○様", "●●様", "your text here"];
/// Words that are never meant, in capitals.
const WORDS: [&str; 3] = ["TODO", "FIXME", "TBD"];
/// How other systems mark what they fill in.
const MARKS: [(&str, &str); 6] =
    [("*|", "|*"), ("%%", "%%"), ("[[", "]]"), ("${", "}"), ("{{", "}}"), ("[insert", "]")];

fn placeholder(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    if let Some(phrase) = PHRASES.iter().find(|p| lower.contains(**p)) {
        return Some((*phrase).to_owned());
    }
    let words = || text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    let crossed = |w: &&str| w.len() >= 3 && (w.bytes().all(|b| b == b'x') || w.bytes().all(|b| b == b'X'));
    if let Some(word) = words().find(|w| WORDS.contains(w) || crossed(w)) {
        return Some(word.to_owned());
    }
    MARKS.iter().find_map(|(open, close)| {
        let start = lower.find(open)?;
        let inside = text.get(start + open.len()..)?;
        let end = inside.find(close).filter(|end| (1..=40).contains(end))?;
        let named = !inside[..end].contains(['\n', '=', '&', '/']);
        named.then(|| text[start..start + open.len() + end + close.len()].to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_to_be_replaced_is_told_from_what_is_meant() {
        for (text, found) in [
            ("Lorem Ipsum dolor", "lorem ipsum"),
            ("ask TODO", "TODO"),
            ("Price: xxx", "xxx"),
            ("Hi *|FNAME|*!", "*|FNAME|*"),
            ("Hi %%first_name%%", "%%first_name%%"),
            ("Hi [Insert name]", "[Insert name]"),
            ("Hi {{ first_name }}", "{{ first_name }}"),
            ("〇〇様", "〇〇様"),
        ] {
            assert_eq!(placeholder(text).as_deref(), Some(found), "{text}");
        }
        for text in ["Todo lo que quieras", "size XXL", "50%% off", "https://a.example/?a=%%b", "xx", "[1] [2]", ""] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }
}
