//! What systemd is told (sd_notify(3)): that the daemon is ready, what it is doing, and that it is alive.
//!
//! It counts as alive as long as its workers do something: each sign of life is a job, so that a daemon whose workers are
//! all stuck is restarted.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use strongswan::log;
use strongswan::processing::{Priority, Processor, job, spawn};
use strongswan::sync::thread::JoinHandle;

/// Where messages for systemd go; nowhere if it did not start us.
#[derive(Debug, Clone, Default)]
pub(super) struct Notify {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// Time within which it wants a sign of life.
    watchdog: Option<Duration>,
}

impl Notify {
    /// What the environment says.
    pub(super) fn from_environment() -> Self {
        let pid_matches = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let microseconds = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        Self {
            to: std::env::var_os("NOTIFY_SOCKET").and_then(|name| open(&name)).map(Arc::new),
            watchdog: microseconds.filter(|us| pid_matches && *us > 0).map(Duration::from_micros),
        }
    }

    /// Sends lines of `NAME=value`.
    pub(super) fn send(&self, lines: &str) {
        let Some((socket, address)) = self.to.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            log!(DMN, 2, "unable to notify systemd: {error}");
        }
    }

    /// Starts to give signs of life, if they are wanted.
    pub(super) fn watch(&self, processor: &Arc<Processor>) -> Option<Watchdog> {
        let interval = self.watchdog.filter(|_| self.to.is_some())?.checked_div(2)?;
        let (stop, stopped) = channel::<()>();
        let (notify, processor) = (self.clone(), Arc::clone(processor));
        let waiting = Arc::new(AtomicBool::new(false));
        let thread = spawn("watchdog", move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if waiting.swap(true, Ordering::AcqRel) {
                    // The last one still waits for a worker.
                    continue;
                }
                let (notify, waiting) = (notify.clone(), Arc::clone(&waiting));
                processor.queue(job(Priority::High, move || {
                    waiting.store(false, Ordering::Release);
                    notify.send("WATCHDOG=1");
                }));
            }
        });
        let thread = thread.map_err(|error| log!(DMN, 1, "no thread for the watchdog: {error}")).ok()?;
        Some(Watchdog { stop: Some(stop), thread: Some(thread) })
    }
}

fn open(name: &OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    };
    let socket = UnixDatagram::unbound().and_then(|socket| Ok((socket, address?)));
    socket.map_err(|error| log!(DMN, 1, "unable to notify systemd: {error}")).ok()
}

/// Gives signs of life until it is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use strongswan::processing::{PerPriority, ProcessorSettings};

    use super::*;

    fn notify(name: &str, watchdog: Option<Duration>) -> (UnixDatagram, Notify) {
        let name = format!("@charon-notify-{}-{name}", std::process::id());
        let (_, address) = open(&name.into()).unwrap();
        let systemd = UnixDatagram::bind_addr(&address).unwrap();
        systemd.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let notify = Notify { to: Some(Arc::new((UnixDatagram::unbound().unwrap(), address))), watchdog };
        (systemd, notify)
    }

    fn receive(systemd: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let len = systemd.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    #[test]
    fn messages_arrive_at_an_abstract_socket() {
        let (systemd, notify) = notify("message", None);
        notify.send("READY=1\nSTATUS=fine");
        assert_eq!(receive(&systemd), "READY=1\nSTATUS=fine");
        Notify::default().send("READY=1");
        assert!(notify.watch(&Arc::new(Processor::new())).is_none());
    }

    #[test]
    fn workers_that_work_give_signs_of_life_and_stuck_ones_do_not() {
        let (systemd, notify) = notify("watchdog", Some(Duration::from_millis(40)));
        let processor = Arc::new(Processor::new());
        let watchdog = notify.watch(&processor).unwrap();
        systemd.set_nonblocking(true).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(systemd.recv(&mut [0; 10]).is_err(), "there are no workers yet");
        systemd.set_nonblocking(false).unwrap();
        processor.start(ProcessorSettings { threads: 1, reserved: PerPriority::default() }).unwrap();
        for _ in 0..3 {
            assert_eq!(receive(&systemd), "WATCHDOG=1");
        }
        drop(watchdog);
        processor.shutdown();
    }
}
