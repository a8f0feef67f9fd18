//! A newcomer's first minutes: `okaeri init`, `okaeri catch`, and the README's first campaign, as written there.

use crate::ground::scenario::Scenario;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_okaeri");
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The binary in `dir`, with nothing of ours from the environment.
fn okaeri(dir: &Path) -> Command {
    let mut command = Command::new(BINARY);
    clean(&mut command).current_dir(dir);
    command
}

fn clean(command: &mut Command) -> &mut Command {
    for name in ["DATABASE_URL", "SMTP_URL", "OKAERI_SECRET", "OKAERI_BASE_URL"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1")
}

fn run(dir: &Path, args: &[&str]) -> Output {
    okaeri(dir).args(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn a_new_project_has_no_problems_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let made = run(dir.path(), &["--format", "json", "--at", "2026-11-24T12:00", "init", "shop"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let told: Value = serde_json::from_str(stdout(&made)).unwrap();
    let shop = dir.path().join("shop");
    for file in told["files"].as_array().unwrap() {
        assert!(shop.join(file.as_str().unwrap()).is_file(), "{file}");
    }
    assert!(std::fs::read_to_string(shop.join("sample/orders.csv")).unwrap().contains("c-01,2026-11-18T"));

    let checked = run(&shop, &["check"]);
    assert_eq!((checked.status.code(), stderr(&checked)), (Some(0), ""));
    assert_eq!(stdout(&checked), "1 settings file, 4 segments and 2 campaigns: no problems\n");

    let tested = run(&shop, &["test"]);
    assert!(
        stdout(&tested).contains("welcome\n  ✓ passed") && stdout(&tested).contains(" 0 failed"),
        "{}",
        stdout(&tested)
    );

    // An editor finds its schemas at once, by the setting or by the first line of each file.
    let editor: Value = serde_json::from_slice(&std::fs::read(shop.join(".vscode/settings.json")).unwrap()).unwrap();
    let again = run(&shop, &["--format", "json", "schema", "editor", "--to", "elsewhere"]);
    let again: Value = serde_json::from_str(&stdout(&again).replace("./elsewhere/", "./.okaeri/schemas/")).unwrap();
    assert_eq!(editor["yaml.schemas"], again["schemas"]);
    for file in told["files"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).filter(|f| f.ends_with(".yaml")) {
        let path = shop.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let schema = text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=");
        let schema = schema.unwrap_or_else(|| panic!("{file} names no schema"));
        assert!(path.parent().unwrap().join(schema).is_file(), "{file}: {schema}");
    }

    let early = run(&shop, &["plan", "win-back"]);
    assert_eq!(early.status.code(), Some(0));
    assert!(stderr(&early).contains("nobody is known yet: `okaeri import`"), "{}", stderr(&early));

    let sent = okaeri(&shop).env("OKAERI_SECRET", SECRET).args(["import", "--quiet"]).output().unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    let nobody_listens = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut alone = okaeri(&shop);
    alone.env("OKAERI_SECRET", SECRET).env("SMTP_URL", format!("smtp://{nobody_listens}"));
    let alone = alone.args(["run", "--quiet"]).output().unwrap();
    assert_eq!(alone.status.code(), Some(5), "{}", stderr(&alone));
    assert!(stderr(&alone).contains("start `okaeri catch` in another terminal"), "{}", stderr(&alone));
    std::fs::remove_dir_all(shop.join("sample")).unwrap();
    let gone = run(&shop, &["import"]);
    assert_eq!(gone.status.code(), Some(2));
    assert!(
        stderr(&gone).contains("sample/products.csv") && stderr(&gone).contains("what git ignores"),
        "{}",
        stderr(&gone)
    );

    std::fs::write(shop.join("okaeri.yaml"), "mine").unwrap();
    std::fs::remove_file(shop.join("README.md")).unwrap();
    let again = run(dir.path(), &["init", "shop"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("nothing was written"), "{}", stderr(&again));
    assert_eq!(std::fs::read_to_string(shop.join("okaeri.yaml")).unwrap(), "mine");
    assert!(!shop.join("README.md").exists(), "when one file is in the way, none is written");
}

/// The fenced blocks of a document whose info string is `info`.
fn blocks(text: &str, info: &str) -> String {
    let fence = format!("```{info}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_first_campaign_of_the_readme_works_as_written() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let script = blocks(&readme, "sh first-campaign");
    assert!(script.contains("okaeri init my-shop\n") && script.contains("okaeri send win-back"), "{script}");
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago, because the default may be taken here.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = Path::new(BINARY).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    clean(&mut bash).args(["-euo", "pipefail", "-c", &script]).current_dir(dir.path());
    let done = bash.env("PATH", path).env("SMTP_URL", format!("smtp://127.0.0.1:{port}")).output().unwrap();
    let (out, err) = (stdout(&done), stderr(&done));
    assert!(done.status.success(), "{out}\n{err}");

    let shop = dir.path().join("my-shop");
    let mails = std::fs::read_dir(shop.join(".okaeri/mails")).unwrap().count();
    assert!(readme.contains(&format!("# {mails} mails, in .okaeri/mails")), "the README does not say {mails} mails");
    assert!(out.contains(&format!("{mails} accepted by the mail server")), "{out}");
    assert!(out.contains("1 withheld") && out.contains("nothing to do"), "{out}");
    assert!(out.contains("c-14 is in gone_quiet") && !out.contains('✗'), "{out}");
    assert!(shop.join(".okaeri/preview/win-back.html").is_file());
    assert!(err.contains("catching mail on smtp://127.0.0.1"), "{err}");

    let mut json = okaeri(&shop);
    let verified = json.args(["--format", "json", "queue", "verify"]).output().unwrap();
    assert_eq!(serde_json::from_str::<Value>(stdout(&verified)).unwrap(), serde_json::json!({ "findings": [] }));
    let queued = okaeri(&shop).args(["--format", "json", "queue", "status"]).output().unwrap();
    let queued: Value = serde_json::from_str(stdout(&queued)).unwrap();
    assert_eq!(queued["runs"].as_array().unwrap().len(), 1);
    assert_eq!(queued["runs"][0]["state"], "drained");

    let learnt = okaeri(&shop).args(["schema", "learn"]).output().unwrap();
    let learnt = stdout(&learnt);
    assert!(
        !learnt.contains("# seen as") && !learnt.contains("# not seen"),
        "the contract does not fit the data:\n{learnt}"
    );
    assert!(learnt.contains("staff: [\"yes\"]") && learnt.contains("  product.viewed:"), "{learnt}");
}

#[test]
fn the_catcher_stays_on_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &["init", "."]).status.success());
    let open = run(dir.path(), &["catch", "--listen", "0.0.0.0:2525"]);
    assert_eq!(open.status.code(), Some(2));
    assert!(stderr(&open).contains("write 127.0.0.1:2525"), "{}", stderr(&open));
    let real = okaeri(dir.path()).env("SMTP_URL", "smtps://u:p@mail.example.com").arg("catch").output().unwrap();
    assert_eq!(real.status.code(), Some(2));
    let told = stderr(&real);
    assert!(told.contains("smtps://u@mail.example.com:465") && !told.contains("u:p@"), "{told}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = run(dir.path(), &["catch", "--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(second.status.code(), Some(5));
    assert!(stderr(&second).contains("another `okaeri catch` is at work there"), "{}", stderr(&second));
}

#[test]
fn the_catcher_can_misbehave_and_ends_politely() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &["init", "."]).status.success());
    let mut catcher = okaeri(dir.path())
        .args(["--format", "json", "catch", "--faults", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.path().join("caught"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(catcher.stderr.as_mut().unwrap()).read_line(&mut first).unwrap();
    let url =
        first.split(' ').find_map(|w| w.strip_suffix(',').filter(|w| w.starts_with("smtp://"))).unwrap().to_owned();
    let send_to = |address: &str| {
        let mut preview = okaeri(dir.path());
        preview.env("SMTP_URL", &url).env("OKAERI_SECRET", SECRET);
        preview.args(["preview", "welcome", "--quiet", "--send-to", address]).output().unwrap()
    };
    assert_eq!(send_to("mia@example.com").status.code(), Some(0));
    let refused = send_to("hard@example.com");
    assert_eq!(refused.status.code(), Some(5));
    assert!(stderr(&refused).contains("5.1.1"), "{}", stderr(&refused));

    let ended = Command::new("kill").args(["-TERM", &catcher.id().to_string()]).status().unwrap();
    assert!(ended.success());
    let output = catcher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(told["messages"], 1);
    assert!(told["refused"].as_u64() >= Some(1), "{told}");
    assert!(dir.path().join("caught/000001.eml").is_file());
}

#[tokio::test]
async fn shells_get_their_completions_and_ci_its_files() {
    let shop = Scenario::new("sqlite:okaeri.db").campaign("hello", "audience: { in_segment: nobody_knows }");
    for shell in ["bash", "zsh", "fish"] {
        let script = shop.okaeri(&format!("completions {shell}")).await.exits(0).stdout;
        assert!(script.contains("okaeri") && script.contains("calendar"), "{shell}");
        // Read by the shell it is for, as far as that is installed; bash is.
        shop.write("completions", &script);
        let read = Command::new(shell).arg("-n").arg(shop.path("completions")).output();
        match read {
            Ok(read) => assert!(read.status.success(), "{shell}: {}", stderr(&read)),
            Err(e) => assert!(shell != "bash", "bash: {e}"),
        }
    }
    let ran = shop.okaeri("check --github --sarif problems.sarif").await.exits(2);
    assert!(ran.stderr.starts_with("::error file=campaigns/hello.yaml,line="), "{}", ran.stderr);
    let sarif: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(shop.path("problems.sarif")).unwrap()).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "unknown-segment");
    shop.okaeri("test --junit broken.xml").await.exits(2);
    let xml = std::fs::read_to_string(shop.path("broken.xml")).unwrap();
    assert!(xml.contains("<testsuite name=\"campaigns/hello.yaml\" tests=\"1\" failures=\"1\""), "{xml}");
    assert!(xml.contains("name=\"unknown-segment\"><failure>campaigns/hello.yaml:"), "{xml}");
    let shop = shop.campaign("hello", "");
    shop.write(
        "campaigns/segments/regulars.yaml",
        "segment: regulars\nwhere: { customer: orders, gte: 3 }\nwatched: true\ntests:\n  - case: a regular is in\n    given: { customer: { orders: 4 } }\n    expect: in\n",
    );
    shop.okaeri("test --junit results.xml").await.exits(0);
    let xml = std::fs::read_to_string(shop.path("results.xml")).unwrap();
    assert!(xml.contains("<testsuites name=\"okaeri\" tests=\"1\" failures=\"0\""), "{xml}");
}
