//! How the mails look and what they say of the shop: `brand` in okaeri.yaml, all of it visible to templates as `brand`.
//!
//! Colours come in two palettes, for light and for dark screens. What is not said stays plain and readable; what cannot be read on its
//! ground is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::colour::{Colour, SHAPE_CONTRAST_MIN, TEXT_CONTRAST_MIN};
use super::language::{ByLanguage, by_language, in_language};
use crate::problem::{Place, Problems};
use crate::yaml::{MapReader, Node, Shape};

/// The accent colour of a shop that names none.
const ACCENT: &str = "#3b5bdb";
/// Most pages, most places where people can follow the shop, most fonts of a stack.
const PAGES_MAX: usize = 40;
const SOCIAL_MAX: usize = 8;
const FONTS_MAX: usize = 8;
/// A logo is at most so wide, in pixels: a mail is 600 wide.
const LOGO_WIDTH_MAX: u32 = 504;

/// The brand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brand {
    /// What the shop calls itself in its mails; the sender's name when absent.
    pub name: ByLanguage,
    /// A few words beside the name.
    pub tagline: ByLanguage,
    /// Where the shop is.
    pub url: Option<String>,
    pub logo: Option<Logo>,
    pub light: Palette,
    pub dark: Palette,
    /// Font stacks of headings and of running text.
    pub heading_fonts: ByLanguage,
    pub text_fonts: ByLanguage,
    /// In place of the sender's, in mails of a language.
    pub organisation: ByLanguage,
    pub postal_address: ByLanguage,
    pub contact: Contact,
    /// Where people can follow the shop: name and address.
    pub social: Vec<(String, String)>,
    /// Pages of the shop that mails lead to, by names of the author's own.
    pub pages: BTreeMap<String, String>,
}

/// A picture in place of the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logo {
    pub url: String,
    /// In pixels, as it is shown.
    pub width: u32,
    pub height: Option<u32>,
}

/// How to reach the shop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub email: Option<String>,
    pub phone: Option<String>,
    /// When somebody is there.
    pub hours: ByLanguage,
}

/// Colour by name, in the order of [`NAMES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Palette([String; NAMES.len()]);

/// What the colours are for: the ground around the mail, its head, the sheet, boxes on it; text, quieter text, lines, text on the head;
/// buttons and marks, and what is written on them.
pub(super) const NAMES: [&str; 10] =
    ["page", "front", "paper", "note", "ink", "soft", "rule", "on_front", "accent", "on_accent"];
const LIGHT: [&str; 8] = ["#f1f0ed", "#22262f", "#ffffff", "#f5f3ef", "#24272c", "#626262", "#e2dfd9", "#ffffff"];
const DARK: [&str; 8] = ["#121315", "#1c2029", "#1c1e22", "#272a30", "#ece9e3", "#aca79e", "#3a3d44", "#ffffff"];
/// What is read on what, and how well it must be.
const READ_ON: [(&str, &str, f64); 9] = [
    ("ink", "paper", TEXT_CONTRAST_MIN),
    ("soft", "paper", TEXT_CONTRAST_MIN),
    ("ink", "note", TEXT_CONTRAST_MIN),
    ("soft", "note", TEXT_CONTRAST_MIN),
    ("soft", "page", TEXT_CONTRAST_MIN),
    ("on_front", "front", TEXT_CONTRAST_MIN),
    ("on_accent", "accent", TEXT_CONTRAST_MIN),
    ("accent", "paper", SHAPE_CONTRAST_MIN),
    ("accent", "note", SHAPE_CONTRAST_MIN),
];
/// What stands on the accent colour when nothing is said: whichever is read better.
const ON_ACCENT: [&str; 2] = ["#ffffff", "#000000"];

impl Palette {
    fn of(plain: [&str; 8], accent: &str) -> Palette {
        let accent = Colour::parse(accent).expect("a colour is read before it is used");
        let [a, b] = ON_ACCENT.map(|c| Colour::parse(c).expect("a colour of ours"));
        let own = [accent.to_string(), accent.better_read(a, b).to_string()];
        let mut colours = plain.into_iter().map(str::to_owned).chain(own);
        Palette(NAMES.map(|_| colours.next().expect("a colour for each name")))
    }

    /// The colour of a name that there is.
    pub fn get(&self, name: &str) -> &str {
        let place = NAMES.iter().position(|n| *n == name).expect("a palette is asked for its own names");
        &self.0[place]
    }

    fn json(&self) -> Json {
        NAMES.iter().zip(&self.0).map(|(name, colour)| ((*name).to_owned(), Json::from(colour.as_str()))).collect()
    }
}

impl Default for Brand {
    fn default() -> Brand {
        let stack = |fonts: &str| vec![("default".to_owned(), fonts.to_owned())];
        Brand {
            name: Vec::new(),
            tagline: Vec::new(),
            url: None,
            logo: None,
            light: Palette::of(LIGHT, ACCENT),
            dark: Palette::of(DARK, ACCENT),
            heading_fonts: stack("Georgia, Times New Roman, serif"),
            text_fonts: stack("-apple-system, Segoe UI, Helvetica, Arial, sans-serif"),
            organisation: Vec::new(),
            postal_address: Vec::new(),
            contact: Contact::default(),
            social: Vec::new(),
            pages: BTreeMap::new(),
        }
    }
}

impl Brand {
    /// The accent colour on light screens.
    pub fn colour(&self) -> &str {
        self.light.get("accent")
    }

    /// What templates see as `brand` in mails of this locale; `name`, `organisation` and `postal_address` are those of the sender.
    pub fn in_locale(&self, locale: &str, name: &str, organisation: &str, postal_address: &str) -> Json {
        let text = |texts: &ByLanguage| in_language(texts, locale).map(str::to_owned);
        let or = |texts: &ByLanguage, otherwise: &str| in_language(texts, locale).unwrap_or(otherwise).to_owned();
        let logo = self.logo.as_ref().map(|l| json!({ "url": l.url, "width": l.width, "height": l.height }));
        json!({
            "name": or(&self.name, name),
            "tagline": text(&self.tagline),
            "organisation": or(&self.organisation, organisation),
            "postal_address": or(&self.postal_address, postal_address),
            "url": self.url,
            "logo": logo,
            "colour": self.colour(),
            "light": self.light.json(),
            "dark": self.dark.json(),
            "fonts": { "heading": text(&self.heading_fonts), "text": text(&self.text_fonts) },
            "contact": { "email": self.contact.email, "phone": self.contact.phone, "hours": text(&self.contact.hours) },
            "social": self.social.iter().map(|(name, url)| json!({ "name": name, "url": url })).collect::<Vec<_>>(),
            "pages": self.pages,
        })
    }
}

/// Read `brand`.
pub(super) fn brand(m: &mut MapReader, problems: &mut Problems) -> Brand {
    let plain = Brand::default();
    let Some(mut b) = m.map("brand", "the brand", problems) else { return plain };
    let colour = b.node("colour").and_then(|n| colour(n, problems));
    let accent = colour.as_deref().unwrap_or(ACCENT);
    let light = palette(&mut b, "light", Palette::of(LIGHT, accent), problems);
    let dark = palette(&mut b, "dark", Palette::of(DARK, accent), problems);
    let mut texts =
        |b: &mut MapReader, key| b.node(key).map(|n| by_language(n, &format!("`{key}`"), problems)).unwrap_or_default();
    let (name, tagline) = (texts(&mut b, "name"), texts(&mut b, "tagline"));
    let (organisation, postal_address) = (texts(&mut b, "organisation"), texts(&mut b, "postal_address"));
    let (mut heading_fonts, mut text_fonts) = (plain.heading_fonts, plain.text_fonts);
    if let Some(mut f) = b.map("fonts", "brand.fonts", problems) {
        for (key, stacks) in [("heading", &mut heading_fonts), ("text", &mut text_fonts)] {
            if let Some(node) = f.node(key) {
                *stacks = fonts(node, problems);
            }
        }
        f.finish(problems);
    }
    let brand = Brand {
        name,
        tagline,
        url: b.node("url").and_then(|n| web_address(n, "url", problems)),
        logo: logo(&mut b, problems),
        light,
        dark,
        heading_fonts,
        text_fonts,
        organisation,
        postal_address,
        contact: contact(&mut b, problems),
        social: social(&mut b, problems),
        pages: pages(&mut b, problems),
    };
    b.finish(problems);
    brand
}

fn colour(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.read::<String>("a colour", problems)?;
    let colour = Colour::parse(&text);
    if colour.is_none() {
        problems
            .error("bad-colour", &node.place, format!("`{text}` is not a colour"))
            .hint("write it as \"#aa3344\", in quotes");
    }
    colour.map(|c| c.to_string())
}

/// A palette with the author's colours in place of the plain ones.
fn palette(b: &mut MapReader, key: &'static str, mut palette: Palette, problems: &mut Problems) -> Palette {
    let Some(mut p) = b.map(key, if key == "light" { "brand.light" } else { "brand.dark" }, problems) else {
        return palette;
    };
    let mut said: BTreeMap<&str, Place> = BTreeMap::new();
    for (place, name) in NAMES.iter().enumerate() {
        if let Some(node) = p.node(name)
            && let Some(colour) = colour(node, problems)
        {
            said.insert(name, node.place.clone());
            if *name == "accent" {
                let accent = Colour::parse(&colour).expect("it was read as one");
                let [a, b] = ON_ACCENT.map(|c| Colour::parse(c).expect("a colour of ours"));
                palette.0[place + 1] = accent.better_read(a, b).to_string();
            }
            palette.0[place] = colour;
        }
    }
    p.finish(problems);
    for (text, ground, least) in READ_ON {
        let Some(place) = said.get(text).or_else(|| said.get(ground)) else { continue };
        let [above, below] =
            [text, ground].map(|name| Colour::parse(palette.get(name)).expect("a palette holds colours"));
        let contrast = above.contrast(below);
        if contrast < least {
            problems
                .warning(
                    "low-contrast",
                    place,
                    format!(
                        "`{text}` {above} on `{ground}` {below} has a contrast of {:.1} : 1",
                        (contrast * 10.0).floor() / 10.0
                    ),
                )
                .hint(format!("at least {least} : 1, so that everybody can read it (WCAG 2.2 AA)"));
        }
    }
    palette
}

fn web_address(node: &Node, key: &str, problems: &mut Problems) -> Option<String> {
    let text = node.read::<String>(&format!("`{key}`"), problems)?;
    let good = url::Url::parse(&text).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some());
    if !good {
        problems
            .error("bad-url", &node.place, format!("`{key}` is not a web address: {text}"))
            .hint("https://www.shop.example.com/");
    }
    good.then_some(text)
}

fn logo(b: &mut MapReader, problems: &mut Problems) -> Option<Logo> {
    let mut l = b.map("logo", "brand.logo", problems)?;
    let url = match l.node("url") {
        Some(node) => web_address(node, "url", problems),
        None => {
            problems.error("missing-key", &l.place, "a logo needs `url`: a web address of the picture");
            None
        }
    };
    let width = l.require::<u32>("width", problems);
    let height = l.get::<u32>("height", problems);
    for pixels in width.iter().chain(&height) {
        if *pixels == 0 || *pixels > LOGO_WIDTH_MAX {
            problems
                .error("bad-size", &l.place, format!("a logo of {pixels} pixels"))
                .hint(format!("1 to {LOGO_WIDTH_MAX}, as it is shown; a picture twice as large looks sharp"));
        }
    }
    l.finish(problems);
    Some(Logo { url: url?, width: width?, height })
}

/// A list of fonts, or one for each language.
fn fonts(node: &Node, problems: &mut Problems) -> ByLanguage {
    let stack = |node: &Node, problems: &mut Problems| {
        let names = node.read_list::<String>("a list of fonts", problems)?;
        if names.len() > FONTS_MAX {
            problems.error("too-many", &node.place, format!("more than {FONTS_MAX} fonts"));
        }
        // Names of this shape need no quotes in CSS, and can stand in an attribute and in a style sheet alike.
        let plain = |name: &str| {
            name.split(' ').all(|word| {
                let letters = word.trim_start_matches('-');
                letters.starts_with(|c: char| c.is_ascii_alphabetic())
                    && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
        };
        if let Some(bad) = names.iter().find(|n| !plain(n)) {
            problems
                .error("bad-font", &node.place, format!("`{bad}` is not the name of a font"))
                .hint("a list of names in letters, digits and hyphens: [Georgia, Times New Roman, serif]");
            return None;
        }
        Some(names.join(", "))
    };
    match &node.shape {
        Shape::Map(pairs) => pairs.iter().filter_map(|p| Some((p.key.clone(), stack(&p.value, problems)?))).collect(),
        _ => stack(node, problems).map(|s| vec![("default".to_owned(), s)]).unwrap_or_default(),
    }
}

fn contact(b: &mut MapReader, problems: &mut Problems) -> Contact {
    let Some(mut c) = b.map("contact", "brand.contact", problems) else { return Contact::default() };
    let contact = Contact {
        email: c.node("email").and_then(|n| super::read::address(n, "email", problems)),
        phone: c.get("phone", problems),
        hours: c.node("hours").map(|n| by_language(n, "`hours`", problems)).unwrap_or_default(),
    };
    c.finish(problems);
    contact
}

fn social(b: &mut MapReader, problems: &mut Problems) -> Vec<(String, String)> {
    let Some(node) = b.node("social") else { return Vec::new() };
    let Some(mut s) = node.map("brand.social", problems) else { return Vec::new() };
    let pairs = s.all();
    if pairs.len() > SOCIAL_MAX {
        problems.error("too-many", &node.place, format!("more than {SOCIAL_MAX} places to follow the shop"));
    }
    pairs.iter().filter_map(|p| Some((p.key.clone(), web_address(&p.value, &p.key, problems)?))).collect()
}

fn pages(b: &mut MapReader, problems: &mut Problems) -> BTreeMap<String, String> {
    let Some(node) = b.node("pages") else { return BTreeMap::new() };
    let Some(mut s) = node.map("brand.pages", problems) else { return BTreeMap::new() };
    let pairs = s.all();
    if pairs.len() > PAGES_MAX {
        problems.error("too-many", &node.place, format!("more than {PAGES_MAX} pages"));
    }
    let mut pages = BTreeMap::new();
    for pair in pairs {
        let word = pair.key.starts_with(|c: char| c.is_ascii_lowercase())
            && pair.key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !word {
            problems
                .error("bad-name", &pair.key_place, format!("`{}` cannot be named in a template", pair.key))
                .hint("small letters, digits and _: gift_cards");
            continue;
        }
        if let Some(url) = web_address(&pair.value, &pair.key, problems) {
            pages.insert(pair.key.clone(), url);
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::read::tests::{SMALL, load};

    #[test]
    fn a_shop_that_says_nothing_is_readable_on_light_and_dark_screens() {
        let brand = Brand::default();
        for palette in [&brand.light, &brand.dark] {
            for (text, ground, least) in READ_ON.iter().filter(|(text, ..)| *text != "accent") {
                let [a, b] = [text, ground].map(|n| Colour::parse(palette.get(n)).unwrap());
                assert!(a.contrast(b) >= *least, "{text} on {ground}: {:.2}", a.contrast(b));
            }
        }
        for accent in ["#ffd400", "#003049", "#7f7f7f", "#000000", "#ffffff"] {
            let palette = Palette::of(LIGHT, accent);
            let [a, b] = ["accent", "on_accent"].map(|n| Colour::parse(palette.get(n)).unwrap());
            assert!(a.contrast(b) >= TEXT_CONTRAST_MIN, "{accent}");
        }
    }

    #[test]
    fn texts_are_in_the_language_of_the_mail_and_fall_back_to_the_sender() {
        let text = format!(
            "{SMALL}brand:\n  name: {{ ja: ともしび }}\n  tagline: small things\n  postal_address: {{ ja: 京都市 }}\n  \
             fonts: {{ heading: {{ default: [Georgia, serif], ja: [Yu Mincho, serif] }} }}\n  \
             contact: {{ email: hana@example.com, hours: {{ default: Mon to Fri, ja: 平日 }} }}\n  \
             social: {{ Photos: https://photos.example.com/tomoshibi }}\n  pages: {{ cart: https://www.example.com/cart }}\n"
        );
        let (settings, problems) = load(&text, &[]);
        assert_eq!(problems, "");
        let brand = settings.unwrap().brand;
        let of = |locale| brand.in_locale(locale, "Shop", "Shop Ltd", "Street 1");
        let (en, ja) = (of("en-GB"), of("ja-JP"));
        let all = |b: &Json| {
            ["/name", "/tagline", "/organisation", "/postal_address", "/fonts/heading", "/contact/hours"]
                .map(|p| b.pointer(p).unwrap().as_str().unwrap().to_owned())
        };
        assert_eq!(all(&en), ["Shop", "small things", "Shop Ltd", "Street 1", "Georgia, serif", "Mon to Fri"]);
        assert_eq!(all(&ja), ["ともしび", "small things", "Shop Ltd", "京都市", "Yu Mincho, serif", "平日"]);
        assert_eq!(en["pages"]["cart"], "https://www.example.com/cart");
        assert_eq!(en["social"][0], json!({ "name": "Photos", "url": "https://photos.example.com/tomoshibi" }));
    }

    #[test]
    fn what_cannot_be_read_and_what_could_break_a_mail_is_told() {
        let text = format!(
            "{SMALL}brand:\n  colour: \"#ffd400\"\n  light: {{ soft: \"#aaaaaa\", on_accent: \"#ffffff\", papre: \"#ffffff\" }}\n  \
             dark: {{ ink: red }}\n  logo: {{ width: 9000 }}\n  fonts: {{ text: [\"x';}}</style>\"] }}\n  \
             url: javascript:alert(1)\n  pages: {{ Cart: https://www.example.com/, b: nowhere }}\n"
        );
        insta::assert_snapshot!(load(&text, &[]).1, @r##"
        okaeri.yaml:5:18: warning: `soft` #aaaaaa on `note` #f5f3ef has a contrast of 2.0 : 1 [low-contrast]
            at least 4.5 : 1, so that everybody can read it (WCAG 2.2 AA)
        okaeri.yaml:5:18: warning: `soft` #aaaaaa on `page` #f1f0ed has a contrast of 2.0 : 1 [low-contrast]
            at least 4.5 : 1, so that everybody can read it (WCAG 2.2 AA)
        okaeri.yaml:5:18: warning: `soft` #aaaaaa on `paper` #ffffff has a contrast of 2.3 : 1 [low-contrast]
            at least 4.5 : 1, so that everybody can read it (WCAG 2.2 AA)
        okaeri.yaml:5:40: warning: `on_accent` #ffffff on `accent` #ffd400 has a contrast of 1.4 : 1 [low-contrast]
            at least 4.5 : 1, so that everybody can read it (WCAG 2.2 AA)
        okaeri.yaml:5:51: error: `papre` is not a key of brand.light [unknown-key]
            did you mean `paper`?
        okaeri.yaml:6:16: error: `red` is not a colour [bad-colour]
            write it as "#aa3344", in quotes
        okaeri.yaml:7:9: error: a logo needs `url`: a web address of the picture [missing-key]
        okaeri.yaml:7:9: error: a logo of 9000 pixels [bad-size]
            1 to 504, as it is shown; a picture twice as large looks sharp
        okaeri.yaml:8:18: error: `x';}</style>` is not the name of a font [bad-font]
            a list of names in letters, digits and hyphens: [Georgia, Times New Roman, serif]
        okaeri.yaml:9:8: error: `url` is not a web address: javascript:alert(1) [bad-url]
            https://www.shop.example.com/
        okaeri.yaml:10:12: error: `Cart` cannot be named in a template [bad-name]
            small letters, digits and _: gift_cards
        okaeri.yaml:10:47: error: `b` is not a web address: nowhere [bad-url]
            https://www.shop.example.com/
        8 errors and 4 warnings
        "##);
    }
}
