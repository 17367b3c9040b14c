package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
)

// lab is a set of namespaces on one bridged network, as the article has it:
// every member has eth1 in 192.168.80.0/24.
type lab struct {
	// root owns what lives as long as the lab, t is the step that runs.
	root, t *testing.T
	prefix  string
	dir     string
	bridge  *netlink.Handle
}

// newLab makes the bridge in a namespace of its own. Everything is removed
// when the test ends.
func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	l := &lab{root: t, t: t, prefix: fmt.Sprintf("weirt-bgp-%d-", os.Getpid()), dir: t.TempDir()}
	l.bridge = l.namespace("net")
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	must(t, l.bridge.LinkAdd(br))
	must(t, l.bridge.LinkSetUp(br))
	return l
}

// namespace makes a named namespace with lo up.
func (l *lab) namespace(name string) *netlink.Handle {
	l.t.Helper()
	// Making a namespace enters it: the thread comes back, or it is left
	// locked and ends with its goroutine.
	runtime.LockOSThread()
	home, err := netns.Get()
	must(l.t, err)
	defer home.Close()
	ns, err := netns.NewNamed(l.prefix + name)
	must(l.t, err)
	defer ns.Close()
	must(l.t, netns.Set(home))
	runtime.UnlockOSThread()
	l.t.Cleanup(func() {
		if err := netns.DeleteNamed(l.prefix + name); err != nil {
			l.t.Errorf("delete namespace: %v", err)
		}
	})
	h, err := netlink.NewHandleAt(ns)
	must(l.t, err)
	l.t.Cleanup(h.Close)
	lo, err := h.LinkByName("lo")
	must(l.t, err)
	must(l.t, h.LinkSetUp(lo))
	return h
}

// member is one namespace on the bridge.
type member struct {
	*lab
	name    string
	address netip.Addr
	handle  *netlink.Handle
}

func (l *lab) member(name, address string) *member {
	l.t.Helper()
	m := &member{lab: l, name: name, address: netip.MustParseAddr(address), handle: l.namespace(name)}
	ns, err := netns.GetFromName(l.prefix + name)
	must(l.t, err)
	defer ns.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth1", PeerNamespace: netlink.NsFd(ns)}
	must(l.t, l.bridge.LinkAdd(veth))
	br, err := l.bridge.LinkByName("br0")
	must(l.t, err)
	port, err := l.bridge.LinkByName(name)
	must(l.t, err)
	must(l.t, l.bridge.LinkSetMaster(port, br))
	must(l.t, l.bridge.LinkSetUp(port))
	eth1, err := m.handle.LinkByName("eth1")
	must(l.t, err)
	must(l.t, m.handle.AddrAdd(eth1, &netlink.Addr{IPNet: &net.IPNet{IP: m.address.AsSlice(), Mask: net.CIDRMask(24, 32)}}))
	must(l.t, m.handle.LinkSetUp(eth1))
	return m
}

// cut takes the member off the bridge without the member or anybody noticing
// a link going down; mend puts it back.
func (m *member) cut() { m.setMaster(0) }
func (m *member) mend() {
	br, err := m.bridge.LinkByName("br0")
	must(m.t, err)
	m.setMaster(br.Attrs().Index)
}

func (m *member) setMaster(index int) {
	m.t.Helper()
	port, err := m.bridge.LinkByName(m.name)
	must(m.t, err)
	must(m.t, m.bridge.LinkSetMasterByIndex(port, index))
}

// setLink takes eth1 of the member itself down or up.
func (m *member) setLink(up bool) {
	m.t.Helper()
	eth1, err := m.handle.LinkByName("eth1")
	must(m.t, err)
	if up {
		must(m.t, m.handle.LinkSetUp(eth1))
	} else {
		must(m.t, m.handle.LinkSetDown(eth1))
	}
}

// command runs in the member's namespace.
func (m *member) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + m.prefix + m.name}, args...)...)
}

// output of a command in the member's namespace.
func (m *member) output(args ...string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Second)
	defer cancel()
	out, err := m.command(ctx, args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %s: %v\n%s", m.name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// routes returns the lines of `ip route` that name what.
func (m *member) routes(what string) string {
	m.t.Helper()
	var lines []string
	for _, line := range strings.Split(m.output("ip", "route", "show"), "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	// An ECMP route has a line for each next hop below its first.
	var out []string
	for i, line := range lines {
		if !strings.HasPrefix(line, what+" ") {
			continue
		}
		out = append(out, line)
		for _, hop := range lines[i+1:] {
			if !strings.HasPrefix(hop, "\t") {
				break
			}
			out = append(out, strings.TrimSpace(hop))
		}
	}
	return strings.Join(out, "\n")
}

// speaker is a Node with GoBGP and the kernel, in a process of its own in the
// namespace of a member (GoBGP dials from goroutines, which a thread's
// namespace does not bind).
type speaker struct {
	*member
	mu    sync.Mutex
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
}

// start runs the process. The options travel in the environment.
func (m *member) start(o childOptions) *speaker {
	m.t.Helper()
	env, err := json.Marshal(o)
	must(m.t, err)
	s := &speaker{member: m, cmd: m.command(m.root.Context(), "/proc/self/exe")}
	// nsenter would find itself under /proc/self/exe.
	exe, err := os.Executable()
	must(m.t, err)
	s.cmd.Args[len(s.cmd.Args)-1] = exe
	s.cmd.Env = append(os.Environ(), childEnv+"="+string(env))
	log, err := os.OpenFile(filepath.Join(m.dir, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(m.t, err)
	m.root.Cleanup(func() {
		log.Close()
		if m.root.Failed() {
			text, _ := os.ReadFile(log.Name())
			m.root.Logf("log of %s:\n%s", m.name, tail(string(text), 40))
		}
	})
	s.cmd.Stderr = log
	s.in, err = s.cmd.StdinPipe()
	must(m.t, err)
	out, err := s.cmd.StdoutPipe()
	must(m.t, err)
	s.lines = bufio.NewReader(out)
	must(m.t, s.cmd.Start())
	m.root.Cleanup(s.kill)
	return s
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// call sends one request and waits for its answer.
func (s *speaker) call(r request) reply {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	must(s.t, json.NewEncoder(s.in).Encode(r))
	line, err := s.lines.ReadBytes('\n')
	if err != nil {
		s.t.Fatalf("%s: the process ended: %v", s.name, err)
	}
	var out reply
	must(s.t, json.Unmarshal(line, &out))
	return out
}

func (s *speaker) apply(r request) {
	s.t.Helper()
	if out := s.call(r); out.Error != "" {
		s.t.Fatalf("%s: apply: %s", s.name, out.Error)
	}
}

func (s *speaker) status() v1.BGPStatus {
	s.t.Helper()
	out := s.call(request{Op: opStatus})
	if out.Error != "" || out.Status == nil {
		s.t.Fatalf("%s: status: %q, %+v", s.name, out.Error, out.Status)
	}
	return *out.Status
}

// kill ends the process as kill -9 does. Killing twice is success.
func (s *speaker) kill() {
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.root.Errorf("kill %s: %v", s.name, err)
	}
	_ = s.cmd.Wait() // reports the kill
}

// eventually polls until check returns "", and fails with its last answer.
func eventually(t *testing.T, within time.Duration, what string, check func() string) {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got := check()
		if got == "" {
			t.Logf("%s: after %v", what, time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > within {
			t.Fatalf("%s: not within %v; got:\n%s", what, within, got)
		}
		<-tick.C
	}
}

// equal is a check for eventually.
func equal(want string, got func() string) func() string {
	return func() string {
		if g := got(); g != want {
			if g == "" {
				return "(nothing)"
			}
			return g
		}
		return ""
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watchDeletions counts how often the member's kernel loses its route to
// prefix from now until the returned function is called; watchMoves counts
// how often that, or any next hop but hop.
func (m *member) watchDeletions(prefix string) (count func() int) {
	return m.watchRoutes(prefix, func(u netlink.RouteUpdate) bool { return u.Type == unix.RTM_DELROUTE })
}

func (m *member) watchMoves(prefix string, hop netip.Addr) (count func() int) {
	return m.watchRoutes(prefix, func(u netlink.RouteUpdate) bool {
		return u.Type == unix.RTM_DELROUTE || u.Gw.String() != hop.String()
	})
}

func (m *member) watchRoutes(prefix string, counts func(netlink.RouteUpdate) bool) (count func() int) {
	m.t.Helper()
	ns, err := netns.GetFromName(m.prefix + m.name)
	must(m.t, err)
	defer ns.Close()
	updates, done := make(chan netlink.RouteUpdate), make(chan struct{})
	must(m.t, netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{Namespace: &ns}))
	total := make(chan int, 1)
	go func() {
		n := 0
		for u := range updates {
			if u.Dst != nil && u.Dst.String() == prefix && counts(u) {
				n++
			}
		}
		total <- n
	}()
	return sync.OnceValue(func() int {
		close(done)
		return <-total
	})
}

// established returns when the sessions of a speaker came up, as exact as the
// second in which GoBGP counts.
func established(s *speaker) map[netip.Addr]time.Time {
	s.t.Helper()
	out := make(map[netip.Addr]time.Time)
	for _, p := range s.status().Peers {
		out[p.Address] = time.Now().Add(-p.Uptime)
	}
	return out
}
