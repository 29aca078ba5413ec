//! What a task is: one concern of an exchange, adding its payloads to a message and reading them from the answer.
//!
//! An initiating task is built first and processes the response; a serving one processes the request and is built into
//! the response. Adding a feature to an exchange means adding a task, not editing another one.

use std::fmt;
use std::net::SocketAddr;

use super::tasks::Pending;
use crate::eap::Answer;
use crate::env::Env;
use crate::ids::UniqueId;
use crate::input::InitiateChild;
use crate::sa::{IkeSa, Path};
use crate::task::TaskType;
use crate::wire::{ExchangeType, Message, Nonce, Notify, NotifyType, Payload};

/// A received message, in the clear.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The message.
    pub(crate) message: Message,
    /// The datagram it came in. IKE_SA_INIT is authenticated byte by byte later.
    pub(crate) datagram: Vec<u8>,
    /// What IntAuth covers of it, if it is IKE_INTERMEDIATE.
    pub(crate) covered: Vec<u8>,
    /// Our address it was sent to.
    pub(crate) local: SocketAddr,
    /// The address it came from.
    pub(crate) remote: SocketAddr,
}

impl Incoming {
    /// The path it took, as seen from here.
    pub(crate) fn path(&self) -> Path {
        Path { local: self.local, remote: self.remote }
    }
}

/// A message under construction.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The message.
    pub(crate) message: Message,
    /// There turned out to be nothing to say: the request is not sent.
    pub(crate) cancelled: bool,
}

impl Outgoing {
    pub(crate) fn exchange(&self) -> ExchangeType {
        self.message.header.exchange
    }

    pub(crate) fn push(&mut self, payload: impl Into<Payload>) {
        self.message.push(payload);
    }

    /// Adds a notify without data.
    pub(crate) fn notify(&mut self, kind: NotifyType) {
        self.push(Notify::new(kind));
    }

    /// Drops all payloads in favour of one error notify.
    pub(crate) fn replace_by(&mut self, notify: Notify) {
        self.message.payloads.clear();
        self.push(notify);
    }
}

/// How a task goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It is finished and dropped.
    Done,
    /// It takes part in the next message.
    More,
    /// The whole exchange starts again from IKE_SA_INIT.
    Restart,
}

/// Why the IKE_SA cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is closed, and observers are told that it is down.
    Failed,
    /// It is closed silently: it was replaced, or observers know.
    Destroy,
}

/// Result of a step of a task.
pub(crate) type Step = Result<Progress, Failure>;

/// A message that must not be processed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Veto;

/// Something the peer did while our exchange is unanswered, for the task that may collide with it.
#[derive(Debug)]
pub(crate) enum Collision {
    /// The peer rekeyed a CHILD_SA: `new` replaces `old`.
    ChildRekeyed {
        /// The CHILD_SA that was rekeyed.
        old: UniqueId,
        /// Its successor.
        new: UniqueId,
        /// The lower nonce of the peer's exchange.
        nonce: Nonce,
    },
    /// The peer deleted a CHILD_SA.
    ChildDeleted {
        /// Our number of it, if it is ours already.
        child: Option<UniqueId>,
        /// The peer's inbound SPI of it.
        spi: crate::ids::Spi,
    },
    /// The peer rekeyed the IKE_SA.
    IkeRekeyed {
        /// The IKE_SA the peer's exchange created.
        new: Box<IkeSa>,
        /// The lower nonce of the peer's exchange.
        nonce: Nonce,
    },
    /// The peer deleted the IKE_SA.
    IkeDeleted,
}

/// What a task makes of a collision.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It has nothing to do with it: the event goes on to whoever handles it normally.
    Unrelated(Collision),
    /// It takes care of it.
    Taken,
}

/// One concern of an exchange.
pub(crate) trait Task: Send + fmt::Debug {
    /// Its name.
    fn kind(&self) -> TaskType;

    /// The exchange it continues, or starts.
    fn exchange(&self) -> Option<ExchangeType> {
        exchange_of(self.kind())
    }

    /// Adds payloads.
    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step;

    /// Refuses a message before any task has acted on it.
    fn pre_process(&mut self, _sa: &mut IkeSa, _message: &Incoming) -> Result<(), Veto> {
        Ok(())
    }

    /// Reads payloads.
    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &Incoming) -> Step;

    /// It is the one that made the request wait.
    fn waits(&self) -> bool {
        false
    }

    /// What the request had to wait for is there; the response is built next, unless it has to wait again.
    fn resume(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, _answer: Answer) -> Step {
        Ok(Progress::More)
    }

    /// The peer did something that may concern this task, which is waiting for an answer.
    fn collide(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, collision: Collision) -> Verdict {
        Verdict::Unrelated(collision)
    }

    /// Starts again from scratch after [`Progress::Restart`].
    fn reset(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>) {}

    /// The negotiation of the peer that it serves, if IKE_FOLLOWUP_KE exchanges have to complete that.
    fn pending(&self) -> Option<Pending<'_>> {
        None
    }

    /// Whether it is about this CHILD_SA.
    fn concerns(&self, _child: UniqueId) -> bool {
        false
    }

    /// The CHILD_SA it was asked to create, for an IKE_SA that takes this one's place.
    fn initiation(&self) -> Option<InitiateChild> {
        None
    }

    /// The CHILD_SA it was asked to create is not wanted any more: it is deleted as soon as it exists.
    fn withdraw(&mut self) {}

    /// Gives back what it holds outside of the IKE_SA; it will not be called again.
    fn abandon(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>) {}
}

/// Whether a task has a part in an exchange: IKE_INTERMEDIATE exchanges are about keys, and everything else waits for
/// IKE_AUTH.
pub(crate) fn takes_part(task: &dyn Task, exchange: ExchangeType) -> bool {
    exchange != ExchangeType::IkeIntermediate || task.kind() == TaskType::IkeInit
}

/// The exchange a task starts, or continues when it is the first one left of several.
fn exchange_of(kind: TaskType) -> Option<ExchangeType> {
    match kind {
        TaskType::IkeInit => Some(ExchangeType::IkeSaInit),
        TaskType::IkeAuth => Some(ExchangeType::IkeAuth),
        TaskType::ChildCreate | TaskType::ChildRekey | TaskType::IkeRekey => Some(ExchangeType::CreateChildSa),
        TaskType::IkeMobike
        | TaskType::ChildDelete
        | TaskType::IkeDelete
        | TaskType::IkeDpd
        | TaskType::IkeRedirect
        | TaskType::IkeAuthLifetime
        | TaskType::IkeReauthComplete => Some(ExchangeType::Informational),
        TaskType::IkeNatd
        | TaskType::IkeCertPre
        | TaskType::IkeCertPost
        | TaskType::IkeConfig
        | TaskType::IkeEstablish
        | TaskType::IkeVendor => None,
    }
}
