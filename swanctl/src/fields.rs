//! Reading values for human eyes: only printable ones, `(null)` for what a layout needs and the message lacks.

use vici::Message;

/// A value that the layout cannot do without.
pub(crate) fn needed<'a>(message: &'a Message, name: &str) -> &'a str {
    message.str(name).unwrap_or("(null)")
}

/// The items of a list, joined by one blank.
pub(crate) fn joined(message: &Message, name: &str) -> String {
    message.strs(name).collect::<Vec<_>>().join(" ")
}

/// Whether there is a list of that name, be it empty.
pub(crate) fn has_list(message: &Message, name: &str) -> bool {
    matches!(message.value(name), Some(vici::Value::List(_)))
}

/// A number, 0 if there is none.
pub(crate) fn number(message: &Message, name: &str) -> i64 {
    message.int(name).unwrap_or(0)
}

/// ` <prefix><value>` of a value that may be missing.
pub(crate) fn optional(message: &Message, name: &str, show: impl FnOnce(&str) -> String) -> String {
    message.str(name).map(show).unwrap_or_default()
}

/// A security label, sent as the hexadecimal of a text that ends in NUL.
pub(crate) fn label(message: &Message) -> Option<String> {
    let bytes = hex::decode(message.str("label")?).ok()?;
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    String::from_utf8(bytes.to_vec()).ok()
}
