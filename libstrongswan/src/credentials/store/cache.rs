//! A bounded map that forgets what was not asked for lately.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations: what is used moves to the young one, and when that is full, the old one goes. It holds between
/// half of its capacity and all of it, and every operation takes constant time.
pub(in crate::credentials) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    pub(in crate::credentials) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation: capacity.div_ceil(2) }
    }

    pub(in crate::credentials) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(in crate::credentials) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(in crate::credentials) fn values(&self) -> impl Iterator<Item = &V> {
        self.young.values().chain(self.old.values())
    }

    pub(in crate::credentials) fn clear(&mut self) {
        self.young = HashMap::new();
        self.old = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_stays_small() {
        let mut cache = Cache::new(8);
        for number in 0..1000 {
            cache.insert(number, number);
            assert_eq!(cache.get(&0), Some(0), "{number}");
            assert!(cache.values().count() <= 8);
        }
        assert_eq!(cache.get(&999), Some(999));
        assert_eq!(cache.get(&500), None);
        cache.clear();
        assert_eq!(cache.get(&0), None);
    }
}
