//! The IKE daemon: parses the command line and runs [`charon::daemon`].

use std::process::ExitCode;
use std::sync::Arc;

use charon::bus::log::{Levels, LineFormat, Sink};
use charon::bus::log::{LogLayer, Loggers, StreamLogger};
use charon::daemon::{Base, Daemon, Options, StartError};
use nix::sys::utsname::uname;
use strongswan::log;
use strongswan::log::Group;
use strongswan::processing::log_panics;
use strongswan::settings::Settings;
use tracing_subscriber::layer::SubscriberExt;

/// Exit code for settings that cannot be loaded.
const EXIT_SETTINGS: u8 = 64;

/// Exit code for a daemon that cannot start.
const EXIT_INITIALIZATION: u8 = 66;

const USAGE: &str = "\
Usage: charon
         [--help]
         [--version]
         [--use-syslog]
         [--debug-<type> <level>]
           <type>:  log context type (dmn|mgr|ike|chd|job|wch|cfg|knl|net|asn|enc|tnc|imc|imv|pts|tls|app|esp|lib)
           <level>: log verbosity (-1 = silent, 0 = audit, 1 = control,
                                    2 = controlmore, 3 = raw, 4 = private)
";

/// What the command line asks for.
enum Command {
    Run(Options),
    Print(String),
    Misused(String),
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Command {
    let mut options = Options { levels: Levels::all(1), use_syslog: false };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" => return Command::Print(USAGE.to_owned()),
            "--version" => return Command::Print(format!("Linux strongSwan {}\n", strongswan::VERSION)),
            "--use-syslog" => options.use_syslog = true,
            other => {
                let group = other.strip_prefix("--debug-");
                let group = group.and_then(|name| Group::ALL.iter().find(|group| group.keyword() == name));
                let Some(group) = group else { return Command::Misused(format!("unknown option '{other}'")) };
                let level = arguments.next().and_then(|level| level.parse::<i8>().ok());
                let Some(level) = level.filter(|level| (-1..=4).contains(level)) else {
                    return Command::Misused(format!("'{other}' needs a level from -1 to 4"));
                };
                options.levels.set(*group, level);
            }
        }
    }
    Command::Run(options)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the command line is answered with")]
fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Command::Run(options) => options,
        Command::Print(text) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Command::Misused(error) => {
            eprint!("{error}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let loggers = Loggers::new();
    let subscriber = tracing_subscriber::registry().with(LogLayer(Arc::clone(&loggers)));
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        eprintln!("log lines are taken by somebody else");
        return ExitCode::from(EXIT_INITIALIZATION);
    }
    log_panics();
    let early: Arc<dyn Sink> = Arc::new(StreamLogger::stderr(Levels::all(1), LineFormat::default()));
    loggers.add(Arc::clone(&early));
    let settings = match Settings::load_for("charon") {
        Ok(settings) => settings,
        Err(error) => {
            log!(LIB, 0, "{error}");
            log!(DMN, 0, "abort initialization due to invalid configuration");
            return ExitCode::from(EXIT_SETTINGS);
        }
    };
    let base = Base::new(settings, Arc::clone(&loggers), options);
    // From here on the configured sinks are heard, and nothing is said twice.
    loggers.remove(&early);
    base.report();
    log!(DMN, 1, "Starting IKE charon daemon (strongSwan {}{})", strongswan::VERSION, platform());
    let code = match run(&base) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            loggers.add(early);
            log!(DMN, 1, "{error}");
            log!(DMN, 1, "initialization failed - aborting charon");
            ExitCode::from(EXIT_INITIALIZATION)
        }
    };
    loggers.flush();
    code
}

fn run(base: &Arc<Base>) -> Result<(), StartError> {
    let daemon = Daemon::start(base)?;
    let ran = daemon.run();
    daemon.shut_down();
    ran
}

/// `, Linux 6.1.0, x86_64`
fn platform() -> String {
    uname().map_or_else(
        |_| String::new(),
        |name| {
            let [system, release, machine] =
                [name.sysname(), name.release(), name.machine()].map(|s| s.to_string_lossy());
            format!(", {system} {release}, {machine}")
        },
    )
}
