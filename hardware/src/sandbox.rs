//! Locks gate-reader in, once its camera is open.
//!
//! What the lens sees is hostile, and decoders are large. So the process gives up everything it does not
//! need: no sockets, no programs, no writing to files; for a real camera not even reading them. Whatever is
//! refused answers "no such system call", which libraries know how to live with.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use thiserror::Error;

use crate::camera::CameraAddress;
use crate::reader::Sandboxed;

/// Why the process could not be locked in; it must not look at frames then.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The file rules were refused.
    #[error("landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// The replay folder is gone.
    #[error("landlock: {0}")]
    Path(#[from] landlock::PathFdError),
    /// The system call filter was refused.
    #[error("seccomp: {0}")]
    Seccomp(#[from] seccompiler::Error),
    /// The system call filter could not be built for this machine.
    #[error("seccomp: {0}")]
    Backend(#[from] seccompiler::BackendError),
}

/// Locks the calling thread, and every thread it starts from now on, in for good.
///
/// # Errors
/// [`SandboxError`] when the kernel refuses. A kernel without Landlock is no error: the answer says so.
pub fn lock_in(camera: &CameraAddress) -> Result<Sandboxed, SandboxError> {
    let readable = match camera {
        CameraAddress::V4l2(_) => None,
        CameraAddress::Replay(path) => Some(path.as_path()),
    };
    let files_closed = close_files(readable)?;
    filter_calls(readable.is_some())?;
    Ok(if files_closed { Sandboxed::Full } else { Sandboxed::Seccomp })
}

/// Lets the process read below `readable` and nothing else; `false` when this kernel has no Landlock.
fn close_files(readable: Option<&Path>) -> Result<bool, SandboxError> {
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?.create()?;
    if let Some(path) = readable {
        let mut access: BitFlags<AccessFs> = AccessFs::ReadFile.into();
        if path.is_dir() {
            access |= AccessFs::ReadDir;
        }
        rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

fn filter_calls(reads_files: bool) -> Result<(), SandboxError> {
    let mut allowed: BTreeMap<i64, Vec<SeccompRule>> = ALWAYS.iter().map(|call| (*call, Vec::new())).collect();
    // Threads yes, processes no. (clone3 hides its flags; refused, the C library falls back to clone.)
    let thread = masked(0, libc::CLONE_THREAD as u64, libc::CLONE_THREAD as u64)?;
    allowed.insert(libc::SYS_clone, vec![thread]);
    // Asking for a limit yes, setting one no.
    let only_asking = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    allowed.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![only_asking])?]);
    if reads_files {
        let writing = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) as u64;
        allowed.insert(libc::SYS_openat, vec![masked(2, writing, 0)?]);
        allowed.extend([libc::SYS_getdents64, libc::SYS_statx, libc::SYS_newfstatat].map(|call| (call, Vec::new())));
    } else {
        // Video4Linux requests carry the letter V in their second byte.
        allowed.insert(libc::SYS_ioctl, vec![masked(1, 0xff00, u64::from(b'V') << 8)?]);
    }
    let filter = SeccompFilter::new(
        allowed,
        SeccompAction::Errno(libc::ENOSYS as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(())
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, SandboxError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

/// What memory, threads, time and a pipe need.
const ALWAYS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_restart_syscall,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
];

/// One thing a locked-in process must not be able to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried.
    pub what: &'static str,
    /// Whether the kernel refused it.
    pub refused: bool,
}

/// Tries what a taken-over decoder would try. Meant to be called after [`lock_in`].
#[must_use]
pub fn attempts() -> Vec<Attempt> {
    let attempt = |what, refused| Attempt { what, refused };
    vec![
        attempt("open a socket", std::net::UdpSocket::bind("127.0.0.1:0").is_err()),
        attempt("connect", std::os::unix::net::UnixStream::connect("/run/none").is_err_and(|why| no_such_call(&why))),
        attempt("start a program", std::process::Command::new("/bin/true").status().is_err()),
        attempt("read a file", std::fs::read("/proc/self/status").is_err() && std::fs::read("/etc/passwd").is_err()),
        attempt("write a file", std::fs::write(std::env::temp_dir().join("gate-reader-attempt"), "x").is_err()),
    ]
}

fn no_such_call(why: &std::io::Error) -> bool {
    why.raw_os_error() == Some(libc::ENOSYS)
}
