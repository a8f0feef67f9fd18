//! Tokens: what we sign and later recognise — unsubscribe links, clicks, answers, return paths (VERP), Message-IDs.
//!
//! HMAC-SHA-256 (RFC 2104) with one derived key per purpose, so that a token of one kind is never valid as another. Tags are cut to
//! 128 bits, return paths to 80. Tokens carry no personal data beyond the customer_id that the link must name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac;

/// Shortest secret accepted, in characters.
pub const SECRET_CHARS_MIN: usize = 16;
/// Longest token read, in characters.
const TOKEN_CHARS_MAX: usize = 2_048;
/// Longest token of a click, in characters: it holds an address.
const CLICK_CHARS_MAX: usize = 8_192;

/// Signs and verifies with the keys derived from one secret.
#[derive(Clone)]
pub struct Tokens {
    link: hmac::Key,
    bounce: hmac::Key,
    message_id: hmac::Key,
    click: hmac::Key,
    answer: hmac::Key,
}

/// One message, as a link names it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MessageKey {
    #[serde(rename = "u")]
    pub customer_id: String,
    #[serde(rename = "c")]
    pub campaign: String,
    #[serde(rename = "s")]
    pub step: String,
    #[serde(rename = "o")]
    pub slot: String,
    #[serde(rename = "t")]
    pub topic: String,
}

/// Where the ledger keeps a message: what a return path carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerKey {
    pub bucket: i64,
    pub chunk_id: i64,
    pub seq: i64,
}

impl Tokens {
    /// Keys from the project's secret.
    pub fn new(secret: &str) -> Tokens {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let derive = |purpose: &str| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, purpose.as_bytes()).as_ref());
        Tokens {
            link: derive("okaeri link v1"),
            bounce: derive("okaeri return path v1"),
            message_id: derive("okaeri message-id v1"),
            click: derive("okaeri click v1"),
            answer: derive("okaeri answer v1"),
        }
    }

    /// The token of a message's links (unsubscribe, preferences).
    pub fn link(&self, key: &MessageKey) -> String {
        let body = serde_json::to_vec(key).expect("strings serialise");
        let tag = hmac::sign(&self.link, &body);
        format!("{}.{}", BASE64.encode(&body), BASE64.encode(&tag.as_ref()[..16]))
    }

    /// The message a link's token names, when the token is ours and unaltered.
    pub fn open_link(&self, token: &str) -> Option<MessageKey> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let (body, tag) = token.split_once('.')?;
        let body = BASE64.decode(body).ok()?;
        let tag = BASE64.decode(tag).ok()?;
        verify_cut(&self.link, &body, &tag, 16).then(|| serde_json::from_slice(&body).ok()).flatten()
    }

    /// What signs the clicks and answers of one message.
    pub fn clicks(&self, key: &MessageKey) -> Clicks {
        let body = serde_json::to_vec(key).expect("strings serialise");
        let mut context = hmac::Context::with_key(&self.click);
        let body = BASE64.encode(&body);
        context.update(body.as_bytes());
        context.update(b".");
        Clicks { body, context, answer: self.answer.clone() }
    }

    /// The message and the link that a click's token names, when the token is ours and unaltered.
    pub fn open_click(&self, token: &str) -> Option<(MessageKey, Link)> {
        if token.len() > CLICK_CHARS_MAX {
            return None;
        }
        let (signed, tag) = token.rsplit_once('.')?;
        let tag = BASE64.decode(tag).ok()?;
        if !verify_cut(&self.click, signed.as_bytes(), &tag, 16) {
            return None;
        }
        let (body, link) = signed.split_once('.')?;
        let key = serde_json::from_slice(&BASE64.decode(body).ok()?).ok()?;
        let link = String::from_utf8(BASE64.decode(link).ok()?).ok()?;
        let (number, url) = link.split_once(' ')?;
        Some((key, Link { number: number.parse().ok()?, url: url.to_owned() }))
    }

    /// The message and the answer that a token names, when the token is ours and unaltered.
    pub fn open_answer(&self, token: &str) -> Option<(MessageKey, Answer)> {
        if token.len() > CLICK_CHARS_MAX {
            return None;
        }
        let (signed, tag) = token.rsplit_once('.')?;
        if !verify_cut(&self.answer, signed.as_bytes(), &BASE64.decode(tag).ok()?, 16) {
            return None;
        }
        let (body, answer) = signed.split_once('.')?;
        let key = serde_json::from_slice(&BASE64.decode(body).ok()?).ok()?;
        Some((key, serde_json::from_slice(&BASE64.decode(answer).ok()?).ok()?))
    }

    /// The local part of a message's return path: `b-BUCKET-CHUNK-SEQ-TAG` in base 36.
    pub fn return_path(&self, key: LedgerKey) -> String {
        let body = format!("b-{}-{}-{}", base36(key.bucket), base36(key.chunk_id), base36(key.seq));
        let tag = hmac::sign(&self.bounce, body.as_bytes());
        let tag = tag.as_ref()[..8].iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
        format!("{body}-{}", base36_u64(tag))
    }

    /// The message a return path names, when it is ours and unaltered. Case is ignored: some systems change it.
    pub fn open_return_path(&self, local_part: &str) -> Option<LedgerKey> {
        let lower = local_part.to_ascii_lowercase();
        let mut parts = lower.strip_prefix("b-")?.split('-');
        let mut number = || i64::from_str_radix(parts.next()?, 36).ok();
        let key = LedgerKey { bucket: number()?, chunk_id: number()?, seq: number()? };
        // Signing again and comparing is constant enough: the tag is not a secret an attacker could learn byte by byte through mail.
        (self.return_path(key) == lower).then_some(key)
    }

    /// The left side of a message's Message-ID: 128 bits, hexadecimal. The same message always has the same.
    pub fn message_id(&self, campaign: &str, step: &str, slot: &str, customer_id: &str) -> String {
        let mut context = hmac::Context::with_key(&self.message_id);
        for part in [campaign, step, slot, customer_id] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        tag.as_ref()[..16].iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// A link of a mail: which one, and where it leads. Signed together with the message, so a click redirects nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its place in the template.
    pub number: u32,
    pub url: String,
}

/// An answer that a mail offers: one number of a scale. Its link proposes it, and the page behind it asks before it counts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// The event it becomes: `survey.nps`.
    #[serde(rename = "e")]
    pub event: String,
    #[serde(rename = "n")]
    pub score: u8,
    /// The end of the scale.
    #[serde(rename = "m")]
    pub of: u8,
    /// The product it is about.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
}

impl Answer {
    /// All numbers of the scale: a scale of ten begins with 0, as that of the Net Promoter Score does, any other with 1.
    pub fn scale(&self) -> std::ops::RangeInclusive<u8> {
        u8::from(self.of != 10)..=self.of
    }
}

/// Signs the clicks and answers of one message; the message's part is signed once for all of its clicks.
#[derive(Clone)]
pub struct Clicks {
    body: String,
    context: hmac::Context,
    answer: hmac::Key,
}

impl std::fmt::Debug for Clicks {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clicks").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Clicks {
    /// The token of a click: `MESSAGE.LINK.TAG`.
    pub fn token(&self, number: u32, url: &str) -> String {
        let mut out = String::new();
        self.write_token(&mut out, number, url);
        out
    }

    /// [`Clicks::token`], written where it belongs.
    pub fn write_token(&self, out: &mut String, number: u32, url: &str) {
        out.push_str(&self.body);
        out.push('.');
        let start = out.len();
        BASE64.encode_string(format!("{number} {url}"), out);
        let mut context = self.context.clone();
        context.update(&out.as_bytes()[start..]);
        out.push('.');
        BASE64.encode_string(&context.sign().as_ref()[..16], out);
    }
}

impl Clicks {
    /// The token of an answer: `MESSAGE.ANSWER.TAG`.
    pub fn answer(&self, answer: &Answer) -> String {
        let answer = serde_json::to_vec(answer).expect("strings and numbers serialise");
        let signed = format!("{}.{}", self.body, BASE64.encode(answer));
        let tag = hmac::sign(&self.answer, signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(&tag.as_ref()[..16]))
    }
}

fn verify_cut(key: &hmac::Key, body: &[u8], tag: &[u8], bytes: usize) -> bool {
    if tag.len() != bytes {
        return false;
    }
    let ours = hmac::sign(key, body);
    // Every byte is compared, whatever the first difference.
    ours.as_ref()[..bytes].iter().zip(tag).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

fn base36(n: i64) -> String {
    base36_u64(n.unsigned_abs())
}

fn base36_u64(mut n: u64) -> String {
    let mut digits = Vec::with_capacity(13);
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(n % 36) as usize]);
        n /= 36;
        if n == 0 {
            break;
        }
    }
    digits.iter().rev().map(|b| char::from(*b)).collect()
}

/// A random number below 2^62, for ids that must differ between processes.
pub fn random() -> i64 {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 8];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    (u64::from_be_bytes(bytes) >> 2) as i64
}

/// A random number below `n`, each as likely as the others.
pub fn random_below(n: u64) -> u64 {
    const ALL: u64 = 1 << 62;
    loop {
        // What lies in the last, shorter stretch would come once too often.
        let drawn = random().unsigned_abs();
        if drawn < ALL - ALL % n {
            return drawn % n;
        }
    }
}

/// A random token of 16 hexadecimal digits, for leases and commits.
pub fn random_token() -> String {
    format!("{:016x}", random())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MessageKey {
        MessageKey {
            customer_id: "顧客-1".into(),
            campaign: "win-back".into(),
            step: "letter".into(),
            slot: "2026-11-24".into(),
            topic: "offers".into(),
        }
    }

    #[test]
    fn links_open_only_unaltered_and_only_with_the_key() {
        let tokens = Tokens::new("a secret of the project");
        let token = tokens.link(&key());
        assert_eq!(tokens.open_link(&token), Some(key()));
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{token}");
        assert_eq!(Tokens::new("another secret").open_link(&token), None);
        for i in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            // The last digit of base64 may hold unused bits; the decoder refuses those too.
            assert_eq!(tokens.open_link(&String::from_utf8(bytes).unwrap()), None, "digit {i}");
        }
        for hostile in ["", ".", "a.b", &"x".repeat(1 << 20)] {
            assert_eq!(tokens.open_link(hostile), None);
        }
    }

    #[test]
    fn clicks_lead_only_where_they_were_signed_to() {
        let tokens = Tokens::new("a secret of the project");
        let url = "https://www.example.com/茶?a=1&b=2 3";
        let token = tokens.clicks(&key()).token(7, url);
        assert_eq!(tokens.open_click(&token), Some((key(), Link { number: 7, url: url.into() })));
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{token}");
        assert_eq!(tokens.open_link(&token), None, "a click's token is no other kind of token");
        assert_eq!(tokens.open_click(&tokens.link(&key())), None);
        let other =
            tokens.clicks(&MessageKey { customer_id: "c-2".into(), ..key() }).token(7, "https://evil.example.net/");
        let parts = |t: &str| t.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (ours, theirs) = (parts(&token), parts(&other));
        for forged in [
            format!("{}.{}.{}", ours[0], theirs[1], ours[2]),
            format!("{}.{}.{}", ours[0], theirs[1], theirs[2]),
            format!("{}.{}.", ours[0], ours[1]),
            "..".to_owned(),
            String::new(),
        ] {
            assert_eq!(tokens.open_click(&forged), None, "{forged}");
        }
    }

    #[test]
    fn answers_open_only_unaltered_and_as_nothing_else() {
        let tokens = Tokens::new("a secret of the project");
        let answer = Answer { event: "survey.nps".into(), score: 0, of: 10, sku: None };
        let token = tokens.clicks(&key()).answer(&answer);
        assert_eq!(tokens.open_answer(&token), Some((key(), answer.clone())));
        assert_eq!(tokens.open_click(&token), None, "an answer's token is no other kind of token");
        assert_eq!(tokens.open_link(&token), None);
        assert_eq!(tokens.open_answer(&tokens.clicks(&key()).token(7, "https://example.com/")), None);
        for i in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens.open_answer(&String::from_utf8(bytes).unwrap()), None, "digit {i}");
        }
        let stars = Answer { event: "review.given".into(), score: 4, of: 5, sku: Some("茶-1".into()) };
        assert_eq!(tokens.open_answer(&tokens.clicks(&key()).answer(&stars)).unwrap().1, stars);
        assert_eq!((answer.scale(), stars.scale()), (0..=10, 1..=5));
        for hostile in ["", "..", &"x".repeat(1 << 20)] {
            assert_eq!(tokens.open_answer(hostile), None);
        }
    }

    #[test]
    fn return_paths_fit_a_local_part_and_survive_upper_case() {
        let tokens = Tokens::new("a secret of the project");
        let key = LedgerKey { bucket: 1023, chunk_id: i64::MAX, seq: 499 };
        let path = tokens.return_path(key);
        assert!(path.len() <= 64, "{path}");
        assert_eq!(tokens.open_return_path(&path.to_uppercase()), Some(key));
        assert_eq!(tokens.open_return_path(&path.replacen("-dv", "-dw", 1)), None);
        assert_eq!(tokens.open_return_path("b---"), None);
    }

    #[test]
    fn message_ids_are_pinned() {
        let tokens = Tokens::new("a secret of the project");
        let id = tokens.message_id("win-back", "letter", "2026-11-24", "c-1");
        assert_eq!(id.len(), 32);
        assert_eq!(id, tokens.message_id("win-back", "letter", "2026-11-24", "c-1"));
        assert_ne!(id, tokens.message_id("win-backl", "etter", "2026-11-24", "c-1"));
    }
}
