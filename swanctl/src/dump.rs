//! `--raw`, `--pretty` and `--json`: messages as they are.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};
use vici::message::is_printable;
use vici::{Message, Value};

/// One line: `label {key=value list=[a b] section {…}}`.
pub(crate) fn raw(label: &str, message: &Message) -> String {
    let mut text = format!("{label} {{");
    raw_elements(&mut text, message);
    text.push('}');
    text
}

fn raw_elements(text: &mut String, message: &Message) {
    for (index, item) in message.items().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(item.name());
        match item.value() {
            Value::Scalar(value) => {
                text.push('=');
                push_value(text, value);
            }
            Value::List(items) => {
                text.push_str("=[");
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(' ');
                    }
                    push_value(text, item);
                }
                text.push(']');
            }
            Value::Section(section) => {
                text.push_str(" {");
                raw_elements(text, section);
                text.push('}');
            }
        }
    }
}

/// One element a line, indented by two blanks per level.
pub(crate) fn pretty(label: &str, message: &Message) -> String {
    let mut text = format!("{label} {{\n");
    pretty_elements(&mut text, message, 1);
    text.push('}');
    text
}

fn pretty_elements(text: &mut String, message: &Message, depth: usize) {
    let indent = "  ".repeat(depth);
    for item in message.items() {
        text.push_str(&indent);
        text.push_str(item.name());
        match item.value() {
            Value::Scalar(value) => {
                text.push_str(" = ");
                push_value(text, value);
            }
            Value::List(items) => {
                text.push_str(" = [\n");
                for item in items {
                    text.push_str(&indent);
                    text.push_str("  ");
                    push_value(text, item);
                    text.push('\n');
                }
                text.push_str(&indent);
                text.push(']');
            }
            Value::Section(section) => {
                text.push_str(" {\n");
                pretty_elements(text, section, depth + 1);
                text.push_str(&indent);
                text.push('}');
            }
        }
        text.push('\n');
    }
}

fn push_value(text: &mut String, value: &[u8]) {
    match std::str::from_utf8(value) {
        Ok(printable) if is_printable(value) => text.push_str(printable),
        _ => {
            text.push_str("0x");
            for byte in value {
                // Writing to a string does not fail.
                let _ = write!(text, "{byte:02x}");
            }
        }
    }
}

/// Keys whose values are decimal numbers.
const NUMBERS: &[&str] = &[
    "uniqueid",
    "version",
    "local-port",
    "remote-port",
    "encr-keysize",
    "integ-keysize",
    "established",
    "rekey-time",
    "reauth-time",
    "life-time",
    "install-time",
    "reqid",
    "bytes-in",
    "bytes-out",
    "packets-in",
    "packets-out",
    "use-in",
    "use-out",
    "cpu",
    "local_port",
    "remote_port",
    "reauth_time",
    "rekey_time",
    "dpd_delay",
    "dpd_timeout",
    "rekey_bytes",
    "rekey_packets",
    "priority",
    "total",
    "idle",
    "critical",
    "high",
    "medium",
    "low",
    "scheduled",
    "half-open",
    "size",
    "online",
    "offline",
    "level",
    "thread",
    "eap-vendor",
    "matches",
    "terminated",
    "sbrk",
    "mmap",
    "used",
    "free",
    "allocs",
];

/// Keys whose values are `yes` or `no`.
const TRUTHS: &[&str] = &[
    "initiator",
    "nat-local",
    "nat-remote",
    "nat-fake",
    "nat-any",
    "ppk",
    "encap",
    "per-cpu-sas",
    "esn",
    "up",
    "success",
    "ppk_required",
    "has_privkey",
];

/// A message as a JSON object. Numbers and truth values get their JSON types; what is not printable is `0x` and
/// hexadecimal digits.
pub(crate) fn json(message: &Message) -> Json {
    let mut object = Map::new();
    for item in message.items() {
        let value = match item.value() {
            Value::Scalar(value) => json_scalar(item.name(), value),
            Value::List(items) => items.iter().map(|item| json_text(item)).collect(),
            Value::Section(section) if item.name() == "child-sas" => named(section),
            Value::Section(section) => json(section),
        };
        object.insert(item.name().to_owned(), value);
    }
    Json::Object(object)
}

/// The sections of a message as an array of objects, each with its `name`.
pub(crate) fn named(message: &Message) -> Json {
    message
        .sections()
        .map(|(name, section)| {
            let mut object = Map::new();
            object.insert("name".to_owned(), Json::from(name));
            if let Json::Object(fields) = json(section) {
                for (key, value) in fields {
                    // A CHILD_SA has a name of its own, which is better than that of its section.
                    object.insert(key, value);
                }
            }
            Json::Object(object)
        })
        .collect()
}

fn json_scalar(name: &str, value: &[u8]) -> Json {
    let text = std::str::from_utf8(value).unwrap_or_default();
    if TRUTHS.contains(&name) {
        match text {
            "yes" | "1" => return Json::from(true),
            "no" | "0" => return Json::from(false),
            _ => (),
        }
    }
    if NUMBERS.contains(&name)
        && let Ok(number) = text.parse::<i64>()
    {
        return Json::from(number);
    }
    json_text(value)
}

fn json_text(value: &[u8]) -> Json {
    let mut text = String::new();
    push_value(&mut text, value);
    Json::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Message {
        let inner = Message::new().with("uniqueid", 3_u32).with_list("ts", ["a", "b"]).with("blob", &[0_u8, 255][..]);
        Message::new().with("k", "v").with_list("empty", Vec::<String>::new()).with_section("gw", inner)
    }

    #[test]
    fn layouts() {
        assert_eq!(raw("list-sas reply", &Message::new()), "list-sas reply {}");
        assert_eq!(pretty("list-sas reply", &Message::new()), "list-sas reply {\n}");
        assert_eq!(raw("x", &example()), "x {k=v empty=[] gw {uniqueid=3 ts=[a b] blob=0x00ff}}");
        assert_eq!(
            pretty("x", &example()),
            "x {\n  k = v\n  empty = [\n  ]\n  gw {\n    uniqueid = 3\n    ts = [\n      a\n      b\n    ]\n    blob = 0x00ff\n  }\n}"
        );
        let nameless = Message::new().with_section("", Message::new().with("ike-rekey-init", 0_u32));
        assert_eq!(raw("counters", &nameless), "counters { {ike-rekey-init=0}}");
    }

    #[test]
    fn json_has_types() {
        assert_eq!(
            json(&example()).to_string(),
            r#"{"k":"v","empty":[],"gw":{"uniqueid":3,"ts":["a","b"],"blob":"0x00ff"}}"#
        );
        let children = Message::new()
            .with_section("net-1", Message::new().with("name", "net").with("encap", "yes").with("spi-in", "00000012"));
        let sa = Message::new().with_section("gw", Message::new().with_section("child-sas", children));
        assert_eq!(
            named(&sa).to_string(),
            r#"[{"name":"gw","child-sas":[{"name":"net","encap":true,"spi-in":"00000012"}]}]"#
        );
    }
}
