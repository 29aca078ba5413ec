//! Post-quantum pre-shared keys (RFC 8784): agreed on, done without where that is allowed, and never talked away.

use std::sync::Arc;
use std::time::Duration;

use ike::Input;
use ike::config::{AuthClass, AuthRound, PeerConfig};
use ike::wire::{Message, Notify, NotifyType, Payload, PayloadType, Received};
use strongswan::credentials::{CertificateFlags, PrivateKey, SecretKind, SharedSecret};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

use crate::sim::net::{Conditions, Datagram};
use crate::sim::{A, B, Sim, seed_of_environment};

const ID: &str = "ppk@example.org";

/// What a host has to do with PPKs.
#[derive(Clone, Copy)]
struct Side {
    /// `ppk_id`
    id: Option<&'static str>,
    required: bool,
    /// Owner and value of the one PPK it has.
    secret: Option<(&'static str, &'static str)>,
}

const NONE: Side = Side { id: None, required: false, secret: None };
const OPTIONAL: Side = Side { id: Some(ID), required: false, secret: Some((ID, "shared by both")) };
const REQUIRED: Side = Side { required: true, ..OPTIONAL };

fn ppk(owner: &str, value: &str) -> SharedSecret {
    SharedSecret::new(SecretKind::Ppk, Secret::from(value.as_bytes()), vec![Identity::parse(owner)])
}

fn apply(peer: &mut PeerConfig, side: Side) {
    peer.ppk_id = side.id.map(Identity::parse);
    peer.ppk_required = side.required;
}

fn configure(sim: &mut Sim, sides: [Side; 2]) {
    for (host, side) in [A, B].into_iter().zip(sides) {
        sim.configure_host(host, |peer| apply(peer, side));
        if let Some((owner, value)) = side.secret {
            sim.hosts[host].credentials.add_secret(ppk(owner, value));
        }
    }
}

fn pair(a: Side, b: Side) -> Sim {
    let mut sim = Sim::pair();
    configure(&mut sim, [a, b]);
    sim
}

/// Both ends say whether a PPK is in use.
#[track_caller]
fn assert_in_use(sim: &Sim, used: bool) {
    for host in &sim.hosts {
        for ike in host.snapshots() {
            assert_eq!(ike.ppk, used, "{}", host.name);
        }
    }
}

/// The handshake fails, and nothing is left of it.
#[track_caller]
fn assert_refused(sim: &mut Sim, why: &str) {
    sim.run_for(Duration::from_secs(200));
    sim.assert_nothing_left();
    sim.assert(!sim.trace.contains("established between"), "an IKE_SA");
    sim.assert(sim.trace.contains(why), why);
}

#[track_caller]
fn assert_never_up(a: Side, b: Side, why: &str) {
    let mut sim = pair(a, b);
    sim.initiate(A);
    assert_refused(&mut sim, why);
}

#[test]
fn both_have_it() {
    for (a, b) in [(REQUIRED, REQUIRED), (OPTIONAL, OPTIONAL), (REQUIRED, OPTIONAL), (OPTIONAL, REQUIRED)] {
        let mut sim = pair(a, b);
        sim.establish();
        assert_eq!(sim.sent.len(), 4);
        assert_in_use(&sim, true);
        assert_eq!(sim.trace.count("using PPK for PPK_ID 'ppk@example.org'"), 2);
        assert_eq!(sim.trace.count("authentication of 'moon.strongswan.org' (myself)"), 1);
        // SK_d and what comes of it are the same on both sides
        sim.rekey_child(A);
        sim.settle();
        sim.input(B, Input::RekeyIke);
        sim.settle();
        sim.rekey_child(B);
        sim.settle();
        sim.assert_established(1, 1);
        assert_in_use(&sim, true);
    }
}

#[test]
fn optional_falls_back() {
    let other = Side { secret: Some(("other@example.org", "another one")), ..NONE };
    for (a, b, why) in [
        (OPTIONAL, NONE, "peer does not support PPK, ignored because PPK is not required"),
        (OPTIONAL, other, "no PPK available, using NO_PPK_AUTH notify"),
        (OPTIONAL, other, "peer didn't use PPK for PPK_ID 'ppk@example.org'"),
        (Side { secret: None, ..OPTIONAL }, OPTIONAL, "no PPK for 'ppk@example.org' found, ignored because"),
        (NONE, OPTIONAL, "IKE_SA gw[1] established"),
        (OPTIONAL, Side { secret: other.secret, ..OPTIONAL }, "no PPK for 'ppk@example.org' found, ignored because"),
    ] {
        let mut sim = pair(a, b);
        sim.establish();
        assert_in_use(&sim, false);
        sim.assert(sim.trace.contains(why), why);
        sim.input(A, Input::RekeyIke);
        sim.settle();
        sim.assert_established(1, 1);
    }
}

#[test]
fn signatures_fall_back_too() {
    let data = |name: &str| std::fs::read(format!("{}/tests/data/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for rfc7427 in [true, false] {
        for has_it in [true, false] {
            let mut sim = pair(OPTIONAL, if has_it { OPTIONAL } else { NONE });
            // announces PPK, but has another
            sim.hosts[B].credentials.add_secret(ppk("other@example.org", "another one"));
            for host in [A, B] {
                let store = &sim.hosts[host].credentials;
                for name in ["root", "int"] {
                    let certificate =
                        Arc::new(strongswan::credentials::Certificate::from_der_or_pem(&data(name)).unwrap());
                    store.add_certificate(Arc::clone(&certificate), CertificateFlags::of(&certificate));
                }
                let own = if host == A { "ecdsa" } else { "rsa" };
                let certificate = Arc::new(strongswan::credentials::Certificate::from_der_or_pem(&data(own)).unwrap());
                let certificate = store.add_certificate(Arc::clone(&certificate), CertificateFlags::of(&certificate));
                store.add_private_key(PrivateKey::from_der_or_pem(&data(&format!("{own}.key"))).unwrap());
                sim.hosts[host].settings.signature_authentication = rfc7427;
                let round = |id: &str| AuthRound {
                    class: AuthClass::Pubkey,
                    id: Some(Identity::parse(id)),
                    ..AuthRound::default()
                };
                let ids = ["ecdsa.example.org", "rsa.example.org"];
                sim.configure_host(host, |peer| {
                    peer.local = vec![AuthRound { certs: vec![certificate], ..round(ids[host]) }];
                    peer.remote = vec![round(ids[1 - host])];
                });
            }
            sim.establish();
            assert_in_use(&sim, has_it);
            assert_eq!(sim.trace.contains("using NO_PPK_AUTH"), !has_it);
        }
    }
}

#[test]
fn required_fails_closed_on_the_initiator() {
    let other = Side { secret: Some(("other@example.org", "another one")), ..NONE };
    let wrong = Side { secret: Some((ID, "another value")), ..OPTIONAL };
    assert_never_up(REQUIRED, NONE, "PPK required but peer does not support PPK");
    assert_never_up(REQUIRED, other, "no PPK available, but peer requires it");
    assert_never_up(REQUIRED, wrong, "MAC mismatched");
    assert_never_up(Side { secret: None, ..REQUIRED }, OPTIONAL, "PPK required but no PPK found for 'ppk@example.org'");
    assert_never_up(Side { id: None, ..REQUIRED }, OPTIONAL, "PPK required but no PPK_ID configured");
}

#[test]
fn required_fails_closed_on_the_responder() {
    let wrong = Side { secret: Some((ID, "another value")), ..OPTIONAL };
    let unknown = Side { id: Some("who@example.org"), secret: Some(("who@example.org", "it")), ..OPTIONAL };
    let anyone = Side { id: None, ..REQUIRED };
    assert_never_up(NONE, REQUIRED, "PPK required but no PPK_IDENTITY received");
    assert_never_up(Side { secret: None, ..OPTIONAL }, REQUIRED, "PPK required but no PPK_IDENTITY received");
    assert_never_up(OPTIONAL, Side { secret: None, ..REQUIRED }, "PPK required but no PPK_IDENTITY received");
    assert_never_up(wrong, REQUIRED, "MAC mismatched");
    assert_never_up(unknown, REQUIRED, "received PPK_ID 'who@example.org', but require 'ppk@example.org'");
    assert_never_up(unknown, anyone, "PPK required but no PPK found for 'who@example.org'");
}

#[test]
fn a_wrong_optional_ppk_is_no_reason_to_do_without() {
    // Who names a PPK we have must prove to know it, whatever NO_PPK_AUTH says; and who names another than the configured
    // one is somebody else.
    let other = Side { id: Some("other@example.org"), ..OPTIONAL };
    assert_never_up(OPTIONAL, other, "received PPK_ID 'ppk@example.org', but require 'other@example.org'");
    assert_never_up(OPTIONAL, Side { secret: Some((ID, "another value")), ..OPTIONAL }, "MAC mismatched");
}

#[test]
fn responders_may_accept_many_by_a_pattern() {
    let side = Side { id: Some("*@example.org"), secret: Some(("*@example.org", "shared by both")), required: true };
    let mut sim = pair(REQUIRED, side);
    sim.establish();
    assert_in_use(&sim, true);
    let any = Side { id: None, secret: Some(("%any", "shared by both")), required: true };
    let mut sim = pair(REQUIRED, any);
    sim.establish();
    assert_in_use(&sim, true);
    let elsewhere = Side { id: Some("*@example.com"), ..side };
    assert_never_up(REQUIRED, elsewhere, "but require '*@example.com'");
}

#[test]
fn names_of_every_kind() {
    for id in ["ppk", "C=CH, O=strongSwan, CN=ppk", "@#0badcafe", "192.0.2.77", "0x"] {
        let mut sim = pair(NONE, NONE);
        sim.configure(|peer| {
            peer.ppk_id = Some(Identity::parse(id));
            peer.ppk_required = true;
        });
        for host in &sim.hosts {
            host.credentials.add_secret(ppk(id, "shared by both"));
        }
        sim.establish();
        assert_in_use(&sim, true);
    }
}

#[test]
fn connections_that_do_without_serve_who_has_none() {
    // The first connection that fits demands a PPK, the second does not.
    for (client, used) in [(NONE, false), (REQUIRED, true)] {
        let mut sim = pair(client, REQUIRED);
        let mut open = PeerConfig::clone(&sim.hosts[B].connections.0[0]);
        open.name = "open".into();
        apply(&mut open, NONE);
        sim.hosts[B].connections.0.push(Arc::new(open));
        sim.establish();
        assert_in_use(&sim, used);
        assert_eq!(sim.trace.contains("switching to peer config 'open'"), !used);
    }
}

#[test]
fn a_failed_constraint_does_not_lead_past_the_requirement() {
    // The connection that does without a PPK wants a certificate; the next one allows secrets, but not without PPK.
    let mut sim = pair(NONE, NONE);
    sim.hosts[B].credentials.add_secret(ppk(ID, "it"));
    let mut strict = PeerConfig::clone(&sim.hosts[B].connections.0[0]);
    strict.name = "strict".into();
    apply(&mut strict, REQUIRED);
    sim.hosts[B].connections.0.push(Arc::new(strict));
    sim.configure_host(B, |peer| peer.remote[0].class = AuthClass::Pubkey);
    sim.initiate(A);
    assert_refused(&mut sim, "no alternative config found");
}

#[test]
fn two_rounds_on_either_side() {
    for (a, b, used) in [(REQUIRED, REQUIRED, true), (OPTIONAL, Side { secret: Some(("x", "y")), ..NONE }, false)] {
        for (host, other) in [(A, B), (B, A)] {
            let mut sim = pair(a, b);
            let id = Identity::parse("second.strongswan.org");
            let round = AuthRound { class: AuthClass::Psk, id: Some(id.clone()), ..AuthRound::default() };
            for host in &sim.hosts {
                host.credentials.add_secret(SharedSecret::new(
                    SecretKind::Ike,
                    Secret::from(&b"the second one"[..]),
                    vec![id.clone()],
                ));
            }
            sim.configure_host(host, |peer| peer.local.push(round.clone()));
            sim.configure_host(other, |peer| peer.remote.push(round));
            sim.establish();
            assert_eq!(sim.sent.len(), 6);
            assert_in_use(&sim, used);
            sim.input(A, Input::RekeyIke);
            sim.settle();
            sim.assert_established(1, 1);
        }
    }
}

/// Takes a plain message off the wire when it is the `index`th to be sent, and delivers it without a notify.
fn strip(sim: &mut Sim, index: usize, kind: NotifyType) {
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == index + 1));
    sim.net.clear();
    let datagram = sim.sent[index].clone();
    let Ok(Received::Plain(mut message)) = ike::wire::parse(&datagram.data) else { panic!("not a plain message") };
    assert!(message.has_notify(kind));
    remove(&mut message.payloads, kind);
    sim.deliver(Datagram { data: message.encode_plain().unwrap(), ..datagram });
}

fn remove(payloads: &mut Vec<Payload>, kind: NotifyType) {
    payloads.retain(|payload| !matches!(payload, Payload::Notify(notify) if notify.kind == kind));
}

#[test]
fn removing_the_announcement_on_the_way_does_not_help() {
    for required in [true, false] {
        let side = Side { required, ..OPTIONAL };
        for index in [0, 1] {
            let mut sim = pair(side, side);
            sim.initiate(A);
            strip(&mut sim, index, NotifyType::UsePpk);
            // IKE_SA_INIT is part of what AUTH covers
            let why = if required { "PPK required but peer does not support PPK" } else { "MAC mismatched" };
            sim.run_for(Duration::from_secs(200));
            sim.assert_nothing_left();
            sim.assert(!sim.trace.contains("moon [IKE] IKE_SA gw[1] established"), "the initiator believes it");
            sim.assert(sim.trace.contains(why), why);
        }
    }
}

/// Stops when the `index`th message has been sent and hands over what is in it.
fn intercept(sim: &mut Sim, index: usize) -> (Datagram, Vec<Payload>) {
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == index + 1));
    sim.net.clear();
    let datagram = sim.sent[index].clone();
    let payloads = sim.payloads(&datagram);
    (datagram, payloads)
}

#[test]
fn no_ppk_auth_does_not_stand_in_for_a_ppk_we_have() {
    // A peer that knows the secret of the connection, but not the PPK.
    let mut sim = pair(OPTIONAL, OPTIONAL);
    let (datagram, mut payloads) = intercept(&mut sim, 2);
    for payload in &mut payloads {
        if let Payload::Auth(auth) = payload {
            auth.data[0] ^= 1;
        }
    }
    let header = datagram.header().unwrap();
    sim.deliver_instead(datagram, header, &payloads);
    assert!(sim.hosts[B].sas.is_empty(), "{}", sim.describe(B));
    assert!(sim.trace.contains("MAC mismatched"));
}

#[test]
fn a_request_that_leaves_the_ppk_out_is_refused_where_it_is_required() {
    // AUTH without the PPK is valid, as the peer knows the other secret, and so it comes without PPK_IDENTITY, or with one
    // that we do not know.
    for replacement in [None, Some(Notify::with_data(NotifyType::PpkIdentity, b"\x02nobody@example.org"))] {
        let mut sim = pair(OPTIONAL, REQUIRED);
        let (datagram, mut payloads) = intercept(&mut sim, 2);
        let found = payloads.iter().find_map(|payload| match payload {
            Payload::Notify(notify) if notify.kind == NotifyType::NoPpkAuth => Some(notify.data.to_vec()),
            _ => None,
        });
        let without = found.unwrap();
        for payload in &mut payloads {
            if let Payload::Auth(auth) = payload {
                auth.data.clone_from(&without);
            }
        }
        remove(&mut payloads, NotifyType::PpkIdentity);
        payloads.extend(replacement.map(Payload::Notify));
        let header = datagram.header().unwrap();
        sim.deliver_instead(datagram, header, &payloads);
        assert!(sim.hosts[B].sas.is_empty(), "{}", sim.describe(B));
    }
}

#[test]
fn a_response_without_confirmation_is_refused_where_it_is_required() {
    for (required, why) in [(true, "peer didn't use PPK for PPK_ID 'ppk@example.org'"), (false, "MAC mismatched")] {
        let mut sim = pair(Side { required, ..OPTIONAL }, OPTIONAL);
        let (datagram, mut payloads) = intercept(&mut sim, 3);
        remove(&mut payloads, NotifyType::PpkIdentity);
        let header = datagram.header().unwrap();
        sim.deliver_instead(datagram, header, &payloads);
        assert!(sim.hosts[A].sas.is_empty(), "{}", sim.describe(A));
        sim.assert(sim.trace.contains(why), why);
        sim.assert(sim.hosts[A].kernel.is_empty(), "an SA");
    }
}

#[test]
fn identities_that_make_no_sense_are_none() {
    for data in [&b""[..], b"\x02", b"\x01opaque", b"\x07ppk@example.org", b"\x02\x30\x05abc", b"\x02\xff\xfe"] {
        for side in [OPTIONAL, REQUIRED] {
            let mut sim = pair(OPTIONAL, side);
            let (datagram, mut payloads) = intercept(&mut sim, 2);
            remove(&mut payloads, NotifyType::PpkIdentity);
            remove(&mut payloads, NotifyType::NoPpkAuth);
            payloads.push(Payload::Notify(Notify::with_data(NotifyType::PpkIdentity, data)));
            let header = datagram.header().unwrap();
            sim.deliver_instead(datagram, header, &payloads);
            assert!(sim.hosts[B].sas.is_empty(), "{}", sim.describe(B));
        }
    }
}

#[test]
fn neither_side_says_anything_about_ppks_without_one() {
    let mut sim = pair(NONE, OPTIONAL);
    sim.establish();
    for datagram in &sim.sent[..2] {
        let Ok(Received::Plain(message)) = ike::wire::parse(&datagram.data) else { panic!("not a plain message") };
        let message: Message = message;
        assert!(!message.has_notify(NotifyType::UsePpk));
        assert!(message.payloads.iter().any(|payload| payload.kind() == PayloadType::Nonce));
    }
}

#[test]
fn over_a_bad_network() {
    let (seeds, traced) = match seed_of_environment() {
        Some(seed) => (seed..seed + 1, true),
        None => (0..100, false),
    };
    for seed in seeds {
        let mut sim = Sim::with_seed(seed, traced);
        let b = if seed % 2 == 0 { REQUIRED } else { OPTIONAL };
        let b = if seed % 5 == 1 { Side { secret: Some(("x", "y")), ..NONE } } else { b };
        configure(&mut sim, [OPTIONAL, b]);
        sim.configure(|peer| peer.keyingtries = 0);
        sim.net.conditions = Conditions::BAD;
        sim.initiate(A);
        sim.run_for(Duration::from_secs(300));
        sim.input(A, Input::RekeyIke);
        sim.run_for(Duration::from_secs(60));
        sim.net.conditions = Conditions::PERFECT;
        sim.run_for(Duration::from_secs(400));
        sim.assert_established(1, 1);
        assert_in_use(&sim, b.id.is_some());
    }
}
