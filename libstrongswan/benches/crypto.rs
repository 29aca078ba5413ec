//! What the packet path and a handshake spend on cryptography: sealing and opening 1400 bytes, PRFs, key exchange.
//!
//! `cargo bench -p strongswan --bench crypto`
#![allow(clippy::expect_used, reason = "a bench that cannot set itself up should say so and stop")]

use divan::{Bencher, black_box, counter::BytesCount};
use strongswan::crypto::{
    Cipher, EncryptionAlgorithm as E, IntegrityAlgorithm as I, KeyExchange, KeyExchangeMethod as K, Prf, PrfAlgorithm,
    hash, ke,
};

fn main() {
    divan::main();
}

/// An ESP packet of usual size; a multiple of all block lengths.
const TEXT: usize = 1408;

/// Name, cipher, key size, MAC.
type Row = (&'static str, (E, Option<u16>), Option<I>);

const CIPHERS: [Row; 8] = [
    ("AES_GCM_16_128", (E::AesGcm16, Some(128)), None),
    ("AES_GCM_16_256", (E::AesGcm16, Some(256)), None),
    ("AES_GCM_8_128", (E::AesGcm8, Some(128)), None),
    ("AES_CCM_16_128", (E::AesCcm16, Some(128)), None),
    ("CHACHA20_POLY1305", (E::ChaCha20Poly1305, None), None),
    ("AES_CBC_128/HMAC_SHA1_96", (E::AesCbc, Some(128)), Some(I::HmacSha1_96)),
    ("AES_CBC_128/HMAC_SHA2_256_128", (E::AesCbc, Some(128)), Some(I::HmacSha2_256_128)),
    ("AES_CBC_128/AES_XCBC_96", (E::AesCbc, Some(128)), Some(I::AesXcbc96)),
];

fn channel(name: &str) -> Cipher {
    let (_, encryption, integrity) = CIPHERS.into_iter().find(|row| row.0 == name).expect("in the table");
    let lengths = Cipher::key_lengths(encryption, integrity).expect("supported");
    Cipher::new(encryption, integrity, &vec![1; lengths.encryption], &vec![2; lengths.integrity]).expect("supported")
}

#[divan::bench(args = CIPHERS.map(|row| row.0))]
fn seal(bencher: Bencher<'_, '_>, name: &str) {
    let cipher = channel(name);
    let (iv, mut icv, mut text) = (vec![3; cipher.iv_len()], vec![0; cipher.icv_len()], vec![4; TEXT]);
    bencher.counter(BytesCount::new(TEXT)).bench_local(|| cipher.seal(&[5; 8], &iv, &mut text, &[], &mut icv));
}

#[divan::bench(args = CIPHERS.map(|row| row.0))]
fn open(bencher: Bencher<'_, '_>, name: &str) {
    let cipher = channel(name);
    let (iv, mut icv, mut text) = (vec![3; cipher.iv_len()], vec![0; cipher.icv_len()], vec![4; TEXT]);
    cipher.seal(&[5; 8], &iv, &mut text, &[], &mut icv).expect("lengths fit");
    let mut buffer = text.clone();
    bencher.counter(BytesCount::new(TEXT)).bench_local(|| {
        buffer.copy_from_slice(&text);
        cipher.open(&[5; 8], &iv, &mut buffer, &[], &icv)
    });
}

#[divan::bench(args = CIPHERS.map(|row| row.0))]
fn expand_cipher_keys(name: &str) -> Cipher {
    channel(name)
}

const PRFS: [PrfAlgorithm; 4] =
    [PrfAlgorithm::HmacSha1, PrfAlgorithm::HmacSha2_256, PrfAlgorithm::HmacSha2_384, PrfAlgorithm::Aes128Xcbc];

#[divan::bench(args = PRFS)]
fn prf_compute(bencher: Bencher<'_, '_>, algorithm: PrfAlgorithm) {
    let prf = Prf::new(algorithm, &[1; 32]).expect("supported");
    bencher.bench_local(|| prf.compute(&[black_box(&[2; 64])]));
}

/// SKEYSEED to the seven keys of an IKE_SA with AES-GCM-128.
#[divan::bench(args = PRFS)]
fn prf_plus(bencher: Bencher<'_, '_>, algorithm: PrfAlgorithm) {
    bencher.bench_local(|| {
        let prf = Prf::new(algorithm, &[1; 32]).expect("supported");
        prf.expand(&[black_box(&[2; 80])], 3 * 32 + 2 * 20)
    });
}

const METHODS: [K; 11] = [
    K::Curve25519,
    K::Ecp256,
    K::Ecp384,
    K::Ecp521,
    K::Ecp256Bp,
    K::Modp2048,
    K::Modp3072,
    K::Modp4096,
    K::Modp2048_256,
    K::MlKem768,
    K::MlKem1024,
];

#[divan::bench(args = METHODS)]
fn ke_generate(method: K) -> KeyExchange {
    KeyExchange::generate(method).expect("supported")
}

#[divan::bench(args = METHODS)]
fn ke_respond(bencher: Bencher<'_, '_>, method: K) {
    let initiator = KeyExchange::generate(method).expect("supported");
    bencher.bench_local(|| ke::respond(method, initiator.public_value()));
}

#[divan::bench(args = METHODS)]
fn ke_agree(bencher: Bencher<'_, '_>, method: K) {
    bencher
        .with_inputs(|| {
            let initiator = KeyExchange::generate(method).expect("supported");
            let (public, _) = ke::respond(method, initiator.public_value()).expect("valid");
            (initiator, public)
        })
        .bench_local_values(|(initiator, public)| initiator.agree(&public));
}

/// A NAT detection hash over IPv4.
#[divan::bench]
fn nat_detection() -> [u8; 20] {
    hash::sha1(&[black_box(&[1; 16]), &[2; 4], &[3; 2]])
}
