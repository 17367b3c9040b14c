#!/usr/bin/env bash
# demo.sh [down]: plays the article's scenario and leaves its topology standing to be looked at; down removes it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh

[[ $(id -u) -eq 0 ]] || die "network namespaces and BPF need root: run this as root"
if [[ ${1:-} == down ]]; then
	exec bin/weir-topo down
fi
ci/setup.sh demo
say "building (minutes the first time, a second later)"
ci/build.sh
# weir-topo itself removes what it made when it is interrupted.
exec bin/weir-topo run article
