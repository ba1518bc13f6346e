//! A decoder that was taken over can do nothing with its process.

use std::process::Command;

use crate::{gate_reader, skipped};

#[test]
fn a_locked_in_reader_cannot_break_out() {
    let folder = tempfile::tempdir().unwrap();
    let camera = format!("replay:{}", folder.path().display());
    let output = Command::new(gate_reader()).args(["--camera", &camera, "--prove-sandbox"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    if said.contains(r#""sandboxed":"seccomp""#) {
        skipped("this kernel has no Landlock: only the system call filter was checked");
        assert!(!said.contains("socket: POSSIBLE") && !said.contains("program: POSSIBLE"), "{said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    for attempt in ["open a socket", "connect", "start a program", "read a file", "write a file"] {
        assert!(said.contains(&format!("{attempt}: refused")), "{said}");
    }
}
