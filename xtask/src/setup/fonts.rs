//! The font of printed sheets: fetched, verified, copied; none is kept in the repository.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::shell::Shell;
use crate::workspace::Workspace;

/// TTF with its licence and the Romanian comma-below letters.
const PACKAGE: &str = "dejavu-fonts-ttf@2.37.3";

/// The files named in cloud-sync/fonts.sha256 stand in cloud-sync/fonts.
///
/// # Errors
/// When they cannot be fetched or are not what the list says.
pub fn ready(workspace: &Workspace, shell: &Shell) -> anyhow::Result<()> {
    let list = workspace.path("cloud-sync/fonts.sha256");
    let wanted = parse_list(&std::fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?)?;
    let fonts = workspace.path("cloud-sync/fonts");
    if verify(&fonts, &wanted).is_ok() {
        return Ok(());
    }
    shell.say(&format!("setup: npm pack {PACKAGE}, verified into cloud-sync/fonts"));
    let unpacked = unpack(workspace, shell)?;
    for name in wanted.keys() {
        let found = find(&unpacked, name).with_context(|| format!("{PACKAGE} holds no {name}"))?;
        std::fs::copy(&found, unpacked.join(name)).with_context(|| format!("copy {}", found.display()))?;
    }
    // Verified before anything is copied to where it would be embedded.
    verify(&unpacked, &wanted).with_context(|| format!("{PACKAGE} is not what {} says", list.display()))?;
    std::fs::create_dir_all(&fonts).with_context(|| format!("create {}", fonts.display()))?;
    for name in wanted.keys() {
        std::fs::copy(unpacked.join(name), fonts.join(name)).with_context(|| format!("copy {name}"))?;
    }
    Ok(())
}

fn unpack(workspace: &Workspace, shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = workspace.notes("fonts")?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    let folder = workspace.notes("fonts")?;
    shell.run(Command::new("npm").args(["pack", "--silent", PACKAGE]).current_dir(&folder))?;
    let archive = std::fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .context("npm pack left no archive")?;
    shell.run(Command::new("tar").arg("-xzf").arg(archive).current_dir(&folder))?;
    Ok(folder)
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).find_map(|path| {
        if path.is_dir() {
            find(&path, name)
        } else {
            path.file_name().is_some_and(|file| file == name).then_some(path)
        }
    })
}

/// File name to checksum, as `sha256sum` writes them; a folder before the name is ignored.
fn parse_list(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let parsed = line.split_once(' ').map(|(sum, path)| (sum, path.trim_start_matches([' ', '*'])));
        let Some((sum, path)) = parsed.filter(|(sum, path)| sum.len() == 64 && !path.is_empty()) else {
            bail!("not a line of sha256sum: {line}");
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        files.insert(name.to_owned(), sum.to_owned());
    }
    if files.is_empty() {
        bail!("the list of fonts is empty");
    }
    Ok(files)
}

fn verify(folder: &Path, wanted: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let mut child = Command::new("sha256sum")
        .args(["--check", "--status", "--strict"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start sha256sum")?;
    let mut input = child.stdin.take().context("sha256sum takes no input")?;
    for (name, sum) in wanted {
        writeln!(input, "{sum}  {name}")?;
    }
    drop(input);
    if child.wait()?.success() { Ok(()) } else { bail!("a font is missing or has another checksum") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn lists_are_those_of_sha256sum() {
        for (text, expected) in [
            (format!("{SUM}  DejaVuSans.ttf\n"), Some("DejaVuSans.ttf")),
            (format!("{SUM} *fonts/DejaVuSans.ttf\n"), Some("DejaVuSans.ttf")),
            (format!("# a remark\n\n{SUM}  LICENSE"), Some("LICENSE")),
            ("abc  DejaVuSans.ttf".to_owned(), None),
            (SUM.to_owned(), None),
            (String::new(), None),
        ] {
            let names = parse_list(&text).map(|files| files.into_keys().collect::<Vec<_>>());
            assert_eq!(names.ok(), expected.map(|name| vec![name.to_owned()]), "{text}");
        }
    }

    #[test]
    fn a_changed_font_is_refused() {
        let folder = std::env::temp_dir().join(format!("xtask-fonts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let wanted = parse_list(&format!("{SUM}  empty.ttf")).unwrap();
        assert!(verify(&folder, &wanted).is_err(), "missing");
        std::fs::write(folder.join("empty.ttf"), "").unwrap();
        assert!(verify(&folder, &wanted).is_ok(), "as listed");
        std::fs::write(folder.join("empty.ttf"), "x").unwrap();
        assert!(verify(&folder, &wanted).is_err(), "changed");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
