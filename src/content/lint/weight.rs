//! How much a mail weighs, and whether there are words in it.

use super::{Mail, Told};

/// Gmail shows so much of a mail's HTML and hides the rest behind a link, the unsubscribe link with it.
pub(super) const HTML_BYTES_MAX: usize = 102_400;
/// Room for a long name, another product, a longer link.
const HTML_BYTES_WARNED: usize = 90 * 1_024;
/// Fewer words seen beside pictures, in characters, are a picture with a caption.
const WORDS_CHARS_MIN: usize = 80;
/// A text part that says less than this share of what the HTML says leaves out what its readers came for.
const TEXT_SHARE_MIN: f64 = 0.2;

pub(super) fn lint(mail: &Mail<'_>, told: &mut Told<'_>) {
    let bytes = mail.bytes;
    let size = format!("the mail is {:.0} kB of HTML", bytes as f64 / 1_000.0);
    if bytes > HTML_BYTES_MAX {
        told.tell(
            "too-large-mail",
            &mail.parts.body,
            format!("{size}: Gmail cuts it off at 102,400 bytes, before the unsubscribe link"),
            "fewer products, shorter styles, pictures by address in place of data: URLs",
        );
    } else if bytes > HTML_BYTES_WARNED {
        told.tell(
            "large-mail",
            &mail.parts.body,
            format!("{size}: Gmail cuts mails off at 102,400 bytes"),
            "it grows with what customers have; leave room",
        );
    }
    let said = chars(
        mail.page
            .texts
            .iter()
            .filter(|t| t.within.is_none_or(|w| mail.light[w].shows_words()))
            .map(|t| t.words.as_str()),
    );
    let picture = mail.page.elements.iter().enumerate().find(|(at, e)| e.name == "img" && !mail.light[*at].hidden);
    if let Some((_, picture)) = picture.filter(|_| said < WORDS_CHARS_MIN) {
        told.tell(
            "image-only",
            &picture.place,
            "the mail is pictures, with hardly a word".to_owned(),
            "write the words as text: many programs show no pictures at first, and filters distrust mails without words",
        );
    }
    let text = chars(std::iter::once(mail.rendered.text.as_str()));
    if text == 0 || (text as f64) < TEXT_SHARE_MIN * said as f64 {
        told.tell(
            "missing-text",
            &mail.parts.text,
            "the text part says next to nothing of what the mail says".to_owned(),
            "take the .txt file away, and the text part is made from the HTML; or write it out",
        );
    }
}

fn chars<'t>(texts: impl Iterator<Item = &'t str>) -> usize {
    texts.flat_map(str::chars).filter(|c| c.is_alphanumeric()).count()
}
