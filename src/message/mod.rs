//! Message: from one row of the ledger to the bytes that go over the wire.
//!
//! Pure and deterministic: the same row, snapshot, secret and `date_at` give the same bytes, however late and wherever. Reads no clock, no
//! disk, no database. Whatever the data holds, the result is one well-formed message to one recipient, or an error; never a panic.
//!
//! Which header fields a mail carries:
//!
//! | | promotional | service |
//! |---|---|---|
//! | From, To, Subject, Date, Message-ID, Reply-To, Feedback-ID | yes | yes |
//! | List-Unsubscribe | https page, then mailto (RFC 2369) | no |
//! | List-Unsubscribe-Post | with an https page (RFC 8058 §3.1) | no |
//! | List-Id | one per topic (RFC 2919) | no |
//! | Precedence: bulk | yes | no |
//! | Auto-Submitted: auto-generated | no | yes (RFC 3834 §5) |
//!
//! A service mail answers something the person did and is not a list one could leave: a button of the mail program that does not stop it
//! would be a lie. Its body may still link to the page of choices.

mod header;
mod mime;
mod wire;

pub use wire::{WireFault, check as check_wire};

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::address::{Address, AddressError};
use crate::clock::{self, Millis};
use crate::content::{Compiled, Facts, RenderError, Rendered};
use crate::token::{Clicks, LedgerKey, MessageKey, Tokens};

/// Longest URL in a List-Unsubscribe field: with its frame it must fit a line.
const URL_CHARS_MAX: usize = 900;

/// What a message row says. Borrowed from the row, so that composing copies nothing.
#[derive(Debug, Clone, Copy)]
pub struct MessageFacts<'a> {
    pub bucket: i64,
    pub chunk_id: i64,
    pub seq: i64,
    pub customer_id: &'a str,
    pub campaign: &'a str,
    pub campaign_title: &'a str,
    pub step: &'a str,
    pub slot: &'a str,
    pub topic: &'a str,
    pub topic_title: &'a str,
    /// `kind: promotional`, as against `service`.
    pub promotional: bool,
    pub template: &'a str,
    /// BCP 47.
    pub locale: &'a str,
    /// Left side of the Message-ID.
    pub message_id: &'a str,
    pub address: &'a str,
    /// `customer`, `profile`, `order`, `recommend`, `today`: the fields its templates use.
    pub payload: &'a serde_json::Value,
}

/// A message ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// RFC 5321 reverse path: where bounces go, without angle brackets.
    pub envelope_from: String,
    /// RFC 5321 forward path.
    pub envelope_to: String,
    /// Header and body, lines ending in CRLF, no dot stuffing needed (no line begins with a dot).
    pub bytes: Vec<u8>,
}

/// Why a message cannot be composed. Trying again gives the same.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error("the address {0}")]
    Address(#[from] AddressError),
    #[error("the subject came out empty")]
    EmptySubject,
    #[error("the unsubscribe link is longer than a line: the customer_id is too long")]
    LinkTooLong,
    #[error("the message id `{0}` holds characters that may not stand in a Message-ID")]
    MessageId(String),
    #[error("the message would hold {0}")]
    Wire(#[from] WireFault),
}

/// Composes the messages of one run.
#[derive(Clone)]
pub struct Composer {
    compiled: Arc<Compiled>,
    /// Without them (a preview where no secret is at hand) links and return paths are placeholders.
    tokens: Option<Tokens>,
    zone: TimeZone,
    from_domain: String,
    /// The From and Reply-To fields, the same for every message.
    sender_fields: Vec<u8>,
}

impl Composer {
    /// A composer over a run's pinned templates and sender's values.
    pub fn new(compiled: Arc<Compiled>, tokens: Option<Tokens>) -> Composer {
        let sender = &compiled.sender;
        let zone = TimeZone::get(&sender.time_zone).unwrap_or(TimeZone::UTC);
        let from_domain = sender.from.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
        let mut sender_fields = Vec::new();
        header::mailbox(&mut sender_fields, "From", &sender.name, &sender.from);
        if let Some(reply_to) = &sender.reply_to {
            header::mailbox(&mut sender_fields, "Reply-To", "", reply_to);
        }
        Composer { zone, from_domain, sender_fields, compiled, tokens }
    }

    /// Compose a message. `date_at` is the Date of its first commit.
    pub fn compose(&self, m: &MessageFacts<'_>, date_at: Millis) -> Result<Composed, ComposeError> {
        let links = self.links(m);
        let rendered = self.render_with(m, &links, date_at)?;
        self.assemble_with(m, &links, &rendered, date_at)
    }

    /// The file a person's variant of a template is written in.
    pub fn file(&self, template: &str, locale: &str) -> String {
        self.compiled.file(template, locale)
    }

    /// The content alone: what the proof of a whole audience and a preview need.
    pub fn render(&self, m: &MessageFacts<'_>, date_at: Millis) -> Result<Rendered, ComposeError> {
        self.render_with(m, &self.links(m), date_at)
    }

    /// Put rendered content into a message.
    pub fn assemble(
        &self,
        m: &MessageFacts<'_>,
        rendered: &Rendered,
        date_at: Millis,
    ) -> Result<Composed, ComposeError> {
        self.assemble_with(m, &self.links(m), rendered, date_at)
    }

    fn render_with(&self, m: &MessageFacts<'_>, links: &Links, date_at: Millis) -> Result<Rendered, ComposeError> {
        let today = clock::date_in(date_at, &self.zone).to_string();
        let rendered = self.compiled.render(
            m.template,
            &Facts {
                payload: m.payload,
                customer_id: m.customer_id,
                email: m.address,
                locale: m.locale,
                campaign: m.campaign,
                campaign_title: m.campaign_title,
                step: m.step,
                unsubscribe: links.page.as_deref().unwrap_or(&links.mailto),
                preferences: links.preferences.as_deref(),
                clicks: links.clicks.as_ref(),
                today: &today,
            },
        )?;
        Ok(rendered)
    }

    fn assemble_with(
        &self,
        m: &MessageFacts<'_>,
        links: &Links,
        rendered: &Rendered,
        date_at: Millis,
    ) -> Result<Composed, ComposeError> {
        let to = Address::parse(m.address)?;
        if header::is_blank(&rendered.subject) {
            return Err(ComposeError::EmptySubject);
        }
        if m.message_id.is_empty()
            || m.message_id.len() > 64
            || !m.message_id.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(ComposeError::MessageId(m.message_id.to_owned()));
        }
        let to = to.to_string();
        let mut out = Vec::with_capacity(2_048 + (rendered.html.len() + rendered.text.len()) * 5 / 4);
        out.extend_from_slice(&self.sender_fields);
        header::mailbox(&mut out, "To", &display_name(m), &to);
        header::text(&mut out, "Subject", &rendered.subject);
        header::raw(&mut out, "Date", &date(date_at, &self.zone));
        header::raw(&mut out, "Message-ID", &format!("<{}@{}>", m.message_id, self.from_domain));
        self.list_fields(&mut out, m, links)?;
        let [campaign, step, topic, project] =
            [m.campaign, m.step, m.topic, self.compiled.sender.project.as_str()].map(header::label);
        header::raw(&mut out, "Feedback-ID", &format!("{campaign}:{step}:{topic}:{project}"));
        let boundary = mime::boundary(m.message_id);
        header::raw(&mut out, "MIME-Version", "1.0");
        header::raw(&mut out, "Content-Type", &mime::content_type(&boundary));
        out.extend_from_slice(b"\r\n");
        mime::alternative(&mut out, &boundary, &rendered.text, &rendered.html);
        wire::check(&out)?;
        Ok(Composed { envelope_from: self.envelope_from(m), envelope_to: to, bytes: out })
    }

    /// The fields that tell machines what kind of mail this is.
    fn list_fields(&self, out: &mut Vec<u8>, m: &MessageFacts<'_>, links: &Links) -> Result<(), ComposeError> {
        if !m.promotional {
            header::raw(out, "Auto-Submitted", "auto-generated");
            return Ok(());
        }
        if links.page.as_ref().unwrap_or(&links.mailto).len() > URL_CHARS_MAX || links.mailto.len() > URL_CHARS_MAX {
            return Err(ComposeError::LinkTooLong);
        }
        match &links.page {
            Some(page) => {
                header::raw(out, "List-Unsubscribe", &format!("<{page}>,\n <{}>", links.mailto));
                if page.starts_with("https://") {
                    header::raw(out, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
                }
            }
            None => header::raw(out, "List-Unsubscribe", &format!("<{}>", links.mailto)),
        }
        header::list_id(out, m.topic_title, &format!("{}.{}", header::label(m.topic), self.from_domain));
        header::raw(out, "Precedence", "bulk");
        Ok(())
    }

    fn links(&self, m: &MessageFacts<'_>) -> Links {
        let sender = &self.compiled.sender;
        let key = MessageKey {
            customer_id: m.customer_id.to_owned(),
            campaign: m.campaign.to_owned(),
            step: m.step.to_owned(),
            slot: m.slot.to_owned(),
            topic: m.topic.to_owned(),
        };
        let clicks = self.tokens.as_ref().filter(|_| sender.base_url.is_some()).map(|tokens| tokens.clicks(&key));
        let token = self.tokens.as_ref().map(|tokens| tokens.link(&key));
        let token = token.as_deref().unwrap_or("preview");
        let page = |letter| sender.base_url.as_ref().map(|base| format!("{base}/{letter}/{token}"));
        let to = percent_encoded(sender.reply_to.as_ref().unwrap_or(&sender.from));
        Links {
            page: page("u"),
            preferences: page("p"),
            mailto: format!("mailto:{to}?subject=unsubscribe%20{token}"),
            clicks,
        }
    }

    /// The return path: it names the message, so that a bounce is known to be real and whose (VERP).
    fn envelope_from(&self, m: &MessageFacts<'_>) -> String {
        let sender = &self.compiled.sender;
        let domain = sender.bounce_domain.as_ref().unwrap_or(&self.from_domain);
        match &self.tokens {
            Some(tokens) => {
                let key = LedgerKey { bucket: m.bucket, chunk_id: m.chunk_id, seq: m.seq };
                format!("{}@{domain}", tokens.return_path(key))
            }
            None => sender.from.clone(),
        }
    }
}

/// Where the links of a message lead.
struct Links {
    /// The page to unsubscribe on; none without a base URL.
    page: Option<String>,
    preferences: Option<String>,
    mailto: String,
    /// Signs the links of the content, when there is a redirect for them.
    clicks: Option<Clicks>,
}

/// The address of a mailto link (RFC 6068 §2): what could end it is percent-encoded.
fn percent_encoded(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for b in address.bytes() {
        match b {
            b'@' | b'.' | b'-' | b'_' | b'~' | b'+' => out.push(char::from(b)),
            _ if b.is_ascii_alphanumeric() => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// The person's name as their language orders it, when it can be shown as a name: one that holds an address or a link would be somebody
/// misusing our sign-up form to write to others.
fn display_name(m: &MessageFacts<'_>) -> String {
    let part = |name: &str| {
        m.payload.get("customer").and_then(|c| c.get(name)).and_then(serde_json::Value::as_str).unwrap_or_default()
    };
    let (first, last) = (part("first_name").trim(), part("last_name").trim());
    let family_first = ["ja", "zh", "ko", "hu"].contains(&m.locale.split(['-', '_']).next().unwrap_or_default());
    let name = if family_first { format!("{last} {first}") } else { format!("{first} {last}") };
    let name = name.trim();
    let suspicious = name.contains(['@', '<', '>', '\r', '\n', '\0'])
        || name.contains("://")
        || name.to_lowercase().contains("www.");
    if suspicious || name.chars().count() > 60 { String::new() } else { name.to_owned() }
}

/// RFC 5322 §3.3 in the project's zone.
fn date(at: Millis, zone: &TimeZone) -> String {
    clock::timestamp(at).to_zoned(zone.clone()).strftime("%a, %-d %b %Y %H:%M:%S %z").to_string()
}

#[cfg(test)]
mod tests;
