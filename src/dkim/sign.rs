//! Signing a finished message.
//!
//! Relaxed canonicalisation of header and body (RFC 6376 §3.4.2, §3.4.4), so that a relay that folds lines anew breaks nothing. Every field
//! of [`SIGNED`] is signed once more often than it is present (§8.15): whoever adds a second From, or a List-Unsubscribe of their own,
//! breaks the signature. Each key signs the message without the other signatures, so receivers can verify either alone.
//!
//! The same message, keys and instant give the same bytes: both algorithms are deterministic (RSASSA-PKCS1-v1_5, RFC 8017 §8.2;
//! Ed25519, RFC 8032), and `t=` is the instant given, not the time of signing. So a message that is tried again is the same to receivers.

use mail_auth::common::crypto::{HashContext as _, HashImpl as _, Sha256, SigningKey as _};
use mail_auth::common::headers::{Writable, Writer};
use mail_auth::dkim::{Canonicalization, Signature};

use super::PrivateKey;
use crate::clock::{Millis, SECOND};

/// The fields that are signed once more than they are present, and once when they are not. RFC 6376 §5.4.1 advises on the choice; RFC
/// 8058 §4 wants List-Unsubscribe and List-Unsubscribe-Post among them. Sender and the trace fields are left out: systems on the way may
/// add those.
pub const SIGNED: [&str; 15] = [
    "From",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Id",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// The fields that are signed as often as they are present: relays may add one of their own beside ours, and no reader sees them.
pub const SIGNED_AS_PRESENT: [&str; 2] = ["Feedback-ID", "Auto-Submitted"];

/// How a field ends whose value filled its last line.
const FOLDED_END: &[u8] = b"\r\n\t;\r\n";

/// Under whose name a key signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `d=`.
    pub domain: String,
    /// `s=`.
    pub selector: String,
}

/// A message could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the DKIM signature of {domain} could not be made: {why}")]
pub struct SignError {
    domain: String,
    why: String,
}

/// All keys of a project.
#[derive(Debug)]
pub struct Signer {
    /// A signature as it is before it is made, and the key that makes it.
    keys: Vec<(Signature, PrivateKey)>,
}

impl Signer {
    /// A signer that puts one signature for each key, in this order. `None` without keys.
    pub fn new(keys: Vec<(Identity, PrivateKey)>) -> Option<Signer> {
        let template = |identity: Identity, key: &PrivateKey| Signature {
            v: 1,
            a: key.inner().algorithm(),
            d: identity.domain,
            s: identity.selector,
            ch: Canonicalization::Relaxed,
            cb: Canonicalization::Relaxed,
            ..Signature::default()
        };
        let keys: Vec<_> = keys.into_iter().map(|(identity, key)| (template(identity, &key), key)).collect();
        (!keys.is_empty()).then_some(Signer { keys })
    }

    /// The message with its DKIM-Signature fields in front. `at` is when it was first about to leave: it becomes `t=`.
    pub fn sign(&self, message: &[u8], at: Millis) -> Result<Vec<u8>, SignError> {
        let (mut present, body) = taken_apart(message);
        let signed_names = || SIGNED.iter().chain(&SIGNED_AS_PRESENT);
        present.retain(|(name, _)| signed_names().any(|s| name.eq_ignore_ascii_case(s.as_bytes())));
        // §5.4.2: of fields with one name the last comes first. What is named beyond those present stands for nothing.
        let fields = || present.iter().rev().copied();
        let mut names: Vec<String> = fields().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        names.extend(SIGNED.map(str::to_owned));
        let mut signed = Vec::with_capacity(2_048);
        Canonicalization::Relaxed.canonicalize_headers(fields(), &mut signed);
        let mut hasher = Sha256::hasher();
        Canonicalization::Relaxed.canonical_body(body, 0).write(&mut hasher);
        let body_hash = hasher.complete().as_ref().to_vec();

        let mut out = Vec::with_capacity(message.len() + self.keys.len() * 1_024);
        for (template, key) in &self.keys {
            let mut signature = Signature {
                h: names.clone(),
                bh: body_hash.clone(),
                t: at.div_euclid(SECOND).unsigned_abs(),
                ..template.clone()
            };
            let made = key.inner().sign(Signed { fields: &signed, signature: &signature });
            signature.b = made.map_err(|e| SignError { domain: template.d.clone(), why: e.to_string() })?;
            signature.write(&mut out, true);
            // When the value fills its last line, mail-auth folds before the `;`. RFC 6376 §3.7 counts that white space to the value, which
            // is not signed; some verifiers (dkimpy) do not, and find the signature broken.
            if out.ends_with(FOLDED_END) {
                out.truncate(out.len() - FOLDED_END.len());
                out.extend_from_slice(b";\r\n");
            }
        }
        out.extend_from_slice(message);
        Ok(out)
    }
}

/// Name and value of a header field, the value with its line breaks.
type Field<'m> = (&'m [u8], &'m [u8]);

/// The fields of a message in order, and its body (RFC 5322 §2.1). A field goes on in lines that begin with white space.
fn taken_apart(message: &[u8]) -> (Vec<Field<'_>>, &[u8]) {
    let mut fields = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        if let Some(body) = rest.strip_prefix(b"\r\n") {
            return (fields, body);
        }
        let mut end = 0;
        for line in rest.split_inclusive(|b| *b == b'\n') {
            if end > 0 && !line.starts_with(b" ") && !line.starts_with(b"\t") {
                break;
            }
            end += line.len();
        }
        let (field, after) = rest.split_at(end);
        let name = field.iter().position(|b| *b == b':').unwrap_or(field.len());
        fields.push((&field[..name], field.get(name + 1..).unwrap_or_default()));
        rest = after;
    }
    (fields, b"")
}

/// What a key signs (RFC 6376 §3.7): the fields, then the signature's own field without its value.
struct Signed<'a> {
    fields: &'a [u8],
    signature: &'a Signature,
}

impl Writable for Signed<'_> {
    fn write(self, writer: &mut impl Writer) {
        writer.write(self.fields);
        self.signature.write(writer, false);
    }
}
