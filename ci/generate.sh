#!/usr/bin/env bash
# generate.sh [verify]: compiles the BPF objects and their Go again, and makes docs/reference.md of the programs and their
# source. verify fails where the result differs from what is committed, so that each can be trusted to be its source.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
ci/setup.sh bpf

go generate ./bpf/... ./bench/programs
ci/build.sh
page=$(go run ./ci/reference)
printf '%s\n' "$page" >docs/reference.md
if [[ ${1:-} != verify ]]; then
	exit 0
fi
if ! git diff --exit-code --stat -- bpf bench docs/reference.md; then
	die "bpf/, bench/ or docs/reference.md differs from what is committed: run 'make generate' and commit the result"
fi
made=$(git ls-files --others --exclude-standard -- bpf bench docs/reference.md)
[[ -z $made ]] || die "generated but not committed: $made"
say "the committed objects and docs/reference.md are what their source gives"
