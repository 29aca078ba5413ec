//! Answers that an authenticated peer may give, but that are not to what it was asked.

use std::time::Duration;

use ike::Input;
use ike::wire::{Cp, CpAttribute, CpAttributeType, CpType, Notify, NotifyType, Payload};

use crate::sim::{A, B, Sim};

/// Delivers the response to A's last request with payloads that `change` has changed.
fn answer(sim: &mut Sim, change: impl FnOnce(&mut Vec<Payload>)) {
    let sent = sim.sent.len();
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() > sent));
    sim.net.clear();
    let response = sim.sent[sent].clone();
    let mut payloads = sim.payloads(&response);
    change(&mut payloads);
    let header = response.header().unwrap();
    sim.deliver_instead(response, header, &payloads);
    sim.settle();
}

/// A pair in which A has sent its IKE_AUTH request.
fn authenticating() -> Sim {
    let mut sim = Sim::pair();
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 3));
    sim
}

#[test]
fn an_address_nobody_asked_for_is_not_installed() {
    // RFC 7296 §2.19: a responder must not send CFG_REPLY without CFG_REQUEST.
    let mut sim = authenticating();
    answer(&mut sim, |payloads| {
        let address = CpAttribute::new(CpAttributeType::InternalIp4Address, &[10, 1, 0, 1]);
        let dns = CpAttribute::new(CpAttributeType::InternalIp4Dns, &[10, 1, 0, 53]);
        payloads.push(Cp { kind: CpType::Reply, attributes: vec![address, dns] }.into());
    });
    sim.assert_established(1, 1);
    assert!(sim.hosts[A].kernel.virtual_ips().is_empty());
    assert!(sim.hosts[A].handlers.handled.lock().unwrap().is_empty());
}

#[test]
fn a_mode_nobody_asked_for_is_refused() {
    // RFC 7296 §1.3.1: USE_TRANSPORT_MODE answers USE_TRANSPORT_MODE. The peer sends without tunnel now.
    let mut sim = authenticating();
    answer(&mut sim, |payloads| payloads.push(Notify::new(NotifyType::UseTransportMode).into()));
    sim.assert(sim.trace.contains("TRANSPORT mode requested by responder is unacceptable"), "log");
    sim.assert_established(1, 0);

    let mut sim = Sim::pair();
    sim.establish();
    let child = sim.child(A).unwrap();
    sim.input(A, Input::RekeyChild { child });
    answer(&mut sim, |payloads| payloads.push(Notify::new(NotifyType::UseTransportMode).into()));
    sim.settle();
    for host in [A, B] {
        assert!(
            sim.hosts[host].snapshots().iter().flat_map(|ike| &ike.children).all(|child| child.unique_id.get() != 2)
        );
    }
    sim.assert_agreement();
}
