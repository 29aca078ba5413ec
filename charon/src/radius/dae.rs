//! Requests of servers (RFC 5176): Disconnect ends the IKE_SAs of a user, CoA with a Session-Timeout changes how long they may
//! last.
//!
//! A thread of its own listens. A request that is repeated gets the answer that it got before, and has no effect again.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ike::Input;
use ike::eap::identity_octets;
use ike::ids::UniqueId;
use strongswan::crypto::Secret;
use strongswan::log;
use strongswan::processing::{Priority, job, spawn};
use strongswan::settings::Settings;

use super::Radius;
use super::attribute::{AttributeType, Code};
use super::packet::{Authenticator, MAX_LEN, Packet, PacketError};
use super::settings::{self, DaeSettings};
use crate::manager::{Manager, Snapshot};

/// How often the thread looks whether it is to end.
const POLL: Duration = Duration::from_millis(200);
/// How long an IKE_SA that is being worked on is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Answers that are kept for repeated requests.
const MAX_ANSWERS: usize = 64;
/// How far clocks may be apart: an older request is a replay (RFC 5176 §6.3).
const MAX_AGE: u64 = 300;

/// Error-Cause (RFC 5176 §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorCause {
    MissingAttribute,
    SessionNotFound,
}

impl ErrorCause {
    const fn number(self) -> u32 {
        match self {
            Self::MissingAttribute => 402,
            Self::SessionNotFound => 503,
        }
    }
}

/// The listener could not be started.
#[derive(Debug, thiserror::Error)]
#[error("unable to listen for RADIUS DAE requests on {address}: {error}")]
pub struct DaeError {
    address: SocketAddr,
    error: io::Error,
}

/// The listener; it ends when the value is dropped.
#[derive(Debug)]
pub struct Dae {
    ended: Arc<AtomicBool>,
}

impl Dae {
    /// Starts it, if `settings` say so.
    ///
    /// # Errors
    /// If the port is in use, or the address not ours.
    pub fn start(settings: &Settings, radius: &Arc<Radius>) -> Result<Option<Self>, DaeError> {
        let Some(settings) = settings::dae(settings) else { return Ok(None) };
        let address = SocketAddr::new(settings.listen, settings.port);
        let failed = |error| DaeError { address, error };
        let socket = UdpSocket::bind(address).map_err(failed)?;
        socket.set_read_timeout(Some(POLL)).map_err(failed)?;
        let ended = Arc::<AtomicBool>::default();
        let listener = Listener { settings, radius: Arc::clone(radius), answers: VecDeque::new() };
        let end = Arc::clone(&ended);
        spawn("radius-dae", move || listener.run(&socket, &end)).map_err(failed)?;
        Ok(Some(Self { ended }))
    }
}

impl Drop for Dae {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Which request an answer was for.
type Asked = (SocketAddr, u8, Authenticator);

struct Listener {
    settings: DaeSettings,
    radius: Arc<Radius>,
    answers: VecDeque<(Asked, Vec<u8>)>,
}

impl Listener {
    fn run(mut self, socket: &UdpSocket, ended: &AtomicBool) {
        let mut buffer = vec![0; MAX_LEN];
        while !ended.load(Ordering::Relaxed) {
            // an error is a timeout, or about an answer that did not arrive
            let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
            let Some(answer) = self.answer(buffer.get(..len).unwrap_or_default(), from) else { continue };
            if let Err(error) = socket.send_to(&answer, from) {
                log!(CFG, 1, "sending RADIUS DAE response to {from} failed: {error}");
            }
        }
    }

    /// The answer to a datagram, if it deserves one.
    fn answer(&mut self, datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        let (asked, request) = open(datagram, from, &self.settings.secret)
            .inspect_err(|error| log!(CFG, 1, "ignoring RADIUS DAE message from {from}: {error}"))
            .ok()?;
        if let Some((_, answer)) = self.answers.iter().find(|(other, _)| *other == asked) {
            log!(CFG, 1, "received retransmit of RADIUS {} from {from}", request.code);
            return Some(answer.clone());
        }
        if !is_recent(&request) {
            log!(CFG, 1, "ignoring old RADIUS {} from {from}", request.code);
            return None;
        }
        let response = match request.code {
            Code::DisconnectRequest => self.disconnect(&request, from),
            Code::CoaRequest => self.change(&request, from),
            other => {
                log!(CFG, 1, "ignoring RADIUS {other} from {from}");
                return None;
            }
        };
        let (_, identifier, authenticator) = asked;
        let bytes = response.seal_response(identifier, &authenticator, &self.settings.secret).ok()?;
        if self.answers.len() >= MAX_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back((asked, bytes.clone()));
        Some(bytes)
    }

    fn disconnect(&self, request: &Packet, from: SocketAddr) -> Packet {
        let found = self.find(request, from);
        let code = request.code;
        match (found.is_empty(), self.radius.manager()) {
            (false, Some(manager)) => {
                let plural = if found.len() == 1 { "" } else { "s" };
                log!(CFG, 1, "closing {} IKE_SA{plural} matching {code}, sending {}", found.len(), Code::DisconnectAck);
                found.into_iter().for_each(|id| self.radius.close(&manager, id));
                reply(request, Code::DisconnectAck, None)
            }
            _ => {
                log!(CFG, 1, "no IKE_SA matches {code}, sending {}", Code::DisconnectNak);
                reply(request, Code::DisconnectNak, Some(ErrorCause::SessionNotFound))
            }
        }
    }

    fn change(&self, request: &Packet, from: SocketAddr) -> Packet {
        let found = self.find(request, from);
        let code = request.code;
        let Some(manager) = self.radius.manager().filter(|_| !found.is_empty()) else {
            log!(CFG, 1, "no IKE_SA matches {code}, sending {}", Code::CoaNak);
            return reply(request, Code::CoaNak, Some(ErrorCause::SessionNotFound));
        };
        let Some(seconds) = request.number(AttributeType::SessionTimeout) else {
            log!(CFG, 1, "no Session-Timeout attribute found in {code}, sending {}", Code::CoaNak);
            return reply(request, Code::CoaNak, Some(ErrorCause::MissingAttribute));
        };
        let plural = if found.len() == 1 { "" } else { "s" };
        log!(
            CFG,
            1,
            "applying {seconds}s lifetime to {} IKE_SA{plural} matching {code}, sending {}",
            found.len(),
            Code::CoaAck
        );
        for id in found {
            let manager = Arc::clone(&manager);
            self.radius.processor.queue(job(Priority::Medium, move || {
                manager.input(id, Input::AuthLifetime(Duration::from_secs(seconds.into())));
            }));
        }
        reply(request, Code::CoaAck, None)
    }

    /// The IKE_SAs of the user that a request names.
    fn find(&self, request: &Packet, from: SocketAddr) -> Vec<UniqueId> {
        let Some(user) = request.get(AttributeType::UserName).filter(|user| !user.value().is_empty()) else {
            log!(CFG, 1, "received RADIUS DAE {} without User-Name from {from}", request.code);
            return Vec::new();
        };
        let user = user.value();
        log!(
            CFG,
            1,
            "received RADIUS DAE {} for {} from {from}",
            request.code,
            String::from_utf8_lossy(user).escape_debug()
        );
        let Some(manager) = self.radius.manager() else { return Vec::new() };
        let prefix = self.radius.options.load().id_prefix.clone();
        let is_users = |id: &UniqueId| is_of(&manager, *id, user, prefix.as_bytes());
        manager.ike_sas().into_iter().filter(is_users).collect()
    }
}

/// Whether an IKE_SA is that of a user, by the name the server knows, with or without our prefix.
fn is_of(manager: &Arc<Manager>, id: UniqueId, user: &[u8], prefix: &[u8]) -> bool {
    let Snapshot::Taken(ike) = manager.snapshot(id, PATIENCE) else { return false };
    let Some(name) = ike.remote_eap_id.as_ref().or(ike.remote_id.as_ref()).map(identity_octets) else { return false };
    name == user || user.strip_prefix(prefix) == Some(name.as_slice())
}

fn open(datagram: &[u8], from: SocketAddr, secret: &Secret) -> Result<(Asked, Packet), PacketError> {
    let parsed = Packet::parse(datagram)?;
    let asked = (from, parsed.identifier, parsed.authenticator);
    Ok((asked, parsed.open_request(secret)?))
}

/// Whether a request is not older than it says; one that does not say is taken at its word.
fn is_recent(request: &Packet) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let sent = request.number(AttributeType::EventTimestamp).map(u64::from);
    sent.is_none_or(|sent| now.abs_diff(sent) <= MAX_AGE)
}

fn reply(request: &Packet, code: Code, error: Option<ErrorCause>) -> Packet {
    let mut packet = Packet::new(code);
    // proxies find their way back by these (RFC 5176 §3.1)
    for state in request.all(AttributeType::ProxyState) {
        packet.push(AttributeType::ProxyState, state.value());
    }
    if let Some(error) = error {
        packet.push_number(AttributeType::ErrorCause, error.number());
    }
    packet
}

#[cfg(test)]
mod tests {
    use strongswan::processing::Processor;

    use super::*;
    use crate::bus::Bus;

    fn listener() -> Listener {
        let settings = DaeSettings { listen: [127, 0, 0, 1].into(), port: 0, secret: Secret::new(b"secret".to_vec()) };
        let none = Settings::parse_str("").unwrap();
        let radius = Radius::new(&none, &Bus::new(), &Arc::new(Processor::new()));
        Listener { settings, radius, answers: VecDeque::new() }
    }

    fn from() -> SocketAddr {
        "192.0.2.9:4000".parse().unwrap()
    }

    fn request(code: Code, age: Option<u64>) -> Packet {
        let mut packet = Packet::new(code);
        packet.push(AttributeType::UserName, b"alice").push(AttributeType::ProxyState, b"back");
        if let Some(age) = age {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            packet.push_number(AttributeType::EventTimestamp, u32::try_from(now - age).unwrap());
        }
        packet
    }

    #[test]
    fn nobody_is_found_without_ike_sas() {
        let mut listener = listener();
        for (asked, answer) in [(Code::DisconnectRequest, Code::DisconnectNak), (Code::CoaRequest, Code::CoaNak)] {
            let sealed = request(asked, Some(1)).seal_accounting(5, &listener.settings.secret).unwrap();
            let bytes = listener.answer(sealed.bytes(), from()).unwrap();
            let parsed = Packet::parse(&bytes).unwrap();
            assert_eq!((parsed.code(), parsed.identifier), (answer, 5));
            let packet = parsed.packet_unverified();
            assert_eq!(packet.number(AttributeType::ErrorCause), Some(503));
            assert_eq!(packet.get(AttributeType::ProxyState).unwrap().value(), b"back");
            // the same bytes again, by which the server sees that it is the same answer
            assert_eq!(listener.answer(sealed.bytes(), from()), Some(bytes));
        }
        assert_eq!(listener.answers.len(), 2);
    }

    #[test]
    fn strangers_and_replays_get_no_answer() {
        let mut listener = listener();
        let stranger = Secret::new(b"another".to_vec());
        let sealed = request(Code::DisconnectRequest, None).seal_accounting(5, &stranger).unwrap();
        assert_eq!(listener.answer(sealed.bytes(), from()), None);
        let secret = listener.settings.secret.as_bytes().to_vec();
        let secret = Secret::new(secret);
        for ignored in [request(Code::DisconnectRequest, Some(1000)), request(Code::AccessRequest, None)] {
            let sealed = ignored.seal_accounting(5, &secret).unwrap();
            assert_eq!(listener.answer(sealed.bytes(), from()), None);
        }
        assert_eq!(listener.answer(&[], from()), None);
    }

    #[test]
    fn answers_are_not_kept_for_ever() {
        let mut listener = listener();
        let secret = Secret::new(b"secret".to_vec());
        for identifier in 0..=u8::MAX {
            let sealed = request(Code::DisconnectRequest, None).seal_accounting(identifier, &secret).unwrap();
            assert!(listener.answer(sealed.bytes(), from()).is_some());
        }
        assert_eq!(listener.answers.len(), MAX_ANSWERS);
    }
}
