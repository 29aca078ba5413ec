//! What authentication costs besides its own two signatures: parsing certificates, building chains, finding secrets.
//!
//! `cargo bench -p strongswan --bench credentials`
#![allow(clippy::expect_used, reason = "a bench that cannot set itself up should say so and stop")]

use std::sync::Arc;

use divan::{Bencher, black_box};
use strongswan::clock::UnixTime;
use strongswan::credentials::{
    Certificate, CertificateFlags, HashAlgorithm, PrivateKey, SecretKind, SharedSecret, SignatureScheme, Store,
};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

fn main() {
    divan::main();
}

/// 2026-01-01.
const NOW: UnixTime = UnixTime(1_767_225_600);

const MOON: &[u8] = include_bytes!("../tests/data/certs/moon.der");
const INT: &[u8] = include_bytes!("../tests/data/certs/int.der");
const CA: &[u8] = include_bytes!("../tests/data/certs/ca.der");
const KEY: &[u8] = include_bytes!("../tests/data/keys/ecdsa-256.sec1.pem");
const SCHEME: SignatureScheme = SignatureScheme::EcdsaDer(HashAlgorithm::Sha2_256);

fn store() -> Store {
    let store = Store::new();
    let ca = Certificate::from_der(CA).expect("test data");
    store.add_certificate(Arc::new(ca), CertificateFlags::default());
    store
}

/// What a responder does with the certificates of a peer, up to the key that AUTH is verified with.
fn trusted_key(store: &Store) -> bool {
    let presented = [MOON, INT].map(|der| store.parse_certificate(der).expect("test data"));
    let id = Identity::parse("moon.example.org");
    store.trusted_keys(&id, None, &presented, NOW).next().is_some()
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    bencher.bench(|| Certificate::from_der(black_box(MOON)));
}

#[divan::bench]
fn chain_of_a_new_peer(bencher: Bencher<'_, '_>) {
    let store = store();
    bencher.bench(|| {
        store.flush_cache();
        trusted_key(&store)
    });
}

#[divan::bench]
fn chain_of_a_known_peer(bencher: Bencher<'_, '_>) {
    let store = store();
    bencher.bench(|| trusted_key(&store));
}

#[divan::bench]
fn sign_p256(bencher: Bencher<'_, '_>) {
    let key = PrivateKey::from_der_or_pem(KEY).expect("test data");
    bencher.bench(|| key.sign(SCHEME, black_box(&[7; 600])));
}

#[divan::bench]
fn verify_p256(bencher: Bencher<'_, '_>) {
    let key = PrivateKey::from_der_or_pem(KEY).expect("test data");
    let signature = key.sign(SCHEME, &[7; 600]).expect("test data");
    bencher.bench(|| key.public_key().verify(SCHEME, black_box(&[7; 600]), &signature));
}

#[divan::bench(args = [1, 100, 10_000])]
fn shared_secret_among(bencher: Bencher<'_, '_>, count: usize) {
    let store = Store::new();
    let me = Identity::parse("moon.example.org");
    let peer = |number: usize| Identity::parse(&format!("peer{number}.example.org"));
    for number in 0..count {
        let data = Secret::from(&b"secret"[..]);
        store.add_secret(SharedSecret::new(SecretKind::Ike, data, vec![me.clone(), peer(number)]));
    }
    let other = peer(count / 2);
    bencher.bench(|| store.shared_secrets(SecretKind::Ike, Some(&me), Some(&other)).next());
}
