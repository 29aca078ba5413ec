//! What a peer, authenticated or not, cannot make us keep, repeat or install.

use std::sync::Arc;
use std::time::Duration;

use ike::config::Mode;
use ike::wire::{ExchangeType, Header, HeaderFlags, MessageId, Notify, NotifyType, Payload, PayloadType, Received, Ts};
use ike::{IkeSaState, Input};
use strongswan::selectors::{PortRange, TrafficSelector};

use crate::sim::config::{End, MOON, SUN, child};
use crate::sim::net::{Datagram, Fate};
use crate::sim::{A, B, Sim};

/// A pair with so many children `net`, `net2`, … next to each other.
fn with_children(count: u8) -> Sim {
    let mut sim = Sim::pair();
    for host in [A, B] {
        sim.configure_host(host, |peer| {
            for number in 2..=count {
                let (moon, sun) = (format!("10.1.{number}.0/24"), format!("10.2.{number}.0/24"));
                let (moon, sun): (&'static str, &'static str) = (moon.leak(), sun.leak());
                let ends = [End { subnet: moon, ..MOON }, End { subnet: sun, ..SUN }];
                let (here, there) = if host == A { (&ends[0], &ends[1]) } else { (&ends[1], &ends[0]) };
                peer.children.push(Arc::new(child(&format!("net{number}"), here, there)));
            }
        });
    }
    sim
}

#[test]
fn a_peer_gets_so_many_children_and_no_more() {
    let mut sim = with_children(4);
    sim.hosts[B].settings.childsa_limit = 3;
    sim.establish();
    for name in ["net2", "net3", "net4"] {
        sim.initiate_child(A, name);
        sim.settle();
    }
    sim.assert_established(1, 3);
    sim.assert(sim.trace.contains("received NO_ADDITIONAL_SAS notify, no CHILD_SA built"), "log of moon");
    // Replacing those that are there is another matter.
    sim.rekey_child(A);
    sim.settle();
    sim.assert_established(1, 3);
}

#[test]
fn children_that_were_replaced_and_not_deleted_add_up() {
    let mut sim = Sim::pair();
    sim.hosts[B].settings.childsa_limit = 1;
    sim.establish();
    // A peer that rekeys and never deletes: its DELETEs are lost, its next requests under the next ID are not.
    let deletes = |datagram: &Datagram| match datagram.header() {
        Some(header) if header.exchange == ExchangeType::Informational => Fate::Drop,
        _ => Fate::Pass,
    };
    sim.net.script(deletes);
    let mut peak = 0;
    for _ in 0..20 {
        let Some(child) = sim.child(A) else { break };
        sim.input(A, Input::RekeyChild { child });
        sim.run_for(Duration::from_millis(200));
        peak = peak.max(sim.hosts[B].snapshots()[0].children.len());
    }
    assert!(peak <= 2 + 8, "{peak}");
}

/// Asks in A's name for a CHILD_SA with these selectors; returns what B answers and the number of its CHILD_SAs.
fn ask(sim: &mut Sim, local: Vec<TrafficSelector>, remote: Vec<TrafficSelector>) -> (Vec<Payload>, usize) {
    sim.net.script(|_| Fate::Drop);
    let peer = sim.hosts[A].sas[0].config().cloned().unwrap();
    sim.hosts[A].connections.0[0] = peer;
    sim.initiate_child(A, "net2");
    let request = sim.sent.last().cloned().unwrap();
    let header = request.header().unwrap();
    let mut payloads = sim.payloads(&request);
    payloads.retain(|payload| !matches!(payload.kind(), PayloadType::TsI | PayloadType::TsR));
    payloads.push(Payload::TsI(Ts::new(local)));
    payloads.push(Payload::TsR(Ts::new(remote)));
    let answers = sim.deliver_instead(request, header, &payloads);
    let children = sim.hosts[B].snapshots()[0].children.len();
    let answer = answers.into_iter().next().unwrap();
    (sim.payloads(&answer), children)
}

fn hosts(prefix: &str, count: u8) -> Vec<TrafficSelector> {
    (0..count).map(|host| TrafficSelector::parse(&format!("{prefix}{}", u16::from(host) * 2 % 256)).unwrap()).collect()
}

fn refusal(payloads: &[Payload]) -> Option<NotifyType> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind.is_error() => Some(notify.kind),
        _ => None,
    })
}

#[test]
fn a_patchwork_of_selectors_is_refused() {
    let mut sim = with_children(2);
    sim.establish();
    // 120 × 120 policies, of subnets that are configured as a whole.
    let (answer, children) = ask(&mut sim, hosts("10.1.2.", 120), hosts("10.2.2.", 120));
    assert_eq!((refusal(&answer), children), (Some(NotifyType::TsUnacceptable), 1));
    sim.assert(sim.trace.contains("14400 pairs of traffic selectors exceed the limit of 1000"), "log");
    assert_eq!(sim.hosts[B].kernel.reserved_spis(), 0);
}

#[test]
fn a_few_selectors_are_not() {
    let mut sim = with_children(2);
    sim.establish();
    let (answer, children) = ask(&mut sim, hosts("10.1.2.", 20), hosts("10.2.2.", 20));
    assert_eq!((refusal(&answer), children), (None, 2));
}

#[test]
fn a_request_in_one_piece_after_its_first_fragment() {
    // The peer sends a fragment, then another request in one piece under the same ID. That is what it was answered for, so
    // when it comes again it is answered again.
    let mut sim = Sim::pair();
    sim.establish();
    sim.net.script(|_| Fate::Drop);
    sim.hosts[A].settings.fragment_size.v4 = Some(170);
    let child = sim.child(A).unwrap();
    sim.input(A, Input::RekeyChild { child });
    let fragments: Vec<_> = sim.sent.iter().rev().take_while(|sent| sent.data.len() <= 142).cloned().collect();
    assert!(fragments.len() > 1, "{}", fragments.len());
    let first = fragments.last().cloned().unwrap();
    sim.deliver(first.clone());
    assert!(sim.trace.contains("waiting for complete IKE message"));
    let header = Header { exchange: ExchangeType::Informational, ..first.header().unwrap() };
    let check = sim.forge(first, header, &[]);
    for _ in 0..2 {
        let before = sim.sent.len();
        sim.deliver(check.clone());
        assert_eq!(sim.sent.len(), before + 1);
    }
    sim.assert(sim.trace.contains("received retransmit of request with ID"), "log");
}

#[test]
fn an_unauthenticated_peer_gets_a_response_again_so_often_and_no_more() {
    let mut sim = Sim::pair();
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 2));
    sim.net.script(|_| Fate::Drop);
    let request = sim.sent[0].clone();
    let before = sim.sent.len();
    for _ in 0..1000 {
        sim.deliver(request.clone());
    }
    assert_eq!(sim.sent.len() - before, 12);
    assert_eq!(sim.hosts[B].sas.len(), 1);
    // Nothing of this keeps the IKE_SA alive.
    sim.run_for(Duration::from_secs(31));
    assert!(sim.hosts[B].sas.is_empty());
}

#[test]
fn no_refusal_of_an_initial_request_is_larger_than_the_request() {
    let mut sim = Sim::pair();
    sim.initiate(A);
    let request = sim.sent[0].clone();
    let header = request.header().unwrap();
    sim.net.script(|_| Fate::Drop);
    // Every prefix with a matching length, so that payloads are missing or cut, and every payload type as the first one.
    let mut requests = Vec::new();
    for length in 28..request.data.len() {
        let mut data = request.data[..length].to_vec();
        data[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        requests.push(data.clone());
        for first in [0, 33, 34, 40, 41, 46, 53, 200] {
            data[16] = first;
            requests.push(data.clone());
        }
    }
    // What is not supported but critical.
    let mut critical = request.data[..28].to_vec();
    critical[16] = 200;
    critical.extend([0, 0x80, 0, 4]);
    critical[24..28].copy_from_slice(&32u32.to_be_bytes());
    requests.push(critical);
    let tried = requests.len();
    for data in requests {
        let before = sim.sent.len();
        let asked = data.len();
        sim.deliver(Datagram { data, ..request.clone() });
        let answered: usize = sim.sent[before..].iter().map(|sent| sent.data.len()).sum();
        assert!(answered <= asked, "{answered} bytes for {asked}");
        assert!(sim.hosts[B].sas.iter().all(|sa| sa.state() == IkeSaState::Connecting), "{}", sim.describe(B));
        assert!(sim.hosts[B].sas.len() <= 1);
    }
    assert!(tried > 1000 && header.flags.contains(HeaderFlags::INITIATOR));
    assert_eq!(header.message_id, MessageId(0));
}

#[test]
fn beet_mode_is_for_hosts() {
    // Subnets do not fit into BEET mode: the responder falls back to tunnel mode.
    let mut sim = Sim::pair();
    sim.configure(|peer| Arc::make_mut(&mut peer.children[0]).mode = Mode::Beet);
    sim.establish();
    assert_eq!(sim.hosts[A].snapshots()[0].children[0].mode, Mode::Tunnel);
    let mut sim = Sim::pair();
    sim.configure(|peer| {
        let child = Arc::make_mut(&mut peer.children[0]);
        child.mode = Mode::Beet;
        child.local_ts = vec![TrafficSelector::dynamic(0, PortRange::ANY)];
        child.remote_ts = vec![TrafficSelector::dynamic(0, PortRange::ANY)];
    });
    sim.establish();
    assert_eq!(sim.hosts[A].snapshots()[0].children[0].mode, Mode::Beet);
}

#[test]
fn vendor_ids_are_sent_where_they_are_wanted() {
    for (strongswan, flexvpn) in [(false, false), (true, false), (true, true)] {
        let mut sim = Sim::pair();
        for host in [A, B] {
            sim.hosts[host].settings.send_vendor_id = strongswan;
            sim.hosts[host].settings.cisco_flexvpn = flexvpn;
        }
        sim.establish();
        for message in &sim.sent[..2] {
            let Ok(Received::Plain(message)) = ike::wire::parse(&message.data) else { panic!("not IKE_SA_INIT") };
            let names: Vec<_> = message.vendor_ids().map(|vendor| vendor.name().unwrap()).collect();
            assert_eq!(names.contains(&"strongSwan"), strongswan);
            assert_eq!(names.contains(&"FLEXVPN-SUPPORTED"), flexvpn);
        }
    }
}

#[test]
fn what_the_peer_refuses_is_told_apart() {
    // An error that is not about the CHILD_SA is said to be one.
    let mut sim = with_children(2);
    sim.establish();
    sim.net.script(|_| Fate::Drop);
    let peer = sim.hosts[A].sas[0].config().cloned().unwrap();
    sim.hosts[A].connections.0[0] = peer;
    sim.initiate_child(A, "net2");
    let request = sim.sent.last().cloned().unwrap();
    sim.deliver(request);
    let response = sim.sent.last().cloned().unwrap();
    let header = response.header().unwrap();
    sim.deliver_instead(response, header, &[Notify::new(NotifyType::InvalidSelectors).into()]);
    sim.assert(sim.trace.contains("received INVALID_SELECTORS notify, no CHILD_SA built"), "log");
}
