//! Where links lead.

use super::page::Element;
use super::{Mail, Told};

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
            if address.len() > 7
                && address.is_char_boundary(7)
                && address[..7].eq_ignore_ascii_case("http://")
                && host.is_some_and(|h| h != "localhost")
            {
                told.tell(
                    "http-link",
                    &element.place,
                    format!("`{address}` is not encrypted"),
                    "https:// in place of http://; mail programs block or warn",
                );
            }
            if let Some(host) = host.filter(|h| attribute == "href" && SHORTENERS.contains(h)) {
                told.tell(
                    "link-shortener",
                    &element.place,
                    format!("`{host}` hides where the link leads, and spam filters distrust it"),
                    "the address itself; clicks are counted without a shortener",
                );
            }
        }
    }
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
