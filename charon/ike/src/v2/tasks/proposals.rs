//! Choosing between our proposals and the peer's, for IKE and for CHILD_SAs, with the log lines that explain a mismatch.

use strongswan::crypto::proposal::select;
use strongswan::crypto::{KeyExchangeMethod, Proposal, SelectOptions, Transform, TransformType, ke};
use strongswan::log;

use crate::env::Env;
use crate::sa::{Extensions, IkeSa};
use crate::wire::{NumberedProposal, Sa};

/// What was agreed on: the algorithms, and the peer's proposal they are from.
pub(super) struct Choice {
    pub(super) proposal: Proposal,
    pub(super) offered: NumberedProposal,
}

/// Our proposals as far as we can carry them out: without additional key exchanges (RFC 9370) that we have no algorithm
/// for, and without those proposals that insist on one. Agreeing on it and not doing it would promise a security that is
/// not there.
pub(super) fn feasible(configured: &[Proposal]) -> Vec<Proposal> {
    let possible = |transform: &&Transform| {
        let method = KeyExchangeMethod::from(transform.id);
        transform.kind.additional_key_exchange().is_none()
            || method == KeyExchangeMethod::None
            || ke::is_supported(method)
    };
    let reduce = |proposal: &Proposal| {
        let transforms = proposal.transforms().iter().filter(possible).copied().collect();
        let reduced = Proposal::from_transforms(proposal.protocol(), transforms);
        let kinds = proposal.transforms().iter().map(|transform| transform.kind);
        let lost = kinds.into_iter().find(|kind| reduced.all(*kind).next().is_none());
        if lost.is_some() {
            log!(CFG, 1, "additional key exchange not supported, ignoring proposal {proposal}");
        }
        lost.is_none().then_some(reduced)
    };
    configured.iter().filter_map(reduce).collect()
}

/// What we offer. A peer that does not know additional key exchanges refuses a proposal that has any, even if NONE is
/// among them (RFC 9370 §2.2.1); where all are optional the same follows without.
pub(super) fn offered(configured: &[Proposal]) -> Vec<Proposal> {
    let feasible = feasible(configured);
    let mut offered: Vec<Proposal> = Vec::with_capacity(feasible.len());
    for proposal in &feasible {
        let additional = |kind| TransformType::additional_key_exchange(kind).is_some();
        let kinds = proposal.transforms().iter().map(|transform| transform.kind).filter(|kind| additional(*kind));
        let optional = kinds.clone().all(|kind| proposal.contains(kind, KeyExchangeMethod::None));
        offered.push(proposal.clone());
        if optional && kinds.count() > 0 {
            let plain = proposal.transforms().iter().filter(|transform| !additional(transform.kind)).copied().collect();
            let plain = Proposal::from_transforms(proposal.protocol(), plain);
            if !feasible.contains(&plain) && !offered.contains(&plain) {
                offered.push(plain);
            }
        }
    }
    offered
}

/// Selects from what the peer offers (or answered), if anything fits.
pub(super) fn choose(
    sa: &IkeSa,
    env: &Env<'_>,
    configured: &[Proposal],
    payload: &Sa,
    ignore_key_exchange: bool,
) -> Option<Choice> {
    let accept_private = env.settings.accept_private_algs || sa.extensions.contains(Extensions::STRONGSWAN);
    let options = SelectOptions { accept_private, ignore_key_exchange };
    let offered: Vec<Proposal> = payload.proposals.iter().map(|offer| offer.proposal.clone()).collect();
    let selection = if env.settings.prefer_configured_proposals {
        select(configured, &offered, options).map(|selection| (selection.proposal, selection.other_index))
    } else {
        select(&offered, configured, options).map(|selection| (selection.proposal, selection.preferred_index))
    };
    let choice = selection.and_then(|(proposal, index)| {
        payload.proposals.get(index).map(|offered| Choice { proposal, offered: offered.clone() })
    });
    match &choice {
        Some(choice) => {
            log!(CFG, 2, "received proposals: {}", List(&offered));
            log!(CFG, 2, "configured proposals: {}", List(configured));
            log!(CFG, 1, "selected proposal: {}", choice.proposal);
        }
        None => {
            log!(CFG, 1, "received proposals: {}", List(&offered));
            log!(CFG, 1, "configured proposals: {}", List(configured));
        }
    }
    choice
}

/// Proposals in log notation.
struct List<'a>(&'a [Proposal]);

impl std::fmt::Display for List<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for proposal in self.0 {
            write!(f, "{separator}{proposal}")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongswan::crypto::Protocol;

    fn ike(text: &str) -> Proposal {
        Proposal::parse(Protocol::Ike, text).unwrap()
    }

    #[test]
    fn optional_key_exchanges_are_offered_with_a_way_around() {
        let plain = ike("aes128gcm16-prfsha256-x25519");
        let optional = ike("aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke1_none");
        let required = ike("aes128gcm16-prfsha256-x25519-ke1_mlkem768");
        let half = ike("aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke1_none-ke2_mlkem1024");
        let other = ike("aes256gcm16-prfsha256-x25519");
        assert_eq!(offered(std::slice::from_ref(&required)), std::slice::from_ref(&required));
        assert_eq!(offered(std::slice::from_ref(&half)), std::slice::from_ref(&half));
        assert_eq!(
            offered(&[optional.clone(), other.clone(), optional.clone()]),
            [optional.clone(), plain.clone(), other, optional.clone()]
        );
        assert_eq!(offered(&[optional.clone(), plain.clone()]), [optional, plain]);
    }

    #[test]
    fn key_exchanges_without_algorithm_are_not_agreed_on() {
        let base = "aes128gcm16-prfsha256-x25519";
        let hybrid = ike(&format!("{base}-ke1_mlkem768"));
        assert_eq!(feasible(&[ike(&format!("{base}-ke1_x448-ke1_mlkem768"))]), [hybrid]);
        assert_eq!(feasible(&[ike(&format!("{base}-ke1_x448-ke1_none"))]), [ike(&format!("{base}-ke1_none"))]);
        assert_eq!(feasible(&[ike(&format!("{base}-ke1_x448")), ike(base)]), [ike(base)]);
    }
}
