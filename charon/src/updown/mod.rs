//! `updown` scripts: a command per CHILD_SA that is run when it comes up and when it goes down.
//!
//! Runs for one reqid happen one after the other, in the order of the events: a script never sees `down` before `up`, nor
//! the successor before the end of its predecessor. Runs for different ones happen side by side, on up to [`MAX_RUNNERS`]
//! threads of their own that end when there is nothing to do, so that a script that hangs holds neither a worker nor an
//! IKE_SA. (strongSwan runs them in the worker, with the bus locked and without a time limit.)

mod command;
mod dns;
mod environment;

pub use dns::ScriptDns;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ike::ids::{Reqid, UniqueId};
use ike::{ChildSaSnapshot, Event, IkeSa, IkeSaSnapshot};
use parking_lot::{Condvar, Mutex};
use strongswan::log;
use strongswan::settings::Settings;

use crate::bus::Listener;
use command::Ending;

/// Threads that run scripts.
const MAX_RUNNERS: usize = 16;

/// Runs that may wait before those of CHILD_SAs that came and went meanwhile are left out: a script that hangs must not
/// let peers fill our memory.
const MAX_WAITING: usize = 10_000;

/// How scripts are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdownSettings {
    /// `charon.plugins.updown.load`
    pub load: bool,
    /// `charon.plugins.updown.dns_handler`
    pub dns_handler: bool,
    /// `charon.plugins.updown.timeout`: a script that takes longer is killed; `None` lets it.
    pub timeout: Option<Duration>,
}

impl UpdownSettings {
    /// Reads them from strongswan.conf.
    pub fn from_settings(settings: &Settings) -> Self {
        let view = settings.view("charon.plugins.updown");
        let timeout = view.get_time("timeout", Duration::from_secs(60));
        Self {
            load: view.get_bool("load", true),
            dns_handler: view.get_bool("dns_handler", false),
            timeout: (!timeout.is_zero()).then_some(timeout),
        }
    }
}

/// Finds the interface that has an address of ours.
pub type InterfaceOf = Box<dyn Fn(IpAddr) -> Option<String> + Send + Sync>;

/// Runs the scripts of CHILD_SAs.
pub struct Updown {
    shared: Arc<Shared>,
}

struct Shared {
    settings: UpdownSettings,
    interface_of: InterfaceOf,
    /// A leaf lock.
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    /// What waits, by reqid; one that is being worked on has an entry, too.
    queues: HashMap<Option<Reqid>, VecDeque<Run>>,
    /// Those that nobody works on and that have something to do.
    ready: VecDeque<Option<Reqid>>,
    waiting: usize,
    runners: usize,
    /// Interfaces at the time of `up`.
    interfaces: HashMap<Option<Reqid>, (String, usize)>,
}

/// One event of a CHILD_SA, for all pairs of its selectors.
struct Run {
    up: bool,
    child: UniqueId,
    command: Arc<str>,
    local: IpAddr,
    /// Variables of each run of the script.
    variables: Vec<Vec<(String, String)>>,
}

impl Updown {
    /// Scripts are run as `settings` say.
    pub fn new(settings: UpdownSettings, interface_of: InterfaceOf) -> Arc<Self> {
        let shared = Shared { settings, interface_of, state: Mutex::default(), idle: Condvar::new() };
        Arc::new(Self { shared: Arc::new(shared) })
    }

    /// Waits until all scripts have been run, not longer than `patience`.
    pub fn finish(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.state.lock();
        while state.runners > 0 {
            if self.shared.idle.wait_until(&mut state, deadline).timed_out() {
                log!(CHD, 1, "giving up on {} updown scripts", state.waiting.saturating_add(state.runners));
                return;
            }
        }
    }

    fn child(&self, up: bool, ike: &IkeSaSnapshot, child: &ChildSaSnapshot) {
        let Some(command) = child.config.updown.as_deref().filter(|_| self.shared.settings.load) else { return };
        let variables = environment::pairs(child)
            .map(|pair| {
                for (side, ts) in [("local", pair.0), ("remote", pair.1)] {
                    if ts.addresses().to_subnet().is_none() {
                        log!(CHD, 1, "updown approximates {side} TS {ts} by next larger subnet");
                    }
                }
                environment::variables(up, ike, child, pair)
            })
            .collect();
        let run = Run { up, child: child.unique_id, command: command.into(), local: ike.local.ip(), variables };
        Shared::queue(&self.shared, child.reqid, run);
    }
}

impl Listener for Updown {
    fn event(&self, _: &IkeSa, event: &Event) {
        if let Event::ChildUpDown { up, ike, child } = event {
            self.child(*up, ike, child);
        }
    }
}

impl Shared {
    fn queue(this: &Arc<Self>, key: Option<Reqid>, run: Run) {
        let mut state = this.state.lock();
        let State { queues, ready, waiting, .. } = &mut *state;
        if *waiting >= MAX_WAITING && !run.up {
            let unseen = queues.get_mut(&key).and_then(|queue| {
                let place = queue.iter().position(|waiting| waiting.up && waiting.child == run.child)?;
                queue.remove(place)
            });
            if unseen.is_some() {
                *waiting = waiting.saturating_sub(1);
                log!(CHD, 1, "too many updown scripts wait, not running '{}' for a CHILD_SA that is gone", run.command);
                return;
            }
        }
        *waiting = waiting.saturating_add(1);
        queues
            .entry(key)
            .or_insert_with(|| {
                ready.push_back(key);
                VecDeque::new()
            })
            .push_back(run);
        if state.ready.is_empty() || state.runners >= MAX_RUNNERS {
            return;
        }
        state.runners = state.runners.saturating_add(1);
        drop(state);
        let shared = Arc::clone(this);
        let spawned = std::thread::Builder::new().name("updown".to_owned()).spawn(move || shared.work());
        if let Err(error) = spawned {
            log!(CHD, 1, "no thread for updown scripts: {error}");
            // A later event will find what waits.
            let mut state = this.state.lock();
            state.runners = state.runners.saturating_sub(1);
        }
    }

    /// Runs scripts until there are none.
    fn work(&self) {
        let mut state = self.state.lock();
        while let Some(key) = state.ready.pop_front() {
            while let Some(run) = next(&mut state, key) {
                let interface = if run.up { None } else { known_interface(&mut state, key) };
                drop(state);
                let interface = interface.or_else(|| (self.interface_of)(run.local));
                self.run(&run, interface.as_deref().unwrap_or("unknown"));
                state = self.state.lock();
                if let Some(interface) = interface.filter(|_| run.up) {
                    let known = state.interfaces.entry(key).or_insert((interface, 0));
                    known.1 = known.1.saturating_add(1);
                }
            }
        }
        state.runners = state.runners.saturating_sub(1);
        self.idle.notify_all();
    }

    fn run(&self, run: &Run, interface: &str) {
        let path = std::env::var("PATH").ok().map(|path| ("PATH".to_owned(), path));
        for variables in &run.variables {
            let mut variables = variables.clone();
            variables.push(("PLUTO_INTERFACE".to_owned(), interface.to_owned()));
            variables.extend(path.clone());
            let mut print = |line: &str| log!(CHD, 1, "updown: {line}");
            match command::run(&run.command, &variables, self.settings.timeout, &mut print) {
                Ok(Ending::Ended) => {}
                Ok(Ending::TimedOut) => {
                    let seconds = self.settings.timeout.unwrap_or_default().as_secs();
                    log!(CHD, 1, "updown script '{}' killed after {seconds}s", run.command);
                }
                Err(error) => log!(CHD, 1, "running updown script '{}' failed: {error}", run.command),
            }
        }
    }
}

/// The next run for a reqid; `None` closes its queue.
fn next(state: &mut State, key: Option<Reqid>) -> Option<Run> {
    let run = state.queues.get_mut(&key).and_then(VecDeque::pop_front);
    match run {
        Some(_) => state.waiting = state.waiting.saturating_sub(1),
        None => {
            state.queues.remove(&key);
        }
    }
    run
}

/// The interface at the time of `up`, which counts for one `down` each.
fn known_interface(state: &mut State, key: Option<Reqid>) -> Option<String> {
    let (name, users) = state.interfaces.get_mut(&key)?;
    let name = name.clone();
    *users = users.saturating_sub(1);
    if *users == 0 {
        state.interfaces.remove(&key);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(timeout: Duration) -> UpdownSettings {
        UpdownSettings { load: true, dns_handler: false, timeout: Some(timeout) }
    }

    fn run(up: bool, child: u32, command: &str) -> Run {
        let local = [192, 0, 2, 1].into();
        let child = UniqueId::new(child).unwrap();
        Run {
            up,
            child,
            command: command.into(),
            local,
            variables: vec![vec![("WHAT".into(), format!("{up} {child}"))]],
        }
    }

    #[test]
    fn runs_of_a_reqid_keep_their_order_and_others_do_not_wait() {
        let path = std::env::temp_dir().join(format!("charon-updown-{}", std::process::id()));
        let updown = Updown::new(settings(Duration::from_secs(20)), Box::new(|_| Some("eth7".into())));
        let write = |pause: &str| format!("sleep {pause}; echo \"$WHAT $PLUTO_INTERFACE\" >>{}", path.display());
        let queue = |reqid, what| Shared::queue(&updown.shared, Reqid::new(reqid), what);
        queue(1, run(true, 1, &write("1")));
        queue(1, run(false, 1, &write("0")));
        queue(1, run(true, 2, &write("0")));
        queue(2, run(true, 3, &write("0")));
        updown.finish(Duration::from_secs(20));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "true 3 eth7\ntrue 1 eth7\nfalse 1 eth7\ntrue 2 eth7\n");
        let state = updown.shared.state.lock();
        assert!(state.queues.is_empty() && state.ready.is_empty() && state.waiting == 0);
        assert_eq!(state.interfaces.len(), 2, "each of those that are up");
    }

    #[test]
    fn a_script_that_hangs_is_killed_and_the_next_one_runs() {
        let updown = Updown::new(settings(Duration::from_millis(200)), Box::new(|_| None));
        Shared::queue(&updown.shared, None, run(true, 1, "sleep 100"));
        Shared::queue(&updown.shared, None, run(false, 1, "sleep 100"));
        let start = Instant::now();
        updown.finish(Duration::from_secs(20));
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(updown.shared.state.lock().runners, 0);
    }
}
