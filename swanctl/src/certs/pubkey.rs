//! Raw public keys.

use der::Tag;
use der::asn1::GeneralizedTime;
use strongswan::clock::UnixTime;
use strongswan::credentials::PublicKey;
use vici::Message;

use super::{Sheet, View};

/// `None` if it cannot be parsed.
pub(super) fn describe(sheet: &mut Sheet, event: &Message, data: &[u8], private: bool, view: &View) -> Option<()> {
    let key = PublicKey::from_spki_der(data).ok()?;
    if let Some(subject) = event.str("subject") {
        sheet.name("subject:", subject);
    }
    if let (Some(from), Some(until)) = (event.str("not-before").and_then(time), event.str("not-after").and_then(time)) {
        sheet.validity(["validity:", "not before", "not after "], from, until, view);
    }
    sheet.key(&key, private);
    Some(())
}

/// A time as ASN.1 writes it: `20261120115524Z`.
fn time(text: &str) -> Option<UnixTime> {
    let any = der::asn1::Any::new(Tag::GeneralizedTime, text.as_bytes()).ok()?;
    let time = any.decode_as::<GeneralizedTime>().ok()?;
    Some(UnixTime(i64::try_from(time.to_unix_duration().as_secs()).ok()?))
}
