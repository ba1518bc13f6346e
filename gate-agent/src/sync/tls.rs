//! Whom this gate takes for the cloud when it connects.
//!
//! The system's authorities and the name must hold always. The dates of certificates are judged by the time that this
//! gate keeps, and only while that is worth something: a machine without a battery comes up in another year, and whoever
//! insists on dates then never hears the signed time that would tell it the right one. What such a road brings is believed
//! only as far as the venue's root signed it, like everything else.

use std::sync::Arc;
use std::time::Duration;

use gate_core::time::Trust;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::{Surroundings, SyncError};

/// A chain has a few certificates, each with two dates; one that holds at no moment is refused in the end.
const TRIES: usize = 8;

/// How to connect: by the system's authorities, and one more (PEM) where a venue has its own.
///
/// # Errors
/// If the system has no authorities, or the additional one can't be read.
pub fn config(surroundings: Arc<dyn Surroundings>, authority: Option<&str>) -> Result<ClientConfig, SyncError> {
    let unusable = |why: String| SyncError::Unreachable(format!("no secure connection is possible here: {why}"));
    let provider = Arc::new(ring::default_provider());
    let roots: Vec<CertificateDer<'static>> = authority
        .map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>())
        .transpose()
        .map_err(|error| unusable(format!("the authority can't be read: {error}")))?
        .unwrap_or_default();
    let inner = Verifier::new_with_extra_roots(roots, provider.clone()).map_err(|error| unusable(error.to_string()))?;
    let by_our_time = Arc::new(ByOurTime { inner: Arc::new(inner), surroundings });
    connecting(provider, by_our_time).map_err(|error| unusable(error.to_string()))
}

fn connecting(provider: Arc<CryptoProvider>, verifier: Arc<ByOurTime>) -> Result<ClientConfig, Error> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Judges a certificate as `inner` does, but by the time that this gate believes.
struct ByOurTime {
    inner: Arc<dyn ServerCertVerifier>,
    surroundings: Arc<dyn Surroundings>,
}

impl std::fmt::Debug for ByOurTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByOurTime").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for ByOurTime {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _machine: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let believed = self.surroundings.believed();
        let ms = u64::try_from(believed.wall_ms).unwrap_or(0);
        let judge = |at| self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at);
        let mut judged = judge(UnixTime::since_unix_epoch(Duration::from_millis(ms)));
        if believed.trust >= Trust::Ntp {
            return judged;
        }
        // Nobody knows the date: is there any at which all of it holds?
        for _ in 0..TRIES {
            judged = match judged {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                    judge(not_before)
                }
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => judge(not_after),
                Ok(_) | Err(_) => break,
            };
            if judged.is_ok() {
                tracing::warn!(
                    trust = ?believed.trust,
                    "the date is not known: the cloud's certificate is taken although its dates don't hold now"
                );
            }
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use gate_core::ids::BootId;
    use gate_core::time::Now;

    use super::*;

    /// Two certificates, each good from the one second to the other, and whether the name is the one that is asked for.
    #[derive(Debug)]
    struct Chain([(u64, u64); 2], bool);

    impl ServerCertVerifier for Chain {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            time: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            let second = |s| UnixTime::since_unix_epoch(Duration::from_secs(s));
            for (from, until) in self.0 {
                let (not_before, not_after) = (second(from), second(until));
                if time < not_before {
                    return Err(CertificateError::NotValidYetContext { time, not_before }.into());
                }
                if time > not_after {
                    return Err(CertificateError::ExpiredContext { time, not_after }.into());
                }
            }
            if self.1 { Ok(ServerCertVerified::assertion()) } else { Err(CertificateError::NotValidForName.into()) }
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(CertificateError::BadSignature.into())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(CertificateError::BadSignature.into())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            Vec::new()
        }
    }

    struct Believes(u64, Trust);

    impl Surroundings for Believes {
        fn now(&self) -> Now {
            let wall_ms = i64::try_from(self.0).unwrap() * 1000;
            Now { wall_ms, mono_us: 0, boot: BootId(uuid::Uuid::nil()), trust: self.1 }
        }

        fn believed(&self) -> Now {
            self.now()
        }

        fn random(&self) -> [u8; 32] {
            [0; 32]
        }
    }

    #[test]
    fn dates_count_for_who_knows_the_date_and_everything_else_always() {
        use Trust::{Continued, Ntp, Signed, Unknown};
        let good = [(100, 900), (500, 600)];
        for (name, chain, named, (second, trust), taken) in [
            ("good now", good, true, (550, Signed), true),
            ("good now, and nobody knows", good, true, (550, Unknown), true),
            ("not yet", good, true, (50, Ntp), false),
            ("not yet, by a battery that died", good, true, (50, Unknown), true),
            ("between the two beginnings", good, true, (200, Continued), true),
            ("over", good, true, (700, Signed), false),
            ("over, by a clock that nobody signed for", good, true, (700, Continued), true),
            ("both over", good, true, (5000, Unknown), true),
            ("another name", good, false, (550, Signed), false),
            ("another name, and nobody knows the date", good, false, (50, Unknown), false),
            ("good at no moment", [(100, 200), (500, 600)], true, (50, Unknown), false),
        ] {
            let judge =
                ByOurTime { inner: Arc::new(Chain(chain, named)), surroundings: Arc::new(Believes(second, trust)) };
            let name_asked = ServerName::try_from("cloud.example").unwrap();
            // What the machine's clock says changes nothing.
            for machine in [0, 550, 9999] {
                let machine = UnixTime::since_unix_epoch(Duration::from_secs(machine));
                let judged = judge.verify_server_cert(&CertificateDer::from(vec![]), &[], &name_asked, &[], machine);
                assert_eq!(judged.is_ok(), taken, "{name}: {judged:?}");
            }
        }
    }
}
