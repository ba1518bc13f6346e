//! The network between gates and cloud: a TCP road that can be cut, both ways, without either end being told.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A road to one address.
#[derive(Clone)]
pub struct Link {
    address: SocketAddr,
    up: Arc<watch::Sender<bool>>,
}

impl Link {
    /// Opens a road to `target` on a port of its own.
    pub async fn open(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Self::serve(listener, target)
    }

    /// Opens a road on a listener that is bound already.
    pub fn serve(listener: TcpListener, target: SocketAddr) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (up, seen) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(carry(near, target, seen));
            }
        });
        Ok(Self { address, up: Arc::new(up) })
    }

    /// Where gates reach the cloud.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the road: what is under way is lost, new connections are taken and never answered, as a dead uplink does.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Heals it.
    pub fn heal(&self) {
        self.up.send_replace(true);
    }
}

async fn carry(near: TcpStream, target: SocketAddr, mut up: watch::Receiver<bool>) {
    // A connection made while the road is cut hangs until its maker gives up or the road heals; then it is dropped.
    if !*up.borrow() {
        let _healed = up.wait_for(|up| *up).await;
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        () = pump(near_read, far_write) => {}
        () = pump(far_read, near_write) => {}
        _ = up.wait_for(|up| !*up) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // One side is done: the other must hear of it, or half-open connections pile up.
    let _closed = to.shutdown().await;
}
