//! Options as tables: which keys a section has, whether each is a scalar or a list, and what its text does.

use strongswan::log;
use vici::{Item, Message, Value};

use super::LoadError;
use super::value::{self, Invalid};

/// A scalar option of what `T` collects.
pub(super) struct ScalarOption<T> {
    pub(super) key: &'static str,
    pub(super) set: fn(&mut T, &str) -> Result<(), Invalid>,
}

/// A scalar option that is one field of the type `Draft` of the module that uses this.
macro_rules! field {
    ($key:literal, $($field:ident).+ = $read:expr) => {
        ScalarOption {
            key: $key,
            set: |draft: &mut Draft, text| {
                draft.$($field).+ = $read(text)?;
                Ok(())
            },
        }
    };
}
pub(super) use field;

/// A list option of what `T` collects; called once per item.
pub(super) struct ListOption<T> {
    pub(super) key: &'static str,
    pub(super) add: fn(&mut T, &[u8]) -> Result<(), LoadError>,
}

/// The options of a section.
pub(super) struct Options<T: 'static> {
    pub(super) scalars: &'static [ScalarOption<T>],
    pub(super) lists: &'static [ListOption<T>],
}

impl<T> Options<T> {
    /// Applies all elements of a section in order; its subsections go to `section`.
    pub(super) fn apply(
        &self,
        target: &mut T,
        message: &Message,
        mut section: impl FnMut(&mut T, &str, &Message) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        for item in message.items() {
            match item.value() {
                Value::Scalar(value) => self.scalar(target, item, value)?,
                Value::List(values) => self.list(target, item, values)?,
                Value::Section(message) => section(target, item.name(), message)?,
            }
        }
        Ok(())
    }

    fn scalar(&self, target: &mut T, item: &Item, value: &[u8]) -> Result<(), LoadError> {
        let key = item.name();
        let option = self.scalars.iter().find(|option| option.key == key);
        let option = option.ok_or_else(|| LoadError::UnknownOption(key.to_owned()))?;
        let set = value::text(value).and_then(|text| (option.set)(target, text));
        set.map_err(|reason| {
            log!(CFG, 1, "  {key}: {reason}");
            LoadError::InvalidValue(key.to_owned())
        })
    }

    fn list(&self, target: &mut T, item: &Item, values: &[Vec<u8>]) -> Result<(), LoadError> {
        let key = item.name();
        let option = self.lists.iter().find(|option| option.key == key);
        let option = option.ok_or_else(|| LoadError::UnknownOption(key.to_owned()))?;
        values.iter().try_for_each(|value| (option.add)(target, value))
    }
}

/// Makes the `add` of a list whose items are text: reads each with `read`, reporting `key` for those it refuses.
pub(super) fn text_item<V>(
    key: &'static str,
    value: &[u8],
    read: impl FnOnce(&str) -> Result<V, Invalid>,
) -> Result<V, LoadError> {
    value::text(value).and_then(read).map_err(|reason| {
        log!(CFG, 1, "  {key}: {reason}");
        LoadError::InvalidValue(key.to_owned())
    })
}
