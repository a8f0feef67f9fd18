//! Two plans of one campaign beside each other: who is planned now and was not, who was and is not, and why.
//!
//! Planned are those who are mailed and those whom an experiment withholds: chance does not count as a difference. Reads only, range by range.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::guard::Verdict;
use super::{Decided, Planning, Spent};
use crate::content::{Edition, Editions};
use crate::db::{BUCKETS, Db, DbResult};
use crate::segment::compare::{Group, Worth, high_value_from, worths};

/// How a plan changed.
#[derive(Debug, Clone, Default)]
pub struct PlanChange {
    /// People planned then; `None` when there was no such campaign.
    pub before: Option<i64>,
    /// People planned now; `None` when there is no such campaign any more.
    pub after: Option<i64>,
    pub comes_in: Group,
    /// What was said of those who come in.
    pub in_because: Causes,
    pub goes_out: Group,
    /// What is said of those who go out.
    pub out_because: Causes,
    /// Who is mailed on both sides, and whose mail is written otherwise.
    pub other_mail: Group,
    /// How many of them read another subject.
    pub other_subject: i64,
}

/// A plan, and how its mails are written.
pub struct Side<'a> {
    pub planning: Planning<'a>,
    pub mails: Editions,
}

/// What is decided about somebody, and the mail they would get.
struct Standing<'s> {
    verdict: Verdict,
    mail: Option<&'s Edition>,
}

/// How many people, by what is said of them on the other side: a reason, or `not_in_audience`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Causes(BTreeMap<&'static str, i64>);

/// Said of people who are not in an audience.
pub const NOT_IN_AUDIENCE: &str = "not_in_audience";

impl Causes {
    /// The most frequent first.
    pub fn rows(&self) -> Vec<(&'static str, i64)> {
        let mut rows: Vec<_> = self.0.iter().map(|(word, n)| (*word, *n)).collect();
        rows.sort_by_key(|(word, n)| (-n, *word));
        rows
    }
}

impl PlanChange {
    /// Whether anybody comes in or goes out.
    pub fn moves_anybody(&self) -> bool {
        self.comes_in.people > 0 || self.goes_out.people > 0
    }
}

/// What is different between two plans made for the same instant; a side that is missing plans nobody.
pub async fn changes(db: &Db, before: Option<&Side<'_>>, after: Option<&Side<'_>>) -> DbResult<PlanChange> {
    let high_from = high_value_from(db).await?;
    let mut change = PlanChange { before: before.map(|_| 0), after: after.map(|_| 0), ..PlanChange::default() };
    let Some(steps) = after.or(before) else { return Ok(change) };
    let (mut spent_then, mut spent_now) = (begun(db, before).await?, begun(db, after).await?);
    for range in steps.planning.ranges(0) {
        let then = verdicts(db, before, range, &mut spent_then).await?;
        let now = verdicts(db, after, range, &mut spent_now).await?;
        let worths = worths(db, range).await?;
        let people: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        for id in people {
            let worth: Worth = worths.get(id).copied().unwrap_or_default();
            let (mail_then, mail_now) = (then.get(id).and_then(|s| s.mail), now.get(id).and_then(|s| s.mail));
            let verdict = |of: &BTreeMap<String, Standing<'_>>| of.get(id).map(|s| s.verdict);
            let (was, is) = (verdict(&then), verdict(&now));
            let count = |planned: &mut Option<i64>, is| *planned = planned.map(|n| n + i64::from(is));
            count(&mut change.before, is_planned(was));
            count(&mut change.after, is_planned(is));
            match (is_planned(was), is_planned(is)) {
                (false, true) => {
                    change.comes_in.add(id, worth, high_from);
                    *change.in_because.0.entry(said(was)).or_default() += 1;
                }
                (true, false) => {
                    change.goes_out.add(id, worth, high_from);
                    *change.out_because.0.entry(said(is)).or_default() += 1;
                }
                (true, true) if mail_then != mail_now => {
                    if let Some((then, now)) = mail_then.zip(mail_now) {
                        change.other_mail.add(id, worth, high_from);
                        change.other_subject += i64::from(then.subject != now.subject);
                    }
                }
                _ => {}
            }
        }
    }
    debug_assert!(steps.planning.ranges(0).last().is_some_and(|(_, last)| last == BUCKETS - 1));
    Ok(change)
}

fn is_planned(verdict: Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Send | Verdict::Withheld(_)))
}

fn said(verdict: Option<Verdict>) -> &'static str {
    verdict.and_then(Verdict::reason).map_or(NOT_IN_AUDIENCE, |reason| reason.word())
}

async fn begun(db: &Db, side: Option<&Side<'_>>) -> DbResult<Spent> {
    match side {
        Some(side) => side.planning.begin(db, 0).await,
        None => Ok(Spent::default()),
    }
}

async fn verdicts<'s>(
    db: &Db,
    side: Option<&'s Side<'_>>,
    range: (i64, i64),
    spent: &mut Spent,
) -> DbResult<BTreeMap<String, Standing<'s>>> {
    let Some(Side { planning, mails }) = side else { return Ok(BTreeMap::new()) };
    // Rules are compared; what templates say of a person is not rendered here, on either side.
    let decided = planning.verdicts(db, range, "", spent, &|_, _| false).await?;
    let standing = |Decided { candidate, verdict, .. }: Decided| {
        let template = planning.step.template_for(planning.arm(&candidate.customer_id));
        let locale = candidate.locale.as_deref().unwrap_or(&planning.settings.default_locale);
        let mail = mails.read_by(template, locale).filter(|_| verdict == Verdict::Send);
        (candidate.customer_id, Standing { verdict, mail })
    };
    Ok(decided.into_iter().map(standing).collect())
}
