//! The tests of campaign files: what a look does with the person they describe, and what the mail's subject says.

use mail_parser::MessageParser;
use serde_json::{Value, json};

use crate::campaign::Campaign;
use crate::campaign::case::{Case, Day, Expect, Expects};
use crate::cli::loaded::Loaded;
use crate::cli::preview::add_reward;
use crate::cli::send::composer;
use crate::cli::{Failure, Invocation};
use crate::clock::{self, Millis};
use crate::message::{Composer, MessageFacts};
use crate::plan::trial::days::{Happened, happenings};
use crate::plan::trial::{Found, NOTHING, look};
use crate::problem::Place;
use crate::profile::Moment;
use crate::segment::given::Given;
use crate::settings::Settings;
use crate::suppression::Kind;
use crate::token::Tokens;

/// One test of a campaign and how it ended.
pub struct CampaignTrial {
    pub campaign: String,
    pub test: String,
    pub place: Place,
    /// Why it failed.
    pub failed: Option<String>,
}

impl CampaignTrial {
    pub fn as_json(&self) -> Value {
        json!({
            "campaign": self.campaign, "test": self.test, "file": &*self.place.file, "line": self.place.line,
            "column": self.place.column, "verdict": if self.failed.is_some() { "failed" } else { "passed" },
            "detail": self.failed,
        })
    }
}

/// Run the tests of a campaign.
pub fn run(inv: &Invocation, loaded: &Loaded, campaign: &Campaign) -> Vec<CampaignTrial> {
    let rendered = campaign.tests.iter().flat_map(Case::expectations).any(|e| e.subject_contains.is_some());
    // Templates with faults fail the tests that need them, with what `okaeri check` says.
    let composer = rendered.then(|| {
        let (_, snapshot) = loaded.pinned(inv, campaign).map_err(said)?;
        composer(&snapshot, Tokens::new("a test signs nothing")).map_err(said)
    });
    let trial = |case: &Case| CampaignTrial {
        campaign: campaign.name.clone(),
        test: case.name.clone(),
        place: case.place.clone(),
        failed: fault(loaded, campaign, case, composer.as_ref()).err(),
    };
    campaign.tests.iter().map(trial).collect()
}

fn said(failure: Failure) -> String {
    match failure {
        Failure::Problems(problems) => anstream::adapter::strip_str(&problems.to_text()).to_string(),
        Failure::Usage(text) | Failure::Environment(text) | Failure::Held(text) | Failure::Busy(text) => text,
    }
}

/// Why a test fails.
fn fault(
    loaded: &Loaded,
    campaign: &Campaign,
    case: &Case,
    composer: Option<&Result<Composer, String>>,
) -> Result<(), String> {
    let (library, settings) = (&loaded.segments, &loaded.project.settings);
    match &case.expects {
        Expects::Look(expect) => {
            let found = look(campaign, library, settings, case)?;
            if !is_expected(expect, &found) {
                return Err(format!("expected {}\nfound    {}", wanted(expect), got(&found)));
            }
            has_subject(loaded, campaign, (&case.given, case.now), (expect, &found), composer)
        }
        Expects::Days(days) => {
            let happened = happenings(campaign, library, settings, (case, days))?;
            // What happened on days of which nothing is expected belongs to the next.
            let mut since: Vec<Happened> = Vec::new();
            for (day, of_day) in days.iter().zip(happened) {
                since.extend(of_day);
                let Some(expect) = &day.expect else { continue };
                let all = std::mem::take(&mut since);
                let found = match &all[..] {
                    [] => &NOTHING,
                    [only] => &only.found,
                    _ => return Err(on_day(day, expect, &all, settings)),
                };
                if !is_expected(expect, found) {
                    return Err(on_day(day, expect, &all, settings));
                }
                let at = all.first().map_or(day.at, |h| h.at);
                has_subject(loaded, campaign, (&day.given, at), (expect, found), composer)
                    .map_err(|why| format!("on {} ({}): {why}", day.on, day.place))?;
            }
            Ok(())
        }
    }
}

fn is_expected(expect: &Expect, found: &Found) -> bool {
    let reason = found.reason.map(|r| r.word());
    found.verdict == expect.verdict
        && expect.step.as_ref().is_none_or(|step| found.step.as_ref() == Some(step))
        && expect.reason.as_ref().is_none_or(|wanted| reason == Some(wanted))
}

/// A verdict in words.
fn verdict(word: &str, step: Option<&str>, reason: Option<&str>) -> String {
    let step = step.map(|s| format!(", step {s}")).unwrap_or_default();
    format!("{word}{step}{}", reason.map(|r| format!(", reason {r}")).unwrap_or_default())
}

fn wanted(expect: &Expect) -> String {
    verdict(expect.verdict.word(), expect.step.as_deref(), expect.reason.as_deref())
}

fn got(found: &Found) -> String {
    verdict(found.verdict.word(), found.step.as_deref(), found.reason.map(|r| r.word()))
}

/// What was expected on a day, and everything that happened instead.
fn on_day(day: &Day, expect: &Expect, happened: &[Happened], settings: &Settings) -> String {
    let mut told: Vec<String> = happened
        .iter()
        .map(|h| format!("{} at {}", got(&h.found), clock::readable(h.at, &settings.time_zone)))
        .collect();
    if told.is_empty() {
        told.push("nothing".to_owned());
    }
    format!("on {} ({}): expected {}\nfound    {}", day.on, day.place, wanted(expect), told.join("\n         "))
}

/// Whether the subject has the words that it is to have.
fn has_subject(
    loaded: &Loaded,
    campaign: &Campaign,
    person: (&Given, Millis),
    (expect, found): (&Expect, &Found),
    composer: Option<&Result<Composer, String>>,
) -> Result<(), String> {
    let Some(words) = &expect.subject_contains else { return Ok(()) };
    let subject = match composer {
        Some(Ok(composer)) => subject(loaded, campaign, person, found, composer)?,
        Some(Err(why)) => return Err(why.clone()),
        None => unreachable!("asked for whenever a test expects a subject"),
    };
    if !subject.contains(words.as_str()) {
        return Err(format!("expected a subject with `{words}`\nfound    {subject}"));
    }
    Ok(())
}

/// The subject of the mail that the person would get.
fn subject(
    loaded: &Loaded,
    campaign: &Campaign,
    (given, now): (&Given, Millis),
    found: &Found,
    composer: &Composer,
) -> Result<String, String> {
    let settings = &loaded.project.settings;
    let step = campaign.steps.iter().find(|s| Some(&s.name) == found.step.as_ref());
    let step = step.ok_or("nothing is sent, so there is no subject")?;
    let moment = Moment::with_cuts(settings, now, None);
    let mut payload = given.for_templates(settings, &moment);
    payload["today"] = clock::date_in(now, &settings.time_zone).to_string().into();
    if step.recommend.is_some() {
        payload["recommend"] = json!([]);
    }
    let locale = given.text("locale", &moment).unwrap_or_else(|| settings.default_locale.clone());
    add_reward(&loaded.project, step, &locale, &mut payload);
    let facts = MessageFacts {
        bucket: 0,
        chunk_id: 0,
        seq: 0,
        customer_id: "given",
        campaign: &campaign.key,
        campaign_title: &campaign.title,
        step: &step.name,
        slot: "test",
        topic: &campaign.topic,
        topic_title: &campaign.topic,
        promotional: campaign.kind == Kind::Promotional,
        template: &step.template,
        locale: &locale,
        message_id: "00000000000000000000000000000000",
        address: "given@example.com",
        payload: &payload,
    };
    let mail = composer.compose(&facts, now).map_err(|e| e.to_string())?;
    let parsed = MessageParser::default().parse(&mail.bytes).ok_or("the mail cannot be read")?;
    Ok(parsed.subject().unwrap_or_default().to_owned())
}
