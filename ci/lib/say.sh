# shellcheck shell=bash
# say.sh: how the scripts speak. One line a thing done; an error names what to do.

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }

die() {
	printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
	exit 1
}
