//! What this kernel's XFRM can do, by version: there is no other way to ask.

use nix::sys::utsname::uname;

/// A version of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl Version {
    /// The running kernel's. One that does not tell counts as old.
    pub(super) fn running() -> Self {
        uname().ok().and_then(|name| Self::parse(name.release().to_str()?)).unwrap_or(Self(0, 0))
    }

    /// Reads the start of a release such as `6.1.176` or `6.18.0-rc1`.
    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// SAs have a direction.
    pub(super) fn has_sa_direction(self) -> bool {
        self >= Self(6, 10)
    }

    /// SAs know when they were last used.
    pub(super) fn has_sa_use_time(self) -> bool {
        self >= Self(6, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(Version::parse("6.1.176"), Some(Version(6, 1)));
        assert_eq!(Version::parse("6.18-rc1+"), Some(Version(6, 18)));
        assert_eq!(Version::parse("unknown"), None);
        assert!(
            !Version(6, 9).has_sa_direction() && Version(6, 10).has_sa_direction() && Version(7, 0).has_sa_direction()
        );
        assert!(!Version(5, 15).has_sa_use_time() && Version(6, 2).has_sa_use_time());
        assert!(Version::running() > Version(3, 0));
    }
}
