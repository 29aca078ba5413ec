//! Entry points for fuzzers, kept compiling by a unit test.

use std::sync::Arc;

use super::{Auth, AuthOptions, Certificate, CertificateFlags, Pkcs12, PrivateKey, PublicKey, SignatureScheme, Store};
use crate::clock::UnixTime;
use crate::identity::{IdType, Identity};
use crate::selectors::TrafficSelector;

/// Parses a certificate and does with it what a handshake would. Nothing that did not come from a real CA may be
/// trusted.
pub fn certificate(input: &[u8]) {
    let Ok(certificate) = Certificate::from_der_or_pem(input) else { return };
    let certificate = Arc::new(certificate);
    let store = Store::new();
    let presented = [Arc::clone(&certificate)];
    for name in certificate.names() {
        let _text = name.to_string();
        assert!(store.trusted_keys(name, None, &presented, UnixTime(1_767_225_600)).next().is_none());
    }
    let _issued = certificate.issued_by(&certificate);
    store.add_certificate(certificate, CertificateFlags::default());
}

/// Parses keys of both kinds, and an algorithm identifier.
pub fn key(input: &[u8]) {
    if let Ok(key) = PublicKey::from_der_or_pem(input) {
        assert_eq!(PublicKey::from_spki_der(key.spki_der()), Ok(key));
    }
    if let Ok(key) = PrivateKey::from_der_or_pem(input) {
        assert!(key.to_pkcs8_der().is_ok());
    }
    if let Ok(scheme) = SignatureScheme::from_algorithm_identifier(input) {
        let encoded = scheme.algorithm_identifier().unwrap_or_default();
        assert_eq!(SignatureScheme::from_algorithm_identifier(&encoded), Ok(scheme));
    }
}

/// Opens encrypted keys and containers. Fuzzers get past the integrity code and are spared long derivations.
pub fn encrypted(input: &[u8]) {
    let _key = PrivateKey::from_encrypted(input, b"strong swan");
    if let Ok(container) = Pkcs12::open(input, b"strong swan") {
        assert!(Pkcs12::is_container(input));
        for key in &container.keys {
            assert!(key.to_pkcs8_der().is_ok());
        }
    }
}

/// Parses everything that the configuration has a text form for, and identities off the wire.
pub fn text(input: &[u8]) {
    if let [id_type, rest @ ..] = input {
        let identity = Identity::from_encoding(IdType::from(*id_type), rest);
        let _shown = (identity.to_string(), identity.contains_wildcards(), identity.address());
        assert_eq!(identity, identity.clone());
        let _quality = identity.matches(&identity);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _parsed = (Identity::parse_with_regex(text), Auth::parse(text, AuthOptions::default()));
    if let Ok(selector) = TrafficSelector::parse(text) {
        assert_eq!(selector.intersection(&selector), Some(selector));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOON: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certs/moon.der"));
    const KEY: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys/ecdsa-256.sec1.pem"));

    #[test]
    fn entry_points_run() {
        for input in [MOON, KEY, b"fqdn:^a$", b"10.0.0.0/8[tcp/80]", b"pubkey-sha256", b"\x09\x30\x00", b""] {
            certificate(input);
            key(input);
            encrypted(input);
            text(input);
        }
    }
}
