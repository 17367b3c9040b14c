# shellcheck shell=bash
# kindnode.sh: which node image kind's nodes are of: the one that E2E_NODE_IMAGE names, else kind's own where a registry has
# it, else the one that nodeimage.sh makes.

kind_folder() { go list -m -f '{{.Dir}}' sigs.k8s.io/kind; }

# stock_image names the node image that this version of kind was made for, with its digest.
stock_image() { sed -n 's/^const Image = "\(.*\)"$/\1/p' "$(kind_folder)/pkg/apis/config/defaults/image.go"; }

# has_stock_image: whether the daemon has kind's own node image, or can get it.
has_stock_image() {
	local stock
	stock=$(stock_image)
	docker image inspect "$stock" >/dev/null 2>&1 || timeout 300 docker pull --quiet "$stock" >/dev/null 2>&1
}

# load_own_image gives the daemon the node image that is made here, and says so to the suite.
load_own_image() {
	ci/nodeimage.sh
	# Before, docker may say what image it takes the tag from.
	E2E_NODE_IMAGE=$(docker load --quiet --input build/nodeimage/node.tar | sed -n 's/^Loaded image: //p')
	export E2E_NODE_IMAGE
}

# provide_node_image has the daemon that docker talks to have a node image, as above.
provide_node_image() { [[ -n ${E2E_NODE_IMAGE:-} ]] || has_stock_image || load_own_image; }
