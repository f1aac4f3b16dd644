#!/usr/bin/env bash
# Builds the benchmarks in release, and the peer where Go is present, and runs them.
#   run.sh [--quick] [-o table|json] [--only TEXT]
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-$PWD/target}
peer=$target/release/bench-go-control-plane
cargo build --release --locked -p windrose-bench >&2

if ! command -v go >/dev/null; then
    side=(--left-out 'Go is not on this machine')
elif (cd tests/bench/peers/go-control-plane && go build -o "$peer" .) >&2; then
    side=(--peer "$peer")
else
    side=(--left-out 'it could not be built (see above)')
fi
exec "$target/release/bench" "${side[@]}" "$@"
