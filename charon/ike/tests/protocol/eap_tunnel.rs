//! EAP-TTLS and EAP-PEAP in IKE_AUTH: passwords within TLS, for the right server alone.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{AuthClass, AuthRound, EapMethod, PeerConfig};
use ike::eap::{GtcBackend, TlsVersion};
use ike::wire::{EapCode, Payload};
use ike::{Event, IkeSaState};
use strongswan::credentials::{CertificateFlags, SecretKind, SharedSecret};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

use crate::certificates::{ECDSA, Holder, ROGUE, RSA, certificate};
use crate::eap::{assert_refused, class, replace_eap, stop_at};
use crate::sim::net::Conditions;
use crate::sim::{A, B, Sim};

const TUNNELS: [&str; 2] = ["eap-ttls", "eap-peap"];
const VERSIONS: [TlsVersion; 2] = [TlsVersion::V12, TlsVersion::V13];

fn id(text: &str) -> Option<Identity> {
    Some(Identity::parse(text))
}

fn password(owner: &str, data: &[u8]) -> SharedSecret {
    SharedSecret::new(SecretKind::Eap, Secret::from(data), vec![Identity::parse(owner)])
}

fn eap(method: &str) -> Option<EapMethod> {
    match class(method) {
        AuthClass::Eap(method) => Some(method),
        _ => None,
    }
}

/// Moon is alice with a password, sun has a certificate; sun runs `within` in the tunnel.
fn pair(tunnel: &str, within: &str, server: &Holder, version: TlsVersion) -> Sim {
    let mut sim = Sim::pair();
    prepare(&mut sim, tunnel, within, server, version);
    sim
}

fn prepare(sim: &mut Sim, tunnel: &str, within: &str, server: &Holder, version: TlsVersion) {
    crate::certificates::prepare(sim, A, &ECDSA, server, true);
    crate::certificates::prepare(sim, B, server, &ECDSA, true);
    sim.configure_host(A, |peer| {
        peer.local[0] = AuthRound { class: class(tunnel), eap_id: id("alice"), ..peer.local[0].clone() };
    });
    sim.configure_host(B, |peer| {
        peer.remote[0] = AuthRound { class: class(tunnel), eap_id: Some(Identity::any()), ..peer.remote[0].clone() };
    });
    for host in [A, B] {
        sim.hosts[host].credentials.add_secret(password("alice", b"a password"));
        let settings = &mut sim.hosts[host].settings.eap;
        settings.tls.version_max = version;
        settings.gtc_backend = GtcBackend::Generic;
        settings.ttls.phase2_method = eap(within);
        settings.peap.phase2_method = eap(within);
    }
}

/// Sun does without AUTH of its own.
fn eap_only(sim: &mut Sim, tunnel: &str) {
    sim.configure_host(A, |peer| peer.remote[0].class = class(tunnel));
    sim.configure_host(B, |peer| peer.local[0].class = class(tunnel));
}

#[test]
fn each_method_within() {
    for tunnel in TUNNELS {
        for version in VERSIONS {
            for within in ["eap-md5", "eap-mschapv2", "eap-gtc", "eap-dynamic"] {
                for piggyback in [false, true] {
                    let mut sim = pair(tunnel, within, &RSA, version);
                    for host in [A, B] {
                        sim.hosts[host].settings.eap.ttls.phase2_piggyback = piggyback;
                        sim.hosts[host].settings.eap.peap.phase2_piggyback = piggyback;
                    }
                    sim.establish();
                    sim.assert(sim.trace.contains("phase2 authentication of 'alice' with"), "log");
                    sim.assert(sim.trace.contains("succeeded, MSK established"), "log");
                    assert_eq!(sim.hosts[B].sas[0].snapshot().remote_eap_id, id("alice"));
                }
            }
        }
    }
}

#[test]
fn eap_alone_is_enough() {
    for tunnel in TUNNELS {
        for version in VERSIONS {
            let mut sim = pair(tunnel, "eap-md5", &RSA, version);
            eap_only(&mut sim, tunnel);
            sim.establish();
            sim.assert(sim.trace.contains("allow mutual EAP-only authentication"), "log");
        }
    }
}

#[test]
fn with_a_certificate_of_the_client_too() {
    for tunnel in TUNNELS {
        for version in VERSIONS {
            let with_certificate = |name: &str| {
                let mut sim = pair(tunnel, "eap-md5", &RSA, version);
                for host in [A, B] {
                    sim.hosts[host].settings.eap.ttls.request_peer_auth = true;
                    sim.hosts[host].settings.eap.peap.request_peer_auth = true;
                    sim.hosts[host].credentials.add_secret(password("ecdsa.example.org", b"another"));
                }
                sim.configure_host(A, |peer| peer.local[0].eap_id = id(name));
                sim
            };
            with_certificate("ecdsa.example.org").establish();
            // it has to be good for the name that was given
            assert_refused(&mut with_certificate("alice"), "peer certificate does not match to 'alice'");
            let mut sim = with_certificate("ecdsa.example.org");
            sim.hosts[A].credentials.clear();
            sim.hosts[A].credentials.add_secret(password("ecdsa.example.org", b"another"));
            let root = certificate(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/root.pem")));
            sim.hosts[A].credentials.add_certificate(root, CertificateFlags::default());
            assert_refused(&mut sim, "skipping client authentication");
        }
    }
}

#[test]
fn passwords_are_for_the_right_server() {
    for tunnel in TUNNELS {
        for version in VERSIONS {
            let secret = |mut sim: Sim, why: &str| {
                assert_refused(&mut sim, why);
                sim.assert(!sim.trace.contains("server requested EAP_GTC"), "no password");
                sim.assert(!sim.trace.contains("EAP identity 'alice'") || !sim.trace.contains("phase2"), "no name");
            };
            let mut sim = pair(tunnel, "eap-gtc", &RSA, version);
            sim.configure_host(A, |peer| peer.local[0].aaa_id = id("aaa.example.org"));
            secret(sim, "server certificate does not match to 'aaa.example.org'");
            let mut sim = pair(tunnel, "eap-gtc", &RSA, version);
            eap_only(&mut sim, tunnel);
            let int = certificate(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/int.pem")));
            sim.configure_host(A, |peer| peer.remote[0].cacerts = vec![int.clone()]);
            secret(sim, "peer not authenticated by CA 'C=CH, O=Test, CN=Intermediate'");
            let mut sim = pair(tunnel, "eap-gtc", &ROGUE, version);
            eap_only(&mut sim, tunnel);
            secret(sim, "no trusted certificate found for 'ecdsa.example.org' to verify TLS server");
        }
    }
}

#[test]
fn wrong_passwords_and_methods() {
    for tunnel in TUNNELS {
        for version in VERSIONS {
            for within in ["eap-md5", "eap-mschapv2", "eap-gtc"] {
                let mut sim = pair(tunnel, within, &RSA, version);
                let owners = ["alice", "rsa.example.org"].map(Identity::parse).to_vec();
                let wrong = SharedSecret::new(SecretKind::Eap, Secret::from(&b"wrong"[..]), owners);
                sim.hosts[A].credentials.add_secret(wrong);
                assert_refused(&mut sim, "phase2 authentication failed");
            }
            // nothing in common
            let mut sim = pair(tunnel, "eap-md5", &RSA, version);
            sim.hosts[A].settings.eap.disabled = vec!["eap-md5".into()];
            assert_refused(&mut sim, "received EAP_NAK, sending EAP_FAILURE");
        }
        // no tunnels in tunnels, no proxies, no words that are no methods
        for within in ["eap-ttls", "eap-peap"] {
            assert_refused(&mut pair(tunnel, within, &RSA, TlsVersion::V12), "phase2 authentication failed");
        }
        assert_refused(&mut pair(tunnel, "eap-radius", &RSA, TlsVersion::V12), "phase2 method not supported");
        let mut sim = pair(tunnel, "eap-md5", &RSA, TlsVersion::V12);
        sim.hosts[B].settings.eap.ttls.phase2_method = None;
        sim.hosts[B].settings.eap.peap.phase2_method = None;
        assert_refused(&mut sim, "phase2 method not supported");
    }
}

#[test]
fn the_identity_within_is_the_one_that_counts() {
    // Outside she is bob, whose connection she gets, and within she is alice.
    for tunnel in TUNNELS {
        let by_identity = |patterns: &[&str]| {
            let mut sim = pair(tunnel, "eap-md5", &RSA, TlsVersion::V12);
            let template = PeerConfig::clone(&sim.hosts[B].connections.0[0]);
            let connections = patterns.iter().map(|pattern| {
                let mut config = template.clone();
                config.name = (*pattern).into();
                config.remote[0].eap_id = id(pattern);
                Arc::new(config)
            });
            sim.hosts[B].connections.0 = connections.collect();
            let request = stop_at(&mut sim, 5);
            replace_identity(&mut sim, request, b"bob");
            sim
        };
        let sim = by_identity(&["bob"]);
        sim.assert(sim.trace.contains("phase2 authentication of 'alice'"), "the name within");
        assert_eq!(sim.events(B, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
        let sim = by_identity(&["bob", "alice"]);
        sim.assert_established(1, 1);
        assert_eq!(sim.hosts[B].sas[0].name(), "alice");
        // A connection that names IKE identities alone is for these.
        let mut sim = pair(tunnel, "eap-md5", &RSA, TlsVersion::V12);
        sim.configure_host(B, |peer| peer.remote[0].eap_id = None);
        assert_refused(&mut sim, "EAP identity 'ecdsa.example.org' required, not matched by 'alice'");
        sim.configure_host(B, |peer| peer.remote[0].id = None);
        sim.establish();
    }
}

fn replace_identity(sim: &mut Sim, request: crate::sim::net::Datagram, name: &[u8]) {
    let identifier = sim.payloads(&request).iter().find_map(|payload| match payload {
        Payload::Eap(eap) => Some(eap.identifier()),
        _ => None,
    });
    let len = u8::try_from(5 + name.len()).unwrap();
    let packet = [&[2, identifier.unwrap(), 0, len, 1], name].concat();
    assert!(!replace_eap(sim, request, Some(packet), vec![]).is_empty());
    sim.settle();
}

#[test]
fn over_a_bad_network() {
    for seed in 0..16 {
        let mut sim = Sim::with_seed(seed, false);
        let choice = usize::try_from(seed).unwrap();
        let within = ["eap-md5", "eap-mschapv2"][choice / 4 % 2];
        prepare(&mut sim, TUNNELS[choice % 2], within, &RSA, VERSIONS[choice / 2 % 2]);
        sim.net.conditions = Conditions {
            loss: 20,
            duplication: 20,
            corruption: 0,
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
        sim.assert(established, "up");
    }
}

/// How many datagrams a handshake has.
fn messages(tunnel: &str, version: TlsVersion) -> usize {
    let mut sim = pair(tunnel, "eap-mschapv2", &RSA, version);
    sim.establish();
    sim.sent.len()
}

#[test]
fn success_before_the_end_is_none() {
    // As soon as TLS is there, as soon as the method within has begun: without its end nothing counts.
    for tunnel in TUNNELS {
        for version in VERSIONS {
            for count in (4..messages(tunnel, version) - 4).step_by(2) {
                let mut sim = pair(tunnel, "eap-mschapv2", &RSA, version);
                eap_only(&mut sim, tunnel);
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
    for (tunnel, kind) in [("eap-ttls", 21u8), ("eap-peap", 25)] {
        for version in VERSIONS {
            for count in 4..messages(tunnel, version) - 2 {
                for flags in [&[][..], &[0x20], &[0x40], &[0x80, 0, 0, 0], &[0x80, 0, 0, 0, 1], &[0, 23, 3, 3, 0, 1, 0]]
                {
                    let mut sim = pair(tunnel, "eap-mschapv2", &RSA, version);
                    let original = stop_at(&mut sim, count);
                    let payloads = sim.payloads(&original);
                    let eap = payloads.iter().find_map(|payload| match payload {
                        Payload::Eap(eap) if matches!(eap.code(), EapCode::Request | EapCode::Response) => Some(eap),
                        _ => None,
                    });
                    let Some(eap) = eap else { continue };
                    let body = [&[kind], flags].concat();
                    if eap.as_bytes()[4..] == *body {
                        continue;
                    }
                    let len = u16::try_from(4 + body.len()).unwrap().to_be_bytes();
                    let packet = [&eap.as_bytes()[..2], &len, &body].concat();
                    let victim = if count % 2 == 0 { A } else { B };
                    replace_eap(&mut sim, original, Some(packet), vec![]);
                    sim.settle();
                    assert_eq!(sim.events(victim, |event| matches!(event, Event::IkeUpDown { up: true, .. })), 0);
                    assert!(sim.hosts[victim].kernel.sas().is_empty());
                }
            }
        }
    }
}
