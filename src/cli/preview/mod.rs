//! `okaeri preview CAMPAIGN`: the mails of a campaign as people would get them, without planning or recording anything.
//!
//! All personas, in every language and arm, unless `--customer` names somebody: then nobody else, and only then does a customer's data reach
//! a file. Links carry no token: whoever clicks "unsubscribe" in a preview that was passed around unsubscribes nobody.
//!
//! Read on: [`mails`] (who gets what), [`gallery`] (the page that shows it), [`serve`] (the page while you write), [`copy`] (test copies).

mod copy;
mod gallery;
mod mails;
mod people;
mod serve;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::loaded::Loaded;
use super::{Exit, Failure, Invocation, shown, write_file};
use crate::money::grouped;
use crate::problem::{Problems, counted};
use gallery::Gallery;
pub(super) use mails::add_reward;
use mails::{Content, Shown};

/// Where galleries are written, in the project's folder.
const FOLDER: &str = ".okaeri/preview";

#[derive(Debug, Clone, clap::Args)]
pub struct PreviewArgs {
    /// The campaign's name
    campaign: String,
    /// What else stands there: taken so that it can be said how names of people are written
    #[arg(hide = true)]
    stray: Vec<String>,
    /// Preview with this customer's data instead of invented people
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Invented people, by name [default: all of them]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', require_equals = true, num_args = 0.., conflicts_with = "customer")]
    personas: Vec<String>,
    /// Only this locale, such as ja or en-GB
    #[arg(long, value_name = "LOCALE", value_parser = locale)]
    locale: Option<String>,
    /// Only this step
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Where to write the page with all mails [default: .okaeri/preview/CAMPAIGN.html in the project]
    #[arg(long, value_name = "FILE")]
    gallery: Option<PathBuf>,
    /// Show the page on this machine, anew whenever a file of the project is saved, until told to stop
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:8026", conflicts_with_all = ["gallery", "eml", "send_to"])]
    serve: Option<SocketAddr>,
    /// Write each mail to this folder, as .eml and .html
    #[arg(long, value_name = "DIR")]
    eml: Option<PathBuf>,
    /// Send the first person's mails to this address, marked [Test]; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    send_to: Vec<String>,
}

/// A locale as people write it; what is none would be looked for as a file.
fn locale(text: &str) -> Result<String, String> {
    let is_one = crate::content::is_locale(text);
    is_one.then(|| text.to_owned()).ok_or_else(|| "a locale is written en, ja or pt-BR".to_owned())
}

/// What a preview is about.
struct Previewed {
    title: String,
    sender: String,
    mails: Vec<Shown>,
    /// What the lint says of the campaign's templates.
    problems: Problems,
}

pub async fn run(inv: &Invocation, args: PreviewArgs) -> Result<Exit, Failure> {
    if let Some(stray) = args.stray.first() {
        let hint = format!("invented people are named with a sign between: --personas={stray}");
        return Err(Failure::Usage(format!("one campaign is previewed at a time, so what is `{stray}`?\n{hint}")));
    }
    if let Some(at) = args.serve {
        return serve::run(inv, &args, at).await;
    }
    let loaded = Loaded::load(inv)?;
    let previewed = look(inv, &loaded, &args).await?;
    let page =
        args.gallery.clone().unwrap_or_else(|| inv.project_dir.join(FOLDER).join(format!("{}.html", args.campaign)));
    write_gallery(&page, &Gallery::of(&args.campaign, &previewed).html(None))?;
    if let Some(dir) = &args.eml {
        let written = mails::write(dir, &args.campaign, &previewed.mails)
            .map_err(|e| Failure::Environment(format!("{}: {e}", dir.display())))?;
        inv.say(format_args!("{} written to {}", counted(written, "mail"), dir.display()));
    }
    copy::send(inv, &loaded, &args, &previewed.mails).await?;
    let failed = mails::failures(&previewed.mails);
    inv.print(
        || {
            serde_json::json!({
                "campaign": args.campaign, "mails": previewed.mails, "problems": previewed.problems.to_json(), "gallery": page,
            })
        },
        || text(&previewed, &page),
    );
    if failed.has_errors() { Err(Failure::Problems(failed)) } else { Ok(Exit::Done) }
}

/// All mails that were asked for, and what is to be said of them.
async fn look(inv: &Invocation, loaded: &Loaded, args: &PreviewArgs) -> Result<Previewed, Failure> {
    let campaign = loaded.campaign(&args.campaign)?;
    let now = inv.clock(&loaded.project.settings.time_zone)?.as_of();
    let (set, snapshot) = loaded.pinned(inv, campaign)?;
    let mut problems = Problems::new();
    let personas = loaded.judge(&set, now, &mut problems);
    let people = people::asked(inv, loaded, campaign, &set, personas, args).await?;
    let mails = mails::compose(inv, loaded, campaign, &snapshot, &people, args)?;
    let sender = loaded.project.settings.sender_name().to_owned();
    Ok(Previewed { title: campaign.title.clone(), sender, mails, problems })
}

fn write_gallery(page: &Path, html: &str) -> Result<(), Failure> {
    if let Some(folder) = page.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| Failure::Environment(format!("cannot make {}: {e}", folder.display())))?;
    }
    write_file(page, html)
}

/// Mails more than these are told in a line each.
const WHOLE_MAX: usize = 2;

fn text(previewed: &Previewed, page: &Path) -> String {
    let dim = anstyle::Style::new().dimmed();
    let mut out = String::new();
    for one in &previewed.mails {
        let who = [&one.step, &one.arm, &one.locale, &one.person].map(String::as_str);
        let who = who.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" · ");
        match &one.content {
            Content::Mail(mail) if previewed.mails.len() <= WHOLE_MAX => out.push_str(&mail.to_text(&who, &one.file)),
            Content::Mail(mail) => {
                let kb = mail.html_bytes as f64 / 1_000.0;
                out.push_str(&format!("{}\n  {dim}{who} · {kb:.1} kB{dim:#}\n", shown(&mail.subject)));
            }
            Content::Skipped { reason } => out.push_str(&format!("no mail: {reason}\n  {dim}{who}{dim:#}\n")),
            Content::Failed { message, .. } => out.push_str(&format!("fails: {message}\n  {dim}{who}{dim:#}\n")),
        }
    }
    let told = previewed.problems.sorted().len();
    let lint = if told > 0 { format!("; {} of the lint", counted(told, "problem")) } else { String::new() };
    out.push_str(&format!(
        "\n{} {} in {}{lint}\n",
        grouped(previewed.mails.len() as i64),
        if previewed.mails.len() == 1 { "mail" } else { "mails" },
        page.display()
    ));
    out
}
