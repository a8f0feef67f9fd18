//! `okaeri report CAMPAIGN`: what happened, what came back, and what it caused. `okaeri report cohorts` and `report flows`: the shop's
//! customers over time.

use super::loaded::Loaded;
use super::{Exit, Failure, Format, Invocation, table};
use crate::campaign::Library;
use crate::clock::{self, Clock};
use crate::db::Db;
use crate::problem::nearest;
use crate::profile::{Stage, day};
use crate::report::cohorts::{self, AGES_MAX, By};
use crate::report::flows::{self, Between, Named};
use crate::report::{self, ReportError, overview};
use crate::settings::Settings;

/// Customers that a flow names at most.
const MOVERS_MAX: u32 = 10_000;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ReportArgs {
    #[command(subcommand)]
    of: Option<Of>,
    /// The campaign's name; without one, all campaigns beside each other
    campaign: Option<String>,
    /// One occurrence only, such as 2026-11-24
    #[arg(long, value_name = "SLOT", requires = "campaign")]
    slot: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Of {
    /// The shop: customers by when they first ordered, who still orders, and what they have brought
    Cohorts {
        /// How cohorts are cut
        #[arg(long, value_enum, default_value = "month")]
        by: By,
        /// Ages of 30 days that are told
        #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=AGES_MAX as i64))]
        ages: u16,
        /// Print CSV, a row for each cohort and age
        #[arg(long)]
        csv: bool,
    },
    /// The shop: who went from which stage of life to which between two days, and what they are worth
    Flows {
        /// The first day, such as 2026-08-01
        #[arg(long, value_name = "DATE")]
        from: String,
        /// The second day [default: today]
        #[arg(long, value_name = "DATE")]
        to: Option<String>,
        /// Name those who made one move, such as active:drifting, the most valuable first
        #[arg(long, value_name = "STAGE:STAGE")]
        who: Option<String>,
        /// How many are named
        #[arg(long, value_name = "N", default_value_t = 20, requires = "who", value_parser = clap::value_parser!(u32).range(1..=MOVERS_MAX as i64))]
        most: u32,
    },
}

pub async fn run(inv: &Invocation, args: ReportArgs) -> Result<Exit, Failure> {
    let Loaded { project, campaigns, .. } = Loaded::for_delivery(inv)?;
    let clock = inv.clock(&project.settings.time_zone)?;
    let db = inv.open_db(&project).await?;
    match (args.of, args.campaign) {
        (Some(of), _) => shop(inv, &project.settings, &db, clock, of).await?,
        (None, None) => overview(inv, &project.settings, &campaigns, &db, clock).await?,
        (None, Some(name)) => {
            let name = campaigns.get(&name).map_or(name, |campaign| campaign.key.clone());
            let slot = args.slot.as_deref();
            let report = report::campaign(&db, &project.settings, &name, slot, clock.as_of()).await?;
            inv.print(
                || serde_json::to_value(&report).expect("a report serialises"),
                || report::text(&report, &project.settings.time_zone, inv.counts()),
            );
        }
    }
    Ok(Exit::Done)
}

/// Every campaign that had a run, in a row.
async fn overview(
    inv: &Invocation,
    settings: &Settings,
    campaigns: &Library,
    db: &Db,
    clock: Clock,
) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for campaign in campaigns.iter() {
        match report::campaign(db, settings, &campaign.key, None, clock.as_of()).await {
            Ok(report) => reports.push((campaign.name.as_str(), report)),
            Err(ReportError::NoRun { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let rows = || reports.iter().map(|(name, report)| overview::row(name, report, &settings.time_zone, inv.counts()));
    let as_text = || match reports.is_empty() {
        true => "no campaign had a run yet\n".to_owned(),
        false => {
            let mut t = table(overview::HEADINGS);
            rows().for_each(|row| {
                t.add_row(row);
            });
            format!("{t}\n")
        }
    };
    match inv.format {
        Format::Markdown if !reports.is_empty() => anstream::print!("{}", markdown(rows())),
        _ => inv
            .print(|| serde_json::json!({ "campaigns": reports.iter().map(|(_, r)| r).collect::<Vec<_>>() }), as_text),
    }
    Ok(())
}

fn markdown(rows: impl Iterator<Item = [String; 7]>) -> String {
    let line = |cells: &[String]| {
        format!("| {} |\n", cells.iter().map(|c| c.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
    };
    let mut out = line(&overview::HEADINGS.map(str::to_owned));
    out.push_str("|---|---|--:|--:|--:|---|---|\n");
    rows.for_each(|row| out.push_str(&line(&row)));
    out
}

async fn shop(inv: &Invocation, settings: &Settings, db: &Db, clock: Clock, of: Of) -> Result<(), Failure> {
    let (zone, currency) = (&settings.time_zone, settings.currency.as_str());
    match of {
        Of::Cohorts { csv: true, .. } if inv.format == Format::Markdown => {
            return Err(names_people("--csv", "counts small groups exactly"));
        }
        Of::Flows { who: Some(_), .. } if inv.format == Format::Markdown => {
            return Err(names_people("--who", "names customers"));
        }
        Of::Cohorts { by, ages, csv } => {
            let told = cohorts::cohorts(db, zone, currency, clock.as_of(), by, usize::from(ages)).await?;
            inv.print(|| serde_json::json!(told), || if csv { told.csv() } else { told.text(inv.counts()) });
        }
        Of::Flows { from, to, who, most } => {
            let instant = |name: &str, text: &str| {
                clock::parse_instant(text, zone).ok_or_else(|| {
                    Failure::Usage(format!("--{name} {}: not a date\nwrite 2026-08-01", text.escape_debug()))
                })
            };
            let first = instant("from", &from)?;
            let second = to.as_deref().map_or(Ok(clock.as_of()), |to| instant("to", to))?;
            let today = day::day_number(clock.as_of(), zone);
            let between = Between::of(first, second, today, zone).ok_or_else(|| {
                let to = to.as_deref().unwrap_or("today");
                Failure::Usage(format!(
                    "from {from} to {to}: no time passes\n--from must lie before --to, and --to not after today"
                ))
            })?;
            let named = who.map(|who| named(&who, most as usize)).transpose()?;
            let told = flows::flows(db, zone, currency, &settings.lifecycle, between, named).await?;
            inv.print(|| serde_json::json!(told), || told.text(inv.counts()));
        }
    }
    Ok(())
}

/// What must not stand where anybody may read it.
fn names_people(option: &str, why: &str) -> Failure {
    Failure::Usage(format!(
        "{option} {why}, and Markdown is for where anybody may read it\nleave --format markdown away"
    ))
}

fn named(who: &str, most: usize) -> Result<Named, Failure> {
    let stage = |word: &str| {
        Stage::from_name(word.trim()).ok_or_else(|| {
            let names = Stage::ALL.map(Stage::name);
            let hint = match nearest(word, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("stages: {}", names.join(", ")),
            };
            Failure::Usage(format!("--who {}: there is no such stage\n{hint}", who.escape_debug()))
        })
    };
    let (from, to) = who.split_once([':', '>']).unwrap_or((who, ""));
    Ok(Named { from: stage(from)?, to: stage(to)?, most })
}

impl From<ReportError> for Failure {
    fn from(e: ReportError) -> Failure {
        match e {
            ReportError::NoRun { .. } => Failure::Usage(e.to_string()),
            ReportError::Db(e) => e.into(),
        }
    }
}
