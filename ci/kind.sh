#!/usr/bin/env bash
# kind.sh run COMMAND...: runs COMMAND where kind can make clusters: with a Docker daemon, the node image, weir's images,
#                        and nothing of them left when it ends.
# kind.sh up:            makes a cluster with weir and the article's services in it, and leaves it standing.
# kind.sh down:          removes it.
#
# A Docker daemon that runs is used, with kind's own node image where the registry answers or E2E_NODE_IMAGE names one.
# Where none runs, a private one is started, with the node image that nodeimage.sh makes.
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

# The cluster that up leaves standing; it is one a clone.
readonly standing=build/kind/standing

# prepare: builds what a cluster is made of and has a daemon with it. Where none runs, the private daemon $id is started.
prepare() {
	[[ $(id -u) -eq 0 ]] || die "nodes load BPF, and the suite's checks need root: run this as root"
	ci/setup.sh e2e kind
	go mod download sigs.k8s.io/kind
	ci/images.sh kind
	if docker_answers; then
		private=no
		provide_node_image
		return
	fi
	private=yes
	ci/nodeimage.sh
	# Whatever fails from here on, the daemon goes.
	trap 'docker_stop "$id"' EXIT
	say "starting a Docker daemon"
	docker_start "$id"
	load_own_image
}

run() {
	local status=0
	prepare
	guarded "$@" || status=$?
	return "$status"
}

up() {
	[[ ! -e $standing ]] || die "a cluster is standing already: make kind-down removes it"
	ci/build.sh
	prepare
	mkdir -p build/kind
	echo "$id $private" >"$standing"
	if ! guarded go run ./scenarios/kind/up -name "weir-$id" -dir "build/kind/$id"; then
		down
		die "the cluster did not come up (the words above say why); it was removed"
	fi
	trap - EXIT
	if [[ $private == yes ]]; then
		printf '\nIts Docker daemon is its own: first\n  export DOCKER_HOST=%s\n' "$DOCKER_HOST"
	fi
	printf '\nmake kind-down removes it.\n'
}

down() {
	[[ -e $standing ]] || die "no cluster of this clone is standing"
	read -r id private <"$standing"
	if [[ $private == yes ]]; then
		docker_use "$id"
	fi
	if docker_answers; then
		go run ./scenarios/kind/up -down -name "weir-$id" -dir "build/kind/$id"
	fi
	if [[ $private == yes ]]; then
		docker_stop "$id"
	fi
	rm -rf "$standing" "build/kind/$id"
}

id=$$
case ${1:-} in
run)
	shift
	run "$@"
	;;
up) up ;;
down) down ;;
*) die "say 'run COMMAND...', 'up' or 'down'" ;;
esac
