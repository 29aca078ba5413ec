//! Where the peer is: addresses, NATs, and what follows when they change (RFC 7296 §2.23, spec §9).

use std::net::SocketAddr;
use std::time::Duration;

use strongswan::crypto::Protocol;
use strongswan::log;

use super::{Conditions, Endpoints, IkeSa, IkeSaState, Timer};
use crate::env::Env;
use crate::ids::Spi;
use crate::kernel::{Direction, Features};
use crate::output::{Event, Output, Transmit};

/// The port of regular IKE.
const IKE_PORT: u16 = 500;
/// The port a peer listens on for NAT traversal (RFC 7296 §2.23).
const NATT_PORT: u16 = 4500;
/// Content of a NAT keepalive (RFC 3948 §2.3).
const KEEPALIVE: [u8; 1] = [0xff];

impl IkeSa {
    /// Adopts the addresses of an authenticated (or first) message where that is allowed.
    pub(crate) fn update_hosts(
        &mut self,
        env: &mut Env<'_>,
        local: SocketAddr,
        remote: SocketAddr,
        force_local: bool,
        force_remote: bool,
    ) {
        let unknown = |host: SocketAddr| host.ip().is_unspecified();
        if unknown(self.local) || unknown(self.remote) {
            if unknown(self.local) {
                self.local = local;
            }
            if unknown(self.remote) {
                self.remote = remote;
            }
            return;
        }
        let here = self.conditions.contains(Conditions::NAT_HERE);
        let there = self.conditions.contains(Conditions::NAT_THERE);
        let original = self.conditions.contains(Conditions::ORIGINAL_INITIATOR);
        if self.uses_mobike() {
            // the peer says so when addresses change (RFC 4555 §3.8)
            return;
        }
        // the side behind a NAT knows best where it is reached; the other one follows
        let follow = there && !(here && original);
        let new_local = if force_local { local } else { self.local };
        let new_remote = if force_remote || follow { remote } else { self.remote };
        self.change_hosts(env, new_local, new_remote);
    }

    pub(super) fn change_hosts(&mut self, env: &mut Env<'_>, local: SocketAddr, remote: SocketAddr) {
        if (local, remote) == (self.local, self.remote) {
            return;
        }
        let established = self.state() == IkeSaState::Established;
        for (side, old, new) in [("local", self.local, local), ("remote", self.remote, remote)] {
            match (old == new, established) {
                (true, _) => {}
                (false, true) => log!(IKE, 1, "{side} endpoint changed from {} to {}", Host(old), Host(new)),
                (false, false) => log!(IKE, 2, "{side} endpoint changed from {} to {}", Host(old), Host(new)),
            }
        }
        let ike = std::sync::Arc::new(self.summary());
        self.event(Event::IkeUpdate { ike, local, remote });
        self.local = local;
        self.remote = remote;
        self.update_children(env);
    }

    /// Moves the CHILD_SAs to the current addresses; those the data plane cannot move are rekeyed.
    pub(crate) fn update_children(&mut self, env: &mut Env<'_>) {
        let endpoints = self.endpoints();
        let mut stuck = Vec::new();
        for child in &mut self.children {
            if child.endpoints != endpoints && child.update_endpoints(env, endpoints).is_err() {
                stuck.push(child.unique_id);
            }
        }
        for child in stuck {
            self.rekey_child(env, child);
        }
    }

    /// Outer addresses of new CHILD_SAs.
    pub(crate) fn endpoints(&self) -> Endpoints {
        Endpoints { local: self.local, remote: self.remote, encap: self.conditions.nat_any() }
    }

    /// The data plane saw the peer's packets come from elsewhere.
    pub(super) fn mapping_changed(&mut self, env: &mut Env<'_>, protocol: Protocol, spi: Spi, remote: SocketAddr) {
        let known = self.children.iter().any(|child| child.protocol == protocol && child.spi_in == Some(spi));
        // only a peer behind a NAT moves without telling, and what comes from where it was before is late
        let moved = remote.is_ipv6() == self.remote.is_ipv6() && !self.was_at(remote);
        if known && moved && self.conditions.contains(Conditions::NAT_THERE) {
            self.change_hosts(env, self.local, remote);
        }
    }

    /// Records what NAT detection found.
    pub(crate) fn set_nat(&mut self, env: &Env<'_>, here: bool, there: bool) {
        let before = self.conditions;
        self.conditions.set(Conditions::NAT_HERE, here);
        self.conditions.set(Conditions::NAT_THERE, there);
        if here && !before.contains(Conditions::NAT_HERE) {
            log!(IKE, 1, "local host is behind NAT, sending keep alives");
            self.arm_keepalive(env);
        }
        if there && !before.contains(Conditions::NAT_THERE) {
            log!(IKE, 1, "remote host is behind NAT");
        }
        let fake = !here && !there && self.forces_encap(env);
        if fake && !before.contains(Conditions::NAT_FAKE) {
            log!(IKE, 1, "faking NAT situation to enforce UDP encapsulation");
        }
        self.conditions.set(Conditions::NAT_FAKE, fake);
    }

    /// Whether a NAT is to be faked.
    pub(crate) fn forces_encap(&self, env: &Env<'_>) -> bool {
        self.ike_config().is_some_and(|config| config.encap)
            || env.kernel.features().contains(Features::REQUIRE_UDP_ENCAPSULATION)
    }

    /// Moves to the ports for NAT traversal.
    pub(crate) fn float_ports(&mut self, env: &Env<'_>) {
        if self.remote.port() == IKE_PORT || self.local.port() == IKE_PORT {
            self.remote.set_port(NATT_PORT);
        }
        if self.local.port() == env.settings.port {
            self.local.set_port(env.settings.port_nat_t);
        }
    }

    /// A peer on another port than 500 expects messages with non-ESP marker: they go out from the port for them.
    pub(crate) fn float_source(&mut self, env: &Env<'_>) {
        if self.remote.port() != IKE_PORT && self.local.port() == env.settings.port {
            self.local.set_port(env.settings.port_nat_t);
        }
    }

    fn arm_keepalive(&mut self, env: &Env<'_>) {
        if !env.settings.keep_alive.is_zero() {
            self.timers.set(Timer::Keepalive, env.now + env.settings.keep_alive);
        }
    }

    /// A keepalive may be due.
    pub(super) fn keepalive(&mut self, env: &mut Env<'_>) {
        let interval = env.settings.keep_alive;
        let wanted = self.conditions.contains(Conditions::NAT_HERE) && !self.conditions.contains(Conditions::STALE);
        if interval.is_zero() || !wanted {
            return;
        }
        let idle = self.outbound_idle(env);
        if idle < interval {
            self.timers.set(Timer::Keepalive, env.now + interval.saturating_sub(idle));
            return;
        }
        let margin = env.settings.keep_alive_dpd_margin;
        if !margin.is_zero() && idle.saturating_sub(interval) > margin && self.state() == IkeSaState::Established {
            log!(IKE, 1, "sending DPD instead of keep alive {}s after last outbound message", idle.as_secs());
            self.check_liveness(env);
        } else {
            log!(IKE, 1, "sending keep alive to {}", Host(self.remote));
            let (local, remote) = (self.local, self.remote);
            let dscp = self.ike_config().map_or(0, |config| config.dscp);
            self.push(Output::Send(Transmit { local, remote, data: KEEPALIVE.to_vec(), keepalive: true, dscp }));
            self.last_outbound = env.now;
        }
        self.arm_keepalive(env);
    }

    /// Time since anything was sent to the peer, ESP included if it takes the same way.
    fn outbound_idle(&self, env: &Env<'_>) -> Duration {
        let ike = env.now.saturating_since(self.last_outbound);
        if self.conditions.nat_any() { self.idle(env, Direction::Out).map_or(ike, |esp| esp.min(ike)) } else { ike }
    }

    /// Time since the last packet of any CHILD_SA in one direction.
    pub(super) fn idle(&self, env: &Env<'_>, direction: Direction) -> Option<Duration> {
        self.children.iter().filter_map(|child| child.usage(env, direction)?.idle).min()
    }
}

/// An endpoint in log notation: `192.0.2.1[500]`.
pub(crate) struct Host(pub(crate) SocketAddr);

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.0.ip(), self.0.port())
    }
}
