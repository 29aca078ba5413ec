//! Names of protocols and services, from `/etc/protocols` and `/etc/services` as they were when first needed. The
//! protocols that selectors usually name are known without those files.

use std::collections::HashMap;
use std::fs;
use std::sync::LazyLock;

/// What is known without the system's help; its table has precedence.
const PROTOCOLS: &str = "\
icmp 1 ICMP
tcp 6 TCP
udp 17 UDP
gre 47 GRE
esp 50 IPSEC-ESP
ah 51 IPSEC-AH
ipv6-icmp 58 IPv6-ICMP
sctp 132 SCTP
";

#[derive(Default)]
struct Protocols {
    by_name: HashMap<Box<str>, u8>,
    by_number: HashMap<u8, Box<str>>,
}

#[derive(Default)]
struct Services {
    /// Name and transport to port; the empty transport stands for any.
    by_name: HashMap<(Box<str>, Box<str>), u16>,
    by_port: HashMap<(u16, Box<str>), Box<str>>,
}

static SYSTEM_PROTOCOLS: LazyLock<Protocols> = LazyLock::new(|| {
    let mut table = Protocols::default();
    table.read(&read("/etc/protocols"));
    table.read(PROTOCOLS);
    table
});

static SYSTEM_SERVICES: LazyLock<Services> = LazyLock::new(|| {
    let mut table = Services::default();
    table.read(&read("/etc/services"));
    table
});

/// A missing file is an empty one: numbers are printed instead of names.
fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The words of each line without its comment.
fn lines(text: &str) -> impl Iterator<Item = std::str::SplitWhitespace<'_>> {
    text.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
}

impl Protocols {
    fn read(&mut self, text: &str) {
        for mut words in lines(text) {
            let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) else { continue };
            self.by_number.entry(number).or_insert_with(|| name.into());
            for alias in std::iter::once(name).chain(words) {
                self.by_name.entry(alias.into()).or_insert(number);
            }
        }
    }
}

impl Services {
    fn read(&mut self, text: &str) {
        for mut words in lines(text) {
            let (Some(name), Some((port, transport))) = (words.next(), words.next().and_then(|at| at.split_once('/')))
            else {
                continue;
            };
            let Ok(port) = port.parse() else { continue };
            for transport in [transport, ""] {
                self.by_port.entry((port, transport.into())).or_insert_with(|| name.into());
            }
            for alias in std::iter::once(name).chain(words) {
                for transport in [transport, ""] {
                    self.by_name.entry((alias.into(), transport.into())).or_insert(port);
                }
            }
        }
    }
}

/// What services of a protocol are listed under; `None` if there is no name for it.
fn transport(protocol: u8) -> Option<&'static str> {
    if protocol == 0 { Some("") } else { protocol_name(protocol) }
}

/// The number of a protocol's name or alias.
pub(super) fn protocol_number(name: &str) -> Option<u8> {
    SYSTEM_PROTOCOLS.by_name.get(name).copied()
}

/// The name of a protocol; 0 has none, it stands for any.
pub(super) fn protocol_name(number: u8) -> Option<&'static str> {
    if number == 0 { None } else { SYSTEM_PROTOCOLS.by_number.get(&number).map(|name| &**name) }
}

/// The port of a service's name or alias.
pub(super) fn service_port(name: &str, protocol: u8) -> Option<u16> {
    SYSTEM_SERVICES.by_name.get(&(name.into(), transport(protocol)?.into())).copied()
}

/// The name of the service on a port.
pub(super) fn service_name(port: u16, protocol: u8) -> Option<&'static str> {
    SYSTEM_SERVICES.by_port.get(&(port, transport(protocol)?.into())).map(|name| &**name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_databases() {
        let mut protocols = Protocols::default();
        protocols.read("# x\n\nip 0 IP\ntcp\t6\tTCP # y\nbad\nbig 300\n");
        assert_eq!((protocols.by_name["TCP"], &*protocols.by_number[&6]), (6, "tcp"));
        assert_eq!(protocols.by_name.len(), 4);
        let mut services = Services::default();
        services.read("http 80/tcp www\nhttp 80/udp\nbad x/tcp\nbad\n");
        assert_eq!(services.by_name[&("www".into(), "tcp".into())], 80);
        assert_eq!(services.by_name.get(&("www".into(), "udp".into())), None);
        assert_eq!(&*services.by_port[&(80, "".into())], "http");
    }

    #[test]
    fn the_usual_protocols_are_always_known() {
        assert_eq!(["tcp", "udp", "icmp", "ipv6-icmp", "TCP"].map(protocol_number), [6, 17, 1, 58, 6].map(Some));
        assert_eq!(protocol_name(0), None);
    }
}
