//! Bytes to messages, with the validity rules of the protocol.
//!
//! Those rules are lenient where strongSwan's parser is, since clients have come to rely on it: sections and lists still
//! open at the end of the data are taken as closed, an element of type 7 at root level ends the message. One rule is
//! stricter: nesting is bounded by [`MAX_DEPTH`], where strongSwan's parser has no tree to overflow.

use super::{Item, Message, Value, element, is_printable};

/// Deepest nesting of sections accepted. Four levels are in use; the bound keeps walking and dropping a tree, which
/// recurse, within any stack.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are not a message. `at` is the offset of the offending element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A length points past the end.
    #[error("element at byte {at} is truncated")]
    Truncated {
        /// Offset of the element.
        at: usize,
    },
    /// A name holds bytes outside 0x20..=0x7e.
    #[error("name of element at byte {at} is not printable")]
    NameNotPrintable {
        /// Offset of the element.
        at: usize,
    },
    /// Something other than an item or the list's end inside a list.
    #[error("element of type {kind} at byte {at} inside a list")]
    InsideList {
        /// Offset of the element.
        at: usize,
        /// Its type.
        kind: u8,
    },
    /// A list item or list end where no list is open.
    #[error("list element at byte {at} outside a list")]
    OutsideList {
        /// Offset of the element.
        at: usize,
    },
    /// A section end where no section is open.
    #[error("section end at byte {at} without a section")]
    OutsideSection {
        /// Offset of the element.
        at: usize,
    },
    /// An element type that does not exist, or not here.
    #[error("unknown element type {kind} at byte {at}")]
    UnknownElement {
        /// Offset of the element.
        at: usize,
        /// Its type.
        kind: u8,
    },
    /// Sections nest deeper than [`MAX_DEPTH`].
    #[error("section at byte {at} is nested too deeply")]
    TooDeep {
        /// Offset of the element.
        at: usize,
    },
}

impl Message {
    /// Parses a message.
    ///
    /// # Errors
    /// If any element is malformed or not allowed where it stands.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match Self::decode_prefix(bytes) {
            (message, None) => Ok(message),
            (_, Some(error)) => Err(error),
        }
    }

    /// Parses as much as is well-formed: the elements before the first error, and that error.
    ///
    /// This serves commands that look single keys up: such a key counts if it stands before the error.
    pub fn decode_prefix(bytes: &[u8]) -> (Self, Option<DecodeError>) {
        let mut decoder = Decoder { input: Input { bytes, at: 0 }, open: Vec::new(), current: Self::new(), list: None };
        let error = decoder.run().err();
        (decoder.finish(), error)
    }
}

struct Decoder<'a> {
    input: Input<'a>,
    /// Sections around the current one: the section's name, and what was parsed before it.
    open: Vec<(String, Message)>,
    current: Message,
    list: Option<(String, Vec<Vec<u8>>)>,
}

impl Decoder<'_> {
    fn run(&mut self) -> Result<(), DecodeError> {
        loop {
            let at = self.input.at;
            let Some(kind) = self.input.next() else { return Ok(()) };
            if self.list.is_some() {
                self.list_element(at, kind)?;
                continue;
            }
            match kind {
                element::SECTION_START => {
                    let name = self.input.name(at)?;
                    if self.open.len() >= MAX_DEPTH {
                        return Err(DecodeError::TooDeep { at });
                    }
                    self.open.push((name, std::mem::take(&mut self.current)));
                }
                element::SECTION_END if !self.close_section() => return Err(DecodeError::OutsideSection { at }),
                element::SECTION_END => {}
                element::KEY_VALUE => {
                    let name = self.input.name(at)?;
                    let value = self.input.value(at)?.to_vec();
                    self.current.push(name, value);
                }
                element::LIST_START => self.list = Some((self.input.name(at)?, Vec::new())),
                element::LIST_ITEM | element::LIST_END => return Err(DecodeError::OutsideList { at }),
                element::END if self.open.is_empty() => return Ok(()),
                kind => return Err(DecodeError::UnknownElement { at, kind }),
            }
        }
    }

    fn list_element(&mut self, at: usize, kind: u8) -> Result<(), DecodeError> {
        match kind {
            element::LIST_ITEM => {
                let value = self.input.value(at)?.to_vec();
                if let Some((_, items)) = &mut self.list {
                    items.push(value);
                }
                Ok(())
            }
            element::LIST_END => {
                self.close_list();
                Ok(())
            }
            kind => Err(DecodeError::InsideList { at, kind }),
        }
    }

    fn close_list(&mut self) {
        if let Some((name, items)) = self.list.take() {
            self.current.items.push(Item { name: name.into(), value: Value::List(items) });
        }
    }

    fn close_section(&mut self) -> bool {
        let Some((name, outer)) = self.open.pop() else { return false };
        let section = std::mem::replace(&mut self.current, outer);
        self.current.push_section(name, section);
        true
    }

    fn finish(mut self) -> Message {
        self.close_list();
        while self.close_section() {}
        self.current
    }
}

/// A cursor that can run out, never past the end.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn name(&mut self, at: usize) -> Result<String, DecodeError> {
        let length = self.next().ok_or(DecodeError::Truncated { at })?;
        let name = self.take(usize::from(length)).ok_or(DecodeError::Truncated { at })?;
        if !is_printable(name) {
            return Err(DecodeError::NameNotPrintable { at });
        }
        String::from_utf8(name.to_vec()).map_err(|_| DecodeError::NameNotPrintable { at })
    }

    fn value(&mut self, at: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.take(2).and_then(|l| <[u8; 2]>::try_from(l).ok()).ok_or(DecodeError::Truncated { at })?;
        self.take(usize::from(u16::from_be_bytes(length))).ok_or(DecodeError::Truncated { at })
    }
}
