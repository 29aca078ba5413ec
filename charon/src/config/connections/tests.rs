//! The store of connections: loading, replacing, finding, and the price of it.

use std::net::IpAddr;
use std::time::Instant;

use ike::config::{Action, AuthRound, Mode};
use strongswan::credentials::AuthOptions;
use strongswan::host::HostSpec;
use vici::Message;

use super::super::load;
use super::super::names::NoNames;
use super::*;

fn connections() -> Connections {
    Connections::new(Arc::new(NoNames), 500)
}

/// A connection from `key=value` options: `remote` address, `id` of the peer, `child=mode` children.
fn connection(name: &str, remote: &str, id: &str, children: &[(&str, &str)]) -> PeerConfig {
    let mut message = Message::new().with("version", 2_u32);
    if !remote.is_empty() {
        message.push_list("remote_addrs", [remote]);
    }
    if !id.is_empty() {
        message.push_section("remote", Message::new().with("id", id));
    }
    let mut section = Message::new();
    for (name, mode) in children {
        section.push_section((*name).to_owned(), Message::new().with("mode", *mode));
    }
    message.push_section("children", section);
    load(name, &message, AuthOptions::default()).unwrap()
}

fn names(configs: &[Arc<PeerConfig>]) -> Vec<&str> {
    configs.iter().map(|config| &*config.name).collect()
}

fn child_names(children: &[Arc<ChildConfig>]) -> Vec<&str> {
    children.iter().map(|child| &*child.name).collect()
}

fn at(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 500)
}

fn peers(connections: &Connections, remote: &str, other: &str) -> Vec<String> {
    let other = Identity::parse(other);
    let found = connections.peer_configs(at("192.0.2.1"), at(remote), None, Some(&other), 2);
    names(&found).into_iter().map(str::to_owned).collect()
}

#[test]
fn connections_keep_their_place() {
    let connections = connections();
    for name in ["a", "b", "c"] {
        assert_eq!(connections.load(connection(name, "", "", &[])).kind, ChangeKind::Added);
    }
    assert_eq!(connections.load(connection("b", "192.0.2.9", "", &[])).kind, ChangeKind::Replaced);
    assert_eq!(names(&connections.all()), ["a", "b", "c"]);
    assert_eq!(connections.unload("a").unwrap().kind, ChangeKind::Removed);
    assert!(connections.unload("a").is_none());
    connections.load(connection("a", "", "", &[]));
    assert_eq!(names(&connections.all()), ["b", "c", "a"]);
}

#[test]
fn an_equal_connection_updates_its_children_only() {
    let connections = connections();
    connections.load(connection("gw", "192.0.2.2", "", &[("same", "tunnel"), ("old", "transport"), ("gone", "pass")]));
    let before = connections.get("gw").unwrap();
    // `new` has the content of `old`, but whoever asks for `old` shall not find it
    let mut config = connection("gw", "192.0.2.2", "", &[("same", "tunnel"), ("new", "transport"), ("more", "drop")]);
    config.dpd_timeout = std::time::Duration::from_secs(7);
    let change = connections.load(config);
    assert_eq!(change.kind, ChangeKind::Updated);
    assert_eq!((child_names(&change.removed), child_names(&change.added)), (vec!["old", "gone"], vec!["new", "more"]));
    let now = connections.get("gw").unwrap();
    assert_eq!(child_names(&now.children), ["same", "new", "more"]);
    assert_eq!(now.dpd_timeout, std::time::Duration::from_secs(7));
    assert_eq!(child_names(&connections.latest(&before).children), ["same", "new", "more"]);
}

#[test]
fn a_different_connection_replaces_all_children() {
    let connections = connections();
    connections.load(connection("gw", "192.0.2.2", "", &[("a", "tunnel")]));
    let before = connections.get("gw").unwrap();
    let change = connections.load(connection("gw", "192.0.2.3", "", &[("a", "tunnel"), ("b", "tunnel")]));
    assert_eq!(change.kind, ChangeKind::Replaced);
    assert_eq!((child_names(&change.removed), child_names(&change.added)), (vec!["a"], vec!["a", "b"]));
    assert!(Arc::ptr_eq(&connections.latest(&before), &before), "an IKE_SA keeps what differs from the new one");
}

#[test]
fn children_are_found_in_load_order() {
    let connections = connections();
    connections.load(connection("a", "", "", &[("net", "tunnel")]));
    connections.load(connection("b", "", "", &[("net", "transport"), ("other", "tunnel")]));
    let found = |connection, child| {
        connections.find_child(connection, child).map(|(c, child)| (c.name.to_string(), child.mode))
    };
    assert_eq!(found(None, "net"), Some(("a".into(), Mode::Tunnel)));
    assert_eq!(found(Some("b"), "net"), Some(("b".into(), Mode::Transport)));
    assert_eq!(found(None, "other"), Some(("b".into(), Mode::Tunnel)));
    assert_eq!(found(Some("a"), "other"), None);
    assert_eq!(found(Some("c"), "net"), None);
}

#[test]
fn the_best_ike_config_comes_first() {
    let connections = connections();
    connections.load(connection("any", "", "", &[]));
    connections.load(connection("net", "10.0.0.0/8", "", &[]));
    connections.load(connection("host", "10.0.0.1", "", &[]));
    let found = |remote: &str| -> Vec<Vec<HostSpec>> {
        let configs = connections.ike_configs(at("192.0.2.1"), at(remote), 2);
        configs.iter().map(|config| config.remote_addrs.clone()).collect()
    };
    let specs = |text: &str| if text.is_empty() { Vec::new() } else { vec![HostSpec::parse(text)] };
    assert_eq!(found("10.0.0.1"), [specs("10.0.0.1"), specs("10.0.0.0/8"), specs("")]);
    assert_eq!(found("10.0.0.2"), [specs("10.0.0.0/8"), specs("")]);
    assert_eq!(found("2001:db8::1"), [specs("")]);
    assert!(connections.ike_configs(at("192.0.2.1"), at("10.0.0.1"), 1).is_empty());
}

#[test]
fn peers_are_found_by_identity() {
    let connections = connections();
    connections.load(connection("wild", "", "*@example.org", &[]));
    connections.load(connection("alice", "", "alice@example.org", &[]));
    connections.load(connection("open", "", "", &[]));
    connections.load(connection("alice-at-home", "192.0.2.7", "Alice@example.org", &[]));
    connections.load(connection("regex", "", "rfc822:^a.*$", &[]));
    connections.load(connection("bob", "", "bob@example.org", &[]));
    assert_eq!(peers(&connections, "192.0.2.2", "alice@example.org"), ["alice", "wild", "regex", "open"]);
    assert_eq!(
        peers(&connections, "192.0.2.7", "ALICE@example.org"),
        ["alice-at-home", "alice", "wild", "regex", "open"]
    );
    assert_eq!(peers(&connections, "192.0.2.2", "carol"), ["open"]);
    let all = connections.peer_configs(at("192.0.2.1"), at("192.0.2.2"), None, None, 2);
    assert_eq!(names(&all), ["wild", "alice", "open", "regex", "bob"]);
}

#[test]
fn relaxed_names_are_not_missed() {
    let connections = connections();
    connections.load(connection("dn", "", "C=CH, O=x", &[]));
    assert_eq!(peers(&connections, "192.0.2.2", "C=CH, O=x"), ["dn"]);
    assert!(peers(&connections, "192.0.2.2", "O=x, C=CH").is_empty());
    // a process-wide setting; the other tests of this crate use no reordered names
    strongswan::identity::set_rdn_matching(strongswan::identity::RdnMatching::Reordered);
    let found = peers(&connections, "192.0.2.2", "O=x, C=CH");
    strongswan::identity::set_rdn_matching(strongswan::identity::RdnMatching::Strict);
    assert_eq!(found, ["dn"]);
}

#[test]
fn our_own_identity_counts() {
    let connections = connections();
    for id in ["a.example.org", "b.example.org"] {
        let local = AuthRound { id: Some(Identity::parse(id)), ..AuthRound::default() };
        connections.load(PeerConfig { local: vec![local], ..connection(id, "", "", &[]) });
    }
    let me = Identity::parse("b.example.org");
    let found = connections.peer_configs(at("192.0.2.1"), at("192.0.2.2"), Some(&me), None, 2);
    assert_eq!(names(&found), ["b.example.org"]);
}

#[test]
fn loading_and_unloading_leaves_nothing_behind() {
    let connections = connections();
    for round in 0..3 {
        for n in 0..50 {
            let remote = if n % 2 == 0 { format!("10.0.{round}.{n}") } else { String::new() };
            let id = if n % 3 == 0 { format!("user{n}-{round}") } else { String::new() };
            connections.load(connection(&format!("c{n}"), &remote, &id, &[("net", "tunnel")]));
        }
    }
    for n in 0..50 {
        connections.unload(&format!("c{n}")).unwrap();
    }
    assert_eq!(connections.table.read().index_entries(), 0);
    assert!(connections.all().is_empty());
}

#[test]
fn lookups_among_ten_thousand_connections_are_cheap() {
    let connections = connections();
    let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
    for n in 0..5_000 {
        connections.load(connection(&format!("site{n}"), &address(n).to_string(), "", &[]));
        connections.load(connection(&format!("user{n}"), "", &format!("user{n}@example.org"), &[]));
    }
    let start = Instant::now();
    for n in 0..2_000 {
        let remote = SocketAddr::new(address(n), 500);
        assert_eq!(connections.ike_configs(at("192.0.2.1"), remote, 2).len(), 2);
        let user = Identity::parse(&format!("user{n}@example.org"));
        let found = connections.peer_configs(at("192.0.2.1"), remote, None, Some(&user), 2);
        assert_eq!(names(&found), [format!("site{n}"), format!("user{n}")]);
    }
    // a scan would take minutes in a debug build
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn start_actions_are_part_of_the_content() {
    let connections = connections();
    connections.load(connection("gw", "", "", &[("net", "tunnel")]));
    let mut config = connection("gw", "", "", &[]);
    let mut child = ChildConfig::clone(&connection("gw", "", "", &[("net", "tunnel")]).children[0]);
    child.start_action = Action::START;
    config.children.push(Arc::new(child));
    let change = connections.load(config);
    assert_eq!((change.removed.len(), change.added.len()), (1, 1));
}

#[test]
fn identities_may_have_any_letters() {
    let connections = connections();
    connections.load(connection("gw", "", "C=CH, CN=Zürich", &[]));
    assert_eq!(peers(&connections, "192.0.2.9", "C=CH, CN=Zürich"), ["gw"]);
    assert!(peers(&connections, "192.0.2.9", "C=CH, CN=Zurich").is_empty());
}

#[test]
fn the_nearest_connections_are_found_even_if_none_fits() {
    let connections = connections();
    for number in 0..1000 {
        let id = format!("c{number}.example.org");
        connections.load(connection(&format!("c{number}"), "198.51.100.1", &id, &[]));
    }
    connections.load(connection("address", "198.51.100.1", "alice@example.org", &[]));
    connections.load(connection("identity", "192.0.2.9", "bob@example.org", &[]));
    connections.load(connection("both", "192.0.2.9", "alice@example.org", &[]));
    let alice = Identity::parse("alice@example.org");
    let wanted = Wanted { local: at("192.0.2.1"), remote: at("192.0.2.9"), me: None, other: Some(&alice), major: 2 };
    let near = connections.nearest(&wanted, 4);
    let found: Vec<_> = near.iter().map(|near| (&*near.config.name, near.remote, near.other)).collect();
    let expected = [("both", true, true), ("identity", true, false), ("address", false, true), ("c0", false, false)];
    assert_eq!(found, expected);
    assert!(near.iter().all(|near| near.version && near.local && near.me));
}

#[test]
fn strangers_do_not_use_up_the_explanations_of_peers() {
    let connections = connections();
    let now = MonoTime::from_duration(std::time::Duration::from_secs(1));
    let strangers = (0..100).filter(|_| connections.may_explain(Asker::Unknown, now).is_some()).count();
    assert!((1..100).contains(&strangers), "{strangers}");
    assert_eq!(connections.may_explain(Asker::Authenticated, now), Some(0));
}
