#!/usr/bin/env bash
# Builds the image of this checkout, brings it into the cluster, installs it there and waits until it runs.
# What names the cluster is in cluster.sh.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=cluster.sh
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

if ! answers; then
    say "no cluster answers at $KUBECONFIG (KUBECONFIG or WINDROSE_TEST_CLUSTER names another)"
    exit 1
fi
if ! kube get crd gateways.gateway.networking.k8s.io >/dev/null 2>&1; then
    say "the cluster has no Gateway API: see docs/kubernetes/install.md"
    exit 1
fi

# The binary of the image is static: it runs here as well, and prints what to install.
install() { "$image/windrose" install --image "$tag" | kube apply --server-side --force-conflicts -f - >/dev/null; }
# The tag is the one from before, and so is the Deployment: only a restart takes the image that was just brought.
restart() {
    kube -n windrose-system rollout restart deployment windrose >/dev/null &&
        kube -n windrose-system rollout status deployment windrose --timeout=180s >/dev/null
}

timed image "$here/image.sh" "$image" --profile "${WINDROSE_IMAGE_PROFILE:-dev}"
timed load load "$tag"
timed install install
timed start restart
