//! The DNS record of a public key (RFC 6376 §3.6.1): written for a zone file, and read as receivers do.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD as BASE64};

use super::{Algorithm, PublicKey};

/// RFC 1035 §3.3: the longest string inside a TXT record, in bytes. A record holds several; receivers join them.
const STRING_BYTES_MAX: usize = 255;

/// RFC 6376 §2.10: `=` at the end may be left out.
const AS_RECEIVERS_READ: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where the key of a selector is published.
pub fn host(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// The text of the record.
pub fn text(key: &PublicKey) -> String {
    format!("v=DKIM1; k={}; p={}", key.algorithm.word(), BASE64.encode(&key.bytes))
}

/// A record's text in the strings that fit a TXT record.
pub fn pieces(text: &str) -> Vec<&str> {
    debug_assert!(text.is_ascii());
    let cut = |from: usize| &text[from..text.len().min(from + STRING_BYTES_MAX)];
    (0..text.len()).step_by(STRING_BYTES_MAX).map(cut).collect()
}

/// The strings as a zone file has them: `"v=DKIM1; …" "…"`.
pub fn quoted(text: &str) -> String {
    pieces(text).into_iter().map(|piece| format!("\"{piece}\"")).collect::<Vec<_>>().join(" ")
}

/// What a published record says, as far as it matters to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `k=` as written.
    pub kind: String,
    /// What `p=` holds; empty when the key was withdrawn.
    pub key: Vec<u8>,
    /// `t=y`: the domain tries DKIM out, and a broken signature counts like none.
    pub testing: bool,
    /// `t=s`: `i=` may not name a subdomain.
    pub strict: bool,
    /// Whether it is for mail (`s=`) and for SHA-256 (`h=`).
    pub usable: bool,
}

/// Why a record cannot be read. The end of the sentence "the record …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("has `{0}`, which is not `tag=value`")]
    NotATag(String),
    #[error("has `{0}=` more than once")]
    Twice(String),
    #[error("has a version other than DKIM1, or not in the first place")]
    Version,
    #[error("has no `p=`")]
    NoKey,
    #[error("has a `p=` that is not base64")]
    NotBase64,
}

impl Record {
    /// Read the text of a record.
    pub fn parse(text: &str) -> Result<Record, RecordFault> {
        let mut record =
            Record { kind: "rsa".to_owned(), key: Vec::new(), testing: false, strict: false, usable: true };
        let mut seen: Vec<&str> = Vec::new();
        let tags = text.split(';').map(str::trim).filter(|t| !t.is_empty());
        for (i, tag) in tags.enumerate() {
            let (name, value) = tag.split_once('=').ok_or_else(|| RecordFault::NotATag(tag.to_owned()))?;
            let (name, value) = (name.trim(), value.trim());
            if seen.contains(&name) {
                return Err(RecordFault::Twice(name.to_owned())); // §3.2: the whole list is invalid
            }
            seen.push(name);
            let lists = |word: &str| value.split(':').any(|v| v.trim().eq_ignore_ascii_case(word));
            match name {
                "v" if i > 0 || value != "DKIM1" => return Err(RecordFault::Version),
                "k" => record.kind = value.to_ascii_lowercase(),
                "p" => {
                    let digits: String = value.split_whitespace().collect();
                    record.key = AS_RECEIVERS_READ.decode(digits).map_err(|_| RecordFault::NotBase64)?;
                }
                "t" => (record.testing, record.strict) = (lists("y"), lists("s")),
                "s" => record.usable &= lists("*") || lists("email"),
                "h" => record.usable &= lists("sha256"),
                _ => {} // §3.6.1: unknown tags are ignored
            }
        }
        if seen.contains(&"p") { Ok(record) } else { Err(RecordFault::NoKey) }
    }

    /// Whether it publishes this key for mail.
    pub fn publishes(&self, key: &PublicKey) -> bool {
        let kind = match key.algorithm {
            Algorithm::Rsa => self.kind == "rsa",
            Algorithm::Ed25519 => self.kind == "ed25519",
        };
        kind && self.usable && key.is_published_as(&self.key)
    }
}
