//! One real program, started, watched, killed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clock::Deadline;

/// A child process whose messages go to a file. It is killed when this value is dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// The folder that the programs were built into: beside the running one, or above it for tests.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    for folder in own.ancestors().skip(1).take(2) {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("{name} is not built: run `cargo build --workspace --bins`")
}

impl Process {
    /// Starts a program of the workspace.
    pub fn start<I, S>(name: &str, program_name: &str, arguments: I, logs: &Path) -> anyhow::Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        Self::start_under(&[], name, program_name, arguments, logs)
    }

    /// Starts a program of the workspace under another one, which is given first with its arguments.
    pub fn start_under<I, S>(
        above: &[OsString],
        name: &str,
        program_name: &str,
        arguments: I,
        logs: &Path,
    ) -> anyhow::Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let path = program(program_name)?;
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let mut words = above.iter().map(OsString::as_os_str).chain([path.as_os_str()]);
        let first = words.next().unwrap_or(path.as_os_str());
        let child = Command::new(first)
            .args(words)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("can't start {}", path.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it said.
    pub fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<_> = text.lines().rev().take(30).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Fails with what it said if it has ended.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself ({status}); it said:\n{}", self.name, self.said()),
        }
    }

    /// Waits until it has done its work; fails with what it said if it did not succeed.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Deadline::after(limit);
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} failed ({status}); it said:\n{}", self.name, self.said()),
                None if deadline.is_over() => bail!("{} took longer than {limit:?}", self.name),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// SIGKILL: as the power switch does it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(&mut self, limit: Duration) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Deadline::after(limit);
        while self.child.try_wait()?.is_none() {
            if deadline.is_over() {
                self.kill()?;
                bail!("{} did not stop within {limit:?}; it said:\n{}", self.name, self.said());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

/// The process that names this one as its parent.
pub fn child_of(parent: u32) -> Option<u32> {
    for entry in std::fs::read_dir("/proc").ok()? {
        let name = entry.ok()?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if status.lines().any(|line| line == format!("PPid:\t{parent}")) {
            return Some(pid);
        }
    }
    None
}
