#!/usr/bin/env bash
# Installs what the tests need and a fresh machine lacks, pinned, into .tools/ (Debian's packages: into the
# system). Run again it only looks. Usage: deploy/tools/setup.sh [chromium] [strace] [valgrind] [cargo-deny] [python] [nats] [haproxy]
set -euo pipefail
cd "$(dirname "$0")/../.."

CARGO_DENY=0.20.2
NATS_SERVER=v2.15.2
NATS_CLI=v0.5.1
TOOLS=$PWD/.tools
mkdir -p "$TOOLS/bin"

say() { printf 'setup: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

# debian PACKAGE COMMAND: Debian's package, unless the command is there. (`command -v` would find our own functions.)
debian() {
    type -P "$2" >/dev/null && return
    command -v apt-get >/dev/null || fail "$2 is missing and there is no apt-get to install it with"
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    say "installing $1"
    if [ ! -e "$TOOLS/apt-updated" ]; then
        "${as_root[@]}" apt-get update -qq
        touch "$TOOLS/apt-updated"
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
    type -P "$2" >/dev/null || fail "$1 is installed, but $2 is not there"
}

chromium() {
    debian chromium chromium
    fc-list 2>/dev/null | grep -qi emoji || debian_font
}

debian_font() {
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq fontconfig fonts-noto-color-emoji fonts-dejavu-core >/dev/null
}

strace() { debian strace strace; }

haproxy() {
    export PATH=$PATH:/usr/sbin
    debian haproxy haproxy
}

valgrind() { debian valgrind valgrind; }

cargo_deny() {
    [ "$("$TOOLS/bin/cargo-deny" --version 2>/dev/null)" = "cargo-deny $CARGO_DENY" ] && return
    say "installing cargo-deny $CARGO_DENY (takes some minutes once)"
    # A tool's own speed matters less than the time to build it.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        cargo install --quiet --locked --root "$TOOLS" "cargo-deny@$CARGO_DENY"
}

python() {
    local wanted=deploy/standalone/tests/python/requirements.txt
    local stamp=$TOOLS/python/requirements.txt
    # Its programs name the folder that it was made in, which may have been moved since.
    cmp -s "$wanted" "$stamp" && "$TOOLS/python/bin/pytest" --version >/dev/null 2>&1 && return
    say "installing the Python side of the tests"
    rm -rf "$TOOLS/python"
    python3 -m venv "$TOOLS/python"
    "$TOOLS/python/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "$stamp"
}

# go_tool PACKAGE VERSION COMMAND: built from the module proxy into .tools/bin, unless it is there in this version.
go_tool() {
    local stamp="$TOOLS/$3.version"
    [ -x "$TOOLS/bin/$3" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$2" ] && return
    command -v go >/dev/null || fail "go is missing: it builds $3"
    say "installing $3 $2"
    GOBIN="$TOOLS/bin" go install "$1@$2"
    printf %s "$2" >"$stamp"
}

nats() {
    go_tool github.com/nats-io/nats-server/v2 "$NATS_SERVER" nats-server
    go_tool github.com/nats-io/natscli/nats "$NATS_CLI" nats
}

for what in "$@"; do
    case $what in
        chromium | strace | valgrind | python | nats | haproxy) "$what" ;;
        cargo-deny) cargo_deny ;;
        *) fail "unknown part: $what" ;;
    esac
done
