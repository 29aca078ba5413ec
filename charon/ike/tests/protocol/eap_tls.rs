//! EAP-TLS in IKE_AUTH: certificates on both sides, and everything that must not pass for one.

use std::time::Duration;

use ike::config::{AuthClass, AuthRound};
use ike::eap::TlsVersion;
use ike::wire::{Eap, EapCode, Payload};
use ike::{Event, IkeSaState};
use strongswan::credentials::{Auth, AuthOptions};
use strongswan::identity::Identity;

use crate::certificates::{ECDSA, ED25519, Holder, ROGUE, RSA, certificate};
use crate::eap::{assert_nobody_up, assert_refused, class, replace_eap, stop_at};
use crate::sim::net::Conditions;
use crate::sim::{A, B, Sim};

/// Moon authenticates itself with EAP-TLS and the first certificate to sun, which has the second one.
fn pair(client: &Holder, server: &Holder, version: TlsVersion) -> Sim {
    let mut sim = Sim::pair();
    prepare(&mut sim, client, server, version);
    sim
}

fn prepare(sim: &mut Sim, client: &Holder, server: &Holder, version: TlsVersion) {
    crate::certificates::prepare(sim, A, client, server, true);
    crate::certificates::prepare(sim, B, server, client, true);
    sim.configure_host(A, |peer| peer.local[0].class = class("eap-tls"));
    sim.configure_host(B, |peer| peer.remote[0].class = class("eap-tls"));
    for host in [A, B] {
        sim.hosts[host].settings.eap.tls.version_max = version;
    }
}

/// Sun does without AUTH of its own.
fn eap_only(sim: &mut Sim) {
    sim.configure_host(A, |peer| peer.remote[0].class = class("eap-tls"));
    sim.configure_host(B, |peer| peer.local[0].class = class("eap-tls"));
}

const VERSIONS: [TlsVersion; 2] = [TlsVersion::V12, TlsVersion::V13];

#[test]
fn every_kind_of_key() {
    for version in VERSIONS {
        for (client, server) in [(&ECDSA, &RSA), (&RSA, &ED25519), (&ED25519, &ECDSA)] {
            let mut sim = pair(client, server, version);
            sim.establish();
            sim.assert(sim.trace.contains("EAP method EAP_TLS succeeded, MSK established"), "log");
            sim.assert(sim.trace.contains(if version == TlsVersion::V12 { "TLS 1.2" } else { "TLS 1.3" }), "version");
        }
    }
}

#[test]
fn eap_alone_is_enough() {
    for version in VERSIONS {
        let mut sim = pair(&ECDSA, &RSA, version);
        eap_only(&mut sim);
        sim.establish();
        sim.assert(sim.trace.contains("allow mutual EAP-only authentication"), "log");
    }
}

#[test]
fn in_small_pieces() {
    for version in VERSIONS {
        for (fragment_size, include_length) in [(64, false), (100, true), (300, false)] {
            let mut sim = pair(&ECDSA, &RSA, version);
            for host in [A, B] {
                let framing = &mut sim.hosts[host].settings.eap.eap_tls;
                framing.fragment_size = fragment_size;
                framing.include_length = include_length;
                framing.max_message_count = 0;
            }
            sim.establish();
        }
    }
    // the count of packets is limited on either side
    for host in [A, B] {
        let mut sim = pair(&ECDSA, &RSA, TlsVersion::V12);
        for host in [A, B] {
            sim.hosts[host].settings.eap.eap_tls.fragment_size = 64;
            sim.hosts[host].settings.eap.eap_tls.max_message_count = 0;
        }
        sim.hosts[host].settings.eap.eap_tls.max_message_count = 8;
        assert_refused(&mut sim, "EAP_TLS packet count exceeded (9 > 8)");
    }
}

#[test]
fn over_a_bad_network() {
    for seed in 0..12 {
        let mut sim = Sim::with_seed(seed, false);
        prepare(&mut sim, &ECDSA, &RSA, VERSIONS[usize::try_from(seed % 2).unwrap()]);
        sim.net.conditions = Conditions {
            loss: 20,
            duplication: 20,
            corruption: seed % 2 * 10,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(300),
        };
        sim.hosts[B].settings.half_open_timeout = Duration::from_secs(300);
        sim.initiate(A);
        sim.run_for(Duration::from_secs(250));
        sim.net.conditions = Conditions::PERFECT;
        sim.run_for(Duration::from_secs(400));
        sim.assert_agreement();
        sim.assert_traffic();
        let established = sim.hosts[A].sas.iter().any(|sa| sa.state() == IkeSaState::Established);
        sim.assert(established || seed % 2 == 1, "up without corruption");
    }
}

#[test]
fn servers_that_are_somebody_else() {
    for version in VERSIONS {
        for alone in [false, true] {
            // a trusted CA's server, but not the one that is expected
            let mut sim = pair(&ECDSA, &RSA, version);
            if alone {
                eap_only(&mut sim);
            }
            sim.configure_host(A, |peer| peer.local[0].aaa_id = Some(Identity::parse("aaa.example.org")));
            assert_refused(&mut sim, "server certificate does not match to 'aaa.example.org'");
            sim.assert(!sim.trace.contains("received TLS peer certificate"), "the client stays anonymous");
            // whoever it is
            sim.configure_host(A, |peer| peer.local[0].aaa_id = Some(Identity::any()));
            sim.establish();
        }
        // nobody has issued its certificate
        let mut sim = pair(&RSA, &ROGUE, version);
        eap_only(&mut sim);
        assert_refused(&mut sim, "no trusted certificate found for 'ecdsa.example.org' to verify TLS server");
        sim.assert(!sim.trace.contains("received TLS peer certificate"), "the client stays anonymous");
        // a trusted CA, but not the one that is configured
        let mut sim = pair(&ECDSA, &RSA, version);
        eap_only(&mut sim);
        let int = certificate(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/int.pem")));
        sim.configure_host(A, |peer| peer.remote[0].cacerts = vec![int.clone()]);
        assert_refused(&mut sim, "peer not authenticated by CA 'C=CH, O=Test, CN=Intermediate'");
        sim.assert(!sim.trace.contains("received TLS peer certificate"), "the client stays anonymous");
        // a key that is too small
        let mut sim = pair(&ECDSA, &RSA, version);
        sim.configure_host(A, |peer| constrain(&mut peer.local[0], "eap-tls:rsa-3072-ecdsa-256"));
        assert_refused(&mut sim, "RSA-2048 signatures not acceptable");
    }
}

fn constrain(round: &mut AuthRound, auth: &str) {
    let auth = Auth::parse(auth, AuthOptions::default()).unwrap();
    round.class = auth.class;
    round.constraints = auth.constraints;
}

#[test]
fn clients_that_are_somebody_else() {
    for version in VERSIONS {
        // who has a certificate is not anybody
        let mut sim = pair(&ECDSA, &RSA, version);
        sim.configure_host(A, |peer| peer.local[0].eap_id = Some(Identity::parse("alice")));
        sim.configure_host(B, |peer| peer.remote[0].eap_id = Some(Identity::any()));
        assert_refused(&mut sim, "peer certificate does not match to 'alice'");
        // no certificate at all
        let mut sim = pair(&ECDSA, &RSA, version);
        sim.hosts[A].credentials.clear();
        let root = certificate(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/root.pem")));
        sim.hosts[A].credentials.add_certificate(root, Default::default());
        assert_refused(&mut sim, "skipping client authentication");
        // one that nobody has issued
        let mut sim = pair(&ROGUE, &RSA, version);
        assert_refused(&mut sim, "no trusted certificate found for 'ecdsa.example.org' to verify TLS peer");
        // one of another CA than the connection is for, and one whose key is too small
        let mut sim = pair(&RSA, &ECDSA, version);
        let int = certificate(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/int.pem")));
        sim.configure_host(B, |peer| peer.remote[0].cacerts = vec![int.clone()]);
        assert_refused(&mut sim, "peer not authenticated by CA 'C=CH, O=Test, CN=Intermediate'");
        let mut sim = pair(&RSA, &ECDSA, version);
        sim.configure_host(B, |peer| constrain(&mut peer.remote[0], "eap-tls:rsa-3072-ecdsa-256"));
        assert_refused(&mut sim, "RSA-2048 signatures not acceptable");
    }
}

#[test]
fn the_server_needs_a_certificate() {
    let mut sim = pair(&ECDSA, &RSA, TlsVersion::V12);
    sim.configure_host(B, |peer| peer.local[0].aaa_id = Some(Identity::parse("aaa.example.org")));
    assert_refused(&mut sim, "no usable TLS server certificate found for 'aaa.example.org'");
}

#[test]
fn versions_and_suites_have_to_fit() {
    let mut sim = pair(&ECDSA, &RSA, TlsVersion::V12);
    sim.hosts[A].settings.eap.tls.version_min = TlsVersion::V13;
    sim.hosts[A].settings.eap.tls.version_max = TlsVersion::V13;
    assert_refused(&mut sim, "EAP_TLS method failed");
    let mut sim = pair(&ECDSA, &RSA, TlsVersion::V12);
    sim.hosts[B].settings.eap.tls.suites = vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".into()];
    assert_refused(&mut sim, "EAP_TLS method failed");
    // no version is left
    let mut sim = pair(&ECDSA, &RSA, TlsVersion::Older);
    assert_refused(&mut sim, "loading EAP_TLS method failed");
}

/// How many datagrams a handshake has.
fn messages(version: TlsVersion) -> usize {
    let mut sim = pair(&ECDSA, &RSA, version);
    sim.establish();
    sim.sent.len()
}

#[test]
fn success_before_the_end_is_none() {
    for version in VERSIONS {
        for alone in [false, true] {
            // the last response but two is EAP-Success itself, and before it the server may be done with TLS
            for count in (4..messages(version) - 4).step_by(2) {
                let mut sim = pair(&ECDSA, &RSA, version);
                if alone {
                    eap_only(&mut sim);
                }
                let response = stop_at(&mut sim, count);
                replace_eap(&mut sim, response, Some(vec![3, 9, 0, 4]), vec![]);
                sim.settle();
                assert_eq!(sim.events(A, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
                assert!(sim.hosts[A].kernel.is_empty());
            }
        }
    }
}

#[test]
fn hostile_packets_from_either_side() {
    let bodies: &[&[u8]] = &[
        &[13],
        &[13, 0],
        &[13, 0x20],
        &[13, 0x40],
        &[13, 0x80],
        &[13, 0x80, 0, 0, 0],
        &[13, 0x80, 0, 0, 0, 0],
        &[13, 0x80, 0, 0, 0, 1],
        &[13, 0xc0, 0xff, 0xff, 0xff, 0xff, 22],
        &[13, 0x80, 0, 0, 0, 1, 22, 3],
        &[13, 0, 22],
        &[13, 0, 22, 3, 3, 0, 0],
        &[13, 0, 22, 3, 3, 0xff, 0xff],
        &[13, 0, 21, 3, 3, 0, 2, 2, 40],
        &[13, 0, 21, 3, 3, 0, 2, 1, 0],
        &[13, 0, 23, 3, 3, 0, 1, 0],
        &[13, 0, 20, 3, 3, 0, 1, 1],
        &[3],
        &[26, 3],
    ];
    for version in VERSIONS {
        for count in 4..messages(version) - 2 {
            for body in bodies {
                let mut sim = pair(&ECDSA, &RSA, version);
                let original = stop_at(&mut sim, count);
                let payloads = sim.payloads(&original);
                let eap = payloads.iter().find_map(|payload| match payload {
                    Payload::Eap(eap) => Some(eap.clone()),
                    _ => None,
                });
                let Some(eap) = eap.filter(|eap: &Eap| matches!(eap.code(), EapCode::Request | EapCode::Response))
                else {
                    continue;
                };
                // what says nothing at all may be an acknowledgement, at the right moment
                if *body == [13, 0] || eap.as_bytes()[4..] == **body {
                    continue;
                }
                let victim = if count % 2 == 0 { A } else { B };
                let len = u16::try_from(4 + body.len()).unwrap().to_be_bytes();
                let packet = [&eap.as_bytes()[..2], &len, body].concat();
                replace_eap(&mut sim, original, Some(packet), vec![]);
                sim.settle();
                assert_eq!(sim.events(victim, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
                assert!(sim.hosts[victim].kernel.sas().is_empty());
            }
        }
    }
}

#[test]
fn what_tls_says_cannot_be_changed() {
    // Every byte of each message of the handshake once, a few at a time.
    for version in VERSIONS {
        for count in 4..messages(version) - 2 {
            for step in 0..6 {
                let mut sim = pair(&ECDSA, &RSA, version);
                let original = stop_at(&mut sim, count);
                let payloads = sim.payloads(&original);
                let Some(Payload::Eap(eap)) = payloads.iter().find(|payload| matches!(payload, Payload::Eap(_))) else {
                    continue;
                };
                let mut packet = eap.as_bytes().to_vec();
                if packet.len() < 20 {
                    continue;
                }
                let position = 10 + (packet.len() - 11) * step / 5;
                packet[position] ^= 0x55;
                replace_eap(&mut sim, original, Some(packet), vec![]);
                sim.settle();
                for host in [A, B] {
                    assert_eq!(sim.events(host, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
                }
            }
        }
    }
}

#[test]
fn the_method_may_be_any() {
    let mut sim = pair(&ECDSA, &RSA, TlsVersion::V12);
    sim.configure_host(A, |peer| peer.local[0].class = class("eap"));
    sim.configure_host(B, |peer| peer.remote[0].class = class("eap-dynamic"));
    sim.hosts[B].settings.eap.preferred = ike::eap::MethodType::configured(match class("eap-tls") {
        AuthClass::Eap(method) => method,
        _ => panic!(),
    })
    .into_iter()
    .collect();
    sim.establish();
    sim.hosts[B].settings.eap.disabled = vec!["eap-tls".into()];
    let mut off = pair(&ECDSA, &RSA, TlsVersion::V12);
    off.hosts[B].settings.eap.disabled = vec!["eap-tls".into()];
    assert_refused(&mut off, "loading EAP_TLS method failed");
    assert_nobody_up(&off);
}
