//! Addresses and attributes from an Access-Accept, for the client it was about: the pool `radius`.

use std::net::IpAddr;
use std::sync::Arc;

use ike::attributes::{Client, Held, Lease, Pools};
use ike::wire::CpAttribute;
use strongswan::log;

use super::Radius;

/// The name by which a connection uses the addresses.
const POOL: &str = "radius";

/// Gives out what a server granted, before anything else.
pub struct RadiusPools {
    radius: Arc<Radius>,
    others: Arc<dyn Pools>,
}

impl RadiusPools {
    /// Before others.
    pub fn before(radius: &Arc<Radius>, others: Arc<dyn Pools>) -> Self {
        Self { radius: Arc::clone(radius), others }
    }
}

/// An address of the server's: it knows itself when that is free again.
#[derive(Debug)]
struct Framed(IpAddr);

impl Held for Framed {}

impl Lease for Framed {
    fn address(&self) -> IpAddr {
        self.0
    }
}

impl Pools for RadiusPools {
    fn acquire(&self, pools: &[String], client: &Client<'_>, requested: IpAddr) -> Option<Box<dyn Lease>> {
        if pools.iter().any(|pool| pool == POOL)
            && let Some(granted) = self.radius.granted.lock().get_mut(&client.ike_sa)
            && let Some(index) = granted.addresses.iter().position(|address| address.is_ipv4() == requested.is_ipv4())
        {
            let address = granted.addresses.remove(index);
            log!(CFG, 2, "assigning {address} from RADIUS to '{}'", client.identity);
            return Some(Box::new(Framed(address)));
        }
        self.others.acquire(pools, client, requested)
    }

    fn attributes(&self, pools: &[String], client: &Client<'_>, addresses: &[IpAddr]) -> Vec<CpAttribute> {
        let mut attributes = self.others.attributes(pools, client, addresses);
        if let Some(granted) = self.radius.granted.lock().get(&client.ike_sa) {
            attributes.extend(granted.attributes.iter().cloned());
        }
        attributes
    }
}
