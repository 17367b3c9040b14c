#!/usr/bin/env bash
# images.sh [ARCH...]: makes the images of deploy/images without a daemon, as archives for docker load, ctr images import
# and kind: build/images/ARCH/{weir,kube-weir,weir-topo}.tar, for amd64, arm64, or this machine. The Dockerfiles make the
# same images with docker build.
# images.sh client: makes build/images/ARCH/client.tar, the machine outside of the kind suite's cluster, out of this
# machine's BIRD.
# images.sh programs ARCH: compiles what goes into them into build/images/ARCH/out; the Dockerfiles call it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh

readonly registry=ghcr.io/weir-lb

# programs ARCH: static, without symbols and paths of this machine.
programs() {
	local out=build/images/$1/out version
	case $1 in amd64 | arm64) ;; *) die "no architecture '$1'; the architectures are amd64 arm64" ;; esac
	version=$(git describe --tags --always --dirty 2>/dev/null || echo unknown)
	mkdir -p "$out"
	GOARCH=$1 go build -trimpath -ldflags "-s -w -X github.com/weir-lb/weir/cmd/internal/version.stamp=$version" \
		-o "$out/" ./cmd/... github.com/osrg/gobgp/v4/cmd/gobgp
}

# archives ARCH
archives() {
	local file name
	programs "$1"
	for file in deploy/images/*.Dockerfile; do
		name=$(basename "$file" .Dockerfile)
		build/tools/image -f "$file" -from "build=build/images/$1" -arch "$1" -t "$registry/$name:latest" \
			-o "build/images/$1/$name.tar"
	done
}

# client: BIRD, ip and a few more with their libraries, and weir-topo to ask with. It waits for what is to be run in it.
client() {
	local arch to file
	local -r commands=(bird birdc ip tcpdump dd cat)
	arch=$(go env GOARCH)
	to=build/images/$arch/client
	rm -rf "$to"
	mkdir -p "$to"/{bin,etc,run,tmp}
	for file in "${commands[@]}"; do
		cp -L "$(command -v "$file")" "$to/bin/"
		ldd "$(command -v "$file")" | grep -oE '/[^ :]+\.so[^ :]*'
	done | sort -u | while read -r file; do
		mkdir -p "$to$(dirname "$file")"
		cp -L "$file" "$to$file"
	done
	cp "build/images/$arch/out/weir-topo" "$to/bin/"
	build/tools/image -f - -context "build/images/$arch" -t localhost/weir-client:latest -o "build/images/$arch/client.tar" <<-'END'
		FROM scratch
		COPY client /
		ENV PATH=/bin
		ENTRYPOINT ["cat"]
	END
	rm -rf "$to"
}

ci/setup.sh build
if [[ ${1:-} == programs ]]; then
	programs "${2:?name an architecture}"
	exit
fi
mkdir -p build/tools
(cd ci/image && go build -trimpath -o ../../build/tools/image .)
if [[ ${1:-} == client ]]; then
	archives "$(go env GOARCH)"
	client
	exit
fi
[[ $# -gt 0 ]] || set -- "$(go env GOARCH)"
for arch in "$@"; do
	archives "$arch"
done
