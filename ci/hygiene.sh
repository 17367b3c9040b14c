#!/usr/bin/env bash
# hygiene.sh: the house rules that no linter knows, over every file that people write.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/files.sh
source ci/lib/files.sh

readonly longest=600 # lines of a source file
readonly biggest=524288 # bytes of any file
broken=0

# none_of REASON PATTERN FILE-PATTERN...: no line of these files matches the extended regular expression. This file holds
# the patterns, so it is left out.
none_of() {
	local reason=$1 pattern=$2 found
	shift 2
	found=$(written_files "$@" | grep -vx 'ci/hygiene.sh' | tr '\n' '\0' |
		xargs -0r grep -nIE -e "$pattern" /dev/null) || [[ $? -eq 123 || $? -eq 1 ]]
	[[ -n $found ]] || return 0
	printf '%s:\n%s\n' "$reason" "$found"
	broken=1
}

none_of 'a path of one machine' '(^|[^[:alnum:]_.])(/work/|/home/[a-z]|/root/(go|\.)|/Users/)' '*'
none_of 'the host of a package registry' \
	'(proxy|sum)[.]golang[.]org|goproxy[.]|(deb|security|snapshot)[.]debian[.]org|registry[.]npmjs|pypi[.]org|archive[.]ubuntu' '*'
none_of 'a credential' '-----BEGIN ([A-Z]+ )?PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}' '*'
none_of 'a note to do later: file an issue, or say in docs what stands' '\<(TODO|FIXME|XXX)\>' '*'
none_of 'a sleep: poll with a deadline' '\<time\.Sleep\(' '*.go'
none_of 'a sleep: poll with a deadline' '^[[:space:]]*sleep ' '*.sh' '.ci/run'

while read -r file; do
	lines=$(wc -l <"$file")
	if [[ $lines -gt $longest ]]; then
		echo "$file has $lines lines: one idea a file, $longest at most"
		broken=1
	fi
done < <(written_files '*.go' '*.c' '*.h' '*.sh')

# What was committed once stays in the history: a program that `go build` left, for one.
big=$(git ls-files -z | xargs -0 stat --format '%s %n' 2>/dev/null | awk -v most="$biggest" '$1 > most')
if [[ -n $big ]]; then
	printf 'over %s bytes:\n%s\n' "$biggest" "$big"
	broken=1
fi

while read -r file; do
	if ! head -5 "$file" | grep -q 'SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)'; then
		echo "$file: its first lines lack the SPDX identifier (GPL-2.0-only OR BSD-2-Clause)"
		broken=1
	fi
done < <(written_files 'bpf/*.c' 'bpf/*.h')

# Tests leave nothing behind: leaktest.Main is a package's TestMain, or its specs run by the harness, which looks as well.
# unwatched are the packages of other modules: they cannot import what is internal to this one.
readonly unwatched='ci/image ci/manifests ci/nodeimage/node/runccaps'
while read -r folder; do
	if ! grep -qE 'leaktest\.Main\(|harness\.Run(Within)?\(|^package leaktest$' "$folder"/*_test.go; then
		echo "$folder: its tests may leave something behind: func TestMain(m *testing.M) { leaktest.Main(m) }"
		broken=1
	fi
done < <(written_files '*_test.go' | xargs -n1 dirname | sort -u | grep -vxF "${unwatched// /$'\n'}")

while read -r file; do
	name=$(basename "$file")
	if ! grep -qF "| [${name%%-*}]($name) |" docs/adr/README.md; then
		echo "$file: the table of docs/adr/README.md has no line of it"
		broken=1
	fi
done < <(written_files 'docs/adr/0*.md')

# What others write is read in packages that have a fuzz target. weir-topo alone reads its own user's.
while read -r folder; do
	if ! grep -qE '^func Fuzz' "$folder"/*_test.go; then
		echo "$folder: it reads what others write, so its parsers need fuzz targets (docs/testing.md)"
		broken=1
	fi
done < <(written_files {agent,api,bgp,cmd,controller,dataplane,doctor}/'*.go' | grep -vE '_test\.go$|^cmd/weir-topo/' |
	xargs grep -lE '(json|yaml)\.(Unmarshal|NewDecoder)|pem\.Decode|netip\.Parse|x509\.Parse|tls\.X509KeyPair' | xargs -n1 dirname | sort -u)

exit "$broken"
