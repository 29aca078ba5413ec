//! Whether a peer that has proven who it is fulfils what its connection requires of it.

use std::sync::Arc;

use super::auth::{AuthClass, ConstraintError, EapMethod, KeyConstraints, Revocation};
use super::certificate::Certificate;
use super::keys::PublicKey;
use super::revocation::Validation;
use super::scheme::SignatureScheme;
use super::trust::{Chain, TrustedKey};
use crate::identity::Identity;

/// What a round of a connection's remote side requires.
#[derive(Debug, Clone, Copy)]
pub struct Requirements<'a> {
    /// The identity, or a pattern for it.
    pub id: Option<&'a Identity>,
    /// The way to authenticate.
    pub class: &'a AuthClass,
    /// Identity that one CA of the chain must have.
    pub ca_id: Option<&'a Identity>,
    /// CA certificates, one of which must be in the chain.
    pub cacerts: &'a [Arc<Certificate>],
    /// End entity certificates, one of which must be used.
    pub certs: &'a [Arc<Certificate>],
    /// Raw public keys, one of which must be used unless one of `certs` is.
    pub pubkeys: &'a [PublicKey],
    /// Groups, of one of which the peer must be a member.
    pub groups: &'a [Identity],
    /// Certificate policies that all must be present, as dotted OIDs.
    pub policies: &'a [String],
    /// What must be known about revocation.
    pub revocation: Revocation,
    /// The EAP identity, or a pattern for it; of a peer that does EAP.
    pub eap_id: Option<&'a Identity>,
    /// What keys and signatures must fulfil.
    pub constraints: &'a KeyConstraints,
}

/// What a peer has proven.
#[derive(Debug, Clone, Copy)]
pub struct Proven<'a> {
    /// Its identity.
    pub id: &'a Identity,
    /// How it authenticated itself.
    pub class: &'a AuthClass,
    /// The key it used, if it used one.
    pub key: Option<&'a TrustedKey>,
    /// The scheme of its IKE signature.
    pub scheme: Option<SignatureScheme>,
    /// The groups it is a member of.
    pub groups: &'a [Identity],
    /// The name that was authenticated within EAP.
    pub eap_id: Option<&'a Identity>,
}

impl Requirements<'_> {
    /// Compares what is required with what is proven.
    ///
    /// # Errors
    /// The first requirement that is not fulfilled.
    pub fn check(&self, proven: &Proven<'_>) -> Result<(), ConstraintError> {
        self.check_identity(proven)?;
        self.check_class(proven)?;
        self.check_eap_identity(proven)?;
        self.check_pins(proven)?;
        let chain = proven.key.and_then(TrustedKey::chain);
        self.check_cas(chain)?;
        self.check_policies(chain)?;
        self.check_revocation(proven.key)?;
        self.check_keys(proven)?;
        let is_member = |group: &Identity| proven.groups.iter().any(|membership| membership.matches(group).is_match());
        match self.groups.first() {
            Some(group) if !self.groups.iter().any(is_member) => Err(ConstraintError::Group(group.to_string())),
            _ => Ok(()),
        }
    }

    fn check_identity(&self, proven: &Proven<'_>) -> Result<(), ConstraintError> {
        match self.id {
            Some(wanted) if !proven.id.matches(wanted).is_match() => {
                Err(ConstraintError::Identity { wanted: wanted.clone(), used: proven.id.clone() })
            }
            _ => Ok(()),
        }
    }

    fn check_eap_identity(&self, proven: &Proven<'_>) -> Result<(), ConstraintError> {
        // without EAP the option means nothing
        let (AuthClass::Eap(_), Some(wanted)) = (proven.class, self.eap_id.filter(|id| !id.is_any())) else {
            return Ok(());
        };
        if proven.eap_id.is_some_and(|used| used.matches(wanted).is_match()) {
            return Ok(());
        }
        let used = proven.eap_id.cloned().unwrap_or_else(Identity::any);
        Err(ConstraintError::EapIdentity { wanted: wanted.clone(), used })
    }

    fn check_class(&self, proven: &Proven<'_>) -> Result<(), ConstraintError> {
        let same_method = match (self.class, proven.class) {
            (AuthClass::Any, _)
            | (AuthClass::Pubkey, AuthClass::Pubkey)
            | (AuthClass::Psk, AuthClass::Psk)
            | (AuthClass::Xauth(_), AuthClass::Xauth(_)) => true,
            (AuthClass::Eap(wanted), AuthClass::Eap(used)) => match wanted {
                // What the peer or the RADIUS server chose is accepted.
                EapMethod::Any | EapMethod::Dynamic | EapMethod::Radius => true,
                EapMethod::Type { .. } => wanted == used,
            },
            _ => false,
        };
        if same_method {
            return Ok(());
        }
        Err(ConstraintError::Class { wanted: self.class.clone(), used: proven.class.clone() })
    }

    fn check_pins(&self, proven: &Proven<'_>) -> Result<(), ConstraintError> {
        if self.certs.is_empty() && self.pubkeys.is_empty() {
            return Ok(());
        }
        let certificate = proven.key.and_then(TrustedKey::chain).map(|chain| &chain.end_entity);
        let cert_pinned = certificate.is_some_and(|used| self.certs.contains(used));
        let key_pinned = proven.key.is_some_and(|used| self.pubkeys.contains(used.key()));
        if cert_pinned || key_pinned {
            return Ok(());
        }
        let wanted = self.certs.first().map(|cert| cert.subject().to_string());
        let key = self.pubkeys.first().map(|key| hex::encode(key.fingerprint_sha1()));
        Err(ConstraintError::Certificate(wanted.or(key).unwrap_or_default()))
    }

    fn check_cas(&self, chain: Option<&Chain>) -> Result<(), ConstraintError> {
        let any_ca = |fits: &dyn Fn(&Arc<Certificate>) -> bool| chain.is_some_and(|chain| chain.cas().any(fits));
        if let Some(first) = self.cacerts.first()
            && !any_ca(&|ca| self.cacerts.contains(ca))
        {
            return Err(ConstraintError::Ca(first.subject().to_string()));
        }
        match self.ca_id {
            Some(id) if !any_ca(&|ca| ca.matches_identity(id).is_match()) => Err(ConstraintError::Ca(id.to_string())),
            _ => Ok(()),
        }
    }

    /// Every policy must be one of the end entity's that are valid along the whole chain.
    fn check_policies(&self, chain: Option<&Chain>) -> Result<(), ConstraintError> {
        let asserts =
            |policy: &String| chain.is_some_and(|chain| chain.policies.iter().any(|oid| oid.to_string() == *policy));
        match self.policies.iter().find(|policy| !asserts(policy)) {
            Some(policy) => Err(ConstraintError::Policy(policy.clone())),
            None => Ok(()),
        }
    }

    /// What is known about the whole chain. Without any check there is nothing to compare with (spec §3).
    fn check_revocation(&self, key: Option<&TrustedKey>) -> Result<(), ConstraintError> {
        let Some(known) = key.and_then(TrustedKey::validation) else { return Ok(()) };
        let (fits, wanted) = match self.revocation {
            Revocation::Relaxed => return Ok(()),
            Revocation::IfUri => (known <= Validation::Skipped, "SKIPPED"),
            Revocation::Strict => (known == Validation::Good, "GOOD"),
        };
        if fits { Ok(()) } else { Err(ConstraintError::Revocation { is: known.name(), wanted }) }
    }

    fn check_keys(&self, proven: &Proven<'_>) -> Result<(), ConstraintError> {
        let Some(key) = proven.key else { return Ok(()) };
        match key.chain() {
            Some(chain) => {
                chain
                    .certificates()
                    .try_for_each(|certificate| self.constraints.check_strength(certificate.public_key()))?;
                chain.signature_schemes().try_for_each(|scheme| self.constraints.check_chain_scheme(scheme))?;
            }
            None => self.constraints.check_strength(key.key())?,
        }
        proven.scheme.map_or(Ok(()), |scheme| self.constraints.check_ike_scheme(scheme))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::credentials::{Auth, AuthOptions, CertificateFlags, HashAlgorithm, Store};

    const NOW: UnixTime = UnixTime(1_767_225_600);

    fn cert(name: &str) -> Arc<Certificate> {
        let path = format!("{}/tests/data/certs/{name}.der", env!("CARGO_MANIFEST_DIR"));
        Arc::new(Certificate::from_der(&std::fs::read(path).unwrap()).unwrap())
    }

    /// The key of moon, trusted through int and ca.
    fn moon() -> TrustedKey {
        let store = Store::new();
        store.add_certificate(cert("ca"), CertificateFlags::default());
        let presented = [cert("moon"), cert("int")];
        store.trusted_keys(&Identity::parse("moon.example.org"), None, &presented, NOW).next().unwrap()
    }

    struct Case {
        id: Option<Identity>,
        ca_id: Option<Identity>,
        auth: Auth,
        cacerts: Vec<Arc<Certificate>>,
        certs: Vec<Arc<Certificate>>,
        pubkeys: Vec<PublicKey>,
        groups: Vec<Identity>,
        policies: Vec<String>,
        revocation: Revocation,
        memberships: Vec<Identity>,
    }

    impl Case {
        fn new(auth: &str) -> Self {
            Self {
                id: None,
                ca_id: None,
                auth: Auth::parse(auth, AuthOptions::default()).unwrap(),
                cacerts: vec![],
                certs: vec![],
                pubkeys: vec![],
                groups: vec![],
                policies: vec![],
                revocation: Revocation::Relaxed,
                memberships: vec![],
            }
        }

        /// What is wrong with moon in this case; empty if nothing is.
        fn check(&self) -> String {
            let (key, id) = (moon(), Identity::parse("moon.example.org"));
            self.check_with(&Proven {
                id: &id,
                class: &AuthClass::Pubkey,
                key: Some(&key),
                scheme: Some(SignatureScheme::EcdsaDer(HashAlgorithm::Sha2_384)),
                groups: &self.memberships,
                eap_id: None,
            })
        }

        fn check_with(&self, proven: &Proven<'_>) -> String {
            let requirements = Requirements {
                id: self.id.as_ref(),
                class: &self.auth.class,
                ca_id: self.ca_id.as_ref(),
                cacerts: &self.cacerts,
                certs: &self.certs,
                pubkeys: &self.pubkeys,
                groups: &self.groups,
                policies: &self.policies,
                revocation: self.revocation,
                eap_id: None,
                constraints: &self.auth.constraints,
            };
            requirements.check(proven).err().map(|error| error.to_string()).unwrap_or_default()
        }
    }

    #[test]
    fn identity_and_class() {
        assert_eq!(Case::new("pubkey").check(), "");
        assert_eq!(Case { id: Some(Identity::parse("*.example.org")), ..Case::new("pubkey") }.check(), "");
        assert_eq!(
            Case { id: Some(Identity::parse("sun.example.org")), ..Case::new("pubkey") }.check(),
            "constraint check failed: identity 'sun.example.org' (ID_FQDN) required, not matched by \
             'moon.example.org' (ID_FQDN)"
        );
        assert_eq!(
            Case::new("psk").check(),
            "constraint requires pre-shared key authentication, but public key was used"
        );
        let id = Identity::parse("moon");
        let used = AuthClass::Eap(EapMethod::Type { kind: 26, vendor: 0 });
        let eap = Proven { id: &id, class: &used, key: None, scheme: None, groups: &[], eap_id: None };
        for (wanted, fits) in [("eap", true), ("eap-mschapv2", true), ("eap-radius", true), ("eap-tls", false)] {
            assert_eq!(Case::new(wanted).check_with(&eap).is_empty(), fits, "{wanted}");
        }
    }

    #[test]
    fn pins() {
        let pinned = |certs: &[&str], pubkeys: Vec<PublicKey>| {
            Case { certs: certs.iter().map(|name| cert(name)).collect(), pubkeys, ..Case::new("pubkey") }.check()
        };
        assert_eq!(pinned(&["sun", "moon"], vec![]), "");
        let failed = "constraint check failed: peer not authenticated with peer cert 'C=CH, O=Test, CN=sun'";
        assert_eq!(pinned(&["sun"], vec![]), failed);
        assert_eq!(pinned(&["sun"], vec![cert("sun").public_key().clone()]), failed);
        assert_eq!(pinned(&["sun"], vec![cert("moon").public_key().clone()]), "");
        let psk = AuthClass::Psk;
        let id = Identity::parse("moon");
        let no_key = Proven { id: &id, class: &psk, key: None, scheme: None, groups: &[], eap_id: None };
        assert_eq!(Case { certs: vec![cert("sun")], ..Case::new("psk") }.check_with(&no_key), failed);
    }

    #[test]
    fn cas() {
        let from =
            |cas: &[&str]| Case { cacerts: cas.iter().map(|name| cert(name)).collect(), ..Case::new("pubkey") }.check();
        assert_eq!(from(&["ca"]), "");
        assert_eq!(from(&["rsa-ca", "int"]), "");
        assert_eq!(from(&["rsa-ca"]), "constraint check failed: peer not authenticated by CA 'CN=RSA'");
        let named = |id: &str| Case { ca_id: Some(Identity::parse(id)), ..Case::new("pubkey") }.check();
        assert_eq!(
            named("C=CH, O=Test, CN=Inter*"),
            "constraint check failed: peer not authenticated by CA 'C=CH, O=Test, CN=Inter*'"
        );
        assert_eq!(named("C=CH, O=Test, CN=Intermediate"), "");
        assert_eq!(named("C=CH, O=Test, CN=*"), "");
    }

    #[test]
    fn keys_and_signatures() {
        assert_eq!(Case::new("ecdsa-256").check(), "");
        assert_eq!(Case::new("ecdsa-384").check(), "constraint check failed: ECDSA-256 signatures not acceptable");
        assert_eq!(Case::new("pubkey-sha256-ike:pubkey-sha384").check(), "");
        let failed = "constraint check failed: X.509 signature scheme ECDSA_WITH_SHA256_DER not acceptable";
        assert_eq!(Case::new("pubkey-sha384").check(), failed);
        let failed = "constraint check failed: IKE signature scheme ECDSA_WITH_SHA384_DER not acceptable";
        assert_eq!(Case::new("pubkey-sha256").check(), failed);
    }

    #[test]
    fn groups_policies_revocation() {
        let staff = || vec![Identity::parse("staff"), Identity::parse("admins")];
        let case = Case { groups: staff(), ..Case::new("pubkey") };
        assert_eq!(case.check(), "constraint check failed: group membership to 'staff' required");
        let memberships = vec![Identity::parse("admins")];
        assert_eq!(Case { groups: staff(), memberships, ..Case::new("pubkey") }.check(), "");
        let case = Case { policies: vec!["1.2.3".into()], ..Case::new("pubkey") };
        assert_eq!(case.check(), "constraint check failed: constraint requires cert policy 1.2.3");
        assert_eq!(Case { revocation: Revocation::IfUri, ..Case::new("pubkey") }.check(), "");
        assert_eq!(
            Case { revocation: Revocation::Strict, ..Case::new("pubkey") }.check(),
            "constraint check failed: RULE_CRL_VALIDATION is SKIPPED, but requires at least GOOD"
        );
    }
}
