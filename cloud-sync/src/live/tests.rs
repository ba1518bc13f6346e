//! The two held channels, over a real socket.

use std::net::SocketAddr;

use futures_util::StreamExt;
use gate_core::canonical;
use gate_core::ids::Direction;
use gate_core::sync::request_signature::{self, Signer9421};
use gate_core::sync::v1::{Hint, LIVE_PATH};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::testing::{AUTHORITY, TestDevice, World};

async fn listen(world: &World) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = world.app.clone().router().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(address: SocketAddr, path: &str, headers: &[(&'static str, String)]) -> Result<Socket, u16> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

async fn picture(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other @ (Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => panic!("{other:?}"),
        }
    }
}

async fn hint(socket: &mut Socket) -> Option<u64> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return Some(canonical::decode::<Hint>(&bytes).unwrap().position),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => return None,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_picture_follows_every_change_and_resumes_where_it_left_off() {
    let world = World::new().await;
    let address = listen(&world).await;
    let cookie = ("cookie", format!("gate_session={}", world.cookie));
    let origin = ("origin", format!("https://{AUTHORITY}"));
    let path = world.at("live");
    assert_eq!(open(address, &path, std::slice::from_ref(&origin)).await.err(), Some(401));
    assert_eq!(open(address, &path, std::slice::from_ref(&cookie)).await.err(), Some(403), "no origin");
    let evil = ("origin", "https://evil.example".to_owned());
    assert_eq!(open(address, &path, &[cookie.clone(), evil]).await.err(), Some(403));

    let mut socket = open(address, &path, &[cookie.clone(), origin.clone()]).await.unwrap();
    let first = picture(&mut socket).await;
    assert_eq!(first["overview"], world.get(&world.at("overview")).await.ok().json());
    world.zone(10).await;
    let second = picture(&mut socket).await;
    assert!(second["seq"].as_i64() > first["seq"].as_i64());
    assert_eq!(second["overview"]["zones"].as_array().unwrap().len(), 1);

    let after = format!("{path}?after={}", second["seq"]);
    let mut resumed = open(address, &after, &[cookie.clone(), origin.clone()]).await.unwrap();
    world.zone(20).await;
    let third = picture(&mut resumed).await;
    assert!(third["seq"].as_i64() > second["seq"].as_i64(), "what was seen is not sent again");

    world.send(world.request("DELETE", "/v1/session", None)).await.ok();
    world.app.hub().tell(world.venue.parse().unwrap());
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while let Some(Ok(message)) = resumed.next().await {
            if matches!(message, Message::Close(_)) {
                break;
            }
        }
    });
    assert!(ended.await.is_ok(), "whoever logs out sees nothing more");
}

async fn hold(world: &World, address: SocketAddr, device: &TestDevice, path: &str) -> Result<Socket, u16> {
    let signer =
        Signer9421 { device: device.enrolled.device, created: world.app.now_ms() / 1000, nonce: device.nonce() };
    let request = request_signature::Request { method: "GET", authority: AUTHORITY, path, query: "", body: b"" };
    let signed = request_signature::sign(&request, &signer, &device.key);
    let headers = [
        ("content-digest", signed.content_digest),
        ("signature-input", signed.signature_input),
        ("signature", signed.signature),
    ];
    open(address, LIVE_PATH, &headers).await
}

#[tokio::test]
async fn a_gate_is_hinted_at_every_change_until_it_is_withdrawn() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let device = world.device(zone, Direction::In).await;
    let address = listen(&world).await;
    assert_eq!(open(address, LIVE_PATH, &[]).await.err(), Some(401));
    assert_eq!(hold(&world, address, &device, "/v1/other").await.err(), Some(401));
    let mut socket = hold(&world, address, &device, LIVE_PATH).await.unwrap();
    let at = hint(&mut socket).await.unwrap();
    assert_eq!(at, device.replica(&world).await.len() as u64);
    world.vendor("Bakery").await;
    assert_eq!(hint(&mut socket).await, Some(at + 2), "a key and a vendor");
    let path = world.at(&format!("devices/{}/revoke", device.enrolled.device));
    world.post(&path, json!({})).await.ok();
    assert_eq!(hint(&mut socket).await, None, "the channel ends at once");
    assert_eq!(hold(&world, address, &device, LIVE_PATH).await.err(), Some(403));
}
