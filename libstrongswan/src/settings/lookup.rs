//! Finding sections and keys: own content first, then what is inherited.
//!
//! A lookup of `a.b.k` searches every section that `a.b` stands for, in this order: `a.b` itself, what `a.b` refers
//! to, then what `a` refers to with the rest of the path, each followed by what it refers to in turn. References are
//! resolved here and not when the file is read, so they may point forward or nowhere.

use std::collections::HashSet;

use super::tree::{Reference, Section, Setting};

/// Steps after which a lookup gives up. Only references that multiply each other on purpose come near it.
const MAX_STEPS: usize = 4096;
/// Components of the longest path that is followed; references that grow a path end here.
const MAX_PATH: usize = 32;

/// Splits a dotted path. Empty components refer to the section before them.
pub(super) fn components(path: &str) -> Vec<&str> {
    path.split('.').filter(|component| !component.is_empty()).collect()
}

/// All sections that `path` stands for, best first.
pub(super) fn sections<'a: 'p, 'p>(root: &'a Section, path: &[&'p str]) -> Vec<&'a Section> {
    let mut search = Search { root, found: Vec::new(), visited: HashSet::new(), steps: 0 };
    search.collect(root, path);
    search.found
}

/// The setting that a lookup of `key` in `path` ends at. Its value may still be null.
pub(super) fn setting<'a>(root: &'a Section, path: &[&str], key: &str) -> Option<&'a Setting> {
    // Most lookups hit the section itself and need no list.
    let mut section = Some(root);
    for component in path {
        section = section.and_then(|section| section.sections.get(*component));
    }
    if let Some(setting) = section.and_then(|section| section.settings.get(key)) {
        return Some(setting);
    }
    sections(root, path).into_iter().find_map(|section| section.settings.get(key))
}

struct Search<'a, 'p> {
    root: &'a Section,
    found: Vec<&'a Section>,
    /// Sections whose references were followed, each with the rest of the path at that time: cycles end here.
    visited: HashSet<(*const Section, Vec<&'p str>)>,
    steps: usize,
}

impl<'a: 'p, 'p> Search<'a, 'p> {
    fn collect(&mut self, section: &'a Section, path: &[&'p str]) {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return;
        }
        match path.split_first() {
            None => {
                if !self.found.iter().any(|known| std::ptr::eq(*known, section)) {
                    self.found.push(section);
                }
            }
            Some((name, rest)) => {
                if let Some(inner) = section.sections.get(*name) {
                    self.collect(inner, rest);
                }
            }
        }
        if section.references.is_empty() && section.fallbacks.is_empty() {
            return;
        }
        if path.len() > MAX_PATH || !self.visited.insert((std::ptr::from_ref(section), path.to_vec())) {
            return;
        }
        for reference in section.references.iter().chain(&section.fallbacks) {
            self.follow(reference, path);
        }
    }

    fn follow(&mut self, reference: &'a Reference, rest: &[&'p str]) {
        let path: Vec<&'p str> = reference.path.iter().map(|name| &**name).chain(rest.iter().copied()).collect();
        self.collect(self.root, &path);
    }
}
