//! Certification authorities: loading, replacing, listing, unloading, and what becomes of their certificates.

use super::*;

fn authority(name: &str, section: Message) -> Message {
    Message::new().with_section(name.to_owned(), section)
}

fn names(fixture: &Fixture) -> Vec<String> {
    flat(&fixture.client().request("get-authorities", &Message::new()).unwrap())
}

fn certificates(fixture: &Fixture) -> usize {
    fixture.listing("list-certs", "list-cert", &Message::new()).len()
}

#[test]
fn they_are_loaded_listed_and_unloaded() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    let full = Message::new()
        .with("cacert", CA)
        .with("cert_uri_base", "http://h/")
        .with_list("crl_uris", ["http://a", "http://b"])
        .with_list("ocsp_uris", ["http://o"]);
    let mut both = authority("one", full);
    both.append(authority("two", Message::new().with("cacert", CA)));
    client.command("load-authority", &both).unwrap();
    assert_eq!(names(&fixture), ["authorities=[one two]"]);
    let listed = fixture.listing("list-authorities", "list-authority", &Message::new().with("name", "one"));
    assert_eq!(listed.len(), 1);
    let block = listed[0].section("one").unwrap();
    let keys =
        ["cacert=C=CH, CN=ca", "crl_uris=[http://a http://b]", "ocsp_uris=[http://o]", "cert_uri_base=http://h/"];
    assert_eq!(flat(block), keys);

    client.command("load-authority", &authority("one", Message::new().with("cacert", CA))).unwrap();
    assert_eq!(names(&fixture), ["authorities=[two one]"]);
    let listed = fixture.listing("list-authorities", "list-authority", &Message::new());
    assert_eq!(flat(listed[1].section("one").unwrap()), ["cacert=C=CH, CN=ca", "crl_uris=[]", "ocsp_uris=[]"]);

    assert_eq!(fixture.failure("unload-authority", &Message::new()), "unload: missing authority name");
    let three = Message::new().with("name", "three");
    assert_eq!(fixture.failure("unload-authority", &three), "unload: authority 'three' not found");
    assert_eq!(certificates(&fixture), 1);
    client.command("unload-authority", &Message::new().with("name", "one")).unwrap();
    assert_eq!(certificates(&fixture), 1, "the other one has the same certificate");
    client.command("unload-authority", &Message::new().with("name", "two")).unwrap();
    assert_eq!(certificates(&fixture), 0);
}

#[test]
fn clearing_credentials_leaves_their_certificates_alone() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    client.command("load-authority", &authority("ca", Message::new().with("cacert", CA))).unwrap();
    for certificate in [CERTIFICATE, CA] {
        let load = Message::new().with("type", "X509").with("data", certificate);
        client.command("load-cert", &load).unwrap();
    }
    assert_eq!(certificates(&fixture), 2);
    client.command("clear-creds", &Message::new()).unwrap();
    assert_eq!(certificates(&fixture), 1);
    client.command("unload-authority", &Message::new().with("name", "ca")).unwrap();
    assert_eq!(certificates(&fixture), 0);
}

#[test]
fn what_is_wrong_is_named() {
    let fixture = Fixture::new();
    let file = std::env::temp_dir().join(format!("authority-{}.pem", std::process::id()));
    std::fs::write(&file, CA).unwrap();
    let file = file.display().to_string();
    let missing = "CA certificate missing: ca";
    let cases = [
        (Message::new(), missing),
        (Message::new().with("cacert", CERTIFICATE), missing),
        // what comes first in precedence counts, even if it is of no use
        (Message::new().with("cacert", "junk").with("file", &file), missing),
        (Message::new().with("file", "/nonexistent"), missing),
        (Message::new().with("handle", "01").with("slot", "1").with("module", "m"), missing),
        (Message::new().with("crl_uri", "http://a"), "unknown option: crl_uri, authority discarded"),
        (Message::new().with("crl_uris", "http://a"), "unknown option: crl_uris, authority discarded"),
        (Message::new().with_list("cacert", [CA]), "unknown option: cacert, authority discarded"),
        (Message::new().with("slot", "x"), "invalid value for: slot, authority discarded"),
        (Message::new().with_list("ocsp_uris", ["a\n"]), "invalid value for: ocsp_uris, authority discarded"),
        (Message::new().with_section("cacert", Message::new()), "parsing request failed"),
    ];
    for (section, errmsg) in cases {
        assert_eq!(fixture.failure("load-authority", &authority("ca", section)), errmsg);
    }
    assert_eq!((names(&fixture), certificates(&fixture)), (vec!["authorities=[]".to_owned()], 0));
    fixture.client().command("load-authority", &authority("ca", Message::new().with("file", &file))).unwrap();
    assert_eq!(names(&fixture), ["authorities=[ca]"]);
    std::fs::remove_file(file).unwrap();
}
