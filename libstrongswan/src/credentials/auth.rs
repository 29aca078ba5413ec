//! The `auth` option of a connection's rounds: which way to authenticate, and what keys and signatures must fulfil.

use std::fmt;

use thiserror::Error;

use super::hash::HashAlgorithm;
use super::keys::{KeyType, PublicKey};
use super::scheme::SignatureScheme;
use crate::identity::Identity;
use crate::log;

/// How a side authenticates itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AuthClass {
    /// `auth` is unset: public key as signer, public key or pre-shared key as verifier.
    #[default]
    Any,
    /// `pubkey`, `rsa`, `ecdsa`, `ike:…`
    Pubkey,
    /// `psk`
    Psk,
    /// `eap…` (IKEv2)
    Eap(EapMethod),
    /// `xauth…` (IKEv1), with the name of the back end.
    Xauth(Option<String>),
}

impl fmt::Display for AuthClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Pubkey => "public key",
            Self::Psk => "pre-shared key",
            Self::Eap(_) => "EAP",
            Self::Xauth(_) => "XAuth",
        })
    }
}

/// Which EAP method is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EapMethod {
    /// No constraint.
    #[default]
    Any,
    /// A type, of a vendor unless that is 0.
    Type {
        /// EAP method type, or the vendor's type.
        kind: u32,
        /// Private enterprise number, 0 for IETF types.
        vendor: u32,
    },
    /// `dynamic`: what the peer asks for.
    Dynamic,
    /// `radius`: what the RADIUS server does.
    Radius,
}

impl EapMethod {
    /// Private enterprise numbers are 24 bits, and the last ones are ours.
    const MAX_VENDOR: u32 = 16_777_213;

    /// Parses `type[-vendor]`.
    fn parse(text: &str) -> Option<Self> {
        const NAMES: &[(&str, u32)] = &[
            ("identity", 1),
            ("md5", 4),
            ("otp", 5),
            ("gtc", 6),
            ("tls", 13),
            ("sim", 18),
            ("ttls", 21),
            ("aka", 23),
            ("peap", 25),
            ("mschapv2", 26),
            ("tnc", 38),
            ("pt", 54),
        ];
        let (name, vendor) = text.split_once('-').map_or((text, None), |(name, vendor)| (name, Some(vendor)));
        let vendor = match vendor {
            Some(vendor) => vendor.parse().ok().filter(|vendor| *vendor <= Self::MAX_VENDOR)?,
            None => 0,
        };
        if name.eq_ignore_ascii_case("dynamic") {
            return Some(Self::Dynamic);
        }
        if name.eq_ignore_ascii_case("radius") {
            return Some(Self::Radius);
        }
        let known = NAMES.iter().find(|row| row.0.eq_ignore_ascii_case(name)).map(|row| row.1);
        let kind = known.or_else(|| name.parse().ok()).filter(|kind| *kind != 0)?;
        Some(Self::Type { kind, vendor })
    }
}

/// `revocation`: how much has to be known about the status of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Revocation {
    /// The status must be good.
    Strict,
    /// The status must be good unless the certificate names no source.
    IfUri,
    /// Only a revoked certificate fails.
    #[default]
    Relaxed,
}

/// `auth` is none of the known forms.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("'{0}' is no way to authenticate")]
pub struct AuthError(pub String);

/// Settings that change what an `auth` string means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthOptions {
    /// `charon.rsa_pss`: RSA hashes allow RSA-PSS as well, and prefer it.
    pub rsa_pss: bool,
    /// `charon.signature_authentication_constraints`: what is required of certificates is required of the IKE
    /// signature too, unless `ike:` says something else.
    pub signature_authentication_constraints: bool,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self { rsa_pss: false, signature_authentication_constraints: true }
    }
}

/// What an `auth` string says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auth {
    /// The way to authenticate.
    pub class: AuthClass,
    /// What keys and signatures must fulfil.
    pub constraints: KeyConstraints,
    /// What of the text means nothing and was ignored. It was meant to demand something, so whoever can still ask
    /// should refuse it.
    pub ignored: Vec<String>,
}

impl Auth {
    /// Parses an `auth` string.
    ///
    /// # Errors
    /// If it is none of the known forms. Unknown tokens of constraints and unknown EAP types are logged and
    /// [ignored](Self::ignored), as strongSwan does.
    pub fn parse(text: &str, options: AuthOptions) -> Result<Self, AuthError> {
        let prefixed = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if ["ike:", "pubkey", "rsa", "ecdsa"].iter().any(|prefix| text.starts_with(prefix)) {
            let (constraints, ignored) = KeyConstraints::parse(text, true, options);
            Ok(Self { class: AuthClass::Pubkey, constraints, ignored })
        } else if text.eq_ignore_ascii_case("psk") {
            Ok(Self { class: AuthClass::Psk, ..Self::default() })
        } else if prefixed("xauth") {
            let backend = text.get("xauth".len()..).and_then(|rest| rest.strip_prefix('-')).map(str::to_owned);
            Ok(Self { class: AuthClass::Xauth(backend), ..Self::default() })
        } else if prefixed("eap") {
            let (method, constraints) = text.split_once(':').unwrap_or((text, ""));
            let (constraints, mut ignored) = KeyConstraints::parse(constraints, false, options);
            // Only lower case is looked at any further.
            let known = match method.strip_prefix("eap-") {
                Some(name) => EapMethod::parse(name),
                None => method.eq_ignore_ascii_case("eap").then_some(EapMethod::Any),
            };
            let method = known.unwrap_or_else(|| {
                log!(CFG, 1, "unknown EAP method: {method}");
                ignored.push(method.to_owned());
                EapMethod::Any
            });
            Ok(Self { class: AuthClass::Eap(method), constraints, ignored })
        } else {
            Err(AuthError(text.to_owned()))
        }
    }
}

/// What the keys and signatures of a peer must fulfil. An empty list demands nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyConstraints {
    /// Least sizes by key type: if there are any, every RSA and ECDSA key of a chain needs one of its own type that
    /// it reaches.
    pub strengths: Vec<(KeyType, u32)>,
    /// One of these for every signature of a trust chain.
    pub chain_schemes: Vec<SignatureScheme>,
    /// One of these for the signature in AUTH; the order is that of a signer's preference.
    pub ike_schemes: Vec<SignatureScheme>,
}

/// What a hash token applies to.
#[derive(Clone, Copy)]
enum Scope {
    Any,
    Key(KeyType),
    Pss,
}

impl Scope {
    fn from_token(token: &str) -> Option<Self> {
        match token {
            "pubkey" => Some(Self::Any),
            "rsa" => Some(Self::Key(KeyType::Rsa)),
            "rsa/pss" => Some(Self::Pss),
            "ecdsa" => Some(Self::Key(KeyType::Ecdsa)),
            "ed25519" => Some(Self::Key(KeyType::Ed25519)),
            "ed448" => Some(Self::Key(KeyType::Ed448)),
            _ => None,
        }
    }

    /// The key type whose size a number limits.
    fn sized(self) -> Option<KeyType> {
        match self {
            Self::Pss | Self::Key(KeyType::Rsa) => Some(KeyType::Rsa),
            Self::Key(KeyType::Ecdsa) => Some(KeyType::Ecdsa),
            Self::Any | Self::Key(_) => None,
        }
    }

    /// The schemes with a hash; none if they do not go together.
    fn schemes(self, hash: HashAlgorithm, rsa_pss: bool) -> Vec<SignatureScheme> {
        let types: &[KeyType] = match self {
            Self::Pss if hash.output_len() > 0 => return vec![SignatureScheme::rsa_pss(hash)],
            Self::Pss => return Vec::new(),
            Self::Any => &[KeyType::Rsa, KeyType::Ecdsa, KeyType::Ed25519, KeyType::Ed448],
            Self::Key(ref key_type) => std::slice::from_ref(key_type),
        };
        // SHA-3 is for PSS only.
        let sha3 = hash.name().is_some_and(|name| name.starts_with("HASH_SHA3_"));
        let schemes = types
            .iter()
            .filter(|_| !sha3)
            .filter_map(|key_type| SignatureScheme::from_key_and_hash(*key_type, hash))
            .collect::<Vec<_>>();
        let pss = schemes.iter().any(|scheme| rsa_pss && scheme.key_type() == KeyType::Rsa);
        pss.then(|| SignatureScheme::rsa_pss(hash)).into_iter().chain(schemes).collect()
    }
}

impl KeyConstraints {
    /// Reads dash-separated tokens; `ike` is whether there is an IKE signature that they may constrain. Returns what it
    /// ignored, too.
    fn parse(text: &str, ike: bool, options: AuthOptions) -> (Self, Vec<String>) {
        let (mut constraints, mut ignored) = (Self::default(), Vec::new());
        let (mut scope, mut for_ike, mut after_key_type) = (None, false, false);
        for token in text.split('-').filter(|token| !token.is_empty()) {
            let (name, prefixed) = token.strip_prefix("ike:").map_or((token, false), |name| (name, true));
            if let Some(new) = Scope::from_token(name) {
                (scope, for_ike, after_key_type) = (Some(new), prefixed, true);
                continue;
            }
            let strength = scope.filter(|_| after_key_type).and_then(Scope::sized).zip(name.parse::<u32>().ok());
            after_key_type = false;
            if let Some(strength) = strength {
                constraints.strengths.push(strength);
                continue;
            }
            let schemes = scope
                .zip(HashAlgorithm::from_name(name))
                .map(|(scope, hash)| scope.schemes(hash, options.rsa_pss))
                .unwrap_or_default();
            if schemes.is_empty() {
                log!(CFG, 1, "ignoring invalid auth token: '{token}'");
                ignored.push(token.to_owned());
            }
            match for_ike {
                true if ike => constraints.ike_schemes.extend(schemes),
                true => {}
                false => constraints.chain_schemes.extend(schemes),
            }
        }
        if ike && constraints.ike_schemes.is_empty() && options.signature_authentication_constraints {
            constraints.ike_schemes = constraints.chain_schemes.clone();
        }
        (constraints, ignored)
    }

    /// Whether a key of a chain is strong enough; the error is what strongSwan logs.
    ///
    /// # Errors
    /// If the key is too short, or none of its type is acceptable.
    pub fn check_strength(&self, key: &PublicKey) -> Result<(), ConstraintError> {
        let sized = matches!(key.key_type(), KeyType::Rsa | KeyType::Ecdsa);
        let fits = |(key_type, bits): &(KeyType, u32)| *key_type == key.key_type() && key.bits() >= *bits;
        if !sized || self.strengths.is_empty() || self.strengths.iter().any(fits) {
            Ok(())
        } else {
            Err(ConstraintError::Strength(key.key_type(), key.bits()))
        }
    }

    /// Whether the signature of a certificate is acceptable.
    ///
    /// # Errors
    /// If it is of a scheme that is not.
    pub fn check_chain_scheme(&self, scheme: SignatureScheme) -> Result<(), ConstraintError> {
        check_scheme(&self.chain_schemes, scheme, ConstraintError::ChainScheme)
    }

    /// Whether the signature of an AUTH payload is acceptable.
    ///
    /// # Errors
    /// If it is of a scheme that is not.
    pub fn check_ike_scheme(&self, scheme: SignatureScheme) -> Result<(), ConstraintError> {
        check_scheme(&self.ike_schemes, scheme, ConstraintError::IkeScheme)
    }
}

fn check_scheme(
    wanted: &[SignatureScheme],
    scheme: SignatureScheme,
    error: fn(SignatureScheme) -> ConstraintError,
) -> Result<(), ConstraintError> {
    if wanted.is_empty() || wanted.iter().any(|wanted| scheme.satisfies(*wanted)) { Ok(()) } else { Err(error(scheme)) }
}

/// How a peer that is who it says does not fulfil what is configured. The texts are those of strongSwan's log.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ConstraintError {
    /// No configured CA is in the chain, or none has the identity.
    #[error("constraint check failed: peer not authenticated by CA '{0}'")]
    Ca(String),
    /// None of the pinned certificates or keys was used.
    #[error("constraint check failed: peer not authenticated with peer cert '{0}'")]
    Certificate(String),
    /// Another identity was used.
    #[error(
        "constraint check failed: identity '{wanted}' ({}) required, not matched by '{used}' ({})",
        wanted.id_type(), used.id_type()
    )]
    Identity {
        /// The configured identity.
        wanted: Identity,
        /// The authenticated identity.
        used: Identity,
    },
    /// Another identity was used within EAP.
    #[error(
        "constraint check failed: EAP identity '{wanted}' ({}) required, not matched by '{used}' ({})",
        wanted.id_type(), used.id_type()
    )]
    EapIdentity {
        /// The configured identity.
        wanted: Identity,
        /// The authenticated identity.
        used: Identity,
    },
    /// Another way to authenticate was used.
    #[error("constraint requires {wanted} authentication, but {used} was used")]
    Class {
        /// The configured class.
        wanted: AuthClass,
        /// The one used.
        used: AuthClass,
    },
    /// Not a member of any configured group.
    #[error("constraint check failed: group membership to '{0}' required")]
    Group(String),
    /// A key of the chain is too short, or of a type without a configured minimum.
    #[error("constraint check failed: {0}-{1} signatures not acceptable")]
    Strength(KeyType, u32),
    /// A signature in the chain.
    #[error("constraint check failed: X.509 signature scheme {0} not acceptable")]
    ChainScheme(SignatureScheme),
    /// The IKE signature.
    #[error("constraint check failed: IKE signature scheme {0} not acceptable")]
    IkeScheme(SignatureScheme),
    /// A certificate policy is missing.
    #[error("constraint check failed: constraint requires cert policy {0}")]
    Policy(String),
    /// Too little is known about whether a certificate was revoked.
    #[error("constraint check failed: RULE_CRL_VALIDATION is {is}, but requires at least {wanted}")]
    Revocation {
        /// What is known.
        is: &'static str,
        /// What has to be known.
        wanted: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Auth {
        Auth::parse(text, AuthOptions::default()).unwrap()
    }

    fn names(schemes: &[SignatureScheme]) -> String {
        let short = |scheme: &SignatureScheme| {
            scheme.to_string().replace("RSA_EMSA_", "").replace("ECDSA_WITH_", "").replace("SHA2_", "SHA")
        };
        schemes.iter().map(short).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(text: &str, strengths: &[(KeyType, u32)], chain: &str, ike: &str) {
        let auth = parse(text);
        assert_eq!(auth.constraints.strengths, strengths, "{text}");
        assert_eq!(names(&auth.constraints.chain_schemes), chain, "{text}");
        assert_eq!(names(&auth.constraints.ike_schemes), ike, "{text}");
    }

    #[test]
    fn classes() {
        assert_eq!(parse("pubkey").class, AuthClass::Pubkey);
        assert_eq!(parse("ike:ed25519-identity").class, AuthClass::Pubkey);
        assert_eq!(parse("PSK").class, AuthClass::Psk);
        assert_eq!(parse("xauth").class, AuthClass::Xauth(None));
        assert_eq!(parse("xauth-radius:pin").class, AuthClass::Xauth(Some("radius:pin".into())));
        assert_eq!(parse("eap").class, AuthClass::Eap(EapMethod::Any));
        assert_eq!(parse("eap-TLS").class, AuthClass::Eap(EapMethod::Type { kind: 13, vendor: 0 }));
        assert_eq!(parse("eap-7-12345").class, AuthClass::Eap(EapMethod::Type { kind: 7, vendor: 12345 }));
        assert_eq!(parse("eap-7-16777214").class, AuthClass::Eap(EapMethod::Any));
        assert_eq!(parse("eap-foo").class, AuthClass::Eap(EapMethod::Any));
        assert_eq!(parse("EAP-TLS").class, AuthClass::Eap(EapMethod::Any));
        assert_eq!(parse("eap-radius").class, AuthClass::Eap(EapMethod::Radius));
        assert_eq!(parse("eap-dynamic").class, AuthClass::Eap(EapMethod::Dynamic));
        for invalid in ["", "any", "Pubkey", "ed25519", "psk2"] {
            assert_eq!(Auth::parse(invalid, AuthOptions::default()), Err(AuthError(invalid.into())));
        }
        assert_eq!(parse("psk").class.to_string(), "pre-shared key");
    }

    #[test]
    fn constraints() {
        use KeyType::{Ecdsa, Rsa};
        check("pubkey", &[], "", "");
        let both = "PKCS1_SHA256 SHA256_DER PKCS1_SHA512 SHA512_DER";
        check("pubkey-sha256-sha512", &[], both, both);
        let chain = "PKCS1_SHA256 SHA256_DER SHA384_DER";
        check("rsa-2048-sha256-ecdsa-256-sha256-sha384", &[(Rsa, 2048), (Ecdsa, 256)], chain, chain);
        check("ike:rsa/pss-sha256", &[], "", "PSS_SHA256_SALT_32");
        check("ike:pubkey-sha384-rsa-sha256", &[], "PKCS1_SHA256", "PKCS1_SHA384 SHA384_DER");
        check("rsa-2048-ecdsa-256", &[(Rsa, 2048), (Ecdsa, 256)], "", "");
        check("eap-tls:ecdsa-384-sha384", &[(Ecdsa, 384)], "SHA384_DER", "");
        check("eap-tls:ike:ecdsa-384-sha384", &[(Ecdsa, 384)], "", "");
        check("pubkey-identity", &[], "ED25519 ED448", "ED25519 ED448");
        check("rsa/pss-sha3_256", &[], "PSS_SHA3_256_SALT_32", "PSS_SHA3_256_SALT_32");
        // Ignored tokens: a size without a type, hashes that do not go with the key, anything unknown.
        check("pubkey-2048-foo-rsa-sha256-2048-identity-ecdsa-md5", &[], "PKCS1_SHA256", "PKCS1_SHA256");
    }

    #[test]
    fn what_is_ignored_is_told() {
        let ignored = |text| parse(text).ignored.join(" ");
        for text in ["pubkey", "psk", "xauth-radius", "eap", "EAP", "eap-tls:ecdsa-384-sha384", "rsa-2048-sha256"] {
            assert_eq!(ignored(text), "", "{text}");
        }
        assert_eq!(ignored("pubkey-sha265"), "sha265");
        assert_eq!(ignored("pubkey-2048-sha256-ed25519-sha256"), "2048 sha256");
        assert_eq!(ignored("eap-tsl:rsa-x"), "x eap-tsl");
        assert_eq!(ignored("EAP-TLS"), "EAP-TLS");
    }

    #[test]
    fn options() {
        let pss = AuthOptions { rsa_pss: true, ..AuthOptions::default() };
        let auth = Auth::parse("pubkey-sha256", pss).unwrap();
        assert_eq!(names(&auth.constraints.chain_schemes), "PSS_SHA256_SALT_32 PKCS1_SHA256 SHA256_DER");
        let apart = AuthOptions { signature_authentication_constraints: false, ..AuthOptions::default() };
        let auth = Auth::parse("rsa-sha256", apart).unwrap();
        assert_eq!(names(&auth.constraints.ike_schemes), "");
    }

    #[test]
    fn schemes_and_strengths_are_checked() {
        let scheme = SignatureScheme::EcdsaDer(HashAlgorithm::Sha2_256);
        let constraints = parse("ecdsa-256-sha256").constraints;
        assert_eq!(constraints.check_chain_scheme(scheme), Ok(()));
        assert_eq!(constraints.check_ike_scheme(SignatureScheme::Ecdsa256), Ok(()));
        let error = constraints.check_ike_scheme(SignatureScheme::Ed25519).unwrap_err();
        assert_eq!(error.to_string(), "constraint check failed: IKE signature scheme ED25519 not acceptable");
        assert_eq!(KeyConstraints::default().check_chain_scheme(SignatureScheme::Ed25519), Ok(()));
        let key = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys/ecdsa-256.pub.pem"));
        let key = PublicKey::from_der_or_pem(key).unwrap();
        assert_eq!(constraints.check_strength(&key), Ok(()));
        for text in ["ecdsa-384", "rsa-2048"] {
            let error = parse(text).constraints.check_strength(&key).unwrap_err();
            assert_eq!(error.to_string(), "constraint check failed: ECDSA-256 signatures not acceptable");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "(eap|xauth|pubkey|rsa|ike:|-|:|[0-9]+|sha256|ä){0,8}") {
            let _ = Auth::parse(&text, AuthOptions::default());
        }
    }
}
