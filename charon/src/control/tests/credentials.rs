//! Certificates, keys and secrets over the control socket.

use super::*;

#[test]
fn certificates_are_loaded_and_listed() {
    let fixture = Fixture::new();
    let load = |kind: &str, flag: &str, data: &str| {
        let message = Message::new().with("type", kind).with("flag", flag).with("data", data);
        match fixture.client().command("load-cert", &message) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(fixture.failure("load-cert", &Message::new()), "certificate type missing");
    assert_eq!(fixture.failure("load-cert", &Message::new().with("type", "X509")), "certificate data missing");
    assert_eq!(load("X510", "CA", CA), "invalid certificate type 'X510'");
    assert_eq!(load("X509", "COOK", CA), "invalid certificate flag 'COOK'");
    assert_eq!(load("x509", "", CA), "invalid certificate flag ''");
    assert_eq!(load("X509", "NONE", "junk"), "parsing X509 certificate failed");
    assert_eq!(load("x509crl", "NONE", "junk"), "parsing X509_CRL certificate failed");
    assert_eq!(load("X509", "CA", CERTIFICATE), "ca certificate lacks CA basic constraint, rejected");
    assert_eq!(load("x509ca", "junk", CERTIFICATE), "ca certificate lacks CA basic constraint, rejected");
    for _ in 0..2 {
        assert_eq!(load("X509", "none", CERTIFICATE), "ok");
        // the certificate itself says what it is
        assert_eq!(load("X509", "NONE", CA), "ok");
    }
    let list = |request: Message| -> Vec<Vec<String>> {
        let listed = fixture.listing("list-certs", "list-cert", &request);
        let without_data = |message: &Message| {
            let scalars = message.scalars().filter(|(key, _)| *key != "data");
            scalars.map(|(key, value)| format!("{key}={}", String::from_utf8_lossy(value))).collect()
        };
        listed.iter().map(without_data).collect()
    };
    let (end_entity, ca) = (vec!["type=X509", "flag=NONE"], vec!["type=X509", "flag=CA"]);
    assert_eq!(list(Message::new()), [end_entity.clone(), ca.clone()]);
    assert_eq!(list(Message::new().with("type", "X509").with("flag", "ca")), slice::from_ref(&ca));
    assert_eq!(list(Message::new().with("type", "x509ca")), slice::from_ref(&ca));
    assert_eq!(list(Message::new().with("subject", "C=CH, CN=ca")), [ca]);
    assert!(list(Message::new().with("type", "PUBKEY")).is_empty());
    assert!(list(Message::new().with("type", "X510")).is_empty());

    let mut client = fixture.client();
    let key = Message::new().with("type", "ed25519").with("data", KEY);
    let id = client.command("load-key", &key).unwrap().str("id").unwrap().to_owned();
    assert_eq!(id.len(), 40);
    assert_eq!(list(Message::new().with("flag", "ignored"))[0], ["type=X509", "flag=NONE", "has_privkey=yes"]);
    client.command("clear-creds", &Message::new()).unwrap();
    assert!(list(Message::new()).is_empty());
    assert_eq!(flat(&client.request("get-keys", &Message::new()).unwrap()), ["keys=[]"]);
}

#[test]
fn private_keys_are_loaded_and_forgotten() {
    let fixture = Fixture::new();
    let ask =
        |kind: &str, data: &str| fixture.failure("load-key", &Message::new().with("type", kind).with("data", data));
    assert_eq!(fixture.failure("load-key", &Message::new()), "key type missing");
    assert_eq!(ask("", KEY), "invalid key type: ");
    assert_eq!(ask("rsa", ""), "key data missing");
    assert_eq!(ask("rsa", KEY), "parsing RSA private key failed");
    assert_eq!(ask("Any", "junk"), "parsing ANY private key failed");
    let mut client = fixture.client();
    let loaded = client.command("load-key", &Message::new().with("type", "any").with("data", KEY)).unwrap();
    let id = loaded.str("id").unwrap();
    assert_eq!(flat(&client.request("get-keys", &Message::new()).unwrap()), [format!("keys=[{id}]")]);
    assert_eq!(fixture.failure("unload-key", &Message::new()), "key id missing");
    assert_eq!(fixture.failure("unload-key", &Message::new().with("id", "00")), "key not found");
    let with_colons = id.as_bytes().chunks(2).map(|b| std::str::from_utf8(b).unwrap()).collect::<Vec<_>>().join(":");
    client.command("unload-key", &Message::new().with("id", with_colons)).unwrap();
    assert_eq!(fixture.failure("unload-key", &Message::new().with("id", id)), "key not found");
}

#[test]
fn shared_secrets_are_loaded_and_forgotten() {
    let fixture = Fixture::new();
    let secret = |id: &'static str| Message::new().with("id", id).with("type", "IKE").with("data", "secret");
    assert_eq!(fixture.failure("load-shared", &Message::new()), "shared key type missing");
    assert_eq!(fixture.failure("load-shared", &Message::new().with("type", "psk")), "invalid shared key type: psk");
    assert_eq!(fixture.failure("load-shared", &Message::new().with("type", "ike")), "shared key data missing");
    let bad = secret("a").with_list("owners", ["fqdn:^($"]);
    assert_eq!(fixture.failure("load-shared", &bad), "parsing shared key owners failed");
    let mut client = fixture.client();
    client.command("load-shared", &secret("a").with_list("owners", ["moon", "*.example.org"])).unwrap();
    client.command("load-shared", &secret("b").with("owners", "ignored")).unwrap();
    client.command("load-shared", &Message::new().with("type", "xauth").with("data", "x")).unwrap();
    assert_eq!(flat(&client.request("get-shared", &Message::new()).unwrap()), ["keys=[b a]"]);
    assert_eq!(fixture.failure("unload-shared", &Message::new()), "unique identifier missing");
    for _ in 0..2 {
        client.command("unload-shared", &Message::new().with("id", "a")).unwrap();
    }
    assert_eq!(flat(&client.request("get-shared", &Message::new()).unwrap()), ["keys=[b]"]);
}

#[test]
fn credentials_of_connections_are_known_to_all() {
    let fixture = Fixture::new();
    let local = Message::new().with_list("certs", [CERTIFICATE]).with_list("cacerts", [CA]);
    let gw = Message::new().with_section("local", local);
    fixture.client().command("load-conn", &Message::new().with_section("gw", gw)).unwrap();
    assert_eq!(fixture.listing("list-certs", "list-cert", &Message::new()).len(), 2);
    let listed = fixture.listing("list-conns", "list-conn", &Message::new());
    let round = listed[0].section("gw").and_then(|gw| gw.section("local-1")).unwrap();
    let keys = ["id=CN=test", "groups=[]", "cert_policy=[]", "certs=[CN=test]", "cacerts=[C=CH, CN=ca]"];
    assert_eq!(flat(round), keys);
}
