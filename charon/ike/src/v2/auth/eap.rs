//! AUTH after EAP (RFC 7296 §2.16): a MAC as with a pre-shared key, under the key that the method yields, or under SK_pi
//! and SK_pr if it yields none.
//!
//! Both functions ask for a [`Completed`] conversation, which nobody has before its method is satisfied.

use strongswan::credentials::AuthClass;
use strongswan::crypto::{CryptoError, PrfAlgorithm, Secret};
use strongswan::identity::Identity;
use strongswan::log;

use super::psk::mac;
use super::{Signed, VerifiedRound};
use crate::eap::Completed;
use crate::wire::{Auth, AuthMethod};

/// What a side's AUTH is made of besides the key of the method.
pub(in crate::v2) struct Material {
    /// What it covers.
    pub(in crate::v2) octets: Vec<u8>,
    /// SK_p of that side.
    pub(in crate::v2) key: Secret,
}

impl Material {
    fn mac(&self, prf: PrfAlgorithm, completed: &Completed) -> Result<Secret, CryptoError> {
        mac(prf, completed.msk().unwrap_or(&self.key), &self.octets)
    }
}

/// Our AUTH payload, and what NO_PPK_AUTH contains if there is material for that.
pub(in crate::v2) fn sign(
    prf: PrfAlgorithm,
    completed: &Completed,
    me: &Identity,
    material: &Material,
    without_ppk: Option<&Material>,
) -> Result<Signed, CryptoError> {
    log!(IKE, 1, "authentication of '{me}' (myself) with EAP");
    let mac = |material: &Material| material.mac(prf, completed).map(|mac| mac.as_bytes().to_vec());
    let data = mac(material)?;
    let without_ppk = without_ppk.map(mac).transpose()?;
    Ok(Signed { auth: Auth { method: AuthMethod::SharedKey, data }, without_ppk })
}

/// Checks the peer's AUTH payload. `eap_identity` is the name it gave within EAP.
pub(in crate::v2) fn verify(
    prf: PrfAlgorithm,
    completed: &Completed,
    other: &Identity,
    eap_identity: Option<&Identity>,
    material: &Material,
    auth: &Auth,
) -> Option<VerifiedRound> {
    let expected = material.mac(prf, completed).ok()?;
    if auth.method != AuthMethod::SharedKey || expected != Secret::from(auth.data.as_slice()) {
        let with = if completed.msk().is_some() { "with" } else { "without" };
        log!(IKE, 1, "verification of AUTH payload {with} EAP MSK failed");
        return None;
    }
    log!(IKE, 1, "authentication of '{other}' with EAP successful");
    let class = AuthClass::Eap(completed.method().as_configured());
    let key = completed.key().cloned().map(|key| (key, None));
    let mut round = VerifiedRound::new(other.clone(), class, key);
    round.eap_identity = completed.identity().or(eap_identity).cloned();
    round.groups = completed.groups().to_vec();
    Some(round)
}
