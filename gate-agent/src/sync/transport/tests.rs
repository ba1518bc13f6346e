//! The road against everything that can stand where the cloud should: each is taken for "offline", quickly.

use std::sync::Mutex;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response as Answer};
use gate_core::ids::{BootId, Hash};
use gate_core::keys::PublicKey;
use gate_core::sync::request_signature::{RequestError, verify};
use gate_core::time::{Now, Trust};

use super::*;
use crate::replica::testing::{DEVICE, T0, Venue};

#[test]
fn plain_http_is_for_this_machine_only() {
    for (text, authority) in [
        ("https://cloud.example", Some("cloud.example")),
        ("https://cloud.example:443/", Some("cloud.example")),
        ("https://cloud.example:8443", Some("cloud.example:8443")),
        ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
        ("http://[::1]:8080", Some("[::1]:8080")),
        ("http://localhost:80", Some("localhost")),
        ("http://cloud.example", None),
        ("http://10.0.0.1", None),
        ("ftp://cloud.example", None),
        ("https://user:secret@cloud.example", None),
        ("https://cloud.example/path", None),
        ("https://cloud.example/?q", None),
        ("cloud.example", None),
        ("", None),
    ] {
        assert_eq!(CloudUrl::parse(text).ok().as_ref().map(CloudUrl::authority), authority, "{text}");
    }
    assert_eq!(CloudUrl::parse("https://c.example").unwrap().websocket("/live"), "wss://c.example/live");
}

/// A clock that stands still and bytes that count.
pub(crate) struct Still(pub(crate) Mutex<u8>);

impl Surroundings for Still {
    fn now(&self) -> Now {
        Now { wall_ms: T0, mono_us: 0, boot: BootId(uuid::Uuid::nil()), trust: Trust::Ntp }
    }

    fn random(&self) -> [u8; 32] {
        let mut n = self.0.lock().unwrap();
        *n += 1;
        [*n; 32]
    }
}

/// What stands where the cloud should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stands {
    Cloud,
    CloudThatDoubtsClocks,
    Portal,
    Redirect,
    BinaryWithoutMeaning,
    OkWithProblem,
    ErrorPage,
    Problem,
    TooMuch,
    Silence,
    Drip,
    HangUp,
    NoBody,
}

/// Serves one of them on a free port of this machine.
async fn serve(stands: Stands) -> CloudUrl {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = CloudUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let state = (stands, url.authority().to_owned());
    let app = Router::new().fallback(respond).with_state(state);
    if stands == Stands::NoBody {
        drop(listener);
    } else {
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    url
}

fn checked(authority: &str, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<String, RequestError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let request = Request { method: "POST", authority, path: uri.path(), query: uri.query().unwrap_or(""), body };
    let signed = SignatureHeaders {
        content_digest: text("content-digest"),
        signature_input: text("signature-input"),
        signature: text("signature"),
    };
    verify(&request, &signed, &PublicKey::from(&Venue::new().device_key)).map(|signer| signer.nonce)
}

async fn respond(
    State((stands, authority)): State<(Stands, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let cbor = |bytes: Vec<u8>| ([(header::CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response();
    let problem = |status: StatusCode, text: &'static str| {
        (status, [(header::CONTENT_TYPE, "application/problem+json")], text).into_response()
    };
    let good = || cbor(canonical::encode(&PullReply { chunks: vec![], as_of: None, more: false }));
    match stands {
        Stands::Cloud => match checked(&authority, &uri, &headers, &body) {
            Ok(_) => good(),
            Err(_) => problem(StatusCode::UNAUTHORIZED, r#"{"code":"signature"}"#),
        },
        Stands::CloudThatDoubtsClocks => match checked(&authority, &uri, &headers, &body) {
            Ok(nonce) if nonce == "told-by-the-cloud-1" => good(),
            Ok(_) => {
                let mut answer =
                    problem(StatusCode::UNAUTHORIZED, r#"{"type":"https://gates.example/problems/clock_skew"}"#);
                answer.headers_mut().insert("gate-nonce", header::HeaderValue::from_static("told-by-the-cloud-1"));
                answer
            }
            Err(_) => problem(StatusCode::UNAUTHORIZED, r#"{"code":"signature"}"#),
        },
        Stands::Portal => ([(header::CONTENT_TYPE, "text/html")], "<html>Accept our terms</html>").into_response(),
        Stands::Redirect => (StatusCode::FOUND, [(header::LOCATION, "http://portal.example/")]).into_response(),
        Stands::BinaryWithoutMeaning => cbor(vec![0xff; 40]),
        Stands::OkWithProblem => problem(StatusCode::OK, "{}"),
        Stands::ErrorPage => {
            (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html")], "bad gateway").into_response()
        }
        Stands::Problem => {
            let mut answer = problem(StatusCode::TOO_MANY_REQUESTS, r#"{"code":"throttled","title":"Slowly"}"#);
            answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("7"));
            answer
        }
        Stands::TooMuch => cbor(vec![0; ANSWER_LIMIT + 1]),
        Stands::Silence => std::future::pending().await,
        Stands::Drip => {
            let endless = futures_util::stream::unfold(0u32, |n| async move {
                if n > 0 {
                    std::future::pending::<()>().await;
                }
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b"\x83")), n + 1))
            });
            ([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::from_stream(endless)).into_response()
        }
        Stands::HangUp => {
            let broken =
                futures_util::stream::iter([Ok(Bytes::from_static(b"\x83")), Err(std::io::Error::other("gone"))]);
            ([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::from_stream(broken)).into_response()
        }
        Stands::NoBody => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test]
async fn a_refusal_carries_the_word_that_withdraws_the_device() {
    let about = |status: u16, text: &'static str| {
        let answer = axum::http::Response::builder().status(status).header("content-type", "application/problem+json");
        answer.body(text).unwrap().into()
    };
    for (status, text, expected) in [
        (403, r#"{"code":"device_revoked","statement":"0aff"}"#, Some(&[0x0a, 0xff][..])),
        (403, r#"{"code":"device_revoked"}"#, None),
        (403, r#"{"code":"device_revoked","statement":"no hex"}"#, None),
        (403, r#"{"code":"forbidden","statement":"0aff"}"#, None),
        (401, r#"{"code":"device_revoked","statement":"0aff"}"#, None),
    ] {
        let error = answer(taken_in(about(status, text)).await.unwrap()).unwrap_err();
        assert_eq!(error.withdrawal(), expected, "{status} {text}");
    }
}

#[tokio::test]
async fn only_the_cloud_is_taken_for_the_cloud() {
    for (stands, says) in [
        (Stands::Cloud, None),
        (Stands::CloudThatDoubtsClocks, None),
        (Stands::Portal, Some("log-in page")),
        (Stands::Redirect, Some("log-in page")),
        (Stands::BinaryWithoutMeaning, Some("can't be believed")),
        (Stands::OkWithProblem, Some("log-in page")),
        (Stands::ErrorPage, Some("log-in page")),
        (Stands::Problem, Some("429 throttled (Slowly)")),
        (Stands::TooMuch, Some("more than")),
        (Stands::Silence, Some("no answer in time")),
        (Stands::Drip, Some("no answer in time")),
        (Stands::HangUp, Some("can't be reached")),
        (Stands::NoBody, Some("can't be reached")),
    ] {
        let url = serve(stands).await;
        // Short only where waiting is the point: a slow machine must not fail the others.
        let waits = matches!(stands, Stands::Silence | Stands::Drip);
        let request = Duration::from_millis(if waits { 300 } else { 60_000 });
        let limits = Limits { connect: Duration::from_secs(60), request };
        let surroundings = Arc::new(Still(Mutex::new(0)));
        let road = HttpTransport::with(url, (DEVICE, Venue::new().device_key), surroundings, limits).unwrap();
        let answer = road.pull(&Pull { position: 0, head: Hash::ZERO }).await;
        match (answer, says) {
            (Ok(reply), None) => assert!(!reply.more, "{stands:?}"),
            (Err(error), Some(says)) => {
                assert!(error.to_string().contains(says), "{stands:?}: {error}");
                assert!(!error.blames_content(), "{stands:?}");
                assert_eq!(error.retry_after_s(), (stands == Stands::Problem).then_some(7), "{stands:?}");
            }
            (answer, says) => panic!("{stands:?}: {answer:?}, expected {says:?}"),
        }
    }
}
