//! `cert*` and `cacert*` sections: certificates that the daemon reads itself.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use strongswan::credentials::Certificate;
use strongswan::log;
use vici::Message;

use super::LoadError;
use super::options::{Options, ScalarOption};
use super::value::{self, Invalid};

/// Larger files hold no certificate, which may have 64 KiB, whatever their encoding.
const MAX_FILE: u64 = 256 * 1024;

/// Where a certificate is.
#[derive(Default)]
struct Place {
    file: Option<String>,
    /// Key id of an object on a token.
    handle: Option<String>,
}

/// Loads the certificate of a section.
pub(super) fn load(name: &str, section: &Message) -> Result<Arc<Certificate>, LoadError> {
    let mut place = Place::default();
    OPTIONS.apply(&mut place, section, |_, name, _| Err(LoadError::InvalidSection(name.to_owned())))?;
    let failed = || LoadError::CertificateNotLoaded(name.to_owned());
    match (place.file, place.handle) {
        (None, None) => Err(LoadError::HandleOrFileMissing(name.to_owned())),
        (Some(_), Some(_)) => Err(LoadError::HandleAndFile(name.to_owned())),
        (None, Some(handle)) => {
            log!(CFG, 1, "loading certificate with handle '{handle}' failed: tokens are not supported");
            Err(failed())
        }
        (Some(file), None) => from_file(&file).map(Arc::new).ok_or_else(failed),
    }
}

/// The certificate in a file; the log says why there is none.
pub(super) fn from_file(file: &str) -> Option<Certificate> {
    let failed = |error: &dyn fmt::Display| log!(CFG, 1, "loading certificate from '{file}' failed: {error}");
    let data = read(file).map_err(|error| failed(&error)).ok()?;
    Certificate::from_der_or_pem(&data).map_err(|error| failed(&error)).ok()
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    File::open(file)?.take(MAX_FILE).read_to_end(&mut data)?;
    Ok(data)
}

const OPTIONS: Options<Place> = Options {
    scalars: &[
        ScalarOption {
            key: "file",
            set: |place, text| {
                place.file = Some(text.to_owned());
                Ok(())
            },
        },
        ScalarOption {
            key: "handle",
            set: |place, text| {
                place.handle = Some(text.to_owned());
                Ok(())
            },
        },
        // These two say more about a handle; without one they say nothing.
        ScalarOption { key: "slot", set: |_, text| value::uint32(text).map(drop) },
        ScalarOption { key: "module", set: |_, _| Ok::<_, Invalid>(()) },
    ],
    lists: &[],
};
