//! EAP in IKE_AUTH: clients that prove themselves with passwords, and everything that must not pass for a proof.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{AuthClass, AuthRound, EapMethod, PeerConfig, UniquePolicy};
use ike::eap::{AaaAccept, AaaAnswer, EapSettings, GtcBackend, MethodType};
use ike::wire::{Auth, AuthMethod, Eap, EapCode, ExchangeType, Header, Nonce, NotifyType, Payload, PayloadType};
use ike::{Alert, Event, IkeSaState, Input};
use strongswan::credentials::{Auth as AuthOption, AuthOptions, SecretKind, SharedSecret};
use strongswan::crypto::Secret;
use strongswan::crypto::hash::md4;
use strongswan::identity::Identity;

use crate::sim::net::{Conditions, Datagram};
use crate::sim::{A, B, Sim};

pub fn class(auth: &str) -> AuthClass {
    AuthOption::parse(auth, AuthOptions::default()).unwrap().class
}

fn id(text: &str) -> Option<Identity> {
    Some(Identity::parse(text))
}

fn secret(kind: SecretKind, data: &[u8], owner: &str) -> SharedSecret {
    SharedSecret::new(kind, Secret::from(data), vec![Identity::parse(owner)])
}

/// Moon is a client that authenticates itself with EAP as alice, to sun, which has a pre-shared key.
pub fn pair(client: &str, server: &str) -> Sim {
    let mut sim = Sim::pair();
    prepare(&mut sim, client, server);
    sim
}

pub fn prepare(sim: &mut Sim, client: &str, server: &str) {
    sim.configure_host(A, |peer| {
        peer.local[0] = AuthRound { class: class(client), eap_id: id("alice"), ..peer.local[0].clone() };
    });
    sim.configure_host(B, |peer| {
        peer.remote[0] = AuthRound { class: class(server), eap_id: Some(Identity::any()), ..peer.remote[0].clone() };
    });
    for host in [A, B] {
        sim.hosts[host].credentials.add_secret(secret(SecretKind::Eap, b"a password", "alice"));
        sim.hosts[host].settings.eap = EapSettings { gtc_backend: GtcBackend::Generic, ..EapSettings::default() };
    }
}

/// Lets moon try, and expects nothing to come of it.
#[track_caller]
pub fn assert_refused(sim: &mut Sim, why: &str) {
    sim.initiate(A);
    sim.settle();
    sim.assert(sim.trace.contains(why), why);
    assert_nobody_up(sim);
    sim.assert_nothing_left();
}

#[track_caller]
pub fn assert_nobody_up(sim: &Sim) {
    for host in [A, B] {
        let up = sim.events(host, |event| {
            matches!(event, Event::IkeUpDown { up: true, .. } | Event::ChildUpDown { up: true, .. })
        });
        sim.assert(up == 0, "nothing is up");
        sim.assert(sim.hosts[host].kernel.is_empty(), "nothing is installed");
    }
}

#[test]
fn each_method() {
    for (method, messages) in [("eap-md5", 10), ("eap-gtc", 10), ("eap-mschapv2", 12)] {
        let mut sim = pair(method, method);
        sim.establish();
        assert_eq!(sim.sent.len(), messages, "{method}");
        sim.assert(sim.trace.contains("received EAP identity 'alice'"), "log");
        sim.assert(sim.trace.contains("authentication of 'moon.strongswan.org' with EAP successful"), "log");
        let snapshot = sim.hosts[B].sas[0].snapshot();
        assert_eq!(snapshot.remote_eap_id, id("alice"));
        assert_eq!(sim.hosts[A].sas[0].snapshot().remote_eap_id, None);
        sim.input(A, Input::RekeyIke);
        sim.settle();
        assert_eq!(sim.hosts[B].sas[0].snapshot().remote_eap_id, id("alice"), "it outlives a rekeying");
    }
}

#[test]
fn with_a_certificate_less_identity() {
    // Without eap_id nobody is asked: the IKE identity counts.
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    sim.configure_host(A, |peer| peer.local[0].eap_id = None);
    sim.configure_host(B, |peer| peer.remote[0].eap_id = None);
    for host in [A, B] {
        sim.hosts[host].credentials.add_secret(secret(SecretKind::Eap, b"moon's", "moon.strongswan.org"));
    }
    sim.establish();
    assert_eq!(sim.sent.len(), 10);
    assert_eq!(sim.hosts[B].sas[0].snapshot().remote_eap_id, id("moon.strongswan.org"));
}

#[test]
fn nt_hashes_come_before_passwords() {
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    let unicode: Vec<u8> = "another".encode_utf16().flat_map(u16::to_le_bytes).collect();
    sim.hosts[A].credentials.add_secret(SharedSecret::new(
        SecretKind::Eap,
        Secret::from(&b"another"[..]),
        vec![Identity::parse("alice"), Identity::parse("sun.strongswan.org")],
    ));
    sim.hosts[B].credentials.add_secret(secret(SecretKind::Ntlm, &md4(&[&unicode]), "alice"));
    sim.establish();
}

#[test]
fn over_a_bad_network() {
    for seed in 0..60 {
        let mut sim = Sim::with_seed(seed, false);
        prepare(
            &mut sim,
            "eap",
            ["eap-md5", "eap-mschapv2", "eap-gtc", "eap-dynamic"][usize::try_from(seed % 4).unwrap()],
        );
        sim.net.conditions = Conditions {
            loss: 20,
            duplication: 20,
            corruption: seed % 2 * 10,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(300),
        };
        sim.hosts[B].settings.half_open_timeout = Duration::from_secs(300);
        // several tries of a wrong password, now and then, with their penalties
        let wrong = seed % 5 == 4;
        if wrong {
            sim.hosts[A].credentials.add_secret(SharedSecret {
                owners: vec![Identity::parse("alice"), Identity::parse("sun.strongswan.org")],
                ..secret(SecretKind::Eap, b"wrong", "alice")
            });
        }
        sim.initiate(A);
        sim.run_for(Duration::from_secs(250));
        sim.net.conditions = Conditions::PERFECT;
        sim.run_for(Duration::from_secs(400));
        let established = sim.hosts[A].sas.iter().any(|sa| sa.state() == IkeSaState::Established);
        sim.assert(!(established && wrong), "a wrong password");
        sim.assert_agreement();
        sim.assert_traffic();
    }
}

#[test]
fn client_and_server_agree_on_a_method() {
    for (client, preferred, prefer_user, expected) in [
        ("eap-md5", "gtc", false, "EAP_MD5"),
        ("eap-gtc", "md5", false, "EAP_GTC"),
        ("eap", "md5", false, "EAP_MD5"),
        ("eap", "", false, "EAP_MSCHAPV2"),
        ("eap-gtc", "mschapv2", true, "EAP_GTC"),
    ] {
        let mut sim = pair(client, "eap-dynamic");
        let AuthClass::Eap(method) = class(&format!("eap-{preferred}")) else { panic!() };
        sim.hosts[B].settings.eap.preferred = MethodType::configured(method).into_iter().collect();
        sim.hosts[B].settings.eap.prefer_user = prefer_user;
        sim.establish();
        sim.assert(sim.trace.contains(&format!("EAP method {expected} succeeded")), expected);
    }
}

#[test]
fn no_common_method() {
    assert_refused(&mut pair("eap-md5", "eap-mschapv2"), "received EAP_NAK, sending EAP_FAILURE");
    let mut sim = pair("eap-md5", "eap-dynamic");
    sim.hosts[B].settings.eap.disabled = vec!["eap-md5".into()];
    assert_refused(&mut sim, "received EAP_NAK, sending EAP_FAILURE");
    let mut sim = pair("eap", "eap-md5");
    sim.hosts[A].settings.eap.disabled = vec!["eap-md5".into()];
    assert_refused(&mut sim, "EAP method not supported, sending EAP_NAK");
    let mut sim = pair("eap", "eap-md5");
    sim.hosts[B].settings.eap.disabled = vec!["eap-md5".into()];
    assert_refused(&mut sim, "loading EAP_MD5 method failed");
    assert_refused(&mut pair("eap", "eap"), "loading EAP_NAK method failed");
    let mut sim = pair("eap", "eap-gtc");
    sim.hosts[B].settings.eap.gtc_backend = GtcBackend::Missing;
    assert_refused(&mut sim, "creating GTC XAuth backend failed");
}

#[test]
fn wrong_passwords() {
    for method in ["eap-md5", "eap-gtc", "eap-mschapv2"] {
        let mut sim = pair(method, method);
        sim.hosts[A].credentials.add_secret(SharedSecret::new(
            SecretKind::Eap,
            Secret::from(&b"wrong"[..]),
            vec![Identity::parse("alice"), Identity::parse("sun.strongswan.org")],
        ));
        assert_refused(&mut sim, "failed");
        assert_eq!(sim.events(A, |event| matches!(event, Event::Alert(Alert::LocalAuthFailed))), 1, "{method}");
    }
    // who is unknown learns no more than who has forgotten
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    sim.hosts[B].credentials.clear();
    sim.hosts[B].credentials.add_secret(SharedSecret::new(
        SecretKind::Ike,
        Secret::from(&b"a secret between moon and sun"[..]),
        vec![Identity::parse("moon.strongswan.org")],
    ));
    assert_refused(&mut sim, "EAP-MS-CHAPv2 failed with error ERROR_AUTHENTICATION_FAILURE");
}

#[test]
fn a_wrong_password_waits_for_its_answer() {
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    sim.hosts[A].credentials.add_secret(SharedSecret::new(
        SecretKind::Eap,
        Secret::from(&b"wrong"[..]),
        vec![Identity::parse("alice"), Identity::parse("sun.strongswan.org")],
    ));
    sim.initiate(A);
    sim.run_for(Duration::from_millis(1900));
    sim.assert(sim.trace.contains("EAP-MS-CHAPv2 verification failed, retry (1)"), "log");
    assert_eq!(sim.sent.len(), 7, "no answer yet");
    // the same request once more does not hurry anybody
    let request = sim.sent[6].clone();
    sim.deliver(request);
    assert_eq!(sim.sent.len(), 7);
    sim.run_for(Duration::from_millis(300));
    assert!(sim.sent.len() > 7);
    // and closing the IKE_SA in the meantime is not a problem
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    sim.hosts[B].credentials.add_secret(secret(SecretKind::Ntlm, &[1; 16], "alice"));
    sim.initiate(A);
    sim.run_for(Duration::from_millis(1000));
    sim.input(B, Input::TerminateIke { force: true });
    sim.input(A, Input::TerminateIke { force: true });
    sim.run_for(Duration::from_secs(60));
    sim.assert_nothing_left();
}

/// Connections on sun by who the client is within EAP; each has another child.
fn by_identity(sim: &mut Sim, patterns: &[&str]) {
    let template = PeerConfig::clone(&sim.hosts[B].connections.0[0]);
    let connections = patterns.iter().map(|pattern| {
        let mut config = template.clone();
        config.name = (*pattern).into();
        config.remote[0].eap_id = id(pattern);
        Arc::new(config)
    });
    sim.hosts[B].connections.0 = connections.collect();
}

#[test]
fn the_eap_identity_chooses_the_connection() {
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    by_identity(&mut sim, &["bob", "*@example.org", "alice", "%any"]);
    sim.establish();
    assert_eq!(sim.hosts[B].sas[0].name(), "alice");
    sim.assert(sim.trace.contains("switching to peer config 'alice'"), "log");
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    by_identity(&mut sim, &["bob", "*@example.org"]);
    assert_refused(&mut sim, "constraint check failed: EAP identity '*@example.org'");
}

#[test]
fn what_we_have_said_about_ourselves_does_not_change_with_the_connection() {
    // sun has authenticated itself with a secret; the connection for alice has another identity of ours
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    by_identity(&mut sim, &["bob", "alice"]);
    Arc::make_mut(&mut sim.hosts[B].connections.0[1]).local[0].id = id("mars.strongswan.org");
    sim.configure_host(A, |peer| peer.remote[0].id = None);
    sim.hosts[B].connections.0[0] = {
        let mut config = PeerConfig::clone(&sim.hosts[B].connections.0[0]);
        config.local[0].id = id("sun.strongswan.org");
        Arc::new(config)
    };
    assert_refused(&mut sim, "no alternative config found");
}

#[test]
fn an_identity_within_is_the_one_that_counts() {
    // Alice calls herself bob for long enough to get bob's connection, and then proves to be alice.
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    by_identity(&mut sim, &["bob"]);
    sim.hosts[B].credentials.add_secret(secret(SecretKind::Eap, b"bob's", "bob"));
    impersonate(&mut sim, b"bob");
    sim.assert(sim.trace.contains("EAP-MS-CHAPv2 username: 'alice'"), "the name within");
    sim.assert(sim.trace.contains("EAP identity 'bob'"), "the constraint");
    assert_nobody_up(&sim);
    // With a connection for her she gets that one.
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    by_identity(&mut sim, &["bob", "alice"]);
    impersonate(&mut sim, b"bob");
    sim.assert_established(1, 1);
    assert_eq!(sim.hosts[B].sas[0].name(), "alice");
    assert_eq!(sim.hosts[B].sas[0].snapshot().remote_eap_id, id("alice"));
}

/// Moon connects, and answers the request for its identity with another one.
fn impersonate(sim: &mut Sim, name: &[u8]) {
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 5));
    sim.net.clear();
    let original = sim.sent[4].clone();
    let mut payloads = sim.payloads(&original);
    for payload in &mut payloads {
        if let Payload::Eap(eap) = payload {
            let len = u8::try_from(5 + name.len()).unwrap();
            *eap = Eap::new([&[2, eap.identifier(), 0, len, 1], name].concat()).unwrap();
        }
    }
    let header = original.header().unwrap();
    let answers = sim.deliver_instead(original, header, &payloads);
    assert!(!answers.is_empty());
    sim.settle();
}

#[test]
fn identities_that_are_nobody() {
    // An empty one stands for the IKE identity (and has to fit as such), patterns for nobody.
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    by_identity(&mut sim, &["alice"]);
    impersonate(&mut sim, b"");
    sim.assert(
        sim.trace.contains("client did not send an EAP identity, assume IKE identity 'moon.strongswan.org'"),
        "log",
    );
    sim.assert(sim.trace.contains("EAP identity 'alice'"), "log");
    assert_nobody_up(&sim);
    for name in ["%any", "*", "*@example.org"] {
        let mut sim = pair("eap-mschapv2", "eap-mschapv2");
        impersonate(&mut sim, name.as_bytes());
        sim.assert(sim.trace.contains("received EAP identity that names nobody"), name);
        assert_nobody_up(&sim);
    }
}

/// Stops moon's handshake with sun when `count` datagrams are sent, and takes the last one off the network.
pub fn stop_at(sim: &mut Sim, count: usize) -> Datagram {
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == count));
    sim.net.clear();
    sim.sent[count - 1].clone()
}

/// Delivers `original` with another EAP packet, or none, and whatever else.
pub fn replace_eap(sim: &mut Sim, original: Datagram, packet: Option<Vec<u8>>, more: Vec<Payload>) -> Vec<Datagram> {
    let mut payloads = sim.payloads(&original);
    payloads.retain(|payload| payload.kind() != PayloadType::Eap);
    payloads.extend(packet.map(|packet| Payload::Eap(Eap::new(packet).unwrap())));
    payloads.extend(more);
    let header = original.header().unwrap();
    sim.deliver_instead(original, header, &payloads)
}

#[test]
fn success_before_the_end_is_none() {
    // Whatever the server has sent so far, EAP-Success counts only after the method.
    for (method, count) in
        [("eap-md5", 4), ("eap-md5", 6), ("eap-mschapv2", 4), ("eap-mschapv2", 6), ("eap-mschapv2", 8)]
    {
        let mut sim = pair(method, method);
        let response = stop_at(&mut sim, count);
        replace_eap(&mut sim, response, Some(vec![3, 9, 0, 4]), vec![]);
        sim.assert(sim.trace.contains("received unexpected EAP_SUCCESS"), method);
        sim.settle();
        assert_eq!(sim.events(A, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
        assert!(sim.hosts[A].kernel.is_empty());
    }
}

#[test]
fn mschapv2_success_without_challenge_or_proof() {
    let success = |text: &str| {
        let len = u16::try_from(4 + text.len()).unwrap().to_be_bytes();
        let whole = u16::try_from(9 + text.len()).unwrap().to_be_bytes();
        [&[1, 77][..], &whole, &[26, 3, 1], &len, text.as_bytes()].concat()
    };
    // instead of the challenge
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    let response = stop_at(&mut sim, 6);
    replace_eap(&mut sim, response, Some(success(&format!("S={} M=hi", "00".repeat(20)))), vec![]);
    sim.assert(sim.trace.contains("received unexpected EAP-MS-CHAPv2 message"), "log");
    assert!(sim.hosts[A].sas.is_empty());
    // after it, with a proof that is none
    for text in [format!("S={} M=hi", "00".repeat(20)), "S=".into(), "M=hi".into(), String::new()] {
        let mut sim = pair("eap-mschapv2", "eap-mschapv2");
        let response = stop_at(&mut sim, 8);
        replace_eap(&mut sim, response, Some(success(&text)), vec![]);
        sim.assert(sim.trace.contains("EAP-MS-CHAPv2 verification failed"), &text);
        assert!(sim.hosts[A].sas.is_empty());
    }
}

#[test]
fn a_client_that_claims_success() {
    // To a server, neither "success" nor an AUTH payload is worth anything before the method is done.
    for (count, packet) in [
        (5, Some(vec![3, 1, 0, 4])),
        (5, Some(vec![2, 1, 0, 6, 26, 3])),
        (7, Some(vec![3, 1, 0, 4])),
        (7, Some(vec![2, 1, 0, 6, 26, 3])),
        (7, None),
        (5, None),
    ] {
        let mut sim = pair("eap-mschapv2", "eap-mschapv2");
        let request = stop_at(&mut sim, count);
        let auth = Auth { method: AuthMethod::SharedKey, data: vec![0; 32] };
        let identifier = sim.payloads(&request).iter().find_map(|payload| match payload {
            Payload::Eap(eap) => Some(eap.identifier()),
            _ => None,
        });
        let packet = packet.map(|mut packet| {
            packet[1] = identifier.unwrap();
            packet
        });
        replace_eap(&mut sim, request, packet, vec![Payload::Auth(auth)]);
        sim.settle();
        assert_eq!(sim.events(B, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
        assert!(sim.hosts[B].kernel.is_empty(), "{}", sim.describe(B));
        assert!(sim.hosts[B].sas.is_empty());
    }
}

#[test]
fn the_key_has_to_be_shown() {
    // EAP is over, and AUTH is missing or wrong, on either side.
    for method in ["eap-md5", "eap-mschapv2"] {
        let last_request = if method == "eap-md5" { 9 } else { 11 };
        for count in [last_request, last_request + 1] {
            for auth in [None, Some(vec![0; 32]), Some(vec![])] {
                let mut sim = pair(method, method);
                let original = stop_at(&mut sim, count);
                let mut payloads = sim.payloads(&original);
                payloads.retain(|payload| payload.kind() != PayloadType::Auth);
                payloads.extend(auth.map(|data| Payload::Auth(Auth { method: AuthMethod::SharedKey, data })));
                let header = original.header().unwrap();
                let victim = if count == last_request { B } else { A };
                sim.deliver_instead(original, header, &payloads);
                assert_eq!(sim.events(victim, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
                sim.settle();
                assert!(sim.hosts[victim].kernel.is_empty());
                sim.assert_nothing_left();
            }
        }
    }
}

#[test]
fn no_child_sa_before_the_end() {
    let mut sim = pair("eap-md5", "eap-md5");
    let request = stop_at(&mut sim, 7);
    let first = sim.sent[2].clone();
    let keep = [PayloadType::Sa, PayloadType::TsI, PayloadType::TsR];
    let mut payloads = sim.payloads(&first);
    payloads.retain(|payload| keep.contains(&payload.kind()));
    let header = Header { exchange: ExchangeType::CreateChildSa, ..request.header().unwrap() };
    let mut rng = sim.rng.fork();
    payloads.insert(1, Nonce::generate(&mut rng).into());
    assert!(sim.deliver_instead(request, header, &payloads).is_empty());
    assert!(sim.hosts[B].kernel.is_empty());
}

#[test]
fn hostile_packets_from_either_side() {
    // Lengths of 0, of 1 and beyond the end, in each position of a conversation.
    let bodies: &[&[u8]] = &[
        &[],
        &[0],
        &[1],
        &[26],
        &[26, 1],
        &[26, 1, 0, 0],
        &[26, 1, 0, 0, 0],
        &[26, 1, 0, 0xff, 0xff, 16],
        &[26, 2, 0, 0, 6, 49],
        &[26, 3, 0, 0, 5, b'S'],
        &[26, 4, 0, 0, 4],
        &[26, 4, 0, 0, 5, b'E'],
        &[26, 4, 0, 0xff, 0xff],
        &[4],
        &[4, 0],
        &[4, 1],
        &[4, 17, 1],
        &[4, 255],
        &[3],
        &[3, 0],
        &[254],
        &[254, 0, 0, 0],
        &[254, 0, 0, 0, 0, 0, 0, 3],
        &[254, 0, 0, 0, 0, 0, 0, 3, 254],
    ];
    for method in ["eap-md5", "eap-mschapv2", "eap-gtc"] {
        for count in 4..=8 {
            for body in bodies {
                let mut sim = Sim::with_seed(1, false);
                prepare(&mut sim, method, method);
                let original = stop_at(&mut sim, count);
                let (code, victim) = if count % 2 == 0 { (1, A) } else { (2, B) };
                let identifier = sim.payloads(&original).iter().find_map(|payload| match payload {
                    Payload::Eap(eap) => Some(eap.identifier()),
                    _ => None,
                });
                let len = u16::try_from(4 + body.len()).unwrap().to_be_bytes();
                let packet = [&[code, identifier.unwrap()][..], &len, body].concat();
                replace_eap(&mut sim, original, Some(packet), vec![]);
                assert_eq!(sim.events(victim, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
                assert!(sim.hosts[victim].kernel.sas().is_empty());
            }
        }
    }
}

#[test]
fn eap_alone_needs_a_mutual_method() {
    // Sun has nothing to authenticate itself with, and passwords do not do that.
    for method in ["eap-md5", "eap-mschapv2", "eap-gtc"] {
        let mut sim = pair(method, method);
        sim.configure_host(B, |peer| peer.local[0].class = class("eap"));
        sim.configure_host(A, |peer| peer.remote[0].class = class("eap"));
        assert_refused(&mut sim, "EAP-only authentication requires a mutual and MSK deriving EAP method, but");
    }
    // a client that wants more than EAP from a server does not even begin
    let mut sim = pair("eap-md5", "eap-md5");
    sim.configure_host(B, |peer| peer.local[0].class = class("eap"));
    assert_refused(&mut sim, "AUTH payload missing");
    sim.assert(!sim.trace.contains("server requested"), "nothing is said to it");
}

#[test]
fn a_server_does_not_leave_out_auth_unasked() {
    let mut sim = pair("eap-md5", "eap-md5");
    sim.configure_host(B, |peer| peer.local[0].class = class("eap"));
    let request = stop_at(&mut sim, 3);
    let mut payloads = sim.payloads(&request);
    let is_notify = |payload: &Payload| matches!(payload, Payload::Notify(notify) if notify.kind == NotifyType::EapOnlyAuthentication);
    assert!(payloads.iter().any(is_notify));
    payloads.retain(|payload| !is_notify(payload));
    let header = request.header().unwrap();
    sim.deliver_instead(request, header, &payloads);
    sim.assert(sim.trace.contains("configured EAP-only authentication, but peer does not support it"), "log");
    assert!(sim.hosts[B].sas.is_empty());
}

#[test]
fn a_peer_cannot_choose_eap() {
    // The connection wants a secret; leaving out AUTH does not turn it into EAP.
    let mut sim = pair("eap-md5", "eap-md5");
    sim.configure_host(B, |peer| peer.remote[0].class = AuthClass::Psk);
    assert_refused(&mut sim, "peer requested EAP, config unacceptable");
    let mut sim = pair("eap-md5", "eap-md5");
    sim.configure_host(B, |peer| peer.remote[0].class = AuthClass::Any);
    assert_refused(&mut sim, "peer requested EAP, config unacceptable");
    // and the other way round
    let mut sim = pair("psk", "eap-md5");
    assert_refused(&mut sim, "constraint requires EAP authentication, but pre-shared key was used");
}

#[test]
fn the_server_is_checked_before_the_client_says_anything() {
    let mut sim = pair("eap-gtc", "eap-gtc");
    sim.configure_host(A, |peer| peer.remote[0].id = id("*.example.org"));
    sim.initiate(A);
    sim.settle();
    sim.assert(!sim.trace.contains("server requested"), "nothing is said");
    assert_nobody_up(&sim);
}

#[test]
fn two_rounds() {
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    let psk = AuthRound { class: AuthClass::Psk, id: id("moon.strongswan.org"), ..AuthRound::default() };
    sim.configure_host(A, |peer| peer.local.insert(0, psk.clone()));
    sim.configure_host(B, |peer| peer.remote.insert(0, psk.clone()));
    sim.establish();
    assert_eq!(sim.hosts[B].sas[0].snapshot().remote_eap_id, id("alice"));
    // in the other order
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    sim.configure_host(A, |peer| peer.local.push(psk.clone()));
    sim.configure_host(B, |peer| peer.remote.push(psk.clone()));
    sim.establish();
    assert_eq!(sim.hosts[B].sas[0].snapshot().remote_eap_id, id("alice"));
}

#[test]
fn uniqueness_is_by_eap_identity() {
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    sim.configure_host(B, |peer| peer.unique = UniquePolicy::Replace);
    sim.hosts[A].credentials.add_secret(secret(SecretKind::Eap, b"bob's", "bob"));
    sim.hosts[B].credentials.add_secret(secret(SecretKind::Eap, b"bob's", "bob"));
    sim.establish();
    sim.configure_host(A, |peer| {
        peer.local[0].eap_id = id("bob");
        peer.unique = UniquePolicy::Never;
    });
    sim.initiate(A);
    sim.run_for(Duration::from_secs(30));
    assert_eq!(sim.hosts[B].sas.len(), 2, "bob is not alice");
    sim.configure_host(A, |_| {});
    sim.initiate(A);
    sim.run_for(Duration::from_secs(30));
    assert_eq!(sim.hosts[B].sas.len(), 2, "bob is bob");
}

#[test]
fn a_server_cannot_reauthenticate_a_client() {
    let mut sim = pair("eap-mschapv2", "eap-mschapv2");
    sim.establish();
    let before = sim.hosts[B].sas[0].id();
    sim.input(B, Input::ReauthIke);
    sim.settle();
    assert_eq!(sim.hosts[B].sas[0].id(), before);
    sim.assert(sim.trace.contains("initiator did not reauthenticate as requested"), "log");
    sim.input(A, Input::ReauthIke);
    sim.settle();
    sim.assert_established(1, 1);
}

/// What an AAA server says in the end.
type Verdict = fn() -> AaaAnswer;

/// An AAA server that does EAP-MD5 badly: it believes everybody whose response has the right length.
fn aaa(sim: &mut Sim, last: Verdict) {
    let mut asked = 0;
    sim.hosts[B].aaa = Some(Box::new(move |request| {
        asked += 1;
        assert_eq!(request.identity, Identity::parse("alice"));
        let eap = Eap::new(request.packet).unwrap();
        assert_eq!(eap.code(), EapCode::Response);
        match asked {
            1 => {
                assert_eq!(eap.as_bytes()[5..], b"alice"[..]);
                let packet = [&[1, 200, 0, 22, 4, 16][..], &[9; 16]].concat();
                AaaAnswer::Challenge { packet, state: vec![1, 2, 3] }
            }
            _ => {
                assert_eq!((eap.identifier(), request.state), (200, vec![1, 2, 3]));
                last()
            }
        }
    }));
}

#[test]
fn an_aaa_server_decides() {
    let mut sim = pair("eap", "eap-radius");
    aaa(&mut sim, || {
        AaaAnswer::Accept(Box::new(AaaAccept {
            groups: vec![Identity::parse("staff")],
            session_timeout: Some(Duration::from_secs(600)),
            ..AaaAccept::default()
        }))
    });
    sim.configure_host(B, |peer| peer.remote[0].groups = vec![Identity::parse("staff")]);
    sim.establish();
    assert_eq!(sim.hosts[B].sas[0].snapshot().remote_eap_id, id("alice"));
    sim.assert(sim.trace.contains("received AUTH_LIFETIME of 600s, scheduling reauthentication in 540s"), "in time");
    // who is not there any more does not
    sim.forget(A);
    sim.run_for(Duration::from_secs(700));
    sim.assert(sim.trace.contains("initiator did not reauthenticate as requested"), "the session's end");

    let answers: [(Verdict, &str); 5] = [
        (|| AaaAnswer::Reject, "RADIUS authentication of 'alice' failed"),
        (|| AaaAnswer::Unavailable, "EAP method EAP_MD5 failed for peer alice"),
        (|| AaaAnswer::Challenge { packet: vec![], state: vec![] }, "received invalid EAP message from RADIUS server"),
        (
            || AaaAnswer::Challenge { packet: vec![3, 1, 0, 4], state: vec![] },
            "received invalid EAP message from RADIUS server",
        ),
        // in no group
        (|| AaaAnswer::Accept(Box::default()), "group membership to 'staff' required"),
    ];
    for (answer, why) in answers {
        let mut sim = pair("eap", "eap-radius");
        sim.configure_host(B, |peer| peer.remote[0].groups = vec![Identity::parse("staff")]);
        aaa(&mut sim, answer);
        assert_refused(&mut sim, why);
    }
    // accepted without having been asked anything
    let mut sim = pair("eap", "eap-radius");
    sim.hosts[B].aaa = Some(Box::new(|_| AaaAnswer::Accept(Box::default())));
    assert_refused(&mut sim, "RADIUS authentication of 'alice' failed");
    // nobody there
    assert_refused(&mut pair("eap", "eap-radius"), "initiating");
}

#[test]
fn endless_conversations_end() {
    let mut sim = pair("eap", "eap-radius");
    let mut identifier = 0u8;
    sim.hosts[B].aaa = Some(Box::new(move |_| {
        identifier = identifier.wrapping_add(1);
        let packet = [&[1, identifier, 0, 22, 4, 16][..], &[9; 16]].concat();
        AaaAnswer::Challenge { packet, state: vec![] }
    }));
    assert_refused(&mut sim, "too many EAP messages");
}

#[test]
fn an_unknown_method_is_not_loaded_as_any() {
    let AuthClass::Eap(method) = class("eap-42-9") else { panic!() };
    assert!(!ike::eap::is_supported(method) && ike::eap::is_supported(EapMethod::Any));
}

#[test]
fn with_a_post_quantum_secret() {
    // RFC 8784: AUTH at the end of EAP is what it is mixed into, whether or not the method yields a key.
    for method in ["eap-md5", "eap-mschapv2"] {
        for (client, server, required, up, ppk) in [
            (true, true, true, true, true),
            (true, true, false, true, true),
            (true, false, false, true, false),
            (false, true, false, true, false),
            (true, false, true, false, false),
            (false, true, true, false, false),
        ] {
            let mut sim = pair(method, method);
            for (host, has) in [(A, client), (B, server)] {
                sim.configure_host(host, |peer| {
                    peer.ppk_id = id("ppk@example.org").filter(|_| has);
                    peer.ppk_required = has && required;
                });
                if has {
                    sim.hosts[host].credentials.add_secret(secret(SecretKind::Ppk, b"quantum", "ppk@example.org"));
                }
            }
            sim.initiate(A);
            sim.settle();
            if up {
                sim.assert_established(1, 1);
            } else {
                assert_nobody_up(&sim);
            }
            let used = sim.trace.contains("using PPK for PPK_ID 'ppk@example.org'");
            sim.assert(used == ppk, "PPK");
        }
        // another secret under the same name
        let mut sim = pair(method, method);
        for (host, value) in [(A, b"one"), (B, b"two")] {
            sim.configure_host(host, |peer| peer.ppk_id = id("ppk@example.org"));
            sim.hosts[host].credentials.add_secret(secret(SecretKind::Ppk, value, "ppk@example.org"));
        }
        assert_refused(&mut sim, "verification of AUTH payload");
    }
}
