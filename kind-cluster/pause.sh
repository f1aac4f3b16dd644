#!/usr/bin/env bash
# Stops the API server, or lets it go on, where it is a process of this machine (kind's is): pause.sh stop|cont
set -euo pipefail

case ${1:-} in
    stop) signal=STOP ;;
    cont) signal=CONT ;;
    *)
        sed -n '2s/^# //p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
esac
# By its first words: `kube-apiserver --…`, or one binary for all components.
mapfile -t servers < <(pgrep -f '^([^ ]*/)?(kube-apiserver|kube apiserver) ')
if ((${#servers[@]} != 1)); then
    printf 'pause: %d API servers run on this machine, not one\n' "${#servers[@]}" >&2
    exit 1
fi
kill -"$signal" "${servers[0]}"
