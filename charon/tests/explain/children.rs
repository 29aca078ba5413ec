//! Traffic selectors, modes, and virtual IPs.

use ike::explain::Topic;

use crate::case::{Remedy, Side, World};
use crate::config::Config;

cases! {
    the_peer_wants_another_network_of_ours: {
        left: &[("connections.gw.children.net.remote_ts", "10.3.0.0/16")],
        topic: Topic::TrafficSelector,
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with TS_UNACCEPTABLE",
        line: "connections.gw.children.net.local_ts: we have 10.2.0.0/16, the peer has 10.3.0.0/16; add 10.3.0.0/16 \
            to connections.gw.children.net.local_ts",
    }
    the_peer_has_another_network: {
        left: &[("connections.gw.children.net.local_ts", "10.9.0.0/16")],
        topic: Topic::TrafficSelector,
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with TS_UNACCEPTABLE",
        line: "connections.gw.children.net.remote_ts: we have 10.1.0.0/16, the peer has 10.9.0.0/16; add 10.9.0.0/16 \
            to connections.gw.children.net.remote_ts",
    }
    the_peer_wants_another_protocol: {
        left: &[("connections.gw.children.net.remote_ts", "10.2.0.0/16[udp/53]")],
        right: &[("connections.gw.children.net.local_ts", "10.2.0.0/16[tcp]")],
        topic: Topic::TrafficSelector,
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with TS_UNACCEPTABLE",
        line: "connections.gw.children.net.local_ts: we have 10.2.0.0/16[tcp], the peer has 10.2.0.0/16[udp/domain]; \
            add 10.2.0.0/16[udp/domain] to connections.gw.children.net.local_ts",
    }
    the_peer_wants_the_other_family: {
        left: &[
            ("connections.gw.children.net.local_ts", "fd01::/64"),
            ("connections.gw.children.net.remote_ts", "fd02::/64"),
        ],
        topic: Topic::TrafficSelector,
        remedy: Remedy::Changes(&[], &[
            ("connections.gw.children.net.local_ts", "10.2.0.0/16, fd02::/64"),
            ("connections.gw.children.net.remote_ts", "10.1.0.0/16, fd01::/64"),
        ]),
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with TS_UNACCEPTABLE",
        line: "connections.gw.children.net.local_ts: we have 10.2.0.0/16, the peer has fd02::/64; add fd02::/64 to \
            connections.gw.children.net.local_ts",
    }
    there_is_no_child: {
        right: &[("connections.gw.children", "-")],
        topic: Topic::TrafficSelector,
        remedy: Remedy::Changes(&[], &[
            ("connections.gw.children.net.local_ts", "10.2.0.0/16"),
            ("connections.gw.children.net.remote_ts", "10.1.0.0/16"),
            ("connections.gw.children.net.esp_proposals", "aes128gcm16"),
        ]),
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with TS_UNACCEPTABLE",
        line: "connections.gw.children: we have none, the peer has 10.2.0.0/16 === 10.1.0.0/16; add a child with \
            local_ts = 10.2.0.0/16 and remote_ts = 10.1.0.0/16 to connections.gw.children",
    }
    the_initiator_hears_only_that_selectors_were_refused: {
        left: &[("connections.gw.children.net.remote_ts", "10.3.0.0/16")],
        by: Side::Left,
        topic: Topic::TrafficSelector,
        remedy: Remedy::Changes(&[("connections.gw.children.net.remote_ts", "10.2.0.0/16")], &[]),
        text: "CHILD_SA with 192.0.2.2 failed, the peer refused it with TS_UNACCEPTABLE",
        line: "connections.gw.children.net.local_ts: we have 10.1.0.0/16 (the peer may have no child for it); \
            compare with remote_ts of the peer's children",
    }
    no_pool_for_a_client: {
        left: &[("connections.gw.vips", "0.0.0.0"), ("connections.gw.children.net.local_ts", "dynamic")],
        right: &[("connections.gw.children.net.remote_ts", "10.99.0.0/24")],
        topic: Topic::VirtualIp,
        remedy: Remedy::Changes(&[], &[("pools.clients.addrs", "10.99.0.0/24"), ("connections.gw.pools", "clients")]),
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with INTERNAL_ADDRESS_FAILURE",
        line: "connections.gw.pools: we have none, the peer has a request for IPv4; name a pool with IPv4 addresses \
            in connections.gw.pools",
    }
    the_pool_is_of_the_other_family: {
        left: &[("connections.gw.vips", "0.0.0.0"), ("connections.gw.children.net.local_ts", "dynamic")],
        right: &[
            ("connections.gw.children.net.remote_ts", "10.99.0.0/24"),
            ("pools.six.addrs", "fd99::/120"),
            ("connections.gw.pools", "six"),
        ],
        topic: Topic::VirtualIp,
        remedy: Remedy::Changes(&[], &[("pools.clients.addrs", "10.99.0.0/24"), ("connections.gw.pools", "six, clients")]),
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with INTERNAL_ADDRESS_FAILURE",
        line: "connections.gw.pools: we have six, the peer has a request for IPv4; add a pool with free IPv4 \
            addresses to connections.gw.pools, or enlarge the one there",
    }
    the_client_is_told_that_there_is_no_address: {
        left: &[("connections.gw.vips", "0.0.0.0"), ("connections.gw.children.net.local_ts", "dynamic")],
        right: &[("connections.gw.children.net.remote_ts", "10.99.0.0/24")],
        by: Side::Left,
        topic: Topic::VirtualIp,
        remedy: Remedy::Changes(&[], &[("pools.clients.addrs", "10.99.0.0/24"), ("connections.gw.pools", "clients")]),
        text: "CHILD_SA with 192.0.2.2 failed, the peer refused it with INTERNAL_ADDRESS_FAILURE",
        line: "connections.gw.vips: we have 0.0.0.0, the peer has no address for us; check that the peer has a pool \
            of that family with free addresses",
    }
    the_gateway_insists_on_a_virtual_ip: {
        right: &[("pools.clients.addrs", "10.99.0.0/24"), ("connections.gw.pools", "clients")],
        topic: Topic::VirtualIp,
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with FAILED_CP_REQUIRED",
        line: "connections.gw.pools: we have clients, the peer has no request for a virtual IP; remove \
            connections.gw.pools",
    }
    the_client_should_ask_for_a_virtual_ip: {
        left: &[("connections.gw.children.net.local_ts", "dynamic")],
        right: &[
            ("pools.clients.addrs", "10.99.0.0/24"),
            ("connections.gw.pools", "clients"),
            ("connections.gw.children.net.remote_ts", "dynamic"),
        ],
        by: Side::Left,
        topic: Topic::VirtualIp,
        text: "CHILD_SA with 192.0.2.2 failed, the peer refused it with FAILED_CP_REQUIRED",
        line: "connections.gw.vips: we have none, the peer has virtual IPs to assign; set connections.gw.vips = \
            0.0.0.0",
    }
}

#[test]
fn the_child_that_differs_on_one_side_only_is_nearer() {
    let mut right = Config::gateway("right", "left");
    right.change(&[
        ("connections.gw.children.net.local_ts", "172.16.0.0/12"),
        ("connections.gw.children.net.remote_ts", "172.16.0.0/12"),
        ("connections.gw.children.other.local_ts", "10.2.0.0/16"),
        ("connections.gw.children.other.remote_ts", "10.7.0.0/16"),
    ]);
    let mut world = World::new(&Config::gateway("left", "right"), &right);
    world.attempt(Some("net"));
    assert_eq!(
        world.mismatches(Side::Right),
        [
            "connections.gw.children.other.remote_ts: we have 10.7.0.0/16, the peer has 10.1.0.0/16; add 10.1.0.0/16 to \
             connections.gw.children.other.remote_ts",
            "connections.gw.children.net.local_ts: we have 172.16.0.0/12, the peer has 10.2.0.0/16; add 10.2.0.0/16 to \
             connections.gw.children.net.local_ts",
        ]
    );
}

/// Transport mode is between the two hosts, whatever the selectors of the child are.
#[test]
fn selectors_that_transport_mode_has_not() {
    let (mut left, mut right) = (Config::gateway("left", "right"), Config::gateway("right", "left"));
    // the peer asks for transport mode between other addresses than those it calls from
    left.change(&[
        ("connections.gw.children.net.mode", "transport_proxy"),
        ("connections.gw.children.net.local_ts", "10.1.0.0/16"),
        ("connections.gw.children.net.remote_ts", "10.2.0.0/16"),
    ]);
    right.change(&[("connections.gw.children.net.mode", "transport")]);
    let mut world = World::new(&left, &right);
    world.attempt(Some("net"));
    let explanation = world.explanation(Side::Right);
    let first = &explanation.mismatches[0];
    assert_eq!(
        first.to_string(),
        "connections.gw.children.net.mode: we have transport, the peer has 10.2.0.0/16 === 10.1.0.0/16; set \
         connections.gw.children.net.mode = tunnel"
    );
    assert!(right.follow(first));
    left.change(&[("connections.gw.children.net.mode", "tunnel")]);
    let mut world = World::new(&left, &right);
    world.attempt(Some("net"));
    world.assert_success(true);
}

#[test]
fn a_child_that_is_there_already() {
    let mut world = World::new(&Config::gateway("left", "right"), &Config::gateway("right", "left"));
    world.attempt(Some("net"));
    world.assert_success(true);
    world.attempt(Some("net"));
    assert_eq!(
        world.mismatches(Side::Left),
        [
            "connections.gw.children.net: we have an equal CHILD_SA already; nothing has to be done, or terminate the CHILD_SA \
          that is there"
        ]
    );
}
