//! What all threads of a server share, and the way to raise events for everybody.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use mio::Waker;
use parking_lot::Mutex;

use super::connection::{Connection, Frame, Listing, Packet, RequestNumber};
use super::{ClientId, Handler, Notice};
use crate::message::Message;
use crate::packet::event_frame;

/// Work for a worker.
pub(super) enum Work {
    /// Run a request; the packet's name and message are still encoded.
    Request { connection: Arc<Connection>, request: RequestNumber, packet: Packet },
    /// Draw from a listing.
    List { connection: Arc<Connection>, request: RequestNumber, listing: Listing },
    /// End the worker.
    Stop,
}

/// Lock order: `clients` before a connection's state; `signalled` is taken alone.
pub(super) struct Shared {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) events: &'static [&'static str],
    /// Subscriptions of all clients, per event: events nobody wants are not built.
    subscribers: Box<[AtomicUsize]>,
    clients: Mutex<HashMap<ClientId, Arc<Connection>>>,
    /// Connections the I/O thread has to look at.
    signalled: Mutex<Vec<ClientId>>,
    waker: Waker,
    work: Sender<Work>,
    stop_by: Mutex<Option<Instant>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("events", &self.events).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(handler: Arc<dyn Handler>, waker: Waker, work: Sender<Work>) -> Self {
        let events = handler.events();
        Self {
            handler,
            events,
            subscribers: events.iter().map(|_| AtomicUsize::new(0)).collect(),
            clients: Mutex::new(HashMap::new()),
            signalled: Mutex::new(Vec::new()),
            waker,
            work,
            stop_by: Mutex::new(None),
        }
    }

    pub(super) fn event_index(&self, name: &str) -> Option<usize> {
        self.events.iter().position(|event| *event == name)
    }

    /// Tells the I/O thread to look at a connection.
    pub(super) fn signal(&self, connection: &Connection) {
        if connection.signalled.swap(true, Ordering::AcqRel) {
            return;
        }
        let first = {
            let mut signalled = self.signalled.lock();
            signalled.push(connection.id);
            signalled.len() == 1
        };
        if first {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            self.handler.notice(Notice::ServerFailed(error));
        }
    }

    pub(super) fn take_signalled(&self) -> Vec<ClientId> {
        std::mem::take(&mut *self.signalled.lock())
    }

    pub(super) fn submit(&self, work: Work) {
        // fails only when all workers are gone, and then nobody waits for the answer
        let _ = self.work.send(work);
    }

    // Clients.

    pub(super) fn add(&self, connection: &Arc<Connection>) {
        self.clients.lock().insert(connection.id, Arc::clone(connection));
    }

    pub(super) fn remove(&self, connection: &Connection) {
        self.clients.lock().remove(&connection.id);
        let (subscriptions, listing) = connection.close();
        for (event, count) in subscriptions.into_iter().enumerate() {
            self.unsubscribed(event, usize::try_from(count).unwrap_or(0));
        }
        drop(listing);
        self.handler.notice(Notice::Disconnected(connection.id));
    }

    pub(super) fn subscribe(&self, connection: &Connection, event: usize) -> bool {
        if !connection.subscribe(event) {
            return false;
        }
        let before = self.subscribers.get(event).map(|total| total.fetch_add(1, Ordering::Relaxed));
        if let (Some(0), Some(name)) = (before, self.events.get(event)) {
            self.handler.interest(name, true);
        }
        true
    }

    pub(super) fn unsubscribe(&self, connection: &Connection, event: usize) -> bool {
        let subscribed = connection.unsubscribe(event);
        self.unsubscribed(event, usize::from(subscribed));
        subscribed
    }

    /// Counts ended subscriptions off. Only the I/O thread counts, so no change of interest overtakes another.
    fn unsubscribed(&self, event: usize, count: usize) {
        let before = self.subscribers.get(event).map(|total| total.fetch_sub(count, Ordering::Relaxed));
        if let (true, Some(name)) = (count > 0 && before == Some(count), self.events.get(event)) {
            self.handler.interest(name, false);
        }
    }

    fn has_subscribers(&self, event: usize) -> bool {
        self.subscribers.get(event).is_some_and(|total| total.load(Ordering::Relaxed) > 0)
    }

    /// Encodes an event, reporting one that cannot be.
    pub(super) fn encode_event(&self, event: usize, message: &Message) -> Option<Frame> {
        let name = self.events.get(event)?;
        match event_frame(name, message) {
            Ok(frame) => Some(frame.into()),
            Err(error) => {
                self.handler.notice(Notice::EventNotEncodable { event: (*name).to_owned(), error });
                None
            }
        }
    }

    fn broadcast(&self, event: usize, message: &Message) {
        let Some(frame) = self.encode_event(event, message) else { return };
        let mut receivers = Vec::new();
        for connection in self.clients.lock().values() {
            if connection.broadcast(event, &frame) {
                receivers.push(Arc::clone(connection));
            }
        }
        for connection in receivers {
            self.signal(&connection);
        }
    }

    // Ending.

    pub(super) fn request_stop(&self, grace: Duration) {
        let now = Instant::now();
        *self.stop_by.lock() = Some(now.checked_add(grace).unwrap_or(now));
        self.wake();
    }

    pub(super) fn stop_by(&self) -> Option<Instant> {
        *self.stop_by.lock()
    }

    pub(super) fn stop_workers(&self, workers: usize) {
        for _ in 0..workers {
            self.submit(Work::Stop);
        }
    }

    pub(super) fn fail(&self, error: io::Error) {
        self.handler.notice(Notice::ServerFailed(error));
    }
}

/// Raises events to all clients that subscribed to them.
#[derive(Debug, Clone)]
pub struct Broadcaster {
    shared: Arc<Shared>,
}

impl Broadcaster {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Whether anybody subscribed to the event. Cheap enough to ask before each log line.
    pub fn is_wanted(&self, event: &str) -> bool {
        self.shared.event_index(event).is_some_and(|event| self.shared.has_subscribers(event))
    }

    /// Raises an event. The message is built only if anybody subscribed to it, and encoded once for all.
    ///
    /// Never waits: clients that read too slowly lose the event.
    pub fn emit(&self, event: &str, message: impl FnOnce() -> Message) {
        if let Some(event) = self.shared.event_index(event)
            && self.shared.has_subscribers(event)
        {
            self.shared.broadcast(event, &message());
        }
    }
}
