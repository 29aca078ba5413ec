//! Traffic selectors: the forms of the reference, and the operations against a model of single packets.

use super::*;
use proptest::prelude::*;

fn ts(text: &str) -> TrafficSelector {
    TrafficSelector::parse(text).unwrap()
}

fn all(texts: &[&str]) -> Vec<TrafficSelector> {
    texts.iter().map(|text| ts(text)).collect()
}

#[test]
fn prints_what_it_parsed() {
    for (text, printed) in [
        ("10.1.2.3/16", "10.1.0.0/16"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("10.1.2.3/40", "10.1.2.3/32"),
        ("10.1.2.3/x", "0.0.0.0/0"),
        ("fec0::1", "fec0::1/128"),
        ("::/0", "::/0"),
        ("10.0.0.1-10.0.0.6", "10.0.0.1..10.0.0.6"),
        ("10.0.0.0-10.0.0.7", "10.0.0.0/29"),
        ("dynamic", "dynamic"),
        ("dynamic[tcp]", "dynamic[tcp]"),
        ("10.0.0.0/8[]", "10.0.0.0/8"),
        ("10.0.0.0/8[any]", "10.0.0.0/8"),
        ("10.0.0.0/8[/]", "10.0.0.0/8"),
        ("10.0.0.0/8[tcp/80-443]", "10.0.0.0/8[tcp/80-443]"),
        ("10.0.0.0/8[6/9999]", "10.0.0.0/8[tcp/9999]"),
        ("10.0.0.0/8[0x11/0x270f]", "10.0.0.0/8[udp/9999]"),
        ("10.0.0.0/8[/opaque]", "10.0.0.0/8[0/OPAQUE]"),
        ("dynamic[udp/opaque]", "dynamic[udp/OPAQUE]"),
        ("10.0.0.0/8[253]", "10.0.0.0/8[253]"),
        ("10.0.0.0/8[icmp/8]", "10.0.0.0/8[icmp/8]"),
        ("10.0.0.0/8[1/0x0301]", "10.0.0.0/8[icmp/3(1)]"),
        ("10.0.0.0/8[icmp/3(1)]", "10.0.0.0/8[icmp/3(1)]"),
        ("10.0.0.0/8[icmp/3-5]", "10.0.0.0/8[icmp/3-5]"),
        ("::/0[ipv6-icmp/128]", "::/0[ipv6-icmp/128]"),
    ] {
        assert_eq!(ts(text).to_string(), printed, "{text}");
        assert_eq!(ts(text), ts(&printed.replace("..", "-")), "{text}");
    }
    assert_eq!(ts("::/0[58/128]").start_port(), 0x8000);
}

#[test]
fn services_have_names_where_the_system_has_them() {
    let selector = ts("10.0.0.0/8[tcp/80]");
    if let Some(name) = names::service_name(80, 6) {
        assert_eq!(selector.to_string(), format!("10.0.0.0/8[tcp/{name}]"));
        assert_eq!(ts(&format!("10.0.0.0/8[tcp/{name}]")), selector);
    }
}

#[test]
fn errors() {
    let error = |text: &str| TrafficSelector::parse(text).unwrap_err();
    assert_eq!(error("moon.example.org"), SelectorError::Address("moon.example.org".into()));
    assert_eq!(error("Dynamic"), SelectorError::Address("Dynamic".into()));
    assert_eq!(error(""), SelectorError::Address(String::new()));
    assert_eq!(error("10.0.0.0/8[tcp"), SelectorError::Brackets("10.0.0.0/8[tcp".into()));
    assert_eq!(error("10.0.0.0/8[tcp]x"), SelectorError::Brackets("10.0.0.0/8[tcp]x".into()));
    assert_eq!(error("10.0.0.0/8[foo]"), SelectorError::Protocol("foo".into()));
    assert_eq!(error("10.0.0.0/8[256]"), SelectorError::Protocol("256".into()));
    assert_eq!(error("10.0.0.0/8[tcp/65536]"), SelectorError::Port("65536".into()));
    assert_eq!(error("10.0.0.0/8[tcp/80-]"), SelectorError::Port("80-".into()));
    assert_eq!(error("10.0.0.0/8[tcp/90-80]"), SelectorError::EmptyPorts(90, 80));
    let (low, high) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    assert_eq!(TrafficSelector::new(0, high, low, 0, 0), Err(SelectorError::EmptyRange(high, low)));
    assert_eq!(TrafficSelector::new(0, low, high, 2, 1), Err(SelectorError::EmptyPorts(2, 1)));
}

#[test]
fn narrowing() {
    let check = |configured: &[&str], received: &[&str], result: &[&str]| {
        assert_eq!(narrow(&all(configured), &all(received)), all(result), "{configured:?} {received:?}");
    };
    check(&["10.1.0.0/16"], &["0.0.0.0/0"], &["10.1.0.0/16"]);
    check(&["0.0.0.0/0"], &["10.1.0.0/16[tcp/80]"], &["10.1.0.0/16[tcp/80]"]);
    check(&["10.1.0.0/16"], &["10.2.0.0/16"], &[]);
    check(&["10.1.0.0/16[tcp]"], &["10.1.0.0/16[udp]"], &[]);
    check(&["::/0"], &["10.1.0.0/16"], &[]);
    check(&["10.1.0.0/16", "10.2.0.0/16"], &["10.2.0.0/24", "10.0.0.0/8"], &["10.1.0.0/16", "10.2.0.0/16"]);
    check(&["10.1.0.0/16", "10.1.0.0/16"], &["10.1.0.1[tcp]", "10.1.0.1"], &["10.1.0.1"]);
    check(&["10.0.0.1-10.0.0.9"], &["10.0.0.5-10.0.0.20"], &["10.0.0.5-10.0.0.9"]);
    check(&["0.0.0.0/0[tcp/100-200]"], &["0.0.0.0/0[tcp/150-250]"], &["0.0.0.0/0[tcp/150-200]"]);
    check(&["0.0.0.0/0[udp/opaque]"], &["0.0.0.0/0"], &["0.0.0.0/0[udp/opaque]"]);
    check(&["0.0.0.0/0[udp/opaque]"], &["0.0.0.0/0[udp/80]"], &[]);
    check(&["0.0.0.0/0[udp/0]"], &["0.0.0.0/0[udp/65535]"], &[]);
}

#[test]
fn dynamic_selectors_resolve_to_hosts() {
    let hosts = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let configured = all(&["dynamic[tcp/22]", "10.0.0.0/8", "10.0.0.0/8"]);
    let resolved = resolve(&configured, &hosts);
    assert_eq!(resolved, all(&["192.0.2.1[tcp/22]", "2001:db8::1[tcp/22]", "10.0.0.0/8"]));
    assert!(resolved[0].is_host(None) && resolved[0].is_host(Some(hosts[0])) && !resolved[0].is_host(Some(hosts[1])));
    assert!(!resolved[2].is_host(None) && !configured[0].is_host(None));
    assert!(!ts("0.0.0.0/0").contains(&ts("dynamic")) && ts("dynamic").contains(&ts("dynamic[tcp]")));
    assert_eq!(ts("dynamic").intersection(&ts("10.0.0.1")), None);
}

#[test]
fn sorted_for_installation() {
    let mut list = all(&["fec0::/16", "10.1.0.0/16", "10.1.0.1[tcp]", "10.1.0.0/24", "10.1.0.1"]);
    list.sort();
    assert_eq!(list, all(&["10.1.0.0/16", "10.1.0.0/24", "10.1.0.1", "10.1.0.1[tcp]", "fec0::/16"]));
}

prop_compose! {
    fn selector()(a: u8, b: u8, v6: bool, protocol in 0_u8..3, c: u16, d: u16, any: bool, opaque: bool) -> TrafficSelector {
        let address = |last: u8| -> IpAddr { if v6 { [0, 0, 0, 0, 0, 0, 0, u16::from(last)].into() } else { [10, 0, 0, last].into() } };
        let (start, end) = if any { (0, 65535) } else if opaque { (65535, 0) } else { (c.min(d), c.max(d)) };
        TrafficSelector::new(protocol, address(a.min(b)), address(a.max(b)), start, end).unwrap()
    }
}

proptest! {
    #[test]
    fn operations_agree_with_single_packets(
        a in selector(), b in selector(), v6: bool, last: u8, protocol in 1_u8..3, port: u16, opaque: bool,
    ) {
        let address = if v6 { [0, 0, 0, 0, 0, 0, 0, u16::from(last)].into() } else { [10, 0, 0, last].into() };
        let ports = if opaque { PortRange::OPAQUE } else { PortRange::single(port) };
        let fits = |ts: &TrafficSelector| ts.matches(address, protocol, ports);
        prop_assert_eq!(a.intersection(&b).is_some_and(|ts| fits(&ts)), fits(&a) && fits(&b));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        if a.contains(&b) {
            prop_assert!(!fits(&b) || fits(&a));
            prop_assert_eq!(a.intersection(&b), Some(b));
        }
    }

    #[test]
    fn text_round_trips(selector in selector()) {
        let text = selector.to_string().replace("..", "-");
        // Services may share a port, then the name of another transport is printed for "any protocol".
        prop_assert_eq!(TrafficSelector::parse(&text).unwrap().to_string().replace("..", "-"), text);
    }

    #[test]
    fn nothing_panics(text: String) {
        let _ = TrafficSelector::parse(&text);
    }
}

#[test]
fn a_patchwork_is_not_narrowed() {
    // Ports of even and of odd numbers against hosts: every pair is another selector.
    let hosts =
        |count: u16| -> Vec<_> { (0..count).map(|host| ts(&format!("10.0.{}.{}", host / 256, host % 256))).collect() };
    let ports =
        |count: u16| -> Vec<_> { (0..count).map(|port| ts(&format!("10.0.0.0/8[tcp/{}]", port * 2 + 1))).collect() };
    assert_eq!(narrow(&ports(15), &hosts(17)).len(), 255);
    assert_eq!(narrow(&ports(16), &hosts(16)), []);
    let start = std::time::Instant::now();
    assert_eq!(narrow(&ports(255), &hosts(255)), []);
    assert!(start.elapsed().as_secs() < 5);
    // What is covered does not count.
    let mut covered = hosts(255);
    covered.push(ts("10.0.0.0/16"));
    assert_eq!(narrow(&ports(200), &covered).len(), 200);
}
