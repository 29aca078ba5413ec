//! Loading, replacing, listing and looking up.

use super::*;
use crate::crypto::Secret;

fn id(text: &str) -> Identity {
    Identity::parse_with_regex(text).unwrap()
}

fn secret(data: &str, owners: &[&str]) -> SharedSecret {
    SharedSecret::new(SecretKind::Ike, Secret::from(data.as_bytes()), owners.iter().map(|owner| id(owner)).collect())
}

fn named(name: &str, data: &str) -> SharedSecret {
    SharedSecret { id: Some(name.into()), ..secret(data, &["a"]) }
}

fn lookup(store: &Store, me: &str, other: &str) -> Vec<String> {
    let (me, other) = (id(me), id(other));
    store
        .shared_secrets(SecretKind::Ike, Some(&me), Some(&other))
        .map(|secret| String::from_utf8_lossy(secret.data.as_bytes()).into_owned())
        .collect()
}

#[test]
fn secrets_rank_by_other_then_me_then_age() {
    let store = Store::new();
    for (data, owners) in [
        ("anybody", &[][..]),
        ("mine", &["moon.a"]),
        ("pair", &["moon.a", "sun.a"]),
        ("theirs", &["sun.a"]),
        ("wild", &["*.a"]),
        ("pattern", &["fqdn:^s.*$"]),
        ("network", &["192.0.2.0/24"]),
        ("stranger", &["mars.b"]),
        ("theirs2", &["sun.a"]),
    ] {
        store.add_secret(secret(data, owners));
    }
    store.add_secret(SharedSecret::new(SecretKind::Eap, Secret::from(&b"eap"[..]), vec![id("sun.a")]));
    assert_eq!(lookup(&store, "moon.a", "sun.a"), ["pair", "theirs2", "theirs", "wild", "pattern", "anybody", "mine"]);
    assert_eq!(lookup(&store, "moon.a", "192.0.2.7"), ["network", "anybody", "pair", "mine", "wild"]);
    assert_eq!(lookup(&store, "x.c", "y.c"), ["anybody"]);
    let other = id("sun.a");
    assert_eq!(store.shared_secrets(SecretKind::Eap, None, Some(&other)).count(), 1);
    assert_eq!(store.shared_secrets(SecretKind::Ntlm, None, Some(&other)).count(), 0);
    assert_eq!(store.shared_secrets(SecretKind::Eap, Some(&other), None).count(), 1);
}

/// The definition, without an index.
fn naive(secrets: &[SharedSecret], me: &Identity, other: &Identity) -> Vec<Secret> {
    let mut rated: Vec<_> = secrets
        .iter()
        .enumerate()
        .map(|(age, secret)| ((secret.matches(other), secret.matches(me), age), secret))
        .filter(|((other, me, _), _)| other.is_match() || me.is_match())
        .collect();
    rated.sort_by_key(|(rating, _)| std::cmp::Reverse(*rating));
    rated.into_iter().map(|(_, secret)| secret.data.clone()).collect()
}

proptest::proptest! {
    #[test]
    fn the_index_agrees_with_the_definition(
        owners in proptest::collection::vec(proptest::collection::vec(0_usize..12, 0..4), 0..12),
        me in 0_usize..12,
        other in 0_usize..12,
    ) {
        const NAMES: [&str; 12] = [
            "moon.a", "MOON.a", "*.a", "10.0.0.1", "10.0.0.1/32", "10.0.0.0/8", "CN=x", "cn=X", "CN=*", "%any",
            "keyid:x", "a@b",
        ];
        let store = Store::new();
        let mut secrets = Vec::new();
        for (number, owners) in owners.iter().enumerate() {
            let names: Vec<_> = owners.iter().map(|owner| NAMES[*owner]).collect();
            secrets.push(secret(&number.to_string(), &names));
            store.add_secret(secrets[number].clone());
        }
        let (me, other) = (id(NAMES[me]), id(NAMES[other]));
        let found: Vec<_> =
            store.shared_secrets(SecretKind::Ike, Some(&me), Some(&other)).map(|secret| secret.data.clone()).collect();
        proptest::prop_assert_eq!(found, naive(&secrets, &me, &other));
    }
}

#[test]
fn secrets_are_replaced_and_removed() {
    let store = Store::new();
    store.add_secret(named("1", "one"));
    store.add_secret(named("2", "two"));
    store.add_secret(named("1", "three"));
    assert_eq!(store.secret_ids(), ["1", "2"]);
    assert_eq!(lookup(&store, "a", "b"), ["three", "two"]);
    assert!(store.remove_secret("2") && !store.remove_secret("2"));
    assert_eq!(lookup(&store, "a", "b"), ["three"]);
    // Without unique id, the same secret is one secret.
    store.add_secret(secret("x", &["c"]));
    store.add_secret(secret("y", &["c"]));
    store.add_secret(secret("x", &["c"]));
    assert_eq!(lookup(&store, "z", "c"), ["x", "y"]);
    assert_eq!(store.secret_ids(), ["1"]);
    store.clear();
    assert_eq!(lookup(&store, "a", "c"), [""; 0]);
}

#[test]
fn private_keys() {
    let key = |name: &str| {
        let path = format!("{}/tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"));
        PrivateKey::from_der_or_pem(&std::fs::read(path).unwrap()).unwrap()
    };
    let store = Store::new();
    let first = store.add_private_key(key("ecdsa-256.sec1.pem"));
    let second = store.add_private_key(key("ed25519.pkcs8.pem"));
    assert_eq!(store.private_key_ids(), [second, first]);
    assert_eq!(store.add_private_key(key("ecdsa-256.pkcs8.der")), first);
    assert_eq!(store.private_key_ids(), [first, second]);
    let public = key("ecdsa-256.sec1.pem").public_key().clone();
    assert_eq!(*store.private_key_of(&public).unwrap().public_key(), public);
    assert!(store.private_key_by_id(public.spki_sha1()).is_some());
    assert!(store.remove_private_key(&first) && !store.remove_private_key(&first));
    assert!(!store.remove_private_key(b"short"));
    assert!(store.private_key_of(&public).is_none() && store.private_key_by_id(public.spki_sha1()).is_none());
    store.clear();
    assert!(store.private_key_ids().is_empty());
}

#[test]
fn ten_thousand_secrets_with_one_owner_in_common() {
    let store = Store::new();
    for number in 0..10_000 {
        let peer = format!("peer{number}.a");
        store.add_secret(SharedSecret { id: Some(peer.clone()), ..secret(&peer, &["moon.a", &peer]) });
    }
    let (me, other) = (id("moon.a"), id("peer7777.a"));
    let started = std::time::Instant::now();
    for _ in 0..1000 {
        let best = store.shared_secrets(SecretKind::Ike, Some(&me), Some(&other)).next().unwrap();
        assert_eq!(best.data.as_bytes(), b"peer7777.a");
    }
    // A scan would take a second or more for each thousand.
    assert!(started.elapsed() < std::time::Duration::from_millis(500), "{:?}", started.elapsed());
    for number in 0..10_000 {
        assert!(store.remove_secret(&format!("peer{number}.a")));
    }
    assert_eq!(lookup(&store, "moon.a", "peer7777.a"), [""; 0]);
}

#[test]
fn pinned_certificates_stay_until_the_last_pin_is_taken() {
    let certificate = || {
        Arc::new(
            Certificate::from_der(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certs/ca.der")))
                .unwrap(),
        )
    };
    let store = Store::new();
    let pinned = store.pin_certificate(certificate());
    assert!(Arc::ptr_eq(&pinned, &store.pin_certificate(certificate())));
    store.clear();
    assert_eq!(store.trusted_cas(), std::slice::from_ref(&pinned));
    store.unpin_certificate(&pinned);
    assert_eq!(store.trusted_cas().len(), 1);
    store.unpin_certificate(&pinned);
    assert!(store.trusted_cas().is_empty());
    assert!(store.certificates_of(pinned.subject()).is_empty());

    // One that was added as well stays when it is unpinned, and one that is pinned stays when it is cleared.
    store.add_certificate(certificate(), CertificateFlags { ocsp: true, ..CertificateFlags::default() });
    let pinned = store.pin_certificate(certificate());
    store.unpin_certificate(&pinned);
    assert_eq!(store.trusted_cas().len(), 1);
    store.pin_certificate(certificate());
    store.clear();
    assert!(!store.certificates().first().unwrap().flags.ocsp, "what it was added for is forgotten");
    store.unpin_certificate(&pinned);
    assert!(store.trusted_cas().is_empty());
}
