//! The address of a mail server: `smtp://user:password@host:587`, `smtps://host`, and how TLS follows from it.

use url::{Host, Url};

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (RFC 8314 §3.3, port 465).
    Implicit,
    /// STARTTLS, and nothing is sent without it (RFC 3207).
    Required,
    /// None; only to this machine itself.
    None,
}

/// A mail server.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpUrl {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub login: Option<(String, String)>,
}

impl std::fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for SmtpUrl {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls == Tls::Implicit { "smtps" } else { "smtp" };
        let login = self.login.as_ref().map(|(u, _)| format!("{u}@")).unwrap_or_default();
        write!(f, "{scheme}://{login}{}:{}", self.host, self.port)
    }
}

impl SmtpUrl {
    /// Read an address. The error is the message of a problem.
    pub fn parse(text: &str) -> Result<SmtpUrl, String> {
        let url = Url::parse(text)
            .map_err(|e| format!("not an address of a mail server ({e}): smtp://host:port or smtps://host"))?;
        let implicit = match url.scheme() {
            "smtps" => true,
            "smtp" => false,
            other => return Err(format!("`{other}://` is not a mail server: smtp:// or smtps://")),
        };
        let host = match url.host() {
            Some(Host::Domain(d)) if !d.is_empty() => d.to_owned(),
            Some(Host::Ipv4(a)) => a.to_string(),
            Some(Host::Ipv6(a)) => a.to_string(),
            _ => return Err("the address of the mail server has no host".to_owned()),
        };
        let loopback = is_loopback(&host);
        let mut tls = if implicit {
            Tls::Implicit
        } else if loopback {
            Tls::None
        } else {
            Tls::Required
        };
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("tls", "required") if !implicit => tls = Tls::Required,
                ("tls", "required") => {}
                ("tls", "none") if loopback && !implicit => tls = Tls::None,
                ("tls", "none") => return Err("mail to another machine is only sent over TLS".to_owned()),
                _ => return Err(format!("`?{key}={value}` is not understood; known: tls=required, tls=none")),
            }
        }
        let decode =
            |s: &str| percent_decoded(s).ok_or("the login of the mail server is not percent-encoded UTF-8".to_owned());
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) => Some((decode(user)?, decode(password)?)),
            (_, None) => return Err("the mail server's address has a user but no password".to_owned()),
        };
        let port = url.port().unwrap_or(if implicit { 465 } else { 587 });
        Ok(SmtpUrl { host, port, tls, login })
    }

    /// Whether this is the machine itself.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback())
}

fn percent_decoded(s: &str) -> Option<String> {
    let mut out = Vec::with_capacity(s.len());
    let mut bytes = s.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_follows_from_the_address() {
        let tls = |t| SmtpUrl::parse(t).map(|s| s.tls);
        assert_eq!(tls("smtps://mail.example.com"), Ok(Tls::Implicit));
        assert_eq!(tls("smtp://mail.example.com"), Ok(Tls::Required));
        assert_eq!(tls("smtp://127.0.0.1:2525"), Ok(Tls::None));
        assert_eq!(tls("smtp://localhost:2525?tls=required"), Ok(Tls::Required));
        assert!(tls("smtp://mail.example.com?tls=none").is_err());
        assert!(tls("http://mail.example.com").is_err());
        assert!(tls("mail.example.com").is_err());
        assert!(tls("smtp://user@mail.example.com").is_err());
    }

    #[test]
    fn logins_are_decoded_and_never_shown() {
        let s = SmtpUrl::parse("smtps://shop%40example.com:p%2Fw@mail.example.com").unwrap();
        assert_eq!(s.login, Some(("shop@example.com".into(), "p/w".into())));
        assert_eq!(format!("{s:?}"), "smtps://shop@example.com@mail.example.com:465");
    }
}
