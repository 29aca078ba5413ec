//! Post-quantum pre-shared keys in IKE_AUTH (RFC 8784).

use std::sync::Arc;

use strongswan::credentials::SharedSecret;
use strongswan::identity::Identity;

use crate::sa::AuthKeys;

/// A PPK that is offered or accepted, and is agreed on when the AUTH payload made with it is verified.
#[derive(Debug)]
pub(crate) struct PendingPpk {
    /// Its PPK_ID.
    pub(crate) id: Identity,
    /// The secret.
    pub(crate) secret: Arc<SharedSecret>,
    /// SK_pi' and SK_pr'.
    pub(crate) keys: AuthKeys,
    /// The peer may do without it.
    pub(crate) optional: bool,
}
