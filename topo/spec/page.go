// Package spec reads topologies. A topology is one YAML page in the notation
// of containerlab, cut to network namespaces: nodes, and links as pairs of
// endpoints (topo/README.md shows it). A page is a plain value: reading the
// same bytes gives the same page on any machine, and nothing here touches the
// kernel. Pages are safe for concurrent reads.
package spec

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Page is a topology as its YAML page tells it.
type Page struct {
	// Name is the page's own name, [a-z0-9-].
	Name string `yaml:"name"`
	// Title is one line, Intent says what the topology is for.
	Title  string `yaml:"title"`
	Intent string `yaml:"intent"`
	// Vars are defaults for {{.Vars.x}} in commands and files.
	Vars map[string]string `yaml:"vars"`
	// Manifests names a folder beside the page; its files are copied to where
	// {{.Manifests}} points. Optional.
	Manifests string           `yaml:"manifests"`
	Nodes     map[string]*Node `yaml:"nodes"`
	Links     []Link           `yaml:"links"`
	// KubeProxy holds the services whose rules the nodes of a cluster carry.
	KubeProxy *KubeProxy `yaml:"kubeProxy"`
	// Steps are what `weir-topo run` shows. Optional.
	Steps []Step `yaml:"steps"`

	// Order is the order of the nodes in the page.
	Order []string `yaml:"-"`
	// ManifestFiles is the content of the folder that Manifests names.
	ManifestFiles map[string][]byte `yaml:"-"`
	// Source is the page as read.
	Source []byte `yaml:"-"`
}

// Role says what a node is. It decides the sysctls that such a machine has
// and how the node is drawn.
type Role string

// The roles of a node.
const (
	Client Role = "client"
	LB     Role = "lb"
	Worker Role = "worker"
	Pod    Role = "pod"
	Router Role = "router"
	// Switch is a namespace with one bridge, to which all its links belong.
	Switch Role = "switch"
)

var roles = []Role{Client, LB, Worker, Pod, Router, Switch}

// Forwards tells whether a machine of this role routes packets for others.
func (r Role) Forwards() bool { return r == LB || r == Worker || r == Router }

// Node is one machine: a network namespace and what runs in it.
type Node struct {
	Name string `yaml:"-"`
	Role Role   `yaml:"role"`
	// Interfaces by name: those of links where they need more than a name,
	// and bridges and VXLANs of the node's own.
	Interfaces map[string]*Interface `yaml:"interfaces"`
	Routes     []Route               `yaml:"routes"`
	// Sysctls below net., as net.ipv4.ip_forward or, where an interface's name
	// has a dot, net/ipv4/conf/flannel.1/rp_filter.
	Sysctls map[string]string `yaml:"sysctls"`
	// Files by path relative to the node's state folder; templates.
	Files     map[string]string `yaml:"files"`
	Processes []Process         `yaml:"processes"`
}

// InterfaceNames returns the names of n's configured interfaces, sorted.
func (n *Node) InterfaceNames() []string {
	names := make([]string, 0, len(n.Interfaces))
	for name := range n.Interfaces {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Addresses returns all of n's addresses without their prefix lengths, in the
// order of interface names.
func (n *Node) Addresses() []netip.Addr {
	var all []netip.Addr
	for _, name := range n.InterfaceNames() {
		for _, p := range n.Interfaces[name].Addresses {
			all = append(all, p.Addr())
		}
	}
	return all
}

// Interface is what a network interface has beyond its link.
type Interface struct {
	Addresses []netip.Prefix `yaml:"addresses"`
	// MTU in bytes. Optional; a link's interface takes the link's.
	MTU int `yaml:"mtu"`
	// Offloads that are set after creation: rx, tx, sg, tso, gso, gro.
	// What is absent stays as the kernel sets it.
	Offloads map[string]bool `yaml:"offloads"`
	// Bridge makes the interface a bridge over these interfaces of the node.
	Bridge []string `yaml:"bridge"`
	// VXLAN makes the interface a VXLAN device (RFC 7348).
	VXLAN *VXLAN `yaml:"vxlan"`
}

// VXLAN is an overlay device that reaches a fixed set of other nodes: it floods
// and learns, or with Static knows each by heart, as flannel has it.
type VXLAN struct {
	// ID is the VXLAN network identifier, 1 to 2^24-1.
	ID int `yaml:"id"`
	// Port is the UDP port. Optional; zero means 4789 (flannel uses 8472).
	Port int `yaml:"port"`
	// Local is this node's, Remotes are the other nodes' underlay addresses.
	Local   netip.Addr   `yaml:"local"`
	Remotes []netip.Addr `yaml:"remotes"`
	// Static neither floods nor learns: neighbours and forwarding entries of
	// the remotes are permanent. Each remote is the Local of another node's
	// VXLAN of the same ID.
	Static bool `yaml:"static"`
}

// Route is one entry of a node's main table.
type Route struct {
	// To is a prefix, or "default".
	To string `yaml:"to"`
	// Via is the next hop. Optional where Dev is given.
	Via netip.Addr `yaml:"via"`
	Dev string     `yaml:"dev"`
	// Src is the preferred source address. Optional.
	Src netip.Addr `yaml:"src"`
	// OnLink takes Via as reachable on Dev though no address says so.
	OnLink bool `yaml:"onlink"`
}

// Prefix returns where the route leads; "default" is 0.0.0.0/0.
func (r Route) Prefix() (netip.Prefix, error) {
	if r.To == "default" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	}
	if !strings.Contains(r.To, "/") {
		a, err := netip.ParseAddr(r.To)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(r.To)
}

// Process is a program that runs in the node for as long as the topology is up.
type Process struct {
	Name string `yaml:"name"`
	// Command is split at blanks outside quotes, then each word is expanded
	// as a template. There is no shell.
	Command string            `yaml:"command"`
	Env     map[string]string `yaml:"env"`
	// Order sorts the start over all nodes; those of one order start together
	// and are waited for before the next order. Optional.
	Order int    `yaml:"order"`
	Ready *Ready `yaml:"ready"`
}

// Ready says when a process counts as started. Exactly one of Socket, File,
// TCP and Command is given.
type Ready struct {
	// Socket is a unix socket that accepts, File a file that exists.
	Socket string `yaml:"socket"`
	File   string `yaml:"file"`
	// TCP is an address and port in the node that accept.
	TCP string `yaml:"tcp"`
	// Command succeeds in the node.
	Command string `yaml:"command"`
	// Timeout is optional; zero means DefaultReadyTimeout.
	Timeout time.Duration `yaml:"timeout"`
}

// DefaultReadyTimeout is how long a process may take until it is ready.
const DefaultReadyTimeout = 15 * time.Second

// Link is a cable: a veth pair between two nodes.
type Link struct {
	// Endpoints are two of node:interface.
	Endpoints []Endpoint `yaml:"endpoints"`
	// MTU in bytes of both ends. Optional; zero means DefaultMTU.
	MTU int `yaml:"mtu"`
}

// DefaultMTU of a link in bytes.
const DefaultMTU = 1500

// Endpoint is one end of a link, written node:interface.
type Endpoint struct {
	Node      string
	Interface string
}

// String prints node:interface.
func (e Endpoint) String() string { return e.Node + ":" + e.Interface }

// UnmarshalText reads node:interface.
func (e *Endpoint) UnmarshalText(b []byte) error {
	node, ifname, ok := strings.Cut(string(b), ":")
	if !ok || node == "" || ifname == "" {
		return errorf("%q is no endpoint, write node:interface", b)
	}
	e.Node, e.Interface = node, ifname
	return nil
}

// KubeProxy is the part of a cluster that kube-proxy turns into rules.
type KubeProxy struct {
	// Nodes carry the rules.
	Nodes []string `yaml:"nodes"`
	// ClusterCIDR is the range that pods have their addresses from.
	ClusterCIDR netip.Prefix `yaml:"clusterCIDR"`
	Services    []Service    `yaml:"services"`
	// Flannel adds the rules of flanneld, which masquerades what leaves the
	// range of the pods, on nodes that have a bridge with an address.
	Flannel bool `yaml:"flannel"`
}

// Service is one port of a Kubernetes Service.
type Service struct {
	// Name is namespace/name, with :port where the port has a name.
	Name string `yaml:"name"`
	// Protocol is tcp, udp or sctp.
	Protocol  string     `yaml:"protocol"`
	ClusterIP netip.Addr `yaml:"clusterIP"`
	Port      int        `yaml:"port"`
	NodePort  int        `yaml:"nodePort"`
	// VIP is the load balancer's address as kube-proxy captures it. Optional:
	// with ipMode Proxy it is not captured.
	VIP netip.Addr `yaml:"vip"`
	// Policy is externalTrafficPolicy: Cluster or Local.
	Policy string `yaml:"policy"`
	// Endpoints are pod addresses and ports.
	Endpoints []netip.AddrPort `yaml:"endpoints"`
}

// Overlay finds the VXLAN with this ID and local address, and whose it is.
func (p *Page) Overlay(id int, local netip.Addr) (end Endpoint, ok bool) {
	for _, name := range p.Order {
		for ifname, i := range p.Nodes[name].Interfaces {
			if i.VXLAN != nil && i.VXLAN.ID == id && i.VXLAN.Local == local {
				return Endpoint{Node: name, Interface: ifname}, true
			}
		}
	}
	return Endpoint{}, false
}

// PodNetwork is the network of the node's bridge, zero without one.
func (p *Page) PodNetwork(node string) netip.Prefix {
	for _, name := range p.Nodes[node].InterfaceNames() {
		if i := p.Nodes[node].Interfaces[name]; i.Bridge != nil && len(i.Addresses) > 0 {
			return i.Addresses[0].Masked()
		}
	}
	return netip.Prefix{}
}

// LocalTo returns a function that tells whether a pod's address is on node:
// whether a bridge of the node has it in its network.
func (p *Page) LocalTo(node string) func(netip.Addr) bool {
	var nets []netip.Prefix
	for _, i := range p.Nodes[node].Interfaces {
		if i.Bridge != nil {
			nets = append(nets, i.Addresses...)
		}
	}
	return func(a netip.Addr) bool {
		return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Masked().Contains(a) })
	}
}
