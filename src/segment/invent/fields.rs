//! Changing a person towards a leaf about what is known of them. What the profile derives is never stated: to have three orders, somebody gets
//! three orders.

use serde_json::Value;

use super::nudge::Nudger;
use super::pool;
use super::rows::{datum, plain_event, plain_line};
use super::sketch::{Order, Sketch};
use crate::clock::{self, DAY, Millis};
use crate::profile::day;
use crate::profile::fields::{Field, Kind};
use crate::segment::person::{Datum, EventRow, LineRow, Person, member};
use crate::segment::rule::{Check, What, Window};

/// The most tickets that one nudge opens.
const TICKETS_MAX: i64 = 40;
/// A word for what must be known, whatever it is.
const ANY_WORD: &str = "any";

impl Nudger<'_> {
    /// A field or attribute.
    pub(super) fn known(
        &mut self,
        sketch: &mut Sketch,
        person: &Person,
        what: &What,
        checks: &[Check],
        window: &Window,
        wished: bool,
    ) {
        let fits = |d: Option<&Datum>| person.value_holds(d, what, checks, window, self.moment) == wished;
        let may_be_missing = fits(None);
        match what {
            What::Attribute(attribute) => {
                let key = pool::of_attribute(attribute);
                let passes = |v: &Value| {
                    let datum = member(&serde_json::json!({ &*attribute.name: v }).to_string(), attribute);
                    datum.is_some_and(|d| fits(Some(&d)))
                };
                let found = self.draws.one_that(self.pool.values(&key), passes).cloned();
                if may_be_missing && (found.is_none() || self.draws.percent(30)) {
                    sketch.attributes.remove(&attribute.name);
                } else if let Some(value) = found {
                    sketch.attributes.insert(attribute.name.clone(), value);
                }
            }
            What::Field(field) => {
                let candidates = self.candidates(person, field, checks);
                let found = self.draws.one_that(&candidates, |d| fits(Some(d))).cloned();
                let missing = may_be_missing && (found.is_none() || self.draws.percent(25));
                if missing || found.is_some() {
                    self.set_field(sketch, field, if missing { None } else { found });
                }
                // What it is compared with may be missing instead.
                for check in checks {
                    if let Check::Field { field: other, .. } = check
                        && person.field(other, self.moment).is_none()
                        && wished
                    {
                        self.make_known(sketch, other);
                    }
                }
            }
        }
    }

    /// Values that a field might take.
    fn candidates(&mut self, person: &Person, field: &Field, checks: &[Check]) -> Vec<Datum> {
        let mut out: Vec<Datum> =
            self.pool.values(&pool::of_field(field)).iter().filter_map(|v| datum(v, field.kind)).collect();
        for check in checks {
            let Check::Field { field: other, factor, plus, .. } = check else { continue };
            let Some(other) = person.field(other, self.moment).and_then(|d| d.as_f64()) else { continue };
            let edge = other * factor + plus;
            let beside = if field.kind == Kind::Instant { DAY as f64 } else { 1.0 };
            out.extend([edge - beside, edge - 1.0, edge, edge + 1.0, edge + beside].map(|x| match field.kind {
                Kind::Real => Datum::Real(x),
                _ => Datum::Int(x.ceil() as i64),
            }));
        }
        match field.kind {
            Kind::Instant => {
                out.extend(self.anchored(person).into_iter().map(Datum::Int));
                out.extend(self.pool.instants.iter().map(|at| Datum::Int(*at)));
                if field.sql == "sc.next_order_at" {
                    let ahead: Vec<Millis> = self.pool.ages.iter().map(|d| self.moment.as_of + d * DAY).collect();
                    out.extend(ahead.into_iter().map(Datum::Int));
                } else {
                    out.retain(|d| matches!(d, Datum::Int(at) if *at <= self.moment.as_of));
                }
            }
            Kind::Days => out.extend(self.pool.ages.iter().map(|d| Datum::Int(*d))),
            Kind::Text => out.push(Datum::Text(ANY_WORD.to_owned())),
            Kind::Number | Kind::Money => out.extend([1, 3].map(Datum::Int)),
            Kind::Real => out.extend([0.5, 20.0].map(Datum::Real)),
        }
        let (low, high) = match field.sql {
            "p.r" | "p.f" | "p.m" => (1.0, 5.0),
            "sc.alive" | "sc.churn_90d" => (0.0, 1.0),
            "p.revenue" => (f64::MIN, f64::MAX),
            "p.last_rating" => (0.0, 10.0),
            _ => (0.0, f64::MAX),
        };
        out.retain(|d| d.as_f64().is_none_or(|x| (low..=high).contains(&x)));
        out
    }

    /// Somebody of whom this is known.
    pub(super) fn make_known(&mut self, sketch: &mut Sketch, field: &'static Field) {
        let value = match field.kind {
            Kind::Text => Datum::Text(ANY_WORD.to_owned()),
            Kind::Number | Kind::Money => Datum::Int(1),
            Kind::Days => Datum::Int(self.pool.ages[self.draws.below(self.pool.ages.len())]),
            Kind::Real => Datum::Real(if field.is_score() { 0.5 } else { 5.0 }),
            Kind::Instant => Datum::Int(self.any_instant()),
        };
        self.set_field(sketch, field, Some(value));
    }

    /// Arrange the rows so that the field has this value, or none.
    fn set_field(&mut self, sketch: &mut Sketch, field: &'static Field, value: Option<Datum>) {
        if field.is_of_customer() || field.is_score() {
            match value {
                Some(value) => sketch.fields.insert(field.sql, value),
                None => sketch.fields.remove(field.sql),
            };
            if field.is_score() && sketch.fields.contains_key(field.sql) && sketch.counted().is_empty() {
                self.set_orders(sketch, 1);
            }
            return;
        }
        match field.sql {
            "p.top_category" => self.set_category(sketch, value),
            "p.last_viewed_at" | "p.last_viewed_sku" | "p.last_event_at" | "p.last_rating" | "p.last_rating_at"
            | "p.open_tickets" => self.set_events(sketch, field.sql, value),
            "p.last_return_at" => {
                sketch.orders.retain(|o| o.status != "returned" && o.total >= 0);
                if let Some(Datum::Int(at)) = value {
                    let mut order = self.plain_order(at);
                    order.status = "returned".to_owned();
                    order.total = -order.total;
                    sketch.orders.push(order);
                }
            }
            "p.usual_gap_days" => match value {
                Some(Datum::Real(gap)) => self.set_rhythm(sketch, gap),
                _ => self.set_orders(sketch, i64::from(self.moment.today % 2 == 0)),
            },
            sql => match value {
                Some(Datum::Int(number)) => self.set_of_orders(sketch, sql, number),
                _ => {
                    // Of one order there is no gap and none before; of none there is nothing.
                    let number = if matches!(sql, "p.previous_order_at" | "p.last_gap_days") { 1 } else { 0 };
                    self.set_orders(sketch, number);
                }
            },
        }
    }

    /// Numbers and instants of orders.
    fn set_of_orders(&mut self, sketch: &mut Sketch, sql: &str, number: i64) {
        match sql {
            "p.orders" => return self.set_orders(sketch, number),
            "p.f" => return self.set_frequency(sketch, number),
            "p.purchase_days" | "p.frequency" => {
                let days = number + i64::from(sql == "p.frequency");
                let last = self.draws.one_of(&self.pool.ages).copied().unwrap_or(0);
                let instants = (0..days.clamp(0, 120)).map(|n| self.noon(last + 7 * n)).collect();
                return sketch.move_orders(instants, |at| self.plain_order(at));
            }
            "p.revenue" => return self.set_revenue(sketch, number),
            _ => {}
        }
        if sketch.counted().is_empty() {
            self.set_orders(sketch, 1);
        }
        let mut instants: Vec<Millis> = sketch.counted().into_iter().map(|i| sketch.orders[i].at).collect();
        let last = *instants.last().expect("there is an order");
        match sql {
            "p.average_order" => {
                for i in sketch.counted() {
                    sketch.orders[i].total = number.max(0);
                }
                return;
            }
            "p.r" => {
                sketch.r = number.clamp(1, 5);
                return;
            }
            "p.m" => {
                let place = (number.clamp(1, 5) - 1) as f64 * 20.0 + 10.0;
                let revenue = super::sketch::revenue();
                sketch.percentiles.insert(revenue.sql, (revenue, place));
                return;
            }
            "p.first_order_at" | "p.days_since_first_order" => {
                let at = if sql == "p.first_order_at" { number } else { self.noon(number) };
                instants[0] = at;
                for other in &mut instants[1..] {
                    // Those that would come before it are spread over the time after it.
                    if *other < at {
                        *other = at + (self.moment.as_of - at) / (2 + self.draws.below(5) as i64);
                    }
                }
            }
            "p.last_order_at" | "p.days_since_last_order" => {
                let at = if sql == "p.last_order_at" { number } else { self.noon(number) };
                // The whole history moves, so that its rhythm stays.
                let days = day::day_number(at, &self.moment.zone) - day::day_number(last, &self.moment.zone);
                for other in &mut instants {
                    *other += days * DAY;
                }
                let end = instants.len() - 1;
                instants[end] = at;
            }
            "p.recency_days" => {
                let first = day::day_number(last, &self.moment.zone) - number;
                if number == 0 {
                    instants = vec![last];
                } else {
                    instants[0] = self.noon(self.moment.today - first);
                    if instants.len() == 1 {
                        instants.push(last);
                    }
                }
            }
            "p.previous_order_at" | "p.last_gap_days" => {
                let before = if sql == "p.previous_order_at" {
                    number
                } else {
                    self.noon(self.moment.today - day::day_number(last, &self.moment.zone) + number)
                };
                instants.pop();
                instants.retain(|at| *at < before);
                instants.push(before);
                let after = if last > before + DAY { last } else { before + 2 * DAY };
                instants.push(after.min(self.moment.as_of));
            }
            _ => {}
        }
        sketch.move_orders(instants, |at| self.plain_order(at));
    }

    /// Orders in this rhythm, as many as are there or three.
    fn set_rhythm(&mut self, sketch: &mut Sketch, gap: f64) {
        let days = gap.round().max(1.0) as i64;
        let number = (sketch.counted().len() as i64).clamp(3, 12);
        let last = self.draws.one_of(&self.pool.ages).copied().unwrap_or(0);
        let mut ages: Vec<i64> = (0..number).map(|n| last + days * n).collect();
        // The median of two gaps is their middle: a half comes from one longer gap.
        if gap.fract() != 0.0 {
            ages = vec![last, last + gap.floor() as i64, last + gap.floor() as i64 + gap.ceil() as i64];
        }
        let instants = ages.into_iter().map(|age| self.noon(age)).collect();
        sketch.move_orders(instants, |at| self.plain_order(at));
    }

    fn set_revenue(&mut self, sketch: &mut Sketch, revenue: i64) {
        let gross: i64 = sketch.orders.iter().filter(|o| o.is_counted()).map(|o| o.total).sum();
        if gross > revenue && self.draws.percent(50) {
            // What was bought stays; the rest came back.
            sketch.orders.retain(|o| o.is_counted());
            let at = self.any_instant();
            sketch.orders.push(Order { status: "returned".to_owned(), total: revenue - gross, ..self.plain_order(at) });
            return;
        }
        sketch.orders.retain(|o| o.is_counted());
        if sketch.orders.is_empty() && revenue != 0 {
            self.set_orders(sketch, 1);
        }
        let count = sketch.orders.len() as i64;
        for (n, order) in sketch.orders.iter_mut().enumerate() {
            let part = revenue.max(0) / count;
            order.total = if n == 0 { revenue.max(0) - part * (count - 1) } else { part };
        }
        if revenue < 0 {
            let back = self.plain_order(self.moment.as_of - DAY);
            sketch.orders.push(Order { status: "returned".to_owned(), total: revenue, ..back });
        }
    }

    fn set_category(&mut self, sketch: &mut Sketch, value: Option<Datum>) {
        let Some(Datum::Text(category)) = value else {
            for line in sketch.orders.iter_mut().flat_map(|o| &mut o.lines) {
                line.category = None;
            }
            return;
        };
        if sketch.counted().is_empty() {
            self.set_orders(sketch, 1);
        }
        let most: i64 = sketch.orders.iter().flat_map(|o| &o.lines).map(|l| l.amount.max(0)).sum();
        let into = sketch.counted()[0];
        let order = &mut sketch.orders[into];
        let amount = most + order.total.max(1);
        order.lines.push(LineRow { category: Some(category), ..plain_line(amount) });
        order.total = order.total.max(amount);
    }

    /// What follows from the latest events, and from tickets.
    fn set_events(&mut self, sketch: &mut Sketch, sql: &str, value: Option<Datum>) {
        let whole = if let Some(Datum::Int(n)) = value { Some(n) } else { None };
        let some_time = self.any_instant();
        match sql {
            "p.last_viewed_at" | "p.last_viewed_sku" => {
                let until = if sql == "p.last_viewed_at" { whole } else { None };
                let is_view = |e: &EventRow| e.name == "product.viewed" && e.sku.is_some();
                sketch.events.retain(|e| !is_view(e) || until.is_some_and(|until| e.at < until));
                if let Some(value) = value {
                    let mut view = plain_event(until.unwrap_or(some_time), "product.viewed");
                    view.sku = Some(if let Datum::Text(sku) = value { sku } else { "SKU-1".to_owned() });
                    sketch.events.push(view);
                }
            }
            "p.last_event_at" => {
                sketch.events.retain(|e| whole.is_some_and(|until| e.at < until));
                sketch.events.extend(whole.map(|at| plain_event(at, "product.viewed")));
            }
            "p.last_rating" | "p.last_rating_at" => {
                let until = if sql == "p.last_rating_at" { whole } else { None };
                let is_rated = |e: &EventRow| crate::profile::is_rating(&e.name) && e.score.is_some();
                sketch.events.retain(|e| !is_rated(e) || until.is_some_and(|until| e.at < until));
                let Some(value) = value else { return };
                let Some(name) = self.draws.one_of(&self.pool.rated).cloned() else { return };
                let mut rated = plain_event(until.unwrap_or(some_time), &name);
                rated.score = Some(if let Datum::Real(score) = value { score } else { 4.0 });
                sketch.events.push(rated);
            }
            _ => {
                sketch.events.retain(|e| e.name != "ticket.opened");
                let closed = sketch.events.iter().filter(|e| e.name == "ticket.closed").count() as i64;
                let open = whole.unwrap_or(0).clamp(0, TICKETS_MAX);
                let opened = if open > 0 { open + closed } else { 0 };
                let at = some_time.min(clock::days_before(self.moment.as_of, 0, &self.moment.zone));
                sketch.events.extend((0..opened).map(|_| plain_event(at, "ticket.opened")));
            }
        }
    }
}
