//! States of IKE_SAs and CHILD_SAs, and the transitions between them.

use std::fmt;

/// State of an IKE_SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IkeSaState {
    /// Nothing sent or accepted yet.
    Created,
    /// IKE_SA_INIT or IKE_AUTH under way ("half-open").
    Connecting,
    /// Authenticated.
    Established,
    /// Synchronised from elsewhere.
    Passive,
    /// We are rekeying it.
    Rekeying,
    /// Replaced; only its deletion is expected.
    Rekeyed,
    /// A DELETE was sent or received.
    Deleting,
    /// Gone.
    Destroying,
}

impl IkeSaState {
    /// Whether an IKE_SA may change from `self` to `next`: the one table of legal transitions.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Created => matches!(next, Self::Connecting | Self::Established | Self::Passive | Self::Destroying),
            // back to CREATED: a reset after COOKIE, INVALID_KE_PAYLOAD or for another keying try
            Self::Connecting => matches!(next, Self::Created | Self::Established | Self::Deleting | Self::Destroying),
            Self::Established => matches!(next, Self::Rekeying | Self::Rekeyed | Self::Deleting | Self::Destroying),
            Self::Passive => matches!(next, Self::Established | Self::Destroying),
            Self::Rekeying => matches!(next, Self::Established | Self::Rekeyed | Self::Deleting | Self::Destroying),
            Self::Rekeyed => matches!(next, Self::Deleting | Self::Destroying),
            Self::Deleting => matches!(next, Self::Destroying),
            Self::Destroying => false,
        }
    }

    /// Whether peers have authenticated each other on it.
    pub const fn is_authenticated(self) -> bool {
        matches!(self, Self::Established | Self::Rekeying | Self::Rekeyed | Self::Passive)
    }
}

impl fmt::Display for IkeSaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Connecting => "CONNECTING",
            Self::Established => "ESTABLISHED",
            Self::Passive => "PASSIVE",
            Self::Rekeying => "REKEYING",
            Self::Rekeyed => "REKEYED",
            Self::Deleting => "DELETING",
            Self::Destroying => "DESTROYING",
        })
    }
}

/// State of a CHILD_SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildSaState {
    /// Being negotiated.
    Created,
    /// A trap: policies without SAs.
    Routed,
    /// SAs and policies are being installed.
    Installing,
    /// Operational.
    Installed,
    /// Its addresses are being changed.
    Updating,
    /// We are rekeying it.
    Rekeying,
    /// Replaced; only its deletion is expected.
    Rekeyed,
    /// Negotiated again with another key exchange method.
    Retrying,
    /// A DELETE is being exchanged.
    Deleting,
    /// Deleted, the inbound SA is kept for late packets.
    Deleted,
    /// Gone.
    Destroying,
}

impl ChildSaState {
    /// Whether a CHILD_SA may change from `self` to `next`: the one table of legal transitions.
    pub fn may_become(self, next: Self) -> bool {
        if next == Self::Destroying {
            return self != Self::Destroying;
        }
        match self {
            Self::Created => matches!(next, Self::Routed | Self::Installing | Self::Retrying),
            Self::Routed => matches!(next, Self::Installing),
            // an aborted rekeying can leave a half-installed replacement to be deleted
            Self::Installing => matches!(next, Self::Installed | Self::Deleting),
            Self::Installed => {
                matches!(next, Self::Updating | Self::Rekeying | Self::Rekeyed | Self::Deleting | Self::Deleted)
            }
            Self::Updating => {
                matches!(next, Self::Installed | Self::Rekeying | Self::Rekeyed | Self::Deleting | Self::Deleted)
            }
            Self::Rekeying => {
                matches!(next, Self::Installed | Self::Updating | Self::Rekeyed | Self::Deleting | Self::Deleted)
            }
            Self::Rekeyed => matches!(next, Self::Updating | Self::Deleting | Self::Deleted),
            Self::Retrying => matches!(next, Self::Created | Self::Installing),
            Self::Deleting => matches!(next, Self::Deleted),
            Self::Deleted | Self::Destroying => false,
        }
    }

    /// Whether SAs of it exist in the data plane, so that listings show their details.
    pub const fn has_sas(self) -> bool {
        matches!(self, Self::Installed | Self::Rekeying | Self::Rekeyed | Self::Deleting | Self::Deleted)
    }
}

impl fmt::Display for ChildSaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Routed => "ROUTED",
            Self::Installing => "INSTALLING",
            Self::Installed => "INSTALLED",
            Self::Updating => "UPDATING",
            Self::Rekeying => "REKEYING",
            Self::Rekeyed => "REKEYED",
            Self::Retrying => "RETRYING",
            Self::Deleting => "DELETING",
            Self::Deleted => "DELETED",
            Self::Destroying => "DESTROYING",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_destroying_and_nothing_authenticates_twice() {
        use IkeSaState as S;
        for next in [S::Created, S::Connecting, S::Established, S::Rekeying, S::Rekeyed, S::Deleting] {
            assert!(!S::Destroying.may_become(next), "{next}");
        }
        assert!(!S::Deleting.may_become(S::Established));
        assert!(!S::Rekeyed.may_become(S::Established));
        assert!(S::Rekeying.may_become(S::Established));
        assert!(!ChildSaState::Deleted.may_become(ChildSaState::Installed));
        assert!(ChildSaState::Rekeying.may_become(ChildSaState::Installed));
    }
}
