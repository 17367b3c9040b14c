package apiserver

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/harness"
)

// secretPath is where the apiserver has a Secret of the controller.
func secretPath(name string) string { return "/api/v1/namespaces/weir-system/secrets/" + name }

type secret struct {
	Metadata struct {
		ResourceVersion string
		Labels          map[string]string
	}
	Data map[string]string
}

func (l *lab) secret(ctx context.Context, name string) (secret, error) {
	var s secret
	err := l.kube.get(ctx, secretPath(name), &s)
	return s, err
}

// mount brings a Secret to a node, as a kubelet would: into a folder of this
// version, to which a link then points. It returns the link.
func (l *lab) mount(ctx context.Context, node, name, as string) string {
	GinkgoHelper()
	s, err := l.secret(ctx, name)
	Expect(err).NotTo(HaveOccurred())
	at := filepath.Join(l.Node(node).Dir(), as)
	folder := at + "." + s.Metadata.ResourceVersion
	Expect(os.Mkdir(folder, 0o700)).To(Succeed())
	for key, value := range s.Data {
		b, err := base64.StdEncoding.DecodeString(value)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(filepath.Join(folder, key), b, 0o600)).To(Succeed())
	}
	Expect(os.Symlink(folder, at+".new")).To(Succeed())
	Expect(os.Rename(at+".new", at)).To(Succeed())
	return at
}

// issuer is who signed the nodes' certificate: its key's identifier.
func (s secret) issuer() (string, error) {
	text, err := base64.StdEncoding.DecodeString(s.Data["tls.crt"])
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", fmt.Errorf("no certificate in %q", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", c.AuthorityKeyId), nil
}

var _ = Describe("Certificates that nobody made", Ordered, func() {
	var l *lab
	nodes := []string{"lb1", "lb2", "peer"}
	a := ours("a", 80)
	BeforeAll(func(ctx SpecContext) {
		l = up(ctx)
		without := func(command, replacement string) string {
			before, after, found := strings.Cut(command, "--tls-cert")
			Expect(found).To(BeTrue())
			_, after, _ = strings.Cut(after, "--tls-ca={{.CA}}")
			return before + replacement + after
		}
		for _, name := range nodes {
			p := l.Node(name).Process("weir")
			Expect(p.Stop(ctx)).To(Succeed())
			p.Spec.Command = without(p.Spec.Command, "--tls-cert={{.State}}/tls/tls.crt --tls-key={{.State}}/tls/tls.key --tls-ca={{.State}}/tls/ca.crt")
			Expect(p.Start(ctx)).To(Succeed())
		}
		ctl := l.process("ctl1")
		Expect(ctl.Stop(ctx)).To(Succeed())
		ctl.Spec.Command = without(ctl.Spec.Command, "--listen=198.51.100.21:11112")
		Expect(ctl.Start(ctx)).To(Succeed())
		l.decides(ctx, "ctl1")
		l.remove("a")
		l.apply(ctx, a.manifest(), a.on("pod1"))
	})

	It("are made, and nodes that wait for them serve when they are there", func(ctx SpecContext) {
		for _, name := range []string{"weir-ca", "weir-tls", "kube-weir-tls"} {
			harness.Soon(ctx, func(ctx context.Context) (map[string]string, error) {
				s, err := l.secret(ctx, name)
				return s.Metadata.Labels, err
			}).Should(HaveKeyWithValue("weir-lb.io/made-by", "kube-weir"), name)
		}
		for _, name := range nodes {
			log := l.Node(name).Process("weir")
			harness.Soon(ctx, func(context.Context) string { return log.Tail(20) }).Should(ContainSubstring("api waits for certificates"), name)
			l.mount(ctx, name, "weir-tls", "tls")
		}
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		l.inSync(ctx, "ctl1")
	})

	It("let in who has the controller's, by names instead of addresses", func(ctx SpecContext) {
		own, nodes := l.mount(ctx, "client", "kube-weir-tls", "own"), l.mount(ctx, "client", "weir-tls", "nodes")
		ask := func(server, name, folder string, what ...string) (string, error) {
			return l.Node("client").Run(ctx, "weirctl", append([]string{"--server=https://" + server, "--tls-server-name=" + name,
				"--tls-cert=" + folder + "/tls.crt", "--tls-key=" + folder + "/tls.key", "--tls-ca=" + folder + "/ca.crt", "get"}, what...)...)
		}
		harness.Soon(ctx, func(context.Context) (string, error) { return ask("198.51.100.21:11112", "kube-weir", own, "nodes") }).Should(ContainSubstring("lb1"))
		Expect(ask("198.51.100.11:11111", "weir", own, "lb")).To(ContainSubstring("203.0.113.1"))
		_, err := ask("198.51.100.11:11111", "kube-weir", own, "lb")
		Expect(err).To(MatchError(ContainSubstring("the server's certificate is not valid")))
		_, err = ask("198.51.100.12:11111", "weir", nodes, "lb")
		Expect(err).To(MatchError(ContainSubstring("the server refused our certificate")), "a node tells another one")
	})

	It("are made anew when their authority cannot be used any more, and used by all without a restart", func(ctx SpecContext) {
		before, err := l.secret(ctx, "weir-tls")
		Expect(err).NotTo(HaveOccurred())
		issuer, err := before.issuer()
		Expect(err).NotTo(HaveOccurred())
		pid := l.Node("lb1").Process("weir").PID()
		Expect(l.kube.patch(ctx, secretPath("weir-ca"), `{"data": {"tls.key": "eA=="}}`)).To(Succeed())
		// A leader looks every minute, and one that begins to lead at once.
		l.restart(ctx, "ctl1", func() {})
		harness.Soon(ctx, func(ctx context.Context) (string, error) {
			s, err := l.secret(ctx, "weir-tls")
			if err != nil {
				return "", err
			}
			return s.issuer()
		}).ShouldNot(Equal(issuer))
		for _, name := range nodes {
			l.mount(ctx, name, "weir-tls", "tls")
		}
		l.apply(ctx, a.on("pod2"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod2")
		l.inSync(ctx, "ctl1")
		Expect(l.Node("lb1").Process("weir").PID()).To(Equal(pid))
	})

	It("of a person stay as they are, and one alone is a problem that the controller names", func(ctx SpecContext) {
		problems := func(ctx context.Context) (string, error) {
			s, err := l.controllers["ctl1"].Controller(ctx)
			return fmt.Sprint(s.Problems), err
		}
		Expect(l.kube.patch(ctx, secretPath("weir-tls"), `{"metadata": {"labels": {"weir-lb.io/made-by": null}}}`)).To(Succeed())
		l.restart(ctx, "ctl1", func() {})
		harness.Soon(ctx, problems).Should(ContainSubstring("create kube-weir-tls too, of the same CA, or delete weir-tls"))
		for _, name := range []string{"weir-tls", "kube-weir-tls"} {
			Expect(l.kube.patch(ctx, secretPath(name), `{"metadata": {"labels": {"weir-lb.io/made-by": null}}}`)).To(Succeed())
		}
		Expect(l.kube.delete(ctx, secretPath("weir-ca"))).To(Succeed())
		before, err := l.secret(ctx, "weir-tls")
		Expect(err).NotTo(HaveOccurred())
		l.restart(ctx, "ctl1", func() {})
		harness.Soon(ctx, problems).Should(Equal("[]"))
		l.apply(ctx, a.on("pod1"))
		l.expectServed(ctx, "203.0.113.1:80/tcp pod1")
		after, err := l.secret(ctx, "weir-tls")
		Expect(err).NotTo(HaveOccurred())
		Expect(after).To(Equal(before))
		_, err = l.secret(ctx, "weir-ca")
		Expect(err).To(MatchError(ContainSubstring("404")))
	})
})
