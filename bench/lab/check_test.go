package lab

import (
	"context"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	topolink "github.com/weir-lb/weir/topo/link"
)

func mustUp(t *testing.T, b Balancer) *Lab {
	t.Helper()
	l, err := Up(t.Context(), b, Options{Progress: t.Logf})
	if err != nil {
		t.Fatalf("%v; run as root", err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestCheckFindsWhatSpoilsARun(t *testing.T) {
	l := mustUp(t, RedirectXDP)
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	expect := func(words string, with ...string) {
		t.Helper()
		if err := l.Check(with...); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("Check says %v, want %q", err, words)
		}
	}
	expect("no XDP program is attached", "server:eth1")

	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer pass.Close()
	attach := func(flags link.XDPAttachFlags) link.Link {
		t.Helper()
		var stray link.Link
		err := l.Node("lb").Do(func() (err error) {
			stray, err = link.AttachXDP(link.XDPOptions{Interface: l.Index("lb:eth1"), Program: pass, Flags: flags})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return stray
	}
	stray := attach(link.XDPDriverMode)
	expect("check lb:eth1 of redirect-xdp: XDP program")
	if err := l.Check("lb:eth1"); err != nil {
		t.Errorf("the benchmark's own program: %v", err)
	}
	if err := stray.Close(); err != nil {
		t.Fatal(err)
	}
	stray = attach(link.XDPGenericMode)
	expect("not in the driver", "lb:eth1")
	if err := stray.Close(); err != nil {
		t.Fatal(err)
	}
	if err := topolink.SetOffload(l.Node("server").NS, "eth1", "gro", false); err != nil {
		t.Fatal(err)
	}
	expect("receive merging is off")
	if err := topolink.SetOffload(l.Node("server").NS, "eth1", "gro", true); err != nil {
		t.Fatal(err)
	}
	l.Balancer.Hook = "xdp" // whose senders must finish checksums
	expect("leaves checksums to a device")
}
