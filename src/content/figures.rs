//! How figures are written: digits, what stands between them, and what stands around them.
//!
//! Whoever knows a language says a few numbers once; from them is learned how all others are written, so that a message pays for
//! setting digits and for nothing else. Pure.

use icu_decimal::input::Decimal;

/// The figures of a language, or of one currency in a language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Figures {
    digits: [char; 10],
    group: String,
    point: String,
    /// Digits of the last group, and of those before it: 3 and 2 in India.
    last: usize,
    others: usize,
    /// Digits of the shortest whole number that is cut into groups: 5 in Spain.
    cut_from: usize,
    positive: Frame,
    negative: Frame,
}

/// What stands before and after the digits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    before: String,
    after: String,
}

/// Digits enough to show the groups of every language.
const SAMPLE: &str = "1234567";

impl Figures {
    /// Learn from what `say` makes of numbers. `point` is for whoever says whole numbers only.
    pub(super) fn learned(digits: [char; 10], point: &str, say: impl Fn(&Decimal) -> String) -> Figures {
        let heard = |number: &str| Heard::of(&say(&number.parse().expect("a number as Rust writes it")), &digits);
        let long = heard(&format!("{SAMPLE}.5"));
        // Runs of digits up to the point, which stands where all whole digits are over.
        let begins = long.runs.iter().scan(0, |heard, run| Some(std::mem::replace(heard, *heard + run)));
        let runs = begins.take_while(|heard| *heard < SAMPLE.len()).count();
        let last = long.runs[runs - 1];
        let is_cut = |length: &usize| heard(&SAMPLE[..*length]).runs[0] < *length;
        Figures {
            group: long.between.first().filter(|_| runs > 1).cloned().unwrap_or_default(),
            point: long.between.get(runs - 1).map_or(point, String::as_str).to_owned(),
            last,
            others: if runs > 2 { long.runs[runs - 2] } else { last },
            cut_from: (1..=SAMPLE.len()).find(is_cut).unwrap_or(usize::MAX),
            positive: heard("1").frame,
            negative: heard("-1").frame,
            digits,
        }
    }

    /// The same with a word behind.
    pub(super) fn followed_by(mut self, word: &str) -> Figures {
        self.positive.after.push_str(word);
        self.negative.after.push_str(word);
        self
    }

    /// What stands between the whole and the rest.
    pub(super) fn point(&self) -> &str {
        &self.point
    }

    /// Write a number whose digits are given: those of the whole, and those behind the point if there are any.
    pub(super) fn write(&self, negative: bool, whole: &str, fraction: &str) -> String {
        let frame = if negative { &self.negative } else { &self.positive };
        let around = frame.before.len() + frame.after.len() + self.point.len();
        let mut out = String::with_capacity(around + 2 * (whole.len() + fraction.len()));
        out.push_str(&frame.before);
        let cut = whole.len() >= self.cut_from;
        for (i, digit) in whole.bytes().enumerate() {
            let left = whole.len() - i;
            if cut && i > 0 && left >= self.last && (left - self.last).is_multiple_of(self.others) {
                out.push_str(&self.group);
            }
            out.push(self.digit(digit));
        }
        if !fraction.is_empty() {
            out.push_str(&self.point);
            out.extend(fraction.bytes().map(|digit| self.digit(digit)));
        }
        out.push_str(&frame.after);
        out
    }

    fn digit(&self, ascii: u8) -> char {
        self.digits[usize::from(ascii - b'0')]
    }
}

/// A number as it was said, taken apart.
struct Heard {
    frame: Frame,
    /// How many digits stand together; never empty.
    runs: Vec<usize>,
    /// What stands between them.
    between: Vec<String>,
}

impl Heard {
    fn of(said: &str, digits: &[char; 10]) -> Heard {
        let (mut before, mut runs, mut between, mut other) = (String::new(), Vec::new(), Vec::new(), String::new());
        for c in said.chars() {
            if !digits.contains(&c) {
                other.push(c);
                continue;
            }
            match runs.last_mut() {
                None => {
                    before = std::mem::take(&mut other);
                    runs.push(1);
                }
                Some(run) if other.is_empty() => *run += 1,
                Some(_) => {
                    between.push(std::mem::take(&mut other));
                    runs.push(1);
                }
            }
        }
        assert!(!runs.is_empty(), "a number has digits: {said}");
        Heard { frame: Frame { before, after: other }, runs, between }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: [char; 10] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

    /// Learned from these ways to say 1234567.5, 1, -1; cut from `cut_from` digits on.
    fn learned(long: &str, one: &str, minus: &str, cut_from: usize) -> Figures {
        Figures::learned(ASCII, "·", |n| match n.to_string().as_str() {
            "1234567.5" => long.to_owned(),
            "1" => one.to_owned(),
            "-1" => minus.to_owned(),
            n if n.len() < cut_from => n.to_owned(),
            n => format!("{},{}", &n[..1], &n[1..]),
        })
    }

    #[test]
    fn numbers_are_written_like_those_that_were_heard() {
        let swiss = learned("CHF 1’234’567.50", "CHF 1.00", "CHF-1.00", 4);
        assert_eq!(swiss.write(false, "1234567890", "05"), "CHF 1’234’567’890.05");
        assert_eq!(swiss.write(true, "12", ""), "CHF-12");
        let indian = learned("₹12,34,567.5", "₹1.0", "-₹1.0", 4);
        assert_eq!(indian.write(true, "1234567890", "5"), "-₹1,23,45,67,890.5");
        let spanish = learned("1.234.567,5 €", "1,0 €", "-1,0 €", 5);
        assert_eq!(spanish.write(false, "1234", "50"), "1234,50 €");
        assert_eq!(spanish.write(false, "12345", "50"), "12.345,50 €");
        assert_eq!(spanish.followed_by("!").write(true, "1", ""), "-1 €!");
    }

    #[test]
    fn who_says_neither_point_nor_groups_is_understood() {
        let yen = learned("1,234,568円", "1円", "-1円", 4);
        assert_eq!(yen.write(false, "1000", "25"), "1,000·25円");
        let bare = learned("1234567.5", "1", "-1", 8);
        assert_eq!(bare.write(true, "12345678", "5"), "-12345678.5");
        assert_eq!(bare.point(), ".");
    }
}
