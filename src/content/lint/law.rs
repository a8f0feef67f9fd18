//! What laws ask of advertising mail, looked for in what a reader sees. Which are kept is `compliance` in okaeri.yaml.
//!
//! | law | here |
//! |---|---|
//! | eu | Directive 2002/58/EC art. 13 (4) and 2000/31/EC art. 6: who it is from |
//! | us | CAN-SPAM, 15 U.S.C. § 7704 (a) (5): a postal address |
//! | ca | CASL s. 6 (2) and SOR/2012-36 s. 2: name, postal address, and how to reach the sender |
//! | jp | 特定電子メール法 第4条, 施行規則 第9条: name, that mails can be refused, address, where complaints go |
//!
//! All of them ask for a way out; that link must be there in any case ([`super::super::check`]), and be seen.

use super::page::Page;
use super::{Mail, Told, check};
use crate::settings::Settings;
use crate::settings::colour::contrast;
use crate::settings::lint::Law;

/// A link fainter than this is hidden rather than small print.
const SEEN_CONTRAST_MIN: f64 = 1.5;
/// Likewise letters smaller than this, in CSS pixels.
const SEEN_SIZE_MIN: f64 = 8.0;
/// How far from the link its notice may stand, in characters.
const NEAR_CHARS: usize = 160;

/// Words that tell that mails can be refused: English, Japanese, German, French.
const REFUSE: [&str; 22] = [
    "unsubscribe",
    "opt out",
    "opt-out",
    "stop receiving",
    "no longer",
    "stop these",
    "not want",
    "stop our",
    "配信停止",
    "配信を停止",
    "停止",
    "解除",
    "受信拒否",
    "ご不要",
    "希望されない",
    "希望しない",
    "abbestell",
    "abmeld",
    "nicht mehr",
    "désinscri",
    "désabonn",
    "ne plus",
];
/// Words that tell where to turn to.
const CONTACT: [&str; 21] = [
    "contact",
    "write to us",
    "reply to this",
    "answer this",
    "answer to this",
    "just reply",
    "hit reply",
    "customer care",
    "help desk",
    "お問い合わせ",
    "お問合せ",
    "問い合わせ",
    "ご返信",
    "返信",
    "ご連絡",
    "kontakt",
    "antworten sie",
    "schreiben sie uns",
    "contactez",
    "répondez",
    "écrivez-nous",
];

pub(super) fn lint(mail: &Mail<'_>, settings: &Settings, told: &mut Told<'_>) {
    if !mail.promotional {
        return;
    }
    hidden_way_out(mail, told);
    let keeps = |laws: &[Law]| laws.iter().find(|law| settings.compliance.contains(law)).map(|law| law.word());
    let seen = seen(mail.page, mail);
    let parts = [("HTML", seen.as_str(), &mail.parts.body), ("text part", &mail.rendered.text, &mail.parts.text)];
    let (sender, brand) = (&settings.sender, &settings.brand);
    for (part, words, place) in parts {
        if let Some(law) = keeps(&[Law::Jp, Law::Ca, Law::Eu])
            && !shows(words, settings.sender_name())
            && !shows_one(words, &sender.organisation, &brand.organisation)
            && !brand.name.iter().any(|(_, name)| shows(words, name))
        {
            told.tell(
                "sender-name",
                place,
                format!("the {part} does not say who it is from ({law})"),
                "show {{ brand.organisation }} or {{ brand.name }}",
            );
        }
        if let Some(law) = keeps(&[Law::Jp, Law::Us, Law::Ca])
            && !shows_one(words, &sender.postal_address, &brand.postal_address)
        {
            told.tell(
                "postal-address",
                place,
                format!("the {part} does not show the sender's postal address ({law})"),
                "show {{ brand.postal_address }}",
            );
        }
        if let Some(law) = keeps(&[Law::Jp])
            && !refusal_is_near(words)
        {
            told.tell(
                "refusal-notice",
                place,
                format!("the {part} does not say beside the unsubscribe link that mails can be refused ({law})"),
                "say it where the link stands: Unsubscribe, 配信停止, abmelden, se désabonner",
            );
        }
        if let Some(law) = keeps(&[Law::Jp, Law::Ca])
            && !shows_contact(words)
        {
            told.tell(
                "complaints-contact",
                place,
                format!("the {part} does not say where questions and complaints go ({law})"),
                "an address, a telephone number, a link to a form, or that an answer to the mail is read",
            );
        }
    }
}

/// The unsubscribe link is there, and nobody sees it.
fn hidden_way_out(mail: &Mail<'_>, told: &mut Told<'_>) {
    let page = mail.page;
    let links = || {
        page.elements.iter().enumerate().filter(|(_, e)| {
            matches!(e.name.as_str(), "a" | "area") && e.attribute("href") == Some(check::TRIAL_UNSUBSCRIBE)
        })
    };
    let is_seen = |within: usize| {
        let look = mail.light[within];
        look.shows_words()
            && look.size >= SEEN_SIZE_MIN
            && look.paper.is_none_or(|paper| contrast(look.ink, paper) >= SEEN_CONTRAST_MIN)
    };
    let shows = |link: usize| {
        let words = page.texts.iter().any(|t| {
            t.within.is_some_and(is_seen)
                && page.is_inside(t.within, link)
                && t.words.contains(|c: char| c.is_alphanumeric())
        });
        let picture = page.elements.iter().enumerate().any(|(at, e)| {
            e.name == "img"
                && !mail.light[at].hidden
                && page.is_inside(e.parent, link)
                && e.attribute("alt").is_some_and(|a| !a.trim().is_empty())
        });
        words || picture || page.elements[link].name == "area"
    };
    if links().any(|(at, _)| shows(at)) {
        return;
    }
    let place = links().next().map_or(&mail.parts.body, |(_, link)| &link.place);
    told.tell(
        "hidden-unsubscribe",
        place,
        "nobody sees the unsubscribe link".to_owned(),
        "a link with words, in letters and a colour that can be read; who cannot leave presses “spam”",
    );
}

/// The words that are seen, with where the links lead: `Unsubscribe <https://…>`.
fn seen(page: &Page, mail: &Mail<'_>) -> String {
    let mut out = String::new();
    let mut link = None;
    for text in page.texts.iter().filter(|t| t.within.is_none_or(|w| mail.light[w].shows_words())) {
        let inside = page.around(text.within).find(|e| page.elements[*e].name == "a");
        if inside != link
            && let Some(href) = inside.and_then(|e| page.elements[e].attribute("href"))
        {
            out.push_str(&format!(" <{href}> "));
        }
        link = inside;
        out.push(' ');
        out.push_str(&text.words);
    }
    out
}

/// Whether a text holds another, however it is spaced and broken into lines.
fn shows(text: &str, wanted: &str) -> bool {
    squeezed(text).contains(&squeezed(wanted))
}

/// Whether it holds the sender's text, or what the brand says in its place in some language.
fn shows_one(text: &str, sender: &str, brand: &[(String, String)]) -> bool {
    shows(text, sender) || brand.iter().any(|(_, own)| shows(text, own))
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn refusal_is_near(text: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let link: Vec<char> = check::TRIAL_UNSUBSCRIBE.chars().collect();
    let places = text.windows(link.len()).enumerate().filter(|(_, w)| *w == link).map(|(at, _)| at);
    // The text part may keep its links as footnotes, so the word itself is enough where there is no link beside any word.
    let mut near = places.map(|at| {
        let around = at.saturating_sub(NEAR_CHARS)..(at + link.len() + NEAR_CHARS).min(text.len());
        text[around].iter().collect::<String>()
    });
    let refuses = |words: &str| REFUSE.iter().any(|w| words.contains(w));
    near.any(|words| refuses(&words))
        || footnoted(&text.iter().collect::<String>()).is_some_and(|words| refuses(&words))
}

/// The words beside the mark of the footnote that is the unsubscribe link: `Unsubscribe [3]`.
fn footnoted(text: &str) -> Option<String> {
    let line = text.lines().find(|l| l.trim_start().starts_with('[') && l.ends_with(check::TRIAL_UNSUBSCRIBE))?;
    let mark = &line[..=line.find(']')?];
    let at = text.find(mark).filter(|at| !text[*at..].starts_with(line))?;
    let before: String = text[..at].chars().rev().take(NEAR_CHARS).collect();
    Some(before.chars().rev().collect())
}

fn shows_contact(text: &str) -> bool {
    let lower = text.to_lowercase();
    // The mailto form of unsubscribing is no address to complain to.
    let without = lower.replace(check::TRIAL_UNSUBSCRIBE, "");
    let address = without.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')')).any(|word| {
        let word = word.trim_start_matches("mailto:").trim_end_matches(['.', ',', '。', '、']);
        crate::address::Address::parse(word).is_ok() || word.starts_with("tel:")
    });
    address || CONTACT.iter().any(|w| without.contains(w)) || has_telephone(&without)
}

/// `075-000-0000`, `+81 75 000 0000`: nine digits or more with nothing but their separators between.
fn has_telephone(text: &str) -> bool {
    let runs = text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | ' ' | '(' | ')' | '/')));
    runs.map(str::trim).any(|run| {
        let digits = run.chars().filter(char::is_ascii_digit).count();
        (9..=15).contains(&digits) && (run.starts_with('+') || run.starts_with('0') || run.starts_with('('))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_told_from_other_words() {
        for text in [
            "ask hana@example.com.",
            "電話 075-000-0000",
            "+44 20 7946 0000",
            "お問い合わせはこちら",
            "Please answer this mail.",
        ] {
            assert!(shows_contact(text), "{text}");
        }
        for text in ["Order 1042-7", "3-7 Akari-dori, Kyoto 600-0000, Japan", "2026-11-24", ""] {
            assert!(!shows_contact(text), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_looked_for_beside_the_link_and_its_footnote() {
        let link = check::TRIAL_UNSUBSCRIBE;
        assert!(
            refusal_is_near(&format!("配信を停止する: {link}"))
                && refusal_is_near(&format!("x <{link}> Unsubscribe here"))
        );
        assert!(refusal_is_near(&format!("Hello. Unsubscribe [2]\n\n[1] https://a.example\n[2] {link}")));
        assert!(!refusal_is_near(&format!("unsubscribe {} {link} here", "x ".repeat(NEAR_CHARS))));
        assert!(!refusal_is_near("unsubscribe"));
    }
}
