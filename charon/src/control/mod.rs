//! The control interface: the daemon's vici commands and events.
//!
//! One command a file. A handler parses the request, calls one method of the room that does the work, and answers; what
//! takes time is answered later and holds no thread meanwhile. Listings read snapshots and never touch an IKE_SA.

mod algorithms;
mod certificate_type;
mod clear_creds;
mod events;
mod flush_certs;
mod get_authorities;
mod get_conns;
mod get_counters;
mod get_keys;
mod get_pools;
mod get_shared;
mod initiate;
mod install;
mod list_authorities;
mod list_certs;
mod list_conns;
mod list_policies;
mod list_sas;
mod load_authority;
mod load_cert;
mod load_conn;
mod load_key;
mod load_pool;
mod load_shared;
mod log;
mod operations;
mod redirect;
mod rekey;
mod reload_settings;
mod reset_counters;
mod selector;
mod show;
mod start_action;
mod stats;
mod terminate;
mod uninstall;
mod unload_authority;
mod unload_conn;
mod unload_key;
mod unload_pool;
mod unload_shared;
mod version;

use std::fmt;
use std::sync::Arc;

use ike::kernel::Kernel;
use parking_lot::Mutex;
use strongswan::credentials::Store;
use strongswan::log as line;
use vici::{Endpoint, Handler, Message, Notice, Request, Responder, Server, ServerError, ServerOptions};

pub use events::Events;
pub use log::VICI_LOG_LEVEL;
pub use operations::{DaemonStats, Operations};

use crate::bus::log::Loggers;
use crate::config::{Authorities, Connections};
use crate::pools::Pools;
use log::LogSink;

/// Events clients can subscribe to.
const EVENTS: &[&str] = &[
    "log",
    "control-log",
    "list-sa",
    "list-policy",
    "list-conn",
    "list-cert",
    "list-authority",
    "ike-updown",
    "ike-rekey",
    "ike-update",
    "child-updown",
    "child-rekey",
    "alert",
];

/// A command's handler.
type Command = fn(&Control, Request, Responder);

/// All commands. Whatever is not in this table does not exist.
const COMMANDS: &[(&str, Command)] = &[
    ("version", version::run),
    ("stats", stats::run),
    ("reload-settings", reload_settings::run),
    ("get-algorithms", algorithms::run),
    ("load-conn", load_conn::run),
    ("unload-conn", unload_conn::run),
    ("get-conns", get_conns::run),
    ("list-conns", list_conns::run),
    ("load-cert", load_cert::run),
    ("list-certs", list_certs::run),
    ("load-key", load_key::run),
    ("unload-key", unload_key::run),
    ("get-keys", get_keys::run),
    ("load-shared", load_shared::run),
    ("unload-shared", unload_shared::run),
    ("get-shared", get_shared::run),
    ("clear-creds", clear_creds::run),
    ("flush-certs", flush_certs::run),
    ("load-pool", load_pool::run),
    ("unload-pool", unload_pool::run),
    ("get-pools", get_pools::run),
    ("load-authority", load_authority::run),
    ("unload-authority", unload_authority::run),
    ("get-authorities", get_authorities::run),
    ("list-authorities", list_authorities::run),
    ("initiate", initiate::run),
    ("terminate", terminate::run),
    ("rekey", rekey::run),
    ("redirect", redirect::run),
    ("list-sas", list_sas::run),
    ("list-policies", list_policies::run),
    ("install", install::run),
    ("uninstall", uninstall::run),
    ("get-counters", get_counters::run),
    ("reset-counters", reset_counters::run),
];

/// The daemon as vici clients see it.
pub struct Control {
    connections: Arc<Connections>,
    credentials: Arc<Store>,
    pools: Arc<Pools>,
    authorities: Authorities,
    operations: Arc<dyn Operations>,
    log: Arc<LogSink>,
    /// Held while a connection is loaded or unloaded and the start actions that follow are handed over, so that those of
    /// one connection are not mixed with another's. Nothing is waited for meanwhile, and nothing calls back.
    loading: Mutex<()>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// The commands over these connections, credentials and pools; `log` events come from `loggers`.
    pub fn new(
        connections: Arc<Connections>,
        credentials: Arc<Store>,
        pools: Arc<Pools>,
        operations: Arc<dyn Operations>,
        loggers: &Arc<Loggers>,
    ) -> Arc<Self> {
        let authorities = Authorities::new(Arc::clone(&credentials));
        let (log, loading) = (LogSink::new(loggers), Mutex::new(()));
        Arc::new(Self { connections, credentials, authorities, pools, operations, log, loading })
    }

    /// Opens the socket and serves it. The returned [`Events`] raise events for its clients; they ask `kernel` for the
    /// counters of SAs.
    ///
    /// # Errors
    /// If the socket cannot be opened, or another process is serving on it.
    pub fn serve(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        options: ServerOptions,
        kernel: Arc<dyn Kernel>,
    ) -> Result<(Server, Arc<Events>), ServerError> {
        let server = Server::start(endpoint, Arc::<Self>::clone(self), options)?;
        self.log.raise_with(server.broadcaster());
        let events = Events::new(server.broadcaster(), kernel);
        Ok((server, events))
    }
}

/// An answer, or the text of the failure to answer with.
type Answer = Result<Message, String>;

/// Answers with a result.
fn answer(responder: Responder, answer: Answer) {
    responder.reply(&answer.unwrap_or_else(Message::failure));
}

impl Handler for Control {
    fn events(&self) -> &'static [&'static str] {
        EVENTS
    }

    fn handle(&self, request: Request, responder: Responder) {
        match COMMANDS.iter().find(|(name, _)| *name == request.command) {
            Some((_, command)) => command(self, request, responder),
            None => {
                line!(CFG, 2, "vici command '{}' is not supported", request.command);
                responder.unknown();
            }
        }
    }

    fn interest(&self, event: &'static str, wanted: bool) {
        if event == "log" {
            self.log.set_wanted(wanted);
        }
    }

    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Connected(_) | Notice::Disconnected(_) => line!(CFG, 2, "{notice}"),
            notice => line!(CFG, 1, "{notice}"),
        }
    }
}

#[cfg(test)]
mod tests;
