#!/usr/bin/env bash
# test.sh PART...: vet, unit (units and packet tables; RACE=1 with the race detector), article (the article's scenario),
# e2e (every scenario), or suite NAME (the one scenario in scenarios/NAME; FOCUS='words' picks specs of it, and the specs
# left out do not count as skipped).
set -euo pipefail
# shellcheck source=ci/lib/guard.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/guard.sh"
hear_interrupts "$@"
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh

terminal=no
if [[ -t 1 ]]; then terminal=yes; fi

# packages_with_tests units|suites: a suite is a package under scenarios/ that runs Ginkgo; all other tests are units.
packages_with_tests() {
	go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.TestImports}} {{.XTestImports}}{{end}}' ./... |
		awk -v kind="$1" '{ suite = $1 ~ /\/scenarios\// && /onsi\/ginkgo/ } suite == (kind == "suites") { print $1 }'
}

# judged OPTION... -- COMMAND...: runs COMMAND, whose output is go test -json, and prints it by testlog.
judged() {
	local printing=()
	while [[ $1 != -- ]]; do
		printing+=("$1")
		shift
	done
	shift
	mkdir -p build/tools
	go build -o build/tools/testlog ./ci/testlog
	piped() { "$@" | build/tools/testlog "${printing[@]}"; }
	guarded piped "$@"
}

unit() {
	local list packages race=()
	if [[ ${RACE:-} == 1 ]]; then
		ci/setup.sh race
		race=(-race)
		export CGO_ENABLED=1
	fi
	list=$(packages_with_tests units)
	[[ -n $list ]] || die "no unit tests found"
	mapfile -t packages <<<"$list"
	say "units and packet tables of ${#packages[@]} packages${RACE:+, with the race detector}"
	judged -- go test -json -count=1 -timeout=8m "${race[@]}" "${packages[@]}"
}

# suites PACKAGE...: runs Ginkgo suites one after the other, so that each has the machine, and goes on where one fails.
suites() {
	[[ $(id -u) -eq 0 ]] || die "scenarios build network namespaces and load BPF: run this as root"
	ci/build.sh
	rm -rf build/reports
	mkdir -p build/reports
	local reports=(-reports build/reports)
	if [[ -n ${FOCUS:-} ]]; then reports=(); fi
	judged -live "${reports[@]}" -- each_suite "$@"
}

each_suite() {
	local package status=0 flags=()
	trap 'exit 130' INT # after the suite that was interrupted has cleaned up
	if [[ -n ${FOCUS:-} ]]; then flags+=("-ginkgo.focus=$FOCUS"); fi
	if [[ $terminal == no ]]; then flags+=(-ginkgo.no-color); fi
	for package in "$@"; do
		go test -json -count=1 -timeout=30m "$package" "${flags[@]}" \
			-ginkgo.json-report="$PWD/build/reports/$(basename "$package").json" || status=1
	done
	return "$status"
}

part() {
	case $1 in
	vet) ci/setup.sh build && go vet ./... ;;
	unit) ci/setup.sh demo && unit ;;
	article) ci/setup.sh test && suites ./scenarios/article ;;
	e2e)
		ci/setup.sh e2e
		local list all
		list=$(packages_with_tests suites)
		[[ -n $list ]] || die "no scenario found"
		mapfile -t all <<<"$list"
		suites "${all[@]}"
		;;
	*) die "no part '$1'; the parts are vet unit article e2e" ;;
	esac
}

if [[ ${1:-} == suite ]]; then
	[[ -n ${2:-} ]] || die "name a folder of scenarios/"
	ci/setup.sh e2e
	suites "./scenarios/$2"
	exit
fi
[[ $# -gt 0 ]] || die "name a part: vet unit article e2e, or suite NAME"
for name in "$@"; do
	part "$name"
done
