package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/agent/api"
	"github.com/weir-lb/weir/api/client"
	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/cmd/internal/certtest"
	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/internal/waittest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// weirNode is a real node, store and API, without dataplane and speaker.
type weirNode struct {
	*testing.T
	addr string
	stop func()
}

func startNode(t *testing.T, addr string) *weirNode {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	node := agent.New(agent.Options{Name: addr, Version: "test", Log: quiet})
	server := api.New(node, quiet, api.DefaultLimits)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = node.Run(ctx) })
	running.Go(func() { _ = server.Run(ctx, l) })
	n := &weirNode{T: t, addr: l.Addr().String()}
	n.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(n.stop)
	return n
}

// holds is the controller's state of the node, read as anybody would.
func (n *weirNode) holds() v1.NodeState {
	n.Helper()
	c, err := client.New(client.Options{Server: "http://" + n.addr})
	if err != nil {
		n.Fatal(err)
	}
	defer c.Close()
	states, err := c.States(context.Background())
	if err != nil {
		n.Fatal(err)
	}
	return states["controller"]
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is a kube-weir in this process.
type running struct {
	*testing.T
	client *client.Client
	log    *lockedBuffer
	end    func() int
}

func startController(t *testing.T, manifests, socket string, more ...string) *running {
	t.Helper()
	r := &running{T: t, log: &lockedBuffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append(more,
			"--manifests="+manifests, "--externalCIDR=123.123.123.1/24", "--setBGP=64512", "--setRoles",
			"--extBGPPeers=192.168.80.1:65101", "--socket="+socket,
		), r.log, r.log)
	}()
	r.end = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() { r.end() })
	var err error
	if r.client, err = client.New(client.Options{Socket: socket}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	waittest.Until(t, "kube-weir is ready", func() bool { return r.client.Ready(context.Background()) == nil })
	return r
}

func (r *running) status() v1.ControllerStatus {
	r.Helper()
	s, err := r.client.Controller(context.Background())
	if err != nil {
		r.Fatalf("GET /v1/controller: %v\n%s", err, r.log)
	}
	return s
}

// listens is where it does on TCP, by its log.
func (r *running) listens() string {
	r.Helper()
	found := regexp.MustCompile(`msg="api listens" address=(\S+)`).FindStringSubmatch(r.log.String())
	if found == nil {
		r.Fatalf("the log does not say where it listens:\n%s", r.log)
	}
	return found[1]
}

func (r *running) waitInSync() {
	r.Helper()
	waittest.Until(r.T, "all nodes are in sync", func() bool {
		for _, n := range r.status().Nodes {
			if n.State != v1.PushInSync {
				return false
			}
		}
		return true
	})
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func instanceSlice(service, addr, node string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf(`---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-x, namespace: kube-system, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: api, port: %[3]s}]
endpoints: [{addresses: [%[2]s], nodeName: %[4]s}]
`, service, host, port, node)
}

func serviceManifest(port int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: nginx-lb1, annotations: {loxilb.io/lbmode: fullnat}}
spec:
  type: LoadBalancer
  loadBalancerClass: loxilb.io/loxilb
  externalTrafficPolicy: Local
  ports: [{port: %d, nodePort: 32694}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: nginx-lb1-x, labels: {kubernetes.io/service-name: nginx-lb1}}
addressType: IPv4
ports: [{name: "", port: 80}]
endpoints: [{addresses: [10.42.2.5], nodeName: worker1}]
---
apiVersion: v1
kind: Node
metadata: {name: worker1}
status: {addresses: [{type: InternalIP, address: 192.168.80.101}]}
`, port)
}

// TestManifestsReachTheNodes runs the controller against real nodes: a change,
// a node's restart, a broken manifest and the controller's own restart.
func TestManifestsReachTheNodes(t *testing.T) {
	master, worker := startNode(t, "127.0.0.2:0"), startNode(t, "127.0.0.3:0")
	dir := t.TempDir()
	manifests, socket := filepath.Join(dir, "manifests"), filepath.Join(dir, "run", "kube-weir.sock")
	if err := os.Mkdir(manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(manifests, "weir.yaml"), instanceSlice("weir-lb", master.addr, "master1")+instanceSlice("weir-peer", worker.addr, "worker1"))
	writeFile(t, filepath.Join(manifests, "nginx.yaml"), serviceManifest(55002))

	r := startController(t, manifests, socket)
	r.waitInSync()
	first := master.holds()
	if len(first.Services) != 1 || first.Services[0].String() != "123.123.123.1:55002/tcp" || len(first.Roles) != 1 || first.BGP == nil || len(first.BGP.Peers) != 2 {
		t.Errorf("the master holds %+v", first)
	}
	if s := worker.holds(); len(s.Services) != 0 || s.BGP == nil || len(s.BGP.Peers) != 1 {
		t.Errorf("the worker holds %+v", s)
	}

	waittest.Until(t, "what the master says of the service is told: it has no dataplane", func() bool {
		conditions := r.status().Services[0].Conditions
		c := conditions[len(conditions)-1]
		return c.Type == v1.ConditionProgrammed && c.Reason == agent.ReasonPeerNode && strings.HasPrefix(c.Message, "master1: this node is a BGP peer")
	})

	writeFile(t, filepath.Join(manifests, "nginx.yaml"), serviceManifest(55012))
	waittest.Until(t, "the new port is on the master", func() bool {
		s := master.holds().Services
		return len(s) == 1 && s[0].Port == 55012
	})
	changed := master.holds().Generation
	if changed.Compare(first.Generation) <= 0 || changed.Epoch != first.Generation.Epoch {
		t.Errorf("generation %s follows %s", changed, first.Generation)
	}

	master.stop()
	waittest.Until(t, "the node that is down is shown", func() bool { return r.status().Nodes[0].State == v1.PushRetrying })
	master = startNode(t, master.addr)
	waittest.Until(t, "the restarted master has its state again", func() bool { return master.holds().Generation == changed })

	writeFile(t, filepath.Join(manifests, "nginx.yaml"), strings.Replace(serviceManifest(55012), "nodePort", "nodeport", 1))
	waittest.Until(t, "the broken manifest is told with file, line and field", func() bool {
		p := r.status().Problems
		return len(p) == 1 && p[0].Object == filepath.Join(manifests, "nginx.yaml")+":8" && strings.HasPrefix(p[0].Message, "spec.ports[0].nodeport: unknown field")
	})
	if s := r.status().Services; len(s) != 1 || s[0].Ports[0] != "55012:32694/TCP" {
		t.Errorf("the broken manifest took the service with it: %+v", s)
	}

	// Restarted with the manifest still broken, it knows who held what, and its
	// generations go on.
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
	other := strings.ReplaceAll(serviceManifest(55012), "nginx-lb1", "a-newcomer")
	writeFile(t, filepath.Join(manifests, "other.yaml"), other)
	r = startController(t, manifests, socket)
	if s := r.status().Services; len(s) != 1 || s[0].Name != "a-newcomer" || s[0].ExternalIPs[0].String() != "123.123.123.2" {
		t.Errorf("the newcomer got the hidden service's address: %+v", s)
	}
	r.waitInSync()
	if g := master.holds().Generation; g.Epoch <= changed.Epoch {
		t.Errorf("epoch %d follows %d", g.Epoch, changed.Epoch)
	}
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
}

// Prometheus reads the metrics over TCP, as it does those of a node.
func TestMetricsOverTCP(t *testing.T) {
	dir := t.TempDir()
	r := startController(t, dir, filepath.Join(dir, "api.sock"), "--listen=127.0.0.1:0")
	answer, err := http.Get("http://" + r.listens() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), "kube_weir_build_info") {
		t.Errorf("status %d, %v:\n%s", answer.StatusCode, err, body)
	}
}

// With certificates those of the same authority are let in, also while others
// hold more connections than there may be.
func TestListenWithCertificates(t *testing.T) {
	dir := t.TempDir()
	local := netip.MustParseAddr("127.0.0.1")
	ours, theirs := certtest.Issue(t, local), certtest.Issue(t, local)
	r := startController(t, dir, filepath.Join(dir, "api.sock"), "--listen=127.0.0.1:0",
		"--tls-cert="+ours.Cert, "--tls-key="+ours.Key, "--tls-ca="+ours.CA)
	at := r.listens()
	ask := func(o client.Options) error {
		c, err := client.New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Controller(t.Context())
		return err
	}
	for range transport.DefaultLimits.Connections + 1 {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	waittest.Until(t, "the log says that it is full", func() bool { return strings.Contains(r.log.String(), "api is full") })
	if err := ask(client.Options{Server: "https://" + at, TLS: ours}); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	theirs.CA = ours.CA
	for name, o := range map[string]client.Options{
		"with another authority's": {Server: "https://" + at, TLS: theirs}, "without TLS": {Server: "http://" + at},
	} {
		if err := ask(o); err == nil {
			t.Errorf("%s: let in", name)
		}
	}
}

// Without certificates nobody beyond this machine is let in.
func TestListenNeedsCertificates(t *testing.T) {
	dir := t.TempDir()
	var log lockedBuffer
	code := run(t.Context(), []string{
		"--manifests=" + dir, "--externalCIDR=123.123.123.1/24", "--socket=" + filepath.Join(dir, "api.sock"), "--listen=192.0.2.1:1",
	}, &log, &log)
	if code != 1 || !strings.Contains(log.String(), "without certificates only loopback is allowed") {
		t.Errorf("exit %d, %s", code, log.String())
	}
}

func TestSecondControllerIsRefused(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "kube-weir.sock")
	r := startController(t, dir, socket)
	var stderr bytes.Buffer
	code := run(context.Background(), []string{"--manifests=" + dir, "--externalCIDR=10.0.0.0/24", "--socket=" + socket}, &stderr, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "another process listens on it") {
		t.Errorf("got exit code %d and %q", code, stderr.String())
	}
	if err := r.client.Healthy(context.Background()); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
}

func TestDamagedMemoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "kube-weir.json"), "{")
	var stderr bytes.Buffer
	code := run(context.Background(), []string{"--manifests=" + dir, "--externalCIDR=10.0.0.0/24", "--socket=" + filepath.Join(dir, "kube-weir.sock")}, &stderr, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "remove the file to give addresses anew") {
		t.Errorf("got exit code %d and %q", code, stderr.String())
	}
}

func TestRoutes(t *testing.T) {
	dir := t.TempDir()
	r := startController(t, dir, filepath.Join(dir, "kube-weir.sock"))
	if s := r.status(); s.Source != "manifests "+dir || s.Version == "" || len(s.Pools) != 1 || s.Pools[0].Size != 254 || s.Pools[0].Used != 0 {
		t.Errorf("status %+v", s)
	}
	if _, err := r.client.Services(context.Background()); err == nil || !strings.Contains(err.Error(), "see GET /v1/controller") {
		t.Errorf("GET /v1/services: %v, want it to lead to what there is", err)
	}
	_, err := r.client.PutState(context.Background(), "x", v1.NodeState{})
	if err == nil {
		t.Error("the controller's API takes a state")
	}
}
