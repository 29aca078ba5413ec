//! MOBIKE with peers that refuse, deceive or exaggerate, and the NAT that is only pretended (RFC 4555 §3.5–3.9).

use std::net::SocketAddr;
use std::time::Duration;

use ike::kernel::Direction;
use ike::wire::{ExchangeType, Header, HeaderFlags, MessageId, Notify, NotifyType, Payload};

use crate::mobility::{assert_path, mobile, pair};
use crate::sim::config::{MOON, SUN};
use crate::sim::net::Datagram;
use crate::sim::{A, B, Sim};

fn has(payloads: &[Payload], kind: NotifyType) -> bool {
    payloads.iter().any(|payload| matches!(payload, Payload::Notify(notify) if notify.kind == kind))
}

/// The next datagram with such a notify; it is not delivered.
fn intercept(sim: &mut Sim, kind: NotifyType) -> Datagram {
    for _ in 0..1000 {
        let seen = sim.sent.len();
        assert!(sim.run_until(Duration::from_secs(60), |sim| sim.sent.len() > seen), "nothing is sent");
        let new: Vec<_> = sim.sent[seen..].to_vec();
        for datagram in new {
            let payloads = sim.payloads(&datagram);
            if has(&payloads, kind) {
                sim.net.clear();
                return datagram;
            }
        }
    }
    sim.fail("no such message")
}

/// Delivers a datagram; the answer is not delivered.
fn answer_to(sim: &mut Sim, datagram: Datagram) -> (Datagram, Vec<Payload>) {
    let seen = sim.sent.len();
    sim.deliver(datagram);
    let answer = sim.sent[seen].clone();
    sim.net.clear();
    let payloads = sim.payloads(&answer);
    (answer, payloads)
}

/// The same datagram with another sender, who is that host as well.
fn from_elsewhere(sim: &Sim, host: usize, address: [u8; 4], datagram: Datagram) -> Datagram {
    sim.hosts[host].kernel.set_addresses(&[datagram.from.ip(), address.into()]);
    Datagram { from: SocketAddr::from((address, 4500)), ..datagram }
}

/// The answer to what a peer might send in the place of a datagram.
fn answer_instead(sim: &mut Sim, datagram: Datagram, payloads: &[Payload]) -> Vec<Payload> {
    let header = datagram.header().unwrap();
    let answers = sim.deliver_instead(datagram, header, payloads);
    let payloads = sim.payloads(&answers[0]);
    sim.net.clear();
    payloads
}

#[test]
fn a_wrong_cookie_closes_the_ike_sa() {
    let mut sim = pair();
    sim.move_to(A, &["192.0.2.7"]);
    let update = intercept(&mut sim, NotifyType::UpdateSaAddresses);
    let (answer, mut payloads) = answer_to(&mut sim, update);
    assert!(has(&payloads, NotifyType::Cookie2), "{payloads:?}");
    payloads.retain(|payload| !matches!(payload, Payload::Notify(notify) if notify.kind == NotifyType::Cookie2));
    payloads.push(Notify::with_data(NotifyType::Cookie2, &[7; 16]).into());
    let header = answer.header().unwrap();
    sim.deliver_instead(answer, header, &payloads);
    sim.assert(sim.trace.contains("COOKIE2 mismatch, closing IKE_SA"), "it says so");
    sim.assert(sim.hosts[A].sas.is_empty(), "and is closed");
}

/// The peer refuses where we are: another of its addresses is tried, which it may like better.
#[test]
fn refused_addresses_are_left() {
    for kind in [NotifyType::UnacceptableAddresses, NotifyType::UnexpectedNatDetected] {
        let mut sim = mobile(None, true, &[MOON.address], &[SUN.address, "192.0.2.8"]);
        sim.establish();
        sim.move_to(A, &["192.0.2.7"]);
        let update = intercept(&mut sim, NotifyType::UpdateSaAddresses);
        let (answer, _) = answer_to(&mut sim, update);
        let header = answer.header().unwrap();
        sim.deliver_instead(answer, header, &[Notify::new(kind).into()]);
        sim.settle();
        let line = format!("received {kind} notify, trying another path");
        sim.assert(sim.trace.contains(&line), &line);
        assert_path(&sim, "192.0.2.7", "192.0.2.8");
    }
}

/// NO_NATS_ALLOWED: a peer that wants no NAT is told of one, and stays where it is.
#[test]
fn a_nat_is_reported_to_who_wants_none() {
    for nat in [true, false] {
        let mut sim = pair();
        sim.move_to(A, &["192.0.2.7"]);
        let update = intercept(&mut sim, NotifyType::UpdateSaAddresses);
        let mut payloads = sim.payloads(&update);
        let source: [u8; 4] = if nat { [10, 0, 0, 7] } else { [192, 0, 2, 7] };
        let mut data = source.to_vec();
        data.extend([192, 0, 2, 2]);
        data.extend(4500_u16.to_be_bytes());
        data.extend(4500_u16.to_be_bytes());
        payloads.push(Notify::with_data(NotifyType::NoNatsAllowed, &data).into());
        let answer = answer_instead(&mut sim, update, &payloads);
        assert_eq!(has(&answer, NotifyType::UnexpectedNatDetected), nat);
        assert!(has(&answer, NotifyType::Cookie2));
        let at = sim.hosts[B].sas[0].remote().ip().to_string();
        assert_eq!(at, if nat { MOON.address } else { "192.0.2.7" });
    }
}

/// An address that nobody can be reached at is refused.
#[test]
fn unusable_addresses_are_refused() {
    let mut sim = pair();
    sim.move_to(A, &["192.0.2.7"]);
    let update = intercept(&mut sim, NotifyType::UpdateSaAddresses);
    let payloads = sim.payloads(&update);
    let forged = from_elsewhere(&sim, A, [224, 0, 0, 5], update);
    let header = forged.header().unwrap();
    let seen = sim.sent.len();
    sim.deliver_instead(forged, header, &payloads);
    sim.assert(sim.trace.contains("refusing to change addresses, sending UNACCEPTABLE_ADDRESSES"), "it says so");
    sim.assert(sim.sent.len() == seen + 1, "one answer");
    assert_eq!(sim.hosts[B].sas[0].remote().ip().to_string(), MOON.address);
}

/// Only the side that initiated decides about paths; the other one gets its cookie back, and nothing else.
#[test]
fn a_responder_cannot_move_us() {
    let mut sim = pair();
    sim.rekey_child(B);
    sim.settle();
    let request = {
        let seen = sim.sent.len();
        sim.rekey_child(B);
        sim.net.clear();
        sim.sent[seen].clone()
    };
    let mut header = request.header().unwrap();
    header.exchange = ExchangeType::Informational;
    let payloads =
        [Notify::new(NotifyType::UpdateSaAddresses).into(), Notify::with_data(NotifyType::Cookie2, &[5; 8]).into()];
    let forged = from_elsewhere(&sim, B, [192, 0, 2, 99], request);
    let seen = sim.sent.len();
    sim.deliver_instead(forged, header, &payloads);
    sim.assert(sim.trace.contains("ignoring UPDATE_SA_ADDRESSES of a responder"), "it says so");
    assert_eq!(sim.hosts[A].sas[0].remote().ip().to_string(), SUN.address);
    sim.assert(sim.sent.len() == seen + 1, "it is answered");
    sim.assert(sim.trace.contains("generating INFORMATIONAL response") && sim.trace.contains("N(COOKIE2) ]"), "echo");
}

/// A peer may list what it likes; we send to a bounded number of places.
#[test]
fn a_long_list_is_cut() {
    let mut sim = pair();
    sim.rekey_child(B);
    let request = {
        sim.settle();
        let seen = sim.sent.len();
        sim.rekey_child(B);
        sim.net.clear();
        sim.sent[seen].clone()
    };
    let mut header = request.header().unwrap();
    header.exchange = ExchangeType::Informational;
    let list: Vec<Payload> = (0..20_u8).map(|n| Notify::additional_address([203, 0, 113, n].into()).into()).collect();
    sim.deliver_instead(request, header, &list);
    sim.net.clear();
    let seen = sim.sent.len();
    sim.move_to(A, &["192.0.2.7"]);
    let burst = sim.sent.len() - seen;
    sim.assert(burst == 17, "the one in use and sixteen others");
}

/// With `mobike = no` nobody is moved by a message.
#[test]
fn who_does_not_use_it_does_not_follow() {
    let mut sim = mobile(None, true, &[MOON.address], &[SUN.address]);
    sim.configure_host(B, |peer| peer.mobike = false);
    sim.establish();
    sim.rekey_child(A);
    sim.settle();
    let request = {
        let seen = sim.sent.len();
        sim.rekey_child(A);
        sim.net.clear();
        sim.sent[seen].clone()
    };
    let mut header = request.header().unwrap();
    header.exchange = ExchangeType::Informational;
    let update =
        [Notify::new(NotifyType::UpdateSaAddresses).into(), Notify::with_data(NotifyType::Cookie2, &[5; 8]).into()];
    let forged = from_elsewhere(&sim, A, [192, 0, 2, 99], request);
    sim.deliver_instead(forged, header, &update);
    assert_eq!(sim.hosts[B].sas[0].remote().ip().to_string(), MOON.address);
}

/// Our address is not known at first, so a NAT is faked; once it is, MOBIKE finds that there is none.
#[test]
fn faked_encapsulation_is_dropped() {
    let mut sim = mobile(None, true, &[MOON.address], &[SUN.address]);
    sim.hosts[A].knows_source = false;
    sim.initiate(A);
    let line = "unable to determine source address, faking NAT situation";
    sim.assert(sim.trace.contains(line), line);
    let up = |sim: &Sim| [A, B].into_iter().all(|host| sim.child(host).is_some());
    assert!(sim.run_until(Duration::from_secs(1), up));
    for host in [A, B] {
        sim.assert(sim.hosts[host].kernel.sas().iter().all(|sa| sa.encap.is_some()), "ESP in UDP at first");
    }
    sim.settle();
    assert_path(&sim, MOON.address, SUN.address);
    for host in [A, B] {
        sim.assert(sim.hosts[host].kernel.sas().iter().all(|sa| sa.encap.is_none()), "plain ESP in the end");
        let both = [Direction::In, Direction::Out];
        let has = |direction| sim.hosts[host].kernel.sas().iter().any(|sa| sa.direction == direction);
        sim.assert(both.into_iter().all(has), "in both directions");
    }
}

/// Late packets from where the peer was before do not drag us back.
#[test]
fn late_packets_change_nothing() {
    let mut sim = mobile(None, true, &[MOON.address], &[SUN.address]);
    sim.net.nat = Some(crate::sim::net::Nat::new("10.0.0.7".parse().unwrap(), "203.0.113.1".parse().unwrap()));
    sim.establish();
    let before = sim.hosts[B].sas[0].remote();
    sim.move_to(A, &["10.0.0.7"]);
    sim.settle();
    let after = sim.hosts[B].sas[0].remote();
    let spi = sim.hosts[B].kernel.sas().iter().find(|sa| sa.direction == Direction::In).unwrap().id.spi;
    let protocol = strongswan::crypto::Protocol::Esp;
    sim.input(B, ike::Input::MappingChanged { protocol, spi, remote: before });
    assert_eq!(sim.hosts[B].sas[0].remote(), after);
    let elsewhere = SocketAddr::new(after.ip(), after.port() + 1);
    sim.input(B, ike::Input::MappingChanged { protocol, spi, remote: elsewhere });
    assert_eq!(sim.hosts[B].sas[0].remote(), elsewhere, "another mapping of the NAT");
}

/// Addresses at which there is no single host are nothing to try.
#[test]
fn nobody_has_us_send_to_everybody() {
    let mut sim = pair();
    let from = sim.sent[3].clone();
    let header = Header {
        exchange: ExchangeType::Informational,
        flags: HeaderFlags::empty(),
        message_id: MessageId(0),
        ..from.header().unwrap()
    };
    let listed = ["224.0.0.5", "0.0.0.0", "255.255.255.255", "ff02::1", "192.0.2.8"];
    let payloads: Vec<Payload> =
        listed.iter().map(|text| Notify::additional_address(text.parse().unwrap()).into()).collect();
    assert_eq!(sim.deliver_instead(from, header, &payloads).len(), 1);
    sim.move_to(A, &["192.0.2.7"]);
    sim.settle();
    for text in ["- 224.0.0.5", "- 0.0.0.0", "- 255.255", "- ff02"] {
        assert!(!sim.trace.contains(text), "{text}");
    }
    sim.assert(sim.trace.contains("checking path 192.0.2.7[4500] - 192.0.2.8[4500]"), "the others are");
}
