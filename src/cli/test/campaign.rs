//! The tests of campaign files: what a look does with the person they describe, and what the mail's subject says.

use mail_parser::MessageParser;
use serde_json::{Value, json};

use crate::campaign::Campaign;
use crate::campaign::case::Case;
use crate::cli::loaded::Loaded;
use crate::cli::preview::add_reward;
use crate::cli::send::composer;
use crate::cli::{Failure, Invocation};
use crate::message::{Composer, MessageFacts};
use crate::plan::trial::{Found, look};
use crate::problem::Place;
use crate::profile::Moment;
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
    let rendered = campaign.tests.iter().any(|t| t.expect.subject_contains.is_some());
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
    let found = look(campaign, &loaded.segments, &loaded.project.settings, case)?;
    let expect = &case.expect;
    let reason = found.reason.map(|r| r.word());
    let as_expected = found.verdict == expect.verdict
        && expect.step.as_ref().is_none_or(|step| found.step.as_ref() == Some(step))
        && expect.reason.as_ref().is_none_or(|wanted| reason == Some(wanted));
    if !as_expected {
        let of = |verdict: &str, step: Option<&str>, reason: Option<&str>| {
            let step = step.map(|s| format!(", step {s}")).unwrap_or_default();
            format!("{verdict}{step}{}", reason.map(|r| format!(", reason {r}")).unwrap_or_default())
        };
        let wanted = of(expect.verdict.word(), expect.step.as_deref(), expect.reason.as_deref());
        let got = of(found.verdict.word(), found.step.as_deref(), reason);
        return Err(format!("expected {wanted}\nfound    {got}"));
    }
    if let Some(words) = &expect.subject_contains {
        let subject = match composer {
            Some(Ok(composer)) => subject(loaded, campaign, case, &found, composer)?,
            Some(Err(why)) => return Err(why.clone()),
            None => unreachable!("asked for whenever a test expects a subject"),
        };
        if !subject.contains(words.as_str()) {
            return Err(format!("expected a subject with `{words}`\nfound    {subject}"));
        }
    }
    Ok(())
}

/// The subject of the mail that the person would get.
fn subject(
    loaded: &Loaded,
    campaign: &Campaign,
    case: &Case,
    found: &Found,
    composer: &Composer,
) -> Result<String, String> {
    let settings = &loaded.project.settings;
    let step = campaign.steps.iter().find(|s| Some(&s.name) == found.step.as_ref());
    let step = step.ok_or("nothing is sent, so there is no subject")?;
    let moment = Moment::with_cuts(settings, case.now, None);
    let mut payload = case.given.for_templates(settings, &moment);
    payload["today"] = crate::clock::date_in(case.now, &settings.time_zone).to_string().into();
    if step.recommend.is_some() {
        payload["recommend"] = json!([]);
    }
    let locale = case.given.text("locale", &moment).unwrap_or_else(|| settings.default_locale.clone());
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
    let mail = composer.compose(&facts, case.now).map_err(|e| e.to_string())?;
    let parsed = MessageParser::default().parse(&mail.bytes).ok_or("the mail cannot be read")?;
    Ok(parsed.subject().unwrap_or_default().to_owned())
}
