//! Keys and records against what openssl wrote of the same key, signatures judged by another implementation of the receiver's side.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt};

use super::*;

const RSA: &str = include_str!("tests/rsa.pem");
/// `openssl pkey -pubout -outform DER | base64` of the same.
const RSA_PUBLIC: &str = include_str!("tests/rsa.public");
/// `openssl genpkey -algorithm ED25519`.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEICvSrIllVpVqYHlHJCkxO3kbRmbrJ6fSojjnkAlVveHX\n-----END PRIVATE KEY-----\n";
/// 2026-11-24T00:30:00Z.
const AT: i64 = 1_795_480_200_000;

const MESSAGE: &str = "From: Shop <letters@shop.example.com>\r\nTo: Mia <mia@example.com>\r\nSubject: Hello,\r\n  Mia\r\n\
    Date: Tue, 24 Nov 2026 09:30:00 +0900\r\nMessage-ID: <1@shop.example.com>\r\nList-Unsubscribe: <https://mail.example.com/u/1>,\r\n \
    <mailto:a@shop.example.com>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain\r\n\r\nHello  Mia \r\n\r\n.\r\nBye\r\n\r\n\r\n";

fn signer() -> Signer {
    let key = |selector: &str, text: &str| {
        let identity = Identity { domain: "shop.example.com".into(), selector: selector.into() };
        (identity, PrivateKey::parse(text).unwrap())
    };
    Signer::new(vec![key("ed", ED25519), key("rsa", RSA)]).unwrap()
}

/// The DNS as far as a verifier of ours asks it.
struct Published(HashMap<Box<str>, Txt>);

impl ResolverCache<Box<str>, Txt> for Published {
    fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
    {
        self.0.get(name).cloned()
    }

    fn remove<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// What a receiver makes of each signature, in their order.
async fn verified(message: &str) -> Vec<bool> {
    let published = [("ed", ED25519), ("rsa", RSA)].map(|(selector, key)| {
        let record = text(PrivateKey::parse(key).unwrap().public());
        let name = format!("{}.", host(selector, "shop.example.com"));
        (name.into(), Txt::DomainKey(Arc::new(DomainKey::parse(record.as_bytes()).unwrap())))
    });
    let published = Published(published.into());
    let message = AuthenticatedMessage::parse(message.as_bytes()).unwrap();
    let receiver = MessageAuthenticator::new_google().unwrap();
    let outputs = receiver.verify_dkim(Parameters::new(&message).with_txt_cache(&published)).await;
    outputs.iter().map(|o| matches!(o.result(), DkimResult::Pass)).collect()
}

fn signed() -> String {
    String::from_utf8(signer().sign(MESSAGE.as_bytes(), AT).unwrap()).unwrap()
}

#[tokio::test]
async fn both_signatures_verify_and_survive_what_systems_on_the_way_may_do() {
    let signed = signed();
    assert_eq!(verified(&signed).await, [true, true], "{signed}");
    let folded = signed.replace("Subject: Hello,\r\n  Mia", "SUBJECT:   Hello,\tMia");
    assert_ne!(folded, signed);
    assert_eq!(verified(&folded).await, [true, true]);
    assert_eq!(verified(&format!("Received: by a relay\r\nSender: a@b.example\r\n{signed}")).await, [true, true]);
    for name in SIGNED_AS_PRESENT {
        let message = format!("{name}: ours\r\n{MESSAGE}");
        let signed = String::from_utf8(signer().sign(message.as_bytes(), AT).unwrap()).unwrap();
        assert_eq!(verified(&format!("{name}: a relay's\r\n{signed}")).await, [true, true], "{name} of a relay");
        assert_eq!(verified(&signed.replace(": ours", ": other")).await, [false, false], "ours, altered");
    }
    let one = signed.find("DKIM-Signature: v=1; a=rsa").unwrap();
    assert_eq!(verified(&signed[one..]).await, [true], "a signature stands alone");
}

#[tokio::test]
async fn whoever_changes_or_adds_a_field_breaks_both() {
    let signed = signed();
    for (from, to) in [("Hello  Mia", "Hello Ada"), ("Subject: Hello", "Subject: Hallo"), ("+0900", "+0800")] {
        assert_eq!(verified(&signed.replace(from, to)).await, [false, false], "{from} → {to}");
    }
    let present = MESSAGE.split("\r\n\r\n").next().unwrap();
    for name in SIGNED {
        let added = format!("{name}: other@example.net\r\n{signed}");
        assert_eq!(verified(&added).await, [false, false], "a {name} on top");
        let below = signed.replacen("\r\n\r\n", &format!("\r\n{name}: other@example.net\r\n\r\n"), 1);
        assert_eq!(verified(&below).await, [false, false], "a {name} below");
        let times = signed.matches(name).count() - present.matches(name).count();
        assert!(times >= 2, "{name} is in both signatures");
    }
}

#[test]
fn the_same_message_signed_again_has_the_same_bytes() {
    let again = |at| signer().sign(MESSAGE.as_bytes(), at).unwrap();
    assert_eq!(again(AT), again(AT + 999), "seconds count, not milliseconds");
    assert_ne!(again(AT), again(AT + 1_000));
    let signed = signed();
    assert_eq!(signed.matches("; t=1795480200;").count(), 2, "{signed}");
    assert!(signed.ends_with(MESSAGE));
    assert!(signed.split("\r\n").all(|line| line.len() <= 100), "{signed}");
}

/// Every set of further fields shifts where the lines of the signature break.
#[test]
fn no_signature_ends_in_a_line_of_its_own() {
    let further = ["Reply-To", "Cc", "List-Id", "Feedback-ID", "Auto-Submitted", "References"];
    for set in 0..1_u32 << further.len() {
        let fields =
            further.iter().enumerate().filter(|(i, _)| set & (1 << i) != 0).map(|(_, f)| format!("{f}: x\r\n"));
        let message = fields.collect::<String>() + MESSAGE;
        let signed = String::from_utf8(signer().sign(message.as_bytes(), AT).unwrap()).unwrap();
        assert!(!signed.contains("\r\n\t;"), "{signed}");
        assert_eq!(
            signed.matches(";\r\nDKIM-Signature: ").count() + signed.matches(&format!(";\r\n{message}")).count(),
            2
        );
    }
}

#[test]
fn records_are_what_openssl_says_of_the_key() {
    let record = text(PrivateKey::parse(RSA).unwrap().public());
    assert_eq!(record, format!("v=DKIM1; k=rsa; p={RSA_PUBLIC}"));
    let pieces = pieces(&record);
    assert_eq!(pieces.iter().map(|p| p.len()).collect::<Vec<_>>(), [255, record.len() - 255]);
    assert_eq!(pieces.concat(), record);
    assert_eq!(quoted("v=DKIM1; p=").as_str(), "\"v=DKIM1; p=\"");
    // RFC 8463 §A.2.
    let seed = "302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let der: Vec<u8> = (0..seed.len()).step_by(2).map(|i| u8::from_str_radix(&seed[i..i + 2], 16).unwrap()).collect();
    use base64::Engine as _;
    let key = PrivateKey::parse(&base64::engine::general_purpose::STANDARD.encode(der)).unwrap();
    assert_eq!(text(key.public()), "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    assert_eq!(host("brisbane", "football.example.com"), "brisbane._domainkey.football.example.com");
}

#[test]
fn a_key_is_recognised_in_its_record() {
    let key = PrivateKey::parse(RSA).unwrap();
    let key = key.public();
    let publishes = |record: &str| Record::parse(record).map(|r| r.publishes(key));
    assert_eq!(publishes(&text(key)), Ok(true));
    assert_eq!(publishes(&format!("p= {} ", RSA_PUBLIC.replace('M', " M"))), Ok(true), "white space and defaults");
    // The inner RSAPublicKey alone, which begins after the frame of 24 bytes.
    use base64::Engine as _;
    let base64 = &base64::engine::general_purpose::STANDARD;
    let inner = base64.encode(&base64.decode(RSA_PUBLIC).unwrap()[24..]);
    assert_eq!(publishes(&format!("v=DKIM1; p={inner}")), Ok(true));
    for (record, why) in [
        (format!("v=DKIM1; k=ed25519; p={RSA_PUBLIC}"), "another kind"),
        (format!("v=DKIM1; s=tlsrpt; p={RSA_PUBLIC}"), "not for mail"),
        (format!("v=DKIM1; h=sha1; p={RSA_PUBLIC}"), "another hash"),
        ("v=DKIM1; p=".to_owned(), "withdrawn"),
        (text(PrivateKey::parse(ED25519).unwrap().public()), "another key"),
    ] {
        assert_eq!(publishes(&record), Ok(false), "{why}");
    }
    let small = PrivateKey::parse(ED25519).unwrap();
    let padded = text(small.public());
    let unpadded = padded.strip_suffix('=').unwrap();
    assert_eq!(Record::parse(unpadded).map(|r| r.publishes(small.public())), Ok(true), "RFC 6376 §2.10");
    assert_eq!(publishes(&format!("v=DKIM1; p=; p={RSA_PUBLIC}")), Err(RecordFault::Twice("p".into())));
    assert_eq!(publishes("v=DKIM1; k=rsa"), Err(RecordFault::NoKey));
    assert_eq!(publishes("p=a; v=DKIM1"), Err(RecordFault::NotBase64));
    assert_eq!(publishes("k=rsa; v=DKIM1; p="), Err(RecordFault::Version));
    assert_eq!(publishes("hello"), Err(RecordFault::NotATag("hello".into())));
    let testing = Record::parse("v=DKIM1; t=y:s; p=").unwrap();
    assert!(testing.testing && testing.strict);
}

#[test]
fn keys_come_in_several_writings_and_others_are_told_apart() {
    let one_line = RSA.replace('\n', "\\n");
    let bare: String = RSA.lines().filter(|l| !l.starts_with('-')).collect();
    for text in [RSA, &one_line, &bare, ED25519] {
        PrivateKey::parse(text).unwrap();
    }
    let made = PrivateKey::new_ed25519_pem();
    assert_eq!(PrivateKey::parse(&made).unwrap().public().algorithm, Algorithm::Ed25519);
    assert_ne!(PrivateKey::new_ed25519_pem(), made);
    let public = format!("-----BEGIN PUBLIC KEY-----\n{RSA_PUBLIC}\n-----END PUBLIC KEY-----\n");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    // openssl genpkey -algorithm X25519, and -algorithm RSA -pkeyopt rsa_keygen_bits:1024.
    let x25519 = "MC4CAQAwBQYDK2VuBCIEIEAkWOpBdZ0lLcmviIneMxx2Djy4CJUf+yAA2qPRqh9a";
    let small = include_str!("tests/rsa1024.pem");
    for (text, why) in [
        ("hunter2", KeyError::NotAKey),
        ("", KeyError::NotAKey),
        ("AAAA", KeyError::NotAKey),
        (&public, KeyError::Public),
        (encrypted, KeyError::Encrypted),
        (&format!("-----BEGIN PRIVATE KEY-----\n{x25519}\n-----END PRIVATE KEY-----\n"), KeyError::OtherKind),
        (small, KeyError::TooSmall),
    ] {
        assert_eq!(PrivateKey::parse(text).unwrap_err(), why, "{text}");
    }
    assert_eq!(format!("{:?}", PrivateKey::parse(ED25519).unwrap()), "PrivateKey(ed25519)");
}

#[test]
fn names_are_dns_names() {
    for (name, good) in [
        ("mail2026", true),
        ("s1._x.mail", true),
        ("a", true),
        ("", false),
        ("a..b", false),
        ("-a", false),
        ("a b", false),
        ("a;b", false),
        ("é", false),
        ("a\r\nb", false),
    ] {
        assert_eq!(is_name(name), good, "{name:?}");
    }
    assert!(!is_name(&"a".repeat(64)) && !is_name(&["abc"; 70].join(".")));
}
