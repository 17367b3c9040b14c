package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"
)

// everywhere, own and everybodys are all that the account of deploy/base may do,
// as kubectl auth can-i --list has it: anywhere, in its own namespace besides, and
// by what Kubernetes lets every account do.
var (
	everywhere = []string{
		"create events", "get endpointslices.discovery.k8s.io", "get nodes", "get services",
		"list endpointslices.discovery.k8s.io", "list nodes", "list services", "patch events", "patch services", "patch services/status",
		"watch endpointslices.discovery.k8s.io", "watch nodes", "watch services",
	}
	own = []string{
		"create configmaps", "create leases.coordination.k8s.io", "create secrets",
		"get configmaps kube-weir", "get leases.coordination.k8s.io kube-weir", "get secrets kube-weir-tls", "get secrets weir-ca", "get secrets weir-tls",
		"update configmaps kube-weir", "update leases.coordination.k8s.io kube-weir",
		"update secrets kube-weir-tls", "update secrets weir-ca", "update secrets weir-tls",
	}
	// system:basic-user, system:discovery and system:public-info-viewer of Kubernetes.
	everybodys = []string{
		"create selfsubjectaccessreviews.authorization.k8s.io", "create selfsubjectreviews.authentication.k8s.io",
		"create selfsubjectrulesreviews.authorization.k8s.io",
		"get /api", "get /api/*", "get /apis", "get /apis/*", "get /healthz", "get /livez", "get /openapi", "get /openapi/*", "get /readyz",
		"get /version", "get /version/",
	}
)

// rare are those of them that no spec waits for, and why they are needed.
var rare = map[string]string{
	"get nodes":                            "one that a new list lacks is asked for by name, as Services and EndpointSlices are",
	"list endpointslices.discovery.k8s.io": "an apiserver that cannot stream lists, as before Kubernetes 1.34, is asked for whole ones",
	"list nodes":                           "as endpointslices",
	"list services":                        "as endpointslices",
}

// used is what the controllers of all specs so far asked of the apiserver, in
// the words above.
var used = map[string]bool{}

var _ = Describe("The account of the controller", Ordered, func() {
	var l *lab
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

	It("comes with objects of which the apiserver knows every field", func(ctx SpecContext) {
		for _, file := range []string{"kube-weir.yaml", "weir.yaml", "weir-peer.yaml"} {
			text, err := os.ReadFile("../../deploy/base/" + file)
			Expect(err).NotTo(HaveOccurred())
			l.apply(ctx, string(text))
		}
	})

	DescribeTable("may do what it needs and no more", func(ctx SpecContext, namespace string, want []string) {
		asController := *l.kube
		asController.token = "controller-token"
		var review struct {
			Status struct {
				Incomplete       bool
				ResourceRules    []struct{ Verbs, Resources, ResourceNames, APIGroups []string }
				NonResourceRules []struct{ Verbs, NonResourceURLs []string }
			}
		}
		body := `{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "` + namespace + `"}}`
		err := asController.do(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "application/json", []byte(body), &review)
		Expect(err).NotTo(HaveOccurred())
		Expect(review.Status.Incomplete).To(BeFalse())
		var may []string
		for _, r := range review.Status.ResourceRules {
			var resources []string
			for _, resource := range r.Resources {
				for _, group := range r.APIGroups {
					resources = append(resources, grouped(resource, group))
				}
			}
			may = append(may, expand(r.Verbs, resources, r.ResourceNames)...)
		}
		for _, r := range review.Status.NonResourceRules {
			may = append(may, expand(r.Verbs, r.NonResourceURLs, nil)...)
		}
		slices.Sort(may)
		may = slices.Compact(may) // several roles may say the same
		slices.Sort(want)
		Expect(may).To(Equal(want))
	},
		Entry("in a namespace of others", "default", slices.Concat(everywhere, everybodys)),
		Entry("in its own", "weir-system", slices.Concat(everywhere, own, everybodys)),
	)
})

// grouped is a resource as kubectl names it: "services/status", "leases.coordination.k8s.io".
func grouped(resource, group string) string {
	name, sub, _ := strings.Cut(resource, "/")
	if group != "" {
		name += "." + group
	}
	return strings.TrimSuffix(name+"/"+sub, "/")
}

func expand(verbs, resources, names []string) []string {
	if len(names) == 0 {
		names = []string{""}
	}
	var out []string
	for _, verb := range verbs {
		for _, resource := range resources {
			for _, name := range names {
				out = append(out, strings.TrimSpace(verb+" "+resource+" "+name))
			}
		}
	}
	return out
}

// request is what a spec reads of one in the apiserver's record.
type request struct {
	Verb, RequestURI string
	ObjectRef        struct{ Resource, APIGroup, Subresource, Name string }
}

// collectUsed adds what this lab's controllers asked.
func (l *lab) collectUsed(context.Context) {
	GinkgoHelper()
	for _, r := range l.asked() {
		o := r.ObjectRef
		what := r.Verb + " " + grouped(o.Resource+"/"+o.Subresource, o.APIGroup)
		used[what], used[what+" "+o.Name] = true, true
	}
}

// asked reads the apiserver's record of what the controllers asked.
func (l *lab) asked() (out []request) {
	GinkgoHelper()
	record, err := os.ReadFile(filepath.Join(l.Node("api").Dir(), "audit.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the apiserver never answered a controller
	}
	Expect(err).NotTo(HaveOccurred())
	for line := range bytes.Lines(record) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var r request
		Expect(json.Unmarshal(line, &r)).To(Succeed())
		out = append(out, r)
	}
	return out
}

// A right that no spec needed is one too many. A part of the suite says nothing.
var _ = ReportAfterSuite("every right of the account is used", func(report Report) {
	for _, spec := range report.SpecReports {
		if spec.State != types.SpecStatePassed {
			return
		}
	}
	var surplus []string
	for _, right := range slices.Concat(everywhere, own) {
		if !used[right] && rare[right] == "" {
			surplus = append(surplus, right)
		}
	}
	Expect(surplus).To(BeEmpty(), "deploy/base allows what kube-weir never asked for")
})
