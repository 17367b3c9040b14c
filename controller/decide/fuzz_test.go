package decide

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// FuzzAnnotations holds that annotations, which anyone may write who may write
// a Service, lead to a mode that is served or to a refusal that says why.
func FuzzAnnotations(f *testing.F) {
	f.Add("loxilb.io/lbmode", "fullnat", "loxilb.io/liveness", "yes")
	f.Add("weir-lb.io/lbmode", "dsr", "loxilb.io/lbmode", "onearm")
	f.Add("loxilb.io/staticIP", "1.2.3", "loxilb.io/poolSelect", "\x00")
	f.Add("loxilb.io/epselect", "leastconn", "loxilb.io/usepodnetwork", "maybe")
	f.Add("loxilb.io/", "", "weir-lb.io/", "")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		s, bad := readAnnotations(map[string]string{key1: value1, key2: value2}, controller.Config{})
		switch {
		case bad != nil && (bad.reason == "" || bad.message == ""):
			t.Fatalf("refused without saying why: %+v", bad)
		case bad == nil && !slices.Contains([]v1.Mode{v1.ModeDefault, v1.ModeOneArm, v1.ModeFullNAT}, s.mode):
			t.Fatalf("mode %q", s.mode)
		}
	})
}

// FuzzWanted holds that the addresses which a Service asks for, in either
// place, are refused in one line, or are one of each of its families at most.
func FuzzWanted(f *testing.F) {
	f.Add("192.0.2.1", "", uint8(0))
	f.Add("", "2001:db8::1,192.0.2.1", uint8(3))
	f.Add("2001:DB8:0::0:1", "2001:db8::1", uint8(1))
	f.Add("fe80::1%eth0", "::ffff:192.0.2.1", uint8(2))
	f.Add("::", "192.0.2.1,,", uint8(3))
	f.Fuzz(func(t *testing.T, spec, annotation string, choice uint8) {
		list := [][]corev1.IPFamily{{"IPv4"}, {"IPv6"}, {"IPv4", "IPv6"}, {"IPv6", "IPv4"}}[choice%4]
		o := lb("a", ports("80:30080/TCP"), families("RequireDualStack", list...), clusterIPs("10.43.0.1"), wanted(spec), note("loxilb.io/staticIP", annotation))
		s := readService(o, controller.Config{})
		if s.refusal != nil {
			if s.refusal.reason != ReasonInvalidAddress || strings.Contains(s.refusal.message, "\n") {
				t.Fatalf("refused as %+v", s.refusal)
			}
			return
		}
		if len(s.wants) != len(list) {
			t.Fatalf("%d wants of %d families", len(s.wants), len(list))
		}
		for i, w := range s.wants {
			if w.IPv6 != (list[i] == corev1.IPv6Protocol) || (w.Address.IsValid() && (w.Address.Is6() != w.IPv6 || w.Address.Is4In6() || w.Address.Zone() != "")) {
				t.Fatalf("want %d of %v is %+v", i, list, w)
			}
		}
	})
}
