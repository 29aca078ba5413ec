//! `get-algorithms`: what can be negotiated, by kind. Everything comes from one library.

use strongswan::credentials::HashAlgorithm;
use strongswan::crypto::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, cipher, ke, prf};
use vici::{Message, Request, Responder};

use super::Control;

/// What provides the algorithms.
const PROVIDER: &str = "aws-lc";

pub(super) fn run(_control: &Control, _request: Request, responder: Responder) {
    responder.reply(&algorithms());
}

fn algorithms() -> Message {
    let ciphers = |aead: bool| {
        let all = EncryptionAlgorithm::ALL.iter().copied();
        section(all.filter(move |algorithm| algorithm.is_aead() == aead && is_supported(*algorithm)))
    };
    let integrity =
        IntegrityAlgorithm::ALL.iter().copied().filter(|algorithm| cipher::is_integrity_supported(*algorithm));
    Message::new()
        .with_section("encryption", ciphers(false))
        .with_section("integrity", section(integrity))
        .with_section("aead", ciphers(true))
        .with_section("hasher", section(hashers()))
        .with_section("prf", section(PrfAlgorithm::ALL.iter().copied().filter(|prf| prf::is_supported(*prf))))
        .with_section("xof", Message::new())
        .with_section("kdf", section(["KDF_PRF", "KDF_PRF_PLUS"]))
        .with_section("drbg", section(["DRBG_CTR_AES256"]))
        .with_section("ke", section(KeyExchangeMethod::ALL.iter().copied().filter(|method| ke::is_supported(*method))))
        .with_section("rng", section(["RNG_WEAK", "RNG_STRONG", "RNG_TRUE"]))
        .with_section("nonce-gen", section(["NONCE_GEN"]))
}

/// Names as keys.
fn section<T: ToString>(names: impl IntoIterator<Item = T>) -> Message {
    let mut message = Message::new();
    for name in names {
        message.push(name.to_string(), PROVIDER);
    }
    message
}

/// Whether a cipher works with any of its key sizes.
fn is_supported(algorithm: EncryptionAlgorithm) -> bool {
    let sizes = EncryptionAlgorithm::KEYWORDS.iter().filter(|(_, known, _)| *known == algorithm);
    sizes.into_iter().any(|(_, _, size)| cipher::is_encryption_supported(algorithm, *size))
}

/// Hashes that signatures and fingerprints use.
fn hashers() -> impl Iterator<Item = HashAlgorithm> {
    use HashAlgorithm as H;
    [H::Sha1, H::Sha2_256, H::Sha2_384, H::Sha2_512, H::Identity, H::Md5].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_algorithms_are_listed_by_kind() {
        let message = algorithms();
        let has = |kind: &str, name: &str| message.section(kind).is_some_and(|section| section.str(name).is_some());
        assert!(has("encryption", "AES_CBC") && !has("encryption", "AES_GCM_16"));
        assert!(has("aead", "AES_GCM_16") && has("aead", "CHACHA20_POLY1305"));
        assert!(has("integrity", "HMAC_SHA2_256_128"));
        assert!(has("prf", "PRF_HMAC_SHA2_256"));
        assert!(has("ke", "CURVE_25519") && has("ke", "ECP_256") && !has("ke", "KE_NONE"));
        assert!(has("hasher", "HASH_SHA2_256"));
        let kinds: Vec<_> = message.sections().map(|(name, _)| name).collect();
        let order = "encryption integrity aead hasher prf xof kdf drbg ke rng nonce-gen";
        assert_eq!(kinds.join(" "), order);
    }
}
