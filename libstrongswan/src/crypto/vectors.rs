//! Published vectors for every algorithm: data files under `tests/vectors`, and the runners.
//!
//! A file consists of stanzas separated by empty lines, each a list of `name = value`. Values are hexadecimal, `xx*n` for
//! an octet repeated n times, or text in quotation marks. Comments say where a vector comes from.

use std::collections::{BTreeMap, HashSet};

use super::transform::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm};
use super::{Cipher, KeyExchange, Prf, cipher, ke, prf};

/// One stanza.
struct Vector {
    values: BTreeMap<&'static str, &'static str>,
}

impl Vector {
    fn text(&self, name: &str) -> &'static str {
        self.values.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.values))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let value = self.values.get(name).copied().unwrap_or_default();
        if let Some(text) = value.strip_prefix('"') {
            return text.strip_suffix('"').expect("closing quotation mark").as_bytes().to_vec();
        }
        match value.split_once('*') {
            Some((octet, count)) => hex::decode(octet).expect("octet").repeat(count.parse().expect("count")),
            None => hex::decode(value).unwrap_or_else(|error| panic!("{name} = {value}: {error}")),
        }
    }
}

fn vectors(file: &'static str) -> Vec<Vector> {
    let mut vectors = vec![];
    for stanza in file.split("\n\n") {
        let lines = stanza.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let values: BTreeMap<_, _> = lines
            .map(|line| line.split_once('=').map(|(name, value)| (name.trim(), value.trim())).expect("name = value"))
            .collect();
        if !values.is_empty() {
            vectors.push(Vector { values });
        }
    }
    vectors
}

/// The value with this name in a registry.
fn named<T: Copy + ToString>(all: &[T], name: &str) -> T {
    *all.iter().find(|value| value.to_string() == name).unwrap_or_else(|| panic!("unknown {name}"))
}

#[test]
fn prfs() {
    let mut covered = HashSet::new();
    for vector in vectors(include_str!("../../tests/vectors/prf.txt")) {
        let algorithm = named(PrfAlgorithm::ALL, vector.text("prf"));
        covered.insert(algorithm);
        let prf = Prf::new(algorithm, &vector.bytes("key")).unwrap();
        let out = prf.compute(&[&vector.bytes("seed")]);
        assert_eq!(hex::encode(out.as_bytes()), vector.text("out"), "{algorithm}");
    }
    let supported = PrfAlgorithm::ALL.iter().copied().filter(|algorithm| prf::is_supported(*algorithm)).collect();
    assert_eq!(covered, supported);
}

#[test]
fn prf_plus() {
    for vector in vectors(include_str!("../../tests/vectors/prf_plus.txt")) {
        let prf = Prf::new(named(PrfAlgorithm::ALL, vector.text("prf")), &vector.bytes("key")).unwrap();
        let expected = vector.bytes("out");
        let out = prf.expand(&[&vector.bytes("seed")], expected.len()).unwrap();
        assert_eq!(hex::encode(out.as_bytes()), hex::encode(expected));
    }
}

#[test]
fn integrity() {
    let mut covered = HashSet::new();
    for vector in vectors(include_str!("../../tests/vectors/integrity.txt")) {
        let algorithm = named(IntegrityAlgorithm::ALL, vector.text("integrity"));
        covered.insert(algorithm);
        let null = (EncryptionAlgorithm::Null, None);
        let cipher = Cipher::new(null, Some(algorithm), &[], &vector.bytes("key")).unwrap();
        let (mut data, mut icv) = (vector.bytes("data"), vec![0; cipher.icv_len()]);
        cipher.seal(&[], &[], &mut data, &[], &mut icv).unwrap();
        assert_eq!(hex::encode(&icv), vector.text("icv"), "{algorithm}");
        cipher.open(&[], &[], &mut data, &[], &icv).unwrap();
    }
    let full = [
        // Without truncation, nothing is left to test that the PRFs do not.
        IntegrityAlgorithm::HmacSha2_256_256,
        IntegrityAlgorithm::HmacSha2_384_384,
        IntegrityAlgorithm::HmacSha2_512_512,
    ];
    covered.extend(full);
    let supported = |algorithm: &IntegrityAlgorithm| cipher::is_integrity_supported(*algorithm);
    assert_eq!(covered, IntegrityAlgorithm::ALL.iter().copied().filter(supported).collect());
}

/// `AES_GCM_16_128` as it is displayed in a proposal.
fn encryption(name: &str) -> (EncryptionAlgorithm, Option<u16>) {
    let with_size = name.rsplit_once('_').and_then(|(name, size)| {
        let algorithm = EncryptionAlgorithm::ALL.iter().find(|algorithm| algorithm.to_string() == name)?;
        Some((*algorithm, Some(size.parse().ok()?)))
    });
    with_size.unwrap_or_else(|| (named(EncryptionAlgorithm::ALL, name), None))
}

#[test]
fn ciphers() {
    let mut covered = HashSet::new();
    for vector in vectors(include_str!("../../tests/vectors/cipher.txt")) {
        let name = vector.text("encryption");
        let algorithm = encryption(name);
        covered.insert(algorithm);
        let (plain, expected, iv, aad) =
            (vector.bytes("plain"), vector.bytes("cipher"), vector.bytes("iv"), vector.bytes("aad"));
        // NULL does not go without integrity protection.
        let null = algorithm.0 == EncryptionAlgorithm::Null;
        let (integrity, integrity_key) =
            (null.then_some(IntegrityAlgorithm::AesCmac96), vec![0; if null { 16 } else { 0 }]);
        let cipher = Cipher::new(algorithm, integrity, &vector.bytes("key"), &integrity_key).unwrap();
        let (mut text, mut icv) = (plain.clone(), vec![0; cipher.icv_len()]);
        cipher.seal(&aad, &iv, &mut text, &[], &mut icv).unwrap();
        assert_eq!(hex::encode(&text), hex::encode(&expected), "{name}");
        if cipher.is_aead() {
            assert_eq!(hex::encode(&icv), vector.text("icv"), "{name}");
        }
        cipher.open(&aad, &iv, &mut text, &[], &icv).unwrap();
        assert_eq!(text, plain, "{name}");
    }
    let sizes = [None, Some(128), Some(192), Some(256)];
    let all = EncryptionAlgorithm::ALL.iter().flat_map(|algorithm| sizes.map(|size| (*algorithm, size)));
    let supported = |(algorithm, size): &(EncryptionAlgorithm, Option<u16>)| {
        // The size of ChaCha20's key is only ever written or not, the key is the same.
        let compat = (EncryptionAlgorithm::ChaCha20Poly1305, Some(256));
        cipher::is_encryption_supported(*algorithm, *size) && (*algorithm, *size) != compat
    };
    assert_eq!(covered, all.filter(supported).collect());
}

#[test]
fn key_exchanges() {
    let mut covered = HashSet::new();
    for vector in vectors(include_str!("../../tests/vectors/ke.txt")) {
        let method = named(KeyExchangeMethod::ALL, vector.text("method"));
        covered.insert(method);
        for (secret, public, peer) in [("secret_i", "public_i", "public_r"), ("secret_r", "public_r", "public_i")] {
            if !vector.values.contains_key(secret) {
                continue; // The responder of a KEM has no secret of its own.
            }
            let ours = KeyExchange::from_secret(method, &vector.bytes(secret));
            // aws-lc keeps no encapsulation key with an imported decapsulation key.
            if vector.values.contains_key("secret_r") {
                assert_eq!(hex::encode(ours.public_value()), vector.text(public), "{method} {public}");
            }
            let shared = ours.agree(&vector.bytes(peer)).unwrap();
            assert_eq!(hex::encode(shared.as_bytes()), vector.text("shared"), "{method} {secret}");
        }
    }
    let supported = |method: &KeyExchangeMethod| ke::is_supported(*method);
    assert_eq!(covered, KeyExchangeMethod::ALL.iter().copied().filter(supported).collect());
}
