//! From a configuration to addresses: which of the peer's to use, and which of ours.
//!
//! Names are looked up by the system's resolver, which may take long, so that happens on threads of its own that are started when
//! they are needed and end when they are not.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use ike::Input;
use ike::config::IkeConfig;
use ike::ids::UniqueId;
use parking_lot::Mutex;
use strongswan::host::Family;
use strongswan::processing::{Priority, job, spawn};

use super::Manager;
use crate::net::source_address;

/// Looks something up; runs on a resolver thread.
type Lookup = Box<dyn FnOnce() + Send>;

/// Our address on the way to another.
type Source<'a> = &'a dyn Fn(IpAddr) -> Option<IpAddr>;

#[derive(Default)]
struct State {
    waiting: VecDeque<Lookup>,
    threads: usize,
}

/// Threads for name lookups.
pub struct Resolver {
    max_threads: usize,
    state: Arc<Mutex<State>>,
}

impl Resolver {
    /// At most `max_threads` lookups at a time (`host_resolver.max_threads`).
    pub fn new(max_threads: usize) -> Arc<Self> {
        Arc::new(Self { max_threads: max_threads.max(1), state: Arc::default() })
    }

    /// Runs a lookup as soon as a thread is free.
    pub fn run(&self, lookup: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        state.waiting.push_back(Box::new(lookup));
        if state.threads >= self.max_threads {
            return;
        }
        state.threads = state.threads.saturating_add(1);
        drop(state);
        let shared = Arc::clone(&self.state);
        let started = spawn("resolver", move || {
            loop {
                let lookup = {
                    let mut state = shared.lock();
                    let Some(lookup) = state.waiting.pop_front() else {
                        state.threads = state.threads.saturating_sub(1);
                        return;
                    };
                    lookup
                };
                lookup();
            }
        });
        if let Err(error) = started {
            strongswan::log!(LIB, 1, "starting a resolver thread failed: {error}");
            let mut state = self.state.lock();
            state.threads = state.threads.saturating_sub(1);
        }
    }
}

impl Manager {
    /// Threads for name lookups.
    pub fn resolver(&self) -> &Arc<Resolver> {
        &self.around.resolver
    }

    /// Our port for initiating a connection.
    pub(super) fn local_port(&self, config: &IkeConfig) -> u16 {
        match config.local_port {
            0 => self.around.sender.sockets().port(false).unwrap_or(0),
            port => port,
        }
    }

    /// Finds the addresses for an IKE_SA to initiate, and tells it.
    pub(super) fn resolve(self: &Arc<Self>, id: UniqueId, config: &Arc<IkeConfig>) {
        let port = self.local_port(config);
        let (manager, config) = (Arc::clone(self), Arc::clone(config));
        let needs_lookup = config.remote_addrs.iter().chain(&config.local_addrs).any(|host| host.name().is_some());
        if needs_lookup {
            self.around.resolver.run(move || {
                let addresses = manager.addresses(&config, port);
                let processor = Arc::clone(&manager.around.processor);
                processor.queue(job(Priority::Medium, move || {
                    manager.input(id, Input::Resolved(addresses));
                }));
            });
        } else {
            // The IKE_SA is checked out by this very worker, who finds the answer in the mailbox.
            manager.input(id, Input::Resolved(manager.addresses(&config, port)));
        }
    }

    fn addresses(&self, config: &IkeConfig, local_port: u16) -> Option<(SocketAddr, SocketAddr)> {
        addresses(config, local_port, &|remote| source_address(&*self.around.kernel, remote))
    }
}

/// The addresses of both ends: the first of the peer's that there is, and one of ours to reach it from.
/// `source` knows ours if it is not configured.
fn addresses(config: &IkeConfig, local_port: u16, source: Source<'_>) -> Option<(SocketAddr, SocketAddr)> {
    for host in &config.remote_addrs {
        let candidates = match (host.address(), host.name()) {
            (Some(address), _) => vec![address],
            (None, Some(name)) => lookup(name),
            (None, None) => Vec::new(),
        };
        for remote in candidates {
            let remote = SocketAddr::new(remote, config.remote_port);
            if let Some(local) = local_address(config, remote, source) {
                return Some((SocketAddr::new(local, local_port), remote));
            }
        }
    }
    None
}

/// Our address towards `remote`: a configured one of its family, or that of the route.
fn local_address(config: &IkeConfig, remote: SocketAddr, source: Source<'_>) -> Option<IpAddr> {
    let same_family = |address: &IpAddr| address.is_ipv6() == remote.is_ipv6();
    for host in &config.local_addrs {
        let candidates = match (host.address(), host.name()) {
            (Some(address), _) => vec![address],
            (None, Some(name)) => lookup(name),
            (None, None) => Vec::new(),
        };
        if let Some(address) = candidates.into_iter().find(same_family) {
            return Some(address);
        }
    }
    let flexible = config.local_addrs.is_empty() || config.local_addrs.iter().any(|host| host.address().is_none());
    // without a route there may be one by the time a message is sent, or sent again
    flexible.then(|| source(remote.ip()).unwrap_or_else(|| Family::of(remote.ip()).unspecified()))
}

fn lookup(name: &str) -> Vec<IpAddr> {
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => addresses.map(|address| address.ip()).collect(),
        Err(error) => {
            strongswan::log!(LIB, 1, "resolving '{name}' failed: {error}");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use strongswan::host::HostSpec;

    use super::*;
    use crate::kernel::fake::FakeKernel;

    fn config(local: &[&str], remote: &[&str]) -> IkeConfig {
        let hosts = |hosts: &[&str]| hosts.iter().map(|host| HostSpec::parse(host)).collect();
        IkeConfig { local_addrs: hosts(local), remote_addrs: hosts(remote), ..IkeConfig::default() }
    }

    fn found(local: &[&str], remote: &[&str]) -> Option<String> {
        addresses(&config(local, remote), 500, &|remote| source_address(&FakeKernel::announced(), remote))
            .map(|(local, remote)| format!("{local} {remote}"))
    }

    #[test]
    fn the_first_usable_pair_is_taken() {
        assert_eq!(found(&[], &["%any", "127.0.0.1"]).unwrap(), "127.0.0.1:500 127.0.0.1:500");
        assert_eq!(found(&["192.0.2.1"], &["127.0.0.1"]).unwrap(), "192.0.2.1:500 127.0.0.1:500");
        assert_eq!(found(&["2001:db8::1", "192.0.2.1"], &["192.0.2.9"]).unwrap(), "192.0.2.1:500 192.0.2.9:500");
        assert_eq!(found(&["%any"], &["localhost"]).map(|pair| pair.contains(":500 ")), Some(true));
    }

    #[test]
    fn without_a_route_ours_is_left_open() {
        let none = |local: &[&str], remote: &str| addresses(&config(local, &[remote]), 500, &|_| None);
        assert_eq!(none(&[], "192.0.2.9").unwrap().0.to_string(), "0.0.0.0:500");
        assert_eq!(none(&["%any"], "2001:db8::9").unwrap().0.to_string(), "[::]:500");
        assert_eq!(none(&["2001:db8::1"], "192.0.2.9"), None);
    }

    #[test]
    fn there_may_be_none() {
        assert_eq!(found(&[], &[]), None);
        assert_eq!(found(&[], &["%any", "10.0.0.0/8"]), None);
        assert_eq!(found(&["192.0.2.1"], &["2001:db8::1"]), None);
    }
}
