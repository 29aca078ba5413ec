//! The server: many clients, one I/O thread, a few workers.
//!
//! ```text
//!   clients ──> I/O thread ──(one request per client at a time)──> workers ──> Handler::handle
//!      ^            |  ^                                                            |
//!      |            |  '── wake-up ──┐                                              v
//!      '── frames ──'            [ output queue of each client ] <── Responder, Emitter, Broadcaster
//! ```
//!
//! - **Order.** A client's packets are looked at strictly one after the other; the next one waits until the request
//!   before it is answered. Different clients are independent.
//! - **Waiting.** A command that takes time keeps its [`Responder`] and answers later, from any thread; it holds no
//!   worker. A listing hands over an iterator ([`Responder::stream`]) that is drawn from as fast as the client reads.
//! - **Slow clients.** Every client has an output queue of bounded size. Nothing ever waits for it: a listing pauses,
//!   further requests of that client are not started, events are dropped and counted, and a client that takes nothing
//!   for [`ServerOptions::stall_timeout`] while events are being dropped is disconnected.

mod connection;
mod io;
mod listener;
mod responder;
mod shared;
mod workers;

use std::fmt;
use std::io as std_io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use responder::{Emitter, Responder};
pub use shared::Broadcaster;

use crate::endpoint::Endpoint;
use crate::frame::FrameTooLong;
use crate::message::{DecodeError, EncodeError, Message};
use crate::packet::PacketError;
use shared::Shared;

/// Number of a client connection, unique for the lifetime of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A command a client wants to have run.
#[derive(Debug)]
pub struct Request {
    /// Name of the command.
    pub command: String,
    /// Its message; of a malformed one the part before the error.
    pub message: Message,
    /// What is wrong with the message. Commands that look keys up ignore it, structured ones must not.
    pub defect: Option<DecodeError>,
}

/// Runs the commands of a daemon.
pub trait Handler: Send + Sync + 'static {
    /// Names of all events clients may subscribe to.
    fn events(&self) -> &'static [&'static str];

    /// Runs a command, on a worker. The answer goes through `responder`, now or later; a command that does not exist is
    /// [`Responder::unknown`].
    fn handle(&self, request: Request, responder: Responder);

    /// Learns that the first client subscribed to an event, or that the last subscription ended. Called before the client
    /// is answered, so that a source of events can be turned on in time; never with a lock held.
    fn interest(&self, event: &'static str, wanted: bool) {
        let _ = (event, wanted);
    }

    /// Learns of something worth a log line. Called from several threads, never with a lock held.
    fn notice(&self, notice: Notice) {
        let _ = notice;
    }
}

/// What a server reports to its [`Handler`] for the log.
#[derive(Debug, thiserror::Error)]
pub enum Notice {
    /// A client connected.
    #[error("vici client {0} connected")]
    Connected(ClientId),
    /// A client's connection ended.
    #[error("vici client {0} disconnected")]
    Disconnected(ClientId),
    /// A client sent an empty packet; ignored.
    #[error("vici client {0} sent an empty packet, ignored")]
    EmptyPacket(ClientId),
    /// A client sent a malformed packet; ignored.
    #[error("vici client {client} sent a malformed packet, ignored: {error}")]
    MalformedPacket {
        /// The client.
        client: ClientId,
        /// What is wrong.
        error: PacketError,
    },
    /// A client sent a packet only servers send; ignored.
    #[error("vici client {0} sent a packet of a type only servers send, ignored")]
    UnexpectedPacket(ClientId),
    /// A client announced a packet beyond the limit; disconnected.
    #[error("vici client {client} disconnected: {error}")]
    PacketTooLong {
        /// The client.
        client: ClientId,
        /// What was announced.
        error: FrameTooLong,
    },
    /// A client's socket failed; disconnected.
    #[error("vici client {client} disconnected: {error}")]
    SocketFailed {
        /// The client.
        client: ClientId,
        /// What happened.
        error: std_io::Error,
    },
    /// A client does not read; it lost this many events and was disconnected.
    #[error("vici client {client} disconnected: it read nothing for {after:?} and lost {events} events")]
    Stalled {
        /// The client.
        client: ClientId,
        /// For how long it took nothing.
        after: Duration,
        /// Events dropped.
        events: u64,
    },
    /// A client reads again after losing events.
    #[error("vici client {client} lost {events} events by reading too slowly")]
    EventsDropped {
        /// The client.
        client: ClientId,
        /// Events dropped.
        events: u64,
    },
    /// An event cannot be expressed; dropped.
    #[error("vici event '{event}' dropped: {error}")]
    EventNotEncodable {
        /// The event.
        event: String,
        /// Why.
        error: EncodeError,
    },
    /// An answer cannot be expressed; an error was answered instead.
    #[error("answer to vici client {client} replaced by an error: {error}")]
    AnswerNotEncodable {
        /// The client.
        client: ClientId,
        /// Why.
        error: EncodeError,
    },
    /// A handler panicked; an error was answered.
    #[error("vici command handler panicked: {0}")]
    HandlerPanicked(String),
    /// A connection could not be accepted; tried again shortly.
    #[error("accepting a vici client failed: {0}")]
    AcceptFailed(std_io::Error),
    /// A client was turned away since [`ServerOptions::max_clients`] are connected.
    #[error("vici client turned away: {0} are connected")]
    TooManyClients(usize),
    /// The I/O thread cannot go on; all clients were disconnected.
    #[error("vici socket failed: {0}")]
    ServerFailed(std_io::Error),
}

/// Owner and group of a Unix socket; its mode is always 0660.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions {
    /// User id, if it shall differ from the process's.
    pub owner: Option<u32>,
    /// Group id, if it shall differ from the process's.
    pub group: Option<u32>,
}

/// Tunables of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Owner and group of a Unix socket.
    pub permissions: Permissions,
    /// Threads that run [`Handler::handle`].
    pub workers: usize,
    /// Clients served at once. Bounds file descriptors, which the rest of the process needs too.
    pub max_clients: usize,
    /// How long a client that loses events may take nothing before it is disconnected.
    pub stall_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            permissions: Permissions::default(),
            workers: 2,
            max_clients: 512,
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another process answers on that Unix socket.
    #[error("another process listens on {}", .0.display())]
    InUse(PathBuf),
    /// The path exists and is not a socket.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The socket could not be set up.
    #[error("opening {endpoint} failed: {error}")]
    Bind {
        /// The address.
        endpoint: Endpoint,
        /// Why.
        error: std_io::Error,
    },
    /// Threads or the event queue could not be set up.
    #[error("starting the vici server failed: {0}")]
    Start(#[from] std_io::Error),
}

/// A running server. Dropping it stops it, giving queued output a second to leave.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    io: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

/// Time given to queued output when a server is merely dropped.
const DROP_GRACE: Duration = Duration::from_secs(1);

impl Server {
    /// Opens the socket and starts serving.
    ///
    /// A stale Unix socket of that path is replaced. The file is left behind when the server stops.
    ///
    /// # Errors
    /// If the socket cannot be opened, or another process is serving on it.
    pub fn start(endpoint: &Endpoint, handler: Arc<dyn Handler>, options: ServerOptions) -> Result<Self, ServerError> {
        let listener = listener::Listener::bind(endpoint, options.permissions)?;
        let (shared, work, reactor) = io::Reactor::new(listener, handler, options.clone())?;
        let mut server = Self { shared: Arc::clone(&shared), io: None, workers: Vec::new() };
        for number in 0..options.workers.max(1) {
            let (shared, work) = (Arc::clone(&shared), work.clone());
            let thread = thread::Builder::new().name(format!("vici-worker-{number}"));
            server.workers.push(thread.spawn(move || workers::run(&shared, &work))?);
        }
        server.io = Some(thread::Builder::new().name("vici-io".into()).spawn(move || reactor.run())?);
        Ok(server)
    }

    /// Raises events to all subscribers; clones of it may outlive the server.
    pub fn broadcaster(&self) -> Broadcaster {
        Broadcaster::new(Arc::clone(&self.shared))
    }

    /// Stops accepting and reading, waits up to `grace` for pending commands to be answered and queued output to leave,
    /// and disconnects everybody.
    pub fn stop(mut self, grace: Duration) {
        self.shut_down(grace);
    }

    fn shut_down(&mut self, grace: Duration) {
        self.shared.request_stop(grace);
        if let Some(io) = self.io.take() {
            // a panicked I/O thread has nothing left to stop
            let _ = io.join();
        }
        self.shared.stop_workers(self.workers.len());
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.io.is_some() || !self.workers.is_empty() {
            self.shut_down(DROP_GRACE);
        }
    }
}

#[cfg(test)]
mod tests;
