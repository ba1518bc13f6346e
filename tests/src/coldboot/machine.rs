//! A virtual machine without a network, and what it tells on its serial line.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use hardware::clock::Stopwatch;

use super::image::Kernel;
use crate::clock::Deadline;

/// How long a whole boot with its story may take: nothing that is measured.
const PATIENCE: Duration = Duration::from_secs(400);
/// What every told line begins with.
const MARK: &str = "COLDBOOT ";

/// A line of the serial console, with two clocks.
#[derive(Clone, Debug)]
pub struct Told {
    /// Seconds since the machine was switched on, by our clock.
    pub host_s: f64,
    /// Seconds since its kernel started, by its own.
    pub guest_s: f64,
    /// What about.
    pub about: String,
    /// The rest of the line.
    pub rest: String,
}

/// Switches a machine on, listens until its story is over, and takes its power away.
pub async fn boot(kernel: &Kernel, disk: &Path, story: &str, clock: &str, serial: &Path) -> anyhow::Result<Vec<Told>> {
    let _older = fs::remove_file(serial);
    let since = Stopwatch::start();
    let mut machine = Machine::switch_on(kernel, disk, story, clock, serial)?;
    let deadline = Deadline::after(PATIENCE);
    let mut told: Vec<Told> = Vec::new();
    loop {
        let said = fs::read(serial).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let host_s = since.elapsed_us() as f64 / 1_000_000.0;
        // A line counts when its end is there.
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        told.extend(whole.lines().filter_map(|line| line_told(line, host_s)).skip(told.len()).collect::<Vec<_>>());
        if told.last().is_some_and(|last| last.about == "end") {
            return Ok(told);
        }
        let ended = machine.child.try_wait()?;
        if ended.is_some() || deadline.is_over() {
            bail!("the machine did not come to its end ({ended:?}); its console is in {}", serial.display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn line_told(line: &str, host_s: f64) -> Option<Told> {
    // The kernel's own messages may stand before it in the same line.
    let (_, line) = line.trim_end().split_once(MARK)?;
    let mut words = line.splitn(3, ' ');
    let guest_s = words.next()?.parse().ok()?;
    let about = words.next()?.to_owned();
    Some(Told { host_s, guest_s, about, rest: words.next().unwrap_or_default().to_owned() })
}

/// A running machine; its power goes when this value is dropped.
struct Machine {
    child: Child,
}

impl Machine {
    fn switch_on(kernel: &Kernel, disk: &Path, story: &str, clock: &str, serial: &Path) -> anyhow::Result<Self> {
        let console = serial.with_extension("machine.log");
        let file = File::create(&console)?;
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max,svm=off",
            "-smp",
            "2",
            "-m",
            "1024",
        ]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot", "-nic", "none"]);
        command.arg("-rtc").arg(format!("base={clock}"));
        command.arg("-serial").arg(argument("file:", serial));
        command.arg("-drive").arg(argument("format=raw,if=virtio,file=", disk));
        command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&kernel.first);
        command.arg("-append").arg(format!("root=/dev/vda rw console=ttyS0 quiet panic=-1 coldboot={story}"));
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        Ok(Self { child: child.context("can't start qemu-system-x86_64")? })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn argument(before: &str, path: &Path) -> PathBuf {
    let mut words = std::ffi::OsString::from(before);
    words.push(path);
    words.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_lines_are_found_among_the_kernels() {
        let told = line_told("[    3.1] something COLDBOOT 12.50 networks lo eth0\r", 20.0).unwrap();
        assert_eq!((told.guest_s, told.host_s, told.about.as_str()), (12.5, 20.0, "networks"));
        assert_eq!(told.rest, "lo eth0");
        assert_eq!(line_told("COLDBOOT 7.00 end", 1.0).unwrap().rest, "");
        assert!(line_told("[    3.1] something else", 1.0).is_none());
    }
}
