package spec

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

var (
	nameRE    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	ifnameRE  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	offloads  = []string{"gro", "gso", "rx", "sg", "tso", "tx"}
	protocols = []string{"sctp", "tcp", "udp"}
)

// maxIfname is IFNAMSIZ-1: the kernel takes no longer name for an interface.
const maxIfname = 15

// checker collects what is wrong in a page.
type checker struct {
	page     *Page
	problems []Problem
	// linked has the place of each link's end.
	linked map[Endpoint]string
	// used has the owner of each address.
	used map[netip.Addr]string
}

func validate(p *Page) []Problem {
	c := &checker{page: p, linked: map[Endpoint]string{}, used: map[netip.Addr]string{}}
	if !nameRE.MatchString(p.Name) {
		c.report("name", "%q is no name, use a-z, 0-9 and - (at most 32)", p.Name)
	}
	if len(p.Nodes) == 0 {
		c.report("nodes", "there are none")
	}
	for i, l := range p.Links {
		c.link(fmt.Sprintf("links[%d]", i), l)
	}
	for _, name := range p.Order {
		c.node("nodes."+name, p.Nodes[name])
	}
	if p.KubeProxy != nil {
		c.kubeProxy(p.KubeProxy)
	}
	for i, s := range p.Steps {
		c.step(fmt.Sprintf("steps[%d]", i), s)
	}
	return c.problems
}

func (c *checker) report(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) link(at string, l Link) {
	if len(l.Endpoints) != 2 {
		c.report(at+".endpoints", "has %d ends, a link has two", len(l.Endpoints))
		return
	}
	c.mtu(at+".mtu", l.MTU)
	for i, e := range l.Endpoints {
		where := fmt.Sprintf("%s.endpoints[%d]", at, i)
		if c.page.Nodes[e.Node] == nil {
			c.report(where, "there is no node %q", e.Node)
		}
		c.ifname(where, e.Interface)
		if other, dup := c.linked[e]; dup {
			c.report(where, "%s is %s already", e, other)
			continue
		}
		c.linked[e] = where
	}
}

func (c *checker) ifname(at, name string) {
	switch {
	case len(name) > maxIfname:
		c.report(at, "%q has %d characters, the kernel takes %d", name, len(name), maxIfname)
	case !ifnameRE.MatchString(name):
		c.report(at, "%q is no interface name", name)
	case name == "lo":
		c.report(at, "lo is there by itself")
	}
}

// mtu accepts zero, which means the default.
func (c *checker) mtu(at string, mtu int) {
	if mtu != 0 && (mtu < 68 || mtu > 65535) {
		c.report(at, "%d is not within 68 to 65535", mtu)
	}
}

func (c *checker) node(at string, n *Node) {
	if !nameRE.MatchString(n.Name) {
		c.report(at, "%q is no name, use a-z, 0-9 and - (at most 32)", n.Name)
	}
	if !slices.Contains(roles, n.Role) {
		c.report(at+".role", "unknown role %q, use one of %v", n.Role, roles)
	}
	if n.Role == Switch {
		c.switchNode(at, n)
	}
	for _, name := range n.InterfaceNames() {
		c.iface(at+".interfaces."+name, n, name)
	}
	for i, r := range n.Routes {
		c.route(fmt.Sprintf("%s.routes[%d]", at, i), n, r)
	}
	for name := range n.Sysctls {
		if !strings.HasPrefix(name, "net.") && !strings.HasPrefix(name, "net/") || strings.Contains(name, "..") {
			c.report(at+".sysctls."+name, "is no setting of a network namespace, use net.*")
		}
	}
	for name, text := range n.Files {
		where := at + ".files." + name
		if path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "..") {
			c.report(where, "is no path below the node's folder")
		}
		c.template(where, text)
	}
	seen := map[string]bool{}
	for i, pr := range n.Processes {
		where := fmt.Sprintf("%s.processes[%d]", at, i)
		c.process(where, pr)
		if seen[pr.Name] {
			c.report(where+".name", "%q is there already", pr.Name)
		}
		seen[pr.Name] = true
	}
}

func (c *checker) switchNode(at string, n *Node) {
	for _, name := range n.InterfaceNames() {
		i := n.Interfaces[name]
		if len(i.Addresses) > 0 || i.Bridge != nil || i.VXLAN != nil {
			c.report(at+".interfaces."+name, "a switch has ports only: set mtu and offloads, no more")
		}
	}
	if len(n.Processes) > 0 {
		c.report(at+".processes", "a switch runs none")
	}
}

func (c *checker) iface(at string, n *Node, name string) {
	i := n.Interfaces[name]
	c.ifname(at, name)
	c.mtu(at+".mtu", i.MTU)
	_, linked := c.linked[Endpoint{n.Name, name}]
	made := i.Bridge != nil || i.VXLAN != nil
	switch {
	case !linked && !made:
		c.report(at, "no link ends here: add one to links, or make it a bridge or vxlan")
	case linked && made, i.Bridge != nil && i.VXLAN != nil:
		c.report(at, "is two things at once: a link's end, a bridge or a vxlan")
	}
	for j, p := range i.Addresses {
		where := fmt.Sprintf("%s.addresses[%d]", at, j)
		if owner, dup := c.used[p.Addr()]; dup {
			c.report(where, "%s is %s already", p.Addr(), owner)
		}
		c.used[p.Addr()] = n.Name + ":" + name
	}
	for j, port := range i.Bridge {
		if _, ok := c.linked[Endpoint{n.Name, port}]; !ok {
			c.report(fmt.Sprintf("%s.bridge[%d]", at, j), "no link ends at %s:%s", n.Name, port)
		}
	}
	for o := range i.Offloads {
		if !slices.Contains(offloads, o) {
			c.report(at+".offloads."+o, "unknown offload, use one of %s", strings.Join(offloads, ", "))
		}
	}
	if i.VXLAN != nil {
		c.vxlan(at+".vxlan", i.VXLAN)
	}
}

func (c *checker) vxlan(at string, v *VXLAN) {
	if v.ID < 1 || v.ID >= 1<<24 {
		c.report(at+".id", "%d is not within 1 to 16777215", v.ID)
	}
	if v.Port < 0 || v.Port > 65535 {
		c.report(at+".port", "%d is no UDP port", v.Port)
	}
	if !v.Local.IsValid() {
		c.report(at+".local", "no address given")
	}
	for j, r := range v.Remotes {
		if _, ok := c.page.Overlay(v.ID, r); v.Static && !ok {
			c.report(fmt.Sprintf("%s.remotes[%d]", at, j), "no vxlan of id %d has local %s, and a static one has to know it", v.ID, r)
		}
	}
}

func (c *checker) route(at string, n *Node, r Route) {
	if _, err := r.Prefix(); err != nil {
		c.report(at+".to", "%q is no prefix, use 192.0.2.0/24 or default", r.To)
	}
	if !r.Via.IsValid() && r.Dev == "" {
		c.report(at, "has neither via nor dev")
	}
	if r.Dev != "" && !c.hasInterface(n, r.Dev) {
		c.report(at+".dev", "%s has no interface %q", n.Name, r.Dev)
	}
	if r.OnLink && r.Dev == "" {
		c.report(at+".onlink", "needs dev")
	}
	if r.Via.IsValid() && !r.OnLink && !connected(n, r.Via) {
		c.report(at+".via", "%s is in no network of %s: correct it, or set dev and onlink", r.Via, n.Name)
	}
}

func (c *checker) hasInterface(n *Node, name string) bool {
	_, linked := c.linked[Endpoint{n.Name, name}]
	return linked || n.Interfaces[name] != nil
}

func connected(n *Node, a netip.Addr) bool {
	for _, i := range n.Interfaces {
		for _, p := range i.Addresses {
			if p.Masked().Contains(a) {
				return true
			}
		}
	}
	return false
}

func (c *checker) process(at string, p Process) {
	if !nameRE.MatchString(p.Name) {
		c.report(at+".name", "%q is no name, use a-z, 0-9 and - (at most 32)", p.Name)
	}
	c.command(at+".command", p.Command)
	for k, v := range p.Env {
		c.template(at+".env."+k, v)
	}
	if p.Ready == nil {
		return
	}
	given := 0
	for _, s := range []string{p.Ready.Socket, p.Ready.File, p.Ready.TCP, p.Ready.Command} {
		if s != "" {
			given++
		}
		c.template(at+".ready", s)
	}
	if given != 1 {
		c.report(at+".ready", "has %d conditions, give one of socket, file, tcp, command", given)
	}
}

func (c *checker) command(at, line string) {
	words, err := SplitCommand(line)
	if err != nil {
		c.report(at, "%s", err)
		return
	}
	if len(words) == 0 {
		c.report(at, "is empty")
	}
	for _, w := range words {
		c.template(at, w)
	}
}

func (c *checker) template(at, text string) {
	if _, err := template.New("").Parse(text); err != nil {
		c.report(at, "%s", strings.TrimPrefix(err.Error(), "template: :"))
	}
}

func (c *checker) kubeProxy(k *KubeProxy) {
	for i, n := range k.Nodes {
		if c.page.Nodes[n] == nil {
			c.report(fmt.Sprintf("kubeProxy.nodes[%d]", i), "there is no node %q", n)
		}
	}
	if !k.ClusterCIDR.IsValid() {
		c.report("kubeProxy.clusterCIDR", "no prefix given")
	}
	type port struct {
		protocol string
		number   int
	}
	ports := map[port]string{}
	for i, s := range k.Services {
		at := fmt.Sprintf("kubeProxy.services[%d]", i)
		c.service(at, s)
		if s.NodePort == 0 {
			continue
		}
		key := port{s.Protocol, s.NodePort}
		if other, dup := ports[key]; dup {
			c.report(at+".nodePort", "%d/%s belongs to %s", s.NodePort, s.Protocol, other)
		}
		ports[key] = s.Name
	}
}

func (c *checker) service(at string, s Service) {
	if !strings.Contains(s.Name, "/") {
		c.report(at+".name", "%q is no service, write namespace/name", s.Name)
	}
	if !slices.Contains(protocols, s.Protocol) {
		c.report(at+".protocol", "unknown protocol %q, use tcp, udp or sctp", s.Protocol)
	}
	if s.Port < 1 || s.Port > 65535 {
		c.report(at+".port", "%d is no port, use 1 to 65535", s.Port)
	}
	if s.NodePort < 0 || s.NodePort > 65535 {
		c.report(at+".nodePort", "%d is no port, use 1 to 65535", s.NodePort)
	}
	if !s.ClusterIP.Is4() {
		c.report(at+".clusterIP", "is no IPv4 address")
	}
	if s.Policy != "Local" && s.Policy != "Cluster" {
		c.report(at+".policy", "unknown policy %q, use Local or Cluster", s.Policy)
	}
}
