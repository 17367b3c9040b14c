#!/usr/bin/env bash
# mutants.sh [PATTERN]: breaks bpf/lib by each line of ci/mutants/list (that PATTERN occurs in), a copy of bpf for each, as
# many at a time as there are CPUs, and runs the packet tables over its objects. Fails if a mutant survives, or a line no
# longer fits the source. A line must not change a layout or an enum: Go's side is of the unbroken tree. As root, from anywhere. A mutant that was killed before is not built again until something
# changes that it is made of; FRESH=1 builds all.
set -euo pipefail
# shellcheck source=ci/lib/guard.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/guard.sh"
hear_interrupts "$@"
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
# shellcheck source=ci/lib/sweep.sh
source ci/lib/sweep.sh

# Races, random packets and what takes long are for finding, not for these.
skip='^Test(Race.*|Random.*|FloodThat.*|Addresses|FullTable|LastSeen)$'
bpf2go=$PWD/build/tools/bpf2go
tables=$PWD/build/mutants/packettest.test # of the tree as it is: a mutant differs in its objects only

# made_of: a digest of all that every mutant is made of.
made_of() {
	{
		sha256sum go.mod go.sum ci/mutants.sh
		find bpf internal -type f ! -name '*.md' -print0 | sort -z | xargs -0 sha256sum
		go version
		clang-19 --version
	} | sha256sum | cut -c1-32
}

# generate_in COPY: the BPF objects of a mutant.
generate_in() {
	local arguments
	cd "$1/bpf"
	while read -r arguments; do
		eval "GOPACKAGE=bpf '$bpf2go' $arguments" || return 1
	done < <(sed -n 's|^//go:generate go run github.com/cilium/ebpf/cmd/bpf2go ||p' gen.go)
}

# survives COPY TEST: whether the packet tables find nothing in the objects of a copy, TEST before the others.
survives() {
	cd "$1/bpf/packettest"
	WEIR_OBJECTS=$1/bpf "$tables" -test.failfast -test.timeout=10m -test.run "^$2\$" &&
		WEIR_OBJECTS=$1/bpf "$tables" -test.failfast -test.timeout=10m -test.skip "$skip"
}

# make_copy: sets copy to a copy of bpf that goes with this shell.
make_copy() {
	copy=$(mktemp -d)
	# shellcheck disable=SC2064 # the copy of now
	trap "rm -rf '$copy'" EXIT
	trap 'exit 130' INT TERM
	cp -r bpf go.mod go.sum "$copy"
}

# control: whether an unbroken copy passes, or no verdict says anything.
control() (
	local copy
	make_copy
	generate_in "$copy" >"$copy/log" 2>&1 && survives "$copy" '' >>"$copy/log" 2>&1 && return
	tail -n 20 "$copy/log"
	die "a copy that is not broken fails"
)

# mutant FILE SCRIPT WRONG TEST DIGEST: prints its verdict; killed is success.
mutant() {
	local file=$1 script=$2 wrong=$3 test=$4 copy known verdict by=''
	known=build/mutants/$(printf '%s\n' "$@" | sha256sum | cut -c1-32)
	if [[ -f $known && -z ${FRESH:-} ]]; then
		cat "$known"
		return
	fi
	make_copy
	sed -i "$script" "$copy/bpf/lib/$file"
	if cmp -s "bpf/lib/$file" "$copy/bpf/lib/$file" || ! (generate_in "$copy") >"$copy/log" 2>&1; then
		verdict=BROKEN
	elif (survives "$copy" "$test") >"$copy/log" 2>&1; then
		verdict=SURVIVED
	elif grep -q 'program weir_' "$copy/log" || ! grep -qE -- '--- FAIL: Test|panic: test timed out' "$copy/log"; then
		# The verifier refuses it, or it was never tried.
		verdict=BROKEN
	else
		verdict=killed
		by=$(grep -o -m1 -- '--- FAIL: Test[^ ]*/[^ ]*' "$copy/log" | sed 's/.*FAIL: //' | cut -c1-70) || true
	fi
	printf '%-8s  %-10s  %-58s  %s\n' "$verdict" "$file" "$wrong" "$by" >"$copy/verdict"
	if [[ $verdict != killed ]]; then
		tail -5 "$copy/log" 2>/dev/null | sed 's/^/    /' >>"$copy/verdict"
	fi
	cat "$copy/verdict"
	[[ $verdict == killed ]] || return 1
	mv "$copy/verdict" "$known"
}

# rows DIGEST PATTERN: the words of each mutant's call, each ended by a zero byte.
rows() {
	local file script wrong test
	while IFS=$'\t' read -r file script wrong test; do
		if [[ -n $file && $file != \#* && "$file $wrong" == *"$2"* ]]; then
			printf '%s\0' "$file" "$script" "$wrong" "$test" "$1"
		fi
	done <ci/mutants/list
}

all() {
	local digest count
	ci/setup.sh bpf
	if grep -qE '^(types|enums|counters|maps)\.h' ci/mutants/list; then die "ci/mutants/list breaks what Go mirrors"; fi
	mkdir -p build/tools build/mutants
	go build -o "$bpf2go" github.com/cilium/ebpf/cmd/bpf2go
	go test -c -vet=off -o "$tables" ./bpf/packettest
	digest=$(made_of)
	count=$(rows "$digest" "$1" | tr -dc '\0' | wc -c)
	[[ $count -gt 0 ]] || die "no line of ci/mutants/list has '$1'"
	control
	rows "$digest" "$1" | xargs -0 -n 5 -P "$(nproc)" ci/mutants.sh one ||
		die "a mutant survived, or does not fit or build; see above"
	say "$((count / 5)) mutants, all killed"
}

if [[ ${1:-} == one ]]; then
	shift
	mutant "$@"
	exit
fi
trap sweep EXIT # tables that a mutant holds up are killed
guarded all "${1:-}"
