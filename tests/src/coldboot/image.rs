//! The machine's disk: Debian, the product with its units unchanged, and what a virtual machine lacks.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use gate_core::ids::Hash;
use hardware::gate_io::HandConfig;

use crate::world::program;

/// What the appliance's system is made of.
const PACKAGES: &str = "systemd,systemd-sysv,udev,dbus,ca-certificates,tzdata,linux-image-amd64,initramfs-tools,zstd";
/// Programs of the product, and the terminal block that stands for copper.
const PROGRAMS: [&str; 4] = ["gate-agent", "gate-io", "gate-reader", "board-sim"];
/// Units that start with the machine.
const UNITS: [&str; 4] = ["gate-io", "gate-agent", "board", "coldboot"];
/// Where the replay camera looks.
pub const PICTURES: &str = "/run/coldboot";
/// Frames a second: an emulated processor reads few.
const FPS: u32 = 4;
/// Frames for which a picture is held up.
const HOLD: u32 = 12;

/// A root file system that is being laid out.
pub struct Root {
    folder: PathBuf,
}

impl Root {
    /// Debian of the release that the programs were built on, without anything of ours. It is fetched once.
    pub fn unpack(cache: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(cache)?;
        let release = os_release("VERSION_CODENAME")?;
        let made_of = Hash::of("coldboot-system", PACKAGES.as_bytes()).0[0];
        let archive = cache.join(format!("debian-{release}-{made_of:02x}.tar"));
        if !archive.is_file() {
            fetch(&release, &archive)?;
        }
        let folder = cache.join("root");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        run(Command::new("tar").arg("--directory").arg(&folder).arg("--extract").arg("--file").arg(&archive))?;
        Ok(Self { folder })
    }

    /// Puts the product in as its documents say, and beside it the simulated board and who looks at the gate.
    pub fn install(&self, cloud: SocketAddr, screen: SocketAddr) -> anyhow::Result<()> {
        for name in PROGRAMS {
            self.copy(&program(name)?, &format!("usr/bin/{name}"))?;
        }
        let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
        for unit in ["gate-agent.service", "gate-io.service"] {
            self.copy(&units.join(unit), &format!("usr/lib/systemd/system/{unit}"))?;
        }
        self.copy(&units.join("gate.sysusers.conf"), "usr/lib/sysusers.d/gate.conf")?;
        self.copy(&units.join("gate.tmpfiles.conf"), "usr/lib/tmpfiles.d/gate.conf")?;
        self.write("usr/lib/tmpfiles.d/coldboot.conf", include_str!("guest/coldboot.tmpfiles.conf"))?;
        self.write("usr/lib/systemd/system/board.service", include_str!("guest/board.service"))?;
        self.write("usr/lib/systemd/system/coldboot.service", include_str!("guest/coldboot.service"))?;
        self.write("etc/systemd/system/gate-io.service.d/board.conf", include_str!("guest/gate-io.conf"))?;
        self.write("usr/lib/coldboot/look", include_str!("guest/look.sh"))?;
        fs::set_permissions(self.path("usr/lib/coldboot/look"), fs::Permissions::from_mode(0o755))?;
        self.write("usr/lib/coldboot/port", &format!("{}\n", screen.port()))?;
        self.write("etc/gate-io.toml", &HandConfig::example().to_toml()?)?;
        let config = format!(
            "cloud_url = \"http://{cloud}\"\n[camera]\nsource = \"replay:{PICTURES}\"\ndecode_limit_ms = 5000\narguments = [\"--fps\", \"{FPS}\", \"--hold\", \"{HOLD}\", \"--gap\", \"{HOLD}\"]\n[screen]\nlisten = \"{screen}\"\n"
        );
        self.write("etc/gate-agent.toml", &config)?;
        self.write("etc/machine-id", &format!("{}\n", uuid::Uuid::now_v7().simple()))?;
        // No console program: the serial line is for what is told.
        let nobody = self.path("etc/systemd/system/serial-getty@ttyS0.service");
        std::os::unix::fs::symlink("/dev/null", nobody)?;
        run(Command::new("systemd-sysusers").arg(self.option("--root")))?;
        run(Command::new("systemctl").arg(self.option("--root")).arg("enable").args(UNITS))?;
        // What systemd makes of StateDirectory= and the like, for the enrolment before the first start.
        let (user, group) = self.user("gate")?;
        let state = self.path("var/lib/gate-agent");
        fs::create_dir_all(&state)?;
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700))?;
        chown(&state, Some(user), Some(group))?;
        fs::create_dir_all(self.folder.join(PICTURES.trim_start_matches('/')))?;
        Ok(())
    }

    /// Something that is held up in a story, by its name.
    pub fn picture(&self, story: &str, name: &str, png: &[u8]) -> anyhow::Result<()> {
        let path = self.path(&format!("usr/lib/coldboot/pictures/{story}/{name}.png"));
        fs::create_dir_all(path.parent().context("a picture lies in a folder")?)?;
        Ok(fs::write(path, png)?)
    }

    /// The words before a program's own that run it in this system, as the gate's user. It shares the network with us.
    pub fn inside(&self) -> Vec<std::ffi::OsString> {
        let enter = "mount -t proc proc \"$0/proc\"; name=$1; shift; exec chroot --userspec=gate:gate --groups=gate,gate-io,video \"$0\" \"/usr/bin/${name##*/}\" \"$@\"";
        let words = ["unshare", "--mount", "sh", "-euc", enter].map(Into::into);
        words.into_iter().chain([self.folder.clone().into_os_string()]).collect()
    }

    /// Makes a disk of it; gives the kernel and its first file system.
    pub fn close(self, disk: &Path) -> anyhow::Result<Kernel> {
        // The program that makes file systems does not grow one.
        let size = format!("{}M", 400 + self.megabytes()?);
        let _older = fs::remove_file(disk);
        run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&self.folder).arg(disk).arg(size))?;
        let kept = disk.parent().context("a disk lies in a folder")?;
        let kernel = Kernel { image: kept.join("vmlinuz"), first: kept.join("initrd.img") };
        fs::copy(self.boot("vmlinuz-")?, &kernel.image)?;
        fs::copy(self.boot("initrd.img-")?, &kernel.first)?;
        fs::remove_dir_all(&self.folder)?;
        Ok(kernel)
    }

    fn boot(&self, prefix: &str) -> anyhow::Result<PathBuf> {
        let found = fs::read_dir(self.path("boot"))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
        found.with_context(|| format!("the system has no {prefix}*"))
    }

    fn megabytes(&self) -> anyhow::Result<u64> {
        let output = Command::new("du").args(["--summarize", "--block-size=1M"]).arg(&self.folder).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.split_whitespace().next().and_then(|number| number.parse().ok()).context("du says no size")
    }

    fn user(&self, name: &str) -> anyhow::Result<(u32, u32)> {
        let users = fs::read_to_string(self.path("etc/passwd"))?;
        let line = users.lines().find(|line| line.split(':').next() == Some(name));
        let mut words = line.with_context(|| format!("the system has no user {name}"))?.split(':').skip(2);
        let mut number = || words.next().and_then(|word| word.parse().ok());
        number().zip(number()).context("a user has two numbers")
    }

    fn option(&self, name: &str) -> String {
        format!("{name}={}", self.folder.display())
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.join(inside)
    }

    fn copy(&self, from: &Path, to: &str) -> anyhow::Result<()> {
        fs::copy(from, self.path(to)).with_context(|| format!("can't copy {}", from.display()))?;
        Ok(())
    }

    fn write(&self, to: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(to);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
    }
}

/// What starts a machine.
pub struct Kernel {
    /// The kernel.
    pub image: PathBuf,
    /// The file system it starts with.
    pub first: PathBuf,
}

/// Runs a program to its end; fails with what it said.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("can't start {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
}

fn fetch(release: &str, archive: &Path) -> anyhow::Result<()> {
    let part = archive.with_extension("part.tar");
    let mut command = Command::new("mmdebstrap");
    command.args(["--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io"]);
    command.args(["--aptopt=APT::Sandbox::User \"root\"", "--aptopt=Acquire::Languages \"none\""]);
    command.arg(format!("--include={PACKAGES}")).arg(release).arg(&part).arg(packages_from()?);
    run(&mut command)?;
    Ok(fs::rename(part, archive)?)
}

/// Where this machine has its own packages from.
fn packages_from() -> anyhow::Result<String> {
    let listed = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    let texts = listed.iter().filter_map(|path| fs::read_to_string(path).ok());
    let address = |text: String| {
        let told = text.lines().filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
        told.flat_map(str::split_whitespace).find(|word| word.contains("://")).map(str::to_owned)
    };
    texts.into_iter().find_map(address).context("no Debian sources are listed in /etc/apt")
}

fn os_release(key: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string("/etc/os-release")?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Ok(value.with_context(|| format!("/etc/os-release does not say {key}"))?.trim_matches('"').to_owned())
}
