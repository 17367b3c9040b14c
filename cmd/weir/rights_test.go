package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp/fib"
	"github.com/weir-lb/weir/dataplane"
	"github.com/weir-lb/weir/dataplane/health"
)

// deed is something that a container of deploy does, by weir's own functions.
type deed struct {
	// needs are the capabilities without any of which the kernel refuses.
	needs []string
	do    func(c config) error
}

// deeds of each container. What preflight would say is not asked: the kernel is.
var deeds = map[string]map[string]deed{
	"weir": {
		"serve by XDP, TC":  {[]string{"BPF", "NET_ADMIN", "PERFMON"}, forward},
		"learn a route":     {[]string{"NET_ADMIN"}, learn},
		"listen on 179":     {[]string{"NET_BIND_SERVICE"}, speak},
		"probe by SCTP":     {[]string{"NET_RAW"}, probeBy(v1.ProbeSCTP, 9)},
		"probe by ping":     {[]string{"NET_RAW"}, probeBy(v1.ProbePing, 0)},
		"probe by TCP, UDP": {nil, func(c config) error { return errors.Join(probeBy(v1.ProbeTCP, 9)(c), probeBy(v1.ProbeUDP, 9)(c)) }},
	},
	"weir-peer": {
		"learn a route": {[]string{"NET_ADMIN"}, learn},
		"listen on 179": {[]string{"NET_BIND_SERVICE"}, speak},
	},
	"cleanup": {
		// Linux 5.19 and newer want CAP_BPF of who makes programs and maps, not of who opens a pin.
		"clean a node": {[]string{"NET_ADMIN"}, func(c config) error { return cleanup(c, quiet) }},
	},
}

// forward loads the programs, pins and attaches them, and takes them off again.
func forward(c config) error {
	d, err := openDataplane(c, quiet)
	if err != nil {
		return err
	}
	return d.Stop()
}

// learned is a route such as BGP brings.
var learned = fib.Route{Prefix: netip.MustParsePrefix("203.0.113.1/32"), NextHops: []netip.Addr{netip.MustParseAddr("198.51.100.2")}}

func learn(config) error {
	kernel, err := fib.OpenNetlink()
	if err != nil {
		return err
	}
	return errors.Join(kernel.Do(fib.Step{Op: fib.Add, Route: learned}), kernel.Do(fib.Step{Op: fib.Delete, Route: learned}), kernel.Close())
}

func speak(c config) error {
	s, err := openSpeaker(c, false, quiet)
	if err != nil {
		return err
	}
	return errors.Join(s.Apply(context.Background(), &v1.BGP{ASN: 64512, RouterID: netip.MustParseAddr("198.51.100.1")}, nil, nil), s.Close())
}

// probeBy asks this machine, where nobody listens: an answer all the same.
func probeBy(by v1.ProbeType, port uint16) func(config) error {
	return func(config) error {
		ctx, cancel := context.WithTimeout(context.Background(), health.DefaultTimeout)
		defer cancel()
		_, err := (&health.Network{}).Probe(ctx, health.Target{Type: by, Address: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)})
		if errors.Is(err, health.ErrInconclusive) {
			return err
		}
		return nil
	}
}

// leave is what the cleanup finds: pinned programs that serve, and a route.
func leave(c config) error {
	d, err := openDataplane(c, quiet)
	if err != nil {
		return err
	}
	kernel, err := fib.OpenNetlink()
	if err != nil {
		return err
	}
	return errors.Join(d.Close(), kernel.Do(fib.Step{Op: fib.Add, Route: learned}), kernel.Close())
}

// asContainer makes this test binary do the deeds of the container that it names.
const asContainer = "WEIR_TEST_CONTAINER"

// runAsContainer is what TestMain does instead of the tests in the children of
// TestKernelRefusesEachDeedWithoutItsRight.
func runAsContainer() (ran bool, code int) {
	name, ok := os.LookupEnv(asContainer)
	if !ok {
		return false, 0
	}
	c := config{hook: "xdp", egrHooks: true, peer: name == "weir-peer", maxFlows: 4096, pinDir: os.Args[1] + "/bpf/weir"}
	all := deeds[name]
	if name == "leave" {
		all = map[string]deed{name: {do: leave}}
	}
	outcome := map[string]string{}
	for what, d := range all {
		outcome[what] = ""
		if err := d.do(c); err != nil {
			outcome[what] = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(outcome); err != nil {
		return true, 1
	}
	return true, 0
}

// TestKernelRefusesEachDeedWithoutItsRight runs what each container of deploy does
// with the capabilities that its manifest adds, and with each of them missing: all
// deeds succeed, and those that need the missing one are refused by the kernel, no
// others. A capability that no deed needs is one too many.
func TestKernelRefusesEachDeedWithoutItsRight(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give capabilities away")
	}
	for name, manifest := range map[string]string{
		"weir": "base/weir.yaml", "weir-peer": "base/weir-peer.yaml", "cleanup": "cleanup/weir-cleanup.yml",
	} {
		t.Run(name, func(t *testing.T) {
			may := added(t, "../../deploy/"+manifest, name)
			n := newNode(t)
			needed := map[string]bool{}
			for _, d := range deeds[name] {
				for _, capability := range d.needs {
					needed[capability] = true
				}
			}
			if all := slices.Sorted(maps.Keys(needed)); !slices.Equal(all, may) {
				t.Errorf("deploy/%s adds %q, the kernel wants %q", manifest, may, all)
			}
			for _, missing := range append([]string{""}, may...) {
				if name == "cleanup" {
					n.run(t, name, nil) // what it was refused before
					if said := n.run(t, "leave", nil); said["leave"] != "" {
						t.Fatalf("nothing to clean: %s", said["leave"])
					}
				}
				given := slices.DeleteFunc(slices.Clone(may), func(c string) bool { return c == missing })
				for what, said := range n.run(t, name, given) {
					refused := strings.Contains(said, "operation not permitted") || strings.Contains(said, "permission denied") ||
						strings.Contains(said, "CAP_NET_BIND_SERVICE is missing") // EACCES, in words
					if want := slices.Contains(deeds[name][what].needs, missing); refused != want || said != "" && !refused {
						t.Errorf("%s without %q: refused %v, want %v: %q", what, missing, refused, want, said)
					}
				}
			}
		})
	}
}

// added is what the manifest's container of that name adds to no capabilities at all.
func added(t *testing.T, file, name string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for documents := yaml.NewDecoder(f); ; {
		var o struct {
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Name            string
							SecurityContext struct {
								Capabilities struct{ Add []string }
							} `yaml:"securityContext"`
						}
					}
				}
			}
		}
		if err := documents.Decode(&o); errors.Is(err, io.EOF) {
			t.Fatalf("%s has no container %s", file, name)
		} else if err != nil {
			t.Fatal(err)
		}
		for _, c := range o.Spec.Template.Spec.Containers {
			if c.Name == name {
				return slices.Sorted(slices.Values(c.SecurityContext.Capabilities.Add))
			}
		}
	}
}

// testNode is a network namespace with an interface of its own and a BPF file system
// such as the init container makes.
type testNode struct {
	dir string
	do  chan func()
}

func newNode(t *testing.T) *testNode {
	t.Helper()
	n := &testNode{t.TempDir(), make(chan func())}
	pins := filepath.Join(n.dir, "bpf")
	if err := dataplane.Prepare(pins); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(n.do)
		if err := unix.Unmount(pins, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	made := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and the namespace with it.
		runtime.LockOSThread()
		made <- makeNetwork()
		for f := range n.do {
			f()
		}
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	return n
}

// makeNetwork gives the calling thread a network of its own.
func makeNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "eth1"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "client"}); err != nil {
		return err
	}
	var errs []error
	for _, name := range []string{"lo", "eth1", "client"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		errs = append(errs, netlink.LinkSetUp(l))
		if name == "eth1" {
			address, err := netlink.ParseAddr("198.51.100.1/24")
			errs = append(errs, err, netlink.AddrAdd(l, address))
		}
	}
	return errors.Join(append(errs, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))...)
}

// run has a child with these capabilities, all of root's if nil, do the deeds of the
// container, and returns what came of each: nothing if it went well.
func (n *testNode) run(t *testing.T, container string, capabilities []string) map[string]string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{self, n.dir}
	if capabilities != nil {
		set := "-all"
		for _, c := range capabilities {
			set += ",+" + strings.ToLower(c)
		}
		args = append([]string{"setpriv", "--bounding-set=" + set, "--inh-caps=-all"}, args...)
	}
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), asContainer+"="+container)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ended := make(chan error)
	n.do <- func() { ended <- cmd.Run() }
	outcome := map[string]string{}
	if err := errors.Join(<-ended, json.Unmarshal(stdout.Bytes(), &outcome)); err != nil {
		t.Fatalf("%s with %q: %v\n%s", container, capabilities, err, stderr.String())
	}
	return outcome
}
