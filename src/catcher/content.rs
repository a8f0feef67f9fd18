//! Message content: taking it off the wire, and judging it.
//!
//! [`DotReader`] undoes the transparency of DATA (RFC 5321 §4.5.2) incrementally, whatever the packet boundaries.
//! The end is `CRLF . CRLF` and nothing else: a lone LF never ends a line, so nothing can be smuggled past this
//! server. [`inspect`] lists what a strict receiver would hold against the bytes. Sizes are in bytes.

/// Longest line of content without its CRLF (RFC 5322 §2.1.1).
pub const LINE_BYTES_MAX: usize = 998;

/// Undoes dot-stuffing. One per message.
#[derive(Debug)]
pub(super) struct DotReader {
    state: State,
    /// Lines that began with a dot although the client did not double it.
    pub unstuffed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line.
    Start,
    /// After a dot at the start of a line; the dot is held back.
    Dot,
    /// After a dot and CR at the start of a line; both are held back.
    DotCr,
    /// Inside a line.
    Text,
    /// After a CR inside a line; it has been passed on.
    Cr,
}

impl DotReader {
    pub fn new() -> Self {
        Self { state: State::Start, unstuffed: 0 }
    }

    /// Passes content of `input` on to `out`, in slices. Returns how many bytes of `input` belong to this message if
    /// its end was found, else `None`: all of it does and more must follow.
    pub fn read(&mut self, input: &[u8], mut out: impl FnMut(&[u8])) -> Option<usize> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            match (self.state, byte) {
                (State::Start, b'.') => (self.state, at) = (State::Dot, at + 1),
                (State::Start, _) => self.state = State::Text,
                (State::Dot, b'\r') => (self.state, at) = (State::DotCr, at + 1),
                (State::Dot, _) => {
                    self.unstuffed += u32::from(byte != b'.');
                    self.state = State::Text;
                }
                (State::DotCr, b'\n') => return Some(at + 1),
                (State::DotCr, _) => {
                    self.unstuffed += 1;
                    out(b"\r");
                    self.state = State::Cr;
                }
                (State::Text, _) => {
                    let rest = &input[at..];
                    let end = rest.iter().position(|b| *b == b'\r').map_or(rest.len(), |cr| cr + 1);
                    out(&rest[..end]);
                    at += end;
                    if rest[end - 1] == b'\r' {
                        self.state = State::Cr;
                    }
                }
                (State::Cr, b'\n') => {
                    out(b"\n");
                    (self.state, at) = (State::Start, at + 1);
                }
                (State::Cr, _) => self.state = State::Text,
            }
        }
        None
    }
}

/// What the envelope allows the content to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    /// `BODY=8BITMIME` or `SMTPUTF8`: bytes above 127 in the body.
    pub eight_bit: bool,
    /// `SMTPUTF8`: bytes above 127 in the header.
    pub utf8_header: bool,
}

/// The faults of a message, each named once, as a strict receiver sees them. Empty: none.
pub(super) fn inspect(bytes: &[u8], allowed: Allowed) -> Vec<String> {
    let mut defects = Vec::new();
    let (mut bare_lf, mut bare_cr, mut long, mut unended) = (0_u32, 0_u32, 0_u32, false);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let text = match line {
            [text @ .., b'\r', b'\n'] => text,
            [text @ .., b'\n'] => {
                bare_lf += 1;
                text
            }
            text => {
                unended = true;
                text
            }
        };
        bare_cr += u32::from(text.contains(&b'\r'));
        long += u32::from(text.len() > LINE_BYTES_MAX);
    }
    let mut note = |count: u32, what: &str| {
        if count > 0 {
            defects.push(format!("{what} ({count})"));
        }
    };
    note(bare_lf, "lines end in LF without CR");
    note(bare_cr, "lines contain CR without LF");
    note(long, "lines are longer than 998 bytes");
    if unended {
        defects.push("the last line does not end in CRLF".to_owned());
    }
    if bytes.is_empty() {
        defects.push("the message is empty".to_owned());
    }
    if bytes.contains(&0) {
        defects.push("the content contains NUL".to_owned());
    }
    if !bytes.is_ascii() {
        let (header, body) = bytes.split_at(header_end(bytes));
        if !header.is_ascii() && !allowed.utf8_header {
            defects.push("the header is not ASCII and SMTPUTF8 was not asked for".to_owned());
        }
        if !body.is_ascii() && !allowed.eight_bit {
            defects.push("the body is not ASCII and BODY=8BITMIME was not asked for".to_owned());
        }
    }
    defects
}

/// Where the header ends: after its last line, before the empty one.
fn header_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if matches!(line, b"\r\n" | b"\n") {
            return at;
        }
        at += line.len();
    }
    at
}

/// The Message-ID as written, angle brackets included (RFC 5322 §3.6.4); `None` when the header has none.
pub(super) fn message_id(bytes: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"message-id:";
    let header = &bytes[..header_end(bytes)];
    let mut at = 0;
    for line in header.split_inclusive(|b| *b == b'\n') {
        at += line.len();
        if line.len() < NAME.len() || !line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            continue;
        }
        let mut value = line[NAME.len()..].to_vec();
        for folded in header[at..].split_inclusive(|b| *b == b'\n') {
            if !matches!(folded.first(), Some(b' ' | b'\t')) {
                break;
            }
            value.extend_from_slice(folded);
        }
        let text = String::from_utf8_lossy(&value);
        return Some(text.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unstuff(pieces: &[&[u8]]) -> (Vec<u8>, Option<usize>, u32) {
        let (mut reader, mut body, mut end) = (DotReader::new(), Vec::new(), None);
        for piece in pieces {
            assert!(end.is_none(), "input after the end");
            end = reader.read(piece, |bytes| body.extend_from_slice(bytes));
        }
        (body, end, reader.unstuffed)
    }

    #[test]
    fn dots_are_unstuffed_and_the_end_is_found() {
        let (body, end, unstuffed) = unstuff(&[b"a\r\n..\r\n...b\r\nc.\r\n.\r\nMAIL"]);
        assert_eq!(body, b"a\r\n.\r\n..b\r\nc.\r\n");
        assert_eq!(end, Some(20));
        assert_eq!(unstuffed, 0);
        assert_eq!(unstuff(&[b".\r\n"]), (vec![], Some(3), 0));
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_message() {
        for almost in [&b"a\n.\n"[..], b"a\n.\r\n", b"a\r\n.\n", b"a\r.\r", b"a\r\n.\rb\r\n", b"a\r\n.\r\r"] {
            assert_eq!(unstuff(&[almost]).1, None, "{almost:?}");
        }
    }

    #[test]
    fn a_dot_that_was_not_doubled_is_counted() {
        assert_eq!(unstuff(&[b".a\r\n.\r\n"]), (b"a\r\n".to_vec(), Some(7), 1));
        assert_eq!(unstuff(&[b".\ra\r\n.\r\n"]), (b"\ra\r\n".to_vec(), Some(8), 1));
    }

    proptest! {
        /// Stuffing and unstuffing is the identity, wherever the packets are cut.
        #[test]
        fn any_content_survives_in_any_packets(
            lines in prop::collection::vec("[.a\r花 ]{0,6}", 0..8),
            cut in 1_usize..7,
        ) {
            let mut body = String::new();
            let mut wire = String::new();
            for line in &lines {
                let line = line.trim_end_matches('\r');
                body.push_str(line);
                body.push_str("\r\n");
                if line.starts_with('.') {
                    wire.push('.');
                }
                wire.push_str(line);
                wire.push_str("\r\n");
            }
            wire.push_str(".\r\n");
            let pieces: Vec<&[u8]> = wire.as_bytes().chunks(cut).collect();
            let (read, end, unstuffed) = unstuff(&pieces);
            prop_assert_eq!(read, body.into_bytes());
            prop_assert_eq!(end, pieces.last().map(|last| last.len()));
            prop_assert_eq!(unstuffed, 0);
        }
    }

    #[test]
    fn faults_are_named() {
        let strict = Allowed { eight_bit: false, utf8_header: false };
        let fine = format!("Subject: a\r\n\r\n{}\r\n", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(inspect(fine.as_bytes(), strict), Vec::<String>::new());
        assert_eq!(inspect(b"", strict), ["the message is empty"]);
        let found =
            inspect(format!("Subject: 花\r\n\r\n花\na\rb\r\n\0{}", "x".repeat(LINE_BYTES_MAX)).as_bytes(), strict);
        assert_eq!(
            found,
            [
                "lines end in LF without CR (1)",
                "lines contain CR without LF (1)",
                "lines are longer than 998 bytes (1)",
                "the last line does not end in CRLF",
                "the content contains NUL",
                "the header is not ASCII and SMTPUTF8 was not asked for",
                "the body is not ASCII and BODY=8BITMIME was not asked for",
            ]
        );
        let body_only = inspect("A: b\r\n\r\n花\r\n".as_bytes(), Allowed { eight_bit: true, ..strict });
        assert_eq!(body_only, Vec::<String>::new());
    }

    #[test]
    fn the_message_id_is_found_in_the_header_only() {
        assert_eq!(message_id(b"A: b\r\nmessage-ID: <a@b>\r\n\r\n"), Some("<a@b>".into()));
        assert_eq!(message_id(b"Message-ID:\r\n <a@b>\r\nC: d\r\n\r\n"), Some("<a@b>".into()));
        assert_eq!(message_id(b"A: b\r\n\r\nMessage-ID: <a@b>\r\n"), None);
        assert_eq!(message_id(b""), None);
    }
}
