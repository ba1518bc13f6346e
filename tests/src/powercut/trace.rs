//! What a traced process wrote, and when it synced: `strace` told in our own words.
//!
//! Only files of one folder count, without locks and shared memory, which are nothing after a power cut. Everything has its
//! effect when the call returns; but a sync covers no more than what was written before it began, and what is told may have
//! been heard as soon as it is being said.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// The calls that can change a file, and those through which a process tells others what it did.
pub const CALLS: &str = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,fdatasync,fsync,\
                         sync_file_range,truncate,copy_file_range,lseek,unlink,unlinkat,rename,renameat,renameat2,link,\
                         linkat,sendto,sendmsg";

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

/// Files that hold nothing after a power cut: locks, shared memory, what has no name any more, and the reserve, which is
/// room and no data.
pub fn is_nothing(name: &str) -> bool {
    [".lock", "-shm", " (deleted)", ".reserve"].iter().any(|end| name.ends_with(end))
}

/// Reads what one process did in a folder, after what others did before it.
pub fn read(trace: &Path, folder: &Path, ops: &mut Vec<Op>) -> anyhow::Result<()> {
    let text = std::fs::read(trace).with_context(|| format!("no trace in {}", trace.display()))?;
    let mut reader = Reader::new(&folder.to_string_lossy());
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
    /// Where the next plain write of a descriptor goes. Two processes may use the same number for different files.
    at: HashMap<(String, String), u64>,
}

impl Reader {
    fn new(folder: &str) -> Self {
        Self { folder: folder.to_owned(), begun: HashMap::new(), at: HashMap::new() }
    }

    fn line(&mut self, line: &str, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        let Some((process, rest)) = line.split_once(' ') else { return Ok(()) };
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            self.tell(first, ops)?;
            self.begun.insert(process.to_owned(), (first.to_owned(), ops.len()));
            return Ok(());
        }
        if rest.starts_with("<... ") {
            let (_, end) = rest.split_once("resumed>").context("resumed what?")?;
            let (first, before) = self.begun.remove(process).context("a call ends that never began")?;
            return self.call(&format!("{first}{end}"), before, ops);
        }
        // Exits and signals are no calls.
        if rest.starts_with("+++ ") || rest.starts_with("--- ") {
            return Ok(());
        }
        self.tell(rest, ops)?;
        self.call(rest, ops.len(), ops)
    }

    /// What this call says to somebody, if it is one of the things that count here.
    fn tell(&self, text: &str, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        let (name, arguments) = text.split_once('(').context("no call, no exit and no signal")?;
        let says = matches!(name, "write" | "writev" | "sendto" | "sendmsg");
        if says && self.inside(&path_of(arguments)).is_none() {
            ops.extend(told(arguments)?);
        }
        Ok(())
    }

    fn call(&mut self, text: &str, before: usize, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        let (name, arguments, result) = parts(text).context("a call without a result")?;
        // A call that the end of its process broke off has no result; what it did is found in the files (see `differs`).
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
            "lseek" => {
                let at = self.at.get_mut(&(descriptor(arguments).to_owned(), path_of(arguments)));
                if let Some(at) = at {
                    *at = result.parse().context("where does it stand now?")?;
                }
                Ok(())
            }
            other => {
                let named = quoted(arguments)?.into_iter().map(text_of);
                let opened = arguments.split('<').skip(1).filter_map(|rest| Some(text_of(rest.split_once('>')?.0)));
                let touches = named.chain(opened).any(|path| self.inside(&path).is_some());
                ensure!(!touches, "{other} on a file of the gate is not understood here");
                Ok(())
            }
        }
    }

    fn open(&mut self, arguments: &str, result: &str, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        let path = path_of(result);
        self.at.insert((descriptor(result).to_owned(), path.clone()), 0);
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
        let Some(file) = self.inside(&path) else { return Ok(()) };
        let written: usize = result.split_whitespace().next().unwrap_or("").parse().context("how much was written?")?;
        let mut bytes = Vec::with_capacity(written);
        for piece in quoted(arguments)? {
            unescape(piece, &mut bytes)?;
        }
        ensure!(bytes.len() >= written, "the trace holds only a part of what was written");
        bytes.truncate(written);
        let offset = if name.starts_with('p') {
            let last = arguments.rsplit(',').next().unwrap_or("").trim();
            last.parse().context("where was it written?")?
        } else {
            let at = self.at.get_mut(&(descriptor(arguments).to_owned(), path.clone()));
            let at = at.context("where a plain write goes is not known: nobody opened that file here")?;
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
        (!is_nothing(name)).then_some(name)
    }
}

/// A call's name, its arguments and its result. What was resumed is padded: `fdatasync(7</a.db> )          = 0`.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('(')?;
    // Paths and texts are spelled in hexadecimal, and what stands behind a result holds no equals sign.
    let (call, result) = rest.rsplit_once("= ")?;
    Some((name, call.trim_end().strip_suffix(')')?, result.trim()))
}

/// What the traced process told somebody, as far as it is one of the things that count here.
fn told(arguments: &str) -> anyhow::Result<Vec<Op>> {
    // `"pulse"` and `POWERCUT ` as strace spells them: looking first saves decoding everything else.
    const PULSE: &str = r"\x22\x70\x75\x6c\x73\x65\x22";
    const OURS: &str = r"\x50\x4f\x57\x45\x52\x43\x55\x54\x20";
    if !arguments.contains(PULSE) && !arguments.contains(OURS) {
        return Ok(vec![]);
    }
    let mut bytes = Vec::new();
    for piece in quoted(arguments)? {
        unescape(piece, &mut bytes)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut ops = Vec::new();
    for line in text.lines() {
        if line.starts_with("{\"do\":\"pulse\"") {
            let command = serde_json::from_str(line).with_context(|| format!("a pulse in pieces: {line}"))?;
            if let hardware::gate_io::protocol::Command::Pulse { event, .. } = command {
                ops.push(Op::Pulse { event });
            }
        }
        match line.strip_prefix("POWERCUT ").map(|said| said.split_once(' ').unwrap_or((said, ""))) {
            Some(("stored", _)) => ops.push(Op::Stored),
            Some(("sent", event)) => ops.push(Op::Sent { event: event.to_owned() }),
            Some((other, _)) => bail!("the traced program said {other}"),
            None => {}
        }
    }
    Ok(ops)
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
        let mut reader = Reader::new("/d");
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
    fn a_call_that_was_split_in_two_counts_as_one_that_was_not() {
        let (file, socket) = (format!("7<{}>", hex("/d/a.db")), format!("8<{}>", hex("socket:[1]")));
        let pulse = hex("{\"do\":\"pulse\",\"event\":\"e/1/2\",\"ms\":5}\n");
        let told = Op::Pulse { event: "e/1/2".to_owned() };
        // As strace 6.1 writes them: what is resumed is padded to a column.
        for (first, resumed, op) in [
            (
                format!("pwrite64({file}, \"{}\", 1, 9", hex("b")),
                "<... pwrite64 resumed>)           = 1",
                Op::Write { file: "a.db".to_owned(), offset: 9, bytes: b"b".to_vec() },
            ),
            (
                format!("fdatasync({file}"),
                "<... fdatasync resumed>)          = 0",
                Op::Sync { file: "a.db".to_owned(), before: 0 },
            ),
            (
                format!("ftruncate({file}, 5"),
                "<... ftruncate resumed>)          = 0",
                Op::Length { file: "a.db".to_owned(), length: 5 },
            ),
            (
                format!("unlink(\"{}\"", hex("/d/a.db")),
                "<... unlink resumed>)             = 0",
                Op::Remove { file: "a.db".to_owned() },
            ),
            (
                format!("openat(AT_FDCWD<{}>, \"{}\", O_RDWR|O_CREAT, 0644", hex("/"), hex("/d/a.db")),
                &format!("<... openat resumed>)             = {file}"),
                Op::Open { file: "a.db".to_owned(), truncate: false },
            ),
            (
                format!("sendto({socket}, \"{pulse}\", 40, MSG_NOSIGNAL, NULL, 0"),
                "<... sendto resumed>)             = 40",
                told.clone(),
            ),
        ] {
            let lines = [
                format!("1 {first} <unfinished ...>"),
                format!("2 write({socket}, \"{}\", 1) = 1", hex("x")),
                format!("1 {resumed}"),
            ];
            assert_eq!(read_lines(&lines).unwrap(), [op], "{lines:?}");
        }
        // Heard before the call returned, and whatever it returned.
        let lines = [
            format!("1 sendto({socket}, \"{pulse}\", 40, MSG_NOSIGNAL, NULL, 0 <unfinished ...>"),
            format!("2 fdatasync({file}) = 0"),
            "1 <... sendto resumed>)             = -1 EPIPE (Broken pipe)".to_owned(),
        ];
        assert_eq!(read_lines(&lines).unwrap(), [told, Op::Sync { file: "a.db".to_owned(), before: 1 }]);
        // The end of the process broke it off.
        let lines = [
            format!("1 pwrite64({file}, \"{}\", 1, 9 <unfinished ...>", hex("b")),
            "1 <... pwrite64 resumed> <unfinished ...>) = ?".to_owned(),
            "1 +++ killed by SIGKILL +++".to_owned(),
        ];
        assert_eq!(read_lines(&lines).unwrap(), []);
    }

    #[test]
    fn plain_writes_go_on_where_the_last_one_ended_whoever_uses_the_number() {
        let fd = |path: &str| format!("7<{}>", hex(path));
        let open = |process: u32, path: &str| {
            format!(
                "{process} openat(AT_FDCWD<{}>, \"{}\", O_WRONLY|O_CREAT, 0644) = {}",
                hex("/"),
                hex(path),
                fd(path)
            )
        };
        let write = |process: u32, path: &str| format!("{process} write({}, \"{}\", 2) = 2", fd(path), hex("ab"));
        let lines = [open(1, "/d/a"), write(1, "/d/a"), open(2, "/e/b"), write(2, "/e/b"), write(1, "/d/a")];
        let back = [format!("1 lseek({}, 1, SEEK_SET) = 1", fd("/d/a")), write(1, "/d/a")];
        let offsets: Vec<u64> = read_lines(&[&lines[..], &back].concat())
            .unwrap()
            .into_iter()
            .filter_map(|op| if let Op::Write { offset, .. } = op { Some(offset) } else { None })
            .collect();
        assert_eq!(offsets, [0, 2, 1]);
        assert!(read_lines(&[write(1, "/d/a")]).is_err(), "nobody knows where it went");
    }

    #[test]
    fn what_is_not_understood_is_no_silent_loss() {
        let fd = format!("7<{}>", hex("/d/a.db"));
        for line in [
            format!("1 pwrite64({fd}, \"{}\"..., 9000, 0) = 9000", hex("a")),
            format!("1 fallocate({fd}, 0, 0, 4096) = 0"),
            format!("1 sync_file_range({fd}, 0, 0, 0) = 0"),
            format!("1 truncate(\"{}\", 9) = 0", hex("/d/a.db")),
            format!("1 copy_file_range(3<{}>, NULL, {fd}, NULL, 9, 0) = 9", hex("/e/b")),
            format!("1 pwrite64({fd}, \"{}\", 1, 0)", hex("a")),
            "1 something else".to_owned(),
        ] {
            assert!(read_lines(std::slice::from_ref(&line)).is_err(), "{line}");
        }
    }
}
