//! Every prefix and corruption of every message of a handshake: no panic, no leak, and nothing an attacker on the path can
//! do to an established IKE_SA.

use std::time::Duration;

use ike::wire::{HEADER_LEN, NotifyType, PayloadType, Received};
use ike::{IkeSaState, Input};

use crate::sim::net::Datagram;
use crate::sim::{A, B, Sim};

/// The messages of a handshake, a rekeying of both kinds and a deletion; the first two are IKE_SA_INIT.
fn recorded() -> Vec<Datagram> {
    let mut sim = Sim::pair();
    sim.establish();
    sim.rekey_child(A);
    sim.settle();
    sim.input(B, Input::RekeyIke);
    sim.settle();
    sim.input(A, Input::TerminateIke { force: false });
    sim.settle();
    sim.sent.clone()
}

/// Calls `check` with every prefix of `bytes`, and with each byte replaced.
fn corruptions(bytes: &[u8], mut check: impl FnMut(Vec<u8>)) {
    for len in 0..bytes.len() {
        check(bytes[..len].to_vec());
    }
    for at in 0..bytes.len() {
        for value in [0, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x80, bytes[at].wrapping_add(1)] {
            if value != bytes[at] {
                let mut copy = bytes.to_vec();
                copy[at] = value;
                check(copy);
            }
        }
    }
}

/// A fresh pair of which A has sent its first message and nothing was delivered.
fn started() -> (Sim, Datagram) {
    let mut sim = Sim::with_seed(1, false);
    sim.net.conditions.loss = 100;
    sim.initiate(A);
    let request = sim.sent[0].clone();
    (sim, request)
}

#[test]
fn corrupted_first_requests() {
    let (mut sim, request) = started();
    let mut count = 0;
    corruptions(&request.data, |data| {
        count += 1;
        sim.deliver(Datagram { data, ..request.clone() });
    });
    assert!(count > 1000);
    // What looked like a handshake is half open, and ends by itself; so does A's attempt.
    sim.run_for(Duration::from_secs(300));
    sim.assert_nothing_left();
}

#[test]
fn corrupted_first_responses_do_not_stop_a_handshake() {
    // Only what is unprotected by nature may hurt: an error notify, or a different nonce or key. Here a corrupted copy arrives
    // before the right response; the handshake may fail, but nothing may be left over.
    let mut response = None;
    {
        let mut sim = Sim::pair();
        sim.initiate(A);
        assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 2));
        response.replace(sim.sent[1].data.clone());
    }
    let response = response.unwrap();
    let mut samples = Vec::new();
    corruptions(&response, |data| samples.push(data));
    for data in samples.into_iter() {
        let mut sim = Sim::with_seed(1, false);
        sim.initiate(A);
        assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 2));
        let (from, to) = (sim.sent[1].from, sim.sent[1].to);
        sim.deliver(Datagram { from, to, data });
        sim.run_for(Duration::from_secs(400));
        sim.assert_agreement();
    }
}

#[test]
fn forged_protected_messages_are_ignored() {
    // Corrupted copies of all later messages, to both ends, in every state they are in when these arrive.
    for at in 2..recorded().len() {
        let mut sim = Sim::with_seed(1, false);
        let mut script = script();
        while sim.sent.len() <= at {
            if !sim.step(sim.now + Duration::from_secs(30)) {
                script.remove(0)(&mut sim);
            }
        }
        let original = sim.sent[at].clone();
        let before = [A, B].map(|host| sim.describe(host));
        let sent = sim.sent.len();
        corruptions(&original.data, |data| {
            // The receiver SPI and the header's version decide where it goes; everything else is authenticated.
            let reachable = data.len() >= HEADER_LEN && data[..16] == original.data[..16];
            sim.deliver(Datagram { data, ..original.clone() });
            if reachable {
                let after = [A, B].map(|host| sim.describe(host));
                assert_eq!(before, after);
            }
        });
        assert_eq!(sim.sent.len(), sent, "an answer to a forgery of message {at}");
        while !script.is_empty() {
            if !sim.step(sim.now + Duration::from_secs(30)) {
                script.remove(0)(&mut sim);
            }
        }
        sim.run_for(Duration::from_secs(300));
        sim.assert_nothing_left();
    }
}

type Action = Box<dyn FnOnce(&mut Sim)>;

/// The inputs behind [`recorded`], to be given one after the other whenever nothing happens any more.
fn script() -> Vec<Action> {
    vec![
        Box::new(|sim| {
            sim.initiate(A);
        }),
        Box::new(|sim| sim.rekey_child(A)),
        Box::new(|sim| sim.input(B, Input::RekeyIke)),
        Box::new(|sim| sim.input(A, Input::TerminateIke { force: false })),
    ]
}

/// A simulation in which the protected message `at` was sent but not delivered, and nothing else is under way.
fn stopped_at(at: usize) -> Option<Sim> {
    let mut sim = Sim::with_seed(1, false);
    sim.configure(|peer| peer.dpd_delay = Duration::from_secs(60));
    let mut script = script();
    while sim.sent.len() <= at {
        if !sim.step(sim.now + Duration::from_secs(30)) {
            if script.is_empty() {
                return None;
            }
            script.remove(0)(&mut sim);
        }
    }
    sim.net.clear();
    Some(sim)
}

/// Replaces the content of message `at` by what `change` makes of it, as an authenticated but broken or malicious peer could
/// do, and delivers it. `None` if its sender is gone already, as after the answer to a DELETE.
fn with_content(at: usize, change: impl FnOnce(PayloadType, Vec<u8>) -> (PayloadType, Vec<u8>)) -> Option<Sim> {
    let mut sim = stopped_at(at)?;
    let original = sim.sent[at].clone();
    let (from, to) = if original.from.ip() == sim.hosts[A].address { (A, B) } else { (B, A) };
    let find = |sim: &Sim, host: usize| {
        let header = original.header().unwrap();
        sim.hosts[host].sas.iter().position(|sa| sa.id().initiator == header.initiator_spi)
    };
    let (receiver, sender) = (find(&sim, to)?, find(&sim, from)?);
    let (header, first, content) = ike::testing::open(&mut sim.hosts[to].sas[receiver], &original.data).unwrap();
    let (first, content) = change(first, content);
    let mut rng = sim.rng.fork();
    let data = ike::testing::seal(&mut sim.hosts[from].sas[sender], &mut rng, &header, first, &content).unwrap();
    sim.deliver(Datagram { data, ..original });
    Some(sim)
}

/// Both ends are done with each other and have kept nothing.
fn finish(mut sim: Sim) {
    sim.run_for(Duration::from_secs(20));
    for host in [A, B] {
        for ike in sim.hosts[host].snapshots() {
            sim.input_to(host, ike.unique_id, Input::TerminateIke { force: false });
        }
    }
    sim.run_for(Duration::from_secs(400));
    sim.assert_nothing_left();
}

#[test]
fn malformed_content_of_protected_messages() {
    for at in 2..recorded().len() {
        let mut samples = Vec::new();
        let original = with_content(at, |first, content| {
            corruptions(&content, |bytes| samples.push(bytes));
            (first, content)
        });
        if let Some(sim) = original {
            finish(sim);
        }
        for sample in samples {
            finish(with_content(at, |first, _| (first, sample)).unwrap());
        }
    }
}

#[test]
fn all_payload_types_in_protected_messages() {
    // IKE_AUTH, CREATE_CHILD_SA and INFORMATIONAL requests.
    for at in [2, 4, 6] {
        for kind in 0..=u8::MAX {
            for critical in [0, 0x80] {
                let sim = with_content(at, |first, content| {
                    let mut changed = vec![first.number(), critical, 0, 8, 1, 2, 3, 4];
                    changed.extend(content);
                    (kind.into(), changed)
                });
                let mut sim = sim.unwrap();
                let sent = sim.sent[at + 1..].to_vec();
                let unknown = matches!(PayloadType::from(kind), PayloadType::Unknown(_));
                // Each of them is answered, and if it is unknown and critical, with that.
                assert!(!sent.is_empty(), "no answer to type {kind} in message {at}");
                let answer = ike::testing::open(
                    sim.hosts.iter_mut().flat_map(|host| &mut host.sas).find(|sa| sa.local() == sent[0].to).unwrap(),
                    &sent[0].data,
                );
                if unknown && critical != 0 {
                    let (_, first, content) = answer.unwrap();
                    assert_eq!(first, PayloadType::Notify);
                    assert_eq!(content[6..9], [0, 1, kind]);
                }
                finish(sim);
            }
        }
    }
}

#[test]
fn all_payload_types_in_a_first_request() {
    for kind in 0..=u8::MAX {
        for critical in [0, 0x80] {
            let (mut sim, request) = started();
            let mut data = request.data.clone();
            // In front of all others.
            let next = data[16];
            data[16] = kind;
            data.splice(HEADER_LEN..HEADER_LEN, [next, critical, 0, 8, 1, 2, 3, 4]);
            let len = u32::try_from(data.len()).unwrap();
            data[24..28].copy_from_slice(&len.to_be_bytes());
            let sent = sim.sent.len();
            sim.deliver(Datagram { data, ..request });
            let answers: Vec<_> = sim.sent[sent..].iter().map(|d| ike::wire::parse(&d.data)).collect();
            let unknown = matches!(PayloadType::from(kind), PayloadType::Unknown(_));
            match answers.as_slice() {
                [Ok(Received::Plain(answer))] if unknown && critical != 0 => {
                    let notify = answer.notify(NotifyType::UnsupportedCriticalPayload).unwrap();
                    assert_eq!(notify.data.as_slice(), [kind]);
                }
                [Ok(Received::Plain(answer))] if unknown => assert!(answer.sa().is_some(), "{kind}"),
                [] => assert!(!unknown, "{kind}"),
                [Ok(Received::Plain(_))] => {}
                other => panic!("{kind}: {other:?}"),
            }
            sim.run_for(Duration::from_secs(300));
            sim.assert_nothing_left();
        }
    }
}

#[test]
fn old_messages_change_nothing() {
    // A replay of everything that was ever sent, to the addresses it was sent to.
    let mut sim = Sim::pair();
    sim.establish();
    sim.rekey_child(A);
    sim.settle();
    let recorded = sim.sent.clone();
    let before = [A, B].map(|host| sim.describe(host));
    for datagram in recorded {
        sim.deliver(datagram);
    }
    // A replayed first request makes a half-open IKE_SA, which nobody completes.
    sim.run_for(Duration::from_secs(60));
    assert_eq!(before, [A, B].map(|host| sim.describe(host)));
    assert!(sim.hosts[B].sas.iter().all(|sa| sa.state() == IkeSaState::Established));
}
