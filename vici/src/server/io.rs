//! The I/O thread: accepts, reads, cuts packets, starts requests in order, and writes what is queued.
//!
//! Readiness is edge-triggered: a socket counts as readable or writable until an operation would block. A client gets a
//! bounded amount of attention per round, so that none keeps the thread to itself.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};
use mio::{Events, Poll, Token, Waker};
use zeroize::{Zeroize, Zeroizing};

use super::connection::{Connection, slices};
use super::listener::{Listener, Socket};
use super::shared::{Shared, Work};
use super::{ClientId, Handler, Notice, ServerOptions};
use crate::frame::{Deframer, FrameTooLong};
use crate::packet::{Packet, PacketError};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
/// Tokens from here on belong to clients.
const FIRST_CLIENT: u64 = 2;

/// Bytes read from one client before others get their turn.
const READ_BUDGET: usize = 256 * 1024;

/// Pause after a failed accept: the reason, mostly a lack of file descriptors, does not vanish at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How often clients that take nothing are looked at.
const STALL_CHECK: Duration = Duration::from_secs(1);

pub(super) struct Reactor {
    poll: Poll,
    listener: Listener,
    shared: Arc<Shared>,
    options: ServerOptions,
    clients: HashMap<ClientId, Client>,
    next_client: u64,
    /// Clients to look at before sleeping again.
    ready: Vec<ClientId>,
    accept_again: bool,
    scratch: Box<[u8]>,
}

/// A client as the I/O thread sees it.
struct Client {
    socket: Socket,
    deframer: Deframer,
    connection: Arc<Connection>,
    readable: bool,
    writable: bool,
    scheduled: bool,
    /// Since when it has been losing events without taking a byte.
    stalled: Option<Instant>,
}

/// Why a connection ends.
enum End {
    /// The client closed it.
    Closed,
    Failed(io::Error),
    TooLong(FrameTooLong),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Reactor {
    pub(super) fn new(
        mut listener: Listener,
        handler: Arc<dyn Handler>,
        options: ServerOptions,
    ) -> io::Result<(Arc<Shared>, Receiver<Work>, Self)> {
        let poll = Poll::new()?;
        listener.register(poll.registry(), LISTENER)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        // bounded by itself: a client has at most one request under way
        let (sender, receiver) = unbounded();
        let shared = Arc::new(Shared::new(handler, waker, sender));
        let reactor = Self {
            poll,
            listener,
            shared: Arc::clone(&shared),
            options,
            clients: HashMap::new(),
            next_client: FIRST_CLIENT,
            ready: Vec::new(),
            accept_again: false,
            scratch: vec![0; 64 * 1024].into(),
        };
        Ok((shared, receiver, reactor))
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let stop_by = self.shared.stop_by();
            if stop_by.is_some_and(|by| Instant::now() >= by || self.is_idle()) {
                break;
            }
            match self.poll.poll(&mut events, self.patience(stop_by)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.shared.fail(error);
                    break;
                }
                Ok(()) => {}
            }
            let mut accept = std::mem::take(&mut self.accept_again);
            for event in &events {
                match event.token() {
                    LISTENER => accept = true,
                    WAKER => {}
                    token => {
                        // a hang-up or an error shows when reading
                        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                        self.mark(client_id(token), readable, event.is_writable());
                    }
                }
            }
            if accept && stop_by.is_none() {
                self.accept();
            }
            for id in self.shared.take_signalled() {
                if let Some(client) = self.clients.get(&id) {
                    client.connection.signalled.store(false, Ordering::Release);
                }
                self.mark(id, false, false);
            }
            for id in std::mem::take(&mut self.ready) {
                self.serve(id, stop_by.is_some());
            }
            self.disconnect_stalled();
        }
        for (_, client) in self.clients.drain() {
            self.shared.remove(&client.connection);
        }
    }

    fn is_idle(&self) -> bool {
        self.clients.values().all(|client| client.connection.is_idle())
    }

    /// How long to sleep at most.
    fn patience(&self, stop_by: Option<Instant>) -> Option<Duration> {
        let stop = stop_by.map(|by| by.saturating_duration_since(Instant::now()));
        let busy = (!self.ready.is_empty()).then_some(Duration::ZERO);
        let retry = self.accept_again.then_some(ACCEPT_RETRY);
        let stalled = self.clients.values().any(|client| client.stalled.is_some()).then_some(STALL_CHECK);
        [stop, busy, retry, stalled].into_iter().flatten().min()
    }

    fn mark(&mut self, id: ClientId, readable: bool, writable: bool) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.readable |= readable;
            client.writable |= writable;
            if !client.scheduled {
                client.scheduled = true;
                self.ready.push(id);
            }
        }
    }

    fn accept(&mut self) {
        loop {
            let socket = match self.listener.accept() {
                Ok(socket) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {
                    continue;
                }
                Err(error) => {
                    self.shared.handler.notice(Notice::AcceptFailed(error));
                    self.accept_again = true;
                    return;
                }
            };
            if self.clients.len() >= self.options.max_clients {
                self.shared.handler.notice(Notice::TooManyClients(self.clients.len()));
                continue;
            }
            if let Err(error) = self.welcome(socket) {
                self.shared.handler.notice(Notice::AcceptFailed(error));
            }
        }
    }

    fn welcome(&mut self, mut socket: Socket) -> io::Result<()> {
        let id = ClientId(self.next_client);
        let token = usize::try_from(self.next_client).map_err(io::Error::other)?;
        socket.register(self.poll.registry(), Token(token))?;
        self.next_client += 1;
        let connection = Arc::new(Connection::new(id, self.shared.events.len()));
        self.shared.add(&connection);
        let client = Client {
            socket,
            deframer: Deframer::new(),
            connection,
            readable: false,
            writable: false,
            scheduled: false,
            stalled: None,
        };
        self.clients.insert(id, client);
        self.shared.handler.notice(Notice::Connected(id));
        Ok(())
    }

    fn serve(&mut self, id: ClientId, stopping: bool) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.scheduled = false;
        let served = client.serve(&self.shared, &mut self.scratch, stopping);
        let again = match served {
            Ok(again) => again,
            Err(end) => return self.part(id, end),
        };
        if let Some(events) = client.connection.take_dropped() {
            self.shared.handler.notice(Notice::EventsDropped { client: id, events });
        }
        if again {
            self.mark(id, false, false);
        }
    }

    fn part(&mut self, id: ClientId, end: End) {
        let Some(client) = self.clients.remove(&id) else { return };
        match end {
            End::Closed => {}
            End::Failed(error) => self.shared.handler.notice(Notice::SocketFailed { client: id, error }),
            End::TooLong(error) => self.shared.handler.notice(Notice::PacketTooLong { client: id, error }),
        }
        self.shared.remove(&client.connection);
    }

    fn disconnect_stalled(&mut self) {
        let after = self.options.stall_timeout;
        let stalled =
            self.clients.iter().filter(|(_, client)| client.stalled.is_some_and(|since| since.elapsed() >= after));
        let stalled: Vec<_> = stalled.map(|(id, client)| (*id, client.connection.dropped())).collect();
        for (client, events) in stalled {
            self.shared.handler.notice(Notice::Stalled { client, after, events });
            self.part(client, End::Closed);
        }
    }
}

impl Client {
    /// Reads, starts what may start, writes. Whether to come back without waiting for the socket.
    fn serve(&mut self, shared: &Shared, scratch: &mut [u8], stopping: bool) -> Result<bool, End> {
        if !stopping {
            self.read(shared, scratch)?;
        }
        self.advance(shared, stopping);
        self.write()?;
        // writing may have made room for what waited for it
        self.advance(shared, stopping);
        if let Some((request, listing)) = self.connection.resume() {
            shared.submit(Work::List { connection: Arc::clone(&self.connection), request, listing });
        }
        let pending = self.writable && !self.connection.next_output().0.is_empty();
        Ok(pending || (!stopping && self.readable && self.connection.accepts_input()))
    }

    fn read(&mut self, shared: &Shared, scratch: &mut [u8]) -> Result<(), End> {
        let mut budget = READ_BUDGET;
        while self.readable && budget > 0 && self.connection.accepts_input() {
            match self.socket.read(scratch) {
                Ok(0) => return Err(End::Closed),
                Ok(length) => {
                    budget = budget.saturating_sub(length);
                    let received = scratch.get_mut(..length).unwrap_or_default();
                    self.deframer.feed(received);
                    received.zeroize();
                    while let Some(packet) = self.deframer.next_packet().map_err(End::TooLong)? {
                        if packet.is_empty() {
                            shared.handler.notice(Notice::EmptyPacket(self.connection.id));
                        } else {
                            self.connection.received(Zeroizing::new(packet.to_vec()));
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Carries out received packets up to and including the next request.
    fn advance(&self, shared: &Shared, stopping: bool) {
        if stopping {
            return;
        }
        let client = self.connection.id;
        while let Some(bytes) = self.connection.next_packet() {
            match Packet::parse(&bytes) {
                Ok(Packet::CommandRequest { .. }) => {
                    let request = self.connection.begin_request();
                    let connection = Arc::clone(&self.connection);
                    shared.submit(Work::Request { connection, request, packet: bytes });
                }
                Ok(Packet::EventRegister { name }) => {
                    let event = shared.event_index(name);
                    self.confirm(event.is_some_and(|event| shared.subscribe(&self.connection, event)));
                }
                Ok(Packet::EventUnregister { name }) => {
                    let event = shared.event_index(name);
                    self.confirm(event.is_some_and(|event| shared.unsubscribe(&self.connection, event)));
                }
                Ok(
                    Packet::CommandResponse { .. }
                    | Packet::CommandUnknown
                    | Packet::EventConfirm
                    | Packet::EventUnknown
                    | Packet::Event { .. },
                ) => shared.handler.notice(Notice::UnexpectedPacket(client)),
                Err(PacketError::Empty) => shared.handler.notice(Notice::EmptyPacket(client)),
                Err(error) => shared.handler.notice(Notice::MalformedPacket { client, error }),
            }
        }
    }

    fn confirm(&self, confirmed: bool) {
        let packet = if confirmed { Packet::EventConfirm } else { Packet::EventUnknown };
        if let Ok(frame) = packet.to_frame() {
            self.connection.push(frame);
        }
    }

    fn write(&mut self) -> Result<(), End> {
        while self.writable {
            let (frames, written) = self.connection.next_output();
            if frames.is_empty() {
                break;
            }
            match self.socket.write_vectored(&slices(&frames, written)) {
                Ok(length) => {
                    self.connection.wrote(length);
                    self.stalled = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.writable && self.stalled.is_none() && self.connection.dropped() > 0 {
            self.stalled = Some(Instant::now());
        }
        Ok(())
    }
}

fn client_id(token: Token) -> ClientId {
    // tokens are made from client numbers, see `welcome`
    ClientId(u64::try_from(token.0).unwrap_or(u64::MAX))
}
