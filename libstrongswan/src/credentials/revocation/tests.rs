//! The CRLs of PKITS are checked with their chains; here is what NIST has nothing about.

use super::*;

struct Nothing;

impl Fetch for Nothing {
    fn get(&self, _uri: &str) -> Result<Vec<u8>, FetchError> {
        Err(FetchError("nothing there".into()))
    }

    fn post_ocsp(&self, _uri: &str, _request: &[u8]) -> Result<Vec<u8>, FetchError> {
        Err(FetchError("nothing there".into()))
    }
}

#[test]
fn hostile_bytes_do_not_panic() {
    let path = format!("{}/tests/vectors/pkits/crls/indirectCRLCA5CRL.crl", env!("CARGO_MANIFEST_DIR"));
    let original = std::fs::read(path).unwrap();
    assert!(Crl::from_der_or_pem(&original).is_ok());
    for length in 0..original.len() {
        assert!(Crl::from_der_or_pem(&original[..length]).is_err());
        let _response = OcspResponse::from_der(&original[..length]);
    }
    for position in 0..original.len() {
        for bit in [0x01, 0x80, 0xff] {
            let mut damaged = original.clone();
            damaged[position] ^= bit;
            if let Ok(crl) = Crl::from_der_or_pem(&damaged) {
                let _entry = (crl.entry(&[1], crl.issuer()).is_some(), crl.is_base_of(&crl), crl.supersedes(&crl));
            }
        }
    }
}

#[test]
fn numbers_compare_by_value() {
    assert!(!crl::greater(&[0, 1], &[1]) && crl::greater(&[1, 0], &[0xff]));
}

#[test]
fn nothing_is_asked_about_nobody() {
    let store = Store::new();
    assert!(store.status_queries(&Identity::any(), &[], UnixTime(0)).is_empty());
    assert!(Nothing.get("").is_err() && Nothing.post_ocsp("", &[]).is_err());
}
