//! Where a daemon listens: `unix://PATH` or `tcp://HOST:PORT`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Address of a vici socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A TCP socket.
    Tcp {
        /// Host name or address; an IPv6 address without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither `unix://` nor `tcp://`.
    #[error("'{0}' is not a vici URI: expected unix://PATH or tcp://HOST:PORT")]
    Scheme(String),
    /// A `unix://` without a path.
    #[error("'{0}' names no path")]
    NoPath(String),
    /// A `tcp://` whose host or port is missing or malformed.
    #[error("'{0}' names no host and port")]
    NoHostAndPort(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(uri: &str) -> Result<Self, Self::Err> {
        if let Some(path) = uri.strip_prefix("unix://") {
            if path.is_empty() {
                return Err(EndpointError::NoPath(uri.to_owned()));
            }
            return Ok(Self::Unix(path.into()));
        }
        let malformed = || EndpointError::NoHostAndPort(uri.to_owned());
        let rest = uri.strip_prefix("tcp://").ok_or_else(|| EndpointError::Scheme(uri.to_owned()))?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or_else(malformed)?,
            None => rest.split_once(':').ok_or_else(malformed)?,
        };
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(malformed)?;
        if host.is_empty() {
            return Err(malformed());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_round_trip() {
        for uri in ["unix:///run/charon.vici", "tcp://127.0.0.1:4502", "tcp://[::1]:4502", "tcp://gw.example.org:1"] {
            assert_eq!(uri.parse::<Endpoint>().unwrap().to_string(), uri);
        }
    }

    #[test]
    fn malformed_uris_say_what_is_wrong() {
        let error = |uri: &str| uri.parse::<Endpoint>().unwrap_err();
        assert_eq!(error("/run/charon.vici"), EndpointError::Scheme("/run/charon.vici".into()));
        assert_eq!(error("unix://"), EndpointError::NoPath("unix://".into()));
        for uri in ["tcp://host", "tcp://:1", "tcp://host:+1", "tcp://host:65536", "tcp://[::1]4502", "tcp://::1:4502"]
        {
            assert_eq!(error(uri), EndpointError::NoHostAndPort(uri.into()));
        }
    }
}
