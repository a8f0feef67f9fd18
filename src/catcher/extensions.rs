//! What the catcher announces after EHLO. Switching an extension off makes the catcher refuse its use, so that a
//! client that ignores the announcement is found out.

/// The default of [`Extensions::size_max`]: 25 MiB, what large mailbox providers accept.
pub const SIZE_BYTES_MAX: u64 = 25 * 1024 * 1024;

/// The ESMTP extensions on offer. STARTTLS and AUTH follow from [`CatcherOptions`](super::CatcherOptions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extensions {
    /// SIZE (RFC 1870): the largest message in bytes. `None` does not announce it; [`SIZE_BYTES_MAX`] still holds.
    pub size_max: Option<u64>,
    /// PIPELINING (RFC 2920). Pipelined commands are answered either way; without it they are a defect.
    pub pipelining: bool,
    /// CHUNKING (RFC 3030): BDAT.
    pub chunking: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtp_utf8: bool,
    /// DSN (RFC 3461): RET, ENVID, NOTIFY, ORCPT.
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
}

impl Default for Extensions {
    /// All of them.
    fn default() -> Self {
        Self {
            size_max: Some(SIZE_BYTES_MAX),
            pipelining: true,
            chunking: true,
            eight_bit_mime: true,
            smtp_utf8: true,
            dsn: true,
            enhanced_status_codes: true,
        }
    }
}

impl Extensions {
    /// None of them: a server of 1982 that answers EHLO nevertheless.
    pub const fn none() -> Self {
        Self {
            size_max: None,
            pipelining: false,
            chunking: false,
            eight_bit_mime: false,
            smtp_utf8: false,
            dsn: false,
            enhanced_status_codes: false,
        }
    }

    /// The EHLO keywords, in a fixed order.
    pub(super) fn keywords(&self, starttls: bool, auth: bool) -> Vec<String> {
        let mut words = Vec::new();
        let mut offer = |on: bool, word: &str| {
            if on {
                words.push(word.to_owned());
            }
        };
        offer(self.pipelining, "PIPELINING");
        offer(self.size_max.is_some(), &format!("SIZE {}", self.size_max.unwrap_or_default()));
        offer(self.chunking, "CHUNKING");
        offer(self.eight_bit_mime, "8BITMIME");
        offer(self.smtp_utf8, "SMTPUTF8");
        offer(self.dsn, "DSN");
        offer(self.enhanced_status_codes, "ENHANCEDSTATUSCODES");
        offer(starttls, "STARTTLS");
        offer(auth, "AUTH PLAIN LOGIN");
        words
    }
}
