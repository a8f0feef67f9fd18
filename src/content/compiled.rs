//! Templates ready to render: the mails of a snapshot with their engine, and what one message is told. Reads no disk and no clock.
//!
//! [`Snapshot::compile`](super::Snapshot::compile) makes them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use tera::{Context, Tera, Value};

use super::answer::Answering;
use super::current::{self, Current};
use super::engine::{self, RenderError, Source};
use super::fields::FieldSet;
use super::flatten::Refusal;
use super::load::{self, Variant};
use super::mapped::Origin;
use super::plain;
use super::prepare::{self, body_of};
use super::snapshot::SenderValues;
use super::traced::Parts;
use super::track::Trail;
use super::{context, gate, language, marks};
use crate::problem::{Place, Problems};
use crate::token::Clicks;

/// The sources of one variant of a mail, by their names in the engine.
#[derive(Debug, Clone)]
pub(super) struct Mail {
    locale: Option<String>,
    subject: String,
    preheader: Option<String>,
    /// The author's file.
    html: String,
    /// The source that is rendered: the prepared body, or the file itself.
    body: String,
    /// Everything is still to be done after the render.
    whole: bool,
    /// The mail itself shows no preheader.
    lacks_preheader: bool,
    text: Option<String>,
    /// The prepared body tells the text part by its marks.
    tells_text: bool,
}

impl Mail {
    /// `shows_preheader`: the mail's own files do, as it was prepared.
    pub(super) fn new(variant: &Variant, sources: &BTreeMap<String, Source>, shows_preheader: bool) -> Mail {
        let preheader = engine::preheader_of(&variant.html);
        let prepared = body_of(&variant.html);
        let whole = !sources.contains_key(&prepared);
        Mail {
            body: if whole { variant.html.clone() } else { prepared.clone() },
            whole,
            lacks_preheader: !shows_preheader,
            locale: variant.locale.clone(),
            subject: engine::subject_of(&variant.html),
            preheader: sources.contains_key(&preheader).then_some(preheader),
            html: variant.html.clone(),
            text: variant.text.clone(),
            tells_text: sources.get(&prepared).is_some_and(|s| marks::tell_text(&s.text)),
        }
    }
}

/// Templates ready to render; shared by all workers of a process.
#[derive(Debug)]
pub struct Compiled {
    pub sender: SenderValues,
    /// What templates see as `brand`, by the locales that mails are written in.
    pub(super) brands: BTreeMap<String, Value>,
    pub(super) mails: BTreeMap<String, Vec<Mail>>,
    pub(super) sources: BTreeMap<String, Source>,
    /// Tables that prepared mails know, by name.
    pub(super) tables: BTreeMap<String, Value>,
    /// What the templates name; the rest of a payload is not looked at.
    pub(super) fields: FieldSet,
    /// Built when the first mail needs it.
    pub(super) engine: OnceLock<Tera>,
    /// Mails that could not be prepared, and why.
    pub(super) refusals: Vec<(String, Refusal)>,
}

/// What a template is told about one message.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// `customer`, `profile`, `order`, `recommend`, `reward`, `loyalty`, `today`.
    pub payload: &'a serde_json::Value,
    pub customer_id: &'a str,
    pub email: &'a str,
    /// The person's locale, BCP 47.
    pub locale: &'a str,
    pub campaign: &'a str,
    pub campaign_title: &'a str,
    pub step: &'a str,
    pub unsubscribe: &'a str,
    pub preferences: Option<&'a str>,
    /// Signs the links of this message, so that clicks are seen; `None` leaves them direct.
    pub clicks: Option<&'a Clicks>,
    /// For a payload that names no day.
    pub today: &'a str,
}

impl<'a> Facts<'a> {
    /// Facts about an invented person, for trials.
    pub(super) fn invented(payload: &'a serde_json::Value, locale: &'a str) -> Facts<'a> {
        let customer = |name: &str| payload["customer"][name].as_str().unwrap_or_default();
        Facts {
            payload,
            customer_id: customer("customer_id"),
            email: customer("email"),
            locale,
            campaign: "sample",
            campaign_title: "Sample",
            step: "sample",
            unsubscribe: "https://links.example.com/u/sample",
            preferences: None,
            clicks: None,
            today: payload["today"].as_str().unwrap_or_default(),
        }
    }
}

/// One message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// As the author's template gave it; not yet fit for a header.
    pub subject: String,
    pub preheader: String,
    pub html: String,
    pub text: String,
}

impl Compiled {
    /// Render one message of a template in the variant for the person's locale.
    pub fn render(&self, template: &str, facts: &Facts<'_>) -> Result<Rendered, RenderError> {
        let mail = self.mail(template, facts.locale).ok_or_else(|| RenderError {
            template: template.to_owned(),
            place: Place::file(engine::FOLDER),
            message: format!("the template `{template}` is not among those of this run"),
            field: None,
            skipped: None,
        })?;
        let tera = self.engine();
        let render = |name: &str, context: &Context| {
            tera.render(name, context).map_err(|e| engine::render_error(template, &e, &self.sources))
        };
        let current = Current {
            locale: self.written_in(mail, facts.locale).into_owned(),
            today: facts.payload["today"].as_str().unwrap_or(facts.today).to_owned(),
            answering: self.answering(facts),
        };
        current::with(current, || {
            let mut context = self.context(mail, facts);
            let subject = render(&mail.subject, &context)?;
            let preheader = mail.preheader.as_ref().map_or(Ok(String::new()), |name| render(name, &context))?;
            context.insert_value("preheader", Value::from(preheader.as_str()));
            let poured = render(&mail.body, &context)?;
            let trail = self.trail(facts);
            let (html, told) = match mail.whole {
                true => (self.finished(template, mail, poured, &preheader, &trail)?, None),
                false => marks::parted(&poured, &trail, mail.tells_text && mail.text.is_none()),
            };
            let text = match (&mail.text, told) {
                (Some(name), _) => render(name, &context)?,
                (None, Some(text)) => text,
                (None, None) => plain::from_html(&html),
            };
            Ok(Rendered { subject, preheader, html, text })
        })
    }

    /// What a mail still needs that was not prepared.
    fn finished(
        &self,
        template: &str,
        mail: &Mail,
        html: String,
        preheader: &str,
        trail: &Trail,
    ) -> Result<String, RenderError> {
        let shown = Some(preheader).filter(|_| mail.preheader.is_some() && mail.lacks_preheader);
        prepare::finish(&mail.html, html, shown, trail).map_err(|message| RenderError {
            template: template.to_owned(),
            place: Place::file(&format!("{}/{}", engine::FOLDER, mail.html)),
            message,
            field: None,
            skipped: None,
        })
    }

    /// Where the links of a message lead.
    fn trail(&self, facts: &Facts<'_>) -> Trail {
        let sender = &self.sender;
        let redirect = sender.base_url.as_ref().filter(|_| sender.track).zip(facts.clicks);
        if redirect.is_none() && sender.utm.is_empty() {
            return Trail::default();
        }
        let fill = |value: &str| value.replace("{campaign}", facts.campaign).replace("{step}", facts.step);
        let mut utm = url::form_urlencoded::Serializer::new(String::new());
        utm.extend_pairs(sender.utm.iter().map(|(name, value)| (name, fill(value))));
        Trail {
            redirect: redirect.map(|(base, clicks)| (base.clone(), clicks.clone())),
            own_pages: sender.base_url.clone(),
            utm: utm.finish(),
        }
    }

    /// Where the answers of a message go.
    fn answering(&self, facts: &Facts<'_>) -> Answering {
        match self.fields.answers {
            true => Answering { base: self.sender.base_url.clone(), clicks: facts.clicks.cloned() },
            false => Answering::default(),
        }
    }

    /// Compare a prepared mail with the slow way.
    pub(super) fn judged(&self, html: &str) -> Result<(), Refusal> {
        let at = Origin { source: html.into(), offset: 0 };
        let refused = |message: String| Refusal { code: "not-prepared", message, at: at.clone() };
        let mail = self.mails.values().flatten().find(|m| m.html == html).expect("a prepared mail is a mail");
        let locale = mail.locale.as_deref().unwrap_or(&self.sender.default_locale);
        for person in gate::people(locale, &self.sources) {
            let facts = Facts::invented(&person, locale);
            // What is proved here holds wherever answers lead.
            let answering = Answering { base: Some(String::new()), clicks: None };
            let current = Current { locale: locale.to_owned(), today: facts.today.to_owned(), answering };
            let compared = current::with(current, || self.compared(mail, &self.context(mail, &facts)));
            if let Some(difference) = compared.map_err(refused)? {
                return Err(refused(format!("prepared ahead it would differ: {difference}")));
            }
        }
        Ok(())
    }

    /// What differs between the two ways for one person.
    fn compared(&self, mail: &Mail, context: &Context) -> Result<Option<String>, String> {
        let tera = self.engine();
        // Who cannot be rendered at all is no witness; the trial tells the author.
        let Ok(slow) = tera.render(&mail.html, context) else { return Ok(None) };
        let preheader = Some("").filter(|_| mail.lacks_preheader && mail.preheader.is_some());
        let direct = Trail::default();
        let slow = prepare::finish(&mail.html, slow, preheader, &direct)?;
        let poured = tera
            .render(&mail.body, context)
            .map_err(|e| engine::render_error(&mail.html, &e, &self.sources).to_string())?;
        let (prepared, text) = marks::parted(&poured, &direct, mail.tells_text);
        let misread = || text.filter(|text| *text != plain::from_html(&prepared)).map(|_| "the text part".to_owned());
        Ok(gate::difference(&prepared, &slow).or_else(misread))
    }

    /// From now on render a mail the slow way.
    pub(super) fn render_whole(&mut self, html: &str) {
        for mail in self.mails.values_mut().flatten().filter(|m| m.html == html) {
            mail.body = mail.html.clone();
            mail.whole = true;
        }
    }

    /// Mails that could not be prepared: what stood in the way, and where.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&Refusal, Place)> {
        self.refusals.iter().map(|(_, r)| (r, engine::origin_place(Some(r.at.clone()), &self.sources)))
    }

    /// Whether every message of a template costs a render and nothing more.
    pub fn is_prepared(&self, template: &str) -> bool {
        self.mails.get(template).is_some_and(|variants| variants.iter().all(|m| !m.whole))
    }

    /// The file a person's variant is written in, relative to the project; the folder when there is no such template.
    pub fn file(&self, template: &str, locale: &str) -> String {
        self.mail(template, locale)
            .map_or_else(|| engine::FOLDER.to_owned(), |m| format!("{}/{}", engine::FOLDER, m.html))
    }

    /// Where the parts of a person's variant are written; the folder when there is no such template.
    pub(super) fn parts(&self, template: &str, locale: &str) -> Parts {
        let whole = |file: &str| Place::file(&format!("{}/{file}", engine::FOLDER));
        let Some(mail) = self.mail(template, locale) else {
            let folder = Place::file(engine::FOLDER);
            let [subject, preheader, body, text] = std::array::from_fn(|_| folder.clone());
            return Parts { subject, preheader, has_preheader: false, body, text };
        };
        let start = |name: &str| self.sources.get(name).map(|source| source.place_at(0));
        let subject = start(&mail.subject).unwrap_or_else(|| whole(&mail.html));
        Parts {
            preheader: mail.preheader.as_deref().and_then(start).unwrap_or_else(|| subject.clone()),
            has_preheader: mail.preheader.is_some(),
            subject,
            body: whole(&mail.html),
            text: whole(mail.text.as_deref().unwrap_or(&mail.html)),
        }
    }

    /// Whether whoever has this locale reads the variant of that one.
    pub(super) fn reads(&self, template: &str, locale: &str, variant: &str) -> bool {
        let file = |locale| self.mail(template, locale).map(|m| &m.html);
        file(locale) == file(variant)
    }

    /// The locales a template is written in; `None` is the default.
    pub fn locales(&self, template: &str) -> impl Iterator<Item = Option<&str>> {
        self.mails.get(template).into_iter().flatten().map(|m| m.locale.as_deref())
    }

    /// Templates by name.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.mails.keys().map(String::as_str)
    }

    fn mail(&self, template: &str, locale: &str) -> Option<&Mail> {
        load::written_for(self.mails.get(template)?, |m| m.locale.as_deref(), locale)
    }

    /// Numbers and dates follow the language the mail is written in, in the person's own region when it is theirs too.
    fn written_in<'l>(&'l self, mail: &'l Mail, locale: &'l str) -> Cow<'l, str> {
        language::in_country(mail.locale.as_deref().unwrap_or(&self.sender.default_locale), locale)
    }

    pub(super) fn engine(&self) -> &Tera {
        self.engine.get_or_init(|| {
            let mut tera = engine::compile(&self.sources, &self.sender.currency, &mut Problems::new())
                .expect("sources that compiled, changed in ways that break none");
            for (name, table) in &self.tables {
                tera.global_context().insert_value(name.clone(), table.clone());
            }
            tera
        })
    }

    fn context(&self, mail: &Mail, facts: &Facts<'_>) -> Context {
        let mut context = Context::new();
        context.insert_value("today", context::text(facts.today));
        for (name, json) in facts.payload.as_object().into_iter().flatten() {
            let value = match name.as_str() {
                "customer" => None,
                "profile" if json.is_object() => Some(context::object(Some(json), &self.fields.profile, &[])),
                name if self.fields.contains(name) => context::value(json),
                _ => None,
            };
            if let Some(value) = value {
                context.insert_value(name.clone(), value);
            }
        }
        let known = [("customer_id", facts.customer_id), ("email", facts.email), ("locale", facts.locale)];
        let customer = context::object(facts.payload.get("customer"), &self.fields.customer, &known);
        context.insert_value("customer", customer);
        if self.fields.campaign {
            let names = [("name", facts.campaign), ("title", facts.campaign_title)];
            context.insert_value("campaign", context::texts(&names));
        }
        if self.fields.step {
            context.insert_value("step", context::texts(&[("name", facts.step)]));
        }
        let links = [("unsubscribe", facts.unsubscribe), ("preferences", facts.preferences.unwrap_or_default())];
        context.insert_value("links", context::texts(&links[..1 + usize::from(facts.preferences.is_some())]));
        let locale = mail.locale.as_deref().unwrap_or(&self.sender.default_locale);
        if let Some(brand) = self.brands.get(locale) {
            context.insert_value("brand", brand.clone());
        }
        context.insert_value("preheader", Value::from(""));
        context
    }
}
