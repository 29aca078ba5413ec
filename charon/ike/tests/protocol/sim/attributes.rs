//! Pools of a gateway and uses for attributes of a client, with books about both.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ike::attributes::{AttributeHandlers, Client, Held, Lease, Pools};
use ike::wire::{CpAttribute, CpAttributeType};

/// Things in use: their number goes down when they are dropped.
#[derive(Debug)]
pub struct InUse<T: PartialEq> {
    pub what: T,
    book: Book<T>,
}

/// What is in use.
pub type Book<T> = Arc<Mutex<Vec<T>>>;

impl<T: PartialEq + Clone> InUse<T> {
    pub fn enter(book: &Book<T>, what: T) -> Self {
        book.lock().unwrap().push(what.clone());
        Self { what, book: Arc::clone(book) }
    }
}

impl<T: PartialEq> Drop for InUse<T> {
    fn drop(&mut self) {
        let mut book = self.book.lock().unwrap();
        let at = book.iter().position(|other| *other == self.what).unwrap();
        book.remove(at);
    }
}

impl Held for InUse<IpAddr> {}
impl Held for InUse<CpAttribute> {}

impl Lease for InUse<IpAddr> {
    fn address(&self) -> IpAddr {
        self.what
    }
}

/// The pools of a host: all connections that name a pool use the same addresses.
#[derive(Debug, Default)]
pub struct SimPools {
    pub addresses: Vec<IpAddr>,
    pub attributes: Vec<CpAttribute>,
    pub leases: Book<IpAddr>,
}

impl Pools for SimPools {
    fn acquire(&self, pools: &[String], client: &Client<'_>, requested: IpAddr) -> Option<Box<dyn Lease>> {
        let used = self.leases.lock().unwrap().clone();
        let fits = |address: &&IpAddr| address.is_ipv4() == requested.is_ipv4() && !client.taken.contains(address);
        // an address in use may be asked for again: by who reauthenticates
        let free = |address: &&IpAddr| **address == requested || !used.contains(address);
        let found = self.addresses.iter().filter(fits).filter(free);
        let found = found.min_by_key(|address| **address != requested).filter(|_| !pools.is_empty())?;
        Some(Box::new(InUse::enter(&self.leases, *found)))
    }

    fn attributes(&self, _: &[String], _: &Client<'_>, addresses: &[IpAddr]) -> Vec<CpAttribute> {
        if addresses.is_empty() { Vec::new() } else { self.attributes.clone() }
    }
}

/// Uses every DNS server.
#[derive(Debug, Default)]
pub struct SimHandlers {
    pub handled: Book<CpAttribute>,
}

impl AttributeHandlers for SimHandlers {
    fn requests(&self, _: &str, _: &[IpAddr]) -> Vec<CpAttribute> {
        vec![CpAttribute::new(CpAttributeType::InternalIp4Dns, &[])]
    }

    fn handle(&self, attribute: &CpAttribute) -> Option<Box<dyn Held>> {
        let dns = attribute.kind == CpAttributeType::InternalIp4Dns;
        dns.then(|| -> Box<dyn Held> { Box::new(InUse::enter(&self.handled, attribute.clone())) })
    }
}
