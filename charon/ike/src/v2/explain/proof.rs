//! What is wrong with a proof of identity, the peer's or ours.

use std::sync::Arc;

use strongswan::clock::UnixTime;
use strongswan::credentials::{AuthClass, Certificate, ConstraintError, KeyType, SecretKind, Store, TrustError};
use strongswan::identity::Identity;

use super::{connection, local, remote};
use crate::config::{AuthRound, PeerConfig, SendCert};
use crate::env::Env;
use crate::explain::{Change, Field, Mismatch, Place, Topic};
use crate::sa::{IkeSa, Phase};
use crate::v2::auth::{OwnRoundError, PskError, RoundError, SignError, VerifiedRound, VerifyError};
use crate::wire::AuthMethod;

/// A round of the peer under a connection.
pub(super) struct PeerRound<'a> {
    pub(super) config: &'a PeerConfig,
    pub(super) index: usize,
    /// Our identity in it.
    pub(super) me: &'a Identity,
    /// The peer's identity in it.
    pub(super) other: &'a Identity,
}

impl PeerRound<'_> {
    fn round(&self) -> Option<&AuthRound> {
        self.config.remote.get(self.index)
    }

    fn field(&self, topic: Topic, key: &'static str) -> Field {
        remote(self.config, self.index, topic, key)
    }
}

/// The value of `auth` for a class.
fn keyword(class: &AuthClass) -> &'static str {
    match class {
        AuthClass::Any => "any",
        AuthClass::Pubkey => "pubkey",
        AuthClass::Psk => "psk",
        AuthClass::Eap(_) => "eap",
        AuthClass::Xauth(_) => "xauth",
    }
}

/// Whether the peer used another way to authenticate than the connection demands.
pub(super) fn class(round: &PeerRound<'_>, method: AuthMethod) -> Option<Mismatch> {
    let used = match method {
        AuthMethod::SharedKey => AuthClass::Psk,
        AuthMethod::RsaSignature
        | AuthMethod::Ecdsa256
        | AuthMethod::Ecdsa384
        | AuthMethod::Ecdsa521
        | AuthMethod::DigitalSignature => AuthClass::Pubkey,
        _ => return None,
    };
    let wanted = &round.round()?.class;
    if *wanted == AuthClass::Any || *wanted == used {
        return None;
    }
    let change = Change::Set(keyword(&used).to_owned());
    Some(Mismatch::new(round.field(Topic::Authentication, "auth"), keyword(wanted), change).theirs(keyword(&used)))
}

/// Why the proof of a round was not accepted.
pub(super) fn refused(
    sa: &IkeSa,
    env: &Env<'_>,
    round: &PeerRound<'_>,
    error: &RoundError,
    presented: &[Arc<Certificate>],
) -> Mismatch {
    match error {
        RoundError::Psk(PskError::NotFound) => no_secret(round.config, round.me, round.other),
        RoundError::Psk(PskError::Mismatch | PskError::Crypto(_)) => other_secret(sa, env, round),
        RoundError::Pubkey(VerifyError::NoTrustedKey { key_type, failure }) => match failure {
            Some(error) => untrusted(env, round, error, presented),
            None => no_key(env.credentials, round, *key_type, presented),
        },
        RoundError::Pubkey(VerifyError::BadSignature { key_type }) => {
            let key = if round.round().is_some_and(|round| !round.pubkeys.is_empty()) { "pubkeys" } else { "certs" };
            let field = round.field(Topic::Certificate, key);
            let advice = format!("load the key that '{}' uses now, and name it in {field}", round.other);
            Mismatch::new(field, format_args!("another {key_type} key of '{}'", round.other), Change::Provide(advice))
                .theirs("a signature by a key that is not known here")
        }
        RoundError::Pubkey(VerifyError::Unusable) | RoundError::Method(_) | RoundError::Internal => {
            let advice = "use a pre-shared key or a usual signature on the peer".to_owned();
            Mismatch::new(round.field(Topic::Authentication, "auth"), "no support for it", Change::Peer(advice))
                .theirs(error)
        }
    }
}

/// No secret is loaded for these two.
fn no_secret(config: &PeerConfig, me: &Identity, other: &Identity) -> Mismatch {
    let section = format!("ike-{}", config.name);
    let field = Field::new(Topic::Secret, Place::Secret(section), "");
    let advice = format!("add {field} {{ id-1 = {me}  id-2 = {other}  secret = … }}");
    Mismatch::new(field, format_args!("no secret for '{me}' - '{other}'"), Change::Provide(advice))
        .theirs("a pre-shared key")
}

/// There is one, but not the peer's. Which one is said, not what.
fn other_secret(sa: &IkeSa, env: &Env<'_>, round: &PeerRound<'_>) -> Mismatch {
    let (me, other) = (round.me, round.other);
    let best = env.credentials.shared_secrets(SecretKind::Ike, Some(me), Some(other)).next();
    let section = best.and_then(|secret| secret.id.clone()).unwrap_or_else(|| format!("ike-{}", round.config.name));
    let field = Field::new(Topic::Secret, Place::Secret(section), "secret");
    let advice = format!("make {field} the same as on the peer");
    let with_ppk = match &sa.phase {
        Phase::Handshake(handshake) => handshake.ppk.as_ref().map(|ppk| format!("or another PPK for '{}'", ppk.id)),
        Phase::Authenticated(_) => None,
    };
    let mismatch = Mismatch::new(field, format_args!("a secret for '{me}' - '{other}'"), Change::Provide(advice));
    let mismatch = mismatch.theirs("another one");
    match with_ppk {
        Some(why) => mismatch.why(why),
        None => mismatch,
    }
}

/// No key came into question.
fn no_key(store: &Store, round: &PeerRound<'_>, key_type: KeyType, presented: &[Arc<Certificate>]) -> Mismatch {
    let other = round.other;
    let Some(certificate) = presented.first() else {
        if !round.config.ike.send_certreq {
            let field = connection(round.config, Topic::Certificate, "send_certreq");
            return Mismatch::new(field, "no", Change::Set("yes".to_owned())).theirs("sent no certificate");
        }
        let raw = round.round().is_some_and(|round| !round.pubkeys.is_empty());
        if !raw && store.trusted_cas().is_empty() {
            let field = Field::new(Topic::Certificate, Place::Folder, "x509ca");
            let advice = format!("put the CA certificate of '{other}' into x509ca");
            return Mismatch::new(field, "no CA to ask for a certificate of", Change::Provide(advice))
                .theirs("sent no certificate");
        }
        let (key, what) = if raw { ("pubkeys", "public key") } else { ("certs", "certificate") };
        let field = round.field(Topic::Certificate, key);
        let advice =
            format!("load the {what} of '{other}' and name it in {field}, or set send_cert = always on the peer");
        return Mismatch::new(field, format_args!("no {key_type} key of '{other}'"), Change::Provide(advice))
            .theirs("sent no certificate");
    };
    if certificate.confirms_identity(other) {
        let field = round.field(Topic::Certificate, "certs");
        let advice = "use the private key of that certificate on the peer".to_owned();
        return Mismatch::new(field, format_args!("no {key_type} key of '{other}'"), Change::Peer(advice))
            .theirs(format_args!("a certificate for '{other}' with another kind of key"));
    }
    let names: Vec<_> = certificate.names().map(|name| format!("'{name}'")).collect();
    let advice = format!("give the peer an identity that its certificate confirms: {}", names.join(", "));
    Mismatch::new(round.field(Topic::Identity, "id"), format_args!("'{other}' to confirm"), Change::Peer(advice))
        .theirs(format_args!("a certificate for {}", names.join(", ")))
}

/// There is a certificate, but it is not believed.
fn untrusted(env: &Env<'_>, round: &PeerRound<'_>, error: &TrustError, presented: &[Arc<Certificate>]) -> Mismatch {
    match error {
        TrustError::NoIssuer(subject) => no_issuer(env.credentials, round, subject, presented),
        TrustError::UntrustedRoot(root) => {
            let field = Field::new(Topic::Certificate, Place::Folder, "x509ca");
            let advice = format!("put the CA certificate \"{root}\" into x509ca, if it is trustworthy");
            Mismatch::new(field, "no such CA", Change::Provide(advice))
                .theirs(format_args!("a certificate of \"{root}\""))
        }
        TrustError::Expired { not_before, .. } => {
            let field = round.field(Topic::Certificate, "certs");
            let UnixTime(now) = env.wall;
            let advice = if now < not_before.0 {
                "check the clocks: the certificate is not valid yet".to_owned()
            } else {
                "renew the certificate of the peer, or of its CA".to_owned()
            };
            Mismatch::new(field, "another date", Change::Peer(advice)).theirs(error)
        }
        TrustError::PathTooLong
        | TrustError::PathLen { .. }
        | TrustError::KeyUsage
        | TrustError::CriticalExtension(_)
        | TrustError::Name(_)
        | TrustError::PolicyMissing(_)
        | TrustError::PolicyMapping(_)
        | TrustError::Revoked { .. }
        | TrustError::TooManySignatures => {
            let advice = "give the peer a certificate without that".to_owned();
            Mismatch::new(round.field(Topic::Certificate, "certs"), "no trust in it", Change::Peer(advice))
                .theirs(error)
        }
    }
}

fn no_issuer(store: &Store, round: &PeerRound<'_>, subject: &Identity, presented: &[Arc<Certificate>]) -> Mismatch {
    let field = Field::new(Topic::Certificate, Place::Folder, "x509ca");
    let Some(certificate) = presented.iter().find(|certificate| certificate.subject() == subject) else {
        let advice = format!("put the CA certificate that issued \"{subject}\" into x509ca");
        return Mismatch::new(field, "no issuer of it", Change::Provide(advice))
            .theirs(format_args!("'{}' with certificate \"{subject}\"", round.other));
    };
    if certificate.is_self_issued() {
        let field = round.field(Topic::Certificate, "certs");
        let advice = "give the peer a certificate of a CA in x509ca, or load this one into x509 if it is the peer's";
        return Mismatch::new(field, "no trust in it", Change::Provide(advice.to_owned()))
            .theirs(format_args!("self-signed certificate \"{subject}\""));
    }
    let issuer = certificate.issuer();
    let known = store.trusted_cas().iter().any(|ca| ca.subject() == issuer);
    let ours = if known { "a CA of that name that did not sign it" } else { "no such CA" };
    let advice = format!("put the CA certificate \"{issuer}\" into x509ca");
    Mismatch::new(field, ours, Change::Provide(advice))
        .theirs(format_args!("certificate \"{subject}\" issued by \"{issuer}\""))
}

/// What a connection demands beyond a valid proof.
pub(super) fn constraint(round: &PeerRound<'_>, done: &VerifiedRound, error: &ConstraintError) -> Mismatch {
    let proven = done.proven();
    let chain = proven.key.and_then(|key| key.chain());
    let set = |value: &str| Change::Set(value.to_owned());
    match error {
        ConstraintError::Identity { wanted, used } => {
            Mismatch::new(round.field(Topic::Identity, "id"), wanted, Change::Set(used.to_string())).theirs(used)
        }
        ConstraintError::EapIdentity { wanted, used } => {
            Mismatch::new(round.field(Topic::Identity, "eap_id"), wanted, Change::Set(used.to_string())).theirs(used)
        }
        ConstraintError::Class { wanted, used } => {
            let field = round.field(Topic::Authentication, "auth");
            Mismatch::new(field, keyword(wanted), set(keyword(used))).theirs(keyword(used))
        }
        ConstraintError::Certificate(wanted) => {
            let pinned_key = round.round().is_some_and(|round| round.certs.is_empty());
            let key = if pinned_key { "pubkeys" } else { "certs" };
            let field = round.field(Topic::Certificate, key);
            let used = chain
                .map_or_else(|| "a raw public key".to_owned(), |chain| format!("\"{}\"", chain.end_entity.subject()));
            let advice = format!("add the one of the peer, {used}, to {field}");
            Mismatch::new(field, format_args!("\"{wanted}\""), Change::Provide(advice)).theirs(used)
        }
        ConstraintError::Ca(wanted) => {
            let root = chain.and_then(|chain| chain.cas().last().map(|ca| ca.subject().to_string()));
            let root = root.unwrap_or_else(|| "no CA".to_owned());
            let by_id =
                round.round().and_then(|round| round.ca_id.as_ref()).is_some_and(|id| id.to_string() == *wanted);
            let (key, change) = if by_id {
                ("ca_id", Change::Set(format!("\"{root}\"")))
            } else {
                let field = round.field(Topic::Certificate, "cacerts");
                ("cacerts", Change::Provide(format!("add the certificate of \"{root}\" to {field}")))
            };
            Mismatch::new(round.field(Topic::Certificate, key), format_args!("\"{wanted}\""), change)
                .theirs(format_args!("a certificate of \"{root}\""))
        }
        ConstraintError::Group(wanted) => {
            let field = round.field(Topic::Authentication, "groups");
            Mismatch::new(field, wanted, Change::Remove).theirs("no membership")
        }
        ConstraintError::Strength(..) | ConstraintError::ChainScheme(_) | ConstraintError::IkeScheme(_) => {
            let field = round.field(Topic::Authentication, "auth");
            let used = match error {
                ConstraintError::Strength(kind, bits) => format!("a key {kind}-{bits}"),
                ConstraintError::ChainScheme(scheme) => format!("a certificate signed with {scheme}"),
                ConstraintError::IkeScheme(scheme) => format!("a signature with {scheme}"),
                _ => error.to_string(),
            };
            Mismatch::new(field, "constraints that do not allow it", set("pubkey")).theirs(used)
        }
        ConstraintError::Policy(wanted) => {
            let field = round.field(Topic::Certificate, "cert_policy");
            Mismatch::new(field, wanted, Change::Remove).theirs("a certificate without that policy")
        }
        ConstraintError::Revocation { is, wanted } => {
            let field = round.field(Topic::Certificate, "revocation");
            let ours = format!("revocation status {wanted} at least");
            Mismatch::new(field, ours, set("relaxed")).theirs(format_args!("a certificate of status {is}"))
        }
    }
}

/// Why we could not make a proof ourselves.
pub(super) fn own(
    sa: &IkeSa,
    config: &PeerConfig,
    index: usize,
    error: &OwnRoundError,
    me: &Identity,
    other: &Identity,
) -> Option<Mismatch> {
    let round = config.local.get(index)?;
    let field = |topic, key| local(config, index, topic, key);
    Some(match error {
        OwnRoundError::Psk(PskError::NotFound) => Mismatch { theirs: None, ..no_secret(config, me, other) },
        OwnRoundError::Pubkey(SignError::NoKey) => match round.certs.first() {
            Some(certificate) => {
                let subject = certificate.subject();
                let advice = format!("put the private key of certificate \"{subject}\" into private");
                let place = Field::new(Topic::Certificate, Place::Folder, "private");
                Mismatch::new(place, format_args!("no private key for \"{subject}\""), Change::Provide(advice))
            }
            None => {
                let place = field(Topic::Certificate, "certs");
                let advice = format!("name the certificate of '{me}' in {place}, and put its key into private");
                Mismatch::new(
                    place,
                    format_args!("no certificate with private key for '{me}'"),
                    Change::Provide(advice),
                )
            }
        },
        OwnRoundError::Pubkey(SignError::NoScheme) => {
            let place = field(Topic::Authentication, "auth");
            let why = match peer_hashes(sa) {
                Some(hashes) => format!("the peer accepts {hashes}"),
                None => "the peer accepts no RFC 7427 signatures".to_owned(),
            };
            if round.constraints.ike_schemes.is_empty() {
                let advice = "use a key of another kind, whose signatures the peer knows".to_owned();
                Mismatch::new(place, "no signature scheme for our key", Change::Provide(advice)).why(why)
            } else {
                Mismatch::new(
                    place,
                    "signature schemes that the peer or our key lacks",
                    Change::Set("pubkey".to_owned()),
                )
                .why(why)
            }
        }
        OwnRoundError::Class(class) => {
            let place = field(Topic::Authentication, "auth");
            Mismatch::new(place, class, Change::Set("psk".to_owned())).why("not supported")
        }
        OwnRoundError::Psk(_) | OwnRoundError::Internal => return None,
    })
}

fn peer_hashes(sa: &IkeSa) -> Option<String> {
    let Phase::Handshake(handshake) = &sa.phase else { return None };
    let hashes = handshake.peer_hashes.as_ref()?;
    Some(hashes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// What the peer may hold against our proof; it told us only that it failed.
pub(super) fn ours_refused(
    config: &PeerConfig,
    index: usize,
    me: &Identity,
    other: Option<&Identity>,
) -> Vec<Mismatch> {
    let mut found = Vec::new();
    let field = local(config, index, Topic::Identity, "id");
    let advice = format!("check that the peer has a connection for us with remote.id = {me}");
    found.push(Mismatch::new(field, me, Change::Peer(advice)).why("the peer may not know us"));
    if let Some(other) = other {
        let field = remote(config, 0, Topic::Identity, "id");
        let advice = format!("check that local.id of that connection on the peer is {other}, or set {field} = %any");
        found.push(Mismatch::new(field, other, Change::Peer(advice)).why("the peer may have another identity"));
    }
    let class = config.local.get(index).map(|round| &round.class);
    found.push(if class == Some(&AuthClass::Psk) {
        let field = Field::new(Topic::Secret, Place::Secret(format!("ike-{}", config.name)), "secret");
        let advice = "check that the peer has the same secret for these two identities, and auth = psk".to_owned();
        Mismatch::new(field, format_args!("a secret for '{me}'"), Change::Peer(advice)).why("the peer may have another")
    } else if config.send_cert == SendCert::Never {
        let field = connection(config, Topic::Certificate, "send_cert");
        Mismatch::new(field, "never", Change::Set("always".to_owned())).why("the peer may not have our certificate")
    } else {
        let field = local(config, index, Topic::Certificate, "certs");
        let advice = "check that the peer trusts the CA of our certificate, and has auth = pubkey".to_owned();
        let ours = config.local.get(index).and_then(|round| round.certs.first());
        let ours =
            ours.map_or_else(|| format!("the key of '{me}'"), |cert| format!("certificate \"{}\"", cert.subject()));
        Mismatch::new(field, ours, Change::Peer(advice)).why("the peer may not trust it")
    });
    found
}
