//! Nobody is there, or nobody for these addresses.

use ike::explain::Topic;

use crate::case::{Remedy, Side, World};
use crate::config::Config;

cases! {
    the_peer_calls_from_an_unexpected_address: {
        right: &[("connections.gw.remote_addrs", "192.0.2.77")],
        topic: Topic::Address,
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.remote_addrs: we have 192.0.2.77, the peer has 192.0.2.1 (its address); add 192.0.2.1 \
            to connections.gw.remote_addrs",
    }
    the_peer_calls_an_unexpected_address_of_ours: {
        right: &[("connections.gw.local_addrs", "192.0.2.77")],
        topic: Topic::Address,
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.local_addrs: we have 192.0.2.77, the peer has 192.0.2.2 (the address it calls); add \
            192.0.2.2 to connections.gw.local_addrs",
    }
    a_range_does_not_hold_the_peer: {
        right: &[("connections.gw.remote_addrs", "10.0.0.0/8, 198.51.100.0/24")],
        topic: Topic::Address,
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.remote_addrs: we have 10.0.0.0/8, 198.51.100.0/24, the peer has 192.0.2.1 (its \
            address); add 192.0.2.1 to connections.gw.remote_addrs",
    }
    the_connection_is_for_ikev1: {
        right: &[("connections.gw.version", "1")],
        topic: Topic::Version,
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.version: we have 1, the peer has IKEv2; set connections.gw.version = 0",
    }
    no_connection_is_loaded: {
        right: &[("connections", "-")],
        topic: Topic::Address,
        remedy: Remedy::Changes(&[], &[
            ("connections.new.local.auth", "psk"),
            ("connections.new.local.id", "right.example.org"),
            ("connections.new.remote.auth", "psk"),
            ("connections.new.remote.id", "left.example.org"),
            ("connections.new.proposals", "aes128-sha256-x25519"),
            ("connections.new.children.net.local_ts", "10.2.0.0/16"),
            ("connections.new.children.net.remote_ts", "10.1.0.0/16"),
            ("connections.new.children.net.esp_proposals", "aes128gcm16"),
        ]),
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections: we have no connection, the peer has 192.0.2.1; load a connection for this peer",
    }
    the_initiator_has_nobody_to_call: {
        left: &[("connections.gw.remote_addrs", "%any")],
        by: Side::Left,
        topic: Topic::Address,
        remedy: Remedy::Changes(&[("connections.gw.remote_addrs", "192.0.2.2")], &[]),
        text: "IKE_SA_INIT failed, the reason is on our side",
        line: "connections.gw.remote_addrs: we have %any (no address to call); put an address of the peer, or a name \
            that resolves, into connections.gw.remote_addrs",
    }
    the_name_of_the_peer_does_not_resolve: {
        left: &[("connections.gw.remote_addrs", "nowhere.example.org")],
        by: Side::Left,
        topic: Topic::Address,
        remedy: Remedy::Changes(&[("connections.gw.remote_addrs", "192.0.2.2")], &[]),
        text: "IKE_SA_INIT failed, the reason is on our side",
        line: "connections.gw.remote_addrs: we have nowhere.example.org (no address to call); put an address of the \
            peer, or a name that resolves, into connections.gw.remote_addrs",
    }
    the_initiator_calls_the_wrong_address: {
        left: &[("connections.gw.remote_addrs", "192.0.2.99")],
        by: Side::Left,
        topic: Topic::Address,
        remedy: Remedy::Changes(&[("connections.gw.remote_addrs", "192.0.2.2")], &[]),
        text: "IKE_SA_INIT with 192.0.2.99 failed, the peer did not answer",
        line: "connections.gw.remote_addrs: we have 192.0.2.99 (no answer from 192.0.2.99:500); check that \
            192.0.2.99:500 is the peer, that it runs, and that UDP ports 500 and 4500 are open both ways",
    }
    the_initiator_is_not_expected: {
        right: &[("connections.gw.remote_addrs", "192.0.2.77")],
        by: Side::Left,
        topic: Topic::Proposal,
        remedy: Remedy::Changes(&[], &[("connections.gw.remote_addrs", "192.0.2.1")]),
        text: "IKE_SA_INIT with 192.0.2.2 failed, the peer refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.proposals: we have aes128-sha256-x25519 (the peer has none of these, or no connection \
            for 192.0.2.1); add default to connections.gw.proposals",
    }
}

#[test]
fn ike_auth_gets_lost() {
    for (fragmentation, advice) in [
        ("no", "set connections.gw.fragmentation = yes"),
        ("yes", "check that UDP port 4500 is open both ways, and the log of the peer"),
    ] {
        let mut left = Config::gateway("left", "right");
        left.change(&[("connections.gw.fragmentation", fragmentation)]);
        let mut world = World::new(&left, &Config::gateway("right", "left"));
        // the exchange type
        world.loses = |datagram| datagram.data[18] == 35;
        world.attempt(Some("net"));
        let explanation = world.explanation(Side::Left);
        assert_eq!(explanation.to_string(), "IKE_AUTH with 192.0.2.2 failed, the peer did not answer");
        assert_eq!(
            world.mismatches(Side::Left),
            [format!(
                "connections.gw.fragmentation: we have {fragmentation} (IKE_SA_INIT was answered, IKE_AUTH was not); \
                 {advice}"
            )]
        );
    }
}

#[test]
fn every_connection_has_its_own_first_mismatch_the_nearest_first() {
    let mut right = Config::gateway("right", "left");
    right.change(&[
        ("connections.gw.remote_addrs", "192.0.2.77"),
        ("connections.old.version", "1"),
        ("connections.elsewhere.local_addrs", "192.0.2.78"),
        ("connections.elsewhere.remote_addrs", "192.0.2.79"),
    ]);
    let mut world = World::new(&Config::gateway("left", "right"), &right);
    world.attempt(Some("net"));
    let fields: Vec<_> = world.explanation(Side::Right).mismatches.iter().map(|m| m.field.to_string()).collect();
    assert_eq!(fields, ["connections.gw.remote_addrs", "connections.elsewhere.local_addrs", "connections.old.version"]);
}
