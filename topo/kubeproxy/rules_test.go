package kubeproxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weir-lb/weir/topo/spec"
)

var cidr = netip.MustParsePrefix("10.42.0.0/16")

func service(policy string, endpoints ...string) spec.Service {
	s := spec.Service{
		Name: "default/web", Protocol: "tcp", Port: 80, NodePort: 30080,
		ClusterIP: netip.MustParseAddr("10.43.0.80"), Policy: policy,
	}
	for _, e := range endpoints {
		s.Endpoints = append(s.Endpoints, netip.MustParseAddrPort(e))
	}
	return s
}

// onFirst takes 10.42.1.0/24 as the node's own pods.
func onFirst(a netip.Addr) bool { return netip.MustParsePrefix("10.42.1.0/24").Contains(a) }

func TestRules(t *testing.T) {
	svc, svl, ext := "KUBE-SVC-"+hash("default/webtcp"), "KUBE-SVL-"+hash("default/webtcp"), "KUBE-EXT-"+hash("default/webtcp")
	sep := func(e string) string { return "KUBE-SEP-" + hash("default/webtcp"+e) }
	captured := service("Cluster", "10.42.1.2:80")
	captured.VIP = netip.MustParseAddr("192.0.2.1")
	tests := []struct {
		name    string
		service spec.Service
		want    []string
		absent  []string
	}{{
		name: "Cluster masquerades and reaches pods anywhere", service: service("Cluster", "10.42.1.2:80", "10.42.2.2:80"),
		want: []string{
			"-A KUBE-NODEPORTS -p tcp -m comment --comment default/web -m tcp --dport 30080 -j " + ext,
			"-A " + ext + ` -m comment --comment "masquerade traffic for default/web external destinations" -j KUBE-MARK-MASQ`,
			"-A " + ext + " -j " + svc,
			"-A " + svc + ` -m comment --comment "default/web -> 10.42.1.2:80" -m statistic --mode random --probability 0.5000000000 -j ` + sep("10.42.1.2:80"),
			"-A " + svc + ` -m comment --comment "default/web -> 10.42.2.2:80" -j ` + sep("10.42.2.2:80"),
		},
		absent: []string{svl, "DROP --"},
	}, {
		name: "Local reaches the node's own pods and keeps the client's address", service: service("Local", "10.42.1.2:80", "10.42.2.2:80"),
		want: []string{
			"-A " + ext + " -j " + svl,
			"-A " + svl + ` -m comment --comment "default/web -> 10.42.1.2:80" -j ` + sep("10.42.1.2:80"),
		},
		absent: []string{"masquerade traffic for", svl + ` -m comment --comment "default/web -> 10.42.2.2:80"`, "has no local"},
	}, {
		name: "Local without a pod on the node drops", service: service("Local", "10.42.2.2:80"),
		want: []string{
			`-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "default/web has no local endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30080 -j DROP`,
		},
		absent: []string{svl},
	}, {
		name: "a service without endpoints is refused", service: service("Cluster"),
		want: []string{
			`-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "default/web has no endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30080 -j REJECT`,
			`-A KUBE-SERVICES -d 10.43.0.80/32 -p tcp -m comment --comment "default/web has no endpoints" -m tcp --dport 80 -j REJECT`,
		},
		absent: []string{svc, ext},
	}, {
		name: "a captured VIP leads where NodePorts lead", service: captured,
		want: []string{`-A KUBE-SERVICES -d 192.0.2.1/32 -p tcp -m comment --comment "default/web loadbalancer IP" -m tcp --dport 80 -j ` + ext},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Rules([]spec.Service{tt.service}, cidr, onFirst)
			for _, line := range tt.want {
				if !strings.Contains(got, line+"\n") {
					t.Errorf("missing rule\n  %s\nin\n%s", line, got)
				}
			}
			for _, part := range tt.absent {
				if strings.Contains(got, part) {
					t.Errorf("unexpected %q in\n%s", part, got)
				}
			}
		})
	}
}

func TestNodePortsComeLast(t *testing.T) {
	got := Rules([]spec.Service{service("Local", "10.42.1.2:80")}, cidr, onFirst)
	cluster := strings.Index(got, "-A KUBE-SERVICES -d")
	ports := strings.Index(got, "-j KUBE-NODEPORTS\nCOMMIT")
	if cluster < 0 || ports < cluster {
		t.Errorf("KUBE-NODEPORTS is not the last of KUBE-SERVICES:\n%s", got)
	}
}

// A connection that comes for a pod of the node keeps its source, wherever it
// is from; all that leaves the pods' range gets the node's address.
func TestFlannelRules(t *testing.T) {
	got := FlannelRules(cidr, netip.MustParsePrefix("10.42.1.1/24"))
	kept := strings.Index(got, `-A FLANNEL-POSTRTG ! -s 10.42.0.0/16 -d 10.42.1.0/24 -m comment --comment "flanneld masq" -j RETURN`)
	masqueraded := strings.Index(got, `-A FLANNEL-POSTRTG -s 10.42.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE`)
	foreign := strings.Index(got, `-A FLANNEL-POSTRTG ! -s 10.42.0.0/16 -d 10.42.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE`)
	if kept < 0 || masqueraded < kept || foreign < kept {
		t.Errorf("rules at %d, %d, %d of\n%s", kept, masqueraded, foreign, got)
	}
}
