//! `swanctl`: drives an IKE daemon over its control protocol.
//!
//! `swanctl [shared options] --command [options]`: [`run`] finds the command, parses its options and calls it. Commands
//! are one file each in [`commands`]; what they print in human form is strongSwan's, to the letter.

#![forbid(unsafe_code)]

mod certs;
mod command;
mod commands;
mod config;
mod dump;
mod fields;
mod getopt;
mod load;
mod output;
mod session;
mod signals;
mod usage;

use std::process::ExitCode;

use strongswan::settings::Settings;

use crate::command::{Command, Failure, Given};
use crate::getopt::{Arguments, Flag, tokens};
use crate::output::{Format, Output};
use crate::session::Session;

/// Option files that may name further option files.
const MAX_OPTION_FILES: usize = 10;

/// `SS_RC_LIBSTRONGSWAN_INTEGRITY`: strongswan.conf cannot be read.
const BAD_SETTINGS: u8 = 64;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let mut out = Output::standard();
    ExitCode::from(run(arguments.collect(), &mut out))
}

/// What the shared options say.
struct Shared {
    uri: Option<String>,
    debug: i64,
    option_files: usize,
}

fn run(arguments: Vec<String>, out: &mut Output) -> u8 {
    let mut shared = Shared { uri: None, debug: 1, option_files: 0 };
    let mut arguments = Arguments::new(arguments);
    let command = match find_command(&mut arguments, &mut shared) {
        Ok(Some(command)) => command,
        Ok(None) => {
            out.write(usage::general());
            return 0;
        }
        Err(error) => {
            usage::refuse(out, None, &error);
            return 1;
        }
    };
    let given = match parse_options(command, &mut arguments, &mut shared) {
        Ok(given) => given,
        Err(error) => {
            usage::refuse(out, Some(command), &error);
            return 1;
        }
    };
    if given.has('h') {
        out.write(usage::of(command));
        return 0;
    }
    let settings = match Settings::load_for("swanctl") {
        Ok(settings) => settings,
        Err(error) => {
            out.error(error);
            return BAD_SETTINGS;
        }
    };
    out.format = match () {
        () if given.has('P') => Format::Pretty,
        () if given.has('r') => Format::Raw,
        () if given.has('j') => Format::Json,
        () => Format::Human,
    };
    let out = std::mem::replace(out, Output::standard());
    let mut session = Session::new(out, settings, shared.uri, shared.debug);
    match (command.run)(&mut session, &given) {
        Ok(()) => 0,
        Err(Failure::Exit(code)) => code,
        Err(Failure::Failed(message, code)) => {
            session.out.error(message);
            code
        }
        Err(Failure::Unreachable(message, code)) => {
            usage::refuse(&mut session.out, Some(command), &message);
            code
        }
    }
}

/// Parses up to the command; `None` if help is asked for or nothing is.
fn find_command(arguments: &mut Arguments, shared: &mut Shared) -> Result<Option<&'static Command>, String> {
    let mut flags = vec![Flag::switch("help", 'h', "")];
    flags.extend(commands::COMMANDS.iter().map(|command| Flag::switch(command.name, command.short, "")));
    flags.extend(usage::SHARED);
    while let Some((flag, value)) = arguments.next(&flags).map_err(|_| "invalid command".to_owned())? {
        if flag.long == "help" {
            return Ok(None);
        }
        if let Some(command) = commands::COMMANDS.iter().find(|command| command.name == flag.long) {
            return Ok(Some(command));
        }
        take_shared(flag, value.unwrap_or_default(), arguments, shared)?;
    }
    Ok(None)
}

fn parse_options(command: &Command, arguments: &mut Arguments, shared: &mut Shared) -> Result<Given, String> {
    let flags: Vec<Flag> = [command.flags, usage::COMMON, usage::SHARED].concat();
    let mut given = Given::default();
    let invalid = |_| format!("invalid --{} option", command.name);
    while let Some((flag, value)) = arguments.next(&flags).map_err(invalid)? {
        // Its own options come first: some of them have the letters of shared ones.
        if command.flags.contains(&flag) || usage::COMMON.contains(&flag) {
            given.0.push((flag.short, value));
        } else {
            take_shared(flag, value.unwrap_or_default(), arguments, shared)?;
        }
    }
    Ok(given)
}

fn take_shared(flag: Flag, value: String, arguments: &mut Arguments, shared: &mut Shared) -> Result<(), String> {
    match flag.long {
        "uri" => shared.uri = Some(value),
        "debug" => shared.debug = value.trim().parse().map_err(|_| "invalid --debug option".to_owned())?,
        _ => {
            shared.option_files += 1;
            if shared.option_files > MAX_OPTION_FILES {
                return Err("invalid --options: too many files name each other".to_owned());
            }
            let text =
                std::fs::read_to_string(&value).map_err(|error| format!("invalid --options: '{value}': {error}"))?;
            arguments.insert(tokens(&text));
        }
    }
    Ok(())
}
