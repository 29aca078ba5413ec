//! Virtual IPs: addresses that gateways assign to us, on an interface of ours.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ike::attributes::Held;
use ike::kernel::KernelError;
use nix::net::if_::if_nametoindex;
use strongswan::host::Family;
use strongswan::log;
use strongswan::settings::Settings;
use strongswan::sync::Mutex;

use super::{NetlinkError, Network};

/// What becomes of virtual IPs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InstallVirtualIps {
    /// `install_virtual_ip = no`: somebody else cares for them.
    No,
    /// They are added to the TUN device, if there is one, else to the interface that leads to the peer.
    #[default]
    WhereTrafficGoes,
    /// `install_virtual_ip_on`: they are added to the interface of this name.
    On(String),
}

impl InstallVirtualIps {
    /// Reads them from strongswan.conf.
    pub fn from_settings(settings: &Settings) -> Self {
        match settings.get_str("charon.install_virtual_ip_on") {
            _ if !settings.get_bool("charon.install_virtual_ip", true) => Self::No,
            Some(interface) => Self::On(interface.to_owned()),
            None => Self::default(),
        }
    }
}

/// The virtual IPs of the daemon.
pub(in crate::kernel) struct VirtualIps {
    network: Network,
    settings: InstallVirtualIps,
    /// Index of the TUN device, if there is one.
    tun: Option<u32>,
    /// Held during calls to the kernel, so that what is recorded is what is installed.
    installed: Mutex<HashMap<IpAddr, Installed>>,
}

struct Installed {
    users: usize,
    /// Index of the interface it was added to; it was there before, if `None`.
    interface: Option<u32>,
}

/// Why an address was not installed.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("no interface available")]
    NoInterface,
}

impl VirtualIps {
    pub(in crate::kernel) fn open(settings: InstallVirtualIps, tun: Option<u32>) -> Result<Arc<Self>, NetlinkError> {
        let network = Network::open()?;
        Ok(Arc::new(Self { network, settings, tun, installed: Mutex::new(HashMap::new()) }))
    }

    /// Adds an address; the interface that it was added to, unless it was there already or is not ours to add.
    fn install(&self, address: IpAddr, outer: IpAddr) -> Result<Option<u32>, InstallError> {
        if self.settings == InstallVirtualIps::No {
            return Ok(None);
        }
        let known = self.network.addresses()?;
        if known.iter().any(|known| known.address == address) {
            return Ok(None);
        }
        let named = match &self.settings {
            InstallVirtualIps::On(name) => {
                let index = if_nametoindex(name.as_str());
                if let Err(error) = index {
                    log!(KNL, 1, "no interface '{name}' for virtual IPs ({error}), using another");
                }
                index.ok()
            }
            InstallVirtualIps::No | InstallVirtualIps::WhereTrafficGoes => None,
        };
        let to_peer = || known.iter().find(|known| known.address == outer);
        let first = || known.iter().find(|known| known.global);
        let usual = || self.tun.or_else(|| to_peer().or_else(first).map(|known| known.interface));
        let interface = named.or_else(usual).ok_or(InstallError::NoInterface)?;
        self.network.add_address(interface, (address, Family::of(address).bits()))?;
        Ok(Some(interface))
    }

    /// Adds one user of an address. `outer` is our address towards the peer that assigned it.
    pub(in crate::kernel) fn add(
        this: &Arc<Self>,
        address: IpAddr,
        outer: IpAddr,
    ) -> Result<Box<dyn Held>, KernelError> {
        let mut installed = this.installed.lock();
        if let Some(known) = installed.get_mut(&address) {
            known.users = known.users.saturating_add(1);
        } else {
            let interface = this.install(address, outer).map_err(|error| {
                log!(KNL, 1, "adding virtual IP {address} failed: {error}");
                KernelError::Failed(error.to_string())
            })?;
            installed.insert(address, Installed { users: 1, interface });
        }
        Ok(Box::new(InUse { virtual_ips: Arc::clone(this), address }))
    }
}

impl VirtualIps {
    /// Whether an address is there because of us.
    pub(in crate::kernel) fn contains(&self, address: IpAddr) -> bool {
        self.installed.lock().get(&address).is_some_and(|installed| installed.interface.is_some())
    }

    /// Removes all of them, whoever uses them.
    pub(in crate::kernel) fn clear(&self) {
        let installed = std::mem::take(&mut *self.installed.lock());
        installed.iter().for_each(|(address, installed)| self.remove(*address, installed));
    }

    fn remove(&self, address: IpAddr, installed: &Installed) {
        let Some(interface) = installed.interface else { return };
        if let Err(error) = self.network.delete_address(interface, (address, Family::of(address).bits())) {
            // The device may have gone before.
            log!(KNL, 2, "deleting virtual IP {address} failed: {error}");
        }
    }
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
            Some(_) | None => {
                if let Some(last) = installed.remove(&self.address) {
                    self.virtual_ips.remove(self.address, &last);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_choose_the_interface() {
        let read = |text: &str| {
            let settings = Settings::parse_str(&format!("charon {{ {text}\n }}")).unwrap();
            InstallVirtualIps::from_settings(&settings)
        };
        assert_eq!(read(""), InstallVirtualIps::WhereTrafficGoes);
        assert_eq!(read("install_virtual_ip_on = lo"), InstallVirtualIps::On("lo".to_owned()));
        assert_eq!(read("install_virtual_ip = no\n install_virtual_ip_on = lo"), InstallVirtualIps::No);
    }
}
