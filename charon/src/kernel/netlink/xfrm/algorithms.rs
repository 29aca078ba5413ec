//! What the kernel calls the algorithms of a CHILD_SA (net/xfrm/xfrm_algo.c), and how long their ICVs are.

use netlink_packet_xfrm::{Alg, AlgAead, AlgAuth, XFRM_ALG_NAME_LEN, XfrmAttrs};
use strongswan::crypto::{EncryptionAlgorithm, IntegrityAlgorithm, Secret};

/// A cipher as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Encrypts only.
    Cipher(&'static str),
    /// Encrypts and authenticates, with an ICV of that many bits.
    Aead(&'static str, u32),
}

/// The kernel's name of an encryption algorithm.
pub(super) fn encryption(algorithm: EncryptionAlgorithm) -> Option<Encryption> {
    use EncryptionAlgorithm as E;
    const CCM: &str = "rfc4309(ccm(aes))";
    const GCM: &str = "rfc4106(gcm(aes))";
    Some(match algorithm {
        E::Des => Encryption::Cipher("des"),
        E::TripleDes => Encryption::Cipher("des3_ede"),
        E::Cast => Encryption::Cipher("cast5"),
        E::Blowfish => Encryption::Cipher("blowfish"),
        E::Null => Encryption::Cipher("cipher_null"),
        E::AesCbc => Encryption::Cipher("aes"),
        E::AesCtr => Encryption::Cipher("rfc3686(ctr(aes))"),
        E::CamelliaCbc => Encryption::Cipher("cbc(camellia)"),
        E::Serpent => Encryption::Cipher("serpent"),
        E::Twofish => Encryption::Cipher("twofish"),
        E::AesCcm8 => Encryption::Aead(CCM, 64),
        E::AesCcm12 => Encryption::Aead(CCM, 96),
        E::AesCcm16 => Encryption::Aead(CCM, 128),
        E::AesGcm8 => Encryption::Aead(GCM, 64),
        E::AesGcm12 => Encryption::Aead(GCM, 96),
        E::AesGcm16 => Encryption::Aead(GCM, 128),
        E::NullAesGmac => Encryption::Aead("rfc4543(gcm(aes))", 128),
        E::ChaCha20Poly1305 => Encryption::Aead("rfc7539esp(chacha20,poly1305)", 128),
        E::DesIv64
        | E::Rc5
        | E::Idea
        | E::TripleIdea
        | E::DesIv32
        | E::CamelliaCtr
        | E::CamelliaCcm8
        | E::CamelliaCcm12
        | E::CamelliaCcm16
        | E::Undefined
        | E::DesEcb
        | E::Rc2
        | E::AesEcb
        | E::AesCfb
        | E::Unknown(_) => return None,
    })
}

/// The kernel's name of an integrity algorithm, and the bits of the ICV if they are not the kernel's default for it. That
/// of SHA-256 is 96, from a draft, instead of the 128 of RFC 4868.
pub(super) fn integrity(algorithm: IntegrityAlgorithm) -> Option<(&'static str, Option<u32>)> {
    use IntegrityAlgorithm as I;
    const SHA256: &str = "hmac(sha256)";
    Some(match algorithm {
        I::HmacMd5_96 => ("md5", None),
        I::HmacMd5_128 => ("hmac(md5)", Some(128)),
        I::HmacSha1_96 => ("sha1", None),
        I::HmacSha1_160 => ("hmac(sha1)", Some(160)),
        I::HmacSha2_256_96 => ("sha256", None),
        I::HmacSha2_256_128 => (SHA256, Some(128)),
        I::HmacSha2_256_256 => (SHA256, Some(256)),
        I::HmacSha2_384_192 => ("hmac(sha384)", None),
        I::HmacSha2_384_384 => ("hmac(sha384)", Some(384)),
        I::HmacSha2_512_256 => ("hmac(sha512)", None),
        I::HmacSha2_512_512 => ("hmac(sha512)", Some(512)),
        I::AesXcbc96 => ("xcbc(aes)", None),
        I::AesCmac96 => ("cmac(aes)", None),
        I::None
        | I::DesMac
        | I::KpdkMd5
        | I::Aes128Gmac
        | I::Aes192Gmac
        | I::Aes256Gmac
        | I::Undefined
        | I::HmacSha1_128
        | I::CamelliaXcbc96
        | I::Unknown(_) => return None,
    })
}

/// The attribute for an encryption algorithm with its key, the salt included.
pub(super) fn encryption_attribute(algorithm: Encryption, key: &Secret) -> XfrmAttrs {
    let alg_key = key.as_bytes().to_vec();
    match algorithm {
        Encryption::Cipher(kernel_name) => {
            XfrmAttrs::EncryptionAlg(Alg { alg_name: name(kernel_name), alg_key_len: bits(key), alg_key })
        }
        Encryption::Aead(kernel_name, alg_icv_len) => XfrmAttrs::EncryptionAlgAead(AlgAead {
            alg_name: name(kernel_name),
            alg_key_len: bits(key),
            alg_icv_len,
            alg_key,
        }),
    }
}

/// The attribute for DEFLATE.
pub(super) fn deflate() -> XfrmAttrs {
    XfrmAttrs::CompressionAlg(Alg { alg_name: name("deflate"), alg_key_len: 0, alg_key: Vec::new() })
}

/// The attribute for an integrity algorithm with its key.
pub(super) fn integrity_attribute((kernel_name, icv): (&str, Option<u32>), key: &Secret) -> XfrmAttrs {
    let (alg_name, alg_key_len, alg_key) = (name(kernel_name), bits(key), key.as_bytes().to_vec());
    match icv {
        None => XfrmAttrs::AuthenticationAlg(Alg { alg_name, alg_key_len, alg_key }),
        Some(alg_trunc_len) => {
            XfrmAttrs::AuthenticationAlgTrunc(AlgAuth { alg_name, alg_key_len, alg_trunc_len, alg_key })
        }
    }
}

fn bits(key: &Secret) -> u32 {
    u32::try_from(key.len()).map_or(u32::MAX, |bytes| bytes.saturating_mul(8))
}

/// The name, padded with zeros.
fn name(kernel_name: &str) -> [u8; XFRM_ALG_NAME_LEN] {
    let mut padded = [0; XFRM_ALG_NAME_LEN];
    padded.iter_mut().zip(kernel_name.bytes()).for_each(|(to, from)| *to = from);
    padded
}
