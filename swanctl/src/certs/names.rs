//! Names within certificates as identities print them.

use std::net::IpAddr;

use der::Encode;
use strongswan::identity::{IdType, Identity};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// A distinguished name.
pub(super) fn distinguished(name: &Name) -> Option<Identity> {
    Some(Identity::from_encoding(IdType::DerAsn1Dn, &name.to_der().ok()?))
}

/// Any other name.
pub(super) fn general(name: &GeneralName) -> Option<String> {
    Some(match name {
        GeneralName::Rfc822Name(text) => text.to_string(),
        GeneralName::DnsName(text) => text.to_string(),
        GeneralName::UniformResourceIdentifier(text) => text.to_string(),
        GeneralName::DirectoryName(name) => distinguished(name)?.to_string(),
        GeneralName::IpAddress(octets) => address(octets.as_bytes())?,
        GeneralName::RegisteredId(oid) => oid.to_string(),
        GeneralName::OtherName(_) | GeneralName::EdiPartyName(_) => "(ASN.1 general name)".to_owned(),
    })
}

/// An address, or in a name constraint a network: the address and as many bytes of mask.
fn address(octets: &[u8]) -> Option<String> {
    let ip = |octets: &[u8]| {
        <[u8; 4]>::try_from(octets).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
    };
    match octets.len() {
        8 | 32 => {
            let (network, mask) = octets.split_at_checked(octets.len() / 2)?;
            let bits: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
            Some(format!("{}/{bits}", ip(network)?))
        }
        _ => Some(ip(octets)?.to_string()),
    }
}
