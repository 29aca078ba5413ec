//! Messages: ordered trees of scalars, lists and sections.
//!
//! A [`Message`] keeps its elements in the order they were sent, duplicates included. It is built with
//! [`push`](Message::push) and its relatives (or their chaining forms [`with`](Message::with)), encoded with
//! [`encode`](Message::encode) and read in one of two ways: *flat*, by asking for the first scalar of a name
//! ([`str`](Message::str), [`int`](Message::int), [`bool`](Message::bool)), or *structured*, by walking
//! [`items`](Message::items). A section is itself a [`Message`].
//!
//! ```
//! use vici::Message;
//!
//! let mut child = Message::new();
//! child.push("mode", "tunnel").push_list("local_ts", ["10.0.0.0/24"]);
//! let request = Message::new().with_section("gw", Message::new().with_section("children", Message::new().with_section("net", child)));
//! let bytes = request.encode()?;
//! assert_eq!(Message::decode(&bytes).ok(), Some(request));
//! # Ok::<(), vici::EncodeError>(())
//! ```

mod decode;
pub(crate) mod encode;
mod lookup;

use std::borrow::Cow;
use std::fmt;

pub use decode::{DecodeError, MAX_DEPTH};
pub use encode::EncodeError;
pub use lookup::CommandFailed;
use zeroize::Zeroize;

/// Element types on the wire.
mod element {
    pub(super) const SECTION_START: u8 = 1;
    pub(super) const SECTION_END: u8 = 2;
    pub(super) const KEY_VALUE: u8 = 3;
    pub(super) const LIST_START: u8 = 4;
    pub(super) const LIST_ITEM: u8 = 5;
    pub(super) const LIST_END: u8 = 6;
    /// Never sent; ends a message where it appears at root level.
    pub(super) const END: u8 = 7;
}

/// Whether all bytes are printable ASCII, as names must be and most textual values are.
pub fn is_printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| (0x20..=0x7e).contains(b))
}

/// A value as text: UTF-8 without control characters. strongSwan takes ASCII only, but people's names are not.
pub fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

/// A message, or the contents of a section: elements in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    items: Vec<Item>,
}

/// One named element of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    name: Cow<'static, str>,
    value: Value,
}

/// What an element holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A single value: text or arbitrary bytes.
    Scalar(Vec<u8>),
    /// A list of values, possibly empty.
    List(Vec<Vec<u8>>),
    /// Nested elements.
    Section(Message),
}

impl Drop for Value {
    /// Values may be private keys and shared secrets.
    fn drop(&mut self) {
        match self {
            Self::Scalar(value) => value.zeroize(),
            Self::List(values) => values.zeroize(),
            Self::Section(_) => {}
        }
    }
}

impl Item {
    /// Name of the element.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Contents of the element.
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl Message {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// The elements in order.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// Number of elements at this level.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends a scalar.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Scalar) -> &mut Self {
        self.push_value(name, Value::Scalar(value.into_bytes()))
    }

    /// Appends a scalar if there is one.
    pub fn push_some(&mut self, name: impl Into<Cow<'static, str>>, value: Option<impl Scalar>) -> &mut Self {
        match value {
            Some(value) => self.push(name, value),
            None => self,
        }
    }

    /// Appends a list.
    pub fn push_list<I>(&mut self, name: impl Into<Cow<'static, str>>, items: I) -> &mut Self
    where
        I: IntoIterator,
        I::Item: Scalar,
    {
        let items = items.into_iter().map(Scalar::into_bytes).collect();
        self.push_value(name, Value::List(items))
    }

    /// Appends a section.
    pub fn push_section(&mut self, name: impl Into<Cow<'static, str>>, section: Self) -> &mut Self {
        self.push_value(name, Value::Section(section))
    }

    /// Appends an element of any kind.
    pub fn push_value(&mut self, name: impl Into<Cow<'static, str>>, value: Value) -> &mut Self {
        self.items.push(Item { name: name.into(), value });
        self
    }

    /// Appends all elements of another message at this level.
    pub fn append(&mut self, mut other: Self) -> &mut Self {
        self.items.append(&mut other.items);
        self
    }

    /// [`push`](Self::push) for chaining.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Scalar) -> Self {
        self.push(name, value);
        self
    }

    /// [`push_list`](Self::push_list) for chaining.
    #[must_use]
    pub fn with_list<I>(mut self, name: impl Into<Cow<'static, str>>, items: I) -> Self
    where
        I: IntoIterator,
        I::Item: Scalar,
    {
        self.push_list(name, items);
        self
    }

    /// [`push_section`](Self::push_section) for chaining.
    #[must_use]
    pub fn with_section(mut self, name: impl Into<Cow<'static, str>>, section: Self) -> Self {
        self.push_section(name, section);
        self
    }
}

impl fmt::Debug for Message {
    /// Shows structure and sizes only: values may be private keys and shared secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.items.iter().map(|item| (&item.name, &item.value))).finish()
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.name, self.value)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(value) => write!(f, "<{} bytes>", value.len()),
            Self::List(items) => write!(f, "[{} items]", items.len()),
            Self::Section(section) => section.fmt(f),
        }
    }
}

/// What can be the value of a scalar or a list item.
///
/// Numbers become decimal text, booleans `yes` and `no`; [`format_args!`] avoids an intermediate string.
pub trait Scalar {
    /// The bytes to send.
    fn into_bytes(self) -> Vec<u8>;
}

impl Scalar for Vec<u8> {
    fn into_bytes(self) -> Vec<u8> {
        self
    }
}

impl Scalar for String {
    fn into_bytes(self) -> Vec<u8> {
        Self::into_bytes(self)
    }
}

impl Scalar for bool {
    fn into_bytes(self) -> Vec<u8> {
        (if self { "yes" } else { "no" }).into_bytes()
    }
}

impl Scalar for Cow<'_, str> {
    fn into_bytes(self) -> Vec<u8> {
        self.into_owned().into_bytes()
    }
}

impl Scalar for fmt::Arguments<'_> {
    fn into_bytes(self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

macro_rules! copied {
    ($($type:ty)*) => { $(impl Scalar for $type {
        fn into_bytes(self) -> Vec<u8> {
            AsRef::<[u8]>::as_ref(self).to_vec()
        }
    })* };
}
copied!(&str &String &[u8] &Vec<u8>);

macro_rules! printed {
    ($($type:ty)*) => { $(impl Scalar for $type {
        fn into_bytes(self) -> Vec<u8> {
            self.to_string().into_bytes()
        }
    })* };
}
printed!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

#[cfg(test)]
mod tests;
