#!/usr/bin/env bash
# validation.sh: asks the cluster what the article asks, and says what is not as there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly vip=123.123.123.1
failed=0

# expect WHAT PATTERN COMMAND...: whether the command comes to print the pattern, within a minute.
expect() {
	local what=$1 pattern=$2 deadline=$((SECONDS + 60)) said=
	shift 2
	while ((SECONDS < deadline)); do
		said=$("$@" 2>&1) || true
		if grep -qE "$pattern" <<<"$said"; then
			echo "validation: $what: yes"
			return
		fi
	done
	echo "validation: $what: NO; '$*' says: $said" >&2
	failed=1
}

on_master() { vagrant ssh "$1" -c "sudo kubectl $2"; }
pod_on() {
	on_master master1 "-n kube-system get pods -l app=loxilb-app --field-selector spec.nodeName=$1 -o jsonpath={.items[0].metadata.name}"
}

expect 'the three services have their address' "sctp-lb1 .* $vip .*55004:[0-9]+/SCTP" on_master master1 'get svc'
for master in master1 master2; do
	pod=$(pod_on "$master")
	for row in '55002 \| tcp ' '55003 \| udp ' '55004 \| sctp'; do
		expect "$master serves ${row%% *}" "$vip \\| $row.*fullnat" on_master master1 "-n kube-system exec $pod -- weirctl get lb"
	done
	for peer in 192.168.80.1 192.168.80.101 192.168.80.102; do
		expect "$master has a session with $peer" "^${peer//./[.]} .* Establ" on_master master1 "-n kube-system exec $pod -- gobgp neigh"
	done
	expect "$master announces itself" 'next-?[Hh]op: +self' on_master master1 "-n kube-system exec $pod -- gobgp global policy"
done
expect 'the client has the route' "^$vip via 192\\.168\\.80\\.1[01] .*proto bird" ip route
for worker in worker1 worker2; do
	expect "$worker has the route" "^$vip via 192\\.168\\.80\\.1[01] .*proto bgp" vagrant ssh "$worker" -c 'ip route'
done
expect 'TCP is answered' nginx-test curl -s --max-time 5 "http://$vip:55002"
if [[ -x ../../bin/weir-topo ]]; then
	expect 'UDP is answered' udp-test ../../bin/weir-topo request udp "$vip:55003"
	expect 'SCTP is answered' sctp-test sudo ../../bin/weir-topo request sctp "$vip:55004"
else
	echo 'validation: UDP and SCTP were not asked: make build makes weir-topo, which asks' >&2
	failed=1
fi
exit "$failed"
