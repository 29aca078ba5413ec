//! One client's state, shared between the I/O thread, the workers and whoever raises events.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::ClientId;
use crate::message::Message;

/// Queued output above which events are dropped. Large enough for one packet of maximum size and a burst of log lines.
pub(super) const EVENT_LIMIT: usize = 1024 * 1024;

/// Queued output at which a listing pauses, and from which on no further request is started.
pub(super) const HIGH_WATER: usize = 256 * 1024;

/// Queued output at which a paused listing goes on.
pub(super) const LOW_WATER: usize = 64 * 1024;

/// Received packets that may wait for their turn; beyond it the socket is not read.
const MAX_INBOX: usize = 64;

/// Bytes of received packets that may wait; beyond it the socket is not read.
const MAX_INBOX_BYTES: usize = 1024 * 1024;

/// Subscriptions of one client to one event. Every event costs that many copies, and nobody has a use for a second one.
const MAX_SUBSCRIPTIONS: u32 = 64;

/// Frames handed to one write.
const WRITE_BATCH: usize = 32;

/// A packet ready for the wire; one broadcast event is shared by all its receivers.
pub(super) type Frame = Arc<[u8]>;

/// A received packet, which may hold secrets.
pub(super) type Packet = Zeroizing<Vec<u8>>;

/// A streamed listing: events still to come, and the answer that ends it.
pub(super) struct Listing {
    pub(super) event: usize,
    pub(super) items: Box<dyn Iterator<Item = Message> + Send>,
    pub(super) answer: Message,
}

/// Number of a request on its connection; what was begun for one request cannot speak in another's name.
pub(super) type RequestNumber = u64;

pub(super) struct Connection {
    pub(super) id: ClientId,
    /// Set once the I/O thread was told to look at this connection, cleared when it does.
    pub(super) signalled: AtomicBool,
    open: AtomicBool,
    state: Mutex<State>,
}

struct State {
    output: VecDeque<Frame>,
    /// Bytes of the first frame that are already written.
    written: usize,
    /// Bytes in `output` not yet written.
    queued: usize,
    /// Subscriptions per event; a client may subscribe several times and gets the event as often.
    subscriptions: Box<[u32]>,
    inbox: VecDeque<Packet>,
    inbox_bytes: usize,
    /// The request being run.
    current: Option<RequestNumber>,
    next_request: RequestNumber,
    /// A listing that waits for the client to read.
    parked: Option<Listing>,
    dropped: u64,
}

/// What a paused or running listing may do next.
pub(super) enum Room {
    /// Go on with it.
    Go(Listing),
    /// Parked until the client has read.
    Parked,
    /// Nobody will ever read it.
    Gone(Listing),
}

impl Connection {
    pub(super) fn new(id: ClientId, events: usize) -> Self {
        Self {
            id,
            signalled: AtomicBool::new(false),
            open: AtomicBool::new(true),
            state: Mutex::new(State {
                output: VecDeque::new(),
                written: 0,
                queued: 0,
                subscriptions: vec![0; events].into(),
                inbox: VecDeque::new(),
                inbox_bytes: 0,
                current: None,
                next_request: 0,
                parked: None,
                dropped: 0,
            }),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Drops everything the client will no longer get; returns the subscriptions it held and a parked listing, which the
    /// caller drops without any lock.
    pub(super) fn close(&self) -> (Box<[u32]>, Option<Listing>) {
        self.open.store(false, Ordering::Release);
        let mut state = self.state.lock();
        state.output = VecDeque::new();
        state.inbox = VecDeque::new();
        (state.queued, state.written, state.inbox_bytes, state.current) = (0, 0, 0, None);
        let events = state.subscriptions.len();
        let subscriptions = std::mem::replace(&mut state.subscriptions, vec![0; events].into());
        (subscriptions, state.parked.take())
    }

    // Requests, from the socket to the worker.

    /// Whether another packet may be read from the socket.
    pub(super) fn accepts_input(&self) -> bool {
        let state = self.state.lock();
        state.inbox.len() < MAX_INBOX && state.inbox_bytes < MAX_INBOX_BYTES
    }

    pub(super) fn received(&self, packet: Packet) {
        let mut state = self.state.lock();
        state.inbox_bytes += packet.len();
        state.inbox.push_back(packet);
    }

    /// The next packet whose turn has come: none while a request runs or much output is queued.
    pub(super) fn next_packet(&self) -> Option<Packet> {
        let mut state = self.state.lock();
        if state.current.is_some() || state.queued >= HIGH_WATER {
            return None;
        }
        let packet = state.inbox.pop_front()?;
        state.inbox_bytes = state.inbox_bytes.saturating_sub(packet.len());
        Some(packet)
    }

    /// Marks a request as running.
    pub(super) fn begin_request(&self) -> RequestNumber {
        let mut state = self.state.lock();
        let number = state.next_request;
        state.next_request += 1;
        state.current = Some(number);
        number
    }

    /// Whether nothing is running or queued.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.current.is_none() && state.queued == 0
    }

    // Subscriptions.

    /// Adds a subscription; whether there may be one more.
    pub(super) fn subscribe(&self, event: usize) -> bool {
        match self.state.lock().subscriptions.get_mut(event) {
            Some(count) if *count < MAX_SUBSCRIPTIONS => {
                *count += 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Ends one subscription; whether there was one.
    pub(super) fn unsubscribe(&self, event: usize) -> bool {
        match self.state.lock().subscriptions.get_mut(event) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether a streamed event of this request would reach the client.
    pub(super) fn wants(&self, event: usize, request: RequestNumber) -> bool {
        let state = self.state.lock();
        state.current == Some(request) && state.subscribed(event) > 0
    }

    // Output.

    /// Queues an answer or a confirmation.
    pub(super) fn push(&self, frame: Vec<u8>) {
        if self.is_open() {
            self.state.lock().queue(frame.into());
        }
    }

    /// Queues the answer to a request and ends it; whether that request was still running.
    pub(super) fn answer(&self, request: RequestNumber, frame: Vec<u8>) -> bool {
        let mut state = self.state.lock();
        if state.current != Some(request) {
            return false;
        }
        state.current = None;
        state.queue(frame.into());
        true
    }

    /// Queues an event raised for everybody; whether the I/O thread must be told.
    pub(super) fn broadcast(&self, event: usize, frame: &Frame) -> bool {
        self.is_open() && self.state.lock().queue_event(event, frame)
    }

    /// Queues an event raised by a request for its own client, unless that request is answered already; whether the
    /// I/O thread must be told.
    pub(super) fn emit(&self, event: usize, request: RequestNumber, frame: &Frame) -> bool {
        let mut state = self.state.lock();
        state.current == Some(request) && state.queue_event(event, frame)
    }

    /// Queues an event of a listing, of which none may be lost: the caller asks for [`room`](Self::room) first.
    pub(super) fn push_listed(&self, event: usize, request: RequestNumber, frame: &Frame) {
        let mut state = self.state.lock();
        if state.current == Some(request) {
            for _ in 0..state.subscribed(event) {
                state.queue(Arc::clone(frame));
            }
        }
    }

    /// Lets a listing go on if the client keeps up, parks it otherwise.
    pub(super) fn room(&self, request: RequestNumber, listing: Listing) -> Room {
        let mut state = self.state.lock();
        if state.current != Some(request) || state.subscribed(listing.event) == 0 {
            return Room::Gone(listing);
        }
        if state.queued < HIGH_WATER {
            return Room::Go(listing);
        }
        state.parked = Some(listing);
        Room::Parked
    }

    /// Takes a parked listing out once the client has read enough.
    pub(super) fn resume(&self) -> Option<(RequestNumber, Listing)> {
        let mut state = self.state.lock();
        if state.queued > LOW_WATER {
            return None;
        }
        Some((state.current?, state.parked.take()?))
    }

    /// The next frames to write and how much of the first is already written.
    pub(super) fn next_output(&self) -> (Vec<Frame>, usize) {
        let state = self.state.lock();
        (state.output.iter().take(WRITE_BATCH).cloned().collect(), state.written)
    }

    /// Takes written bytes off the queue.
    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.queued = state.queued.saturating_sub(bytes);
        state.written += bytes;
        while let Some(first) = state.output.front().map(|frame| frame.len()) {
            if state.written < first {
                break;
            }
            state.written -= first;
            state.output.pop_front();
        }
    }

    /// Number of events dropped since last asked, if the queue has room again.
    pub(super) fn take_dropped(&self) -> Option<u64> {
        let mut state = self.state.lock();
        if state.dropped == 0 || state.queued > LOW_WATER {
            return None;
        }
        Some(std::mem::take(&mut state.dropped))
    }

    /// Number of events dropped so far and not reported.
    pub(super) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }
}

impl State {
    fn subscribed(&self, event: usize) -> u32 {
        self.subscriptions.get(event).copied().unwrap_or(0)
    }

    fn queue(&mut self, frame: Frame) {
        self.queued += frame.len();
        self.output.push_back(frame);
    }

    /// Queues an event once per subscription, or drops and counts it; whether the I/O thread must be told, which at the
    /// first loss starts watching the client.
    fn queue_event(&mut self, event: usize, frame: &Frame) -> bool {
        let mut news = false;
        for _ in 0..self.subscribed(event) {
            if self.queued + frame.len() > EVENT_LIMIT {
                self.dropped += 1;
                news |= self.dropped == 1;
            } else {
                self.queue(Arc::clone(frame));
                news = true;
            }
        }
        news
    }
}

/// Slices of what remains to be written.
pub(super) fn slices(frames: &[Frame], written: usize) -> Vec<IoSlice<'_>> {
    let mut skip = written;
    frames
        .iter()
        .map(|frame| {
            let rest = frame.get(skip..).unwrap_or_default();
            skip = 0;
            IoSlice::new(rest)
        })
        .collect()
}
