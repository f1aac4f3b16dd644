#!/usr/bin/env bash
# Builds the cluster benchmark in release and runs it in the cluster of KUBECONFIG, in which Windrose is installed.
#   cluster.sh [--routes N] [--world N] [--json] ...
#
# WINDROSE_CLUSTER_EXEC    what to write before a command so that it reaches the cluster's addresses; nothing by default
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-$PWD/target}
read -r -a inside <<<"${WINDROSE_CLUSTER_EXEC:-}"
cargo build --release --locked -p windrose-bench --bin bench-cluster --bin bench >&2
"${inside[@]}" "$target/release/bench-cluster" "$@"
# CP13 needs no cluster.
exec "$target/release/bench" --left-out 'there is none of this' --only plan
