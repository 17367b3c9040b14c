package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// route sends the pod ranges of another node to its address of the same family.
func route(ranges []netip.Prefix, via []netip.Addr) error {
	var failed []error
	for _, to := range ranges {
		for _, gateway := range via {
			if gateway.Is4() != to.Addr().Is4() {
				continue
			}
			r := netlink.Route{Dst: ipNet(to), Gw: gateway.AsSlice()}
			if err := netlink.RouteReplace(&r); err != nil {
				failed = append(failed, fmt.Errorf("route %s via %s: %w", to, gateway, err))
			}
		}
	}
	return errors.Join(failed...)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// masquerade gives what leaves the pod network the node's address; what stays inside keeps its own.
func masquerade(pods []netip.Prefix) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "node-network"})
	c.FlushTable(t)
	chain := c.AddChain(&nftables.Chain{
		Name: "post", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	for _, p := range pods {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: leaving(p)})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("hide pods behind the node: %w", err)
	}
	return nil
}

// leaving matches packets from a prefix to outside of it, and masquerades them.
func leaving(p netip.Prefix) []expr.Any {
	family, source, destination := byte(unix.NFPROTO_IPV4), uint32(12), uint32(16)
	if p.Addr().Is6() {
		family, source, destination = unix.NFPROTO_IPV6, 8, 24
	}
	n := ipNet(p)
	size := uint32(len(n.IP))
	within := func(offset uint32, op expr.CmpOp) []expr.Any {
		return []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: n.Mask, Xor: make([]byte, size)},
			&expr.Cmp{Op: op, Register: 1, Data: n.IP},
		}
	}
	all := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
	}
	all = append(all, within(source, expr.CmpOpEq)...)
	all = append(all, within(destination, expr.CmpOpNeq)...)
	return append(all, &expr.Masq{})
}
