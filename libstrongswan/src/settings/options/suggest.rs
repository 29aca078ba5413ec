//! The nearest known spelling of a mistyped word.

/// The candidate that is fewest edits away from `word`, if that is close enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    // One edit in short words, a third of the letters in longer ones: beyond that it is another word.
    let limit = (length / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| (distance(&normal(word), &normal(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case, hyphens and underscores are what people mix up most; they cost nothing.
fn normal(word: &str) -> Vec<char> {
    word.chars().map(|character| if character == '-' { '_' } else { character.to_ascii_lowercase() }).collect()
}

/// Edits (insert, delete, replace, swap neighbours) between two words.
fn distance(left: &[char], right: &[char]) -> usize {
    // Three rows of the usual table: the one before the previous is for swaps.
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    let mut left_before = None;
    for (row, left_char) in left.iter().enumerate() {
        let mut current = Vec::with_capacity(right.len() + 1);
        current.push(row + 1);
        let mut right_before = None;
        for (column, right_char) in right.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&previous, column) + usize::from(left_char != right_char))
                .min(at(&previous, column + 1) + 1)
                .min(at(&current, column) + 1);
            if left_before == Some(right_char) && right_before == Some(left_char) {
                best = best.min(at(&before, column.wrapping_sub(1)) + 1);
            }
            current.push(best);
            right_before = Some(right_char);
        }
        before = std::mem::replace(&mut previous, current);
        left_before = Some(left_char);
    }
    previous.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("threads", "thread", 1),
            ("threads", "htreads", 1),
            ("kitten", "sitting", 3),
            ("local_addrs", "local-addrs", 0),
            ("Version", "version", 0),
        ] {
            assert_eq!(distance(&normal(left), &normal(right)), expected, "{left} {right}");
            assert_eq!(distance(&normal(right), &normal(left)), expected, "{right} {left}");
        }
    }

    #[test]
    fn suggestions() {
        let known = ["local_addrs", "remote_addrs", "proposals", "pools", "id", "auth"];
        assert_eq!(nearest("local_addr", known), Some("local_addrs"));
        assert_eq!(nearest("remote_adrs", known), Some("remote_addrs"));
        assert_eq!(nearest("poposals", known), Some("proposals"));
        assert_eq!(nearest("ids", known), Some("id"));
        assert_eq!(nearest("certificate", known), None);
        assert_eq!(nearest("", known), None);
    }
}
