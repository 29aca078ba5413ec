//! The example of the protocol, byte for byte, and every way to break it.

use proptest::prelude::*;

use super::*;

const EXAMPLE: &[u8] = b"\x03\x01a\x00\x01b\x04\x01l\x05\x00\x01x\x06\x01\x01s\x02";

fn example() -> Message {
    Message::new().with("a", "b").with_list("l", ["x"]).with_section("s", Message::new())
}

#[test]
fn the_documented_example_is_byte_exact() {
    assert_eq!(example().encode().unwrap(), EXAMPLE);
    assert_eq!(Message::decode(EXAMPLE), Ok(example()));
}

#[test]
fn each_rule_has_its_error() {
    use DecodeError::*;
    for (bytes, error) in [
        (&b"\x04\x01l\x03\x01a\x00\x00"[..], InsideList { at: 3, kind: 3 }),
        (b"\x04\x01l\x07", InsideList { at: 3, kind: 7 }),
        (b"\x05\x00\x00", OutsideList { at: 0 }),
        (b"\x06", OutsideList { at: 0 }),
        (b"\x02", OutsideSection { at: 0 }),
        (b"\x01\x01s\x02\x02", OutsideSection { at: 4 }),
        (b"\x03\x01\x1f\x00\x00", NameNotPrintable { at: 0 }),
        (b"\x03\x01\xc3\x00\x00", NameNotPrintable { at: 0 }),
        (b"\x01\x05ab", Truncated { at: 0 }),
        (b"\x03\x01a\x00\x02b", Truncated { at: 0 }),
        (b"\x03\x01a\x00", Truncated { at: 0 }),
        (b"\x04\x01l\x05\x00\x09x", Truncated { at: 3 }),
        (b"\x03", Truncated { at: 0 }),
        (b"\x00", UnknownElement { at: 0, kind: 0 }),
        (b"\x08", UnknownElement { at: 0, kind: 8 }),
        (b"\x01\x01s\x07", UnknownElement { at: 3, kind: 7 }),
    ] {
        assert_eq!(Message::decode(bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn what_the_real_parser_tolerates() {
    let a = Message::new().with("a", "b");
    // type 7 at root ends the message, whatever follows
    assert_eq!(Message::decode(b"\x03\x01a\x00\x01b\x07\xff\xff"), Ok(a));
    // open sections and lists end with the data
    let open = Message::new().with_section("s", Message::new().with_list("l", ["x"]));
    assert_eq!(Message::decode(b"\x01\x01s\x04\x01l\x05\x00\x01x"), Ok(open));
    // empty names and duplicates stay
    let twice = Message::new().with("", "1").with("", "2");
    assert_eq!(Message::decode(b"\x03\x00\x00\x011\x03\x00\x00\x012"), Ok(twice.clone()));
    assert_eq!(twice.str(""), Some("1"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth| [b'\x01', b'\x00'].repeat(depth);
    assert!(Message::decode(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(Message::decode(&nested(MAX_DEPTH + 1)), Err(DecodeError::TooDeep { at: 2 * MAX_DEPTH }));
    assert!(Message::decode(&nested(250_000)).is_err());
}

#[test]
fn keys_before_an_error_are_found() {
    let (message, error) =
        Message::decode_prefix(b"\x01\x01s\x03\x01k\x00\x00\x02\x03\x01a\x00\x01b\x06\x03\x01c\x00\x00");
    assert!(matches!(error, Some(DecodeError::OutsideList { .. })));
    assert_eq!(message.str("a"), Some("b"));
    assert_eq!(message.str("c"), None);
    assert_eq!(message.str("k"), None);
}

#[test]
fn oversized_names_and_values_are_refused() {
    let name = "n".repeat(256);
    assert_eq!(Message::new().with(name.clone(), "").encode(), Err(EncodeError::NameTooLong(256)));
    assert_eq!(
        Message::new().with_section("é", Message::new()).encode(),
        Err(EncodeError::NameNotPrintable("é".into()))
    );
    let big = vec![0_u8; 65536];
    let error = EncodeError::ValueTooLong { name: "v".into(), length: 65536 };
    assert_eq!(Message::new().with("v", big.clone()).encode(), Err(error.clone()));
    assert_eq!(Message::new().with_list("v", [big.clone()]).encode(), Err(error));
    assert!(Message::new().with(name[1..].to_owned(), &big[1..]).encode().is_ok());
}

#[test]
fn flat_lookup_converts_as_the_protocol_says() {
    let message = Message::new()
        .with("hex", "0x10")
        .with("bad", "10s")
        .with("long", format!("{}7", " ".repeat(31)))
        .with("on", "Enabled")
        .with("off", "0")
        .with("odd", "on")
        .with("raw", [1_u8, 2].as_slice())
        .with("empty", "")
        .with_section("sect", Message::new().with("inner", "1"));
    assert_eq!(message.int("hex"), Some(16));
    assert_eq!(message.int("bad"), None);
    assert_eq!(message.int("long"), None);
    assert_eq!(message.int("empty"), None);
    assert_eq!(message.bool("on"), Some(true));
    assert_eq!(message.bool("off"), Some(false));
    assert_eq!(message.bool("odd"), None);
    assert!(message.flag("off") && message.flag("empty") && !message.flag("raw") && !message.flag("none"));
    assert_eq!(message.str("raw"), None);
    assert_eq!(message.get("raw"), Some(&[1, 2][..]));
    assert_eq!(message.str("inner"), None);
    assert_eq!(message.section("sect").and_then(|s| s.str("inner")), Some("1"));
}

#[test]
fn answers_are_judged() {
    assert!(Message::new().into_result().is_ok());
    assert!(Message::success().into_result().is_ok());
    let failed = Message::failure("unload: missing connection name").into_result().unwrap_err();
    assert_eq!(failed.to_string(), "unload: missing connection name");
    assert!(Message::new().with("success", "YES").into_result().is_err());
}

#[test]
fn debug_shows_no_values() {
    let text = format!("{:?}", Message::new().with("data", "topsecret"));
    assert_eq!(text, r#"{"data": <9 bytes>}"#);
}

fn arbitrary_message() -> impl Strategy<Value = Message> {
    let name = "[ -~]{0,12}";
    let scalar = || proptest::collection::vec(any::<u8>(), 0..40);
    let leaf =
        prop_oneof![scalar().prop_map(Value::Scalar), proptest::collection::vec(scalar(), 0..5).prop_map(Value::List),];
    let value = leaf.prop_recursive(5, 60, 6, move |inner| {
        proptest::collection::vec((name, inner), 0..6).prop_map(|items| Value::Section(collect(items)))
    });
    proptest::collection::vec((name, value), 0..8).prop_map(collect)
}

fn collect(items: Vec<(String, Value)>) -> Message {
    let mut message = Message::new();
    for (name, value) in items {
        message.push_value(name, value);
    }
    message
}

proptest! {
    #[test]
    fn decode_inverts_encode(message in arbitrary_message()) {
        let bytes = message.encode().unwrap();
        prop_assert_eq!(bytes.len(), message.encoded_len());
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn what_decodes_reencodes_to_the_same_tree(bytes in proptest::collection::vec(0_u8..9, 0..200)) {
        let (message, _) = Message::decode_prefix(&bytes);
        prop_assert_eq!(Message::decode(&message.encode().unwrap()), Ok(message));
    }

    #[test]
    fn every_prefix_and_corruption_is_survived(message in arbitrary_message(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = message.encode().unwrap();
        for end in 0..bytes.len() {
            let _ = Message::decode_prefix(bytes.get(..end).unwrap_or_default());
        }
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = Message::decode_prefix(&bytes);
        }
    }
}
