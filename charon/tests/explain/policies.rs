//! What one side insists on: CHILD_SAs in IKE_AUTH or none, one IKE_SA for each peer.

use ike::explain::Topic;

use crate::case::{Remedy, Side, World};
use crate::config::Config;

cases! {
    the_peer_wants_no_child: {
        child: None,
        right: &[("connections.gw.childless", "never")],
        by: Side::Right,
        topic: Topic::Policy,
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with INVALID_SYNTAX",
        line: "connections.gw.childless: we have never, the peer has no CHILD_SA in IKE_AUTH; set \
            connections.gw.childless = allow",
    }
    the_peer_brings_a_child: {
        right: &[("connections.gw.childless", "force")],
        topic: Topic::Policy,
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with INVALID_SYNTAX",
        line: "connections.gw.childless: we have force, the peer has a CHILD_SA in IKE_AUTH; set \
            connections.gw.childless = allow",
    }
    the_initiator_wants_no_child_and_the_responder_cannot: {
        left: &[("connections.gw.childless", "force")],
        right: &[("connections.gw.childless", "never")],
        by: Side::Left,
        topic: Topic::Policy,
        text: "IKE_SA_INIT with 192.0.2.2 failed, the peer's answer is not acceptable",
        line: "connections.gw.childless: we have force, the peer has no support for it; set connections.gw.childless \
            = prefer",
    }
    the_initiator_hears_invalid_syntax_for_its_child: {
        right: &[("connections.gw.childless", "force")],
        by: Side::Left,
        topic: Topic::Policy,
        text: "IKE_AUTH with 192.0.2.2 failed, the peer refused it with INVALID_SYNTAX",
        line: "connections.gw.childless: we have a CHILD_SA in IKE_AUTH (the peer may insist on the opposite); set \
            connections.gw.childless = prefer",
    }
}

#[test]
fn an_older_ike_sa_is_kept() {
    let (left, mut right) = (Config::gateway("left", "right"), Config::gateway("right", "left"));
    right.change(&[("connections.gw.unique", "keep"), ("connections.gw.remote_addrs", "192.0.2.0/24")]);
    let run = |right: &Config| {
        let mut world = World::new(&left, right);
        world.attempt(Some("net"));
        // the same peer from another address, without knowing of the first IKE_SA but not for the first time
        world.hosts[0].address = "192.0.2.3".parse().unwrap();
        let mut moved = left.clone();
        moved.change(&[("connections.gw.local_addrs", "192.0.2.3"), ("connections.gw.dpd_delay", "600")]);
        moved.load_connections(&world.hosts[0].connections);
        world.hosts[0].initiate_anew(world.now, "net");
        world.run(std::time::Duration::from_secs(2));
        world
    };
    let world = run(&right);
    assert_eq!(
        world.mismatches(Side::Right),
        [
            "connections.gw.unique: we have keep, the peer has an IKE_SA from 192.0.2.1 already; set connections.gw.unique = \
          replace"
        ]
    );
    assert!(right.follow(&world.explanation(Side::Right).mismatches[0]));
    assert!(run(&right).hosts[1].explanations.is_empty());
}

/// Both sides share a post-quantum secret, required by one.
macro_rules! ppk {
    ($($changes:expr),* $(,)?) => {
        &[
            ("secrets.ppk-gw.id-1", "tangled"),
            ("secrets.ppk-gw.secret", "a secret of left and right, of quanta"),
            ("connections.gw.ppk_id", "tangled"),
            $($changes),*
        ]
    };
}

cases! {
    the_peer_has_no_ppk: {
        right: ppk!(("connections.gw.ppk_required", "yes")),
        topic: Topic::Policy,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.ppk_required: we have yes, the peer has no PPK for us; set connections.gw.ppk_required \
            = no",
    }
    the_peer_names_another_ppk: {
        left: ppk!(
            ("connections.gw.ppk_required", "yes"), ("connections.gw.ppk_id", "wound"), ("secrets.ppk-gw.id-2", "wound")
        ),
        right: ppk!(("connections.gw.ppk_required", "yes"), ("secrets.ppk-gw.id-2", "wound")),
        topic: Topic::Identity,
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "connections.gw.ppk_id: we have tangled, the peer has wound; set connections.gw.ppk_id = wound",
    }
    the_ppk_that_the_peer_requires_is_not_loaded: {
        left: ppk!(("connections.gw.ppk_required", "yes")),
        right: ppk!(("connections.gw.ppk_id", "-"), ("secrets.ppk-gw.id-1", "wound")),
        topic: Topic::Secret,
        remedy: Remedy::Changes(&[], ppk!()),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "secrets.ppk-gw: we have no PPK for 'tangled', the peer has one that it requires; add secrets.ppk-gw { \
            id = tangled  secret = … }",
    }
    the_responder_does_without_ppks: {
        left: ppk!(("connections.gw.ppk_required", "yes")),
        by: Side::Left,
        topic: Topic::Policy,
        text: "IKE_AUTH with 192.0.2.2 failed, the reason is on our side",
        line: "connections.gw.ppk_required: we have yes, the peer has no PPK for us; set connections.gw.ppk_required \
            = no",
    }
    the_initiator_has_no_ppk: {
        left: &[("connections.gw.ppk_id", "tangled"), ("connections.gw.ppk_required", "yes")],
        right: ppk!(),
        by: Side::Left,
        topic: Topic::Secret,
        remedy: Remedy::Changes(ppk!(), &[]),
        text: "IKE_AUTH with 192.0.2.2 failed, the reason is on our side",
        line: "secrets.ppk-gw: we have no PPK for 'tangled'; add secrets.ppk-gw { id = tangled  secret = … }",
    }
    the_initiator_names_no_ppk: {
        left: &[("connections.gw.ppk_required", "yes")],
        right: ppk!(),
        by: Side::Left,
        topic: Topic::Identity,
        remedy: Remedy::Changes(ppk!(), &[]),
        text: "IKE_AUTH with 192.0.2.2 failed, the reason is on our side",
        line: "connections.gw.ppk_id: we have none (ppk_required = yes); set connections.gw.ppk_id to the identity \
            of the PPK",
    }
    another_ppk: {
        left: ppk!(("connections.gw.ppk_required", "yes")),
        right: ppk!(("secrets.ppk-gw.secret", "a secret of nobody")),
        topic: Topic::Secret,
        remedy: Remedy::Changes(&[], &[("secrets.ppk-gw.secret", "a secret of left and right, of quanta")]),
        text: "IKE_AUTH with 192.0.2.1 failed, we refused it with AUTHENTICATION_FAILED",
        line: "secrets.ike-gw.secret: we have a secret for 'right.example.org' - 'left.example.org', the peer has \
            another one (or another PPK for 'tangled'); make secrets.ike-gw.secret the same as on the peer",
    }
}
