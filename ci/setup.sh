#!/usr/bin/env bash
# setup.sh GROUP...: installs what the named groups lack on Debian 12 (Ubuntu should work), one line for each thing it
# does. Where nothing lacks it says nothing, changes nothing and needs no rights.
#
#   build      what compiles the programs
#   demo       what a topology of namespaces needs at run time
#   test       demo, and what the article's scenario needs
#   e2e        test, and the other vendors' daemons and traffic tools of the wider scenarios
#   bench      demo, and what weir is measured beside and by
#   bpf        what regenerates the BPF objects (they are committed: only a change of bpf/ needs this)
#   lint       what lint.sh runs
#   race       a C compiler, for the race detector
#   kernels    qemu and what takes Debian's kernels apart
#   kind       docker, and what makes a node image without a registry
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
# shellcheck source=ci/lib/apt.sh
source ci/lib/apt.sh
# shellcheck source=ci/lib/go.sh
source ci/lib/go.sh

readonly groups='build demo test e2e bench bpf lint race kernels kind'

packages_of() {
	case $1 in
	build) echo ca-certificates git make && go_package ;;
	demo) echo iproute2 iptables ethtool bird2 tcpdump procps curl iputils-ping ;;
	test) packages_of demo ;;
	e2e) packages_of test && echo bpftool frr gobgpd iperf3 tshark ;;
	bench) packages_of demo && echo nftables haproxy nginx wrk iperf3 ;;
	bpf) echo clang-19 llvm-19 libbpf-dev linux-libc-dev ;;
	lint) echo clang-format-19 ruby shellcheck ;;
	race) echo gcc libc6-dev ;;
	kernels) echo qemu-system-x86 cpio kmod xz-utils ;;
	kind) echo docker.io containerd runc iptables iproute2 debootstrap jq pigz ;;
	*) die "no group '$1'; the groups are $groups" ;;
	esac
}

[[ $# -gt 0 ]] || die "name a group: $groups"
wanted=()
for group in build "$@"; do
	names=$(packages_of "$group")
	# shellcheck disable=SC2206 # package names are words
	wanted+=($names)
done

require_debian "${wanted[@]}"
install_packages "${wanted[@]}"
provide_go
