//! Certificates, CRLs and public keys as the daemon sends them, described in strongSwan's layout.

mod crl;
mod extensions;
mod names;
mod pubkey;
mod x509;

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};
use strongswan::calendar::{Roughly, Zone, date};
use strongswan::clock::UnixTime;
use strongswan::credentials::PublicKey;
use vici::Message;

/// How much to show, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// Leave out what most people do not look at.
    pub(crate) short: bool,
    /// Zone of the times.
    pub(crate) zone: Zone,
    /// What validity is judged by.
    pub(crate) now: UnixTime,
}

impl View {
    pub(crate) fn now() -> UnixTime {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    fn date(&self, time: UnixTime) -> String {
        date(time, self.zone)
    }
}

/// Why one of them cannot be shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// The event lacks type or data.
    Incomplete,
    /// No such type.
    Type(String),
    /// No such flag.
    Flag(String),
    /// The data is not what the type says.
    Malformed,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("received incomplete certificate data"),
            Self::Type(kind) => write!(f, "unsupported certificate type '{kind}'"),
            Self::Flag(flag) => write!(f, "unsupported certificate flag '{flag}'"),
            Self::Malformed => f.write_str("parsing certificate failed"),
        }
    }
}

/// What an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    X509,
    Crl,
    PublicKey,
}

/// One event of `list-certs`.
pub(crate) struct Listed<'a> {
    pub(crate) kind: Kind,
    /// What a group of them is called.
    pub(crate) caption: &'static str,
    pub(crate) data: &'a [u8],
    event: &'a Message,
}

impl<'a> Listed<'a> {
    pub(crate) fn from_event(event: &'a Message) -> Result<Self, Unreadable> {
        let kind = event.str("type").ok_or(Unreadable::Incomplete)?;
        let data = event.get("data").ok_or(Unreadable::Incomplete)?;
        let (kind, caption) = match kind {
            "X509" => match event.str("flag").unwrap_or("NONE") {
                "NONE" => (Kind::X509, "X.509 End Entity Certificate"),
                "CA" => (Kind::X509, "X.509 CA Certificate"),
                "AA" => (Kind::X509, "X.509 AA Certificate"),
                "OCSP" => (Kind::X509, "X.509 OCSP Signer Certificate"),
                flag => return Err(Unreadable::Flag(flag.to_owned())),
            },
            "X509_CRL" => (Kind::Crl, "X.509 CRL"),
            "PUBKEY" => (Kind::PublicKey, "Raw Public Key"),
            kind => return Err(Unreadable::Type(kind.to_owned())),
        };
        Ok(Self { kind, caption, data, event })
    }

    /// What is to be known about it.
    pub(crate) fn describe(&self, view: &View) -> Result<Sheet, Unreadable> {
        let private = self.event.bool("has_privkey") == Some(true);
        let mut sheet = Sheet::default();
        match self.kind {
            Kind::X509 => x509::describe(&mut sheet, self.data, private, view),
            Kind::Crl => crl::describe(&mut sheet, self.data, view),
            Kind::PublicKey => pubkey::describe(&mut sheet, self.event, self.data, private, view),
        }
        .ok_or(Unreadable::Malformed)?;
        Ok(sheet)
    }

    /// Its encoding for mail and configuration files.
    pub(crate) fn pem(&self) -> String {
        let label = match self.kind {
            Kind::X509 => "CERTIFICATE",
            Kind::Crl => "X509 CRL",
            Kind::PublicKey => "PUBLIC KEY",
        };
        let mut text = format!("-----BEGIN {label}-----\n");
        for (index, character) in STANDARD.encode(self.data).chars().enumerate() {
            if index > 0 && index % 64 == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text + &format!("\n-----END {label}-----\n")
    }
}

/// A description: titles, each with its values.
#[derive(Debug, Default)]
pub(crate) struct Sheet(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    title: String,
    /// What it is called in JSON, where that is not the title.
    key: Option<&'static str>,
    values: Vec<String>,
    /// It has one value, always.
    single: bool,
    layout: Layout,
}

/// How an entry is laid out.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// Title and values in columns, a line for each value.
    Columns,
    /// A name in quotes, one column further to the left.
    Quoted,
    /// The title on a line of its own, the values below, indented by so many blanks.
    Heading(usize),
}

impl Entry {
    fn new(title: &str, values: impl IntoIterator<Item = String>, layout: Layout) -> Self {
        Self { title: title.to_owned(), key: None, values: values.into_iter().collect(), single: false, layout }
    }
}

impl Sheet {
    /// `title` and `text`.
    fn field(&mut self, title: &str, text: impl fmt::Display) {
        self.0.push(Entry { single: true, ..Entry::new(title, [text.to_string()], Layout::Columns) });
    }

    /// A field with several values; left out if there are none.
    fn fields(&mut self, title: &str, values: impl IntoIterator<Item = String>) {
        let entry = Entry::new(title, values, Layout::Columns);
        self.0.extend((!entry.values.is_empty()).then_some(entry));
    }

    /// A distinguished name.
    fn name(&mut self, title: &str, name: impl fmt::Display) {
        self.0.push(Entry { single: true, ..Entry::new(title, [name.to_string()], Layout::Quoted) });
    }

    /// A heading with values below it.
    fn heading(&mut self, title: &str, indent: usize, values: impl IntoIterator<Item = String>) {
        self.0.push(Entry::new(title, values, Layout::Heading(indent)));
    }

    /// A heading that changes with what is below it, which JSON calls `key`.
    fn counted(&mut self, title: &str, key: &'static str, indent: usize, values: impl IntoIterator<Item = String>) {
        self.0.push(Entry { key: Some(key), ..Entry::new(title, values, Layout::Heading(indent)) });
    }

    /// As an object: for each title a text, or a list where there may be several values.
    pub(crate) fn json(&self) -> Map<String, Json> {
        self.0
            .iter()
            .map(|Entry { title, key, values, single, .. }| {
                let value = match values.as_slice() {
                    [only] if *single => Json::from(only.as_str()),
                    several => Json::from(several),
                };
                (key.unwrap_or_else(|| title.trim_end_matches(':')).to_owned(), value)
            })
            .collect()
    }

    /// From when to when something is valid.
    fn validity(&mut self, titles: [&str; 3], from: UnixTime, until: UnixTime, view: &View) {
        let [title, first, second] = titles;
        let away = |later: UnixTime, earlier: UnixTime| {
            Roughly(Duration::from_secs(u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0)))
        };
        let started = if view.now < from {
            format!("not valid yet (valid in {})", away(from, view.now))
        } else {
            "ok".to_owned()
        };
        let ended = if view.now > until {
            format!("expired ({} ago)", away(view.now, until))
        } else {
            format!("ok (expires in {})", away(until, view.now))
        };
        self.fields(
            title,
            [format!("{first} {}, {started}", view.date(from)), format!("{second} {}, {ended}", view.date(until))],
        );
    }

    /// A public key and its fingerprints.
    fn key(&mut self, key: &PublicKey, private: bool) {
        let has_private = if private { ", has private key" } else { "" };
        self.field("pubkey:", format_args!("{} {} bits{has_private}", key.key_type(), key.bits()));
        self.field("keyid:", colons(key.spki_sha1()));
        self.field("subjkey:", colons(key.fingerprint_sha1()));
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { title, values, layout, .. } in &self.0 {
            match layout {
                Layout::Columns => {
                    let titles = std::iter::once(title.as_str()).chain(std::iter::repeat(""));
                    for (title, value) in titles.zip(values) {
                        writeln!(f, "  {title:11}{value}")?;
                    }
                }
                Layout::Quoted => {
                    for value in values {
                        writeln!(f, "  {title:10}\"{value}\"")?;
                    }
                }
                Layout::Heading(indent) => {
                    writeln!(f, "  {title}")?;
                    for value in values {
                        writeln!(f, "{:indent$}{value}", "")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Bytes as hexadecimal with colons.
fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// A serial number, without the zero that keeps an ASN.1 integer positive.
fn serial(bytes: &[u8]) -> String {
    match bytes.split_first() {
        Some((0, rest)) if !rest.is_empty() => colons(rest),
        _ => colons(bytes),
    }
}

#[cfg(test)]
mod tests;
