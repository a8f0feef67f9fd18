//! A person as a case describes them, who stands in no database.
//!
//! What is stated of the customer holds, whatever orders and events would say; what is not stated is derived from them. `orders: 6` with
//! `last_order: 200d ago` and no list of orders stands for six plain orders, so that rules about orders see them too.

mod rows;

use super::person::{ConsentRow, CustomerRow, Datum, MessageRow, OrderRow, Overrides, Person};
use crate::clock::{self, DAY, HOUR, Millis};
use crate::money;
use crate::problem::{Place, Problems, nearest};
use crate::profile::fields::{FIELDS, Field, Kind, SCORE_PREFIX, SCORES, field, numeric, score};
use crate::profile::{Moment, Rfm, Stage, frequency_score};
use crate::settings::Settings;
use crate::yaml::{MapReader, Node, Span};

/// The id of a person who stands in no database.
pub(super) const CUSTOMER_ID: &str = "given";
/// The instant people are decided at where nothing names one; fixed, so that tests mean the same every day.
pub(super) const NOW_DEFAULT: &str = "2026-07-01T12:00";
/// The days between plain orders when nothing tells.
const GAP_DAYS_DEFAULT: f64 = 30.0;
/// The most orders and events that one line stands for.
const TIMES_MAX: i64 = 1_000;

/// What is said in days before the instant of a test, by the SQL of the field; the instants themselves are known too.
const MOVING: [&str; 2] = ["p.days_since_first_order", "p.days_since_last_order"];
/// What a further order makes anew, whatever was said before.
const OF_ORDERS: [&str; 13] = [
    "p.orders",
    "p.purchase_days",
    "p.frequency",
    "p.revenue",
    "p.average_order",
    "p.last_order_at",
    "p.previous_order_at",
    "p.recency_days",
    "p.last_gap_days",
    "p.r",
    "p.f",
    "p.m",
    "p.top_category",
];
/// The same of a further event.
const OF_EVENTS: [&str; 6] =
    ["p.last_viewed_at", "p.last_viewed_sku", "p.open_tickets", "p.last_rating", "p.last_rating_at", "p.last_event_at"];

/// The given facts.
#[derive(Debug, Clone)]
pub struct Given {
    pub(super) person: Person,
}

impl Default for Given {
    fn default() -> Given {
        let mut person = Person::default();
        person.facts.customer_id = CUSTOMER_ID.to_owned();
        person.customer.attributes = "{}".to_owned();
        Given { person }
    }
}

impl Given {
    /// Read the facts that stand among other keys of `m`, relative to `now`.
    pub fn read_from(m: &mut MapReader, now: Millis, settings: &Settings, problems: &mut Problems) -> Given {
        facts(m, now, settings, problems)
    }

    /// The same person as time goes by: what was said in days since then moves on with the clock.
    pub fn as_time_passes(mut self) -> Given {
        self.person.given.fields.retain(|sql, _| !MOVING.contains(sql));
        self
    }

    /// The same person at a later instant, with what has happened since, as it stands among other keys of `m`. What orders and events tell anew
    /// takes the place of what was said before.
    pub fn later(&self, m: &mut MapReader, now: Millis, settings: &Settings, problems: &mut Problems) -> Given {
        let reader = Reader { now, settings, happens_now: true };
        let mut person = self.person.clone();
        let stated = reader.stated(m, problems);
        let before = (person.rows.orders.len(), person.rows.events.len());
        reader.rows(m, &mut person, problems);
        if person.rows.orders.len() > before.0 {
            person.given.fields.retain(|sql, _| !OF_ORDERS.contains(sql));
            (person.given.rfm, person.given.stage, person.given.tier) = (None, None, None);
        }
        if person.rows.events.len() > before.1 {
            person.given.fields.retain(|sql, _| !OF_EVENTS.contains(sql));
        }
        person.derive(&settings.time_zone);
        person.facts.customer_id = CUSTOMER_ID.to_owned();
        person.given.fields.extend(stated.overrides.fields);
        person.given.rfm = stated.overrides.rfm.or(person.given.rfm);
        person.given.stage = stated.overrides.stage.or(person.given.stage);
        person.given.tier = stated.overrides.tier.or(person.given.tier.take());
        if let Some(consent) = stated.consent {
            let granted = |topic| ConsentRow { at: now, topic, granted: true };
            person.rows.consents = consent.into_iter().map(granted).collect();
        }
        let known: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&person.customer.attributes).unwrap_or_default();
        let all: serde_json::Map<_, _> = known.into_iter().chain(stated.attributes).collect();
        person.customer.attributes = serde_json::Value::Object(all).to_string();
        Given { person }.as_time_passes()
    }

    /// With mail of a campaign that they had since: steps, and when.
    pub fn with_received<'s>(&self, campaign: &str, sent: impl IntoIterator<Item = (&'s str, Millis)>) -> Given {
        let mut given = self.clone();
        let row = |(step, at): (&str, Millis)| MessageRow {
            at,
            campaign: campaign.to_owned(),
            step: step.to_owned(),
            state: "accepted".to_owned(),
        };
        given.person.rows.messages.extend(sent.into_iter().map(row));
        given
    }

    /// Whether they agreed to a topic.
    pub fn consents(&self, topic: &str) -> bool {
        self.person.rows.consents.iter().any(|c| c.topic == topic && c.granted)
    }

    /// When they received something of a campaign.
    pub fn received(&self, campaign: &str) -> impl Iterator<Item = Millis> {
        self.person.rows.messages.iter().filter(move |m| m.campaign == campaign).map(|m| m.at)
    }

    /// A field as text; `None` when it is not known.
    pub fn text(&self, name: &str, moment: &Moment) -> Option<String> {
        match self.person.field(field(name)?, moment)? {
            Datum::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A field as a number; `None` when it is not known.
    pub fn number(&self, name: &str, moment: &Moment) -> Option<f64> {
        self.person.field(field(name)?, moment)?.as_f64()
    }
}

/// `200d ago`, a date, or an instant, relative to `now`.
pub fn instant(node: &Node, now: Millis, settings: &Settings, problems: &mut Problems) -> Option<Millis> {
    Reader { now, settings, happens_now: false }.instant(node, problems)
}

/// The instant of a test: its `now`, or [`NOW_DEFAULT`].
pub fn now(m: &mut MapReader, settings: &Settings, problems: &mut Problems) -> Option<Millis> {
    let zone = &settings.time_zone;
    let Some(node) = m.node("now") else { return clock::parse_instant(NOW_DEFAULT, zone) };
    let text = node.read::<String>("`now`", problems)?;
    let at = clock::parse_instant(&text, zone);
    if at.is_none() {
        problems
            .error("bad-instant", &node.place, format!("`{text}` is not an instant"))
            .hint("write 2026-11-24 or 2026-11-24T09:00");
    }
    at
}

/// Read `given`, relative to the case's instant.
pub(super) fn read(node: &Node, now: Millis, settings: &Settings, problems: &mut Problems) -> Option<Given> {
    let mut m = node.map("`given`", problems)?;
    let given = facts(&mut m, now, settings, problems);
    m.finish(problems);
    Some(given)
}

fn facts(m: &mut MapReader, now: Millis, settings: &Settings, problems: &mut Problems) -> Given {
    let reader = Reader { now, settings, happens_now: false };
    let mut stated = reader.stated(m, problems);
    let mut person = Given::default().person;
    reader.rows(m, &mut person, problems);
    if let Some(mut p) = m.map("percentile", "`percentile`", problems) {
        for pair in p.all() {
            let known = numeric(&pair.key).or_else(|| score(&pair.key)).filter(|f| f.kind.is_numeric());
            let value = pair.value.read::<f64>("a percentile", problems);
            match known {
                Some(field) => stated.overrides.percentiles.extend(value.map(|v| (field.sql, v))),
                None => {
                    problems
                        .error("unknown-field", &pair.key_place, format!("`{}` is no number of a customer", pair.key))
                        .did_you_mean(&pair.key, crate::profile::fields::number_names());
                }
            }
        }
    }
    reader.complete(&mut person, stated);
    Given { person }
}

/// What is said of the customer.
#[derive(Default)]
struct Stated {
    overrides: Overrides,
    attributes: serde_json::Map<String, serde_json::Value>,
    consent: Option<Vec<String>>,
}

struct Reader<'a> {
    now: Millis,
    settings: &'a Settings,
    /// What says no `at` happens now.
    happens_now: bool,
}

impl Reader<'_> {
    /// What `customer` says.
    fn stated(&self, m: &mut MapReader, problems: &mut Problems) -> Stated {
        let mut stated = Stated::default();
        if let Some(mut c) = m.map("customer", "the customer", problems) {
            for pair in c.all() {
                self.customer(&pair.key, &pair.key_place, &pair.value, &mut stated, problems);
            }
        }
        stated
    }

    fn customer(&self, key: &str, place: &Place, value: &Node, stated: &mut Stated, problems: &mut Problems) {
        let alias = match key {
            "last_order" => "last_order_at",
            "first_order" => "first_order_at",
            "last_viewed" => "last_viewed_at",
            "first_seen" => "first_seen_at",
            other => other,
        };
        match key {
            "consent" => stated.consent = value.read_list::<String>("`consent`", problems),
            "rfm" => stated.overrides.rfm = word(value, key, Rfm::from_name, Rfm::ALL.map(Rfm::name), problems),
            "lifecycle" => {
                stated.overrides.stage = word(value, key, Stage::from_name, Stage::ALL.map(Stage::name), problems);
            }
            "tier" => {
                let names: Vec<&str> =
                    self.settings.loyalty.iter().flat_map(|l| l.tiers.iter().map(|t| t.0.as_str())).collect();
                let found = |w: &str| names.contains(&w).then(|| w.to_owned());
                stated.overrides.tier = word(value, key, found, names.iter().copied(), problems);
            }
            _ => {
                let known = key.strip_prefix(SCORE_PREFIX).map_or_else(|| field(alias), score);
                match known {
                    Some(field) => {
                        let datum = self.value(field, value, problems);
                        stated.overrides.fields.extend(datum.map(|d| (field.sql, d)));
                    }
                    None => self.attribute(key, place, value, stated, problems),
                }
            }
        }
    }

    /// A column of the shop's own, checked by the contract like a rule's.
    fn attribute(&self, key: &str, place: &Place, value: &Node, stated: &mut Stated, problems: &mut Problems) {
        let name = key.strip_prefix("attribute.").unwrap_or(key);
        let fields = || FIELDS.iter().map(|f| f.name);
        match &self.settings.contract {
            Some(contract) if !contract.customer.contains_key(name) => {
                let known = fields().chain(contract.customer.keys().map(String::as_str));
                problems
                    .error(
                        "unknown-field",
                        place,
                        format!("`{name}` is neither a field nor a column that the contract declares"),
                    )
                    .did_you_mean(name, known.collect::<Vec<_>>());
                return;
            }
            None if name == key => {
                let scores = SCORES.iter().map(|s| s.name);
                if let Some(near) = nearest(name, fields().chain(scores)) {
                    problems
                        .error("unknown-field", place, format!("`{name}` is not a field of a customer"))
                        .hint(format!("did you mean `{near}`? A column of your own is written `attribute.{name}`"));
                    return;
                }
            }
            _ => {}
        }
        stated.attributes.insert(name.to_owned(), value.to_json());
    }

    fn value(&self, field: &Field, node: &Node, problems: &mut Problems) -> Option<Datum> {
        let what = format!("`{}`", field.name);
        match field.kind {
            Kind::Text => node.read::<String>(&what, problems).map(Datum::Text),
            Kind::Number | Kind::Days => node.read::<i64>(&what, problems).map(Datum::Int),
            Kind::Real => node.read::<f64>(&what, problems).map(Datum::Real),
            Kind::Money => self.money(node, &what, problems).map(Datum::Int),
            Kind::Instant => self.instant(node, problems).map(Datum::Int),
        }
    }

    fn money(&self, node: &Node, what: &str, problems: &mut Problems) -> Option<i64> {
        let major = node.read::<f64>(what, problems)?;
        let minor = money::to_minor(major, &self.settings.currency);
        if minor.is_none() {
            let currency = &self.settings.currency;
            problems.error("bad-amount", &node.place, format!("{major} is not an amount of {currency}"));
        }
        minor
    }

    /// `200d ago`, a date, or an instant.
    fn instant(&self, node: &Node, problems: &mut Problems) -> Option<Millis> {
        let text = node.read::<String>("an instant", problems)?;
        let zone = &self.settings.time_zone;
        let at = match text.trim().strip_suffix("ago") {
            Some(span) => match Span::parse(span)? {
                // The same hour of the day, so that "3d ago" lies inside of `in_last: 3d`.
                Span::Days(days) => {
                    let midnight = clock::days_before(self.now, 0, zone);
                    Some(clock::days_before(self.now, days, zone) + (self.now - midnight).min(DAY - 1))
                }
                Span::Exact(ms) => Some(self.now - ms),
            },
            None => clock::parse_instant(&text, zone),
        };
        if at.is_none() {
            problems
                .error("bad-instant", &node.place, format!("`{text}` is not an instant"))
                .hint("write 40d ago, 2026-11-24 or 2026-11-24T09:00");
        }
        at
    }

    /// Derive what was not stated.
    fn complete(&self, person: &mut Person, stated: Stated) {
        let zone = &self.settings.time_zone;
        let whole = |sql: &str| match stated.overrides.fields.get(sql) {
            Some(Datum::Int(i)) => Some(*i),
            _ => None,
        };
        let days_ago = |sql: &str| whole(sql).map(|days| clock::days_before(self.now, days, zone) + 12 * HOUR);
        let last = whole("p.last_order_at").or_else(|| days_ago("p.days_since_last_order"));
        let first = whole("p.first_order_at").or_else(|| days_ago("p.days_since_first_order"));
        if person.rows.orders.is_empty() {
            let dated = last.or(first);
            let number = whole("p.orders").unwrap_or_else(|| i64::from(dated.is_some())).clamp(0, TIMES_MAX);
            let gap = match stated.overrides.fields.get("p.usual_gap_days") {
                Some(Datum::Real(days)) => *days,
                _ => GAP_DAYS_DEFAULT,
            };
            let last = last.unwrap_or_else(|| {
                first.map_or(self.now - DAY, |first| first + ((number - 1) as f64 * gap * DAY as f64) as i64)
            });
            let last = last.min(self.now.max(first.unwrap_or(self.now)));
            let step = match first {
                Some(first) if number > 1 => (last - first) as f64 / (number - 1) as f64,
                _ => gap * DAY as f64,
            };
            let revenue = whole("p.revenue").map(|r| if number > 0 { r / number } else { 0 });
            let total = whole("p.average_order").or(revenue).unwrap_or(0);
            let currency = self.settings.currency.clone();
            person.rows.orders = (0..number)
                .map(|n| OrderRow {
                    at: last - (n as f64 * step) as i64,
                    total,
                    currency: currency.clone(),
                    status: "placed".to_owned(),
                })
                .collect();
        }
        person.derive(zone);
        person.facts.customer_id = CUSTOMER_ID.to_owned();
        person.customer = CustomerRow {
            attributes: serde_json::Value::Object(stated.attributes).to_string(),
            first_seen_at: person.facts.first_order_at.unwrap_or(self.now),
            ..CustomerRow::default()
        };
        person.rows.consents = stated
            .consent
            .unwrap_or_default()
            .into_iter()
            .map(|topic| ConsentRow { at: self.now, topic, granted: true })
            .collect();
        let stated_r = whole("p.r");
        person.given = stated.overrides;
        // R as stated and F from the orders name the cell.
        if let (None, Some(r)) = (person.given.rfm, stated_r)
            && let Some(f) = frequency_score(person.facts.orders)
        {
            person.given.rfm = Some(Rfm::of(r, f));
        }
    }
}

/// One of a few words.
fn word<'w, T>(
    node: &Node,
    key: &str,
    found: impl Fn(&str) -> Option<T>,
    known: impl IntoIterator<Item = &'w str> + Clone,
    problems: &mut Problems,
) -> Option<T> {
    let word = node.read::<String>(&format!("`{key}`"), problems)?;
    let value = found(&word);
    if value.is_none() {
        problems.error("unknown-word", &node.place, format!("`{key}` has no `{word}`")).did_you_mean(&word, known);
    }
    value
}
