# shellcheck shell=bash
# k3s.sh: what the machines' scripts share.

readonly version=v1.34.1+k3s1
readonly first=192.168.80.10

# Only these machines see the network that it is used on.
readonly token=the-article-s-cluster

# own_address prints this machine's address in the node network.
own_address() { ip -4 -o address show | awk '{ sub("/.*", "", $4); if ($4 ~ /^192\.168\.80\./) print $4 }'; }

# node_device prints the interface that has it.
node_device() { ip -4 -o address show | awk '$4 ~ /^192\.168\.80\./ { print $2 }'; }

# import_images gives K3s the images that were made beside the manifests.
import_images() {
	local image
	mkdir -p /var/lib/rancher/k3s/agent/images
	for image in /deploy/images/*.tar; do
		[[ ! -e $image ]] || cp "$image" /var/lib/rancher/k3s/agent/images/
	done
}

# Servers leave load balancers to weir, and pods to the workers.
readonly server=(server --disable traefik --disable servicelb --node-taint node-role.kubernetes.io/control-plane=true:NoSchedule)

# install_k3s first|server|agent: runs K3s's own installer.
install_k3s() {
	local arguments
	case $1 in
	first) arguments=("${server[@]}" --cluster-init --tls-san "$first") ;;
	server) arguments=("${server[@]}" --server "https://$first:6443") ;;
	agent) arguments=(agent --server "https://$first:6443") ;;
	esac
	import_images
	command -v curl >/dev/null || { apt-get update -qq && apt-get install -y -qq curl; }
	curl -sfL https://get.k3s.io | INSTALL_K3S_VERSION=$version K3S_TOKEN=$token sh -s - \
		"${arguments[@]}" --node-ip "$(own_address)" --flannel-iface "$(node_device)"
}
