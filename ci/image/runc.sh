#!/usr/bin/env bash
# runc.sh: an OCI runtime, that is runc, whose containers see more of this machine: MOUNTS in the environment is a list as
# in a container's config.json. dockerfiles.sh gives Go and its caches to docker build so, which has no option for it.
set -euo pipefail

bundle=''
before=''
for word in "$@"; do
	case $before in --bundle | -b) bundle=$word ;; esac
	before=$word
done
if [[ -e $bundle/config.json ]]; then
	config=$(jq --argjson more "$MOUNTS" '.mounts += $more' "$bundle/config.json")
	printf '%s\n' "$config" >"$bundle/config.json"
fi
exec /usr/sbin/runc "$@"
