//! Keys and certificates between rustls and our own credentials.
//!
//! The verifiers here check the signature of the handshake, with our own code, and nothing else: they cannot ask the
//! store. [`super::session`] asks it before anything leaves that depends on the answer.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureAlgorithm, SignatureScheme};
use strongswan::credentials::{self, Certificate, HashAlgorithm, KeyType, PrivateKey, SignatureScheme as OurScheme};

/// Schemes of signatures: rustls's name, ours, and the size of the key that TLS 1.3 binds them to.
const SCHEMES: &[(SignatureScheme, OurScheme, Option<u32>)] = &[
    (SignatureScheme::ECDSA_NISTP256_SHA256, OurScheme::EcdsaDer(HashAlgorithm::Sha2_256), Some(256)),
    (SignatureScheme::ECDSA_NISTP384_SHA384, OurScheme::EcdsaDer(HashAlgorithm::Sha2_384), Some(384)),
    (SignatureScheme::ECDSA_NISTP521_SHA512, OurScheme::EcdsaDer(HashAlgorithm::Sha2_512), Some(521)),
    (SignatureScheme::ED25519, OurScheme::Ed25519, None),
    (SignatureScheme::RSA_PSS_SHA256, OurScheme::RsaPss(HashAlgorithm::Sha2_256, 32), None),
    (SignatureScheme::RSA_PSS_SHA384, OurScheme::RsaPss(HashAlgorithm::Sha2_384, 48), None),
    (SignatureScheme::RSA_PSS_SHA512, OurScheme::RsaPss(HashAlgorithm::Sha2_512, 64), None),
    (SignatureScheme::RSA_PKCS1_SHA256, OurScheme::RsaPkcs1(HashAlgorithm::Sha2_256), None),
    (SignatureScheme::RSA_PKCS1_SHA384, OurScheme::RsaPkcs1(HashAlgorithm::Sha2_384), None),
    (SignatureScheme::RSA_PKCS1_SHA512, OurScheme::RsaPkcs1(HashAlgorithm::Sha2_512), None),
];

/// All of them, best first.
pub(super) fn schemes() -> impl Iterator<Item = SignatureScheme> {
    SCHEMES.iter().map(|row| row.0)
}

/// A private key that signs for rustls.
#[derive(Debug)]
struct Key {
    key: Arc<PrivateKey>,
    allowed: Vec<SignatureScheme>,
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let public = self.key.public_key();
        let fits = |row: &&(SignatureScheme, OurScheme, Option<u32>)| {
            row.1.key_type() == public.key_type()
                && row.2.is_none_or(|bits| bits == public.bits())
                && offered.contains(&row.0)
                && self.allowed.contains(&row.0)
        };
        let row = SCHEMES.iter().find(fits)?;
        Some(Box::new(BoundKey { key: Arc::clone(&self.key), scheme: row.0, ours: row.1 }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.key.key_type() {
            KeyType::Rsa => SignatureAlgorithm::RSA,
            KeyType::Ecdsa => SignatureAlgorithm::ECDSA,
            KeyType::Dsa => SignatureAlgorithm::DSA,
            KeyType::Ed25519 => SignatureAlgorithm::ED25519,
            KeyType::Ed448 => SignatureAlgorithm::ED448,
        }
    }
}

/// A private key with the scheme that was agreed on.
#[derive(Debug)]
struct BoundKey {
    key: Arc<PrivateKey>,
    scheme: SignatureScheme,
    ours: OurScheme,
}

impl Signer for BoundKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.key.sign(self.ours, message).map_err(|error| Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// One of our keys with its certificates; `None` if it has none.
pub(super) fn certified(signer: &credentials::SigningKey, allowed: Vec<SignatureScheme>) -> Option<CertifiedKey> {
    let leaf = signer.certificate.as_ref()?;
    let chain = std::iter::once(leaf).chain(&signer.intermediates);
    let chain = chain.map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    Some(CertifiedKey::new(chain, Arc::new(Key { key: Arc::clone(&signer.key), allowed })))
}

/// Checks signatures of handshakes.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) schemes: Vec<SignatureScheme>,
    /// Whom clients' certificates should be from.
    pub(super) authorities: Vec<DistinguishedName>,
}

impl Verifier {
    fn verify(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
        tls13: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let row = SCHEMES.iter().find(|row| row.0 == dss.scheme && self.schemes.contains(&row.0));
        let wrong = || Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme);
        let (_, scheme, bits) = row.ok_or_else(wrong)?;
        let certificate = parse(cert)?;
        let key = certificate.public_key();
        // RFC 8446 §4.2.3: the curve belongs to the scheme, and PKCS#1 v1.5 does not sign handshakes any more
        if tls13 && (bits.is_some_and(|bits| bits != key.bits()) || matches!(scheme, OurScheme::RsaPkcs1(_))) {
            return Err(wrong());
        }
        match key.verify(*scheme, message, dss.signature()) {
            Ok(()) => Ok(HandshakeSignatureValid::assertion()),
            Err(_) => Err(Error::InvalidCertificate(rustls::CertificateError::BadSignature)),
        }
    }
}

fn parse(cert: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(cert).map_err(|_| Error::InvalidCertificate(rustls::CertificateError::BadEncoding))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        parse(end_entity).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        parse(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
