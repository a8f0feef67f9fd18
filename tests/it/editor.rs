//! The schemas that `okaeri schema editor` writes, in the hands of somebody else's validator: every example is right by them, and a slip is underlined
//! where it stands.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::ground::skipped;

const PYTHON: &str = "/usr/bin/python3";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The schemas of a project, in a folder of their own.
fn schemas(project: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_okaeri"));
    for name in ["DATABASE_URL", "SMTP_URL", "OKAERI_SECRET", "OKAERI_BASE_URL"] {
        command.env_remove(name);
    }
    let output = command.current_dir(project).args(["schema", "editor", "--to"]).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    dir
}

/// What the validator finds in each text; `None` when it is not installed.
fn judged(asked: &[(PathBuf, String)]) -> Option<Vec<Vec<String>>> {
    let has = |modules: &str| Command::new(PYTHON).args(["-c", modules]).output().is_ok_and(|o| o.status.success());
    if !has("import jsonschema, yaml") {
        skipped("python3-jsonschema is not installed; make test installs it");
        return None;
    }
    let script = root().join("tests/it/editor/judge.py");
    let mut python = Command::new(PYTHON).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let asked: Value = asked.iter().map(|(schema, text)| json!([schema, text])).collect();
    python.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// The files of a project, each with its schema.
fn files(project: &Path, schemas: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut files = vec![(project.join("okaeri.yaml"), schemas.join("settings.json"))];
    files.push((project.join("contract.yaml"), schemas.join("contract.json")));
    for (folder, schema) in [("campaigns", "campaign.json"), ("campaigns/segments", "segment.json")] {
        let entries = std::fs::read_dir(project.join(folder)).unwrap().map(|e| e.unwrap().path());
        files.extend(entries.filter(|p| p.is_file()).map(|p| (p, schemas.join(schema))));
    }
    files.retain(|(file, _)| file.exists());
    files.sort();
    files
}

#[test]
fn every_example_file_is_right_by_its_schema() {
    let scaffold = tempfile::tempdir().unwrap();
    let init =
        Command::new(env!("CARGO_BIN_EXE_okaeri")).arg("init").arg(scaffold.path().join("shop")).output().unwrap();
    assert!(init.status.success());
    for project in [root().to_owned(), scaffold.path().join("shop")] {
        let schemas = schemas(&project);
        let files = files(&project, schemas.path());
        assert!(files.len() > 4);
        let texts: Vec<(PathBuf, String)> =
            files.iter().map(|(file, schema)| (schema.clone(), std::fs::read_to_string(file).unwrap())).collect();
        let Some(found) = judged(&texts) else { return };
        for ((file, _), found) in files.iter().zip(found) {
            assert!(found.is_empty(), "{}: {found:#?}", file.display());
        }
    }
}

/// Ours, which know no contract.
#[test]
fn the_personas_that_come_with_the_program_are_right_by_their_schema() {
    let project = tempfile::tempdir().unwrap();
    let settings = "project: shop\nsender: { from: a@example.com, organisation: o, postal_address: p }\n";
    std::fs::write(project.path().join("okaeri.yaml"), settings).unwrap();
    let schemas = schemas(project.path());
    let people = std::fs::read_to_string(root().join("src/persona/people.yaml")).unwrap();
    let Some(found) = judged(&[(schemas.path().join("personas.json"), people)]) else { return };
    assert!(found[0].is_empty(), "{:#?}", found[0]);
}

/// The examples of the language, when they are at hand.
#[test]
fn every_example_of_the_segment_language_is_right_by_its_schema() {
    let Ok(text) = std::fs::read_to_string(root().join("../shared/reference/segments.examples.yaml")) else {
        return skipped("the reference examples are not here");
    };
    let project = tempfile::tempdir().unwrap();
    let settings = "project: shop\nsender: { from: a@example.com, organisation: o, postal_address: p }\n\
        topics: { offers: Offers, news: News, tips: Tips }\nloyalty: { by: spend, tiers: { bronze: 1, silver: 200, gold: 500, platinum: 900 } }\n";
    std::fs::write(project.path().join("okaeri.yaml"), settings).unwrap();
    let schemas = schemas(project.path());
    let examples: Vec<&str> = text.split("\n---").filter(|t| t.contains("where:")).collect();
    assert!(examples.len() >= 5, "{}", examples.len());
    let asked: Vec<_> = examples.iter().map(|t| (schemas.path().join("segment.json"), (*t).to_owned())).collect();
    let Some(found) = judged(&asked) else { return };
    for (example, found) in examples.iter().zip(found) {
        // Segments of others are not in this project.
        let own: Vec<_> = found.iter().filter(|f| !f.contains("in_segment") && !f.contains("tests")).collect();
        assert!(own.is_empty(), "{example}\n{own:#?}");
    }
}

#[test]
fn a_slip_is_underlined_where_it_stands() {
    let project = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = project.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "okaeri.yaml",
        "project: shop\nsender: { from: a@example.com, organisation: o, postal_address: p }\ntopics: { offers: Offers }\n\
         contract: { customer: { account: [staff, guest], birthday: date }, events: { cart.updated: { value: money, mood: [calm, angry] } } }\n",
    );
    write("campaigns/segments/quiet.yaml", "segment: quiet\nwhere: { customer: orders, gte: 2 }\n");
    write("templates/win-back/letter.html", "<p>{{ links.unsubscribe }}</p>");
    let schemas = schemas(project.path());
    let segment = |rule: &str| ("segment.json", format!("segment: x\nwhere: {rule}\n"));
    let campaign = |line: &str| {
        let steps = if line.starts_with("steps:") { "" } else { "steps: [{ step: a, template: win-back/letter }]\n" };
        ("campaign.json", format!("campaign: x\ntopic: offers\naudience: everyone\n{steps}{line}\n"))
    };
    let settings = |line: &str| {
        (
            "settings.json",
            format!("project: shop\nsender: {{ from: a@example.com, organisation: o, postal_address: p }}\n{line}\n"),
        )
    };
    let person = |lines: &str| ("personas.json", format!("- persona: kim\n{lines}\n"));
    let cases = [
        (segment("{ custmer: orders, gte: 2 }"), "where: "),
        (segment("{ customer: ordres, gte: 2 }"), "where.customer: 'ordres'"),
        (segment("{ customer: orders, gte: 2, in_last: 30d }"), "where: 'in_last'"),
        (segment("{ customer: orders, starts_with: a }"), "where: 'starts_with'"),
        (segment("{ customer: account, eq: staf }"), "where.eq: 'staf'"),
        (segment("{ customer: birthday, contains: May }"), "where: 'contains'"),
        (segment("{ did: cart.update, in_last: 3d }"), "where.did: 'cart.update'"),
        (segment("{ did: cart.updated, in_last: 3 days ago }"), "where.in_last: '3 days ago'"),
        (segment("{ did: cart.updated, with: { valeu: 3 } }"), "where.with: "),
        (segment("{ did: cart.updated, with: { mood: [calm, sad] } }"), "where.with.mood.1: 'sad'"),
        (segment("{ all: [{ lifecycle: [drifting, lpsed] }] }"), "where.all.0.lifecycle.1: 'lpsed'"),
        (segment("{ any: [{ customer: orders, gtee: 2 }] }"), "where.any.0: "),
        (segment("{ in_segment: quit }"), "where.in_segment: 'quit'"),
        (segment("{ consent: ofers }"), "where.consent: 'ofers'"),
        (segment("{ score: ltv.12, gte: 3 }"), "where.score: 'ltv.12'"),
        (segment("{ customer: orders, gte: 2 }\npick: { top: { by: revenu, share: 5% } }"), "pick.top.by: 'revenu'"),
        (segment("{ customer: orders, gte: 2 }\ntests: [{ case: a, expect: inn }]"), "tests.0.expect: 'inn'"),
        (campaign("status: alive"), "status: 'alive'"),
        (campaign("exclude: { in_segment: quit }"), "exclude.in_segment: 'quit'"),
        (campaign("steps: [{ step: a, template: win-back/leter }]"), "steps.0.template: 'win-back/leter'"),
        (campaign("steps: [{ step: a, tempalte: win-back/letter }]"), "steps.0: "),
        (campaign("steps: [{ step: a, template: win-back/letter, at: 9 o'clock }]"), "steps.0.at: "),
        (
            campaign("steps: [{ step: a, template: win-back/letter, unless: { did: order.plced } }]"),
            "steps.0.unless.did: ",
        ),
        (campaign("schedule: { every: tuesday }"), "schedule.every: "),
        (campaign("experiment: { split: { holdout: 10 } }"), "experiment.split.holdout: "),
        (campaign("limits: { per_run: many }"), "limits.per_run: 'many'"),
        (settings("currency: euro"), "currency: 'euro'"),
        (settings("smtp: { url: x, rates: { gmial: 20/s } }"), "smtp.rates: "),
        (settings("guards: { quiet_hours: { from: late, to: \"08:00\" } }"), "guards.quiet_hours.from: 'late'"),
        (settings("compliance: [eu, uk]"), "compliance.1: 'uk'"),
        (settings("loyalty: { by: speed, tiers: { a: 1 } }"), "loyalty.by: 'speed'"),
        (settings("brnd: { name: x }"), ": "),
        (person("  customer: { account: staf }"), "0.customer.account: 'staf'"),
        (person("  customr: { orders: 2 }"), "0: "),
    ];
    let asked: Vec<_> = cases.iter().map(|((schema, text), _)| (schemas.path().join(schema), text.clone())).collect();
    let Some(found) = judged(&asked) else { return };
    for (((_, text), wanted), found) in cases.iter().zip(found) {
        assert!(found.iter().any(|f| f.starts_with(wanted)), "{text}\nwanted {wanted}\nfound {found:#?}");
    }
}
