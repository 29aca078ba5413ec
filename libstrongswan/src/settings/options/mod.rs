//! Every option of `strongswan.conf` and `swanctl.conf` in one table: name, type, default, description.
//!
//! The default configuration in `conf.d/` is generated from it ([`files`]), and [`check`] finds the keys of a
//! configuration that nobody reads and the values that nobody can use.
//!
//! Names are dotted paths. A component may be `<name>`, which stands for any one, `name*`, which stands for any that
//! begins so, or a final `**`, which stands for everything below.

mod check;
mod daemon;
mod files;
mod logging;
mod plugins;
mod programs;
mod reference;
mod suggest;
mod swanctl;
mod tree;
mod values;

pub use check::{Finding, Problem, check};
pub use files::{File, default_files};
pub use reference::reference;
pub use suggest::nearest;
pub use tree::Registry;
pub use values::{Kind, ValueError, items};

/// What happens with an option that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does what its description says.
    Live,
    /// It is known, and does nothing here, for the reason given.
    None(&'static str),
    /// Another program reads it from the same file.
    Foreign,
}

/// One option, or the section that holds a group of them.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Dotted path below the prefix of its group.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// The default as one would write it; empty if there is none.
    pub default: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Whether setting it does anything.
    pub effect: Effect,
    /// Whether the default configuration sets it instead of showing it in a comment.
    pub shipped: bool,
}

impl OptionSpec {
    const fn new(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> Self {
        Self { name, kind, default, description, effect: Effect::Live, shipped: false }
    }

    const fn inert(mut self, reason: &'static str) -> Self {
        self.effect = Effect::None(reason);
        self
    }

    const fn shipped(mut self) -> Self {
        self.shipped = true;
        self
    }
}

/// Options below one path that belong together, and the file of the default configuration that shows them.
#[derive(Debug)]
pub struct Group {
    /// Path that the names are relative to.
    pub prefix: &'static str,
    /// File below `conf.d/`; empty if the group is not shown.
    pub file: &'static str,
    /// The options, in the order in which they are shown.
    pub options: &'static [OptionSpec],
}

/// The options of strongswan.conf.
pub fn strongswan_conf() -> &'static Registry {
    static REGISTRY: std::sync::OnceLock<Registry> = std::sync::OnceLock::new();
    REGISTRY.get_or_init(|| Registry::new([daemon::GROUPS, logging::GROUPS, plugins::GROUPS, programs::GROUPS]))
}

/// The options of swanctl.conf.
pub fn swanctl_conf() -> &'static Registry {
    static REGISTRY: std::sync::OnceLock<Registry> = std::sync::OnceLock::new();
    REGISTRY.get_or_init(|| Registry::new([swanctl::GROUPS]))
}

const fn bool(name: &'static str, default: &'static str, description: &'static str) -> OptionSpec {
    OptionSpec::new(name, Kind::Bool, default, description)
}

const fn int(name: &'static str, default: &'static str, description: &'static str) -> OptionSpec {
    OptionSpec::new(name, Kind::Int { min: 0, max: 0xffff_ffff }, default, description)
}

const fn range(name: &'static str, min: i64, max: i64, default: &'static str, description: &'static str) -> OptionSpec {
    OptionSpec::new(name, Kind::Int { min, max }, default, description)
}

const fn time(name: &'static str, default: &'static str, description: &'static str) -> OptionSpec {
    OptionSpec::new(name, Kind::Time, default, description)
}

const fn float(name: &'static str, default: &'static str, description: &'static str) -> OptionSpec {
    OptionSpec::new(name, Kind::Float, default, description)
}

const fn text(name: &'static str, default: &'static str, description: &'static str) -> OptionSpec {
    OptionSpec::new(name, Kind::Text, default, description)
}

const fn choice(
    name: &'static str,
    words: &'static [&'static str],
    default: &'static str,
    description: &'static str,
) -> OptionSpec {
    OptionSpec::new(name, Kind::Choice(words), default, description)
}

const fn section(name: &'static str, description: &'static str) -> OptionSpec {
    OptionSpec::new(name, Kind::Section, "", description)
}

const fn other(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> OptionSpec {
    OptionSpec::new(name, kind, default, description)
}

/// Everything below a path, left alone.
const fn foreign(name: &'static str, description: &'static str) -> OptionSpec {
    let mut option = OptionSpec::new(name, Kind::Anything, "", description);
    option.effect = Effect::Foreign;
    option
}

#[cfg(test)]
mod tests;
