//! The commands, one file each.

mod counters;
mod flush_certs;
mod initiate;
mod install;
mod list_algs;
mod list_authorities;
mod list_certs;
mod list_conns;
mod list_pols;
mod list_pools;
mod list_sas;
mod load;
mod log;
mod monitor_sa;
mod redirect;
mod rekey;
mod reload_settings;
mod stats;
mod terminate;
mod version;

use crate::command::Command;

/// All of them, in the order of the help.
pub(crate) const COMMANDS: &[Command] = &[
    counters::COMMAND,
    initiate::COMMAND,
    terminate::COMMAND,
    rekey::COMMAND,
    redirect::COMMAND,
    install::INSTALL,
    install::UNINSTALL,
    list_sas::COMMAND,
    monitor_sa::COMMAND,
    list_pols::COMMAND,
    list_authorities::COMMAND,
    list_conns::COMMAND,
    list_certs::COMMAND,
    list_pools::COMMAND,
    list_algs::COMMAND,
    flush_certs::COMMAND,
    load::ALL,
    load::AUTHORITIES,
    load::CONNS,
    load::CREDS,
    load::POOLS,
    log::COMMAND,
    version::COMMAND,
    stats::COMMAND,
    reload_settings::COMMAND,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::usage::{COMMON, SHARED};

    #[test]
    fn letters_are_unique() {
        let mut letters = HashSet::from(['h', 'v', 'u', '+']);
        for command in COMMANDS {
            assert!(letters.insert(command.short), "-{} of --{}", command.short, command.name);
            let mut own = HashSet::new();
            for flag in command.flags.iter().chain(COMMON).chain(SHARED) {
                assert!(own.insert(flag.short), "-{} of --{}", flag.short, command.name);
            }
        }
    }
}
