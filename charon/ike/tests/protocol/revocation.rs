//! IKE_AUTH that waits until somebody has asked whether the peer's certificates were revoked, and what the policies make of
//! no answer.

use std::time::Duration;

use ike::Input;
use ike::config::AuthRound;
use strongswan::credentials::Revocation;
use strongswan::credentials::revocation::Sources;

use crate::certificates::{CAS, ecdsa_and_rsa, load};
use crate::sim::{A, B, Sim};

/// `host` has somebody to ask about the certificates of all CAs, and insists on `policy`.
fn demanding(host: usize, policy: Revocation) -> Sim {
    let mut sim = ecdsa_and_rsa();
    let store = &sim.hosts[host].credentials;
    let sources = || Sources { ocsp_uris: vec!["http://ocsp".into()], crl_uris: vec!["http://crl".into()] };
    store.set_sources(CAS.map(|ca| (load(store, ca), sources())));
    demand(&mut sim, host, policy);
    sim
}

fn demand(sim: &mut Sim, host: usize, policy: Revocation) {
    sim.configure_host(host, |peer| {
        peer.remote = vec![AuthRound { revocation: policy, ..peer.remote[0].clone() }];
    });
}

#[test]
fn policies_without_an_answer() {
    for host in [A, B] {
        for (policy, accepted) in [(Revocation::Relaxed, true), (Revocation::IfUri, false), (Revocation::Strict, false)]
        {
            let mut sim = demanding(host, policy);
            if accepted {
                sim.establish();
                sim.assert_traffic();
            } else {
                sim.initiate(A);
                sim.run_for(Duration::from_secs(40));
                sim.assert_nothing_left();
            }
            assert_eq!(sim.hosts[host].asked, 1);
            assert_eq!(sim.hosts[1 - host].asked, 0);
        }
    }
}

#[test]
fn without_anybody_to_ask_only_strict_fails() {
    for (policy, accepted) in [(Revocation::Relaxed, true), (Revocation::IfUri, true), (Revocation::Strict, false)] {
        let mut sim = ecdsa_and_rsa();
        demand(&mut sim, B, policy);
        sim.initiate(A);
        sim.run_for(Duration::from_secs(40));
        assert_eq!(!sim.hosts[A].snapshots().is_empty(), accepted, "{policy:?}");
        assert_eq!(sim.hosts[B].asked, 0);
    }
}

#[test]
fn a_certificate_nobody_trusts_is_not_asked_about() {
    let mut sim = demanding(B, Revocation::Relaxed);
    sim.hosts[B].credentials.clear();
    sim.initiate(A);
    sim.run_for(Duration::from_secs(40));
    assert_eq!(sim.hosts[B].asked, 0);
}

#[test]
fn repetitions_wait_too_and_the_answer_may_be_late_or_never_come() {
    for host in [A, B] {
        let mut sim = demanding(host, Revocation::Relaxed);
        sim.hosts[host].never_told = true;
        sim.initiate(A);
        // A asks again, and B sends its response again
        sim.run_for(Duration::from_secs(12));
        assert_eq!(sim.hosts[host].asked, 1, "{host}");
        let (id, number) = sim.hosts[host].untold[0];
        sim.input_to(host, id, Input::Inquired { number: number + 1 });
        assert!(sim.hosts[host].snapshots()[0].established.is_none());
        sim.input_to(host, id, Input::Inquired { number });
        sim.settle();
        sim.assert_established(1, 1);
        sim.assert_traffic();
    }
    let mut sim = demanding(B, Revocation::Relaxed);
    sim.hosts[B].never_told = true;
    sim.initiate(A);
    sim.run_for(Duration::from_secs(400));
    sim.assert_nothing_left();
}
