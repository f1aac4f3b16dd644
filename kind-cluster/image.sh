#!/usr/bin/env bash
# Builds the folder tree of the image: one static binary, the filter modules, and a user who is nobody.
#
#   kind-cluster/image.sh OUTDIR [--profile dev|release]      default: release
#
# Then: docker build -f kind-cluster/Dockerfile -t windrose:dev OUTDIR
# An image from scratch has no shell, no libc and no package to keep current: what runs is what was built here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/.." && pwd)
triple=$(uname -m)-unknown-linux-musl
modules=(jwt-auth rate-limit grpc-transcoder)

say() { printf 'image: %s\n' "$*" >&2; }
usage() {
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

out='' profile=release
while (($#)); do
    case $1 in
        --profile)
            [[ ${2:-} == dev || ${2:-} == release ]] || usage
            profile=$2
            shift 2
            ;;
        -*) usage ;;
        *)
            [[ -z $out ]] || usage
            out=$1
            shift
            ;;
    esac
done
[[ -n $out ]] || usage

target=${CARGO_TARGET_DIR:-$checkout/target}
folder=$([[ $profile == dev ]] && echo debug || echo "$profile")

"$checkout/tests/setup.sh" musl
# Also where they are there: they may be those of another checkout.
"$checkout/tests/setup.sh" wasm-target
"$checkout/wasm-filters/build.sh" >&2

say "building windrose for $triple ($profile)"
# For C sources only: as a linker, Debian's wrapper names an interpreter even in a static binary.
cc=$(command -v "$(uname -m)-linux-musl-gcc" || command -v musl-gcc)
env "CC_${triple//-/_}=$cc" \
    cargo build --manifest-path "$checkout/Cargo.toml" --target-dir "$target" --profile "$profile" --target "$triple" -p xds-server --bin windrose >&2

binary=$target/$triple/$folder/windrose
if command -v readelf >/dev/null && readelf -l "$binary" | grep -q INTERP; then
    say "$binary is not static: it would not start in an empty image"
    exit 1
fi

mkdir -p "$out/filters" "$out/etc"
cp "$binary" "$out/windrose.new"
# Names of functions stay for backtraces; what debuggers want besides is most of the size.
if command -v strip >/dev/null; then strip --strip-debug "$out/windrose.new"; fi
chmod 0755 "$out/windrose.new"
mv "$out/windrose.new" "$out/windrose"
for name in "${modules[@]}"; do install -m 0644 "$target/wasm-modules/$name.wasm" "$out/filters/$name.wasm"; done
printf 'windrose:x:65532:65532:windrose:/:/nologin\n' >"$out/etc/passwd"
printf 'windrose:x:65532:\n' >"$out/etc/group"
chmod 0644 "$out/etc/passwd" "$out/etc/group"

say "$out: $(du -sh "$out" | cut -f1), windrose $("$out/windrose" version | sed -n '1s/^windrose //p')"
