//! Counters, and policies that are installed by hand, over the control socket.

use super::*;

fn name(name: &str) -> Message {
    Message::new().with("name", name.to_owned())
}

#[test]
fn counters_in_all_have_a_section_without_a_name() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    for _ in 0..3 {
        fixture.fake.counters.alert(&DaemonAlert::InvalidIkeSpi);
    }
    let answer = client.request("get-counters", &Message::new()).unwrap();
    assert_eq!(flat(&answer), ["counters{}", "success=yes"]);
    let (section, counters) = answer.section("counters").unwrap().sections().next().unwrap();
    assert_eq!((section, counters.int("invalid-spi"), counters.int("info-out-resp")), ("", Some(3), Some(0)));
    assert_eq!(counters.scalars().count(), 21);
    // Nothing was counted for any connection.
    let all = client.request("get-counters", &Message::new().with("all", "yes").with("name", "gw")).unwrap();
    assert_eq!((flat(&all), all.section("counters").map(Message::is_empty)), (flat(&answer), Some(true)));
    let none = client.request("get-counters", &name("gw")).unwrap();
    assert_eq!(flat(&none), ["counters{}", "success=no", "errmsg=no counters found for this connection"]);
    for request in [name("gw"), Message::new().with("all", "yes")] {
        assert!(client.command("reset-counters", &request).is_ok());
        assert_eq!(fixture.fake.counters.global()[4], 3);
    }
    client.command("reset-counters", &Message::new()).unwrap();
    assert_eq!(fixture.fake.counters.global()[4], 0);
}

#[test]
fn policies_are_installed_and_uninstalled() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    client.command("load-conn", &connection("gw", &[("net", "none"), ("broken", "none")])).unwrap();
    client.command("load-conn", &connection("rw", &[("net", "none")])).unwrap();
    fixture.fake.take_asked();
    let of = |child: &str, ike: Option<&str>| {
        let mut message = Message::new().with("child", child.to_owned());
        message.push_some("ike", ike.map(str::to_owned));
        message
    };
    for (ike, found) in [(None, "gw"), (Some("rw"), "rw")] {
        client.command("install", &of("net", ike)).unwrap();
        client.command("uninstall", &of("net", ike)).unwrap();
        let from = ike.unwrap_or("any");
        assert_eq!(fixture.fake.take_asked(), [format!("install {found}/net"), format!("uninstall {from}/net")]);
    }
    for (command, message, error) in [
        ("install", Message::new(), "missing configuration name"),
        ("install", of("other", None), "configuration name not found"),
        ("install", of("net", Some("other")), "configuration name not found"),
        ("install", of("broken", None), "installing policy 'broken' failed"),
        ("uninstall", Message::new().with("ike", "gw"), "missing configuration name"),
        ("uninstall", of("none", None), "policy 'none' not found"),
    ] {
        assert_eq!(fixture.failure(command, &message), error);
    }
}
