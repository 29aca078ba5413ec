//! Chains over the certificates of `tests/data`, and the choice of keys on both sides.

use super::*;
use crate::credentials::{CertificateFlags, PrivateKey};
use crate::identity::{IdType, Identity};

/// 2026-01-01.
const NOW: UnixTime = UnixTime(1_767_225_600);

/// The certificates made by openssl are valid from the day they were made.
const LATER: UnixTime = UnixTime(2_000_000_000);

fn read(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn cert(name: &str) -> Arc<Certificate> {
    Arc::new(Certificate::from_der_or_pem(&read(&format!("certs/{name}"))).unwrap())
}

fn store(names: &[&str]) -> Store {
    let store = Store::new();
    for name in names {
        store.add_certificate(cert(name), CertificateFlags::default());
    }
    store
}

fn verify(store: &Store, end_entity: &str, presented: &[&str], now: UnixTime) -> Result<Vec<String>, TrustError> {
    let presented: Vec<_> = presented.iter().map(|name| cert(name)).collect();
    let chain = store.verify_chain(&cert(end_entity), &presented, now)?;
    let names = chain.certificates().map(|certificate| certificate.subject().to_string());
    Ok(names.map(|name| name.replace("C=CH, O=Test, CN=", "")).collect())
}

#[test]
fn chains() {
    let root = store(&["ca.der"]);
    assert_eq!(verify(&root, "sun.der", &[], NOW).unwrap(), ["sun", "Root"]);
    assert_eq!(verify(&root, "moon.der", &["int.der"], NOW).unwrap(), ["moon", "Intermediate", "Root"]);
    // The end entity's own certificate and the root among what is presented do no harm.
    let all = ["moon.der", "ca.der", "rogue-ca.der", "int.der", "sun.der"];
    assert_eq!(verify(&root, "moon.der", &all, NOW).unwrap(), ["moon", "Intermediate", "Root"]);
    let both = store(&["int.der", "ca.der"]);
    assert_eq!(verify(&both, "moon.der", &[], NOW).unwrap(), ["moon", "Intermediate", "Root"]);
    let rsa = store(&["rsa-ca.der"]);
    assert_eq!(verify(&rsa, "rsa-pss.der", &[], NOW).unwrap(), ["CN=pss", "CN=RSA"]);
}

#[test]
fn signature_schemes_leave_the_root_out() {
    let chain = store(&["rsa-ca.der"]).verify_chain(&cert("rsa-pss.der"), &[], NOW).unwrap();
    assert_eq!(chain.signature_schemes().collect::<Vec<_>>(), [cert("rsa-pss.der").signature_scheme().unwrap()]);
}

#[test]
fn what_is_not_trusted() {
    let root = store(&["ca.der"]);
    let subject = |name: &str| cert(name).subject().clone();
    assert_eq!(verify(&root, "moon.der", &[], NOW), Err(TrustError::NoIssuer(subject("moon.der"))));
    assert_eq!(verify(&root, "sun-rogue.der", &[], NOW), Err(TrustError::NoIssuer(subject("sun-rogue.der"))));
    assert_eq!(
        verify(&root, "sun-rogue.der", &["rogue-ca.der"], NOW),
        Err(TrustError::UntrustedRoot(subject("rogue-ca.der")))
    );
    // An intermediate alone is no anchor, even if it is loaded.
    let int = store(&["int.der"]);
    assert_eq!(verify(&int, "moon.der", &[], NOW), Err(TrustError::NoIssuer(subject("int.der"))));
    // End entities issue nothing.
    assert_eq!(verify(&root, "by-sun.der", &["sun.der"], NOW), Err(TrustError::NoIssuer(subject("by-sun.der"))));
    assert_eq!(
        verify(&root, "below-deep.der", &["deep.der", "int.der"], NOW),
        Err(TrustError::PathLen { is: 1, allowed: 0 })
    );
    assert!(matches!(verify(&root, "sun-expired.der", &[], NOW), Err(TrustError::Expired { .. })));
    let before = UnixTime(1_500_000_000);
    assert!(matches!(verify(&root, "sun.der", &[], before), Err(TrustError::Expired { .. })));
    assert_eq!(verify(&root, "no-signing.der", &[], LATER), Err(TrustError::KeyUsage));
    assert_eq!(verify(&root, "critical.der", &[], LATER), Err(TrustError::CriticalExtension("1.2.3.4".into())));
    assert!(verify(&root, "all-names.der", &[], LATER).is_ok());
    root.set_options(TrustOptions { enforce_critical: false, ..TrustOptions::default() });
    assert!(verify(&root, "critical.der", &[], LATER).is_ok());
}

#[test]
fn constraints_of_names_and_policies_hold_although_nobody_calls_them_critical() {
    // Nobody asked to heed what is critical, either.
    let below = |name: &str| {
        let root = store(&[&format!("{name}-ca.der")]);
        root.set_options(TrustOptions { enforce_critical: false, ..TrustOptions::default() });
        verify(&root, &format!("below-{name}.der"), &[], LATER)
    };
    let refused = below("names").unwrap_err();
    assert!(matches!(refused, TrustError::Name(NameViolation::NameNotPermitted { .. })), "{refused}");
    let refused = TrustError::PolicyMissing(cert("below-policies.der").subject().clone());
    assert_eq!(below("policies"), Err(refused));
}

#[test]
fn dates_are_readable() {
    let (not_before, not_after) = (UnixTime(1_577_836_800), UnixTime(1_609_459_199));
    assert_eq!(
        TrustError::Expired { role: "subject", not_before, not_after }.to_string(),
        "subject certificate invalid (valid from Jan 01 00:00:00 UTC 2020 to Dec 31 23:59:59 UTC 2020)"
    );
}

#[test]
fn expired_roots_and_intermediates_count() {
    let late = UnixTime(4_900_000_000);
    assert!(matches!(verify(&store(&["ca.der"]), "sun.der", &[], late), Err(TrustError::Expired { .. })));
}

#[test]
fn hostile_candidates_cost_a_bounded_amount() {
    // Certificates that bear the right names and key identifiers but are damaged in the signature.
    let original = read("certs/int.der");
    let forged: Vec<_> = (0..200_u8)
        .map(|number| {
            let mut der = original.clone();
            *der.last_mut().unwrap() ^= number / 2 + 1;
            *der.get_mut(15).unwrap() ^= number;
            Arc::new(Certificate::from_der(&der).unwrap())
        })
        .collect();
    let root = store(&["ca.der"]);
    let error = root.verify_chain(&cert("moon.der"), &forged, NOW).unwrap_err();
    assert_eq!(error, TrustError::TooManySignatures);
}

#[test]
fn long_chains_end() {
    let root = store(&["ca.der"]);
    let verify = |name: &str| {
        let blocks = crate::credentials::pem::blocks(&read(name));
        let parse = |data: &[u8]| Arc::new(Certificate::from_der(data).unwrap());
        let list: Vec<_> = blocks.iter().map(|block| parse(block.data.as_bytes())).collect();
        root.verify_chain(&list[0], &list, NOW)
    };
    assert_eq!(verify("certs/below-7.pem").unwrap().intermediates.len(), MAX_PATH_LEN);
    assert_eq!(verify("certs/below-8.pem"), Err(TrustError::PathTooLong));
    // Forty times the same CA under the same name is a loop, which a path never enters twice.
    let presented: Vec<_> = std::iter::repeat_n(cert("rogue-ca.der"), 40).collect();
    let error = store(&["ca.der"]).verify_chain(&cert("sun-rogue.der"), &presented, NOW).unwrap_err();
    assert_eq!(error, TrustError::UntrustedRoot(cert("rogue-ca.der").subject().clone()));
}

#[test]
fn a_second_time_is_from_memory() {
    let root = store(&["ca.der"]);
    let der = read("certs/moon.der");
    let first = root.parse_certificate(&der).unwrap();
    assert!(!Arc::ptr_eq(&first, &root.parse_certificate(&der).unwrap()));
    let int = [root.parse_certificate(&read("certs/int.der")).unwrap()];
    root.verify_chain(&first, &int, NOW).unwrap();
    assert!(Arc::ptr_eq(&first, &root.parse_certificate(&der).unwrap()));
    assert_eq!(root.certificates().iter().filter(|stored| !stored.trusted).count(), 2);
    // What was verified is no reason to believe it later.
    let late = UnixTime(4_900_000_000);
    assert!(matches!(root.verify_chain(&first, &int, late), Err(TrustError::Expired { .. })));
    root.flush_cache();
    assert!(!Arc::ptr_eq(&first, &root.parse_certificate(&der).unwrap()));
    // Without the root the cache is worth nothing.
    root.verify_chain(&first, &int, NOW).unwrap();
    root.clear();
    assert!(root.verify_chain(&first, &int, NOW).is_err());
    let loaded = root.add_certificate(cert("moon.der"), CertificateFlags::default());
    assert!(Arc::ptr_eq(&loaded, &root.parse_certificate(&der).unwrap()));
}

fn trusted(store: &Store, id: &Identity, presented: &[&str], now: UnixTime) -> Vec<String> {
    let presented: Vec<_> = presented.iter().map(|name| cert(name)).collect();
    let keys = store.trusted_keys(id, None, &presented, now);
    keys.map(|key| {
        key.chain().map_or_else(
            || "raw".to_owned(),
            |chain| format!("{} {}", chain.end_entity.subject(), chain.cas().count()).replace("C=CH, O=Test, CN=", ""),
        )
    })
    .collect()
}

#[test]
fn keys_of_identities() {
    let id = Identity::parse;
    let root = store(&["ca.der"]);
    assert_eq!(trusted(&root, &id("moon.example.org"), &["moon.der", "int.der"], NOW), ["moon 2"]);
    assert_eq!(trusted(&root, &id("C=CH, O=Test, CN=moon"), &["moon.der", "int.der"], NOW), ["moon 2"]);
    assert_eq!(trusted(&root, &id("mars.example.org"), &["moon.der", "int.der"], NOW), [""; 0]);
    // Only the first certificate may hold the peer's key.
    assert_eq!(trusted(&root, &id("moon.example.org"), &["int.der", "moon.der"], NOW), [""; 0]);
    let rsa = root.trusted_keys(&id("moon.example.org"), Some(KeyType::Rsa), &[], NOW);
    assert_eq!(rsa.count(), 0);
}

#[test]
fn what_a_peer_claims_is_no_pattern() {
    let presented = ["moon.der", "int.der"];
    let claims = ["%any", "fqdn:*", "*.example.org", "*@example.org", "C=CH, O=Test, CN=*", "0.0.0.0/0"];
    for store in [store(&["ca.der"]), store(&["ca.der", "moon.der"])] {
        for claim in claims {
            assert_eq!(trusted(&store, &Identity::parse(claim), &presented, NOW), [""; 0], "{claim}");
        }
    }
}

#[test]
fn configured_end_entities_are_trusted_as_they_are() {
    let id = Identity::parse;
    // Without its issuer; expired, but self-signed; expired with its issuer; with a complete chain.
    assert_eq!(trusted(&store(&["moon.der"]), &id("moon.example.org"), &[], NOW), ["moon 0"]);
    assert_eq!(trusted(&store(&["ed25519.pem"]), &id("CN=ed25519"), &[], UnixTime(0)), ["CN=ed25519 0"]);
    assert_eq!(trusted(&store(&["sun-expired.der", "ca.der"]), &id("sun.example.org"), &[], NOW), [""; 0]);
    assert_eq!(trusted(&store(&["sun.der", "ca.der"]), &id("sun.example.org"), &[], NOW), ["sun 1"]);
    // Presented as well: once.
    assert_eq!(trusted(&store(&["sun.der", "ca.der"]), &id("sun.example.org"), &["sun.der"], NOW), ["sun 1"]);
    let strict = store(&["sun.der", "ca.der"]);
    strict.set_options(TrustOptions { reject_trusted_end_entity: true, ..TrustOptions::default() });
    assert_eq!(trusted(&strict, &id("sun.example.org"), &["sun.der"], NOW), [""; 0]);
}

#[test]
fn raw_keys_are_trusted_for_their_subject() {
    let key = PublicKey::from_der_or_pem(&read("keys/ed25519.pub.der")).unwrap();
    let store = Store::new();
    store.add_public_key(key.clone(), Identity::parse("sun"));
    store.add_public_key(key.clone(), Identity::parse("sun"));
    assert_eq!(store.public_keys().len(), 1);
    assert_eq!(trusted(&store, &Identity::parse("sun"), &[], NOW), ["raw"]);
    assert_eq!(trusted(&store, &Identity::parse("moon"), &[], NOW), [""; 0]);
    let by_key_id = Identity::from_encoding(IdType::KeyId, key.fingerprint_sha1());
    assert_eq!(trusted(&store, &by_key_id, &[], NOW), ["raw"]);
}

#[test]
fn signing_keys() {
    let p256 = || PrivateKey::from_der_or_pem(&read("keys/ecdsa-256.sec1.pem")).unwrap();
    let p384 = || PrivateKey::from_der_or_pem(&read("keys/ecdsa-384.sec1.pem")).unwrap();
    let store = store(&["rsa-ca.der", "ca.der"]);
    store.add_private_key(p256());
    let name = |key: Option<crate::credentials::SigningKey>| {
        key.map(|key| key.certificate.map_or_else(|| "raw".to_owned(), |cert| cert.subject().to_string()))
    };
    let (sha1, pss) = (cert("sha1.der"), cert("rsa-pss.der"));
    let any = Identity::parse("me");
    // Configured certificates without a key are passed over.
    assert_eq!(name(store.signing_key(&any, &[Arc::clone(&pss)], &[], &[])), None);
    let both = [pss, sha1];
    assert_eq!(name(store.signing_key(&any, &both, &[], &[])).as_deref(), Some("CN=sha1"));
    store.add_private_key(p384());
    assert_eq!(name(store.signing_key(&any, &both, &[], &[])).as_deref(), Some("CN=pss"));
    // A CA that was asked for decides; one that no certificate leads to does not.
    assert_eq!(name(store.signing_key(&any, &both, &[], &[cert("rsa-ca.der")])).as_deref(), Some("CN=pss"));
    assert_eq!(name(store.signing_key(&any, &both, &[], &[cert("ca.der")])).as_deref(), Some("CN=pss"));
    // By identity, from the store.
    assert_eq!(name(store.signing_key(&Identity::parse("CN=sha1"), &[], &[], &[])), None);
    store.add_certificate(cert("sha1.der"), CertificateFlags::default());
    assert_eq!(name(store.signing_key(&Identity::parse("CN=sha1"), &[], &[], &[])).as_deref(), Some("CN=sha1"));
    // Raw keys: configured, by subject, by key id.
    let public = p256().public_key().clone();
    assert_eq!(name(store.signing_key(&any, &[], std::slice::from_ref(&public), &[])).as_deref(), Some("raw"));
    let key_id = Identity::from_encoding(IdType::KeyId, public.fingerprint_sha1());
    assert_eq!(name(store.signing_key(&key_id, &[], &[], &[])).as_deref(), Some("raw"));
    store.add_public_key(public, any.clone());
    assert_eq!(name(store.signing_key(&any, &[], &[], &[])).as_deref(), Some("raw"));
}

#[test]
fn intermediates_are_sent_but_no_root() {
    let names = |list: &[Arc<Certificate>]| list.iter().map(|cert| cert.subject().to_string()).collect::<Vec<_>>();
    let store = store(&["ca.der", "int.der", "moon.der"]);
    // moon's key is not kept: any key serves to see what would be sent.
    let (intermediates, hit) = store.chain_to_send(&cert("moon.der"), &[cert("ca.der")]);
    assert_eq!((names(&intermediates), hit), (vec!["C=CH, O=Test, CN=Intermediate".to_owned()], true));
    let (intermediates, hit) = store.chain_to_send(&cert("moon.der"), &[cert("int.der")]);
    assert_eq!((names(&intermediates), hit), (vec![], true));
    let (intermediates, hit) = store.chain_to_send(&cert("moon.der"), &[cert("rsa-ca.der")]);
    assert_eq!((names(&intermediates).len(), hit), (1, false));
}

#[test]
fn cas_for_certificate_requests() {
    let store = store(&["ca.der", "moon.der", "int.der"]);
    assert_eq!(store.trusted_cas(), [cert("ca.der"), cert("int.der")]);
    let hash = *cert("int.der").public_key().spki_sha1();
    assert_eq!(store.ca_by_spki_sha1(&hash), Some(cert("int.der")));
    assert_eq!(store.ca_by_spki_sha1(cert("moon.der").public_key().spki_sha1()), None);
    assert_eq!(store.ca_by_spki_sha1(&[0; 20]), None);
}
