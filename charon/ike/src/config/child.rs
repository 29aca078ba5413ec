//! `connections.<conn>.children.<child>`: a CHILD_SA.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use strongswan::crypto::Proposal;
use strongswan::selectors::{PortRange, TrafficSelector};

use super::{IfIdConfig, Lifetimes, MarkConfig, SetMark};
use crate::ids::Reqid;

/// A word that an option does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown word '{0}'")]
pub struct UnknownWord(pub String);

/// `mode`: IPsec mode, or a policy without IPsec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// `tunnel`
    #[default]
    Tunnel,
    /// `transport`
    Transport,
    /// `transport_proxy`: transport mode whose selectors are not the endpoints (Mobile IPv6).
    TransportProxy,
    /// `beet`
    Beet,
    /// `iptfs`
    Iptfs,
    /// `pass`: a policy that lets traffic pass unprotected.
    Pass,
    /// `drop`: a policy that discards traffic.
    Drop,
}

impl Mode {
    /// Every mode with its keyword in the configuration.
    const KEYWORDS: [(Self, &'static str); 7] = [
        (Self::Tunnel, "tunnel"),
        (Self::Transport, "transport"),
        (Self::TransportProxy, "transport_proxy"),
        (Self::Beet, "beet"),
        (Self::Iptfs, "iptfs"),
        (Self::Pass, "pass"),
        (Self::Drop, "drop"),
    ];

    /// The keyword of the configuration.
    pub fn keyword(self) -> &'static str {
        Self::KEYWORDS.iter().find(|(mode, _)| *mode == self).map_or("", |(_, keyword)| keyword)
    }

    /// Whether it is a policy only, never negotiated.
    pub const fn is_shunt(self) -> bool {
        matches!(self, Self::Pass | Self::Drop)
    }
}

impl FromStr for Mode {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::KEYWORDS
            .iter()
            .find(|(_, keyword)| keyword.eq_ignore_ascii_case(word))
            .map(|(mode, _)| *mode)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

impl fmt::Display for Mode {
    /// Upper case, as listings have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "TUNNEL",
            Self::Transport => "TRANSPORT",
            Self::TransportProxy => "TRANSPORT_PROXY",
            Self::Beet => "BEET",
            Self::Iptfs => "IPTFS",
            Self::Pass => "PASS",
            Self::Drop => "DROP",
        })
    }
}

/// `start_action`, `close_action`, `dpd_action`: a set of what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Action {
    /// `trap`, `route`: install a trap policy.
    pub trap: bool,
    /// `start`, `restart`: initiate.
    pub start: bool,
}

impl Action {
    /// `none`
    pub const NONE: Self = Self { trap: false, start: false };
    /// `trap`
    pub const TRAP: Self = Self { trap: true, start: false };
    /// `start`
    pub const START: Self = Self { trap: false, start: true };

    /// Whether there is nothing to do.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl FromStr for Action {
    type Err = UnknownWord;

    /// One of the keywords, or the names `none`, `trap`, `start` joined by `|`; empty is none.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let is = |keyword: &str| text.trim().eq_ignore_ascii_case(keyword);
        if is("clear") {
            return Ok(Self::NONE);
        }
        if is("route") {
            return Ok(Self::TRAP);
        }
        if is("restart") {
            return Ok(Self::START);
        }
        let mut action = Self::NONE;
        for name in text.split('|').map(str::trim).filter(|name| !name.is_empty()) {
            match name.to_ascii_lowercase().as_str() {
                "none" => {}
                "trap" => action.trap = true,
                "start" => action.start = true,
                _ => return Err(UnknownWord(text.to_owned())),
            }
        }
        Ok(action)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.trap, self.start) {
            (false, false) => "none",
            (true, false) => "trap",
            (false, true) => "start",
            (true, true) => "trap|start",
        })
    }
}

/// `copy_dscp`: where the DSCP field is copied between inner and outer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CopyDscp {
    /// From inner to outer only.
    #[default]
    Out,
    /// From outer to inner only.
    In,
    /// Both.
    Yes,
    /// Neither.
    No,
}

/// `hw_offload`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HwOffload {
    /// Never.
    #[default]
    No,
    /// Cryptography, or fail.
    Crypto,
    /// Whole packets, or fail.
    Packet,
    /// As much as the device can.
    Auto,
}

/// `tfc_padding`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TfcPadding {
    /// No padding.
    #[default]
    None,
    /// Pad packets to this size.
    Size(u32),
    /// `mtu`: pad to the path MTU.
    Mtu,
}

/// `label_mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LabelMode {
    /// SELinux if it is usable, else simple.
    #[default]
    System,
    /// Negotiated only.
    Simple,
    /// Enforced by the kernel.
    Selinux,
}

/// `per_cpu_sas` (RFC 9611)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PerCpuSas {
    /// One pair of SAs.
    #[default]
    No,
    /// One pair per CPU.
    Yes,
    /// One pair per CPU with a UDP source port of its own.
    Encap,
}

/// A CHILD_SA's configuration.
#[derive(Debug, Clone)]
pub struct ChildConfig {
    /// Its section's name.
    pub name: Arc<str>,
    /// ESP and AH proposals in order of preference.
    pub proposals: Vec<Proposal>,
    /// Truncate HMAC-SHA-256 to 96 bits in the data plane.
    pub sha256_96: bool,
    /// Local traffic selectors.
    pub local_ts: Vec<TrafficSelector>,
    /// Remote traffic selectors.
    pub remote_ts: Vec<TrafficSelector>,
    /// When to rekey and to close.
    pub lifetimes: Lifetimes,
    /// Script to run when it goes up or down.
    pub updown: Option<String>,
    /// Passed to the script.
    pub hostaccess: bool,
    /// IPsec mode.
    pub mode: Mode,
    /// Install policies.
    pub policies: bool,
    /// Install forward policies for outbound traffic as well.
    pub policies_fwd_out: bool,
    /// When the peer does not answer.
    pub dpd_action: Action,
    /// After loading.
    pub start_action: Action,
    /// When the peer closes it.
    pub close_action: Action,
    /// Offer and accept IPComp.
    pub ipcomp: bool,
    /// Close it when idle this long; zero is off.
    pub inactivity: Duration,
    /// Fixed reqid.
    pub reqid: Option<Reqid>,
    /// Fixed policy priority, 0 to compute it.
    pub priority: u32,
    /// Interface the policies are restricted to.
    pub interface: Option<String>,
    /// Mark of inbound traffic.
    pub mark_in: MarkConfig,
    /// Mark of outbound traffic.
    pub mark_out: MarkConfig,
    /// Set `mark_in` on the inbound SA as well.
    pub mark_in_sa: bool,
    /// Mark set on decrypted packets.
    pub set_mark_in: SetMark,
    /// Mark set on encrypted packets.
    pub set_mark_out: SetMark,
    /// Inbound XFRM interface.
    pub if_id_in: IfIdConfig,
    /// Outbound XFRM interface.
    pub if_id_out: IfIdConfig,
    /// Security label.
    pub label: Option<String>,
    /// What the label means.
    pub label_mode: LabelMode,
    /// Traffic flow confidentiality padding.
    pub tfc_padding: TfcPadding,
    /// Anti-replay window in packets, `None` for the daemon's default.
    pub replay_window: Option<u32>,
    /// SAs per CPU.
    pub per_cpu_sas: PerCpuSas,
    /// Offloading to a network device.
    pub hw_offload: HwOffload,
    /// Copy the DF bit to the outer header.
    pub copy_df: bool,
    /// Copy ECN to the outer header.
    pub copy_ecn: bool,
    /// Copying of DSCP.
    pub copy_dscp: CopyDscp,
    /// Forward matching ICMP errors.
    pub icmp: bool,
}

impl ChildConfig {
    /// A child with every option at its default: dynamic selectors, and no proposals.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            proposals: Vec::new(),
            sha256_96: false,
            local_ts: vec![TrafficSelector::dynamic(0, PortRange::ANY)],
            remote_ts: vec![TrafficSelector::dynamic(0, PortRange::ANY)],
            lifetimes: Lifetimes::default(),
            updown: None,
            hostaccess: false,
            mode: Mode::default(),
            policies: true,
            policies_fwd_out: false,
            dpd_action: Action::NONE,
            start_action: Action::NONE,
            close_action: Action::NONE,
            ipcomp: false,
            inactivity: Duration::ZERO,
            reqid: None,
            priority: 0,
            interface: None,
            mark_in: MarkConfig::NONE,
            mark_out: MarkConfig::NONE,
            mark_in_sa: false,
            set_mark_in: SetMark::None,
            set_mark_out: SetMark::None,
            if_id_in: IfIdConfig::default(),
            if_id_out: IfIdConfig::default(),
            label: None,
            label_mode: LabelMode::default(),
            tfc_padding: TfcPadding::default(),
            replay_window: None,
            per_cpu_sas: PerCpuSas::default(),
            hw_offload: HwOffload::default(),
            copy_df: true,
            copy_ecn: true,
            copy_dscp: CopyDscp::default(),
            icmp: false,
        }
    }
}

impl PartialEq for ChildConfig {
    /// Everything but the name. The pattern is exhaustive so that a new option cannot be forgotten.
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name: _,
            proposals,
            sha256_96,
            local_ts,
            remote_ts,
            lifetimes,
            updown,
            hostaccess,
            mode,
            policies,
            policies_fwd_out,
            dpd_action,
            start_action,
            close_action,
            ipcomp,
            inactivity,
            reqid,
            priority,
            interface,
            mark_in,
            mark_out,
            mark_in_sa,
            set_mark_in,
            set_mark_out,
            if_id_in,
            if_id_out,
            label,
            label_mode,
            tfc_padding,
            replay_window,
            per_cpu_sas,
            hw_offload,
            copy_df,
            copy_ecn,
            copy_dscp,
            icmp,
        } = self;
        *proposals == other.proposals
            && *sha256_96 == other.sha256_96
            && *local_ts == other.local_ts
            && *remote_ts == other.remote_ts
            && *lifetimes == other.lifetimes
            && *updown == other.updown
            && *hostaccess == other.hostaccess
            && *mode == other.mode
            && *policies == other.policies
            && *policies_fwd_out == other.policies_fwd_out
            && *dpd_action == other.dpd_action
            && *start_action == other.start_action
            && *close_action == other.close_action
            && *ipcomp == other.ipcomp
            && *inactivity == other.inactivity
            && *reqid == other.reqid
            && *priority == other.priority
            && *interface == other.interface
            && *mark_in == other.mark_in
            && *mark_out == other.mark_out
            && *mark_in_sa == other.mark_in_sa
            && *set_mark_in == other.set_mark_in
            && *set_mark_out == other.set_mark_out
            && *if_id_in == other.if_id_in
            && *if_id_out == other.if_id_out
            && *label == other.label
            && *label_mode == other.label_mode
            && *tfc_padding == other.tfc_padding
            && *replay_window == other.replay_window
            && *per_cpu_sas == other.per_cpu_sas
            && *hw_offload == other.hw_offload
            && *copy_df == other.copy_df
            && *copy_ecn == other.copy_ecn
            && *copy_dscp == other.copy_dscp
            && *icmp == other.icmp
    }
}

impl Eq for ChildConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_in_every_spelling() {
        for (text, action) in [
            ("", Action::NONE),
            ("none", Action::NONE),
            ("clear", Action::NONE),
            ("Route", Action::TRAP),
            ("restart", Action::START),
            ("trap | START", Action { trap: true, start: true }),
        ] {
            assert_eq!(text.parse(), Ok(action), "{text}");
        }
        assert!("hold".parse::<Action>().is_err());
        assert_eq!("trap|start".parse::<Action>().unwrap().to_string(), "trap|start");
    }

    #[test]
    fn equality_ignores_the_name_only() {
        let a = ChildConfig::new("a");
        assert_eq!(a, ChildConfig::new("b"));
        assert_ne!(a, ChildConfig { icmp: true, ..a.clone() });
        assert_ne!(a, ChildConfig { mode: Mode::Transport, ..a.clone() });
    }

    #[test]
    fn modes_by_keyword() {
        assert_eq!("TRANSPORT_proxy".parse(), Ok(Mode::TransportProxy));
        assert!(Mode::Drop.is_shunt() && !Mode::Beet.is_shunt());
        assert!("vpn".parse::<Mode>().is_err());
    }
}
