//! A daemon that speaks vici and does nothing else: each command shows one way for a server to answer.
//!
//! ```text
//! cargo run --example toy_daemon unix:///tmp/toy.vici
//! ```

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use vici::{Handler, Message, Request, Responder, Server, ServerOptions};

struct Toy;

impl Handler for Toy {
    fn events(&self) -> &'static [&'static str] {
        &["log", "control-log", "list-sa"]
    }

    fn handle(&self, request: Request, responder: Responder) {
        match request.command.as_str() {
            "version" => responder.reply(&Message::new().with("daemon", "toy").with("version", "1.0")),

            // A structured command must not ignore what is wrong with its message.
            "load-conn" => responder.reply(&match request.defect {
                Some(_) => Message::failure("parsing request failed"),
                None if request.message.is_empty() => Message::failure("nothing to load"),
                None => Message::success(),
            }),

            // A listing is drawn from an iterator as fast as the client reads.
            "list-sas" => {
                let count = request.message.int("count").unwrap_or(2);
                let sas = (1..=count).map(|id| {
                    let child = Message::new().with("name", "net").with_list("local-ts", ["10.0.0.0/24"]);
                    let ike = Message::new()
                        .with("uniqueid", id)
                        .with("state", "ESTABLISHED")
                        .with_section("child-sas", Message::new().with_section(format!("net-{id}"), child));
                    Message::new().with_section("gw", ike)
                });
                responder.stream("list-sa", sas, Message::new());
            }

            // A command that takes time answers later, from wherever it likes, and reports its progress meanwhile.
            "initiate" => {
                thread::spawn(move || {
                    let progress = responder.emitter();
                    for step in ["sending", "receiving", "established"] {
                        thread::sleep(Duration::from_millis(20));
                        progress.emit("control-log", || Message::new().with("level", 1_u32).with("msg", step));
                    }
                    responder.reply(&Message::success());
                });
            }

            _ => responder.unknown(),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "unix:///tmp/toy.vici".to_owned());
    let server = Server::start(&uri.parse()?, Arc::new(Toy), ServerOptions::default())?;
    let events = server.broadcaster();
    for n in 0_u64.. {
        thread::sleep(Duration::from_millis(50));
        events.emit("log", || Message::new().with("msg", format_args!("tick {n}")));
    }
    Ok(())
}
