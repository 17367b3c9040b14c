#!/usr/bin/env bash
# nodeimage.sh: makes kind's node image out of Debian packages and Go modules alone, for machines that no registry can be
# reached from, as the archive build/nodeimage/node.tar (docker load reads it). 10 to 15 minutes on two cores the first
# time; nothing is done where nothing changed that it is made of.
set -euo pipefail
# shellcheck source=ci/lib/guard.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/guard.sh"
hear_interrupts "$@"
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh
# shellcheck source=ci/lib/wait.sh
source ci/lib/wait.sh
# shellcheck source=ci/lib/kindnode.sh
source ci/lib/kindnode.sh

readonly store=$PWD/build/nodeimage
readonly programs=build/kube
readonly kubernetes=v1.34.4 # kubeadm asks for images of its own version

# What a node has of Debian: kind's own list, less what only other snapshotters and storage need.
readonly packages=(bash ca-certificates conntrack curl dbus ethtool iproute2 iptables iputils-ping jq kmod libseccomp2 mount
	nftables pigz procps socat systemd util-linux)

# hash_of is the hash of what is piped in.
hash_of() { sha256sum | cut -d ' ' -f 1; }
files_in() { find "$@" -type f -print0 | sort -z | xargs -0 sha256sum; }

# fresh NAME HASH: whether NAME was made of what HASH is of.
fresh() { [[ $(cat "$store/.$1" 2>/dev/null) == "$2" ]]; }
mark() { echo "$2" >"$store/.$1"; }

# make_root: Debian with systemd, arranged as kind's base image is, as the folder root.
make_root() {
	local root=$store/root hash
	hash=$({ echo "${packages[@]}" && declare -f make_root && grep sigs.k8s.io/kind go.mod; } | hash_of)
	if fresh root "$hash"; then return; fi
	say "unpacking Debian (a minute or two)"
	rm -rf "$root"
	nice debootstrap --variant=minbase --include="$(paste -s -d , <<<"$(printf '%s\n' "${packages[@]}")")" \
		bookworm "$root" "$(mirror)" >"$store/debootstrap.log" 2>&1 ||
		die "debootstrap failed; its words are in build/nodeimage/debootstrap.log"
	go mod download sigs.k8s.io/kind
	cp -rT --no-preserve=mode "$(kind_folder)/images/base/files" "$root"
	chmod 755 "$root"/usr/local/bin/{entrypoint,clean-install} "$root"/kind/bin/*.sh
	chroot "$root" bash -euc '
		# As in kind'"'"'s base image: nothing of systemd that a container cannot have.
		find /lib/systemd/system/sysinit.target.wants -name systemd-tmpfiles-setup.service -delete
		rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
			/lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
			/lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
		echo ReadKMsg=no >>/etc/systemd/journald.conf
		ln -sf /usr/lib/systemd/systemd /sbin/init
		systemctl enable --quiet kubelet.service containerd.service undo-mount-hacks.service
		systemctl mask --quiet systemd-binfmt.service
		mkdir -p /etc/kubernetes/manifests /opt/cni/bin
		rm -rf /var/cache/apt/* /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*'
	mark root "$hash"
}

# mirror prints the archive that this machine's apt uses.
# shellcheck disable=SC2016 # apt-get fills in REPO_URI
mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1; }

# pack NAME:TAG, with a Dockerfile piped in: makes one of the images that a node runs.
pack() {
	local archive=${1##*/}
	build/tools/image -f - -context "$programs" -from "root=$store/userland" -t "$1" -o "$store/images/${archive%:*}.tar"
	echo "${archive%:*}" >>"$store/images/list"
}

# make_images: what kubeadm asks for, under its names.
make_images() {
	rm -rf "$store/images"
	mkdir -p "$store/images"
	local part
	for part in kube-apiserver kube-controller-manager kube-scheduler; do
		pack "registry.k8s.io/$part:$kubernetes" <<<"FROM scratch
			COPY $part /usr/local/bin/"
	done
	make_userland
	pack "registry.k8s.io/kube-proxy:$kubernetes" <<<'FROM scratch
		COPY --from=root . /
		COPY kube-proxy /usr/local/bin/'
	pack registry.k8s.io/etcd:3.6.5-0 <<<'FROM scratch
		COPY etcd etcdctl /usr/local/bin/'
	pack registry.k8s.io/pause:3.10 <<<'FROM scratch
		COPY pause /
		ENTRYPOINT ["/pause"]'
	pack registry.k8s.io/coredns/coredns:v1.12.1 <<<'FROM scratch
		COPY coredns /
		ENTRYPOINT ["/coredns"]'
}

# make_userland: iptables, nft and conntrack with the libraries that they and iptables' plugins need, for kube-proxy.
make_userland() {
	local root=$store/root to=$store/userland libraries file
	libraries=usr/lib/$(uname -m)-linux-gnu
	rm -rf "$to"
	mkdir -p "$to/usr/sbin" "$to/$libraries"
	cp "$root"/usr/sbin/{nft,xtables-nft-multi,conntrack} "$to/usr/sbin/"
	cp -r "$root/$libraries/xtables" "$to/$libraries/"
	for file in iptables ip6tables; do
		ln -s xtables-nft-multi "$to/usr/sbin/$file"
		ln -s xtables-nft-multi "$to/usr/sbin/$file-save"
		ln -s xtables-nft-multi "$to/usr/sbin/$file-restore"
	done
	(cd "$to" && find usr/sbin "$libraries/xtables" -type f) | while read -r file; do
		chroot "$root" ldd "/$file" 2>/dev/null | grep -oE '/[^ :]+\.so[^ :]*' || true
	done | sort -u | while read -r file; do
		mkdir -p "$to$(dirname "$file")"
		cp -L "$root$file" "$to$file"
	done
}

# make_node: the folder node, that is root with Kubernetes in it.
make_node() {
	local node=$store/node
	rm -rf "$node"
	cp -a "$store/root" "$node"
	install -m 755 "$programs"/{kubelet,kubeadm,kubectl} "$node/usr/bin/"
	install -m 755 "$programs"/{containerd,containerd-shim-runc-v2,ctr} "$node/usr/local/bin/"
	install -m 755 "$(command -v runc)" "$node/usr/local/sbin/runc"
	install -m 755 ci/nodeimage/files/crictl.sh "$node/usr/local/bin/crictl"
	install -m 755 -D -t "$node/opt/cni/bin" "$programs"/{host-local,loopback,portmap}
	install -m 644 -D -t "$node/kind/manifests" ci/nodeimage/files/*.yaml
	printf %s "$kubernetes" >"$node/kind/version"
	# A machine may lack CAP_SYS_RESOURCE, without which no score can be lowered.
	sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$node/etc/containerd/config.toml"
	"$programs/ctr" oci spec | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] |
		del(.process.rlimits)' >"$node/etc/containerd/cri-base.json"
}

# preload unpacks the images into the node, by a containerd whose root is the node's.
preload() {
	local state ctr image daemon status=0
	state=$(mktemp -d /run/weir-preload-XXXXXX)
	sed -e "s#@ROOT@#$store/node#" -e "s#@STATE@#$state#" ci/nodeimage/preload.toml >"$state/config.toml"
	"$programs/containerd" -c "$state/config.toml" >"$store/preload.log" 2>&1 &
	daemon=$!
	# shellcheck disable=SC2064 # the daemon and the folder of now
	trap "kill $daemon 2>/dev/null || true; wait $daemon || true; rm -rf '$state'" EXIT
	ctr=("$programs/ctr" --address "$state/sock" --namespace k8s.io)
	await 60 "${ctr[@]}" version ||
		die "containerd does not answer; its words are in build/nodeimage/preload.log"
	while read -r image; do
		"${ctr[@]}" images import --local --discard-unpacked-layers --snapshotter overlayfs "$store/images/$image.tar" >/dev/null || status=1
	done <"$store/images/list"
	kill "$daemon"
	wait "$daemon" || true
	rm -rf "$state"
	trap - EXIT
	[[ $status -eq 0 ]] || die "an image could not be unpacked (ctr's words are above; containerd's in build/nodeimage/preload.log)"
}

[[ $(id -u) -eq 0 ]] || die "debootstrap and containerd need root: run this as root"
ci/setup.sh kind
ci/kube.sh
mkdir -p "$store" build/tools
(cd ci/image && go build -trimpath -o ../../build/tools/image .)
make_root
hash=$({ files_in ci/nodeimage ci/nodeimage.sh ci/image && cat "$store/.root" "$programs"/.[a-z]*; } | hash_of)
if fresh node "$hash" && [[ -e $store/node.tar ]]; then
	say "build/nodeimage/node.tar is up to date"
	exit
fi
say "packing the images of a node"
make_images
make_node
preload
say "packing the node"
tar --create --numeric-owner --xattrs --sort=name --directory "$store/node" --file "$store/root.tar" .
# Another copy's may be another image in a daemon that both use.
name=weir-node:$kubernetes-${hash:0:12}
build/tools/image -f ci/nodeimage/node.Dockerfile -context "$store" -t "$name" -o "$store/node.tar"
# What only the archive is made of is 2 GB.
rm -rf "$store/node" "$store/root.tar" "$store/images" "$store/userland"
mark node "$hash"
say "build/nodeimage/node.tar: $name, $(du -h "$store/node.tar" | cut -f 1), $SECONDS s"
