package main

import (
	"errors"
	"strings"
	"testing"
)

func TestPreflightNamesEverythingMissing(t *testing.T) {
	all := facts{capabilities: 1<<netAdmin.bit | 1<<bpf.bit | 1<<perfmon.bit, release: "6.1.0-49-amd64", btf: true}
	with := func(change func(*facts)) facts {
		f := all
		change(&f)
		return f
	}
	fine := func() error { return nil }
	rows := []struct {
		name     string
		peer     bool
		facts    facts
		features func() error
		want     []string // words of the error; none where it starts
	}{
		{"everything there", false, all, fine, nil},
		{"a newer kernel", false, with(func(f *facts) { f.release = "7.0.1" }), fine, nil},
		{"an older kernel", false, with(func(f *facts) { f.release = "6.0.19" }), fine, []string{"kernel 6.0.19 is too old, use 6.1 or newer"}},
		{"a much older kernel", false, with(func(f *facts) { f.release = "5.15.0" }), fine, []string{"kernel 5.15.0 is too old"}},
		{"a kernel that says nothing", false, with(func(f *facts) { f.release = "x" }), fine, []string{`kernel release "x" is not understood`}},
		{"no BTF", false, with(func(f *facts) { f.btf = false }), fine, []string{"/sys/kernel/btf/vmlinux"}},
		{"no rights", false, with(func(f *facts) { f.capabilities = 0 }), fine, []string{"capability BPF", "capability NET_ADMIN", "capability PERFMON"}},
		{"one right missing", false, with(func(f *facts) { f.capabilities &^= 1 << perfmon.bit }), fine, []string{"capability PERFMON"}},
		{"all at once", false, facts{release: "4.19.0"}, fine, []string{"capability BPF", "kernel 4.19.0", "BTF"}},
		{"a feature missing", false, all, func() error { return errors.New("map type LRU hash is missing") }, []string{"map type LRU hash"}},
		{"a peer needs one right", true, facts{capabilities: 1 << netAdmin.bit}, nil, nil},
		{"a peer without it", true, facts{release: "6.1.0"}, nil, []string{"capability NET_ADMIN"}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			err := preflight(r.peer, r.facts, r.features)
			if len(r.want) == 0 {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("it would start")
			}
			for _, word := range append(r.want, "nothing was touched") {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestPreflightDoesNotProbeWithoutRights(t *testing.T) {
	err := preflight(false, facts{release: "6.1.0", btf: true}, func() error {
		t.Error("probed")
		return nil
	})
	if err == nil {
		t.Error("it would start")
	}
}

func TestFactsOfThisMachine(t *testing.T) {
	f, err := readFacts()
	if err != nil {
		t.Fatal(err)
	}
	if f.release == "" || strings.ContainsRune(f.release, 0) {
		t.Errorf("kernel release %q", f.release)
	}
}
