//! Proposals: sets of alternative transforms for one protocol (RFC 7296 §3.3), read from keyword strings, selected
//! against a peer's, displayed as strongSwan does.
//!
//! Sending and parsing the SA payload is left to the wire format; which algorithms work is asked of `cipher`, `prf` and
//! `ke`, and only for the default proposals: a configured one is offered as it stands.

mod defaults;
mod keywords;
mod parse;
mod select;

use std::fmt;

use thiserror::Error;

use super::transform::{
    EncryptionAlgorithm, ExtendedSequenceNumbers, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, Protocol,
    Transform, TransformType,
};

pub use select::{SelectOptions, Selection, select};

/// Why a proposal string is not usable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposalError {
    /// A keyword is in none of the tables.
    #[error("algorithm '{0}' not recognized")]
    UnknownKeyword(String),
    /// A protocol that is not negotiated by transforms.
    #[error("{0} has no proposals")]
    Protocol(Protocol),
    /// Neither PRF nor an integrity algorithm that implies one.
    #[error("a PRF algorithm is mandatory in IKE proposals")]
    PrfMissing,
    /// IKE cannot do without a key exchange.
    #[error("a key exchange method is mandatory in IKE proposals")]
    KeyExchangeMissing,
    /// Only AH can do without encryption.
    #[error("an encryption algorithm is mandatory in {0} proposals")]
    EncryptionMissing(Protocol),
    /// RFC 7296 §3.3: both kinds cannot be alternatives of each other.
    #[error("classic and combined-mode (AEAD) encryption algorithms can't be contained in the same {0} proposal")]
    MixedEncryption(Protocol),
    /// IKE and AH need an integrity algorithm unless the cipher brings its own.
    #[error("an integrity algorithm is mandatory in {0} proposals")]
    IntegrityMissing(Protocol),
    /// `default` stands alone.
    #[error("'default' cannot be combined with other algorithms in '{0}'")]
    DefaultCombined(String),
}

/// Alternatives for each transform type, in order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proposal {
    protocol: Protocol,
    transforms: Vec<Transform>,
}

impl Proposal {
    /// A proposal as received or assembled; nothing is checked or normalised.
    pub fn from_transforms(protocol: Protocol, transforms: Vec<Transform>) -> Self {
        Self { protocol, transforms }
    }

    /// The protocol it is for.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// All transforms, in the order in which they go out.
    pub fn transforms(&self) -> &[Transform] {
        &self.transforms
    }

    /// The transforms of one type.
    pub fn all(&self, kind: TransformType) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().filter(move |transform| transform.kind == kind)
    }

    /// Whether an algorithm is among the alternatives, with any key size.
    pub fn contains(&self, kind: TransformType, id: impl Into<u16>) -> bool {
        let id = id.into();
        self.all(kind).any(|transform| transform.id == id)
    }

    fn first(&self, kind: TransformType) -> Option<&Transform> {
        self.transforms.iter().find(|transform| transform.kind == kind)
    }

    /// The first encryption algorithm with its key size in bits.
    pub fn encryption(&self) -> Option<(EncryptionAlgorithm, Option<u16>)> {
        self.first(TransformType::Encryption).map(|transform| (transform.id.into(), transform.key_size))
    }

    /// The first integrity algorithm other than NONE.
    pub fn integrity(&self) -> Option<IntegrityAlgorithm> {
        let first = self.first(TransformType::Integrity).map(|transform| transform.id.into());
        first.filter(|algorithm| *algorithm != IntegrityAlgorithm::None)
    }

    /// The first PRF.
    pub fn prf(&self) -> Option<PrfAlgorithm> {
        self.first(TransformType::Prf).map(|transform| transform.id.into())
    }

    /// The first key exchange method; `None` also if that is NONE.
    pub fn key_exchange(&self) -> Option<KeyExchangeMethod> {
        self.key_exchange_of(TransformType::KeyExchange)
    }

    fn key_exchange_of(&self, kind: TransformType) -> Option<KeyExchangeMethod> {
        let first = self.first(kind).map(|transform| transform.id.into());
        first.filter(|method| *method != KeyExchangeMethod::None)
    }

    /// The first method of each additional key exchange, in the order in which they are carried out
    /// (RFC 9370 §2.2.2). Those that are NONE are left out.
    pub fn additional_key_exchanges(&self) -> impl Iterator<Item = (TransformType, KeyExchangeMethod)> {
        let kinds = TransformType::ADDITIONAL_KEY_EXCHANGES.into_iter();
        kinds.filter_map(|kind| Some((kind, self.key_exchange_of(kind)?)))
    }

    /// Whether extended sequence numbers are the first choice.
    pub fn esn(&self) -> bool {
        self.first(TransformType::Esn).is_some_and(|transform| transform.id == u16::from(ExtendedSequenceNumbers::Yes))
    }

    /// The proposal without any key exchange, as it is sent in IKE_AUTH (RFC 7296 §1.2).
    #[must_use]
    pub fn without_key_exchange(&self) -> Self {
        let transforms = self.transforms.iter().filter(|transform| !transform.kind.is_key_exchange());
        Self { protocol: self.protocol, transforms: transforms.copied().collect() }
    }

    /// Strips the key exchanges from all proposals and drops those that thereby become equal to an earlier one.
    pub fn strip_key_exchanges(proposals: &[Self]) -> Vec<Self> {
        let mut stripped = Vec::with_capacity(proposals.len());
        for proposal in proposals.iter().map(Self::without_key_exchange) {
            if !stripped.contains(&proposal) {
                stripped.push(proposal);
            }
        }
        stripped
    }

    /// Makes `method` the first choice among the primary key exchanges. Returns whether it is one of them.
    pub fn promote_key_exchange(&mut self, method: KeyExchangeMethod) -> bool {
        let is_primary = |transform: &Transform| transform.kind == TransformType::KeyExchange;
        let first = self.transforms.iter().position(is_primary);
        let wanted = Transform::new(TransformType::KeyExchange, method);
        let found =
            self.transforms.iter().position(|transform| transform.kind == wanted.kind && transform.id == wanted.id);
        let (Some(first), Some(found)) = (first, found) else { return false };
        if let Some(range) = self.transforms.get_mut(first..=found) {
            range.rotate_right(1);
        }
        true
    }

    /// Makes `method` the first choice wherever it occurs and moves the proposals that lack it to the end, so that the
    /// KE payload sent along fits the first proposal (RFC 7296 §1.3).
    pub fn promote_key_exchange_in(proposals: &mut [Self], method: KeyExchangeMethod) {
        for proposal in proposals.iter_mut() {
            proposal.promote_key_exchange(method);
        }
        proposals.sort_by_key(|proposal| !proposal.contains(TransformType::KeyExchange, method));
    }
}

/// The order in which the types are printed.
const DISPLAY_ORDER: [TransformType; 12] = [
    TransformType::Encryption,
    TransformType::Integrity,
    TransformType::Prf,
    TransformType::KeyExchange,
    TransformType::Esn,
    TransformType::AdditionalKeyExchange1,
    TransformType::AdditionalKeyExchange2,
    TransformType::AdditionalKeyExchange3,
    TransformType::AdditionalKeyExchange4,
    TransformType::AdditionalKeyExchange5,
    TransformType::AdditionalKeyExchange6,
    TransformType::AdditionalKeyExchange7,
];

impl fmt::Display for Proposal {
    /// `IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.protocol)?;
        let known = DISPLAY_ORDER.into_iter().flat_map(|kind| self.all(kind));
        let unknown = self.transforms.iter().filter(|transform| matches!(transform.kind, TransformType::Unknown(_)));
        let mut separator = "";
        for transform in known.chain(unknown) {
            write!(f, "{separator}{transform}")?;
            separator = "/";
        }
        Ok(())
    }
}

/// Displays a list of proposals as the log has it: `IKE:..., IKE:...`.
#[derive(Debug, Clone, Copy)]
pub struct DisplayList<'a>(pub &'a [Proposal]);

impl fmt::Display for DisplayList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, proposal) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            proposal.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ike(text: &str) -> Proposal {
        Proposal::parse(Protocol::Ike, text).unwrap()
    }

    #[test]
    fn accessors_name_the_first_choice_and_hide_none() {
        let proposal = ike("aes256-aes128-sha256-sha384-x25519-ecp256-ke1_mlkem768-ke3_none-ke4_none");
        assert_eq!(proposal.encryption(), Some((EncryptionAlgorithm::AesCbc, Some(256))));
        assert_eq!(proposal.integrity(), Some(IntegrityAlgorithm::HmacSha2_256_128));
        assert_eq!(proposal.prf(), Some(PrfAlgorithm::HmacSha2_256));
        assert_eq!(proposal.key_exchange(), Some(KeyExchangeMethod::Curve25519));
        assert_eq!(
            proposal.additional_key_exchanges().collect::<Vec<_>>(),
            [(TransformType::AdditionalKeyExchange1, KeyExchangeMethod::MlKem768)]
        );
        let esp = Proposal::parse(Protocol::Esp, "aes128gcm16-none-modp2048-esn-noesn").unwrap();
        assert_eq!(esp.key_exchange(), None);
        assert_eq!(esp.integrity(), None);
        assert!(esp.esn());
    }

    #[test]
    fn display_follows_the_fixed_order_of_types() {
        let proposal =
            Proposal::parse(Protocol::Ike, "ke2_mlkem1024-x25519-prfsha256-aes128gcm16-ke1_mlkem768").unwrap();
        assert_eq!(
            proposal.to_string(),
            "IKE:AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_768/KE2_ML_KEM_1024"
        );
        let unknown = Transform { kind: TransformType::Unknown(240), id: 3, key_size: None };
        let proposal =
            Proposal::from_transforms(Protocol::Esp, vec![unknown, Transform::new(TransformType::Esn, 1u16)]);
        assert_eq!(proposal.to_string(), "ESP:EXT_SEQ/UNKNOWN_240_3");
        assert_eq!(
            DisplayList(&[proposal.clone(), proposal]).to_string(),
            "ESP:EXT_SEQ/UNKNOWN_240_3, ESP:EXT_SEQ/UNKNOWN_240_3"
        );
    }

    #[test]
    fn promotion_keeps_the_order_of_the_others() {
        let mut proposal = ike("aes128-sha256-ecp256-ecp384-x25519-modp2048");
        assert!(proposal.promote_key_exchange(KeyExchangeMethod::Curve25519));
        assert_eq!(proposal, ike("aes128-sha256-x25519-ecp256-ecp384-modp2048"));
        assert!(!proposal.promote_key_exchange(KeyExchangeMethod::Modp8192));

        let mut list = [ike("aes128-sha256-ecp256"), ike("aes256-sha256-ecp256-x25519"), ike("aes192-sha1-modp2048")];
        Proposal::promote_key_exchange_in(&mut list, KeyExchangeMethod::Curve25519);
        assert_eq!(
            list,
            [ike("aes256-sha256-x25519-ecp256"), ike("aes128-sha256-ecp256"), ike("aes192-sha1-modp2048")]
        );
    }

    #[test]
    fn stripping_removes_what_becomes_a_duplicate() {
        let parse = |text| Proposal::parse(Protocol::Esp, text).unwrap();
        let list =
            [parse("aes128gcm16-x25519"), parse("aes128gcm16-ke1_mlkem768-ecp256"), parse("aes128gcm16-esn-ecp256")];
        assert_eq!(Proposal::strip_key_exchanges(&list), [parse("aes128gcm16"), parse("aes128gcm16-esn")]);
    }
}
