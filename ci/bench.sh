#!/usr/bin/env bash
# bench.sh: runs the benchmarks beside the code: Go's, and the BPF programs' through BPF_PROG_TEST_RUN.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
ci/setup.sh build

exec go test -run '^$' -bench . -benchmem ./bpf/... ./dataplane/...
