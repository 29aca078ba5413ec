//! Certificate policies along a chain (RFC 5280 §6.1.2-§6.1.5), with every policy acceptable at first.
//!
//! Only what is valid at the current depth is kept: whether it is anything decides about the chain, and what is left at
//! the leaf is what a connection can ask for (`cert_policy`). So the tree of the RFC is a set here.

use std::collections::{BTreeMap, BTreeSet};

use der::asn1::ObjectIdentifier;

use super::TrustError;
use crate::credentials::certificate::{ANY_POLICY, Certificate};

/// What holds for the next certificate.
struct State {
    /// Policies it may have.
    expected: BTreeSet<ObjectIdentifier>,
    /// It may have any.
    any: bool,
    /// Certificates until some policy is needed.
    explicit: u32,
    /// Certificates until policies are mapped no more.
    mapping: u32,
    /// Certificates until anyPolicy counts no more.
    inhibit_any: u32,
}

/// The policies of the leaf that are valid along the chain, which is given from the root to the leaf.
pub(super) fn evaluate<'a>(
    root: &'a Certificate,
    below: impl DoubleEndedIterator<Item = &'a Certificate> + ExactSizeIterator,
) -> Result<Box<[ObjectIdentifier]>, TrustError> {
    // RFC 5280 §6.1.2: n + 1, which is more than there are certificates
    let never = u32::try_from(below.len()).unwrap_or(u32::MAX).saturating_add(2);
    let expected = BTreeSet::new();
    let mut state = State { expected, any: true, explicit: never, mapping: never, inhibit_any: never };
    // a root without policies leaves everything open, one that names some means those
    if root.policies().is_empty() {
        state.prepare(root, BTreeMap::new())?;
    } else {
        let valid = state.certificate(root, false)?;
        state.prepare(root, valid)?;
    }
    let last = below.len();
    for (index, certificate) in below.enumerate() {
        let leaf = index + 1 == last;
        let valid = state.certificate(certificate, leaf)?;
        if !leaf {
            state.prepare(certificate, valid)?;
            continue;
        }
        // §6.1.5 (a), (b)
        let explicit = match certificate.policy_constraints().require_explicit {
            Some(0) => 0,
            _ => state.explicit.saturating_sub(1),
        };
        if explicit == 0 && valid.is_empty() && !state.any {
            return Err(TrustError::PolicyMissing(certificate.subject().clone()));
        }
        return Ok(valid.into_keys().collect());
    }
    Ok(Box::default())
}

impl State {
    /// The policies of a certificate that are valid, with those that the next one may have for each (§6.1.3 (d)-(f)).
    fn certificate(
        &mut self,
        certificate: &Certificate,
        leaf: bool,
    ) -> Result<BTreeMap<ObjectIdentifier, BTreeSet<ObjectIdentifier>>, TrustError> {
        let mut valid = BTreeMap::new();
        let policies = certificate.policies();
        for policy in policies.iter().filter(|policy| **policy != ANY_POLICY) {
            if self.any || self.expected.contains(policy) {
                valid.insert(*policy, BTreeSet::from([*policy]));
            }
        }
        let counts = self.inhibit_any > 0 || (!leaf && certificate.is_self_issued());
        let any = counts && policies.contains(&ANY_POLICY);
        if any {
            for policy in &self.expected {
                valid.entry(*policy).or_insert_with(|| BTreeSet::from([*policy]));
            }
        }
        self.any &= any;
        if self.explicit == 0 && valid.is_empty() && !self.any {
            return Err(TrustError::PolicyMissing(certificate.subject().clone()));
        }
        Ok(valid)
    }

    /// What a CA's certificate means for the next one (§6.1.4 (a), (b), (h)-(j)).
    fn prepare(
        &mut self,
        certificate: &Certificate,
        mut valid: BTreeMap<ObjectIdentifier, BTreeSet<ObjectIdentifier>>,
    ) -> Result<(), TrustError> {
        let mappings = certificate.policy_mappings();
        if mappings.iter().any(|(from, to)| *from == ANY_POLICY || *to == ANY_POLICY) {
            return Err(TrustError::PolicyMapping(certificate.subject().clone()));
        }
        let mut mapped: BTreeMap<ObjectIdentifier, BTreeSet<ObjectIdentifier>> = BTreeMap::new();
        for (from, to) in mappings {
            mapped.entry(*from).or_default().insert(*to);
        }
        for (from, to) in mapped {
            if self.mapping == 0 {
                valid.remove(&from);
            } else if self.any || valid.contains_key(&from) {
                valid.insert(from, to);
            }
        }
        self.expected = valid.into_values().flatten().collect();
        if !certificate.is_self_issued() {
            self.explicit = self.explicit.saturating_sub(1);
            self.mapping = self.mapping.saturating_sub(1);
            self.inhibit_any = self.inhibit_any.saturating_sub(1);
        }
        let constraints = certificate.policy_constraints();
        self.explicit = self.explicit.min(constraints.require_explicit.unwrap_or(u32::MAX));
        self.mapping = self.mapping.min(constraints.inhibit_mapping.unwrap_or(u32::MAX));
        self.inhibit_any = self.inhibit_any.min(certificate.inhibit_any_policy().unwrap_or(u32::MAX));
        Ok(())
    }
}
