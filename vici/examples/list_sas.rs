//! Lists the IKE_SAs and CHILD_SAs of a daemon, as a starting point for programs of your own.
//!
//! ```text
//! cargo run --example list_sas [unix:///var/run/charon.vici]
//! ```
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::error::Error;

use vici::{Client, Message};

fn main() -> Result<(), Box<dyn Error>> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "unix:///var/run/charon.vici".to_owned());
    let mut client = Client::connect(&uri.parse()?)?;

    // A streamed command: the client subscribes to `list-sa`, iterates over the events, and unsubscribes. Restrict it
    // with keys of the request, such as `.with("ike", "gw")`.
    let request = Message::new();
    let mut stream = client.stream("list-sas", "list-sa", &request)?;
    for event in &mut stream {
        // One event is one IKE_SA: a section named after its connection.
        for (connection, ike_sa) in event?.sections() {
            print_ike_sa(connection, ike_sa);
        }
    }
    // The answer of the command itself. Skipping this is fine, too; an error would only show here.
    stream.finish()?.into_result()?;

    // The connection stays usable for any number of further requests.
    let stats = client.request("stats", &Message::new())?;
    let uptime = stats.section("uptime").and_then(|uptime| uptime.str("running")).unwrap_or("an unknown time");
    println!("the daemon has been up for {uptime}");
    Ok(())
}

fn print_ike_sa(connection: &str, ike_sa: &Message) {
    let text = |key| ike_sa.str(key).unwrap_or("?");
    println!("{connection}: #{}, {}, {} === {}", text("uniqueid"), text("state"), text("local-id"), text("remote-id"));
    let Some(child_sas) = ike_sa.section("child-sas") else { return };
    for (name, child_sa) in child_sas.sections() {
        let selectors = |key| child_sa.strs(key).collect::<Vec<_>>().join(" ");
        println!(
            "  {name}: {}, {} in / {} out bytes, {} === {}",
            child_sa.str("state").unwrap_or("?"),
            child_sa.int("bytes-in").unwrap_or(0),
            child_sa.int("bytes-out").unwrap_or(0),
            selectors("local-ts"),
            selectors("remote-ts"),
        );
    }
}
