//! The macro behind every IANA registry of this workspace: one table per registry, read in all directions.
//!
//! A row is a number, a variant, the name printed in logs and on vici, and optionally the proposal keywords grouped by
//! the key size they stand for. Values without a row survive as `Unknown(raw)`.

/// Declares a registry enum.
///
/// ```
/// strongswan::registry! {
///     /// Fruit transforms.
///     pub enum Fruit: u16 {
///         1 => Apple, "APPLE";
///         2 => Pear, "PEAR", 0: ["pear"], 128: ["pear128", "bigpear"];
///     }
/// }
/// assert_eq!(Fruit::from(1), Fruit::Apple);
/// assert_eq!(u16::from(Fruit::Unknown(77)), 77);
/// assert_eq!(Fruit::Pear.to_string(), "PEAR");
/// assert_eq!(Fruit::Unknown(77).to_string(), "(77)");
/// assert_eq!(Fruit::from_keyword("bigpear"), Some((Fruit::Pear, Some(128))));
/// assert_eq!(Fruit::from_keyword("pear"), Some((Fruit::Pear, None)));
/// ```
///
/// The type implements `From` in both directions, `Display` (unknown values as `(number)`), `name()`, the slices `ALL`
/// and `KEYWORDS`, and `from_keyword()`. A key size of 0 in the table means that no key size is negotiated.
#[macro_export]
macro_rules! registry {
    (
        $(#[$meta:meta])*
        $vis:vis enum $type:ident: $raw:ty {
            $( $number:literal => $variant:ident, $name:literal $(, $size:literal: [$($keyword:literal),+])*; )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $type {
            $(
                #[doc = concat!($name, " (", $number, ")")]
                $variant,
            )+
            /// A value without an entry in the table.
            Unknown($raw),
        }

        #[allow(dead_code, reason = "not every registry needs every direction")]
        impl $type {
            /// All known values, in the order of the table.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Keyword, value, key size in bits.
            $vis const KEYWORDS: &'static [(&'static str, Self, Option<u16>)] =
                &[$($($(($keyword, Self::$variant, if $size == 0 { None } else { Some($size) }),)+)*)+];

            /// The name used in logs and on vici; `None` if the value is not in the table.
            $vis const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)+
                    Self::Unknown(_) => None,
                }
            }

            /// What a proposal keyword stands for, with its key size. Keywords are case-sensitive.
            $vis fn from_keyword(keyword: &str) -> Option<(Self, Option<u16>)> {
                Self::KEYWORDS.iter().find(|row| row.0 == keyword).map(|row| (row.1, row.2))
            }
        }

        impl From<$raw> for $type {
            fn from(raw: $raw) -> Self {
                match raw {
                    $($number => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }
        }

        impl From<$type> for $raw {
            fn from(value: $type) -> Self {
                match value {
                    $($type::$variant => $number,)+
                    $type::Unknown(raw) => raw,
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    Self::Unknown(raw) => write!(f, "({raw})"),
                    known => f.pad(known.name().unwrap_or_default()),
                }
            }
        }
    };
}
