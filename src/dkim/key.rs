//! Key pairs: read, made, and written down.
//!
//! Kept as PKCS #8 (RFC 5208) in PEM, as openssl and every mail server read it. PKCS #1 (`BEGIN RSA PRIVATE KEY`) is read too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey, Sha256};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};

/// Bits of a new RSA key: what RFC 8301 §3.2 advises.
pub const RSA_BITS: u32 = 2_048;
/// RFC 8410 §7: everything of an Ed25519 private key in PKCS #8 before its 32 bytes.
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// RFC 8410 §3: the name of the algorithm inside any PKCS #8, of version 1 or 2.
const ED25519_NAME: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// RFC 3279 §2.3.1: the name of RSA, with its empty parameters, in a SubjectPublicKeyInfo.
const RSA_NAME: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// rsa-sha256: what every receiver verifies.
    Rsa,
    /// ed25519-sha256 (RFC 8463): small and fast; receivers that do not know it skip its signature.
    Ed25519,
}

impl Algorithm {
    /// Its name in a DNS record (`k=`).
    pub fn word(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa",
            Algorithm::Ed25519 => "ed25519",
        }
    }
}

/// Why a text is not a key that can sign. The end of the sentence "the key …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("is not a private key: neither PEM nor base64 of PKCS #8 or PKCS #1")]
    NotAKey,
    #[error("is a public key; signing needs the private one")]
    Public,
    #[error("is protected by a passphrase, and nobody is there to type it")]
    Encrypted,
    #[error("is neither RSA nor Ed25519; DKIM knows no other kind")]
    OtherKind,
    #[error("is an RSA key of fewer than 2048 bits, which receivers need not accept")]
    TooSmall,
    #[error("cannot be used ({0})")]
    Refused(String),
}

/// A key pair that signs.
pub struct PrivateKey {
    inner: DkimKey,
    public: PublicKey,
}

/// What receivers verify with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub algorithm: Algorithm,
    /// RSA: a DER SubjectPublicKeyInfo. Ed25519: its 32 bytes (RFC 8463 §4).
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for PrivateKey {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.public.algorithm.word())
    }
}

impl PrivateKey {
    /// Read a key: PEM, also with `\n` written out as two characters, or the base64 of its DER form in one line.
    pub fn parse(text: &str) -> Result<PrivateKey, KeyError> {
        let text = text.replace("\\n", "\n");
        if text.contains("-----BEGIN") {
            return match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
                Ok(PrivateKeyDer::Pkcs8(der)) => PrivateKey::from_pkcs8(der.secret_pkcs8_der()),
                Ok(PrivateKeyDer::Pkcs1(der)) => PrivateKey::from_pkcs1(der.secret_pkcs1_der()),
                Ok(_) => Err(KeyError::OtherKind),
                Err(_) if text.contains("ENCRYPTED") => Err(KeyError::Encrypted),
                Err(_) if text.contains("PUBLIC KEY") => Err(KeyError::Public),
                Err(_) => Err(KeyError::NotAKey),
            };
        }
        let digits: String = text.split_whitespace().collect();
        let der = BASE64.decode(digits).map_err(|_| KeyError::NotAKey)?;
        match PrivateKey::from_pkcs8(&der) {
            Err(KeyError::Refused(_) | KeyError::OtherKind) => PrivateKey::from_pkcs1(&der),
            read => read,
        }
        .map_err(|e| if let KeyError::Refused(_) = e { KeyError::NotAKey } else { e })
    }

    /// A new Ed25519 key pair, as PEM. New RSA pairs are made by openssl: no library here makes them.
    pub fn new_ed25519_pem() -> String {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).expect("the system gives random bytes");
        let der = [&ED25519_PKCS8[..], &seed].concat();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(der))
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn inner(&self) -> &DkimKey {
        &self.inner
    }

    fn from_pkcs8(der: &[u8]) -> Result<PrivateKey, KeyError> {
        if der.iter().take(24).collect::<Vec<_>>().windows(7).any(|w| w.iter().copied().eq(&ED25519_NAME)) {
            let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(der).map_err(refused)?;
            let public = PublicKey { algorithm: Algorithm::Ed25519, bytes: key.public_key() };
            return Ok(PrivateKey { inner: DkimKey::Ed25519(key), public });
        }
        PrivateKey::rsa(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)))
    }

    fn from_pkcs1(der: &[u8]) -> Result<PrivateKey, KeyError> {
        PrivateKey::rsa(PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)))
    }

    fn rsa(der: PrivateKeyDer<'_>) -> Result<PrivateKey, KeyError> {
        let key = RsaKey::<Sha256>::from_key_der(der).map_err(refused)?;
        let public = PublicKey { algorithm: Algorithm::Rsa, bytes: subject_public_key_info(&key.public_key()) };
        Ok(PrivateKey { inner: DkimKey::Rsa(key), public })
    }
}

impl PublicKey {
    /// Whether a DNS record's `p=` holds this key. RFC 6376 §3.6.1 says RSAPublicKey, its examples and everybody write
    /// SubjectPublicKeyInfo; receivers take both.
    pub fn is_published_as(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes || (self.algorithm == Algorithm::Rsa && self.bytes == subject_public_key_info(bytes))
    }
}

/// ring names what it refuses by a word.
fn refused(e: mail_auth::Error) -> KeyError {
    let words = e.to_string();
    if words.contains("TooSmall") {
        KeyError::TooSmall
    } else if words.contains("WrongAlgorithm") {
        KeyError::OtherKind
    } else {
        KeyError::Refused(words)
    }
}

/// An RSAPublicKey (RFC 8017 §A.1.1) in its usual frame (RFC 5280 §4.1).
fn subject_public_key_info(rsa_public_key: &[u8]) -> Vec<u8> {
    let bits = der(0x03, &[&[0], rsa_public_key].concat());
    der(0x30, &[&RSA_NAME[..], &bits].concat())
}

/// One DER value: tag, length, content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|b| *b != 0).unwrap_or(length.len() - 1)..];
    if content.len() >= 0x80 {
        out.push(0x80 | significant.len() as u8);
    }
    out.extend_from_slice(significant);
    out.extend_from_slice(content);
    out
}
