# shellcheck shell=bash
# guard.sh: interruptions that let the interrupted clean up.

# hear_interrupts "$@" starts the calling script anew where it was started with SIGINT ignored, as shells do for jobs in
# the background: bash cannot trap what it was born deaf to, and all that it starts inherits that. Call it first, before
# any cd.
hear_interrupts() {
	local ignored
	ignored=$(awk '/^SigIgn:/ { print $2 }' /proc/$$/status)
	if (((0x$ignored & 2) != 0)); then
		exec env --default-signal=INT bash "$0" "$@"
	fi
}

# guarded COMMAND...: runs COMMAND as a process group of its own. ^C, a TERM or a HUP reach the whole group as one SIGINT,
# which Ginkgo and weir-topo answer by cleaning up (after other tests sweep.sh does); guarded waits for that, sets
# guard_interrupted, and returns COMMAND's status.
# shellcheck disable=SC2034 # its readers are the scripts that source this
guard_interrupted=''
guarded() {
	local group status signalled=''
	set -m
	"$@" </dev/null &
	group=$!
	set +m
	# shellcheck disable=SC2064 # the group of now
	trap "signalled=yes guard_interrupted=yes; kill -INT -- -$group 2>/dev/null || true" INT TERM HUP
	# A trapped signal ends wait before the command has ended.
	while :; do
		status=0
		wait "$group" || status=$?
		[[ -n $signalled ]] || break
		signalled=''
	done
	trap - INT TERM HUP
	return "$status"
}
