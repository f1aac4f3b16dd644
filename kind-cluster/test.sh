#!/usr/bin/env bash
# Puts this checkout into a Kubernetes cluster and tells it the stories of tests/tests/cluster.
#
#   kind-cluster/test.sh [FILTER]      on the cluster of WINDROSE_TEST_CLUSTER (a kubeconfig), else of KUBECONFIG
#
# WINDROSE_CLUSTER_EXEC    what to write before a command so that it reaches the cluster's addresses; nothing by default
# WINDROSE_CLUSTER_IMAGE   brings a folder into the cluster as an image, called as CMD TAG DIR --entrypoint /windrose;
#                          docker and kind by default
# WINDROSE_IMAGE_PROFILE   dev or release (default dev: quicker to build)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/.." && pwd)
tag=docker.io/windrose/windrose:test
image=$checkout/.windrose/image
binary=${WINDROSE_BIN:-$checkout/target/debug/windrose}
read -r -a inside <<<"${WINDROSE_CLUSTER_EXEC:-}"

say() { printf 'cluster: %s\n' "$*" >&2; }
kube() { "${inside[@]}" kubectl "$@"; }
load() {
    if [[ -n ${WINDROSE_CLUSTER_IMAGE:-} ]]; then
        # shellcheck disable=SC2086
        $WINDROSE_CLUSTER_IMAGE "$@"
    else
        docker build -q -f "$here/Dockerfile" -t "$1" "$2"
        kind load docker-image "$1" --name "${KIND_CLUSTER:-windrose}"
    fi
}

export KUBECONFIG=${WINDROSE_TEST_CLUSTER:-${KUBECONFIG:-$HOME/.kube/config}}
if ! command -v kubectl >/dev/null || ! kube version >/dev/null 2>&1; then
    say "SKIPPED: no cluster answers at $KUBECONFIG (WINDROSE_TEST_CLUSTER names another)"
    exit 0
fi
if ! kube get crd gateways.gateway.networking.k8s.io >/dev/null 2>&1; then
    say "the cluster has no Gateway API: see docs/kubernetes/install.md"
    exit 1
fi

"$here/image.sh" "$image" --profile "${WINDROSE_IMAGE_PROFILE:-dev}"
load "$tag" "$image" --entrypoint /windrose
say "installing"
"$binary" install --image "$tag" | kube apply --server-side --force-conflicts -f - >&2
kube -n windrose-system rollout restart deployment windrose >&2
kube -n windrose-system rollout status deployment windrose --timeout=180s >&2

say "building the tests"
tests=$(cd "$checkout" && cargo test --workspace --test cluster --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\/cluster-[^"]*\)".*/\1/p' | tail -1)
export WINDROSE_TEST_CLUSTER=$KUBECONFIG
"${inside[@]}" env WINDROSE_TEST_CLUSTER="$KUBECONFIG" "$tests" --test-threads=2 "$@"
