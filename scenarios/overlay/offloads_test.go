package overlay

import (
	"context"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// tunnels and summed are the segmentation of what is inside a VXLAN, by the device
// below it: of one without and of one with checksums of outer packets.
const (
	tunnels = "tx-udp_tnl-segmentation"
	summed  = "tx-udp_tnl-csum-segmentation"
)

// features are what ethtool -K switches and what decides how long packets are on
// their way, and who completes their checksums.
var features = []string{"rx", "tx", "sg", "tso", "gso", "gro", tunnels, summed}

// shown are the names that ethtool -k has for those of features that it shows by others.
var shown = map[string]string{
	"rx": "rx-checksumming", "tx": "tx-checksumming", "sg": "scatter-gather", "tso": "tcp-segmentation-offload",
	"gso": "generic-segmentation-offload", "gro": "generic-receive-offload",
}

// way are the devices that requests and answers pass.
var way = []struct{ node, iface string }{
	{"client", "eth1"},
	{"master1", "eth2"}, {"master1", "flannel.1"}, {"master1", "eth1"},
	{"worker1", "eth1"}, {"worker1", "flannel.1"}, {"worker1", "veth0"},
	{"pod1", "eth0"},
}

// without are features that are off on the whole way, while all others are on.
type without struct {
	name string
	off  []string
	// long tells that master1 hands its device what that, or the next one, has to cut.
	long bool
}

var withoutOf = map[string][]without{
	"tc": {
		{"none", nil, true},
		{"rx", []string{"rx"}, true},
		{"tx", []string{"tx"}, false},
		{"sg", []string{"sg"}, false},
		{"tso", []string{"tso"}, false},
		{"gso", []string{"gso"}, true},
		{"gro", []string{"gro"}, true},
		{tunnels, []string{tunnels, summed}, false},
		{"all", features, false},
	},
	// Native XDP needs GRO, and senders that complete their checksums (docs/testing.md).
	"xdp": {
		{"tx", []string{"tx"}, false},
		{"tx, and rx", []string{"tx", "rx"}, false},
		{"tx, gso and " + tunnels, []string{"tx", "gso", tunnels, summed}, false},
	},
}

// set switches all devices of the way until the spec ends, and sees that they took it:
// ethtool -K of several features does not fail where one of them stays as it was.
func (w without) set(ctx context.Context, l *lab, hook string) {
	GinkgoHelper()
	switched := map[string]int{}
	for _, at := range way {
		before := state(ctx, l, at.node, at.iface)
		DeferCleanup(func(ctx context.Context) {
			turn(ctx, l, at.node, at.iface, func(f string) bool { return strings.HasPrefix(before[f], "on") })
		})
		turn(ctx, l, at.node, at.iface, func(f string) bool { return !slices.Contains(w.off, f) })
		for f, is := range state(ctx, l, at.node, at.iface) {
			switch {
			case strings.HasSuffix(is, "[fixed]"): // the device's own, or none of its
			case slices.Contains(w.off, f):
				Expect(is).To(HavePrefix("off"), "%s of %s on %s", f, at.iface, at.node)
				switched[f]++
			case hook == "xdp" && f == "tso" && is == "off": // a veth has none whose other end runs XDP
			case len(w.off) == 0:
				Expect(is).To(Equal("on"), "%s of %s on %s", f, at.iface, at.node)
			default: // the kernel has others off that need what is off
				Expect(is).To(Or(Equal("on"), Equal("off [requested on]")), "%s of %s on %s", f, at.iface, at.node)
			}
		}
	}
	for _, f := range w.off {
		Expect(switched).To(HaveKey(f), "no device of the way can switch it")
	}
}

// turn switches each of features on or off, where that is not fixed.
func turn(ctx context.Context, l *lab, node, iface string, on func(feature string) bool) {
	GinkgoHelper()
	args := []string{"-K", iface}
	for _, f := range features {
		if on(f) {
			args = append(args, f, "on")
		} else {
			args = append(args, f, "off")
		}
	}
	_, err := l.Node(node).Run(ctx, "ethtool", args...)
	Expect(err).NotTo(HaveOccurred())
}

// state is what ethtool -k says of each of features.
func state(ctx context.Context, l *lab, node, iface string) map[string]string {
	GinkgoHelper()
	out, err := l.Node(node).Run(ctx, "ethtool", "-k", iface)
	Expect(err).NotTo(HaveOccurred())
	said := map[string]string{}
	for line := range strings.Lines(out) {
		name, is, _ := strings.Cut(strings.TrimSpace(line), ": ")
		said[name] = is
	}
	is := map[string]string{}
	for _, f := range features {
		name := f
		if other, ok := shown[f]; ok {
			name = other
		}
		Expect(said).To(HaveKey(name), "%s on %s", iface, node)
		is[f] = said[name]
	}
	return is
}

// expectChecksums moves bytes both ways and verifies every packet that came to the
// worker inside the VXLAN, to the pod, and to the client.
func (w without) expectChecksums(ctx context.Context, l *lab) {
	GinkgoHelper()
	const bytes = 1 << 20
	tcp := capture.Where(func(p packet.Packet) bool { return p.Protocol == packet.TCP })
	outer := func(f capture.Frame) bool { _, is := carried(f); return is }
	atMaster, atWorker := l.Headers("master1:eth1", outer), l.Capture("worker1:eth1", nil)
	atPod, atClient := l.Capture("pod1:eth0", tcp), l.Capture("client:eth1", tcp)
	harness.Step("bytes go up and down", func() {
		for _, move := range []func(*probe.Client, context.Context, probe.Request, int64) (probe.Transfer, error){
			(*probe.Client).Upload, (*probe.Client).Download,
		} {
			_, err := move(l.requests, ctx, fullnat.request(v1.TCP), bytes)
			Expect(err).NotTo(HaveOccurred())
		}
	})
	harness.Step("in packets whose checksums are right where they arrive", func() {
		inside, _ := split(atWorker.Frames())
		for at, frames := range map[string][]capture.Frame{"worker1": inside, "pod1": atPod.Frames(), "client": atClient.Frames()} {
			Expect(frames).NotTo(BeEmpty(), at)
			for _, f := range frames {
				p, _ := f.Packet()
				Expect(f.Verify()).To(Succeed(), "%s: %s", at, p)
			}
		}
	})
	harness.Step("as long as the devices take them", func() {
		longest := 0
		for _, f := range atMaster.Frames() {
			longest = max(longest, f.Length)
		}
		Expect(longest > outerHeaders+14+overlayMTU).To(Equal(w.long), "the longest has %d bytes", longest)
	})
}

// describeOffloads has a spec for each of withoutOf.
func describeOffloads(l func() *lab, hook string) {
	for _, w := range withoutOf[hook] {
		It("get right checksums without "+w.name, func(ctx SpecContext) {
			w.set(ctx, l(), hook)
			on := !slices.Contains(w.off, "tx")
			for _, p := range protocols {
				expectBytes(ctx, l(), fullnat, p, offloads{senders: on, uplink: on, tunnel: on})
			}
			w.expectChecksums(ctx, l())
		})
	}
}
