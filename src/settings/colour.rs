//! Colours as authors write them, and how well one is read on another.

use std::fmt;

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

/// The least contrast of running text and its ground (WCAG 2.2, 1.4.3 AA).
pub const TEXT_CONTRAST_MIN: f64 = 4.5;
/// The same of large text (1.4.3 AA).
pub const LARGE_CONTRAST_MIN: f64 = 3.0;
/// The same of shapes that mean something, and of what can be pressed (1.4.11 AA).
pub const SHAPE_CONTRAST_MIN: f64 = 3.0;

impl Colour {
    /// `#rrggbb`.
    pub fn parse(text: &str) -> Option<Colour> {
        let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let part = |i: usize| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok();
        Some(Colour([part(0)?, part(1)?, part(2)?]))
    }

    /// The contrast ratio with another, 1 to 21 (WCAG 2.2).
    pub fn contrast(self, other: Colour) -> f64 {
        contrast(self.parts(), other.parts())
    }

    /// The one of two colours that is read better on this one; the first of equals.
    pub fn better_read(self, a: Colour, b: Colour) -> Colour {
        if self.contrast(a) >= self.contrast(b) { a } else { b }
    }

    /// The colour of parts from 0 to 1.
    pub fn of_parts(parts: [f64; 3]) -> Colour {
        Colour(parts.map(|part| (part * 255.0).round().clamp(0.0, 255.0) as u8))
    }

    fn parts(self) -> [f64; 3] {
        self.0.map(|part| f64::from(part) / 255.0)
    }
}

/// The contrast ratio of two colours in parts from 0 to 1: 1 to 21 (WCAG 2.2, "contrast ratio").
pub fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// WCAG 2.2, "relative luminance".
fn luminance(parts: [f64; 3]) -> f64 {
    let [r, g, b] = parts.map(|v| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_that_of_the_recommendation() {
        let of = |a: &str, b: &str| Colour::parse(a).unwrap().contrast(Colour::parse(b).unwrap());
        assert!((of("#000000", "#ffffff") - 21.0).abs() < 1e-9);
        assert!((of("#777777", "#FFFFFF") - 4.48).abs() < 0.01);
        assert!((of("#a8481f", "#a8481f") - 1.0).abs() < 1e-9);
        for none in ["", "#", "a8481f", "#a8481", "#a8481ff", "#g8481f", "#日本"] {
            assert_eq!(Colour::parse(none), None, "{none}");
        }
    }
}
