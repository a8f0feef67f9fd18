//! What `okaeri.yaml` says of customers: how much mail they may get, who is held out, and how they are told apart. Reads `guards`, `holdout`,
//! `lifecycle`, `models` and `loyalty`.

use super::{FrequencyCap, Guards, Lifecycle, Loyalty, LoyaltyBy, Models, ServiceFreeze, Topic, quiet};
use crate::problem::Problems;
use crate::yaml::{MapReader, Node, Shape, Share, Span};

/// Days in which a tier would be lost, when settings say nothing else: a person is told while it can be kept.
const AT_RISK_DAYS: i64 = 30;

pub(super) fn guards(m: &mut MapReader, problems: &mut Problems) -> Guards {
    let mut guards = Guards {
        frequency_caps: Vec::new(),
        service_freeze: ServiceFreeze { open_tickets: true, rating_at_most: None, days: 14 },
        quiet_hours: None,
    };
    let Some(mut g) = m.map("guards", "guards", problems) else { return guards };
    guards.quiet_hours = g.node("quiet_hours").and_then(|n| quiet::read(n, problems));
    if let Some(node) = g.node("frequency_cap") {
        let list: Vec<&Node> = match &node.shape {
            Shape::List(list) => list.iter().collect(),
            _ => vec![node],
        };
        for node in list {
            let Some(mut c) = node.map("a frequency cap", problems) else { continue };
            let messages = c.require("messages", problems);
            let in_last = c.require("in_last", problems);
            let topic = c.get("topic", problems);
            c.finish(problems);
            if let (Some(messages), Some(in_last)) = (messages, in_last) {
                guards.frequency_caps.push(FrequencyCap { messages, in_last, topic });
            }
        }
    }
    if let Some(node) = g.node("service_freeze") {
        if let Shape::Bool(on) = node.shape {
            guards.service_freeze.open_tickets = on;
        } else if let Some(mut f) = node.map("service_freeze", problems) {
            let freeze = &mut guards.service_freeze;
            freeze.open_tickets = f.get("open_tickets", problems).unwrap_or(true);
            freeze.rating_at_most = f.get("rating_at_most", problems);
            freeze.days = f.get::<Span>("for", problems).map_or(freeze.days, |s| s.millis() / crate::clock::DAY);
            f.finish(problems);
        }
    }
    g.finish(problems);
    guards
}

pub(super) fn check_caps(guards: &Guards, topics: &[Topic], node: &Node, problems: &mut Problems) {
    for topic in guards.frequency_caps.iter().filter_map(|c| c.topic.as_deref()) {
        if !topics.iter().any(|t| t.name == topic) {
            problems
                .error(
                    "unknown-topic",
                    &node.place,
                    format!("a frequency cap names the topic `{topic}`, which is not among `topics`"),
                )
                .did_you_mean(topic, topics.iter().map(|t| t.name.as_str()));
        }
    }
}

pub(super) fn holdout(m: &mut MapReader, problems: &mut Problems) -> f64 {
    let Some(mut h) = m.map("holdout", "holdout", problems) else { return 0.0 };
    let share = h.get::<Share>("global", problems).map_or(0.0, |s| s.0);
    h.finish(problems);
    share
}

pub(super) fn lifecycle(m: &mut MapReader, problems: &mut Problems) -> Lifecycle {
    let mut life = Lifecycle::default();
    let Some(mut l) = m.map("lifecycle", "lifecycle", problems) else { return life };
    let days = |s: Span| s.millis() / crate::clock::DAY;
    if let Some(s) = l.get::<Span>("new", problems) {
        life.new_days = days(s);
    }
    if let Some(s) = l.get::<Span>("default_gap", problems) {
        life.default_gap_days = days(s) as f64;
    }
    if let Some(f) = l.get("drifting_after_gaps", problems) {
        life.drifting_gaps = f;
    }
    if let Some(f) = l.get("lapsed_after_gaps", problems) {
        life.lapsed_gaps = f;
    }
    if let Some(s) = l.get::<Span>("lost_after", problems) {
        life.lost_days = days(s);
    }
    if let Some(s) = l.get::<Span>("returned", problems) {
        life.returned_days = days(s);
    }
    if !(life.drifting_gaps > 0.0 && life.drifting_gaps < life.lapsed_gaps) || life.default_gap_days < 1.0 {
        problems.error(
            "out-of-range",
            &l.place,
            "lifecycle needs 0 < drifting_after_gaps < lapsed_after_gaps and default_gap of a day or more",
        );
    }
    l.finish(problems);
    life
}

/// `{ discount_yearly: 10%, margin: 40%, max_error: 25%, cap_repeat_orders: 200 }`.
pub(super) fn models(m: &mut MapReader, problems: &mut Problems) -> Models {
    let mut models = Models::default();
    let Some(mut l) = m.map("models", "models", problems) else { return models };
    if let Some(Share(share)) = l.get("discount_yearly", problems) {
        models.discount_yearly = share;
    }
    if let Some(Share(share)) = l.get("margin", problems) {
        models.margin = share;
    }
    models.max_error = l.get::<Share>("max_error", problems).map(|s| s.0);
    models.cap_repeat_orders = l.get("cap_repeat_orders", problems);
    let wrong = [
        (models.discount_yearly > 0.99, "discount_yearly must be 99 % at most"),
        (models.margin <= 0.0, "margin must be above 0 %: without any, no customer is worth anything"),
        (models.max_error == Some(0.0), "max_error must be above 0 %: no forecast is that good"),
        (models.cap_repeat_orders == Some(0), "cap_repeat_orders must be 1 or more"),
    ];
    for (_, message) in wrong.into_iter().filter(|(is, _)| *is) {
        problems.error("out-of-range", &l.place, format!("models: {message}"));
    }
    l.finish(problems);
    models
}

/// `{ by: spend, in_last: 1y, tiers: { silver: 200, gold: 500 } }`.
pub(super) fn loyalty(node: &Node, currency: &str, problems: &mut Problems) -> Option<Loyalty> {
    let mut l = node.map("loyalty", problems)?;
    let by = l.choice("by", &[("spend", LoyaltyBy::Spend), ("orders", LoyaltyBy::Orders)], problems);
    let by = by.unwrap_or(LoyaltyBy::Spend);
    let in_last = l.get::<Span>("in_last", problems);
    let at_risk = l.get::<Span>("at_risk_within", problems);
    let at_risk_days = at_risk.map_or(AT_RISK_DAYS, |s| s.millis() / crate::clock::DAY);
    if at_risk.is_some() && (in_last.is_none() || at_risk_days < 1) {
        problems
            .error("out-of-range", &l.place, "`at_risk_within` needs `in_last`, and a day or more")
            .hint("loyalty: { by: spend, in_last: 1y, at_risk_within: 30d, tiers: { silver: 200, gold: 500 } }");
    }
    let mut tiers: Vec<(String, i64)> = Vec::new();
    if let Some(mut t) = l.map("tiers", "loyalty tiers", problems) {
        for pair in t.all() {
            let threshold = match by {
                LoyaltyBy::Orders => pair.value.read::<u32>("a number of orders", problems).map(i64::from),
                LoyaltyBy::Spend => {
                    let major = pair.value.read::<f64>("an amount", problems);
                    let minor = major.and_then(|m| crate::money::to_minor(m, currency)).filter(|m| *m >= 0);
                    if let (Some(major), None) = (major, minor) {
                        problems.error(
                            "bad-amount",
                            &pair.value.place,
                            format!("{major} is not an amount of {currency}"),
                        );
                    }
                    minor
                }
            };
            let Some(threshold) = threshold else { continue };
            if tiers.last().is_some_and(|(_, before)| *before >= threshold) {
                problems
                    .error(
                        "tier-order",
                        &pair.key_place,
                        format!("the tier `{}` begins no higher than the one before", pair.key),
                    )
                    .hint("write tiers from the lowest to the highest");
            }
            tiers.push((pair.key.clone(), threshold));
        }
    }
    l.finish(problems);
    if tiers.is_empty() {
        problems
            .error("missing-key", &node.place, "`loyalty` needs `tiers`")
            .hint("loyalty: { by: spend, in_last: 1y, tiers: { silver: 200, gold: 500 } }");
        return None;
    }
    Some(Loyalty { by, in_last, tiers, at_risk_days })
}
