package kind

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// apiPort is where nodes serve their API, to whom they know by a certificate.
const apiPort = 11111

// certificateOf is the one in a Secret of deploy/base.
func certificateOf(ctx context.Context, secret string) tls.Certificate {
	GinkgoHelper()
	out, err := cluster.Kubectl(ctx, "-n", "weir-system", "get", "secret", secret, "-o", "jsonpath={.data}")
	Expect(err).NotTo(HaveOccurred())
	data := map[string][]byte{} // JSON has them in base64
	Expect(json.Unmarshal([]byte(out), &data)).To(Succeed())
	certificate, err := tls.X509KeyPair(data["tls.crt"], data["tls.key"])
	Expect(err).NotTo(HaveOccurred())
	return certificate
}

// dialAPI connects to a node's API from the client's machine, and shows a certificate, if any. Who the node is does not matter.
func dialAPI(ctx context.Context, node lab.Machine, show ...tls.Certificate) (*tls.Conn, error) {
	conn, err := cluster.Client.Dial(ctx, netip.AddrPortFrom(node.Address, apiPort))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if len(show) > 0 { // also where the node asks for another authority's
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &show[0], nil }
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// apiOf asks a node's API as the controller does. The caller closes it.
func apiOf(node lab.Machine, certificate tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialAPI(ctx, node, certificate)
	}}}
}

// read asks for something and reads the answer.
func read(ctx context.Context, api *http.Client, path string, answer any) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://weir"+path, nil)
	if err != nil {
		return err
	}
	response, err := api.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}
