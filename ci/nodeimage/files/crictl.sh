#!/bin/bash
# crictl cannot be had as a Go module. kind asks it two things, which ctr answers as well: does the node have an image,
# and which images does it have.
set -euo pipefail

images() { ctr --namespace k8s.io images "$@"; }

case ${1:-} in
inspecti)
	name=$2
	for full in "$name" "docker.io/$name" "docker.io/library/$name"; do
		id=$(images list | awk -v name="$full" '$1 == name { print $3; exit }')
		if [[ -n $id ]]; then
			printf '{"status":{"id":"%s","repoTags":["%s"]}}\n' "$id" "$name"
			exit
		fi
	done
	echo "no such image \"$name\"" >&2
	exit 1
	;;
images) images list ;;
*)
	echo "crictl: only inspecti and images are served on this node" >&2
	exit 1
	;;
esac
