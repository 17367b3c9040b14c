// Command reference prints docs/reference.md from the built programs in bin/
// and the source; it runs at the root of the repository.
// Exit codes: 0 for a whole page, 1 when something lacks, which it names.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/weir-lb/weir/controller/decide"
	"github.com/weir-lb/weir/controller/k8s"
)

func main() {
	page, err := write()
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
	fmt.Print(page)
}

func write() (string, error) {
	var page strings.Builder
	page.WriteString(introduction)
	var errs []error
	page.WriteString("\n## Flags\n")
	for _, program := range [][]string{{"weir"}, {"kube-weir"}, {"weirctl"}} {
		text, err := usage(program)
		page.WriteString(text)
		errs = append(errs, err)
	}
	flags, err := unservedFlags("cmd/kube-weir/unserved.go")
	errs = append(errs, err)
	page.WriteString("\n### Flags of kube-loxilb that kube-weir refuses\n\nIts message says what to do instead.\n\n" + table([]string{"Flag", "Instead"}, flags))
	page.WriteString(services())
	for _, s := range sections {
		text, err := s.print()
		page.WriteString(text)
		errs = append(errs, err)
	}
	return page.String(), errors.Join(errs...)
}

const introduction = `# Reference

Made from the code by ` + "`make generate`" + `, and held to it by CI: change the code, not this page.
`

// services is all that kube-weir reads of Services and Nodes.
func services() string {
	var read, unserved [][]string
	for _, a := range decide.Annotations() {
		read = append(read, []string{code(a.Name), a.Values, a.Meaning})
	}
	for _, u := range decide.UnservedAnnotations() {
		unserved = append(unserved, []string{code(u.Name), u.Instead})
	}
	return `
## Services and Nodes

### Annotations

Each is read with the prefix ` + "`loxilb.io/` and with `weir-lb.io/`" + `; the latter wins where both are there. One that is not in this
table changes nothing, and is named by the condition ` + "`Accepted` (`ValidWithIgnored`)" + ` and an event. A fault in one of
` + "`probe…`" + ` makes all of those void (` + "`ProbeDefaults`" + `).

` + table([]string{"Annotation", "Values", "Meaning"}, read) + `
### Annotations of LoxiLB without effect

` + table([]string{"Annotation", "Instead"}, unserved) + `
### Fields, labels and annotations of Kubernetes

` + table([]string{"Object", "Read", "Meaning"}, kubernetes) + `
### What is written to Services

Beside the status, events and the conditions below:

` + table([]string{"Object", "Written", "Meaning"}, written)
}

var written = [][]string{
	{"Service", code(k8s.Finalizer) + " (finalizer)", "keeps a deleted Service until the nodes serve it no more"},
	{"Service", code(decide.AnnotationServed) + " (annotation)", "the UID of the Service: that the finalizer is kube-weir's. With another value, as a copied manifest has it, it says nothing"},
}

var kubernetes = [][]string{
	{"Service", code("spec.type"), code("LoadBalancer") + "; others are left alone"},
	{"Service", code("spec.loadBalancerClass"), code(decide.ClassWeir) + " or " + code(decide.ClassLoxiLB) + "; others are left alone"},
	{"Service", code("spec.loadBalancerIP"), "the addresses to give, as " + code("staticIP")},
	{"Service", code("spec.loadBalancerSourceRanges"), "prefixes of the only clients that may come in; those of the other family than the served one count for nothing, and alone are refused"},
	{"Service", code("service.beta.kubernetes.io/load-balancer-source-ranges") + " (annotation)", "the same, comma separated, where the field is empty"},
	{"Service", code("spec.ports"), "TCP, UDP and SCTP; " + code("nodePort") + " is the backends' unless pods are sent to"},
	{"Service", code("spec.allocateLoadBalancerNodePorts"), code("false") + " without any node port: as " + code("usepodnetwork: yes")},
	{"Service", code("spec.externalTrafficPolicy"), code("Local") + ": of the nodes that may be backends, only those with an endpoint are: a ready one, or where none has that, one that ends and still serves"},
	{"Service", code("spec.sessionAffinity") + ", " + code("spec.sessionAffinityConfig"), code("ClientIP") + ": a client keeps its backend"},
	{"Service", code("spec.ipFamilies"), "an address of each family, in this order; those of IPv6 are reserved and not published ([ADR 0016](adr/0016-unserved-addresses-unpublished.md))"},
	{"Service", code("spec.ipFamilyPolicy"), code("RequireDualStack") + ": both or none, but one that the Service has stays; " + code("PreferDualStack") + ": what can be had"},
	{"Node", code("node.kubernetes.io/exclude-from-external-load-balancers") + " (label)", "the node is no backend by its node ports, and with " + code("externalTrafficPolicy: Local") + " the pods on it are not reached; kubeadm sets it on its control plane"},
	{"Node", code(decide.LabelZone) + " (label)", "LoxiLB's; without effect, and named by an event (" + code("LabelIgnored") + "): all load balancer nodes serve all Services"},
	{"Node", code("status.addresses") + ", " + code("status.conditions"), "the IPv4 " + code("InternalIP") + ", and whether the node is " + code("Ready") + ": one that is not is no backend by its node ports"},
}

func code(s string) string { return "`" + s + "`" }

// table prints rows in Markdown.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, row := range rows {
		line(row)
	}
	return b.String()
}
