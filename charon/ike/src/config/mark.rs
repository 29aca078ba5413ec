//! `mark_in`, `set_mark_out`, `if_id_in` …: values that may be fixed or allocated per SA.

use crate::ids::{IfId, Mark};

/// The value part of a mark option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkValue {
    /// A number.
    Fixed(u32),
    /// `%unique`: one value per CHILD_SA, the same in both directions.
    Unique,
    /// `%unique-dir`: one value per CHILD_SA and direction.
    UniqueDir,
}

/// `value[/mask]` of `mark_in` and `mark_out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkConfig {
    /// The value, before the mask is applied.
    pub value: MarkValue,
    /// The bits that count; 0 with value 0 means no mark.
    pub mask: u32,
}

impl MarkConfig {
    /// No mark.
    pub const NONE: Self = Self { value: MarkValue::Fixed(0), mask: 0 };

    /// A fixed mark; the value is limited to the mask.
    pub const fn fixed(value: u32, mask: u32) -> Self {
        Self { value: MarkValue::Fixed(value & mask), mask }
    }
}

impl Default for MarkConfig {
    fn default() -> Self {
        Self::NONE
    }
}

/// `set_mark_in`, `set_mark_out`: the mark packets get after processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetMark {
    /// Leave marks alone.
    #[default]
    None,
    /// A fixed mark.
    Fixed(Mark),
    /// `%same[/mask]`: the SA's own mark, limited to the mask.
    Same {
        /// The bits to set.
        mask: u32,
    },
}

/// `if_id_in`, `if_id_out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfIdConfig {
    /// A number, 0 for none (children inherit the connection's).
    Fixed(IfId),
    /// `%unique`: allocated, the same in both directions.
    Unique,
    /// `%unique-dir`: allocated per direction.
    UniqueDir,
}

impl Default for IfIdConfig {
    fn default() -> Self {
        Self::Fixed(IfId::NONE)
    }
}

impl IfIdConfig {
    /// Whether nothing is configured.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}
