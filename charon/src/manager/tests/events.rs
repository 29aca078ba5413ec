//! What the data plane notices reaches IKE_SAs and makes them do something about it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use ike::kernel::Direction;
use ike::{Event, IkeSa};
use strongswan::selectors::TrafficSelector;

use super::*;
use crate::bus::Listener;
use crate::kernel::fake::FakeSa;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// Counts how often peers moved.
#[derive(Default)]
struct Moves(AtomicUsize);

impl Listener for Moves {
    fn event(&self, _: &IkeSa, event: &Event) {
        if matches!(event, Event::IkeUpdate { .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Node {
    fn watch_moves(&self) -> Arc<Moves> {
        let moves = Arc::<Moves>::default();
        self.bus.add(Arc::<Moves>::clone(&moves));
        moves
    }

    /// Our address and the peer's of the one IKE_SA.
    fn hosts(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self.manager().snapshot(self.only(), SOON) {
            Snapshot::Taken(sa) => Some((sa.local, sa.remote)),
            Snapshot::Busy | Snapshot::Gone => None,
        }
    }

    fn sa(&self, direction: Direction) -> FakeSa {
        self.kernel.sas().into_iter().find(|sa| sa.direction == direction).unwrap()
    }
}

fn at_home() -> (Node, Node, Arc<PeerConfig>) {
    let (left, right, config) = pair();
    left.kernel.set_addresses(vec![HOME]);
    right.kernel.set_addresses(vec![HOME]);
    (left, right, config)
}

/// Waits until both find the CHILD_SA by its name and its SAs.
fn both_know(left: &Node, right: &Node) {
    let knows = |node: &Node| node.manager().child_sas_named("one").len() == 1 && node.kernel.counts().1 == 2;
    eventually("both have the CHILD_SA", || knows(left) && knows(right));
}

#[test]
fn a_host_that_roams_moves_its_sas_once() {
    let (left, right, config) = at_home();
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
    both_know(&left, &right);
    // a first roam event, of the addresses that are new to the fakes, has passed
    std::thread::sleep(Duration::from_millis(150));
    let (mine, theirs) = (left.watch_moves(), right.watch_moves());
    let spis = |node: &Node| {
        let mut spis: Vec<_> = node.kernel.sas().iter().map(|sa| sa.spi.get()).collect();
        spis.sort_unstable();
        spis
    };
    let before = spis(&left);
    for n in 0..10 {
        left.kernel.set_addresses(if n % 2 == 0 { vec![] } else { vec![ELSEWHERE] });
    }
    eventually("the peer follows", || right.hosts().is_some_and(|(_, remote)| remote.ip() == ELSEWHERE));
    eventually("both rest", || [&left, &right].iter().all(|node| node.states() == [IkeSaState::Established]));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((mine.0.load(Ordering::Relaxed), theirs.0.load(Ordering::Relaxed)), (1, 1), "ten changes are one move");
    assert_eq!(left.hosts().unwrap().0.ip(), ELSEWHERE);
    assert_eq!(left.sa(Direction::Out).src, ELSEWHERE);
    assert_eq!(right.sa(Direction::Out).dst, ELSEWHERE);
    assert_eq!(spis(&left), before, "they are the same SAs");
    assert_eq!(left.initiate(&config, Some("two")), Completion::Success);
}

#[test]
fn a_host_that_loses_its_way_moves_when_it_has_one_again() {
    let (left, right, config) = at_home();
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
    let (_, peer) = left.hosts().unwrap();
    left.kernel.set_reachable(peer.ip(), false);
    std::thread::sleep(Duration::from_millis(150));
    left.kernel.set_addresses(vec![ELSEWHERE]);
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(right.hosts().unwrap().1.ip(), HOME, "there is no way to tell");
    left.kernel.set_reachable(peer.ip(), true);
    eventually("the peer follows", || right.hosts().is_some_and(|(_, remote)| remote.ip() == ELSEWHERE));
}

#[test]
fn an_sa_that_expires_is_replaced_in_time_or_at_least_afterwards() {
    let (left, right, config) = at_home();
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
    both_know(&left, &right);
    let old = left.sa(Direction::In);
    left.kernel.expire(&old, false);
    eventually("a successor", || left.manager().child_sas_named("one").len() == 2);
    let successor = left.kernel.sas().into_iter().find(|sa| sa.direction == Direction::Out).unwrap();
    assert_ne!(successor.spi, old.spi);

    let (left, right, config) = at_home();
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
    both_know(&left, &right);
    let old = left.sa(Direction::Out);
    left.kernel.expire(&old, true);
    eventually("another CHILD_SA", || {
        let sas = left.kernel.sas();
        sas.len() == 2 && sas.iter().all(|sa| sa.spi != old.spi) && right.kernel.counts().1 == 2
    });
}

#[test]
fn a_packet_that_hits_a_trap_brings_the_child_up() {
    let (left, right, config) = at_home();
    let traps = left.controller.traps();
    traps.install(&config, config.child("two").unwrap()).unwrap();
    let PolicyKind::Trap(reqid) = traps.traps().remove(0).kind else { panic!("no trap") };
    let packet = |text: &str| TrafficSelector::parse(text).unwrap();
    left.kernel.acquire(reqid, packet("10.2.0.1[udp/4000]"), packet("10.2.0.2[udp/5000]"));
    eventually("SAs", || left.kernel.sas().len() == 2 && right.kernel.sas().len() == 2);
    assert_eq!(left.manager().child_sas_named("two").len(), 1);
    assert!(left.kernel.sas().iter().all(|sa| sa.reqid == reqid), "those of the trap");
}

#[test]
fn a_nat_that_maps_anew_moves_the_peer() {
    let (left, right) = (Node::new(ManagerSettings::default()), Node::new(ManagerSettings::default()));
    // what makes the responder see a NAT
    let config = left.load_with("gw", &right, &[("encap", "yes"), ("mobike", "no")]);
    right.load_with("gw", &left, &[("mobike", "no")]);
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
    both_know(&left, &right);
    let mapped = SocketAddr::new(ELSEWHERE, left.port);
    right.kernel.map(&right.sa(Direction::In), mapped);
    eventually("it follows", || right.hosts().is_some_and(|(_, remote)| remote == mapped));
    assert_eq!(right.sa(Direction::Out).dst, ELSEWHERE);
}
