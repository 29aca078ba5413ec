//! What an IKE_SA asks for while it works: the narrow traits through which time, randomness, configuration, credentials,
//! other IKE_SAs and the data plane reach it.

use std::net::SocketAddr;
use std::sync::Arc;

use smallvec::SmallVec;
use strongswan::clock::{MonoTime, UnixTime};
use strongswan::credentials::Store;
use strongswan::crypto::Rng;
use strongswan::identity::Identity;
use strongswan::selectors::TrafficSelector;

use crate::attributes::{AttributeHandlers, Pools};
use crate::config::{IkeConfig, PeerConfig};
use crate::explain::{Asker, Near, Wanted};
use crate::ids::{IfId, IkeSpi, Mark, Reqid, UniqueId};
use crate::kernel::Kernel;
use crate::sa::IkeSaState;
use crate::settings::IkeSettings;

/// The surroundings of one call to [`IkeSa::handle`](crate::IkeSa::handle).
pub struct Env<'a> {
    /// Now, on the monotonic clock.
    pub now: MonoTime,
    /// Now, in civil time.
    pub wall: UnixTime,
    /// Entropy.
    pub rng: &'a mut dyn Rng,
    /// Daemon-wide settings.
    pub settings: &'a IkeSettings,
    /// Loaded connections.
    pub config: &'a dyn ConfigSource,
    /// Loaded certificates, keys and secrets.
    pub credentials: &'a Store,
    /// The data plane.
    pub kernel: &'a dyn Kernel,
    /// Process-wide numbers.
    pub ids: &'a dyn UniqueIds,
    /// Other IKE_SAs.
    pub peers: &'a dyn Peers,
    /// Addresses and attributes for clients.
    pub pools: &'a dyn Pools,
    /// Uses for attributes that peers assign.
    pub handlers: &'a dyn AttributeHandlers,
}

/// Loaded connections.
pub trait ConfigSource: Send + Sync {
    /// The configurations a message of IKE version `major` between these addresses may use, best match first.
    fn ike_configs(&self, local: SocketAddr, remote: SocketAddr, major: u8) -> Vec<Arc<IkeConfig>>;

    /// The connections an IKE_SA of version `major` between these addresses and identities may use, best match first.
    /// An identity that is not known yet is `None`.
    fn peer_configs(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        me: Option<&Identity>,
        other: Option<&Identity>,
        major: u8,
    ) -> Vec<Arc<PeerConfig>>;

    /// The connection of that name.
    fn loaded(&self, name: &str) -> Option<Arc<PeerConfig>>;

    /// What `config` is now: a reload may have changed the children of a connection that is otherwise equal.
    fn latest(&self, config: &Arc<PeerConfig>) -> Arc<PeerConfig> {
        Arc::clone(config)
    }

    /// The connections that come nearest to what is wanted, whether or not they fit, the nearest first, at most `limit`:
    /// what there is to say about a negotiation that failed.
    fn nearest(&self, wanted: &Wanted<'_>, limit: usize) -> Vec<Near>;

    /// Whether another failure of the peer's requests may be explained now; if so, how many were not since the last
    /// one that was.
    fn may_explain(&self, asker: Asker, now: MonoTime) -> Option<u64>;
}

/// Process-wide numbers, each handed out once.
pub trait UniqueIds: Send + Sync {
    /// The next IKE_SA's number.
    fn ike_sa_id(&self) -> UniqueId;

    /// The next CHILD_SA's number.
    fn child_sa_id(&self) -> UniqueId;

    /// A local SPI for a new IKE_SA. `previous` is that of the IKE_SA it continues, so that a manager can keep it in
    /// the same shard.
    fn ike_spi(&self, rng: &mut dyn Rng, previous: Option<IkeSpi>) -> IkeSpi;

    /// The reqid for these selectors, counting its users. Fails when none is left.
    fn allocate_reqid(&self, key: &ReqidKey) -> Option<Reqid>;

    /// One user of the reqid less. Fixed reqids are not known here and ignored.
    fn release_reqid(&self, reqid: Reqid);

    /// The value of a `%unique` mark.
    fn unique_mark(&self) -> u32;

    /// The value of a `%unique` interface id.
    fn unique_if_id(&self) -> IfId;
}

/// What two CHILD_SAs must have in common to share a reqid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReqidKey {
    /// Local selectors, sorted.
    pub local_ts: Vec<TrafficSelector>,
    /// Remote selectors, sorted.
    pub remote_ts: Vec<TrafficSelector>,
    /// Inbound mark.
    pub mark_in: Mark,
    /// Outbound mark.
    pub mark_out: Mark,
    /// Inbound interface.
    pub if_id_in: IfId,
    /// Outbound interface.
    pub if_id_out: IfId,
}

/// The IKE_SAs of the process, for uniqueness policies.
pub trait Peers: Send + Sync {
    /// The authenticated IKE_SAs between these identities over the same address family, without `this`.
    fn duplicates(&self, this: UniqueId, me: &Identity, other: &Identity, ipv6: bool) -> Vec<Duplicate>;

    /// As [`duplicates`](Self::duplicates), and `this` does not count for the others from now on: it is closed. Of two that
    /// are closed at once each may rely on the other one otherwise.
    fn closing(&self, this: UniqueId, me: &Identity, other: &Identity, ipv6: bool) -> Vec<Duplicate> {
        self.duplicates(this, me, other, ipv6)
    }
}

/// Another IKE_SA with the same peer.
#[derive(Debug, Clone)]
pub struct Duplicate {
    /// Its number.
    pub id: UniqueId,
    /// Its state.
    pub state: IkeSaState,
    /// The peer's address on it.
    pub remote: SocketAddr,
    /// Its connection.
    pub config: Arc<PeerConfig>,
    /// Names of the CHILD_SAs it has.
    pub children: SmallVec<[Arc<str>; 1]>,
}
