//! Shared secrets, indexed by their owners.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::credentials::shared::{SecretKind, SharedSecret};
use crate::identity::{IdType, Identity, Match};
use crate::sync::RwLock;

/// Number of a secret, ascending in the order of loading.
type Number = u64;

#[derive(Default)]
pub(super) struct Secrets {
    all: BTreeMap<Number, Arc<SharedSecret>>,
    /// By unique id.
    by_id: HashMap<String, Number>,
    /// Secrets without unique id by a hash of what they are, with the keys that this process hashes with.
    by_content: HashMap<u64, BTreeSet<Number>>,
    hasher: RandomState,
    /// By owners that match nothing but themselves.
    by_owner: HashMap<Identity, BTreeSet<Number>>,
    /// Secrets with owners that have to be compared one by one.
    patterns: BTreeSet<Number>,
    /// How many there are of each kind; none is not an entry.
    kinds: HashMap<SecretKind, usize>,
    next: Number,
}

/// Whether only an equal identity can match. Names may match reordered, ranges match what lies within.
fn matches_itself_only(owner: &Identity) -> bool {
    match owner.id_type() {
        IdType::Fqdn | IdType::Rfc822Addr => !owner.contains_wildcards(),
        IdType::Ipv4Addr | IdType::Ipv6Addr | IdType::DerAsn1Gn | IdType::KeyId | IdType::Uri | IdType::Unknown(_) => {
            true
        }
        IdType::Any
        | IdType::DerAsn1Dn
        | IdType::Ipv4AddrSubnet
        | IdType::Ipv6AddrSubnet
        | IdType::Ipv4AddrRange
        | IdType::Ipv6AddrRange => false,
    }
}

impl Secrets {
    pub(super) fn add(&mut self, secret: SharedSecret) {
        let content = self.content(&secret);
        let replaced = match &secret.id {
            Some(id) => self.by_id.get(id).copied(),
            None => self.by_content.get(&content).and_then(|numbers| {
                let equal = |number: &&Number| self.all.get(*number).is_some_and(|other| **other == secret);
                numbers.iter().find(equal).copied()
            }),
        };
        if let Some(replaced) = replaced {
            self.remove_number(replaced);
        }
        let number = self.next;
        self.next += 1;
        match &secret.id {
            Some(id) => drop(self.by_id.insert(id.clone(), number)),
            None => drop(self.by_content.entry(content).or_default().insert(number)),
        }
        for owner in &secret.owners {
            if matches_itself_only(owner) {
                self.by_owner.entry(owner.clone()).or_default().insert(number);
            } else {
                self.patterns.insert(number);
            }
        }
        *self.kinds.entry(secret.kind).or_default() += 1;
        self.all.insert(number, Arc::new(secret));
    }

    fn content(&self, secret: &SharedSecret) -> u64 {
        self.hasher.hash_one((secret.kind, &secret.owners, secret.data.as_bytes()))
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let number = self.by_id.get(id).copied();
        number.map(|number| self.remove_number(number)).is_some()
    }

    fn remove_number(&mut self, number: Number) {
        let Some(secret) = self.all.remove(&number) else { return };
        if let Some(count) = self.kinds.get_mut(&secret.kind) {
            *count -= 1;
            if *count == 0 {
                self.kinds.remove(&secret.kind);
            }
        }
        match &secret.id {
            Some(id) => drop(self.by_id.remove(id)),
            None => {
                let content = self.content(&secret);
                remove_from(&mut self.by_content, &content, number);
            }
        }
        self.patterns.remove(&number);
        for owner in &secret.owners {
            remove_from(&mut self.by_owner, owner, number);
        }
    }

    pub(super) fn has(&self, kind: SecretKind) -> bool {
        self.kinds.contains_key(&kind)
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.all.values().rev().filter_map(|secret| secret.id.clone()).collect()
    }

    /// Secrets one of whose owners may match `id`.
    fn candidates(&self, id: &Identity) -> impl Iterator<Item = (Number, &Arc<SharedSecret>)> {
        // An address may come as a subnet or range of one.
        let exact = self.by_owner.get(&id.address().map_or_else(|| id.clone(), Identity::from));
        let other = move |number: &&Number| !exact.is_some_and(|numbers| numbers.contains(*number));
        let numbers = exact.into_iter().flatten().chain(self.patterns.iter().filter(other));
        numbers.filter_map(|number| Some((*number, self.all.get(number)?)))
    }

    /// The secrets for the other side, best first.
    fn for_other(&self, kind: SecretKind, me: Option<&Identity>, other: &Identity) -> Vec<Arc<SharedSecret>> {
        let rated = self.candidates(other).filter(|(_, secret)| secret.kind == kind).map(|(number, secret)| {
            let me = me.map(|me| secret.matches(me)).unwrap_or_default();
            (Reverse((secret.matches(other), me, number)), secret)
        });
        sorted(rated.filter(|(Reverse((other, ..)), _)| other.is_match()))
    }

    /// The secrets for us that are not for the other side, best first.
    fn for_me(&self, kind: SecretKind, me: &Identity, other: Option<&Identity>) -> Vec<Arc<SharedSecret>> {
        let rated = self
            .candidates(me)
            .filter(|(_, secret)| secret.kind == kind)
            .map(|(number, secret)| (Reverse((Match::NONE, secret.matches(me), number)), secret));
        let for_other = |secret: &SharedSecret| other.is_some_and(|other| secret.matches(other).is_match());
        sorted(rated.filter(|(Reverse((_, me, _)), secret)| me.is_match() && !for_other(secret)))
    }
}

type Rating = Reverse<(Match, Match, Number)>;

fn sorted<'a>(rated: impl Iterator<Item = (Rating, &'a Arc<SharedSecret>)>) -> Vec<Arc<SharedSecret>> {
    let mut rated: Vec<_> = rated.collect();
    rated.sort_unstable_by_key(|(rating, _)| *rating);
    rated.into_iter().map(|(_, secret)| Arc::clone(secret)).collect()
}

fn remove_from<K: Eq + std::hash::Hash>(index: &mut HashMap<K, BTreeSet<Number>>, key: &K, number: Number) {
    if let Some(numbers) = index.get_mut(key) {
        numbers.remove(&number);
        if numbers.is_empty() {
            index.remove(key);
        }
    }
}

/// Secrets for two identities, best first. Those that fit the other side come first and are mostly all that is
/// needed; those that only fit us may be many (a gateway with a secret for each peer), so they are looked up only when
/// the former did not do.
pub struct SharedSecrets<'a> {
    secrets: &'a RwLock<Secrets>,
    kind: SecretKind,
    me: Option<&'a Identity>,
    other: Option<&'a Identity>,
    found: std::vec::IntoIter<Arc<SharedSecret>>,
    mine_left: bool,
}

impl<'a> SharedSecrets<'a> {
    pub(super) fn new(
        secrets: &'a RwLock<Secrets>,
        kind: SecretKind,
        me: Option<&'a Identity>,
        other: Option<&'a Identity>,
    ) -> Self {
        let found = other.map(|other| secrets.read().for_other(kind, me, other)).unwrap_or_default().into_iter();
        Self { secrets, kind, me, other, found, mine_left: true }
    }
}

impl Iterator for SharedSecrets<'_> {
    type Item = Arc<SharedSecret>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.found.len() == 0
            && std::mem::take(&mut self.mine_left)
            && let Some(me) = self.me
        {
            self.found = self.secrets.read().for_me(self.kind, me, self.other).into_iter();
        }
        self.found.next()
    }
}
