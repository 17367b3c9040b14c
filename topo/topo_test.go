package topo

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/topo/node"
	"github.com/weir-lb/weir/topo/spec"
)

// within is a context for one step of a test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustLoad(t *testing.T) *spec.Page {
	t.Helper()
	p, err := Load("testdata/lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func testVars(t *testing.T) map[string]string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"self": self}
}

// mustUp brings the lab up for the length of the test.
func mustUp(t *testing.T, o Options) *Topology {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	if o.Vars == nil {
		o.Vars = testVars(t)
	}
	lab, err := Up(within(t, 20*time.Second), mustLoad(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := lab.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	return lab
}

// ask sends a request from n and returns the answer's greeting and the client
// address that the server saw.
func ask(ctx context.Context, n *node.Node, network, address string) (greeting string, seen netip.AddrPort, err error) {
	conn, err := n.Dial(ctx, network, address)
	if err != nil {
		return "", seen, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", seen, err
	}
	if network == "udp" {
		if _, err := conn.Write([]byte("?")); err != nil {
			return "", seen, err
		}
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", seen, err
	}
	greeting, from, _ := strings.Cut(strings.TrimSpace(line), " for ")
	seen, err = netip.ParseAddrPort(from)
	return greeting, seen, err
}

func TestNodePortsReachThePod(t *testing.T) {
	lab := mustUp(t, Options{})
	want := "served by pod of " + lab.ID()
	tests := []struct{ name, from, network, address, seen string }{
		{"Local keeps the client's address", "client", "tcp", "192.0.2.10:30080", "192.0.2.1"},
		{"Local over UDP", "client", "udp", "192.0.2.10:30053", "192.0.2.1"},
		{"Cluster on the pod's node hides it", "client", "tcp", "192.0.2.10:30081", "10.42.1.1"},
		{"Cluster on another node crosses the overlay", "client", "tcp", "192.0.2.11:30081", "10.42.2.0"},
		{"a cluster address", "far", "tcp", "10.43.0.1:80", "10.42.2.0"},
		{"the pod by the overlay", "far", "tcp", "10.42.1.2:8080", "10.42.2.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, seen, err := ask(within(t, 5*time.Second), lab.Node(tt.from), tt.network, tt.address)
			if err != nil {
				t.Fatal(err)
			}
			if got != want || seen.Addr().String() != tt.seen {
				t.Errorf("answer %q to %s, want %q to %s", got, seen, want, tt.seen)
			}
		})
	}
	t.Run("Local on a node without the pod drops", func(t *testing.T) {
		_, _, err := ask(within(t, 300*time.Millisecond), lab.Node("client"), "tcp", "192.0.2.11:30080")
		// Either the context's deadline or the poller's, whichever is noticed first.
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			t.Errorf("got %v, want a time-out", err)
		}
	})
}

func TestScenariosCutLinksAndSetOffloads(t *testing.T) {
	lab := mustUp(t, Options{})
	client, eth1 := lab.Node("client"), lab.Node("client").Link("eth1")
	for _, on := range []bool{false, true} {
		if err := eth1.SetOffload("tx", on); err != nil {
			t.Error(err)
		}
		if got, err := eth1.Offload("tx"); err != nil || got != on {
			t.Errorf("offload tx is %t, %v, want %t", got, err, on)
		}
	}
	if on, err := eth1.Offload("gro"); err != nil || !on {
		t.Errorf("the page's gro is %t, %v, want on", on, err)
	}
	if err := eth1.Down(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ask(within(t, time.Second), client, "tcp", "192.0.2.10:30080"); err == nil {
		t.Error("a cut link carried a connection")
	}
	if err := eth1.Up(); err != nil {
		t.Fatal(err)
	}
	// The bridge forwards again when it has seen the carrier.
	ctx := within(t, 5*time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		_, _, err := ask(within(t, 500*time.Millisecond), client, "tcp", "192.0.2.10:30080")
		if err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("a link that is up again carries nothing: %v", err)
		}
	}
}

func TestXDPPreparesVeths(t *testing.T) {
	lab := mustUp(t, Options{Hook: "xdp", NoProcesses: true})
	for _, tt := range []struct {
		node, link, feature string
		want                bool
	}{{"client", "eth1", "tx", false}, {"pod", "eth0", "tx", false}, {"sw", "p1", "gro", true}, {"sw", "p1", "tx", false}} {
		if on, err := lab.Node(tt.node).Link(tt.link).Offload(tt.feature); err != nil || on != tt.want {
			t.Errorf("%s:%s %s is %t, %v, want %t", tt.node, tt.link, tt.feature, on, err, tt.want)
		}
	}
}

func TestCopiesDoNotMeet(t *testing.T) {
	root := t.TempDir()
	one, two := mustUp(t, Options{Root: root}), mustUp(t, Options{Root: root})
	for _, lab := range []*Topology{one, two} {
		got, _, err := ask(within(t, 5*time.Second), lab.Node("client"), "tcp", "192.0.2.10:30080")
		if want := "served by pod of " + lab.ID(); err != nil || got != want {
			t.Errorf("in %s: %q, %v, want %q", lab.ID(), got, err, want)
		}
	}
	if _, err := Up(t.Context(), mustLoad(t), Options{Root: root, Name: one.ID()}); err == nil || !strings.Contains(err.Error(), "it is there already") {
		t.Errorf("a second %s: %v, want a refusal", one.ID(), err)
	}
	if _, _, err := ask(within(t, 5*time.Second), one.Node("client"), "tcp", "192.0.2.10:30080"); err != nil {
		t.Errorf("the refusal did harm: %v", err)
	}
}

func TestRunGivesOutputAndError(t *testing.T) {
	lab := mustUp(t, Options{NoProcesses: true, BinDir: "/nowhere"})
	client := lab.Node("client")
	out, err := client.Run(t.Context(), "ip", "-4", "-o", "addr", "show", "eth1")
	if err != nil || !strings.Contains(out, "192.0.2.1/24") {
		t.Errorf("ip addr: %q, %v", out, err)
	}
	out, err = client.Run(t.Context(), "sh", "-c", "echo $WEIR_SOCKET $PATH; echo why >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3: why") {
		t.Errorf("error %v, want exit status and standard error", err)
	}
	if want := filepath.Join(lab.Dir(), "client", "weir.sock") + " /nowhere:"; !strings.HasPrefix(out, want) {
		t.Errorf("environment %q, want %q", out, want)
	}
	if _, err := client.Run(t.Context(), "no-such-program"); err == nil || !strings.Contains(err.Error(), "build or install it") {
		t.Errorf("missing program: %v", err)
	}
}

func TestNodesListen(t *testing.T) {
	lab := mustUp(t, Options{NoProcesses: true})
	l, err := lab.Node("worker").Listen(t.Context(), "tcp", "192.0.2.10:7")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := lab.Node("client").DialFrom(within(t, 5*time.Second),
		net.Dialer{LocalAddr: &net.TCPAddr{Port: 4711}}, "tcp", "192.0.2.10:7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if got := far.RemoteAddr().String(); got != "192.0.2.1:4711" {
		t.Errorf("the worker sees %s", got)
	}
}

func TestDumpIsEvidence(t *testing.T) {
	lab, dir := mustUp(t, Options{}), t.TempDir()
	if err := lab.WriteManifest("web.yml", []byte("kind: Service\n")); err != nil {
		t.Fatal(err)
	}
	if err := lab.Dump(within(t, 20*time.Second), dir); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"page.yaml": "name: lab", "manifests/web.yml": "kind: Service",
		"client/ip-addr.txt": "192.0.2.1/24", "client/ip-route.txt": "192.0.2.0/24 dev eth1",
		"worker/iptables.txt": "KUBE-NODEPORTS", "worker/ip-link.txt": "veth0", "pod/serve.log": "serving served by pod",
	} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %q: %v\n%s", file, want, err, b)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "worker/weir-lb.json")); err == nil {
		t.Error("there is a weir's output where no weir runs")
	}
}

func TestManifestsAreReplacedWhole(t *testing.T) {
	page := mustLoad(t)
	page.ManifestFiles = map[string][]byte{"a.yml": []byte("first")}
	lab, err := Up(within(t, 20*time.Second), page, Options{Root: t.TempDir(), NoProcesses: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := lab.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(lab.Manifests(), "a.yml")
	reader, err := os.Open(file) // who reads the old file goes on reading it
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := lab.WriteManifest("a.yml", []byte("the second")); err != nil {
		t.Fatal(err)
	}
	old, err := io.ReadAll(reader)
	if now, err2 := os.ReadFile(file); err != nil || err2 != nil || string(old) != "first" || string(now) != "the second" {
		t.Errorf("read %q and %q, %v, %v", old, now, err, err2)
	}
	if err := lab.RemoveManifest("a.yml"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(lab.Manifests()); err != nil || len(left) != 0 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}

// TestReadmesPageIsAPage keeps the notation that the README teaches true.
func TestReadmesPageIsAPage(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "```yaml\n")
	page, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("README.md shows no page")
	}
	if _, err := spec.Parse("README.md", []byte(page)); err != nil {
		t.Error(err)
	}
}

func TestCatalogIsSound(t *testing.T) {
	for _, name := range []string{"article", "article-two-hops", "one-lb"} {
		p, err := Load(name)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if p.Name != name || p.Title == "" || p.Intent == "" {
			t.Errorf("page %s has name %q, title %q, intent %q", name, p.Name, p.Title, p.Intent)
		}
	}
	if _, err := Load("no-such-page"); err == nil || !strings.Contains(err.Error(), "article") {
		t.Errorf("unknown page: %v, want the catalog's names", err)
	}
}
