//! Lint: what is right as a template and still a bad mail. Every rule has a code, a severity that okaeri.yaml can change, and a row in
//! `docs/lint.md` that says why.
//!
//! Two kinds. Of a source, as its author wrote it: [`template`] (HTML that data could break), [`css`] (what mail programs ignore), [`names`]
//! (values set for nobody, languages left out). Of a mail, as invented people would get it: [`law`], [`links`], [`reading`] (contrast,
//! alternative texts), [`wording`] (subject, preheader, what was to be filled in), [`weight`]. A mail is looked at as a [`page`] whose
//! elements know their authors' lines. The sender is looked at once ([`wording::sender`]).

pub(super) mod css;
mod facts;
mod law;
mod links;
mod look;
mod names;
mod page;
mod reading;
pub(super) mod template;
mod weight;
mod wording;

use std::collections::BTreeSet;

use jiff::civil::Date;
use serde_json::Value;

use super::compiled::{Compiled, Facts, Rendered};
use super::load::{TemplateSet, Wanted};
use super::sample::sample_clicks;
use super::traced::{Parts, Traced};
use super::{check, sample};
use crate::problem::{Place, Problems, Severity};
use crate::settings::Settings;
use crate::token::Clicks;
use page::Page;

pub use facts::{Client, IGNORED, Ignored, Sign};

/// A rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub code: &'static str,
    /// Unless okaeri.yaml says otherwise.
    pub severity: Severity,
}

const fn error(code: &'static str) -> Rule {
    Rule { code, severity: Severity::Error }
}

const fn warning(code: &'static str) -> Rule {
    Rule { code, severity: Severity::Warning }
}

/// Every rule, in the order of `docs/lint.md`.
pub const RULES: [Rule; 32] = [
    error("hidden-unsubscribe"),
    error("sender-name"),
    error("postal-address"),
    error("refusal-notice"),
    error("complaints-contact"),
    warning("noreply-sender"),
    warning("long-subject"),
    warning("missing-preheader"),
    warning("long-preheader"),
    warning("placeholder-text"),
    warning("large-mail"),
    error("too-large-mail"),
    warning("image-only"),
    warning("missing-text"),
    warning("http-link"),
    warning("link-shortener"),
    warning("empty-link"),
    warning("script"),
    warning("missing-alt"),
    warning("low-contrast"),
    warning("low-contrast-dark"),
    warning("ignored-css"),
    warning("missing-locale"),
    warning("english-figures"),
    warning("unused-variable"),
    warning("unused-recommend"),
    warning("unused-reward"),
    warning("expired-reward"),
    warning("unknown-attribute"),
    warning("safe-filter"),
    warning("sibling-selector"),
    warning("column-loop"),
];

/// Somebody invented, whose mails are looked at.
#[derive(Debug, Clone)]
pub struct Reader {
    pub name: String,
    /// `None`: of every language a mail is written in.
    pub locale: Option<String>,
    /// Whether a mail is judged by what they would get; others only have to get one.
    pub judged: bool,
    /// `customer`, `profile`, `order`, `today`, as a message of theirs would carry it.
    pub payload: Value,
}

/// Give every problem the severity that okaeri.yaml gives its rule. A code that is no rule is a problem of its own.
pub fn weigh(settings: &Settings, problems: &mut Problems) {
    for weighed in &settings.lint {
        if RULES.iter().all(|r| r.code != weighed.code) {
            problems
                .error("unknown-rule", &weighed.place, format!("there is no rule `{}`", weighed.code))
                .did_you_mean(&weighed.code, RULES.map(|r| r.code));
        }
    }
    problems.reweigh(|code, told| match settings.lint.iter().rfind(|w| w.code == code) {
        Some(weighed) if RULES.iter().any(|r| r.code == code) => weighed.severity,
        _ => Some(told),
    });
}

/// Tells problems of rules, each once for a place.
struct Told<'p> {
    problems: &'p mut Problems,
    known: BTreeSet<(&'static str, Place, String)>,
}

impl Told<'_> {
    fn tell(&mut self, code: &'static str, place: &Place, message: String, hint: &str) {
        let rule = RULES.iter().find(|r| r.code == code).expect("every code told is a rule's");
        // One place can be wrong in many mails and for many people, and is mended once.
        if self.known.insert((code, place.clone(), message.clone())) {
            let problem = match rule.severity {
                Severity::Error => self.problems.error(code, place, message),
                Severity::Warning => self.problems.warning(code, place, message),
            };
            problem.hint(hint);
        }
    }
}

/// A mail that somebody would get.
struct Mail<'m> {
    page: &'m Page,
    /// Looks of the elements, by day and where dark rules are known by night.
    light: &'m [look::Look],
    rendered: &'m Rendered,
    /// Of its HTML as it would leave, with links as long as those that lead through the redirect.
    bytes: usize,
    /// Where its parts are written.
    parts: &'m Parts,
    promotional: bool,
}

impl TemplateSet {
    /// Look at everything the templates and their mails should not be. `people` are those whose mails are rendered; `today` is the project's.
    pub fn lint(&self, settings: &Settings, people: &[Reader], today: Date, problems: &mut Problems) {
        let mut told = Told { problems, known: BTreeSet::new() };
        wording::sender(settings, &mut told);
        css::lint(&self.sources(), &mut told);
        names::unused(self, &mut told);
        names::languages(self, &settings.default_locale, &mut told);
        names::expired(self, today, &mut told);
        names::figures(self, &settings.default_locale, &mut told);
        let Some(compiled) = self.trial(settings, told.problems) else { return };
        let looked_at = LookedAt { traced: compiled.traced(), compiled: &compiled, settings, clicks: sample_clicks() };
        for wanted in &self.wanted {
            for locale in compiled.locales(&wanted.name).map(|l| l.unwrap_or(&settings.default_locale).to_owned()) {
                let theirs = people
                    .iter()
                    .filter(|p| p.locale.as_deref().is_none_or(|l| compiled.reads(&wanted.name, l, &locale)));
                for person in theirs {
                    looked_at.mail(wanted, person, &locale, &mut told);
                }
            }
        }
    }
}

/// Mails that are looked at.
struct LookedAt<'a> {
    compiled: &'a Compiled,
    traced: Traced,
    settings: &'a Settings,
    /// Signs the links of mails that are weighed.
    clicks: Clicks,
}

impl LookedAt<'_> {
    /// Render one mail and look at it.
    fn mail(&self, wanted: &Wanted, person: &Reader, locale: &str, told: &mut Told<'_>) {
        let LookedAt { compiled, traced, settings, .. } = self;
        let locale = person.locale.as_deref().unwrap_or(locale);
        let mut payload = person.payload.clone();
        sample::add_offers(&mut payload, wanted, locale);
        let facts = Facts {
            unsubscribe: check::TRIAL_UNSUBSCRIBE,
            preferences: Some(check::TRIAL_PREFERENCES),
            ..Facts::invented(&payload, locale)
        };
        let rendered = match traced.render(&wanted.name, &facts) {
            Ok(rendered) => rendered,
            Err(e) if e.skipped.is_some() => return,
            // Told at the author's line by the untraced render.
            Err(_) => {
                if let Err(e) = compiled.render(&wanted.name, &facts) {
                    check::tell(&e, told.problems);
                }
                return;
            }
        };
        if !person.judged {
            return;
        }
        let Some(bytes) = self.weighed(wanted, &facts) else { return };
        let parts = compiled.parts(&wanted.name, locale);
        let page = Page::read(&rendered.html, traced, &parts.body);
        let light = look::looks(&page);
        let (rendered, promotional) = (&rendered, wanted.promotional);
        let mail = Mail { page: &page, light: &light, rendered, bytes, parts: &parts, promotional };
        wording::lint(&mail, told);
        law::lint(&mail, settings, told);
        links::lint(&mail, told);
        weight::lint(&mail, told);
        reading::lint(&mail, told);
        if let Some(dark) = page.in_the_dark(&rendered.html, traced, &parts.body) {
            reading::dark(&dark, told);
        }
    }

    /// How large the mail is when it leaves: without the numbers that lead to its author's lines, and with its links as they will be.
    fn weighed(&self, wanted: &Wanted, facts: &Facts<'_>) -> Option<usize> {
        let clicks = Some(&self.clicks).filter(|_| wanted.tracked);
        self.compiled.render(&wanted.name, &Facts { clicks, ..*facts }).ok().map(|mail| mail.html.len())
    }
}

#[cfg(test)]
mod tests;
