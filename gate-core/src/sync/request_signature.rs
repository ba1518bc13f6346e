//! Which device speaks: HTTP message signatures (RFC 9421) with a content digest (RFC 9530), in one strict form.
//!
//! One label (`gate`), the fixed components `@method @authority @path @query content-digest`, the fixed parameters
//! `created;nonce;alg;keyid` in that order. Anything else is refused, so signature and meaning can't drift apart.
//! Whether `created` and `nonce` are fresh is for the caller, who has a clock and a store of nonces.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

use crate::ids::DeviceId;
use crate::keys::PublicKey;

const COMPONENTS: &str = r#"("@method" "@authority" "@path" "@query" "content-digest")"#;

/// How far `created` may be from the verifier's clock, seconds.
pub const WINDOW_S: i64 = 300;

/// The parts of a request that are signed, as both sides see them on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`, upper case.
    pub method: &'a str,
    /// Host, lower case, with the port unless it is the scheme's default. Behind a proxy it comes from configuration.
    pub authority: &'a str,
    /// Absolute path exactly as sent.
    pub path: &'a str,
    /// Query without the question mark; empty if there is none.
    pub query: &'a str,
    /// The whole body.
    pub body: &'a [u8],
}

/// The three header values that a signed request carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureHeaders {
    /// `Content-Digest`.
    pub content_digest: String,
    /// `Signature-Input`.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
}

/// Who signed, when, and with which nonce; believed only after [`verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signer9421 {
    /// The device (`keyid`).
    pub device: DeviceId,
    /// When it says it signed, Unix seconds.
    pub created: i64,
    /// 16 to 64 characters, never used twice by a device within the window.
    pub nonce: String,
}

/// Why a request is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The signature input is not the one form.
    #[error("the signature input is not in the form that is accepted here")]
    Form,
    /// The body is not the one that was signed.
    #[error("the content digest does not fit the body")]
    Digest,
    /// The signature does not hold under the device's key.
    #[error("the signature does not hold")]
    Signature,
}

fn digest_header(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

fn parameters(signer: &Signer9421) -> String {
    format!(
        r#"{COMPONENTS};created={};nonce="{}";alg="ed25519";keyid="{}""#,
        signer.created, signer.nonce, signer.device
    )
}

/// The signature base of RFC 9421 section 2.5.
fn base(request: &Request<'_>, digest: &str, parameters: &str) -> String {
    format!(
        "\"@method\": {}\n\"@authority\": {}\n\"@path\": {}\n\"@query\": ?{}\n\"content-digest\": {digest}\n\"@signature-params\": {parameters}",
        request.method, request.authority, request.path, request.query,
    )
}

/// Signs a request.
pub fn sign(request: &Request<'_>, signer: &Signer9421, key: &SigningKey) -> SignatureHeaders {
    let content_digest = digest_header(request.body);
    let parameters = parameters(signer);
    let signature = key.sign(base(request, &content_digest, &parameters).as_bytes());
    SignatureHeaders {
        content_digest,
        signature_input: format!("gate={parameters}"),
        signature: format!("gate=:{}:", STANDARD.encode(signature.to_bytes())),
    }
}

/// Who is said to have signed. Look the device's key up with this, then [`verify`].
pub fn claimed_signer(signature_input: &str) -> Result<Signer9421, RequestError> {
    let read = || {
        let rest = signature_input.strip_prefix("gate=")?.strip_prefix(COMPONENTS)?.strip_prefix(";created=")?;
        let (created, rest) = rest.split_once(";nonce=\"")?;
        let (nonce, rest) = rest.split_once("\";alg=\"ed25519\";keyid=\"")?;
        let device = rest.strip_suffix('"')?;
        let plain = nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !(16..=64).contains(&nonce.len()) || !plain {
            return None;
        }
        Some(Signer9421 { device: device.parse().ok()?, created: created.parse().ok()?, nonce: nonce.to_owned() })
    };
    let signer = read().ok_or(RequestError::Form)?;
    // One spelling only: "+5", "007" or another spelling of the same device are refused.
    if format!("gate={}", parameters(&signer)) == signature_input { Ok(signer) } else { Err(RequestError::Form) }
}

/// Whether this device's key signed exactly this request.
pub fn verify(request: &Request<'_>, headers: &SignatureHeaders, key: &PublicKey) -> Result<Signer9421, RequestError> {
    let signer = claimed_signer(&headers.signature_input)?;
    if headers.content_digest != digest_header(request.body) {
        return Err(RequestError::Digest);
    }
    let signature = headers
        .signature
        .strip_prefix("gate=:")
        .and_then(|rest| rest.strip_suffix(':'))
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or(RequestError::Form)?;
    let base = base(request, &headers.content_digest, &parameters(&signer));
    if key.verifies(base.as_bytes(), &signature) { Ok(signer) } else { Err(RequestError::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn request(body: &[u8]) -> Request<'_> {
        Request { method: "POST", authority: "cloud.example", path: "/v1/sync/events", query: "", body }
    }

    fn signed() -> (SignatureHeaders, PublicKey) {
        let key = SigningKey::from_bytes(&[3; 32]);
        let signer = Signer9421 {
            device: DeviceId(Uuid::from_u128(5)),
            created: 1_800_000_000,
            nonce: "n0nce-0123456789".into(),
        };
        (sign(&request(b"body"), &signer, &key), PublicKey::from(&key))
    }

    #[test]
    fn a_signed_request_verifies_and_no_part_of_it_can_be_moved() {
        let (headers, key) = signed();
        assert_eq!(verify(&request(b"body"), &headers, &key).unwrap().created, 1_800_000_000);
        let good = request(b"body");
        let moved = [
            ("method", Request { method: "PUT", ..good }),
            ("authority", Request { authority: "other.example", ..good }),
            ("path", Request { path: "/v1/sync/changes", ..good }),
            ("double slash", Request { path: "//v1/sync/events", ..good }),
            ("query", Request { query: "a=1", ..good }),
            ("body", Request { body: b"other", ..good }),
        ];
        for (name, request) in moved {
            assert!(verify(&request, &headers, &key).is_err(), "{name}");
        }
    }

    #[test]
    fn only_the_one_form_is_read() {
        let (headers, key) = signed();
        let input = &headers.signature_input;
        for (name, changed) in [
            ("other label", input.replacen("gate=", "sig1=", 1)),
            ("second label", format!("{input}, x={COMPONENTS};created=1")),
            ("component dropped", input.replace(" \"content-digest\"", "")),
            ("alg changed", input.replace("ed25519", "hmac-sha256")),
            ("sloppy number", input.replace("created=1", "created=+1")),
            ("short nonce", input.replace("n0nce-0123456789", "n")),
            ("parameter added", format!("{input};expires=9")),
        ] {
            let headers = SignatureHeaders { signature_input: changed, ..headers.clone() };
            assert_eq!(verify(&request(b"body"), &headers, &key), Err(RequestError::Form), "{name}");
        }
        let stripped = SignatureHeaders { content_digest: String::new(), ..headers };
        assert_eq!(verify(&request(b"body"), &stripped, &key), Err(RequestError::Digest));
    }

    #[test]
    fn another_key_or_a_changed_signature_is_refused() {
        let (headers, key) = signed();
        let other = PublicKey::from(&SigningKey::from_bytes(&[4; 32]));
        assert_eq!(verify(&request(b"body"), &headers, &other), Err(RequestError::Signature));
        let value = headers.signature.strip_prefix("gate=:").unwrap().strip_suffix(':').unwrap();
        for (name, signature, expected) in [
            ("no label", format!(":{value}:"), RequestError::Form),
            ("another label", format!("sig1=:{value}:"), RequestError::Form),
            ("a second one after it", format!("gate=:{value}:, x=:{value}:"), RequestError::Form),
            (
                "URL-safe base64",
                format!("gate=:{}:", value.replace('+', "-").replace('/', "_") + "_"),
                RequestError::Form,
            ),
            ("empty", "gate=::".to_owned(), RequestError::Signature),
            ("cut", format!("gate=:{}:", &value[..84]), RequestError::Signature),
        ] {
            let headers = SignatureHeaders { signature, ..headers.clone() };
            assert_eq!(verify(&request(b"body"), &headers, &key), Err(expected), "{name}");
        }
        // Nonce and time are signed: they can't be renewed by whoever replays.
        for (name, old, new) in [
            ("nonce", "n0nce-0123456789", "n0nce-9876543210"),
            ("time", "created=1800000000", "created=1800000300"),
            ("device", "0000-000000000005", "0000-000000000006"),
        ] {
            let signature_input = headers.signature_input.replace(old, new);
            assert_ne!(signature_input, headers.signature_input);
            let headers = SignatureHeaders { signature_input, ..headers.clone() };
            assert_eq!(verify(&request(b"body"), &headers, &key), Err(RequestError::Signature), "{name}");
        }
    }
}
