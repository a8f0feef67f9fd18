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
