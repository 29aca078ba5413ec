#!/bin/sh
# Makes the encrypted keys and PKCS#12 containers of this folder from its keys and certificates, with Debian's openssl.
# The passphrase is always "strong swan".
set -eu
cd "$(dirname "$0")"
rm -rf encrypted pkcs12
mkdir encrypted pkcs12
key=keys/ecdsa-256.sec1.pem
old="-provider legacy -provider default"

# --- PKCS#8: PBES2 with every PRF and cipher, PBES1, the schemes of PKCS#12
for prf in SHA1 SHA224 SHA256 SHA384 SHA512; do
    for cipher in aes-128-cbc aes-192-cbc aes-256-cbc des3; do
        openssl pkcs8 -topk8 -v2 $cipher -v2prf hmacWith$prf -iter 100 -in $key -passout "pass:strong swan" \
            -out encrypted/pbes2-$cipher-$prf.pem
    done
done
for scheme in PBE-MD5-DES PBE-SHA1-DES PBE-SHA1-3DES PBE-SHA1-2DES PBE-SHA1-RC2-128 PBE-SHA1-RC2-40; do
    openssl pkcs8 -topk8 -v1 $scheme -iter 100 $old -in $key -passout "pass:strong swan" -out encrypted/$scheme.pem
done
for cipher in des des3 aes128 aes192 aes256; do
    openssl ec -$cipher $old -in $key -passout "pass:strong swan" -out encrypted/dek-$cipher.pem 2>/dev/null
done
openssl pkcs8 -topk8 -v2 aes-128-cbc -iter 20000000 -in $key -passout "pass:strong swan" -out keys/too-many-iterations.pem

# --- PKCS#12: as openssl 3 makes them, as openssl 1 and old systems did, and other variants
openssl x509 -inform der -in certs/ca.der -out /tmp/charon-test-ca.pem
export_p12() { # name options...
    name=$1; shift
    openssl req -x509 -key $key -subj "/C=CH/O=Test/CN=container" -days 30000 -out /tmp/charon-test-p12.pem
    openssl pkcs12 -export -iter 100 -inkey $key -in /tmp/charon-test-p12.pem -certfile /tmp/charon-test-ca.pem \
        -passout "pass:strong swan" "$@" -out pkcs12/$name.p12
}
export_p12 modern
export_p12 legacy $old -legacy
export_p12 sha512 -macalg sha512 -keypbe aes-192-cbc -certpbe aes-128-cbc
export_p12 plain -keypbe NONE -certpbe NONE
export_p12 no-mac -nomac
openssl pkcs12 -export -iter 100 -inkey $key -in /tmp/charon-test-p12.pem -passout "pass:Gruß" -out pkcs12/umlaut.p12
rm -f /tmp/charon-test-p12.* /tmp/charon-test-ca.pem
