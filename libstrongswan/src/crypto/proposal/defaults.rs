//! What is proposed if the configuration leaves it to us: strongSwan's defaults, reduced to what this build can do.

use super::Proposal;
use crate::crypto::transform::{
    EncryptionAlgorithm as Encr, ExtendedSequenceNumbers, IntegrityAlgorithm as Integ, KeyExchangeMethod as Ke,
    PrfAlgorithm as Prf, Protocol, Transform, TransformType,
};
use crate::crypto::{cipher, ke, prf};

const IKE_CLASSIC: [Encr; 5] = [Encr::AesCbc, Encr::AesCtr, Encr::CamelliaCbc, Encr::CamelliaCtr, Encr::TripleDes];

/// Full-length ICVs first, then the truncated ones.
const IKE_AEAD: [Encr; 10] = [
    Encr::AesGcm16,
    Encr::AesCcm16,
    Encr::CamelliaCcm16,
    Encr::ChaCha20Poly1305,
    Encr::AesGcm12,
    Encr::AesGcm8,
    Encr::AesCcm12,
    Encr::AesCcm8,
    Encr::CamelliaCcm12,
    Encr::CamelliaCcm8,
];

const IKE_INTEGRITY: [Integ; 6] = [
    Integ::HmacSha2_256_128,
    Integ::HmacSha2_384_192,
    Integ::HmacSha2_512_256,
    Integ::HmacSha1_96,
    Integ::AesXcbc96,
    Integ::AesCmac96,
];

const PRFS: [Prf; 6] =
    [Prf::HmacSha2_256, Prf::HmacSha2_384, Prf::HmacSha2_512, Prf::Aes128Xcbc, Prf::Aes128Cmac, Prf::HmacSha1];

const KEY_EXCHANGES: [Ke; 13] = [
    Ke::Ecp256,
    Ke::Ecp384,
    Ke::Ecp521,
    Ke::Ecp256Bp,
    Ke::Ecp384Bp,
    Ke::Ecp512Bp,
    Ke::Curve25519,
    Ke::Curve448,
    Ke::Modp3072,
    Ke::Modp4096,
    Ke::Modp6144,
    Ke::Modp8192,
    Ke::Modp2048,
];

/// ESP and AH are carried out by the kernel: their ciphers are not filtered by what we can do.
const CHILD_INTEGRITY: [Integ; 5] =
    [Integ::HmacSha2_256_128, Integ::HmacSha2_384_192, Integ::HmacSha2_512_256, Integ::HmacSha1_96, Integ::AesXcbc96];

impl Proposal {
    /// The default proposals of a protocol, best first; none for protocols that are not negotiated by transforms.
    pub fn defaults(protocol: Protocol) -> Vec<Self> {
        let proposal = |parts: Vec<Vec<Transform>>| Self::from_transforms(protocol, parts.concat());
        match protocol {
            Protocol::Ike => {
                let common = || [supported_prfs(), key_exchanges()].concat();
                vec![
                    proposal(vec![supported_ciphers(&IKE_CLASSIC), supported_integrity(), common()]),
                    proposal(vec![supported_ciphers(&IKE_AEAD), common()]),
                ]
            }
            Protocol::Esp => vec![
                proposal(vec![all_key_sizes(Encr::AesGcm16), child_common()]),
                proposal(vec![all_key_sizes(Encr::AesCbc), integrity(&CHILD_INTEGRITY), child_common()]),
            ],
            Protocol::Ah => vec![proposal(vec![integrity(&CHILD_INTEGRITY), child_common()])],
            Protocol::None | Protocol::IpComp | Protocol::Unknown(_) => Vec::new(),
        }
    }
}

fn all_key_sizes(algorithm: Encr) -> Vec<Transform> {
    let sizes: &[Option<u16>] = match algorithm {
        Encr::TripleDes | Encr::ChaCha20Poly1305 => &[None],
        _ => &[Some(128), Some(192), Some(256)],
    };
    sizes.iter().map(|size| Transform::encryption(algorithm, *size)).collect()
}

fn supported_ciphers(algorithms: &[Encr]) -> Vec<Transform> {
    let transforms = algorithms.iter().flat_map(|algorithm| all_key_sizes(*algorithm));
    transforms.filter(|transform| cipher::is_encryption_supported(transform.id.into(), transform.key_size)).collect()
}

fn integrity(algorithms: &[Integ]) -> Vec<Transform> {
    algorithms.iter().map(|algorithm| Transform::new(TransformType::Integrity, *algorithm)).collect()
}

fn supported_integrity() -> Vec<Transform> {
    let supported: Vec<_> =
        IKE_INTEGRITY.into_iter().filter(|algorithm| cipher::is_integrity_supported(*algorithm)).collect();
    integrity(&supported)
}

fn supported_prfs() -> Vec<Transform> {
    let supported = PRFS.into_iter().filter(|algorithm| prf::is_supported(*algorithm));
    supported.map(|algorithm| Transform::new(TransformType::Prf, algorithm)).collect()
}

fn key_exchanges() -> Vec<Transform> {
    let supported = KEY_EXCHANGES.into_iter().filter(|method| ke::is_supported(*method));
    supported.map(|method| Transform::new(TransformType::KeyExchange, method)).collect()
}

fn child_common() -> Vec<Transform> {
    let mut transforms = key_exchanges();
    transforms.push(Transform::new(TransformType::KeyExchange, Ke::None));
    transforms.push(Transform::new(TransformType::Esn, ExtendedSequenceNumbers::No));
    transforms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_what_is_supported_in_the_documented_order() {
        let text = |protocol| -> Vec<String> { Proposal::defaults(protocol).iter().map(ToString::to_string).collect() };
        let kes = "ECP_256/ECP_384/ECP_521/ECP_256_BP/ECP_384_BP/ECP_512_BP/CURVE_25519/MODP_3072/MODP_4096/MODP_6144/\
                   MODP_8192/MODP_2048";
        let prfs =
            "PRF_HMAC_SHA2_256/PRF_HMAC_SHA2_384/PRF_HMAC_SHA2_512/PRF_AES128_XCBC/PRF_AES128_CMAC/PRF_HMAC_SHA1";
        assert_eq!(
            text(Protocol::Ike),
            [
                format!(
                    "IKE:AES_CBC_128/AES_CBC_192/AES_CBC_256/AES_CTR_128/AES_CTR_192/AES_CTR_256/3DES_CBC/\
                     HMAC_SHA2_256_128/HMAC_SHA2_384_192/HMAC_SHA2_512_256/HMAC_SHA1_96/AES_XCBC_96/AES_CMAC_96/{prfs}/{kes}"
                ),
                format!(
                    "IKE:AES_GCM_16_128/AES_GCM_16_192/AES_GCM_16_256/AES_CCM_16_128/AES_CCM_16_192/AES_CCM_16_256/\
                     CHACHA20_POLY1305/AES_GCM_12_128/AES_GCM_12_192/AES_GCM_12_256/AES_GCM_8_128/AES_GCM_8_192/\
                     AES_GCM_8_256/AES_CCM_12_128/AES_CCM_12_192/AES_CCM_12_256/AES_CCM_8_128/AES_CCM_8_192/\
                     AES_CCM_8_256/{prfs}/{kes}"
                ),
            ]
        );
        assert_eq!(
            text(Protocol::Esp),
            [
                format!("ESP:AES_GCM_16_128/AES_GCM_16_192/AES_GCM_16_256/{kes}/KE_NONE/NO_EXT_SEQ"),
                format!(
                    "ESP:AES_CBC_128/AES_CBC_192/AES_CBC_256/HMAC_SHA2_256_128/HMAC_SHA2_384_192/HMAC_SHA2_512_256/\
                     HMAC_SHA1_96/AES_XCBC_96/{kes}/KE_NONE/NO_EXT_SEQ"
                ),
            ]
        );
        assert_eq!(Proposal::defaults(Protocol::Ah).len(), 1);
        assert!(Proposal::defaults(Protocol::IpComp).is_empty());
    }
}
