//! Proposals written as they are configured: the reverse of `parse`.

use super::Proposal;
use crate::crypto::transform::{
    EncryptionAlgorithm, ExtendedSequenceNumbers, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, Transform,
    TransformType,
};
use crate::crypto::{cipher, ke, prf};

/// Of several keywords for the same, the first that says its size: `aes128` rather than `aes`.
fn best<T: PartialEq>(
    table: &[(&'static str, T, Option<u16>)],
    wanted: &T,
    key_size: Option<u16>,
) -> Option<&'static str> {
    let mut fitting = table.iter().filter(|(_, value, size)| value == wanted && *size == key_size).map(|row| row.0);
    let first = fitting.next()?;
    let sized = std::iter::once(first).chain(fitting).find(|word| word.bytes().any(|byte| byte.is_ascii_digit()));
    Some(sized.unwrap_or(first))
}

impl Transform {
    /// Its keyword in a proposal string, if it has one.
    pub fn keyword(&self) -> Option<String> {
        let word = match self.kind {
            TransformType::Encryption => {
                best(EncryptionAlgorithm::KEYWORDS, &EncryptionAlgorithm::from(self.id), self.key_size)
            }
            TransformType::Integrity => best(IntegrityAlgorithm::KEYWORDS, &IntegrityAlgorithm::from(self.id), None),
            TransformType::Prf => best(PrfAlgorithm::KEYWORDS, &PrfAlgorithm::from(self.id), None),
            TransformType::Esn => {
                best(ExtendedSequenceNumbers::KEYWORDS, &ExtendedSequenceNumbers::from(self.id), None)
            }
            kind if kind.is_key_exchange() => {
                best(KeyExchangeMethod::KEYWORDS, &KeyExchangeMethod::from(self.id), None)
            }
            _ => None,
        };
        match (word, self.kind.additional_key_exchange()) {
            (Some(word), Some(number)) => Some(format!("ke{number}_{word}")),
            (word, _) => word.map(str::to_owned),
        }
    }

    /// Whether this build can do it.
    pub fn is_supported(&self) -> bool {
        match self.kind {
            TransformType::Encryption => {
                cipher::is_encryption_supported(EncryptionAlgorithm::from(self.id), self.key_size)
            }
            TransformType::Integrity => cipher::is_integrity_supported(IntegrityAlgorithm::from(self.id)),
            TransformType::Prf => prf::is_supported(PrfAlgorithm::from(self.id)),
            TransformType::Esn => true,
            TransformType::Unknown(_) => false,
            _ => ke::is_supported(KeyExchangeMethod::from(self.id)),
        }
    }
}

impl Proposal {
    /// The string that [`Proposal::parse`] reads as this proposal, as short as it can be: without what is implied.
    /// `None` if it has something no keyword stands for, or a combination that cannot be configured.
    pub fn keywords(&self) -> Option<String> {
        let implied = |transform: &&Transform| !matches!(transform.kind, TransformType::Prf | TransformType::Esn);
        let all = |_: &&Transform| true;
        let short = self.joined(&implied);
        short.filter(|text| self.is(text)).or_else(|| self.joined(&all).filter(|text| self.is(text)))
    }

    fn joined(&self, wanted: &dyn Fn(&&Transform) -> bool) -> Option<String> {
        let ordered = super::DISPLAY_ORDER.into_iter().flat_map(|kind| self.all(kind));
        let words: Option<Vec<_>> = ordered.filter(wanted).map(Transform::keyword).collect();
        words.map(|words| words.join("-"))
    }

    fn is(&self, text: &str) -> bool {
        let same = |a: &Self, b: &Self| a.transforms.iter().all(|transform| b.transforms.contains(transform));
        Self::parse(self.protocol, text).is_ok_and(|parsed| same(&parsed, self) && same(self, &parsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Protocol;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "aes128-sha256-modp2048",
            "aes256-aes128-sha384-sha1-ecp256-x25519",
            "aes128gcm16-prfsha256-x25519",
            "aes256-sha256-prfsha384-ecp384",
            "chacha20poly1305-prfsha256-x25519-ke1_mlkem768",
            "3des-md5-modp1024",
        ] {
            assert_eq!(Proposal::parse(Protocol::Ike, text).unwrap().keywords().as_deref(), Some(text));
        }
        for text in ["aes128gcm16", "aes256-sha256", "aes128-sha1-modp2048-esn", "null-sha256-noesn-esn"] {
            let proposal = Proposal::parse(Protocol::Esp, text).unwrap();
            let written = proposal.keywords().unwrap();
            assert_eq!(
                Proposal::parse(Protocol::Esp, &written).unwrap().transforms().len(),
                proposal.transforms().len()
            );
        }
        assert_eq!(Proposal::parse(Protocol::Esp, "aes128-sha1").unwrap().keywords().as_deref(), Some("aes128-sha1"));
        let unknown = Transform { kind: TransformType::Unknown(77), id: 1, key_size: None };
        assert_eq!(Proposal::from_transforms(Protocol::Ike, vec![unknown]).keywords(), None);
    }
}
