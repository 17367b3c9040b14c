// Package collect gathers what doctor judges, in the network namespace of the
// process. It changes nothing. What it may not look at it names in
// Facts.Unseen, and goes on.
package collect

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/dataplane"
	"github.com/weir-lb/weir/doctor"
)

// Node returns the facts of this machine; Observed and Silence are the caller's
// to fill. The error is for a machine of which nothing can be said.
func Node() (doctor.Facts, error) {
	var f doctor.Facts
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return f, fmt.Errorf("read kernel release: %w", err)
	}
	f.Kernel = unix.ByteSliceToString(name.Release[:])
	lacking, err := dataplane.Examine()
	if err != nil {
		return f, err
	}
	for _, l := range lacking {
		f.Lacking = append(f.Lacking, doctor.Lack{Of: string(l.Of), Seen: l.Seen, Do: l.Do})
	}
	if f.Forwarding, err = forwards(); err != nil {
		return f, err
	}
	if f.ClockSynchronised, err = synchronised(); err != nil {
		f.Unseen = append(f.Unseen, err.Error())
	}
	if f.Local, err = local(); err != nil {
		return f, err
	}
	if f.Learned, err = learned(); err != nil {
		return f, err
	}
	interfaces, unseen, err := devices()
	f.Interfaces, f.Unseen = interfaces, append(f.Unseen, unseen...)
	return f, err
}

func forwards() (bool, error) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return false, fmt.Errorf("read forwarding: %w", err)
	}
	return strings.TrimSpace(string(b)) == "1", nil
}

// synchronised asks the kernel whether somebody adjusts its clock (adjtimex(2)).
func synchronised() (bool, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, fmt.Errorf("read state of the clock: %w", err)
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}

// local lists the prefixes that are this node's own: addresses, and what
// somebody has made local by a route.
func local() ([]doctor.Local, error) {
	routes, err := routesOf(&netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	if err != nil {
		return nil, fmt.Errorf("list local addresses: %w", err)
	}
	var all []doctor.Local
	for _, r := range routes {
		if p, ok := prefixOf(r); ok {
			all = append(all, doctor.Local{Prefix: p, Interface: nameOf(r.LinkIndex)})
		}
	}
	return all, nil
}

// learned lists the single addresses to which BGP has routes (proto bgp, 186).
func learned() ([]netip.Addr, error) {
	routes, err := routesOf(&netlink.Route{Protocol: unix.RTPROT_BGP}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("list learned routes: %w", err)
	}
	var all []netip.Addr
	for _, r := range routes {
		if p, ok := prefixOf(r); ok && p.IsSingleIP() {
			all = append(all, p.Addr())
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), nil
}

// routesOf lists what is there; a listing that routes changed under is good
// enough to look at.
func routesOf(filter *netlink.Route, mask uint64) ([]netlink.Route, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, mask)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil
	}
	return routes, err
}

func prefixOf(r netlink.Route) (netip.Prefix, bool) {
	if r.Dst == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(r.Dst.IP)
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits), ok
}

// nameOf is the interface's name, or its number where it is gone.
func nameOf(index int) string {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("interface %d", index)
	}
	return l.Attrs().Name
}
