//! IKE_AUTH with signatures: each kind of key, chains, raw keys, and what must not be believed.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{AuthRound, IkeConfig, PeerConfig, SendCert};
use ike::{Alert, Event};
use strongswan::credentials::{
    Auth, AuthClass, AuthOptions, Certificate, CertificateFlags, PrivateKey, PublicKey, Store,
};
use strongswan::identity::Identity;

use crate::sim::net::Fate;
use crate::sim::{A, B, Sim};

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name, ".pem")).as_slice()
    };
}

/// The CAs above all of them.
pub const CAS: [&[u8]; 2] = [data!("root"), data!("int")];

/// A certificate and its key.
pub struct Holder {
    cert: &'static [u8],
    key: &'static [u8],
    id: &'static str,
}

pub const ECDSA: Holder = Holder { cert: data!("ecdsa"), key: data!("ecdsa.key"), id: "ecdsa.example.org" };
pub const RSA: Holder = Holder { cert: data!("rsa"), key: data!("rsa.key"), id: "rsa.example.org" };
pub const ED25519: Holder = Holder { cert: data!("ed25519"), key: data!("ed25519.key"), id: "ed25519.example.org" };
/// The name of `ECDSA` on a certificate nobody has issued.
pub const ROGUE: Holder = Holder { cert: data!("rogue"), key: data!("rogue.key"), id: "ecdsa.example.org" };

pub fn certificate(pem: &[u8]) -> Arc<Certificate> {
    Arc::new(Certificate::from_der_or_pem(pem).unwrap())
}

pub fn load(store: &Store, pem: &[u8]) -> Arc<Certificate> {
    let certificate = certificate(pem);
    store.add_certificate(Arc::clone(&certificate), CertificateFlags::of(&certificate))
}

fn private_key(holder: &Holder) -> PrivateKey {
    PrivateKey::from_der_or_pem(holder.key).unwrap()
}

fn round(id: &str) -> AuthRound {
    AuthRound { class: AuthClass::Pubkey, id: Some(Identity::parse(id)), ..AuthRound::default() }
}

/// Makes a host authenticate with `own` and expect `other`; it trusts the root, if `authority`.
pub fn prepare(sim: &mut Sim, host: usize, own: &Holder, other: &Holder, authority: bool) {
    let store = Store::new();
    if authority {
        load(&store, data!("root"));
    }
    load(&store, data!("int"));
    let cert = load(&store, own.cert);
    store.add_private_key(private_key(own));
    sim.hosts[host].credentials = store;
    sim.configure_host(host, |peer| {
        peer.local = vec![AuthRound { certs: vec![cert], ..round(own.id) }];
        peer.remote = vec![round(other.id)];
    });
}

pub fn pair(a: &Holder, b: &Holder) -> Sim {
    let mut sim = Sim::pair();
    prepare(&mut sim, A, a, b, true);
    prepare(&mut sim, B, b, a, true);
    sim
}

/// Two hosts with certificates of different kinds, for other tests.
pub fn ecdsa_and_rsa() -> Sim {
    pair(&ECDSA, &RSA)
}

fn send_no_certreq(peer: &mut PeerConfig) {
    peer.ike = Arc::new(IkeConfig { send_certreq: false, ..IkeConfig::clone(&peer.ike) });
}

#[track_caller]
fn assert_refused(mut sim: Sim) {
    sim.initiate(A);
    // A responder that is left alone notices after 30 s.
    sim.run_for(Duration::from_secs(40));
    sim.assert_nothing_left();
}

#[test]
fn every_kind_of_key_on_either_side() {
    for (a, b) in [(&ECDSA, &RSA), (&RSA, &ED25519), (&ED25519, &ECDSA)] {
        let mut sim = pair(a, b);
        sim.establish();
        assert_eq!(sim.hosts[B].snapshots()[0].remote_id.as_ref().unwrap().to_string(), a.id);
    }
}

#[test]
fn without_rfc_7427_the_classic_methods_do() {
    for host in [A, B] {
        let mut sim = pair(&ECDSA, &RSA);
        sim.hosts[host].settings.signature_authentication = false;
        sim.establish();
    }
}

#[test]
fn certificates_travel_in_fragments() {
    let mut sim = pair(&RSA, &ECDSA);
    for host in &mut sim.hosts {
        host.settings.fragment_size.default = 576;
    }
    sim.establish();
    sim.assert(sim.trace.contains("splitting IKE message"), "log");
}

#[test]
fn a_repeated_fragment_is_no_broken_message() {
    let mut sim = pair(&RSA, &ECDSA);
    for host in &mut sim.hosts {
        host.settings.fragment_size.default = 576;
    }
    sim.net.script(|_| Fate::Duplicate);
    sim.establish();
    sim.assert(sim.trace.contains("received duplicate fragment #1"), "log");
    sim.assert(!sim.trace.contains("processing failed"), "log");
    assert_eq!(sim.events(B, |event| matches!(event, Event::Alert(Alert::ParseErrorBody))), 0);
}

#[test]
fn a_certificate_without_a_loaded_root_is_not_believed() {
    let mut sim = pair(&ECDSA, &RSA);
    prepare(&mut sim, B, &RSA, &ECDSA, false);
    assert_refused(sim);
}

#[test]
fn somebody_with_the_same_name_is_not_believed() {
    assert_refused(pair(&ROGUE, &RSA));
    // As responder it believes the initiator, but not the other way round.
    let mut sim = pair(&RSA, &ROGUE);
    sim.initiate(A);
    sim.settle();
    sim.assert_nothing_left();
}

#[test]
fn an_expired_certificate_is_not_believed() {
    let mut sim = pair(&ECDSA, &RSA);
    sim.now = sim.now + Duration::from_secs(101 * 366 * 86_400);
    assert_refused(sim);
}

#[test]
fn certificates_are_sent_when_asked_for() {
    let mut no_request = pair(&ECDSA, &RSA);
    no_request.configure_host(B, send_no_certreq);
    // B neither asks for A's certificate nor has it.
    assert_refused(no_request);

    let mut always = pair(&ECDSA, &RSA);
    always.configure_host(B, send_no_certreq);
    always.configure_host(A, |peer| peer.send_cert = SendCert::Always);
    always.establish();

    let mut loaded = pair(&ECDSA, &RSA);
    loaded.configure_host(A, |peer| peer.send_cert = SendCert::Never);
    load(&loaded.hosts[B].credentials, ECDSA.cert);
    loaded.establish();
}

#[test]
fn raw_public_keys_need_no_certificate() {
    let mut sim = pair(&ED25519, &ECDSA);
    for (host, own, other) in [(A, &ED25519, &ECDSA), (B, &ECDSA, &ED25519)] {
        let store = Store::new();
        store.add_private_key(private_key(own));
        let key: PublicKey = certificate(other.cert).public_key().clone();
        store.add_public_key(key, Identity::parse(other.id));
        sim.hosts[host].credentials = store;
        let own_key = certificate(own.cert).public_key().clone();
        sim.configure_host(host, |peer| {
            peer.local[0].certs.clear();
            peer.local[0].pubkeys = vec![own_key];
        });
    }
    sim.establish();
}

#[test]
fn constraints_of_the_configuration_hold() {
    let constraints = |text| Auth::parse(text, AuthOptions::default()).unwrap().constraints;
    for (text, accepted) in [
        ("ecdsa-256-sha256", true),
        ("ecdsa-384", false),
        ("rsa-2048", false),
        ("ike:ecdsa-sha256", true),
        ("ike:ecdsa-sha512", false),
    ] {
        let mut sim = pair(&ECDSA, &RSA);
        sim.configure_host(B, |peer| peer.remote[0].constraints = constraints(text));
        sim.initiate(A);
        sim.run_for(Duration::from_secs(40));
        sim.assert_established(usize::from(accepted), usize::from(accepted));
    }
}

#[test]
fn a_peer_that_does_not_fit_one_connection_may_fit_another() {
    let mut sim = pair(&ECDSA, &RSA);
    let connections = &mut sim.hosts[B].connections.0;
    let mut strict = PeerConfig::clone(&connections[0]);
    strict.name = "strict".into();
    strict.remote[0].class = AuthClass::Psk;
    connections.insert(0, Arc::new(strict));
    sim.establish();
    assert_eq!(sim.hosts[B].sas[0].name(), "gw");
}

#[test]
fn two_rounds_each_with_another_key() {
    let mut sim = pair(&ECDSA, &RSA);
    let cert = load(&sim.hosts[A].credentials, ED25519.cert);
    load(&sim.hosts[B].credentials, ED25519.cert);
    sim.hosts[A].credentials.add_private_key(private_key(&ED25519));
    sim.configure_host(A, |peer| peer.local.push(AuthRound { certs: vec![cert], ..round(ED25519.id) }));
    sim.configure_host(B, |peer| peer.remote.push(round(ED25519.id)));
    sim.establish();
    sim.input(A, ike::Input::TerminateIke { force: false });
    sim.settle();
    // A peer that leaves the second round out is refused.
    sim.configure_host(A, |peer| {
        peer.local.pop();
    });
    assert_refused(sim);
}
