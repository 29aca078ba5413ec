//! Entry points for fuzzers, kept compiling by a unit test.

use std::sync::Arc;

use super::revocation::{Crl, OcspResponse};
use super::{Auth, AuthOptions, Certificate, CertificateFlags, Pkcs12, PrivateKey, PublicKey, SignatureScheme, Store};
use crate::clock::UnixTime;
use crate::identity::{IdType, Identity};
use crate::selectors::TrafficSelector;

const ROOT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certs/ca.der"));
const PEER: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certs/sun.der"));

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

/// Parses a CRL and does with it what a trust decision would. It has no signer.
pub fn crl(input: &[u8]) {
    let Ok(crl) = Crl::from_der_or_pem(input) else { return };
    let _shown = (crl.issuer().to_string(), crl.is_delta(), crl.next_update());
    let store = Store::new();
    store.add_crl(crl);
    offer(&store, input);
}

/// Parses an OCSP response, and offers it about somebody it is not about.
pub fn ocsp(input: &[u8]) {
    let store = Store::new();
    offer(&store, input);
    assert!(store.ocsp_responses().is_empty() || OcspResponse::from_der(input).is_ok());
}

/// What a peer sends along about itself.
fn offer(store: &Store, input: &[u8]) {
    let (Ok(root), Ok(moon)) = (Certificate::from_der(ROOT), Certificate::from_der(PEER)) else { return };
    store.add_certificate(Arc::new(root), CertificateFlags::default());
    let presented = [Arc::new(moon)];
    let now = UnixTime(1_767_225_600);
    for name in presented.iter().flat_map(|peer| peer.names()) {
        store.offer(name, &presented, &[input], &[input], now);
        let _key = store.trusted_keys(name, None, &presented, now).next();
    }
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
    const CRL: &[u8] =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/pkits/crls/indirectCRLCA5CRL.crl"));
    const KEY: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys/ecdsa-256.sec1.pem"));

    #[test]
    fn entry_points_run() {
        for input in [MOON, KEY, b"fqdn:^a$", b"10.0.0.0/8[tcp/80]", b"pubkey-sha256", b"\x09\x30\x00", CRL, b""] {
            certificate(input);
            crl(input);
            ocsp(input);
            key(input);
            encrypted(input);
            text(input);
        }
    }
}
