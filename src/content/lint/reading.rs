//! Whether everybody can read it: contrast by day and by night, and words in place of pictures.

use super::look::{Look, looks};
use super::page::Page;
use super::{Mail, Told};
use crate::settings::colour::{Colour, LARGE_CONTRAST_MIN, TEXT_CONTRAST_MIN, contrast};

/// Large text (WCAG 2.2, 1.4.3): from 24 px, or bold from 18.66 px on.
const LARGE_PX: f64 = 24.0;
const LARGE_BOLD_PX: f64 = 18.66;

pub(super) fn lint(mail: &Mail<'_>, told: &mut Told<'_>) {
    faint(mail.page, mail.light, "low-contrast", "", told);
    silent_pictures(mail, told);
}

/// The mail in the dark.
pub(super) fn dark(page: &Page, told: &mut Told<'_>) {
    faint(page, &looks(page), "low-contrast-dark", " in the dark", told);
}

fn faint(page: &Page, looks: &[Look], code: &'static str, when: &str, told: &mut Told<'_>) {
    for text in &page.texts {
        let Some(within) = text.within.filter(|_| text.words.contains(|c: char| c.is_alphanumeric())) else { continue };
        let Look { ink, paper, size, bold, .. } = looks[within];
        let decorates = page.around(Some(within)).any(|e| page.elements[e].attribute("aria-hidden") == Some("true"));
        let Some(paper) = paper.filter(|_| looks[within].shows_words() && !decorates) else { continue };
        let large = size >= LARGE_PX || (bold && size >= LARGE_BOLD_PX);
        let (found, asked) = (contrast(ink, paper), if large { LARGE_CONTRAST_MIN } else { TEXT_CONTRAST_MIN });
        // Rounded like the figure that is told, so that 4.5 is never said to be less than 4.5.
        let [seen, on] = [ink, paper].map(Colour::of_parts);
        if (found * 10.0).round() / 10.0 < asked {
            told.tell(
                code,
                &page.elements[within].place,
                format!("{seen} on {on}{when} has a contrast of {found:.1}; text needs {asked}"),
                "a darker or lighter colour; large text (24 px, or 18.7 px bold) needs 3",
            );
        }
    }
}

/// Pictures that say nothing to whoever does not see them.
fn silent_pictures(mail: &Mail<'_>, told: &mut Told<'_>) {
    let page = mail.page;
    for (at, element) in page.elements.iter().enumerate().filter(|(at, _)| !mail.light[*at].hidden) {
        match (element.name.as_str(), element.attribute("alt")) {
            ("img", None) => told.tell(
                "missing-alt",
                &element.place,
                "a picture without alternative text".to_owned(),
                "say what it shows: alt=\"…\"; alt=\"\" where it only decorates",
            ),
            ("a", _) if element.attribute("href").is_some() && says_nothing(page, at) => told.tell(
                "missing-alt",
                &element.place,
                "a link that holds a picture and no words".to_owned(),
                "the alternative text of a picture that is a link says where it leads",
            ),
            _ => {}
        }
    }
}

/// Whether a link holds pictures, and neither words nor an alternative text nor a label.
fn says_nothing(page: &Page, link: usize) -> bool {
    let inside = |within| page.is_inside(within, link);
    let pictures: Vec<_> = page.elements.iter().filter(|e| e.name == "img" && inside(e.parent)).collect();
    let labelled =
        ["aria-label", "title"].iter().any(|n| page.elements[link].attribute(n).is_some_and(|v| !v.is_empty()));
    // One without any alternative text is told by itself.
    !pictures.is_empty()
        && pictures.iter().all(|p| p.attribute("alt").is_some_and(|alt| alt.trim().is_empty()))
        && !labelled
        && !page.texts.iter().any(|t| inside(t.within) && t.words.contains(|c: char| c.is_alphanumeric()))
}
