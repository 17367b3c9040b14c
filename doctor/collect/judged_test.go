package collect

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/doctor"
)

// Commands of linux/ethtool.h that change what those of merges tell.
const (
	setGRO   = 0x2c
	setFlags = 0x26
)

// judge looks at this machine where weir takes packets at an interface by a hook,
// and returns what one check says.
func judge(t *testing.T, check, name, hook string) []doctor.Finding {
	t.Helper()
	f, err := Node()
	must(t, err)
	f.Observed = &v1.ObservedState{Mode: v1.NodeLB, Interfaces: []v1.Interface{{Name: name, Hook: hook}}}
	return slices.DeleteFunc(doctor.Examine(f), func(f doctor.Finding) bool { return f.Check != check })
}

// The kernel that this runs on, and those that make kernels boots, have all that
// weir needs.
func TestKernel(t *testing.T) {
	worker(t)
	found := judge(t, "kernel", "eth1", "tc")
	if len(found) != 1 || found[0].Level != doctor.OK || !strings.Contains(found[0].Seen, "has all that is used") {
		t.Errorf("found %+v, want this kernel to have all", found)
	}
}

// Offloads of devices that are switched, and what is said of them.
func TestOffloads(t *testing.T) {
	lro := func(on bool) func(*testing.T, string) {
		return func(t *testing.T, name string) {
			flags := ethtoolValue{command: getFlags}
			if !ethtool(name, &flags) {
				t.Fatal("LRO cannot be read")
			}
			flags.command = setFlags
			if flags.data &^= flagLRO; on {
				flags.data |= flagLRO
			}
			if !ethtool(name, &flags) {
				t.Fatal("LRO cannot be switched")
			}
		}
	}
	gro := func(on uint32) func(*testing.T, string) {
		return func(t *testing.T, name string) {
			if !ethtool(name, &ethtoolValue{setGRO, on}) {
				t.Fatal("GRO cannot be switched")
			}
		}
	}
	bridge := func(a netlink.LinkAttrs) netlink.Link { return &netlink.Bridge{LinkAttrs: a} }
	veth := func(a netlink.LinkAttrs) netlink.Link { return &netlink.Veth{LinkAttrs: a, PeerName: "other"} }
	bond := func(a netlink.LinkAttrs) netlink.Link { return netlink.NewLinkBond(a) }
	for _, tt := range []struct {
		name   string
		device func(netlink.LinkAttrs) netlink.Link
		hook   string
		set    func(*testing.T, string)
		level  doctor.Level
		do     string
	}{
		{"GRO", bridge, "tc", gro(1), doctor.OK, ""},
		{"no GRO", bridge, "tc", gro(0), doctor.Warn, "ethtool -K uplink gro on"},
		{"no GRO at XDP", bridge, "xdp", gro(0), doctor.OK, ""},
		{"no GRO of a veth", veth, "tc", gro(0), doctor.OK, ""},
		{"XDP of a veth", veth, "xdp", gro(1), doctor.Warn, "use --hook=auto"},
		{"LRO", bond, "tc", lro(true), doctor.Fail, "ethtool -K uplink lro off"},
		{"no LRO", bond, "tc", lro(false), doctor.OK, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			enter(t)
			err := netlink.LinkAdd(tt.device(netlink.LinkAttrs{Name: "uplink"}))
			if errors.Is(err, unix.EOPNOTSUPP) {
				t.Skip("this kernel has no such device")
			}
			must(t, err)
			tt.set(t, "uplink")
			found := judge(t, "offloads", "uplink", tt.hook)
			if len(found) != 1 || found[0].Level != tt.level || !strings.HasPrefix(found[0].Do, tt.do) || (found[0].Do == "") != (tt.do == "") {
				t.Errorf("found %+v, want %s: %s", found, tt.level, tt.do)
			}
		})
	}
}
