//! Test copies: the first person's mails of a preview, marked, to addresses that were given on the command line and no others.
//!
//! Nothing is recorded: a copy is no message of a campaign, bars nobody from one, and counts nowhere.

use serde_json::Value;

use super::PreviewArgs;
use super::mails::{Composing, Content, Shown};
use crate::address::Address;
use crate::cli::loaded::Loaded;
use crate::cli::{Failure, Invocation, sending};
use crate::clock;
use crate::delivery::{self, Mail};

/// What a test copy's subject begins with.
const MARK: &str = "[Test] ";
/// Most addresses: this is for the people who make a campaign.
const ADDRESSES_MAX: usize = 20;

pub(super) async fn send(
    inv: &Invocation,
    loaded: &Loaded,
    args: &PreviewArgs,
    mails: &[Shown],
) -> Result<(), Failure> {
    if args.send_to.is_empty() {
        return Ok(());
    }
    if args.send_to.len() > ADDRESSES_MAX {
        return Err(Failure::Usage(format!(
            "--send-to: at most {ADDRESSES_MAX} addresses\nto reach more people, send the campaign"
        )));
    }
    let parsed =
        |address: &String| Address::parse(address).map_err(|e| Failure::Usage(format!("--send-to: the address {e}")));
    let addresses = args.send_to.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
    let project = &loaded.project;
    let server = sending::server(project)?;
    sending::refuse_moved_clock(inv.clock(&project.settings.time_zone)?, [&server])?;
    let signer = sending::signer(project)?;
    let campaign = loaded.campaign(&args.campaign)?;
    let (_, snapshot) = loaded.pinned(inv, campaign)?;
    let compiled = snapshot.compile().map_err(|e| Failure::Environment(e.to_string()))?;
    let composing = Composing::new(loaded, campaign, compiled);
    for to in &addresses {
        for shown in of_the_first(mails) {
            let mut payload = shown.payload.clone();
            payload["customer"]["email"] = Value::from(to.to_string());
            let step = campaign.steps.iter().find(|s| s.name == shown.step).expect("a shown mail is a step's");
            let marked = composing
                .mail(step, &shown.template, &shown.locale, &payload, MARK)
                .map_err(|e| Failure::Usage(e.to_string()))?;
            let bytes = match &signer {
                Some(signer) => {
                    signer.sign(&marked.message, clock::now()).map_err(|e| Failure::Environment(e.to_string()))?
                }
                None => marked.message,
            };
            let mail = Mail { envelope_from: composing.sender().to_owned(), envelope_to: to.to_string(), bytes };
            let reply = delivery::send_copy(&server, &mail).await;
            let reply = reply.map_err(|why| Failure::Environment(format!("{}: {why}", server.url())))?;
            inv.say(format_args!("sent to {to}: {} ({})", marked.subject, reply.line()));
        }
    }
    Ok(())
}

/// For each step and arm the first mail that there is.
fn of_the_first(mails: &[Shown]) -> Vec<&Shown> {
    let mut first: Vec<&Shown> = Vec::new();
    for shown in mails.iter().filter(|s| matches!(s.content, Content::Mail(_))) {
        if first.iter().all(|f| (&f.step, &f.arm) != (&shown.step, &shown.arm)) {
            first.push(shown);
        }
    }
    first
}
