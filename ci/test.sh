#!/usr/bin/env bash
# test.sh PART...: vet, unit (units and packet tables; RACE=1 with the race detector), article (the article's scenario),
# scenarios (every one in namespaces, LANES of them at a time, 3 unless said), e2e (those, and then the one in a Kubernetes
# cluster), or suite NAME (the one in scenarios/NAME; FOCUS='words' picks specs of it, and the specs left out do not count
# as skipped).
set -euo pipefail
# shellcheck source=ci/lib/guard.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/guard.sh"
hear_interrupts "$@"
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
# shellcheck source=ci/lib/sweep.sh
source ci/lib/sweep.sh

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

# modules_with_tests: folders of the modules of their own, but for ci/manifests, whose tests lint.sh runs.
modules_with_tests() {
	local module
	git ls-files '*/go.mod' | xargs -n 1 dirname | grep -vx ci/manifests | while read -r module; do
		if [[ -n $(git ls-files "$module/*_test.go") ]]; then echo "$module"; fi
	done
}

unit() {
	local list packages modules module race=() cgo=0 status=0
	if [[ ${RACE:-} == 1 ]]; then
		ci/setup.sh race
		race=(-race) cgo=1
	fi
	list=$(packages_with_tests units)
	[[ -n $list ]] || die "no unit tests found"
	mapfile -t packages <<<"$list"
	say "units and packet tables of ${#packages[@]} packages${RACE:+, with the race detector}"
	judged -- env CGO_ENABLED=$cgo go test -json -count=1 -timeout=8m "${race[@]}" "${packages[@]}" || status=1
	if [[ ${RACE:-} == 1 && -z $guard_interrupted ]]; then
		say "without it, what has to be done by the thousand in time"
		judged -- env CGO_ENABLED=0 go test -json -count=1 ./dataplane/health || status=1
	fi
	mapfile -t modules < <(modules_with_tests)
	for module in "${modules[@]}"; do
		[[ -z $guard_interrupted ]] || break
		say "units of the module $module"
		judged -- env CGO_ENABLED=$cgo go -C "$module" test -json -count=1 "${race[@]}" ./... || status=1
	done
	sweep
	return "$status"
}

# suites PACKAGE...: runs Ginkgo suites, and goes on where one fails.
suites() {
	[[ $(id -u) -eq 0 ]] || die "scenarios build network namespaces and load BPF: run this as root"
	ci/build.sh
	# Kubernetes' own programs take minutes the first time, and only this suite needs them.
	if [[ " $* " == */scenarios/apiserver\ * ]]; then ci/kube.sh etcd kube-apiserver; fi
	rm -rf build/reports
	mkdir -p build/reports build/suites
	local reports=(-reports build/reports)
	if [[ -n ${FOCUS:-} ]]; then reports=(); fi
	judged -live "${reports[@]}" -- each_suite "$@"
}

# each_suite PACKAGE...: suites mostly wait, so LANES of them share the machine, each in namespaces of its own; then come,
# one by one, because what they measure depends on what else runs, specs with Label("alone") and suites whose doc.go says
# "Alone: why".
each_suite() {
	local package beside=() alone=() status=0
	trap 'exit 130' INT # after the suite that was interrupted has cleaned up
	for package in "$@"; do
		if grep -qs '^// Alone: ' "scenarios/${package##*/scenarios/}/doc.go"; then
			alone+=("$package")
		else
			beside+=("$package")
		fi
	done
	if [[ ${#beside[@]} -gt 1 ]]; then
		longest_first "${beside[@]}" | xargs -n 1 -P "${LANES:-3}" ci/test.sh lane || status=1
	else
		alone=("${beside[@]}" "${alone[@]}")
	fi
	for package in "$@"; do
		if has_specs_alone "$package"; then one_suite "$package" alone || status=1; fi
	done
	for package in "${alone[@]}"; do
		one_suite "$package" || status=1
	done
	return "$status"
}

# Who has chosen specs by FOCUS runs them at once.
has_specs_alone() { [[ -z ${FOCUS:-} ]] && grep -qs 'Label("alone")' "scenarios/${1##*/scenarios/}/"*_test.go; }

# longest_first PACKAGE...: in the order of how long they took the last time; those that never ran come first.
longest_first() {
	local package
	for package in "$@"; do
		printf '%s %s\n' "$(cat "build/suites/$(basename "$package").seconds" 2>/dev/null || echo 9999)" "$package"
	done | sort -rn | cut -d ' ' -f 2
}

# one_suite PACKAGE [alone]: go test -json of a suite but for its specs with Label("alone"), or of these.
one_suite() {
	local name flags=() within=() started=$SECONDS
	name=$(basename "$1")${2:+-$2}
	if [[ -n ${2:-} ]]; then flags+=(-ginkgo.label-filter="$2"); elif has_specs_alone "$1"; then flags+=('-ginkgo.label-filter=!alone'); fi
	if [[ -n ${FOCUS:-} ]]; then flags+=("-ginkgo.focus=$FOCUS"); fi
	if [[ $terminal == no ]]; then flags+=(-ginkgo.no-color); fi
	if [[ $1 == */kind ]]; then within=(ci/kind.sh run); fi
	"${within[@]}" go test -json -count=1 -timeout=30m "$1" "${flags[@]}" -ginkgo.json-report="$PWD/build/reports/$name.json" || return
	echo "$((SECONDS - started))" >"build/suites/$name.seconds"
}

# lane PACKAGE: a suite among others. What it says is held until it ends, so that each is read in one piece.
lane() {
	local said
	said=build/suites/$(basename "$1").json
	# Whatever ends the suite, what it said is told.
	# shellcheck disable=SC2064 # the file of now
	trap "flock build/suites cat '$said'" EXIT
	trap 'exit 130' INT
	one_suite "$1" >"$said" 2>&1
}

# scenarios PACKAGE...: every suite in namespaces, and then these.
scenarios() {
	local list all
	ci/setup.sh e2e
	list=$(packages_with_tests suites | grep -v '/scenarios/kind$')
	[[ -n $list ]] || die "no scenario found"
	mapfile -t all <<<"$list"
	suites "${all[@]}" "$@"
}

part() {
	case $1 in
	vet) ci/setup.sh build && go vet ./... ;;
	unit) ci/setup.sh demo && unit ;;
	article) ci/setup.sh test && suites ./scenarios/article ;;
	e2e) scenarios ./scenarios/kind ;;
	scenarios) scenarios ;;
	*) die "no part '$1'; the parts are vet unit article scenarios e2e" ;;
	esac
}

if [[ ${1:-} == lane ]]; then
	lane "$2"
	exit
fi
if [[ ${1:-} == suite ]]; then
	[[ -n ${2:-} ]] || die "name a folder of scenarios/"
	ci/setup.sh e2e
	suites "./scenarios/$2"
	exit
fi
[[ $# -gt 0 ]] || die "name a part: vet unit article scenarios e2e, or suite NAME"
for name in "$@"; do
	part "$name"
done
