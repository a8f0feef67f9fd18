//! The documents say what the code does: tables of states, fields, reasons, columns and verbs are read from the Markdown and compared.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use okaeri::content::{IGNORED, RULES, Sign};
use okaeri::data::Kind;
use okaeri::plan::Reason;
use okaeri::problem::Severity;
use okaeri::profile::Rfm;
use okaeri::profile::fields::FIELDS;
use okaeri::queue::{DeliveryState, RunState};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The text under a heading, up to the next heading of the same or a higher level.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let level = heading.split(' ').next().unwrap().len();
    let start =
        text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading `{heading}`")) + heading.len() + 2;
    let rest = &text[start..];
    let ends = rest.match_indices("\n#").find(|(i, _)| rest[i + 1..].split(' ').next().unwrap().len() <= level);
    &rest[..ends.map_or(rest.len(), |(i, _)| i)]
}

/// The cells of every table row, without headings and rulers.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_ruler = |line: &str| line.starts_with("|--") || line.starts_with("|:-");
    lines
        .iter()
        .enumerate()
        .filter(|(i, line)| line.starts_with('|') && !is_ruler(line) && !lines.get(i + 1).is_some_and(|l| is_ruler(l)))
        .map(|(_, line)| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What stands in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The moves a table names, from its first two columns; each cell may list several states.
fn moves(table: &str) -> BTreeSet<(&str, &str)> {
    let mut moves = BTreeSet::new();
    for row in rows(table) {
        for from in row[0].split(',') {
            for to in row[1].split(',') {
                assert!(moves.insert((from.trim(), to.trim())), "{from} → {to} stands twice");
            }
        }
    }
    moves
}

#[test]
fn the_page_of_states_names_every_legal_move_and_no_other() {
    let text = document("docs/states.md");
    let messages: BTreeSet<_> = DeliveryState::ALL
        .iter()
        .flat_map(|a| DeliveryState::ALL.iter().filter(|b| a.may_become(**b)).map(|b| (a.word(), b.word())))
        .collect();
    assert_eq!(moves(section(&text, "## Message")), messages);
    let runs: BTreeSet<_> = RunState::ALL
        .iter()
        .flat_map(|a| RunState::ALL.iter().filter(|b| a.may_become(**b)).map(|b| (a.word(), b.word())))
        .collect();
    assert_eq!(moves(section(&text, "## Run")), runs);
}

#[test]
fn every_field_stands_in_the_language_reference() {
    let text = document("docs/segments.md");
    let fields = section(&text, "## Fields");
    let told: BTreeSet<&str> = rows(fields).into_iter().filter(|r| r.len() == 3).flat_map(|r| quoted(r[0])).collect();
    let known: BTreeSet<&str> = FIELDS.iter().map(|f| f.name).collect();
    assert_eq!(told, known);
    for row in rows(fields).into_iter().filter(|r| r.len() == 6) {
        let r = row[0].parse().unwrap();
        for (f, name) in (1..).zip(&row[1..]) {
            assert_eq!(*name, Rfm::of(r, f).name(), "R {r}, F {f}");
        }
    }
}

#[test]
fn every_reason_stands_in_the_order_of_the_guards() {
    let text = document("docs/campaigns.md");
    let told: Vec<&str> =
        rows(section(&text, "## Who gets nothing, and why")).into_iter().flat_map(|r| quoted(r[0])).collect();
    assert_eq!(told, Reason::ALL.map(Reason::word));
}

#[test]
fn every_rule_of_the_lint_stands_in_its_page_with_its_severity() {
    let text = document("docs/lint.md");
    let table = text.split("## What programs ignore").next().unwrap();
    let told: Vec<(&str, &str)> =
        rows(table).into_iter().filter(|r| r.len() >= 5).map(|r| (quoted(r[0])[0], r[1])).collect();
    let known: Vec<(&str, &str)> =
        RULES.iter().map(|r| (r.code, if r.severity == Severity::Error { "error" } else { "warning" })).collect();
    assert_eq!(told, known);
    let table = rows(section(&text, "## What programs ignore"));
    let told: BTreeSet<(String, String)> =
        table.iter().flat_map(|r| quoted(r[1]).into_iter().map(|what| (what.to_owned(), r[0].to_owned()))).collect();
    let known = IGNORED.iter().map(|ignored| {
        let by: Vec<&str> = ignored.by.iter().map(|client| client.name()).collect();
        let what = match ignored.sign {
            Sign::Property(name) | Sign::Unit(name) | Sign::Selector(name) | Sign::AtRule(name) => name.to_owned(),
            Sign::Value(name, value) => format!("{name}: {value}"),
            Sign::Function(name) => format!("{name}()"),
            Sign::Element(name) => format!("<{name}>"),
            Sign::Picture(begins) => format!("<img src=\"{begins}…\">"),
        };
        (what, if by.len() == 4 { "all four".to_owned() } else { by.join(", ") })
    });
    assert_eq!(told, known.collect());
}

#[test]
fn every_column_of_the_data_is_documented() {
    for name in ["docs/data.md", "README.md"] {
        let text = document(name);
        for kind in Kind::ALL {
            let row = rows(&text).into_iter().find(|r| r[0] == kind.name());
            let row = row.unwrap_or_else(|| panic!("{name} has no row of {}", kind.name()));
            let told = row[1].replace("**", "");
            let missing: Vec<_> = kind.columns().iter().filter(|c| !told.contains(*c)).collect();
            // The README shows what a file usually has; the page of the data shows all of it.
            let rare = ["unit_price", "customer_id", "ordered_at"];
            let missing: Vec<_> = missing
                .into_iter()
                .filter(|c| name != "README.md" || kind != Kind::Lines || !rare.contains(*c))
                .collect();
            assert!(missing.is_empty(), "{name}, {}: {missing:?}", kind.name());
        }
    }
}

#[test]
fn every_verb_stands_in_the_readme() {
    let readme = document("README.md");
    let told: BTreeSet<&str> = rows(section(&readme, "## Commands"))
        .into_iter()
        .filter_map(|r| quoted(r[0]).first().and_then(|c| c.strip_prefix("okaeri ")))
        .map(|c| c.split(' ').next().unwrap())
        .collect();
    let help = Command::new(env!("CARGO_BIN_EXE_okaeri")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let verbs = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let verbs: BTreeSet<&str> = verbs
        .lines()
        .filter_map(|l| l.strip_prefix("  "))
        .filter(|l| !l.starts_with(' '))
        .map(|l| l.split(' ').next().unwrap())
        .filter(|verb| *verb != "help")
        .collect();
    assert_eq!(told, verbs);
}

#[test]
fn help_says_first_what_a_verb_is_about_and_names_exit_codes() {
    let help = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_okaeri")).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let run = help(&["help", "run"]);
    let (own, everywhere) = run.split_once("\nEverywhere:\n").expect("what every verb accepts stands apart");
    assert!(own.contains("--max-time") && !own.contains("--format") && everywhere.contains("--format"), "{run}");
    for text in [run, help(&["--help"])] {
        for code in ["0 done", "2 problems", "3 done, but", "4 a run is paused", "5 database", "75 work remains"] {
            assert!(text.contains(code), "{code}: {text}");
        }
    }
    assert!(help(&["--help"]).contains("schema editor"));
}

#[test]
fn the_examples_have_no_problems() {
    let dir = tempfile::tempdir().unwrap();
    let okaeri = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_okaeri"));
        command.env("NO_COLOR", "1").current_dir(dir.path()).args(args).output().unwrap()
    };
    assert!(okaeri(&["init", "."]).status.success());
    // Examples speak of any shop's events and columns, not of the scaffold's.
    std::fs::remove_file(dir.path().join("contract.yaml")).unwrap();
    let (segments, campaigns) = (dir.path().join("campaigns/segments"), dir.path().join("campaigns"));
    let mut examples = 0;
    for page in ["README.md", "docs/segments.md", "docs/campaigns.md", "docs/recommendations.md", "docs/rewards.md"] {
        let text = document(page);
        for block in text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            examples += 1;
            let name =
                |key: &str| block.strip_prefix(key).map(|rest| rest.split_whitespace().next().unwrap().to_owned());
            if let Some(name) = name("segment: ") {
                std::fs::write(segments.join(format!("{name}.yaml")), block).unwrap();
            } else if let Some(name) = name("campaign: ") {
                std::fs::write(campaigns.join(format!("{name}.yaml")), block).unwrap();
            } else if block.starts_with("- ") {
                let indented = block.lines().map(|l| format!("    {l}\n")).collect::<String>();
                let name = format!("example_{examples}");
                let whole = format!("segment: {name}\nwhere:\n  any:\n{indented}");
                std::fs::write(segments.join(format!("{name}.yaml")), whole).unwrap();
            } else {
                examples -= 1;
            }
        }
        let checked = okaeri(&["check"]);
        assert!(checked.status.success(), "{page}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    assert!(examples >= 4, "only {examples} examples were found");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents: Vec<PathBuf> = vec!["README.md".into(), "CHANGELOG.md".into()];
    for folder in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|e| e.unwrap().path());
        let pages = entries.filter(|p| p.extension().is_some_and(|e| e == "md"));
        documents.extend(pages.map(|p| p.strip_prefix(root()).unwrap().to_owned()));
    }
    for name in documents {
        let text = document(name.to_str().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let target = root().join(name.parent().unwrap()).join(path);
            assert!(target.exists(), "{}: the link {link} leads nowhere", name.display());
        }
    }
}

#[test]
fn decisions_are_short_numbered_and_titled_alike() {
    let mut names: Vec<String> = std::fs::read_dir(root().join("docs/decisions"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for (n, name) in (1..).zip(&names) {
        let text = document(&format!("docs/decisions/{name}"));
        assert!(name.starts_with(&format!("{n:04}-")), "{name} is not number {n}");
        assert!(text.starts_with(&format!("# {n:04} · ")), "{name}: the title");
        assert!(text.lines().count() <= 40, "{name} is longer than 40 lines");
        for part in ["**Question.**", "**Options.**", "**Choice: ", "**What would change our mind.**"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
    }
}
