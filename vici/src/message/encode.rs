//! Messages to bytes.

use super::{Message, Value, element, is_printable};

/// Why a message cannot be put on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A name is longer than its length byte can say.
    #[error("name of {0} bytes exceeds 255")]
    NameTooLong(usize),
    /// A name holds bytes outside 0x20..=0x7e.
    #[error("name {0:?} is not printable")]
    NameNotPrintable(String),
    /// A value is longer than its length field can say.
    #[error("value of '{name}' has {length} bytes, more than 65535")]
    ValueTooLong {
        /// Name of the scalar or list.
        name: String,
        /// Its length.
        length: usize,
    },
    /// The packet would exceed [`MAX_PACKET`](crate::MAX_PACKET).
    #[error("packet of {0} bytes exceeds 512 KiB")]
    PacketTooLong(usize),
}

impl Message {
    /// The message's bytes.
    ///
    /// # Errors
    /// If a name or a value exceeds what the format can express.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(self.encoded_len());
        self.encode_to(&mut out)?;
        Ok(out)
    }

    /// Bytes the message takes.
    pub(crate) fn encoded_len(&self) -> usize {
        let items = self.items().map(|item| {
            let value = match item.value() {
                Value::Scalar(value) => 2 + value.len(),
                Value::List(values) => 1 + values.iter().map(|value| 3 + value.len()).sum::<usize>(),
                Value::Section(section) => 1 + section.encoded_len(),
            };
            2 + item.name().len() + value
        });
        items.sum()
    }

    /// Appends the message's bytes to `out`; on failure `out` holds a part of them.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_to(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        for item in self.items() {
            match item.value() {
                Value::Scalar(value) => {
                    start(out, element::KEY_VALUE, item.name())?;
                    put_value(out, item.name(), value)?;
                }
                Value::List(values) => {
                    start(out, element::LIST_START, item.name())?;
                    for value in values {
                        out.push(element::LIST_ITEM);
                        put_value(out, item.name(), value)?;
                    }
                    out.push(element::LIST_END);
                }
                Value::Section(section) => {
                    start(out, element::SECTION_START, item.name())?;
                    section.encode_to(out)?;
                    out.push(element::SECTION_END);
                }
            }
        }
        Ok(())
    }
}

fn start(out: &mut Vec<u8>, kind: u8, name: &str) -> Result<(), EncodeError> {
    out.push(kind);
    put_name(out, name)
}

/// Appends a name behind its length byte.
pub(crate) fn put_name(out: &mut Vec<u8>, name: &str) -> Result<(), EncodeError> {
    let length = u8::try_from(name.len()).map_err(|_| EncodeError::NameTooLong(name.len()))?;
    if !is_printable(name.as_bytes()) {
        return Err(EncodeError::NameNotPrintable(name.to_owned()));
    }
    out.push(length);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

fn put_value(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), EncodeError> {
    let length = u16::try_from(value.len())
        .map_err(|_| EncodeError::ValueTooLong { name: name.to_owned(), length: value.len() })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}
