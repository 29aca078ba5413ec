//! SAs as messages to the kernel: what is installed, what an address change makes of it, what its counters are.

use std::net::IpAddr;

use ike::config::{CopyDscp, Mode, TfcPadding};
use ike::ids::{IfId, Mark, Spi};
use ike::kernel::{Direction, Encap, SaId, SaLifetimes, SaLimit, SaParams, SaUpdate};
use netlink_packet_core::DefaultNla;
use netlink_packet_xfrm::constants::{
    UDP_ENCAP_ESPINUDP, XFRM_INF, XFRM_MODE_BEET, XFRM_MODE_TRANSPORT, XFRM_MODE_TUNNEL, XFRM_OFFLOAD_INBOUND,
    XFRM_OFFLOAD_IPV6, XFRM_SA_XFLAG_DONT_ENCAP_DSCP, XFRM_STATE_AF_UNSPEC, XFRM_STATE_ALIGN4, XFRM_STATE_DECAP_DSCP,
    XFRM_STATE_ESN, XFRM_STATE_ICMP, XFRM_STATE_NOECN, XFRM_STATE_NOPMTUDISC,
};
use netlink_packet_xfrm::state::{AllocSpiMessage, DelGetMessage, ModifyMessage};
use netlink_packet_xfrm::{
    Address, EncapTmpl, LifetimeConfig, ReplayEsn, Selector, UserOffloadDev, UserSaId, UserSaInfo, XfrmAttrs,
};
use strongswan::crypto::Protocol;
use strongswan::selectors::TrafficSelector;

use super::algorithms::{self, encryption_attribute, integrity_attribute};
use super::selector;
use super::version::Version;

/// The kernel's limit (`XFRMA_REPLAY_ESN_MAX`).
const MAX_REPLAY_WINDOW: u32 = 4096;
/// Windows up to this size need no bitmap of their own.
const SMALL_REPLAY_WINDOW: u32 = 32;

/// The attribute for the direction of an SA, since Linux 6.10.
const XFRMA_SA_DIR: u16 = 33;
const XFRM_SA_DIR_IN: u8 = 1;
const XFRM_SA_DIR_OUT: u8 = 2;

const XFRM_OFFLOAD_PACKET: u8 = 4;

/// The SA asks for something the kernel does not have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsupported {
    /// An encryption or integrity algorithm.
    #[error("algorithm {0} not supported by kernel!")]
    Algorithm(String),
    /// A mode.
    #[error("mode {0} not supported by kernel!")]
    Mode(Mode),
    /// Neither ESP nor AH.
    #[error("protocol {0} not supported by kernel!")]
    Protocol(Protocol),
}

/// What is offloaded to a network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offload {
    /// Cryptography.
    Crypto,
    /// Whole packets.
    Packet,
}

/// The number of an IP protocol.
pub(super) fn protocol(protocol: Protocol) -> Result<u8, Unsupported> {
    match protocol {
        Protocol::Esp => Ok(50),
        Protocol::Ah => Ok(51),
        Protocol::IpComp => Ok(108),
        other => Err(Unsupported::Protocol(other)),
    }
}

/// The kernel's number of a mode.
pub(super) fn mode(mode: Mode) -> Result<u8, Unsupported> {
    match mode {
        Mode::Tunnel => Ok(XFRM_MODE_TUNNEL),
        Mode::Transport | Mode::TransportProxy => Ok(XFRM_MODE_TRANSPORT),
        Mode::Beet => Ok(XFRM_MODE_BEET),
        Mode::Iptfs | Mode::Pass | Mode::Drop => Err(Unsupported::Mode(mode)),
    }
}

/// A request for an SPI for packets from `src` to `dst`.
pub(super) fn allocate(
    wanted: Protocol,
    (src, dst): (IpAddr, IpAddr),
    (min, max): (u32, u32),
    version: Version,
) -> Result<AllocSpiMessage, Unsupported> {
    let mut message = AllocSpiMessage::default();
    let info = &mut message.spi_info.info;
    info.source(&src);
    info.destination(&dst);
    info.id.proto = protocol(wanted)?;
    info.mode = XFRM_MODE_TUNNEL;
    (message.spi_info.min, message.spi_info.max) = (min, max);
    message.nlas.extend(direction(Direction::In, version));
    Ok(message)
}

/// What compresses and decompresses inside of an SA. It has the SA's mode, which is then in transport mode itself.
pub(super) fn compression(sa: &SaParams<'_>, cpi: Spi, version: Version) -> Result<ModifyMessage, Unsupported> {
    let mut info = UserSaInfo::default();
    info.destination(&sa.id.dst);
    info.source(&sa.id.src);
    info.id.spi = cpi.get();
    info.id.proto = protocol(Protocol::IpComp)?;
    info.mode = mode(sa.mode)?;
    info.reqid = sa.reqid.get();
    info.lifetime_cfg = lifetimes(&SaLifetimes::default());
    info.flags = flags(sa) & !XFRM_STATE_ESN | if sa.mode == Mode::Tunnel { XFRM_STATE_AF_UNSPEC } else { 0 };
    info.selector = if sa.mode == Mode::Tunnel { Selector::default() } else { sa_selector(sa, false) };
    let mut nlas = vec![algorithms::deflate()];
    nlas.extend(tags(sa.id.mark, sa.id.if_id));
    nlas.extend(direction(sa.direction, version));
    Ok(ModifyMessage { user_sa_info: info, nlas })
}

/// Whether the SA's own header is the outer one: not if there is compression in between.
fn is_tunnel(sa: &SaParams<'_>) -> bool {
    sa.mode == Mode::Tunnel && sa.cpi.is_none()
}

/// The SA to install.
pub(super) fn install(
    sa: &SaParams<'_>,
    version: Version,
    offload: Option<(Offload, u32)>,
    ports_in_transport: bool,
) -> Result<ModifyMessage, Unsupported> {
    let mut info = UserSaInfo::default();
    info.destination(&sa.id.dst);
    info.source(&sa.id.src);
    info.id.spi = sa.id.spi.get();
    info.id.proto = protocol(sa.id.protocol)?;
    info.mode = if sa.cpi.is_some() { XFRM_MODE_TRANSPORT } else { mode(sa.mode)? };
    info.reqid = sa.reqid.get();
    info.lifetime_cfg = lifetimes(&sa.lifetimes);
    info.flags = flags(sa);
    info.selector = if sa.cpi.is_some() { Selector::default() } else { sa_selector(sa, ports_in_transport) };

    let mut nlas = keys(sa)?;
    nlas.extend(sa.encap.map(encap));
    let inbound = sa.direction == Direction::In;
    if inbound && sa.encap.is_some_and(|encap| encap.sport == 0) {
        // Any port is right, so no change of it is worth an event.
        nlas.push(XfrmAttrs::MappingTimeThreshold(u32::MAX));
    }
    if !inbound && matches!(sa.copying.dscp, CopyDscp::No | CopyDscp::In) {
        nlas.push(XfrmAttrs::ExtraFlags(XFRM_SA_XFLAG_DONT_ENCAP_DSCP));
    }
    nlas.extend(tags(sa.id.mark, sa.id.if_id));
    if !sa.set_mark.is_none() {
        nlas.push(XfrmAttrs::MarkVal(sa.set_mark.value));
        nlas.push(XfrmAttrs::MarkMask(sa.set_mark.mask));
    }
    if !inbound && is_tunnel(sa) && sa.id.protocol == Protocol::Esp {
        nlas.extend(tfc(sa.tfc));
    }
    nlas.extend(direction(sa.direction, version));
    info.replay_window = replay(sa, version, &mut nlas);
    nlas.extend(offload.map(|(kind, interface)| offload_attribute(kind, interface, sa)));
    Ok(ModifyMessage { user_sa_info: info, nlas })
}

fn flags(sa: &SaParams<'_>) -> u8 {
    let inbound = sa.direction == Direction::In;
    let decap_dscp = inbound && matches!(sa.copying.dscp, CopyDscp::In | CopyDscp::Yes);
    let align4 = sa.id.protocol == Protocol::Ah && sa.id.src.is_ipv4();
    let set = [
        (XFRM_STATE_NOECN, !sa.copying.ecn),
        (XFRM_STATE_ICMP, inbound && sa.icmp),
        (XFRM_STATE_DECAP_DSCP, decap_dscp),
        (XFRM_STATE_NOPMTUDISC, !inbound && !sa.copying.df),
        (XFRM_STATE_AF_UNSPEC, is_tunnel(sa)),
        (XFRM_STATE_ALIGN4, align4),
        (XFRM_STATE_ESN, sa.keys.esn),
    ];
    set.into_iter().filter(|(_, on)| *on).fold(0, |flags, (flag, _)| flags | flag)
}

/// A tunnel carries what policies send through it; other modes carry one pair of selectors.
fn sa_selector(sa: &SaParams<'_>, ports: bool) -> Selector {
    let (Some(src), Some(dst)) = (sa.src_ts.first(), sa.dst_ts.first()) else { return Selector::default() };
    if sa.mode == Mode::Tunnel {
        return Selector::default();
    }
    let any = |ts: &TrafficSelector| if ports { *ts } else { TrafficSelector::from_range(ts.addresses()) };
    selector::selector(&any(src), &any(dst), 0)
}

fn lifetimes(lifetimes: &SaLifetimes) -> LifetimeConfig {
    let volume = |limit: u64| if limit == 0 { XFRM_INF } else { limit };
    let SaLifetimes { time, bytes, packets } = lifetimes;
    let both = |limit: &SaLimit| (volume(limit.soft), volume(limit.hard));
    let ((soft_byte_limit, hard_byte_limit), (soft_packet_limit, hard_packet_limit)) = (both(bytes), both(packets));
    LifetimeConfig {
        soft_byte_limit,
        hard_byte_limit,
        soft_packet_limit,
        hard_packet_limit,
        soft_add_expires_seconds: time.soft,
        hard_add_expires_seconds: time.hard,
        soft_use_expires_seconds: 0,
        hard_use_expires_seconds: 0,
    }
}

fn keys(sa: &SaParams<'_>) -> Result<Vec<XfrmAttrs>, Unsupported> {
    let mut attributes = Vec::new();
    if let Some((algorithm, _)) = sa.keys.encryption {
        let known = algorithms::encryption(algorithm);
        let known = known.ok_or_else(|| Unsupported::Algorithm(algorithm.to_string()))?;
        attributes.push(encryption_attribute(known, sa.keys.encryption_key));
    }
    if let Some(algorithm) = sa.keys.integrity {
        let known = algorithms::integrity(algorithm);
        let known = known.ok_or_else(|| Unsupported::Algorithm(algorithm.to_string()))?;
        attributes.push(integrity_attribute(known, sa.keys.integrity_key));
    }
    Ok(attributes)
}

fn encap(encap: Encap) -> XfrmAttrs {
    XfrmAttrs::EncapsulationTemplate(EncapTmpl {
        encap_type: UDP_ENCAP_ESPINUDP,
        encap_sport: encap.sport,
        encap_dport: encap.dport,
        encap_oa: Address::default(),
    })
}

/// Attributes for mark and interface.
pub(super) fn tags(mark: Mark, if_id: IfId) -> impl Iterator<Item = XfrmAttrs> {
    let mark =
        (!mark.is_none()).then_some(XfrmAttrs::Mark(netlink_packet_xfrm::Mark { value: mark.value, mask: mark.mask }));
    mark.into_iter().chain((!if_id.is_none()).then_some(XfrmAttrs::IfId(if_id.0)))
}

fn tfc(padding: TfcPadding) -> Option<XfrmAttrs> {
    match padding {
        TfcPadding::None | TfcPadding::Size(0) => None,
        TfcPadding::Size(size) => Some(XfrmAttrs::TfcPadding(size)),
        // More than any path's MTU, which the kernel takes then.
        TfcPadding::Mtu => Some(XfrmAttrs::TfcPadding(u32::MAX)),
    }
}

fn direction(direction: Direction, version: Version) -> Option<XfrmAttrs> {
    let value = match direction {
        Direction::In => XFRM_SA_DIR_IN,
        Direction::Out => XFRM_SA_DIR_OUT,
    };
    version.has_sa_direction().then(|| XfrmAttrs::Other(DefaultNla::new(XFRMA_SA_DIR, vec![value])))
}

/// Adds the attribute for the replay window if it needs one, and returns the field for a small window.
fn replay(sa: &SaParams<'_>, version: Version, nlas: &mut Vec<XfrmAttrs>) -> u8 {
    let window = match sa.direction {
        Direction::In => sa.replay_window.min(MAX_REPLAY_WINDOW),
        Direction::Out => 0,
    };
    if !sa.keys.esn && window <= SMALL_REPLAY_WINDOW {
        return u8::try_from(window).unwrap_or_default();
    }
    // The kernel insists on a window for ESN; only newer ones know that outbound SAs have no use for it.
    let pointless = sa.direction == Direction::Out && version.has_sa_direction();
    let window = if sa.keys.esn && !pointless { window.max(1) } else { window };
    let words = window.div_ceil(u32::BITS);
    let bmp = vec![0; usize::try_from(words).unwrap_or_default()];
    nlas.push(XfrmAttrs::ReplayStateEsn(ReplayEsn {
        bmp_len: words,
        replay_window: window,
        bmp,
        ..ReplayEsn::default()
    }));
    0
}

fn offload_attribute(kind: Offload, interface: u32, sa: &SaParams<'_>) -> XfrmAttrs {
    let set = [
        (XFRM_OFFLOAD_IPV6, sa.id.src.is_ipv6()),
        (XFRM_OFFLOAD_INBOUND, sa.direction == Direction::In),
        (XFRM_OFFLOAD_PACKET, kind == Offload::Packet),
    ];
    let flags = set.into_iter().filter(|(_, on)| *on).fold(0, |flags, (flag, _)| flags | flag);
    XfrmAttrs::OffloadDevice(UserOffloadDev { ifindex: i32::try_from(interface).unwrap_or_default(), flags })
}

/// Names an SA, to read or delete it.
pub(super) fn name(id: &SaId) -> Result<DelGetMessage, Unsupported> {
    let mut user_sa_id = UserSaId::default();
    user_sa_id.destination(&id.dst);
    user_sa_id.spi = id.spi.get();
    user_sa_id.proto = protocol(id.protocol)?;
    Ok(DelGetMessage { user_sa_id, nlas: tags(id.mark, id.if_id).collect() })
}

/// What an installed SA, as the kernel describes it, becomes at new addresses: its replay state and its counters move
/// with it, so that limits hold and no packet can be replayed. `interface` is that of the new local address.
pub(super) fn moved(current: &ModifyMessage, update: &SaUpdate, interface: Option<u32>) -> ModifyMessage {
    let mut info = current.user_sa_info;
    info.source(&update.src);
    info.destination(&update.dst);
    let sel = &mut info.selector;
    for (address, old, new) in
        [(&mut sel.saddr, update.id.src, update.src), (&mut sel.daddr, update.id.dst, update.dst)]
    {
        if *address == Address::from_ip(&old) {
            *address = Address::from_ip(&new);
        }
    }
    if sel.family != 0 {
        sel.family = selector::family(update.src);
    }
    let mut nlas: Vec<_> = current.nlas.iter().filter_map(|attribute| moved_attribute(attribute, interface)).collect();
    nlas.extend(update.encap.map(encap));
    nlas.push(XfrmAttrs::LifetimeBytes(current.user_sa_info.lifetime_cur));
    ModifyMessage { user_sa_info: info, nlas }
}

fn moved_attribute(attribute: &XfrmAttrs, interface: Option<u32>) -> Option<XfrmAttrs> {
    match attribute {
        // Only reported, or replaced by the caller.
        XfrmAttrs::LastUsed(_) | XfrmAttrs::Pad() | XfrmAttrs::LifetimeBytes(_) => None,
        XfrmAttrs::EncapsulationTemplate(_) => None,
        XfrmAttrs::OffloadDevice(device) => interface.map(|interface| {
            let ifindex = i32::try_from(interface).unwrap_or_default();
            XfrmAttrs::OffloadDevice(UserOffloadDev { ifindex, flags: device.flags })
        }),
        other => Some(other.clone()),
    }
}
