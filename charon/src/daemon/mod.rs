//! Wires the daemon together, runs it and takes it apart.
//!
//! Parts are created from the outside in: settings, loggers, sockets, data plane, manager, controller, control socket. The
//! main thread then waits for signals. Shutdown goes the other way, and says goodbye to peers first.

mod notify;
mod operations;
mod pidfile;
mod scripts;
mod start_gate;

use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use ike::IkeSettings;
use ike::attributes::AttributeHandlers;
use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use strongswan::credentials::{AuthOptions, Store};
use strongswan::identity::set_rdn_matching;
use strongswan::log;
use strongswan::processing::{Priority, Processor, job, monotonic};
use strongswan::settings::{NoticeKind, Settings, options};
use vici::{Endpoint, EndpointError, Server, ServerError, ServerOptions};

use crate::bus::counters::Counters;
use crate::bus::log::{ControlLog, Levels, Loggers, local_time};
use crate::bus::{Bus, DaemonAlert};
use crate::config::{Connections, NameCache};
use crate::control::Control;
use crate::controller::Controller;
use crate::fetch::Fetcher;
use crate::jobs::{KernelEvents, ProcessMessage};
use crate::kernel::{self, DataPlane, DataPlaneError};
use crate::manager::{HalfOpen, Manager, Numbers, Resolver, Surroundings};
use crate::net::{Delivery, NoSockets, Receiver, Sender, Sockets};
use crate::pools::{AttributesForAll, Pcscf, PcscfConnections, Pools, Resolve, ResolveSettings};
use crate::radius::{Dae, Radius, RadiusPools};
use crate::settings;
use crate::traps::Traps;
use crate::updown::{ScriptDns, Updown, UpdownSettings};
use notify::{Notify, Watchdog};
use operations::DaemonOperations;
use pidfile::PidFile;
pub use pidfile::PidFileError;
use start_gate::StartGate;

/// How long IKE_SAs are waited for that are being worked on at shutdown.
const PATIENCE: Duration = Duration::from_secs(10);

/// The parts that every daemon has, as `stats` lists them.
const PARTS: [&str; 5] = ["charon", "counters", "socket-default", "updown", "vici"];

/// What systemd is told once we serve.
const READY: &str = "READY=1\nSTATUS=Serving";

/// How long clients may take to read what is queued for them at the end.
const GRACE: Duration = Duration::from_secs(1);

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Options {
    /// Levels of the loggers if none is configured.
    pub levels: Levels,
    /// No log lines on standard output if no logger is configured.
    pub use_syslog: bool,
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No sockets.
    #[error(transparent)]
    Sockets(#[from] NoSockets),
    /// No data plane.
    #[error("{0}")]
    DataPlane(#[from] DataPlaneError),
    /// Another daemon is running, or the file cannot be written.
    #[error("{0}")]
    PidFile(#[from] PidFileError),
    /// No control socket.
    #[error("{0}")]
    Vici(#[from] ServerError),
    /// The name of the control socket is none.
    #[error("{0}")]
    ViciName(#[from] EndpointError),
    /// Threads, signals or file descriptors are exhausted.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// What lives as long as the process, whether or not the daemon gets to run: log sinks, settings, and what these are applied
/// to again when they are read again. Everything else reads its settings when it is started and keeps them.
pub struct Base {
    settings: Mutex<Settings>,
    ike_settings: Arc<ArcSwap<IkeSettings>>,
    attributes: Arc<ArcSwap<AttributesForAll>>,
    p_cscf: Arc<ArcSwap<PcscfConnections>>,
    credentials: Arc<Store>,
    loggers: Arc<Loggers>,
    options: Options,
    /// The ports of the sockets, regular and for NAT traversal, once they are open: a configured 0 means any.
    ports: OnceLock<(u16, u16)>,
    /// What the data plane does about new settings, once there is one.
    on_reload: OnceLock<fn(&Settings)>,
    /// RADIUS servers and what goes with them, while the daemon runs.
    radius: OnceLock<Weak<Radius>>,
}

impl Base {
    /// Opens the configured log sinks and puts the settings in force.
    pub fn new(settings: Settings, loggers: Arc<Loggers>, options: Options) -> Arc<Self> {
        let base = Self {
            settings: Mutex::new(settings),
            ike_settings: Arc::default(),
            attributes: Arc::default(),
            p_cscf: Arc::default(),
            credentials: Arc::default(),
            loggers,
            options,
            ports: OnceLock::new(),
            on_reload: OnceLock::new(),
            radius: OnceLock::new(),
        };
        base.apply(&base.settings.lock());
        Arc::new(base)
    }

    /// Reads strongswan.conf again. What was in force stays in force if that fails.
    ///
    /// # Errors
    /// The name of the file that could not be read.
    pub fn reload(&self) -> Result<(), String> {
        let mut settings = self.settings.lock();
        if let Err(error) = settings.reload() {
            log!(DMN, 1, "{error}");
            log!(DMN, 1, "reloading config failed, keeping old");
            return Err(settings.path().map(|path| path.display().to_string()).unwrap_or_default());
        }
        self.apply(&settings);
        report(&settings);
        Ok(())
    }

    /// Puts in force what can change while the daemon runs.
    fn apply(&self, settings: &Settings) {
        self.loggers.configure(&settings::loggers(settings, self.options.levels, self.options.use_syslog));
        self.store_ike_settings(settings::ike(settings));
        self.attributes.store(Arc::new(AttributesForAll::from_settings(settings)));
        self.p_cscf.store(Arc::new(PcscfConnections::from_settings(settings)));
        self.credentials.set_options(settings::trust_options(settings));
        set_rdn_matching(settings::rdn_matching(settings));
        if let Some(reload) = self.on_reload.get() {
            reload(settings);
        }
        if let Some(radius) = self.radius.get().and_then(Weak::upgrade) {
            radius.reload(settings);
        }
    }

    /// Reports what is wrong with the settings.
    pub fn report(&self) {
        report(&self.settings.lock());
    }

    /// Puts IKE settings in force, with the ports that are in use.
    fn store_ike_settings(&self, mut settings: IkeSettings) {
        if let Some((port, port_nat_t)) = self.ports.get() {
            settings.port = *port;
            settings.port_nat_t = *port_nat_t;
        }
        self.ike_settings.store(Arc::new(settings));
    }

    fn auth_options(&self) -> AuthOptions {
        settings::auth_options(&self.settings.lock())
    }

    fn scripts(&self, section: &str) -> Vec<(String, String)> {
        settings::scripts(&self.settings.lock(), section)
    }
}

/// Tells about options that nobody knows and values that nobody can use.
fn report(settings: &Settings) {
    for notice in settings.notices() {
        match notice.kind {
            NoticeKind::NotAFile => log!(LIB, 2, "{notice}"),
            NoticeKind::Pattern | NoticeKind::Unreadable => log!(LIB, 1, "{notice}"),
        }
    }
    for finding in options::check(settings, options::strongswan_conf()) {
        log!(CFG, 1, "{finding}");
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.loggers.flush();
    }
}

/// The running daemon.
pub struct Daemon {
    base: Arc<Base>,
    bus: Arc<Bus>,
    processor: Arc<Processor>,
    receiver: Receiver,
    manager: Arc<Manager>,
    traps: Arc<Traps>,
    resolve: Arc<Resolve>,
    updown: Arc<Updown>,
    radius: Arc<Radius>,
    dae: Mutex<Option<Dae>>,
    vici: Mutex<Option<Server>>,
    data_plane: Arc<DataPlane>,
    start_gate: Arc<StartGate>,
    notify: Notify,
    watchdog: Mutex<Option<Watchdog>>,
    pidfile: PidFile,
}

impl Daemon {
    /// Creates all parts and starts their threads.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left behind.
    pub fn start(base: &Arc<Base>) -> Result<Self, StartError> {
        let settings = base.settings.lock();
        let pidfile = PidFile::reserve(settings::pidfile(&settings))?;
        let bus = Bus::new();
        let control_log = ControlLog::new(&base.loggers);
        let processor = Arc::new(Processor::new());
        let half_open = HalfOpen::new();
        let sockets = Arc::new(Sockets::open(&settings::sockets(&settings))?);
        let [port, port_nat_t] = [false, true].map(|nat_t| sockets.port(nat_t).unwrap_or(0));
        let _first = base.ports.set((port, port_nat_t));
        base.store_ike_settings(settings::ike(&settings));
        let kernel_events = Arc::<KernelEvents>::default();
        let data_plane = DataPlane::start(&settings, sockets.clones()?, kernel_events.sink())?;
        if let Some(reload) = data_plane.on_reload() {
            let _first = base.on_reload.set(reload);
        }
        let sender = Sender::new(sockets, settings::send_delay(&settings));
        let connections = Arc::new(Connections::new(Arc::new(NameCache::start()?), port));
        let pools = Arc::new(Pools::new(Arc::clone(&base.attributes)));
        let radius = Radius::new(&settings, &bus, &processor);
        let _first = base.radius.set(Arc::downgrade(&radius));
        let resolve = Arc::new(Resolve::new(ResolveSettings::from_settings(&settings), Arc::clone(&processor)));
        let updown_settings = UpdownSettings::from_settings(&settings);
        let mut handlers: Arc<dyn AttributeHandlers> = Arc::<Resolve>::clone(&resolve);
        if updown_settings.load && updown_settings.dns_handler {
            handlers = Arc::new(ScriptDns::before(handlers));
        }
        let handlers: Arc<dyn AttributeHandlers> = Arc::new(Pcscf::before(Arc::clone(&base.p_cscf), handlers));
        let updown = Updown::new(updown_settings, Box::new(kernel::interface_of));
        let manager = Manager::new(
            settings::manager(&settings),
            Surroundings {
                ike_settings: Arc::clone(&base.ike_settings),
                config: Arc::<Connections>::clone(&connections),
                credentials: Arc::clone(&base.credentials),
                kernel: data_plane.kernel(),
                pools: Arc::new(RadiusPools::before(&radius, Arc::<Pools>::clone(&pools))),
                handlers,
                aaa: Arc::new(Arc::clone(&radius)),
                bus: Arc::clone(&bus),
                sender: sender.clone(),
                processor: Arc::clone(&processor),
                numbers: Arc::new(Numbers::new(settings::numbers(&settings))),
                half_open: Arc::clone(&half_open),
                fetcher: Fetcher::new(settings::fetch(&settings)),
                resolver: Resolver::new(settings::resolver_threads(&settings)),
            },
        );
        let traps = Traps::new(&manager);
        kernel_events.handle_with(&manager, &traps);
        install_traps_for(&manager, &traps);
        let controller = Controller::new(Arc::clone(&manager), Arc::clone(&traps), control_log, &bus);
        bus.add(Arc::<Traps>::clone(&traps));
        bus.add(Arc::<Updown>::clone(&updown));
        radius.serve(&manager);
        // tunnels are worth having without it, too
        let dae = Dae::start(&settings, &radius).unwrap_or_else(|error| {
            log!(CFG, 1, "{error}");
            None
        });
        processor.start(settings::processor(&settings))?;
        let delivery = Delivery {
            processor: Arc::clone(&processor),
            job: {
                let manager = Arc::clone(&manager);
                Box::new(move |message| Box::new(ProcessMessage { manager: Arc::clone(&manager), message }))
            },
            esp: data_plane.esp_sink(),
            malformed: {
                let bus = Arc::clone(&bus);
                Box::new(move || bus.alert(&DaemonAlert::ParseErrorHeader))
            },
        };
        let counters = Arc::<Counters>::default();
        let start_gate = Arc::<StartGate>::default();
        let operations = Arc::new(DaemonOperations {
            start_gate: Arc::clone(&start_gate),
            base: Arc::clone(base),
            controller,
            counters: Arc::clone(&counters),
            started: monotonic(),
            since: local_time(),
            plugins: PARTS.iter().chain([&data_plane.name()]).map(ToString::to_string).collect(),
        });
        bus.add(counters);
        let control = Control::new(connections, Arc::clone(&base.credentials), pools, operations, &base.loggers);
        let endpoint: Endpoint = settings::vici_socket(&settings).parse()?;
        let kernel = Arc::clone(manager.kernel());
        let (vici, events) = control.serve(&endpoint, ServerOptions::default(), kernel)?;
        bus.add(events);
        let receiver = Receiver::start(sender, settings::receiver(&settings), half_open, delivery)?;
        drop(settings);
        Ok(Self {
            base: Arc::clone(base),
            bus,
            processor,
            receiver,
            manager,
            traps,
            resolve,
            updown,
            radius,
            dae: Mutex::new(dae),
            vici: Mutex::new(Some(vici)),
            data_plane: Arc::new(data_plane),
            start_gate,
            notify: Notify::from_environment(),
            watchdog: Mutex::default(),
            pidfile,
        })
    }

    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// If signals cannot be waited for.
    pub fn run(&self) -> Result<(), StartError> {
        // Before the scripts, which may take long: a signal meanwhile is served after them.
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        self.notify.send("STATUS=Running start scripts");
        scripts::run("start", &self.base.scripts("start-scripts"));
        self.get_ready()?;
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    log!(DMN, 1, "signal of type SIGHUP received. Reloading configuration");
                    self.notify.send("STATUS=Reloading configuration");
                    // Failures were logged where they happened.
                    let _kept = self.base.reload();
                    self.notify.send(READY);
                }
                signal => {
                    let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                    log!(DMN, 1, "{name} received, shutting down");
                    break;
                }
            }
        }
        Ok(())
    }

    /// The start scripts have ended. They may have flushed the kernel's tables, which is what they are mostly used for, and
    /// they may have loaded connections; so IKE's sockets are exempted from policies now, whether or not they were before,
    /// traps and other policies are put back, and only then are we ready, and connections with `start_action = start` begin.
    fn get_ready(&self) -> Result<(), StartError> {
        self.data_plane.reassert();
        if let Some(hold) = self.data_plane.hold_orphans() {
            let data_plane = Arc::downgrade(&self.data_plane);
            let release = move || data_plane.upgrade().iter().for_each(|data_plane| data_plane.release_orphans());
            self.processor.schedule_after(hold, job(Priority::Medium, release));
        }
        self.pidfile.publish()?;
        *self.watchdog.lock() = self.notify.watch(&self.processor);
        self.notify.send(READY);
        self.start_gate.open();
        Ok(())
    }

    /// Runs the stop scripts, says goodbye to peers and ends all threads.
    pub fn shut_down(&self) {
        self.notify.send("STOPPING=1\nSTATUS=Running stop scripts");
        scripts::run("stop", &self.base.scripts("stop-scripts"));
        self.notify.send("STATUS=Closing SAs");
        self.bus.alert(&DaemonAlert::ShutdownSignal);
        // Nobody's answer is waited for, and what peers send must not keep the workers from the goodbyes.
        self.receiver.stop();
        drop(self.dae.lock().take());
        let stuck = self.manager.flush(PATIENCE);
        self.traps.flush();
        self.updown.finish(PATIENCE);
        self.radius.finish(PATIENCE);
        if stuck == 0 {
            self.processor.shutdown();
        } else {
            // A worker that has not come back by now may never do so: it is not waited for.
            log!(DMN, 0, "{stuck} IKE_SAs are still in use, giving them up");
        }
        // Nobody is left to do it as a job.
        self.resolve.apply();
        self.data_plane.shut_down();
        self.watchdog.lock().take();
        if let Some(vici) = self.vici.lock().take() {
            vici.stop(GRACE);
        }
        // Listeners know the manager, which knows the bus.
        self.bus.clear();
    }
}

/// CHILD_SAs that close or fail may leave a trap behind.
fn install_traps_for(manager: &Arc<Manager>, traps: &Arc<Traps>) {
    let traps = Arc::downgrade(traps);
    manager.set_trap_installer(Box::new(move |connection, child| {
        let Some(traps) = traps.upgrade() else { return };
        if let Err(error) = traps.install(&connection, &child) {
            log!(CFG, 1, "installing '{}' failed: {error}", child.name);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_in_force_from_the_start_and_after_a_reload_that_works() {
        let path = std::env::temp_dir().join(format!("charon-reload-{}.conf", std::process::id()));
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("charon { reject_trusted_end_entity = yes\n retransmit_tries = 3\n}");
        let settings = Settings::load(&path).unwrap();
        let base = Base::new(settings, Loggers::new(), Options { levels: Levels::all(-1), use_syslog: true });
        let in_force =
            || (base.credentials.options().reject_trusted_end_entity, base.ike_settings.load().retransmit.tries);
        assert_eq!(in_force(), (true, 3));
        write("charon { retransmit_tries = 7\n}");
        base.reload().unwrap();
        assert_eq!(in_force(), (false, 7));
        write("charon { retransmit_tries = 9\n");
        assert_eq!(base.reload(), Err(path.display().to_string()));
        assert_eq!(in_force(), (false, 7));
        std::fs::remove_file(&path).unwrap();
    }
}
