package dataplane

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/plan"
)

func TestParsePorts(t *testing.T) {
	tests := []struct {
		text string
		want []plan.PortRange
		why  string
	}{
		{"32768\t60999\n", []plan.PortRange{{Min: 32768, Max: 60999}}, ""},
		{"\n", nil, ""},
		{"8080\n", []plan.PortRange{{Min: 8080, Max: 8080}}, ""},
		{"8080,9148-9150,30000-32767\n", []plan.PortRange{{Min: 8080, Max: 8080}, {Min: 9148, Max: 9150}, {Min: 30000, Max: 32767}}, ""},
		{"65536\n", nil, `"65536" is no port`},
		{"1024\n65536", nil, `"65536" ends no range from port 1024`},
		{"60999 32768", nil, `"32768" ends no range from port 60999`},
		{"8080,", nil, `"" is no port`},
	}
	for _, tt := range tests {
		got, err := parsePorts(tt.text)
		if tt.why != "" && (err == nil || err.Error() != tt.why) || tt.why == "" && err != nil {
			t.Errorf("parsePorts(%q): error %v, want %q", tt.text, err, tt.why)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("parsePorts(%q), -want +got:\n%s", tt.text, diff)
		}
	}
}

// What backends see come from this node comes from ports that the kernel gives no
// socket, of the namespace that weir serves in; where there are none, the node says so.
func TestFlowsKeepToTheNodesOwnPorts(t *testing.T) {
	n := mustNetwork(t)
	serve(t, n.a)
	o := Options{Hook: "tc", PinDir: pinDir(t)}
	was, err := os.ReadFile(localPortsFile)
	must(t, err)
	t.Cleanup(func() { must(t, os.WriteFile(localPortsFile, was, 0)) })
	for _, tt := range []struct {
		local     string
		low, high uint16
		crowded   bool
	}{
		{"1024 60999", 61000, 65535, false},
		{"20000 65535", 1024, 19999, false},
		{"1024 65535", 1024, 65535, true},
	} {
		must(t, os.WriteFile(localPortsFile, []byte(tt.local), 0))
		d, end := mustStart(t, o)
		mustApply(t, d, serviceOn(80, v1.TCP, v1.ModeOneArm, podA))
		n.where(t, d, 20)
		flows, err := d.Flows(t.Context())
		must(t, err)
		if len(flows) == 0 {
			t.Fatal("no flow was made")
		}
		for _, f := range flows {
			if port := f.NewSource.Port(); f.Direction != "reply" && (port < tt.low || port > tt.high) {
				t.Errorf("local ports %s: a flow has source %s, want ports %d-%d", tt.local, f.NewSource, tt.low, tt.high)
			}
		}
		var said []string
		for _, c := range d.Conditions() {
			if c.Type == v1.ConditionOwnPorts {
				said = append(said, c.Reason+": "+c.Message)
			}
		}
		if crowded := len(said) == 1 && strings.Contains(said[0], ReasonLocalPortRange+": net.ipv4.ip_local_port_range (1024-65535)"); crowded != tt.crowded || len(said) > 1 {
			t.Errorf("local ports %s: conditions %q, want one: %t", tt.local, said, tt.crowded)
		}
		end()
		must(t, d.Stop())
	}
}
