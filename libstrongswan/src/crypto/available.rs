//! What this build can do, as vici's `get-algorithms` lists it.

use super::transform::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm};
use super::{cipher, ke, prf};

/// Who provides the algorithms: what strongSwan calls a plugin.
pub const PROVIDER: &str = "aws-lc";

/// Algorithms of one kind, by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Name of the section.
    pub name: &'static str,
    /// Algorithm names, each provided by [`PROVIDER`].
    pub algorithms: Vec<&'static str>,
}

/// Ciphers with any of their key sizes.
fn ciphers(aead: bool) -> Vec<&'static str> {
    let sizes = [None, Some(128), Some(192), Some(256)];
    let ciphers = EncryptionAlgorithm::ALL.iter().filter(|algorithm| {
        algorithm.is_aead() == aead && sizes.iter().any(|size| cipher::is_encryption_supported(**algorithm, *size))
    });
    ciphers.filter_map(|algorithm| algorithm.name()).collect()
}

/// All sections, in the order of `get-algorithms`.
pub fn available() -> Vec<Section> {
    let integrity = IntegrityAlgorithm::ALL.iter().filter(|algorithm| cipher::is_integrity_supported(**algorithm));
    let prfs = PrfAlgorithm::ALL.iter().filter(|algorithm| prf::is_supported(**algorithm));
    let methods = KeyExchangeMethod::ALL.iter().filter(|method| ke::is_supported(**method));
    let section = |name, algorithms| Section { name, algorithms };
    vec![
        section("encryption", ciphers(false)),
        section("integrity", integrity.filter_map(|algorithm| algorithm.name()).collect()),
        section("aead", ciphers(true)),
        section(
            "hasher",
            vec!["HASH_SHA1", "HASH_SHA2_256", "HASH_SHA2_384", "HASH_SHA2_512", "HASH_IDENTITY", "HASH_MD5"],
        ),
        section("prf", prfs.filter_map(|algorithm| algorithm.name()).collect()),
        section("xof", vec![]),
        section("kdf", vec!["KDF_PRF", "KDF_PRF_PLUS"]),
        section("drbg", vec![]),
        section("ke", methods.filter_map(|method| method.name()).collect()),
        section("rng", vec!["RNG_WEAK", "RNG_STRONG", "RNG_TRUE"]),
        section("nonce-gen", vec!["NONCE_GEN"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_those_of_get_algorithms() {
        let sections = available();
        let names: Vec<_> = sections.iter().map(|section| section.name).collect();
        assert_eq!(names.join(" "), "encryption integrity aead hasher prf xof kdf drbg ke rng nonce-gen");
        let algorithms = |name| sections.iter().find(|section| section.name == name).unwrap().algorithms.join(" ");
        assert_eq!(algorithms("encryption"), "3DES_CBC NULL AES_CBC AES_CTR");
        assert_eq!(
            algorithms("aead"),
            "AES_CCM_8 AES_CCM_12 AES_CCM_16 AES_GCM_8 AES_GCM_12 AES_GCM_16 NULL_AES_GMAC CHACHA20_POLY1305"
        );
        assert!(algorithms("ke").contains("CURVE_25519 ML_KEM_512"));
        assert!(!algorithms("ke").contains("CURVE_448"));
    }
}
