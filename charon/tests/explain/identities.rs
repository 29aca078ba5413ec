//! Identities, ways to authenticate, and pre-shared keys.

use ike::explain::Topic;

use crate::case::{Remedy, Side};

cases! {
    the_peer_has_another_identity: {
        left: &[("connections.gw.local.id", "carol@example.org"), ("secrets.ike-gw.id-3", "carol@example.org")],
        right: &[("secrets.ike-gw.id-3", "carol@example.org")],
        topic: Topic::Identity,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.id: we have left.example.org, the peer has carol@example.org; set \
            connections.gw.remote.id = carol@example.org",
    }
    the_peer_asks_us_for_another_identity: {
        left: &[("connections.gw.remote.id", "vpn.example.org"), ("secrets.ike-gw.id-3", "vpn.example.org")],
        right: &[("secrets.ike-gw.id-3", "vpn.example.org")],
        topic: Topic::Identity,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.local.id: we have right.example.org, the peer has vpn.example.org; set \
            connections.gw.local.id = vpn.example.org",
    }
    the_initiator_may_not_be_known: {
        left: &[("connections.gw.local.id", "carol@example.org"), ("secrets.ike-gw.id-3", "carol@example.org")],
        right: &[("secrets.ike-gw.id-3", "carol@example.org")],
        by: Side::Left,
        topic: Topic::Identity,
        remedy: Remedy::Changes(&[], &[("connections.gw.remote.id", "carol@example.org")]),
        text: "IKE_AUTH with 192.0.2.2 failed, the peer refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.local.id: we have carol@example.org (the peer may not know us); check that the peer \
            has a connection for us with remote.id = carol@example.org",
    }
    the_responder_has_another_identity_than_a_pattern_allows: {
        left: &[("connections.gw.remote.id", "*@example.org")],
        by: Side::Left,
        topic: Topic::Identity,
        text: "IKE_AUTH with 192.0.2.2 failed, the peer's answer is not acceptable",
        line: "connections.gw.remote.id: we have *@example.org, the peer has right.example.org; set \
            connections.gw.remote.id = right.example.org",
    }
    the_peer_uses_a_secret_and_should_not: {
        right: &[("connections.gw.remote.auth", "pubkey")],
        topic: Topic::Authentication,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.auth: we have pubkey, the peer has psk; set connections.gw.remote.auth = psk",
    }
    the_responder_uses_a_secret_and_should_not: {
        left: &[("connections.gw.remote.auth", "pubkey")],
        by: Side::Left,
        topic: Topic::Authentication,
        text: "IKE_AUTH with 192.0.2.2 failed, the peer's answer is not acceptable",
        line: "connections.gw.remote.auth: we have pubkey, the peer has psk; set connections.gw.remote.auth = psk",
    }
    no_secret_for_the_peer: {
        right: &[("secrets.ike-gw", "-")],
        topic: Topic::Secret,
        remedy: Remedy::Changes(&[], &[
            ("secrets.ike-gw.id-1", "right.example.org"),
            ("secrets.ike-gw.id-2", "left.example.org"),
            ("secrets.ike-gw.secret", "a secret of left and right"),
        ]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "secrets.ike-gw: we have no secret for 'right.example.org' - 'left.example.org', the peer has a \
            pre-shared key; add secrets.ike-gw { id-1 = right.example.org  id-2 = left.example.org  secret = \
            … }",
    }
    a_secret_for_somebody_else: {
        right: &[("secrets.ike-gw.id-1", "dave@example.org"), ("secrets.ike-gw.id-2", "dave@example.org")],
        topic: Topic::Secret,
        remedy: Remedy::Changes(&[], &[("secrets.ike-gw.id-1", "right.example.org"), ("secrets.ike-gw.id-2", "left.example.org")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "secrets.ike-gw: we have no secret for 'right.example.org' - 'left.example.org', the peer has a \
            pre-shared key; add secrets.ike-gw { id-1 = right.example.org  id-2 = left.example.org  secret = \
            … }",
    }
    another_secret: {
        right: &[("secrets.ike-gw.secret", "a secret of nobody")],
        topic: Topic::Secret,
        remedy: Remedy::Changes(&[], &[("secrets.ike-gw.secret", "a secret of left and right")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "secrets.ike-gw.secret: we have a secret for 'right.example.org' - 'left.example.org', the peer has \
            another one; make secrets.ike-gw.secret the same as on the peer",
    }
    the_initiator_has_no_secret: {
        left: &[("secrets.ike-gw", "-")],
        by: Side::Left,
        topic: Topic::Secret,
        remedy: Remedy::Changes(&[
            ("secrets.ike-gw.id-1", "left.example.org"),
            ("secrets.ike-gw.id-2", "right.example.org"),
            ("secrets.ike-gw.secret", "a secret of left and right"),
        ], &[]),
        text: "IKE_AUTH with 192.0.2.2 failed, the reason is on our side",
        line: "secrets.ike-gw: we have no secret for 'left.example.org' - 'right.example.org'; add secrets.ike-gw { \
            id-1 = left.example.org  id-2 = right.example.org  secret = … }",
    }
    the_peer_skips_a_round: {
        right: &[
            ("connections.gw.remote", "-"),
            ("connections.gw.remote-1.auth", "psk"),
            ("connections.gw.remote-1.round", "1"),
            ("connections.gw.remote-1.id", "left.example.org"),
            ("connections.gw.remote-2.auth", "psk"),
            ("connections.gw.remote-2.round", "2"),
        ],
        topic: Topic::Authentication,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote-2: we have 2 rounds of authentication, the peer has 1; remove \
            connections.gw.remote-2",
    }
    the_responder_skips_a_round: {
        left: &[
            ("connections.gw.remote", "-"),
            ("connections.gw.remote-1.auth", "psk"),
            ("connections.gw.remote-1.round", "1"),
            ("connections.gw.remote-1.id", "right.example.org"),
            ("connections.gw.remote-2.auth", "psk"),
            ("connections.gw.remote-2.round", "2"),
        ],
        by: Side::Left,
        topic: Topic::Authentication,
        text: "IKE_AUTH with 192.0.2.2 failed, the peer's answer is not acceptable",
        line: "connections.gw.remote-2: we have 2 rounds of authentication, the peer has 1; remove \
            connections.gw.remote-2",
    }
}

/// The initiator authenticates itself by EAP-MD5 with a password.
macro_rules! eap {
    ($side:literal, $($changes:expr),* $(,)?) => {
        &[
            (concat!("connections.gw.", $side, ".auth"), "eap-md5"),
            ("secrets.eap-gw.id-1", "left.example.org"),
            ("secrets.eap-gw.secret", "a secret of left, right?"),
            $($changes),*
        ]
    };
}

cases! {
    the_peer_wants_eap: {
        left: eap!("local",),
        topic: Topic::Authentication,
        remedy: Remedy::Changes(&[], eap!("remote",)),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.remote.auth: we have psk, the peer has EAP; set connections.gw.remote.auth to the EAP \
            method of the peer, or auth = psk on the peer",
    }
    another_password: {
        left: eap!("local",),
        right: eap!("remote", ("secrets.eap-gw.secret", "a secret of nobody")),
        topic: Topic::Secret,
        remedy: Remedy::Changes(&[], eap!("remote",)),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "secrets.eap-gw.secret: we have a password of 'left.example.org', the peer has another one, or another \
            EAP method; make secrets.eap-gw.secret the same on both sides, and the EAP methods",
    }
    no_password_of_the_peer: {
        left: eap!("local",),
        right: &[("connections.gw.remote.auth", "eap-md5")],
        topic: Topic::Secret,
        remedy: Remedy::Changes(&[], eap!("remote",)),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "secrets.eap-gw: we have no password of 'left.example.org', the peer has EAP; add secrets.eap-gw { id \
            = left.example.org  secret = … }",
    }
    the_initiator_hears_that_its_password_was_refused: {
        left: eap!("local",),
        right: eap!("remote", ("secrets.eap-gw.secret", "a secret of nobody")),
        by: Side::Left,
        topic: Topic::Secret,
        remedy: Remedy::Changes(&[], eap!("remote",)),
        text: "IKE_AUTH with 192.0.2.2 failed, the peer refused it with AUTHENTICATION_FAILED",
        line: "secrets.eap-gw.secret: we have a password of 'left.example.org', the peer has another one, or another \
            EAP method; make secrets.eap-gw.secret the same on both sides, and the EAP methods",
    }
}
