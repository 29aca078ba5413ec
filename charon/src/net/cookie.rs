//! Cookies (RFC 7296 §2.6): proof that an initiator receives at the address it claims, without state of ours.
//!
//! A cookie is `t | SHA1(IPi | SPIi | t | secret)`: t is seconds on our clock (4 bytes), the secret 16 random bytes that are
//! replaced once they have been in use for two minutes. The one before stays valid for the cookies it made.

use std::net::IpAddr;
use std::time::Duration;

use ike::ids::IkeSpi;
use strongswan::clock::MonoTime;
use strongswan::crypto::Rng;
use strongswan::crypto::hash::sha1;
use strongswan::log;
use subtle::ConstantTimeEq;

/// Bytes of a cookie.
pub(crate) const COOKIE_LEN: usize = 24;

/// Bytes of its time.
const TIME_LEN: usize = 4;

/// How long a cookie is accepted.
const LIFETIME: Duration = Duration::from_secs(10);

/// How long a secret is used for new cookies.
const SECRET_LIFETIME: Duration = Duration::from_secs(120);

/// Where the cookie of an IKE_SA_INIT request is, if it has one: RFC 7296 §2.6 wants it in the first payload.
const NEXT_PAYLOAD_AT: usize = 16;
const NOTIFY: u8 = 41;
/// Header, then generic payload header (4), protocol and SPI size (both 0).
const TYPE_AT: usize = 34;
const COOKIE: [u8; 2] = 16390u16.to_be_bytes();
const DATA_AT: usize = 36;

type Secret = [u8; 16];

/// Makes and checks cookies.
pub(crate) struct Cookies {
    secret: Secret,
    previous: Option<Secret>,
    first_use: Option<MonoTime>,
    /// Hides our uptime.
    offset: u32,
}

impl Cookies {
    /// With a fresh secret.
    pub(crate) fn new(rng: &mut dyn Rng) -> Self {
        let (mut secret, mut offset) = (Secret::default(), [0; 4]);
        rng.fill(&mut secret);
        rng.fill(&mut offset);
        Self { secret, previous: None, first_use: None, offset: u32::from_ne_bytes(offset) }
    }

    /// The cookie for an initiator.
    pub(crate) fn issue(&mut self, ip: IpAddr, spi: IkeSpi, now: MonoTime, rng: &mut dyn Rng) -> [u8; COOKIE_LEN] {
        let used = now.saturating_since(*self.first_use.get_or_insert(now));
        if used > SECRET_LIFETIME {
            log!(NET, 1, "generating new cookie secret after {}s since first use", used.as_secs());
            let mut secret = Secret::default();
            rng.fill(&mut secret);
            self.previous = Some(std::mem::replace(&mut self.secret, secret));
            self.first_use = Some(now);
        }
        let time = self.time(now).to_ne_bytes();
        let mut cookie = [0; COOKIE_LEN];
        for (to, from) in cookie.iter_mut().zip(time.into_iter().chain(digest(ip, spi, time, &self.secret))) {
            *to = from;
        }
        cookie
    }

    /// Whether `cookie` was issued to this initiator within the last seconds.
    pub(crate) fn accepts(&self, cookie: &[u8], ip: IpAddr, spi: IkeSpi, now: MonoTime) -> bool {
        let Some((time, mac)) = cookie.split_first_chunk::<TIME_LEN>() else { return false };
        let age = self.time(now).wrapping_sub(u32::from_ne_bytes(*time));
        if Duration::from_secs(age.into()) > LIFETIME {
            return false;
        }
        let made_with = |secret: &Secret| bool::from(digest(ip, spi, *time, secret).ct_eq(mac));
        made_with(&self.secret) || self.previous.as_ref().is_some_and(made_with)
    }

    fn time(&self, now: MonoTime) -> u32 {
        // Only differences count.
        u32::try_from(now.since_origin().as_secs() & u64::from(u32::MAX)).unwrap_or(0).wrapping_sub(self.offset)
    }
}

fn digest(ip: IpAddr, spi: IkeSpi, time: [u8; TIME_LEN], secret: &Secret) -> [u8; 20] {
    let spi = spi.to_bytes();
    match ip {
        IpAddr::V4(ip) => sha1(&[&ip.octets(), &spi, &time, secret]),
        IpAddr::V6(ip) => sha1(&[&ip.octets(), &spi, &time, secret]),
    }
}

/// The cookie in an IKE_SA_INIT request.
pub(crate) fn in_request(datagram: &[u8]) -> Option<&[u8]> {
    let is_notify = datagram.get(NEXT_PAYLOAD_AT) == Some(&NOTIFY);
    let is_cookie = datagram.get(TYPE_AT..DATA_AT) == Some(&COOKIE[..]);
    if is_notify && is_cookie { datagram.get(DATA_AT..DATA_AT + COOKIE_LEN) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u8);

    impl Rng for Counter {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
        }
    }

    #[test]
    fn a_cookie_is_good_for_its_initiator_and_for_ten_seconds() {
        let mut rng = Counter(0);
        let mut cookies = Cookies::new(&mut rng);
        let (ip, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let (spi, now) = (IkeSpi::new([7; 8]).unwrap(), MonoTime::from_duration(Duration::from_secs(100)));
        let cookie = cookies.issue(ip, spi, now, &mut rng);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(cookies.accepts(&cookie, ip, spi, later(10)));
        assert!(!cookies.accepts(&cookie, ip, spi, later(11)));
        assert!(!cookies.accepts(&cookie, other, spi, now));
        assert!(!cookies.accepts(&cookie, ip, IkeSpi::new([8; 8]).unwrap(), now));
        assert!(!cookies.accepts(&cookie[..23], ip, spi, now));
        let mut forged = cookie;
        forged[23] ^= 1;
        assert!(!cookies.accepts(&forged, ip, spi, now));
    }

    #[test]
    fn the_previous_secret_stays_valid() {
        let mut rng = Counter(0);
        let mut cookies = Cookies::new(&mut rng);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let (spi, start) = (IkeSpi::new([7; 8]).unwrap(), MonoTime::ZERO);
        cookies.issue(ip, spi, start, &mut rng);
        let old = cookies.issue(ip, spi, start + Duration::from_secs(120), &mut rng);
        let new = cookies.issue(ip, spi, start + Duration::from_secs(121), &mut rng);
        assert_ne!(old, new);
        let now = start + Duration::from_secs(125);
        assert!(cookies.accepts(&old, ip, spi, now) && cookies.accepts(&new, ip, spi, now));
    }

    #[test]
    fn the_cookie_is_the_first_payload() {
        let mut request = vec![0; 28];
        request[16] = 41;
        request.extend([33, 0, 0, 32, 0, 0, 0x40, 0x06]);
        request.extend(1..=24);
        assert_eq!(in_request(&request), Some(&(1..=24).collect::<Vec<u8>>()[..]));
        assert_eq!(in_request(&request[..59]), None);
        request[16] = 33;
        assert_eq!(in_request(&request), None);
    }
}
