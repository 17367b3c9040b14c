package spec

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

const good = `name: good
title: A page with one of everything
vars: {hook: tc}
nodes:
  client:
    role: client
    interfaces:
      eth1: {addresses: [192.0.2.1/24], offloads: {tx: off, gro: on}}
    routes:
      - {to: default, via: 192.0.2.10}
    files: {a/b.conf: "node {{.Node}}"}
  worker:
    role: worker
    interfaces:
      eth1: {addresses: [192.0.2.10/24], mtu: 1400}
      cni0: {bridge: [veth0], addresses: [10.42.1.1/24]}
      flannel.1: {addresses: [10.42.1.0/32], vxlan: {id: 1, local: 192.0.2.10, remotes: [192.0.2.11]}}
    routes:
      - {to: 10.42.2.0/24, via: 10.42.2.0, dev: flannel.1, onlink: true}
    sysctls: {net.ipv4.ip_forward: "1", net/ipv4/conf/flannel.1/rp_filter: "2"}
    processes:
      - name: weir
        command: weir --socket={{.State}}/weir.sock "--blacklist=a b|veth."
        ready: {socket: "{{.State}}/weir.sock", timeout: 3s}
  pod:
    role: pod
    interfaces:
      eth0: {addresses: [10.42.1.2/24]}
  sw:
    role: switch
links:
  - endpoints: ["client:eth1", "sw:p1"]
  - {endpoints: ["worker:eth1", "sw:p2"], mtu: 9000}
  - endpoints: ["pod:eth0", "worker:veth0"]
kubeProxy:
  nodes: [worker]
  clusterCIDR: 10.42.0.0/16
  services:
    - {name: default/web, protocol: tcp, clusterIP: 10.43.0.1, port: 80, nodePort: 30080, policy: Local, endpoints: ["10.42.1.2:8080"]}
`

func TestParse(t *testing.T) {
	p, err := Parse("good.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"client", "worker", "pod", "sw"}; !slices.Equal(p.Order, want) {
		t.Errorf("order of nodes %v, want %v", p.Order, want)
	}
	want := &Node{
		Name: "client", Role: Client,
		Interfaces: map[string]*Interface{"eth1": {
			Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
			Offloads:  map[string]bool{"tx": false, "gro": true},
		}},
		Routes: []Route{{To: "default", Via: netip.MustParseAddr("192.0.2.10")}},
		Files:  map[string]string{"a/b.conf": "node {{.Node}}"},
	}
	byValue := cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})
	if d := cmp.Diff(want, p.Nodes["client"], byValue); d != "" {
		t.Errorf("client (-want +got):\n%s", d)
	}
	wantLinks := []Link{
		{[]Endpoint{{"client", "eth1"}, {"sw", "p1"}}, DefaultMTU},
		{[]Endpoint{{"worker", "eth1"}, {"sw", "p2"}}, 9000},
		{[]Endpoint{{"pod", "eth0"}, {"worker", "veth0"}}, DefaultMTU},
	}
	if d := cmp.Diff(wantLinks, p.Links); d != "" {
		t.Errorf("links (-want +got):\n%s", d)
	}
	local := p.LocalTo("worker")
	if !local(netip.MustParseAddr("10.42.1.2")) || local(netip.MustParseAddr("10.42.2.2")) {
		t.Error("LocalTo(worker) does not tell its pods from others'")
	}
}

// TestRefusals changes the good page by one replacement each; the message
// names the line, the path and the cure.
func TestRefusals(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"unknown field", "title:", "titel:", `2: titel: unknown field, use one of intent, kubeProxy`},
		{"unknown field deep down", "mtu: 1400", "mut: 1400", `15: nodes.worker.interfaces.eth1.mut: unknown field, use one of addresses`},
		{"field twice", "title: A", "name: x\ntitle: A", `2: name: is on line 1 already`},
		{"node twice", "  pod:\n", "  client:\n", `nodes.client: is on line 5 already`},
		{"node without a name", "  pod:\n", "  ~:\n", `25: nodes: has a key that is no plain name`},
		{"node named in base64", "  pod:\n", "  !!binary cG9k:\n", `25: nodes: has a key that is no plain name`},
		{"node named by an alias", "  pod:\n", "  &w x: {role: pod}\n  *w :\n", `26: nodes: has a key that is no plain name`},
		{"nodes merged", "  pod:\n", "  <<: {}\n  pod:\n", `25: nodes: has a key that is no plain name`},
		{"not a list", "nodes: [worker]", "nodes: worker", `kubeProxy.nodes: is no list`},
		{"not a number", "mtu: 1400", "mtu: many", `nodes.worker.interfaces.eth1.mtu: "many" is not a int`},
		{"not an address", "192.0.2.1/24", "192.0.2/24", `8: nodes.client.interfaces.eth1.addresses[0]: netip.ParsePrefix`},
		{"no YAML", "vars: {", "vars: [{", `line`},
		{"bad page name", "name: good", "name: Good!", `1: name: "Good!" is no name`},
		{"unknown role", "role: pod", "role: cow", `nodes.pod.role: unknown role "cow"`},
		{"address twice", "10.42.1.2/24", "192.0.2.1/24", `192.0.2.1 is client:eth1 already`},
		{"link to nowhere", `"client:eth1", "sw:p1"`, `"cleint:eth1", "sw:p1"`, `links[0].endpoints[0]: there is no node "cleint"`},
		{"interface without link", `"client:eth1", "sw:p1"`, `"client:eth2", "sw:p1"`, `nodes.client.interfaces.eth1: no link ends here`},
		{"link with three ends", `"client:eth1", "sw:p1"`, `"client:eth1", "sw:p1", "sw:p9"`, `links[0].endpoints: has 3 ends`},
		{"end twice", `"worker:eth1", "sw:p2"`, `"worker:eth1", "sw:p1"`, `links[1].endpoints[1]: sw:p1 is links[0].endpoints[1] already`},
		{"end without interface", `"client:eth1", "sw:p1"`, `"client", "sw:p1"`, `"client" is no endpoint, write node:interface`},
		{"interface name of 16", `"client:eth1", "sw:p1"`, `"client:eth1", "sw:p123456789012345"`, `"p123456789012345" has 16 characters, the kernel takes 15`},
		{"loopback as an end", `"client:eth1", "sw:p1"`, `"client:eth1", "sw:lo"`, `lo is there by itself`},
		{"MTU of a link", "mtu: 9000", "mtu: 70000", `links[1].mtu: 70000 is not within 68 to 65535`},
		{"bridge port without link", "bridge: [veth0]", "bridge: [veth1]", `interfaces.cni0.bridge[0]: no link ends at worker:veth1`},
		{"link and bridge at once", "eth1: {addresses: [192.0.2.10/24]", "eth1: {bridge: [veth0], addresses: [192.0.2.10/24]", `is two things at once`},
		{"VXLAN id", "id: 1,", "id: 16777216,", `vxlan.id: 16777216 is not within`},
		{"VXLAN without local", "local: 192.0.2.10, ", "", `vxlan.local: no address given`},
		{"unknown offload", "tx: off", "xt: off", `offloads.xt: unknown offload, use one of gro, gso, rx, sg, tso, tx`},
		{"route without way", "to: default, via: 192.0.2.10", "to: default", `routes[0]: has neither via nor dev`},
		{"route out of reach", "to: default, via: 192.0.2.10", "to: default, via: 192.0.3.10", `192.0.3.10 is in no network of client`},
		{"route over no interface", "dev: flannel.1, onlink", "dev: flannel.2, onlink", `worker has no interface "flannel.2"`},
		{"route to no prefix", "to: 10.42.2.0/24", "to: 10.42/16", `"10.42/16" is no prefix`},
		{"sysctl outside the namespace", "net.ipv4.ip_forward", "vm.swappiness", `is no setting of a network namespace`},
		{"file outside the folder", "a/b.conf", "../b.conf", `is no path below the node's folder`},
		{"template that does not end", "node {{.Node}}", "node {{.Node", `files.a/b.conf: 1: unclosed action`},
		{"quote that does not end", `veth."`, `veth.`, `processes[0].command: quote " is not closed`},
		{"no command", `command: weir --socket={{.State}}/weir.sock "--blacklist=a b|veth."`, `command: ""`, `command: is empty`},
		{"two conditions", "timeout: 3s", "tcp: 127.0.0.1:80", `ready: has 2 conditions`},
		{"switch with an address", "  sw:\n    role: switch", "  sw:\n    role: switch\n    interfaces: {p1: {addresses: [192.0.2.77/24]}}", `a switch has ports only`},
		{"rules on no node", "nodes: [worker]", "nodes: [walker]", `kubeProxy.nodes[0]: there is no node "walker"`},
		{"static vxlan", "remotes: [192.0.2.11]}", "remotes: [192.0.2.11], static: true}", `no vxlan of id 1 has local 192.0.2.11`},
		{"service port", "port: 80,", "port: 0,", `services[0].port: 0 is no port`},
		{"service protocol", "protocol: tcp", "protocol: TCP", `unknown protocol "TCP", use tcp, udp or sctp`},
		{"service policy", "policy: Local", "policy: local", `unknown policy "local", use Local or Cluster`},
		{"service name", "default/web", "web", `"web" is no service, write namespace/name`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			page := strings.Replace(good, tt.old, tt.new, 1)
			if page == good {
				t.Fatalf("the good page has no %q", tt.old)
			}
			_, err := Parse("p.yaml", []byte(page))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant something with %s", err, tt.want)
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "p.yaml") {
					t.Errorf("line does not begin with the file: %q", line)
				}
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	page := strings.NewReplacer("role: pod", "role: cow", "mtu: 9000", "mtu: 1").Replace(good)
	_, err := Parse("p.yaml", []byte(page))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v, want two problems on two lines", err)
	}
}

func TestLoadReadsManifests(t *testing.T) {
	fsys := fstest.MapFS{
		"p.yaml":     {Data: []byte(strings.Replace(good, "vars:", "manifests: m\nvars:", 1))},
		"m/a.yml":    {Data: []byte("a")},
		"m/sub/b.ml": {Data: []byte("b")},
	}
	p, err := Load(fsys, "p.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string][]byte{"a.yml": []byte("a")}, p.ManifestFiles); d != "" {
		t.Errorf("manifests (-want +got):\n%s", d)
	}
	delete(fsys, "m/a.yml")
	delete(fsys, "m/sub/b.ml")
	if _, err := Load(fsys, "p.yaml"); err == nil {
		t.Error("a page whose manifests are missing was accepted")
	}
}

func TestSplitCommand(t *testing.T) {
	tests := []struct {
		line string
		want []string
		fail bool
	}{
		{"", nil, false},
		{"  a  b\tc\n", []string{"a", "b", "c"}, false},
		{`a "b c" 'd "e"' f"g h"i`, []string{"a", "b c", `d "e"`, "fg hi"}, false},
		{`a "" b`, []string{"a", "", "b"}, false},
		{`a={{ .Vars.x }}/b {{if eq .Node "x y"}}c d{{end}}`, []string{"a={{ .Vars.x }}/b", `{{if eq .Node "x y"}}c`, "d{{end}}"}, false},
		{`a "b`, nil, true},
	}
	for _, tt := range tests {
		got, err := SplitCommand(tt.line)
		if (err != nil) != tt.fail || !slices.Equal(got, tt.want) {
			t.Errorf("SplitCommand(%q) = %q, %v, want %q", tt.line, got, err, tt.want)
		}
	}
}

// TestNothingInPlaceOfEach puts each kind of nothing, and of something else, in the place of each key and value of the
// good page: the page is read, or refused.
func TestNothingInPlaceOfEach(t *testing.T) {
	others := []yaml.Node{
		{Kind: yaml.ScalarNode, Tag: "!!null", Value: "~"},
		{Kind: yaml.ScalarNode, Tag: "!!binary", Value: "YQ=="},
		{Kind: yaml.ScalarNode, Tag: "!!str", Value: "x"},
		{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!null", Value: "~"}}},
		{Kind: yaml.MappingNode, Tag: "!!map"},
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(good), &doc); err != nil {
		t.Fatal(err)
	}
	count := 0
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		was := *n
		for _, other := range others {
			*n = other
			src, err := yaml.Marshal(&doc)
			*n = was
			if err != nil {
				continue // yaml itself writes no such key
			}
			count++
			if p, err := Parse("p.yaml", src); (p == nil) == (err == nil) {
				t.Errorf("page %v with error %v of\n%s", p, err, src)
			}
		}
		for _, c := range n.Content {
			visit(c)
		}
	}
	visit(doc.Content[0])
	if count < 500 {
		t.Errorf("only %d pages were tried", count)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("nodes: {~: }"))
	f.Add([]byte("nodes: {a: }"))
	f.Add([]byte(""))
	f.Add([]byte("- a"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse("p.yaml", b)
		if (p == nil) == (err == nil) {
			t.Errorf("page %v with error %v", p, err)
		}
	})
}
