package apiserver

import (
	"fmt"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// account is that of deploy/base, with its namespace: the controllers may do
// what it says, and no more.
func account() []string {
	GinkgoHelper()
	var out []string
	for _, file := range []string{"namespace.yaml", "kube-weir-rights.yaml"} {
		text, err := os.ReadFile("../../deploy/base/" + file)
		Expect(err).NotTo(HaveOccurred())
		out = append(out, string(text))
	}
	return out
}

// instances are the EndpointSlices of the pods that run weir.
var instances = slice("kube-system", "weir-lb", 11111, "198.51.100.11@lb1", "198.51.100.12@lb2") + "\n---\n" +
	slice("kube-system", "weir-peer", 11111, "198.51.100.31@peer")

// machine is a Node that is ready.
func machine(name, address string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Node
metadata: {name: %s}
status: {addresses: [{type: InternalIP, address: %s}], conditions: [{type: Ready, status: "True"}]}`, name, address)
}

// slice is an EndpointSlice with an unnamed port; endpoints are address@node.
func slice(namespace, service string, port int, endpoints ...string) string {
	var list []string
	for _, e := range endpoints {
		address, node, _ := strings.Cut(e, "@")
		list = append(list, fmt.Sprintf("{addresses: [%s], nodeName: %s, conditions: {ready: true, serving: true, terminating: false}}", address, node))
	}
	return fmt.Sprintf(`apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[2]s-x, namespace: %[1]s, labels: {kubernetes.io/service-name: %[2]s}}
addressType: IPv4
ports: [{name: "", port: %[3]d, protocol: TCP}]
endpoints: [%[4]s]`, namespace, service, port, strings.Join(list, ", "))
}

// web is a Service in namespace default. lines are of its spec, notes of its
// annotations.
type web struct {
	name         string
	port         int
	lines, notes []string
}

// ours is a web of weir's class.
func ours(name string, port int) web {
	return web{name: name, port: port, lines: []string{"type: LoadBalancer", "loadBalancerClass: weir-lb.io/weir"}}
}

func (w web) with(line string) web {
	w.lines = append(w.lines[:len(w.lines):len(w.lines)], line)
	return w
}

func (w web) noted(note string) web {
	w.notes = append(w.notes[:len(w.notes):len(w.notes)], note)
	return w
}

func (w web) manifest() string { return w.manifestOf(1) }

// manifestOf has several ports, from the web's on.
func (w web) manifestOf(ports int) string {
	var list []string
	for i := range ports {
		name := ""
		if ports > 1 {
			name = fmt.Sprintf("p%d", i)
		}
		list = append(list, fmt.Sprintf("{name: '%s', port: %d, targetPort: 8080, protocol: TCP}", name, w.port+i))
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %s, namespace: default, annotations: {%s}}
spec: {%s, ports: [%s]}`,
		w.name, strings.Join(w.notes, ", "), strings.Join(w.lines, ", "), strings.Join(list, ", "))
}

// on is the Service's EndpointSlice: the pods that answer.
func (w web) on(pods ...string) string {
	var endpoints []string
	for _, pod := range pods {
		endpoints = append(endpoints, podAddresses[pod]+"@"+pod)
	}
	return slice("default", w.name, 8080, endpoints...)
}

// onIPv6 is the EndpointSlice of the same pods that Kubernetes makes beside it for a Service of both families.
func (w web) onIPv6(pods ...string) string {
	var endpoints []string
	for i, pod := range pods {
		endpoints = append(endpoints, fmt.Sprintf("'2001:db8:42::%d'@%s", i+1, pod))
	}
	s := slice("default", w.name, 8080, endpoints...)
	return strings.NewReplacer("addressType: IPv4", "addressType: IPv6", "name: "+w.name+"-x", "name: "+w.name+"-x6").Replace(s)
}

// families are what a web wants of IPv4 and IPv6.
func (w web) families(policy, list string) web {
	return w.with("ipFamilyPolicy: " + policy).with("ipFamilies: [" + list + "]")
}

var podAddresses = map[string]string{"pod1": "198.51.100.41", "pod2": "198.51.100.42"}

// object is what a spec reads of a Service.
type object struct {
	Metadata struct {
		Name, Namespace, ResourceVersion string
		DeletionTimestamp                *string
		Finalizers                       []string
		Annotations                      map[string]string
	}
	Spec   struct{ Type string }
	Status struct {
		LoadBalancer struct {
			Ingress []struct{ IP, Hostname, IPMode string }
		}
		Conditions []struct{ Type, Status, Reason, Message string }
	}
}

// condition prints one as False/UnknownMode.
func (o object) condition(name string) string {
	for _, c := range o.Status.Conditions {
		if c.Type == "weir-lb.io/"+name {
			return c.Status + "/" + c.Reason
		}
	}
	return ""
}

// address is what kubectl shows as EXTERNAL-IP.
func (o object) address() string {
	var all []string
	for _, in := range o.Status.LoadBalancer.Ingress {
		all = append(all, in.IP+in.Hostname)
	}
	return strings.Join(all, ",")
}
