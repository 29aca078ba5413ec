//! The PID file: one daemon per file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use strongswan::log;

/// Why there is no PID file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another daemon has it.
    #[error("charon already running ('{}' exists)", .0.display())]
    Running(PathBuf),
    /// It cannot be written.
    #[error("unable to create pidfile '{}': {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The PID file of this process, removed when it is dropped. It is empty until the daemon serves.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Creates the file. That of a process that does not exist any more is replaced.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub(super) fn reserve(path: impl Into<PathBuf>) -> Result<Self, PidFileError> {
        let path = path.into();
        if path.exists() {
            if is_running(&path) {
                return Err(PidFileError::Running(path));
            }
            log!(DMN, 1, "removing pidfile '{}', process not running", path.display());
            // If this fails so does what follows, with a reason.
            let _ = fs::remove_file(&path);
        }
        match create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(PidFileError::Io { path, source }),
        }
    }

    /// Writes the process ID.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn publish(&self) -> Result<(), PidFileError> {
        writeln!(&self.file, "{}", std::process::id())
            .map_err(|source| PidFileError::Io { path: self.path.clone(), source })
    }
}

fn create(path: &Path) -> io::Result<File> {
    // Not through a link that somebody else put there.
    OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)
}

/// Whether the process named in the file exists, and is not this one: after a restart of the machine it could be.
fn is_running(path: &Path) -> bool {
    let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    match pid {
        Some(pid) if pid > 0 && u32::try_from(pid) != Ok(std::process::id()) => {
            matches!(kill(Pid::from_raw(pid), None), Ok(()) | Err(Errno::EPERM))
        }
        _ => false,
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Without the right to remove it an empty one is left. Nothing can be done about one that is gone already.
        let _ = self.file.set_len(0);
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("charon-pidfile-{}-{name}", std::process::id()))
    }

    #[test]
    fn it_names_this_process_and_goes_with_it() {
        let path = path("own");
        let file = PidFile::reserve(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "", "not before it serves");
        file.publish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_running_process_keeps_its_file_and_a_dead_one_does_not() {
        let path = path("other");
        fs::write(&path, "1\n").unwrap();
        assert!(matches!(PidFile::reserve(&path), Err(PidFileError::Running(_))));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        fs::write(&path, format!("{}\n", child.id())).unwrap();
        drop(PidFile::reserve(&path).unwrap());
        assert!(matches!(PidFile::reserve("/nowhere/charon.pid"), Err(PidFileError::Io { .. })));
    }
}
