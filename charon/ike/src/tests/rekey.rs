//! Rekeying of CHILD_SAs and IKE_SAs, from one side, from the other, and from both at once.

use std::time::Duration;

use super::pair::{Node, Pair};
use crate::ids::UniqueId;
use crate::{ChildSaState, Event, IkeSaState, Input};

fn child(node: &Node) -> UniqueId {
    let snapshot = node.sas[0].snapshot();
    snapshot.children.iter().find(|child| child.state == ChildSaState::Installed).unwrap().unique_id
}

fn child_rekeys(node: &Node) -> usize {
    node.events.iter().filter(|event| matches!(event, Event::ChildRekey { .. })).count()
}

fn ike_rekeys(node: &Node) -> usize {
    node.events.iter().filter(|event| matches!(event, Event::IkeRekey { .. })).count()
}

fn child_downs(node: &Node) -> usize {
    node.events.iter().filter(|event| matches!(event, Event::ChildUpDown { up: false, .. })).count()
}

/// One IKE_SA with one CHILD_SA of two SAs a side, and nothing else.
fn assert_settled(pair: &mut Pair) {
    pair.run(Duration::from_secs(30));
    pair.assert_connected();
    for node in [&pair.alice, &pair.bob] {
        assert_eq!(node.sas.len(), 1, "{:?}", node.sas);
        assert_eq!(node.sas[0].snapshot().children.len(), 1, "{:?}", node.sas);
        assert_eq!(node.kernel.sas.lock().unwrap().len(), 2);
        assert_eq!(node.kernel.policies.lock().unwrap().len(), 2);
        assert_eq!(node.kernel.reserved.lock().unwrap().len(), 0);
        assert_eq!(child_downs(node), 0);
    }
}

#[test]
fn a_child_is_rekeyed_from_either_side() {
    for from_alice in [true, false] {
        let mut pair = Pair::connected();
        let old = child(&pair.alice);
        if from_alice {
            let id = pair.alice.only();
            pair.alice(id, Input::RekeyChild { child: old });
        } else {
            let (id, child) = (pair.bob.only(), child(&pair.bob));
            pair.bob(id, Input::RekeyChild { child });
        }
        assert_settled(&mut pair);
        assert_ne!(child(&pair.alice), old);
        assert_eq!((child_rekeys(&pair.alice), child_rekeys(&pair.bob)), (1, 1));
    }
}

#[test]
fn both_sides_rekey_a_child_at_once() {
    for seed in 1..40 {
        let mut pair = Pair::connected();
        pair.alice.rng.0 = pair.alice.rng.0.wrapping_mul(seed);
        pair.bob.rng.0 = pair.bob.rng.0.wrapping_mul(seed + 100);
        let (a, b) = (pair.alice.only(), pair.bob.only());
        let (alices, bobs) = (child(&pair.alice), child(&pair.bob));
        pair.alice(a, Input::RekeyChild { child: alices });
        pair.bob(b, Input::RekeyChild { child: bobs });
        assert_settled(&mut pair);
        assert_eq!((child_rekeys(&pair.alice), child_rekeys(&pair.bob)), (1, 1), "seed {seed}");
    }
}

#[test]
fn both_sides_rekey_a_child_under_loss() {
    for seed in 1..60 {
        let mut pair = Pair::connected();
        pair.alice.rng.0 = pair.alice.rng.0.wrapping_mul(seed);
        pair.bob.rng.0 = pair.bob.rng.0.wrapping_mul(seed + 100);
        let (a, b) = (pair.alice.only(), pair.bob.only());
        let (alices, bobs) = (child(&pair.alice), child(&pair.bob));
        pair.alice(a, Input::RekeyChild { child: alices });
        pair.bob(b, Input::RekeyChild { child: bobs });
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        pair.filter = Box::new(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % 100 >= 20
        });
        pair.run(Duration::from_secs(60));
        pair.filter = Box::new(|_| true);
        pair.run(Duration::from_secs(120));
        assert_settled(&mut pair);
    }
}

#[test]
fn the_ike_sa_is_rekeyed_from_either_side() {
    for from_alice in [true, false] {
        let mut pair = Pair::connected();
        let (a, b) = (pair.alice.only(), pair.bob.only());
        if from_alice {
            pair.alice(a, Input::RekeyIke)
        } else {
            pair.bob(b, Input::RekeyIke)
        }
        assert_settled(&mut pair);
        assert_ne!(pair.alice.only(), a);
        assert_eq!((ike_rekeys(&pair.alice), ike_rekeys(&pair.bob)), (1, 1));
        // the new keys work, in both directions
        let (a, old) = (pair.alice.only(), child(&pair.alice));
        pair.alice(a, Input::RekeyChild { child: old });
        assert_settled(&mut pair);
        let b = pair.bob.only();
        pair.bob(b, Input::TerminateIke { force: false });
        pair.settle();
        pair.alice.assert_clean();
        pair.bob.assert_clean();
    }
}

#[test]
fn both_sides_rekey_the_ike_sa_at_once() {
    for seed in 1..40 {
        let mut pair = Pair::connected();
        pair.alice.rng.0 = pair.alice.rng.0.wrapping_mul(seed);
        pair.bob.rng.0 = pair.bob.rng.0.wrapping_mul(seed + 100);
        let (a, b) = (pair.alice.only(), pair.bob.only());
        pair.alice(a, Input::RekeyIke);
        pair.bob(b, Input::RekeyIke);
        assert_settled(&mut pair);
        assert_eq!((ike_rekeys(&pair.alice), ike_rekeys(&pair.bob)), (1, 1), "seed {seed}");
        assert_eq!(pair.alice.sas[0].state(), IkeSaState::Established);
    }
}

#[test]
fn both_sides_rekey_the_ike_sa_under_loss() {
    for seed in 1..60 {
        let mut pair = Pair::connected();
        pair.alice.rng.0 = pair.alice.rng.0.wrapping_mul(seed);
        pair.bob.rng.0 = pair.bob.rng.0.wrapping_mul(seed + 100);
        let (a, b) = (pair.alice.only(), pair.bob.only());
        pair.alice(a, Input::RekeyIke);
        pair.bob(b, Input::RekeyIke);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        pair.filter = Box::new(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % 100 >= 20
        });
        pair.run(Duration::from_secs(120));
        pair.filter = Box::new(|_| true);
        pair.run(Duration::from_secs(170));
        assert_settled(&mut pair);
    }
}
