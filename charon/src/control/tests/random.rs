//! Requests that make no sense are answered all the same.

use super::*;

/// xorshift64*, seeded: a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bound = u64::try_from(bound).unwrap();
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % bound).unwrap()
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// Mostly names and values that mean something, in places where they may not.
    fn message(&mut self, depth: usize) -> Message {
        let keys = "name id type data flag owners child ike ike-id child-id timeout loglevel force reauth noblock trap \
            pass gw local remote children net cert-x version local_addrs remote_addrs proposals vips pools auth certs cacerts \
            pubkeys groups local_ts remote_ts esp_proposals ah_proposals mode start_action rekey_time life_bytes rand_packets \
            mark_in set_mark_out if_id_in label tfc_padding dscp unique round eap_id file handle cacert crl_uris cert_uri_base nonsense";
        let keys: Vec<_> = keys.split_whitespace().collect();
        let values = [
            "",
            "0",
            "1",
            "-1",
            "yes",
            "no",
            "4h",
            "99999999999999999999",
            "0x",
            "%any",
            "%unique",
            "%same/0xff",
            "10.0.0.0/8",
            "10.0.0.9-10.0.0.1",
            "::/129",
            "dynamic[tcp/70000]",
            "[",
            "gw.example.org",
            "default",
            "aes128-sha256-x25519",
            "aes128gcm16",
            "-",
            "psk",
            "pubkey-",
            "rsa-999999999999",
            "eap-:",
            "fqdn:^($",
            "asn1dn:#zz",
            "C=",
            "trap|start",
            "tunnel",
            "X509",
            "ike",
            "any",
            "1/",
            "/",
            "é",
            CERTIFICATE,
            KEY,
            CA,
        ];
        let mut message = Message::new();
        for _ in 0..self.below(8) {
            let key = self.pick(&keys).to_owned();
            match self.below(if depth < 4 { 4 } else { 2 }) {
                0 => drop(message.push(key, self.pick(&values))),
                1 => {
                    let items: Vec<_> = (0..self.below(4)).map(|_| self.pick(&values)).collect();
                    message.push_list(key, items);
                }
                _ => drop(message.push_section(key, self.message(depth + 1))),
            }
        }
        message
    }
}

#[test]
fn random_requests_are_all_answered_by_their_handler() {
    let fixture = Fixture::new();
    *fixture.fake.ike_sas.lock() = vec![Arc::new(ike_snapshot("gw", 1, vec![child_snapshot("net", 1)]))];
    let mut client = fixture.client();
    let mut random = Random(0x5eed_1234_5678_9abc);
    for number in 0..5_000 {
        let (command, _) = COMMANDS[random.below(COMMANDS.len())];
        let request = random.message(0);
        let answer = client.request(command, &request).unwrap();
        // what a panicking handler leaves behind
        assert_ne!(answer.str("errmsg"), Some("command was not answered"), "{number}: {command} {request:?}");
    }
}
