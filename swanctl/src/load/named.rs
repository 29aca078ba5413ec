//! Connections, pools and authorities: things with names, of which the daemon shall have those of the file and no others.

use strongswan::settings::Origin;
use vici::{ClientError, Message};

use super::places;
use super::report::{Mistake, Report};
use crate::command::{Failure, INVALID};
use crate::config::Config;
use crate::output::Format;
use crate::session::Session;

/// One kind of them, as the file has it.
pub(super) struct Named {
    pub(super) kind: &'static Kind,
    pub(super) items: Vec<Item>,
}

/// Words and commands.
pub(super) struct Kind {
    pub(super) singular: &'static str,
    pub(super) plural: &'static str,
    /// Ending of the commands `load-…` and `unload-…`.
    pub(super) command: &'static str,
    /// The command that lists names; they are in the list, or are the sections, of its answer.
    pub(super) get: &'static str,
    pub(super) list: Option<&'static str>,
}

/// One section of the file.
pub(super) struct Item {
    pub(super) name: String,
    /// What is sent.
    pub(super) message: Message,
    /// Its section in the file.
    path: String,
}

impl Item {
    /// The item of the section `name` below `parent`.
    pub(super) fn new(parent: &str, name: &str, content: Message) -> Self {
        let message = Message::new().with_section(name.to_owned(), content);
        Self { name: name.to_owned(), message, path: format!("{parent}.{name}") }
    }

    fn places(&self, config: &Config, errmsg: &str) -> Vec<Origin> {
        places::of(&config.settings.view(&self.path), errmsg)
    }
}

impl Named {
    /// Finds what the protocol cannot carry, such as values of more than 64 KiB.
    pub(super) fn check_encoding(&self, config: &Config, mistakes: &mut Vec<Mistake>) {
        for item in &self.items {
            if let Err(error) = item.message.encode() {
                let text = format!("{} '{}' cannot be sent: {error}", self.kind.singular, item.name);
                mistakes.push(Mistake { origin: item.places(config, "").first().cloned(), text });
            }
        }
    }
}

/// Loads them, and unloads what the daemon has and the file has not.
pub(super) fn load(session: &mut Session, config: &Config, named: &Named, report: &mut Report) -> Result<(), Failure> {
    let Named { kind, items } = named;
    let Kind { singular, plural, command, .. } = kind;
    let mut stale = known(session, named)?;
    stale.retain(|name| items.iter().all(|item| item.name != *name));
    let human = session.out.format == Format::Human;
    let mut failed = 0_usize;
    for item in items {
        let answer = session.request(&format!("load-{command}"), &item.message)?;
        if session.dump(&format!("load-{command} reply"), &answer) {
            failed += usize::from(answer.into_result().is_err());
            continue;
        }
        let name = &item.name;
        match answer.into_result() {
            Ok(_) => {
                report.loaded(singular, name);
                if human {
                    session.out.line(format_args!("loaded {singular} '{name}'"));
                }
            }
            Err(error) => {
                failed += 1;
                let places = item.places(config, &error.errmsg);
                report.failed(singular, name, &error.errmsg, &places);
                session.out.error(format_args!("loading {singular} '{name}' failed: {error}"));
                for place in places {
                    session.out.error(format_args!("{place}: {error}"));
                }
            }
        }
    }
    // After a failure nothing is taken away: the mistake may well be why something is missing.
    let unloaded = if failed == 0 { unload(session, kind, &stale, report)? } else { 0 };
    if session.out.format != Format::Human {
        let raw = session.out.format != Format::Json;
        return if failed == 0 || raw { Ok(()) } else { Err(Failure::Exit(INVALID)) };
    }
    match (items.len(), failed) {
        (0, _) => session.out.line(format_args!("no {plural} found, {unloaded} unloaded")),
        (total, 0) => session.out.line(format_args!("successfully loaded {total} {plural}, {unloaded} unloaded")),
        (total, failed) => {
            let loaded = total - failed;
            let summary = format!("loaded {loaded} of {total} {plural}, {failed} failed to load, {unloaded} unloaded");
            return Err(Failure::Failed(summary, INVALID));
        }
    }
    Ok(())
}

/// Names that the daemon has.
fn known(session: &mut Session, named: &Named) -> Result<Vec<String>, Failure> {
    let Kind { get, list, .. } = named.kind;
    let answer = match session.client()?.request(get, &Message::new()) {
        Ok(answer) => answer,
        // A daemon without the feature has none of them, which is fine as long as none is asked for.
        Err(ClientError::UnknownCommand(_)) if named.items.is_empty() => return Ok(Vec::new()),
        Err(error) => return Err(Failure::request(get, &error)),
    };
    session.dump(&format!("{get} reply"), &answer);
    Ok(match list {
        Some(list) => answer.strs(list).map(str::to_owned).collect(),
        None => answer.sections().map(|(name, _)| name.to_owned()).collect(),
    })
}

fn unload(session: &mut Session, kind: &Kind, stale: &[String], report: &mut Report) -> Result<usize, Failure> {
    let Kind { singular, command, .. } = kind;
    let mut unloaded = 0;
    for name in stale {
        let answer = session.request(&format!("unload-{command}"), &Message::new().with("name", name))?;
        session.dump(&format!("unload-{command} reply"), &answer);
        match answer.into_result() {
            Ok(_) => {
                unloaded += 1;
                report.unloaded(singular, name);
            }
            Err(error) => {
                report.failed(singular, name, &error.errmsg, &[]);
                session.out.error(format_args!("unloading {singular} '{name}' failed: {error}"));
            }
        }
    }
    Ok(unloaded)
}
