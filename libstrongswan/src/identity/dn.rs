//! Distinguished names (RFC 5280 §4.1.2.4): text to DER and back, comparison, and matching against a pattern whose
//! values may be `*`.
//!
//! The text form is strongSwan's: `C=CH, O=Linux strongSwan, CN=moon` or `/C=CH/O=Linux strongSwan/CN=moon`, without
//! escapes, one attribute per RDN.

use std::fmt;
use std::hash::{Hash, Hasher};

use der::asn1::{Any, SetOfVec};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged, asn1::AnyRef};
use smallvec::SmallVec;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};

use super::{Match, Printable};

/// More RDNs than this in a configured name are taken for a typing error.
const MAX_RDNS: usize = 20;

/// How the RDNs of a received name are paired with those of a configured one (`charon.rdn_matching`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RdnMatching {
    /// The same RDNs in the same order.
    #[default]
    Strict,
    /// The same RDNs in any order.
    Reordered,
    /// Any order, and the received name may have more; each counts like a wildcard.
    Relaxed,
}

impl RdnMatching {
    /// The mode of that name, as `strongswan.conf` spells it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "strict" => Some(Self::Strict),
            "reordered" => Some(Self::Reordered),
            "relaxed" => Some(Self::Relaxed),
            _ => None,
        }
    }
}

struct Attribute {
    name: &'static str,
    oid: ObjectIdentifier,
    ia5: bool,
}

const fn attribute(name: &'static str, oid: &str) -> Attribute {
    Attribute { name, oid: ObjectIdentifier::new_unwrap(oid), ia5: false }
}

const fn ia5_attribute(name: &'static str, oid: &str) -> Attribute {
    Attribute { name, oid: ObjectIdentifier::new_unwrap(oid), ia5: true }
}

/// The attributes that have a name. For several names of one OID the first is printed.
const ATTRIBUTES: &[Attribute] = &[
    attribute("CN", "2.5.4.3"),
    attribute("O", "2.5.4.10"),
    attribute("C", "2.5.4.6"),
    attribute("OU", "2.5.4.11"),
    ia5_attribute("E", EMAIL_OID),
    ia5_attribute("Email", EMAIL_OID),
    ia5_attribute("emailAddress", EMAIL_OID),
    attribute("L", "2.5.4.7"),
    attribute("ST", "2.5.4.8"),
    attribute("STREET", "2.5.4.9"),
    attribute("SN", "2.5.4.4"),
    attribute("serialNumber", "2.5.4.5"),
    attribute("DC", "0.9.2342.19200300.100.1.25"),
    attribute("UID", "0.9.2342.19200300.100.1.1"),
    attribute("ND", "0.2.262.1.10.7.20"),
    attribute("organizationIdentifier", "2.5.4.97"),
    attribute("T", "2.5.4.12"),
    attribute("D", "2.5.4.13"),
    attribute("postalAddress", "2.5.4.16"),
    attribute("postalCode", "2.5.4.17"),
    attribute("N", "2.5.4.41"),
    attribute("G", "2.5.4.42"),
    attribute("I", "2.5.4.43"),
    attribute("dnQualifier", "2.5.4.46"),
    attribute("dmdName", "2.5.4.54"),
    attribute("pseudonym", "2.5.4.65"),
    attribute("ID", "2.5.4.45"),
    attribute("employeeNumber", "2.16.840.1.113730.3.1.3"),
    attribute("EN", "2.16.840.1.113730.3.1.3"),
    ia5_attribute("unstructuredName", "1.2.840.113549.1.9.2"),
    ia5_attribute("UN", "1.2.840.113549.1.9.2"),
    attribute("unstructuredAddress", "1.2.840.113549.1.9.8"),
    attribute("UA", "1.2.840.113549.1.9.8"),
    attribute("TCGID", "1.3.6.1.4.1.1201.1.1.2.2.75"),
];

const EMAIL_OID: &str = "1.2.840.113549.1.9.1";
const EMAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap(EMAIL_OID);

/// One attribute of a name, in place.
#[derive(Clone, Copy)]
struct Rdn<'a> {
    oid: &'a [u8],
    tag: Tag,
    value: &'a [u8],
}

impl Rdn<'_> {
    fn is_wildcard(&self) -> bool {
        self.value == b"*"
    }

    fn same_value(&self, other: &Self) -> bool {
        self.oid == other.oid
            && if self.tag == other.tag && ignores_case(self) {
                self.value.eq_ignore_ascii_case(other.value)
            } else {
                self.value == other.value
            }
    }
}

fn ignores_case(rdn: &Rdn<'_>) -> bool {
    rdn.tag == Tag::PrintableString || (rdn.tag == Tag::Ia5String && rdn.oid == EMAIL.as_bytes())
}

/// Walks the attributes of an encoded name; ends with an error at the first byte that is none.
struct Rdns<'a> {
    sets: SliceReader<'a>,
    set: Option<SliceReader<'a>>,
}

impl<'a> Rdns<'a> {
    fn new(encoded: &'a [u8]) -> der::Result<Self> {
        let name = AnyRef::from_der(encoded)?;
        name.tag().assert_eq(Tag::Sequence)?;
        Ok(Self { sets: SliceReader::new(name.value())?, set: None })
    }

    fn step(&mut self) -> der::Result<Option<Rdn<'a>>> {
        loop {
            if let Some(set) = &mut self.set
                && !set.is_finished()
            {
                let pair = AnyRef::decode(set)?;
                pair.tag().assert_eq(Tag::Sequence)?;
                let mut pair = SliceReader::new(pair.value())?;
                let oid = AnyRef::decode(&mut pair)?;
                oid.tag().assert_eq(Tag::ObjectIdentifier)?;
                let value = AnyRef::decode(&mut pair)?;
                return pair.finish(Some(Rdn { oid: oid.value(), tag: value.tag(), value: value.value() }));
            }
            if self.sets.is_finished() {
                return Ok(None);
            }
            let set = AnyRef::decode(&mut self.sets)?;
            set.tag().assert_eq(Tag::Set)?;
            self.set = Some(SliceReader::new(set.value())?);
        }
    }
}

/// The attributes in order, or `None` if `encoded` is no name.
fn rdns(encoded: &[u8]) -> Option<SmallVec<[Rdn<'_>; 8]>> {
    let mut walker = Rdns::new(encoded).ok()?;
    let mut list = SmallVec::new();
    while let Some(rdn) = walker.step().ok()? {
        list.push(rdn);
    }
    Some(list)
}

/// Encodes the text form, or `None` if it is no name.
pub(super) fn parse(text: &str) -> Option<Vec<u8>> {
    let (separator, text) = text.strip_prefix('/').map_or((',', text), |rest| ('/', rest));
    // A separator at the end is tolerated, as strongSwan does.
    let text = text.trim_end().strip_suffix(separator).unwrap_or(text);
    if text.trim().is_empty() {
        return None;
    }
    let name = text.split(separator).map(parse_rdn).collect::<Option<Vec<_>>>()?;
    (name.len() <= MAX_RDNS).then_some(())?;
    RdnSequence(name).to_der().ok()
}

fn parse_rdn(text: &str) -> Option<RelativeDistinguishedName> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    let value = value.trim_start_matches([' ', '=']).trim_end_matches(' ');
    let attribute = ATTRIBUTES.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))?;
    let tag = if attribute.ia5 {
        Tag::Ia5String
    } else if value.bytes().all(is_printable_string) {
        Tag::PrintableString
    } else {
        Tag::Utf8String
    };
    let pair = AttributeTypeAndValue { oid: attribute.oid, value: Any::new(tag, value.as_bytes()).ok()? };
    Some(RelativeDistinguishedName(SetOfVec::try_from(vec![pair]).ok()?))
}

fn is_printable_string(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

/// Writes the text form.
pub(super) fn print(encoded: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(rdns) = rdns(encoded) else { return f.write_str("(invalid ID_DER_ASN1_DN)") };
    for (index, rdn) in rdns.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        match ATTRIBUTES.iter().find(|attribute| attribute.oid.as_bytes() == rdn.oid) {
            Some(attribute) => f.write_str(attribute.name)?,
            None => super::print_hex(rdn.oid, f)?,
        }
        write!(f, "={}", Printable(rdn.value))?;
    }
    Ok(())
}

/// Whether both are the same name.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    let (Some(a), Some(b)) = (rdns(a), rdns(b)) else { return false };
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.same_value(b))
}

/// Hashes so that equal names hash alike.
pub(super) fn hash<H: Hasher>(encoded: &[u8], state: &mut H) {
    let Some(rdns) = rdns(encoded) else { return encoded.hash(state) };
    for rdn in rdns {
        rdn.oid.hash(state);
        // A pair may compare equal in another case: leave the case out of the hash.
        rdn.value.iter().for_each(|byte| state.write_u8(byte.to_ascii_lowercase()));
        state.write_usize(rdn.value.len());
    }
}

/// Whether some value is `*`.
pub(super) fn contains_wildcards(encoded: &[u8]) -> bool {
    rdns(encoded).is_some_and(|rdns| rdns.iter().any(Rdn::is_wildcard))
}

/// How well `name` fits `pattern`.
pub(super) fn matches(name: &[u8], pattern: &[u8], mode: RdnMatching) -> Match {
    if name == pattern && !contains_wildcards(pattern) {
        return Match::PERFECT;
    }
    let (Some(name), Some(pattern)) = (rdns(name), rdns(pattern)) else { return Match::NONE };
    if name.len() < pattern.len() || (name.len() > pattern.len() && mode != RdnMatching::Relaxed) {
        return Match::NONE;
    }
    match mode {
        RdnMatching::Strict => {
            let mut wildcards = 0;
            for (name, pattern) in name.iter().zip(&pattern) {
                if pattern.is_wildcard() && pattern.oid == name.oid {
                    wildcards += 1;
                } else if !name.same_value(pattern) {
                    return Match::NONE;
                }
            }
            Match::with_wildcards(wildcards)
        }
        RdnMatching::Reordered | RdnMatching::Relaxed => match_unordered(&name, &pattern),
    }
}

/// Fixed values choose their partners before wildcards do, so that no order of the pattern hides a match.
fn match_unordered(name: &[Rdn<'_>], pattern: &[Rdn<'_>]) -> Match {
    let mut left: SmallVec<[&Rdn<'_>; 8]> = name.iter().collect();
    let mut take = |fits: &dyn Fn(&Rdn<'_>) -> bool| {
        left.iter().position(|rdn| fits(rdn)).map(|index| left.remove(index)).is_some()
    };
    let (wildcards, fixed): (SmallVec<[&Rdn<'_>; 8]>, SmallVec<[&Rdn<'_>; 8]>) =
        pattern.iter().partition(|rdn| rdn.is_wildcard());
    let fits = fixed.iter().all(|wanted| take(&|rdn| rdn.same_value(wanted)))
        && wildcards.iter().all(|wanted| take(&|rdn| rdn.oid == wanted.oid));
    if fits { Match::with_wildcards(wildcards.len() + left.len()) } else { Match::NONE }
}
