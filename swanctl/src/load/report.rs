//! What became of each thing, for `--json`.

use serde_json::{Value, json};
use strongswan::settings::Origin;

/// Outcomes in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Value>);

impl Report {
    pub(super) fn loaded(&mut self, kind: &str, name: &str) {
        self.0.push(json!({ "kind": kind, "name": name, "result": "loaded" }));
    }

    pub(super) fn unloaded(&mut self, kind: &str, name: &str) {
        self.0.push(json!({ "kind": kind, "name": name, "result": "unloaded" }));
    }

    pub(super) fn failed(&mut self, kind: &str, name: &str, errmsg: &str, places: &[Origin]) {
        let places: Vec<Value> = places
            .iter()
            .map(|place| json!({ "file": &*place.file, "line": place.line, "column": place.column }))
            .collect();
        self.0.push(json!({ "kind": kind, "name": name, "result": "failed", "errmsg": errmsg, "places": places }));
    }

    pub(super) fn json(&self, success: bool) -> Value {
        json!({ "success": success, "items": self.0 })
    }
}
