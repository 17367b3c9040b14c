#!/usr/bin/env bash
# stockimage.sh: sees that kind's nodes are of kind's own image where a registry has it, and of the one made here where none
# does. The registry is one on loopback, the mirror of a private Docker daemon, and what it has as kind's image is the one
# made here. kind says the digest of its image, so the registry's is taken only where kind says that one's.
set -euo pipefail
# shellcheck source=ci/lib/guard.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/guard.sh"
hear_interrupts "$@"
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
# shellcheck source=ci/lib/wait.sh
source ci/lib/wait.sh
# shellcheck source=ci/lib/docker.sh
source ci/lib/docker.sh
# shellcheck source=ci/lib/kindnode.sh
source ci/lib/kindnode.sh

readonly id=$$ archive=build/nodeimage/node.tar
readonly address=127.0.0.1:5000 # in the daemon's own network
work=$(docker_data "$id")
readonly work

# registry_start: a registry with the node image as kind's: by the tag, by its digest, and by the digest that kind says.
registry_start() {
	local stock
	stock=$(stock_image)
	nsenter --net="/run/netns/weir-docker-$id" build/tools/image -serve "$archive" -t "${stock%@*}" -under "${stock#*@}" \
		-listen "$address" >"$work/registry" 2>"$work/registry.log" &
	registry=$!
	await 60 test -s "$work/registry" || die "the registry does not start: $(cat "$work/registry.log")"
}

# provided WANTED WHERE: which image provide_node_image decides for.
provided() {
	local image
	unset E2E_NODE_IMAGE
	provide_node_image
	image=${E2E_NODE_IMAGE:-kind\'s own}
	[[ $image == "$1"* ]] || die "where $2, nodes are of $image, not of $1"
	say "where $2: $image"
}

# decisions: all of them. The registry ends with it.
decisions() {
	local registry
	registry_start
	# shellcheck disable=SC2064 # the process of now
	trap "kill $registry 2>/dev/null || true" EXIT
	! has_stock_image || die "another image than kind's was taken, by kind's digest"
	grep -q "GET /v2/kindest/node/manifests/$(stock_image | sed 's/.*@//')" "$work/registry.log" ||
		die "the registry was not asked for kind's image: $(cat "$work/registry.log")"
	say "where a registry has another image by the digest of kind's: refused"

	made_for_registry
	provided kind "a registry has kind's image"
	[[ $(docker image inspect --format '{{.Id}}' "$(stock_image)") == $(build/tools/image -digest "$archive") ]] ||
		die "what was pulled is not what the registry has"

	kill "$registry"
	await 10 is_gone "$registry" || die "the registry does not end"
	provided kind "no registry answers, and the daemon has kind's image"
	# Its files stay, so that loading what is made of the same takes no time.
	docker image tag "$(stock_image)" kept:1
	docker image rm "$(stock_image)" >/dev/null
	provided weir-node: 'no registry answers'
}

# made_for_registry: from here on kind is one that was made for the registry's image.
made_for_registry() {
	local image=pkg/apis/config/defaults/image.go
	mkdir -p "$work/kind/$(dirname "$image")"
	sed "s/@sha256:[0-9a-f]*/@$(cut -d ' ' -f 1 "$work/registry")/" "$(kind_folder)/$image" >"$work/kind/$image"
	kind_folder() { echo "$work/kind"; }
}

[[ $(id -u) -eq 0 ]] || die "a Docker daemon needs root: run this as root"
ci/setup.sh kind
go mod download sigs.k8s.io/kind
ci/nodeimage.sh
trap 'docker_stop "$id"' EXIT
docker_start "$id" --registry-mirror "http://$address"
guarded decisions
