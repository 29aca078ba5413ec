//! Key exchanges of which no two may be the same (RFC 9370 §2.2.2).
//!
//! Taking the best of each type in turn can leave nothing for a later one although another choice would have. Instead the
//! best is taken that leaves something for all later types, which is a matching of types with methods: found in time
//! polynomial in what the peer proposes, where trying all combinations would not be.

use crate::crypto::transform::{KeyExchangeMethod, Transform};

/// One of each list, different from each other except for NONE, such that earlier lists get what they prefer. `None` if
/// that is not possible.
pub(super) fn first_choice(lists: &[Vec<Transform>]) -> Option<Vec<Transform>> {
    let mut chosen: Vec<Transform> = Vec::with_capacity(lists.len());
    let mut later = lists;
    while let Some((list, rest)) = later.split_first() {
        let best = list.iter().find(|candidate| {
            let taken: Vec<_> = chosen.iter().chain([*candidate]).filter(|taken| !is_none(taken)).collect();
            !taken_before(&chosen, candidate) && Matching::new(rest, &taken).completes()
        });
        chosen.push(*best?);
        later = rest;
    }
    Some(chosen)
}

fn is_none(transform: &Transform) -> bool {
    transform.id == u16::from(KeyExchangeMethod::None)
}

fn taken_before(chosen: &[Transform], candidate: &Transform) -> bool {
    !is_none(candidate) && chosen.iter().any(|earlier| earlier.id == candidate.id)
}

/// Gives each list a method of its own, moving earlier ones to others where needed (augmenting paths).
struct Matching<'a> {
    lists: &'a [Vec<Transform>],
    taken: &'a [&'a Transform],
    /// Which list has a method.
    holders: Vec<(u16, usize)>,
}

impl<'a> Matching<'a> {
    fn new(lists: &'a [Vec<Transform>], taken: &'a [&'a Transform]) -> Self {
        Self { lists, taken, holders: Vec::new() }
    }

    fn completes(mut self) -> bool {
        (0..self.lists.len()).all(|list| self.place(list, &mut Vec::new()))
    }

    /// Finds a method for a list; `tried` are the methods that were looked at for it.
    fn place(&mut self, list: usize, tried: &mut Vec<u16>) -> bool {
        let Some(candidates) = self.lists.get(list) else { return false };
        if candidates.iter().any(is_none) {
            return true;
        }
        for candidate in candidates {
            let id = candidate.id;
            if tried.contains(&id) || self.taken.iter().any(|taken| taken.id == id) {
                continue;
            }
            tried.push(id);
            let holder = self.holders.iter().position(|(method, _)| *method == id);
            let Some(place) = holder else {
                self.holders.push((id, list));
                return true;
            };
            let other = self.holders.get(place).map(|(_, other)| *other);
            if other.is_some_and(|other| self.place(other, tried)) {
                if let Some(holder) = self.holders.get_mut(place) {
                    holder.1 = list;
                }
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::transform::TransformType;

    fn lists(ids: &[Vec<u16>]) -> Vec<Vec<Transform>> {
        let kinds = std::iter::once(TransformType::KeyExchange).chain(TransformType::ADDITIONAL_KEY_EXCHANGES);
        let transforms = |(kind, ids): (TransformType, &Vec<u16>)| {
            ids.iter().map(|id| Transform { kind, id: *id, key_size: None }).collect()
        };
        kinds.zip(ids).map(transforms).collect()
    }

    fn choice(ids: &[Vec<u16>]) -> Option<Vec<u16>> {
        first_choice(&lists(ids)).map(|chosen| chosen.iter().map(|transform| transform.id).collect())
    }

    /// The first in the order of preference of all combinations.
    fn every_combination(ids: &[Vec<u16>], chosen: &mut Vec<u16>) -> bool {
        let Some(list) = ids.get(chosen.len()) else { return true };
        list.iter().any(|id| {
            if *id != 0 && chosen.contains(id) {
                return false;
            }
            chosen.push(*id);
            let complete = every_combination(ids, chosen);
            if !complete {
                chosen.pop();
            }
            complete
        })
    }

    #[test]
    fn a_later_list_gets_what_only_it_needs() {
        assert_eq!(choice(&[vec![1, 2], vec![1]]), Some(vec![2, 1]));
        assert_eq!(choice(&[vec![1, 2], vec![1, 3], vec![1, 2]]), Some(vec![1, 3, 2]));
        assert_eq!(choice(&[vec![1], vec![1]]), None);
        assert_eq!(choice(&[vec![1], vec![0, 1], vec![1, 0]]), Some(vec![1, 0, 0]));
        assert_eq!(choice(&[]), Some(vec![]));
        assert_eq!(choice(&[vec![]]), None);
    }

    #[test]
    fn lists_without_a_solution_cost_little() {
        // Trying all combinations would take 250^7 steps.
        let mut ids = vec![(1..=250).collect::<Vec<u16>>(); 7];
        ids.push(vec![]);
        assert_eq!(choice(&ids), None);
    }

    proptest! {
        #[test]
        fn it_is_the_first_of_all_combinations(
            ids in proptest::collection::vec(proptest::collection::vec(0..6_u16, 0..5), 0..7)
        ) {
            let mut expected = Vec::new();
            let found = every_combination(&ids, &mut expected);
            prop_assert_eq!(choice(&ids), found.then_some(expected));
        }
    }
}
