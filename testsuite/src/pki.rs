//! Keys and certificates for a scenario, made with strongSwan's `pki` so that they are not ours.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::config::Auth;

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Rsa2048,
    EcdsaP256,
    EcdsaP384,
    Ed25519,
}

impl KeyKind {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Rsa2048 => &["--type", "rsa", "--size", "2048"],
            Self::EcdsaP256 => &["--type", "ecdsa", "--size", "256"],
            Self::EcdsaP384 => &["--type", "ecdsa", "--size", "384"],
            Self::Ed25519 => &["--type", "ed25519"],
        }
    }
}

/// Credentials of both sides: path below the swanctl folder and content.
#[derive(Debug, Default)]
pub struct Pair {
    left: Vec<(String, Vec<u8>)>,
    right: Vec<(String, Vec<u8>)>,
}

impl Pair {
    /// Makes what `auth` needs; work files go to `dir`.
    ///
    /// # Errors
    /// If `pki` (package strongswan-pki) is missing or fails.
    pub fn make(dir: &Path, auth: Auth) -> Result<Self> {
        match auth {
            Auth::Psk => Ok(Self::default()),
            Auth::Certificate(kind) => Self::certificates(dir, kind),
            Auth::RawKey(kind) => Self::raw_keys(dir, kind),
        }
    }

    /// What `role` loads to talk to `_peer`.
    pub fn of(&self, role: &str, _peer: &str) -> Vec<(String, Vec<u8>)> {
        if role == "left" { self.left.clone() } else { self.right.clone() }
    }

    fn certificates(dir: &Path, kind: KeyKind) -> Result<Self> {
        let ca_key = private_key(dir, "ca", kind)?;
        let ca = pki(&[
            "--self",
            "--ca",
            "--lifetime",
            "3650",
            "--dn",
            "C=CH, O=Lab, CN=Lab CA",
            "--in",
            &ca_key,
            "--outform",
            "pem",
        ])?;
        let ca_path = dir.join("ca.pem");
        std::fs::write(&ca_path, &ca)?;
        let mut pair = Self::default();
        for (role, files) in [("left", &mut pair.left), ("right", &mut pair.right)] {
            let key = private_key(dir, role, kind)?;
            let public = dir.join(format!("{role}.pub"));
            std::fs::write(&public, pki(&["--pub", "--type", "priv", "--in", &key])?)?;
            let cert = pki(&[
                "--issue",
                "--lifetime",
                "1825",
                "--cacert",
                &ca_path.display().to_string(),
                "--cakey",
                &ca_key,
                "--dn",
                &format!("C=CH, O=Lab, CN={role}.example.org"),
                "--san",
                &format!("{role}.example.org"),
                "--type",
                "pub",
                "--in",
                &public.display().to_string(),
                "--outform",
                "pem",
            ])?;
            files.push((format!("x509/{role}.pem"), cert));
            files.push((format!("private/{role}.pem"), std::fs::read(&key)?));
            files.push(("x509ca/ca.pem".into(), ca.clone()));
        }
        Ok(pair)
    }

    fn raw_keys(dir: &Path, kind: KeyKind) -> Result<Self> {
        let mut pair = Self::default();
        let left = private_key(dir, "left", kind)?;
        let right = private_key(dir, "right", kind)?;
        let public = |key: &str| pki(&["--pub", "--type", "priv", "--in", key, "--outform", "pem"]);
        for (files, key, role) in [(&mut pair.left, &left, "left"), (&mut pair.right, &right, "right")] {
            files.push((format!("private/{role}.pem"), std::fs::read(key)?));
            files.push(("pubkey/left.pem".into(), public(&left)?));
            files.push(("pubkey/right.pem".into(), public(&right)?));
        }
        Ok(pair)
    }
}

fn private_key(dir: &Path, name: &str, kind: KeyKind) -> Result<String> {
    let path = dir.join(format!("{name}.key"));
    let mut arguments = vec!["--gen", "--outform", "pem"];
    arguments.extend(kind.arguments());
    std::fs::write(&path, pki(&arguments)?)?;
    Ok(path.display().to_string())
}

fn pki(arguments: &[&str]) -> Result<Vec<u8>> {
    let out = Command::new("pki")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("pki: {e}, install strongswan-pki"))?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        Err(format!("pki {}: {}", arguments.join(" "), String::from_utf8_lossy(&out.stderr)).into())
    }
}
