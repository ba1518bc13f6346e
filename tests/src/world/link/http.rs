//! The modes that know what a request is: pages of strangers, and answers that were tampered with.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use gate_core::canonical;
use gate_core::sync::v1::{EVENTS_PATH, ItemOutcome, MEDIA_TYPE, Push, PushReply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Mode, Seen};

/// No request and no answer between gate and cloud is longer, bytes.
const MOST: usize = 32 * 1024 * 1024;
/// What the bomb unpacks to, bytes: more than a gate reads of any answer.
const BOMB: usize = 64 * 1024 * 1024;

/// A request or an answer: everything up to the empty line, and the body.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    async fn read(from: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if bytes.len() > MOST || from.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let body = bytes.split_off(end);
        let mut message = Self { head: bytes, body };
        let length = message.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0usize);
        while message.body.len() < length.min(MOST) {
            if from.read_buf(&mut message.body).await.ok()? == 0 {
                return None;
            }
        }
        Some(message)
    }

    fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.head).into_owned();
        text.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    fn path(&self) -> String {
        let text = String::from_utf8_lossy(&self.head).into_owned();
        text.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned()
    }

    fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some()
    }

    /// The head with another length of the body.
    fn with_length(&self, length: usize) -> Vec<u8> {
        let text = String::from_utf8_lossy(&self.head).into_owned();
        let lines: Vec<_> = text
            .trim_end()
            .lines()
            .map(|line| match line.split_once(':') {
                Some((name, _)) if name.eq_ignore_ascii_case("content-length") => format!("content-length: {length}"),
                Some(_) | None => line.to_owned(),
            })
            .collect();
        format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), &self.body].concat()
    }
}

/// Answers that wait for the request after their own.
#[derive(Default)]
pub(super) struct Late(Mutex<Option<Vec<u8>>>);

impl Late {
    fn swap(&self, new: Vec<u8>) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(new)
    }
}

/// Serves requests on one connection in the way of a mode, until one of the two sides has enough.
pub(super) async fn serve(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    target: SocketAddr,
    mode: Mode,
    late: &Late,
    seen: &Seen,
) {
    while let Some(request) = Message::read(&mut near).await {
        let Some(answer) = answer(&request, target, mode, late, seen).await else { return };
        seen.note_status(&answer.bytes);
        if near.write_all(&answer.bytes).await.is_err() || near.flush().await.is_err() {
            return;
        }
        if !answer.goes_on {
            if answer.hangs {
                std::future::pending::<()>().await;
            }
            let _ended = near.shutdown().await;
            return;
        }
    }
}

struct Answer {
    bytes: Vec<u8>,
    /// More requests may come on this connection.
    goes_on: bool,
    /// The connection stays open, and silent.
    hangs: bool,
}

impl Answer {
    fn whole(bytes: Vec<u8>) -> Self {
        Self { bytes, goes_on: true, hangs: false }
    }
}

async fn answer(request: &Message, target: SocketAddr, mode: Mode, late: &Late, seen: &Seen) -> Option<Answer> {
    match mode {
        Mode::Portal => {
            Some(page("200 OK", "content-type: text/html", b"<html><h1>Welcome! Accept our terms.</h1></html>"))
        }
        Mode::Redirects => {
            let place = format!("location: http://{}/login{}\r\ncontent-type: text/html", seen.lure, request.path());
            Some(page("302 Found", &place, b"<html>Moved</html>"))
        }
        Mode::Portal511 => {
            Some(page("511 Network Authentication Required", "content-type: text/html", b"<html>Log in</html>"))
        }
        Mode::Storms => {
            let status = ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"][seen.next() % 3];
            let problem = br#"{"type":"about:blank","title":"Busy","status":503,"code":"busy"}"#;
            Some(page(status, "content-type: application/problem+json\r\nretry-after: 1", problem))
        }
        Mode::GzipBomb => {
            let kind = format!("content-type: {MEDIA_TYPE}\r\ncontent-encoding: gzip");
            Some(page("200 OK", &kind, bomb()))
        }
        Mode::FalseWitness => Some(false_witness(request)),
        Mode::Duplicates => {
            // The second copy is refused by its nonce; each is asked on a connection of its own.
            let (first, second) = (forward(request, target).await?, forward(request, target).await?);
            Some(Answer::whole(if seen.next().is_multiple_of(2) { first.bytes() } else { second.bytes() }))
        }
        Mode::Reorders => {
            let new = forward(request, target).await?.bytes();
            match late.swap(new) {
                Some(old) => Some(Answer::whole(old)),
                None => Some(Answer { bytes: Vec::new(), goes_on: false, hangs: true }),
            }
        }
        Mode::Truncates => {
            let answer = forward(request, target).await?;
            let half = answer.body.len() / 2;
            let bytes = [answer.head.as_slice(), &answer.body[..half]].concat();
            Some(Answer { bytes, goes_on: false, hangs: false })
        }
        Mode::LiesAboutLength => {
            let answer = forward(request, target).await?;
            let bytes = [answer.with_length(answer.body.len() + 1000), answer.body].concat();
            Some(Answer { bytes, goes_on: false, hangs: true })
        }
        Mode::Clear
        | Mode::Cut
        | Mode::Refused
        | Mode::BlackHole
        | Mode::LosesAll
        | Mode::Slow
        | Mode::SlowLoris
        | Mode::CutsRequest
        | Mode::CutsAnswer
        | Mode::ResetsAnswer
        | Mode::TlsGarbage
        | Mode::WrongName
        | Mode::Expired
        | Mode::SelfSigned
        | Mode::OtherAuthority
        | Mode::Rsa512
        | Mode::Tls10
        | Mode::Tls11
        | Mode::HalfOpen
        | Mode::OneWay
        | Mode::Jitters => None,
    }
}

/// Asks the cloud. A held channel is none of these modes' business: it does not open.
async fn forward(request: &Message, target: SocketAddr) -> Option<Message> {
    if request.is_upgrade() {
        return None;
    }
    let mut far = TcpStream::connect(target).await.ok()?;
    far.write_all(&request.bytes()).await.ok()?;
    Message::read(&mut far).await
}

fn page(status: &str, headers: &str, body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 {status}\r\n{headers}\r\ncontent-length: {}\r\n\r\n", body.len());
    Answer::whole([head.as_bytes(), body].concat())
}

/// Zeros, packed, made once.
fn bomb() -> &'static [u8] {
    static PACKED: OnceLock<Vec<u8>> = OnceLock::new();
    PACKED.get_or_init(|| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1024 * 1024];
        for _ in 0..BOMB / zeros.len() {
            // Into memory: it can't fail.
            let _written = packed.write_all(&zeros);
        }
        packed.finish().unwrap_or_default()
    })
}

/// "Taken, all of it", signed by nobody.
fn false_witness(request: &Message) -> Answer {
    if request.path() != EVENTS_PATH {
        return page("404 Not Found", "content-type: text/plain", b"no");
    }
    let count = canonical::decode::<Push>(&request.body).map_or(0, |push| push.events.len());
    let reply = PushReply { outcomes: vec![ItemOutcome::Created; count], receipts: Vec::new() };
    page("200 OK", &format!("content-type: {MEDIA_TYPE}"), &canonical::encode(&reply))
}
