//! Loggers as strongswan.conf describes them: `charon.filelog` and `charon.syslog`.

use std::sync::Arc;

use strongswan::log;

use super::{Facility, Levels, LineFormat, Loggers, Sink, Stream, StreamLogger, SyslogLogger, syslog};

/// What strongswan.conf and the command line say about loggers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogConfig {
    /// `filelog.<name>`
    pub files: Vec<FileLog>,
    /// `syslog.<facility>`
    pub syslogs: Vec<SysLog>,
    /// `syslog.identifier`
    pub identifier: Option<String>,
}

/// One `filelog.<name>` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLog {
    /// Where lines go.
    pub stream: Stream,
    /// `default` and levels per group.
    pub levels: Levels,
    /// Format of lines.
    pub format: LineFormat,
    /// `append`
    pub append: bool,
    /// `flush_line`
    pub flush_line: bool,
}

/// One `syslog.<facility>` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysLog {
    /// Facility.
    pub facility: Facility,
    /// `default` and levels per group.
    pub levels: Levels,
    /// `ike_name`
    pub ike_name: bool,
    /// `log_level`
    pub log_level: bool,
    /// `map_level`
    pub map_level: i8,
}

impl LogConfig {
    /// The loggers without any configuration: syslog and, unless `use_syslog`, standard output, and audit lines to the
    /// system's authorisation log.
    pub fn fallback(levels: Levels, use_syslog: bool) -> Self {
        let syslog = |facility, levels| SysLog { facility, levels, ike_name: false, log_level: false, map_level: -1 };
        let stdout =
            FileLog { stream: Stream::Stdout, levels, format: LineFormat::default(), append: true, flush_line: true };
        Self {
            files: if use_syslog { Vec::new() } else { vec![stdout] },
            syslogs: vec![syslog(Facility::Daemon, levels), syslog(Facility::Auth, Levels::all(0))],
            identifier: None,
        }
    }

    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.syslogs.is_empty()
    }
}

impl Loggers {
    /// Replaces the configured loggers. Files are opened anew, so that a rotated one is let go. One that cannot be opened
    /// is reported to the others and left out.
    pub fn configure(&self, config: &LogConfig) {
        if let Some(identifier) = &config.identifier {
            syslog::identify(identifier);
        }
        self.flush();
        let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
        let mut failed = Vec::new();
        for file in &config.files {
            match file.open() {
                Ok(logger) => sinks.push(Arc::new(logger)),
                Err(error) => failed.push((&file.stream, error)),
            }
        }
        for entry in &config.syslogs {
            sinks.push(Arc::new(SyslogLogger::new(
                entry.facility,
                entry.levels,
                entry.ike_name,
                entry.log_level,
                entry.map_level,
            )));
        }
        self.replace_configured(sinks);
        for (stream, error) in failed {
            if let Stream::File(path) = stream {
                log!(DMN, 0, "opening file '{}' for logging failed: {error}", path.display());
            }
        }
    }
}

impl FileLog {
    fn open(&self) -> std::io::Result<StreamLogger> {
        let format = self.format.clone();
        match &self.stream {
            Stream::Stdout => Ok(StreamLogger::stdout(self.levels, format)),
            Stream::Stderr => Ok(StreamLogger::stderr(self.levels, format)),
            Stream::File(path) => StreamLogger::file(path, self.append, self.flush_line, self.levels, format),
        }
    }
}
