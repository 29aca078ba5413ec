//! The security policy database (RFC 4301 §4.4.1), outbound: which bundle of SAs protects a packet.
//!
//! Inbound there is nothing to look up: a packet that arrived through an SA must match that SA's selectors, which
//! [`Inbound`](crate::inbound::Inbound) enforces, and packets outside ESP do not come here.
//!
//! Policies are found by the prefix of their remote addresses: one hash table, asked once for each prefix length in
//! use, so that a gateway with 10,000 hosts behind it asks once. The few policies whose remote addresses are no prefix
//! are compared one by one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use strongswan::host::Family;
use strongswan::selectors::{PortRange, TrafficSelector};
use strongswan::sync::RwLock;

use crate::ip::Flow;
use crate::sad::Bundle;
use crate::selector::{matches_destination, matches_source};

/// What to do with a packet.
#[derive(Debug, Clone)]
pub enum Action {
    /// Encapsulate with the current SA of the bundle.
    Protect(Arc<Bundle>),
    /// Let it go unprotected.
    Bypass,
    /// Drop it.
    Discard,
}

impl Action {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Protect(a), Self::Protect(b)) => a.reqid() == b.reqid(),
            (Self::Bypass, Self::Bypass) | (Self::Discard, Self::Discard) => true,
            (Self::Protect(_) | Self::Bypass | Self::Discard, _) => false,
        }
    }
}

/// Which policies win over others, whatever their selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Bypass.
    Pass,
    /// That of a CHILD_SA.
    Default,
    /// A trap.
    Routed,
    /// Drops what should be protected but is not.
    Fallback,
}

/// A policy for one pair of selectors.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Our end.
    pub local: TrafficSelector,
    /// The peer's end.
    pub remote: TrafficSelector,
    /// What it does.
    pub action: Action,
    /// Its class.
    pub class: Class,
    /// Configured priority, if any: the smallest wins.
    pub priority: Option<u32>,
}

impl Policy {
    /// Priority computed from the selectors: the more specific, the smaller, within its class.
    fn automatic(&self) -> u32 {
        let base = match self.class {
            Class::Pass => 200_000,
            Class::Default | Class::Routed => 400_000,
            Class::Fallback => 600_000,
        };
        let prefixes = u32::from(self.local.to_subnet().1) + u32::from(self.remote.to_subnet().1);
        let ports = port_bits(self.local.ports()) + port_bits(self.remote.ports());
        let protocol = self.local.protocol() != 0 || self.remote.protocol() != 0;
        base - prefixes * 512
            - if protocol { 256 } else { 0 }
            - ports * 4
            - if self.class == Class::Routed { 0 } else { 1 }
    }

    fn matches(&self, flow: &Flow) -> bool {
        matches_source(&self.local, flow) && matches_destination(&self.remote, flow)
    }

    fn same(&self, other: &Self) -> bool {
        self.local == other.local
            && self.remote == other.remote
            && self.class == other.class
            && self.priority == other.priority
            && self.action.same(&other.action)
    }
}

/// Bits that a port range fixes: 16 for a single port, none for any, else the common prefix of its ends.
fn port_bits(ports: PortRange) -> u32 {
    if ports == PortRange::ANY || ports == PortRange::OPAQUE {
        0
    } else {
        (ports.start() ^ ports.end()).leading_zeros()
    }
}

/// The smaller wins: priority, the automatic one among equals, then the newer.
type Rank = (u32, u32, Reverse<u64>);

#[derive(Debug)]
struct Installed {
    rank: Rank,
    policy: Policy,
    /// How many CHILD_SAs installed it: a rekeyed one and its successor share it for a while.
    users: u32,
}

#[derive(Debug, Default)]
struct Tables {
    /// Policies by remote prefix, each list by rank.
    prefixes: HashMap<(IpAddr, u8), Vec<Installed>>,
    /// Number of policies for each remote prefix length in use.
    lengths: BTreeMap<(Family, u8), usize>,
    /// Policies whose remote addresses are no prefix, by rank.
    ranges: Vec<Installed>,
    /// Counts installations.
    age: u64,
}

/// The database.
#[derive(Debug, Default)]
pub struct Spd {
    tables: RwLock<Tables>,
}

impl Spd {
    /// Installs a policy, or counts one more user of an equal one.
    pub fn insert(&self, policy: Policy) {
        let mut tables = self.tables.write();
        tables.age = tables.age.saturating_add(1);
        let automatic = policy.automatic();
        let rank = (policy.priority.unwrap_or(automatic), automatic, Reverse(tables.age));
        let prefix = policy.remote.addresses().to_subnet();
        let list = match prefix {
            Some(key) => tables.prefixes.entry(key).or_default(),
            None => &mut tables.ranges,
        };
        if let Some(installed) = list.iter_mut().find(|installed| installed.policy.same(&policy)) {
            installed.users = installed.users.saturating_add(1);
            return;
        }
        let index = list.partition_point(|installed| installed.rank < rank);
        list.insert(index, Installed { rank, policy, users: 1 });
        if let Some((address, length)) = prefix {
            let count = tables.lengths.entry((Family::of(address), length)).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Takes back one [`insert`](Self::insert) of an equal policy. Returns whether there was one.
    pub fn remove(&self, policy: &Policy) -> bool {
        let mut tables = self.tables.write();
        let prefix = policy.remote.addresses().to_subnet();
        let list = match prefix {
            Some(key) => tables.prefixes.get_mut(&key),
            None => Some(&mut tables.ranges),
        };
        let Some(list) = list else { return false };
        let Some(index) = list.iter().position(|installed| installed.policy.same(policy)) else { return false };
        if let Some(installed) = list.get_mut(index)
            && installed.users > 1
        {
            installed.users -= 1;
            return true;
        }
        list.remove(index);
        let empty = list.is_empty();
        if let Some((address, length)) = prefix {
            if empty {
                tables.prefixes.remove(&(address, length));
            }
            let key = (Family::of(address), length);
            match tables.lengths.get_mut(&key) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(tables.lengths.remove(&key)),
            }
        }
        true
    }

    /// What to do with a packet of this flow; `None` if no policy covers it.
    pub fn lookup(&self, flow: &Flow) -> Option<Action> {
        let tables = self.tables.read();
        let family = Family::of(flow.destination);
        let by_prefix = tables.lengths.range((family, 0)..=(family, family.bits())).filter_map(|((_, length), _)| {
            let policies = tables.prefixes.get(&(masked(flow.destination, *length), *length))?;
            policies.iter().find(|installed| installed.policy.matches(flow))
        });
        let by_range = tables.ranges.iter().find(|installed| installed.policy.matches(flow));
        let best = by_prefix.chain(by_range).min_by_key(|installed| installed.rank)?;
        Some(best.policy.action.clone())
    }

    /// Number of policies.
    pub fn len(&self) -> usize {
        let tables = self.tables.read();
        tables.lengths.values().sum::<usize>().saturating_add(tables.ranges.len())
    }

    /// Whether there is no policy.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The network of `length` bits that `address` is in.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sad::Sad;
    use crate::testing::reqid;

    fn policy(local: &str, remote: &str, action: Action) -> Policy {
        let class = if matches!(action, Action::Bypass) { Class::Pass } else { Class::Default };
        let parse = |text| TrafficSelector::parse(text).unwrap();
        Policy { local: parse(local), remote: parse(remote), action, class, priority: None }
    }

    fn protect(sad: &Sad, number: u32) -> Action {
        Action::Protect(sad.bundle(reqid(number)))
    }

    fn tcp(source: [u8; 4], destination: [u8; 4], port: u16) -> Flow {
        Flow { source: source.into(), destination: destination.into(), protocol: 6, ports: Some((40_000, port)) }
    }

    /// Reqid of the bundle that protects the flow, 0 for other actions.
    fn chosen(spd: &Spd, flow: &Flow) -> Option<u32> {
        spd.lookup(flow).map(|action| match action {
            Action::Protect(bundle) => bundle.reqid().get(),
            Action::Bypass | Action::Discard => 0,
        })
    }

    #[test]
    fn the_more_specific_policy_wins() {
        let (sad, spd) = (Sad::default(), Spd::default());
        spd.insert(policy("10.0.0.0/8", "0.0.0.0/0", protect(&sad, 1)));
        spd.insert(policy("10.0.0.0/8", "10.2.0.0/16", protect(&sad, 2)));
        spd.insert(policy("10.1.0.0/16", "10.0.0.0/8", protect(&sad, 3)));
        spd.insert(policy("10.0.0.0/8", "10.2.0.0/16[tcp/443]", protect(&sad, 4)));
        spd.insert(policy("10.0.0.0/8", "10.9.0.1-10.9.0.5", protect(&sad, 5)));
        assert_eq!(chosen(&spd, &tcp([10, 7, 0, 1], [8, 8, 8, 8], 80)), Some(1));
        assert_eq!(chosen(&spd, &tcp([10, 7, 0, 1], [10, 2, 8, 8], 80)), Some(2));
        assert_eq!(chosen(&spd, &tcp([10, 1, 0, 1], [10, 3, 0, 1], 80)), Some(3));
        assert_eq!(chosen(&spd, &tcp([10, 7, 0, 1], [10, 2, 8, 8], 443)), Some(4));
        assert_eq!(chosen(&spd, &tcp([10, 7, 0, 1], [10, 9, 0, 5], 80)), Some(5));
        assert_eq!(chosen(&spd, &tcp([10, 7, 0, 1], [10, 9, 0, 6], 80)), Some(1));
        assert_eq!(chosen(&spd, &tcp([11, 7, 0, 1], [10, 9, 0, 6], 80)), None);
    }

    #[test]
    fn classes_and_priorities_come_before_prefixes() {
        let (sad, spd) = (Sad::default(), Spd::default());
        spd.insert(policy("0.0.0.0/0", "10.2.0.0/16", protect(&sad, 1)));
        spd.insert(policy("0.0.0.0/0", "0.0.0.0/0[tcp/22]", Action::Bypass));
        let flow = tcp([10, 7, 0, 1], [10, 2, 8, 8], 22);
        assert_eq!(chosen(&spd, &flow), Some(0));
        spd.insert(Policy { priority: Some(5), ..policy("0.0.0.0/0", "0.0.0.0/0", protect(&sad, 2)) });
        assert_eq!(chosen(&spd, &flow), Some(2));
    }

    #[test]
    fn a_childs_policy_wins_over_its_trap_and_the_newer_over_the_older() {
        let (sad, spd) = (Sad::default(), Spd::default());
        let flow = tcp([10, 1, 0, 1], [10, 2, 0, 1], 80);
        spd.insert(policy("10.1.0.0/16", "10.2.0.0/16", protect(&sad, 1)));
        spd.insert(Policy { class: Class::Routed, ..policy("10.1.0.0/16", "10.2.0.0/16", protect(&sad, 2)) });
        assert_eq!(chosen(&spd, &flow), Some(1));
        spd.insert(policy("10.1.0.0/16", "10.2.0.0/16", protect(&sad, 3)));
        assert_eq!(chosen(&spd, &flow), Some(3));
    }

    #[test]
    fn users_are_counted() {
        let (sad, spd) = (Sad::default(), Spd::default());
        let make = || policy("10.1.0.0/16", "10.2.0.0/16", protect(&sad, 1));
        spd.insert(make());
        spd.insert(make());
        assert_eq!(spd.len(), 1);
        assert!(spd.remove(&make()));
        assert_eq!(chosen(&spd, &tcp([10, 1, 0, 1], [10, 2, 0, 1], 80)), Some(1));
        assert!(spd.remove(&make()));
        assert!(!spd.remove(&make()));
        assert!(spd.is_empty() && spd.tables.read().prefixes.is_empty());
    }

    #[test]
    fn ipv6_has_its_own_prefixes() {
        let (sad, spd) = (Sad::default(), Spd::default());
        spd.insert(policy("::/0", "fd00:2::/32", protect(&sad, 6)));
        spd.insert(policy("0.0.0.0/0", "0.0.0.0/0", protect(&sad, 4)));
        let flow = Flow {
            source: "fd00:1::1".parse().unwrap(),
            destination: "fd00:2::1".parse().unwrap(),
            protocol: 58,
            ports: None,
        };
        assert_eq!(chosen(&spd, &flow), Some(6));
        assert_eq!(chosen(&spd, &Flow { destination: "fd00:3::1".parse().unwrap(), ..flow }), None);
    }

    proptest! {
        /// The index finds what comparing every policy finds.
        #[test]
        fn lookup_agrees_with_a_scan(
            policies in proptest::collection::vec((0u8..=32, any::<[u8; 4]>(), 0u8..3, 0u8..=32), 1..30),
            removed in any::<u32>(),
            destinations in proptest::collection::vec(any::<[u8; 4]>(), 1..20),
        ) {
            let (sad, spd) = (Sad::default(), Spd::default());
            let mut all = Vec::new();
            for (index, (length, address, kind, local)) in policies.into_iter().enumerate() {
                let [a, b, c, d] = address;
                let remote = match kind {
                    0 => format!("{a}.{b}.{c}.{d}/{length}"),
                    1 => format!("{a}.{b}.0.0-{a}.{b}.{c}.{d}"),
                    _ => format!("{a}.0.0.0/8"),
                };
                let number = u32::try_from(index).unwrap() + 1;
                let policy = policy(&format!("10.0.0.0/{local}"), &remote, protect(&sad, number));
                spd.insert(policy.clone());
                if removed & (1 << index) != 0 {
                    prop_assert!(spd.remove(&policy));
                } else {
                    all.push((policy.automatic(), Reverse(number), policy));
                }
            }
            prop_assert_eq!(spd.len(), all.len());
            for destination in destinations {
                let flow = tcp([10, 0, 0, 0], destination, 1);
                let expected = all.iter().filter(|(_, _, p)| p.matches(&flow)).min_by_key(|(p, n, _)| (*p, *n));
                prop_assert_eq!(chosen(&spd, &flow), expected.map(|(_, Reverse(number), _)| *number));
            }
        }
    }
}
