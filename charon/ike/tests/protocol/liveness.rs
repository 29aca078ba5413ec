//! Who is alive, and who finds out: keepalives, liveness checks, retransmission, names that do not resolve.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Action, IkeConfig};
use ike::settings::RetransmitSettings;
use ike::{Alert, Event, Input};
use strongswan::host::HostSpec;

use crate::sim::net::{Fate, Nat};
use crate::sim::{A, B, Sim};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A pair with A behind a NAT.
fn behind_nat() -> Sim {
    let mut sim = Sim::pair();
    sim.net.nat = Some(Nat::new(sim.hosts[A].address, "203.0.113.1".parse().unwrap()));
    sim
}

#[test]
fn keepalives_come_from_behind_the_nat_while_nothing_else_does() {
    let mut sim = behind_nat();
    sim.establish();
    let before = sim.trace.count("sending keep alive to 192.0.2.2[4500]");
    sim.run_for(seconds(100));
    assert_eq!(sim.trace.count("sending keep alive to 192.0.2.2[4500]") - before, 5);
    assert_eq!(sim.trace.count("sun  [IKE] sending keep alive"), 0);
    // Whatever else is sent does as well.
    let before = sim.trace.count("sending keep alive to");
    for _ in 0..10 {
        sim.rekey_child(A);
        sim.run_for(seconds(10));
    }
    assert_eq!(sim.trace.count("sending keep alive to"), before);
    // Off means off.
    let mut sim = behind_nat();
    sim.hosts[A].settings.keep_alive = Duration::ZERO;
    sim.establish();
    sim.run_for(seconds(100));
    assert_eq!(sim.trace.count("sending keep alive to"), 0);
}

#[test]
fn a_keepalive_that_is_late_becomes_a_liveness_check() {
    let mut sim = behind_nat();
    sim.hosts[A].settings.keep_alive_dpd_margin = seconds(30);
    sim.establish();
    sim.run_for(seconds(60));
    assert_eq!(sim.trace.count("sending DPD instead of keep alive"), 0);
    // The machine sleeps for ten minutes.
    sim.now = sim.now + seconds(600);
    let before = sim.sent.len();
    sim.run_for(seconds(1));
    assert_eq!(sim.trace.count("sending DPD instead of keep alive"), 1);
    assert!(sim.sent.len() >= before + 2, "a request and its response");
    sim.assert_established(1, 1);
}

#[test]
fn a_liveness_check_is_for_silent_peers_only() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| peer.dpd_delay = seconds(30));
    sim.establish();
    // Every request of the peer is a sign of life.
    for _ in 0..10 {
        sim.run_for(seconds(20));
        sim.rekey_child(B);
    }
    assert_eq!(sim.trace.count("sending DPD request"), 0);
    sim.run_for(seconds(100));
    assert_eq!(sim.trace.count("sending DPD request"), 3);
    sim.assert_established(1, 1);
}

#[test]
fn a_dead_peer_is_given_up_after_all_retransmissions() {
    for (settings, after) in [
        (RetransmitSettings::default(), 165_061),
        (RetransmitSettings { limit: seconds(5), ..RetransmitSettings::default() }, 29_000),
        (RetransmitSettings { tries: 1, base: 1.0, ..RetransmitSettings::default() }, 8_000),
    ] {
        let mut sim = Sim::pair();
        sim.hosts[A].settings.retransmit = settings;
        sim.configure_host(A, |peer| Arc::make_mut(&mut peer.children[0]).dpd_action = Action::TRAP);
        sim.establish();
        sim.net.script(|_| Fate::Drop);
        let (before, start) = (sim.sent.len(), sim.now);
        sim.rekey_child(A);
        assert!(sim.run_until(seconds(200), |sim| sim.hosts[A].sas.is_empty()));
        assert_eq!(sim.now.saturating_since(start).as_millis(), after);
        let tries = usize::try_from(settings.tries).unwrap();
        assert_eq!(sim.sent.len() - before, 1 + tries);
        let count = |alert: Alert| sim.events(A, |event| matches!(event, Event::Alert(other) if *other == alert));
        assert_eq!((count(Alert::RetransmitSend), count(Alert::RetransmitSendTimeout)), (tries, 1));
        assert_eq!(sim.hosts[A].traps.len(), 1, "dpd_action = trap");
    }
}

#[test]
fn jitter_shortens_the_waits() {
    let mut sim = Sim::pair();
    sim.hosts[A].settings.retransmit.jitter = 20;
    sim.establish();
    sim.net.script(|_| Fate::Drop);
    let start = sim.now;
    sim.rekey_child(A);
    assert!(sim.run_until(seconds(200), |sim| sim.hosts[A].sas.is_empty()));
    let took = sim.now.saturating_since(start);
    assert!(took > seconds(132) && took < seconds(165), "{took:?}");
}

#[test]
fn a_name_that_does_not_resolve_is_tried_again_or_not() {
    for (interval, attempts, left) in [(0, 1, 0), (10, 4, 1)] {
        let mut sim = Sim::pair();
        sim.hosts[A].settings.retry_initiate_interval = seconds(interval);
        sim.configure_host(A, |peer| {
            let remote_addrs = vec![HostSpec::parse("moon.invalid")];
            peer.ike = Arc::new(IkeConfig { remote_addrs, ..IkeConfig::clone(&peer.ike) });
        });
        sim.initiate(A);
        sim.run_for(seconds(35));
        let said = sim.trace.count("unable to resolve moon.invalid");
        assert_eq!((said, sim.hosts[A].sas.len()), (attempts, left));
        assert_eq!(sim.sent.len(), 0);
        let alerts = sim.events(A, |event| matches!(event, Event::Alert(Alert::PeerAddrFailed)));
        assert_eq!(alerts, usize::from(interval == 0));
        if let Some(id) = sim.ike(A) {
            sim.input_to(A, id, Input::TerminateIke { force: false });
        }
        sim.assert_nothing_left();
    }
}
