package kind

import (
	"context"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// away is how long the API server is gone, quiet how long a spec looks for a
// change that must not come.
const (
	away  = 2 * time.Minute
	quiet = 5 * time.Second
)

// withdrawn is within what the client has no path to a master whose weir stops.
const withdrawn = 5 * time.Second

// vips has all VIPs of the cluster.
var vips = netip.MustParsePrefix("123.123.123.0/24")

// life is what happens to a cluster in its days: pods are replaced, nodes are
// emptied, Kubernetes itself is away. Nobody outside notices.
func life() {
	var web string // the service's address and port

	BeforeAll(func(ctx SpecContext) {
		apply(ctx, "testdata/web.yml")
		wait(ctx, "rollout", "status", "deployment/web", "--timeout=2m")
		soon(ctx, kubectl("get", "svc", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")).Should(HavePrefix("123.123.123."))
		address, err := cluster.Kubectl(ctx, "get", "svc", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		Expect(err).NotTo(HaveOccurred())
		web = address + ":55010"
		soon(ctx, on(cluster.Client, "weir-topo", "request", "http", web, "--count", "20")).Should(ContainSubstring("web-"))
		// What is left of the ways below, also where a spec runs without them: that it follows shows in the endpoints.
		reachWeb(ctx, "Local", "null")
	})

	for _, way := range []struct {
		name, endpoints, policy, podNetwork string
		mayAnswer                           func(context.Context) []netip.Addr
	}{
		{"usepodnetwork", "pods", "Cluster", `"yes"`, func(ctx context.Context) []netip.Addr { return podAddresses(ctx, "web") }},
		{"externalTrafficPolicy Cluster", "nodes", "Cluster", "null", loadBalancingNodes},
		{"externalTrafficPolicy Local", "nodes", "Local", "null", nodesOfPods},
	} {
		Context("with "+way.name, func() {
			It("has the "+way.endpoints+" as endpoints that may answer", func(ctx SpecContext) {
				reachWeb(ctx, way.policy, way.podNetwork)
				for _, m := range cluster.Masters {
					soon(ctx, endpoints(m, "web")).Should(ConsistOf(way.mayAnswer(ctx)))
				}
			})

			replaced := func(ctx SpecContext) {
				AddReportEntry("active", activeMaster(ctx).Name)
				before := podsOf(ctx, "what=web")
				end := beginLoad(ctx, web, 10000)
				wait(ctx, "rollout", "restart", "deployment/web")
				wait(ctx, "rollout", "status", "deployment/web", "--timeout=4m")
				soon(ctx, func(ctx context.Context) []string { return podsOf(ctx, "what=web") }).Should(
					And(HaveLen(3), Not(ContainElement(BeElementOf(before)))))
				end()
			}
			It("fails no connection in 10000 while the pods behind it are replaced", replaced, NodeTimeout(6*time.Minute))

			It("fails none with the other master active either", func(ctx SpecContext) {
				handOver(ctx)
				replaced(ctx)
			}, NodeTimeout(8*time.Minute))
		})
	}

	It("loses nothing when a worker is drained", func(ctx SpecContext) {
		worker := cluster.Workers[0].Name
		end := beginLoad(ctx, web, 1000)
		wait(ctx, "drain", worker, "--ignore-daemonsets", "--force", "--timeout=2m", "--pod-selector=what=web")
		soon(ctx, kubectl("get", "pods", "-l", "what=web", "-o", "wide")).ShouldNot(ContainSubstring(" " + worker + " "))
		wait(ctx, "rollout", "status", "deployment/web", "--timeout=2m")
		end()
		wait(ctx, "uncordon", worker)
	}, NodeTimeout(5*time.Minute))

	for _, row := range []struct {
		which string
		goes  bool // and comes back; once is enough, for the ten seconds that it takes
	}{{"the active master", false}, {"the other master, which is active then,", true}} {
		It("fails no new connection when "+row.which+" is drained, and hands nothing back", func(ctx SpecContext) {
			from := activeMaster(ctx)
			to := cluster.Masters[0]
			if to == from {
				to = cluster.Masters[1]
			}
			heard, err := cluster.Client.WatchRoutes(ctx)
			Expect(err).NotTo(HaveOccurred())
			ends := beginLoads(ctx, web, "--timeout=1s")
			wait(ctx, "drain", from.Name, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=2m")
			DeferCleanup(func(ctx SpecContext) { wait(ctx, "uncordon", from.Name) })
			soon(ctx, pathsOfClient).Should(Equal([]string{"via " + to.Address.String(), "via " + from.Address.String()}))
			leadsToOneMaster(ctx)
			Expect(heard.End(ctx, vips)).NotTo(BeEmpty(), "control: routes that move are heard of")
			for _, end := range ends {
				l := end()
				// What stood when the ways changed has ended with that: no node knows another's flows (docs/adr/0014). A hole of two
				// seconds would have cost more.
				Expect(len(l.lost)).To(BeNumerically("<=", parallel), l.String())
				Expect(l.lost).NotTo(ContainElement(HaveField("Error", ContainSubstring("dial tcp"))), "a new connection")
			}
			end := noneLost(beginLoads(ctx, web)...)
			// It stands by, with all that it needs to.
			Expect(from.Programs(ctx)).To(Equal(map[string][]string{"eth0": {"weir_tc", "weir_egress"}}))
			behind, err := endpoints(to, "web")(ctx)
			Expect(err).NotTo(HaveOccurred())
			soon(ctx, endpoints(from, "web")).Should(And(Not(BeEmpty()), ConsistOf(behind)))
			route := routes(ctx)
			if row.goes {
				start := shutDown(ctx, from)
				// At once, not when the client lets go of what a restart left, after 30 s.
				soon(ctx, pathsOfClient).WithTimeout(withdrawn).Should(Equal([]string{"via " + to.Address.String()}))
				soon(ctx, from.Programs).Should(BeEmpty())
				start()
				soon(ctx, pathsOfClient).Should(Equal([]string{"via " + to.Address.String(), "via " + from.Address.String()}))
				soon(ctx, endpoints(from, "web")).Should(ConsistOf(behind))
				Expect(from.Programs(ctx)).To(Equal(map[string][]string{"eth0": {"weir_tc", "weir_egress"}}))
				Expect(routes(ctx)).To(Equal(route))
			}
			wait(ctx, "uncordon", from.Name)
			Consistently(ctx, routes).WithTimeout(quiet).WithPolling(time.Second).Should(Equal(route))
			end()
			Expect(activeMaster(ctx)).To(Equal(to))
		}, NodeTimeout(6*time.Minute))
	}

	It("loses nothing, and moves no route, when the pod of the active master is replaced", func(ctx SpecContext) {
		route, expectNoChange := routes(ctx), watchRoutes(ctx)
		active := activeMaster(ctx)
		old := pod(ctx, "loxilb-app", active)
		end := beginLoad(ctx, web, 1000)
		wait(ctx, "-n", "kube-system", "delete", "pod", old, "--timeout=1m")
		soon(ctx, func(ctx context.Context) []string { return podsOn(ctx, "loxilb-app", active) }).Should(
			And(HaveLen(1), Not(ContainElement(old))))
		wait(ctx, "-n", "kube-system", "rollout", "status", "daemonset/loxilb-lb", "--timeout=2m")
		Consistently(ctx, routes).WithTimeout(quiet).WithPolling(time.Second).Should(Equal(route))
		expectNoChange()
		end()
	}, NodeTimeout(5*time.Minute))

	It("goes on without its controller, and follows when there is one again", func(ctx SpecContext) {
		route := routes(ctx)
		end := beginLoad(ctx, web, 1000)
		wait(ctx, "-n", "kube-system", "delete", "pod", "-l", "app=kube-loxilb-app", "--force", "--grace-period=0")
		wait(ctx, "-n", "kube-system", "rollout", "status", "deployment/kube-loxilb", "--timeout=2m")
		Consistently(ctx, routes).WithTimeout(quiet).WithPolling(time.Second).Should(Equal(route))
		end()
		wait(ctx, "scale", "deployment/web", "--replicas=1")
		for _, m := range cluster.Masters {
			soon(ctx, endpoints(m, "web")).Should(HaveLen(1))
		}
		wait(ctx, "scale", "deployment/web", "--replicas=3")
		wait(ctx, "rollout", "status", "deployment/web", "--timeout=2m")
	}, NodeTimeout(5*time.Minute))

	It("goes on while the API server is away for two minutes", func(ctx SpecContext) {
		readyz := kubectl("get", "--raw", "/readyz", "--request-timeout=2s")
		const manifest, aside = "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/kube-apiserver.yaml"
		before := settled(ctx)
		haveServices(before)
		master, route := cluster.Masters[0], routes(ctx)
		end := beginLoad(ctx, web, 1000)
		_, err := master.Run(ctx, "mv", manifest, aside)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx SpecContext) { // where the spec failed half-way
			_, err := master.Run(ctx, "sh", "-c", "test ! -e "+aside+" || mv "+aside+" "+manifest)
			Expect(err).NotTo(HaveOccurred())
			soon(ctx, readyz).Should(Equal("ok"))
		})
		soon(ctx, func(ctx context.Context) error {
			_, err := readyz(ctx)
			return err
		}).Should(HaveOccurred())
		Consistently(ctx, changed(before)).WithTimeout(away).WithPolling(2 * time.Second).Should(BeEmpty())
		_, err = master.Run(ctx, "mv", aside, manifest)
		Expect(err).NotTo(HaveOccurred())
		soon(ctx, readyz).Should(Equal("ok"))
		Consistently(ctx, routes).WithTimeout(quiet).WithPolling(time.Second).Should(Equal(route))
		end()
		wait(ctx, "scale", "deployment/web", "--replicas=1")
		for _, m := range cluster.Masters {
			soon(ctx, endpoints(m, "web")).Should(HaveLen(1))
		}
	}, NodeTimeout(8*time.Minute))
}

// reachWeb says by which endpoints web is reached: podNetwork is a value of JSON.
func reachWeb(ctx context.Context, policy, podNetwork string) {
	GinkgoHelper()
	wait(ctx, "patch", "svc", "web", "-p", `{"metadata":{"annotations":{"loxilb.io/usepodnetwork":`+podNetwork+`}},`+
		`"spec":{"externalTrafficPolicy":"`+policy+`"}}`)
}

// handOver has the other master be active for all addresses. The one that was may be it again when the spec ends, and takes
// nothing back by itself.
func handOver(ctx SpecContext) {
	GinkgoHelper()
	from := activeMaster(ctx)
	wait(ctx, "cordon", from.Name)
	DeferCleanup(func(ctx SpecContext) { wait(ctx, "uncordon", from.Name) })
	soon(ctx, routes).ShouldNot(ContainElement(ContainSubstring(" via " + from.Address.String() + " ")))
	leadsToOneMaster(ctx)
}

// shutDown ends weir on a drained master as its kubelet does when the machine is shut down: no pod is started from then
// on, and the processes get SIGTERM. start has kubelet go on.
func shutDown(ctx SpecContext, m lab.Machine) (start func()) {
	GinkgoHelper()
	soon(ctx, func(ctx context.Context) (told []string, err error) {
		out, err := cluster.Kubectl(ctx, "-n", "kube-system", "exec", "deployment/kube-loxilb", "--", "weirctl", "get", "nodes", "-o", "json")
		var status v1.ControllerStatus
		if err == nil {
			err = json.Unmarshal([]byte(out), &status)
		}
		for _, n := range status.Nodes {
			if n.Drained && n.State == v1.PushInSync {
				told = append(told, n.Name)
			}
		}
		return told, err
	}).Should(Equal([]string{m.Name}))
	kubelet := func(ctx context.Context, do string) {
		_, err := m.Run(ctx, "systemctl", do, "kubelet")
		Expect(err).NotTo(HaveOccurred())
	}
	kubelet(ctx, "stop")
	DeferCleanup(func(ctx SpecContext) { kubelet(ctx, "start") }) // where the spec failed half-way
	_, err := m.Run(ctx, "pkill", "--exact", "weir")
	Expect(err).NotTo(HaveOccurred())
	return func() { kubelet(ctx, "start") }
}

var birdPath = regexp.MustCompile(`(?m)^\tvia \S+`)

// pathsOfClient are those that the client's BIRD knows to the article's services, the one it takes first.
func pathsOfClient(ctx context.Context) ([]string, error) {
	out, err := cluster.Client.Run(ctx, "birdc", "-s", "/run/bird.ctl", "show", "route", "123.123.123.1/32")
	var paths []string
	for _, path := range birdPath.FindAllString(out, -1) {
		paths = append(paths, strings.TrimSpace(path))
	}
	return paths, err
}

// wait runs a command of kubectl that must succeed.
func wait(ctx context.Context, args ...string) {
	GinkgoHelper()
	_, err := cluster.Kubectl(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
}

// podsOf are the names of the pods with a label that are not about to end.
func podsOf(ctx context.Context, label string) []string { return pods(ctx, "default", "-l", label) }

// podsOn are the names of the pods of a DaemonSet's label on a node.
func podsOn(ctx context.Context, app string, node lab.Machine) []string {
	return pods(ctx, "kube-system", "-l", "app="+app, "--field-selector", "spec.nodeName="+node.Name)
}

func pods(ctx context.Context, namespace string, selectors ...string) []string {
	GinkgoHelper()
	out, err := cluster.Kubectl(ctx, append([]string{"-n", namespace, "get", "pods", "-o",
		`go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{end}}{{end}}`}, selectors...)...)
	Expect(err).NotTo(HaveOccurred())
	return strings.Fields(out)
}

// endpoints are the addresses behind a service, as a load balancer node has them.
func endpoints(m lab.Machine, service string) func(context.Context) ([]netip.Addr, error) {
	return func(ctx context.Context) ([]netip.Addr, error) {
		var all []v1.ServiceStatus
		if err := ask(ctx, m, "lb", &all); err != nil {
			return nil, err
		}
		var of []netip.Addr
		for _, s := range all {
			if strings.HasPrefix(s.Name, "default/"+service) && s.Programmed {
				for _, b := range s.Backends {
					of = append(of, b.Address)
				}
			}
		}
		return of, nil
	}
}

// loadBalancingNodes are those that externalTrafficPolicy Cluster allows as endpoints: all that are not excluded, as
// kubeadm excludes its control plane.
func loadBalancingNodes(ctx context.Context) []netip.Addr {
	return addressesOf(ctx, "get", "nodes", "-l", "!node.kubernetes.io/exclude-from-external-load-balancers", "-o", "name")
}

// nodesOfPods are those that externalTrafficPolicy Local allows: the ones with a pod of the service.
func nodesOfPods(ctx context.Context) []netip.Addr {
	return addressesOf(ctx, "get", "pods", "-l", "what=web", "-o", `jsonpath={range .items[*]}node/{.spec.nodeName}{"\n"}{end}`)
}

// addressesOf are the addresses of the nodes that a query names, each once.
func addressesOf(ctx context.Context, query ...string) []netip.Addr {
	GinkgoHelper()
	out, err := cluster.Kubectl(ctx, query...)
	Expect(err).NotTo(HaveOccurred())
	names := strings.Fields(out)
	var addresses []netip.Addr
	for _, m := range nodes() {
		if slices.Contains(names, "node/"+m.Name) {
			addresses = append(addresses, m.Address)
		}
	}
	return addresses
}

// podAddresses are those of the pods of a label.
func podAddresses(ctx context.Context, what string) []netip.Addr {
	GinkgoHelper()
	out, err := cluster.Kubectl(ctx, "get", "pods", "-l", "what="+what, "-o", "jsonpath={.items[*].status.podIP}")
	Expect(err).NotTo(HaveOccurred())
	var addresses []netip.Addr
	for _, ip := range strings.Fields(out) {
		addresses = append(addresses, netip.MustParseAddr(ip))
	}
	return addresses
}

// routes is how the client and the workers reach the services.
func routes(ctx context.Context) map[string]string {
	GinkgoHelper()
	to := map[string]string{}
	for _, m := range append([]lab.Machine{cluster.Client}, cluster.Workers...) {
		out, err := m.Run(ctx, "ip", "route", "show", "root", "123.123.123.0/24")
		Expect(err).NotTo(HaveOccurred())
		to[m.Name] = out
	}
	return to
}

// watchRoutes listens to the kernels of client and workers until expectNoChange is called, which wants no route to a VIP to
// have come or gone.
func watchRoutes(ctx SpecContext) (expectNoChange func()) {
	GinkgoHelper()
	var watches []*lab.RouteWatch
	for _, m := range append([]lab.Machine{cluster.Client}, cluster.Workers...) {
		w, err := m.WatchRoutes(ctx)
		Expect(err).NotTo(HaveOccurred())
		watches = append(watches, w)
	}
	return func() {
		GinkgoHelper()
		for _, w := range watches {
			Expect(w.End(ctx, vips)).To(BeEmpty())
		}
	}
}

// activeMaster is the master that the client's route leads to.
func activeMaster(ctx context.Context) lab.Machine {
	GinkgoHelper()
	out, err := cluster.Client.Run(ctx, "ip", "route", "get", "123.123.123.1")
	Expect(err).NotTo(HaveOccurred())
	for _, m := range cluster.Masters {
		if strings.Contains(out, " via "+m.Address.String()+" ") {
			return m
		}
	}
	Fail("the client's route leads to no master: " + out)
	return lab.Machine{}
}
