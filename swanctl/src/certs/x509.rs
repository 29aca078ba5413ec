//! X.509 certificates.

use der::Decode;
use strongswan::credentials::Certificate;

use super::{Sheet, View, colons, extensions, serial};

/// `None` if it cannot be parsed.
pub(super) fn describe(sheet: &mut Sheet, data: &[u8], private: bool, view: &View) -> Option<()> {
    let certificate = Certificate::from_der(data).ok()?;
    let parsed = x509_cert::Certificate::from_der(data).ok()?;
    sheet.name("subject:", certificate.subject());
    sheet.name("issuer:", certificate.issuer());
    let titles = ["validity:", "not before", "not after "];
    sheet.validity(titles, certificate.not_before(), certificate.not_after(), view);
    sheet.field("serial:", serial(certificate.serial()));
    let names: Vec<String> = certificate.subject_alt_names().iter().map(ToString::to_string).collect();
    if !names.is_empty() {
        sheet.field("altNames:", names.join(", "));
    }
    if !view.short {
        let self_signed = certificate.issued_by(&certificate).is_ok();
        if let Some(flags) = extensions::flags(&parsed, self_signed) {
            sheet.field("flags:", flags);
        }
        extensions::uris(sheet, &parsed);
        extensions::constraints(sheet, &parsed);
    }
    if let Some(id) = certificate.authority_key_id() {
        sheet.field("authkeyId:", colons(id));
    }
    // Where the extension is missing, issuers use the fingerprint of the key.
    let fingerprint = certificate.public_key().fingerprint_sha1().as_slice();
    sheet.field("subjkeyId:", colons(certificate.subject_key_id().unwrap_or(fingerprint)));
    sheet.key(certificate.public_key(), private);
    Some(())
}
