//! The touchscreen's server: one page, one WebSocket, one JSON status, on loopback only.
//!
//! The page sees what the lane shows, can answer the lane's question, and can take a lane where staff stand by out of use;
//! it can't reach the relay. Requests must name this
//! machine as their host, and a WebSocket must come from a page of ours, so that no web site open in another browser can
//! talk to a gate (DNS rebinding, cross-site WebSockets).

mod facts;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gate_core::lane::StaffRequest;
use rust_embed::RustEmbed;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

pub use facts::{Facts, NotDeciding, OpeningTimes};

use crate::closing::Closing;

/// The page, built by `cargo xtask web`; debug builds read it from disk.
#[derive(RustEmbed)]
#[folder = "../web/kiosk/dist"]
#[allow_missing = true]
struct Page;

/// What the page may say.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tap {
    Answered(Answered),
    Lane(LaneUse),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    /// Yes or no to the question on the screen.
    answer: Answer,
    /// The presentation it was asked about.
    presentation: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaneUse {
    /// Whether the lane is to be in use.
    lane: Use,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Use {
    Close,
    Open,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Yes,
    No,
}

#[derive(Clone)]
struct Screen {
    facts: watch::Receiver<Facts>,
    staff: mpsc::Sender<StaffRequest>,
    closing: Closing,
    port: u16,
}

/// Most bytes of a message from the page.
const TAP_LIMIT: usize = 256;

/// Serves the touchscreen until told to stop.
pub async fn serve(
    listener: TcpListener,
    facts: watch::Receiver<Facts>,
    staff: mpsc::Sender<StaffRequest>,
    closing: Closing,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let port = listener.local_addr()?.port();
    let screen = Screen { facts, staff, closing, port };
    let app = Router::new()
        .route("/ws", get(open))
        .route("/v1/status", get(status))
        .fallback(page)
        .layer(middleware::from_fn_with_state(screen.clone(), only_this_machine))
        .with_state(screen);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _stopping = stop.wait_for(|stop| *stop).await;
        })
        .await
}

/// Where the page is served, refusing a busy port with its cure.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let cure = if error.kind() == std::io::ErrorKind::AddrInUse {
            format!(
                "{address} is taken by another program (perhaps a second gate-agent): stop it or change screen.listen"
            )
        } else {
            format!("can't listen on {address}: {error}")
        };
        std::io::Error::new(error.kind(), cure)
    })
}

fn is_this_machine(host: &str, port: u16) -> bool {
    let names = ["127.0.0.1", "localhost", "[::1]"];
    names.iter().any(|name| host == format!("{name}:{port}") || (port == 80 && host == *name))
}

async fn only_this_machine(State(screen): State<Screen>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| is_this_machine(host, screen.port)) {
        return (StatusCode::MISDIRECTED_REQUEST, "this page is for the gate's own screen").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn status(State(screen): State<Screen>) -> Response {
    let facts = screen.facts.borrow().clone();
    axum::Json(facts.message()).into_response()
}

async fn open(State(screen): State<Screen>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let ours =
        origin.and_then(|origin| origin.strip_prefix("http://")).is_some_and(|host| is_this_machine(host, screen.port));
    if !ours {
        return (StatusCode::FORBIDDEN, "only the gate's own page may connect").into_response();
    }
    upgrade.max_message_size(TAP_LIMIT).on_upgrade(move |socket| talk(socket, screen))
}

async fn talk(mut socket: WebSocket, mut screen: Screen) {
    loop {
        let text = {
            let facts = screen.facts.borrow_and_update();
            serde_json::to_string(&facts.message()).unwrap_or_default()
        };
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                changed = screen.facts.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                heard = socket.recv() => {
                    let Some(Ok(message)) = heard else { return };
                    match message {
                        Message::Text(text) => tapped(&screen, &text),
                        Message::Close(_) => return,
                        Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
                    }
                }
            }
        }
    }
}

fn tapped(screen: &Screen, text: &str) {
    let request = match serde_json::from_str::<Tap>(text) {
        Err(_) => {
            tracing::warn!("the page sent something that is not an answer");
            return;
        }
        Ok(Tap::Answered(Answered { answer, presentation })) => {
            StaffRequest::Answer { yes: matches!(answer, Answer::Yes), presentation, staff: None }
        }
        Ok(Tap::Lane(LaneUse { lane })) => {
            let closed = matches!(lane, Use::Close);
            if !screen.facts.borrow().is_staffed() {
                tracing::warn!("somebody wanted to close or reopen a lane where no staff stand by");
                return;
            }
            match screen.closing.set(closed) {
                // The daemon follows the file.
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, "the lane will be in use again after a restart");
                    StaffRequest::Close { closed, staff: None }
                }
            }
        }
    };
    if screen.staff.try_send(request).is_err() {
        tracing::warn!("the lane did not take the answer");
    }
}

async fn page(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    match Page::get(path) {
        Some(file) => {
            let kind = file.metadata.mimetype().to_owned();
            ([(header::CONTENT_TYPE, kind)], file.data).into_response()
        }
        None if path == "index.html" => {
            (StatusCode::SERVICE_UNAVAILABLE, "The page is not built: run `cargo xtask web`.").into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use gate_core::ids::Direction;
    use gate_core::sync::v1::{Change, GateRow};

    use super::*;
    use crate::replica::ReplicaStatus;
    use crate::replica::testing::{Folder, GATE, T0, Venue, at, gate_row};

    #[test]
    fn only_names_of_this_machine_with_its_port_are_taken() {
        for (host, good) in [
            ("127.0.0.1:8080", true),
            ("localhost:8080", true),
            ("[::1]:8080", true),
            ("127.0.0.1", false),
            ("127.0.0.1:81", false),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example:8080", false),
        ] {
            assert_eq!(is_this_machine(host, 8080), good, "{host}");
        }
        assert!(is_this_machine("localhost", 80));
    }

    #[test]
    fn a_release_build_carries_the_page() {
        if !cfg!(debug_assertions) {
            assert!(Page::get("index.html").is_some(), "build the web pages first: cargo xtask web");
        }
    }

    /// A screen at a gate with or without staff, and what its lane hears.
    fn screen_at(folder: &Folder, staffed: bool) -> (Screen, mpsc::Receiver<StaffRequest>) {
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let row = GateRow { staffed, ..gate_row(GATE, "North", Direction::In) };
        let reply = venue.reply(vec![Change::Gate(row)], T0);
        replica.apply(&reply, at(0)).unwrap();
        let status = replica.reader().unwrap().status(at(0)).unwrap();
        let (_, facts) = watch::channel(Facts { replica: Some(status), ..Facts::default() });
        let (staff, heard) = mpsc::channel(4);
        (Screen { facts, staff, closing: Closing::at(folder.path()), port: 8080 }, heard)
    }

    #[test]
    fn only_an_answer_is_a_tap() {
        let folder = Folder::new("tap");
        let (screen, mut heard) = screen_at(&folder, true);
        for text in [
            "",
            "{}",
            "{\"answer\":\"maybe\",\"presentation\":1}",
            "{\"open\":true}",
            "{\"answer\":\"yes\",\"presentation\":1,\"x\":2}",
            "{\"lane\":\"ajar\"}",
            "{\"lane\":\"close\",\"presentation\":1}",
        ] {
            tapped(&screen, text);
        }
        assert!(heard.try_recv().is_err() && !screen.closing.is_closed());
        tapped(&screen, "{\"answer\":\"yes\",\"presentation\":7}");
        assert_eq!(heard.try_recv(), Ok(StaffRequest::Answer { yes: true, presentation: 7, staff: None }));
    }

    #[test]
    fn a_lane_is_taken_out_of_use_only_where_staff_stand_by() {
        for staffed in [true, false] {
            let folder = Folder::new("close");
            let (screen, mut heard) = screen_at(&folder, staffed);
            tapped(&screen, "{\"lane\":\"close\"}");
            assert_eq!(screen.closing.is_closed(), staffed);
            tapped(&screen, "{\"lane\":\"open\"}");
            assert!(!screen.closing.is_closed());
            assert!(heard.try_recv().is_err(), "the file says it, and the daemon follows");
        }
        // Where the word can't be kept the lane hears it all the same.
        let folder = Folder::new("close");
        let (mut screen, mut heard) = screen_at(&folder, true);
        screen.closing = Closing::at(&folder.path().join("absent"));
        tapped(&screen, "{\"lane\":\"close\"}");
        assert_eq!(heard.try_recv(), Ok(StaffRequest::Close { closed: true, staff: None }));
    }

    /// D28: what the event says at 90 % stands on the status line as long as it is so.
    #[test]
    fn a_memory_that_fills_is_on_the_status_line() {
        let folder = Folder::new("space");
        let mut venue = Venue::new();
        let replica = venue.gate(&folder.db());
        let status = replica.reader().unwrap().status(at(0)).unwrap();
        assert!(status.used_bytes > 10_000 && status.used_bytes < 1_000_000, "{}", status.used_bytes);
        for (used_bytes, space_limit_bytes, percent, alarm) in [
            (0, 0, None, false),
            (5_000_000, 0, None, false),
            (0, 1_000_000, Some(0), false),
            (899_999, 1_000_000, Some(89), false),
            (900_000, 1_000_000, Some(90), true),
            (2_000_000, 1_000_000, Some(200), true),
        ] {
            let replica = Some(ReplicaStatus { used_bytes, ..status.clone() });
            let facts = Facts { replica, space_limit_bytes, ..Facts::default() };
            let told = serde_json::to_value(facts.message()).unwrap();
            let told = &told["status"];
            assert_eq!(
                (&told["space_percent"], &told["space_alarm"]),
                (&percent.into(), &alarm.into()),
                "{used_bytes}"
            );
        }
        let unread = serde_json::to_value(Facts { space_limit_bytes: 1, ..Facts::default() }.message()).unwrap();
        assert_eq!(unread["status"]["space_alarm"], false);
    }

    #[test]
    fn a_gate_that_does_not_decide_says_why() {
        let not = NotDeciding { code: "withdrawn", why: "this device was withdrawn".to_owned() };
        let facts = Facts { not_deciding: Some(not), closed: true, ..Facts::default() };
        let told = serde_json::to_value(facts.message()).unwrap();
        assert_eq!(told["status"]["not_deciding"], "withdrawn");
        assert_eq!(told["status"]["not_deciding_why"], "this device was withdrawn");
        assert_eq!(told["gate"]["closed"], true);
    }
}
