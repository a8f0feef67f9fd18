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
    insta::assert_snapshot!(problems, @"");
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
    insta::assert_snapshot!(problems, @"");
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
    insta::assert_snapshot!(sentence(&library.get("a").unwrap().rule, &settings()), @"");
}
