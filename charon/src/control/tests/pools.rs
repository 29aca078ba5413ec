//! Pools over the control socket.

use super::*;

#[test]
fn pools_are_loaded_listed_and_unloaded() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    let pool = |addrs: &str| Message::new().with("addrs", addrs).with_list("dns", ["10.3.0.254", "fd00::254"]);
    let load = Message::new().with_section("v4", pool("10.3.0.0/28")).with_section("v6", pool("fd00::/120"));
    client.command("load-pool", &load).unwrap();
    let all = client.request("get-pools", &Message::new()).unwrap();
    assert_eq!(flat(&all), ["v4{}", "v6{}"]);
    assert_eq!(flat(all.section("v4").unwrap()), ["base=10.3.0.1", "size=14", "online=0", "offline=0"]);

    let (alice, remote) = (Identity::parse("alice"), SocketAddr::from(([192, 0, 2, 1], 500)));
    let who =
        PoolClient { ike_sa: UniqueId::new(1).unwrap(), identity: &alice, remote, taken: &[], version: IkeVersion::V2 };
    let acquire =
        |pool: &str, any: &str| fixture.pools.acquire(&[pool.to_owned()], &who, any.parse().unwrap()).unwrap();
    let leases = [acquire("v4", "0.0.0.0"), acquire("v6", "::")];
    let named = client.request("get-pools", &Message::new().with("leases", "yes").with("name", "v4")).unwrap();
    let v4 = named.section("v4").unwrap();
    assert_eq!(flat(v4), ["base=10.3.0.1", "size=14", "online=1", "offline=0", "leases{}"]);
    let first = v4.section("leases").and_then(|leases| leases.section("0")).unwrap();
    assert_eq!(flat(first), ["address=10.3.0.1", "identity=alice", "status=online"]);
    assert!(named.section("v6").is_none());

    let name = |name: &str| Message::new().with("name", name);
    assert_eq!(fixture.failure("unload-pool", &name("v4")), "v4 has online leases, unable to unload");
    let other = Message::new().with_section("v4", pool("10.4.0.0/28"));
    assert_eq!(fixture.failure("load-pool", &other), "vici pool v4 has online leases, unable to replace");
    drop(leases);
    client.command("unload-pool", &name("v4")).unwrap();
    assert_eq!(fixture.failure("unload-pool", &name("v4")), "v4 not found");
    assert_eq!(fixture.failure("unload-pool", &Message::new()), "missing pool name to unload");
}

#[test]
fn pools_that_make_no_sense_are_refused() {
    let fixture = Fixture::new();
    let failure = |pool: Message| fixture.failure("load-pool", &Message::new().with_section("p", pool));
    let addrs = || Message::new().with("addrs", "10.3.0.0/28");
    assert_eq!(failure(Message::new()), "missing addrs for pool 'p'");
    assert_eq!(failure(addrs().with("addrs", "10.4.0.0/28")), "multiple addrs defined");
    assert_eq!(failure(Message::new().with("addrs", "10.3.0.0/x")), "invalid addrs value: 10.3.0.0/x");
    assert_eq!(failure(Message::new().with("addrs", vec![0xff])), "invalid addrs value");
    assert_eq!(failure(Message::new().with_list("addrs", ["10.3.0.0/28"])), "invalid attribute: addrs");
    assert_eq!(failure(addrs().with("dns", "10.0.0.1")), "invalid attribute: dns");
    assert_eq!(failure(addrs().with_list("dsn", ["10.0.0.1"])), "invalid attribute: dsn");
    assert_eq!(failure(addrs().with_list("0", ["10.0.0.1"])), "invalid attribute: 0");
    assert_eq!(failure(addrs().with_list("dns", ["ns"])), "invalid attribute value for dns");
    assert!(fixture.client().request("get-pools", &Message::new()).unwrap().is_empty());
}
