#!/usr/bin/env bash
# Asks cargo-deny about every dependency by the rules of deny.toml. Advisories are asked where their database can be
# reached; where not, that is said and is no failure.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
deny=$root/.windrose/tools/bin/cargo-deny
if [[ ! -x $deny ]]; then deny=cargo-deny; fi

"$deny" --log-level error check bans licenses sources
if timeout 60 "$deny" fetch db >/dev/null 2>&1 </dev/null; then
    "$deny" --log-level error check --disable-fetch advisories
else
    echo 'advisories: not asked, their database cannot be reached from here'
fi
