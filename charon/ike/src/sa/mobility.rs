//! What MOBIKE keeps of an IKE_SA (RFC 4555): where else the peer can be reached, what it knows of us, and which paths
//! are being tried.
//!
//! While `probing`, a request goes over every path, and the first answer decides which one is used. Any request does:
//! one that was in the air when addresses changed as well as the empty one that is sent if there was none. Only then is
//! the peer told, by the side that initiated the IKE_SA; the other one can but list its addresses (§3.5, §3.6).

use std::net::{IpAddr, SocketAddr};

use strongswan::log;

use super::{Conditions, IkeSa, IkeSaState};
use crate::env::Env;
use crate::task::TaskType;
use crate::v2::tasks;

/// Further addresses that we announce, as strongSwan does.
const MAX_ADDITIONAL: usize = 8;
/// Further addresses of the peer that we keep: each is probed.
const MAX_PEER_ADDRESSES: usize = 16;
/// Where other addresses of a peer are tried (RFC 4555 §3.3).
const NATT_PORT: u16 = 4500;

bitflags::bitflags! {
    /// What the next MOBIKE exchange is for. Nothing but to get an answer, if none of these.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Wants: u8 {
        /// An answer.
        const ANSWER = 1;
        /// The peer gets our list of addresses.
        const LIST = 1 << 1;
        /// The peer moves to our addresses.
        const UPDATE = 1 << 2;
        /// NATs on the path are looked for.
        const NATD = 1 << 3;
    }
}

/// A pair of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// State of MOBIKE. An IKE_SA that has none does not use it.
#[derive(Debug, Default)]
pub(crate) struct Mobility {
    /// Addresses of the peer besides the one in use.
    peer: Vec<IpAddr>,
    /// The addresses of ours that the peer was told last.
    announced: Vec<IpAddr>,
    /// What the next exchange is for.
    wants: Wants,
    /// What the exchange in the air is for.
    under_way: Wants,
    /// Requests go over every path until one is answered.
    pub(crate) probing: bool,
    /// The peer has not confirmed our addresses (RFC 4555 §3.5, `pending_update`).
    update_pending: bool,
    /// What the peer says about our address as it sees it.
    mapping: Option<[u8; 20]>,
    /// Paths that the peer does not want.
    refused: Vec<Path>,
    /// Where the peer was before it said that it moved.
    left: Option<SocketAddr>,
    /// Where the peer was heard from since the request in the air was made: an answer from elsewhere is older than that.
    heard_from: Option<IpAddr>,
}

/// Whether an address may be that of a host: nobody has us send to many, or to whomever.
pub(crate) fn is_host(address: &IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}

impl IkeSa {
    /// Whether addresses may change by MOBIKE.
    pub(crate) fn uses_mobike(&self) -> bool {
        self.mobility.is_some()
    }

    /// Both sides support MOBIKE.
    pub(crate) fn enable_mobike(&mut self) {
        self.mobility.get_or_insert_default();
    }

    /// The path in use.
    pub(crate) fn path(&self) -> Path {
        Path { local: self.local, remote: self.remote }
    }

    /// Addresses of ours besides the one in use.
    pub(crate) fn additional_addresses(&self, env: &Env<'_>) -> Vec<IpAddr> {
        let virtual_ips = self.local_vips();
        let all = env.kernel.local_addresses().into_iter();
        all.filter(|address| *address != self.local.ip() && !virtual_ips.contains(address))
            .take(MAX_ADDITIONAL)
            .collect()
    }

    /// Records what the peer is told about our addresses.
    pub(crate) fn announce(&mut self, addresses: Vec<IpAddr>) {
        if let Some(mobility) = &mut self.mobility {
            mobility.announced = addresses;
        }
    }

    /// Whether the peer's idea of our addresses is out of date.
    pub(super) fn has_news(&self, env: &Env<'_>) -> bool {
        let announced = self.mobility.as_ref().map(|mobility| &mobility.announced);
        announced.is_some_and(|announced| *announced != self.additional_addresses(env))
    }

    /// The peer told us its further addresses.
    pub(crate) fn set_peer_addresses(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        if let Some(mobility) = &mut self.mobility {
            mobility.peer = addresses.filter(is_host).take(MAX_PEER_ADDRESSES).collect();
        }
    }

    /// The peer, which may not say it in another way, lists its addresses over a path that is not the one we use.
    pub(crate) fn peer_moved(&mut self, env: &mut Env<'_>, remote: IpAddr) {
        let Some(mobility) = &mut self.mobility else { return };
        if remote != self.remote.ip() && !mobility.peer.contains(&remote) {
            mobility.peer.insert(0, remote);
        }
        // it is told which of its addresses we use, even if that stays the same
        mobility.update_pending = true;
        mobility.heard_from = self.exchanges.request.is_some().then_some(remote);
        if remote != self.remote.ip() {
            log!(IKE, 1, "remote address changed from {} to {remote}, checking paths", self.remote.ip());
        }
        self.probe(env, Wants::ANSWER);
    }

    /// Asks for a MOBIKE exchange.
    pub(crate) fn want(&mut self, env: &Env<'_>, wants: Wants) {
        let Some(mobility) = &mut self.mobility else { return };
        mobility.wants |= wants;
        mobility.update_pending |= wants.contains(Wants::UPDATE);
        if !self.exchanges.is_queued(TaskType::IkeMobike) {
            self.queue(env, Box::new(tasks::MobikeInitiator::default()));
        }
    }

    /// What the exchange that starts is for. Which addresses the peer is to use is not known as long as paths are tried.
    pub(crate) fn take_wants(&mut self, env: &Env<'_>) -> Wants {
        let news = self.has_news(env);
        let Some(mobility) = &mut self.mobility else { return Wants::empty() };
        let mut wants = std::mem::take(&mut mobility.wants);
        if mobility.probing && wants.intersects(Wants::UPDATE | Wants::NATD) {
            wants -= Wants::UPDATE | Wants::NATD;
            wants |= Wants::ANSWER;
        }
        if wants.contains(Wants::UPDATE) && news {
            wants |= Wants::LIST;
        }
        mobility.under_way = wants;
        wants
    }

    /// The exchange is over; true if the peer is known to use the path `asked` for, which is still ours.
    pub(crate) fn end_of_exchange(&mut self, asked: Option<Path>) -> bool {
        let still = asked == Some(self.path());
        let Some(mobility) = &mut self.mobility else { return false };
        let under_way = std::mem::take(&mut mobility.under_way);
        let confirmed = still && under_way.contains(Wants::UPDATE);
        // another one may be queued by now
        mobility.update_pending &= !confirmed || mobility.wants.contains(Wants::UPDATE);
        still && under_way.intersects(Wants::UPDATE | Wants::NATD)
    }

    /// Records what the peer says about our address as it sees it; true if that is something new.
    pub(crate) fn learn_mapping(&mut self, mapping: [u8; 20]) -> bool {
        let Some(mobility) = &mut self.mobility else { return false };
        mobility.mapping.replace(mapping).is_some_and(|before| before != mapping)
    }

    /// Sends the request in the air, or one that asks for `wants`, over every path until one is answered.
    pub(crate) fn probe(&mut self, env: &mut Env<'_>, wants: Wants) {
        if let Some(mobility) = &mut self.mobility {
            mobility.refused.clear();
            self.try_paths(env, wants);
        }
    }

    fn try_paths(&mut self, env: &mut Env<'_>, wants: Wants) {
        if let Some(mobility) = &mut self.mobility {
            mobility.probing = true;
        }
        if self.exchanges.request.is_none() {
            return self.want(env, wants);
        }
        if wants != Wants::ANSWER {
            self.want(env, wants);
        }
        self.send_again(env);
    }

    /// There is no way to the peer: what is to be sent waits until there is one.
    pub(super) fn defer(&mut self, env: &mut Env<'_>) {
        let Some(mobility) = &mut self.mobility else { return };
        mobility.probing = true;
        self.send_again(env);
    }

    /// Every path there is: from the best source, and from the one in use if it can be used, to each of the peer's
    /// addresses. An address that stays keeps its port.
    pub(crate) fn paths(&self, env: &Env<'_>) -> Vec<Path> {
        let mut paths = Vec::new();
        let Some(mobility) = &self.mobility else { return paths };
        let current = self.path();
        for to in std::iter::once(&current.remote.ip()).chain(&mobility.peer).copied() {
            let remote = if to == current.remote.ip() { current.remote } else { SocketAddr::new(to, NATT_PORT) };
            let stay = Some(current.local.ip()).filter(|_| !env.settings.prefer_best_path);
            let sources = [env.kernel.source_address(to, None), stay.and_then(|_| env.kernel.source_address(to, stay))];
            for from in sources.into_iter().flatten() {
                let local = if from == current.local.ip() {
                    current.local
                } else {
                    SocketAddr::new(from, env.settings.port_nat_t)
                };
                let path = Path { local, remote };
                if !paths.contains(&path) && !mobility.refused.contains(&path) {
                    paths.push(path);
                }
            }
        }
        paths
    }

    /// Our request was answered over a path: that one works. `tried` are those it was sent over.
    pub(crate) fn path_answered(&mut self, env: &mut Env<'_>, path: Path, tried: &[Path]) {
        let current = self.path();
        let Some(mobility) = &mut self.mobility else { return };
        // an answer from where nothing was sent to says nothing about whether that place is reached
        if path != current && !tried.contains(&path) {
            return;
        }
        if tried.iter().any(|other| *other != path) {
            // which of the copies the peer followed is not known
            mobility.under_way -= Wants::UPDATE;
        }
        let outdated = mobility.heard_from.take().is_some_and(|from| from != path.remote.ip());
        mobility.probing = outdated;
        self.set_stale(env, false);
        if outdated {
            return self.want(env, Wants::ANSWER);
        }
        if path != current {
            self.change_hosts(env, path.local, path.remote);
            let original = self.conditions.contains(Conditions::ORIGINAL_INITIATOR);
            if original {
                self.want(env, Wants::UPDATE);
            } else {
                // the initiator decides (RFC 4555 §3.2): it has to see where this comes from, and where it goes to
                self.want(env, Wants::LIST);
            }
        }
    }

    /// The peer told us which addresses to use.
    pub(crate) fn moved_by_peer(&mut self, env: &mut Env<'_>, path: Path) {
        let before = self.remote;
        self.set_stale(env, false);
        self.change_hosts(env, path.local, path.remote);
        let Some(mobility) = &mut self.mobility else { return };
        mobility.left = Some(before).filter(|before| *before != path.remote);
        if std::mem::take(&mut mobility.probing) {
            // what is in the air gets through now
            self.send_again(env);
        }
    }

    /// Whether the peer said that it has left this address.
    pub(super) fn was_at(&self, remote: SocketAddr) -> bool {
        self.mobility.as_ref().is_some_and(|mobility| mobility.left == Some(remote))
    }

    /// The peer refuses the path that we moved to: others are tried.
    pub(crate) fn path_refused(&mut self, env: &mut Env<'_>, path: Path) {
        let Some(mobility) = &mut self.mobility else { return };
        mobility.update_pending = false;
        if !mobility.refused.contains(&path) {
            mobility.refused.push(path);
        }
        if self.paths(env).is_empty() {
            log!(IKE, 1, "peer accepts none of our addresses");
        } else {
            self.try_paths(env, Wants::ANSWER);
        }
    }

    /// An update that was overtaken by something else is sent once more.
    pub(super) fn pursue_update(&mut self, env: &Env<'_>) {
        let owed = self.mobility.as_ref().is_some_and(|mobility| mobility.update_pending && !mobility.probing);
        let busy = self.exchanges.is_queued(TaskType::IkeMobike) || self.exchanges.is_active(TaskType::IkeMobike);
        if owed && !busy && self.state() == IkeSaState::Established {
            self.want(env, Wants::UPDATE);
        }
    }

    /// Takes over from the IKE_SA that this one replaces; what that one did not finish is done here.
    pub(crate) fn inherit_path(&mut self, env: &Env<'_>, old: &mut Self) {
        let nat = Conditions::NAT_HERE | Conditions::NAT_THERE | Conditions::NAT_FAKE | Conditions::STALE;
        self.conditions = (self.conditions - nat) | (old.conditions & nat);
        (self.local, self.remote) = (old.local, old.remote);
        let Some(mobility) = &mut old.mobility else { return };
        let mut unfinished = mobility.wants | mobility.under_way;
        if mobility.probing {
            unfinished |= Wants::ANSWER;
        }
        // the old one goes on to its end as it is
        let own = Mobility {
            peer: mobility.peer.clone(),
            announced: mobility.announced.clone(),
            probing: mobility.probing,
            update_pending: mobility.update_pending,
            refused: mobility.refused.clone(),
            ..Mobility::default()
        };
        **mobility = Mobility::default();
        self.mobility = Some(Box::new(own));
        if !unfinished.is_empty() {
            self.want(env, unfinished);
        }
    }
}
