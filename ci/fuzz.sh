#!/usr/bin/env bash
# fuzz.sh [PATTERN]: searches with every Go fuzz target (whose name PATTERN matches) for FUZZTIME, 2s or 6s unless said. What it
# finds goes to testdata/fuzz beside the target, where every later run of the tests takes it for a seed: commit it with the fix.
set -euo pipefail
# shellcheck source=ci/lib/guard.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/guard.sh"
hear_interrupts "$@"
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
# shellcheck source=ci/lib/sweep.sh
source ci/lib/sweep.sh
ci/setup.sh build
mkdir -p build/fuzz

# targets PATTERN: lines "FOLDER NAME".
targets() {
	git grep -E --untracked -o '^func Fuzz[A-Za-z0-9]+\(f \*testing\.F\)' -- '*_test.go' |
		sed -E 's|/[^/]+:func (Fuzz[A-Za-z0-9]+).*| \1|' | grep -E -- "${1:-}"
}

# search FOLDER NAME: the search of one target. The targets of a folder follow each other, and have one program.
search() {
	local program=$PWD/build/fuzz/${1//\//-}.test seconds=2s
	if [[ $2 == FuzzPacket ]]; then seconds=6s; fi # of which the kernel verifies the programs for some
	if [[ $1 != "$built" ]]; then # without what debuggers need, linking takes little more than half as long
		go test -c -vet=off -ldflags='-s -w' -fuzz . -o "$program" "./$1" || return
		built=$1
	fi
	guarded env -C "$1" "$program" -test.paniconexit0 -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "${FUZZTIME:-$seconds}" \
		-test.fuzzminimizetime 1s -test.fuzzcachedir "$(go env GOCACHE)/fuzz/$1"
}

# is_late: whether the last search found nothing, and ended by a race in Go (golang/go#75804, mended in 1.27).
is_late() { grep -q '^    context deadline exceeded$' build/fuzz.log && ! grep -q 'Failing input' build/fuzz.log; }

failed=() count=0 built=''
trap sweep EXIT # workers are killed
while read -r folder name; do
	[[ -z $guard_interrupted ]] || exit 130
	count=$((count + 1))
	if ! search "$folder" "$name" >build/fuzz.log 2>&1 && ! { is_late && search "$folder" "$name" >build/fuzz.log 2>&1; }; then
		cat build/fuzz.log
		failed+=("$folder.$name")
		continue
	fi
	say "$folder $name: $(grep -o 'execs: [0-9]*' build/fuzz.log | tail -1)"
done < <(targets "${1:-}")
[[ $count -gt 0 ]] || die "no fuzz target matches '${1:-}'"
[[ ${#failed[@]} -eq 0 ]] || die "broken: ${failed[*]}"
say "$count targets, nothing found"
