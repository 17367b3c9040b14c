#!/usr/bin/env bash
# lint.sh [PART...]: all of go, c, shell, manifests, house, or those named.
#
#   go         gofmt, go vet, golangci-lint (.golangci.yaml), go.mod tidy
#   c          clang-format (.clang-format)
#   shell      shellcheck
#   manifests  deploy/base and the Helm chart render to the same objects, deploy/article and deploy/vagrant are the article's
#   house      hygiene.sh: what no linter knows
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
# shellcheck source=ci/lib/files.sh
source ci/lib/files.sh

failed=()

# check NAME COMMAND...: runs COMMAND, says how it went, and goes on, so that one run shows everything.
check() {
	local name=$1
	shift
	if "$@"; then
		say "$name: clean"
	else
		failed+=("$name")
		say "$name: NOT clean, see above"
	fi
}

gofmt_clean() {
	local unformatted
	unformatted=$(written_files '*.go' | xargs -r gofmt -s -l) || return 1
	[[ -z $unformatted ]] && return
	printf 'not formatted (make fmt does it): %s\n' "$unformatted"
	return 1
}

# The linter is a module of its own, so that its 200 dependencies stay out of go.mod. Building it takes minutes, once.
golangci() {
	(cd ci/tools && go build -o ../../build/tools/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint) &&
		build/tools/golangci-lint run --allow-parallel-runners ./...
}

tidy() {
	local module
	for module in . ci/tools bench/plot ci/image ci/manifests $(dirname ci/nodeimage/*/go.mod); do
		if ! (cd "$module" && go mod tidy -diff) >build/tidy.diff; then
			echo "$module/go.mod or go.sum is not tidy: run 'go mod tidy' there (build/tidy.diff shows what it does)"
			return 1
		fi
	done
}

clang_format_clean() { written_files '*.c' '*.h' | xargs -r clang-format-19 --dry-run --Werror; }

shellcheck_clean() { { written_files '*.sh' && echo .ci/run; } | xargs shellcheck; }

# The chart and deploy/base render to the same objects; Helm and kustomize are in a module of their own.
manifests_alike() { (cd ci/manifests && go vet ./... && go test -count=1 ./...); }

part() {
	case $1 in
	go)
		check gofmt gofmt_clean
		check 'go vet' go vet ./...
		check golangci-lint golangci
		check 'go mod tidy' tidy
		;;
	c) check clang-format clang_format_clean ;;
	shell) check shellcheck shellcheck_clean ;;
	manifests) check manifests manifests_alike ;;
	house) check 'house rules' ci/hygiene.sh ;;
	*) die "no part '$1'; the parts are go c shell manifests house" ;;
	esac
}

ci/setup.sh lint
[[ $# -gt 0 ]] || set -- go c shell manifests house
for name in "$@"; do
	part "$name"
done
[[ ${#failed[@]} -eq 0 ]] || die "not clean: ${failed[*]}"
