//! What the table holds for an IKE_SA, and the work it gets.

use std::sync::Arc;

use ike::wire::{ExchangeType, Header, PayloadType};
use ike::{IkeSa, IkeSaState, InitiateChild, Input};
use strongswan::clock::MonoTime;
use strongswan::log::Context;
use strongswan::processing::TimerId;

use super::half_open::{HalfOpen, HalfOpenEntry};
use super::index::Registration;
use super::initial::InitialClaim;
use super::table;

/// An IKE_SA with everything the daemon keeps about it. What others find it by and count it by goes with it when it is
/// dropped.
pub(crate) struct Resident {
    pub(crate) sa: IkeSa,
    pub(crate) registration: Registration,
    pub(crate) half_open: Option<HalfOpenEntry>,
    /// The request that made it.
    pub(crate) initial: Option<InitialClaim>,
    pub(crate) timer: Option<(TimerId, MonoTime)>,
    pub(crate) context: Context,
}

impl Resident {
    pub(crate) fn new(sa: IkeSa, registration: Registration) -> Self {
        let context = Context { name: Arc::from(sa.name()), id: sa.unique_id().get() };
        Self { sa, registration, half_open: None, initial: None, timer: None, context }
    }

    /// Follows what the IKE_SA has become.
    pub(crate) fn update(&mut self, children_changed: bool, half_open: &Arc<HalfOpen>) {
        self.registration.update(&self.sa, children_changed);
        if *self.context.name != *self.sa.name() {
            self.context.name = Arc::from(self.sa.name());
        }
        match self.sa.state() {
            IkeSaState::Connecting if self.half_open.is_none() => {
                // A responder came with its entry.
                self.half_open = Some(half_open.initiated());
            }
            IkeSaState::Created | IkeSaState::Connecting => {}
            IkeSaState::Established
            | IkeSaState::Passive
            | IkeSaState::Rekeying
            | IkeSaState::Rekeyed
            | IkeSaState::Deleting
            | IkeSaState::Destroying => self.half_open = None,
        }
    }
}

/// Called with the IKE_SA that an operation uses, before anything happens on it.
pub(crate) type OnStart = Box<dyn FnOnce(&IkeSa) + Send>;

/// A CHILD_SA or an IKE_SA to be initiated on an existing IKE_SA, if that is still good for it.
pub(crate) struct Initiation {
    pub(crate) child: Option<InitiateChild>,
    pub(crate) on_start: Option<OnStart>,
    /// What to do if it is not.
    pub(crate) otherwise: Box<dyn FnOnce(Option<InitiateChild>, Option<OnStart>) + Send>,
}

/// Work for an IKE_SA.
pub(crate) enum Work {
    /// An input of its state machine.
    Input(Input),
    /// An input, after `first` was told.
    Watched { input: Input, first: OnStart },
    /// An initiation that may use it.
    Initiate(Initiation),
    /// A look at it.
    Look(Box<dyn FnOnce(&IkeSa) + Send>),
}

/// Work of which one piece is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// The request or response of a message ID.
    Message { id: u32, response: bool },
    /// A timer was due.
    Timeout,
}

impl table::Work for Work {
    type Token = Token;

    fn token(&self) -> Option<Token> {
        match self {
            Self::Input(Input::Datagram { data, .. }) => message_token(data),
            Self::Input(Input::Timeout) => Some(Token::Timeout),
            Self::Input(_) | Self::Watched { .. } | Self::Initiate(_) | Self::Look(_) => None,
        }
    }

    fn is_droppable(&self) -> bool {
        matches!(self, Self::Input(Input::Datagram { .. }))
    }
}

/// A fragment is one of several messages with its ID, so it has none.
fn message_token(data: &[u8]) -> Option<Token> {
    let (header, first) = Header::parse(data).ok()?;
    let token = Token::Message { id: header.message_id.0, response: header.is_response() };
    (first != PayloadType::EncryptedFragment).then_some(token)
}

/// Whether a message asks for a new IKE_SA.
pub(crate) fn is_initial(header: &Header) -> bool {
    header.exchange == ExchangeType::IkeSaInit
        && header.is_request()
        && header.message_id.0 == 0
        && header.responder_spi.is_none()
}
