//! Getting the configuration into the daemon.
//!
//! Everything is read and checked before the first request, so that a mistake anywhere changes nothing. What the daemon
//! then refuses all the same is reported with its place in the file, and what it had before stays.

mod authorities;
mod connections;
mod credentials;
mod keys;
mod named;
mod pkcs12;
mod places;
mod pools;
mod prompt;
mod report;
mod secrets;

use std::io;
use std::path::Path;

use crate::command::{Failure, Given, INVALID, io_errno};
use crate::config::{self, Config};
use crate::output::Format;
use crate::session::Session;

use credentials::Credentials;
use named::Named;
pub(crate) use report::Mistake;
use report::Report;

/// What of the configuration to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    All,
    Credentials,
    Authorities,
    Pools,
    Connections,
}

impl What {
    /// The top-level sections it is about.
    fn sections(self) -> &'static [&'static str] {
        match self {
            Self::All => &["secrets", "authorities", "pools", "connections"],
            Self::Credentials => &["secrets"],
            Self::Authorities => &["authorities"],
            Self::Pools => &["pools"],
            Self::Connections => &["connections"],
        }
    }

    fn includes(self, other: Self) -> bool {
        self == Self::All || self == other
    }
}

/// Loads it.
pub(crate) fn run(session: &mut Session, given: &Given, what: What) -> Result<(), Failure> {
    let mut report = Report::default();
    let result = load(session, given, what, &mut report);
    if session.out.format == Format::Json {
        let json = report.json(result.is_ok());
        session.out.line(json);
    }
    result
}

fn load(session: &mut Session, given: &Given, what: What, report: &mut Report) -> Result<(), Failure> {
    let prepared = config::load(session, given, what.sections(), &mut report.mistakes)
        .and_then(|config| Ok((prepare(session, given, what, &config, &mut report.mistakes)?, config)));
    for mistake in &report.mistakes {
        session.out.error(mistake);
    }
    let (prepared, config) = prepared?;
    if let Some(credentials) = &prepared.credentials {
        credentials::load(session, credentials, given.has('c'), report)?;
    }
    for named in &prepared.named {
        named::load(session, &config, named, report)?;
    }
    Ok(())
}

/// All that will be sent.
struct Prepared {
    credentials: Option<Credentials>,
    named: Vec<Named>,
}

fn prepare(
    session: &mut Session,
    given: &Given,
    what: What,
    config: &Config,
    mistakes: &mut Vec<Mistake>,
) -> Result<Prepared, Failure> {
    let credentials =
        what.includes(What::Credentials).then(|| credentials::prepare(session, config, !given.has('n'), mistakes));
    let mut named = Vec::new();
    if what.includes(What::Authorities) {
        named.push(authorities::prepare(config, mistakes));
    }
    if what.includes(What::Pools) {
        named.push(pools::prepare(config));
    }
    if what.includes(What::Connections) {
        named.push(connections::prepare(config, mistakes));
    }
    for named in &named {
        named.check_encoding(config, mistakes);
    }
    if mistakes.is_empty() {
        return Ok(Prepared { credentials, named });
    }
    let count = mistakes.len();
    let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
    Err(Failure::Failed(format!("{errors}, nothing was loaded"), INVALID))
}

/// Reads a file; the error is the system's words for it.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let not_regular = || io::Error::from_raw_os_error(INVALID.into());
    let read = path.metadata().and_then(|data| if data.is_file() { std::fs::read(path) } else { Err(not_regular()) });
    read.map_err(|error| io_errno(&error).desc().to_owned())
}
