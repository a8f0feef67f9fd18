//! `okaeri why ADDRESS|CUSTOMER [CAMPAIGN]`: everything we sent to a person and what happened, why the rest was not sent, and what each campaign
//! would do with them now.

mod now;

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::json;

use super::loaded::Loaded;
use super::{Exit, Failure, Invocation, shown};
use crate::address::Address;
use crate::clock::{self, Millis};
use crate::db::Db;
use crate::queue::show::{self, Message};
use crate::report::why::{self, Person, Suppressed};

#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// A customer's id, or an address
    #[arg(value_name = "ADDRESS|CUSTOMER")]
    who: String,
    /// This campaign only, with the proof of its segments
    campaign: Option<String>,
}

/// Who can be asked for.
const WHOM: &str = "give a customer's id as it was imported, or a whole address";

pub async fn run(inv: &Invocation, args: WhyArgs) -> Result<Exit, Failure> {
    let loaded = Loaded::for_delivery(inv)?;
    let zone = &loaded.project.settings.time_zone;
    let asked = now::Question::of(inv, &loaded, args.campaign.as_deref())?;
    if args.who.trim().is_empty() {
        return Err(Failure::Usage(format!("nobody was named: the address is empty\n{WHOM}")));
    }
    let db = inv.open_db(&loaded.project).await?;
    let address = Address::parse(&args.who);
    let key = address.as_ref().ok().map(Address::key);
    let people = why::people(&db, &args.who, key.as_deref()).await?;
    let standing = match &key {
        Some(key) if people.is_empty() => why::suppressions(&db, key).await?,
        _ => Vec::new(),
    };
    if people.is_empty() && standing.is_empty() {
        let who = args.who.escape_debug();
        return Err(Failure::Usage(match address {
            Ok(_) => format!("nobody here is `{who}`, and nothing was ever sent there\n{WHOM}"),
            // What has an @ was meant as an address.
            Err(e) if args.who.contains('@') => format!("`{who}` is nobody's id here, and no address: it {e}\n{WHOM}"),
            Err(_) => format!("nobody here has the id `{who}`\n{WHOM}"),
        }));
    }
    let mut out = String::new();
    let mut all = Vec::new();
    for person in &people {
        let mut person = person.clone();
        if let Some(campaign) = asked.only() {
            person.only(campaign);
        }
        let next = next(&db, &person, zone).await?;
        told(&mut out, &person, &next, zone);
        let standings = asked.answer(&db, &person.customer_id).await?;
        asked.tell(&mut out, &standings);
        let mut value = serde_json::to_value(&person).expect("a person serialises");
        for (message, next) in value["messages"].as_array_mut().expect("messages are a list").iter_mut().zip(&next) {
            message["next"] = json!(next);
        }
        value["campaigns"] = json!(standings);
        all.push(value);
    }
    if people.is_empty() {
        line(&mut out, format_args!("{} is nobody's address here", shown(&args.who)));
        suppressed(&mut out, &standing, zone);
    }
    inv.print(|| json!({ "asked": args.who, "people": all, "suppressions": standing }), || out);
    Ok(Exit::Done)
}

/// What happens next to each of a person's messages.
async fn next(db: &Db, person: &Person, zone: &TimeZone) -> Result<Vec<String>, Failure> {
    let mut all = Vec::with_capacity(person.messages.len());
    for message in &person.messages {
        let stopped_by = show::stopped_by(db, message).await?;
        all.push(show::next(message, stopped_by.as_deref(), clock::now(), zone));
    }
    Ok(all)
}

fn told(out: &mut String, person: &Person, next: &[String], zone: &TimeZone) {
    let bold = anstyle::Style::new().bold();
    let address = person.address.as_deref().map_or("no address now".to_owned(), shown);
    line(out, format_args!("{bold}{}{bold:#} · {address}", shown(&person.customer_id)));
    if let Some(at) = person.erased_at {
        line(out, format_args!("  asked to be forgotten {}", day(at, zone)));
    }
    if let Some(other) = &person.written_to {
        line(out, format_args!("  at this address, customer {} is the one who is written to", shown(other)));
    }
    if person.consents.is_empty() {
        line(out, format_args!("  agreed to nothing"));
    }
    for c in &person.consents {
        let word = if c.granted { "agreed to" } else { "refused" };
        line(out, format_args!("  {word} {}, {} ({})", c.topic, day(c.at, zone), shown(&c.source)));
    }
    suppressed(out, &person.suppressions, zone);
    if person.messages.is_empty() {
        line(out, format_args!("  no message was ever made for them"));
    } else {
        line(out, format_args!("{bold}messages{bold:#}, newest first"));
    }
    for (m, next) in person.messages.iter().zip(next) {
        message(out, m, next, zone);
    }
    if person.messages_left_out > 0 {
        line(out, format_args!("  … and {} older", person.messages_left_out));
    }
    if !person.runs.is_empty() {
        line(out, format_args!("{bold}latest runs{bold:#}"));
    }
    for r in &person.runs {
        let verdict = r.reason.as_deref().map_or(String::new(), |reason| format!("{} {reason}: ", r.verdict));
        let campaign = format!("{}, slot {} ({})", r.campaign, shown(&r.slot), r.run_state);
        line(out, format_args!("  {}  {campaign}: {verdict}{}", clock::readable(r.as_of, zone), r.meaning));
    }
}

fn message(out: &mut String, m: &Message, next: &str, zone: &TimeZone) {
    let at = clock::readable(m.date_at.unwrap_or(m.planned_at), zone);
    let to = m.address.as_deref().map_or(String::new(), |to| format!(" to {to}"));
    line(out, format_args!("  {at}  {}/{}, slot {}{to}: {}", m.campaign, m.step, shown(&m.slot), m.state()));
    if m.code.is_some() || m.reply.is_some() {
        line(out, format_args!("      last answer: {}", super::queue::answer(m.code, m.reply.as_deref())));
    }
    line(out, format_args!("      next: {next}"));
    line(out, format_args!("      id {}", m.message_id));
}

fn suppressed(out: &mut String, list: &[Suppressed], zone: &TimeZone) {
    for s in list {
        let (scope, address) = (&s.scope, shown(&s.address));
        line(
            out,
            format_args!("  suppressed {address} ({scope}): {}, {}, {}", s.reason, day(s.at, zone), shown(&s.source)),
        );
    }
}

fn day(at: Millis, zone: &TimeZone) -> String {
    clock::date_in(at, zone).to_string()
}

fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a string never fails");
}
