//! The JSON Schemas of okaeri.yaml and contract.yaml.

use serde_json::{Value, json};

use super::brand::NAMES as PALETTE;
use super::contract;
use super::lint::Law;
use super::read::{SOURCE_KINDS, UTM};
use super::rewards::RewardKind;
use crate::address::FAMILIES;
use crate::yaml::schema::{
    Object, clock_time, each, either, file, flag, list, number, one_or_list, share, span, text, variable, whole,
    within, words,
};

/// The schema of okaeri.yaml. `rules` are the codes of the lints there are.
pub fn settings_file(rules: &[&str]) -> Value {
    let sender = Object::new("the sender")
        .key("name", text(), "Who the mail is from, for people")
        .needs("from", text(), "The address it is from")
        .key("reply_to", text(), "Where answers go")
        .key("bounce_domain", text(), "Where undeliverable mail returns to")
        .needs("organisation", text(), "Who is responsible, by name")
        .needs("postal_address", text(), "Where they are");
    let utm = UTM.into_iter().fold(Object::new("links.utm"), |o, key| o.key(key, text(), ""));
    let links = Object::new("links")
        .key("base_url", variable(), "Where `okaeri serve` is reached, https")
        .key("secret", variable(), "${OKAERI_SECRET}: signs links and Message-IDs")
        .key("track", flag(), "Whether clicks are counted")
        .key("utm", utm.closed(), "Parameters for web statistics; {campaign} and {step} are filled in");
    let holdout = Object::new("holdout").key("global", share(), "Held out of all campaigns");
    let root = Object::new("okaeri.yaml")
        .needs("project", text(), "The name of the project; arms and holdouts hang on it")
        .key("time_zone", text(), "An IANA name such as Europe/Berlin")
        .key("currency", json!({ "type": "string", "pattern": "^[A-Z]{3}$" }), "ISO 4217: EUR, USD, JPY")
        .key("default_locale", text(), "For whom nothing is known: en, ja, de")
        .key("database", variable(), "sqlite:FILE, or ${DATABASE_URL}")
        .needs("sender", sender.closed(), "Who writes")
        .key("brand", brand(), "How mail looks, and what it says of the shop")
        .key("smtp", smtp(), "The mail servers that take our mail")
        .key("dkim", dkim(), "Keys that sign all mail")
        .key("links", links.closed(), "")
        .key("compliance", one_or_list(words(Law::ALL.map(Law::word))), "Whose law mail is written for")
        .key("lint", weights(rules), "How much each rule of good mail matters: docs/lint.md")
        .key("guards", guards(), "How much mail a person may get, and when")
        .key("holdout", holdout.closed(), "Who gets nothing, to measure what mail causes")
        .key("lifecycle", lifecycle(), "When somebody is new, drifting, lapsed, lost")
        .key("models", models(), "What predictions go by")
        .key("loyalty", loyalty(), "Tiers")
        .key("rewards", each(reward_pool()), "Pools of what a mail may give: docs/rewards.md")
        .key("topics", topics(), "What people agree to")
        .key("sources", list(source()), "What `okaeri import` reads")
        .key("contract", contract(), "What the shop's own data looks like; or in contract.yaml");
    file("The settings of an Okaeri project: docs/settings.md", root.closed(), vec![])
}

fn brand() -> Value {
    let colour = || json!({ "type": "string", "pattern": "^#[0-9a-fA-F]{6}$" });
    let by_language = || either(each(text()), text());
    let address = || json!({ "type": "string", "pattern": "^https?://" });
    let palette =
        |title| PALETTE.into_iter().fold(Object::new(title), |o, name| o.key(name, colour(), "\"#aa3344\"")).closed();
    let logo = Object::new("brand.logo")
        .needs("url", address(), "The picture")
        .needs("width", whole(1), "In pixels, as it is shown")
        .key("height", whole(1), "In pixels");
    let fonts = || either(each(list(text())), list(text()));
    let stacks = Object::new("brand.fonts").key("heading", fonts(), "[Georgia, serif], or by language").key(
        "text",
        fonts(),
        "[Helvetica, Arial, sans-serif], or by language",
    );
    let contact = Object::new("brand.contact").key("email", text(), "").key("phone", text(), "").key(
        "hours",
        by_language(),
        "When somebody is there",
    );
    Object::new("the brand")
        .key("name", by_language(), "What the shop calls itself in mails")
        .key("tagline", by_language(), "A few words beside the name")
        .key("url", address(), "Where the shop is")
        .key("logo", logo.closed(), "A picture in place of the name")
        .key("colour", colour(), "The accent colour: \"#aa3344\"")
        .key("light", palette("brand.light"), "Colours on light screens")
        .key("dark", palette("brand.dark"), "Colours on dark screens")
        .key("fonts", stacks.closed(), "Font stacks")
        .key("organisation", by_language(), "In place of the sender's, by language")
        .key("postal_address", by_language(), "In place of the sender's, by language")
        .key("contact", contact.closed(), "How to reach the shop")
        .key("social", each(address()), "Where people can follow the shop: Name: address")
        .key("pages", each(address()), "Pages that mails lead to, by names of your own: {{ brand.pages.cart }}")
        .closed()
}

/// The schema of contract.yaml.
pub fn contract_file() -> Value {
    file("The data contract of an Okaeri project: docs/data.md", contract(), vec![])
}

fn contract() -> Value {
    let property =
        json!({ "anyOf": [words(contract::type_names()), { "type": "array", "items": text(), "minItems": 1 }] });
    Object::new("the data contract")
        .key("customer", each(property.clone()), "Columns of customers: a type, or the words there are")
        .key("product", each(property.clone()), "Columns of products")
        .key("events", each(either(each(property), json!({ "type": "null" }))), "Every event, with its properties")
        .closed()
}

fn smtp() -> Value {
    let relay = common(Object::new("a relay"))
        .needs("relay", text(), "Its name")
        .needs("url", variable(), "${SMTP_URL}, smtps://host, smtp://host:port")
        .key("weight", within(0, 1_000), "Its part of all mail; 0: only what others cannot take");
    let relays = json!({ "type": "array", "items": relay.closed(), "minItems": 1 });
    let smtp = common(Object::new("smtp")).key("url", variable(), "${SMTP_URL}, smtps://host, smtp://host:port").key(
        "relays",
        relays,
        "Several that share the mail and stand in for each other",
    );
    either(smtp.closed(), variable())
}

/// What `smtp` says for all relays, and each may say for itself.
fn common(object: Object) -> Object {
    let rate = || json!({ "type": "string", "pattern": r"^\s*[0-9]+\s*/\s*(s|second|m|min|minute|h|hour)\s*$" });
    let families: serde_json::Map<String, Value> =
        FAMILIES.into_iter().chain(["default"]).map(|f| (f.to_owned(), rate())).collect();
    object
        .key("connections", within(1, 200), "Opened at once by one process")
        .key("ca_file", text(), "A PEM file with one more certificate authority to trust")
        .key("rate", rate(), "20/s, 300/m, 5000/h")
        .key(
            "rates",
            json!({ "type": "object", "properties": families, "additionalProperties": false }),
            "By mailbox provider",
        )
        .key(
            "warm_up",
            json!({ "type": "array", "items": whole(1), "minItems": 1 }),
            "Messages on the first day, the second, …",
        )
        .key("messages_per_connection", whole(1), "Then another is opened")
}

fn dkim() -> Value {
    let key = Object::new("a DKIM key")
        .needs("selector", text(), "s=")
        .key("domain", text(), "d=; the domain of `from` when absent")
        .key("key", variable(), "${DKIM_KEY}")
        .key("key_file", text(), "A PEM file");
    one_or_list(key.closed())
}

fn weights(rules: &[&str]) -> Value {
    let weight = || json!({ "enum": ["error", "warning", "off", false] });
    let weights: serde_json::Map<String, Value> = rules.iter().map(|code| ((*code).to_owned(), weight())).collect();
    json!({ "type": "object", "properties": weights, "additionalProperties": false })
}

fn guards() -> Value {
    let cap = Object::new("a frequency cap")
        .needs("messages", whole(0), "At most so many")
        .needs("in_last", span(), "in this time")
        .key("topic", text(), "of this topic; of all without");
    let freeze = Object::new("service_freeze")
        .key("open_tickets", flag(), "Nothing to people who wait for help")
        .key("rating_at_most", number(), "Nothing after a rating as low as this")
        .key("for", span(), "for so long");
    let quiet = Object::new("quiet_hours").needs("from", clock_time(), "\"21:00\" by each person's own clock").needs(
        "to",
        clock_time(),
        "\"08:00\"",
    );
    Object::new("guards")
        .key("frequency_cap", one_or_list(cap.closed()), "")
        .key("service_freeze", either(freeze.closed(), flag()), "")
        .key("quiet_hours", quiet.closed(), "When promotional mail waits")
        .closed()
}

fn lifecycle() -> Value {
    Object::new("lifecycle")
        .key("new", span(), "So long after the first order")
        .key("default_gap", span(), "Between orders, of those who ordered once")
        .key("drifting_after_gaps", number(), "Usual gaps since the last order")
        .key("lapsed_after_gaps", number(), "Usual gaps since the last order")
        .key("lost_after", span(), "Since the last order")
        .key("returned", span(), "So long after an order that ended a lapse")
        .closed()
}

fn models() -> Value {
    Object::new("models")
        .key("discount_yearly", share(), "What money of next year is worth less")
        .key("margin", share(), "What is left of revenue")
        .key("max_error", share(), "How far off a forecast may be")
        .key("cap_repeat_orders", whole(1), "More orders of one customer count as so many")
        .closed()
}

fn loyalty() -> Value {
    Object::new("loyalty")
        .key("by", words(["spend", "orders"]), "")
        .key("in_last", span(), "Of this time; of all without")
        .key("at_risk_within", span(), "`tier.at_risk`: who would fall within it")
        .needs("tiers", each(number()), "From the lowest to the highest: where each begins")
        .closed()
}

fn reward_pool() -> Value {
    let pattern = Object::new("`codes`").needs("pattern", text(), "Each # becomes a random sign: BACK-####-####");
    let texts = || json!({ "anyOf": [text(), each(text())] });
    Object::new("a reward pool")
        .needs("title", texts(), "What the person gets; or by language, with a `default`")
        .key("kind", words(RewardKind::WORDS.map(|(word, _)| word)), "What it is")
        .key("value", number(), "What it is worth to the person")
        .key("cost", number(), "What it costs when it is used; the value, if not given")
        .key("codes", either(pattern.closed(), words(["imported", "none"])), "Where its codes come from")
        .key("expires", text(), "30d after its mail, or a date, which belongs to it")
        .key("terms", texts(), "The conditions")
        .key("at_most", whole(0), "So many may be out at any time")
        .key("categories", one_or_list(text()), "Whom it suits: who buys there")
        .closed()
}

fn topics() -> Value {
    json!({ "type": "object", "additionalProperties": { "anyOf": [text(), { "type": "null" }, each(text())] } })
}

fn source() -> Value {
    Object::new("a source")
        .needs("import", words(SOURCE_KINDS), "What the file holds")
        .needs("file", text(), "Where it is; * stands for any run of characters")
        .key("map", each(text()), "Names of columns → ours")
        .closed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problems;
    use crate::settings::Settings;
    use crate::yaml::schema::assert_like_readers;

    /// Every mapping there is.
    const FULL: &str = r##"
project: shop
sender: { from: hello@example.com, organisation: Shop, postal_address: 1 Road }
brand:
  name: { default: Shop, ja: 店 }
  colour: "#aa3344"
  logo: { url: "https://www.example.com/logo.png", width: 120 }
  light: { ink: "#000000" }
  dark: { ink: "#ffffff" }
  fonts: { heading: [Georgia, serif], text: { default: [Arial] } }
  contact: { email: hello@example.com }
  social: { Photos: "https://photos.example.com" }
  pages: { cart: "https://www.example.com/cart" }
smtp:
  connections: 5
  relays: [{ relay: main, url: "${SMTP_URL}", rates: { gmail: 20/s } }]
dkim: { selector: s1, key: "${DKIM_KEY}" }
links: { base_url: "${BASE}", utm: { source: mail } }
guards:
  frequency_cap: { messages: 2, in_last: 7d }
  service_freeze: { for: 14d }
  quiet_hours: { from: "21:00", to: "08:00" }
holdout: { global: 5% }
compliance: [eu, jp]
lint: { low-contrast: off }
lifecycle: { new: 30d }
models: { margin: 40% }
loyalty: { by: spend, tiers: { gold: 500 } }
rewards: { ten: { title: { default: Ten }, codes: { pattern: "BACK-########" } } }
topics: { offers: Offers, news: { en: News, ja: お知らせ }, tips: }
sources: [{ import: orders, file: "data/*.csv", map: { id: order_id } }]
contract: { customer: { account: [staff, guest] }, events: { newsletter.joined: , cart.updated: { value: money } } }
"##;

    #[test]
    fn the_schema_has_the_keys_that_readers_ask_for() {
        let mut problems = Problems::new();
        crate::yaml::asked::taken();
        Settings::from_texts(("okaeri.yaml", FULL), None, |_| None, &mut problems);
        assert_eq!(problems.to_text(), "");
        let titles = [
            "okaeri.yaml",
            "the sender",
            "the brand",
            "brand.logo",
            "brand.light",
            "brand.dark",
            "brand.fonts",
            "brand.contact",
            "smtp",
            "a relay",
            "a DKIM key",
            "links",
            "links.utm",
            "guards",
            "a frequency cap",
            "service_freeze",
            "quiet_hours",
            "holdout",
            "lifecycle",
            "models",
            "loyalty",
            "a reward pool",
            "`codes`",
            "a source",
            "the data contract",
        ];
        assert_like_readers(&settings_file(&["low-contrast"]), &titles, &[]);
    }
}
