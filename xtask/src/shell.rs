//! Runs programs for a step: in the open, or into a log whose tail is shown when the step fails.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, bail};

/// Where output of programs and remarks go.
#[derive(Debug)]
pub struct Shell {
    log: Option<PathBuf>,
}

impl Shell {
    /// Output goes to the terminal.
    pub fn loud() -> Self {
        Self { log: None }
    }

    /// Output goes to a new file.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn logged(path: &Path) -> anyhow::Result<Self> {
        File::create(path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { log: Some(path.to_path_buf()) })
    }

    /// Tells the person (or the log) what happens next.
    pub fn say(&self, text: &str) {
        match &self.log {
            None => eprintln!("{text}"),
            Some(path) => {
                // A remark that cannot be logged is not worth failing a step for.
                if let Ok(mut file) = File::options().append(true).open(path) {
                    let _ = writeln!(file, "{text}");
                }
            }
        }
    }

    /// All that was written so far; nothing for a shell in the open.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn output(&self) -> anyhow::Result<String> {
        self.log.as_ref().map_or_else(|| Ok(String::new()), |path| Ok(std::fs::read_to_string(path)?))
    }

    /// Runs a program to its end and says how it ended; its results go to our stdout.
    ///
    /// # Errors
    /// When it could not be started.
    pub fn status(&self, command: &mut Command) -> anyhow::Result<ExitStatus> {
        command.stdin(Stdio::null());
        if let Some(path) = &self.log {
            let log = File::options().append(true).open(path)?;
            command.stdout(log.try_clone()?).stderr(log);
            // A log is read as text, also where CI asks cargo for colour.
            command.env("CARGO_TERM_COLOR", "never").env("NO_COLOR", "1");
        }
        let program = command.get_program().to_string_lossy().into_owned();
        command.status().with_context(|| format!("start {program}"))
    }

    /// Runs a program that has to succeed.
    ///
    /// # Errors
    /// When it could not be started or did not succeed; the text names the whole command.
    pub fn run(&self, command: &mut Command) -> anyhow::Result<()> {
        // What a tool says on the way is a message: stdout stays clean for `demo --json`.
        command.stdout(std::io::stderr());
        let status = self.status(command)?;
        if status.success() {
            return Ok(());
        }
        bail!("`{}` ended with {status}", spelled(command));
    }
}

/// The command as somebody would type it.
pub fn spelled(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Whether a program of this name can be started.
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
