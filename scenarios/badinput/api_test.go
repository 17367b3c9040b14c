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
	BeforeAll(func(ctx SpecContext) { l = up(ctx) })

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

	It("refuses a client without a certificate, and one of another authority", func(ctx SpecContext) {
		authority, err := os.ReadFile(l.Node("worker1").Vars.CA)
		Expect(err).NotTo(HaveOccurred())
		roots := x509.NewCertPool()
		Expect(roots.AppendCertsFromPEM(authority)).To(BeTrue())
		stranger := strangersCertificate()
		for name, config := range map[string]*tls.Config{
			"none":                {RootCAs: roots},
			"another authority's": {RootCAs: roots, Certificates: []tls.Certificate{stranger}},
		} {
			Expect(get(ctx, httpsClient(l, config), "https://"+server+"/v1/version")).To(MatchError(ContainSubstring("tls: ")), name)
		}
		Expect(get(ctx, httpsClient(l, nil), "http://"+server+"/v1/version")).NotTo(Succeed(), "without TLS")
		client, base := overTLS(ctx, l)
		Expect(get(ctx, client, base+"/v1/version")).To(Succeed(), "control: the topology's own certificate")
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
	vars := l.Node("worker1").Vars
	config, err := transport.Client(transport.Files{Cert: vars.ClientCert, Key: vars.ClientKey, CA: vars.CA}, "198.51.100.10")
	Expect(err).NotTo(HaveOccurred())
	return httpsClient(l, config), "https://" + server
}

// httpsClient connects from worker1.
func httpsClient(l *cluster.Lab, config *tls.Config) *http.Client {
	t := &http.Transport{TLSClientConfig: config, DialContext: l.Node("worker1").Dial}
	DeferCleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// strangersCertificate is good, but not of the topology's authority.
func strangersCertificate() tls.Certificate {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	authority, err := pki.New("stranger")
	Expect(err).NotTo(HaveOccurred())
	Expect(authority.Issue("stranger", nil, cert, key)).To(Succeed())
	c, err := tls.LoadX509KeyPair(cert, key)
	Expect(err).NotTo(HaveOccurred())
	return c
}
