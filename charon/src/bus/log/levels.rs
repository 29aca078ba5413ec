//! How much a logger wants to hear of each group.

use strongswan::log::Group;

/// Number of groups.
const GROUPS: usize = Group::ALL.len();

/// The highest level a logger hears, per group: −1 is silence, 0 audit, 1 control, 2 diagnostics, 3 raw data, 4 private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels([i8; GROUPS]);

impl Levels {
    /// Nothing at all.
    pub const SILENT: Self = Self([-1; GROUPS]);

    /// The same level for every group; what is out of range counts as the nearest level.
    pub fn all(level: i8) -> Self {
        Self([level.clamp(-1, 4); GROUPS])
    }

    /// Sets the level of one group.
    pub fn set(&mut self, group: Group, level: i8) {
        if let Some(entry) = self.0.get_mut(group.index()) {
            *entry = level.clamp(-1, 4);
        }
    }

    /// The level of one group.
    pub fn get(&self, group: Group) -> i8 {
        self.0.get(group.index()).copied().unwrap_or(-1)
    }

    /// Whether a line of this level is heard.
    pub fn hears(&self, group: Group, level: u8) -> bool {
        i8::try_from(level).is_ok_and(|level| level <= self.get(group))
    }

    /// For each group the higher of both levels.
    #[must_use]
    pub fn max(mut self, other: Self) -> Self {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            *mine = (*mine).max(other);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_per_group_and_bounded() {
        let mut levels = Levels::all(1);
        levels.set(Group::Ike, 9);
        levels.set(Group::Enc, -7);
        assert!(levels.hears(Group::Ike, 4));
        assert!(levels.hears(Group::Net, 1));
        assert!(!levels.hears(Group::Net, 2));
        assert!(!levels.hears(Group::Enc, 0));
        assert_eq!(Levels::SILENT.max(levels), levels);
    }
}
