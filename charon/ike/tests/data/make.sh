#!/bin/sh
# Makes the keys and certificates of this folder anew, with openssl: a root, an intermediate CA below it, and end
# entities of either, one for each kind of key.
set -eu
cd "$(dirname "$0")"
rm -f ./*.pem
days=36500
sign() { # name, issuer, subject, extensions
    printf '%s\n' "$4" > ext
    openssl req -new -key "$1.key.pem" -subj "$3" -out csr
    openssl x509 -req -in csr -CA "$2.pem" -CAkey "$2.key.pem" -CAcreateserial -days $days -extfile ext -out "$1.pem"
    rm -f ext csr
}
ec() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key.pem"; }
ec root
openssl req -x509 -new -key root.key.pem -subj "/C=CH/O=Test/CN=Root" -days $days -out root.pem \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=keyCertSign,cRLSign"
ec int
sign int root "/C=CH/O=Test/CN=Intermediate" "basicConstraints=critical,CA:TRUE"
ec ecdsa
sign ecdsa int "/C=CH/O=Test/CN=ecdsa" "subjectAltName=DNS:ecdsa.example.org"
openssl genrsa -out rsa.key.pem 2048
sign rsa root "/C=CH/O=Test/CN=rsa" "subjectAltName=DNS:rsa.example.org"
openssl genpkey -algorithm ed25519 -out ed25519.key.pem
sign ed25519 root "/C=CH/O=Test/CN=ed25519" "subjectAltName=DNS:ed25519.example.org"
ec rogue
openssl req -x509 -new -key rogue.key.pem -subj "/C=CH/O=Test/CN=ecdsa" -days $days -out rogue.pem \
    -addext "subjectAltName=DNS:ecdsa.example.org"
rm -f root.key.pem int.key.pem ./*.srl
