//! Which data plane a daemon uses.

use std::net::UdpSocket;
use std::sync::Arc;

use ike::kernel::Kernel;
use strongswan::settings::Settings;

use super::EventSink;
use super::fake::FakeKernel;
use super::userspace::{Userspace, UserspaceError, UserspaceSettings};
use crate::net::EspSink;

/// A running data plane. It is shut down when this is dropped, whoever else still holds a reference to its parts.
pub struct DataPlane {
    kernel: Arc<dyn Kernel>,
    userspace: Option<Arc<Userspace>>,
    name: &'static str,
}

/// Why there is no data plane.
#[derive(Debug, thiserror::Error)]
pub enum DataPlaneError {
    /// The configuration leaves none.
    #[error("no data plane is enabled: charon.plugins.kernel-libipsec.load is no")]
    None,
    /// It could not be set up.
    #[error(transparent)]
    Userspace(#[from] UserspaceError),
}

impl DataPlane {
    /// Starts the data plane that the settings ask for: the fake if `load-tester.enable` and `load-tester.fake_kernel` are
    /// set, else userspace ESP. `sockets` are handles of the IKE sockets for NAT traversal.
    ///
    /// # Errors
    /// If it cannot be set up, or if none is left to use.
    pub fn start(settings: &Settings, sockets: Vec<UdpSocket>, events: EventSink) -> Result<Self, DataPlaneError> {
        let on = |key: &str, default| settings.get_bool(&format!("charon.plugins.{key}"), default);
        if on("load-tester.enable", false) && on("load-tester.fake_kernel", false) {
            return Ok(Self { kernel: Arc::new(FakeKernel::announced()), userspace: None, name: "load-tester" });
        }
        if !on("kernel-libipsec.load", true) {
            return Err(DataPlaneError::None);
        }
        let plane = Arc::new(Userspace::start(UserspaceSettings::from_settings(settings), sockets, events)?);
        Ok(Self { kernel: plane.clone(), userspace: Some(plane), name: "kernel-libipsec" })
    }

    /// What IKE_SAs ask.
    pub fn kernel(&self) -> Arc<dyn Kernel> {
        Arc::clone(&self.kernel)
    }

    /// Takes the ESP in UDP that the IKE sockets receive; the fake wants none.
    pub fn esp_sink(&self) -> Option<Arc<dyn EspSink>> {
        Some(self.userspace.clone()?)
    }

    /// Name of the plane, as in strongSwan's list of plugins.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Ends its threads and takes back what it changed on the system.
    pub fn shut_down(&self) {
        if let Some(plane) = &self.userspace {
            plane.shut_down();
        }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.shut_down();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(text: &str) -> Result<DataPlane, DataPlaneError> {
        DataPlane::start(&Settings::parse_str(text).unwrap(), vec![], Arc::new(|_| {}))
    }

    #[test]
    fn the_fake_takes_both_settings() {
        let plane = start("charon { plugins { load-tester { enable = yes\n fake_kernel = yes\n } } }").unwrap();
        assert_eq!(plane.name(), "load-tester");
        assert!(plane.esp_sink().is_none());
        let one = "charon { plugins { kernel-libipsec { load = no\n }\n load-tester { fake_kernel = yes\n } } }";
        assert!(matches!(start(one), Err(DataPlaneError::None)));
    }
}
