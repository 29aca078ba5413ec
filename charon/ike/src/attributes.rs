//! What a configuration payload (RFC 7296 §2.19, §3.15) is made of and where it goes: the narrow traits through which a
//! gateway gets addresses and attributes for its clients, and a client has attributes put to use.
//!
//! Whatever an IKE_SA holds through them is given back by dropping it, so nothing stays taken when an IKE_SA ends, in
//! whichever way it does.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use strongswan::identity::Identity;

use crate::config::IkeVersion;
use crate::ids::UniqueId;
use crate::wire::CpAttribute;

/// Something that is in use until it is dropped.
pub trait Held: Send + fmt::Debug {
    /// The DNS server that is kept for scripts, if that is what it is.
    fn dns_server(&self) -> Option<IpAddr> {
        None
    }
}

/// A virtual IP that is assigned to a client until it is dropped.
pub trait Lease: Held {
    /// The address.
    fn address(&self) -> IpAddr;
}

/// A client of ours, as far as assigning addresses is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The IKE_SA it is on.
    pub ike_sa: UniqueId,
    /// Who it is: addresses are kept for it.
    pub identity: &'a Identity,
    /// Where it is: an address in use is shared only with the same host, which is reauthenticating then.
    pub remote: SocketAddr,
    /// What it got on this IKE_SA already.
    pub taken: &'a [IpAddr],
    /// How it asks: some attributes exist for IKEv1 only.
    pub version: IkeVersion,
}

/// Addresses and attributes for clients.
pub trait Pools: Send + Sync {
    /// Assigns an address of the family of `requested`, and that one if possible, from the first of these pools that has
    /// one.
    fn acquire(&self, pools: &[String], client: &Client<'_>, requested: IpAddr) -> Option<Box<dyn Lease>>;

    /// The attributes that go with these pools for a client that got these addresses.
    fn attributes(&self, pools: &[String], client: &Client<'_>, addresses: &[IpAddr]) -> Vec<CpAttribute>;
}

/// Uses for attributes that a gateway assigns.
pub trait AttributeHandlers: Send + Sync {
    /// What to ask for on this connection, next to virtual IPs like these.
    fn requests(&self, connection: &str, addresses: &[IpAddr]) -> Vec<CpAttribute>;

    /// Puts an attribute to use, until the result is dropped. `None` if there is no use for it.
    fn handle(&self, attribute: &CpAttribute) -> Option<Box<dyn Held>>;
}

/// No pools, and no use for attributes.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAttributes;

impl Pools for NoAttributes {
    fn acquire(&self, _: &[String], _: &Client<'_>, _: IpAddr) -> Option<Box<dyn Lease>> {
        None
    }

    fn attributes(&self, _: &[String], _: &Client<'_>, _: &[IpAddr]) -> Vec<CpAttribute> {
        Vec::new()
    }
}

impl AttributeHandlers for NoAttributes {
    fn requests(&self, _: &str, _: &[IpAddr]) -> Vec<CpAttribute> {
        Vec::new()
    }

    fn handle(&self, _: &CpAttribute) -> Option<Box<dyn Held>> {
        None
    }
}
