#!/usr/bin/env bash
# bench.sh: measures weir beside floors, plain routing, nftables, iptables and HAProxy; results are in bench/out.
#
#   QUICK=1      a smoke test of three minutes, which fails where weir is not in the chain or loses a packet
#   ONLY=REGEX   the rows whose names match (build/tools/bench list), and what they are compared with
#   bench.sh go  Go's own benchmarks, beside the code, instead
set -euo pipefail
# shellcheck source=ci/lib/guard.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/guard.sh"
hear_interrupts "$@"
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh

if [[ ${1:-} == go ]]; then
	ci/setup.sh build
	exec go test -run '^$' -bench . -benchmem ./bpf/... ./controller/... ./dataplane/...
fi

[[ $(id -u) -eq 0 ]] || die "benchmarks build network namespaces and load BPF: run this as root"
ci/setup.sh bench
ci/build.sh
mkdir -p build/tools
go build -o build/tools/bench ./bench
options=()
if [[ ${QUICK:-} == 1 ]]; then options+=(--quick); fi
if [[ -n ${ONLY:-} ]]; then options+=("--only=$ONLY"); fi
guarded build/tools/bench run "${options[@]}"

# Plots are made by a module of its own, so that its dependencies stay out of go.mod.
(cd bench/plot && go build -o ../../build/tools/plot .)
build/tools/plot bench/out/results.csv bench/out
