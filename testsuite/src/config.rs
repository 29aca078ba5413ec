//! What `swanctl` loads on each side of a scenario.

use std::path::Path;

use crate::lab::{Host, Lab};
use crate::{Result, pki};

/// How both ends authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Pre-shared key.
    Psk,
    /// Certificates of one CA with keys of this kind.
    Certificate(pki::KeyKind),
    /// Raw public keys of this kind, exchanged beforehand.
    RawKey(pki::KeyKind),
}

/// One side's view of a connection `gw` with a child `net`; defaults are those of the daemon.
#[derive(Debug, Clone)]
pub struct Connection {
    pub auth: Auth,
    /// Further settings of the connection, one per line.
    pub extra: String,
    /// Further settings of the child, one per line.
    pub child: String,
    /// Further children of the connection, as sections.
    pub children: String,
    /// Whether the protected networks are the IPv6 ones.
    pub inner6: bool,
}

impl Connection {
    /// A connection with nothing but the authentication chosen.
    pub fn new(auth: Auth) -> Self {
        Self { auth, extra: String::new(), child: String::new(), children: String::new(), inner6: false }
    }

    /// The same with lines added to the connection.
    #[must_use]
    pub fn with(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self.extra.push('\n');
        self
    }

    /// The same with lines added to the child.
    #[must_use]
    pub fn with_child(mut self, lines: &str) -> Self {
        self.child.push_str(lines);
        self.child.push('\n');
        self
    }
}

/// The files of one daemon.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Content of swanctl.conf.
    pub swanctl: String,
    /// Further lines of the `charon` section of strongswan.conf.
    pub charon: String,
    /// Credentials: path below the swanctl folder and content.
    pub credentials: Vec<(String, Vec<u8>)>,
}

impl Files {
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        for sub in ["x509", "x509ca", "x509crl", "private", "pubkey"] {
            std::fs::create_dir_all(dir.join(sub))?;
        }
        std::fs::write(dir.join("swanctl.conf"), &self.swanctl)?;
        for (path, content) in &self.credentials {
            std::fs::write(dir.join(path), content)?;
        }
        Ok(())
    }
}

/// The files of `left` and `right` for one connection between them.
///
/// # Errors
/// If keys or certificates cannot be made.
pub fn pair(lab: &Lab, connection: &Connection) -> Result<(Files, Files)> {
    let credentials = pki::Pair::make(lab.dir(), connection.auth)?;
    Ok((
        side(&lab.left, &lab.right, connection, &credentials, lab),
        side(&lab.right, &lab.left, connection, &credentials, lab),
    ))
}

/// Identity of a host in every scenario.
pub fn identity(host: &Host) -> String {
    format!("{}.example.org", host.role)
}

fn side(me: &Host, other: &Host, connection: &Connection, credentials: &pki::Pair, lab: &Lab) -> Files {
    let (local, remote) = (identity(me), identity(other));
    let remote_addrs = if lab.is_hidden(other) { "%any".into() } else { other.addr.to_string() };
    let (local_auth, remote_auth) = match connection.auth {
        Auth::Psk => ("auth = psk".to_owned(), "auth = psk".to_owned()),
        Auth::Certificate(_) => {
            (format!("auth = pubkey\n    certs = {}.pem", me.role), "auth = pubkey\n    cacerts = ca.pem".to_owned())
        }
        Auth::RawKey(_) => (
            format!("auth = pubkey\n    pubkeys = {}.pem", me.role),
            format!("auth = pubkey\n    pubkeys = {}.pem", other.role),
        ),
    };
    let net = |host: &Host| {
        if connection.inner6 { format!("{}/64", host.inner6) } else { format!("{}/16", host.inner) }
    };
    let swanctl = format!(
        "connections {{\n gw {{\n  local_addrs = {}\n  remote_addrs = {remote_addrs}\n{}\n  local {{\n    {local_auth}\n    \
         id = {local}\n  }}\n  remote {{\n    {remote_auth}\n    id = {remote}\n  }}\n  children {{\n   net {{\n    \
         local_ts = {}\n    remote_ts = {}\n{}\n   }}\n{}\n  }}\n }}\n}}\nsecrets {{\n ike-gw {{\n  id-1 = {local}\n  \
         id-2 = {remote}\n  secret = \"the quick brown fox\"\n }}\n}}\n",
        me.addr,
        connection.extra,
        net(me),
        net(other),
        connection.child,
        connection.children,
    );
    Files { swanctl, charon: String::new(), credentials: credentials.of(me.role, other.role) }
}
