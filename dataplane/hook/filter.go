package hook

import (
	"regexp"
)

// Filter says by name which interfaces are used.
type Filter struct {
	// Blacklist matches names to leave alone. Optional.
	Blacklist *regexp.Regexp
	// Whitelist matches the only names to use. Optional.
	Whitelist *regexp.Regexp
}

// cni matches interfaces that belong to a container network or runtime, each
// alternative by the project that makes them. It counts while neither list is
// given; the node's own interfaces are called eth0, ens3, enp1s0, bond0, ...
var cni = regexp.MustCompile(`^(` +
	`cni|cbr|mynet|` + // bridge plugin, kubenet, podman
	`veth|` + // one end of a container's veth pair
	`flannel[.]|` + // flannel
	`cali|tunl|vxlan[.]calico|vxlan-v6[.]calico|wireguard[.]cali|wg-v6[.]cali|` + // Calico
	`cilium|lxc|` + // Cilium, LXC
	`docker|br-|podman|nerdctl|virbr|lxdbr|` + // container and VM runtimes
	`kube-|nodelocaldns|` + // kube-proxy (ipvs), kube-router, node-local DNS
	`weave|datapath$|vxlan-|` + // Weave
	`antrea-|genev_sys|ovs-|ovn|` + // Antrea, Open vSwitch, OVN
	`azv|gke|eni[0-9a-f]{11}$` + // Azure, GKE and AWS VPC CNIs
	`)`)

// use returns an empty string for an interface to use, else why not.
func (f Filter) use(name string) string {
	switch {
	case f.Blacklist != nil && f.Blacklist.MatchString(name):
		return "left alone: matches --blacklist " + f.Blacklist.String()
	case f.Whitelist != nil && !f.Whitelist.MatchString(name):
		return "left alone: does not match --whitelist " + f.Whitelist.String()
	case f.Blacklist == nil && f.Whitelist == nil && cni.MatchString(name):
		return "left alone: the name is that of a container network; use --whitelist to take it"
	}
	return ""
}
