//! What a traced process wrote, and when it synced: `strace` told in our own words.
//!
//! Only files of one folder count, without locks and shared memory, which are nothing after a power cut. Everything has its
//! effect when the call returns; only a sync covers no more than what was written before it began.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// The calls that can change a file, and those through which a process tells others what it did.
pub const CALLS: &str = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,fdatasync,fsync,\
                         sync_file_range,unlink,unlinkat,rename,renameat,renameat2,link,linkat,sendto,sendmsg";

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// A file came to be, or was emptied if it was there.
    Open {
        /// Its name in the folder.
        file: String,
        /// Emptied.
        truncate: bool,
    },
    /// Bytes were handed to the kernel.
    Write {
        /// Into which file.
        file: String,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file got another length.
    Length {
        /// Which.
        file: String,
        /// How long it is now, bytes.
        length: u64,
    },
    /// The kernel says that a file is on the disk.
    Sync {
        /// Which.
        file: String,
        /// Everything before this operation.
        before: usize,
    },
    /// The kernel says that the folder's names are on the disk.
    SyncFolder {
        /// Everything before this operation.
        before: usize,
    },
    /// A name is gone.
    Remove {
        /// Which.
        file: String,
    },
    /// A file has another name, and whatever had that one is gone.
    Rename {
        /// Old.
        from: String,
        /// New.
        to: String,
    },
    /// The relay was asked to open for this event: from now on it may never be forgotten.
    Pulse {
        /// The event's id.
        event: String,
    },
    /// The traced process says that everything it did so far is stored.
    Stored,
    /// The traced process says that the cloud holds this event.
    Sent {
        /// The event's id.
        event: String,
    },
}

/// Reads what one process did in a folder, after what others did before it.
pub fn read(trace: &Path, folder: &Path, ops: &mut Vec<Op>) -> anyhow::Result<()> {
    let text = std::fs::read(trace).with_context(|| format!("no trace in {}", trace.display()))?;
    let mut reader =
        Reader { folder: folder.to_string_lossy().into_owned(), begun: HashMap::new(), at: HashMap::new() };
    for line in text.split(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(line).context("strace wrote something that is no text")?;
        reader.line(line, ops).with_context(|| format!("in the trace: {:.160}", line))?;
    }
    Ok(())
}

struct Reader {
    folder: String,
    /// Calls that have begun, by process: their text, and how many operations were before.
    begun: HashMap<String, (String, usize)>,
    /// Where the next plain write of a descriptor goes.
    at: HashMap<String, u64>,
}

impl Reader {
    fn line(&mut self, line: &str, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        let Some((process, rest)) = line.split_once(' ') else { return Ok(()) };
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            self.begun.insert(process.to_owned(), (first.to_owned(), ops.len()));
            return Ok(());
        }
        if rest.starts_with("<... ") {
            let (_, end) = rest.split_once("resumed>").context("resumed what?")?;
            let (first, before) = self.begun.remove(process).context("a call ends that never began")?;
            return self.call(&format!("{first}{end}"), before, ops);
        }
        self.call(rest, ops.len(), ops)
    }

    fn call(&mut self, text: &str, before: usize, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        // Exits and signals are no calls.
        let (Some((name, _)), Some(end)) = (text.split_once('('), text.rfind(") = ")) else { return Ok(()) };
        let arguments = &text[name.len() + 1..end];
        let result = text[end + 4..].trim_start();
        if result.starts_with('-') || result.starts_with('?') {
            return Ok(());
        }
        match name {
            "openat" | "open" | "creat" => self.open(arguments, result, ops),
            "write" | "writev" | "sendto" | "sendmsg" | "pwrite64" | "pwritev" | "pwritev2" => {
                self.write(name, arguments, result, ops)
            }
            "ftruncate" | "fallocate" => self.length(name, arguments, ops),
            "fsync" | "fdatasync" => {
                match self.inside(&path_of(arguments)) {
                    Some("") => ops.push(Op::SyncFolder { before }),
                    Some(file) => ops.push(Op::Sync { file: file.to_owned(), before }),
                    None => {}
                }
                Ok(())
            }
            "unlink" | "unlinkat" => {
                for path in quoted(arguments)? {
                    if let Some(file) = self.inside(&text_of(path)) {
                        ops.push(Op::Remove { file: file.to_owned() });
                    }
                }
                Ok(())
            }
            "rename" | "renameat" | "renameat2" => {
                let paths = quoted(arguments)?;
                let names: Vec<String> = paths.into_iter().map(text_of).collect();
                let [from, to] = &names[..] else { bail!("a rename needs two names") };
                match (self.inside(from), self.inside(to)) {
                    (Some(from), Some(to)) => ops.push(Op::Rename { from: from.to_owned(), to: to.to_owned() }),
                    (None, None) => {}
                    (Some(_), None) | (None, Some(_)) => bail!("a file was moved into or out of the folder"),
                }
                Ok(())
            }
            other => {
                let touches = self.inside(&path_of(arguments)).is_some();
                ensure!(!touches, "{other} on a file of the gate is not understood here");
                Ok(())
            }
        }
    }

    fn open(&mut self, arguments: &str, result: &str, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        self.at.insert(descriptor(result).to_owned(), 0);
        let path = path_of(result);
        let Some(file) = self.inside(&path) else { return Ok(()) };
        let writable = arguments.contains("O_WRONLY") || arguments.contains("O_RDWR");
        if writable && !file.is_empty() {
            ensure!(!arguments.contains("O_APPEND"), "appending to {file} is not understood here");
            ops.push(Op::Open { file: file.to_owned(), truncate: arguments.contains("O_TRUNC") });
        }
        Ok(())
    }

    fn write(&mut self, name: &str, arguments: &str, result: &str, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        let path = path_of(arguments);
        let Some(file) = self.inside(&path) else {
            // Something said to somebody: of interest only if it is one of the few things we listen for.
            if let Some(told) = told(arguments)? {
                ops.push(told);
            }
            return Ok(());
        };
        let written: usize = result.split_whitespace().next().unwrap_or("").parse().context("how much was written?")?;
        let mut bytes = Vec::with_capacity(written);
        for piece in quoted(arguments)? {
            unescape(piece, &mut bytes)?;
        }
        ensure!(bytes.len() >= written, "the trace holds only a part of what was written");
        bytes.truncate(written);
        let at = self.at.entry(descriptor(arguments).to_owned()).or_default();
        let offset = if name.starts_with('p') {
            let last = arguments.rsplit(',').next().unwrap_or("").trim();
            last.parse().context("where was it written?")?
        } else {
            std::mem::replace(at, *at + written as u64)
        };
        ops.push(Op::Write { file: file.to_owned(), offset, bytes });
        Ok(())
    }

    fn length(&self, name: &str, arguments: &str, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        let path = path_of(arguments);
        let Some(file) = self.inside(&path) else { return Ok(()) };
        let numbers: Vec<u64> = arguments.split(',').skip(1).filter_map(|word| word.trim().parse().ok()).collect();
        let length = match (name, &numbers[..]) {
            ("ftruncate", [length]) => *length,
            // The reserve is room, no data: nobody reads what it holds.
            ("fallocate", _) if !(file.ends_with(".db") || file.ends_with("-wal")) => return Ok(()),
            _ => bail!("{name} is not understood here"),
        };
        ops.push(Op::Length { file: file.to_owned(), length });
        Ok(())
    }

    /// The name inside the folder; empty for the folder itself.
    fn inside<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.folder.as_str())?;
        if rest.is_empty() {
            return Some("");
        }
        let name = rest.strip_prefix('/')?;
        let nothing = name.ends_with(".lock") || name.ends_with("-shm") || name.ends_with(" (deleted)");
        (!nothing).then_some(name)
    }
}

/// What the traced process told somebody, if it is one of the things that count here.
fn told(arguments: &str) -> anyhow::Result<Option<Op>> {
    // `{"do":"pulse"` and `POWERCUT ` as strace spells them: looking first saves decoding everything else.
    const PULSE: &str = r"\x22\x70\x75\x6c\x73\x65\x22";
    const OURS: &str = r"\x50\x4f\x57\x45\x52\x43\x55\x54\x20";
    if !arguments.contains(PULSE) && !arguments.contains(OURS) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for piece in quoted(arguments)? {
        unescape(piece, &mut bytes)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    for line in text.lines() {
        if let Ok(hardware::gate_io::protocol::Command::Pulse { event, .. }) = serde_json::from_str(line) {
            return Ok(Some(Op::Pulse { event }));
        }
        match line.strip_prefix("POWERCUT ").map(|said| said.split_once(' ').unwrap_or((said, ""))) {
            Some(("stored", _)) => return Ok(Some(Op::Stored)),
            Some(("sent", event)) => return Ok(Some(Op::Sent { event: event.to_owned() })),
            Some((other, _)) => bail!("the traced program said {other}"),
            None => {}
        }
    }
    Ok(None)
}

/// `12<path>` at the beginning.
fn descriptor(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

/// The path that strace puts behind a descriptor, decoded.
fn path_of(text: &str) -> String {
    let path = text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    text_of(path)
}

/// The texts between quotation marks, still as strace spells them.
fn quoted(arguments: &str) -> anyhow::Result<Vec<&str>> {
    ensure!(!arguments.contains("\"..."), "the trace was cut short: raise strace's -s");
    Ok(arguments.split('"').skip(1).step_by(2).collect())
}

fn text_of(spelled: &str) -> String {
    let mut bytes = Vec::new();
    match unescape(spelled, &mut bytes) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => spelled.to_owned(),
    }
}

/// `\x41\x42…` as bytes. What is not escaped stands for itself.
fn unescape(spelled: &str, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut rest = spelled.as_bytes();
    while let [first, after @ ..] = rest {
        if let ([b'\\'], [b'x', high, low, behind @ ..]) = ([*first], after) {
            let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (Some(high), Some(low)) = (digit(high), digit(low)) else { bail!("no hexadecimal number") };
            bytes.push(high << 4 | low);
            rest = behind;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    fn read_lines(lines: &[String]) -> anyhow::Result<Vec<Op>> {
        let mut ops = Vec::new();
        let mut reader = Reader { folder: "/d".to_owned(), begun: HashMap::new(), at: HashMap::new() };
        for line in lines {
            reader.line(line, &mut ops)?;
        }
        Ok(ops)
    }

    #[test]
    fn calls_become_operations() {
        let fd = |path: &str| format!("7<{}>", hex(path));
        let file = "a.db".to_owned();
        for (line, op) in [
            (
                format!(
                    "1 openat(AT_FDCWD<{}>, \"{}\", O_RDWR|O_CREAT, 0644) = {}",
                    hex("/"),
                    hex("/d/a.db"),
                    fd("/d/a.db")
                ),
                Some(Op::Open { file: file.clone(), truncate: false }),
            ),
            (format!("1 openat(AT_FDCWD<{}>, \"{}\", O_RDONLY) = {}", hex("/"), hex("/d/a.db"), fd("/d/a.db")), None),
            (
                format!("1 pwrite64({}, \"{}\", 2, 4096) = 2", fd("/d/a.db"), hex("xy")),
                Some(Op::Write { file: file.clone(), offset: 4096, bytes: b"xy".to_vec() }),
            ),
            (format!("1 pwrite64({}, \"{}\", 2, 4096) = -1 EIO (Input/output error)", fd("/d/a.db"), hex("xy")), None),
            (format!("1 pwrite64({}, \"{}\", 2, 0) = 2", fd("/d/a.db-shm"), hex("xy")), None),
            (format!("1 pwrite64({}, \"{}\", 2, 0) = 2", fd("/d/a.db-wal (deleted)"), hex("xy")), None),
            (format!("1 ftruncate({}, 32) = 0", fd("/d/a.db")), Some(Op::Length { file: file.clone(), length: 32 })),
            (format!("1 fdatasync({}) = 0", fd("/d/a.db")), Some(Op::Sync { file: file.clone(), before: 0 })),
            (format!("1 fsync({}) = 0", fd("/d")), Some(Op::SyncFolder { before: 0 })),
            (format!("1 unlink(\"{}\") = 0", hex("/d/a.db")), Some(Op::Remove { file: file.clone() })),
            (
                format!("1 rename(\"{}\", \"{}\") = 0", hex("/d/b"), hex("/d/a.db")),
                Some(Op::Rename { from: "b".to_owned(), to: file.clone() }),
            ),
            (
                format!(
                    "1 sendto({}, \"{}\", 40, MSG_NOSIGNAL, NULL, 0) = 40",
                    fd("socket:[1]"),
                    hex("{\"do\":\"pulse\",\"event\":\"e/1/2\",\"ms\":5}\n")
                ),
                Some(Op::Pulse { event: "e/1/2".to_owned() }),
            ),
            (format!("1 write({}, \"{}\", 16, 0) = 16", fd("/dev/null"), hex("POWERCUT stored\n")), Some(Op::Stored)),
            (
                format!("1 write({}, \"{}\", 16, 0) = 16", fd("/dev/null"), hex("POWERCUT sent e/1/2\n")),
                Some(Op::Sent { event: "e/1/2".to_owned() }),
            ),
            ("1 +++ killed by SIGKILL +++".to_owned(), None),
            ("1 --- SIGTERM {si_signo=SIGTERM} ---".to_owned(), None),
        ] {
            assert_eq!(read_lines(std::slice::from_ref(&line)).unwrap(), op.into_iter().collect::<Vec<_>>(), "{line}");
        }
    }

    #[test]
    fn a_sync_covers_only_what_was_there_when_it_began() {
        let fd = format!("7<{}>", hex("/d/a.db"));
        let ops = read_lines(&[
            format!("1 pwrite64({fd}, \"{}\", 1, 0) = 1", hex("a")),
            format!("1 fdatasync({fd} <unfinished ...>"),
            format!("2 pwrite64({fd}, \"{}\", 1, 9) = 1", hex("b")),
            "1 <... fdatasync resumed>) = 0".to_owned(),
        ]);
        assert_eq!(ops.unwrap().last(), Some(&Op::Sync { file: "a.db".to_owned(), before: 1 }));
    }

    #[test]
    fn what_is_not_understood_is_no_silent_loss() {
        let fd = format!("7<{}>", hex("/d/a.db"));
        for line in [
            format!("1 pwrite64({fd}, \"{}\"..., 9000, 0) = 9000", hex("a")),
            format!("1 fallocate({fd}, 0, 0, 4096) = 0"),
            format!("1 sync_file_range({fd}, 0, 0, 0) = 0"),
        ] {
            assert!(read_lines(std::slice::from_ref(&line)).is_err(), "{line}");
        }
    }
}
