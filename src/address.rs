//! E-mail addresses: parse, canonical key, mailbox-provider family.
//!
//! Accepts what real mail systems deliver: dot-atom local parts, ASCII or UTF-8 (RFC 6531), with DNS domains. Quoted local parts,
//! comments and address literals are legal in RFC 5322 and unusable in a shop's list; they are refused.

use std::fmt;

/// RFC 5321 §4.5.3.1: octets of the local part, the domain, and the whole (less the two angle brackets of a path).
const LOCAL_OCTETS_MAX: usize = 64;
const DOMAIN_OCTETS_MAX: usize = 253;
const ADDRESS_OCTETS_MAX: usize = 254;

/// A usable address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    local: String,
    /// ASCII (A-labels), lower case.
    domain: String,
}

/// Why a text is not a usable address; reads after the address in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("is empty")]
    Empty,
    #[error("has no @")]
    NoAt,
    #[error("holds a character that may not stand in an address")]
    Character,
    #[error("begins, ends or repeats a dot before the @")]
    Dots,
    #[error("has a domain that is not a DNS name")]
    Domain,
    #[error("is longer than mail systems accept")]
    Length,
}

impl Address {
    /// Parse an address; white space around it is dropped.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        if local.is_empty() || local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err(AddressError::Dots);
        }
        if !local.chars().all(is_atext_or_dot) {
            return Err(AddressError::Character);
        }
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| AddressError::Domain)?;
        if !is_dns_name(&domain) {
            return Err(AddressError::Domain);
        }
        if local.len() > LOCAL_OCTETS_MAX
            || domain.len() > DOMAIN_OCTETS_MAX
            || local.len() + 1 + domain.len() > ADDRESS_OCTETS_MAX
        {
            return Err(AddressError::Length);
        }
        Ok(Address { local: local.to_owned(), domain })
    }

    /// The canonical key: one per mailbox as far as anyone but its provider can tell. The local part is lower-cased (no provider in use
    /// tells `Mia@` from `mia@`); dots and +tags are kept, because only some providers ignore them.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }

    /// The domain, ASCII and lower case.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether delivery needs SMTPUTF8 (RFC 6531): the local part is not ASCII.
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii()
    }

    /// The mailbox provider, by well-known domain; see [`family_of`].
    pub fn family(&self) -> &'static str {
        family_of(&self.domain)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// RFC 5322 §3.2.3 atext, the dot, and RFC 6531 UTF8-non-ascii without controls, spaces and other separators.
fn is_atext_or_dot(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
    } else {
        c.is_alphanumeric()
            || !(c.is_control() || c.is_whitespace() || ('\u{2000}'..='\u{206f}').contains(&c) || c == '\u{feff}')
    }
}

fn is_dns_name(domain: &str) -> bool {
    domain.contains('.')
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
        && !domain.rsplit('.').next().is_some_and(|tld| tld.bytes().all(|b| b.is_ascii_digit()))
}

/// Every family there is.
pub const FAMILIES: [&str; 11] =
    ["gmail", "outlook", "yahoo", "icloud", "gmx", "docomo", "au", "softbank", "rakuten", "yahoo_jp", "other"];

/// The family of a domain, one of [`FAMILIES`]: the systems that share one reputation and one set of limits.
pub fn family_of(domain: &str) -> &'static str {
    match domain {
        "gmail.com" | "googlemail.com" => "gmail",
        "icloud.com" | "me.com" | "mac.com" => "icloud",
        "docomo.ne.jp" => "docomo",
        "ezweb.ne.jp" | "au.com" => "au",
        "softbank.ne.jp" | "i.softbank.jp" | "disney.ne.jp" => "softbank",
        "rakuten.jp" | "rakumail.jp" => "rakuten",
        "aol.com" | "ymail.com" | "rocketmail.com" => "yahoo",
        "web.de" | "mail.com" => "gmx",
        _ => {
            let first = domain.split('.').next().unwrap_or_default();
            match first {
                "outlook" | "hotmail" | "live" | "msn" => "outlook",
                "gmx" => "gmx",
                "yahoo" => {
                    // Yahoo! Japan is a company and a mail system of its own.
                    if domain == "yahoo.co.jp" { "yahoo_jp" } else { "yahoo" }
                }
                _ if domain.ends_with(".vodafone.ne.jp") => "softbank",
                _ => "other",
            }
        }
    }
}

/// An address fit for lists and logs that others read: `m…@example.com`.
pub fn masked(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}…@{domain}", local.chars().next().unwrap_or('…')),
        None => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_unite_what_is_one_mailbox() {
        let key = |t| Address::parse(t).unwrap().key();
        assert_eq!(key(" Mia@Example.COM "), "mia@example.com");
        assert_eq!(key("mia+shop@example.com"), "mia+shop@example.com");
        assert_eq!(key("mia@bücher.example"), "mia@xn--bcher-kva.example");
        assert_eq!(key("美佳@example.jp"), "美佳@example.jp");
        assert!(Address::parse("美佳@example.jp").unwrap().needs_smtputf8());
    }

    #[test]
    fn unusable_addresses_say_why() {
        for (text, why) in [
            ("", AddressError::Empty),
            ("mia", AddressError::NoAt),
            (".mia@example.com", AddressError::Dots),
            ("m..ia@example.com", AddressError::Dots),
            ("@example.com", AddressError::Dots),
            ("mi a@example.com", AddressError::Character),
            ("mia\r\nBcc: x@example.com", AddressError::Character),
            ("\"mia\"@example.com", AddressError::Character),
            ("mia\u{2028}@example.com", AddressError::Character),
            ("a@b@example.com", AddressError::Character),
            ("mia@localhost", AddressError::Domain),
            ("mia@[127.0.0.1]", AddressError::Domain),
            ("mia@127.0.0.1", AddressError::Domain),
            ("mia@exa_mple.com", AddressError::Domain),
            ("mia@-a.com", AddressError::Domain),
        ] {
            assert_eq!(Address::parse(text).err(), Some(why), "{text:?}");
        }
        assert_eq!(Address::parse(&format!("{}@example.com", "a".repeat(65))).err(), Some(AddressError::Length));
    }

    #[test]
    fn families_follow_the_mail_system() {
        for (domain, family) in [
            ("gmail.com", "gmail"),
            ("hotmail.co.uk", "outlook"),
            ("yahoo.co.jp", "yahoo_jp"),
            ("yahoo.de", "yahoo"),
            ("ezweb.ne.jp", "au"),
            ("example.com", "other"),
        ] {
            assert_eq!(family_of(domain), family);
        }
        // Each has a domain of its own, and no domain leads to another.
        let domains = [
            "gmail.com",
            "live.com",
            "aol.com",
            "me.com",
            "web.de",
            "docomo.ne.jp",
            "au.com",
            "t.vodafone.ne.jp",
            "rakuten.jp",
            "yahoo.co.jp",
            "example.com",
        ];
        assert_eq!(domains.map(family_of), FAMILIES);
    }

    #[test]
    fn masking_keeps_no_name() {
        assert_eq!(masked("mia.berg@example.com"), "m…@example.com");
        assert_eq!(masked("不@x"), "不…@x");
    }
}
