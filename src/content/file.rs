//! A template file as its author wrote it: header lines, an empty line, the body.
//!
//! ```text
//! Subject: {{ customer.first_name | default(value="Hello") }}, welcome back
//! Preheader: Something from your shelf
//!
//! <!DOCTYPE html>…
//! ```
//!
//! Header text is raw: no quoting, one line each. Lines count from 1, columns are characters from 1.

use crate::problem::{Place, Problems};

/// The headers a template file may have.
const HEADERS: [&str; 2] = ["Subject", "Preheader"];

/// A piece of a file and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub text: &'a str,
    pub line: usize,
    pub column: usize,
}

/// The pieces of one `.html` template of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub subject: Piece<'a>,
    pub preheader: Option<Piece<'a>>,
    pub body: Piece<'a>,
}

/// Take a file apart. Unknown, repeated and missing headers are problems; `None` when there is no subject.
pub(super) fn parts<'a>(file: &str, text: &'a str, problems: &mut Problems) -> Option<Parts<'a>> {
    let at = |line, column| Place { file: file.into(), line, column };
    let mut found: [Option<Piece<'a>>; 2] = [None, None];
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (whole, next) = rest.split_once('\n').unwrap_or((rest, ""));
        let content = whole.strip_suffix('\r').unwrap_or(whole);
        if content.trim().is_empty() {
            rest = next;
            line += 1;
            break;
        }
        let name = content.split_once(':').map(|(n, _)| n).filter(|n| is_header_name(n));
        let Some(name) = name else {
            // The body has begun without an empty line before it.
            if line > 1 {
                problems
                    .error(
                        "missing-empty-line",
                        &at(line, 1),
                        "an empty line must stand between the headers and the body",
                    )
                    .hint("a header is one line: `Subject: …`");
            }
            break;
        };
        let value = content[name.len() + 1..].trim();
        let column = 1 + content[..content.len() - content[name.len() + 1..].trim_start().len()].chars().count();
        match HEADERS.iter().position(|h| h.eq_ignore_ascii_case(name)) {
            Some(i) if found[i].is_some() => {
                problems.error("repeated-header", &at(line, 1), format!("`{name}:` stands twice"));
            }
            Some(i) => found[i] = Some(Piece { text: value, line, column }),
            None => {
                problems
                    .error("unknown-header", &at(line, 1), format!("`{name}:` is not a header of a template"))
                    .did_you_mean(name, HEADERS);
            }
        }
        rest = next;
        line += 1;
    }
    let [subject, preheader] = found;
    match subject.filter(|s| !s.text.is_empty()) {
        Some(subject) => Some(Parts { subject, preheader, body: Piece { text: rest, line, column: 1 } }),
        None => {
            problems
                .error("missing-subject", &at(1, 1), "a mail needs a subject")
                .hint("begin the file with `Subject: …`, then an empty line, then the body");
            None
        }
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Parts<'_>>, String) {
        let mut problems = Problems::new();
        let parts = parts("a.html", text, &mut problems);
        (parts, anstream::adapter::strip_str(&problems.to_text()).to_string())
    }

    #[test]
    fn headers_and_body_know_their_places() {
        let (parts, problems) = read("Subject:  日本: {{ x }} \r\nPreheader: soon\r\n\r\n<p>\r\n");
        let parts = parts.unwrap();
        assert_eq!(problems, "");
        assert_eq!(parts.subject, Piece { text: "日本: {{ x }}", line: 1, column: 11 });
        assert_eq!(parts.preheader, Some(Piece { text: "soon", line: 2, column: 12 }));
        assert_eq!(parts.body, Piece { text: "<p>\r\n", line: 4, column: 1 });
    }

    #[test]
    fn mistakes_are_told_with_the_remedy() {
        insta::assert_snapshot!(read("Subjct: a\nSubject: b\nsubject: c\n<p>\n").1, @r"
        a.html:1:1: error: `Subjct:` is not a header of a template [unknown-header]
            did you mean `Subject`?
        a.html:3:1: error: `subject:` stands twice [repeated-header]
        a.html:4:1: error: an empty line must stand between the headers and the body [missing-empty-line]
            a header is one line: `Subject: …`
        3 errors and 0 warnings
        ");
        for text in ["", "<p>Hello</p>", "\n<p>", "Subject:\n\n<p>"] {
            let (parts, problems) = read(text);
            assert!(parts.is_none() && problems.contains("a mail needs a subject"), "{text:?}: {problems}");
        }
    }
}
