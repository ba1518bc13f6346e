//! What systemd runs after an agent has stopped, however it stopped: the outputs go to their safe levels.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::protocol::{Command, Message, SafeWhy};

/// Connects to a running gate-io, takes control, commands safe and waits for the answer: `gate-io --safe`.
///
/// # Errors
/// When no gate-io listens at `socket` or it does not confirm within two seconds.
pub fn command_safe(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut line = serde_json::to_vec(&Command::Safe)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    for answer in BufReader::new(stream).lines() {
        if let Ok(Message::Safe { why: SafeWhy::Command }) = serde_json::from_str(&answer?) {
            return Ok(());
        }
    }
    Err(std::io::Error::other("gate-io closed the connection without confirming"))
}
