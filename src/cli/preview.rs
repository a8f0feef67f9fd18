//! `okaeri preview CAMPAIGN`: the mails of a campaign as people would get them, without planning or recording anything.
//!
//! Invented people, one per language of the template, unless `--customer` names one. Links carry no token: whoever clicks "unsubscribe"
//! in a preview that was passed around unsubscribes nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::loaded::Loaded;
use super::recommend;
use super::{Exit, Failure, Invocation, sending};
use crate::address::Address;
use crate::campaign::{Campaign, Kind, Step};
use crate::clock;
use crate::content::{Compiled, FieldSet, sample_person, sample_recommended};
use crate::data;
use crate::delivery::{self, Mail};
use crate::message::{ComposeError, Composer, MessageFacts};
use crate::offer::recommend::Asked;
use crate::plan;
use crate::problem::Problems;
use crate::settings::Project;

#[derive(Debug, clap::Args)]
pub struct PreviewArgs {
    /// The campaign's name
    campaign: String,
    /// Preview with this customer's data instead of invented people
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Only the variant for this locale, such as ja or en-GB
    #[arg(long, value_name = "LOCALE")]
    locale: Option<String>,
    /// Write each mail to this folder, as .eml and .html
    #[arg(long, value_name = "DIR")]
    eml: Option<PathBuf>,
    /// Send the first mail of the preview to this address, marked [Test]
    #[arg(long, value_name = "ADDRESS")]
    send_to: Option<String>,
}

/// One previewed mail.
#[derive(Debug, Serialize)]
struct Previewed {
    step: String,
    template: String,
    locale: String,
    /// The file it is written in.
    file: String,
    subject: String,
    preheader: String,
    text: String,
    html_bytes: usize,
    text_bytes: usize,
    message_bytes: usize,
    #[serde(skip)]
    html: String,
    #[serde(skip)]
    message: Vec<u8>,
    #[serde(skip)]
    payload: Value,
}

/// Whose data fills a preview.
struct Person {
    locale: String,
    payload: Value,
}

pub async fn run(inv: &Invocation, args: PreviewArgs) -> Result<Exit, Failure> {
    let loaded = Loaded::load(inv)?;
    let project = &loaded.project;
    let campaign = loaded.campaign(&args.campaign)?;
    let (set, snapshot) = loaded.pinned(inv, campaign)?;
    let compiled = Arc::new(snapshot.compile().map_err(|e| Failure::Environment(e.to_string()))?);
    let composer = Composer::new(compiled.clone(), None);
    let mut previews = Vec::new();
    for step in &campaign.steps {
        let people = match &args.customer {
            Some(id) => {
                let mut person = customer(inv, project, campaign, set.fields_used(), id).await?;
                let today = clock::date_in(clock::now(), &project.settings.time_zone);
                add_reward(project, step, &person.locale, today, &mut person.payload);
                vec![person]
            }
            None => invented(&compiled, step, args.locale.as_deref(), project),
        };
        for person in people {
            previews.push(preview(&composer, &compiled, project, campaign, step, &person, "")?);
        }
    }
    if let Some(dir) = &args.eml {
        write(dir, &campaign.name, &previews).map_err(|e| Failure::Environment(format!("{}: {e}", dir.display())))?;
        inv.say(format_args!("{} mails written to {}", previews.len(), dir.display()));
    }
    if let Some(address) = &args.send_to {
        let reply = send_test(inv, project, &compiled, campaign, &previews, address).await?;
        inv.say(format_args!("sent to {address}: {reply}"));
    }
    inv.print(
        || serde_json::json!({ "campaign": campaign.name, "mails": previews }),
        || previews.iter().map(to_text).collect::<Vec<_>>().join("\n"),
    );
    Ok(Exit::Done)
}

/// An invented person for every language the template is written in, or for the one asked for.
fn invented(compiled: &Compiled, step: &Step, only: Option<&str>, project: &Project) -> Vec<Person> {
    let locales: Vec<String> = match only {
        Some(locale) => vec![locale.to_owned()],
        None => {
            let default = &project.settings.default_locale;
            compiled.locales(&step.template).map(|l| l.unwrap_or(default).to_owned()).collect()
        }
    };
    let person = |locale: String| {
        let mut payload = sample_person(&locale);
        if let Some(recommend) = &step.recommend {
            let Asked { count, strategies, .. } = &recommend.asked;
            let words: Vec<&str> = strategies.iter().map(|s| s.word()).collect();
            payload["recommend"] = sample_recommended(&locale, *count, &words);
        }
        add_reward(project, step, &locale, clock::date_in(clock::now(), &project.settings.time_zone), &mut payload);
        Person { locale, payload }
    };
    locales.into_iter().map(person).collect()
}

/// The first reward that a step gives, with a code that is nobody's.
pub(super) fn add_reward(project: &Project, step: &Step, locale: &str, today: jiff::civil::Date, payload: &mut Value) {
    let pool = step.reward.as_ref().and_then(|r| project.settings.reward(r.pools.first()?));
    if let Some(pool) = pool {
        plan::payload::add_reward(payload, pool.sample(locale, today));
    }
}

/// A customer's data as a message of theirs would carry it.
async fn customer(
    inv: &Invocation,
    project: &Project,
    campaign: &Campaign,
    fields: FieldSet,
    id: &str,
) -> Result<Person, Failure> {
    let settings = &project.settings;
    let as_of = inv.clock(&settings.time_zone)?.as_of();
    let db = inv.open_db(project).await?;
    let customer = data::load::customer(&db, id).await?.ok_or_else(|| {
        Failure::Usage(format!("there is no customer `{id}`\nleave --customer away to preview with invented people"))
    })?;
    recommend::get_ready(inv, &db, campaign).await?;
    let mut payload = plan::payload_of(&db, settings, &fields, campaign.recommends(), as_of, id).await?;
    if payload["recommend"].as_array().is_some_and(Vec::is_empty) && campaign.kind == Kind::Promotional {
        return Err(Failure::Usage(format!(
            "there is nothing to recommend to `{id}`: they would be skipped (no_content)
`okaeri recommend show --customer {id}` shows what each strategy finds"
        )));
    }
    let locale = customer.locale.unwrap_or_else(|| settings.default_locale.clone());
    // A preview reaches nobody: someone without an address can be looked at all the same.
    let email = customer.email.unwrap_or_else(|| "nobody@example.com".to_owned());
    for (name, value) in [("customer_id", id), ("email", &email), ("locale", &locale)] {
        payload["customer"][name] = Value::from(value);
    }
    Ok(Person { locale, payload })
}

/// Compose one mail. `mark` stands before the subject.
fn preview(
    composer: &Composer,
    compiled: &Compiled,
    project: &Project,
    campaign: &Campaign,
    step: &Step,
    person: &Person,
    mark: &str,
) -> Result<Previewed, Failure> {
    let field = |name: &str| person.payload["customer"][name].as_str().unwrap_or_default();
    let topic = project.settings.topics.iter().find(|t| t.name == campaign.topic);
    let facts = MessageFacts {
        bucket: 0,
        chunk_id: 0,
        seq: 0,
        customer_id: field("customer_id"),
        campaign: &campaign.name,
        campaign_title: &campaign.title,
        step: &step.name,
        slot: "preview",
        topic: &campaign.topic,
        topic_title: topic.map_or(&campaign.topic, |t| t.title(&person.locale)),
        promotional: campaign.kind == Kind::Promotional,
        template: &step.template,
        locale: &person.locale,
        message_id: "preview",
        address: field("email"),
        payload: &person.payload,
    };
    let now = clock::now();
    let told = |e: ComposeError| match e {
        ComposeError::Render(e) => {
            let mut problems = Problems::new();
            let hint = e.hint();
            let problem = problems.error("template-fails", &e.place, e.message);
            if let Some(hint) = hint {
                problem.hint(hint);
            }
            Failure::Problems(problems)
        }
        e => Failure::Usage(e.to_string()),
    };
    let mut rendered = composer.render(&facts, now).map_err(told)?;
    rendered.subject.insert_str(0, mark);
    let composed = composer.assemble(&facts, &rendered, now).map_err(told)?;
    Ok(Previewed {
        step: step.name.clone(),
        template: step.template.clone(),
        locale: person.locale.clone(),
        file: compiled.file(&step.template, &person.locale),
        subject: rendered.subject,
        preheader: rendered.preheader,
        html_bytes: rendered.html.len(),
        text_bytes: rendered.text.len(),
        message_bytes: composed.bytes.len(),
        text: rendered.text,
        html: rendered.html,
        message: composed.bytes,
        payload: person.payload.clone(),
    })
}

/// `DIR/win-back.letter.ja.eml` and `.html`.
fn write(dir: &Path, campaign: &str, previews: &[Previewed]) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for p in previews {
        let stem = format!("{campaign}.{}.{}", p.step, p.locale).replace(['/', '\\'], "-");
        std::fs::write(dir.join(format!("{stem}.eml")), &p.message)?;
        std::fs::write(dir.join(format!("{stem}.html")), &p.html)?;
    }
    Ok(())
}

/// Send the first mail of the preview, marked as a test, to `address`; the server's reply.
async fn send_test(
    inv: &Invocation,
    project: &Project,
    compiled: &Arc<Compiled>,
    campaign: &Campaign,
    previews: &[Previewed],
    address: &str,
) -> Result<String, Failure> {
    let to = Address::parse(address).map_err(|e| Failure::Usage(format!("--send-to: the address {e}")))?;
    let (Some(first), Some(step)) = (previews.first(), campaign.steps.first()) else {
        return Err(Failure::Usage("the campaign has no step to preview".to_owned()));
    };
    let mut payload = first.payload.clone();
    payload["customer"]["email"] = Value::from(to.to_string());
    let person = Person { locale: first.locale.clone(), payload };
    let composer = Composer::new(compiled.clone(), None);
    let marked = preview(&composer, compiled, project, campaign, step, &person, "[Test] ")?;
    let server = sending::server(project)?;
    sending::refuse_moved_clock(inv.clock(&project.settings.time_zone)?, [&server])?;
    let bytes = match sending::signer(project)? {
        Some(signer) => signer.sign(&marked.message, clock::now()).map_err(|e| Failure::Environment(e.to_string()))?,
        None => marked.message,
    };
    let mail = Mail { envelope_from: compiled.sender.from.clone(), envelope_to: to.to_string(), bytes };
    let reply = delivery::send_copy(&server, &mail).await;
    reply.map(|r| r.line()).map_err(|why| Failure::Environment(format!("{}: {why}", server.url())))
}

fn to_text(p: &Previewed) -> String {
    let bold = anstyle::Style::new().bold();
    let dim = anstyle::Style::new().dimmed();
    let kb = |bytes: usize| format!("{:.1} kB", bytes as f64 / 1_000.0);
    let text: String = p.text.trim_end().lines().map(|l| format!("  {l}\n")).collect();
    format!(
        "{bold}{}{bold:#}\n{dim}{}{dim:#}\n{dim}{}, {}; HTML {}, text {}, whole message {}{dim:#}\n\n{text}",
        p.subject,
        p.preheader,
        p.file,
        p.locale,
        kb(p.html_bytes),
        kb(p.text_bytes),
        kb(p.message_bytes),
    )
}
