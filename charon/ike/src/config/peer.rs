//! `connections.<conn>`: what applies once the peer's identity is known.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use strongswan::identity::Identity;

use super::{AuthRound, ChildConfig, IfIdConfig, IkeConfig, IkeLifetimes};

/// `send_cert`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendCert {
    /// If the peer sent a CERTREQ.
    #[default]
    IfAsked,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// `unique`: what to do with several IKE_SAs of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UniquePolicy {
    /// Neither send nor honour INITIAL_CONTACT.
    Never,
    /// Replace on INITIAL_CONTACT only.
    #[default]
    No,
    /// Delete the old one.
    Replace,
    /// Refuse the new one.
    Keep,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Its section's name.
    pub name: Arc<str>,
    /// The part that applies before identities are known.
    pub ike: Arc<IkeConfig>,
    /// IKEv1 Aggressive Mode.
    pub aggressive: bool,
    /// Mode Config pull (`false`: push, IKEv1).
    pub pull: bool,
    /// MOBIKE (RFC 4555).
    pub mobike: bool,
    /// CERT payloads.
    pub send_cert: SendCert,
    /// Uniqueness policy.
    pub unique: UniquePolicy,
    /// Retransmission sequences for the initial exchange, 0 for ever.
    pub keyingtries: u32,
    /// When to rekey, to reauthenticate and to close.
    pub lifetimes: IkeLifetimes,
    /// Liveness interval, zero for off.
    pub dpd_delay: Duration,
    /// IKEv1 liveness timeout.
    pub dpd_timeout: Duration,
    /// Our authentication rounds; never empty.
    pub local: Vec<AuthRound>,
    /// The peer's authentication rounds; never empty.
    pub remote: Vec<AuthRound>,
    /// Virtual IPs to request; unspecified addresses ask for any of the family.
    pub vips: Vec<IpAddr>,
    /// Pools to assign virtual IPs and attributes from.
    pub pools: Vec<String>,
    /// Inbound XFRM interface of children that have none of their own.
    pub if_id_in: IfIdConfig,
    /// Outbound XFRM interface of children that have none of their own.
    pub if_id_out: IfIdConfig,
    /// Post-quantum preshared key to use (RFC 8784).
    pub ppk_id: Option<Identity>,
    /// Fail without it.
    pub ppk_required: bool,
    /// The connection's children, in load order.
    pub children: Vec<Arc<ChildConfig>>,
}

impl PeerConfig {
    /// A connection with every option at its default: one empty authentication round a side and no children.
    pub fn new(name: impl Into<Arc<str>>, ike: Arc<IkeConfig>) -> Self {
        Self {
            name: name.into(),
            ike,
            aggressive: false,
            pull: true,
            mobike: true,
            send_cert: SendCert::default(),
            unique: UniquePolicy::default(),
            keyingtries: 1,
            lifetimes: IkeLifetimes::default(),
            dpd_delay: Duration::ZERO,
            dpd_timeout: Duration::ZERO,
            local: vec![AuthRound::default()],
            remote: vec![AuthRound::default()],
            vips: Vec::new(),
            pools: Vec::new(),
            if_id_in: IfIdConfig::default(),
            if_id_out: IfIdConfig::default(),
            ppk_id: None,
            ppk_required: false,
            children: Vec::new(),
        }
    }

    /// The child of that name.
    pub fn child(&self, name: &str) -> Option<&Arc<ChildConfig>> {
        self.children.iter().find(|child| &*child.name == name)
    }

    /// Content equality of the connection and its [`IkeConfig`], which is what decides whether an IKE_SA may be used
    /// for another connection and whether a reload replaces a connection. Children are compared one by one.
    pub fn equals_with_ike(&self, other: &Self) -> bool {
        self == other && self.ike == other.ike
    }
}

impl PartialEq for PeerConfig {
    /// strongSwan's rule: names, `dpd_timeout`, children and the IKE part do not count.
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name: _,
            ike: _,
            aggressive,
            pull,
            mobike,
            send_cert,
            unique,
            keyingtries,
            lifetimes,
            dpd_delay,
            dpd_timeout: _,
            local,
            remote,
            vips,
            pools,
            if_id_in,
            if_id_out,
            ppk_id,
            ppk_required,
            children: _,
        } = self;
        self.ike.version == other.ike.version
            && *aggressive == other.aggressive
            && *pull == other.pull
            && *mobike == other.mobike
            && *send_cert == other.send_cert
            && *unique == other.unique
            && *keyingtries == other.keyingtries
            && *lifetimes == other.lifetimes
            && *dpd_delay == other.dpd_delay
            && *local == other.local
            && *remote == other.remote
            && *vips == other.vips
            && *pools == other.pools
            && *if_id_in == other.if_id_in
            && *if_id_out == other.if_id_out
            && *ppk_id == other.ppk_id
            && *ppk_required == other.ppk_required
    }
}

impl Eq for PeerConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_for_reuse() {
        let ike = Arc::new(IkeConfig::default());
        let a = PeerConfig::new("a", ike.clone());
        let mut b = PeerConfig::new("b", ike);
        b.dpd_timeout = Duration::from_secs(9);
        b.children.push(Arc::new(ChildConfig::new("net")));
        assert_eq!(a, b);
        b.ike = Arc::new(IkeConfig { encap: true, ..IkeConfig::default() });
        assert_eq!(a, b);
        assert!(!a.equals_with_ike(&b));
        assert_ne!(a, PeerConfig { unique: UniquePolicy::Never, ..b });
    }
}
