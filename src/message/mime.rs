//! The body: `multipart/alternative`, text first, each part quoted-printable or base64, whichever is shorter (RFC 2045).
//!
//! Encoded lines are ASCII, at most 76 characters, and never begin with a dot or `From `, so no system on the way has a reason to touch
//! them. Line breaks of any kind become CRLF; control characters are dropped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// RFC 2045 §6.7 (5) and §6.8.
const LINE_CHARS_MAX: usize = 76;

/// The boundary of a message. No encoded part can hold it: `=_` is neither quoted-printable nor base64.
pub(super) fn boundary(message_id: &str) -> String {
    format!("=_{message_id}")
}

/// The Content-Type that announces the body.
pub(super) fn content_type(boundary: &str) -> String {
    format!("multipart/alternative;\n boundary=\"{boundary}\"")
}

/// Append the body, both parts.
pub(super) fn alternative(out: &mut Vec<u8>, boundary: &str, text: &str, html: &str) {
    for (kind, content) in [("plain", text), ("html", html)] {
        out.extend_from_slice(b"--");
        out.extend_from_slice(boundary.as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: text/");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"; charset=utf-8\r\nContent-Transfer-Encoding: ");
        part(out, content);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"--");
    out.extend_from_slice(boundary.as_bytes());
    out.extend_from_slice(b"--\r\n");
}

fn part(out: &mut Vec<u8>, content: &str) {
    let escaped = super::wire::count(content.as_bytes(), content.as_bytes(), |b, _| b >= 0x80);
    if content.len() + 2 * escaped <= content.len().div_ceil(3) * 4 {
        out.extend_from_slice(b"quoted-printable\r\n\r\n");
        quoted_printable(out, content);
    } else {
        out.extend_from_slice(b"base64\r\n\r\n");
        base64(out, content);
    }
}

/// What stands for itself wherever it stands but at the start of a line; a space also not at the end.
const IS_ORDINARY: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = b' ';
    while b < 0x7f {
        table[b as usize] = b != b'=';
        b += 1;
    }
    table
};

/// How many ordinary bytes `bytes` begins with; eight at a time, because this is where most of a mail's encoding goes.
fn ordinary_run(bytes: &[u8]) -> usize {
    const LOW: u64 = u64::MAX / 255; // 0x01 in every byte
    const HIGH: u64 = LOW << 7;
    // The lowest byte that is marked is below `n`, which is true of no byte before it.
    let below = |word: u64, n: u64| word.wrapping_sub(LOW * n) & !word & HIGH;
    let equal = |word: u64, byte: u8| below(word ^ (LOW * u64::from(byte)), 1);
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for (at, word) in words.enumerate() {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        let odd = below(word, 0x20) | equal(word, b'=') | equal(word, 0x7f) | (word & HIGH);
        if odd != 0 {
            return 8 * at + (odd.trailing_zeros() / 8) as usize;
        }
    }
    let odd = rest.iter().position(|b| !IS_ORDINARY[usize::from(*b)]).unwrap_or(rest.len());
    bytes.len() - rest.len() + odd
}

/// What follows a byte that may be a line break, as the end of a line: the length of the break.
fn line_break(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\r', b'\n', ..] => Some(2),
        [b'\r' | b'\n', ..] => Some(1),
        _ => None,
    }
}

/// Control characters that no mail needs.
fn is_dropped(b: u8) -> bool {
    (b < 0x20 && !matches!(b, b'\t' | b'\r' | b'\n')) || b == 0x7f
}

fn quoted_printable(out: &mut Vec<u8>, content: &str) {
    let bytes = content.as_bytes();
    out.reserve(bytes.len() + bytes.len() / 8);
    let mut column = 0;
    let mut i = 0;
    while i < bytes.len() {
        // Most of a mail is runs of ordinary characters: copied whole. One column is left for what follows, one for a soft break.
        if column > 0 && column < LINE_CHARS_MAX - 2 {
            let room = &bytes[i..bytes.len().min(i + LINE_CHARS_MAX - 2 - column)];
            let mut run = ordinary_run(room);
            if matches!(bytes.get(i + run), None | Some(b'\r' | b'\n')) {
                run = room[..run].iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
            }
            if run > 0 {
                out.extend_from_slice(&room[..run]);
                column += run;
                i += run;
                continue;
            }
        }
        let b = bytes[i];
        if let Some(length) = line_break(&bytes[i..]) {
            out.extend_from_slice(b"\r\n");
            column = 0;
            i += length;
            continue;
        }
        i += 1;
        if is_dropped(b) {
            continue;
        }
        let ends_line = i == bytes.len() || matches!(bytes[i], b'\r' | b'\n');
        let plain = match b {
            b'=' => false,
            b' ' | b'\t' => !ends_line,
            b'.' => column > 0,
            b'F' => column > 0 || !bytes[i..].starts_with(b"rom "),
            _ => b < 0x80,
        };
        let width = if plain { 1 } else { 3 };
        // The last column is for the soft break, unless the line ends here.
        if column + width > LINE_CHARS_MAX - usize::from(!ends_line) {
            out.extend_from_slice(b"=\r\n");
            column = 0;
            // At the start of a line a dot or `From ` must not stand.
            if b == b'.' || (b == b'F' && bytes[i..].starts_with(b"rom ")) {
                out.extend_from_slice(&escape(b));
                column = 3;
                continue;
            }
        }
        if plain {
            out.push(b);
        } else {
            out.extend_from_slice(&escape(b));
        }
        column += width;
    }
    if column > 0 {
        out.extend_from_slice(b"\r\n");
    }
}

/// `=XX`.
pub(super) fn escape(b: u8) -> [u8; 3] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    [b'=', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]
}

fn base64(out: &mut Vec<u8>, content: &str) {
    let bytes = content.as_bytes();
    let mut canonical = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut i = 0;
    while i < bytes.len() {
        if let Some(length) = line_break(&bytes[i..]) {
            canonical.extend_from_slice(b"\r\n");
            i += length;
            continue;
        }
        if !is_dropped(bytes[i]) {
            canonical.push(bytes[i]);
        }
        i += 1;
    }
    for line in canonical.chunks(LINE_CHARS_MAX / 4 * 3) {
        out.extend_from_slice(BASE64.encode(line).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(content: &str) -> String {
        let mut out = Vec::new();
        quoted_printable(&mut out, content);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.split("\r\n").all(|l| l.len() <= LINE_CHARS_MAX && !l.starts_with('.') && !l.starts_with("From ")),
            "{text}"
        );
        text
    }

    #[test]
    fn quoted_printable_follows_rfc_2045() {
        assert_eq!(
            encoded("a = b \r\nzoë\t\n.\nFrom me\rx\0"),
            "a =3D b=20\r\nzo=C3=AB=09\r\n=2E\r\n=46rom me\r\nx\r\n"
        );
        assert_eq!(encoded("a b  \nc \r\n  "), "a b =20\r\nc=20\r\n =20\r\n");
        assert_eq!(encoded(&"x".repeat(80)), format!("{}=\r\nxxxxx\r\n", "x".repeat(75)));
        assert_eq!(encoded(&"x".repeat(76)), format!("{}\r\n", "x".repeat(76)));
        for n in 70..80 {
            let content = format!("{}.From {}é", "x".repeat(n), "y".repeat(n));
            let mail = format!(
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
                encoded(&content)
            );
            let parsed = mail_parser::MessageParser::default().parse(mail.as_bytes()).unwrap();
            assert_eq!(parsed.body_text(0).unwrap().trim_end(), content);
        }
    }

    #[test]
    fn a_run_of_ordinary_bytes_ends_where_the_table_says() {
        for odd in 0..=255_u8 {
            for before in 0..20 {
                let mut bytes = b"az ~<>.-_09AZ!/ az ~<>".to_vec();
                bytes[before] = odd;
                bytes[before + 1] = b'=';
                let expected = bytes.iter().position(|b| !IS_ORDINARY[usize::from(*b)]).unwrap();
                assert_eq!(ordinary_run(&bytes), expected, "{odd} at {before}");
                assert_eq!(ordinary_run(&bytes[..before]), before);
            }
        }
    }

    #[test]
    fn the_shorter_encoding_is_taken() {
        let of = |content: &str| {
            let mut out = Vec::new();
            part(&mut out, content);
            String::from_utf8(out).unwrap().split("\r\n").next().unwrap().to_owned()
        };
        assert_eq!(of("Hello, Zoë"), "quoted-printable");
        assert_eq!(of("灯りをつけてお待ちしています"), "base64");
        assert_eq!(of(""), "quoted-printable");
    }
}
