//! Header fields (RFC 5322), with other characters than ASCII encoded (RFC 2047) and long lines folded.
//!
//! Whatever the data holds, a value stays one field: line breaks and other separators become a space, other control characters and
//! marks that turn the reading direction are dropped. Dropped rather than refused: a stray character in one customer's name is no reason
//! to write to nobody. Lines end in CRLF, stay within 78 characters where their words allow it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// RFC 5322 §2.1.1: the line length to stay within, and the one never to exceed (both without CRLF).
const LINE_CHARS: usize = 78;
pub(super) const LINE_CHARS_MAX: usize = 998;
/// RFC 2047 §2: longest encoded word.
const ENCODED_WORD_CHARS_MAX: usize = 75;
/// Longest text taken from data into a header, in characters.
const TEXT_CHARS_MAX: usize = 250;
/// Longest display name.
const NAME_CHARS_MAX: usize = 80;

/// `Name: value` as it is; for values we make ourselves. A `\n ` in it folds.
pub(super) fn raw(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    for (i, line) in value.split('\n').enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(line.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `Name: free text`, such as a subject.
pub(super) fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    let value = clean(value, TEXT_CHARS_MAX);
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let mut column = name.len() + 1;
    if is_plain(&value) {
        for word in value.split(' ') {
            let folds = column + 1 + word.len() > LINE_CHARS && column > name.len() + 1 && !word.is_empty();
            if folds {
                out.extend_from_slice(b"\r\n");
                column = 0;
            }
            out.push(b' ');
            out.extend_from_slice(word.as_bytes());
            column += 1 + word.len();
        }
    } else {
        out.push(b' ');
        encoded(out, &value, column + 1);
    }
    out.extend_from_slice(b"\r\n");
}

/// `Name: display name <address>`, or the bare address when there is no name.
pub(super) fn mailbox(out: &mut Vec<u8>, name: &str, display_name: &str, address: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let column = phrase(out, display_name, name.len() + 2);
    match column {
        None => out.extend_from_slice(address.as_bytes()),
        Some(column) => {
            let folds = column + address.len() + 3 > LINE_CHARS;
            out.extend_from_slice(if folds { b"\r\n <" } else { b" <" });
            out.extend_from_slice(address.as_bytes());
            out.push(b'>');
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// A phrase (RFC 5322 §3.2.5). Returns the column after it, or nothing when it is empty.
fn phrase(out: &mut Vec<u8>, value: &str, column: usize) -> Option<usize> {
    let value = clean(value, NAME_CHARS_MAX);
    if value.is_empty() {
        return None;
    }
    if !is_plain(&value) {
        return Some(encoded(out, &value, column));
    }
    let is_atoms = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~ ".contains(&b));
    if is_atoms {
        out.extend_from_slice(value.as_bytes());
        return Some(column + value.len());
    }
    let start = out.len();
    out.push(b'"');
    for b in value.bytes() {
        if b == b'"' || b == b'\\' {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
    Some(column + out.len() - start)
}

/// Text fit for one header field: white space in single spaces, none at the ends, nothing that could end the field or hide its meaning,
/// cut with an ellipsis after `chars_max`.
fn clean(value: &str, chars_max: usize) -> String {
    let mut out = String::with_capacity(value.len().min(TEXT_CHARS_MAX));
    let mut chars = 0;
    let mut space = false;
    for c in value.chars() {
        if c == ' ' || matches!(c, '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            space = chars > 0;
            continue;
        }
        if c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        {
            continue;
        }
        if chars + 1 + usize::from(space) > chars_max {
            out.push('…');
            return out;
        }
        if std::mem::take(&mut space) {
            out.push(' ');
            chars += 1;
        }
        out.push(c);
        chars += 1;
    }
    out
}

/// Whether nothing of a text is left for a header.
pub(super) fn is_blank(value: &str) -> bool {
    clean(value, 1).is_empty()
}

/// Whether a clean text may stand in a header as it is: ASCII, nothing that reads as an encoded word, every word fits a line.
fn is_plain(value: &str) -> bool {
    value.is_ascii() && !value.contains("=?") && value.split(' ').all(|word| word.len() < LINE_CHARS_MAX / 2)
}

/// Encoded words, folded; `column` is where the first one begins. Returns the column after the last. The shorter of B and Q is taken.
fn encoded(out: &mut Vec<u8>, value: &str, mut column: usize) -> usize {
    let q_chars: usize = value.bytes().map(|b| if is_q_plain(b) || b == b' ' { 1 } else { 3 }).sum();
    let is_q = q_chars <= value.len().div_ceil(3) * 4;
    let frame = "=?UTF-8?B??=".len();
    let mut rest = value;
    loop {
        let room = LINE_CHARS.saturating_sub(column).min(ENCODED_WORD_CHARS_MAX).saturating_sub(frame).max(16);
        let mut taken = 0;
        let mut size = 0;
        for c in rest.chars() {
            let bytes = c.len_utf8();
            let next = match is_q {
                true if c == ' ' || (c.is_ascii() && is_q_plain(c as u8)) => size + 1,
                true => size + 3 * bytes,
                false => (taken + bytes).div_ceil(3) * 4,
            };
            if next > room {
                break;
            }
            taken += bytes;
            size = next;
        }
        let word = &rest[..taken];
        rest = &rest[taken..];
        out.extend_from_slice(if is_q { b"=?UTF-8?Q?" } else { b"=?UTF-8?B?" });
        if is_q {
            for b in word.bytes() {
                match b {
                    b' ' => out.push(b'_'),
                    _ if is_q_plain(b) => out.push(b),
                    _ => out.extend_from_slice(&super::mime::escape(b)),
                }
            }
        } else {
            out.extend_from_slice(BASE64.encode(word).as_bytes());
        }
        out.extend_from_slice(b"?=");
        column += frame + size;
        if rest.is_empty() {
            return column;
        }
        out.extend_from_slice(b"\r\n ");
        column = 1;
    }
}

/// RFC 2047 §5 (3): what may stand unencoded in a Q word wherever the word stands.
fn is_q_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!*+-/".contains(&b)
}

/// A name as a label of a List-Id or a part of a Feedback-ID: ASCII letters, digits and `-`.
pub(super) fn label(name: &str) -> String {
    let mapped: String =
        name.chars().take(60).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let label = mapped.trim_matches('-');
    if label.is_empty() { "x".to_owned() } else { label.to_owned() }
}

/// `List-Id: title <label.domain>` (RFC 2919).
pub(super) fn list_id(out: &mut Vec<u8>, title: &str, id: &str) {
    out.extend_from_slice(b"List-Id: ");
    let column = phrase(out, title, "List-Id: ".len());
    let folds = column.is_some_and(|c| c + id.len() + 3 > LINE_CHARS);
    out.extend_from_slice(match (column, folds) {
        (None, _) => b"<",
        (_, true) => b"\r\n <",
        (_, false) => b" <",
    });
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b">\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.split("\r\n").all(|l| l.len() <= LINE_CHARS), "{text}");
        text
    }

    fn read(header: &str) -> String {
        let mail = format!("{header}\r\n\r\n");
        mail_parser::MessageParser::default().parse(mail.as_bytes()).unwrap().subject().unwrap_or_default().to_owned()
    }

    #[test]
    fn subjects_come_back_as_they_were() {
        let long =
            "A subject of many words that goes on and on until it must be folded, and then a little further ".repeat(2);
        for subject in [
            "Hello, Mia",
            "灯りをつけてお待ちしています。またお気の向いたときに、どうぞお立ち寄りください",
            "Zoë’s 10 % = ?",
            "=?UTF-8?Q?x?=",
            "👩‍👩‍👧‍👧 家族",
            &long,
            &"é".repeat(200),
        ] {
            let header = written(|out| text(out, "Subject", subject));
            assert_eq!(read(&header), subject.trim(), "{header}");
        }
    }

    #[test]
    fn nothing_ends_a_field_early() {
        let subject = "a\r\nBcc: x@example.com\0\u{2028}b\u{85}c\u{202e}d\u{1b}[31m\u{b}e";
        assert_eq!(
            written(|out| text(out, "Subject", subject)),
            "Subject: =?UTF-8?Q?a_Bcc=3A_x=40example=2Ecom?=\r\n"
                .replace("=?UTF-8?Q?a_Bcc=3A_x=40example=2Ecom?=", "a Bcc: x@example.com b cd[31m e")
        );
        assert_eq!(written(|out| text(out, "Subject", "")), "Subject: \r\n");
        assert_eq!(clean(&"x".repeat(1 << 20), 10), "xxxxxxxxxx…");
        assert_eq!(clean("abc", 10), "abc");
    }

    #[test]
    fn mailboxes_quote_and_encode_their_names() {
        let to = |name| written(|out| mailbox(out, "To", name, "mia@example.com"));
        assert_eq!(to("Mia Berg"), "To: Mia Berg <mia@example.com>\r\n");
        assert_eq!(to("Berg, \"Mia\" \\"), "To: \"Berg, \\\"Mia\\\" \\\\\" <mia@example.com>\r\n");
        assert_eq!(to("花岡 美帆"), "To: =?UTF-8?B?6Iqx5bKhIOe+juW4hg==?= <mia@example.com>\r\n");
        assert_eq!(to(" \r\n"), "To: mia@example.com\r\n");
    }

    #[test]
    fn labels_are_fit_for_a_domain() {
        assert_eq!(
            (label("Special Offers!"), label("お得"), label("news_2")),
            ("special-offers".into(), "x".into(), "news-2".into())
        );
    }
}
