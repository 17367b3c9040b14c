package memory

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestMemorySurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kube-weir.json")
	f, err := Open(path, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := controller.Memory{
		Addresses: map[string]ipam.Hold{"default/nginx-lb1": {
			Addresses: ipam.Addresses{IPv4: netip.MustParseAddr("123.123.123.1"), IPv6: netip.MustParseAddr("2001:db8::1")}, Ports: []ipam.Port{{Number: 55002, Protocol: v1.TCP}},
		}},
		LBs: []netip.Addr{netip.MustParseAddr("192.168.80.11"), netip.MustParseAddr("192.168.80.10")},
	}
	if err := f.Save(want); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path, noon.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again.Memory(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// TestMemoryOfBeforeIPv6 reads what a controller wrote that knew IPv4 alone.
func TestMemoryOfBeforeIPv6(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kube-weir.json")
	old := `{"epoch": 1, "memory": {"addresses": {"default/a": {"address": "192.0.2.1", "ports": [{"number": 80, "protocol": "tcp"}]}}}}`
	if err := os.WriteFile(path, []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, noon)
	if err != nil {
		t.Fatal(err)
	}
	if h := f.Memory().Addresses["default/a"]; h.IPv4 != netip.MustParseAddr("192.0.2.1") || h.IPv6.IsValid() || len(h.Ports) != 1 {
		t.Errorf("got %+v", h)
	}
}

// Generations must grow even where the clock was set back, or two starts fall
// into one millisecond.
func TestEpochOnlyGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kube-weir.json")
	var last uint64
	for _, now := range []time.Time{noon, noon, noon.Add(-time.Hour), noon.Add(time.Hour)} {
		f, err := Open(path, now)
		if err != nil {
			t.Fatal(err)
		}
		if f.Epoch() <= last {
			t.Errorf("at %s epoch %d follows %d", now, f.Epoch(), last)
		}
		last = f.Epoch()
	}
	if want := uint64(noon.Add(time.Hour).UnixMilli()); last != want {
		t.Errorf("with a right clock the epoch is %d, want its milliseconds %d", last, want)
	}
}

func TestWhatCannotBeSaved(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(filepath.Join(dir, "kube-weir.json"), noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(controller.Memory{}); err == nil || !strings.Contains(err.Error(), "is the folder there and writable?") {
		t.Errorf("got %v", err)
	}
}

func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kube-weir.json")
	if err := os.WriteFile(path, []byte(`{"epoch": "x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, noon); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("got %v, want one that says to remove the file", err)
	}
	if data, _ := os.ReadFile(path); string(data) != `{"epoch": "x"}` {
		t.Errorf("the damaged file was written over: %s", data)
	}
}

// FuzzOpen holds that a memory which is taken is kept as it is under a later epoch,
// and that another is refused in one line and left alone.
func FuzzOpen(f *testing.F) {
	for _, seed := range []string{
		`{"epoch": 1, "memory": {"addresses": {"default/a": {"address": "192.0.2.1", "address6": "2001:db8::1", "ports": [{"number": 80, "protocol": "tcp"}]}}, "lbs": ["192.168.80.11"]}}`,
		`{"epoch": 18446744073709551615}`, `{"epoch": -1}`, `{"epoch": 1e3}`, `{"memory": {"addresses": {"a": {"address": "2001:db8::1"}}}}`, `{"memory": null}`, `null`, `{`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "kube-weir.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := Open(path, noon)
		if err != nil {
			left, readErr := os.ReadFile(path)
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) || readErr != nil || !bytes.Equal(left, data) {
				t.Fatalf("refused by %q; the file is %q, %v", err, left, readErr)
			}
			return
		}
		second, err := Open(path, noon)
		if err != nil || first.Epoch() < uint64(noon.UnixMilli()) || second.Epoch() <= first.Epoch() {
			t.Fatalf("epoch %d follows %d, %v", second.Epoch(), first.Epoch(), err)
		}
		if diff := cmp.Diff(first.Memory(), second.Memory(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
	})
}
