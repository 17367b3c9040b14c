#!/usr/bin/env bash
# images.sh [ARCH...]: makes the images of deploy/images without a daemon, as archives for docker load, ctr images import
# and kind: build/images/ARCH/{weir,kube-weir,weir-topo}.tar, for amd64, arm64, or this machine. The Dockerfiles make the
# same images with docker build, for another architecture than the machine's with BuildKit.
# images.sh kind: makes those of this machine, and what else the kind suite's cluster has: build/images/ARCH/client.tar, the
# machine outside, out of this machine's BIRD, and flannel.tar with kube-flannel.yml, the network of its pods.
# images.sh check: makes those of amd64 and arm64, and holds them to what they have to be: nothing but static programs of
# their architecture, kube-weir not root's, none bigger than below; and docker build to the same images (dockerfiles.sh).
# images.sh programs [ARCH]: compiles what goes into them into build/images/ARCH/out; the Dockerfiles call it.
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

# check ARCH. The sizes are what the archives had when this was written and 15 % more: a program that grows past that
# should have a reason.
check() {
	local name user most
	while read -r name user most; do
		build/tools/image -check "build/images/$1/$name.tar" -arch "$1" -user "${user#root}" -most "${most}000000"
		say "$1/$name: $(stat --format %s "build/images/$1/$name.tar" | numfmt --to=si) of $most MB, static"
	done <<-'END'
		weir root 65
		kube-weir 65532:65532 82
		weir-topo root 16
	END
}

# programs_into FOLDER COMMAND...: programs of this machine with the libraries that they need.
programs_into() {
	local to=$1 file
	shift
	rm -rf "$to"
	mkdir -p "$to/bin"
	for file in "$@"; do
		cp -L "$(command -v "$file")" "$to/bin/"
		libraries_into "$to" "$(command -v "$file")"
	done
}

# libraries_into FOLDER FILE...: the libraries that programs, or libraries, need.
libraries_into() {
	local to=$1 file
	shift
	ldd "$@" | grep -oE '/[^ :]+\.so[^ :]*' | sort -u | while read -r file; do
		mkdir -p "$to$(dirname "$file")"
		cp -L "$file" "$to$file"
	done
}

# client: BIRD, ip and a few more, and weir-topo to ask with. It waits for what is to be run in it. Its tag is of what it
# holds, so that the client of another copy is another image in a daemon that both use.
client() {
	local arch to tag
	arch=$(go env GOARCH)
	to=build/images/$arch/client
	programs_into "$to" bird birdc ip tcpdump dd cat
	mkdir -p "$to"/{etc,run,tmp}
	cp "build/images/$arch/out/weir-topo" "$to/bin/"
	tag=$({ declare -f client && cd "$to" && find . -type f -print0 | sort -z | xargs -0 sha256sum; } | sha256sum | cut -c -12)
	build/tools/image -f - -context "build/images/$arch" -t "localhost/weir-client:$tag" -o "build/images/$arch/client.tar" <<-'END'
		FROM scratch
		COPY client /
		ENV PATH=/bin
		ENTRYPOINT ["cat"]
	END
	rm -rf "$to"
}

# flannel: the daemon and what installs it on a node, by the paths that flannel's own manifest names, and that manifest.
flannel() {
	local to plugins
	to=build/images/$(go env GOARCH)
	plugins=/usr/lib/$(uname -m)-linux-gnu/xtables
	ci/kube.sh flanneld install-conf flannel bridge
	programs_into "$to/flannel" cp ip{,6}tables{,-save,-restore}
	mkdir -p "$to/flannel$plugins"
	cp "$plugins"/*.so "$to/flannel$plugins/"
	libraries_into "$to/flannel" "$plugins"/*.so
	cp build/kube/{flannel,bridge} "$to/flannel/"
	build/tools/image -f - -context "$to" -from programs=build/kube -t localhost/flannel:1 -o "$to/flannel.tar" <<-'END'
		FROM scratch
		COPY flannel /
		COPY --from=programs flanneld install-conf /opt/bin/
		ENV PATH=/bin
	END
	rm -rf "$to/flannel"
	install -m 644 "$(cd ci/nodeimage/flannel && go list -m -f '{{.Dir}}' github.com/flannel-io/flannel)/Documentation/kube-flannel.yml" "$to/"
}

# base: the image that the Dockerfiles' builds begin FROM.
base() { sed -n 's/^FROM .*\(golang:[^ ]*\) AS build$/\1/p' deploy/images/*.Dockerfile | sort -u; }

# golang: stands in for that image. It is Debian with these packages and no more of it than a build of weir's runs, so that
# a build that comes to need more fails; Go and its caches are given to each container by ci/image/runc.sh.
golang() {
	local to package
	to=build/images/$(go env GOARCH)
	programs_into "$to/golang" sh bash env apt-get dpkg-query git awk basename comm cut dirname id mkdir mv rm ln sort tail
	mkdir -p "$to"/golang/{etc,go,root,tmp,usr/local} "$to"/golang/var/lib/dpkg/{info,updates}
	ln -s ../bin "$to/golang/usr/bin"
	echo root:x:0:0:root:/root:/bin/bash >"$to/golang/etc/passwd"
	for package in ca-certificates git make; do
		dpkg-query --status "$package"
		echo
	done >"$to/golang/var/lib/dpkg/status"
	build/tools/image -f - -context "$to" -t "$(base)" -o "$to/golang.tar" <<-'END'
		FROM scratch
		COPY golang /
		ENV GOPATH=/go GOCACHE=/go/cache GOTOOLCHAIN=local
		ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
		WORKDIR /go
	END
	rm -rf "$to/golang"
}

ci/setup.sh build
if [[ ${1:-} == programs ]]; then
	programs "${2:-$(go env GOARCH)}"
	exit
fi
mkdir -p build/tools
(cd ci/image && go build -trimpath -o ../../build/tools/image .)
if [[ ${1:-} == kind ]]; then
	archives "$(go env GOARCH)"
	client
	flannel
	exit
fi
if [[ ${1:-} == check ]]; then
	for arch in amd64 arm64; do
		archives "$arch"
		check "$arch"
	done
	golang
	exec ci/dockerfiles.sh
fi
[[ $# -gt 0 ]] || set -- "$(go env GOARCH)"
for arch in "$@"; do
	archives "$arch"
done
