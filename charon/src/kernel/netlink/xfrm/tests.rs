//! Messages as the kernel gets them and as it sends them, byte by byte; and what it does not send.

use std::collections::HashMap;

use ike::config::{CopyDscp, HwOffload, Mode, TfcPadding};
use ike::ids::{IfId, Mark, Reqid};
use ike::kernel::{Copying, Encap, KeyMaterial, PolicyAction, PolicyClass, SaLifetimes, SaLimit};
use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_xfrm::XfrmAttrs;
use strongswan::crypto::{EncryptionAlgorithm, IntegrityAlgorithm, Secret};
use strongswan::selectors::TrafficSelector;

use super::*;
use crate::kernel::KernelEvent;

const LEFT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const RIGHT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const LINUX_6_1: Version = Version(6, 1);

/// Type and content of every captured message.
fn captured() -> HashMap<&'static str, (u16, Vec<u8>)> {
    let lines = include_str!("tests/captured.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            let kind = u16::from_str_radix(words.next().unwrap().trim_start_matches("0x"), 16).unwrap();
            (name, (kind, hex::decode(words.next().unwrap()).unwrap()))
        })
        .collect()
}

/// Emits onto junk, so that bytes nobody writes are seen.
fn bytes(message: XfrmMessage) -> (u16, Vec<u8>) {
    let message = Message::from(message);
    let mut buffer = vec![0xa5; NetlinkSerializable::buffer_len(&message)];
    message.serialize(&mut buffer);
    (message.message_type(), buffer)
}

fn parse((kind, content): &(u16, Vec<u8>)) -> Result<Message, netlink_packet_core::DecodeError> {
    let mut header = NetlinkHeader::default();
    header.message_type = *kind;
    Message::deserialize(&header, content)
}

fn ts(text: &str) -> [TrafficSelector; 1] {
    [TrafficSelector::parse(text).unwrap()]
}

/// The SPI at this place of a captured message.
fn spi_at((_, content): &(u16, Vec<u8>), offset: usize) -> Spi {
    Spi::from_bytes(&content[offset..offset + 4]).unwrap()
}

/// What an SA of these tests is besides its identity; keys as in `charon/tests/netlink.rs`.
struct Sample {
    id: SaId,
    direction: Direction,
    mode: Mode,
    encryption: Option<(EncryptionAlgorithm, Option<u16>)>,
    integrity: Option<IntegrityAlgorithm>,
    esn: bool,
    replay_window: u32,
    encap: Option<Encap>,
    dscp: CopyDscp,
    df: bool,
    tfc: TfcPadding,
    set_mark: Mark,
    lifetimes: SaLifetimes,
}

impl Sample {
    fn new(spi: Spi, direction: Direction) -> Self {
        let (src, dst) = if direction == Direction::In { (RIGHT, LEFT) } else { (LEFT, RIGHT) };
        Self {
            id: SaId { spi, protocol: Protocol::Esp, src, dst, mark: Mark::NONE, if_id: IfId::NONE },
            direction,
            mode: Mode::Tunnel,
            encryption: Some((EncryptionAlgorithm::AesGcm16, Some(256))),
            integrity: None,
            esn: false,
            replay_window: 32,
            encap: None,
            dscp: CopyDscp::Out,
            df: true,
            tfc: TfcPadding::None,
            set_mark: Mark::NONE,
            lifetimes: SaLifetimes::default(),
        }
    }

    fn message(&self, version: Version) -> Result<ModifyMessage, Unsupported> {
        let from_left = u8::from(self.direction == Direction::Out);
        let key: Vec<u8> = (1..).take(36).map(|i: u8| i.wrapping_mul(37) ^ from_left).collect();
        let (src_ts, dst_ts) = match self.direction {
            Direction::In => (ts("10.2.0.0/16[tcp]"), ts("10.1.0.0/16[tcp/80]")),
            Direction::Out => (ts("10.1.0.0/16[tcp/80]"), ts("10.2.0.0/16[tcp]")),
        };
        let sa = SaParams {
            id: self.id,
            direction: self.direction,
            reqid: Reqid::new(1).unwrap(),
            mode: self.mode,
            cpi: None,
            keys: KeyMaterial {
                encryption: self.encryption,
                encryption_key: &Secret::from(&key[..]),
                integrity: self.integrity,
                integrity_key: &Secret::from(&key[..32]),
                esn: self.esn,
            },
            replay_window: self.replay_window,
            encap: self.encap,
            lifetimes: self.lifetimes,
            src_ts: &src_ts,
            dst_ts: &dst_ts,
            tfc: self.tfc,
            copying: Copying { df: self.df, ecn: true, dscp: self.dscp },
            set_mark: self.set_mark,
            hw_offload: HwOffload::No,
            icmp: true,
            initiator: true,
        };
        state::install(&sa, version, None, false)
    }
}

fn policies(direction: Direction, spi: Spi) -> Vec<Policy> {
    let (local_ts, remote_ts) = (ts("10.1.0.0/16"), ts("10.2.0.0/16"));
    let params = PolicyParams {
        ipcomp: false,
        direction,
        action: PolicyAction::Ipsec,
        class: PolicyClass::Default,
        priority: 0,
        local: LEFT,
        remote: RIGHT,
        local_ts: &local_ts,
        remote_ts: &remote_ts,
        reqid: Reqid::new(1),
        spi: Some(spi),
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        mark: Mark::NONE,
        if_id: IfId::NONE,
        interface: None,
        fwd_out: false,
        hw_offload: HwOffload::No,
    };
    policy::policies(&params, 0).collect()
}

/// Offset of the SPI in `xfrm_usersa_info`.
const SPI_IN_SA: usize = 72;
/// Offset of the SPI in `xfrm_usersa_id`.
const SPI_IN_NAME: usize = 16;
/// Offset of the SPI in the template that follows `xfrm_userpolicy_info`.
const SPI_IN_POLICY: usize = 168 + 4 + 16;

#[test]
fn spis_are_asked_for_and_come() {
    let captured = captured();
    let message = state::allocate(Protocol::Esp, (RIGHT, LEFT), (0xc000_0000, 0xcfff_ffff), LINUX_6_1).unwrap();
    assert_eq!(bytes(XfrmMessage::AllocSpi(message)), captured["allocate"]);
    let answer = parse(&captured["allocated"]).unwrap();
    let XfrmMessage::AddSa(sa) = answer.get() else { panic!("not an SA") };
    assert_eq!(Spi::new(sa.user_sa_info.id.spi), Some(spi_at(&captured["allocated"], SPI_IN_SA)));
    assert_eq!(sa.user_sa_info.id.spi >> 28, 0xc);
}

#[test]
fn sas_are_installed_and_removed() {
    let captured = captured();
    let spi = spi_at(&captured["add_inbound"], SPI_IN_SA);
    let sample = Sample::new(spi, Direction::In);
    // That test's selectors have neither protocol nor port and it does not ask for ICMP: flags differ in one bit.
    let mut message = sample.message(LINUX_6_1).unwrap();
    message.user_sa_info.flags &= !netlink_packet_xfrm::constants::XFRM_STATE_ICMP;
    assert_eq!(bytes(XfrmMessage::UpdateSa(message)), captured["add_inbound"]);
    let name = state::name(&sample.id).unwrap();
    assert_eq!(bytes(XfrmMessage::DeleteSa(name)), captured["delete_inbound"]);
    assert_eq!(spi_at(&captured["delete_inbound"], SPI_IN_NAME), spi);
    let sample = Sample::new(spi_at(&captured["add_outbound"], SPI_IN_SA), Direction::Out);
    assert_eq!(bytes(XfrmMessage::AddSa(sample.message(LINUX_6_1).unwrap())), captured["add_outbound"]);
}

#[test]
fn policies_are_installed_and_removed() {
    let captured = captured();
    let out = policies(Direction::Out, spi_at(&captured["add_policy_out"], SPI_IN_POLICY)).remove(0);
    let message = out.install(&out.user).unwrap();
    assert_eq!(bytes(XfrmMessage::AddPolicy(message)), captured["add_policy_out"]);
    assert_eq!(bytes(XfrmMessage::DeletePolicy(out.remove())), captured["delete_policy_out"]);
    let forward = policies(Direction::In, Spi::new(0xc000_0001).unwrap()).remove(1);
    let message = forward.install(&forward.user).unwrap();
    assert_eq!(bytes(XfrmMessage::AddPolicy(message)), captured["add_policy_forward"]);
}

/// The SA that the kernel describes comes back at new addresses, without UDP, with window and counters.
#[test]
fn an_sa_moves_with_its_state() {
    let captured = captured();
    let current = parse(&captured["current"]).unwrap();
    let current = modified(&current).unwrap();
    let info = &current.user_sa_info;
    assert_eq!((info.lifetime_cur.packets, info.lifetime_cur.bytes), (2, 168));
    let id = Sample::new(spi_at(&captured["current"], SPI_IN_SA), Direction::In).id;
    let update = SaUpdate { id, src: RIGHT, dst: [192, 0, 2, 77].into(), encap: None };
    let moved = state::moved(current, &update, None);
    assert!(moved.nlas.iter().any(|attribute| matches!(attribute, XfrmAttrs::ReplayStateEsn(esn) if esn.seq == 2)));
    assert_eq!(bytes(XfrmMessage::AddSa(moved)), captured["moved"]);
}

#[test]
fn events_are_understood() {
    let captured = captured();
    let event = |name| events::event(parse(&captured[name]).unwrap().get());
    let Some(KernelEvent::Acquire { reqid, source, destination }) = event("acquire") else { panic!("no acquire") };
    assert_eq!(
        (reqid.get(), source.to_string(), destination.to_string()),
        (1, "10.1.0.1/32[icmp/8]".to_owned(), "10.2.0.1/32[icmp/8]".to_owned())
    );
    for (name, hard) in [("expire_soft", false), ("expire_hard", true)] {
        let spi = spi_at(&captured[name], SPI_IN_SA);
        match event(name) {
            Some(KernelEvent::Expire { protocol: Protocol::Esp, spi: found, hard: how, .. }) => {
                assert_eq!((found, how), (spi, hard));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A kernel would have to be broken; the parser must not make it worse.
#[test]
fn malformed_messages_are_refused_without_a_panic() {
    for (name, message) in captured() {
        let (kind, content) = &message;
        for len in 0..content.len() {
            let short = (*kind, content[..len].to_vec());
            let parsed = parse(&short);
            let fixed = message::fixed_len(*kind);
            assert!(fixed.is_none_or(|fixed| len >= fixed || parsed.is_err()), "{name} with {len} bytes");
        }
        for index in 0..content.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = content.clone();
                changed[index] = value;
                let Ok(parsed) = parse(&(*kind, changed)) else { continue };
                let _event = events::event(parsed.get());
                if let (Some(current), Some(spi)) = (modified(&parsed), Spi::new(0xc000_0001)) {
                    let id = Sample::new(spi, Direction::In).id;
                    let _usage = Sas::default().usage(&id, current, monotonic());
                    let _moved = bytes(XfrmMessage::AddSa(state::moved(
                        current,
                        &SaUpdate { id, src: LEFT, dst: RIGHT, encap: None },
                        None,
                    )));
                }
            }
        }
    }
    for kind in 0..64 {
        let _result = parse(&(kind, Vec::new()));
    }
}

#[test]
fn options_of_an_sa_become_attributes() {
    let spi = Spi::new(0xc000_0001).unwrap();
    let base = || Sample::new(spi, Direction::Out);
    let has = |message: &ModifyMessage, wanted: &XfrmAttrs| message.nlas.contains(wanted);
    let tagged = Sample {
        id: SaId { mark: Mark { value: 5, mask: 0xff }, if_id: IfId(7), ..base().id },
        set_mark: Mark { value: 1, mask: 3 },
        tfc: TfcPadding::Mtu,
        dscp: CopyDscp::No,
        df: false,
        lifetimes: SaLifetimes { time: SaLimit { soft: 10, hard: 20 }, ..SaLifetimes::default() },
        ..base()
    };
    let message = tagged.message(LINUX_6_1).unwrap();
    for attribute in [
        XfrmAttrs::Mark(netlink_packet_xfrm::Mark { value: 5, mask: 0xff }),
        XfrmAttrs::IfId(7),
        XfrmAttrs::MarkVal(1),
        XfrmAttrs::MarkMask(3),
        XfrmAttrs::TfcPadding(u32::MAX),
        XfrmAttrs::ExtraFlags(1),
    ] {
        assert!(has(&message, &attribute), "{:?} is missing", attribute);
    }
    // NOPMTUDISC and AF_UNSPEC
    assert_eq!(message.user_sa_info.flags, 4 | 32);
    let limits = message.user_sa_info.lifetime_cfg;
    assert_eq!((limits.soft_add_expires_seconds, limits.hard_add_expires_seconds), (10, 20));
    assert_eq!(limits.soft_byte_limit, u64::MAX);

    let transport = Sample { mode: Mode::Transport, ..base() }.message(LINUX_6_1).unwrap().user_sa_info;
    assert_eq!((transport.mode, transport.flags, transport.selector.prefixlen_s), (0, 0, 16));
    assert_eq!((transport.selector.proto, transport.selector.sport_mask), (0, 0), "packets of any kind");
}

#[test]
fn replay_windows_follow_direction_and_version() {
    let spi = Spi::new(0xc000_0001).unwrap();
    let window = |direction, esn, replay_window, version| {
        let message = Sample { esn, replay_window, ..Sample::new(spi, direction) }.message(version).unwrap();
        let large = message.nlas.iter().find_map(|attribute| match attribute {
            XfrmAttrs::ReplayStateEsn(esn) => Some((esn.replay_window, esn.bmp_len, esn.bmp.len())),
            _ => None,
        });
        (message.user_sa_info.replay_window, large)
    };
    let (old, new) = (LINUX_6_1, Version(6, 10));
    assert_eq!(window(Direction::In, false, 32, old), (32, None));
    assert_eq!(window(Direction::In, false, 33, old), (0, Some((33, 2, 2))));
    assert_eq!(window(Direction::In, true, 0, old), (0, Some((1, 1, 1))));
    assert_eq!(window(Direction::In, true, 1_000_000, old), (0, Some((4096, 128, 128))));
    assert_eq!(window(Direction::Out, false, 32, old), (0, None));
    assert_eq!(window(Direction::Out, true, 32, old), (0, Some((1, 1, 1))));
    assert_eq!(window(Direction::Out, true, 32, new), (0, Some((0, 0, 0))));
    let direction = |direction, version| {
        let message = Sample::new(spi, direction).message(version).unwrap();
        bytes(XfrmMessage::AddSa(message)).1.ends_with(&[
            5,
            0,
            33,
            0,
            if direction == Direction::In { 1 } else { 2 },
            0,
            0,
            0,
        ])
    };
    assert!(direction(Direction::In, new) && direction(Direction::Out, new) && !direction(Direction::In, old));
}

#[test]
fn what_the_kernel_lacks_is_named() {
    let spi = Spi::new(0xc000_0001).unwrap();
    let error = |sample: Sample| sample.message(LINUX_6_1).unwrap_err().to_string();
    let base = || Sample::new(spi, Direction::Out);
    let camellia = Some((EncryptionAlgorithm::CamelliaCcm16, Some(128)));
    assert_eq!(error(Sample { encryption: camellia, ..base() }), "algorithm CAMELLIA_CCM_16 not supported by kernel!");
    let integrity = Some(IntegrityAlgorithm::HmacSha1_128);
    assert_eq!(error(Sample { integrity, ..base() }), "algorithm HMAC_SHA1_128 not supported by kernel!");
    assert_eq!(error(Sample { mode: Mode::Pass, ..base() }), "mode PASS not supported by kernel!");
    let id = SaId { protocol: Protocol::Ike, ..base().id };
    assert_eq!(error(Sample { id, ..base() }), "protocol IKE not supported by kernel!");
}
