//! The held channel against a server in this process.

use std::sync::Mutex;

use gate_core::keys::PublicKey;
use gate_core::sync::request_signature::{SignatureHeaders, verify};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request as Upgrade, Response};

use super::*;
use crate::replica::testing::{DEVICE, Venue};
use crate::sync::transport::tests::Still;

/// Accepts one channel, checks who opens it, and says some things.
async fn serve(listener: &tokio::net::TcpListener, messages: Vec<Message>) {
    let authority = listener.local_addr().unwrap().to_string();
    let (stream, _) = listener.accept().await.unwrap();
    #[expect(clippy::result_large_err, reason = "the library's callback has this shape")]
    let check = |request: &Upgrade, response: Response| -> Result<Response, ErrorResponse> {
        let text = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let signed = SignatureHeaders {
            content_digest: text("content-digest"),
            signature_input: text("signature-input"),
            signature: text("signature"),
        };
        let asked = Request { method: "GET", authority: &authority, path: LIVE_PATH, query: "", body: &[] };
        verify(&asked, &signed, &PublicKey::from(&Venue::new().device_key)).unwrap();
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap();
    for message in messages {
        socket.send(message).await.unwrap();
    }
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn a_hint_wakes_the_engine_and_nothing_else_does() {
    let hint = canonical::encode(&Hint { position: 5 });
    for (name, messages, wakes) in [
        ("a hint", vec![Message::Binary(hint.clone().into())], true),
        (
            "noise, then a hint",
            vec![Message::Text("pull!".into()), Message::Binary(vec![1, 2].into()), Message::Binary(hint.into())],
            true,
        ),
        ("noise", vec![Message::Text("pull!".into()), Message::Binary(vec![0xff; 9].into())], false),
        ("nothing", vec![], false),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = CloudUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move { serve(&listener, messages).await });
        let wake = Wake::default();
        let mut heard = false;
        let still = Still(Mutex::new(0));
        hold(&url, DEVICE, &Venue::new().device_key, &still, &wake, &mut heard).await.unwrap();
        server.await.unwrap();
        assert_eq!((heard, wake.take_hinted()), (wakes, wakes), "{name}");
    }
}

#[tokio::test]
async fn a_closed_door_is_an_error_and_no_panic() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = CloudUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let mut heard = false;
    let still = Still(Mutex::new(0));
    assert!(hold(&url, DEVICE, &Venue::new().device_key, &still, &Wake::default(), &mut heard).await.is_err());
}
