//! One server: how it is doing, and the threads that ask it.
//!
//! Each request in the air has a socket and a thread of its own, up to `sockets` for either port; more wait their turn. The
//! threads end when there is nothing to ask, and so a server that is slow holds up nobody but those who ask it.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strongswan::crypto::{Rng, SystemRng};
use strongswan::log;
use strongswan::log::{Context, set_context, with_context};
use strongswan::processing::spawn;

use super::attribute::Code;
use super::packet::{Authenticator, MAX_LEN, Packet};
use super::settings::ServerSettings;

/// Requests that may wait for a socket: beyond that a server is as good as dead.
const MAX_WAITING: usize = 4096;

/// Longest wait for one answer, whatever is configured.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// A genuine response.
#[derive(Debug)]
pub(super) struct Response {
    /// It.
    pub(super) packet: Packet,
    /// The authenticator of the request, with which keys in it are hidden.
    pub(super) request: Authenticator,
}

/// No genuine response came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoAnswer;

/// Called with what became of a request.
pub(super) type Done = Box<dyn FnOnce(Result<Response, NoAnswer>) + Send>;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    /// How to reach it.
    pub(super) settings: ServerSettings,
    auth: Lane,
    acct: Lane,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Health {
    /// The last request was answered.
    reachable: bool,
    /// How often it was considered since it is not.
    considered: u32,
}

/// What waits for one port, and how many threads work on it.
#[derive(Debug, Default)]
struct Lane(Mutex<LaneState>);

#[derive(Default)]
struct LaneState {
    waiting: VecDeque<Waiting>,
    threads: usize,
}

impl std::fmt::Debug for LaneState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} waiting, {} threads", self.waiting.len(), self.threads)
    }
}

struct Waiting {
    packet: Packet,
    context: Option<Context>,
    done: Done,
}

impl Server {
    /// A server that has not been asked yet.
    pub(super) fn new(settings: ServerSettings) -> Arc<Self> {
        let health = Mutex::new(Health { reachable: true, considered: 0 });
        Arc::new(Self { settings, auth: Lane::default(), acct: Lane::default(), health })
    }

    /// How good a choice it is: what the configuration says, and how much it has to do. One that did not answer comes last,
    /// but for every so often, when it is given another chance.
    pub(super) fn score(&self) -> i64 {
        let busy = self.auth.0.lock().threads.min(self.settings.sockets);
        let idle = self.settings.sockets.saturating_sub(busy).saturating_mul(100) / self.settings.sockets.max(1);
        let mut health = self.health.lock();
        let bonus = if health.reachable {
            110
        } else {
            health.considered = health.considered.wrapping_add(1);
            match health.considered {
                n if n.is_multiple_of(128) => 110,
                n if n.is_multiple_of(32) => 90,
                n if n.is_multiple_of(8) => 10,
                _ => 0,
            }
        };
        self.settings.preference.saturating_add(i64::try_from(idle).unwrap_or(100)).saturating_add(bonus)
    }

    /// Asks it; `done` is called on another thread, or at once if too many wait already.
    pub(super) fn request(self: &Arc<Self>, packet: Packet, done: Done) {
        let (lane, port) = self.lane(packet.code);
        let mut state = lane.0.lock();
        if state.waiting.len() >= MAX_WAITING {
            drop(state);
            log!(CFG, 1, "too many requests are waiting for RADIUS server '{}'", self.settings.name);
            return done(Err(NoAnswer));
        }
        let kind = packet.code;
        state.waiting.push_back(Waiting { packet, context: with_context(|context| context.cloned()), done });
        if state.threads >= self.settings.sockets {
            return;
        }
        state.threads = state.threads.saturating_add(1);
        drop(state);
        let server = Arc::clone(self);
        if let Err(error) = spawn("radius", move || server.work(kind, port)) {
            log!(CFG, 1, "starting a RADIUS thread failed: {error}");
            let orphans = {
                let mut state = self.lane(kind).0.0.lock();
                state.threads = state.threads.saturating_sub(1);
                if state.threads > 0 { VecDeque::new() } else { std::mem::take(&mut state.waiting) }
            };
            orphans.into_iter().for_each(|orphan| (orphan.done)(Err(NoAnswer)));
        }
    }

    fn lane(&self, kind: Code) -> (&Lane, u16) {
        match kind {
            Code::AccountingRequest => (&self.acct, self.settings.acct_port),
            _ => (&self.auth, self.settings.auth_port),
        }
    }

    /// Whether nothing is asked.
    pub(super) fn is_idle(&self) -> bool {
        [&self.auth, &self.acct].into_iter().all(|lane| lane.0.lock().threads == 0)
    }

    /// What a thread does: one request after the other.
    fn work(&self, kind: Code, port: u16) {
        let mut socket = None;
        loop {
            let next = {
                let mut state = self.lane(kind).0.0.lock();
                let next = state.waiting.pop_front();
                if next.is_none() {
                    state.threads = state.threads.saturating_sub(1);
                }
                next
            };
            let Some(Waiting { packet, context, done }) = next else { return };
            set_context(context);
            let result = self.exchange(&mut socket, port, &packet);
            let mut health = self.health.lock();
            *health = Health { reachable: result.is_ok(), considered: health.considered };
            drop(health);
            done(result);
            set_context(None);
        }
    }

    fn exchange(&self, socket: &mut Option<Connection>, port: u16, packet: &Packet) -> Result<Response, NoAnswer> {
        if socket.is_none() {
            match Connection::open(&self.settings, port) {
                Ok(connection) => *socket = Some(connection),
                Err(error) => log!(CFG, 1, "connecting to RADIUS server '{}' failed: {error}", self.settings.name),
            }
        }
        let result = socket.as_mut().ok_or(NoAnswer).and_then(|connection| connection.exchange(&self.settings, packet));
        if result.is_err() {
            // its name may mean another address by now, and late answers go nowhere
            *socket = None;
        }
        result
    }
}

/// A socket to a server.
#[derive(Debug)]
struct Connection {
    socket: UdpSocket,
    identifier: u8,
}

impl Connection {
    fn open(settings: &ServerSettings, port: u16) -> io::Result<Self> {
        let fits = |address: &SocketAddr| settings.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
        let server = (settings.address.as_str(), port).to_socket_addrs()?.find(fits);
        let server = server.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((settings.source.unwrap_or(any), 0))?;
        // the system drops what others send
        socket.connect(server)?;
        let mut identifier = [0];
        SystemRng.fill(&mut identifier);
        let [identifier] = identifier;
        Ok(Self { socket, identifier })
    }

    fn exchange(&mut self, settings: &ServerSettings, packet: &Packet) -> Result<Response, NoAnswer> {
        let (code, name) = (packet.code, &settings.name);
        let sealed = match code {
            Code::AccountingRequest => packet.seal_accounting(self.identifier, &settings.secret),
            _ => {
                let mut authenticator = Authenticator::default();
                SystemRng.fill(&mut authenticator);
                packet.seal_access(self.identifier, authenticator, &settings.secret)
            }
        };
        self.identifier = self.identifier.wrapping_add(1);
        let sealed = sealed.map_err(|error| {
            log!(CFG, 1, "making RADIUS {code} failed: {error}");
            NoAnswer
        })?;
        log!(CFG, 1, "sending RADIUS {code} to server '{name}'");
        let mut timeout = settings.timeout.min(MAX_TIMEOUT);
        for attempt in 0..settings.tries {
            if attempt > 0 {
                log!(CFG, 1, "retransmit {attempt} of RADIUS {code} (timeout: {:.1}s)", timeout.as_secs_f64());
            }
            if let Err(error) = self.socket.send(sealed.bytes()) {
                // an ICMP error to what was sent before, perhaps; it is tried again
                log!(CFG, 2, "sending RADIUS {code} to server '{name}' failed: {error}");
            }
            let deadline = Instant::now() + timeout;
            while let Some(datagram) = self.receive(deadline) {
                match sealed.open(&datagram, &settings.secret) {
                    Ok(packet) => {
                        log!(CFG, 1, "received RADIUS {} from server '{name}'", packet.code);
                        return Ok(Response { packet, request: *sealed.authenticator() });
                    }
                    // RFC 2865 §3: silently discarded. Giving up would let anybody end a conversation who can send us a packet
                    Err(error) => log!(CFG, 1, "ignoring RADIUS message from server '{name}': {error}"),
                }
            }
            timeout = Duration::try_from_secs_f64(timeout.as_secs_f64() * settings.base)
                .unwrap_or(MAX_TIMEOUT)
                .min(MAX_TIMEOUT);
        }
        log!(CFG, 1, "RADIUS {code} timed out after {} attempts", settings.tries);
        Err(NoAnswer)
    }

    /// The next datagram until then.
    fn receive(&self, deadline: Instant) -> Option<Vec<u8>> {
        let mut buffer = vec![0; MAX_LEN];
        loop {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).ok()?;
            match self.socket.recv(&mut buffer) {
                Ok(len) => {
                    buffer.truncate(len);
                    return Some(buffer);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // nobody listens: that may be another in a moment, and the next attempt comes in time
                    std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
                    return None;
                }
            }
        }
    }
}

/// What a secret of a test is.
#[cfg(test)]
pub(super) fn test_settings(name: &str, port: u16) -> ServerSettings {
    ServerSettings {
        name: name.to_owned(),
        address: "127.0.0.1".to_owned(),
        auth_port: port,
        acct_port: port,
        secret: strongswan::crypto::Secret::new(b"secret".to_vec()),
        nas_identifier: "gw".to_owned(),
        sockets: 1,
        preference: 0,
        source: None,
        tries: 3,
        timeout: Duration::from_millis(200),
        base: 1.0,
    }
}
