//! Which connection serves the peer: chosen by addresses and identities, and left for the next one when what the peer
//! proves is not what it demands (spec daemon.md §7.2).

use std::sync::Arc;

use strongswan::credentials::ConstraintError;
use strongswan::identity::Identity;
use strongswan::log;

use super::super::ppk;
use super::super::rounds::{complies, own_identity};
use super::AuthResponder;
use crate::config::{AuthClass, PeerConfig};
use crate::env::Env;
use crate::sa::{Connection, IkeSa};
use crate::v2::auth::VerifiedRound;
use crate::v2::explain;

impl AuthResponder {
    /// What we have said about ourselves is what a connection says.
    fn shown_fits(&self, config: &PeerConfig) -> bool {
        self.shown.iter().enumerate().all(|(index, shown)| {
            let Some(round) = config.local.get(index) else { return false };
            let required = round.id.as_ref().filter(|id| !id.is_any());
            let same = required.is_none_or(|required| shown.id.identity().matches(required).is_match());
            same && shown.eap_only == matches!(round.class, AuthClass::Eap(_))
        })
    }

    /// Every round so far, of either side, is what a connection demands.
    fn rounds_comply(&self, config: &PeerConfig) -> bool {
        self.shown_fits(config)
            && self.verified.iter().zip(&config.remote).all(|(done, required)| complies(done, required))
    }

    /// The selected connection wants EAP for the peer's next round, and is content with everything before that.
    pub(super) fn may_do_eap(&self, sa: &IkeSa) -> bool {
        let Some(config) = sa.config() else { return false };
        let round = config.remote.get(self.verified.len());
        round.is_some_and(|round| matches!(round.class, AuthClass::Eap(_))) && self.rounds_comply(config)
    }

    /// Whether the PPK and every round so far is what the selected configuration demands.
    pub(super) fn complies(&self, sa: &mut IkeSa) -> bool {
        let Some(config) = sa.config().cloned() else { return false };
        if !ppk::permitted(sa, &config) || !config.local.starts_with(&self.answered) {
            return false;
        }
        self.rounds_comply(&config)
    }

    /// The identity we act as: the one the peer asked for, if the configuration allows it.
    pub(super) fn own_id(&self, sa: &IkeSa) -> Option<Identity> {
        let config = sa.config()?;
        let round = config.local.get(self.sent).or_else(|| config.local.first())?;
        if let Some(wanted) = self.wanted.as_ref().filter(|_| self.sent == 0) {
            match round.id.as_ref().filter(|id| !id.is_any()) {
                Some(required) if !wanted.matches(required).is_match() => {
                    log!(IKE, 1, "received IDr {wanted}, but require {required}");
                    return None;
                }
                _ => return Some(wanted.clone()),
            }
        }
        Some(own_identity(sa, round, "IDr"))
    }

    /// Says why [`own_id`](Self::own_id) has none.
    pub(super) fn explain_identity(&self, sa: &mut IkeSa, env: &Env<'_>) {
        if let Some(wanted) = &self.wanted {
            explain::auth::other_identity(sa, env, wanted, self.sent);
        }
    }

    /// A secret is shared by two identities, so it proves nothing to a connection on which we have another one.
    pub(super) fn keeps_secret(&self, sa: &IkeSa, me: &Identity) -> bool {
        let shared = self.verified.last().is_some_and(VerifiedRound::is_by_secret);
        !shared || self.own_id(sa).as_ref() == Some(me)
    }

    /// The connections this IKE_SA may use, best first.
    fn candidates(&self, sa: &IkeSa, env: &Env<'_>, other: &Identity) -> Vec<Arc<PeerConfig>> {
        let algorithms = sa.algorithms.as_ref();
        let candidates = env.config.peer_configs(sa.local, sa.remote, self.wanted.as_ref(), Some(other), 2);
        let fits = |config: &Arc<PeerConfig>| {
            // what IKE_SA_INIT agreed on by another connection's proposals must do for this one
            let fits = algorithms.is_some_and(|algorithms| algorithms.are_in(&config.ike.proposals));
            if !fits {
                log!(CFG, 2, "ignore candidate '{}' without matching IKE proposal", config.name);
            }
            fits
        };
        candidates.into_iter().filter(fits).collect()
    }

    pub(super) fn select_config(&self, sa: &mut IkeSa, env: &Env<'_>, other: &Identity) -> Option<()> {
        let any = Identity::any();
        let me = self.wanted.as_ref();
        log!(
            CFG,
            1,
            "looking for peer configs matching {}[{}]...{}[{other}]",
            sa.local.ip(),
            me.unwrap_or(&any),
            sa.remote.ip()
        );
        let Some(selected) = self.candidates(sa, env, other).into_iter().next() else {
            log!(CFG, 1, "no matching peer config found");
            explain::auth::no_connection(sa, env, me, other);
            return None;
        };
        log!(CFG, 1, "selected peer config '{}'", selected.name);
        sa.connection = Connection::Peer(selected);
        Some(())
    }

    /// Falls back to the next candidate whose rounds so far fit.
    pub(super) fn switch_config(&mut self, sa: &mut IkeSa, env: &Env<'_>, why: &str) -> Option<()> {
        log!(CFG, 1, "selected peer config '{}' unacceptable: {why}", sa.name());
        let alternatives = match self.alternatives.take() {
            Some(alternatives) => alternatives,
            None => self.after_current(sa, env),
        };
        let Some(next) = self.alternatives.insert(alternatives).pop() else {
            log!(CFG, 1, "no alternative config found");
            return None;
        };
        log!(CFG, 1, "switching to peer config '{}'", next.name);
        sa.connection = Connection::Peer(next);
        Some(())
    }

    /// The candidates behind the one in use, the best one last. None if that is loaded no more: nobody knows then which
    /// ones were tried.
    fn after_current(&self, sa: &IkeSa, env: &Env<'_>) -> Vec<Arc<PeerConfig>> {
        // the identity of its first round selects a connection
        let other = self.verified.first().map(VerifiedRound::identity).or(sa.remote_id.as_ref());
        let Some(other) = other else { return Vec::new() };
        let mut candidates = self.candidates(sa, env, other).into_iter();
        candidates.by_ref().find(|candidate| *candidate.name == *sa.name());
        candidates.rev().collect()
    }

    /// The connection for what the peer calls itself within EAP: all that was done so far has to fit it, on both sides.
    pub(super) fn find_config_of_client(&mut self, sa: &mut IkeSa, env: &Env<'_>) -> Option<()> {
        let client = self.eap.identity()?.clone();
        loop {
            let wanted = sa.config().and_then(|config| config.remote.get(self.verified.len())?.eap_id.clone());
            let wanted = wanted.filter(|wanted| !client.matches(wanted).is_match());
            if wanted.is_none() && self.may_do_eap(sa) {
                return Some(());
            }
            if let Some(wanted) = wanted {
                let error = ConstraintError::EapIdentity { wanted, used: client.clone() };
                log!(CFG, 1, "{error}");
            }
            self.switch_config(sa, env, "non-matching authentication done")?;
        }
    }

    /// All rounds the configuration demands took place; other candidates may be content with these.
    pub(super) fn enforce(&mut self, sa: &mut IkeSa, env: &Env<'_>) -> bool {
        while let Some(config) = sa.config() {
            if self.verified.len() >= config.remote.len() && self.sent >= config.local.len() && self.complies(sa) {
                return true;
            }
            if self.switch_config(sa, env, "insufficient authentication rounds").is_none() {
                let me = sa.local_id.clone();
                explain::auth::not_compliant(sa, env, me.as_ref(), &self.verified);
                return false;
            }
        }
        false
    }
}
