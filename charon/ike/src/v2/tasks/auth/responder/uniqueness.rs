//! What becomes of a new IKE_SA, and of those with the same peer, when there are some already.

use strongswan::log;

use super::AuthResponder;
use crate::config::UniquePolicy;
use crate::env::Env;
use crate::input::DuplicateAction;
use crate::output::{Alert, Output};
use crate::sa::{Conditions, IkeSa, IkeSaState};
use crate::v2::explain;

impl AuthResponder {
    /// Uniqueness of the peer's IKE_SAs (spec §10); `false` refuses this one.
    pub(super) fn keep_unique(&self, sa: &mut IkeSa, env: &Env<'_>) -> bool {
        if self.initial_contact {
            sa.conditions |= Conditions::INIT_CONTACT_SEEN;
        }
        let (Some(config), Some(me), Some(other)) = (sa.config().cloned(), sa.local_id.clone(), sa.peer_id().cloned())
        else {
            return false;
        };
        if config.unique == UniquePolicy::Never {
            return true;
        }
        let duplicates = env.peers.duplicates(sa.unique_id(), &me, &other, sa.remote.is_ipv6());
        if self.initial_contact {
            for duplicate in &duplicates {
                sa.push(Output::Duplicate { id: duplicate.id, action: DuplicateAction::Destroy });
            }
            return true;
        }
        let replaces = match config.unique {
            UniquePolicy::Never | UniquePolicy::No => return true,
            UniquePolicy::Replace => true,
            UniquePolicy::Keep => false,
        };
        let mut kept = false;
        // one that is being replaced or deleted is no reason to do anything
        let alive = |state| matches!(state, IkeSaState::Established | IkeSaState::Rekeying);
        let rivals = duplicates.iter().filter(|other| alive(other.state) && *other.config == *config);
        for duplicate in rivals {
            let same_host = duplicate.remote == sa.remote;
            if !replaces && !kept {
                if !same_host {
                    log!(IKE, 1, "canceling IKE_SA setup due to uniqueness policy");
                    explain::auth::not_unique(sa, env, duplicate.remote.ip());
                    sa.alert(Alert::UniqueKeep);
                    return false;
                }
                kept = true;
                continue;
            }
            let action = if same_host { DuplicateAction::DeleteLater } else { DuplicateAction::Delete };
            sa.push(Output::Duplicate { id: duplicate.id, action });
        }
        true
    }
}
