// Package kubeproxy writes the rules that kube-proxy in iptables mode makes
// for NodePorts and cluster addresses, as iptables-restore reads them. It is
// pure: rules out of services. Chains, their names and their order are those
// of Kubernetes 1.34, because what weir must live with are exactly these.
package kubeproxy

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"strings"

	"github.com/weir-lb/weir/topo/spec"
)

// markMasq is the packet mark that asks KUBE-POSTROUTING for source NAT.
const markMasq = "0x4000/0x4000"

// Rules returns the input of iptables-restore for one node. clusterCIDR is
// the range of pod addresses; local tells which endpoints are on the node.
func Rules(services []spec.Service, clusterCIDR netip.Prefix, local func(netip.Addr) bool) string {
	nat, filter := newTable("nat"), newTable("filter")
	filterBase(filter)
	natBase(nat)
	for _, s := range services {
		p := newPort(s, clusterCIDR, local)
		p.clusterAddress(nat, filter)
		p.external(nat, filter)
		p.endpoints(nat)
	}
	nat.add("KUBE-SERVICES", `-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`)
	return filter.String() + nat.String()
}

func filterBase(t *table) {
	t.chain("KUBE-EXTERNAL-SERVICES", "KUBE-FIREWALL", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-SERVICES")
	t.add("INPUT", `-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS`)
	t.add("INPUT", `-m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES`)
	t.add("INPUT", `-j KUBE-FIREWALL`)
	t.add("FORWARD", `-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD`)
	t.add("FORWARD", `-m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES`)
	t.add("FORWARD", `-m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES`)
	t.add("OUTPUT", `-m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES`)
	t.add("OUTPUT", `-j KUBE-FIREWALL`)
	t.add("KUBE-FIREWALL", `! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`)
	t.add("KUBE-FORWARD", `-m conntrack --ctstate INVALID -j DROP`)
	t.add("KUBE-FORWARD", `-m comment --comment "kubernetes forwarding rules" -m mark --mark `+markMasq+` -j ACCEPT`)
	t.add("KUBE-FORWARD", `-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`)
}

func natBase(t *table) {
	t.chain("KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-SERVICES")
	t.add("PREROUTING", `-m comment --comment "kubernetes service portals" -j KUBE-SERVICES`)
	t.add("OUTPUT", `-m comment --comment "kubernetes service portals" -j KUBE-SERVICES`)
	t.add("POSTROUTING", `-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING`)
	t.add("KUBE-MARK-MASQ", `-j MARK --or-mark 0x4000`)
	t.add("KUBE-POSTROUTING", `-m mark ! --mark `+markMasq+` -j RETURN`)
	t.add("KUBE-POSTROUTING", `-j MARK --xor-mark 0x4000`)
	t.add("KUBE-POSTROUTING", `-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully`)
}

// port is a service port with its chains on one node.
type port struct {
	spec.Service
	cidr  netip.Prefix
	local []netip.AddrPort
	// svc holds all endpoints, svl the local ones, ext is where outside
	// traffic comes in.
	svc, svl, ext string
}

func newPort(s spec.Service, cidr netip.Prefix, local func(netip.Addr) bool) *port {
	p := &port{Service: s, cidr: cidr}
	for _, e := range s.Endpoints {
		if local(e.Addr()) {
			p.local = append(p.local, e)
		}
	}
	h := hash(s.Name + s.Protocol)
	p.svc, p.svl, p.ext = "KUBE-SVC-"+h, "KUBE-SVL-"+h, "KUBE-EXT-"+h
	return p
}

// match is the part of a rule that recognises the port at an address.
func (p *port) match(to netip.Addr, what string) string {
	return fmt.Sprintf(`-d %s/32 -p %s -m comment --comment "%s %s" -m %s --dport %d`, to, p.Protocol, p.Name, what, p.Protocol, p.Port)
}

func (p *port) nodePort() string {
	return fmt.Sprintf(`-p %s -m comment --comment %s -m %s --dport %d`, p.Protocol, p.Name, p.Protocol, p.NodePort)
}

func (p *port) clusterAddress(nat, filter *table) {
	match := p.match(p.ClusterIP, "cluster IP")
	if len(p.Endpoints) == 0 {
		filter.add("KUBE-SERVICES", strings.Replace(match, "cluster IP", "has no endpoints", 1)+" -j REJECT")
		return
	}
	nat.chain(p.svc)
	nat.add("KUBE-SERVICES", match+" -j "+p.svc)
	nat.add(p.svc, fmt.Sprintf("! -s %s %s -j KUBE-MARK-MASQ", p.cidr, match))
}

// external takes in what comes from outside: by NodePort, and by the load
// balancer's address where kube-proxy captures it.
func (p *port) external(nat, filter *table) {
	if p.NodePort == 0 && !p.VIP.IsValid() {
		return
	}
	if !p.externalTarget(nat) {
		p.refuse(filter)
	}
	if len(p.Endpoints) == 0 {
		return
	}
	nat.chain(p.ext)
	if p.VIP.IsValid() {
		nat.add("KUBE-SERVICES", p.match(p.VIP, "loadbalancer IP")+" -j "+p.ext)
	}
	if p.NodePort != 0 {
		nat.add("KUBE-NODEPORTS", p.nodePort()+" -j "+p.ext)
	}
}

// externalTarget fills the chain of outside traffic and tells whether it
// leads to an endpoint from everywhere.
func (p *port) externalTarget(nat *table) bool {
	if len(p.Endpoints) == 0 {
		return false
	}
	if p.Policy == "Cluster" {
		nat.add(p.ext, p.comment("masquerade traffic for %s external destinations")+" -j KUBE-MARK-MASQ")
		nat.add(p.ext, "-j "+p.svc)
		return true
	}
	nat.add(p.ext, "-s "+p.cidr.String()+" "+p.comment("pod traffic for %s external destinations")+" -j "+p.svc)
	nat.add(p.ext, p.comment("masquerade LOCAL traffic for %s external destinations")+" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ")
	nat.add(p.ext, p.comment("route LOCAL traffic for %s external destinations")+" -m addrtype --src-type LOCAL -j "+p.svc)
	if len(p.local) == 0 {
		return false
	}
	nat.chain(p.svl)
	nat.add(p.ext, "-j "+p.svl)
	return true
}

// refuse answers for a port without endpoints, and drops for one whose
// endpoints are all on other nodes.
func (p *port) refuse(filter *table) {
	why, verdict := "has no endpoints", "REJECT"
	if len(p.Endpoints) > 0 {
		why, verdict = "has no local endpoints", "DROP"
	}
	if p.VIP.IsValid() {
		filter.add("KUBE-EXTERNAL-SERVICES", p.match(p.VIP, why)+" -j "+verdict)
	}
	if p.NodePort != 0 {
		filter.add("KUBE-EXTERNAL-SERVICES", fmt.Sprintf(`-p %s -m comment --comment "%s %s" -m addrtype --dst-type LOCAL -m %s --dport %d -j %s`,
			p.Protocol, p.Name, why, p.Protocol, p.NodePort, verdict))
	}
}

func (p *port) comment(format string) string {
	return `-m comment --comment "` + fmt.Sprintf(format, p.Name) + `"`
}

func (p *port) endpoints(nat *table) {
	for _, e := range p.Endpoints {
		sep := p.sep(e)
		nat.chain(sep)
		nat.add(sep, fmt.Sprintf("-s %s/32 -m comment --comment %s -j KUBE-MARK-MASQ", e.Addr(), p.Name))
		nat.add(sep, fmt.Sprintf("-p %s -m comment --comment %s -m %s -j DNAT --to-destination %s", p.Protocol, p.Name, p.Protocol, e))
	}
	p.spread(nat, p.svc, p.Endpoints)
	if p.Policy == "Local" && p.NodePort != 0 {
		p.spread(nat, p.svl, p.local)
	}
}

// spread sends each of the n endpoints 1/n of the connections: the first rule
// takes 1/n, the next 1/(n-1) of what is left, the last the rest.
func (p *port) spread(nat *table, chain string, to []netip.AddrPort) {
	for i, e := range to {
		rule := fmt.Sprintf(`-m comment --comment "%s -> %s"`, p.Name, e)
		if left := len(to) - i; left > 1 {
			rule += fmt.Sprintf(" -m statistic --mode random --probability %.10f", 1/float64(left))
		}
		nat.add(chain, rule+" -j "+p.sep(e))
	}
}

func (p *port) sep(e netip.AddrPort) string { return "KUBE-SEP-" + hash(p.Name+p.Protocol+e.String()) }

// hash is kube-proxy's: chain names have at most 28 characters.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base32.StdEncoding.EncodeToString(sum[:])[:16]
}
