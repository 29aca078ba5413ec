//! What a conversation may have to wait for.

use std::time::Duration;

use strongswan::crypto::Secret;
use strongswan::identity::Identity;

/// What a conversation waits for.
#[derive(Debug)]
pub(crate) enum Wait {
    /// Time to pass: whoever guesses passwords has to be patient.
    For(Duration),
    /// An AAA server.
    Aaa(AaaRequest),
}

/// The end of a wait.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The time is over.
    Elapsed,
    /// The AAA server has answered, or not.
    Aaa(AaaAnswer),
}

/// A packet for an AAA server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AaaRequest {
    /// It begins a conversation.
    pub first: bool,
    /// Who the client says it is.
    pub identity: Identity,
    /// The client's EAP packet.
    pub packet: Vec<u8>,
    /// What came with the server's last challenge, to be sent back as it is.
    pub state: Vec<u8>,
}

/// What became of an [`AaaRequest`].
#[derive(Debug)]
pub enum AaaAnswer {
    /// The conversation goes on.
    Challenge {
        /// The server's EAP packet.
        packet: Vec<u8>,
        /// What to send back with the next one.
        state: Vec<u8>,
    },
    /// The client is who it says.
    Accept(Box<AaaAccept>),
    /// It is not, or may not connect.
    Reject,
    /// The server does not answer.
    Unavailable,
}

/// What an AAA server says about a client it accepts.
#[derive(Debug, Default)]
pub struct AaaAccept {
    /// The key that the method yields, if it does.
    pub msk: Option<Secret>,
    /// The name it knows the client by, if it tells one.
    pub identity: Option<Identity>,
    /// Groups of the client.
    pub groups: Vec<Identity>,
    /// When it has to authenticate again.
    pub session_timeout: Option<Duration>,
}
