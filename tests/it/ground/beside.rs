//! A program of `.ci/with-…` that runs beside the tests. It ends when its leash is let go, at the latest with this process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

/// What runs, and the variables that it tells.
pub struct Beside {
    pub told: Vec<String>,
    process: Child,
    leash: Option<ChildStdin>,
}

impl Beside {
    /// Starts a script and waits for what it tells in these variables; `None` when it could not start.
    pub fn start(script: &str, variables: &[&str]) -> Option<Beside> {
        Beside::start_through(&[], script, variables)
    }

    /// The same, through a program that runs its arguments.
    pub fn start_through(through: &[&str], script: &str, variables: &[&str]) -> Option<Beside> {
        let echo: String = variables.iter().map(|v| format!("echo \"${v}\"; ")).collect();
        let script = format!("{}/.ci/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut words = through.iter().copied().chain([script.as_str()]);
        let mut command = Command::new(words.next().expect("the script at least"));
        command.args(words).args(["sh", "-c", &format!("{echo}exec cat >/dev/null")]);
        variables.iter().for_each(|v| {
            command.env_remove(v);
        });
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let leash = process.stdin.take();
        let lines = BufReader::new(process.stdout.take().expect("its output is a pipe")).lines();
        let told: Vec<String> = lines.take(variables.len()).filter_map(Result::ok).collect();
        (told.len() == variables.len()).then_some(Beside { told, process, leash })
    }

    /// Lets go and waits until it is gone.
    pub fn stop(mut self) {
        drop(self.leash.take());
        self.process.wait().expect("the script ends when its leash is let go");
    }
}
