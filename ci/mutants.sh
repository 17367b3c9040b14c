#!/bin/sh
# Applies each line of ci/mutants/list to a copy of the tree and runs the packet
# tables over it. Fails if a mutant survives, or a line no longer fits the source.
# Usage, as root, from anywhere: ci/mutants.sh [PATTERN]   (only lines that match)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
"$root/ci/setup.sh" bpf
PATH=$root/build/goroot/bin:$PATH GOTOOLCHAIN=local GOFLAGS=-buildvcs=false CGO_ENABLED=0
export PATH GOTOOLCHAIN GOFLAGS CGO_ENABLED
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM
mkdir "$copy/bin"
cp -r "$root/bpf" "$root/go.mod" "$root/go.sum" "$copy"
(cd "$root" && go build -o "$copy/bin/bpf2go" github.com/cilium/ebpf/cmd/bpf2go)

# Tables and sequences; races and random packets are for finding, not for these.
tests='^Test(Modes|Shapes|WrongChecksums|Life|LifeSCTP|Ports|Passed|Dropped|Malformed|Echo|NextHops|Thousand.*|RoundRobin.*|Connection.*|NextHop.*|LocalBackends|AnswersToThisNode|Egress.*|Hairpin|EveryChecksum|OffloadedPackets)$'

generate() {
	(cd "$copy/bpf" && sed -n 's|^//go:generate go run github.com/cilium/ebpf/cmd/bpf2go ||p' gen.go |
		while read -r arguments; do
			eval "GOPACKAGE=bpf ../bin/bpf2go $arguments" || exit 1
		done)
}

survivors=0 broken=0 killed=0
tab=$(printf '\t')
while IFS="$tab" read -r file script wrong; do
	case $file in ''|\#*) continue ;; esac
	case "$file $wrong" in *"${1:-}"*) ;; *) continue ;; esac
	target=$copy/bpf/lib/$file
	cp "$target" "$copy/original"
	sed -i "$script" "$target"
	lines=$(diff "$copy/original" "$target" | grep -c '^>') || true
	if [ "$lines" -eq 0 ] || ! generate >"$copy/log" 2>&1; then
		verdict=BROKEN broken=$((broken + 1))
	elif (cd "$copy" && go test -count=1 -failfast -run "$tests" ./bpf/packettest) >"$copy/log" 2>&1; then
		verdict=SURVIVED survivors=$((survivors + 1))
	elif grep -q 'program weir_' "$copy/log"; then # the verifier refuses it
		verdict=BROKEN broken=$((broken + 1))
	else
		verdict=killed killed=$((killed + 1))
	fi
	by=$(grep -o -m1 -- '--- FAIL: Test[^ ]*/[^ ]*' "$copy/log" | sed 's/.*FAIL: //' | cut -c1-70) || true
	printf '%-8s  %-10s  %-58s  %s\n' "$verdict" "$file" "$wrong" "$by"
	[ "$verdict" = killed ] || { sed 's/^/    /' "$copy/log" | tail -5; }
	cp "$copy/original" "$target"
done <"$root/ci/mutants/list"

echo "$killed killed, $survivors survived, $broken do not fit or build"
[ "$survivors" -eq 0 ] && [ "$broken" -eq 0 ]
