//! Arguments of the [`Kernel`](super::Kernel) calls.

use std::net::IpAddr;
use std::time::Duration;

use strongswan::crypto::{EncryptionAlgorithm, IntegrityAlgorithm, Protocol, Secret};
use strongswan::selectors::TrafficSelector;

use crate::config::{CopyDscp, HwOffload, Mode, TfcPadding};
use crate::ids::{IfId, Mark, Reqid, Spi};

/// What identifies an SA: that of [`Direction::In`] goes from the peer to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SaId {
    /// Its SPI.
    pub spi: Spi,
    /// ESP or AH.
    pub protocol: Protocol,
    /// Sender of the outer packets.
    pub src: IpAddr,
    /// Receiver of the outer packets.
    pub dst: IpAddr,
    /// Mark.
    pub mark: Mark,
    /// XFRM interface.
    pub if_id: IfId,
}

/// Direction of an SA or a policy, as seen from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer to us; policies include forwarded traffic.
    In,
    /// From us to the peer.
    Out,
}

/// UDP encapsulation of ESP (RFC 3948): the ports of the outer source and destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encap {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

/// Keys and algorithms of one direction.
#[derive(Debug)]
pub struct KeyMaterial<'a> {
    /// Cipher and key length in bits, `None` for AH.
    pub encryption: Option<(EncryptionAlgorithm, Option<u16>)>,
    /// Encryption key, salt included.
    pub encryption_key: &'a Secret,
    /// Integrity algorithm, `None` for AEADs. `sha256_96` is applied already.
    pub integrity: Option<IntegrityAlgorithm>,
    /// Integrity key.
    pub integrity_key: &'a Secret,
    /// Extended sequence numbers were negotiated.
    pub esn: bool,
}

/// A soft and a hard limit; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SaLimit {
    /// An expire event is raised, the SA lives on.
    pub soft: u64,
    /// An expire event is raised, the SA is gone.
    pub hard: u64,
}

/// Limits of an SA, jitter already applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SaLifetimes {
    /// Seconds since installation.
    pub time: SaLimit,
    /// Bytes of payload.
    pub bytes: SaLimit,
    /// Packets.
    pub packets: SaLimit,
}

/// Copying of header fields between inner and outer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copying {
    /// The DF bit, outwards.
    pub df: bool,
    /// ECN, both ways.
    pub ecn: bool,
    /// The DSCP field.
    pub dscp: CopyDscp,
}

/// An SA to install.
#[derive(Debug)]
pub struct SaParams<'a> {
    /// What identifies it.
    pub id: SaId,
    /// Its direction.
    pub direction: Direction,
    /// The CHILD_SA's reqid.
    pub reqid: Reqid,
    /// Mode, never a shunt.
    pub mode: Mode,
    /// IPComp inside of it, with this CPI. It comes and goes, and moves, with the SA.
    pub cpi: Option<u16>,
    /// Algorithms and keys.
    pub keys: KeyMaterial<'a>,
    /// Anti-replay window in packets, 0 for none. Meaningful inbound.
    pub replay_window: u32,
    /// UDP encapsulation.
    pub encap: Option<Encap>,
    /// Limits.
    pub lifetimes: SaLifetimes,
    /// Selectors of inner sources: for [`Direction::In`] the remote ones.
    pub src_ts: &'a [TrafficSelector],
    /// Selectors of inner destinations.
    pub dst_ts: &'a [TrafficSelector],
    /// TFC padding. Meaningful outbound.
    pub tfc: TfcPadding,
    /// Copying of header fields.
    pub copying: Copying,
    /// Mark set after processing.
    pub set_mark: Mark,
    /// Offloading to a device.
    pub hw_offload: HwOffload,
    /// Forward matching ICMP errors.
    pub icmp: bool,
    /// Whether we initiated the CHILD_SA's exchange.
    pub initiator: bool,
}

/// New addresses of an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaUpdate {
    /// The SA as it was installed.
    pub id: SaId,
    /// New sender.
    pub src: IpAddr,
    /// New receiver.
    pub dst: IpAddr,
    /// New UDP encapsulation.
    pub encap: Option<Encap>,
}

/// Counters of an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SaUsage {
    /// Bytes of payload processed.
    pub bytes: u64,
    /// Packets processed.
    pub packets: u64,
    /// Time since the last packet, if there was one.
    pub idle: Option<Duration>,
}

/// What a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyAction {
    /// Protects with the SA of the policy's reqid.
    Ipsec,
    /// Lets pass.
    Pass,
    /// Discards.
    Drop,
}

/// Which policy wins: later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyClass {
    /// Drops what an SA's policy will cover.
    Fallback,
    /// A trap.
    Routed,
    /// A CHILD_SA's policy.
    Default,
    /// A bypass.
    Pass,
}

/// The policies of one CHILD_SA, trap or shunt in one direction.
#[derive(Debug)]
pub struct PolicyParams<'a> {
    /// Direction.
    pub direction: Direction,
    /// What it does.
    pub action: PolicyAction,
    /// Precedence.
    pub class: PolicyClass,
    /// Fixed priority, 0 to compute one.
    pub priority: u32,
    /// Our tunnel endpoint.
    pub local: IpAddr,
    /// The peer's tunnel endpoint.
    pub remote: IpAddr,
    /// Local selectors.
    pub local_ts: &'a [TrafficSelector],
    /// Remote selectors.
    pub remote_ts: &'a [TrafficSelector],
    /// Reqid of the SAs to use.
    pub reqid: Option<Reqid>,
    /// SPI of this direction's SA, `None` for traps and shunts.
    pub spi: Option<Spi>,
    /// ESP or AH.
    pub protocol: Protocol,
    /// Mode.
    pub mode: Mode,
    /// Packets may be compressed.
    pub ipcomp: bool,
    /// Mark.
    pub mark: Mark,
    /// XFRM interface.
    pub if_id: IfId,
    /// Interface it is restricted to.
    pub interface: Option<&'a str>,
    /// Install forward policies outbound as well.
    pub fwd_out: bool,
    /// Offloading to a device.
    pub hw_offload: HwOffload,
}
