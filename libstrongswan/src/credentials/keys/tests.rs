//! Keys in all their encodings (made by pki and openssl, see `tests/data`), schemes against keys, hostile input.

use super::*;
use crate::credentials::hash::HashAlgorithm::{self, *};

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys/", $name)).as_slice()
    };
}

const RSA: &[u8] = data!("rsa-2048.pkcs1.pem");
const P256: &[u8] = data!("ecdsa-256.sec1.pem");
const P384: &[u8] = data!("ecdsa-384.sec1.pem");
const P521: &[u8] = data!("ecdsa-521.sec1.pem");
const ED25519: &[u8] = data!("ed25519.pkcs8.pem");

fn private(data: &[u8]) -> PrivateKey {
    PrivateKey::from_der_or_pem(data).unwrap()
}

#[test]
fn encodings_of_one_key_are_one_key() {
    for (first, others, public) in [
        (RSA, &[data!("rsa-2048.pkcs1.der"), data!("rsa-2048.pkcs8.pem")][..], data!("rsa-2048.pub.pkcs1.pem")),
        (P256, &[data!("ecdsa-256.pkcs8.der")], data!("ecdsa-256.pub.pem")),
        (P384, &[data!("ecdsa-384.pkcs8.der")], data!("ecdsa-384.pub.pem")),
        (P521, &[data!("ecdsa-521.pkcs8.der")], data!("ecdsa-521.pub.pem")),
        (ED25519, &[], data!("ed25519.pub.der")),
        (RSA, &[], data!("rsa-2048.pub.pkcs1.der")),
    ] {
        let key = private(first);
        for other in others {
            assert_eq!(private(other), key);
        }
        let public = PublicKey::from_der_or_pem(public).unwrap();
        assert_eq!(public, *key.public_key());
        assert_eq!(PublicKey::from_der_or_pem(public.spki_der()), Ok(public));
        assert_eq!(private(key.to_pkcs8_der().unwrap().as_bytes()), key);
    }
    assert_eq!(private(data!("ecdsa-256.parameters.pem")).key_type(), KeyType::Ecdsa);
}

#[test]
fn types_and_sizes() {
    let of = |data| (private(data).key_type(), private(data).public_key().bits());
    assert_eq!(of(RSA), (KeyType::Rsa, 2048));
    assert_eq!(of(data!("rsa-1024.pkcs1.pem")), (KeyType::Rsa, 1024));
    assert_eq!(of(P256), (KeyType::Ecdsa, 256));
    assert_eq!(of(P384), (KeyType::Ecdsa, 384));
    assert_eq!(of(P521), (KeyType::Ecdsa, 521));
    assert_eq!(of(ED25519), (KeyType::Ed25519, 256));
    assert_eq!(KeyType::from_name("ecdsa"), Some(KeyType::Ecdsa));
    assert_eq!(KeyType::from_name("any"), None);
}

#[test]
fn encrypted_keys() {
    for (encrypted, plain) in [
        (data!("ecdsa-256.pbes2.pem"), P256),
        (data!("ed25519.scrypt.der"), ED25519),
        (data!("rsa-2048.dek.pem"), RSA),
        (data!("ecdsa-384.dek.pem"), P384),
    ] {
        assert_eq!(PrivateKey::from_der_or_pem(encrypted), Err(KeyError::Encrypted));
        assert_eq!(PrivateKey::from_encrypted(encrypted, b"x"), Err(KeyError::WrongPassphrase));
        assert_eq!(PrivateKey::from_encrypted(encrypted, b"strong swan").unwrap(), private(plain));
    }
    assert_eq!(PrivateKey::from_encrypted(RSA, b"x").unwrap(), private(RSA));
    let broken = String::from_utf8_lossy(data!("rsa-2048.dek.pem")).replace("AES-128-CBC,", "IDEA-CBC,");
    assert_eq!(PrivateKey::from_encrypted(broken.as_bytes(), b"x"), Err(KeyError::Unsupported));
    let broken = broken.replace("IDEA-CBC,", "AES-128-CBC,00");
    assert_eq!(PrivateKey::from_encrypted(broken.as_bytes(), b"x"), Err(KeyError::Malformed));
    let costly = data!("too-many-iterations.pem");
    assert_eq!(PrivateKey::from_encrypted(costly, b"strong swan"), Err(KeyError::Unsupported));
}

/// PBES2 with every PRF and cipher, PBES1, the schemes of PKCS#12 and DEK-Info, as openssl makes them.
#[test]
fn every_encryption_scheme() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/encrypted");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        let name = path.display();
        assert_eq!(PrivateKey::from_der_or_pem(&data), Err(KeyError::Encrypted), "{name}");
        assert_eq!(PrivateKey::from_encrypted(&data, b"strong swan"), Ok(private(P256)), "{name}");
        assert_eq!(PrivateKey::from_encrypted(&data, b"strong swam"), Err(KeyError::WrongPassphrase), "{name}");
        count += 1;
    }
    assert_eq!(count, 31);
}

#[test]
fn refused_keys() {
    assert_eq!(PrivateKey::from_der_or_pem(data!("secp256k1.sec1.pem")), Err(KeyError::Unsupported));
    assert!(PrivateKey::from_der_or_pem(data!("ed448.pkcs8.pem")).is_err());
    assert_eq!(PrivateKey::from_der_or_pem(b""), Err(KeyError::Malformed));
    assert_eq!(PrivateKey::from_der_or_pem(data!("ecdsa-256.pub.pem")), Err(KeyError::Malformed));
    assert_eq!(PublicKey::from_der_or_pem(b"\x30\x00"), Err(KeyError::Malformed));
    let x25519 = hex::decode(format!("302a300506032b656e032100{}", "09".repeat(32))).unwrap();
    assert_eq!(PublicKey::from_spki_der(&x25519), Err(KeyError::Unsupported));
}

#[test]
fn fingerprints() {
    // openssl asn1parse … -strparse 12 | sha1sum, and sha1sum of the file.
    let key = PublicKey::from_der_or_pem(data!("ed25519.pub.der")).unwrap();
    assert_eq!(key.fingerprint_sha1(), &crate::crypto::hash::sha1(&[&key.spki_der()[12..]]));
    assert_eq!(key.spki_sha1(), &crate::crypto::hash::sha1(&[data!("ed25519.pub.der")]));
}

#[test]
fn every_scheme_signs_and_verifies() {
    let digests = [Sha1, Sha2_224, Sha2_256, Sha2_384, Sha2_512];
    let ecdsa = || digests.map(SignatureScheme::EcdsaDer).to_vec();
    let rsa = digests.map(SignatureScheme::RsaPkcs1).into_iter();
    let pss = digests.map(SignatureScheme::rsa_pss).into_iter();
    for (key, schemes) in [
        (RSA, rsa.chain(pss).chain([SignatureScheme::RsaPss(Sha2_256, 0)]).collect::<Vec<_>>()),
        (P256, [ecdsa(), vec![SignatureScheme::Ecdsa256]].concat()),
        (P384, [ecdsa(), vec![SignatureScheme::Ecdsa384]].concat()),
        (P521, [ecdsa(), vec![SignatureScheme::Ecdsa521]].concat()),
        (ED25519, vec![SignatureScheme::Ed25519]),
    ] {
        let key = private(key);
        for scheme in schemes {
            let signature = key.sign(scheme, b"data").unwrap();
            key.public_key().verify(scheme, b"data", &signature).unwrap();
            assert_eq!(key.public_key().verify(scheme, b"date", &signature), Err(SignatureError::Invalid), "{scheme}");
            for position in [0, signature.len() / 2, signature.len() - 1] {
                let mut wrong = signature.clone();
                wrong[position] ^= 1;
                assert_eq!(key.public_key().verify(scheme, b"data", &wrong), Err(SignatureError::Invalid), "{scheme}");
            }
            for length in 0..signature.len() {
                assert!(key.public_key().verify(scheme, b"data", &signature[..length]).is_err(), "{scheme}");
            }
        }
    }
    assert_eq!(private(P256).sign(SignatureScheme::Ecdsa256, b"").unwrap().len(), 64);
    assert_eq!(private(P521).sign(SignatureScheme::Ecdsa521, b"").unwrap().len(), 132);
}

#[test]
fn schemes_need_their_key() {
    let key = private(P256);
    for scheme in [
        SignatureScheme::RsaPkcs1(Sha2_256),
        SignatureScheme::Ed25519,
        SignatureScheme::Ed448,
        SignatureScheme::Ecdsa384,
        SignatureScheme::EcdsaDer(Md5),
    ] {
        assert_eq!(key.sign(scheme, b""), Err(SignatureError::Unsupported(scheme)));
        assert!(key.public_key().verify(scheme, b"", &[0; 64]).is_err());
    }
}

#[test]
fn candidates_follow_key_and_peer() {
    let all = &[Sha1, Sha2_256, Sha2_384, Sha2_512, Identity];
    let names = |key: &[u8], hashes: &[HashAlgorithm], configured: &[SignatureScheme], pss| {
        SignatureScheme::candidates(private(key).public_key(), hashes, configured, pss)
            .iter()
            .map(|scheme| scheme.to_string().replace("RSA_EMSA_", "").replace("ECDSA_WITH_", ""))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(RSA, all, &[], false), "PKCS1_SHA2_256 PKCS1_SHA2_384 PKCS1_SHA2_512");
    assert_eq!(
        names(RSA, all, &[], true),
        "PSS_SHA2_256_SALT_32 PSS_SHA2_384_SALT_48 PSS_SHA2_512_SALT_64 PKCS1_SHA2_256 PKCS1_SHA2_384 PKCS1_SHA2_512"
    );
    assert_eq!(names(RSA, &[Sha2_384], &[], false), "PKCS1_SHA2_384");
    assert_eq!(names(P256, all, &[], true), "SHA256_DER SHA384_DER SHA512_DER");
    assert_eq!(names(P384, all, &[], false), "SHA384_DER SHA512_DER");
    assert_eq!(names(P521, all, &[], false), "SHA512_DER");
    assert_eq!(names(P521, &[Sha2_256], &[], false), "");
    assert_eq!(names(ED25519, all, &[], false), "ED25519");
    assert_eq!(names(ED25519, &[Sha2_256], &[], false), "");
    let configured =
        [SignatureScheme::EcdsaDer(Sha2_512), SignatureScheme::Ed25519, SignatureScheme::EcdsaDer(Sha2_256)];
    assert_eq!(names(P256, all, &configured, false), "SHA512_DER SHA256_DER");
    assert_eq!(names(P256, &[Sha2_384], &configured, false), "");
    let old = |key| SignatureScheme::without_signature_authentication(private(key).public_key());
    assert_eq!(old(RSA), Some(SignatureScheme::RsaPkcs1(Sha1)));
    assert_eq!(
        [old(P256), old(P384), old(P521), old(ED25519)],
        [Some(SignatureScheme::Ecdsa256), Some(SignatureScheme::Ecdsa384), Some(SignatureScheme::Ecdsa521), None]
    );
}

#[test]
fn nothing_secret_is_printed() {
    let key = private(P256);
    assert!(format!("{key:?}").starts_with("PrivateKey(PublicKey(ECDSA 256, "));
}

#[test]
fn hostile_keys_do_not_panic() {
    for key in [data!("rsa-2048.pkcs1.der"), data!("ecdsa-256.pkcs8.der"), data!("ed25519.scrypt.der")] {
        for length in 0..key.len() {
            assert!(PrivateKey::from_der_or_pem(&key[..length]).is_err());
        }
        // RSA keys are checked for consistency at a cost: every byte of a header, some of the numbers.
        let step = if key.len() > 1000 { 7 } else { 1 };
        for position in (0..key.len()).step_by(step) {
            for bit in [0x01, 0x80, 0xff] {
                let mut key = key.to_vec();
                key[position] ^= bit;
                let _ = PrivateKey::from_der_or_pem(&key);
            }
        }
    }
    for public in [data!("rsa-2048.pub.pkcs1.der"), data!("ed25519.pub.der")] {
        let spki = PublicKey::from_der_or_pem(public).unwrap();
        for encoded in [public, spki.spki_der()] {
            for position in 0..encoded.len() {
                assert!(PublicKey::from_der_or_pem(&encoded[..position]).is_err());
                let mut encoded = encoded.to_vec();
                encoded[position] ^= 0xff;
                let _ = PublicKey::from_der_or_pem(&encoded);
            }
        }
    }
}
