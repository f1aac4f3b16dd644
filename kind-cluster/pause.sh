#!/usr/bin/env bash
# Stops the API server, or its etcd, or lets it go on, where it is a process of this machine (kind's is): pause.sh stop|cont [kube-apiserver|etcd]
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
part=${2:-kube-apiserver}
case $part in
    kube-apiserver) words='(kube-apiserver|kube apiserver)' ;;
    etcd) words=etcd ;;
    *) printf 'pause: %s is neither kube-apiserver nor etcd\n' "$part" >&2; exit 2 ;;
esac
mapfile -t there < <(pgrep -f "^([^ ]*/)?$words ")
if ((${#there[@]} != 1)); then
    printf 'pause: %d processes of %s run on this machine, not one\n' "${#there[@]}" "$part" >&2
    exit 1
fi
kill -"$signal" "${there[0]}"
