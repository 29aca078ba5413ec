//! Entry points for fuzzers, kept compiling by a unit test.

use strongswan::credentials::AuthOptions;
use vici::Message;

use super::{Connections, NoNames, load};

/// Reads a `load-conn` message and loads its connections twice: the second time nothing may have changed.
pub fn load_conn(input: &[u8]) {
    let (message, _) = Message::decode_prefix(input);
    let connections = Connections::new(std::sync::Arc::new(NoNames), 500);
    for (name, section) in message.sections() {
        let Ok(connection) = load(name, section, AuthOptions::default()) else { continue };
        connections.load(connection.clone());
        let again = connections.load(connection);
        assert!(again.removed.is_empty() && again.added.is_empty());
    }
    for connection in connections.all() {
        assert!(connections.unload(&connection.name).is_some());
    }
}

#[test]
fn a_connection_is_loaded() {
    let child = Message::new().with_section("net", Message::new().with("mode", "transport"));
    let connection = Message::new().with("version", 2_u32).with_section("children", child);
    load_conn(&Message::new().with_section("gw", connection).encode().unwrap());
    load_conn(include_bytes!("../../../testsuite/fuzz/corpus/load_conn/full"));
    load_conn(include_bytes!("../../../testsuite/fuzz/corpus/load_conn/two"));
}
