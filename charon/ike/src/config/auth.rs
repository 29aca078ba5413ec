//! `local*` and `remote*` sections: one authentication round of one side.

use std::sync::Arc;

pub use strongswan::credentials::{AuthClass, EapMethod, KeyConstraints, Revocation};
use strongswan::credentials::{Certificate, PublicKey};
use strongswan::identity::Identity;

/// One authentication round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthRound {
    /// Sort key; rounds of a side are kept in ascending order.
    pub round: u32,
    /// How to authenticate.
    pub class: AuthClass,
    /// What keys and signatures must be like, from the rest of `auth`.
    pub constraints: KeyConstraints,
    /// Certificates: on the local side those to choose from, on the remote side those one of which the peer must have.
    pub certs: Vec<Arc<Certificate>>,
    /// CA certificates, one of which must be in the peer's chain.
    pub cacerts: Vec<Arc<Certificate>>,
    /// Raw public keys, bound to `id` if that is set.
    pub pubkeys: Vec<PublicKey>,
    /// IKE identity.
    pub id: Option<Identity>,
    /// EAP identity; on the remote side its presence triggers an EAP-Identity request.
    pub eap_id: Option<Identity>,
    /// Identity of the AAA server expected within EAP.
    pub aaa_id: Option<Identity>,
    /// XAuth user name.
    pub xauth_id: Option<Identity>,
    /// Identity one CA of the peer's chain must have.
    pub ca_id: Option<Identity>,
    /// Required group memberships, any of them.
    pub groups: Vec<Identity>,
    /// Certificate policies that all must be present, dotted OIDs.
    pub cert_policies: Vec<String>,
    /// Revocation policy.
    pub revocation: Revocation,
}
