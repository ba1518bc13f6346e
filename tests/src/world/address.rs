//! Where a program of a story may listen.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// The first port that is handed out, and how many there are. All are below those from which the kernel takes a caller's
/// own (32768 on, ip(7) `ip_local_port_range`), so that no other story's connection sits on an address before its program
/// listens there, or while that program is restarted.
const FIRST: u16 = 20_000;
const PORTS: u16 = 12_000;
/// How far apart two processes begin, so that neither is handed what the other is about to use.
const APART: u32 = 257;

/// A loopback address that is free, and that this process is not handed again.
///
/// # Errors
/// If none is free, or this machine lets nobody listen.
pub fn free_address() -> std::io::Result<SocketAddr> {
    static HANDED_OUT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(APART);
    for _ in 0..PORTS {
        let nth = first.wrapping_add(HANDED_OUT.fetch_add(1, Ordering::Relaxed)) % u32::from(PORTS);
        match TcpListener::bind(("127.0.0.1", FIRST + u16::try_from(nth).map_err(Error::other)?)) {
            Ok(listener) => return listener.local_addr(),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::AddrInUse, "no port for a story is free"))
}
