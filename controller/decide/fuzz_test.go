package decide

import (
	"slices"
	"testing"

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
