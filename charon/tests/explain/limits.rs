//! Explanations are bounded where anybody can cause them, and never say too much.

use std::time::Duration;

use crate::case::{Side, World};
use crate::config::Config;

#[test]
fn a_flood_of_requests_is_not_explained_one_by_one() {
    let mut right = Config::gateway("right", "left");
    right.change(&[("connections.gw.proposals", "aes256-sha512-ecp521")]);
    let mut world = World::new(&Config::gateway("left", "right"), &right);
    for _ in 0..200 {
        world.hosts[0].initiate(world.now, Some("net"));
        world.run(Duration::from_millis(1));
    }
    let explained = world.hosts[1].explanations.len();
    assert_eq!(explained, 20, "a burst and no more");
    // what we asked for ourselves is explained each time
    assert_eq!(world.hosts[0].explanations.len(), 200);
}

#[test]
fn only_the_nearest_connections_are_explained() {
    let mut right = Config::gateway("right", "left");
    right.change(&[("connections.gw.remote.id", "nobody.example.org")]);
    for number in 0..50 {
        let path = |key: &str| format!("connections.c{number:02}.{key}");
        right.change(&[
            (&path("remote_addrs"), "192.0.2.1"),
            (&path("remote.id"), &format!("c{number}.example.org")),
            (&path("local.id"), "right.example.org"),
        ]);
    }
    let mut world = World::new(&Config::gateway("left", "right"), &right);
    world.attempt(Some("net"));
    assert_eq!(world.explanation(Side::Right).mismatches.len(), ike::explain::MAX_MISMATCHES);
}

#[test]
fn an_endless_identity_is_cut() {
    let mut left = Config::gateway("left", "right");
    let long = format!("{}.example.org", "x".repeat(2000));
    left.change(&[("connections.gw.local.id", &long), ("secrets.ike-gw.id-3", &long)]);
    let mut world = World::new(&left, &Config::gateway("right", "left"));
    world.attempt(Some("net"));
    let mismatches = world.mismatches(Side::Right);
    assert!(mismatches[0].starts_with("connections.gw.remote.id: "), "{mismatches:?}");
    assert!(world.explanation(Side::Right).mismatches[0].theirs.as_ref().unwrap().len() < 300);
}
