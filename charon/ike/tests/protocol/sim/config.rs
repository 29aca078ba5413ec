//! Loaded connections of a host, and the ones most tests use.

use std::net::SocketAddr;
use std::sync::Arc;

use ike::ConfigSource;
use ike::config::{AuthClass, AuthRound, ChildConfig, IkeConfig, PeerConfig};
use ike::explain::{Asker, Near, Wanted};
use strongswan::clock::MonoTime;
use strongswan::crypto::{Proposal, Protocol};
use strongswan::host::HostSpec;
use strongswan::identity::Identity;
use strongswan::selectors::TrafficSelector;

/// The connections of a host, best first.
#[derive(Debug, Default)]
pub struct Connections(pub Vec<Arc<PeerConfig>>);

impl ConfigSource for Connections {
    fn ike_configs(&self, _local: SocketAddr, _remote: SocketAddr, major: u8) -> Vec<Arc<IkeConfig>> {
        self.0.iter().map(|peer| Arc::clone(&peer.ike)).filter(|ike| ike.version.allows(major)).collect()
    }

    fn peer_configs(
        &self,
        _local: SocketAddr,
        _remote: SocketAddr,
        me: Option<&Identity>,
        other: Option<&Identity>,
        _major: u8,
    ) -> Vec<Arc<PeerConfig>> {
        let fits = |wanted: Option<&Identity>, rounds: &[AuthRound]| match (wanted, rounds.first()) {
            (Some(wanted), Some(AuthRound { id: Some(id), .. })) => wanted.matches(id).is_match(),
            _ => true,
        };
        let fitting = self.0.iter().filter(|peer| fits(me, &peer.local) && fits(other, &peer.remote));
        fitting.cloned().collect()
    }

    fn nearest(&self, wanted: &Wanted<'_>, limit: usize) -> Vec<Near> {
        let fits = |wanted: Option<&Identity>, rounds: &[AuthRound]| match (wanted, rounds[0].id.as_ref()) {
            (Some(wanted), Some(id)) => wanted.matches(id).is_match(),
            _ => true,
        };
        let near = |config: &Arc<PeerConfig>| Near {
            config: Arc::clone(config),
            version: config.ike.version.allows(wanted.major),
            local: true,
            remote: true,
            me: fits(wanted.me, &config.local),
            other: fits(wanted.other, &config.remote),
        };
        let mut all: Vec<_> = self.0.iter().map(near).collect();
        all.sort_by_key(|near| std::cmp::Reverse(near.score()));
        all.truncate(limit);
        all
    }

    fn may_explain(&self, _asker: Asker, _now: MonoTime) -> Option<u64> {
        Some(0)
    }

    fn loaded(&self, name: &str) -> Option<Arc<PeerConfig>> {
        self.0.iter().find(|peer| &*peer.name == name).cloned()
    }
}

/// One end of a connection under construction.
#[derive(Debug, Clone)]
pub struct End {
    pub id: &'static str,
    pub address: &'static str,
    pub subnet: &'static str,
}

/// The two gateways of all tests.
pub const MOON: End = End { id: "moon.strongswan.org", address: "192.0.2.1", subnet: "10.1.0.0/16" };
pub const SUN: End = End { id: "sun.strongswan.org", address: "192.0.2.2", subnet: "10.2.0.0/16" };

/// A connection from `local` to `remote` with pre-shared keys and one child `net`.
pub fn connection(local: &End, remote: &End) -> PeerConfig {
    let ike = IkeConfig {
        local_addrs: vec![HostSpec::parse(local.address)],
        remote_addrs: vec![HostSpec::parse(remote.address)],
        proposals: ike_proposals("aes128gcm16-prfsha256-x25519"),
        ..IkeConfig::default()
    };
    let mut peer = PeerConfig::new("gw", Arc::new(ike));
    peer.mobike = false;
    peer.local = vec![psk(local)];
    peer.remote = vec![psk(remote)];
    peer.children = vec![Arc::new(child("net", local, remote))];
    peer
}

/// An authentication round with a pre-shared key.
fn psk(end: &End) -> AuthRound {
    AuthRound { class: AuthClass::Psk, id: Some(Identity::parse(end.id)), ..AuthRound::default() }
}

/// A CHILD_SA between the subnets of two ends.
pub fn child(name: &str, local: &End, remote: &End) -> ChildConfig {
    let ts = |end: &End| vec![TrafficSelector::parse(end.subnet).unwrap()];
    ChildConfig {
        proposals: esp_proposals("aes128gcm16-x25519"),
        local_ts: ts(local),
        remote_ts: ts(remote),
        ..ChildConfig::new(name)
    }
}

/// A list of IKE proposals, separated by commas.
pub fn ike_proposals(text: &str) -> Vec<Proposal> {
    text.split(',').map(|text| Proposal::parse(Protocol::Ike, text).unwrap()).collect()
}

/// A list of ESP proposals, separated by commas.
pub fn esp_proposals(text: &str) -> Vec<Proposal> {
    text.split(',').map(|text| Proposal::parse(Protocol::Esp, text).unwrap()).collect()
}
