//! Reading a message: flat lookup with the protocol's conversions, and access to lists and sections by name.

use super::{Message, Value, text};
use crate::number;

/// Longest integer text looked at.
const INT_DIGITS: usize = 31;

/// A command answered `success = no`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{errmsg}")]
pub struct CommandFailed {
    /// The daemon's explanation.
    pub errmsg: String,
}

impl Message {
    /// The first element of that name, of whatever kind.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.items().find(|item| item.name() == name).map(|item| item.value())
    }

    /// The first scalar of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.scalars().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The first scalar of that name, if it is [`text`].
    pub fn str(&self, name: &str) -> Option<&str> {
        text(self.get(name)?)
    }

    /// The first scalar of that name as an integer; `None` if absent or not entirely a number.
    pub fn int(&self, name: &str) -> Option<i64> {
        let text = self.str(name)?;
        number::signed(text.get(..INT_DIGITS).unwrap_or(text))
    }

    /// The first scalar of that name as a boolean (`1 yes true enabled`, `0 no false disabled`).
    pub fn bool(&self, name: &str) -> Option<bool> {
        parse_bool(self.str(name)?)
    }

    /// Whether a scalar of that name is given with any printable value, even `no`.
    pub fn flag(&self, name: &str) -> bool {
        self.str(name).is_some()
    }

    /// The items of the first list of that name; empty if there is none.
    pub fn list(&self, name: &str) -> &[Vec<u8>] {
        self.items()
            .find_map(|item| match item.value() {
                Value::List(items) if item.name() == name => Some(items.as_slice()),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// The items of the first list of that name that are [`text`].
    pub fn strs(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list(name).iter().filter_map(|value| text(value))
    }

    /// The first section of that name.
    pub fn section(&self, name: &str) -> Option<&Self> {
        self.sections().find(|(key, _)| *key == name).map(|(_, section)| section)
    }

    /// All scalars of this level with their names, in order.
    pub fn scalars(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.items().filter_map(|item| match item.value() {
            Value::Scalar(value) => Some((item.name(), value.as_slice())),
            _ => None,
        })
    }

    /// All sections of this level with their names, in order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.items().filter_map(|item| match item.value() {
            Value::Section(section) => Some((item.name(), section)),
            _ => None,
        })
    }

    /// Judges an answer that carries `success`: the message itself, or the daemon's `errmsg`.
    ///
    /// Pure queries answer without `success`; they count as successful.
    ///
    /// # Errors
    /// If `success` is given and not `yes`.
    pub fn into_result(self) -> Result<Self, CommandFailed> {
        match self.get("success") {
            None | Some(b"yes") => Ok(self),
            Some(_) => {
                let errmsg = self.get("errmsg").map(|text| String::from_utf8_lossy(text).into_owned());
                Err(CommandFailed { errmsg: errmsg.unwrap_or_else(|| "no reason given".to_owned()) })
            }
        }
    }

    /// The answer `success = yes`.
    pub fn success() -> Self {
        Self::new().with("success", true)
    }

    /// The answer `success = no` with an explanation.
    pub fn failure(errmsg: impl super::Scalar) -> Self {
        Self::new().with("success", false).with("errmsg", errmsg)
    }
}

/// A boolean as vici and the configuration files write it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match () {
        () if is(["1", "yes", "true", "enabled"]) => Some(true),
        () if is(["0", "no", "false", "disabled"]) => Some(false),
        () => None,
    }
}
