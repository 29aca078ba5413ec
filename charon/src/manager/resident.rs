//! What the table holds for an IKE_SA, and the work it gets.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

use ike::wire::{ExchangeType, Header};
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
    /// A datagram, by a keyed hash of all of it. Its message ID would not do: the answers to an IKE_SA_INIT request and to its
    /// repetition with a cookie or another key exchange share one, and so can a forgery and the genuine message.
    Datagram(u64),
    /// A timer was due.
    Timeout,
}

impl table::Work for Work {
    type Token = Token;

    fn token(&self) -> Option<Token> {
        match self {
            Self::Input(Input::Datagram { data, .. }) => Some(Token::Datagram(DATAGRAM_KEY.hash_one(data))),
            Self::Input(Input::Timeout) => Some(Token::Timeout),
            Self::Input(_) | Self::Watched { .. } | Self::Initiate(_) | Self::Look(_) => None,
        }
    }

    fn is_droppable(&self) -> bool {
        matches!(self, Self::Input(Input::Datagram { .. }))
    }
}

/// Ours alone, so that nobody can make another datagram with the hash of one.
static DATAGRAM_KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Whether a message asks for a new IKE_SA.
pub(crate) fn is_initial(header: &Header) -> bool {
    header.exchange == ExchangeType::IkeSaInit
        && header.is_request()
        && header.message_id.0 == 0
        && header.responder_spi.is_none()
}

#[cfg(test)]
mod tests {
    use super::table::Work as _;
    use super::*;

    fn datagram(data: &[u8]) -> Work {
        let address = "192.0.2.1:500".parse().unwrap();
        Work::Input(Input::Datagram { local: address, remote: address, data: data.to_vec() })
    }

    /// An IKE_SA_INIT response of message ID 0 with an empty notify of this type.
    fn init_response(notify: u8) -> Vec<u8> {
        let mut message = vec![1; 16];
        message.extend([41, 0x20, 34, 0x20, 0, 0, 0, 0, 0, 0, 0, 36, 0, 0, 0, 8, 0, 0, 0, notify]);
        message
    }

    #[test]
    fn the_answer_to_a_repeated_request_is_no_repetition_of_the_first_answer() {
        // COOKIE is being handled when the answer to the repeated request, also of message ID 0, arrives.
        assert_ne!(datagram(&init_response(6)).token(), datagram(&init_response(17)).token());
        assert_eq!(datagram(&init_response(6)).token(), datagram(&init_response(6)).token());
    }
}
