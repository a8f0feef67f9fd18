//! What most verbs begin with: the whole project, checked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Failure, Invocation};
use crate::campaign::{self, Campaign, Status};
use crate::clock::{self, Millis};
use crate::content::{Reader, Recommends, Rewards, SenderValues, Snapshot, TemplateSet, Wanted, weigh};
use crate::db::{Db, DbResult};
use crate::persona::{self, Persona};
use crate::plan::trial;
use crate::problem::{Problems, Severity, nearest};
use crate::queue::recheck::Files;
use crate::score;
use crate::segment;
use crate::segment::condition::Condition;
use crate::settings::Project;

const NO_SCORES: &str = "there are no scores yet\nlearn them with `okaeri model fit`";

/// Settings, segments and campaigns.
pub struct Loaded {
    pub project: Project,
    pub segments: segment::Library,
    pub campaigns: campaign::Library,
    pinned: Mutex<BTreeMap<String, (TemplateSet, Snapshot)>>,
}

impl Loaded {
    /// Read everything, whatever is wrong; act on it only when there are no errors among `problems`.
    pub fn read(inv: &Invocation, problems: &mut Problems) -> Option<Loaded> {
        let project = inv.read_project_to_check(problems)?;
        let segments = segment::Library::load(&project, problems);
        let names: Vec<&str> = segments.names().collect();
        let campaigns = campaign::Library::load(&project, &names, problems);
        campaigns.iter().for_each(|campaign| trial::check(campaign, problems));
        Some(Loaded { project, segments, campaigns, pinned: Mutex::default() })
    }

    /// Read everything; errors end the verb, warnings are told.
    pub fn load(inv: &Invocation) -> Result<Loaded, Failure> {
        let mut problems = Problems::new();
        let loaded = Loaded::read(inv, &mut problems);
        inv.settle(problems)?;
        loaded.ok_or_else(|| Failure::Usage("the project could not be read".to_owned()))
    }

    /// Settings without a fault, and of the other files what can be used: a broken campaign file does not keep back what was planned before.
    /// Its problems are told.
    pub fn for_delivery(inv: &Invocation) -> Result<Loaded, Failure> {
        let project = inv.project()?;
        let mut problems = Problems::new();
        let segments = segment::Library::load(&project, &mut problems);
        let names: Vec<&str> = segments.names().collect();
        let campaigns = campaign::Library::load(&project, &names, &mut problems);
        if !problems.is_empty() {
            inv.say(problems.to_text().trim_end());
        }
        Ok(Loaded { project, segments, campaigns, pinned: Mutex::default() })
    }

    /// What a message that waited is compared with before it leaves.
    pub fn files(&self) -> Files {
        Files {
            settings: self.project.settings.clone(),
            segments: self.segments.clone(),
            campaigns: self.campaigns.clone(),
        }
    }

    /// The campaign of this name.
    pub fn campaign(&self, name: &str) -> Result<&Campaign, Failure> {
        self.campaigns.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.campaigns.iter().map(|c| c.name.as_str()).collect();
            if let Some(campaign) = self.campaigns.of_key(name) {
                return Failure::Usage(format!("the campaign `{name}` is called `{}` now", campaign.name));
            }
            let hint = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "there are no campaigns in campaigns/".to_owned(),
                None => format!("campaigns: {}", names.join(", ")),
            };
            Failure::Usage(format!("there is no campaign `{name}`\n{hint}"))
        })
    }

    /// The campaign of this name, if it may send.
    pub fn live_campaign(&self, name: &str) -> Result<&Campaign, Failure> {
        let campaign = self.campaign(name)?;
        match campaign.status {
            Status::Live => Ok(campaign),
            other => Err(Failure::Usage(format!(
                "the campaign `{name}` is {}: it sends nothing\nset `status: live` in {} when it is ready",
                other.word(),
                campaign.place.file
            ))),
        }
    }

    /// A campaign whose audience or steps hang on scores needs scores that hold: where the settings say how far off they may be, others end the
    /// verb. Without such a limit missing and doubtful scores are only told.
    pub async fn scores_hold(&self, inv: &Invocation, db: &Db, campaign: &Campaign) -> Result<(), Failure> {
        if !self.hangs_on_scores(campaign) {
            return Ok(());
        }
        let settings = &self.project.settings;
        let now = inv.clock(&settings.time_zone)?.as_of();
        let limit = settings.models.max_error;
        let card = score::newest(db).await?;
        let hangs = |what: &str| format!("who gets `{}` hangs on scores: {what}", campaign.name);
        let fault = match &card {
            Some(card) => card.fault(limit, now),
            None => Some(NO_SCORES.to_owned()),
        };
        let doubts = card.map(|card| card.doubts(now)).unwrap_or_default();
        match fault {
            Some(fault) if limit.is_some() => return Err(Failure::Usage(hangs(&fault))),
            Some(fault) => inv.say(hangs(&fault.replace('\n', "; "))),
            None if !doubts.is_empty() => inv.say(hangs(&format!("low confidence: {}", doubts.join("; ")))),
            None => {}
        }
        Ok(())
    }

    /// What is wrong with the scores, if a campaign or a segment hangs on them.
    pub async fn scores_fault(&self, db: &Db, now: Millis) -> DbResult<Option<String>> {
        let names: Vec<&str> = self.segments.names().collect();
        if !self.segments.use_scores(&names) && !self.campaigns.iter().any(|c| self.hangs_on_scores(c)) {
            return Ok(None);
        }
        let limit = self.project.settings.models.max_error;
        Ok(match score::newest(db).await? {
            Some(card) => card.fault(limit, now),
            None => limit.map(|_| NO_SCORES.to_owned()),
        })
    }

    fn hangs_on_scores(&self, campaign: &Campaign) -> bool {
        campaign.conditions().any(Condition::uses_scores) || self.segments.use_scores(&campaign.segments_named())
    }

    /// The templates of campaigns, read and checked.
    pub fn templates<'c>(
        &self,
        campaigns: impl IntoIterator<Item = &'c Campaign>,
        problems: &mut Problems,
    ) -> Option<TemplateSet> {
        let wanted: Vec<Wanted> = campaigns
            .into_iter()
            .flat_map(|c| {
                let templates = c.steps.iter().flat_map(|s| s.templates().map(move |named| (s, named)));
                templates.map(|(s, (name, place))| Wanted {
                    name: name.to_owned(),
                    place: place.clone(),
                    promotional: c.kind == campaign::Kind::Promotional,
                    tracked: c.track,
                    recommends: s.recommend.as_ref().map(|r| Recommends {
                        // Service mail is owed: it goes out with an empty list too.
                        at_least: if c.kind == campaign::Kind::Service { 0 } else { r.asked.at_least },
                        at_most: r.asked.count,
                        place: r.place.clone(),
                    }),
                    rewards: s.reward.as_ref().map(|r| Rewards {
                        pools: r.pools.iter().filter_map(|name| self.project.settings.reward(name)).cloned().collect(),
                        may_be_missing: r.when_none_left == campaign::WhenNoneLeft::Send,
                        place: r.place.clone(),
                    }),
                })
            })
            .collect();
        let set = TemplateSet::load(&self.project.dir, &wanted, &self.project.settings, problems)?;
        set.check(&self.project.settings, None, problems);
        Some(set)
    }

    /// [`Loaded::templates`], looked at as mails too: what the rules of the lint say, as the settings weigh them.
    pub fn linted<'c>(
        &self,
        campaigns: impl IntoIterator<Item = &'c Campaign>,
        now: Millis,
        problems: &mut Problems,
    ) -> Option<TemplateSet> {
        let before = problems.count(Severity::Error);
        let set = self.templates(campaigns, problems);
        // A template that cannot be used is no mail yet.
        match set.as_ref().filter(|_| problems.count(Severity::Error) == before) {
            Some(set) => drop(self.judge(set, now, problems)),
            None => weigh(&self.project.settings, problems),
        }
        set
    }

    /// What the lint says of templates that can be used; and the personas whose mails it looked at.
    pub fn judge(&self, set: &TemplateSet, now: Millis, problems: &mut Problems) -> Vec<Persona> {
        let personas = persona::load(&self.project, now, problems);
        let readers: Vec<Reader> = personas.iter().map(Reader::from).collect();
        let today = clock::date_in(now, &self.project.settings.time_zone);
        set.lint(&self.project.settings, &readers, today, problems);
        weigh(&self.project.settings, problems);
        personas
    }

    /// A campaign's templates and the sender's values, pinned; and the set itself, which knows the fields they use. Read and checked once.
    pub fn pinned(&self, inv: &Invocation, campaign: &Campaign) -> Result<(TemplateSet, Snapshot), Failure> {
        let pinned = || self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pinned().get(&campaign.key) {
            return Ok(known.clone());
        }
        let mut problems = Problems::new();
        let set = self.templates([campaign], &mut problems);
        inv.settle(problems)?;
        let set = set.ok_or_else(|| Failure::Usage("the templates could not be read".to_owned()))?;
        let mut sender = SenderValues::of(&self.project.settings)?;
        sender.track &= campaign.track;
        let snapshot = Snapshot::take(&set, sender);
        pinned().insert(campaign.key.clone(), (set.clone(), snapshot.clone()));
        Ok((set, snapshot))
    }
}
