//! Problems for the programs that show them beside the code: SARIF 2.1.0 (OASIS), and the workflow commands of GitHub Actions.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Problem, Problems, Severity};

const SARIF_SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

impl Problems {
    /// SARIF 2.1.0: one run, a result for each problem, a rule for each code.
    pub fn to_sarif(&self) -> Value {
        let all = self.sorted();
        let mut codes: Vec<&str> = all.iter().map(|p| p.code).collect();
        codes.sort_unstable();
        codes.dedup();
        let rules: Vec<Value> = codes.iter().map(|code| json!({ "id": code })).collect();
        json!({
            "$schema": SARIF_SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": { "name": "okaeri", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
                "columnKind": "unicodeCodePoints",
                "results": all.into_iter().map(result).collect::<Vec<_>>(),
            }],
        })
    }

    /// A workflow command for each problem: GitHub shows them at their lines in the pull request.
    pub fn to_github(&self) -> String {
        let mut out = String::new();
        for p in self.sorted() {
            let word = match p.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let mut place = format!("file={}", property(&p.place.file));
            if p.place.line > 0 {
                let _ = write!(place, ",line={},col={}", p.place.line, p.place.column);
            }
            let _ = writeln!(out, "::{word} {place},title={}::{}", property(p.code), data(&said(p)));
        }
        out
    }
}

fn result(p: &Problem) -> Value {
    let level = match p.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut place = json!({ "artifactLocation": { "uri": uri(&p.place.file) } });
    if p.place.line > 0 {
        place["region"] = json!({ "startLine": p.place.line, "startColumn": p.place.column });
    }
    json!({
        "ruleId": p.code,
        "level": level,
        "message": { "text": said(p) },
        "locations": [{ "physicalLocation": place }],
    })
}

fn said(p: &Problem) -> String {
    match &p.hint {
        Some(hint) => format!("{}\n{hint}", p.message),
        None => p.message.clone(),
    }
}

/// A relative path as a URI reference (RFC 3986): what is not unreserved is written in percent, slashes stay.
fn uri(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut out, b| {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(b)),
            b => drop(write!(out, "%{b:02X}")),
        }
        out
    })
}

/// Text after `::`, as the runner reads it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, likewise.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Place;

    fn two() -> Problems {
        let mut problems = Problems::new();
        let place = Place { file: "campaigns/お帰り, a.yaml".into(), line: 3, column: 8 };
        problems.error("unknown-topic", &place, "the topic `a:b` is 100% unknown").hint("did you mean `offers`?");
        problems.warning("odd", &Place::file("okaeri.yaml"), "a file\nas a whole");
        problems
    }

    #[test]
    fn workflow_commands_keep_what_would_end_them() {
        assert_eq!(
            two().to_github(),
            "::error file=campaigns/お帰り%2C a.yaml,line=3,col=8,title=unknown-topic::the topic `a:b` is 100%25 unknown%0Adid you mean `offers`?\n\
             ::warning file=okaeri.yaml,title=odd::a file%0Aas a whole\n"
        );
    }

    #[test]
    fn sarif_has_a_result_for_each_problem_and_a_rule_for_each_code() {
        let sarif = two().to_sarif();
        let run = &sarif["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"], json!([{ "id": "odd" }, { "id": "unknown-topic" }]));
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "campaigns/%E3%81%8A%E5%B8%B0%E3%82%8A%2C%20a.yaml");
        assert_eq!(place["region"], json!({ "startLine": 3, "startColumn": 8 }));
        assert_eq!(run["results"][1]["locations"][0]["physicalLocation"]["region"], Value::Null);
        assert_eq!(Problems::new().to_sarif()["runs"][0]["results"], json!([]));
    }
}
