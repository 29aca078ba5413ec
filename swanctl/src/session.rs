//! What every command works with: the connection to the daemon, the settings, the output.

use serde_json::{Value as Json, json};
use strongswan::settings::{Settings, default_vici_uri};
use vici::{Client, Endpoint, Message};

use crate::command::{Failure, errno, exit_code};
use crate::dump;
use crate::output::{Format, Output};

/// One run of the tool.
pub(crate) struct Session {
    pub(crate) out: Output,
    /// strongswan.conf.
    pub(crate) settings: Settings,
    /// `--uri`.
    uri: Option<String>,
    /// `--debug`: the least important messages to show.
    pub(crate) debug: i64,
    client: Option<Client>,
}

impl Session {
    pub(crate) fn new(out: Output, settings: Settings, uri: Option<String>, debug: i64) -> Self {
        Self { out, settings, uri, debug, client: None }
    }

    /// The connection to the daemon, made on first use.
    pub(crate) fn client(&mut self) -> Result<&mut Client, Failure> {
        if self.client.is_none() {
            self.client = Some(self.connect()?);
        }
        self.client.as_mut().ok_or(Failure::Exit(1))
    }

    fn connect(&mut self) -> Result<Client, Failure> {
        let configured = ["swanctl.socket", "swanctl.plugins.vici.socket"];
        let uri = match (&self.uri, configured.iter().find_map(|key| self.settings.get_str(key))) {
            (Some(uri), _) => uri.clone(),
            (None, Some(uri)) => uri.to_owned(),
            (None, None) => default_vici_uri(),
        };
        let connected = uri.parse::<Endpoint>().map_err(vici::ClientError::from);
        connected.and_then(|endpoint| Client::connect(&endpoint)).map_err(|error| {
            let errno = errno(&error);
            self.out.error(format_args!("connecting to '{uri}' failed: {}", errno.desc()));
            let shown = self.uri.as_deref().unwrap_or("default");
            Failure::Unreachable(format!("connecting to '{shown}' URI failed: {}", errno.desc()), exit_code(errno))
        })
    }

    /// Runs a command and returns its answer.
    pub(crate) fn request(&mut self, command: &str, message: &Message) -> Result<Message, Failure> {
        self.client()?.request(command, message).map_err(|error| Failure::request(command, &error))
    }

    /// Runs a command that streams events, calls `each` for every one, and returns its answer. `what` is what the
    /// events are about.
    pub(crate) fn stream(
        &mut self,
        command: &str,
        event: &str,
        what: &str,
        message: &Message,
        mut each: impl FnMut(&mut Output, Message),
    ) -> Result<Message, Failure> {
        self.client()?;
        let Self { client: Some(client), out, .. } = self else { return Err(Failure::Exit(1)) };
        let request_failed = |error| Failure::request(command, &error);
        let mut stream = client.stream(command, event, message).map_err(|error| match &error {
            vici::ClientError::UnknownEvent(_) => Failure::protocol(&format!("registering for {what}"), &error),
            _ => request_failed(error),
        })?;
        for item in &mut stream {
            each(out, item.map_err(request_failed)?);
        }
        stream.finish().map_err(request_failed)
    }

    /// Shows a message as `--raw` or `--pretty` ask for; `false` if neither does.
    pub(crate) fn dump(&mut self, label: &str, message: &Message) -> bool {
        dump_to(&mut self.out, label, message)
    }

    /// Reports the answer of a command that does something: completed, or failed with exit code 1. In raw formats the
    /// answer itself is shown and the exit code is 0, as scripts expect.
    pub(crate) fn conclude(&mut self, command: &str, answer: &Message) -> Result<(), Failure> {
        if self.dump(&format!("{command} reply"), answer) {
            return Ok(());
        }
        let result = answer.clone().into_result();
        if self.out.format == Format::Json {
            self.out.line(dump::json(answer));
        }
        match result {
            Ok(_) => {
                if self.out.format == Format::Human {
                    self.out.line(format_args!("{command} completed successfully"));
                }
                Ok(())
            }
            Err(error) => Err(Failure::Failed(format!("{command} failed: {error}"), 1)),
        }
    }

    /// Runs a streamed listing in whatever format is asked for: `human` prints one event, `to_json` turns it into what
    /// goes into the array.
    pub(crate) fn list(
        &mut self,
        listing: &Listing<'_>,
        message: &Message,
        mut human: impl FnMut(&mut Output, &Message),
        mut to_json: impl FnMut(&Message) -> Vec<Json>,
    ) -> Result<(), Failure> {
        let mut all = Vec::new();
        let answer =
            self.stream(listing.command, listing.event, listing.what, message, |out, event| match out.format {
                Format::Human => human(out, &event),
                Format::Json => all.extend(to_json(&event)),
                Format::Raw | Format::Pretty => drop(dump_to(out, listing.label, &event)),
            })?;
        if !self.dump(&format!("{} reply", listing.command), &answer) && self.out.format == Format::Json {
            self.out.line(json!(all));
        }
        Ok(())
    }
}

/// A command that streams what it lists.
pub(crate) struct Listing<'a> {
    pub(crate) command: &'a str,
    pub(crate) event: &'a str,
    /// Label of the events in raw formats.
    pub(crate) label: &'a str,
    /// What is listed, for messages.
    pub(crate) what: &'a str,
}

/// See [`Session::dump`].
pub(crate) fn dump_to(out: &mut Output, label: &str, message: &Message) -> bool {
    match out.format {
        Format::Raw => out.line(dump::raw(label, message)),
        Format::Pretty => out.line(dump::pretty(label, message)),
        Format::Human | Format::Json => return false,
    }
    true
}

/// The sections of an event as JSON objects with their names.
pub(crate) fn sections_as_json(event: &Message) -> Vec<Json> {
    match dump::named(event) {
        Json::Array(items) => items,
        other => vec![other],
    }
}
