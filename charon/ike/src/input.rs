//! What can happen to an IKE_SA.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use strongswan::crypto::Protocol;
use strongswan::selectors::TrafficSelector;

use crate::config::ChildConfig;
use crate::eap::AaaAnswer;
use crate::ids::{Mark, Reqid, Spi, UniqueId};
use crate::wire::Gateway;

/// An input of [`IkeSa::handle`](crate::IkeSa::handle).
#[derive(Debug)]
pub enum Input {
    /// A datagram arrived, without non-ESP marker.
    Datagram {
        /// Our address it was sent to.
        local: SocketAddr,
        /// The address it came from.
        remote: SocketAddr,
        /// The IKE message.
        data: Vec<u8>,
    },
    /// The time of [`IkeSa::next_timeout`](crate::IkeSa::next_timeout) has come.
    Timeout,
    /// Establish the IKE_SA if it is not, and a CHILD_SA if one is given.
    Initiate(Option<InitiateChild>),
    /// Answer to [`Output::Resolve`](crate::Output::Resolve): the addresses to use, or `None` if a name has none.
    Resolved(Option<(SocketAddr, SocketAddr)>),
    /// Answer to [`Output::Aaa`](crate::Output::Aaa).
    Aaa(AaaAnswer),
    /// Answer to [`Output::Inquire`](crate::Output::Inquire): what there is to know is in the credential store.
    Inquired {
        /// The number of the question.
        number: u64,
    },
    /// Close the IKE_SA; `force` does not wait for the peer's answer.
    TerminateIke {
        /// Do not wait.
        force: bool,
    },
    /// Close a CHILD_SA.
    TerminateChild {
        /// Its number.
        child: UniqueId,
    },
    /// Close CHILD_SAs by name, and do not create them.
    Withdraw {
        /// Their names.
        children: Vec<Arc<str>>,
        /// Close the IKE_SA if nobody else needs it.
        close_ike: bool,
    },
    /// Rekey the IKE_SA.
    RekeyIke,
    /// Reauthenticate the peers.
    ReauthIke,
    /// Rekey a CHILD_SA.
    RekeyChild {
        /// Its number.
        child: UniqueId,
    },
    /// The data plane reports that an SA reached a limit.
    ExpireChild {
        /// ESP or AH.
        protocol: Protocol,
        /// The SA's SPI.
        spi: Spi,
        /// The hard limit: the SA is gone.
        hard: bool,
    },
    /// The data plane saw the peer's ESP packets of an SA come from another address.
    MappingChanged {
        /// ESP or AH.
        protocol: Protocol,
        /// The inbound SA's SPI.
        spi: Spi,
        /// The new address.
        remote: SocketAddr,
    },
    /// Addresses of this machine, or the ways to others, changed.
    Roam {
        /// Addresses, not routes alone.
        address: bool,
    },
    /// A newer IKE_SA with the same peer replaces this one.
    Replaced(DuplicateAction),
    /// The peer's authentication counts for this long from now on (RFC 4478).
    AuthLifetime(Duration),
    /// As a gateway: send the client to another one (RFC 5685).
    Redirect(Gateway),
    /// The daemon shuts down: send DELETEs, wait for nothing.
    Shutdown,
}

/// A CHILD_SA to initiate.
#[derive(Debug, Clone)]
pub struct InitiateChild {
    /// Its configuration.
    pub config: Arc<ChildConfig>,
    /// Reqid of the trap that triggered it.
    pub reqid: Option<Reqid>,
    /// Selectors of the packet that triggered it: source, destination.
    pub packet: Option<(TrafficSelector, TrafficSelector)>,
    /// What it takes over from a CHILD_SA of an IKE_SA that is reauthenticated.
    pub previous: Option<Box<PreviousChild>>,
}

/// What survives reauthentication of a CHILD_SA that is created anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousChild {
    /// Inbound mark.
    pub mark_in: Mark,
    /// Outbound mark.
    pub mark_out: Mark,
    /// Selectors of our side, `dynamic` where they were.
    pub local_ts: Vec<TrafficSelector>,
    /// Selectors of the peer's side, `dynamic` where they were.
    pub remote_ts: Vec<TrafficSelector>,
}

impl InitiateChild {
    /// An initiation that no packet triggered.
    pub fn new(config: Arc<ChildConfig>) -> Self {
        Self { config, reqid: None, packet: None, previous: None }
    }
}

/// What happens to an IKE_SA that a newer one with the same peer replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateAction {
    /// INITIAL_CONTACT: the peer has forgotten it. Nothing is sent.
    Destroy,
    /// Uniqueness policy: close it.
    Delete,
    /// Uniqueness policy, but the peer probably reauthenticates: leave it time to close it itself.
    DeleteLater,
    /// Reauthentication is complete: close it.
    Superseded,
    /// Reauthentication failed: it goes on as before.
    NotSuperseded,
}
