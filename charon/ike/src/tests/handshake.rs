//! IKE_SA_INIT, IKE_AUTH with pre-shared keys, the first CHILD_SA, and the end of it all.

use std::sync::Arc;
use std::time::Duration;

use super::pair::{Pair, ike_config, peer_config, store};
use crate::config::PeerConfig;
use crate::wire::{ExchangeType, Header};
use crate::{Event, IkeSaState, Input};

#[test]
fn psk_handshake_with_a_child() {
    let pair = Pair::connected();
    assert_eq!((pair.alice.ups(), pair.bob.ups()), (1, 1));
    let (a, b) = (pair.alice.sas[0].snapshot(), pair.bob.sas[0].snapshot());
    assert_eq!((a.initiator_spi, a.responder_spi), (b.initiator_spi, b.responder_spi));
    assert_eq!(a.local_id, b.remote_id);
    assert_eq!(a.children[0].local_ts, b.children[0].remote_ts);
    assert_eq!(a.children[0].inbound.map(|id| id.spi), b.children[0].outbound.map(|id| id.spi));
    assert!(a.tasks_active.is_empty() && b.tasks_passive.is_empty());
}

#[test]
fn a_delete_leaves_nothing_behind() {
    for from_alice in [true, false] {
        let mut pair = Pair::connected();
        let (a, b) = (pair.alice.only(), pair.bob.only());
        if from_alice {
            pair.alice(a, Input::TerminateIke { force: false });
        } else {
            pair.bob(b, Input::TerminateIke { force: false });
        }
        pair.settle();
        pair.alice.assert_clean();
        pair.bob.assert_clean();
        let downs =
            |events: &[Event]| events.iter().filter(|e| matches!(e, Event::IkeUpDown { up: false, .. })).count();
        assert_eq!((downs(&pair.alice.events), downs(&pair.bob.events)), (1, 1));
    }
}

#[test]
fn a_child_is_deleted_alone() {
    let mut pair = Pair::connected();
    let id = pair.alice.only();
    let child = pair.alice.sas[0].snapshot().children[0].unique_id;
    pair.alice(id, Input::TerminateChild { child });
    pair.settle();
    for node in [&pair.alice, &pair.bob] {
        assert!(node.sas[0].snapshot().children.is_empty());
        assert!(node.kernel.sas.lock().unwrap().is_empty());
        assert_eq!(node.sas[0].state(), IkeSaState::Established);
    }
}

#[test]
fn the_wrong_secret_fails_on_both_sides() {
    let mut pair = Pair::new();
    pair.bob.credentials = store("other");
    pair.initiate();
    pair.settle();
    pair.alice.assert_clean();
    pair.bob.assert_clean();
    assert_eq!(pair.alice.ups() + pair.bob.ups(), 0);
}

#[test]
fn lost_messages_are_sent_again() {
    let mut pair = Pair::new();
    let mut count = 0;
    pair.filter = Box::new(move |_| {
        count += 1;
        count % 3 != 1
    });
    pair.initiate();
    pair.run(Duration::from_secs(60));
    pair.assert_connected();
}

#[test]
fn a_dead_peer_is_given_up() {
    let mut pair = Pair::new();
    pair.filter = Box::new(|_| false);
    pair.initiate();
    pair.run(Duration::from_secs(160));
    assert_eq!(pair.alice.sas.len(), 1);
    pair.run(Duration::from_secs(10));
    pair.alice.assert_clean();
}

#[test]
fn invalid_ke_is_retried_with_the_method_asked_for() {
    let ike = |proposal| Arc::new(ike_config(proposal));
    let alice = peer_config("alice", "bob", "10.1.0.0/16", "10.2.0.0/16");
    let bob = peer_config("bob", "alice", "10.2.0.0/16", "10.1.0.0/16");
    let mut pair = Pair::with(
        PeerConfig { ike: ike("aes128gcm16-prfsha256-x25519-ecp256"), ..alice },
        PeerConfig { ike: ike("aes128gcm16-prfsha256-ecp256"), ..bob },
    );
    pair.initiate();
    pair.settle();
    pair.assert_connected();
}

#[test]
fn nothing_in_common_fails() {
    let alice = peer_config("alice", "bob", "10.1.0.0/16", "10.2.0.0/16");
    let bob = peer_config("bob", "alice", "10.2.0.0/16", "10.1.0.0/16");
    let ike = Arc::new(ike_config("aes256-sha256-ecp256"));
    let mut pair = Pair::with(alice, PeerConfig { ike, ..bob });
    pair.initiate();
    pair.settle();
    pair.alice.assert_clean();
    pair.bob.assert_clean();
}

#[test]
fn unacceptable_selectors_leave_the_ike_sa_up() {
    let mut pair = Pair::with(
        peer_config("alice", "bob", "10.1.0.0/16", "10.3.0.0/16"),
        peer_config("bob", "alice", "10.2.0.0/16", "10.1.0.0/16"),
    );
    pair.initiate();
    pair.settle();
    for node in [&pair.alice, &pair.bob] {
        assert_eq!(node.sas[0].state(), IkeSaState::Established);
        assert!(node.sas[0].snapshot().children.is_empty());
        assert!(node.kernel.sas.lock().unwrap().is_empty());
        assert!(node.kernel.reserved.lock().unwrap().is_empty());
    }
}

#[test]
fn a_repeated_request_gets_the_same_answer() {
    let mut pair = Pair::new();
    // every request arrives twice
    pair.initiate();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    pair.filter = Box::new(move |transmit| {
        sink.lock().unwrap().push(transmit.clone());
        true
    });
    pair.settle();
    let all = seen.lock().unwrap().clone();
    let auth =
        |data: &[u8]| Header::parse(data).is_ok_and(|(h, _)| h.exchange == ExchangeType::IkeAuth && h.is_request());
    let request = all.iter().find(|transmit| auth(&transmit.data)).unwrap().clone();
    let response = all.last().unwrap().clone();
    let bob = pair.bob.only();
    let input = Input::Datagram { local: request.remote, remote: request.local, data: request.data };
    let now = pair.now;
    let answers = pair.bob.feed(bob, input, now);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].data, response.data);
}
