//! Road warriors: virtual IPs and attributes by the configuration payload (RFC 7296 §2.19, §3.15).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{Action, ChildConfig, IkeLifetimes};
use ike::wire::{CpAttribute, CpAttributeType, ExchangeType};
use ike::{Alert, Event, IkeSaState, Input};
use strongswan::selectors::TrafficSelector;

use crate::sim::net::{Conditions, Fate};
use crate::sim::{A, B, Sim};

const VIP: &str = "10.77.0.1";
const VIP6: &str = "fd77::1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ts(text: &str) -> Vec<TrafficSelector> {
    vec![TrafficSelector::parse(text).unwrap()]
}

/// Moon asks for `vips`, sun has a pool with `addresses`; the CHILD_SA is between moon and a net behind sun.
pub fn road_warrior_of(mut sim: Sim, vips: &[&str], addresses: &[&str]) -> Sim {
    sim.configure_host(A, |peer| {
        peer.vips = vips.iter().copied().map(ip).collect();
        let child = &peer.children[0];
        let child = ChildConfig { local_ts: ts("dynamic"), remote_ts: ts("10.2.0.0/16"), ..ChildConfig::clone(child) };
        peer.children[0] = Arc::new(child);
    });
    sim.configure_host(B, |peer| {
        peer.pools = vec!["rw".into()];
        let child = &peer.children[0];
        let child = ChildConfig { local_ts: ts("10.2.0.0/16"), remote_ts: ts("dynamic"), ..ChildConfig::clone(child) };
        peer.children[0] = Arc::new(child);
    });
    sim.hosts[B].pools.addresses = addresses.iter().copied().map(ip).collect();
    sim.hosts[B].pools.attributes = vec![
        CpAttribute::new(CpAttributeType::InternalIp4Dns, &[10, 2, 0, 53]),
        CpAttribute::new(CpAttributeType::InternalDnsDomain, b"example.org"),
    ];
    sim
}

pub fn road_warrior(vips: &[&str], addresses: &[&str]) -> Sim {
    road_warrior_of(Sim::pair(), vips, addresses)
}

fn established() -> Sim {
    let mut sim = road_warrior(&["0.0.0.0"], &[VIP]);
    sim.establish();
    assert_assigned(&sim);
    sim
}

/// Both ends have the one virtual IP, and the one CHILD_SA is for it.
#[track_caller]
fn assert_assigned(sim: &Sim) {
    sim.assert_established(1, 1);
    let (a, b) = (&sim.hosts[A].snapshots()[0], &sim.hosts[B].snapshots()[0]);
    assert_eq!((&a.local_vips, &a.remote_vips), (&vec![ip(VIP)], &vec![]));
    assert_eq!((&b.local_vips, &b.remote_vips), (&vec![], &vec![ip(VIP)]));
    assert_eq!((&a.children[0].local_ts, &a.children[0].remote_ts), (&ts(VIP), &ts("10.2.0.0/16")));
    assert_eq!((&b.children[0].local_ts, &b.children[0].remote_ts), (&ts("10.2.0.0/16"), &ts(VIP)));
    assert_eq!(sim.hosts[A].handlers.handled.lock().unwrap().len(), 1);
}

#[track_caller]
fn assert_refused(sim: &Sim, notify: &str) {
    for host in [A, B] {
        let snapshot = &sim.hosts[host].snapshots()[0];
        assert_eq!(snapshot.state, IkeSaState::Established);
        assert!(snapshot.children.is_empty() && snapshot.remote_vips.is_empty() && snapshot.local_vips.is_empty());
    }
    sim.assert(sim.trace.contains(&format!("received {notify} notify, no CHILD_SA built")), "log of the client");
    sim.assert(sim.trace.contains("configuration payload negotiation failed, no CHILD_SA built"), "log of the gateway");
    assert_eq!(sim.events(B, |event| matches!(event, Event::Alert(Alert::VipFailure))), 1);
    assert_eq!(sim.events(A, |event| matches!(event, Event::ChildFailed { .. })), 1);
    sim.assert_agreement();
}

#[test]
fn an_address_is_assigned_and_used() {
    let sim = established();
    for line in [
        "peer requested virtual IP %any",
        "assigning virtual IP 10.77.0.1 to peer 'moon.strongswan.org'",
        "installing new virtual IP 10.77.0.1",
        "handling INTERNAL_DNS_DOMAIN attribute failed",
    ] {
        sim.assert(sim.trace.contains(line), line);
    }
    let up = sim.hosts[A].events.iter().find_map(|event| match event {
        Event::IkeUpDown { up: true, ike } => Some(Arc::clone(ike)),
        _ => None,
    });
    assert_eq!(up.unwrap().local_vips, [ip(VIP)], "observers see it when the IKE_SA comes up");
}

#[test]
fn one_of_each_family() {
    let mut sim = road_warrior(&["0.0.0.0", "::"], &[VIP6, VIP]);
    sim.initiate(A);
    sim.settle();
    sim.assert_established(1, 1);
    let snapshot = &sim.hosts[A].snapshots()[0];
    assert_eq!(snapshot.local_vips, [ip(VIP), ip(VIP6)]);
    assert_eq!(snapshot.children[0].local_ts, [ts(VIP), ts(VIP6)].concat());
}

#[test]
fn several_of_one_family() {
    let mut sim = road_warrior(&["0.0.0.0", "0.0.0.0"], &[VIP, "10.77.0.2"]);
    sim.initiate(A);
    sim.settle();
    sim.assert_established(1, 1);
    assert_eq!(sim.hosts[A].snapshots()[0].local_vips, [ip(VIP), ip("10.77.0.2")]);
}

#[test]
fn part_of_what_is_asked_for_is_enough() {
    let mut sim = road_warrior(&["::", "0.0.0.0"], &[VIP]);
    sim.initiate(A);
    sim.settle();
    assert_assigned(&sim);
    sim.assert(sim.trace.contains("no virtual IP found for %any6 requested by 'moon.strongswan.org'"), "log");
}

#[test]
fn an_empty_pool_is_refused_with_internal_address_failure() {
    let mut sim = road_warrior(&["0.0.0.0"], &[]);
    sim.initiate(A);
    sim.settle();
    sim.assert(sim.trace.contains("no virtual IP found, sending INTERNAL_ADDRESS_FAILURE"), "log");
    assert_refused(&sim, "INTERNAL_ADDRESS_FAILURE");
}

#[test]
fn asking_where_there_are_no_pools_is_refused() {
    let mut sim = road_warrior(&["0.0.0.0"], &[VIP]);
    sim.configure_host(B, |peer| peer.pools.clear());
    sim.initiate(A);
    sim.settle();
    assert_refused(&sim, "INTERNAL_ADDRESS_FAILURE");
}

#[test]
fn not_asking_where_it_is_required_is_refused_with_failed_cp_required() {
    let mut sim = road_warrior(&[], &[VIP]);
    sim.initiate(A);
    sim.settle();
    sim.assert(sim.trace.contains("expected a virtual IP request, sending FAILED_CP_REQUIRED"), "log");
    assert_refused(&sim, "FAILED_CP_REQUIRED");
}

#[test]
fn an_address_of_somebody_else_is_not_assigned_by_asking_for_it() {
    let mut sim = road_warrior(&["10.77.0.9"], &[VIP]);
    sim.initiate(A);
    sim.settle();
    assert_assigned(&sim);
}

#[test]
fn an_address_that_cannot_be_installed_is_not_used() {
    let mut sim = road_warrior(&["0.0.0.0"], &[VIP]);
    sim.hosts[A].kernel.fail(crate::sim::kernel::Failures { add_virtual_ip: true, ..Default::default() });
    sim.initiate(A);
    sim.settle();
    sim.assert(sim.trace.contains("installing virtual IP 10.77.0.1 failed: scripted"), "log");
    let snapshot = &sim.hosts[A].snapshots()[0];
    assert!(snapshot.local_vips.is_empty() && snapshot.children.is_empty());
    sim.assert_agreement();
}

#[test]
fn sites_exchange_no_configuration_payload() {
    let mut sim = Sim::pair();
    sim.establish();
    sim.assert(!sim.trace.contains("virtual IP"), "log");
    assert!(sim.hosts[A].snapshots()[0].local_vips.is_empty());
}

#[test]
fn rekeying_keeps_it() {
    for host in [A, B] {
        let mut sim = established();
        for _ in 0..3 {
            sim.rekey_child(host);
            sim.settle();
            assert_assigned(&sim);
            sim.input(host, Input::RekeyIke);
            sim.settle();
            assert_assigned(&sim);
        }
    }
}

#[test]
fn a_rekey_collision_keeps_it() {
    let mut sim = established();
    sim.input(A, Input::RekeyIke);
    sim.input(B, Input::RekeyIke);
    sim.run_for(Duration::from_secs(60));
    assert_assigned(&sim);
    sim.input(A, Input::TerminateIke { force: false });
    sim.settle();
    sim.assert_nothing_left();
}

#[test]
fn deleting_releases_it() {
    for host in [A, B] {
        for force in [false, true] {
            let mut sim = established();
            sim.input(host, Input::TerminateIke { force });
            sim.settle();
            sim.assert_nothing_left();
        }
    }
}

#[test]
fn a_client_that_vanishes_loses_it() {
    let mut sim = road_warrior(&["0.0.0.0"], &[VIP]);
    sim.configure_host(B, |peer| peer.dpd_delay = Duration::from_secs(30));
    sim.establish();
    sim.net.script(|_| Fate::Drop);
    sim.run_for(Duration::from_secs(600));
    assert!(sim.hosts[B].sas.is_empty());
    assert_eq!(sim.hosts[B].check_assigned(), Ok(()));
}

#[test]
fn reauthentication_keeps_it_installed() {
    let mut sim = established();
    sim.input(A, Input::ReauthIke);
    let end = sim.now + Duration::from_secs(30);
    while sim.step(end) {
        assert!(sim.hosts[A].kernel.virtual_ips().contains(&ip(VIP)), "there is no moment without it");
    }
    sim.assert(sim.trace.contains("peer requested virtual IP 10.77.0.1"), "the same one is asked for");
    assert_assigned(&sim);
}

#[test]
fn reauthentication_by_breaking_first_asks_for_the_same_one() {
    let mut sim = road_warrior(&["0.0.0.0"], &[VIP, "10.77.0.2"]);
    sim.hosts[A].settings.make_before_break = false;
    sim.establish();
    // somebody else would get the first one now
    sim.hosts[B].pools.addresses.reverse();
    sim.input(A, Input::ReauthIke);
    sim.settle();
    assert_assigned(&sim);
}

#[test]
fn a_repeated_request_takes_one_address() {
    let mut sim = road_warrior(&["0.0.0.0"], &[VIP, "10.77.0.2"]);
    let mut lost = 0;
    sim.net.script(move |datagram| {
        let header = datagram.header();
        let answer = header.is_some_and(|header| header.exchange == ExchangeType::IkeAuth && !header.is_request());
        lost += usize::from(answer);
        if answer && lost < 3 { Fate::Drop } else { Fate::Duplicate }
    });
    sim.initiate(A);
    sim.run_for(Duration::from_secs(60));
    assert_assigned(&sim);
}

#[test]
fn a_gateway_cannot_initiate_without_a_client_that_has_an_address() {
    let mut sim = road_warrior(&["0.0.0.0"], &[VIP]);
    sim.initiate(B);
    sim.settle();
    sim.assert(sim.trace.contains("no traffic selectors to propose, the peer has no virtual IP"), "log");
    assert!(sim.children(A).is_empty() && sim.children(B).is_empty());
}

/// Whatever is lost, doubled and late: in the end nothing is assigned that nobody has.
#[test]
fn nothing_leaks_on_a_bad_network() {
    for seed in 0..100 {
        let mut sim = road_warrior_of(Sim::with_seed(seed, false), &["0.0.0.0"], &[VIP]);
        sim.configure(|peer| peer.dpd_delay = Duration::from_secs(30));
        sim.net.conditions = Conditions {
            loss: 20,
            duplication: 10,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(300),
            ..Conditions::PERFECT
        };
        sim.initiate(A);
        sim.run_for(Duration::from_secs(20));
        for round in 0..4 {
            for host in [A, B] {
                if sim.ike(host).is_some() {
                    let input = if (seed + round) % 3 == 0 && host == A { Input::ReauthIke } else { Input::RekeyIke };
                    sim.input(host, input);
                }
            }
            let pause = sim.below(15_000);
            sim.run_for(Duration::from_millis(pause));
        }
        sim.net.conditions = Conditions::PERFECT;
        sim.run_for(Duration::from_secs(900));
        sim.assert_agreement();
        while let Some(id) = sim.ike(A) {
            sim.input_to(A, id, Input::TerminateIke { force: false });
            sim.run_for(Duration::from_secs(30));
        }
        sim.run_for(Duration::from_secs(900));
        sim.assert_nothing_left();
    }
}

/// What B sends of its own accord after the client had its address for a while.
fn requests_of_gateway(sim: &Sim, after: usize) -> Vec<ExchangeType> {
    let address = sim.hosts[B].address;
    let headers = sim.sent[after..].iter().filter(|d| d.from.ip() == address).filter_map(|d| d.header());
    headers.filter(ike::wire::Header::is_request).map(|header| header.exchange).collect()
}

#[test]
fn a_gateway_does_not_call_a_client_back() {
    // It could not give itself an address of its own pool, so whatever dpd_action says, the client has to come again.
    let mut sim = road_warrior(&["0.0.0.0"], &[VIP]);
    sim.configure_host(B, |peer| {
        peer.dpd_delay = Duration::from_secs(10);
        Arc::make_mut(&mut peer.children[0]).dpd_action = Action::START;
    });
    sim.establish();
    let sent = sim.sent.len();
    sim.forget(A);
    sim.run_for(Duration::from_secs(300));
    sim.assert(sim.trace.contains("unable to reestablish IKE_SA due to asymmetric setup"), "log");
    assert!(!requests_of_gateway(&sim, sent).contains(&ExchangeType::IkeSaInit));
    assert!(sim.hosts[B].sas.is_empty());
}

#[test]
fn a_gateway_leaves_reauthentication_to_the_client() {
    let mut sim = road_warrior(&["0.0.0.0"], &[VIP]);
    sim.configure_host(B, |peer| {
        peer.lifetimes = IkeLifetimes::from_config(None, Some(Duration::from_secs(100)), None, Some(Duration::ZERO));
    });
    sim.establish();
    // it was told by when (RFC 4478), and is not there any more
    sim.forget(A);
    let sent = sim.sent.len();
    sim.run_for(Duration::from_secs(95));
    sim.assert(
        sim.trace.contains("initiator did not reauthenticate as requested, IKE_SA gw[1] will timeout in 10 seconds"),
        "log",
    );
    assert_eq!(requests_of_gateway(&sim, sent), []);
    sim.run_for(Duration::from_secs(8));
    assert_eq!(requests_of_gateway(&sim, sent), [ExchangeType::Informational]);
    sim.run_for(Duration::from_secs(200));
    sim.assert_nothing_left();
}
