//! A command's streamed events as an iterator.

use super::{Answer, Arrival, Client, ClientError};
use crate::message::Message;
use crate::packet::Packet;

/// Events of a running command, see [`Client::stream`].
///
/// Ends when the command's answer arrived; [`finish`](Self::finish) returns that answer. Dropping a stream early leaves
/// the client usable: what is still to come is skipped when it arrives.
#[derive(Debug)]
pub struct Stream<'c> {
    client: &'c mut Client,
    command: String,
    event: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The answer is still to come.
    Running,
    /// The answer arrived and the subscription was ended.
    Answered(Message),
    /// Nothing more to be had.
    Done,
}

impl<'c> Stream<'c> {
    pub(super) fn new(client: &'c mut Client, command: &str, event: &str) -> Self {
        Self { client, command: command.to_owned(), event: event.to_owned(), state: State::Running }
    }

    /// Skips remaining events and returns the command's answer.
    ///
    /// # Errors
    /// If the daemon does not know the command or the connection fails.
    pub fn finish(mut self) -> Result<Message, ClientError> {
        while self.advance()?.is_some() {}
        match std::mem::replace(&mut self.state, State::Done) {
            State::Answered(message) => Ok(message),
            // an error was already handed out by the iterator
            State::Running | State::Done => Err(ClientError::Unusable),
        }
    }

    fn advance(&mut self) -> Result<Option<Message>, ClientError> {
        while matches!(self.state, State::Running) {
            match self.client.wait() {
                Ok(Arrival::Event(event)) if event.name == self.event => return Ok(Some(event.message)),
                Ok(Arrival::Event(event)) => self.client.keep(event),
                Ok(Arrival::Answer(answer)) => self.answered(answer)?,
                Err(error) => {
                    self.state = State::Done;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn answered(&mut self, answer: Answer) -> Result<(), ClientError> {
        self.state = State::Done;
        let response = self.client.response(&self.command, answer);
        let unsubscribed = self.client.unsubscribe(&self.event);
        self.state = State::Answered(response?);
        unsubscribed
    }
}

impl Iterator for Stream<'_> {
    type Item = Result<Message, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if !matches!(self.state, State::Running) {
            return;
        }
        // Unsubscribing is queued behind the running command: two answers are due, and are skipped as they arrive.
        let sent = Packet::EventUnregister { name: &self.event }.to_frame().map(|frame| self.client.send(&frame));
        match sent {
            Ok(Ok(())) => self.client.abandoned = Some((2, std::mem::take(&mut self.event))),
            Ok(Err(_)) | Err(_) => self.client.usable = false,
        }
    }
}
