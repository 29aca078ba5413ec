//! What follows when our addresses, or the ways to the peer, change (spec §9.2).

use std::net::IpAddr;

use strongswan::log;

use super::{Conditions, IkeSa, IkeSaState, Timer, Wants};
use crate::env::Env;

impl IkeSa {
    /// Our addresses or routes changed: is the peer still reached the way it was?
    pub(super) fn roam(&mut self, env: &mut Env<'_>, address: bool) {
        match self.state() {
            IkeSaState::Connecting | IkeSaState::Established | IkeSaState::Rekeying => {}
            IkeSaState::Created
            | IkeSaState::Passive
            | IkeSaState::Rekeyed
            | IkeSaState::Deleting
            | IkeSaState::Destroying => return,
        }
        if !self.uses_mobike() && self.has_static_address() {
            log!(IKE, 2, "keeping statically configured path {} - {}", self.local.ip(), self.remote.ip());
        } else if self.is_path_valid(env) {
            self.keep_path(env, address);
        } else {
            self.leave_path(env, address);
        }
    }

    /// Whether our address is one that the configuration names.
    fn has_static_address(&self) -> bool {
        let local = self.local.ip();
        self.ike_config().is_some_and(|config| config.local_addrs.iter().any(|host| host.address() == Some(local)))
    }

    /// Whether a route leads to the peer from the address in use; the best one, if that is asked for.
    fn is_path_valid(&self, env: &Env<'_>) -> bool {
        let (local, remote) = (self.local.ip(), self.remote.ip());
        let best = self.uses_mobike() && env.settings.prefer_best_path;
        let source = env.kernel.source_address(remote, Some(local).filter(|_| !best));
        if source == Some(local) {
            return true;
        }
        if best && source.is_some() && env.kernel.source_address(remote, Some(local)) == Some(local) {
            log!(IKE, 1, "old path is not preferred anymore");
        } else {
            log!(IKE, 1, "old path is not available anymore, try to find another");
        }
        false
    }

    /// The path in use can still be used.
    fn keep_path(&mut self, env: &mut Env<'_>, address: bool) {
        self.set_stale(env, false);
        if self.mobility.as_ref().is_some_and(|mobility| mobility.probing) {
            // it is back, or others are: what waits for an answer is sent now
            self.probe(env, Wants::ANSWER);
        } else if address && self.has_news(env) {
            log!(IKE, 1, "sending address list update using MOBIKE");
            self.want(env, Wants::LIST);
        } else if env.settings.check_current_path && self.exchanges.request.is_none() {
            log!(IKE, 1, "checking if current path still works using DPD");
            self.check_liveness(env);
        }
    }

    /// The path in use cannot be used any more, or is not to be.
    fn leave_path(&mut self, env: &mut Env<'_>, address: bool) {
        let remote = self.remote.ip();
        let Some(source) = self.find_source(env) else {
            log!(IKE, 1, "no route found to reach {remote}, MOBIKE update deferred");
            self.set_stale(env, true);
            return self.defer(env);
        };
        let original = self.conditions.contains(Conditions::ORIGINAL_INITIATOR);
        match (self.uses_mobike(), original) {
            (true, true) => {
                log!(IKE, 1, "requesting address change using MOBIKE");
                self.set_stale(env, false);
                self.probe(env, Wants::ANSWER);
            }
            (true, false) => {
                log!(IKE, 1, "sending address list update using MOBIKE, implicitly requesting an address change");
                self.set_stale(env, false);
                self.probe(env, if address || self.has_news(env) { Wants::LIST } else { Wants::ANSWER });
            }
            (false, true) => {
                log!(IKE, 1, "reauthenticating IKE_SA due to address change");
                self.set_stale(env, false);
                self.local.set_ip(source);
                self.conditions |= Conditions::DISPLACED;
                self.reauthenticate(env);
            }
            // only the initiator can set up a new IKE_SA; until it does there is no way to it that works
            (false, false) => self.set_stale(env, true),
        }
    }

    /// Our address on any path to the peer.
    fn find_source(&self, env: &Env<'_>) -> Option<IpAddr> {
        if self.uses_mobike() {
            return self.paths(env).first().map(|path| path.local.ip());
        }
        log!(IKE, 1, "looking for a route to {} ...", self.remote.ip());
        env.kernel.source_address(self.remote.ip(), None)
    }

    /// Records whether there is a way to the peer.
    pub(crate) fn set_stale(&mut self, env: &Env<'_>, stale: bool) {
        let was = self.conditions.contains(Conditions::STALE);
        self.conditions.set(Conditions::STALE, stale);
        if was && !stale && self.conditions.contains(Conditions::NAT_HERE) {
            self.timers.set(Timer::Keepalive, env.now);
        }
    }
}
