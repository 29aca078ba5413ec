//! What a peer cannot get before it has proven who it is, although IKE_SA_INIT gave it keys.

use std::sync::Arc;
use std::time::Duration;

use ike::IkeSaState;
use ike::config::{AuthClass, AuthRound, IkeConfig, PeerConfig};
use ike::wire::{
    CertEncoding, CertReq, ExchangeType, Header, MessageId, Nonce, Notify, NotifyType, Payload, PayloadType, Received,
};
use strongswan::credentials::{Certificate, CertificateFlags, SecretKind, SharedSecret};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

use crate::sim::config::{esp_proposals, ike_proposals};
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

/// Sends a request in A's name under the keys of its IKE_SA; returns how many datagrams B answers with.
fn request(sim: &mut Sim, exchange: ExchangeType, id: u32, payloads: &[Payload]) -> usize {
    let original = sim.sent[2].clone();
    let header = Header { exchange, message_id: MessageId(id), ..original.header().unwrap() };
    sim.deliver_instead(original, header, payloads).len()
}

#[test]
fn no_child_sa_between_two_rounds() {
    // One round is not enough, so CREATE_CHILD_SA must not get what IKE_AUTH withholds.
    let mut sim = one_round_of_two();
    let keep = [PayloadType::Sa, PayloadType::TsI, PayloadType::TsR];
    let first_request = sim.sent[2].clone();
    let mut payloads = sim.payloads(&first_request);
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

#[test]
fn a_first_request_costs_one_selection_for_each_list_of_proposals() {
    // Thousands of connections usually share their proposals; trying each of them for anybody's datagram is too much.
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| {
        peer.ike =
            Arc::new(IkeConfig { proposals: ike_proposals("aes256-sha384-ecp384"), ..IkeConfig::clone(&peer.ike) });
    });
    let connection = Arc::clone(&sim.hosts[B].connections.0[0]);
    for port in 1..50 {
        let mut other = PeerConfig::clone(&connection);
        other.ike = Arc::new(IkeConfig { remote_port: port, ..IkeConfig::clone(&connection.ike) });
        sim.hosts[B].connections.0.push(Arc::new(other));
    }
    sim.initiate(A);
    sim.settle();
    sim.assert_nothing_left();
    assert_eq!(sim.trace.count("sun  [CFG] configured proposals:"), 1);
}

#[test]
fn a_repeated_certificate_request_counts_once() {
    let mut sim = Sim::pair();
    let root = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/root.pem"));
    let root = Arc::new(Certificate::from_der_or_pem(root).unwrap());
    for host in [A, B] {
        sim.hosts[host].credentials.add_certificate(Arc::clone(&root), CertificateFlags::of(&root));
    }
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 2));
    sim.net.clear();
    let response = sim.sent[1].clone();
    let Ok(Received::Plain(mut message)) = ike::wire::parse(&response.data) else { panic!("not IKE_SA_INIT") };
    message.payloads.retain(|payload| payload.kind() != PayloadType::CertReq);
    let data = root.public_key().spki_sha1().repeat(1000);
    message.push(CertReq { encoding: CertEncoding::X509Signature, data });
    sim.deliver(Datagram { data: message.encode_plain().unwrap(), ..response });
    assert_eq!(sim.trace.count("received cert request for"), 1);
}

#[test]
fn a_responder_does_not_reinitiate_what_it_answers() {
    let mut sim = one_round_of_two();
    let before = sim.hosts[B].sas[0].id();
    sim.input(B, ike::Input::ReauthIke);
    assert_eq!(sim.hosts[B].sas[0].id(), before);
    assert_eq!(sim.hosts[B].sas[0].state(), IkeSaState::Connecting);
}

#[test]
fn a_secret_shared_with_one_of_us_does_not_lead_to_another() {
    // Moon shares its secret with sun. As the connection for sun wants a certificate, the one for mars is tried, whose
    // secret moon has not shown.
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| peer.remote[0].id = None);
    sim.configure_host(B, |peer| peer.local[0].id = Some(Identity::parse("mars.strongswan.org")));
    let mut sun = PeerConfig::clone(&sim.hosts[B].connections.0[0]);
    sun.name = "sun".into();
    sun.local[0].id = Some(Identity::parse("sun.strongswan.org"));
    sun.remote[0].class = AuthClass::Pubkey;
    sim.hosts[B].connections.0.insert(0, Arc::new(sun));
    sim.initiate(A);
    sim.settle();
    sim.assert_nothing_left();
    sim.assert(sim.trace.contains("no alternative config found"), "log");
}

#[test]
fn a_second_round_may_lead_to_another_connection() {
    // What it is to fall back to is looked up when it is needed, by the identity of the first round.
    let mut sim = Sim::pair();
    let round = |id: &str| AuthRound { class: AuthClass::Psk, id: Some(Identity::parse(id)), ..AuthRound::default() };
    for host in [A, B] {
        sim.hosts[host].credentials.add_secret(SharedSecret {
            kind: SecretKind::Ike,
            owners: vec![Identity::parse("second.strongswan.org")],
            data: Secret::from(&b"the second one"[..]),
            id: Some("ike-2".into()),
        });
    }
    sim.configure_host(A, |peer| peer.local.push(round("second.strongswan.org")));
    let base = Arc::clone(&sim.hosts[B].connections.0[0]);
    let named = |name: &str, second: Option<&str>| {
        let mut peer = PeerConfig::clone(&base);
        peer.name = name.into();
        peer.remote.extend(second.map(round));
        Arc::new(peer)
    };
    sim.hosts[B].connections.0 = vec![
        named("first", Some("first.strongswan.org")),
        named("third", Some("third.strongswan.org")),
        named("second", Some("second.strongswan.org")),
    ];
    sim.establish();
    assert_eq!(&*sim.hosts[B].snapshots()[0].config.as_ref().unwrap().name, "second");
    assert_eq!(sim.trace.count("switching to peer config"), 2);
}

#[test]
fn a_second_round_leads_to_no_connection_that_proves_us_otherwise() {
    // We have proved ourselves by the pre-shared key of `first`: a connection that demands a signature of us is none to end
    // with, whatever the peer proves.
    for class in [AuthClass::Psk, AuthClass::Pubkey] {
        let mut sim = Sim::pair();
        let round =
            |id: &str| AuthRound { class: AuthClass::Psk, id: Some(Identity::parse(id)), ..AuthRound::default() };
        for host in [A, B] {
            let secret = Secret::from(&b"the second one"[..]);
            let owners = vec![Identity::parse("second.strongswan.org")];
            sim.hosts[host].credentials.add_secret(SharedSecret::new(SecretKind::Ike, secret, owners));
        }
        sim.configure_host(A, |peer| peer.local.push(round("second.strongswan.org")));
        let base = Arc::clone(&sim.hosts[B].connections.0[0]);
        let named = |name: &str, second: &str, class: &AuthClass| {
            let mut peer = PeerConfig::clone(&base);
            peer.name = name.into();
            peer.local[0].class = class.clone();
            peer.remote.push(round(second));
            Arc::new(peer)
        };
        sim.hosts[B].connections.0 = vec![
            named("first", "first.strongswan.org", &AuthClass::Psk),
            named("second", "second.strongswan.org", &class),
        ];
        sim.initiate(A);
        sim.settle();
        if class == AuthClass::Psk {
            sim.assert_established(1, 1);
        } else {
            sim.assert(sim.trace.contains("AUTH_FAILED"), "it says so");
            sim.assert_nothing_left();
        }
    }
}
