package dataplane

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/dataplane/internal/nstest"
)

func TestMissing(t *testing.T) {
	good := facts{
		capabilities: 1<<unix.CAP_BPF | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_PERFMON,
		kernel:       "6.1.0-18-amd64", btf: true, forwarding: true,
	}
	with := func(change func(*facts)) facts { f := good; change(&f); return f }
	tests := []struct {
		name string
		f    facts
		want []string
	}{
		{"all is there", good, nil},
		{"a newer kernel", with(func(f *facts) { f.kernel = "7.0" }), nil},
		{"too old", with(func(f *facts) { f.kernel = "5.15.0-101-generic" }), []string{"5.15.0-101-generic is too old, use 6.1"}},
		{"a name that is none", with(func(f *facts) { f.kernel = "hurd" }), []string{`"hurd" is not understood`}},
		{"no rights", with(func(f *facts) { f.capabilities = 0 }), []string{"CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON"}},
		{"one right missing", with(func(f *facts) { f.capabilities &^= 1 << unix.CAP_PERFMON }), []string{"CAP_PERFMON"}},
		{"everything at once", facts{kernel: "4.19"}, []string{"CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON", "too old", "BTF", "ip_forward=1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := missing(tt.f)
			if len(got) != len(tt.want) {
				t.Fatalf("missing %q, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				if !strings.Contains(got[i].String(), want) {
					t.Errorf("missing %q, want it to say %q", got[i], want)
				}
			}
		})
	}
}

func TestPreflightOfThisMachine(t *testing.T) {
	nstest.Sysctl(t, "ip_forward", "1")
	if err := Preflight(); err != nil {
		t.Error(err)
	}
	nstest.Sysctl(t, "ip_forward", "0")
	defer nstest.Sysctl(t, "ip_forward", "1")
	if err := Preflight(); err == nil || !strings.Contains(err.Error(), "net.ipv4.ip_forward=1") {
		t.Errorf("without forwarding: %v", err)
	}
}
