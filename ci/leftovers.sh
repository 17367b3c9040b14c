#!/usr/bin/env bash
# leftovers.sh snapshot FILE: writes down what of weir's kind is on this machine now.
# leftovers.sh compare FILE:  fails if something came since that is still there: namespaces, links, routes, iptables rules,
#                             mounts, BPF pins and programs, processes, files, sysctls.
#
# Processes are known by WEIR_RUN in their environment, which .ci/run sets. Where another copy of weir is running beside
# this one, the rest cannot be told from that copy's, and is shown but not judged.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh

readonly daemons='weir|kube-weir|weir-topo|bird|zebra|bgpd|bfdd|staticd|gobgpd|iperf3|tcpdump|tshark|dumpcap|nginx|haproxy'

namespaces() { ip netns list 2>/dev/null | awk '{ print "namespace", $1 }'; }
links() { ip -o link show 2>/dev/null | awk -F ': ' '{ sub(/@.*/, "", $2); print "link", $2 }'; }
routes() {
	local proto
	for proto in bgp bird zebra; do
		ip -o route show table all proto "$proto" 2>/dev/null | sed 's/^/route /'
	done
}
rules() {
	local save
	for save in iptables-nft-save iptables-legacy-save; do
		command -v "$save" >/dev/null || continue
		"$save" 2>/dev/null | grep -E '^-A' | sed "s/^/rule ($save) /" || true
	done
}
mounts() { awk '$0 ~ / - bpf | \/[^ ]*weir/ { print "mount", $5 }' /proc/self/mountinfo; }
pins() {
	local folder
	awk '/ - bpf / { print $5 }' /proc/self/mountinfo | while read -r folder; do
		find "$folder" -mindepth 1 2>/dev/null | sed 's/^/pin /'
	done
}
programs() {
	command -v bpftool >/dev/null || die "bpftool is missing: run ci/setup.sh e2e"
	bpftool prog list 2>/dev/null | awk '$1 ~ /^[0-9]+:$/ && /name weir/ { print "program", $1, $0 }' |
		sed -E 's/^program ([0-9]+): .* name ([^ ]+).*/program \1 \2/'
}
files() {
	local path
	for path in /run/weir* /var/run/netns/weir* /tmp/weir* /tmp/lt[0-9]*-* /var/tmp/weir* /var/lib/weir* /dev/shm/weir*; do
		[[ -e $path ]] && echo "file $path"
	done
	return 0
}
settings() {
	local path
	for path in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/{all,default}/{rp_filter,forwarding} \
		/proc/sys/net/core/bpf_jit_enable /proc/sys/kernel/core_pattern; do
		[[ -r $path ]] && echo "setting $path=$(<"$path")"
	done
	return 0
}

snapshot() { { namespaces && links && routes && rules && mounts && pins && programs && files && settings; } | sort -u; }

# ours lists the processes of this run that still live, without this script and those it was called by.
ours() {
	[[ -n ${WEIR_RUN:-} ]] || return 0
	local folder pid callers=" " parent=$$
	while [[ $parent -gt 1 ]]; do
		callers+="$parent "
		parent=$(awk '/^PPid:/ { print $2 }' "/proc/$parent/status")
	done
	for folder in /proc/[0-9]*; do
		pid=${folder#/proc/}
		[[ $callers != *" $pid "* && $(process_parent "$pid") != "$$" ]] || continue
		if has_run_mark "$pid"; then
			printf 'process %s %s\n' "$pid" "$(tr '\0' ' ' <"$folder/cmdline" 2>/dev/null)"
		fi
	done
}
process_parent() { awk '/^PPid:/ { print $2 }' "/proc/$1/status" 2>/dev/null || true; }
has_run_mark() { grep -qzx "WEIR_RUN=${WEIR_RUN:-}" "/proc/$1/environ" 2>/dev/null; }

# another_copy_runs says whether a daemon of weir's kind lives that is not of this run.
another_copy_runs() {
	local comm pid
	while read -r comm; do
		pid=${comm//[^0-9]/}
		has_run_mark "$pid" || return 0
	done < <(grep -slxE "$daemons" /proc/[0-9]*/comm || true)
	return 1
}

compare() {
	local before=$1 left new
	left=$(ours)
	new=$(comm -13 "$before" <(snapshot))
	if [[ -n $left ]]; then
		printf '%s\n' "$left"
		die "these processes were left running: whatever started them must end them"
	fi
	if [[ -z $new ]]; then
		say "nothing was left behind"
		return
	fi
	printf '%s\n' "$new"
	if another_copy_runs; then
		say "another copy of weir is running: what came since (above) may be that copy's, and is not judged"
		return
	fi
	die "these were left behind: whatever made them must remove them"
}

case ${1:-} in
snapshot) snapshot >"${2:?name a file}" ;;
compare) compare "${2:?name a file}" ;;
*) die "say 'snapshot FILE' or 'compare FILE'" ;;
esac
