//! A running charon, ours or strongSwan's, and the `swanctl` that drives it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::config::Files;
use crate::lab::{Host, Lab};
use crate::{Result, uml, wait_for};

/// Who wrote a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// This project.
    Ours,
    /// Debian's strongSwan 5.9.8.
    StrongSwan,
}

/// Plugins of strongSwan that the scenarios need.
const STRONGSWAN_PLUGINS: &str = "random nonce openssl pem pkcs1 pkcs8 x509 revocation constraints pubkey curve25519 \
     hmac sha1 sha2 aes gcm cmac xcbc ctr ccm chapoly gmp mgf1 kdf drbg kernel-netlink socket-default vici updown \
     counters attr resolve md4 md5 des eap-identity eap-md5 eap-mschapv2 eap-gtc \
     eap-tls eap-ttls eap-radius xauth-generic";

/// The plugin that carries strongSwan's ESP where the kernel has none, as on test machines; it comes first then.
const STRONGSWAN_USERSPACE_ESP: &str = "kernel-libipsec";

/// In a daemon's folder: where it puts DNS servers that its peer assigns.
const RESOLV_CONF: &str = "resolv.conf";

impl Make {
    /// The daemon's executable.
    ///
    /// # Errors
    /// If it is not there; says how to get it.
    pub fn charon(self) -> Result<PathBuf> {
        match self {
            Self::Ours => ours("charon"),
            Self::StrongSwan => debian("/usr/lib/ipsec/charon", "strongswan-charon"),
        }
    }

    /// The control program's executable.
    ///
    /// # Errors
    /// If it is not there; says how to get it.
    pub fn swanctl(self) -> Result<PathBuf> {
        match self {
            Self::Ours => ours("swanctl"),
            Self::StrongSwan => debian("/usr/sbin/swanctl", "strongswan-swanctl"),
        }
    }
}

/// A binary of this workspace: beside the running test, or in `CHARON_BIN_DIR`.
///
/// # Errors
/// If it has not been built.
pub fn ours(name: &str) -> Result<PathBuf> {
    let dir = match std::env::var_os("CHARON_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let exe = std::env::current_exe()?;
            let deps = exe.parent().ok_or("no folder of the test binary")?;
            deps.parent().ok_or("no target folder")?.to_path_buf()
        }
    };
    let path = dir.join(name);
    if path.is_file() { Ok(path) } else { Err(format!("{}: missing, run cargo build --bins", path.display()).into()) }
}

fn debian(path: &str, package: &str) -> Result<PathBuf> {
    let path = PathBuf::from(path);
    if path.is_file() { Ok(path) } else { Err(format!("{}: missing, install {package}", path.display()).into()) }
}

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Standard output of a run that succeeded.
    ///
    /// # Errors
    /// If the exit code is not 0, with everything it printed.
    pub fn ok(self) -> Result<String> {
        if self.code == 0 {
            Ok(self.stdout)
        } else {
            Err(format!("exit code {}\n{}{}", self.code, self.stdout, self.stderr).into())
        }
    }
}

/// A daemon in its host's network namespace; it is stopped when the value is dropped.
#[derive(Debug)]
pub struct Daemon {
    pub make: Make,
    pub host: Host,
    dir: PathBuf,
    child: Child,
}

impl Daemon {
    /// Writes `files` and starts a daemon on `host`; returns once its control socket answers.
    ///
    /// # Errors
    /// If it is not up within 10 s, with its log.
    pub fn start(lab: &Lab, host: &Host, make: Make, files: &Files) -> Result<Self> {
        Self::start_with(lab, host, make, files, &[])
    }

    /// As [`Daemon::start`], with further environment variables.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_with(lab: &Lab, host: &Host, make: Make, files: &Files, environment: &[(&str, &str)]) -> Result<Self> {
        let dir = lab.dir().join(host.role);
        files.write(&dir.join("swanctl"))?;
        let conf = dir.join("strongswan.conf");
        std::fs::write(&conf, strongswan_conf(make, &dir, &files.charon))?;
        Self::launch(dir, host.clone(), make, environment)
    }

    fn launch(dir: PathBuf, host: Host, make: Make, environment: &[(&str, &str)]) -> Result<Self> {
        let log = File::create(dir.join("log"))?;
        let mut command = host.command(&make.charon()?);
        command.env("STRONGSWAN_CONF", dir.join("strongswan.conf")).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        let mut daemon = Self { make, host, dir, child };
        let socket = daemon.socket();
        let mut exited = None;
        let up = wait_for("control socket", 10, || {
            exited = daemon.child.try_wait()?;
            Ok(exited.is_some() || std::os::unix::net::UnixStream::connect(&socket).is_ok())
        });
        match exited {
            None if up.is_ok() => Ok(daemon),
            _ => Err(format!("{make:?} did not start ({exited:?}):\n{}", daemon.log()).into()),
        }
    }

    /// Stops the daemon and starts it again with the same files.
    ///
    /// # Errors
    /// As [`Daemon::start`] and [`Daemon::stop`].
    pub fn restart(mut self) -> Result<Self> {
        self.stop()?;
        self.start_again()
    }

    /// Starts a daemon that has ended again, with the same files.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_again(self) -> Result<Self> {
        let (dir, host, make) = (self.dir.clone(), self.host.clone(), self.make);
        drop(self);
        Self::launch(dir, host, make, &[])
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("charon.vici")
    }

    /// URI of the control socket.
    pub fn uri(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The folder `swanctl` reads.
    pub fn swanctl_dir(&self) -> PathBuf {
        self.dir.join("swanctl")
    }

    /// Process id, for accounting.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time the daemon has used so far, over all of its threads.
    ///
    /// # Errors
    /// If the kernel keeps no scheduler statistics.
    pub fn cpu_time(&self) -> Result<Duration> {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            total += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Resident memory of the daemon in bytes.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn resident_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Runs the `swanctl` of `tool` against this daemon.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn swanctl_of(&self, tool: Make, args: &[&str]) -> Result<Run> {
        let out = Command::new(tool.swanctl()?)
            .args(args)
            .args(["--uri", &self.uri()])
            .env("SWANCTL_DIR", self.swanctl_dir())
            .env("STRONGSWAN_CONF", self.dir.join("strongswan.conf"))
            .stdin(Stdio::null())
            .output()?;
        Ok(Run {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        })
    }

    /// Runs the `swanctl` that belongs to this daemon and expects success.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn swanctl(&self, args: &[&str]) -> Result<String> {
        self.swanctl_of(self.make, args)?
            .ok()
            .map_err(|e| format!("{:?} swanctl {}: {e}", self.make, args.join(" ")).into())
    }

    /// A vici client connected to this daemon.
    ///
    /// # Errors
    /// If it cannot connect.
    pub fn vici(&self) -> Result<vici::Client> {
        Ok(vici::Client::connect(&self.uri().parse()?)?)
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        std::fs::read(self.dir.join("log")).map_or_else(|e| e.to_string(), |b| String::from_utf8_lossy(&b).into_owned())
    }

    /// The file into which the daemon puts DNS servers that its peer assigns; empty if there is none.
    pub fn resolv_conf(&self) -> String {
        std::fs::read_to_string(self.dir.join(RESOLV_CONF)).unwrap_or_default()
    }

    /// Whether the log has a line with `text`.
    pub fn logged(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Asks the daemon to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// If it is still there after 10 s or its exit code is not 0.
    pub fn stop(&mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{status}\n{}", self.log()).into()),
                None if Instant::now() > end => return Err("still running 10 s after SIGTERM".into()),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Adds `lines` to the `charon` section of strongswan.conf and tells the daemon to read it again (SIGHUP).
    ///
    /// # Errors
    /// If the file cannot be written or the daemon not signalled.
    pub fn reconfigure(&self, lines: &str) -> Result<()> {
        std::fs::write(self.dir.join("strongswan.conf"), strongswan_conf(self.make, &self.dir, lines))?;
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGHUP)?;
        Ok(())
    }

    /// Ends the daemon as a power failure would (SIGKILL).
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "a failing scenario shows what its daemons saw")]
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.stop().is_err() {
            let _ = self.kill();
        }
        if std::thread::panicking() || std::env::var_os("LAB_LOGS").is_some() {
            eprintln!("--- log of {:?} on {}\n{}", self.make, self.host.role, tail(&self.log(), 120));
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

fn strongswan_conf(make: Make, dir: &Path, extra: &str) -> String {
    let load = match make {
        Make::StrongSwan if uml::is_inside() => format!("load = {STRONGSWAN_PLUGINS}"),
        Make::StrongSwan => format!("load = {STRONGSWAN_USERSPACE_ESP} {STRONGSWAN_PLUGINS}"),
        Make::Ours => String::new(),
    };
    format!(
        "charon {{\n  {load}\n  plugins {{ vici {{ socket = unix://{}/charon.vici\n }} resolve {{ file = {}\n }} }}\n  \
         filelog {{ stderr {{ default = 1\n ike = 2\n flush_line = yes\n }} }}\n{extra}\n}}\n",
        dir.display(),
        // never the machine's own
        dir.join(RESOLV_CONF).display()
    )
}
