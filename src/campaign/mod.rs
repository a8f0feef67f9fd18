//! Campaigns: `campaigns/*.yaml`, checked. Who shall hear what, under which limits, measured how.
//!
//! A [`Campaign`] that exists is sound: its segments, topic and templates are known names. Reading is in [`read`]. Keys of the design that
//! this version does not carry out are problems, never ignored.

pub mod case;
pub mod edits;
mod lint;
mod read;
mod recommend;
mod reward;
pub mod schedule;
pub mod schema;
mod step;
mod stop;
mod wave;

use crate::clock::Millis;
use crate::offer::recommend::Asked;
use crate::problem::{Place, Problems};
use crate::segment::condition::Condition;
use crate::settings::{Project, Settings};
pub use crate::suppression::Kind;
use crate::yaml::Span;
pub use recommend::Recommend;
pub use reward::{ChooseBy, Reward, WhenNoneLeft};
pub use schedule::{Journey, Schedule, Slot};
pub use step::Step;
pub use stop::StopAbove;
pub use wave::FirstWave;

/// The folder campaigns lie in, relative to the project.
pub const FOLDER: &str = "campaigns";

/// All campaigns of a project, by name.
#[derive(Debug, Clone, Default)]
pub struct Library {
    campaigns: Vec<Campaign>,
}

/// One campaign, as checked.
#[derive(Debug, Clone)]
pub struct Campaign {
    pub name: String,
    /// What the ledger knows it by: the name it had first (`renamed_from`), so that a new name changes nothing of who had it or is held out.
    pub key: String,
    /// Where its file begins.
    pub place: Place,
    pub title: String,
    pub status: Status,
    /// Consent and preference topic.
    pub topic: String,
    pub kind: Kind,
    pub audience: Audience,
    /// Segments whose members are left out of the audience.
    pub exclude: Vec<String>,
    /// When it is due; without one it is sent by hand.
    pub schedule: Option<Schedule>,
    /// A journey: everybody enters as soon as they are in the audience.
    pub journey: Option<Journey>,
    pub once_per: Option<OncePer>,
    /// Whoever this holds for gets no further step.
    pub exit_on: Option<Condition>,
    /// Nobody enters from then on.
    pub ends_at: Option<Millis>,
    /// Campaigns due together are planned in this order, smallest first.
    pub priority: i64,
    pub steps: Vec<Step>,
    pub experiment: Experiment,
    /// At most so many messages in one run.
    pub per_run: Option<u32>,
    pub stop_above: StopAbove,
    /// What its file expects of itself.
    pub tests: Vec<case::Case>,
    /// `track: false`: links of this campaign lead straight to where they say.
    pub track: bool,
    /// Some of a run's messages that go before the others.
    pub first_wave: Option<FirstWave>,
    /// Its file as it stands there, to tell what an edit changed.
    pub written: serde_json::Value,
}

/// Whether a campaign sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Being written: merging it sends nothing.
    Draft,
    Live,
    Paused,
}

/// Whom a campaign is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    Everyone,
    InSegment(String),
}

/// How often one person may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OncePer {
    /// Once, ever.
    Person,
    /// Once in any window of this length.
    Window(Span),
}

/// Who is held out, and what counts as success.
#[derive(Debug, Clone, Default)]
pub struct Experiment {
    /// The share held out of this campaign, 0 to 1.
    pub holdout: f64,
    /// The arms that are mailed, with their shares, as written; none when everybody gets the same.
    pub arms: Vec<(String, f64)>,
    pub goal: Option<Goal>,
}

/// What a campaign wants people to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Goal {
    /// An event; `order.placed` is an order.
    pub did: String,
    /// The outcome window, in days from the entry's `due_at`.
    pub within_days: i64,
    /// The property summed up as money.
    pub value: Option<String>,
    /// What the event is like, as written: `{ "category": "tea" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<serde_json::Value>,
}

impl Library {
    /// Read all campaigns. `segments` are the names a campaign may use.
    pub fn load(project: &Project, segments: &[&str], problems: &mut Problems) -> Library {
        let mut texts = Vec::new();
        for file in project.yaml_files(FOLDER) {
            if let Some(text) = crate::settings::read_file(&project.dir, &file, problems) {
                texts.push((file, text));
            }
        }
        Library::from_texts(&texts, &project.settings, segments, problems)
    }

    /// Campaigns from texts (file name, YAML), as [`Library::load`] does from files.
    pub fn from_texts(
        texts: &[(String, String)],
        settings: &Settings,
        segments: &[&str],
        problems: &mut Problems,
    ) -> Library {
        let mut library = Library::default();
        for (file, text) in texts {
            let Some(node) = crate::yaml::parse(file, text, problems) else { continue };
            let known = read::Known { settings, segments };
            let Some(campaign) = read::campaign(&node, &known, problems) else { continue };
            let taken = |name| library.iter().find(|c| c.names().any(|n| n == name)).map(|first| (name, first));
            if let Some((name, first)) = campaign.names().find_map(taken) {
                problems
                    .error(
                        "duplicate-campaign",
                        &campaign.place,
                        format!("a second campaign that is, or was, named `{name}`"),
                    )
                    .hint(format!("the first is {}", first.place.file));
                continue;
            }
            library.campaigns.push(campaign);
        }
        library.campaigns.sort_by(|a, b| a.name.cmp(&b.name));
        library
    }

    /// The campaign of this name.
    pub fn get(&self, name: &str) -> Option<&Campaign> {
        self.campaigns.iter().find(|c| c.name == name)
    }

    /// The campaign that the ledger knows by this name.
    pub fn of_key(&self, key: &str) -> Option<&Campaign> {
        self.campaigns.iter().find(|c| c.key == key)
    }

    /// All campaigns, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Campaign> + Clone {
        self.campaigns.iter()
    }

    /// The segments that any campaign uses.
    pub fn segments_used(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.iter().flat_map(Campaign::segments_named).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Campaign {
    /// Its name now, and the one it had first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain((self.key != self.name).then_some(self.key.as_str()))
    }

    /// Every segment it names, conditions of steps included.
    pub fn segments_named(&self) -> Vec<&str> {
        self.segments().into_iter().chain(self.conditions().flat_map(Condition::segments)).collect()
    }

    /// The conditions of its steps, and what ends it.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.steps.iter().flat_map(Step::conditions).chain(&self.exit_on)
    }

    /// From the entry to its last step, about.
    pub fn length(&self) -> Millis {
        self.steps.iter().map(|s| s.after.millis()).max().unwrap_or_default()
    }

    /// Whether people may still enter at this instant.
    pub fn is_open_at(&self, at: Millis) -> bool {
        self.ends_at.is_none_or(|ends| at < ends)
    }

    /// Whether somebody may get a step at any look, whatever the schedule says.
    pub fn is_followed(&self) -> bool {
        self.journey.is_some() || self.has_later_steps()
    }

    /// How late a moment may be and still be kept.
    pub fn catch_up(&self) -> Millis {
        let journey = self.journey.map(|j| j.catch_up);
        self.schedule.as_ref().map(|s| s.catch_up).or(journey).unwrap_or(schedule::CATCH_UP)
    }

    /// Whether somebody can get a step later than at entry.
    pub fn has_later_steps(&self) -> bool {
        self.steps.len() > 1 || !self.steps[0].is_immediate()
    }

    /// The segments its audience is made of.
    pub fn segments(&self) -> Vec<&str> {
        let audience = match &self.audience {
            Audience::InSegment(name) => Some(name.as_str()),
            Audience::Everyone => None,
        };
        audience.into_iter().chain(self.exclude.iter().map(String::as_str)).collect()
    }

    /// `recommend:` of its step, with its place.
    pub fn recommend(&self) -> Option<&Recommend> {
        self.steps.iter().find_map(|s| s.recommend.as_ref())
    }

    /// What its step recommends.
    pub fn recommends(&self) -> Option<&Asked> {
        self.recommend().map(|r| &r.asked)
    }

    /// The names of its templates.
    pub fn templates(&self) -> Vec<&str> {
        self.steps.iter().flat_map(Step::templates).map(|(template, _)| template).collect()
    }
}

/// What of a campaign a run is bound to, stored with it as JSON: later edits of the file do not reach messages already written.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Definition {
    pub title: String,
    pub kind: Kind,
    /// Titles of its topic by locale.
    pub topic_titles: Vec<(String, String)>,
    /// Step → template.
    pub templates: Vec<(String, String)>,
    /// Step, arm → template, for arms with one of their own.
    #[serde(default)]
    pub variants: Vec<(String, String, String)>,
    /// Arm → share, the holdout apart.
    #[serde(default)]
    pub arms: Vec<(String, f64)>,
    pub holdout: f64,
    pub holdout_global: f64,
    pub goal: Option<Goal>,
    /// Runs of earlier versions have none stored.
    #[serde(default)]
    pub stop_above: StopAbove,
    #[serde(default)]
    pub first_wave: Option<FirstWave>,
    /// Step → how long after the entry, for what becomes of people on their way when a step is taken out.
    #[serde(default)]
    pub after: Vec<(String, Millis)>,
}

impl Definition {
    /// The definition a new run of this campaign is bound to.
    pub fn of(campaign: &Campaign, settings: &Settings) -> Definition {
        let topic = settings.topics.iter().find(|t| t.name == campaign.topic);
        Definition {
            title: campaign.title.clone(),
            kind: campaign.kind,
            topic_titles: topic.map(|t| t.titles.clone()).unwrap_or_default(),
            templates: campaign.steps.iter().map(|s| (s.name.clone(), s.template.clone())).collect(),
            variants: campaign
                .steps
                .iter()
                .flat_map(|s| s.variants.iter().map(|v| (s.name.clone(), v.arm.clone(), v.template.clone())))
                .collect(),
            arms: campaign.experiment.arms.clone(),
            holdout: campaign.experiment.holdout,
            holdout_global: if campaign.kind == Kind::Service { 0.0 } else { settings.holdout_global },
            goal: campaign.experiment.goal.clone(),
            stop_above: campaign.stop_above,
            first_wave: campaign.first_wave,
            after: campaign.steps.iter().map(|s| (s.name.clone(), s.after.millis())).collect(),
        }
    }

    /// Whether it has a step of this name.
    pub fn has_step(&self, name: &str) -> bool {
        self.templates.iter().any(|(step, _)| step == name)
    }

    /// The template of a step for an arm.
    pub fn template(&self, step: &str, arm: &str) -> Option<&str> {
        let own = self.variants.iter().find(|(s, a, _)| s == step && a == arm).map(|(.., t)| t.as_str());
        own.or_else(|| self.template_of_all(step))
    }

    fn template_of_all(&self, step: &str) -> Option<&str> {
        self.templates.iter().find(|(s, _)| s == step).map(|(_, t)| t.as_str())
    }
}

impl Status {
    /// As authors write it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Draft => "draft",
            Status::Live => "live",
            Status::Paused => "paused",
        }
    }
}

impl OncePer {
    /// Entries at or after this instant bar a new one; `None` bars forever.
    pub fn bars_since(self, as_of: Millis, zone: &jiff::tz::TimeZone) -> Option<Millis> {
        match self {
            OncePer::Person => None,
            OncePer::Window(span) => Some(span.before(as_of, zone)),
        }
    }
}
