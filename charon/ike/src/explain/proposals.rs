//! The smallest difference between two lists of proposals.

use strongswan::crypto::proposal::select;
use strongswan::crypto::{EncryptionAlgorithm, KeyExchangeMethod, Proposal, SelectOptions, Transform, TransformType};

use super::clip;

/// Proposals of either side that are looked at: of each two of them.
const COMPARED: usize = 16;

/// What keeps the nearest two proposals apart.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Ours.
    pub(crate) ours: String,
    /// The peer's.
    pub(crate) theirs: String,
    /// The types of transforms of which there is none in common.
    pub(crate) apart: Vec<TransformType>,
    /// A proposal that would have matched, as one configures it.
    pub(crate) suggestion: Option<String>,
}

impl Difference {
    /// `no common key exchange`
    pub(crate) fn why(&self) -> String {
        let names: Vec<_> = self.apart.iter().map(|kind| name(*kind)).collect();
        format!("no common {}", names.join(", "))
    }
}

fn name(kind: TransformType) -> String {
    match kind {
        TransformType::Encryption => "encryption".to_owned(),
        TransformType::Prf => "PRF".to_owned(),
        TransformType::Integrity => "integrity".to_owned(),
        TransformType::KeyExchange => "key exchange".to_owned(),
        TransformType::Esn => "extended sequence numbers".to_owned(),
        TransformType::Unknown(number) => format!("transform of type {number}"),
        additional => match additional.additional_key_exchange() {
            Some(number) => format!("additional key exchange {number}"),
            None => "transform".to_owned(),
        },
    }
}

/// A proposal as it is configured, else as log lines have it.
pub(crate) fn describe(proposal: &Proposal) -> String {
    proposal.keywords().unwrap_or_else(|| clip(proposal))
}

/// The difference of those two proposals that differ in the fewest types of transforms; of several, of those for which
/// there is something to suggest, then the most preferred. `None` if there is nothing to compare, or they do not differ.
pub(crate) fn nearest(configured: &[Proposal], offered: &[Proposal], ignore_key_exchange: bool) -> Option<Difference> {
    let mut best: Option<((usize, bool), &Proposal, Compared)> = None;
    for theirs in offered.iter().take(COMPARED) {
        for ours in configured.iter().take(COMPARED).filter(|ours| ours.protocol() == theirs.protocol()) {
            let compared = compare(ours, theirs, ignore_key_exchange);
            if compared.apart.is_empty() {
                return None;
            }
            let rank = (compared.apart.len(), compared.suggestion.is_none());
            if best.as_ref().is_none_or(|(other, ..)| rank < *other) {
                best = Some((rank, theirs, compared));
            }
        }
    }
    let (_, theirs, compared) = best?;
    Some(Difference {
        ours: describe(&compared.ours),
        theirs: describe(theirs),
        apart: compared.apart,
        suggestion: compared.suggestion,
    })
}

struct Compared {
    ours: Proposal,
    apart: Vec<TransformType>,
    suggestion: Option<String>,
}

/// Goes through the types as the selection does.
fn compare(ours: &Proposal, theirs: &Proposal, ignore_key_exchange: bool) -> Compared {
    let mut kinds: Vec<_> =
        ours.transforms().iter().chain(theirs.transforms()).map(|transform| transform.kind).collect();
    kinds.sort_unstable_by_key(|kind| u8::from(*kind));
    kinds.dedup();
    let mut chosen: Vec<Transform> = Vec::new();
    let mut apart = Vec::new();
    let mut possible = true;
    let is_aead = |chosen: &[Transform]| {
        chosen.iter().any(|transform| {
            transform.kind == TransformType::Encryption && EncryptionAlgorithm::from(transform.id).is_aead()
        })
    };
    for kind in kinds {
        if kind == TransformType::Integrity && is_aead(&chosen) {
            continue;
        }
        if kind.is_key_exchange() && ignore_key_exchange {
            // it will count when this CHILD_SA is rekeyed
            chosen.extend(ours.all(kind).copied());
            continue;
        }
        if let Some(common) = ours.all(kind).find(|transform| theirs.transforms().contains(transform)) {
            chosen.push(*common);
            continue;
        }
        let optional = |side: &Proposal| kind.is_key_exchange() && side.contains(kind, KeyExchangeMethod::None);
        if (theirs.all(kind).next().is_none() && optional(ours))
            || (ours.all(kind).next().is_none() && optional(theirs))
        {
            continue;
        }
        apart.push(kind);
        let usable = |transform: &&Transform| {
            transform.is_supported() && !(kind.is_key_exchange() && transform.id == u16::from(KeyExchangeMethod::None))
        };
        match theirs.all(kind).find(usable) {
            Some(transform) => chosen.push(*transform),
            // without that type we would fit as well
            None if theirs.all(kind).next().is_none() => {}
            None => possible = false,
        }
    }
    let suggestion = possible.then(|| suggest(ours, theirs, chosen, ignore_key_exchange)).flatten();
    Compared { ours: ours.clone(), apart, suggestion }
}

/// Writes a proposal down, if it can be configured and does match.
fn suggest(ours: &Proposal, theirs: &Proposal, chosen: Vec<Transform>, ignore_key_exchange: bool) -> Option<String> {
    let text = Proposal::from_transforms(ours.protocol(), chosen).keywords()?;
    let parsed = Proposal::parse(ours.protocol(), &text).ok()?;
    let options = SelectOptions { accept_private: true, ignore_key_exchange };
    select(&[parsed], std::slice::from_ref(theirs), options).map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongswan::crypto::Protocol;

    fn list(protocol: Protocol, text: &str) -> Vec<Proposal> {
        text.split(',').map(|text| Proposal::parse(protocol, text).unwrap()).collect()
    }

    fn ike(ours: &str, theirs: &str) -> Difference {
        nearest(&list(Protocol::Ike, ours), &list(Protocol::Ike, theirs), false).unwrap()
    }

    #[test]
    fn the_smallest_difference_is_found() {
        let found = ike("aes256-sha384-ecp384,aes128-sha256-ecp256", "3des-md5-modp1024,aes128-sha256-modp2048");
        assert_eq!((found.ours.as_str(), found.theirs.as_str()), ("aes128-sha256-ecp256", "aes128-sha256-modp2048"));
        assert_eq!(found.why(), "no common key exchange");
        assert_eq!(found.suggestion.as_deref(), Some("aes128-sha256-modp2048"));
    }

    #[test]
    fn a_cipher_of_another_kind_takes_the_rest_along() {
        let found = ike("aes128-sha256-x25519", "aes128gcm16-prfsha256-x25519");
        assert_eq!(found.why(), "no common encryption");
        assert_eq!(found.suggestion.as_deref(), Some("aes128gcm16-prfsha256-x25519"));
        let found = ike("aes128gcm16-prfsha256-x25519", "aes128-sha256-x25519");
        assert_eq!(found.suggestion.as_deref(), Some("aes128-sha256-x25519"));
    }

    #[test]
    fn nothing_is_suggested_that_we_cannot_do() {
        let found = ike("aes128-sha256-x25519", "blowfish128-sha256-x25519");
        assert_eq!((found.why().as_str(), found.suggestion), ("no common encryption", None));
    }

    #[test]
    fn an_additional_key_exchange_is_one_more_type() {
        let found = ike("aes128-sha256-x25519-ke1_mlkem768", "aes128-sha256-x25519");
        assert_eq!(found.why(), "no common additional key exchange 1");
        assert_eq!(found.suggestion.as_deref(), Some("aes128-sha256-x25519"));
    }

    #[test]
    fn in_ike_auth_our_key_exchange_stays() {
        let (ours, theirs) = (list(Protocol::Esp, "aes128-sha256-x25519"), list(Protocol::Esp, "aes256-sha256"));
        assert_eq!(nearest(&ours, &theirs, true).unwrap().suggestion.as_deref(), Some("aes256-sha256-x25519"));
        let (ours, theirs) = (list(Protocol::Esp, "aes128gcm16"), list(Protocol::Esp, "aes128gcm16-esn"));
        assert_eq!(nearest(&ours, &theirs, false).unwrap().suggestion.as_deref(), Some("aes128gcm16-esn"));
        assert!(nearest(&ours, &ours, false).is_none());
        assert!(nearest(&[], &ours, false).is_none());
    }
}
