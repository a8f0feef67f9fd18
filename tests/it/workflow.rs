//! The workflow that `okaeri init` writes: its steps run here by the shell, as a runner of GitHub would, with a database and a mail server of our own.

use std::path::Path;
use std::process::{Command, Output};

use serde_yaml::Value;

use crate::compared::has_git;
use crate::ground::mail;
use crate::ground::{each_database, skipped};

const BINARY: &str = env!("CARGO_BIN_EXE_okaeri");

/// `gh`, as far as the workflow asks: comments are listed, made and changed. Another bot has commented before.
const GH: &str = r#"#!/bin/sh
method=GET body=
[ "$1" = api ] || exit 9
shift
while [ $# -gt 0 ]; do
  case $1 in
    --method) method=$2; shift ;;
    --field) body=${2#body=@}; shift ;;
    --jq) ;;
    repos/*) place=$1 ;;
  esac
  shift
done
case "$method $place" in
  'GET repos/komorebi/shop/issues/7/comments')
    if grep -qs '^<!-- okaeri plan -->' ../comment.md; then echo 4711; fi ;;
  'POST repos/komorebi/shop/issues/7/comments' | 'PATCH repos/komorebi/shop/issues/comments/4711')
    cp "$body" ../comment.md && echo "$method" >> ../said ;;
  *) echo "unexpected: $method $place" >&2; exit 9 ;;
esac
"#;

/// A runner: a checkout, and the variables a job sees.
struct Runner {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Runner {
    fn project(&self) -> std::path::PathBuf {
        self.folder.path().join("shop")
    }

    fn shell(&self, script: &str) -> Output {
        self.shell_in(&self.project(), script)
    }

    fn shell_in(&self, folder: &Path, script: &str) -> Output {
        let mut bash = Command::new("bash");
        bash.args(["-e", "-c", script]).current_dir(folder).env_clear();
        bash.envs(self.variables.iter().map(|(name, value)| (name, value))).output().unwrap()
    }

    /// The steps of a job that are scripts, one after the other; what was written to the summary.
    fn job(&self, workflow: &Value, job: &str) -> String {
        let summary = self.folder.path().join("summary.md");
        std::fs::write(&summary, "").unwrap();
        let steps = workflow["jobs"][job]["steps"].as_sequence().unwrap_or_else(|| panic!("no job {job}"));
        for script in steps.iter().filter_map(|step| step["run"].as_str()) {
            let done = self.shell(script);
            let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(done.status.success(), "{job}: {script}\n{}\n{}", told(&done.stdout), told(&done.stderr));
        }
        std::fs::read_to_string(&summary).unwrap()
    }
}

fn runner(database_url: &str, smtp_url: &str) -> Runner {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(BINARY, bin.join("okaeri")).unwrap();
    // What would speak with GitHub keeps the comment, finds it again by its mark, and writes down each change.
    let gh = bin.join("gh");
    std::fs::write(&gh, GH).unwrap();
    std::fs::set_permissions(&gh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let identity = ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"];
    let mut variables: Vec<(&'static str, String)> =
        identity.into_iter().map(|name| (name, "ada@example.com".to_owned())).collect();
    variables.extend([
        ("PATH", path),
        ("HOME", folder.path().display().to_string()),
        ("CI", "true".to_owned()),
        ("DATABASE_URL", database_url.to_owned()),
        ("SMTP_URL", smtp_url.to_owned()),
        ("OKAERI_SECRET", "a secret of the workflow, long enough".to_owned()),
        ("GITHUB_STEP_SUMMARY", folder.path().join("summary.md").display().to_string()),
        ("GITHUB_BASE_REF", "main".to_owned()),
        ("GITHUB_REPOSITORY", "komorebi/shop".to_owned()),
        ("NUMBER", "7".to_owned()),
    ]);
    Runner { folder, variables }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workflow_of_a_new_project_reviews_sends_and_reports() {
    if !has_git() {
        return skipped("git is not installed");
    }
    each_database(|url| async move {
        let catcher = mail::by_recipient().await;
        let runner = runner(&url, &catcher.url());
        // What a runner sees is what is in git, and nothing that lies beside it.
        let made = runner.shell_in(
            runner.folder.path(),
            "okaeri init mine && cd mine && git init --quiet --initial-branch main && git add --all && git commit --quiet -m begin \
             && cd .. && git clone --quiet mine shop",
        );
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let workflow = runner.project().join(".github/workflows/campaigns.yml");
        let workflow: Value = serde_yaml::from_str(&std::fs::read_to_string(workflow).unwrap()).unwrap();

        let sent = runner.job(&workflow, "send");
        assert!(sent.contains("welcome"), "{sent}");
        let mails = catcher.mails().len();
        assert!(mails > 0, "nobody was mailed");
        runner.job(&workflow, "send");
        assert_eq!(catcher.mails().len(), mails, "the next hour mails nobody again");

        let letter = runner.project().join("templates/win-back.html");
        let text = std::fs::read_to_string(&letter).unwrap();
        std::fs::write(&letter, text.replacen("Subject: ", "Subject: Hello, ", 1)).unwrap();
        let review = runner.job(&workflow, "review");
        assert!(review.contains("| win-back |") && review.contains("win-back: subject"), "{review}");
        let comment = || std::fs::read_to_string(runner.folder.path().join("comment.md")).unwrap();
        assert_eq!(comment(), format!("<!-- okaeri plan -->\n{review}"));
        assert!(is_xml(&runner.project().join("test-results.xml")));
        std::fs::write(&letter, text).unwrap();
        let review = runner.job(&workflow, "review");
        assert_eq!(comment(), format!("<!-- okaeri plan -->\n{review}"), "the next push writes the same comment anew");
        assert_eq!(std::fs::read_to_string(runner.folder.path().join("said")).unwrap(), "POST\nPATCH\n");

        let report = runner.job(&workflow, "report");
        assert!(report.contains("welcome") && !report.contains('@'), "{report}");
    })
    .await;
}

/// The script for cron says nothing while all is well, and what went wrong when it does.
#[tokio::test(flavor = "multi_thread")]
async fn the_hourly_script_speaks_up_only_when_somebody_must_look() {
    if !has_git() {
        return skipped("git is not installed");
    }
    let catcher = mail::by_recipient().await;
    let runner = runner("", "");
    let outside = runner.folder.path();
    let made = runner.shell_in(
        outside,
        "okaeri init mine && cd mine && git init --quiet --initial-branch main && git add --all && git commit --quiet -m begin \
         && cd .. && git clone --quiet mine shop",
    );
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let database = outside.join("okaeri.db");
    let variables = format!(
        "DATABASE_URL=sqlite:{}\nSMTP_URL={}\nOKAERI_SECRET='long enough; and $strange'\nOKAERI_BASE_URL=https://mail.example.com\n",
        database.display(),
        catcher.url()
    );
    std::fs::write(outside.join("okaeri.env"), &variables).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ci/hourly.sh");
    let hourly = || runner.shell_in(outside, &format!("{script} shop ./okaeri.env"));
    for _ in 0..2 {
        let ran = hourly();
        let said = [ran.stdout, ran.stderr].concat();
        assert_eq!((ran.status.code(), String::from_utf8_lossy(&said).as_ref()), (Some(0), ""));
    }
    assert!(!catcher.mails().is_empty(), "the welcome is due at any hour");
    std::fs::write(outside.join("okaeri.env"), variables.replace("sqlite:", "mysql:")).unwrap();
    let ran = hourly();
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("expected sqlite:PATH or postgres://"), "{ran:?}");
}

/// Whoever proposes a change runs it: that job may comment, and sees no login that could write.
#[test]
fn a_pull_request_gets_no_login_that_writes_and_only_its_job_may_comment() {
    let text = include_str!("../../src/cli/init/github/workflows/campaigns.yml");
    let workflow: Value = serde_yaml::from_str(text).unwrap();
    assert_eq!(workflow["permissions"], serde_yaml::from_str::<Value>("contents: read").unwrap());
    let jobs = workflow["jobs"].as_mapping().unwrap();
    for (name, job) in jobs {
        let reviews = name == "review";
        assert_eq!(job["permissions"]["pull-requests"].as_str(), reviews.then_some("write"), "{name:?}");
        let said = serde_yaml::to_string(job).unwrap();
        assert_eq!(said.contains("secrets.DATABASE_URL }}"), !reviews, "{name:?}");
        assert!(!reviews || !said.contains("SMTP_URL"), "{name:?}");
    }
}

fn is_xml(file: &Path) -> bool {
    std::fs::read_to_string(file).unwrap().starts_with("<?xml")
}
