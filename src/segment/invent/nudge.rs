//! Changing a person towards a leaf: so that it holds, or does not. What rows ask; [`fields`](super::fields) does the rest.
//!
//! A nudge is a draw among many ways to the same end, and it may spoil what was right before; the search tries again.

use serde_json::Value;

use super::draws::Draws;
use super::pool::{self, Pool};
use super::rows::{datum, instant_of, plain_event, plain_line, property_datum, set, set_instant};
use super::sketch::{Order, Sketch};
use crate::clock::{DAY, HOUR, Millis};
use crate::profile::fields::Kind;
use crate::profile::{Moment, Rfm, Stage, day, frequency_score};
use crate::segment::person::{ClickRow, Datum, Hit, MessageRow, Person};
use crate::segment::rule::{
    Check, Column, FunnelStep, History, Leaf, Measure, Property, PropertyTest, Rows, Source, Stretch, Tier,
};

/// The most rows that one nudge adds.
const ROWS_MAX: i64 = 60;
/// The most orders that one nudge makes.
const ORDERS_MAX: i64 = 120;
/// Histories drawn until one has the wanted stage of life.
const STAGES_DRAWN_MAX: usize = 60;
/// The total of an order of which nothing was asked, minor units.
const TOTAL_DEFAULT: i64 = 2_000;

/// What nudges draw from.
pub(super) struct Nudger<'a> {
    pub moment: &'a Moment,
    pub currency: &'a str,
    pub pool: &'a Pool,
    pub draws: Draws,
}

impl Nudger<'_> {
    /// Change a person so that a leaf holds as wished, if the draw is lucky.
    pub fn nudge(&mut self, sketch: &mut Sketch, leaf: &Leaf, wished: bool) {
        let person = sketch.person(self.moment);
        match leaf {
            Leaf::History(history) => self.history(sketch, &person, history, wished),
            Leaf::Last(rows) => self.last(sketch, &person, rows, wished),
            Leaf::Funnel(steps) => self.funnel(sketch, &person, steps, wished),
            Leaf::Customer { what, checks, window } => self.known(sketch, &person, what, checks, window, wished),
            Leaf::Percentile { field, any_of } => {
                if wished && person.field(field, self.moment).is_none() {
                    self.make_known(sketch, field);
                }
                let inside = |p: &f64| any_of.iter().any(|s| lies_in(s, *p)) == wished;
                if let Some(place) = self.draws.one_that(&self.pool.percents, inside) {
                    sketch.percentiles.insert(field.sql, (field, *place));
                }
            }
            Leaf::Rfm(names) => self.rfm(sketch, names, wished),
            Leaf::Lifecycle(stages) => self.stage(sketch, stages, wished),
            Leaf::Tier(tier) => self.tier(sketch, &person, tier, wished),
            Leaf::InSegment(_) => {}
        }
    }

    /// A few things at random, so that searches begin in different places.
    pub fn stir(&mut self, sketch: &mut Sketch, leaves: &[&Leaf]) {
        for _ in 0..self.draws.below(4) {
            self.stir_one(sketch, leaves);
        }
        if self.draws.percent(20) {
            let orders = self.draws.below(5) as i64;
            self.set_orders(sketch, orders);
        }
        sketch.r = 1 + self.draws.below(5) as i64;
    }

    /// One thing at random.
    pub fn stir_one(&mut self, sketch: &mut Sketch, leaves: &[&Leaf]) {
        let wished = self.draws.percent(60);
        if let Some(leaf) = self.draws.one_of(leaves).copied() {
            self.nudge(sketch, leaf, wished);
        }
    }

    fn history(&mut self, sketch: &mut Sketch, person: &Person, history: &History, wished: bool) {
        let (rows, moment) = (&history.rows, self.moment);
        let holds = wished != history.negated;
        let (mut count, mut sum, mut distinct) = (i64::from(holds), None, None);
        for (measure, checks) in &history.measures {
            let key = pool::of_measure(&rows.source, measure);
            let passes = |v: &Value| {
                datum(v, measure_kind(measure)).is_some_and(|d| passes_all(person, &d, checks, moment) == holds)
            };
            let found = self.draws.one_that(self.pool.values(&key), passes).cloned();
            let Some(value) = found else { continue };
            match measure {
                Measure::Sum(property) => {
                    sum = Some((property, value));
                    count = count.max(1 + self.draws.below(2) as i64);
                }
                Measure::Distinct(property) => {
                    distinct = Some(property);
                    count = value.as_i64().unwrap_or(1);
                }
                Measure::Times | Measure::Orders => count = value.as_i64().unwrap_or(1),
            }
        }
        let count = count.clamp(0, ROWS_MAX);
        if let Source::Consent { topic } = &rows.source {
            if holds {
                sketch.consents.insert(topic.clone())
            } else {
                sketch.consents.remove(topic)
            };
            return;
        }
        if let (true, Some((property, total))) = (holds, &sum)
            && self.draws.percent(50)
            && self.spread(sketch, person, rows, property, total)
        {
            return;
        }
        // One more is often enough, and what is there may be needed elsewhere.
        let keeps = holds && history.measures.is_empty() && self.draws.percent(50);
        if !keeps {
            self.remove(sketch, person, rows, |_| true);
        }
        for n in 0..count {
            let added = self.add(sketch, person, rows, true);
            if let Some(property) = distinct {
                let key = pool::of_property(&rows.source, property);
                let values = self.pool.values(&key);
                let value = values.get(n as usize).cloned().unwrap_or_else(|| format!("value{n}").into());
                set(sketch, &rows.source, added, property, &value);
            }
            if let Some((property, total)) = &sum {
                let part = share_of(total, n, count);
                set(sketch, &rows.source, added, property, &part);
            }
        }
        if self.draws.percent(15) {
            self.add(sketch, person, rows, false);
        }
    }

    /// Let the rows that are there add up to a number; false when there are none.
    fn spread(&self, sketch: &mut Sketch, person: &Person, rows: &Rows, property: &Property, total: &Value) -> bool {
        let is_hit = |hit: Hit| person.is_hit(&hit, rows, self.moment);
        let hits: Vec<usize> = match &rows.source {
            Source::Events(name) => {
                let events = person.rows.events.iter().enumerate();
                events.filter(|(_, e)| e.name == *name && is_hit(Hit::Event(e))).map(|(n, _)| n).collect()
            }
            Source::OrdersPlaced => {
                let orders = person.rows.orders.iter().enumerate();
                orders.filter(|(_, o)| o.is_counted() && is_hit(Hit::Order(o))).map(|(n, _)| n).collect()
            }
            _ => Vec::new(),
        };
        for (n, place) in hits.iter().enumerate() {
            set(sketch, &rows.source, *place, property, &share_of(total, n as i64, hits.len() as i64));
        }
        !hits.is_empty()
    }

    fn last(&mut self, sketch: &mut Sketch, person: &Person, rows: &Rows, wished: bool) {
        let any = Rows { with: Vec::new(), ..rows.clone() };
        if !wished && self.draws.percent(40) {
            return self.remove(sketch, person, &any, |_| true);
        }
        let added = self.add(sketch, person, rows, wished);
        let at = instant_of(sketch, &rows.source, added);
        // Rows that were there and came later are gone; the one added stands at the end and stays.
        self.remove(sketch, person, &any, |other| other >= at);
    }

    fn funnel(&mut self, sketch: &mut Sketch, person: &Person, steps: &[FunnelStep], wished: bool) {
        let [first, rest @ ..] = steps else { return };
        if !wished {
            match self.draws.below(3) {
                0 => return self.remove(sketch, person, &first.rows, |_| true),
                1 => {
                    for step in rest.iter().filter(|s| !s.negated) {
                        self.remove(sketch, person, &step.rows, |_| true);
                    }
                    return;
                }
                _ => {}
            }
        }
        self.remove(sketch, person, &first.rows, |_| true);
        let added = self.add(sketch, person, &first.rows, true);
        let mut at = instant_of(sketch, &first.rows.source, added);
        for step in rest {
            let length = step.within_after.map_or((self.moment.as_of - at).max(1), |s| s.millis());
            let lengths = [1, length / 2, length - 1, length, length + 1];
            let next = at + self.draws.one_of(&lengths).copied().unwrap_or(1);
            let person = sketch.person(self.moment);
            if step.negated {
                self.remove(sketch, &person, &step.rows, |other| other > at && other <= at + length);
            }
            if step.negated == wished || next > self.moment.as_of {
                continue;
            }
            let added = self.add(sketch, &person, &step.rows, true);
            set_instant(sketch, &step.rows.source, added, next);
            at = next;
        }
    }

    fn rfm(&mut self, sketch: &mut Sketch, names: &[Rfm], wished: bool) {
        if !wished && self.draws.percent(20) {
            return self.set_orders(sketch, 0);
        }
        let cells: Vec<(i64, i64)> = (1..=5).flat_map(|r| (1..=5).map(move |f| (r, f))).collect();
        let found = self.draws.one_that(&cells, |(r, f)| names.contains(&Rfm::of(*r, *f)) == wished);
        if let Some((r, f)) = found {
            sketch.r = *r;
            self.set_frequency(sketch, *f);
        }
    }

    /// So many orders as F asks for; those that are there stay if they do.
    pub fn set_frequency(&mut self, sketch: &mut Sketch, f: i64) {
        if frequency_score(sketch.counted().len() as i64) == Some(f) {
            return;
        }
        let numbers: Vec<i64> = (1..=8).filter(|n| frequency_score(*n) == Some(f)).collect();
        if let Some(n) = self.draws.one_of(&numbers).copied() {
            self.set_orders(sketch, n);
        }
    }

    fn stage(&mut self, sketch: &mut Sketch, stages: &[Stage], wished: bool) {
        if stages.contains(&Stage::Lead) == wished && (stages.len() == 1 || self.draws.percent(25)) {
            return self.set_orders(sketch, 0);
        }
        for _ in 0..STAGES_DRAWN_MAX {
            let keep = sketch.counted().len().max(1);
            let number = if self.draws.percent(50) { keep.min(8) } else { 1 + self.draws.below(4) };
            let instants: Vec<Millis> = (0..number).map(|_| self.noon_of_an_age()).collect();
            let mut tried = sketch.clone();
            tried.move_orders(instants, |at| self.plain_order(at));
            if stages.contains(&tried.person(self.moment).stage(self.moment)) == wished {
                *sketch = tried;
                return;
            }
        }
    }

    fn tier(&mut self, sketch: &mut Sketch, person: &Person, tier: &Tier, wished: bool) {
        let rows = tier.rows();
        let key = pool::of_measure(&rows.source, &tier.measure);
        let inside = |v: &Value| {
            let reached = v.as_i64().unwrap_or(0);
            reached >= 0
                && tier.stretches.iter().any(|(from, below)| reached >= *from && below.is_none_or(|b| reached < b))
                    == wished
        };
        let Some(value) = self.draws.one_that(self.pool.values(&key), inside).cloned() else { return };
        let total = Property::Column(Column::Total);
        if tier.measure != Measure::Times
            && self.draws.percent(50)
            && self.spread(sketch, person, &rows, &total, &value)
        {
            return;
        }
        self.remove(sketch, person, &rows, |_| true);
        let reached = value.as_i64().unwrap_or(0);
        let is_number = matches!(tier.measure, Measure::Times);
        let count =
            if is_number { reached.min(ORDERS_MAX) } else { i64::from(reached > 0) * (1 + self.draws.below(3) as i64) };
        for n in 0..count {
            let added = self.add(sketch, person, &rows, true);
            if !is_number {
                set(sketch, &rows.source, added, &total, &share_of(&value, n, count));
            }
        }
    }

    /// Take rows of a source away that lie in the window and pass the tests, as far as `also` says.
    fn remove(&self, sketch: &mut Sketch, person: &Person, rows: &Rows, also: impl Fn(Millis) -> bool) {
        // Rows that were added since `person` was made stand behind the others and stay.
        let is_hit = |hit: Option<Hit>| hit.is_some_and(|h| also(h.at()) && person.is_hit(&h, rows, self.moment));
        let mut n = 0;
        let mut place = || {
            n += 1;
            n - 1
        };
        match &rows.source {
            Source::Events(name) => sketch.events.retain(|e| {
                let known = person.rows.events.get(place());
                e.name != *name || !is_hit(known.map(Hit::Event))
            }),
            Source::OrdersPlaced => sketch.orders.retain(|o| {
                let known = person.rows.orders.get(place());
                !o.is_counted() || !is_hit(known.map(Hit::Order))
            }),
            Source::OrdersReturned => sketch.orders.retain(|o| {
                let known = person.rows.orders.get(place());
                !(o.status == "returned" || o.total < 0) || !is_hit(known.map(Hit::Order))
            }),
            Source::Lines => {
                for order in &mut sketch.orders {
                    order.lines.retain(|_| !is_hit(person.rows.lines.get(place()).map(Hit::Line)));
                }
            }
            Source::Messages { campaign, step } => sketch.messages.retain(|m| {
                let is_named = m.campaign == *campaign && step.as_ref().is_none_or(|s| m.step == *s);
                !is_named || !is_hit(Some(Hit::At(m.at)))
            }),
            Source::Clicks { campaign, step } => sketch.clicks.retain(|c| {
                let is_named = c.campaign == *campaign && step.as_ref().is_none_or(|s| c.step == *s);
                !is_named || !is_hit(Some(Hit::At(c.at)))
            }),
            Source::Consent { topic } => {
                sketch.consents.remove(topic);
            }
        }
    }

    /// Add a row in the window that passes the tests, or one in it that just does not. Where it stands among its kind.
    fn add(&mut self, sketch: &mut Sketch, person: &Person, rows: &Rows, passing: bool) -> usize {
        let at = self.instant_within(sketch, person, rows);
        let place = match &rows.source {
            Source::Events(name) => {
                let row = plain_event(at, name);
                sketch.events.push(row);
                sketch.events.len() - 1
            }
            Source::OrdersPlaced | Source::OrdersReturned => {
                let mut order = self.plain_order(at);
                if rows.source == Source::OrdersReturned {
                    order.status = "returned".to_owned();
                    order.total = -order.total;
                }
                sketch.orders.push(order);
                sketch.orders.len() - 1
            }
            Source::Lines => {
                let there = (0..sketch.orders.len()).filter(|i| {
                    let order = &sketch.orders[*i];
                    order.is_counted() && person.within(order.at, &rows.window, self.moment)
                });
                let there: Vec<usize> = there.collect();
                let into = if self.draws.percent(60) { self.draws.one_of(&there).copied() } else { None };
                let into = into.unwrap_or_else(|| {
                    sketch.orders.push(self.plain_order(at));
                    sketch.orders.len() - 1
                });
                let order = &mut sketch.orders[into];
                order.lines.push(plain_line(order.total));
                into
            }
            Source::Messages { campaign, step } => {
                let step = step.clone().unwrap_or_default();
                let state = "accepted".to_owned();
                sketch.messages.push(MessageRow { at, campaign: campaign.clone(), step, state });
                sketch.messages.len() - 1
            }
            Source::Clicks { campaign, step } => {
                let step = step.clone().unwrap_or_default();
                sketch.clicks.push(ClickRow { at, campaign: campaign.clone(), step });
                sketch.clicks.len() - 1
            }
            Source::Consent { .. } => 0,
        };
        let moment = self.moment;
        let failing = if passing { None } else { Some(self.draws.below(rows.with.len())) };
        for (n, PropertyTest { property, checks }) in rows.with.iter().enumerate() {
            let key = pool::of_property(&rows.source, property);
            let wanted = failing != Some(n);
            let passes = |v: &Value| {
                let datum = property_datum(property, v);
                datum.is_some_and(|d| passes_all(person, &d, checks, moment) == wanted)
            };
            if let Some(value) = self.draws.one_that(self.pool.values(&key), passes).cloned() {
                set(sketch, &rows.source, place, property, &value);
            }
        }
        place
    }

    /// An instant in a window, where there is one.
    fn instant_within(&mut self, sketch: &mut Sketch, person: &Person, rows: &Rows) -> Millis {
        if rows.window.is_anchored() {
            for field in rows.window.days_after.map(|d| d.field).into_iter().chain(match rows.window.since {
                Some(crate::segment::rule::Since::Field(field)) => Some(field),
                _ => None,
            }) {
                if person.field(field, self.moment).is_none() {
                    self.make_known(sketch, field);
                }
            }
        }
        let mut instants = self.anchored(person);
        if !rows.window.is_anchored() || self.draws.percent(30) {
            instants.clear();
        }
        let inside = |at: &Millis| person.within(*at, &rows.window, self.moment);
        if self.pool.weekdays {
            let day = self.draws.below(7) as i64;
            let shifted: Vec<Millis> = self.pool.instants.iter().map(|at| at - day * DAY).collect();
            instants.extend(shifted);
        }
        let found = self.draws.one_that(&instants, inside).or_else(|| self.draws.one_that(&self.pool.instants, inside));
        found.copied().unwrap_or_else(|| self.any_instant())
    }

    /// Instants around those of the person that windows hang on.
    pub fn anchored(&self, person: &Person) -> Vec<Millis> {
        let mut out = Vec::new();
        for (field, days) in &self.pool.anchored {
            let Some(Datum::Int(anchor)) = person.field(field, self.moment) else { continue };
            let first = day::day_number(anchor, &self.moment.zone);
            for after in days {
                let start = day::start_of(first + after, &self.moment.zone);
                out.extend([start, start + 12 * HOUR, anchor + after * DAY]);
            }
            out.extend([anchor - 1, anchor, anchor + 1]);
        }
        out.retain(|at| *at <= self.moment.as_of);
        out
    }

    pub fn any_instant(&mut self) -> Millis {
        self.draws.one_of(&self.pool.instants).copied().unwrap_or(self.moment.as_of - DAY)
    }

    /// Noon of a day as old as rules ask, or of any; of today no later than the planning instant.
    pub fn noon_of_an_age(&mut self) -> Millis {
        let drawn = if self.draws.percent(75) { self.draws.one_of(&self.pool.ages).copied() } else { None };
        let age = drawn.unwrap_or_else(|| self.draws.below(600) as i64);
        self.noon(age)
    }

    /// Noon so many whole days ago; of today no later than the planning instant.
    pub fn noon(&self, age: i64) -> Millis {
        (day::start_of(self.moment.today - age, &self.moment.zone) + 12 * HOUR).min(self.moment.as_of)
    }

    pub fn plain_order(&self, at: Millis) -> Order {
        Order::placed(at, TOTAL_DEFAULT, self.currency)
    }

    /// Exactly so many counted orders, keeping those that are there.
    pub fn set_orders(&mut self, sketch: &mut Sketch, number: i64) {
        let number = number.clamp(0, ORDERS_MAX) as usize;
        let mut counted = sketch.counted();
        while counted.len() > number {
            let gone = counted.swap_remove(self.draws.below(counted.len()));
            sketch.orders.remove(gone);
            counted = sketch.counted();
        }
        for _ in counted.len()..number {
            let at = if self.draws.percent(50) { self.noon_of_an_age() } else { self.any_instant() };
            sketch.orders.push(self.plain_order(at));
        }
    }
}

fn passes_all(person: &Person, datum: &Datum, checks: &[Check], moment: &Moment) -> bool {
    checks.iter().all(|c| person.check(Some(datum), c, moment))
}

fn lies_in(stretch: &Stretch, place: f64) -> bool {
    stretch.0.iter().all(|(op, percent)| place.partial_cmp(percent).is_some_and(|o| op.holds(o)))
}

/// The n-th of `count` parts that add up to a number.
fn share_of(total: &Value, n: i64, count: i64) -> Value {
    match total.as_i64() {
        Some(whole) => {
            let part = whole / count.max(1);
            (if n == 0 { whole - part * (count - 1) } else { part }).into()
        }
        None => (total.as_f64().unwrap_or(0.0) / count.max(1) as f64).into(),
    }
}

fn measure_kind(measure: &Measure) -> Kind {
    match measure {
        Measure::Sum(Property::Json(_) | Property::Product(_) | Property::Column(Column::Score)) => Kind::Real,
        _ => Kind::Number,
    }
}
