//! SAs and planes for the tests of this crate.

use strongswan::crypto::cipher::Cipher;
use strongswan::crypto::{EncryptionAlgorithm as E, IntegrityAlgorithm as I};
use strongswan::selectors::TrafficSelector;

use crate::ecn::Copying;
use crate::ids::{Reqid, Spi};
use crate::inbound::InboundParams;
use crate::lifetime::Lifetime;
use crate::outbound::{OutboundParams, Path};
use crate::selector::Selectors;

/// Encryption and integrity algorithm.
pub(crate) type Suite = ((E, Option<u16>), Option<I>);

/// Cipher suites of every kind: AEAD, stream and block cipher with MAC, none.
pub(crate) const SUITES: &[Suite] = &[
    ((E::AesGcm16, Some(128)), None),
    ((E::AesGcm16, Some(256)), None),
    ((E::AesCbc, Some(128)), Some(I::HmacSha1_96)),
    ((E::AesCbc, Some(256)), Some(I::HmacSha2_512_256)),
    ((E::AesGcm8, Some(192)), None),
    ((E::AesCcm12, Some(256)), None),
    ((E::ChaCha20Poly1305, None), None),
    ((E::NullAesGmac, Some(128)), None),
    ((E::AesCtr, Some(128)), Some(I::HmacSha2_256_128)),
    ((E::TripleDes, None), Some(I::AesXcbc96)),
    ((E::Null, None), Some(I::AesCmac96)),
];

/// Index of a suite that needs blocks, random IVs and a MAC.
pub(crate) const CBC: usize = 2;

pub(crate) fn spi(number: u32) -> Spi {
    Spi::new(number).unwrap()
}

pub(crate) fn reqid(number: u32) -> Reqid {
    Reqid::new(number).unwrap()
}

pub(crate) fn cipher(suite: &Suite) -> Cipher {
    let lengths = Cipher::key_lengths(suite.0, suite.1).unwrap();
    let key: Vec<u8> = (1..).take(lengths.encryption).collect();
    let mac: Vec<u8> = (101..).take(lengths.integrity).collect();
    Cipher::new(suite.0, suite.1, &key, &mac).unwrap()
}

pub(crate) fn path() -> Path {
    Path { local: "192.0.2.1:4500".parse().unwrap(), remote: "192.0.2.2:4500".parse().unwrap(), udp: true }
}

pub(crate) const COPYING: Copying = Copying { dscp_out: true, dscp_in: false, ecn: true };

pub(crate) fn outbound(number: u32, index: u32) -> OutboundParams {
    OutboundParams {
        spi: spi(index),
        reqid: reqid(number),
        cipher: cipher(&SUITES[0]),
        esn: false,
        path: path(),
        copying: COPYING,
        tfc: 0,
        lifetime: Lifetime::default(),
    }
}

pub(crate) fn inbound(number: u32, index: u32) -> InboundParams {
    let all = || ["0.0.0.0/0", "::/0"].map(|text| TrafficSelector::parse(text).unwrap()).into_iter().collect();
    InboundParams {
        spi: spi(index),
        reqid: reqid(number),
        cipher: cipher(&SUITES[0]),
        esn: false,
        replay_window: 32,
        selectors: Selectors { local: all(), remote: all() },
        path: path(),
        copying: COPYING,
        lifetime: Lifetime::default(),
    }
}
