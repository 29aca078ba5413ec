//! Reads swanctl.conf, and refuses it as a whole if anything in it is wrong.

use std::path::PathBuf;

use strongswan::settings::options::{self, Finding, check};
use strongswan::settings::{Notice, NoticeKind, Settings, SettingsError, swanctl_dir};

use crate::command::{Failure, Given, INVALID};
use crate::load::Mistake;
use crate::session::Session;

/// A swanctl.conf that could be read.
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// Where the directories of credentials are.
    pub(crate) directory: PathBuf,
}

/// The name of the file to load: `--file`, else the one in the base directory.
fn path(given: &Given) -> PathBuf {
    given.value('f').map_or_else(|| swanctl_dir().join("swanctl.conf"), PathBuf::from)
}

/// Loads the configuration for the top-level `sections` a command is about.
///
/// strongSwan takes a file that is missing or broken for an empty one and unloads everything. Here it is an error, and
/// the daemon is left alone.
///
/// What is wrong is added to `mistakes`, for the caller to show.
pub(crate) fn load(
    session: &mut Session,
    given: &Given,
    sections: &[&str],
    mistakes: &mut Vec<Mistake>,
) -> Result<Config, Failure> {
    let path = path(given);
    let settings = Settings::load(&path).map_err(|error| {
        match error {
            SettingsError::Syntax(errors) => {
                mistakes.extend(errors.iter().map(|error| Mistake::at(&error.origin, error.message.clone())));
            }
            error => mistakes.push(Mistake { origin: None, text: error.to_string() }),
        }
        Failure::Failed(format!("parsing '{}' failed", path.display()), INVALID)
    })?;
    for notice in settings.notices() {
        match notice.kind {
            // strongSwan passes over it, and then unloads what the daemon has from it.
            NoticeKind::Unreadable => {
                mistakes.push(Mistake { origin: notice.origin.clone(), text: notice.message.clone() })
            }
            NoticeKind::Pattern | NoticeKind::NotAFile => show_notice(session, notice),
        }
    }
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) = check(&settings, options::swanctl_conf())
        .into_iter()
        .filter(|finding| concerns(finding, sections))
        .partition(|finding| finding.error);
    for finding in &warnings {
        session.out.error(finding);
    }
    mistakes.extend(errors.iter().map(|error| Mistake::at(&error.origin, error.problem_text())));
    let directory = path.parent().map(PathBuf::from).unwrap_or_default();
    Ok(Config { settings, directory })
}

fn show_notice(session: &mut Session, notice: &Notice) {
    if i64::from(notice.level()) <= session.debug {
        session.out.error(notice);
    }
}

/// Whether a finding is about one of the sections, or about a section that may have been meant to be one.
fn concerns(finding: &Finding, sections: &[&str]) -> bool {
    let (top, below) = finding.path.split_once('.').unwrap_or((&finding.path, ""));
    below.is_empty() || sections.contains(&top)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, capture};

    #[test]
    fn an_include_that_cannot_be_read_is_a_mistake() {
        let base = std::env::temp_dir().join(format!("swanctl-config-{}", std::process::id()));
        std::fs::create_dir_all(base.join("conf.d/directory.conf")).unwrap();
        // A regular file that nobody can read from its start, not even root.
        std::os::unix::fs::symlink("/proc/self/mem", base.join("conf.d/x.conf")).unwrap();
        let file = base.join("swanctl.conf");
        std::fs::write(&file, "\ninclude conf.d/*.conf\ninclude none/*.conf\n").unwrap();
        let (out, _) = capture::output(Format::Human);
        let mut session = Session::new(out, Settings::new(), None, 1);
        let given = Given(vec![('f', Some(file.display().to_string()))]);
        let mut mistakes = Vec::new();
        load(&mut session, &given, &["connections"], &mut mistakes).ok().unwrap();
        let mistakes: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
        let base_shown = base.display();
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].starts_with(&format!(
            "{base_shown}/swanctl.conf:2:1: failed to open config file '{base_shown}/conf.d/x.conf': "
        )));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
