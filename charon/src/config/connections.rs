//! The loaded connections: loading, replacing, unloading, and selection for a peer.

use std::cmp::Reverse;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use ike::ConfigSource;
use ike::config::{ChildConfig, IkeConfig, PeerConfig};
use ike::explain::{Asker, Limiter, Near, Wanted};
use parking_lot::RwLock;
use strongswan::clock::MonoTime;
use strongswan::identity::Identity;
use strongswan::log;

use super::matching::{Candidate, id_match, ike_fits, ike_score, rank};
use super::names::Names;
use super::table::{Number, Table};

/// The connections of the daemon.
pub struct Connections {
    /// Held for single lookups and changes, never across callbacks or name queries that wait.
    table: RwLock<Table>,
    names: Arc<dyn Names>,
    /// `charon.port`, the local port of connections that name none.
    ike_port: u16,
    explain_unknown: Limiter,
    explain_authenticated: Limiter,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// What loading or unloading a connection changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// The connection as it is now; as it was, if it was unloaded.
    pub connection: Arc<PeerConfig>,
    /// How it came about.
    pub kind: ChangeKind,
    /// Children that are gone; their start actions are to be undone.
    pub removed: Vec<Arc<ChildConfig>>,
    /// Children that are new; their start actions are to be run.
    pub added: Vec<Arc<ChildConfig>>,
}

/// Kinds of [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// There was no connection of that name.
    Added,
    /// Only its children changed, if anything.
    Updated,
    /// Anything else changed: all its children are new.
    Replaced,
    /// It was unloaded.
    Removed,
}

impl Connections {
    /// No connections yet. `names` resolves DNS names in them, `ike_port` is the port of the daemon's socket.
    pub fn new(names: Arc<dyn Names>, ike_port: u16) -> Self {
        Self {
            table: RwLock::default(),
            names,
            ike_port,
            explain_unknown: Limiter::default(),
            explain_authenticated: Limiter::default(),
        }
    }

    /// `charon.port`.
    pub fn ike_port(&self) -> u16 {
        self.ike_port
    }

    /// Loads a connection: adds it, updates the children of an equal one, or replaces a different one.
    pub fn load(&self, config: PeerConfig) -> Change {
        // ask for names now, so that they are known when a peer connects
        for name in config.ike.local_addrs.iter().chain(&config.ike.remote_addrs).filter_map(|host| host.name()) {
            self.names.addresses(name);
        }
        let mut table = self.table.write();
        let Some(old) = table.get(&config.name).map(Arc::clone) else {
            let connection = table.insert(config);
            let added = connection.children.clone();
            log!(CFG, 1, "added vici connection: {}", connection.name);
            return Change { connection, kind: ChangeKind::Added, removed: Vec::new(), added };
        };
        if old.equals_with_ike(&config) {
            let (removed, added) = difference(&old.children, &config.children);
            // What equality leaves out (`dpd_timeout`, `dscp`) is no reason to disturb an SA, but new ones follow it. In
            // strongSwan it stays as it was.
            let connection = table.insert(config);
            log!(CFG, 1, "updated vici connection: {}", connection.name);
            return Change { connection, kind: ChangeKind::Updated, removed, added };
        }
        let connection = table.insert(config);
        let added = connection.children.clone();
        log!(CFG, 1, "replaced vici connection: {}", connection.name);
        Change { connection, kind: ChangeKind::Replaced, removed: old.children.clone(), added }
    }

    /// Unloads a connection.
    pub fn unload(&self, name: &str) -> Option<Change> {
        let connection = self.table.write().remove(name)?;
        let removed = connection.children.clone();
        Some(Change { connection, kind: ChangeKind::Removed, removed, added: Vec::new() })
    }

    /// The connection of that name.
    pub fn get(&self, name: &str) -> Option<Arc<PeerConfig>> {
        self.table.read().get(name).map(Arc::clone)
    }

    /// All connections in load order.
    pub fn all(&self) -> Vec<Arc<PeerConfig>> {
        self.table.read().iter().map(Arc::clone).collect()
    }

    /// The first connection that has a child of that name, or `connection`'s, if one is given.
    pub fn find_child(&self, connection: Option<&str>, child: &str) -> Option<(Arc<PeerConfig>, Arc<ChildConfig>)> {
        let table = self.table.read();
        let found = |config: &Arc<PeerConfig>| Some((Arc::clone(config), Arc::clone(config.child(child)?)));
        match connection {
            Some(name) => table.get(name).and_then(found),
            None => table.iter().find_map(found),
        }
    }
}

/// Old children without an equal new one, and new ones without an equal old one. Names count, other than in strongSwan: what
/// is listed, initiated and closed by name must be what was loaded by that name.
fn difference(old: &[Arc<ChildConfig>], new: &[Arc<ChildConfig>]) -> (Vec<Arc<ChildConfig>>, Vec<Arc<ChildConfig>>) {
    let mut removed = old.to_vec();
    let mut added = Vec::new();
    for child in new {
        match removed.iter().position(|old| old.name == child.name && old == child) {
            Some(place) => drop(removed.remove(place)),
            None => added.push(Arc::clone(child)),
        }
    }
    (removed, added)
}

impl ConfigSource for Connections {
    fn ike_configs(&self, local: SocketAddr, remote: SocketAddr, major: u8) -> Vec<Arc<IkeConfig>> {
        log!(CFG, 2, "looking for an IKEv{major} config for {}...{}", local.ip(), remote.ip());
        let table = self.table.read();
        let mut found: Vec<_> = table
            .profiles_for(remote.ip())
            .map(|profile| (ike_score(&profile.ike, local, remote, major, self.ike_port, &*self.names), profile))
            .filter(|(score, _)| *score > 0)
            .collect();
        found.sort_by_key(|(score, profile)| (Reverse(*score), profile.first()));
        for (score, profile) in &found {
            log!(
                CFG,
                2,
                "  candidate: {}...{}, prio {score}",
                Hosts(&profile.ike.local_addrs),
                Hosts(&profile.ike.remote_addrs)
            );
        }
        if let Some((score, profile)) = found.first() {
            let (here, there) = (Hosts(&profile.ike.local_addrs), Hosts(&profile.ike.remote_addrs));
            log!(CFG, 2, "found matching ike config: {here}...{there} with prio {score}");
        }
        found.into_iter().map(|(_, profile)| Arc::clone(&profile.ike)).collect()
    }

    fn peer_configs(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        me: Option<&Identity>,
        other: Option<&Identity>,
        major: u8,
    ) -> Vec<Arc<PeerConfig>> {
        let table = self.table.read();
        let mut candidates = Vec::new();
        for profile in table.profiles_for(remote.ip()) {
            let ike = ike_score(&profile.ike, local, remote, major, self.ike_port, &*self.names);
            if ike == 0 {
                continue;
            }
            for number in profile.members_for(other) {
                let Some(config) = table.by_number(number) else { continue };
                let (here, there) = (id_match(me, &config.local), id_match(other, &config.remote));
                if !here.is_match() || !there.is_match() {
                    continue;
                }
                let (here, there) = (here.value(), there.value());
                log!(CFG, 2, "  candidate \"{}\", match: {here}/{there}/{ike} (me/other/ike)", config.name);
                let peer = u32::from(here) + u32::from(there);
                candidates.push(Candidate { value: (number, Arc::clone(config)), ike, peer });
            }
        }
        drop(table);
        candidates.sort_by_key(|candidate| candidate.value.0);
        rank(candidates).into_iter().map(|(_, config)| config).collect()
    }

    fn loaded(&self, name: &str) -> Option<Arc<PeerConfig>> {
        self.get(name)
    }

    fn latest(&self, config: &Arc<PeerConfig>) -> Arc<PeerConfig> {
        let now = self.get(&config.name).filter(|now| now.equals_with_ike(config));
        now.unwrap_or_else(|| Arc::clone(config))
    }

    fn nearest(&self, wanted: &Wanted<'_>, limit: usize) -> Vec<Near> {
        let table = self.table.read();
        let mut left = COMPARED;
        let mut found: Vec<(Reverse<u8>, Number, Near)> = Vec::new();
        for (ike, members) in table.profiles() {
            let [version, local, remote] = ike_fits(ike, wanted.local, wanted.remote, wanted.major, &*self.names);
            for number in members.iter().take(left) {
                left = left.saturating_sub(1);
                let Some(config) = table.by_number(*number) else { continue };
                let me = id_match(wanted.me, &config.local).is_match();
                let other = id_match(wanted.other, &config.remote).is_match();
                let near = Near { config: Arc::clone(config), version, local, remote, me, other };
                found.push((Reverse(near.score()), *number, near));
            }
            // a long list is cut now and then, so that it takes no room for what does not come near
            if found.len() > KEPT {
                sort_and_cut(&mut found, limit);
            }
        }
        drop(table);
        sort_and_cut(&mut found, limit);
        found.into_iter().map(|(_, _, near)| near).collect()
    }

    fn may_explain(&self, asker: Asker, now: MonoTime) -> Option<u64> {
        match asker {
            Asker::Unknown => self.explain_unknown.take(now),
            Asker::Authenticated => self.explain_authenticated.take(now),
        }
    }
}

/// Connections compared for an explanation, in the order of their profiles.
const COMPARED: usize = 20_000;

/// Candidates kept before the list is cut.
const KEPT: usize = 256;

fn sort_and_cut(found: &mut Vec<(Reverse<u8>, Number, Near)>, limit: usize) {
    found.sort_by_key(|(score, number, _)| (*score, *number));
    found.truncate(limit);
}

/// Prints a side's addresses as configured.
struct Hosts<'a>(&'a [strongswan::host::HostSpec]);

impl fmt::Display for Hosts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("%any");
        }
        for (index, host) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            host.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
