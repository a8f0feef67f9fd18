//! The pages: self-contained HTML, no script, no image, nothing fetched. Pure.

use base64::Engine as _;

use crate::settings::{Palette, Settings, Topic, in_language};

use crate::feedback::answer::COMMENT_CHARS_MAX;
use crate::token::Answer;

use super::form::{BUTTON, Press};
use super::language::{Language, Texts};

/// What all pages of a project share.
pub struct Pages {
    shop: String,
    /// A mailto: link to where people can write to us.
    contact: String,
    style: String,
    content_security_policy: String,
    default_language: Language,
    topics: Vec<Topic>,
}

/// A page about one message: its language, and the words that fill its sentences.
pub struct Page<'a> {
    pages: &'a Pages,
    language: Language,
    topic: String,
    /// Masked: whoever holds the link sees which mailbox is meant, not its name.
    address: Option<String>,
}

impl Pages {
    pub fn new(settings: &Settings) -> Pages {
        let address = settings.sender.reply_to.as_deref().unwrap_or(&settings.sender.from);
        let contact = format!("<a href=\"mailto:{0}\">{0}</a>", escape(address));
        let style = style(&settings.brand.light);
        let digest = ring::digest::digest(&ring::digest::SHA256, style.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(digest);
        Pages {
            shop: in_language(&settings.brand.name, &settings.default_locale)
                .unwrap_or(settings.sender_name())
                .to_owned(),
            contact,
            style,
            content_security_policy: format!(
                "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            ),
            default_language: Language::of_locale(&settings.default_locale).unwrap_or(Language::English),
            topics: settings.topics.clone(),
        }
    }

    /// Nothing may be loaded, run, framed or posted elsewhere; the one style is named by its hash.
    pub fn content_security_policy(&self) -> &str {
        &self.content_security_policy
    }

    /// The project's topics, in its own order.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The page of a message in `locale`, or failing that in a language the browser asks for.
    pub fn about(&self, topic: &str, address: Option<&str>, locale: Option<&str>, accept_language: &str) -> Page<'_> {
        let language = locale
            .and_then(Language::of_locale)
            .or_else(|| Language::accepted(accept_language))
            .unwrap_or(self.default_language);
        let topic = self.title(topic, language).to_owned();
        Page { pages: self, language, topic, address: address.map(crate::address::masked) }
    }

    /// A page about no message in particular.
    pub fn plain(&self, accept_language: &str) -> Page<'_> {
        self.about("", None, None, accept_language)
    }

    fn title<'t>(&'t self, topic: &'t str, language: Language) -> &'t str {
        self.topics.iter().find(|t| t.name == topic).map_or(topic, |t| t.title(language.tag()))
    }
}

impl Page<'_> {
    fn texts(&self) -> &'static Texts {
        self.language.texts()
    }

    /// "Stop these e-mails?" with its buttons. `preferences` is the way to the preference page.
    pub fn ask(&self, preferences: &str) -> String {
        let t = self.texts();
        let ask = if self.address.is_some() { t.ask } else { t.ask_without_address };
        let body = format!(
            "<p>{}</p>\n<form method=\"post\">\n{}\n{}\n</form>\n{}",
            self.fill(ask),
            self.button(Press::StopTopic, t.stop_topic, "main"),
            self.button(Press::StopPromotional, t.stop_promotional, "other"),
            self.link(preferences, t.choose),
        );
        self.html(t.ask_title, &body)
    }

    /// "You are unsubscribed", with the way back.
    pub fn stopped(&self, undo: Press, preferences: &str) -> String {
        let t = self.texts();
        let said = if undo == Press::UndoPromotional { t.promotional_stopped } else { t.topic_stopped };
        let body = format!(
            "<p>{}</p>\n<p class=\"small\">{}</p>\n<form method=\"post\">\n{}\n</form>\n{}",
            self.fill(said),
            self.fill(t.on_its_way),
            self.button(undo, t.undo, "other"),
            self.link(preferences, t.choose),
        );
        self.html(t.stopped_title, &body)
    }

    /// "Welcome back".
    pub fn resumed(&self, undone: Press, preferences: &str) -> String {
        let t = self.texts();
        let said = if undone == Press::UndoPromotional { t.promotional_resumed } else { t.topic_resumed };
        self.html(t.resumed_title, &format!("<p>{}</p>\n{}", self.fill(said), self.link(preferences, t.choose)))
    }

    /// The preference page; `gets` tells the topics this person receives. `saved` says so on top.
    pub fn preferences(&self, gets: impl Fn(&str) -> bool, saved: bool) -> String {
        let t = self.texts();
        let mut boxes = String::new();
        for topic in &self.pages.topics {
            let checked = if gets(&topic.name) { " checked" } else { "" };
            boxes.push_str(&format!(
                "<label><input type=\"checkbox\" name=\"topic\" value=\"{}\"{checked}> <span>{}</span></label>\n",
                escape(&topic.name),
                escape(topic.title(self.language.tag())),
            ));
        }
        let ask = if self.address.is_some() { t.preferences } else { t.preferences_without_address };
        let body = format!(
            "<p{}>{}</p>\n<form method=\"post\">\n<div class=\"boxes\">\n{boxes}</div>\n\
             <button class=\"main\" name=\"{BUTTON}\" value=\"save\">{}</button>\n{}\n</form>\n<p class=\"small end\">{}</p>",
            if saved { " role=\"status\"" } else { "" },
            self.fill(if saved { t.saved } else { ask }),
            self.fill(t.save),
            self.button(Press::StopPromotional, t.stop_promotional, "other"),
            self.fill(t.always),
        );
        self.html(if saved { t.saved_title } else { t.preferences_title }, &body)
    }

    /// "You chose 4 of 5", the other numbers beside it, a place for words, and the button that makes it count.
    pub fn answer(&self, proposed: &Answer) -> String {
        let t = self.texts();
        let mark = |n: u8| if of_stars(proposed) { "★".to_owned() } else { n.to_string() };
        let numbers: String = proposed
            .scale()
            .map(|n| {
                let checked = if n == proposed.score { " checked" } else { "" };
                format!(
                    "<label><input type=\"radio\" name=\"score\" value=\"{n}\" aria-label=\"{}\" required{checked}>\
                     <span aria-hidden=\"true\">{}</span></label>\n",
                    escape(&counted(t.number, n, proposed.of)),
                    mark(n),
                )
            })
            .collect();
        let body = format!(
            "<form method=\"post\">\n<fieldset class=\"scale {}\"><legend>{}</legend>\n{numbers}</fieldset>\n\
             <label class=\"words\"><span>{}</span>\n<textarea name=\"comment\" rows=\"4\" maxlength=\"{COMMENT_CHARS_MAX}\"></textarea></label>\n\
             <button class=\"main\" name=\"{BUTTON}\" value=\"answer\">{}</button>\n</form>\n<p class=\"small end\">{}</p>",
            if of_stars(proposed) { "stars" } else { "numbers" },
            self.fill(t.choose_again),
            self.fill(t.words),
            self.fill(t.send_answer),
            self.fill(t.who_reads),
        );
        self.html(&counted(t.chose_title, proposed.score, proposed.of), &body)
    }

    /// "Thank you", with the way to another answer.
    pub fn answered(&self, answer: &Answer, again: &str) -> String {
        let t = self.texts();
        let body = format!(
            "<p role=\"status\">{}</p>\n{}",
            self.fill(&counted(t.answered, answer.score, answer.of)),
            self.link(again, t.answer_again),
        );
        self.html(t.answered_title, &body)
    }

    /// A stop that the person cannot lift here.
    pub fn barred(&self) -> String {
        self.notice(self.texts().not_understood_title, self.texts().barred)
    }

    /// An unknown page, or a link that is not ours or was altered.
    pub fn not_found(&self) -> String {
        self.notice(self.texts().not_found_title, self.texts().not_found)
    }

    /// A body we cannot read.
    pub fn not_understood(&self) -> String {
        self.notice(self.texts().not_understood_title, self.texts().not_understood)
    }

    /// The database is away, or the request took too long.
    pub fn unavailable(&self) -> String {
        self.notice(self.texts().unavailable_title, self.texts().unavailable)
    }

    fn notice(&self, title: &str, text: &str) -> String {
        self.html(title, &format!("<p>{}</p>", self.fill(text)))
    }

    fn button(&self, press: Press, text: &str, class: &str) -> String {
        format!("<button class=\"{class}\" name=\"{BUTTON}\" value=\"{}\">{}</button>", press.value(), self.fill(text))
    }

    fn link(&self, href: &str, text: &str) -> String {
        format!("<p class=\"way\"><a href=\"{}\">{}</a></p>", escape(href), self.fill(text))
    }

    /// A sentence with its `{words}` replaced, ready for HTML. One pass: a topic called `{contact}` stays what it is.
    fn fill(&self, sentence: &str) -> String {
        let mut out = String::with_capacity(sentence.len() + 64);
        let mut rest = sentence;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(&escape(before));
            let (word, after) = after.split_once('}').unwrap_or((after, ""));
            match word {
                "shop" => out.push_str(&format!("<b>{}</b>", escape(&self.pages.shop))),
                "topic" => out.push_str(&escape(&self.topic)),
                "address" => out.push_str(&escape(self.address.as_deref().unwrap_or_default())),
                "contact" => out.push_str(&self.pages.contact),
                other => unreachable!("the sentences have no {{{other}}}"),
            }
            rest = after;
        }
        out.push_str(&escape(rest));
        out
    }

    fn html(&self, title: &str, body: &str) -> String {
        format!(
            "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{} · {}</title>\n<style>{}</style>\n</head>\n\
             <body>\n<main>\n<header>{}</header>\n<h1>{}</h1>\n{body}\n</main>\n</body>\n</html>\n",
            self.language.tag(),
            escape(title),
            escape(&self.pages.shop),
            self.pages.style,
            escape(&self.pages.shop),
            escape(title),
        )
    }
}

/// Whether an answer is shown as stars.
fn of_stars(answer: &Answer) -> bool {
    answer.of == 5
}

/// A sentence with its `{n}` and `{of}`.
fn counted(sentence: &str, n: u8, of: u8) -> String {
    sentence.replace("{n}", &n.to_string()).replace("{of}", &of.to_string())
}

/// Text made safe inside HTML, in attributes too.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The shop's accent colour, and what is read on it.
fn style(brand: &Palette) -> String {
    format!(":root{{--accent:{};--on-accent:{}}}{STYLE}", brand.get("accent"), brand.get("on_accent"))
}

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#f4f1ec;--card:#fffdfa;--text:#26231f;--soft:#6b645b;--line:#dcd5ca;--star:#b57608}\
@media(prefers-color-scheme:dark){:root{--page:#171614;--card:#211f1d;--text:#ece7df;--soft:#a9a196;--line:#413d38;--star:#e8b04a}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;justify-content:center;align-items:flex-start;padding:12vh 16px 32px;\
background:var(--page);color:var(--text);\
font:17px/1.6 system-ui,-apple-system,'Segoe UI',Roboto,'Hiragino Sans','Noto Sans JP','Yu Gothic UI',sans-serif;\
line-break:strict;overflow-wrap:anywhere}:lang(ja){word-break:auto-phrase}\
main{width:100%;max-width:34rem;background:var(--card);border:1px solid var(--line);border-top:4px solid var(--accent);\
border-radius:12px;padding:28px clamp(20px,6vw,44px) 36px}\
header{color:var(--soft);font-size:.9rem;letter-spacing:.04em}\
h1{font-size:1.55rem;line-height:1.3;font-weight:650;margin:.5rem 0 1rem;text-wrap:balance}\
p{margin:0 0 1.1rem}b{font-weight:600}\
.small{color:var(--soft);font-size:.9rem}.end{margin:1.4rem 0 0}\
form{display:grid;gap:12px;margin:1.6rem 0 0}\
button{font:inherit;font-weight:600;min-height:48px;padding:10px 18px;border-radius:9px;cursor:pointer;width:100%}\
.main{background:var(--accent);color:var(--on-accent);border:1px solid var(--accent)}\
.other{background:transparent;color:inherit;border:1px solid var(--line)}\
button:hover{filter:brightness(1.08)}.other:hover{border-color:currentColor}\
:focus-visible{outline:3px solid var(--text);outline-offset:2px}\
.way{margin:1.4rem 0 0;text-align:center}a{color:inherit;text-underline-offset:3px}\
.boxes{border:1px solid var(--line);border-radius:9px;margin-bottom:6px}\
label{display:flex;gap:14px;align-items:center;padding:14px 16px;cursor:pointer}\
label+label{border-top:1px solid var(--line)}\
input{width:20px;height:20px;margin:0;flex:none;accent-color:var(--accent)}\
fieldset{border:0;margin:0;padding:0;min-width:0}legend{padding:0;margin:0 0 10px;color:var(--soft);font-size:.9rem}\
.scale{display:flex;flex-wrap:wrap;gap:6px}.scale legend{float:left;width:100%}\
.scale label{position:relative;padding:0;gap:0;border:0;justify-content:center;flex:1 1 44px;max-width:64px}\
.scale input{position:absolute;inset:0;width:100%;height:100%;opacity:0;cursor:pointer}\
.scale span{width:100%;text-align:center;border-radius:9px;line-height:46px;min-height:48px;border:1px solid var(--line)}\
.numbers{display:grid;grid-template-columns:repeat(11,1fr);gap:5px}.numbers legend{grid-column:1/-1;float:none}\
.numbers input:checked+span{background:var(--accent);border-color:var(--accent);color:var(--on-accent);font-weight:600}\
.stars span{border:0;font-size:2.3rem;color:var(--line)}\
.stars input:checked+span,.stars label:has(~label input:checked) span{color:var(--star)}\
.scale :focus-visible+span{outline:3px solid var(--text);outline-offset:2px}\
.words{display:block;padding:14px 0 4px}.words span{display:block;margin-bottom:8px;color:var(--soft);font-size:.9rem}\
textarea{display:block;width:100%;font:inherit;color:inherit;background:var(--page);border:1px solid var(--line);border-radius:9px;\
padding:10px 12px;resize:vertical;min-height:7rem}\
@media(max-width:520px){.numbers{grid-template-columns:repeat(6,1fr)}}\
@media(max-width:420px){body{padding:16px 12px}main{padding-top:22px}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_names_is_text() {
        assert_eq!(escape("<b a=\"'&\">"), "&lt;b a=&quot;&#39;&amp;&quot;&gt;");
    }
}
