//! The demo on the terminal: a few lines for each part as it ends, and a last word. Nothing on the way with `--quiet` or `--format json`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anstyle::Style;

use super::super::send::Enlisted;
use super::super::sending::Drained;
use super::super::{Format, Invocation};
use super::folder::Folder;
use super::journey::{Journey, Light, Proof, Standing, amount, percent, share};
use crate::campaign::Campaign;
use crate::catcher::Counts;
use crate::data::ImportTotals;
use crate::money::grouped;
use crate::plan::Reason;
use crate::profile::Stage;
use crate::segment::Size;
use crate::settings::Settings;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Columns before the time a part took.
const WIDTH: usize = 66;

pub(super) fn opening(inv: &Invocation, settings: &Settings, folder: &Folder) {
    let shop = settings.sender_name();
    tell(
        inv,
        format!(
            "\n{BOLD}{shop}{BOLD:#}, a sample shop, in {}\n\
             {DIM}The purchases are real: 2,357 customers of CDNOW and their 6,919 orders of 1997 and 1998,\n\
             moved to end yesterday. Names, addresses, products and visits around them are invented.\n\
             No mail leaves this machine.{DIM:#}\n\n",
            folder.path.display()
        ),
    );
}

pub(super) fn imported(inv: &Invocation, imports: &[ImportTotals], took: Duration) {
    let words: Vec<String> = imports.iter().map(|t| format!("{} {}", grouped(t.read as i64), t.kind)).collect();
    tell(inv, part("import", &words.join(", "), took));
}

pub(super) fn profiled(inv: &Invocation, stages: &[(Stage, i64)], took: Duration) {
    let words: Vec<String> = stages.iter().map(|(s, n)| format!("{} {}", grouped(*n), s.name())).collect();
    tell(inv, part("profile", &words.join(", "), took));
}

pub(super) fn segmented(inv: &Invocation, all: &[Standing], everyone: Size, currency: &str, took: Duration) {
    let mut out = part("segments", "", took);
    let _ = writeln!(out, "{DIM}{:>16}{:>9}{:>14}{DIM:#}", "people", "revenue", "");
    for s in all {
        let _ = writeln!(
            out,
            "{:>16}{:>9}{:>14}  {}",
            grouped(s.people),
            percent(share(s.revenue, everyone.revenue)),
            amount(s.revenue, currency),
            s.title
        );
    }
    tell(inv, out);
}

pub(super) fn planned(inv: &Invocation, campaigns: &[(&Campaign, Enlisted)], took: Duration) {
    let mut out = part("plan", "", took);
    let _ = writeln!(out, "{DIM}{:>16}{:>9}{:>14}{DIM:#}", "send", "held out", "left alone");
    for (campaign, enlisted) in campaigns {
        let of = |verdict| enlisted.filled.as_ref().map_or(0, |f| f.tally.of(verdict));
        let _ = writeln!(
            out,
            "{:>16}{:>9}{:>14}  {} {DIM}{}{DIM:#}",
            grouped(of("send")),
            grouped(of("withheld")),
            grouped(of("skip")),
            campaign.name,
            campaign.title
        );
    }
    tell(inv, out);
}

pub(super) fn sent(inv: &Invocation, drained: &Drained, caught: Counts, took: Duration) {
    let pace = (caught.messages as f64 / took.as_secs_f64().max(0.001)) as i64;
    let words = format!(
        "{} mails over SMTP, {} a second, {} kB",
        grouped(drained.totals.accepted as i64),
        grouped(pace),
        grouped((caught.bytes / 1_000) as i64)
    );
    tell(inv, part("send", &words, took));
}

pub(super) fn verified(inv: &Invocation, proof: &Proof, took: Duration) {
    let words = if proof.holds() {
        format!("the ledger adds up ({} rules), the mail server has no complaint", Proof::rules())
    } else {
        let mut lines: Vec<String> = proof.findings.iter().map(|f| format!("{}: {}", f.rule, f.detail)).collect();
        lines.extend(proof.complaints.iter().map(|c| format!("the mail server: {c}")));
        format!("something is wrong\n{:>9}{}", "", lines.join("\n         "))
    };
    tell(inv, part("verify", &words, took));
}

/// The last word: what it came to, where to look, how to go on.
pub(super) fn end(journey: &Journey, page: &Path, quiet: bool) -> String {
    let mut out = if quiet { String::new() } else { reached(journey) };
    let _ = writeln!(out, "{BOLD}{}{BOLD:#}", page.display());
    if !quiet {
        let seconds = journey.took.all().as_secs_f64();
        let mails = journey.dir.join(super::MAILS);
        let _ = writeln!(
            out,
            "{DIM}the page: open it in a browser; the mails: {}/*.eml; {seconds:.1} s in all{DIM:#}",
            mails.display()
        );
        out.push_str("\ngo on working there:\n");
        for command in commands(&journey.dir) {
            let _ = writeln!(out, "  {command}");
        }
    }
    out
}

fn reached(journey: &Journey) -> String {
    let mut out = String::from("\n");
    let money = |size: Size| {
        format!(
            "{}, {} of all revenue",
            amount(size.revenue, &journey.currency),
            percent(journey.revenue_share(size.revenue))
        )
    };
    for (light, words) in [
        (Light::Mailed, "people got a letter"),
        (Light::Withheld, "were held out, to measure what letters cause"),
        (Light::LeftAlone, "were left alone, for a reason:"),
    ] {
        let size = journey.everybody.of(light);
        let _ = writeln!(out, "{:>9} {words} {DIM}({}){DIM:#}", grouped(size.people), money(size));
    }
    for (reason, people) in reasons(journey) {
        let meaning = Reason::from_word(&reason).map_or("", Reason::meaning);
        let _ = writeln!(out, "{:>15} {meaning} {DIM}{reason}{DIM:#}", grouped(people));
    }
    out.push('\n');
    out
}

/// Why people were left alone, over all campaigns, most frequent first.
fn reasons(journey: &Journey) -> Vec<(String, i64)> {
    let mut sums = std::collections::BTreeMap::<String, i64>::new();
    for verdict in journey.campaigns.iter().flat_map(|c| &c.report.verdicts).filter(|v| v.verdict == "skip") {
        *sums.entry(verdict.reason.clone()).or_default() += verdict.people;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, people)| -people);
    sums
}

/// What a newcomer can type next, as it works from where the demo was started.
pub(super) fn commands(dir: &Path) -> Vec<String> {
    let okaeri = std::env::args().next().filter(|a| !a.is_empty()).unwrap_or_else(|| "okaeri".to_owned());
    let (okaeri, dir) = (quoted(&okaeri), quoted(&dir.display().to_string()));
    ["plan win-back", "segment explain valuable --customer T0042", "report welcome", "queue list --limit 5"]
        .iter()
        .map(|verb| format!("{okaeri} --project {dir} {verb}"))
        .chain([format!(
            "(set -a; . {dir}/.env; {okaeri} --project {dir} send win-back)   # nothing to do: never twice"
        )])
        .collect()
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/+:@".contains(&b);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// `  import   2,414 customers, …            0.9 s`
fn part(name: &str, words: &str, took: Duration) -> String {
    let first = words.lines().next().unwrap_or_default();
    let pad = " ".repeat(WIDTH.saturating_sub(first.chars().count()));
    let rest = &words[first.len()..];
    format!("{BOLD}{name:<9}{BOLD:#}{first}{pad} {DIM}{:>5.1} s{DIM:#}{rest}\n", took.as_secs_f64())
}

fn tell(inv: &Invocation, text: String) {
    if inv.format == Format::Text && !inv.quiet {
        anstream::print!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (word, written) in [("okaeri-demo/a", "okaeri-demo/a"), ("my demo", "'my demo'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quoted(word), written);
        }
    }
}
