//! Certificates made by pki and openssl (see `tests/data`), and what is left of them after damage.

use super::*;
use crate::credentials::HashAlgorithm;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certs/", $name)).as_slice()
    };
}

fn cert(data: &[u8]) -> Certificate {
    Certificate::from_der_or_pem(data).unwrap()
}

#[test]
fn fields() {
    let (ca, int, moon) = (cert(data!("ca.der")), cert(data!("int.der")), cert(data!("moon.der")));
    assert_eq!(moon.subject().to_string(), "C=CH, O=Test, CN=moon");
    assert_eq!(moon.issuer(), int.subject());
    let names: Vec<_> = moon.subject_alt_names().iter().map(Identity::to_string).collect();
    assert_eq!(names, ["moon.example.org", "moon@example.org", "192.0.2.1", "2001:db8::1"]);
    assert_eq!([ca.is_ca(), int.is_ca(), moon.is_ca()], [true, true, false]);
    assert_eq!([ca.path_len(), int.path_len(), moon.path_len()], [None, Some(0), None]);
    assert_eq!([ca.is_self_issued(), int.is_self_issued()], [true, false]);
    assert_eq!(moon.authority_key_id(), int.subject_key_id());
    assert_eq!(int.subject_key_id(), Some(int.public_key().fingerprint_sha1().as_slice()));
    assert_eq!(moon.signature_scheme(), Some(SignatureScheme::EcdsaDer(HashAlgorithm::Sha2_256)));
    assert_eq!(moon.key_usage(), None);
    assert!(int.key_usage().unwrap().allows_issuing() && !int.key_usage().unwrap().allows_signing());
    assert_eq!(moon.der(), data!("moon.der"));
    assert!(!moon.is_ocsp_signer() && !moon.has_revocation_source() && moon.policies().is_empty());
}

#[test]
fn validity_includes_both_ends() {
    let sun = cert(data!("sun-expired.der"));
    let (first, last) = (sun.not_before(), sun.not_after());
    // date -d "2020-01-01 UTC" +%s; pki takes the local time zone, so a day is tolerated.
    assert!((first.0 - 1_577_836_800).abs() <= 86_400 && (last.0 - 1_609_459_200).abs() <= 86_400);
    assert!(sun.is_valid_at(first) && sun.is_valid_at(last));
    assert!(!sun.is_valid_at(UnixTime(first.0 - 1)) && !sun.is_valid_at(UnixTime(last.0 + 1)));
}

#[test]
fn issuing() {
    let (ca, int, moon) = (cert(data!("ca.der")), cert(data!("int.der")), cert(data!("moon.der")));
    assert_eq!(ca.issued_by(&ca), Ok(()));
    assert_eq!(int.issued_by(&ca), Ok(()));
    assert_eq!(moon.issued_by(&int), Ok(()));
    assert_eq!(moon.issued_by(&ca), Err(IssueError::Unrelated));
    // The rogue CA has the name, but key identifiers tell it apart.
    assert_eq!(int.issued_by(&cert(data!("rogue-ca.der"))), Err(IssueError::Unrelated));
    assert_eq!(cert(data!("by-sun.der")).issued_by(&cert(data!("sun.der"))), Err(IssueError::NotCa));
    let ed25519 = cert(data!("ed25519.pem"));
    assert_eq!(ed25519.issued_by(&ed25519), Ok(()));
    let rsa_ca = cert(data!("rsa-ca.der"));
    for (issued, scheme) in [
        (data!("rsa-ca.der"), SignatureScheme::RsaPkcs1(HashAlgorithm::Sha2_256)),
        (data!("rsa-pss.der"), SignatureScheme::rsa_pss(HashAlgorithm::Sha2_384)),
        (data!("sha1.der"), SignatureScheme::RsaPkcs1(HashAlgorithm::Sha1)),
    ] {
        assert_eq!(cert(issued).signature_scheme(), Some(scheme));
        assert_eq!(cert(issued).issued_by(&rsa_ca), Ok(()));
    }
}

#[test]
fn identities() {
    let moon = cert(data!("moon.der"));
    let value = |id: &str| moon.matches_identity(&Identity::parse(id)).value();
    assert_eq!(value("C=CH, O=Test, CN=moon"), 20);
    assert_eq!(value("C=CH, O=Test, CN=*"), 19);
    assert_eq!(value("moon.example.org"), 20);
    assert_eq!(value("*.example.org"), 19);
    assert_eq!(value("192.0.2.1"), 20);
    assert_eq!(value("2001:db8::1"), 20);
    assert_eq!(value("%any"), 1);
    assert_eq!(value("sun.example.org"), 0);
    for key_id in
        [moon.public_key().fingerprint_sha1().as_slice(), moon.public_key().spki_sha1(), &moon.sha1(), moon.serial()]
    {
        assert_eq!(moon.matches_identity(&Identity::from_encoding(IdType::KeyId, key_id)).value(), 20);
    }
    assert_eq!(value("keyid:moon"), 0);
}

#[test]
fn all_kinds_of_names() {
    let names: Vec<_> = cert(data!("all-names.der")).subject_alt_names().iter().map(|id| format!("{id:?}")).collect();
    assert_eq!(
        names,
        ["ID_DER_ASN1_GN_URI(http://x/)", "ID_DER_ASN1_DN(CN=alt)", "ID_DER_ASN1_GN((ASN.1 general name))"]
    );
    let wanted = Identity::parse("xmppaddr:a@b");
    assert_eq!(cert(data!("all-names.der")).matches_identity(&wanted), Match::PERFECT);
}

#[test]
fn critical_extensions() {
    let unsupported = |data| cert(data).unsupported_critical_extension().map(|oid| oid.to_string());
    assert_eq!(unsupported(data!("critical.der")).as_deref(), Some("1.2.3.4"));
    assert_eq!(unsupported(data!("constrained-ca.der")), None);
    assert_eq!(unsupported(data!("no-signing.der")), None);
    assert!(!cert(data!("no-signing.der")).key_usage().unwrap().allows_signing());
}

#[test]
fn version_1() {
    let v1 = cert(data!("v1.der"));
    assert!(!v1.is_ca() && v1.subject_key_id().is_none());
    assert_eq!(v1.issued_by(&cert(data!("ca.der"))), Ok(()));
}

#[test]
fn damaged_certificates_do_not_panic() {
    let ca = cert(data!("int.der"));
    for original in [data!("moon.der"), data!("all-names.der"), data!("rsa-pss.der")] {
        for length in 0..original.len() {
            assert!(Certificate::from_der(&original[..length]).is_err());
        }
        for position in 0..original.len() {
            for bit in [0x01, 0x80, 0xff] {
                let mut damaged = original.to_vec();
                damaged[position] ^= bit;
                if let Ok(damaged) = Certificate::from_der(&damaged) {
                    assert_ne!(damaged.fingerprint(), cert(original).fingerprint());
                    let _ = (damaged.matches_identity(damaged.subject()), format!("{damaged:?}"));
                    assert!(damaged.issued_by(&ca).is_err(), "{position}");
                }
            }
        }
    }
    assert_eq!(Certificate::from_der(&[0x30; MAX_LEN + 1]), Err(CertificateError::TooLarge));
    assert_eq!(Certificate::from_der_or_pem(b"-----BEGIN X-----"), Err(CertificateError::Malformed));
}
