//! Which data plane a daemon uses.

use std::sync::Arc;
use std::time::Duration;

use ike::kernel::Kernel;
use strongswan::log;
use strongswan::settings::Settings;
use strongswan::sync::Mutex;

use super::EventSink;
use super::fake::FakeKernel;
use super::netlink::{Monitor, MonitorSettings, Netlink, NetlinkError, NetlinkSettings, Outside};
use super::userspace::{Userspace, UserspaceError, UserspaceSettings};
use crate::net::{EspSink, IkeSockets};

/// A running data plane. It is shut down when this is dropped, whoever else still holds a reference to its parts.
pub struct DataPlane {
    plane: Plane,
    /// Watches addresses and routes, until shut down.
    monitor: Mutex<Option<Monitor>>,
}

enum Plane {
    Netlink(Arc<Netlink>),
    Userspace(Arc<Userspace>),
    Fake(Arc<FakeKernel>),
}

/// Why there is no data plane.
#[derive(Debug, thiserror::Error)]
pub enum DataPlaneError {
    /// The configuration leaves none.
    #[error("no data plane is enabled: charon.plugins.kernel-netlink.load and kernel-libipsec.load are no")]
    None,
    /// The kernel cannot do it, and nothing else may.
    #[error("the kernel has no IPsec for us, and charon.plugins.kernel-libipsec.load is no: {0}")]
    Netlink(#[source] NetlinkError),
    /// It could not be set up.
    #[error(transparent)]
    Userspace(#[from] UserspaceError),
}

/// What the configuration says about the two real data planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    None,
    Netlink,
    Userspace,
    /// The kernel if it can, else userspace.
    Either,
}

impl Wanted {
    /// kernel-netlink is loaded unless it is switched off. As in strongSwan kernel-libipsec precedes it where it is
    /// switched on; unlike there, it steps in where it is not mentioned.
    fn from_settings(settings: &Settings) -> Self {
        let load = |plugin: &str| {
            let key = format!("charon.plugins.{plugin}.load");
            settings.get_str(&key).map(|_| settings.get_bool(&key, true))
        };
        match (load("kernel-netlink"), load("kernel-libipsec")) {
            (Some(false), Some(false)) => Self::None,
            (_, Some(true)) | (Some(false), None) => Self::Userspace,
            (_, Some(false)) => Self::Netlink,
            (Some(true) | None, None) => Self::Either,
        }
    }
}

impl DataPlane {
    /// Starts the data plane that the settings ask for: the fake if `load-tester.enable` and `load-tester.fake_kernel` are
    /// set, else the kernel's if it has ESP, else userspace ESP. `kernel-netlink.load` and `kernel-libipsec.load` leave
    /// one of them no choice.
    ///
    /// # Errors
    /// If it cannot be set up, or if none is left to use.
    pub fn start(settings: &Settings, sockets: IkeSockets, events: EventSink) -> Result<Self, DataPlaneError> {
        let on = |key: &str, default| settings.get_bool(&format!("charon.plugins.{key}"), default);
        if on("load-tester.enable", false) && on("load-tester.fake_kernel", false) {
            let plane = FakeKernel::announced();
            plane.report_to(events);
            return Ok(Self { plane: Plane::Fake(Arc::new(plane)), monitor: Mutex::new(None) });
        }
        let netlink = || Netlink::start(NetlinkSettings::from_settings(settings), &sockets, Arc::clone(&events));
        let reason = match Wanted::from_settings(settings) {
            Wanted::None => return Err(DataPlaneError::None),
            Wanted::Netlink => {
                return Ok(Self::kernels(netlink().map_err(DataPlaneError::Netlink)?, settings, events));
            }
            Wanted::Userspace => "by configuration".to_owned(),
            Wanted::Either => match netlink() {
                Ok(plane) => return Ok(Self::kernels(plane, settings, events)),
                Err(error) => format!("the kernel has no ESP for us: {error}"),
            },
        };
        let plane = Userspace::start(UserspaceSettings::from_settings(settings), sockets.nat_t, Arc::clone(&events))?;
        log!(KNL, 1, "ESP is handled in userspace on {} ({reason})", plane.device());
        let monitor = watch(settings, plane.outside(), events);
        Ok(Self { plane: Plane::Userspace(Arc::new(plane)), monitor })
    }

    fn kernels(plane: Netlink, settings: &Settings, events: EventSink) -> Self {
        log!(KNL, 1, "ESP is handled by the kernel");
        let monitor = watch(settings, plane.outside(), events);
        Self { plane: Plane::Netlink(Arc::new(plane)), monitor }
    }

    /// What IKE_SAs ask.
    pub fn kernel(&self) -> Arc<dyn Kernel> {
        match &self.plane {
            Plane::Netlink(plane) => plane.clone(),
            Plane::Userspace(plane) => plane.clone(),
            Plane::Fake(plane) => plane.clone(),
        }
    }

    /// Takes the ESP in UDP that the IKE sockets receive; the kernel has its own by then, and the fake wants none.
    pub fn esp_sink(&self) -> Option<Arc<dyn EspSink>> {
        match &self.plane {
            Plane::Userspace(plane) => Some(plane.clone()),
            Plane::Netlink(_) | Plane::Fake(_) => None,
        }
    }

    /// What has to happen when the settings were read again.
    pub fn on_reload(&self) -> Option<fn(&Settings)> {
        match &self.plane {
            Plane::Netlink(_) => Some(Netlink::reload),
            Plane::Userspace(_) | Plane::Fake(_) => None,
        }
    }

    /// Name of the plane, as in strongSwan's list of plugins.
    pub fn name(&self) -> &'static str {
        match &self.plane {
            Plane::Netlink(_) => "kernel-netlink",
            Plane::Userspace(_) => "kernel-libipsec",
            Plane::Fake(_) => "load-tester",
        }
    }

    /// Start scripts have run, which may have flushed the kernel's tables: puts back what should be in them.
    pub fn reassert(&self) {
        if let Plane::Netlink(plane) = &self.plane {
            plane.reassert();
        }
    }

    /// How long policies are kept that a daemon left behind which did not end properly.
    pub fn hold_orphans(&self) -> Option<Duration> {
        match &self.plane {
            Plane::Netlink(plane) => Some(plane.hold_orphans()),
            Plane::Userspace(_) | Plane::Fake(_) => None,
        }
    }

    /// Removes those of them that nobody has taken over.
    pub fn release_orphans(&self) {
        if let Plane::Netlink(plane) = &self.plane {
            plane.release_orphans();
        }
    }

    /// Ends its threads and takes back what it changed on the system.
    pub fn shut_down(&self) {
        drop(self.monitor.lock().take());
        match &self.plane {
            Plane::Netlink(plane) => plane.shut_down(),
            Plane::Userspace(plane) => plane.shut_down(),
            Plane::Fake(_) => {}
        }
    }
}

/// Starts to report changed addresses and routes, if that is wanted.
fn watch(settings: &Settings, outside: Arc<Outside>, events: EventSink) -> Mutex<Option<Monitor>> {
    let settings = MonitorSettings::from_settings(settings);
    let monitor = settings.roam_events.then(|| Monitor::start(settings, outside, events)).transpose();
    Mutex::new(monitor.unwrap_or_else(|error| {
        log!(KNL, 1, "changes of addresses and routes go unnoticed: {error}");
        None
    }))
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
        DataPlane::start(&Settings::parse_str(text).unwrap(), IkeSockets::default(), Arc::new(|_| {}))
    }

    #[test]
    fn the_fake_takes_both_settings() {
        let plane = start("charon { plugins { load-tester { enable = yes\n fake_kernel = yes\n } } }").unwrap();
        assert_eq!(plane.name(), "load-tester");
        assert!(plane.esp_sink().is_none());
        let one = "charon { plugins { kernel-libipsec { load = no\n }\n kernel-netlink { load = no\n }
             load-tester { fake_kernel = yes\n } } }";
        assert!(matches!(start(one), Err(DataPlaneError::None)));
    }

    #[test]
    fn one_plane_can_be_chosen_or_excluded() {
        let wanted = |netlink: &str, libipsec: &str| {
            let load = |plugin, value: &str| match value {
                "" => String::new(),
                value => format!("{plugin} {{ load = {value}\n }}\n"),
            };
            let plugins = load("kernel-netlink", netlink) + &load("kernel-libipsec", libipsec);
            Wanted::from_settings(&Settings::parse_str(&format!("charon {{ plugins {{ {plugins} }} }}")).unwrap())
        };
        assert_eq!(wanted("", ""), Wanted::Either);
        assert_eq!(wanted("yes", ""), Wanted::Either);
        assert_eq!(wanted("no", ""), Wanted::Userspace);
        assert_eq!(wanted("", "yes"), Wanted::Userspace);
        assert_eq!(wanted("yes", "yes"), Wanted::Userspace);
        assert_eq!(wanted("", "no"), Wanted::Netlink);
        assert_eq!(wanted("no", "no"), Wanted::None);
    }
}
