//! REDIRECT and REDIRECTED_FROM (RFC 5685 §6): which gateway, and in IKE_SA_INIT the nonce that was answered.
//!
//! ```text
//!  | GW Ident Type |  GW Ident Len |                               |
//!  ~                   New Responder GW Identity                   ~
//!  ~                          Nonce Data                           ~
//! ```

use std::fmt;
use std::net::IpAddr;

use strongswan::host::HostSpec;

use super::notify::Notify;
use crate::wire::notify_type::NotifyType;
use crate::wire::reader::Reader;
use crate::wire::registry::GatewayType;

/// A gateway that clients are sent to, or come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gateway {
    /// Its address.
    Address(IpAddr),
    /// Its fully qualified domain name.
    Name(Box<str>),
}

impl Gateway {
    /// Reads an address or a name; `None` if it can be neither, or means every host.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() => None,
            Ok(address) => Some(Self::Address(address)),
            Err(_) => Self::name(text.as_bytes()),
        }
    }

    /// Letters, digits, hyphens and underscores between dots, as a name comes into logs and to a resolver.
    fn name(bytes: &[u8]) -> Option<Self> {
        let label = |label: &[u8]| {
            !label.is_empty()
                && label.len() <= 63
                && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        // a name whose last part is a number is an address to some resolvers, and no name to others
        let numeric = bytes.rsplit(|byte| *byte == b'.').next().is_some_and(|last| last.iter().all(u8::is_ascii_digit));
        if bytes.len() > 253 || numeric || !bytes.split(|byte| *byte == b'.').all(label) {
            return None;
        }
        std::str::from_utf8(bytes).ok().map(|name| Self::Name(name.into()))
    }

    /// Where to send to.
    pub fn host(&self) -> HostSpec {
        match self {
            Self::Address(address) => HostSpec::Address(*address),
            Self::Name(name) => HostSpec::Name(name.as_ref().into()),
        }
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl Notify {
    /// REDIRECT to a gateway. In answer to IKE_SA_INIT, `nonce` is that of the request; elsewhere it is empty.
    pub fn redirect(gateway: &Gateway, nonce: &[u8]) -> Self {
        let mut notify = Self::about_gateway(NotifyType::Redirect, gateway);
        notify.data.extend_from_slice(nonce);
        notify
    }

    /// REDIRECTED_FROM a gateway.
    pub fn redirected_from(gateway: &Gateway) -> Self {
        Self::about_gateway(NotifyType::RedirectedFrom, gateway)
    }

    fn about_gateway(kind: NotifyType, gateway: &Gateway) -> Self {
        let octets;
        let (gateway_type, identity) = match gateway {
            Gateway::Address(IpAddr::V4(v4)) => {
                octets = v4.to_ipv6_mapped().octets();
                (GatewayType::Ipv4, octets.get(12..).unwrap_or_default())
            }
            Gateway::Address(IpAddr::V6(v6)) => {
                octets = v6.octets();
                (GatewayType::Ipv6, octets.as_slice())
            }
            Gateway::Name(name) => (GatewayType::Fqdn, name.as_bytes()),
        };
        // a name has 253 bytes at most
        let len = u8::try_from(identity.len()).unwrap_or(u8::MAX);
        Self::with_data(kind, &[&[gateway_type.into(), len], identity].concat())
    }

    /// The gateway of REDIRECT or REDIRECTED_FROM and what follows it: the nonce.
    pub fn gateway(&self) -> Option<(Gateway, &[u8])> {
        if !matches!(self.kind, NotifyType::Redirect | NotifyType::RedirectedFrom) {
            return None;
        }
        let mut reader = Reader::new(&self.data);
        let gateway_type = GatewayType::from(reader.u8().ok()?);
        let len = reader.u8().ok()?;
        let identity = reader.take(len.into()).ok()?;
        let gateway = match gateway_type {
            GatewayType::Ipv4 => Gateway::Address(<[u8; 4]>::try_from(identity).ok()?.into()),
            GatewayType::Ipv6 => Gateway::Address(<[u8; 16]>::try_from(identity).ok()?.into()),
            GatewayType::Fqdn => Gateway::name(identity)?,
            GatewayType::Unknown(_) => return None,
        };
        let usable = !matches!(gateway, Gateway::Address(address) if address.is_unspecified());
        usable.then_some((gateway, reader.rest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(data: &[u8]) -> Option<Gateway> {
        Notify::with_data(NotifyType::Redirect, data).gateway().map(|(gateway, _)| gateway)
    }

    #[test]
    fn bytes() {
        for (text, expected) in [
            ("192.0.2.7", &[1, 4, 192, 0, 2, 7][..]),
            ("2001:db8::7", &[2, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
            ("gw.example.org", b"\x03\x0egw.example.org"),
        ] {
            let gateway = Gateway::parse(text).unwrap();
            assert_eq!(gateway.to_string(), text);
            let notify = Notify::redirect(&gateway, b"nonce");
            assert_eq!(notify.data.as_slice(), [expected, b"nonce"].concat());
            assert_eq!(notify.gateway(), Some((gateway.clone(), &b"nonce"[..])));
            let from = Notify::redirected_from(&gateway);
            assert_eq!(from.gateway(), Some((gateway, &b""[..])));
        }
    }

    #[test]
    fn what_names_no_gateway() {
        for data in [
            &b""[..],
            b"\x01",
            b"\x01\x04\x01\x02\x03",
            b"\x01\x03\x01\x02\x03",
            b"\x01\x04\0\0\0\0",
            b"\x02\x04\x01\x02\x03\x04",
            b"\x03\x00",
            b"\x03\x05ab\ncd",
            b"\x03\x05a..cd",
            b"\x03\x07192.0.2",
            b"\x04\x02ab",
        ] {
            assert_eq!(redirect(data), None, "{data:x?}");
        }
        assert_eq!(Notify::new(NotifyType::Cookie).gateway(), None);
        for text in ["", "0.0.0.0", "::", "a b", "-.", &"a".repeat(64), "1.2.3", "moon@strongswan.org", "10.0.0.0/8"] {
            assert_eq!(Gateway::parse(text), None, "{text}");
        }
    }
}
