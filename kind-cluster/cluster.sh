# shellcheck shell=bash disable=SC2034
# What the scripts of this folder share; they source it.
#
# KUBECONFIG               the cluster; WINDROSE_TEST_CLUSTER goes before it
# WINDROSE_CLUSTER_EXEC    what to write before a command so that it reaches the cluster's addresses; nothing by default
# WINDROSE_CLUSTER_IMAGE   brings a folder into the cluster as an image, called as CMD TAG DIR --entrypoint /windrose;
#                          docker and kind by default, KIND_CLUSTER is the name (windrose)
# WINDROSE_IMAGE_PROFILE   dev or release (default dev: quicker to build)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/.." && pwd)
image=$checkout/.windrose/image
tag=docker.io/windrose/windrose:test
read -r -a inside <<<"${WINDROSE_CLUSTER_EXEC:-}"
export KUBECONFIG=${WINDROSE_TEST_CLUSTER:-${KUBECONFIG:-$HOME/.kube/config}}

say() { printf 'cluster: %s\n' "$*" >&2; }
kube() { "${inside[@]}" kubectl "$@"; }
answers() { command -v kubectl >/dev/null && kube --request-timeout=20s get --raw /readyz >/dev/null 2>&1; }

# timed NAME CMD...: runs the command and says how long it took.
timed() {
    local name=$1 began=$SECONDS status=0
    shift
    say "$name"
    "$@" || status=$?
    say "$name: $((SECONDS - began)) s$( ((status == 0)) || echo ", exit $status")"
    return "$status"
}

# load TAG: the built image becomes one of the cluster, by that name.
load() {
    if [[ -n ${WINDROSE_CLUSTER_IMAGE:-} ]]; then
        # shellcheck disable=SC2086
        $WINDROSE_CLUSTER_IMAGE "$1" "$image" --entrypoint /windrose
    else
        docker build -q -f "$here/Dockerfile" -t "$1" "$image" >&2 &&
            kind load docker-image "$1" --name "${KIND_CLUSTER:-windrose}" >&2
    fi
}
