//! AUTH_LIFETIME (RFC 4478): gateways whose clients have to reauthenticate say so, and clients do.

use std::time::Duration;

use ike::config::IkeLifetimes;
use ike::wire::{ExchangeType, Header, MessageId, Notify, NotifyType, Payload};
use ike::{Alert, Event, IkeSaState, Input};

use crate::sim::net::{Conditions, Datagram, Fate};
use crate::sim::{A, B, Sim, seed_of_environment};
use crate::virtual_ips::{road_warrior, road_warrior_of};

fn lifetimes(rekey: u64, reauth: u64, over: u64) -> IkeLifetimes {
    let time = |seconds| Some(Duration::from_secs(seconds));
    IkeLifetimes::from_config(time(rekey), time(reauth), time(over), time(0))
}

/// A client with a virtual IP, and a gateway that wants it to authenticate again after `reauth` seconds.
fn configure(sim: &mut Sim, client: IkeLifetimes, gateway: IkeLifetimes) {
    sim.configure_host(A, |peer| peer.lifetimes = client);
    sim.configure_host(B, |peer| peer.lifetimes = gateway);
}

fn pair(client: IkeLifetimes, gateway: IkeLifetimes) -> Sim {
    let mut sim = road_warrior(&["0.0.0.0"], &["10.77.0.1"]);
    configure(&mut sim, client, gateway);
    sim.establish();
    sim
}

/// Numbers of A's IKE_SAs.
fn numbers(sim: &Sim) -> Vec<u32> {
    sim.hosts[A].sas.iter().map(|sa| sa.unique_id().get()).collect()
}

#[test]
fn the_client_reauthenticates_in_time() {
    let mut sim = pair(lifetimes(14_400, 0, 100), lifetimes(0, 1000, 100));
    sim.assert(sim.trace.contains("received AUTH_LIFETIME of 1000s, scheduling reauthentication in 900s"), "log");
    assert_eq!(numbers(&sim), [1]);
    for round in 2..6 {
        sim.run_for(Duration::from_secs(900));
        sim.assert_established(1, 1);
        assert_eq!(numbers(&sim), [round]);
    }
}

#[test]
fn an_earlier_plan_of_the_client_stays() {
    let mut sim = pair(lifetimes(0, 500, 100), lifetimes(0, 1000, 100));
    // what comes with IKE_AUTH counts before the client's own plans are made
    sim.assert(sim.trace.contains("received AUTH_LIFETIME of 1000s, scheduling reauthentication in 900s"), "log");
    sim.assert(sim.trace.contains("scheduling reauthentication in 500s"), "log");
    sim.run_for(Duration::from_secs(520));
    assert_eq!(numbers(&sim), [2]);
}

#[test]
fn nothing_is_said_to_peers_we_can_reauthenticate_ourselves() {
    let mut sim = Sim::pair();
    configure(&mut sim, lifetimes(14_400, 0, 100), lifetimes(0, 1000, 100));
    sim.establish();
    sim.assert(!sim.trace.contains("received AUTH_LIFETIME"), "log");
    sim.run_for(Duration::from_secs(1020));
    sim.assert_established(1, 1);
    assert!(sim.trace.contains("sun  [IKE] reauthenticating IKE_SA"));
}

#[test]
fn a_short_lifetime_does_not_make_an_endless_loop() {
    // Less than the client's over time: it must not start over at once, again and again.
    let mut sim = pair(lifetimes(14_400, 0, 1440), lifetimes(0, 100, 50));
    sim.assert(sim.trace.contains("received AUTH_LIFETIME of 100s, scheduling reauthentication in 90s"), "log");
    sim.run_for(Duration::from_secs(1000));
    sim.assert_established(1, 1);
    assert!((10..=13).contains(&numbers(&sim)[0]), "{:?}", numbers(&sim));
}

#[test]
fn it_survives_rekeying() {
    let mut sim = pair(lifetimes(14_400, 0, 100), lifetimes(0, 1000, 100));
    for host in [A, B] {
        sim.run_for(Duration::from_secs(300));
        sim.input(host, Input::RekeyIke);
        sim.settle();
        sim.assert_established(1, 1);
    }
    sim.assert(sim.trace.contains("after rekeying, lifetime reduced to"), "log");
    sim.run_for(Duration::from_secs(300));
    sim.assert_established(1, 1);
    assert!(sim.trace.contains("moon [IKE] reauthenticating IKE_SA"), "reauthenticated");
}

#[test]
fn the_hard_deadline_holds() {
    // A client that cannot reauthenticate, as it has nothing to recreate, does not outlive it by rekeying.
    let mut sim = road_warrior(&["0.0.0.0"], &["10.77.0.1"]);
    configure(&mut sim, lifetimes(14_400, 0, 100), lifetimes(0, 1000, 5000));
    sim.establish();
    let child = sim.child(A).unwrap();
    sim.input(A, Input::TerminateChild { child });
    sim.run_for(Duration::from_secs(920));
    sim.assert(sim.trace.contains("unable to reauthenticate IKE_SA, no CHILD_SA to recreate"), "log");
    sim.input(A, Input::RekeyIke);
    sim.run_for(Duration::from_secs(30));
    assert_eq!(sim.hosts[A].sas.len(), 1);
    sim.run_for(Duration::from_secs(60));
    sim.assert_nothing_left();
    assert_eq!(sim.events(A, |event| matches!(event, Event::Alert(Alert::IkeSaExpired))), 1);
}

#[test]
fn a_client_that_does_not_comply_is_thrown_out() {
    let mut sim = road_warrior(&["0.0.0.0"], &["10.77.0.1"]);
    configure(&mut sim, lifetimes(14_400, 0, 100), lifetimes(0, 200, 100));
    sim.establish();
    sim.hosts[A].sas.iter().for_each(|sa| assert_eq!(sa.state(), IkeSaState::Established));
    // its initial requests get lost
    sim.net.script(|datagram| match datagram.header() {
        Some(header) if header.exchange == ExchangeType::IkeSaInit => Fate::Drop,
        _ => Fate::Pass,
    });
    sim.run_for(Duration::from_secs(210));
    sim.assert(
        sim.trace.contains("initiator did not reauthenticate as requested, IKE_SA gw[1] will timeout in"),
        "log",
    );
    sim.run_for(Duration::from_secs(400));
    sim.assert_nothing_left();
}

#[test]
fn the_gateway_changes_its_mind() {
    let mut sim = pair(lifetimes(14_400, 0, 100), lifetimes(0, 10_000, 100));
    sim.input(B, Input::AuthLifetime(Duration::from_secs(600)));
    sim.settle();
    sim.assert(sim.trace.contains("received AUTH_LIFETIME of 600s, scheduling reauthentication in 500s"), "log");
    sim.input(B, Input::AuthLifetime(Duration::from_secs(5000)));
    sim.settle();
    sim.assert(
        sim.trace.contains("received AUTH_LIFETIME of 5000s, reauthentication already scheduled in 490s"),
        "log",
    );
    // less than the client's over time
    sim.input(B, Input::AuthLifetime(Duration::from_secs(50)));
    sim.settle();
    sim.assert(sim.trace.contains("received AUTH_LIFETIME of 50s, starting reauthentication"), "log");
    sim.assert_established(1, 1);
    assert_eq!(numbers(&sim), [2]);
}

#[test]
fn who_can_reauthenticate_does_not_have_to_ask() {
    let mut sim = Sim::pair();
    sim.establish();
    sim.input(B, Input::AuthLifetime(Duration::from_secs(2000)));
    assert!(sim.hosts[B].snapshots()[0].tasks_active.is_empty());
    sim.run_for(Duration::from_secs(2000));
    sim.assert_established(1, 1);
    assert!(sim.trace.contains("sun  [IKE] reauthenticating IKE_SA"));
}

/// Stops when the IKE_AUTH request is under way.
fn half_open() -> (Sim, Datagram) {
    let mut sim = Sim::pair();
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 3));
    sim.net.clear();
    let request = sim.sent[2].clone();
    (sim, request)
}

#[test]
fn unauthenticated_peers_set_no_lifetime() {
    let (mut sim, request) = half_open();
    let header =
        Header { exchange: ExchangeType::Informational, message_id: MessageId(1), ..request.header().unwrap() };
    let notify = Notify::auth_lifetime(Duration::ZERO).into();
    sim.deliver_instead(request, header, &[notify]);
    assert_eq!(sim.hosts[B].sas[0].state(), IkeSaState::Connecting);
    sim.assert(!sim.trace.contains("received AUTH_LIFETIME"), "log");

    // in a response whose AUTH is wrong
    let mut sim = Sim::pair();
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 4));
    sim.net.clear();
    let response = sim.sent[3].clone();
    let mut payloads = sim.payloads(&response);
    for payload in &mut payloads {
        if let Payload::Auth(auth) = payload {
            auth.data[0] ^= 1;
        }
    }
    payloads.push(Notify::auth_lifetime(Duration::from_secs(1)).into());
    let header = response.header().unwrap();
    sim.deliver_instead(response, header, &payloads);
    sim.assert(!sim.trace.contains("received AUTH_LIFETIME"), "log");
    assert!(sim.hosts[A].sas.is_empty());
}

#[test]
fn extreme_lifetimes() {
    for seconds in [0, 1, u64::from(u32::MAX)] {
        let mut sim = Sim::pair();
        sim.initiate(A);
        assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 4));
        sim.net.clear();
        let response = sim.sent[3].clone();
        let mut payloads = sim.payloads(&response);
        payloads.push(Notify::auth_lifetime(Duration::from_secs(seconds)).into());
        assert!(
            payloads.iter().any(|payload| matches!(payload, Payload::Notify(n) if n.kind == NotifyType::AuthLifetime))
        );
        let header = response.header().unwrap();
        sim.deliver_instead(response, header, &payloads);
        sim.assert(sim.trace.contains(&format!("received AUTH_LIFETIME of {seconds}s")), "log");
        sim.run_for(Duration::from_secs(8));
        sim.assert_established(1, 1);
        sim.run_for(Duration::from_secs(20));
        sim.assert_established(1, 1);
    }
}

#[test]
fn over_a_bad_network() {
    let (seeds, traced) = match seed_of_environment() {
        Some(seed) => (seed..seed + 1, true),
        None => (0..60, false),
    };
    for seed in seeds {
        let mut sim = road_warrior_of(Sim::with_seed(seed, traced), &["0.0.0.0"], &["10.77.0.1"]);
        configure(&mut sim, lifetimes(14_400, 0, 300), lifetimes(0, 1000, 300));
        sim.configure_host(A, |peer| peer.keyingtries = 0);
        sim.initiate(A);
        sim.settle();
        sim.net.conditions = Conditions::BAD;
        sim.run_for(Duration::from_secs(200));
        sim.input(B, Input::AuthLifetime(Duration::from_secs(400)));
        sim.run_for(Duration::from_secs(250));
        sim.net.conditions = Conditions::PERFECT;
        sim.run_for(Duration::from_secs(600));
        sim.assert_established(1, 1);
        assert!(numbers(&sim)[0] >= 2, "seed {seed}");
    }
}
