//! Queues of tasks, and the exchanges in the air: one request each way (RFC 7296 §2.3).

use strongswan::clock::MonoTime;

use super::inquire::Held;
use super::suspend::Suspended;
use super::task::Task;
use crate::eap::Wait;
use crate::sa::Path;
use crate::task::TaskType;
use crate::wire::{ExchangeType, Header, Message, MessageId, MessageIdSync, Reassembler};

/// A task that waits for its turn.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) task: Box<dyn Task>,
    /// Not before this moment.
    pub(crate) due: MonoTime,
}

/// Our request that the peer has not answered.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: MessageId,
    pub(crate) exchange: ExchangeType,
    pub(crate) packets: Vec<Vec<u8>>,
    /// How often it was sent.
    pub(crate) sent: u32,
    /// Paths it was sent over, if there was a choice.
    pub(crate) paths: Vec<Path>,
    /// What it says, for a peer after whose failure it may have to be sent under another message ID.
    pub(crate) message: Option<Message>,
}

/// A time that message IDs were synchronised.
#[derive(Debug)]
pub(crate) struct Synchronised {
    /// What the peer said.
    pub(super) asked: MessageIdSync,
    /// What we answered.
    pub(super) packets: Vec<Vec<u8>>,
}

impl Synchronised {
    /// The answer to a question, if that is the same.
    pub(super) fn answer_to(&self, sync: &MessageIdSync) -> Option<&[Vec<u8>]> {
        (self.asked == *sync).then_some(self.packets.as_slice())
    }
}

/// Our response to the peer's last request, in case it asks again.
#[derive(Debug)]
pub(crate) struct Answered {
    /// SHA-1 of the request's datagram, or of its first fragment.
    pub(crate) hash: [u8; 20],
    pub(crate) packets: Vec<Vec<u8>>,
    /// How often it was sent again.
    repeated: u16,
}

/// How often a response is sent again to somebody who is not authenticated. Peers that lose packets ask a handful of times;
/// whoever has somebody else's address as his source must not get more out of us.
const MAX_REPEATED: u16 = 12;
/// And to a peer that is: it may try all paths between all addresses for a while. Whoever has a copy of its last request
/// can ask, too.
const MAX_REPEATED_TO_PEER: u16 = 512;

impl Answered {
    /// The response to the request of this hash.
    pub(super) fn new(hash: [u8; 20], packets: Vec<Vec<u8>>) -> Self {
        Self { hash, packets, repeated: 0 }
    }

    /// The response to send once more, unless somebody has asked for it too often.
    pub(super) fn again(&mut self, authenticated: bool) -> Option<Vec<Vec<u8>>> {
        let most = if authenticated { MAX_REPEATED_TO_PEER } else { MAX_REPEATED };
        self.repeated = self.repeated.checked_add(1).filter(|count| *count <= most)?;
        Some(self.packets.clone())
    }
}

/// Tasks and exchanges of an IKE_SA.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    pub(crate) queued: Vec<Queued>,
    pub(crate) active: Vec<Box<dyn Task>>,
    pub(crate) passive: Vec<Box<dyn Task>>,
    /// Message ID of our next request.
    pub(crate) next_id: MessageId,
    pub(crate) request: Option<Box<Request>>,
    /// What a task has to wait for before the peer's request can be answered.
    pub(crate) wait: Option<Wait>,
    /// The request that waits.
    pub(crate) suspended: Option<Box<Suspended>>,
    /// A message that waits for what others say about its certificates.
    pub(crate) held: Option<Box<Held>>,
    /// How often others were asked.
    pub(crate) inquiries: u64,
    /// Message ID of the peer's next request.
    pub(crate) expected_id: MessageId,
    pub(crate) answered: Option<Box<Answered>>,
    /// When message IDs were synchronised since the peer's last request.
    pub(crate) synchronised: Vec<Synchronised>,
    /// SHA-1 of the first fragment of a request that is not complete.
    pub(crate) first_fragment: Option<Box<[u8; 20]>>,
    /// Fragments of the peer's requests and of its responses.
    pub(crate) reassembly: [Option<Box<Reassembler>>; 2],
}

impl Exchanges {
    /// Which reassembler a message uses.
    pub(super) fn slot(header: &Header) -> usize {
        usize::from(header.is_response())
    }

    /// Forgets the fragments of a message that has arrived in one piece.
    pub(super) fn drop_fragments(&mut self, header: &Header) {
        if let Some(reassembler) = self.reassembly.get_mut(Self::slot(header)) {
            *reassembler = None;
        }
        if header.is_request() {
            self.first_fragment = None;
        }
    }

    /// Whether no exchange is under way in either direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.request.is_none() && self.active.is_empty() && self.passive.is_empty()
    }

    /// Gives back the room of empty queues.
    pub(crate) fn rest(&mut self) {
        self.queued.shrink_to_fit();
        self.active = Vec::new();
        self.passive = Vec::new();
    }

    /// Tasks that have not started.
    pub(crate) fn queued_types(&self) -> Vec<TaskType> {
        self.queued.iter().map(|queued| queued.task.kind()).collect()
    }

    /// Tasks of our exchange.
    pub(crate) fn active_types(&self) -> Vec<TaskType> {
        self.active.iter().map(|task| task.kind()).collect()
    }

    /// Tasks serving the peer's exchange.
    pub(crate) fn passive_types(&self) -> Vec<TaskType> {
        self.passive.iter().map(|task| task.kind()).collect()
    }

    /// Whether a task of this kind waits for its turn.
    pub(crate) fn is_queued(&self, kind: TaskType) -> bool {
        self.queued.iter().any(|queued| queued.task.kind() == kind)
    }

    /// Whether a task of this kind takes part in our exchange.
    pub(crate) fn is_active(&self, kind: TaskType) -> bool {
        self.active.iter().any(|task| task.kind() == kind)
    }

    /// Whether the IKE_SA is going to be deleted.
    pub(crate) fn is_delete_queued(&self) -> bool {
        self.is_queued(TaskType::IkeDelete) || self.is_active(TaskType::IkeDelete)
    }

    /// Takes the first queued task of this kind that is due.
    pub(crate) fn take_queued(&mut self, kind: TaskType, now: MonoTime) -> Option<Box<dyn Task>> {
        let index = self.queued.iter().position(|queued| queued.task.kind() == kind && queued.due <= now)?;
        Some(self.queued.remove(index).task)
    }

    /// When the next queued task may start.
    pub(crate) fn next_due(&self) -> Option<MonoTime> {
        self.queued.iter().map(|queued| queued.due).min()
    }
}
