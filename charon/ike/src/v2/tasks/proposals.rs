//! Choosing between our proposals and the peer's, for IKE and for CHILD_SAs, with the log lines that explain a mismatch.

use strongswan::crypto::proposal::select;
use strongswan::crypto::{KeyExchangeMethod, Proposal, SelectOptions, Transform};
use strongswan::log;

use crate::env::Env;
use crate::sa::{Extensions, IkeSa};
use crate::wire::{NumberedProposal, Sa};

/// What was agreed on: the algorithms, and the peer's proposal they are from.
pub(super) struct Choice {
    pub(super) proposal: Proposal,
    pub(super) offered: NumberedProposal,
}

/// The proposals we can carry out: without those that insist on additional key exchanges (RFC 9370), and without such
/// transforms where they are optional. Agreeing on one and not doing it would promise a security that is not there.
pub(super) fn without_additional_key_exchanges(configured: &[Proposal]) -> Vec<Proposal> {
    let additional = |transform: &&Transform| transform.kind.additional_key_exchange().is_some();
    let feasible = |proposal: &&Proposal| {
        let feasible =
            proposal.additional_key_exchanges().all(|(kind, _)| proposal.contains(kind, KeyExchangeMethod::None));
        if !feasible {
            log!(CFG, 1, "additional key exchanges are not supported, ignoring proposal {proposal}");
        }
        feasible
    };
    let reduce = |proposal: &Proposal| {
        let transforms = proposal.transforms().iter().filter(|transform| !additional(transform)).copied().collect();
        Proposal::from_transforms(proposal.protocol(), transforms)
    };
    configured.iter().filter(feasible).map(reduce).collect()
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

    #[test]
    fn additional_key_exchanges_are_left_out_if_they_are_optional() {
        let ike = |text| Proposal::parse(Protocol::Ike, text).unwrap();
        let plain = ike("aes128gcm16-prfsha256-x25519");
        let optional = ike("aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke1_none");
        let required = ike("aes128gcm16-prfsha256-x25519-ke1_mlkem768");
        assert_eq!(without_additional_key_exchanges(&[plain.clone(), required, optional]), [plain.clone(), plain]);
    }
}
