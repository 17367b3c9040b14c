# shellcheck shell=bash
# wait.sh: waiting for what another process does.

# await SECONDS COMMAND...: runs COMMAND until it succeeds, for so long at most.
await() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[[ $SECONDS -lt $deadline ]] || return 1
		# A pipe in which nothing ever comes: a fifth of a second.
		read -rt 0.2 <> <(:) || true
	done
}
