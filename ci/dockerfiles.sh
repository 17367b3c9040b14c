#!/usr/bin/env bash
# dockerfiles.sh: builds deploy/images with docker build, and holds what comes out to the archives that images.sh makes
# without a daemon, which has to have made them: the same files byte by byte and the same settings. Docker's older builder
# builds for this machine, BuildKit for amd64 and arm64. The programs are run in containers, and no more of the tree is
# sent to the daemon than git has. The daemon is a private one without a network; the image that the Dockerfiles begin FROM
# is images.sh's golang.
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

readonly id=$$
machine=$(go env GOARCH)
readonly machine

# mount TO FROM ro|rw: as a container's config.json has it.
mount() { jq -n --arg to "$1" --arg from "$2" --arg how "$3" '{destination: $to, type: "bind", source: $from, options: ["rbind", $how]}'; }

# start: the daemon. Its containers have Go where Docker's own image has it, with what was downloaded and compiled before.
# The older builder comes to runc by runccaps, which looks at RUNC, BuildKit by PATH.
start() {
	local runtime
	runtime=$(docker_data "$id")/runtime
	mkdir -p "$runtime"
	ln -s "$PWD/ci/image/runc.sh" "$runtime/runc"
	MOUNTS=$({
		mount /usr/local/go "$(go env GOROOT)" ro
		mount /go/pkg/mod "$(go env GOMODCACHE)" ro
		mount /go/cache "$(go env GOCACHE)" rw
	} | jq -cs .)
	export MOUNTS
	RUNC=$runtime/runc PATH=$runtime:$PATH docker_start "$id"
	docker load --quiet --input "build/images/$machine/golang.tar" >/dev/null
}

# find_buildkit: has $buildkit be a docker that speaks BuildKit. Since Docker 23 that takes a plug-in; Debian 12's does.
find_buildkit() {
	for buildkit in docker /usr/bin/docker; do
		if DOCKER_BUILDKIT=1 "$buildkit" build --quiet - <<<'FROM scratch
			LABEL tried=yes' >/dev/null 2>&1; then
			return
		fi
	done
	die "neither docker nor /usr/bin/docker speaks BuildKit: install docker-buildx"
}

# alike BUILDER ARCH DOCKER OPTION...: every Dockerfile makes what images.sh makes.
alike() {
	local builder=$1 arch=$2 docker=$3 file name built started=$SECONDS
	shift 3
	for file in deploy/images/*.Dockerfile; do
		name=$(basename "$file" .Dockerfile)
		built=$(docker_data "$id")/$name.tar
		"$docker" build --quiet --network none --tag "$name:$builder" --file "$file" "$@" . >"$built.log" 2>&1 || {
			cat "$built.log" >&2
			die "docker build --file $file fails with $builder for $arch (its words are above)"
		}
		docker save --output "$built" "$name:$builder"
		build/tools/image -compare "$built" -with "build/images/$arch/$name.tar" ||
			die "$file makes another image with $builder than images.sh does, for $arch (above is in what; if the tree changed meanwhile, run ci/images.sh check)"
		rm "$built"
	done
	say "$arch: docker build makes the same images with $builder, $((SECONDS - started)) s"
}

# runs: every program of every image says its version in a container, as the one that was compiled outside does.
runs() {
	local file name program want said number=0
	for file in deploy/images/*.Dockerfile; do
		name=$(basename "$file" .Dockerfile)
		while read -r program; do
			want=$("build/images/$machine/out/$(basename "$program")" --version)
			said=$(docker run --rm --network none --read-only --entrypoint "$program" "$name:legacy" --version 2>&1) || said+=" and fails"
			[[ $said == "$want" ]] || die "$program of the image $name says '$said' in a container, not '$want'"
			number=$((number + 1))
		done < <(content "$name:legacy" usr/local/bin)
	done
	[[ $number -gt 0 ]] || die "the images have no programs in /usr/local/bin"
	say "$number programs run in containers without a network"
}

# content IMAGE FOLDER: the files and links that an image has in a folder, with their paths from the root.
content() {
	local container
	container=$(docker create "$1" none)
	docker export "$container" | tar --list | grep "^$2/.*[^/]$" | sed 's#^#/#'
	docker rm "$container" >/dev/null
}

# sent FOLDER: what docker build sends of a folder to the daemon, but for git's own files.
sent() {
	local said
	said=$(DOCKER_BUILDKIT=1 "$buildkit" build --quiet --tag sent --file - "$1" 2>&1 <<<'FROM scratch
		COPY . /sent/') || die "docker build fails to send $1: $said"
	content sent sent | sed 's#^/sent/##' | { grep -v '^\.git/' || true; } | sort
}

# context: what is sent is what git has, and nothing that .gitignore names: of each of its lines a file is left out.
context() {
	local work folder file
	work=$(docker_data "$id")
	sent . >"$work/sent"
	git ls-files --cached --others --exclude-standard | while read -r file; do
		if [[ -e $file ]]; then echo "$file"; fi
	done | sort >"$work/have"
	diff "$work/have" "$work/sent" ||
		die "docker build sends what git has not (>), or does not send what it has (<): look at .dockerignore"
	folder=$work/context
	mkdir "$folder"
	git init --quiet "$folder"
	cp .gitignore .dockerignore "$folder"
	sed -e 's#^/##' -e 's#\*\*/#deep/below/#' -e 's#/$#/planted#' -e 's#\*#planted#' .gitignore | while read -r file; do
		mkdir -p "$folder/$(dirname "$file")"
		echo planted >"$folder/$file"
		git -C "$folder" check-ignore --quiet "$file" || die "git does not ignore $file: look how ci/dockerfiles.sh reads .gitignore"
	done
	sent "$folder" >"$work/sent"
	printf '%s\n' .dockerignore .gitignore | diff - "$work/sent" || die "docker build sends what .gitignore names (>): add it to .dockerignore"
	say "docker build sends what git has, $(wc -l <"$work/have") files and its history"
}

# hold: all of it.
hold() {
	local arch
	find_buildkit
	context
	for arch in amd64 arm64; do
		DOCKER_BUILDKIT=1 alike BuildKit "$arch" "$buildkit" --platform "linux/$arch"
	done
	DOCKER_BUILDKIT=0 alike legacy "$machine" docker
	runs
}

[[ $(id -u) -eq 0 ]] || die "a Docker daemon needs root: run this as root"
ci/setup.sh kind
ci/kube.sh runccaps
trap 'docker_stop "$id"' EXIT
start
guarded hold
