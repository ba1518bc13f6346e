//! What tells this machine from another one: identifiers of its hardware, read from files.
//!
//! A serial number is an identifier, not a secret: whoever can run a program here reads it. A Raspberry Pi has one secret
//! besides, 256 bits of memory that can be written once; it is empty until its owner writes it, and only root may read it
//! unless a rule says otherwise.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One thing that a machine can be known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The serial number in the device tree: a Raspberry Pi's, burnt into its processor.
    BoardSerial,
    /// The device's own key in one-time programmable memory, where the owner wrote one.
    BoardKey,
    /// A computer's serial number from its firmware.
    ProductUuid,
    /// What the operating system calls itself. It is on the disk, so it moves with a copy of the whole disk.
    MachineId,
}

impl Source {
    /// Where it is read, below the root of the file system; the first that is there.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::BoardSerial => &["proc/device-tree/serial-number", "sys/firmware/devicetree/base/serial-number"],
            Self::BoardKey => &["sys/bus/nvmem/devices/nvmem_priv0/nvmem"],
            Self::ProductUuid => &["sys/class/dmi/id/product_uuid"],
            Self::MachineId => &["etc/machine-id"],
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BoardSerial => "the board's serial number",
            Self::BoardKey => "the board's one-time programmable key",
            Self::ProductUuid => "the computer's serial number",
            Self::MachineId => "the machine id",
        })
    }
}

/// The files that name a machine.
#[derive(Clone, Debug)]
pub struct MachineFiles {
    root: PathBuf,
}

impl MachineFiles {
    /// Those of the machine that this program runs on.
    pub fn here() -> Self {
        Self::below("/")
    }

    /// Those below another folder.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What one source says; `None` if it is not there, can't be read by this user, or says nothing.
    pub fn read(&self, source: Source) -> Option<Vec<u8>> {
        let found = source.files().iter().find_map(|file| fs::read(self.root.join(file)).ok())?;
        let value = match source {
            Source::BoardKey => found,
            Source::BoardSerial | Source::ProductUuid | Source::MachineId => {
                let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
                found.into_iter().filter(|byte| !blank(byte)).map(|byte| byte.to_ascii_lowercase()).collect()
            }
        };
        // A board without a serial number says zeros, and so does memory that nobody wrote.
        let says = value.iter().any(|byte| !matches!(byte, 0 | b'0' | b'-'));
        says.then_some(value)
    }

    /// What a key is bound to on this machine: its hardware where that has a name, else its operating system.
    pub fn sources(&self) -> Vec<Source> {
        let there = |source: &Source| self.read(*source).is_some();
        let board: Vec<_> = [Source::BoardSerial, Source::BoardKey].into_iter().filter(there).collect();
        if !board.is_empty() {
            return board;
        }
        [Source::ProductUuid, Source::MachineId].into_iter().find(there).into_iter().collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::replica::testing::Folder;

    /// A machine made of files.
    pub(crate) fn machine(folder: &Folder, name: &str, files: &[(&str, &[u8])]) -> MachineFiles {
        let root = folder.path().join(name);
        for (file, bytes) in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        MachineFiles::below(root)
    }

    /// A Raspberry Pi with this serial number.
    pub(crate) fn pi(folder: &Folder, serial: &str) -> MachineFiles {
        let text = format!("{serial}\0");
        machine(folder, serial, &[("proc/device-tree/serial-number", text.as_bytes()), ("etc/machine-id", b"same\n")])
    }

    #[test]
    fn a_machine_is_known_by_its_hardware_where_that_has_a_name() {
        use Source::*;
        let folder = Folder::new("machine");
        let serial: (&str, &[u8]) = ("proc/device-tree/serial-number", b"10000000ABCD1234\0");
        let uuid: (&str, &[u8]) = ("sys/class/dmi/id/product_uuid", b"4c4c4544-0042\n");
        let id: (&str, &[u8]) = ("etc/machine-id", b"3d1219\n");
        let key: (&str, &[u8]) = ("sys/bus/nvmem/devices/nvmem_priv0/nvmem", &[7; 32]);
        let blank: (&str, &[u8]) = (key.0, &[0; 64]);
        let unnamed: (&str, &[u8]) = (serial.0, b"0000000000000000\0");
        let second: (&str, &[u8]) = ("sys/firmware/devicetree/base/serial-number", b"10000000abcd1234\0");
        for (name, files, sources) in [
            ("a Pi", vec![serial, id], vec![BoardSerial]),
            ("by the other way", vec![second, id], vec![BoardSerial]),
            ("with a key of its own", vec![serial, key, id], vec![BoardSerial, BoardKey]),
            ("whose key was never written", vec![serial, blank, id], vec![BoardSerial]),
            ("without a number", vec![unnamed, uuid, id], vec![ProductUuid]),
            ("a computer", vec![uuid, id], vec![ProductUuid]),
            ("whose number only root may read", vec![id], vec![MachineId]),
            ("nothing", vec![], vec![]),
        ] {
            let machine = machine(&folder, name, &files);
            assert_eq!(machine.sources(), sources, "{name}");
        }
        let read = |name: &str| MachineFiles::below(folder.path().join(name)).read(BoardSerial);
        assert_eq!(read("a Pi").as_deref(), Some(&b"10000000abcd1234"[..]));
        assert_eq!(read("a Pi"), read("by the other way"), "one number, however it is written");
    }
}
