//! What a CA certificate says about those below it: name constraints, policy constraints and mappings (RFC 5280
//! §4.2.1.5, §4.2.1.10, §4.2.1.11). They are evaluated in [`crate::credentials::trust`].

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

use super::parse::sequence;

/// The policy that stands for all others.
pub(in crate::credentials) const ANY_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32.0");

/// The forms of a GeneralName, by tag number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::credentials) enum NameForm {
    Rfc822,
    Dns,
    Directory,
    Uri,
    Address,
    /// One that nothing here can compare.
    Other(u8),
}

impl NameForm {
    fn from_tag(number: u8) -> Self {
        match number {
            1 => Self::Rfc822,
            2 => Self::Dns,
            4 => Self::Directory,
            6 => Self::Uri,
            7 => Self::Address,
            other => Self::Other(other),
        }
    }

    fn tag(self) -> u8 {
        match self {
            Self::Rfc822 => 1,
            Self::Dns => 2,
            Self::Directory => 4,
            Self::Uri => 6,
            Self::Address => 7,
            Self::Other(number) => number,
        }
    }

    /// Its bit in a set of forms.
    pub(in crate::credentials) fn bit(self) -> u16 {
        1_u16.checked_shl(u32::from(self.tag())).unwrap_or(0)
    }
}

/// The bit of a GeneralName's form in a set of them.
pub(super) fn form_bit(tag: Tag) -> u16 {
    match tag {
        Tag::ContextSpecific { number, .. } => NameForm::from_tag(number.value()).bit(),
        _ => 0,
    }
}

/// The base of a GeneralSubtree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::credentials) struct Subtree {
    pub(in crate::credentials) form: NameForm,
    /// The name without its tag; of a directory name, the encoded sequence.
    pub(in crate::credentials) base: Box<[u8]>,
}

/// The nameConstraints extension.
#[derive(Debug, Default)]
pub(in crate::credentials) struct NameConstraints {
    pub(in crate::credentials) permitted: Box<[Subtree]>,
    pub(in crate::credentials) excluded: Box<[Subtree]>,
}

impl NameConstraints {
    pub(super) fn parse(value: &[u8]) -> der::Result<Self> {
        let mut fields = sequence(AnyRef::from_der(value)?)?;
        let mut constraints = Self::default();
        while !fields.is_finished() {
            let field = AnyRef::decode(&mut fields)?;
            let trees = subtrees(field.value())?;
            match field.tag() {
                Tag::ContextSpecific { number: TagNumber::N0, .. } => constraints.permitted = trees,
                Tag::ContextSpecific { number: TagNumber::N1, .. } => constraints.excluded = trees,
                tag => return Err(tag.value_error()),
            }
        }
        Ok(constraints)
    }
}

fn subtrees(value: &[u8]) -> der::Result<Box<[Subtree]>> {
    let mut reader = SliceReader::new(value)?;
    let mut trees = Vec::new();
    while !reader.is_finished() {
        let mut fields = sequence(AnyRef::decode(&mut reader)?)?;
        let name = AnyRef::decode(&mut fields)?;
        // RFC 5280 §4.2.1.10: minimum is zero, and as such not encoded; there is no maximum
        fields.finish(())?;
        let Tag::ContextSpecific { number, .. } = name.tag() else { return Err(name.tag().value_error()) };
        let form = NameForm::from_tag(number.value());
        let valid = form != NameForm::Address || matches!(name.value().len(), 8 | 32);
        if !valid {
            return Err(name.tag().value_error());
        }
        if form == NameForm::Directory {
            sequence(AnyRef::from_der(name.value())?)?;
        }
        trees.push(Subtree { form, base: name.value().into() });
    }
    Ok(trees.into())
}

/// The policyConstraints extension.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::credentials) struct PolicyConstraints {
    pub(in crate::credentials) require_explicit: Option<u32>,
    pub(in crate::credentials) inhibit_mapping: Option<u32>,
}

impl PolicyConstraints {
    pub(super) fn parse(value: &[u8]) -> der::Result<Self> {
        let mut fields = sequence(AnyRef::from_der(value)?)?;
        let mut constraints = Self::default();
        while !fields.is_finished() {
            let field = AnyRef::decode(&mut fields)?;
            match field.tag() {
                Tag::ContextSpecific { number: TagNumber::N0, .. } => {
                    constraints.require_explicit = Some(number(field.value())?);
                }
                Tag::ContextSpecific { number: TagNumber::N1, .. } => {
                    constraints.inhibit_mapping = Some(number(field.value())?);
                }
                tag => return Err(tag.value_error()),
            }
        }
        Ok(constraints)
    }
}

/// A count of certificates.
pub(super) fn skip_certs(any: AnyRef<'_>) -> der::Result<u32> {
    any.tag().assert_eq(Tag::Integer)?;
    number(any.value())
}

/// A number that is not negative; what is larger than any chain stays so.
fn number(bytes: &[u8]) -> der::Result<u32> {
    match bytes.first() {
        Some(first) if first & 0x80 == 0 => {}
        _ => return Err(Tag::Integer.value_error()),
    }
    Ok(bytes.iter().fold(0_u32, |number, byte| number.saturating_mul(256).saturating_add(u32::from(*byte))))
}

/// Pairs of policies: the issuer's, and the subject's that is equal to it.
pub(super) fn policy_mappings(value: &[u8]) -> der::Result<Box<[(ObjectIdentifier, ObjectIdentifier)]>> {
    let mut reader = sequence(AnyRef::from_der(value)?)?;
    let mut mappings = Vec::new();
    while !reader.is_finished() {
        let mut pair = sequence(AnyRef::decode(&mut reader)?)?;
        let mapping = (ObjectIdentifier::decode(&mut pair)?, ObjectIdentifier::decode(&mut pair)?);
        mappings.push(pair.finish(mapping)?);
    }
    Ok(mappings.into())
}
