//! How well a connection fits addresses and identities, and in which order candidates are tried.

use std::net::SocketAddr;

use ike::config::{AuthRound, IkeConfig, IkeVersion};
use strongswan::host::HostSpec;
use strongswan::identity::{Identity, Match};

use super::names::Names;

/// Fitness of an [`IkeConfig`] for a message between two addresses; 0 is not at all.
pub(super) fn ike_score(
    config: &IkeConfig,
    local: SocketAddr,
    remote: SocketAddr,
    major: u8,
    ike_port: u16,
    names: &dyn Names,
) -> u32 {
    if !config.version.allows(major) {
        return 0;
    }
    let local_port = if config.local_port == 0 { ike_port } else { config.local_port };
    let here = side_quality(&config.local_addrs, local, local_port, names);
    let there = side_quality(&config.remote_addrs, remote, config.remote_port, names);
    if here == 0 || there == 0 {
        return 0;
    }
    let version = if config.version == IkeVersion::Any { 0 } else { 4 };
    here * 8 + there * 16 + version
}

/// Which of the three that [`ike_score`] weighs do fit: the version, our address, the peer's.
pub(super) fn ike_fits(
    config: &IkeConfig,
    local: SocketAddr,
    remote: SocketAddr,
    major: u8,
    names: &dyn Names,
) -> [bool; 3] {
    let here = side_quality(&config.local_addrs, local, config.local_port, names);
    let there = side_quality(&config.remote_addrs, remote, config.remote_port, names);
    [config.version.allows(major), here > 0, there > 0]
}

/// The best of a side's entries, one more if the configured port is the one in use.
fn side_quality(specs: &[HostSpec], address: SocketAddr, port: u16, names: &dyn Names) -> u32 {
    let any = [HostSpec::Any(None)];
    let specs = if specs.is_empty() { &any } else { specs };
    let best = specs.iter().map(|spec| spec.quality(address.ip(), |name| names.addresses(name))).max().unwrap_or(0);
    if best == 0 { 0 } else { u32::from(best) + u32::from(port == address.port()) }
}

/// How well an identity fits the first authentication round of a side. A peer may know itself as a pattern of what we
/// have configured, hence both directions.
pub(super) fn id_match(id: Option<&Identity>, rounds: &[AuthRound]) -> Match {
    let Some(configured) = rounds.first().and_then(|round| round.id.as_ref()) else { return Match::ANY };
    let Some(id) = id else { return Match::ANY };
    let found = id.matches(configured);
    if found.is_match() { found } else { configured.matches(id) }
}

/// A candidate and its two figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate<T> {
    pub(super) value: T,
    pub(super) ike: u32,
    pub(super) peer: u32,
}

/// Orders candidates, which come in load order: each goes before the first it dominates, that is one it beats in one
/// figure without losing in the other.
pub(super) fn rank<T>(candidates: Vec<Candidate<T>>) -> Vec<T> {
    let mut ranked: Vec<Candidate<T>> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let dominates = |other: &Candidate<T>| {
            (candidate.ike > other.ike && candidate.peer >= other.peer)
                || (candidate.ike >= other.ike && candidate.peer > other.peer)
        };
        // mostly equals follow each other, so that the search from the front does not become quadratic
        let place = match ranked.last() {
            Some(last) if last.ike == candidate.ike && last.peer == candidate.peer => ranked.len(),
            _ => ranked.iter().position(dominates).unwrap_or(ranked.len()),
        };
        ranked.insert(place, candidate);
    }
    ranked.into_iter().map(|candidate| candidate.value).collect()
}

#[cfg(test)]
mod tests {
    use super::super::names::NoNames;
    use super::*;

    fn score(config: &IkeConfig, local: &str, remote: &str) -> u32 {
        ike_score(config, local.parse().unwrap(), remote.parse().unwrap(), 2, 500, &NoNames)
    }

    fn hosts(specs: &[&str]) -> Vec<HostSpec> {
        specs.iter().map(|spec| HostSpec::parse(spec)).collect()
    }

    #[test]
    fn scores_are_those_of_the_specification() {
        let any = IkeConfig::default();
        assert_eq!(score(&any, "192.0.2.1:500", "192.0.2.2:500"), 2 * 8 + 2 * 16);
        assert_eq!(score(&any, "192.0.2.1:4500", "192.0.2.2:4500"), 8 + 16);
        let exact = IkeConfig {
            version: IkeVersion::V2,
            local_addrs: hosts(&["192.0.2.1"]),
            remote_addrs: hosts(&["10.0.0.0/8", "192.0.2.2"]),
            ..IkeConfig::default()
        };
        assert_eq!(score(&exact, "192.0.2.1:500", "192.0.2.2:500"), 130 * 8 + 130 * 16 + 4);
        assert_eq!(score(&exact, "192.0.2.1:500", "10.1.1.1:500"), 130 * 8 + 10 * 16 + 4);
        assert_eq!(score(&exact, "192.0.2.9:500", "192.0.2.2:500"), 0);
        assert_eq!(score(&IkeConfig { version: IkeVersion::V1, ..any }, "192.0.2.1:500", "192.0.2.2:500"), 0);
    }

    #[test]
    fn identities_match_in_both_directions() {
        let round = |id: &str| [AuthRound { id: Some(Identity::parse(id)), ..AuthRound::default() }];
        let alice = Identity::parse("alice@example.org");
        assert_eq!(id_match(Some(&alice), &round("alice@example.org")), Match::PERFECT);
        assert_eq!(id_match(Some(&alice), &round("*@example.org")), Match::ONE_WILDCARD);
        assert_eq!(id_match(Some(&Identity::parse("*@example.org")), &round("alice@example.org")), Match::ONE_WILDCARD);
        assert_eq!(id_match(Some(&alice), &round("bob@example.org")), Match::NONE);
        assert_eq!(id_match(None, &round("bob@example.org")), Match::ANY);
        assert_eq!(id_match(Some(&alice), &[AuthRound::default()]), Match::ANY);
    }

    #[test]
    fn ranking_prefers_what_dominates_and_keeps_load_order() {
        let ranked = |figures: &[(u32, u32)]| {
            let candidates = figures.iter().enumerate();
            rank(candidates.map(|(value, (ike, peer))| Candidate { value, ike: *ike, peer: *peer }).collect())
        };
        assert_eq!(ranked(&[(10, 2), (10, 2), (10, 2)]), [0, 1, 2]);
        assert_eq!(ranked(&[(10, 2), (10, 40), (20, 2)]), [1, 2, 0]);
        assert_eq!(ranked(&[(10, 40), (20, 2)]), [0, 1]);
        assert_eq!(ranked(&[(1, 1), (2, 2), (2, 2), (1, 1), (3, 3)]), [4, 1, 2, 0, 3]);
    }
}
