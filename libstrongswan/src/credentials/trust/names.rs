//! Name constraints along a chain (RFC 5280 §4.2.1.10, §6.1.3 (b), (c)).
//!
//! Every name below a CA has to lie in each of the permitted sets above it, and in none of the excluded ones. Where a name could
//! be read in more than one way it is compared as whoever set the constraint must have meant it: letters in any case, any
//! kind of string.

use std::net::IpAddr;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

use super::TrustError;
use crate::credentials::certificate::{Certificate, NameForm, Subtree};
use crate::identity::{IdType, Identity};

/// Comparisons for one chain, at most. A few dozen names and constraints are many.
const COMPARISONS: usize = 100_000;

const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

/// How a name violates the constraints of a CA. The texts are those of strongSwan's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameViolation {
    /// A subject is excluded.
    #[error("subject of certificate '{subject}' matches excluded name constraint '{constraint}'")]
    ExcludedSubject {
        /// The subject.
        subject: Identity,
        /// What excludes it.
        constraint: Identity,
    },
    /// An alternative name is excluded.
    #[error(
        "subject alternative name '{name}' of certificate '{subject}' matches excluded name constraint '{constraint}'"
    )]
    ExcludedName {
        /// The name.
        name: Identity,
        /// Whose it is.
        subject: Identity,
        /// What excludes it.
        constraint: Identity,
    },
    /// A subject is not permitted.
    #[error("subject of certificate '{0}' does not match any permitted name constraints")]
    SubjectNotPermitted(Identity),
    /// An alternative name is not permitted.
    #[error(
        "subject alternative name '{name}' of certificate '{subject}' does not match any permitted name constraints"
    )]
    NameNotPermitted {
        /// The name.
        name: Identity,
        /// Whose it is.
        subject: Identity,
    },
    /// There is a name of a form that is constrained and cannot be compared.
    #[error("NameConstraint of a kind that names of certificate '{0}' cannot be compared with")]
    Incomparable(Identity),
    /// Nobody needs that many.
    #[error("too many name constraints")]
    TooMany,
}

/// Checks the certificates below the root, which are given from the root's side to the leaf.
pub(super) fn check<'a>(
    root: &'a Certificate,
    below: impl ExactSizeIterator<Item = &'a Certificate>,
) -> Result<(), TrustError> {
    let mut above: Vec<_> = root.name_constraints().into_iter().collect();
    let mut budget = COMPARISONS;
    let last = below.len();
    for (index, certificate) in below.enumerate() {
        let leaf = index + 1 == last;
        // §6.1.3: self-issued CAs are not bound by what they say themselves
        if leaf || !certificate.is_self_issued() {
            for constraints in &above {
                let names = Names { certificate, budget: &mut budget };
                names.check(&constraints.permitted, &constraints.excluded)?;
            }
        }
        above.extend(certificate.name_constraints());
    }
    Ok(())
}

/// The names of a certificate.
struct Names<'a> {
    certificate: &'a Certificate,
    budget: &'a mut usize,
}

impl Names<'_> {
    fn check(self, permitted: &[Subtree], excluded: &[Subtree]) -> Result<(), NameViolation> {
        let Self { certificate, budget } = self;
        let subject = certificate.subject();
        let constrained = || permitted.iter().chain(excluded);
        if constrained().any(|tree| certificate.has_other_name(tree.form)) {
            return Err(NameViolation::Incomparable(subject.clone()));
        }
        for (name, form, alternative) in names(certificate) {
            if matches!(form, NameForm::Other(_)) {
                if constrained().any(|tree| tree.form == form) {
                    return Err(NameViolation::Incomparable(subject.clone()));
                }
                continue;
            }
            let trees = |list: &[Subtree]| list.iter().filter(|tree| tree.form == form).count();
            let wanted = trees(permitted);
            *budget = budget.checked_sub(wanted.saturating_add(trees(excluded))).ok_or(NameViolation::TooMany)?;
            let fits = |tree: &&Subtree, excludes| tree.form == form && contains(tree, &name, excludes);
            if let Some(tree) = excluded.iter().find(|tree| fits(tree, true)) {
                let (subject, constraint) = (subject.clone(), shown(tree));
                return Err(match alternative {
                    true => NameViolation::ExcludedName { name, subject, constraint },
                    false => NameViolation::ExcludedSubject { subject, constraint },
                });
            }
            if wanted > 0 && !permitted.iter().any(|tree| fits(&tree, false)) {
                return Err(match alternative {
                    true => NameViolation::NameNotPermitted { name, subject: subject.clone() },
                    false => NameViolation::SubjectNotPermitted(subject.clone()),
                });
            }
        }
        Ok(())
    }
}

/// All names with their forms, and whether they are alternative names.
fn names(certificate: &Certificate) -> Vec<(Identity, NameForm, bool)> {
    let mut names = Vec::new();
    let rdns = rdns(certificate.subject().encoding());
    if rdns.as_ref().is_none_or(|rdns| !rdns.is_empty()) {
        names.push((certificate.subject().clone(), NameForm::Directory, false));
    }
    for name in certificate.subject_alt_names() {
        let form = match name.id_type() {
            IdType::Fqdn => NameForm::Dns,
            IdType::Rfc822Addr => NameForm::Rfc822,
            IdType::DerAsn1Dn => NameForm::Directory,
            IdType::Uri => NameForm::Uri,
            IdType::Ipv4Addr | IdType::Ipv6Addr => NameForm::Address,
            _ => NameForm::Other(0),
        };
        names.push((name.clone(), form, true));
    }
    // §4.2.1.10: mail addresses in the subject count. Also beside alternative names: it costs nobody anything.
    for value in rdns.iter().flatten().flatten().filter(|value| value.oid == EMAIL_ADDRESS.as_bytes()) {
        names.push((Identity::from_encoding(IdType::Rfc822Addr, value.raw), NameForm::Rfc822, false));
    }
    names
}

/// The constraint as an identity, for the log.
fn shown(tree: &Subtree) -> Identity {
    let kind = match tree.form {
        NameForm::Rfc822 => IdType::Rfc822Addr,
        NameForm::Dns => IdType::Fqdn,
        NameForm::Directory => IdType::DerAsn1Dn,
        NameForm::Uri => IdType::Uri,
        NameForm::Address if tree.base.len() == 8 => IdType::Ipv4AddrSubnet,
        NameForm::Address => IdType::Ipv6AddrSubnet,
        NameForm::Other(_) => IdType::DerAsn1Gn,
    };
    Identity::from_encoding(kind, &tree.base)
}

/// Whether a name lies in a subtree of its form. If the subtree is excluded, what cannot be understood does.
fn contains(tree: &Subtree, name: &Identity, excludes: bool) -> bool {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_ascii_lowercase).ok();
    match tree.form {
        NameForm::Address => {
            let (address, mask) = tree.base.split_at(tree.base.len() / 2);
            let matches = |octets: &[u8]| {
                octets.len() == address.len()
                    && octets.iter().zip(address).zip(mask).all(|((octet, base), mask)| octet & mask == base & mask)
            };
            match name.address() {
                Some(IpAddr::V4(ip)) => matches(&ip.octets()),
                Some(IpAddr::V6(ip)) => matches(&ip.octets()),
                None => excludes,
            }
        }
        NameForm::Directory => match (rdns(name.encoding()), rdns(&tree.base)) {
            (Some(name), Some(base)) => base.len() <= name.len() && base.iter().zip(&name).all(|(a, b)| same_rdn(a, b)),
            _ => excludes,
        },
        NameForm::Dns | NameForm::Rfc822 | NameForm::Uri => {
            let (Some(name), Some(base)) = (text(name.encoding()), text(&tree.base)) else { return excludes };
            match tree.form {
                NameForm::Dns => in_domain(&name, &base, excludes),
                NameForm::Rfc822 => in_mailboxes(&name, &base).unwrap_or(excludes),
                _ => host_of(&name).map_or(excludes, |host| is_host_in(host, &base)),
            }
        }
        NameForm::Other(_) => excludes,
    }
}

/// A DNS name in a domain, or that domain. A wildcard stands for names in the excluded one as well.
fn in_domain(name: &str, base: &str, excludes: bool) -> bool {
    let (name, base) = (name.trim_end_matches('.'), base.trim_end_matches('.'));
    // without being defined, the leading period is common
    let (domain, strictly) = base.strip_prefix('.').map_or((base, false), |domain| (domain, true));
    if domain.is_empty() {
        return true;
    }
    let below = is_below(name, domain);
    let covers = |wildcard: &str| is_below(domain, wildcard) || domain == wildcard;
    if below || (excludes && name.strip_prefix("*.").is_some_and(covers)) {
        return true;
    }
    name == domain && (excludes || !strictly)
}

/// Whether a name ends with further labels before the domain.
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).is_some_and(|labels| !labels.is_empty())
}

/// A mail address that is the mailbox, at the host or in the domain. `None` if it is none.
fn in_mailboxes(name: &str, base: &str) -> Option<bool> {
    let (_, host) = name.rsplit_once('@').filter(|(mailbox, host)| !mailbox.is_empty() && !host.is_empty())?;
    if base.contains('@') {
        return Some(name == base);
    }
    Some(base.is_empty() || is_host_in(host, base))
}

/// A host, or with a leading period the hosts in a domain.
fn is_host_in(host: &str, base: &str) -> bool {
    let (host, base) = (host.trim_end_matches('.'), base.trim_end_matches('.'));
    match base.strip_prefix('.') {
        Some(domain) => is_below(host, domain),
        None => host == base,
    }
}

/// The host of a URI; an address is none (RFC 5280 §4.2.1.10).
fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') {
        return None;
    }
    let host = host.split(':').next().filter(|host| !host.is_empty())?;
    host.parse::<IpAddr>().is_err().then_some(host)
}

/// An attribute of a name.
struct Value<'a> {
    oid: &'a [u8],
    raw: &'a [u8],
    /// Without differences that mean nothing (RFC 5280 §7.1).
    text: Result<String, (Tag, &'a [u8])>,
}

/// The RDNs of an encoded name.
fn rdns(encoded: &[u8]) -> Option<Vec<Vec<Value<'_>>>> {
    let name = AnyRef::from_der(encoded).ok().filter(|name| name.tag() == Tag::Sequence)?;
    let mut sets = SliceReader::new(name.value()).ok()?;
    let mut rdns = Vec::new();
    while !sets.is_finished() {
        let set = AnyRef::decode(&mut sets).ok().filter(|set| set.tag() == Tag::Set)?;
        let mut pairs = SliceReader::new(set.value()).ok()?;
        let mut values = Vec::new();
        while !pairs.is_finished() {
            let pair = AnyRef::decode(&mut pairs).ok().filter(|pair| pair.tag() == Tag::Sequence)?;
            let mut pair = SliceReader::new(pair.value()).ok()?;
            let oid = AnyRef::decode(&mut pair).ok()?.value();
            let value = AnyRef::decode(&mut pair).ok()?;
            values.push(Value { oid, raw: value.value(), text: normalized(value) });
        }
        rdns.push(values);
    }
    Some(rdns)
}

fn normalized(value: AnyRef<'_>) -> Result<String, (Tag, &[u8])> {
    let bytes = value.value();
    let units = || bytes.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok().map(u16::from_be_bytes));
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Tag::TeletexString => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => String::from_utf16(&units().collect::<Vec<_>>()).ok(),
        _ => None,
    };
    let text = text.ok_or_else(|| (value.tag(), bytes))?;
    Ok(text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" "))
}

fn same_rdn(a: &[Value<'_>], b: &[Value<'_>]) -> bool {
    let has = |list: &[Value<'_>], value: &Value<'_>| list.iter().any(|v| v.oid == value.oid && v.text == value.text);
    a.len() == b.len() && a.iter().all(|value| has(b, value)) && b.iter().all(|value| has(a, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        for (name, base, permitted, excluded) in [
            ("a.example.org", "example.org", true, true),
            ("example.org", "example.org", true, true),
            ("EXAMPLE.org.".to_lowercase().as_str(), "example.org", true, true),
            ("badexample.org", "example.org", false, false),
            ("example.org", ".example.org", false, true),
            ("a.example.org", ".example.org", true, true),
            ("anything", "", true, true),
            ("*.example.org", "example.org", true, true),
            ("*.example.org", "a.example.org", false, true),
            ("*.org", "a.example.org", false, true),
        ] {
            assert_eq!(in_domain(name, base, false), permitted, "{name} permitted {base}");
            assert_eq!(in_domain(name, base, true), excluded, "{name} excluded {base}");
        }
    }

    #[test]
    fn mail_and_uris() {
        assert_eq!(in_mailboxes("a@example.org", "example.org"), Some(true));
        assert_eq!(in_mailboxes("a@b.example.org", "example.org"), Some(false));
        assert_eq!(in_mailboxes("a@b.example.org", ".example.org"), Some(true));
        assert_eq!(in_mailboxes("a@example.org", ".example.org"), Some(false));
        assert_eq!(in_mailboxes("a@example.org", "a@example.org"), Some(true));
        assert_eq!(in_mailboxes("b@example.org", "a@example.org"), Some(false));
        assert_eq!(in_mailboxes("nobody", "example.org"), None);
        assert_eq!(host_of("http://u:p@host.example:80/x?y"), Some("host.example"));
        for none in ["urn:x", "http://[::1]/", "http://192.0.2.1/", "http:///x"] {
            assert_eq!(host_of(none), None, "{none}");
        }
        assert!(is_host_in("a.example", ".example") && !is_host_in("a.example", "example"));
    }

    #[test]
    fn every_form_is_excluded_and_permitted() {
        let tree = |form, base: &[u8]| Subtree { form, base: base.into() };
        let dn = |text: &str| Identity::parse(text);
        let base = dn("C=CH, O=Test");
        let utf8 = {
            // CH, then O as UTF8String in another case with another space
            let name = b"0\x1d1\x0b0\x09\x06\x03U\x04\x06\x13\x02CH1\x0e0\x0c\x06\x03U\x04\x0a\x0c\x05 tESt";
            Identity::from_encoding(IdType::DerAsn1Dn, name)
        };
        for (form, base, inside, outside) in [
            (NameForm::Address, &[10, 1, 0, 0, 255, 255, 0, 0][..], dn("10.1.2.3"), dn("10.2.2.3")),
            (NameForm::Directory, base.encoding(), dn("C=CH, O=Test, CN=a"), dn("C=CH, O=Tes, CN=a")),
            (NameForm::Directory, base.encoding(), utf8, dn("C=CH")),
            (NameForm::Dns, b"example.org", dn("fqdn:A.Example.org"), dn("fqdn:example.com")),
            (NameForm::Rfc822, b"example.org", dn("email:a@EXAMPLE.org"), dn("email:a@x.example.org")),
        ] {
            for excludes in [false, true] {
                assert!(contains(&tree(form, base), &inside, excludes), "{inside}");
                assert!(!contains(&tree(form, base), &outside, excludes), "{outside}");
            }
        }
        // what cannot be read is excluded, and not permitted
        let garbage = Identity::from_encoding(IdType::DerAsn1Dn, b"0\x05");
        let binary = Identity::from_encoding(IdType::Fqdn, &[0xff]);
        for (form, base, name) in [(NameForm::Directory, base.encoding(), garbage), (NameForm::Dns, b"a.b", binary)] {
            assert!(contains(&tree(form, base), &name, true) && !contains(&tree(form, base), &name, false));
        }
    }
}
