//! Checking templates without data: every name is known, and a trial render for two invented people, one of whom everything is known and
//! one of whom only what everybody has. What fails is told at the template's line, before a customer shows it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::compiled::{Compiled, Facts, Rendered};
use super::engine::{FOLDER, RenderError};
use super::fields::{self, CATALOGUE, Field};
use super::flatten::Refusal;
use super::lint::template;
use super::load::{TemplateSet, Wanted};
use super::sample::{SAMPLE_DAY, add_offers, sample_few_recommended, sample_person, sample_stranger};
use super::scan;
use super::snapshot::{SenderValues, Snapshot};
use crate::problem::{Place, Problems, Severity, nearest};
use crate::settings::Settings;

/// Where links lead in a trial render.
const TRIAL_URL: &str = "https://links.example.com";
pub(super) const TRIAL_UNSUBSCRIBE: &str = "https://links.example.com/u/sample";
pub(super) const TRIAL_PREFERENCES: &str = "https://links.example.com/p/sample";

impl TemplateSet {
    /// Check what the templates name and how they render. `attributes` are the customers' attributes in the data, when there is any:
    /// others are then warned about.
    pub fn check(&self, settings: &Settings, attributes: Option<&[String]>, problems: &mut Problems) {
        let before = problems.count(Severity::Error);
        let mut check = Names { set: self, attributes, fillers: BTreeSet::new(), problems };
        check.all(&BTreeSet::new());
        let fillers = check.fillers;
        if settings.loyalty.is_none() {
            self.tell_loyalty(problems);
        }
        template::lint(&self.sources(), problems);
        if problems.count(Severity::Error) > before {
            return; // A name that is not known fails the trial too; once told is enough.
        }
        if let Some(compiled) = self.trial(settings, problems) {
            for (refusal, place) in compiled.refusals() {
                tell_refusal(refusal, &place, problems);
            }
            if problems.count(Severity::Error) > before {
                return;
            }
            for wanted in &self.wanted {
                if let Some(rewards) = &wanted.rewards
                    && !self.uses(&wanted.name, "reward")
                {
                    problems
                        .warning(
                            "unused-reward",
                            &rewards.place,
                            format!("the template `{}` does not say what it gives", wanted.name),
                        )
                        .hint("{{ reward.title }}, {{ reward.code }}; or remove `reward`");
                }
                if let Some(recommends) = &wanted.recommends
                    && !self.uses(&wanted.name, "recommend")
                {
                    problems
                        .warning(
                            "unused-recommend",
                            &recommends.place,
                            format!("the template `{}` shows no recommendation", wanted.name),
                        )
                        .hint("show them: {% for item in recommend %} … {{ item.name }} … {% endfor %}, or remove `recommend`");
                }
                for locale in compiled.locales(&wanted.name).map(|l| l.unwrap_or(&settings.default_locale).to_owned()) {
                    for reward in rewards(wanted, &locale) {
                        trial(&compiled, wanted, &locale, &fillers, reward.as_ref(), problems);
                    }
                }
            }
        }
    }
}

/// What a mail may give, as a template is told; `None`: nothing.
fn rewards(wanted: &Wanted, locale: &str) -> Vec<Option<Value>> {
    let Some(rewards) = &wanted.rewards else { return vec![None] };
    let given = rewards.pools.iter().map(|pool| Some(pool.sample(locale, SAMPLE_DAY)));
    given.chain(rewards.may_be_missing.then_some(None)).collect()
}

impl TemplateSet {
    /// Without tiers nobody is in one.
    fn tell_loyalty(&self, problems: &mut Problems) {
        for (file, text) in &self.files {
            let used = scan::names(text).values.into_iter().find(|v| v.path[0] == "loyalty");
            if let Some(value) = used {
                let place = scan::place(&format!("{FOLDER}/{file}"), text, value.at);
                problems
                    .error("no-tiers", &place, "okaeri.yaml defines no loyalty tiers")
                    .hint("loyalty: { by: spend, in_last: 1y, tiers: { silver: 200, gold: 500 } }");
            }
        }
    }

    /// Ready for trial renders, which need nothing of the environment.
    pub(super) fn trial(&self, settings: &Settings, problems: &mut Problems) -> Option<Compiled> {
        let mut sender = SenderValues::without_links(settings);
        // Without an address of their own, answers lead nowhere, and a mail that asks for some is refused here as it would be later.
        sender.base_url = settings.links.base_url.as_ref().map(|_| TRIAL_URL.to_owned());
        Snapshot::take(self, sender).compile_telling(problems)
    }

    /// Check the names alone, in the files about which no error was told yet. When one template cannot be used, its author still hears
    /// what is wrong with the others.
    pub(super) fn check_sound_files(&self, problems: &mut Problems) {
        let errors = problems.sorted().into_iter().filter(|p| p.severity == Severity::Error);
        let unsound: BTreeSet<String> = errors
            .filter_map(|p| Some(p.place.file.strip_prefix(FOLDER)?.trim_start_matches('/').to_owned()))
            .collect();
        Names { set: self, attributes: None, fillers: BTreeSet::new(), problems }.all(&unsound);
    }
}

/// The check of names.
struct Names<'a> {
    set: &'a TemplateSet,
    attributes: Option<&'a [String]>,
    /// Attributes the templates use, for the trial's sample.
    fillers: BTreeSet<String>,
    problems: &'a mut Problems,
}

impl Names<'_> {
    fn all(&mut self, but: &BTreeSet<String>) {
        let scanned: BTreeMap<&String, scan::Names<'_>> =
            self.set.files.iter().map(|(n, t)| (n, scan::names(t))).collect();
        // An included file sees the locals of whoever includes it, so locals count for all files together. What this lets through, the
        // trial render finds.
        let locals: BTreeSet<&str> =
            scanned.values().flat_map(|n| n.locals.iter().copied()).chain(["loop", "__tera_context"]).collect();
        for (file, names) in scanned.iter().filter(|(file, _)| !but.contains(**file)) {
            for value in names.values.iter().filter(|v| !locals.contains(v.path[0])) {
                self.one(file, value);
            }
        }
    }

    fn one(&mut self, file: &str, value: &scan::Value<'_>) {
        let place = scan::place(&format!("{FOLDER}/{file}"), &self.set.files[file], value.at);
        let mut known: &'static [Field] = &CATALOGUE;
        let mut said = String::new();
        for name in &value.path {
            let Some(field) = fields::find(known, name) else {
                return match said.as_str() {
                    "customer" => self.attribute(&place, name),
                    _ => self.unknown(&place, &said, name, known),
                };
            };
            if field.fields.is_empty() {
                return;
            }
            known = field.fields;
            said = if said.is_empty() { (*name).to_owned() } else { format!("{said}.{name}") };
        }
    }

    fn unknown(&mut self, place: &Place, of: &str, name: &str, known: &'static [Field]) {
        let path = if of.is_empty() { name.to_owned() } else { format!("{of}.{name}") };
        self.problems
            .error("unknown-variable", place, format!("`{path}` is not known to templates"))
            .did_you_mean(name, known.iter().map(|f| f.name));
    }

    /// A customer's field that is not one of ours: an attribute of the data, or a slip.
    fn attribute(&mut self, place: &Place, name: &str) {
        self.fillers.insert(name.to_owned());
        let ours: Vec<&str> =
            fields::find(&CATALOGUE, "customer").map_or(&[][..], |f| f.fields).iter().map(|f| f.name).collect();
        match self.attributes {
            Some(attributes) if attributes.iter().any(|a| a == name) => {}
            Some(attributes) => {
                let known = ours.iter().copied().chain(attributes.iter().map(String::as_str));
                self.problems
                    .warning("unknown-attribute", place, format!("no customer in the data has `{name}`"))
                    .did_you_mean(name, known.collect::<Vec<_>>());
            }
            None => {
                if let Some(near) = nearest(name, ours) {
                    self.problems
                        .warning(
                            "unknown-attribute",
                            place,
                            format!("`customer.{name}` is not a field every project has"),
                        )
                        .hint(format!("did you mean `{near}`? An attribute of your own is fine"));
                }
            }
        }
    }
}

/// Most missing values told for one variant.
const MISSING_MAX: usize = 40;

/// Render one variant for both samples.
fn trial(
    compiled: &Compiled,
    wanted: &Wanted,
    locale: &str,
    fillers: &BTreeSet<String>,
    reward: Option<&Value>,
    problems: &mut Problems,
) {
    let Wanted { name: template, promotional, recommends, .. } = wanted;
    let promotional = *promotional;
    // Attributes have a type only the data knows: a text, a number or a truth must do.
    let people = [json!("12"), json!(12), json!(true)].map(|filler| {
        let mut person = sample_person(locale);
        for name in fillers {
            person["customer"][name] = filler.clone();
        }
        add_offers(&mut person, wanted, locale);
        match reward {
            Some(reward) => person["reward"] = reward.clone(),
            None => drop(person.as_object_mut().and_then(|fields| fields.remove("reward"))),
        }
        person
    });
    let rendered = |person: &Value| render(compiled, template, locale, person);
    let person = people.iter().find(|p| rendered(p).is_ok()).unwrap_or(&people[0]);
    match rendered(person) {
        Ok(mail) => judge(&mail, &compiled.file(template, locale), promotional, problems),
        Err(e) if e.skipped.is_some() => {}
        Err(e) => match undeclared(&e, wanted) {
            Some((name, hint)) => return tell_undeclared(&e, name, hint, problems),
            None => return tell(&e, problems),
        },
    }
    let mut stranger = sample_stranger(locale);
    if let Some(recommends) = recommends {
        stranger["recommend"] = sample_few_recommended(recommends.at_least);
    }
    if let Some(reward) = reward {
        stranger["reward"] = reward.clone();
    }
    for _ in 0..MISSING_MAX {
        match rendered(&stranger) {
            Ok(mail) => return judge(&mail, &compiled.file(template, locale), promotional, problems),
            Err(e) if e.skipped.is_some() => return,
            Err(e) => {
                tell(&e, problems);
                // Give what was missing, to find what else is.
                if !e.field.is_some_and(|field| lend(&mut stranger, person, &field)) {
                    return;
                }
            }
        }
    }
}

/// Copy a value that one person has and the other lacks: the first object or value of `path` that is missing.
fn lend(to: &mut Value, from: &Value, path: &str) -> bool {
    let (mut to, mut from) = (to, from);
    for name in path.split('.') {
        let Some(value) = from.get(name) else { return false };
        if to.get(name).is_none() {
            to[name] = value.clone();
            return true;
        }
        to = &mut to[name];
        from = value;
    }
    false
}

fn render(compiled: &Compiled, template: &str, locale: &str, payload: &Value) -> Result<Rendered, RenderError> {
    compiled.render(template, &Facts { unsubscribe: TRIAL_UNSUBSCRIBE, ..Facts::invented(payload, locale) })
}

/// What a template shows and no step that uses it provides, with the remedy.
fn undeclared(error: &RenderError, wanted: &Wanted) -> Option<(&'static str, &'static str)> {
    let named = |name: &str| {
        let field = error.field.as_deref();
        field.is_some_and(|f| f.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    if wanted.recommends.is_none() && named("recommend") {
        return Some(("recommend", "recommend: { strategy: [again, popular], count: 4 }"));
    }
    (wanted.rewards.is_none() && named("reward"))
        .then_some(("reward", "reward: NAME, a pool under `rewards:` in okaeri.yaml"))
}

fn tell_undeclared(error: &RenderError, name: &str, hint: &str, problems: &mut Problems) {
    let code = if name == "reward" { "undeclared-reward" } else { "undeclared-recommend" };
    if problems.sorted().iter().any(|p| p.place == error.place && p.code == code) {
        return;
    }
    let what = if name == "reward" { "give" } else { "recommend" };
    problems
        .error(
            code,
            &error.place,
            format!("`{name}` is used here, and a step with this template does not say what to {what}"),
        )
        .hint(format!("in the campaign's step: {hint}"));
}

/// Codes of what no message could be rendered with.
const BROKEN: [&str; 4] = ["mjml-syntax", "mjml-fails", "lost-in-mjml", "tag-in-mjml-tag"];

/// A mail that cannot be prepared once for all its messages: broken, or only slow.
fn tell_refusal(refusal: &Refusal, place: &Place, problems: &mut Problems) {
    if BROKEN.contains(&refusal.code) {
        problems.error(refusal.code, place, refusal.message.clone());
        return;
    }
    problems.warning(refusal.code, place, refusal.message.clone()).hint(
        "until this is changed, every message of this mail is prepared on its own, which takes about a hundred times as long",
    );
}

/// A failed trial as a problem; the same line fails for several samples and languages, and is told once.
pub(super) fn tell(error: &RenderError, problems: &mut Problems) {
    let known = problems.sorted().iter().any(|p| p.place == error.place && p.code == "template-fails");
    if known {
        return;
    }
    let message = match &error.field {
        Some(field) => format!("`{field}` may be missing"),
        None => error.message.clone(),
    };
    let problem = problems.error("template-fails", &error.place, message);
    if let Some(hint) = error.hint() {
        problem.hint(hint);
    }
}

/// What must be in a mail whoever gets it.
fn judge(rendered: &Rendered, file: &str, promotional: bool, problems: &mut Problems) {
    let place = Place::file(file);
    let mut once = |code: &'static str, message: String, hint: &str| {
        if !problems.sorted().iter().any(|p| p.code == code && p.place == place && p.message == message) {
            problems.error(code, &place, message).hint(hint);
        }
    };
    if rendered.subject.trim().is_empty() {
        once("empty-subject", "the subject can come out empty".to_owned(), "give its values a default");
    }
    for (part, content) in [("HTML", &rendered.html), ("text", &rendered.text)] {
        if promotional && !content.contains(TRIAL_UNSUBSCRIBE) {
            once(
                "missing-unsubscribe",
                format!("the {part} of a promotional mail needs the unsubscribe link"),
                "write <a href=\"{{ links.unsubscribe }}\">…</a> in HTML, {{ links.unsubscribe }} in text",
            );
        }
    }
}
