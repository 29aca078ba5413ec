//! EAP-Identity (RFC 3748 §5.1): a name as it is in a packet.

use strongswan::identity::{IdType, Identity};

/// Longest name: RFC 7542 allows 253 octets, distinguished names may be longer.
const MAX_LEN: usize = 1024;

/// The identity in a packet. It must name somebody: what would match others (`%any`, patterns, networks) is a trick.
pub(super) fn parse(data: &[u8]) -> Option<Identity> {
    if data.is_empty() || data.len() > MAX_LEN {
        return None;
    }
    let text = std::str::from_utf8(data).ok().filter(|text| !text.chars().any(char::is_control));
    let identity = match text {
        Some(text) => Identity::parse(text),
        None => Identity::from_encoding(IdType::KeyId, data),
    };
    is_somebody(&identity).then_some(identity)
}

fn is_somebody(identity: &Identity) -> bool {
    match identity.id_type() {
        IdType::Ipv4Addr | IdType::Ipv6Addr => true,
        IdType::Fqdn | IdType::Rfc822Addr | IdType::DerAsn1Dn | IdType::KeyId => {
            !identity.encoding().is_empty() && !identity.contains_wildcards()
        }
        IdType::Any
        | IdType::Ipv4AddrSubnet
        | IdType::Ipv6AddrSubnet
        | IdType::Ipv4AddrRange
        | IdType::Ipv6AddrRange
        | IdType::DerAsn1Gn
        | IdType::Uri
        | IdType::Unknown(_) => false,
    }
}

/// The identity as it goes into a packet: names as they are, everything else in its text form.
pub fn emit(identity: &Identity) -> Vec<u8> {
    match identity.id_type() {
        IdType::Fqdn | IdType::Rfc822Addr | IdType::KeyId => identity.encoding().to_vec(),
        IdType::Any => Vec::new(),
        _ => identity.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive() {
        for text in ["alice", "carol@example.org", "C=CH, O=Lab, CN=dave", "192.0.2.1", "EXAMPLE\\alice"] {
            let identity = Identity::parse(text);
            assert_eq!(parse(&emit(&identity)), Some(identity), "{text}");
        }
        assert_eq!(parse(b"\xff\x00\x01"), Some(Identity::from_encoding(IdType::KeyId, b"\xff\x00\x01")));
    }

    #[test]
    fn nobody_is_everybody() {
        for text in [
            "",
            "%any",
            "*@example.org",
            "*.example.org",
            "*",
            "10.0.0.0/8",
            "10.0.0.1-10.0.0.9",
            "C=CH, CN=*",
            "0.0.0.0/0",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(&[b'a'; 1025]), None);
    }
}
