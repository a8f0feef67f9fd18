//! The guards and readers of YAML.

use super::*;

fn problems_of(text: &str) -> String {
    let mut problems = Problems::new();
    if let Some(node) = parse("f.yaml", text, &mut problems)
        && let Some(mut m) = node.map("a campaign", &mut problems)
    {
        m.require::<String>("campaign", &mut problems);
        m.get::<u32>("priority", &mut problems);
        m.get::<Share>("holdout", &mut problems);
        m.get::<Span>("once_per", &mut problems);
        m.not_supported_yet(&["steps"], &mut problems);
        m.finish(&mut problems);
    }
    anstream::adapter::strip_str(&problems.to_text()).to_string()
}

#[test]
fn all_problems_come_at_once_with_their_places() {
    insta::assert_snapshot!(problems_of("campain: x\npriority: high\nholdout: 110%\nonce_per: often\nsteps: []\npriority: 3\n"), @r#"
    f.yaml:1:1: error: `campain` is not a key of a campaign [unknown-key]
        did you mean `campaign`?
    f.yaml:1:1: error: a campaign needs `campaign`: text [missing-key]
    f.yaml:2:11: error: `priority` must be a whole number, 0 or more, not the text "high" [wrong-type]
    f.yaml:3:10: error: `holdout` must be a share such as 10%, not the text "110%" [wrong-type]
    f.yaml:4:11: error: `once_per` must be a length of time such as 30d, 12h or 45m, not the text "often" [wrong-type]
    f.yaml:5:1: error: `steps` is not supported yet [not-supported-yet]
        remove it for now; nothing is ignored in silence
    f.yaml:6:1: error: `priority` is given twice [duplicate-key]
        the first stands on line 2; keep one of them
    7 errors and 0 warnings
    "#);
}

#[test]
fn hostile_files_are_refused_quickly() {
    assert!(problems_of(&"a".repeat(10 << 20)).contains("at most 256 KiB"));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..30 {
        let p = i - 1;
        bomb.push_str(&format!("a{i}: &a{i} [*a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}]\n"));
    }
    assert!(problems_of(&bomb).contains("aliases are expanded"));
    assert!(problems_of(&"[".repeat(100_000)).contains("1 error"));
    assert!(problems_of(&format!("{}x{}", "[".repeat(100), "]".repeat(100))).contains("deeper than 64"));
    assert!(problems_of("a: &a [*a]").contains("alias"));
    assert!(problems_of("").contains("empty"));
    assert!(problems_of("a: 1\n---\nb: 2\n").contains("second YAML document"));
    assert!(problems_of("a: 'open\n").contains("not-yaml"));
    assert!(problems_of("a: !!python/object x").contains("tag"));
    assert!(problems_of("\u{0}").contains("error"));
}

#[test]
fn scalars_are_what_yaml_says() {
    let mut problems = Problems::new();
    let node = parse("f", "[yes, true, 1, 1.5, ~, 'true', 09:00, 2026-11-24, 30%]", &mut problems).unwrap();
    let Shape::List(list) = node.shape else { panic!() };
    let shown: Vec<String> = list.iter().map(|n| n.described()).collect();
    assert_eq!(shown[..5], ["the text \"yes\"", "true", "the number 1", "the number 1.5", "nothing"]);
    assert_eq!(shown[5..9], ["the text \"true\"", "the text \"09:00\"", "the text \"2026-11-24\"", "the text \"30%\""]);
}
