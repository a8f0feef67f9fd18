//! `okaeri customer show ID`: everything known of one customer, on one screen.

use std::fmt::Write as _;

use super::segment::prepare;
use super::{Exit, Failure, Invocation, shown, table};
use crate::clock;
use crate::db::bucket_of;
use crate::model::gates::Confidence;
use crate::model::thumb::Predictor;
use crate::money::{grouped, readable};
use crate::problem::Problems;
use crate::profile::fields::Kind;
use crate::profile::loyalty::{self, Standing};
use crate::profile::{Moment, View};
use crate::report::customer::{self, Customer, Fit, Score};
use crate::segment::explain::explain;
use crate::segment::{Library, Person, SEGMENTS_MAX};
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub struct CustomerArgs {
    #[command(subcommand)]
    verb: CustomerVerb,
}

#[derive(Debug, clap::Subcommand)]
enum CustomerVerb {
    /// One customer: numbers, scores with intervals, segments, and what happened, newest first
    Show {
        /// The customer's id
        id: String,
        /// How much of what happened is told, at most 1000
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=1000))]
        last: u16,
    },
}

pub async fn run(inv: &Invocation, args: CustomerArgs) -> Result<Exit, Failure> {
    let CustomerVerb::Show { id, last } = args.verb;
    let project = inv.project()?;
    let settings = &project.settings;
    let mut problems = Problems::new();
    let library = Library::load(&project, &mut problems);
    inv.settle(problems)?;
    let as_of = inv.clock(&settings.time_zone)?.as_of();
    let db = inv.open_db(&project).await?;
    let moment = Moment::at(&db, settings, as_of).await?;
    let found = customer::customer(&db, &id, &moment, usize::from(last)).await?;
    let person = Person::load(&db, &id).await?;
    let (Some(mut customer), Some(person)) = (found, person) else {
        return Err(Failure::Usage(format!(
            "no customer `{}`\nids are those of the imported customers",
            id.escape_debug()
        )));
    };
    if settings.loyalty.is_some() {
        let mut standings = loyalty::standings(&db, settings, as_of, bucket_of(&id), &[&id]).await?;
        customer.loyalty = standings.remove(&id);
    }
    let names: Vec<&str> = if person.has_profile() { library.names().collect() } else { Vec::new() };
    for part in names.chunks(SEGMENTS_MAX) {
        let prepared = prepare(&db, settings, &library, part, as_of).await?;
        let is_member = |name: &str| explain(&prepared, name, &person, settings).is_some_and(|proof| proof.holds);
        customer.segments.extend(part.iter().filter(|name| is_member(name)).map(|name| (*name).to_owned()));
    }
    inv.print(|| serde_json::json!(customer), || text(&customer, settings));
    Ok(Exit::Done)
}

fn text(of: &Customer, settings: &Settings) -> String {
    let bold = anstyle::Style::new().bold();
    let who = &of.who;
    let name: Vec<&str> = [&who.first_name, &who.last_name].into_iter().flatten().map(String::as_str).collect();
    let mut out = format!("{bold}{}{bold:#}  {}\n", shown(&of.customer_id), shown(&name.join(" ")));
    let parts = [&who.address, &who.locale, &who.country, &who.time_zone];
    let parts: Vec<String> = parts.into_iter().flatten().map(|part| shown(part)).collect();
    line(&mut out, format_args!("{}", if parts.is_empty() { "no address".to_owned() } else { parts.join(" · ") }));
    if let Some(at) = &who.erased_at {
        line(&mut out, format_args!("{bold}erased{bold:#} {at}"));
    }
    let agreed: Vec<&str> =
        of.consent.iter().filter(|(_, granted)| **granted).map(|(topic, _)| topic.as_str()).collect();
    let agreed = if agreed.is_empty() { "nothing".to_owned() } else { agreed.join(", ") };
    // Orders may be older than the first import.
    let first_order = of.profile.as_ref().and_then(|view| view.first_order_at.as_deref());
    let since = first_order.map_or(day(&who.first_seen_at), |at| day(at).min(day(&who.first_seen_at)));
    line(&mut out, format_args!("agreed to {agreed}; known since {since}"));
    for suppression in &of.suppressed {
        line(&mut out, format_args!("{bold}suppressed{bold:#}: {suppression}"));
    }
    out.push('\n');
    match &of.profile {
        Some(view) => profile(&mut out, view, &settings.currency),
        None => line(&mut out, format_args!("no profile yet: run `okaeri profile`")),
    }
    if let Some(standing) = &of.loyalty {
        tier(&mut out, standing);
    }
    scores(&mut out, &of.scores, settings);
    if let Some(fit) = &of.fit {
        line(&mut out, format_args!("{}", of_fit(fit)));
    }
    let segments = if of.segments.is_empty() { "none".to_owned() } else { of.segments.join(", ") };
    line(&mut out, format_args!("\nsegments: {segments}"));
    if !of.timeline.is_empty() {
        line(&mut out, format_args!("\n{bold}What happened{bold:#}, newest first"));
    }
    for happened in &of.timeline {
        let total = happened.total.zip(happened.currency.as_ref());
        let total = total.map_or(String::new(), |(total, currency)| format!("  {}", readable(total, currency)));
        let at = happened.at.get(..16).unwrap_or(&happened.at).replace('T', " ");
        line(&mut out, format_args!("  {at}  {:<8} {}{total}", happened.kind, shown(&happened.what)));
    }
    if of.left_out > 0 {
        line(&mut out, format_args!("  … and {} more: --last N", grouped(of.left_out as i64)));
    }
    out
}

fn profile(out: &mut String, view: &View, currency: &str) {
    let rfm = view.rfm.map_or(String::new(), |rfm| format!(", {}", rfm.name().replace('_', " ")));
    line(out, format_args!("{}{rfm}", view.lifecycle.name()));
    if view.orders > 0 {
        let average =
            view.average_order.map_or(String::new(), |mean| format!(", {} on average", readable(mean, currency)));
        let n = if view.orders == 1 { "1 order".to_owned() } else { format!("{} orders", grouped(view.orders)) };
        line(out, format_args!("{n}, {} net of returns{average}", readable(view.revenue, currency)));
    }
    if let (Some(first), Some(last), Some(days)) =
        (&view.first_order_at, &view.last_order_at, view.days_since_last_order)
    {
        let rhythm = view.usual_gap_days.map_or(String::new(), |gap| format!("; usually {gap} days apart"));
        let ago = match days {
            0 => "today".to_owned(),
            1 => "1 day ago".to_owned(),
            n => format!("{} days ago", grouped(n)),
        };
        line(out, format_args!("first {}, last {} ({ago}){rhythm}", day(first), day(last)));
    }
    if let Some(category) = &view.top_category {
        line(out, format_args!("buys mostly {}{}", shown(category), shares(view)));
    }
    if let (Some(viewed), Some(at)) = (&view.last_viewed, &view.last_viewed_at) {
        let name = viewed.name.as_ref().unwrap_or(&viewed.sku);
        line(out, format_args!("looked at {} last, on {}", shown(name), day(at)));
    }
    if let (Some(rating), Some(at)) = (view.last_rating, &view.last_rating_at) {
        line(out, format_args!("last rating {rating}, on {}", day(at)));
    }
    if view.open_tickets > 0 {
        line(out, format_args!("open tickets: {}", view.open_tickets));
    }
}

/// ` (tea 60 %, paper 40 %)`: what part of the amount they bought each category has, the largest first.
fn shares(view: &View) -> String {
    let mut shares: Vec<(&String, &f64)> = view.affinity.iter().collect();
    shares.sort_by(|a, b| b.1.total_cmp(a.1));
    let told: Vec<String> =
        shares.into_iter().map(|(category, share)| format!("{} {:.0} %", shown(category), 100.0 * share)).collect();
    if told.len() < 2 { String::new() } else { format!(" ({})", told.join(", ")) }
}

fn tier(out: &mut String, standing: &Standing) {
    let tier = standing.tier.as_deref().unwrap_or("none");
    let next = standing.next_tier.as_ref().map_or(String::new(), |next| format!("; next {next}"));
    let falls = standing.falls_on.map_or(String::new(), |on| {
        let to = standing.falls_to.as_deref().unwrap_or("none");
        format!("; {to} from {on} on, unless they order again")
    });
    line(out, format_args!("tier {tier}{next}{falls}"));
}

/// Which fit scores are of, and why to take them with care.
fn of_fit(fit: &Fit) -> String {
    let by = match fit.used {
        Predictor::Model => "by the model".to_owned(),
        rule => format!("by a rule that was closer than the model ({})", rule.meaning()),
    };
    let doubts = match fit.confidence {
        Confidence::Good => String::new(),
        Confidence::Low => format!("; low confidence: {}", fit.doubts.join("; ")),
    };
    format!("{by}, fitted on {}{doubts}", day(&fit.fitted_at))
}

fn scores(out: &mut String, scores: &[Score], settings: &Settings) {
    if scores.is_empty() {
        return;
    }
    let mut rows = table(["score", "", "low", "high", "beside all buyers"]);
    for score in scores {
        let number = |value: f64| match score.kind {
            Kind::Money => readable(value.round() as i64, &settings.currency),
            Kind::Instant => clock::date_in(value as i64, &settings.time_zone).to_string(),
            _ => format!("{value:.2}"),
        };
        let side = |value: Option<f64>| value.map_or("·".to_owned(), number);
        let (name, value) = (score.score.to_owned(), number(score.value));
        let than = if score.kind == Kind::Instant { "later than" } else { "more than" };
        let percentile = match score.percentile {
            // Nobody has more than everybody.
            share if share >= 99.5 => format!("{than} 99 %"),
            share => format!("{than} {share:.0} %"),
        };
        rows.add_row([name, value, side(score.low), side(score.high), percentile]);
    }
    line(out, format_args!("\n{}", rows.trim_fmt()));
}

fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a string never fails");
}

/// The date of an RFC 3339 instant.
fn day(instant: &str) -> &str {
    instant.get(..10).unwrap_or(instant)
}
