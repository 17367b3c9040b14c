package badinput

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/endpoints/cluster"
	"github.com/weir-lb/weir/topo/pki"
)

// server is the load balancer's API over TCP.
const server = "198.51.100.10:11111"

// bodyLimit is the most bytes that the API reads of a body.
const bodyLimit = 64 << 20

var _ = Describe("The API", Ordered, ContinueOnFailure, func() {
	var l *cluster.Lab
	var slow []*slowClient
	BeforeAll(func(ctx SpecContext) {
		l = up(ctx)
		slow = startSlow(l) // they are cut while the other specs run
	})

	for _, way := range []struct {
		name string
		open func(context.Context, *cluster.Lab) (*http.Client, string)
	}{
		{"over its unix socket", overSocket},
		{"over mutual TLS", overTLS},
	} {
		Describe(way.name, func() {
			// put sends a state, and returns the status and the error that came.
			put := func(ctx context.Context, body io.Reader, kind string) (int, v1.Error) {
				GinkgoHelper()
				client, base := way.open(ctx, l)
				r, err := http.NewRequestWithContext(ctx, http.MethodPut, base+"/v1/state/stranger", body)
				Expect(err).NotTo(HaveOccurred())
				r.Header.Set("Content-Type", kind)
				response, err := client.Do(r)
				Expect(err).NotTo(HaveOccurred())
				defer response.Body.Close()
				var e v1.Error
				text, err := io.ReadAll(response.Body)
				Expect(err).NotTo(HaveOccurred())
				Expect(json.Unmarshal(text, &e)).To(Succeed(), string(text))
				return response.StatusCode, e
			}
			for _, bad := range []struct {
				what, body, kind string
				status           int
				path, message    string
			}{
				{
					"an unknown field, by its path",
					`{"generation":{"epoch":0,"sequence":1},"services":[{"vip":"203.0.113.9","port":1,"protocol":"tcp","mode":"fullnat","colour":"red"}]}`,
					"application/json", http.StatusBadRequest, "services[0].colour", "colour",
				},
				{
					"a wrong type, by its path", `{"generation":{"epoch":0,"sequence":1},"services":[{"vip":"203.0.113.9","port":"http"}]}`,
					"application/json", http.StatusBadRequest, "services[0].port", "port",
				},
				{"what is no JSON, by line and column", "{\n  x", "application/json", http.StatusBadRequest, "", "line 2"},
				{"another content type", `{}`, "text/plain", http.StatusUnsupportedMediaType, "", "send application/json"},
			} {
				It("refuses "+bad.what, func(ctx SpecContext) {
					status, e := put(ctx, strings.NewReader(bad.body), bad.kind)
					Expect(status).To(Equal(bad.status), e.Message)
					Expect(e).To(And(HaveField("Path", bad.path), HaveField("Message", ContainSubstring(bad.message))))
				})
			}
			It("refuses a body over its limit", func(ctx SpecContext) {
				// Blanks are the begin of good JSON. The length is not announced, so weir has to count.
				body := io.MultiReader(strings.NewReader("{"), bytes.NewReader(bytes.Repeat([]byte(" "), bodyLimit)))
				status, e := put(ctx, body, "application/json")
				Expect(status).To(Equal(http.StatusRequestEntityTooLarge))
				Expect(e.Message).To(ContainSubstring("over 67108864 bytes"))
			})
			It("control: takes what is right, and the rest changed nothing", func(ctx SpecContext) {
				status, _ := put(ctx, strings.NewReader(`{"generation":{"epoch":0,"sequence":1},"services":[]}`), "application/json")
				Expect(status).To(Equal(http.StatusOK))
				expectUntouched(ctx, l)
			})
		})
	}

	It("refuses a client without a certificate, and one that is another authority's, over, or not yet good", func(ctx SpecContext) {
		authority, err := os.ReadFile(l.Node("worker1").Vars.CA)
		Expect(err).NotTo(HaveOccurred())
		roots := x509.NewCertPool()
		Expect(roots.AppendCertsFromPEM(authority)).To(BeTrue())
		strangers, err := pki.New("stranger")
		Expect(err).NotTo(HaveOccurred())
		now := time.Now()
		for _, bad := range []struct {
			name, why string
			by        *pki.Authority
			from, to  time.Time
		}{
			{"none", "tls: certificate required", nil, now, now},
			{"another authority's", "tls: unknown certificate authority", strangers, now.Add(-time.Hour), now.Add(time.Hour)},
			{"expired", "tls: expired certificate", l.Authority(), now.Add(-2 * time.Hour), now.Add(-time.Hour)},
			{"not yet good", "tls: expired certificate", l.Authority(), now.Add(time.Hour), now.Add(2 * time.Hour)},
		} {
			config := &tls.Config{RootCAs: roots}
			if bad.by != nil {
				shown := certificate(bad.by, bad.from, bad.to)
				// Certificates of other authorities than the server names are not shown by themselves.
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
			}
			Expect(get(ctx, httpsClient(l, config), "https://"+server+"/v1/version")).To(MatchError(ContainSubstring(bad.why)), bad.name)
		}
		good := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate(l.Authority(), now.Add(-time.Hour), now.Add(time.Hour))}}
		Expect(get(ctx, httpsClient(l, good), "https://"+server+"/v1/version")).To(Succeed(), "control: one that is good now")
		Expect(get(ctx, httpsClient(l, nil), "http://"+server+"/v1/version")).NotTo(Succeed(), "without TLS")
		client, base := overTLS(ctx, l)
		Expect(get(ctx, client, base+"/v1/version")).To(Succeed(), "control: the topology's own certificate")
	})

	It("cuts clients off that take their time, and serves others meanwhile", func(ctx SpecContext) {
		client, base := overTLS(ctx, l)
		Expect(get(ctx, client, base+"/v1/version")).To(Succeed(), "another client")
		for _, s := range slow {
			var end slowEnd
			Eventually(ctx, s.ended).WithTimeout(s.limit+slowMargin).Should(Receive(&end), s.what)
			Expect(end.answer).To(Equal(s.answer), s.what)
			Expect(end.after).To(And(BeNumerically(">", s.limit-time.Second), BeNumerically("<", s.limit+slowMargin)), s.what)
		}
		expectUntouched(ctx, l)
	})
})

// get returns nil when the answer is a success.
func get(ctx context.Context, client *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}

func overSocket(_ context.Context, l *cluster.Lab) (*http.Client, string) {
	path := filepath.Join(l.Node("lb").Dir(), "weir.sock")
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	DeferCleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}, "http://localhost"
}

func overTLS(_ context.Context, l *cluster.Lab) (*http.Client, string) {
	GinkgoHelper()
	return httpsClient(l, controllers(l)), "https://" + server
}

// controllers is what the controller shows and believes.
func controllers(l *cluster.Lab) *tls.Config {
	GinkgoHelper()
	vars := l.Node("worker1").Vars
	config, err := transport.Client(transport.Files{Cert: vars.ClientCert, Key: vars.ClientKey, CA: vars.CA}, "198.51.100.10")
	Expect(err).NotTo(HaveOccurred())
	return config
}

// httpsClient connects from worker1.
func httpsClient(l *cluster.Lab, config *tls.Config) *http.Client {
	t := &http.Transport{TLSClientConfig: config, DialContext: l.Node("worker1").Dial}
	DeferCleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// certificate is one of the authority's for a client, good from one moment to another.
func certificate(authority *pki.Authority, from, to time.Time) tls.Certificate {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	Expect(authority.IssueFor(from, to, "client", nil, cert, key)).To(Succeed())
	c, err := tls.LoadX509KeyPair(cert, key)
	Expect(err).NotTo(HaveOccurred())
	return c
}
