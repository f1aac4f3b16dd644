#!/usr/bin/env bash
# The cluster part of what the build machine runs: our stories, and a selection of the official conformance suite.
#
# On the cluster of WINDROSE_TEST_CLUSTER (a kubeconfig): the stories, and the suite where WINDROSE_CLUSTER_SUITE says how it is run there
# (tests/conformance/README.md).
# Else on a cluster that the script WINDROSE_CLUSTER starts (default: ../shared/cluster/cluster beside the checkout), which knows
# `build`, `up`, `crds`, `exec CMD`, `image TAG DIR`, `suite gateway CLASS ARGS` and `down`. One that was up stays up.
# Where that cannot be built or started on this machine, it is said, and fails nothing; a story or a test that fails does.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=../kind-cluster/cluster.sh
. "$(dirname "${BASH_SOURCE[0]}")/../kind-cluster/cluster.sh"
cluster=${WINDROSE_CLUSTER:-$checkout/../shared/cluster/cluster}

# What each step may take at most, in seconds, on two cores. A test that hangs is ended; its children end with it.
build_max=1200 up_max=420 stories_max=1800 suite_max=1080 newer_max=900 last_max=420 down_max=180
within() { timeout --kill-after=30 "$@"; }

# About ten minutes, one name for each thing that traffic or a status can get wrong.
suite=(
    GatewayClassObservedGenerationBump GatewayModifyListeners GatewaySecretReferenceGrantSpecific GatewayWithAttachedRoutes
    HTTPRouteMatching HTTPRouteMatchingAcrossRoutes HTTPRouteWeight HTTPRouteReferenceGrant HTTPRouteInvalidBackendRefUnknownKind
    HTTPRouteInvalidCrossNamespaceParentRef HTTPRouteObservedGenerationBump HTTPRouteRequestMirror HTTPRouteTimeoutRequest
    GRPCExactMethodMatching GRPCRouteHeaderMatching GRPCRouteWeight
    TLSRouteSimpleSameNamespace TLSRouteTerminateSimpleSameNamespace
    TCPRouteWeightedRouting TCPRouteReferenceGrant UDPRoute UDPRouteReferenceGrant
    BackendTLSPolicy BackendTLSPolicyInvalidCACertificateRef BackendTLSPolicyConflictResolution
    ListenerSetHTTPRouting
)

skipped() {
    printf '\n== CLUSTER TESTS SKIPPED: %s\n\n' "$*" >&2
    exit 0
}

conformance() {
    local log=$checkout/.windrose/conformance.log name missing=()
    within "$suite_max" "${run_suite[@]}" gateway windrose "-test.run=TestConformance/^($(IFS='|'; echo "${suite[*]}"))\$" >"$log" 2>&1 ||
        { grep -E '^ *--- FAIL|^FAIL|Error:|panic:' "$log" | head -n 60 >&2; say "the whole log is $log"; return 1; }
    # A name that the suite no longer has would be passed over in silence.
    for name in "${suite[@]}"; do
        grep -q -- "--- PASS: TestConformance/$name " "$log" || missing+=("$name")
    done
    ((${#missing[@]} == 0)) || { say "not run by the suite, or skipped: ${missing[*]}"; return 1; }
    say "${#suite[@]} tests of the official suite passed"
}

if [[ -n ${WINDROSE_TEST_CLUSTER:-} ]]; then
    # What this cluster cannot do is skipped by name, not failed.
    export -n CI
    failed=()
    timed "cluster tests" within "$stories_max" "$here/test.sh" || failed+=(stories)
    read -r -a run_suite <<<"${WINDROSE_CLUSTER_SUITE:-}"
    if ((${#run_suite[@]})); then
        timed conformance conformance || failed+=(conformance)
    else
        say "the official suite is not run: WINDROSE_CLUSTER_SUITE does not say how it reaches $WINDROSE_TEST_CLUSTER"
    fi
    timed "last story" within "$last_max" "$here/test.sh" --last || failed+=("last story")
    ((${#failed[@]} == 0)) || { say "FAILED: ${failed[*]}"; exit 1; }
    exit
fi

run_suite=("$cluster" suite)
[[ -x $cluster ]] || skipped "no WINDROSE_TEST_CLUSTER, and no script at $cluster"
built=${WINDROSE_CLUSTER_DIR:-$HOME/.cache/windrose-cluster}
# Where the machine has no kubectl, the cluster's script builds one.
export PATH=$PATH:$built/bin
up=$(within 60 "$cluster" status 2>/dev/null | grep -cE '^[a-z-]+ +running$' || true)
if ((up < 8)); then
    timed "build the cluster" within "$build_max" "$cluster" build || skipped "$cluster build failed"
    trap 'timed "end the cluster" within "$down_max" "$cluster" down || true' EXIT
    timed "start the cluster" within "$up_max" "$cluster" up || skipped "$cluster up failed on this machine"
fi
export KUBECONFIG=$built/state/admin.kubeconfig WINDROSE_CLUSTER_EXEC="$cluster exec" WINDROSE_CLUSTER_IMAGE="$cluster image" WINDROSE_CLUSTER_PAUSE="$here/pause.sh"
# It was named for this: a story that does not reach it fails.
export WINDROSE_TEST_CLUSTER=$KUBECONFIG
# The definitions are part of what the suite is made of, and where it was never built they are not here yet.
timed "build the suite" within "$build_max" "$cluster" suite gateway windrose '-test.run=^$' >/dev/null
timed definitions within "$up_max" "$cluster" crds

# The golden cases and some stories once more, where the API server knows the fields of a newer Gateway API than the suite's. The definitions
# are those of the Go module; those of the suite are put back.
newer=v1.7.0
newer() {
    local zip status=0 definitions=$checkout/.windrose/gateway-api-$newer
    # It may ask for a newer Go than there is: its files are all that is needed.
    zip=$(go mod download -json "sigs.k8s.io/gateway-api@$newer" | sed -n 's/^.*"Zip": "\(.*\)",\{0,1\}$/\1/p') || true
    [[ -s $zip ]] || { say "no Go module sigs.k8s.io/gateway-api@$newer"; return 1; }
    rm -rf "$definitions"
    python3 -m zipfile -e "$zip" "$definitions" || return 1
    # Those that are experiments by name stay out: one that the suite's version does not have would be left.
    sed -s '1i---' "$definitions/sigs.k8s.io/gateway-api@$newer"/config/crd/experimental/gateway.networking.k8s.io_*.yaml |
        "$cluster" exec kubectl apply --server-side --force-conflicts -f - >/dev/null || status=1
    ((status)) || WINDROSE_TEST_GATEWAY_API=$newer within "$newer_max" "$here/test.sh" every_case from_the_guides longest_name within_the_cluster envoy_refuses_says || status=1
    "$cluster" crds >/dev/null || status=1
    return "$status"
}

failed=()
timed "cluster tests" within "$stories_max" "$here/test.sh" || failed+=(stories)
timed conformance conformance || failed+=(conformance)
timed "cases and stories on Gateway API $newer" newer || failed+=("Gateway API $newer")
timed "last story" within "$last_max" "$here/test.sh" --last || failed+=("last story")
((${#failed[@]} == 0)) || { say "FAILED: ${failed[*]}"; exit 1; }
