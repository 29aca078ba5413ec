#!/bin/sh
# Makes the keys and certificates of this folder anew: Debian's strongswan-pki and openssl, nothing of ours.
set -eu
cd "$(dirname "$0")"
rm -rf keys certs
mkdir keys certs
from="--dateform %Y-%m-%d --not-before 2020-01-01"
valid="$from --not-after 2119-12-31"
pki() { command pki "$@" 2>/dev/null; }

# --- keys, each in the encodings people have
for size in 256 384 521; do
    pki --gen --type ecdsa --size $size --outform pem > keys/ecdsa-$size.sec1.pem
    openssl pkcs8 -topk8 -nocrypt -in keys/ecdsa-$size.sec1.pem -outform der -out keys/ecdsa-$size.pkcs8.der
    openssl pkey -in keys/ecdsa-$size.sec1.pem -pubout -out keys/ecdsa-$size.pub.pem
done
pki --gen --type ed25519 --outform pem > keys/ed25519.pkcs8.pem
openssl pkey -in keys/ed25519.pkcs8.pem -pubout -outform der -out keys/ed25519.pub.der
pki --gen --type rsa --size 2048 --outform pem > keys/rsa-2048.pkcs1.pem
openssl rsa -traditional -in keys/rsa-2048.pkcs1.pem -outform der -out keys/rsa-2048.pkcs1.der
openssl pkcs8 -topk8 -nocrypt -in keys/rsa-2048.pkcs1.pem -out keys/rsa-2048.pkcs8.pem
openssl rsa -in keys/rsa-2048.pkcs1.pem -RSAPublicKey_out -out keys/rsa-2048.pub.pkcs1.pem
openssl rsa -in keys/rsa-2048.pkcs1.pem -RSAPublicKey_out -outform der -out keys/rsa-2048.pub.pkcs1.der
# As DNS and SSH write public keys; pki prints the Base64 part only.
ssh() { echo "$2 $(pki --pub --type priv --in keys/$1.pem --outform sshkey) test@example.org" > keys/${1%%.*}.pub.ssh; }
ssh rsa-2048.pkcs1 ssh-rsa
ssh ed25519.pkcs8 ssh-ed25519
for size in 256 384 521; do ssh ecdsa-$size.sec1 ecdsa-sha2-nistp$size; done
echo "0s$(pki --pub --type priv --in keys/rsa-2048.pkcs1.pem --outform dnskey)" > keys/rsa-2048.pub.dnskey
pki --gen --type rsa --size 1024 --outform pem > keys/rsa-1024.pkcs1.pem
# A file as `openssl ecparam -genkey` makes them: parameters first.
openssl ecparam -name prime256v1 -genkey -out keys/ecdsa-256.parameters.pem
# PBES2 as OpenSSL's default, and with scrypt; the old header encryption. Passphrase: strong swan
openssl pkcs8 -topk8 -passout "pass:strong swan" -in keys/ecdsa-256.sec1.pem -out keys/ecdsa-256.pbes2.pem
openssl pkcs8 -topk8 -scrypt -scrypt_N 1024 -passout "pass:strong swan" -in keys/ed25519.pkcs8.pem \
    -outform der -out keys/ed25519.scrypt.der
openssl rsa -traditional -aes128 -passout "pass:strong swan" -in keys/rsa-2048.pkcs1.pem -out keys/rsa-2048.dek.pem
openssl ec -aes256 -passout "pass:strong swan" -in keys/ecdsa-384.sec1.pem -out keys/ecdsa-384.dek.pem
# What we refuse: another curve, another algorithm.
openssl ecparam -name secp256k1 -genkey -noout -out keys/secp256k1.sec1.pem
openssl genpkey -algorithm ed448 -out keys/ed448.pkcs8.pem

# --- certificates
key() { pki --gen --type ecdsa --size 256 > /tmp/charon-test-$1.key; }
for name in ca int moon sun rogue deep deeper; do key $name; done
k=/tmp/charon-test
pki --self --ca --in $k-ca.key --type ecdsa $valid --dn "C=CH, O=Test, CN=Root" > certs/ca.der
pki --self --ca --in $k-rogue.key --type ecdsa $valid --dn "C=CH, O=Test, CN=Root" > certs/rogue-ca.der
issue() { # issuer subject dn options...
    issuer=$1 subject=$2 dn=$3; shift 3
    pki --issue --cacert certs/$issuer.der --cakey ${cakey:-$k-$issuer.key} --type priv --in $k-$subject.key \
        --dn "$dn" "$@"
}
issue ca int "C=CH, O=Test, CN=Intermediate" --ca --pathlen 0 $valid > certs/int.der
issue int moon "C=CH, O=Test, CN=moon" --san moon.example.org --san moon@example.org --san 192.0.2.1 \
    --san 2001:db8::1 --flag serverAuth $valid > certs/moon.der
issue ca sun "C=CH, O=Test, CN=sun" --san sun.example.org $valid > certs/sun.der
issue ca sun "C=CH, O=Test, CN=sun" --san sun.example.org $from --not-after 2021-01-01 > certs/sun-expired.der
cakey=$k-rogue.key issue rogue-ca sun "C=CH, O=Test, CN=sun" --san sun.example.org $valid > certs/sun-rogue.der
# An end entity that plays CA, and a CA below one that allows none.
# (pki issues from CAs only: it gets one with the same name and key.)
pki --self --ca --in $k-sun.key --type ecdsa $valid --dn "C=CH, O=Test, CN=sun" > certs/fake.der
cakey=$k-sun.key issue fake moon "C=CH, O=Test, CN=by sun" $valid > certs/by-sun.der
rm certs/fake.der
issue int deep "C=CH, O=Test, CN=Deep" --ca $valid > certs/deep.der
issue deep moon "C=CH, O=Test, CN=below deep" $valid > certs/below-deep.der
# Seven CAs between an end entity and the root, and eight, which is too many: one file each, the end entity first.
issuer=ca
chain=
for n in 1 2 3 4 5 6 7 8; do
    key long$n
    issue $issuer long$n "CN=$n" --ca $valid > certs/long$n.der
    issuer=long$n
    chain="certs/long$n.der $chain"
    issue $issuer moon "CN=below $n" $valid > $k-long.der
    for file in $k-long.der $chain; do openssl x509 -inform der -in $file; done > certs/below-$n.pem
done
rm $chain certs/below-[1-6].pem
# Other algorithms.
pki --self --ca --in keys/rsa-2048.pkcs1.pem --type rsa --digest sha256 $valid --dn "CN=RSA" > certs/rsa-ca.der
pki --issue --cacert certs/rsa-ca.der --cakey keys/rsa-2048.pkcs1.pem --type ecdsa --in keys/ecdsa-384.sec1.pem \
    --rsa-padding pss --digest sha384 $valid --dn "CN=pss" > certs/rsa-pss.der
pki --self --in keys/ed25519.pkcs8.pem --type ed25519 $valid --dn "CN=ed25519" --outform pem > certs/ed25519.pem
pki --issue --cacert certs/rsa-ca.der --cakey keys/rsa-2048.pkcs1.pem --digest sha1 --type ecdsa \
    --in keys/ecdsa-256.sec1.pem $valid --dn "CN=sha1" > certs/sha1.der
# What pki cannot make: extensions by hand. The last one is a version 1 certificate.
openssl ec -inform der -in $k-ca.key -out $k-ca.pem 2>/dev/null
openssl ec -inform der -in $k-sun.key -out $k-sun.pem 2>/dev/null
openssl x509 -inform der -in certs/ca.der -out $k-ca.crt
by_hand() { # name extensions
    printf '%b' "$2" > $k-ext
    openssl req -new -key $k-sun.pem -subj "/C=CH/O=Test/CN=$1" -out $k-req
    openssl x509 -req -in $k-req -CA $k-ca.crt -CAkey $k-ca.pem -set_serial 77 -days 36500 -outform der \
        -extfile $k-ext -out certs/$1.der 2>/dev/null
}
by_hand no-signing 'keyUsage = critical, keyEncipherment\n'
by_hand critical '1.2.3.4 = critical, ASN1:NULL\n'
by_hand constrained-ca \
    'basicConstraints = critical, CA:TRUE\nnameConstraints = critical, permitted;DNS:example.org\n'
by_hand all-names \
    'subjectAltName = URI:http://x/, dirName:dn, otherName:1.3.6.1.5.5.7.8.5;UTF8:a@b, RID:1.2.3\n[dn]\nCN = alt\n'
by_hand v1 ''
# Roots that restrict what may be below them without saying that it is critical, and an end entity of each.
restricted() { # name extension
    printf '[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n%s\n[ee]\nsubjectAltName=DNS:sun.example.net\n' "$2" > $k-r.cnf
    openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $k-r.key -config $k-r.cnf -extensions ca \
        -subj "/CN=$1" -days 36500 -outform der -out certs/$1-ca.der 2>/dev/null
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $k-ree.key -config $k-r.cnf -subj "/CN=below $1" 2>/dev/null |
        openssl x509 -req -CA certs/$1-ca.der -CAkey $k-r.key -extfile $k-r.cnf -extensions ee -days 36500 \
            -outform der -out certs/below-$1.der 2>/dev/null
}
restricted names 'nameConstraints = permitted;DNS:example.org'
restricted policies 'policyConstraints = requireExplicitPolicy:0'
rm -f /tmp/charon-test-*
