//! NATs, fragments, liveness, and further CHILD_SAs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::pair::{Pair, alice, bob, child_config, peer_config};
use crate::config::{Childless, Fragmentation, PeerConfig};
use crate::settings::FragmentSize;
use crate::{ChildSaState, IkeSaState, InitiateChild, Input};

fn configs() -> (PeerConfig, PeerConfig) {
    (
        peer_config("alice", "bob", "10.1.0.0/16", "10.2.0.0/16"),
        peer_config("bob", "alice", "10.2.0.0/16", "10.1.0.0/16"),
    )
}

/// What a NAT in front of alice makes of her address.
fn natted(address: SocketAddr) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 9], address.port().wrapping_add(10_000)))
}

#[test]
fn a_nat_is_found_and_esp_goes_through_udp() {
    let mut pair = Pair::new();
    pair.translate = Some(natted);
    pair.initiate();
    pair.settle();
    pair.assert_connected();
    let (a, b) = (pair.alice.sas[0].snapshot(), pair.bob.sas[0].snapshot());
    assert!(a.nat.local && !a.nat.remote);
    assert!(b.nat.remote && !b.nat.local);
    assert_eq!((a.local.port(), a.remote.port()), (4500, 4500));
    assert_eq!(b.remote, natted(SocketAddr::new(alice().ip(), 4500)));
    for node in [&pair.alice, &pair.bob] {
        assert!(node.kernel.sas.lock().unwrap().values().all(|sa| sa.encap));
    }
    // the side behind the NAT keeps the mapping open
    let before = pair.keepalives;
    pair.run(Duration::from_secs(65));
    assert_eq!(pair.keepalives - before, 3);
}

#[test]
fn without_a_nat_there_is_no_encapsulation() {
    let mut config = configs();
    config.0.mobike = false;
    let mut pair = Pair::with(config.0, config.1);
    pair.initiate();
    pair.settle();
    let a = pair.alice.sas[0].snapshot();
    assert!(!a.nat.any());
    assert_eq!((a.local, a.remote), (alice(), bob()));
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.keepalives, 0);
}

#[test]
fn encapsulation_can_be_forced_from_either_side() {
    for from_alice in [true, false] {
        let (mut a, mut b) = configs();
        let config = if from_alice { &mut a } else { &mut b };
        Arc::make_mut(&mut config.ike).encap = true;
        let mut pair = Pair::with(a, b);
        pair.initiate();
        pair.settle();
        pair.assert_connected();
        for node in [&pair.alice, &pair.bob] {
            assert!(node.sas[0].snapshot().nat.any());
            assert!(node.kernel.sas.lock().unwrap().values().all(|sa| sa.encap));
        }
    }
}

#[test]
fn large_messages_are_fragmented_unless_the_peer_cannot() {
    for (mode, fragments) in [(Fragmentation::Yes, true), (Fragmentation::No, false), (Fragmentation::Accept, true)] {
        let (a, mut b) = configs();
        Arc::make_mut(&mut b.ike).fragmentation = mode;
        let mut pair = Pair::with(a, b);
        // an IKE_AUTH request does not fit 128 bytes
        pair.alice.settings.fragment_size = FragmentSize { default: 160, v4: None, v6: None };
        let largest = Arc::new(std::sync::Mutex::new(0));
        let seen = Arc::clone(&largest);
        pair.filter = Box::new(move |transmit| {
            if transmit.local.ip() == alice().ip() && transmit.data[18] == 35 {
                let mut seen = seen.lock().unwrap();
                *seen = transmit.data.len().max(*seen);
            }
            true
        });
        pair.initiate();
        pair.settle();
        pair.assert_connected();
        assert_eq!(*largest.lock().unwrap() <= 160, fragments, "{mode:?}");
    }
}

#[test]
fn fragments_survive_loss_and_repetition() {
    let mut pair = Pair::new();
    for settings in [&mut pair.alice.settings, &mut pair.bob.settings] {
        settings.fragment_size = FragmentSize { default: 160, v4: None, v6: None };
    }
    let mut count = 0_u32;
    pair.filter = Box::new(move |_| {
        count += 1;
        count % 5 != 2
    });
    pair.initiate();
    pair.run(Duration::from_secs(100));
    pair.assert_connected();
}

#[test]
fn a_silent_peer_is_asked_and_given_up() {
    let (mut a, b) = configs();
    a.dpd_delay = Duration::from_secs(30);
    let mut pair = Pair::with(a, b);
    pair.initiate();
    pair.settle();
    pair.run(Duration::from_secs(300));
    pair.assert_connected();
    pair.filter = Box::new(|_| false);
    pair.run(Duration::from_secs(30 + 166));
    pair.alice.assert_clean();
    assert_eq!(pair.bob.sas.len(), 1);
}

#[test]
fn the_dpd_action_restarts_the_connection() {
    let (mut a, b) = configs();
    a.dpd_delay = Duration::from_secs(30);
    let child = Arc::make_mut(&mut a.children[0]);
    child.dpd_action = crate::config::Action::START;
    let mut pair = Pair::with(a, b);
    pair.initiate();
    pair.settle();
    let first = pair.alice.only();
    pair.filter = Box::new(|_| false);
    pair.run(Duration::from_secs(30 + 166));
    assert_ne!(pair.alice.only(), first);
    pair.filter = Box::new(|_| true);
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.alice.sas[0].snapshot().children.len(), 1);
    // bob has not noticed that the first one is gone
    assert_eq!(pair.bob.sas.len(), 2);
}

#[test]
fn the_close_action_restarts_a_child_or_the_whole_connection() {
    let (mut a, b) = configs();
    Arc::make_mut(&mut a.children[0]).close_action = crate::config::Action::START;
    let mut pair = Pair::with(a, b);
    pair.initiate();
    pair.settle();
    let id = pair.bob.only();
    let child = pair.bob.sas[0].snapshot().children[0].unique_id;
    pair.bob(id, Input::TerminateChild { child });
    pair.settle();
    pair.assert_connected();
    pair.bob(id, Input::TerminateIke { force: false });
    pair.settle();
    pair.assert_connected();
    assert_ne!(pair.bob.only(), id);
}

#[test]
fn a_further_child_gets_its_own_key_exchange() {
    let (mut a, mut b) = configs();
    a.children.push(Arc::new(child_config("10.3.0.0/16", "10.4.0.0/16")));
    b.children.push(Arc::new(child_config("10.4.0.0/16", "10.3.0.0/16")));
    let mut pair = Pair::with(a, b);
    pair.initiate();
    pair.settle();
    let id = pair.alice.only();
    let second = Arc::clone(&pair.alice.config.0[0].children[1]);
    for _ in 0..2 {
        // the second time it exists already
        pair.alice(id, Input::Initiate(Some(InitiateChild::new(Arc::clone(&second)))));
        pair.settle();
        let children = pair.alice.sas[0].snapshot().children;
        assert_eq!(children.len(), 2);
        assert!(children[0].algorithms.key_exchange.is_none() && children[1].algorithms.key_exchange.is_some());
    }
    pair.assert_keys_agree();
    assert_ne!(pair.bob.sas[0].snapshot().children[0].reqid, pair.bob.sas[0].snapshot().children[1].reqid);
}

#[test]
fn an_ike_sa_without_child() {
    let (mut a, mut b) = configs();
    Arc::make_mut(&mut a.ike).childless = Childless::Prefer;
    Arc::make_mut(&mut b.ike).childless = Childless::Force;
    let mut pair = Pair::with(a, b);
    pair.initiate();
    pair.settle();
    // the child comes in an exchange of its own
    pair.assert_connected();
    assert!(pair.alice.sas[0].snapshot().children[0].algorithms.key_exchange.is_some());
}

#[test]
fn childless_policies_are_enforced() {
    for (alices, bobs) in [(Childless::Allow, Childless::Force), (Childless::Force, Childless::Never)] {
        let (mut a, mut b) = configs();
        Arc::make_mut(&mut a.ike).childless = alices;
        Arc::make_mut(&mut b.ike).childless = bobs;
        let mut pair = Pair::with(a, b);
        pair.initiate();
        // a responder that was left alone gives up after a while
        pair.run(Duration::from_secs(31));
        pair.alice.assert_clean();
        pair.bob.assert_clean();
    }
}

#[test]
fn lifetimes_end_in_rekeying_and_in_closing() {
    let (mut a, mut b) = configs();
    for config in [&mut a, &mut b] {
        let times = (Some(Duration::from_secs(600)), None, Some(Duration::from_secs(60)), Some(Duration::ZERO));
        config.lifetimes = crate::config::IkeLifetimes::from_config(times.0, times.1, times.2, times.3);
    }
    let mut pair = Pair::with(a, b);
    pair.initiate();
    pair.settle();
    let first = pair.alice.only();
    pair.run(Duration::from_secs(640));
    assert_ne!(pair.alice.only(), first);
    pair.assert_connected();
    // without answers the hard lifetime closes it
    pair.filter = Box::new(|_| false);
    pair.run(Duration::from_secs(900));
    pair.alice.assert_clean();
    pair.bob.assert_clean();
}

#[test]
fn expiry_rekeys_softly_and_recreates_hard() {
    let mut pair = Pair::connected();
    let id = pair.alice.only();
    let inbound = pair.alice.sas[0].snapshot().children[0].inbound.unwrap();
    pair.alice(id, Input::ExpireChild { protocol: inbound.protocol, spi: inbound.spi, hard: false });
    pair.run(Duration::from_secs(10));
    let second = pair.alice.sas[0].snapshot().children[0].inbound.unwrap();
    assert_ne!(inbound.spi, second.spi);
    pair.alice(id, Input::ExpireChild { protocol: second.protocol, spi: second.spi, hard: true });
    pair.run(Duration::from_secs(10));
    let third = pair.alice.sas[0].snapshot().children[0].clone();
    assert_ne!(second.spi, third.inbound.unwrap().spi);
    assert_eq!(third.state, ChildSaState::Installed);
    pair.assert_connected();
}

#[test]
fn inactivity_closes_a_child() {
    let (mut a, b) = configs();
    Arc::make_mut(&mut a.children[0]).inactivity = Duration::from_secs(60);
    let mut pair = Pair::with(a, b);
    pair.initiate();
    pair.settle();
    pair.run(Duration::from_secs(70));
    assert!(pair.alice.sas[0].snapshot().children.is_empty());
    assert!(pair.bob.sas[0].snapshot().children.is_empty());
    assert_eq!(pair.alice.sas[0].state(), IkeSaState::Established);
}

#[test]
fn reauthentication_makes_before_it_breaks() {
    for make_before_break in [true, false] {
        let mut pair = Pair::connected();
        pair.alice.settings.make_before_break = make_before_break;
        let first = pair.alice.only();
        pair.alice(first, Input::ReauthIke);
        pair.run(Duration::from_secs(5));
        assert_ne!(pair.alice.only(), first, "{make_before_break}");
        pair.assert_connected();
        assert_eq!(pair.bob.sas.len(), 1);
    }
}

#[test]
fn keying_tries_start_anew() {
    let (mut a, b) = configs();
    a.keyingtries = 2;
    let mut pair = Pair::with(a, b);
    pair.filter = Box::new(|_| false);
    let id = pair.initiate();
    let spi = pair.alice.sas[0].id().initiator;
    pair.run(Duration::from_secs(170));
    assert_eq!(pair.alice.only(), id);
    assert_ne!(pair.alice.sas[0].id().initiator, spi);
    pair.filter = Box::new(|_| true);
    pair.run(Duration::from_secs(20));
    pair.assert_connected();
}

#[test]
fn shutdown_sends_deletes_and_waits_for_nothing() {
    let mut pair = Pair::connected();
    let id = pair.alice.only();
    pair.alice(id, Input::Shutdown);
    pair.alice.assert_clean();
    pair.settle();
    pair.bob.assert_clean();
}
