//! More than one key exchange (RFC 9370): in IKE_INTERMEDIATE exchanges (RFC 9242) when an IKE_SA comes to be, in
//! IKE_FOLLOWUP_KE exchanges behind CREATE_CHILD_SA.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{AuthClass, AuthRound, Childless, IkeConfig};
use ike::wire::{ExchangeType, Header, Ke, MessageId, Notify, NotifyType, Payload, Received};
use ike::{Algorithms, Event, Input};
use strongswan::credentials::{SecretKind, SharedSecret};
use strongswan::crypto::{KeyExchange, KeyExchangeMethod, Secret, ke};
use strongswan::identity::Identity;

use crate::sim::config::{esp_proposals, ike_proposals};
use crate::sim::net::{Datagram, Fate, Nat};
use crate::sim::{A, B, Sim};

const PLAIN: &str = "aes128gcm16-prfsha256-x25519";
const HYBRID: &str = "aes128gcm16-prfsha256-x25519-ke1_mlkem768";
const OPTIONAL: &str = "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke1_none";
const HYBRID_ESP: &str = "aes128gcm16-x25519-ke1_mlkem768";
const TWICE_ESP: &str = "aes128gcm16-x25519-ke1_mlkem512-ke2_ecp256";

/// Changes the IKE proposals of one host.
fn propose(sim: &mut Sim, host: usize, ike: &str) {
    sim.configure_host(host, |peer| {
        peer.ike = Arc::new(IkeConfig { proposals: ike_proposals(ike), ..IkeConfig::clone(&peer.ike) });
    });
}

/// A pair with these proposals on both sides, IKE and ESP.
fn pair_of(seed: u64, ike: &str, esp: &str) -> Sim {
    let mut sim = Sim::with_seed(seed, true);
    for host in [A, B] {
        propose(&mut sim, host, ike);
        sim.configure_host(host, |peer| Arc::make_mut(&mut peer.children[0]).proposals = esp_proposals(esp));
    }
    sim
}

/// An established pair that does everything with ML-KEM.
fn hybrid(seed: u64) -> Sim {
    let mut sim = pair_of(seed, HYBRID, HYBRID_ESP);
    sim.establish();
    sim
}

/// The exchanges of all requests since datagram number `since`, however many fragments they took.
fn exchanges(sim: &Sim, since: usize) -> Vec<ExchangeType> {
    let headers = sim.sent[since..].iter().filter_map(|d| d.header());
    let mut requests: Vec<_> = headers.filter(|header| header.is_request()).collect();
    requests.dedup_by_key(|header| (header.exchange, header.message_id));
    requests.into_iter().map(|header| header.exchange).collect()
}

/// What both hosts say the additional key exchanges of the IKE_SA are.
fn additional(sim: &Sim) -> String {
    let of = |host: usize| {
        let snapshots = sim.hosts[host].snapshots();
        names(&snapshots[0].algorithms.clone().unwrap())
    };
    assert_eq!(of(A), of(B));
    of(A)
}

/// What both hosts say the additional key exchanges of the newest CHILD_SA are.
fn of_child(sim: &Sim) -> String {
    let of = |host: usize| {
        let newest = sim.child(host).unwrap();
        let snapshots = sim.hosts[host].snapshots();
        let children: Vec<_> = snapshots.iter().flat_map(|ike| &ike.children).collect();
        names(&children.iter().find(|child| child.unique_id == newest).unwrap().algorithms)
    };
    assert_eq!(of(A), of(B));
    of(A)
}

fn names(algorithms: &Algorithms) -> String {
    let methods = algorithms.additional_key_exchanges.iter().map(|(_, method)| method.to_string());
    methods.collect::<Vec<_>>().join(" ")
}

/// Runs until datagram number `count` is on its way, which does not arrive.
fn until_sent(sim: &mut Sim, count: usize) -> Datagram {
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == count));
    sim.net.clear();
    sim.sent[count - 1].clone()
}

/// Changes an IKE_SA_INIT message on its way.
fn tampered(datagram: &Datagram, change: impl FnOnce(&mut Vec<Payload>)) -> Datagram {
    let Ok(Received::Plain(mut message)) = ike::wire::parse(&datagram.data) else { panic!("not in the clear") };
    change(&mut message.payloads);
    Datagram { data: message.encode_plain().unwrap(), ..datagram.clone() }
}

fn without(payloads: &mut Vec<Payload>, kind: NotifyType) {
    payloads.retain(|payload| !matches!(payload, Payload::Notify(notify) if notify.kind == kind));
}

/// Nobody gets anywhere.
#[track_caller]
fn assert_nothing_comes_of_it(sim: &mut Sim) {
    sim.run_for(Duration::from_secs(300));
    for host in [A, B] {
        assert_eq!(sim.events(host, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
        assert_eq!(sim.events(host, |event| matches!(event, Event::ChildUpDown { up: true, .. })), 0);
    }
    sim.assert_nothing_left();
}

// --- IKE_INTERMEDIATE

#[test]
fn initial() {
    let sim = hybrid(1);
    assert_eq!(exchanges(&sim, 0), [ExchangeType::IkeSaInit, ExchangeType::IkeIntermediate, ExchangeType::IkeAuth]);
    assert_eq!(sim.sent.len(), 6);
    assert_eq!(additional(&sim), "ML_KEM_768");
    assert_eq!(of_child(&sim), "");
}

#[test]
fn initial_with_all_seven() {
    let all =
        "aes256-sha384-x25519-ke1_mlkem512-ke2_mlkem768-ke3_mlkem1024-ke4_ecp256-ke5_ecp384-ke6_ecp521-ke7_modp2048";
    let mut sim = pair_of(1, all, "aes128gcm16");
    sim.establish();
    assert_eq!(additional(&sim), "ML_KEM_512 ML_KEM_768 ML_KEM_1024 ECP_256 ECP_384 ECP_521 MODP_2048");
    assert_eq!(exchanges(&sim, 0).len(), 9);
}

#[test]
fn initial_with_every_prf_and_gaps() {
    for (proposal, expected) in [
        ("aes128gcm16-prfsha384-x25519-ke3_mlkem768-ke7_ecp256", "ML_KEM_768 ECP_256"),
        ("aes128gcm16-prfaesxcbc-ecp256-ke1_mlkem512", "ML_KEM_512"),
        ("aes128gcm16-prfaescmac-ecp384-ke1_none-ke2_mlkem512", "ML_KEM_512"),
        ("aes256-sha512-modp2048-ke1_none", ""),
    ] {
        let mut sim = pair_of(1, proposal, "aes128gcm16");
        sim.establish();
        assert_eq!(additional(&sim), expected);
    }
}

#[test]
fn initial_from_an_mlkem_first() {
    // What is large goes where it can be fragmented, but nothing says it has to.
    let mut sim = pair_of(1, "aes128gcm16-prfsha256-mlkem768-ke1_x25519", "aes128gcm16");
    sim.establish();
    assert_eq!(additional(&sim), "CURVE_25519");
}

#[test]
fn signatures_cover_them() {
    let mut sim = crate::certificates::ecdsa_and_rsa();
    for host in [A, B] {
        propose(&mut sim, host, "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_ecp256");
    }
    sim.establish();
    assert_eq!(additional(&sim), "ML_KEM_768 ECP_256");
}

#[test]
fn with_a_post_quantum_secret() {
    // RFC 8784 changes the keys that the last key exchange has left.
    let id = Identity::parse("ppk@example.org");
    let mut sim = pair_of(1, HYBRID, HYBRID_ESP);
    sim.configure(|peer| (peer.ppk_id, peer.ppk_required) = (Some(id.clone()), true));
    for host in &mut sim.hosts {
        let secret = Secret::from(&b"shared by both"[..]);
        host.credentials.add_secret(SharedSecret::new(SecretKind::Ppk, secret, vec![id.clone()]));
    }
    sim.establish();
    assert!(sim.hosts[A].snapshots()[0].ppk);
    for host in [A, B] {
        sim.rekey_child(host);
        sim.settle();
        sim.input(host, Input::RekeyIke);
        sim.settle();
        sim.assert_established(1, 1);
    }
}

#[test]
fn two_rounds_of_authentication() {
    // Both cover the message ID of the first one.
    let id = Identity::parse("second.strongswan.org");
    let round = AuthRound { class: AuthClass::Psk, id: Some(id.clone()), ..AuthRound::default() };
    let mut sim = pair_of(1, HYBRID, HYBRID_ESP);
    for host in &mut sim.hosts {
        let secret = Secret::from(&b"the second one"[..]);
        host.credentials.add_secret(SharedSecret::new(SecretKind::Ike, secret, vec![id.clone()]));
    }
    sim.configure_host(A, |peer| peer.local.push(round.clone()));
    sim.configure_host(B, |peer| peer.remote.push(round));
    sim.establish();
    assert_eq!(exchanges(&sim, 0)[2..], [ExchangeType::IkeAuth; 2]);
}

#[test]
fn with_eap() {
    // its rounds of IKE_AUTH without AUTH payload, and a key of its own in those with one
    for method in ["eap-md5", "eap-mschapv2"] {
        let mut sim = crate::eap::pair(method, method);
        for host in [A, B] {
            propose(&mut sim, host, HYBRID);
        }
        sim.establish();
        assert_eq!(additional(&sim), "ML_KEM_768");
        sim.input(A, Input::RekeyIke);
        sim.settle();
        sim.assert_established(1, 1);
    }
}

#[test]
fn after_a_cookie_and_another_first_method() {
    let mut sim = pair_of(1, "aes128gcm16-prfsha256-ecp256-x25519-ke1_mlkem768", HYBRID_ESP);
    propose(&mut sim, B, HYBRID);
    sim.hosts[B].demand_cookies = true;
    sim.establish();
    assert_eq!(additional(&sim), "ML_KEM_768");
}

#[test]
fn without_a_child() {
    let mut sim = pair_of(1, HYBRID, HYBRID_ESP);
    sim.configure(|peer| {
        peer.ike = Arc::new(IkeConfig { childless: Childless::Force, ..IkeConfig::clone(&peer.ike) });
    });
    sim.establish();
    // so the first one has key exchanges of its own
    assert_eq!(of_child(&sim), "ML_KEM_768");
}

#[test]
fn behind_a_nat() {
    let mut sim = pair_of(1, HYBRID, HYBRID_ESP);
    sim.net.nat = Some(Nat::new(sim.hosts[A].address, "203.0.113.1".parse().unwrap()));
    sim.establish();
    sim.rekey_child(A);
    sim.settle();
    sim.assert_established(1, 1);
    assert_eq!(of_child(&sim), "ML_KEM_768");
}

#[test]
fn in_fragments_of_any_size() {
    // AUTH covers messages as if they had not been fragmented, and each side has its own idea of the size.
    for (a, b) in [(250, 1280), (1280, 250), (600, 300)] {
        let mut sim = pair_of(1, "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_mlkem1024", HYBRID_ESP);
        sim.hosts[A].settings.fragment_size.default = a;
        sim.hosts[B].settings.fragment_size.default = b;
        sim.establish();
        assert!(sim.sent.iter().any(|d| d.to_string().contains("IKE_INTERMEDIATE request 1 fragment")) || a == 1280);
        sim.rekey_child(A);
        sim.settle();
        sim.assert_established(1, 1);
        sim.input(B, Input::RekeyIke);
        sim.settle();
        sim.assert_established(1, 1);
    }
}

#[test]
fn fragments_in_any_order_and_more_than_once() {
    for seed in 0..30 {
        let mut sim = pair_of(seed, "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_mlkem1024", HYBRID_ESP);
        for host in &mut sim.hosts {
            host.settings.fragment_size.default = 300;
        }
        sim.net.conditions.jitter = Duration::from_millis(200);
        sim.net.conditions.duplication = 30;
        sim.net.conditions.loss = 5;
        sim.initiate(A);
        sim.run_for(Duration::from_secs(100));
        sim.assert_established(1, 1);
    }
}

#[test]
fn each_message_may_get_lost_or_come_twice() {
    for index in 0..6 {
        for fate in [Fate::Drop, Fate::Duplicate] {
            let mut sim = pair_of(1, HYBRID, HYBRID_ESP);
            let mut count = 0;
            sim.net.script(move |_| {
                count += 1;
                if count == index + 1 { fate } else { Fate::Pass }
            });
            sim.initiate(A);
            sim.run_for(Duration::from_secs(20));
            sim.assert_established(1, 1);
        }
    }
}

#[test]
fn optional_ones_are_left_out_if_the_peer_has_none() {
    for (a, b) in [(OPTIONAL, PLAIN), (PLAIN, OPTIONAL)] {
        let mut sim = pair_of(1, a, "aes128gcm16");
        propose(&mut sim, B, b);
        sim.establish();
        assert_eq!(additional(&sim), "");
        assert_eq!(sim.sent.len(), 4);
    }
    let mut sim = pair_of(1, OPTIONAL, "aes128gcm16");
    sim.establish();
    assert_eq!(additional(&sim), "ML_KEM_768");
}

#[test]
fn required_ones_are_not_left_out() {
    for (a, b) in [(HYBRID, PLAIN), (PLAIN, HYBRID), (HYBRID, "aes128gcm16-prfsha256-x25519-ke1_mlkem1024")] {
        let mut sim = pair_of(1, a, "aes128gcm16");
        propose(&mut sim, B, b);
        sim.initiate(A);
        assert_nothing_comes_of_it(&mut sim);
    }
}

#[test]
fn a_method_is_not_used_twice() {
    let mut sim = pair_of(1, "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_mlkem768", "aes128gcm16");
    sim.initiate(A);
    assert_nothing_comes_of_it(&mut sim);
}

#[test]
fn an_announcement_stripped_from_the_request() {
    for proposals in [HYBRID, OPTIONAL] {
        let mut sim = pair_of(1, proposals, "aes128gcm16");
        sim.initiate(A);
        let request = until_sent(&mut sim, 1);
        sim.deliver(tampered(&request, |p| without(p, NotifyType::IntermediateExchangeSupported)));
        sim.assert(
            sim.trace
                .contains("peer didn't send INTERMEDIATE_EXCHANGE_SUPPORTED while proposing multiple key exchanges"),
            "log",
        );
        sim.settle();
        assert!(sim.hosts[B].sas.is_empty());
        assert_nothing_comes_of_it(&mut sim);
    }
}

#[test]
fn an_announcement_stripped_from_the_response() {
    let mut sim = pair_of(1, OPTIONAL, "aes128gcm16");
    sim.initiate(A);
    let response = until_sent(&mut sim, 2);
    sim.deliver(tampered(&response, |p| without(p, NotifyType::IntermediateExchangeSupported)));
    sim.assert(
        sim.trace.contains("peer didn't send INTERMEDIATE_EXCHANGE_SUPPORTED while accepting multiple key exchanges"),
        "log",
    );
    assert!(sim.hosts[A].sas.is_empty());
    assert_nothing_comes_of_it(&mut sim);
}

#[test]
fn a_stripped_proposal_ends_at_authentication() {
    // Someone in between makes both believe that the other has no additional key exchanges.
    let mut sim = pair_of(1, OPTIONAL, "aes128gcm16");
    sim.initiate(A);
    let request = until_sent(&mut sim, 1);
    sim.deliver(tampered(&request, |payloads| {
        without(payloads, NotifyType::IntermediateExchangeSupported);
        for payload in payloads {
            let Payload::Sa(sa) = payload else { continue };
            // our own way around stays
            sa.proposals.retain(|offer| offer.proposal.additional_key_exchanges().next().is_none());
            assert_eq!(sa.proposals.len(), 1);
            sa.proposals[0].number = 1;
        }
    }));
    assert_nothing_comes_of_it(&mut sim);
    assert_eq!(sim.trace.count("authentication of 'moon.strongswan.org' with pre-shared key successful"), 0);
}

#[test]
fn authentication_does_not_start_before_the_last_one() {
    // A request with A's identity under the keys of IKE_SA_INIT.
    let mut plain = pair_of(1, PLAIN, "aes128gcm16");
    plain.initiate(A);
    let auth = until_sent(&mut plain, 3);
    let payloads = plain.payloads(&auth);
    for (proposals, sent, id) in [(HYBRID, 3, 1), ("aes128gcm16-prfsha256-x25519-ke1_mlkem512-ke2_ecp256", 5, 2)] {
        let mut sim = pair_of(1, proposals, "aes128gcm16");
        sim.initiate(A);
        let intermediate = until_sent(&mut sim, sent);
        let header =
            Header { exchange: ExchangeType::IkeAuth, message_id: MessageId(id), ..intermediate.header().unwrap() };
        assert!(sim.deliver_instead(intermediate, header, &payloads).is_empty());
        sim.assert(sim.trace.contains("ignoring IKE_AUTH in IKE_SA state CONNECTING"), "log");
        assert!(sim.hosts[B].kernel.is_empty());
        // what is due still works
        sim.run_for(Duration::from_secs(20));
        sim.assert_established(1, 1);
    }
}

#[test]
fn no_further_ones_than_agreed() {
    for proposals in [PLAIN, HYBRID] {
        let mut sim = pair_of(1, proposals, "aes128gcm16");
        sim.initiate(A);
        let auth = until_sent(&mut sim, if proposals == PLAIN { 3 } else { 5 });
        let header = Header { exchange: ExchangeType::IkeIntermediate, ..auth.header().unwrap() };
        assert!(sim.deliver_instead(auth, header, &[]).is_empty());
        sim.run_for(Duration::from_secs(20));
        sim.assert_established(1, 1);
        // nor when all is done
        let sent = sim.sent.len();
        let last = sim.sent[if proposals == PLAIN { 2 } else { 4 }].clone();
        let id = MessageId(if proposals == PLAIN { 2 } else { 3 });
        let header = Header { exchange: ExchangeType::IkeIntermediate, message_id: id, ..last.header().unwrap() };
        assert!(sim.deliver_instead(last, header, &[]).is_empty());
        assert_eq!(sim.sent.len(), sent);
        sim.assert_established(1, 1);
    }
}

#[test]
fn the_order_is_that_of_the_types() {
    let mut sim = pair_of(1, "aes128gcm16-prfsha256-x25519-ke1_mlkem512-ke2_ecp256", "aes128gcm16");
    sim.initiate(A);
    let first = until_sent(&mut sim, 3);
    let header = first.header().unwrap();
    let own = KeyExchange::generate(KeyExchangeMethod::Ecp256).unwrap();
    let ke = Ke { method: own.method(), data: own.public_value().to_vec() };
    let answers = sim.deliver_instead(first, header, &[ke.into()]);
    let answer = sim.payloads(&answers[0]);
    assert!(matches!(&answer[..], [Payload::Notify(n)] if n.kind == NotifyType::NoProposalChosen), "{answer:?}");
    assert!(sim.hosts[B].sas.is_empty());
    assert_nothing_comes_of_it(&mut sim);
}

#[test]
fn one_is_not_done_twice() {
    // The first one's public value again, where the second one's belongs.
    let mut sim = pair_of(1, "aes128gcm16-prfsha256-x25519-ke1_mlkem512-ke2_ecp256", "aes128gcm16");
    sim.initiate(A);
    let first = until_sent(&mut sim, 3);
    let payloads = sim.payloads(&first);
    sim.deliver(first);
    let second = until_sent(&mut sim, 5);
    let header = second.header().unwrap();
    sim.deliver_instead(second, header, &payloads);
    assert!(sim.hosts[B].sas.is_empty());
    assert_nothing_comes_of_it(&mut sim);
}

#[test]
fn malformed_ones_end_it() {
    for (payloads, expected) in [
        (vec![], NotifyType::InvalidSyntax),
        (vec![Ke { method: KeyExchangeMethod::MlKem768, data: vec![0; 5] }.into()], NotifyType::NoProposalChosen),
        (vec![Ke { method: KeyExchangeMethod::MlKem768, data: vec![0xff; 1184] }.into()], NotifyType::NoProposalChosen),
    ] {
        let mut sim = pair_of(1, HYBRID, "aes128gcm16");
        sim.initiate(A);
        let request = until_sent(&mut sim, 3);
        let header = request.header().unwrap();
        let answers = sim.deliver_instead(request, header, &payloads);
        let answer = sim.payloads(&answers[0]);
        assert!(matches!(&answer[..], [Payload::Notify(n)] if n.kind == expected), "{answer:?}");
        assert!(sim.hosts[B].sas.is_empty());
        assert_nothing_comes_of_it(&mut sim);
    }
    // and the other way round
    for payloads in [
        vec![Notify::new(NotifyType::NoProposalChosen).into()],
        vec![Notify::new(NotifyType::MultipleAuthSupported).into()],
        vec![Ke { method: KeyExchangeMethod::MlKem768, data: vec![0; 5] }.into()],
        vec![Ke { method: KeyExchangeMethod::MlKem512, data: vec![0; 768] }.into()],
    ] {
        let mut sim = pair_of(1, HYBRID, "aes128gcm16");
        sim.initiate(A);
        let response = until_sent(&mut sim, 4);
        let header = response.header().unwrap();
        sim.forge_instead(response, header, &payloads);
        assert!(sim.hosts[A].sas.is_empty());
        assert_nothing_comes_of_it(&mut sim);
    }
}

#[test]
fn a_response_of_another_exchange_ends_it() {
    let mut sim = pair_of(1, HYBRID, "aes128gcm16");
    sim.initiate(A);
    let response = until_sent(&mut sim, 4);
    let header = Header { exchange: ExchangeType::IkeAuth, ..response.header().unwrap() };
    let payloads = vec![Notify::new(NotifyType::MultipleAuthSupported).into()];
    sim.forge_instead(response, header, &payloads);
    assert!(sim.hosts[A].sas.is_empty());
    assert_nothing_comes_of_it(&mut sim);
}

/// Someone knows the keys of IKE_SA_INIT, because the first key exchange is not what it used to be, and changes message
/// `count`, which changes nothing but what AUTH covers.
fn changed_by_someone_with_the_first_keys(count: usize) -> Sim {
    let mut sim = pair_of(1, HYBRID, "aes128gcm16");
    sim.initiate(A);
    let datagram = until_sent(&mut sim, count);
    let mut payloads = if count == 3 { sim.payloads(&datagram) } else { Vec::new() };
    if count == 4 {
        let receiver = sim.hosts[A].sas.first_mut().unwrap();
        let (header, first, content) = ike::testing::open(receiver, &datagram.data).unwrap();
        payloads = ike::wire::Message::parse_inner(header, first, &content).unwrap().payloads;
    }
    payloads.push(Notify::new(NotifyType::MultipleAuthSupported).into());
    let header = datagram.header().unwrap();
    sim.forge_instead(datagram, header, &payloads);
    sim
}

#[test]
fn a_changed_request_ends_at_authentication() {
    let mut sim = changed_by_someone_with_the_first_keys(3);
    assert_nothing_comes_of_it(&mut sim);
    sim.assert(
        sim.trace.contains("tried 1 shared key for 'sun.strongswan.org' - 'moon.strongswan.org', but MAC mismatched"),
        "log",
    );
}

#[test]
fn a_changed_response_ends_at_authentication() {
    let mut sim = changed_by_someone_with_the_first_keys(4);
    assert_nothing_comes_of_it(&mut sim);
    sim.assert(sim.trace.contains("but MAC mismatched"), "log");
}

#[test]
fn a_replaced_key_exchange_ends_at_authentication() {
    // As above, with a key pair of their own.
    let mut sim = pair_of(1, HYBRID, "aes128gcm16");
    sim.initiate(A);
    let request = until_sent(&mut sim, 3);
    let own = KeyExchange::generate(KeyExchangeMethod::MlKem768).unwrap();
    let ke = Ke { method: own.method(), data: own.public_value().to_vec() };
    let header = request.header().unwrap();
    let answers = sim.forge_instead(request, header, &[ke.into()]);
    assert_eq!(answers.len(), 1);
    // A takes the ciphertext for its own, and B cannot make anything of what A sends then
    assert_nothing_comes_of_it(&mut sim);
}

#[test]
fn a_silent_peer_is_given_up() {
    let mut sim = pair_of(1, HYBRID, "aes128gcm16");
    sim.initiate(A);
    until_sent(&mut sim, 3);
    sim.forget(A);
    sim.run_for(Duration::from_secs(40));
    sim.assert_nothing_left();
    sim.assert(sim.trace.contains("deleting half open IKE_SA"), "log");
}

// --- IKE_FOLLOWUP_KE

/// Runs step by step and checks after each that whatever is sent by ESP is understood.
fn settle_under_traffic(sim: &mut Sim) {
    let end = sim.now + Duration::from_secs(40);
    sim.assert_traffic();
    while sim.step(end) {
        sim.assert_traffic();
    }
    sim.now = end;
}

#[test]
fn child_rekeying_from_either_side() {
    for (esp, follow_ups, expected) in [(HYBRID_ESP, 1, "ML_KEM_768"), (TWICE_ESP, 2, "ML_KEM_512 ECP_256")] {
        for host in [A, B] {
            let mut sim = pair_of(1, HYBRID, esp);
            sim.establish();
            let since = sim.sent.len();
            sim.rekey_child(host);
            settle_under_traffic(&mut sim);
            sim.assert_established(1, 1);
            assert_eq!(of_child(&sim), expected);
            let mut all = vec![ExchangeType::CreateChildSa];
            all.extend(vec![ExchangeType::IkeFollowupKe; follow_ups]);
            all.push(ExchangeType::Informational);
            assert_eq!(exchanges(&sim, since), all);
            for host in [A, B] {
                assert_eq!(sim.events(host, |event| matches!(event, Event::ChildRekey { .. })), 1);
                assert_eq!(sim.events(host, |event| matches!(event, Event::ChildUpDown { up: false, .. })), 0);
            }
        }
    }
}

#[test]
fn a_child_without_the_first_key_exchange() {
    let mut sim = pair_of(1, HYBRID, "aes128gcm16-ke1_mlkem768");
    sim.establish();
    sim.rekey_child(A);
    settle_under_traffic(&mut sim);
    sim.assert_established(1, 1);
    assert_eq!(of_child(&sim), "ML_KEM_768");
}

#[test]
fn further_children() {
    for (host, esp, expected) in [
        (A, HYBRID_ESP, "ML_KEM_768"),
        (B, TWICE_ESP, "ML_KEM_512 ECP_256"),
        (A, "aes128gcm16-x25519", ""),
        (B, "aes128gcm16", ""),
    ] {
        let mut sim = pair_of(1, HYBRID, esp);
        sim.establish();
        let child = sim.child(A).unwrap();
        sim.input(A, Input::TerminateChild { child });
        sim.settle();
        sim.assert_established(1, 0);
        sim.initiate(host);
        sim.settle();
        sim.assert_established(1, 1);
        assert_eq!(of_child(&sim), expected);
    }
}

#[test]
fn optional_ones_of_children() {
    let optional = "aes128gcm16-x25519-ke1_mlkem768-ke1_none";
    for (a, b, expected) in [
        (optional, "aes128gcm16-x25519", ""),
        ("aes128gcm16-x25519", optional, ""),
        (optional, optional, "ML_KEM_768"),
        (optional, HYBRID_ESP, "ML_KEM_768"),
    ] {
        let mut sim = pair_of(1, HYBRID, a);
        sim.configure_host(B, |peer| Arc::make_mut(&mut peer.children[0]).proposals = esp_proposals(b));
        sim.establish();
        sim.rekey_child(A);
        sim.settle();
        sim.assert_established(1, 1);
        assert_eq!(of_child(&sim), expected);
        assert_eq!(sim.events(A, |event| matches!(event, Event::ChildRekey { .. })), 1);
    }
    // not if one side insists
    let mut sim = pair_of(1, HYBRID, "aes128gcm16-x25519");
    sim.configure_host(B, |peer| Arc::make_mut(&mut peer.children[0]).proposals = esp_proposals(HYBRID_ESP));
    sim.establish();
    for host in [A, B] {
        sim.rekey_child(host);
        sim.settle();
        assert_eq!(sim.events(A, |event| matches!(event, Event::ChildRekey { .. })), 0);
    }
    sim.assert(sim.trace.contains("CHILD_SA rekeying failed, trying again"), "log");
}

#[test]
fn ike_rekeying_from_either_side() {
    for (proposal, follow_ups) in
        [(HYBRID, 1), ("aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_mlkem1024-ke3_ecp256", 3)]
    {
        for host in [A, B] {
            let mut sim = pair_of(1, proposal, HYBRID_ESP);
            sim.establish();
            let (old, since) = (sim.ike(host), sim.sent.len());
            sim.input(host, Input::RekeyIke);
            settle_under_traffic(&mut sim);
            sim.assert_established(1, 1);
            assert_ne!(old, sim.ike(host));
            let mut all = vec![ExchangeType::CreateChildSa];
            all.extend(vec![ExchangeType::IkeFollowupKe; follow_ups]);
            all.push(ExchangeType::Informational);
            assert_eq!(exchanges(&sim, since), all);
            assert_eq!(additional(&sim).split(' ').count(), follow_ups);
            for host in [A, B] {
                assert_eq!(sim.events(host, |event| matches!(event, Event::IkeRekey { .. })), 1);
                sim.rekey_child(host);
                settle_under_traffic(&mut sim);
                sim.assert_established(1, 1);
            }
        }
    }
}

#[test]
fn again_and_again() {
    let mut sim = hybrid(1);
    for round in 0..6 {
        sim.rekey_child(round % 2);
        settle_under_traffic(&mut sim);
        sim.input(1 - round % 2, Input::RekeyIke);
        settle_under_traffic(&mut sim);
        sim.assert_established(1, 1);
    }
}

#[test]
fn child_collisions_with_any_overlap() {
    let (mut aborted, mut refused) = (0, 0);
    for seed in 0..150 {
        let mut sim = pair_of(seed, HYBRID, if seed % 2 == 0 { HYBRID_ESP } else { TWICE_ESP });
        sim.establish();
        overlap(&mut sim, |sim, host| {
            if sim.child(host).is_some() {
                sim.rekey_child(host);
            }
        });
        settle_under_traffic(&mut sim);
        sim.assert_established(1, 1);
        aborted += sim.trace.count("CHILD_SA rekey collision lost, abort incomplete multi-KE rekeying");
        refused += sim.trace.count("peer initiated rekeying, but we did too and already sent IKE_FOLLOWUP_KE");
        for host in [A, B] {
            assert_eq!(sim.events(host, |event| matches!(event, Event::ChildUpDown { up: false, .. })), 0);
        }
    }
    assert!(aborted > 20 && refused > 0, "{aborted} aborted, {refused} refused");
}

/// What `with` asks for takes additional key exchanges, what the other side asks for does not.
fn different_tastes(sim: &mut Sim, with: usize) {
    for host in [A, B] {
        let plain = [PLAIN, "aes128gcm16-x25519"];
        let hybrid = ["aes128gcm16-prfsha256-x25519-ke1_mlkem512", "aes128gcm16-x25519-ke1_mlkem512-ke2_ecp256"];
        let lists: [String; 2] = std::array::from_fn(|i| {
            if host == with { [hybrid[i], plain[i]].join(",") } else { [plain[i], hybrid[i]].join(",") }
        });
        sim.hosts[host].settings.prefer_configured_proposals = false;
        propose(sim, host, &lists[0]);
        sim.configure_host(host, |peer| Arc::make_mut(&mut peer.children[0]).proposals = esp_proposals(&lists[1]));
    }
}

#[test]
fn collisions_in_which_only_one_has_additional_ones() {
    let mut counts = [0; 3];
    for seed in 0..150 {
        for ike in [true, false] {
            let mut sim = Sim::with_seed(seed, true);
            different_tastes(&mut sim, if seed % 2 == 0 { A } else { B });
            sim.establish();
            overlap(&mut sim, |sim, host| {
                if ike {
                    sim.input(host, Input::RekeyIke);
                } else if sim.child(host).is_some() {
                    sim.rekey_child(host);
                }
            });
            if !ike {
                settle_under_traffic(&mut sim);
            }
            sim.run_for(Duration::from_secs(250));
            sim.assert_established(1, 1);
            counts[0] += sim.trace.count("rekey collision lost, abort incomplete multi-KE rekeying");
            counts[1] += sim.trace.count("rekey collision lost, deleting redundant");
            counts[2] += sim.trace.count("but we did too and already sent IKE_FOLLOWUP_KE");
        }
    }
    assert!(counts.iter().all(|count| *count > 5), "aborted, redundant, refused: {counts:?}");
}

#[test]
fn ike_collisions_with_any_overlap() {
    let mut aborted = 0;
    for seed in 0..150 {
        let mut sim = pair_of(
            seed,
            if seed % 2 == 0 { HYBRID } else { "aes128gcm16-prfsha256-x25519-ke1_mlkem512-ke2_ecp256" },
            HYBRID_ESP,
        );
        sim.establish();
        overlap(&mut sim, |sim, host| sim.input(host, Input::RekeyIke));
        sim.run_for(Duration::from_secs(250));
        sim.assert_established(1, 1);
        aborted += sim.trace.count("IKE_SA rekey collision lost, abort incomplete multi-KE rekeying");
    }
    assert!(aborted > 20, "{aborted} aborted");
}

#[test]
fn ike_against_child() {
    for milliseconds in (0..80).step_by(3) {
        for (ike, child) in [(A, B), (B, A), (A, A)] {
            let mut sim = hybrid(milliseconds);
            sim.rekey_child(child);
            sim.run_for(Duration::from_millis(milliseconds));
            sim.input(ike, Input::RekeyIke);
            sim.run_for(Duration::from_secs(250));
            sim.assert_established(1, 1);
        }
    }
}

/// Starts something on A and a little later on B, while one of them is slow.
fn overlap(sim: &mut Sim, start: impl Fn(&mut Sim, usize)) {
    let lead = Duration::from_millis(sim.below(90));
    let slow = Duration::from_millis(sim.below(80));
    let slow_host = usize::from(sim.below(2) == 1);
    let slow_host = sim.hosts[slow_host].address;
    sim.net.script(move |d| if d.from.ip() == slow_host { Fate::Delay(slow) } else { Fate::Pass });
    start(sim, A);
    sim.run_for(lead);
    if sim.ike(B).is_some() {
        start(sim, B);
    }
}

#[test]
fn a_child_deleted_during_its_rekeying() {
    for milliseconds in (0..60).step_by(2) {
        for (rekeys, deletes) in [(A, B), (B, A), (A, A)] {
            let mut sim = pair_of(1, HYBRID, TWICE_ESP);
            sim.establish();
            let child = sim.child(deletes).unwrap();
            sim.rekey_child(rekeys);
            sim.run_for(Duration::from_millis(milliseconds));
            if sim.children(deletes).contains(&child) || rekeys == deletes {
                sim.input(deletes, Input::TerminateChild { child });
            }
            sim.run_for(Duration::from_secs(250));
            sim.assert_agreement();
            sim.assert_traffic();
        }
    }
}

#[test]
fn an_ike_sa_deleted_during_a_rekeying() {
    for milliseconds in (0..60).step_by(2) {
        for (rekeys, deletes) in [(A, B), (B, A), (A, A)] {
            for ike in [true, false] {
                let mut sim = pair_of(1, HYBRID, TWICE_ESP);
                sim.establish();
                let old = sim.ike(deletes).unwrap();
                if ike {
                    sim.input(rekeys, Input::RekeyIke);
                } else {
                    sim.rekey_child(rekeys);
                }
                sim.run_for(Duration::from_millis(milliseconds));
                sim.input_to(deletes, old, Input::TerminateIke { force: false });
                sim.run_for(Duration::from_secs(250));
                sim.assert_agreement();
                sim.assert_traffic();
            }
        }
    }
}

#[test]
fn each_message_of_a_rekeying_may_get_lost_or_come_twice() {
    for index in 0..10 {
        for fate in [Fate::Drop, Fate::Duplicate] {
            for ike in [true, false] {
                let mut sim = pair_of(1, HYBRID, TWICE_ESP);
                sim.establish();
                let mut count = 0;
                sim.net.script(move |_| {
                    count += 1;
                    if count == index + 1 { fate } else { Fate::Pass }
                });
                if ike {
                    sim.input(A, Input::RekeyIke);
                } else {
                    sim.rekey_child(A);
                }
                // without an answer to its last message A gives up after 165 s
                sim.run_for(Duration::from_secs(250));
                sim.assert_established(1, 1);
            }
        }
    }
}

/// Stops after the response to CREATE_CHILD_SA has reached A: returns its first IKE_FOLLOWUP_KE request, under way.
fn half_done(start: impl Fn(&mut Sim)) -> (Sim, Datagram) {
    let mut sim = pair_of(1, HYBRID, HYBRID_ESP);
    for host in &mut sim.hosts {
        host.settings.fragment_size.default = 1500;
    }
    sim.establish();
    let sent = sim.sent.len();
    start(&mut sim);
    let request = until_sent(&mut sim, sent + 3);
    assert_eq!(request.header().unwrap().exchange, ExchangeType::IkeFollowupKe);
    (sim, request)
}

/// Completes a half-done rekeying so that A gets another secret than B.
fn with_different_secrets(start: impl Fn(&mut Sim)) -> Sim {
    let (mut sim, request) = half_done(start);
    let payloads = sim.payloads(&request);
    let public = payloads.iter().find_map(|p| if let Payload::Ke(ke) = p { Some(ke.data.clone()) } else { None });
    let sent = sim.sent.len();
    sim.deliver(request);
    let response = until_sent(&mut sim, sent + 1);
    let (data, _) = ke::respond(KeyExchangeMethod::MlKem768, &public.unwrap()).unwrap();
    let header = response.header().unwrap();
    sim.forge_instead(response, header, &[Ke { method: KeyExchangeMethod::MlKem768, data }.into()]);
    sim
}

#[test]
fn the_secret_of_a_follow_up_counts_for_a_child() {
    let sim = with_different_secrets(|sim| sim.rekey_child(A));
    let outbound = sim.hosts[A].kernel.active_outbound()[0].clone().unwrap();
    let inbound = sim.hosts[B].kernel.inbound(outbound.id.protocol, outbound.id.spi).unwrap();
    assert!(!outbound.talks_to(&inbound));
}

#[test]
fn the_secret_of_a_follow_up_counts_for_an_ike_sa() {
    let mut sim = with_different_secrets(|sim| sim.input(A, Input::RekeyIke));
    sim.run_for(Duration::from_secs(1));
    sim.rekey_child(A);
    sim.run_for(Duration::from_secs(1));
    sim.assert(sim.trace.contains("sun  [ENC] integrity check failed"), "B has other keys");
}

fn kinds(answers: &[Payload]) -> Vec<NotifyType> {
    answers.iter().filter_map(|p| if let Payload::Notify(n) = p { Some(n.kind) } else { None }).collect()
}

#[test]
fn a_wrong_link_leads_nowhere() {
    for ike in [true, false] {
        for wrong in [None, Some(vec![0x42]), Some(vec![0; 8])] {
            let (mut sim, request) =
                half_done(|sim| if ike { sim.input(A, Input::RekeyIke) } else { sim.rekey_child(A) });
            let mut payloads = sim.payloads(&request);
            without(&mut payloads, NotifyType::AdditionalKeyExchange);
            if let Some(link) = wrong {
                payloads.push(Notify::with_data(NotifyType::AdditionalKeyExchange, &link).into());
            }
            let header = request.header().unwrap();
            let answers = sim.deliver_instead(request, header, &payloads);
            let answer = sim.payloads(&answers[0]);
            assert_eq!(kinds(&answer), [NotifyType::StateNotFound]);
            // A starts over
            sim.run_for(Duration::from_secs(250));
            sim.assert_established(1, 1);
            let rekeyed = |event: &Event| matches!(event, Event::IkeRekey { .. } | Event::ChildRekey { .. });
            assert_eq!(sim.events(A, rekeyed), 1);
        }
    }
}

#[test]
fn nothing_to_follow_up() {
    // On an IKE_SA where nothing was begun, and on one that is not authenticated.
    let mut sim = hybrid(1);
    let last = sim.sent[4].clone();
    let ke = Ke { method: KeyExchangeMethod::MlKem768, data: vec![0; 1184] };
    let header = Header { exchange: ExchangeType::IkeFollowupKe, message_id: MessageId(3), ..last.header().unwrap() };
    let answers = sim.deliver_instead(last, header, &[ke.clone().into()]);
    assert_eq!(kinds(&sim.payloads(&answers[0])), [NotifyType::StateNotFound]);

    let mut sim = pair_of(1, HYBRID, HYBRID_ESP);
    sim.initiate(A);
    let auth = until_sent(&mut sim, 5);
    let header = Header { exchange: ExchangeType::IkeFollowupKe, ..auth.header().unwrap() };
    assert!(sim.deliver_instead(auth, header, &[ke.into()]).is_empty());
    sim.run_for(Duration::from_secs(20));
    sim.assert_established(1, 1);
}

#[test]
fn a_follow_up_that_makes_no_sense_changes_nothing() {
    for method in [KeyExchangeMethod::MlKem768, KeyExchangeMethod::Ecp256] {
        let (mut sim, request) = half_done(|sim| sim.rekey_child(A));
        let mut payloads = sim.payloads(&request);
        payloads.retain(|payload| !matches!(payload, Payload::Ke(_)));
        payloads.push(Ke { method, data: vec![4; 65] }.into());
        let header = request.header().unwrap();
        let answers = sim.deliver_instead(request, header, &payloads);
        assert_eq!(kinds(&sim.payloads(&answers[0])), [NotifyType::NoProposalChosen]);
        assert_eq!(sim.hosts[B].kernel.reserved_spis(), 0);
        sim.run_for(Duration::from_secs(30));
        sim.assert_established(1, 1);
    }
}

#[test]
fn a_responder_that_forgets_the_link() {
    // The agreed key exchanges cannot take place: what the peer may have installed is taken back.
    let mut sim = hybrid(1);
    let sent = sim.sent.len();
    sim.rekey_child(A);
    let response = until_sent(&mut sim, sent + 2);
    let mut payloads = sim.payloads(&response);
    without(&mut payloads, NotifyType::AdditionalKeyExchange);
    let header = response.header().unwrap();
    sim.forge_instead(response, header, &payloads);
    sim.run_for(Duration::from_secs(250));
    sim.assert_agreement();
    sim.assert_traffic();
}

#[test]
fn what_the_peer_leaves_half_done_is_dropped() {
    for ike in [true, false] {
        let (mut sim, _) = half_done(|sim| if ike { sim.input(A, Input::RekeyIke) } else { sim.rekey_child(A) });
        // A has lost its memory and says nothing more
        sim.forget(A);
        sim.run_for(Duration::from_secs(170));
        assert_eq!(sim.hosts[B].kernel.reserved_spis(), usize::from(!ike));
        assert_eq!(sim.hosts[B].snapshots()[0].tasks_passive.len(), 1);
        sim.run_for(Duration::from_secs(20));
        assert_eq!(sim.hosts[B].kernel.reserved_spis(), 0);
        assert_eq!(sim.hosts[B].snapshots()[0].tasks_passive.len(), 0);
        sim.assert(sim.trace.contains("peer did not continue with IKE_FOLLOWUP_KE"), "log");
        sim.assert(sim.child(B).is_some(), "the CHILD_SA is still there");
    }
}

#[test]
fn a_peer_that_starts_anew_has_given_up() {
    let (mut sim, request) = half_done(|sim| sim.rekey_child(A));
    let creation = sim.sent[sim.sent.len() - 3].clone();
    let payloads = sim.payloads(&creation);
    let header = Header { exchange: ExchangeType::CreateChildSa, ..request.header().unwrap() };
    assert_eq!(sim.hosts[B].kernel.reserved_spis(), 1);
    sim.deliver_instead(request, header, &payloads);
    assert_eq!(sim.hosts[B].kernel.reserved_spis(), 1);
    assert_eq!(sim.hosts[B].snapshots()[0].tasks_passive.len(), 1);
}

#[test]
fn informational_requests_in_between() {
    // Another implementation may check whether we are alive between CREATE_CHILD_SA and IKE_FOLLOWUP_KE.
    let (mut sim, request) = half_done(|sim| sim.rekey_child(A));
    let payloads = sim.payloads(&request);
    let header = request.header().unwrap();
    let check = Header { exchange: ExchangeType::Informational, ..header };
    assert_eq!(sim.deliver_instead(request.clone(), check, &[]).len(), 1);
    let next = Header { message_id: header.message_id.next(), ..header };
    let answers = sim.deliver_instead(request, next, &payloads);
    assert!(sim.payloads(&answers[0]).iter().any(|payload| matches!(payload, Payload::Ke(_))));
    assert_eq!(sim.children(B).len(), 1);
}

#[test]
fn a_peer_that_does_not_answer_a_follow_up() {
    let (mut sim, _) = half_done(|sim| sim.rekey_child(A));
    sim.forget(B);
    sim.run_for(Duration::from_secs(600));
    assert_eq!(sim.hosts[A].kernel.reserved_spis(), 0);
    sim.assert(sim.trace.contains("giving up after 5 retransmits"), "log");
}

#[test]
fn three_hundred_seeds() {
    crate::soak::soak(300, |sim| {
        let esp = if sim.seed % 2 == 0 { HYBRID_ESP } else { TWICE_ESP };
        for host in [A, B] {
            propose(
                sim,
                host,
                if sim.seed % 3 == 0 { "aes128gcm16-prfsha256-x25519-ke1_mlkem512-ke2_ecp256" } else { HYBRID },
            );
            sim.configure_host(host, |peer| Arc::make_mut(&mut peer.children[0]).proposals = esp_proposals(esp));
        }
    });
}

#[test]
fn two_hundred_seeds_of_different_tastes() {
    crate::soak::soak(200, |sim| different_tastes(sim, if sim.seed % 2 == 0 { A } else { B }));
}
