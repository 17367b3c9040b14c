#!/usr/bin/env bash
# kernels.sh [6.1|6.12]...: boots Debian's kernels in qemu (emulated: no KVM is needed) and runs in each what depends on
# the kernel, side by side: the verifier's judgement of the programs, the packet tables, attaching, pinning and adopting. Without an
# argument it takes all. Kernels are kept in build/kernels. A kernel whose tests passed before is not booted again until
# something changes that they are made of; FRESH=1 boots all.
set -euo pipefail
# shellcheck source=ci/lib/guard.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/guard.sh"
hear_interrupts "$@"
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
# shellcheck source=ci/lib/apt.sh
source ci/lib/apt.sh

# A machine that says nothing for so many minutes hangs, and so does one that goes on for longer than its tests can take:
# 6 minutes where CPUs are quick and free; in 12 they had come half of the way on ones that are neither.
readonly silence=5 minutes=25

# meta SERIES: prints Debian's package that depends on the newest kernel of a series.
meta() {
	case $1 in
	6.1) echo linux-image-cloud-amd64 ;;
	6.12) echo linux-image-6.12-cloud-amd64 ;;
	*) die "no series '$1'; the series are 6.1 6.12" ;;
	esac
}

readonly modules=(veth vxlan bridge bonding sch_ingress cls_bpf sctp)

# What is run: packages whose tests are about the kernel, not about our own Go. Of some, after a colon, a few tests alone.
readonly tests=(bpf bpf/packettest dataplane dataplane/hook dataplane/loader dataplane/pin dataplane/maps dataplane/nexthop
	dataplane/health:TestKernelSCTP 'doctor/collect:Test(Kernel|Offloads)')

readonly store=build/kernels

# bring SERIES: downloads and unpacks the newest kernel of a series, and prints its folder.
bring() {
	local package file folder
	package=$(newest "$(meta "$1")")
	[[ -n $package ]] || die "apt knows no $(meta "$1"): add Debian's security archive to its sources and run apt-get update"
	folder=$store/$package
	if [[ ! -e $folder/complete ]]; then
		rm -rf "$folder"
		mkdir -p "$folder"
		(cd "$folder" && apt-get -qq download "$package" 2>&1) >"$folder/log" || die "apt-get download $package failed: $(<"$folder/log")"
		file=$(echo "$folder"/*.deb)
		dpkg-deb -x "$file" "$folder"
		rm "$file"
		find "$folder" -name '*.ko.xz' -exec xz -d {} +
		depmod -b "$folder" "$(release_of "$folder")"
		touch "$folder/complete"
	fi
	echo "$folder"
}

# newest META: prints the package of a kernel that a meta package depends on; nothing where apt knows none.
newest() { apt-cache depends "$1" 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }'; }

# release_of FOLDER: the release of the one kernel in it, as uname -r says it.
release_of() { basename "$1"/lib/modules/*; }

# pack FOLDER: makes the initial RAM disk of a kernel, with modules and tests, as FOLDER/disk, and a digest of all that its
# verdict depends on as FOLDER/made-of.
pack() {
	local folder=$1 root=$1/root module path test
	rm -rf "$root"
	mkdir -p "$root/modules" "$root/tests"
	for module in "${modules[@]}"; do
		modprobe -d "$folder" -S "$(release_of "$folder")" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
		cp "$path" "$root/modules/"
		echo "/modules/$(basename "$path")"
	done >"$root/modules/order"
	cp build/kernels/kernelinit "$root/init"
	for test in "${tests[@]}"; do
		path=${test%:*}
		cp "$store/tests/${path//\//.}" "$root/tests/"
		mkdir -p "$root/src/$path"
		[[ ! -d $path/testdata ]] || cp -r "$path/testdata" "$root/src/$path/"
		echo "$(go list "./$path") /src/$path /tests/${path//\//.} $(pattern "$test")"
	done >"$root/tests/list"
	(cd "$root" && find . | cpio --quiet -o -H newc) >"$folder/disk"
	{
		(cd "$root" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
		sha256sum <"$folder/boot/vmlinuz-$(release_of "$folder")"
		sha256sum <ci/kernels.sh
		qemu-system-x86_64 --version
	} | sha256sum >"$folder/made-of"
	rm -rf "$root"
}

# pattern TEST: prints what go test's -run takes for a member of tests.
pattern() { if [[ $1 == *:* ]]; then echo "^${1#*:}\$"; else echo .; fi; }

build() {
	local path
	mkdir -p "$store/tests"
	go build -o "$store/kernelinit" ./ci/kernelinit
	for path in "${tests[@]%:*}"; do
		go test -c -o "$store/tests/${path//\//.}" "./$path"
	done
}

# boot FOLDER: runs the machine until it ends or hangs; its console goes to FOLDER/console, what the tests say to
# FOLDER/results.
# shellcheck disable=SC2317 # guarded calls it
boot() {
	local machine
	rm -f "$1/results" "$1/passed"
	# In the foreground, that is in this process group, where an interruption reaches both.
	timeout --foreground "${minutes}m" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -nodefaults -no-reboot \
		-display none -serial "file:$1/console" -serial "file:$1/results" \
		-kernel "$1/boot/vmlinuz-$(release_of "$1")" -initrd "$1/disk" -append 'console=ttyS0 quiet panic=-1 no_timer_check softlockup_panic=1 watchdog_thresh=20' </dev/null &
	machine=$!
	while kill -0 "$machine" 2>/dev/null; do
		timeout 15 tail --pid="$machine" -f /dev/null || true
		if [[ -z $(find "$1/console" "$1/results" -mmin "-$silence" 2>/dev/null) ]]; then kill "$machine" 2>/dev/null || true; fi
	done
	wait "$machine"
}

# boot_all FOLDER...: boots them at once: one has work for little more than one CPU.
# shellcheck disable=SC2317 # guarded calls it
boot_all() {
	local folder machines=() status=0
	for folder in "$@"; do
		boot "$folder" &
		machines+=($!)
	done
	for folder in "${machines[@]}"; do
		wait "$folder" || status=$?
	done
	return "$status"
}

# passed_before FOLDER: whether this very disk has passed in this kernel.
passed_before() { [[ -z ${FRESH:-} ]] && cmp -s "$1/made-of" "$1/passed"; }

came_to_end() { grep -q '^kernelinit: done$' "$1/results" 2>/dev/null; }

# events FOLDER: prints the results as go test -json does.
events() {
	local path
	for path in "${tests[@]%:*}"; do
		path=$(go list "./$path")
		awk -v path="$path" '
			$1 " " $2 == "kernelinit: end" { if (shown) exit }
			shown { print }
			$1 " " $2 " " $3 == "kernelinit: begin " path { shown = 1 }' "$1/results" | go tool test2json -p "$path"
	done
}

# verdict FOLDER: shows what the tests said, their own lines by testlog, as everywhere, and whether all passed.
verdict() {
	local folder=$1 status=0
	if ! came_to_end "$folder"; then
		tail -n 40 "$folder/console" "$folder/results" >&2 || true
		say "Linux $(release_of "$folder") did not come to an end, twice ($minutes minutes, or $silence without a word); its console is in $folder/console"
		return 1
	fi
	# Nothing may be skipped: what this machine lacks these kernels have.
	events "$folder" | build/tools/testlog -skips /dev/null || status=1
	if grep -E '^kernelinit: end [^ ]+ [^0]' "$folder/results"; then status=1; fi
	if [[ $status -eq 0 ]]; then cp "$folder/made-of" "$folder/passed"; fi
	say "Linux $(release_of "$folder"): $([[ $status -eq 0 ]] && echo passed || echo FAILED)"
	return "$status"
}

# crashed FOLDER: shows where its kernel did. What does that once may pass the next time.
crashed() { grep -a -m 5 -E 'Oops|kernel BUG at|BUG: (unable|KASAN|sleeping|scheduling)|general protection fault' "$1/console"; }

# run FOLDER...: boots kernels until each has come to its end, twice at most. An emulated machine on a busy one loses
# timer interrupts now and then, and stalls. Tests that stall do it twice; one that crashed is not booted again.
run() {
	local folder stalled
	for _ in first second; do
		say "booting Linux $(for folder in "$@"; do release_of "$folder"; done | paste -s -d ' ')"
		guarded boot_all "$@" || true # what counts is how far the tests came
		[[ -z $guard_interrupted ]] || exit 130
		stalled=()
		for folder in "$@"; do
			if crashed "$folder"; then die "Linux $(release_of "$folder") crashed; its console is in $folder/console"; fi
			came_to_end "$folder" || stalled+=("$folder")
		done
		[[ ${#stalled[@]} -gt 0 ]] || return 0
		say "stalled: $(for folder in "${stalled[@]}"; do release_of "$folder"; done | paste -s -d ' ')"
		set -- "${stalled[@]}"
	done
}

[[ $(dpkg --print-architecture) == amd64 ]] || die "the emulated machines are amd64 only; run this on one"
ci/setup.sh kernels
wanted=("$@")
[[ $# -gt 0 ]] || wanted=(6.1 6.12)
for name in "${wanted[@]}"; do
	known=$(meta "$name")
done
# A machine that lacked no package may have no package lists either.
[[ -n $(newest "$known") ]] || run_apt update || die "the package lists could not be updated (apt's words are above)"
mkdir -p build/tools
go build -o build/tools/testlog ./ci/testlog
build
folders=()
for name in "${wanted[@]}"; do
	folder=$(bring "$name")
	pack "$folder"
	if passed_before "$folder"; then
		say "Linux $(release_of "$folder"): passed before, with the same tests, modules and qemu (FRESH=1 boots it all the same)"
	else
		folders+=("$folder")
	fi
done
[[ ${#folders[@]} -eq 0 ]] || run "${folders[@]}"
failed=0
for folder in "${folders[@]}"; do
	verdict "$folder" || failed=1
done
exit "$failed"
