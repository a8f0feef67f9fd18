//! The demo on the terminal: a few lines for each part as it ends, and a last word. Nothing on the way with `--quiet` or `--format json`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anstyle::Style;

use super::super::drained::Drained;
use super::super::send::Enlisted;
use super::super::{Format, Invocation};
use super::folder::Folder;
use super::journey::{Journey, Light, Proof, Standing, amount, percent, share};
use crate::campaign::Campaign;
use crate::catcher::Counts;
use crate::data::ImportTotals;
use crate::money::grouped;
use crate::plan::Reason;
use crate::profile::Stage;
use crate::score::Card;
use crate::segment::Size;
use crate::settings::Settings;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Columns before the words of a part, and the widest line of words.
const INDENT: usize = 18;
const WIDTH: usize = 62;

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
    tell(inv, part("import", &words, took));
}

pub(super) fn profiled(inv: &Invocation, stages: &[(Stage, i64)], took: Duration) {
    let words: Vec<String> = stages.iter().map(|(s, n)| format!("{} {}", grouped(*n), s.name())).collect();
    tell(inv, part("profile", &words, took));
}

pub(super) fn fitted(inv: &Invocation, card: &Card, took: Duration) {
    let off = card.holdout.as_ref().and_then(|held_out| held_out.of_best().total_error);
    let mut words =
        vec![format!("{} buyers scored: orders to come, their value, who leaves", grouped(card.scored as i64))];
    words.extend(off.map(|off| format!("orders of 13 weeks held out: {:+.0} %", 100.0 * off)));
    tell(inv, part("models", &words, took));
}

pub(super) fn segmented(inv: &Invocation, all: &[Standing], everyone: Size, currency: &str, took: Duration) {
    let mut out =
        part("segments", &[format!("{} of them, {DIM}people and what they have spent{DIM:#}", all.len())], took);
    let mut all: Vec<&Standing> = all.iter().collect();
    all.sort_by_key(|s| -s.revenue);
    for s in all {
        let (people, revenue) = (grouped(s.people), amount(s.revenue, currency));
        let share = percent(share(s.revenue, everyone.revenue));
        let _ = writeln!(out, "{people:>INDENT$}{revenue:>14}{DIM}{share:>8}{DIM:#}  {}", s.title);
    }
    tell(inv, out);
}

pub(super) fn planned(inv: &Invocation, campaigns: &[(&Campaign, Enlisted)], took: Duration) {
    let mut out = part("plan", &[format!("{} live campaigns, every letter rendered once", campaigns.len())], took);
    let _ = writeln!(out, "{DIM}{:>INDENT$}{:>12}{:>12}{DIM:#}", "send", "held out", "left alone");
    for (campaign, enlisted) in campaigns {
        let of = |verdict| grouped(enlisted.filled.as_ref().map_or(0, |f| f.tally.of(verdict)));
        let (send, withheld, skip) = (of("send"), of("withheld"), of("skip"));
        let _ = writeln!(out, "{send:>INDENT$}{withheld:>12}{skip:>12}  {}", campaign.name);
    }
    tell(inv, out);
}

pub(super) fn sent(inv: &Invocation, drained: &Drained, caught: Counts, took: Duration) {
    let pace = (caught.messages as f64 / took.as_secs_f64().max(0.001)) as i64;
    let words = [
        format!("{} mails over SMTP", grouped(drained.totals.accepted as i64)),
        format!("{} a second", grouped(pace)),
        format!("{:.1} MB", caught.bytes as f64 / 1e6),
    ];
    tell(inv, part("send", &words, took));
}

pub(super) fn verified(inv: &Invocation, proof: &Proof, took: Duration) {
    let words = if proof.holds() {
        vec![format!("all {} rules of the ledger hold", Proof::rules()), "the mail server has no complaint".to_owned()]
    } else {
        let broken = proof.findings.iter().map(|f| format!("{}: {}", f.rule, f.detail));
        broken.chain(proof.complaints.iter().map(|c| format!("the mail server: {c}"))).collect()
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
    for (light, words) in [
        (Light::Mailed, "people got a letter"),
        (Light::Withheld, "were held out, to measure what letters cause"),
        (Light::LeftAlone, "were left alone, for a reason"),
    ] {
        let size = journey.everybody.of(light);
        let money = amount(size.revenue, &journey.currency);
        let share = percent(journey.revenue_share(size.revenue));
        let people = grouped(size.people);
        let _ = writeln!(out, "{BOLD}{people:>INDENT$}{BOLD:#}  {words:<46}{DIM}{money:>13}{share:>7}{DIM:#}");
    }
    let _ = writeln!(out, "{:>INDENT$}  {DIM}why, in all campaigns together:{DIM:#}", "");
    for (reason, people) in reasons(journey) {
        let meaning = Reason::from_word(&reason).map_or("", Reason::meaning);
        let _ = writeln!(out, "{:>INDENT$}  {DIM}{:>5}  {meaning}{DIM:#}", "", grouped(people));
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
    ["plan win-back", "segment explain valuable_going_quiet --customer T2149", "report welcome", "queue list --limit 5"]
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

/// `import    0.9 s   2,426 customers, 6,971 orders, …`, broken where it gets too long.
fn part(name: &str, words: &[String], took: Duration) -> String {
    let mut lines = vec![String::new()];
    for word in words {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + word.len() + 2 > WIDTH {
            line.push(',');
            lines.push(word.clone());
        } else {
            line.push_str(", ");
            line.push_str(word);
        }
    }
    let words = lines.join(&format!("\n{:INDENT$}", ""));
    format!("{BOLD}{name:<9}{BOLD:#}{DIM}{:>5.1} s{DIM:#}  {words}\n", took.as_secs_f64())
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
    fn a_long_part_breaks_between_words() {
        let words: Vec<String> = (1000..1012).map(|n| format!("{n} lapsed")).collect();
        let text = anstream::adapter::strip_str(&part("profile", &words, Duration::from_millis(1_840))).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "profile    1.8 s  1000 lapsed, 1001 lapsed, 1002 lapsed, 1003 lapsed,");
        assert!(lines[1].starts_with("                  1004 lapsed, "), "{text}");
        assert!(lines.iter().all(|l| l.len() <= INDENT + WIDTH + 1), "{text}");
    }

    #[test]
    fn words_survive_a_shell() {
        for (word, written) in [("okaeri-demo/a", "okaeri-demo/a"), ("my demo", "'my demo'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quoted(word), written);
        }
    }
}
