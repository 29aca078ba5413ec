//! Descriptions against what swanctl 5.9.8 prints for the same certificates.

use super::*;

/// Made with strongSwan's pki: a CA, a certificate it issued, a CRL; and what swanctl 5.9.8 shows of them, but for the
/// indentation of further URIs, which is that of 6.0.6.
const CA: &[u8] = include_bytes!("testdata/ca.der");
const CERTIFICATE: &[u8] = include_bytes!("testdata/gw.der");
const CRL: &[u8] = include_bytes!("testdata/ca.crl");
const SHOWN: &str = include_str!("testdata/list-certs.txt");

/// When the listing was recorded.
const RECORDED: i64 = 1795176201;

fn view(short: bool) -> View {
    View { short, zone: Zone::Utc, now: UnixTime(RECORDED) }
}

fn describe(kind: &str, flag: &str, data: &[u8], private: bool, short: bool) -> String {
    let mut event = Message::new().with("type", kind).with("flag", flag).with("data", data);
    if private {
        event.push("has_privkey", true);
    }
    let listed = Listed::from_event(&event).unwrap();
    format!("\nList of {}s\n\n{}", listed.caption, listed.describe(&view(short)).unwrap())
}

#[test]
fn listings_are_those_of_strongswan() {
    let ours = [
        describe("X509", "NONE", CERTIFICATE, true, false),
        describe("X509", "CA", CA, false, false),
        describe("X509_CRL", "", CRL, false, false),
    ];
    assert_eq!(ours.concat(), SHOWN);
}

#[test]
fn short_listings_leave_out_details() {
    let text = describe("X509", "NONE", CERTIFICATE, false, true);
    assert!(!text.contains("flags:") && !text.contains("URIs:") && text.contains("subjkey:"), "{text}");
    assert!(describe("X509_CRL", "", CRL, false, true).ends_with("revoked certificates\n"));
}

#[test]
fn times_before_and_after() {
    let mut sheet = Sheet::default();
    let view = view(false);
    let [early, late] = [-1000, 1000].map(|offset| UnixTime(RECORDED + offset));
    sheet.validity(["validity:", "not before", "not after "], late, late, &view);
    sheet.validity(["validity:", "not before", "not after "], early, early, &view);
    let text = sheet.to_string();
    assert!(text.contains("not valid yet (valid in 16 minutes)\n"), "{text}");
    assert!(text.contains("expired (16 minutes ago)\n"), "{text}");
}

#[test]
fn what_cannot_be_shown_says_why() {
    let read = |event: Message| Listed::from_event(&event).map(|_| ()).unwrap_err().to_string();
    assert_eq!(read(Message::new()), "received incomplete certificate data");
    assert_eq!(read(Message::new().with("type", "PGP").with("data", "x")), "unsupported certificate type 'PGP'");
    let event = Message::new().with("type", "X509").with("flag", "ANY").with("data", "x");
    assert_eq!(read(event), "unsupported certificate flag 'ANY'");
    let event = Message::new().with("type", "X509").with("data", "x");
    let listed = Listed::from_event(&event).unwrap();
    assert_eq!(listed.describe(&view(false)).unwrap_err().to_string(), "parsing certificate failed");
}

#[test]
fn json_has_one_value_or_several() {
    let event = Message::new().with("type", "X509").with("data", CERTIFICATE);
    let json = Listed::from_event(&event).unwrap().describe(&view(false)).unwrap().json();
    assert_eq!(json.get("subject").unwrap(), "C=CH, O=Lab, CN=gw.example.org");
    assert_eq!(json.get("validity").unwrap().as_array().unwrap().len(), 2);
    // A list is a list however many there are, and no key depends on them.
    assert!(json.iter().filter(|(key, _)| key.ends_with("URIs")).all(|(_, value)| value.is_array()), "{json:?}");
    assert!(json.keys().any(|key| key == "OCSP URIs"));
    let event = Message::new().with("type", "X509_CRL").with("data", CRL);
    let json = Listed::from_event(&event).unwrap().describe(&view(false)).unwrap().json();
    assert!(json.get("revoked").unwrap().is_array(), "{json:?}");
}

#[test]
fn pem_is_wrapped() {
    let event = Message::new().with("type", "X509").with("data", CERTIFICATE);
    let pem = Listed::from_event(&event).unwrap().pem();
    assert!(pem.lines().all(|line| line.len() <= 64) && pem.ends_with("-----END CERTIFICATE-----\n"));
}
