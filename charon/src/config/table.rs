//! The loaded connections with their indices.
//!
//! Connections are numbered in load order. Those with equal [`IkeConfig`]s share one, a *profile*: thousands of
//! roadwarriors that differ in their identities are one candidate until identities are known. Profiles with literal remote
//! addresses only are found by these; within a profile, connections that name the peer are found by that name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ike::config::{IkeConfig, PeerConfig};
use strongswan::host::HostSpec;
use strongswan::identity::{IdType, Identity, RdnMatching, rdn_matching};

/// Place of a connection in load order.
pub(super) type Number = u64;

/// Number of a profile.
type ProfileNumber = u64;

#[derive(Debug, Default)]
pub(super) struct Table {
    next: Number,
    connections: BTreeMap<Number, Arc<PeerConfig>>,
    by_name: HashMap<Arc<str>, Number>,
    next_profile: ProfileNumber,
    profiles: BTreeMap<ProfileNumber, Profile>,
    /// Profiles that name all their remote addresses, by each of these.
    by_address: HashMap<IpAddr, BTreeSet<ProfileNumber>>,
    /// All others.
    anywhere: BTreeSet<ProfileNumber>,
}

/// Connections that share an [`IkeConfig`].
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) ike: Arc<IkeConfig>,
    members: BTreeSet<Number>,
    /// Members that one identity only matches, by it.
    by_id: HashMap<Identity, BTreeSet<Number>>,
    /// Members whose remote identity is open, a pattern or an address range.
    open: BTreeSet<Number>,
}

impl Profile {
    /// The place in load order: that of its first member.
    pub(super) fn first(&self) -> Number {
        self.members.first().copied().unwrap_or(Number::MAX)
    }

    /// The members a peer of this identity may use, in load order; more than those that match, never fewer.
    pub(super) fn members_for(&self, other: Option<&Identity>) -> Vec<Number> {
        let Some(other) = other.filter(|id| is_exact(id)) else { return self.members.iter().copied().collect() };
        let named = self.by_id.get(other).into_iter().flatten();
        let mut members: Vec<_> = named.chain(&self.open).copied().collect();
        members.sort_unstable();
        members
    }
}

/// Whether only an equal identity matches this one.
fn is_exact(id: &Identity) -> bool {
    match id.id_type() {
        IdType::Ipv4AddrSubnet | IdType::Ipv6AddrSubnet | IdType::Ipv4AddrRange | IdType::Ipv6AddrRange => false,
        // other modes of matching accept other names as well
        IdType::DerAsn1Dn => rdn_matching() == RdnMatching::Strict && !id.contains_wildcards(),
        _ => !id.contains_wildcards(),
    }
}

/// The identity a connection's peer must have, if that is a single one.
///
/// Names (DNs) count as such only while they are matched strictly; that setting may change, so they are never indexed
/// by it but by equality, which holds in every mode, and looked through in full in other modes, see [`is_exact`].
fn remote_name(config: &PeerConfig) -> Option<&Identity> {
    let id = config.remote.first()?.id.as_ref()?;
    let exact = !id.contains_wildcards()
        && !matches!(
            id.id_type(),
            IdType::Ipv4AddrSubnet | IdType::Ipv6AddrSubnet | IdType::Ipv4AddrRange | IdType::Ipv6AddrRange
        );
    exact.then_some(id)
}

/// The remote addresses if all are literal.
fn literal_addresses(ike: &IkeConfig) -> Option<Vec<IpAddr>> {
    let addresses: Option<Vec<_>> = ike.remote_addrs.iter().map(HostSpec::address).collect();
    addresses.filter(|addresses| !addresses.is_empty())
}

/// Equal in everything, including what content equality leaves out.
fn same_profile(a: &IkeConfig, b: &IkeConfig) -> bool {
    a == b && a.dscp == b.dscp
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<PeerConfig>> {
        self.connections.get(self.by_name.get(name)?)
    }

    pub(super) fn by_number(&self, number: Number) -> Option<&Arc<PeerConfig>> {
        self.connections.get(&number)
    }

    /// All connections in load order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<PeerConfig>> {
        self.connections.values()
    }

    /// All profiles, with their members in load order.
    pub(super) fn profiles(&self) -> impl Iterator<Item = (&Arc<IkeConfig>, &BTreeSet<Number>)> {
        self.profiles.values().map(|profile| (&profile.ike, &profile.members))
    }

    /// The profiles that may fit a peer at this address.
    pub(super) fn profiles_for(&self, remote: IpAddr) -> impl Iterator<Item = &Profile> {
        let exact = self.by_address.get(&remote).into_iter().flatten();
        exact.chain(&self.anywhere).filter_map(|number| self.profiles.get(number))
    }

    /// Stores a connection: in the place of one with its name, else at the end. Returns it as stored, with its profile's
    /// [`IkeConfig`].
    pub(super) fn insert(&mut self, mut config: PeerConfig) -> Arc<PeerConfig> {
        let number = self.by_name.get(&config.name).copied();
        if let Some(number) = number {
            self.take(number);
        }
        let number = number.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let profile = self.profile(&config.ike);
        if let Some(profile) = self.profiles.get_mut(&profile) {
            config.ike = Arc::clone(&profile.ike);
            profile.members.insert(number);
            match remote_name(&config) {
                Some(id) => profile.by_id.entry(id.clone()).or_default().insert(number),
                None => profile.open.insert(number),
            };
        }
        let config = Arc::new(config);
        self.by_name.insert(Arc::clone(&config.name), number);
        self.connections.insert(number, Arc::clone(&config));
        config
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<PeerConfig>> {
        let number = self.by_name.remove(name)?;
        self.take(number)
    }

    /// The profile for an [`IkeConfig`], made if there is none.
    fn profile(&mut self, ike: &Arc<IkeConfig>) -> ProfileNumber {
        let addresses = literal_addresses(ike);
        let same =
            |number: &&ProfileNumber| self.profiles.get(number).is_some_and(|profile| same_profile(&profile.ike, ike));
        let known = match addresses.as_deref().and_then(<[_]>::first) {
            Some(address) => self.by_address.get(address).into_iter().flatten().find(same),
            None => self.anywhere.iter().find(same),
        };
        if let Some(known) = known {
            return *known;
        }
        self.next_profile += 1;
        let number = self.next_profile;
        let profile =
            Profile { ike: Arc::clone(ike), members: BTreeSet::new(), by_id: HashMap::new(), open: BTreeSet::new() };
        self.profiles.insert(number, profile);
        match addresses {
            Some(addresses) => addresses.into_iter().for_each(|address| {
                self.by_address.entry(address).or_default().insert(number);
            }),
            None => {
                self.anywhere.insert(number);
            }
        }
        number
    }

    /// Takes a connection out of everything but the index of names.
    fn take(&mut self, number: Number) -> Option<Arc<PeerConfig>> {
        let config = self.connections.remove(&number)?;
        let addresses = literal_addresses(&config.ike);
        let holds = |profile: &ProfileNumber| {
            self.profiles.get(profile).is_some_and(|profile| profile.members.contains(&number))
        };
        let profile = match addresses.as_deref().and_then(<[_]>::first) {
            Some(address) => self.by_address.get(address)?.iter().copied().find(holds)?,
            None => self.anywhere.iter().copied().find(holds)?,
        };
        if self.leave(profile, number, &config) {
            self.profiles.remove(&profile);
            self.anywhere.remove(&profile);
            for address in addresses.into_iter().flatten() {
                if let Some(profiles) = self.by_address.get_mut(&address) {
                    profiles.remove(&profile);
                    if profiles.is_empty() {
                        self.by_address.remove(&address);
                    }
                }
            }
        }
        Some(config)
    }

    /// Takes a connection out of its profile; whether that is empty now.
    fn leave(&mut self, profile: ProfileNumber, number: Number, config: &PeerConfig) -> bool {
        let Some(profile) = self.profiles.get_mut(&profile) else { return false };
        profile.members.remove(&number);
        profile.open.remove(&number);
        if let Some(id) = remote_name(config)
            && let Some(named) = profile.by_id.get_mut(id)
        {
            named.remove(&number);
            if named.is_empty() {
                profile.by_id.remove(id);
            }
        }
        profile.members.is_empty()
    }

    /// Number of entries in all indices, for tests of leaks.
    #[cfg(test)]
    pub(super) fn index_entries(&self) -> usize {
        self.profiles.values().map(|p| p.members.len() + p.open.len() + p.by_id.len()).sum::<usize>()
            + self.by_name.len()
            + self.by_address.len()
            + self.anywhere.len()
    }
}
