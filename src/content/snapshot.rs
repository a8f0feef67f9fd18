//! What a run renders with, pinned: template sources and the sender's values. A retry days later, after the files have changed, renders
//! the same bytes.
//!
//! A [`Snapshot`] is plain data, stored as JSON under its SHA-256. [`Snapshot::compile`] makes it ready to render without the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::compiled::{Compiled, Mail};
use super::context;
use super::engine::{self, Source};
use super::fields::FieldSet;
use super::flatten::Refusal;
use super::kept::{self, Kept};
use super::load::{TemplateSet, Variant};
use super::mapped::Origin;
use super::prepare::{body_of, components_of, prepare, shows_preheader};
use crate::problem::Problems;
use crate::settings::{Brand, Links, NotSet, Settings};

/// The shape of a stored snapshot; another number is a snapshot of another version of this program.
const FORMAT: u32 = 3;

/// The sources and values of everything a run renders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    format: u32,
    pub sender: SenderValues,
    /// Template → its variants, the default one first.
    mails: BTreeMap<String, Vec<Variant>>,
    /// File below `templates/` → text.
    files: BTreeMap<String, String>,
    /// The project's folder, where what is prepared is kept.
    #[serde(skip)]
    home: Option<PathBuf>,
}

/// The values of the settings that reach a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderValues {
    pub project: String,
    /// Display name of the From header.
    pub name: String,
    pub from: String,
    pub reply_to: Option<String>,
    pub bounce_domain: Option<String>,
    pub organisation: String,
    pub postal_address: String,
    pub brand: Brand,
    /// ISO 4217.
    pub currency: String,
    pub default_locale: String,
    /// IANA name of the project's time zone.
    pub time_zone: String,
    /// Where links of mails lead, without a slash at the end; `None` when unsubscribing goes by mail.
    pub base_url: Option<String>,
    /// Whether clicks go through our redirect: so it is unless the campaign says `track: false`. Without `base_url` they cannot.
    pub track: bool,
    /// `utm_source`, … with their values, in which `{campaign}` and `{step}` are filled in.
    pub utm: Vec<(String, String)>,
}

impl SenderValues {
    /// What templates see as `brand` in mails of a locale.
    pub(super) fn brand_in(&self, locale: &str) -> Json {
        self.brand.in_locale(locale, &self.name, &self.organisation, &self.postal_address)
    }

    /// From the settings, needing nothing of the environment.
    pub(super) fn without_links(settings: &Settings) -> SenderValues {
        let links = Links { base_url: None, ..settings.links.clone() };
        SenderValues::of(&Settings { links, ..settings.clone() }).expect("no other value needs the environment")
    }

    /// From the settings. Fails when the links' address comes from an environment variable that is not set.
    pub fn of(settings: &Settings) -> Result<SenderValues, NotSet> {
        let base_url = settings.links.base_url.as_ref().map(|u| u.require("links in mails")).transpose()?;
        Ok(SenderValues {
            project: settings.project.clone(),
            name: settings.sender_name().to_owned(),
            from: settings.sender.from.clone(),
            reply_to: settings.sender.reply_to.clone(),
            bounce_domain: settings.sender.bounce_domain.clone(),
            organisation: settings.sender.organisation.clone(),
            postal_address: settings.sender.postal_address.clone(),
            brand: settings.brand.clone(),
            currency: settings.currency.clone(),
            default_locale: settings.default_locale.clone(),
            time_zone: settings.time_zone.iana_name().unwrap_or("UTC").to_owned(),
            base_url: base_url.map(|u| u.trim_end_matches('/').to_owned()),
            track: settings.links.track,
            utm: settings.links.utm.clone(),
        })
    }
}

/// Why a stored snapshot cannot be used. It was checked when it was taken, so this is damage or a version mix.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the stored templates cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the stored templates were written by another version (format {0})")]
    Format(u32),
    #[error("the stored templates do not compile: {0}")]
    Refused(String),
}

impl Snapshot {
    /// Pin a set of templates and the sender's values.
    pub fn take(set: &TemplateSet, sender: SenderValues) -> Snapshot {
        Snapshot {
            format: FORMAT,
            sender,
            mails: set.mails.clone(),
            files: set.files.clone(),
            home: Some(set.home.clone()),
        }
    }

    /// At home in the project of this folder.
    pub fn at_home(self, dir: &Path) -> Snapshot {
        Snapshot { home: Some(dir.to_owned()), ..self }
    }

    /// For storage. The same content always gives the same text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings serialise")
    }

    pub fn from_json(text: &str) -> Result<Snapshot, SnapshotError> {
        let snapshot: Snapshot = serde_json::from_str(text)?;
        match snapshot.format {
            FORMAT => Ok(snapshot),
            other => Err(SnapshotError::Format(other)),
        }
    }

    /// SHA-256 of the content, hexadecimal.
    pub fn id(&self) -> String {
        kept::hex(&[self.to_json().as_bytes()])
    }

    /// Make ready to render; once in a process, however often the same is asked for.
    pub fn compile(&self) -> Result<Arc<Compiled>, SnapshotError> {
        let id = self.id();
        if let Some(compiled) = COMPILED.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|(i, _)| *i == id) {
            return Ok(compiled.1.clone());
        }
        let mut problems = Problems::new();
        let compiled = self.compile_telling(&mut problems).ok_or_else(|| {
            SnapshotError::Refused(
                problems.sorted().first().map_or_else(String::new, |p| format!("{}: {}", p.place, p.message)),
            )
        })?;
        let compiled = Arc::new(compiled);
        let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= COMPILED_MAX {
            all.pop_front();
        }
        all.push_back((id, compiled.clone()));
        Ok(compiled)
    }

    /// [`Snapshot::compile`] that tells the author what is wrong.
    pub(super) fn compile_telling(&self, problems: &mut Problems) -> Option<Compiled> {
        let before = problems.count(crate::problem::Severity::Error);
        let is_mail = |name: &str| self.mails.values().flatten().any(|v| v.html == name);
        let sources = engine::sources(&self.files, is_mail, problems);
        if !engine::check_syntax(&sources, problems) {
            return None;
        }
        let tera = engine::compile(&sources, &self.sender.currency, problems)?;
        if problems.count(crate::problem::Severity::Error) > before {
            return None;
        }
        drop(tera);
        Some(self.prepared(sources))
    }

    /// Prepare the mails, keep those that say what the slow way says, and make the engine.
    fn prepared(&self, mut sources: BTreeMap<String, Source>) -> Compiled {
        let mut kept = Kept::of(&self.made_from(), self.home.as_deref());
        let mut ready = BTreeMap::new();
        let mut showing = BTreeSet::new();
        let mut tables = BTreeMap::new();
        let locale_of = |v: &Variant| v.locale.clone().unwrap_or_else(|| self.sender.default_locale.clone());
        let files: BTreeMap<&str, String> =
            self.mails.values().flatten().map(|v| (v.html.as_str(), locale_of(v))).collect();
        let brands: BTreeMap<&str, Json> = files.values().map(|l| (l.as_str(), self.sender.brand_in(l))).collect();
        for (number, (html, locale)) in files.iter().enumerate() {
            let has_preheader = sources.contains_key(&engine::preheader_of(html));
            let known = kept.get(html).cloned();
            let judged = known.is_some();
            let prepared =
                known.unwrap_or_else(|| prepare(html, number, has_preheader, &brands[locale.as_str()], &sources));
            let shows = prepared.as_ref().map_or_else(|_| shows_preheader(html, &sources), |p| p.shows_preheader);
            showing.extend(shows.then_some(*html));
            ready.insert((*html).to_owned(), (prepared, judged));
        }
        for (html, (prepared, _)) in &mut ready {
            if let Ok(mail) = prepared {
                let texts = [(body_of(html), mail.body.clone()), (components_of(html), mail.components.clone())];
                let made: BTreeMap<String, Source> = texts.into_iter().map(|(n, m)| (n, Source::made(m))).collect();
                match engine::first_fault(&made) {
                    None => {
                        sources.extend(made);
                        let known = mail.tables.iter().filter_map(|(n, t)| Some((n.clone(), context::value(t)?)));
                        tables.extend(known);
                    }
                    Some(message) => {
                        let at = Origin { source: html.as_str().into(), offset: 0 };
                        *prepared = Err(Refusal { code: "not-prepared", message, at });
                    }
                }
            }
        }
        let mail = |v: &Variant| Mail::new(v, &sources, showing.contains(v.html.as_str()));
        let mails = self.mails.iter().map(|(n, v)| (n.clone(), v.iter().map(mail).collect())).collect();
        let mut compiled = Compiled {
            sender: self.sender.clone(),
            brands: brands
                .iter()
                .map(|(l, b)| ((*l).to_owned(), context::value(b).expect("an object is not null")))
                .collect(),
            mails,
            tables,
            fields: FieldSet::of(self.files.values().map(String::as_str)),
            sources,
            engine: OnceLock::new(),
            refusals: Vec::new(),
        };
        compiled.engine();
        for (html, (prepared, judged)) in ready {
            let verdict = match prepared {
                Ok(mail) if judged => Ok(mail),
                Ok(mail) => compiled.judged(&html).map(|()| mail),
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = &verdict {
                compiled.render_whole(&html);
                compiled.refusals.push((html.clone(), refusal.clone()));
            }
            if !judged {
                kept.add(&html, verdict);
            }
        }
        kept.close();
        compiled
    }

    /// Everything that prepared mails depend on: where links lead, and what follows them, is only known to each message.
    fn made_from(&self) -> String {
        let sender = SenderValues { base_url: None, track: false, utm: Vec::new(), ..self.sender.clone() };
        Snapshot { sender, ..self.clone() }.to_json()
    }
}

/// What was compiled in this process, the newest last.
static COMPILED: Mutex<VecDeque<(String, Arc<Compiled>)>> = Mutex::new(VecDeque::new());
/// Most sets of templates kept compiled.
const COMPILED_MAX: usize = 32;
