//! The network between gates and cloud: a TCP road that can be cut, both ways, and that misbehaves in every way that was
//! ever seen, without either end being told.

mod http;
mod mode;
mod rsa512;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub use mode::Mode;
pub use tls::{Certificates, NAME};

/// Bytes of a request that [`Mode::CutsRequest`] lets through: into its head, or into its body.
const REQUEST_CUTS: [usize; 4] = [0, 40, 300, 900];
/// Bytes of an answer that [`Mode::CutsAnswer`] lets through.
const ANSWER_CUTS: [usize; 4] = [0, 9, 150, 900];

/// A road to one address.
#[derive(Clone)]
pub struct Link {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    seen: Arc<Seen>,
}

/// What came by.
pub(crate) struct Seen {
    /// Where redirections lead.
    lure: SocketAddr,
    lured: AtomicUsize,
    turn: AtomicUsize,
    server_errors: AtomicUsize,
    answers: AtomicUsize,
    /// Where [`Mode::CutsAnswer`] cuts; `usize::MAX` for one of [`ANSWER_CUTS`] in turn.
    cut_at: AtomicUsize,
}

impl Seen {
    /// Grows by one each time.
    fn next(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes the status of what may be the beginning of an answer.
    fn note_status(&self, bytes: &[u8]) {
        if let Some(digit) = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.first()) {
            self.answers.fetch_add(1, Ordering::Relaxed);
            self.server_errors.fetch_add(usize::from(*digit == b'5'), Ordering::Relaxed);
        }
    }
}

impl Link {
    /// Opens a road to `target` on a port of its own.
    pub async fn open(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Self::lay(listener, target, None).await
    }

    /// Opens a road with TLS to a target that speaks none.
    pub async fn open_tls(target: SocketAddr, certificates: Arc<Certificates>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Self::lay(listener, target, Some(certificates)).await
    }

    async fn lay(
        listener: TcpListener,
        target: SocketAddr,
        certificates: Option<Arc<Certificates>>,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let lure = TcpListener::bind(("127.0.0.1", 0)).await?;
        let seen = Arc::new(Seen {
            lure: lure.local_addr()?,
            lured: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            server_errors: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            cut_at: AtomicUsize::new(usize::MAX),
        });
        let came = seen.clone();
        tokio::spawn(async move {
            while lure.accept().await.is_ok() {
                came.lured.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (mode, told) = watch::channel(Mode::Clear);
        let road = Arc::new(Road { target, certificates, late: http::Late::default(), seen: seen.clone() });
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (road, mut told) = (road.clone(), told.clone());
                tokio::spawn(async move {
                    let mode = *told.borrow_and_update();
                    // Whatever the mode, its end is the end of the connections that were made in it.
                    tokio::select! {
                        () = road.carry(near, mode) => {}
                        _ = told.wait_for(|now| *now != mode) => {}
                    }
                });
            }
        });
        Ok(Self { address, mode: Arc::new(mode), seen })
    }

    /// Where gates reach the cloud.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the road behaves now.
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Changes how the road behaves. Connections from before end.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Cuts the road: what is under way is lost, new connections are taken and never answered, as a dead uplink does.
    pub fn cut(&self) {
        self.set(Mode::Cut);
    }

    /// Heals it.
    pub fn heal(&self) {
        self.set(Mode::Clear);
    }

    /// Ends every connection after this many bytes of answers.
    pub fn cut_answers_at(&self, bytes: u64) {
        self.seen.cut_at.store(usize::try_from(bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
        self.set(Mode::CutsAnswer);
    }

    /// How often somebody followed a redirection.
    pub fn lured(&self) -> usize {
        self.seen.lured.load(Ordering::Relaxed)
    }

    /// Answers that came by and were seen to begin, and how many of them said that the server is in trouble.
    pub fn answers(&self) -> (usize, usize) {
        (self.seen.answers.load(Ordering::Relaxed), self.seen.server_errors.load(Ordering::Relaxed))
    }
}

struct Road {
    target: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    late: http::Late,
    seen: Arc<Seen>,
}

impl Road {
    async fn carry(&self, near: TcpStream, mode: Mode) {
        match mode {
            Mode::Cut | Mode::BlackHole => std::future::pending().await,
            Mode::Refused => {
                let _reset = near.set_zero_linger();
            }
            Mode::TlsGarbage => tls::garbage(near).await,
            Mode::Tls10 => tls::old(near, 1).await,
            Mode::Tls11 => tls::old(near, 2).await,
            Mode::LosesAll => swallow(near).await,
            Mode::Clear
            | Mode::Slow
            | Mode::SlowLoris
            | Mode::CutsRequest
            | Mode::CutsAnswer
            | Mode::ResetsAnswer
            | Mode::Duplicates
            | Mode::Reorders
            | Mode::Portal
            | Mode::Redirects
            | Mode::Portal511
            | Mode::WrongName
            | Mode::Expired
            | Mode::SelfSigned
            | Mode::OtherAuthority
            | Mode::Rsa512
            | Mode::Truncates
            | Mode::GzipBomb
            | Mode::Storms
            | Mode::LiesAboutLength
            | Mode::HalfOpen
            | Mode::OneWay
            | Mode::Jitters
            | Mode::FalseWitness => match &self.certificates {
                None => self.speak(near, mode).await,
                Some(certificates) => {
                    if let Ok(near) = certificates.acceptor(mode).accept(near).await {
                        self.speak(near, mode).await;
                    }
                }
            },
        }
    }

    /// Behaves on an open connection.
    async fn speak<S: Near>(&self, near: S, mode: Mode) {
        match mode {
            Mode::Portal
            | Mode::Redirects
            | Mode::Portal511
            | Mode::Storms
            | Mode::GzipBomb
            | Mode::FalseWitness
            | Mode::Duplicates
            | Mode::Reorders
            | Mode::Truncates
            | Mode::LiesAboutLength => http::serve(near, self.target, mode, &self.late, &self.seen).await,
            Mode::HalfOpen => swallow(near).await,
            Mode::Clear
            | Mode::Slow
            | Mode::SlowLoris
            | Mode::CutsRequest
            | Mode::CutsAnswer
            | Mode::ResetsAnswer
            | Mode::OneWay
            | Mode::Jitters
            // Who comes this far with a wrong certificate is carried on, so that the test sees it.
            | Mode::WrongName
            | Mode::Expired
            | Mode::SelfSigned
            | Mode::OtherAuthority
            | Mode::Rsa512 => {
                let Ok(far) = TcpStream::connect(self.target).await else { return };
                // Small requests and answers go back and forth: none is to wait for the other's receipt.
                let _prompt = far.set_nodelay(true);
                self.pass_on(near, far, mode).await;
            }
            Mode::Cut
            | Mode::Refused
            | Mode::BlackHole
            | Mode::LosesAll
            | Mode::TlsGarbage
            | Mode::Tls10
            | Mode::Tls11 => {}
        }
    }

    async fn pass_on<S: Near>(&self, near: S, far: TcpStream, mode: Mode) {
        let turn = self.seen.next() % REQUEST_CUTS.len();
        let (up, down) = match mode {
            Mode::Slow => (Pace::bytes_in(2, 100), Pace::bytes_in(2, 100)),
            Mode::SlowLoris => (Pace::AT_ONCE, Pace::bytes_in(1, 1000)),
            Mode::Jitters => (Pace::late(200), Pace::late(200)),
            Mode::CutsRequest => (Pace::first(REQUEST_CUTS[turn]), Pace::AT_ONCE),
            Mode::CutsAnswer => {
                let told = self.seen.cut_at.load(Ordering::Relaxed);
                (Pace::AT_ONCE, Pace::first(if told == usize::MAX { ANSWER_CUTS[turn] } else { told }))
            }
            Mode::ResetsAnswer => (Pace::AT_ONCE, Pace::first(200)),
            Mode::OneWay => (Pace::AT_ONCE, Pace::NEVER),
            Mode::Clear
            | Mode::Cut
            | Mode::Refused
            | Mode::BlackHole
            | Mode::LosesAll
            | Mode::Duplicates
            | Mode::Reorders
            | Mode::Portal
            | Mode::Redirects
            | Mode::Portal511
            | Mode::TlsGarbage
            | Mode::WrongName
            | Mode::Expired
            | Mode::SelfSigned
            | Mode::OtherAuthority
            | Mode::Rsa512
            | Mode::Tls10
            | Mode::Tls11
            | Mode::Truncates
            | Mode::GzipBomb
            | Mode::Storms
            | Mode::LiesAboutLength
            | Mode::HalfOpen
            | Mode::FalseWitness => (Pace::AT_ONCE, Pace::AT_ONCE),
        };
        if mode == Mode::ResetsAnswer {
            near.resets();
        }
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(far);
        tokio::select! {
            () = pump(near_read, far_write, up, None) => {}
            () = pump(far_read, near_write, down, Some(&self.seen)) => {}
        }
    }
}

/// The gate's end of a connection.
trait Near: AsyncRead + AsyncWrite + Unpin {
    /// Ends with a reset instead of a farewell.
    fn resets(&self);
}

impl Near for TcpStream {
    fn resets(&self) {
        let _reset = self.set_zero_linger();
    }
}

impl Near for tokio_rustls::server::TlsStream<TcpStream> {
    fn resets(&self) {
        let _reset = self.get_ref().0.set_zero_linger();
    }
}

/// How bytes go one way.
#[derive(Clone, Copy)]
struct Pace {
    /// At most so many at once.
    piece: usize,
    /// Each piece waits, milliseconds; a different while each time if `up_to`.
    wait_ms: u64,
    up_to: bool,
    /// The end comes after so many.
    first: usize,
    /// Nothing arrives.
    lost: bool,
}

impl Pace {
    const AT_ONCE: Self = Self { piece: 16 * 1024, wait_ms: 0, up_to: false, first: usize::MAX, lost: false };
    const NEVER: Self = Self { lost: true, ..Self::AT_ONCE };

    fn bytes_in(piece: usize, wait_ms: u64) -> Self {
        Self { piece, wait_ms, ..Self::AT_ONCE }
    }

    fn late(wait_ms: u64) -> Self {
        Self { wait_ms, up_to: true, ..Self::AT_ONCE }
    }

    fn first(first: usize) -> Self {
        Self { first, ..Self::AT_ONCE }
    }
}

async fn swallow(mut near: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 4096];
    while let Ok(1..) = near.read(&mut buffer).await {}
    // Also the farewell is lost.
    std::future::pending::<()>().await;
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, pace: Pace, seen: Option<&Seen>) {
    let mut buffer = vec![0; pace.piece];
    let mut left = pace.first;
    let mut step = 0u64;
    while left > 0
        && let Ok(count @ 1..) = from.read(&mut buffer).await
    {
        if let Some(seen) = seen {
            seen.note_status(&buffer[..count]);
        }
        if pace.lost {
            continue;
        }
        if pace.wait_ms > 0 {
            step += 1;
            let wait = if pace.up_to { step * 67 % (pace.wait_ms + 1) } else { pace.wait_ms };
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        let count = count.min(left);
        left -= count;
        if to.write_all(&buffer[..count]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    // One side is done: the other must hear of it, or half-open connections pile up.
    let _closed = to.shutdown().await;
}
