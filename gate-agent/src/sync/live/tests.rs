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
        hold((&url, &Connector::Plain), (DEVICE, &Venue::new().device_key), &still, &wake, &mut heard).await.unwrap();
        server.await.unwrap();
        assert_eq!((heard, wake.take_hinted()), (wakes, wakes), "{name}");
    }
}

/// Refuses every upgrade whose nonce is not `wants` with the nonce it offers; counts how often it was asked.
async fn doubt(listener: tokio::net::TcpListener, wants: Option<&str>, offers: bool) -> usize {
    let mut asked = 0;
    loop {
        let accepted = tokio::time::timeout(Duration::from_millis(500), listener.accept()).await;
        let Ok(Ok((stream, _))) = accepted else { return asked };
        asked += 1;
        let mut right = false;
        #[expect(clippy::result_large_err, reason = "the library's callback has this shape")]
        let check = |request: &Upgrade, response: Response| -> Result<Response, ErrorResponse> {
            let input = request.headers()["signature-input"].to_str().unwrap();
            right = wants.is_some_and(|wants| input.contains(wants));
            if right {
                return Ok(response);
            }
            let mut refusal = ErrorResponse::new(Some("clock_skew".to_owned()));
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            if offers {
                refusal.headers_mut().insert("gate-nonce", HeaderValue::from_static("told-by-the-cloud-1"));
            }
            Err(refusal)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, check).await;
        if right {
            socket.unwrap().close(None).await.unwrap();
            return asked;
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_answered_with_the_clouds_nonce_once() {
    for (name, wants, offers, opens, times) in [
        ("the nonce is taken", Some("told-by-the-cloud-1"), true, true, 2),
        ("it is not enough", None, true, false, 2),
        ("none is offered", None, false, false, 1),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = CloudUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(doubt(listener, wants, offers));
        let mut heard = false;
        let still = Still(Mutex::new(0));
        let held =
            hold((&url, &Connector::Plain), (DEVICE, &Venue::new().device_key), &still, &Wake::default(), &mut heard)
                .await;
        assert_eq!(held.is_ok(), opens, "{name}: {held:?}");
        assert_eq!(server.await.unwrap(), times, "{name}");
    }
}

#[tokio::test]
async fn a_closed_door_is_an_error_and_no_panic() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = CloudUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let mut heard = false;
    let still = Still(Mutex::new(0));
    assert!(
        hold((&url, &Connector::Plain), (DEVICE, &Venue::new().device_key), &still, &Wake::default(), &mut heard)
            .await
            .is_err()
    );
}
