//! IKE_AUTH with signatures: each kind of key, chains, raw keys, and what must not be believed.

use std::sync::Arc;

use strongswan::clock::UnixTime;
use strongswan::credentials::{
    Auth, AuthClass, AuthOptions, Certificate, CertificateFlags, PrivateKey, PublicKey, Store,
};
use strongswan::identity::Identity;

use super::pair::{Node, Pair, peer_config};
use crate::IkeSaState;
use crate::config::{AuthRound, PeerConfig, SendCert};

/// 2027-01-15
const NOW: UnixTime = UnixTime(1_800_000_000);

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name, ".pem")).as_slice()
    };
}

/// A certificate and its key.
struct Holder {
    cert: &'static [u8],
    key: &'static [u8],
    id: &'static str,
}

const ECDSA: Holder = Holder { cert: data!("ecdsa"), key: data!("ecdsa.key"), id: "ecdsa.example.org" };
const RSA: Holder = Holder { cert: data!("rsa"), key: data!("rsa.key"), id: "rsa.example.org" };
const ED25519: Holder = Holder { cert: data!("ed25519"), key: data!("ed25519.key"), id: "ed25519.example.org" };
/// The name of `ECDSA` on a certificate nobody has issued.
const ROGUE: Holder = Holder { cert: data!("rogue"), key: data!("rogue.key"), id: "ecdsa.example.org" };

fn certificate(pem: &[u8]) -> Arc<Certificate> {
    Arc::new(Certificate::from_der_or_pem(pem).unwrap())
}

fn load(store: &Store, pem: &[u8]) -> Arc<Certificate> {
    let certificate = certificate(pem);
    store.add_certificate(Arc::clone(&certificate), CertificateFlags::of(&certificate))
}

/// The end that authenticates with `own` and expects `other`.
fn prepare(node: &mut Node, own: &Holder, other: &Holder, authority: bool) {
    node.credentials = Store::new();
    node.wall = NOW;
    if authority {
        load(&node.credentials, data!("root"));
    }
    load(&node.credentials, data!("int"));
    let cert = load(&node.credentials, own.cert);
    node.credentials.add_private_key(PrivateKey::from_der_or_pem(own.key).unwrap());
    let config = Arc::make_mut(&mut node.config.0[0]);
    config.local = vec![AuthRound {
        class: AuthClass::Pubkey,
        id: Some(Identity::parse(own.id)),
        certs: vec![cert],
        ..AuthRound::default()
    }];
    config.remote =
        vec![AuthRound { class: AuthClass::Pubkey, id: Some(Identity::parse(other.id)), ..AuthRound::default() }];
}

fn pair(alice: &Holder, bob: &Holder) -> Pair {
    let mut pair = Pair::with(
        peer_config("alice", "bob", "10.1.0.0/16", "10.2.0.0/16"),
        peer_config("bob", "alice", "10.2.0.0/16", "10.1.0.0/16"),
    );
    prepare(&mut pair.alice, alice, bob, true);
    prepare(&mut pair.bob, bob, alice, true);
    pair
}

fn change(node: &mut Node, change: impl FnOnce(&mut PeerConfig)) {
    change(Arc::make_mut(&mut node.config.0[0]));
}

fn assert_refused(mut pair: Pair) {
    pair.initiate();
    pair.settle();
    pair.alice.assert_clean();
    pair.bob.assert_clean();
    assert_eq!(pair.alice.ups() + pair.bob.ups(), 0);
}

#[test]
fn every_kind_of_key_on_either_side() {
    for (alice, bob) in [(&ECDSA, &RSA), (&RSA, &ED25519), (&ED25519, &ECDSA)] {
        let mut pair = pair(alice, bob);
        pair.initiate();
        pair.settle();
        pair.assert_connected();
        assert_eq!(pair.bob.sas[0].snapshot().remote_id.unwrap().to_string(), alice.id);
    }
}

#[test]
fn without_rfc_7427_the_classic_methods_do() {
    let mut pair = pair(&ECDSA, &RSA);
    pair.alice.settings.signature_authentication = false;
    pair.initiate();
    pair.settle();
    pair.assert_connected();
}

#[test]
fn a_certificate_without_a_loaded_root_is_not_believed() {
    let mut pair = pair(&ECDSA, &RSA);
    prepare(&mut pair.bob, &RSA, &ECDSA, false);
    assert_refused(pair);
}

#[test]
fn somebody_with_the_same_name_is_not_believed() {
    assert_refused(pair(&ROGUE, &RSA));
    // as responder it believes alice, but not the other way round
    let mut pair = pair(&RSA, &ROGUE);
    pair.initiate();
    pair.settle();
    assert_eq!(pair.alice.ups(), 0);
    pair.alice.assert_clean();
    pair.bob.assert_clean();
}

#[test]
fn certificates_are_sent_when_asked_for() {
    let mut no_request = pair(&ECDSA, &RSA);
    change(&mut no_request.bob, |config| {
        Arc::make_mut(&mut config.ike).send_certreq = false;
    });
    // bob neither asks for alice's certificate nor has it
    assert_refused(no_request);

    let mut always = pair(&ECDSA, &RSA);
    change(&mut always.bob, |config| {
        Arc::make_mut(&mut config.ike).send_certreq = false;
    });
    change(&mut always.alice, |config| config.send_cert = SendCert::Always);
    always.initiate();
    always.settle();
    always.assert_connected();

    let mut loaded = pair(&ECDSA, &RSA);
    change(&mut loaded.alice, |config| config.send_cert = SendCert::Never);
    load(&loaded.bob.credentials, ECDSA.cert);
    loaded.initiate();
    loaded.settle();
    loaded.assert_connected();
}

#[test]
fn raw_public_keys_need_no_certificate() {
    let mut pair = pair(&ED25519, &ECDSA);
    for (node, own, other) in [(&mut pair.alice, &ED25519, &ECDSA), (&mut pair.bob, &ECDSA, &ED25519)] {
        node.credentials = Store::new();
        node.credentials.add_private_key(PrivateKey::from_der_or_pem(own.key).unwrap());
        let key: PublicKey = certificate(other.cert).public_key().clone();
        node.credentials.add_public_key(key, Identity::parse(other.id));
        let own_key = certificate(own.cert).public_key().clone();
        change(node, |config| {
            config.local[0].certs.clear();
            config.local[0].pubkeys = vec![own_key];
        });
    }
    pair.initiate();
    pair.settle();
    pair.assert_connected();
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
        let mut pair = pair(&ECDSA, &RSA);
        change(&mut pair.bob, |config| config.remote[0].constraints = constraints(text));
        pair.initiate();
        pair.settle();
        let up = pair.bob.sas.iter().any(|sa| sa.state() == IkeSaState::Established);
        assert_eq!(up, accepted, "{text}");
    }
}

#[test]
fn a_peer_that_does_not_fit_one_connection_may_fit_another() {
    let mut pair = pair(&ECDSA, &RSA);
    let mut strict = (*pair.bob.config.0[0]).clone();
    strict.name = "strict".into();
    strict.remote[0].class = AuthClass::Psk;
    pair.bob.config.0.insert(0, Arc::new(strict));
    pair.initiate();
    pair.settle();
    pair.assert_connected();
    assert_eq!(pair.bob.sas[0].name(), "gw");
}

#[test]
fn two_rounds_each_with_another_key() {
    let mut pair = pair(&ECDSA, &RSA);
    for (node, key, local, remote) in
        [(&mut pair.alice, ED25519.key, true, false), (&mut pair.bob, ED25519.key, false, true)]
    {
        let cert = load(&node.credentials, ED25519.cert);
        if local {
            node.credentials.add_private_key(PrivateKey::from_der_or_pem(key).unwrap());
        }
        let round = AuthRound {
            class: AuthClass::Pubkey,
            id: Some(Identity::parse(ED25519.id)),
            certs: if local { vec![cert] } else { Vec::new() },
            ..AuthRound::default()
        };
        change(node, |config| {
            if local {
                config.local.push(round.clone());
            }
            if remote {
                config.remote.push(round);
            }
        });
    }
    pair.initiate();
    pair.settle();
    pair.assert_connected();
    // a peer that leaves the second round out is refused
    change(&mut pair.alice, |config| {
        config.local.pop();
    });
    let before = pair.bob.ups();
    pair.initiate();
    pair.settle();
    assert_eq!(pair.bob.ups(), before);
}
