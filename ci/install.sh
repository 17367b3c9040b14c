#!/usr/bin/env bash
# install.sh: does what docs/install.md says, word for word, in the cluster that `make kind-up` leaves standing, whose own
# hints it tries first, and sees that `make kind-down` leaves nothing. What cannot be had here is said below, each with the
# reason: a line of the page that was neither run nor excused is an error.
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

readonly page=docs/install.md
readonly work=$PWD/build/install
readonly standing=build/kind/standing

# block SECTION: the commands of that section's fenced block.
block() {
	awk -v section="## $1" '/^## / { here = $0 == section } here && /^```/ { inside = !inside; next } here && inside' "$page"
}

# swap FROM TO: a filter that puts TO in the place of FROM, which has to be there.
swap() {
	local text
	text=$(cat)
	[[ $text == *"$1"* ]] || die "$page does not say '$1' any more: look what ci/install.sh does instead of it"
	printf '%s\n' "${text//"$1"/$2}"
}

# here COMMAND...: runs it where the cluster's addresses are: a private daemon has a network of its own.
here() {
	if [[ $private == yes ]]; then
		nsenter --net="/run/netns/weir-docker-$id" "$@"
	else
		"$@"
	fi
}

# play SECTION, with commands piped in: runs them as a person would, and stops at the first that fails.
play() {
	local started=$SECONDS
	here bash -euo pipefail >"$work/said" 2>&1 || {
		cat "$work/said" >&2
		die "what $page says of '$1' fails (its words are above)"
	}
	say "$1: done, $((SECONDS - started)) s"
}

# inline: what the page has between backticks and is a command of these.
# shellcheck disable=SC2016 # backticks
inline() { grep -oE '`[^`]+`' "$page" | tr -d '`' | grep -E '^(\.\.\. --|kubectl|weirctl|gobgp|helm|docker|ip|kind|weir) ' | sort -u; }

# shown PATTERN SECONDS COMMAND...: waits until the command's output has the pattern.
shown() {
	local pattern=$1 within=$2
	shift 2
	has_it() { here "$@" 2>&1 | tee "$work/said" | grep -qE "$pattern"; }
	await "$within" has_it "$@" || {
		cat "$work/said" >&2
		die "'$*' does not come to show '$pattern' (above is what it says)"
	}
}

# met COMMAND: notes that a command between backticks was run, and sees that the page has it.
declare -A seen=()
met() {
	inline | grep -qxF -- "$1" || die "$page does not have \`$1\` any more"
	seen[$1]=yes
}

# told COMMAND PATTERN SECONDS [RUN...]: what the page has between backticks, run as it stands or as RUN, comes to show the
# pattern.
told() {
	local command=$1 pattern=$2 within=$3
	shift 3
	met "$command"
	# shellcheck disable=SC2086 # words of a command
	[[ $# -gt 0 ]] || set -- $command
	shown "$pattern" "$within" "$@"
}

# hints: everything that kind-up printed to try, with what it has to show.
hints() {
	local command tried=0
	while read -r command; do
		case $command in
		*' get svc') shown 'sctp-lb1 .* 123\.123\.123\.1 .*55004:[0-9]+/SCTP' 60 bash -c "$command" ;;
		*'weirctl get lb') shown '123\.123\.123\.1 \| 55004 \| sctp .*fullnat' 60 bash -c "$command" ;;
		*'gobgp neighbor') shown ' 65101 .* Establ' 60 bash -c "$command" ;;
		*' ip route') shown '^123\.123\.123\.1 via .* proto (bgp|bird)' 60 bash -c "$command" ;;
		*' weir-topo request '*) shown '(nginx|udp|sctp)-test' 60 bash -c "$command" ;;
		*) die "kind-up says to try '$command': ci/install.sh does not know what that shows" ;;
		esac
		tried=$((tried + 1))
	done < <(sed -n 's/^  \(docker .*\)/\1/p' "$work/up")
	[[ $tried -eq 8 ]] || die "kind-up printed $tried commands to try, not 8"
	say "what kind-up says to try works"
}

# another: gives each node the images by another tag, as if a new version were in its registry.
another() {
	local node image
	for node in $(kind get nodes); do
		for image in weir kube-weir; do
			docker exec "$node" ctr -n k8s.io images tag "ghcr.io/weir-lb/$image:latest" "ghcr.io/weir-lb/$image:$1" >/dev/null
		done
	done
}

# runs TAG: every pod of weir runs that image, and is ready.
runs() {
	shown "^(ghcr.io/weir-lb/(kube-)?weir:$1 true )+\$" 60 kubectl -n weir-system get pods \
		-o 'jsonpath={range .items[*]}{.spec.containers[0].image} {.status.containerStatuses[0].ready} {end}'
}

# clean: nothing of weir is left on the four machines, by what the kind suite asks of them.
clean() { here go run ./scenarios/kind/up -clean -name "$KIND_CLUSTER_NAME" -dir "build/kind/$id"; }

# uninstall COMMAND SERVICE...: the page's way, with what is to be deleted.
uninstall() {
	local how=$1
	shift
	block Uninstall | swap 'svc ...' "svc $*" | swap 'kubectl delete -k deploy/base ' "$how " | play Uninstall
	clean
}

# walk: the page, from top to bottom.
walk() {
	local master=$KIND_CLUSTER_NAME-control-plane node nodes left label
	# What kind-up has installed goes first, by the same way: base and article want the same ports.
	uninstall 'kubectl delete --ignore-not-found -f deploy/article' nginx-lb1 udp-lb1 sctp-lb1
	block kind | swap 'kind create cluster' 'kind get nodes' | play kind
	told 'kubectl get svc web' ' 203\.0\.113\.1 ' 120
	told 'docker exec kind-control-plane curl -s http://203.0.113.1' 'Served by web' 60 \
		docker exec "$master" curl -s --max-time 2 http://203.0.113.1
	told 'kubectl get nodes -o wide' "^$master .* [0-9.]+ .*containerd" 10
	if [[ $private == yes ]]; then # else it is this machine's table
		node=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$master")
		met 'ip route add 203.0.113.0/24 via NODE'
		here ip route add 203.0.113.0/24 via "$node"
		shown 'Served by web' 60 curl -s --max-time 2 http://203.0.113.1
	fi

	mkdir -p "$work/my-weir"
	block Settings | swap 'https://github.com/weir-lb/weir//deploy/base?ref=main' ../../../deploy/base |
		swap 'newTag: main' 'newTag: latest' >"$work/my-weir/kustomization.yaml"
	# A machine that is to be a node is what cannot be had here.
	block kubeadm | swap 'kubeadm init ... && kubeadm join ... ' ": " | elsewhere | play kubeadm
	block K3s | swap 'curl -sfL https://get.k3s.io | sh -s - --disable=servicelb ' ": " | elsewhere | play K3s
	told 'kubectl -n weir-system exec ds/weir -- weirctl get lb' '192\.168\.80\.200 +\| 80 +\| tcp' 120
	told '... -- gobgp neighbor' '^192\.168\.80\.1 +65101 ' 60 kubectl -n weir-system exec ds/weir -- gobgp neighbor
	shown ' 192\.168\.80\.200 ' 60 kubectl get svc web
	shown 'Served by web' 60 docker exec "$master" curl -s --max-time 2 http://192.168.80.200
	# Of a node that has kube-weir, and --force for the page's own pod, which nobody would make again.
	node=$(here kubectl -n weir-system get pods -l app=kube-weir -o 'jsonpath={.items[0].spec.nodeName}')
	told 'kubectl drain NODE --ignore-daemonsets --delete-emptydir-data' 'drained' 10 \
		kubectl drain "$node" --ignore-daemonsets --delete-emptydir-data --force --dry-run=server
	told 'kubectl cordon NODE' 'cordoned' 10 kubectl cordon "$master"
	# shellcheck disable=SC2016 # as the page has it
	nodes='kubectl -n weir-system exec $(kubectl -n weir-system get lease kube-weir -o jsonpath={.spec.holderIdentity}) -- weirctl get nodes'
	told "$nodes" "^$master +[0-9.]+ +lb +(yes|no) +yes " 60 bash -c "$nodes"
	here kubectl uncordon "$master"
	label=node.kubernetes.io/exclude-from-external-load-balancers-
	# kind may have taken it off already.
	told "kubectl label node NAME $label" '(un|not )labeled' 10 kubectl label node "$master" "$label" --dry-run=server
	another next
	block Upgrade | grep -v '^helm ' | swap VERSION next | swap my-weir "$work/my-weir" | play Upgrade
	runs next
	shown 'Served by web' 60 docker exec "$master" curl -s --max-time 2 http://192.168.80.200
	uninstall "kubectl delete -k $work/my-weir" web

	block Helm | swap 'helm install weir' 'helm install weir --wait --timeout=3m' | play Helm
	here kubectl expose pod web --port 80 --type LoadBalancer --overrides '{"spec": {"loadBalancerClass": "weir-lb.io/weir"}}' >/dev/null
	shown ' 192\.168\.80\.200 ' 60 kubectl get svc web
	shown 'Served by web' 60 docker exec "$master" curl -s --max-time 2 http://192.168.80.200
	block Upgrade | grep '^helm ' | swap VERSION next | swap 'helm upgrade weir' 'helm upgrade weir --wait --timeout=3m' | play 'Upgrade, with Helm'
	runs next
	uninstall 'helm uninstall weir --namespace weir-system --wait' web
	left='kubectl -n weir-system delete --ignore-not-found secret/weir-ca secret/weir-tls secret/kube-weir-tls configmap/kube-weir lease/kube-weir'
	met "$left"
	play 'what helm uninstall leaves' <<<"$left"
	grep -q 'secret "weir-ca" deleted' "$work/said" || die "what helm uninstall leaves was not there: $(<"$work/said")"
	met 'kubectl delete namespace weir-system'
	play 'and the namespace' <<<'kubectl delete namespace weir-system'
	met 'helm uninstall'
	met 'kubectl apply -f deploy/article' # by kind-up
	met 'weir --cleanup' # by deploy/cleanup, on every node
}

# elsewhere: the page's addresses that are not here.
elsewhere() { swap https://github.com/weir-lb/weir//deploy/base deploy/base | swap '-k my-weir ' "-k $work/my-weir "; }

down() {
	trap - EXIT
	ci/kind.sh down
	[[ ! -e $standing ]] || die "kind-down left $standing"
	if [[ $private == yes ]] && { docker_runs "$id" || [[ -e $(docker_run "$id") || -e $(docker_data "$id") ]]; }; then
		die "kind-down left the Docker daemon $id or its folders"
	fi
	say "kind-down leaves nothing"
}

[[ $(id -u) -eq 0 ]] || die "nodes load BPF: run this as root"
rm -rf "$work"
mkdir -p "$work/bin" build/tools
go build -o build/tools/kind sigs.k8s.io/kind
go -C ci/manifests build -trimpath -o "$PWD/build/tools/helm" helm.sh/helm/v3/cmd/helm
trap '[[ ! -e $standing ]] || ci/kind.sh down' EXIT
ci/kind.sh up | tee "$work/up"
read -r id private <"$standing"
if [[ $private == yes ]]; then
	docker_use "$id"
	# kind.sh asks for the node image twice: the second time nothing has changed that it is made of.
	[[ $(grep '^nodeimage: ' "$work/up" | tail -n 1) == *' is up to date' ]] || die "nodeimage.sh made again what was up to date"
fi
ln -s "$PWD/build/kube/kubectl" "$work/bin/"
export KIND_CLUSTER_NAME=weir-$id KUBECONFIG=$PWD/build/kind/$id/kubeconfig PATH=$work/bin:$PATH
hints
walk
while read -r command; do
	[[ -n ${seen[$command]:-} ]] || die "nobody ran \`$command\` of $page: have ci/install.sh do so"
done < <(inline)
down
