package article

import (
	"context"
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// defaultMode is a fourth service on the VIP, in default mode, with the pod
// and node port of nginx.
const defaultMode = `
apiVersion: v1
kind: Service
metadata:
  name: nginx-default
  annotations:
    loxilb.io/lbmode: "default"
spec:
  type: LoadBalancer
  loadBalancerClass: loxilb.io/loxilb
  externalTrafficPolicy: Local
  selector: {what: nginx-test}
  ports:
  - {port: 55005, targetPort: 80, nodePort: 32694}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: nginx-default-x2m4c
  labels:
    kubernetes.io/service-name: nginx-default
addressType: IPv4
ports:
- {name: "", port: 80, protocol: TCP}
endpoints:
- addresses: [10.42.2.5]
  nodeName: worker1
  conditions: {ready: true, serving: true, terminating: false}
`

// expectDefaultMode asks from the client's second address. The pod sees that
// address, so its answer takes the worker's route to 192.168.90.0/24, which is
// across the master that translated the request.
func expectDefaultMode(ctx context.Context, l *lab.Lab) {
	GinkgoHelper()
	fourth := lab.Nginx
	fourth.Name, fourth.Frontend = "nginx-default", netip.AddrPortFrom(lab.VIP, 55005)
	Expect(l.WriteManifest("nginx-default.yml", []byte(defaultMode))).To(Succeed())
	DeferCleanup(l.RemoveManifest, "nginx-default.yml")
	l.ExpectServing(ctx, "master1", append([]lab.Service{fourth}, lab.Services...)...)

	back := l.Capture("master1:eth2", capture.Where(func(p packet.Packet) bool { return p.Src == fourth.Frontend }))
	var a probe.Answer
	harness.Step("the pod answers and has seen the client's own address", func() {
		r := fourth.Request()
		r.Source = netip.AddrPortFrom(lab.Client2, 0)
		var err error
		a, err = l.Requests.Do(ctx, r)
		Expect(err).NotTo(HaveOccurred())
		Expect(a.Backend).To(Equal(lab.Nginx.Pod))
		Expect(a.Local.Addr()).To(Equal(lab.Client2))
		Expect(a.SeenClient).To(Equal(a.Local))
	})
	harness.Step("the answer left master1 on the masters' network, as the VIP's", func() {
		harness.Soon(ctx, back.Frames).Should(ContainElement(Satisfy(capture.Where(func(p packet.Packet) bool {
			return p.Src == fourth.Frontend && p.Dst == a.Local && p.Flags == "SYN ACK" && p.TTL == 62
		}))))
	})
}
