//! Private key files: decrypted here, sent as DER.

use std::path::{Path, PathBuf};

use strongswan::credentials::{KeyError, PrivateKey};
use vici::Message;

use super::credentials::File;
use super::prompt;
use super::report::Mistake;
use super::secrets::Passphrase;

/// A `load-key` to send.
pub(super) struct Key {
    pub(super) path: PathBuf,
    /// What it is called in messages: its algorithm, or the directory it comes from if nobody here could read it.
    pub(super) label: String,
    pub(super) message: Message,
    /// It is encrypted, and nobody gave a passphrase.
    sealed: Option<(&'static str, String)>,
}

impl Key {
    /// A key of which everything is known.
    pub(super) fn open(path: PathBuf, key: &PrivateKey) -> Option<Self> {
        let label = key.key_type().to_string();
        let der = key.to_pkcs8_der().ok()?;
        let message = Message::new().with("type", &label).with("data", der.as_bytes());
        Some(Self { path, label, message, sealed: None })
    }

    /// What to do about it if it will be refused for want of a passphrase.
    pub(super) fn warning(&self) -> Option<String> {
        self.sealed.as_ref().map(|(kind, name)| sealed(&self.path, kind, name))
    }
}

/// Says how to give the passphrase of a file.
pub(super) fn sealed(path: &Path, kind: &str, name: &str) -> String {
    let path = path.display();
    format!("'{path}' is encrypted, add its passphrase: secrets {{ {kind}-1 {{ file = {name}, secret = \"...\" }} }}")
}

/// Directories of private keys and the type that is sent for a file that could not be read here.
pub(super) const DIRECTORIES: &[(&str, &str)] =
    &[("private", "any"), ("rsa", "rsa"), ("ecdsa", "ecdsa"), ("pkcs8", "any")];

/// Reads one file of the directory `kind`.
///
/// A passphrase that is configured and wrong is an error. What is in no format known here is sent as it is, for the
/// daemon may know it.
pub(super) fn prepare(
    kind: &'static str,
    sent_as: &str,
    file: File,
    passphrases: &[Passphrase],
    ask: bool,
    mistakes: &mut Vec<Mistake>,
) -> Key {
    let File { path, data } = file;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let configured: Vec<&Passphrase> =
        passphrases.iter().filter(|found| found.kind == kind && found.file.eq_ignore_ascii_case(&name)).collect();
    let parsed = if configured.is_empty() {
        if ask { read_asking(kind, &name, &data) } else { None }
    } else {
        let parsed =
            configured.iter().find_map(|found| PrivateKey::from_encrypted(&data, found.secret.as_bytes()).ok());
        if let (None, Some(first)) = (&parsed, configured.first()) {
            let text = format!("configured decryption secret for '{name}' invalid");
            mistakes.push(Mistake::at(&first.origin, text));
        }
        parsed
    };
    if let Some(key) = parsed.and_then(|key| Key::open(path.clone(), &key)) {
        return key;
    }
    let encrypted = configured.is_empty() && PrivateKey::from_der_or_pem(&data) == Err(KeyError::Encrypted);
    let sealed = encrypted.then_some((kind, name));
    let message = Message::new().with("type", sent_as).with("data", data);
    Key { path, label: kind.to_owned(), message, sealed }
}

fn read_asking(kind: &str, name: &str, data: &[u8]) -> Option<PrivateKey> {
    match PrivateKey::from_der_or_pem(data) {
        Ok(key) => Some(key),
        Err(KeyError::Encrypted) => {
            let passphrase = prompt::password(&format!("Password for {kind} file '{name}': "))?;
            PrivateKey::from_encrypted(data, passphrase.as_bytes()).ok()
        }
        Err(KeyError::Malformed | KeyError::Unsupported | KeyError::WrongPassphrase) => None,
    }
}

/// Passphrases for files that are not there.
pub(super) fn unused(passphrases: &[Passphrase], base: &Path, warnings: &mut Vec<String>) {
    for passphrase in passphrases {
        let path = base.join(passphrase.kind).join(&passphrase.file);
        if !path.exists() {
            let warning = format!("{}: there is no file '{}'", passphrase.file_origin, path.display());
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
}
