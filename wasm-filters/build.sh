#!/bin/sh
# Builds the filters as Wasm modules and prints the size and sha256 of each.
#
#   wasm-filters/build.sh [NAME…]      default: every filter
#
# Modules land in <target>/wasm-modules/NAME.wasm, where <target> is $CARGO_TARGET_DIR or the checkout's target folder.
# Cargo knows what changed, and a module that is the same keeps its time stamp, so running this again is cheap.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../target}
modules=$target/wasm-modules
[ $# -gt 0 ] || set -- jwt-auth rate-limit grpc-transcoder

if ! rustc --print target-libdir --target wasm32-wasip1 2>/dev/null | xargs test -d; then
    echo "building the filters needs the Rust target wasm32-wasip1: rustup target add wasm32-wasip1" >&2
    exit 1
fi

packages=
for name in "$@"; do packages="$packages -p windrose-$name"; done

# simd128: Envoy's V8 has it, and it makes big-number arithmetic an eighth faster. The remapped paths are those that panic
# messages carry: without them the module, and so its sha256, would differ from machine to machine.
checkout=$(CDPATH='' cd -- "$here/.." && pwd)
flags=$(printf '%s\037' -C target-feature=+simd128 "--remap-path-prefix=$checkout=windrose" "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo")

# shellcheck disable=SC2086 # one word per package, and package names have no spaces
CARGO_ENCODED_RUSTFLAGS=${flags%?} \
    cargo build --manifest-path "$here/../Cargo.toml" --target-dir "$target" --profile wasm --target wasm32-wasip1 --lib $packages >&2

mkdir -p "$modules"
for name in "$@"; do
    built=$target/wasm32-wasip1/wasm/windrose_$(echo "$name" | tr - _).wasm
    module=$modules/$name.wasm
    cmp -s "$built" "$module" || { cp "$built" "$module.new" && mv "$module.new" "$module"; }
    printf '%-18s %8d bytes  sha256 %s\n' "$name" "$(wc -c <"$module")" "$(sha256sum "$module" | cut -d ' ' -f 1)"
done
