#!/usr/bin/env bash
# Gets what a build or a test needs and this machine lacks. Nothing that is there is touched.
#   setup.sh                            compiler, Python with pip; Rust and the Wasm target; Java where CI is set
#   setup.sh wasm-target                the Wasm target only
#   setup.sh musl                       a C compiler and the Rust target for static binaries
#   setup.sh cargo-deny VERSION FOLDER  cargo-deny of that version, in FOLDER/bin or on the PATH
#   setup.sh zipkin FOLDER              the pinned Zipkin, in FOLDER; prints the path of its jar
set -euo pipefail

wasm_target=wasm32-wasip1
zipkin_version=3.5.1
zipkin_sha256=7ac633a6832647e71e50012a5e3e91fbc7054414955261724526030faf271d8d

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    say "$1"
    shift
    for cure in "$@"; do printf '  cure: %s\n' "$cure" >&2; done
    exit 1
}

# Debian packages, by name: installed when we may, else named for the person who may.
install() {
    local as_root=()
    if [[ $EUID -ne 0 ]]; then as_root=(sudo -n); fi
    if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
        fail "this machine lacks: $*" "as root: apt-get install $* (or what your system calls them)"
    fi
    say "installing $*"
    "${as_root[@]}" apt-get update -qq </dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

packages() {
    local missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    if [[ -z ${ENVOY:-} ]]; then
        command -v python3 >/dev/null || missing+=(python3)
        python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
    fi
    # The tests of tracing start a real Zipkin, that of the demonstration a network of its own. Without Java or `ip` they say what
    # they skipped; CI skips nothing.
    if [[ -n ${CI:-} ]]; then
        command -v ip >/dev/null || missing+=(iproute2)
        command -v java >/dev/null || missing+=(default-jre-headless)
        command -v mvn >/dev/null || missing+=(maven)
    fi
    if ((${#missing[@]})); then install "${missing[@]}"; fi
}

rust() {
    command -v cargo >/dev/null || fail "Rust is missing" "https://rustup.rs, then open a new shell"
    if ! cargo --version >/dev/null 2>&1; then
        # The pinned toolchain of rust-toolchain.toml is not there, and rustup was told not to fetch by itself.
        say "installing the pinned Rust"
        rustup toolchain install >&2
    fi
}

wasm() {
    if [[ -d $(rustc --print sysroot)/lib/rustlib/$wasm_target ]]; then return; fi
    command -v rustup >/dev/null || fail "the Rust target $wasm_target is missing" "install Rust by https://rustup.rs"
    say "adding the Rust target $wasm_target"
    rustup target add "$wasm_target" >&2
}

musl() {
    local target
    target=$(uname -m)-unknown-linux-musl
    command -v musl-gcc >/dev/null || command -v "$(uname -m)-linux-musl-gcc" >/dev/null || install musl-tools
    if [[ -d $(rustc --print sysroot)/lib/rustlib/$target ]]; then return; fi
    command -v rustup >/dev/null || fail "the Rust target $target is missing" "install Rust by https://rustup.rs"
    say "adding the Rust target $target"
    rustup target add "$target" >&2
}

cargo_deny() {
    local version=$1 folder=$2 found
    found=$("$folder/bin/cargo-deny" --version 2>/dev/null || cargo-deny --version 2>/dev/null || true)
    if [[ $found == "cargo-deny $version" ]]; then return; fi
    say "building cargo-deny $version (once, about a minute)"
    cargo install --quiet --debug --locked --root "$folder" --version "$version" cargo-deny >&2
}

zipkin() {
    local folder=$1 jar
    jar=$folder/zipkin-server-$zipkin_version-exec.jar
    if ! sha256sum --check --status <<<"$zipkin_sha256  $jar" 2>/dev/null; then
        command -v mvn >/dev/null || fail "Maven is missing, Zipkin cannot be fetched" "as root: apt-get install maven" "or name the jar: ZIPKIN_JAR="
        say "fetching Zipkin $zipkin_version (once, 130 MB)"
        mkdir -p "$folder"
        mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dmdep.useBaseVersion=true \
            -Dartifact="io.zipkin:zipkin-server:$zipkin_version:jar:exec" -DoutputDirectory="$folder" </dev/null >&2
        sha256sum --check --status <<<"$zipkin_sha256  $jar" || fail "$jar is not what is pinned" "remove it and try again"
    fi
    printf '%s\n' "$jar"
}

case ${1:-all} in
    all)
        packages
        rust
        wasm
        ;;
    wasm-target)
        rust
        wasm
        ;;
    musl)
        rust
        musl
        ;;
    cargo-deny) cargo_deny "$2" "$3" ;;
    zipkin) zipkin "$2" ;;
    *) fail "unknown step: $1" ;;
esac
