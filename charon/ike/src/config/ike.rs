//! `connections.<conn>`: what is needed before the peer is known, that is for IKE_SA_INIT.

use strongswan::crypto::Proposal;
use strongswan::host::HostSpec;

/// `version`: the IKE version a connection is limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IkeVersion {
    /// 0: accept both as responder, initiate IKEv2.
    #[default]
    Any,
    /// 1
    V1,
    /// 2
    V2,
    /// Any other number is accepted by the configuration, but no message has it.
    Other(u32),
}

impl From<u32> for IkeVersion {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Any,
            1 => Self::V1,
            2 => Self::V2,
            other => Self::Other(other),
        }
    }
}

impl IkeVersion {
    /// The number in the configuration.
    pub const fn number(self) -> u32 {
        match self {
            Self::Any => 0,
            Self::V1 => 1,
            Self::V2 => 2,
            Self::Other(number) => number,
        }
    }

    /// Whether a message of `major` version may use this configuration.
    pub fn allows(self, major: u8) -> bool {
        match self {
            Self::Any => matches!(major, 1 | 2),
            fixed => fixed.number() == u32::from(major),
        }
    }
}

/// `fragmentation`: whether IKE messages may be split (RFC 7383).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fragmentation {
    /// Announce support, fragment if the peer announced it too.
    #[default]
    Yes,
    /// Announce support, never fragment.
    Accept,
    /// Fragment whether or not the peer announced support.
    Force,
    /// Do not announce support.
    No,
}

/// `childless`: creation of an IKE_SA without CHILD_SA (RFC 6023).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Childless {
    /// As responder, accept it.
    #[default]
    Allow,
    /// As initiator, use it if the responder supports it.
    Prefer,
    /// Require it in both roles.
    Force,
    /// Neither announce nor accept it.
    Never,
}

/// `ocsp`: OCSP responses in CERT payloads (RFC 4806).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ocsp {
    /// Answer requests.
    #[default]
    Reply,
    /// Send requests.
    Request,
    /// Do both.
    Both,
    /// Do neither.
    Never,
}

/// The part of a connection that applies before identities are known.
#[derive(Debug, Clone)]
pub struct IkeConfig {
    /// IKE version(s) it is for.
    pub version: IkeVersion,
    /// Local addresses in order of preference; empty means `%any`.
    pub local_addrs: Vec<HostSpec>,
    /// Remote addresses; empty means `%any`.
    pub remote_addrs: Vec<HostSpec>,
    /// Local UDP port, 0 for the port of the daemon's socket.
    pub local_port: u16,
    /// Remote UDP port.
    pub remote_port: u16,
    /// IKE proposals in order of preference.
    pub proposals: Vec<Proposal>,
    /// DSCP of sent IKE packets, 6 bits.
    pub dscp: u8,
    /// Force UDP encapsulation by faking a NAT.
    pub encap: bool,
    /// Splitting of large messages.
    pub fragmentation: Fragmentation,
    /// IKE_SAs without CHILD_SA.
    pub childless: Childless,
    /// Send CERTREQ payloads.
    pub send_certreq: bool,
    /// OCSP within IKE.
    pub ocsp: Ocsp,
}

impl Default for IkeConfig {
    /// Every option at its default and no proposals.
    fn default() -> Self {
        Self {
            version: IkeVersion::default(),
            local_addrs: Vec::new(),
            remote_addrs: Vec::new(),
            local_port: 0,
            remote_port: 500,
            proposals: Vec::new(),
            dscp: 0,
            encap: false,
            fragmentation: Fragmentation::default(),
            childless: Childless::default(),
            send_certreq: true,
            ocsp: Ocsp::default(),
        }
    }
}

impl PartialEq for IkeConfig {
    /// Everything but `dscp`, which strongSwan leaves out as well.
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
            && self.local_addrs == other.local_addrs
            && self.remote_addrs == other.remote_addrs
            && self.local_port == other.local_port
            && self.remote_port == other.remote_port
            && self.proposals == other.proposals
            && self.encap == other.encap
            && self.fragmentation == other.fragmentation
            && self.childless == other.childless
            && self.send_certreq == other.send_certreq
            && self.ocsp == other.ocsp
    }
}

impl Eq for IkeConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_match_their_messages() {
        assert!(IkeVersion::from(0).allows(1) && IkeVersion::from(0).allows(2));
        assert!(IkeVersion::from(2).allows(2) && !IkeVersion::from(2).allows(1));
        assert!(!IkeVersion::from(7).allows(2));
        assert_eq!(IkeVersion::from(7).number(), 7);
    }

    #[test]
    fn dscp_does_not_count_as_a_difference() {
        let base = IkeConfig::default();
        assert_eq!(base, IkeConfig { dscp: 8, ..base.clone() });
        assert_ne!(base, IkeConfig { encap: true, ..base.clone() });
        assert_ne!(base, IkeConfig { remote_port: 4500, ..base.clone() });
    }
}
