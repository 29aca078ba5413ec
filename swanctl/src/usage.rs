//! The texts that say how the tool is called.

use strongswan::VERSION;

use crate::command::Command;
use crate::commands::COMMANDS;
use crate::getopt::Flag;
use crate::output::Output;

/// Options of the tool itself, allowed before and after the command.
pub(crate) const SHARED: &[Flag] = &[
    Flag::value("debug", 'v', "log level of the tool itself, default 1"),
    Flag::value("options", '+', "read further options from a file"),
    Flag::value("uri", 'u', "address of the daemon's control socket"),
];

/// Options that every command has.
pub(crate) const COMMON: &[Flag] = &[
    Flag::switch("help", 'h', "show how the command is called"),
    Flag::switch("raw", 'r', "dump messages, one a line"),
    Flag::switch("pretty", 'P', "dump messages, indented"),
    Flag::switch("json", 'j', "print JSON"),
];

/// The general help.
pub(crate) fn general() -> String {
    let mut text =
        format!("strongSwan {VERSION} swanctl\nloaded plugins: all, built in\nusage:\n  swanctl command [options]\n");
    text.push_str("commands:\n");
    for Command { name, short, description, .. } in COMMANDS {
        text.push_str(&format!("  --{name:16} (-{short})  {description}\n"));
    }
    text.push_str("options:\n");
    for Flag { long, short, help, .. } in SHARED {
        text.push_str(&format!("  --{long:16} (-{short})  {help}\n"));
    }
    text
}

/// The help of one command.
pub(crate) fn of(command: &Command) -> String {
    let Command { name, short, description, usage, flags, .. } = command;
    let mut text = format!("strongSwan {VERSION} swanctl (--{name}/-{short})\n{description}\nusage:\n");
    let mut lines = usage.iter();
    text.push_str(format!("  swanctl --{name} {}", lines.next().unwrap_or(&"")).trim_end());
    text.push('\n');
    for line in lines {
        text.push_str(&format!("    {line}\n"));
    }
    text.push_str("options:\n");
    let (help, formats) = COMMON.split_at(1);
    for Flag { long, short, help, .. } in help.iter().chain(*flags).chain(formats).chain(SHARED) {
        text.push_str(&format!("  --{long:15} (-{short})  {help}\n"));
    }
    text
}

/// Tells on standard error how the tool is called and what was wrong.
pub(crate) fn refuse(out: &mut Output, command: Option<&Command>, error: &str) {
    out.error(command.map_or_else(general, of).trim_end());
    out.error(format_args!("error: {error}"));
}
