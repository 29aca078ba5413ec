//! What a listing needs to know about an IKE_SA, as plain values that outlive the checkout.
//!
//! Points in time are absolute, so that a snapshot does not age; counters of SAs are not in it: whoever lists them asks
//! the data plane with [`ChildSaSnapshot::inbound`] and [`ChildSaSnapshot::outbound`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use strongswan::clock::MonoTime;
use strongswan::crypto::{
    EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, Proposal, Protocol, Transform,
    TransformType,
};
use strongswan::identity::Identity;
use strongswan::selectors::TrafficSelector;

use crate::config::{ChildConfig, IkeVersion, Mode, PeerConfig};
use crate::ids::{IfId, IkeSpi, Mark, Reqid, UniqueId};
use crate::kernel::SaId;
use crate::sa::{ChildSaState, IkeSaState};
use crate::task::TaskType;

/// Algorithms of an SA, from the proposal that was selected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Algorithms {
    /// Cipher and its key length in bits where it has several.
    pub encryption: Option<(EncryptionAlgorithm, Option<u16>)>,
    /// Integrity, absent for AEADs.
    pub integrity: Option<IntegrityAlgorithm>,
    /// Pseudo-random function, absent for CHILD_SAs.
    pub prf: Option<PrfAlgorithm>,
    /// Key exchange, absent for a CHILD_SA without its own.
    pub key_exchange: Option<KeyExchangeMethod>,
    /// Key exchanges behind that one (RFC 9370), in their order.
    pub additional_key_exchanges: Vec<(TransformType, KeyExchangeMethod)>,
    /// Extended sequence numbers.
    pub esn: bool,
}

impl From<&Proposal> for Algorithms {
    /// The algorithms of a selected proposal.
    fn from(proposal: &Proposal) -> Self {
        Self {
            encryption: proposal.encryption(),
            integrity: proposal.integrity(),
            prf: proposal.prf(),
            key_exchange: proposal.key_exchange(),
            additional_key_exchanges: proposal.additional_key_exchanges().collect(),
            esn: proposal.esn(),
        }
    }
}

impl Algorithms {
    /// The method of one of the additional key exchanges; NONE if it does not take place.
    fn additional(&self, kind: TransformType) -> KeyExchangeMethod {
        let found = self.additional_key_exchanges.iter().find(|(other, _)| *other == kind);
        found.map_or(KeyExchangeMethod::None, |(_, method)| *method)
    }

    /// Whether one of the proposals contains all of these, and asks for no more.
    pub(crate) fn are_in(&self, proposals: &[Proposal]) -> bool {
        proposals.iter().any(|proposal| {
            let encryption = self.encryption.is_none_or(|(algorithm, key_size)| {
                let wanted = Transform::encryption(algorithm, key_size);
                proposal.all(TransformType::Encryption).any(|transform| *transform == wanted)
            });
            encryption
                && self.integrity.is_none_or(|id| proposal.contains(TransformType::Integrity, id))
                && self.prf.is_none_or(|id| proposal.contains(TransformType::Prf, id))
                && self.key_exchange.is_none_or(|id| proposal.contains(TransformType::KeyExchange, id))
                && TransformType::ADDITIONAL_KEY_EXCHANGES.into_iter().all(|kind| {
                    let method = self.additional(kind);
                    let absent = method == KeyExchangeMethod::None && proposal.all(kind).next().is_none();
                    absent || proposal.contains(kind, method)
                })
        })
    }
}

/// Which side of an IKE_SA is behind a NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatSituation {
    /// We are.
    pub local: bool,
    /// The peer is.
    pub remote: bool,
    /// Neither is, but UDP encapsulation is wanted.
    pub fake: bool,
}

impl NatSituation {
    /// Whether ESP goes through UDP.
    pub const fn any(self) -> bool {
        self.local || self.remote || self.fake
    }
}

/// An IKE_SA at one moment.
#[derive(Debug, Clone)]
pub struct IkeSaSnapshot {
    /// Its number.
    pub unique_id: UniqueId,
    /// Its connection, unless a responder has not chosen one yet.
    pub config: Option<Arc<PeerConfig>>,
    /// IKE version.
    pub version: IkeVersion,
    /// State.
    pub state: IkeSaState,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Our identity, once known.
    pub local_id: Option<Identity>,
    /// The peer's identity, once known.
    pub remote_id: Option<Identity>,
    /// The peer's EAP identity, if it used EAP.
    pub remote_eap_id: Option<Identity>,
    /// Whether we initiated it, or its rekeying.
    pub initiator: bool,
    /// The initiator's SPI.
    pub initiator_spi: Option<IkeSpi>,
    /// The responder's SPI, once known.
    pub responder_spi: Option<IkeSpi>,
    /// NATs.
    pub nat: NatSituation,
    /// Inbound XFRM interface.
    pub if_id_in: IfId,
    /// Outbound XFRM interface.
    pub if_id_out: IfId,
    /// Algorithms, once selected.
    pub algorithms: Option<Algorithms>,
    /// Whether a post-quantum pre-shared key is mixed into its keys.
    pub ppk: bool,
    /// Since when it is established.
    pub established: Option<MonoTime>,
    /// When it will be rekeyed.
    pub rekey: Option<MonoTime>,
    /// When the peers will reauthenticate.
    pub reauth: Option<MonoTime>,
    /// Virtual IPs the peer gave us.
    pub local_vips: Vec<IpAddr>,
    /// Virtual IPs we gave the peer.
    pub remote_vips: Vec<IpAddr>,
    /// DNS servers the peer gave us that are kept for scripts.
    pub dns_servers: Vec<IpAddr>,
    /// Tasks not started.
    pub tasks_queued: Vec<TaskType>,
    /// Tasks of our exchange.
    pub tasks_active: Vec<TaskType>,
    /// Tasks serving the peer's exchange.
    pub tasks_passive: Vec<TaskType>,
    /// CHILD_SAs; empty in events, which carry those they are about.
    pub children: Vec<Arc<ChildSaSnapshot>>,
}

impl IkeSaSnapshot {
    /// The connection's name, or `(unnamed)`.
    pub fn name(&self) -> &str {
        self.config.as_ref().map_or("(unnamed)", |config| &*config.name)
    }
}

/// A CHILD_SA at one moment.
#[derive(Debug, Clone)]
pub struct ChildSaSnapshot {
    /// Its number.
    pub unique_id: UniqueId,
    /// Its configuration.
    pub config: Arc<ChildConfig>,
    /// Reqid, once allocated.
    pub reqid: Option<Reqid>,
    /// State.
    pub state: ChildSaState,
    /// Negotiated mode.
    pub mode: Mode,
    /// ESP or AH.
    pub protocol: Protocol,
    /// UDP encapsulation.
    pub encap: bool,
    /// The inbound SA.
    pub inbound: Option<SaId>,
    /// The outbound SA.
    pub outbound: Option<SaId>,
    /// CPIs in and out, if packets are compressed.
    pub cpis: Option<(u16, u16)>,
    /// Inbound mark.
    pub mark_in: Mark,
    /// Outbound mark.
    pub mark_out: Mark,
    /// Inbound XFRM interface.
    pub if_id_in: IfId,
    /// Outbound XFRM interface.
    pub if_id_out: IfId,
    /// Algorithms.
    pub algorithms: Algorithms,
    /// When it was installed.
    pub installed: Option<MonoTime>,
    /// When it will be rekeyed.
    pub rekey: Option<MonoTime>,
    /// When it will be closed.
    pub expire: Option<MonoTime>,
    /// Local selectors.
    pub local_ts: Vec<TrafficSelector>,
    /// Remote selectors.
    pub remote_ts: Vec<TrafficSelector>,
}
