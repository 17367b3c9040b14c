#!/usr/bin/env bash
# generate.sh [verify]: compiles the BPF objects and their Go again. verify fails where the result differs from what is
# committed, so that an object can be trusted to be its source.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
ci/setup.sh bpf

go generate ./bpf/... ./bench/programs
if [[ ${1:-} != verify ]]; then
	exit 0
fi
if ! git diff --exit-code --stat -- bpf bench; then
	die "bpf/ or bench/ differs from what is committed: run 'make generate' and commit the result"
fi
made=$(git ls-files --others --exclude-standard -- bpf bench)
[[ -z $made ]] || die "generated but not committed: $made"
say "the committed objects are what their source gives"
