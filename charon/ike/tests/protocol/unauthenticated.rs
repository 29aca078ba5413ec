//! What a peer cannot get before it has proven who it is, although IKE_SA_INIT gave it keys.

use std::sync::Arc;
use std::time::Duration;

use ike::IkeSaState;
use ike::config::{AuthClass, AuthRound};
use ike::wire::{
    ExchangeType, Header, Message, MessageId, Nonce, Notify, NotifyType, Payload, PayloadType, Writer, emit_chain,
};
use strongswan::credentials::{SecretKind, SharedSecret};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

use crate::sim::config::esp_proposals;
use crate::sim::net::Datagram;
use crate::sim::{A, B, Sim};

/// A pair in which A has to authenticate twice, stopped when the response to its first round is on its way.
fn one_round_of_two() -> Sim {
    let mut sim = Sim::pair();
    let id = Identity::parse("second.strongswan.org");
    let round = AuthRound { class: AuthClass::Psk, id: Some(id.clone()), ..AuthRound::default() };
    for host in [A, B] {
        sim.hosts[host].credentials.add_secret(SharedSecret {
            kind: SecretKind::Ike,
            owners: vec![id.clone()],
            data: Secret::from(&b"the second one"[..]),
            id: Some("ike-2".into()),
        });
    }
    sim.configure_host(A, |peer| peer.local.push(round.clone()));
    sim.configure_host(B, |peer| {
        peer.remote.push(round);
        // no key exchange of its own, so that the offer of IKE_AUTH would do
        Arc::make_mut(&mut peer.children[0]).proposals = esp_proposals("aes128gcm16");
    });
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 4));
    sim.net.clear();
    assert_eq!(sim.hosts[B].sas[0].state(), IkeSaState::Connecting);
    sim
}

/// The payloads of A's first IKE_AUTH request.
fn first_request(sim: &mut Sim) -> Vec<Payload> {
    let data = sim.sent[2].data.clone();
    let (header, first, content) = ike::testing::open(&mut sim.hosts[B].sas[0], &data).unwrap();
    Message::parse_inner(header, first, &content).unwrap().payloads
}

/// Sends a request in A's name under the keys of its IKE_SA; returns how many datagrams B answers with.
fn request(sim: &mut Sim, exchange: ExchangeType, id: u32, payloads: &[Payload]) -> usize {
    let original = sim.sent[2].clone();
    let header = Header { exchange, message_id: MessageId(id), ..original.header().unwrap() };
    let mut w = Writer::default();
    emit_chain(payloads, &mut w);
    let content = w.finish().unwrap();
    let first = payloads.first().map_or(PayloadType::NoNext, Payload::kind);
    let mut rng = sim.rng.fork();
    let data = ike::testing::seal(&mut sim.hosts[A].sas[0], &mut rng, &header, first, &content).unwrap();
    let before = sim.sent.len();
    sim.deliver(Datagram { data, ..original });
    sim.sent.len() - before
}

#[test]
fn no_child_sa_between_two_rounds() {
    // One round is not enough, so CREATE_CHILD_SA must not get what IKE_AUTH withholds.
    let mut sim = one_round_of_two();
    let keep = [PayloadType::Sa, PayloadType::TsI, PayloadType::TsR];
    let mut payloads = first_request(&mut sim);
    payloads.retain(|payload| keep.contains(&payload.kind()));
    let mut rng = sim.rng.fork();
    payloads.insert(1, Nonce::generate(&mut rng).into());
    assert_eq!(request(&mut sim, ExchangeType::CreateChildSa, 2, &payloads), 0);
    assert!(sim.hosts[B].kernel.is_empty(), "{}", sim.describe(B));
    assert!(sim.hosts[B].sas[0].snapshot().children.is_empty());
    sim.assert(
        sim.trace.contains("received CREATE_CHILD_SA request for unestablished IKE_SA, rejected"),
        "the reason in the log",
    );
}

#[test]
fn informational_requests_between_two_rounds() {
    // Answered as at any other time, and IKE_AUTH goes on behind it.
    let mut sim = one_round_of_two();
    assert_eq!(request(&mut sim, ExchangeType::Informational, 2, &[]), 1);
    assert_eq!(sim.hosts[B].sas[0].state(), IkeSaState::Connecting);
    let tasks = sim.hosts[B].sas[0].snapshot().tasks_passive;
    assert!(tasks.contains(&ike::TaskType::IkeAuth) && tasks.contains(&ike::TaskType::ChildCreate), "{tasks:?}");
    // A peer that cannot authenticate us says so, and nothing is left of the attempt.
    let failed = Notify::new(NotifyType::AuthenticationFailed).into();
    assert_eq!(request(&mut sim, ExchangeType::Informational, 3, &[failed]), 1);
    assert!(sim.hosts[B].sas.is_empty(), "{}", sim.describe(B));
}
