//! What follows when our addresses, or the ways to the peer, change (spec §9.2).

use strongswan::log;

use super::{Conditions, IkeSa, IkeSaState, Timer};
use crate::env::Env;

impl IkeSa {
    /// Our addresses or routes changed: is the peer still reached the way it was?
    pub(super) fn roam(&mut self, env: &mut Env<'_>, _address: bool) {
        match self.state() {
            IkeSaState::Connecting | IkeSaState::Established | IkeSaState::Rekeying => {}
            IkeSaState::Created
            | IkeSaState::Passive
            | IkeSaState::Rekeyed
            | IkeSaState::Deleting
            | IkeSaState::Destroying => return,
        }
        let (local, remote) = (self.local, self.remote);
        if self.has_static_address() {
            log!(IKE, 2, "keeping statically configured path {} - {}", local.ip(), remote.ip());
            return;
        }
        if env.kernel.source_address(remote.ip(), Some(local.ip())) == Some(local.ip()) {
            self.set_stale(env, false);
            if env.settings.check_current_path && self.exchanges.request.is_none() {
                log!(IKE, 1, "checking if current path still works using DPD");
                self.check_liveness(env);
            }
            return;
        }
        log!(IKE, 1, "old path is not available anymore, try to find another");
        log!(IKE, 1, "looking for a route to {} ...", remote.ip());
        let Some(source) = env.kernel.source_address(remote.ip(), None) else {
            log!(IKE, 1, "no route found to reach {}, MOBIKE update deferred", remote.ip());
            return self.set_stale(env, true);
        };
        if self.conditions.contains(Conditions::ORIGINAL_INITIATOR) {
            log!(IKE, 1, "reauthenticating IKE_SA due to address change");
            self.set_stale(env, false);
            self.local.set_ip(source);
            self.reauthenticate(env);
        } else {
            // only the initiator can set up a new IKE_SA; until it does there is no way to it that works
            self.set_stale(env, true);
        }
    }

    /// Whether our address is one that the configuration names.
    fn has_static_address(&self) -> bool {
        let local = self.local.ip();
        self.ike_config().is_some_and(|config| config.local_addrs.iter().any(|host| host.address() == Some(local)))
    }

    /// Records whether there is a way to the peer.
    pub(super) fn set_stale(&mut self, env: &Env<'_>, stale: bool) {
        let was = self.conditions.contains(Conditions::STALE);
        self.conditions.set(Conditions::STALE, stale);
        if was && !stale && self.conditions.contains(Conditions::NAT_HERE) {
            self.timers.set(Timer::Keepalive, env.now);
        }
    }
}
