#!/usr/bin/env bash
# kube.sh [PROGRAM...]: compiles what a Kubernetes node is made of, out of Go modules alone, into build/kube: all of it, or
# the programs named. A program is compiled anew only when something changed that it is made of.
#
#   ci/kube.sh kube-apiserver etcd kubectl   what a test against a real API server needs (KUBEBUILDER_ASSETS=build/kube)
#
# The first time takes minutes a program on two cores (a Kubernetes program is 2 000 packages); they share Go's cache.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/say.sh
source ci/lib/say.sh

readonly out=build/kube

# Each program's module (a folder of ci/nodeimage) and package.
readonly kubernetes=k8s.io/kubernetes/cmd
readonly containerd=github.com/containerd/containerd/v2
readonly flannel=github.com/flannel-io/flannel
readonly plugins=github.com/containernetworking/plugins/plugins
readonly own=github.com/weir-lb/weir/ci/nodeimage
readonly -A source_of=(
	[kube-apiserver]="kube $kubernetes/kube-apiserver"
	[kube-controller-manager]="kube $kubernetes/kube-controller-manager"
	[kube-scheduler]="kube $kubernetes/kube-scheduler"
	[kube-proxy]="kube $kubernetes/kube-proxy"
	[kubelet]="kube $kubernetes/kubelet"
	[kubeadm]="kube $kubernetes/kubeadm"
	[kubectl]="kube $kubernetes/kubectl"
	[etcd]="etcd go.etcd.io/etcd/server/v3"
	[etcdctl]="etcd go.etcd.io/etcd/etcdctl/v3"
	[containerd]="containerd $containerd/cmd/containerd"
	[containerd-shim-runc-v2]="containerd $containerd/cmd/containerd-shim-runc-v2"
	[ctr]="containerd $containerd/cmd/ctr"
	[host-local]="cni $plugins/ipam/host-local"
	[loopback]="cni $plugins/main/loopback"
	[bridge]="cni $plugins/main/bridge"
	[portmap]="cni $plugins/meta/portmap"
	[coredns]="coredns $own/coredns"
	[flanneld]="flannel $flannel"
	[install-conf]="flannel $flannel/cmd/install_conf"
	[flannel]="flannel-cni $plugins/meta/flannel"
	[pause]="node $own/node/pause"
	[runccaps]="node $own/node/runccaps"
)

# version_in FOLDER MODULE: the version that a folder's go.mod names.
version_in() { awk -v module="$2" '$1 == module { print $2; exit }' "ci/nodeimage/$1/go.mod"; }

# linker_flags FOLDER: what makes the programs say their version; kubeadm refuses to work without.
linker_flags() {
	local version minor
	printf -- '-s -w'
	case $1 in
	kube)
		version=$(version_in kube k8s.io/kubernetes)
		minor=${version#v1.}
		minor=${minor%%.*}
		for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
			printf -- ' -X %s.%s' "$package" "gitVersion=$version" "$package" gitMajor=1 "$package" "gitMinor=$minor" \
				"$package" gitTreeState=clean "$package" buildDate=1970-01-01T00:00:00Z
		done
		;;
	# A part of it is in C, and its image has no library.
	flannel) printf -- ' -extldflags=-static -X %s/pkg/version.Version=%s' "$flannel" "$(version_in flannel "$flannel")" ;;
	containerd) printf -- ' -X %s/version.Version=%s' "$containerd" "$(version_in containerd "$containerd")" ;;
	esac
}

# made_of FOLDER: a hash of all that a folder's programs are made of.
made_of() {
	{
		go version
		sha256sum ci/kube.sh
		find "ci/nodeimage/$1" -type f \( -name '*.go' -o -name 'go.*' \) -print0 | sort -z | xargs -0 sha256sum
	} | sha256sum | cut -d ' ' -f 1
}

# compile PROGRAM
compile() {
	local program=$1 folder package hash cgo=0 tags='no_aufs no_zfs no_btrfs no_devmapper' started=$SECONDS
	read -r folder package <<<"${source_of[$program]}"
	hash=$(made_of "$folder")
	if [[ -x $out/$program && $(cat "$out/.$program" 2>/dev/null) == "$hash" ]]; then
		return
	fi
	say "compiling $program (minutes the first time)"
	rm -f "$out/.$program"
	if [[ $program == flanneld ]]; then
		ci/setup.sh race
		cgo=1 tags='netgo osusergo'
	fi
	(cd "ci/nodeimage/$folder" && CGO_ENABLED=$cgo go build -trimpath -tags "$tags" \
		-ldflags "$(cd ../../.. && linker_flags "$folder")" -o "../../../$out/$program" "$package") ||
		die "$program did not compile (the words above say why): repair ci/nodeimage/$folder, or run this again if a download failed"
	echo "$hash" >"$out/.$program"
	say "$program: $((SECONDS - started)) s"
}

ci/setup.sh build
mapfile -t all < <(printf '%s\n' "${!source_of[@]}" | sort)
wanted=("$@")
[[ $# -gt 0 ]] || wanted=("${all[@]}")
for program in "${wanted[@]}"; do
	[[ -n ${source_of[$program]:-} ]] || die "no program '$program'; the programs are ${all[*]}"
done
mkdir -p "$out"
for program in "${wanted[@]}"; do
	compile "$program"
done
