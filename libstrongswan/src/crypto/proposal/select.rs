//! Choosing one transform of each type from two lists of proposals (RFC 7296 §3.3.6, RFC 9370 §2.2.2).

mod distinct;

use super::Proposal;
use crate::crypto::transform::{EncryptionAlgorithm, KeyExchangeMethod, Protocol, Transform, TransformType};

/// What to take into account when selecting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SelectOptions {
    /// Algorithms from the private use range may be chosen: the peer is known to give them the same meaning.
    pub accept_private: bool,
    /// Key exchanges are neither compared nor part of the result (first CHILD_SA, in IKE_AUTH).
    pub ignore_key_exchange: bool,
}

/// A proposal with one transform per type, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// What both sides agree on.
    pub proposal: Proposal,
    /// Index into the preferred list.
    pub preferred_index: usize,
    /// Index into the other list.
    pub other_index: usize,
}

/// Finds the first proposal of `preferred` that has something in common with one of `other`. The order of `preferred`,
/// and of the algorithms within its proposals, decides.
pub fn select(preferred: &[Proposal], other: &[Proposal], options: SelectOptions) -> Option<Selection> {
    preferred.iter().enumerate().find_map(|(preferred_index, mine)| {
        other.iter().enumerate().find_map(|(other_index, theirs)| {
            let proposal = select_one(mine, theirs, options)?;
            Some(Selection { proposal, preferred_index, other_index })
        })
    })
}

fn select_one(preferred: &Proposal, other: &Proposal, options: SelectOptions) -> Option<Proposal> {
    if preferred.protocol != other.protocol {
        return None;
    }
    let mut kinds: Vec<TransformType> =
        preferred.transforms.iter().chain(&other.transforms).map(|transform| transform.kind).collect();
    // In numerical order, which is also that of the registry: encryption is decided before integrity.
    kinds.sort_unstable_by_key(|kind| u8::from(*kind));
    kinds.dedup();

    let mut selected: Vec<Transform> = Vec::with_capacity(kinds.len());
    let mut key_exchanges = Vec::new();
    for kind in kinds {
        if kind == TransformType::Integrity && is_aead(&selected) {
            continue;
        }
        if kind.is_key_exchange() && options.ignore_key_exchange {
            continue;
        }
        match common(preferred, other, kind, options) {
            Common::Transforms(candidates) if kind.is_key_exchange() => key_exchanges.push(candidates),
            Common::Transforms(candidates) => selected.push(*candidates.first()?),
            Common::Omitted => {}
        }
    }
    // No method may be chosen twice, so what is chosen for one type depends on what is left for the others.
    selected.extend(distinct::first_choice(&key_exchanges)?);
    selected.sort_by_key(|transform| u8::from(transform.kind));
    Some(Proposal { protocol: preferred.protocol, transforms: selected })
}

fn is_aead(selected: &[Transform]) -> bool {
    let mut ciphers = selected.iter().filter(|transform| transform.kind == TransformType::Encryption);
    ciphers.any(|transform| EncryptionAlgorithm::from(transform.id).is_aead())
}

/// What both sides have of a type.
enum Common {
    /// These, best first; none is a mismatch.
    Transforms(Vec<Transform>),
    /// One side does not know the type, and the other one does not insist.
    Omitted,
}

fn common(preferred: &Proposal, other: &Proposal, kind: TransformType, options: SelectOptions) -> Common {
    let one_sided = match (preferred.first(kind), other.first(kind)) {
        (Some(_), None) => Some(preferred),
        (None, Some(_)) => Some(other),
        _ => None,
    };
    if let Some(side) = one_sided {
        // Listing NONE as well says that the type is optional (RFC 7296 §3.3.6, RFC 9370 §2.2.2).
        let optional = match kind {
            TransformType::KeyExchange => preferred.protocol != Protocol::Ike,
            other => other.is_key_exchange(),
        };
        let omitted = optional && side.contains(kind, KeyExchangeMethod::None);
        return if omitted { Common::Omitted } else { Common::Transforms(Vec::new()) };
    }
    let usable = |transform: &&Transform| options.accept_private || !transform.is_private();
    let candidates = preferred.all(kind).filter(usable).filter(|candidate| other.transforms.contains(candidate));
    Common::Transforms(candidates.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        protocol: Protocol,
        mine: &[&str],
        theirs: &[&str],
        options: SelectOptions,
    ) -> Option<(String, usize, usize)> {
        let mine = Proposal::parse_list(protocol, mine).unwrap();
        let theirs = Proposal::parse_list(protocol, theirs).unwrap();
        let selection = select(&mine, &theirs, options)?;
        Some((selection.proposal.to_string(), selection.preferred_index, selection.other_index))
    }

    fn ike(mine: &[&str], theirs: &[&str]) -> Option<(String, usize, usize)> {
        run(Protocol::Ike, mine, theirs, SelectOptions::default())
    }

    fn esp(mine: &str, theirs: &str) -> Option<String> {
        run(Protocol::Esp, &[mine], &[theirs], SelectOptions::default()).map(|(text, _, _)| text)
    }

    #[test]
    fn the_order_of_the_preferred_side_decides() {
        let a = "aes256-aes128-sha256-sha1-ecp256-x25519";
        let b = "aes128-aes256-sha1-sha256-x25519-ecp256";
        assert_eq!(ike(&[a], &[b]).unwrap().0, "IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256");
        assert_eq!(ike(&[b], &[a]).unwrap().0, "IKE:AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/CURVE_25519");
        let (_, mine, theirs) =
            ike(&["aes128-md5-ecp521", "3des-sha1-modp1024"], &[a, b, "3des-sha1-modp1024"]).unwrap();
        assert_eq!((mine, theirs), (1, 2));
    }

    #[test]
    fn every_type_and_the_key_size_must_match() {
        assert_eq!(ike(&["aes128-sha256-ecp256"], &["aes256-sha256-ecp256"]), None);
        assert_eq!(ike(&["aes128-sha256-ecp256"], &["aes128-sha1-ecp256"]), None);
        assert_eq!(ike(&["aes128-sha256-ecp256"], &["aes128-sha256-x25519"]), None);
        assert_eq!(esp("aes128", "aes128-sha1"), None);
        assert_eq!(esp("aes128-sha1-esn", "aes128-sha1"), None);
        assert_eq!(esp("aes128-sha1-esn-noesn", "aes128-sha1").unwrap(), "ESP:AES_CBC_128/HMAC_SHA1_96/NO_EXT_SEQ");
        assert_eq!(esp("chacha20poly1305", "chacha20poly1305compat"), None);
    }

    #[test]
    fn an_aead_makes_integrity_irrelevant() {
        let aead = |extra: &[Transform]| {
            let mut proposal = Proposal::parse(Protocol::Esp, "aes128gcm16").unwrap();
            proposal.transforms.extend(extra);
            proposal
        };
        // RFC 5282 §8 forbids it, some peers send it anyway: integrity algorithms next to an AEAD.
        let sloppy = aead(&[Transform::new(TransformType::Integrity, 12u16)]);
        let selection = select(&[aead(&[])], &[sloppy], SelectOptions::default()).unwrap();
        assert_eq!(selection.proposal.to_string(), "ESP:AES_GCM_16_128/NO_EXT_SEQ");
    }

    #[test]
    fn unknown_transform_types_make_a_proposal_unacceptable() {
        let mine = Proposal::parse(Protocol::Esp, "aes128gcm16").unwrap();
        let mut theirs = mine.clone();
        theirs.transforms.push(Transform { kind: TransformType::Unknown(13), id: 0, key_size: None });
        assert_eq!(select(&[mine], &[theirs], SelectOptions::default()), None);
    }

    #[test]
    fn listing_none_makes_a_key_exchange_optional() {
        assert_eq!(esp("aes128gcm16-x25519", "aes128gcm16"), None);
        assert_eq!(esp("aes128gcm16-x25519-none", "aes128gcm16").unwrap(), "ESP:AES_GCM_16_128/NO_EXT_SEQ");
        assert_eq!(esp("aes128gcm16", "aes128gcm16-none-x25519").unwrap(), "ESP:AES_GCM_16_128/NO_EXT_SEQ");
        let ike_base = "aes128-sha256-x25519";
        assert_eq!(ike(&[ike_base], &["aes128-sha256-x25519-ke1_mlkem768"]), None);
        assert_eq!(
            ike(&[ike_base], &["aes128-sha256-x25519-ke1_mlkem768-ke1_none"]).unwrap().0,
            "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519"
        );
    }

    #[test]
    fn a_method_is_used_only_once() {
        let base = "aes128-sha256-x25519";
        let hybrid = format!("{base}-ke1_mlkem768-ke1_mlkem1024-ke2_mlkem768-ke2_ecp256");
        assert_eq!(
            ike(&[&hybrid], &[&hybrid]).unwrap().0,
            "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_768/KE2_ECP_256"
        );
        let repeated = format!("{base}-ke1_x25519");
        assert_eq!(ike(&[&repeated], &[&repeated]), None);
        // The first choice of one type is the only one of another.
        let scarce = format!("{base}-ke1_mlkem768-ke1_mlkem1024-ke2_mlkem768");
        assert_eq!(
            ike(&[&scarce], &[&scarce]).unwrap().0,
            "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_1024/KE2_ML_KEM_768"
        );
    }

    #[test]
    fn private_algorithms_need_consent() {
        let text = ["aes128-sha256_96"];
        assert_eq!(run(Protocol::Esp, &text, &text, SelectOptions::default()), None);
        let options = SelectOptions { accept_private: true, ..SelectOptions::default() };
        assert_eq!(run(Protocol::Esp, &text, &text, options).unwrap().0, "ESP:AES_CBC_128/HMAC_SHA2_256_96/NO_EXT_SEQ");
    }

    #[test]
    fn key_exchanges_can_be_ignored() {
        let options = SelectOptions { ignore_key_exchange: true, ..SelectOptions::default() };
        let mine = ["aes128gcm16-x25519-ke1_mlkem768"];
        assert_eq!(
            run(Protocol::Esp, &mine, &["aes128gcm16-modp2048"], options).unwrap().0,
            "ESP:AES_GCM_16_128/NO_EXT_SEQ"
        );
    }

    #[test]
    fn protocols_do_not_mix() {
        let esp = Proposal::defaults(Protocol::Esp);
        assert_eq!(select(&esp, &Proposal::defaults(Protocol::Ah), SelectOptions::default()), None);
        assert!(select(&esp, &esp, SelectOptions::default()).is_some());
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;

        fn transform() -> impl Strategy<Value = Transform> {
            // Few values, so that lists have something in common.
            (1..=7u8, 0..4u16, proptest::option::of(1..3u16)).prop_map(|(kind, id, key_size)| {
                let kind = TransformType::from(kind);
                let id = if kind == TransformType::Encryption && id == 3 { 20 } else { id };
                Transform { kind, id, key_size }
            })
        }

        fn proposal() -> impl Strategy<Value = Proposal> {
            (2..=3u8, proptest::collection::vec(transform(), 0..10))
                .prop_map(|(protocol, transforms)| Proposal::from_transforms(Protocol::from(protocol), transforms))
        }

        proptest! {
            /// What is selected was offered by both, once per type, and whether anything is selected does not depend on
            /// who is preferred, except that a preferred AEAD may hide that the integrity algorithms do not match.
            #[test]
            fn a_selection_is_common_ground(a in proposal(), b in proposal()) {
                let Some(selection) = select(std::slice::from_ref(&a), std::slice::from_ref(&b), SelectOptions::default()) else {
                    return Ok(());
                };
                let selected = selection.proposal.transforms();
                for (index, transform) in selected.iter().enumerate() {
                    prop_assert!(a.transforms().contains(transform) && b.transforms().contains(transform));
                    prop_assert!(selected[..index].iter().all(|earlier| earlier.kind != transform.kind));
                }
                // Selecting from what was selected changes nothing.
                let again = select(std::slice::from_ref(&selection.proposal), &[a], SelectOptions::default());
                if let Some(again) = again {
                    prop_assert_eq!(again.proposal, selection.proposal);
                }
            }

            #[test]
            fn no_string_panics(text in ".{0,60}", keywords in "(ke[0-9]_|aes|256|gcm|sha|-|none|x25519| |esn|default){0,8}") {
                for protocol in [Protocol::Ike, Protocol::Esp, Protocol::Ah] {
                    for text in [&text, &keywords] {
                        let Ok(proposal) = Proposal::parse(protocol, text) else { continue };
                        if let Some(selection) = select(&[proposal], &Proposal::defaults(protocol), SelectOptions::default()) {
                            prop_assert_eq!(selection.proposal.protocol(), protocol);
                        }
                    }
                }
            }
        }
    }
}
