//! Every message to an IKE_SA in every state: what the table of admitted messages does not name changes nothing.

use std::time::Duration;

use ike::testing::{self, Direction, Pending, admits};
use ike::wire::{ExchangeType, Header, HeaderFlags, Message, MessageId, PayloadType};
use ike::{IkeSa, IkeSaState, Input, Role, UniqueIds};

use crate::sim::net::{Datagram, Fate};
use crate::sim::{A, B, Sim};

const EXCHANGES: [ExchangeType; 8] = [
    ExchangeType::IkeSaInit,
    ExchangeType::IkeAuth,
    ExchangeType::CreateChildSa,
    ExchangeType::Informational,
    ExchangeType::IkeSessionResume,
    ExchangeType::IkeIntermediate,
    ExchangeType::IkeFollowupKe,
    ExchangeType::Unknown(200),
];

/// A host with an IKE_SA in a state, reached by the protocol; nothing it sends gets through.
fn reach(state: IkeSaState, role: Role) -> Option<(Sim, usize)> {
    let mut sim = Sim::pair();
    let host = if role == Role::Initiator { A } else { B };
    let lose_all = |sim: &mut Sim| {
        sim.net.script(|_| Fate::Drop);
        sim.net.clear();
    };
    match state {
        IkeSaState::Connecting if role == Role::Initiator => {
            // with keys, so that what is protected can be looked into
            sim.initiate(A);
            sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 3);
            lose_all(&mut sim);
        }
        IkeSaState::Connecting => {
            sim.initiate(A);
            sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 2);
            lose_all(&mut sim);
        }
        IkeSaState::Established => {
            sim.establish();
            lose_all(&mut sim);
        }
        IkeSaState::Rekeying => {
            sim.establish();
            lose_all(&mut sim);
            sim.input(host, Input::RekeyIke);
        }
        IkeSaState::Rekeyed => {
            sim.establish();
            // the peer rekeys it, and nothing more is heard of the peer
            let address = sim.hosts[host].address;
            sim.net.script(move |d| if d.from.ip() == address { Fate::Drop } else { Fate::Pass });
            sim.input(1 - host, Input::RekeyIke);
            let rekeyed = |sim: &Sim| sim.hosts[host].sas.iter().any(|sa| sa.state() == IkeSaState::Rekeyed);
            sim.run_until(Duration::from_secs(1), rekeyed);
            lose_all(&mut sim);
            // its successor has another role
            sim.hosts[host].sas.retain(|sa| sa.state() == IkeSaState::Rekeyed);
        }
        IkeSaState::Deleting => {
            sim.establish();
            lose_all(&mut sim);
            sim.input(host, Input::TerminateIke { force: false });
        }
        IkeSaState::Created if role == Role::Initiator => {
            // its peer's name is being resolved
            let peer = std::sync::Arc::clone(&sim.hosts[A].connections.0[0]);
            let mut rng = sim.rng.fork();
            let (id, spi) = (sim.hosts[A].ids.ike_sa_id(), sim.hosts[A].ids.ike_spi(&mut rng, None));
            let sa = IkeSa::initiator(id, spi, peer, sim.now);
            sim.hosts[A].sas.push(sa);
        }
        // a responder in CREATED exists only within one input; nothing makes an IKE_SA passive, or keeps one that is gone
        IkeSaState::Created | IkeSaState::Passive | IkeSaState::Destroying => return None,
    }
    sim.run_for(Duration::from_millis(20));
    let sa = &sim.hosts[host].sas[0];
    assert_eq!((sa.state(), sa.id().role), (state, role));
    Some((sim, host))
}

/// Everything about an IKE_SA that a message could change.
fn picture(sim: &Sim, host: usize) -> String {
    let end = &sim.hosts[host];
    let timers: Vec<_> = end.sas.iter().map(IkeSa::next_timeout).collect();
    let ids: Vec<_> = end.sas.iter().map(testing::message_ids).collect();
    format!("{:?} {timers:?} {ids:?} {} {}", end.snapshots(), end.events.len(), sim.sent.len())
}

/// Delivers a message that the peer could have sent, protected as its exchange demands.
fn deliver(sim: &mut Sim, host: usize, direction: Direction, exchange: ExchangeType) {
    let mut rng = sim.rng.fork();
    let sa = &mut sim.hosts[host].sas[0];
    let id = sa.id();
    let (next, expected) = testing::message_ids(sa);
    let mut flags = HeaderFlags::empty();
    flags.set(HeaderFlags::INITIATOR, id.role == Role::Responder);
    flags.set(HeaderFlags::RESPONSE, direction == Direction::Response);
    let message_id: MessageId = if direction == Direction::Response { next } else { expected };
    let header = Header { initiator_spi: id.initiator, responder_spi: id.responder, exchange, flags, message_id };
    let (from, to) = (sa.remote(), sa.local());
    // without keys nobody can protect anything: no key fits
    let data = testing::forge(sa, &mut rng, &header, PayloadType::NoNext, &[]);
    let data = data.unwrap_or_else(|_| {
        let mut data = Message::new(header).encode_plain().unwrap();
        data[16] = PayloadType::Encrypted.number();
        data.extend([0, 0, 0, 36]);
        data.extend([0; 32]);
        let length = u32::try_from(data.len()).unwrap();
        data[24..28].copy_from_slice(&length.to_be_bytes());
        data
    });
    sim.deliver(Datagram { from, to, data });
}

const STATES: [IkeSaState; 8] = [
    IkeSaState::Created,
    IkeSaState::Connecting,
    IkeSaState::Established,
    IkeSaState::Passive,
    IkeSaState::Rekeying,
    IkeSaState::Rekeyed,
    IkeSaState::Deleting,
    IkeSaState::Destroying,
];

#[test]
fn every_message_in_every_state() {
    let (mut admitted, mut ignored) = (0, 0);
    for state in STATES {
        for role in [Role::Initiator, Role::Responder] {
            for direction in [Direction::Request, Direction::Response] {
                for exchange in EXCHANGES {
                    let Some((mut sim, host)) = reach(state, role) else { continue };
                    let in_the_air = testing::in_the_air(&sim.hosts[host].sas[0]);
                    // no additional key exchange is due
                    let mut expected = admits(state, role, direction, exchange, Pending::default());
                    if direction == Direction::Response {
                        // nothing to answer, no answer; IKE_SA_INIT has no place inside of protection
                        expected &= in_the_air.is_some() && exchange != ExchangeType::IkeSaInit;
                    }
                    let before = picture(&sim, host);
                    deliver(&mut sim, host, direction, exchange);
                    let changed = picture(&sim, host) != before;
                    assert_eq!(changed, expected, "{state} {role:?} {direction:?} {exchange}\n{}", sim.trace.text());
                    if expected { admitted += 1 } else { ignored += 1 }
                }
            }
        }
    }
    assert!(admitted >= 20 && ignored >= 100, "{admitted} admitted, {ignored} ignored");
}

#[test]
fn only_an_initial_request_makes_an_ike_sa() {
    for exchange in EXCHANGES {
        let mut sim = Sim::pair();
        sim.initiate(A);
        let mut first = sim.sent[0].clone();
        sim.net.clear();
        first.data[18] = exchange.number();
        sim.deliver(first);
        let serves = admits(IkeSaState::Created, Role::Responder, Direction::Request, exchange, Pending::default());
        assert_eq!(!sim.hosts[B].sas.is_empty(), serves, "{exchange}");
        assert_eq!(sim.sent.len() > 1, serves, "{exchange}");
    }
}
