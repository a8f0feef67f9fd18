use super::*;
use crate::clock::parse_instant;
use crate::segment::schema::Names;
use crate::yaml::schema::assert_like_readers;

fn personas(file: Option<&str>) -> (Vec<Persona>, String) {
    let dir = tempfile::tempdir().unwrap();
    let settings = "project: shop\nsender: { from: a@example.com, organisation: Shop, postal_address: 1 Road }\ncontract: { customer: { points: number } }\n";
    std::fs::write(dir.path().join("okaeri.yaml"), settings).unwrap();
    if let Some(text) = file {
        std::fs::write(dir.path().join(FILE), text).unwrap();
    }
    let mut problems = Problems::new();
    let project = Project::load_with(dir.path(), |_| None, &mut problems).unwrap();
    let now = parse_instant("2026-11-24T09:00", &project.settings.time_zone).unwrap();
    let personas = load(&project, now, &mut problems);
    (personas, anstream::adapter::strip_str(&problems.to_text()).to_string())
}

#[test]
fn ours_are_seen_like_customers() {
    let (personas, problems) = personas(None);
    assert_eq!(problems, "");
    let names: Vec<&str> = personas.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["loyal", "new", "japanese", "nameless", "no-orders", "waiting", "long-name", "hostile"]);
    let loyal = &personas[0].payload;
    assert_eq!((&loyal["profile"]["orders"], &loyal["profile"]["days_since_last_order"]), (&6.into(), &76.into()));
    assert_eq!(loyal["order"]["lines"][1]["name"], "Paper lamp");
    assert_eq!(loyal["profile"]["last_viewed"]["name"], "Small cup");
    assert_eq!(loyal["today"], "2026-11-24");
    let cart = |p: &Persona| {
        let items = p.payload["cart"]["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|i| format!("{}×{} {}", i["name"].as_str().unwrap(), i["quantity"], i["price"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(cart(&personas[0]), ["Small cup×2 1790", "Piano for rainy days×1 1900"]);
    assert_eq!(cart(&personas[2]), ["小さな湯呑×1 1790", "和紙のランプ×1 5400"]);
    assert!(personas[1].payload.get("cart").is_none());
    assert_eq!(personas[2].locale.as_deref(), Some("ja"));
    let lead = &personas[4].payload;
    assert!(lead.get("order").is_none() && lead["profile"]["lifecycle"] == "lead");
    assert_eq!(personas[5].payload["profile"]["open_tickets"], 1);
    assert!(personas.iter().all(|p| p.payload["customer"]["email"].as_str().unwrap().ends_with("@example.com")));
}

#[test]
fn ours_pay_in_the_projects_money() {
    let (dir, now) = (tempfile::tempdir().unwrap(), 1_795_510_800_000);
    let text =
        "project: shop\ncurrency: JPY\nsender: { from: a@example.com, organisation: Shop, postal_address: 1 Road }\n";
    std::fs::write(dir.path().join("okaeri.yaml"), text).unwrap();
    let project = Project::load_with(dir.path(), |_| None, &mut Problems::new()).unwrap();
    let order = load(&project, now, &mut Problems::new())[0].payload["order"].clone();
    assert_eq!((&order["total"], &order["currency"]), (&9_200.into(), &"JPY".into()));
}

#[test]
fn a_project_adds_its_own_and_replaces_ours() {
    let text = "- persona: loyal\n  title: Ours\n  customer: { first_name: Kim, points: 3, orders: 2, last_order: 3d ago }\n- persona: collector\n";
    let (personas, problems) = self::personas(Some(text));
    assert_eq!(problems, "");
    assert_eq!((personas[0].title.as_str(), &personas[0].payload["customer"]["points"]), ("Ours", &3.into()));
    assert_eq!((personas[1].name.as_str(), personas.len()), ("collector", 9));
}

#[test]
fn the_schema_has_the_keys_that_the_reader_asks_for() {
    let text = "project: shop\nsender: { from: a@example.com, organisation: Shop, postal_address: 1 Road }\n";
    let mut problems = Problems::new();
    let settings = Settings::from_texts(("okaeri.yaml", text), None, |_| None, &mut problems).unwrap();
    crate::yaml::asked::taken();
    let people = "- persona: kim\n  title: Kim\n  strange: true\n  customer: { orders: 2 }\n";
    read(FILE, people, 1_795_510_800_000, &settings, &mut problems);
    assert_eq!(problems.to_text(), "");
    let names = Names { settings: &settings, segments: &[], campaigns: &[] };
    assert_like_readers(
        &schema::personas_file(names),
        &["a persona"],
        &["a customer", "`customer`", "an event", "an order", "an order line"],
    );
}

#[test]
fn mistakes_are_told_with_their_places() {
    let text = "- persona: A b\n- persona: x\n  customr: {}\n- persona: x\n- customer: { pints: 3 }\n";
    insta::assert_snapshot!(personas(Some(text)).1, @r"
    personas.yaml:1:12: error: a persona cannot be called `A b` [bad-name]
        small letters, digits, `-` and `_`, at most 64
    personas.yaml:3:3: error: `customr` is not a key of a persona [unknown-key]
        did you mean `customer`?
    personas.yaml:4:3: error: the persona `x` stands twice [duplicate-name]
    personas.yaml:5:3: error: a persona needs `persona`: text [missing-key]
    personas.yaml:5:15: error: `pints` is neither a field nor a column that the contract declares [unknown-field]
        did you mean `points`?
    5 errors and 0 warnings
    ");
    assert!(personas(Some("personas: {}")).1.contains("must be a list of personas"));
    assert!(personas(Some("")).1.contains("the file is empty"));
}
