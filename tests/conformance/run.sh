#!/usr/bin/env bash
# Runs the official conformance suite of Gateway API whole, several times in a row, and keeps the report of the last run.
#
#   tests/conformance/run.sh [RUNS]      default: 3; every run has to pass
#
# WINDROSE_CLUSTER_SUITE   runs the suite on a cluster with Windrose in it, called as CMD gateway CLASS ARGS...; CMD chooses
#                          the profiles and features and finds the cluster (README.md has one for any KUBECONFIG).
#                          ../shared/cluster/cluster suite beside the checkout by default, where that is
# WINDROSE_CLUSTER_EXEC    what to write before a command so that it reaches the cluster; nothing by default
# WINDROSE_CLASS           the GatewayClass (windrose)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
runs=${1:-3}
[[ $runs =~ ^[1-9][0-9]*$ ]] || { sed -n '4s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
say() { printf 'conformance: %s\n' "$*" >&2; }

read -r -a suite <<<"${WINDROSE_CLUSTER_SUITE:-}"
if ((${#suite[@]} == 0)); then
    cluster=$checkout/../shared/cluster/cluster
    [[ -x $cluster ]] || { say "WINDROSE_CLUSTER_SUITE names no command that runs the suite: see tests/conformance/README.md"; exit 1; }
    suite=("$cluster" suite)
    WINDROSE_CLUSTER_EXEC="$cluster exec"
fi

# The suite does not wait for its namespaces to be gone, and the next run cannot make them before.
read -r -a inside <<<"${WINDROSE_CLUSTER_EXEC:-}"
until_gone() {
    local left=90
    while [[ $("${inside[@]}" kubectl get namespaces -o name 2>/dev/null) == *gateway-conformance-* ]]; do
        ((left-- > 0)) || { say "the namespaces of the run before do not go"; return 1; }
        sleep 2
    done
}

logs=$checkout/.windrose/conformance
mkdir -p "$logs"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$checkout/Cargo.toml" | head -1)
for ((run = 1; run <= runs; run++)); do
    until_gone
    rm -f "$logs/$run.yaml"
    began=$SECONDS log=$logs/$run.log status=0
    timeout --kill-after=60 2h "${suite[@]}" gateway "${WINDROSE_CLASS:-windrose}" --report-output="$logs/$run.yaml" \
        --organization=windrose --project=windrose --url=https://github.com/windrose-dev/windrose --version="$version" \
        --contact=https://github.com/windrose-dev/windrose/issues >"$log" 2>&1 || status=$?
    passed=$(grep -c '^    --- PASS' "$log" || true)
    # The mesh's tests are for no profile of a gateway.
    skipped=$(grep '^    --- SKIP' "$log" | grep -v 'TestConformance/Mesh' || true)
    say "run $run of $runs: $passed tests passed, $((SECONDS - began)) s, exit $status"
    if ((status || passed == 0)) || [[ -n $skipped || ! -s $logs/$run.yaml ]]; then
        [[ -z $skipped ]] || say "skipped: $skipped"
        grep -E '^ *--- FAIL' "$log" >&2 || tail -n 20 "$log" >&2
        say "the whole log is $log"
        exit 1
    fi
done
cp "$logs/$runs.yaml" "$here/standard.yaml"
say "$here/standard.yaml is the report of the last run"
