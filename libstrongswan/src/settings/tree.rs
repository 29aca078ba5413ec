//! What the parser builds: sections with their keys, sub-sections and references, in order of first appearance.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use zeroize::Zeroize;

use super::origin::Origin;

/// A list that keeps the order of first appearance and finds its items by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Ordered<T> {
    items: Vec<T>,
    index: HashMap<Arc<str>, usize>,
}

impl<T> Ordered<T> {
    pub(super) fn get<Q>(&self, name: &Q) -> Option<&T>
    where
        Arc<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.items.get(*self.index.get(name)?)
    }

    pub(super) fn get_or_insert(&mut self, name: &Arc<str>, make: impl FnOnce() -> T) -> Option<&mut T> {
        let position = match self.index.get(name) {
            Some(position) => *position,
            None => {
                self.index.insert(Arc::clone(name), self.items.len());
                self.items.push(make());
                self.items.len() - 1
            }
        };
        self.items.get_mut(position)
    }

    /// Puts `item` in the place of the one of that name, or at the end.
    pub(super) fn insert(&mut self, name: &Arc<str>, item: T) {
        match self.index.get(name).and_then(|position| self.items.get_mut(*position)) {
            Some(slot) => *slot = item,
            None => {
                self.index.insert(Arc::clone(name), self.items.len());
                self.items.push(item);
            }
        }
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }
}

/// The text of a setting, which may be a password and is wiped. Almost always UTF-8; a password in another encoding
/// keeps its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) raw: Option<Box<[u8]>>,
}

impl Value {
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text, raw: None },
            Err(error) => {
                let bytes = error.into_bytes();
                Self { text: String::from_utf8_lossy(&bytes).into_owned(), raw: Some(bytes.into_boxed_slice()) }
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.text.zeroize();
        self.raw.zeroize();
    }
}

/// One `name = value`. Without a value it hides what would otherwise be inherited.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) name: Arc<str>,
    pub(super) value: Option<Value>,
    pub(super) origin: Origin,
    pub(super) value_origin: Origin,
}

/// The absolute path of a section whose content is inherited.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) path: Vec<Arc<str>>,
    pub(super) origin: Origin,
}

/// One section with all that was said about it anywhere.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) name: Arc<str>,
    pub(super) origin: Origin,
    pub(super) settings: Ordered<Setting>,
    pub(super) sections: Ordered<Self>,
    /// From the files.
    pub(super) references: Vec<Reference>,
    /// Installed by program code; consulted after those from the files.
    pub(super) fallbacks: Vec<Reference>,
}

impl Section {
    pub(super) fn new(name: Arc<str>, origin: Origin) -> Self {
        Self {
            name,
            origin,
            settings: Ordered { items: Vec::new(), index: HashMap::new() },
            sections: Ordered { items: Vec::new(), index: HashMap::new() },
            references: Vec::new(),
            fallbacks: Vec::new(),
        }
    }

    /// Sets a key, or overwrites it in the place where it first appeared.
    pub(super) fn set(&mut self, setting: Setting) {
        let name = Arc::clone(&setting.name);
        self.settings.insert(&name, setting);
    }

    /// The sub-section of that name, new if there is none yet.
    pub(super) fn open(&mut self, name: &Arc<str>, origin: &Origin) -> Option<&mut Self> {
        self.sections.get_or_insert(name, || Self::new(Arc::clone(name), origin.clone()))
    }

    /// Follows `path` down, making what is missing.
    pub(super) fn open_path(&mut self, path: &[Arc<str>], origin: &Origin) -> Option<&mut Self> {
        let mut section = self;
        for name in path {
            section = section.open(name, origin)?;
        }
        Some(section)
    }

    /// Adds a reference unless the same one is there already.
    pub(super) fn refer(&mut self, reference: Reference) {
        if self.references.iter().all(|known| known.path != reference.path) {
            self.references.push(reference);
        }
    }
}
