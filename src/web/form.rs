//! Reads what a form or a mail program posts. Pure.

use crate::feedback::answer::COMMENT_CHARS_MAX;

/// What was asked for on `/u/{token}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    /// A mail program's own unsubscribe button (RFC 8058 §3.2).
    OneClick,
    StopTopic,
    StopPromotional,
    UndoTopic,
    UndoPromotional,
}

/// What was asked for on `/p/{token}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Mail about these topics and no others.
    Topics(Vec<String>),
    StopPromotional,
}

/// What was said on `/a/{token}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub score: u8,
    /// Empty when nothing was written.
    pub comment: String,
}

/// The value that names the button pressed.
pub const BUTTON: &str = "do";

impl Press {
    /// The value of its button.
    pub fn value(self) -> &'static str {
        match self {
            Press::OneClick => "one_click",
            Press::StopTopic => "stop_topic",
            Press::StopPromotional => "stop_promotional",
            Press::UndoTopic => "undo_topic",
            Press::UndoPromotional => "undo_promotional",
        }
    }
}

/// The press in a body; `None` when it is none of ours.
///
/// Mail programs post `List-Unsubscribe=One-Click`, as multipart/form-data or as application/x-www-form-urlencoded: RFC 8058 §3.2 leaves the
/// choice to them.
pub fn press(content_type: &str, body: &[u8]) -> Option<Press> {
    let pairs = pairs(content_type, body);
    if pairs.iter().any(|(k, v)| k.eq_ignore_ascii_case("List-Unsubscribe") && v.eq_ignore_ascii_case("One-Click")) {
        return Some(Press::OneClick);
    }
    let (_, pressed) = pairs.iter().find(|(k, _)| k == BUTTON)?;
    [Press::StopTopic, Press::StopPromotional, Press::UndoTopic, Press::UndoPromotional]
        .into_iter()
        .find(|p| p.value() == pressed)
}

/// The choice in a body; `None` when it is none of ours.
pub fn choice(content_type: &str, body: &[u8]) -> Option<Choice> {
    let pairs = pairs(content_type, body);
    let (_, pressed) = pairs.iter().find(|(k, _)| k == BUTTON)?;
    match pressed.as_str() {
        "save" => Some(Choice::Topics(pairs.into_iter().filter(|(k, _)| k == "topic").map(|(_, v)| v).collect())),
        pressed if pressed == Press::StopPromotional.value() => Some(Choice::StopPromotional),
        _ => None,
    }
}

/// The answer in a body; `None` when it is none of ours.
pub fn answer(content_type: &str, body: &[u8]) -> Option<Said> {
    let pairs = pairs(content_type, body);
    let value = |name: &str| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    value(BUTTON).filter(|pressed| *pressed == "answer")?;
    let score = value("score")?.parse().ok()?;
    Some(Said { score, comment: comment(value("comment").unwrap_or_default()) })
}

/// Words as we keep them: lines end in `\n`, no other control character and none that turns the direction of writing, no more than fits.
fn comment(written: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let unix = written.replace("\r\n", "\n").replace('\r', "\n");
    let kept = unix.chars().filter(|c| *c == '\n' || !(c.is_control() || turns(*c)));
    kept.take(COMMENT_CHARS_MAX).collect::<String>().trim().to_owned()
}

fn pairs(content_type: &str, body: &[u8]) -> Vec<(String, String)> {
    if content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") {
        return boundary(content_type).map(|b| parts(&b, body)).unwrap_or_default();
    }
    url::form_urlencoded::parse(body.trim_ascii()).into_owned().collect()
}

/// RFC 2046 §5.1.1: the boundary parameter, quoted or not.
fn boundary(content_type: &str) -> Option<String> {
    let at = content_type.to_ascii_lowercase().find("boundary=")?;
    let value = content_type[at + "boundary=".len()..].split(';').next()?.trim().trim_matches('"');
    (!value.is_empty()).then(|| value.to_owned())
}

/// The text fields of a multipart/form-data body (RFC 7578).
fn parts(boundary: &str, body: &[u8]) -> Vec<(String, String)> {
    let body = String::from_utf8_lossy(body);
    let field = |part: &str| {
        let (head, value) = part.split_once("\r\n\r\n").or_else(|| part.split_once("\n\n"))?;
        let lower = head.to_ascii_lowercase();
        let name = head[lower.find("name=")? + "name=".len()..].split([';', '\r', '\n']).next()?.trim();
        Some((name.trim_matches('"').to_owned(), value.trim_end().to_owned()))
    };
    body.split(&format!("--{boundary}")).filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn one_click_is_understood_in_both_encodings() {
        assert_eq!(press(FORM, b"List-Unsubscribe=One-Click"), Some(Press::OneClick));
        assert_eq!(press("", b"List-Unsubscribe=One-Click\r\n"), Some(Press::OneClick));
        // The example of RFC 8058 §8.2.
        let multipart = b"---FormBoundaryjWmhtjORrn\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n---FormBoundaryjWmhtjORrn--\r\n";
        assert_eq!(press("multipart/form-data; boundary=-FormBoundaryjWmhtjORrn", multipart), Some(Press::OneClick));
    }

    #[test]
    fn buttons_and_boxes_are_read() {
        assert_eq!(press(FORM, b"do=stop_promotional"), Some(Press::StopPromotional));
        assert_eq!(press(FORM, b"do=undo_topic&x=1"), Some(Press::UndoTopic));
        assert_eq!(
            choice(FORM, "topic=offers&topic=%E3%81%8A&do=save".as_bytes()),
            Some(Choice::Topics(vec!["offers".into(), "お".into()]))
        );
        assert_eq!(choice(FORM, b"do=save"), Some(Choice::Topics(vec![])));
        assert_eq!(choice(FORM, b"do=stop_promotional"), Some(Choice::StopPromotional));
    }

    #[test]
    fn answers_are_read_and_their_words_made_harmless() {
        let said = |body: &str| answer(FORM, body.as_bytes());
        let is = |score, comment: &str| Some(Said { score, comment: comment.to_owned() });
        assert_eq!(said("score=4&comment=&do=answer"), is(4, ""));
        assert_eq!(said("do=answer&score=0"), is(0, ""));
        assert_eq!(
            said("score=9&do=answer&comment=+%E3%81%8A%0D%0Ab%00%1b%5B31m%E2%80%AEc%0D%0A"),
            is(9, "お\nb[31mc")
        );
        let long = said(&format!("score=1&do=answer&comment={}", "%E8%8C%B6".repeat(1_200))).unwrap();
        assert_eq!(long.comment, "茶".repeat(COMMENT_CHARS_MAX));
        for none in
            ["score=4", "do=answer", "do=answer&score=", "do=answer&score=-1", "do=answer&score=4.5", "do=save&score=4"]
        {
            assert_eq!(said(none), None, "{none}");
        }
    }

    #[test]
    fn anything_else_is_no_press() {
        for (kind, body) in [
            (FORM, &b""[..]),
            (FORM, b"do=one_click"),
            (FORM, b"List-Unsubscribe=Two-Clicks"),
            (FORM, b"\xff\xfe%zz"),
            ("application/json", b"{\"do\":\"stop_topic\"}"),
            ("multipart/form-data", b"List-Unsubscribe=One-Click"),
            ("multipart/form-data; boundary=", b"----\r\n\r\n"),
        ] {
            assert_eq!(press(kind, body), None, "{kind} {body:?}");
        }
    }
}
