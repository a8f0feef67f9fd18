//! The report on a terminal: one screen, numbers under each other, no colour needed. Pure.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use crate::clock;
use crate::counts::Counts;
use crate::model::interval::Estimate;
use crate::money::{grouped, readable};

use super::{CampaignReport, Effect, Group, Outcome, RunLine};

/// Reasons named on one line; the rest is summed up.
const REASONS_MAX: usize = 6;

/// The report as text; instants in `zone`.
pub fn text(report: &CampaignReport, zone: &TimeZone, counts: Counts) -> String {
    let mut out = String::new();
    head(&mut out, report, zone);
    audience(&mut out, report, counts);
    messages(&mut out, report, counts);
    if let Some(outcome) = &report.outcome {
        goal(&mut out, outcome, &report.currency, counts);
    }
    if let Some(rewards) = &report.rewards {
        out.push_str(&rewards.text(&report.currency, counts));
    }
    for note in &report.notes {
        put(&mut out, format_args!("Note: {note}."));
    }
    out
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a string never fails");
}

fn head(out: &mut String, report: &CampaignReport, zone: &TimeZone) {
    let runs = &report.runs;
    let when = |r: &RunLine| clock::readable(r.due_at, zone);
    let span = match (runs.first(), runs.last()) {
        (Some(first), Some(last)) if runs.len() > 1 => format!("{} to {}", when(first), when(last)),
        (Some(only), _) => when(only),
        _ => String::new(),
    };
    let mut states: Vec<(&str, usize)> = Vec::new();
    for run in runs {
        match states.iter_mut().find(|(s, _)| *s == run.state) {
            Some((_, n)) => *n += 1,
            None => states.push((&run.state, 1)),
        }
    }
    let states: Vec<String> =
        states.iter().map(|(s, n)| if states.len() == 1 { (*s).to_owned() } else { format!("{n} {s}") }).collect();
    let count = if runs.len() == 1 { "1 run".to_owned() } else { format!("{} runs", grouped(runs.len() as i64)) };
    put(out, format_args!("{}   {count} · {span} · {}\n", report.campaign, states.join(", ")));
}

fn audience(out: &mut String, report: &CampaignReport, counts: Counts) {
    let row = |name: &str, n: i64, rest: &str| row(name, &counts.of(n), rest);
    put(out, format_args!("{}", row("Audience", report.audience, "")));
    for verdict in ["send", "withheld", "skip"] {
        let of: Vec<_> = report.verdicts.iter().filter(|v| v.verdict == verdict).collect();
        let people: i64 = of.iter().map(|v| v.people).sum();
        if people == 0 && verdict != "send" {
            continue;
        }
        let named = of.iter().filter(|v| !v.reason.is_empty() && v.reason != verdict);
        let mut reasons: Vec<String> =
            named.clone().take(REASONS_MAX).map(|v| format!("{} {}", v.reason, counts.of(v.people))).collect();
        let rest: i64 = named.skip(REASONS_MAX).map(|v| v.people).sum();
        if rest > 0 {
            reasons.push(format!("others {}", counts.of(rest)));
        }
        put(out, format_args!("{}", row(&format!("  {verdict}"), people, &reasons.join(" · "))));
    }
    out.push('\n');
}

fn messages(out: &mut String, report: &CampaignReport, counts: Counts) {
    let row = |name: &str, n: i64, rest: &str| row(name, &counts.of(n), rest);
    let share = |n: i64, of: i64| if counts.hides(n) { String::new() } else { share(n, of) };
    let total = report.messages();
    if total == 0 {
        put(out, format_args!("No message was made.\n"));
        return;
    }
    let back = &report.came_back;
    put(out, format_args!("{}", row("Messages", total, "")));
    put(out, format_args!("{}", row("  delivered", back.delivered, &share(back.delivered, total))));
    for (name, n) in [("bounced", back.bounced), ("failed", back.failed), ("unknown", back.unknown)] {
        if n > 0 {
            put(out, format_args!("{}", row(&format!("  {name}"), n, &share(n, total))));
        }
    }
    let told = ["accepted", "bounced", "complained", "failed", "unknown", "closed_unknown", "withheld"];
    for state in report.states.iter().filter(|s| !told.contains(&s.state.as_str())) {
        put(out, format_args!("{}", row(&format!("  {}", state.state), state.messages, &share(state.messages, total))));
    }
    let returned = match back.resubscribed {
        0 => String::new(),
        n => format!(" · {} came back", counts.of(n)),
    };
    let of_delivered = |n| share(n, back.delivered.max(1));
    for (name, n) in [("clicked", back.clicked), ("answered", back.answered)] {
        if n > 0 {
            put(out, format_args!("{}", row(&format!("  {name}"), n, &of_delivered(n))));
        }
    }
    for answers in &report.answers {
        put(out, format_args!("{}", row(&format!("    {}", answers.event), answers.answers, &answers.text(counts))));
    }
    put(
        out,
        format_args!(
            "{}",
            row("  unsubscribed", back.unsubscribed, &format!("{}{returned}", of_delivered(back.unsubscribed)))
        ),
    );
    put(out, format_args!("{}\n", row("  complained", back.complained, &of_delivered(back.complained))));
}

fn goal(out: &mut String, outcome: &Outcome, currency: &str, counts: Counts) {
    let side = |name: &str, group: &Group| side(name, group, currency, counts);
    let Outcome { goal, treated, withheld, arms, effect } = outcome;
    let days = if goal.within_days == 1 { "1 day".to_owned() } else { format!("{} days", goal.within_days) };
    let with = goal.with.as_ref().map(|with| format!(" with {with}")).unwrap_or_default();
    put(out, format_args!("Goal: {}{with} within {days}", goal.did));
    let value = if goal.value.is_some() { "  money a person" } else { "" };
    put(out, format_args!("{:<14}{:>9}{:>10}{:>9}  {:<17}{value}", "", "people", "reached", "rate", "95 % interval"));
    for (name, group) in [("treated", treated), ("withheld", withheld)] {
        if group.people + group.window_open > 0 {
            put(out, format_args!("{}", side(name, group).trim_end()));
        }
    }
    if treated.window_open + withheld.window_open > 0 {
        put(
            out,
            format_args!(
                "  window still open for {} treated and {} withheld, not counted yet",
                counts.of(treated.window_open),
                counts.of(withheld.window_open)
            ),
        );
    }
    out.push('\n');
    match effect {
        // With the other side's rate it would tell that of the small one.
        Some(_) if [treated, withheld].iter().any(|g| counts.hides(g.people) || counts.hides(g.reached)) => {
            put(
                out,
                format_args!(
                    "Caused        too few people to be told of here; `okaeri report` without --format markdown has it"
                ),
            );
        }
        Some(effect) => caused(out, effect, treated.people, currency),
        None => {}
    }
    if !arms.is_empty() {
        put(out, format_args!("\nArms"));
        for arm in arms {
            put(out, format_args!("{}", side(&arm.arm, &arm.group).trim_end()));
        }
        for arm in arms {
            let too_small = |g: &Group| counts.hides(g.people) || counts.hides(g.reached);
            let Some(effect) =
                arm.against_first.as_ref().filter(|_| !too_small(&arm.group) && !too_small(&arms[0].group))
            else {
                continue;
            };
            let Estimate { value, low, high } = effect.rate;
            let (value, low, high) = (signed(100.0 * value), signed(100.0 * low), signed(100.0 * high));
            let said = verdict(&effect.rate);
            put(out, format_args!("  {} against {}: {value} points ({low} to {high}): {said}", arm.arm, arms[0].arm));
        }
    }
}

fn side(name: &str, group: &Group, currency: &str, counts: Counts) -> String {
    if counts.hides(group.people) || counts.hides(group.reached) {
        return format!("  {name:<12}{:>14}{:>14}", counts.of(group.people), counts.of(group.reached));
    }
    let (rate, interval) = group.rate.map_or(("–".to_owned(), String::new()), |r| {
        (format!("{:.1} %", 100.0 * r.value), format!("{:.1} to {:.1} %", 100.0 * r.low, 100.0 * r.high))
    });
    let value = group.value_per_person.map(|v| readable(v.round() as i64, currency)).unwrap_or_default();
    format!(
        "  {name:<12}{:>9}{:>10}{rate:>9}  {interval:<17}{value:>16}",
        grouped(group.people),
        grouped(group.reached)
    )
}

fn caused(out: &mut String, effect: &Effect, people: i64, currency: &str) {
    let Estimate { value, low, high } = effect.rate;
    put(
        out,
        format_args!(
            "Caused        {} points ({} to {}): {}",
            signed(100.0 * value),
            signed(100.0 * low),
            signed(100.0 * high),
            verdict(&effect.rate)
        ),
    );
    if let Some(v) = effect.value_per_person {
        let money = |minor: f64| {
            let text = readable(minor.round() as i64, currency);
            if minor.round() > 0.0 { format!("+{text}") } else { text }
        };
        let all = people as f64;
        put(
            out,
            format_args!(
                "              {} a person ({} to {}): {}",
                money(v.value),
                money(v.low),
                money(v.high),
                verdict(&v)
            ),
        );
        put(
            out,
            format_args!(
                "              {} in all ({} to {})",
                money(all * v.value),
                money(all * v.low),
                money(all * v.high)
            ),
        );
    }
    let mut visible = Vec::new();
    visible.extend(effect.smallest_rate.map(|d| format!("{:.1} points", 100.0 * d)));
    visible
        .extend(effect.smallest_value_per_person.map(|d| format!("{} a person", readable(d.ceil() as i64, currency))));
    if visible.is_empty() {
        put(out, format_args!("              Groups of this size could not show any effect."));
    } else {
        put(
            out,
            format_args!(
                "              Groups of this size show effects from {} on (80 % power).",
                visible.join(" or ")
            ),
        );
    }
}

fn verdict(e: &Estimate) -> &'static str {
    match (e.includes_zero(), e.value > 0.0) {
        (true, _) => "may be chance",
        (false, true) => "beyond chance",
        (false, false) => "a loss, beyond chance",
    }
}

fn row(name: &str, n: &str, rest: &str) -> String {
    format!("{name:<16}{n:>9}   {rest}").trim_end().to_owned()
}

pub(super) fn share(n: i64, of: i64) -> String {
    if of == 0 { String::new() } else { format!("{:>5.1} %", 100.0 * n as f64 / of as f64) }
}

pub(super) fn signed(v: f64) -> String {
    // −0.0 would print as "-0.0".
    format!("{:+.1}", if v.abs() < 0.05 { 0.0 } else { v })
}
