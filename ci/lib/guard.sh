# shellcheck shell=bash
# guard.sh: interruptions that let the interrupted clean up.

# guarded COMMAND...: runs COMMAND as a process group of its own. ^C, a TERM or a HUP reach the whole group as one SIGINT,
# which go test, Ginkgo and weir-topo answer by cleaning up; guarded waits for that and returns COMMAND's status.
guarded() {
	local group status
	set -m
	"$@" </dev/null &
	group=$!
	set +m
	# shellcheck disable=SC2064 # the group of now
	trap "kill -INT -- -$group 2>/dev/null || true" INT TERM HUP
	# A trapped signal ends wait early, with the command still running.
	while :; do
		status=0
		wait "$group" || status=$?
		kill -0 "$group" 2>/dev/null || break
	done
	trap - INT TERM HUP
	return "$status"
}
