//! What an IKE_SA wants done, in order.

use std::net::SocketAddr;
use std::sync::Arc;

use strongswan::credentials::revocation::StatusQuery;

use crate::config::{ChildConfig, IkeConfig};
use crate::eap::AaaRequest;
use crate::explain::Explanation;
use crate::ids::UniqueId;
use crate::input::DuplicateAction;
use crate::kernel::SaUsage;
use crate::sa::{ChildSaState, IkeSa, IkeSaState};
use crate::snapshot::{ChildSaSnapshot, IkeSaSnapshot};
use crate::wire::ExchangeType;

/// An output of [`IkeSa::poll_output`](crate::IkeSa::poll_output).
#[derive(Debug)]
pub enum Output {
    /// Send a datagram.
    Send(Transmit),
    /// Register this IKE_SA, which continues the one it comes from after rekeying or reauthentication, before anything
    /// that follows.
    Adopt(Box<IkeSa>),
    /// Tell observers.
    Event(Event),
    /// Find the addresses of the peer and of ourselves; answered by [`Input::Resolved`](crate::Input::Resolved).
    Resolve(Arc<IkeConfig>),
    /// Ask an AAA server; answered by [`Input::Aaa`](crate::Input::Aaa).
    Aaa(AaaRequest),
    /// Find out whether certificates were revoked, with [`Store::ask`](strongswan::credentials::Store::ask); answered by
    /// [`Input::Inquired`](crate::Input::Inquired), also if nobody knows.
    Inquire {
        /// What to ask.
        queries: Vec<StatusQuery>,
        /// The number of the question; nobody waits for an answer to number 0.
        number: u64,
    },
    /// Do this to another IKE_SA, by [`Input::Replaced`](crate::Input::Replaced).
    Duplicate {
        /// The other IKE_SA.
        id: UniqueId,
        /// What to do.
        action: DuplicateAction,
    },
    /// Install a trap policy for a CHILD_SA that closed or failed.
    Trap(Arc<ChildConfig>),
    /// The IKE_SA is finished: remove and drop it. Always the last output.
    Destroy,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Our address; the port chooses the socket.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// What to send.
    pub data: Vec<u8>,
    /// Whether it is a NAT keepalive, which is not an IKE message: no non-ESP marker, no log line.
    pub keepalive: bool,
    /// DSCP of the packet.
    pub dscp: u8,
}

/// Something observers may care about. Snapshots show the IKE_SA as it was at that moment.
#[derive(Debug, Clone)]
pub enum Event {
    /// The IKE_SA changes its state.
    IkeStateChange {
        /// State before.
        old: IkeSaState,
        /// State after.
        new: IkeSaState,
    },
    /// The IKE_SA is up or down. Down implies down for its CHILD_SAs, each of which is reported by an event of its own.
    IkeUpDown {
        /// Up.
        up: bool,
        /// The IKE_SA.
        ike: Arc<IkeSaSnapshot>,
    },
    /// The IKE_SA was rekeyed.
    IkeRekey {
        /// The replaced IKE_SA.
        old: Arc<IkeSaSnapshot>,
        /// Its successor.
        new: Arc<IkeSaSnapshot>,
    },
    /// The client is sent to another gateway: its successor there is going to have all CHILD_SAs.
    IkeRedirect {
        /// The successor, which is not adopted yet.
        successor: UniqueId,
    },
    /// An address changes.
    IkeUpdate {
        /// The IKE_SA with its old addresses.
        ike: Arc<IkeSaSnapshot>,
        /// Our new address.
        local: SocketAddr,
        /// The peer's new address.
        remote: SocketAddr,
    },
    /// A CHILD_SA changes its state.
    ChildStateChange {
        /// The CHILD_SA.
        child: UniqueId,
        /// State before.
        old: ChildSaState,
        /// State after.
        new: ChildSaState,
    },
    /// A CHILD_SA is up or down.
    ChildUpDown {
        /// Up.
        up: bool,
        /// Its IKE_SA, without children.
        ike: Arc<IkeSaSnapshot>,
        /// The CHILD_SA.
        child: Arc<ChildSaSnapshot>,
    },
    /// A CHILD_SA that was asked for could not be established; its IKE_SA lives on.
    ChildFailed {
        /// Name of its configuration.
        child: Arc<str>,
    },
    /// A CHILD_SA was rekeyed.
    ChildRekey {
        /// Its IKE_SA, without children.
        ike: Arc<IkeSaSnapshot>,
        /// The replaced CHILD_SA.
        old: Arc<ChildSaSnapshot>,
        /// Its successor.
        new: Arc<ChildSaSnapshot>,
    },
    /// A CHILD_SA is gone, and this is what it carried; only with
    /// [`IkeSettings::accounting`](crate::IkeSettings::accounting).
    ChildUsed {
        /// The CHILD_SA.
        child: UniqueId,
        /// What came from the peer.
        received: SaUsage,
        /// What went to the peer.
        sent: SaUsage,
    },
    /// A negotiation failed, and this is why. The events of the failure follow.
    Explained(Arc<Explanation>),
    /// A message of IKE itself: one that came and is served, or one that goes out for the first time.
    Message {
        /// The connection, if it is known by then.
        connection: Option<Arc<str>>,
        /// Its exchange.
        exchange: ExchangeType,
        /// It came from the peer.
        incoming: bool,
        /// It is a request.
        request: bool,
    },
    /// Something went wrong.
    Alert(Alert),
}

/// Kinds of [`Event::Alert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alert {
    /// Our authentication failed.
    LocalAuthFailed,
    /// The peer's authentication failed, or no connection matched.
    PeerAuthFailed,
    /// The peer's address is unknown.
    PeerAddrFailed,
    /// The peer did not answer the initial exchange.
    PeerInitUnreachable,
    /// A message could not be parsed.
    ParseErrorBody,
    /// A request was sent again.
    RetransmitSend,
    /// A request that was sent again was answered.
    RetransmitSendCleared,
    /// A request was never answered.
    RetransmitSendTimeout,
    /// The peer sent a request again.
    RetransmitReceive,
    /// A half-open IKE_SA took too long.
    HalfOpenTimeout,
    /// No common IKE proposal.
    ProposalMismatchIke,
    /// No common ESP or AH proposal.
    ProposalMismatchChild,
    /// No common traffic selectors.
    TsMismatch,
    /// Traffic selectors were narrowed.
    TsNarrowed,
    /// The data plane refused an SA.
    InstallChildSaFailed,
    /// The data plane refused a policy.
    InstallChildPolicyFailed,
    /// An older IKE_SA of the peer was replaced.
    UniqueReplace,
    /// An IKE_SA was refused in favour of an older one.
    UniqueKeep,
    /// A CHILD_SA failed, its IKE_SA lives on.
    KeepOnChildSaFailure,
    /// No virtual IP could be assigned.
    VipFailure,
    /// The IKE_SA reached its maximum lifetime.
    IkeSaExpired,
}

impl Alert {
    /// The name vici uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LocalAuthFailed => "local-auth-failed",
            Self::PeerAuthFailed => "peer-auth-failed",
            Self::PeerAddrFailed => "peer-addr-failed",
            Self::PeerInitUnreachable => "peer-init-unreachable",
            Self::ParseErrorBody => "parse-error-body",
            Self::RetransmitSend => "retransmit-send",
            Self::RetransmitSendCleared => "retransmit-send-cleared",
            Self::RetransmitSendTimeout => "retransmit-send-timeout",
            Self::RetransmitReceive => "retransmit-receive",
            Self::HalfOpenTimeout => "half-open-timeout",
            Self::ProposalMismatchIke => "proposal-mismatch-ike",
            Self::ProposalMismatchChild => "proposal-mismatch-child",
            Self::TsMismatch => "ts-mismatch",
            Self::TsNarrowed => "ts-narrowed",
            Self::InstallChildSaFailed => "install-child-sa-failed",
            Self::InstallChildPolicyFailed => "install-child-policy-failed",
            Self::UniqueReplace => "unique-replace",
            Self::UniqueKeep => "unique-keep",
            Self::KeepOnChildSaFailure => "keep-on-child-sa-failure",
            Self::VipFailure => "vip-failure",
            Self::IkeSaExpired => "ike-sa-expired",
        }
    }
}
