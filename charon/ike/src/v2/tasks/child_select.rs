//! Which child configuration serves the selectors a peer asks for (spec daemon.md §7.3).

use std::sync::Arc;

use strongswan::log;
use strongswan::selectors::{TrafficSelector, resolve};

use crate::config::{ChildConfig, PeerConfig};
use crate::sa::{DynamicHosts, Selectors};

/// What is asked for, from our side.
pub(super) struct Wanted<'a> {
    /// Selectors of our side.
    pub(super) local: &'a [TrafficSelector],
    /// Selectors of the peer's side.
    pub(super) remote: &'a [TrafficSelector],
    /// What `dynamic` means.
    pub(super) hosts: &'a DynamicHosts,
}

/// A selector asked for early weighs more; so does one that is configured exactly.
fn weight(configured: &[TrafficSelector], received: &[TrafficSelector]) -> usize {
    let mut sum: usize = 0;
    for (index, received_ts) in received.iter().enumerate() {
        let round = received.len().saturating_sub(index);
        for configured in configured {
            let value: usize =
                if configured == received_ts { 5 } else { usize::from(configured.intersection(received_ts).is_some()) };
            sum = sum.saturating_add(value.saturating_mul(round));
        }
    }
    sum
}

/// The best matching child of those that are acceptable; the first one on ties.
pub(super) fn select(
    peer: &PeerConfig,
    wanted: &Wanted<'_>,
    accept: &dyn Fn(&ChildConfig) -> bool,
) -> Option<Arc<ChildConfig>> {
    log!(CFG, 2, "looking for a child config for {}", Selectors(wanted.local, wanted.remote));
    let mut best: Option<(usize, &Arc<ChildConfig>)> = None;
    for child in peer.children.iter().filter(|child| !child.mode.is_shunt() && accept(child)) {
        let local = weight(&resolve(&child.local_ts, &wanted.hosts.local), wanted.local);
        let remote = weight(&resolve(&child.remote_ts, &wanted.hosts.remote), wanted.remote);
        if local == 0 || remote == 0 {
            continue;
        }
        log!(CFG, 2, "  candidate \"{}\" with prio {local}+{remote}", child.name);
        let sum = local.saturating_add(remote);
        if best.is_none_or(|(other, _)| sum > other) {
            best = Some((sum, child));
        }
    }
    let (sum, child) = best?;
    log!(CFG, 2, "found matching child config \"{}\" with prio {sum}", child.name);
    Some(Arc::clone(child))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IkeConfig;

    fn ts(text: &str) -> TrafficSelector {
        TrafficSelector::parse(text).unwrap()
    }

    fn child(name: &str, local: &str, remote: &str) -> Arc<ChildConfig> {
        Arc::new(ChildConfig { local_ts: vec![ts(local)], remote_ts: vec![ts(remote)], ..ChildConfig::new(name) })
    }

    fn selected(local: &str, remote: &str) -> Option<String> {
        let mut peer = PeerConfig::new("gw", Arc::new(IkeConfig::default()));
        peer.children = vec![
            child("wide", "10.0.0.0/8", "0.0.0.0/0"),
            child("exact", "10.1.0.0/16", "10.2.0.0/16"),
            child("host", "dynamic", "dynamic"),
        ];
        let (local, remote) = ([ts(local)], [ts(remote)]);
        let hosts =
            DynamicHosts { local: vec!["192.0.2.1".parse().unwrap()], remote: vec!["192.0.2.2".parse().unwrap()] };
        let wanted = Wanted { local: &local, remote: &remote, hosts: &hosts };
        select(&peer, &wanted, &|_| true).map(|child| child.name.to_string())
    }

    #[test]
    fn exact_matches_win_over_overlaps() {
        assert_eq!(selected("10.1.0.0/16", "10.2.0.0/16").as_deref(), Some("exact"));
        assert_eq!(selected("10.9.0.0/16", "10.2.0.0/16").as_deref(), Some("wide"));
        assert_eq!(selected("192.0.2.1", "192.0.2.2").as_deref(), Some("host"));
        assert_eq!(selected("172.16.0.0/12", "10.2.0.0/16"), None);
    }
}
