//! What authors get to read when a segment cannot work.

use super::*;
use crate::problem::Problems;
use crate::settings::{Project, Settings};

fn settings() -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let text = "project: shop\ncurrency: EUR\ntopics: { offers: Offers }\n\
                sender: { from: hello@example.com, organisation: Shop, postal_address: 1 Road }\n";
    std::fs::write(folder.path().join("okaeri.yaml"), text).unwrap();
    Project::load_with(folder.path(), |_| None, &mut Problems::new()).unwrap().settings
}

fn problems_of(texts: &[(&str, &str)]) -> (Library, String) {
    let mut problems = Problems::new();
    let library = Library::from_texts(texts, &settings(), &mut problems);
    (library, anstream::adapter::strip_str(&problems.to_text()).to_string())
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_with_place_and_remedy() {
    let text = "segment: good ones\ntitel: Good\nwhere:\n  all:\n    - customer: ordres\n      gte: 2\n    - did: product.viewed\n      tims: 3\n    \
                - did: order.placed\n      with: { totl: 3 }\n      sum: { of: totals, gte: 1 }\n    - rfm: [champion]\n    - lifecycle: sleeping\n    \
                - consent: offer\n    - customer: revenue\n      gte: 0.001\n    - customer: country\n      gt: JP\n    - customer: orders\n    \
                - score: ltv.12m\n    - did: x\n      bought: {}\n    - frobnicate: 1\n    - customer: points\n      percentile: { gte: 70 }\n    \
                - customer: revenue\n      gt: { field: orders }\n    - did: cart.updated\n      in_last: soon\n    - any: []\n    - none: { rfm: [at_risk] }\n    \
                - customer: first_order_at\n      gte: yesterday\n    - customer: days_since_last_order\n      in_last: 30d\ntests:\n  - size: { gte: 1 }\n";
    let (library, problems) = problems_of(&[("campaigns/segments/a.yaml", text)]);
    assert_eq!(library.names().count(), 0);
    insta::assert_snapshot!(problems, @r#"
    campaigns/segments/a.yaml:1:10: error: `good ones` cannot name a segment [bad-name]
        small letters, digits, _ and -
    campaigns/segments/a.yaml:2:1: error: `titel` is not a key of a segment [unknown-key]
        did you mean `title`?
    campaigns/segments/a.yaml:5:17: error: `ordres` is not a field of a customer [unknown-field]
        did you mean `orders`? A column of your own is written `attribute.ordres`
    campaigns/segments/a.yaml:8:7: error: `tims` is not a key of this rule [unknown-key]
        did you mean `times`?
    campaigns/segments/a.yaml:10:15: error: an order has no property `totl` [unknown-property]
        did you mean `total`?
    campaigns/segments/a.yaml:11:18: error: an order has no property `totals` [unknown-property]
        did you mean `total`?
    campaigns/segments/a.yaml:12:13: error: `rfm` has no `champion` [unknown-word]
        did you mean `champions`?
    campaigns/segments/a.yaml:13:18: error: `lifecycle` has no `sleeping` [unknown-word]
        known here: active, drifting, lapsed, lead, lost, new, returned
    campaigns/segments/a.yaml:14:16: error: `offer` is not among the project's topics [unknown-topic]
        did you mean `offers`?
    campaigns/segments/a.yaml:16:12: error: 0.001 is not an amount of EUR [bad-amount]
        EUR has 2 decimals
    campaigns/segments/a.yaml:18:11: error: `gt` does not fit `country`, which is text [wrong-type]
        it can be compared with: eq, in, exists, starts_with, contains, matches
    campaigns/segments/a.yaml:19:7: error: `orders` is compared with nothing [missing-key]
        one of: gte, gt, lte, lt, between, eq, in, exists
    campaigns/segments/a.yaml:20:7: error: `ltv.12m` is compared with nothing [missing-key]
        one of: gte, gt, lte, lt, between, eq, in, exists
    campaigns/segments/a.yaml:22:7: error: `did` and `bought` in one rule [two-leaves]
        make a list of them under `all:` or `any:`
    campaigns/segments/a.yaml:23:7: error: `frobnicate` begins no rule [unknown-leaf]
        known here: all, any, bought, bought_not, clicked, consent, customer, did, did_not, funnel, in_segment, last, lifecycle, none, received, rfm, score, tier
    campaigns/segments/a.yaml:25:19: error: `percentile` ranks numbers; `points` is a column or property of your own [wrong-type]
        known here: every field and score that is a number, such as revenue or ltv.12m
    campaigns/segments/a.yaml:27:20: error: an amount of money cannot be compared with `orders`, which is a number [wrong-type]
    campaigns/segments/a.yaml:29:16: error: `in_last` must be a length of time such as 30d, 12h or 45m, not the text "soon" [wrong-type]
    campaigns/segments/a.yaml:30:12: error: `any` holds no rule [empty-group]
    campaigns/segments/a.yaml:31:13: error: `none` must be a list of rules, not a mapping [wrong-type]
        none:
        - customer: orders
          gte: 2
    campaigns/segments/a.yaml:33:12: error: `yesterday` is not an instant [bad-instant]
        write 2026-11-24 or 2026-11-24T09:00; for a distance from now use in_last or more_than_ago
    campaigns/segments/a.yaml:34:17: error: windows of time ask for an instant or a date; `days_since_last_order` is a number [wrong-type]
        known here: first_order_at, first_seen_at, last_event_at, last_order_at, last_rating_at, last_return_at, last_viewed_at, previous_order_at
    22 errors and 0 warnings
    "#);
}

#[test]
fn references_loops_and_second_names_are_found_across_files() {
    let (library, problems) = problems_of(&[
        ("a.yaml", "segment: a\nwhere: { in_segment: b }\n"),
        ("b.yaml", "segment: b\nwhere: { none: [{ in_segment: [c, whole] }] }\n"),
        ("c.yaml", "segment: c\nwhere: { any: [{ in_segment: a }, { in_segment: c }] }\n"),
        ("d.yaml", "segment: d\nwhere: { in_segment: wole }\n"),
        ("e.yaml", "segment: whole\nwhere: { rfm: champions }\n"),
        ("f.yaml", "segment: whole\nwhere: { rfm: at_risk }\n"),
        ("g.yaml", "segment: g\nwhere: { in_segment: broken }\n"),
        ("h.yaml", "segment: broken\nwhere: { rfm: nobody }\n"),
        ("i.yaml", "segment: i\nwhere: { in_segment: a }\n"),
    ]);
    assert_eq!(
        library.names().collect::<Vec<_>>(),
        ["whole"],
        "what cannot be used is left out with all that names it"
    );
    insta::assert_snapshot!(problems, @r#"
    a.yaml:1:10: error: this segment is made of itself: a → b → c → a [segment-cycle]
        take one of these `in_segment` out
    c.yaml:1:10: error: this segment is made of itself: c → c [segment-cycle]
        take one of these `in_segment` out
    d.yaml:2:22: error: there is no segment `wole` [unknown-segment]
        did you mean `whole`?
    f.yaml:1:10: error: a second segment `whole` [duplicate-segment]
        the first is e.yaml:1:10
    h.yaml:2:15: error: `rfm` has no `nobody` [unknown-word]
        known here: about_to_sleep, at_risk, cannot_lose, champions, hibernating, loyal_customers, need_attention, new_customers, potential_loyalists, promising
    5 errors and 0 warnings
    "#);
}

#[test]
fn doubling_references_do_not_explode() {
    let texts: Vec<(String, String)> = (0..200)
        .map(|n| {
            let rule = if n == 0 {
                "{ customer: orders, gte: 1 }".to_owned()
            } else {
                format!("{{ any: [{{ in_segment: s{0} }}, {{ in_segment: s{0} }}] }}", n - 1)
            };
            (format!("s{n}.yaml"), format!("segment: s{n}\nwhere: {rule}\n"))
        })
        .collect();
    let borrowed: Vec<(&str, &str)> = texts.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
    let (library, problems) = problems_of(&borrowed);
    assert!(library.names().count() < 10, "{}", library.names().count());
    assert!(problems.contains("conditions once `in_segment` is written out"), "{problems}");
}

#[test]
fn rules_read_as_sentences() {
    let (library, problems) = problems_of(&[(
        "a.yaml",
        "segment: a\nwhere:\n  all:\n    - customer: days_since_last_order\n      gt: { field: usual_gap_days, multiplied_by: 1.5 }\n    \
         - did: product.viewed\n      times: { gte: 2 }\n      in_last: 30d\n      with: { category: { in: [home, garden] } }\n    \
         - bought: { category: garden }\n      amount: { gte: 50 }\n      in_last: 1y\n    - did_not: order.placed\n      in_last: 90d\n    \
         - any:\n        - customer: revenue\n          percentile: { gte: 70 }\n        - rfm: [champions, at_risk]\n    \
         - none:\n        - received: { campaign: win-back }\n          in_last: 60d\n        - customer: account\n          eq: staff\n",
    )]);
    assert_eq!(problems, "");
    insta::assert_snapshot!(sentence(&library.get("a").unwrap().rule, &settings()), @"days since the last order more than 1.5 × the usual days between orders, and did product.viewed with category home or garden, at least 2 times in the last 30 days, and bought with category garden, amount in all at least 50.00 EUR in the last 365 days, and did not place an order in the last 90 days, and (revenue among the highest 30 % of buyers, or RFM champions or at risk), and not (received win-back in the last 60 days, nor `account` is staff)");
}

/// What `okaeri check` says of rules that work.
fn lints_of(rules: &[(&str, &str)], used: &[&str]) -> String {
    let texts: Vec<(String, String)> =
        rules.iter().map(|(name, rule)| (format!("{name}.yaml"), format!("segment: {name}\n{rule}\n"))).collect();
    let borrowed: Vec<(&str, &str)> = texts.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
    let settings = settings();
    let mut problems = Problems::new();
    let library = Library::from_texts(&borrowed, &settings, &mut problems);
    assert!(problems.is_empty(), "{}", problems.to_text());
    library.lint(&settings, used, &[("win-back", "win-back")], &mut problems);
    anstream::adapter::strip_str(&problems.to_text()).to_string()
}

#[test]
fn rules_that_rarely_mean_what_they_say_are_warned_of() {
    let problems = lints_of(
        &[
            ("a", "where: { did_not: order.placed, in_last: 30d }"),
            ("b", "where: { all: [{ customer: orders, gte: 1 }, { did_not: order.placed, in_last: 30d }] }"),
            ("c", "where: { customer: orders, gte: 0 }"),
            ("d", "where: { all: [{ customer: orders, gte: 5 }, { customer: orders, lt: 3 }] }"),
            ("e", "where: { any: [{ rfm: champions }, { none: [{ rfm: champions }] }] }"),
            ("f", "where: { all: [{ customer: r, gt: 5 }, { lifecycle: active }] }"),
            ("g", "where: { any: [{ did: cart.updated, times: { gte: 0 } }, { consent: offers }] }"),
            ("h", "where: { all: [{ lifecycle: active }, { lifecycle: [lost, lapsed] }] }"),
            ("i", "where: { any: [{ customer: orders, lt: 0 }, { lifecycle: new }] }"),
            ("j", "where: { all: [{ lifecycle: active }, { received: winback }] }"),
            ("k", "where: { any: [{ lifecycle: new }, { lifecycle: lead }] }"),
            ("l", "where: { any: [{ lifecycle: lead }, { lifecycle: new }] }"),
            ("m", "watched: true\nwhere: { in_segment: [k, l] }"),
            ("n", "where: { all: [{ did: cart.updated }, { did_not: cart.updated }] }"),
            ("o", "where: { all: [{ customer: country, in: [JP, DE] }, { customer: country, eq: FR }] }"),
        ],
        &["a", "b", "c", "d", "e", "f", "g", "h", "i", "n", "o"],
    );
    insta::assert_snapshot!(problems, @r#"
    a.yaml:2:8: warning: `a` says only what people did not do: those known for less than 30d, and those with no history at all, match too [unguarded-negation]
        say beside it, under `all:`, whom you mean, for example customer: orders, gte: 1
    c.yaml:2:8: warning: everybody is in `c`: `orders at least 0` always holds [always-true]
        for everybody write `audience: everyone` in the campaign
    d.yaml:2:8: warning: nobody can ever be in `d`: its conditions exclude each other [always-false]
        a rule that cannot hold is a mistake; `status: draft` on the campaign sends nothing just as well
    e.yaml:2:8: warning: everybody is in `e`: `RFM champions, or not (RFM champions)` always holds [always-true]
        for everybody write `audience: everyone` in the campaign
    f.yaml:2:8: warning: nobody can ever be in `f`: `recency score more than 5` never holds [always-false]
        a rule that cannot hold is a mistake; `status: draft` on the campaign sends nothing just as well
    g.yaml:2:8: warning: everybody is in `g`: `did cart.updated, at least 0 times` always holds [always-true]
        for everybody write `audience: everyone` in the campaign
    h.yaml:2:8: warning: nobody can ever be in `h`: its conditions exclude each other [always-false]
        a rule that cannot hold is a mistake; `status: draft` on the campaign sends nothing just as well
    i.yaml:2:8: warning: in `i`, `orders less than 0` never holds [always-true-or-false]
    j.yaml:1:10: warning: no campaign and no other segment uses `j` [unused-segment]
        remove it, or say `watched: true` when it is there to be looked at
    j.yaml:2:8: warning: `j` asks about the campaign `winback`, which is not in campaigns/ [unknown-campaign]
        did you mean `win-back`?
    l.yaml:1:10: warning: `l` has the same rule as `k` [same-rule]
        keep one of them, or write: where: { in_segment: k }
    n.yaml:2:8: warning: nobody can ever be in `n`: its conditions exclude each other [always-false]
        a rule that cannot hold is a mistake; `status: draft` on the campaign sends nothing just as well
    o.yaml:2:8: warning: nobody can ever be in `o`: its conditions exclude each other [always-false]
        a rule that cannot hold is a mistake; `status: draft` on the campaign sends nothing just as well
    0 errors and 13 warnings
    "#);
}

#[test]
fn what_cannot_be_is_told() {
    let (library, problems) = problems_of(&[(
        "a.yaml",
        "segment: a\nwhere:\n  all:\n    - did: x\n      in_last: 10d\n      more_than_ago: 30d\n    - did: x\n      between: [2026-02-01, 2026-01-01]\n    \
         - did: x\n      days_after: { first_order_at: [30, 1] }\n    - did: x\n      since: entry\n    - did: x\n      since: last_oder_at\n    \
         - did: x\n      times: { gte: 5, lt: 3 }\n    - customer: revenue\n      percentile: { gte: 80, lte: 20 }\n    - customer: orders\n      band: best\n    \
         - customer: country\n      percentile: { gte: 3 }\n    - last: survey.nps\n    - funnel: [{ did: x }]\n    \
         - funnel: [{ did_not: x, in_last: 2d }, { did_not: y }, { did: z, times: { gte: 2 } }]\n    - tier: gold\n    - score: ltv\n      gte: 3\n    \
         - customer: ltv.12m\n      gte: 3\n    - customer: first_order_at\n      gt: { field: last_order_at, multiplied_by: 2 }\n    \
         - customer: orders\n      contains: 3\n    - customer: note\n      matches: \"*a*b*c*d*\"\n    - customer: first_order_at\n      anniversary: { in_next: 12h }\n    \
         - customer: first_order_at\n      weekday: someday\n    - did: order.placed\n      sum: { of: status, gte: 1 }\n    - did: order.placed\n      distinct: { gte: 1 }\n    \
         - bought: { categry: home }\n    - did: x\n      in_last: 0h\npick: { top: { by: country, share: 0% }, sample: { share: 50% } }\n\
         tests:\n  - size: {}\n  - subset_of: nobody\n  - case: c\n    given: { customer: { ordes: 3, revenue: much } }\n",
    )]);
    assert_eq!(library.names().count(), 0);
    insta::assert_snapshot!(problems, @r#"
    a.yaml:4:7: error: nothing lies both in the last 10d and more than 30d ago [impossible]
        `in_last: 60d` with `more_than_ago: 30d` is the month before the last
    a.yaml:8:16: error: `between` ends before it begins [impossible]
        the earlier date comes first
    a.yaml:10:37: error: no day lies from 30 to 1 days after it [impossible]
        the earlier day comes first; at most 36500 days
    a.yaml:12:14: error: `since: entry` counts from a person's entry into a campaign; a segment has none [since-entry]
        use it in a step of a campaign, or count from a date or an instant: since: last_viewed_at
    a.yaml:14:14: error: `last_oder_at` is neither a date nor an instant of a customer [bad-instant]
        did you mean `last_order_at`?
    a.yaml:16:14: error: `times` can never be both: its comparisons exclude each other [impossible]
        a range is written `gte: 10` with `lt: 20`, or `between: [10, 20]`
    a.yaml:18:19: error: nobody lies above the one percentile and below the other [impossible]
    a.yaml:20:13: error: there is no band `best` [unknown-word]
        known here: bottom, high, low, middle, top
    a.yaml:22:19: error: `percentile` ranks numbers; `country` is text [wrong-type]
        known here: every field and score that is a number, such as revenue or ltv.12m
    a.yaml:23:7: error: `last` needs `with`: what the latest one is like [missing-key]
        last: survey.nps with { score: { gte: 9 } }; to ask only when it was, use `did` with a window
    a.yaml:24:15: error: a funnel has 2 to 8 steps, not 1 [bad-funnel]
        funnel: [{ did: cart.updated, in_last: 2d }, { did_not: order.placed, within_after: 4h }]
    a.yaml:25:16: error: a funnel begins with something that happened: did or bought [bad-funnel]
    a.yaml:25:45: error: `did_not` in a funnel needs `within_after`: how long to wait for it [missing-key]
        within_after: 4h
    a.yaml:25:61: error: a step of a funnel is about one row: it is not counted or added up [bad-funnel]
        put counts in a rule of their own beside the funnel, under `all:`
    a.yaml:26:13: error: okaeri.yaml defines no loyalty tiers [no-tiers]
        loyalty: { by: spend, in_last: 1y, tiers: { silver: 200, gold: 500 } }
    a.yaml:27:14: error: there is no score `ltv` [unknown-score]
        known here: alive, churn.90d, ltv.12m, next_order_at, orders.12m, orders.90d
    a.yaml:29:17: error: `ltv.12m` is predicted by a model [unknown-field]
        score: ltv.12m
    a.yaml:32:20: error: `last_order_at` is an instant: it cannot be multiplied [wrong-type]
        shift it: plus: 30d
    a.yaml:34:17: error: `contains` does not fit `orders`, which is a number [wrong-type]
        it can be compared with: gte, gt, lte, lt, between, eq, in, exists
    a.yaml:36:16: error: `matches` has 5 times `*`; at most 3 [pattern-too-wide]
        `*` stands for any run of characters, `?` for exactly one
    a.yaml:38:20: error: an anniversary lies within whole days of today [bad-window]
        anniversary: today, or { in_next: 7d }, or { in_last: 3d, in_next: 7d }; at most 180d
    a.yaml:40:16: error: `someday` is not a day of the week [unknown-word]
        known here: friday, monday, saturday, sunday, thursday, tuesday, wednesday
    a.yaml:42:18: error: `status` cannot be added up: it is text [wrong-type]
        count its different values: distinct: { of: …, gte: 2 }
    a.yaml:44:17: error: `distinct` needs `of`: the property it is of [missing-key]
        distinct: { of: sku, gte: 2 }
    a.yaml:45:17: error: `categry` is not a property of what was bought [unknown-property]
        did you mean `category`?
    a.yaml:46:7: error: `in_last` has no length [impossible]
    a.yaml:48:7: error: `pick` needs `top` or `sample` [missing-key]
        pick: { top: { by: revenue, share: 5% } }, or: pick: { sample: { share: 50%, salt: spring } }
    a.yaml:48:20: error: `country` is no number of a customer to order by [unknown-field]
    a.yaml:48:36: error: a share of nothing picks nobody [out-of-range]
    a.yaml:48:50: error: `sample` needs `salt`: text [missing-key]
    a.yaml:50:11: error: `size` is compared with nothing [missing-key]
        size: { between: [0.5%, 20%] }
    a.yaml:52:5: error: a case needs `expect`: in or out [missing-key]
    a.yaml:53:26: error: `ordes` is not a field of a customer [unknown-field]
        did you mean `orders`? A column of your own is written `attribute.ordes`
    a.yaml:53:45: error: `revenue` must be a number, not the text "much" [wrong-type]
    34 errors and 0 warnings
    "#);
}

#[test]
fn the_contract_types_names_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let text = "project: shop\ncurrency: EUR\ntopics: { offers: Offers }\n\
                sender: { from: hello@example.com, organisation: Shop, postal_address: 1 Road }\n\
                contract:\n  customer: { account: [staff, guest], points: number, born: date, tags: list, vip: flag }\n  \
                product: { colour: text }\n  events: { cart.updated: { items: number }, survey.nps: { score: number } }\n";
    std::fs::write(folder.path().join("okaeri.yaml"), text).unwrap();
    let settings = Project::load_with(folder.path(), |_| None, &mut Problems::new()).unwrap().settings;
    let mut problems = Problems::new();
    let text = "segment: a\nwhere:\n  all:\n    - did: cart.updatd\n    - did: cart.updated\n      with: { item: 3 }\n    - did: cart.updated\n      with: { items: many }\n    \
                - did: survey.nps\n      with: { rating: { lte: 6 } }\n    - customer: acount\n      eq: staff\n    - customer: account\n      eq: boss\n    \
                - customer: points\n      starts_with: 1\n    - customer: born\n      gte: 23.5.1990\n    - customer: born\n      in_last: 12h\n    - customer: tags\n      eq: x\n    \
                - customer: vip\n      eq: maybe\n    - bought: { color: red }\n    - customer: attribute.points\n      gte: 3\n";
    Library::from_texts(&[("a.yaml", text)], &settings, &mut problems);
    insta::assert_snapshot!(anstream::adapter::strip_str(&problems.to_text()).to_string(), @r#"
    a.yaml:4:12: error: the contract has no event `cart.updatd` [unknown-event]
        did you mean `cart.updated`?
    a.yaml:6:15: error: the contract gives `cart.updated` no property `item` [unknown-property]
        did you mean `items`?
    a.yaml:8:22: error: `items` must be a number, not the text "many" [wrong-type]
    a.yaml:11:17: error: `acount` is neither a field nor a column that the contract declares [unknown-field]
        did you mean `account`?
    a.yaml:14:11: error: `eq` is never `boss`: the contract lists its words [unknown-word]
        known here: guest, staff
    a.yaml:16:20: error: `starts_with` does not fit `points`, which is a number [wrong-type]
        it can be compared with: gte, gt, lte, lt, between, eq, in, exists
    a.yaml:18:12: error: `23.5.1990` is not a date [bad-date]
        write 1990-05-23
    a.yaml:19:7: error: a date has no time of day: 12h is no whole number of days [wrong-type]
    a.yaml:22:11: error: `eq` does not fit `tags`, which is a list [wrong-type]
        it can be compared with: has, exists
    a.yaml:24:11: error: `eq` must be true or false, not the text "maybe" [wrong-type]
    a.yaml:25:17: error: the contract gives products no property `color` [unknown-property]
        did you mean `colour`?
    11 errors and 0 warnings
    "#);
}

#[test]
fn hostile_files_are_bounded() {
    let deep = format!("segment: deep\nwhere: {}{{ rfm: champions }}{}\n", "{ all: [".repeat(60), "] }".repeat(60));
    let wide_leaf = "- { did: x, times: { gte: 3 } }\n".repeat(1_000);
    let wide = format!("segment: wide\nwhere:\n  any:\n{}", wide_leaf.replace("- ", "    - "));
    let list: Vec<String> = (0..10_000).map(|n| format!("\"sku' OR 1=1 --{n}\"")).collect();
    let long = format!("segment: long\nwhere: {{ bought: {{ sku: [{}] }} }}\n", list.join(","));
    let (library, problems) = problems_of(&[
        ("deep.yaml", &deep),
        ("wide.yaml", &wide),
        ("long.yaml", &long),
        ("quote.yaml", "segment: quote\nwhere: { customer: \"a\\\"]; DROP TABLE customer; --\", eq: 1 }\n"),
        ("text.yaml", &format!("segment: text\nwhere: {{ customer: note, eq: {} }}\n", "x".repeat(1_000))),
    ]);
    assert_eq!(library.names().collect::<Vec<_>>(), ["long"], "a long list is a rule like any other; {problems}");
    let codes: Vec<&str> = problems.lines().filter_map(|l| l.rsplit_once('[')).map(|(_, code)| code).collect();
    assert_eq!(codes, ["too-deep]", "bad-name]", "text-too-long]", "segment-too-large]"], "{problems}");
}
