//! Connections that came into question.

use std::net::SocketAddr;
use std::sync::Arc;

use strongswan::identity::Identity;

use crate::config::{AuthRound, PeerConfig};

/// What a connection had to be for. An identity that is not known yet is `None`.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The identity the peer wants us to have.
    pub me: Option<&'a Identity>,
    /// The peer's identity.
    pub other: Option<&'a Identity>,
    /// Major version of IKE.
    pub major: u8,
}

/// A connection, and what of it fits.
#[derive(Debug, Clone)]
pub struct Near {
    /// The connection.
    pub config: Arc<PeerConfig>,
    /// The version does.
    pub version: bool,
    /// Our address does.
    pub local: bool,
    /// The peer's address does.
    pub remote: bool,
    /// Our identity does.
    pub me: bool,
    /// The peer's identity does.
    pub other: bool,
}

impl Near {
    /// Whether the connection may be used between these addresses.
    pub fn is_reachable(&self) -> bool {
        self.version && self.local && self.remote
    }

    /// How near it is: the more fits, the larger. What is compared first weighs more than all that follows.
    pub fn score(&self) -> u8 {
        let weigh = |fits: bool, weight: u8| if fits { weight } else { 0 };
        weigh(self.version, 16)
            .saturating_add(weigh(self.local, 8))
            .saturating_add(weigh(self.remote, 8))
            .saturating_add(weigh(self.me, 2))
            .saturating_add(weigh(self.other, 2))
    }
}

/// Who caused a failure, for bounding explanations: those who are known cannot be silenced by those who are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Anybody.
    Unknown,
    /// An authenticated peer.
    Authenticated,
}

/// The identity a side's first round is configured with.
pub(crate) fn configured_id(rounds: &[AuthRound]) -> Option<&Identity> {
    rounds.first().and_then(|round| round.id.as_ref())
}
