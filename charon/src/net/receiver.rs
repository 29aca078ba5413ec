//! The receiver thread: datagrams in, jobs out. What is malformed, unwanted or part of a flood ends here, before an IKE_SA
//! is looked up or created.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use ike::Transmit;
use ike::wire::{ExchangeType, Header, HeaderError, HeaderFlags, Message, MessageId, Notify, NotifyType};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;
use strongswan::crypto::{Rng, SystemRng};
use strongswan::log;
use strongswan::processing::{Job, Processor, monotonic, spawn};
use strongswan::sync::thread::JoinHandle;

use super::Bracketed;
use super::Sender;
use super::batch::{Batch, Meta};
use super::cookie;
use super::delay::DelaySettings;
use super::flood::{FloodGuard, FloodSettings, Verdict};
use super::interfaces::Interfaces;
use super::quiet::Quiet;
use super::sockets::{NON_ESP_MARKER, Sockets, needs_marker};
use crate::kernel::netlink::InterfaceFilter;
use crate::manager::{HalfOpen, HalfOpenEntry};

/// Jobs that may wait for a worker before messages are dropped. Workers serve as many in a second or two, when a peer sends
/// again in any case; and whoever can fill the queue cannot fill the memory: this many of the largest messages are 80 MB.
const MAX_QUEUED: usize = 8192;

/// A NAT keepalive (RFC 3948 §2.3).
const KEEPALIVE: [u8; 1] = [0xff];

/// Settings of the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// Limits of IKE_SA_INIT requests.
    pub flood: FloodSettings,
    /// `initiator_only`: ignore the requests of others for an IKE_SA.
    pub initiator_only: bool,
    /// `max_packet`: larger datagrams are discarded.
    pub max_packet: usize,
    /// `receive_delay*`
    pub delay: DelaySettings,
    /// `interfaces_use`, `interfaces_ignore`
    pub interfaces: InterfaceFilter,
}

impl Default for ReceiverSettings {
    fn default() -> Self {
        Self {
            flood: FloodSettings::default(),
            initiator_only: false,
            max_packet: 10_000,
            delay: DelaySettings::default(),
            interfaces: InterfaceFilter::All,
        }
    }
}

/// An IKE message for an IKE_SA.
#[derive(Debug)]
pub struct Inbound {
    /// Its header.
    pub header: Header,
    /// Our address it was sent to.
    pub local: SocketAddr,
    /// Where it came from.
    pub remote: SocketAddr,
    /// The message, without non-ESP marker.
    pub data: Vec<u8>,
    /// Counts the request for an IKE_SA that does not exist yet.
    pub half_open: Option<HalfOpenEntry>,
}

/// Takes ESP packets that arrive in UDP.
pub trait EspSink: Send + Sync {
    /// Takes a packet, which may be decrypted in place, with DSCP and ECN of its IP header where the system tells. Called on
    /// the receiver's thread.
    fn receive_esp(&self, local: SocketAddr, remote: SocketAddr, traffic_class: Option<u8>, packet: &mut [u8]);
}

/// What the receiver hands its messages to.
pub struct Delivery {
    /// Runs the jobs.
    pub processor: Arc<Processor>,
    /// Makes the job that processes a message.
    pub job: Box<dyn Fn(Inbound) -> Box<dyn Job> + Send>,
    /// Takes ESP in UDP; without one such packets are dropped.
    pub esp: Option<Arc<dyn EspSink>>,
    /// Is told of every datagram with an invalid header.
    pub malformed: Box<dyn Fn() + Send>,
}

/// The running receiver. It ends when this is dropped.
pub struct Receiver {
    stop: Mutex<Option<UnixStream>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Receiver {
    /// Starts to receive.
    ///
    /// # Errors
    /// If there is no file descriptor or thread left.
    pub fn start(
        sender: Sender,
        settings: ReceiverSettings,
        half_open: Arc<HalfOpen>,
        delivery: Delivery,
    ) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let mut rng = SystemRng;
        let guard = FloodGuard::new(settings.flood, half_open, &mut rng);
        let sockets = Arc::clone(sender.sockets());
        let interfaces = Interfaces::new(settings.interfaces.clone());
        let screen = Screen { settings, interfaces, guard, rng: Box::new(rng), sender, quiet: Quiet::default() };
        let thread = spawn("receiver", move || receive(&sockets, &stopped, screen, &delivery))?;
        Ok(Self { stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)) })
    }

    /// Stops receiving.
    pub fn stop(&self) {
        drop(self.stop.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            // A panic was logged by the hook; there is nothing to receive in any case.
            let _died = thread.join();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn receive(sockets: &Sockets, stopped: &UnixStream, mut screen: Screen, delivery: &Delivery) {
    let mut batches: Vec<_> = sockets.all().iter().map(|_| Batch::new(screen.settings.max_packet)).collect();
    let mut jobs = Vec::new();
    loop {
        let mut fds: Vec<_> = sockets.all().iter().map(|s| PollFd::new(s.socket.as_fd(), PollFlags::POLLIN)).collect();
        fds.push(PollFd::new(stopped.as_fd(), PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => {
                log!(NET, 0, "waiting for packets failed: {error}");
                return;
            }
        }
        let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        if fds.last().is_some_and(ready) {
            return;
        }
        // One batch a socket and round: a busy one does not starve the others.
        for ((socket, batch), _) in sockets.all().iter().zip(&mut batches).zip(&fds).filter(|(_, fd)| ready(fd)) {
            batch.receive(socket, |meta, datagram| {
                if let Some((inbound, delay)) = screen.datagram(meta, datagram, delivery) {
                    let job = (delivery.job)(inbound);
                    match delay {
                        None => jobs.push(job),
                        Some(delay) => delivery.processor.schedule_after(delay, job),
                    }
                }
            });
            if delivery.processor.load() > MAX_QUEUED {
                if screen.quiet.tell(monotonic()) {
                    log!(NET, 1, "ignoring {} messages, {MAX_QUEUED} jobs are waiting", jobs.len());
                }
                jobs.clear();
            }
            delivery.processor.queue_all(&mut jobs);
        }
    }
}

/// Decides what becomes of a datagram.
struct Screen {
    settings: ReceiverSettings,
    guard: FloodGuard,
    rng: Box<dyn Rng>,
    sender: Sender,
    quiet: Quiet,
    interfaces: Interfaces,
}

impl Screen {
    fn datagram(
        &mut self,
        meta: &Meta,
        datagram: &mut [u8],
        delivery: &Delivery,
    ) -> Option<(Inbound, Option<Duration>)> {
        let (local, remote) = (meta.local, meta.remote);
        if *datagram == KEEPALIVE {
            return None;
        }
        if datagram.len() < NON_ESP_MARKER.len() {
            log!(NET, 3, "received packet is too short ({} bytes)", datagram.len());
            return None;
        }
        if !self.interfaces.concern_us(local.ip(), monotonic) {
            log!(NET, 3, "received packet from {} to {} on ignored interface", Bracketed(remote), Bracketed(local));
            return None;
        }
        let message: &[u8] = if needs_marker(local, remote) {
            match datagram.strip_prefix(&NON_ESP_MARKER) {
                Some(message) => message,
                None => {
                    if let Some(esp) = &delivery.esp {
                        esp.receive_esp(local, remote, meta.traffic_class, datagram);
                    }
                    return None;
                }
            }
        } else {
            datagram
        };
        let inbound = self.message(local, remote, message, delivery)?;
        let delay = self.settings.delay.of(&inbound.header);
        if let Some(delay) = delay {
            log!(NET, 1, "using receive delay: {}ms", delay.as_millis());
        }
        Some((inbound, delay))
    }

    fn message(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        message: &[u8],
        delivery: &Delivery,
    ) -> Option<Inbound> {
        let header = match Header::parse(message) {
            Ok((header, _)) => header,
            Err(HeaderError::MajorVersion { major, minor, header }) => {
                let ip = remote.ip();
                let tell = self.quiet.tell(monotonic());
                if tell {
                    log!(
                        NET,
                        1,
                        "received unsupported IKE version {major}.{minor} from {ip}, sending INVALID_MAJOR_VERSION"
                    );
                }
                if header.is_request() {
                    let request = Stranger { local, remote, header, length: message.len() };
                    self.answer(&request, Notify::new(NotifyType::InvalidMajorVersion), tell);
                }
                return None;
            }
            Err(_) => {
                (delivery.malformed)();
                if self.quiet.tell(monotonic()) {
                    log!(NET, 1, "received invalid IKE header from {} - ignored", remote.ip());
                }
                return None;
            }
        };
        let mut half_open = None;
        if header.exchange == ExchangeType::IkeSaInit && header.is_request() {
            // A request of the original responder, or of somebody while we only initiate.
            if !header.from_initiator() || self.settings.initiator_only {
                return None;
            }
            // others belong to no IKE_SA, and make none
            if header.responder_spi.is_none() && header.message_id == MessageId::ZERO {
                let now = monotonic();
                let cookie = cookie::in_request(message);
                let load = || delivery.processor.load();
                match self.guard.judge(remote, header.initiator_spi, cookie, load, now, &mut *self.rng) {
                    Verdict::Serve(entry) => half_open = Some(entry),
                    Verdict::Cookie(cookie) => {
                        let request = Stranger { local, remote, header, length: message.len() };
                        let tell = self.quiet.tell(now);
                        self.answer(&request, Notify::with_data(NotifyType::Cookie, &cookie), tell);
                        return None;
                    }
                    Verdict::Drop => return None,
                }
            }
        }
        Some(Inbound { header, local, remote, data: message.to_vec(), half_open })
    }

    /// Answers a request with a notify, without an IKE_SA. As nobody knows whose address the request came from, it gets
    /// no answer that is larger than itself; no request that is worth one is that small.
    fn answer(&self, request: &Stranger, notify: Notify, tell: bool) {
        let mut reply = Message::new(request.header.reply());
        // Flags beyond those of version 2 are not ours to repeat.
        reply.header.flags &= HeaderFlags::INITIATOR | HeaderFlags::RESPONSE;
        reply.push(notify);
        match reply.encode_plain() {
            Ok(data) if data.len() > request.length => {}
            Ok(data) => {
                let Stranger { local, remote, .. } = *request;
                let datagram = Transmit { local, remote, data, keepalive: false, dscp: 0 };
                if tell {
                    log!(ENC, 1, "generating {}", reply.notation());
                    self.sender.send(datagram);
                } else {
                    self.sender.send_quietly(&datagram);
                }
            }
            Err(error) => log!(ENC, 1, "generating {} failed: {error}", reply.notation()),
        }
    }
}

/// A request that belongs to no IKE_SA.
struct Stranger {
    local: SocketAddr,
    remote: SocketAddr,
    header: Header,
    length: usize,
}

#[cfg(test)]
mod tests;
