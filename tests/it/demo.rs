//! The demo, run as a newcomer runs it: the built binary in an empty folder.

use std::path::Path;
use std::process::{Command, Output};

use okaeri::problem::Problems;
use serde_json::Value;

/// The binary in a folder, with an environment that must not matter to the demo.
fn okaeri(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_okaeri"));
    command.current_dir(folder).args(args);
    command
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
        .env("SMTP_URL", "smtp://127.0.0.1:1")
        .env_remove("OKAERI_SECRET");
    command
}

fn done(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn eml_files(demo: &Path) -> usize {
    let names = std::fs::read_dir(demo.join("mails")).unwrap().map(|e| e.unwrap().path());
    names.filter(|p| p.extension().is_some_and(|e| e == "eml")).count()
}

/// The code of a reward that a mail shows.
fn code_in(mail: &[u8]) -> Option<String> {
    let parsed = mail_parser::MessageParser::default().parse(mail)?;
    let text = parsed.body_text(0)?;
    let line = text.lines().find(|l| l.starts_with("CHA-") || l.starts_with("OTO-"))?;
    Some(line.to_owned())
}

/// The secret, as the demo left it for whoever goes on.
fn secret(demo: &Path) -> String {
    let text = std::fs::read_to_string(demo.join(".env")).unwrap();
    text.lines().find_map(|l| l.strip_prefix("OKAERI_SECRET=")).unwrap().to_owned()
}

fn contract(text: &str) -> okaeri::settings::Contract {
    let mut problems = Problems::new();
    okaeri::settings::contract::parse("contract.yaml", text, &mut problems)
        .unwrap_or_else(|| panic!("{}", problems.to_text()))
}

#[test]
fn the_demo_goes_the_whole_way_and_leaves_a_project_one_can_go_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let said = done(&okaeri(folder.path(), &["demo", "--dir", "new/demo", "--format", "json"]).output().unwrap());
    let json: Value = serde_json::from_str(&said).expect("nothing but JSON on stdout");
    let demo = folder.path().join("new/demo");

    let totals = &json["delivery"]["totals"];
    let accepted = totals["accepted"].as_u64().unwrap();
    assert!(accepted > 200, "{totals}");
    assert_eq!(eml_files(&demo) as u64, accepted, "every accepted mail lies in mails/");
    let campaigns = json["campaigns"].as_array().unwrap();
    let send = |c: &Value| -> i64 {
        let verdicts = c["verdicts"].as_array().unwrap().iter().filter(|v| v["verdict"] == "send");
        verdicts.map(|v| v["people"].as_i64().unwrap()).sum()
    };
    assert_eq!(campaigns.iter().map(send).sum::<i64>() as u64, accepted, "whoever should be mailed was");
    let reached = &json["reached"];
    let people: i64 = reached.as_object().unwrap().values().map(|v| v["people"].as_i64().unwrap()).sum();
    assert_eq!(people, json["people"].as_i64().unwrap(), "everybody is one of mailed, withheld, left alone, not meant");
    assert!(
        // Nobody has been promised two quiet months yet, and nobody has risen since somebody looked.
        json["segments"].as_array().unwrap().iter().all(|s| {
            let nobody_yet = s["segment"] == "resting" || s["segment"] == "came_to_the_hearth";
            (s["people"].as_i64().unwrap() > 0) != nobody_yet
        }),
        "{}",
        json["segments"]
    );
    assert_eq!((&json["findings"], &json["complaints"]), (&serde_json::json!([]), &serde_json::json!([])));

    let page = std::fs::read_to_string(folder.path().join(json["page"].as_str().unwrap())).unwrap();
    for name in ["service-recovery", "welcome", "champions-thanks", "win-back"] {
        assert!(campaigns.iter().any(|c| c["campaign"] == name && send(c) > 0), "{name} mailed nobody");
        assert!(page.contains(&format!("id=\"{name}\"")), "{name} is not on the page");
    }
    assert!(
        page.contains("<figure lang=\"ja\"><figcaption><b>") && page.contains("灯りをつけてお待ちしています"),
        "Japanese subjects"
    );
    assert_eq!(page.matches("href=\"mails/").count() as u64, accepted + page.matches("<figure").count() as u64);

    // Whoever is won back is given something: each mail shows a code of its own.
    let letters = std::fs::read_dir(demo.join("mails")).unwrap().map(|e| e.unwrap().path());
    let texts = letters.filter(|p| p.extension().is_some_and(|e| e == "eml")).map(|p| std::fs::read(p).unwrap());
    let mut codes: Vec<String> = texts.filter_map(|mail| code_in(&mail)).collect();
    let given = codes.len();
    codes.sort();
    codes.dedup();
    let win_back = campaigns.iter().find(|c| c["campaign"] == "win-back").unwrap();
    assert_eq!((codes.len(), given as i64), (given, send(win_back)), "{codes:?}");

    let at_home = |args: &[&str]| {
        let mut command = okaeri(&demo, args);
        command.env_remove("DATABASE_URL").env("OKAERI_SECRET", secret(&demo));
        command.output().unwrap()
    };
    done(&at_home(&["queue", "verify"]));
    assert!(done(&at_home(&["send", "win-back"])).contains("nothing to do"));
    assert_eq!(eml_files(&demo) as u64, accepted);
    let declared = std::fs::read_to_string(demo.join("contract.yaml")).unwrap();
    done(&at_home(&["schema", "learn", "--write", "--force"]));
    let learnt = std::fs::read_to_string(demo.join("contract.yaml")).unwrap();
    assert!(
        !learnt.contains("# seen as") && !learnt.contains("# not seen"),
        "the contract does not fit the data:\n{learnt}"
    );
    assert_eq!(contract(&learnt), contract(&declared), "the contract names everything there is");

    let again = okaeri(folder.path(), &["demo", "--dir", "new/demo"]).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("new/demo is not empty"));
}

#[test]
fn without_a_folder_named_the_first_free_one_is_made_and_quiet_says_only_where_the_page_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("okaeri-demo")).unwrap();
    let said = done(&okaeri(folder.path(), &["demo", "--quiet"]).output().unwrap());
    assert_eq!(said, "okaeri-demo-2/report.html\n");
    assert!(folder.path().join(said.trim_end()).is_file());
}
