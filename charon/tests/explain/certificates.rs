//! Signatures: certificates, their issuers, keys, and what connections demand of them.

use std::time::Duration;

use ike::explain::Topic;

use crate::case::{Case, Changes, Remedy, Side, World};
use crate::config::Config;

/// Left signs with an ECDSA key, right with an RSA key; both trust the root.
const LEFT: Changes = &[
    ("x509ca", "root, int"),
    ("private", "ecdsa"),
    ("connections.gw.local.auth", "pubkey"),
    ("connections.gw.local.id", "ecdsa.example.org"),
    ("connections.gw.local.certs", "ecdsa"),
    ("connections.gw.remote.auth", "pubkey"),
    ("connections.gw.remote.id", "rsa.example.org"),
];
const RIGHT: Changes = &[
    ("x509ca", "root, int"),
    ("private", "rsa"),
    ("connections.gw.local.auth", "pubkey"),
    ("connections.gw.local.id", "rsa.example.org"),
    ("connections.gw.local.certs", "rsa"),
    ("connections.gw.remote.auth", "pubkey"),
    ("connections.gw.remote.id", "ecdsa.example.org"),
];

fn check(left: Changes, right: Changes, case: Case) {
    let both = |base: Changes, more: Changes| -> Changes { Box::leak([base, more].concat().into_boxed_slice()) };
    Case { left: both(LEFT, left), right: both(RIGHT, right), ..case }.check();
}

macro_rules! certificate_cases {
    ($($name:ident: $left:expr, $right:expr, { $($field:ident: $value:expr),* $(,)? })*) => {
        $(#[test]
        fn $name() {
            check($left, $right, Case { $($field: $value,)* ..Case::BASE });
        })*
    };
}

certificate_cases! {
    no_ca: &[], &[("x509ca", "-")], {
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[], &[("x509ca", "root, int")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "x509ca: we have no CA to ask for a certificate of, the peer has sent no certificate; put the CA \
            certificate of 'ecdsa.example.org' into x509ca",
    }
    the_initiator_has_no_ca: &[("x509ca", "-")], &[], {
        by: Side::Left,
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[("x509ca", "root, int")], &[]),
        text: "IKE_AUTH with 192.0.2.2 failed, the peer's answer is not acceptable",
        line: "x509ca: we have no CA to ask for a certificate of, the peer has sent no certificate; put the CA \
            certificate of 'rsa.example.org' into x509ca",
    }
    the_initiator_has_no_ca_and_says_so: &[("x509ca", "-")], &[], {
        topic: Topic::Identity,
        remedy: Remedy::Changes(&[("x509ca", "root, int")], &[]),
        text: "IKE_AUTH with 192.0.2.1 failed, the peer closed it with AUTHENTICATION_FAILED",
        line: "connections.gw.local.id: we have rsa.example.org (the peer may not know us); check that the peer has \
            a connection for us with remote.id = rsa.example.org",
    }
    only_the_intermediate_ca: &[], &[("x509ca", "int")], {
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[], &[("x509ca", "root, int")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "x509ca: we have no issuer of it, the peer has 'ecdsa.example.org' with certificate \"C=CH, O=Test, \
            CN=Intermediate\"; put the CA certificate that issued \"C=CH, O=Test, CN=Intermediate\" into \
            x509ca",
    }
    a_certificate_somebody_made_up: &[("private", "rogue"), ("connections.gw.local.certs", "rogue")], &[], {
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[("private", "ecdsa"), ("connections.gw.local.certs", "ecdsa")], &[]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.certs: we have no trust in it, the peer has self-signed certificate \"C=CH, \
            O=Test, CN=ecdsa\"; give the peer a certificate of a CA in x509ca, or load this one into x509 if \
            it is the peer's",
    }
    a_certificate_for_another_name: &[("connections.gw.local.id", "mallory.example.org")],
        &[("connections.gw.remote.id", "mallory.example.org")], {
        topic: Topic::Identity,
        remedy: Remedy::Changes(
            &[("connections.gw.local.id", "ecdsa.example.org")],
            &[("connections.gw.remote.id", "ecdsa.example.org")],
        ),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.id: we have 'mallory.example.org' to confirm, the peer has a certificate for \
            'C=CH, O=Test, CN=ecdsa', 'ecdsa.example.org'; give the peer an identity that its certificate \
            confirms: 'C=CH, O=Test, CN=ecdsa', 'ecdsa.example.org'",
    }
    we_do_not_ask_for_the_certificate: &[], &[("connections.gw.send_certreq", "no")], {
        topic: Topic::Certificate,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.send_certreq: we have no, the peer has sent no certificate; set \
            connections.gw.send_certreq = yes",
    }
    the_peer_never_sends_its_certificate: &[("connections.gw.send_cert", "never")], &[], {
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[], &[("x509", "ecdsa"), ("connections.gw.remote.certs", "ecdsa")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.certs: we have no ECDSA key of 'ecdsa.example.org', the peer has sent no \
            certificate; load the certificate of 'ecdsa.example.org' and name it in \
            connections.gw.remote.certs, or set send_cert = always on the peer",
    }
    another_certificate_is_pinned: &[], &[("connections.gw.remote.certs", "ed25519")], {
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[], &[("connections.gw.remote.certs", "ed25519, ecdsa")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.certs: we have \"C=CH, O=Test, CN=ed25519\", the peer has \"C=CH, O=Test, \
            CN=ecdsa\"; add the one of the peer, \"C=CH, O=Test, CN=ecdsa\", to connections.gw.remote.certs",
    }
    another_ca_is_demanded: &[], &[("connections.gw.remote.cacerts", "rogue")], {
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[], &[("connections.gw.remote.cacerts", "rogue, root")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.cacerts: we have \"C=CH, O=Test, CN=ecdsa\", the peer has a certificate of \
            \"C=CH, O=Test, CN=Root\"; add the certificate of \"C=CH, O=Test, CN=Root\" to \
            connections.gw.remote.cacerts",
    }
    another_ca_identity_is_demanded: &[], &[("connections.gw.remote.ca_id", "C=CH, CN=Another CA")], {
        topic: Topic::Certificate,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.ca_id: we have \"C=CH, CN=Another CA\", the peer has a certificate of \"C=CH, \
            O=Test, CN=Root\"; set connections.gw.remote.ca_id = \"C=CH, O=Test, CN=Root\"",
    }
    the_key_is_too_weak: &[], &[("connections.gw.remote.auth", "ecdsa-384")], {
        topic: Topic::Authentication,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.auth: we have constraints that do not allow it, the peer has a key ECDSA-256; \
            set connections.gw.remote.auth = pubkey",
    }
    the_signature_scheme_is_not_allowed: &[], &[("connections.gw.remote.auth", "pubkey-ike:ecdsa-sha512")], {
        topic: Topic::Authentication,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.auth: we have constraints that do not allow it, the peer has a signature with \
            ECDSA_WITH_SHA256_DER; set connections.gw.remote.auth = pubkey",
    }
    a_certificate_policy_is_missing: &[], &[("connections.gw.remote.cert_policy", "1.2.3.4")], {
        topic: Topic::Certificate,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.cert_policy: we have 1.2.3.4, the peer has a certificate without that policy; \
            remove connections.gw.remote.cert_policy",
    }
    the_revocation_status_is_not_known: &[], &[("connections.gw.remote.revocation", "strict")], {
        topic: Topic::Certificate,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.revocation: we have revocation status GOOD at least, the peer has a certificate \
            of status SKIPPED; set connections.gw.remote.revocation = relaxed",
    }
    a_group_is_required: &[], &[("connections.gw.remote.groups", "sales")], {
        topic: Topic::Authentication,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.groups: we have sales, the peer has no membership; remove \
            connections.gw.remote.groups",
    }
    the_responder_has_no_private_key: &[], &[("private", "-")], {
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[], &[("private", "rsa")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "private: we have no private key for \"C=CH, O=Test, CN=rsa\"; put the private key of certificate \
            \"C=CH, O=Test, CN=rsa\" into private",
    }
    the_initiator_names_no_certificate: &[("connections.gw.local.certs", "-")], &[], {
        by: Side::Left,
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[("connections.gw.local.certs", "ecdsa")], &[]),
        text: "IKE_AUTH with 192.0.2.2 failed, the reason is on our side",
        line: "connections.gw.local.certs: we have no certificate with private key for 'ecdsa.example.org'; name the \
            certificate of 'ecdsa.example.org' in connections.gw.local.certs, and put its key into private",
    }
    the_initiator_is_told_that_its_proof_failed: &[], &[("x509ca", "-")], {
        by: Side::Left,
        topic: Topic::Identity,
        remedy: Remedy::Changes(&[], &[("x509ca", "root, int")]),
        text: "IKE_AUTH with 192.0.2.2 failed, the peer refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.local.id: we have ecdsa.example.org (the peer may not know us); check that the peer \
            has a connection for us with remote.id = ecdsa.example.org",
    }
    the_raw_key_has_changed: &[("connections.gw.local.certs", "-"), ("connections.gw.local.pubkeys", "ecdsa")],
        &[("connections.gw.remote.pubkeys", "rogue")], {
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[], &[("connections.gw.remote.pubkeys", "ecdsa")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.pubkeys: we have another ECDSA key of 'ecdsa.example.org', the peer has a \
            signature by a key that is not known here; load the key that 'ecdsa.example.org' uses now, and \
            name it in connections.gw.remote.pubkeys",
    }
}

#[test]
fn a_certificate_has_expired() {
    let (mut left, mut right) = (Config::gateway("left", "right"), Config::gateway("right", "left"));
    left.change(LEFT);
    right.change(RIGHT);
    let mut world = World::new(&left, &right);
    world.hosts[1].clock = Duration::from_secs(101 * 366 * 86_400);
    world.attempt(Some("net"));
    let mismatches = world.mismatches(Side::Right);
    assert!(
        mismatches[0].starts_with("connections.gw.remote.certs: we have another date, the peer has "),
        "{mismatches:?}"
    );
    assert!(mismatches[0].contains("certificate invalid (valid from "), "{mismatches:?}");
    assert!(mismatches[0].ends_with("; renew the certificate of the peer, or of its CA"), "{mismatches:?}");
}

certificate_cases! {
    the_issuer_of_the_certificate_is_not_loaded: &[("connections.gw.send_cert", "always")], &[("x509ca", "ed25519")], {
        topic: Topic::Certificate,
        remedy: Remedy::Changes(&[], &[("x509ca", "root, int")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "x509ca: we have no such CA, the peer has certificate \"C=CH, O=Test, CN=Intermediate\" issued by \
            \"C=CH, O=Test, CN=Root\"; put the CA certificate \"C=CH, O=Test, CN=Root\" into x509ca",
    }
}

/// The peer says only that authentication failed: everything that may be the reason is named.
#[test]
fn what_may_be_the_reason_is_named() {
    let (mut left, mut right) = (Config::gateway("left", "right"), Config::gateway("right", "left"));
    left.change(LEFT);
    right.change(RIGHT);
    right.change(&[("x509ca", "ed25519")]);
    let mut world = World::new(&left, &right);
    world.attempt(Some("net"));
    assert_eq!(
        world.mismatches(Side::Left),
        [
            "connections.gw.local.id: we have ecdsa.example.org (the peer may not know us); check that the peer has a \
             connection for us with remote.id = ecdsa.example.org",
            "connections.gw.remote.id: we have rsa.example.org (the peer may have another identity); check that local.id \
             of that connection on the peer is rsa.example.org, or set connections.gw.remote.id = %any",
            "connections.gw.local.certs: we have certificate \"C=CH, O=Test, CN=ecdsa\" (the peer may not trust it); check \
             that the peer trusts the CA of our certificate, and has auth = pubkey",
        ]
    );
}
