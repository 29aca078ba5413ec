//! Certificates, private keys and secrets.

use std::path::{Path, PathBuf};

use strongswan::settings::Origin;
use vici::Message;

use super::keys::{self, Key};
use super::report::{Mistake, Report};
use super::secrets::{self, Shared, Token};
use super::{pkcs12, prompt, read};
use crate::command::{Failure, io_errno};
use crate::config::Config;
use crate::output::Format;
use crate::session::Session;

/// Directories of certificates, in the order in which they are loaded, with what their files are loaded as.
const DIRECTORIES: &[(&str, &str, Option<&str>)] = &[
    ("x509", "X509", Some("NONE")),
    ("x509ca", "X509", Some("CA")),
    ("x509ocsp", "X509", Some("OCSP")),
    ("x509aa", "X509", Some("AA")),
    ("x509ac", "X509_AC", None),
    ("x509crl", "X509_CRL", None),
    ("pubkey", "PUBKEY", None),
];

/// A file and what is in it.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) data: Vec<u8>,
}

/// A `load-cert` to send.
pub(super) struct Certificate {
    pub(super) path: PathBuf,
    /// Whose it is, said of certificates that come from a container.
    pub(super) subject: Option<String>,
    pub(super) message: Message,
}

/// All that will be sent.
pub(super) struct Credentials {
    certificates: Vec<Certificate>,
    keys: Vec<Key>,
    tokens: Vec<Token>,
    shared: Vec<Shared>,
    /// Something is there and could not be read: what the daemon has may come from it and stays.
    incomplete: bool,
}

/// Reads everything.
pub(super) fn prepare(session: &mut Session, config: &Config, ask: bool, mistakes: &mut Vec<Mistake>) -> Credentials {
    let base = &config.directory;
    let mut certificates = Vec::new();
    let mut incomplete = false;
    for (directory, kind, flag) in DIRECTORIES {
        for file in files(session, &base.join(directory), &mut incomplete) {
            let mut message = Message::new();
            message.push("type", *kind).push_some("flag", *flag).push("data", file.data);
            certificates.push(Certificate { path: file.path, subject: None, message });
        }
    }
    let mut secrets = secrets::prepare(config, mistakes);
    let mut keys = Vec::new();
    for (directory, sent_as) in keys::DIRECTORIES {
        for file in files(session, &base.join(directory), &mut incomplete) {
            let key = keys::prepare(directory, sent_as, file, &secrets.passphrases, ask, mistakes);
            secrets.warnings.extend(key.warning());
            keys.push(key);
        }
    }
    for file in files(session, &base.join("pkcs12"), &mut incomplete) {
        match pkcs12::prepare(file, &secrets.passphrases, ask, mistakes) {
            Ok((contained, found)) => {
                certificates.extend(contained);
                keys.extend(found);
            }
            Err(warning) => {
                incomplete = true;
                secrets.warnings.push(warning);
            }
        }
    }
    keys::unused(&secrets.passphrases, base, &mut secrets.warnings);
    for token in secrets.tokens.iter_mut().filter(|token| ask && token.message.get("pin").is_none()) {
        if let Some(pin) = prompt::password(&format!("PIN for {}: ", token.name)) {
            token.message.push("pin", pin.as_bytes());
        }
    }
    for warning in &secrets.warnings {
        session.out.error(warning);
    }
    Credentials { certificates, keys, tokens: secrets.tokens, shared: secrets.shared, incomplete }
}

/// The regular files of a directory. `incomplete` is set if it has one that cannot be read.
fn files(session: &mut Session, directory: &Path, incomplete: &mut bool) -> Vec<File> {
    let mut paths: Vec<PathBuf> = match directory.read_dir() {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(error) => {
            *incomplete |= error.kind() != std::io::ErrorKind::NotFound;
            if session.debug >= 1 {
                let reason = io_errno(&error).desc();
                session.out.error(format_args!("opening directory '{}' failed: {reason}", directory.display()));
            }
            return Vec::new();
        }
    };
    paths.sort();
    let mut files = Vec::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        match read(&path) {
            Ok(data) => files.push(File { path, data }),
            Err(error) => {
                *incomplete = true;
                session.out.error(format_args!("mapping '{}' failed: {error}, skipped", path.display()));
            }
        }
    }
    files
}

/// Loads them, and unloads keys and secrets that the daemon has and the files have not.
pub(super) fn load(
    session: &mut Session,
    credentials: &Credentials,
    clear: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut loader = Loader { session, report, failed: credentials.incomplete };
    if clear {
        loader.clear()?;
    }
    let mut stale_keys = loader.known("get-keys")?;
    let mut stale_shared = loader.known("get-shared")?;
    for Certificate { path, subject, message } in &credentials.certificates {
        let path = path.display().to_string();
        let loaded = format!("loaded certificate from '{path}'");
        loader.send("load-cert", message, &Thing { kind: "certificate", name: &path, origin: None }, |_| loaded)?;
        if let Some(subject) = subject.as_ref().filter(|_| loader.session.out.format == Format::Human) {
            loader.session.out.error(format_args!("  {subject}"));
        }
    }
    for Key { path, label, message, .. } in &credentials.keys {
        let path = path.display().to_string();
        let loaded = format!("loaded {label} key from '{path}'");
        let thing = Thing { kind: "key", name: &path, origin: None };
        if let Some(answer) = loader.send("load-key", message, &thing, |_| loaded)? {
            stale_keys.retain(|id| answer.str("id") != Some(id));
        }
    }
    for Token { name, message, origin } in &credentials.tokens {
        let thing = Thing { kind: "token", name, origin: origin.as_ref() };
        let loaded = |answer: &Message| {
            format!("loaded key {name} from token [keyid: {}]", answer.str("id").unwrap_or("(null)"))
        };
        if let Some(answer) = loader.send("load-token", message, &thing, loaded)? {
            stale_keys.retain(|id| answer.str("id") != Some(id));
        }
    }
    for Shared { id, kind, message, origin } in &credentials.shared {
        let thing = Thing { kind: "secret", name: id, origin: origin.as_ref() };
        if loader.send("load-shared", message, &thing, |_| format!("loaded {kind} secret '{id}'"))?.is_some() {
            stale_shared.retain(|known| known != id);
        }
    }
    // After a failure nothing is taken away: what failed may be the newer form of what is there.
    if !loader.failed {
        loader.unload("unload-key", "key", &stale_keys)?;
        loader.unload("unload-shared", "secret", &stale_shared)?;
    }
    Ok(())
}

/// One thing to load, for messages.
struct Thing<'a> {
    kind: &'static str,
    name: &'a str,
    origin: Option<&'a Origin>,
}

struct Loader<'a> {
    session: &'a mut Session,
    report: &'a mut Report,
    failed: bool,
}

impl Loader<'_> {
    fn clear(&mut self) -> Result<(), Failure> {
        let answer = self.session.request("clear-creds", &Message::new())?;
        self.session.dump("clear-creds reply", &answer);
        answer.into_result().map(drop).map_err(|error| Failure::Failed(format!("clear-creds failed: {error}"), 1))
    }

    fn known(&mut self, command: &str) -> Result<Vec<String>, Failure> {
        let answer = self.session.request(command, &Message::new())?;
        self.session.dump(&format!("{command} reply"), &answer);
        Ok(answer.strs("keys").map(str::to_owned).collect())
    }

    /// Sends one thing; returns the answer if it was accepted.
    fn send(
        &mut self,
        command: &str,
        message: &Message,
        thing: &Thing<'_>,
        loaded: impl FnOnce(&Message) -> String,
    ) -> Result<Option<Message>, Failure> {
        let answer = self.session.request(command, message)?;
        let dumped = self.session.dump(&format!("{command} reply"), &answer);
        let Thing { kind, name, origin } = thing;
        match answer.into_result() {
            Ok(answer) => {
                self.report.loaded(kind, name);
                if !dumped && self.session.out.format == Format::Human {
                    self.session.out.line(loaded(&answer));
                }
                Ok(Some(answer))
            }
            Err(error) => {
                self.failed = true;
                self.report.failed(kind, name, &error.errmsg, &origin.cloned().into_iter().collect::<Vec<_>>());
                if !dumped {
                    let place = origin.map(|origin| format!("{origin}: ")).unwrap_or_default();
                    self.session.out.error(match *kind {
                        "secret" => format!("{place}loading shared secret failed: {error}"),
                        _ => format!("{place}loading '{name}' failed: {error}"),
                    });
                }
                Ok(None)
            }
        }
    }

    fn unload(&mut self, command: &str, kind: &str, stale: &[String]) -> Result<(), Failure> {
        for id in stale {
            let answer = self.session.request(command, &Message::new().with("id", id))?;
            self.session.dump(&format!("{command} reply"), &answer);
            match answer.into_result() {
                Ok(_) => self.report.unloaded(kind, id),
                Err(error) => self.session.out.error(format_args!("unloading key '{id}' failed: {error}")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use strongswan::settings::Settings;

    use super::*;
    use crate::output::capture;

    /// Whether all below `base` could be read, and what was said.
    fn read_all(base: &Path) -> (bool, String) {
        let (out, buffer) = capture::output(Format::Human);
        let mut session = Session::new(out, Settings::new(), None, 1);
        let config = Config { settings: Settings::new(), directory: base.to_path_buf() };
        let credentials = prepare(&mut session, &config, false, &mut Vec::new());
        (!credentials.incomplete, buffer.text())
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_removed() {
        let base = std::env::temp_dir().join(format!("swanctl-credentials-{}", std::process::id()));
        std::fs::create_dir_all(base.join("private")).unwrap();
        assert!(read_all(&base).0, "directories may be missing");
        // A regular file that nobody can read from its start, not even root.
        let key = base.join("private/key.pem");
        std::os::unix::fs::symlink("/proc/self/mem", &key).unwrap();
        let (complete, said) = read_all(&base);
        assert!(!complete && said.contains(&format!("mapping '{}' failed: I/O error, skipped", key.display())));
        std::fs::remove_dir_all(base.join("private")).unwrap();
        std::fs::write(base.join("private"), "").unwrap();
        assert!(!read_all(&base).0);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
