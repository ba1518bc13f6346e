//! Everything that a network between a gate and its cloud has been seen to do.

/// How a road behaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// Carries everything at once, both ways.
    Clear,
    /// A dead uplink: what is under way is lost, new connections hang.
    Cut,
    /// Every connection is refused with a reset.
    Refused,
    /// Connections are taken and nothing is ever read from them.
    BlackHole,
    /// The link is up and loses everything that is sent.
    LosesAll,
    /// Twenty bytes a second.
    Slow,
    /// Answers come a byte a second.
    SlowLoris,
    /// The connection ends within the request.
    CutsRequest,
    /// The connection ends within the answer.
    CutsAnswer,
    /// A reset within the answer's body.
    ResetsAnswer,
    /// Every request arrives twice; which of the two answers comes back changes.
    Duplicates,
    /// Every answer comes late: to the request after its own.
    Reorders,
    /// A log-in page, with status 200.
    Portal,
    /// A redirection to somewhere else.
    Redirects,
    /// "Network authentication required".
    Portal511,
    /// Noise instead of TLS.
    TlsGarbage,
    /// The name leads to another host, which has a good certificate for its own name.
    WrongName,
    /// The certificate is over.
    Expired,
    /// The certificate is signed by itself.
    SelfSigned,
    /// The certificate is for this name, from an authority that nobody here trusts.
    OtherAuthority,
    /// An authority in between signs with an RSA key of 512 bits.
    Rsa512,
    /// The server speaks TLS 1.0 only.
    Tls10,
    /// The server speaks TLS 1.1 only.
    Tls11,
    /// The answer's body ends in the middle.
    Truncates,
    /// The answer unpacks to more than fits anywhere.
    GzipBomb,
    /// The server is overloaded and says so.
    Storms,
    /// The answer is said to be longer than it is.
    LiesAboutLength,
    /// Silence after the handshake.
    HalfOpen,
    /// Requests arrive, answers are lost.
    OneWay,
    /// Everything arrives, each piece up to 200 ms late.
    Jitters,
    /// Somebody with a certificate that is believed says "taken" to everything and passes nothing on.
    FalseWitness,
}

impl Mode {
    /// All that misbehave.
    pub const ALL: [Self; 30] = [
        Self::Cut,
        Self::Refused,
        Self::BlackHole,
        Self::LosesAll,
        Self::Slow,
        Self::SlowLoris,
        Self::CutsRequest,
        Self::CutsAnswer,
        Self::ResetsAnswer,
        Self::Duplicates,
        Self::Reorders,
        Self::Portal,
        Self::Redirects,
        Self::Portal511,
        Self::TlsGarbage,
        Self::WrongName,
        Self::Expired,
        Self::SelfSigned,
        Self::OtherAuthority,
        Self::Rsa512,
        Self::Tls10,
        Self::Tls11,
        Self::Truncates,
        Self::GzipBomb,
        Self::Storms,
        Self::LiesAboutLength,
        Self::HalfOpen,
        Self::OneWay,
        Self::Jitters,
        Self::FalseWitness,
    ];

    /// Whether an exchange can succeed while it lasts.
    pub fn carries(self) -> bool {
        matches!(self, Self::Clear | Self::Duplicates | Self::Jitters)
    }

    /// Whether it is about TLS, so that it shows only on a road with TLS.
    pub fn needs_tls(self) -> bool {
        matches!(
            self,
            Self::TlsGarbage
                | Self::WrongName
                | Self::Expired
                | Self::SelfSigned
                | Self::OtherAuthority
                | Self::Rsa512
                | Self::Tls10
                | Self::Tls11
        )
    }
}
