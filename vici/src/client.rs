//! The blocking client.
//!
//! Requests carry no id, so answers are matched purely by order: a client whose wait timed out or whose socket failed can
//! no longer tell which answer belongs to what, and refuses further use ([`ClientError::Unusable`]). Events may arrive
//! between any two packets; those that nobody waits for at that moment are kept for [`Client::next_event`].

mod stream;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

pub use stream::Stream;
use zeroize::Zeroizing;

use crate::endpoint::{Endpoint, EndpointError};
use crate::frame::{Deframer, FrameTooLong};
use crate::message::{CommandFailed, DecodeError, EncodeError, Message};
use crate::packet::{Packet, PacketError, request_frame};

/// Events kept while nobody fetches them; beyond it the oldest are dropped and counted.
const MAX_PENDING_EVENTS: usize = 16 * 1024;

/// Bytes asked of the socket at once.
const READ_SIZE: usize = 64 * 1024;

/// An event a client subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Name of the event.
    pub name: String,
    /// What it carries.
    pub message: Message,
}

/// Why a client could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not a vici URI.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The socket could not be connected, read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The request cannot be expressed.
    #[error("request cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// The daemon sent a malformed message.
    #[error("daemon sent a malformed message: {0}")]
    Decode(#[from] DecodeError),
    /// The daemon sent a malformed packet.
    #[error("daemon sent a malformed packet: {0}")]
    Packet(#[from] PacketError),
    /// The daemon announced a packet beyond the limit.
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
    /// The daemon closed the connection.
    #[error("connection closed by the daemon")]
    Closed,
    /// Nothing arrived for as long as the caller was willing to wait.
    #[error("no answer from the daemon in time")]
    TimedOut,
    /// The daemon knows no such command.
    #[error("the daemon knows no command '{0}'")]
    UnknownCommand(String),
    /// The daemon knows no such event, or it was not subscribed.
    #[error("the daemon knows no event '{0}'")]
    UnknownEvent(String),
    /// The daemon answered something else than was asked.
    #[error("the daemon's answer does not fit the request")]
    UnexpectedAnswer,
    /// An earlier failure left the connection out of step.
    #[error("the connection is unusable after an earlier failure")]
    Unusable,
    /// The command ran and failed; only [`Client::command`] reports it this way.
    #[error(transparent)]
    Failed(#[from] CommandFailed),
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    deframer: Deframer,
    buffer: Box<[u8]>,
    events: VecDeque<Event>,
    lost: u64,
    timeout: Option<Duration>,
    usable: bool,
    /// Answers still to come for a stream that was dropped before its end, and the event it streamed.
    abandoned: Option<(u32, String)>,
}

/// An answer, taken off the wire.
enum Answer {
    Response(Message),
    CommandUnknown,
    Confirm,
    EventUnknown,
}

/// What arrives: an answer or an event.
enum Arrival {
    Answer(Answer),
    Event(Event),
}

impl Client {
    /// Connects to a daemon.
    ///
    /// # Errors
    /// If the address does not resolve or nobody listens there.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let socket = match endpoint {
            Endpoint::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
            Endpoint::Tcp { host, port } => Socket::Tcp(connect_tcp(host, *port)?),
        };
        Ok(Self {
            socket,
            deframer: Deframer::new(),
            buffer: vec![0; READ_SIZE].into(),
            events: VecDeque::new(),
            lost: 0,
            timeout: None,
            usable: true,
            abandoned: None,
        })
    }

    /// Sets the longest silence to accept while waiting for an answer; `None`, the default, waits forever.
    ///
    /// Commands like `initiate` answer only when they are done; leave it unset or well above their own timeout.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Runs a command and returns its answer, whatever it says.
    ///
    /// # Errors
    /// If the daemon does not know the command or the connection fails.
    pub fn request(&mut self, command: &str, message: &Message) -> Result<Message, ClientError> {
        self.send(&Zeroizing::new(request_frame(command, message)?))?;
        let answer = self.answer()?;
        self.response(command, answer)
    }

    /// Runs a command and returns its answer if that is a success.
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`ClientError::Failed`] if the answer says `success = no`.
    pub fn command(&mut self, command: &str, message: &Message) -> Result<Message, ClientError> {
        Ok(self.request(command, message)?.into_result()?)
    }

    /// Runs a command that streams events; iterate over those, then [`finish`](Stream::finish) for the answer.
    ///
    /// # Errors
    /// If the daemon does not know the event or the connection fails. An unknown command shows in the stream.
    pub fn stream<'c>(&'c mut self, command: &str, event: &str, message: &Message) -> Result<Stream<'c>, ClientError> {
        let frame = Zeroizing::new(request_frame(command, message)?);
        self.subscribe(event)?;
        self.send(&frame)?;
        Ok(Stream::new(self, command, event))
    }

    /// Runs a command that streams events, calls `each` for every one of them, and returns the answer.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub fn request_streamed(
        &mut self,
        command: &str,
        event: &str,
        message: &Message,
        mut each: impl FnMut(Message),
    ) -> Result<Message, ClientError> {
        let mut stream = self.stream(command, event, message)?;
        for item in &mut stream {
            each(item?);
        }
        stream.finish()
    }

    /// Subscribes to an event.
    ///
    /// # Errors
    /// If the daemon does not know the event or the connection fails.
    pub fn subscribe(&mut self, event: &str) -> Result<(), ClientError> {
        self.send(&Packet::EventRegister { name: event }.to_frame()?)?;
        self.confirmation(event)
    }

    /// Ends a subscription. Events that arrived before stay available.
    ///
    /// # Errors
    /// If the event was not subscribed or the connection fails.
    pub fn unsubscribe(&mut self, event: &str) -> Result<(), ClientError> {
        self.send(&Packet::EventUnregister { name: event }.to_frame()?)?;
        self.confirmation(event)
    }

    /// Waits for the next event of any subscription; `None` if none came within `timeout` (forever without one).
    ///
    /// # Errors
    /// If the connection fails.
    pub fn next_event(&mut self, timeout: Option<Duration>) -> Result<Option<Event>, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            match self.arrival(deadline) {
                Ok(Arrival::Event(event)) if self.is_abandoned(&event) => {}
                Ok(Arrival::Event(event)) => return Ok(Some(event)),
                Ok(Arrival::Answer(_)) if self.take_abandoned() => {}
                Ok(Arrival::Answer(_)) => return Err(self.broken(ClientError::UnexpectedAnswer)),
                Err(ClientError::TimedOut) => return Ok(None),
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    /// Number of events dropped because [`next_event`](Self::next_event) was not called for too long.
    pub fn events_lost(&self) -> u64 {
        self.lost
    }

    /// Waits for the answer to what was sent last, keeping events for later.
    fn answer(&mut self) -> Result<Answer, ClientError> {
        loop {
            match self.wait()? {
                Arrival::Answer(answer) => return Ok(answer),
                Arrival::Event(event) => self.keep(event),
            }
        }
    }

    /// Waits for the next packet that belongs to the caller. A failure makes the connection unusable.
    fn wait(&mut self) -> Result<Arrival, ClientError> {
        loop {
            let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
            match self.arrival(deadline) {
                Ok(Arrival::Answer(_)) if self.take_abandoned() => {}
                Ok(Arrival::Event(event)) if self.is_abandoned(&event) => {}
                Ok(arrival) => return Ok(arrival),
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    fn response(&mut self, command: &str, answer: Answer) -> Result<Message, ClientError> {
        match answer {
            Answer::Response(message) => Ok(message),
            Answer::CommandUnknown => Err(ClientError::UnknownCommand(command.to_owned())),
            Answer::Confirm | Answer::EventUnknown => Err(self.broken(ClientError::UnexpectedAnswer)),
        }
    }

    fn confirmation(&mut self, event: &str) -> Result<(), ClientError> {
        match self.answer()? {
            Answer::Confirm => Ok(()),
            Answer::EventUnknown => Err(ClientError::UnknownEvent(event.to_owned())),
            Answer::Response(_) | Answer::CommandUnknown => Err(self.broken(ClientError::UnexpectedAnswer)),
        }
    }

    fn keep(&mut self, event: Event) {
        if self.events.len() >= MAX_PENDING_EVENTS {
            self.events.pop_front();
            self.lost += 1;
        }
        self.events.push_back(event);
    }

    /// Counts an answer to an abandoned stream off, if one is due.
    fn take_abandoned(&mut self) -> bool {
        match self.abandoned.take() {
            None => false,
            Some((due, event)) => {
                self.abandoned = due.checked_sub(1).filter(|due| *due > 0).map(|due| (due, event));
                true
            }
        }
    }

    fn is_abandoned(&self, event: &Event) -> bool {
        self.abandoned.as_ref().is_some_and(|(_, name)| *name == event.name)
    }

    fn broken(&mut self, error: ClientError) -> ClientError {
        self.usable = false;
        error
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), ClientError> {
        if !self.usable {
            return Err(ClientError::Unusable);
        }
        self.socket.write_all(frame).map_err(|error| self.broken(error.into()))
    }

    /// Takes the next packet off the wire. On [`ClientError::TimedOut`] nothing is lost.
    fn arrival(&mut self, deadline: Option<Instant>) -> Result<Arrival, ClientError> {
        if !self.usable {
            return Err(ClientError::Unusable);
        }
        loop {
            if let Some(packet) = self.deframer.next_packet()? {
                return Arrival::from_packet(Packet::parse(packet)?);
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // a zero timeout would mean none; poll for a millisecond instead
            self.socket.set_read_timeout(left.map(|left| left.max(Duration::from_millis(1))))?;
            match self.socket.read(&mut self.buffer) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(length) => {
                    self.deframer.feed(self.buffer.get(..length).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(ClientError::TimedOut);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Arrival {
    fn from_packet(packet: Packet<'_>) -> Result<Self, ClientError> {
        Ok(Self::Answer(match packet {
            Packet::CommandResponse { message } => Answer::Response(Message::decode(message)?),
            Packet::CommandUnknown => Answer::CommandUnknown,
            Packet::EventConfirm => Answer::Confirm,
            Packet::EventUnknown => Answer::EventUnknown,
            Packet::Event { name, message } => {
                return Ok(Self::Event(Event { name: name.to_owned(), message: Message::decode(message)? }));
            }
            Packet::CommandRequest { .. } | Packet::EventRegister { .. } | Packet::EventUnregister { .. } => {
                return Err(ClientError::UnexpectedAnswer);
            }
        }))
    }
}

fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, format!("'{host}' has no address"));
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Tcp(stream) => stream.write_all(bytes),
        }
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
        }
    }
}
