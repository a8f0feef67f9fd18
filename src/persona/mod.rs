//! Personas: invented people, for previews and for the lint of mails. Some come with the program (`people.yaml` here); a project adds
//! its own in `personas.yaml`, and replaces ours by their names.
//!
//! A persona is described like the person of a test, and templates see them through the same view as a customer. They are nobody: their
//! addresses lead to example.com, and nothing of theirs is recorded.

pub mod schema;

use serde_json::Value;

use crate::clock::{self, Millis};
use crate::content::Reader;
use crate::problem::Problems;
use crate::profile::Moment;
use crate::segment::given::Given;
use crate::settings::{NAME_CHARS_MAX, Project, Settings, is_name, read_file};
use crate::yaml::{self, Node, Shape};

/// A project's own personas.
pub const FILE: &str = "personas.yaml";
/// Ours.
const PEOPLE: &str = include_str!("people.yaml");
/// Most personas of a project.
const PEOPLE_MAX: usize = 50;

/// Somebody invented.
#[derive(Debug, Clone)]
pub struct Persona {
    pub name: String,
    pub title: String,
    /// `None`: they read whatever language a mail is written in.
    pub locale: Option<String>,
    /// Here to try a mail out, not to judge it by.
    pub strange: bool,
    /// What a message of theirs would carry.
    pub payload: Value,
}

impl From<&Persona> for Reader {
    fn from(persona: &Persona) -> Reader {
        Reader {
            name: persona.name.clone(),
            locale: persona.locale.clone(),
            judged: !persona.strange,
            payload: persona.payload.clone(),
        }
    }
}

/// All personas at an instant: the project's own, then ours that it does not replace.
pub fn load(project: &Project, now: Millis, problems: &mut Problems) -> Vec<Persona> {
    let mut personas = Vec::new();
    if project.dir.join(FILE).exists()
        && let Some(text) = read_file(&project.dir, FILE, problems)
    {
        personas = read(FILE, &text, now, &project.settings, problems);
    }
    for ours in built_in(now, &project.settings) {
        if personas.iter().all(|p| p.name != ours.name) {
            personas.push(ours);
        }
    }
    personas
}

/// The currency that amounts of ours are written in: their digits, in minor units, make sense in any other.
const CURRENCY: &str = "EUR";

/// Ours. A contract of the project's data says nothing about them.
fn built_in(now: Millis, settings: &Settings) -> Vec<Persona> {
    let ours = Settings { contract: None, currency: CURRENCY.to_owned(), ..settings.clone() };
    let mut problems = Problems::new();
    let mut people = read("people.yaml", PEOPLE, now, &ours, &mut problems);
    debug_assert!(problems.is_empty(), "{}", problems.to_text());
    for order in people.iter_mut().filter_map(|p| p.payload.get_mut("order")) {
        order["currency"] = settings.currency.as_str().into();
    }
    people
}

fn read(file: &str, text: &str, now: Millis, settings: &Settings, problems: &mut Problems) -> Vec<Persona> {
    let Some(node) = yaml::parse(file, text, problems) else { return Vec::new() };
    let list: &[Node] = match &node.shape {
        Shape::List(list) => list,
        Shape::Null => &[],
        _ => {
            problems
                .error(
                    "wrong-type",
                    &node.place,
                    format!("{file} must be a list of personas, not {}", node.described()),
                )
                .hint("- persona: regular\n  customer: { first_name: Mia, orders: 6, last_order: 40d ago }");
            &[]
        }
    };
    if list.len() > PEOPLE_MAX {
        problems.error("out-of-range", &node.place, format!("{} personas; at most {PEOPLE_MAX}", list.len()));
    }
    let mut personas: Vec<Persona> = Vec::new();
    for node in list.iter().take(PEOPLE_MAX) {
        let Some(persona) = persona(node, now, settings, problems) else { continue };
        if personas.iter().any(|p| p.name == persona.name) {
            problems.error("duplicate-name", &node.place, format!("the persona `{}` stands twice", persona.name));
        } else {
            personas.push(persona);
        }
    }
    personas
}

fn persona(node: &Node, now: Millis, settings: &Settings, problems: &mut Problems) -> Option<Persona> {
    let mut m = node.map("a persona", problems)?;
    let name_place = m.node("persona").map(|n| n.place.clone());
    let name = m.require::<String>("persona", problems);
    let title = m.get::<String>("title", problems);
    let strange = m.get::<bool>("strange", problems).unwrap_or(false);
    let given = Given::read_from(&mut m, now, settings, problems);
    m.finish(problems);
    let name = name?;
    if !is_name(&name) {
        problems
            .error(
                "bad-name",
                &name_place.unwrap_or_else(|| node.place.clone()),
                format!("a persona cannot be called `{name}`"),
            )
            .hint(format!("small letters, digits, `-` and `_`, at most {NAME_CHARS_MAX}"));
        return None;
    }
    let moment = Moment::with_cuts(settings, now, None);
    let locale = given.text("locale", &moment);
    let mut payload = given.for_templates(settings, &moment);
    payload["today"] = clock::date_in(now, &settings.time_zone).to_string().into();
    let stand_in = [("customer_id", format!("persona-{name}")), ("email", format!("{name}@example.com"))];
    for (field, value) in stand_in {
        payload["customer"][field] = value.into();
    }
    Some(Persona { title: title.unwrap_or_else(|| name.clone()), name, locale, strange, payload })
}

#[cfg(test)]
mod tests;
