package kind

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/kind/lab"
	"github.com/weir-lb/weir/topo/pki"
)

// certificates are those that nobody made, as who connects to a node sees them. web is the address and port of a service
// that stands.
func certificates(web func() string) {
	It("answers the controller, and refuses whom it does not know", func(ctx SpecContext) {
		stranger, controller, node := strangers(), certificateOf(ctx, "kube-weir-tls"), certificateOf(ctx, "weir-tls")
		for _, n := range nodes() {
			for _, row := range []struct {
				who   string
				shows []tls.Certificate
				alert string
			}{
				{"one without a certificate", nil, "tls: certificate required"},
				{"one of another authority", []tls.Certificate{stranger}, "tls: unknown certificate authority"},
				{"another node", []tls.Certificate{node}, "tls: bad certificate"},
			} {
				Expect(refusal(ctx, n, row.shows...)).To(MatchError(ContainSubstring(row.alert)), "%s asks %s", row.who, n.Name)
			}
			api := apiOf(n, controller)
			var status v1.ObservedState
			Expect(read(ctx, api, "/v1/observed", &status)).To(Succeed(), n.Name)
			Expect(status.Node).To(Equal(n.Name))
			api.CloseIdleConnections()
		}
	})

	It("has new ones in use on all nodes when the authority is distrusted, without a restart and with nothing lost", func(ctx SpecContext) {
		before, pods := issuers(ctx), weirPods(ctx)
		end := beginLoad(ctx, web(), 1000)
		wait(ctx, "-n", "weir-system", "delete", "secret", "weir-ca")
		// A leader looks every minute, and one that begins to lead at once.
		wait(ctx, "-n", "weir-system", "rollout", "restart", "deployment/kube-weir")
		for n, issuer := range before {
			soon(ctx, func(ctx context.Context) (string, error) { return issuerOf(ctx, n) }).ShouldNot(Equal(issuer), n.Name)
		}
		wait(ctx, "-n", "weir-system", "rollout", "status", "deployment/kube-weir", "--timeout=2m")
		Expect(weirPods(ctx)).To(Equal(pods), "they read new files")
		for _, to := range []string{`"yes"`, "null"} {
			wait(ctx, "patch", "svc", "web", "-p", `{"metadata":{"annotations":{"loxilb.io/usepodnetwork":`+to+`}}}`)
			behind := loadBalancingNodes(ctx)
			if to != "null" {
				behind = podAddresses(ctx, "web")
			}
			for _, m := range cluster.Masters {
				soon(ctx, endpoints(m, "web")).Should(ConsistOf(behind), m.Name)
			}
		}
		end()
	}, NodeTimeout(6*time.Minute))
}

// strangers is the certificate of an authority that no node knows, for the controller's name.
func strangers() tls.Certificate {
	GinkgoHelper()
	authority, err := pki.New("stranger")
	Expect(err).NotTo(HaveOccurred())
	dir := GinkgoT().TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	Expect(authority.Issue("kube-weir", []netip.Addr{cluster.Client.Address}, cert, key)).To(Succeed())
	certificate, err := tls.LoadX509KeyPair(cert, key)
	Expect(err).NotTo(HaveOccurred())
	return certificate
}

// refusal is what a node says to who shows certificates that it does not take: with TLS 1.3 after the client's end is done.
func refusal(ctx context.Context, n lab.Machine, shows ...tls.Certificate) error {
	conn, err := dialAPI(ctx, n, shows...)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(quiet)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// issuerOf is who signed what a node shows: the key's identifier.
func issuerOf(ctx context.Context, n lab.Machine) (string, error) {
	conn, err := dialAPI(ctx, n)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", conn.ConnectionState().PeerCertificates[0].AuthorityKeyId), conn.Close()
}

// issuers are those of all nodes.
func issuers(ctx context.Context) map[lab.Machine]string {
	GinkgoHelper()
	all := map[lab.Machine]string{}
	for _, n := range nodes() {
		issuer, err := issuerOf(ctx, n)
		Expect(err).NotTo(HaveOccurred())
		Expect(issuer).NotTo(BeEmpty())
		all[n] = issuer
	}
	return all
}

// weirPods are the pods that run weir, each with how often it was started again.
func weirPods(ctx context.Context) []string {
	GinkgoHelper()
	out, err := cluster.Kubectl(ctx, "-n", "weir-system", "get", "pods", "-l", "app in (weir,weir-peer)", "-o",
		`jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{"\n"}{end}`)
	Expect(err).NotTo(HaveOccurred())
	Expect(lines(out)).To(HaveLen(len(nodes())))
	return lines(out)
}
