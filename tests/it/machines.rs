//! What `--format json` prints is what docs/json.md says: every command of its table is run, and every key looked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::compared::has_git;
use crate::ground::scenario::Scenario;
use crate::ground::skipped;
use crate::review::catcher;

/// A command of the table, and where its keys are: the path of a mapping → names in it.
struct Promised {
    line: String,
    keys: Vec<(String, Vec<String>)>,
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The rows of the table. `list[]`: what follows its colon is in the members of a list; `name`: in a mapping.
fn promised(document: &str) -> Vec<Promised> {
    let rows = document.lines().filter_map(|l| l.strip_prefix("| `okaeri "));
    rows.map(|row| {
        let (line, keys) = row.split_once("` |").expect("a row has two cells");
        let parts = keys.split(';').map(|part| match part.split_once(':') {
            Some((head, inside)) if !quoted(head).is_empty() && !quoted(inside).is_empty() => {
                (quoted(head)[0].to_owned(), quoted(inside).into_iter().map(str::to_owned).collect())
            }
            _ => (String::new(), quoted(part).into_iter().map(str::to_owned).collect()),
        });
        Promised { line: line.to_owned(), keys: parts.collect() }
    })
    .collect()
}

/// The mapping at a path; the first member of a list.
fn at<'v>(told: &'v Value, path: &str) -> &'v Value {
    match (path, path.strip_suffix("[]")) {
        ("", _) => told,
        (_, Some(list)) => &told[list][0],
        (name, None) => &told[name],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_that_is_documented_is_there() {
    if !has_git() {
        return skipped("git is not installed");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = promised(&std::fs::read_to_string(root.join("docs/json.md")).unwrap());
    assert!(table.len() > 35);
    let catcher = catcher().await;
    let shop = Scenario::new("sqlite:okaeri.db").smtp(&catcher.url());
    std::fs::remove_file(shop.path("okaeri.yaml")).unwrap();
    shop.okaeri("init .").await.exits(0);
    commit(&shop.path("."));
    // What it prints hangs on what came before: the others of a verb are told there too.
    let elsewhere = ["okaeri report CAMPAIGN", "okaeri work"];
    for Promised { line, keys } in &table {
        let code = match line.as_str() {
            "model fit" | "model show" => 2, // too few buyers, which is told with the same keys
            line if line.starts_with("doctor") => 5,
            _ => 0,
        };
        let told = shop.json(line, code).await;
        for (path, names) in keys {
            let place = at(&told, path);
            for name in names.iter().filter(|n| !n.starts_with("--") && !elsewhere.contains(&n.as_str())) {
                // Kept for one of several forms of the command, which say so in words.
                if spoken_of_as_another_form(line, name) {
                    continue;
                }
                assert!(place.get(name).is_some(), "okaeri {line}: no `{name}` in `{path}`: {told:#}");
            }
        }
    }
    let verbs: BTreeSet<&str> = table.iter().map(|p| p.line.split(' ').next().unwrap()).collect();
    let help = shop.okaeri("--help").await.exits(0).stdout;
    let all = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap().lines();
    let all =
        all.filter_map(|l| l.strip_prefix("  ")).filter(|l| !l.starts_with(' ')).map(|l| l.split(' ').next().unwrap());
    for verb in all.filter(|verb| !["catch", "demo", "serve", "completions", "help"].contains(verb)) {
        assert!(verbs.contains(verb), "docs/json.md says nothing of `okaeri {verb}`");
    }
}

/// Keys that the row itself gives to another form: `run … or missed`, `--against: …`, `--who the movers`.
fn spoken_of_as_another_form(line: &str, name: &str) -> bool {
    let others: &[&str] = match line.split(' ').next().unwrap_or_default() {
        "run" => &["missed", "stopped", "verdicts", "run", "null"],
        "segment" if line.starts_with("segment diff") => &["against", "commit", "segments"],
        "report" => &["movers"],
        "send" => &["null"],
        _ => &[],
    };
    others.contains(&name)
}

fn commit(folder: &PathBuf) {
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
            command.env(name, "ada@example.com");
        }
        assert!(command.args(args).current_dir(folder).output().unwrap().status.success(), "{args:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "begin"]);
}
