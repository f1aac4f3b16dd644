#!/usr/bin/env bash
# From nothing to the first request: a cluster by kind, Windrose of this checkout in it, and the sample of the guide.
#
#   kind-cluster/up.sh      KIND_CLUSTER names the cluster (windrose); `kind delete cluster --name windrose` ends it
#
# It needs docker, kind, kubectl and curl, and says which of them is missing. What is there already stays.
set -euo pipefail

export KIND_CLUSTER=${KIND_CLUSTER:-windrose}
gateway_api=https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.3/experimental-install.yaml
# A kubeconfig of its own: nothing of this reaches a cluster that somebody works with.
unset WINDROSE_TEST_CLUSTER WINDROSE_CLUSTER_EXEC WINDROSE_CLUSTER_IMAGE
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.windrose/kind
mkdir -p "$folder"
export KUBECONFIG=$folder/$KIND_CLUSTER.kubeconfig
# shellcheck source-path=SCRIPTDIR source=cluster.sh
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

need() {
    command -v "$1" >/dev/null || { say "$1 is missing: $2"; exit 1; }
}
need docker https://docs.docker.com/engine/install/
need kind https://kind.sigs.k8s.io/docs/user/quick-start/#installation
need kubectl https://kubernetes.io/docs/tasks/tools/
need curl "your system's package of that name"
docker info >/dev/null 2>&1 || { say "docker does not answer: is its daemon running, and may you use it?"; exit 1; }

if kind get clusters 2>/dev/null | grep -qx "$KIND_CLUSTER"; then
    kind export kubeconfig --name "$KIND_CLUSTER" --kubeconfig "$KUBECONFIG" >&2
else
    timed "kind create" kind create cluster --name "$KIND_CLUSTER" --config "$here/cluster.yaml" --kubeconfig "$KUBECONFIG" --wait 3m >&2
fi
timed "Gateway API" kubectl apply --server-side -f "$gateway_api" >/dev/null
"$here/install.sh"

# The sample of docs/kubernetes/first-gateway.md, from the page itself.
sed -n '/^# first.yaml$/,/^```$/p' "$checkout/docs/kubernetes/first-gateway.md" | sed '$d' | kubectl apply --server-side -f - >&2
kubectl -n shop rollout status deployment hello --timeout=3m >&2
# kind assigns no address, so `Programmed` may stay false; the Pod is ready when its Envoy serves.
for _ in {1..60}; do
    if kubectl -n shop get deployment edge-windrose >/dev/null 2>&1; then break; fi
    sleep 1
done
kubectl -n shop rollout status deployment edge-windrose --timeout=3m >&2

port=${WINDROSE_PORT:-8080}
kubectl -n shop port-forward service/edge-windrose "$port:80" >/dev/null &
forward=$!
trap 'kill "$forward" 2>/dev/null || true' EXIT
answer=$(curl -fsS --retry 30 --retry-delay 1 --retry-all-errors "http://127.0.0.1:$port/hostname")
say "the first request was answered by Pod $answer"
cat >&2 <<TEXT

  export KUBECONFIG=$KUBECONFIG
  kubectl -n shop port-forward service/edge-windrose $port:80 &
  curl http://127.0.0.1:$port/hostname
  $image/windrose check
  kind delete cluster --name $KIND_CLUSTER
TEXT
