//! A priority queue of deadlines whose entries can be cancelled and moved: an indexed 4-ary heap.
//!
//! Entries live in slots that are reused; the heap holds (deadline, slot), so comparisons touch no slot. A [`TimerId`] names a
//! slot and its generation, and a stale one is recognised. All operations are O(log n); a million timers take about 40 MB.

use crate::clock::MonoTime;

/// Children per node: shallower than a binary heap, and siblings share a cache line.
const ARITY: usize = 4;

/// Name of a pending timer. Once it has fired or was cancelled the name is void and names nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Node {
    at: MonoTime,
    slot: u32,
}

struct Slot<T> {
    generation: u32,
    /// Index in the heap; of no meaning while `value` is `None`.
    position: u32,
    value: Option<T>,
}

/// Pending timers with a value each.
pub(super) struct Timers<T> {
    heap: Vec<Node>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Timers<T> {
    pub(super) const fn new() -> Self {
        Self { heap: Vec::new(), slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The earliest deadline.
    pub(super) fn earliest(&self) -> Option<MonoTime> {
        self.heap.first().map(|node| node.at)
    }

    /// Adds a timer. If all 2^32 slots are in use the value comes back.
    pub(super) fn insert(&mut self, at: MonoTime, value: T) -> Result<TimerId, T> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let Ok(slot) = u32::try_from(self.slots.len()) else { return Err(value) };
                self.slots.push(Slot { generation: 0, position: 0, value: None });
                slot
            }
        };
        let Some(entry) = slot_mut(&mut self.slots, slot) else { return Err(value) };
        entry.value = Some(value);
        let id = TimerId { slot, generation: entry.generation };
        let position = self.heap.len();
        self.heap.push(Node { at, slot });
        self.sift_up(position);
        Ok(id)
    }

    /// Takes a timer out; `None` if it has fired or was cancelled.
    pub(super) fn cancel(&mut self, id: TimerId) -> Option<T> {
        let position = self.position(id)?;
        self.remove(position).map(|(_, value)| value)
    }

    /// Gives a timer another deadline; `false` if it has fired or was cancelled.
    pub(super) fn reschedule(&mut self, id: TimerId, at: MonoTime) -> bool {
        let Some(position) = self.position(id) else { return false };
        let Some(node) = self.heap.get_mut(position) else { return false };
        node.at = at;
        self.restore(position);
        true
    }

    /// Takes the earliest timer out if its deadline has come.
    pub(super) fn pop_due(&mut self, now: MonoTime) -> Option<T> {
        if self.earliest()? > now {
            return None;
        }
        self.remove(0).map(|(_, value)| value)
    }

    /// Takes all timers out, in no order.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.heap.clear();
        self.free.clear();
        self.slots.drain(..).filter_map(|slot| slot.value).collect()
    }

    fn position(&self, id: TimerId) -> Option<usize> {
        let slot = self.slots.get(usize::try_from(id.slot).ok()?)?;
        let live = slot.generation == id.generation && slot.value.is_some();
        if live { usize::try_from(slot.position).ok() } else { None }
    }

    fn remove(&mut self, position: usize) -> Option<(MonoTime, T)> {
        if position >= self.heap.len() {
            return None;
        }
        let node = self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.restore(position);
        }
        let slot = slot_mut(&mut self.slots, node.slot)?;
        slot.generation = slot.generation.wrapping_add(1);
        let value = slot.value.take()?;
        self.free.push(node.slot);
        Some((node.at, value))
    }

    /// Moves the node at `position` to where it belongs and notes where that is.
    fn restore(&mut self, position: usize) {
        if self.sift_up(position) == position {
            self.sift_down(position);
        }
    }

    fn sift_up(&mut self, mut position: usize) -> usize {
        let Some(node) = self.heap.get(position).copied() else { return position };
        while position > 0 {
            let parent = (position - 1) / ARITY;
            match self.heap.get(parent).copied() {
                Some(above) if above.at > node.at => self.place(position, above),
                _ => break,
            }
            position = parent;
        }
        self.place(position, node);
        position
    }

    fn sift_down(&mut self, mut position: usize) {
        let Some(node) = self.heap.get(position).copied() else { return };
        loop {
            let first = position * ARITY + 1;
            let children = self.heap.iter().enumerate().skip(first).take(ARITY);
            match children.min_by_key(|(_, child)| child.at).map(|(at, child)| (at, *child)) {
                Some((below, child)) if child.at < node.at => {
                    self.place(position, child);
                    position = below;
                }
                _ => break,
            }
        }
        self.place(position, node);
    }

    fn place(&mut self, position: usize, node: Node) {
        if let Some(place) = self.heap.get_mut(position) {
            *place = node;
        }
        // Heap and slots have at most 2^32 entries.
        if let (Some(slot), Ok(position)) = (slot_mut(&mut self.slots, node.slot), u32::try_from(position)) {
            slot.position = position;
        }
    }
}

fn slot_mut<T>(slots: &mut [Slot<T>], slot: u32) -> Option<&mut Slot<T>> {
    slots.get_mut(usize::try_from(slot).ok()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_duration(Duration::from_secs(seconds))
    }

    #[test]
    fn timers_fire_in_order() {
        let mut timers = Timers::new();
        for seconds in [5, 1, 4, 2, 3] {
            timers.insert(at(seconds), seconds).unwrap();
        }
        assert_eq!(timers.pop_due(at(0)), None);
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(at(3))).collect();
        assert_eq!(fired, [1, 2, 3]);
        assert_eq!(timers.earliest(), Some(at(4)));
        assert_eq!(timers.len(), 2);
    }

    #[test]
    fn a_stale_id_names_nothing() {
        let mut timers = Timers::new();
        let old = timers.insert(at(1), 'a').unwrap();
        assert_eq!(timers.cancel(old), Some('a'));
        let new = timers.insert(at(1), 'b').unwrap();
        assert_eq!(timers.cancel(old), None);
        assert!(!timers.reschedule(old, at(9)));
        assert_eq!(timers.cancel(new), Some('b'));
    }

    proptest! {
        /// Insert, cancel, move and fire in any order agree with a plain list.
        #[test]
        fn agrees_with_a_naive_model(steps in prop::collection::vec((0u8..4, 0u64..50, 0usize..64), 1..200)) {
            let mut timers = Timers::new();
            let mut model: Vec<(TimerId, u64, usize)> = Vec::new();
            for (number, (what, seconds, index)) in steps.into_iter().enumerate() {
                let chosen = if model.is_empty() { None } else { Some(index % model.len()) };
                match (what, chosen) {
                    (1, Some(i)) => {
                        let (id, _, value) = model.remove(i);
                        prop_assert_eq!(timers.cancel(id), Some(value));
                    }
                    (2, Some(i)) => {
                        model[i].1 = seconds;
                        prop_assert!(timers.reschedule(model[i].0, at(seconds)));
                    }
                    (3, Some(_)) => {
                        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(at(seconds))).collect();
                        let mut times: Vec<u64> = Vec::new();
                        for value in due {
                            let i = model.iter().position(|m| m.2 == value).unwrap();
                            times.push(model.remove(i).1);
                        }
                        prop_assert!(times.is_sorted());
                        prop_assert!(model.iter().all(|m| m.1 > seconds));
                    }
                    _ => {
                        let id = timers.insert(at(seconds), number).unwrap();
                        model.push((id, seconds, number));
                    }
                }
                prop_assert_eq!(timers.len(), model.len());
                prop_assert_eq!(timers.earliest(), model.iter().map(|m| at(m.1)).min());
            }
        }
    }
}
