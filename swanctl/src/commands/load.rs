//! `--load-all`, `--load-creds`, `--load-authorities`, `--load-pools`, `--load-conns`.

use crate::command::Command;
use crate::getopt::Flag;
use crate::load::{What, run};

const FILE: Flag = Flag::value("file", 'f', "configuration to load instead of the default one");
const WITH_CREDENTIALS: &[Flag] = &[
    Flag::switch("clear", 'c', "clear all credentials first"),
    Flag::switch("noprompt", 'n', "do not ask for passphrases"),
    FILE,
];

pub(crate) const ALL: Command = Command {
    name: "load-all",
    short: 'q',
    description: "load credentials, authorities, pools and connections",
    usage: &["[--clear] [--noprompt] [--file <path>] [--raw|--pretty|--json]"],
    flags: WITH_CREDENTIALS,
    run: |session, given| run(session, given, What::All),
};

pub(crate) const CREDS: Command = Command {
    name: "load-creds",
    short: 's',
    description: "(re-)load credentials",
    usage: &["[--clear] [--noprompt] [--file <path>] [--raw|--pretty|--json]"],
    flags: WITH_CREDENTIALS,
    run: |session, given| run(session, given, What::Credentials),
};

pub(crate) const AUTHORITIES: Command = Command {
    name: "load-authorities",
    short: 'b',
    description: "(re-)load authority configuration",
    usage: &["[--file <path>] [--raw|--pretty|--json]"],
    flags: &[FILE],
    run: |session, given| run(session, given, What::Authorities),
};

pub(crate) const POOLS: Command = Command {
    name: "load-pools",
    short: 'a',
    description: "(re-)load pool configuration",
    usage: &["[--file <path>] [--raw|--pretty|--json]"],
    flags: &[FILE],
    run: |session, given| run(session, given, What::Pools),
};

pub(crate) const CONNS: Command = Command {
    name: "load-conns",
    short: 'c',
    description: "(re-)load connection configuration",
    usage: &["[--file <path>] [--raw|--pretty|--json]"],
    flags: &[FILE],
    run: |session, given| run(session, given, What::Connections),
};
