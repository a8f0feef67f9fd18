//! The JSON Schema of campaign files.

use serde_json::{Value, json};

use super::FOLDER;
use crate::offer::recommend::{COUNT_MAX, SUPPORT_MIN, Strategy};
use crate::segment::schema::{Names, definitions, given, given_on_a_day};
use crate::yaml::schema::{
    Object, clock_time, each, either, file, flag, list, named, one_or_list, share, span, text, whole, within, words,
};

/// The schema of a file in `campaigns/`. `templates` are the names of the templates there are.
pub fn campaign_file(names: Names<'_>, templates: &[&str]) -> Value {
    let segments = words(names.segments.iter().copied());
    let audience =
        |one: Value| Object::new("an audience").needs("in_segment", one, "Segments of campaigns/segments/").closed();
    let limits = Object::new("limits").key("per_run", whole(0), "At most so many messages in one run");
    let wave = Object::new("`first_wave`").needs("size", whole(1), "Messages in it, at most").needs(
        "wait",
        span(),
        "How long the others wait, from 1m to 12h",
    );
    let stop = ["hard_bounce", "policy", "failed", "complaint"]
        .into_iter()
        .fold(Object::new("`stop_above`"), |o, key| o.key(key, share(), ""));
    let root = Object::new("a campaign")
        .needs("campaign", text(), "Its name: lower-case letters, digits, - and _")
        .key("title", text(), "For people")
        .key("renamed_from", text(), "The name it was first sent under")
        .key("status", words(["draft", "live", "paused"]), "Only what is live sends")
        .key("kind", words(["promotional", "service"]), "Service mail is owed: no caps, no holdouts, no consent")
        .needs(
            "topic",
            words(names.settings.topics.iter().map(|t| t.name.as_str())),
            "What people agree to and may leave",
        )
        .needs("audience", either(audience(segments.clone()), words(["everyone"])), "Whom it is for")
        .key("exclude", audience(one_or_list(segments)), "Who is left out")
        .key("schedule", schedule(), "When it is due; without one it is sent by hand")
        .key("once_per", json!({ "anyOf": [{ "const": "person" }, span()] }), "How often one person may have it")
        .key("priority", json!({ "type": "integer" }), "Campaigns due together are planned from the smallest on")
        .needs("steps", json!({ "type": "array", "items": step(names, templates), "minItems": 1 }), "What is sent")
        .key("exit_on", named("rule"), "Whoever this holds for gets no further step")
        .key("ends", text(), "Nobody enters after this day or instant")
        .key("experiment", experiment(), "Who is held out, who gets what, and what counts as success")
        .key("limits", limits.closed(), "")
        .key("stop_above", stop.closed(), "Shares of a run's answers above which it is held")
        .key("first_wave", wave.closed(), "Some messages go first")
        .key("track", flag(), "false: links lead straight to where they say")
        .key("tests", list(test(names)), "What it does with given people; run by `okaeri test`");
    file(&format!("A campaign of Okaeri, in {FOLDER}/: docs/campaigns.md"), root.closed(), definitions(names))
}

fn schedule() -> Value {
    let every = json!({ "type": "string", "pattern": "[0-9]" });
    Object::new("a schedule")
        .key("at", text(), "Once: 2026-12-01 09:00")
        .key("every", one_or_list(every), "tuesday 09:00, day 09:00, weekday 09:00, month 1 09:00, month last 09:00")
        .key("cron", text(), "minute hour day month weekday")
        .key("enter", words(["when_matching"]), "A journey: everybody enters as soon as they match")
        .key("time_zone", text(), "customer, or an IANA name such as Europe/Berlin")
        .key("catch_up", span(), "How late it may still be sent")
        .closed()
}

fn step(names: Names<'_>, templates: &[&str]) -> Value {
    let template = || words(templates.iter().copied());
    let variant = Object::new("a variant").needs("template", template(), "").closed();
    Object::new("a step")
        .needs("step", text(), "Its name; who had it is told by it")
        .needs("template", template(), "A file in templates/, without its ending")
        .key("recommend", recommend(), "Products for each person")
        .key("reward", reward(names), "What the mail gives")
        .key("variants", each(either(variant, template())), "Templates of single arms")
        .key("after", span(), "So long after the entry")
        .key("at", clock_time(), "At this time of the person's own day")
        .key("unless", named("rule"), "Not for those this holds for")
        .key("only_if", named("rule"), "Only for those this holds for")
        .key("renamed_from", one_or_list(text()), "Names it had before")
        .closed()
}

fn recommend() -> Value {
    let strategies = || one_or_list(words(Strategy::ALL.map(Strategy::word)));
    let most = COUNT_MAX as u32;
    let categories =
        Object::new("`categories`").key("in", one_or_list(text()), "").key("not_in", one_or_list(text()), "");
    let full = Object::new("`recommend`")
        .needs("strategy", strategies(), "Later ones fill up")
        .key("count", within(1, most), "How many products")
        .key("at_least", within(1, most), "Fewer are nothing to recommend")
        .key("categories", either(categories.closed(), one_or_list(text())), "")
        .key("exclude_owned", flag(), "")
        .key("min_support", whole(i64::from(SUPPORT_MIN)), "Buyers in common, at least");
    either(full.closed(), strategies())
}

fn reward(names: Names<'_>) -> Value {
    let pools = || one_or_list(words(names.settings.rewards.iter().map(|pool| pool.name.as_str())));
    let full = Object::new("`reward`")
        .key("pool", pools(), "A pool of okaeri.yaml")
        .key("pools", pools(), "Several to choose from")
        .key("choose_by", words(["order", "affinity"]), "The first that has one left, or the one that suits them most")
        .key("when_none_left", words(["skip", "send", "stop"]), "What becomes of those there is none for");
    either(full.closed(), pools())
}

fn experiment() -> Value {
    let goal = Object::new("a goal")
        .needs("did", text(), "An event; `order.placed` is an order")
        .needs("within", span(), "From the moment the message was due")
        .key("value", text(), "The property summed up as money")
        .key("with", each(named("value")), "What the event is like");
    Object::new("an experiment")
        .key("split", each(share()), "Arms and their shares, `holdout` among them; together 100 %")
        .key("goal", goal.closed(), "What people are wanted to do")
        .closed()
}

fn test(names: Names<'_>) -> Value {
    let expect = Object::new("`expect`")
        .needs("verdict", words(["send", "skip", "nothing"]), "")
        .key("step", text(), "")
        .key("reason", text(), "Of a skip, as in docs/campaigns.md")
        .key("subject_contains", text(), "");
    let test = Object::new("a test of a campaign")
        .needs("name", text(), "What it shows")
        .key("now", text(), "The instant it is asked at")
        .key("entered", text(), "When they entered; without it they have not");
    let expect = expect.closed();
    // `given` says when things were; over days, what says nothing of it happens on that day.
    let day = Object::new("a day of a test").needs("on", span(), "So long after `now`: 0d, 3d, 36h").key(
        "expect",
        expect.clone(),
        "What became of them since the last day of which something was expected",
    );
    let day = given_on_a_day(day, names).closed();
    let mut test = given(test, names)
        .key("expect", expect, "What the campaign does with them at that look")
        .key("days", list(day), "What happens to them, and what the campaign does with them, day after day")
        .closed();
    test["oneOf"] = json!([{ "required": ["expect"] }, { "required": ["days"] }]);
    test
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Library;
    use crate::problem::Problems;
    use crate::segment;
    use crate::segment::schema::segment_file;
    use crate::settings::Settings;
    use crate::yaml::schema::assert_like_readers;

    const SETTINGS: &str = "project: shop\nsender: { from: hello@example.com, organisation: Shop, postal_address: 1 Road }\n\
        topics: { offers: Offers }\nloyalty: { by: orders, tiers: { gold: 5 } }\nrewards: { ten: { title: Ten } }\n";

    /// Every mapping there is.
    const CAMPAIGN: &str = r#"
campaign: win-back
topic: offers
audience: { in_segment: quiet }
exclude: { in_segment: [quiet] }
schedule: { every: day 09:00 }
steps:
  - step: letter
    template: a/letter
    recommend: { strategy: again, categories: { in: tea } }
    reward: { pool: ten }
    variants: { b: { template: a/b } }
  - { step: two, template: a/letter, after: 3d, unless: { did: order.placed, since: entry } }
experiment:
  split: { holdout: 10%, a: 45%, b: 45% }
  goal: { did: review.written, within: 14d, with: { rating: { gte: 4 } } }
limits: { per_run: 10 }
stop_above: { failed: 5% }
first_wave: { size: 5, wait: 30m }
tests:
  - name: somebody
    customer: { orders: 2 }
    expect: { verdict: nothing }
  - name: somebody, for two days
    days: [{ on: 0d, expect: { verdict: nothing } }, { on: 2d, orders: { total: 3 }, expect: { verdict: nothing } }]
"#;

    const SEGMENT: &str = r#"
segment: quiet
where:
  all:
    - did: product.viewed
      with: { category: tea }
      sum: { of: amount, gte: 2 }
      distinct: { of: sku, gte: 2 }
      in_last: 30d
    - did_not: order.placed
    - { last: survey.nps, with: { score: { gte: 9 } } }
    - { bought: { category: tea }, sum: { of: amount, gte: 2 }, distinct: { of: sku, gte: 2 } }
    - { bought_not: { category: cups } }
    - any:
        - funnel:
            - { did: cart.updated, in_last: 2d }
            - { bought: { category: tea }, within_after: 3d }
            - { did_not: order.placed, within_after: 4h }
            - { bought_not: { category: cups }, within_after: 4h }
        - { customer: revenue, gte: { field: average_order, multiplied_by: 2 } }
        - { customer: orders, percentile: { gte: 70 } }
        - { customer: attribute.birthday, exists: true }
        - { customer: first_order_at, anniversary: { in_next: 7d } }
        - { score: alive, gte: 0.5 }
        - { rfm: champions }
        - { lifecycle: drifting }
        - { tier: gold }
        - { consent: offers }
        - { received: { campaign: win-back, step: letter } }
        - { clicked: win-back }
        - none: [{ in_segment: other }]
pick: { top: { by: revenue, share: 5% }, sample: { share: 50%, salt: spring } }
tests:
  - size: { lte: 50% }
  - disjoint_with: other
  - case: somebody
    given:
      customer: { orders: 2 }
      orders: { at: 3d ago, lines: { sku: A, amount: 3 } }
      events: { did: product.viewed, at: 3d ago }
      received: { campaign: win-back, at: 3d ago }
      clicked: { campaign: win-back, at: 3d ago }
      percentile: { orders: 40 }
    expect: out
"#;

    #[test]
    fn the_schemas_have_the_keys_that_readers_ask_for() {
        let mut problems = Problems::new();
        let settings = Settings::from_texts(("okaeri.yaml", SETTINGS), None, |_| None, &mut problems).unwrap();
        let names = Names { settings: &settings, segments: &["quiet", "other"], campaigns: &["win-back"] };
        crate::yaml::asked::taken();
        Library::from_texts(&[("c.yaml".into(), CAMPAIGN.into())], &settings, names.segments, &mut problems);
        assert_eq!(problems.to_text(), "");
        let titles = [
            "a campaign",
            "an audience",
            "a schedule",
            "a step",
            "`recommend`",
            "`reward`",
            "`categories`",
            "a variant",
            "an experiment",
            "a goal",
            "limits",
            "`stop_above`",
            "`first_wave`",
            "a test of a campaign",
            "a day of a test",
            "`expect`",
            "a comparison",
        ];
        // Of rules and of what somebody did only one is in this file: segments have them all.
        assert_like_readers(&campaign_file(names, &["a/letter"]), &titles, &["this rule", "one of these"]);

        let files = [("s.yaml", SEGMENT), ("o.yaml", "segment: other\nwhere: { customer: orders, gte: 900 }\n")];
        segment::Library::from_texts(&files, &settings, &mut problems);
        assert_eq!(problems.to_text(), "");
        let titles = [
            "a segment",
            "this rule",
            "a comparison",
            "a comparison with a field",
            "an anniversary",
            "`sum`",
            "`distinct`",
            "`percentile`",
            "a step of a funnel",
            "the name of a campaign",
            "`pick`",
            "`top`",
            "`sample`",
            "`size`",
            "a case",
            "a test of a segment",
            "`given`",
            "one of these",
            "an order line",
        ];
        assert_like_readers(&segment_file(names), &titles, &[]);
    }
}
