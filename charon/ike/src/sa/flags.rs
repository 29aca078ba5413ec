//! What the peer can do, and what became of an IKE_SA so far.

bitflags::bitflags! {
    /// Capabilities the peer announced.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Extensions: u16 {
        /// NAT detection (RFC 7296 §2.23).
        const NATT = 1;
        /// strongSwan's vendor id.
        const STRONGSWAN = 1 << 1;
        /// IKE fragmentation (RFC 7383).
        const FRAGMENTATION = 1 << 2;
        /// Childless initiation (RFC 6023).
        const CHILDLESS = 1 << 4;
        /// Multiple authentication (RFC 4739).
        const MULTIPLE_AUTH = 1 << 5;
        /// Post-quantum pre-shared keys (RFC 8784).
        const PPK = 1 << 8;
        /// Exchanges between IKE_SA_INIT and IKE_AUTH (RFC 9242).
        const INTERMEDIATE = 1 << 11;
        /// Synchronisation of message IDs (RFC 6311).
        const MESSAGE_ID_SYNC = 1 << 10;
        /// Redirection to other gateways (RFC 5685).
        const REDIRECTION = 1 << 9;
        /// EAP may authenticate both sides (RFC 5998).
        const EAP_ONLY = 1 << 6;
    }
}

bitflags::bitflags! {
    /// What happened so far.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Conditions: u16 {
        /// We are behind a NAT.
        const NAT_HERE = 1;
        /// The peer is behind a NAT.
        const NAT_THERE = 1 << 1;
        /// UDP encapsulation is wanted without a NAT.
        const NAT_FAKE = 1 << 2;
        /// The peer asked for certificates.
        const CERTREQ_SEEN = 1 << 3;
        /// We initiated the first IKE_SA of this line of rekeyings.
        const ORIGINAL_INITIATOR = 1 << 4;
        /// The path to the peer is not known to work.
        const STALE = 1 << 5;
        /// The peer sent INITIAL_CONTACT.
        const INIT_CONTACT_SEEN = 1 << 6;
        /// A new IKE_SA is being created to replace this one.
        const REAUTHENTICATING = 1 << 7;
        /// That IKE_SA exists, and creates anew what this one has.
        const HAS_SUCCESSOR = 1 << 8;
        /// Our address is another one than the peer knows, and cannot be changed there.
        const DISPLACED = 1 << 9;
        /// A post-quantum pre-shared key is mixed into the keys.
        const PPK = 1 << 12;
        /// The peer asked for OCSP responses about our certificates.
        const OCSP_REQUESTED = 1 << 14;
        /// The client was sent to another gateway.
        const REDIRECTED = 1 << 13;
    }
}

impl Conditions {
    /// Whether ESP goes through UDP.
    pub(crate) fn nat_any(self) -> bool {
        self.intersects(Self::NAT_HERE | Self::NAT_THERE | Self::NAT_FAKE)
    }
}
