//! Proposal strings: keywords joined by `-`, then made consistent for the protocol.

use super::{Proposal, ProposalError};
use crate::crypto::transform::{
    EncryptionAlgorithm, ExtendedSequenceNumbers, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, Protocol,
    Transform, TransformType,
};

impl Proposal {
    /// Reads a proposal string such as `aes256-sha256-ecp256-ke1_mlkem768`.
    ///
    /// # Errors
    /// An unknown keyword, or a combination that the protocol does not allow.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self, ProposalError> {
        let keywords = text.split('-').map(str::trim).filter(|keyword| !keyword.is_empty());
        let transforms = keywords.map(transform).collect::<Result<Vec<_>, _>>()?;
        normalise(protocol, transforms)
    }

    /// Reads the items of a `proposals` option; `default` stands for the default proposals.
    ///
    /// # Errors
    /// Those of [`Proposal::parse`], for the first item that fails.
    pub fn parse_list<S: AsRef<str>>(
        protocol: Protocol,
        items: impl IntoIterator<Item = S>,
    ) -> Result<Vec<Self>, ProposalError> {
        let mut proposals = Vec::new();
        for item in items {
            let item = item.as_ref().trim();
            if is_default(item) {
                proposals.extend(Self::defaults(protocol));
            } else if item.split('-').map(str::trim).any(is_default) {
                return Err(ProposalError::DefaultCombined(item.to_owned()));
            } else {
                proposals.push(Self::parse(protocol, item)?);
            }
        }
        Ok(proposals)
    }
}

fn is_default(item: &str) -> bool {
    item.eq_ignore_ascii_case("default")
}

fn transform(keyword: &str) -> Result<Transform, ProposalError> {
    if let Some((algorithm, key_size)) = EncryptionAlgorithm::from_keyword(keyword) {
        return Ok(Transform::encryption(algorithm, key_size));
    }
    let plain = None
        .or_else(|| Some((TransformType::Integrity, u16::from(IntegrityAlgorithm::from_keyword(keyword)?.0))))
        .or_else(|| Some((TransformType::Prf, u16::from(PrfAlgorithm::from_keyword(keyword)?.0))))
        .or_else(|| Some((TransformType::KeyExchange, u16::from(KeyExchangeMethod::from_keyword(keyword)?.0))))
        .or_else(|| Some((TransformType::Esn, u16::from(ExtendedSequenceNumbers::from_keyword(keyword)?.0))))
        .or_else(|| additional_key_exchange(keyword));
    let (kind, id) = plain.ok_or_else(|| ProposalError::UnknownKeyword(keyword.to_owned()))?;
    Ok(Transform::new(kind, id))
}

/// `ke<1-7>_<method>`; only the prefix is case-insensitive.
fn additional_key_exchange(keyword: &str) -> Option<(TransformType, u16)> {
    let (prefix, method) = keyword.split_once('_')?;
    let (ke, number) = prefix.split_at_checked(2)?;
    let number = number.as_bytes();
    let kind = TransformType::ADDITIONAL_KEY_EXCHANGES
        .into_iter()
        .find(|kind| kind.additional_key_exchange().is_some_and(|n| [b'0' + n] == number))?;
    let (method, _) = KeyExchangeMethod::from_keyword(method)?;
    ke.eq_ignore_ascii_case("ke").then(|| (kind, method.into()))
}

/// Completes and checks a configured proposal. The checks are strongSwan's, in its order, so that the same strings are
/// accepted and mean the same.
fn normalise(protocol: Protocol, mut transforms: Vec<Transform>) -> Result<Proposal, ProposalError> {
    let has = |transforms: &[Transform], kind| transforms.iter().any(|transform| transform.kind == kind);
    match protocol {
        Protocol::Ike => {
            if !has(&transforms, TransformType::Prf) {
                let integrity = transforms.iter().filter(|transform| transform.kind == TransformType::Integrity);
                let implied = integrity.filter_map(|transform| IntegrityAlgorithm::from(transform.id).implied_prf());
                let implied: Vec<_> = implied.map(|prf| Transform::new(TransformType::Prf, prf)).collect();
                transforms.extend(implied);
            }
            if !has(&transforms, TransformType::Prf) {
                return Err(ProposalError::PrfMissing);
            }
            let none = Transform::new(TransformType::KeyExchange, KeyExchangeMethod::None);
            transforms.retain(|transform| *transform != none);
            if !has(&transforms, TransformType::KeyExchange) {
                return Err(ProposalError::KeyExchangeMissing);
            }
        }
        Protocol::Esp | Protocol::Ah => transforms.retain(|transform| transform.kind != TransformType::Prf),
        Protocol::None | Protocol::IpComp | Protocol::Unknown(_) => return Err(ProposalError::Protocol(protocol)),
    }

    if protocol == Protocol::Ah {
        for transform in &mut transforms {
            if let Some(gmac) = gmac_integrity(transform) {
                *transform = Transform::new(TransformType::Integrity, gmac);
            }
        }
        transforms.retain(|transform| transform.kind != TransformType::Encryption);
        if !has(&transforms, TransformType::Integrity) {
            return Err(ProposalError::IntegrityMissing(protocol));
        }
    } else {
        let ciphers = || transforms.iter().filter(|transform| transform.kind == TransformType::Encryption);
        let aeads = ciphers().filter(|transform| EncryptionAlgorithm::from(transform.id).is_aead()).count();
        let ciphers = ciphers().count();
        if ciphers == 0 {
            return Err(ProposalError::EncryptionMissing(protocol));
        }
        if aeads == ciphers {
            transforms.retain(|transform| transform.kind != TransformType::Integrity);
        } else if aeads > 0 {
            return Err(ProposalError::MixedEncryption(protocol));
        } else if protocol == Protocol::Ike && !has(&transforms, TransformType::Integrity) {
            return Err(ProposalError::IntegrityMissing(protocol));
        }
    }

    if protocol != Protocol::Ike && !has(&transforms, TransformType::Esn) {
        transforms.push(Transform::new(TransformType::Esn, ExtendedSequenceNumbers::No));
    }
    Ok(Proposal { protocol, transforms })
}

/// AH knows AES-GMAC as an integrity algorithm, one id per key size (RFC 4543 §9).
fn gmac_integrity(transform: &Transform) -> Option<IntegrityAlgorithm> {
    if transform.kind != TransformType::Encryption || transform.id != u16::from(EncryptionAlgorithm::NullAesGmac) {
        return None;
    }
    match transform.key_size {
        Some(128) => Some(IntegrityAlgorithm::Aes128Gmac),
        Some(192) => Some(IntegrityAlgorithm::Aes192Gmac),
        Some(256) => Some(IntegrityAlgorithm::Aes256Gmac),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(protocol: Protocol, text: &str) -> String {
        Proposal::parse(protocol, text).unwrap().to_string()
    }

    fn error(protocol: Protocol, text: &str) -> ProposalError {
        Proposal::parse(protocol, text).unwrap_err()
    }

    #[test]
    fn ike_derives_the_prf_from_the_integrity_algorithm() {
        assert_eq!(
            text(Protocol::Ike, "aes128-sha256-sha1-modp2048"),
            "IKE:AES_CBC_128/HMAC_SHA2_256_128/HMAC_SHA1_96/PRF_HMAC_SHA2_256/PRF_HMAC_SHA1/MODP_2048"
        );
        assert_eq!(
            text(Protocol::Ike, "aes128gcm16-sha256-modp2048"),
            "IKE:AES_GCM_16_128/PRF_HMAC_SHA2_256/MODP_2048"
        );
        assert_eq!(
            text(Protocol::Ike, "aes-sha384-prfsha1-ecp384"),
            "IKE:AES_CBC_128/HMAC_SHA2_384_192/PRF_HMAC_SHA1/ECP_384"
        );
        assert_eq!(error(Protocol::Ike, "aes128gcm16-modp2048"), ProposalError::PrfMissing);
        assert_eq!(error(Protocol::Ike, "aes128-sha256_96-modp2048"), ProposalError::PrfMissing);
        assert_eq!(error(Protocol::Ike, ""), ProposalError::PrfMissing);
    }

    #[test]
    fn ike_needs_a_primary_key_exchange() {
        assert_eq!(error(Protocol::Ike, "aes128-sha256"), ProposalError::KeyExchangeMissing);
        assert_eq!(error(Protocol::Ike, "aes128-sha256-none"), ProposalError::KeyExchangeMissing);
        assert_eq!(error(Protocol::Ike, "aes128-sha256-ke1_mlkem768"), ProposalError::KeyExchangeMissing);
        assert_eq!(
            text(Protocol::Ike, "aes128-sha256-none-x448-KE1_mlkem768-Ke1_none"),
            "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_448/KE1_ML_KEM_768/KE1_KE_NONE"
        );
    }

    #[test]
    fn encryption_is_mandatory_and_of_one_kind() {
        assert_eq!(error(Protocol::Ike, "sha256-x25519"), ProposalError::EncryptionMissing(Protocol::Ike));
        assert_eq!(error(Protocol::Esp, "sha256"), ProposalError::EncryptionMissing(Protocol::Esp));
        assert_eq!(error(Protocol::Esp, "aes128-aes128gcm16"), ProposalError::MixedEncryption(Protocol::Esp));
        assert_eq!(error(Protocol::Ike, "aes128-prfsha256-modp2048"), ProposalError::IntegrityMissing(Protocol::Ike));
    }

    #[test]
    fn esp_drops_prfs_and_adds_noesn() {
        assert_eq!(text(Protocol::Esp, "aes128"), "ESP:AES_CBC_128/NO_EXT_SEQ");
        assert_eq!(text(Protocol::Esp, " aes256ccm64 - sha1 -- prfsha1"), "ESP:AES_CCM_8_256/NO_EXT_SEQ");
        assert_eq!(text(Protocol::Esp, "null-sha1-esn-noesn-none"), "ESP:NULL/HMAC_SHA1_96/KE_NONE/EXT_SEQ/NO_EXT_SEQ");
        assert_eq!(text(Protocol::Esp, "aes192gmac"), "ESP:NULL_AES_GMAC_192/NO_EXT_SEQ");
        assert_eq!(text(Protocol::Esp, "chacha20poly1305compat"), "ESP:CHACHA20_POLY1305_256/NO_EXT_SEQ");
    }

    #[test]
    fn ah_maps_gmac_and_drops_other_ciphers() {
        assert_eq!(text(Protocol::Ah, "aes128-aes256gmac-sha256"), "AH:AES_256_GMAC/HMAC_SHA2_256_128/NO_EXT_SEQ");
        assert_eq!(error(Protocol::Ah, "aes128"), ProposalError::IntegrityMissing(Protocol::Ah));
    }

    #[test]
    fn unknown_keywords_are_named() {
        for (text, keyword) in [
            ("aes128-sha3", "sha3"),
            ("AES128", "AES128"),
            ("aes128-ke8_mlkem768", "ke8_mlkem768"),
            ("aes128-ke0_none", "ke0_none"),
            ("aes128-ke1_sha256", "ke1_sha256"),
            ("aes128-ke1_MLKEM768", "ke1_MLKEM768"),
            ("aes128-ké_x", "ké_x"),
            ("camellia128ccm", "camellia128ccm"),
        ] {
            assert_eq!(error(Protocol::Esp, text), ProposalError::UnknownKeyword(keyword.into()), "{text}");
        }
        assert_eq!(error(Protocol::IpComp, "aes128"), ProposalError::Protocol(Protocol::IpComp));
    }

    #[test]
    fn lists_expand_default_in_place() {
        let list = Proposal::parse_list(Protocol::Esp, ["aes128-sha1", " Default "]).unwrap();
        assert_eq!(list.len(), 3);
        assert_eq!(list[1..], Proposal::defaults(Protocol::Esp));
        assert_eq!(
            Proposal::parse_list(Protocol::Esp, ["aes128-default"]),
            Err(ProposalError::DefaultCombined("aes128-default".into()))
        );
    }
}
