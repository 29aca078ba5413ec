//! What is wrong with the configuration, and what became of each thing in it, for `--json`.

use std::fmt;

use serde_json::{Value, json};
use strongswan::settings::Origin;

/// Something in the configuration that keeps it from being loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where it stands, if it stands somewhere.
    pub(crate) origin: Option<Origin>,
    /// What it is.
    pub(crate) text: String,
}

impl Mistake {
    pub(crate) fn at(origin: &Origin, text: impl Into<String>) -> Self {
        Self { origin: Some(origin.clone()), text: text.into() }
    }

    fn json(&self) -> Value {
        json!({ "message": self.text, "place": self.origin.as_ref().map(place) })
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.text)
    }
}

fn place(origin: &Origin) -> Value {
    json!({ "file": &*origin.file, "line": origin.line, "column": origin.column })
}

/// Outcomes in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Why nothing was loaded.
    pub(crate) mistakes: Vec<Mistake>,
    items: Vec<Value>,
}

impl Report {
    pub(super) fn loaded(&mut self, kind: &str, name: &str) {
        self.items.push(json!({ "kind": kind, "name": name, "result": "loaded" }));
    }

    pub(super) fn unloaded(&mut self, kind: &str, name: &str) {
        self.items.push(json!({ "kind": kind, "name": name, "result": "unloaded" }));
    }

    pub(super) fn failed(&mut self, kind: &str, name: &str, errmsg: &str, places: &[Origin]) {
        let places: Vec<Value> = places.iter().map(place).collect();
        self.items.push(json!({ "kind": kind, "name": name, "result": "failed", "errmsg": errmsg, "places": places }));
    }

    pub(super) fn json(&self, success: bool) -> Value {
        let mistakes: Vec<Value> = self.mistakes.iter().map(Mistake::json).collect();
        json!({ "success": success, "errors": mistakes, "items": self.items })
    }
}
