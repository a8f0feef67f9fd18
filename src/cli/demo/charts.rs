//! The page's pictures, as SVG: every customer a window of one house front.
//!
//! Pure: numbers in, markup out. Colours are classes of `page.css`, so that light and dark mode are one picture.

use std::fmt::Write as _;

use super::journey::{Everybody, Light};

/// Windows on a floor.
const COLUMNS: usize = 96;
/// From one window to the next, and the size of a window; units of the drawing.
const PITCH: (usize, usize) = (10, 13);
const WINDOW: (usize, usize) = (5, 8);

/// The house front. Dark windows are one pattern; the others are drawn one by one, in a path for each light.
pub(super) fn house_front(everybody: &Everybody, described: &str) -> String {
    let people = everybody.0.len();
    let floors = people.div_ceil(COLUMNS).max(1);
    let (width, height) = (COLUMNS * PITCH.0, floors * PITCH.1);
    let mut out = format!(
        "<svg class=\"front\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{described}\">\
         <g transform=\"translate({} {})\">",
        (PITCH.0 - WINDOW.0) as f64 / 2.0,
        (PITCH.1 - WINDOW.1) as f64 / 2.0
    );
    for (light, class) in
        [(Light::Dark, "dark"), (Light::LeftAlone, "alone"), (Light::Withheld, "withheld"), (Light::Mailed, "lit")]
    {
        let mut path = String::new();
        for (place, _) in everybody.0.iter().enumerate().filter(|(_, (l, _))| *l == light) {
            let (x, y) = (place % COLUMNS * PITCH.0, place / COLUMNS * PITCH.1);
            let _ = write!(path, "M{x} {y}h{}v{}h-{}z", WINDOW.0, WINDOW.1, WINDOW.0);
        }
        if !path.is_empty() {
            let _ = write!(out, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
    out.push_str("</g></svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_customer_is_one_window() {
        let lights = [Light::Dark, Light::LeftAlone, Light::Withheld, Light::Mailed];
        let everybody = Everybody((0..250).map(|n| (lights[n % 4], 0)).collect());
        let svg = house_front(&everybody, "250 windows");
        assert_eq!(svg.matches('M').count(), 250);
        assert!(svg.contains("viewBox=\"0 0 960 39\""), "three floors: {svg}");
        assert!(house_front(&Everybody::default(), "").contains("viewBox"));
    }
}
