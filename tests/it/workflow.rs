//! The workflow that `okaeri init` writes: its steps run here by the shell, as a runner of GitHub would, with a database and a mail server of our own.

use std::path::Path;
use std::process::{Command, Output};

use serde_yaml::Value;

use crate::compared::has_git;
use crate::ground::mail;
use crate::ground::{each_database, skipped};

const BINARY: &str = env!("CARGO_BIN_EXE_okaeri");

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
        let mut bash = Command::new("bash");
        bash.args(["-e", "-c", script]).current_dir(self.project()).env_clear();
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
    std::fs::create_dir_all(folder.path().join("shop")).unwrap();
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(BINARY, bin.join("okaeri")).unwrap();
    // What would comment on the pull request keeps the comment.
    let gh = bin.join("gh");
    std::fs::write(
        &gh,
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = --body-file ] && cp \"$2\" ../comment.md; shift; done\n",
    )
    .unwrap();
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
        let made = runner.shell(
            "okaeri init . && git init --quiet && git add --all && git commit --quiet -m begin && git update-ref refs/remotes/origin/main HEAD",
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
        let comment = std::fs::read_to_string(runner.folder.path().join("comment.md")).unwrap();
        assert_eq!(comment, review);
        assert!(is_xml(&runner.project().join("test-results.xml")));

        let report = runner.job(&workflow, "report");
        assert!(report.contains("welcome") && !report.contains('@'), "{report}");
    })
    .await;
}

fn is_xml(file: &Path) -> bool {
    std::fs::read_to_string(file).unwrap().starts_with("<?xml")
}
