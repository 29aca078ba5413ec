//! What the configuration payload brought: virtual IPs on either side, and attributes in use (spec §5.5).

use std::net::IpAddr;

use strongswan::host::AddressRange;
use strongswan::log;
use strongswan::selectors::{TrafficSelector, resolve, resolve_ranges};

use super::IkeSa;
use crate::attributes::{Held, Lease};
use crate::env::Env;

/// Assigned by either side to the other. An IKE_SA hands all of it to the one that rekeys it; dropping it gives it back.
#[derive(Debug, Default)]
pub(crate) struct Assigned {
    /// Virtual IPs of ours, installed.
    local: Vec<VirtualIp>,
    /// Virtual IPs of the peer, from our pools.
    pub(crate) remote: Vec<Box<dyn Lease>>,
    /// Attributes in use.
    pub(crate) attributes: Vec<Box<dyn Held>>,
}

#[derive(Debug)]
struct VirtualIp {
    address: IpAddr,
    _installed: Box<dyn Held>,
}

/// What `dynamic` means on each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DynamicHosts {
    /// Ours.
    pub(crate) local: Vec<IpAddr>,
    /// The peer's; none while it has to have a virtual IP and does not.
    pub(crate) remote: Vec<IpAddr>,
}

impl IkeSa {
    /// Virtual IPs that the peer gave us.
    pub(crate) fn local_vips(&self) -> Vec<IpAddr> {
        self.assigned.iter().flat_map(|assigned| &assigned.local).map(|vip| vip.address).collect()
    }

    /// Virtual IPs that we gave the peer.
    pub(crate) fn remote_vips(&self) -> Vec<IpAddr> {
        self.assigned.iter().flat_map(|assigned| &assigned.remote).map(|lease| lease.address()).collect()
    }

    /// DNS servers that the peer gave us for scripts.
    pub(crate) fn dns_servers(&self) -> Vec<IpAddr> {
        self.assigned.iter().flat_map(|assigned| &assigned.attributes).filter_map(|held| held.dns_server()).collect()
    }

    /// What the configuration payload brought.
    pub(crate) fn assigned_mut(&mut self) -> &mut Assigned {
        self.assigned.get_or_insert_default()
    }

    /// Replaces our virtual IPs. One that stays is installed all the time.
    pub(crate) fn set_local_vips(&mut self, env: &Env<'_>, addresses: &[IpAddr]) {
        let outer = self.local.ip();
        let mut installed = Vec::with_capacity(addresses.len());
        for address in addresses {
            log!(IKE, 1, "installing new virtual IP {address}");
            match env.kernel.add_virtual_ip(*address, outer) {
                Ok(held) => installed.push(VirtualIp { address: *address, _installed: held }),
                Err(error) => log!(IKE, 1, "installing virtual IP {address} failed: {error}"),
            }
        }
        if !installed.is_empty() || self.assigned.is_some() {
            self.assigned_mut().local = installed;
        }
    }

    /// What `dynamic` selectors stand for: virtual IPs, else the endpoints.
    pub(crate) fn dynamic_hosts(&self) -> DynamicHosts {
        let or_host = |vips: Vec<IpAddr>, host: IpAddr| if vips.is_empty() { vec![host] } else { vips };
        let remote = self.remote_vips();
        // a client that should have a virtual IP must not get through to its own address instead
        let expected = self.config().is_some_and(|config| !config.pools.is_empty());
        DynamicHosts {
            local: or_host(self.local_vips(), self.local.ip()),
            remote: if expected { remote } else { or_host(remote, self.remote.ip()) },
        }
    }

    /// Our selectors to propose: a virtual IP is not known before the peer assigns it, so every address is.
    pub(crate) fn propose_local(&self, configured: &[TrafficSelector], hosts: &DynamicHosts) -> Vec<TrafficSelector> {
        let vips = self.config().map(|config| config.vips.as_slice()).unwrap_or_default();
        if vips.is_empty() {
            return resolve(configured, &hosts.local);
        }
        let all = |vip: &IpAddr| AddressRange::all(strongswan::host::Family::of(*vip));
        let all: Vec<_> = vips.iter().map(all).collect();
        resolve_ranges(configured, &all)
    }
}
