//! The kernel as data plane, with static keys between network namespaces, on a kernel that has ESP: every algorithm,
//! policies, routes, events, and what is left behind.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use charon::kernel::KernelEvent;
use charon::kernel::netlink::{Netlink, NetlinkSettings};
use charon::net::{SocketSettings, Sockets};
use ike::config::{CopyDscp, HwOffload, Mode, TfcPadding};
use ike::ids::{IfId, Mark, Reqid, Spi};
use ike::kernel::{
    Copying, Direction, Encap, Kernel, KernelError, KeyMaterial, PolicyAction, PolicyClass, PolicyParams, SaId,
    SaLifetimes, SaLimit, SaParams, SaUpdate,
};
use strongswan::crypto::{Cipher, EncryptionAlgorithm as E, IntegrityAlgorithm as I, Protocol, Secret};
use strongswan::selectors::TrafficSelector;
use testsuite::Result;
use testsuite::lab::{Host, Lab};
use testsuite::traffic::ping;
use testsuite::uml::on_esp_kernel;

/// A data plane on a host.
struct Side {
    plane: Netlink,
    host: Host,
    events: mpsc::Receiver<KernelEvent>,
    _sockets: Sockets,
}

impl Side {
    fn start(host: &Host) -> Result<Self> {
        let (report, events) = mpsc::channel();
        let (plane, sockets) = host.inside(|| {
            let sockets = Sockets::open(&SocketSettings::default())?;
            let sink = Arc::new(move |event| drop(report.send(event)));
            Ok((Netlink::start(NetlinkSettings::default(), &sockets.clones()?, sink)?, sockets))
        })?;
        Ok(Self { plane, host: host.clone(), events, _sockets: sockets })
    }

    fn event(&self) -> Result<KernelEvent> {
        Ok(self.events.recv_timeout(Duration::from_secs(10))?)
    }

    fn xfrm(&self, what: &str) -> Result<String> {
        self.host.run(&["ip", "xfrm", what])
    }

    /// Policies of others than sockets.
    fn policies(&self) -> Result<String> {
        self.host.run(&["ip", "xfrm", "policy", "list", "nosock"])
    }

    fn is_left(&self) -> bool {
        self.host.role == "left"
    }
}

/// What a tunnel is made of.
#[derive(Clone, Copy)]
struct Tunnel {
    left: IpAddr,
    right: IpAddr,
    mode: Mode,
    protocol: Protocol,
    udp: bool,
    esn: bool,
    encryption: Option<(E, Option<u16>)>,
    integrity: Option<I>,
    limits: SaLifetimes,
}

impl Tunnel {
    fn new(lab: &Lab) -> Self {
        Self {
            left: lab.left.addr,
            right: lab.right.addr,
            mode: Mode::Tunnel,
            protocol: Protocol::Esp,
            udp: false,
            esn: false,
            encryption: Some((E::AesGcm16, Some(256))),
            integrity: None,
            limits: SaLifetimes::default(),
        }
    }

    fn id(&self, spi: Spi, from_left: bool) -> SaId {
        let (src, dst) = if from_left { (self.left, self.right) } else { (self.right, self.left) };
        SaId { spi, protocol: self.protocol, src, dst, mark: Mark::NONE, if_id: IfId::NONE }
    }

    fn key_lengths(&self) -> (usize, usize) {
        let integrity = match self.integrity {
            None => 0,
            Some(I::AesXcbc96 | I::AesCmac96 | I::HmacMd5_96 | I::HmacMd5_128) => 16,
            Some(I::HmacSha1_96 | I::HmacSha1_160) => 20,
            Some(I::HmacSha2_384_192 | I::HmacSha2_384_384) => 48,
            Some(I::HmacSha2_512_256 | I::HmacSha2_512_512) => 64,
            Some(_) => 32,
        };
        let encryption = self.encryption.map_or(0, |algorithm| {
            Cipher::key_lengths(algorithm, self.integrity).map_or_else(
                // What only the kernel can do.
                || usize::from(algorithm.1.unwrap_or(64)) / 8,
                |lengths| lengths.encryption,
            )
        });
        (encryption, integrity)
    }

    fn add_sa(&self, side: &Side, spi: Spi, from_left: bool) -> std::result::Result<(), KernelError> {
        let direction = if from_left == side.is_left() { Direction::Out } else { Direction::In };
        let (left, right) = self.selectors();
        let (src_ts, dst_ts) = if from_left { (left, right) } else { (right, left) };
        let key: Vec<u8> = (1..).take(68).map(|i: u8| i.wrapping_mul(37) ^ u8::from(from_left)).collect();
        let (encryption, integrity) = self.key_lengths();
        side.plane.add_sa(&SaParams {
            id: self.id(spi, from_left),
            direction,
            reqid: Reqid::new(1).expect("not zero"),
            mode: self.mode,
            cpi: None,
            keys: KeyMaterial {
                encryption: self.encryption,
                encryption_key: &Secret::from(&key[..encryption]),
                integrity: self.integrity,
                integrity_key: &Secret::from(&key[..integrity]),
                esn: self.esn,
            },
            replay_window: 32,
            encap: self.udp.then_some(Encap { sport: 4500, dport: 4500 }),
            lifetimes: self.limits,
            src_ts: &src_ts,
            dst_ts: &dst_ts,
            tfc: TfcPadding::None,
            copying: Copying { df: true, ecn: true, dscp: CopyDscp::Out },
            set_mark: Mark::NONE,
            hw_offload: HwOffload::No,
            icmp: false,
            initiator: side.is_left(),
        })
    }

    fn selectors(&self) -> ([TrafficSelector; 1], [TrafficSelector; 1]) {
        let ts = |text: String| [TrafficSelector::parse(&text).expect("a selector")];
        match self.mode {
            Mode::Transport => (ts(self.left.to_string()), ts(self.right.to_string())),
            _ => (ts("10.1.0.0/16".to_owned()), ts("10.2.0.0/16".to_owned())),
        }
    }

    fn with_policies<R>(
        &self,
        side: &Side,
        direction: Direction,
        (class, spi): (PolicyClass, Option<Spi>),
        call: impl Fn(&PolicyParams<'_>) -> R,
    ) -> R {
        let (left, right) = self.selectors();
        let (local_ts, remote_ts) = if side.is_left() { (left, right) } else { (right, left) };
        let (local, remote) = if side.is_left() { (self.left, self.right) } else { (self.right, self.left) };
        call(&PolicyParams {
            ipcomp: false,
            direction,
            action: PolicyAction::Ipsec,
            class,
            priority: 0,
            local,
            remote,
            local_ts: &local_ts,
            remote_ts: &remote_ts,
            reqid: Reqid::new(1),
            spi,
            protocol: self.protocol,
            mode: self.mode,
            mark: Mark::NONE,
            if_id: IfId::NONE,
            interface: None,
            fwd_out: false,
            hw_offload: HwOffload::No,
        })
    }

    /// Both SAs and all policies on both sides.
    fn up(&self, left: &Side, right: &Side) -> Result<(Spi, Spi)> {
        let to_left = left.plane.allocate_spi(self.protocol, self.right, self.left)?;
        let to_right = right.plane.allocate_spi(self.protocol, self.left, self.right)?;
        for (side, spi_in, spi_out) in [(left, to_left, to_right), (right, to_right, to_left)] {
            self.add_sa(side, spi_in, !side.is_left())?;
            let policies = |direction, spi| {
                let add = |params: &PolicyParams<'_>| side.plane.add_policies(params);
                self.with_policies(side, direction, (PolicyClass::Default, Some(spi)), add)
            };
            policies(Direction::In, spi_in)?;
            self.add_sa(side, spi_out, side.is_left())?;
            policies(Direction::Out, spi_out)?;
        }
        Ok((to_left, to_right))
    }

    fn down(&self, left: &Side, right: &Side, (to_left, to_right): (Spi, Spi)) -> Result<()> {
        for (side, spi_in, spi_out) in [(left, to_left, to_right), (right, to_right, to_left)] {
            for (direction, spi) in [(Direction::Out, spi_out), (Direction::In, spi_in)] {
                let delete = |params: &PolicyParams<'_>| side.plane.delete_policies(params);
                self.with_policies(side, direction, (PolicyClass::Default, Some(spi)), delete)?;
                let from_left = (direction == Direction::Out) == side.is_left();
                side.plane.delete_sa(&self.id(spi, from_left))?;
            }
        }
        Ok(())
    }
}

fn sides(lab: &Lab) -> Result<(Side, Side)> {
    Ok((Side::start(&lab.left)?, Side::start(&lab.right)?))
}

fn assert_empty(side: &Side) -> Result<()> {
    assert_eq!(side.xfrm("state")?, "");
    assert_eq!(side.policies()?, "");
    assert_eq!(side.host.run(&["sh", "-c", "ip route show table 220 2>/dev/null || true"])?, "");
    Ok(())
}

#[test]
fn a_tunnel_carries_traffic_and_leaves_nothing() -> Result<()> {
    on_esp_kernel("a_tunnel_carries_traffic_and_leaves_nothing", || {
        let lab = Lab::direct("xfrm-tunnel")?;
        let (left, right) = sides(&lab)?;
        let tunnel = Tunnel::new(&lab);
        let spis = tunnel.up(&left, &right)?;
        let listed = left.policies()?;
        for line in ["dir out priority 383615", "dir fwd priority 383615", "dir in priority 383615"] {
            assert!(listed.contains(line), "{listed}");
        }
        let out = format!("proto esp spi 0x{} reqid 1 mode tunnel", spis.1);
        assert!(listed.contains(&out), "the outbound policy names its SA\n{listed}");
        let route = lab.left.run(&["ip", "route", "show", "table", "220"])?;
        assert_eq!(route.trim(), "10.2.0.0/16 via 192.0.2.2 dev eth0 proto static src 10.1.0.1");
        // Without a source address: the route provides it.
        assert_eq!(lab.left.run(&["ping", "-c", "2", "-W", "2", "10.2.0.1"])?.matches("icmp_seq").count(), 2);
        let usage = left.plane.query_sa(&tunnel.id(spis.0, false))?;
        assert_eq!((usage.packets, usage.bytes), (2, 168));
        assert!(usage.idle.is_some_and(|idle| idle < Duration::from_secs(5)), "{usage:?}");
        tunnel.down(&left, &right, spis)?;
        for side in [&left, &right] {
            assert_empty(side)?;
            side.plane.shut_down();
            assert!(!side.host.run(&["ip", "rule"])?.contains("lookup 220"));
        }
        assert_eq!(left.plane.query_sa(&tunnel.id(spis.0, false)), Err(KernelError::NotFound));
        Ok(())
    })
}

/// Every algorithm that the kernel has a name for, in both directions; the far end decrypts what this end encrypts.
#[test]
fn every_algorithm() -> Result<()> {
    on_esp_kernel("every_algorithm", || {
        let lab = Lab::direct("xfrm-alg")?;
        let (left, right) = sides(&lab)?;
        let base = Tunnel::new(&lab);
        let aead = [E::AesGcm8, E::AesGcm12, E::AesGcm16, E::AesCcm8, E::AesCcm12, E::AesCcm16, E::NullAesGmac];
        let aead = aead.map(|algorithm| (algorithm, Some(128), None));
        let ciphers = [
            (E::AesCbc, Some(192)),
            (E::AesCtr, Some(256)),
            (E::TripleDes, None),
            (E::Null, None),
            (E::CamelliaCbc, Some(128)),
            (E::Serpent, Some(128)),
            (E::Twofish, Some(128)),
            (E::Blowfish, Some(128)),
            (E::Cast, Some(128)),
            (E::Des, None),
        ];
        let ciphers = ciphers.map(|(algorithm, bits)| (algorithm, bits, Some(I::HmacSha2_256_128)));
        let macs = [
            I::HmacMd5_96,
            I::HmacMd5_128,
            I::HmacSha1_96,
            I::HmacSha1_160,
            I::HmacSha2_256_96,
            I::HmacSha2_256_128,
            I::HmacSha2_384_192,
            I::HmacSha2_512_256,
            I::AesXcbc96,
            I::AesCmac96,
        ];
        let macs = macs.map(|mac| (E::AesCbc, Some(128), Some(mac)));
        let chapoly = [(E::ChaCha20Poly1305, None, None)];
        let mut missing = Vec::new();
        for (algorithm, bits, integrity) in aead.into_iter().chain(chapoly).chain(ciphers).chain(macs) {
            let tunnel = Tunnel { encryption: Some((algorithm, bits)), integrity, ..base };
            match tunnel.up(&left, &right) {
                Ok(spis) => {
                    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 1)?, 1, "{algorithm} {integrity:?}");
                    tunnel.down(&left, &right, spis)?;
                }
                Err(error) => {
                    missing.push(format!("{algorithm}: {error}"));
                    left.host.run(&["ip", "xfrm", "state", "flush"])?;
                    right.host.run(&["ip", "xfrm", "state", "flush"])?;
                }
            }
        }
        assert_eq!(missing, [""; 0], "refused");
        assert_empty(&left)
    })
}

#[test]
fn modes_and_encapsulation() -> Result<()> {
    on_esp_kernel("modes_and_encapsulation", || {
        let lab = Lab::direct("xfrm-modes")?;
        let (left, right) = sides(&lab)?;
        let base = Tunnel::new(&lab);
        let cbc = Tunnel { encryption: Some((E::AesCbc, Some(128))), integrity: Some(I::HmacSha2_256_128), ..base };
        let ah = Tunnel { protocol: Protocol::Ah, encryption: None, ..cbc };
        let inner = (lab.left.inner, lab.right.inner);
        let outer = (lab.left.addr, lab.right.addr);
        for (name, tunnel, (from, to)) in [
            ("UDP", Tunnel { udp: true, ..base }, inner),
            ("ESN", Tunnel { esn: true, ..cbc }, inner),
            ("ESN with an AEAD in UDP", Tunnel { esn: true, udp: true, ..base }, inner),
            ("transport", Tunnel { mode: Mode::Transport, ..base }, outer),
            ("AH", ah, inner),
            ("AH transport", Tunnel { mode: Mode::Transport, ..ah }, outer),
        ] {
            let spis = tunnel.up(&left, &right).map_err(|error| format!("{name}: {error}"))?;
            assert_eq!(ping(&lab.left, from, to, 2)?, 2, "{name}");
            assert_eq!(right.plane.query_sa(&tunnel.id(spis.1, true))?.packets, 2, "{name}");
            tunnel.down(&left, &right, spis)?;
        }
        assert_empty(&left)
    })
}

#[test]
fn addresses_change_and_counters_stay() -> Result<()> {
    on_esp_kernel("addresses_change_and_counters_stay", || {
        let lab = Lab::direct("xfrm-move")?;
        let (left, right) = sides(&lab)?;
        let tunnel = Tunnel { udp: true, esn: true, ..Tunnel::new(&lab) };
        let (to_left, to_right) = tunnel.up(&left, &right)?;
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
        lab.left.run(&["ip", "addr", "add", "192.0.2.77/24", "dev", "eth0"])?;
        let new: IpAddr = [192, 0, 2, 77].into();
        for side in [&left, &right] {
            for (spi, from_left) in [(to_left, false), (to_right, true)] {
                let id = tunnel.id(spi, from_left);
                let (src, dst) = if from_left { (new, id.dst) } else { (id.src, new) };
                side.plane.update_sa(&SaUpdate { id, src, dst, encap: None })?;
                assert_eq!(side.plane.query_sa(&SaId { src, dst, ..id })?.packets, 2);
            }
        }
        let states = left.xfrm("state")?;
        assert!(states.contains("src 192.0.2.77 dst 192.0.2.2") && !states.contains("encap"), "{states}");
        assert!(states.contains("seq 0x2") || states.contains("oseq 0x2"), "replay state is kept\n{states}");
        let moved = Tunnel { left: new, udp: false, ..tunnel };
        for (side, spi_in, spi_out) in [(&left, to_left, to_right), (&right, to_right, to_left)] {
            for (direction, spi) in [(Direction::Out, spi_out), (Direction::In, spi_in)] {
                let class = (PolicyClass::Default, Some(spi));
                moved.with_policies(side, direction, class, |params| side.plane.add_policies(params))?;
                tunnel.with_policies(side, direction, class, |params| side.plane.delete_policies(params))?;
            }
        }
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
        assert_eq!(left.plane.query_sa(&moved.id(to_left, false))?.packets, 4);
        moved.down(&left, &right, (to_left, to_right))?;
        assert_empty(&left)
    })
}

#[test]
fn limits_are_reported() -> Result<()> {
    on_esp_kernel("limits_are_reported", || {
        let lab = Lab::direct("xfrm-limits")?;
        let (left, right) = sides(&lab)?;
        let base = Tunnel::new(&lab);
        let limit = SaLimit { soft: 2, hard: 4 };
        let bytes = SaLimit { soft: 150, hard: 300 };
        for (name, limits) in [
            ("packets", SaLifetimes { packets: limit, ..SaLifetimes::default() }),
            ("bytes", SaLifetimes { bytes, ..SaLifetimes::default() }),
            ("time", SaLifetimes { time: limit, ..SaLifetimes::default() }),
        ] {
            let tunnel = Tunnel { limits, ..base };
            let (to_left, to_right) = tunnel.up(&left, &right)?;
            ping(&lab.left, lab.left.inner, lab.right.inner, 6)?;
            let mut soft = Vec::new();
            let mut hard = Vec::new();
            while hard.len() < 2 {
                match left.event().map_err(|error| format!("{name}: {error}, soft {soft:?}, hard {hard:?}"))? {
                    KernelEvent::Expire { spi, hard: false, .. } => soft.push(spi),
                    KernelEvent::Expire { spi, hard: true, .. } => hard.push(spi),
                    // Packets after the end of the SA.
                    KernelEvent::Acquire { .. } => {}
                    other => return Err(format!("{name}: {other:?}").into()),
                }
                if name != "time" && hard.len() == 1 {
                    break;
                }
            }
            assert!(soft.contains(&to_left) || soft.contains(&to_right), "{name}: {soft:?}");
            assert!(hard.iter().all(|spi| soft.contains(spi)), "{name}: soft {soft:?} before hard {hard:?}");
            for side in [&left, &right] {
                for direction in [Direction::Out, Direction::In] {
                    let spi = if (direction == Direction::In) == side.is_left() { to_left } else { to_right };
                    let delete = |params: &PolicyParams<'_>| side.plane.delete_policies(params);
                    tunnel.with_policies(side, direction, (PolicyClass::Default, Some(spi)), delete)?;
                    let _expired = side.plane.delete_sa(&tunnel.id(spi, spi == to_right));
                }
                side.host.run(&["ip", "xfrm", "state", "flush"])?;
            }
            while left.events.try_recv().is_ok() {}
        }
        Ok(())
    })
}

#[test]
fn a_trap_is_hit_and_waits_behind_its_child() -> Result<()> {
    on_esp_kernel("a_trap_is_hit_and_waits_behind_its_child", || {
        let lab = Lab::direct("xfrm-trap")?;
        let (left, right) = sides(&lab)?;
        let tunnel = Tunnel::new(&lab);
        let trap = (PolicyClass::Routed, None);
        for direction in [Direction::Out, Direction::In] {
            tunnel.with_policies(&left, direction, trap, |params| left.plane.add_policies(params))?;
        }
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 0);
        let KernelEvent::Acquire { reqid, source, destination } = left.event()? else {
            return Err("no acquire".into());
        };
        assert_eq!(
            (reqid.get(), source.to_string(), destination.to_string()),
            (1, "10.1.0.1/32[icmp/8]".to_owned(), "10.2.0.1/32[icmp/8]".to_owned(),)
        );
        assert!(left.events.try_recv().is_err(), "one acquire for many packets");
        let spis = tunnel.up(&left, &right)?;
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
        tunnel.down(&left, &right, spis)?;
        let listed = left.policies()?;
        assert_eq!(listed.matches("priority 383616").count(), 3, "the trap is back\n{listed}");
        for direction in [Direction::Out, Direction::In] {
            tunnel.with_policies(&left, direction, trap, |params| left.plane.delete_policies(params))?;
        }
        left.host.run(&["ip", "xfrm", "state", "flush"])?;
        assert_empty(&left)
    })
}

/// A policy for everything between two hosts does not keep IKE's sockets from talking.
#[test]
fn ike_sockets_bypass_policies() -> Result<()> {
    on_esp_kernel("ike_sockets_bypass_policies", || {
        let lab = Lab::direct("xfrm-bypass")?;
        let (left, _right) = sides(&lab)?;
        let tunnel = Tunnel { mode: Mode::Transport, ..Tunnel::new(&lab) };
        for direction in [Direction::Out, Direction::In] {
            let trap = (PolicyClass::Routed, None);
            tunnel.with_policies(&left, direction, trap, |params| left.plane.add_policies(params))?;
        }
        assert_eq!(ping(&lab.left, lab.left.addr, lab.right.addr, 1)?, 0, "everything else is trapped");
        let peer = lab.right.inside(|| Ok(std::net::UdpSocket::bind("192.0.2.2:5555")?))?;
        peer.set_read_timeout(Some(Duration::from_secs(5)))?;
        let clones = left._sockets.clones()?;
        let socket = clones.plain.iter().find(|socket| socket.local_addr().is_ok_and(|local| local.is_ipv4()));
        let socket = socket.ok_or("no IPv4 socket")?;
        socket.send_to(b"out", "192.0.2.2:5555")?;
        let mut buffer = [0; 16];
        let (length, from) = peer.recv_from(&mut buffer)?;
        assert_eq!((&buffer[..length], from.port()), (&b"out"[..], 500));
        peer.send_to(b"in", from)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let (length, _) = socket.recv_from(&mut buffer)?;
        assert_eq!(&buffer[..length], b"in");
        Ok(())
    })
}
