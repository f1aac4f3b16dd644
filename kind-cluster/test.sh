#!/usr/bin/env bash
# Installs this checkout into a Kubernetes cluster and tells it the stories of tests/tests/cluster.
#
#   kind-cluster/test.sh [FILTER]   the stories with FILTER in their name, all by default
#   kind-cluster/test.sh --last     the last story: everything is taken away, and nothing is left
#
# What names the cluster is in cluster.sh; besides:
# WINDROSE_CLUSTER_PAUSE   stops and continues the API server or its etcd, called as CMD stop|cont kube-apiserver|etcd; without it,
#                          the stories of their loss are skipped. pause.sh does it where they are processes of this machine
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=cluster.sh
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

if ! answers; then
    # One that was named for this has to be there.
    if [[ -n ${WINDROSE_TEST_CLUSTER:-} ]]; then
        say "no cluster answers at $KUBECONFIG, which WINDROSE_TEST_CLUSTER names"
        exit 1
    fi
    say "SKIPPED: no cluster answers at $KUBECONFIG (KUBECONFIG or WINDROSE_TEST_CLUSTER names another)"
    exit 0
fi
last=()
if [[ ${1:-} == --last ]]; then
    shift
    last=(--ignored)
fi

build() {
    local messages
    messages=$(cd "$checkout" && cargo test --workspace --test cluster --no-run --message-format=json)
    tests=$(sed -n 's/.*"executable":"\([^"]*\/cluster-[^"]*\)".*/\1/p' <<<"$messages" | tail -1)
    [[ -x $tests ]] || { say "no test was built"; return 1; }
}

"$here/install.sh"
timed "load another version" load "$tag-next"
timed "build the tests" build
# Two at a time: a story is mostly waiting. Those that disturb others see to it that they are alone.
timed stories "${inside[@]}" env WINDROSE_TEST_CLUSTER="$KUBECONFIG" WINDROSE_BIN="$image/windrose" WINDROSE_TEST_IMAGES="$tag $tag-next" \
    "$tests" --test-threads=2 "${last[@]}" "$@"
