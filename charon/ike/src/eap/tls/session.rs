//! One TLS connection with a peer that has to be somebody in particular.
//!
//! rustls is told that any certificate will do. Before its answer to one leaves, and before anything that came through
//! the connection is looked at, [`Session`] finds the certificate trusted for the identity that is expected, or ends it
//! all. Nothing is resumed: a ticket would let in whoever was let in once, whatever the configuration says by now.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, Connection, DistinguishedName, ProtocolVersion, ServerConfig, ServerConnection,
};
use strongswan::credentials::{AuthClass, Certificate, Proven, Requirements, Revocation, TrustedKey};
use strongswan::crypto::Secret;
use strongswan::identity::{IdType, Identity};
use strongswan::log;
use thiserror::Error;

use super::Flavor;
use super::certificates::{Verifier, certified};
use super::provider::{Allowed, allowed};
use crate::eap::method::Context;

/// Certificates of a peer that are looked at.
const MAX_CERTIFICATES: usize = 16;

/// Length of the key of a method (RFC 5216 §2.3: MSK and EMSK together).
const KEY_MATERIAL: usize = 128;

/// Length of the MSK.
const MSK: usize = 64;

/// Why a connection is over.
#[derive(Debug, Error)]
pub(in crate::eap) enum TlsError {
    /// The peer broke the rules or does not like ours; this is to be sent to it.
    #[error("TLS failed")]
    Alert(Vec<u8>),
    /// The peer is not who it should be. It hears nothing more.
    #[error("peer not trusted")]
    Untrusted,
    /// The peer has ended it.
    #[error("TLS connection closed")]
    Closed,
}

/// The time at which a method runs.
#[derive(Debug)]
struct Wall(strongswan::clock::UnixTime);

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.0).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// A TLS connection.
pub(in crate::eap) struct Session {
    connection: Connection,
    flavor: Flavor,
    /// The peer has to have a certificate.
    peer_auth: bool,
    peer: Option<TrustedKey>,
    plaintext: Vec<u8>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// The client's end. Without a key of its own it does without one, until the server insists.
    pub(super) fn client(context: &Context<'_>, flavor: Flavor) -> Option<Self> {
        let settings = &context.settings.tls;
        let Allowed { provider, versions, schemes } = allowed(settings);
        let signer = context.credentials.signing_key(context.peer, &context.local.certs, &[], &[]);
        let key = signer.and_then(|signer| certified(&signer, schemes.clone()));
        let verifier = Arc::new(Verifier { schemes, authorities: Vec::new() });
        let time = Arc::new(Wall(context.wall));
        let builder = ClientConfig::builder_with_details(Arc::new(provider), time).with_protocol_versions(&versions);
        let builder = builder.map_err(|error| failed(&error)).ok()?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match key {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => {
                log!(TLS, 1, "no TLS peer certificate found for '{}', skipping client authentication", context.peer);
                builder.with_no_client_auth()
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        // never sent: servers within EAP are known by identities of IKE
        let name = ServerName::try_from("eap.invalid").ok()?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(|error| failed(&error)).ok()?;
        Some(Self::new(connection.into(), flavor, true))
    }

    /// The server's end, with the key of the identity that clients expect; `peer_auth` to have clients' certificates.
    pub(super) fn server(context: &Context<'_>, flavor: Flavor, peer_auth: bool) -> Option<Self> {
        let settings = &context.settings.tls;
        let Allowed { provider, versions, schemes } = allowed(settings);
        // certificates of the connection may be for its IKE identity alone
        let own = context.local.certs.iter().filter(|certificate| certificate.confirms_identity(context.server));
        let own: Vec<Arc<Certificate>> = own.cloned().collect();
        let signer = context.credentials.signing_key(context.server, &own, &[], &[]);
        let Some(key) = signer.and_then(|signer| certified(&signer, schemes.clone())) else {
            log!(TLS, 1, "no usable TLS server certificate found for '{}'", context.server);
            return None;
        };
        let time = Arc::new(Wall(context.wall));
        let builder = ServerConfig::builder_with_details(Arc::new(provider), time).with_protocol_versions(&versions);
        let builder = builder.map_err(|error| failed(&error)).ok()?;
        let verifier = if peer_auth {
            let authorities =
                if settings.send_certreq_authorities { context.credentials.trusted_cas() } else { Vec::new() };
            let name = |ca: &Arc<Certificate>| DistinguishedName::from(ca.subject().encoding().to_vec());
            Arc::new(Verifier { schemes, authorities: authorities.iter().map(name).collect() })
        } else {
            WebPkiClientVerifier::no_client_auth()
        };
        let mut config =
            builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let connection = ServerConnection::new(Arc::new(config)).map_err(|error| failed(&error)).ok()?;
        Some(Self::new(connection.into(), flavor, peer_auth))
    }

    fn new(connection: Connection, flavor: Flavor, peer_auth: bool) -> Self {
        Self { connection, flavor, peer_auth, peer: None, plaintext: Vec::new() }
    }

    /// What came from the peer.
    pub(super) fn feed(&mut self, context: &Context<'_>, mut bytes: &[u8]) -> Result<(), TlsError> {
        if !is_whole(bytes) {
            log!(TLS, 1, "received incomplete TLS record");
            return Err(TlsError::Closed);
        }
        while !bytes.is_empty() {
            match self.connection.read_tls(&mut bytes) {
                Ok(read) if read != 0 => {}
                _ => return Err(TlsError::Closed),
            }
            let processed = self.connection.process_new_packets();
            // whatever happened: not a word to somebody else
            self.verify_peer(context)?;
            let state = match processed {
                Ok(state) => state,
                Err(error) => {
                    failed(&error);
                    return Err(TlsError::Alert(self.output()));
                }
            };
            let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
            if self.connection.reader().read_exact(&mut plaintext).is_err() || state.peer_has_closed() {
                log!(TLS, 1, "received TLS close notify");
                return Err(TlsError::Closed);
            }
            self.plaintext.extend(plaintext);
        }
        Ok(())
    }

    /// What is to be sent to the peer.
    pub(super) fn output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            // a vector takes everything
            if self.connection.write_tls(&mut out).is_err() {
                break;
            }
        }
        out
    }

    /// The handshake is complete and the peer is who it should be.
    pub(in crate::eap) fn is_established(&self) -> bool {
        !self.connection.is_handshaking() && (self.peer.is_some() || !self.peer_auth)
    }

    /// What came through the connection.
    pub(in crate::eap) fn take_plaintext(&mut self) -> Vec<u8> {
        if self.is_established() { std::mem::take(&mut self.plaintext) } else { Vec::new() }
    }

    /// Puts something into the connection.
    pub(in crate::eap) fn write(&mut self, plaintext: &[u8]) {
        // it is a vector behind a limit that no packet of ours comes near
        if self.connection.writer().write_all(plaintext).is_err() {
            log!(TLS, 1, "writing {} bytes to TLS failed", plaintext.len());
        }
    }

    /// TLS 1.3 is in use.
    pub(in crate::eap) fn is_tls13(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whose certificate the peer has.
    pub(in crate::eap) fn peer(&self) -> Option<&TrustedKey> {
        self.peer.as_ref()
    }

    /// The key of the method (RFC 5216 §2.3, RFC 9190 §2.3, RFC 9427 §2.1, RFC 5281 §8).
    pub(in crate::eap) fn msk(&self) -> Option<Secret> {
        if !self.is_established() {
            return None;
        }
        let kind = [self.flavor.kind.number()];
        let (label, context) = match self.is_tls13() {
            true => (&b"EXPORTER_EAP_TLS_Key_Material"[..], Some(&kind[..])),
            false => (self.flavor.label, None),
        };
        let mut material = zeroize::Zeroizing::new([0; KEY_MATERIAL]);
        self.connection.export_keying_material(&mut *material, label, context).ok()?;
        material.get(..MSK).map(Secret::from)
    }

    /// Logs what was agreed on.
    pub(super) fn log_established(&self) {
        let version = if self.is_tls13() { "TLS 1.3" } else { "TLS 1.2" };
        if let Some(suite) = self.connection.negotiated_cipher_suite() {
            let suite = suite.suite();
            log!(TLS, 1, "negotiated {version} using suite {}", suite.as_str().unwrap_or("unknown"));
        }
    }

    /// Looks for a reason to trust the peer's certificate, once there is one.
    fn verify_peer(&mut self, context: &Context<'_>) -> Result<(), TlsError> {
        if self.peer.is_some() || !self.peer_auth {
            return Ok(());
        }
        let Some(presented) = self.connection.peer_certificates() else { return Ok(()) };
        let parse = |der: &[u8]| context.credentials.parse_certificate(der);
        let mut certificates = Vec::new();
        for der in presented.iter().take(MAX_CERTIFICATES) {
            match parse(der) {
                Ok(certificate) => certificates.push(certificate),
                Err(error) => log!(TLS, 1, "parsing TLS certificate failed: {error}"),
            }
        }
        // the one whose key the handshake is signed with, not the first that could be parsed
        let leaf = presented.first().and_then(|der| certificates.first().filter(|first| first.der() == &der[..]));
        let Some(leaf) = leaf else { return Err(TlsError::Untrusted) };
        let is_server = matches!(self.connection, Connection::Client(_));
        let (expected, role) = if is_server { (context.server, "server") } else { (context.peer, "peer") };
        log!(TLS, 1, "received TLS {role} certificate '{}'", leaf.subject());
        // whom nobody in particular is expected of only has to be trusted
        let name = match expected.id_type() {
            IdType::Any if is_server => leaf.subject(),
            _ => expected,
        };
        let trusted = context
            .credentials
            .trusted_keys(name, None, &certificates, context.wall)
            .find(|key| key.chain().is_some_and(|chain| chain.end_entity == *leaf));
        let Some(trusted) = trusted else {
            if !leaf.confirms_identity(name) {
                log!(TLS, 1, "{role} certificate does not match to '{name}'");
            }
            log!(TLS, 1, "no trusted certificate found for '{name}' to verify TLS {role}");
            return Err(TlsError::Untrusted);
        };
        if is_server && !complies(context, name, &trusted) {
            return Err(TlsError::Untrusted);
        }
        self.peer = Some(trusted);
        Ok(())
    }
}

/// What a client's configuration demands of the server's chain: constraints behind the method, and everything about the
/// server if it has no other way to authenticate itself. What a server demands of a client is compared by IKE_AUTH, as
/// for any round; a client cannot wait that long, as it may tell the server a password first.
fn complies(context: &Context<'_>, id: &Identity, key: &TrustedKey) -> bool {
    let any = AuthClass::Any;
    let proven = Proven { id, class: &any, key: Some(key), scheme: None, groups: &[], eap_id: None };
    let nothing = Requirements {
        id: None,
        class: &any,
        ca_id: None,
        cacerts: &[],
        certs: &[],
        pubkeys: &[],
        groups: &[],
        policies: &[],
        revocation: Revocation::Relaxed,
        eap_id: None,
        constraints: &context.local.constraints,
    };
    let remote = context.remote;
    let everything = Requirements {
        ca_id: remote.ca_id.as_ref(),
        cacerts: &remote.cacerts,
        certs: &remote.certs,
        pubkeys: &remote.pubkeys,
        policies: &remote.cert_policies,
        revocation: remote.revocation,
        constraints: &remote.constraints,
        ..nothing
    };
    let eap_only = matches!(remote.class, AuthClass::Eap(_));
    let checked = nothing.check(&proven).and_then(|()| if eap_only { everything.check(&proven) } else { Ok(()) });
    match checked {
        Ok(()) => true,
        Err(error) => {
            log!(CFG, 1, "{error}");
            false
        }
    }
}

/// Whether a message consists of whole records. A flight ends with one; rustls would wait for the rest of another.
fn is_whole(mut message: &[u8]) -> bool {
    while let Some(([_, _, _, length @ ..], rest)) = message.split_first_chunk::<5>() {
        let Some(rest) = rest.get(usize::from(u16::from_be_bytes(*length))..) else { return false };
        message = rest;
    }
    message.is_empty()
}

fn failed(error: &rustls::Error) {
    log!(TLS, 1, "TLS: {error}");
}
