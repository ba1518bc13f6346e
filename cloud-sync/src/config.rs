//! What the service is told at its start, understood once.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::clock::{self, Clock};
use crate::entropy::Entropy;
use crate::store::Mode;

/// Everything [`crate::run`] needs to know.
#[derive(Clone)]
pub struct Config {
    /// The folder of the database and the master key.
    pub data: PathBuf,
    /// Under which address people and gates reach the service.
    pub public_url: PublicUrl,
    /// Further authorities (`host:port`) that gates may have signed for, beside the public one.
    pub authorities: Vec<String>,
    /// A proxy in front ends TLS and writes `X-Forwarded-For`.
    pub behind_proxy: bool,
    /// Where the database runs.
    pub mode: Mode,
    /// The clock.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

impl Config {
    /// The usual configuration over a data folder.
    pub fn new(data: impl Into<PathBuf>, public_url: PublicUrl) -> Self {
        Self {
            data: data.into(),
            public_url,
            authorities: Vec::new(),
            behind_proxy: false,
            mode: Mode::Threads,
            clock: clock::system(),
            entropy: Entropy::system(),
        }
    }

    /// Every authority under which the service answers. On loopback, `localhost` is the same place as its number.
    pub fn known_authorities(&self) -> impl Iterator<Item = String> {
        let public = self.public_url.authority.clone();
        let named = public.strip_prefix("127.0.0.1").map(|port| format!("localhost{port}"));
        let further = self.authorities.clone();
        std::iter::once(public).chain(named).chain(further)
    }

    /// Whether a page of this origin is one of ours.
    pub fn is_own_origin(&self, origin: &str) -> bool {
        let scheme = if self.public_url.secure { "https://" } else { "http://" };
        origin.strip_prefix(scheme).is_some_and(|authority| self.known_authorities().any(|known| known == authority))
    }

    /// Refuses to offer passwords in clear text to a network.
    pub fn check(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        if !listen.ip().is_loopback() && !self.behind_proxy {
            return Err(ConfigError::OpenPlainHttp(listen));
        }
        if !self.public_url.secure && !self.public_url.is_loopback() {
            return Err(ConfigError::PublicPlainHttp(self.public_url.to_string()));
        }
        Ok(())
    }

    /// What is probably wrong, but may be meant.
    pub fn advice(&self, listen: SocketAddr) -> Option<String> {
        (self.public_url.secure && listen.ip().is_loopback() && !self.behind_proxy).then(|| {
            format!(
                "{} is https, so a proxy on this machine must be in front, but --behind-proxy is missing: every visitor has the proxy's address, and one who guesses passwords slows everybody's login down. Add --behind-proxy (CLOUD_SYNC_BEHIND_PROXY=true) and let the proxy write X-Forwarded-For",
                self.public_url
            )
        })
    }
}

/// Why a configuration is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// It would serve plain http to the network.
    #[error(
        "{0} is reachable from the network and this service speaks plain http: listen on 127.0.0.1, or put a proxy with TLS in front and add --behind-proxy"
    )]
    OpenPlainHttp(SocketAddr),
    /// People would log in over plain http.
    #[error(
        "{0} would send passwords in clear text: use an https:// address, or http://127.0.0.1 on this machine alone"
    )]
    PublicPlainHttp(String),
    /// Not a URL of this kind.
    #[error("{0:?} is not an address like https://gates.example or http://127.0.0.1:8443, without a path")]
    Url(String),
}

/// The scheme and authority under which the service is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicUrl {
    /// Reached over https.
    pub secure: bool,
    /// Host in lower case, with the port unless it is the scheme's own.
    pub authority: String,
}

impl PublicUrl {
    /// Plain http on this very machine.
    pub fn loopback(listen: SocketAddr) -> Self {
        Self { secure: false, authority: listen.to_string() }
    }

    fn is_loopback(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl std::fmt::Display for PublicUrl {
    /// As browsers write an origin.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

impl std::str::FromStr for PublicUrl {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let error = || ConfigError::Url(text.to_owned());
        let uri: axum::http::Uri = text.parse().map_err(|_| error())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(error()),
        };
        let authority = uri.authority().ok_or_else(error)?.as_str().to_ascii_lowercase();
        if authority.contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(error());
        }
        let own_port = if secure { ":443" } else { ":80" };
        let authority = authority.strip_suffix(own_port).map_or(authority.clone(), str::to_owned);
        Ok(Self { secure, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, expected) in [
            ("https://Gates.Example", Some("https://gates.example")),
            ("https://gates.example:443/", Some("https://gates.example")),
            ("https://gates.example:8443", Some("https://gates.example:8443")),
            ("http://127.0.0.1:80", Some("http://127.0.0.1")),
            ("ftp://gates.example", None),
            ("gates.example", None),
            ("https://user@gates.example", None),
            ("https://gates.example/path", None),
            ("https://gates.example/?a", None),
        ] {
            assert_eq!(text.parse::<PublicUrl>().ok().map(|url| url.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_proxy_that_was_forgotten_is_named() {
        for (listen, url, proxy, named) in [
            ("127.0.0.1:8443", "https://gates.example", false, true),
            ("127.0.0.1:8443", "https://gates.example", true, false),
            ("127.0.0.1:8443", "http://127.0.0.1:8443", false, false),
            ("0.0.0.0:8443", "https://gates.example", true, false),
        ] {
            let mut config = Config::new("x", url.parse().unwrap());
            config.behind_proxy = proxy;
            let advice = config.advice(listen.parse().unwrap());
            assert_eq!(advice.is_some_and(|words| words.contains("--behind-proxy")), named, "{listen} {url} {proxy}");
        }
    }

    #[test]
    fn passwords_never_travel_in_clear_text() {
        for (listen, url, proxy, good) in [
            ("127.0.0.1:8443", "http://127.0.0.1:8443", false, true),
            ("127.0.0.1:8443", "http://localhost:8443", false, true),
            ("[::1]:8443", "http://[::1]:8443", false, true),
            ("127.0.0.1:8443", "https://gates.example", false, true),
            ("0.0.0.0:8443", "https://gates.example", false, false),
            ("0.0.0.0:8443", "https://gates.example", true, true),
            ("0.0.0.0:8443", "http://gates.example", true, false),
            ("127.0.0.1:8443", "http://gates.example", false, false),
        ] {
            let mut config = Config::new("x", url.parse().unwrap());
            config.behind_proxy = proxy;
            assert_eq!(config.check(listen.parse().unwrap()).is_ok(), good, "{listen} {url} {proxy}");
        }
    }
}
