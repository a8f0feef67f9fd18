//! The JSON Schema of segment files, of rules, and of people given in tests.

use serde_json::{Value, json};

use super::check::CHECK_KEYS;
use super::read::ORDERS;
use super::rule::BANDS;
use super::ty::Ty;
use crate::profile::fields::{FIELDS, Field, Kind, SCORE_PREFIX, SCORES, number_names};
use crate::profile::{Rfm, Stage, is_rating};
use crate::settings::{PropertyType, Settings};
use crate::yaml::schema::{
    Object, anything, by_key, each, either, file, flag, list, named, number, one_or_list, proposed, share, span, text,
    whole, words,
};

/// Windows of rows and instants.
const WINDOW_KEYS: [&str; 5] = ["in_last", "more_than_ago", "between", "since", "days_after"];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Facts of a given person under shorter names.
const ALIASES: [&str; 4] = ["last_order", "first_order", "last_viewed", "first_seen"];

/// The project's own names.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    pub settings: &'a Settings,
    pub segments: &'a [&'a str],
    pub campaigns: &'a [&'a str],
}

/// The schema of a file in `campaigns/segments/`.
pub fn segment_file(names: Names<'_>) -> Value {
    let pick = Object::new("`pick`")
        .key(
            "top",
            Object::new("`top`")
                .needs("by", words(numbers()), "A number of the customer to order by")
                .key("share", share(), "How large a part")
                .key("count", whole(1), "How many people")
                .closed(),
            "The first by a number",
        )
        .key(
            "sample",
            Object::new("`sample`")
                .needs("share", share(), "How large a part")
                .needs("salt", text(), "Any word; another word draws other people")
                .closed(),
            "Some by chance, the same every time",
        );
    let root = Object::new("a segment")
        .needs("segment", text(), "Its name: small letters, digits, _ and -")
        .key("title", text(), "For people")
        .needs("where", named("rule"), "Who is in it")
        .key("pick", pick.closed(), "Who of them is taken")
        .key("tests", list(test(names)), "What the set is like, and who is in it; run by `okaeri test`")
        .key("watched", flag(), "Looked at in lists and reports, used by no campaign");
    file("A segment of Okaeri: docs/segments.md", root.closed(), definitions(names))
}

/// What rules and given people refer to by name.
pub fn definitions(names: Names<'_>) -> Vec<(&'static str, Value)> {
    vec![
        ("rule", rule(names)),
        ("comparison", comparison()),
        ("value", either(named("comparison"), one_or_list(json!({ "type": ["string", "number", "boolean"] })))),
        ("count", either(named("comparison"), json!({ "type": "number" }))),
    ]
}

fn rule(names: Names<'_>) -> Value {
    let settings = names.settings;
    let group = |key, meaning| {
        this().needs(key, json!({ "type": "array", "items": named("rule"), "minItems": 1 }), meaning).closed()
    };
    let segments = || one_or_list(words(names.segments.iter().copied()));
    let topics = words(settings.topics.iter().map(|t| t.name.as_str()));
    let tiers = words(settings.loyalty.iter().flat_map(|l| l.tiers.iter().map(|t| t.0.as_str())));
    by_key(vec![
        ("all", group("all", "Every one of these holds")),
        ("any", group("any", "At least one of these holds")),
        ("none", group("none", "None of these holds")),
        ("did", did("did", this(), names)),
        ("did_not", did("did_not", this(), names)),
        ("last", last(names)),
        ("bought", bought("bought", this(), names).closed()),
        ("bought_not", bought("bought_not", this(), names).closed()),
        ("funnel", this().needs("funnel", funnel(names), "One thing after the other").closed()),
        ("customer", customer(settings)),
        ("score", score()),
        (
            "rfm",
            this().needs("rfm", one_or_list(words(Rfm::ALL.map(Rfm::name))), "Cells of recency and frequency").closed(),
        ),
        (
            "lifecycle",
            this().needs("lifecycle", one_or_list(words(Stage::ALL.map(Stage::name))), "Stages of life").closed(),
        ),
        ("tier", this().needs("tier", one_or_list(tiers), "Loyalty tiers of okaeri.yaml").closed()),
        ("in_segment", this().needs("in_segment", segments(), "In any of these segments").closed()),
        ("consent", this().needs("consent", topics, "Agreed to a topic").closed()),
        ("received", messages("received", names)),
        ("clicked", messages("clicked", names)),
    ])
}

/// What readers call every leaf and group.
fn this() -> Object {
    Object::new("this rule")
}

fn window() -> Object {
    let instant = || json!({ "type": "string" });
    let anchors: Vec<&str> = FIELDS.iter().filter(|f| f.kind == Kind::Instant).map(|f| f.name).collect();
    let days = json!({ "type": "array", "items": { "type": "integer" }, "minItems": 2, "maxItems": 2 });
    let anchored = anchors.iter().map(|name| ((*name).to_owned(), days.clone())).collect::<serde_json::Map<_, _>>();
    let since = anchors.iter().copied().chain(["entry"]);
    Object::new("a window")
        .key("in_last", span(), "Not longer ago than this")
        .key("more_than_ago", span(), "Longer ago than this")
        .key("between", json!({ "type": "array", "items": instant(), "minItems": 2, "maxItems": 2 }), "Two dates, both inside")
        .key("since", proposed(since), "From a date, or from an instant of the customer")
        .key(
            "days_after",
            json!({ "type": "object", "properties": anchored, "additionalProperties": false, "minProperties": 1, "maxProperties": 1 }),
            "So many days after an instant of the customer: { first_order_at: [1, 30] }",
        )
}

/// The window of rows: also on which days of the week.
fn row_window() -> Object {
    window().key("weekday", weekdays(), "On these days of the week")
}

fn weekdays() -> Value {
    one_or_list(
        json!({ "type": "string", "pattern": "^([Mm]on|[Tt]ue|[Ww]ed|[Tt]hu|[Ff]ri|[Ss]at|[Ss]un)" , "examples": WEEKDAYS }),
    )
}

/// The comparisons, each with what it may compare with.
fn checks() -> Object {
    let scalar = || json!({ "type": ["string", "number", "boolean"] });
    let field = Object::new("a comparison with a field")
        .needs(
            "field",
            words(number_names().map(str::to_owned).chain(prefixed())),
            "Another number or instant of the customer",
        )
        .key("multiplied_by", number(), "")
        .key("plus", json!({ "type": ["string", "number"] }), "A number, or a length of time such as -12h")
        .closed();
    let ordered = || either(field.clone(), json!({ "type": ["string", "number"] }));
    let anniversary = Object::new("an anniversary").key("in_last", span(), "").key("in_next", span(), "").closed();
    let mut all = Object::new("a comparison");
    for key in CHECK_KEYS {
        let (value, meaning) = match key {
            "gte" => (ordered(), "At least"),
            "gt" => (ordered(), "More than"),
            "lte" => (ordered(), "At most"),
            "lt" => (ordered(), "Less than"),
            "between" => (json!({ "type": "array", "minItems": 2, "maxItems": 2 }), "Two values, both inside"),
            "eq" | "in" => (one_or_list(scalar()), "One of these"),
            "exists" => (flag(), "Whether it is known"),
            "has" => (one_or_list(text()), "A list that holds one of these"),
            "anniversary" => (either(anniversary.clone(), words(["today"])), "The day of the year is near"),
            "day_of_month" => (one_or_list(json!({ "type": "integer", "minimum": 1, "maximum": 31 })), ""),
            "weekday" => (weekdays(), ""),
            "matches" => (text(), "`*` stands for any run of characters, `?` for one"),
            _ => (text(), ""),
        };
        all = all.key(key, value, meaning);
    }
    all
}

fn comparison() -> Value {
    checks().closed()
}

fn of(what: &'static str, properties: Value) -> Value {
    Object::new(what).needs("of", properties, "The property").with(checks()).closed()
}

/// `did` and `did_not`; on a funnel's step too.
fn did(key: &'static str, object: Object, names: Names<'_>) -> Value {
    let schema = object
        .needs(key, events(names.settings), "An event; `order.placed` and `order.returned` are orders")
        .key("with", each(named("value")), "What the event is like")
        .key("times", named("count"), "How often")
        .key("sum", of("`sum`", text()), "A property added up")
        .key("distinct", of("`distinct`", text()), "How many different values of a property")
        .with(row_window())
        .closed();
    with_properties(schema, key, names.settings)
}

fn last(names: Names<'_>) -> Value {
    let schema = this()
        .needs("last", events(names.settings), "The latest such event")
        .needs("with", each(named("value")), "What it is like")
        .with(row_window())
        .closed();
    with_properties(schema, "last", names.settings)
}

/// The events there are: those of the contract, or any.
fn events(settings: &Settings) -> Value {
    match &settings.contract {
        Some(contract) => words(contract.events.keys().map(String::as_str).chain(ORDERS)),
        None => proposed(ORDERS),
    }
}

/// Beside an event, the properties it has: known for orders, and for events from the contract.
fn with_properties(mut schema: Value, key: &str, settings: &Settings) -> Value {
    let mut known: Vec<(String, Vec<(String, Value)>)> = ORDERS
        .iter()
        .map(|event| {
            ((*event).to_owned(), ["total", "currency", "status"].map(|p| (p.to_owned(), named("value"))).to_vec())
        })
        .collect();
    for (event, properties) in settings.contract.iter().flat_map(|c| &c.events) {
        let mut of: Vec<(String, Value)> = properties.iter().map(|(name, ty)| (name.clone(), declared(ty))).collect();
        if is_rating(event) && properties.contains_key("score") {
            of.push(("rating".to_owned(), named("value")));
        }
        known.push((event.clone(), of));
    }
    let rules: Vec<Value> = known
        .into_iter()
        .map(|(event, properties)| {
            let properties: serde_json::Map<String, Value> = properties.into_iter().collect();
            json!({
                "if": { "properties": { key: { "const": event } }, "required": [key] },
                "then": { "properties": { "with": { "properties": properties, "additionalProperties": false } } },
            })
        })
        .collect();
    schema["allOf"] = rules.into();
    schema
}

/// A value that the contract declares.
fn declared(ty: &PropertyType) -> Value {
    match ty {
        PropertyType::Words(list) => either(named("comparison"), one_or_list(words(list.iter().map(String::as_str)))),
        _ => named("value"),
    }
}

fn bought(key: &'static str, object: Object, names: Names<'_>) -> Object {
    let columns = ["sku", "category", "quantity", "amount", "name", "price"];
    let what = match &names.settings.contract {
        Some(contract) => {
            let own = contract.product.iter().map(|(name, ty)| (name.clone(), declared(ty)));
            let all: serde_json::Map<String, Value> =
                columns.iter().map(|c| ((*c).to_owned(), named("value"))).chain(own).collect();
            json!({ "type": ["object", "null"], "properties": all, "additionalProperties": false })
        }
        None => json!({ "type": ["object", "null"], "additionalProperties": named("value") }),
    };
    object
        .needs(key, what, "What was bought: category, sku, quantity, amount, or a property of the product")
        .key("orders", named("count"), "In how many orders")
        .key("quantity", named("count"), "How many pieces")
        .key("amount", named("count"), "For how much")
        .key("sum", of("`sum`", text()), "A property added up")
        .key("distinct", of("`distinct`", text()), "How many different values of a property")
        .with(row_window())
}

fn funnel(names: Names<'_>) -> Value {
    let step = || Object::new("a step of a funnel").key("within_after", span(), "So long after the step before");
    let steps = by_key(vec![
        ("did", did("did", step(), names)),
        ("did_not", did("did_not", step(), names)),
        ("bought", bought("bought", step(), names).closed()),
        ("bought_not", bought("bought_not", step(), names).closed()),
    ]);
    json!({ "type": "array", "items": steps, "minItems": 2, "maxItems": 8 })
}

fn messages(key: &'static str, names: Names<'_>) -> Value {
    let campaign = || proposed(names.campaigns.iter().copied());
    let step = Object::new("the name of a campaign").needs("campaign", campaign(), "").key("step", text(), "");
    this()
        .needs(key, either(step.closed(), campaign()), "A campaign, or { campaign: …, step: … }")
        .key("times", named("count"), "How often")
        .with(row_window())
        .closed()
}

/// A field or column of the customer, with the comparisons that fit its type.
fn customer(settings: &Settings) -> Value {
    let own = settings.contract.as_ref().map(|c| &c.customer);
    let fields = FIELDS.iter().map(|f| f.name.to_owned());
    let name = match own {
        Some(own) => {
            words(fields.chain(own.keys().flat_map(|n| [n.clone(), format!("attribute.{n}")])).chain(prefixed()))
        }
        None => proposed(fields),
    };
    let mut schema = compared(this().needs("customer", name, "A field, or a column of your own")).closed();
    let mut rules: Vec<Value> = Vec::new();
    for kind in [Kind::Number, Kind::Days, Kind::Real, Kind::Money, Kind::Instant, Kind::Text] {
        let of_kind: Vec<&str> = FIELDS.iter().filter(|f| f.kind == kind).map(|f| f.name).collect();
        if !of_kind.is_empty() {
            rules.push(fits("customer", json!({ "enum": of_kind }), &Ty::of(kind)));
        }
    }
    for (name, ty) in own.into_iter().flatten() {
        let names = json!({ "enum": [name, format!("attribute.{name}")] });
        let mut rule = fits("customer", names, &Ty::declared(ty));
        if let PropertyType::Words(list) = ty {
            let word = one_or_list(words(list.iter().map(String::as_str)));
            rule["then"]["properties"] = json!({ "eq": word, "in": word });
        }
        rules.push(rule);
    }
    schema["allOf"] = rules.into();
    schema
}

fn score() -> Value {
    let names: Vec<&str> = SCORES.iter().map(|s| s.name).collect();
    let mut schema = compared(this().needs("score", words(names), "What a model predicts")).closed();
    let rules = SCORES.iter().map(|s| fits("score", json!({ "const": s.name }), &Ty::of(s.kind)));
    schema["allOf"] = rules.collect();
    schema
}

fn compared(object: Object) -> Object {
    let percentile = ["gte", "gt", "lte", "lt"].into_iter().fold(Object::new("`percentile`"), |o, key| {
        o.key(key, json!({ "type": "number", "minimum": 0, "maximum": 100 }), "")
    });
    object
        .with(window())
        .with(checks())
        .key("percentile", percentile.closed(), "Where the number stands among all buyers, 0 to 100")
        .key("band", one_or_list(words(BANDS.map(|b| b.0))), "Fifths of all buyers")
}

/// Of the names that fit, only the keys that their type can be compared by.
fn fits(key: &str, names: Value, ty: &Ty) -> Value {
    let mut keys = vec![key];
    keys.extend(ty.keys());
    match ty {
        Ty::Instant => keys.extend(WINDOW_KEYS),
        Ty::Date => keys.extend(["in_last", "more_than_ago"]),
        Ty::Number | Ty::Real | Ty::Money => keys.extend(["percentile", "band"]),
        _ => {}
    }
    json!({
        "if": { "properties": { key: names }, "required": [key] },
        "then": { "propertyNames": { "enum": keys } },
    })
}

/// Scores where fields may be meant too.
fn prefixed() -> impl Iterator<Item = String> + Clone {
    SCORES.iter().map(|s| format!("{SCORE_PREFIX}{}", s.name))
}

fn numbers() -> impl Iterator<Item = String> {
    let orderable = |f: &&Field| f.kind != Kind::Text;
    FIELDS.iter().filter(orderable).map(|f| f.name.to_owned()).chain(prefixed())
}

/// One test of a segment: a case, or what the set is like.
fn test(names: Names<'_>) -> Value {
    let segments = || one_or_list(words(names.segments.iter().copied()));
    let bound = || json!({ "anyOf": [share(), whole(0)] });
    let size = ["gte", "gt", "lte", "lt"].into_iter().fold(Object::new("`size`"), |o, key| o.key(key, bound(), ""));
    let size = size.key("between", json!({ "type": "array", "items": bound(), "minItems": 2, "maxItems": 2 }), "");
    let case = Object::new("a case")
        .needs("case", text(), "What it shows")
        .key("now", text(), "The instant it is asked at")
        .key("given", given(Object::new("`given`"), names).closed(), "The person")
        .needs("expect", words(["in", "out"]), "");
    let set = Object::new("a test of a segment")
        .key("case", anything(), "")
        .key("size", size.closed(), "How many: shares of everybody, or people")
        .key("subset_of", segments(), "Nobody is in it who is not in these")
        .key("disjoint_with", segments(), "Nobody is in both")
        .key("covers", segments(), "Everybody of these is in it");
    json!({ "if": { "required": ["case"] }, "then": case.closed(), "else": set.closed() })
}

/// The facts of a person of a test, as further keys of a mapping.
pub fn given(object: Object, names: Names<'_>) -> Object {
    let row = || Object::new("one of these").needs("at", text(), "40d ago, a date, or an instant");
    object.with(happening(names, row)).key("percentile", each(number()), "Where their numbers stand among all buyers")
}

/// The facts that come with a day of a test.
pub fn given_on_a_day(object: Object, names: Names<'_>) -> Object {
    let row = || Object::new("one of these").key("at", text(), "That day's instant, unless it says 2h ago");
    object.with(happening(names, row))
}

/// What is known of a person, and rows of what they did.
fn happening(names: Names<'_>, row: impl Fn() -> Object) -> Object {
    let message = || {
        let named = row().needs("campaign", proposed(names.campaigns.iter().copied()), "").key("step", text(), "");
        one_or_list(named.closed())
    };
    let line = Object::new("an order line")
        .key("sku", text(), "")
        .key("category", text(), "")
        .key("quantity", whole(0), "")
        .key("amount", number(), "")
        .key("name", text(), "")
        .key("price", number(), "")
        .key("product", json!({ "type": "object" }), "Properties of the product");
    let order = row()
        .key("total", number(), "In the project's currency")
        .key("status", words(["placed", "returned", "cancelled"]), "")
        .key("currency", text(), "")
        .key("lines", one_or_list(line.closed()), "");
    let event = row().needs("did", events(names.settings), "").key("times", whole(1), "").key(
        "with",
        json!({ "type": "object" }),
        "",
    );
    Object::new("")
        .key("customer", known_of(names), "What is known of them")
        .key("orders", one_or_list(order.closed()), "Their orders; without any, plain ones that fit what is known")
        .key("events", one_or_list(event.closed()), "What they did")
        .key("received", message(), "Mail they had")
        .key("clicked", message(), "Mail they clicked in")
}

/// What a test says of a customer: fields, columns of the contract, and a few words of its own.
fn known_of(names: Names<'_>) -> Value {
    let settings = names.settings;
    let mut known = serde_json::Map::new();
    for name in FIELDS.iter().map(|f| f.name).chain(ALIASES) {
        known.insert(name.to_owned(), json!({ "type": ["string", "number"] }));
    }
    for name in prefixed() {
        known.insert(name, json!({ "type": ["string", "number"] }));
    }
    let topics = words(settings.topics.iter().map(|t| t.name.as_str()));
    known.insert("consent".to_owned(), one_or_list(topics));
    known.insert("rfm".to_owned(), words(Rfm::ALL.map(Rfm::name)));
    known.insert("lifecycle".to_owned(), words(Stage::ALL.map(Stage::name)));
    if let Some(loyalty) = &settings.loyalty {
        known.insert("tier".to_owned(), words(loyalty.tiers.iter().map(|t| t.0.as_str())));
    }
    let Some(contract) = &settings.contract else {
        return json!({ "type": "object", "properties": known });
    };
    for (name, ty) in &contract.customer {
        let value = match ty {
            PropertyType::Words(list) => words(list.iter().map(String::as_str)),
            _ => anything(),
        };
        known.insert(format!("attribute.{name}"), value.clone());
        known.insert(name.clone(), value);
    }
    json!({ "type": "object", "properties": known, "additionalProperties": false })
}
