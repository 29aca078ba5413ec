//! Transforms of a proposal and the registries their ids come from (RFC 7296 §3.3.2, IANA "IKEv2 Parameters").
//!
//! One table per transform type: id, strongSwan's name, proposal keywords by key size. Ids from 1024 on are
//! strongSwan's private use. What an id *does* is in `prf`, `ke` and `cipher`; which ones this build can do is answered
//! there.

use std::fmt;

use crate::registry;

registry! {
    /// Encryption algorithms (transform type 1).
    pub enum EncryptionAlgorithm: u16 {
        1 => DesIv64, "DES_IV64";
        2 => Des, "DES_CBC", 0: ["des"];
        3 => TripleDes, "3DES_CBC", 0: ["3des"];
        4 => Rc5, "RC5_CBC";
        5 => Idea, "IDEA_CBC";
        6 => Cast, "CAST_CBC", 128: ["cast128"];
        7 => Blowfish, "BLOWFISH_CBC", 128: ["blowfish", "blowfish128"], 192: ["blowfish192"], 256: ["blowfish256"];
        8 => TripleIdea, "3IDEA";
        9 => DesIv32, "DES_IV32";
        11 => Null, "NULL", 0: ["null"];
        12 => AesCbc, "AES_CBC", 128: ["aes", "aes128"], 192: ["aes192"], 256: ["aes256"];
        13 => AesCtr, "AES_CTR", 128: ["aes128ctr"], 192: ["aes192ctr"], 256: ["aes256ctr"];
        14 => AesCcm8, "AES_CCM_8",
            128: ["aes128ccm8", "aes128ccm64"], 192: ["aes192ccm8", "aes192ccm64"], 256: ["aes256ccm8", "aes256ccm64"];
        15 => AesCcm12, "AES_CCM_12",
            128: ["aes128ccm12", "aes128ccm96"], 192: ["aes192ccm12", "aes192ccm96"],
            256: ["aes256ccm12", "aes256ccm96"];
        16 => AesCcm16, "AES_CCM_16",
            128: ["aes128ccm16", "aes128ccm128", "aes128ccm"], 192: ["aes192ccm16", "aes192ccm128", "aes192ccm"],
            256: ["aes256ccm16", "aes256ccm128", "aes256ccm"];
        18 => AesGcm8, "AES_GCM_8",
            128: ["aes128gcm8", "aes128gcm64"], 192: ["aes192gcm8", "aes192gcm64"], 256: ["aes256gcm8", "aes256gcm64"];
        19 => AesGcm12, "AES_GCM_12",
            128: ["aes128gcm12", "aes128gcm96"], 192: ["aes192gcm12", "aes192gcm96"],
            256: ["aes256gcm12", "aes256gcm96"];
        20 => AesGcm16, "AES_GCM_16",
            128: ["aes128gcm16", "aes128gcm128", "aes128gcm"], 192: ["aes192gcm16", "aes192gcm128", "aes192gcm"],
            256: ["aes256gcm16", "aes256gcm128", "aes256gcm"];
        21 => NullAesGmac, "NULL_AES_GMAC", 128: ["aes128gmac"], 192: ["aes192gmac"], 256: ["aes256gmac"];
        23 => CamelliaCbc, "CAMELLIA_CBC",
            128: ["camellia", "camellia128"], 192: ["camellia192"], 256: ["camellia256"];
        24 => CamelliaCtr, "CAMELLIA_CTR", 128: ["camellia128ctr"], 192: ["camellia192ctr"], 256: ["camellia256ctr"];
        25 => CamelliaCcm8, "CAMELLIA_CCM_8",
            128: ["camellia128ccm8", "camellia128ccm64"], 192: ["camellia192ccm8", "camellia192ccm64"],
            256: ["camellia256ccm8", "camellia256ccm64"];
        26 => CamelliaCcm12, "CAMELLIA_CCM_12",
            128: ["camellia128ccm12", "camellia128ccm96"], 192: ["camellia192ccm12", "camellia192ccm96"],
            256: ["camellia256ccm12", "camellia256ccm96"];
        27 => CamelliaCcm16, "CAMELLIA_CCM_16",
            128: ["camellia128ccm16", "camellia128ccm128"], 192: ["camellia192ccm16", "camellia192ccm128"],
            256: ["camellia256ccm16", "camellia256ccm128"];
        28 => ChaCha20Poly1305, "CHACHA20_POLY1305", 0: ["chacha20poly1305"], 256: ["chacha20poly1305compat"];
        1024 => Undefined, "UNDEFINED";
        1025 => DesEcb, "DES_ECB";
        1026 => Serpent, "SERPENT_CBC", 128: ["serpent", "serpent128"], 192: ["serpent192"], 256: ["serpent256"];
        1027 => Twofish, "TWOFISH_CBC", 128: ["twofish", "twofish128"], 192: ["twofish192"], 256: ["twofish256"];
        1028 => Rc2, "RC2_CBC";
        1029 => AesEcb, "AES_ECB";
        1030 => AesCfb, "AES_CFB";
    }
}

impl EncryptionAlgorithm {
    /// Whether the algorithm authenticates what it encrypts, so that no integrity algorithm goes with it
    /// (RFC 5282 §8).
    pub const fn is_aead(self) -> bool {
        match self {
            Self::AesCcm8
            | Self::AesCcm12
            | Self::AesCcm16
            | Self::AesGcm8
            | Self::AesGcm12
            | Self::AesGcm16
            | Self::NullAesGmac
            | Self::CamelliaCcm8
            | Self::CamelliaCcm12
            | Self::CamelliaCcm16
            | Self::ChaCha20Poly1305 => true,
            Self::DesIv64
            | Self::Des
            | Self::TripleDes
            | Self::Rc5
            | Self::Idea
            | Self::Cast
            | Self::Blowfish
            | Self::TripleIdea
            | Self::DesIv32
            | Self::Null
            | Self::AesCbc
            | Self::AesCtr
            | Self::CamelliaCbc
            | Self::CamelliaCtr
            | Self::Undefined
            | Self::DesEcb
            | Self::Serpent
            | Self::Twofish
            | Self::Rc2
            | Self::AesEcb
            | Self::AesCfb
            | Self::Unknown(_) => false,
        }
    }
}

registry! {
    /// Integrity algorithms (transform type 3).
    pub enum IntegrityAlgorithm: u16 {
        0 => None, "NONE";
        1 => HmacMd5_96, "HMAC_MD5_96", 0: ["md5"];
        2 => HmacSha1_96, "HMAC_SHA1_96", 0: ["sha", "sha1"];
        3 => DesMac, "DES_MAC";
        4 => KpdkMd5, "KPDK_MD5";
        5 => AesXcbc96, "AES_XCBC_96", 0: ["aesxcbc"];
        6 => HmacMd5_128, "HMAC_MD5_128", 0: ["md5_128"];
        7 => HmacSha1_160, "HMAC_SHA1_160", 0: ["sha1_160"];
        8 => AesCmac96, "AES_CMAC_96", 0: ["aescmac"];
        9 => Aes128Gmac, "AES_128_GMAC";
        10 => Aes192Gmac, "AES_192_GMAC";
        11 => Aes256Gmac, "AES_256_GMAC";
        12 => HmacSha2_256_128, "HMAC_SHA2_256_128", 0: ["sha256", "sha2_256"];
        13 => HmacSha2_384_192, "HMAC_SHA2_384_192", 0: ["sha384", "sha2_384"];
        14 => HmacSha2_512_256, "HMAC_SHA2_512_256", 0: ["sha512", "sha2_512"];
        1024 => Undefined, "UNDEFINED";
        1025 => HmacSha1_128, "HMAC_SHA1_128";
        1026 => HmacSha2_256_96, "HMAC_SHA2_256_96", 0: ["sha256_96", "sha2_256_96"];
        1027 => HmacSha2_256_256, "HMAC_SHA2_256_256";
        1028 => HmacSha2_384_384, "HMAC_SHA2_384_384";
        1029 => HmacSha2_512_512, "HMAC_SHA2_512_512";
        1030 => CamelliaXcbc96, "CAMELLIA_XCBC_96", 0: ["camelliaxcbc"];
    }
}

impl IntegrityAlgorithm {
    /// The PRF that an IKE proposal uses if it names this integrity algorithm and no PRF.
    pub const fn implied_prf(self) -> Option<PrfAlgorithm> {
        match self {
            Self::HmacMd5_96 | Self::HmacMd5_128 => Some(PrfAlgorithm::HmacMd5),
            Self::HmacSha1_96 | Self::HmacSha1_160 => Some(PrfAlgorithm::HmacSha1),
            Self::HmacSha2_256_128 => Some(PrfAlgorithm::HmacSha2_256),
            Self::HmacSha2_384_192 => Some(PrfAlgorithm::HmacSha2_384),
            Self::HmacSha2_512_256 => Some(PrfAlgorithm::HmacSha2_512),
            Self::AesXcbc96 => Some(PrfAlgorithm::Aes128Xcbc),
            Self::AesCmac96 => Some(PrfAlgorithm::Aes128Cmac),
            Self::CamelliaXcbc96 => Some(PrfAlgorithm::Camellia128Xcbc),
            Self::None
            | Self::DesMac
            | Self::KpdkMd5
            | Self::Aes128Gmac
            | Self::Aes192Gmac
            | Self::Aes256Gmac
            | Self::Undefined
            | Self::HmacSha1_128
            | Self::HmacSha2_256_96
            | Self::HmacSha2_256_256
            | Self::HmacSha2_384_384
            | Self::HmacSha2_512_512
            | Self::Unknown(_) => None,
        }
    }
}

registry! {
    /// Pseudo-random functions (transform type 2).
    pub enum PrfAlgorithm: u16 {
        1 => HmacMd5, "PRF_HMAC_MD5", 0: ["prfmd5"];
        2 => HmacSha1, "PRF_HMAC_SHA1", 0: ["prfsha1"];
        3 => HmacTiger, "PRF_HMAC_TIGER";
        4 => Aes128Xcbc, "PRF_AES128_XCBC", 0: ["prfaesxcbc"];
        5 => HmacSha2_256, "PRF_HMAC_SHA2_256", 0: ["prfsha256"];
        6 => HmacSha2_384, "PRF_HMAC_SHA2_384", 0: ["prfsha384"];
        7 => HmacSha2_512, "PRF_HMAC_SHA2_512", 0: ["prfsha512"];
        8 => Aes128Cmac, "PRF_AES128_CMAC", 0: ["prfaescmac"];
        1024 => Undefined, "PRF_UNDEFINED";
        1025 => FipsSha1_160, "PRF_FIPS_SHA1_160";
        1026 => FipsDes, "PRF_FIPS_DES";
        1027 => KeyedSha1, "PRF_KEYED_SHA1";
        1028 => Camellia128Xcbc, "PRF_CAMELLIA128_XCBC", 0: ["prfcamelliaxcbc"];
    }
}

registry! {
    /// Key exchange methods (transform types 4 and 6 to 12).
    pub enum KeyExchangeMethod: u16 {
        0 => None, "KE_NONE", 0: ["none", "modpnone"];
        1 => Modp768, "MODP_768", 0: ["modp768"];
        2 => Modp1024, "MODP_1024", 0: ["modp1024"];
        5 => Modp1536, "MODP_1536", 0: ["modp1536"];
        14 => Modp2048, "MODP_2048", 0: ["modp2048"];
        15 => Modp3072, "MODP_3072", 0: ["modp3072"];
        16 => Modp4096, "MODP_4096", 0: ["modp4096"];
        17 => Modp6144, "MODP_6144", 0: ["modp6144"];
        18 => Modp8192, "MODP_8192", 0: ["modp8192"];
        19 => Ecp256, "ECP_256", 0: ["ecp256"];
        20 => Ecp384, "ECP_384", 0: ["ecp384"];
        21 => Ecp521, "ECP_521", 0: ["ecp521"];
        22 => Modp1024_160, "MODP_1024_160", 0: ["modp1024s160"];
        23 => Modp2048_224, "MODP_2048_224", 0: ["modp2048s224"];
        24 => Modp2048_256, "MODP_2048_256", 0: ["modp2048s256"];
        25 => Ecp192, "ECP_192", 0: ["ecp192"];
        26 => Ecp224, "ECP_224", 0: ["ecp224"];
        27 => Ecp224Bp, "ECP_224_BP", 0: ["ecp224bp"];
        28 => Ecp256Bp, "ECP_256_BP", 0: ["ecp256bp"];
        29 => Ecp384Bp, "ECP_384_BP", 0: ["ecp384bp"];
        30 => Ecp512Bp, "ECP_512_BP", 0: ["ecp512bp"];
        31 => Curve25519, "CURVE_25519", 0: ["x25519", "curve25519"];
        32 => Curve448, "CURVE_448", 0: ["x448", "curve448"];
        33 => Gost256, "GOST3410_256", 0: ["gost256"];
        34 => Gost512, "GOST3410_512", 0: ["gost512"];
        35 => MlKem512, "ML_KEM_512", 0: ["mlkem512"];
        36 => MlKem768, "ML_KEM_768", 0: ["mlkem768"];
        37 => MlKem1024, "ML_KEM_1024", 0: ["mlkem1024"];
        1024 => ModpNull, "MODP_NULL", 0: ["modpnull"];
        1025 => ModpCustom, "MODP_CUSTOM";
    }
}

registry! {
    /// Extended sequence numbers (transform type 5).
    pub enum ExtendedSequenceNumbers: u16 {
        0 => No, "NO_EXT_SEQ", 0: ["noesn"];
        1 => Yes, "EXT_SEQ", 0: ["esn"];
    }
}

registry! {
    /// Transform types (RFC 7296 §3.3.2, RFC 9370 §2.2.1).
    pub enum TransformType: u8 {
        1 => Encryption, "ENCRYPTION_ALGORITHM";
        2 => Prf, "PSEUDO_RANDOM_FUNCTION";
        3 => Integrity, "INTEGRITY_ALGORITHM";
        4 => KeyExchange, "KEY_EXCHANGE_METHOD";
        5 => Esn, "EXTENDED_SEQUENCE_NUMBERS";
        6 => AdditionalKeyExchange1, "ADDITIONAL_KEY_EXCHANGE_1";
        7 => AdditionalKeyExchange2, "ADDITIONAL_KEY_EXCHANGE_2";
        8 => AdditionalKeyExchange3, "ADDITIONAL_KEY_EXCHANGE_3";
        9 => AdditionalKeyExchange4, "ADDITIONAL_KEY_EXCHANGE_4";
        10 => AdditionalKeyExchange5, "ADDITIONAL_KEY_EXCHANGE_5";
        11 => AdditionalKeyExchange6, "ADDITIONAL_KEY_EXCHANGE_6";
        12 => AdditionalKeyExchange7, "ADDITIONAL_KEY_EXCHANGE_7";
    }
}

impl TransformType {
    /// The additional key exchange types in order (RFC 9370 §2.2.1).
    pub const ADDITIONAL_KEY_EXCHANGES: [Self; 7] = [
        Self::AdditionalKeyExchange1,
        Self::AdditionalKeyExchange2,
        Self::AdditionalKeyExchange3,
        Self::AdditionalKeyExchange4,
        Self::AdditionalKeyExchange5,
        Self::AdditionalKeyExchange6,
        Self::AdditionalKeyExchange7,
    ];

    /// Whether this is the primary or an additional key exchange.
    pub const fn is_key_exchange(self) -> bool {
        matches!(self, Self::KeyExchange) || self.additional_key_exchange().is_some()
    }

    /// 1 to 7 for the additional key exchanges.
    pub const fn additional_key_exchange(self) -> Option<u8> {
        match self {
            Self::AdditionalKeyExchange1 => Some(1),
            Self::AdditionalKeyExchange2 => Some(2),
            Self::AdditionalKeyExchange3 => Some(3),
            Self::AdditionalKeyExchange4 => Some(4),
            Self::AdditionalKeyExchange5 => Some(5),
            Self::AdditionalKeyExchange6 => Some(6),
            Self::AdditionalKeyExchange7 => Some(7),
            Self::Encryption | Self::Prf | Self::Integrity | Self::KeyExchange | Self::Esn | Self::Unknown(_) => None,
        }
    }
}

registry! {
    /// Security protocol ids (RFC 7296 §3.3.1).
    pub enum Protocol: u8 {
        0 => None, "NONE";
        1 => Ike, "IKE";
        2 => Ah, "AH";
        3 => Esp, "ESP";
        4 => IpComp, "IPCOMP";
    }
}

/// One algorithm within a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transform {
    /// What the algorithm is for.
    pub kind: TransformType,
    /// Its id, from the registry that belongs to `kind`.
    pub id: u16,
    /// The Key Length attribute in bits (RFC 7296 §3.3.5).
    pub key_size: Option<u16>,
}

impl Transform {
    /// First id of the private use range (RFC 7296 §3.3.2).
    pub const PRIVATE_USE: u16 = 1024;

    /// A transform without Key Length attribute.
    pub fn new(kind: TransformType, id: impl Into<u16>) -> Self {
        Self { kind, id: id.into(), key_size: None }
    }

    /// An encryption transform.
    pub fn encryption(algorithm: EncryptionAlgorithm, key_size: Option<u16>) -> Self {
        Self { kind: TransformType::Encryption, id: algorithm.into(), key_size }
    }

    /// Whether the meaning of the id is private to those who know each other's vendor id.
    pub const fn is_private(&self) -> bool {
        self.id >= Self::PRIVATE_USE
    }
}

impl fmt::Display for Transform {
    /// `AES_CBC_128`, `MODP_2048`, `KE1_ML_KEM_768`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TransformType::Encryption => EncryptionAlgorithm::from(self.id).fmt(f)?,
            TransformType::Prf => PrfAlgorithm::from(self.id).fmt(f)?,
            TransformType::Integrity => IntegrityAlgorithm::from(self.id).fmt(f)?,
            TransformType::Esn => ExtendedSequenceNumbers::from(self.id).fmt(f)?,
            TransformType::KeyExchange => KeyExchangeMethod::from(self.id).fmt(f)?,
            TransformType::AdditionalKeyExchange1
            | TransformType::AdditionalKeyExchange2
            | TransformType::AdditionalKeyExchange3
            | TransformType::AdditionalKeyExchange4
            | TransformType::AdditionalKeyExchange5
            | TransformType::AdditionalKeyExchange6
            | TransformType::AdditionalKeyExchange7 => {
                let number = self.kind.additional_key_exchange().unwrap_or_default();
                write!(f, "KE{number}_{}", KeyExchangeMethod::from(self.id))?;
            }
            TransformType::Unknown(kind) => write!(f, "UNKNOWN_{kind}_{}", self.id)?,
        }
        match self.key_size {
            Some(bits) => write!(f, "_{bits}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_round_trip_and_unknown_ones_survive() {
        for raw in 0..=u16::MAX {
            assert_eq!(u16::from(EncryptionAlgorithm::from(raw)), raw);
            assert_eq!(u16::from(IntegrityAlgorithm::from(raw)), raw);
            assert_eq!(u16::from(PrfAlgorithm::from(raw)), raw);
            assert_eq!(u16::from(KeyExchangeMethod::from(raw)), raw);
            assert_eq!(u16::from(ExtendedSequenceNumbers::from(raw)), raw);
        }
        for raw in 0..=u8::MAX {
            assert_eq!(u8::from(TransformType::from(raw)), raw);
            assert_eq!(u8::from(Protocol::from(raw)), raw);
        }
    }

    #[test]
    fn keywords_are_unique_across_the_kinds() {
        let mut seen = HashSet::new();
        let keywords = (EncryptionAlgorithm::KEYWORDS.iter().map(|row| row.0))
            .chain(IntegrityAlgorithm::KEYWORDS.iter().map(|row| row.0))
            .chain(PrfAlgorithm::KEYWORDS.iter().map(|row| row.0))
            .chain(KeyExchangeMethod::KEYWORDS.iter().map(|row| row.0))
            .chain(ExtendedSequenceNumbers::KEYWORDS.iter().map(|row| row.0));
        for keyword in keywords {
            assert!(seen.insert(keyword), "{keyword} twice");
            assert_eq!(keyword, keyword.to_ascii_lowercase());
        }
        assert_eq!(seen.len(), 153);
    }

    #[test]
    fn displays_as_strongswan_does() {
        let text = |kind, id: u16, key_size| Transform { kind, id, key_size }.to_string();
        assert_eq!(text(TransformType::Encryption, 12, Some(128)), "AES_CBC_128");
        assert_eq!(text(TransformType::Encryption, 3, None), "3DES_CBC");
        assert_eq!(text(TransformType::Encryption, 28, Some(256)), "CHACHA20_POLY1305_256");
        assert_eq!(text(TransformType::AdditionalKeyExchange7, 36, None), "KE7_ML_KEM_768");
        assert_eq!(text(TransformType::Esn, 0, None), "NO_EXT_SEQ");
        assert_eq!(text(TransformType::KeyExchange, 999, None), "(999)");
    }
}
