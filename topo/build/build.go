// Package build turns a page into namespaces, interfaces, addresses, routes
// and rules. It starts no process and knows nothing of folders. What it has
// made when it fails or is cancelled, Teardown removes.
package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/weir-lb/weir/topo/kubeproxy"
	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/netns"
	"github.com/weir-lb/weir/topo/spec"
)

// switchBridge is the bridge that a switch node consists of.
const switchBridge = "br0"

// builder holds what is there so far.
type builder struct {
	page *spec.Page
	ns   map[string]*netns.NetNS
}

// Build makes the network of page. name gives each node's namespace its name,
// progress gets a line for each step. The namespaces made so far are returned
// with an error too; the caller closes them.
func Build(ctx context.Context, page *spec.Page, name func(node string) string, progress func(format string, args ...any)) (map[string]*netns.NetNS, error) {
	b := &builder{page: page, ns: map[string]*netns.NetNS{}}
	steps := []struct {
		says string
		do   func(*spec.Node) error
	}{
		{"interfaces of their own", b.devices},
		{"addresses", b.addresses},
		{"routes", b.routes},
		{"sysctls and offloads", b.settings},
	}
	progress("namespaces: %s", strings.Join(page.Order, " "))
	err := b.each(ctx, func(n *spec.Node) error { return b.namespace(n, name(n.Name)) })
	if err != nil {
		return b.ns, err
	}
	progress("links: %d", len(page.Links))
	if err := b.links(ctx); err != nil {
		return b.ns, err
	}
	for _, s := range steps {
		progress("%s", s.says)
		if err := b.each(ctx, s.do); err != nil {
			return b.ns, err
		}
	}
	return b.ns, b.rules(ctx, progress)
}

func (b *builder) each(ctx context.Context, f func(*spec.Node) error) error {
	for _, name := range b.page.Order {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("build %s: %w", b.page.Name, err)
		}
		if err := f(b.page.Nodes[name]); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) namespace(n *spec.Node, name string) error {
	ns, err := netns.New(name)
	if err != nil {
		return err
	}
	b.ns[n.Name] = ns
	if err := link.Up(ns, "lo"); err != nil {
		return err
	}
	for _, s := range roleSysctls(n) {
		err := link.Sysctl(ns, s.name, s.value)
		if s.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) links(ctx context.Context) error {
	for _, l := range b.page.Links {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("build %s: %w", b.page.Name, err)
		}
		if err := link.Veth(b.end(l.Endpoints[0]), b.end(l.Endpoints[1]), l.MTU); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) end(e spec.Endpoint) link.End {
	return link.End{NS: b.ns[e.Node], Name: e.Interface, MAC: mac(e)}
}

// mac gives each interface an address of its own that is the same in every
// run, so that two captures can be compared: locally administered, unicast.
func mac(e spec.Endpoint) net.HardwareAddr {
	sum := sha256.Sum256([]byte(e.String()))
	return append(net.HardwareAddr{0x02}, sum[:5]...)
}

// devices makes bridges and VXLANs. VXLANs need no address yet: the kernel
// looks for the way to a remote when it sends.
func (b *builder) devices(n *spec.Node) error {
	ns := b.ns[n.Name]
	if n.Role == spec.Switch {
		return link.Bridge(ns, switchBridge, b.ports(n))
	}
	for _, name := range n.InterfaceNames() {
		i := n.Interfaces[name]
		switch {
		case i.Bridge != nil:
			if err := link.Bridge(ns, name, i.Bridge); err != nil {
				return err
			}
		case i.VXLAN != nil:
			if err := b.vxlan(spec.Endpoint{Node: n.Name, Interface: name}, i); err != nil {
				return err
			}
		}
		if i.MTU != 0 {
			if err := link.SetMTU(ns, name, i.MTU); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) vxlan(e spec.Endpoint, i *spec.Interface) error {
	v := link.VXLAN{
		Name: e.Interface, ID: i.VXLAN.ID, Port: i.VXLAN.Port, MTU: i.MTU, MAC: mac(e),
		Local: i.VXLAN.Local, Remotes: i.VXLAN.Remotes, Static: i.VXLAN.Static,
	}
	if v.Port == 0 {
		v.Port = 4789
	}
	if err := link.AddVXLAN(b.ns[e.Node], v); err != nil {
		return err
	}
	if !v.Static {
		return nil
	}
	for _, local := range v.Remotes {
		end, _ := b.page.Overlay(v.ID, local) // the page was checked
		r := link.Remote{Local: local, MAC: mac(end)}
		for _, p := range b.page.Nodes[end.Node].Interfaces[end.Interface].Addresses {
			r.Addresses = append(r.Addresses, p.Addr())
		}
		if err := link.AddRemote(b.ns[e.Node], v.Name, r); err != nil {
			return err
		}
	}
	return nil
}

// ports lists the ends of all links at a switch.
func (b *builder) ports(n *spec.Node) []string {
	var ports []string
	for _, l := range b.page.Links {
		for _, e := range l.Endpoints {
			if e.Node == n.Name {
				ports = append(ports, e.Interface)
			}
		}
	}
	return ports
}

func (b *builder) addresses(n *spec.Node) error {
	for _, name := range n.InterfaceNames() {
		for _, p := range n.Interfaces[name].Addresses {
			if err := link.AddAddress(b.ns[n.Name], name, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) routes(n *spec.Node) error {
	for _, r := range n.Routes {
		to, err := r.Prefix()
		if err != nil {
			return err
		}
		err = link.AddRoute(b.ns[n.Name], link.Route{To: to, Via: r.Via, Dev: r.Dev, Src: r.Src, OnLink: r.OnLink})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) settings(n *spec.Node) error {
	for name, value := range n.Sysctls {
		if err := link.Sysctl(b.ns[n.Name], name, value); err != nil {
			return err
		}
	}
	for _, name := range n.InterfaceNames() {
		for feature, on := range n.Interfaces[name].Offloads {
			if err := link.SetOffload(b.ns[n.Name], name, feature, on); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) rules(ctx context.Context, progress func(string, ...any)) error {
	k := b.page.KubeProxy
	if k == nil {
		return nil
	}
	progress("kube-proxy rules: %s", strings.Join(k.Nodes, " "))
	for _, name := range k.Nodes {
		rules := kubeproxy.Rules(k.Services, k.ClusterCIDR, b.page.LocalTo(name))
		if err := kubeproxy.Apply(ctx, b.ns[name], rules); err != nil {
			return err
		}
		pods := b.page.PodNetwork(name)
		if !k.Flannel || !pods.IsValid() {
			continue
		}
		if err := kubeproxy.Add(ctx, b.ns[name], kubeproxy.FlannelRules(k.ClusterCIDR, pods)); err != nil {
			return err
		}
	}
	return nil
}

// Teardown deletes the namespaces of those names, and with them all that
// Build made. Names that are not there are no error.
func Teardown(names []string) error {
	var errs []error
	for _, n := range names {
		errs = append(errs, netns.Delete(n))
	}
	return errors.Join(errs...)
}
