//! Two userspace data planes with static keys in network namespaces: traffic, rekeying, events, and what they leave
//! behind.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use charon::kernel::KernelEvent;
use charon::kernel::userspace::{Userspace, UserspaceSettings};
use charon::net::{EspSink, SocketSettings, Sockets};
use ike::config::{CopyDscp, HwOffload, Mode, TfcPadding};
use ike::ids::{IfId, Mark, Reqid, Spi};
use ike::kernel::{
    Copying, Direction, Encap, Kernel, KernelError, KeyMaterial, PolicyAction, PolicyClass, PolicyParams, SaId,
    SaLifetimes, SaLimit, SaParams, SaUpdate,
};
use strongswan::crypto::{Cipher, EncryptionAlgorithm, IntegrityAlgorithm, Protocol, Secret};
use strongswan::selectors::TrafficSelector;
use testsuite::lab::{Host, Lab};
use testsuite::traffic::{Stream, ping, tcp_transfer};
use testsuite::{Result, wait_for};

type KernelResult = std::result::Result<(), KernelError>;

/// A data plane on a host, with threads in the place of the daemon's receiver.
struct Side {
    plane: Arc<Userspace>,
    host: Host,
    events: mpsc::Receiver<KernelEvent>,
    stop: Arc<AtomicBool>,
    receivers: Vec<JoinHandle<()>>,
}

impl Side {
    fn start(host: &Host, settings: &UserspaceSettings) -> Result<Self> {
        let (report, events) = mpsc::channel();
        let (plane, sockets) = host.inside(|| {
            let sockets = Sockets::open(&SocketSettings::default())?;
            let sink = Arc::new(move |event| drop(report.send(event)));
            let plane = Userspace::start(settings.clone(), sockets.clones()?.nat_t, sink)?;
            Ok((Arc::new(plane), sockets.clones()?.nat_t))
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let receive = |socket| {
            let (plane, stop) = (Arc::clone(&plane), Arc::clone(&stop));
            std::thread::spawn(move || receive(&socket, &plane, &stop))
        };
        let receivers = sockets.into_iter().map(receive).collect();
        Ok(Self { plane, host: host.clone(), events, stop, receivers })
    }

    fn event(&self) -> Result<KernelEvent> {
        Ok(self.events.recv_timeout(Duration::from_secs(5))?)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for receiver in self.receivers.drain(..) {
            receiver.join().expect("the receiver does not panic");
        }
    }
}

fn receive(socket: &UdpSocket, plane: &Userspace, stop: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
    let local = socket.local_addr().expect("the socket is bound");
    let mut buffer = vec![0; 65536];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, remote)) = socket.recv_from(&mut buffer) {
            plane.receive_esp(local, remote, None, &mut buffer[..length]);
        }
    }
}

/// What a tunnel is made of.
#[derive(Clone, Copy)]
struct Tunnel {
    left: IpAddr,
    right: IpAddr,
    udp: bool,
    esn: bool,
    encryption: (EncryptionAlgorithm, Option<u16>),
    integrity: Option<IntegrityAlgorithm>,
    packets: SaLimit,
}

impl Tunnel {
    fn new(left: IpAddr, right: IpAddr) -> Self {
        Self {
            left,
            right,
            udp: true,
            esn: false,
            encryption: (EncryptionAlgorithm::AesGcm16, Some(256)),
            integrity: None,
            packets: SaLimit::default(),
        }
    }

    fn id(&self, spi: u32, from_left: bool) -> SaId {
        let (src, dst) = if from_left { (self.left, self.right) } else { (self.right, self.left) };
        let spi = Spi::new(spi).expect("an SPI that is not reserved");
        SaId { spi, protocol: Protocol::Esp, src, dst, mark: Mark::NONE, if_id: IfId::NONE }
    }

    /// Installs the SA with this SPI at one end.
    fn add_sa(&self, side: &Side, spi: u32, from_left: bool) -> KernelResult {
        let direction = if from_left == (side.host.role == "left") { Direction::Out } else { Direction::In };
        let (left, right) = networks();
        let (src_ts, dst_ts) = if from_left { (left, right) } else { (right, left) };
        let key: Vec<u8> = (1..).take(48).map(|i: u8| i ^ u8::from(from_left)).collect();
        let lengths = Cipher::key_lengths(self.encryption, self.integrity).expect("a supported suite");
        side.plane.add_sa(&SaParams {
            id: self.id(spi, from_left),
            direction,
            reqid: Reqid::new(1).expect("not zero"),
            mode: Mode::Tunnel,
            cpi: None,
            keys: KeyMaterial {
                encryption: Some(self.encryption),
                encryption_key: &Secret::from(&key[..lengths.encryption]),
                integrity: self.integrity,
                integrity_key: &Secret::from(&key[..lengths.integrity]),
                esn: self.esn,
            },
            replay_window: 32,
            encap: self.udp.then_some(Encap { sport: 4500, dport: 4500 }),
            lifetimes: SaLifetimes { packets: self.packets, ..SaLifetimes::default() },
            src_ts: &src_ts,
            dst_ts: &dst_ts,
            tfc: TfcPadding::None,
            copying: Copying { df: true, ecn: true, dscp: CopyDscp::Out },
            set_mark: Mark::NONE,
            hw_offload: HwOffload::No,
            icmp: false,
            initiator: from_left,
        })
    }

    /// The outbound policies of one end between two lists of networks.
    fn params<'a>(
        &self,
        side: &Side,
        local_ts: &'a [TrafficSelector],
        remote_ts: &'a [TrafficSelector],
    ) -> PolicyParams<'a> {
        let from_left = side.host.role == "left";
        let (local, remote) = if from_left { (self.left, self.right) } else { (self.right, self.left) };
        PolicyParams {
            ipcomp: false,
            direction: Direction::Out,
            action: PolicyAction::Ipsec,
            class: PolicyClass::Default,
            priority: 0,
            local,
            remote,
            local_ts,
            remote_ts,
            reqid: Reqid::new(1),
            spi: None,
            protocol: Protocol::Esp,
            mode: Mode::Tunnel,
            mark: Mark::NONE,
            if_id: IfId::NONE,
            interface: None,
            fwd_out: false,
            hw_offload: HwOffload::No,
        }
    }

    /// Installs or removes the policies of one end.
    fn policies(&self, side: &Side, add: bool) -> KernelResult {
        let (left, right) = networks();
        let (local, remote) = if side.host.role == "left" { (left, right) } else { (right, left) };
        let params = self.params(side, &local, &remote);
        if add { side.plane.add_policies(&params) } else { side.plane.delete_policies(&params) }
    }

    /// Both SAs and the policies at both ends.
    fn establish(&self, left: &Side, right: &Side, spi: u32) -> Result<()> {
        for side in [left, right] {
            self.add_sa(side, spi, true)?;
            self.add_sa(side, spi + 1, false)?;
            self.policies(side, true)?;
        }
        Ok(())
    }
}

fn networks() -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
    let parse = |texts: [&str; 2]| texts.map(|text| TrafficSelector::parse(text).expect("a selector")).to_vec();
    (parse(["10.1.0.0/16", "fd01::/64"]), parse(["10.2.0.0/16", "fd02::/64"]))
}

fn sides(lab: &Lab, settings: &UserspaceSettings) -> Result<(Side, Side)> {
    Ok((Side::start(&lab.left, settings)?, Side::start(&lab.right, settings)?))
}

fn traffic_passes(lab: &Lab) -> Result<()> {
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 3)?, 3);
    assert_eq!(ping(&lab.right, lab.right.inner6, lab.left.inner6, 3)?, 3);
    tcp_transfer((&lab.left, lab.left.inner), (&lab.right, lab.right.inner), 10 << 20)?;
    tcp_transfer((&lab.right, lab.right.inner6), (&lab.left, lab.left.inner6), 10 << 20)
}

#[test]
fn esp_in_udp_carries_both_families() -> Result<()> {
    let lab = Lab::direct("esp-udp")?;
    let (left, right) = sides(&lab, &UserspaceSettings::default())?;
    let tunnel = Tunnel::new(lab.left.addr, lab.right.addr);
    tunnel.establish(&left, &right, 0xc000_0001)?;
    traffic_passes(&lab)?;
    let sent = left.plane.query_sa(&tunnel.id(0xc000_0001, true))?;
    let received = right.plane.query_sa(&tunnel.id(0xc000_0001, true))?;
    assert!(sent.bytes > 10 << 20 && sent.packets >= received.packets && received.idle.is_some(), "{sent:?}");
    Ok(())
}

#[test]
fn raw_esp_over_ipv6_with_extended_sequence_numbers() -> Result<()> {
    let lab = Lab::direct("esp-raw6")?;
    let settings = UserspaceSettings { raw_esp: true, ..UserspaceSettings::default() };
    let (left, right) = sides(&lab, &settings)?;
    let mut tunnel = Tunnel::new("2001:db8::1".parse()?, "2001:db8::2".parse()?);
    (tunnel.udp, tunnel.esn) = (false, true);
    tunnel.establish(&left, &right, 0xc000_0001)?;
    traffic_passes(&lab)
}

#[test]
fn raw_esp_over_ipv4_with_cbc() -> Result<()> {
    let lab = Lab::direct("esp-raw4")?;
    let settings = UserspaceSettings { raw_esp: true, ..UserspaceSettings::default() };
    let (left, right) = sides(&lab, &settings)?;
    let mut tunnel = Tunnel::new(lab.left.addr, lab.right.addr);
    tunnel.udp = false;
    tunnel.encryption = (EncryptionAlgorithm::AesCbc, Some(128));
    tunnel.integrity = Some(IntegrityAlgorithm::HmacSha2_256_128);
    tunnel.establish(&left, &right, 0xc000_0001)?;
    traffic_passes(&lab)
}

#[test]
fn raw_esp_is_refused_unless_enabled() -> Result<()> {
    let lab = Lab::direct("esp-refuse")?;
    let side = Side::start(&lab.left, &UserspaceSettings::default())?;
    let mut tunnel = Tunnel::new(lab.left.addr, lab.right.addr);
    tunnel.udp = false;
    assert_eq!(tunnel.add_sa(&side, 0xc000_0001, true), Err(KernelError::NotSupported));
    Ok(())
}

#[test]
fn rekeying_under_traffic_loses_nothing() -> Result<()> {
    let lab = Lab::direct("esp-rekey")?;
    let (left, right) = sides(&lab, &UserspaceSettings::default())?;
    let tunnel = Tunnel::new(lab.left.addr, lab.right.addr);
    tunnel.establish(&left, &right, 0xc000_0001)?;
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 1)?, 1);
    let there = Stream::start((&lab.left, lab.left.inner), (&lab.right, lab.right.inner))?;
    let back = Stream::start((&lab.right, lab.right.inner), (&lab.left, lab.left.inner))?;
    let mut old = 0xc000_0001;
    for spi in (0xc000_0101..).step_by(0x100).take(10) {
        // As in IKE: each end receives on the new SAs before anyone sends on them, and the policies of the new
        // CHILD_SA are there before those of the old one go.
        tunnel.add_sa(&right, spi, true)?;
        tunnel.add_sa(&left, spi + 1, false)?;
        for (side, from_left, offset) in [(&left, true, 0), (&right, false, 1)] {
            tunnel.add_sa(side, spi + offset, from_left)?;
            tunnel.policies(side, true)?;
            tunnel.policies(side, false)?;
            side.plane.delete_sa(&tunnel.id(old + offset, from_left))?;
        }
        std::thread::sleep(Duration::from_millis(100));
        right.plane.delete_sa(&tunnel.id(old, true))?;
        left.plane.delete_sa(&tunnel.id(old + 1, false))?;
        old = spi;
    }
    for stream in [there, back] {
        let balance = stream.finish()?;
        assert!(balance.sent > 100);
        assert_eq!(balance.sent, balance.received);
    }
    Ok(())
}

#[test]
fn limits_acquires_and_new_mappings_are_reported() -> Result<()> {
    let lab = Lab::direct("esp-events")?;
    let (left, right) = sides(&lab, &UserspaceSettings::default())?;
    let mut tunnel = Tunnel::new(lab.left.addr, lab.right.addr);
    tunnel.packets = SaLimit { soft: 2, hard: 4 };

    tunnel.policies(&left, true)?;
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 0);
    let KernelEvent::Acquire { reqid, source, destination } = left.event()? else { panic!("an acquire comes first") };
    assert_eq!((Some(reqid), source.protocol()), (Reqid::new(1), 1));
    assert!(source.is_host(Some(lab.left.inner)) && destination.is_host(Some(lab.right.inner)));

    tunnel.add_sa(&left, 0xc000_0001, true)?;
    tunnel.add_sa(&right, 0xc000_0001, true)?;
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 6)?, 0, "nothing leads back");
    for side in [&left, &right] {
        for hard in [false, true] {
            let (spi, destination) = (Spi::new(0xc000_0001).ok_or("spi")?, lab.right.addr);
            assert_eq!(side.event()?, KernelEvent::Expire { protocol: Protocol::Esp, spi, destination, hard });
        }
    }
    assert_eq!(right.plane.query_sa(&tunnel.id(0xc000_0001, true))?.packets, 4);
    assert!(matches!(left.event()?, KernelEvent::Acquire { .. }), "the SA is gone for good");

    // The sender's port is not the one that the receiver expects.
    tunnel.packets = SaLimit::default();
    tunnel.add_sa(&left, 0xc000_0003, true)?;
    tunnel.add_sa(&right, 0xc000_0003, true)?;
    let id = tunnel.id(0xc000_0003, true);
    let encap = Some(Encap { sport: 1025, dport: 4500 });
    right.plane.update_sa(&SaUpdate { id, src: id.src, dst: id.dst, encap })?;
    ping(&lab.left, lab.left.inner, lab.right.inner, 2)?;
    let (spi, destination, remote) = (id.spi, id.dst, (lab.left.addr, 4500).into());
    assert_eq!(right.event()?, KernelEvent::Mapping { protocol: Protocol::Esp, spi, destination, remote });
    Ok(())
}

#[test]
fn a_moved_sa_sends_elsewhere_and_can_still_be_deleted() -> Result<()> {
    let lab = Lab::direct("esp-move")?;
    let (left, right) = sides(&lab, &UserspaceSettings::default())?;
    let tunnel = Tunnel::new(lab.left.addr, lab.right.addr);
    tunnel.establish(&left, &right, 0xc000_0001)?;
    let moved = Tunnel::new("2001:db8::1".parse()?, "2001:db8::2".parse()?);
    let encap = Some(Encap { sport: 4500, dport: 4500 });
    for side in [&left, &right] {
        for (spi, from_left) in [(0xc000_0001, true), (0xc000_0002, false)] {
            let SaId { src, dst, .. } = moved.id(spi, from_left);
            side.plane.update_sa(&SaUpdate { id: tunnel.id(spi, from_left), src, dst, encap })?;
        }
    }
    // The address that the SAs were installed with is gone, but their names are not.
    lab.left.run(&["ip", "addr", "del", "192.0.2.1/24", "dev", "eth0"])?;
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 3)?, 3);
    for (spi, from_left) in [(0xc000_0001, true), (0xc000_0002, false)] {
        left.plane.delete_sa(&moved.id(spi, from_left))?;
        assert_eq!(left.plane.delete_sa(&moved.id(spi, from_left)), Err(KernelError::NotFound));
    }
    right.plane.delete_sa(&tunnel.id(0xc000_0002, false))?;
    Ok(())
}

#[test]
fn everything_through_the_tunnel_leaves_our_own_packets_outside() -> Result<()> {
    let lab = Lab::direct("esp-all")?;
    let (left, right) = sides(&lab, &UserspaceSettings::default())?;
    let tunnel = Tunnel::new(lab.left.addr, lab.right.addr);
    tunnel.establish(&left, &right, 0xc000_0001)?;
    lab.left.run(&["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1"])?;
    let (local, everything) = (networks().0, [TrafficSelector::parse("0.0.0.0/0")?]);
    let params = tunnel.params(&left, &local, &everything);
    left.plane.add_policies(&params)?;
    let routes = || lab.left.run(&["ip", "route", "show", "table", "220"]);
    let during = routes()?;
    assert!(during.contains("default dev ipsec0") && during.contains("192.0.2.2 dev eth0"), "{during}");
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 3)?, 3);
    // A tunnel for the peer alone takes everything but our own packets. A strict filter would not let them back in.
    lab.left.run(&["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2", "net.ipv4.conf.eth0.rp_filter=2"])?;
    let host = [TrafficSelector::parse("192.0.2.2")?];
    let to_peer = tunnel.params(&left, &everything, &host);
    left.plane.add_policies(&to_peer)?;
    assert!(routes()?.contains("192.0.2.2 dev ipsec0"));
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 1)?, 1);
    left.plane.delete_policies(&to_peer)?;
    assert_eq!(routes()?, during);
    left.plane.delete_policies(&params)?;
    let after = routes()?;
    assert!(!after.contains("default"), "{after}");
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 1)?, 1);
    Ok(())
}

#[test]
fn shunts_bypass_the_tunnel_or_drop() -> Result<()> {
    let lab = Lab::direct("esp-shunt")?;
    let (left, right) = sides(&lab, &UserspaceSettings::default())?;
    let tunnel = Tunnel::new(lab.left.addr, lab.right.addr);
    tunnel.establish(&left, &right, 0xc000_0001)?;
    lab.left.run(&["ip", "addr", "add", "10.1.0.2/32", "dev", "lo"])?;
    lab.left.run(&["ip", "route", "add", "10.2.0.0/16", "via", "192.0.2.2"])?;
    lab.right.run(&["ip", "route", "add", "10.1.0.2/32", "via", "192.0.2.1", "table", "220"])?;
    let (passing, dropped) = ([TrafficSelector::parse("10.1.0.2")?], [TrafficSelector::parse("10.1.0.1[icmp]")?]);
    let remote = [TrafficSelector::parse("10.2.0.0/16[icmp]")?];
    let second = passing[0].start();
    let outside = || -> Result<u64> { Ok(left.plane.query_sa(&tunnel.id(0xc000_0001, true))?.packets) };

    let before = outside()?;
    let pass = |ts| PolicyParams {
        action: PolicyAction::Pass,
        class: PolicyClass::Pass,
        reqid: None,
        mode: Mode::Pass,
        ..tunnel.params(&left, ts, &remote)
    };
    left.plane.add_policies(&pass(&passing))?;
    assert_eq!(ping(&lab.left, second, lab.right.inner, 2)?, 2);
    assert_eq!(outside()?, before, "bypassed");
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
    assert_eq!(outside()?, before + 2, "protected");
    left.plane.delete_policies(&pass(&passing))?;
    assert_eq!(left.plane.delete_policies(&pass(&passing)), Err(KernelError::NotFound));
    ping(&lab.left, second, lab.right.inner, 1)?;
    assert_eq!(outside()?, before + 3, "protected again");

    let drop = PolicyParams { action: PolicyAction::Drop, mode: Mode::Drop, ..pass(&dropped) };
    left.plane.add_policies(&drop)?;
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 1)?, 0);
    tcp_transfer((&lab.left, lab.left.inner), (&lab.right, lab.right.inner), 1000)?;
    left.plane.delete_policies(&drop)?;
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 1)?, 1);
    Ok(())
}

/// Time that this process has kept a processor busy.
fn processor_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no end of the name")?;
    // proc_pid_stat(5): utime and stime, the 14th and 15th field, in hundredths of a second.
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

#[test]
fn a_device_that_somebody_deleted_costs_no_time() -> Result<()> {
    let lab = Lab::direct("esp-gone")?;
    let plane = lab.left.inside(|| Ok(Userspace::start(UserspaceSettings::default(), vec![], Arc::new(|_| {}))?))?;
    lab.left.run(&["ip", "link", "del", plane.device()])?;
    let before = processor_time()?;
    std::thread::sleep(Duration::from_secs(1));
    let busy = processor_time()? - before;
    assert!(busy < Duration::from_millis(100), "{busy:?}");
    Ok(())
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    let lab = Lab::direct("esp-clean")?;
    let look = || -> Result<String> {
        let mut all = String::new();
        for family in ["-4", "-6"] {
            all += &lab.left.run(&["ip", family, "rule"])?;
            all += &lab.left.run(&["ip", family, "route", "show", "table", "all"])?;
        }
        Ok(all + &lab.left.run(&["ls", "/sys/class/net"])?)
    };
    // Addresses settle a moment after the wire comes up.
    wait_for("the link-local address", 5, || Ok(look()?.contains("local fe80::")))?;
    let before = look()?;
    let left = Side::start(&lab.left, &UserspaceSettings::default())?;
    assert_eq!(left.plane.device(), "ipsec0");
    let second = lab.left.inside(|| Ok(Userspace::start(UserspaceSettings::default(), vec![], Arc::new(|_| {}))?))?;
    assert_eq!(second.device(), "ipsec1", "two daemons may share a namespace");
    drop(second);

    let tunnel = Tunnel::new(lab.left.addr, lab.right.addr);
    tunnel.add_sa(&left, 0xc000_0001, true)?;
    tunnel.policies(&left, true)?;
    let during = look()?;
    assert!(during.contains("10.2.0.0/16 dev ipsec0 table 220 proto static src 10.1.0.1"), "{during}");
    assert!(during.contains("fd02::/64 dev ipsec0 table 220 proto static src fd01::1"), "{during}");
    tunnel.policies(&left, false)?;
    assert!(!look()?.contains("10.2.0.0/16"), "the route went with the policy");
    tunnel.policies(&left, true)?;
    left.plane.shut_down();
    assert!(!look()?.contains("table 220") && !look()?.contains("lookup 220"), "even while somebody holds the plane");
    drop(left);
    assert_eq!(look()?, before);
    Ok(())
}
