//! Where links lead.

use super::page::Element;
use super::{Mail, Told};
use crate::problem::Place;

/// Services that hide where a link leads; filters distrust them, because spam hides there.
pub(super) const SHORTENERS: [&str; 20] = [
    "bit.ly",
    "bitly.com",
    "buff.ly",
    "cutt.ly",
    "goo.gl",
    "is.gd",
    "j.mp",
    "lnkd.in",
    "ow.ly",
    "p.tl",
    "rb.gy",
    "rebrand.ly",
    "s.id",
    "shorturl.at",
    "t.co",
    "t.ly",
    "tiny.cc",
    "tinyurl.com",
    "v.gd",
    "x.gd",
];

pub(super) fn lint(mail: &Mail<'_>, told: &mut Told<'_>) {
    for element in &mail.page.elements {
        for (attribute, address) in addresses(element) {
            let address = address.trim();
            let host = url::Url::parse(address).ok().and_then(|u| u.host_str().map(str::to_lowercase));
            let host = host.as_deref().map(|h| h.strip_prefix("www.").unwrap_or(h));
            if attribute == "href" && matches!(address, "" | "#") {
                told.tell(
                    "empty-link",
                    &element.place,
                    "a link that leads nowhere".to_owned(),
                    "write where it leads, or take the link away",
                );
            }
            unencrypted(address, &element.place, told);
            if let Some(host) = host.filter(|h| attribute == "href" && SHORTENERS.contains(h)) {
                told.tell(
                    "link-shortener",
                    &element.place,
                    format!("`{host}` hides where the link leads, and spam filters distrust it"),
                    "the address itself; clicks are counted without a shortener",
                );
            }
        }
        if element.name == "script" {
            told.tell(
                "script",
                &element.place,
                "no mail program runs a script, and filters distrust mails that carry one".to_owned(),
                "take it away; what has to happen happens on the page that a link leads to",
            );
        }
        for address in element.attribute("style").into_iter().flat_map(in_styles) {
            unencrypted(address, &element.place, told);
        }
    }
    for (text, within) in &mail.page.hidden {
        let place = within.map_or(&mail.parts.body, |w| &mail.page.elements[w].place);
        for address in in_styles(text).into_iter().chain(in_comment(text)) {
            unencrypted(address, place, told);
        }
    }
}

/// A link or a picture that anybody on the way can read and change.
fn unencrypted(address: &str, place: &Place, told: &mut Told<'_>) {
    let address = address.trim();
    let begins = address.get(..7).is_some_and(|b| b.eq_ignore_ascii_case("http://"));
    let host = url::Url::parse(address).ok().and_then(|u| u.host_str().map(str::to_lowercase));
    if begins && host.is_some_and(|h| h != "localhost") {
        told.tell(
            "http-link",
            place,
            format!("`{address}` is not encrypted"),
            "https:// in place of http://; mail programs block or warn",
        );
    }
}

/// The addresses in styles: `url(…)`, with or without quotes.
fn in_styles(styles: &str) -> Vec<&str> {
    let inside = styles.match_indices("url(").filter_map(|(at, open)| {
        let rest = &styles[at + open.len()..];
        Some(rest[..rest.find(')')?].trim().trim_matches(['"', '\'']))
    });
    inside.collect()
}

/// The addresses of pictures and links in what only Outlook reads: `<v:image src="…">`, `<v:roundrect href="…">`.
fn in_comment(comment: &str) -> Vec<&str> {
    if !comment.starts_with("<!--[if") {
        return Vec::new();
    }
    let named = [" src=", " href=", " background="].into_iter().flat_map(|name| comment.match_indices(name));
    let values = named.filter_map(|(at, name)| {
        let rest = &comment[at + name.len()..];
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split(quote).next()
    });
    values.collect()
}

/// The addresses an element holds. A link that says nothing of where it leads (`<a name=…>`) is none.
fn addresses(element: &Element) -> impl Iterator<Item = (&'static str, &str)> {
    let wanted: &[&'static str] = match element.name.as_str() {
        "a" | "area" => &["href"],
        "link" => &["src"],
        _ => &["src", "background"],
    };
    wanted.iter().filter_map(|name| Some((*name, element.attribute(name)?)))
}
