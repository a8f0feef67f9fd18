//! One customer with everything rules ask about, and rules decided for them in plain Rust: the oracle of the compiled SQL, the engine of
//! [`explain`](super::explain), and what the cases of segment files are decided with.

mod derive;
mod load;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use super::resolve::{Drawn, Resolved};
use super::rule::{
    Check, DaysAfter, FunnelStep, History, Measure, Number, Op, PropertyTest, Rows as RowsOf, Since, Source, Stretch,
    Tier, What, Window,
};
use super::sql::RECEIVED_STATES;
use crate::clock::Millis;
use crate::profile::fields::Field;
use crate::profile::{Facts, Moment, Rfm, Stage, day};
use crate::yaml::Span;
pub(super) use load::{ClickRow, ConsentRow, CustomerRow, EventRow, LineRow, MessageRow, OrderRow, ScoreRow};
pub(super) use values::{Datum, Hit, member};

/// A customer and their history.
#[derive(Debug, Clone, Default)]
pub struct Person {
    pub facts: Facts,
    pub(super) customer: CustomerRow,
    pub(super) scores: Option<ScoreRow>,
    pub(super) rows: Rows,
    pub(super) given: Overrides,
}

/// The rows of a customer.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub orders: Vec<OrderRow>,
    pub lines: Vec<LineRow>,
    pub events: Vec<EventRow>,
    pub messages: Vec<MessageRow>,
    pub clicks: Vec<ClickRow>,
    pub consents: Vec<ConsentRow>,
}

/// What a case states outright, whatever the rows say.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrides {
    /// By the SQL of the field, which is unique.
    pub fields: BTreeMap<&'static str, Datum>,
    /// The person's place among all buyers, in percent, by the SQL of the field.
    pub percentiles: BTreeMap<&'static str, f64>,
    pub rfm: Option<Rfm>,
    pub stage: Option<Stage>,
    pub tier: Option<String>,
}

/// What a history leaf found.
pub(super) struct Found {
    /// Whether the leaf holds.
    pub holds: bool,
    pub latest_at: Option<Millis>,
    /// What each measure came to; absent for a sum of nothing.
    pub measured: Vec<(Measure, Option<Datum>)>,
}

impl Person {
    /// The id they were imported with; empty without a profile.
    pub fn customer_id(&self) -> &str {
        &self.facts.customer_id
    }

    /// Whether a profile was computed; segments hold nobody without one.
    pub fn has_profile(&self) -> bool {
        !self.facts.customer_id.is_empty()
    }

    /// Whether a field or attribute passes its checks and lies in its window.
    pub(super) fn customer_holds(&self, what: &What, checks: &[Check], window: &Window, moment: &Moment) -> bool {
        self.value_holds(self.value(what, moment).as_ref(), what, checks, window, moment)
    }

    /// The same of any value that the field or attribute might have.
    pub(super) fn value_holds(
        &self,
        value: Option<&Datum>,
        what: &What,
        checks: &[Check],
        window: &Window,
        moment: &Moment,
    ) -> bool {
        let inside = !window.is_limited()
            || match (value, what) {
                (Some(Datum::Int(at)), _) => self.within(*at, window, moment),
                (Some(Datum::Json(text)), What::Attribute(_)) => values::date_within(text, window, moment),
                _ => false,
            };
        inside && checks.iter().all(|c| self.check(value, c, moment))
    }

    /// Whether a value passes a comparison; a missing one passes none.
    pub(super) fn check(&self, value: Option<&Datum>, check: &Check, moment: &Moment) -> bool {
        match check {
            Check::Exists(wanted) => value.is_some() == *wanted,
            Check::Field { op, field, factor, plus } => {
                let other = self.field(field, moment).and_then(|d| d.as_f64());
                let pair = value.and_then(Datum::as_f64).zip(other);
                pair.and_then(|(left, right)| left.partial_cmp(&(right * factor + plus))).is_some_and(|o| op.holds(o))
            }
            check => value.is_some_and(|v| v.passes(check, moment)),
        }
    }

    /// The place of a number among all buyers lies in one of these stretches.
    pub(super) fn percentile_holds(&self, field: &'static Field, any_of: &[Stretch], resolved: &Resolved) -> bool {
        let compared = |place: f64, edge: f64, op: Op| place.partial_cmp(&edge).is_some_and(|o| op.holds(o));
        if let Some(place) = self.given.percentiles.get(field.sql) {
            return any_of.iter().any(|s| s.0.iter().all(|(op, percent)| compared(*place, *percent, *op)));
        }
        let Some(value) = self.field(field, &resolved.moment).and_then(|v| v.as_f64()) else { return false };
        self.facts.orders > 0
            && any_of.iter().any(|s| {
                let edge = |(op, percent): &(Op, f64)| Some((*op, resolved.threshold(field, *op, *percent)?));
                s.0.iter().all(|bound| edge(bound).is_some_and(|(op, edge)| compared(value, edge, op)))
            })
    }

    /// R, F and M, and the name of their cell.
    pub(super) fn rfm(&self, moment: &Moment) -> Option<Rfm> {
        self.given.rfm.or_else(|| self.facts.rfm(moment))
    }

    pub(super) fn stage(&self, moment: &Moment) -> Stage {
        self.given.stage.unwrap_or_else(|| self.facts.stage(moment))
    }

    /// What a tier goes by: spend in minor units, or orders.
    pub(super) fn tier_value(&self, tier: &Tier, moment: &Moment) -> i64 {
        let rows = tier.rows();
        match self.measure(&tier.measure, &self.hits(&rows, moment)) {
            Some(Datum::Int(value)) => value,
            _ => 0,
        }
    }

    pub(super) fn tier_holds(&self, tier: &Tier, moment: &Moment) -> bool {
        if let Some(given) = &self.given.tier {
            return tier.names.contains(given);
        }
        let value = self.tier_value(tier, moment);
        tier.stretches.iter().any(|(from, below)| value >= *from && below.is_none_or(|b| value < b))
    }

    /// Whether a member is picked.
    pub(super) fn is_drawn(&self, drawn: &Drawn, moment: &Moment) -> bool {
        let on_top = match &drawn.top {
            None => true,
            Some(None) => false,
            Some(Some(edge)) => {
                let value = self.field(edge.by, moment).and_then(|v| v.as_f64());
                let key = (self.facts.bucket, self.facts.customer_id.as_str());
                value.is_some_and(|v| {
                    v > edge.value || (v == edge.value && key <= (edge.bucket, edge.customer_id.as_str()))
                })
            }
        };
        on_top && drawn.cells.as_ref().is_none_or(|cells| cells.contains(&self.facts.bucket))
    }

    /// Decide a history leaf.
    pub(super) fn history(&self, history: &History, resolved: &Resolved) -> Found {
        let moment = &resolved.moment;
        let hits = self.hits(&history.rows, moment);
        let at_least_one = [(Measure::Times, vec![Check::Compare(Op::Gte, Number::Int(1))])];
        let measures = if history.measures.is_empty() { &at_least_one[..] } else { &history.measures };
        let measured: Vec<(Measure, Option<Datum>)> =
            measures.iter().map(|(m, _)| (m.clone(), self.measure(m, &hits))).collect();
        let holds = measures
            .iter()
            .zip(&measured)
            .all(|((_, checks), (_, value))| checks.iter().all(|c| self.check(value.as_ref(), c, moment)));
        Found { holds: holds != history.negated, latest_at: hits.iter().map(Hit::at).max(), measured }
    }

    fn measure(&self, measure: &Measure, hits: &[Hit]) -> Option<Datum> {
        match measure {
            Measure::Times => Some(Datum::Int(hits.len() as i64)),
            Measure::Orders => {
                let orders: BTreeSet<&str> = hits.iter().filter_map(Hit::order_id).collect();
                Some(Datum::Int(orders.len() as i64))
            }
            Measure::Distinct(property) => {
                let known: BTreeSet<String> = hits.iter().filter_map(|h| h.value(property)?.distinct_key()).collect();
                Some(Datum::Int(known.len() as i64))
            }
            Measure::Sum(property) => {
                let known: Vec<Datum> =
                    hits.iter().filter_map(|h| h.value(property)).filter(|v| v.as_f64().is_some()).collect();
                if known.is_empty() {
                    return None;
                }
                let whole: Option<Vec<i64>> =
                    known.iter().map(|v| if let Datum::Int(i) = v { Some(*i) } else { None }).collect();
                Some(match whole {
                    Some(whole) => Datum::Int(whole.iter().sum()),
                    None => Datum::Real(known.iter().filter_map(Datum::as_f64).sum()),
                })
            }
        }
    }

    /// The latest row in the window, and whether it (or another at the same instant) passes the tests.
    pub(super) fn last(&self, rows: &RowsOf, moment: &Moment) -> (bool, Option<Millis>) {
        let all = RowsOf { with: Vec::new(), ..rows.clone() };
        let hits = self.hits(&all, moment);
        let latest = hits.iter().map(Hit::at).max();
        let holds = hits.iter().filter(|h| Some(h.at()) == latest).any(|h| self.passes(h, &rows.with, moment));
        (holds, latest)
    }

    /// Where in a funnel the person came to: the instants of the first way through, or `None`.
    pub(super) fn funnel(&self, steps: &[FunnelStep], moment: &Moment) -> Option<Vec<Millis>> {
        let [first, rest @ ..] = steps else { return None };
        let mut starts: Vec<Millis> = self.hits(&first.rows, moment).iter().map(Hit::at).collect();
        starts.sort_unstable();
        starts.into_iter().find_map(|at| self.funnel_after(rest, at, vec![at], moment))
    }

    fn funnel_after(&self, steps: &[FunnelStep], at: Millis, way: Vec<Millis>, moment: &Moment) -> Option<Vec<Millis>> {
        let [step, rest @ ..] = steps else { return Some(way) };
        let until = step.within_after.map(|span: Span| at + span.millis());
        let mut next: Vec<Millis> = self
            .hits(&step.rows, moment)
            .iter()
            .map(Hit::at)
            .filter(|next| *next > at && until.is_none_or(|until| *next <= until))
            .collect();
        if step.negated {
            let is_over = until.is_none_or(|until| until <= moment.as_of);
            return if next.is_empty() && is_over { self.funnel_after(rest, at, way, moment) } else { None };
        }
        next.sort_unstable();
        next.into_iter().find_map(|next| {
            let way = way.iter().copied().chain([next]).collect();
            self.funnel_after(rest, next, way, moment)
        })
    }

    fn passes(&self, hit: &Hit, tests: &[PropertyTest], moment: &Moment) -> bool {
        tests.iter().all(|test| {
            let value = hit.value(&test.property);
            test.checks.iter().all(|c| self.check(value.as_ref(), c, moment))
        })
    }

    pub(super) fn within(&self, at: Millis, window: &Window, moment: &Moment) -> bool {
        let (from, until) = window.bounds(moment);
        let anchor = |field: &Field| match self.field(field, moment) {
            Some(Datum::Int(at)) => Some(at),
            _ => None,
        };
        let since = match window.since {
            Some(Since::Field(field)) => anchor(field).is_some_and(|from| at >= from),
            _ => true,
        };
        let day_of = |at: Millis| day::day_number(at, &moment.zone);
        let days_after = window.days_after.is_none_or(|DaysAfter { field, from, to }| {
            anchor(field).is_some_and(|anchor| (from..=to).contains(&(day_of(at) - day_of(anchor))))
        });
        let weekday = window.weekdays.is_empty() || window.weekdays.contains(&values::weekday(at, moment));
        from.is_none_or(|from| at >= from) && at < until && since && days_after && weekday
    }

    /// The rows a leaf is about.
    fn hits(&self, rows: &RowsOf, moment: &Moment) -> Vec<Hit<'_>> {
        let all: Vec<Hit> = match &rows.source {
            Source::OrdersPlaced => self.rows.orders.iter().filter(|o| o.is_counted()).map(Hit::Order).collect(),
            Source::OrdersReturned => self.rows.orders.iter().filter(|o| o.is_return()).map(Hit::Order).collect(),
            Source::Lines => self.rows.lines.iter().filter(|l| l.is_counted()).map(Hit::Line).collect(),
            Source::Events(name) => self.rows.events.iter().filter(|e| e.name == *name).map(Hit::Event).collect(),
            Source::Messages { campaign, step } => self
                .rows
                .messages
                .iter()
                .filter(|m| m.campaign == *campaign && step.as_ref().is_none_or(|s| m.step == *s))
                .filter(|m| RECEIVED_STATES.contains(&m.state.as_str()))
                .map(|m| Hit::At(m.at))
                .collect(),
            Source::Clicks { campaign, step } => self
                .rows
                .clicks
                .iter()
                .filter(|c| c.campaign == *campaign && step.as_ref().is_none_or(|s| c.step == *s))
                .map(|c| Hit::At(c.at))
                .collect(),
            Source::Consent { topic } => {
                let granted = self.rows.consents.iter().filter(|c| c.granted && c.topic == *topic);
                granted.map(|c| Hit::At(c.at)).collect()
            }
        };
        all.into_iter().filter(|h| self.is_hit(h, rows, moment)).collect()
    }

    /// Whether a row of the source lies in the window and passes the tests.
    pub(super) fn is_hit(&self, hit: &Hit, rows: &RowsOf, moment: &Moment) -> bool {
        self.within(hit.at(), &rows.window, moment) && self.passes(hit, &rows.with, moment)
    }
}
