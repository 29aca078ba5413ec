//! Fetching CRLs and OCSP responses: HTTP and files, on threads of their own, bounded in time, size and number.
//!
//! Names are looked up, connections made and answers read within one time limit. What failed is not tried again for as long, so
//! that a server that is silent costs the peers of one moment that time, and not one peer after the other.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strongswan::credentials::revocation::{Crl, Fetch, FetchError};
use strongswan::log;

use crate::manager::Resolver;

/// Queries at a time.
const THREADS: usize = 8;

/// Queries that wait, at most: those beyond are answered at once, with what is known.
const MAX_WAITING: usize = 512;

/// Largest CRL: those of large public CAs have some megabytes.
const MAX_CRL: u64 = 16 << 20;

/// Largest OCSP response: one status, a few certificates.
const MAX_RESPONSE: u64 = 128 << 10;

/// Places that failed lately, at most.
const MAX_FAILED: usize = 1024;

/// Redirections followed if there is no limit: more are a circle.
const MAX_REDIRECTS: u32 = 10;

/// Settings of fetching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchSettings {
    /// `revocation.timeout`: for each request, with everything that belongs to it.
    pub timeout: Duration,
    /// `curl.redir`
    pub redirects: u32,
    /// Where fetched CRLs are kept, with `cache_crls`.
    pub crl_folder: Option<PathBuf>,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), redirects: MAX_REDIRECTS, crl_folder: None }
    }
}

/// Asks servers.
pub struct Fetcher {
    settings: FetchSettings,
    agent: ureq::Agent,
    threads: Arc<Resolver>,
    waiting: AtomicUsize,
    /// Places that did not answer, with the time. No other lock is taken while it is held.
    failed: Mutex<HashMap<String, Instant>>,
}

impl Fetcher {
    /// Makes one with these settings.
    pub fn new(settings: FetchSettings) -> Arc<Self> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .max_redirects(settings.redirects)
            .max_redirects_will_error(true)
            .proxy(None)
            .max_idle_connections(0)
            .user_agent("charon")
            .build();
        Arc::new(Self {
            settings,
            agent: config.into(),
            threads: Resolver::new(THREADS),
            waiting: AtomicUsize::new(0),
            failed: Mutex::default(),
        })
    }

    /// Runs a job that fetches things on a thread that has time, or says that there are too many of them.
    pub fn run(self: &Arc<Self>, job: impl FnOnce(&Self) + Send + 'static) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let fetcher = Arc::clone(self);
        self.threads.run(move || {
            job(&fetcher);
            fetcher.waiting.fetch_sub(1, Ordering::Relaxed);
        });
        true
    }

    /// Asks, unless that failed a moment ago.
    fn once(&self, uri: &str, ask: impl FnOnce() -> Result<Vec<u8>, FetchError>) -> Result<Vec<u8>, FetchError> {
        if self.failed.lock().get(uri).is_some_and(|at| at.elapsed() < self.settings.timeout) {
            return Err(FetchError("failed a moment ago".to_owned()));
        }
        let answer = ask();
        let mut failed = self.failed.lock();
        match &answer {
            Ok(_) => drop(failed.remove(uri)),
            Err(_) => {
                failed.retain(|_, at| at.elapsed() < self.settings.timeout);
                if failed.len() < MAX_FAILED {
                    failed.insert(uri.to_owned(), Instant::now());
                }
            }
        }
        answer
    }

    fn http(&self, uri: &str) -> Result<Vec<u8>, FetchError> {
        let mut response = self.agent.get(uri).call().map_err(failure)?;
        response.body_mut().with_config().limit(MAX_CRL).read_to_vec().map_err(failure)
    }

    fn post(&self, uri: &str, request: &[u8]) -> Result<Vec<u8>, FetchError> {
        let call = self.agent.post(uri).content_type("application/ocsp-request");
        let mut response = call.header("Accept", "application/ocsp-response").send(request).map_err(failure)?;
        response.body_mut().with_config().limit(MAX_RESPONSE).read_to_vec().map_err(failure)
    }
}

fn failure(error: impl std::fmt::Display) -> FetchError {
    FetchError(error.to_string())
}

fn is_http(uri: &str) -> bool {
    uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

fn unsupported(uri: &str) -> FetchError {
    let scheme = uri.split_once(':').map_or(uri, |(scheme, _)| scheme);
    FetchError(format!("unable to fetch from {scheme}, no capable fetcher found"))
}

fn file(path: &str) -> Result<Vec<u8>, FetchError> {
    // a pipe would not end
    if !std::fs::metadata(path).map_err(failure)?.is_file() {
        return Err(FetchError("not a file".to_owned()));
    }
    let mut data = Vec::new();
    std::fs::File::open(path).map_err(failure)?.take(MAX_CRL + 1).read_to_end(&mut data).map_err(failure)?;
    match u64::try_from(data.len()) {
        Ok(length) if length <= MAX_CRL => Ok(data),
        _ => Err(FetchError("too large".to_owned())),
    }
}

impl Fetch for Fetcher {
    fn get(&self, uri: &str) -> Result<Vec<u8>, FetchError> {
        match uri.strip_prefix("file://") {
            Some(path) => file(path),
            None if is_http(uri) => self.once(uri, || self.http(uri)),
            None => Err(unsupported(uri)),
        }
    }

    fn post_ocsp(&self, uri: &str, request: &[u8]) -> Result<Vec<u8>, FetchError> {
        if !is_http(uri) {
            return Err(unsupported(uri));
        }
        self.once(uri, || self.post(uri, request))
    }

    fn keep(&self, crl: &Crl) {
        let (Some(folder), Some(key)) = (&self.settings.crl_folder, crl.authority_key_id()) else { return };
        let delta = if crl.is_delta() { "_delta" } else { "" };
        let path = folder.join(format!("{}{delta}.crl", hex::encode(key)));
        // whoever reads it meanwhile should find the old one or the new one
        let new = path.with_extension("new");
        match std::fs::write(&new, crl.der()).and_then(|()| std::fs::rename(&new, &path)) {
            Ok(()) => log!(LIB, 1, "  written crl file '{}' ({} bytes)", path.display(), crl.der().len()),
            Err(error) => log!(LIB, 1, "  writing crl file '{}' failed: {error}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// A server that reads a request and does as it is told.
    fn server(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/x.crl", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream);
            }
        });
        uri
    }

    fn fetcher() -> Arc<Fetcher> {
        Fetcher::new(FetchSettings { timeout: Duration::from_millis(700), ..FetchSettings::default() })
    }

    fn read_request(stream: &mut std::net::TcpStream) {
        let _read = stream.read(&mut [0; 4096]);
    }

    #[test]
    fn contents_arrive() {
        let uri = server(|mut stream| {
            read_request(&mut stream);
            let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
        });
        let fetcher = fetcher();
        assert_eq!(fetcher.get(&uri).unwrap(), b"body");
        assert_eq!(fetcher.post_ocsp(&uri, b"question").unwrap(), b"body");
        assert!(fetcher.get("ldap://nobody/").unwrap_err().to_string().contains("no capable fetcher"));
        assert!(fetcher.get("file:///dev/zero").is_err() && fetcher.post_ocsp("file:///etc/hosts", b"").is_err());
    }

    #[test]
    fn servers_that_are_silent_slow_or_huge_cost_a_bounded_amount() {
        let silent = server(std::mem::forget);
        let slow = server(|mut stream| {
            std::thread::spawn(move || {
                let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
                for _ in 0..1000 {
                    std::thread::sleep(Duration::from_millis(100));
                    if stream.write_all(b"x").is_err() {
                        return;
                    }
                }
            });
        });
        let huge = server(|mut stream| {
            read_request(&mut stream);
            let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while stream.write_all(&[0; 65536]).is_ok() {}
        });
        let missing = server(|mut stream| {
            read_request(&mut stream);
            let _sent = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        });
        for uri in [&silent, &slow, &huge, &missing] {
            let (fetcher, start) = (fetcher(), Instant::now());
            assert!(fetcher.post_ocsp(uri, b"question").is_err(), "{uri}");
            assert!(start.elapsed() < Duration::from_secs(4));
            // and a second time it costs nothing
            let start = Instant::now();
            assert!(fetcher.get(uri).is_err());
            assert!(start.elapsed() < Duration::from_millis(500));
        }
    }
}
