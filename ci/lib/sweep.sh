# shellcheck shell=bash
# sweep.sh: what test programs left behind that had no time to clean up.

# sweep removes named network namespaces (weirt-WHAT-PID-...) and temporary folders (ltPID-..., internal/leaktest) of test
# programs that are gone: one that is interrupted, is killed, panics or takes too long runs none of its cleanups.
sweep() {
	local path pid
	for path in /run/netns/weirt-* "${TMPDIR:-/tmp}"/lt*; do
		pid=$(sed -nE 's/^(weirt-[a-z]+-|lt)([0-9]+)-.*$/\2/p' <<<"${path##*/}")
		[[ -e $path && -n $pid && ! -e /proc/$pid ]] || continue
		if [[ $path == /run/netns/* ]]; then
			ip netns del "${path##*/}" || true
			continue
		fi
		awk -v below="$path/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount || true
		rm -rf --one-file-system "$path"
	done
}
