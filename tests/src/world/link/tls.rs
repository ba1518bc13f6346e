//! Certificates of every kind, and the servers that show them. Made anew for each world; no key is kept anywhere.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SigningKey,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Mode;
use super::rsa512::Rsa512;
use crate::clock::unix_ms;

/// What ends TLS in front of a cloud.
pub struct Certificates {
    authority: String,
    good: TlsAcceptor,
    expired: TlsAcceptor,
    self_signed: TlsAcceptor,
    wrong_name: TlsAcceptor,
    other_authority: TlsAcceptor,
    rsa512: TlsAcceptor,
}

/// A day.
const DAY: Duration = Duration::from_secs(86_400);

/// Under which name gates know the cloud.
pub const NAME: &str = "localhost";

impl Certificates {
    /// An authority of its own, and one server of each kind.
    pub fn new() -> anyhow::Result<Self> {
        let ours = authority("World authority")?;
        let theirs = authority("Somebody's authority")?;
        let mut over = leaf(NAME)?;
        over.not_before = date_time_ymd(2020, 1, 1);
        over.not_after = date_time_ymd(2021, 1, 1);
        Ok(Self {
            authority: ours.pem(),
            // An authority in between is nothing bad by itself: only its key makes the difference to `rsa512`.
            good: below(CertifiedIssuer::signed_by(authority_of("Authority between"), KeyPair::generate()?, &ours)?)?,
            expired: signed(&over, &ours)?,
            self_signed: {
                let key = KeyPair::generate()?;
                acceptor(vec![leaf(NAME)?.self_signed(&key)?.der().clone()], &key)?
            },
            wrong_name: signed(&leaf("elsewhere.example")?, &ours)?,
            other_authority: signed(&leaf(NAME)?, &theirs)?,
            rsa512: below(CertifiedIssuer::signed_by(authority_of("Weak authority"), Rsa512::new(), &ours)?)?,
        })
    }

    /// The authority that gates of this world are to trust, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn acceptor(&self, mode: Mode) -> &TlsAcceptor {
        match mode {
            Mode::Expired => &self.expired,
            Mode::SelfSigned => &self.self_signed,
            Mode::WrongName => &self.wrong_name,
            Mode::OtherAuthority => &self.other_authority,
            Mode::Rsa512 => &self.rsa512,
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
            | Mode::Duplicates
            | Mode::Reorders
            | Mode::Portal
            | Mode::Redirects
            | Mode::Portal511
            | Mode::TlsGarbage
            | Mode::Tls10
            | Mode::Tls11
            | Mode::Truncates
            | Mode::GzipBomb
            | Mode::Storms
            | Mode::LiesAboutLength
            | Mode::HalfOpen
            | Mode::OneWay
            | Mode::Jitters
            | Mode::FalseWitness => &self.good,
        }
    }
}

fn authority(name: &str) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    Ok(CertifiedIssuer::self_signed(authority_of(name), KeyPair::generate()?)?)
}

fn authority_of(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn leaf(name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    // As authorities give them out: for ninety days, and this one since yesterday.
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(unix_ms())?);
    params.not_before = (now - DAY).into();
    params.not_after = (now + 89 * DAY).into();
    Ok(params)
}

/// A good certificate from an authority that is none of those that are trusted, but below one.
fn below<S: SigningKey>(between: CertifiedIssuer<'_, S>) -> anyhow::Result<TlsAcceptor> {
    let key = KeyPair::generate()?;
    let certificate = leaf(NAME)?.signed_by(&key, &between)?.der().clone();
    acceptor(vec![certificate, between.as_ref().der().clone()], &key)
}

fn signed(params: &CertificateParams, by: &CertifiedIssuer<'_, KeyPair>) -> anyhow::Result<TlsAcceptor> {
    let key = KeyPair::generate()?;
    acceptor(vec![params.signed_by(&key, by)?.der().clone()], &key)
}

fn acceptor(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> anyhow::Result<TlsAcceptor> {
    let _already = rustls::crypto::ring::default_provider().install_default();
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| anyhow::anyhow!("a server's key: {e}"))?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).context("a server's certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers a hello with noise.
pub(super) async fn garbage(mut near: TcpStream) {
    let mut hello = [0; 1024];
    let _read = near.read(&mut hello).await;
    let noise: Vec<u8> = (0..256u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let _written = near.write_all(&noise).await;
}

/// Answers a hello as a server does that knows nothing newer than TLS 1.0 (minor 1) or 1.1 (minor 2).
pub(super) async fn old(mut near: TcpStream, minor: u8) {
    let mut hello = [0; 2048];
    let _read = near.read(&mut hello).await;
    // ServerHello: version, random, no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression, no extensions.
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0x00, 0x2f, 0]);
    let mut message = vec![2, 0, 0, body.len() as u8];
    message.extend(body);
    let mut record = vec![22, 3, minor, 0, message.len() as u8];
    record.extend(message);
    if near.write_all(&record).await.is_ok() {
        // Whoever goes on with this now sends the secret's first part; whoever does not, an alert and the end.
        let _ended = near.read(&mut hello).await;
    }
}
