//! PKCS#12 containers: opened here; what is in them is sent like files of their own.

use strongswan::credentials::{Certificate as X509, KeyError, Pkcs12};
use vici::Message;

use super::credentials::{Certificate, File};
use super::keys::{self, Key};
use super::prompt;
use super::report::Mistake;
use super::secrets::Passphrase;

/// Directory and prefix of the sections with passphrases.
const KIND: &str = "pkcs12";

/// Opens one file of the directory.
///
/// # Errors
/// A warning, if it cannot be opened: the other files are loaded all the same.
pub(super) fn prepare(
    file: File,
    passphrases: &[Passphrase],
    ask: bool,
    mistakes: &mut Vec<Mistake>,
) -> Result<(Vec<Certificate>, Vec<Key>), String> {
    let File { path, data } = file;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !Pkcs12::is_container(&data) {
        return Err(format!("'{}' is not a PKCS#12 container with an integrity code", path.display()));
    }
    let configured: Vec<&Passphrase> =
        passphrases.iter().filter(|found| found.kind == KIND && found.file.eq_ignore_ascii_case(&name)).collect();
    let opened = if let Some(first) = configured.first() {
        let mut last = Err(KeyError::WrongPassphrase);
        for passphrase in &configured {
            last = Pkcs12::open(&data, passphrase.secret.as_bytes());
            if last.is_ok() {
                break;
            }
        }
        if matches!(last, Err(KeyError::WrongPassphrase)) {
            let text = format!("configured decryption secret for '{name}' invalid");
            mistakes.push(Mistake::at(&first.origin, text));
        }
        last
    } else {
        let asked = if ask { prompt::password(&format!("Password for {KIND} file '{name}': ")) } else { None };
        let Some(passphrase) = asked else { return Err(keys::sealed(&path, KIND, &name)) };
        Pkcs12::open(&data, passphrase.as_bytes())
    };
    let opened = opened.map_err(|error| format!("opening '{}' failed: {error}", path.display()))?;
    let certificates = opened.certificates.into_iter().map(|der| {
        let subject = X509::from_der(&der).ok().map(|certificate| certificate.subject().to_string());
        let message = Message::new().with("type", "X509").with("flag", "NONE").with("data", der);
        Certificate { path: path.clone(), subject, message }
    });
    let keys = opened.keys.iter().filter_map(|key| Key::open(path.clone(), key)).collect();
    Ok((certificates.collect(), keys))
}
