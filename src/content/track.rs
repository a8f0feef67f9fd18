//! Links while a mail is rendered: where they may lead, what campaign they say they belong to, and whether they go through the shop's own
//! redirect so that a click is seen.
//!
//! A link's destination can come from data, so every one is judged here: what is not the web, mail or a telephone leads nowhere.

use std::borrow::Cow;

use super::plain::{self, decoded};
use crate::token::Clicks;

/// Longest destination that goes through the redirect, in bytes: the link is longer by half, and must fit where links do.
const TRACKED_BYTES_MAX: usize = 1_500;

/// Where the links of one message lead.
#[derive(Clone, Default)]
pub(super) struct Trail {
    /// Where the redirect is, without a slash at the end. `None`: links stay direct.
    pub redirect: Option<(String, Clicks)>,
    /// Addresses of the shop's own pages begin so, and are never redirected.
    pub own_pages: Option<String>,
    /// `utm_source=…&utm_campaign=…`; empty for none.
    pub utm: String,
}

impl Trail {
    /// Write what an `href` becomes. Takes and gives the text as it stands inside the quotes, escaped.
    pub(super) fn link(&self, out: &mut String, escaped: &str, number: u32, tracked: bool) {
        let url = decoded(escaped);
        let url = url.trim();
        match scheme(url) {
            Leads::Web if tracked && !self.is_own(url) => {}
            Leads::Nowhere => return out.push('#'),
            _ => return out.push_str(escaped),
        }
        if self.redirect.is_none() && self.utm.is_empty() {
            return out.push_str(escaped);
        }
        let url = with_utm(url, &self.utm);
        match &self.redirect {
            Some((base, clicks)) if url.len() <= TRACKED_BYTES_MAX => {
                out.push_str(base);
                out.push_str("/c/");
                clicks.write_token(out, number, &url);
            }
            _ => out.push_str(&plain::escaped(&url)),
        }
    }

    fn is_own(&self, url: &str) -> bool {
        self.own_pages.as_ref().is_some_and(|own| {
            let page = url.strip_prefix(own.as_str()).unwrap_or_default();
            ["/u/", "/p/", "/a/"].iter().any(|begins| page.starts_with(begins))
        })
    }
}

/// What the `src` of a picture becomes: itself, or nothing when it is no address of a picture. Takes and gives the text inside the quotes.
pub(super) fn picture(escaped: &str) -> &str {
    let url = decoded(escaped);
    let begins = |with: &str| url.trim_start().get(..with.len()).is_some_and(|t| t.eq_ignore_ascii_case(with));
    match scheme(&url) {
        Leads::Nowhere if begins("cid:") || begins("data:image/") => escaped,
        Leads::Nowhere => "#",
        _ => escaped,
    }
}

/// Where an address leads, by its scheme.
enum Leads {
    /// http, https.
    Web,
    /// mailto, tel, sms, a place in the mail, nothing at all, or a relative address.
    Elsewhere,
    /// A scheme that has no business in a mail (`javascript:`, `data:`, …).
    Nowhere,
}

fn scheme(url: &str) -> Leads {
    if url.len() > "https://".len() && (url.starts_with("https://") || url.starts_with("http://")) {
        return Leads::Web; // as below; nearly every link
    }
    // Browsers pass over control characters and white space inside a scheme.
    let seen: String = url.chars().filter(|c| !c.is_control() && !c.is_whitespace()).take(40).collect();
    let Some((scheme, _)) = seen.split_once(':') else { return Leads::Elsewhere };
    // A character reference that stands for no character of text: browsers may read what follows it alone.
    if scheme.contains("&#") {
        return Leads::Nowhere;
    }
    if scheme.contains(['/', '?', '#']) {
        return Leads::Elsewhere;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" if seen.len() > scheme.len() + 1 => Leads::Web,
        "mailto" | "tel" | "sms" => Leads::Elsewhere,
        _ => Leads::Nowhere,
    }
}

/// An address with the campaign's parameters; those it has already stay its own.
fn with_utm<'a>(url: &'a str, utm: &str) -> Cow<'a, str> {
    if utm.is_empty() {
        return url.into();
    }
    let (address, fragment) = url.split_once('#').map_or((url, None), |(a, f)| (a, Some(f)));
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let own: Vec<String> = query.split('&').map(name).collect();
    let mut pairs: Vec<&str> = query.split('&').filter(|p| !p.is_empty()).collect();
    pairs.extend(utm.split('&').filter(|p| !own.contains(&name(p))));
    let fragment = fragment.map_or(String::new(), |f| format!("#{f}"));
    format!("{path}?{}{fragment}", pairs.join("&")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{MessageKey, Tokens};

    fn trail(redirect: bool, utm: &str) -> Trail {
        let key = MessageKey {
            customer_id: "c".into(),
            campaign: "a".into(),
            step: "s".into(),
            slot: "o".into(),
            topic: "t".into(),
        };
        let base = "https://mail.example.com".to_owned();
        let clicks = Tokens::new("a secret of the project").clicks(&key);
        Trail { redirect: redirect.then(|| (base.clone(), clicks)), own_pages: Some(base), utm: utm.into() }
    }

    fn led(trail: &Trail, url: &str, number: u32, tracked: bool) -> String {
        let mut out = String::new();
        trail.link(&mut out, url, number, tracked);
        out
    }

    #[test]
    fn links_stay_as_they_are_when_nothing_is_asked() {
        for url in [
            "https://example.com/?a=1&amp;b=2",
            " https://example.com ",
            "mailto:a@example.com",
            "#top",
            "",
            "/x",
            "HTTPS://e.example",
        ] {
            assert_eq!(led(&trail(false, ""), url, 0, true), url);
        }
    }

    #[test]
    fn hostile_destinations_lead_nowhere() {
        for url in [
            "javascript:alert(1)",
            "JaVa\nScript:alert(1)",
            " data:text/html,x",
            "vbscript:x",
            "java&#115;cript:x",
            "file:///etc",
            "http:",
            "&#x1;javascript:x",
        ] {
            for redirect in [false, true] {
                assert_eq!(led(&trail(redirect, "utm_source=x"), url, 0, true), "#", "{url}");
                assert_eq!(led(&trail(redirect, ""), url, 0, false), "#", "{url}");
            }
        }
    }

    #[test]
    fn pictures_come_from_the_web_or_the_mail_itself() {
        for good in ["https://example.com/a.png?x=1&amp;y=2", "/a.png", "cid:logo", "data:image/png;base64,AA", ""] {
            assert_eq!(picture(good), good);
        }
        for bad in ["javascript:alert(1)", "data:text/html,x", " java\tscript:x", "file:///etc/passwd"] {
            assert_eq!(picture(bad), "#", "{bad}");
        }
    }

    #[test]
    fn tracked_links_are_signed_with_their_parameters() {
        let tracked = led(
            &trail(true, "utm_source=okaeri&utm_campaign=a"),
            "https://example.com/p?x=1&amp;utm_source=own#part",
            3,
            true,
        );
        let token = tracked.strip_prefix("https://mail.example.com/c/").unwrap();
        let (_, link) = Tokens::new("a secret of the project").open_click(token).unwrap();
        assert_eq!(
            (link.number, link.url.as_str()),
            (3, "https://example.com/p?x=1&utm_source=own&utm_campaign=a#part")
        );
        let trail = trail(true, "utm_source=okaeri");
        for untouched in [
            "https://mail.example.com/u/token",
            "https://mail.example.com/p/token",
            "https://mail.example.com/a/token",
            "tel:1",
            "mailto:x@example.com",
        ] {
            assert_eq!(led(&trail, untouched, 1, true), untouched);
        }
        assert_eq!(led(&trail, "https://example.com/", 1, false), "https://example.com/");
        let long = format!("https://example.com/{}", "x".repeat(2_000));
        assert_eq!(led(&trail, &long, 1, true), format!("{long}?utm_source=okaeri"));
    }
}
