//! What a conversation has proven.

use std::time::Duration;

use strongswan::credentials::TrustedKey;
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

use super::packet::MethodType;

/// What a method has to show for itself when it is satisfied.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The key both ends have now.
    pub(super) msk: Option<Secret>,
    /// The name that was authenticated, if the method has one of its own.
    pub(super) identity: Option<Identity>,
    /// The certificate the other end authenticated itself with.
    pub(super) key: Option<TrustedKey>,
    /// Groups that an AAA server put the peer in.
    pub(super) groups: Vec<Identity>,
    /// The other end is authenticated too.
    pub(super) mutual: bool,
    /// An AAA server wants the peer to authenticate again after this long.
    pub(super) session_timeout: Option<Duration>,
}

/// A conversation that came to a good end: the method was satisfied, and then the server said so. Only the two ends of
/// a conversation make one, and IKE_AUTH accepts no AUTH payload of EAP without it.
#[derive(Debug)]
pub(crate) struct Completed {
    method: MethodType,
    outcome: Outcome,
}

impl Completed {
    pub(super) fn new(method: MethodType, outcome: Outcome) -> Self {
        Self { method, outcome }
    }

    /// The method.
    pub(crate) fn method(&self) -> MethodType {
        self.method
    }

    /// The key both ends have now, if the method yields one.
    pub(crate) fn msk(&self) -> Option<&Secret> {
        self.outcome.msk.as_ref()
    }

    /// The name that was authenticated, if the method has one of its own.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.outcome.identity.as_ref()
    }

    /// The certificate the other end authenticated itself with.
    pub(crate) fn key(&self) -> Option<&TrustedKey> {
        self.outcome.key.as_ref()
    }

    /// Groups that an AAA server put the peer in.
    pub(crate) fn groups(&self) -> &[Identity] {
        &self.outcome.groups
    }

    /// When the peer has to authenticate again.
    pub(crate) fn session_timeout(&self) -> Option<Duration> {
        self.outcome.session_timeout
    }

    /// Whether it authenticates both ends and gives them a key nobody else has (RFC 5998): nothing less may do without
    /// an AUTH payload of the server's own.
    pub(crate) fn is_mutual(&self) -> bool {
        self.outcome.mutual && self.outcome.msk.is_some()
    }
}
