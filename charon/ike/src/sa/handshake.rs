//! What an IKE_SA knows only until both sides are authenticated.

use std::net::SocketAddr;
use std::sync::Arc;

use strongswan::credentials::{Certificate, HashAlgorithm, SigningKey};
use strongswan::identity::Identity;

use super::intermediate::Intermediate;
use super::keys::AuthKeys;
use crate::v2::{AuthVerified, PendingPpk};
use crate::wire::{Gateway, Nonce};

/// State shared by the tasks of IKE_SA_INIT and IKE_AUTH.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    /// Our nonce.
    pub(crate) own_nonce: Option<Nonce>,
    /// The peer's nonce.
    pub(crate) peer_nonce: Option<Nonce>,
    /// The IKE_SA_INIT message we sent; our AUTH covers it.
    pub(crate) init_sent: Vec<u8>,
    /// The IKE_SA_INIT message we received; the peer's AUTH covers it.
    pub(crate) init_received: Vec<u8>,
    /// SK_pi and SK_pr.
    pub(crate) keys: Option<AuthKeys>,
    /// The post-quantum pre-shared key of a round that is not complete.
    pub(crate) ppk: Option<Box<PendingPpk>>,
    /// PPK_ID of the post-quantum pre-shared key in use.
    pub(crate) ppk_id: Option<Identity>,
    /// Key exchanges between IKE_SA_INIT and IKE_AUTH.
    pub(crate) intermediate: Intermediate,
    /// Hash algorithms the peer accepts in signatures, if it supports RFC 7427.
    pub(crate) peer_hashes: Option<Vec<HashAlgorithm>>,
    /// CAs the peer asked for.
    pub(crate) anchors: Vec<Arc<Certificate>>,
    /// Certificates the peer sent with its round, the end entity's first.
    pub(crate) presented: Vec<Arc<Certificate>>,
    /// The key of our round, whose certificates go along.
    pub(crate) signer: Option<SigningKey>,
    /// Where the peer was before, in case its names cannot be resolved now: our address, its own.
    pub(crate) hosts: Option<(SocketAddr, SocketAddr)>,
    /// Both sides are authenticated.
    pub(crate) verified: Option<AuthVerified>,
    /// The gateway that sent the client here.
    pub(crate) redirected_from: Option<Gateway>,
}
