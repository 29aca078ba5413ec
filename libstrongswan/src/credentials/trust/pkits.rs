//! The NIST Public Key Interoperability Test Suite (`tests/vectors/pkits`). The name of each end entity's file says
//! what is expected of it, except where policies differ.

use std::collections::BTreeMap;

use super::*;
use crate::credentials::CertificateFlags;
use crate::credentials::revocation::Crl;

/// 2026-01-01: within the life of all certificates but those that are about that.
const NOW: UnixTime = UnixTime(1_767_225_600);

/// Tests of §4.8 whose names do not say that there is no common policy.
const WITHOUT_COMMON_POLICY: [&str; 6] = ["Test4EE", "Test5EE", "Test7EE", "Test8EE", "Test9EE", "Test12EE"];

/// What is refused here although it is valid, each for a reason.
const REFUSED: [&str; 6] = [
    // identities differ in these as strongSwan's do: spaces, and letters in UTF8String, count
    "ValidNameChainingWhitespaceTest3EE",
    "ValidNameChainingWhitespaceTest4EE",
    "ValidUTF8StringCaseInsensitiveMatchTest11EE",
    // there is no DSA in IKEv2
    "ValidDSASignaturesTest4EE",
    "ValidDSAParameterInheritanceTest5EE",
    // time starts in 1970
    "Validpre2000UTCnotBeforeDateTest3EE",
];

fn read(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let path = format!("{}/tests/vectors/pkits/{folder}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

fn is_valid(name: &str) -> bool {
    let no_policy =
        name.starts_with("DifferentPolicies") && WITHOUT_COMMON_POLICY.iter().any(|end| name.ends_with(end));
    !name.starts_with("Invalid") && !no_policy
}

#[test]
fn chains() {
    let files = read("certs");
    let all: BTreeMap<_, _> =
        files.iter().filter_map(|(name, der)| Some((name, Arc::new(Certificate::from_der(der).ok()?)))).collect();
    let store = Store::new();
    let root = all[&"TrustAnchorRootCertificate".to_owned()].clone();
    store.add_certificate(root, CertificateFlags::default());
    let presented: Vec<_> = all.iter().filter(|(name, _)| !name.ends_with("EE")).map(|(_, c)| Arc::clone(c)).collect();
    for crl in read("crls").values().filter_map(|der| Crl::from_der_or_pem(der).ok()) {
        store.add_crl(crl);
    }
    let mut seen = 0;
    let mut wrong = Vec::new();
    for name in files.keys().filter(|name| name.ends_with("EE")) {
        let result = all.get(name).map(|certificate| {
            let chain = store.verify_chain(certificate, &presented, NOW)?;
            store.validate(&chain, &presented, NOW)
        });
        let expected = is_valid(name) && !REFUSED.contains(&name.as_str());
        // NIST wants to know for sure: `revocation = strict`
        let accepted = matches!(result, Some(Ok(Some(Validation::Good))));
        if accepted != expected {
            wrong.push(format!("{name}: {result:?}"));
        }
        seen += 1;
    }
    assert!(wrong.is_empty() && seen > 220, "{seen}: {wrong:#?}");
}
