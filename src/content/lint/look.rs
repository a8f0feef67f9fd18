//! How the elements of a mail look: colour, background, size, whether they are seen at all; from their inline styles, which is where a
//! prepared mail has them.

use csscolorparser::Color;

use super::page::{Element, Page};

/// How an element looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// It and everything inside it.
    pub hidden: bool,
    /// Opaque, as it stands on its background.
    pub ink: [f64; 3],
    /// `None` when a picture or a gradient may lie there.
    pub paper: Option<[f64; 3]>,
    /// Of its letters, in CSS pixels.
    pub size: f64,
    pub bold: bool,
}

impl Look {
    /// Whether words that stand right inside it are seen. Elements inside may have letters of their own size: tables are often written in
    /// letters of no size, so that the spaces between their cells take no room.
    pub fn shows_words(&self) -> bool {
        !self.hidden && self.size > UNSEEN_SIZE
    }
}

/// What a mail looks like where it says nothing.
const PLAIN: Look = Look { hidden: false, ink: [0.0; 3], paper: Some([1.0; 3]), size: 16.0, bold: false };
/// The colour of a link that says nothing.
const LINK: [f64; 3] = [0.0, 0.0, 238.0 / 255.0];
/// Letters of this size or smaller are there to hide, in CSS pixels.
const UNSEEN_SIZE: f64 = 2.0;

/// The look of every element.
pub(super) fn looks(page: &Page) -> Vec<Look> {
    let mut looks: Vec<Look> = Vec::with_capacity(page.elements.len());
    for element in &page.elements {
        let outer = element.parent.map_or(PLAIN, |p| looks[p]);
        looks.push(look(element, outer));
    }
    looks
}

fn look(element: &Element, outer: Look) -> Look {
    let styles = declarations(element.attribute("style").unwrap_or_default());
    let style = |name: &str| styles.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let mut look = outer;
    let size = match element.name.as_str() {
        "h1" => Some(32.0),
        "h2" => Some(24.0),
        "h3" => Some(18.72),
        "small" => Some(outer.size * 5.0 / 6.0),
        _ => None,
    };
    look.size = style("font-size").and_then(|v| pixels(v, outer.size)).or(size).unwrap_or(outer.size);
    look.bold = match style("font-weight") {
        Some("bold" | "bolder") => true,
        Some(weight) => weight.parse::<u32>().map_or(outer.bold, |w| w >= 700),
        None => outer.bold || matches!(element.name.as_str(), "b" | "strong" | "h1" | "h2" | "h3" | "h4" | "th"),
    };
    look.paper = paper(element, &style, outer.paper);
    if let Some(ink) = style("color").or(element.attribute("color").filter(|_| element.name == "font")) {
        look.ink = colour(ink).map_or(outer.ink, |ink| over(&ink, look.paper.unwrap_or([1.0; 3])));
    } else if element.name == "a" && element.attribute("href").is_some() {
        look.ink = LINK;
    }
    let is = |name: &str, value: &str| style(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    let zero = |name: &str| style(name).and_then(|v| pixels(v, outer.size)).is_some_and(|px| px == 0.0);
    look.hidden = outer.hidden
        || is("display", "none")
        || is("visibility", "hidden")
        || is("opacity", "0")
        || (is("overflow", "hidden") && (zero("max-height") || zero("height")))
        || element.attribute("hidden").is_some()
        || matches!(element.name.as_str(), "head" | "title" | "script" | "style");
    look
}

/// What lies behind the text of an element.
fn paper<'s>(element: &Element, style: &impl Fn(&str) -> Option<&'s str>, outer: Option<[f64; 3]>) -> Option<[f64; 3]> {
    let pictures = [style("background"), style("background-image")];
    let picture = pictures.iter().flatten().any(|v| v.contains("url(") || v.contains("gradient("));
    if picture || element.attribute("background").is_some_and(|v| !v.is_empty()) {
        return None;
    }
    let said = style("background-color")
        .and_then(colour)
        .or_else(|| style("background").and_then(|v| words(v).iter().find_map(|w| colour(w))))
        .or_else(|| element.attribute("bgcolor").and_then(colour));
    match (said, outer) {
        (None, outer) => outer,
        (Some(colour), _) if colour.a >= 1.0 => Some(over(&colour, [1.0; 3])),
        (Some(colour), outer) => outer.map(|below| over(&colour, below)),
    }
}

/// Name and value of each declaration, without `!important`; the ones that win stand last.
pub(super) fn declarations(style: &str) -> Vec<(String, String)> {
    let mut out: Vec<(bool, (String, String))> = Vec::new();
    for declaration in split(style, ';') {
        let Some((name, value)) = declaration.split_once(':') else { continue };
        let value = value.trim();
        let plain = value.strip_suffix("!important").or_else(|| value.strip_suffix("! important"));
        let value = plain.unwrap_or(value).trim().to_owned();
        out.push((plain.is_some(), (name.trim().to_ascii_lowercase(), value)));
    }
    out.sort_by_key(|(important, _)| *important);
    out.into_iter().map(|(_, declaration)| declaration).collect()
}

/// Cut at a mark that stands in no brackets and no quotes.
pub(super) fn split(text: &str, mark: char) -> Vec<&str> {
    let (mut out, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, c) if c == mark && depth == 0 => {
                out.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn words(value: &str) -> Vec<&str> {
    split(value, ' ').into_iter().filter(|w| !w.is_empty()).collect()
}

/// A colour; `None` for `inherit` and whatever is none.
fn colour(text: &str) -> Option<Color> {
    csscolorparser::parse(text.trim()).ok()
}

/// A colour as it stands on another.
fn over(colour: &Color, below: [f64; 3]) -> [f64; 3] {
    let alpha = f64::from(colour.a);
    let [r, g, b] = [colour.r, colour.g, colour.b].map(f64::from);
    let mixed = |above: f64, below: f64| above * alpha + below * (1.0 - alpha);
    [mixed(r, below[0]), mixed(g, below[1]), mixed(b, below[2])]
}

/// A length in CSS pixels; parts of the size of the letters around.
fn pixels(value: &str, around: f64) -> Option<f64> {
    let value = value.trim().to_ascii_lowercase();
    let number = |unit: &str| value.strip_suffix(unit).and_then(|n| n.trim().parse::<f64>().ok());
    if value == "0" {
        return Some(0.0);
    }
    number("px")
        .or_else(|| number("rem").map(|n| n * 16.0))
        .or_else(|| number("em").map(|n| n * around))
        .or_else(|| number("pt").map(|n| n * 4.0 / 3.0))
        .or_else(|| number("%").map(|n| n / 100.0 * around))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::colour::contrast;

    #[test]
    fn contrast_is_that_of_the_standard() {
        let of = |a: &str, b: &str| contrast(over(&colour(a).unwrap(), [1.0; 3]), over(&colour(b).unwrap(), [1.0; 3]));
        assert!((of("#000", "white") - 21.0).abs() < 1e-9 && (of("#777777", "#fff") - 4.478).abs() < 0.001);
        // Half-transparent black on white is grey.
        assert!((of("rgba(0,0,0,.5)", "#fff") - of("#808080", "#fff")).abs() < 0.05);
    }

    #[test]
    fn declarations_survive_what_stands_in_brackets_and_quotes() {
        let found =
            declarations("color:red !important;background:url(\"a;b.png\") #fff; color: blue;font-family:'a;b'");
        let of = |name: &str| found.iter().rev().find(|(n, _)| n == name).unwrap().1.clone();
        assert_eq!(
            (of("color"), of("background"), of("font-family")),
            ("red".into(), "url(\"a;b.png\") #fff".into(), "'a;b'".into())
        );
    }
}
