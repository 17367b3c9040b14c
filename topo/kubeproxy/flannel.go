package kubeproxy

import "net/netip"

// FlannelRules returns what flanneld --ip-masq adds on a node, for Add: pods
// reach pods with their own address and everything else with the node's. pods
// is the node's own part of clusterCIDR.
func FlannelRules(clusterCIDR, pods netip.Prefix) string {
	nat, filter := newTable("nat"), newTable("filter")
	cluster, own := clusterCIDR.Masked().String(), pods.Masked().String()
	const masq = `-m comment --comment "flanneld masq" `
	nat.chain("FLANNEL-POSTRTG")
	nat.add("POSTROUTING", masq+"-j FLANNEL-POSTRTG")
	for _, rule := range []string{
		"-m mark --mark " + markMasq + " " + masq + "-j RETURN",
		"-s " + own + " -d " + cluster + " " + masq + "-j RETURN",
		"-s " + cluster + " -d " + own + " " + masq + "-j RETURN",
		"! -s " + cluster + " -d " + own + " " + masq + "-j RETURN",
		"-s " + cluster + " ! -d 224.0.0.0/4 " + masq + "-j MASQUERADE --random-fully",
		"! -s " + cluster + " -d " + cluster + " " + masq + "-j MASQUERADE --random-fully",
	} {
		nat.add("FLANNEL-POSTRTG", rule)
	}
	const forward = `-m comment --comment "flanneld forward" `
	filter.chain("FLANNEL-FWD")
	filter.add("FORWARD", forward+"-j FLANNEL-FWD")
	filter.add("FLANNEL-FWD", "-s "+cluster+" "+forward+"-j ACCEPT")
	filter.add("FLANNEL-FWD", "-d "+cluster+" "+forward+"-j ACCEPT")
	return filter.String() + nat.String()
}
