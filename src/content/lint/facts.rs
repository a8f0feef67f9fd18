//! What mail programs ignore: facts of caniemail.com (MIT), as tested there, for what changes how a mail is laid out or what it says. What
//! only decorates (rounded corners, shadows, transitions) is not here: it is missed by nobody.
//!
//! A program stands here when its newest tested version supports nothing of a feature.

/// A family of mail programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Gmail on the web.
    Gmail,
    /// Outlook for Windows, which draws with Word.
    Outlook,
    /// Outlook on the web.
    OutlookCom,
    /// Yahoo Mail on the web.
    Yahoo,
}

impl Client {
    pub fn name(self) -> &'static str {
        match self {
            Client::Gmail => "Gmail",
            Client::Outlook => "Outlook for Windows",
            Client::OutlookCom => "Outlook.com",
            Client::Yahoo => "Yahoo",
        }
    }
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A property, whatever its value.
    Property(&'static str),
    /// A property with a value that begins so.
    Value(&'static str, &'static str),
    /// A function in a value.
    Function(&'static str),
    /// A number with this unit.
    Unit(&'static str),
    /// Part of a selector.
    Selector(&'static str),
    /// An at-rule.
    AtRule(&'static str),
    /// An element of HTML.
    Element(&'static str),
    /// The address of a picture, by its beginning.
    Picture(&'static str),
}

/// A feature, the name of caniemail's file about it, and who ignores it.
#[derive(Debug, Clone, Copy)]
pub struct Ignored {
    pub sign: Sign,
    pub source: &'static str,
    pub by: &'static [Client],
}

const fn ignored(sign: Sign, source: &'static str, by: &'static [Client]) -> Ignored {
    Ignored { sign, source, by }
}

use Client::{Gmail, Outlook, OutlookCom, Yahoo};
use Sign::{AtRule, Element, Function, Picture, Property, Selector, Unit, Value};

const ALL: &[Client] = &[Gmail, Outlook, OutlookCom, Yahoo];

/// The table.
pub const IGNORED: [Ignored; 46] = [
    ignored(Value("display", "flex"), "css-display-flex", &[Outlook]),
    ignored(Value("display", "inline-flex"), "css-display-flex", &[Outlook]),
    ignored(Value("display", "grid"), "css-display-grid", &[Outlook]),
    ignored(Property("float"), "css-float", &[Outlook]),
    ignored(Property("position"), "css-position", &[Gmail, Outlook]),
    ignored(Property("z-index"), "css-z-index", &[Gmail, Outlook]),
    ignored(Property("transform"), "css-transform", ALL),
    ignored(Property("visibility"), "css-visibility", &[Gmail, Outlook]),
    ignored(Property("gap"), "css-gap", &[Outlook, Yahoo]),
    ignored(Property("min-height"), "css-min-height", &[Outlook]),
    ignored(Property("min-width"), "css-min-width", &[Outlook]),
    ignored(Property("column-count"), "css-column-count", &[Outlook, Yahoo]),
    ignored(Property("writing-mode"), "css-writing-mode", &[Outlook, Yahoo]),
    ignored(Property("object-fit"), "css-object-fit", &[Outlook, Yahoo]),
    ignored(Property("clip-path"), "css-clip-path", ALL),
    ignored(Property("shape-outside"), "css-shape-outside", ALL),
    ignored(Property("list-style-image"), "css-list-style-image", ALL),
    ignored(Property("margin-inline"), "css-margin-inline-block", ALL),
    ignored(Property("margin-block"), "css-margin-inline-block", ALL),
    ignored(Property("padding-inline"), "css-padding-inline-block", ALL),
    ignored(Property("padding-block"), "css-padding-inline-block", ALL),
    ignored(Property("inline-size"), "css-inline-size", ALL),
    ignored(Property("background-image"), "css-background-image", &[Outlook]),
    ignored(Function("linear-gradient"), "css-linear-gradient", &[Outlook, OutlookCom, Yahoo]),
    ignored(Function("radial-gradient"), "css-radial-gradient", &[Outlook, OutlookCom, Yahoo]),
    ignored(Function("conic-gradient"), "css-conic-gradient", ALL),
    ignored(Function("var"), "css-variables", ALL),
    ignored(Function("calc"), "css-unit-calc", &[Outlook, OutlookCom, Yahoo]),
    ignored(Function("clamp"), "css-function-clamp", &[Outlook, OutlookCom, Yahoo]),
    ignored(Function("light-dark"), "css-function-light-dark", ALL),
    ignored(Unit("rem"), "css-unit-rem", &[Outlook, Yahoo]),
    ignored(Unit("vw"), "css-unit-vw", &[Outlook]),
    ignored(Unit("vh"), "css-unit-vh", &[Outlook]),
    ignored(Unit("ch"), "css-unit-ch", &[Outlook, Yahoo]),
    ignored(Selector("::before"), "css-pseudo-element-before", &[Gmail, Outlook, Yahoo]),
    ignored(Selector("::after"), "css-pseudo-element-after", &[Gmail, Outlook, Yahoo]),
    ignored(AtRule("@import"), "css-at-import", &[Gmail, OutlookCom, Yahoo]),
    ignored(Element("video"), "html-video", ALL),
    ignored(Element("audio"), "html-audio", ALL),
    ignored(Element("svg"), "html-svg", ALL),
    ignored(Element("object"), "html-object", ALL),
    ignored(Element("dialog"), "html-dialog", ALL),
    ignored(Element("picture"), "html-picture", ALL),
    ignored(Element("form"), "html-form", &[Outlook]),
    ignored(Element("marquee"), "html-marquee", &[Gmail, Outlook]),
    ignored(Picture("data:"), "image-base64", &[Gmail]),
];
