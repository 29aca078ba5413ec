# Sourced by the scripts beside it: installs Debian packages that are missing, quietly, without starting services.

# need PROGRAM-OR-FILE PACKAGE ...: installs the packages if the program or file is missing.
need() {
    local probe=$1
    shift
    command -v "$probe" >/dev/null 2>&1 || [ -e "$probe" ] || missing+=("$@")
}

install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    apt-get update -qq
    # A daemon that a package starts would take the ports of the one under test.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    rm -f /usr/sbin/policy-rc.d
    missing=()
}

missing=()
