//! DKIM: the keys, the signatures (RFC 6376, RFC 8463), and the DNS records that tell receivers our public keys.
//!
//! Pure: reads no file, no clock, no DNS. Whoever has a key's text makes a [`PrivateKey`] of it; a [`Signer`] holds all keys of a project
//! and signs a finished message with each of them.
//!
//! Read on: `sign.rs`, where it says what is signed and why a message signed again has the same bytes.

mod key;
mod record;
mod sign;

pub use key::{Algorithm, KeyError, PrivateKey, PublicKey, RSA_BITS};
pub use record::{Record, RecordFault, host, pieces, quoted, text};
pub use sign::{Identity, SIGNED, SIGNED_AS_PRESENT, SignError, Signer};

/// Whether a text can be a selector or a domain (RFC 6376 §3.1): dotted labels of ASCII letters, digits, `-` and `_`, each up to 63
/// characters, none with a `-` at an end.
pub fn is_name(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests;
