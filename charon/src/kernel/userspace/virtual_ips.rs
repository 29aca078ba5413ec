//! Virtual IPs: addresses that gateways assign to us, on the TUN device unless configured otherwise.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ike::attributes::Held;
use ike::kernel::KernelError;
use nix::net::if_::if_nametoindex;
use strongswan::host::Family;
use strongswan::log;
use strongswan::sync::Mutex;

use super::settings::InstallVirtualIps;
use crate::kernel::netlink::{NetlinkError, Network};

/// The virtual IPs of the daemon.
pub(super) struct VirtualIps {
    network: Network,
    settings: InstallVirtualIps,
    tun: u32,
    /// Held during calls to the kernel, so that what is recorded is what is installed.
    installed: Mutex<HashMap<IpAddr, Installed>>,
}

struct Installed {
    users: usize,
    /// Index of the interface it was added to; it was there before, if `None`.
    interface: Option<u32>,
}

impl VirtualIps {
    pub(super) fn new(network: Network, settings: InstallVirtualIps, tun: u32) -> Arc<Self> {
        Arc::new(Self { network, settings, tun, installed: Mutex::new(HashMap::new()) })
    }

    fn interface(&self) -> Option<u32> {
        match &self.settings {
            InstallVirtualIps::No => None,
            InstallVirtualIps::OnTun => Some(self.tun),
            InstallVirtualIps::On(name) => if_nametoindex(name.as_str()).ok().or_else(|| {
                log!(KNL, 1, "there is no interface '{name}' for virtual IPs, using the TUN device");
                Some(self.tun)
            }),
        }
    }

    /// Adds an address; the interface that it was added to, unless it was there already.
    fn install(&self, address: IpAddr) -> Result<Option<u32>, NetlinkError> {
        let Some(interface) = self.interface() else { return Ok(None) };
        if self.network.addresses()?.iter().any(|known| known.address == address) {
            return Ok(None);
        }
        self.network.add_address(interface, (address, Family::of(address).bits()))?;
        Ok(Some(interface))
    }
}

/// Adds one user of an address.
pub(super) fn add(virtual_ips: &Arc<VirtualIps>, address: IpAddr) -> Result<Box<dyn Held>, KernelError> {
    let mut installed = virtual_ips.installed.lock();
    if let Some(known) = installed.get_mut(&address) {
        known.users = known.users.saturating_add(1);
    } else {
        let interface = virtual_ips.install(address).map_err(|error| {
            log!(KNL, 1, "adding virtual IP {address} failed: {error}");
            KernelError::Failed(error.to_string())
        })?;
        installed.insert(address, Installed { users: 1, interface });
    }
    Ok(Box::new(InUse { virtual_ips: Arc::clone(virtual_ips), address }))
}

/// An address in use, until it is dropped.
struct InUse {
    virtual_ips: Arc<VirtualIps>,
    address: IpAddr,
}

impl std::fmt::Debug for InUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("InUse").field(&self.address).finish()
    }
}

impl Held for InUse {}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut installed = self.virtual_ips.installed.lock();
        match installed.get_mut(&self.address) {
            Some(known) if known.users > 1 => known.users -= 1,
            _ => {
                let Some(Installed { interface: Some(interface), .. }) = installed.remove(&self.address) else {
                    return;
                };
                let prefix = (self.address, Family::of(self.address).bits());
                if let Err(error) = self.virtual_ips.network.delete_address(interface, prefix) {
                    // The device may have gone before.
                    log!(KNL, 2, "deleting virtual IP {} failed: {error}", self.address);
                }
            }
        }
    }
}
