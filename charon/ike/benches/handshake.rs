//! What a handshake costs a responder beside its cryptography, and what an established IKE_SA holds in memory.
//!
//! Prints microseconds of CPU, allocations and bytes; `cargo bench -p ike`. The floor is the same key exchange, PRF and
//! cipher calls (and signatures) with nothing around them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a bench may panic and prints")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ike::attributes::NoAttributes;
use ike::config::{AuthClass, AuthRound, ChildConfig, IkeConfig, PeerConfig};
use ike::explain::{Asker, Near, Wanted};
use ike::ids::{IfId, IkeSpi, Reqid, Spi, UniqueId};
use ike::kernel::{Features, Kernel, KernelError, PolicyParams, SaId, SaParams, SaUpdate, SaUsage};
use ike::{ConfigSource, Duplicate, Env, IkeSa, IkeSettings, InitiateChild, Input, Output, Peers, ReqidKey, UniqueIds};
use strongswan::clock::{MonoTime, UnixTime};
use strongswan::credentials::{
    Certificate, CertificateFlags, HashAlgorithm, PrivateKey, SecretKind, SharedSecret, SignatureScheme, Store,
};
use strongswan::crypto::{
    Cipher, EncryptionAlgorithm, KeyExchange, KeyExchangeMethod, Prf, PrfAlgorithm, Proposal, Protocol, Rng, Secret,
    SystemRng, ke,
};
use strongswan::identity::Identity;
use strongswan::selectors::TrafficSelector;

/// Counts what is allocated and not yet freed.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator.
#[allow(unsafe_code, reason = "a global allocator cannot be implemented otherwise")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` holds for the system's allocator as well.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` comes from `alloc` above with the same layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Accepts everything and keeps nothing.
#[derive(Default)]
struct Void {
    next: AtomicU32,
}

impl Kernel for Void {
    fn features(&self) -> Features {
        Features::ESP_V3_TFC
    }

    fn allocate_spi(&self, _: Protocol, _: IpAddr, _: IpAddr) -> Result<Spi, KernelError> {
        Spi::new(0xc000_0000 + self.next.fetch_add(1, Ordering::Relaxed)).ok_or(KernelError::NotFound)
    }

    fn add_sa(&self, _: &SaParams<'_>) -> Result<(), KernelError> {
        Ok(())
    }

    fn update_sa(&self, _: &SaUpdate) -> Result<(), KernelError> {
        Ok(())
    }

    fn query_sa(&self, _: &SaId) -> Result<SaUsage, KernelError> {
        Ok(SaUsage::default())
    }

    fn delete_sa(&self, _: &SaId) -> Result<(), KernelError> {
        Ok(())
    }

    fn add_policies(&self, _: &PolicyParams<'_>) -> Result<(), KernelError> {
        Ok(())
    }

    fn delete_policies(&self, _: &PolicyParams<'_>) -> Result<(), KernelError> {
        Ok(())
    }
}

impl UniqueIds for Void {
    fn ike_sa_id(&self) -> UniqueId {
        UniqueId::new(self.next.fetch_add(1, Ordering::Relaxed) + 1).unwrap()
    }

    fn child_sa_id(&self) -> UniqueId {
        self.ike_sa_id()
    }

    fn ike_spi(&self, rng: &mut dyn Rng, _: Option<IkeSpi>) -> IkeSpi {
        IkeSpi::new(rng.next_u64().to_be_bytes()).unwrap()
    }

    fn allocate_reqid(&self, _: &ReqidKey) -> Option<Reqid> {
        Reqid::new(1)
    }

    fn release_reqid(&self, _: Reqid) {}

    fn unique_mark(&self) -> u32 {
        0
    }

    fn unique_if_id(&self) -> IfId {
        IfId::NONE
    }
}

impl Peers for Void {
    fn duplicates(&self, _: UniqueId, _: &Identity, _: &Identity, _: bool) -> Vec<Duplicate> {
        Vec::new()
    }
}

struct One(Arc<PeerConfig>);

impl ConfigSource for One {
    fn ike_configs(&self, _: SocketAddr, _: SocketAddr, _: u8) -> Vec<Arc<IkeConfig>> {
        vec![Arc::clone(&self.0.ike)]
    }

    fn peer_configs(
        &self,
        _: SocketAddr,
        _: SocketAddr,
        _: Option<&Identity>,
        _: Option<&Identity>,
        _: u8,
    ) -> Vec<Arc<PeerConfig>> {
        vec![Arc::clone(&self.0)]
    }

    fn nearest(&self, _: &Wanted<'_>, _: usize) -> Vec<Near> {
        Vec::new()
    }

    fn may_explain(&self, _: Asker, _: MonoTime) -> Option<u64> {
        None
    }

    fn loaded(&self, name: &str) -> Option<Arc<PeerConfig>> {
        (*self.0.name == *name).then(|| Arc::clone(&self.0))
    }
}

struct End {
    config: One,
    credentials: Store,
    void: Void,
    settings: IkeSettings,
    address: SocketAddr,
}

impl End {
    fn handle(&self, sa: &mut IkeSa, input: Input) -> (Duration, Vec<Vec<u8>>) {
        let mut env = Env {
            now: MonoTime::ZERO,
            wall: UnixTime(1_800_000_000),
            rng: &mut SystemRng,
            settings: &self.settings,
            config: &self.config,
            credentials: &self.credentials,
            kernel: &self.void,
            ids: &self.void,
            peers: &self.void,
            pools: &NoAttributes,
            handlers: &NoAttributes,
        };
        let start = Instant::now();
        sa.handle(input, &mut env);
        let taken = start.elapsed();
        let mut sent = Vec::new();
        while let Some(output) = sa.poll_output() {
            if let Output::Send(transmit) = output {
                sent.push(transmit.data);
            }
        }
        (taken, sent)
    }
}

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name, ".pem")).as_slice()
    };
}

fn end(me: &str, other: &str, address: &str, psk: bool, proposal: &str) -> End {
    let credentials = Store::new();
    let mut round = AuthRound { id: Some(Identity::parse(me)), ..AuthRound::default() };
    if psk {
        credentials.add_secret(SharedSecret::new(SecretKind::Ike, Secret::from(&b"secret"[..]), Vec::new()));
        round.class = AuthClass::Psk;
    } else {
        let load = |pem| {
            let certificate = Arc::new(Certificate::from_der_or_pem(pem).unwrap());
            let flags = CertificateFlags::of(&certificate);
            credentials.add_certificate(certificate, flags)
        };
        load(data!("root"));
        load(data!("int"));
        round.certs = vec![load(data!("ecdsa"))];
        round.class = AuthClass::Pubkey;
        credentials.add_private_key(PrivateKey::from_der_or_pem(data!("ecdsa.key")).unwrap());
    }
    let proposals = vec![Proposal::parse(Protocol::Ike, proposal).unwrap()];
    let ike = Arc::new(IkeConfig { proposals, ..IkeConfig::default() });
    let mut config = PeerConfig::new("gw", ike);
    let class = round.class.clone();
    config.local = vec![round];
    config.remote = vec![AuthRound { id: Some(Identity::parse(other)), class, ..AuthRound::default() }];
    let everything = TrafficSelector::parse("10.0.0.0/8").unwrap();
    config.children = vec![Arc::new(ChildConfig {
        proposals: vec![Proposal::parse(Protocol::Esp, "aes128gcm16").unwrap()],
        local_ts: vec![everything],
        remote_ts: vec![everything],
        ..ChildConfig::new("net")
    })];
    End {
        config: One(Arc::new(config)),
        credentials,
        void: Void::default(),
        settings: IkeSettings::default(),
        address: address.parse().unwrap(),
    }
}

/// One handshake; returns the responder's time and both ends.
fn handshake(alice: &End, bob: &End) -> (Duration, IkeSa, IkeSa) {
    let config = Arc::clone(&alice.config.0);
    let spi = alice.void.ike_spi(&mut SystemRng, None);
    let child = InitiateChild::new(Arc::clone(&config.children[0]));
    let mut initiator = IkeSa::initiator(alice.void.ike_sa_id(), spi, config, MonoTime::ZERO);
    alice.handle(&mut initiator, Input::Initiate(Some(child)));
    let (_, mut sent) = alice.handle(&mut initiator, Input::Resolved(Some((alice.address, bob.address))));
    let own = bob.void.ike_spi(&mut SystemRng, None);
    let mut responder = IkeSa::responder(bob.void.ike_sa_id(), spi, own, MonoTime::ZERO);
    let mut total = Duration::ZERO;
    while let Some(data) = sent.pop() {
        let input = Input::Datagram { local: bob.address, remote: alice.address, data };
        let (taken, answers) = bob.handle(&mut responder, input);
        total += taken;
        for data in answers {
            let input = Input::Datagram { local: alice.address, remote: bob.address, data };
            sent.extend(alice.handle(&mut initiator, input).1);
        }
    }
    assert!(responder.identities().is_some(), "the handshake completes");
    (total, initiator, responder)
}

/// The cryptography of a PSK handshake and nothing else.
fn psk_floor(peer: &[u8]) {
    let sha256 = PrfAlgorithm::HmacSha2_256;
    let (_, shared) = ke::respond(KeyExchangeMethod::Curve25519, peer).unwrap();
    let skeyseed = Prf::new(sha256, &[1; 64]).unwrap().compute(&[shared.as_bytes()]);
    let keymat = Prf::new(sha256, skeyseed.as_bytes()).unwrap().expand(&[&[1; 64]], 136).unwrap();
    for _ in 0..2 {
        let id = Prf::new(sha256, &keymat.as_bytes()[..32]).unwrap().compute(&[&[1; 16]]);
        let key = Prf::new(sha256, b"secret").unwrap().compute(&[b"Key Pad for IKEv2"]);
        black_box(Prf::new(sha256, key.as_bytes()).unwrap().compute(&[&[1; 400], id.as_bytes()]));
        let gcm = (EncryptionAlgorithm::AesGcm16, Some(128));
        let cipher = Cipher::new(gcm, None, &keymat.as_bytes()[..20], &[]).unwrap();
        let mut text = [0; 250];
        cipher.seal(&[1; 32], &[1; 8], &mut text, &[], &mut [0; 16]).unwrap();
    }
    black_box(Prf::new(sha256, &keymat.as_bytes()[..32]).unwrap().expand(&[&[1; 64]], 40).unwrap());
}

/// As [`psk_floor`], with an additional key exchange: one more derivation of keys, one more message each way, and what AUTH
/// covers of both.
fn hybrid_floor(peer: &[u8], encapsulation_key: &[u8]) {
    psk_floor(peer);
    let sha256 = PrfAlgorithm::HmacSha2_256;
    let (ciphertext, shared) = ke::respond(KeyExchangeMethod::MlKem768, encapsulation_key).unwrap();
    let skeyseed = Prf::new(sha256, &[1; 32]).unwrap().compute(&[shared.as_bytes(), &[1; 64]]);
    let keymat = Prf::new(sha256, skeyseed.as_bytes()).unwrap().expand(&[&[1; 64]], 136).unwrap();
    for content in [encapsulation_key, &ciphertext] {
        black_box(Prf::new(sha256, &keymat.as_bytes()[..32]).unwrap().compute(&[&[1; 36], content]));
        let gcm = (EncryptionAlgorithm::AesGcm16, Some(128));
        let cipher = Cipher::new(gcm, None, &keymat.as_bytes()[..20], &[]).unwrap();
        cipher.seal(&[1; 32], &[1; 8], &mut content.to_vec(), &[], &mut [0; 16]).unwrap();
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn measure(name: &str, psk: bool, proposal: &str, floor: impl Fn()) {
    const ROUNDS: usize = 3000;
    const SAS: usize = 20_000;
    let (alice, bob) = if psk {
        (end("alice", "bob", "192.0.2.1:500", true, proposal), end("bob", "alice", "192.0.2.2:500", true, proposal))
    } else {
        let id = "ecdsa.example.org";
        (end(id, id, "192.0.2.1:500", false, proposal), end(id, id, "192.0.2.2:500", false, proposal))
    };
    let times = (0..ROUNDS).map(|_| handshake(&alice, &bob).0).collect();
    let time = |_| {
        let start = Instant::now();
        floor();
        start.elapsed()
    };
    let (whole, floor) = (median(times), median((0..ROUNDS).map(time).collect()));
    println!("{name}: {whole:.1} µs, cryptography alone {floor:.1} µs, ratio {:.2}", whole / floor);

    let calls = CALLS.load(Ordering::Relaxed);
    drop(handshake(&alice, &bob));
    println!("{name}: {} allocations on both sides", CALLS.load(Ordering::Relaxed) - calls);
    let mut kept = Vec::with_capacity(SAS);
    let resident_before = resident();
    let before = LIVE.load(Ordering::Relaxed);
    kept.extend((0..SAS).map(|_| handshake(&alice, &bob).2));
    let heap = (LIVE.load(Ordering::Relaxed) - before) / SAS;
    let inline = size_of::<IkeSa>();
    let resident = (resident() - resident_before) / SAS;
    println!(
        "{name}: {} bytes a responder's IKE_SA with a CHILD_SA ({inline} of them inline), {resident} with the C library's",
        heap + inline
    );
}

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn main() {
    let (public, _) = ke::respond(KeyExchangeMethod::Curve25519, &[9; 32]).unwrap();
    let proposal = "aes128gcm16-prfsha256-x25519";
    measure("psk", true, proposal, || psk_floor(&public));
    let mlkem = KeyExchange::generate(KeyExchangeMethod::MlKem768).unwrap();
    let hybrid = format!("{proposal}-ke1_mlkem768");
    measure("psk + ML-KEM-768", true, &hybrid, || hybrid_floor(&public, mlkem.public_value()));
    let key = PrivateKey::from_der_or_pem(data!("ecdsa.key")).unwrap();
    let scheme = SignatureScheme::EcdsaDer(HashAlgorithm::Sha2_256);
    measure("ecdsa", false, proposal, || {
        psk_floor(&public);
        let signature = key.sign(scheme, &[1; 400]).unwrap();
        key.public_key().verify(scheme, &[1; 400], &signature).unwrap();
    });
}
