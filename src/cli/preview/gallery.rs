//! The gallery: one file with every mail of a preview, that needs nothing else and loads nothing.
//!
//! The mails travel as data and are shown in frames that may run no script; what came from data never becomes a part of the page itself.
//! The page's own policy, which the frames inherit, forbids every request but the question of [`super::serve`] whether files have changed.

use serde_json::{Value, json};

use super::Previewed;
use super::mails::{Content, Shown};
use crate::problem::Problems;
use crate::web::escape;

const STYLE: &str = include_str!("gallery.css");
const SCRIPT: &str = include_str!("gallery.js");

/// What a gallery shows.
pub(super) struct Gallery(Value);

impl Gallery {
    pub fn of(campaign: &str, previewed: &Previewed) -> Gallery {
        Gallery(json!({
            "campaign": campaign,
            "title": previewed.title,
            "sender": previewed.sender,
            "problems": previewed.problems.to_json(),
            "mails": previewed.mails.iter().map(mail).collect::<Vec<_>>(),
        }))
    }

    /// The page. With a stamp it asks whether the files still have it.
    pub fn html(&self, stamp: Option<&str>) -> String {
        let mut data = self.0.clone();
        data["stamp"] = stamp.into();
        let title = format!("{} · preview", data["title"].as_str().unwrap_or_default());
        page(&title, &data)
    }
}

/// The page while the files cannot be used.
pub(super) fn broken(campaign: &str, problems: &Problems, stamp: &str) -> String {
    let data = json!({
        "campaign": campaign, "title": campaign, "sender": "", "problems": problems.to_json(), "mails": [], "stamp": stamp,
    });
    page(&format!("{campaign} · preview"), &data)
}

fn mail(shown: &Shown) -> Value {
    let mut data = json!({
        "step": shown.step, "arm": shown.arm, "locale": shown.locale, "person": shown.person,
        "personTitle": shown.person_title, "file": shown.file,
    });
    let more = match &shown.content {
        Content::Mail(mail) => json!({
            "subject": mail.subject, "preheader": mail.preheader, "html": mail.html, "text": mail.text, "header": mail.header(),
            "htmlBytes": mail.html_bytes, "textBytes": mail.text_bytes, "messageBytes": mail.message_bytes,
        }),
        Content::Skipped { reason } => json!({ "skipped": reason }),
        Content::Failed { message, hint, .. } => json!({ "failed": message, "hint": hint }),
    };
    if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
        data.extend(more);
    }
    data
}

fn page(title: &str, data: &Value) -> String {
    // No `<` stands in the data, so nothing in it can end the element it stands in.
    let data = data.to_string().replace('<', "\\u003c");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
         img-src data:; connect-src 'self'\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <noscript>This page shows its mails with a script of its own; allow it, or open the files that --eml writes.</noscript>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_never_leaves_its_element() {
        let hostile = "</script><script>alert(1)</script><!--<script>";
        let data = json!({ "title": hostile, "mails": [{ "html": hostile, "subject": hostile }] });
        let html = page(hostile, &data);
        assert_eq!(html.matches("</script>").count(), 2, "{html}");
        assert_eq!(html.matches("<script").count(), 2);
        assert!(!html.contains("<!--") && html.contains("<title>&lt;/script&gt;"));
        let held = html.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
        assert_eq!(serde_json::from_str::<Value>(held).unwrap(), data);
    }
}
