//! How a handler answers: at once, later from another thread, or with a listing drawn as the client reads.

use std::fmt;
use std::sync::Arc;

use super::connection::{Connection, Listing, RequestNumber};
use super::shared::{Shared, Work};
use super::{ClientId, Notice};
use crate::message::{EncodeError, Message};
use crate::packet::{Packet, response_frame};

/// The obligation to answer one request.
///
/// It may be moved to any thread and answered at any time; the client's next packet is not looked at before. Dropped
/// unanswered, it answers with an error, so that no client waits for ever.
pub struct Responder {
    target: Target,
    answered: bool,
}

/// Raises streamed events for the client of one request.
///
/// Works until the request is answered; from then on it does nothing.
#[derive(Clone)]
pub struct Emitter {
    target: Target,
}

#[derive(Clone)]
struct Target {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: RequestNumber,
}

impl Responder {
    pub(super) fn new(shared: Arc<Shared>, connection: Arc<Connection>, request: RequestNumber) -> Self {
        Self { target: Target { shared, connection, request }, answered: false }
    }

    /// The client that asked.
    pub fn client(&self) -> ClientId {
        self.target.connection.id
    }

    /// Whether the client is still there. A command in progress is not cancelled when it goes.
    pub fn is_connected(&self) -> bool {
        self.target.connection.is_open()
    }

    /// A handle that raises events for this client until the request is answered.
    pub fn emitter(&self) -> Emitter {
        Emitter { target: self.target.clone() }
    }

    /// Answers. A message that cannot be encoded becomes an error answer.
    pub fn reply(mut self, message: &Message) {
        self.send(message);
    }

    /// Answers that there is no such command.
    pub fn unknown(mut self) {
        self.answered = true;
        if let Ok(frame) = Packet::CommandUnknown.to_frame() {
            self.target.answer(frame);
        }
    }

    /// Sends each item as an event and then the answer.
    ///
    /// The items are drawn on a worker, as fast as the client reads; if it is not subscribed, none are drawn.
    /// What the iterator holds lives that long, so it should hold snapshots rather than locks.
    pub fn stream<I>(mut self, event: &str, items: I, answer: Message)
    where
        I: Iterator<Item = Message> + Send + 'static,
    {
        let Some(event) = self.target.shared.event_index(event) else { return self.send(&answer) };
        self.answered = true;
        let listing = Listing { event, items: Box::new(items), answer };
        self.target.shared.submit(Work::List {
            connection: Arc::clone(&self.target.connection),
            request: self.target.request,
            listing,
        });
    }

    /// Leaves the answer to another responder for the same request.
    pub(super) fn hand_over(mut self) {
        self.answered = true;
    }

    fn send(&mut self, message: &Message) {
        self.answered = true;
        self.target.reply(message);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            self.send(&Message::failure("command was not answered"));
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("client", &self.client()).finish_non_exhaustive()
    }
}

impl Emitter {
    /// Whether an event would reach the client: it is subscribed, and the request is not answered yet.
    pub fn is_wanted(&self, event: &str) -> bool {
        let event = self.target.shared.event_index(event);
        event.is_some_and(|event| self.target.connection.wants(event, self.target.request))
    }

    /// Raises an event for this client. The message is built only if it would arrive.
    ///
    /// Never waits: a client that reads too slowly loses the event.
    pub fn emit(&self, event: &str, message: impl FnOnce() -> Message) {
        let Target { shared, connection, request } = &self.target;
        let Some(event) = shared.event_index(event) else { return };
        if !connection.wants(event, *request) {
            return;
        }
        let Some(frame) = shared.encode_event(event, &message()) else { return };
        if connection.emit(event, *request, &frame) {
            shared.signal(connection);
        }
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("client", &self.target.connection.id).finish_non_exhaustive()
    }
}

impl Target {
    fn reply(&self, message: &Message) {
        match response_frame(message) {
            Ok(frame) => self.answer(frame),
            Err(error) => self.refuse(error),
        }
    }

    /// Answers with the reason why the real answer cannot be sent.
    fn refuse(&self, error: EncodeError) {
        let failure = Message::failure(format_args!("answer cannot be encoded: {error}"));
        if let Ok(frame) = response_frame(&failure) {
            self.answer(frame);
        }
        self.shared.handler.notice(Notice::AnswerNotEncodable { client: self.connection.id, error });
    }

    fn answer(&self, frame: Vec<u8>) {
        if self.connection.answer(self.request, frame) {
            self.shared.signal(&self.connection);
        }
    }
}
