//! `okaeri preview CAMPAIGN`: the mails of a campaign as people would get them, without planning or recording anything.
//!
//! Invented people, one per language of the template, unless `--customer` names one. Links carry no token: whoever clicks "unsubscribe"
//! in a preview that was passed around unsubscribes nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{Exit, Failure, Invocation};
use crate::address::Address;
use crate::campaign::{Campaign, FOLDER, Kind, Library, Step};
use crate::clock;
use crate::content::{Compiled, SenderValues, Snapshot, TemplateSet, Wanted, sample_person};
use crate::delivery::conversation::{Begun, Sent};
use crate::delivery::{Conversation, Mail, Server};
use crate::message::{ComposeError, Composer, MessageFacts};
use crate::problem::{Problems, nearest};
use crate::settings::{Project, SmtpUrl};

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
    let project = inv.project()?;
    let campaign = find(inv, &project, &args.campaign)?;
    let compiled = Arc::new(compile(inv, &project, &campaign)?);
    let composer = Composer::new(compiled.clone(), None);
    let mut previews = Vec::new();
    for step in &campaign.steps {
        let people = match &args.customer {
            Some(id) => vec![customer(inv, &project, id).await?],
            None => invented(&compiled, &step.template, args.locale.as_deref(), &project),
        };
        for person in people {
            previews.push(preview(&composer, &compiled, &project, &campaign, step, &person, "")?);
        }
    }
    if let Some(dir) = &args.eml {
        write(dir, &campaign.name, &previews).map_err(|e| Failure::Environment(format!("{}: {e}", dir.display())))?;
        inv.say(format_args!("{} mails written to {}", previews.len(), dir.display()));
    }
    if let Some(address) = &args.send_to {
        let reply = send_test(&project, &compiled, &campaign, &previews, address).await?;
        inv.say(format_args!("sent to {address}: {reply}"));
    }
    inv.print(
        || serde_json::json!({ "campaign": campaign.name, "mails": previews }),
        || previews.iter().map(to_text).collect::<Vec<_>>().join("\n"),
    );
    Ok(Exit::Done)
}

fn find(inv: &Invocation, project: &Project, name: &str) -> Result<Campaign, Failure> {
    let mut problems = Problems::new();
    let segments = segment_names(project);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let library = Library::load(project, &segments, &mut problems);
    inv.settle(problems)?;
    library.get(name).cloned().ok_or_else(|| {
        let hint = nearest(name, library.iter().map(|c| c.name.as_str()))
            .map_or_else(|| "see `okaeri campaign list`".to_owned(), |near| format!("did you mean `{near}`?"));
        Failure::Usage(format!("there is no campaign `{name}`\n{hint}"))
    })
}

/// The segments a campaign may name: those that have a file of their name.
fn segment_names(project: &Project) -> Vec<String> {
    let files = project.yaml_files(&format!("{FOLDER}/segments"));
    files.iter().filter_map(|f| Some(Path::new(f).file_stem()?.to_str()?.to_owned())).collect()
}

fn compile(inv: &Invocation, project: &Project, campaign: &Campaign) -> Result<Compiled, Failure> {
    let mut problems = Problems::new();
    let promotional = campaign.kind == Kind::Promotional;
    let wanted: Vec<Wanted> = campaign
        .steps
        .iter()
        .map(|s| Wanted { name: s.template.clone(), promotional, place: s.template_place.clone() })
        .collect();
    let set = TemplateSet::load(&project.dir, &wanted, &project.settings, &mut problems);
    if let Some(set) = &set {
        set.check(&project.settings, None, &mut problems);
    }
    inv.settle(problems)?;
    let set = set.ok_or_else(|| Failure::Usage("the templates could not be read".to_owned()))?;
    Snapshot::take(&set, SenderValues::of(&project.settings)?)
        .compile()
        .map_err(|e| Failure::Environment(e.to_string()))
}

/// An invented person for every language the template is written in, or for the one asked for.
fn invented(compiled: &Compiled, template: &str, only: Option<&str>, project: &Project) -> Vec<Person> {
    let locales: Vec<String> = match only {
        Some(locale) => vec![locale.to_owned()],
        None => {
            let default = &project.settings.default_locale;
            compiled.locales(template).map(|l| l.unwrap_or(default).to_owned()).collect()
        }
    };
    locales.into_iter().map(|locale| Person { payload: sample_person(&locale), locale }).collect()
}

/// A customer's data as a message of theirs would carry it.
async fn customer(_inv: &Invocation, _project: &Project, _id: &str) -> Result<Person, Failure> {
    Err(Failure::Usage("--customer is not supported yet\nleave it out to preview with invented people".to_owned()))
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
    let from = &compiled.sender.from;
    let url = SmtpUrl::parse(project.settings.smtp.url.require("sending")?).map_err(Failure::Usage)?;
    let domain = from.rsplit_once('@').map_or("localhost", |(_, d)| d);
    let server = Server::new(url, project.settings.smtp.ca_file.as_deref(), domain).map_err(Failure::Environment)?;
    let mail = Mail { envelope_from: from.clone(), envelope_to: to.to_string(), bytes: marked.message };
    hand_over(&server, &mail).await
}

async fn hand_over(server: &Server, mail: &Mail) -> Result<String, Failure> {
    let refused = |what: String| Failure::Environment(format!("{}: {what}", server.url()));
    let mut conversation = Conversation::open(server).await.map_err(|e| refused(format!("{e:?}")))?;
    match conversation.begin(mail, "test").await {
        Begun::Ready => {}
        Begun::Refused(stage, reply) => return Err(refused(format!("{}: {}", stage.word(), reply.line()))),
        Begun::Broken(stage, why) => return Err(refused(format!("{}: {why}", stage.word()))),
    }
    let sent = conversation.content(mail).await;
    match sent {
        Sent::Answered(_, reply) if (200..300).contains(&reply.code) => {
            conversation.quit().await;
            Ok(reply.line())
        }
        Sent::Answered(stage, reply) => Err(refused(format!("{}: {}", stage.word(), reply.line()))),
        Sent::NotWritten(why) => Err(refused(why)),
        Sent::Unanswered(why) => Err(refused(format!("{why}; the test mail may have arrived all the same"))),
    }
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
