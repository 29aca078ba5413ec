//! Choosing between our proposals and the peer's, for IKE and for CHILD_SAs, with the log lines that explain a mismatch.

use strongswan::crypto::proposal::select;
use strongswan::crypto::{Proposal, SelectOptions};
use strongswan::log;

use crate::env::Env;
use crate::sa::{Extensions, IkeSa};
use crate::wire::{NumberedProposal, Sa};

/// What was agreed on: the algorithms, and the peer's proposal they are from.
pub(super) struct Choice {
    pub(super) proposal: Proposal,
    pub(super) offered: NumberedProposal,
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
    // RFC 9370 §2.2.2: they would follow in exchanges of their own; without these the keys lack what both sides want in them
    if let Some(choice) = choice.as_ref().filter(|choice| choice.proposal.additional_key_exchanges().next().is_some()) {
        log!(CFG, 1, "additional key exchanges are not supported: {}", choice.proposal);
        return None;
    }
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
