//! DNS servers that a gateway assigns to us (strongSwan's `resolve`): lines of resolv.conf, or input of resolvconf(8).
//!
//! IKE_SAs only say what they want; a job of its own carries it out, because a file or a command may take its time.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ike::attributes::{AttributeHandlers, Held};
use ike::wire::{CpAttribute, CpAttributeType};
use parking_lot::Mutex;
use strongswan::log;
use strongswan::processing::{Priority, Processor, job};
use strongswan::settings::Settings;

/// Where Debian and others have it.
const RESOLVCONF: &str = "/sbin/resolvconf";

/// Marks our lines.
const MARK: &str = "   # by strongSwan";

/// A resolv.conf is a few hundred bytes; what is larger is something else.
const MAX_FILE: u64 = 1 << 20;

/// How servers get into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveSettings {
    /// `resolve.load = no`: they do not.
    Off,
    /// `resolve.file`: lines at the top of this file.
    File(PathBuf),
    /// `resolve.resolvconf.*`
    Resolvconf {
        /// The command.
        path: String,
        /// Name of the interface that the servers are said to come from.
        iface: String,
    },
}

impl ResolveSettings {
    /// Reads them from strongswan.conf.
    pub fn from_settings(settings: &Settings) -> Self {
        let view = settings.view("charon.plugins.resolve");
        if !view.get_bool("load", true) {
            return Self::Off;
        }
        let installed = || Path::new(RESOLVCONF).exists().then_some(RESOLVCONF);
        // who names a file wants it, whatever is installed
        let automatic = || if view.get_str("file").is_some() { None } else { installed() };
        match view.get_str("resolvconf.path").or_else(automatic) {
            Some(path) => {
                let iface = view.get_str("resolvconf.iface").or_else(|| view.get_str("resolvconf.iface_prefix"));
                Self::Resolvconf { path: path.to_owned(), iface: iface.unwrap_or("lo.ipsec").to_owned() }
            }
            None => Self::File(view.get_str("file").unwrap_or("/etc/resolv.conf").into()),
        }
    }
}

/// The handler of DNS attributes.
#[derive(Debug)]
pub struct Resolve(Arc<Shared>);

struct Shared {
    settings: ResolveSettings,
    processor: Arc<Processor>,
    /// Servers with the number of their users, the latest first. A leaf lock.
    wanted: Mutex<Vec<(IpAddr, usize)>>,
    /// What is in force. Held while it is changed; before `wanted`.
    in_force: Mutex<Vec<IpAddr>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Resolve {
    /// A handler whose work is done by `processor`.
    pub fn new(settings: ResolveSettings, processor: Arc<Processor>) -> Self {
        Self(Arc::new(Shared { settings, processor, wanted: Mutex::default(), in_force: Mutex::default() }))
    }

    /// Brings into force what is wanted, now. For the end, when there are no workers any more.
    pub fn apply(&self) {
        self.0.apply();
    }
}

/// The server in an attribute.
fn server(attribute: &CpAttribute) -> Option<IpAddr> {
    match attribute.kind {
        CpAttributeType::InternalIp4Dns => {
            attribute.value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into())
        }
        CpAttributeType::InternalIp6Dns => {
            attribute.value.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into())
        }
        _ => None,
    }
}

impl AttributeHandlers for Resolve {
    fn requests(&self, _connection: &str, addresses: &[IpAddr]) -> Vec<CpAttribute> {
        if self.0.settings == ResolveSettings::Off {
            return Vec::new();
        }
        let v4 = addresses.iter().any(IpAddr::is_ipv4).then_some(CpAttributeType::InternalIp4Dns);
        let v6 = addresses.iter().any(IpAddr::is_ipv6).then_some(CpAttributeType::InternalIp6Dns);
        v4.into_iter().chain(v6).map(|kind| CpAttribute::new(kind, &[])).collect()
    }

    fn handle(&self, attribute: &CpAttribute) -> Option<Box<dyn Held>> {
        if self.0.settings == ResolveSettings::Off {
            return None;
        }
        let server = server(attribute)?;
        let mut wanted = self.0.wanted.lock();
        match wanted.iter_mut().find(|(address, _)| *address == server) {
            Some((_, users)) => *users = users.saturating_add(1),
            None => wanted.insert(0, (server, 1)),
        }
        drop(wanted);
        Shared::schedule(&self.0);
        Some(Box::new(InUse { shared: Arc::clone(&self.0), server }))
    }
}

/// A server in use.
#[derive(Debug)]
struct InUse {
    shared: Arc<Shared>,
    server: IpAddr,
}

impl Held for InUse {}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut wanted = self.shared.wanted.lock();
        if let Some((_, users)) = wanted.iter_mut().find(|(address, _)| *address == self.server) {
            *users = users.saturating_sub(1);
        }
        wanted.retain(|(_, users)| *users > 0);
        drop(wanted);
        Shared::schedule(&self.shared);
    }
}

impl Shared {
    fn schedule(this: &Arc<Self>) {
        let shared = Arc::clone(this);
        this.processor.queue(job(Priority::Medium, move || shared.apply()));
    }

    fn apply(&self) {
        let mut in_force = self.in_force.lock();
        let wanted: Vec<_> = self.wanted.lock().iter().map(|(address, _)| *address).collect();
        if *in_force == wanted {
            return;
        }
        let (result, target) = match &self.settings {
            ResolveSettings::Off => return,
            ResolveSettings::File(path) => (rewrite(path, &in_force, &wanted), path.display().to_string()),
            ResolveSettings::Resolvconf { path, iface } => (resolvconf(path, iface, &wanted), path.clone()),
        };
        for server in wanted.iter().filter(|server| !in_force.contains(server)) {
            log!(IKE, 1, "installing DNS server {server} to {target}");
        }
        for server in in_force.iter().filter(|server| !wanted.contains(server)) {
            log!(IKE, 1, "removing DNS server {server} from {target}");
        }
        match result {
            Ok(()) => *in_force = wanted,
            Err(error) => log!(IKE, 1, "changing DNS servers in {target} failed: {error}"),
        }
    }
}

fn line(server: IpAddr) -> String {
    format!("nameserver {server}{MARK}")
}

/// Puts the lines of `new` in front of what is in the file besides those of `old`. Written in place: it may be mounted.
fn rewrite(path: &Path, old: &[IpAddr], new: &[IpAddr]) -> io::Result<()> {
    let content = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE => return Err(io::Error::other("too large for a resolv.conf")),
        Ok(_) => String::from_utf8_lossy(&fs::read(path)?).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut ours: Vec<_> = old.iter().copied().map(line).collect();
    let mut text: String = new.iter().map(|server| line(*server) + "\n").collect();
    for kept in content.split_inclusive('\n') {
        match ours.iter().position(|line| line == kept.trim_end()) {
            // once each: another daemon may use the same file
            Some(index) => drop(ours.remove(index)),
            None => text.push_str(kept),
        }
    }
    fs::write(path, text)
}

/// Tells resolvconf(8) all servers, or that there are none any more.
fn resolvconf(path: &str, iface: &str, servers: &[IpAddr]) -> io::Result<()> {
    let action = if servers.is_empty() { "-d" } else { "-a" };
    let mut command = Command::new("/bin/sh");
    // the shell splits the path, which may have arguments; ours are passed beside it
    command.args(["-c", &format!("{path} \"$@\""), "sh", action, iface]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        // one that does not read has already failed
        let _closed = input.write_all(text.as_bytes());
    }
    match child.wait()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(status.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder of its own for a test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(format!("charon-resolve-{pid}-{number}"));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn read(text: &str) -> ResolveSettings {
        let text = format!("charon {{ plugins {{ resolve {{ {text}\n }} }} }}");
        ResolveSettings::from_settings(&Settings::parse_str(&text).unwrap())
    }

    fn dns(address: &str) -> CpAttribute {
        match address.parse().unwrap() {
            IpAddr::V4(v4) => CpAttribute::new(CpAttributeType::InternalIp4Dns, &v4.octets()),
            IpAddr::V6(v6) => CpAttribute::new(CpAttributeType::InternalIp6Dns, &v6.octets()),
        }
    }

    fn handler(settings: ResolveSettings) -> Resolve {
        // without workers: the tests say when it is done
        Resolve::new(settings, Arc::new(Processor::new()))
    }

    #[test]
    fn settings_choose_the_way() {
        assert_eq!(read("load = no"), ResolveSettings::Off);
        assert_eq!(read("file = /tmp/r"), ResolveSettings::File("/tmp/r".into()));
        let named = |iface: &str| ResolveSettings::Resolvconf { path: "/bin/rc".into(), iface: iface.into() };
        assert_eq!(read("resolvconf { path = /bin/rc\n }"), named("lo.ipsec"));
        assert_eq!(read("resolvconf { path = /bin/rc\n iface_prefix = old\n }"), named("old"));
        assert_eq!(read("resolvconf { path = /bin/rc\n iface = new\n iface_prefix = old\n }"), named("new"));
    }

    #[test]
    fn lines_are_added_in_front_and_removed_again() {
        let dir = Scratch::new();
        let path = dir.0.join("resolv.conf");
        fs::write(&path, "search example.org\nnameserver 192.0.2.53\n").unwrap();
        let handler = handler(ResolveSettings::File(path.clone()));
        let content = || {
            handler.apply();
            fs::read_to_string(&path).unwrap()
        };
        let first = handler.handle(&dns("10.0.0.1")).unwrap();
        let again = handler.handle(&dns("10.0.0.1")).unwrap();
        let second = handler.handle(&dns("fd00::1")).unwrap();
        let rest = "search example.org\nnameserver 192.0.2.53\n";
        let (v4, v6) = ("nameserver 10.0.0.1   # by strongSwan\n", "nameserver fd00::1   # by strongSwan\n");
        assert_eq!(content(), format!("{v6}{v4}{rest}"));
        drop(first);
        assert_eq!(content(), format!("{v6}{v4}{rest}"), "it has another user");
        drop(again);
        assert_eq!(content(), format!("{v6}{rest}"));
        drop(second);
        assert_eq!(content(), rest);
    }

    #[test]
    fn a_missing_file_is_made_and_strangers_lines_stay() {
        let dir = Scratch::new();
        let path = dir.0.join("resolv.conf");
        let handler = handler(ResolveSettings::File(path.clone()));
        let held = handler.handle(&dns("10.0.0.1")).unwrap();
        handler.apply();
        // another daemon's line for the same server
        let twice = "nameserver 10.0.0.1   # by strongSwan\n".repeat(2);
        fs::write(&path, &twice).unwrap();
        drop(held);
        handler.apply();
        assert_eq!(fs::read_to_string(&path).unwrap().len() * 2, twice.len());
    }

    #[test]
    fn resolvconf_gets_all_servers() {
        let dir = Scratch::new();
        let out = dir.0.join("out");
        let path = format!("{{ cat; echo \"$@\"; }} >>{} ; :", out.display());
        // a command line of its own in place of the command
        let path = format!("f() {{ {path}; }}; f");
        let handler = handler(ResolveSettings::Resolvconf { path, iface: "lo.ipsec".into() });
        let (a, b) = (handler.handle(&dns("10.0.0.1")).unwrap(), handler.handle(&dns("10.0.0.2")).unwrap());
        handler.apply();
        drop((a, b));
        handler.apply();
        let expected = "nameserver 10.0.0.2\nnameserver 10.0.0.1\n-a lo.ipsec\n-d lo.ipsec\n";
        assert_eq!(fs::read_to_string(&out).unwrap(), expected);
    }

    #[test]
    fn only_what_can_be_used_is_asked_for_and_taken() {
        let handler = handler(ResolveSettings::File("/nonexistent/resolv.conf".into()));
        let kinds = |addresses: &[IpAddr]| handler.requests("gw", addresses).iter().map(|a| a.kind).collect::<Vec<_>>();
        let (v4, v6) = (IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8]));
        assert_eq!(kinds(&[v4]), [CpAttributeType::InternalIp4Dns]);
        assert_eq!(kinds(&[v6, v4]), [CpAttributeType::InternalIp4Dns, CpAttributeType::InternalIp6Dns]);
        assert!(kinds(&[]).is_empty());
        assert!(handler.handle(&CpAttribute::new(CpAttributeType::InternalIp4Dns, &[])).is_none());
        assert!(handler.handle(&CpAttribute::new(CpAttributeType::InternalIp4Nbns, &[10, 0, 0, 1])).is_none());
    }
}
