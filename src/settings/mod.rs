//! Settings: `okaeri.yaml`, checked. The only reader of environment variables ([`env`]).
//!
//! What needs a variable that is not set (the database, the mail server, the secret) is kept as [`EnvText`] and asked for when it is
//! used, so that `okaeri check` works where no secret is at hand.

mod brand;
pub mod colour;
pub mod contract;
mod dkim;
pub mod env;
mod language;
pub mod lint;
mod pacing;
mod people;
mod quiet;
mod read;
pub mod relays;
pub mod rewards;
pub mod schema;
mod smtp;

pub use brand::{Brand, Palette};
pub use contract::{Contract, PropertyType};
pub use dkim::{Dkim, DkimKey};
pub use env::{EnvText, NotSet};
pub use language::{ByLanguage, in_language};
pub use pacing::{Pacing, Rate};
pub use relays::{Relay, Smtp};
pub use rewards::{Expires, RewardPool};
pub use smtp::{SmtpUrl, Tls};

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::problem::{Place, Problems, Severity};
use crate::yaml::Span;
pub use quiet::QuietHours;

/// The name of the settings file in a project's folder.
pub const FILE: &str = "okaeri.yaml";

/// A project: its folder and its settings.
#[derive(Debug, Clone)]
pub struct Project {
    pub dir: PathBuf,
    pub settings: Settings,
}

/// The whole of `okaeri.yaml`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The project's name; salts experiment shares, so it must not change while experiments run.
    pub project: String,
    /// Whole days begin at midnight here.
    pub time_zone: TimeZone,
    /// ISO 4217.
    pub currency: String,
    /// BCP 47; for customers without a locale.
    pub default_locale: String,
    /// `sqlite:PATH` (relative to the project) or `postgres://…`.
    pub database: EnvText,
    pub sender: Sender,
    pub brand: Brand,
    pub smtp: Smtp,
    /// The keys that sign all mail; empty when it leaves unsigned.
    pub dkim: Vec<Dkim>,
    pub links: Links,
    /// Whose laws the mails keep.
    pub compliance: Vec<lint::Law>,
    /// How much single rules of the lint matter.
    pub lint: Vec<lint::Weighed>,
    pub guards: Guards,
    /// The share of all customers whom no promotional campaign reaches, 0 to 1.
    pub holdout_global: f64,
    pub lifecycle: Lifecycle,
    pub models: Models,
    /// Loyalty tiers; `None` when there are none.
    pub loyalty: Option<Loyalty>,
    /// What mails may give.
    pub rewards: Vec<RewardPool>,
    pub topics: Vec<Topic>,
    pub sources: Vec<Source>,
    /// What the shop's own data looks like; `None` when nothing is declared and every name is open.
    pub contract: Option<Contract>,
}

/// Who the mail is from.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    /// Display name of the From header.
    pub name: Option<String>,
    /// Address of the From header.
    pub from: String,
    /// Where the settings say so.
    pub from_place: Option<Place>,
    pub reply_to: Option<String>,
    /// Domain of return paths; the From domain when absent.
    pub bounce_domain: Option<String>,
    /// The organisation and its postal address, shown in every mail.
    pub organisation: String,
    pub postal_address: String,
}

/// Links in mails.
#[derive(Debug, Clone)]
pub struct Links {
    /// Where `okaeri serve` is reached from outside; without it mails carry the mailto form only.
    pub base_url: Option<EnvText>,
    /// Signs links, return paths and Message-IDs.
    pub secret: EnvText,
    /// Whether links go through `okaeri serve`, so that clicks are seen; a campaign can say otherwise. Needs `base_url`.
    pub track: bool,
    /// `utm_source` and its like, with their values, for every link to the web.
    pub utm: Vec<(String, String)>,
}

/// Limits that hold for every promotional campaign.
#[derive(Debug, Clone)]
pub struct Guards {
    pub frequency_caps: Vec<FrequencyCap>,
    pub service_freeze: ServiceFreeze,
    pub quiet_hours: Option<QuietHours>,
}

/// At most so many promotional messages in a rolling window; withheld ones count like sent ones.
#[derive(Debug, Clone)]
pub struct FrequencyCap {
    pub messages: u32,
    pub in_last: Span,
    /// Only messages of this topic; all promotional ones when absent.
    pub topic: Option<String>,
}

/// When promotions are frozen because something went wrong for this person.
#[derive(Debug, Clone)]
pub struct ServiceFreeze {
    /// While a ticket is open.
    pub open_tickets: bool,
    /// After a rating at or below this …
    pub rating_at_most: Option<f64>,
    /// … for so long.
    pub days: i64,
}

/// Where the stages of a customer's life begin. Times are days; factors multiply the person's own usual gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lifecycle {
    /// `new` until so many days after the first order.
    pub new_days: i64,
    /// The gap assumed for people with fewer than two gaps of their own.
    pub default_gap_days: f64,
    /// `drifting` when the last order is further back than so many usual gaps.
    pub drifting_gaps: f64,
    /// `lapsed` likewise.
    pub lapsed_gaps: f64,
    /// `lost` after so many days without an order, whatever the rhythm.
    pub lost_days: i64,
    /// `returned` for so many days after an order that ended a lapse.
    pub returned_days: i64,
}

impl Default for Lifecycle {
    fn default() -> Lifecycle {
        Lifecycle {
            new_days: 30,
            default_gap_days: 60.0,
            drifting_gaps: 1.5,
            lapsed_gaps: 3.0,
            lost_days: 365,
            returned_days: 30,
        }
    }
}

/// How customers are scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Models {
    /// What a year's delay takes off the value of an order, 0 to 1.
    pub discount_yearly: f64,
    /// What part of an order's value counts in `ltv.12m`, 0 to 1.
    pub margin: f64,
    /// By how much scores may be off in the weeks held out, 0 to 1; nothing is refused when absent.
    pub max_error: Option<f64>,
    /// Models count nobody for more repeat orders than this; found in the data when absent.
    pub cap_repeat_orders: Option<u32>,
}

impl Default for Models {
    fn default() -> Models {
        Models { discount_yearly: 0.1, margin: 1.0, max_error: None, cap_repeat_orders: None }
    }
}

/// Loyalty tiers: each customer is in the highest whose threshold their counted orders reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loyalty {
    pub by: LoyaltyBy,
    /// Only orders so recent count; all when absent.
    pub in_last: Option<Span>,
    /// Name and threshold (minor units, or orders), ascending.
    pub tiers: Vec<(String, i64)>,
    /// At risk is who would fall within so many days without another order.
    pub at_risk_days: i64,
}

/// What tiers go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoyaltyBy {
    /// The total of counted orders.
    Spend,
    /// Their number.
    Orders,
}

/// A subject people consent to or not.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    /// What the preference page calls it; by locale, `default` first.
    pub titles: ByLanguage,
    pub place: Place,
}

impl Topic {
    /// The title in a locale (`ja-JP` → `ja` → default).
    pub fn title(&self, locale: &str) -> &str {
        in_language(&self.titles, locale).unwrap_or(&self.name)
    }
}

/// The longest name, in characters: names stand in keys, links and headers.
pub const NAME_CHARS_MAX: usize = 64;

/// Whether a text can be the name of a campaign, step, arm or pool.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// A file `okaeri import` reads when nothing is named.
#[derive(Debug, Clone)]
pub struct Source {
    /// customers, consents, products, orders, lines, events, suppressions.
    pub kind: String,
    /// Relative to the project's folder.
    pub file: String,
    /// Their column → ours.
    pub map: Vec<(String, String)>,
    pub place: Place,
}

impl Project {
    /// Read and check the settings of the project in `dir`. `None` when they cannot be used; the reasons are among `problems`.
    pub fn load(dir: &Path, problems: &mut Problems) -> Option<Project> {
        Project::load_with(dir, env::lookup, problems)
    }

    /// [`Project::load`] with an environment of one's own.
    pub fn load_with(dir: &Path, lookup: impl Fn(&str) -> Option<String>, problems: &mut Problems) -> Option<Project> {
        let before = problems.count(Severity::Error);
        let project = Project::load_to_check(dir, lookup, problems)?;
        (problems.count(Severity::Error) == before).then_some(project)
    }

    /// The project with plain values in place of what is wrong, so that its other files can be checked too; never to be acted upon.
    pub fn load_to_check(
        dir: &Path,
        lookup: impl Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Option<Project> {
        let text = read_file(dir, FILE, problems)?;
        let node = crate::yaml::parse(FILE, &text, problems)?;
        let (mut settings, inline) = read::settings(&node, &lookup, problems)?;
        settings.contract = contract::load(dir, inline, problems);
        settings.know_own_events();
        Some(Project { dir: dir.to_owned(), settings })
    }

    /// The database address, with a relative SQLite path taken from the project's folder.
    pub fn database_url(&self) -> Result<String, NotSet> {
        let url = self.settings.database.require("the database")?;
        Ok(match url.strip_prefix("sqlite:") {
            Some(path) if Path::new(path).is_relative() => format!("sqlite:{}", self.dir.join(path).display()),
            _ => url.to_owned(),
        })
    }

    /// Files below `folder` that end in `.yaml` or `.yml`, by name, relative to the project; folders inside are not entered.
    pub fn yaml_files(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.dir.join(folder)) else { return Vec::new() };
        let mut files: Vec<String> = entries
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| p.is_file() && p.extension().is_some_and(|e| e == "yaml" || e == "yml"))
            .filter_map(|p| Some(format!("{folder}/{}", p.file_name()?.to_str()?)))
            .collect();
        files.sort();
        files
    }
}

/// Events that we record ourselves where there are loyalty tiers, each with the properties that name a tier.
const OWN_EVENTS: [(&str, &[&str]); 2] = [("tier.up", &["from", "to"]), ("tier.at_risk", &["tier"])];

impl Settings {
    /// Settings from texts, each with the name its problems are told with: `okaeri.yaml`, and `contract.yaml` if there is one beside it.
    /// Plain values stand in place of what is wrong.
    pub fn from_texts(
        (file, text): (&str, &str),
        contract: Option<(&str, &str)>,
        lookup: impl Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Option<Settings> {
        let node = crate::yaml::parse(file, text, problems)?;
        let (mut settings, inline) = read::settings(&node, &lookup, problems)?;
        let beside = contract.map(|(file, text)| contract::parse(file, text, problems));
        settings.contract = contract::the_only(inline, beside, problems);
        settings.know_own_events();
        Some(settings)
    }

    /// Events that we record ourselves stand in no contract of the shop's, and may be asked for all the same.
    fn know_own_events(&mut self) {
        let (Some(contract), Some(loyalty)) = (&mut self.contract, &self.loyalty) else { return };
        let tier = || PropertyType::Words(loyalty.tiers.iter().map(|(name, _)| name.clone()).collect());
        for (name, properties) in OWN_EVENTS {
            let of_event = contract.events.entry(name.to_owned()).or_default();
            for property in properties {
                of_event.entry((*property).to_owned()).or_insert_with(tier);
            }
        }
    }

    /// The data contract without the events that we record ourselves: what the shop declares of its own data.
    pub fn own_contract(&self) -> Option<Contract> {
        let mut contract = self.contract.clone()?;
        if self.loyalty.is_some() {
            contract.events.retain(|name, _| !OWN_EVENTS.iter().any(|(own, _)| own == name));
        }
        Some(contract)
    }

    /// The display name of the sender, or the project's name.
    pub fn sender_name(&self) -> &str {
        self.sender.name.as_deref().unwrap_or(&self.project)
    }

    /// The domain of the From header, as the DNS has it.
    pub fn from_domain(&self) -> String {
        let domain = self.sender.from.rsplit_once('@').map_or("", |(_, domain)| domain);
        idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned())
    }

    /// The domain of return paths, as the DNS has it: what SPF is asked of, and where bounces go.
    pub fn envelope_domain(&self) -> String {
        let domain = self.sender.bounce_domain.as_deref();
        domain.and_then(|d| idna::domain_to_ascii(d).ok()).unwrap_or_else(|| self.from_domain())
    }

    /// The reward pool of this name.
    pub fn reward(&self, name: &str) -> Option<&RewardPool> {
        self.rewards.iter().find(|pool| pool.name == name)
    }

    /// Whether a topic of this name exists.
    pub fn has_topic(&self, name: &str) -> bool {
        self.topics.iter().any(|t| t.name == name)
    }
}

/// Read an author's file as text; `name` is relative to `dir`. What cannot be read, or is not UTF-8, is a problem.
pub fn read_file(dir: &Path, name: &str, problems: &mut Problems) -> Option<String> {
    let path = dir.join(name);
    let place = Place::file(name);
    let too_large = std::fs::metadata(&path).is_ok_and(|m| m.len() > AUTHORS_FILE_BYTES_MAX);
    if too_large {
        problems.error("file-too-large", &place, format!("larger than {} MiB", AUTHORS_FILE_BYTES_MAX >> 20));
        return None;
    }
    match std::fs::read(&path) {
        Ok(bytes) => text_of(bytes, place, problems),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let problem = problems.error("missing-file", &place, format!("not found in {}", dir.display()));
            if name == FILE {
                problem.hint("name the project's folder with --project, or start one with `okaeri init DIR`");
            }
            None
        }
        Err(e) => {
            problems.error("unreadable-file", &place, e.to_string());
            None
        }
    }
}

/// An author's file as text; what is not UTF-8 is a problem.
pub fn text_of(bytes: Vec<u8>, place: Place, problems: &mut Problems) -> Option<String> {
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(e) => {
            let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
            problems
                .error("not-utf8", &Place { line, column: 1, ..place }, "not UTF-8 text")
                .hint("save the file as UTF-8");
            None
        }
    }
}

/// The largest file of any kind that an author may write, in bytes.
pub const AUTHORS_FILE_BYTES_MAX: u64 = 16 << 20;
