//! The last look at a message before it may leave: what every mail system accepts (RFC 5321 §4.5.3.1.6, RFC 5322 §2.1.1).

use super::header::LINE_CHARS_MAX;

/// Largest message composed, in bytes. Larger ones are refused by most mail systems anyway.
const MESSAGE_BYTES_MAX: usize = 10 << 20;

/// What is wrong with the bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    #[error("a line longer than 998 characters")]
    LongLine,
    #[error("a bare CR or LF")]
    BareBreak,
    #[error("a NUL character")]
    Nul,
    #[error("more than 10 MiB")]
    TooLarge,
    #[error("no line break at the end")]
    Unfinished,
}

/// Whether the bytes may go over the wire as they are.
pub fn check(bytes: &[u8]) -> Result<(), WireFault> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(WireFault::TooLarge);
    }
    if !bytes.ends_with(b"\r\n") {
        return Err(WireFault::Unfinished);
    }
    if bytes.contains(&0) {
        return Err(WireFault::Nul);
    }
    let pairs = count(bytes, &bytes[1..], |a, b| a == b'\r' && b == b'\n');
    let breaks = [b'\r', b'\n'].map(|wanted| count(bytes, bytes, |b, _| b == wanted));
    if breaks != [pairs, pairs] {
        return Err(WireFault::BareBreak);
    }
    let mut start = 0;
    while start < bytes.len() {
        // Lines that end within so many bytes of `start` are short enough; go on after the last of them.
        let window = &bytes[start..bytes.len().min(start + LINE_CHARS_MAX + 2)];
        start += 1 + window.iter().rposition(|b| *b == b'\n').ok_or(WireFault::LongLine)?;
    }
    Ok(())
}

/// How many pairs of bytes at the same place, one from each slice, are `wanted`. Counted in bytes first, a hundred at a time, so that the
/// compiler can use wide registers: this runs over every byte of every message.
pub(super) fn count(a: &[u8], b: &[u8], wanted: impl Fn(u8, u8) -> bool) -> usize {
    const BLOCK: usize = 128;
    let in_block = |(a, b): (&[u8], &[u8])| -> u8 { a.iter().zip(b).map(|(a, b)| u8::from(wanted(*a, *b))).sum() };
    a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(|blocks| usize::from(in_block(blocks))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found() {
        let long = format!("{}\r\n", "x".repeat(998));
        for (bytes, fault) in [
            (&b"a: b\r\n\r\nx\r\n"[..], Ok(())),
            (long.as_bytes(), Ok(())),
            (b"x".repeat(999).as_slice(), Err(WireFault::Unfinished)),
            (format!("x{long}").as_bytes(), Err(WireFault::LongLine)),
            (b"a\nb\r\n", Err(WireFault::BareBreak)),
            (b"a\rb\r\n", Err(WireFault::BareBreak)),
            (b"a\r\r\n", Err(WireFault::BareBreak)),
            (b"\na\r\n", Err(WireFault::BareBreak)),
            (b"a\0\r\n", Err(WireFault::Nul)),
            (b"", Err(WireFault::Unfinished)),
        ] {
            assert_eq!(check(bytes), fault, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
