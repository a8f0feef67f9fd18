//! `okaeri demo`: the whole way once, on a sample shop, in a fresh folder: import, profiles, segments, plan, real SMTP to a catcher on
//! loopback, report. The steps are those of the other verbs; the demo's own is the shop, the catcher and the showing.
//!
//! It reads no environment variable: a `DATABASE_URL` or `SMTP_URL` at hand means somebody's real database or mail server.
//!
//! | file | |
//! |---|---|
//! | `shop/` | the sample data |
//! | `folder.rs` | the fresh folder and the project in it |
//! | `journey.rs` | what happened on the way, gathered |
//! | `letters.rs` | the mails as they arrived |
//! | `terminal.rs` | the report on the terminal |
//! | `page.rs`, `charts.rs`, `page.css` | the report as a page |

mod charts;
mod folder;
mod journey;
mod letters;
mod page;
pub mod shop;
mod terminal;

use std::path::PathBuf;
use std::time::Instant;

use super::loaded::Loaded;
use super::sending;
use super::{Exit, Failure, Invocation, Variables, import, segment, send};
use crate::campaign::{Campaign, Status};
use crate::catcher::{Catcher, CatcherOptions, Keep};
use crate::clock::{self, Clock};
use crate::db::Db;
use crate::profile::{self, Moment, Scope};
use crate::queue::run::Move;
use crate::queue::status;
use crate::score;
use folder::Folder;
use journey::{Everybody, Journey, Proof, Standing, Took};

/// The folder, inside the demo's, where the mails arrive.
const MAILS: &str = "mails";
/// The page, inside the demo's folder.
const PAGE: &str = "report.html";

#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// The folder to make; it must be new or empty [default: okaeri-demo, or okaeri-demo-2 …]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub async fn run(inv: &Invocation, args: DemoArgs) -> Result<Exit, Failure> {
    if inv.at.is_some() {
        return Err(Failure::Usage(
            "the demo plays today: its sample shop is moved to end yesterday\nleave --at away".into(),
        ));
    }
    let folder = Folder::make(args.dir)?;
    let catcher = start_catcher(&folder).await?;
    folder.write_project()?;
    let inside = Invocation {
        project_dir: folder.path.clone(),
        quiet: true,
        variables: Variables::Given(folder.variables(catcher.url())),
        ..inv.clone()
    };
    let journey = travel(inv, &inside, &folder, &catcher).await?;
    catcher.stop().await;
    let page = folder.path.join(PAGE);
    folder::write(&page, page::html(&journey).as_bytes())?;
    inv.print(|| journey.to_json(&page), || terminal::end(&journey, &page, inv.quiet));
    if journey.proof.holds() { journey.drained.exit() } else { Ok(Exit::Problems) }
}

async fn start_catcher(folder: &Folder) -> Result<Catcher, Failure> {
    let options = CatcherOptions { keep: Keep::Dir(folder.path.join(MAILS)), ..CatcherOptions::default() };
    Catcher::start(options).await.map_err(|e| Failure::Environment(format!("no mail server on this machine: {e}")))
}

/// The way from files to mail. `outer` speaks to whoever started the demo, `inv` is at home in the demo's folder.
async fn travel(outer: &Invocation, inv: &Invocation, folder: &Folder, catcher: &Catcher) -> Result<Journey, Failure> {
    let mut took = Took::default();
    let loaded = Loaded::load(inv)?;
    let (project, settings) = (&loaded.project, &loaded.project.settings);
    terminal::opening(outer, settings, folder);

    let started = Instant::now();
    let today = clock::date_in(clock::now(), &settings.time_zone);
    let shop = shop::write_shop(&folder.path.join("data"), today).map_err(|e| folder.cannot_write(&e))?;
    let db = inv.open_db(project).await?;
    let imports = import::all_sources(inv, project, &db).await?;
    took.import = started.elapsed();
    terminal::imported(outer, &imports, took.import);

    // Taken here: what was imported a second ago (consents are given now) must lie before it.
    let as_of = clock::now();
    let started = Instant::now();
    profile::refresh(&db, settings, clock::now(), Scope::Dirty).await?;
    let stages = journey::stages(&profile::grid(&db, &Moment::at(&db, settings, as_of).await?).await?);
    took.profile = started.elapsed();
    terminal::profiled(outer, &stages, took.profile);

    let started = Instant::now();
    let card = score::fit(&db, settings, clock::now()).await?;
    took.models = started.elapsed();
    terminal::fitted(outer, &card, took.models);

    let started = Instant::now();
    let (sizes, everyone) = segment::sizes(&db, project, &loaded.segments, Clock::real()).await?;
    let segments: Vec<_> = sizes.into_iter().map(|(s, size)| Standing::of(s, size)).collect();
    took.segments = started.elapsed();
    terminal::segmented(outer, &segments, everyone, &settings.currency, took.segments);

    let started = Instant::now();
    let enlisted = enlist_live(inv, &loaded, &db).await?;
    took.plan = started.elapsed();
    terminal::planned(outer, &enlisted, took.plan);

    let started = Instant::now();
    let drained = sending::drain(outer, &loaded, &db, (sending::relays(project)?, None), None, 0).await?;
    took.send = started.elapsed();
    terminal::sent(outer, &drained, catcher.counts(), took.send);

    let started = Instant::now();
    let proof = Proof { findings: status::verify(&db, clock::now()).await?, complaints: catcher.complaints() };
    let campaigns = journey::reports(&db, settings, &loaded.campaigns, clock::now()).await?;
    took.verify = started.elapsed();
    terminal::verified(outer, &proof, took.verify);

    let letters = letters::read(&db, &settings.default_locale, &catcher.mails()).await?;
    let everybody = Everybody::load(&db).await?;
    db.close().await;
    Ok(Journey {
        shop_name: settings.sender_name().to_owned(),
        currency: settings.currency.clone(),
        dir: folder.path.clone(),
        shop,
        imports,
        stages,
        everyone,
        segments,
        campaigns,
        drained,
        proof,
        everybody,
        letters,
        took,
    })
}

/// Plan every live campaign in the order of its priority, as `okaeri send` does; the messages are in the ledger then.
async fn enlist_live<'l>(
    inv: &Invocation,
    loaded: &'l Loaded,
    db: &Db,
) -> Result<Vec<(&'l Campaign, send::Enlisted)>, Failure> {
    let mut live: Vec<&Campaign> = loaded.campaigns.iter().filter(|c| c.status == Status::Live).collect();
    live.sort_by_key(|c| c.priority);
    // The demo's own slot: schedules ask for other days and hours than the one at which somebody happens to try the demo.
    let slot = clock::date_in(clock::now(), &loaded.project.settings.time_zone).to_string();
    let mut enlisted = Vec::new();
    for campaign in live {
        enlisted.push((
            campaign,
            send::enlist(inv, loaded, db, campaign, Some(slot.clone()), Clock::real(), Move::Ready).await?,
        ));
    }
    Ok(enlisted)
}
