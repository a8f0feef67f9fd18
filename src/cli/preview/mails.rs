//! The mails of a preview: every step, arm, person and language.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::PreviewArgs;
use crate::campaign::{Campaign, Kind, Step};
use crate::cli::loaded::Loaded;
use crate::cli::{Failure, Invocation};
use crate::clock;
use crate::content::{Compiled, Snapshot, sample_recommended_of};
use crate::message::{ComposeError, Composer, MessageFacts};
use crate::offer::recommend::Asked;
use crate::persona::Persona;
use crate::plan;
use crate::problem::{Place, Problems};
use crate::settings::Project;
use crate::token::Tokens;

/// One mail, or why there is none.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub step: String,
    /// Empty where all arms get the same.
    pub arm: String,
    pub template: String,
    pub locale: String,
    pub person: String,
    pub person_title: String,
    /// The file it is written in.
    pub file: String,
    #[serde(flatten)]
    pub content: Content,
    #[serde(skip)]
    pub payload: Value,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content {
    Mail(Mail),
    /// The template sends this person nothing.
    Skipped {
        reason: String,
    },
    Failed {
        message: String,
        #[serde(skip)]
        place: Place,
        #[serde(skip)]
        hint: Option<String>,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct Mail {
    pub subject: String,
    pub preheader: String,
    pub text: String,
    /// As they would leave, with signed links.
    pub html_bytes: usize,
    pub text_bytes: usize,
    pub message_bytes: usize,
    #[serde(skip)]
    pub html: String,
    #[serde(skip)]
    pub message: Vec<u8>,
}

impl Mail {
    /// The header fields, as they would leave.
    pub fn header(&self) -> String {
        let message = String::from_utf8_lossy(&self.message);
        message.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n", "\n")
    }

    pub fn to_text(&self, who: &str, file: &str) -> String {
        let bold = anstyle::Style::new().bold();
        let dim = anstyle::Style::new().dimmed();
        let kb = |bytes: usize| format!("{:.1} kB", bytes as f64 / 1_000.0);
        let text: String = self.text.trim_end().lines().map(|l| format!("  {l}\n")).collect();
        format!(
            "{bold}{}{bold:#}\n{dim}{}{dim:#}\n{dim}{who}; {file}; HTML {}, text {}, whole message {}{dim:#}\n\n{text}",
            self.subject,
            self.preheader,
            kb(self.html_bytes),
            kb(self.text_bytes),
            kb(self.message_bytes),
        )
    }
}

/// Compose them all.
pub(super) fn compose(
    inv: &Invocation,
    loaded: &Loaded,
    campaign: &Campaign,
    snapshot: &Snapshot,
    people: &[Persona],
    args: &PreviewArgs,
) -> Result<Vec<Shown>, Failure> {
    let compiled = snapshot.compile().map_err(|e| Failure::Environment(e.to_string()))?;
    let composing = Composing::new(loaded, campaign, compiled);
    let mut mails = Vec::new();
    for step in campaign.steps.iter().filter(|s| args.step.as_ref().is_none_or(|wanted| *wanted == s.name)) {
        for (arm, template) in arms(step) {
            if let Some(asked) = args.locale.as_deref().filter(|asked| !composing.is_written(template, asked)) {
                let file = composing.compiled.file(template, asked);
                inv.say(format_args!("`{template}` is not written in `{asked}`: whoever reads that gets {file}"));
            }
            for person in people {
                for locale in composing.locales(template, person, args.locale.as_deref()) {
                    mails.push(composing.show(step, arm, template, person, locale));
                }
            }
        }
    }
    let asked_for = |step: &Step| args.step.as_ref().is_none_or(|wanted| *wanted == step.name);
    if mails.is_empty() && campaign.steps.iter().any(asked_for) {
        return Err(other_languages(people, args));
    }
    if mails.is_empty() {
        let steps: Vec<&str> = campaign.steps.iter().map(|s| s.name.as_str()).collect();
        return Err(Failure::Usage(format!("nothing to show\nsteps of `{}`: {}", campaign.name, steps.join(", "))));
    }
    Ok(mails)
}

/// Everybody who was asked for reads another language than the one that was asked for.
fn other_languages(people: &[Persona], args: &PreviewArgs) -> Failure {
    let asked = args.locale.as_deref().unwrap_or_default();
    let reads = |p: &Persona| format!("{} reads {}", p.name, p.locale.as_deref().unwrap_or("any language"));
    let who: Vec<String> = people.iter().map(reads).collect();
    Failure::Usage(format!("nothing to show in `{asked}`: {}\nleave --locale away", who.join(", ")))
}

/// The templates of a step; the arms are named where they differ.
fn arms(step: &Step) -> Vec<(&str, &str)> {
    let own = step.variants.iter().map(|v| (v.arm.as_str(), v.template.as_str()));
    let usual = if step.variants.is_empty() { "" } else { "usual" };
    std::iter::once((usual, step.template.as_str())).chain(own).collect()
}

/// The first reward that a step gives, with a code that is nobody's.
pub(in crate::cli) fn add_reward(project: &Project, step: &Step, locale: &str, payload: &mut serde_json::Value) {
    let pool = step.reward.as_ref().and_then(|r| project.settings.reward(r.pools.first()?));
    if let Some(pool) = pool {
        let today = payload["today"].as_str().and_then(|day| day.parse().ok());
        let today = today.unwrap_or_else(|| clock::date_in(clock::now(), &project.settings.time_zone));
        plan::payload::add_reward(payload, pool.sample(locale, today));
    }
}

fn language(locale: &str) -> String {
    locale.split(['-', '_']).next().unwrap_or(locale).to_lowercase()
}

/// Composes without signatures: no link counts, none unsubscribes anybody.
pub(super) struct Composing<'a> {
    loaded: &'a Loaded,
    campaign: &'a Campaign,
    compiled: Arc<Compiled>,
    composer: Composer,
    /// Signs, with a key that is nobody's: what it composes is weighed and thrown away.
    weighing: Composer,
}

impl<'a> Composing<'a> {
    pub fn new(loaded: &'a Loaded, campaign: &'a Campaign, compiled: Arc<Compiled>) -> Composing<'a> {
        let weighing = Composer::new(compiled.clone(), Some(Tokens::new("for weighing, never for sending")));
        Composing { loaded, campaign, composer: Composer::new(compiled.clone(), None), weighing, compiled }
    }

    pub fn sender(&self) -> &str {
        &self.compiled.sender.from
    }

    /// The languages to show somebody's mail in.
    fn locales(&self, template: &str, person: &Persona, only: Option<&str>) -> Vec<String> {
        let default = &self.loaded.project.settings.default_locale;
        match (&person.locale, only) {
            (Some(own), Some(only)) if language(own) != language(only) => vec![],
            (Some(own), _) => vec![own.clone()],
            (None, Some(only)) => vec![only.to_owned()],
            (None, None) => self.compiled.locales(template).map(|l| l.unwrap_or(default).to_owned()).collect(),
        }
    }

    /// Whether a mail is written in the language of a locale.
    fn is_written(&self, template: &str, locale: &str) -> bool {
        let default = &self.loaded.project.settings.default_locale;
        self.compiled.locales(template).any(|l| language(l.unwrap_or(default)) == language(locale))
    }

    fn show(&self, step: &Step, arm: &str, template: &str, person: &Persona, locale: String) -> Shown {
        let mut payload = person.payload.clone();
        payload["customer"]["locale"] = locale.as_str().into();
        if let Some(recommend) = step.recommend.as_ref().filter(|_| payload.get("recommend").is_none()) {
            let Asked { count, strategies, categories, not_categories, .. } = &recommend.asked;
            let words: Vec<&str> = strategies.iter().map(|s| s.word()).collect();
            let is_of = |list: &[String], category: &str| list.iter().any(|c| c.eq_ignore_ascii_case(category));
            let suits = |category: &str| {
                (categories.is_empty() || is_of(categories, category)) && !is_of(not_categories, category)
            };
            payload["recommend"] = sample_recommended_of(&payload, *count, &words, suits);
        }
        add_reward(&self.loaded.project, step, &locale, &mut payload);
        let content = match self.mail(step, template, &locale, &payload, "") {
            Ok(mail) => Content::Mail(mail),
            Err(ComposeError::Render(e)) => match &e.skipped {
                Some(reason) => Content::Skipped { reason: reason.to_string() },
                None => Content::Failed { hint: e.hint(), message: e.to_string(), place: e.place },
            },
            Err(e) => {
                let place = Place::file(&self.compiled.file(template, &locale));
                Content::Failed { message: e.to_string(), place, hint: None }
            }
        };
        Shown {
            step: step.name.clone(),
            arm: arm.to_owned(),
            template: template.to_owned(),
            file: self.compiled.file(template, &locale),
            locale,
            person: person.name.clone(),
            person_title: person.title.clone(),
            content,
            payload,
        }
    }

    /// Compose one mail. `mark` stands before the subject.
    pub fn mail(
        &self,
        step: &Step,
        template: &str,
        locale: &str,
        payload: &Value,
        mark: &str,
    ) -> Result<Mail, ComposeError> {
        let field = |name: &str| payload["customer"][name].as_str().unwrap_or_default();
        let campaign = self.campaign;
        let topic = self.loaded.project.settings.topics.iter().find(|t| t.name == campaign.topic);
        let facts = MessageFacts {
            bucket: 0,
            chunk_id: 0,
            seq: 0,
            customer_id: field("customer_id"),
            campaign: &campaign.key,
            campaign_title: &campaign.title,
            step: &step.name,
            slot: "preview",
            topic: &campaign.topic,
            topic_title: topic.map_or(&campaign.topic, |t| t.title(locale)),
            promotional: campaign.kind == Kind::Promotional,
            template,
            locale,
            message_id: "preview",
            address: field("email"),
            payload,
        };
        let now = clock::now();
        let mut rendered = self.composer.render(&facts, now)?;
        rendered.subject.insert_str(0, mark);
        let composed = self.composer.assemble(&facts, &rendered, now)?;
        let heavy = self.weighing.render(&facts, now)?;
        Ok(Mail {
            subject: rendered.subject,
            preheader: rendered.preheader,
            html_bytes: heavy.html.len(),
            text_bytes: heavy.text.len(),
            message_bytes: self.weighing.assemble(&facts, &heavy, now)?.bytes.len(),
            text: rendered.text,
            html: rendered.html,
            message: composed.bytes,
        })
    }
}

/// What could not be rendered, told once for each line.
pub(super) fn failures(mails: &[Shown]) -> Problems {
    let mut problems = Problems::new();
    for shown in mails {
        let Content::Failed { message, place, hint } = &shown.content else { continue };
        if problems.sorted().iter().any(|p| p.place == *place) {
            continue;
        }
        let problem = problems.error("template-fails", place, format!("for {}: {message}", shown.person));
        if let Some(hint) = hint {
            problem.hint(hint);
        }
    }
    problems
}

/// `DIR/win-back.letter.ja.loyal.eml` and `.html`; how many.
pub(super) fn write(dir: &Path, campaign: &str, mails: &[Shown]) -> std::io::Result<usize> {
    std::fs::create_dir_all(dir)?;
    let mut written = 0;
    for shown in mails {
        let Content::Mail(mail) = &shown.content else { continue };
        let parts = [campaign, &shown.step, &shown.arm, &shown.locale, &shown.person];
        let stem = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(".").replace(['/', '\\'], "-");
        std::fs::write(dir.join(format!("{stem}.eml")), &mail.message)?;
        std::fs::write(dir.join(format!("{stem}.html")), &mail.html)?;
        written += 1;
    }
    Ok(written)
}
