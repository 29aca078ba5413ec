//! Certificate revocation lists.

use der::Decode;
use strongswan::clock::UnixTime;
use x509_cert::crl::{CertificateList, RevokedCert};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::crl::{BaseCrlNumber, CrlNumber};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlReason, FreshestCrl};
use x509_cert::time::Time;

use super::{Sheet, View, colons, extensions, names, serial};

/// `None` if it cannot be parsed.
pub(super) fn describe(sheet: &mut Sheet, data: &[u8], view: &View) -> Option<()> {
    let list = CertificateList::from_der(data).ok()?.tbs_cert_list;
    sheet.name("issuer:", names::distinguished(&list.issuer)?);
    let this_update = unix(list.this_update);
    // Without it the list is good until the next one.
    let next_update = list.next_update.map_or(UnixTime(i64::MAX), unix);
    sheet.validity(["update:", "this on", "next on"], this_update, next_update, view);
    let crl_extensions = list.crl_extensions.unwrap_or_default();
    if let Some(CrlNumber(number)) = get(&crl_extensions) {
        sheet.field("serial:", colons(number.as_bytes()));
    }
    if let Some(BaseCrlNumber(base)) = get(&crl_extensions) {
        sheet.field("delta CRL:", format_args!("for serial {}", colons(base.as_bytes())));
    }
    if let Some(id) = get::<AuthorityKeyIdentifier>(&crl_extensions).and_then(|id| id.key_identifier) {
        sheet.field("authKeyId:", colons(id.as_bytes()));
    }
    if let Some(FreshestCrl(points)) = get(&crl_extensions) {
        sheet.fields("freshest:", points.iter().flat_map(extensions::crl_uris));
    }
    let revoked = list.revoked_certificates.unwrap_or_default();
    let plural = if revoked.len() == 1 { "" } else { "s" };
    let colon = if revoked.is_empty() || view.short { "" } else { ":" };
    let shown = if view.short { [].iter() } else { revoked.iter() };
    let lines = shown.map(|RevokedCert { serial_number, revocation_date, crl_entry_extensions }| {
        let reason = crl_entry_extensions.as_ref().and_then(|extensions| get::<CrlReason>(extensions));
        let date = view.date(unix(*revocation_date));
        format!("{}: {date}, {}", serial(serial_number.as_bytes()), reason_text(reason))
    });
    sheet.counted(&format!("{} revoked certificate{plural}{colon}", revoked.len()), "revoked", 4, lines);
    Some(())
}

fn unix(time: Time) -> UnixTime {
    UnixTime(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
}

fn get<T: for<'a> Decode<'a> + der::oid::AssociatedOid>(extensions: &[Extension]) -> Option<T> {
    let extension = extensions.iter().find(|extension| extension.extn_id == T::OID)?;
    T::from_der(extension.extn_value.as_bytes()).ok()
}

fn reason_text(reason: Option<CrlReason>) -> &'static str {
    match reason {
        None | Some(CrlReason::Unspecified) => "unspecified",
        Some(CrlReason::KeyCompromise) => "key compromise",
        Some(CrlReason::CaCompromise) => "ca compromise",
        Some(CrlReason::AffiliationChanged) => "affiliation changed",
        Some(CrlReason::Superseded) => "superseded",
        Some(CrlReason::CessationOfOperation) => "cessation of operation",
        Some(CrlReason::CertificateHold) => "certificate hold",
        Some(CrlReason::RemoveFromCRL) => "remove from crl",
        Some(CrlReason::PrivilegeWithdrawn) => "privilege withdrawn",
        Some(CrlReason::AaCompromise) => "aa compromise",
    }
}
