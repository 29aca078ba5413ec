//! Where configuration files are: build defaults and the environment variables that override them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Directory of the system's configuration; set `SYSCONFDIR` when building to change it.
pub const SYSCONFDIR: &str = match option_env!("SYSCONFDIR") {
    Some(path) => path,
    None => "/etc",
};

/// Runtime directory of sockets and PID files; set `PIDDIR` when building to change it.
pub const PIDDIR: &str = match option_env!("PIDDIR") {
    Some(path) => path,
    None => "/var/run",
};

/// The strongswan.conf to load: `$STRONGSWAN_CONF`, else the build default. `None` if the variable is set but empty,
/// which means to run with empty settings.
pub fn strongswan_conf() -> Option<PathBuf> {
    strongswan_conf_from(std::env::var_os("STRONGSWAN_CONF"))
}

fn strongswan_conf_from(variable: Option<OsString>) -> Option<PathBuf> {
    match variable {
        None => Some(Path::new(SYSCONFDIR).join("strongswan.conf")),
        Some(path) if path.is_empty() => None,
        Some(path) => Some(PathBuf::from(path)),
    }
}

/// The base directory of swanctl's configuration and credentials: `$SWANCTL_DIR`, else the build default. The working
/// directory if the variable is set but empty.
pub fn swanctl_dir() -> PathBuf {
    swanctl_dir_from(std::env::var_os("SWANCTL_DIR"))
}

fn swanctl_dir_from(variable: Option<OsString>) -> PathBuf {
    match variable {
        None => Path::new(SYSCONFDIR).join("swanctl"),
        Some(path) if path.is_empty() => PathBuf::from("."),
        Some(path) => PathBuf::from(path),
    }
}

/// URI of the daemon's control socket if nothing configures another.
pub fn default_vici_uri() -> String {
    format!("unix://{PIDDIR}/charon.vici")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment() {
        assert_eq!(strongswan_conf_from(None), Some(PathBuf::from("/etc/strongswan.conf")));
        assert_eq!(strongswan_conf_from(Some("".into())), None);
        assert_eq!(strongswan_conf_from(Some("/x/y".into())), Some(PathBuf::from("/x/y")));
        assert_eq!(swanctl_dir_from(None), PathBuf::from("/etc/swanctl"));
        assert_eq!(swanctl_dir_from(Some("".into())), PathBuf::from("."));
        assert_eq!(swanctl_dir_from(Some("/x".into())), PathBuf::from("/x"));
        assert_eq!(default_vici_uri(), "unix:///var/run/charon.vici");
    }
}
