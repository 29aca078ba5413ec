//! Leases: who gets which address, and who gets it back.

use std::net::SocketAddr;

use ike::attributes::Pools as _;
use strongswan::identity::Identity;

use super::*;

struct Peer {
    identity: Identity,
    remote: SocketAddr,
}

fn peer(name: &str, host: u8) -> Peer {
    Peer { identity: Identity::parse(name), remote: SocketAddr::from(([192, 0, 2, host], 4500)) }
}

impl Peer {
    fn client(&self) -> Client<'_> {
        Client {
            ike_sa: ike::ids::UniqueId::new(1).unwrap(),
            identity: &self.identity,
            remote: self.remote,
            taken: &[],
            version: IkeVersion::V2,
        }
    }
}

fn pools(specs: &[(&str, &str)]) -> Pools {
    let pools = Pools::default();
    for (name, addrs) in specs {
        pools.load(name, Bounds::parse(addrs).unwrap(), Vec::new()).unwrap();
    }
    pools
}

fn acquire(pools: &Pools, names: &[&str], peer: &Peer, requested: &str) -> Option<Box<dyn Lease>> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    pools.acquire(&names, &peer.client(), requested.parse().unwrap())
}

fn address(lease: &dyn Lease) -> String {
    lease.address().to_string()
}

fn counts(pools: &Pools) -> Vec<(usize, usize)> {
    pools.all().iter().map(|pool| (pool.online(), pool.offline())).collect()
}

#[test]
fn a_client_gets_its_address_back() {
    let pools = pools(&[("v4", "10.3.0.0/28")]);
    let (alice, carol) = (peer("alice", 1), peer("carol", 2));
    let first = acquire(&pools, &["v4"], &alice, "0.0.0.0").unwrap();
    let other = acquire(&pools, &["v4"], &carol, "0.0.0.0").unwrap();
    assert_eq!((address(&*first), address(&*other)), ("10.3.0.1".into(), "10.3.0.2".into()));
    drop(first);
    assert_eq!(counts(&pools), [(1, 1)]);
    // what it asks for does not matter, whose it is does
    let again = acquire(&pools, &["v4"], &alice, "10.3.0.9").unwrap();
    assert_eq!(address(&*again), "10.3.0.1");
    drop((again, other));
    assert_eq!(counts(&pools), [(0, 2)]);
}

#[test]
fn an_address_in_use_is_shared_with_the_same_host_only() {
    let pools = pools(&[("v4", "10.3.0.0/28")]);
    let (here, elsewhere) = (peer("alice", 1), peer("alice", 9));
    let old = acquire(&pools, &["v4"], &here, "0.0.0.0").unwrap();
    let reauthenticated = acquire(&pools, &["v4"], &here, "10.3.0.1").unwrap();
    assert_eq!(reauthenticated.address(), old.address());
    let second_device = acquire(&pools, &["v4"], &elsewhere, "10.3.0.1").unwrap();
    assert_ne!(second_device.address(), old.address());
    drop(old);
    assert_eq!(counts(&pools), [(2, 0)], "it still has a user");
    drop((reauthenticated, second_device));
    assert_eq!(counts(&pools), [(0, 2)]);
}

#[test]
fn one_ike_sa_may_have_several_addresses() {
    let pools = pools(&[("v4", "10.3.0.0/28")]);
    let alice = peer("alice", 1);
    let first = acquire(&pools, &["v4"], &alice, "0.0.0.0").unwrap();
    let client = Client { taken: &[first.address()], ..alice.client() };
    let second = pools.acquire(&["v4".into()], &client, "0.0.0.0".parse().unwrap()).unwrap();
    assert_ne!(first.address(), second.address());
}

#[test]
fn the_address_longest_unused_goes_to_a_stranger() {
    let pools = pools(&[("v4", "10.3.0.1-10.3.0.2")]);
    let (alice, carol, dave) = (peer("alice", 1), peer("carol", 2), peer("dave", 3));
    let (a, c) = (acquire(&pools, &["v4"], &alice, "0.0.0.0"), acquire(&pools, &["v4"], &carol, "0.0.0.0"));
    assert!(acquire(&pools, &["v4"], &dave, "0.0.0.0").is_none(), "full");
    drop(c);
    drop(a);
    let d = acquire(&pools, &["v4"], &dave, "0.0.0.0").unwrap();
    assert_eq!(address(&*d), "10.3.0.2", "carol's");
    let a = acquire(&pools, &["v4"], &alice, "0.0.0.0").unwrap();
    assert_eq!(address(&*a), "10.3.0.1", "alice's own");
    assert!(acquire(&pools, &["v4"], &carol, "0.0.0.0").is_none());
    let leases: Vec<_> = pools.all()[0].leases().iter().map(|lease| lease.identity.to_string()).collect();
    assert_eq!(leases, ["alice", "dave"], "nobody is remembered twice");
}

#[test]
fn pools_are_tried_in_order_and_by_family() {
    let pools = pools(&[("one", "10.3.0.1"), ("two", "10.4.0.1"), ("six", "fd00::/64")]);
    let names = ["one", "missing", "two", "six"];
    let (alice, carol) = (peer("alice", 1), peer("carol", 2));
    let a = acquire(&pools, &names, &alice, "0.0.0.0").unwrap();
    let c = acquire(&pools, &names, &carol, "0.0.0.0").unwrap();
    let six = acquire(&pools, &names, &alice, "::").unwrap();
    assert_eq!([&*a, &*c, &*six].map(address), ["10.3.0.1", "10.4.0.1", "fd00::1"].map(str::to_owned));
    drop((a, c));
    // carol's own address wins over alice's in an earlier pool
    assert_eq!(address(&*acquire(&pools, &names, &carol, "0.0.0.0").unwrap()), "10.4.0.1");
    assert!(acquire(&pools, &[], &alice, "0.0.0.0").is_none());
}

#[test]
fn reloading_keeps_leases_or_refuses() {
    let pools = pools(&[("v4", "10.3.0.0/28"), ("other", "10.9.0.0/28")]);
    let alice = peer("alice", 1);
    let lease = acquire(&pools, &["v4"], &alice, "0.0.0.0").unwrap();
    let load = |addrs: &str| pools.load("v4", Bounds::parse(addrs).unwrap(), Vec::new());
    load("10.3.0.0/28").unwrap();
    let names: Vec<_> = pools.all().iter().map(|pool| pool.name().to_owned()).collect();
    assert_eq!(names, ["other", "v4"], "what was loaded last is listed last");
    assert_eq!(pools.all()[1].online(), 1);
    let error = load("10.4.0.0/28").unwrap_err();
    assert_eq!(error.to_string(), "vici pool v4 has online leases, unable to replace");
    assert_eq!(pools.unload("v4").unwrap_err().to_string(), "v4 has online leases, unable to unload");
    drop(lease);
    load("10.4.0.0/28").unwrap();
    assert_eq!(pools.all()[1].offline(), 0);
    pools.unload("v4").unwrap();
    assert_eq!(pools.unload("v4"), Err(PoolError::NotFound("v4".into())));
}

#[test]
fn attributes_go_with_assigned_addresses() {
    let for_all = Arc::<ArcSwap<AttributesForAll>>::default();
    let pools = Pools::new(Arc::clone(&for_all));
    let dns = |address: &str| vec![Attribute::parse("dns", address.as_bytes()).unwrap()];
    pools.load("one", Bounds::parse("10.3.0.0/28").unwrap(), dns("10.3.0.254")).unwrap();
    pools.load("two", Bounds::parse("10.4.0.0/28").unwrap(), dns("10.4.0.254")).unwrap();
    let unity = Attribute::parse("split_include", b"10.0.0.0/8").unwrap();
    for_all.store(Arc::new(AttributesForAll(vec![dns("10.0.0.53").remove(0), unity])));
    let (alice, names) = (peer("alice", 1), ["two".to_owned(), "one".to_owned()]);
    let attributes = |addresses: &[IpAddr]| {
        let found = pools.attributes(&names, &alice.client(), addresses);
        found.iter().map(|attribute| attribute.value.to_vec()).collect::<Vec<_>>()
    };
    assert!(attributes(&[]).is_empty());
    let lease = acquire(&pools, &["one"], &alice, "0.0.0.0").unwrap();
    assert_eq!(attributes(&[lease.address()]), [vec![10, 3, 0, 254], vec![10, 0, 0, 53]]);
}

#[test]
fn many_threads_never_share_an_address() {
    let pools = Arc::new(pools(&[("v4", "10.3.0.0/24")]));
    let threads: Vec<_> = (0..4u8)
        .map(|thread| {
            let pools = Arc::clone(&pools);
            std::thread::spawn(move || {
                for round in 0..50 {
                    let peers: Vec<_> = (0..10).map(|n| peer(&format!("c{thread}-{round}-{n}"), n)).collect();
                    let leases: Vec<_> =
                        peers.iter().map(|peer| acquire(&pools, &["v4"], peer, "0.0.0.0").unwrap()).collect();
                    let mut all: Vec<_> = pools.all()[0].leases().into_iter().filter(|lease| lease.online).collect();
                    all.sort_by_key(|lease| lease.address);
                    assert!(all.windows(2).all(|two| two[0].address != two[1].address));
                    drop(leases);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(pools.all()[0].online(), 0);
}
