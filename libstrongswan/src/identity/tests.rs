//! Identities: the tables of the configuration reference, row by row.

use std::collections::HashSet;

use super::*;

fn id(text: &str) -> Identity {
    Identity::parse_with_regex(text).unwrap()
}

fn matches(received: &str, pattern: &str) -> u8 {
    id(received).matches_with(&id(pattern), RdnMatching::Strict).value()
}

#[track_caller]
fn check(text: &str, id_type: IdType, encoding: &[u8], printed: &str) {
    let identity = Identity::parse(text);
    assert_eq!(identity.id_type(), id_type, "{text}");
    assert_eq!(identity.encoding(), encoding, "{text}");
    assert_eq!(identity.to_string(), printed, "{text}");
}

#[test]
fn any() {
    for text in ["", "%any", "%any6", "0.0.0.0", "*", "::", "0::0"] {
        check(text, IdType::Any, b"", "%any");
    }
    check("%any4", IdType::Fqdn, b"%any4", "%any4");
}

#[test]
fn prefixes_take_the_rest_verbatim_or_as_hex() {
    check("ipv4:10.0.0.1", IdType::Ipv4Addr, b"10.0.0.1", "(invalid ID_IPV4_ADDR)");
    check("IPV4:#0a:00:00:01", IdType::Ipv4Addr, &[10, 0, 0, 1], "10.0.0.1");
    check("ipv4net:#0a000000ff000000", IdType::Ipv4AddrSubnet, &[10, 0, 0, 0, 255, 0, 0, 0], "10.0.0.0/8");
    check("ipv4range:#0a0000010a000003", IdType::Ipv4AddrRange, &[10, 0, 0, 1, 10, 0, 0, 3], "10.0.0.1-10.0.0.3");
    check("fqdn:a=b", IdType::Fqdn, b"a=b", "a=b");
    check("dns:x@y", IdType::Fqdn, b"x@y", "x@y");
    for prefix in ["rfc822", "email", "userfqdn"] {
        check(&format!("{prefix}:x"), IdType::Rfc822Addr, b"x", "x");
    }
    check("keyid:#123", IdType::KeyId, &[1, 0x23], "01:23");
    check("keyid:me", IdType::KeyId, b"me", "me");
    check("uri:http://x", IdType::Uri, b"http://x", "http://x");
    check(
        "asn1dn:#300f310d300b06035504030c04c3a4c3b6",
        IdType::DerAsn1Dn,
        &from_hex("300f310d300b06035504030c04c3a4c3b6"),
        "CN=????",
    );
    check("asn1dn:#30", IdType::DerAsn1Dn, &[0x30], "(invalid ID_DER_ASN1_DN)");
    check("{0x0b}:abc", IdType::KeyId, b"abc", "abc");
    check("{013}:abc", IdType::KeyId, b"abc", "abc");
    check("{99}:#aabb", IdType::Unknown(99), &[0xaa, 0xbb], "(unknown ID type: 99)");
    check(
        "xmppaddr:a@b",
        IdType::DerAsn1Gn,
        &from_hex("a01106082b0601050507080 5a0050c03614062".replace(' ', "").as_str()),
        "(ASN.1 general name)",
    );
}

fn from_hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

#[test]
fn addresses_and_names() {
    check("10.1.2.3", IdType::Ipv4Addr, &[10, 1, 2, 3], "10.1.2.3");
    check("10.1.2.3/16", IdType::Ipv4AddrSubnet, &[10, 1, 0, 0, 255, 255, 0, 0], "10.1.0.0/16");
    check("10.1.2.3/32", IdType::Ipv4AddrSubnet, &[10, 1, 2, 3, 255, 255, 255, 255], "10.1.2.3/32");
    check("0.0.0.0/0", IdType::Ipv4AddrSubnet, &[0; 8], "0.0.0.0/0");
    check("10.1.2.3/x", IdType::Ipv4AddrSubnet, &[0; 8], "0.0.0.0/0");
    check("10.1.2.3/33", IdType::Fqdn, b"10.1.2.3/33", "10.1.2.3/33");
    check("10.0.0.1-10.0.0.3", IdType::Ipv4AddrRange, &[10, 0, 0, 1, 10, 0, 0, 3], "10.0.0.1-10.0.0.3");
    check("10.0.0.0-10.0.0.3", IdType::Ipv4AddrRange, &[10, 0, 0, 0, 10, 0, 0, 3], "10.0.0.0-10.0.0.3");
    check("10.0.0.3-10.0.0.1", IdType::Fqdn, b"10.0.0.3-10.0.0.1", "10.0.0.3-10.0.0.1");
    let fec0_1 = [0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    check("fec0::1", IdType::Ipv6Addr, &fec0_1, "fec0::1");
    check("fec0::1/129", IdType::KeyId, b"fec0::1/129", "fec0::1/129");
    assert_eq!(Identity::parse("fec0::1/16").to_string(), "fec0::/16");
    assert_eq!(Identity::parse("fec0::1-fec0::3").id_type(), IdType::Ipv6AddrRange);
    check("ab:cd", IdType::KeyId, b"ab:cd", "ab:cd");
    check("moon.example.org", IdType::Fqdn, b"moon.example.org", "moon.example.org");
    check("@moon", IdType::Fqdn, b"moon", "moon");
    check("@@moon", IdType::Rfc822Addr, b"moon", "moon");
    check("@#4d6f", IdType::KeyId, b"Mo", "Mo");
    check("carol@example.org", IdType::Rfc822Addr, b"carol@example.org", "carol@example.org");
    check("a\tb", IdType::Fqdn, b"a\tb", "a?b");
    let fingerprint = "@#".to_owned() + &"41".repeat(20);
    assert_eq!(Identity::parse(&fingerprint).to_string(), ["41"; 20].join(":"));
}

#[test]
fn names() {
    let encoded = from_hex("301c310b3009060355040613024348310d300b060355040a0c04615f6240");
    assert_eq!(Identity::parse("C=CH, O=a_b@").encoding(), encoded);
    let printed = |text: &str| Identity::parse(text).to_string();
    assert_eq!(printed("C=CH, O=, CN=x"), "C=CH, O=, CN=x");
    assert_eq!(printed("/C=CH/O=a, b"), "C=CH, O=a, b");
    assert_eq!(printed("CN= a  b "), "CN=a  b");
    assert_eq!(printed("CN==x"), "CN=x");
    assert_eq!(printed("CN=a=b"), "CN=a=b");
    assert_eq!(printed(" c = CH , cn = x,"), "C=CH, CN=x");
    assert_eq!(
        printed("Email=a, EN=b, UN=c, UA=d"),
        "E=a, employeeNumber=b, unstructuredName=c, unstructuredAddress=d"
    );
    for broken in ["C=CH,,CN=x", "foo=bar", "2.5.4.3=x", "=", "C=CH, x"] {
        assert_eq!(Identity::parse(broken).id_type(), IdType::KeyId, "{broken}");
    }
    assert_eq!(Identity::parse(&["CN=x"; 20].join(",")).id_type(), IdType::DerAsn1Dn);
    assert_eq!(Identity::parse(&["CN=x"; 21].join(",")).id_type(), IdType::KeyId);
    let unknown = Identity::from_encoding(IdType::DerAsn1Dn, &from_hex("300c310a3008060355047b0c0178"));
    assert_eq!(unknown.to_string(), "55:04:7b=x");
    assert_eq!(Identity::from_encoding(IdType::DerAsn1Dn, &[0x30, 0]).to_string(), "");
}

#[test]
fn match_values() {
    assert_eq!(matches("moon", "%any"), 1);
    assert_eq!(matches("moon", "MOON"), 20);
    assert_eq!(matches("moon", "sun"), 0);
    assert_eq!(matches("x.a.com", "*.A.com"), 19);
    assert_eq!(matches("a.com", "*.a.com"), 0);
    assert_eq!(matches("a.com", "*a.com"), 19);
    assert_eq!(matches("moon", "fqdn:*"), 1);
    assert_eq!(matches("a@b", "fqdn:*"), 0);
    assert_eq!(matches("a@b.c", "*@B.c"), 19);
    assert_eq!(matches("10.0.0.1", "10.0.0.1"), 20);
    assert_eq!(matches("10.0.0.1", "10.0.0.0/8"), 19);
    assert_eq!(matches("10.0.0.1", "10.0.0.1/32"), 20);
    assert_eq!(matches("10.0.0.1", "10.0.0.1-10.0.0.9"), 19);
    assert_eq!(matches("10.0.0.1", "0.0.0.0/0"), 2);
    assert_eq!(matches("10.0.0.1", "::/0"), 0);
    assert_eq!(matches("fec0::1", "::/0"), 2);
    assert_eq!(matches("10.0.0.0/8", "10.0.0.1"), 0);
    assert_eq!(matches("keyid:a", "keyid:a"), 20);
    assert_eq!(matches("keyid:a", "keyid:A"), 0);
    assert_eq!(matches("moon", "keyid:moon"), 0);
    assert_eq!(matches("%any", "moon"), 0);
}

#[test]
fn regular_expressions() {
    assert_eq!(matches("moon.example.org", "fqdn:^(moon|sun)\\.EXAMPLE\\.org$"), 2);
    assert_eq!(matches("mars.example.org", "fqdn:^(moon|sun)\\.example\\.org$"), 0);
    assert_eq!(matches("a@b", "fqdn:^.*$"), 0);
    assert_eq!(matches("a@b", "email:^[[:alpha:]]@b$"), 2);
    assert_eq!(matches("C=CH, O=x, CN=y", "asn1dn:^C=CH, .*CN=[yz]$"), 2);
    assert_eq!(matches("fqdn:^a$", "fqdn:^a$"), 2);
    assert_eq!(matches("fqdn:^a$", "a"), 0);
    assert_eq!(id("keyid:^a$").encoding(), b"^a$");
    assert_eq!(Identity::parse("fqdn:^a$").id_type(), IdType::Fqdn);
    assert!(!Identity::parse("fqdn:^a$").contains_wildcards());
    assert!(id("fqdn:^a$").contains_wildcards());
    assert_eq!(id("fqdn:^a$").to_string(), "^a$");
    let error = Identity::parse_with_regex("fqdn:^(a$").unwrap_err();
    assert!(error.to_string().starts_with("invalid regular expression '^(a$': "), "{error}");
}

#[test]
fn wildcards_are_recognised() {
    for text in ["%any", "*.a.com", "*@b", "C=CH, CN=*"] {
        assert!(id(text).contains_wildcards(), "{text}");
    }
    for text in ["a.com", "10.0.0.0/8", "C=CH, CN=a*", "keyid:*"] {
        assert!(!id(text).contains_wildcards(), "{text}");
    }
}

#[test]
fn rdns_match_by_mode() {
    use RdnMatching::{Relaxed, Reordered, Strict};
    let value = |received: &str, pattern: &str, mode| id(received).matches_with(&id(pattern), mode).value();
    let received = "C=CH, O=x, OU=a, OU=b, CN=y";
    for mode in [Strict, Reordered, Relaxed] {
        assert_eq!(value(received, received, mode), 20);
        assert_eq!(value(received, "c=ch, O=X, OU=a, OU=b, CN=y", mode), 20);
        assert_eq!(value(received, "C=CH, O=*, OU=a, OU=b, CN=*", mode), 18);
        assert_eq!(value(received, "C=CH, O=x, OU=a, OU=b, CN=z", mode), 0);
        assert_eq!(value(received, "C=CH, O=x, OU=a, OU=b, CN=y, L=*", mode), 0);
    }
    let reordered = "CN=y, OU=*, OU=a, O=x, C=CH";
    assert_eq!([Strict, Reordered, Relaxed].map(|mode| value(received, reordered, mode)), [0, 19, 19]);
    let fewer = "OU=a, CN=*";
    assert_eq!([Strict, Reordered, Relaxed].map(|mode| value(received, fewer, mode)), [0, 0, 16]);
    let many = |value: &str| vec![format!("OU={value}"); 20].join(", ");
    assert_eq!(value(&many("x"), &many("*"), Strict), 3);
    assert_eq!(value("CN=*", "CN=*", Strict), 19);
    // Only printable strings ignore case, and only against their like.
    assert_eq!(value("CN=a_b", "CN=A_b", Strict), 0);
    assert_eq!(value("E=a_b", "E=A_B", Strict), 20);
}

#[test]
fn equal_identities_hash_alike() {
    let set: HashSet<_> =
        ["a.com", "A.COM", "a@b", "A@B", "C=CH, CN=x", "c=ch, cn=X", "%any", "", "10.0.0.1"].map(id).into();
    assert_eq!(set.len(), 5);
    assert_ne!(id("fqdn:^a$"), Identity::parse("fqdn:^a$"));
    assert_ne!(id("fqdn:a"), id("email:a"));
}

#[test]
fn types_round_trip() {
    for number in 0..=255_u8 {
        assert_eq!(u8::from(IdType::from(number)), number);
    }
    assert_eq!(IdType::from(9).to_string(), "ID_DER_ASN1_DN");
    assert_eq!(IdType::from(77).to_string(), "(77)");
}

proptest::proptest! {
    #[test]
    fn nothing_panics(number: u8, data: Vec<u8>, other: Vec<u8>, text: String) {
        let a = Identity::from_encoding(number.into(), &data);
        let b = Identity::from_encoding(number.into(), &other);
        let _ = (a.to_string(), a.matches(&b), a == b, a.contains_wildcards(), a.address());
        let _ = (Identity::parse(&text), Identity::parse_with_regex(&text));
        for mode in [RdnMatching::Strict, RdnMatching::Relaxed] {
            let _ = a.matches_with(&b, mode);
        }
    }
}
