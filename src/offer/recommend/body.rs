//! How a basket is written: pure. For each product its number, twice the orders that had it and one more when not all of it was sent back, and
//! when it was last bought, in milliseconds after the product before.
//!
//! Numbers are written five bits at a time, the low ones first, in letters from `0` to `o`; a letter from `P` on says that more follow. Text, because
//! every engine stores it, in a third of what JSON needs. Whoever changes this counts [`LAYOUT`] up: all baskets are then made anew.

use super::learn::Owned;
use crate::clock::Millis;

/// The layout written here.
pub(super) const LAYOUT: i64 = 1;
const FIRST: u8 = b'0';
const BITS: u32 = 5;
const MORE: u8 = 1 << BITS;

/// What one customer has, as text.
pub(super) fn write(owned: &[Owned]) -> String {
    let mut body = String::with_capacity(owned.len() * 12);
    let mut previous: Millis = 0;
    for o in owned {
        number(&mut body, u64::from(o.product));
        number(&mut body, u64::from(o.times) << 1 | u64::from(o.kept));
        let after = o.last_at.wrapping_sub(previous);
        // Small numbers before zero are small as well.
        number(&mut body, ((after << 1) ^ (after >> 63)) as u64);
        previous = o.last_at;
    }
    body
}

/// What was written; `None` of anything else.
pub(super) fn read(body: &str) -> Option<Vec<Owned>> {
    let mut letters = body.bytes();
    let mut owned = Vec::with_capacity(body.len() / 8);
    let mut previous: Millis = 0;
    while letters.len() > 0 {
        let product = u32::try_from(next(&mut letters)?).ok()?;
        let times = next(&mut letters)?;
        let after = next(&mut letters)?;
        previous = previous.wrapping_add((after >> 1) as i64 ^ -((after & 1) as i64));
        owned.push(Owned { product, times: u32::try_from(times >> 1).ok()?, last_at: previous, kept: times & 1 == 1 });
    }
    Some(owned)
}

fn number(body: &mut String, mut n: u64) {
    while n >= u64::from(MORE) {
        body.push(char::from(FIRST + (n as u8 & (MORE - 1) | MORE)));
        n >>= BITS;
    }
    body.push(char::from(FIRST + n as u8));
}

fn next(letters: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut n = 0_u64;
    let mut place = 0;
    loop {
        let letter = letters.next()?.checked_sub(FIRST).filter(|l| *l < 2 * MORE)?;
        let bits = u64::from(letter & (MORE - 1));
        if place >= u64::BITS || bits << place >> place != bits {
            return None;
        }
        n |= bits << place;
        if letter < MORE {
            return Some(n);
        }
        place += BITS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owned() -> impl Strategy<Value = Owned> {
        let last_at = prop_oneof![any::<i64>(), 1_700_000_000_000..1_800_000_000_000_i64];
        (any::<u32>(), any::<u32>(), last_at, any::<bool>()).prop_map(|(product, times, last_at, kept)| Owned {
            product,
            times,
            last_at,
            kept,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(basket in prop::collection::vec(owned(), 0..30)) {
            let body = write(&basket);
            prop_assert!(body.bytes().all(|b| (b'0'..=b'o').contains(&b)), "{}", body);
            prop_assert_eq!(read(&body), Some(basket));
        }

        #[test]
        fn whatever_somebody_else_wrote_is_no_trouble(body in prop_oneof!["[0-o]{0,40}", ".{0,20}"]) {
            if let Some(basket) = read(&body) {
                prop_assert_eq!(read(&write(&basket)), Some(basket));
            }
        }
    }

    #[test]
    fn three_products_of_one_order_are_short_and_half_a_basket_is_none() {
        let at = 1_795_521_600_123;
        let basket = [0, 31, 32].map(|product| Owned { product, times: 1, last_at: at, kept: true });
        let body = write(&basket);
        assert_eq!(body.len(), 9 + 1 + 1 + 3 + 4, "{body}");
        assert_eq!(read(&body[..body.len() - 1]), None);
        assert_eq!(read(""), Some(vec![]));
        assert_eq!(read("ooooooooooooooo0"), None, "more than 64 bits");
        assert_eq!(read("00お"), None);
    }
}
